//! Engine-held orders in the log: each change is a record before an order that follows from it leaves.

use peregrine_book::MarketBooks;
use peregrine_decide::{HeldAction, HeldChange, HeldKind, PegReference, RestOrder};
use peregrine_eventlog::records::{self, HeldRecord};
use peregrine_runtime::Stopwatch;
use peregrine_types::{EpochNanos, EventSeq, ReasonCode, SymbolId};

use super::DecideStage;

impl<B: MarketBooks, W: Stopwatch> DecideStage<B, W> {
    /// Writes what changed about engine-held orders: before any intent that follows from it is sent.
    #[inline]
    pub(super) fn write_held(&mut self, seq: EventSeq) {
        while let Some(change) = self.strategy.take_held_change() {
            self.counters.held_beyond_limits += u64::from(change.action == HeldAction::BeyondLimits);
            let record = held_record(&change, (seq, self.last_time));
            self.hash.value(&record);
            self.log.append(&record);
        }
    }

    /// Orders, fills and positions are the venue's once nothing stands against new orders: what earlier runs left held is
    /// held again.
    #[inline]
    pub(super) fn begin_held_if_due(&mut self, block: Option<ReasonCode>) {
        if block.is_none() && self.strategy.is_held_waiting() {
            self.begin_held();
        }
    }

    #[cold]
    fn begin_held(&mut self) {
        while self.strategy.begin_held() {
            self.write_held(EventSeq(self.next_seq));
        }
        self.write_held(EventSeq(self.next_seq));
    }
}

/// A change of an engine-held order as the log has it.
fn held_record(change: &HeldChange, (event_seq, recv_time): (EventSeq, EpochNanos)) -> HeldRecord {
    HeldRecord {
        event_seq,
        recv_time,
        position: change.position,
        average_price: change.average_price,
        stop_price: change.stop,
        take_price: change.take,
        limit_price: change.rest.limit,
        qty: change.rest.qty,
        offset_ticks: change.rest.offset_ticks,
        reprice_ticks: change.rest.reprice_ticks,
        symbol: change.symbol,
        kind: match change.kind {
            HeldKind::Protection => records::HeldKind::Protection,
            HeldKind::Rest => records::HeldKind::Rest,
        },
        action: match change.action {
            HeldAction::Armed => records::HeldAction::Armed,
            HeldAction::Changed => records::HeldAction::Changed,
            HeldAction::StopFired => records::HeldAction::StopFired,
            HeldAction::TakeFired => records::HeldAction::TakeFired,
            HeldAction::Done => records::HeldAction::Done,
            HeldAction::Canceled => records::HeldAction::Canceled,
            HeldAction::BeyondLimits => records::HeldAction::BeyondLimits,
        },
        side: change.rest.side,
        reference: match change.rest.reference {
            PegReference::Mid => records::PegReference::Mid,
            PegReference::Primary => records::PegReference::Primary,
        },
        is_asked: change.is_asked,
        ..HeldRecord::default()
    }
}

/// What a record of the log says of an engine-held order, under its symbol's identifier of this run.
#[must_use]
pub fn held_change(record: &HeldRecord, symbol: SymbolId) -> HeldChange {
    HeldChange {
        symbol,
        kind: match record.kind {
            records::HeldKind::Protection => HeldKind::Protection,
            records::HeldKind::Rest => HeldKind::Rest,
        },
        action: match record.action {
            records::HeldAction::Armed => HeldAction::Armed,
            records::HeldAction::Changed => HeldAction::Changed,
            records::HeldAction::StopFired => HeldAction::StopFired,
            records::HeldAction::TakeFired => HeldAction::TakeFired,
            records::HeldAction::Done => HeldAction::Done,
            records::HeldAction::Canceled => HeldAction::Canceled,
            records::HeldAction::BeyondLimits => HeldAction::BeyondLimits,
        },
        is_asked: record.is_asked,
        position: record.position,
        average_price: record.average_price,
        stop: record.stop_price,
        take: record.take_price,
        rest: RestOrder {
            side: record.side,
            qty: record.qty,
            reference: match record.reference {
                records::PegReference::Mid => PegReference::Mid,
                records::PegReference::Primary => PegReference::Primary,
            },
            offset_ticks: record.offset_ticks,
            reprice_ticks: record.reprice_ticks,
            limit: record.limit_price,
        },
    }
}
