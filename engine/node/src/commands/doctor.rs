//! `peregrine doctor`: what this host gives, what the engine will apply, what it cannot, and what would mend it. With a
//! profile of a live run its lines are opened for a moment, an XDP program on the interface included.

use peregrine_model::{Backend, Kernel};
use peregrine_report::table::Table;
use peregrine_runtime::{
    HUGE_PAGE_LEN, HostFact, HostVerdict, Outcome, ThreadPlans, WaitStrategy, available_cores, host_report,
    lock_memory, unlock_memory,
};
use peregrine_source::live::{SourceProbe, probe_sources};
use serde_json::json;

use crate::cli::DoctorArgs;
use crate::commands::{load_profile, print, print_json};
use crate::config::Loaded;
use crate::exit::{Exit, Failure};
use crate::run::{huge_pages, thread_plans, try_lines};

pub(super) fn run(args: &DoctorArgs) -> Result<Exit, Failure> {
    let loaded = load_profile(&args.config, &args.set)?;
    let host = host_report();
    let (mut applied, sources) = (applied(&loaded), sources());
    applied.extend(lines(&loaded));
    if args.json {
        let fact = |fact: &HostFact| json!({"key": fact.key, "value": fact.value, "verdict": fact.verdict.name(), "remedy": fact.remedy});
        let host: Vec<_> = host.facts.iter().map(fact).collect();
        let applied: Vec<_> = applied.iter().map(fact).collect();
        let sources: Vec<_> = sources.iter().map(fact).collect();
        let profile = args.config.display().to_string();
        print_json(&json!({"profile": profile, "host": host, "sources": sources, "applied": applied}))?;
        return Ok(Exit::Done);
    }
    let mut text = String::from("This host\n");
    text.push_str(&table(&host.facts));
    text.push_str("\nSources of a live feed\n");
    text.push_str(&table(&sources));
    text.push_str(&format!("\nWhat {} will get\n", args.config.display()));
    text.push_str(&table(&applied));
    print(&text)?;
    Ok(Exit::Done)
}

fn table(facts: &[HostFact]) -> String {
    let mut table = Table::new().left("").left("what").left("found");
    for fact in facts {
        let mark = match fact.verdict {
            HostVerdict::Good => "ok",
            HostVerdict::Limits => "limits",
            HostVerdict::Unknown => "?",
        };
        table.row([mark, &fact.key, &fact.value]);
    }
    // Nothing is cut: what would mend a fact is a command to be copied, and stands on a line of its own.
    let mut text = table.to_text(usize::MAX);
    let remedies = facts.iter().filter_map(|fact| Some((&fact.key, fact.remedy.as_ref()?)));
    for (index, (key, remedy)) in remedies.enumerate() {
        let head = if index == 0 { "\nWhat would mend it\n" } else { "" };
        text.push_str(&format!("{head}{key}: {remedy}\n"));
    }
    text
}

/// What a role does without work, in words.
fn wait_text(wait: WaitStrategy) -> String {
    match wait {
        WaitStrategy::Spin => "spins".to_owned(),
        WaitStrategy::SpinThenYield { spin_count } => format!("yields after {spin_count} turns without work"),
        WaitStrategy::Park { spin_count, park_time } => {
            format!("sleeps {} us at a time after {spin_count} turns without work", park_time.as_micros())
        }
    }
}

/// The ways to receive a feed, each tried out.
fn sources() -> Vec<HostFact> {
    let fact = |probe: SourceProbe| HostFact {
        key: probe.name.to_owned(),
        value: probe.found,
        verdict: if probe.remedy.is_none() { HostVerdict::Good } else { HostVerdict::Limits },
        remedy: probe.remedy,
    };
    probe_sources().into_iter().map(fact).collect()
}

/// The lines of the profile, opened for a moment as a live run would open them.
fn lines(loaded: &Loaded) -> Vec<HostFact> {
    let Some(live) = &loaded.config.live else { return Vec::new() };
    let fact = |key: String, value: String, remedy: Option<String>| {
        let verdict = if remedy.is_none() { HostVerdict::Good } else { HostVerdict::Limits };
        HostFact { key, value, verdict, remedy }
    };
    match try_lines(&loaded.config, live) {
        Ok((granted, refused)) => {
            granted.into_iter().map(|line| fact(line.name, line.value, refused.clone())).collect()
        }
        Err(failure) => vec![fact("lines".to_owned(), "cannot be opened".to_owned(), Some(failure.to_string()))],
    }
}

/// The profile's wishes, each tried out.
fn applied(loaded: &Loaded) -> Vec<HostFact> {
    let runtime = &loaded.config.runtime;
    let mut facts = Vec::new();
    let mut add = |key: &str, value: String, refused: Option<String>| {
        let verdict = if refused.is_none() { HostVerdict::Good } else { HostVerdict::Limits };
        facts.push(HostFact { key: key.to_owned(), value, verdict, remedy: refused });
    };
    let backends = Backend::ALL.into_iter().filter(|backend| Kernel::new(*backend).is_some());
    let names: Vec<String> = backends.map(|backend| format!("{backend:?}")).collect();
    add("kernel backends", names.join(", "), None);
    let plans = thread_plans(runtime);
    for plan in &plans {
        let core = plan.core.map_or("any core".to_owned(), |core| format!("core {core}"));
        let fifo = plan.fifo_priority.map_or("ordinary scheduler".to_owned(), |p| format!("SCHED_FIFO {p}"));
        add(&format!("thread {}", plan.name), format!("{core}, {}, {fifo}", wait_text(plan.wait)), None);
    }
    match ThreadPlans::check(plans, &available_cores()) {
        Ok(_) => add("thread plan", "can be kept".to_owned(), None),
        Err(violations) => add("thread plan", "refused".to_owned(), Some(violations.to_string())),
    }
    let scope = huge_pages(runtime);
    let table = std::hint::black_box(vec![1_u8; 4 * HUGE_PAGE_LEN]);
    for report in scope.finish() {
        match report.outcome {
            Outcome::Applied => add(&report.setting, "granted".to_owned(), None),
            Outcome::Refused { reason, remedy } => add(&report.setting, reason, Some(remedy)),
        }
    }
    drop(table);
    if runtime.lock_memory {
        let report = lock_memory();
        match report.outcome.clone() {
            Outcome::Applied => add("memory locking", "permitted".to_owned(), None),
            Outcome::Refused { reason, remedy } => add("memory locking", reason, Some(remedy)),
        }
        if report.is_applied() {
            let unlocked = unlock_memory();
            if !unlocked.is_applied() {
                add("memory unlocking", "refused".to_owned(), Some("restart the program".to_owned()));
            }
        }
    }
    facts
}
