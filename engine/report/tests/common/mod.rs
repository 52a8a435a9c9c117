//! Reports that the tests share: a full one, with hostile text, and the limits.

use peregrine_report::{
    AnomalyRow, BookReport, DenialRow, DriftPart, DriftRow, EquityPoint, Fact, FeedReport, FillClass, FillPart,
    GapTotals, HitRate, InputReport, LatencyPart, LatencyRow, LineReport, LogSection, MessageRow, ModelReport,
    OrdersReport, Pacing, PaperReport, PnlReport, RegimeChange, RegimePart, RegimeRow, RiskReport, RunReport,
    StrategyReport, StreamRow, SymbolRow, ThroughputPoint, ThroughputReport, Verdict, VerdictOutcome, WayFigures,
};
use peregrine_runtime::{LatencyBounds, latency_recorder};
use peregrine_types::{EpochNanos, Nanos, Notional, Price, ReasonCode};

const START: i64 = 1_769_783_400_000_000_000;

/// A run that has something in every part.
pub(crate) fn full() -> RunReport {
    RunReport {
        title: "Peregrine demo".to_owned(),
        command: "peregrine demo --seed 7".to_owned(),
        run_dir: "peregrine-out/demo-7".to_owned(),
        started_utc: EpochNanos(START),
        elapsed_ns: 4_812_000_000,
        warnings: vec!["The capture ends inside a record (cut at offset 1,234,567).".to_owned()],
        verdicts: vec![
            Verdict::new(VerdictOutcome::Pass, "The log is whole and closed."),
            Verdict::new(VerdictOutcome::Warn, "The governor is powersave."),
            Verdict::new(VerdictOutcome::Fail, "One gap was lost."),
        ],
        facts: vec![
            Fact::new("host", "processor", "Xeon, 2 cores, AVX-512"),
            Fact::new("host", "clock", "TSC 2,000.000 MHz, invariant"),
            Fact::new("wiring", "roles", "fused"),
            Fact::new("wiring", "backend", "avx512"),
            Fact::new("wiring", "config hash", "1f".repeat(32)),
        ],
        model: ModelReport {
            name: "wm-small".to_owned(),
            sha256: "ab".repeat(32),
            size: "small, 61,234 parameters".to_owned(),
            training: "untrained".to_owned(),
            is_trained: false,
        },
        inputs: vec![InputReport {
            path: "peregrine-out/demo-7/session.itch".to_owned(),
            format: "ITCH 5.0, length-prefixed".to_owned(),
            line: "A".to_owned(),
            len: 98_765_432,
            sha256: "cd".repeat(32),
            packet_count: 0,
            message_count: 3_000_000,
            end: "complete".to_owned(),
        }],
        feed: feed(),
        book: BookReport {
            symbol_count: 8_000,
            live_order_count: 412_345,
            live_order_count_max: 600_001,
            anomalies: vec![AnomalyRow { kind: "UnknownOrder".to_owned(), count: 3 }],
            quarantined_symbols: vec!["ZZZ".to_owned()],
        },
        strategy: StrategyReport {
            watched_symbols: vec!["AAAA".to_owned(), "BBBB".to_owned()],
            watched_event_count: 210_000,
            decision_count: 90_000,
            throttled_count: 12,
            book_not_good_count: 345,
            new_intent_count: 5_300,
            cancel_intent_count: 2_100,
            non_finite_count: 0,
        },
        risk: risk(),
        orders: orders(),
        filled_by: "Orders were filled by the paper venue against the book that the files rebuild.".to_owned(),
        pnl: pnl(),
        paper: Some(paper()),
        latencies: vec![
            latency("feed.decode", "one message, bytes to event", 40),
            latency("decide.observe", "event to heads", 2_600),
            latency("decide.event_to_order", "event available to approved order recorded", 4_200),
        ],
        throughput: ThroughputReport::new(Pacing::Max, 3_010_000, 3_600_000_000, series()),
        log: log(),
        ..RunReport::default()
    }
}

