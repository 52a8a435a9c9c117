//! Wire to wire: `cargo run --release -p peregrine-benches --bin wire_to_wire -- --engine target/release/peregrine`.
//!
//! Another process gets a feed by UDP multicast and answers with orders by OUCH 5.0 over TCP: the engine, with its books,
//! features, network, risk checks and log, or a bare echo with the same receive and the same send. All in turn, in one run;
//! the ratio of their medians is what the engine adds. Goal: 1.25 (the design's performance page). Another echo rehearses the
//! kernel's way of an order while it waits, as the engine does (`ouch.is_send_rehearsed`): the engine beside that one is what the
//! engine's own work adds.
//!
//! `--over loopback`, `veth` (two namespaces that the program makes, as root) or `both`; `--source` names the ways of
//! receiving, with commas. Spans are taken from a capture on the venue's side of the wire, where
//! that is permitted: from the kernel's stamp of the packet that leaves to its stamp of the first order that answers it, by
//! what the order says of itself (echo) or the log of it (engine), so that a late answer is a long span.
//!
//! `--load quotes`, `seldom` or `both`: a market whose every packet moves the engine's quote, so that the engine sends as often
//! as the echo does; or a generated day, of which about one packet in 40 is a reason for an order: there two more echoes answer
//! one in 45, bare and kept warm, because whoever sends seldom finds its way to the wire cold, with or without an engine.
//! `--count`, `--rounds`: packets of a round (60,000) and rounds (3). `--record FILE` appends what is printed.
//!
//! On a virtual machine the two cores can be near each other or far from round to round, and every line that goes from one to
//! the other costs by that: a bare line's hop is measured before and after each round. A round waits for near cores, a minute
//! at most; it is compared only if they were near before and after, and else played again, three times in all. Near is by the
//! least hop that the run has seen, which stands in the last column and the result: a run whose cores are far from begin to end
//! compares far rounds, and says so by that figure.
#![expect(clippy::print_stdout, reason = "a table is what the program is for")]

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use peregrine_benches::BenchError;
use peregrine_benches::hops::pin;
use peregrine_benches::host::Machine;
use peregrine_benches::percentiles::{Percentiles, Timer};
use peregrine_benches::wire::capture::Capture;
use peregrine_benches::wire::cause::Causes;
use peregrine_benches::wire::desk::{Desk, PASSWORD, USERNAME};
use peregrine_benches::wire::echo::Received;
use peregrine_benches::wire::load::{self, Load};
use peregrine_benches::wire::market::Market;
use peregrine_benches::wire::near::{Cores, Round as Near};
use peregrine_benches::wire::veth::{self, Veth};
use peregrine_benches::wire::{Play, Played, echo, play};
use peregrine_node::live::KernelWay;

const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 192, 10, 9), 30_901);
const WARM_UP_COUNT: usize = 60_000;
/// Messages of a session.
const SESSION_COUNT: usize = 400_000;
/// Packets for one that the second echo answers.
const SELDOM: u64 = 45;
/// A round whose cores were far from each other is played so often at most, and waited for so long.
const ATTEMPTS_MAX: usize = 3;
const NEAR_TIME_MAX: Duration = Duration::from_secs(60);
/// Rehearsals that are measured.
const REHEARSAL_COUNT: usize = 2_000;
const USAGE: &str = "usage: wire_to_wire --engine PATH-OF-PEREGRINE [--over loopback|veth|both] [--source udp,packet_ring,xdp] \
                     [--load quotes|seldom|both] [--count N] [--rounds N] [--record FILE]";

/// What is asked for.
#[derive(Clone, Debug)]
struct Wish {
    engine: PathBuf,
    over: String,
    sources: Vec<Received>,
    loads: Vec<Load>,
    count: usize,
    rounds: usize,
    record: Option<PathBuf>,
    /// Set by the program itself: it runs on the venue's side, and this is the namespace of the other one.
    inside: Option<String>,
}

/// Where everybody is.
#[derive(Clone, Debug)]
struct Place {
    venue: Ipv4Addr,
    engine: Ipv4Addr,
    /// The namespace of who answers.
    space: Option<String>,
}

impl Place {
    fn command(&self, program: &Path) -> Command {
        self.space.as_ref().map_or_else(|| Command::new(program), |space| Veth::within(space, program))
    }
}

