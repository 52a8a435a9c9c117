//! `peregrine run`.

use std::time::{Duration, Instant};

use jiff::civil::Date;
use peregrine_runtime::StopFlag;
use peregrine_types::Nanos;

use crate::cli::{LiveArgs, ModeArg};
use crate::commands::replay::{conclude, mdp3_plan, parse_date, run_dir};
use crate::commands::{is_terminal, load_profile, note};
use crate::config::ModeChoice;
use crate::exit::{Exit, Failure};
use crate::input::InputPlan;
use crate::run::{LiveSettings, Progress, RunPlan};
use crate::stage::schedule::Pace;

/// Time between two lines about the progress where nobody watches.
const QUIET_INTERVAL: Duration = Duration::from_secs(10);

pub(super) fn run(args: &LiveArgs, interrupted: &StopFlag) -> Result<Exit, Failure> {
    let loaded = load_profile(&args.config, &args.run.set)?;
    let Some(live) = &loaded.config.live else {
        return Err(Failure::usage("a live run needs the section [live]: see configs/live.toml"));
    };
    let mode = match args.mode {
        Some(ModeArg::Paper) => ModeChoice::Paper,
        Some(ModeArg::Live) => ModeChoice::Live,
        None => live.mode,
    };
    let date: Option<Date> = args.date.as_deref().map(parse_date).transpose()?;
    let feed = &loaded.config.feed;
    let input = InputPlan {
        files: Vec::new(),
        date,
        zone: feed.venue_zone.clone(),
        symbol_count_max: feed.symbol_count_max,
        reorder_window: Nanos(feed.reorder_window_ns),
        is_sequence_checked: true,
        mdp3: mdp3_plan(feed),
    };
    let dir = run_dir(&args.run, &loaded, "run");
    let plan = RunPlan {
        loaded,
        command: std::env::args().collect::<Vec<_>>().join(" "),
        input,
        pace: Pace::Max,
        from: None,
        to: None,
        packet_count_max: None,
        guard_script: None,
        heard: None,
        is_cut: false,
        live: Some(LiveSettings { mode, date }),
        dir,
    };
    let stop = StopFlag::new();
    let begin = Instant::now();
    let interval = if is_terminal() { Duration::from_secs(1) } else { QUIET_INTERVAL };
    let mut told = Duration::ZERO;
    let mut on_progress = |progress: Progress| {
        let elapsed = begin.elapsed();
        let is_over = args.seconds.is_some_and(|seconds| elapsed >= Duration::from_secs(seconds));
        if interrupted.is_requested() || is_over {
            stop.request();
        }
        if elapsed.saturating_sub(told) >= interval {
            told = elapsed;
            let events = peregrine_report::format::count(progress.event_count);
            note(format_args!("running {} s  {events} events", elapsed.as_secs()));
        }
    };
    let mut run = plan.run(&stop, &mut on_progress)?;
    run.is_interrupted = false;
    let title = match mode {
        ModeChoice::Paper => "Live feed, paper venue",
        ModeChoice::Live => "Live session",
    };
    conclude(&run, &args.run, title)
}
