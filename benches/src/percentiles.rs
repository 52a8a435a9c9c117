//! Spans, their percentiles, and the table of them.

use peregrine_runtime::{TscClock, serialised_ticks};

/// Turns ticks into nanoseconds.
#[derive(Debug)]
pub struct Timer {
    clock: TscClock,
    nanos_per_tick: f64,
}

impl Timer {
    /// A timer over the processor's ticks.
    #[must_use]
    pub fn calibrated() -> Self {
        let clock = TscClock::calibrated();
        let nanos_per_tick = 1e9 / clock.rate().hertz().max(1) as f64;
        Self { clock, nanos_per_tick }
    }

    /// The ticks, once everything before is done and nothing after has begun.
    #[inline]
    #[must_use]
    pub fn ticks(&self) -> u64 {
        serialised_ticks().unwrap_or_else(|| self.clock.ticks())
    }

    /// Nanoseconds since `start`.
    #[inline]
    #[must_use]
    pub fn nanos_since(&self, start: u64) -> f64 {
        self.nanos(self.ticks().saturating_sub(start))
    }

    /// Ticks as nanoseconds.
    #[inline]
    #[must_use]
    pub fn nanos(&self, ticks: u64) -> f64 {
        ticks as f64 * self.nanos_per_tick
    }

    /// Nanoseconds as ticks.
    #[must_use]
    pub fn ticks_of(&self, nanos: f64) -> f64 {
        nanos / self.nanos_per_tick
    }

    /// What an empty span reads as: the median of 10,001.
    #[must_use]
    pub fn overhead(&self) -> f64 {
        let spans = (0..10_001).map(|_| self.nanos_since(self.ticks())).collect();
        Percentiles::of(spans).p50
    }
}

impl Timer {
    /// The step by which the ticks are usually seen to move: no figure is finer.
    #[must_use]
    pub fn step(&self) -> f64 {
        let steps = (0..10_001).map(|_| {
            let start = self.clock.ticks();
            loop {
                let ticks = self.clock.ticks();
                if ticks != start {
                    return self.nanos(ticks.saturating_sub(start));
                }
            }
        });
        Percentiles::of(steps.collect()).p50
    }
}

/// Percentiles of one round, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Percentiles {
    /// Half are at most this.
    pub p50: f64,
    /// Nine in ten.
    pub p90: f64,
    /// 99 in a hundred.
    pub p99: f64,
    /// 999 in a thousand.
    pub p999: f64,
    /// All.
    pub max: f64,
}

impl Percentiles {
    /// Of these spans, by nearest rank; zeros of none.
    #[must_use]
    pub fn of(mut spans: Vec<f64>) -> Self {
        spans.sort_by(f64::total_cmp);
        let at = |per_mille: usize| {
            let rank = (spans.len() * per_mille).div_ceil(1_000).max(1);
            spans.get(rank - 1).copied().unwrap_or(0.0)
        };
        Self { p50: at(500), p90: at(900), p99: at(990), p999: at(999), max: at(1_000) }
    }
}

type Round<'a> = Box<dyn FnMut(&Timer) -> (Percentiles, usize) + 'a>;

/// One measured thing: a way to make a round of spans.
pub struct Measurement<'a> {
    /// What is measured.
    pub name: String,
    /// Calls in one span: each span is divided by it, so more than one hides single slow calls.
    pub calls_per_span: usize,
    round: Round<'a>,
    rounds: Vec<Percentiles>,
    span_count: usize,
}

impl<'a> Measurement<'a> {
    /// `round` gives the nanoseconds of each span, already per call.
    pub fn new(name: &str, calls_per_span: usize, mut round: impl FnMut(&Timer) -> Vec<f64> + 'a) -> Self {
        Self::summarised(name, calls_per_span, move |timer| {
            let spans = (round)(timer);
            let count = spans.len();
            (Percentiles::of(spans), count)
        })
    }

    /// `round` gives the percentiles themselves and the number of spans that they are of.
    pub fn summarised(
        name: &str,
        calls_per_span: usize,
        round: impl FnMut(&Timer) -> (Percentiles, usize) + 'a,
    ) -> Self {
        Self { name: name.to_owned(), calls_per_span, round: Box::new(round), rounds: Vec::new(), span_count: 0 }
    }

    /// Makes one more round.
    pub fn run(&mut self, timer: &Timer) {
        let (percentiles, span_count) = (self.round)(timer);
        self.span_count = span_count;
        self.rounds.push(percentiles);
    }

    /// The round with the least median.
    #[must_use]
    pub fn best(&self) -> Percentiles {
        self.rounds.iter().copied().min_by(|a, b| a.p50.total_cmp(&b.p50)).unwrap_or_default()
    }

    /// Median over the rounds of this median by that of `below`: pairs of one round, because virtual cores move.
    #[must_use]
    pub fn ratio_to(&self, below: &Self) -> f64 {
        let pairs = self.rounds.iter().zip(&below.rounds);
        Percentiles::of(pairs.map(|(above, below)| above.p50 / below.p50).collect()).p50
    }

    /// The least and the greatest median of the rounds.
    #[must_use]
    pub fn medians(&self) -> (f64, f64) {
        let medians = self.rounds.iter().map(|round| round.p50);
        medians.fold((f64::INFINITY, 0.0), |(least, greatest), p50| (least.min(p50), greatest.max(p50)))
    }

    fn row(&self) -> String {
        let (Percentiles { p50, p90, p99, p999, max }, (_, greatest)) = (self.best(), self.medians());
        let tail = match self.span_count {
            // One span is all that a round has: there is nothing to rank.
            0 | 1 => "– | – | – | –".to_owned(),
            _ => format!("{p90:.1} | {p99:.1} | {p999:.1} | {max:.0}"),
        };
        let (name, calls, spans) = (&self.name, self.calls_per_span, self.span_count);
        format!("| {name} | {spans} | {calls} | **{p50:.1}** | {greatest:.1} | {tail} |\n")
    }
}

/// The table of `measurements`, in Markdown; nanoseconds.
#[must_use]
pub fn table(measurements: &[Measurement<'_>]) -> String {
    let mut text = String::from(
        "| what (nanoseconds) | spans per round | calls per span | p50, least of rounds | p50, greatest | p90 | p99 | \
         p99.9 | max |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for measurement in measurements {
        text.push_str(&measurement.row());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let spans = (1..=1_000).rev().map(f64::from).collect();
        let Percentiles { p50, p90, p99, p999, max } = Percentiles::of(spans);
        assert_eq!([p50, p90, p99, p999, max], [500.0, 900.0, 990.0, 999.0, 1_000.0]);
        assert_eq!(Percentiles::of(vec![7.0]).p999, 7.0);
        assert_eq!(Percentiles::of(Vec::new()), Percentiles::default());
    }

    #[test]
    fn the_round_with_the_least_median_is_quoted() {
        let mut next = [3.0, 1.0, 2.0].into_iter();
        let mut measurement = Measurement::new("x", 1, |_| vec![next.next().unwrap(); 3]);
        let timer = Timer::calibrated();
        for _ in 0..3 {
            measurement.run(&timer);
        }
        assert_eq!(measurement.best().p50, 1.0);
        assert_eq!(measurement.medians(), (1.0, 3.0));
        let text = table(&[measurement]);
        assert!(text.contains("| x | 3 | 1 | **1.0** | 3.0 | 1.0 |"), "{text}");
    }
}
