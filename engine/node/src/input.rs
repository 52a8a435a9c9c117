//! The input of a replay, and of a live session; datasets are built from the same one (`peregrine_source::market`).

use peregrine_runtime::{
    IntervalReader, LatencyBounds, LatencyBoundsError, LatencyRecorder, TscClock, latency_recorder,
};
use peregrine_source::SourceError;
use peregrine_source::live::{LiveInput, LiveStep, RecorderReport};
use peregrine_types::{EventFlags, EventKind, MarketEvent, Nanos, Sink};

use crate::live::{ClockFigures, ClockWatch, SilenceWatch};

pub use peregrine_source::market::{Depth, Feed, Input, InputError, InputPlan, KnownInstrument, Mdp3Plan, open_merged};

/// What a step of an input brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// A packet or message.
    Some,
    /// Nothing is there now.
    Nothing,
    /// Nothing will come any more.
    End,
}

/// Where the feed role's events come from.
pub trait EventInput: Send {
    /// Whether somebody waits for each event.
    const IS_LIVE: bool;

    /// Takes what comes next. The sink must take every event.
    ///
    /// # Errors
    /// [`SourceError`] with what broke.
    fn step(&mut self, out: &mut impl Sink<MarketEvent>) -> Result<Taken, SourceError>;

    /// The input has ended, or is ended: what still waits for missing messages is given up.
    fn finish(&mut self, out: &mut impl Sink<MarketEvent>);

    /// Everything was handed over and handled: closes what may take its time.
    fn conclude(&mut self) {}

    /// Where in the input the last packet began, in bytes.
    fn offset(&self) -> u64;

    /// Messages of the venue so far.
    fn message_count(&self) -> u64;

    /// Bytes read, and bytes that there are (0: nobody knows).
    fn progress(&self) -> (u64, u64);
}

impl EventInput for Input {
    const IS_LIVE: bool = false;

    #[inline]
    fn step(&mut self, out: &mut impl Sink<MarketEvent>) -> Result<Taken, SourceError> {
        Ok(if Self::step(self, out)? { Taken::Some } else { Taken::End })
    }

    fn finish(&mut self, out: &mut impl Sink<MarketEvent>) {
        Self::finish(self, out);
    }

    fn offset(&self) -> u64 {
        Self::offset(self)
    }

    fn message_count(&self) -> u64 {
        self.feed().counts().message_count
    }

    fn progress(&self) -> (u64, u64) {
        let progress = self.source().progress();
        (progress.read_len, progress.total_len)
    }
}

/// Name of the histogram of how long the venue's words take to come here.
pub const FEED_TIMES: &str = "feed";

/// From the venue's time stamp of an event to its receipt, by two clocks. `None` for what the venue did not say just then: what
/// was recovered, and what is an event of the feed's own.
#[inline]
fn way_here(event: &MarketEvent) -> Option<Nanos> {
    use EventKind::{GapEnd, GapStart, SessionEnd, SessionStart, SnapshotStart};
    let is_own = matches!(event.kind, GapStart | GapEnd | SessionStart | SessionEnd | SnapshotStart);
    (!is_own && !event.flags.contains(EventFlags::RECOVERED)).then(|| event.recv_time.since(event.exch_time))
}

/// A live input with the clock of its time-outs. It ends with the session: what comes after it is no part of it.
#[derive(Debug)]
pub struct ClockedInput {
    /// The lines and what recovers them.
    pub input: LiveInput,
    /// What was recorded, and what the system said when it could not be.
    pub recorded: Option<std::io::Result<Option<RecorderReport>>>,
    /// What the watch of the clocks found, once the run is over.
    pub clocks: Option<ClockFigures>,
    clock: TscClock,
    clock_watch: Option<ClockWatch>,
    silence: Option<SilenceWatch>,
    times: Option<LatencyRecorder>,
    is_over: bool,
}

impl ClockedInput {
    /// An input whose time-outs go by `clock`, which no step of the system's clock moves.
    #[must_use]
    pub const fn new(input: LiveInput, clock: TscClock) -> Self {
        let (recorded, clocks, clock_watch, silence, times) = (None, None, None, None, None);
        Self { input, recorded, clocks, clock, clock_watch, silence, times, is_over: false }
    }

    /// Measures how long the venue's words take to come here: of each packet the last one. Gives the histogram's reader too.
    ///
    /// # Errors
    /// [`LatencyBoundsError`]: none with the standard bounds.
    pub fn timed(self) -> Result<(Self, IntervalReader), LatencyBoundsError> {
        let (recorder, reader) = latency_recorder(FEED_TIMES, LatencyBounds::STANDARD)?;
        Ok((Self { times: Some(recorder), ..self }, reader))
    }

    /// Keeps the watch of the clocks until the end.
    #[must_use]
    pub fn with_clock_watch(self, watch: ClockWatch) -> Self {
        Self { clock_watch: Some(watch), ..self }
    }

    /// Tells `watch` how long the lines have been silent.
    #[must_use]
    pub fn watched_by(self, watch: SilenceWatch) -> Self {
        Self { silence: Some(watch), ..self }
    }
}

