//! When the strategy's stages end, noted on the way and worked out afterwards.

use peregrine_decide::Stage;
use peregrine_runtime::Stopwatch;

/// When the stages of one event ended, in ticks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StageEnds {
    pub(super) features: Option<u64>,
    pub(super) observe: Option<u64>,
    pub(super) controller: Option<u64>,
    pub(super) advance: Option<u64>,
}

/// Notes when the strategy's stages end; what they took is worked out once the orders have left.
pub(super) struct Laps<'a, W> {
    stopwatch: &'a W,
    pub(super) ends: StageEnds,
}

impl<'a, W: Stopwatch> Laps<'a, W> {
    pub(super) const fn new(stopwatch: &'a W) -> Self {
        let ends = StageEnds { features: None, observe: None, controller: None, advance: None };
        Self { stopwatch, ends }
    }
}

impl<W: Stopwatch> peregrine_decide::Stopwatch for Laps<'_, W> {
    #[inline]
    fn lap(&mut self, stage: Stage) {
        let now = Some(self.stopwatch.start());
        match stage {
            Stage::Features => self.ends.features = now,
            Stage::Observe => self.ends.observe = now,
            Stage::Controller => self.ends.controller = now,
            Stage::Advance => self.ends.advance = now,
        }
    }
}
