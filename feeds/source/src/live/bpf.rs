//! The XDP program of AF_XDP sources: assembled here, checked by the kernel's verifier when it is loaded (`bpf(2)`,
//! `Documentation/bpf/`).

use std::io;
use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::xdp::owned;

/// Commands of `bpf(2)`.
const MAP_CREATE: libc::c_long = 0;
const MAP_UPDATE: libc::c_long = 2;
const PROGRAM_LOAD: libc::c_long = 5;
const LINK_CREATE: libc::c_long = 28;
/// Kinds of maps and programs, and where a program is attached (`linux/bpf.h`).
const MAP_XSK: u32 = 17;
const PROGRAM_XDP: u32 = 6;
const ATTACH_XDP: u32 = 37;
/// Through the general path, or in the driver (`linux/if_link.h`).
const FLAG_GENERIC: u32 = 1 << 1;
const FLAG_DRIVER: u32 = 1 << 2;
/// The helper that hands a frame to a socket of a map, and what to do when there is none.
const REDIRECT_MAP: i32 = 51;
const PASS: i32 = 2;
/// Queues that the map tells apart.
const QUEUE_COUNT_MAX: u32 = 64;
/// Bytes of the verifier's words that are kept for an error.
const LOG_LEN: usize = 1 << 16;

/// What the program is to decide on.
pub(super) struct Verdicts<'a> {
    /// Where the datagrams go that the socket gets.
    pub(super) destinations: Vec<SocketAddrV4>,
    /// The socket.
    pub(super) socket: BorrowedFd<'a>,
    /// Its queue.
    pub(super) queue: u32,
}

/// A program on an interface: it goes when this does.
pub(super) struct Attached {
    _link: OwnedFd,
    _program: OwnedFd,
    _map: OwnedFd,
}

/// An instruction (`struct bpf_insn`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
struct Step {
    code: u8,
    /// Destination in the low half, source in the high half.
    registers: u8,
    offset: i16,
    value: i32,
}

const fn step(code: u8, to: u8, from: u8, offset: i16, value: i32) -> Step {
    Step { code, registers: to | from << 4, offset, value }
}

/// Calls `bpf(2)` with the attributes of one command.
#[expect(unsafe_code, reason = "a system call that no safe interface has")]
fn call<T>(command: libc::c_long, attributes: &T) -> i64 {
    let len = libc::c_long::try_from(size_of::<T>()).unwrap_or(0);
    // SAFETY: the attributes are read from a value of the length given; every pointer within leads to memory that the
    // caller keeps for the length of the call.
    unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), len) }
}

fn make_map(count: u32) -> io::Result<OwnedFd> {
    // Kind, bytes of a key, bytes of a value, entries, flags.
    owned(call(MAP_CREATE, &[MAP_XSK, 4, 4, count, 0]))
}

