//! The rules of the hot path, live: the thread that receives the lines, decides and sends trades against the program over
//! sockets, and from its first order to its stop it allocates nothing, and its only system calls are those that receive and
//! send; the withdrawal of everything, for a silent feed and for a halt, is part of it. A control breaks each rule. (`engine/node/tests/hot_path_rules.rs` has the same for a replay, strictly.)

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "what was measured")]

#[path = "common/ports.rs"]
mod ports;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use peregrine_book::Books;
use peregrine_eventlog::{EventLog, RunFacts};
use peregrine_gateway::Fees;
use peregrine_gateway::live::{LoggedAccount, OrderClient, OrderClientConfig};
use peregrine_gateway::ouch50::Text;
use peregrine_gateway::soup::{ClientConfig, HEARTBEAT_INTERVAL, Password, Username};
use peregrine_node::config::Loaded;
use peregrine_node::input::ClockedInput;
use peregrine_node::live::{FeedSilence, KernelWay, LiveSend, LiveSendConfig, SilenceWatch};
use peregrine_node::run::{LiveMachine, MachineParts, log_config, machine};
use peregrine_node::stage::batch::Batch;
use peregrine_node::stage::decide::Guard;
use peregrine_node::stage::feed::FeedLog;
use peregrine_node::stage::log::LosslessLog;
use peregrine_node::stage::machine::Machine;
use peregrine_node::stage::path::SendPath;
use peregrine_node::stage::schedule::{Pace, Schedule};
use peregrine_node::wiring::{FeedProgress, FeedRole};
use peregrine_runtime::{
    LatencyGuard, LatencyGuardConfig, Role, StopFlag, TscClock, TscStopwatch, index_ring, system_now,
};
use peregrine_source::live::{LineAddress, LiveInput, LivePlan, RecoveryPlan, SnapshotPlan};
use peregrine_types::{Nanos, Price, Symbol};
use peregrine_venue::{Server, Settings};
use peregrine_wire::RecoveryConfig;

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

/// Orders of the part that counts, and market events.
const ORDERS_MIN: u64 = 20;
const EVENTS_MIN: u64 = 3_000;
/// How long that may take.
const TIME_MAX: Duration = Duration::from_secs(50);
/// Symbols of the tape.
const TAPE: [&str; 6] = ["ASGV", "BDZK", "BPRZ", "CBKO", "CNDD", "CYVS"];
const PROFILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/live.toml");
/// Tells a process of this file what to do beside its part.
const CONTROL: &str = "PEREGRINE_LIVE_CONTROL";

fn venue_text(lines: [SocketAddrV4; 2]) -> String {
    format!(
        "[venue]\nsession = \"HOTPATH001\"\nstart = \"09:29:30\"\nspeed = 60\nis_spinning = false\n\
         [hours]\nstart_messages = \"09:24:00\"\nstart_system = \"09:25:00\"\nopen = \"09:30:00\"\n\
         close = \"10:30:00\"\nend_system = \"10:31:00\"\nend_messages = \"10:32:00\"\nlate_s = 10\n\
         [capacity]\norder_count_max = 50_000\nreference_count_max = 2_000_000\nlevel_count_max = 50_000\n\
         side_level_count_max = 2_000\nfeed_message_count_max = 4_000_000\n\
         [feed]\nline_a = \"{}\"\nline_b = \"{}\"\ninterface = \"127.0.0.1\"\nttl = 0\n\
         payload_len_max = 1_400\nheartbeat_ms = 500\nend_of_session_ms = 100\n\
         [retransmission]\naddress = \"127.0.0.1:0\"\n\
         [snapshot]\naddress = \"127.0.0.1:0\"\nusername = \"glimps\"\npassword = \"glimpse\"\n\
         [[port]]\naddress = \"127.0.0.1:0\"\nusername = \"desk\"\npassword = \"secret\"\nfirm = 1\n\
         self_trade = \"decrement_both\"\nis_cancel_on_disconnect = true\norder_count_max = 100_000\n\
         message_count_max = 500_000\n\
         [faults]\nseed = 7\n\
         [flow]\nkind = \"generator\"\nseed = 3\nsymbol_count = 6\nmessage_count = 240_000\nhalt_count = 0\n",
        lines[0], lines[1]
    )
}

fn free_address() -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, ports::free_udp_port())
}

fn v4(address: SocketAddr) -> SocketAddrV4 {
    match address {
        SocketAddr::V4(address) => address,
        SocketAddr::V6(_) => panic!("the venue has IPv4 addresses"),
    }
}

