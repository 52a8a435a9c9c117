//! One FIX session, either side of it, without sockets: bytes and time in, bytes and events out.
//!
//! # Incoming numbers (MsgSeqNum, 34)
//!
//! | number | done |
//! |---|---|
//! | as expected | taken; a malformed message is answered with Reject and uses its number up |
//! | too high | kept until its turn comes, as far as [`SessionConfig::early_len_max`] reaches; what is missing is asked for (one ResendRequest at a time, of at most [`SessionConfig::resend_len_max`] messages); a Logon, a Logout and a ResendRequest are answered at once, a reset (SequenceReset without gap fill) is taken |
//! | too low, PossDupFlag | ignored, if OrigSendingTime is sound |
//! | too low | Logout, and the connection is closed: one of us has lost its memory |
//!
//! A request that brings nothing is repeated [`SessionConfig::resend_count_max`] times, then the session logs out: it never
//! asks for ever.
//!
//! # Outgoing numbers
//!
//! Every message is kept before it is sent. A ResendRequest is answered from the store as far as the outgoing buffer has
//! room, the rest follows; messages of applications go out under their numbers with PossDupFlag, what belongs to the
//! session, is older than [`SessionConfig::resend_age_max`] or no longer kept is stepped over by a gap fill. What is sent
//! meanwhile waits behind it, so that numbers on the wire never go back but in a resend. Behind a Logout nothing of the
//! application goes out.
//!
//! When both sides begin anew (ResetSeqNumFlag), what was kept and not sent is forgotten: [`Event::LoggedOn`] says so, and
//! the application decides what it says again.
//!
//! Every definition of QuickFIX's acceptance suite for FIX 4.4 is a case of `tests/acceptance.rs`; `docs/fix.md` has them
//! all in a table, with what this session does otherwise and why.

mod config;
mod early;
mod incoming;
mod outgoing;

pub use config::{Numbers, Role, SessionConfig};

use peregrine_types::{EpochNanos, Nanos};

use crate::frame::{FrameDecoder, Garbled};
use crate::message::{FieldError, FieldSpan, Message};
use crate::outbox::Outbox;
use crate::store::SentStore;
use crate::write::Body;
use early::Early;

/// Where the session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No connection.
    Disconnected,
    /// Connected; the Logon, or its answer, has not come.
    AwaitingLogon,
    /// Logged on.
    Active,
    /// We said Logout and wait for the answer.
    LoggingOut,
}

/// Why a session wants its connection closed, or lost it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// The connection was lost without a word.
    #[error("the connection was lost")]
    Lost,
    /// No Logon, or no answer to it, in time.
    #[error("no logon in time")]
    LogonTimeout,
    /// The first message is no Logon.
    #[error("the first message is no logon")]
    NotLogon,
    /// A Logon that is not for us, or not allowed: wrong names, login, heartbeat or encryption, or unreadable.
    #[error("the logon is not acceptable: tag {0}")]
    LogonRefused(u32),
    /// The other side said Logout.
    #[error("the other side logged out")]
    LoggedOut,
    /// We said Logout, and it was answered.
    #[error("we logged out")]
    Finished,
    /// We said Logout, and nobody answered in time.
    #[error("the logout was not answered")]
    LogoutTimeout,
    /// The other side sent nothing for 2.4 heartbeat intervals.
    #[error("the other side is silent")]
    Silent,
    /// A number below the one that is expected.
    #[error("message number {received} is too low, {expected} is expected: one side has lost its numbers")]
    NumberTooLow {
        /// What is expected.
        expected: u64,
        /// What came.
        received: u64,
    },
    /// A message without a number.
    #[error("a message without a number")]
    NoNumber,
    /// Another version of FIX.
    #[error("another version than FIX.4.4")]
    Version,
    /// Names that are not those of the session.
    #[error("CompIDs that are not those of the session")]
    CompId,
    /// A clock that is too far from ours, or sent before it was sent first.
    #[error("a sending time that cannot be")]
    SendingTime,
    /// What was asked for again did not come.
    #[error("messages from {0} on were asked for and did not come")]
    ResendUnanswered(u64),
    /// Nothing more can be sent: the other side does not read, or the store is full of what it has not got.
    #[error("no room for outgoing messages: the other side does not read")]
    Full,
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The message is longer than the session allows.
    #[error("a message of {len} bytes, more than {len_max}")]
    TooLong {
        /// Length of its fields.
        len: usize,
        /// The longest.
        len_max: usize,
    },
    /// The store is full of messages that have not been sent yet.
    #[error("no room: the other side does not read")]
    Full,
    /// A message type that is no text of one or two characters, or one of the session's own.
    #[error("not a message type of an application")]
    MsgType,
}

