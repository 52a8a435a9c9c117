//! Stories and summaries from a small log, written as the engine writes one.
#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::path::Path;

use peregrine_eventlog::{
    EventLog, LogConfig, RunFacts,
    records::{DecisionRecord, InputCheckpoint, IntentKind, OrderRecord, OrderTransition, SymbolListed},
};
use peregrine_report::{StoryError, log_summary, order_story};
use peregrine_types::{
    EpochNanos, EventKind, EventSeq, Liquidity, MatchNumber, Nanos, OrderId, Position, Price, Qty, ReasonCode, Side,
    Symbol, SymbolId,
};

const START: EpochNanos = EpochNanos(1_769_783_400_000_000_000);
const PRICE: Price = Price(322_400_000_000);

fn after(nanos: i64) -> EpochNanos {
    START.plus(Nanos(nanos))
}

fn decision(order: u64, kind: IntentKind, at: i64) -> DecisionRecord {
    DecisionRecord {
        event_seq: EventSeq(41),
        recv_time: after(at),
        exch_time: after(at - 900),
        cause_id: 77_001,
        cause_price: Price(322_410_000_000),
        cause_qty: Qty(1_200),
        position: Position(-100),
        bid_price: PRICE,
        bid_qty: Qty(500),
        intent_price: PRICE,
        intent_qty: Qty(100),
        order_id: OrderId(order),
        features: core::array::from_fn(|index| index as f32 / 8.0),
        return_mean: [1.5e-5, -2.0e-6, 0.0, 0.0],
        return_log_var: [-20.0, -19.5, 0.0, 0.0],
        up_probability: 0.625,
        regime: 2,
        regime_confidence: 0.75,
        action: 0.5,
        surprise: 0.125,
        symbol: SymbolId(1),
        cause_kind: EventKind::ReplaceOrder,
        intent_kind: kind,
        is_post_only: true,
        book_state: 32,
        horizons_and_intent: DecisionRecord::pack_counts(2, 0),
        ..DecisionRecord::default()
    }
}

fn step(order: u64, transition: OrderTransition, at: i64) -> OrderRecord {
    OrderRecord {
        order_id: OrderId(order),
        event_seq: EventSeq(41),
        decision_time: after(1_000),
        venue_time: after(at),
        visible_time: after(at + 500),
        price: PRICE,
        qty: Qty(100),
        leaves_qty: Qty(100),
        symbol: SymbolId(1),
        transition,
        side: Side::Buy,
        is_post_only: true,
        ..OrderRecord::default()
    }
}

fn write(dir: &Path) {
    let config = LogConfig {
        dir: dir.join("log"),
        staging_dir: Some(dir.to_path_buf()),
        staging_record_counts: [256; 4],
        segment_len_max: 20_672,
        stream_len_max: 1 << 20,
        sync_interval: Nanos(0),
        is_memory_locked: false,
    };
    let facts = RunFacts { start_time: START, ..RunFacts::default() };
    let mut log = EventLog::create(&config, &facts).unwrap();
    for (id, name) in [(0, "AAAA"), (1, "BBBB")] {
        let name = Symbol::new(name).unwrap();
        let symbol = SymbolId(id);
        let recv_time = after(1);
        let locate = 7;
        log.feed
            .append(&SymbolListed {
                name,
                event_seq: EventSeq(0),
                recv_time,
                symbol,
                round_lot: 100,
                locate,
                reserved: [0; 14],
            })
            .unwrap();
    }
    log.feed.append(&InputCheckpoint { recv_time: after(9_000), ..InputCheckpoint::default() }).unwrap();
    let denied = DecisionRecord { verdict: ReasonCode::PriceCollar, ..decision(0, IntentKind::New, 900) };
    for record in [
        denied,
        decision(1, IntentKind::New, 950),
        decision(2, IntentKind::New, 1_000),
        decision(2, IntentKind::Cancel, 6_000),
    ] {
        log.decide.append(&record).unwrap();
    }
    let fill = OrderRecord {
        qty: Qty(40),
        leaves_qty: Qty(60),
        filled_qty: Qty(40),
        position: Position(-60),
        match_number: MatchNumber(9),
        fee: -80_000_000,
        liquidity: Liquidity::Added,
        ..step(2, OrderTransition::PartiallyFilled, 4_500)
    };
    let canceled = OrderRecord {
        qty: Qty(60),
        leaves_qty: Qty(0),
        filled_qty: Qty(40),
        position: Position(-60),
        reason: ReasonCode::VenueUserCancel,
        ..step(2, OrderTransition::Canceled, 7_000)
    };
    log.send.append(&step(1, OrderTransition::Submitted, 1_900)).unwrap();
    for record in [
        step(2, OrderTransition::Submitted, 2_000),
        step(2, OrderTransition::Accepted, 2_000),
        fill,
        step(2, OrderTransition::CancelRequested, 7_000),
        canceled,
    ] {
        log.send.append(&record).unwrap();
    }
    log.recorder.poll(START).unwrap();
    drop((log.feed, log.decide, log.send, log.measure));
    log.recorder.close().unwrap();
}

