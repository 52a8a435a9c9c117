//! The whole engine, as `peregrine run` starts it, when the venue ends the session of its order port in the middle of the day
//! and begins another: the run sends nothing more, says what became of its orders, as far as it can be known, and the next
//! run names what it does not know and sends nothing.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "how much was tried")]
#![expect(clippy::wildcard_enum_match_arm, reason = "an answer of another kind fails the test")]

#[path = "common/desk.rs"]
mod desk;
#[path = "common/loopback.rs"]
mod loopback;
#[path = "common/ports.rs"]
mod ports;
#[path = "common/program.rs"]
mod program;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use desk::stream_of;
use loopback::{Plan, await_some};
use peregrine_gateway::ouch50::Outbound;
use peregrine_node::exit::Exit;
use peregrine_node::live::history;
use peregrine_venue::{Summary, ask};
use program::{PROFILE, changes, exchange, peregrine};

const FLOW: &str = "kind = \"generator\"\nseed = 3\nsymbol_count = 6\nmessage_count = 120_000\nhalt_count = 1\n";

/// What is told by hand while the engine trades.
type Told = fn(&Path);

fn tell(socket: &Path, command: &str) -> String {
    let said = ask(socket, command).unwrap();
    assert!(said.starts_with("ok "), "{command}: {said}");
    said
}

/// The connection is gone before the end is said: the engine comes back with the old name.
fn cut_and_roll(socket: &Path) {
    tell(socket, "cut 0");
    tell(socket, "session roll port 0");
}

/// Rolls while an order of ours lives: for so long our cancels, and what we send anew, get lost.
fn roll_with_an_order(socket: &Path) {
    let lives = || !tell(socket, "status").contains("port 0 connected, 0 cut, 0 orders alive");
    await_some("an order", || {
        if !lives() {
            return None;
        }
        tell(socket, "fault port 0 lost_order_ppm 1000000");
        let still = lives().then_some(());
        if still.is_some() {
            tell(socket, "session roll port 0");
        }
        tell(socket, "fault port 0 clear");
        still
    });
}

/// What a run left behind.
struct Seen {
    /// The report of the run whose session rolled, and how it ended.
    report: String,
    exit: Exit,
    /// Those of the run after it.
    after: (String, Exit),
    /// The new session of the port, before the second run and behind it.
    streams: [Vec<Vec<u8>>; 2],
    summary: Summary,
}

/// Runs the engine twice on one venue's day; in the first run the session rolls.
fn roll(cancels_on_disconnect: bool, told: Told) -> Seen {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("venue.sock");
    let (addresses, lines, stop, venue) = exchange(|lines| {
        let lines = lines.map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let plan = Plan { lines, flow: FLOW, start: "09:29:00", speed: 60, cancels_on_disconnect, ..Plan::quiet() };
        format!("{}[control]\nsocket = \"{}\"\n", plan.text(), socket.display())
    });
    let mut set = changes(&addresses, lines);
    set.push("ouch.username=\"alpha\"".to_owned());
    let runs = folder.path().join("runs");
    let run = |name: &str, seconds: &str, is_meanwhile: &dyn Fn(&Path)| {
        let dir = runs.join(name);
        let out = dir.display().to_string();
        let words = ["run", "--mode", "live", "--config", PROFILE, "--seconds", seconds, "--out", &out, "--json"];
        let exit = std::thread::scope(|scope| {
            let run = scope.spawn(|| peregrine(&words, &set));
            is_meanwhile(&dir);
            run.join().unwrap()
        });
        let exit = exit.unwrap_or_else(|failure| panic!("{failure}"));
        (std::fs::read_to_string(dir.join("report.json")).unwrap(), exit)
    };
    let (report, exit) = run("one", "9", &|dir| {
        await_some("the login", || dir.join(history::NOTE_NAME).exists().then_some(()));
        std::thread::sleep(Duration::from_secs(4));
        told(&socket);
    });
    let before = stream_of(addresses.ports[0], "alpha");
    let after = run("two", "3", &|_| {});
    let behind = stream_of(addresses.ports[0], "alpha");
    stop.request();
    Seen { report, exit, after, streams: [before, behind], summary: venue.join().unwrap() }
}

