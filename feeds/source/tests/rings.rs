//! Every live source over a veth pair between two namespaces of the test's own: the same packets, in order, once.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests; a skipped test says so")]

mod common;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::{Far, HERE, THERE, veth};
use peregrine_source::frame::FrameBuilder;
use peregrine_source::live::{
    LineAddress, LiveSource, PacketRingSource, RingKind, RingOptions, SocketOptions, UdpSource, Way, XdpMode,
    XdpOptions, XdpSource,
};
use peregrine_source::{LineId, SourceError, StampKind};
use socket2::{Domain, Protocol, Socket, Type};

const GROUPS: [SocketAddrV4; 2] = [
    SocketAddrV4::new(Ipv4Addr::new(239, 255, 10, 1), 30_001),
    SocketAddrV4::new(Ipv4Addr::new(239, 255, 10, 2), 30_002),
];
const COUNT: u32 = 600;

fn lines() -> [LineAddress; 2] {
    GROUPS.map(|destination| LineAddress { destination, interface: HERE })
}

/// Sends numbered packets on both lines, and others between them that are none of theirs.
fn send(far: &Far) {
    far.run(|socket| {
        for number in 0..COUNT {
            let len = usize::try_from(number).unwrap() * 2 % 1_400;
            let payload = [&number.to_be_bytes()[..], &vec![7; len]].concat();
            socket.send_to(&payload, GROUPS[usize::from(number % 3 == 0)]).unwrap();
            if number % 50 == 0 {
                let stranger = SocketAddrV4::new(*GROUPS[0].ip(), GROUPS[1].port());
                socket.send_to(&payload, stranger).unwrap();
                socket.send_to(&[1; 3_000], GROUPS[0]).unwrap();
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
}

fn check(name: &str, source: &mut dyn LiveSource, far: &Far, is_stamped: bool) {
    send(far);
    let (mut taken, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(30));
    while taken.len() < usize::try_from(COUNT).unwrap() && Instant::now() < deadline {
        while source.advance().unwrap() {
            let packet = source.current().unwrap();
            // The fragments of a datagram that is too long come to a socket as one, and are nobody's on a ring.
            if packet.bytes.len() == 3_000 {
                continue;
            }
            let number = u32::from_be_bytes(*packet.bytes.first_chunk().unwrap());
            assert_eq!(packet.bytes.len(), 4 + usize::try_from(number).unwrap() * 2 % 1_400, "{name}");
            assert_eq!(packet.line, LineId(u8::from(number % 3 == 0)), "{name}");
            assert_eq!(packet.stamp == StampKind::Kernel, is_stamped, "{name}");
            assert_eq!(source.sender().map(|from| *from.ip()), Some(THERE), "{name}");
            taken.push((packet.line, number, packet.recv_time));
        }
    }
    assert_eq!(taken.len(), usize::try_from(COUNT).unwrap(), "{name}: {:?}", source.line_counters());
    assert!(taken.windows(2).all(|pair| pair[0].2 <= pair[1].2), "{name}: time runs back");
    for line in [LineId::A, LineId::B] {
        let numbers: Vec<u32> = taken.iter().filter(|packet| packet.0 == line).map(|packet| packet.1).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{name}: out of order");
    }
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let last = u128::try_from(taken.last().unwrap().2.0).unwrap();
    assert!(wall.abs_diff(last) < 60_000_000_000, "{name}: stamped {last} at {wall}");
    assert_eq!(source.line_counters().iter().map(|line| line.kernel_drop_count).sum::<u64>(), 0, "{name}");
    assert!(!source.advance().unwrap() && !source.has_ended(), "{name}");
    source.close();
    assert!(!source.advance().unwrap() && source.has_ended(), "{name}");
}

/// Opens a source, or says in one line why that is not possible here.
fn open<S>(name: &str, opened: Result<S, SourceError>) -> Option<S> {
    opened.map_err(|error| println!("skipped: {name}: {error}")).ok()
}

/// Sends to each line a datagram whose UDP checksum is wrong, as a frame comes that was damaged on its way, and a good one.
fn send_damaged(far: &Far) {
    far.run(|socket| {
        let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW))).unwrap();
        raw.set_header_included_v4(true).unwrap();
        raw.set_multicast_if_v4(&THERE).unwrap();
        for group in GROUPS {
            let mut frame = Vec::new();
            FrameBuilder::new(SocketAddrV4::new(THERE, 5_000), group).build(&[9; 100], &mut frame).unwrap();
            let packet = &mut frame[14..];
            packet[60] ^= 1;
            raw.send_to(packet, &group.into()).unwrap();
            socket.send_to(&[8; 4], group).unwrap();
        }
    });
}

fn check_damaged(name: &str, source: &mut dyn LiveSource, far: &Far) {
    send_damaged(far);
    let (mut taken, deadline) = (0, Instant::now() + Duration::from_secs(30));
    while taken < 2 && Instant::now() < deadline {
        while source.advance().unwrap() {
            assert_eq!(source.current().unwrap().bytes, [8; 4], "{name}");
            taken += 1;
        }
    }
    let counters = source.line_counters();
    assert_eq!((taken, counters.iter().map(|line| line.damaged_count).sum()), (2, 2_u64), "{name}: {counters:?}");
}

/// More comes than there is room for: every packet is read or counted as dropped, however often one asks.
fn check_drops(name: &str, source: &mut dyn LiveSource, far: &Far) {
    let (done, is_done) = channel();
    far.run(move |socket| {
        for number in 0..COUNT {
            socket.send_to(&number.to_be_bytes(), GROUPS[0]).unwrap();
        }
        done.send(()).unwrap();
    });
    is_done.recv_timeout(Duration::from_secs(30)).unwrap();
    let dropped =
        |source: &dyn LiveSource| source.line_counters().iter().map(|line| line.kernel_drop_count).sum::<u64>();
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut taken = 0;
    while taken + dropped(source) != u64::from(COUNT) && Instant::now() < deadline {
        while source.advance().unwrap() {
            taken += 1;
        }
    }
    assert!(taken > 0 && dropped(source) > 0, "{name}: {taken} taken, {} dropped", dropped(source));
    assert_eq!(taken + dropped(source), u64::from(COUNT), "{name}: {taken} taken");
}

#[test]
fn what_a_ring_cannot_give_is_counted_once() {
    let far = match veth() {
        Ok(far) => far,
        Err(reason) => {
            println!("skipped: {reason}");
            return;
        }
    };
    for kind in [RingKind::Frames, RingKind::Blocks] {
        let name = format!("{kind:?}");
        let roomy = RingOptions { kind, block_len: 1 << 16, block_count: 64, ..RingOptions::default() };
        if let Some(mut source) = open("packet ring", PacketRingSource::open(&lines(), &roomy, None)) {
            check_damaged(&name, &mut source, &far);
        }
        let narrow = RingOptions { kind, block_len: 4_096, block_count: 4, ..RingOptions::default() };
        if let Some(mut source) = open("packet ring", PacketRingSource::open(&lines(), &narrow, None)) {
            check_drops(&name, &mut source, &far);
        }
    }
    let options = XdpOptions { frame_count: 64, ..XdpOptions::default() };
    let Some(mut source) = open("AF_XDP", XdpSource::open(&lines(), &options, None)) else { return };
    check_damaged("AF_XDP", &mut source, &far);
    check_drops("AF_XDP", &mut source, &far);
    drop(source);
    // As many lines as a feed can have make the longest program.
    let many: Vec<LineAddress> = (0..4)
        .map(|line| {
            let destination = SocketAddrV4::new(*GROUPS[0].ip(), 40_000 + line);
            LineAddress { destination, interface: HERE }
        })
        .collect();
    XdpSource::open(&many, &options, None).map(drop).unwrap();
}

#[test]
fn every_source_gives_the_same_packets() {
    let far = match veth() {
        Ok(far) => far,
        Err(reason) => {
            println!("skipped: {reason}");
            return;
        }
    };
    let options = SocketOptions { payload_len_max: 4_096, ..SocketOptions::default() };
    if let Some(mut source) = open("udp", UdpSource::open(&lines(), &options, None)) {
        check("udp", &mut source, &far, true);
    }
    for kind in [RingKind::Frames, RingKind::Blocks] {
        let options = RingOptions { kind, block_len: 1 << 16, block_count: 64, ..RingOptions::default() };
        if let Some(mut source) = open("packet ring", PacketRingSource::open(&lines(), &options, None)) {
            check(&format!("{kind:?}"), &mut source, &far, true);
        }
    }
    let options = XdpOptions { frame_count: 1_024, ..XdpOptions::default() };
    // Twice: the queue and the interface are free again when a source is gone.
    for _ in 0..2 {
        if let Some(mut source) = open("AF_XDP", XdpSource::open(&lines(), &options, None)) {
            check("AF_XDP", &mut source, &far, false);
        }
    }
    let nowhere = LineAddress { interface: Ipv4Addr::new(10, 88, 0, 1), ..lines()[0] };
    let refused = PacketRingSource::open(&[nowhere], &RingOptions::default(), None).err().unwrap();
    assert!(refused.to_string().contains("no interface has the address 10.88.0.1"), "{refused}");
}

/// Each mode gives the same packets, or cannot be had here; without a wish it is the quickest of those that can.
#[test]
fn the_quickest_mode_that_is_granted_is_taken() {
    let far = match veth() {
        Ok(far) => far,
        Err(reason) => {
            println!("skipped: {reason}");
            return;
        }
    };
    let mut granted = Vec::new();
    for mode in [XdpMode::DriverZeroCopy, XdpMode::DriverCopy, XdpMode::Generic] {
        let options = XdpOptions { mode: Some(mode), frame_count: 1_024, ..XdpOptions::default() };
        let name = format!("{mode:?}");
        let Some(mut source) = open(&name, XdpSource::open(&lines(), &options, None)) else { continue };
        assert!(source.facts().iter().all(|facts| facts.way == Way::Xdp(mode)), "{:?}", source.facts());
        check(&name, &mut source, &far, false);
        granted.push(mode);
    }
    let Some(quickest) = granted.first() else { return };
    println!("granted: {granted:?}");
    let options = XdpOptions { frame_count: 1_024, ..XdpOptions::default() };
    let mut source = XdpSource::open(&lines(), &options, None).unwrap();
    assert!(source.facts().iter().all(|facts| facts.way == Way::Xdp(*quickest)), "{:?}", source.facts());
    check("quickest", &mut source, &far, false);
    drop(source);
    // A queue that the interface does not have is none in any mode.
    let nowhere = XdpOptions { queue: 1_000, ..options };
    assert!(XdpSource::open(&lines(), &nowhere, None).is_err());
}
