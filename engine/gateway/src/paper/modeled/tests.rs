//! The modeled latencies: kinds apart, draws that fit their quantiles and repeat, bursts by event time alone, and no
//! message before the one sent before it.

use peregrine_book::{BookConfig, MarketBooks, NaiveBooks};
use peregrine_types::{
    EventKind, EventSeq, MarketEvent, NewOrder, OrderCommand, OrderId, Price, Qty, Side, SymbolId, TickTable,
    TickTables, TimeInForce,
};
use proptest::prelude::*;

use super::*;
use crate::paper::{Fees, FifoQueue, PaperConfig, PaperVenue};

const KINDS: KindWays =
    KindWays { submit: Nanos(500), replace: Nanos(400), cancel: Nanos(300), response: Nanos(200), fill: Nanos(100) };
const BURST: Burst = Burst {
    window: Nanos(800),
    events_free: 3,
    there_per_event: Nanos(10),
    back_per_event: Nanos(7),
    extra_max: Nanos(1_000),
};

fn quantiles(values: [i64; 5]) -> Quantiles {
    Quantiles::new(values.map(Nanos)).unwrap()
}

fn spread(seed: u64) -> Spread {
    let (there, back) = (quantiles([50, 90, 1_000, 5_000, 9_000]), quantiles([10, 20, 30, 40, 50]));
    Spread { seed, there, back }
}

fn ways_there(model: &mut ModeledLatency, count: usize) -> Vec<i64> {
    (0..count).map(|_| model.way_there(RequestKind::Submit, EpochNanos(0)).0).collect()
}

#[test]
fn every_kind_has_its_own_way() {
    let mut model = ModeledLatency::new(KINDS, None, None);
    let there = [RequestKind::Submit, RequestKind::Replace, RequestKind::Cancel];
    assert_eq!(there.map(|kind| model.way_there(kind, EpochNanos(7)).0), [500, 400, 300]);
    assert_eq!(ReportKind::ALL.map(|kind| model.way_back(kind, EpochNanos(7)).0), [200, 200, 200, 100]);
    assert_eq!((model.way_there_min(), model.way_back_min()), (Nanos(300), Nanos(100)));
}

#[test]
fn a_seed_has_one_row_of_draws_for_each_way_and_another_seed_another() {
    let model = |seed| ModeledLatency::new(KINDS, Some(spread(seed)), None);
    let first = ways_there(&mut model(1), 1_000);
    assert_eq!(ways_there(&mut model(1), 1_000), first);
    assert_ne!(ways_there(&mut model(2), 1_000), first);
    // Reports in between do not shift the draws of the other way.
    let mut mixed = model(1);
    let between: Vec<_> = first
        .iter()
        .map(|_| {
            mixed.way_back(ReportKind::Fill, EpochNanos(0));
            mixed.way_there(RequestKind::Submit, EpochNanos(0)).0
        })
        .collect();
    assert_eq!(between, first);
    // The two ways are not one row of draws: with equal quantiles they differ.
    let twin = Spread { back: spread(1).there, ..spread(1) };
    let mut model = ModeledLatency::new(KindWays { fill: KINDS.submit, ..KINDS }, Some(twin), None);
    let back: Vec<_> = (0..1_000).map(|_| model.way_back(ReportKind::Fill, EpochNanos(0)).0).collect();
    assert_ne!(back, first);
}

#[test]
fn draws_fit_the_quantiles() {
    let values = [50, 90, 1_000, 5_000, 9_000];
    let exact = quantiles(values);
    assert_eq!(exact.at(0), Nanos(0));
    for (level, value) in LEVELS.iter().zip(values).take(4) {
        assert_eq!(exact.at(u32::try_from(*level).unwrap()), Nanos(value));
    }
    let mut model = ModeledLatency::new(KINDS, Some(spread(42)), None);
    let mut drawn = ways_there(&mut model, 1_000_000);
    drawn.sort_unstable();
    assert!(drawn[0] == 500 && drawn[999_999] <= 9_500 && drawn[999_999] > 9_400, "{}", drawn[999_999]);
    // Four standard errors of a share of a million draws are below 0.002, 0.0012, 0.0004 and 0.00013.
    for ((value, share), error) in
        values.into_iter().zip([0.5, 0.9, 0.99, 0.999]).zip([0.002, 0.001_2, 0.000_4, 0.000_13])
    {
        let below = drawn.partition_point(|way| *way < 500 + value) as f64 / 1e6;
        assert!((below - share).abs() < error, "{below} of the draws lie below {value}, not {share}");
    }
}

#[test]
fn quantiles_that_fall_or_are_negative_are_refused() {
    assert_eq!(Quantiles::new([1, 2, 3, 5, 4].map(Nanos)), None);
    assert_eq!(Quantiles::new([-1, 2, 3, 4, 5].map(Nanos)), None);
    assert!(Quantiles::new([0; 5].map(Nanos)).is_some_and(|none| none.at(u32::MAX) == Nanos(0)));
}

