//! Rings and taps ask for stamps where the kernel takes a frame over, over loopback: the kernel says of each frame whether
//! it had one. A binary of its own: any other socket of the machine that wishes for stamps switches them on for all, and
//! then this says nothing.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests; a skipped test says so")]

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use peregrine_source::Source as _;
use peregrine_source::live::{LineAddress, LiveSource as _, PacketRingSource, RingKind, RingOptions, Tap};

/// Frames that must be stamped early in a row.
const COUNT: u64 = 200;

/// One test at a time: each would switch the other's stamps on.
static TURN: Mutex<()> = Mutex::new(());

/// A socket that sends, and a port of this host that nobody listens to.
fn sender() -> (UdpSocket, SocketAddrV4) {
    let bound = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = bound.local_addr().unwrap().port();
    drop(bound);
    (UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(), SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}

/// Sends one frame after the other until `is_early` said yes of [`COUNT`] of them in a row. The kernel switches stamps on a
/// little later than it is asked to, so the first ones may be late.
fn all_early(to: SocketAddrV4, socket: &UdpSocket, mut is_early: impl FnMut() -> Option<bool>) -> bool {
    let (mut in_a_row, mut sent, deadline) = (0, 0_u64, Instant::now() + Duration::from_secs(20));
    while in_a_row < COUNT && sent < 20 * COUNT && Instant::now() < deadline {
        socket.send_to(&[7; 64], to).unwrap();
        sent += 1;
        let until = Instant::now() + Duration::from_secs(5);
        let said = loop {
            match is_early() {
                None if Instant::now() < until => std::thread::yield_now(),
                said => break said,
            }
        };
        in_a_row = if said.unwrap() { in_a_row + 1 } else { 0 };
        if in_a_row == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    in_a_row == COUNT
}

#[test]
fn a_ring_stamps_frames_where_the_kernel_takes_them_over() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for kind in [RingKind::Frames, RingKind::Blocks] {
        let (socket, to) = sender();
        let line = LineAddress { destination: to, interface: Ipv4Addr::LOCALHOST };
        let options = RingOptions { kind, block_len: 1 << 16, block_count: 16, ..RingOptions::default() };
        let mut source = match PacketRingSource::open(&[line], &options, None) {
            Ok(source) => source,
            Err(error) => {
                println!("skipped: packet ring: {error}");
                return;
            }
        };
        let mut late = 0;
        let is_all = all_early(to, &socket, || {
            source.advance().unwrap().then(|| {
                let before = std::mem::replace(&mut late, source.line_counters()[0].late_stamp_count);
                before == late
            })
        });
        assert!(is_all, "{kind:?}: {:?}", source.line_counters());
    }
}

#[test]
fn a_tap_stamps_frames_where_the_kernel_takes_them_over() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (socket, to) = sender();
    let mut tap = match Tap::open(Ipv4Addr::LOCALHOST, 1) {
        Ok(tap) => tap,
        Err(error) => {
            println!("skipped: tap: {error}");
            return;
        }
    };
    // Of each datagram both ways are seen; others pass too, with the port at another place than behind 36 bytes.
    let of_ours = || {
        let frame = tap.advance()?;
        let is_ours = frame.bytes.get(36..38) == Some(&to.port().to_be_bytes()[..]);
        (is_ours && !frame.is_outgoing).then_some(frame.is_stamped_early)
    };
    assert!(all_early(to, &socket, of_ours));
}
