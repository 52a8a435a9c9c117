//! The feed as a MoldUDP64 session: every message kept under its number, cut into packets, and served again on request.
//!
//! Still without sockets: messages and time go in, packets come out. Every line gets the same packets.

use peregrine_gateway::soup::{MessageStore, StoreFull};
use peregrine_types::{EpochNanos, Nanos};
use peregrine_wire::moldudp64::{Header, PacketBuilder, PacketFull, Request, Session};
use zerocopy::{FromBytes, IntoBytes};

use crate::exchange::Feed;
use crate::orders::TimeOfDay;

/// How a feed is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamConfig {
    /// Name of the session.
    pub session: Session,
    /// Longest payload in bytes, 80 to 65,000; 1,400 stays below an Ethernet frame's limit.
    pub payload_len_max: usize,
    /// An idle sender says after this long which message comes next (MoldUDP64: about a second).
    pub heartbeat_interval: Nanos,
    /// How many messages the session can have.
    pub message_count_max: usize,
    /// How many bytes they can have together.
    pub byte_count_max: usize,
}

/// What a stream counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamCounters {
    /// Packets with messages.
    pub packet_count: u64,
    /// Heartbeats and ends of session.
    pub idle_count: u64,
    /// Messages that found no room in the store: from the first one on the feed is not whole.
    pub lost_count: u64,
    /// Requests that were answered.
    pub answered_count: u64,
    /// Messages in those answers.
    pub retransmitted_count: u64,
    /// Requests that got no answer: malformed, of another session, or of messages that were not sent.
    pub refused_count: u64,
}

/// A feed under way: see the module.
#[derive(Debug)]
pub struct FeedStream {
    config: StreamConfig,
    store: MessageStore,
    /// Number of the first message that no packet carried yet.
    unsent: u64,
    sent_last: Option<EpochNanos>,
    is_over: bool,
    /// Whether the end was said once.
    is_end_said: bool,
    buffer: Box<[u8]>,
    counters: StreamCounters,
}

impl FeedStream {
    /// A session without messages.
    #[must_use]
    pub fn new(config: StreamConfig) -> Self {
        Self {
            store: MessageStore::new(config.message_count_max, config.byte_count_max),
            unsent: 1,
            sent_last: None,
            is_over: false,
            is_end_said: false,
            buffer: vec![0; config.payload_len_max.clamp(80, 65_000)].into_boxed_slice(),
            counters: StreamCounters::default(),
            config,
        }
    }

    /// Name of the session.
    #[must_use]
    pub const fn session(&self) -> Session {
        self.config.session
    }

    /// The number that the next message gets.
    #[must_use]
    pub fn next_sequence_number(&self) -> u64 {
        self.store.next_sequence_number()
    }

    /// What it counted.
    #[must_use]
    pub const fn counters(&self) -> StreamCounters {
        self.counters
    }

    /// The message with a number, `None` when there is none.
    #[must_use]
    pub fn message(&self, sequence_number: u64) -> Option<&[u8]> {
        self.store.get(sequence_number)
    }

    /// Appends a message; it leaves with the next [`FeedStream::poll`].
    ///
    /// # Errors
    /// [`StoreFull`] when the session is larger than it was made for; the message is lost and counted.
    pub fn push(&mut self, message: &[u8]) -> Result<u64, StoreFull> {
        let pushed = self.store.push(message);
        self.counters.lost_count += u64::from(pushed.is_err());
        pushed
    }

    /// Holds everything that was appended for sent, as if the session had been under way for long: whoever joins gets it
    /// from a snapshot, or asks for it.
    pub fn skip_unsent(&mut self) {
        self.unsent = self.next_sequence_number();
    }

    /// Ends the session: behind its last message the end is said, at once and then instead of heartbeats.
    pub const fn end(&mut self) {
        self.is_over = true;
    }

    /// Begins another session: its messages count from 1 again.
    pub fn begin_session(&mut self, session: Session) {
        self.config.session = session;
        self.store.clear();
        (self.unsent, self.sent_last) = (1, None);
        (self.is_over, self.is_end_said) = (false, false);
    }

