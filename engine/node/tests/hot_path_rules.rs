//! The rules of the hot path, held over a million preloaded messages and a thousand orders, log writes included: from
//! the bytes of a MoldUDP64 packet, through arbiter and decoder, to the approved order at the venue nothing allocates,
//! nothing faults a page, and nothing calls the system. The packets come on two lines with loss, duplicates and changes
//! of order, so that gaps open and close in the counted part. Each check is shown to bite by a control that breaks its
//! rule.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking and prints what it measured")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::{generator, shipped};
use peregrine_eventlog::{EventLog, LogConfig, Recorder, RunFacts};
use peregrine_generate::{PacketConfig, Session, for_each_packet};
use peregrine_node::config::{Loaded, ProtectSection};
use peregrine_node::run::{MachineParts, ReplayMachine, machine};
use peregrine_node::stage::decide::Guard;
use peregrine_node::stage::feed::FeedLog;
use peregrine_node::stage::log::LosslessLog;
use peregrine_node::stage::schedule::{Pace, Schedule};
use peregrine_runtime::{
    LatencyGuard, LatencyGuardConfig, NullStopwatch, StopFlag, Stopwatch, TscClock, TscStopwatch, lock_memory,
};
use peregrine_types::{EpochNanos, Full, MarketEvent, Nanos};
use peregrine_wire::itch50::Decoder;
use peregrine_wire::{ArbiterConfig, LineId, MoldFeed};

struct Counting;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

#[expect(unsafe_code, reason = "an allocator is unsafe to implement; this one counts and passes on")]
// SAFETY: every call goes to the system's allocator with the arguments it came with.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.with(|calls| calls.set(calls.get() + 1));
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        CALLS.with(|calls| calls.set(calls.get() + 1));
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocator_calls() -> u64 {
    CALLS.with(Cell::get)
}

/// Minor and major page faults of this thread so far.
fn page_faults() -> i64 {
    // SAFETY: all zeros are a value of this struct of integers.
    #[expect(unsafe_code, reason = "the standard library does not tell page faults")]
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is valid for writing and outlives the call.
    #[expect(unsafe_code, reason = "the standard library does not tell page faults")]
    let code = unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
    assert_eq!(code, 0);
    usage.ru_minflt + usage.ru_majflt
}

/// Events replayed before counting begins: the opening burst, so that every code path and page was touched.
const WARM_UP: usize = 100_000;
const EVENTS_MIN: usize = 1_000_000;
const ORDERS_MIN: u64 = 1_000;
/// Page faults of the counted part: none is the engine's, a few may be the system's.
const PAGE_FAULTS_MAX: i64 = 16;

/// One test at a time: a fork takes the write permission of every page, and its parent faults on each of them.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Packets of a session in memory, every page of it touched.
struct Packets {
    bytes: Vec<u8>,
    /// Line, time of receipt, and where the packet ends in `bytes`.
    ends: Vec<(LineId, EpochNanos, usize)>,
    /// Messages that the session has.
    message_count: u64,
}

impl Packets {
    /// The packets from `from` to `to`, by number.
    fn iter(&self, from: usize, to: usize) -> impl Iterator<Item = (LineId, EpochNanos, &[u8])> {
        let first = from.checked_sub(1).map_or(0, |before| self.ends[before].2);
        self.ends[from..to].iter().scan(first, |start, &(line, time, end)| {
            Some((line, time, &self.bytes[std::mem::replace(start, end)..end]))
        })
    }

    fn len(&self) -> usize {
        self.ends.len()
    }
}

/// A session as the packets of two lines with faults.
fn preloaded() -> Packets {
    let mut session = Session::new(generator(3, (EVENTS_MIN + WARM_UP) as u64 * 51 / 50)).unwrap();
    let mut packets = Packets { bytes: Vec::new(), ends: Vec::new(), message_count: 0 };
    for_each_packet(&mut session, &PacketConfig::faulty(3), |line, time, payload| {
        packets.bytes.extend_from_slice(payload);
        packets.ends.push((LineId(line), time, packets.bytes.len()));
    })
    .unwrap();
    packets.message_count = session.report().message_count();
    assert!(packets.message_count >= (EVENTS_MIN + WARM_UP) as u64, "{} messages", packets.message_count);
    packets
}

/// How many packets belong to the warm-up: as large a part as the messages are.
fn warm_up(packets: &Packets) -> usize {
    packets.len() / (EVENTS_MIN / WARM_UP)
}

/// The machine of a replay with its log in prefaulted memory that holds the whole session, so that nobody waits for the
/// record role; that role copies everything afterwards.
struct Rig<W> {
    feed: MoldFeed,
    event_count: u64,
    machine: ReplayMachine<W>,
    feed_log: FeedLog,
    recorder: Recorder,
}

