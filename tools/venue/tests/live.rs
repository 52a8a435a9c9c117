//! The program over loopback: our own client sessions trade against it, join its feed, and are cut off.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
#[path = "common/loopback.rs"]
mod loopback;

use std::collections::BTreeSet;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use common::order;
use loopback::{Client, Joined, PATIENCE, Plan, Receiver, await_some};
use peregrine_book::{BookConfig, Books, MarketBooks};
use peregrine_gateway::ouch50::*;
use peregrine_gateway::soup::*;
use peregrine_types::{EpochNanos, EventFlags, Full, Level, MarketEvent, Side, SymbolId};
use peregrine_venue::*;
use peregrine_wire::itch50::Decoder;

#[test]
fn two_clients_trade_and_the_feed_tells_it() {
    let receivers = [Receiver::join(Ipv4Addr::new(239, 192, 77, 1)), Receiver::join(Ipv4Addr::new(239, 192, 77, 2))];
    let venue = Plan { lines: [receivers[0].address, receivers[1].address], ..Plan::quiet() }.start();
    let (mut alpha, mut beta) = (Client::new("alpha", "secret"), Client::new("beta", "secret"));
    alpha.log_in(venue.addresses.ports[0]);
    beta.log_in(venue.addresses.ports[1]);
    alpha.send(&order(1, b'B', 300, 100_000));
    alpha.expect(0, "SA");
    beta.send(&order(1, b'S', 100, 99_900));
    beta.expect(0, "SAE");
    alpha.expect(2, "E");
    let Outbound::OrderExecuted(executed, _) = Outbound::parse(&alpha.heard[2].1).unwrap() else { unreachable!() };
    assert_eq!((executed.quantity.get(), executed.price.get(), executed.liquidity_flag), (100, 100_000, b'A'));
    let summary = venue.stop();
    assert_eq!((summary.match_count, summary.order_count), (2, 1), "the opening cross of one symbol and the trade");
    for receiver in &receivers {
        let mut joined = Joined::new();
        await_some("the end of the session", || {
            joined.take(&receiver.packet()?);
            joined.is_over.then_some(())
        });
        assert_eq!((joined.first_gap(), joined.hash()), (None, summary.feed_hash));
        let types: String = joined.messages.values().map(|message| char::from(message[0])).collect();
        assert!(types.ends_with("AE"), "{types}");
    }
    await_some("the end of the session", || {
        alpha.flow();
        (alpha.closed == [CloseReason::EndOfSession]).then_some(())
    });
}

#[test]
fn a_wrong_password_a_silent_caller_and_a_newer_connection() {
    let venue = Plan::quiet().start();
    let mut stranger = Client::new("alpha", "wrong");
    stranger.connect(venue.addresses.ports[0]);
    await_some("the refusal", || {
        stranger.flow();
        stranger.closed.first().copied()
    });
    assert_eq!(stranger.closed, [CloseReason::Rejected(LoginRejectReason::NotAuthorized)]);
    let (mut old, mut new) = (Client::new("alpha", "secret"), Client::new("alpha", "secret"));
    old.log_in(venue.addresses.ports[0]);
    new.log_in(venue.addresses.ports[0]);
    await_some("the end of the old connection", || {
        old.flow();
        old.closed.first().copied()
    });
    new.send(&order(1, b'B', 100, 100_000));
    new.expect(0, "SA");
    let summary = venue.stop();
    assert_eq!((summary.ports[0].endpoint.connection_count, summary.ports[0].endpoint.displaced_count), (3, 1));
}

#[test]
fn an_order_with_a_time_to_live_ends_by_the_venues_day() {
    let venue = Plan { speed: 20, ..Plan::quiet() }.start();
    let mut alpha = Client::new("alpha", "secret");
    alpha.log_in(venue.addresses.ports[0]);
    let mut buffer = [0; MESSAGE_LEN_MAX];
    let message = EnterOrder { time_in_force: b'6', ..order(1, b'B', 100, 100_000) };
    let built = MessageBuilder::new(&mut buffer, &message).unwrap().option(OptionValue::ExpireTime(2)).unwrap();
    alpha.session.send(built.finish(), loopback::now()).unwrap();
    alpha.expect(0, "SAC");
    let [_, taken, ended] = [0, 1, 2].map(|at| Outbound::parse(&alpha.heard[at].1).unwrap());
    let (Outbound::OrderAccepted(taken, _), Outbound::OrderCanceled(ended, _)) = (taken, ended) else { panic!() };
    assert_eq!((ended.timestamp.get() - taken.timestamp.get(), ended.reason), (2_000_000_000, b'T'));
    assert_eq!(venue.stop().order_count, 0);
}

