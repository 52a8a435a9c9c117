//! `peregrine-lab truth`: trains on a market whose truth is known and holds the model against the filter that knows it.

use peregrine_node::commands::{note, print, print_json};
use peregrine_node::exit::{Exit, Failure};
use peregrine_stats::state_space::MarketSpec;
use peregrine_train::TrainConfig;
use peregrine_validate::truth::{TruthBars, TruthError, TruthSpec, TruthVerdict, judge_truth, truth_dataset};
use serde_json::json;

use crate::cli::TruthArgs;
use crate::commands::train::{Files, Run, profile};
use crate::fold::Folds;
use crate::interrupt::Interrupt;

pub(super) fn run(args: &TruthArgs, interrupt: &Interrupt<'_>) -> Result<Exit, Failure> {
    let configs = profile(&args.config)?;
    let [config] = configs.as_slice() else {
        return Err(Failure::usage(format_args!("{}: one configuration, not a search", args.config.display())));
    };
    let Some(world) = &config.world else {
        return Err(Failure::usage(format_args!("{}: the section [world] is missing", args.config.display())));
    };
    let market = MarketSpec { features: world.size.d(), ..MarketSpec::default() };
    let spec = TruthSpec {
        market: if args.without_signal { market.without_signal() } else { market },
        train_rows: args.rows,
        validation_rows: args.rows.div_ceil(4),
        held_out_rows: args.held_out_rows,
        ..TruthSpec::default()
    };
    let config = TrainConfig { seed: args.seed, ..config.clone() };
    let mut data = truth_dataset(&spec, args.seed).map_err(refused)?;
    if args.shuffled {
        data = data.with_shuffled_targets(args.seed);
    }
    note(format_args!(
        "{} rows train, {} validate, {} held out",
        data.train.rows(),
        data.validation.rows(),
        data.held_out.rows()
    ));
    let folds = Folds { train: data.train.clone(), validation: data.validation.clone() };
    let files = Files::new(&args.run, name(args));
    files.refuse_forgotten()?;
    let run = Run { args: &args.run, config: &config, folds: &folds, parent: None, files };
    let candidate = run.train(interrupt)?;
    let verdict = judge_truth(&candidate.bytes, &data, &TruthBars::default(), args.seed).map_err(refused)?;
    if args.run.json {
        print_json(&json!({ "artefact": run.files.artefact, "manifest": candidate.manifest, "verdict": verdict }))?;
    } else {
        print(&(run.files.text(&candidate) + &table(&verdict)))?;
    }
    Ok(if verdict.holds() { Exit::Done } else { Exit::No })
}

fn refused(error: TruthError) -> Failure {
    Failure::usage(error)
}

fn name(args: &TruthArgs) -> String {
    let market = if args.without_signal { "-without-signal" } else { "" };
    let control = if args.shuffled { "-shuffled" } else { "" };
    format!("truth{market}{control}-seed{}", args.seed)
}

fn table(verdict: &TruthVerdict) -> String {
    let mark = |holds: bool| if holds { "pass" } else { "fail" };
    let (regimes, returns, up, bars) = (&verdict.regimes, &verdict.returns, &verdict.up, &verdict.bars);
    let ends = |interval: Option<(f64, f64)>| {
        interval.map_or_else(String::new, |(low, high)| format!(" [{low:.4}, {high:.4}]"))
    };
    let mut text = format!(
        "{} regimes: adjusted Rand index {:.3}, {:.3} of the filter's {:.3} (bar {}), {} regimes named\n",
        mark(regimes.ratio.holds),
        regimes.model,
        regimes.ratio.value,
        regimes.filter,
        bars.regime_ratio_min,
        regimes.regimes_found,
    );
    let r2 = format!("R² over one bar {:.4}{}", returns.model.value, ends(returns.model.interval));
    text.push_str(&match returns.share {
        Some(share) => format!(
            "{} returns: {r2}, {:.3}{} of the filter's {:.4} (bar {})\n",
            mark(share.holds),
            share.value,
            ends(share.interval),
            returns.filter,
            bars.explained_share_min,
        ),
        None => format!("{} returns: {r2} (bar: 0 inside)\n", mark(returns.model.holds)),
    });
    text.push_str(&format!(
        "{} calibration: ECE {:.4} at n = {} (bar {})\n{} sharpness: Brier skill {:.4}{}, the filter's {:.4} (bar: {} at {} %)\nverdict: {}\n",
        mark(up.ece.holds),
        up.ece.value,
        up.n,
        bars.ece_max,
        mark(up.skill.holds),
        up.skill.value,
        ends(up.skill.interval),
        up.filter_skill,
        if verdict.has_signal { "above 0" } else { "not above 0" },
        bars.level * 100.0,
        mark(verdict.holds()),
    ));
    text
}
