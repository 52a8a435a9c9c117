//! A live run: lines in, orders out, and before the first order the history of the venue's session.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

use jiff::civil::Date;
use peregrine_fix::{Role, SessionConfig};
use peregrine_gateway::Fees;
use peregrine_gateway::live::{Notice, OrderClient, OrderClientConfig};
use peregrine_gateway::ouch50::Text;
use peregrine_gateway::soup::{ClientConfig, HEARTBEAT_INTERVAL, Password, SessionId, Username};
use peregrine_report::format::{count, nanos as span};
use peregrine_runtime::{RingConsumer, StopFlag, TscClock, index_ring};
use peregrine_source::live::{LineAddress, LiveInput, LivePlan, RecorderPlan, RecoveryPlan, SnapshotPlan};
use peregrine_types::{EpochNanos, Nanos, Symbol};
use peregrine_wire::RecoveryConfig;

use super::{Launching, Progress, ReplaySend, Run, RunPlan, RunVenue, build, sources};
use crate::commands::note;
use crate::config::{Config, LiveSection, ModeChoice, OuchSection, Wiring};
use crate::exit::Failure;
use crate::input::ClockedInput;
use crate::live::history::{self, History, SessionLock, SessionNote};
use crate::live::{
    ClockNotice, ClockWatch, CopyConfig, CopyEnd, CopyTap, CopyWatch, FeedSilence, KernelWay, LiveSend, LiveSendConfig,
    SilenceWatch, session,
};
use crate::stage::schedule::Schedule;

/// Name of the recording in a run's folder.
pub(crate) const RECORDING_NAME: &str = "feed.pcapng";
/// Notices that wait to be said, at most.
const NOTICE_SLOTS: usize = 4_096;

/// What makes a run a live one.
#[derive(Clone, Copy, Debug)]
pub struct LiveSettings {
    /// Where orders go.
    pub mode: ModeChoice,
    /// The session's date, where it is given.
    pub date: Option<Date>,
}

fn missing(section: &str) -> Failure {
    Failure::usage(format_args!("a live run needs the section [{section}]: see configs/live.toml"))
}

