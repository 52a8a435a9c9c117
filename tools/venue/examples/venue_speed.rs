//! Orders per second of the matching engine and of a whole port, in process, on one thread.
//!
//! `cargo run --release -p peregrine-venue --example venue_speed -- [COMMANDS] [SYMBOLS]`, or `... agents [SYMBOLS]` for an hour
//! of agents with the exchange they trade at.
//!
//! The flow: 48 % new orders near the touch (one in six crosses it), 42 % cancels, 10 % replaces, of orders that are
//! drawn from those alive; symbols are drawn evenly. Latencies are measured around each command, clock included.

use std::io::Write;
use std::time::Instant;

use peregrine_types::{EpochNanos, OrderRef, Price, Side, Symbol, SymbolId, TickTable};
use peregrine_venue::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Counts what comes out, and remembers the latest references.
#[derive(Default)]
struct Count {
    executions: u64,
    messages: u64,
    accepted: Option<OrderRef>,
}

impl VenueSink for Count {
    fn on_order(&mut self, _: TimeOfDay, _: AccountId, event: OrderEvent) {
        if let OrderEvent::Accepted { order_ref, .. } | OrderEvent::Replaced { order_ref, .. } = event {
            self.accepted = Some(order_ref);
        }
        self.executions += u64::from(matches!(event, OrderEvent::Executed { .. }));
    }

    fn on_market(&mut self, _: TimeOfDay, message: &[u8]) {
        self.messages += 1;
        std::hint::black_box(message);
    }
}

fn config(symbol_count: u32, command_count: u32) -> Option<VenueConfig> {
    let symbols = (0..symbol_count).map(|index| {
        let name = Symbol::new(&format!("S{index}"))?;
        let ticks = TickTable::US_EQUITY;
        Some(SymbolConfig { name, ticks, round_lot: 100, reference_price: Price(100_000_000_000) })
    });
    Some(VenueConfig {
        symbols: symbols.collect::<Option<_>>()?,
        firms: (0..100).map(FirmId).collect(),
        schedule: DaySchedule::full(),
        order_count_max: command_count.max(1_000),
        reference_count_max: command_count.saturating_mul(2).max(1_000),
        level_count_max: symbol_count * 256,
        side_level_count_max: 256,
    })
}

fn draw(chance: &mut ChaCha8Rng, below: u32) -> u32 {
    chance.next_u32() % below.max(1)
}

fn commands(count: u32, symbol_count: u32) -> Vec<(u32, Command)> {
    let mut chance = ChaCha8Rng::seed_from_u64(1);
    let terms = |chance: &mut ChaCha8Rng, side: Side| {
        let offset = i64::from(draw(chance, 12)) - 2;
        let offset = if side == Side::Buy { -offset } else { offset + 1 };
        Terms::limit(Price(100_000_000_000 + offset * 10_000_000))
    };
    let one = |_| {
        let side = if draw(&mut chance, 2) == 0 { Side::Buy } else { Side::Sell };
        let qty = (draw(&mut chance, 5) + 1) * 100;
        let pick = draw(&mut chance, u32::MAX);
        let command = match draw(&mut chance, 100) {
            0..48 => Command::Enter(NewOrder {
                account: AccountId(draw(&mut chance, 100)),
                token: 0,
                symbol: SymbolId(draw(&mut chance, symbol_count)),
                side,
                qty,
                terms: terms(&mut chance, side),
            }),
            48..90 => Command::Cancel { order_ref: OrderRef(0), qty: 0 },
            _ => Command::Replace { order_ref: OrderRef(0), token: 0, qty, terms: terms(&mut chance, side) },
        };
        (pick, command)
    };
    (0..count).map(one).collect()
}

