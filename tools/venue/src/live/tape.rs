//! Where the background flow's messages come from: the generator, or a file.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use peregrine_generate::{ConfigError, GeneratorConfig, Session, SessionHours};
use peregrine_source::{Carrier, OpenOptions, Source, SourceError, open};
use peregrine_types::{Price, Symbol, TickTable};
use peregrine_wire::itch50::{Message, parse};
use peregrine_wire::moldudp64::Packet;

use crate::config::SymbolConfig;
use crate::orders::TimeOfDay;
use crate::schedule::DaySchedule;
use crate::settings::{FlowSettings, TickRules};
use crate::ticks::is_allowed;

/// Messages of a file that are looked through for its directory and first prices.
const SCANNED_MAX: u64 = 20_000_000;
/// The price to start from of an instrument without a displayed order in those.
const PRICE_UNKNOWN: Price = Price(1_000_000_000);

/// Why there is no tape.
#[derive(Debug, thiserror::Error)]
pub enum TapeError {
    /// The generator refused its configuration.
    #[error(transparent)]
    Generator(#[from] ConfigError),
    /// The file cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The file is no session of this venue's protocol.
    #[error("the tape is a capture of MDP 3.0: give ITCH 5.0, as a file or as a capture of MoldUDP64")]
    OtherProtocol,
    /// The file announces no instrument.
    #[error("no stock directory among the first messages of the tape: it cannot be traded")]
    NoDirectory,
}

enum Origin {
    Generator(Box<Session>),
    File { source: Box<dyn Source>, next_sequence_number: u64 },
}

/// A tape under way: the message that is next, and what comes behind it.
pub(super) struct Tape {
    origin: Origin,
    /// Messages of the packet under way.
    waiting: VecDeque<Vec<u8>>,
    next: Option<(TimeOfDay, Vec<u8>)>,
}

impl Tape {
    /// The instruments of a flow, and its tape if it has one.
    pub(super) fn open(
        flow: &FlowSettings,
        schedule: &DaySchedule,
        ticks: &TickRules,
    ) -> Result<(Vec<SymbolConfig>, Option<Self>), TapeError> {
        let (symbols, origin) = match flow {
            FlowSettings::None { symbols } => return Ok((symbols.clone(), None)),
            FlowSettings::Agents(config) => {
                let profile =
                    GeneratorConfig { symbol_count: config.symbol_count, ..GeneratorConfig::demo(config.seed) };
                return Ok((instruments(&Session::new(profile)?, ticks), None));
            }
            FlowSettings::Generator { seed, symbol_count, message_count, halt_count } => {
                let [start_of_messages, start_of_system, open, close, end_of_system, end_of_messages] =
                    schedule.times.map(|time| time.0);
                let session = Session::new(GeneratorConfig {
                    hours: SessionHours {
                        start_of_messages,
                        start_of_system,
                        open,
                        close,
                        end_of_system,
                        end_of_messages,
                    },
                    symbol_count: *symbol_count,
                    message_count: *message_count,
                    halt_count: *halt_count,
                    operational_halt_count: 0,
                    broken_trade_ppm: 0,
                    has_rare_messages: false,
                    ..GeneratorConfig::demo(*seed)
                })?;
                (instruments(&session, ticks), Origin::Generator(Box::new(session)))
            }
            FlowSettings::File { path } => {
                let symbols = scan(path, ticks)?;
                (symbols, Origin::File { source: open_tape(path)?, next_sequence_number: 0 })
            }
        };
        let mut tape = Self { origin, waiting: VecDeque::new(), next: None };
        tape.advance()?;
        Ok((symbols, Some(tape)))
    }

    /// The message that is next, and its time.
    pub(super) fn next(&self) -> Option<(TimeOfDay, &[u8])> {
        self.next.as_ref().map(|(time, message)| (*time, &message[..]))
    }

    /// Steps to the message behind it.
    pub(super) fn advance(&mut self) -> Result<(), TapeError> {
        let mut bytes = self.next.take().map(|(_, bytes)| bytes).unwrap_or_default();
        if self.read(&mut bytes)? {
            self.next = Some((time_of(&bytes), bytes));
        }
        Ok(())
    }

