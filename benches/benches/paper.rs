//! The paper venue: an order from acceptance to its fill, and what a market event costs while own orders rest.

use criterion::{Criterion, Throughput};
use peregrine_benches::BenchError;
use peregrine_benches::parts::{ORDER_INTERVAL, context, gate};
use peregrine_benches::session::LoadedSession;
use peregrine_book::{BookConfig, BookUpdate, Books, MarketBooks};
use peregrine_gateway::{ConstantLatency, Fees, FifoQueue, PaperConfig, PaperVenue};
use peregrine_risk::{ApprovedOrder, RiskGate};
use peregrine_types::{
    EpochNanos, EventKind, EventSeq, Execution, ExecutionKind, Full, MarketEvent, Nanos, NewOrder, OrderIntent, Price,
    Qty, Side, SymbolId, TickTable, TickTables, TimeInForce,
};

/// Own orders at rest while market events go by.
const RESTING_COUNT: usize = 8;
const WAY: Nanos = Nanos(20_000);

fn venue() -> Result<PaperVenue<FifoQueue, ConstantLatency>, BenchError> {
    let fees = Fees { added: Price(-2_000_000), removed: Price(3_000_000) };
    let ticks = TickTables::new(TickTable::US_EQUITY);
    let config = PaperConfig { symbol_count_max: 2, order_count_max: 1_024, fees, ticks };
    Ok(PaperVenue::new(config, FifoQueue, ConstantLatency { to_venue: WAY, from_venue: WAY })?)
}

/// One large order on each side of 100.
fn wide_market() -> Result<Books, BenchError> {
    let mut books = Books::new(BookConfig { is_unknown_state_tradable: true, ..BookConfig::new(2, 64, 1_024) })?;
    for (id_a, side, price) in [(1, Side::Buy, 99_990_000_000), (2, Side::Sell, 100_010_000_000)] {
        let mut event = MarketEvent::new(EventKind::AddOrder, SymbolId(0), EpochNanos(1), EpochNanos(1));
        (event.id_a, event.side, event.price, event.qty) = (id_a, side, Price(price), Qty(4_000_000_000));
        assert_eq!(books.apply(&event).anomaly, None);
    }
    Ok(books)
}

fn approved(gate: &mut RiskGate, order: NewOrder, now: EpochNanos) -> Option<ApprovedOrder> {
    let mut context = context(now);
    context.reference_price = Some(order.price);
    gate.check(&OrderIntent::New(order), &context, EventSeq(1), now).ok()
}

fn order_to_fill(criterion: &mut Criterion) -> Result<(), BenchError> {
    let (mut gate, mut venue, books) = (gate()?, venue()?, wide_market()?);
    let mut now = EpochNanos(1_000_000_000_000);
    let mut is_buy = false;
    criterion.bench_function("paper/risk check, order, fill and its report", |bencher| {
        bencher.iter(|| {
            now = now.plus(ORDER_INTERVAL);
            is_buy = !is_buy;
            let (side, price) = if is_buy { (Side::Buy, 100_010_000_000) } else { (Side::Sell, 99_990_000_000) };
            let order = NewOrder {
                symbol: SymbolId(0),
                side,
                price: Price(price),
                qty: Qty(1),
                time_in_force: TimeInForce::ImmediateOrCancel,
                is_post_only: false,
            };
            let accepted = approved(&mut gate, order, now).is_some_and(|order| venue.accept(order).is_ok());
            let arrival = venue.next_arrived(now.plus(WAY)).filter(|_| accepted);
            let mut fill_count = 0;
            if let Some(arrival) = arrival {
                venue.process(&arrival, &books, &mut |execution: Execution| -> Result<(), Full<Execution>> {
                    fill_count += u32::from(execution.kind == ExecutionKind::Filled);
                    gate.on_execution(&execution);
                    Ok(())
                });
            }
            assert_eq!(fill_count, 1, "every order is filled");
        });
    });
    Ok(())
}

/// Events of market hours with what they did to the book.
fn updates(session: &LoadedSession) -> Result<Vec<(MarketEvent, BookUpdate)>, BenchError> {
    let mut books = session.books()?;
    let all = session.events().into_iter().map(|event| (event, books.apply(&event)));
    Ok(all.filter(|(event, _)| event.kind != EventKind::SystemEvent).collect())
}

fn market_events(criterion: &mut Criterion) -> Result<(), BenchError> {
    let session = LoadedSession::generated(1, 50_000)?;
    let (updates, books) = (updates(&session)?, wide_market()?);
    let mut group = criterion.benchmark_group("paper/market event");
    group.throughput(Throughput::Elements(updates.len() as u64));
    for resting_count in [0, RESTING_COUNT] {
        let (mut gate, mut venue) = (gate()?, venue()?);
        let mut now = EpochNanos(1_000_000_000_000);
        let mut ignore = |_: Execution| -> Result<(), Full<Execution>> { Ok(()) };
        for number in 0..resting_count {
            now = now.plus(ORDER_INTERVAL);
            // Deep below the market: every event is looked at and none fills.
            let order = NewOrder {
                symbol: SymbolId(0),
                side: Side::Buy,
                price: Price(100_000_000 + 100_000 * i64::try_from(number)?),
                qty: Qty(100),
                time_in_force: TimeInForce::Day,
                is_post_only: true,
            };
            let order = approved(&mut gate, order, now).ok_or("the gate denied an order below the market")?;
            assert!(venue.accept(order).is_ok());
            let arrival = venue.next_arrived(now.plus(WAY)).ok_or("the order did not arrive")?;
            venue.process(&arrival, &books, &mut ignore);
        }
        assert_eq!(venue.resting_count(), resting_count);
        group.bench_function(format!("{resting_count} own orders resting"), |bencher| {
            bencher.iter(|| {
                for (event, update) in &updates {
                    venue.on_market(event, update, &books, &mut ignore);
                }
            });
        });
        assert_eq!(venue.resting_count(), resting_count);
    }
    group.finish();
    Ok(())
}

fn main() -> Result<(), BenchError> {
    let mut criterion = Criterion::default().configure_from_args();
    order_to_fill(&mut criterion)?;
    market_events(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}
