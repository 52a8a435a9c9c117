//! The engine's live input against this program: both lines lossy, servers that lie, and a recording that replays.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "common/ports.rs"]
mod ports;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use peregrine_book::{BookConfig, Books, MarketBooks};
use peregrine_runtime::StopFlag;
use peregrine_source::live::{
    LineAddress, LiveInput, LivePlan, LiveStep, Password, RecorderPlan, RecoveryPlan, SnapshotPlan, Username,
};
use peregrine_source::market::{Input, InputPlan};
use peregrine_types::{EpochNanos, EventKind, Full, Level, MarketEvent, Nanos, OrderRef, Side, SymbolId};
use peregrine_venue::*;
use peregrine_wire::RecoveryConfig;

const PATIENCE: Duration = Duration::from_secs(60);

fn now() -> EpochNanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    EpochNanos(i64::try_from(since.as_nanos()).unwrap())
}

/// A program under way.
struct Venue {
    addresses: Addresses,
    stop: StopFlag,
    thread: JoinHandle<Result<Summary, ServerError>>,
}

struct Plan<'a> {
    lines: [SocketAddrV4; 2],
    start: &'a str,
    speed: u32,
    faults: &'a str,
}

impl Plan<'_> {
    fn text(&self) -> String {
        let Self { lines: [a, b], start, speed, faults } = self;
        format!(
            "[venue]\nsession = \"TESTDAY001\"\nstart = \"{start}\"\nspeed = {speed}\nis_spinning = false\n\
             [hours]\nstart_messages = \"09:24:00\"\nstart_system = \"09:25:00\"\nopen = \"09:30:00\"\n\
             close = \"10:30:00\"\nend_system = \"10:31:00\"\nend_messages = \"10:32:00\"\nlate_s = 10\n\
             [capacity]\norder_count_max = 50_000\nreference_count_max = 500_000\nlevel_count_max = 50_000\n\
             side_level_count_max = 2_000\nfeed_message_count_max = 500_000\n\
             [feed]\nline_a = \"{a}\"\nline_b = \"{b}\"\ninterface = \"127.0.0.1\"\nttl = 0\n\
             payload_len_max = 1_400\nheartbeat_ms = 20\nend_of_session_ms = 60_000\n\
             [retransmission]\naddress = \"127.0.0.1:0\"\n\
             [snapshot]\naddress = \"127.0.0.1:0\"\nusername = \"glimps\"\npassword = \"glimpse\"\n\
             [[port]]\naddress = \"127.0.0.1:0\"\nusername = \"alpha\"\npassword = \"secret\"\nfirm = 1\n\
             self_trade = \"allow\"\nis_cancel_on_disconnect = false\norder_count_max = 1_000\nmessage_count_max = 1_000\n\
             [faults]\nseed = 7\n{faults}\n\
             [flow]\nkind = \"generator\"\nseed = 3\nsymbol_count = 5\nmessage_count = 20_000\nhalt_count = 1\n"
        )
    }

    fn start(&self) -> Venue {
        let settings = Settings::parse(&self.text(), Path::new("test.toml")).unwrap_or_else(|error| panic!("{error}"));
        let server = Server::bind(&settings).unwrap();
        let (addresses, stop) = (server.addresses().clone(), StopFlag::new());
        let flag = stop.clone();
        Venue { addresses, stop, thread: std::thread::spawn(move || server.run(&flag)) }
    }
}

/// Two free ports for lines.
fn free_lines() -> [SocketAddrV4; 2] {
    [0; 2].map(|_| SocketAddrV4::new(Ipv4Addr::LOCALHOST, ports::free_udp_port()))
}

fn v4(address: SocketAddr) -> SocketAddrV4 {
    match address {
        SocketAddr::V4(address) => address,
        SocketAddr::V6(_) => panic!("{address}"),
    }
}

fn live_plan(lines: [SocketAddrV4; 2]) -> LivePlan {
    let line = |destination| LineAddress { destination, interface: Ipv4Addr::LOCALHOST };
    let mut plan = LivePlan::new(lines.map(line).to_vec(), 64);
    plan.date = Some(jiff::civil::date(2026, 1, 5));
    plan
}

