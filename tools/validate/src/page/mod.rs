//! The diagnosis as one HTML page that needs nothing else.

mod plots;

use minijinja::{Environment, Value, context, value::Serde};
use peregrine_report::STYLE;
use peregrine_report::format::{count, utc};
use peregrine_types::EpochNanos;

use crate::ahead::{ErrorCurve, curve};
use crate::diagnosis::{Diagnosis, FoldFacts};
use crate::error::ValidateError;
use crate::forecast::horizon_text;
use crate::verdict::{Check, Estimate, Level, Outcome, figure, percent};

const TEMPLATE: &str = include_str!("diagnosis.html");

impl Diagnosis {
    /// The diagnosis as one self-contained page: style, plots and text inline, nothing fetched, no script; readable on a
    /// phone and on paper. Text from outside is escaped wherever it stands.
    ///
    /// # Errors
    /// [`ValidateError::Page`] when the template cannot be rendered: a fault of this crate.
    pub fn to_html(&self) -> Result<String, ValidateError> {
        render(self).map_err(|error| ValidateError::Page { what: format!("{error:#}") })
    }
}

fn render(diagnosis: &Diagnosis) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.add_template("diagnosis.html", TEMPLATE)?;
    let (training, held_out) = (&diagnosis.training, &diagnosis.held_out);
    environment.get_template("diagnosis.html")?.render(context! {
        style => STYLE,
        version => env!("CARGO_PKG_VERSION"),
        model => Serde(&diagnosis.model),
        model_bytes => count(u64::try_from(diagnosis.model.bytes).unwrap_or(u64::MAX)),
        horizons => diagnosis.model.horizons.iter().map(|horizon| horizon_text(*horizon)).collect::<Vec<_>>(),
        verdict => verdict(diagnosis),
        cards => cards(diagnosis),
        levels => [level(diagnosis, Level::Component), level(diagnosis, Level::Latent)],
        data => data_rows(diagnosis),
        folds => [context! { name => "training", sources => Serde(&training.data.sources) },
                  context! { name => "held out", sources => Serde(&held_out.data.sources) }],
        side_by_side => side_by_side(training, held_out),
        feature_rows => feature_rows(training, held_out),
        plots => plots(diagnosis),
        settings => settings(diagnosis),
        seed => diagnosis.settings.sample.seed,
        draws => diagnosis.settings.sample.bootstrap_draws,
        confidence => percent(diagnosis.settings.sample.confidence),
    })
}

fn tag(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "pass",
        Outcome::Warn => "warning",
        Outcome::Fail => "fail",
    }
}

fn verdict(diagnosis: &Diagnosis) -> Value {
    let text = match diagnosis.verdict {
        Outcome::Pass => "Every check passed.",
        Outcome::Warn => "No check failed; some are for a person to look at.",
        Outcome::Fail => "Not fit for use: at least one check failed.",
    };
    let [passed, warned, failed] =
        [Outcome::Pass, Outcome::Warn, Outcome::Fail].map(|outcome| diagnosis.count(outcome));
    context! { tag => tag(diagnosis.verdict), name => diagnosis.verdict.name(), text, passed, warned, failed }
}

