//! Duty cycles: what a thread of the engine does in one turn, how it waits when a turn finds nothing to do, and what
//! is recorded about its turns.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_utils::CachePadded;
use peregrine_types::Nanos;

use crate::clock::TickRate;

/// One job of the engine, done turn by turn.
pub trait Role: Send {
    /// The role's name: its thread, its file and the prefix of its counters.
    fn name(&self) -> &str;

    /// Does the work at hand, up to a bound of the role's own, and returns how much was done; 0 when there was none,
    /// after which the thread waits as its [`WaitStrategy`] says.
    fn duty_cycle(&mut self) -> usize;

    /// Whether no work will ever come again, so that the thread may end; asked after turns without work.
    fn is_finished(&self) -> bool {
        false
    }

    /// Called once on the role's own thread before the first turn: touch memory here, warm caches.
    fn on_start(&mut self) {}

    /// Called once on the role's own thread after the last turn: flush what is left.
    fn on_stop(&mut self) {}
}

/// Two roles that share a thread: each turn runs the first, then the second. Nest for more.
#[derive(Debug)]
pub struct FusedRoles<A, B> {
    /// Runs first in each turn.
    pub first: A,
    /// Runs second in each turn.
    pub second: B,
    name: String,
}

impl<A: Role, B: Role> FusedRoles<A, B> {
    /// Fuses two roles; the name is both names joined by `+`.
    pub fn new(first: A, second: B) -> Self {
        let name = format!("{}+{}", first.name(), second.name());
        Self { first, second, name }
    }
}

impl<A: Role, B: Role> Role for FusedRoles<A, B> {
    fn name(&self) -> &str {
        &self.name
    }

    fn duty_cycle(&mut self) -> usize {
        self.first.duty_cycle().saturating_add(self.second.duty_cycle())
    }

    fn is_finished(&self) -> bool {
        self.first.is_finished() && self.second.is_finished()
    }

    fn on_start(&mut self) {
        self.first.on_start();
        self.second.on_start();
    }

    fn on_stop(&mut self) {
        self.first.on_stop();
        self.second.on_stop();
    }
}

/// How a thread waits when a turn found nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitStrategy {
    /// Turns again at once: the fastest answer, for a core of its own. No pause instruction: that alone costs up to
    /// 50 ns on some processors.
    Spin,
    /// Turns again `spin_count` times, then gives the core to whoever else wants it, and so on.
    SpinThenYield {
        /// Turns without work before each yield.
        spin_count: u32,
    },
    /// Turns again `spin_count` times, then sleeps until woken ([`crate::RunningRole::wake`]) or `park_time` is over.
    Park {
        /// Turns without work before each sleep.
        spin_count: u32,
        /// The longest sleep: the bound on how late work is noticed that nobody wakes the thread for.
        park_time: Duration,
    },
}

impl WaitStrategy {
    /// Whether a role that waits like this keeps its core busy while it has nothing to do.
    #[must_use]
    pub const fn is_busy(self) -> bool {
        match self {
            Self::Spin | Self::SpinThenYield { .. } => true,
            Self::Park { .. } => false,
        }
    }

    /// Waits once; `idle_turns` counts the turns without work in a row, this one included.
    #[inline]
    pub(crate) fn wait(self, idle_turns: u32) {
        match self {
            Self::Spin => {}
            Self::SpinThenYield { spin_count } => {
                if idle_turns > spin_count {
                    std::thread::yield_now();
                }
            }
            Self::Park { spin_count, park_time } => {
                if idle_turns > spin_count {
                    std::thread::park_timeout(park_time);
                }
            }
        }
    }
}

/// A request to stop, shared by everyone who holds a clone. Roles see it between two turns.
#[derive(Clone, Debug, Default)]
pub struct StopFlag(Arc<CachePadded<AtomicBool>>);

impl StopFlag {
    /// A flag that nobody has raised yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Raises the flag; it cannot be lowered.
    pub fn request(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether the flag is raised.
    #[inline]
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// The flag itself, for a signal handler that can only store into an atomic.
    #[must_use]
    pub fn as_atomic(&self) -> &AtomicBool {
        &self.0
    }
}

/// What is known of a role's turns so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TurnFigures {
    /// Turns taken.
    pub turn_count: u64,
    /// Turns that did work.
    pub busy_turn_count: u64,
    /// Work done in all turns, as the role counts it.
    pub work_count: u64,
    /// Turns longer than the plan's threshold (0 when turns are not timed).
    pub slow_turn_count: u64,
    /// The longest turn (0 when turns are not timed).
    pub longest_turn: Nanos,
}

/// The turns of one role: written by its thread alone, read by anyone.
#[derive(Debug, Default)]
pub(crate) struct TurnRecord {
    turn_count: AtomicU64,
    busy_turn_count: AtomicU64,
    work_count: AtomicU64,
    slow_turn_count: AtomicU64,
    longest_turn_ticks: AtomicU64,
}

impl TurnRecord {
    /// Publishes what the thread has counted; plain stores, no read-modify-write.
    #[inline]
    pub(crate) fn publish(&self, tally: &TurnTally) {
        self.turn_count.store(tally.turn_count, Ordering::Relaxed);
        self.busy_turn_count.store(tally.busy_turn_count, Ordering::Relaxed);
        self.work_count.store(tally.work_count, Ordering::Relaxed);
        self.slow_turn_count.store(tally.slow_turn_count, Ordering::Relaxed);
        self.longest_turn_ticks.store(tally.longest_turn_ticks, Ordering::Relaxed);
    }

    pub(crate) fn figures(&self, rate: TickRate) -> TurnFigures {
        TurnFigures {
            turn_count: self.turn_count.load(Ordering::Relaxed),
            busy_turn_count: self.busy_turn_count.load(Ordering::Relaxed),
            work_count: self.work_count.load(Ordering::Relaxed),
            slow_turn_count: self.slow_turn_count.load(Ordering::Relaxed),
            longest_turn: rate.nanos(self.longest_turn_ticks.load(Ordering::Relaxed)),
        }
    }
}

/// The thread's own count of its turns.
#[derive(Debug, Default)]
pub(crate) struct TurnTally {
    turn_count: u64,
    busy_turn_count: u64,
    work_count: u64,
    slow_turn_count: u64,
    longest_turn_ticks: u64,
}

impl TurnTally {
    /// Counts one turn that did `work` in `ticks`.
    #[inline]
    pub(crate) fn count(&mut self, work: usize, ticks: u64, slow_turn_ticks: u64) {
        self.turn_count = self.turn_count.wrapping_add(1);
        self.busy_turn_count = self.busy_turn_count.wrapping_add(u64::from(work > 0));
        self.work_count = self.work_count.wrapping_add(work as u64);
        self.slow_turn_count = self.slow_turn_count.wrapping_add(u64::from(ticks > slow_turn_ticks));
        self.longest_turn_ticks = self.longest_turn_ticks.max(ticks);
    }
}

/// A role's name as a thread name: 1 to 15 bytes without a zero byte, so that the system shows it whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleName(String);

impl RoleName {
    /// The longest name that Linux shows, in bytes.
    pub const LEN_MAX: usize = 15;

    /// Checks a name; `None` when it is empty, longer than 15 bytes or holds a zero byte.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let is_usable = (1..=Self::LEN_MAX).contains(&name.len()) && !name.as_bytes().contains(&0);
        is_usable.then(|| Self(name.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