fn recovery(addresses: &Addresses, has_retransmission: bool) -> RecoveryPlan {
    let (username, password) = (Username::new("glimps").unwrap(), Password::new("glimpse").unwrap());
    RecoveryPlan {
        servers: if has_retransmission { vec![v4(addresses.retransmission)] } else { Vec::new() },
        interface: Ipv4Addr::LOCALHOST,
        snapshot: Some(SnapshotPlan::new(v4(addresses.snapshot), username, password)),
        config: RecoveryConfig {
            request_timeout: Nanos::from_millis(20),
            request_count_max: 10,
            snapshot_delay: Nanos::from_millis(50),
            snapshot_count_max: 200,
            ..RecoveryConfig::default()
        },
    }
}

/// What a feed's reader makes of its events.
struct Reader {
    books: Books,
    events: Vec<MarketEvent>,
    gap_open: bool,
    anomaly_count: usize,
}

impl Reader {
    fn new() -> Self {
        let books = Books::new(BookConfig::new(64, 50_000, 50_000)).unwrap();
        Self { books, events: Vec::new(), gap_open: false, anomaly_count: 0 }
    }

    fn take(&mut self, event: MarketEvent) -> Result<(), Full<MarketEvent>> {
        self.gap_open = event.kind == EventKind::GapStart || (self.gap_open && event.kind != EventKind::GapEnd);
        self.anomaly_count += usize::from(self.books.apply(&event).anomaly.is_some());
        self.events.push(event);
        Ok(())
    }
}

/// A displayed order: symbol, side, price, reference, quantity.
type Shown = (u32, Side, i64, u64, u64);

/// The displayed orders of five symbols: price by price and in the order of their queues.
fn orders(books: &Books) -> Vec<Shown> {
    let mut all = Vec::new();
    for symbol in (0..5).map(SymbolId) {
        for side in Side::BOTH {
            let mut levels = vec![Level::default(); 2_000];
            let count = books.depth(symbol, side, &mut levels);
            for level in &levels[..count] {
                let order = books.order(OrderRef(0)).unwrap_or(peregrine_book::RestingOrder {
                    symbol,
                    side,
                    price: level.price,
                    qty: level.qty,
                    priority: peregrine_book::Priority(0),
                });
                let mut queue = vec![(OrderRef(0), order); usize::try_from(level.order_count).unwrap()];
                let found = books.queue(symbol, side, level.price, &mut queue);
                assert_eq!(found, queue.len());
                all.extend(queue.iter().map(|(key, order)| (symbol.0, side, level.price.0, key.0, order.qty.0)));
            }
        }
    }
    all
}

/// Steps until `is_done`.
fn drive(input: &mut LiveInput, reader: &mut Reader, mut is_done: impl FnMut(&LiveInput, &Reader) -> bool) {
    let begin = Instant::now();
    while !is_done(input, reader) {
        let step = input.step(now(), &mut |event| reader.take(event)).unwrap();
        let arbiter = input.feed().arbiter();
        assert!(begin.elapsed() < PATIENCE, "{:?} {:?}", input.counters(), arbiter.counters());
        if step == LiveStep::Idle {
            std::thread::sleep(Duration::from_micros(50));
        }
    }
}

const LOSSY: &str = "retransmission_lie_ppm = 100_000\n\
    [faults.line_a]\nloss_ppm = 300_000\nduplicate_ppm = 50_000\nreorder_ppm = 50_000\nreorder_delay_us = 2_000\n\
    [faults.line_b]\nloss_ppm = 300_000\ndelay_us = 500\noutage_us = 50_000\noutage_every_us = 300_000\n\
    outage_after_us = 200_000\n[faults.retransmission]\nloss_ppm = 200_000\n";

/// Joins while the day is under way, follows it to its end over lines that lose 30 % each, and gives what came out.
fn follow(has_retransmission: bool, recording: Option<&Path>) -> (Reader, LiveInput, Summary) {
    let lines = free_lines();
    let mut plan = live_plan(lines);
    let venue = Plan { lines, start: "09:29:00", speed: 1_000, faults: LOSSY }.start();
    plan.recovery = Some(recovery(&venue.addresses, has_retransmission));
    plan.recorder = recording.map(RecorderPlan::new);
    let mut input = LiveInput::open(&plan, &[]).unwrap();
    let mut reader = Reader::new();
    drive(&mut input, &mut reader, |_, reader| {
        reader.events.last().is_some_and(|event| event.kind == EventKind::SessionEnd)
    });
    venue.stop.request();
    let summary = venue.thread.join().unwrap().unwrap();
    (reader, input, summary)
}