/// The figures that a reader looks for first.
fn cards(diagnosis: &Diagnosis) -> Vec<Value> {
    let (seen, unseen) = (&diagnosis.training, &diagnosis.held_out);
    let card = |name: &str, value: String, note: String| context! { name, value, note };
    let skill = |fold: &FoldFacts| {
        curve(&fold.ahead.features, "random walk").map_or(Estimate::UNKNOWN, |curve| curve.model_skill)
    };
    let ece = |fold: &FoldFacts| fold.calibration.as_ref().map_or(f64::NAN, |facts| facts.ece.value);
    let brier = unseen.calibration.as_ref().map_or(Estimate::UNKNOWN, |facts| facts.brier_skill);
    let best = unseen.returns.iter().max_by(|a, b| a.r2.low.total_cmp(&b.r2.low));
    let (r2, over) = best.map_or((Estimate::UNKNOWN, String::new()), |facts| (facts.r2, horizon_text(facts.horizon)));
    vec![
        card(
            "Reconstruction, mean R²",
            figure(unseen.reconstruction.r2_mean.value),
            format!("{} in training", figure(seen.reconstruction.r2_mean.value)),
        ),
        card(
            "Skill over a random walk",
            percent(skill(unseen).value),
            format!(
                "{} to {}; {} in training",
                percent(skill(unseen).low),
                percent(skill(unseen).high),
                percent(skill(seen).value)
            ),
        ),
        card(
            "Effective rank of z",
            format!("{} of {}", figure(unseen.latent.stochastic.effective_rank), unseen.latent.stochastic.width),
            format!("{} active units", unseen.latent.active_units),
        ),
        card("Calibration error", figure(ece(unseen)), format!("{} in training", figure(ece(seen)))),
        card("Brier skill", percent(brier.value), format!("{} to {}", percent(brier.low), percent(brier.high))),
        card("R² of returns", percent(r2.value), format!("{} to {}, over {over}", percent(r2.low), percent(r2.high))),
    ]
}

fn level(diagnosis: &Diagnosis, level: Level) -> Value {
    let name = match level {
        Level::Component => "Level 0: the parts of the artefact",
        Level::Latent => "Level 1: what the latent space knows",
    };
    // What a person must look at stands first, else in the order of the checks.
    let mut checks: Vec<&Check> = diagnosis.checks.iter().filter(|check| check.level == level).collect();
    checks.sort_by_key(|check| std::cmp::Reverse(check.outcome));
    context! { name, checks => checks.into_iter().map(check_row).collect::<Vec<_>>() }
}

fn check_row(check: &Check) -> Value {
    context! {
        tag => tag(check.outcome),
        outcome => check.outcome.name(),
        id => check.id,
        row => check.row,
        question => check.question,
        reason => &check.reason,
        value => if check.value.is_finite() { figure(check.value) } else { String::new() },
        threshold => &check.threshold,
    }
}

/// How much data, and how much of it counts.
fn data_rows(diagnosis: &Diagnosis) -> Vec<Value> {
    let (seen, unseen) = (&diagnosis.training.data, &diagnosis.held_out.data);
    let number = |value: usize| count(u64::try_from(value).unwrap_or(u64::MAX));
    let row = |name: &str, a: String, b: String| context! { name, cells => [a, b] };
    let time = |time_ns: i64| utc(EpochNanos(time_ns));
    let ahead = |fold: &FoldFacts| {
        format!("{}, about {} independent", number(fold.ahead.origins), figure(fold.ahead.effective_origins.round()))
    };
    vec![
        row("rows seen by the model", number(seen.rows_observed), number(unseen.rows_observed)),
        row("rows judged", number(seen.rows_kept), number(unseen.rows_kept)),
        row(
            "rows behind intervals",
            format!("{}, about {} independent", number(seen.rows_sampled), figure(seen.effective_rows.round())),
            format!("{}, about {} independent", number(unseen.rows_sampled), figure(unseen.effective_rows.round())),
        ),
        row("origins rolled forward", ahead(&diagnosis.training), ahead(&diagnosis.held_out)),
        row(
            "instruments, sequences",
            format!("{}, {}", seen.instruments, seen.sequences),
            format!("{}, {}", unseen.instruments, unseen.sequences),
        ),
        row("first row, UTC", time(seen.first_time_ns), time(unseen.first_time_ns)),
        row("last row, UTC", time(seen.last_time_ns), time(unseen.last_time_ns)),
        row("SHA-256", seen.sha256.clone(), unseen.sha256.clone()),
    ]
}

