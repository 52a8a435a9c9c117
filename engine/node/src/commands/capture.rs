//! `peregrine capture`: writes what arrives on the lines of a feed to pcapng, until a limit is reached or Ctrl-C; with a
//! profile also what servers bring of what every line lost, and until the session ends.

mod found;
mod holes;
mod whole;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use peregrine_report::format::bytes;
use peregrine_runtime::StopFlag;
use peregrine_source::live::{
    BusyPoll, LineAddress, LiveSource, Recorded, Recorder, RecorderPlan, SocketFacts, SocketOptions, StampWish,
    UdpSource,
};
use peregrine_source::{RecordedFeed, RecordedRecovery, Source};
use peregrine_types::Nanos;
use peregrine_wire::arbiter::LINE_COUNT_MAX;

use crate::cli::CaptureArgs;
use crate::commands::note;
use crate::exit::{Exit, Failure};
use found::Found;
use holes::HoleWatch;

/// Packets between two looks at the clock and at Ctrl-C while packets come without a pause.
const PACKETS_PER_TURN: usize = 1_024;
/// How long nothing is done when nothing waits; the kernel's buffer must last for it.
const SLEEP: Duration = Duration::from_micros(50);
/// Turns in which what waits at the end is still taken: more than the largest buffer of the kernel holds.
const TURNS_AFTER_END_MAX: usize = 1_024;
const MIB: u64 = 1 << 20;

/// What a turn came to.
enum Taken {
    /// As many packets as a turn takes.
    Some,
    /// Everything that waited.
    Nothing,
    /// A limit is reached.
    Full,
}

pub(super) fn run(args: &CaptureArgs, interrupted: &StopFlag) -> Result<Exit, Failure> {
    match &args.config {
        Some(profile) => whole::run(profile, args, interrupted),
        None => run_lines(args, interrupted),
    }
}

/// Records the lines alone.
fn run_lines(args: &CaptureArgs, interrupted: &StopFlag) -> Result<Exit, Failure> {
    let lines = args.lines.iter().map(|text| parse_line(text, args.interface)).collect::<Result<Vec<_>, _>>()?;
    if lines.len() > LINE_COUNT_MAX {
        return Err(Failure::usage(format_args!(
            "{} lines are given; one feed has at most {LINE_COUNT_MAX}",
            lines.len()
        )));
    }
    let options = SocketOptions {
        batch_len: 256,
        payload_len_max: usize::from(args.payload_len_max),
        receive_buffer_len: usize::try_from(u64::from(args.socket_mib).saturating_mul(MIB)).unwrap_or(usize::MAX),
        busy_poll_us: args.busy_poll_us,
        stamp: if args.hardware_stamps { StampWish::Hardware } else { StampWish::Kernel },
    };
    let mut source = UdpSource::open(&lines, &options, None)?;
    let feed = feed_of(&lines, args);
    let recorder = Recorder::open(&recorder_plan(args), &feed)
        .map_err(|error| Failure::file("create", &args.out, &error, "give a path in a folder that can be written"))?;
    for (index, facts) in source.facts().iter().enumerate() {
        note(format_args!("line {}: {}", letter(index), fact_text(facts)));
    }
    let destinations: Vec<SocketAddrV4> = source.facts().iter().map(|facts| facts.local).collect();
    let mut watch = HoleWatch::new(feed.arbiter_config()).map_err(Failure::usage)?;
    let recorder = record(&mut source, recorder, (&destinations, &mut watch), (args, interrupted))?;
    let report = recorder.finish().map_err(|error| not_written(&args.out, &error))?;
    let found = Found {
        report,
        lines: source.line_counters(),
        backward_step_count: source.statistics().backward_step_count,
        holes: watch.finish(feed.reorder_window),
        recovery: None,
    };
    found.conclude(args)
}

/// Where the recording goes.
fn recorder_plan(args: &CaptureArgs) -> RecorderPlan {
    RecorderPlan {
        path: args.out.clone(),
        ring_len: usize::try_from(u64::from(args.ring_mib.max(1)).saturating_mul(MIB)).unwrap_or(usize::MAX),
        file_len_max: args.file_mib.map(|mib| u64::from(mib).saturating_mul(MIB)),
    }
}

fn not_written(path: &std::path::Path, error: &std::io::Error) -> Failure {
    Failure::file("write", path, error, "make room on the disk and run it again")
}

/// When a capture is over.
struct Limits<'a> {
    begin: Instant,
    span_max: Option<Duration>,
    packet_count_max: u64,
    len_max: u64,
    interrupted: &'a StopFlag,
}

impl<'a> Limits<'a> {
    fn new(args: &CaptureArgs, interrupted: &'a StopFlag) -> Self {
        Self {
            begin: Instant::now(),
            span_max: args.seconds.map(Duration::from_secs),
            packet_count_max: args.packets.unwrap_or(u64::MAX),
            len_max: args.max_mib.map_or(u64::MAX, |mib| u64::from(mib).saturating_mul(MIB)),
            interrupted,
        }
    }

