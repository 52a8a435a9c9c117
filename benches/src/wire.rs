//! Wire to wire, seen from outside: a packet of the feed leaves this process, and the bytes of an order that answers it come
//! back. What answers is another process: the engine, or [`echo`], which has the same receive and the same send and nothing
//! between them.

pub mod capture;
pub mod cause;
pub mod desk;
pub mod echo;
pub mod load;
pub mod market;
pub mod near;
pub mod veth;

use std::time::{Duration, Instant};

use crate::BenchError;
use crate::percentiles::Timer;
use capture::{Capture, Captured};
use desk::Desk;
use market::Market;

/// How a session is played.
#[derive(Clone, Copy, Debug)]
pub struct Play {
    /// Messages that make the market before the first that counts.
    pub warm_up_count: usize,
    /// Messages that count, each in a packet of its own.
    pub count: usize,
    /// How long an answer is waited for before the next packet of messages leaves.
    pub answer_time_max: Duration,
    /// Time between two heartbeats while an answer is waited for. A feed does not rest because its packets gave no reason for
    /// an order: without them the sender's own path, and the receiver's, would be colder for who answers seldom than for who
    /// answers always, and the difference would count as the answerer's.
    pub beat: Duration,
    /// Shortest and longest silence between an answer and the next packet. Silences are spread evenly between them, so that no
    /// packet keeps step with what whoever answers does while it waits.
    pub pause: (Duration, Duration),
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Played {
    /// From before the call that sent a packet until the first bytes of an order were read, nanoseconds; what comes after its
    /// time counts for the next packet.
    pub spans: Vec<f64>,
    /// Packets that no order answered in time.
    pub unanswered_count: usize,
    /// What a capture on the wire has of it, where there was one.
    pub captured: Option<Captured>,
}

/// Time for the market before the measurement: a packet of several messages, then room to handle it.
const WARM_UP_MESSAGES: usize = 20;
const WARM_UP_PAUSE: Duration = Duration::from_micros(150);
/// How long whoever answers may take to connect and log in.
const LOGIN_TIME_MAX: Duration = Duration::from_secs(60);

/// Plays a session: heartbeats until somebody is logged in, the market's begin, and then packet by packet.
///
/// # Errors
/// What the sockets say, or that nobody logged in.
pub fn play<'m>(
    market: &mut Market,
    desk: &mut Desk,
    mut messages: impl Iterator<Item = &'m [u8]>,
    (plan, timer): (&Play, &Timer),
    mut capture: Option<Capture>,
) -> Result<Played, BenchError> {
    let started = Instant::now();
    while !desk.is_logged_in() {
        if started.elapsed() > LOGIN_TIME_MAX {
            return Err("nobody logged in within a minute".into());
        }
        market.heartbeat()?;
        desk.serve()?;
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut warmed = 0;
    while warmed < plan.warm_up_count {
        let batch: Vec<&[u8]> = messages.by_ref().take(WARM_UP_MESSAGES).collect();
        warmed += batch.len();
        market.send(&batch)?;
        quiet(desk, WARM_UP_PAUSE, &mut capture)?;
        if batch.is_empty() {
            return Err("the session is too short for its warm-up".into());
        }
    }
    quiet(desk, Duration::from_millis(500), &mut capture)?;
    if let Some(capture) = &mut capture {
        capture.begin();
    }
    let mut played = Played::default();
    let mut pauses = Pauses::new(plan.pause);
    for message in messages.take(plan.count) {
        let start = timer.ticks();
        market.send(&[message])?;
        match answer(market, desk, (plan, timer))? {
            Some(end) => played.spans.push(timer.nanos(end.saturating_sub(start))),
            None => played.unanswered_count += 1,
        }
        quiet(desk, pauses.next(), &mut capture)?;
    }
    // What is late arrives too.
    quiet(desk, Duration::from_millis(200), &mut capture)?;
    market.end()?;
    played.captured = capture.map(Capture::end);
    Ok(played)
}

/// Silences between two lengths, evenly spread and in no order: multiples of the golden ratio without their whole parts (Weyl
/// 1916, equidistribution).
#[derive(Clone, Copy, Debug)]
struct Pauses {
    shortest: Duration,
    range: Duration,
    part: u32,
}

impl Pauses {
    const fn new((shortest, longest): (Duration, Duration)) -> Self {
        Self { shortest, range: longest.saturating_sub(shortest), part: 0 }
    }

    fn next(&mut self) -> Duration {
        // 2³² divided by the golden ratio, to the next odd number.
        self.part = self.part.wrapping_add(0x9e37_79b9);
        self.shortest + self.range.mul_f64(f64::from(self.part) / f64::from(u32::MAX))
    }
}

/// Waits for an order while the feed's heart beats; gives the ticks of the moment when its bytes had been read.
fn answer(market: &mut Market, desk: &mut Desk, (plan, timer): (&Play, &Timer)) -> Result<Option<u64>, BenchError> {
    let started = Instant::now();
    while started.elapsed() < plan.answer_time_max {
        if let Some(end) = desk.await_order(timer, plan.beat)? {
            return Ok(Some(end));
        }
        market.heartbeat()?;
    }
    Ok(None)
}

/// Serves the desk, and reads the capture, until nothing has come for so long.
fn quiet(desk: &mut Desk, pause: Duration, capture: &mut Option<Capture>) -> Result<(), BenchError> {
    let mut last = Instant::now();
    while last.elapsed() < pause {
        if desk.serve()? {
            last = Instant::now();
        }
        if let Some(capture) = capture {
            capture.drain();
        }
        std::hint::spin_loop();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_spread_evenly_and_in_no_order() {
        let mut pauses = Pauses::new((Duration::from_micros(10), Duration::from_micros(60)));
        let all: Vec<Duration> = (0..1_000).map(|_| pauses.next()).collect();
        for tenth in 0..10 {
            let from = Duration::from_micros(10 + 5 * tenth);
            let count = all.iter().filter(|pause| **pause >= from && **pause < from + Duration::from_micros(5)).count();
            assert!((95..=105).contains(&count), "{count} of them from {from:?}");
        }
        let rising = all.windows(2).filter(|pair| pair[1] > pair[0]).count();
        assert!((300..=700).contains(&rising), "{rising} of 999 are longer than the one before");
    }
}
