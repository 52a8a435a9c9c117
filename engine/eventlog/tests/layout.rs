//! The tables of `docs/formats.md` against the program: every field of every payload, with its offset, length and
//! meaning. `PEREGRINE_BLESS=1` writes the tables anew; a change of them is a change of the format.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

use core::mem::offset_of;
use std::fmt::Write as _;

use peregrine_eventlog::records::{
    DecideCheckpoint, DecisionRecord, DurationRecord, EVENTS_PER_CHECKPOINT, FEATURE_COUNT, GapRecord, GuardHalt,
    HORIZON_COUNT_MAX, HeardRecord, HeldRecord, HistogramRecord, InputCheckpoint, OrderRecord, PolicyRecord,
    RecordKind, RunFact, SessionRecord, SymbolListed, TradingStateRecord,
};
use peregrine_types::{BookState, ReasonCode};

const HEADER_LEN: usize = 16;
const BEGIN: &str = "<!-- payload tables: written by engine/eventlog/tests/layout.rs -->\n";
const END: &str = "<!-- end of the payload tables -->\n";

/// A field as the compiler lays it out.
struct Field {
    name: &'static str,
    offset: usize,
    len: usize,
}

fn len_of<P, F>(_field: fn(&P) -> &F) -> usize {
    size_of::<F>()
}

macro_rules! layouts {
    ($($payload:ident { $($field:ident),* $(,)? })*) => {
        /// The fields of a payload, in their order, and its size.
        fn layout(kind: RecordKind) -> (Vec<Field>, usize) {
            match kind {
                $(RecordKind::$payload => (
                    vec![$(Field {
                        name: stringify!($field),
                        offset: offset_of!($payload, $field),
                        len: len_of(|payload: &$payload| &payload.$field),
                    },)*],
                    size_of::<$payload>(),
                ),)*
            }
        }
    };
}

layouts! {
    InputCheckpoint { event_count, message_count, input_offset, event_hash, recv_time }
    SymbolListed { name, event_seq, recv_time, symbol, round_lot, locate, reserved }
    GapRecord { first_missing, next_received, message_count, event_seq, recv_time, phase, reserved }
    SessionRecord { session, phase, reserved, next_sequence, midnight, event_seq, recv_time }
    TradingStateRecord { event_seq, recv_time, exch_time, reason, symbol, kind, detail, reserved }
    PolicyRecord { event_seq, recv_time, count, symbol, action, reserved }
    DecisionRecord { event_seq, recv_time, exch_time, cause_id, cause_price, cause_qty, position, bid_price, bid_qty, ask_price, ask_qty, intent_price, intent_qty, order_id, features, return_mean, return_log_var, up_probability, regime_confidence, action, surprise, symbol, cause_kind, cause_side, intent_kind, intent_side, time_in_force, is_post_only, verdict, book_state, regime, horizons_and_intent, cause_detail }
    DecideCheckpoint { decision_count, event_count, recv_time, order_count, decision_hash, books_hash, latent_hash, position_hash, reserved }
    GuardHalt { event_seq, recv_time, tipping_latency, threshold, window_count, canceled_count, action, reserved, reserved_words }
    HeldRecord { event_seq, recv_time, position, average_price, stop_price, take_price, limit_price, qty, offset_ticks, reprice_ticks, symbol, kind, action, side, reference, is_asked, reserved, reserved_words }
    HeardRecord { event_seq, order_id, match_number, price, qty, leaves_qty, venue_time, visible_time, fee, symbol, reason, kind, report, side, liquidity, reserved, reserved_words }
    OrderRecord { order_id, event_seq, decision_time, venue_time, visible_time, price, qty, leaves_qty, filled_qty, position, match_number, fee, symbol, reason, transition, side, liquidity, time_in_force, is_post_only, replaces }
    DurationRecord { event_seq, start_time, duration, order_id, measured, reserved }
    HistogramRecord { count, p50, p99, p999, max, measured, reserved }
    RunFact { name_bytes, value_bytes }
}

/// An item of a source file as its text says it: documentation, and lines of fields or variants.
struct Item {
    doc: String,
    members: Vec<Member>,
}