impl RunPlan {
    pub(super) fn run_live(
        self,
        interrupted: &StopFlag,
        on_progress: &mut dyn FnMut(Progress),
    ) -> Result<Run, Failure> {
        let (clock, symbols) = (TscClock::calibrated(), self.named_symbols()?);
        let settings = self.live.ok_or_else(|| missing("live"))?;
        let live = self.loaded.config.live.clone().ok_or_else(|| missing("live"))?;
        let config = &self.loaded.config;
        if settings.mode == ModeChoice::Live && config.runtime.wiring == Wiring::FourThreads {
            return Err(Failure::usage(
                "runtime.wiring = \"four_threads\" keeps its order of events by a paper venue's latencies; a live run \
                 takes fused or feed_apart",
            ));
        }
        let mut plan = lines(config, &live, settings.date)?;
        if live.is_recorded {
            std::fs::create_dir_all(&self.dir).map_err(|error| {
                Failure::file("create the run's folder", &self.dir, &error, "set log.out_dir or --out")
            })?;
            plan.recorder = Some(RecorderPlan::new(self.dir.join(RECORDING_NAME)));
        }
        let input = LiveInput::open(&plan, &symbols).map_err(Failure::usage)?;
        sources::say(&input);
        let (schedule, silence) = (Schedule::new(self.pace, clock.rate()), FeedSilence::default());
        let (input, times) = watched(input, &live, &clock, &silence)?.timed().map_err(Failure::usage)?;
        let mut on_progress = telling(silence.clone(), on_progress);
        if settings.mode == ModeChoice::Paper {
            let mut built = build::build(&self, input.input.session().midnight, &clock, &schedule)?;
            built.readers.push(times);
            let four = Self::run_four::<ClockedInput>;
            let launching = Launching { input, built, clock, schedule, send: Ok, four };
            return self.launch(launching, interrupted, &mut on_progress);
        }
        let ouch = config.ouch.clone().ok_or_else(|| missing("ouch"))?;
        let midnight = input.input.session().midnight;
        let order_entry = order_entry(config, &ouch, &symbols, midnight)?;
        let address: SocketAddr = ouch.address.parse().map_err(Failure::usage)?;
        let _locked = SessionLock::take(&self.out_dir()?, &ouch.address, &ouch.username)?;
        let pause = Duration::from_millis(u64::from(ouch.reconnect_ms));
        let named = session::ask(address, order_entry.session, pause, &mut || heed(interrupted, &mut on_progress))?;
        let past = note_of(&ouch, named, &symbols);
        let history = self.history(&past, ouch.order_number_end)?;
        let mut built = build::build(&self, midnight, &clock, &schedule)?;
        built.readers.push(times);
        // Whoever finds a record of what was heard finds the note, too.
        past.taking_over(&history).write(&self.dir)?;
        built.decide.begin_hearing(history.held);
        let (notices, mut said) = index_ring(NOTICE_SLOTS).map_err(Failure::usage)?;
        let client = OrderClient::new(order_entry, history.account).of_session(named);
        let way = way_of(&ouch, address);
        let timer = clock.clone();
        let (tap, copy) = drop_copy(config, &symbols, &clock)?.unzip();
        let kernel_way = kernel_way(config, &ouch);
        let send = |paper: ReplaySend| {
            let send = LiveSend::new(client, &way, paper.into_log(), notices, timer);
            Ok(send.heeding(silence).with_copy(tap).rehearsing(kernel_way))
        };
        let mut tell = |progress: Progress| {
            while let Some(notice) = said.pop() {
                note(text_of(&notice));
            }
            on_progress(progress);
        };
        let four = |_: &Self, _: &_, _, _, _: super::watch::Watch<'_>| {
            Err(Failure::usage("four_threads is not for live runs"))
        };
        let run = self.launch(Launching { input, built, clock, schedule, send, four }, interrupted, &mut tell);
        let copy = copy.map(CopyWatch::end).transpose();
        while let Some(notice) = said.pop() {
            note(text_of(&notice));
        }
        Ok(with_copy(run?, copy?))
    }

    /// The folder that holds this run's own.
    fn out_dir(&self) -> Result<PathBuf, Failure> {
        history::around(&self.dir)
            .map_err(|error| Failure::file("find", &self.dir, &error, "set log.out_dir or --out to a whole path"))
    }

    /// The logs of earlier runs of the same session, beside this run's folder.
    fn history(&self, past: &SessionNote, order_number_end: u32) -> Result<History, Failure> {
        let history = history::read(&self.out_dir()?, past)?;
        history::all_watched(&history, &past.symbols, &self.loaded.config.decide.symbols)?;
        let last_number = history::last_number(&history);
        if last_number.0 >= u64::from(order_number_end) {
            return Err(Failure::usage(format_args!(
                "earlier runs of this session used numbers up to {last_number}, ouch.order_number_end is {order_number_end}: raise it"
            )));
        }
        note(format_args!(
            "session {}  {} earlier runs, {} of them cut off, with {} orders and {} fills",
            past.session,
            count(u64::try_from(history.runs.len()).unwrap_or(u64::MAX)),
            history.recovered_count,
            count(u64::try_from(history.account.orders.len()).unwrap_or(u64::MAX)),
            count(u64::try_from(history.account.fills.len()).unwrap_or(u64::MAX)),
        ));
        if !history.held.is_empty() {
            note(format_args!("held    {} engine-held orders of earlier runs", history.held.len()));
        }
        Ok(history)
    }
}

/// The input with those who watch it: time-outs and silence go by the clock that is never set, and the system's clock is
/// held against that one.
fn watched(
    input: LiveInput,
    live: &LiveSection,
    clock: &TscClock,
    word: &FeedSilence,
) -> Result<ClockedInput, Failure> {
    let ms = |ms: u32| Nanos::from_millis(i64::from(ms));
    let silence = SilenceWatch::new(ms(live.silence_ms), word.clone()).with_stamp_lead_max(ms(live.clock_step_ms));
    let say = |notice| note(text_of_clock(notice));
    let clocks = ClockWatch::start(ms(live.clock_step_ms), clock.clone(), word.clone(), say)?;
    Ok(ClockedInput::new(input, clock.clone()).watched_by(silence).with_clock_watch(clocks))
}

fn text_of_clock(notice: ClockNotice) -> String {
    match notice {
        ClockNotice::Stepped(by) => format!(
            "clock   the system's clock was set {}, by {} in all: stamps of packets are wrong, nothing new is sent until it is \
             put right or the run is begun anew",
            if by < Nanos::ZERO { "back" } else { "forward" },
            span(by.0.unsigned_abs())
        ),
        ClockNotice::Back => "clock   the system's clock is right again".to_owned(),
    }
}

