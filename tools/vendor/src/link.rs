//! The connection to a vendor, on a thread of its own: it connects, lets the session speak, hands on what it hears, and
//! begins anew after a pause when the connection is lost.
//!
//! Pauses double from `backoff_first` to `backoff_max`; each is drawn between its half and itself, so that many clients of
//! a vendor that comes back do not come back at once. They begin anew behind a connection that held for `backoff_max`.

mod transport;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::Waker;
use peregrine_runtime::StopFlag;
use peregrine_types::EpochNanos;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::update::{Ending, Output, SessionCounters, Update, VendorSession};

pub use transport::{Address, AddressError, TlsError, TlsRoots};
use transport::{Received, Transport};

/// How long a pause may be slept through before the stop flag is looked at.
const NAP: Duration = Duration::from_millis(20);
/// Frames that are sent at once; each one behind them waits for [`FRAME_PAUSE`] (TWS takes 50 messages a second).
const FRAMES_AT_ONCE_MAX: usize = 40;
const FRAME_PAUSE: Duration = Duration::from_millis(25);

/// How a vendor is reached.
#[derive(Clone, Debug)]
pub struct LinkPlan {
    /// Where.
    pub address: Address,
    /// Whom TLS trusts.
    pub roots: TlsRoots,
    /// How long connecting may take, TLS and websocket included; and a send.
    pub connect: Duration,
    /// How long the session may take to be under way.
    pub ready: Duration,
    /// How long nothing may be heard; the other side is asked after half of it.
    pub silence: Duration,
    /// The first pause.
    pub backoff_first: Duration,
    /// The longest pause.
    pub backoff_max: Duration,
    /// Seed of the pauses.
    pub backoff_seed: u64,
    /// Longest message in bytes.
    pub message_len_max: usize,
}

/// What the thread hands on.
#[derive(Debug)]
pub(crate) enum Event {
    /// The session is under way.
    Ready,
    /// What was heard, and when.
    Heard(EpochNanos, Vec<Update>),
    /// For people.
    Notes(Vec<String>),
    /// The connection is lost, or could not be made: why, and whether the session was under way; the next try comes after
    /// the pause.
    Lost {
        /// Why.
        reason: String,
        /// Whether it was under way.
        was_ready: bool,
        /// How long it waits now.
        pause: Duration,
    },
    /// The vendor refused, and would again: the thread is over.
    Refused(String),
    /// What the session counted so far.
    Counted(SessionCounters),
}

/// The wall's clock.
pub(crate) fn wall() -> EpochNanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    EpochNanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// How a connection ended.
enum Outcome {
    Stopped,
    Lost(String),
    Refused(String),
}

/// Nobody listens any more.
struct Gone;

struct Link {
    plan: LinkPlan,
    session: Box<dyn VendorSession + Send>,
    events: SyncSender<Event>,
    waker: Arc<Waker>,
    stop: StopFlag,
    chance: ChaCha8Rng,
    /// When the session came under way; of the present connection.
    ready_since: Option<Instant>,
}

/// Starts the thread; it ends when `stop` is raised, when nobody takes its events any more, and when it is refused.
///
/// # Errors
/// What the system says.
pub(crate) fn spawn(
    plan: LinkPlan,
    session: Box<dyn VendorSession + Send>,
    (events, waker): (SyncSender<Event>, Arc<Waker>),
    stop: StopFlag,
) -> io::Result<JoinHandle<()>> {
    let chance = ChaCha8Rng::seed_from_u64(plan.backoff_seed);
    let link = Link { plan, session, events, waker, stop, chance, ready_since: None };
    std::thread::Builder::new().name("link".to_owned()).spawn(move || link.run())
}

impl Link {
    fn run(mut self) {
        let mut tries = 0_u32;
        while !self.stop.is_requested() {
            self.ready_since = None;
            let outcome = self.connection().unwrap_or(Outcome::Stopped);
            if self.tell(Event::Counted(self.session.counters())).is_err() {
                return;
            }
            match outcome {
                Outcome::Stopped => return,
                Outcome::Refused(reason) => {
                    // Whether somebody still listens does not matter behind the last word.
                    drop(self.tell(Event::Refused(reason)));
                    return;
                }
                Outcome::Lost(reason) => {
                    if self.ready_since.is_some_and(|since| since.elapsed() >= self.plan.backoff_max) {
                        tries = 0;
                    }
                    let pause = self.pause(tries);
                    tries = tries.saturating_add(1);
                    let was_ready = self.ready_since.is_some();
                    if self.tell(Event::Lost { reason, was_ready, pause }).is_err() {
                        return;
                    }
                    self.wait(pause);
                }
            }
        }
    }

    fn tell(&self, event: Event) -> Result<(), Gone> {
        self.events.send(event).map_err(|_| Gone)?;
        self.waker.wake().map_err(|_| Gone)
    }

