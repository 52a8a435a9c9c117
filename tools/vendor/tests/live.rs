//! The program over loopback: a vendor that is written here from the protocol's steps, the program between, and the engine's
//! own input and books behind it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{Client, Plan, Reader, Vendor, await_some};
use peregrine_types::EventKind;
use peregrine_vendor::{ServiceError, Summary};

const KEYS: &str = r#"{"action":"auth","key":"K-1","secret":"S-2"}"#;
const GRANTED: &str =
    r#"[{"T":"subscription","trades":["ALFA","BETA"],"quotes":["ALFA","BETA"],"statuses":["ALFA","BETA"]}]"#;

/// Takes a connection and goes through the steps until the session is under way.
fn admit(vendor: &Vendor) -> Client {
    let mut client = vendor.accept();
    client.say(r#"[{"T":"success","msg":"connected"}]"#);
    assert_eq!(client.hear(), KEYS);
    client.say(r#"[{"T":"success","msg":"authenticated"}]"#);
    let asked: serde_json::Value = serde_json::from_str(&client.hear()).unwrap();
    assert_eq!(asked["quotes"], serde_json::json!(["ALFA", "BETA"]));
    client.say(GRANTED);
    client
}

/// A quote with the present time.
fn quote(symbol: &str, (bid, bid_size): (&str, u32), (ask, ask_size): (&str, u32)) -> String {
    let now = jiff::Timestamp::now();
    format!(
        r#"[{{"T":"q","S":"{symbol}","bx":"V","bp":{bid},"bs":{bid_size},"ax":"V","ap":{ask},"as":{ask_size},"t":"{now}","c":["R"],"z":"C"}}]"#
    )
}

fn trade(symbol: &str, id: u32, price: &str, size: u32) -> String {
    let now = jiff::Timestamp::now();
    format!(r#"[{{"T":"t","S":"{symbol}","i":{id},"x":"V","p":{price},"s":{size},"t":"{now}","c":["@"],"z":"C"}}]"#)
}

fn is_told(summary: &Summary, out: &str) {
    assert_eq!(summary.session.malformed_count, 0, "{summary}\n{out}");
}

#[test]
fn quotes_and_trades_reach_the_engines_books() {
    let (vendor, mut reader) = (Vendor::new(), Reader::new());
    let run = Plan::alpaca(&vendor, &reader).start();
    let mut client = admit(&vendor);
    client.say(&quote("ALFA", ("10.01", 300), ("10.03", 200)));
    client.say(&quote("BETA", ("87.66", 100), ("87.68", 400)));
    reader.await_top(0, [Some((100_100, 300)), Some((100_300, 200))]);
    reader.await_top(1, [Some((876_600, 100)), Some((876_800, 400))]);
    client.say(&quote("ALFA", ("10.02", 500), ("10.03", 100)));
    client.say(&trade("ALFA", 7, "10.025", 150));
    client.say(r#"[{"T":"x","S":"ALFA","i":7,"x":"V","p":10.025,"s":150,"a":"C","t":"2026-01-05T15:00:00Z"}]"#);
    client.say(r#"[{"T":"s","S":"BETA","sc":"H","rc":"T1","t":"2026-01-05T15:00:00Z","z":"C"}]"#);
    reader.await_top(0, [Some((100_200, 500)), Some((100_300, 100))]);
    let prints = reader.await_events(EventKind::Trade, 1);
    assert_eq!((prints[0].price.0, prints[0].qty.0), (10_025_000_000, 150));
    let broken = reader.await_events(EventKind::BrokenTrade, 1);
    assert_eq!(broken[0].id_b, prints[0].id_b, "the print that was told");
    let halts = reader.await_events(EventKind::TradingAction, 3);
    assert_eq!((halts[2].symbol.0, halts[2].detail), (1, b'H'), "behind the two of the beginning");
    let (summary, out) = run.stop();
    is_told(&summary.unwrap(), &out);
    reader.await_events(EventKind::SessionEnd, 1);
    assert_eq!((reader.order_count(), reader.anomaly_count), (0, 0));
    assert!(!out.contains("K-1") && !out.contains("S-2"), "keys are not shown: {out}");
}

#[test]
fn a_lost_connection_takes_every_quote_and_only_new_ones_come_back() {
    let (vendor, mut reader) = (Vendor::new(), Reader::new());
    let run = Plan::alpaca(&vendor, &reader).start();
    let mut client = admit(&vendor);
    client.say(&quote("ALFA", ("10.01", 300), ("10.03", 200)));
    client.say(&quote("BETA", ("87.66", 100), ("87.68", 400)));
    reader.await_top(1, [Some((876_600, 100)), Some((876_800, 400))]);
    drop(client);
    for symbol in [0, 1] {
        reader.await_top(symbol, [None, None]);
    }
    let mut client = admit(&vendor);
    client.say(&quote("BETA", ("87.60", 1), ("87.61", 2)));
    reader.await_top(1, [Some((876_000, 1)), Some((876_100, 2))]);
    assert_eq!(reader.top(0), [None, None], "nothing was heard of it since");
    let (summary, _) = run.stop();
    let summary = summary.unwrap();
    assert_eq!((summary.connection_count, summary.desk.outage_count), (2, 1), "{summary}");
}

#[test]
fn silence_takes_quotes_by_symbol_and_then_the_connection() {
    let (vendor, mut reader) = (Vendor::new(), Reader::new());
    let run = Plan { silence_ms: 3_000, stale_after_ms: 300, ..Plan::alpaca(&vendor, &reader) }.start();
    let mut client = admit(&vendor);
    client.say(&quote("ALFA", ("10.01", 300), ("10.03", 200)));
    reader.await_top(0, [Some((100_100, 300)), Some((100_300, 200))]);
    reader.await_top(0, [None, None]);
    // The server answers no ping: it reads nothing. The connection is given up, and another one made.
    let mut again = admit(&vendor);
    again.say(&quote("ALFA", ("10.02", 1), ("10.03", 2)));
    reader.await_top(0, [Some((100_200, 1)), Some((100_300, 2))]);
    let (summary, out) = run.stop();
    let summary = summary.unwrap();
    assert!(summary.desk.stale_count >= 1 && out.contains("silence for"), "{summary}\n{out}");
    drop(client);
}

#[test]
fn refusals_end_the_program_and_breaks_do_not() {
    let (vendor, reader) = (Vendor::new(), Reader::new());
    let run = Plan::alpaca(&vendor, &reader).start();
    let mut client = admit(&vendor);
    client.say(r#"[{"T":"error","code":407,"msg":"slow client"}]"#);
    let mut client = vendor.accept();
    client.say(r#"[{"T":"success","msg":"connected"}]"#);
    assert_eq!(client.hear(), KEYS);
    client.say(r#"[{"T":"error","code":406,"msg":"connection limit exceeded"}]"#);
    let mut client = vendor.accept();
    client.say(r#"[{"T":"success","msg":"connected"}]"#);
    assert_eq!(client.hear(), KEYS);
    client.say(r#"[{"T":"error","code":402,"msg":"auth failed"}]"#);
    let (result, out) = run.join();
    let error = result.unwrap_err();
    assert!(matches!(&error, ServiceError::Refused(said) if said.contains("402")) && error.is_usage(), "{error}");
    assert!(out.contains("407") && out.contains("406"), "{out}");
}

#[test]
fn nobody_there_is_tried_again() {
    let (vendor, mut reader) = (Vendor::new(), Reader::new());
    let plan = Plan::alpaca(&vendor, &reader);
    let address = vendor.close();
    let run = plan.start();
    std::thread::sleep(Duration::from_millis(150));
    let vendor = Vendor::at(address);
    let mut client = admit(&vendor);
    client.say(&quote("ALFA", ("10.01", 300), ("10.03", 200)));
    reader.await_top(0, [Some((100_100, 300)), Some((100_300, 200))]);
    let (summary, out) = run.stop();
    let summary = summary.unwrap();
    assert!(summary.lost_count >= 1 && out.contains("cannot connect"), "{summary}\n{out}");
}

#[test]
fn massives_session_reaches_the_books_too() {
    let (vendor, mut reader) = (Vendor::new(), Reader::new());
    let run = Plan { kind: "massive", ..Plan::alpaca(&vendor, &reader) }.start();
    let mut client = vendor.accept();
    let status = |status: &str| format!(r#"[{{"ev":"status","status":"{status}","message":""}}]"#);
    client.say(&status("connected"));
    assert_eq!(client.hear(), r#"{"action":"auth","params":"K-1"}"#);
    client.say(&status("auth_success"));
    assert_eq!(client.hear(), r#"{"action":"subscribe","params":"T.ALFA,Q.ALFA,T.BETA,Q.BETA"}"#);
    (0..4).for_each(|_| client.say(&status("success")));
    let now = jiff::Timestamp::now().as_millisecond();
    client.say(&format!(r#"[{{"ev":"Q","sym":"BETA","bp":4.05,"bs":100,"ap":4.07,"as":200,"t":{now}}},{{"ev":"T","sym":"BETA","i":"a","p":4.06,"s":7,"t":{now}}}]"#));
    reader.await_top(1, [Some((40_500, 100)), Some((40_700, 200))]);
    assert_eq!(reader.await_events(EventKind::Trade, 1)[0].qty.0, 7);
    let (summary, out) = run.stop();
    is_told(&summary.unwrap(), &out);
    assert!(out.contains("the session is under way"), "{out}");
}

#[test]
fn the_depth_of_a_gateway_reaches_the_books() {
    let (vendor, mut reader) = (Vendor::new(), Reader::new());
    let run = Plan { kind: "ib", ..Plan::alpaca(&vendor, &reader) }.start();
    let mut gateway = vendor.accept_gateway();
    gateway.greet("151");
    let asked: Vec<String> = (0..4).map(|_| gateway.hear()).collect();
    assert!(asked[0].starts_with("1|11|0|0|ALFA|STK|") && asked[3].starts_with("10|5|1048577|0|BETA|"), "{asked:?}");
    gateway.say("13|1|1048577|0|MAKER|0|1|20.10|3|1");
    gateway.say("13|1|1048577|0|MAKER|0|0|20.12|5|1");
    gateway.say("13|1|1048577|1|OTHER|0|1|20.10|4|1");
    reader.await_top(1, [Some((201_000, 700)), Some((201_200, 500))]);
    gateway.say("46|6|1|48|20.11;2;1700000000123;500;20.1;true");
    assert_eq!(reader.await_events(EventKind::Trade, 1)[0].price.0, 20_110_000_000);
    // TWS lost its servers: the books go, another connection begins anew.
    gateway.say("4|2|-1|1100|connectivity lost");
    reader.await_top(1, [None, None]);
    let mut gateway = vendor.accept_gateway();
    gateway.greet("151");
    gateway.say("13|1|1048576|0|MAKER|0|1|20.10|3|1");
    reader.await_top(0, [Some((201_000, 300)), None]);
    let (summary, out) = run.stop();
    assert_eq!(summary.unwrap().connection_count, 2, "{out}");
}

#[test]
fn who_joins_late_gets_a_snapshot_and_another_session_begins_before_one_is_full() {
    let (vendor, mut reader) = (Vendor::new(), Reader::new());
    let run = Plan { message_count_max: 8_800, ..Plan::alpaca(&vendor, &reader) }.start();
    let mut client = admit(&vendor);
    for turn in 1..=4_000_u32 {
        client.say(&quote("ALFA", ("10.01", turn), ("10.03", 4_001 - turn)));
        if turn % 100 == 0 {
            reader.await_top(0, [Some((100_100, u64::from(turn))), Some((100_300, u64::from(4_001 - turn)))]);
        }
    }
    let books = await_some("a snapshot", || common::snapshot(run.addresses.snapshot));
    assert_eq!(common::top(&books, 0), [Some((100_100, 4_000)), Some((100_300, 1))]);
    let (summary, _) = run.stop();
    let summary = summary.unwrap();
    assert!(summary.session_count >= 2 && summary.snapshot_count >= 1, "{summary}");
    assert_eq!(reader.anomaly_count, 0);
}
