//! Executions that are said late, those that are broken later, and the end of a session.

use peregrine_gateway::soup::SessionId;
use peregrine_types::{EpochNanos, SymbolId};
use peregrine_wire::moldudp64::Session;

use super::OuchPort;
use crate::incidents::next_session;

impl OuchPort {
    /// Puts bytes into the session's stream, behind what is late.
    pub(super) fn say(&mut self, bytes: &[u8]) {
        if self.held_until.is_some() {
            self.held.push(bytes.to_vec());
        } else {
            let sent = self.session.sequence(bytes, self.now);
            self.counters.lost_count += u64::from(sent.is_err());
        }
    }

    /// An execution is about to be said: perhaps it is late, or broken later.
    pub(super) fn strike(&mut self, symbol: SymbolId, match_number: u64) {
        let Some(chaos) = &mut self.chaos else { return };
        if self.held_until.is_none()
            && let Some(delay) = chaos.delays_fill()
        {
            self.held_until = Some(self.now.plus(delay));
        }
        if let Some(delay) = chaos.busts() {
            self.busts.push_back((self.now.plus(delay), symbol, match_number));
        }
    }

    /// Says what was late, when its time has come.
    pub(crate) fn release(&mut self, now: EpochNanos) {
        if self.held_until.is_some_and(|until| until <= now) {
            self.held_until = None;
            for bytes in core::mem::take(&mut self.held) {
                let sent = self.session.sequence(&bytes, now);
                self.counters.lost_count += u64::from(sent.is_err());
            }
        }
    }

    /// The next execution that is to be broken by `now`.
    pub(crate) fn next_bust(&mut self, now: EpochNanos) -> Option<(SymbolId, u64)> {
        self.busts.pop_front_if(|(due, ..)| *due <= now).map(|(_, symbol, match_number)| (symbol, match_number))
    }

    /// The trade is broken already.
    pub(crate) fn forget_bust(&mut self, match_number: u64) {
        self.busts.retain(|(.., number)| *number != match_number);
    }

    /// When its faults have something to do.
    pub(crate) fn next_fault(&self) -> Option<EpochNanos> {
        let bust = self.busts.front().map(|(due, ..)| *due);
        self.held_until.into_iter().chain(bust).min()
    }

    /// Ends the session: what is late is said before.
    pub(crate) fn end(&mut self, now: EpochNanos) {
        self.release(EpochNanos::MAX);
        self.session.end_session(now);
    }

    /// Ends the session and begins the next one, whose stream is empty: its name counts on. A client that read up to the
    /// last message is told the end; one that is too far behind for that is only cut. Orders and their numbers are the
    /// day's, not the session's, and go on.
    pub(crate) fn roll(&mut self, now: EpochNanos) {
        self.end(now);
        self.ended_message_count += self.session.store().last_sequence_number();
        self.session_count += 1;
        let next = next_session(Session(self.session.session().0));
        // That it closes the connection is no news: who rolls the session sees to the orders.
        self.session.begin_session(SessionId(next.0), &mut |_| {});
    }

    /// Its sessions so far, and the numbered messages of all of them.
    pub(crate) fn session_and_message_count(&self) -> (u64, u64) {
        (self.session_count, self.ended_message_count + self.session.store().last_sequence_number())
    }
}