    fn wait(&self, pause: Duration) {
        let begin = Instant::now();
        while begin.elapsed() < pause && !self.stop.is_requested() {
            std::thread::sleep(NAP.min(pause));
        }
    }

    /// The pause before try number `tries`, counted from 0.
    fn pause(&mut self, tries: u32) -> Duration {
        backoff(self.plan.backoff_first, self.plan.backoff_max, tries, self.chance.next_u32())
    }

    /// One connection, from its first packet to its end.
    fn connection(&mut self) -> Result<Outcome, Gone> {
        let mut transport = match Transport::connect(&self.plan, &self.stop) {
            Ok(transport) => transport,
            Err(reason) => return Ok(Outcome::Lost(reason)),
        };
        let begin = Instant::now();
        let (mut heard, mut asked) = (begin, None::<Instant>);
        let mut out = Output::default();
        self.session.connected(&mut out);
        if let Some(outcome) = self.hand_on(&mut transport, &mut out, wall())? {
            return Ok(outcome);
        }
        loop {
            if self.stop.is_requested() {
                transport.close();
                return Ok(Outcome::Stopped);
            }
            match transport.receive() {
                Ok(Received::Bytes(bytes)) => {
                    let now = wall();
                    self.session.receive(&bytes, &mut out);
                    if let Some(outcome) = self.hand_on(&mut transport, &mut out, now)? {
                        transport.close();
                        return Ok(outcome);
                    }
                    // Sending takes its pauses: they are no silence of the other side.
                    heard = Instant::now();
                }
                Ok(Received::Sign) => heard = Instant::now(),
                Ok(Received::Nothing) => {}
                Err(reason) => return Ok(Outcome::Lost(reason)),
            }
            if self.ready_since.is_none() && begin.elapsed() >= self.plan.ready {
                return Ok(Outcome::Lost("the session did not come under way in time".to_owned()));
            }
            if heard.elapsed() >= self.plan.silence {
                return Ok(Outcome::Lost(format!("silence for {} ms", heard.elapsed().as_millis())));
            }
            if heard.elapsed() >= self.plan.silence / 2 && asked.is_none_or(|asked| asked < heard) {
                asked = Some(Instant::now());
                if let Err(reason) = transport.probe(self.session.probe()) {
                    return Ok(Outcome::Lost(reason));
                }
            }
        }
    }

    /// Sends and hands on what came out of a step; says whether the connection is over.
    fn hand_on(
        &mut self,
        transport: &mut Transport,
        out: &mut Output,
        now: EpochNanos,
    ) -> Result<Option<Outcome>, Gone> {
        let Output { frames, updates, notes, is_ready, ending } = core::mem::take(out);
        if !notes.is_empty() {
            self.tell(Event::Notes(notes))?;
        }
        if is_ready && self.ready_since.is_none() {
            self.ready_since = Some(Instant::now());
            self.tell(Event::Ready)?;
        }
        if !updates.is_empty() {
            self.tell(Event::Heard(now, updates))?;
        }
        match ending {
            Some(Ending::Retry(reason)) => return Ok(Some(Outcome::Lost(reason))),
            Some(Ending::Refused(reason)) => return Ok(Some(Outcome::Refused(reason))),
            None => {}
        }
        for (index, frame) in frames.iter().enumerate() {
            if index >= FRAMES_AT_ONCE_MAX {
                std::thread::sleep(FRAME_PAUSE);
            }
            if let Err(reason) = transport.send(frame) {
                return Ok(Some(Outcome::Lost(reason)));
            }
        }
        Ok(None)
    }
}

/// The pause before a try: the first one doubled `tries` times, at most `longest`, between its half and itself.
fn backoff(first: Duration, longest: Duration, tries: u32, chance: u32) -> Duration {
    let whole = first.saturating_mul(2_u32.saturating_pow(tries.min(30))).min(longest);
    let half = whole / 2;
    let part = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
    let drawn = (u128::from(part) * u128::from(chance)) >> 32;
    whole.saturating_sub(half) + Duration::from_nanos(u64::try_from(drawn).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pauses_double_up_to_the_longest_and_never_leave_their_half(tries in 0_u32..100, chance: u32) {
            let (first, longest) = (Duration::from_millis(500), Duration::from_secs(60));
            let whole = first.saturating_mul(2_u32.saturating_pow(tries.min(30))).min(longest);
            let pause = backoff(first, longest, tries, chance);
            prop_assert!(pause >= whole / 2 && pause <= whole, "{pause:?} of {whole:?}");
        }
    }

    #[test]
    fn pauses_are_drawn() {
        let pause = |chance| backoff(Duration::from_secs(1), Duration::from_secs(8), 2, chance);
        assert_eq!((pause(0), pause(1 << 31)), (Duration::from_secs(2), Duration::from_secs(3)));
        assert!(pause(u32::MAX) > Duration::from_millis(3_999));
    }
}