fn rig<W: Stopwatch>(dir: &Path, stopwatch: W) -> Rig<W> {
    let set = [
        "runtime.pin_threads=false",
        "runtime.lock_memory=false",
        "book.order_count_max=65536",
        "book.level_count_max=65536",
        "feed.symbol_count_max=64",
        "model.backend=\"auto\"",
    ];
    let mut loaded = Loaded::read(&shipped("demo.toml"), &set.map(str::to_owned)).unwrap();
    // Replacements, stops and takes are on the hot path too.
    loaded.config.decide.use_replace = true;
    loaded.config.protect = Some(ProtectSection {
        stop_loss_ticks: 4,
        take_profit_ticks: 4,
        is_stop_on_trade: true,
        exit_slippage_ticks: 5,
        cooldown_ns: 0,
        retry_pause_ns: 1_000_000,
        is_for_controllers: true,
    });
    let midnight = generator(3, 1_000_000).midnight;
    let config = LogConfig {
        dir: dir.join("log"),
        staging_dir: None,
        staging_record_counts: [1 << 15, 1 << 17, 1 << 18, 1 << 10],
        segment_len_max: 1 << 26,
        stream_len_max: 1 << 32,
        sync_interval: Nanos::from_millis(100),
        is_memory_locked: false,
    };
    let log = EventLog::create(&config, &RunFacts::default()).unwrap();
    let failed = StopFlag::new();
    let guard = LatencyGuard::new(LatencyGuardConfig {
        window_sample_count: 1_024,
        window_time: None,
        sample_count_min: 256,
        warn_above: Nanos::from_secs(10),
        halt_above: Nanos::from_secs(20),
    });
    let parts = MachineParts {
        decide_log: LosslessLog::new(log.decide, failed.clone()),
        send_log: LosslessLog::new(log.send, failed.clone()),
        guard: Guard::Measured(guard.unwrap()),
        schedule: Schedule::new(Pace::Max, TscClock::calibrated().rate()),
        stopwatch,
    };
    let (machine, _readers) = machine(&loaded, midnight, parts).unwrap();
    let arbiter = ArbiterConfig { line_count: 2, reorder_window_ns: Nanos::from_millis(2), ..ArbiterConfig::default() };
    let feed = MoldFeed::new(arbiter, Decoder::new(midnight, 64)).unwrap();
    let feed_log = FeedLog::new(LosslessLog::new(log.feed, failed), midnight);
    Rig { feed, event_count: 0, machine, feed_log, recorder: log.recorder }
}

impl<W: Stopwatch> Rig<W> {
    /// From the bytes of each packet to what its events cause.
    fn replay<'a>(&mut self, packets: impl Iterator<Item = (LineId, EpochNanos, &'a [u8])>) {
        let Self { feed, event_count, machine, feed_log, .. } = self;
        let mut on_event = |event: MarketEvent| -> Result<(), Full<MarketEvent>> {
            *event_count += 1;
            feed_log.on_event(&event);
            machine.on_event(&event);
            Ok(())
        };
        for (line, recv_time, payload) in packets {
            assert!(feed.on_packet(line, payload, recv_time, &mut on_event).is_ok());
        }
    }

    /// Everything arrived, and what one line lost the other one brought.
    fn assert_whole(&self, packets: &Packets) {
        assert_eq!(self.feed.arbiter().lost().message_count(), 0, "messages lost on both lines");
        assert_eq!(self.feed.decoder().counters().malformed_count(), 0);
        assert!(self.event_count >= packets.message_count, "{} events", self.event_count);
    }

    fn orders(&self) -> u64 {
        self.machine.decide.counters().orders_approved
    }

    /// Copies the whole log out of the staging memory and checks it.
    fn close(self, dir: &Path) -> peregrine_eventlog::LogReport {
        let Self { machine, feed_log, mut recorder, .. } = self;
        drop((machine, feed_log));
        while recorder.poll(EpochNanos(0)).unwrap() > 0 {}
        recorder.close().unwrap();
        peregrine_eventlog::verify(&dir.join("log")).unwrap()
    }
}

#[test]
fn the_allocator_counts() {
    let before = allocator_calls();
    let mut values = Vec::with_capacity(std::hint::black_box(1));
    values.push(1_u8);
    drop(std::hint::black_box(values));
    assert_eq!(allocator_calls() - before, 2);
}

#[test]
fn page_faults_are_counted() {
    let _turn = turn();
    let before = page_faults();
    // Even in huge pages these are more than the replay below may have.
    let pages = std::hint::black_box(vec![1_u8; 64 << 20]);
    assert!(page_faults() - before > PAGE_FAULTS_MAX, "{} bytes", pages.len());
}