struct Member {
    name: String,
    /// Type of a field, number of a variant.
    value: String,
    doc: String,
}

/// Joins doc lines to one line and turns links into code.
fn cell(doc: &[&str]) -> String {
    doc.join(" ").replace("[`", "`").replace("`]", "`").replace('|', "\\|").replace("`SymbolId::MARKET`", "4294967295")
}

/// Reads `pub struct NAME` or `pub enum NAME` from a source text.
fn item(source: &str, name: &str) -> Item {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let (as_struct, as_enum) = (format!("pub struct {name} {{"), format!("pub enum {name} {{"));
    let start = lines
        .iter()
        .position(|line| *line == as_struct || *line == as_enum)
        .unwrap_or_else(|| panic!("no {name} in the source"));
    let head = lines[..start].iter().rposition(|line| line.is_empty()).unwrap_or(0);
    let head_doc: Vec<&str> = lines[head..start].iter().filter_map(|line| line.strip_prefix("/// ")).collect();
    let (mut members, mut doc) = (Vec::new(), Vec::new());
    for line in lines[start + 1..].iter().take_while(|line| **line != "}") {
        if let Some(text) = line.strip_prefix("/// ") {
            doc.push(text);
        } else if let Some((name, value)) = line.trim_end_matches(',').split_once([':', '=']) {
            let name = name.trim_start_matches("pub ").trim().to_owned();
            members.push(Member { name, value: value.trim().to_owned(), doc: cell(&doc) });
            doc.clear();
        }
    }
    Item { doc: cell(&head_doc), members }
}

/// The documentation of a kind, from the list of kinds.
fn kind_doc(source: &str, kind: RecordKind) -> String {
    let line = format!("{} = {}, ", kind.name(), kind.number());
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let at = lines.iter().position(|text| text.starts_with(&line)).unwrap();
    let docs = lines[..at].iter().rev().map_while(|text| text.strip_prefix("/// ")).collect::<Vec<_>>();
    cell(&docs.into_iter().rev().collect::<Vec<_>>())
}

/// The plain type that a field's type is in the file.
fn plain(name: &str) -> String {
    if let Some((of, count)) = name.strip_prefix('[').and_then(|name| name.trim_end_matches(']').split_once("; ")) {
        let count = match count {
            "FEATURE_COUNT" => FEATURE_COUNT.to_string(),
            "HORIZON_COUNT_MAX" => HORIZON_COUNT_MAX.to_string(),
            number => number.to_owned(),
        };
        return format!("{} × {count}", plain(of));
    }
    match name {
        "u8" | "u16" | "u32" | "u64" | "i64" | "f32" => name.to_owned(),
        "bool" => "u8, 0 or 1".to_owned(),
        "EventSeq" | "Qty" | "OrderId" | "MatchNumber" => "u64".to_owned(),
        "EpochNanos" | "Nanos" | "Price" | "Position" => "i64".to_owned(),
        "SymbolId" => "u32".to_owned(),
        "Symbol" => "u8 × 8, ASCII, spaces at the end".to_owned(),
        "ReasonCode" | "Measured" => format!("u16 `{name}`"),
        "GapPhase" | "SessionPhase" | "PolicyAction" | "IntentKind" | "GuardAction" | "OrderTransition"
        | "HeardKind" | "HeldKind" | "HeldAction" | "PegReference" | "EventKind" | "Side" | "TimeInForce"
        | "Liquidity" | "ExecutionKind" => format!("u8 `{name}`"),
        other => panic!("what is {other} in the file?"),
    }
}

const RECORDS: &str = concat!(
    include_str!("../src/records.rs"),
    include_str!("../src/records/feed.rs"),
    include_str!("../src/records/decide.rs"),
    include_str!("../src/records/send.rs"),
    include_str!("../src/records/measure.rs"),
);
const EVENT: &str = include_str!("../../types/src/event.rs");
const ORDER: &str = include_str!("../../types/src/order.rs");

