//! The session: everything that is due, one step at a time, until the last message is written. Memory grows with the
//! number of symbols and of orders resting at once, never with the length of the session.

use peregrine_types::{EpochNanos, Nanos, Side};
use peregrine_wire::itch50::MessageType;

use crate::calendar::Calendar;
use crate::config::{ConfigError, GeneratorConfig};
use crate::flow::Tables;
use crate::ladder::{Ladder, Orders};
use crate::latent::{Latent, MarketFactor, TruthRecord, TruthSink};
use crate::math::float;
use crate::outbox::Outbox;
use crate::random::Random;
use crate::shape::Shape;
use crate::symbols::{self, SymbolProfile};

/// What is due at a time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// A step of the script; see `script.rs`.
    Script(Step, u32),
    /// An order action that nothing before it triggered.
    Arrival(u32),
    /// An order action triggered by an earlier one.
    Offspring(u32),
    /// The end of the order in a slot, unless the slot holds another generation by now.
    Expiry { slot: u32, generation: u32 },
    /// The order in a slot may leave with its symbol's next action, unless the slot holds another generation by now.
    Ripening { slot: u32, generation: u32 },
    /// Somebody takes the order in a slot that has just improved the best price, unless the slot holds another
    /// generation by now.
    Snap { slot: u32, generation: u32 },
    /// An execution (number below 2⁴⁰) of the symbol with a locate code is broken.
    Break { locate: u16, match_number: u64 },
}

/// Steps of the script that belong to one symbol (or to none).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Step {
    StartOfMessages = 1,
    Directory,
    StartOfSystem,
    Seeding,
    Open,
    OpeningCross,
    Close,
    ClosingCross,
    EndOfSystem,
    CleanUp,
    OpeningImbalance,
    ClosingImbalance,
    HaltImbalance,
    Pause,
    Quotation,
    Resumption,
    OperationalHalt,
    OperationalResumption,
    RetailInterest,
    IpoAnnouncement,
    IpoQuotation,
    IpoRelease,
    MarketHalt,
    MarketResumption,
}

const STEPS: [Step; 24] = [
    Step::StartOfMessages,
    Step::Directory,
    Step::StartOfSystem,
    Step::Seeding,
    Step::Open,
    Step::OpeningCross,
    Step::Close,
    Step::ClosingCross,
    Step::EndOfSystem,
    Step::CleanUp,
    Step::OpeningImbalance,
    Step::ClosingImbalance,
    Step::HaltImbalance,
    Step::Pause,
    Step::Quotation,
    Step::Resumption,
    Step::OperationalHalt,
    Step::OperationalResumption,
    Step::RetailInterest,
    Step::IpoAnnouncement,
    Step::IpoQuotation,
    Step::IpoRelease,
    Step::MarketHalt,
    Step::MarketResumption,
];

const ARRIVAL: u64 = 0x40;
const OFFSPRING: u64 = 0x41;
const EXPIRY: u64 = 0x42;
const BREAK: u64 = 0x43;
const RIPENING: u64 = 0x44;
const SNAP: u64 = 0x45;
const KIND_SHIFT: u32 = 56;
const SLOT_SHIFT: u32 = 28;
const LOW_28: u64 = 0x0fff_ffff;
const LOCATE_SHIFT: u32 = 40;
const LOW_40: u64 = 0xff_ffff_ffff;

impl Due {
    /// The payload that the calendar keeps: kind in the top byte, so that at one moment the script comes first.
    #[inline]
    pub(crate) const fn pack(self) -> u64 {
        match self {
            Self::Script(step, symbol) => ((step as u64) << KIND_SHIFT) | symbol as u64,
            Self::Arrival(symbol) => (ARRIVAL << KIND_SHIFT) | symbol as u64,
            Self::Offspring(symbol) => (OFFSPRING << KIND_SHIFT) | symbol as u64,
            Self::Expiry { slot, generation } => {
                (EXPIRY << KIND_SHIFT) | ((slot as u64) << SLOT_SHIFT) | generation as u64
            }
            Self::Ripening { slot, generation } => {
                (RIPENING << KIND_SHIFT) | ((slot as u64) << SLOT_SHIFT) | generation as u64
            }
            Self::Snap { slot, generation } => (SNAP << KIND_SHIFT) | ((slot as u64) << SLOT_SHIFT) | generation as u64,
            Self::Break { locate, match_number } => {
                (BREAK << KIND_SHIFT) | ((locate as u64) << LOCATE_SHIFT) | (match_number & LOW_40)
            }
        }
    }

