//! A capture by the profile of a live run: what the lines bring, and what servers bring of what every line lost, each on an
//! interface of its own, as a run of the same profile would record it.

use std::path::Path;

use peregrine_runtime::{StopFlag, TscClock};
use peregrine_source::live::{LiveInput, LiveInputError, Recorder};
use peregrine_types::MarketEvent;

use super::found::{Found, Recovered};
use super::holes::Holes;
use super::{Limits, PACKETS_PER_TURN, SLEEP, TURNS_AFTER_END_MAX, fact_text, letter, not_written, recorder_plan};
use crate::cli::CaptureArgs;
use crate::commands::replay::parse_date;
use crate::commands::{load_profile, note};
use crate::exit::{Exit, Failure};
use crate::input::{ClockedInput, EventInput, Taken};
use crate::run::live_plan;

pub(super) fn run(profile: &Path, args: &CaptureArgs, interrupted: &StopFlag) -> Result<Exit, Failure> {
    let loaded = load_profile(profile, &args.set)?;
    let Some(live) = &loaded.config.live else {
        return Err(Failure::usage("a capture by a profile needs its section [live]: see configs/live.toml"));
    };
    let mut plan = live_plan(&loaded.config, live, args.date.as_deref().map(parse_date).transpose()?)?;
    plan.recorder = Some(recorder_plan(args));
    let input = LiveInput::open(&plan, &[]).map_err(|error| match error {
        LiveInputError::Source(error) => error.into(),
        error @ LiveInputError::Recorder { .. } => Failure::io(error),
        error @ (LiveInputError::Arbiter(_) | LiveInputError::Directory(_) | LiveInputError::Lines(_)) => {
            Failure::usage(error)
        }
    })?;
    if let Some(reason) = input.fallback() {
        note(format_args!("source: UDP sockets instead of what live.source wishes for: {reason}"));
    }
    for (index, facts) in input.facts().iter().enumerate() {
        note(format_args!("line {}: {}", letter(index), fact_text(facts)));
    }
    let mut input = ClockedInput::new(input, TscClock::calibrated());
    record(&mut input, (args, interrupted))?;
    input.finish(&mut ignore);
    let counters = input.input.counters();
    let arbiter = input.input.feed().arbiter();
    let recovery = input.input.recovery().map(|_| Recovered {
        counters: counters.recovery,
        superseded_count: arbiter.counters().superseded_message_count,
    });
    let (holes, lines) = (Holes::of(arbiter), input.input.line_counters());
    input.conclude();
    let report = input.recorded.unwrap_or(Ok(None)).map_err(|error| not_written(&args.out, &error))?;
    let report = report.unwrap_or_default();
    Found { report, lines, backward_step_count: counters.backward_step_count, holes, recovery }.conclude(args)
}

/// Events are not what a capture is for.
fn ignore(_: MarketEvent) -> Result<(), peregrine_types::Full<MarketEvent>> {
    Ok(())
}

/// Takes packets until a limit is reached, the session ends, or somebody stops it.
fn record(input: &mut ClockedInput, (args, interrupted): (&CaptureArgs, &StopFlag)) -> Result<(), Failure> {
    let limits = Limits::new(args, interrupted);
    let is = |input: &ClockedInput, what: &dyn Fn(&Recorder) -> bool| input.input.recorder().is_none_or(what);
    let turn = |input: &mut ClockedInput| -> Result<Taken, Failure> {
        for _ in 0..PACKETS_PER_TURN {
            if is(input, &|recorder| limits.is_full(recorder)) {
                return Ok(Taken::End);
            }
            match input.step(&mut ignore)? {
                Taken::Some => {}
                other @ (Taken::Nothing | Taken::End) => return Ok(other),
            }
        }
        Ok(Taken::Some)
    };
    while !is(input, &|recorder| limits.is_over(recorder)) {
        match turn(input)? {
            Taken::Some => {}
            Taken::Nothing => std::thread::sleep(SLEEP),
            Taken::End => return Ok(()),
        }
    }
    // What came before the end and waits in the kernel belongs to it.
    for _ in 0..TURNS_AFTER_END_MAX {
        match turn(input)? {
            Taken::Some => {}
            Taken::Nothing | Taken::End => break,
        }
    }
    Ok(())
}
