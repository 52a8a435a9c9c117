//! One small log of every kind of record, kept as bytes: what is written today is what was written then, and what was
//! written then is read. `PEREGRINE_BLESS=1` writes the files anew: that is a change of the format, and needs a new
//! format version and a reader of the old one.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

#[expect(dead_code, reason = "other tests use the rest")]
mod common;

use std::path::{Path, PathBuf};

use common::{checkpoint, config, copy, facts, fill, segment};
use peregrine_eventlog::{
    EventLog, Fault, LogError, LogReader, LogReport, Stream,
    records::{
        AnyPayload, DecideCheckpoint, DecisionRecord, DurationRecord, GapPhase, GapRecord, GuardAction, GuardHalt,
        HeardKind, HeardRecord, HeldAction, HeldKind, HeldRecord, HistogramRecord, IntentKind, Measured, OrderRecord,
        OrderTransition, PegReference, PolicyAction, PolicyRecord, RecordKind, RunFact, SessionPhase, SessionRecord,
        SymbolListed, TradingStateRecord,
    },
    recover, verify,
};
use peregrine_types::{
    EpochNanos, EventKind, EventSeq, ExecutionKind, Liquidity, MatchNumber, Nanos, OrderId, Position, Price, Qty,
    ReasonCode, Side, Symbol, SymbolId, TimeInForce,
};

const FEED_COUNT: u64 = 70;
const NOON: EpochNanos = EpochNanos(1_769_011_200_123_456_789);

fn golden_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1")
}

fn symbol_listed() -> SymbolListed {
    SymbolListed {
        name: Symbol::new("PRGN").unwrap(),
        event_seq: EventSeq(7),
        recv_time: NOON,
        symbol: SymbolId(3),
        round_lot: 100,
        locate: 8_191,
        reserved: [0; 14],
    }
}

fn gap() -> GapRecord {
    GapRecord {
        first_missing: 1_001,
        next_received: 1_013,
        message_count: 12,
        event_seq: EventSeq(8),
        recv_time: NOON,
        phase: GapPhase::Lost,
        reserved: [0; 7],
    }
}

fn session() -> SessionRecord {
    SessionRecord {
        session: *b"20260121  ",
        phase: SessionPhase::Roll,
        reserved: [0; 5],
        next_sequence: 1_014,
        midnight: EpochNanos(1_768_971_600_000_000_000),
        event_seq: EventSeq(9),
        recv_time: NOON,
    }
}

fn trading_state() -> TradingStateRecord {
    TradingStateRecord {
        event_seq: EventSeq(10),
        recv_time: NOON,
        exch_time: EpochNanos(NOON.0 - 250),
        reason: 0x4C55_4450,
        symbol: SymbolId(3),
        kind: EventKind::TradingAction,
        detail: b'P',
        reserved: [0; 10],
    }
}

fn policy() -> PolicyRecord {
    PolicyRecord {
        event_seq: EventSeq(11),
        recv_time: NOON,
        count: 513,
        symbol: SymbolId::MARKET,
        action: PolicyAction::TradingStopped,
        reserved: [0; 19],
    }
}

fn decision() -> DecisionRecord {
    DecisionRecord {
        event_seq: EventSeq(12),
        recv_time: NOON,
        exch_time: EpochNanos(NOON.0 - 300),
        cause_id: 4_242,
        cause_price: Price(100_010_000_000),
        cause_qty: Qty(300),
        position: Position(-50),
        bid_price: Price(100_000_000_000),
        bid_qty: Qty(1_100),
        ask_price: Price(100_020_000_000),
        ask_qty: Qty(900),
        intent_price: Price(100_000_000_001),
        intent_qty: Qty(25),
        order_id: OrderId(77),
        features: core::array::from_fn(|index| [0.5, -1.25, 3.0, -0.0][index % 4] * (index + 1) as f32),
        return_mean: [1e-4, -2e-4, 3e-4, 0.0],
        return_log_var: [-16.5, -15.25, -14.125, 0.0],
        up_probability: 0.5625,
        regime_confidence: 0.75,
        action: -0.375,
        surprise: 2.5,
        symbol: SymbolId(3),
        cause_kind: EventKind::ExecuteOrderAtPrice,
        cause_side: Side::Sell,
        intent_kind: IntentKind::New,
        intent_side: Side::Buy,
        time_in_force: TimeInForce::ImmediateOrCancel,
        is_post_only: true,
        verdict: ReasonCode::PriceCollar,
        book_state: 17,
        regime: 5,
        horizons_and_intent: DecisionRecord::pack_counts(3, 1),
        cause_detail: b'X',
    }
}