/// Eighths of the window are 100 ns: a message of 1950 counts the events from 1100 to 1899.
#[test]
fn a_burst_counts_the_events_of_the_window_before_the_message() {
    let mut model = ModeledLatency::new(KINDS, None, Some(BURST));
    for time in [1_099, 1_100, 1_300, 1_500, 1_700, 1_899, 1_900, 1_950, 2_400] {
        model.on_event(EpochNanos(time));
    }
    let way = |model: &mut ModeledLatency, at| model.way_there(RequestKind::Submit, EpochNanos(at)).0;
    assert_eq!(way(&mut model, 1_950), 500 + (5 - 3) * 10);
    assert_eq!(model.way_back(ReportKind::Fill, EpochNanos(1_950)).0, 100 + (5 - 3) * 7);
    assert_eq!(way(&mut model, 1_100), 500, "one event is free");
    assert_eq!(way(&mut model, 90_000), 500, "an old burst is forgotten");
    (0..10_000).for_each(|_| model.on_event(EpochNanos(100_000)));
    assert_eq!(way(&mut model, 100_100), 500 + 1_000, "there is a most");
    assert_eq!(model.way_there_min(), Nanos(300));
    let short = Burst { window: Nanos(80), ..BURST };
    assert_eq!(ModeledLatency::new(KINDS, None, Some(short)).way_there_min(), Nanos(80));
}

struct Driven {
    books: NaiveBooks,
    venue: PaperVenue<FifoQueue, ModeledLatency>,
    arrived: Vec<(u64, i64)>,
}

impl Driven {
    fn new(model: ModeledLatency) -> Self {
        let config = BookConfig {
            symbol_count_max: 1,
            order_count_max: 64,
            level_count_max: 64,
            is_unknown_state_tradable: true,
        };
        let fees = Fees { added: Price(0), removed: Price(0) };
        let ticks = TickTables::new(TickTable::uniform_or_cent(Price(1)));
        let paper = PaperConfig { symbol_count_max: 1, order_count_max: 4_096, fees, ticks };
        let venue = PaperVenue::new(paper, FifoQueue, model).unwrap();
        Self { books: NaiveBooks::new(config).unwrap(), venue, arrived: Vec::new() }
    }

    fn event(&mut self, at: i64) {
        let event = MarketEvent::new(EventKind::SystemEvent, SymbolId(0), EpochNanos(at), EpochNanos(at));
        while let Some(arrival) = self.venue.next_arrived(event.recv_time) {
            self.arrived.push((arrival.command.order_id().0, arrival.at.0));
        }
        let update = self.books.apply(&event);
        self.venue.on_market(&event, &update, &self.books, &mut |_| Ok(()));
    }

    fn send(&mut self, at: i64, kind: RequestKind, id: u64) {
        let order = NewOrder {
            symbol: SymbolId(0),
            side: Side::Buy,
            price: Price(1),
            qty: Qty(1),
            time_in_force: TimeInForce::Day,
            is_post_only: false,
        };
        let (order_id, cause, decision_time) = (OrderId(id), EventSeq(0), EpochNanos(at));
        let command = match kind {
            RequestKind::Submit => OrderCommand::New { order_id, order, cause, decision_time },
            RequestKind::Replace => {
                OrderCommand::Replace { order_id, replaces: OrderId(0), order, cause, decision_time }
            }
            RequestKind::Cancel => {
                OrderCommand::Cancel { order_id, replacement: OrderId(0), symbol: SymbolId(0), cause, decision_time }
            }
        };
        self.venue.send(command).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Over any market and any messages, with everything on: messages reach the venue in the order in which they were
    /// sent, each at least its kind's way after it, and when a message is handed to the venue changes nothing: at once, as
    /// on one thread, or as late as [`LatencyModel::way_there_min`] permits, as from another.
    #[test]
    fn messages_never_overtake_and_the_threads_pace_never_counts(
        steps in proptest::collection::vec((1_i64..400, 0_u8..4), 1..200),
        seed in any::<u64>(),
    ) {
        let model = ModeledLatency::new(KINDS, Some(spread(seed)), Some(BURST));
        let least = model.way_there_min().0;
        let (mut at_once, mut late) = (Driven::new(model.clone()), Driven::new(model));
        let kinds = [RequestKind::Submit, RequestKind::Replace, RequestKind::Cancel];
        let (mut now, mut waiting, mut sent) = (0, std::collections::VecDeque::new(), Vec::new());
        for ((step, what), id) in steps.into_iter().zip(1_u64..) {
            now += step;
            at_once.event(now);
            while let Some((at, kind, id)) = waiting.pop_front_if(|(at, _, _): &mut (i64, RequestKind, u64)| *at + least <= now) {
                late.send(at, kind, id);
            }
            late.event(now);
            if let Some(kind) = kinds.get(usize::from(what)) {
                at_once.send(now, *kind, id);
                waiting.push_back((now, *kind, id));
                sent.push((now, KINDS.there(*kind).0, id));
            }
        }
        waiting.into_iter().for_each(|(at, kind, id)| late.send(at, kind, id));
        [&mut at_once, &mut late].into_iter().for_each(|driven| driven.event(now + 1_000_000));
        prop_assert_eq!(&at_once.arrived, &late.arrived);
        prop_assert_eq!(at_once.arrived.len(), sent.len());
        let mut last = i64::MIN;
        for ((id, at), (sent_at, way, sent_id)) in at_once.arrived.into_iter().zip(sent) {
            prop_assert_eq!(id, sent_id);
            prop_assert!(at >= last && at >= sent_at + way, "{} sent {} is there {}", id, sent_at, at);
            last = at;
        }
    }
}
