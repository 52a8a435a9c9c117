//! What all live sources share: several lanes, each a socket or a ring, whose packets come in the order of their stamps.

use std::net::SocketAddrV4;
use std::time::{SystemTime, UNIX_EPOCH};

use peregrine_types::{EpochNanos, Nanos};

use super::socket::SocketFacts;
use super::{LineCounters, LiveSource};
use crate::packet::MonotoneTime;
use crate::{Carrier, End, LineId, Packet, Progress, Session, Source, SourceError, StampKind, Statistics};

/// Looks of a step at rings that are read without a system call, all lanes together.
pub(super) const RING_LOOK_COUNT: u32 = 256;

/// How far packets may go on in time before lanes that show none are asked again: more may have come to them since.
const LOOK_SPAN: Nanos = Nanos::from_micros(50);

/// The packet that a lane shows.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// Its line.
    pub(crate) line: LineId,
    /// When it came.
    pub(crate) time: EpochNanos,
    /// Whose clock says so.
    pub(crate) stamp: StampKind,
}

/// One socket or ring. Sealed: the lanes of this crate are all there are.
pub trait Lane: Send {
    /// How often a step looks for a packet while none is there, the looks at all lanes together. A look that takes no system
    /// call takes a few nanoseconds, everything else that an idle thread does between two steps a hundred or more: what came
    /// meanwhile would wait for it.
    const LOOK_COUNT: u32;

    /// Receives what waits, if everything of the last call was passed.
    ///
    /// # Errors
    /// [`SourceError::Receive`].
    fn receive(&mut self) -> Result<(), SourceError>;

    /// Whether everything of the last call was passed, and more may have waited than it could take.
    fn is_behind(&self) -> bool;

    /// The packet to be read now.
    fn head(&mut self) -> Option<Head>;

    /// Its payload, and who sent it.
    fn packet(&self) -> Option<(&[u8], SocketAddrV4)>;

    /// Goes on behind it.
    fn pass(&mut self);

    /// What each of its lines did. Allocates.
    fn counters(&self) -> Vec<(LineId, LineCounters)>;

    /// What the system granted to each of its lines. Allocates.
    fn facts(&self) -> Vec<(LineId, SocketFacts)>;
}

/// The packet that is shown.
#[derive(Clone, Copy)]
struct Shown {
    lane: usize,
    line: LineId,
    recv_time: EpochNanos,
    stamp: StampKind,
    offset: u64,
}

/// Lanes as one source. Packets that wait on several lanes come in the order of their time stamps, however many wait; a
/// stamp that lies before one given out earlier (by less than 50 us, if the clocks of all lines are one) is raised to it,
/// and counted.
pub struct LaneSource<L> {
    pub(super) lanes: Vec<L>,
    /// Looks of a step at each of them.
    look_count: u32,
    session: Option<Session>,
    time: MonotoneTime,
    /// The stamp of the first packet after every lane that had none was asked.
    looked: EpochNanos,
    shown: Option<Shown>,
    statistics: Statistics,
}

/// The wall's clock, for a packet that came without a stamp.
pub(super) fn wall() -> EpochNanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    EpochNanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

impl<L: Lane> LaneSource<L> {
    pub(super) fn new(lanes: Vec<L>, session: Option<Session>) -> Self {
        let (time, looked) = (MonotoneTime::new(), EpochNanos::MIN);
        let look_count = u32::try_from(lanes.len()).ok().and_then(|count| L::LOOK_COUNT.checked_div(count));
        let look_count = look_count.unwrap_or(1);
        Self { lanes, look_count, session, time, looked, shown: None, statistics: Statistics::default() }
    }

    /// The lane whose next packet is the oldest.
    fn oldest(&mut self) -> Option<(usize, Head)> {
        let heads = self.lanes.iter_mut().enumerate();
        heads.filter_map(|(index, lane)| lane.head().map(|head| (index, head))).min_by_key(|(_, head)| head.time)
    }