fn decide_checkpoint() -> DecideCheckpoint {
    DecideCheckpoint {
        decision_count: 1,
        event_count: 12,
        recv_time: NOON,
        order_count: 2,
        decision_hash: [0x0123_4567_89AB_CDEF, 0x1122_3344_5566_7788],
        books_hash: [3, 4],
        latent_hash: [5, 6],
        position_hash: [7, u64::MAX],
        reserved: [0; 26],
    }
}

fn guard_halt() -> GuardHalt {
    GuardHalt {
        event_seq: EventSeq(13),
        recv_time: NOON,
        tipping_latency: Nanos(20_000_001),
        threshold: Nanos(20_000_000),
        window_count: 1_024,
        canceled_count: 6,
        action: GuardAction::Halt,
        reserved: [0; 3],
        reserved_words: [0; 32],
    }
}

fn held() -> HeldRecord {
    HeldRecord {
        event_seq: EventSeq(14),
        recv_time: NOON,
        position: Position(-50),
        average_price: Price(100_015_000_000),
        stop_price: Price(100_100_000_000),
        take_price: Price(99_900_000_000),
        limit_price: Price(99_000_000_000),
        qty: Qty(50),
        offset_ticks: 2,
        reprice_ticks: 3,
        symbol: SymbolId(3),
        kind: HeldKind::Rest,
        action: HeldAction::TakeFired,
        side: Side::Sell,
        reference: PegReference::Primary,
        is_asked: true,
        reserved: [0; 7],
        reserved_words: [0; 27],
    }
}

fn heard() -> HeardRecord {
    HeardRecord {
        event_seq: EventSeq(15),
        order_id: OrderId(77),
        match_number: MatchNumber(555_003),
        price: Price(100_000_000_001),
        qty: Qty(10),
        leaves_qty: Qty(15),
        venue_time: NOON,
        visible_time: EpochNanos(NOON.0 + 2_000),
        fee: -20_000_000,
        symbol: SymbolId(3),
        reason: ReasonCode::VenueIocRemainder,
        kind: HeardKind::Report,
        report: ExecutionKind::Filled,
        side: Side::Sell,
        liquidity: Liquidity::Removed,
        reserved: [0; 6],
        reserved_words: [0; 27],
    }
}

const TRANSITIONS: [OrderTransition; 10] = [
    OrderTransition::Submitted,
    OrderTransition::CancelRequested,
    OrderTransition::Accepted,
    OrderTransition::PartiallyFilled,
    OrderTransition::Filled,
    OrderTransition::Canceled,
    OrderTransition::Rejected,
    OrderTransition::CancelRejected,
    OrderTransition::Repeated,
    OrderTransition::Illegal,
];

fn order(transition: OrderTransition) -> OrderRecord {
    let number = transition as u8;
    OrderRecord {
        order_id: OrderId(77),
        event_seq: EventSeq(12 + u64::from(number)),
        decision_time: NOON,
        venue_time: EpochNanos(NOON.0 + 1_000),
        visible_time: EpochNanos(NOON.0 + 2_000),
        price: Price(100_000_000_001),
        qty: Qty(10),
        leaves_qty: Qty(15),
        filled_qty: Qty(10),
        position: Position(-40),
        match_number: MatchNumber(555_000 + u64::from(number)),
        fee: -20_000_000,
        symbol: SymbolId(3),
        reason: ReasonCode::VenueIocRemainder,
        transition,
        side: Side::Sell,
        liquidity: Liquidity::Removed,
        time_in_force: TimeInForce::ImmediateOrCancel,
        is_post_only: number % 2 == 1,
        replaces: [0; 5],
    }
}

fn duration() -> DurationRecord {
    DurationRecord {
        event_seq: EventSeq(12),
        start_time: NOON,
        duration: Nanos(1_234),
        order_id: OrderId(77),
        measured: Measured::EventToOrder,
        reserved: [0; 14],
    }
}

