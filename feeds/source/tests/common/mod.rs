//! Two network namespaces joined by a veth pair, made by the test itself and gone with its threads.
#![allow(dead_code, clippy::allow_attributes, reason = "test and example each use their part")]

use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// The receiver's and the sender's address.
pub(crate) const HERE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
pub(crate) const THERE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

/// Moves the calling thread into a network namespace of its own.
#[expect(unsafe_code, reason = "a system call that no safe interface has")]
fn unshare() -> Result<(), String> {
    // SAFETY: the call changes which network the calling thread sees, and nothing in memory.
    match unsafe { libc::unshare(libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(format!("no network namespace: {}", std::io::Error::last_os_error())),
    }
}

/// Runs `ip` in the namespace of the calling thread.
fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip").args(arguments.split_ascii_whitespace()).output();
    let output = output.map_err(|error| format!("no ip command: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// What the sender's thread does with its socket.
type Job = Box<dyn FnOnce(&UdpSocket) + Send>;

/// The far end: a thread in a namespace of its own, which sends.
pub(crate) struct Far {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Far {
    /// Lets the far end do something with its socket, which sends to groups by the veth pair.
    pub(crate) fn run(&self, job: impl FnOnce(&UdpSocket) + Send + 'static) {
        self.jobs.as_ref().expect("the thread runs").send(Box::new(job)).expect("the thread runs");
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn far_thread(place: &Sender<Result<String, String>>, ready: &Receiver<()>, jobs: &Receiver<Job>) {
    let begun = unshare().and_then(|()| {
        // The link of the thread itself; the process's own is another namespace.
        std::fs::read_link("/proc/thread-self").map_err(|error| error.to_string())
    });
    let path = begun.map(|task| format!("/proc/{}/ns/net", task.display()));
    let is_there = path.is_ok();
    place.send(path).expect("the test waits");
    if !is_there || ready.recv().is_err() {
        return;
    }
    let up = ip(&format!("addr add {THERE}/24 dev far")).and_then(|()| ip("link set far up"));
    let socket = up.and_then(|()| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None);
        let socket = socket.map_err(|error| error.to_string())?;
        let bound = socket.bind(&std::net::SocketAddr::from((THERE, 0)).into());
        bound.and_then(|()| socket.set_multicast_if_v4(&THERE)).map_err(|error| error.to_string())?;
        Ok(UdpSocket::from(socket))
    });
    place.send(socket.as_ref().map(|_| String::new()).map_err(Clone::clone)).expect("the test waits");
    if let Ok(socket) = socket {
        while let Ok(job) = jobs.recv() {
            job(&socket);
        }
    }
}

/// Moves the calling thread into a namespace with one end of a veth pair, [`HERE`]; the other end is [`THERE`].
///
/// # Errors
/// Why that is not possible here.
pub(crate) fn veth() -> Result<Far, String> {
    let (place_out, place) = channel();
    let (ready, ready_in) = channel();
    let (jobs, jobs_in) = channel();
    let thread = std::thread::spawn(move || far_thread(&place_out, &ready_in, &jobs_in));
    let far = Far { jobs: Some(jobs), thread: Some(thread) };
    let wait = || place.recv().map_err(|_| "the far end died".to_owned())?;
    let path = wait()?;
    unshare()?;
    ip("link set lo up")?;
    ip("link add near type veth peer name far")?;
    ip(&format!("link set far netns {path}"))?;
    ip(&format!("addr add {HERE}/24 dev near"))?;
    ip("link set near up")?;
    ready.send(()).map_err(|_| "the far end died".to_owned())?;
    wait()?;
    Ok(far)
}