type Hot = FeedRole<ClockedInput, LiveMachine<LiveSend>, TscStopwatch>;

/// The program, the record role on a thread of its own, and the hot thread's role, which nobody runs yet.
struct World {
    hot: Hot,
    silence: SilenceWatch,
    stop: StopFlag,
    threads: Vec<std::thread::JoinHandle<()>>,
}

/// A guard that a busy machine does not trip.
fn guard() -> Guard {
    let guard = LatencyGuard::new(LatencyGuardConfig {
        window_sample_count: 1_024,
        window_time: None,
        sample_count_min: 256,
        warn_above: Nanos::from_secs(10),
        halt_above: Nanos::from_secs(20),
    });
    Guard::Measured(guard.unwrap())
}

fn world(dir: &Path) -> World {
    let lines = [free_address(), free_address()];
    let settings = Settings::parse(&venue_text(lines), Path::new("test.toml")).unwrap_or_else(|e| panic!("{e}"));
    let server = Server::bind(&settings).unwrap();
    let addresses = server.addresses().clone();
    let named = format!("[\"{}\"]", TAPE.join("\",\""));
    let set = [
        format!("decide.symbols={named}"),
        format!("risk.permitted_symbols={named}"),
        "runtime.pin_threads=false".to_owned(),
        "runtime.lock_memory=false".to_owned(),
        "feed.symbol_count_max=64".to_owned(),
    ];
    let loaded = Loaded::read(Path::new(PROFILE), &set).unwrap();
    let mut log_config = log_config(&loaded.config, &dir.join("run"));
    log_config.staging_record_counts = [1 << 16; 4];
    let log = EventLog::create(&log_config, &RunFacts::default()).unwrap();
    let (clock, failed) = (TscClock::calibrated(), StopFlag::new());
    let symbols: Vec<Symbol> = TAPE.map(|name| Symbol::new(name).unwrap()).to_vec();
    let input = LiveInput::open(&live_plan(lines, v4(addresses.retransmission), v4(addresses.snapshot)), &symbols);
    let input = ClockedInput::new(input.unwrap(), clock.clone());
    let midnight = input.input.session().midnight;
    let schedule = Schedule::new(Pace::Max, clock.rate());
    let parts = MachineParts {
        decide_log: LosslessLog::new(log.decide, failed.clone()),
        send_log: LosslessLog::new(log.send, failed.clone()),
        guard: guard(),
        schedule: schedule.clone(),
        stopwatch: TscStopwatch::new(&clock),
    };
    let (machine, readers) = machine(&loaded, midnight, parts).unwrap();
    let Machine { books, decide, send, inbox } = machine;
    let client = OrderClient::new(order_client(symbols, midnight), LoggedAccount::default());
    let way = LiveSendConfig {
        address: addresses.ports[0],
        reconnect: Nanos::from_millis(20),
        stop_time_max: Nanos::from_secs(10),
    };
    let (notices, mut said) = index_ring(4_096).unwrap();
    let silence = FeedSilence::default();
    let send = LiveSend::new(client, &way, send.into_log(), notices, clock.clone()).heeding(silence.clone());
    let mut send = send.rehearsing(Some(KernelWay::open().unwrap()));
    SendPath::<Books>::limit_decision_age(&mut send, Nanos(loaded.config.risk.data_age_ns_max));
    let stop = StopFlag::new();
    let (flag, other) = (stop.clone(), stop.clone());
    let mut recorder = log.recorder;
    let serving = std::thread::spawn(move || drop(server.run(&flag).unwrap()));
    let recording = std::thread::spawn(move || {
        while !other.is_requested() {
            recorder.poll(system_now()).unwrap();
            while peregrine_runtime::RingConsumer::pop(&mut said).is_some() {}
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(readers);
    });
    let hot = FeedRole {
        input,
        log: FeedLog::new(LosslessLog::new(log.feed, failed), midnight),
        sink: Machine { books, decide, send, inbox },
        schedule,
        stopwatch: TscStopwatch::new(&clock),
        packet_count_max: u64::MAX,
        is_cut: false,
        packet_count: 0,
        stop_input: StopFlag::new(),
        progress: Arc::new(FeedProgress::default()),
        error: None,
        is_done: false,
        batch: Batch::default(),
    };
    World { hot, silence: SilenceWatch::new(Nanos(1), silence), stop, threads: vec![serving, recording] }
}

fn live_plan(lines: [SocketAddrV4; 2], retransmission: SocketAddrV4, snapshot: SocketAddrV4) -> LivePlan {
    let interface = Ipv4Addr::LOCALHOST;
    let mut plan = LivePlan::new(lines.map(|destination| LineAddress { destination, interface }).to_vec(), 64);
    let (username, password) = (Username::new("glimps").unwrap(), Password::new("glimpse").unwrap());
    plan.recovery = Some(RecoveryPlan {
        servers: vec![retransmission],
        interface,
        snapshot: Some(SnapshotPlan::new(snapshot, username, password)),
        config: RecoveryConfig::default(),
    });
    plan
}

fn order_client(symbols: Vec<Symbol>, midnight: peregrine_types::EpochNanos) -> OrderClientConfig {
    OrderClientConfig {
        session: ClientConfig {
            username: Username::new("desk").unwrap(),
            password: Password::new("secret").unwrap(),
            heartbeat_interval: HEARTBEAT_INTERVAL,
            silence_max: Nanos::from_secs(30),
            login_time_max: Nanos::from_secs(30),
            heartbeat_timeout_ms: None,
            packet_len_max: 512,
            outbox_len_max: 1 << 18,
        },
        symbols,
        order_count_max: 4_096,
        order_number_end: 1 << 20,
        fill_count_max: 1 << 18,
        fees: Fees { added: Price(0), removed: Price(0) },
        midnight,
        capacity: b'P',
        firm: Text(*b"FIRM"),
        answer_time_max: Nanos::from_secs(10),
        resend_age_max: Nanos::from_millis(200),
        reject_count_max: 1_000,
        probe_count: 1,
        backlog_len_max: 4_096,
    }
}

fn counts(hot: &Hot) -> (u64, u64) {
    (hot.sink.decide.counters().orders_approved, hot.log.event_count())
}

/// Turns until so many orders and events more came.
fn turn_until(hot: &mut Hot, orders: u64, events: u64) {
    let (begin, before) = (Instant::now(), counts(hot));
    while counts(hot).0 < before.0 + orders || counts(hot).1 < before.1 + events {
        hot.duty_cycle();
        assert!(begin.elapsed() < TIME_MAX, "{:?} since {before:?}: {:?}", counts(hot), hot.input.input.counters());
        assert!(!hot.is_done && hot.error.is_none());
    }
}

/// Turns while something holds of the order client.
fn turn_while(hot: &mut Hot, is_so: impl Fn(&OrderClient) -> bool) {
    let begin = Instant::now();
    while is_so(hot.sink.send.client()) {
        hot.duty_cycle();
        assert!(begin.elapsed() < TIME_MAX, "{:?}", hot.sink.send.client().counters());
    }
}

/// Waits for open orders, has all of them withdrawn, and turns until the venue has confirmed it: how many there were, and how
/// often the allocator was called from the withdrawal on.
fn withdraw(hot: &mut Hot, withdraw: impl FnOnce(&mut Hot)) -> (usize, u64) {
    turn_while(hot, OrderClient::is_flat);
    let (client, calls) = (hot.sink.send.client(), allocator_calls());
    let (open_count, number) = (client.table().open_count(), client.last_number());
    withdraw(hot);
    turn_while(hot, |client| !client.is_flat());
    let calls = allocator_calls() - calls;
    // One message for all has a number of its own, and no order has come since.
    assert_eq!(hot.sink.send.client().last_number().0, number.0 + 1, "the withdrawal");
    (open_count, calls)
}

#[test]
fn live_between_its_first_order_and_its_stop_nothing_allocates() {
    let dir = tempfile::tempdir().unwrap();
    let World { mut hot, mut silence, stop, threads } = world(dir.path());
    turn_until(&mut hot, 3, 1_000);
    let (before, rehearsed, calls) = (counts(&hot), hot.sink.send.rehearsed(), allocator_calls());
    turn_until(&mut hot, ORDERS_MIN, EVENTS_MIN);
    let calls = allocator_calls() - calls;
    assert_ne!(rehearsed, hot.sink.send.rehearsed(), "the kernel's way was rehearsed meanwhile");
    let (orders, events) = (counts(&hot).0 - before.0, counts(&hot).1 - before.1);
    println!("live: {events} events, {orders} orders: {calls} allocator calls");
    assert_eq!(calls, 0, "allocator calls");
    // The control: a turn with one allocation in it is seen.
    let calls = allocator_calls();
    hot.duty_cycle();
    drop(std::hint::black_box(Box::new(1_u8)));
    assert_eq!(allocator_calls() - calls, 2);
    let of_silence = withdraw(&mut hot, |_| silence.on_silence(Nanos(1)));
    silence.on_silence(Nanos(0));
    let of_halt = withdraw(&mut hot, |hot| hot.sink.stop());
    println!("withdrawn, and allocator calls: {of_silence:?} for a silent feed, {of_halt:?} for a halt");
    assert_eq!((of_silence.1, of_halt.1), (0, 0), "allocator calls of a withdrawal");
    hot.stop_input.request();
    while !hot.is_finished() {
        hot.duty_cycle();
    }
    stop.request();
    for thread in threads {
        thread.join().unwrap();
    }
}

/// Lets this thread make no system calls but those that receive and send; any other one kills the process.
#[expect(unsafe_code, reason = "the standard library has no seccomp")]
fn only_sockets() {
    const ALLOWED: [libc::c_long; 6] =
        [libc::SYS_recvmmsg, libc::SYS_recvmsg, libc::SYS_recvfrom, libc::SYS_sendto, libc::SYS_read, libc::SYS_write];
    let instruction =
        |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: u16::try_from(code).unwrap(), jt, jf, k };
    // The number of the call stands at the begin of the data (struct seccomp_data).
    let mut program = vec![instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0)];
    for (index, call) in ALLOWED.iter().enumerate() {
        let to_allow = u8::try_from(ALLOWED.len() - index).unwrap();
        let number = u32::try_from(*call).unwrap();
        program.push(instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, to_allow, 0, number));
    }
    program.push(instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_KILL_PROCESS));
    program.push(instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW));
    let filter = libc::sock_fprog { len: u16::try_from(program.len()).unwrap(), filter: program.as_mut_ptr() };
    // SAFETY: plain numbers.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    // SAFETY: the filter and the program that it points to live through the call, which copies them.
    let code = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) };
    // From here on not even an assertion could speak.
    std::hint::black_box(code);
}