#[test]
fn a_lost_connection_cancels_and_a_new_one_hears_of_it() {
    let venue = Plan { cancels_on_disconnect: true, ..Plan::quiet() }.start();
    let mut alpha = Client::new("alpha", "secret");
    alpha.log_in(venue.addresses.ports[0]);
    alpha.send(&order(1, b'B', 100, 100_000));
    alpha.expect(0, "SA");
    alpha.stream = None;
    alpha.session.disconnect(&mut |_| {});
    alpha.log_in(venue.addresses.ports[0]);
    alpha.expect(2, "C");
    assert_eq!(alpha.continuities, [Continuity::Continued; 2]);
    assert_eq!(venue.stop().order_count, 0);
}

/// What alpha sends, in order.
fn script() -> Vec<EnterOrder> {
    (1..=6).map(|number| order(number, if number % 2 == 0 { b'S' } else { b'B' }, 100 * number, 100_000)).collect()
}

/// Plays the script with the connection cut where the faults say; what was not answered is sent again under its own
/// number. Returns what was heard, and the summary.
fn play(port_faults: &str) -> (Vec<Vec<u8>>, Summary) {
    let venue = Plan { port_faults, ..Plan::quiet() }.start();
    let mut alpha = Client::new("alpha", "secret");
    let (script, begin) = (script(), Instant::now());
    alpha.connect(venue.addresses.ports[0]);
    // Orders are answered by `A`; executions come on top.
    let answered = |alpha: &Client| alpha.types(0).matches('A').count();
    let mut asked = 0;
    while answered(&alpha) < script.len() {
        assert!(begin.elapsed() < PATIENCE, "{port_faults}: {}", alpha.types(0));
        alpha.flow();
        if alpha.stream.is_none() {
            alpha.connect(venue.addresses.ports[0]);
            asked = answered(&alpha);
        } else if alpha.session.state() == ClientState::Active && asked <= answered(&alpha) {
            asked = answered(&alpha);
            if let Some(next) = script.get(asked) {
                alpha.send(next);
                asked += 1;
            }
        }
    }
    while alpha.types(0).matches('E').count() < 10 {
        assert!(begin.elapsed() < PATIENCE, "{port_faults}: {}", alpha.types(0));
        alpha.flow();
        if alpha.stream.is_none() {
            alpha.connect(venue.addresses.ports[0]);
        }
    }
    let numbers: Vec<u64> = alpha.heard.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=alpha.heard.len() as u64).collect::<Vec<_>>(), "{port_faults}: in order, and once");
    // Times differ from run to run: what is compared comes without them.
    let untimed = |(_, message): (u64, Vec<u8>)| [&message[..1], &message[9..]].concat();
    let heard = std::mem::take(&mut alpha.heard).into_iter().map(untimed).collect();
    (heard, venue.stop())
}

#[test]
fn a_session_cut_at_every_byte_ends_as_one_that_was_not() {
    let (whole, summary) = play("");
    let (sent, received) = (summary.ports[0].endpoint.sent_len, summary.ports[0].endpoint.received_len);
    assert!(sent > 400 && received > 300, "{sent} {received}");
    // Every byte is too much for the gate: the ports' own test has it without sockets, and this one where it is asked to.
    let step = if std::env::var_os("PEREGRINE_VENUE_CUTS").is_some() { 1 } else { 17 };
    for cut in (1..sent).step_by(step) {
        let (heard, summary) = play(&format!("[port.faults]\ncut_sent_bytes = [{cut}]"));
        assert_eq!((heard, summary.match_count), (whole.clone(), 1 + 5), "cut behind byte {cut} to the client");
        assert_eq!(summary.ports[0].endpoint.cut_count, 1, "{cut}");
    }
    for cut in (1..received).step_by(step) {
        let (heard, summary) = play(&format!("[port.faults]\ncut_received_bytes = [{cut}]"));
        assert_eq!((heard, summary.match_count), (whole.clone(), 1 + 5), "cut behind byte {cut} from the client");
        assert_eq!(summary.ports[0].endpoint.cut_count, 1, "{cut}");
    }
}

const GENERATOR: &str = "kind = \"generator\"\nseed = 3\nsymbol_count = 5\nmessage_count = 20_000\nhalt_count = 1";

/// Receives a whole generated day on both lines; what is missing is asked for afterwards.
fn receive_day(group: u8, faults: &str) -> (Joined, u64, Summary) {
    let receivers = [1, 2].map(|line| Receiver::join(Ipv4Addr::new(239, 192, group, line)));
    let lines = [receivers[0].address, receivers[1].address];
    let venue =
        Plan { lines, flow: GENERATOR, faults, start: "09:23:59", speed: 2_000, end_ms: 60_000, ..Plan::quiet() }
            .start();
    let mut joined = Joined::new();
    let mut filled = 0;
    await_some("the end of the day", || {
        for receiver in &receivers {
            while let Some(packet) = receiver.packet() {
                joined.take(&packet);
            }
        }
        if joined.next > 1_000 && filled == 0 {
            filled = joined.fill(venue.addresses.retransmission);
        }
        joined.is_over.then_some(())
    });
    // While the end is being said the server still answers.
    filled += joined.fill(venue.addresses.retransmission);
    (joined, filled, venue.stop())
}

