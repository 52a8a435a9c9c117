//! What the decide stage of a live run hears beside the market's events, written to its stream as it is heard: with those
//! records for an input a verification makes the same decisions ([`crate::stage::repeat`]).

use peregrine_book::MarketBooks;
use peregrine_decide::HeldMemory;
use peregrine_eventlog::records::{HeardKind, HeardRecord};
use peregrine_risk::Refused;
use peregrine_runtime::Stopwatch;
use peregrine_types::{EpochNanos, EventSeq, Execution, Notional, OrderId, Qty, ReasonCode};

use super::DecideStage;
use crate::stage::path::Permit;

/// What is known of what was heard; kept by live runs and by their verifications alone.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hearing {
    /// Whether a permit was written: the first one always is.
    has_permit: bool,
    /// Approved intents that were given on their way.
    given_count: u64,
}

impl<B: MarketBooks, W: Stopwatch> DecideStage<B, W> {
    /// From now on everything that is heard is written to the log: before the first event of a live run, or of the run that
    /// repeats it. `memories` are what earlier runs of the venue's session left held, be it nothing: nothing is held until
    /// the venue's account is equal to ours.
    pub fn begin_hearing(&mut self, memories: Vec<HeldMemory>) {
        self.hearing = Some(Hearing::default());
        let qty = Qty(u64::try_from(memories.len()).unwrap_or(u64::MAX));
        self.write_heard(HeardRecord { kind: HeardKind::Began, qty, ..HeardRecord::default() });
        self.strategy.remember_held(memories);
    }

    /// The number of the next event.
    #[must_use]
    #[inline]
    pub const fn next_seq(&self) -> EventSeq {
        EventSeq(self.next_seq)
    }

    #[inline]
    pub(super) fn hear_report(&mut self, execution: &Execution) {
        if self.hearing.is_some() {
            self.write_heard(record_of(execution));
        }
    }

    #[inline]
    pub(super) fn hear_permit(&mut self, permit: &Permit) {
        let Some(hearing) = &mut self.hearing else { return };
        let is_same = permit.block == self.block && permit.last_number <= self.risk.last_number();
        if std::mem::replace(&mut hearing.has_permit, true) && is_same {
            return;
        }
        let reason = permit.block.unwrap_or(ReasonCode::None);
        let order_id = permit.last_number;
        self.write_heard(HeardRecord { kind: HeardKind::Permit, order_id, reason, ..HeardRecord::default() });
    }

    /// Orders are withdrawn at `now` though no event came.
    pub(super) fn hear_withdrawal(&mut self, now: EpochNanos) {
        self.write_heard(HeardRecord { kind: HeardKind::Withdrawal, visible_time: now, ..HeardRecord::default() });
    }

    /// An approved intent is about to be given on its way.
    #[inline]
    pub(super) const fn count_given(&mut self) {
        if let Some(hearing) = &mut self.hearing {
            hearing.given_count = hearing.given_count.saturating_add(1);
        }
    }

    /// The intent given last was refused.
    pub(super) fn hear_refusal(&mut self, refused: &Refused) {
        let Some(Hearing { given_count, .. }) = self.hearing else { return };
        let (order_id, reason) = (refused.order.command().order_id(), refused.reason);
        let (kind, qty) = (HeardKind::Refused, Qty(given_count));
        self.write_heard(HeardRecord { kind, order_id, reason, qty, ..HeardRecord::default() });
    }

    fn write_heard(&mut self, record: HeardRecord) {
        if self.hearing.is_some() {
            self.log.append(&HeardRecord { event_seq: self.next_seq(), ..record });
        }
    }
}

/// A report as the log has it.
fn record_of(execution: &Execution) -> HeardRecord {
    HeardRecord {
        order_id: execution.order_id,
        match_number: execution.match_number,
        price: execution.price,
        qty: execution.qty,
        leaves_qty: execution.leaves_qty,
        venue_time: execution.venue_time,
        visible_time: execution.visible_time,
        fee: i64::try_from(execution.fee.0).unwrap_or(i64::MAX),
        symbol: execution.symbol,
        reason: execution.reason,
        kind: HeardKind::Report,
        report: execution.kind,
        side: execution.side,
        liquidity: execution.liquidity,
        ..HeardRecord::default()
    }
}

/// The report that a record of the log is.
#[must_use]
pub fn execution_of(record: &HeardRecord) -> Execution {
    Execution {
        order_id: record.order_id,
        symbol: record.symbol,
        side: record.side,
        kind: record.report,
        liquidity: record.liquidity,
        reason: record.reason,
        price: record.price,
        qty: record.qty,
        leaves_qty: record.leaves_qty,
        match_number: record.match_number,
        venue_time: record.venue_time,
        visible_time: record.visible_time,
        fee: Notional(i128::from(record.fee)),
    }
}

/// The permit that a record of the log is.
#[must_use]
pub fn permit_of(record: &HeardRecord) -> Permit {
    let block = (record.reason != ReasonCode::None).then_some(record.reason);
    Permit { block, last_number: OrderId(record.order_id.0), now: record.visible_time }
}

#[cfg(test)]
mod tests {
    use peregrine_types::{ExecutionKind, Liquidity, MatchNumber, Price, Side, SymbolId};

    use super::*;

    #[test]
    fn a_report_is_in_the_log_whole() {
        let execution = Execution {
            order_id: OrderId(7),
            symbol: SymbolId(3),
            side: Side::Sell,
            kind: ExecutionKind::Busted,
            liquidity: Liquidity::Removed,
            reason: ReasonCode::VenueRejected,
            price: Price(-5),
            qty: Qty(6),
            leaves_qty: Qty(8),
            match_number: MatchNumber(9),
            venue_time: EpochNanos(10),
            visible_time: EpochNanos(11),
            fee: Notional(-12),
        };
        assert_eq!(execution_of(&record_of(&execution)), execution);
    }

    #[test]
    fn a_permit_without_a_block_permits() {
        let record = HeardRecord { kind: HeardKind::Permit, order_id: OrderId(4), ..HeardRecord::default() };
        assert_eq!(permit_of(&record), Permit { last_number: OrderId(4), ..Permit::default() });
        let blocked = permit_of(&HeardRecord { reason: ReasonCode::DataStale, ..record });
        assert_eq!(blocked.block, Some(ReasonCode::DataStale));
    }
}