    fn read(&mut self, bytes: &mut Vec<u8>) -> Result<bool, TapeError> {
        bytes.clear();
        match &mut self.origin {
            Origin::Generator(session) => {
                let Some((_, message)) = session.next_message() else { return Ok(false) };
                bytes.extend_from_slice(message);
            }
            Origin::File { source, next_sequence_number } => {
                while self.waiting.is_empty() {
                    let carrier = source.format();
                    let Some(packet) = source.poll()? else { return Ok(false) };
                    unpack(carrier, packet.bytes, next_sequence_number, &mut self.waiting);
                }
                *bytes = self.waiting.pop_front().unwrap_or_default();
            }
        }
        Ok(true)
    }
}

/// The messages of a packet that did not come before: captures hold every packet once for each line.
fn unpack(carrier: Carrier, bytes: &[u8], next_sequence_number: &mut u64, messages: &mut VecDeque<Vec<u8>>) {
    match carrier {
        Carrier::Itch => messages.push_back(bytes.to_vec()),
        Carrier::Mdp3 => {}
        Carrier::MoldUdp64 => {
            let Ok(packet) = Packet::parse(bytes) else { return };
            for (number, message) in (packet.sequence_number()..).zip(packet.blocks()) {
                if number >= *next_sequence_number {
                    messages.push_back(message.to_vec());
                    *next_sequence_number = number.saturating_add(1);
                }
            }
        }
    }
}

/// When a message was sent, by its own stamp.
fn time_of(message: &[u8]) -> TimeOfDay {
    let header = parse(message).ok().and_then(|message| message.header());
    TimeOfDay(header.map_or(0, |header| header.timestamp.get()))
}

/// The instruments of a generated session.
fn instruments(session: &Session, ticks: &TickRules) -> Vec<SymbolConfig> {
    let price = |cents: u32| Price(i64::from(cents) * 10_000_000);
    let made = |name, cents: u32| instrument(name, price(cents), 100, ticks.of(name));
    session.symbols().iter().map(|symbol| made(symbol.symbol, symbol.price_ticks)).collect()
}

/// An instrument that starts from `price`, or from the tick below it where the tape has other ticks than the venue.
fn instrument(name: Symbol, price: Price, round_lot: u32, ticks: TickTable) -> SymbolConfig {
    let below = if ticks == TickTable::US_EQUITY { None } else { ticks.down(price, 0) };
    let unknown = ticks.up(PRICE_UNKNOWN, 0).unwrap_or(PRICE_UNKNOWN);
    let prices = [Some(price), below].into_iter().flatten();
    let reference_price = prices.into_iter().find(|price| is_allowed(&ticks, *price)).unwrap_or(unknown);
    SymbolConfig { name, ticks, round_lot, reference_price }
}

fn open_tape(path: &Path) -> Result<Box<dyn Source>, TapeError> {
    // Any day will do: the tape's times of day are the messages' own.
    let date = Some(jiff::civil::date(2000, 1, 3));
    let source = open(path, &OpenOptions { date, ..OpenOptions::default() })?;
    if source.format() == Carrier::Mdp3 { Err(TapeError::OtherProtocol) } else { Ok(source) }
}

/// The instruments that a file announces, by locate, each with the price of its first displayed order.
fn scan(path: &Path, ticks: &TickRules) -> Result<Vec<SymbolConfig>, TapeError> {
    let mut source = open_tape(path)?;
    let (mut next_sequence_number, mut messages) = (0, VecDeque::new());
    let mut found: BTreeMap<u16, (Symbol, u32, Option<Price>)> = BTreeMap::new();
    let mut count = 0_u64;
    let carrier = source.format();
    while let Some(packet) = source.poll()? {
        unpack(carrier, packet.bytes, &mut next_sequence_number, &mut messages);
        for bytes in messages.drain(..) {
            count += 1;
            let mut first = |locate: u16, price: Price| {
                if let Some(entry) = found.get_mut(&locate) {
                    entry.2.get_or_insert(price);
                }
            };
            match parse(&bytes) {
                Ok(Message::AddOrder(m)) => first(m.stock_locate.get(), m.price.price()),
                Ok(Message::AddOrderMpid(m)) => first(m.stock_locate.get(), m.price.price()),
                Ok(Message::StockDirectory(m)) => {
                    found.entry(m.stock_locate.get()).or_insert((m.stock, m.round_lot_size.get(), None));
                }
                Ok(_) | Err(_) => {}
            }
        }
        if count >= SCANNED_MAX {
            break;
        }
    }
    let made: Vec<_> = found
        .into_values()
        .map(|(name, lot, price)| instrument(name, price.unwrap_or(PRICE_UNKNOWN), lot.max(1), ticks.of(name)))
        .collect();
    if made.is_empty() { Err(TapeError::NoDirectory) } else { Ok(made) }
}