fn risk() -> RiskReport {
    RiskReport {
        approved_count: 5_000,
        cancel_count: 2_100,
        denied: vec![DenialRow::new(ReasonCode::OrderRateLimit, 290), DenialRow::new(ReasonCode::PriceCollar, 10)],
    }
}

fn regimes() -> RegimePart {
    let regime = |name, part_count, cents: i128| RegimeRow {
        name,
        part_count,
        volatility_bps: 0.5,
        spread_bps: 1.25,
        events_per_second: 831.0,
        net: Notional(cents * 10_000_000),
    };
    let change = |name, is_change| RegimeChange {
        name,
        part_count: 60,
        time: Some(EpochNanos(START + 1_200_000_000_000)),
        before: 0.5,
        after: 2.0,
        p_value: if is_change { 0.000_01 } else { 0.3 },
        is_change,
        net_before: Notional(1_000_000_000),
        net_after: Notional(-3_000_000_000),
    };
    RegimePart {
        currency: "USD".to_owned(),
        part_ns: 60_000_000_000,
        changes: vec![change("volatility, bps per root second", true), change("spread, bps", false)],
        rows: vec![regime("calm", 20, 150), regime("usual", 20, 50), regime("wild", 20, -698)],
        net: Notional(-4_980_000_000),
        known_count: 60,
    }
}

fn paper() -> PaperReport {
    let row = |name: &str, distance, is_drifted| DriftRow {
        name: name.to_owned(),
        distance,
        p_value: if is_drifted { 1e-9 } else { 0.4 },
        first_mean: 1.5,
        second_mean: 2.25,
        is_drifted,
    };
    let way = |kind, way, p50_ns| WayFigures {
        kind,
        way,
        count: 5_000,
        min_ns: p50_ns / 2,
        p50_ns,
        p90_ns: 2 * p50_ns,
        p99_ns: 9 * p50_ns,
        max_ns: 70 * p50_ns,
    };
    let class = |count, cents: i128| FillClass { count, qty: 100 * count, net: Notional(cents * 10_000_000) };
    PaperReport {
        drift: DriftPart {
            sample_counts: [1_900, 1_901],
            split_time: Some(EpochNanos(START + 1_800_000_000_000)),
            rows: vec![row("spread_ticks", 0.31, true), row("surprise", 0.05, false)],
            hits: [HitRate { hit_count: 700, count: 1_300 }, HitRate { hit_count: 600, count: 1_250 }],
            hit_z: Some(-2.98),
        },
        latency: LatencyPart {
            model: "constant: 20 µs to the venue, 20 µs back".to_owned(),
            currency: "USD".to_owned(),
            ways: vec![way("submit", "there", 20_000), way("fill", "back", 21_000)],
            take_count: 700,
            take_qty: 70_000,
            same_qty: 60_000,
            better_qty: 1_000,
            worse_qty: 5_000,
            cost: Notional(40_000_000_000),
            deep_take_count: 20,
            rest_count: 4_280,
            rest_took_count: 3,
            post_only_refused_count: 10,
        },
        fills: FillPart {
            currency: "USD".to_owned(),
            at_touch: class(650, -1_200),
            through: class(50, -300),
            unseen: class(1, 2),
            swept: class(1_100, -500),
            queue: class(800, 1_400),
            unknown: class(100, 100),
            unmarked_count: 0,
        },
        regimes: regimes(),
    }
}

fn feed() -> FeedReport {
    let rows = [
        ("A", "Add Order", 1_400_000),
        ("D", "Order Delete", 1_300_000),
        ("U", "Order Replace", 299_990),
        ("P", "Trade", 10),
    ];
    let line = |name: &str, first_count| LineReport {
        name: name.to_owned(),
        packet_count: 100_000,
        message_count: 3_000_000,
        first_count,
        duplicate_count: 3_000_000 - first_count,
        late_count: 4,
        gap_count: 7,
        gap_message_count: 21,
        malformed_count: 0,
    };
    FeedReport {
        message_count: 3_000_000,
        event_count: 3_010_000,
        messages: rows
            .map(|(code, name, count)| MessageRow { code: code.to_owned(), name: name.to_owned(), count })
            .to_vec(),
        first_exch_time: Some(EpochNanos(START)),
        last_exch_time: Some(EpochNanos(START + 3_600_000_000_000)),
        is_recv_time_synthetic: true,
        lines: vec![line("A", 2_000_000), line("B", 1_000_000)],
        gaps: GapTotals { declared_count: 2, recovered_count: 1, lost_count: 1, lost_message_count: 5 },
        ..FeedReport::default()
    }
}