    /// The reverse of [`Due::pack`].
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "takes the packed fields apart")]
    pub(crate) fn unpack(payload: u64) -> Option<Self> {
        let low = payload as u32;
        match payload >> KIND_SHIFT {
            ARRIVAL => Some(Self::Arrival(low)),
            OFFSPRING => Some(Self::Offspring(low)),
            kind @ (EXPIRY | RIPENING | SNAP) => {
                let slot = ((payload >> SLOT_SHIFT) & LOW_28) as u32;
                let generation = (payload & LOW_28) as u32;
                Some(match kind {
                    EXPIRY => Self::Expiry { slot, generation },
                    RIPENING => Self::Ripening { slot, generation },
                    _ => Self::Snap { slot, generation },
                })
            }
            BREAK => {
                let locate = (payload >> LOCATE_SHIFT) as u16;
                Some(Self::Break { locate, match_number: payload & LOW_40 })
            }
            step => STEPS.get((step as usize).wrapping_sub(1)).map(|&step| Self::Script(step, low)),
        }
    }
}

/// What changes about a symbol.
#[derive(Clone, Debug)]
pub(crate) struct SymbolState {
    pub(crate) bid: Ladder,
    pub(crate) ask: Ladder,
    pub(crate) latent: Latent,
    /// Operational time of the next arrival.
    pub(crate) next_share: f64,
    /// Orders whose lifetime is over, by slot and generation, waiting for the next action.
    pub(crate) ripe: Vec<(u32, u32)>,
    /// State `T`, and not halted by this venue alone.
    pub(crate) is_trading: bool,
    /// Resumption of a pause that is under way.
    pub(crate) resumption: u64,
}

impl SymbolState {
    pub(crate) const fn ladder(&self, side: Side) -> &Ladder {
        match side {
            Side::Buy => &self.bid,
            Side::Sell => &self.ask,
        }
    }
}

/// What a session came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionReport {
    /// Messages by [`MessageType::index`].
    pub message_counts: [u64; MessageType::COUNT],
    /// Orders that rested at once, at most: the capacity that a book needs.
    pub live_orders_max: u32,
    /// Executions numbered so far, crosses included.
    pub match_count: u64,
}

impl SessionReport {
    /// Messages of every type together.
    #[must_use]
    pub fn message_count(&self) -> u64 {
        self.message_counts.iter().sum()
    }

    /// Messages of one type.
    #[must_use]
    pub const fn count_of(&self, message_type: MessageType) -> u64 {
        self.message_counts[message_type.index()]
    }
}

/// A session that is being generated.
#[derive(Clone, Debug)]
pub struct Session {
    pub(crate) config: GeneratorConfig,
    pub(crate) calendar: Calendar,
    pub(crate) random: Random,
    pub(crate) shape: Shape,
    pub(crate) tables: Tables,
    pub(crate) profiles: Vec<SymbolProfile>,
    pub(crate) symbols: Vec<SymbolState>,
    pub(crate) orders: Orders,
    pub(crate) market: MarketFactor,
    pub(crate) outbox: Outbox,
    pub(crate) truth: Vec<TruthRecord>,
    pub(crate) last_reference: u64,
    pub(crate) last_match: u64,
    /// Arrivals of the whole market per unit of operational time.
    pub(crate) arrival_count: f64,
    /// The symbol that is released only during market hours.
    pub(crate) ipo_symbol: Option<u32>,
}

impl Session {
    /// A session that has written nothing yet.
    ///
    /// # Errors
    /// [`ConfigError`] with every violation of `config`.
    pub fn new(config: GeneratorConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        let hours = config.hours;
        let shape = Shape::new(&hours);
        let market_seconds = float(hours.close - hours.open) / 1e9;
        let in_market = shape.share_between(hours.open, hours.close);
        let profiles = symbols::draw(&config, market_seconds / in_market);
        let symbols = profiles.iter().map(|profile| SymbolState {
            bid: Ladder::new(Side::Buy),
            ask: Ladder::new(Side::Sell),
            latent: Latent::new(profile, &config),
            next_share: 0.0,
            ripe: Vec::new(),
            is_trading: false,
            resumption: 0,
        });
        let mut session = Self {
            calendar: Calendar::new(hours.start_of_messages, hours.end_of_messages, config.message_count / 64),
            random: Random::named(config.seed, "flow"),
            tables: Tables::new(&config),
            symbols: symbols.collect(),
            orders: Orders::default(),
            market: MarketFactor::new(&config),
            outbox: Outbox::default(),
            truth: Vec::new(),
            last_reference: 0,
            last_match: 0,
            arrival_count: crate::flow::arrival_count(&config),
            ipo_symbol: None,
            shape,
            profiles,
            config,
        };
        session.schedule_script();
        Ok(session)
    }

