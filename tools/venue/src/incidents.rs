//! Faults of the day on a schedule: what happens to the feed's session and to a symbol at a time of day.

use peregrine_types::Symbol;
use peregrine_wire::moldudp64::Session;

use crate::control::Control;
use crate::orders::TimeOfDay;

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incident {
    /// The feed's session ends and another one begins, which tells the state of the day first.
    SessionRoll,
    /// The feed's session ends and begins again under its own name from message 1, with the state of the day: a mistake
    /// of a venue, since no follower can tell the new numbers from the old ones.
    SequenceReset,
    /// The session of an order port, by its place, ends and another one begins at message 1.
    PortSessionRoll(usize),
    /// A symbol is halted (T1).
    Halt(Symbol),
    /// It opens again, with a cross.
    Resumption(Symbol),
}

/// Incidents in the order of their times.
#[derive(Clone, Debug, Default)]
pub(crate) struct Incidents {
    /// The last one is next.
    waiting: Vec<(TimeOfDay, Incident)>,
}

impl Incidents {
    /// Those behind `start`: what lies before is not made up for.
    pub(crate) fn new(incidents: &[(TimeOfDay, Incident)], start: TimeOfDay) -> Self {
        let mut waiting: Vec<_> = incidents.iter().copied().filter(|(time, _)| *time > start).collect();
        waiting.sort_by_key(|(time, _)| core::cmp::Reverse(*time));
        Self { waiting }
    }

    pub(crate) fn next_time(&self) -> Option<TimeOfDay> {
        self.waiting.last().map(|(time, _)| *time)
    }

    /// The next one that is due by `time`, and when it was.
    pub(crate) fn take(&mut self, time: TimeOfDay) -> Option<(TimeOfDay, Incident)> {
        self.waiting.pop_if(|(due, _)| *due <= time)
    }
}

impl From<Incident> for Control {
    fn from(incident: Incident) -> Self {
        match incident {
            Incident::SessionRoll => Self::SessionRoll,
            Incident::SequenceReset => Self::SequenceReset,
            Incident::PortSessionRoll(port) => Self::PortSessionRoll(port),
            Incident::Halt(symbol) => Self::Halt(symbol),
            Incident::Resumption(symbol) => Self::Resume(symbol),
        }
    }
}

/// The name of the session behind `session`: its last digits count on; a name without digits at its end gets one.
#[must_use]
pub fn next_session(session: Session) -> Session {
    let mut name = session.0;
    for byte in name.iter_mut().rev() {
        match *byte {
            b'9' => *byte = b'0',
            b'0'..=b'8' => {
                *byte += 1;
                return Session(name);
            }
            _ => {
                *byte = b'1';
                return Session(name);
            }
        }
    }
    Session(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_count_on() {
        for (name, next) in [
            (b"PEREGRINE1", b"PEREGRINE2"),
            (b"TESTDAY009", b"TESTDAY010"),
            (b"TESTDAYABC", b"TESTDAYAB1"),
            (b"TESTDAY999", b"TESTDA1000"),
            (b"9999999999", b"0000000000"),
        ] {
            assert_eq!(next_session(Session(*name)), Session(*next));
        }
    }

    #[test]
    fn incidents_come_in_their_order_once() {
        let list = [(9, Incident::SessionRoll), (5, Incident::SequenceReset), (1, Incident::SessionRoll)];
        let mut incidents = Incidents::new(&list.map(|(time, incident)| (TimeOfDay(time), incident)), TimeOfDay(2));
        assert_eq!((incidents.next_time(), incidents.take(TimeOfDay(4))), (Some(TimeOfDay(5)), None));
        assert_eq!(incidents.take(TimeOfDay(9)), Some((TimeOfDay(5), Incident::SequenceReset)));
        let last = Some((TimeOfDay(9), Incident::SessionRoll));
        assert_eq!((incidents.take(TimeOfDay(9)), incidents.take(TimeOfDay(99))), (last, None));
    }
}
