//! Threads: the plan of who runs where and how, its check, and the launch of named, pinned duty cycles.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_utils::CachePadded;
use peregrine_types::Nanos;

use crate::clock::{TickRate, TscClock};
use crate::role::{Role, RoleName, StopFlag, TurnFigures, TurnRecord, TurnTally, WaitStrategy};
use crate::settings::{SettingReport, pin_to, set_fifo};

/// Where and how one role's thread is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadPlan {
    /// The role's name; the thread gets it too.
    pub name: String,
    /// The core that the thread is pinned to; `None` leaves it to the scheduler.
    pub core: Option<usize>,
    /// How the thread waits.
    pub wait: WaitStrategy,
    /// The real-time priority (`SCHED_FIFO`, 1 to 99), if any.
    pub fifo_priority: Option<u8>,
    /// Turns longer than this are counted as slow; `None` leaves turns untimed, so that the loop reads no ticks.
    pub slow_turn: Option<Nanos>,
}

impl ThreadPlan {
    /// A plan for an unpinned thread that parks for at most a millisecond and counts turns above 1 ms as slow.
    #[must_use]
    pub fn parked(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            core: None,
            wait: WaitStrategy::Park { spin_count: 100, park_time: Duration::from_millis(1) },
            fifo_priority: None,
            slow_turn: Some(Nanos::from_millis(1)),
        }
    }

    /// Whether the thread never gives its core away by itself.
    fn is_hogging(&self) -> bool {
        matches!(self.wait, WaitStrategy::Spin) || (self.fifo_priority.is_some() && self.wait.is_busy())
    }
}

/// What is wrong with a list of plans.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanViolation {
    /// The name cannot be a thread's name.
    #[error("role name {0:?} must have 1 to 15 bytes and no zero byte")]
    NameUnusable(String),
    /// Two plans have one name.
    #[error("role {0:?} is planned twice")]
    NameTwice(String),
    /// The core does not exist or is not ours.
    #[error("role {name:?}: core {core} is not available to this process (available: {available:?})")]
    CoreUnavailable {
        /// The role.
        name: String,
        /// The core it asked for.
        core: usize,
        /// The cores it could have.
        available: Vec<usize>,
    },
    /// The priority is not one that `SCHED_FIFO` knows.
    #[error("role {name:?}: SCHED_FIFO priority {priority} is not in 1..=99")]
    PriorityOutOfRange {
        /// The role.
        name: String,
        /// The priority it asked for.
        priority: u8,
    },
    /// A role that spins or runs under `SCHED_FIFO` shares its core with another role that keeps it busy: whole
    /// scheduler slices, milliseconds each, would be lost to either.
    #[error(
        "role {name:?} {why} on core {core}, which role {other:?} keeps busy too: one would wait for milliseconds while \
         the other turns; give them cores of their own, let both wait with spin_then_yield without SCHED_FIFO, or let \
         the other park"
    )]
    CoreShared {
        /// The role that needs the core for itself.
        name: String,
        /// What it does there: `spins` or `runs under SCHED_FIFO`.
        why: &'static str,
        /// The core.
        core: usize,
        /// The role that it would share with.
        other: String,
    },
    /// More roles spin or run busily under `SCHED_FIFO` than there are cores.
    #[error("{spinning} roles spin but only {cores} cores are available: let some wait with spin_then_yield or park")]
    TooManySpinning {
        /// Roles that never give their core away.
        spinning: usize,
        /// Cores that the process may use.
        cores: usize,
    },
}

/// Everything that is wrong with a list of plans, all at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanViolations(pub Vec<PlanViolation>);

impl fmt::Display for PlanViolations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, violation) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{violation}")?;
        }
        Ok(())
    }
}

impl std::error::Error for PlanViolations {}

/// The cores that this process may run on; empty when the system does not say.
#[must_use]
pub fn available_cores() -> Vec<usize> {
    core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect()
}

/// A checked list of plans: the only door to a thread.
#[derive(Clone, Debug)]
pub struct ThreadPlans {
    plans: Vec<ThreadPlan>,
    /// Which plans have been used, by index; shared by all clones.
    is_launched: Arc<[AtomicBool]>,
    rate: TickRate,
}