impl EventInput for ClockedInput {
    const IS_LIVE: bool = true;

    #[inline]
    fn step(&mut self, out: &mut impl Sink<MarketEvent>) -> Result<Taken, SourceError> {
        if self.is_over {
            return Ok(Taken::End);
        }
        let (is_over, now) = (&mut self.is_over, self.clock.now());
        let mut way = None;
        let step = self.input.step(now, &mut |event: MarketEvent| {
            *is_over |= event.kind == EventKind::SessionEnd;
            let answer = out.push(event);
            // What it led to has left.
            way = way_here(&event);
            answer
        })?;
        match (&mut self.times, way) {
            (Some(times), Some(way)) => times.record(way),
            (Some(times), None) => times.answer_request(),
            (None, _) => {}
        }
        if let Some(watch) = &mut self.silence {
            watch.on_silence(self.input.silent_for(now));
            watch.on_stamp(self.input.last_time(), now);
            let counters = self.input.feed().arbiter().counters();
            watch.on_disputes((counters.dispute_count, counters.settled_dispute_count));
        }
        Ok(match step {
            LiveStep::Worked => Taken::Some,
            LiveStep::Idle => Taken::Nothing,
            LiveStep::Ended => Taken::End,
        })
    }

    fn finish(&mut self, out: &mut impl Sink<MarketEvent>) {
        self.input.close_lines(out);
    }

    fn conclude(&mut self) {
        self.times = None;
        self.recorded = Some(self.input.finish_recording());
        self.clocks = self.clock_watch.take().and_then(ClockWatch::end);
    }

    fn offset(&self) -> u64 {
        self.input.offset()
    }

    fn message_count(&self) -> u64 {
        self.input.feed().decoder().counters().message_count()
    }

    fn progress(&self) -> (u64, u64) {
        (self.input.offset(), 0)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
    use std::time::{Duration, Instant};

    use peregrine_runtime::system_now;
    use peregrine_source::live::{LineAddress, LivePlan};
    use peregrine_wire::moldudp64::{PacketBuilder, Session};

    use super::*;

    /// A packet of System Events that the venue stamped at `times`, nanoseconds after midnight.
    fn packet(sequence: u64, times: &[i64]) -> Vec<u8> {
        let mut buffer = [0; 512];
        let mut builder = PacketBuilder::new(&mut buffer, Session(*b"LIVE      "), sequence).unwrap();
        for time in times {
            let mut message = [0; 12];
            (message[0], message[11]) = (b'S', b'O');
            message[5..11].copy_from_slice(&time.to_be_bytes()[2..]);
            builder.push(&message).unwrap();
        }
        builder.finish().to_vec()
    }

    /// Of each packet the last message counts; heartbeats, gaps and the session's own events do not.
    #[test]
    fn the_way_of_the_venues_words_is_measured_by_the_last_of_each_packet() {
        let line =
            LineAddress { destination: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), interface: Ipv4Addr::LOCALHOST };
        // All of it is one session: around midnight it is waited for.
        let (input, midnight) = loop {
            let input = LiveInput::open(&LivePlan::new(vec![line], 16), &[]).unwrap();
            let midnight = input.session().midnight;
            let since = system_now().since(midnight);
            if (Nanos::from_secs(1)..Nanos::from_secs(86_370)).contains(&since) {
                break (input, midnight);
            }
            std::thread::sleep(Duration::from_millis(100));
        };
        let to = input.facts()[0].local;
        let (mut input, mut reader) = ClockedInput::new(input, TscClock::calibrated()).timed().unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let ms = 1_000_000;
        let now = || system_now().since(midnight).0;
        let sent = now();
        // Three of the venue's past, a heartbeat, one of its future, and one behind a gap, which waits and is given up.
        for bytes in [
            packet(1, &[sent - 900 * ms, sent - 500 * ms]),
            packet(3, &[sent - 400 * ms]),
            packet(4, &[]),
            packet(4, &[i64::midpoint(sent, Nanos::from_secs(86_400).0)]),
            packet(6, &[sent - 300 * ms]),
        ] {
            sender.send_to(&bytes, to).unwrap();
        }
        let (mut events, mut taken, deadline) = (0, 0, Instant::now() + Duration::from_secs(20));
        while taken < 5 && Instant::now() < deadline {
            let mut count = |_: MarketEvent| {
                events += 1;
                Ok(())
            };
            taken += u32::from(input.step(&mut count).unwrap() == Taken::Some);
        }
        let passed = now() - sent;
        input.conclude();
        while reader.take_interval().is_some() {}
        let figures = reader.total();
        assert_eq!(taken, 5);
        assert!(events >= 6, "four events, the session's begin and the gap's: {events}");
        assert_eq!((figures.count, figures.clamped_count), (3, 1), "{figures:?}");
        let (least, most) = (Nanos(500 * ms), Nanos(501 * ms + passed));
        assert!(figures.min == Nanos(0) && (least..=most).contains(&figures.max), "{figures:?} after {passed} ns");
    }
}
