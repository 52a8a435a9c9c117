//! The story as text.

use crate::{
    format::{count, nanos, signed, utc},
    table::Table,
};

use super::{BestLevel, DecisionStory, OrderStory};

/// Wider than any line of the story's tables.
const WIDTH: usize = 160;
/// Features side by side.
const FEATURES_PER_LINE: usize = 2;

impl OrderStory {
    /// The story as text for a terminal.
    #[must_use]
    pub fn to_text(&self) -> String {
        let side = if self.side == 'B' { "buy" } else { "sell" };
        let post_only = if self.is_post_only { ", post only" } else { "" };
        let mut text = format!(
            "Order {}: {side} {} {} at {}, {}{post_only}\nEnded as: {}, {} filled, fees {}\n",
            self.order_id,
            count(self.qty),
            self.symbol,
            self.price,
            self.time_in_force,
            self.final_state,
            count(self.filled_qty),
            self.fees
        );
        if self.replaces != 0 {
            text.push_str(&format!("In the place of order {}\n", self.replaces));
        }
        match &self.decision {
            Some(decision) => {
                text.push_str("\nWhy it was sent\n");
                decision_text(&mut text, decision);
            }
            None => text.push_str("\nThe log does not hold the decision that made it.\n"),
        }
        for cancel in &self.cancels {
            text.push_str("\nWhy it was to be canceled\n");
            decision_text(&mut text, cancel);
        }
        text.push_str("\nWhat became of it\n");
        text.push_str(&self.steps_text());
        for damage in &self.damages {
            text.push_str(&format!("\nNOT whole: {damage}\n"));
        }
        text
    }

    fn steps_text(&self) -> String {
        let mut table = Table::new().left("step").left("at the venue (UTC)").right("since decision");
        for head in ["price", "qty", "leaves", "filled", "position", "fee"] {
            table = table.right(head);
        }
        let mut table = table.left("note");
        for step in &self.steps {
            let sign = if step.since_decision_ns < 0 { "-" } else { "+" };
            let liquidity = step.liquidity.map(|side| format!("{side} liquidity, match {}", step.match_number));
            let reason = step.reason.map(|reason| format!("{} ({}): {}", reason.name, reason.code, reason.text));
            table.row([
                step.transition.clone(),
                utc(step.venue_time),
                format!("{sign}{}", nanos(step.since_decision_ns.unsigned_abs())),
                step.price.to_string(),
                count(step.qty),
                count(step.leaves_qty),
                count(step.filled_qty),
                signed(step.position),
                step.fee.to_string(),
                liquidity.or(reason).unwrap_or_default(),
            ]);
        }
        indented(&table.to_text(WIDTH.saturating_mul(2)))
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

fn level_text(level: Option<BestLevel>) -> String {
    level.map_or_else(|| "none".to_owned(), |level| format!("{} × {}", count(level.qty), level.price))
}

fn decision_text(text: &mut String, decision: &DecisionStory) {
    let (cause, model) = (&decision.cause, &decision.model);
    let state = if decision.book_state.is_empty() { "good".to_owned() } else { decision.book_state.join(", ") };
    let side = cause.side.map(|side| format!(" {side}")).unwrap_or_default();
    let event = format!("{}{side}, id {}, {} at {}", cause.kind, cause.id, count(cause.qty), cause.price);
    let returns: Vec<_> = model
        .return_mean
        .iter()
        .zip(&model.return_log_var)
        .map(|(mean, log_var)| format!("{mean:.3e} (log variance {log_var:.3})"))
        .collect();
    let mut table = Table::new().left("").left("");
    table
        .row(["event".to_owned(), format!("{event} (number {} of the input)", cause.event_seq)])
        .row(["times".to_owned(), format!("exchange {}, received {}", utc(cause.exch_time), utc(cause.recv_time))])
        .row([
            "book".to_owned(),
            format!("bid {}, ask {}, {state}", level_text(decision.bid), level_text(decision.ask)),
        ])
        .row(["position".to_owned(), signed(decision.position)]);
    // A withdrawal is no decision: nothing was observed, and everything that the model would have said is zero.
    let is_observed = model.up_probability > 0.0 || decision.features.iter().any(|feature| feature.value != 0.0);
    if is_observed {
        let outputs = format!(
            "action {:.4}, up {:.4}, surprise {:.4}, regime {} ({:.3})",
            model.action, model.up_probability, model.surprise, model.regime, model.regime_confidence
        );
        table.row(["model".to_owned(), outputs]).row(["returns".to_owned(), returns.join("; ")]);
    } else {
        table.row(["model", "not asked: the state of the book or of the engine withdrew the order"]);
    }
    table
        .row(["intent".to_owned(), decision.intent.clone()])
        .row(["risk".to_owned(), verdict_text(decision)])
        .row(["record".to_owned(), format!("decide {}", decision.record)]);
    text.push_str(&indented(&table.to_text(WIDTH)));
    if !is_observed {
        return;
    }
    let mut features = (0..FEATURES_PER_LINE).fold(Table::new(), |table, _| table.left("").right(""));
    for chunk in decision.features.chunks(FEATURES_PER_LINE) {
        features.row(chunk.iter().flat_map(|feature| [feature.name.clone(), format!("{:.6}", feature.value)]));
    }
    text.push_str("  features\n");
    text.push_str(&indented(&indented(&features.to_text(WIDTH))));
}

fn verdict_text(decision: &DecisionStory) -> String {
    let verdict = decision.verdict;
    if verdict.code == 0 {
        "approved".to_owned()
    } else {
        format!("denied: {} ({}): {}", verdict.name, verdict.code, verdict.text)
    }
}