/// Progress that also says what is wrong with what the lines bring.
fn telling(word: FeedSilence, on_progress: &mut dyn FnMut(Progress)) -> impl FnMut(Progress) {
    let (mut disputes_told, mut is_ahead_told) = ((0, 0), false);
    move |progress| {
        let (disputes, is_ahead) = (word.disputes(), word.is_stamp_ahead());
        if std::mem::replace(&mut disputes_told, disputes) != disputes {
            let (differed, settled) = disputes;
            note(format_args!(
                "feed    copies of a message differed {differed} times, settled {settled}: stale until settled"
            ));
        }
        if std::mem::replace(&mut is_ahead_told, is_ahead) != is_ahead {
            note(if is_ahead {
                "feed    receive times lie ahead of the clock: nothing new is sent until it has come to them"
            } else {
                "feed    the clock has come to the receive times"
            });
        }
        on_progress(progress);
    }
}

/// Whether the run is to stop before it has begun; whoever watches it decides that when it is told of the progress.
fn heed(interrupted: &StopFlag, on_progress: &mut dyn FnMut(Progress)) -> bool {
    on_progress(Progress { event_count: 0, read_len: 0, total_len: 0 });
    interrupted.is_requested()
}

/// What a later run of the same session needs to know of this one.
fn note_of(ouch: &OuchSection, session: SessionId, symbols: &[Symbol]) -> SessionNote {
    SessionNote {
        version: 1,
        session: String::from_utf8_lossy(&session.0).trim().to_owned(),
        address: ouch.address.clone(),
        username: ouch.username.clone(),
        symbols: history::names(symbols),
        earlier: Vec::new(),
    }
}

/// How the connection to the order port is kept.
fn way_of(ouch: &OuchSection, address: SocketAddr) -> LiveSendConfig {
    let ms = |ms: u32| Nanos::from_millis(i64::from(ms));
    LiveSendConfig { address, reconnect: ms(ouch.reconnect_ms), stop_time_max: ms(ouch.stop_ms) }
}

/// The kernel's way of an order, if it is to be rehearsed and can be.
fn kernel_way(config: &Config, ouch: &OuchSection) -> Option<KernelWay> {
    if config.model.keep_warm_us == 0 || !ouch.is_send_rehearsed {
        return None;
    }
    let told = |error: &std::io::Error| {
        note(format_args!(
            "orders  the kernel's way to the venue is not rehearsed, the first order behind a pause takes longer: no connection \
             over 127.0.0.1 (is the loopback interface up?): {error}; ouch.is_send_rehearsed = false does without"
        ));
    };
    KernelWay::open().inspect_err(told).ok()
}

/// A run with what its drop copy came to.
fn with_copy(mut run: Run, copy: Option<CopyEnd>) -> Run {
    if let RunVenue::Live(end) = &mut run.venue {
        end.copy = copy;
    }
    run
}

/// The reader of the venue's drop copy, if the profile has one.
fn drop_copy(config: &Config, symbols: &[Symbol], clock: &TscClock) -> Result<Option<(CopyTap, CopyWatch)>, Failure> {
    let Some(section) = &config.drop_copy else { return Ok(None) };
    let ms = |ms: u32| Nanos::from_millis(i64::from(ms));
    let has_login = !section.username.is_empty() || !section.password.is_empty();
    let names = (section.sender_comp_id.as_str(), section.target_comp_id.as_str());
    let plan = CopyConfig {
        address: section.address.parse().map_err(Failure::usage)?,
        session: SessionConfig {
            login: has_login.then(|| (section.username.clone(), section.password.clone())),
            heartbeat_s: section.heartbeat_s,
            ..SessionConfig::new(Role::Initiator, names.0, names.1)
        },
        deadline: ms(section.deadline_ms),
        reconnect: ms(section.reconnect_ms),
        fill_count_max: build::FILL_COUNT_MAX,
    };
    CopyWatch::start(&plan, symbols, clock.clone(), note).map(Some)
}

/// What a profile says of its lines and of who helps them.
pub(crate) fn lines(config: &Config, live: &LiveSection, date: Option<Date>) -> Result<LivePlan, Failure> {
    let interface: Ipv4Addr = live.interface.parse().map_err(Failure::usage)?;
    let lines: Result<Vec<LineAddress>, Failure> = (live.lines.iter())
        .map(|line| {
            let destination: SocketAddrV4 = line.parse().map_err(Failure::usage)?;
            Ok(LineAddress { destination, interface })
        })
        .collect();
    let feed = &config.feed;
    let mut plan = LivePlan::new(lines?, feed.symbol_count_max);
    sources::wish(&mut plan, live);
    plan.zone.clone_from(&feed.venue_zone);
    plan.date = date;
    plan.reorder_window = Nanos(feed.reorder_window_ns);
    plan.held_packet_count_max = live.held_packet_count_max;
    plan.recovery = recovery(live, interface)?;
    Ok(plan)
}

