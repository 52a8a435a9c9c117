//! How near two cores are to each other: what a bare cache line takes from one to the other. On a virtual machine that changes
//! by a factor of four within minutes, with the cores that the host gives, and with it every figure of a path over both.

use std::time::{Duration, Instant};

use crate::BenchError;
use crate::hops::{bare_line, pin};
use crate::percentiles::{Percentiles, Timer};

/// Cores are near each other when a hop takes at most so many times the least one seen: two threads of one core lie some 35 ns
/// apart, cores of one cache 65, of two caches 260 (an AMD EPYC of 2024).
const NEAR: f64 = 2.5;
/// Hops of one figure.
const HOP_COUNT: u64 = 4_000;
/// At the begin so many figures are taken, so long apart, to know the least.
const FIRST_COUNT: usize = 20;
const PAUSE: Duration = Duration::from_millis(200);

/// What a round came to.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Its median, in nanoseconds.
    pub median: f64,
    /// A bare line from core to core, the slower of before and after.
    pub hop: f64,
}

/// Two cores, and the least hop between them so far.
#[derive(Debug)]
pub struct Cores {
    /// Where the one that answers runs.
    pub answering: usize,
    /// Where the one that measures runs.
    pub measuring: usize,
    least: f64,
}

impl Cores {
    /// Looks at two cores for a while.
    ///
    /// # Errors
    /// A thread that broke off.
    pub fn new(answering: usize, measuring: usize, timer: &Timer) -> Result<Self, BenchError> {
        let mut cores = Self { answering, measuring, least: f64::INFINITY };
        for _ in 0..FIRST_COUNT {
            cores.hop(timer)?;
            std::thread::sleep(PAUSE);
        }
        Ok(cores)
    }

    /// The median of a bare line's hops now, in nanoseconds.
    ///
    /// # Errors
    /// A thread that broke off.
    pub fn hop(&mut self, timer: &Timer) -> Result<f64, BenchError> {
        let (answering, measuring) = (self.answering, self.measuring);
        // On a thread of its own: a pinned thread hands its core on to every process that it starts.
        let measure = || {
            pin(measuring);
            Percentiles::of(bare_line(answering, HOP_COUNT, timer)).p50
        };
        let hop = std::thread::scope(|scope| scope.spawn(measure).join()).map_err(|_| "a hop's thread broke off")?;
        self.least = self.least.min(hop);
        Ok(hop)
    }

    /// Whether a hop is one between near cores.
    #[must_use]
    pub fn is_near(&self, hop: f64) -> bool {
        hop <= self.near_max()
    }

    /// The longest hop between near cores, in nanoseconds: by the least one seen so far. Cores that are far from each other
    /// from begin to end count as near, so that the least hop is to be said beside every figure.
    #[must_use]
    pub fn near_max(&self) -> f64 {
        NEAR * self.least
    }

    /// The least median of each contender's rounds with near cores, of as many rounds for each, the first ones; and how many
    /// that are. `None` where one of them has no such round.
    #[must_use]
    pub fn least_medians(&self, contenders: &[Vec<Round>]) -> Option<(usize, Vec<f64>)> {
        let near = |of_one: &Vec<Round>| -> Vec<f64> {
            of_one.iter().filter(|round| self.is_near(round.hop)).map(|round| round.median).collect()
        };
        let near: Vec<Vec<f64>> = contenders.iter().map(near).collect();
        let count = near.iter().map(Vec::len).min().filter(|count| *count > 0)?;
        let medians = near.iter().map(|medians| medians.iter().take(count).copied().fold(f64::INFINITY, f64::min));
        Some((count, medians.collect()))
    }

    /// Waits until the cores are near each other, `time_max` at most; gives the last hop.
    ///
    /// # Errors
    /// A thread that broke off.
    pub fn wait(&mut self, time_max: Duration, timer: &Timer) -> Result<f64, BenchError> {
        let started = Instant::now();
        loop {
            let hop = self.hop(timer)?;
            if self.is_near(hop) || started.elapsed() >= time_max {
                return Ok(hop);
            }
            std::thread::sleep(PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hop_is_near_by_the_least_one() {
        let cores = Cores { answering: 0, measuring: 1, least: 60.0 };
        assert!(cores.is_near(60.0) && cores.is_near(150.0) && !cores.is_near(151.0));
        let unknown = Cores { least: f64::INFINITY, ..cores };
        assert!(unknown.is_near(1e9));
    }

    #[test]
    fn as_many_near_rounds_count_for_each_contender() {
        let cores = Cores { answering: 0, measuring: 1, least: 60.0 };
        let round = |(median, hop)| Round { median, hop };
        let echo: Vec<Round> = [(100.0, 260.0), (300.0, 60.0), (320.0, 65.0)].map(round).into();
        let engine: Vec<Round> = [(420.0, 60.0), (410.0, 70.0), (350.0, 60.0)].map(round).into();
        assert_eq!(cores.least_medians(&[echo.clone(), engine.clone()]), Some((2, vec![300.0, 410.0])));
        assert_eq!(cores.least_medians(&[echo.iter().copied().take(1).collect(), engine]), None);
    }
}