fn orders() -> OrdersReport {
    OrdersReport {
        submitted_count: 5_000,
        accepted_count: 4_990,
        rejected_count: 10,
        rejected: vec![DenialRow::new(ReasonCode::VenuePostOnly, 10)],
        filled_count: 2_400,
        partially_filled_count: 90,
        canceled_count: 2_490,
        open_count: 10,
        fill_added_count: 2_000,
        fill_removed_count: 700,
        submitted_qty: 500_000,
        filled_qty: 244_000,
        ..OrdersReport::default()
    }
}

fn pnl() -> PnlReport {
    let row = |symbol: &str, net: i128| SymbolRow {
        symbol: symbol.to_owned(),
        order_count: 2_500,
        fill_count: 1_350,
        bought_qty: 61_000,
        sold_qty: 61_100,
        position: -100,
        mark_price: Some(Price(322_405_000_000)),
        turnover: Notional(39_000_000_000_000_000),
        gross: Notional(net + 20_000_000_000),
        fees: Notional(20_000_000_000),
        net: Notional(net),
    };
    let point = |index: i64| EquityPoint {
        time: EpochNanos(START + index * 36_000_000_000),
        equity: Notional(i128::from((index * 37) % 23 - index) * 1_500_000_000),
        gross_exposure: Notional(i128::from((index * 53) % 31) * 1_000_000_000_000),
    };
    PnlReport {
        currency: "USD".to_owned(),
        mark: "mid price of the last good book".to_owned(),
        gross: Notional(-83_210_000_000),
        fees: Notional(40_000_000_000),
        net: Notional(-123_210_000_001),
        turnover: Notional(78_000_000_000_000_000),
        gross_exposure_max: Notional(30_000_000_000_000),
        symbols: vec![row("AAAA", -150_000_000_000), row("BBBB", 26_789_999_999)],
        traded_symbol_count: 2,
        curve: (0..=100).map(point).collect(),
    }
}

fn series() -> Vec<ThroughputPoint> {
    let point = |index: u64| ThroughputPoint {
        at_ns: index * 100_000_000,
        interval_ns: 100_000_000,
        event_count: 83_000 + (index * 7_919) % 9_000,
    };
    (1..=36).map(point).collect()
}

fn latency(name: &str, measures: &str, typical: i64) -> LatencyRow {
    let (mut recorder, mut reader) = latency_recorder(name, LatencyBounds::STANDARD).expect("standard bounds");
    for index in 0..60_000_i64 {
        let spread = (index * 7_919) % 60_000;
        let tail = if spread > 59_900 { (spread - 59_900) * typical } else { 0 };
        recorder.record(Nanos(typical + spread * typical / 100_000 + tail));
    }
    drop(recorder);
    reader.take_interval().expect("the last interval");
    LatencyRow::from_reader(measures, &reader)
}

fn log() -> LogSection {
    let stream = |name: &str, record_count, is_hashed| StreamRow {
        name: name.to_owned(),
        record_count,
        len: record_count * 64,
        segment_count: 1,
        chain_head: "0123456789abcdef".repeat(4),
        is_hashed,
        is_sealed: true,
    };
    LogSection {
        dir: "peregrine-out/demo-7/log".to_owned(),
        streams: vec![
            stream("feed", 19_876, true),
            stream("decide", 90_352, true),
            stream("send", 17_345, true),
            stream("measure", 90_100, false),
        ],
        log_hash: "ef".repeat(32),
        state_hash: "12".repeat(16),
        verify_command: "peregrine replay --verify peregrine-out/demo-7/log".to_owned(),
    }
}
