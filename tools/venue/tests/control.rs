//! The exchange is told something while it runs: the program by its own subcommand, each fault once, and the journal of a run
//! that another one repeats.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
#[path = "common/loopback.rs"]
mod loopback;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use common::order;
use loopback::{Client, Plan, Receiver, await_some, start};
use peregrine_gateway::ouch50::*;
use peregrine_gateway::soup::{CloseReason, LoginRejectReason, Position, SessionId};
use peregrine_venue::{Summary, ask};
use peregrine_wire::moldudp64::Packet;

const PROGRAM: &str = env!("CARGO_BIN_EXE_peregrine-venue");

/// The program under way.
struct Program {
    child: Child,
    out: BufReader<ChildStdout>,
    ports: Vec<SocketAddr>,
}

impl Program {
    fn start(folder: &Path, plan: &Plan<'_>) -> Self {
        let config = folder.join("venue.toml");
        let text = plan.text() + "[control]\nsocket = \"venue.sock\"\njournal = \"hand.log\"\n";
        std::fs::write(&config, text).unwrap();
        let mut child = Command::new(PROGRAM).arg("--config").arg(&config).stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let mut program = Self { child, out, ports: Vec::new() };
        loop {
            let mut line = String::new();
            assert!(program.out.read_line(&mut line).unwrap() > 0, "the program ended");
            if line.starts_with("port ") {
                program.ports.push(line.rsplit(' ').next().unwrap().trim().parse().unwrap());
            }
            if line.starts_with("control: ") {
                return program;
            }
        }
    }

    /// Stops it as Ctrl-C does; gives its summary.
    fn stop(mut self) -> String {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        let mut said = String::new();
        self.out.read_to_string(&mut said).unwrap();
        assert!(self.child.wait().unwrap().success(), "{said}");
        said
    }
}

impl Drop for Program {
    /// A test that failed leaves nothing running.
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// Sends a command by the program's subcommand: its exit status and what it says.
fn tell(folder: &Path, command: &str) -> (Option<i32>, String) {
    let socket = folder.join("venue.sock");
    let output = Command::new(PROGRAM).arg("control").arg(socket).args(command.split_whitespace()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), said)
}

fn done(folder: &Path, command: &str) {
    let (code, said) = tell(folder, command);
    assert!(code == Some(0) && said.starts_with("ok ") && said.contains(command), "{command}: {code:?} {said}");
}

/// Packets that arrive within a quarter of a second: heartbeats come every 50 ms.
fn packets_of(receiver: &Receiver) -> usize {
    let drained = Instant::now() + Duration::from_millis(100);
    while Instant::now() < drained && receiver.packet().is_some() {}
    std::thread::sleep(Duration::from_millis(250));
    std::iter::from_fn(|| receiver.packet()).take(3).count()
}