/// Who answers.
#[derive(Clone, Copy, Debug)]
enum Contender<'a> {
    /// The echo, answering one packet in so many: bare, or kept warm.
    Echo(u64, bool),
    Engine(&'a Path),
}

/// What is printed goes to a file too.
struct Out(Option<File>);

impl Out {
    fn say(&mut self, text: &str) -> Result<(), BenchError> {
        println!("{text}");
        if let Some(file) = &mut self.0 {
            writeln!(file, "{text}")?;
        }
        Ok(())
    }
}

fn main() -> Result<(), BenchError> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [what, way, venue, every, is_warm, interface] = &words[..]
        && what == "echo"
    {
        pin(0);
        let way = Received::from_name(way).ok_or(USAGE)?;
        let (every, is_warm) = (every.parse()?, is_warm.parse()?);
        return echo::run(way, (GROUP, interface.parse()?), venue.parse()?, (every, is_warm));
    }
    let wish = wish(&words)?;
    if wish.inside.is_some() {
        let place = Place { venue: veth::VENUE, engine: veth::ENGINE, space: wish.inside.clone() };
        return compare(&wish, &place, "a veth pair");
    }
    if wish.over != "veth" {
        let place = Place { venue: Ipv4Addr::LOCALHOST, engine: Ipv4Addr::LOCALHOST, space: None };
        compare(&wish, &place, "loopback")?;
    }
    if wish.over == "loopback" {
        return Ok(());
    }
    let veth = Veth::new()?;
    let program = std::env::current_exe()?;
    let status = Veth::within(&veth.venue, &program).args(&words).args(["--inside", &veth.engine]).status()?;
    if status.success() { Ok(()) } else { Err(format!("over veth: {status}").into()) }
}

fn wish(words: &[String]) -> Result<Wish, BenchError> {
    let mut wish = Wish {
        engine: PathBuf::new(),
        over: "both".to_owned(),
        sources: Received::ALL.to_vec(),
        loads: Load::ALL.to_vec(),
        count: 60_000,
        rounds: 3,
        record: None,
        inside: None,
    };
    let mut words = words.iter();
    while let Some(key) = words.next() {
        let value = words.next().ok_or(USAGE)?;
        match key.as_str() {
            "--engine" => wish.engine = std::path::absolute(value)?,
            "--over" if ["loopback", "veth", "both"].contains(&value.as_str()) => wish.over.clone_from(value),
            "--source" => {
                let ways: Option<Vec<Received>> = value.split(',').map(Received::from_name).collect();
                wish.sources = ways.ok_or(USAGE)?;
            }
            "--load" if value == "both" => wish.loads = Load::ALL.to_vec(),
            "--load" => wish.loads = vec![Load::from_name(value).ok_or(USAGE)?],
            "--count" => wish.count = value.parse()?,
            "--rounds" => wish.rounds = value.parse()?,
            "--record" => wish.record = Some(std::path::absolute(value)?),
            "--inside" => wish.inside = Some(value.clone()),
            _ => return Err(USAGE.into()),
        }
    }
    if wish.engine.as_os_str().is_empty() { Err(USAGE.into()) } else { Ok(wish) }
}

fn compare(wish: &Wish, place: &Place, name: &str) -> Result<(), BenchError> {
    let file = wish.record.as_ref().map(|path| OpenOptions::new().create(true).append(true).open(path)).transpose()?;
    let mut out = Out(file);
    let cores = peregrine_runtime::available_cores();
    let (Some(answering), Some(measuring)) = (cores.first().copied(), cores.get(1).copied()) else {
        return Err("two cores are needed: one measures, one answers".into());
    };
    let timer = Timer::calibrated();
    let clock = match Capture::open(place.venue, GROUP.port(), 0) {
        Ok(_) => "kernel stamps of a capture on the venue's side, packet out to order in".to_owned(),
        Err(error) => format!("the sender's clock, send call to bytes read (no capture: {error})"),
    };
    out.say(&format!(
        "## Wire to wire over {name}\n\n{}- one packet at a time, the answer on core {answering}; nanoseconds by {clock}\n\
         - a rehearsal of the kernel's way takes {:.0} ns, p50 of {REHEARSAL_COUNT} here, 10 us apart\n\n\
         | source | load | who answers | answered | p50 | p90 | p99 | p99.9 | max | by the sender p50 | core to core |\n\
         |---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|",
        Machine::here().describe(measuring),
        rehearsal(&timer)?,
    ))?;
    let mut cores = Cores::new(answering, measuring, &timer)?;
    let mut ratios = Vec::new();
    for load in &wish.loads {
        let session = load.session(SESSION_COUNT)?;
        let engine = Contender::Engine(&wish.engine);
        let echo = Contender::Echo;
        let contenders = match load {
            Load::Quotes => vec![echo(1, false), echo(1, true), engine],
            Load::Seldom => vec![echo(1, false), echo(SELDOM, false), echo(SELDOM, true), engine],
        };
        for way in &wish.sources {
            let mut figures: Vec<Vec<Near>> = vec![Vec::new(); contenders.len()];
            for _ in 0..wish.rounds {
                for (contender, of_it) in contenders.iter().zip(&mut figures) {
                    for _ in 0..ATTEMPTS_MAX {
                        let at = (*load, &session);
                        let played = round((*contender, *way), place, at, (wish.count, &timer, &mut cores))?;
                        let (row, figure) = row(*contender, (*way, *load), played, &cores);
                        out.say(&row)?;
                        of_it.push(figure);
                        if cores.is_near(figure.hop) {
                            break;
                        }
                    }
                }
            }
            ratios.push(ratio((*way, *load), &figures, &cores));
        }
    }
    out.say(&format!("\n{}\n", ratios.join("\n")))
}

