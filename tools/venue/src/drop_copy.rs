//! The drop copy of one order port: FIX 4.4 execution reports of what happens to its orders, for a reader that is not the
//! port's client. An acceptor's session without sockets.
//!
//! Reports are told whether anybody is connected or not; a reader that comes back asks for what it missed (ResendRequest).
//! One that begins anew (ResetSeqNumFlag) is told the whole day again, as possible repetitions (PossResend).
//!
//! ClOrdID (11) is the order's number at the port, OrderID (37) the venue's reference, SecondaryExecID (527) the match
//! number, ExecID (17) match number and order number; a broken trade is named by the ExecID that it had (ExecRefID, 19).

use std::collections::BTreeMap;

use peregrine_fix::orders::{ExecType, ExecutionReport, OrdStatus, SideCode};
use peregrine_fix::{Body, Counters, Event, Numbers, Session, SessionConfig};
use peregrine_types::{Decimal, EpochNanos, OrderRef, Price, Qty, Symbol};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

use crate::faults::happens;
use crate::orders::OrderEvent;

/// What is wrong with a drop copy. Shares are in millionths (0 to 1,000,000).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyFaults {
    /// Fills that are not told.
    pub lost_ppm: u32,
    /// Fills that are told twice.
    pub twice_ppm: u32,
    /// Fills with one share more.
    pub wrong_qty_ppm: u32,
    /// Fills with another price.
    pub wrong_price_ppm: u32,
    /// Fills of the other side.
    pub wrong_side_ppm: u32,
    /// Fills behind which one is told that never was.
    pub phantom_fill_ppm: u32,
    /// Fills behind which a trade is broken that never was.
    pub phantom_bust_ppm: u32,
}

/// What a drop copy needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropCopyConfig {
    /// The session, an acceptor's; its store holds the day.
    pub session: SessionConfig,
    /// The order port that it copies, by its place.
    pub port: usize,
    /// Whether acceptances, cancels and rejections are told too.
    pub is_every_event: bool,
    /// Reports of a day.
    pub report_count_max: usize,
    /// What is wrong with it.
    pub faults: CopyFaults,
    /// Seed of the faults.
    pub seed: u64,
}

/// What an order's port knows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CopiedOrder {
    pub(crate) number: u32,
    pub(crate) order_ref: OrderRef,
    pub(crate) symbol: Symbol,
    /// Side of the wire: B, S, T or E.
    pub(crate) side: u8,
    pub(crate) open: u32,
}

/// The order that an event is about; a rejected one has none.
pub(crate) const fn order_of(event: &OrderEvent) -> Option<OrderRef> {
    match event {
        OrderEvent::Accepted { order_ref, .. }
        | OrderEvent::Replaced { order_ref, .. }
        | OrderEvent::Executed { order_ref, .. }
        | OrderEvent::Canceled { order_ref, .. }
        | OrderEvent::Prevented { order_ref, .. }
        | OrderEvent::Restated { order_ref, .. }
        | OrderEvent::Triggered { order_ref, .. }
        | OrderEvent::CancelPending { order_ref, .. }
        | OrderEvent::CancelRejected { order_ref, .. } => Some(*order_ref),
        OrderEvent::Rejected { .. } => None,
    }
}

/// What a drop copy counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DropCopyCounters {
    /// Reports told, repetitions left out.
    pub report_count: u64,
    /// Times that the day was told again.
    pub replay_count: u64,
    /// Reports that found no room.
    pub lost_count: u64,
    /// Faults that happened.
    pub fault_count: u64,
}

/// A fill as it was told.
#[derive(Clone, Copy, Debug)]
struct Told {
    match_number: u64,
    order: CopiedOrder,
    qty: u32,
    price: Price,
}

/// See the module.
#[derive(Debug)]
pub struct DropCopy {
    session: Session,
    config: DropCopyConfig,
    /// Every report of the day.
    day: Vec<Body>,
    told: Vec<Told>,
    /// Shares executed of each order, and their value in 10⁻⁹.
    totals: BTreeMap<u32, (u64, i128)>,
    chance: ChaCha8Rng,
    counters: DropCopyCounters,
    message_count: u64,
    /// The day is over: nobody is let in any more.
    is_over: bool,
}

impl DropCopy {
    /// A drop copy that nobody reads yet.
    #[must_use]
    pub fn new(config: DropCopyConfig) -> Self {
        Self {
            session: Session::new(config.session.clone(), Numbers::START),
            day: Vec::new(),
            told: Vec::new(),
            totals: BTreeMap::new(),
            chance: ChaCha8Rng::seed_from_u64(config.seed),
            counters: DropCopyCounters::default(),
            message_count: 0,
            is_over: false,
            config,
        }
    }

