//! The engine's order session (`OrderClient`, with its risk gate and its account) against a server that nobody here wrote:
//! logs in, settles what is open, sends orders and cancels, hears what became of them, cancels everything and ends with
//! both accounts equal. `scripts/venue_peer.sh` starts the other side.
//!
//! Usage: `order_peer ADDRESS ORDERS`. Prints the orders sent and the fills booked, each with a hash over their numbers,
//! quantities and prices; exit status 1 when a difference stood at the end.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use peregrine_gateway::live::{Journal, LoggedAccount, OrderClient, OrderClientConfig, Outlet, Phase, Step, StepKind};
use peregrine_gateway::ouch50::Text;
use peregrine_gateway::soup::{ClientConfig, HEARTBEAT_INTERVAL, Password, Username};
use peregrine_gateway::{Fees, Outcome};
use peregrine_risk::{InstrumentRules, LimitsConfig, RiskContext, RiskGate};
use peregrine_types::{
    BookState, EpochNanos, EventSeq, Execution, ExecutionKind, Full, Nanos, NewOrder, Notional, OrderId, OrderIntent,
    Price, Qty, ReasonCode, Side, Sink, Symbol, SymbolId, TimeInForce, TopOfBook,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

const ONE: i64 = 1_000_000_000;
const CENT: i64 = ONE / 100;
const PATIENCE: Duration = Duration::from_secs(600);

/// What was sent and what was filled, by number.
#[derive(Default)]
struct Account {
    orders: BTreeMap<u64, (u64, i64)>,
    fills: BTreeMap<(u64, u64), (u64, i64)>,
}

impl Journal for Account {
    fn record(&mut self, step: &Step<'_>) {
        match step.kind {
            StepKind::Submitted => {
                if let Some(entry) = step.entry {
                    self.orders.insert(step.order_id.0, (entry.order.qty.0, entry.order.price.0));
                }
            }
            StepKind::Report(execution, outcome)
                if execution.kind == ExecutionKind::Filled && outcome != Outcome::Duplicate =>
            {
                let key = (step.order_id.0, execution.match_number.0);
                self.fills.insert(key, (execution.qty.0, execution.price.0));
            }
            StepKind::Report(..)
            | StepKind::Resent
            | StepKind::CancelRequested(_)
            | StepKind::MassCancel
            | StepKind::ReplaceSubmitted
            | StepKind::Overdue => {}
        }
    }
}

struct Inbox(Vec<Execution>);

impl Sink<Execution> for Inbox {
    fn push(&mut self, execution: Execution) -> Result<(), Full<Execution>> {
        self.0.push(execution);
        Ok(())
    }
}

fn now() -> EpochNanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    EpochNanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

fn gate() -> Fallible<RiskGate> {
    let limits = LimitsConfig {
        order_qty_max: Some(Qty(10_000)),
        order_notional_max: Some(Notional(1_000_000 * i128::from(ONE))),
        price_collar_bps: Some(5_000),
        position_qty_max: Some(Qty(100_000_000)),
        gross_notional_max: Some(Notional(1_000_000_000_000 * i128::from(ONE))),
        open_orders_max: Some(64),
        order_rate_max: Some(100_000),
        order_rate_window: Some(Nanos::from_secs(1)),
        duplicate_window: Some(Nanos(1)),
        data_age_max: Some(Nanos::from_secs(1)),
    };
    let mut gate = RiskGate::new(&limits.validate().map_err(|wrong| format!("{wrong:?}"))?, 1);
    gate.permit(SymbolId(0), Some(InstrumentRules::US_EQUITY));
    Ok(gate)
}

fn client(order_count: u64) -> Option<OrderClient> {
    let end = u32::try_from(order_count * 4).ok()?;
    let config = OrderClientConfig {
        session: ClientConfig {
            username: Username::new("desk")?,
            password: Password::new("password")?,
            heartbeat_interval: HEARTBEAT_INTERVAL,
            silence_max: Nanos::from_secs(60),
            login_time_max: Nanos::from_secs(5),
            heartbeat_timeout_ms: None,
            packet_len_max: 300,
            outbox_len_max: 1 << 16,
        },
        symbols: vec![Symbol::new("ALFA")?],
        order_count_max: 64,
        order_number_end: end,
        fill_count_max: usize::try_from(order_count * 4).ok()?,
        fees: Fees { added: Price(-2_000_000), removed: Price(3_000_000) },
        midnight: EpochNanos(0),
        capacity: b'P',
        firm: Text(*b"FIRM"),
        answer_time_max: Nanos::from_secs(30),
        resend_age_max: Nanos::from_millis(200),
        reject_count_max: 8,
        probe_count: 2,
        backlog_len_max: 1_000,
    };
    Some(OrderClient::new(config, LoggedAccount::default()))
}

struct Desk {
    stream: TcpStream,
    client: OrderClient,
    gate: RiskGate,
    account: Account,
    inbox: Inbox,
    chance: ChaCha8Rng,
    sent: u64,
}

impl Desk {
    fn with_client(&mut self, act: impl FnOnce(&mut OrderClient, EpochNanos, &mut Outlet<'_, Account, Inbox>)) {
        act(&mut self.client, now(), &mut Outlet { journal: &mut self.account, executions: &mut self.inbox });
        for execution in std::mem::take(&mut self.inbox.0) {
            self.gate.on_execution(&execution);
        }
        self.gate.begin_after(self.client.last_number());
    }

    /// Moves bytes both ways; whether any moved.
    fn flow(&mut self) -> Fallible<bool> {
        let mut has_moved = false;
        if !self.client.pending().is_empty() {
            match self.stream.write(self.client.pending()) {
                Ok(count) => {
                    self.client.sent(count);
                    has_moved = true;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        let mut buffer = [0; 1 << 14];
        match self.stream.read(&mut buffer) {
            Ok(0) => return Err("the server hung up".into()),
            Ok(len) => {
                self.with_client(|client, now, io| client.receive(&buffer[..len], now, io));
                has_moved = true;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        self.with_client(|client, now, io| client.poll(now, io));
        Ok(has_moved)
    }

    fn below(&mut self, end: u32) -> u32 {
        self.chance.next_u32() % end
    }

    /// An order, or a cancel of one that is open.
    fn decide(&mut self) {
        let symbol = SymbolId(0);
        let side = Side::BOTH[usize::from(self.below(2) == 0)];
        let price = Price(10 * ONE + (i64::from(self.below(5)) - 2) * CENT);
        let open: Vec<OrderId> = Side::BOTH.iter().flat_map(|side| self.gate.open_orders(symbol, *side)).collect();
        let intent = if open.len() > 40 || (!open.is_empty() && self.below(3) == 0) {
            OrderIntent::Cancel { order_id: open[self.below(u32::try_from(open.len()).unwrap_or(1)) as usize], symbol }
        } else {
            let (qty, time_in_force) = (Qty(100 * u64::from(1 + self.below(4))), TimeInForce::Day);
            OrderIntent::New(NewOrder { symbol, side, price, qty, time_in_force, is_post_only: false })
        };
        let context = RiskContext {
            book_state: BookState::default(),
            reference_price: Some(price),
            top: TopOfBook::default(),
            data_time: now(),
            is_input_finite: true,
        };
        let Ok(approved) = self.gate.check(&intent, &context, EventSeq(1), now()) else { return };
        let mut refused = None;
        self.with_client(|client, now, io| refused = client.accept(approved, now, io).err());
        match refused {
            Some(refused) => self.gate.revoke(refused.order),
            None => self.sent += u64::from(matches!(intent, OrderIntent::New(_))),
        }
    }

    /// Lets time pass until `is_done`.
    fn wait(&mut self, what: &str, is_done: impl Fn(&OrderClient) -> bool) -> Fallible<()> {
        let begin = Instant::now();
        while !is_done(&self.client) {
            if !self.flow()? {
                std::thread::sleep(Duration::from_micros(200));
            }
            if begin.elapsed() > PATIENCE {
                let differences = self.client.differences();
                return Err(format!("{what} did not come: {:?} {differences:?}", self.client.phase()).into());
            }
        }
        Ok(())
    }
}

fn hash<'a>(rows: impl Iterator<Item = (u64, u64, &'a (u64, i64))>) -> String {
    let mut hasher = Sha256::new();
    for (number, match_number, (qty, price)) in rows {
        // Prices of the wire: 0.0001.
        hasher.update(format!("{number} {match_number} {qty} {}\n", price / 100_000));
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn main() -> Fallible<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(count)) = (arguments.next(), arguments.next()) else {
        return Err("usage: order_peer ADDRESS ORDERS".into());
    };
    let count: u64 = count.parse()?;
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    let mut desk = Desk {
        stream,
        client: client(count).ok_or("names that no session has")?,
        gate: gate()?,
        account: Account::default(),
        inbox: Inbox(Vec::new()),
        chance: ChaCha8Rng::seed_from_u64(1),
        sent: 0,
    };
    desk.client.connected(now());
    desk.wait("trading", |client| client.phase() == Phase::Trading && client.block().is_none())?;
    while desk.sent < count {
        desk.decide();
        desk.flow()?;
        if let Some(reason) = desk.client.block() {
            return Err(format!("blocked: {reason:?} {:?}", desk.client.differences()).into());
        }
    }
    desk.client.halt(ReasonCode::StopRequested);
    desk.wait("an empty book", OrderClient::is_flat)?;
    desk.wait("the last answer", |client| client.phase() == Phase::Trading)?;
    let Account { orders, fills } = &desk.account;
    let mut out = std::io::stdout();
    writeln!(out, "orders {} {}", orders.len(), hash(orders.iter().map(|(number, row)| (*number, 0, row))))?;
    writeln!(out, "fills {} {}", fills.len(), hash(fills.iter().map(|((number, of), row)| (*number, *of, row))))?;
    writeln!(out, "position {}", desk.client.position(SymbolId(0)).0)?;
    if desk.client.differences().is_empty() { Ok(()) } else { Err(format!("{:?}", desk.client.differences()).into()) }
}
