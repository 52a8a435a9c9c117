//! Moments and spans. Subtracting two moments is the only way to a span between them.

use core::fmt;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A moment: nanoseconds since 1970-01-01T00:00:00Z, leap seconds not counted (range: years 1677–2262).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct EpochNanos(pub i64);

/// A span in nanoseconds; negative when the second moment lies before the first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct Nanos(pub i64);

impl EpochNanos {
    /// The earliest moment that can be written.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest moment that can be written.
    pub const MAX: Self = Self(i64::MAX);

    /// The span from `earlier` to `self`, saturating at the ends of the range.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Nanos {
        Nanos(self.0.saturating_sub(earlier.0))
    }

    /// The moment `span` after `self`, saturating at the ends of the range.
    #[must_use]
    pub const fn plus(self, span: Nanos) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// The moment `span` before `self`, saturating at the ends of the range.
    #[must_use]
    pub const fn minus(self, span: Nanos) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

impl Nanos {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// A span of whole microseconds, saturating.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros.saturating_mul(1_000))
    }

    /// A span of whole milliseconds, saturating.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// A span of whole seconds, saturating.
    #[must_use]
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }
}

impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ns", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_the_difference_of_two_moments_and_saturates() {
        assert_eq!(EpochNanos(5).since(EpochNanos(8)), Nanos(-3));
        assert_eq!(EpochNanos(5).plus(Nanos(3)), EpochNanos(8));
        assert_eq!(EpochNanos(5).minus(Nanos(3)), EpochNanos(2));
        assert_eq!(EpochNanos::MAX.since(EpochNanos::MIN), Nanos(i64::MAX));
        assert_eq!(EpochNanos::MAX.plus(Nanos(1)), EpochNanos::MAX);
        assert_eq!(Nanos::from_secs(i64::MAX), Nanos(i64::MAX));
        assert_eq!(Nanos::from_millis(2), Nanos(2_000_000));
        assert_eq!(Nanos::from_micros(2), Nanos(2_000));
    }
}