/// The main figures of both datasets, and what was lost on the way.
fn side_by_side(seen: &FoldFacts, unseen: &FoldFacts) -> Vec<Value> {
    let pair = |name: String, a: &Estimate, b: &Estimate| context! { name, cells => [a.text(), b.text(), figure(b.value - a.value)] };
    let plain = |name: &str, a: f64, b: f64| context! { name, cells => [figure(a), figure(b), figure(b - a)] };
    let mut rows = vec![pair(
        "mean R² of reconstruction".to_owned(),
        &seen.reconstruction.r2_mean,
        &unseen.reconstruction.r2_mean,
    )];
    for (kind, of) in [("features", &seen.ahead.features), ("returns", &seen.ahead.returns)] {
        let other = if kind == "features" { &unseen.ahead.features } else { &unseen.ahead.returns };
        for a in of.iter().skip(1) {
            if let Some(b) = curve(other, a.predictor) {
                rows.push(pair(
                    format!("{kind} ahead: skill over the {}", a.predictor),
                    &a.model_skill,
                    &b.model_skill,
                ));
            }
        }
    }
    for a in seen.ahead.features.iter().take(3) {
        if let Some(b) = curve(&unseen.ahead.features, a.predictor) {
            rows.push(pair(
                format!("growth exponent of the error, {}", a.predictor),
                &a.growth_exponent,
                &b.growth_exponent,
            ));
        }
    }
    let (z, w) = (&seen.latent, &unseen.latent);
    rows.push(plain("effective rank of z", z.stochastic.effective_rank, w.stochastic.effective_rank));
    rows.push(plain("participation ratio of z", z.stochastic.participation_ratio, w.stochastic.participation_ratio));
    rows.push(plain("effective rank of h", z.deterministic.effective_rank, w.deterministic.effective_rank));
    rows.push(plain("KL from N(0, I), nats", z.kl, w.kl));
    rows.push(plain("active units", z.active_units as f64, w.active_units as f64));
    rows.push(plain("surprise KL(q‖p), nats", z.surprise, w.surprise));
    rows.push(plain("neighbours kept", z.neighbours_kept, w.neighbours_kept));
    rows.push(plain("trustworthiness", z.trustworthiness, w.trustworthiness));
    rows.push(plain("total correlation, nats per dimension", z.total_correlation, w.total_correlation));
    rows.push(plain("mutual-information gap", z.information_gap_mean, w.information_gap_mean));
    rows.push(plain("silhouette of regimes", seen.regimes.silhouette, unseen.regimes.silhouette));
    if let (Some(a), Some(b)) = (&seen.calibration, &unseen.calibration) {
        rows.push(pair("expected calibration error".to_owned(), &a.ece, &b.ece));
        rows.push(pair("Brier skill".to_owned(), &a.brier_skill, &b.brier_skill));
        rows.push(plain("log loss, nats", a.log_loss, b.log_loss));
        rows.push(plain("share of up-moves", a.base_rate, b.base_rate));
    }
    if let (Some(a), Some(b)) = (&seen.lstm, &unseen.lstm) {
        rows.push(pair("Brier skill over the LSTM".to_owned(), &a.model_skill, &b.model_skill));
        rows.push(plain("Brier score of the LSTM", a.brier, b.brier));
    }
    for a in &seen.returns {
        if let Some(b) = unseen.returns.iter().find(|b| b.horizon == a.horizon) {
            rows.push(pair(format!("R² of returns over {}", horizon_text(a.horizon)), &a.r2, &b.r2));
        }
    }
    rows
}

fn feature_rows(seen: &FoldFacts, unseen: &FoldFacts) -> Vec<Value> {
    let pairs = seen.reconstruction.features.iter().zip(&unseen.reconstruction.features);
    let rows = pairs.map(|(a, b)| {
        context! { name => &a.name, cells => [figure(a.mse), a.r2.text(), figure(b.mse), b.r2.text()] }
    });
    rows.collect()
}

fn safe(markup: String) -> Value {
    Value::from_safe_string(markup)
}

fn predictors(curves: &[ErrorCurve]) -> Value {
    let entries = curves.iter().zip(plots::PREDICTOR_CLASSES);
    let entries: Vec<_> = entries.map(|(curve, class)| (class.to_owned(), curve.predictor.to_owned())).collect();
    safe(plots::legend(&entries))
}

