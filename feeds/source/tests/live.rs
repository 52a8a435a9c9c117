//! Sockets behind the trait of the files: over loopback, with real datagrams.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use peregrine_source::live::{
    LineAddress, LiveInput, LivePlan, LiveSource, LiveStep, Password, RecoveryPlan, RingOptions, SnapshotPlan,
    SocketOptions, SourceKind, UdpSource, Username, Way, XdpOptions,
};
use peregrine_source::{Carrier, LineId, Source, SourceError, StampKind};
use peregrine_types::{EpochNanos, EventKind, Full, MarketEvent, Nanos};
use peregrine_wire::RecoveryConfig;
use peregrine_wire::moldudp64::{Header, PacketBuilder, Session};
use zerocopy::IntoBytes;

const SESSION: Session = Session(*b"LIVE      ");

fn any_port() -> LineAddress {
    LineAddress { destination: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), interface: Ipv4Addr::LOCALHOST }
}

fn open(lines: &[LineAddress], options: &SocketOptions) -> UdpSource {
    UdpSource::open(lines, options, None).unwrap()
}

fn ports(source: &UdpSource) -> Vec<SocketAddrV4> {
    source.facts().iter().map(|facts| facts.local).collect()
}

/// Asks until `count` packets came, or long enough.
fn take(source: &mut UdpSource, count: usize) -> Vec<(LineId, EpochNanos, StampKind, Vec<u8>)> {
    let (mut taken, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(20));
    while taken.len() < count && Instant::now() < deadline {
        while let Some(packet) = source.poll().unwrap() {
            taken.push((packet.line, packet.recv_time, packet.stamp, packet.bytes.to_vec()));
        }
    }
    taken
}

#[test]
fn two_lines_arrive_with_kernel_stamps_in_order_of_time() {
    let options = SocketOptions { batch_len: 3, ..SocketOptions::default() };
    let mut source = open(&[any_port(), any_port()], &options);
    assert!(!source.advance().unwrap() && !source.has_ended(), "nothing waits, but more may come");
    assert_eq!(source.format(), Carrier::MoldUdp64);
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = ports(&source);
    for index in 0..20_u8 {
        sender.send_to(&[index, 1, 2], to[usize::from(index) % 2]).unwrap();
    }
    let taken = take(&mut source, 20);
    assert_eq!(taken.len(), 20);
    assert!(taken.iter().all(|(_, _, stamp, _)| *stamp == StampKind::Kernel));
    assert!(taken.windows(2).all(|pair| pair[0].1 <= pair[1].1), "time never runs back");
    for line in [LineId::A, LineId::B] {
        let of_line: Vec<u8> = taken.iter().filter(|packet| packet.0 == line).map(|packet| packet.3[0]).collect();
        assert_eq!(of_line, (0..20).filter(|index| index % 2 == line.0).collect::<Vec<u8>>());
    }
    assert_eq!(source.statistics().packet_count, 20);
    assert!(source.line_counters().iter().all(|line| line.packet_count == 10 && line.call_count >= 4));
    source.close();
    assert!(!source.advance().unwrap() && source.has_ended() && source.current().is_none());
}

/// Waits until packets are stamped when they come: the kernel begins with it some time after it was asked to, and stamps
/// them when they are read until then.
fn wait_for_stamps(source: &mut UdpSource, sender: &UdpSocket, to: SocketAddrV4) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        sender.send_to(b"stamp", to).unwrap();
        let sent = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        std::thread::sleep(Duration::from_millis(1));
        let stamp = take(source, 1)[0].1;
        if u128::try_from(stamp.0).unwrap() <= sent.as_nanos() {
            return;
        }
        assert!(Instant::now() < deadline, "packets are stamped when they are read");
    }
}

/// What waits on both lines comes by its stamps, also where one line has far more of it than a receive call takes.
#[test]
fn a_backlog_comes_in_order_of_time_however_unequal_the_lines_are() {
    let options = SocketOptions { batch_len: 8, ..SocketOptions::default() };
    let mut source = open(&[any_port(), any_port()], &options);
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = ports(&source);
    wait_for_stamps(&mut source, &sender, to[0]);
    // Line A was silent for a while, which B was not.
    let line_of = |index: u8| usize::from((20..60).contains(&index) || index % 2 == 1);
    for index in 0..200 {
        sender.send_to(&[index], to[line_of(index)]).unwrap();
    }
    let taken: Vec<u8> = take(&mut source, 200).iter().map(|packet| packet.3[0]).collect();
    assert_eq!(taken, (0..200).collect::<Vec<u8>>());
    assert_eq!(source.statistics().backward_step_count, 0);
}