#[test]
fn an_order_s_story_is_told_from_the_log_alone() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let story = order_story(dir.path(), OrderId(2), &["spread_bps", "imbalance_1"]).unwrap();
    assert_eq!((story.symbol.as_str(), story.final_state.as_str(), story.filled_qty), ("BBBB", "canceled", 40));
    assert_eq!(
        story.steps.iter().map(|step| step.since_decision_ns).collect::<Vec<_>>(),
        [1_000, 1_000, 3_500, 6_000, 6_000]
    );
    assert_eq!((story.cancels.len(), story.decision.as_ref().unwrap().ask), (1, None));
    assert_eq!(story.decision.as_ref().unwrap().model.return_mean, [1.5e-5, -2.0e-6]);
    insta::assert_snapshot!("story_text", story.to_text());
    insta::assert_snapshot!("story_json", story.to_json());
    let same = order_story(&dir.path().join("log"), OrderId(2), &["spread_bps", "imbalance_1"]).unwrap();
    assert_eq!(same, story);
    let open = order_story(dir.path(), OrderId(1), &[]).unwrap();
    assert_eq!((open.steps.len(), open.final_state.as_str()), (1, "submitted, not answered"));
}

#[test]
fn an_order_that_is_not_there_is_an_error_that_says_which_are() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    for missing in [0, 3] {
        let error = order_story(dir.path(), OrderId(missing), &[]).unwrap_err();
        assert!(matches!(error, StoryError::OrderMissing { order_id_max: OrderId(2), .. }), "{error}");
    }
    assert!(matches!(order_story(&dir.path().join("nothing"), OrderId(1), &[]), Err(StoryError::Log(_))));
}

#[test]
fn a_log_is_summed_up_and_its_damage_named() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let summary = log_summary(dir.path()).unwrap();
    assert_eq!(
        (summary.symbols.as_slice(), summary.order_id_max),
        (["AAAA".to_owned(), "BBBB".to_owned()].as_slice(), 2)
    );
    assert_eq!((summary.first_recv_time, summary.last_recv_time), (Some(after(1)), Some(after(9_000))));
    let counts: Vec<_> = summary.kinds.iter().map(|row| (row.kind, row.count)).collect();
    assert_eq!(counts, [("InputCheckpoint", 1), ("SymbolListed", 2), ("DecisionRecord", 4), ("OrderRecord", 6)]);
    assert!(summary.is_sealed && summary.damage.is_none() && summary.to_text(80).contains("whole and closed"));

    let path = dir.path().join("log").join("send-000001.plog");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[64 + 128 + 40] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let summary = log_summary(dir.path()).unwrap();
    assert!(summary.verified.is_err() && summary.log_hash.is_none());
    let text = summary.to_text(60);
    assert!(text.contains("send-000001.plog") && text.contains("checksum"), "{text}");
}