    /// Hands out the packets of everything that was appended, and a heartbeat when nothing left for long.
    pub fn poll(&mut self, now: EpochNanos, on_packet: &mut impl FnMut(&[u8])) {
        while self.unsent < self.next_sequence_number() {
            let Some((len, next)) = self.pack(self.unsent, u64::MAX) else { break };
            self.unsent = next;
            self.sent_last = Some(now);
            self.counters.packet_count += 1;
            on_packet(&self.buffer[..len]);
        }
        let is_idle = self.sent_last.is_none_or(|last| now.since(last) >= self.config.heartbeat_interval);
        if is_idle || (self.is_over && !self.is_end_said) {
            self.is_end_said = self.is_over;
            let (session, next) = (self.config.session, self.next_sequence_number());
            let header =
                if self.is_over { Header::end_of_session(session, next) } else { Header::heartbeat(session, next) };
            self.sent_last = Some(now);
            self.counters.idle_count += 1;
            on_packet(header.as_bytes());
        }
    }

    /// The moment of the next heartbeat, if nothing is appended before; `None` before the first packet.
    #[must_use]
    pub fn next_deadline(&self) -> Option<EpochNanos> {
        self.sent_last.map(|last| last.plus(self.config.heartbeat_interval))
    }

    /// Whether messages wait for a packet.
    #[must_use]
    pub fn has_unsent(&self) -> bool {
        self.unsent < self.next_sequence_number()
    }

    /// The answer to a request for retransmission: as many whole messages as were asked for and fit one packet. No
    /// answer to a request of another session, or of messages that were not sent yet (MoldUDP64, Request Packet).
    pub fn answer(&mut self, request: &[u8]) -> Option<&[u8]> {
        let answer = self.answer_len(request);
        let Some((len, count)) = answer else {
            self.counters.refused_count += 1;
            return None;
        };
        self.counters.answered_count += 1;
        self.counters.retransmitted_count += count;
        self.buffer.get(..len)
    }

    fn answer_len(&mut self, request: &[u8]) -> Option<(usize, u64)> {
        let request = Request::ref_from_bytes(request).ok()?;
        let first = request.sequence_number.get();
        let is_known = request.session == self.config.session && first >= 1 && first < self.unsent;
        if !is_known || request.requested_count.get() == 0 {
            return None;
        }
        let end = first.saturating_add(u64::from(request.requested_count.get())).min(self.unsent);
        let (len, next) = self.pack(first, end)?;
        Some((len, next - first))
    }

    /// Builds a packet of the messages from `first` on, before `end`: its length, and the number behind its last one.
    fn pack(&mut self, first: u64, end: u64) -> Option<(usize, u64)> {
        let mut builder = PacketBuilder::new(&mut self.buffer, self.config.session, first).ok()?;
        let mut next = first;
        while next < end {
            let Some(message) = self.store.get(next) else { break };
            match builder.push(message) {
                Ok(()) => next += 1,
                Err(PacketFull) => break,
            }
        }
        (next > first).then(|| (builder.finish().len(), next))
    }
}

