//! What a session makes of what it receives.

use peregrine_types::EpochNanos;

use super::{CloseReason, Core, Event, Gap, Resend, Role, State};
use crate::dictionary;
use crate::frame::{BEGIN, Garbled};
use crate::message::{FieldError, FieldSpan, Message, RejectReason};
use crate::tags;

/// Longest HeartBtInt that is taken: a day.
const HEARTBEAT_S_MAX: u64 = 86_400;

/// How a message's number stands to the one that is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Expected,
    TooHigh,
    Repeated,
}

impl Core {
    pub(super) fn on_garbled(&mut self, garbled: Garbled, on_event: &mut dyn FnMut(Event<'_>)) {
        self.counters.garbled_count = self.counters.garbled_count.saturating_add(1);
        on_event(Event::Garbled(garbled));
        if self.state == State::AwaitingLogon {
            self.close(CloseReason::NotLogon, on_event);
        }
    }

    pub(super) fn on_frame(
        &mut self,
        message: Message<'_>,
        error: Option<FieldError>,
        now: EpochNanos,
        on_event: &mut dyn FnMut(Event<'_>),
    ) {
        self.received_last = now;
        self.is_tested = false;
        self.counters.received_count = self.counters.received_count.saturating_add(1);
        let is_awaiting = self.state == State::AwaitingLogon;
        if !message.bytes().starts_with(BEGIN) {
            return if is_awaiting {
                self.close(CloseReason::Version, on_event);
            } else {
                self.quit(CloseReason::Version, now, on_event);
            };
        }
        let is_logon = message.msg_type() == b"A";
        if is_awaiting && !is_logon && (message.msg_type() != b"5" || self.config.role == Role::Acceptor) {
            return self.close(CloseReason::NotLogon, on_event);
        }
        let Ok(Some(number)) = message.number(tags::MSG_SEQ_NUM) else {
            return self.quit(CloseReason::NoNumber, now, on_event);
        };
        if let Err(bad) = self.check_header(&message, now) {
            return self.on_bad_header((number, message), bad, now, on_event);
        }
        if is_awaiting && is_logon {
            return self.on_logon((number, &message), error, now, on_event);
        }
        self.on_numbered((number, message), error, now, on_event);
    }

    /// Names and times of the header; with each error what the session does, if not only refuse the message.
    fn check_header(&self, message: &Message<'_>, now: EpochNanos) -> Result<(), (FieldError, Option<CloseReason>)> {
        for (tag, name) in [(tags::SENDER_COMP_ID, &self.config.target), (tags::TARGET_COMP_ID, &self.config.sender)] {
            match message.get(tag) {
                None => return Err((message.error(tag, RejectReason::Missing), None)),
                Some(b"") => return Err((message.error(tag, RejectReason::NoValue), None)),
                Some(value) if value != name.as_bytes() => {
                    return Err((message.error(tag, RejectReason::CompId), Some(CloseReason::CompId)));
                }
                Some(_) => {}
            }
        }
        let time = message.time(tags::SENDING_TIME).map_err(|error| (error, None))?;
        let time = message.required(tags::SENDING_TIME, time).map_err(|error| (error, None))?;
        let is_far = self.config.sending_time_max.is_some_and(|max| now.since(time).0.saturating_abs() > max.0);
        if is_far {
            let error = message.error(tags::SENDING_TIME, RejectReason::SendingTime);
            return Err((error, Some(CloseReason::SendingTime)));
        }
        if message.flag(tags::POSS_DUP_FLAG).map_err(|error| (error, None))? {
            let original = message.time(tags::ORIG_SENDING_TIME).map_err(|error| (error, None))?;
            let original = message.required(tags::ORIG_SENDING_TIME, original);
            // A gap fill has nothing that was sent before: some leave the field out.
            let is_fill = message.msg_type() == b"4";
            if original.is_err() && is_fill {
                return Ok(());
            }
            if original.map_err(|error| (error, None))? > time {
                let error = message.error(tags::ORIG_SENDING_TIME, RejectReason::SendingTime);
                return Err((error, Some(CloseReason::SendingTime)));
            }
        }
        Ok(())
    }

    fn on_bad_header(
        &mut self,
        (number, message): (u64, Message<'_>),
        (error, reason): (FieldError, Option<CloseReason>),
        now: EpochNanos,
        on_event: &mut dyn FnMut(Event<'_>),
    ) {
        if self.state == State::AwaitingLogon {
            return self.close(CloseReason::LogonRefused(error.tag), on_event);
        }
        self.refuse((number, &message), error, now, on_event);
        // A message that was refused uses its number up, whatever comes of the session: it is not asked for again.
        if number == self.next_in {
            self.advance(number.saturating_add(1), now, on_event);
        }
        if let Some(reason) = reason {
            self.quit(reason, now, on_event);
        }
    }

    fn refuse(
        &mut self,
        (number, message): (u64, &Message<'_>),
        error: FieldError,
        now: EpochNanos,
        on_event: &mut dyn FnMut(Event<'_>),
    ) {
        self.counters.refused_count = self.counters.refused_count.saturating_add(1);
        let (msg_type, is_lost) = (message.msg_type(), number == self.next_in);
        on_event(Event::Refused { number, msg_type, error, is_lost });
        // A Reject is never answered with one: two sides would talk for ever.
        if msg_type != b"3" {
            self.send_reject((number, message), error, now);
        }
    }

    /// The first message of a connection.
    fn on_logon(
        &mut self,
        (number, message): (u64, &Message<'_>),
        error: Option<FieldError>,
        now: EpochNanos,
        on_event: &mut dyn FnMut(Event<'_>),
    ) {
        // What waited for a connection has lower numbers than the answer: the other side will ask for it.
        if self.config.role == Role::Acceptor {
            self.next_wire = self.store.next_number();
        }
        let wrong = self.fault(message, error);
        if let Some(error) = wrong.or_else(|| self.check_logon(message)) {
            self.quit(CloseReason::LogonRefused(error.tag), now, on_event);
            return;
        }
        let heartbeat_s = message.number(tags::HEART_BT_INT).ok().flatten().unwrap_or(0);
        let heartbeat_s = u32::try_from(heartbeat_s).unwrap_or(0);
        let is_reset = message.flag(tags::RESET_SEQ_NUM_FLAG).unwrap_or(false);
        let is_acceptor = self.config.role == Role::Acceptor;
        if is_reset && is_acceptor {
            self.reset_numbers();
        } else if is_reset && !self.config.is_reset_on_logon {
            // The acceptor begins anew and we did not ask for it: our Logon was the first message of the new session, and
            // what waits follows it.
            self.next_in = 1;
            self.store.renumber(self.next_wire, 2);
            self.next_wire = 2;
        }
        if number < self.next_in && message.flag(tags::POSS_DUP_FLAG) != Ok(true) {
            let expected = self.next_in;
            return self.quit(CloseReason::NumberTooLow { expected, received: number }, now, on_event);
        }
        // What the other side can have: an acceptor's answer was not written then, what waits is not on the wire.
        let before = if is_acceptor { self.store.next_number() } else { self.next_wire };
        (self.state, self.state_time) = (State::Active, now);
        if is_acceptor {
            self.heartbeat = peregrine_types::Nanos::from_secs(i64::from(heartbeat_s));
            self.send_logon(is_reset, now);
        }
        self.counters.logon_count = self.counters.logon_count.saturating_add(1);
        on_event(Event::LoggedOn { heartbeat_s, is_reset });
        if let Ok(Some(wanted)) = message.number(tags::NEXT_EXPECTED_MSG_SEQ_NUM) {
            self.on_next_expected(wanted, before, now, on_event);
        }
        if self.state == State::Active && number > self.next_in {
            self.early.insert(number, &[], true);
            self.on_too_high(number, now, on_event);
        } else if number == self.next_in {
            self.advance(number.saturating_add(1), now, on_event);
        }
    }

    /// What makes a Logon unacceptable although the dictionary allows it.
    fn check_logon(&self, message: &Message<'_>) -> Option<FieldError> {
        let wrong = |tag| Some(message.error(tag, RejectReason::Value));
        if message.get(tags::ENCRYPT_METHOD) != Some(b"0") {
            return wrong(tags::ENCRYPT_METHOD);
        }
        if message.number(tags::HEART_BT_INT).ok().flatten().is_none_or(|seconds| seconds > HEARTBEAT_S_MAX) {
            return wrong(tags::HEART_BT_INT);
        }
        let is_reset = message.flag(tags::RESET_SEQ_NUM_FLAG) == Ok(true);
        if is_reset && message.number(tags::MSG_SEQ_NUM) != Ok(Some(1)) {
            return wrong(tags::MSG_SEQ_NUM);
        }
        let said = |tag| message.get(tag).unwrap_or_default();
        match (&self.config.login, self.config.role) {
            (Some((username, _)), Role::Acceptor) if said(tags::USERNAME) != username.as_bytes() => {
                wrong(tags::USERNAME)
            }
            (Some((_, password)), Role::Acceptor) if said(tags::PASSWORD) != password.as_bytes() => {
                wrong(tags::PASSWORD)
            }
            (Some(_) | None, Role::Acceptor | Role::Initiator) => None,
        }
    }

    /// NextExpectedMsgSeqNum (789): what the other side has not got is sent without its asking.
    fn on_next_expected(&mut self, wanted: u64, before: u64, now: EpochNanos, on_event: &mut dyn FnMut(Event<'_>)) {
        if wanted > before {
            let reason = CloseReason::NumberTooLow { expected: wanted, received: before };
            self.quit(reason, now, on_event);
        } else if wanted < before && wanted > 0 {
            self.resend = Some(Resend { next: wanted, end: self.next_wire.saturating_sub(1) });
        }
    }

    fn place(&self, number: u64, message: &Message<'_>) -> Option<Place> {
        match number.cmp(&self.next_in) {
            core::cmp::Ordering::Equal => Some(Place::Expected),
            core::cmp::Ordering::Greater => Some(Place::TooHigh),
            core::cmp::Ordering::Less if message.flag(tags::POSS_DUP_FLAG) == Ok(true) => Some(Place::Repeated),
            core::cmp::Ordering::Less => None,
        }
    }

    /// A message of a session that stands.
    fn on_numbered(
        &mut self,
        (number, message): (u64, Message<'_>),
        error: Option<FieldError>,
        now: EpochNanos,
        on_event: &mut dyn FnMut(Event<'_>),
    ) {
        let msg_type = message.msg_type();
        let is_fill = message.flag(tags::GAP_FILL_FLAG) == Ok(true);
        let wrong = self.fault(&message, error);
        if msg_type == b"4" && !is_fill && wrong.is_none() {
            return self.on_reset(number, &message, now, on_event);
        }
        if msg_type == b"A" && number == 1 && wrong.is_none() && is_new_begin(&message) {
            self.reset_numbers();
            self.send_logon(true, now);
            self.counters.logon_count = self.counters.logon_count.saturating_add(1);
            let heartbeat_s = u32::try_from(self.heartbeat.0.saturating_div(1_000_000_000)).unwrap_or(0);
            on_event(Event::LoggedOn { heartbeat_s, is_reset: true });
            return self.advance(2, now, on_event);
        }
        match self.place(number, &message) {
            None => {
                let expected = self.next_in;
                self.quit(CloseReason::NumberTooLow { expected, received: number }, now, on_event);
            }
            Some(Place::Repeated) => {
                self.counters.duplicate_count = self.counters.duplicate_count.saturating_add(1);
            }
            Some(Place::TooHigh) => {
                // Answered although something is missing: without it two sides that both miss something would wait for
                // each other.
                let is_answered = msg_type == b"2" && wrong.is_none();
                match msg_type {
                    b"2" if is_answered => self.on_resend_request(&message, now, on_event),
                    b"5" => return self.on_logout(&message, false, now, on_event),
                    _ => {}
                }
                self.early.insert(number, if is_answered { &[] } else { message.bytes() }, is_answered);
                self.on_too_high(number, now, on_event);
            }
            Some(Place::Expected) => self.on_expected((number, message), wrong, now, on_event),
        }
    }

    /// Takes what came early and is expected now.
    pub(super) fn take_early(
        &mut self,
        fields: &mut Vec<FieldSpan>,
        now: EpochNanos,
        on_event: &mut dyn FnMut(Event<'_>),
    ) {
        while matches!(self.state, State::Active | State::LoggingOut) {
            let number = self.next_in;
            let Some(early) = self.early.take(number) else { return };
            if early.is_answered {
                self.advance(number.saturating_add(1), now, on_event);
            } else {
                let (message, error) = crate::message::parse(&early.bytes, fields);
                let wrong = self.fault(&message, error);
                self.on_expected((number, message), wrong, now, on_event);
            }
        }
    }

    /// What is wrong with a message, beside its header.
    fn fault(&self, message: &Message<'_>, error: Option<FieldError>) -> Option<FieldError> {
        let user_field = || if self.config.is_user_field_taken { None } else { dictionary::user_field(message) };
        error.or_else(|| dictionary::check(message).err()).or_else(user_field)
    }

    /// A message in its place.
    fn on_expected(
        &mut self,
        (number, message): (u64, Message<'_>),
        wrong: Option<FieldError>,
        now: EpochNanos,
        on_event: &mut dyn FnMut(Event<'_>),
    ) {
        let next = number.saturating_add(1);
        if let Some(error) = wrong {
            self.refuse((number, &message), error, now, on_event);
            return self.advance(next, now, on_event);
        }
        match message.msg_type() {
            b"4" => return self.on_gap_fill(number, &message, now, on_event),
            b"5" => {
                self.next_in = next;
                let is_complete = self.gap.is_none_or(|gap| gap.high < next);
                return self.on_logout(&message, is_complete, now, on_event);
            }
            b"1" => {
                let id = message.text(tags::TEST_REQ_ID).ok().flatten();
                self.send_heartbeat(id, now);
            }
            b"2" => self.on_resend_request(&message, now, on_event),
            b"3" => on_event(Event::Rejected {
                number: message.number(tags::REF_SEQ_NUM).ok().flatten().unwrap_or(0),
                reason: message.number(tags::SESSION_REJECT_REASON).ok().flatten(),
                text: message.text(tags::TEXT).ok().flatten().unwrap_or(""),
            }),
            b"A" => {
                let error = message.error(tags::MSG_TYPE, RejectReason::Other);
                self.refuse((number, &message), error, now, on_event);
            }
            b"0" => {}
            _ => on_event(Event::Message { number, message }),
        }
        self.advance(next, now, on_event);
    }

    /// SequenceReset in reset mode: the number of the message itself does not matter.
    fn on_reset(&mut self, number: u64, message: &Message<'_>, now: EpochNanos, on_event: &mut dyn FnMut(Event<'_>)) {
        let new = message.number(tags::NEW_SEQ_NO).ok().flatten().unwrap_or(0);
        let expected = self.next_in;
        if new < expected {
            let error = message.error(tags::NEW_SEQ_NO, RejectReason::Value);
            return self.refuse((number, message), error, now, on_event);
        }
        self.early.clear();
        on_event(Event::SequenceReset { expected, new, is_fill: false });
        self.advance(new, now, on_event);
    }

    /// SequenceReset as gap fill, in its place.
    fn on_gap_fill(
        &mut self,
        number: u64,
        message: &Message<'_>,
        now: EpochNanos,
        on_event: &mut dyn FnMut(Event<'_>),
    ) {
        let new = message.number(tags::NEW_SEQ_NO).ok().flatten().unwrap_or(0);
        if new <= number {
            let error = message.error(tags::NEW_SEQ_NO, RejectReason::Value);
            self.refuse((number, message), error, now, on_event);
            return self.advance(number.saturating_add(1), now, on_event);
        }
        on_event(Event::SequenceReset { expected: number, new, is_fill: true });
        self.advance(new, now, on_event);
    }

    fn on_logout(
        &mut self,
        message: &Message<'_>,
        is_complete: bool,
        now: EpochNanos,
        on_event: &mut dyn FnMut(Event<'_>),
    ) {
        let text = message.text(tags::TEXT).ok().flatten().unwrap_or("");
        on_event(Event::LogoutSaid { text, is_complete });
        let reason = match self.state {
            State::LoggingOut => CloseReason::Finished,
            State::Active => {
                self.send_logout("", now);
                CloseReason::LoggedOut
            }
            State::AwaitingLogon | State::Disconnected => CloseReason::LoggedOut,
        };
        self.close(reason, on_event);
    }

    fn on_resend_request(&mut self, message: &Message<'_>, now: EpochNanos, on_event: &mut dyn FnMut(Event<'_>)) {
        let begin = message.number(tags::BEGIN_SEQ_NO).ok().flatten().unwrap_or(0).max(1);
        let end = message.number(tags::END_SEQ_NO).ok().flatten().unwrap_or(0);
        let last = self.next_wire.saturating_sub(1);
        let end = if end == 0 { last } else { end.min(last) };
        if begin > end {
            return;
        }
        let kept = self.store.first_number().clamp(begin, end.saturating_add(1));
        on_event(Event::ResendAsked { begin, end, missing_count: kept.saturating_sub(begin) });
        // What another request asked for and is still on its way goes with it.
        let (next, end) = self.resend.map_or((begin, end), |old| (old.next.min(begin), old.end.max(end)));
        self.resend = Some(Resend { next, end });
        self.pump(now);
    }

    fn on_too_high(&mut self, number: u64, now: EpochNanos, on_event: &mut dyn FnMut(Event<'_>)) {
        self.counters.early_count = self.counters.early_count.saturating_add(1);
        match &mut self.gap {
            Some(gap) => gap.high = gap.high.max(number),
            None => {
                on_event(Event::GapBegin { begin: self.next_in, high: number });
                self.ask(number, 1, now);
            }
        }
    }

    /// The next number is expected; what is missing behind a part that was asked for is asked for.
    fn advance(&mut self, next: u64, now: EpochNanos, on_event: &mut dyn FnMut(Event<'_>)) {
        self.next_in = next;
        let Some(gap) = self.gap else { return };
        if next > gap.high {
            self.gap = None;
            on_event(Event::GapEnd);
        } else if next > gap.asked_to {
            self.ask(gap.high, 1, now);
        } else {
            self.gap = Some(Gap { progress_time: now, request_count: 1, ..gap });
        }
    }
}

/// Whether a Logon begins both sides anew while they are connected; either side may (FIX 4.4, volume 2, "Using the
/// ResetSeqNumFlag"). One that is sent again does not.
fn is_new_begin(message: &Message<'_>) -> bool {
    message.flag(tags::RESET_SEQ_NUM_FLAG) == Ok(true) && message.flag(tags::POSS_DUP_FLAG) == Ok(false)
}
