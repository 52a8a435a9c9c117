//! Running a target: as many executions as time allows, each watched.
//!
//! Panics are caught here. An execution that does not come back is seen by a second thread, which keeps its input and
//! ends the process. An allocation beyond the limit of the process aborts it; the supervisor (see the binary) then runs
//! the same seed again with every input written to a file before it is tried.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::mutate::Mutator;
use crate::targets::Target;

/// The longest that one execution may take.
pub const EXECUTION_TIME_MAX: Duration = Duration::from_secs(1);
/// After this long an execution is not waited for any more.
pub const HANG_TIME: Duration = Duration::from_secs(10);

/// How a target is run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How long.
    pub time: Duration,
    /// The seed of the mutations.
    pub seed: u64,
    /// Where inputs that fail are written.
    pub out: PathBuf,
    /// Whether each input is written before it is tried.
    pub is_careful: bool,
}

/// What is wrong with an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The body panicked.
    Panic,
    /// An execution took longer than [`EXECUTION_TIME_MAX`], twice.
    Slow,
}

/// What came of a target.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Inputs tried.
    pub execution_count: u64,
    /// Time it took.
    pub elapsed: Duration,
    /// Inputs that mutations started from.
    pub corpus_count: usize,
    /// The first failure, and the file with its input: the target was left then.
    pub failure: Option<(Failure, PathBuf)>,
}

impl Outcome {
    /// Executions in a second.
    #[must_use]
    pub fn per_second(&self) -> u64 {
        let millis = u64::try_from(self.elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
        self.execution_count.saturating_mul(1_000) / millis
    }
}

/// Tries the corpus as it is, then mutations of it until `plan.time` is over or something fails.
///
/// # Errors
/// When the corpus cannot be made, or an input cannot be written.
pub fn run(target: &Target, plan: &Plan) -> anyhow::Result<Outcome> {
    let corpus = (target.corpus)().with_context(|| format!("corpus of {}", target.name))?;
    fs::create_dir_all(&plan.out).with_context(|| format!("cannot make {}", plan.out.display()))?;
    let watchdog = Watchdog::start(target, plan);
    let mut mutator = Mutator::new(plan.seed, target.name);
    let (start, mut input, mut execution_count) = (Instant::now(), Vec::new(), 0_u64);
    let mut failure = None;
    while start.elapsed() < plan.time || execution_count < corpus.len() as u64 {
        match usize::try_from(execution_count).ok().and_then(|index| corpus.get(index)) {
            Some(seed) => input.clone_from(seed),
            None => mutator.next_input(&corpus, &mut input),
        }
        if plan.is_careful {
            write(&plan.out, &file_name(target, plan.seed, "last"), &input)?;
        }
        watchdog.begin(&input);
        let found = execute(target, &input);
        watchdog.end();
        execution_count += 1;
        if let Some(found) = found {
            let name = file_name(target, plan.seed, &execution_count.to_string());
            failure = Some((found, write(&plan.out, &name, &input)?));
            break;
        }
    }
    Ok(Outcome { execution_count, elapsed: start.elapsed(), corpus_count: corpus.len(), failure })
}

/// Tries one input; one that seemed slow gets a second chance, because the machine may have been busy.
fn execute(target: &Target, input: &[u8]) -> Option<Failure> {
    for _ in 0..2 {
        let start = Instant::now();
        if catch_unwind(AssertUnwindSafe(|| (target.body)(input))).is_err() {
            return Some(Failure::Panic);
        }
        if start.elapsed() <= EXECUTION_TIME_MAX {
            return None;
        }
    }
    Some(Failure::Slow)
}

/// The name of the file for an input of `target`.
#[must_use]
pub fn file_name(target: &Target, seed: u64, which: &str) -> String {
    format!("{}-{seed}-{which}.bin", target.name)
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<PathBuf> {
    let path = folder.join(name);
    fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// What is running now: since when, and on what.
type Running = Arc<Mutex<Option<(Instant, Vec<u8>)>>>;

/// Looks from outside whether an execution comes back.
struct Watchdog {
    running: Running,
    spare: Mutex<Vec<u8>>,
}

impl Watchdog {
    /// Starts looking, until the process ends: the thread sleeps and holds nothing else.
    fn start(target: &Target, plan: &Plan) -> Self {
        let running: Running = Arc::default();
        let (watched, plan, target) = (Arc::downgrade(&running), plan.clone(), *target);
        std::thread::spawn(move || {
            while let Some(running) = watched.upgrade() {
                if let Some((since, input)) = &*running.lock().unwrap_or_else(PoisonError::into_inner)
                    && since.elapsed() > HANG_TIME
                {
                    let written = write(&plan.out, &file_name(&target, plan.seed, "hang"), input);
                    let path = written.map_or_else(|error| error.to_string(), |path| path.display().to_string());
                    eprintln!("error: {} does not come back (seed {}): input in {path}", target.name, plan.seed);
                    std::process::exit(1);
                }
                drop(running);
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        Self { running, spare: Mutex::default() }
    }

    fn begin(&self, input: &[u8]) {
        let mut copy = std::mem::take(&mut *self.spare.lock().unwrap_or_else(PoisonError::into_inner));
        copy.clear();
        copy.extend_from_slice(input);
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), copy));
    }

    fn end(&self) {
        if let Some((_, copy)) = self.running.lock().unwrap_or_else(PoisonError::into_inner).take() {
            *self.spare.lock().unwrap_or_else(PoisonError::into_inner) = copy;
        }
    }
}