#[test]
fn a_million_events_and_a_thousand_orders_allocate_nothing_and_fault_no_page() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let packets = preloaded();
    let clock = TscClock::calibrated();
    let mut rig = rig(dir.path(), TscStopwatch::new(&clock));
    // As a run does it (`runtime.lock_memory`): every page is there before the first event.
    let locking = lock_memory();
    let is_locked = locking.is_applied();
    if !is_locked {
        println!("skipped: page faults are only printed, memory cannot be locked here: {locking:?}");
    }
    let warm_up = warm_up(&packets);
    rig.replay(packets.iter(0, warm_up));
    let (orders, events) = (rig.orders(), rig.event_count);
    let (calls, faults) = (allocator_calls(), page_faults());
    rig.replay(packets.iter(warm_up, packets.len()));
    let (calls, faults) = (allocator_calls() - calls, page_faults() - faults);
    let (events, orders) = (rig.event_count - events, rig.orders() - orders);
    println!("{events} events, {orders} orders: {calls} allocator calls, {faults} page faults");
    rig.assert_whole(&packets);
    assert!(events >= EVENTS_MIN as u64 && orders >= ORDERS_MIN, "{events} events, {orders} orders");
    assert_eq!(calls, 0, "allocator calls");
    assert!(!is_locked || faults <= PAGE_FAULTS_MAX, "{faults} page faults");
    let report = rig.close(dir.path());
    assert!(report.is_sealed() && report.streams[1].record_count >= ORDERS_MIN, "{report:?}");
}

/// Forks, runs `child` under seccomp strict mode, and gives its exit status as `wait` tells it and what it wrote.
///
/// Strict mode lets a process read, write and exit, and kills it for anything else, `rdtsc` included: a child that ends
/// by itself made no other call.
#[expect(unsafe_code, reason = "the standard library has neither fork nor seccomp")]
fn strictly(child: impl FnOnce() -> u64) -> (i32, Option<u64>) {
    let mut pipe = [0; 2];
    // SAFETY: the array has room for the two descriptors.
    assert_eq!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0);
    // SAFETY: the child uses only memory of this thread, and ends without running anything of its parent's.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        // SAFETY: plain numbers; the process gives up its right to other calls.
        let code = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_STRICT) };
        let answer = if code == 0 { child() } else { u64::MAX };
        let bytes = answer.to_le_bytes();
        // SAFETY: the pipe is open and the eight bytes are readable.
        unsafe { libc::write(pipe[1], bytes.as_ptr().cast(), bytes.len()) };
        // SAFETY: ends the process; `exit_group`, which the library's `_exit` calls, is not permitted.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
        unreachable!("the process has ended");
    }
    // SAFETY: the descriptor is open and nobody else's.
    unsafe { libc::close(pipe[1]) };
    let mut bytes = [0_u8; 8];
    // SAFETY: the pipe is open and the eight bytes are writable.
    let len = unsafe { libc::read(pipe[0], bytes.as_mut_ptr().cast(), bytes.len()) };
    // SAFETY: the descriptor is open and nobody else's.
    unsafe { libc::close(pipe[0]) };
    let mut status = 0;
    // SAFETY: `pid` is our child and `status` is writable.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    (status, (len == 8).then_some(u64::from_le_bytes(bytes)))
}

#[test]
fn a_million_events_and_a_thousand_orders_make_no_system_call() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let packets = preloaded();
    let mut twin = rig(dir.path(), NullStopwatch);
    let (status, answer) = strictly(|| {
        twin.replay(packets.iter(0, packets.len()));
        twin.orders()
    });
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "the child was killed: status {status}");
    let orders = answer.unwrap_or(u64::MAX);
    println!("{} messages, {orders} orders: no system call", packets.message_count);
    assert!((ORDERS_MIN..u64::MAX).contains(&orders), "{orders} orders");
    // What the child wrote lies in shared memory: the log of the child is whole.
    drop(twin.machine);
}

#[test]
fn a_child_that_calls_the_system_is_killed() {
    let _turn = turn();
    // SAFETY: a call without arguments.
    #[expect(unsafe_code, reason = "the call that strict mode forbids")]
    let (status, answer) = strictly(|| u64::try_from(unsafe { libc::syscall(libc::SYS_getpid) }).unwrap_or(0));
    assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL, "status {status}");
    assert_eq!(answer, None);
    // So is one that reads the time stamp counter: time is an argument.
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: reads a register.
        #[expect(unsafe_code, reason = "the clock that strict mode forbids")]
        let (status, answer) = strictly(|| unsafe { core::arch::x86_64::_rdtsc() });
        assert!(libc::WIFSIGNALED(status), "status {status}");
        assert_eq!(answer, None);
    }
}
