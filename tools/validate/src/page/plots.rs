//! The plots of a diagnosis, drawn on the report's frame.

use peregrine_report::plot::{Frame, axis_label, escaped};

use crate::ahead::ErrorCurve;
use crate::component::{ControllerFacts, InputEffect};
use crate::diagnosis::{FoldFacts, TrajectoryPoint};
use crate::forecast::CalibrationFacts;
use crate::reconstruction::{FeatureFit, ReconstructionFacts};
use crate::ties::CorrelationFacts;
use crate::verdict::{Estimate, figure};

/// Width of a plot that stands beside another.
const HALF: f64 = 520.0;
/// Height of one row of bars.
const ROW: f64 = 20.0;
/// Last rows of a trajectory that are joined.
const JOINED: usize = 100;

/// Class of a series; colours repeat after eight.
pub(crate) fn series(index: usize) -> String {
    format!("s{}", index % 8)
}

fn as_f64(index: usize) -> f64 {
    index as f64
}

/// Lowest and highest of the finite values, with what must be inside.
fn range(values: impl Iterator<Item = f64>, inside: (f64, f64)) -> (f64, f64) {
    values.filter(|value| value.is_finite()).fold(inside, |(low, high), value| (low.min(value), high.max(value)))
}

/// Named rows of bars: a frame whose rows are as high as their number needs, row 0 on top.
fn rows_of_bars(title: &str, description: &str, names: &[&str], x: (f64, f64)) -> Frame {
    let count = as_f64(names.len());
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let left = (as_f64(longest) * 7.2 + 16.0).clamp(60.0, 220.0);
    let mut frame = Frame::new(title, description, count * ROW + 62.0, x, (count, 0.0)).margins(left, 20.0);
    frame.x_ticks();
    for (row, name) in names.iter().enumerate() {
        let y = frame.at_y(as_f64(row) + 0.5) + 4.0;
        frame.text((left - 8.0, y), "end", "tick", name);
    }
    frame
}

fn whisker(frame: &mut Frame, y: f64, estimate: &Estimate, (low, high): (f64, f64)) {
    if estimate.low.is_finite() && estimate.high.is_finite() {
        frame.line("whisker", &[(estimate.low.clamp(low, high), y), (estimate.high.clamp(low, high), y)]);
    }
}

/// R² per feature, held out above training, with intervals.
pub(crate) fn features(training: &ReconstructionFacts, held_out: &ReconstructionFacts) -> String {
    let names: Vec<&str> = held_out.features.iter().map(|feature| feature.name.as_str()).collect();
    let all = held_out.features.iter().chain(&training.features);
    let low = all.map(|feature| feature.r2.value).filter(|value| value.is_finite()).fold(0.0, f64::min).max(-0.5);
    let x = (low, 1.0);
    let description = format!("Mean R² {} held out, {} in training", held_out.r2_mean.text(), training.r2_mean.text());
    let mut frame = rows_of_bars("R² of reconstruction per feature", &description, &names, x);
    for (row, (unseen, seen)) in held_out.features.iter().zip(&training.features).enumerate() {
        let top = as_f64(row);
        let mut bar = |class: &str, fit: &FeatureFit, from: f64, to: f64| {
            let hint = format!("{}: R² {}, MSE {}", fit.name, fit.r2.text(), figure(fit.mse));
            frame.rect(class, (0.0, from), (fit.r2.value.clamp(low, 1.0), to), &hint);
        };
        bar("s0", unseen, top + 0.12, top + 0.55);
        bar("s7 faint", seen, top + 0.55, top + 0.88);
        whisker(&mut frame, top + 0.335, &unseen.r2, x);
    }
    frame.x_title("R² (1: exact, 0: no better than the mean)");
    frame.finish()
}

/// Share of the variance along each principal direction, both datasets.
pub(crate) fn spectrum(title: &str, training: &[f64], held_out: &[f64]) -> String {
    let shares = |values: &[f64]| {
        let total: f64 = values.iter().sum();
        values.iter().enumerate().map(|(index, value)| (as_f64(index + 1), value / total)).collect::<Vec<_>>()
    };
    let (seen, unseen) = (shares(training), shares(held_out));
    let high = range(seen.iter().chain(&unseen).map(|point| point.1), (0.0, 0.0)).1;
    let last = as_f64(held_out.len().max(2));
    let mut frame = Frame::new(title, "Share of variance by direction", 260.0, (1.0, last), (0.0, high * 1.05))
        .width(HALF)
        .margins(58.0, 16.0);
    frame.y_ticks();
    frame.x_ticks();
    frame.line("s7", &seen);
    frame.dots("s7", &seen, 2.0);
    frame.line("s0", &unseen);
    frame.dots("s0", &unseen, 2.5);
    frame.x_title("principal direction");
    frame.finish()
}