impl ThreadPlans {
    /// Checks `plans` against each other and against the `cores` that the process may use ([`available_cores`]).
    ///
    /// # Errors
    /// [`PlanViolations`] with every violation found.
    pub fn check(plans: Vec<ThreadPlan>, cores: &[usize]) -> Result<Self, PlanViolations> {
        let mut violations = Vec::new();
        let mut names = BTreeSet::new();
        for plan in &plans {
            check_alone(plan, cores, &mut violations);
            if !names.insert(plan.name.as_str()) {
                violations.push(PlanViolation::NameTwice(plan.name.clone()));
            }
            violations.extend(plans.iter().filter_map(|other| shared_core(plan, other)));
        }
        let spinning = plans.iter().filter(|plan| plan.is_hogging()).count();
        if spinning > cores.len() {
            violations.push(PlanViolation::TooManySpinning { spinning, cores: cores.len() });
        }
        if !violations.is_empty() {
            return Err(PlanViolations(violations));
        }
        let is_launched = plans.iter().map(|_| AtomicBool::new(false)).collect();
        Ok(Self { plans, is_launched, rate: TscClock::calibrated().rate() })
    }

    /// The plans.
    #[must_use]
    pub fn plans(&self) -> &[ThreadPlan] {
        &self.plans
    }

    /// Starts the thread of `role` as the plan of its name says. Returns once the thread has applied its settings and
    /// just before its first turn; what the system refused stands in [`RunningRole::settings`].
    ///
    /// # Errors
    /// [`LaunchError::NotPlanned`] when no plan has the role's name, [`LaunchError::LaunchedTwice`] when its plan was
    /// used before (two threads of one plan would share a core unchecked), [`LaunchError::Spawn`] when the system gives no
    /// thread, [`LaunchError::DiedAtStart`] when the role's `on_start` panicked.
    pub fn launch<R: Role + 'static>(&self, role: R, stop: &StopFlag) -> Result<RunningRole<R>, LaunchError> {
        let name = role.name().to_owned();
        let mut planned = self.plans.iter().zip(self.is_launched.iter());
        let Some((plan, is_launched)) = planned.find(|(plan, _)| plan.name == name) else {
            return Err(LaunchError::NotPlanned(name));
        };
        if is_launched.swap(true, Ordering::AcqRel) {
            return Err(LaunchError::LaunchedTwice(name));
        }
        let plan = plan.clone();
        let record = Arc::new(CachePadded::new(TurnRecord::default()));
        let (settings_in, settings_out) = mpsc::sync_channel(1);
        let work = DutyLoop { plan, stop: stop.clone(), record: Arc::clone(&record), rate: self.rate };
        let thread = std::thread::Builder::new()
            .name(name.clone())
            .spawn(move || work.run(role, &settings_in))
            .map_err(|source| LaunchError::Spawn { name: name.clone(), source })?;
        let Ok(settings) = settings_out.recv() else {
            return Err(LaunchError::DiedAtStart(name));
        };
        Ok(RunningRole { name, thread, record, rate: self.rate, settings })
    }
}

/// Why a thread did not start.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// No plan has this role's name.
    #[error("role {0:?} has no thread plan: add one under its name")]
    NotPlanned(String),
    /// The plan of this role was used before.
    #[error("role {0:?} was launched before: check new plans to launch it again")]
    LaunchedTwice(String),
    /// The system gave no thread.
    #[error("role {name:?}: no thread: {source}")]
    Spawn {
        /// The role.
        name: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The role's thread ended before its first turn.
    #[error("role {0:?} panicked before its first turn")]
    DiedAtStart(String),
}

/// Checks what needs no other plan.
fn check_alone(plan: &ThreadPlan, cores: &[usize], violations: &mut Vec<PlanViolation>) {
    let name = plan.name.clone();
    if RoleName::new(&name).is_none() {
        violations.push(PlanViolation::NameUnusable(name.clone()));
    }
    if let Some(core) = plan.core.filter(|core| !cores.contains(core)) {
        violations.push(PlanViolation::CoreUnavailable { name: name.clone(), core, available: cores.to_vec() });
    }
    if let Some(priority) = plan.fifo_priority.filter(|priority| !(1..=99).contains(priority)) {
        violations.push(PlanViolation::PriorityOutOfRange { name, priority });
    }
}