/// What a session tells.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// Logged on, or begun anew while connected.
    LoggedOn {
        /// HeartBtInt in seconds.
        heartbeat_s: u32,
        /// Whether both sides begin at 1: what was kept and not sent is forgotten.
        is_reset: bool,
    },
    /// A message of the application, in order and once by its number. It may repeat another one's content when it says
    /// PossResend.
    Message {
        /// Its number.
        number: u64,
        /// The message, which the dictionary allows.
        message: Message<'a>,
    },
    /// The other side refused a message of ours: RefSeqNum (45), SessionRejectReason (373), Text (58).
    Rejected {
        /// Number of our message.
        number: u64,
        /// The reason.
        reason: Option<u64>,
        /// What it says.
        text: &'a str,
    },
    /// A message of the other side was malformed and refused.
    Refused {
        /// Its number.
        number: u64,
        /// Its MsgType (35).
        msg_type: &'a [u8],
        /// What is wrong with it.
        error: FieldError,
        /// Whether its number is used up: what it said is not said again.
        is_lost: bool,
    },
    /// Bytes were garbled and ignored.
    Garbled(Garbled),
    /// Messages were missing and are asked for.
    GapBegin {
        /// The first that is missing.
        begin: u64,
        /// The highest number that was seen.
        high: u64,
    },
    /// Nothing is missing any more.
    GapEnd,
    /// The other side's numbers were set; messages in between do not come.
    SequenceReset {
        /// What was expected.
        expected: u64,
        /// What is expected now.
        new: u64,
        /// Whether it is a gap fill: what is stepped over is the session's own, or not worth repeating. Otherwise
        /// messages of the application may be lost.
        is_fill: bool,
    },
    /// The other side asks for messages again.
    ResendAsked {
        /// From this number on.
        begin: u64,
        /// To this one.
        end: u64,
        /// How many of them are no longer kept, and are stepped over.
        missing_count: u64,
    },
    /// The other side says Logout.
    LogoutSaid {
        /// What it says (58).
        text: &'a str,
        /// Whether everything that it sent before is here.
        is_complete: bool,
    },
    /// The connection is to be closed, after sending what is pending; nothing more comes from it.
    Closed(CloseReason),
}

/// What a session counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages received with a whole frame.
    pub received_count: u64,
    /// Messages sent, repetitions and gap fills included.
    pub sent_count: u64,
    /// Messages sent once more.
    pub resent_count: u64,
    /// Gap fills sent.
    pub gap_fill_count: u64,
    /// ResendRequests sent.
    pub resend_request_count: u64,
    /// Messages that came once more and were ignored.
    pub duplicate_count: u64,
    /// Messages that came before others that are missing.
    pub early_count: u64,
    /// Messages refused.
    pub refused_count: u64,
    /// Stretches of garbled bytes.
    pub garbled_count: u64,
    /// Logons completed.
    pub logon_count: u64,
}

/// A session: see the module.
#[derive(Debug)]
pub struct Session {
    decoder: FrameDecoder,
    fields: Vec<FieldSpan>,
    core: Core,
}

/// Messages that are missing.
#[derive(Clone, Copy, Debug)]
struct Gap {
    /// The highest number that was seen.
    high: u64,
    /// What the running request reaches; `u64::MAX` for everything.
    asked_to: u64,
    /// When something last came of it.
    progress_time: EpochNanos,
    request_count: u32,
}

/// Messages that are being sent again.
#[derive(Clone, Copy, Debug)]
struct Resend {
    next: u64,
    end: u64,
}

#[derive(Debug)]
struct Core {
    config: SessionConfig,
    state: State,
    next_in: u64,
    store: SentStore,
    /// The first number that has not been on the wire of any connection.
    next_wire: u64,
    outbox: Outbox,
    resend: Option<Resend>,
    gap: Option<Gap>,
    /// Messages that came before what is missing.
    early: Early,
    /// The number of the Logout that we said.
    logout_number: u64,
    heartbeat: Nanos,
    state_time: EpochNanos,
    received_last: EpochNanos,
    sent_last: EpochNanos,
    test_request_count: u64,
    is_tested: bool,
    scratch: Vec<u8>,
    body: Body,
    counters: Counters,
}

