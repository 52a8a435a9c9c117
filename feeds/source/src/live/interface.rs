//! Which interface has an address.

use std::ffi::CStr;
use std::io;
use std::net::Ipv4Addr;

/// The index and the name of the interface that has `address` (`getifaddrs(3)`).
///
/// # Errors
/// `NotFound` when no interface has it, or what the system says.
#[expect(unsafe_code, reason = "a list of the C library, walked by pointers")]
pub(super) fn interface_of(address: Ipv4Addr) -> io::Result<(u32, String)> {
    let mut first: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: the library writes the head of a list of its own into `first`.
    if unsafe { libc::getifaddrs(&raw mut first) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found = None;
    let mut next = first;
    while found.is_none() && !next.is_null() {
        // SAFETY: not null, so an element of the list, which lives until it is freed below.
        let element = unsafe { &*next };
        next = element.ifa_next;
        if address_of(element) == Some(address) {
            // SAFETY: every element has a name, which ends with a zero and lives as long as the list.
            let name = unsafe { CStr::from_ptr(element.ifa_name) };
            found = Some(name.to_owned());
        }
    }
    // SAFETY: the list came from getifaddrs, and nothing borrows from it any more.
    unsafe { libc::freeifaddrs(first) };
    let missing = || io::Error::new(io::ErrorKind::NotFound, format!("no interface has the address {address}"));
    let name = found.ok_or_else(missing)?;
    // SAFETY: the name ends with a zero.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok((index, name.to_string_lossy().into_owned())),
    }
}

/// The IPv4 address of an element.
#[expect(unsafe_code, reason = "an address of the C library behind a pointer")]
fn address_of(element: &libc::ifaddrs) -> Option<Ipv4Addr> {
    if element.ifa_addr.is_null() {
        return None;
    }
    // SAFETY: not null, so it begins with the family of the address.
    let family = unsafe { (*element.ifa_addr).sa_family };
    if libc::c_int::from(family) != libc::AF_INET {
        return None;
    }
    // SAFETY: an address of this family is a sockaddr_in, which has no need of a stricter alignment than the list gives.
    let address = unsafe { std::ptr::read_unaligned(element.ifa_addr.cast::<libc::sockaddr_in>()) };
    Some(Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr)))
}