/// What a rehearsal of the kernel's way takes, p50 in nanoseconds.
fn rehearsal(timer: &Timer) -> Result<f64, BenchError> {
    let mut kernel_way = KernelWay::open()?;
    let spans = (0..REHEARSAL_COUNT).map(|_| {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_micros(10) {
            std::hint::spin_loop();
        }
        let start = timer.ticks();
        kernel_way.rehearse();
        timer.nanos(timer.ticks().saturating_sub(start))
    });
    Ok(Percentiles::of(spans.collect()).p50)
}

/// What the engine, the last of those who answer, is to each echo: least medians of the rounds whose cores were near.
fn ratio((way, load): (Received, Load), rounds: &[Vec<Near>], cores: &Cores) -> String {
    let (way, load, near) = (way.name(), load.name(), cores.near_max());
    let none =
        || format!("- {way}, {load}: no ratio, one of them has no round whose cores were at most {near:.0} ns apart");
    let Some((count, medians)) = cores.least_medians(rounds) else { return none() };
    let Some((engine, echoes)) = medians.split_last() else { return none() };
    let listed: Vec<String> = medians.iter().map(|median| format!("{median:.0}")).collect();
    let ratios: Vec<String> = echoes.iter().map(|echo| format!("**{:.2}**", engine / echo)).collect();
    format!(
        "- {way}, {load}: least medians {} ns, of {count} rounds each with cores at most {near:.0} ns apart; the engine to each \
         echo: {} (goal: 1.25 of the first)",
        listed.join(", "),
        ratios.join(", ")
    )
}

/// A row of the table, and what counts of it.
fn row(contender: Contender<'_>, (way, load): (Received, Load), round: Round, cores: &Cores) -> (String, Near) {
    let Round { played, causes, hop } = round;
    let Played { spans, unanswered_count, captured } = played;
    let packet_count = spans.len() + unanswered_count;
    let own = Percentiles::of(spans.clone()).p50;
    let dropped_count = captured.as_ref().map_or(0, |captured| captured.dropped_count);
    let spans = captured.map_or(spans, |captured| causes.spans(&captured));
    let answered = spans.len();
    let Percentiles { p50, p90, p99, p999, max } = Percentiles::of(spans);
    let name = match contender {
        Contender::Echo(1, false) => "bare echo of every packet".to_owned(),
        Contender::Echo(1, true) => "the same, its kernel's way kept warm".to_owned(),
        Contender::Echo(every, false) => format!("bare echo of one in {every}"),
        Contender::Echo(_, true) => "as seldom, its kernel's way kept warm".to_owned(),
        Contender::Engine(_) => "engine".to_owned(),
    };
    let lost = if dropped_count > 0 { format!(", {dropped_count} frames not captured") } else { String::new() };
    let far = if cores.is_near(hop) { "" } else { ", far" };
    let row = format!(
        "| {} | {} | {name} | {answered} of {packet_count}{lost} | {p50:.0} | {p90:.0} | {p99:.0} | {p999:.0} | {max:.0} | {own:.0} | {hop:.0}{far} |",
        way.name(),
        load.name(),
    );
    (row, Near { median: p50, hop })
}

