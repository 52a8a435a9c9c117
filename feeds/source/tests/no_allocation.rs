//! A live input takes its memory when it is opened: receiving, recovering and recording allocate nothing.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use peregrine_source::live::{LineAddress, LiveInput, LivePlan, LiveStep, RecorderPlan, RecoveryPlan};
use peregrine_types::{EpochNanos, EventKind, Full, MarketEvent};
use peregrine_wire::RecoveryConfig;
use peregrine_wire::moldudp64::{PacketBuilder, Request, Session};
use zerocopy::FromBytes;

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

const SESSION: Session = Session(*b"NOALLOC   ");

/// A packet of the messages `first..end`, system events all of them.
fn packet(first: u64, end: u64) -> Vec<u8> {
    let mut buffer = [0; 1_400];
    let mut builder = PacketBuilder::new(&mut buffer, SESSION, first).unwrap();
    for number in first..end {
        let mut message = [0; 12];
        (message[0], message[10], message[11]) = (b'S', u8::try_from(number % 200).unwrap(), b'O');
        builder.push(&message).unwrap();
    }
    builder.finish().to_vec()
}

fn now() -> EpochNanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    EpochNanos(i64::try_from(since.as_nanos()).unwrap())
}

/// A retransmission server that answers until the day's last message was asked for long enough.
fn serve(socket: &UdpSocket, end: u64) {
    socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    let mut buffer = [0; 64];
    while let Ok((len, from)) = socket.recv_from(&mut buffer) {
        let request = Request::read_from_bytes(&buffer[..len]).unwrap();
        let first = request.sequence_number.get();
        let last = (first + u64::from(request.requested_count.get())).min(end).min(first + 40);
        socket.send_to(&packet(first, last), from).unwrap();
    }
}

#[test]
fn nothing_is_allocated_after_the_input_was_opened() {
    const END: u64 = 6_001;
    let folder = tempfile::tempdir().unwrap();
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let SocketAddr::V4(address) = server.local_addr().unwrap() else { unreachable!("it is IPv4") };
    let serving = std::thread::spawn(move || serve(&server, END));
    let line = LineAddress { destination: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), interface: Ipv4Addr::LOCALHOST };
    let mut plan = LivePlan::new(vec![line, line], 16);
    let config = RecoveryConfig::default();
    plan.recovery =
        Some(RecoveryPlan { servers: vec![address], interface: Ipv4Addr::LOCALHOST, snapshot: None, config });
    plan.recorder = Some(RecorderPlan { ring_len: 8 << 20, ..RecorderPlan::new(folder.path().join("x.pcapng")) });
    let mut input = LiveInput::open(&plan, &[]).unwrap();
    let lines: Vec<SocketAddrV4> = input.facts().iter().map(|facts| facts.local).collect();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let packets: Vec<(u64, Vec<u8>)> = (1..END).step_by(5).map(|first| (first, packet(first, first + 5))).collect();
    let (mut event_count, mut gap_count) = (0_u64, 0_u64);
    let (mut call_count, deadline) = (0, Instant::now() + Duration::from_secs(30));
    let mut waiting = packets.iter();
    while input.feed().arbiter().next_sequence_number() < END && Instant::now() < deadline {
        if let Some((first, payload)) = waiting.next() {
            // Every eleventh packet is lost on both lines, and of the others each line loses some.
            for (line, to) in lines.iter().enumerate() {
                if first % 55 != 16 && first % 7 != u64::try_from(line).unwrap() {
                    sender.send_to(payload, to).unwrap();
                }
            }
        }
        let before = CALLS.with(Cell::get);
        let step = input.step(now(), &mut |event: MarketEvent| -> Result<(), Full<MarketEvent>> {
            event_count += 1;
            gap_count += u64::from(event.kind == EventKind::GapStart);
            Ok(())
        });
        call_count += CALLS.with(Cell::get) - before;
        assert_ne!(step.unwrap(), LiveStep::Ended);
    }
    let counters = input.counters();
    assert!(event_count >= END && gap_count > 0 && counters.recovery.reply_count > 20, "{counters:?}");
    assert_eq!(call_count, 0, "{counters:?}");
    let report = input.close(&mut |_: MarketEvent| -> Result<(), Full<MarketEvent>> { Ok(()) }).unwrap().unwrap();
    assert!(report.packet_count > 1_000 && report.dropped_count == 0);
    assert!(CALLS.with(Cell::get) > 0, "the counter counts");
    serving.join().unwrap();
}
