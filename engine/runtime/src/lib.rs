//! Rings, pinned duty cycles, wait strategies, the TSC clock, counters, histograms and the host report.
//!
//! Floor 1: the machinery between stages. A stage is a plain struct; this crate gives it a thread with a core
//! ([`ThreadPlans::launch`]), a way to hand messages on ([`ring`]), and the instruments that watch it. Nothing here
//! knows what the messages mean. Everything that runs per message is free of allocation, locks and system calls, and
//! every capacity is fixed at start.
//!
//! The rings are model-checked: `RUSTFLAGS="--cfg loom" cargo test -p peregrine-runtime --release loom`.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

mod clock;
mod counters;
mod guard;
mod histogram;
mod host;
mod huge_pages;
pub mod ring;
mod role;
mod settings;
mod thread;

pub use clock::{
    NullStopwatch, Stopwatch, TickRate, TscClock, TscStopwatch, rate_error_ppm, serialised_ticks, system_now,
    timer_overhead_ns,
};
pub use counters::{CounterId, CounterReader, CounterRegistry, CounterSample, CounterUnit, CounterWriter};
pub use guard::{GuardConfigError, GuardTransition, GuardVerdict, LatencyGuard, LatencyGuardConfig};
pub use histogram::{
    IntervalReader, LatencyBounds, LatencyBoundsError, LatencyFigures, LatencyRecorder, latency_recorder,
};
pub use host::{HostFact, HostReport, HostVerdict, host_report};
pub use huge_pages::{HUGE_PAGE_LEN, HugePageAllocator, HugePageScope, HugePageUsage, HugePages};
pub use ring::{
    IndexConsumer, IndexProducer, RingConsumer, RingError, RingProducer, SlotConsumer, SlotProducer, index_ring,
    slot_ring,
};
pub use role::{FusedRoles, Role, RoleName, StopFlag, TurnFigures, WaitStrategy};
pub use settings::{Outcome, SettingReport, advise_huge_pages, lock_memory, prefault, unlock_memory};
pub use thread::{
    FinishedRole, LaunchError, PlanViolation, PlanViolations, RoleFailure, RunningRole, StopCause, ThreadPlan,
    ThreadPlans, available_cores,
};