#[test]
fn a_group_is_joined_on_the_interface_that_is_named_and_two_may_listen() {
    let group = SocketAddrV4::new(Ipv4Addr::new(239, 255, 77, 1), 0);
    let address = LineAddress { destination: group, interface: Ipv4Addr::LOCALHOST };
    let mut first = open(&[address], &SocketOptions::default());
    let chosen = ports(&first)[0];
    let mut second = open(&[LineAddress { destination: chosen, ..address }], &SocketOptions::default());
    let sender = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
    sender.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
    sender.set_multicast_loop_v4(true).unwrap();
    sender.send_to(b"to all", &chosen.into()).unwrap();
    for source in [&mut first, &mut second] {
        let taken = take(source, 1);
        assert_eq!(taken.len(), 1);
        assert_eq!(taken[0].3, b"to all");
    }
}

#[test]
fn what_does_not_fit_is_dropped_and_counted() {
    let options = SocketOptions { payload_len_max: 8, receive_buffer_len: 4_096, ..SocketOptions::default() };
    let mut source = open(&[any_port()], &options);
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = ports(&source)[0];
    sender.send_to(&[1; 9], to).unwrap();
    sender.send_to(&[2; 8], to).unwrap();
    let taken = take(&mut source, 1);
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].3, [2; 8]);
    // Nobody reads: the kernel's small buffer runs over, and the next packet that is read tells how often.
    for _ in 0..1_000 {
        sender.send_to(&[3; 8], to).unwrap();
    }
    let mut read = 0_usize;
    while source.poll().unwrap().is_some() {
        read += 1;
    }
    let dropped = 1_000 - u64::try_from(read).unwrap();
    assert_eq!(source.line_counters()[0].kernel_drop_count, dropped, "told before the next packet");
    sender.send_to(&[4; 8], to).unwrap();
    assert_eq!(take(&mut source, 1).len(), 1);
    let counters = source.line_counters()[0];
    assert_eq!(counters.oversize_count, 1);
    assert!(read < 1_000);
    assert_eq!(counters.kernel_drop_count, dropped);
}

#[test]
fn an_address_that_is_not_ours_is_refused_with_its_line() {
    let foreign = LineAddress { destination: "192.0.2.1:1".parse().unwrap(), interface: Ipv4Addr::UNSPECIFIED };
    let error = UdpSource::open(&[any_port(), foreign], &SocketOptions::default(), None).err().unwrap();
    assert!(matches!(&error, SourceError::Socket { what, .. } if what == "line B"), "{error}");
    assert!(error.to_string().contains("192.0.2.1:1"), "{error}");
}

/// A packet with `messages` system events, numbered from `sequence`.
fn packet(sequence: u64, messages: u8) -> Vec<u8> {
    let mut buffer = [0; 1_400];
    let mut builder = PacketBuilder::new(&mut buffer, SESSION, sequence).unwrap();
    for index in 0..messages {
        let mut message = [0; 12];
        (message[0], message[10], message[11]) = (b'S', index, b'O');
        builder.push(&message).unwrap();
    }
    builder.finish().to_vec()
}

/// Steps until `is_done` says so of the events, or long enough.
fn run(input: &mut LiveInput, events: &mut Vec<MarketEvent>, is_done: impl Fn(&[MarketEvent]) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_done(events) && Instant::now() < deadline {
        step(input, events, EpochNanos(0));
    }
}

fn step(input: &mut LiveInput, events: &mut Vec<MarketEvent>, now: EpochNanos) {
    let mut sink = |event: MarketEvent| -> Result<(), Full<MarketEvent>> {
        events.push(event);
        Ok(())
    };
    assert_ne!(input.step(now, &mut sink).unwrap(), LiveStep::Ended);
}

