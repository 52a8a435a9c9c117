//! A session as MoldUDP64 packets on two lines, A and B, each with its own faults: loss, duplication, reordering and
//! delay, all seeded. Packets come out in the order of their arrival, whatever the delays.

use peregrine_types::{EpochNanos, Nanos};
use peregrine_wire::moldudp64::{Header, PacketBuilder, Session as MoldSession};
use zerocopy::IntoBytes;

use crate::config::{ConfigError, ConfigViolation};
use crate::lines::Lines;
use crate::session::Session;

/// How many lines carry a session at most.
pub const LINE_COUNT: usize = 2;

/// What is wrong with a line. Shares are in millionths of its packets (0 to 1,000,000).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineFaults {
    /// Packets that never arrive.
    pub loss_ppm: u32,
    /// Packets that arrive twice, the second time within `reorder_delay`.
    pub duplicate_ppm: u32,
    /// Packets that arrive late by up to `reorder_delay`, behind packets sent after them.
    pub reorder_ppm: u32,
    /// How late a reordered or duplicated packet is, at most (0 to 1 s).
    pub reorder_delay: Nanos,
    /// Delay of every packet of the line (0 to 1 s).
    pub delay: Nanos,
    /// Mean of an exponential delay on top, capped at ten means; packets of a line keep their order (0 to 1 s).
    pub jitter: Nanos,
}

/// How a session is put into packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacketConfig {
    /// Seed of the faults; streams of their own, so that the messages do not depend on it.
    pub seed: u64,
    /// Name of the session, ten bytes of ASCII.
    pub session: [u8; 10],
    /// Longest payload in bytes (80 to 65,000). 1,400 stays below an Ethernet frame's limit.
    pub payload_len_max: usize,
    /// A packet waits for more messages until its first one is this old (0 to 1 s).
    pub coalesce: Nanos,
    /// An idle sender sends a heartbeat after this long (1 ms to 1 h).
    pub heartbeat: Nanos,
    /// How many end-of-session packets close each line, a heartbeat's span apart (0 to 1,000).
    pub end_of_session_count: u32,
    /// Line A and, unless `None`, line B.
    pub lines: (LineFaults, Option<LineFaults>),
    /// Whether a packet lost on line A always arrives on line B, so that the pair loses nothing.
    pub is_recoverable: bool,
}

/// What became of the packets of one line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineReport {
    /// Packets that arrived: messages, heartbeats and ends of session, duplicates included.
    pub delivered_count: u64,
    /// Heartbeats and ends of session among them.
    pub idle_count: u64,
    /// Packets with messages that were lost.
    pub lost_count: u64,
    /// Messages in them.
    pub lost_message_count: u64,
    /// Packets that arrived twice.
    pub duplicated_count: u64,
    /// Packets that were held back.
    pub reordered_count: u64,
}

/// What became of a session's packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketReport {
    /// Messages put into packets: numbered from 1 to this.
    pub message_count: u64,
    /// Packets with messages, before the lines.
    pub packet_count: u64,
    /// Line A, line B.
    pub lines: [LineReport; LINE_COUNT],
    /// Messages that arrived on no line.
    pub missing_message_count: u64,
}

impl PacketConfig {
    /// Two lines without a fault, line B 30 µs behind.
    #[must_use]
    pub const fn clean(seed: u64) -> Self {
        const NONE: LineFaults = LineFaults {
            loss_ppm: 0,
            duplicate_ppm: 0,
            reorder_ppm: 0,
            reorder_delay: Nanos::ZERO,
            delay: Nanos::ZERO,
            jitter: Nanos::ZERO,
        };
        Self {
            seed,
            session: *b"PEREGRINE1",
            payload_len_max: 1_400,
            coalesce: Nanos::from_micros(20),
            heartbeat: Nanos::from_secs(1),
            end_of_session_count: 3,
            lines: (NONE, Some(LineFaults { delay: Nanos::from_micros(30), ..NONE })),
            is_recoverable: true,
        }
    }