#[test]
fn a_generated_day_arrives_whole_and_makes_a_sound_book() {
    let (joined, _, summary) = receive_day(80, "");
    assert_eq!((joined.hash(), joined.next - 1), (summary.feed_hash, summary.message_count));
    assert!(summary.message_count > 20_000 && summary.match_count > 300, "{summary}");
    assert_eq!(summary.order_count, 0, "{summary}");
    assert_eq!(summary.ports[0].port.lost_count, 0, "the last event of the day has room: {summary}");
    let tape = summary.tape;
    assert!((tape.refused_count + tape.unknown_count) * 500 < tape.entered_count, "{summary}");
    let (books, _) = rebuild(joined.messages.values());
    assert_eq!(books.order_count(), 0, "the day is over");
    let types: BTreeSet<u8> = joined.messages.values().map(|message| message[0]).collect();
    assert!(b"SRHAEXDUQ".iter().all(|kind| types.contains(kind)), "{types:?}");
}

#[test]
fn what_both_lines_lose_is_served_again() {
    let faults = "[faults.line_a]\nloss_ppm = 300_000\nduplicate_ppm = 50_000\nreorder_ppm = 50_000\n\
                  reorder_delay_us = 2_000\njitter_us = 200\n[faults.line_b]\nloss_ppm = 300_000\ndelay_us = 500\n\
                  outage_us = 100_000\noutage_every_us = 500_000\noutage_after_us = 300_000\n\
                  [faults.retransmission]\nloss_ppm = 200_000\n";
    let faults = format!("retransmission_lie_ppm = 100_000\n{faults}");
    let (joined, filled, summary) = receive_day(81, &faults);
    assert_eq!(joined.hash(), summary.feed_hash, "{summary}");
    assert!(filled > 100, "both lines lost something: {filled}\n{summary}");
    let line = &summary.lines[0].faults;
    assert!(line.lost_count > 0 && line.duplicated_count > 0 && line.reordered_count > 0, "{summary}");
    assert!(summary.lines[1].faults.outage_count > 0, "{summary}");
}

/// Books from messages of the feed, and how many messages there were.
fn rebuild<'a>(messages: impl Iterator<Item = &'a Vec<u8>>) -> (Books, u64) {
    let mut decoder = Decoder::new(EpochNanos(0), 64);
    let mut books = Books::new(BookConfig::new(64, 50_000, 50_000)).unwrap();
    let mut count = 0;
    for message in messages {
        let mut events = Vec::new();
        let mut sink = |event: MarketEvent| -> Result<(), Full<MarketEvent>> {
            events.push(event);
            Ok(())
        };
        decoder.decode(message, EpochNanos(0), EventFlags::RECV_TIME_SYNTHETIC, &mut sink).unwrap();
        for event in events {
            assert_eq!(books.apply(&event).anomaly, None, "{event:?}");
        }
        count += 1;
    }
    (books, count)
}

/// The displayed orders of five symbols, level by level.
fn levels(books: &Books) -> Vec<Vec<(i64, u64)>> {
    let mut all = Vec::new();
    for symbol in (0..5).map(SymbolId) {
        for side in Side::BOTH {
            let mut levels = vec![Level::default(); 2_000];
            let count = books.depth(symbol, side, &mut levels);
            all.push(levels[..count].iter().map(|level| (level.price.0, level.qty.0)).collect());
        }
    }
    all
}