fn histogram() -> HistogramRecord {
    HistogramRecord {
        count: 1_000_000,
        p50: Nanos(700),
        p99: Nanos(1_900),
        p999: Nanos(9_000),
        max: Nanos(123_456),
        measured: Measured::QueueWait,
        reserved: [0; 6],
    }
}

fn fact() -> RunFact {
    RunFact::new("backend", "Scalar – nothing better")
}

/// Writes the log that `tests/golden` keeps.
fn write(dir: &Path) -> LogReport {
    let mut log = EventLog::create(&config(dir), &facts()).unwrap();
    log.feed.append(&symbol_listed()).unwrap();
    log.feed.append(&gap()).unwrap();
    log.feed.append(&session()).unwrap();
    log.feed.append(&trading_state()).unwrap();
    log.feed.append(&policy()).unwrap();
    for index in log.feed.record_count()..FEED_COUNT {
        log.feed.append(&checkpoint(index)).unwrap();
    }
    log.decide.append(&decision()).unwrap();
    log.decide.append(&decide_checkpoint()).unwrap();
    log.decide.append(&guard_halt()).unwrap();
    log.decide.append(&held()).unwrap();
    log.decide.append(&heard()).unwrap();
    for transition in TRANSITIONS {
        log.send.append(&order(transition)).unwrap();
    }
    log.measure.append(&duration()).unwrap();
    log.measure.append(&histogram()).unwrap();
    log.measure.append(&fact()).unwrap();
    drop((log.feed, log.decide, log.send, log.measure));
    log.recorder.close().unwrap()
}

#[test]
fn the_writer_writes_the_bytes_that_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let written = write(folder.path());
    for stream in Stream::ALL {
        let bytes = std::fs::read(segment(&folder.path().join("log"), stream, 1)).unwrap();
        let kept = segment(&golden_dir(), stream, 1);
        if std::env::var_os("PEREGRINE_BLESS").is_some() {
            std::fs::create_dir_all(golden_dir()).unwrap();
            std::fs::write(&kept, &bytes).unwrap();
        }
        let golden = std::fs::read(&kept).unwrap();
        let first = bytes.iter().zip(&golden).position(|(is, was)| is != was);
        assert_eq!((first, bytes.len()), (None, golden.len()), "{stream}: first byte that differs, and length");
    }
    assert_eq!(verify(&golden_dir()).unwrap(), written);
}

#[test]
fn every_kind_is_read_from_the_bytes_that_are_kept() {
    let mut seen = Vec::new();
    for stream in Stream::ALL {
        let reader = LogReader::open(&golden_dir(), stream).unwrap();
        for record in reader.records() {
            let record = record.unwrap();
            let index = record.header.index;
            let is_same = match record.any().unwrap() {
                AnyPayload::InputCheckpoint(payload) => *payload == checkpoint(index),
                AnyPayload::SymbolListed(payload) => *payload == symbol_listed(),
                AnyPayload::GapRecord(payload) => *payload == gap(),
                AnyPayload::SessionRecord(payload) => *payload == session(),
                AnyPayload::TradingStateRecord(payload) => *payload == trading_state(),
                AnyPayload::PolicyRecord(payload) => *payload == policy(),
                AnyPayload::DecisionRecord(payload) => *payload == decision(),
                AnyPayload::DecideCheckpoint(payload) => *payload == decide_checkpoint(),
                AnyPayload::GuardHalt(payload) => *payload == guard_halt(),
                AnyPayload::HeldRecord(payload) => *payload == held(),
                AnyPayload::HeardRecord(payload) => *payload == heard(),
                AnyPayload::OrderRecord(payload) => *payload == order(TRANSITIONS[usize::try_from(index).unwrap()]),
                AnyPayload::DurationRecord(payload) => *payload == duration(),
                AnyPayload::HistogramRecord(payload) => *payload == histogram(),
                AnyPayload::RunFact(payload) => *payload == fact(),
            };
            assert!(is_same, "{stream} {index}");
            seen.extend(record.kind().filter(|kind| !seen.contains(kind)));
        }
    }
    seen.sort_by_key(|kind| kind.number());
    assert_eq!(seen, RecordKind::ALL);
}