/// KL from N(0, 1) per dimension of z.
pub(crate) fn divergence(training: &[f64], held_out: &[f64]) -> String {
    let high = range(training.iter().chain(held_out).copied(), (0.0, 0.0)).1;
    let count = as_f64(held_out.len());
    let mut frame =
        Frame::new("KL from the unit Gaussian by dimension", "Nats", 260.0, (0.0, count), (0.0, high * 1.05));
    frame = frame.width(HALF).margins(58.0, 16.0);
    frame.y_ticks();
    for (index, (seen, unseen)) in training.iter().zip(held_out).enumerate() {
        let at = as_f64(index);
        let hint = format!("z{index}: {} nats held out, {} in training", figure(*unseen), figure(*seen));
        frame.rect("s0", (at + 0.12, 0.0), (at + 0.5, *unseen), &hint);
        frame.rect("s7 faint", (at + 0.5, 0.0), (at + 0.88, *seen), &hint);
    }
    let step = held_out.len().div_ceil(8).max(1);
    for index in (0..held_out.len()).step_by(step) {
        let (x, y) = (frame.at_x(as_f64(index) + 0.5), 232.0);
        frame.text((x, y), "middle", "tick", &format!("z{index}"));
    }
    frame.x_title("dimension of z");
    frame.finish()
}

/// The range that holds nearly all points of both datasets, the same for both plots.
pub(crate) fn common_range(folds: [&FoldFacts; 2]) -> ((f64, f64), (f64, f64)) {
    let points = || folds.into_iter().flat_map(|fold| fold.trajectory.iter());
    let ends = |values: Vec<f64>| {
        let (low, high) = range(values.iter().copied(), (f64::INFINITY, f64::NEG_INFINITY));
        if low < high { (low, high) } else { (-1.0, 1.0) }
    };
    (ends(points().map(|point| point.first).collect()), ends(points().map(|point| point.second).collect()))
}

/// The latent trajectory along two principal directions, coloured by regime, the last rows joined.
pub(crate) fn trajectory(
    title: &str,
    points: &[TrajectoryPoint],
    (x, y): ((f64, f64), (f64, f64)),
    regimes: usize,
) -> String {
    let description = format!("{} rows by regime", points.len());
    let mut frame = Frame::new(title, &description, 400.0, x, y).width(HALF).margins(58.0, 16.0);
    frame.x_ticks();
    frame.y_ticks();
    let place = |point: &TrajectoryPoint| (point.first, point.second);
    for regime in 0..regimes {
        let own: Vec<_> = points.iter().filter(|point| point.regime == regime).map(place).collect();
        frame.dots(&series(regime), &own, 1.9);
    }
    let last: Vec<_> = points.iter().skip(points.len().saturating_sub(JOINED)).map(place).collect();
    frame.line("trail", &last);
    frame.x_title("first principal direction of z");
    frame.finish()
}

/// Classes of predictors, in the order of the curves.
pub(crate) const PREDICTOR_CLASSES: [&str; 4] = ["s0", "s1", "s2", "s7"];

/// The range of all errors and of the model's band: both datasets get the same scale. From 0 on for features, whose errors
/// differ; just around the errors for returns, which are all near 1.
pub(crate) fn error_range(folds: [&[ErrorCurve]; 2], has_zero: bool) -> (f64, f64) {
    let errors = folds.into_iter().flatten().flat_map(|curve| {
        let is_model = curve.predictor == "model";
        curve.errors.iter().flat_map(move |error| {
            let ends = if is_model { [error.low, error.high] } else { [error.value; 2] };
            ends.into_iter().chain([error.value])
        })
    });
    let (low, high) = range(errors, if has_zero { (0.0, 0.0) } else { (1.0, 1.0) });
    (low - 0.05 * if has_zero { 0.0 } else { high - low }, high + 0.05 * (high - low))
}