    /// Two lines that lose, repeat and reorder one packet in a thousand each, none of them lost on both.
    #[must_use]
    pub const fn faulty(seed: u64) -> Self {
        let clean = Self::clean(seed);
        let faults = LineFaults {
            loss_ppm: 1_000,
            duplicate_ppm: 1_000,
            reorder_ppm: 1_000,
            reorder_delay: Nanos::from_micros(300),
            delay: Nanos::ZERO,
            jitter: Nanos::from_micros(5),
        };
        Self { lines: (faults, Some(LineFaults { delay: Nanos::from_micros(30), ..faults })), ..clean }
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`ConfigError`] with every violation.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut violations = Vec::new();
        let mut range = |key: &'static str, value: i64, low: i64, high: i64| {
            if value < low || value > high {
                violations.push(ConfigViolation { key, value: value.to_string(), bound: format!("{low} to {high}") });
            }
        };
        let second = 1_000_000_000;
        range("payload_len_max", i64::try_from(self.payload_len_max).unwrap_or(i64::MAX), 80, 65_000);
        range("coalesce", self.coalesce.0, 0, second);
        range("heartbeat", self.heartbeat.0, second / 1_000, second * 3_600);
        range("end_of_session_count", i64::from(self.end_of_session_count), 0, 1_000);
        for line in [Some(self.lines.0), self.lines.1].into_iter().flatten() {
            range("lines.loss_ppm", i64::from(line.loss_ppm), 0, 1_000_000);
            range("lines.duplicate_ppm", i64::from(line.duplicate_ppm), 0, 1_000_000);
            range("lines.reorder_ppm", i64::from(line.reorder_ppm), 0, 1_000_000);
            range("lines.reorder_delay", line.reorder_delay.0, 0, second);
            range("lines.delay", line.delay.0, 0, second);
            range("lines.jitter", line.jitter.0, 0, second);
        }
        if !self.session.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b' ') {
            let value = self.session.escape_ascii().to_string();
            violations.push(ConfigViolation {
                key: "session",
                value,
                bound: "ASCII letters, digits, spaces".to_owned(),
            });
        }
        if violations.is_empty() { Ok(()) } else { Err(ConfigError { violations }) }
    }
}

/// The sender: fills packets and keeps the pulse.
#[derive(Debug)]
struct Sender {
    session: MoldSession,
    buffer: Vec<u8>,
    messages: Vec<u8>,
    lens: Vec<u16>,
    /// Stamp of the first message that waits.
    since: EpochNanos,
    next_sequence_number: u64,
    last_sent: Option<EpochNanos>,
    packet_count: u64,
}

impl Sender {
    /// Payload length if a message of `len` bytes joined.
    const fn len_with(&self, len: usize) -> usize {
        size_of::<Header>() + self.messages.len() + 2 * (self.lens.len() + 1) + len
    }

    /// Sends what waits, at `time`.
    fn flush(&mut self, time: EpochNanos, lines: &mut Lines) {
        if self.lens.is_empty() {
            return;
        }
        let Ok(mut packet) = PacketBuilder::new(&mut self.buffer, self.session, self.next_sequence_number) else {
            return;
        };
        let mut rest = self.messages.as_slice();
        for &len in &self.lens {
            let (message, tail) = rest.split_at(usize::from(len));
            rest = tail;
            let pushed = packet.push(message);
            debug_assert!(pushed.is_ok(), "`len_with` is asked before each message joins");
        }
        let count = self.lens.len() as u64;
        lines.send(time, packet.finish(), count);
        self.next_sequence_number += count;
        self.packet_count += 1;
        self.last_sent = Some(time);
        self.messages.clear();
        self.lens.clear();
    }

