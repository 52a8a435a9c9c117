//! Whether the feed is silent: said by the feed role, heeded by the send role of a live session. Books stay as they are (an
//! event would depend on a clock, and a recording would not give it again); what rests at the venue is withdrawn.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use peregrine_types::Nanos;

/// The word that both roles share.
#[derive(Clone, Debug, Default)]
pub struct FeedSilence(Arc<AtomicBool>);

impl FeedSilence {
    /// Whether every line has been silent for too long.
    #[must_use]
    #[inline]
    pub fn is_silent(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The feed role's side.
#[derive(Clone, Debug)]
pub struct SilenceWatch {
    silence_max: Nanos,
    said: FeedSilence,
    is_silent: bool,
}

impl SilenceWatch {
    /// Says in `said` when every line has been silent for `silence_max`.
    #[must_use]
    pub const fn new(silence_max: Nanos, said: FeedSilence) -> Self {
        Self { silence_max, said, is_silent: false }
    }

    /// The lines have been silent for so long now.
    #[inline]
    pub fn on_silence(&mut self, span: Nanos) {
        let is_silent = span >= self.silence_max;
        if is_silent != self.is_silent {
            self.is_silent = is_silent;
            self.said.0.store(is_silent, Ordering::Release);
        }
    }
}
