//! `peregrine capture`: writes what arrives on the lines of a feed to pcapng, until a limit is reached or Ctrl-C.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use peregrine_report::format::{bytes, count};
use peregrine_report::table::Table;
use peregrine_runtime::StopFlag;
use peregrine_source::live::{
    BusyPoll, LineAddress, LineCounters, LiveSource, Recorded, Recorder, RecorderPlan, RecorderReport, SocketFacts,
    SocketOptions, StampWish, UdpSource,
};
use peregrine_source::{RecordedFeed, RecordedRecovery, Source};
use peregrine_types::Nanos;
use peregrine_wire::arbiter::LINE_COUNT_MAX;
use serde_json::json;

use crate::cli::CaptureArgs;
use crate::commands::{note, print, print_json};
use crate::exit::{Exit, Failure};

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
    let plan = RecorderPlan {
        path: args.out.clone(),
        ring_len: usize::try_from(u64::from(args.ring_mib.max(1)).saturating_mul(MIB)).unwrap_or(usize::MAX),
        file_len_max: args.file_mib.map(|mib| u64::from(mib).saturating_mul(MIB)),
    };
    let recorder = Recorder::open(&plan, &feed_of(&lines, args))
        .map_err(|error| Failure::file("create", &args.out, &error, "give a path in a folder that can be written"))?;
    for (index, facts) in source.facts().iter().enumerate() {
        note(format_args!("line {}: {}", letter(index), fact_text(facts)));
    }
    let destinations: Vec<SocketAddrV4> = source.facts().iter().map(|facts| facts.local).collect();
    let recorded = record(&mut source, recorder, &destinations, (args, interrupted));
    let report = recorded?
        .finish()
        .map_err(|error| Failure::file("write", &args.out, &error, "make room on the disk and run it again"))?;
    conclude(args, &source, &report)
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
    destinations: &[SocketAddrV4],
    (args, interrupted): (&CaptureArgs, &StopFlag),
) -> Result<Recorder, Failure> {
    let begin = Instant::now();
    let packet_count_max = args.packets.unwrap_or(u64::MAX);
    let len_max = args.max_mib.map_or(u64::MAX, |mib| u64::from(mib).saturating_mul(MIB));
    let is_over = |recorder: &Recorder| {
        let is_late = args.seconds.is_some_and(|seconds| begin.elapsed() >= Duration::from_secs(seconds));
        is_late || interrupted.is_requested() || recorder.has_failed()
    };
    let is_full =
        |recorder: &Recorder| recorder.recorded_count() >= packet_count_max || recorder.recorded_len() >= len_max;
    let mut take = |recorder: &mut Recorder| -> Result<Taken, Failure> {
        for _ in 0..PACKETS_PER_TURN {
            if is_full(recorder) {
                return Ok(Taken::Full);
            }
            if !source.advance()? {
                return Ok(Taken::Nothing);
            }
            let (Some(packet), Some(from)) = (source.current(), source.sender()) else { return Ok(Taken::Nothing) };
            let to = destinations.get(usize::from(packet.line.0)).copied().unwrap_or(from);
            let (interface, recv_time, payload) = (packet.line.0, packet.recv_time, packet.bytes);
            // A packet for which there is no room is counted there.
            let _: bool = recorder.record(&Recorded { interface, recv_time, from, to, payload });
        }
        Ok(Taken::Some)
    };
    while !is_over(&recorder) {
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

fn conclude(args: &CaptureArgs, source: &UdpSource, report: &RecorderReport) -> Result<Exit, Failure> {
    let lines = source.line_counters();
    let lost = |line: &LineCounters| line.kernel_drop_count.saturating_add(line.oversize_count);
    let lost = lines.iter().map(lost).fold(report.dropped_count, u64::saturating_add);
    let exit = if lost == 0 { Exit::Done } else { Exit::No };
    let backward_step_count = source.statistics().backward_step_count;
    if args.json {
        let of_line = |line: &LineCounters| {
            json!({"packets": line.packet_count, "kernel_drops": line.kernel_drop_count,
                "oversize": line.oversize_count, "unstamped": line.unstamped_count})
        };
        let files: Vec<String> = report.files.iter().map(|file| file.display().to_string()).collect();
        print_json(&json!({"files": files, "len": report.len, "packets": report.packet_count,
            "ring_drops": report.dropped_count, "backward_steps": backward_step_count, "lines": lines.iter().map(of_line).collect::<Vec<_>>()}))?;
        return Ok(exit);
    }
    let mut table = Table::new().left("line").right("packets").right("dropped by the kernel").right("too long");
    for (index, line) in lines.iter().enumerate() {
        let numbers = [line.packet_count, line.kernel_drop_count, line.oversize_count].map(count);
        table.row([letter(index).to_string(), numbers[0].clone(), numbers[1].clone(), numbers[2].clone()]);
    }
    let mut text = table.to_text(usize::MAX);
    for file in &report.files {
        text.push_str(&format!("{}\n", file.display()));
    }
    let whole =
        if lost == 0 { "nothing was dropped".to_owned() } else { format!("{} packets are missing", count(lost)) };
    let packets = count(report.packet_count);
    text.push_str(&format!("{packets} packets, {}, {whole}\n", bytes(report.len)));
    if backward_step_count > 0 {
        text.push_str(&format!(
            "{} packets were read behind others that came later: they stand with the time of those\n",
            count(backward_step_count)
        ));
    }
    if report.dropped_count > 0 {
        text.push_str("the disk did not keep up: give a larger --ring-mib or a faster disk\n");
    }
    if lines.iter().any(|line| line.kernel_drop_count > 0) {
        text.push_str(
            "the receiver did not keep up: give a larger --socket-mib (and net.core.rmem_max), or a core of its own\n",
        );
    }
    if lines.iter().any(|line| line.oversize_count > 0) {
        text.push_str("some packets are longer than --payload-len-max\n");
    }
    print(&text)?;
    Ok(exit)
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
