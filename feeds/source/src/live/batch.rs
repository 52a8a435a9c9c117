//! Memory for the datagrams of one receive call, and the call itself (`recvmmsg(2)`).

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use super::control::CONTROL_LEN;

/// Most datagrams that one call takes.
pub const BATCH_LEN_MAX: usize = 1_024;
/// The longest payload that a slot can be made for: that of the longest IPv4 datagram.
pub const PAYLOAD_LEN_LIMIT: usize = crate::frame::PAYLOAD_LEN_MAX;

/// Room for control messages, aligned as the kernel writes them.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_LEN]);

/// One datagram of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Datagram<'a> {
    pub(crate) payload: &'a [u8],
    /// Who sent it.
    pub(crate) from: SocketAddrV4,
    /// The control messages beside it.
    pub(crate) control: &'a [u8],
    /// Whether it was longer than the slot: what is here is its begin only.
    pub(crate) is_cut: bool,
}

/// Slots for datagrams, filled by one call and read one by one.
pub(crate) struct Batch {
    payloads: Box<[u8]>,
    payload_len_max: usize,
    controls: Box<[Control]>,
    names: Box<[libc::sockaddr_in]>,
    vectors: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    count: usize,
    next: usize,
}

// The pointers in `vectors` and `headers` lead into the boxes beside them, are made anew for every call, and are not
// read between calls, so that the batch may move to another thread with all of them.
#[expect(unsafe_code, reason = "raw pointers into its own boxes make the struct lose Send")]
// SAFETY: see above; everything that the pointers lead to is owned by the batch and moves with it.
unsafe impl Send for Batch {}

const NO_NAME: libc::sockaddr_in =
    libc::sockaddr_in { sin_family: 0, sin_port: 0, sin_addr: libc::in_addr { s_addr: 0 }, sin_zero: [0; 8] };
const NO_VECTOR: libc::iovec = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };

/// A header of zeros: no name, no vector, no control.
#[expect(unsafe_code, reason = "the struct has private padding on some systems, so it cannot be written out")]
fn no_header() -> libc::mmsghdr {
    // SAFETY: mmsghdr is a C struct of integers and pointers; zeros are a value of each (null pointers, lengths of 0).
    unsafe { std::mem::zeroed() }
}

impl Batch {
    /// Room for `len` datagrams of at most `payload_len_max` bytes each; the only allocation.
    pub(crate) fn new(len: usize, payload_len_max: usize) -> Self {
        let len = len.clamp(1, BATCH_LEN_MAX);
        let payload_len_max = payload_len_max.clamp(1, PAYLOAD_LEN_LIMIT);
        Self {
            payloads: vec![0; len.saturating_mul(payload_len_max)].into_boxed_slice(),
            payload_len_max,
            controls: vec![Control([0; CONTROL_LEN]); len].into_boxed_slice(),
            names: vec![NO_NAME; len].into_boxed_slice(),
            vectors: vec![NO_VECTOR; len].into_boxed_slice(),
            headers: (0..len).map(|_| no_header()).collect(),
            count: 0,
            next: 0,
        }
    }

    /// How many datagrams one call takes at most.
    pub(crate) const fn len(&self) -> usize {
        self.headers.len()
    }

    /// The datagram to be read now; `None` when all of the last call were.
    #[inline]
    pub(crate) fn first(&self) -> Option<Datagram<'_>> {
        if self.next >= self.count {
            return None;
        }
        let header = self.headers.get(self.next)?;
        let len = usize::try_from(header.msg_len).unwrap_or(0).min(self.payload_len_max);
        let start = self.next.saturating_mul(self.payload_len_max);
        let control_len = header.msg_hdr.msg_controllen.min(CONTROL_LEN);
        let name = self.names.get(self.next)?;
        Some(Datagram {
            payload: self.payloads.get(start..start.saturating_add(len))?,
            from: SocketAddrV4::new(Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr)), u16::from_be(name.sin_port)),
            control: self.controls.get(self.next)?.0.get(..control_len)?,
            is_cut: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
        })
    }

    /// Passes over the datagram that [`Batch::first`] shows.
    pub(crate) const fn pass(&mut self) {
        self.next = self.next.saturating_add(1);
    }

    /// Receives what waits at `socket`, without waiting for more, and says how many datagrams that were. To be called
    /// when all before were read.
    ///
    /// # Errors
    /// What the system says, but for the two that only mean that nothing is there (`EAGAIN`, `EINTR`).
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        (self.count, self.next) = (0, 0);
        self.point();
        let len = libc::c_uint::try_from(self.headers.len()).unwrap_or(0);
        let received = receive_many(socket, &mut self.headers, len);
        match usize::try_from(received) {
            Ok(count) => {
                self.count = count.min(self.headers.len());
                Ok(self.count)
            }
            Err(_) => {
                let error = io::Error::last_os_error();
                let is_nothing = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted);
                if is_nothing { Ok(0) } else { Err(error) }
            }
        }
    }

    /// Points every header at its slot, its name and its control, whose lengths the last call has changed.
    fn point(&mut self) {
        let payloads = self.payloads.chunks_exact_mut(self.payload_len_max);
        for (vector, payload) in self.vectors.iter_mut().zip(payloads) {
            *vector = libc::iovec { iov_base: payload.as_mut_ptr().cast(), iov_len: payload.len() };
        }
        let places = self.vectors.iter_mut().zip(self.names.iter_mut().zip(self.controls.iter_mut()));
        for (header, (vector, (name, control))) in self.headers.iter_mut().zip(places) {
            header.msg_len = 0;
            header.msg_hdr.msg_name = ptr::from_mut(name).cast();
            header.msg_hdr.msg_namelen = libc::socklen_t::try_from(size_of::<libc::sockaddr_in>()).unwrap_or(0);
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = CONTROL_LEN;
            header.msg_hdr.msg_flags = 0;
        }
    }
}

#[expect(unsafe_code, reason = "a system call that writes through pointers")]
fn receive_many(socket: BorrowedFd<'_>, headers: &mut [libc::mmsghdr], len: libc::c_uint) -> libc::c_int {
    // SAFETY: `len` headers lie at the pointer (the caller took it from the slice), each pointing at one vector, one name
    // and one control of the lengths it gives, all of which `Batch::point` has just taken from boxes that live on.
    unsafe { libc::recvmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), len, libc::MSG_DONTWAIT, ptr::null_mut()) }
}