#[test]
fn every_fault_is_switched_by_hand_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let receivers = [1, 2].map(|line| Receiver::join(Ipv4Addr::new(239, 192, 88, line)));
    let lines = [receivers[0].address, receivers[1].address];
    let venue = Program::start(folder, &Plan { lines, ..Plan::quiet() });
    let (mut alpha, mut beta) = (Client::new("alpha", "secret"), Client::new("beta", "secret"));
    alpha.log_in(venue.ports[0]);
    beta.log_in(venue.ports[1]);

    done(folder, "halt ALFA");
    alpha.send(&order(1, b'B', 100, 100_000));
    alpha.expect(0, "SJ");
    done(folder, "resume ALFA");
    alpha.send(&order(2, b'B', 100, 100_000));
    beta.send(&order(1, b'S', 100, 100_000));
    alpha.expect(2, "AE");
    beta.expect(0, "SAE");
    let Outbound::OrderExecuted(executed, _) = Outbound::parse(&alpha.heard[3].1).unwrap() else { unreachable!() };
    let number = executed.match_number.get();
    done(folder, &format!("bust {number}"));
    alpha.expect(4, "B");
    beta.expect(3, "B");
    let (code, said) = tell(folder, &format!("bust {number}"));
    assert!(code == Some(1) && said.contains("that was not broken yet"), "{code:?} {said}");

    done(folder, "fault port 0 storm 60s");
    alpha.send(&order(3, b'B', 100, 100_000));
    alpha.expect(5, "J");
    done(folder, "fault port 0 clear");
    alpha.send(&order(4, b'B', 100, 100_000));
    alpha.expect(6, "A");
    done(folder, "cut 0");
    await_some("the cut", || {
        alpha.flow();
        alpha.stream.is_none().then_some(())
    });

    assert!(packets_of(&receivers[0]) > 0 && packets_of(&receivers[1]) > 0);
    done(folder, "fault line A loss_ppm 1000000");
    assert_eq!((packets_of(&receivers[0]), packets_of(&receivers[1]) > 0), (0, true));
    done(folder, "fault line A clear");
    done(folder, "fault line B outage 20s");
    assert_eq!((packets_of(&receivers[0]) > 0, packets_of(&receivers[1])), (true, 0));
    let (code, said) = tell(folder, "status");
    assert!(code == Some(0) && said.contains("session TESTDAY001") && said.contains("port 0 free, 1 cut"), "{said}");
    done(folder, "session roll");
    let rolled = await_some("the next session", || {
        let packet = receivers[0].packet()?;
        let session = Packet::parse(&packet).unwrap().session();
        (session.0 == *b"TESTDAY002").then_some(session)
    });
    assert_eq!(rolled.0, *b"TESTDAY002");

    for (command, said) in [
        ("hallt ALFA", "`hallt ALFA` is no command; there are: fault line"),
        ("halt GAMMA", "error: the symbol GAMMA is not listed"),
        ("bust 999", "error: no port has an execution with the match number 999"),
        ("cut 0", "error: nobody is connected to port 0"),
        ("cut 7", "error: there is no port 7: they are 0 to 1"),
        ("fault line A loss_ppm much", "`much` is no share in millionths, 0 to 1000000"),
    ] {
        let (code, answer) = tell(folder, command);
        assert!(code == Some(1) && answer.contains(said), "{command}: {code:?} {answer}");
    }
    let summary = venue.stop();
    assert!(summary.contains("told by hand: 10 commands, 7 refused"), "{summary}");
    let journal = std::fs::read_to_string(folder.join("hand.log")).unwrap();
    assert_eq!(journal.lines().count(), 10, "{journal}");
    for line in journal.lines() {
        assert!(summary.contains(line) && line.starts_with("10:0"), "{line}: {summary}");
    }
    assert!(!folder.join("venue.sock").exists(), "the socket goes with the program");
    let (code, said) = tell(folder, "status");
    assert!(code == Some(3) && said.contains("cannot reach the exchange"), "{code:?} {said}");
}

const GENERATOR: &str = "kind = \"generator\"\nseed = 3\nsymbol_count = 5\nmessage_count = 20_000\nhalt_count = 1";

/// A whole generated day at a speed, with what `control` says of how it is told something, and `by_hand` telling it.
fn day(speed: u32, control: &str, by_hand: impl FnOnce()) -> Summary {
    let plan = Plan { flow: GENERATOR, start: "09:23:59", speed, end_ms: 100, ..Plan::quiet() };
    let venue = start(&(plan.text() + control));
    by_hand();
    venue.thread.join().unwrap().unwrap()
}

/// Waits until the exchange's day is at `time`, then tells it these.
fn tell_at(socket: &Path, time: &str, commands: &[&str]) {
    await_some(time, || {
        let said = ask(socket, "status").unwrap();
        (said.strip_prefix("ok ").unwrap() > time).then_some(())
    });
    for command in commands {
        let said = ask(socket, command).unwrap();
        assert!(said.starts_with("ok "), "{said}");
    }
}

#[test]
fn what_was_told_by_hand_is_an_input_that_another_run_can_be_given() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let [socket, journal, again] = ["venue.sock", "hand.log", "again.log"].map(place);
    let control = format!("[control]\nsocket = \"{}\"\njournal = \"{}\"\n", socket.display(), journal.display());
    let told = day(1_000, &control, || {
        tell_at(&socket, "09:40", &["halt ASGV", "halt BDZK"]);
        tell_at(&socket, "09:50", &["resume ASGV", "session roll", "session roll port 1"]);
        tell_at(&socket, "10:10", &["resume BDZK"]);
    });
    assert_eq!((told.control.done_count, told.control.refused_count, told.session_count), (6, 0, 2), "{told}");
    assert_eq!([told.ports[0].session_count, told.ports[1].session_count], [1, 2]);
    let control = format!("[control]\nscript = \"{}\"\njournal = \"{}\"\n", journal.display(), again.display());
    // The faster the day, the more of it is due at once: the commands fall between the same messages all the same.
    for speed in [1_000, 60_000] {
        let repeated = day(speed, &control, || {});
        assert_eq!((repeated.feed_hash, &repeated.control), (told.feed_hash, &told.control), "{told}\n{repeated}");
        assert_eq!(repeated.ports[1].session_count, 2);
        assert_eq!(std::fs::read(&journal).unwrap(), std::fs::read(&again).unwrap());
    }
    assert_ne!(day(1_000, "", || {}).feed_hash, told.feed_hash, "the commands had an effect");
}