#[test]
fn rotation_and_hashes_are_what_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let mut log = EventLog::create(&config, &facts()).unwrap();
    fill(&mut log, 0, 1_000);
    drop((log.feed, log.decide, log.send, log.measure));
    let report = log.recorder.close().unwrap();
    let mut hasher = blake3::Hasher::new();
    for stream in report.streams {
        for number in 1..=stream.segment_count {
            hasher.update(&std::fs::read(segment(&config.dir, stream.stream, number)).unwrap());
        }
    }
    let counts = report.streams.map(|stream| stream.segment_count);
    assert_eq!(counts, [4, 16, 8, 4]);
    assert_eq!(hasher.finalize().to_hex().as_str(), "1a9efce769a9c5fae15a2ac0b01c2167692a166585da98d683b3bcf6d21d4e9e");
    assert_eq!(
        blake3::Hash::from_bytes(report.log_hash()).to_hex().as_str(),
        "39412c7784369dbc15a7cfe940691376e5394b21ffde413396090e4c739cfa08"
    );
}

/// A reader written from `docs/formats.md` alone: it shares no code with the crate.
mod from_the_document {
    /// CRC32C (Castagnoli), bit by bit: polynomial 0x1EDC6F41 reflected.
    fn crc32c(bytes: &[u8]) -> u32 {
        let mut crc = !0_u32;
        for byte in bytes {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = (crc >> 1) ^ (0x82F6_3B78 & 0_u32.wrapping_sub(crc & 1));
            }
        }
        !crc
    }

    fn word(bytes: &[u8], at: usize, len: usize) -> u64 {
        bytes[at..at + len].iter().rev().fold(0, |word, byte| (word << 8) | u64::from(*byte))
    }

    /// Makes the checksum of a changed record, block end or file header right again.
    pub(super) fn reseal(bytes: &mut [u8], crc_at: usize) {
        bytes[crc_at..crc_at + 4].fill(0);
        let crc = if crc_at == 0 { crc32c(bytes) } else { crc32c(&bytes[..crc_at]) };
        bytes[crc_at..crc_at + 4].copy_from_slice(&crc.to_le_bytes());
    }

    fn is_sound(record: &[u8]) -> bool {
        let mut zeroed = record.to_vec();
        zeroed[..4].fill(0);
        word(record, 0, 4) == u64::from(crc32c(&zeroed))
    }

    /// Reads one segment that is a whole stream: its records, and the last hash of its chain.
    pub(super) fn read(bytes: &[u8], stream: u8, record_len: usize) -> (Vec<&[u8]>, [u8; 32]) {
        let (header, mut rest) = bytes.split_at(64);
        assert_eq!((&header[..8], word(header, 8, 2), word(header, 10, 2)), (&b"PGRNLOG\n"[..], 1, 0xFEFF));
        assert_eq!((header[12], header[13], word(header, 14, 2)), (stream, 6, record_len as u64));
        assert_eq!((word(header, 20, 4), word(header, 24, 8)), (1, 0));
        assert_eq!(word(header, 60, 4), u64::from(crc32c(&header[..60])));
        let tag = blake3::hash(header);
        let mut chain = blake3::derive_key("peregrine event log 2026 hash chain v1", &[stream]);
        let mut records = Vec::new();
        for block in 0.. {
            let mut hasher = blake3::Hasher::new();
            hasher.update(&chain);
            let mut count = 0;
            while word(rest, 4, 2) != 0xFFFF {
                let (record, behind) = rest.split_at(record_len);
                assert!(is_sound(record) && record[6] == stream && record[7] == 1);
                assert_eq!(word(record, 8, 8), records.len() as u64);
                hasher.update(record);
                records.push(record);
                (rest, count) = (behind, count + 1);
            }
            let (end, behind) = rest.split_at(64);
            assert!(is_sound(end) && end[6] == stream && word(end, 8, 8) == block);
            assert_eq!((word(end, 16, 4), &end[24..32]), (count, &tag.as_bytes()[..8]));
            let is_last = word(end, 20, 4) == 1;
            assert_eq!((count < 64, behind.is_empty()), (is_last, is_last));
            hasher.update(&block.to_le_bytes()).update(&end[16..20]).update(&end[20..24]);
            chain = *hasher.finalize().as_bytes();
            assert_eq!(end[32..], chain);
            if is_last {
                break;
            }
            rest = behind;
        }
        (records, chain)
    }
}