/// Who helps when every line has lost something.
fn recovery(live: &LiveSection, interface: Ipv4Addr) -> Result<Option<RecoveryPlan>, Failure> {
    let servers: Result<Vec<SocketAddrV4>, _> = live.retransmission.iter().map(|server| server.parse()).collect();
    let servers: Vec<SocketAddrV4> = servers.map_err(Failure::usage)?;
    let wrong = |key: &str| Failure::usage(format_args!("live.{key} has characters that the protocol does not allow"));
    let snapshot = if live.snapshot.is_empty() {
        None
    } else {
        let username = Username::new(&live.snapshot_username).ok_or_else(|| wrong("snapshot_username"))?;
        let password = Password::new(&live.snapshot_password).ok_or_else(|| wrong("snapshot_password"))?;
        Some(SnapshotPlan::new(live.snapshot.parse().map_err(Failure::usage)?, username, password))
    };
    let is_wanted = !servers.is_empty() || snapshot.is_some();
    Ok(is_wanted.then_some(RecoveryPlan { servers, interface, snapshot, config: RecoveryConfig::default() }))
}

/// What the order client is made with.
fn order_entry(
    config: &Config,
    ouch: &OuchSection,
    symbols: &[Symbol],
    midnight: EpochNanos,
) -> Result<OrderClientConfig, Failure> {
    if config.decide.symbols.iter().any(|name| name == "*") {
        return Err(Failure::usage("a live run names its symbols: decide.symbols has \"*\""));
    }
    let ms = |ms: u32| Nanos::from_millis(i64::from(ms));
    let wrong = |key: &str| Failure::usage(format_args!("ouch.{key} has characters that the protocol does not allow"));
    let session = ClientConfig {
        username: Username::new(&ouch.username).ok_or_else(|| wrong("username"))?,
        password: Password::new(&ouch.password).ok_or_else(|| wrong("password"))?,
        heartbeat_interval: HEARTBEAT_INTERVAL,
        silence_max: ms(ouch.silence_ms),
        login_time_max: ms(ouch.silence_ms),
        heartbeat_timeout_ms: None,
        packet_len_max: 512,
        outbox_len_max: 1 << 18,
    };
    Ok(OrderClientConfig {
        session,
        symbols: symbols.to_vec(),
        order_count_max: build::order_count(config),
        order_number_end: ouch.order_number_end,
        fill_count_max: build::FILL_COUNT_MAX,
        fees: Fees { added: config.gateway.fee_added, removed: config.gateway.fee_removed },
        midnight,
        capacity: ouch.capacity.bytes().next().unwrap_or(b'P'),
        firm: Text::new(&ouch.firm).ok_or_else(|| wrong("firm"))?,
        answer_time_max: ms(ouch.answer_ms),
        resend_age_max: ms(ouch.resend_age_ms),
        reject_count_max: ouch.reject_count_max,
        probe_count: u8::try_from(ouch.probe_count).unwrap_or(u8::MAX),
        backlog_len_max: 4_096,
    })
}

/// A notice for people.
fn text_of(notice: &Notice) -> String {
    match notice {
        Notice::LoggedIn { next_sequence_number, continuity } => {
            format!("orders  logged in, the stream goes on with message {next_sequence_number} ({continuity:?})")
        }
        Notice::Equal { order_count, fill_count } => {
            format!("orders  account equals the venue's: {order_count} orders, {fill_count} fills; trading")
        }
        Notice::Lost(reason) => format!("orders  session lost: {reason}"),
        Notice::Overdue(id) => format!("orders  order {id} was not answered in time: unknown"),
        Notice::Resent(id) => format!("orders  order {id} did not arrive: sent again under its number"),
        Notice::Closed(id, reason) => format!("orders  order {id} closed: {}", reason.text()),
        Notice::Busted(id, number) => format!("orders  order {id}: trade {} was broken", number.0),
        Notice::Differs(difference) => format!("orders  {difference}"),
        Notice::UnknownMessage(kind) => format!("orders  a message of unknown type `{}`", char::from(*kind)),
        Notice::UnknownFlag(flag) => format!("orders  a fill with the unknown flag `{}`: counted", char::from(*flag)),
        Notice::Feed { is_silent: true } => {
            "feed    every line is silent, or the clock was set: open orders are withdrawn".to_owned()
        }
        Notice::Feed { is_silent: false } => "feed    the lines speak again, by a clock that is right".to_owned(),
        Notice::Halted(reason) => format!("orders  halted: {}", reason.text()),
    }
}