/// Whether `plan` needs a core for itself that `other` keeps busy too. A busy `SCHED_FIFO` role starves even roles
/// that park.
fn shared_core(plan: &ThreadPlan, other: &ThreadPlan) -> Option<PlanViolation> {
    let core = plan.core.filter(|&core| other.core == Some(core) && !std::ptr::eq(plan, other))?;
    let why = match (plan.fifo_priority, plan.wait) {
        (Some(_), _) => "runs under SCHED_FIFO",
        (None, WaitStrategy::Spin) => "spins",
        (None, WaitStrategy::SpinThenYield { .. } | WaitStrategy::Park { .. }) => return None,
    };
    let starves_all = plan.fifo_priority.is_some() && plan.wait.is_busy();
    (other.wait.is_busy() || starves_all).then(|| PlanViolation::CoreShared {
        name: plan.name.clone(),
        why,
        core,
        other: other.name.clone(),
    })
}

/// Why a role's thread ended its turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopCause {
    /// The stop flag was raised.
    Requested,
    /// The role said that no work would come again.
    Finished,
}

/// What a role's thread does.
struct DutyLoop {
    plan: ThreadPlan,
    stop: StopFlag,
    record: Arc<CachePadded<TurnRecord>>,
    rate: TickRate,
}

impl DutyLoop {
    fn run<R: Role>(self, mut role: R, settings: &mpsc::SyncSender<Vec<SettingReport>>) -> (R, StopCause) {
        let mut reports = Vec::new();
        reports.extend(self.plan.core.map(pin_to));
        reports.extend(self.plan.fifo_priority.map(set_fifo));
        role.on_start();
        // The launcher waits for this; it can only be gone if its own thread died, and then the stop flag decides.
        settings.send(reports).ok();
        let cause = match self.plan.slow_turn {
            Some(slow_turn) => {
                let clock = TscClock::calibrated();
                self.turns(&mut role, || clock.ticks(), self.rate.ticks(slow_turn))
            }
            None => self.turns(&mut role, || 0, u64::MAX),
        };
        role.on_stop();
        (role, cause)
    }

    /// The turns. The end of one turn is the start of the next unless the role waited between them, so that a loop that is
    /// busy, or spins, reads the ticks once per turn.
    fn turns<R: Role>(&self, role: &mut R, ticks: impl Fn() -> u64, slow_turn_ticks: u64) -> StopCause {
        let mut tally = TurnTally::default();
        let mut idle_turns = 0_u32;
        let mut start = ticks();
        loop {
            if self.stop.is_requested() {
                return StopCause::Requested;
            }
            let work = role.duty_cycle();
            let end = ticks();
            tally.count(work, end.saturating_sub(start), slow_turn_ticks);
            self.record.publish(&tally);
            start = end;
            if work > 0 {
                idle_turns = 0;
                continue;
            }
            if role.is_finished() {
                return StopCause::Finished;
            }
            idle_turns = idle_turns.saturating_add(1);
            if self.plan.wait != WaitStrategy::Spin {
                self.plan.wait.wait(idle_turns);
                start = ticks();
            }
        }
    }
}

/// A role on its thread.
#[derive(Debug)]
pub struct RunningRole<R> {
    name: String,
    thread: JoinHandle<(R, StopCause)>,
    record: Arc<CachePadded<TurnRecord>>,
    rate: TickRate,
    settings: Vec<SettingReport>,
}

/// A role after its last turn.
#[derive(Debug)]
pub struct FinishedRole<R> {
    /// The role, given back with all it learnt.
    pub role: R,
    /// Why its turns ended.
    pub cause: StopCause,
    /// What is known of its turns.
    pub turns: TurnFigures,
    /// What was asked of the system for its thread.
    pub settings: Vec<SettingReport>,
}

/// A role's thread panicked (in release builds the whole process ends instead).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("role {name:?} panicked: {message}")]
pub struct RoleFailure {
    /// The role.
    pub name: String,
    /// The panic's message.
    pub message: String,
}

impl<R> RunningRole<R> {
    /// The role's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What was asked of the system for this thread, and what it answered.
    #[must_use]
    pub fn settings(&self) -> &[SettingReport] {
        &self.settings
    }

    /// What is known of the turns so far; safe to ask at any time, from any thread.
    #[must_use]
    pub fn turns(&self) -> TurnFigures {
        self.record.figures(self.rate)
    }

    /// Whether the thread has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Wakes the thread if it parks: after work was put in its ring, or the stop flag raised.
    pub fn wake(&self) {
        self.thread.thread().unpark();
    }

