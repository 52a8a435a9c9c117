use proptest::prelude::*;

use super::*;

fn session(depth_row_count: u32) -> IbSession {
    let names = Instruments::new(vec!["ALFA".to_owned(), "BETA".to_owned()]);
    let config = IbConfig {
        client_id: 7,
        exchange: "SMART".to_owned(),
        primary_exchange: "NASDAQ".to_owned(),
        currency: "USD".to_owned(),
        depth_row_count,
    };
    IbSession::new(names, config)
}

fn hear(session: &mut IbSession, messages: &[&[&str]]) -> Output {
    let mut out = Output::default();
    for message in messages {
        session.receive(&frame(message), &mut out);
    }
    out
}

const VERSION: &[&str] = &["151", "20260105 09:00:00 EST"];
const STARTED: [&[&str]; 2] = [&["15", "1", "DU1"], &["9", "1", "1"]];

fn under_way(depth_row_count: u32) -> IbSession {
    let mut session = session(depth_row_count);
    session.connected(&mut Output::default());
    hear(&mut session, &[VERSION]);
    assert!(hear(&mut session, &STARTED).is_ready);
    session
}

#[test]
fn the_session_greets_starts_and_asks_for_everything() {
    let mut session = session(5);
    let mut out = Output::default();
    session.connected(&mut out);
    assert_eq!(out.frames, [b"API\0\0\0\0\x09v137..151".to_vec()]);
    assert_eq!(hear(&mut session, &[VERSION]).frames, [b"\0\0\0\x0871\x002\x007\0\0".to_vec()]);
    assert!(!hear(&mut session, &STARTED[..1]).is_ready);
    let out = hear(&mut session, &STARTED[1..]);
    assert!(out.is_ready);
    let fields = |index: usize| String::from_utf8(out.frames[index][4..].to_vec()).unwrap().replace('\0', "|");
    assert_eq!(fields(0), "1|11|0|0|ALFA|STK||0|||SMART|NASDAQ|USD|||0|233|0|0||");
    assert_eq!(fields(3), "10|5|1048577|0|BETA|STK||0|||SMART|NASDAQ|USD|||5|1||");
    assert_eq!(out.frames.len(), 4);
    let out = hear(&mut self::session(0), &[&["201", "now"]]);
    assert!(matches!(out.ending, Some(Ending::Refused(said)) if said.contains("201")));
}

#[test]
fn ticks_make_quotes_trades_and_halts() {
    let mut session = under_way(0);
    let out = hear(
        &mut session,
        &[
            &["1", "6", "1", "1", "10.25", "3", "1"],
            &["1", "6", "1", "2", "10.27", "5", "1"],
            &["2", "6", "1", "0", "4"],
            &["1", "6", "1", "1", "-1", "0", "1"],
            &["46", "6", "0", "48", "10.2601;2;1700000000123;500;10.1;true"],
            &["46", "6", "0", "48", ";0;1700000000124;501;10.1;false"],
            &["45", "6", "1", "49", "1.0"],
            &["1", "6", "9", "1", "10.25", "3", "1"],
        ],
    );
    let amount = |price, size| Amount { price, size };
    let quote = |bid, ask| What::Quote { bid, ask };
    let ask = amount(10_270_000_000, 5_000_000_000);
    let whats: Vec<What> = out.updates.iter().map(|update| update.what.clone()).collect();
    assert_eq!(
        whats,
        [
            quote(amount(10_250_000_000, 3_000_000_000), Amount::default()),
            quote(amount(10_250_000_000, 3_000_000_000), ask),
            quote(amount(10_250_000_000, 4_000_000_000), ask),
            quote(Amount::default(), ask),
            What::Trade { id: None, amount: amount(10_260_100_000, 2_000_000_000) },
            What::State { state: TradingState::Halted, reason: "".into() },
        ]
    );
    assert_eq!((out.updates[0].instrument, out.updates[4].time), (1, Some(EpochNanos(1_700_000_000_123_000_000))));
    assert_eq!((session.counters().unused_count, session.counters().stranger_count), (1, 1));
}

