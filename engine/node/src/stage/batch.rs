//! Looking ahead: a few events are held back until all of them are known, the memory that they need is asked for at once,
//! and then they are handled one by one. Only where nobody waits for the first of them: where events come faster than they
//! are handled. No result depends on it.

use peregrine_types::{EpochNanos, EventKind, MarketEvent, Sink, SymbolId};

/// Events that are held back at most. The memory of so many can be on its way at once.
const BATCH_LEN: usize = 16;

/// Where the feed role's events go.
pub trait EventSink: Sink<MarketEvent> + Send {
    /// The input is about to end: nothing new is to be ordered for what still comes. Before [`EventSink::end_input`].
    fn stop(&mut self) {}

    /// The last event was pushed.
    fn end_input(&mut self);

    /// The input broke off behind the last event: what is under way stays so. In place of [`EventSink::stop`] and
    /// [`EventSink::end_input`], where the sink can do less than those.
    fn cut_input(&mut self) {
        self.end_input();
    }

    /// No event is due yet; called again and again while that is so.
    fn idle(&mut self) {}

    /// A turn that took packets is over, whether they made events or not: what must not wait for an event, or for a turn
    /// without packets, can be done.
    fn turn_end(&mut self) {}

    /// `events` will be pushed next, in this order: memory that they need can be asked for. Changes nothing.
    fn expect(&mut self, events: &[MarketEvent]) {
        let _: &[MarketEvent] = events;
    }
}

/// The next few events.
#[derive(Debug)]
pub struct Batch {
    events: [MarketEvent; BATCH_LEN],
    len: usize,
}

impl Default for Batch {
    fn default() -> Self {
        let filler = MarketEvent::new(EventKind::SystemEvent, SymbolId::MARKET, EpochNanos(0), EpochNanos(0));
        Self { events: [filler; BATCH_LEN], len: 0 }
    }
}

impl Batch {
    /// Holds an event back, and hands all of them on when there are enough.
    #[inline]
    pub fn add(&mut self, event: &MarketEvent, sink: &mut impl EventSink) {
        if let Some(place) = self.events.get_mut(self.len) {
            *place = *event;
            self.len += 1;
        }
        if self.len >= BATCH_LEN {
            self.flush(sink);
        }
    }

    /// Hands every event on.
    #[inline]
    pub fn flush(&mut self, sink: &mut impl EventSink) {
        let events = self.events.get(..self.len).unwrap_or_default();
        sink.expect(events);
        for event in events {
            // A sink of a replay waits for room; the loop is for sinks that refuse and then take.
            while sink.push(*event).is_err() {}
        }
        self.len = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peregrine_types::{EventSeq, Full};

    /// What came, and how many were announced before each.
    #[derive(Default)]
    struct Seen {
        expected: Vec<u64>,
        pushed: Vec<u64>,
        is_ended: bool,
    }

    impl Sink<MarketEvent> for Seen {
        fn push(&mut self, event: MarketEvent) -> Result<(), Full<MarketEvent>> {
            self.pushed.push(event.id_a);
            Ok(())
        }
    }

    impl EventSink for Seen {
        fn end_input(&mut self) {
            self.is_ended = true;
        }

        fn expect(&mut self, events: &[MarketEvent]) {
            assert_eq!(self.expected, self.pushed, "what was announced before has come");
            self.expected.extend(events.iter().map(|event| event.id_a));
        }
    }

    #[test]
    fn every_event_is_announced_and_comes_once_in_order() {
        let (mut batch, mut seen) = (Batch::default(), Seen::default());
        for number in 0..100 {
            let filler = MarketEvent::new(EventKind::AddOrder, SymbolId(1), EpochNanos(0), EpochNanos(0));
            batch.add(&MarketEvent { id_a: EventSeq(number).0, ..filler }, &mut seen);
            if number % 37 == 0 {
                batch.flush(&mut seen);
            }
        }
        batch.flush(&mut seen);
        batch.flush(&mut seen);
        assert_eq!(seen.pushed, (0..100).collect::<Vec<_>>());
        assert_eq!(seen.expected, seen.pushed);
        seen.end_input();
        assert!(seen.is_ended);
    }
}