/// The number in front of a text.
fn number_before(report: &str, text: &str) -> Option<usize> {
    let (head, _) = report.split_once(text)?;
    head.rsplit(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// A fact of the order session.
fn fact<'a>(report: &'a str, name: &str) -> &'a str {
    let (_, behind) = report.split_once(&format!("\"{name}\"")).unwrap_or_else(|| panic!("{name}: {report}"));
    behind.split('"').find(|text| text.chars().any(char::is_alphanumeric) && *text != "value").unwrap()
}

/// Our orders that a stream speaks of; it must say of none that it was taken.
fn spoken_of(stream: &[Vec<u8>]) -> BTreeSet<u32> {
    let number = |bytes: &Vec<u8>| match Outbound::parse(bytes).unwrap() {
        Outbound::OrderExecuted(m, _) => Some(m.user_ref_num.get()),
        Outbound::OrderCanceled(m, _) => Some(m.user_ref_num.get()),
        Outbound::SystemEvent(..)
        | Outbound::AccountQueryResponse(..)
        | Outbound::MassCancelResponse(..)
        | Outbound::OrderRestated(..) => None,
        other => panic!("nothing new was sent, and the venue says {other:?}"),
    };
    stream.iter().filter_map(number).collect()
}

/// What holds however the session rolled.
fn check(seen: &Seen, name: &str) {
    let Seen { report, exit, after, streams, summary } = seen;
    let sent: u64 = fact(report, "orders sent").parse().unwrap();
    println!("{name}: {sent} orders, {} messages in the new session, {exit:?}", streams[1].len());
    assert!(sent > 5, "{report}");
    assert_eq!((fact(report, "halted"), summary.ports[0].session_count), ("SessionLost", 2), "{report}");
    assert!(streams.iter().all(|stream| stream[0][..1] == *b"S"), "the new session begins with the day");
    // The next run joins the new session, whose numbers go on: it says so, and sends nothing.
    let (report, exit) = after;
    assert!(report.contains("which is in no log") && *exit == Exit::No, "{report}");
    assert_eq!((fact(report, "orders sent"), fact(report, "halted")), ("0", "ReconcileFailed"), "{report}");
    assert!(!report.contains("Our account equals the venue's stream"), "{report}");
}

#[test]
fn a_session_that_ends_with_our_orders_cancelled_leaves_nothing_open() {
    let seen = roll(true, roll_with_an_order);
    check(&seen, "cancelled");
    assert_eq!(spoken_of(&seen.streams[1]), BTreeSet::new(), "the old session had said it");
    // An order that got lost then is not known to be gone.
    let open = number_before(&seen.report, " orders were not known to be gone");
    match open {
        None => assert!(seen.report.contains("nothing is open") && seen.exit == Exit::Done, "{}", seen.report),
        Some(open) => assert!(open <= 2 && seen.exit == Exit::No, "{}", seen.report),
    }
}

#[test]
fn a_session_that_ends_with_our_orders_alive_is_not_called_equal() {
    let seen = roll(false, roll_with_an_order);
    check(&seen, "alive");
    // What lived on is among what was not known to be gone, and the new session tells of it.
    let alive = spoken_of(&seen.streams[1]);
    let open = number_before(&seen.report, " orders were not known to be gone").unwrap_or(0);
    println!("{open} not known to be gone, {} alive", alive.len());
    assert!(!alive.is_empty() && open >= alive.len(), "{alive:?}: {}", seen.report);
    assert!(seen.report.contains("no run gets back to that session") && seen.exit == Exit::No, "{}", seen.report);
    assert!(!seen.report.contains("the next run begins with them"), "{}", seen.report);
    assert!(seen.after.0.contains("the venue has order "), "the new session tells of it: {}", seen.after.0);
}

#[test]
fn a_session_whose_end_was_not_heard_is_lost() {
    let seen = roll(false, cut_and_roll);
    check(&seen, "cut");
    let lost = "The session with the venue was lost, and there was no way back to it";
    assert!(seen.report.contains(lost) && seen.exit == Exit::No, "{}", seen.report);
}
