//! A decision as the log and the running hash have it.

use peregrine_decide::{Decision, Input};
use peregrine_eventlog::records::{DecisionRecord, GuardAction, HORIZON_COUNT_MAX, IntentKind};
use peregrine_runtime::{GuardTransition, GuardVerdict};
use peregrine_types::{OrderIntent, TopOfBook};

/// The heads as bits, for the hash and the log.
pub(super) struct HeadWords {
    pub(super) words: [u32; 12],
}

pub(super) fn heads_of(decision: &Decision) -> HeadWords {
    let heads = &decision.heads;
    let mut words = [0; 12];
    let values = heads.return_mean.iter().chain(&heads.return_log_var).map(|value| value.to_bits());
    let rest = [heads.up_probability, heads.regime.confidence, heads.action, heads.surprise];
    words.iter_mut().zip(values.chain(rest.map(f32::to_bits))).for_each(|(to, from)| *to = from);
    HeadWords { words }
}

/// Never a part of its caller: what is rehearsed is to be the very code that a decision runs.
#[inline(never)]
pub(super) fn record_of(input: &Input<'_>, decision: Option<&Decision>, top: &TopOfBook) -> DecisionRecord {
    let event = input.event;
    let level = |level: Option<peregrine_types::Level>| level.unwrap_or_default();
    let mut record = DecisionRecord {
        event_seq: input.seq,
        recv_time: event.recv_time,
        exch_time: event.exch_time,
        cause_id: event.id_a,
        cause_price: event.price,
        cause_qty: event.qty,
        cause_kind: event.kind,
        cause_side: event.side,
        cause_detail: event.detail,
        bid_price: level(top.bid).price,
        bid_qty: level(top.bid).qty,
        ask_price: level(top.ask).price,
        ask_qty: level(top.ask).qty,
        ..DecisionRecord::default()
    };
    if let Some(decision) = decision {
        let heads = &decision.heads;
        record.features = decision.features;
        for index in 0..HORIZON_COUNT_MAX {
            record.return_mean[index] = heads.return_mean.get(index).copied().unwrap_or(0.0);
            record.return_log_var[index] = heads.return_log_var.get(index).copied().unwrap_or(0.0);
        }
        record.up_probability = heads.up_probability;
        record.regime_confidence = heads.regime.confidence;
        record.action = heads.action;
        record.surprise = heads.surprise;
        record.regime = u8::try_from(heads.regime.index).unwrap_or(u8::MAX);
    }
    record
}

pub(super) fn fill_intent(
    record: &mut DecisionRecord,
    (intent, is_held): (&OrderIntent, bool),
    (number, horizon_count): (usize, u8),
) {
    match intent {
        OrderIntent::New(order) => {
            record.intent_kind = if is_held { IntentKind::HeldNew } else { IntentKind::New };
            record.intent_side = order.side;
            record.intent_price = order.price;
            record.intent_qty = order.qty;
            record.time_in_force = order.time_in_force;
            record.is_post_only = order.is_post_only;
        }
        OrderIntent::Cancel { order_id, .. } => {
            record.intent_kind = if is_held { IntentKind::HeldCancel } else { IntentKind::Cancel };
            record.order_id = *order_id;
        }
        OrderIntent::Replace { order_id, price, qty, .. } => {
            record.intent_kind = if is_held { IntentKind::HeldReplace } else { IntentKind::Replace };
            record.intent_price = *price;
            record.intent_qty = *qty;
            if record.verdict != peregrine_types::ReasonCode::None {
                record.order_id = *order_id;
            }
        }
    }
    let number = u8::try_from(number).unwrap_or(u8::MAX);
    record.horizons_and_intent = DecisionRecord::pack_counts(horizon_count, number);
}

/// What a step of the latency guard is in the log.
pub(super) const fn guard_action(transition: &GuardTransition) -> Option<GuardAction> {
    match transition.to {
        GuardVerdict::Normal => None,
        GuardVerdict::Warning => Some(GuardAction::Warn),
        GuardVerdict::Halted => Some(GuardAction::Halt),
    }
}