    /// Whether it is to stop, whatever waits.
    fn is_over(&self, recorder: &Recorder) -> bool {
        let is_late = self.span_max.is_some_and(|span| self.begin.elapsed() >= span);
        is_late || self.interrupted.is_requested() || recorder.has_failed()
    }

    /// Whether no packet more is to be taken.
    const fn is_full(&self, recorder: &Recorder) -> bool {
        recorder.recorded_count() >= self.packet_count_max || recorder.recorded_len() >= self.len_max
    }
}

/// What the recording says about itself: lines as they come, from wherever the recording begins.
fn feed_of(lines: &[LineAddress], args: &CaptureArgs) -> RecordedFeed {
    RecordedFeed {
        line_count: u8::try_from(lines.len()).unwrap_or(u8::MAX),
        reorder_window: Nanos::from_millis(2),
        held_packet_count_max: 4_096,
        packet_len_max: args.payload_len_max,
        is_from_start: false,
        recovery: RecordedRecovery { has_retransmission: false, has_snapshot: false },
    }
}

/// Hands every packet to the recorder until a limit is reached or somebody stops it.
fn record(
    source: &mut UdpSource,
    mut recorder: Recorder,
    (destinations, watch): (&[SocketAddrV4], &mut HoleWatch),
    (args, interrupted): (&CaptureArgs, &StopFlag),
) -> Result<Recorder, Failure> {
    let limits = Limits::new(args, interrupted);
    let mut take = |recorder: &mut Recorder| -> Result<Taken, Failure> {
        for _ in 0..PACKETS_PER_TURN {
            if limits.is_full(recorder) {
                return Ok(Taken::Full);
            }
            if !source.advance()? {
                return Ok(Taken::Nothing);
            }
            let (Some(packet), Some(from)) = (source.current(), source.sender()) else { return Ok(Taken::Nothing) };
            let to = destinations.get(usize::from(packet.line.0)).copied().unwrap_or(from);
            let (interface, recv_time, payload) = (packet.line.0, packet.recv_time, packet.bytes);
            // A packet for which there is no room is counted there, and is missing in the file.
            if recorder.record(&Recorded { interface, recv_time, from, to, payload }) {
                watch.on_packet(packet.line, payload, recv_time);
            }
        }
        Ok(Taken::Some)
    };
    while !limits.is_over(&recorder) {
        match take(&mut recorder)? {
            Taken::Some => {}
            Taken::Nothing => std::thread::sleep(SLEEP),
            Taken::Full => return Ok(recorder),
        }
    }
    // What came before the end and waits in the kernel belongs to it.
    for _ in 0..TURNS_AFTER_END_MAX {
        match take(&mut recorder)? {
            Taken::Some => {}
            Taken::Nothing | Taken::Full => break,
        }
    }
    Ok(recorder)
}

fn letter(index: usize) -> char {
    u8::try_from(index).map_or('?', |index| char::from(b'A'.saturating_add(index)))
}

/// What the system granted, in words.
fn fact_text(facts: &SocketFacts) -> String {
    let buffer = u64::try_from(facts.receive_buffer_len).unwrap_or(0);
    let cut = if facts.is_buffer_granted { "" } else { ", less than asked for (net.core.rmem_max)" };
    let busy_poll = match facts.busy_poll {
        BusyPoll::Off => String::new(),
        BusyPoll::Granted(time) => format!(", busy polling {time} us"),
        BusyPoll::Refused => ", busy polling refused (needs CAP_NET_ADMIN)".to_owned(),
    };
    format!("{}, buffer {}{cut}, stamps {:?}{busy_poll}", facts.local, bytes(buffer), facts.stamp)
}

/// `GROUP:PORT` or `GROUP:PORT@INTERFACE`.
fn parse_line(text: &str, interface: Ipv4Addr) -> Result<LineAddress, Failure> {
    let refuse = || {
        Failure::usage(format_args!(
            "\"{text}\" is no line; write it as 239.192.10.1:30001, or as 239.192.10.1:30001@10.0.0.5 with the address of an interface"
        ))
    };
    let (destination, interface) = match text.split_once('@') {
        Some((destination, interface)) => (destination, interface.parse().map_err(|_| refuse())?),
        None => (text, interface),
    };
    Ok(LineAddress { destination: destination.parse().map_err(|_| refuse())?, interface })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_an_address_with_or_without_an_interface() {
        let line = parse_line("239.192.10.1:30001", Ipv4Addr::LOCALHOST).unwrap();
        assert_eq!((line.destination.port(), line.interface), (30_001, Ipv4Addr::LOCALHOST));
        let line = parse_line("239.192.10.1:30001@10.0.0.5", Ipv4Addr::LOCALHOST).unwrap();
        assert_eq!(line.interface, Ipv4Addr::new(10, 0, 0, 5));
        for text in ["239.192.10.1", "239.192.10.1:x", "239.192.10.1:1@eth0"] {
            let failure = parse_line(text, Ipv4Addr::LOCALHOST).unwrap_err();
            assert!(failure.to_string().contains(text), "{failure}");
        }
    }
}