fn payload_tables() -> String {
    let mut out = String::new();
    for kind in RecordKind::ALL {
        let (fields, size) = layout(*kind);
        let item = item(RECORDS, kind.name());
        writeln!(out, "\n### Kind {}: `{}` (stream `{}`)\n", kind.number(), kind.name(), kind.stream()).unwrap();
        let of_kind = kind_doc(RECORDS, *kind);
        let doc = if item.doc.len() > of_kind.len() { &item.doc } else { &of_kind };
        writeln!(out, "{}", doc.replace("`EVENTS_PER_CHECKPOINT`", &EVENTS_PER_CHECKPOINT.to_string())).unwrap();
        writeln!(out, "\n| offset | length | field | type | meaning |\n|---|---|---|---|---|").unwrap();
        assert_eq!(item.members.len(), fields.len(), "{}: a field is missing in the list above", kind.name());
        let mut end = 0;
        for (field, member) in fields.iter().zip(&item.members) {
            assert_eq!((field.name, field.offset), (member.name.as_str(), end), "{}", kind.name());
            end += field.len;
            let (offset, len, name) = (HEADER_LEN + field.offset, field.len, field.name);
            writeln!(out, "| {offset} | {len} | `{name}` | {} | {} |", plain(&member.value), member.doc).unwrap();
        }
        assert_eq!((end, size), (size, kind.stream().record_len() - HEADER_LEN), "{}: no hole", kind.name());
    }
    out
}

fn enum_tables() -> String {
    let mut out = String::new();
    let of_feed = ["GapPhase", "SessionPhase", "PolicyAction"];
    let of_decide = ["IntentKind", "HeldKind", "HeldAction", "PegReference", "HeardKind", "GuardAction"];
    let here = of_feed.into_iter().chain(of_decide).chain(["OrderTransition", "Measured"]);
    let lists = here.map(|name| (RECORDS, name));
    let others =
        [(EVENT, "EventKind"), (ORDER, "Side"), (ORDER, "TimeInForce"), (ORDER, "Liquidity"), (ORDER, "ExecutionKind")];
    for (source, name) in lists.chain(others) {
        writeln!(out, "\n### `{name}`\n\n| value | name | meaning |\n|---|---|---|").unwrap();
        for variant in item(source, name).members {
            writeln!(out, "| {} | `{}` | {} |", variant.value, variant.name, variant.doc).unwrap();
        }
    }
    writeln!(out, "\n### `ReasonCode`\n\n| value | name | meaning |\n|---|---|---|").unwrap();
    for code in ReasonCode::ALL {
        writeln!(out, "| {} | `{}` | {} |", code.number(), code.name(), code.text()).unwrap();
    }
    let bits = [
        ("stale", BookState::STALE),
        ("quarantined", BookState::QUARANTINED),
        ("halted", BookState::HALTED),
        ("crossed", BookState::CROSSED),
        ("locked", BookState::LOCKED),
        ("one side or both empty", BookState::ONE_SIDED),
    ];
    writeln!(out, "\n### `book_state`, as bits\n\n| bit | meaning |\n|---|---|").unwrap();
    for (name, state) in bits {
        writeln!(out, "| {} | {name} |", state.bits()).unwrap();
    }
    out
}

#[test]
fn the_document_states_every_field() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/formats.md");
    let document = std::fs::read_to_string(path).unwrap();
    let (before, rest) = document.split_once(BEGIN).unwrap();
    let (tables, after) = rest.split_once(END).unwrap();
    let expected = format!(
        "\n## Payloads\n\nOffsets count from the start of the record, whose header takes the first 16 bytes.\n{}\n## Values\n{}\n",
        payload_tables(),
        enum_tables()
    );
    if std::env::var_os("PEREGRINE_BLESS").is_some() {
        std::fs::write(path, format!("{before}{BEGIN}{expected}{END}{after}")).unwrap();
        return;
    }
    for (at, (stated, is)) in tables.lines().zip(expected.lines()).enumerate() {
        assert_eq!(stated, is, "line {at} of the tables of docs/formats.md; PEREGRINE_BLESS=1 writes them anew");
    }
    assert_eq!(tables.len(), expected.len(), "the tables of docs/formats.md; PEREGRINE_BLESS=1 writes them anew");
}
