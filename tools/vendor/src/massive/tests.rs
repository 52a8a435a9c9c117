use proptest::prelude::*;

use super::*;
use crate::credentials::Secret;

fn session() -> MassiveSession {
    let names = Instruments::new(vec!["ALFA".to_owned(), "BETA".to_owned()]);
    MassiveSession::new(names, Credentials { key: Secret::new("K1"), secret: Secret::default() })
}

fn hear(session: &mut MassiveSession, frames: &[&str]) -> Output {
    let mut out = Output::default();
    for frame in frames {
        session.receive(frame.as_bytes(), &mut out);
    }
    out
}

fn status(status: &str) -> String {
    format!(r#"[{{"ev":"status","status":"{status}","message":"why"}}]"#)
}

fn under_way() -> MassiveSession {
    let mut session = session();
    let out = hear(&mut session, &[&status("connected"), &status("auth_success")]);
    assert!(!out.is_ready);
    let granted = status("success");
    assert!(!hear(&mut session, &[&granted, &granted, &granted]).is_ready);
    assert!(hear(&mut session, &[&granted]).is_ready, "the fourth topic of four");
    session
}

#[test]
fn the_session_says_who_it_is_and_asks_for_everything() {
    let mut session = session();
    session.connected(&mut Output::default());
    let out = hear(&mut session, &[&status("connected")]);
    assert_eq!(out.frames, [br#"{"action":"auth","params":"K1"}"#.to_vec()]);
    let out = hear(&mut session, &[&status("auth_success")]);
    assert_eq!(out.frames, [br#"{"action":"subscribe","params":"T.ALFA,Q.ALFA,T.BETA,Q.BETA"}"#.to_vec()]);
    session.connected(&mut Output::default());
    assert_eq!(hear(&mut session, &[&status("connected")]).frames.len(), 1, "a new connection begins anew");
}

#[test]
fn trades_and_quotes_with_milliseconds_and_fractions() {
    let frame = r#"[{"ev":"T","sym":"BETA","x":4,"i":"12345","z":3,"p":114.125,"s":100,"ds":"100.25","c":[0,12],"t":1536036818784,"q":3},
        {"ev":"Q","sym":"ALFA","bx":4,"bp":114.125,"bs":100,"ax":7,"ap":114.128,"as":160,"c":0,"i":[604],"t":1536036818785,"q":5,"z":3},
        {"ev":"Q","sym":"ALFA","ap":114.128,"as":160,"t":1536036818786}]"#;
    let updates = hear(&mut under_way(), &[frame]).updates;
    let amount = |price, size| Amount { price, size };
    let what = What::Trade { id: Some("\"12345\"".into()), amount: amount(114_125_000_000, 100_250_000_000) };
    assert_eq!(updates[0], Update { instrument: 1, time: Some(EpochNanos(1_536_036_818_784_000_000)), what });
    let ask = amount(114_128_000_000, 160_000_000_000);
    assert_eq!(updates[1].what, What::Quote { bid: amount(114_125_000_000, 100_000_000_000), ask });
    assert_eq!(updates[2].what, What::Quote { bid: Amount::default(), ask });
}

#[test]
fn what_is_not_used_not_known_or_not_understood_is_counted() {
    let mut session = under_way();
    let out = hear(
        &mut session,
        &[
            r#"[{"ev":"AM","sym":"ALFA","v":1},{"ev":"LULD"},{"ev":"?"},{"ev":"T","sym":"OTHER","p":1,"s":1}]"#,
            r#"[{"ev":"Q","sym":"ALFA","bp":1},{"ev":"T","sym":"ALFA","s":1},{"ev":"T","sym":"ALFA","p":1,"s":1,"t":9223372036854775807}]"#,
            "[{]",
        ],
    );
    let expected =
        SessionCounters { update_count: 0, unused_count: 2, unknown_count: 1, stranger_count: 1, malformed_count: 4 };
    assert_eq!((session.counters(), out.updates.len()), (expected, 0));
    assert!(out.notes[1].contains("(frame 8): a price without a size"), "{:?}", out.notes);
}

#[test]
fn refusals_and_breaks() {
    let ending = |said: &str| hear(&mut under_way(), &[&status(said)]).ending;
    assert!(matches!(ending("auth_failed"), Some(Ending::Refused(said)) if said.contains("check the key")));
    assert!(matches!(ending("not_authorized"), Some(Ending::Refused(_))));
    assert!(matches!(ending("max_connections"), Some(Ending::Retry(_))));
    assert_eq!(ending("something"), None);
}

proptest! {
    #[test]
    fn no_frame_breaks_it(frame in "\\PC*", kind in "[TQ]", number in "[-0-9.eE]{0,30}") {
        let mut session = under_way();
        let made = format!(r#"[{{"ev":"{kind}","sym":"ALFA","p":{number},"s":{number},"bp":{number},"bs":1,"t":{number}}}]"#);
        for text in [&frame, &made] {
            hear(&mut session, &[text]);
        }
    }
}