    /// Takes one message, sending first what must not wait for it or has no room beside it.
    fn take(&mut self, time: EpochNanos, message: &[u8], config: &PacketConfig, lines: &mut Lines) {
        let due = self.since.plus(config.coalesce);
        if !self.lens.is_empty() && due <= time {
            self.flush(due, lines);
        }
        if self.len_with(message.len()) > self.buffer.len() {
            self.flush(time, lines);
        }
        if self.lens.is_empty() {
            self.pulse(time, config, lines);
            self.since = time;
        }
        self.messages.extend_from_slice(message);
        self.lens.push(u16::try_from(message.len()).unwrap_or(u16::MAX));
    }

    /// Sends the heartbeats that fall due before `time`.
    fn pulse(&mut self, time: EpochNanos, config: &PacketConfig, lines: &mut Lines) {
        while let Some(next) = self.last_sent.map(|last| last.plus(config.heartbeat))
            && next < time
        {
            let heartbeat = Header::heartbeat(self.session, self.next_sequence_number);
            lines.send(next, heartbeat.as_bytes(), 0);
            self.last_sent = Some(next);
        }
    }

    /// Closes the session after `last`, the time of its last message.
    fn close(&mut self, last: EpochNanos, config: &PacketConfig, lines: &mut Lines) {
        self.flush(last.plus(config.coalesce), lines);
        let mut time = last.plus(config.coalesce);
        let end = Header::end_of_session(self.session, self.next_sequence_number);
        for _ in 0..config.end_of_session_count {
            time = time.plus(config.heartbeat);
            lines.send(time, end.as_bytes(), 0);
        }
    }
}

