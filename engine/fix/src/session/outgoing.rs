//! What a session sends.

use peregrine_types::{EpochNanos, Nanos};

use super::{CloseReason, Core, Event, Gap, Resend, Role, State};
use crate::message::{FieldError, Message};
use crate::store::Sent;
use crate::tags;
use crate::value::parse_int;
use crate::write::{Body, Header, encode};

/// Room that header and trailer of a message need, names included.
const FRAME_LEN_MAX: usize = 256;
/// Longest MsgType of the other side that is repeated in a Reject; FIX 4.4 has one and two characters.
const REF_MSG_TYPE_LEN_MAX: usize = 16;

impl Core {
    /// Room for a message's own fields.
    pub(super) fn body_len_max(&self) -> usize {
        let names = self.config.sender.len().saturating_add(self.config.target.len());
        self.config.message_len_max.saturating_sub(FRAME_LEN_MAX.saturating_add(names))
    }

    /// Keeps a message under the next number; it goes out with the next [`Core::pump`].
    pub(super) fn keep(
        &mut self,
        (msg_type, body): (&str, &[u8]),
        (is_session, is_poss_resend): (bool, bool),
        time: EpochNanos,
    ) -> Option<u64> {
        // Without a connection nothing waits for a wire: the oldest goes.
        let keep_from = match (self.state, self.config.role) {
            (State::Disconnected, _) | (State::AwaitingLogon, Role::Acceptor) => u64::MAX,
            (State::AwaitingLogon, Role::Initiator) | (State::Active | State::LoggingOut, _) => self.next_wire,
        };
        self.store.push(&Sent { msg_type, is_session, is_poss_resend, time, body }, keep_from)
    }

    /// Keeps a message of the session's own. Where there is no room for it the other side does not read: it will be
    /// dropped for that soon enough.
    pub(super) fn say(&mut self, msg_type: &str, body: &Body, now: EpochNanos) {
        let kept = self.keep((msg_type, body.bytes()), (true, false), now);
        if kept.is_some() {
            self.pump(now);
        }
    }

    pub(super) fn reset_numbers(&mut self) {
        self.next_in = 1;
        self.store.begin_at(1);
        self.next_wire = 1;
        (self.resend, self.gap) = (None, None);
        self.early.clear();
    }

    pub(super) fn send_logon(&mut self, is_reset: bool, now: EpochNanos) {
        let seconds = self.heartbeat.0.checked_div(1_000_000_000).unwrap_or(0);
        let mut body = core::mem::take(&mut self.body);
        body.clear();
        body.field(tags::ENCRYPT_METHOD, 0).field(tags::HEART_BT_INT, seconds);
        body.flag(tags::RESET_SEQ_NUM_FLAG, is_reset);
        if let (Role::Initiator, Some((username, password))) = (self.config.role, &self.config.login) {
            // A field without a value is malformed: an empty name or password is none.
            body.option(tags::USERNAME, (!username.is_empty()).then_some(username));
            body.option(tags::PASSWORD, (!password.is_empty()).then_some(password));
        }
        self.say("A", &body, now);
        self.body = body;
    }

    pub(super) fn send_logout(&mut self, text: &str, now: EpochNanos) {
        let mut body = Body::new();
        body.option(tags::TEXT, (!text.is_empty()).then_some(text));
        self.say("5", &body, now);
    }