/// Error by horizon with a band for the model, and the baselines.
pub(crate) fn errors(title: &str, curves: &[ErrorCurve], y: (f64, f64)) -> String {
    let steps = curves.first().map_or(1, |curve| curve.errors.len());
    let parts = curves.iter().filter_map(|curve| {
        let (first, last) = curve.errors.first().zip(curve.errors.last())?;
        Some(format!("{} {} to {}", curve.predictor, figure(first.value), figure(last.value)))
    });
    let description = parts.collect::<Vec<_>>().join("; ");
    let mut frame = Frame::new(title, &description, 300.0, (1.0, as_f64(steps)), y).width(HALF).margins(58.0, 16.0);
    frame.y_ticks();
    let every = steps.div_ceil(7).max(1);
    for step in (1..=steps).step_by(every) {
        frame.x_tick(as_f64(step), &step.to_string());
    }
    for (curve, class) in curves.iter().zip(PREDICTOR_CLASSES).rev() {
        let at = |(index, error): (usize, &Estimate)| (as_f64(index + 1), error.value);
        let points: Vec<_> = curve.errors.iter().enumerate().map(at).collect();
        if class == "s0" {
            let band = curve.errors.iter().enumerate().map(|(index, error)| (as_f64(index + 1), error.low, error.high));
            frame.band(class, &band.collect::<Vec<_>>());
            frame.dots(class, &points, 2.5);
        }
        frame.line(class, &points);
    }
    frame.x_title("rows ahead");
    frame.finish()
}

/// Reliability with intervals, and below how many rows each bin holds.
pub(crate) fn calibration(title: &str, facts: &CalibrationFacts, bins: usize) -> String {
    let description = format!("ECE {} at n = {}, base rate {}", facts.ece.text(), facts.rows, figure(facts.base_rate));
    let mut frame = Frame::new(title, &description, 400.0, (0.0, 1.0), (-0.28, 1.0)).width(HALF).margins(58.0, 16.0);
    for tick in 0..=5_u32 {
        let value = f64::from(tick) / 5.0;
        frame.x_tick(value, &axis_label(value));
        frame.y_tick(value, &axis_label(value));
    }
    frame.line("ref", &[(0.0, 0.0), (1.0, 1.0)]);
    let most = facts.bins.iter().map(|bin| bin.count).max().unwrap_or(1).max(1);
    let width = 1.0 / bins.max(1) as f64;
    for bin in &facts.bins {
        let high = -0.27 + 0.2 * bin.count as f64 / most as f64;
        // Right-closed bins: the one whose upper edge is not below the probability.
        let left = ((bin.probability / width).ceil() - 1.0).max(0.0) * width;
        let hint = format!("{} rows, said {}, came {}", bin.count, figure(bin.probability), figure(bin.frequency));
        frame.rect("s7 faint", (left + width * 0.06, -0.27), (left + width * 0.94, high), &hint);
        let at = (frame.at_x(left + width / 2.0), frame.at_y(high) - 3.0);
        frame.text(at, "middle", "small", &bin.count.to_string());
        frame.line("whisker", &[(bin.probability, bin.low), (bin.probability, bin.high)]);
    }
    let points: Vec<_> = facts.bins.iter().map(|bin| (bin.probability, bin.frequency)).collect();
    frame.line("s0", &points);
    frame.dots("s0 strong", &points, 4.0);
    frame.x_title("probability of an up-move as said; bars: rows per bin");
    frame.finish()
}

/// Correlations of latent dimensions (rows) with context columns; marked ones have a frame.
pub(crate) fn heat_map(title: &str, facts: &CorrelationFacts, least: f64) -> String {
    let (rows, columns) = (as_f64(facts.pearson.len()), as_f64(facts.context.len()));
    let height = rows * ROW + 70.0;
    let mark = facts.mark.max(least);
    let description = format!("Marked beyond {}, n = {}", figure(mark), facts.rows);
    let mut frame =
        Frame::new(title, &description, height, (0.0, columns), (rows, 0.0)).width(HALF).margins(44.0, 16.0);
    for (row, correlations) in facts.pearson.iter().enumerate() {
        let y = frame.at_y(as_f64(row));
        frame.text((38.0, y + ROW * 0.5 + 3.0), "end", "tick", &format!("z{row}"));
        for (column, r) in correlations.iter().enumerate() {
            heat_cell(&mut frame, (as_f64(column), as_f64(row)), *r, r.abs() >= mark);
        }
    }
    for (column, name) in facts.context.iter().enumerate() {
        let (left, x) = (frame.at_x(as_f64(column)), frame.at_x(as_f64(column) + 0.5));
        let name = shortened(name, (x - left) * 2.0);
        frame.text((x, height - 32.0), "middle", "tick", &name);
    }
    frame.x_title("Pearson's r; framed: beyond chance");
    frame.finish()
}