fn plots(diagnosis: &Diagnosis) -> Value {
    let (seen, unseen) = (&diagnosis.training, &diagnosis.held_out);
    let both = [("training", seen), ("held out", unseen)];
    let ranges = plots::common_range([seen, unseen]);
    let regimes = &diagnosis.model.regimes;
    let names: Vec<_> =
        regimes.iter().enumerate().map(|(index, name)| (plots::series(index) + " strong", name.clone())).collect();
    let trajectories = both.map(|(name, fold)| {
        let title = format!("Latent trajectory, {name}");
        safe(plots::trajectory(&title, &fold.trajectory, ranges, regimes.len()))
    });
    let error_plots = |kind: &str, of: fn(&FoldFacts) -> &[ErrorCurve], has_zero: bool| {
        let y = plots::error_range([of(seen), of(unseen)], has_zero);
        let drawn = both.iter().filter(|(_, fold)| !of(fold).is_empty());
        drawn.map(|(name, fold)| safe(plots::errors(&format!("{kind}, {name}"), of(fold), y))).collect::<Vec<_>>()
    };
    let bins = diagnosis.settings.calibration.bins;
    let calibrations = both.iter().filter_map(|(name, fold)| {
        let facts = fold.calibration.as_ref()?;
        Some(safe(plots::calibration(&format!("Calibration, {name}"), facts, bins)))
    });
    let least = diagnosis.settings.latent.correlation_min;
    let heat_maps = both.iter().filter_map(|(name, fold)| {
        let facts = fold.correlations.as_ref()?;
        Some(safe(plots::heat_map(&format!("Correlations, {name}"), facts, least)))
    });
    let two = |a: &str, b: &str| safe(plots::legend(&[("s0".to_owned(), a.to_owned()), b_entry(b)]));
    context! {
        features => safe(plots::features(&seen.reconstruction, &unseen.reconstruction)),
        folds_legend => two("held out", "training"),
        bars_legend => bars(&[("s0", "held out"), ("s7 faint", "training")]),
        spectra => [
            safe(plots::spectrum("Spectrum of z", &seen.latent.stochastic.eigenvalues, &unseen.latent.stochastic.eigenvalues)),
            safe(plots::spectrum("Spectrum of h", &seen.latent.deterministic.eigenvalues, &unseen.latent.deterministic.eigenvalues)),
        ],
        divergence => safe(plots::divergence(&seen.latent.kl_per_dimension, &unseen.latent.kl_per_dimension)),
        trajectories => trajectories.to_vec(),
        regimes_legend => safe(plots::legend(&names)),
        errors => error_plots("Error of features by horizon", |fold| &fold.ahead.features, true),
        errors_legend => predictors(&unseen.ahead.features),
        returns => error_plots("Error of returns by lead", |fold| &fold.ahead.returns, false),
        calibrations => calibrations.collect::<Vec<_>>(),
        heat_maps => heat_maps.collect::<Vec<_>>(),
        inputs => safe(plots::inputs(&diagnosis.component.inputs)),
        inputs_legend => bars(&[("s0", "latent"), ("s3", "heads")]),
        costs => safe(plots::costs(&diagnosis.component.controller)),
        costs_legend => safe(plots::legend(&[("s0".to_owned(), "by half-spread".to_owned()), ("s1".to_owned(), "by fee".to_owned())])),
    }
}

/// A legend of filled bars.
fn bars(entries: &[(&str, &str)]) -> Value {
    let entries: Vec<_> = entries.iter().map(|(class, name)| (format!("{class} strong"), (*name).to_owned())).collect();
    safe(plots::legend(&entries))
}

fn b_entry(name: &str) -> (String, String) {
    ("s7".to_owned(), name.to_owned())
}

/// Every threshold, by section and key.
fn settings(diagnosis: &Diagnosis) -> Vec<Value> {
    let mut rows = Vec::new();
    if let Ok(serde_json::Value::Object(sections)) = serde_json::to_value(diagnosis.settings) {
        for (section, keys) in sections {
            if let serde_json::Value::Object(keys) = keys {
                rows.extend(
                    keys.iter().map(
                        |(key, value)| context! { name => format!("{section}.{key}"), value => value.to_string() },
                    ),
                );
            }
        }
    }
    rows
}