/// Puts every message that is left of `session` into packets and hands them to `on_packet` in the order of arrival:
/// line (0 for A, 1 for B), time of arrival, UDP payload (valid during the call). Sequence numbers begin at 1.
///
/// # Errors
/// [`ConfigError`] with every violation of `config`; nothing was sent then.
pub fn for_each_packet(
    session: &mut Session,
    config: &PacketConfig,
    mut on_packet: impl FnMut(u8, EpochNanos, &[u8]),
) -> Result<PacketReport, ConfigError> {
    config.validate()?;
    let mut lines = Lines::new(config);
    let mut sender = Sender {
        session: MoldSession(config.session),
        buffer: vec![0; config.payload_len_max],
        messages: Vec::new(),
        lens: Vec::new(),
        since: EpochNanos::MIN,
        next_sequence_number: 1,
        last_sent: None,
        packet_count: 0,
    };
    let mut last = EpochNanos::MIN;
    while let Some((time, message)) = session.next_message() {
        sender.take(time, message, config, &mut lines);
        lines.deliver(time, &mut on_packet);
        last = time;
    }
    if last > EpochNanos::MIN {
        sender.close(last, config, &mut lines);
    }
    lines.deliver(EpochNanos::MAX, &mut on_packet);
    Ok(lines.report(sender.packet_count, sender.next_sequence_number - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::GeneratorConfig;
    use crate::math::float;
    use peregrine_wire::moldudp64::{Packet, PacketKind};

    fn small() -> Session {
        Session::new(GeneratorConfig::every_type(5, 8, 12_000)).unwrap()
    }

    /// The messages that arrive, by number, from every line in `lines`.
    fn received(config: &PacketConfig, lines: &[u8]) -> (Vec<Option<Vec<u8>>>, PacketReport) {
        let mut messages: Vec<Option<Vec<u8>>> = Vec::new();
        let mut last = EpochNanos::MIN;
        let report = for_each_packet(&mut small(), config, |line, time, payload| {
            assert!(time >= last && payload.len() <= config.payload_len_max);
            last = time;
            let packet = Packet::parse(payload).unwrap();
            if packet.kind() == PacketKind::Data && lines.contains(&line) {
                for (number, block) in (packet.sequence_number()..).zip(packet.blocks()) {
                    let index = usize::try_from(number - 1).unwrap();
                    messages.resize(messages.len().max(index + 1), None);
                    let known = messages[index].get_or_insert_with(|| block.to_vec());
                    assert_eq!(known, block, "lines differ");
                }
            }
        });
        (messages, report.unwrap())
    }

    #[test]
    fn either_clean_line_carries_every_message_in_order() {
        let mut expected = Vec::new();
        small().for_each_message(|_, message| expected.push(Some(message.to_vec())));
        for line in [0, 1] {
            let (messages, report) = received(&PacketConfig::clean(1), &[line]);
            assert!(messages == expected, "line {line}");
            assert_eq!(report.message_count, expected.len() as u64);
            assert!(report.packet_count > 100 && report.packet_count < report.message_count);
        }
    }

    #[test]
    fn faults_happen_as_often_as_asked_and_a_recoverable_pair_loses_nothing() {
        let mut config = PacketConfig::faulty(9);
        config.lines.0.loss_ppm = 100_000;
        config.lines.1.as_mut().unwrap().loss_ppm = 200_000;
        let (alone, report) = received(&config, &[0]);
        assert!(alone.iter().any(Option::is_none));
        let (both, _) = received(&config, &[0, 1]);
        assert!(both.iter().all(Option::is_some));
        assert_eq!(report.missing_message_count, 0);
        let share = float(report.lines[0].lost_count) / float(report.packet_count);
        assert!((share - 0.1).abs() < 0.02, "{share}");
        assert!(report.lines.iter().all(|line| line.reordered_count > 0 && line.duplicated_count > 0));
        config.is_recoverable = false;
        let (both, report) = received(&config, &[0, 1]);
        let missing = both.iter().filter(|message| message.is_none()).count() as u64;
        assert!(missing > 0 && missing.abs_diff(report.missing_message_count) < 200);
    }

    #[test]
    fn reordering_makes_sequence_numbers_fall_and_its_absence_does_not() {
        let falls = |config: &PacketConfig| {
            let (mut last, mut falls) = (0, 0);
            for_each_packet(&mut small(), config, |line, _, payload| {
                let packet = Packet::parse(payload).unwrap();
                if line == 0 {
                    falls += u32::from(packet.sequence_number() < last);
                    last = packet.sequence_number();
                }
            })
            .unwrap();
            falls
        };
        let mut config = PacketConfig::clean(3);
        config.lines.0.jitter = Nanos::from_micros(50);
        assert_eq!(falls(&config), 0);
        config.lines.0.reorder_ppm = 50_000;
        config.lines.0.reorder_delay = Nanos::from_millis(50);
        assert!(falls(&config) > 10);
    }

    #[test]
    fn an_idle_line_beats_every_second_and_ends_the_session() {
        let (mut idle, mut ends, mut last, mut gap) = (0_u64, 0, None::<EpochNanos>, 0);
        let config = PacketConfig::clean(1);
        let report = for_each_packet(&mut small(), &config, |line, time, payload| {
            let packet = Packet::parse(payload).unwrap();
            if line == 1 {
                gap = gap.max(last.map_or(0, |last| time.since(last).0));
                last = Some(time);
                idle += u64::from(packet.kind() == PacketKind::Heartbeat);
                ends += u64::from(packet.kind() == PacketKind::EndOfSession);
            }
        })
        .unwrap();
        assert_eq!(ends, 3);
        assert!(idle > 60 && idle + ends == report.lines[1].idle_count);
        assert!(gap <= 1_000_000_000 + 20_000, "{gap} ns of silence");
    }

    #[test]
    fn violations_are_named_at_once() {
        let mut config = PacketConfig::faulty(1);
        config.payload_len_max = 10;
        config.lines.0.loss_ppm = 2_000_000;
        config.session[0] = b'!';
        let keys: Vec<_> = config.validate().unwrap_err().violations.iter().map(|violation| violation.key).collect();
        assert_eq!(keys, ["payload_len_max", "lines.loss_ppm", "session"]);
    }
}
