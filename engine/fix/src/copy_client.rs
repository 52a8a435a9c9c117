//! The reader of a drop copy: an initiator's session with the check behind it, without sockets.

use std::collections::VecDeque;

use peregrine_types::{EpochNanos, Nanos};

use super::copy_check::{CopyCheck, Found, OwnEvent};
use super::message::{Message, RejectReason};
use super::orders::{BusinessMessageReject, ExecutionReport};
use super::session::{CloseReason, Event, Numbers, Session, SessionConfig, State};
use super::tags;
use super::write::Body;

/// How long after a Logon, the begin or the end of a gap the venue may repeat itself while nothing is missed: a day of 100,000
/// reports at 10 Mbit/s takes about 20 s. A copy that says PossResend with everything, or that fills a gap for ever, would
/// never be judged otherwise.
const REPEAT_TIME_MAX: Nanos = Nanos::from_secs(30);

/// How long our order session may live on behind the copy's Logout at the end of a day: a venue ends both together, and we hear
/// of them on two threads.
const OUTLIVING_TIME_MAX: Nanos = Nanos::from_secs(5);

/// Something that people should hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyNotice {
    /// The session stands.
    LoggedOn,
    /// The session is gone.
    Lost(CloseReason),
    /// Our fills and the venue's differ.
    Found(Found),
}

/// See the module. The first Logon begins the session anew: the venue tells the whole day, as possible repetitions. Later
/// ones go on where the connection broke, unless the venue set its numbers forward or began anew on its own: then the session
/// logs out, and the next Logon begins anew.
#[derive(Debug)]
pub struct CopyClient {
    session: Session,
    check: CopyCheck,
    notices: VecDeque<CopyNotice>,
    /// Types of messages that nobody here reads, to be refused.
    strange: Vec<(u64, String)>,
    /// The last Logon, begin or end of a gap.
    repeat_time: EpochNanos,
    /// Something was stepped over, and the day was not begun anew since.
    is_torn: bool,
    /// When the venue said a Logout, as its last word and with nothing missing before it.
    over_at: Option<EpochNanos>,
}

impl CopyClient {
    /// A reader that is not connected. `config` is an initiator's; `deadline` and `fill_count_max` are the check's.
    #[must_use]
    pub fn new(config: SessionConfig, deadline: Nanos, fill_count_max: usize) -> Self {
        let config = SessionConfig { is_reset_on_logon: true, ..config };
        let check = CopyCheck::new(deadline, fill_count_max);
        let session = Session::new(config, Numbers::START);
        Self {
            session,
            check,
            notices: VecDeque::new(),
            strange: Vec::new(),
            repeat_time: EpochNanos::MIN,
            is_torn: false,
            over_at: None,
        }
    }

    /// The session.
    #[must_use]
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// The check.
    #[must_use]
    pub const fn check(&self) -> &CopyCheck {
        &self.check
    }

    /// The oldest notice that nobody took.
    pub fn take_notice(&mut self) -> Option<CopyNotice> {
        self.notices.pop_front()
    }

    /// The connection stands; one that stood before is gone.
    pub fn connect(&mut self, now: EpochNanos) {
        self.disconnect(now);
        self.session.connect(now);
    }

    /// The connection is gone.
    pub fn disconnect(&mut self, now: EpochNanos) {
        self.with(now, |session, on_event| session.disconnect(on_event));
    }

    /// Bytes arrived.
    pub fn receive(&mut self, bytes: &[u8], now: EpochNanos) {
        self.with(now, |session, on_event| session.receive(bytes, now, on_event));
    }

    /// Our order session spoke.
    pub fn on_own(&mut self, event: OwnEvent, now: EpochNanos) {
        let notices = &mut self.notices;
        self.check.on_own(event, now, &mut |found| notices.push_back(CopyNotice::Found(found)));
    }

    /// Lets time pass.
    pub fn poll(&mut self, now: EpochNanos) {
        self.with(now, |session, on_event| session.poll(now, on_event));
        let is_waiting = self.session.state() == State::Active && !self.check.is_copy_live();
        if is_waiting && now.since(self.repeat_time) >= REPEAT_TIME_MAX {
            self.check.set_copy_live(true, now);
        }
        let notices = &mut self.notices;
        self.check.poll(now, &mut |found| notices.push_back(CopyNotice::Found(found)));
    }

    /// Logs out. The venue's answer stands behind everything that it had to say.
    pub fn logout(&mut self, now: EpochNanos) {
        self.with(now, |session, on_event| session.logout("", now, on_event));
    }

    /// Whether both sessions are over, the venue's copy with its Logout: there is nothing more to read.
    #[must_use]
    pub const fn is_at_end(&self) -> bool {
        self.over_at.is_some() && self.check.own_gone_at().is_some()
    }

