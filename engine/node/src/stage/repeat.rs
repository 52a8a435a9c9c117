//! The way to a venue in the verification of a live run: nothing is sent, and everything that the run's decide stage heard
//! then is heard again, at the same place between the events.

use std::collections::VecDeque;

use peregrine_book::{BookUpdate, MarketBooks};
use peregrine_eventlog::records::{HeardKind, HeardRecord};
use peregrine_risk::{ApprovedOrder, Refused};
use peregrine_types::{EpochNanos, EventSeq, MarketEvent, ReasonCode};

use super::machine::Inbox;
use super::path::{Permit, SendPath};

/// See the module.
#[derive(Debug)]
pub struct RepeatedSend {
    /// Reports, permits and withdrawals, in the order in which they were heard.
    heard: VecDeque<HeardRecord>,
    /// Which of the approved intents was refused, counted from 1, and why.
    refused: VecDeque<(u64, ReasonCode)>,
    given_count: u64,
}

impl RepeatedSend {
    /// A way on which is heard what `records` say, in their order.
    #[must_use]
    pub fn new(records: &[HeardRecord]) -> Self {
        let refused = records.iter().filter(|record| record.kind == HeardKind::Refused);
        Self {
            refused: refused.map(|record| (record.qty.0, record.reason)).collect(),
            heard: (records.iter().copied())
                .filter(|record| !matches!(record.kind, HeardKind::Refused | HeardKind::Began))
                .collect(),
            given_count: 0,
        }
    }
}

impl<B: MarketBooks> SendPath<B> for RepeatedSend {
    const IS_LIVE: bool = false;
    const IS_REPEATED: bool = true;

    fn before_event(&mut self, _: EpochNanos, _: &B, _: &mut Inbox) {}

    fn after_event(&mut self, _: &MarketEvent, _: &BookUpdate, _: &B, _: &mut Inbox) {}

    fn accept(&mut self, approved: ApprovedOrder) -> Result<(), Refused> {
        self.given_count = self.given_count.saturating_add(1);
        match self.refused.front() {
            Some((number, reason)) if *number == self.given_count => {
                let refused = Refused { order: approved, reason: *reason };
                self.refused.pop_front();
                Err(refused)
            }
            Some(_) | None => Ok(()),
        }
    }

    fn poll(&mut self, _: &mut Inbox) {}

    fn permit(&self) -> Permit {
        Permit::default()
    }

    fn next_heard(&mut self, before: EventSeq) -> Option<HeardRecord> {
        self.heard.pop_front_if(|record| record.event_seq <= before)
    }

    fn visible_by(&self, now: EpochNanos) -> EpochNanos {
        now
    }

    fn finish(&mut self, _: &B, _: &mut Inbox) -> bool {
        true
    }
}