/// Steps at `now` until `is_done` says so, or long enough.
fn run_at(
    input: &mut LiveInput,
    events: &mut Vec<MarketEvent>,
    now: EpochNanos,
    mut is_done: impl FnMut(&LiveInput) -> bool,
) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_done(input) {
        assert!(Instant::now() < deadline, "{:?}", input.counters());
        step(input, events, now);
    }
}

#[test]
fn the_silence_of_all_lines_is_measured_by_the_clock_of_the_steps() {
    let mut input = LiveInput::open(&LivePlan::new(vec![any_port(), any_port()], 10), &[]).unwrap();
    let to: Vec<SocketAddrV4> = input.facts().iter().map(|facts| facts.local).collect();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = |seconds| EpochNanos(0).plus(Nanos::from_secs(seconds));
    let silent = |input: &LiveInput, seconds| input.silent_for(at(seconds));
    let mut events = Vec::new();
    assert_eq!(silent(&input, 1_000), Nanos::ZERO, "nobody has listened yet");
    step(&mut input, &mut events, at(1_000));
    step(&mut input, &mut events, at(1_004));
    assert_eq!(silent(&input, 1_005), Nanos::from_secs(5), "nothing was ever heard");
    for (index, line) in (0_i64..).zip([0, 1, 1]) {
        let (before, now) = (input.counters().packet_count, 1_010 + 10 * index);
        sender.send_to(Header::heartbeat(SESSION, 1).as_bytes(), to[line]).unwrap();
        run_at(&mut input, &mut events, at(now), |input| input.counters().packet_count > before);
        assert_eq!(silent(&input, now), Nanos::ZERO);
        step(&mut input, &mut events, at(now + 3));
        assert_eq!(silent(&input, now + 3), Nanos::from_secs(3), "a step without a packet is silence");
        assert_eq!(silent(&input, now - 1), Nanos::ZERO);
    }
}

/// A source that cannot be opened, with every right in the world, ends the start; where a fallback is wished for the lines
/// are received by UDP sockets, and the reason is kept.
#[test]
fn what_cannot_be_opened_falls_back_where_that_is_wished_for() {
    let ring = SourceKind::PacketRing(RingOptions { block_len: 1, ..RingOptions::default() });
    let xdp = SourceKind::Xdp(XdpOptions { frame_count: 3, ..XdpOptions::default() });
    for (source, name) in [(ring, "packet ring"), (xdp, "AF_XDP")] {
        let plan = LivePlan { source, ..LivePlan::new(vec![any_port()], 10) };
        let error = LiveInput::open(&plan, &[]).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
        let mut input = LiveInput::open(&LivePlan { has_fallback: true, ..plan }, &[]).unwrap();
        assert_eq!(input.fallback(), Some(error.as_str()));
        let facts = input.facts()[0];
        assert_eq!(facts.way, Way::Udp);
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(&packet(1, 2), facts.local).unwrap();
        let mut events = Vec::new();
        run(&mut input, &mut events, |events| events.len() >= 3);
        assert_eq!(events.iter().filter(|event| event.kind == EventKind::SystemEvent).count(), 2);
    }
    let udp = LiveInput::open(&LivePlan { has_fallback: true, ..LivePlan::new(vec![any_port()], 10) }, &[]).unwrap();
    assert_eq!(udp.fallback(), None);
}

/// What the socket of the servers' answers drops is counted like what the lines drop.
#[test]
fn an_answer_that_does_not_fit_is_counted() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, server.local_addr().unwrap().port());
    let mut plan = LivePlan::new(vec![any_port()], 10);
    plan.recovery = Some(RecoveryPlan {
        servers: vec![address],
        interface: Ipv4Addr::LOCALHOST,
        snapshot: None,
        config: RecoveryConfig::default(),
    });
    let mut input = LiveInput::open(&plan, &[]).unwrap();
    let to = input.facts()[0].local;
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut events = Vec::new();
    sender.send_to(&packet(1, 2), to).unwrap();
    sender.send_to(&packet(5, 1), to).unwrap();
    run_at(&mut input, &mut events, EpochNanos(0), |input| input.feed().arbiter().missing().is_some());
    // The recovery sees it, too.
    step(&mut input, &mut events, EpochNanos(0));
    step(&mut input, &mut events, EpochNanos(0));
    let late = EpochNanos(0).plus(Nanos::from_millis(5));
    run_at(&mut input, &mut events, late, |input| input.counters().recovery.request_count == 1);
    let (_, from) = server.recv_from(&mut [0; 64]).unwrap();
    assert_eq!(input.counters().oversize_count, 0);
    server.send_to(&[1; 3_000], from).unwrap();
    run_at(&mut input, &mut events, late, |input| input.counters().oversize_count == 1);
}

