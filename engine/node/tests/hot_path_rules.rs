//! The rules of the hot path, held over a million preloaded events and a thousand orders, log writes included: from the
//! decoded event to the approved order at the venue nothing allocates, nothing faults a page, and nothing calls the
//! system. Each check is shown to bite by a control that breaks its rule.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking and prints what it measured")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::{generator, shipped};
use peregrine_eventlog::{EventLog, LogConfig, Recorder, RunFacts};
use peregrine_generate::Session;
use peregrine_node::config::Loaded;
use peregrine_node::run::{MachineParts, ReplayMachine, machine};
use peregrine_node::stage::decide::Guard;
use peregrine_node::stage::feed::FeedLog;
use peregrine_node::stage::log::LosslessLog;
use peregrine_node::stage::schedule::{Pace, Schedule};
use peregrine_runtime::{
    LatencyGuard, LatencyGuardConfig, NullStopwatch, StopFlag, Stopwatch, TscClock, TscStopwatch, lock_memory,
};
use peregrine_types::{EpochNanos, MarketEvent, Nanos, Sink};
use peregrine_wire::FileFeed;
use peregrine_wire::itch50::Decoder;

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

/// A session as events in memory, every page of it touched.
fn preloaded() -> Vec<MarketEvent> {
    struct Events(Vec<MarketEvent>);
    impl Sink<MarketEvent> for Events {
        fn push(&mut self, event: MarketEvent) -> Result<(), peregrine_types::Full<MarketEvent>> {
            self.0.push(event);
            Ok(())
        }
    }
    let config = generator(3, (EVENTS_MIN + WARM_UP) as u64 * 51 / 50);
    let mut feed = FileFeed::new(Decoder::new(config.midnight, 64));
    let mut events = Events(Vec::new());
    Session::new(config).unwrap().for_each_message(|_, message| {
        assert!(feed.on_message(message, None, &mut events).is_ok());
    });
    assert!(events.0.len() >= EVENTS_MIN + WARM_UP, "{} events", events.0.len());
    events.0
}

/// The machine of a replay with its log in prefaulted memory that holds the whole session, so that nobody waits for the
/// record role; that role copies everything afterwards.
struct Rig<W> {
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
    let loaded = Loaded::read(&shipped("demo.toml"), &set.map(str::to_owned)).unwrap();
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
    Rig { machine, feed_log: FeedLog::new(LosslessLog::new(log.feed, failed)), recorder: log.recorder }
}

impl<W: Stopwatch> Rig<W> {
    fn replay(&mut self, events: &[MarketEvent]) {
        for event in events {
            self.feed_log.on_event(event);
            self.machine.on_event(event);
        }
    }

    fn orders(&self) -> u64 {
        self.machine.decide.counters().orders_approved
    }

    /// Copies the whole log out of the staging memory and checks it.
    fn close(self, dir: &Path) -> peregrine_eventlog::LogReport {
        let Self { machine, feed_log, mut recorder } = self;
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
    let events = preloaded();
    let clock = TscClock::calibrated();
    let mut rig = rig(dir.path(), TscStopwatch::new(&clock));
    // As a run does it (`runtime.lock_memory`): every page is there before the first event.
    let locking = lock_memory();
    let is_locked = locking.is_applied();
    if !is_locked {
        println!("skipped: page faults are only printed, memory cannot be locked here: {locking:?}");
    }
    let (warm_up, rest) = events.split_at(WARM_UP);
    rig.replay(warm_up);
    let (orders, calls, faults) = (rig.orders(), allocator_calls(), page_faults());
    rig.replay(rest);
    let (calls, faults, orders) = (allocator_calls() - calls, page_faults() - faults, rig.orders() - orders);
    println!("{} events, {orders} orders: {calls} allocator calls, {faults} page faults", rest.len());
    assert!(rest.len() >= EVENTS_MIN && orders >= ORDERS_MIN, "{} events, {orders} orders", rest.len());
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
    let events = preloaded();
    let mut twin = rig(dir.path(), NullStopwatch);
    let (status, answer) = strictly(|| {
        twin.replay(&events);
        twin.orders()
    });
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "the child was killed: status {status}");
    let orders = answer.unwrap_or(u64::MAX);
    println!("{} events, {orders} orders: no system call", events.len());
    assert!(events.len() >= EVENTS_MIN && (ORDERS_MIN..u64::MAX).contains(&orders), "{orders} orders");
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