/// Not a test: the process of the test below. Its hot thread gives up its other calls, trades, and says so in memory.
#[test]
#[ignore = "started by another test as a process of its own"]
fn live_process() {
    let Ok(control) = std::env::var(CONTROL) else { return };
    let dir = tempfile::tempdir().unwrap();
    let World { mut hot, mut silence, .. } = world(dir.path());
    let done = Arc::new(AtomicU64::new(0));
    let told = done.clone();
    std::thread::spawn(move || {
        turn_until(&mut hot, 3, 1_000);
        let (before, rehearsed) = (counts(&hot), hot.sink.send.rehearsed());
        only_sockets();
        turn_until(&mut hot, ORDERS_MIN, EVENTS_MIN);
        let is_rehearsed = hot.sink.send.rehearsed() != rehearsed;
        withdraw(&mut hot, |_| silence.on_silence(Nanos(1)));
        if control == "break" {
            // SAFETY: a call without arguments.
            #[expect(unsafe_code, reason = "the call that is not permitted")]
            let pid = unsafe { libc::syscall(libc::SYS_getpid) };
            std::hint::black_box(pid);
        }
        told.store(if is_rehearsed { counts(&hot).0 - before.0 } else { u64::MAX }, Ordering::Release);
        // To end a thread takes calls.
        loop {
            std::hint::spin_loop();
        }
    });
    let begin = Instant::now();
    while done.load(Ordering::Acquire) == 0 {
        assert!(begin.elapsed() < TIME_MAX * 2, "the hot thread does not come to an end");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_ne!(done.load(Ordering::Acquire), u64::MAX, "the kernel's way was rehearsed meanwhile");
    println!("{} orders without another call", done.load(Ordering::Acquire));
    drop(dir);
    std::process::exit(0);
}

fn live_process_with(control: &str) -> (Option<i32>, Option<i32>, String) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "live_process", "--ignored", "--nocapture"])
        .env(CONTROL, control)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout).into_owned() + &String::from_utf8_lossy(&child.stderr);
    (child.status.code(), std::os::unix::process::ExitStatusExt::signal(&child.status), said)
}

#[test]
fn live_the_only_system_calls_receive_and_send() {
    let (code, signal, said) = live_process_with("none");
    assert_eq!((code, signal), (Some(0), None), "{said}");
    assert!(said.contains("orders without another call"), "{said}");
    println!("live: {}", said.lines().find(|line| line.contains("orders without")).unwrap_or_default());
}

#[test]
fn live_another_system_call_kills_the_process() {
    let (code, signal, said) = live_process_with("break");
    assert_eq!((code, signal), (None, Some(libc::SIGSYS)), "{said}");
}