impl Session {
    /// A session without a connection that goes on at `numbers`.
    #[must_use]
    pub fn new(config: SessionConfig, numbers: Numbers) -> Self {
        let mut store = SentStore::new(config.store_count_max, config.store_byte_count_max);
        store.begin_at(numbers.next_out.max(1));
        let heartbeat = Nanos::from_secs(i64::from(config.heartbeat_s));
        let core = Core {
            state: State::Disconnected,
            next_in: numbers.next_in.max(1),
            next_wire: store.next_number(),
            store,
            outbox: Outbox::new(config.outbox_len_max.max(config.message_len_max.saturating_mul(2))),
            resend: None,
            gap: None,
            early: Early::new(config.early_len_max),
            logout_number: 0,
            heartbeat,
            state_time: EpochNanos::MIN,
            received_last: EpochNanos::MIN,
            sent_last: EpochNanos::MIN,
            test_request_count: 0,
            is_tested: false,
            scratch: Vec::with_capacity(config.message_len_max),
            body: Body::new(),
            counters: Counters::default(),
            config,
        };
        Self { decoder: FrameDecoder::new(core.config.message_len_max), fields: Vec::new(), core }
    }

    /// Where the session is.
    #[must_use]
    pub const fn state(&self) -> State {
        self.core.state
    }

    /// The numbers of the next messages.
    #[must_use]
    pub fn numbers(&self) -> Numbers {
        Numbers { next_out: self.core.store.next_number(), next_in: self.core.next_in }
    }