#[test]
fn books_are_whole_over_lines_that_lose_a_third_each() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("day.pcapng");
    let (mut reader, mut input, summary) = follow(true, Some(&file));
    let (counters, arbiter) = (input.counters(), input.feed().arbiter());
    assert!(!reader.gap_open && reader.anomaly_count == 0, "{counters:?}\n{summary}");
    assert_eq!(arbiter.next_sequence_number(), summary.message_count + 1);
    assert!(counters.recovery.reply_count > 20 && counters.recovery.snapshot_done_count > 0, "{counters:?}\n{summary}");
    assert_eq!(arbiter.counters().lost_message_count, 0);
    assert!(counters.recovery.reply_unproven_count > 0, "the lies were seen: {counters:?}");
    let offset = input.offset();
    let report = input.close(&mut |event| reader.take(event)).unwrap().unwrap();
    assert_eq!(report.dropped_count, 0);
    assert_eq!(report.len, std::fs::metadata(&file).unwrap().len());
    // The recording gives the same events, and the same offsets for the log.
    let plan = InputPlan {
        files: vec![file],
        date: Some(jiff::civil::date(2026, 1, 5)),
        zone: "America/New_York".to_owned(),
        symbol_count_max: 64,
        reorder_window: Nanos::from_millis(2),
        is_sequence_checked: true,
        mdp3: peregrine_source::market::Mdp3Plan::default(),
    };
    let mut replay = Input::open(&plan, &[]).unwrap();
    let mut again = Reader::new();
    while replay.step(&mut |event| again.take(event)).unwrap() {}
    assert_eq!(replay.offset(), offset);
    replay.finish(&mut |event| again.take(event));
    assert_eq!(again.events.len(), reader.events.len());
    for (index, (live, replayed)) in reader.events.iter().zip(&again.events).enumerate() {
        assert_eq!(live, replayed, "event {index}");
    }
}

#[test]
fn a_book_joined_late_by_snapshots_alone_is_the_venues() {
    let lines = free_lines();
    let mut plan = live_plan(lines);
    let venue = Plan { lines, start: "09:45:00", speed: 60, faults: LOSSY }.start();
    plan.recovery = Some(recovery(&venue.addresses, false));
    let mut input = LiveInput::open(&plan, &[]).unwrap();
    let mut reader = Reader::new();
    // Another reader joins by a snapshot of its own at every moment at which the first one is whole: both books agree.
    let mut compared = 0;
    drive(&mut input, &mut reader, |input, reader| {
        if !reader.gap_open && input.feed().arbiter().next_sequence_number() > 1 {
            let next = input.feed().arbiter().next_sequence_number();
            if let Some(truth) = snapshot_at(&venue.addresses, next) {
                assert_eq!(orders(&reader.books), truth, "before message {next}");
                compared += 1;
            }
        }
        compared >= 5
    });
    assert_eq!(reader.anomaly_count, 0);
    assert!(input.counters().recovery.snapshot_done_count > 0);
    assert_eq!(input.counters().recovery.request_count, 0);
    venue.stop.request();
    venue.thread.join().unwrap().unwrap();
}

/// Follows a feed whose sessions end in the middle of the day, and compares its book with the venue's in each of them.
fn follow_rolls(incidents: &str, session_count: usize) -> (Reader, Summary) {
    let lines = free_lines();
    let mut plan = live_plan(lines);
    let faults = format!("{incidents}\n{LOSSY}");
    let venue = Plan { lines, start: "09:45:00", speed: 60, faults: &faults }.start();
    plan.recovery = Some(recovery(&venue.addresses, true));
    let mut input = LiveInput::open(&plan, &[]).unwrap();
    let mut reader = Reader::new();
    let (mut compared, mut seen) = (vec![0; session_count], 0);
    drive(&mut input, &mut reader, |input, reader| {
        // Before a session is known nothing of the one before is left.
        for event in &reader.events[seen..] {
            if event.kind == EventKind::SessionStart {
                assert!(
                    seen + 1 < reader.events.len() || reader.books.order_count() == 0,
                    "a book without its session"
                );
            }
        }
        seen = reader.events.len();
        let starts = reader.events.iter().filter(|event| event.kind == EventKind::SessionStart).count();
        let next = input.feed().arbiter().next_sequence_number();
        let is_due = !reader.gap_open && next > 1 && starts > 0 && compared[starts - 1] < 3;
        if let Some(truth) = is_due.then(|| snapshot_at(&venue.addresses, next)).flatten() {
            assert_eq!(orders(&reader.books), truth, "session {starts}, before message {next}");
            compared[starts - 1] += 1;
        }
        compared.iter().all(|count| *count >= 3)
    });
    assert_eq!(reader.anomaly_count, 0);
    venue.stop.request();
    (reader, venue.thread.join().unwrap().unwrap())
}