#[test]
fn a_snapshot_and_the_feed_behind_it_make_the_same_book() {
    let receiver = Receiver::join(Ipv4Addr::new(239, 192, 82, 1));
    let lines = [receiver.address, SocketAddr::from((Ipv4Addr::LOCALHOST, 9))];
    let venue = Plan { lines, flow: GENERATOR, start: "09:40:00", speed: 60, ..Plan::quiet() }.start();
    let mut joined = Joined::new();
    let take = |joined: &mut Joined| {
        while let Some(packet) = receiver.packet() {
            joined.take(&packet);
        }
    };
    await_some("a thousand messages", || {
        take(&mut joined);
        (joined.next > 1_000).then_some(())
    });
    let mut late = Client::new("glimps", "glimpse");
    late.log_in(venue.addresses.snapshot);
    let next = await_some("the end of the snapshot", || {
        late.flow();
        late.heard.last().and_then(|(_, message)| end_of_snapshot(message))
    });
    await_some("messages behind the snapshot", || {
        take(&mut joined);
        (joined.next > next + 500).then_some(())
    });
    joined.fill(venue.addresses.retransmission);
    let summary = venue.stop();
    await_some("the end", || {
        take(&mut joined);
        joined.is_over.then_some(())
    });
    assert_eq!((joined.first_gap(), summary.snapshot_count), (None, 1));
    let snapshot: Vec<Vec<u8>> = late.heard.iter().map(|(_, message)| message.clone()).collect();
    let (_, snapshot) = snapshot.split_last().unwrap();
    let behind = joined.messages.range(next..).map(|(_, message)| message);
    let (from_snapshot, _) = rebuild(snapshot.iter().chain(behind));
    let (from_start, _) = rebuild(joined.messages.values());
    assert!(from_start.order_count() > 50 && next > 1_000);
    assert_eq!(levels(&from_snapshot), levels(&from_start));
    // A hole between snapshot and feed is told apart: the check has teeth.
    let missing = joined.messages.range(next..).map(|(_, message)| message).find(|message| message[0] == b'A').unwrap();
    let holed = joined.messages.range(next..).map(|(_, message)| message).filter(|message| *message != missing);
    let holed = std::panic::catch_unwind(|| levels(&rebuild(snapshot.iter().chain(holed.collect::<Vec<_>>())).0));
    assert!(holed.is_err() || holed.unwrap() != levels(&from_start));
}

#[test]
fn storms_lost_orders_and_doubled_fills_are_made_as_asked() {
    let faults = "[port.faults]\nreject_storms = [[\"09:00:00\", \"11:00:00\"]]";
    let venue = Plan { port_faults: faults, ..Plan::quiet() }.start();
    let mut alpha = Client::new("alpha", "secret");
    alpha.log_in(venue.addresses.ports[0]);
    alpha.send(&order(1, b'B', 100, 100_000));
    alpha.send(&order(2, b'B', 100, 100_000));
    alpha.expect(0, "SJJ");
    assert_eq!(venue.stop().ports[0].faults.stormed_count, 2);

    let venue = Plan { port_faults: "[port.faults]\nlost_order_ppm = 1_000_000", ..Plan::quiet() }.start();
    let (mut alpha, mut beta) = (Client::new("alpha", "secret"), Client::new("beta", "secret"));
    alpha.log_in(venue.addresses.ports[0]);
    beta.log_in(venue.addresses.ports[1]);
    alpha.send(&order(1, b'B', 100, 100_000));
    beta.send(&order(1, b'S', 100, 100_000));
    beta.expect(0, "SA");
    alpha.expect(0, "S");
    let summary = venue.stop();
    assert_eq!((summary.ports[0].faults.lost_order_count, summary.order_count), (1, 1));

    let faults = "[port.faults]\nlost_answer_ppm = 1_000_000\nduplicate_fill_ppm = 1_000_000";
    let venue = Plan { port_faults: faults, ..Plan::quiet() }.start();
    let (mut alpha, mut beta) = (Client::new("alpha", "secret"), Client::new("beta", "secret"));
    alpha.log_in(venue.addresses.ports[0]);
    beta.log_in(venue.addresses.ports[1]);
    alpha.send(&order(1, b'B', 100, 100_000));
    alpha.expect(0, "S");
    beta.send(&order(1, b'S', 100, 100_000));
    beta.expect(0, "SAE");
    alpha.expect(1, "EE");
    assert_eq!(alpha.heard[1].1, alpha.heard[2].1, "the same fill, match number included");
    let summary = venue.stop();
    assert_eq!((summary.ports[0].faults.lost_answer_count, summary.ports[0].faults.duplicate_fill_count), (1, 1));
}

/// The binary itself: says where it listens, trades, and stops at Ctrl-C with a summary.
#[test]
fn the_program_stops_at_ctrl_c_with_a_summary() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("venue.toml");
    std::fs::write(&config, Plan::quiet().text()).unwrap();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_peregrine-venue"))
        .arg("--config")
        .arg(&config)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    let address = loop {
        let mut line = String::new();
        assert!(std::io::BufRead::read_line(&mut out, &mut line).unwrap() > 0, "the program ended too soon");
        if let Some(address) = line.strip_prefix("port 0: ") {
            break address.trim().parse().unwrap();
        }
    };
    let mut alpha = Client::new("alpha", "secret");
    alpha.log_in(address);
    alpha.send(&order(1, b'B', 100, 100_000));
    alpha.expect(0, "SA");
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let mut summary = String::new();
    out.read_to_string(&mut summary).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(summary.contains("orders alive at the end: 1") && summary.contains("port 0: 1 connections"), "{summary}");
}
