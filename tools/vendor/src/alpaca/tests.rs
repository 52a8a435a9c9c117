use proptest::prelude::*;

use super::*;
use crate::credentials::Secret;
use crate::update::Amount;

fn session() -> AlpacaSession {
    let names = Instruments::new(vec!["ALFA".to_owned(), "BETA".to_owned()]);
    AlpacaSession::new(names, Credentials { key: Secret::new("K1"), secret: Secret::new("S2") }, true)
}

/// What comes out of frames, all together.
fn hear(session: &mut AlpacaSession, frames: &[&str]) -> Output {
    let mut out = Output::default();
    for frame in frames {
        session.receive(frame.as_bytes(), &mut out);
    }
    out
}

fn under_way() -> AlpacaSession {
    let mut session = session();
    let all = r#"[{"T":"subscription","trades":["ALFA","BETA"],"quotes":["BETA","ALFA"],"statuses":["ALFA","BETA"]}]"#;
    let frames = [r#"[{"T":"success","msg":"connected"}]"#, r#"[{"T":"success","msg":"authenticated"}]"#, all];
    assert!(hear(&mut session, &frames).is_ready);
    session
}

#[test]
fn the_session_says_who_it_is_and_asks_for_everything() {
    let mut session = session();
    session.connected(&mut Output::default());
    let out = hear(&mut session, &[r#"[{"T":"success","msg":"connected"}]"#]);
    assert_eq!(out.frames, [br#"{"action":"auth","key":"K1","secret":"S2"}"#.to_vec()]);
    let out = hear(&mut session, &[r#"[{"T":"success","msg":"authenticated"}]"#]);
    let ask: serde_json::Value = serde_json::from_slice(&out.frames[0]).unwrap();
    let names = serde_json::json!(["ALFA", "BETA"]);
    let wanted = serde_json::json!({"action": "subscribe", "trades": names, "quotes": names, "statuses": names});
    assert_eq!(ask, wanted);
    assert!(!out.is_ready);
    let granted =
        r#"[{"T":"subscription","trades":["ALFA","BETA"],"quotes":["ALFA"],"bars":[],"statuses":["ALFA","BETA"]}]"#;
    let out = hear(&mut session, &[granted]);
    assert!(out.is_ready && out.frames.is_empty());
    assert_eq!(out.notes, ["not subscribed, quotes: BETA"]);
}

#[test]
fn numbers_are_read_from_their_text_and_times_to_the_nanosecond() {
    let quote = r#"[{"T":"q","S":"BETA","ax":"Q","ap":87.68,"as":4,"bx":"U","bp":87.6600,"bs":1.5,"c":["R"],
        "t":"2021-02-22T15:51:45.335689322Z","z":"C","new_field":{"a":[1]}}]"#;
    let trade = r#"[{"T":"t","i":96921,"S":"ALFA","x":"D","p":126.55,"s":1,"t":"2021-02-22T15:51:44.208Z","c":["@","I"],"z":"C"}]"#;
    let out = hear(&mut under_way(), &[quote, trade]);
    let amount = |price, size| Amount { price, size };
    let bid = amount(87_660_000_000, 1_500_000_000);
    let what = What::Quote { bid, ask: amount(87_680_000_000, 4_000_000_000) };
    let time = Some(EpochNanos(1_614_009_105_335_689_322));
    assert_eq!(out.updates[0], Update { instrument: 1, time, what });
    let what = What::Trade { id: Some("96921".into()), amount: amount(126_550_000_000, 1_000_000_000) };
    assert_eq!(out.updates[1], Update { instrument: 0, time: Some(EpochNanos(1_614_009_104_208_000_000)), what });
    // 2^53 + 1 hundredths of a millionth: a float could not hold it.
    let fine = r#"[{"T":"t","i":1,"S":"ALFA","p":90071992.547409931,"s":1,"t":"2021-02-22T15:51:44Z"}]"#;
    let out = hear(&mut under_way(), &[fine]);
    let what = What::Trade { id: Some("1".into()), amount: amount(90_071_992_547_409_931, 1_000_000_000) };
    assert_eq!(out.updates[0].what, what);
}

#[test]
fn what_is_taken_back_and_what_trades() {
    let frame = r#"[{"T":"c","S":"ALFA","x":"D","oi":7,"op":1.5,"os":2,"ci":8,"cp":1.6,"cs":2,"t":"2021-02-22T15:51:44Z"},
        {"T":"x","S":"ALFA","i":9,"x":"D","p":1.5,"s":2,"a":"C","t":"2021-02-22T15:51:44Z"},
        {"T":"s","S":"BETA","sc":"P","sm":"","rc":"LUDP","rm":"","t":"2021-02-22T15:51:44Z","z":"C"},
        {"T":"s","S":"BETA","sc":"3","rc":"","t":"2021-02-22T15:51:44Z","z":"A"},
        {"T":"s","S":"BETA","sc":"E","t":"2021-02-22T15:51:44Z","z":"A"}]"#;
    let whats: Vec<What> = hear(&mut under_way(), &[frame]).updates.into_iter().map(|update| update.what).collect();
    let state = |state, reason: &str| What::State { state, reason: reason.into() };
    let broken = |id: &str| What::Broken { id: id.into() };
    let paused = state(TradingState::Paused, "LUDP");
    assert_eq!(whats, [broken("7"), broken("9"), paused, state(TradingState::Trading, ""), What::UnmappedState]);
}

#[test]
fn what_is_not_used_not_known_or_not_understood_is_counted_with_its_place() {
    let mut session = under_way();
    let out = hear(
        &mut session,
        &[
            r#"[{"T":"b","S":"ALFA","o":1},{"T":"l","S":"ALFA","u":2,"d":1},{"T":"zz"},{"T":"q","S":"OTHER"}]"#,
            r#"[{"T":"q","S":"ALFA","bp":1,"bs":1,"ap":"x","as":1,"t":"2021-02-22T15:51:44Z"}]"#,
            r#"[{"T":"q","S":"ALFA","bp":1,"bs":1,"ap":2}]"#,
            r#"[{"T":"t","S":"ALFA","p":-1,"s":1}]"#,
            r#"[{"T":"t","S":"ALFA","p":1,"s":1,"t":"yesterday"}]"#,
            "no json",
        ],
    );
    let expected =
        SessionCounters { update_count: 0, unused_count: 2, unknown_count: 1, stranger_count: 1, malformed_count: 5 };
    assert_eq!((session.counters(), out.updates.len()), (expected, 0));
    assert!(out.notes[1].starts_with("not understood (frame 5): price"), "{:?}", out.notes);
    assert!(out.notes[2].contains("no field as") && out.notes[5].contains("no json"), "{:?}", out.notes);
}

#[test]
fn every_error_has_its_consequence() {
    let ending = |code: u32| {
        let frame = format!(r#"[{{"T":"error","code":{code},"msg":"why"}}]"#);
        hear(&mut under_way(), &[&frame]).ending
    };
    for code in [400, 402, 405, 409, 410] {
        assert!(matches!(ending(code), Some(Ending::Refused(said)) if said.contains("why")), "{code}");
    }
    for code in [401, 404, 406, 407, 500, 999] {
        assert!(matches!(ending(code), Some(Ending::Retry(said)) if said.contains(&code.to_string())), "{code}");
    }
    assert_eq!(ending(403), None);
}

proptest! {
    #[test]
    fn no_frame_breaks_it(frame in "\\PC*", kind in "[tqscx]", number in "[-0-9.eE]{0,30}") {
        let mut session = under_way();
        let made = format!(
            r#"[{{"T":"{kind}","S":"ALFA","p":{number},"s":{number},"bp":{number},"bs":1,"ap":{number},"as":1}}]"#
        );
        for text in [&frame, &made] {
            hear(&mut session, &[text]);
        }
    }

    /// What an exact decimal says is what comes out, whatever its digits.
    #[test]
    fn every_price_of_nine_decimals_is_exact(whole in 0_u32..400_000, part in 0_u32..1_000_000_000) {
        let text = format!(r#"[{{"T":"t","S":"ALFA","p":{whole}.{part:09},"s":1}}]"#);
        let out = hear(&mut under_way(), &[&text]);
        let price = i64::from(whole) * 1_000_000_000 + i64::from(part);
        let What::Trade { amount, .. } = &out.updates[0].what else { unreachable!() };
        prop_assert_eq!(amount.price, price);
    }
}
