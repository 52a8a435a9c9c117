//! Does the controller act like one that pays: less trading where it costs more, targets that follow the position held?

use peregrine_model::{Latent, PositionInput};
use peregrine_stats::standard_deviation;
use serde::Serialize;

use crate::component::Subject;
use crate::error::ValidateError;
use crate::verdict::{Check, Outcome, Question, figure, percent};

/// Costs that are tried, basis points.
const COSTS_BPS: [f32; 8] = [0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0];
/// Positions that are tried, in units of the largest target.
const POSITIONS: [f32; 5] = [-1.0, -0.5, 0.0, 0.5, 1.0];

/// Trading at one cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CostRung {
    /// Half-spread or fee, basis points.
    pub cost_bps: f64,
    /// Mean |target − position| over states and positions, at that half-spread and no fee.
    pub trading_by_half_spread: f64,
    /// The same at that fee and no half-spread.
    pub trading_by_fee: f64,
}

/// What the controller does.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ControllerFacts {
    /// Standard deviation of the action over the training data, flat and without costs.
    pub action_deviation: f64,
    /// Trading at rising costs.
    pub rungs: Vec<CostRung>,
    /// Share of steps to a higher half-spread or fee that raised trading.
    pub cost_violation_share: f64,
    /// Share of steps to a higher position that lowered the target.
    pub position_violation_share: f64,
}

/// Sums over states.
#[derive(Default)]
struct Sums {
    trading: [[f64; 2]; COSTS_BPS.len()],
    asked: usize,
    cost_steps: usize,
    cost_violations: usize,
    position_steps: usize,
    position_violations: usize,
}

fn at(position: f32, half_spread_bps: f32, fee_bps: f32) -> PositionInput {
    PositionInput { position, half_spread_bps, fee_bps }
}

fn action(subject: &Subject<'_>, latent: &mut Latent<'_>, position: PositionInput) -> Result<f64, ValidateError> {
    Ok(f64::from(subject.kernel.heads(subject.model, latent, position)?.action))
}

impl Sums {
    fn add_costs(&mut self, subject: &Subject<'_>, latent: &mut Latent<'_>, held: f32) -> Result<(), ValidateError> {
        let tolerance = subject.settings.monotone_tolerance;
        self.asked += 1;
        for kind in 0..2_usize {
            let mut before = f64::INFINITY;
            for (sums, cost) in self.trading.iter_mut().zip(COSTS_BPS) {
                let input = if kind == 0 { at(held, cost, 0.0) } else { at(held, 0.0, cost) };
                let trading = (action(subject, latent, input)? - f64::from(held)).abs();
                if let Some(sum) = sums.get_mut(kind) {
                    *sum += trading;
                }
                self.cost_steps += usize::from(before.is_finite());
                self.cost_violations += usize::from(trading > before + tolerance);
                before = trading;
            }
        }
        Ok(())
    }

    fn add_positions(&mut self, subject: &Subject<'_>, latent: &mut Latent<'_>) -> Result<(), ValidateError> {
        for cost in COSTS_BPS {
            let mut before = f64::NEG_INFINITY;
            for position in POSITIONS {
                let target = action(subject, latent, at(position, cost, 0.0))?;
                self.position_steps += usize::from(before.is_finite());
                self.position_violations += usize::from(target < before - subject.settings.monotone_tolerance);
                before = target;
            }
        }
        Ok(())
    }
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { f64::NAN } else { part as f64 / whole as f64 }
}

pub(crate) fn check(subject: &Subject<'_>) -> Result<(Vec<Check>, ControllerFacts), ValidateError> {
    let mut sums = Sums::default();
    subject.probe(|latents, raw| {
        let Some(mut latent) = latents.latent_mut(0) else { return Ok(()) };
        if subject.kernel.observe(subject.model, &mut latent, raw, PositionInput::default()).is_ok() {
            for held in POSITIONS {
                sums.add_costs(subject, &mut latent, held)?;
            }
            sums.add_positions(subject, &mut latent)?;
        }
        Ok(())
    })?;
    let count = sums.asked.max(1) as f64;
    let rungs = COSTS_BPS.iter().zip(sums.trading).map(|(cost, [by_half_spread, by_fee])| CostRung {
        cost_bps: f64::from(*cost),
        trading_by_half_spread: by_half_spread / count,
        trading_by_fee: by_fee / count,
    });
    let [training, _] = subject.traces;
    let facts = ControllerFacts {
        action_deviation: standard_deviation(&training.action, 1)?,
        rungs: rungs.collect(),
        cost_violation_share: share(sums.cost_violations, sums.cost_steps),
        position_violation_share: share(sums.position_violations, sums.position_steps),
    };
    Ok((vec![acts(subject, &facts), costs(subject, &facts), positions(subject, &facts)], facts))
}

fn acts(subject: &Subject<'_>, facts: &ControllerFacts) -> Check {
    let question = Question::component("controller_acts", "Does the controller's target depend on the market?");
    let least = subject.settings.action_deviation_min;
    let reason =
        format!("the target's standard deviation over the training data is {}", figure(facts.action_deviation));
    let outcome = Outcome::unless(facts.action_deviation >= least, Outcome::Fail);
    question.answer(outcome, facts.action_deviation, format!("≥ {least}"), reason)
}

fn costs(subject: &Subject<'_>, facts: &ControllerFacts) -> Check {
    let question = Question::component("controller_costs", "Do larger costs never raise trading?");
    let most = subject.settings.monotone_violation_share_max;
    let ends = (facts.rungs.first(), facts.rungs.last());
    let (Some(free), Some(dear)) = ends else {
        return question.answer(Outcome::Fail, f64::NAN, String::new(), "no cost was tried".to_owned());
    };
    let tolerance = subject.settings.monotone_tolerance;
    let falls = dear.trading_by_half_spread <= free.trading_by_half_spread + tolerance
        && dear.trading_by_fee <= free.trading_by_fee + tolerance;
    let outcome = match (facts.cost_violation_share <= most, falls) {
        (true, true) => Outcome::Pass,
        (false, true) => Outcome::Warn,
        (true | false, false) => Outcome::Fail,
    };
    let reason = format!(
        "mean |target − position| goes from {} without costs to {} at {} bp of half-spread and {} at as much fee; {} of the \
         steps to a higher cost raised trading",
        figure(free.trading_by_half_spread),
        figure(dear.trading_by_half_spread),
        dear.cost_bps,
        figure(dear.trading_by_fee),
        percent(facts.cost_violation_share)
    );
    let limit = format!("falls overall, ≤ {} of the steps rise", percent(most));
    question.answer(outcome, facts.cost_violation_share, limit, reason)
}

fn positions(subject: &Subject<'_>, facts: &ControllerFacts) -> Check {
    let question = Question::component("controller_position", "Does a larger position held never lower the target?");
    let most = subject.settings.monotone_violation_share_max;
    let share = facts.position_violation_share;
    let reason = format!(
        "{} of the steps to a larger position lowered the target: where it falls, the controller would trade to and fro",
        percent(share)
    );
    let limit = format!("≤ {} of the steps", percent(most));
    question.answer(Outcome::unless(share <= most, Outcome::Warn), share, limit, reason)
}