impl Feed for FeedStream {
    /// A message that finds no room is counted: whoever runs the stream must look at the counters.
    fn on_message(&mut self, _: TimeOfDay, message: &[u8]) {
        if self.push(message).is_err() {
            debug_assert!(self.counters.lost_count > 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peregrine_wire::moldudp64::{Packet, PacketKind};

    const SESSION: Session = Session(*b"VENUE00001");

    fn stream(message_count_max: usize) -> FeedStream {
        FeedStream::new(StreamConfig {
            session: SESSION,
            payload_len_max: 80,
            heartbeat_interval: Nanos::from_secs(1),
            message_count_max,
            byte_count_max: 10_000,
        })
    }

    fn packets(stream: &mut FeedStream, now: i64) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        stream.poll(EpochNanos(now), &mut |packet| packets.push(packet.to_vec()));
        packets
    }

    fn request(session: Session, first: u64, count: u16) -> Vec<u8> {
        Request { session, sequence_number: first.into(), requested_count: count.into() }.as_bytes().to_vec()
    }

    #[test]
    fn messages_leave_once_in_packets_that_fit() {
        let mut stream = stream(100);
        for byte in 0..10_u8 {
            assert_eq!(stream.push(&[byte; 20]), Ok(u64::from(byte) + 1));
        }
        let packets = packets(&mut stream, 5);
        let mut numbers = Vec::new();
        for bytes in &packets {
            let packet = Packet::parse(bytes).unwrap();
            assert!(bytes.len() <= 80 && packet.message_count() == 2);
            for (number, block) in (packet.sequence_number()..).zip(packet.blocks()) {
                numbers.push(number);
                assert_eq!(block, stream.message(number).unwrap());
            }
        }
        assert_eq!(numbers, (1..=10).collect::<Vec<_>>());
        assert!(!stream.has_unsent());
        assert_eq!(stream.next_deadline(), Some(EpochNanos(1_000_000_005)));
    }

    #[test]
    fn silence_is_filled_and_the_end_is_said() {
        let mut stream = stream(100);
        stream.push(b"one").unwrap();
        assert_eq!(packets(&mut stream, 0).len(), 1);
        assert_eq!(packets(&mut stream, 999_999_999).len(), 0);
        let beat = packets(&mut stream, 1_000_000_000);
        let packet = Packet::parse(&beat[0]).unwrap();
        assert_eq!((packet.kind(), packet.sequence_number()), (PacketKind::Heartbeat, 2));
        stream.push(b"two").unwrap();
        stream.end();
        let last = packets(&mut stream, 1_000_000_001);
        assert_eq!(Packet::parse(&last[0]).unwrap().kind(), PacketKind::Data);
        assert_eq!(last.len(), 2, "the end follows at once");
        let end = packets(&mut stream, 2_000_000_001);
        assert_eq!((end.len(), &end[0]), (1, &last[1]), "and again");
        let packet = Packet::parse(&end[0]).unwrap();
        assert_eq!((packet.kind(), packet.sequence_number()), (PacketKind::EndOfSession, 3));
        stream.begin_session(Session(*b"VENUE00002"));
        stream.push(b"again").unwrap();
        let first = packets(&mut stream, 2_000_000_002);
        let packet = Packet::parse(&first[0]).unwrap();
        assert_eq!((packet.session(), packet.sequence_number()), (Session(*b"VENUE00002"), 1));
    }

    #[test]
    fn only_what_was_sent_is_sent_again() {
        let mut stream = stream(100);
        for byte in 0..10_u8 {
            stream.push(&[byte; 20]).unwrap();
        }
        assert_eq!(stream.answer(&request(SESSION, 1, 1)), None, "nothing was sent yet");
        packets(&mut stream, 0);
        let mut asked = 3;
        while asked < 9 {
            let answer = stream.answer(&request(SESSION, asked, u16::try_from(9 - asked).unwrap())).unwrap().to_vec();
            let packet = Packet::parse(&answer).unwrap();
            assert_eq!(packet.sequence_number(), asked);
            assert!(packet.message_count() > 0 && packet.next_sequence_number() <= 9);
            asked = packet.next_sequence_number();
        }
        for (session, first, count) in
            [(Session(*b"ANOTHER   "), 1, 1), (SESSION, 0, 1), (SESSION, 11, 1), (SESSION, 1, 0)]
        {
            assert_eq!(stream.answer(&request(session, first, count)), None);
        }
        assert_eq!(stream.answer(b"no request"), None);
        let counters = stream.counters();
        assert_eq!((counters.retransmitted_count, counters.refused_count), (6, 6));
    }

    #[test]
    fn a_full_store_is_said_and_counted() {
        let mut stream = stream(1);
        assert_eq!((stream.push(b"a"), stream.push(b"b")), (Ok(1), Err(StoreFull)));
        assert_eq!(stream.counters().lost_count, 1);
    }
}
