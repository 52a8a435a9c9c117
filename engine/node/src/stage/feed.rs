//! What the feed role writes to the log: it stands between the decoder and the decide role, hashes every event, and
//! notes checkpoints, symbols, sessions, gaps and trading states.

use peregrine_eventlog::Feed;
use peregrine_eventlog::records::{
    EVENTS_PER_CHECKPOINT, GapPhase, GapRecord, InputCheckpoint, SessionPhase, SessionRecord, SymbolListed,
    TradingStateRecord,
};
use peregrine_types::{EpochNanos, EventKind, EventSeq, MarketEvent};
use peregrine_wire::feed::{GAP_DIFFERS, GAP_LOST};

use super::hash::RunningHash;
use super::log::LosslessLog;

/// Events before a checkpoint from which on it counts as near.
const EVENTS_BEFORE_CHECKPOINT: u64 = 64;

/// Numbers, hashes and notes every market event.
#[derive(Debug)]
pub struct FeedLog {
    log: LosslessLog<Feed>,
    hash: RunningHash,
    event_count: u64,
    message_count: u64,
    input_offset: u64,
    last_time: EpochNanos,
    first_exch_time: Option<EpochNanos>,
    last_exch_time: Option<EpochNanos>,
    next_checkpoint: u64,
    midnight: EpochNanos,
    has_session: bool,
}

impl FeedLog {
    /// Nothing seen yet; `midnight` is that of the session's day in the venue's zone.
    #[must_use]
    pub fn new(log: LosslessLog<Feed>, midnight: EpochNanos) -> Self {
        Self {
            log,
            midnight,
            has_session: false,
            hash: RunningHash::default(),
            event_count: 0,
            message_count: 0,
            input_offset: 0,
            last_time: EpochNanos(0),
            first_exch_time: None,
            last_exch_time: None,
            next_checkpoint: EVENTS_PER_CHECKPOINT,
        }
    }

    /// Says where in the input the next events come from, and how many messages were decoded before them.
    pub const fn set_input(&mut self, input_offset: u64, message_count: u64) {
        self.input_offset = input_offset;
        self.message_count = message_count;
    }

    /// Whether the next checkpoint is so near that [`FeedLog::set_input`] is due before the next packet. It depends on
    /// nothing but events, so that a live run and a replay of its recording say the same.
    #[must_use]
    pub const fn is_checkpoint_near(&self) -> bool {
        self.event_count.saturating_add(EVENTS_BEFORE_CHECKPOINT) >= self.next_checkpoint
    }

    /// Notes an event that was passed on.
    #[inline]
    pub fn on_event(&mut self, event: &MarketEvent) {
        self.hash.value(event);
        let seq = EventSeq(self.event_count);
        self.event_count = self.event_count.saturating_add(1);
        self.last_time = event.recv_time;
        self.first_exch_time.get_or_insert(event.exch_time);
        self.last_exch_time = Some(event.exch_time);
        if !event.kind.changes_book() {
            self.note(seq, event);
        }
        if self.event_count == self.next_checkpoint {
            self.checkpoint();
            self.next_checkpoint = self.next_checkpoint.saturating_add(EVENTS_PER_CHECKPOINT);
        }
    }

    /// Writes where the input stands now; also called at its end.
    pub fn checkpoint(&mut self) {
        self.log.append(&InputCheckpoint {
            event_count: self.event_count,
            message_count: self.message_count,
            input_offset: self.input_offset,
            event_hash: self.hash.lanes(),
            recv_time: self.last_time,
        });
    }

    /// Market events so far.
    #[must_use]
    pub const fn event_count(&self) -> u64 {
        self.event_count
    }

    /// The venue's time of the first event.
    #[must_use]
    pub const fn first_exch_time(&self) -> Option<EpochNanos> {
        self.first_exch_time
    }

    /// The venue's time of the last event.
    #[must_use]
    pub const fn last_exch_time(&self) -> Option<EpochNanos> {
        self.last_exch_time
    }

    /// Hash of all events so far.
    #[must_use]
    pub const fn event_hash(&self) -> [u64; 2] {
        self.hash.lanes()
    }

    /// Whether the run is over because the log failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.log.has_failed()
    }

    fn note(&mut self, event_seq: EventSeq, event: &MarketEvent) {
        let recv_time = event.recv_time;
        match event.kind {
            EventKind::StockDirectory => self.log.append(&SymbolListed {
                name: event.symbol_name(),
                event_seq,
                recv_time,
                symbol: event.symbol,
                round_lot: u32::try_from(event.qty.0).unwrap_or(u32::MAX),
                locate: u16::try_from(event.id_b).unwrap_or(0),
                reserved: [0; 14],
            }),
            EventKind::TradingAction | EventKind::OperationalHalt | EventKind::SystemEvent | EventKind::MwcbStatus => {
                self.log.append(&TradingStateRecord {
                    event_seq,
                    recv_time,
                    exch_time: event.exch_time,
                    reason: event.id_a,
                    symbol: event.symbol,
                    kind: event.kind,
                    detail: event.detail,
                    reserved: [0; 10],
                });
            }
            EventKind::GapStart | EventKind::GapEnd => {
                let phase = match (event.kind, event.detail) {
                    (EventKind::GapStart, GAP_LOST) => GapPhase::Lost,
                    (EventKind::GapStart, GAP_DIFFERS) => GapPhase::Differs,
                    (EventKind::GapEnd, GAP_DIFFERS) => GapPhase::Settled,
                    (EventKind::GapStart, _) => GapPhase::Start,
                    (_, _) => GapPhase::Recovered,
                };
                self.log.append(&GapRecord {
                    first_missing: event.id_a,
                    next_received: event.id_b,
                    message_count: event.qty.0,
                    event_seq,
                    recv_time,
                    phase,
                    reserved: [0; 7],
                });
            }
            EventKind::SessionStart | EventKind::SessionEnd => self.note_session(event_seq, event),
            EventKind::AddOrder
            | EventKind::ExecuteOrder
            | EventKind::ExecuteOrderAtPrice
            | EventKind::CancelOrder
            | EventKind::DeleteOrder
            | EventKind::ReplaceOrder
            | EventKind::Trade
            | EventKind::CrossTrade
            | EventKind::BrokenTrade
            | EventKind::RegSho
            | EventKind::ParticipantPosition
            | EventKind::MwcbLevels
            | EventKind::IpoQuotingPeriod
            | EventKind::LuldCollar
            | EventKind::ImbalanceShares
            | EventKind::ImbalancePrices
            | EventKind::RetailInterest
            | EventKind::DirectListingPrices
            | EventKind::DirectListingCollars
            | EventKind::SnapshotStart => {}
        }
    }

    fn note_session(&mut self, event_seq: EventSeq, event: &MarketEvent) {
        let [a, b, c, d, e, f, g, h] = event.id_a.to_be_bytes();
        let [i, j] = u16::try_from(event.qty.0).unwrap_or(0).to_be_bytes();
        let record = SessionRecord {
            session: [a, b, c, d, e, f, g, h, i, j],
            phase: self.session_phase(event.kind),
            reserved: [0; 5],
            next_sequence: event.id_b,
            midnight: self.midnight,
            event_seq,
            recv_time: event.recv_time,
        };
        self.log.append(&record);
    }

    /// A session after another one takes that one's place.
    fn session_phase(&mut self, kind: EventKind) -> SessionPhase {
        match (kind, self.has_session) {
            (EventKind::SessionStart, false) => {
                self.has_session = true;
                SessionPhase::Start
            }
            (EventKind::SessionStart, true) => SessionPhase::Roll,
            (_, _) => SessionPhase::End,
        }
    }
}