    /// The lane whose next packet is the oldest of all that wait, in the system too: a lane that shows none is asked again
    /// when its last call could not take everything, and when the packets of others have gone on by [`LOOK_SPAN`] since it
    /// was asked, which happens when this thread was held up.
    fn next(&mut self) -> Result<Option<(usize, Head)>, SourceError> {
        let mut oldest = self.oldest();
        for _ in 1..self.look_count {
            if oldest.is_some() {
                break;
            }
            oldest = self.oldest();
        }
        let is_fresh = |head: &Head| head.time.since(self.looked) < LOOK_SPAN;
        if oldest.as_ref().is_some_and(|(_, head)| is_fresh(head)) && !self.lanes.iter().any(Lane::is_behind) {
            return Ok(oldest);
        }
        for lane in &mut self.lanes {
            lane.receive()?;
        }
        let oldest = self.oldest();
        self.looked = oldest.map_or(self.looked, |(_, head)| head.time);
        Ok(oldest)
    }
}

impl<L: Lane> LiveSource for LaneSource<L> {
    fn sender(&self) -> Option<SocketAddrV4> {
        self.lanes.get(self.shown?.lane)?.packet().map(|(_, from)| from)
    }

    fn facts(&self) -> Vec<SocketFacts> {
        let mut facts: Vec<_> = self.lanes.iter().flat_map(Lane::facts).collect();
        facts.sort_by_key(|(line, _)| *line);
        facts.into_iter().map(|(_, facts)| facts).collect()
    }

    fn line_counters(&self) -> Vec<LineCounters> {
        let mut counters: Vec<_> = self.lanes.iter().flat_map(Lane::counters).collect();
        counters.sort_by_key(|(line, _)| *line);
        counters.into_iter().map(|(_, counters)| counters).collect()
    }

    fn close(&mut self) {
        self.shown = None;
        self.statistics.end = End::Complete;
    }
}

impl<L: Lane> Source for LaneSource<L> {
    fn advance(&mut self) -> Result<bool, SourceError> {
        if let Some(lane) = self.shown.take().and_then(|shown| self.lanes.get_mut(shown.lane)) {
            lane.pass();
        }
        if self.has_ended() {
            return Ok(false);
        }
        let Some((index, Head { line, time, stamp })) = self.next()? else { return Ok(false) };
        let len = self.lanes.get(index).and_then(Lane::packet).map_or(0, |(payload, _)| payload.len());
        let offset = self.statistics.payload_len;
        self.statistics.record_count = self.statistics.record_count.saturating_add(1);
        self.statistics.packet_count = self.statistics.packet_count.saturating_add(1);
        self.statistics.payload_len = offset.saturating_add(u64::try_from(len).unwrap_or(0));
        let recv_time = self.time.clamp(time, &mut self.statistics);
        self.shown = Some(Shown { lane: index, line, recv_time, stamp, offset });
        Ok(true)
    }