/// The trading states of a symbol that the day tells, from the lines that `receivers` hear.
fn trading_states(receivers: &[Receiver], symbol: &[u8; 8]) -> Vec<u8> {
    let mut messages = BTreeMap::new();
    for receiver in receivers {
        while let Some(bytes) = receiver.packet() {
            let packet = Packet::parse(&bytes).unwrap();
            let numbers = packet.sequence_number()..;
            messages.extend(numbers.zip(packet.blocks().map(<[u8]>::to_vec)));
        }
    }
    let is_of = |message: &&Vec<u8>| message[0] == b'H' && message[11..19] == *symbol;
    messages.values().filter(is_of).map(|message| message[19]).collect()
}

/// A halt by configuration, and by a journal its end: however much of a day is due at once, the one comes before the other.
#[test]
fn what_the_days_faults_did_before_a_command_was_done_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("hand.log");
    std::fs::write(&script, "10:10:00.000000000 resume CNDD\n").unwrap();
    let control = format!("[control]\nscript = \"{}\"\n", script.display());
    let receivers = [1, 2].map(|line| Receiver::join(Ipv4Addr::new(239, 192, 89, line)));
    let lines = [receivers[0].address, receivers[1].address];
    let faults = "halts = [[\"CNDD\", \"10:09:59\", \"23:59:00\"]]";
    let flow = "kind = \"generator\"\nseed = 3\nsymbol_count = 5\nmessage_count = 600\nhalt_count = 0";
    let plan = Plan { lines, flow, faults, start: "09:23:59", speed: 60_000, end_ms: 100, ..Plan::quiet() };
    let summary = start(&(plan.text() + &control)).thread.join().unwrap().unwrap();
    assert_eq!((summary.control.done_count, summary.control.refused_count), (1, 0), "{summary}");
    assert_eq!(trading_states(&receivers, b"CNDD    "), b"THT", "{summary}");
}

/// A port's session rolls at the time that its faults say, and by hand: the feed's goes on.
#[test]
fn a_ports_session_rolls_by_configuration_and_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("venue.sock");
    let port_faults = "[port.faults]\nsession_rolls = [\"10:00:03\"]";
    let plan = Plan { port_faults, cancels_on_disconnect: true, ..Plan::quiet() };
    let venue = start(&format!("{}[control]\nsocket = \"{}\"\n", plan.text(), socket.display()));
    let (mut alpha, mut beta) = (Client::new("alpha", "secret"), Client::new("beta", "secret"));
    alpha.log_in(venue.addresses.ports[0]);
    beta.log_in(venue.addresses.ports[1]);
    alpha.send(&order(1, b'B', 100, 100_000));
    alpha.expect(0, "SA");
    let of_old = alpha.session.position();
    assert_eq!(of_old.session, SessionId::new("TESTDAY001").unwrap());
    let ended = |client: &mut Client, what: &str| {
        await_some(what, || {
            client.flow();
            (client.closed.last() == Some(&CloseReason::EndOfSession)).then_some(())
        });
        client.closed.clear();
    };
    ended(&mut alpha, "the roll of the configuration");
    assert_eq!(alpha.types(2), "C");
    // The old name is refused; without one the next session is joined at its begin.
    let mut late = Client::new("alpha", "secret");
    late.session.set_position(of_old);
    late.connect(venue.addresses.ports[0]);
    await_some("the refusal", || {
        late.flow();
        late.closed.first().copied()
    });
    assert_eq!(late.closed, [CloseReason::Rejected(LoginRejectReason::SessionNotAvailable)]);
    alpha.log_in(venue.addresses.ports[0]);
    alpha.expect(3, "S");
    let named = |name: &str| Position { session: SessionId::new(name).unwrap(), next_sequence_number: 2 };
    assert_eq!(alpha.session.position(), named("TESTDAY002"));
    assert!(ask(&socket, "session roll port 0").unwrap().starts_with("ok 10:00:"));
    ended(&mut alpha, "the roll by hand");
    alpha.log_in(venue.addresses.ports[0]);
    alpha.expect(4, "S");
    assert_eq!(alpha.session.position(), named("TESTDAY003"));
    alpha.send(&order(2, b'B', 100, 100_000));
    alpha.expect(5, "A");
    let said = ask(&socket, "session roll port 2").unwrap();
    assert_eq!(said, "error: there is no port 2: they are 0 to 1");
    let said = ask(&socket, "status").unwrap();
    for part in [
        "session TESTDAY001, next",
        "port 0 connected, 0 cut, 1 orders alive, session TESTDAY003",
        "session TESTDAY001",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    beta.send(&order(1, b'S', 100, 100_000));
    beta.expect(0, "SAE");
    let summary = venue.stop();
    let counted = [0, 1].map(|port| (summary.ports[port].session_count, summary.ports[port].message_count));
    assert_eq!((counted, summary.session_count), ([(3, 7), (1, 3)], 1), "{summary}");
    assert!(summary.to_string().contains("7 messages in 3 sessions"), "{summary}");
}
