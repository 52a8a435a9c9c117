//! Wire to wire over loopback: `cargo run --release -p peregrine-benches --bin wire_to_wire -- --engine target/release/peregrine`.
//!
//! Another process gets a feed by UDP multicast and answers with orders by OUCH 5.0 over TCP: the engine, with its books,
//! features, network, risk checks and log, or a bare echo with the same receive and the same send. Both in turn, in one run;
//! the ratio of their medians is what the engine adds. Goal: 1.25 (the design's performance page).
#![expect(clippy::print_stdout, reason = "a table is what the program is for")]

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use peregrine_benches::BenchError;
use peregrine_benches::hops::pin;
use peregrine_benches::host::Machine;
use peregrine_benches::percentiles::{Percentiles, Timer};
use peregrine_benches::session::LoadedSession;
use peregrine_benches::wire::desk::{Desk, PASSWORD, USERNAME};
use peregrine_benches::wire::market::Market;
use peregrine_benches::wire::{Play, Played, echo, play};
use peregrine_wire::itch50::{Message, parse};

const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 192, 10, 9), 30_901);
const INTERFACE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const ROUNDS: usize = 3;
const WARM_UP_COUNT: usize = 60_000;
const COUNT: usize = 60_000;
/// Packets for one that the second echo answers.
const SELDOM: u64 = 45;

fn main() -> Result<(), BenchError> {
    let mut args = std::env::args().skip(1);
    match (args.next().as_deref(), args.next(), args.next()) {
        (Some("echo"), Some(venue), Some(every)) => {
            pin(0);
            echo::run((GROUP, INTERFACE), venue.parse()?, every.parse()?)
        }
        (Some("--engine"), Some(program), None) => compare(Path::new(&program)),
        _ => Err("usage: wire_to_wire --engine PATH-OF-PEREGRINE".into()),
    }
}

/// Who answers.
#[derive(Clone, Copy, Debug)]
enum Contender<'a> {
    /// The bare echo, answering one packet in so many.
    Echo(u64),
    Engine(&'a Path),
}

fn compare(engine: &Path) -> Result<(), BenchError> {
    let machine = Machine::here();
    let session = LoadedSession::generated(1, 400_000)?;
    let cores = peregrine_runtime::available_cores();
    let (Some(answering), Some(measuring)) = (cores.first().copied(), cores.get(1).copied()) else {
        return Err("two cores are needed: one measures, one answers".into());
    };
    print!("{}", machine.describe(measuring));
    let timer = Timer::calibrated();
    println!(
        "- one packet at a time over loopback, the answer on core {answering}; from before the send call to the bytes of an order \
         or a cancel read\n\n| | answered | p50 | p90 | p99 | p99.9 | max |\n|---|--:|--:|--:|--:|--:|--:|"
    );
    let mut medians = [const { Vec::new() }; 3];
    let contenders = [Contender::Echo(1), Contender::Echo(SELDOM), Contender::Engine(engine)];
    for _ in 0..ROUNDS {
        for (contender, medians) in contenders.into_iter().zip(&mut medians) {
            let Played { spans, unanswered_count } = round(contender, &session, (&timer, measuring))?;
            let answered = spans.len();
            let Percentiles { p50, p90, p99, p999, max } = Percentiles::of(spans);
            let name = match contender {
                Contender::Echo(1) => "bare echo of every packet".to_owned(),
                Contender::Echo(every) => format!("bare echo of one in {every}"),
                Contender::Engine(_) => "engine".to_owned(),
            };
            println!(
                "| {name} | {answered} of {} | {p50:.0} | {p90:.0} | {p99:.0} | {p999:.0} | {max:.0} |",
                answered + unanswered_count
            );
            medians.push(p50);
        }
    }
    let least = medians.map(|medians| medians.into_iter().fold(f64::INFINITY, f64::min));
    let [echo, seldom, engine] = least;
    println!(
        "\nLeast medians: {echo:.0}, {seldom:.0} and {engine:.0} ns; the engine to either echo: {:.2} and {:.2} (goal 1.25).",
        engine / echo,
        engine / seldom
    );
    Ok(())
}

fn round(
    contender: Contender<'_>,
    session: &LoadedSession,
    (timer, core): (&Timer, usize),
) -> Result<Played, BenchError> {
    let mut desk = Desk::listen(SocketAddrV4::new(INTERFACE, 0))?;
    let mut market = Market::new(GROUP, INTERFACE)?;
    let folder = tempfile::tempdir()?;
    let venue = desk.address()?.to_string();
    let mut child = match contender {
        Contender::Echo(every) => {
            Answering(Command::new(std::env::current_exe()?).args(["echo", &venue, &every.to_string()]).spawn()?)
        }
        Contender::Engine(program) => Answering(
            Command::new(program)
                .args(["run", "--config"])
                .arg(configuration(folder.path(), &venue, &symbol(session)?)?)
                .stdout(Stdio::null())
                .spawn()?,
        ),
    };
    let plan = Play {
        warm_up_count: WARM_UP_COUNT,
        count: COUNT,
        // Most packets are no reason for an order: waiting long for what never comes would make hours of it.
        answer_time_max: Duration::from_micros(200),
        pause: Duration::from_micros(20),
    };
    // On a thread of its own: a pinned thread hands its core on to every process that it starts.
    let measuring = std::thread::scope(|scope| {
        let measure = || {
            pin(core);
            play(&mut market, &mut desk, session.messages(), (&plan, timer)).map_err(|error| error.to_string())
        };
        scope.spawn(measure).join()
    });
    let played = measuring.map_err(|_| "the measuring thread broke off")?.map_err(BenchError::from);
    drop(desk);
    child.0.wait()?;
    played
}

/// The name that the session's first directory message gives.
fn symbol(session: &LoadedSession) -> Result<String, BenchError> {
    let mut messages = session.messages().filter_map(|message| parse(message).ok());
    let name = messages.find_map(|message| {
        if let Message::StockDirectory(directory) = message { Some(directory.stock.to_string()) } else { None }
    });
    name.ok_or_else(|| "the session has no directory".into())
}

/// The profile of a live session against the desk: the bundled one, with the desk's addresses and one symbol.
fn configuration(folder: &Path, venue: &str, symbol: &str) -> Result<PathBuf, BenchError> {
    let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/live.toml").canonicalize()?;
    let path = folder.join("wire.toml");
    let text = format!(
        "include = [{bundled:?}]\n\
         [runtime]\nfeed_core = 0\nrecord_core = 1\nwait = \"spin\"\n\
         [decide]\nsymbols = [{symbol:?}]\n\
         [risk]\npermitted_symbols = [{symbol:?}]\n\
         [live]\nlines = [\"{GROUP}\"]\ninterface = \"{INTERFACE}\"\n\
         [ouch]\naddress = {venue:?}\nusername = {USERNAME:?}\npassword = {PASSWORD:?}\n\
         [log]\nout_dir = {folder:?}\n"
    );
    std::fs::write(&path, text)?;
    Ok(path)
}

/// A process that does not outlive its round.
struct Answering(Child);

impl Drop for Answering {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            self.0.kill().unwrap_or_default();
        }
    }
}