    fn current(&self) -> Option<Packet<'_>> {
        let Shown { lane, line, recv_time, stamp, offset } = self.shown?;
        let (bytes, _) = self.lanes.get(lane)?.packet()?;
        Some(Packet { line, recv_time, stamp, bytes, offset })
    }

    fn format(&self) -> Carrier {
        Carrier::MoldUdp64
    }

    fn session(&self) -> Option<Session> {
        self.session
    }

    fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// Bytes received; a live source has no length.
    fn progress(&self) -> Progress {
        Progress { read_len: self.statistics.payload_len, total_len: 0 }
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "an overflow in a test is a finding")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};

    const LANE_COUNT: usize = 2;
    const BATCH_LEN: usize = 4;

    /// The system: what comes to each line and when, in nanoseconds, and how late it is.
    struct System {
        now: i64,
        arrivals: [VecDeque<i64>; LANE_COUNT],
        /// How long each receive call takes, in turn.
        call_times: Vec<i64>,
        call_count: usize,
    }

    /// A lane that takes what has come by now, as many at a time as it can.
    struct Queue {
        line: LineId,
        system: Arc<Mutex<System>>,
        batch: VecDeque<i64>,
        is_full: bool,
    }

    impl Lane for Queue {
        const LOOK_COUNT: u32 = 1;

        fn receive(&mut self) -> Result<(), SourceError> {
            if !self.batch.is_empty() {
                return Ok(());
            }
            let mut system = self.system.lock().unwrap();
            let now = system.now;
            let waiting = &mut system.arrivals[usize::from(self.line.0)];
            let count = waiting.iter().take_while(|time| **time <= now).count().min(BATCH_LEN);
            self.batch = waiting.drain(..count).collect();
            self.is_full = count == BATCH_LEN;
            system.now += system.call_times[system.call_count % system.call_times.len()];
            system.call_count += 1;
            Ok(())
        }

        fn is_behind(&self) -> bool {
            self.is_full && self.batch.is_empty()
        }

        fn head(&mut self) -> Option<Head> {
            let time = EpochNanos(*self.batch.front()?);
            Some(Head { line: self.line, time, stamp: StampKind::Kernel })
        }

        fn packet(&self) -> Option<(&[u8], SocketAddrV4)> {
            (!self.batch.is_empty()).then_some((&[], super::super::NOWHERE))
        }

        fn pass(&mut self) {
            self.batch.pop_front();
        }

        fn counters(&self) -> Vec<(LineId, LineCounters)> {
            Vec::new()
        }

        fn facts(&self) -> Vec<(LineId, SocketFacts)> {
            Vec::new()
        }
    }

    /// A line whose last call took all there was says nothing, while another one, asked since, shows packets that are much
    /// later: it may have got older ones meanwhile, and is asked first.
    #[test]
    fn a_line_that_had_nothing_is_asked_again_before_much_later_packets_of_another() {
        let arrivals = [vec![1_000, 2_000, 3_000, 500_000], vec![100, 200, 300, 400, 600_000]].map(VecDeque::from);
        let system = Arc::new(Mutex::new(System { now: 10_000, arrivals, call_times: vec![300], call_count: 0 }));
        let lane =
            |line| Queue { line: LineId(line), system: Arc::clone(&system), batch: VecDeque::new(), is_full: false };
        let mut source = LaneSource::new(vec![lane(0), lane(1)], None);
        let mut taken = Vec::new();
        while source.advance().unwrap() {
            taken.push(source.shown.unwrap().recv_time.0);
            if taken.len() == 4 {
                // The thread was held up: what comes from here on has come to both lines.
                system.lock().unwrap().now = 1_000_000;
            }
        }
        assert_eq!(taken, [100, 200, 300, 400, 1_000, 2_000, 3_000, 500_000, 600_000]);
        assert_eq!(source.statistics().backward_step_count, 0);
    }

    /// A ring that shows its packet from its `shows_at`th look on, from 1.
    struct Scanned {
        line: LineId,
        time: i64,
        shows_at: u32,
        looks: u32,
        is_passed: bool,
    }

    impl Lane for Scanned {
        const LOOK_COUNT: u32 = 16;

        fn receive(&mut self) -> Result<(), SourceError> {
            Ok(())
        }

        fn is_behind(&self) -> bool {
            false
        }

        fn head(&mut self) -> Option<Head> {
            self.looks += 1;
            let is_shown = !self.is_passed && self.looks >= self.shows_at;
            is_shown.then_some(Head { line: self.line, time: EpochNanos(self.time), stamp: StampKind::Kernel })
        }

        fn packet(&self) -> Option<(&[u8], SocketAddrV4)> {
            (!self.is_passed).then_some((&[], super::super::NOWHERE))
        }

        fn pass(&mut self) {
            self.is_passed = true;
        }

        fn counters(&self) -> Vec<(LineId, LineCounters)> {
            Vec::new()
        }

        fn facts(&self) -> Vec<(LineId, SocketFacts)> {
            Vec::new()
        }
    }

    fn scanned(packets: &[(i64, u32)]) -> LaneSource<Scanned> {
        let lane = |(line, &(time, shows_at)): (u8, &(i64, u32))| Scanned {
            line: LineId(line),
            time,
            shows_at,
            looks: 0,
            is_passed: false,
        };
        LaneSource::new((0..).zip(packets).map(lane).collect(), None)
    }

    /// What comes while a step looks is that step's, and what both lanes show at a look comes by its stamps.
    #[test]
    fn a_packet_that_comes_at_any_look_of_a_step_is_taken_in_it() {
        for look in 1..=16 {
            let mut source = scanned(&[(500, look)]);
            assert!(source.advance().unwrap(), "at look {look}");
            assert_eq!(source.shown.unwrap().recv_time.0, 500);
            assert!(!source.advance().unwrap());
        }
        for look in 1..=8 {
            for (packets, order) in [([(900, look), (200, look)], [1, 0]), ([(200, look), (900, look)], [0, 1])] {
                let mut source = scanned(&packets);
                for line in order {
                    assert!(source.advance().unwrap(), "at look {look}");
                    assert_eq!(source.shown.unwrap().line, LineId(line), "at look {look}");
                }
            }
        }
    }

    /// The time of a step without a packet does not grow with the lanes.
    #[test]
    fn the_looks_of_a_step_are_shared_by_the_lanes() {
        for lane_count in 1..=4 {
            let mut source = scanned(&vec![(1, u32::MAX); lane_count]);
            assert!(!source.advance().unwrap());
            let looks: usize = source.lanes.iter().map(|lane| usize::try_from(lane.looks).unwrap()).sum();
            // And the last look at each, behind the receive calls.
            assert!((16 - lane_count..=16 + lane_count).contains(&looks), "{looks} looks at {lane_count} lanes");
        }
    }

    proptest! {
        /// However the lines load the receiver and wherever it is held up: no packet is given out behind one that came more
        /// than the span later, as long as no call between two lanes is the one that was held up.
        #[test]
        fn packets_that_wait_come_by_their_stamps(
            gaps in [prop::collection::vec(1_i64..40_000, 0..120), prop::collection::vec(1_i64..40_000, 0..120)],
            stalls in prop::collection::vec(prop_oneof![5 => Just(0_i64), 1 => 0_i64..3_000_000], 1..20),
        ) {
            let times = |gaps: &Vec<i64>| gaps.iter().scan(0, |time, gap| { *time += gap; Some(*time) }).collect();
            let arrivals: [VecDeque<i64>; LANE_COUNT] = [times(&gaps[0]), times(&gaps[1])];
            let count = arrivals[0].len() + arrivals[1].len();
            let system = Arc::new(Mutex::new(System { now: 0, arrivals, call_times: vec![300, 700], call_count: 0 }));
            let lane = |line| Queue { line: LineId(line), system: Arc::clone(&system), batch: VecDeque::new(), is_full: false };
            let mut source = LaneSource::new(vec![lane(0), lane(1)], None);
            let (mut taken, mut turn) = (Vec::new(), 0);
            while taken.len() < count {
                if source.advance().unwrap() {
                    let lane = source.shown.unwrap().lane;
                    taken.push(*source.lanes[lane].batch.front().unwrap());
                }
                system.lock().unwrap().now += 200 + stalls[turn % stalls.len()];
                turn += 1;
                prop_assert!(turn < 1_000_000);
            }
            let mut latest = 0;
            for time in taken {
                // Two calls of a round are a microsecond apart at most.
                prop_assert!(latest - time < LOOK_SPAN.0 + 1_000, "{time} comes behind {latest}");
                latest = latest.max(time);
            }
        }
    }
}