    /// The symbols in the order of their locate codes: the one with locate 1 first.
    #[must_use]
    pub fn symbols(&self) -> &[SymbolProfile] {
        &self.profiles
    }

    /// The configuration.
    #[must_use]
    pub const fn config(&self) -> &GeneratorConfig {
        &self.config
    }

    /// What was generated up to now.
    #[must_use]
    pub fn report(&self) -> SessionReport {
        SessionReport {
            message_counts: self.outbox.counts,
            live_orders_max: self.orders.slot_count(),
            match_count: self.last_match,
        }
    }

    /// The next message: the moment it is sent (its own time stamp on the session's date) and its bytes, valid until
    /// the next call. `None` when the session has ended. Times never decrease.
    pub fn next_message(&mut self) -> Option<(EpochNanos, &[u8])> {
        while self.outbox.is_empty() {
            self.outbox.clear();
            if !self.step() {
                return None;
            }
        }
        let midnight = self.config.midnight;
        let (time, bytes) = self.outbox.read()?;
        Some((moment(midnight, time), bytes))
    }

    /// Hands every message that is left to `on_message`.
    pub fn for_each_message(&mut self, mut on_message: impl FnMut(EpochNanos, &[u8])) {
        while let Some((time, bytes)) = self.next_message() {
            on_message(time, bytes);
        }
    }

    /// Hands every latent state recorded since the last call to `sink`, in the order of time. Empty unless the
    /// configuration records the truth; call it every now and then, since the records are kept until then.
    pub fn drain_truth(&mut self, sink: &mut impl TruthSink) {
        for record in self.truth.drain(..) {
            sink.truth(&record);
        }
    }

    /// Does what is due next; `false` when nothing is left.
    fn step(&mut self) -> bool {
        let Some((time, payload)) = self.calendar.pop() else { return false };
        let is_over = time >= self.config.hours.end_of_system;
        match Due::unpack(payload) {
            Some(Due::Script(step, symbol)) => self.script(step, symbol, time),
            Some(Due::Break { locate, match_number }) => self.break_trade(locate, match_number, time),
            Some(Due::Arrival(symbol)) if !is_over => self.arrive(symbol, time),
            Some(Due::Offspring(symbol)) if !is_over => self.act(symbol, time),
            Some(Due::Expiry { slot, generation }) if !is_over => self.expire(slot, generation, time),
            Some(Due::Ripening { slot, generation }) if !is_over => self.ripen(slot, generation),
            Some(Due::Snap { slot, generation }) if !is_over => self.snap(slot, generation, time),
            Some(
                Due::Arrival(_) | Due::Offspring(_) | Due::Expiry { .. } | Due::Ripening { .. } | Due::Snap { .. },
            )
            | None => {}
        }
        true
    }

    /// Notes `due` for `time`.
    #[inline]
    pub(crate) fn plan(&mut self, time: u64, due: Due) {
        self.calendar.push(time, due.pack());
    }

    /// A match number that was never used.
    pub(crate) const fn next_match(&mut self) -> u64 {
        self.last_match += 1;
        self.last_match
    }
}

/// The moment `time` nanoseconds after `midnight`.
pub(crate) fn moment(midnight: EpochNanos, time: u64) -> EpochNanos {
    midnight.plus(Nanos(i64::try_from(time).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_due_survives_packing() {
        for (number, &step) in (1_u64..).zip(&STEPS) {
            assert_eq!(step as u64, number);
            assert_eq!(Due::unpack(Due::Script(step, 77).pack()), Some(Due::Script(step, 77)));
        }
        let others = [
            Due::Arrival(59_999),
            Due::Offspring(1),
            Due::Expiry { slot: 0x0fff_ffff, generation: 0x0abc_def0 },
            Due::Ripening { slot: 3, generation: 4 },
            Due::Snap { slot: 5, generation: 6 },
            Due::Break { locate: u16::MAX, match_number: LOW_40 },
        ];
        for due in others {
            assert_eq!(Due::unpack(due.pack()), Some(due));
        }
        assert_eq!(Due::unpack(0), None);
    }
}
