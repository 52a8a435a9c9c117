//! The definition of the day: its steps, and the ends of orders that live until a time.

use peregrine_gateway::ouch50::CancelReason;
use peregrine_types::SymbolId;

use super::{Order, ReferenceVenue};
use crate::orders::{Auction, Lifetime, TimeOfDay, VenueSink};
use crate::schedule::Step;

impl ReferenceVenue {
    /// What is due, in the order of time; at one time the ends of orders come first.
    pub(super) fn pass_time(&mut self, time: TimeOfDay, sink: &mut impl VenueSink) {
        loop {
            let step = Step::ALL.get(self.steps_done).map(|step| (self.config.schedule.time_of(*step), *step));
            let end = self.resting.iter().filter_map(end_of).min();
            match (end, step) {
                (Some(end), step) if end <= time && step.is_none_or(|(due, _)| end <= due) => {
                    self.end_orders(end, sink);
                }
                (_, Some((due, step))) if due <= time => self.take_step(due, step, sink),
                (_, _) => break,
            }
        }
        self.set_time(time);
    }

    fn take_step(&mut self, due: TimeOfDay, step: Step, sink: &mut impl VenueSink) {
        self.steps_done += 1;
        self.set_time(due);
        self.phase = step.phase();
        self.publisher.system(sink, step.event_code());
        match step {
            Step::StartMessages => {
                for (symbol, config) in self.config.symbols.iter().enumerate() {
                    let symbol = SymbolId(u32::try_from(symbol).unwrap_or(u32::MAX));
                    self.publisher.directory(sink, symbol, config.round_lot);
                    self.publisher.trading_action(sink, symbol, b'T', *b"    ");
                }
            }
            Step::OpenMarket => self.auction(Auction::Opening, sink),
            Step::CloseMarket => {
                self.auction(Auction::Closing, sink);
                self.cancel_all(|order| order.terms.lifetime == Lifetime::Day, CancelReason::CLOSED, sink);
                self.symbols().into_iter().for_each(|symbol| self.settle(symbol, sink));
            }
            Step::EndSystem => self.cancel_all(|_| true, CancelReason::TIMEOUT, sink),
            Step::StartSystem | Step::EndMessages => {}
        }
    }

    fn end_orders(&mut self, end: TimeOfDay, sink: &mut impl VenueSink) {
        self.set_time(end);
        for symbol in self.symbols() {
            let is_meant = |order: &Order| order.symbol == symbol && end_of(order) == Some(end);
            self.cancel_all(is_meant, CancelReason::TIMEOUT, sink);
            self.settle(symbol, sink);
        }
    }
}

const fn end_of(order: &Order) -> Option<TimeOfDay> {
    match order.terms.lifetime {
        Lifetime::Until(end) => Some(end),
        Lifetime::Day | Lifetime::Extended | Lifetime::ImmediateOrCancel | Lifetime::FillOrKill => None,
    }
}