#[test]
fn a_reader_written_from_the_document_agrees() {
    let report = verify(&golden_dir()).unwrap();
    let mut log_hash = blake3::Hasher::new_derive_key("peregrine event log 2026 log hash v1");
    for (stream, record_len) in [(Stream::Feed, 64), (Stream::Decide, 320), (Stream::Send, 128), (Stream::Measure, 64)]
    {
        let bytes = std::fs::read(segment(&golden_dir(), stream, 1)).unwrap();
        let number = report.stream(stream).stream as u8;
        let (records, chain) = from_the_document::read(&bytes, number, record_len);
        assert_eq!(
            (records.len() as u64, chain),
            (report.stream(stream).record_count, report.stream(stream).chain_head)
        );
        if stream != Stream::Measure {
            log_hash.update(&[number]).update(&(records.len() as u64).to_le_bytes()).update(&chain);
        }
    }
    assert_eq!(*log_hash.finalize().as_bytes(), report.log_hash());
}

/// The checksum finds accidents; the chain finds whoever changes a record and its checksum with it.
#[test]
fn a_forged_record_or_header_breaks_the_chain() {
    let folder = tempfile::tempdir().unwrap();
    copy(&golden_dir(), folder.path());
    let path = segment(folder.path(), Stream::Feed, 1);
    let golden = std::fs::read(&path).unwrap();
    let (block_end, sealed_end) = (64 + 64 * 64, golden.len() - 64);
    let fault_of = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        match verify(folder.path()) {
            Err(LogError::Damaged { offset, fault, .. }) => (offset, fault),
            other => panic!("not noticed: {other:?}"),
        }
    };
    let forge = |bytes: &mut [u8], record: usize| {
        bytes[record + 20] ^= 1;
        from_the_document::reseal(&mut bytes[record..record + 64], 0);
    };
    let mut bytes = golden.clone();
    forge(&mut bytes, 64 + 3 * 64);
    assert_eq!(fault_of(&bytes), (block_end as u64, Fault::Chain), "a record of a full block");
    let mut hasher = blake3::Hasher::new();
    hasher.update(&blake3::derive_key("peregrine event log 2026 hash chain v1", &[0]));
    hasher.update(&bytes[64..block_end]).update(&0_u64.to_le_bytes()).update(&bytes[block_end + 16..block_end + 24]);
    bytes[block_end + 32..block_end + 64].copy_from_slice(hasher.finalize().as_bytes());
    from_the_document::reseal(&mut bytes[block_end..block_end + 64], 0);
    assert_eq!(fault_of(&bytes), (sealed_end as u64, Fault::Chain), "and the end of its block with it");
    let mut bytes = golden.clone();
    forge(&mut bytes, block_end + 64 + 64);
    assert_eq!(fault_of(&bytes), (sealed_end as u64, Fault::Chain), "a record of the last block");
    assert!(matches!(recover(folder.path()), Err(LogError::Damaged { fault: Fault::Chain, .. })));
    let mut bytes = golden.clone();
    bytes[16] ^= 1;
    from_the_document::reseal(&mut bytes[..64], 60);
    assert_eq!(fault_of(&bytes), (block_end as u64, Fault::FactsTag), "the facts of the run");
    std::fs::write(&path, &golden).unwrap();
    assert!(verify(folder.path()).unwrap().is_sealed());
}

#[test]
fn the_fuzz_body_takes_the_kept_bytes_and_changed_ones() {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 11).unwrap() % below
    };
    for stream in Stream::ALL {
        let bytes = std::fs::read(segment(&golden_dir(), stream, 1)).unwrap();
        peregrine_eventlog::fuzz::segment(&bytes);
        for _ in 0..300 {
            let mut changed = bytes.clone();
            for _ in 0..=random(4) {
                let at = random(changed.len());
                match random(4) {
                    0 => changed[at] ^= 1 << random(8),
                    1 => changed.truncate(at.max(1)),
                    2 => {
                        let (from, len) = (random(changed.len()), random(changed.len()));
                        let piece = changed[from..(from + len).min(changed.len())].to_vec();
                        changed.splice(at..at, piece);
                    }
                    _ => changed.rotate_left(at),
                }
            }
            peregrine_eventlog::fuzz::segment(&changed);
        }
    }
}