    /// The run is over: what is still pending is named, and a copy that was not read to its end. It was when its session
    /// stands and misses nothing, when our Logout was answered, and when the venue said it and our order session did not live
    /// on for long.
    pub fn finish(&mut self, now: EpochNanos) {
        let is_standing = self.session.state() == State::Active && !self.session.has_gap();
        let own_end = self.check.own_gone_at().unwrap_or(now);
        let is_over = self.over_at.is_some_and(|over_at| own_end.since(over_at) < OUTLIVING_TIME_MAX);
        let notices = &mut self.notices;
        let mut on_found = |found| notices.push_back(CopyNotice::Found(found));
        self.check.finish(now, is_standing || is_over, &mut on_found);
    }

    /// The bytes that wait for the socket.
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        self.session.pending()
    }

    /// The socket took the first `count` of them.
    pub fn sent(&mut self, count: usize, now: EpochNanos) {
        self.session.sent(count, now);
    }

    fn with(&mut self, now: EpochNanos, act: impl FnOnce(&mut Session, &mut dyn FnMut(Event<'_>))) {
        let Self { session, check, notices, strange, repeat_time, is_torn, over_at } = self;
        let mut reset = None;
        let mut is_on = matches!(session.state(), State::Active | State::LoggingOut);
        let (was_torn, mut is_told) = (*is_torn, false);
        act(session, &mut |event| match event {
            // Begun anew while connected: what the venue had not sent yet may never come.
            Event::LoggedOn { .. } if is_on => *is_torn = true,
            Event::LoggedOn { .. } => {
                (is_told, *repeat_time) = (true, now);
                (is_on, *is_torn, *over_at) = (true, false, None);
                reset = Some(false);
                notices.push_back(CopyNotice::LoggedOn);
            }
            Event::Closed(reason) => {
                check.set_copy_live(false, now);
                // Numbers that do not fit are begun anew: the venue then tells the day again.
                if matches!(reason, CloseReason::NumberTooLow { .. } | CloseReason::ResendUnanswered(_)) {
                    reset = Some(true);
                }
                notices.push_back(CopyNotice::Lost(reason));
            }
            Event::Message { number, message } => {
                is_told |= is_repeated(&message) && now.since(*repeat_time) < REPEAT_TIME_MAX;
                match read(&message, check, now, notices) {
                    Read::Done => {}
                    Read::Strange => strange.push((number, String::from_utf8_lossy(message.msg_type()).into_owned())),
                }
            }
            Event::LogoutSaid { is_complete, .. } => {
                reset = Some(true);
                *over_at = (is_on && is_complete && !*is_torn).then_some(now);
            }
            Event::GapBegin { .. } | Event::GapEnd => (is_told, *repeat_time) = (true, now),
            // A report that the session refused is not told again: what it said is not known.
            Event::Refused { msg_type: b"8", error, is_lost: true, .. } => {
                check.on_unreadable(error, &mut |found| notices.push_back(CopyNotice::Found(found)));
            }
            // Reports may have been stepped over.
            Event::SequenceReset { expected, new, is_fill: false } => *is_torn |= new > expected,
            Event::Rejected { .. }
            | Event::Refused { .. }
            | Event::Garbled(_)
            | Event::SequenceReset { is_fill: true, .. }
            | Event::ResendAsked { .. } => {}
        });
        if *is_torn && !was_torn {
            check.set_copy_live(false, now);
            session.logout("messages were stepped over: the day is asked for again", now, &mut |_| {});
            reset = Some(true);
        }
        if let Some(is_reset) = reset {
            session.set_reset_on_logon(is_reset);
        }
        if session.state() == State::Active && is_told {
            check.set_copy_live(!session.has_gap(), now);
        }
        refuse(strange, session, now);
    }
}

/// Answers messages that nobody here reads.
fn refuse(strange: &mut Vec<(u64, String)>, session: &mut Session, now: EpochNanos) {
    for (number, msg_type) in strange.drain(..) {
        let reject = BusinessMessageReject {
            ref_number: Some(number),
            ref_msg_type: &msg_type,
            ref_id: None,
            reason: 3,
            text: Some("a drop copy is read here, nothing else"),
        };
        let mut body = Body::new();
        reject.write(&mut body);
        // Without room the other side does not read: its silence ends the session.
        let _refused = session.send(BusinessMessageReject::MSG_TYPE, &body, now).is_err();
    }
}

enum Read {
    Done,
    Strange,
}

/// Whether a message says that its content may have been told before.
fn is_repeated(message: &Message<'_>) -> bool {
    message.flag(tags::POSS_DUP_FLAG) == Ok(true) || message.flag(tags::POSS_RESEND) == Ok(true)
}

fn read(message: &Message<'_>, check: &mut CopyCheck, now: EpochNanos, notices: &mut VecDeque<CopyNotice>) -> Read {
    let mut on_found = |found| notices.push_back(CopyNotice::Found(found));
    match message.msg_type() {
        b"8" => match ExecutionReport::parse(message) {
            Ok(report) => {
                if !check.on_report(&report, is_repeated(message), now, &mut on_found) {
                    check.on_unreadable(message.error(tags::CL_ORD_ID, RejectReason::Value), &mut on_found);
                }
            }
            Err(error) => check.on_unreadable(error, &mut on_found),
        },
        b"j" => {}
        _ => return Read::Strange,
    }
    Read::Done
}