    /// The port that it copies.
    #[must_use]
    pub const fn port(&self) -> usize {
        self.config.port
    }

    /// The session.
    pub const fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// What it counted, and what its session did.
    #[must_use]
    pub const fn counters(&self) -> (DropCopyCounters, Counters) {
        (self.counters, self.session.counters())
    }

    /// The day is over: who reads is told so by a Logout, behind everything else, and nobody is let in any more. A reader that
    /// came once more would be told the day without an end.
    pub fn end(&mut self, now: EpochNanos) {
        self.is_over = true;
        self.session.logout("the day is over", now, &mut |_| {});
    }

    /// Whether the day is over.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.is_over
    }

    /// A connection stands.
    pub fn connect(&mut self, now: EpochNanos) {
        self.session.connect(now);
    }

    /// The connection is gone.
    pub fn disconnect(&mut self) {
        self.session.disconnect(&mut |_| {});
    }

    /// Takes bytes that arrived.
    pub fn receive(&mut self, bytes: &[u8], now: EpochNanos) {
        let mut is_anew = false;
        self.session
            .receive(bytes, now, &mut |event| is_anew |= matches!(event, Event::LoggedOn { is_reset: true, .. }));
        if is_anew && !self.day.is_empty() {
            self.counters.replay_count += 1;
            for body in &self.day {
                let sent = self.session.send_again(ExecutionReport::MSG_TYPE, body, now);
                self.counters.lost_count += u64::from(sent.is_err());
            }
        }
    }

    /// Lets time pass.
    pub fn poll(&mut self, now: EpochNanos) {
        self.session.poll(now, &mut |_| {});
    }

    /// Something happened to an order of the port.
    pub(crate) fn on_event(&mut self, order: CopiedOrder, event: &OrderEvent, now: EpochNanos) {
        match *event {
            OrderEvent::Executed { qty, price, liquidity, match_number, .. } => {
                let total = self.totals.entry(order.number).or_default();
                total.0 += u64::from(qty);
                total.1 += i128::from(price.0) * i128::from(qty);
                let told = Told { match_number, order, qty, price };
                self.told.push(told);
                self.tell_fill(told, liquidity, now);
            }
            OrderEvent::Accepted { .. } | OrderEvent::Replaced { .. } if self.config.is_every_event => {
                let is_new = matches!(event, OrderEvent::Accepted { .. });
                let exec_type = if is_new { ExecType::New } else { ExecType::Replaced };
                self.tell_state(order, exec_type, OrdStatus::New, now);
            }
            OrderEvent::Canceled { .. } | OrderEvent::Prevented { .. } if self.config.is_every_event => {
                let is_dead = order.open == 0;
                let exec_type = if is_dead { ExecType::Canceled } else { ExecType::Restated };
                let status = if is_dead { OrdStatus::Canceled } else { OrdStatus::New };
                self.tell_state(order, exec_type, status, now);
            }
            OrderEvent::Accepted { .. }
            | OrderEvent::Replaced { .. }
            | OrderEvent::Canceled { .. }
            | OrderEvent::Prevented { .. }
            | OrderEvent::Rejected { .. }
            | OrderEvent::Restated { .. }
            | OrderEvent::Triggered { .. }
            | OrderEvent::CancelPending { .. }
            | OrderEvent::CancelRejected { .. } => {}
        }
    }

    /// A trade was broken: told for each side of it that the port had.
    pub(crate) fn on_broken(&mut self, match_number: u64, now: EpochNanos) {
        let meant: Vec<Told> = self.told.iter().filter(|told| told.match_number == match_number).copied().collect();
        for told in meant {
            if let Some(total) = self.totals.get_mut(&told.order.number) {
                total.0 = total.0.saturating_sub(u64::from(told.qty));
                total.1 -= i128::from(told.price.0) * i128::from(told.qty);
            }
            self.tell(told, (ExecType::TradeCancel, OrdStatus::PartiallyFilled), 0, now);
        }
    }

    fn tell_fill(&mut self, told: Told, liquidity: u8, now: EpochNanos) {
        let CopyFaults { lost_ppm, twice_ppm, wrong_qty_ppm, wrong_price_ppm, wrong_side_ppm, .. } = self.config.faults;
        let CopyFaults { phantom_fill_ppm, phantom_bust_ppm, .. } = self.config.faults;
        let mut wrong = told;
        wrong.qty += u32::from(self.is_wrong(wrong_qty_ppm));
        wrong.price.0 += if self.is_wrong(wrong_price_ppm) { 10_000_000 } else { 0 };
        if self.is_wrong(wrong_side_ppm) {
            wrong.order.side = if told.order.side == b'B' { b'S' } else { b'B' };
        }
        let status = if told.order.open == 0 { OrdStatus::Filled } else { OrdStatus::PartiallyFilled };
        if !self.is_wrong(lost_ppm) {
            self.tell(wrong, (ExecType::Trade, status), liquidity, now);
        }
        if self.is_wrong(twice_ppm) {
            self.tell(wrong, (ExecType::Trade, status), liquidity, now);
        }
        let phantom = Told { match_number: told.match_number + 1_000_000_000, ..told };
        if self.is_wrong(phantom_fill_ppm) {
            self.tell(phantom, (ExecType::Trade, status), liquidity, now);
        }
        if self.is_wrong(phantom_bust_ppm) {
            let never = Told { match_number: told.match_number + 2_000_000_000, ..told };
            self.tell(never, (ExecType::TradeCancel, status), liquidity, now);
        }
    }

    fn is_wrong(&mut self, ppm: u32) -> bool {
        let is_wrong = happens(&mut self.chance, ppm);
        self.counters.fault_count += u64::from(is_wrong);
        is_wrong
    }

    fn tell(&mut self, told: Told, (exec_type, status): (ExecType, OrdStatus), liquidity: u8, now: EpochNanos) {
        let (match_number, order_number) = (told.match_number.to_string(), told.order.number);
        let name = format!("{match_number}-{order_number}");
        let is_bust = exec_type == ExecType::TradeCancel;
        let bust_name = format!("B{name}");
        let report = ExecutionReport {
            exec_id: if is_bust { &bust_name } else { &name },
            exec_ref_id: is_bust.then_some(name.as_str()),
            secondary_exec_id: Some(&match_number),
            last_qty: Some(Qty(u64::from(told.qty))),
            last_price: Some(told.price),
            liquidity: match liquidity {
                0 => None,
                b'A' | b'k' | b'J' | b'j' => Some(1),
                _ => Some(2),
            },
            ..blank(exec_type, status)
        };
        self.write(&report, told.order, now);
    }

    fn tell_state(&mut self, order: CopiedOrder, exec_type: ExecType, status: OrdStatus, now: EpochNanos) {
        self.message_count += 1;
        let exec_id = format!("E{}", self.message_count);
        self.write(&ExecutionReport { exec_id: &exec_id, ..blank(exec_type, status) }, order, now);
    }

    /// Completes a report with what is known of its order, and tells it.
    fn write(&mut self, report: &ExecutionReport<'_>, order: CopiedOrder, now: EpochNanos) {
        let (cum, value) = self.totals.get(&order.number).copied().unwrap_or_default();
        let average = Decimal::new(value / i128::from(cum.max(1))).to_string();
        let (order_id, number) = (order.order_ref.0.to_string(), order.number.to_string());
        let symbol = core::str::from_utf8(&order.symbol.0).unwrap_or("?").trim_end();
        let report = ExecutionReport {
            order_id: &order_id,
            cl_ord_id: Some(&number),
            symbol,
            side: match order.side {
                b'B' => SideCode::Buy,
                b'T' => SideCode::SellShort,
                b'E' => SideCode::SellShortExempt,
                _ => SideCode::Sell,
            },
            leaves_qty: Qty(u64::from(order.open)),
            cum_qty: Qty(cum),
            avg_price: &average,
            transact_time: Some(now),
            ..*report
        };
        let mut body = Body::new();
        report.write(&mut body);
        if self.day.len() >= self.config.report_count_max {
            self.counters.lost_count += 1;
            return;
        }
        let sent = self.session.send(ExecutionReport::MSG_TYPE, &body, now);
        self.counters.lost_count += u64::from(sent.is_err());
        self.counters.report_count += 1;
        self.day.push(body);
    }
}

const fn blank(exec_type: ExecType, status: OrdStatus) -> ExecutionReport<'static> {
    ExecutionReport {
        order_id: "",
        cl_ord_id: None,
        orig_cl_ord_id: None,
        exec_id: "",
        exec_ref_id: None,
        secondary_exec_id: None,
        exec_type,
        status,
        reject_reason: None,
        restatement_reason: None,
        account: None,
        symbol: "",
        side: SideCode::Buy,
        qty: None,
        ord_type: None,
        price: None,
        lifetime: None,
        last_qty: None,
        last_price: None,
        leaves_qty: Qty(0),
        cum_qty: Qty(0),
        avg_price: "0",
        transact_time: None,
        text: None,
        liquidity: None,
    }
}