/// As much of a name as so many pixels hold.
fn shortened(name: &str, pixels: f64) -> String {
    let fits = |count: usize| as_f64(count) * 7.0 <= pixels;
    if fits(name.chars().count()) {
        return name.to_owned();
    }
    let kept: String = name.chars().enumerate().take_while(|(index, _)| fits(index + 2)).map(|(_, c)| c).collect();
    kept + "…"
}

fn heat_cell(frame: &mut Frame, (column, row): (f64, f64), r: f64, is_marked: bool) {
    let (x, y) = (frame.at_x(column), frame.at_y(row));
    let (width, height) = (frame.at_x(column + 1.0) - x - 2.0, frame.at_y(row + 1.0) - y - 2.0);
    let class = if r < 0.0 { "cold" } else { "hot" };
    let opacity = if r.is_finite() { r.abs().min(1.0) * 0.8 } else { 0.0 };
    let framed = if is_marked { " framed" } else { "" };
    frame.put(format_args!(
        "<rect class=\"cell {class}{framed}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
         fill-opacity=\"{opacity:.2}\"/>"
    ));
    let text = if r.is_finite() { format!("{r:.2}") } else { "–".to_owned() };
    frame.text((x + width / 2.0, y + height / 2.0 + 4.0), "middle", "tick ink", &text);
}

/// What a step of one interquartile range in each input moves.
pub(crate) fn inputs(effects: &[InputEffect]) -> String {
    let names: Vec<&str> = effects.iter().map(|effect| effect.name.as_str()).collect();
    let high = range(effects.iter().flat_map(|effect| [effect.latent, effect.heads]), (0.0, 1e-3)).1;
    let mut frame = rows_of_bars("What each input moves", "In standard deviations", &names, (0.0, high * 1.02));
    for (row, effect) in effects.iter().enumerate() {
        let top = as_f64(row);
        let hint = format!("{}: latent {}, heads {}", effect.name, figure(effect.latent), figure(effect.heads));
        frame.rect("s0", (0.0, top + 0.12), (effect.latent, top + 0.5), &hint);
        frame.rect("s3", (0.0, top + 0.5), (effect.heads, top + 0.88), &hint);
    }
    frame.x_title("largest move of a latent dimension and of a head, standard deviations");
    frame.finish()
}

/// Trading by cost.
pub(crate) fn costs(facts: &ControllerFacts) -> String {
    let high =
        range(facts.rungs.iter().flat_map(|rung| [rung.trading_by_half_spread, rung.trading_by_fee]), (0.0, 1e-3)).1;
    let last = as_f64(facts.rungs.len().saturating_sub(1)).max(1.0);
    let mut frame = Frame::new("Trading by cost", "Mean |target − position|", 260.0, (0.0, last), (0.0, high * 1.08));
    frame = frame.width(HALF).margins(58.0, 22.0);
    frame.y_ticks();
    let (mut spread, mut fee) = (Vec::new(), Vec::new());
    for (index, rung) in facts.rungs.iter().enumerate() {
        frame.x_tick(as_f64(index), &axis_label(rung.cost_bps));
        spread.push((as_f64(index), rung.trading_by_half_spread));
        fee.push((as_f64(index), rung.trading_by_fee));
    }
    frame.line("s0", &spread);
    frame.dots("s0", &spread, 3.0);
    frame.line("s1", &fee);
    frame.dots("s1", &fee, 3.0);
    frame.x_title("cost, basis points");
    frame.finish()
}

/// A line of a legend.
pub(crate) fn legend(entries: &[(String, String)]) -> String {
    let one = |(class, text): &(String, String)| {
        format!(
            "<span><svg viewBox=\"0 0 34 8\" aria-hidden=\"true\"><polyline class=\"line {class}\" points=\"0,4 34,4\"/></svg>{}</span>",
            escaped(text)
        )
    };
    format!("<div class=\"legend\">{}</div>", entries.iter().map(one).collect::<String>())
}