/// A round.
struct Round {
    played: Played,
    causes: Causes,
    hop: f64,
}

fn round(
    (contender, way): (Contender<'_>, Received),
    place: &Place,
    (load, session): (Load, &load::Market),
    (count, timer, cores): (usize, &Timer, &mut Cores),
) -> Result<Round, BenchError> {
    let messages = || session.messages.iter().map(Vec::as_slice);
    let mut desk = Desk::listen(SocketAddrV4::new(place.venue, 0))?;
    let mut market = Market::new(GROUP, place.venue)?;
    let folder = tempfile::tempdir()?;
    let address = desk.address()?;
    let capture = Capture::open(place.venue, GROUP.port(), address.port()).ok();
    let venue = address.to_string();
    let mut command = match contender {
        Contender::Echo(every, is_warm) => {
            let mut command = place.command(&std::env::current_exe()?);
            command.args(["echo", way.name(), &venue, &every.to_string(), &is_warm.to_string()]);
            command.arg(place.engine.to_string());
            command
        }
        Contender::Engine(program) => {
            let mut command = place.command(program);
            let profile = configuration(folder.path(), (&venue, way), (load, &session.symbol), place)?;
            command.args(["run", "--config"]).arg(profile).stdout(Stdio::null());
            command
        }
    };
    let before = cores.wait(NEAR_TIME_MAX, timer)?;
    let mut child = Answering(command.spawn()?);
    let plan = Play {
        warm_up_count: WARM_UP_COUNT,
        count,
        // Most packets are no reason for an order: waiting long for what never comes would make hours of it.
        answer_time_max: Duration::from_micros(200),
        beat: Duration::from_micros(20),
        pause: (Duration::from_micros(10), Duration::from_micros(60)),
    };
    let measuring = cores.measuring;
    // On a thread of its own: a pinned thread hands its core on to every process that it starts.
    let played = std::thread::scope(|scope| {
        let measure = || {
            pin(measuring);
            let played = play(&mut market, &mut desk, messages(), (&plan, timer), capture);
            played.map_err(|error| error.to_string())
        };
        scope.spawn(measure).join()
    });
    let played = played.map_err(|_| "the measuring thread broke off")?.map_err(BenchError::from)?;
    drop(desk);
    child.end()?;
    let hop = before.max(cores.hop(timer)?);
    let causes = match contender {
        Contender::Echo(..) => Causes::Identifier,
        Contender::Engine(_) => Causes::of_run(&run_of(folder.path())?, messages())?,
    };
    Ok(Round { played, causes, hop })
}

/// The run's folder: the only one with a log.
fn run_of(folder: &Path) -> Result<PathBuf, BenchError> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            return Ok(path);
        }
    }
    Err("the engine left no run".into())
}

/// The profile of a live session against the desk: the bundled one, with the desk's addresses and one symbol.
fn configuration(
    folder: &Path,
    (venue, way): (&str, Received),
    (load, symbol): (Load, &str),
    place: &Place,
) -> Result<PathBuf, BenchError> {
    let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/live.toml").canonicalize()?;
    let (path, (decide, risk)) = (folder.join("wire.toml"), load.settings());
    let text = format!(
        "include = [{bundled:?}]\n\
         [runtime]\nfeed_core = 0\nrecord_core = 1\nwait = \"spin\"\norder_slots = 16384\n\
         [decide]\nsymbols = [{symbol:?}]\n{decide}\
         [risk]\npermitted_symbols = [{symbol:?}]\n{risk}\
         [live]\nsource = {:?}\nlines = [\"{GROUP}\"]\ninterface = \"{}\"\n\
         [ouch]\naddress = {venue:?}\nusername = {USERNAME:?}\npassword = {PASSWORD:?}\n\
         [log]\nout_dir = {folder:?}\n",
        way.name(),
        place.engine
    );
    std::fs::write(&path, text)?;
    Ok(path)
}

/// A process that does not outlive its round.
struct Answering(Child);

impl Answering {
    /// Waits for its end. One that missed the end of the feed's session, or of the orders', is told.
    fn end(&mut self) -> Result<(), BenchError> {
        let since = Instant::now();
        while self.0.try_wait()?.is_none() {
            if since.elapsed() > Duration::from_secs(20) {
                return Err("whoever answers did not end with the session: the machine is too busy".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            self.0.kill().unwrap_or_default();
        }
    }
}