    /// What was counted.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.core.counters
    }

    /// Whether messages of the other side are missing and asked for.
    #[must_use]
    pub const fn has_gap(&self) -> bool {
        self.core.gap.is_some()
    }

    /// Whether the next Logon of an initiator begins both sides anew.
    pub const fn set_reset_on_logon(&mut self, is_reset: bool) {
        self.core.config.is_reset_on_logon = is_reset;
    }

    /// The connection stands: an initiator's Logon goes out. Whether the session takes it: one that has a connection takes
    /// no second one, which is to be closed without a word (FIX 4.4, volume 2, test case 1S: a duplicate identity).
    pub fn connect(&mut self, now: EpochNanos) -> bool {
        if self.core.state != State::Disconnected {
            return false;
        }
        self.decoder.reset();
        let core = &mut self.core;
        core.outbox.clear();
        core.early.clear();
        (core.resend, core.gap, core.is_tested) = (None, None, false);
        core.heartbeat = Nanos::from_secs(i64::from(core.config.heartbeat_s));
        (core.state, core.state_time) = (State::AwaitingLogon, now);
        (core.received_last, core.sent_last) = (now, now);
        // What was kept and not sent waits for the other side to ask for it: its Logon's answer comes first.
        core.next_wire = core.store.next_number();
        if core.config.role == Role::Initiator {
            if core.config.is_reset_on_logon {
                core.reset_numbers();
            }
            let is_reset = core.config.is_reset_on_logon;
            core.send_logon(is_reset, now);
        }
        true
    }

    /// The connection is gone. Tells it, unless the session closed it itself.
    pub fn disconnect(&mut self, on_event: &mut dyn FnMut(Event<'_>)) {
        self.core.close(CloseReason::Lost, on_event);
    }

    /// Takes bytes that arrived. Bytes behind the message that closed the connection are not looked at.
    pub fn receive(&mut self, bytes: &[u8], now: EpochNanos, on_event: &mut dyn FnMut(Event<'_>)) {
        let mut input = bytes;
        let Self { decoder, fields, core } = self;
        while core.state != State::Disconnected {
            match decoder.next(&mut input) {
                Ok(Some(frame)) => {
                    let (message, error) = crate::message::parse(frame, fields);
                    core.on_frame(message, error, now, on_event);
                    core.take_early(fields, now, on_event);
                }
                Ok(None) => break,
                Err(garbled) => core.on_garbled(garbled, on_event),
            }
        }
        core.pump(now);
    }

    /// Lets time pass: heartbeats go out, silence, a missing answer and a resend that stands still are noticed.
    pub fn poll(&mut self, now: EpochNanos, on_event: &mut dyn FnMut(Event<'_>)) {
        let core = &mut self.core;
        match core.state {
            State::Disconnected => {}
            State::AwaitingLogon => {
                if now.since(core.state_time) >= core.config.logon_time_max {
                    core.close(CloseReason::LogonTimeout, on_event);
                }
            }
            State::LoggingOut => {
                if now.since(core.state_time) >= core.config.logout_time_max {
                    core.close(CloseReason::LogoutTimeout, on_event);
                }
            }
            State::Active => {
                core.watch(now, on_event);
                core.watch_gap(now, on_event);
            }
        }
        core.pump(now);
    }

    /// The moment at which [`Session::poll`] has something to do, if nothing arrives before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<EpochNanos> {
        let core = &self.core;
        match core.state {
            State::Disconnected => None,
            State::AwaitingLogon => Some(core.state_time.plus(core.config.logon_time_max)),
            State::LoggingOut => Some(core.state_time.plus(core.config.logout_time_max)),
            State::Active => {
                let gap = core.gap.map(|gap| gap.progress_time.plus(core.config.resend_time_max));
                let silence = core.silence_max(if core.is_tested { 24 } else { 12 });
                let silence = (core.heartbeat.0 > 0).then(|| core.received_last.plus(silence));
                // Bytes that still wait are the sign of life: no heartbeat is due before they are gone.
                let is_beating = core.heartbeat.0 > 0 && core.outbox.is_empty();
                let beat = is_beating.then(|| core.sent_last.plus(core.heartbeat));
                gap.into_iter().chain(silence).chain(beat).min()
            }
        }
    }

    /// Sends a message of the application. Without a connection, and behind our Logout, it is kept, and sent when the other
    /// side asks for it.
    ///
    /// # Errors
    /// [`SendError`]; no number was used then.
    pub fn send(&mut self, msg_type: &str, body: &Body, now: EpochNanos) -> Result<u64, SendError> {
        self.send_with(msg_type, body, false, now)
    }

    /// Sends a message whose content may have been sent before under another number (PossResend, 97).
    ///
    /// # Errors
    /// [`SendError`]; no number was used then.
    pub fn send_again(&mut self, msg_type: &str, body: &Body, now: EpochNanos) -> Result<u64, SendError> {
        self.send_with(msg_type, body, true, now)
    }

    fn send_with(
        &mut self,
        msg_type: &str,
        body: &Body,
        is_poss_resend: bool,
        now: EpochNanos,
    ) -> Result<u64, SendError> {
        let core = &mut self.core;
        if crate::dictionary::is_session_type(msg_type.as_bytes()) || !matches!(msg_type.len(), 1 | 2) {
            return Err(SendError::MsgType);
        }
        let len_max = core.body_len_max();
        if body.bytes().len() > len_max {
            return Err(SendError::TooLong { len: body.bytes().len(), len_max });
        }
        let number = core.keep((msg_type, body.bytes()), (false, is_poss_resend), now).ok_or(SendError::Full)?;
        core.pump(now);
        Ok(number)
    }

    /// Sets our next number by a SequenceReset in reset mode: for disaster recovery, by agreement of people. Lower numbers
    /// than the next one are not set. Whether it was.
    pub fn reset_sequence(&mut self, new: u64, now: EpochNanos) -> bool {
        let core = &mut self.core;
        if core.state != State::Active || new <= core.store.next_number() || core.resend.is_some() {
            return false;
        }
        let mut body = Body::new();
        body.field(crate::tags::GAP_FILL_FLAG, 'N').field(crate::tags::NEW_SEQ_NO, new);
        let number = core.store.next_number();
        let is_out = core.push_wire("4", (number, now, None, false), body.bytes());
        if is_out {
            core.store.begin_at(new);
            core.next_wire = new;
        }
        is_out
    }

    /// Logs out: the session waits for the answer, and closes. Without a Logon it closes at once.
    pub fn logout(&mut self, text: &str, now: EpochNanos, on_event: &mut dyn FnMut(Event<'_>)) {
        let core = &mut self.core;
        match core.state {
            State::Active => {
                core.logout_number = core.store.next_number();
                core.send_logout(text, now);
                (core.state, core.state_time) = (State::LoggingOut, now);
            }
            State::AwaitingLogon => core.close(CloseReason::Finished, on_event),
            State::Disconnected | State::LoggingOut => {}
        }
    }

    /// The bytes that wait for the socket.
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        self.core.outbox.pending()
    }

    /// The socket took the first `count` of them; what waits behind moves up.
    pub fn sent(&mut self, count: usize, now: EpochNanos) {
        self.core.outbox.advance(count);
        self.core.pump(now);
    }
}