    /// Waits for the thread's end. Wakes it first, so that a raised stop flag is seen at once.
    ///
    /// # Errors
    /// [`RoleFailure`] when the role panicked.
    pub fn join(self) -> Result<FinishedRole<R>, RoleFailure> {
        self.wake();
        match self.thread.join() {
            Ok((role, cause)) => {
                let turns = self.record.figures(self.rate);
                Ok(FinishedRole { role, cause, turns, settings: self.settings })
            }
            Err(payload) => {
                let text = payload.downcast_ref::<&str>().map(|&text| text.to_owned());
                let message = text.or_else(|| payload.downcast_ref::<String>().cloned());
                Err(RoleFailure { name: self.name, message: message.unwrap_or_else(|| "no message".to_owned()) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::FusedRoles;
    use crate::settings::Outcome;

    #[derive(Debug)]
    /// Counts down, optionally slowly, then is finished.
    struct Countdown {
        name: &'static str,
        left: u32,
        pause: Duration,
        log: Vec<&'static str>,
    }

    impl Role for Countdown {
        fn name(&self) -> &str {
            self.name
        }
        fn duty_cycle(&mut self) -> usize {
            if self.left == 0 {
                return 0;
            }
            self.left -= 1;
            std::thread::sleep(self.pause);
            2
        }
        fn is_finished(&self) -> bool {
            self.left == 0
        }
        fn on_start(&mut self) {
            self.log.push("start");
        }
        fn on_stop(&mut self) {
            self.log.push("stop");
        }
    }

    fn countdown(name: &'static str, left: u32) -> Countdown {
        Countdown { name, left, pause: Duration::ZERO, log: Vec::new() }
    }

    fn plan(name: &str, core: Option<usize>, wait: WaitStrategy) -> ThreadPlan {
        ThreadPlan { name: name.to_owned(), core, wait, fifo_priority: None, slow_turn: None }
    }

    const YIELD: WaitStrategy = WaitStrategy::SpinThenYield { spin_count: 10 };
    const PARK: WaitStrategy = WaitStrategy::Park { spin_count: 1, park_time: Duration::from_secs(60) };

    fn violations(plans: Vec<ThreadPlan>) -> Vec<PlanViolation> {
        ThreadPlans::check(plans, &[0, 1]).err().map(|found| found.0).unwrap_or_default()
    }

    #[test]
    fn a_role_runs_to_its_end_and_comes_back_with_figures() {
        let core = available_cores().first().copied();
        let plans = ThreadPlans::check(vec![plan("count", core, YIELD)], &available_cores()).unwrap();
        let running = plans.launch(countdown("count", 100), &StopFlag::new()).unwrap();
        assert!(running.settings().iter().all(SettingReport::is_applied));
        assert_eq!(running.settings().len(), 1);
        let finished = running.join().unwrap();
        assert_eq!(finished.cause, StopCause::Finished);
        assert_eq!(finished.role.log, ["start", "stop"]);
        assert_eq!((finished.turns.busy_turn_count, finished.turns.work_count), (100, 200));
        assert_eq!((finished.turns.turn_count, finished.turns.longest_turn), (101, Nanos::ZERO));
    }

    #[test]
    fn fifo_is_applied_or_refused_with_a_remedy_and_the_role_runs_either_way() {
        let fifo = ThreadPlan { fifo_priority: Some(1), ..plan("fifo", None, PARK) };
        let plans = ThreadPlans::check(vec![fifo], &available_cores()).unwrap();
        let finished = plans.launch(countdown("fifo", 3), &StopFlag::new()).unwrap().join().unwrap();
        let [report] = finished.settings.as_slice() else { panic!("{:?}", finished.settings) };
        assert_eq!(report.setting, "SCHED_FIFO priority 1");
        if let Outcome::Refused { reason, remedy } = &report.outcome {
            assert!(!reason.is_empty() && remedy.contains("setcap"));
        }
        assert_eq!(finished.turns.work_count, 6);
    }

    #[test]
    fn slow_turns_are_counted_and_the_longest_kept() {
        let slow = ThreadPlan { slow_turn: Some(Nanos::from_millis(2)), ..plan("slow", None, YIELD) };
        let plans = ThreadPlans::check(vec![slow], &available_cores()).unwrap();
        let role = Countdown { pause: Duration::from_millis(3), ..countdown("slow", 4) };
        let turns = plans.launch(role, &StopFlag::new()).unwrap().join().unwrap().turns;
        assert!(turns.slow_turn_count >= 4 && turns.longest_turn >= Nanos::from_millis(3), "{turns:?}");
        assert!(turns.longest_turn < Nanos::from_secs(10));
    }

    #[test]
    fn a_raised_stop_flag_ends_a_parked_role_at_once() {
        struct Idle;
        impl Role for Idle {
            fn name(&self) -> &str {
                "idle"
            }
            fn duty_cycle(&mut self) -> usize {
                0
            }
        }
        let plans = ThreadPlans::check(vec![plan("idle", None, PARK)], &available_cores()).unwrap();
        let stop = StopFlag::new();
        let running = plans.launch(Idle, &stop).unwrap();
        assert!(!running.is_finished());
        stop.request();
        assert_eq!(running.join().unwrap().cause, StopCause::Requested, "within the minute that it would sleep");
    }

    #[test]
    fn fused_roles_take_turns_and_finish_together() {
        let fused = FusedRoles::new(countdown("feed", 3), countdown("decide", 5));
        let plans = ThreadPlans::check(vec![plan("feed+decide", None, YIELD)], &available_cores()).unwrap();
        let finished = plans.launch(fused, &StopFlag::new()).unwrap().join().unwrap();
        assert_eq!((finished.turns.work_count, finished.turns.turn_count), (16, 6));
        assert_eq!(finished.role.second.log, ["start", "stop"]);
    }

    #[test]
    fn a_panic_is_reported_with_its_message_and_an_unplanned_role_is_refused() {
        #[derive(Debug)]
        struct Bad;
        impl Role for Bad {
            fn name(&self) -> &str {
                "bad"
            }
            fn duty_cycle(&mut self) -> usize {
                panic!("broken {}", 7)
            }
        }
        let plans = ThreadPlans::check(vec![plan("bad", None, YIELD)], &available_cores()).unwrap();
        let failure = plans.launch(Bad, &StopFlag::new()).unwrap().join().unwrap_err();
        assert_eq!(failure.to_string(), "role \"bad\" panicked: broken 7");
        let error = plans.launch(countdown("good", 1), &StopFlag::new()).unwrap_err();
        assert!(matches!(error, LaunchError::NotPlanned(name) if name == "good"));
        assert!(matches!(plans.clone().launch(Bad, &StopFlag::new()), Err(LaunchError::LaunchedTwice(_))));
    }

    #[test]
    fn spinning_beside_a_busy_role_is_refused_and_beside_a_parked_one_is_not() {
        let spin = || plan("a", Some(1), WaitStrategy::Spin);
        let found = violations(vec![spin(), plan("b", Some(1), YIELD)]);
        let [PlanViolation::CoreShared { name, why: "spins", core: 1, other }] = found.as_slice() else {
            panic!("{found:?}")
        };
        assert_eq!((name.as_str(), other.as_str()), ("a", "b"));
        assert_eq!(violations(vec![spin(), plan("b", Some(1), PARK)]), []);
        assert_eq!(violations(vec![spin(), plan("b", Some(0), WaitStrategy::Spin)]), []);
        assert_eq!(violations(vec![plan("a", Some(1), YIELD), plan("b", Some(1), YIELD)]), []);
    }

    #[test]
    fn fifo_beside_a_busy_role_is_refused_and_busy_fifo_beside_any() {
        let fifo = |wait| ThreadPlan { fifo_priority: Some(50), ..plan("a", Some(0), wait) };
        assert_eq!(violations(vec![fifo(PARK), plan("b", Some(0), YIELD)]).len(), 1);
        assert_eq!(violations(vec![fifo(PARK), plan("b", Some(0), PARK)]), []);
        assert_eq!(violations(vec![fifo(YIELD), plan("b", Some(0), PARK)]).len(), 1);
    }

    #[test]
    fn every_violation_is_reported_at_once() {
        let mut wrong = plan("a name that is too long", Some(9), YIELD);
        wrong.fifo_priority = Some(100);
        let spin = |name| plan(name, None, WaitStrategy::Spin);
        let found = violations(vec![wrong, spin("x"), spin("x"), spin("z")]);
        assert_eq!(found.len(), 5, "{found:?}");
        let text = PlanViolations(found).to_string();
        for part in ["1 to 15 bytes", "core 9", "priority 100", "planned twice", "4 roles spin"] {
            assert!(text.contains(part), "{part} missing in {text}");
        }
    }
}