/// An hour of agents (configs/venue_agents.toml) as fast as it goes: their decisions, the matching, the feed.
fn agents(symbol_count: u32) -> Result<(), Box<dyn std::error::Error>> {
    let path = std::path::Path::new("configs/venue_agents.toml");
    let settings = Settings::parse(include_str!("../../../configs/venue_agents.toml"), path)?;
    let FlowSettings::Agents(mut flow) = settings.flow else { return Err("no agents are configured".into()) };
    flow.symbol_count = symbol_count;
    let mut config = config(symbol_count, 2_000_000).ok_or("symbols that have no name")?;
    (config.firms, config.schedule) = ((0..flow.agent_count()).map(FirmId).collect(), settings.schedule);
    config.reference_count_max = 1 << 26;
    let mut agents = AgentFlow::new(*flow, &config.symbols, &config.schedule, AccountId(0));
    let clock = VenueClock::from_midnight(EpochNanos(0));
    let mut exchange = Exchange::new(config, &[], clock)?;
    exchange.hear_from(AccountId(0));
    let mut message_count = 0_u64;
    let mut feed = |_: TimeOfDay, message: &[u8]| {
        message_count += 1;
        std::hint::black_box(message);
    };
    let mut times = Vec::new();
    let begin = Instant::now();
    loop {
        let before = Instant::now();
        if !agents.step(EpochNanos(0), &mut exchange, &mut feed) {
            break;
        }
        times.push(before.elapsed().as_nanos());
    }
    let seconds = begin.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |permille: usize| times.get(times.len().saturating_sub(1) * permille / 1_000).copied().unwrap_or(0);
    let counters = agents.counters();
    let orders: u64 = counters.kinds.iter().map(|kind| kind.entered_count).sum();
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "agents over {symbol_count} symbols, an hour in {seconds:.1} s: {} looks, {orders} orders, {:.0} orders/s",
        counters.look_count,
        f64::from(u32::try_from(orders)?) / seconds
    )?;
    writeln!(out, "{} executions, {message_count} feed messages", exchange.venue().match_count())?;
    writeln!(out, "look to last event, ns: p50 {} p99 {} p99.9 {} max {}", at(500), at(990), at(999), at(1_000))?;
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if_eq("agents").is_some() {
        return agents(arguments.next().map_or(Ok(100), |text| text.parse())?);
    }
    let count: u32 = arguments.next().map_or(Ok(2_000_000), |text| text.parse())?;
    let symbol_count: u32 = arguments.next().map_or(Ok(4_000), |text| text.parse())?;
    let config = config(symbol_count, count).ok_or("symbols that have no name")?;
    let mut venue = Venue::new(config)?;
    let mut sink = Count::default();
    let open = 10 * 3_600_000_000_000;
    venue.apply(TimeOfDay(open), &Command::Clock, &mut sink);
    let mut alive: Vec<OrderRef> = Vec::with_capacity(count as usize);
    let mut times = Vec::with_capacity(count as usize);
    let list = commands(count, symbol_count);
    let begin = Instant::now();
    for (step, (pick, command)) in (0_u64..).zip(&list) {
        let picked = if alive.is_empty() { None } else { Some(*pick as usize % alive.len()) };
        let command = match *command {
            Command::Cancel { qty, .. } => {
                let order_ref = picked.map_or(OrderRef(0), |at| alive.swap_remove(at));
                Command::Cancel { order_ref, qty }
            }
            Command::Replace { token, qty, terms, .. } => {
                let order_ref = picked.map_or(OrderRef(0), |at| alive.swap_remove(at));
                Command::Replace { order_ref, token, qty, terms }
            }
            Command::Clock
            | Command::Enter(_)
            | Command::SetBands { .. }
            | Command::Halt { .. }
            | Command::Pause { .. }
            | Command::Quote { .. }
            | Command::Resume { .. }
            | Command::Imbalance { .. }
            | Command::Collars { .. }
            | Command::Break { .. } => *command,
        };
        sink.accepted = None;
        let before = Instant::now();
        venue.apply(TimeOfDay(open + step), &command, &mut sink);
        times.push(before.elapsed().as_nanos());
        alive.extend(sink.accepted);
    }
    let elapsed = begin.elapsed();
    times.sort_unstable();
    let at = |permille: usize| times.get(times.len().saturating_sub(1) * permille / 1_000).copied().unwrap_or(0);
    let per_second = f64::from(count) / elapsed.as_secs_f64();
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{count} commands over {symbol_count} symbols: {per_second:.0} commands/s, {} live at the end",
        venue.order_count()
    )?;
    writeln!(out, "{} executions, {} feed messages", sink.executions / 2, sink.messages)?;
    writeln!(out, "order to last event, ns: p50 {} p99 {} p99.9 {} max {}", at(500), at(990), at(999), at(1_000))?;
    Ok(())
}