#[test]
fn a_session_that_rolls_in_the_middle_of_the_day_gives_no_wrong_book() {
    let (reader, summary) = follow_rolls("session_rolls = [\"09:48:00\", \"09:51:00\"]", 3);
    assert_eq!(summary.session_count, 3, "{summary}");
    let ends = reader.events.iter().filter(|event| event.kind == EventKind::SessionEnd).count();
    assert!(ends >= 2, "every session was closed");
    let names: Vec<_> = reader.events.iter().filter(|event| event.kind == EventKind::SessionStart).collect();
    assert!(names.len() == 3 && names.windows(2).all(|pair| pair[0].qty != pair[1].qty), "{names:?}");
}

/// What a session tells of the day at its begin is longer than the session may be: it is not counted, and trading goes on in
/// between.
#[test]
fn a_short_session_rolls_for_its_news_alone() {
    let lines = free_lines();
    let venue = Plan { lines, start: "09:45:00", speed: 60, faults: "session_message_count_max = 40" }.start();
    let mut plan = live_plan(lines);
    plan.recovery = Some(recovery(&venue.addresses, true));
    let mut input = LiveInput::open(&plan, &[]).unwrap();
    let mut reader = Reader::new();
    let starts = |reader: &Reader| reader.events.iter().filter(|event| event.kind == EventKind::SessionStart).count();
    drive(&mut input, &mut reader, |_, reader| starts(reader) > 6);
    venue.stop.request();
    venue.thread.join().unwrap().unwrap();
    // Every other message or so of the flow takes something away; nothing of what is told at the begin does.
    let is_change = |kind| matches!(kind, EventKind::DeleteOrder | EventKind::ExecuteOrder | EventKind::CancelOrder);
    let changes = reader.events.iter().filter(|event| is_change(event.kind)).count();
    assert!(changes > 6 * 10, "{changes} changes in {} sessions", starts(&reader));
}

/// A session that begins again under its own name cannot be told from its own past: nothing of it is believed, and the
/// books stay closed.
#[test]
fn a_sequence_that_begins_again_is_not_believed() {
    let lines = free_lines();
    let mut plan = live_plan(lines);
    let faults = "sequence_resets = [\"09:46:00\"]";
    let venue = Plan { lines, start: "09:45:00", speed: 60, faults }.start();
    plan.recovery = Some(recovery(&venue.addresses, true));
    let mut input = LiveInput::open(&plan, &[]).unwrap();
    let mut reader = Reader::new();
    let is_over = |reader: &Reader| reader.events.last().is_some_and(|event| event.kind == EventKind::SessionEnd);
    drive(&mut input, &mut reader, |_, reader| is_over(reader));
    let count = reader.events.len();
    let until = Instant::now() + Duration::from_millis(500);
    drive(&mut input, &mut reader, |_, _| Instant::now() > until);
    assert_eq!(reader.events.len(), count, "{:?}", reader.events.last());
    assert!((0..5).all(|symbol| !reader.books.state(SymbolId(symbol)).is_good()), "no book is traded on");
    venue.stop.request();
    assert_eq!(venue.thread.join().unwrap().unwrap().session_count, 2);
}

/// The venue's displayed orders, if it stands before message `next` now.
fn snapshot_at(addresses: &Addresses, next: u64) -> Option<Vec<Shown>> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(addresses.snapshot).unwrap();
    stream.write_all(format!("\0\x2fLglimpsglimpse   {:>10}{:>20}", "", 1).as_bytes()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut decoder = peregrine_wire::itch50::Decoder::new(EpochNanos(0), 64);
    let mut reader = Reader::new();
    loop {
        let mut len = [0; 2];
        stream.read_exact(&mut len).unwrap();
        let mut packet = vec![0; usize::from(u16::from_be_bytes(len))];
        stream.read_exact(&mut packet).unwrap();
        if packet[0] != b'S' {
            continue;
        }
        if let Some(number) = end_of_snapshot(&packet[1..]) {
            return (number == next).then(|| orders(&reader.books));
        }
        let flags = peregrine_types::EventFlags::RECV_TIME_SYNTHETIC;
        decoder.decode(&packet[1..], EpochNanos(0), flags, &mut |event| reader.take(event)).unwrap();
    }
}