#[test]
fn depth_follows_its_rows_and_a_lost_row_ends_the_connection() {
    let mut session = under_way(5);
    let row = |position: &'static str, operation, side, price, size| {
        ["13", "1", "1048576", position, "MAKER", operation, side, price, size, "1"]
    };
    let messages = [
        row("0", "0", "1", "10.25", "3"),
        row("0", "0", "1", "10.26", "1"),
        row("0", "0", "0", "10.28", "2"),
        row("1", "1", "1", "10.24", "9"),
        row("0", "2", "1", "0", "0"),
    ];
    let messages: Vec<&[&str]> = messages.iter().map(|message| &message[..]).collect();
    let out = hear(&mut session, &messages);
    let Some(What::Depth { bids, asks }) = out.updates.last().map(|update| &update.what) else { unreachable!() };
    assert_eq!(bids, &[Amount { price: 10_240_000_000, size: 9_000_000_000 }]);
    assert_eq!(asks, &[Amount { price: 10_280_000_000, size: 2_000_000_000 }]);
    let reset = hear(&mut session, &[&["4", "2", "1048576", "317", "depth has been reset"]]);
    assert_eq!(reset.updates[0].what, What::Depth { bids: Vec::new(), asks: Vec::new() });
    let out = hear(&mut session, &[&row("3", "2", "1", "0", "0")]);
    assert!(matches!(out.ending, Some(Ending::Retry(said)) if said.contains("position 3")));
    let out = hear(&mut under_way(5), &[&row("0", "7", "1", "1", "1")]);
    assert!(out.ending.is_some() && out.notes[0].contains("operation 7"), "{out:?}");
}

#[test]
fn errors_have_their_consequences() {
    let ending = |code: &str| hear(&mut under_way(0), &[&["4", "2", "-1", code, "why"]]).ending;
    assert!(matches!(ending("326"), Some(Ending::Refused(said)) if said.contains("client_id")));
    assert!(matches!(ending("1100"), Some(Ending::Retry(_))) && matches!(ending("1101"), Some(Ending::Retry(_))));
    assert_eq!((ending("2104"), ending("1102")), (None, None));
    let out = hear(&mut under_way(0), &[&["4", "2", "1", "200", "no security definition"]]);
    assert_eq!(out.notes, ["error 200 BETA: no security definition"]);
}

#[test]
fn a_length_that_cannot_be_ends_the_connection() {
    let mut out = Output::default();
    under_way(0).receive(&[0xff, 0, 0, 0], &mut out);
    assert!(matches!(out.ending, Some(Ending::Retry(_))) && out.notes.len() == 1);
}

proptest! {
    /// However the stream is cut, the same comes out.
    #[test]
    fn cuts_change_nothing(cuts in proptest::collection::vec(1_usize..12, 1..40)) {
        let messages: [&[&str]; 3] =
            [&["1", "6", "1", "1", "10.25", "3", "1"], &["2", "6", "1", "0", "4"], &["46", "6", "0", "48", "1;2;3;4;5;true"]];
        let whole: Vec<u8> = messages.iter().flat_map(|message| frame(message)).collect();
        let (mut session, mut out, mut rest) = (under_way(0), Output::default(), &whole[..]);
        for cut in cuts.iter().cycle() {
            let (part, behind) = rest.split_at((*cut).min(rest.len()));
            session.receive(part, &mut out);
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(out.updates, hear(&mut under_way(0), &messages).updates);
    }

    #[test]
    fn no_bytes_break_it(bytes: Vec<u8>, fields in proptest::collection::vec("[-0-9.;a-z]{0,6}", 1..10)) {
        let mut session = under_way(3);
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        for number in ["1", "2", "4", "12", "13", "45", "46"] {
            hear(&mut session, &[&[&[number][..], &fields[..]].concat()]);
        }
        session.receive(&bytes, &mut Output::default());
    }
}