    pub(super) fn send_reject(&mut self, (number, message): (u64, &Message<'_>), error: FieldError, now: EpochNanos) {
        let mut body = Body::new();
        body.route_back(message).field(tags::REF_SEQ_NUM, number).option(tags::REF_TAG_ID, ref_tag_id(message, error));
        let msg_type = core::str::from_utf8(message.msg_type()).ok().filter(|msg_type| {
            let is_short = (1..=REF_MSG_TYPE_LEN_MAX).contains(&msg_type.len());
            is_short && msg_type.bytes().all(|byte| byte.is_ascii_graphic())
        });
        body.option(tags::REF_MSG_TYPE, msg_type);
        body.field(tags::SESSION_REJECT_REASON, error.reason.code()).field(tags::TEXT, error);
        self.say("3", &body, now);
    }

    pub(super) fn send_heartbeat(&mut self, test_request_id: Option<&str>, now: EpochNanos) {
        let mut body = Body::new();
        body.option(tags::TEST_REQ_ID, test_request_id);
        self.say("0", &body, now);
    }

    /// Logs out because the other side broke a rule, and closes.
    pub(super) fn quit(&mut self, reason: CloseReason, now: EpochNanos, on_event: &mut dyn FnMut(Event<'_>)) {
        self.send_logout(&reason.to_string(), now);
        self.close(reason, on_event);
    }

    pub(super) fn close(&mut self, reason: CloseReason, on_event: &mut dyn FnMut(Event<'_>)) {
        if self.state != State::Disconnected {
            self.state = State::Disconnected;
            on_event(Event::Closed(reason));
        }
    }

    /// A message as bytes into the outbox; whether there was room.
    pub(super) fn push_wire(
        &mut self,
        msg_type: &str,
        (number, time, original, is_poss_resend): (u64, EpochNanos, Option<EpochNanos>, bool),
        body: &[u8],
    ) -> bool {
        self.scratch.clear();
        let header =
            Header { sender: &self.config.sender, target: &self.config.target, number, time, original, is_poss_resend };
        encode(&mut self.scratch, &header, msg_type, body);
        let is_out = self.outbox.push(&self.scratch);
        if is_out {
            self.sent_last = time;
            self.counters.sent_count = self.counters.sent_count.saturating_add(1);
        }
        is_out
    }

    /// Moves to the outbox what waits, as far as there is room: what is to be sent again, then what is new.
    pub(super) fn pump(&mut self, now: EpochNanos) {
        if self.state == State::Disconnected {
            return;
        }
        while let Some(resend) = self.resend {
            if resend.next > resend.end {
                self.resend = None;
            } else {
                match self.resend_one(resend, now) {
                    Some(next) => self.resend = Some(Resend { next, ..resend }),
                    None => return,
                }
            }
        }
        while self.next_wire < self.store.next_number() {
            let number = self.next_wire;
            // What the store gave up before it was sent is asked for by the other side, and stepped over.
            let is_out = match self.store.get(number) {
                Some(sent) if !sent.is_session && self.is_held(number) => return,
                Some(sent) => {
                    // The body moves through a scratch copy: the store is not borrowed while the outbox is written.
                    let (mut body, msg_type) = (core::mem::take(&mut self.body), sent.msg_type.to_owned());
                    let facts = (number, now, None, sent.is_poss_resend);
                    body.clear();
                    body.append_raw(sent.body);
                    let is_out = self.push_wire(&msg_type, facts, body.bytes());
                    self.body = body;
                    is_out
                }
                None => true,
            };
            if !is_out {
                return;
            }
            // A message that waited was kept before it went out: OrigSendingTime is the latter.
            self.store.set_time(number, now);
            self.next_wire = number.saturating_add(1);
        }
    }

    /// Whether a message of the application waits: before the Logon is answered, and behind our Logout, nothing of it goes
    /// out (FIX 4.4, volume 2, "Logout").
    const fn is_held(&self, number: u64) -> bool {
        match self.state {
            State::AwaitingLogon => true,
            State::LoggingOut => number >= self.logout_number,
            State::Disconnected | State::Active => false,
        }
    }

    /// Whether a number is sent again with its content.
    fn is_resendable(&self, number: u64, now: EpochNanos) -> bool {
        self.store.get(number).is_some_and(|sent| {
            let is_stale = self.config.resend_age_max.is_some_and(|age| now.since(sent.time) > age);
            // FIX 4.4: a Reject is sent again, other messages of the session are not.
            (!sent.is_session || sent.msg_type == "3") && !is_stale
        })
    }

    /// Sends one message again, or a gap fill over a run of them: the number that comes next. `None`: no room.
    fn resend_one(&mut self, Resend { next, end }: Resend, now: EpochNanos) -> Option<u64> {
        if self.is_resendable(next, now) {
            let sent = self.store.get(next)?;
            let (mut body, msg_type) = (core::mem::take(&mut self.body), sent.msg_type.to_owned());
            let facts = (next, now, Some(sent.time), sent.is_poss_resend);
            body.clear();
            body.append_raw(sent.body);
            let is_out = self.push_wire(&msg_type, facts, body.bytes());
            self.body = body;
            self.counters.resent_count = self.counters.resent_count.saturating_add(u64::from(is_out));
            return is_out.then(|| next.saturating_add(1));
        }
        // What the store no longer has is one run, however long.
        let from = next.saturating_add(1).max(self.store.first_number()).min(end.saturating_add(1));
        let new = (from..=end).find(|number| self.is_resendable(*number, now)).unwrap_or(end.saturating_add(1));
        let mut body = Body::new();
        body.flag(tags::GAP_FILL_FLAG, true).field(tags::NEW_SEQ_NO, new);
        let is_out = self.push_wire("4", (next, now, Some(now), false), body.bytes());
        self.counters.gap_fill_count = self.counters.gap_fill_count.saturating_add(u64::from(is_out));
        is_out.then_some(new)
    }

    /// Asks for what is missing, as much as may be asked for at once.
    pub(super) fn ask(&mut self, high: u64, request_count: u32, now: EpochNanos) {
        let begin = self.next_in;
        let len_max = self.config.resend_len_max.max(2);
        let is_all = high.saturating_sub(begin) < len_max;
        let end = begin.saturating_add(len_max).saturating_sub(1);
        let mut body = Body::new();
        body.field(tags::BEGIN_SEQ_NO, begin).field(tags::END_SEQ_NO, if is_all { 0 } else { end });
        self.gap = Some(Gap { high, asked_to: if is_all { u64::MAX } else { end }, progress_time: now, request_count });
        self.counters.resend_request_count = self.counters.resend_request_count.saturating_add(1);
        self.say("2", &body, now);
    }

    /// A share of the heartbeat interval, in tenths.
    pub(super) const fn silence_max(&self, tenths: i64) -> Nanos {
        Nanos(self.heartbeat.0.saturating_mul(tenths).saturating_div(10))
    }

    /// Heartbeats, test requests, silence. Times are those of QuickFIX: 1.2 intervals, 2.4 in all.
    pub(super) fn watch(&mut self, now: EpochNanos, on_event: &mut dyn FnMut(Event<'_>)) {
        if self.heartbeat.0 <= 0 {
            return;
        }
        let silence = now.since(self.received_last);
        if silence >= self.silence_max(24) {
            return self.close(CloseReason::Silent, on_event);
        }
        if silence >= self.silence_max(12) && !self.is_tested {
            self.is_tested = true;
            self.test_request_count = self.test_request_count.saturating_add(1);
            let mut body = Body::new();
            body.field(tags::TEST_REQ_ID, format_args!("PEREGRINE-{}", self.test_request_count));
            self.say("1", &body, now);
        }
        // Bytes that still wait are the sign of life.
        if now.since(self.sent_last) >= self.heartbeat && self.outbox.is_empty() {
            self.send_heartbeat(None, now);
        }
    }

    /// A resend that stands still is asked for again, a few times.
    pub(super) fn watch_gap(&mut self, now: EpochNanos, on_event: &mut dyn FnMut(Event<'_>)) {
        let Some(gap) = self.gap else { return };
        if self.state != State::Active || now.since(gap.progress_time) < self.config.resend_time_max {
            return;
        }
        if gap.request_count >= self.config.resend_count_max.max(1) {
            self.quit(CloseReason::ResendUnanswered(self.next_in), now, on_event);
        } else {
            self.ask(gap.high, gap.request_count.saturating_add(1), now);
        }
    }
}

/// RefTagID (371): the tag that an error is about, also when it is a number that no tag can have.
fn ref_tag_id(message: &Message<'_>, error: FieldError) -> Option<i64> {
    if error.tag > 0 {
        return Some(i64::from(error.tag));
    }
    let rest = message.bytes().get(error.offset..)?;
    let equals = rest.iter().position(|byte| *byte == b'=')?;
    parse_int(rest.get(..equals)?)
}