/// `struct` of BPF_MAP_UPDATE_ELEM.
#[repr(C)]
struct Update {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// `struct` of BPF_PROG_LOAD, as far as it is used.
#[repr(C)]
struct Load {
    kind: u32,
    step_count: u32,
    steps: u64,
    licence: u64,
    log_level: u32,
    log_len: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

fn number(descriptor: &impl AsRawFd) -> u32 {
    u32::try_from(descriptor.as_raw_fd()).unwrap_or(0)
}

fn address_of<T: ?Sized>(value: &T) -> u64 {
    u64::try_from(std::ptr::from_ref(value).cast::<u8>().expose_provenance()).unwrap_or(0)
}

/// Whether programs may be loaded: a map is made and thrown away.
///
/// # Errors
/// What the system says.
pub(super) fn probe() -> io::Result<()> {
    make_map(1).map(drop)
}

/// Puts the program on the interface with this index.
///
/// # Errors
/// What the system says; for a program that the verifier refuses, its words.
pub(super) fn attach(verdicts: &Verdicts<'_>, interface: u32, is_generic: bool) -> io::Result<Attached> {
    let map = make_map(QUEUE_COUNT_MAX)?;
    let (key, value) = (verdicts.queue, number(&verdicts.socket));
    let update = Update { map: number(&map), padding: 0, key: address_of(&key), value: address_of(&value), flags: 0 };
    if call(MAP_UPDATE, &update) != 0 {
        return Err(io::Error::last_os_error());
    }
    let program = load(&assemble(&verdicts.destinations, map.as_raw_fd()))?;
    let flags = if is_generic { FLAG_GENERIC } else { FLAG_DRIVER };
    // Program, interface, kind of attachment, flags.
    let link = owned(call(LINK_CREATE, &[number(&program), interface, ATTACH_XDP, flags]))?;
    Ok(Attached { _link: link, _program: program, _map: map })
}

/// Loads a program. The verifier is asked for its words only when it refuses: a valid program whose words do not fit would be
/// refused for them (`ENOSPC`).
fn load(steps: &[Step]) -> io::Result<OwnedFd> {
    let licence = c"Dual MIT/GPL";
    let attributes = Load {
        kind: PROGRAM_XDP,
        step_count: u32::try_from(steps.len()).map_err(io::Error::other)?,
        steps: address_of(steps),
        licence: address_of(licence.to_bytes_with_nul()),
        log_level: 0,
        log_len: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    let error = match owned(call(PROGRAM_LOAD, &attributes)) {
        Ok(program) => return Ok(program),
        Err(error) => error,
    };
    let mut log = vec![0_u8; LOG_LEN];
    let with_log = Load {
        log_level: 1,
        log_len: u32::try_from(LOG_LEN).map_err(io::Error::other)?,
        log: u64::try_from(log.as_mut_ptr().expose_provenance()).map_err(io::Error::other)?,
        ..attributes
    };
    owned(call(PROGRAM_LOAD, &with_log)).map_err(|_| {
        let words = String::from_utf8_lossy(log.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned();
        let last = words.lines().rev().find(|line| !line.is_empty()).unwrap_or("no word of the verifier").to_owned();
        io::Error::new(error.kind(), format!("{error} ({last})"))
    })
}

/// The program: IPv4 without options, UDP, no fragment, one of the destinations: to the socket of the frame's queue.
/// Everything else passes.
///
/// Registers: 6 the context (`struct xdp_md`: begin 0, end 4, queue 16), 2 begin, 3 end, 4 and 5 what is compared.
fn assemble(destinations: &[SocketAddrV4], map: i32) -> Vec<Step> {
    let big16 = |value: u16| i32::from(u16::from_ne_bytes(value.to_be_bytes()));
    let mut steps = vec![
        step(0xbf, 6, 1, 0, 0),  // r6 = context
        step(0x61, 2, 6, 0, 0),  // r2 = begin
        step(0x61, 3, 6, 4, 0),  // r3 = end
        step(0xbf, 4, 2, 0, 0),  // r4 = begin
        step(0x07, 4, 0, 0, 42), // r4 += Ethernet, IPv4 and UDP headers
    ];
    // Jumps to `pass` are written once it is known where that is.
    let mut to_pass = vec![steps.len()];
    steps.push(step(0x2d, 4, 3, 0, 0)); // if r4 > r3
    let checks = [
        (0x69, 12, big16(0x0800)), // EtherType
        (0x71, 14, 0x45),          // version 4, header of 20 bytes
        (0x71, 23, 17),            // UDP
    ];
    for (width, at, wanted) in checks {
        steps.push(step(width, 5, 2, at, 0));
        to_pass.push(steps.len());
        steps.push(step(0x55, 5, 0, 0, wanted)); // if r5 != wanted
    }
    steps.push(step(0x69, 5, 2, 20, 0)); // flags and fragment offset
    steps.push(step(0x57, 5, 0, 0, big16(0x3fff))); // r5 &= all but "do not fragment"
    to_pass.push(steps.len());
    steps.push(step(0x55, 5, 0, 0, 0));
    steps.push(step(0x61, 5, 2, 30, 0)); // destination address
    steps.push(step(0x69, 4, 2, 36, 0)); // destination port
    let mut to_redirect = Vec::new();
    for destination in destinations {
        let address = i32::from_ne_bytes(destination.ip().octets());
        steps.push(step(0x56, 5, 0, 1, address)); // if the lower half of r5 is another address: over the next
        to_redirect.push(steps.len());
        steps.push(step(0x15, 4, 0, 0, big16(destination.port())));
    }
    let pass = steps.len();
    steps.push(step(0xb7, 0, 0, 0, PASS));
    steps.push(step(0x95, 0, 0, 0, 0));
    let redirect = steps.len();
    steps.push(step(0x61, 2, 6, 16, 0)); // r2 = queue
    steps.push(step(0x18, 1, 1, 0, map)); // r1 = the map, an instruction of two halves
    steps.push(step(0, 0, 0, 0, 0));
    steps.push(step(0xb7, 3, 0, 0, PASS)); // r3 = what to do without a socket
    steps.push(step(0x85, 0, 0, 0, REDIRECT_MAP));
    steps.push(step(0x95, 0, 0, 0, 0));
    for (jumps, target) in [(to_pass, pass), (to_redirect, redirect)] {
        for at in jumps {
            let distance = target.saturating_sub(at.saturating_add(1));
            if let Some(jump) = steps.get_mut(at) {
                jump.offset = i16::try_from(distance).unwrap_or(0);
            }
        }
    }
    steps
}

#[cfg(test)]
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_refused_is_told_in_the_words_of_the_verifier() {
        if let Err(error) = probe() {
            println!("skipped: programs may not be loaded: {error}");
            return;
        }
        // It returns a register that nothing was written to.
        let error = load(&[step(0x95, 0, 0, 0, 0)]).unwrap_err().to_string();
        assert!(error.contains("processed") || error.contains("R0"), "{error}");
        let valid = [step(0xb7, 0, 0, 0, PASS), step(0x95, 0, 0, 0, 0)];
        assert!(load(&valid).is_ok());
    }

    #[test]
    fn every_jump_leads_to_a_verdict() {
        let destinations = ["239.1.2.3:5000".parse().unwrap(), "10.0.0.1:6000".parse().unwrap()];
        let steps = assemble(&destinations, 7);
        assert_eq!(size_of::<Step>(), 8);
        for (at, jump) in steps.iter().enumerate().filter(|(_, step)| matches!(step.code, 0x2d | 0x55 | 0x15)) {
            let target = steps[at + 1 + usize::try_from(jump.offset).unwrap()];
            assert!(matches!(target.code, 0xb7 | 0x61), "{jump:?} at {at} leads to {target:?}");
        }
        assert_eq!(steps.iter().filter(|step| step.code == 0x95).count(), 2);
    }
}
