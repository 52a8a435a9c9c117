//! A replacement that has reached the venue (OUCH 5.0, Replace Order; the rules of the simulated exchange).
//!
//! | the order it is to replace | the replacement |
//! |---|---|
//! | does not rest any more | rejected: too late |
//! | rests, and the symbol is halted or the market closed | rejected; the order stays as it was |
//! | rests, but the replacement is not possible: off the tick, no more than was executed of the chain, or post-only and it would trade | the order is cancelled, the replacement rejected |
//! | rests | takes its place, behind all that stands at its price; where it meets the other side it trades |

use peregrine_book::MarketBooks;
use peregrine_types::{BookState, Execution, ExecutionKind, NewOrder, OrderId, Qty, ReasonCode, ReportKind, Sink};

use super::orders::{Resting, SlotIndex};
use super::{FillModel, LatencyModel, PaperVenue, Place, Report};

impl<F: FillModel, L: LatencyModel> PaperVenue<F, L> {
    /// Lets the replacement at `place` meet the books; `order.qty` is the total of the chain.
    pub(super) fn replace(
        &mut self,
        (replaces, place): (OrderId, Place),
        order: &NewOrder,
        books: &impl MarketBooks,
        out: &mut impl Sink<Execution>,
    ) {
        let found = self.orders.find(order.symbol, replaces);
        let resting = found.and_then(|slot| Some((slot, *self.orders.get(slot)?)));
        let Some((slot, old)) = resting else {
            return self.reject_replacement(place, ReasonCode::VenueReplaceTooLate, order.qty, out);
        };
        if books.state(order.symbol).contains(BookState::HALTED) {
            return self.reject_replacement(place, ReasonCode::VenueHalted, order.qty, out);
        }
        let left = NewOrder { qty: order.qty.saturating_sub(old.executed_qty), ..*order };
        let is_crossing = self.is_crossing(&left, books);
        if let Some(reason) = self.why_not(&left, is_crossing) {
            self.orders.remove(slot);
            self.report_cancel(&old, ReasonCode::VenueUserCancel, place.now, out);
            return self.reject_replacement(place, reason, order.qty, out);
        }
        self.take_place((slot, &old), place, &left, out);
        let open = if is_crossing { self.take(place, &left, books, out) } else { left.qty };
        if open > Qty::ZERO {
            let executed = old.executed_qty.saturating_add(left.qty.saturating_sub(open));
            self.rest(place, &left, (open, executed), books);
        }
    }

    fn take_place(
        &mut self,
        (slot, old): (SlotIndex, &Resting),
        place: Place,
        left: &NewOrder,
        out: &mut impl Sink<Execution>,
    ) {
        debug_assert_eq!(old.symbol, left.symbol, "found among the symbol's orders");
        self.orders.remove(slot);
        self.counters.replaced = self.counters.replaced.saturating_add(1);
        self.report(place, Report::new(ExecutionKind::Replaced, ReasonCode::None, left.qty, left.qty), out);
    }

    /// Why a replacement is not possible; `order.qty` is what it would have open.
    fn why_not(&self, order: &NewOrder, is_crossing: bool) -> Option<ReasonCode> {
        if !self.ticks.of(order.symbol).is_valid(order.price) {
            Some(ReasonCode::VenuePriceInvalid)
        } else if order.qty == Qty::ZERO {
            Some(ReasonCode::VenueRejected)
        } else if order.is_post_only && is_crossing {
            Some(ReasonCode::VenuePostOnly)
        } else {
            None
        }
    }

    fn reject_replacement(&mut self, place: Place, reason: ReasonCode, qty: Qty, out: &mut impl Sink<Execution>) {
        self.counters.rejected = self.counters.rejected.saturating_add(1);
        let rejected = Report::new(ExecutionKind::Rejected, reason, qty, Qty::ZERO);
        self.report(place, Report { answers: ReportKind::Replace, ..rejected }, out);
    }
}