/// A connection to the snapshot service is closed when the other line has brought everything before the snapshot began.
#[test]
fn a_snapshot_that_is_needed_no_more_is_left() {
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, service.local_addr().unwrap().port());
    let (username, password) = (Username::new("user").unwrap(), Password::new("word").unwrap());
    let mut plan = LivePlan::new(vec![any_port(), any_port()], 10);
    plan.recovery = Some(RecoveryPlan {
        servers: Vec::new(),
        interface: Ipv4Addr::LOCALHOST,
        snapshot: Some(SnapshotPlan::new(address, username, password)),
        config: RecoveryConfig::default(),
    });
    let mut input = LiveInput::open(&plan, &[]).unwrap();
    let to: Vec<SocketAddrV4> = input.facts().iter().map(|facts| facts.local).collect();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut events = Vec::new();
    sender.send_to(&packet(1, 2), to[0]).unwrap();
    sender.send_to(&packet(5, 1), to[0]).unwrap();
    run_at(&mut input, &mut events, EpochNanos(0), |input| input.feed().arbiter().missing().is_some());
    // The recovery sees it, too.
    step(&mut input, &mut events, EpochNanos(0));
    step(&mut input, &mut events, EpochNanos(0));
    service.set_nonblocking(true).unwrap();
    let (mut stream, late) = (None, EpochNanos(0).plus(Nanos::from_millis(5)));
    run_at(&mut input, &mut events, late, |_| {
        stream = service.accept().ok();
        stream.is_some()
    });
    sender.send_to(&packet(3, 2), to[1]).unwrap();
    run_at(&mut input, &mut events, late, |input| input.counters().recovery.snapshot_needless_count == 1);
    let (mut stream, _) = stream.unwrap();
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // What it sent before, if anything, is its login.
    let mut sent = Vec::new();
    let ended = stream.read_to_end(&mut sent);
    assert!(ended.is_ok() || ended.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset));
    let counters = input.counters().recovery;
    assert_eq!((counters.snapshot_count, counters.snapshot_failed_count), (0, 0), "{counters:?}");
    assert_eq!(events.last().map(|event| event.kind), Some(EventKind::GapEnd));
}

#[test]
fn events_come_out_of_packets_and_the_other_line_fills_a_gap() {
    let mut input = LiveInput::open(&LivePlan::new(vec![any_port(), any_port()], 10), &[]).unwrap();
    let to: Vec<SocketAddrV4> = input.facts().iter().map(|facts| facts.local).collect();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut events = Vec::new();
    sender.send_to(&packet(1, 2), to[0]).unwrap();
    sender.send_to(&packet(5, 1), to[0]).unwrap();
    run(&mut input, &mut events, |events| events.len() == 4);
    sender.send_to(&packet(3, 2), to[1]).unwrap();
    run(&mut input, &mut events, |events| events.len() == 8);
    sender.send_to(Header::end_of_session(SESSION, 6).as_bytes(), to[1]).unwrap();
    run(&mut input, &mut events, |events| events.len() == 9);
    let kinds: Vec<EventKind> = events.iter().map(|event| event.kind).collect();
    let system = EventKind::SystemEvent;
    let expected =
        [EventKind::SessionStart, system, system, EventKind::GapStart, system, system, system, EventKind::GapEnd];
    assert_eq!(kinds, [&expected[..], &[EventKind::SessionEnd]].concat());
    assert!(events.windows(2).all(|pair| pair[0].recv_time <= pair[1].recv_time));
    assert_eq!(input.counters().packet_count, 4);
    let mut none = |event: MarketEvent| Err(Full(event));
    assert_eq!(input.close(&mut none).unwrap(), None);
    assert_eq!(input.step(EpochNanos(0), &mut none).unwrap(), LiveStep::Ended);
}
