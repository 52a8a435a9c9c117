//! The messages that a recording lacks: those that no line had, by session and number.

use peregrine_types::{EpochNanos, Full};
use peregrine_wire::arbiter::{Arbiter, Deliver};
use peregrine_wire::gap::{Gap, Notice};
use peregrine_wire::moldudp64::Session;
use peregrine_wire::{ArbiterConfig, ArbiterConfigError, LineId};
use serde_json::json;

/// Runs that are named; further ones are in the counts only.
const NAMED_COUNT_MAX: usize = 64;

/// Missing messages of the sessions of a recording.
#[derive(Debug, Default)]
pub(super) struct Holes {
    session: Option<Session>,
    named: Vec<(Session, Gap)>,
    run_count: u64,
    message_count: u64,
}

impl Holes {
    /// How many messages are missing.
    pub(super) const fn message_count(&self) -> u64 {
        self.message_count
    }

    fn add(&mut self, gap: Gap) {
        let Some(session) = self.session else { return };
        self.run_count = self.run_count.saturating_add(1);
        self.message_count = self.message_count.saturating_add(gap.message_count());
        if self.named.len() < NAMED_COUNT_MAX {
            self.named.push((session, gap));
        }
    }

    /// What the one session of `arbiter` lacks: what was given up, and what is missing still.
    pub(super) fn of(arbiter: &Arbiter) -> Self {
        let mut holes = Self { session: arbiter.session(), ..Self::default() };
        let lost = arbiter.lost();
        lost.iter().chain(arbiter.missing_ranges()).for_each(|gap| holes.add(gap));
        // Those that the arbiter does not remember by number.
        let missing = arbiter.missing_ranges().map(Gap::message_count).fold(0, u64::saturating_add);
        let missing_runs = u64::try_from(arbiter.missing_ranges().count()).unwrap_or(u64::MAX);
        // Of sessions before this one only the count is known.
        let counters = arbiter.counters();
        let earlier = if counters.session_count > 1 { counters.lost_message_count } else { 0 };
        holes.message_count = lost.message_count().max(earlier).saturating_add(missing);
        holes.run_count = u64::try_from(lost.range_count()).unwrap_or(u64::MAX).saturating_add(missing_runs);
        holes.named.truncate(NAMED_COUNT_MAX);
        holes
    }

    /// For machines.
    pub(super) fn to_json(&self) -> serde_json::Value {
        let run = |(session, gap): &(Session, Gap)| {
            json!({"session": name(*session), "first": gap.first_missing, "last": last(*gap),
                "messages": gap.message_count()})
        };
        json!({"messages": self.message_count, "runs": self.run_count,
            "named": self.named.iter().map(run).collect::<Vec<_>>()})
    }

    /// For people: nothing where nothing is missing.
    pub(super) fn to_text(&self, who: &str) -> String {
        if self.message_count == 0 {
            return String::new();
        }
        let (messages, runs) = (self.message_count, self.run_count);
        let mut text = format!("{who} had {messages} messages, in {runs} runs: a replay has a gap there\n");
        for (session, gap) in &self.named {
            let (name, first, last) = (name(*session), gap.first_missing, last(*gap));
            text.push_str(&format!("  session {name}: {first} to {last} ({})\n", gap.message_count()));
        }
        let unnamed = runs.saturating_sub(u64::try_from(self.named.len()).unwrap_or(u64::MAX));
        if unnamed > 0 {
            text.push_str(&format!("  and {unnamed} runs more\n"));
        }
        text
    }
}

fn name(session: Session) -> String {
    String::from_utf8_lossy(&session.0).trim().to_owned()
}

/// Number of the last message of a run.
const fn last(gap: Gap) -> u64 {
    gap.next_received.saturating_sub(1)
}

impl Deliver for Holes {
    fn message(&mut self, _: &[u8], _: LineId) -> Result<(), Full<()>> {
        Ok(())
    }

    fn notice(&mut self, notice: Notice) -> Result<(), Full<()>> {
        match notice {
            Notice::SessionStarted { session, .. } => self.session = Some(session),
            Notice::GapLost(gap) => self.add(gap),
            Notice::SessionEnded { .. }
            | Notice::GapDetected(_)
            | Notice::GapRecovered { .. }
            | Notice::CopiesDiffer(_)
            | Notice::CopiesSettled(_) => {}
        }
        Ok(())
    }
}

/// Looks for holes in what the lines bring, as a replay of the recording will: by the same stage with the same settings.
#[derive(Debug)]
pub(super) struct HoleWatch {
    arbiter: Arbiter,
    holes: Holes,
    /// When the last packet came.
    last_time: EpochNanos,
}

impl HoleWatch {
    /// # Errors
    /// [`ArbiterConfigError`]: none with the settings of a recording.
    pub(super) fn new(config: ArbiterConfig) -> Result<Self, ArbiterConfigError> {
        Ok(Self { arbiter: Arbiter::new(config)?, holes: Holes::default(), last_time: EpochNanos::MIN })
    }

    /// Takes a packet of a line.
    pub(super) fn on_packet(&mut self, line: LineId, payload: &[u8], recv_time: EpochNanos) {
        self.last_time = self.last_time.max(recv_time);
        // Nothing is refused: there is always room for a count.
        while self.arbiter.on_packet(line, payload, self.last_time, &mut self.holes).is_err() {}
    }

    /// What is missing, now that nothing comes any more.
    pub(super) fn finish(mut self, window: peregrine_types::Nanos) -> Holes {
        let late = self.last_time.plus(window);
        while self.arbiter.on_time(late, &mut self.holes).is_err() {}
        self.holes
    }
}
