//! What a vendor's session says about the market, in one form for all vendors, and what comes out of a step of a session.

use peregrine_types::EpochNanos;
use serde_json::value::RawValue;

/// Length of the excerpt of a frame that is not understood, in characters.
const EXCERPT_LEN_MAX: usize = 120;

/// Price and quantity of a side or a trade, both in 10⁻⁹ of the vendor's unit, zero or above.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Price.
    pub price: i64,
    /// Quantity, in the vendor's unit: shares or round lots.
    pub size: i64,
}

/// What a vendor calls a trade.
pub type TradeId = Box<str>;

/// A trading state of ITCH 5.0 (Stock Trading Action).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TradingState {
    /// `H`.
    Halted,
    /// `P`.
    Paused,
    /// `Q`.
    QuotationOnly,
    /// `T`.
    Trading,
}

impl TradingState {
    /// Its code on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Halted => b'H',
            Self::Paused => b'P',
            Self::QuotationOnly => b'Q',
            Self::Trading => b'T',
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The best bid and ask; a price or size of zero means that the side is empty.
    Quote {
        /// Best bid.
        bid: Amount,
        /// Best ask.
        ask: Amount,
    },
    /// A trade.
    Trade {
        /// Its name, where the vendor gives one.
        id: Option<TradeId>,
        /// Price and quantity.
        amount: Amount,
    },
    /// A trade that was told is not to count: it was cancelled, or another one stands in its place.
    Broken {
        /// Its name.
        id: TradeId,
    },
    /// The trading state.
    State {
        /// What it is now.
        state: TradingState,
        /// Why, as the vendor says it; four letters at most are told on.
        reason: Box<str>,
    },
    /// A trading state that ITCH 5.0 has no word for.
    UnmappedState,
    /// The depth that the vendor shows, whole: in its order, several rows of one price together.
    Depth {
        /// Rows of the bids.
        bids: Vec<Amount>,
        /// Rows of the asks.
        asks: Vec<Amount>,
    },
}

/// Something about an instrument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Which one: its place in the configuration, from 0.
    pub instrument: usize,
    /// The vendor's time stamp, where it gives one.
    pub time: Option<EpochNanos>,
    /// What happened.
    pub what: What,
}

/// Why a session cannot go on with its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Another connection may do better: after a pause.
    Retry(String),
    /// Another connection would be refused as well: somebody has to do something.
    Refused(String),
}

/// What a session counted, over all its connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionCounters {
    /// Messages about the market that were understood.
    pub update_count: u64,
    /// Messages of a kind that is known and not used: bars, bands of prices, news.
    pub unused_count: u64,
    /// Messages of a kind that is not known.
    pub unknown_count: u64,
    /// Messages about instruments that were not asked for.
    pub stranger_count: u64,
    /// Messages that cannot be understood.
    pub malformed_count: u64,
}

/// What came out of a step.
#[derive(Debug, Default)]
pub struct Output {
    /// To be sent, in their order.
    pub frames: Vec<Vec<u8>>,
    /// About the market, in their order.
    pub updates: Vec<Update>,
    /// For people: what was refused, what cannot be understood and where.
    pub notes: Vec<String>,
    /// The session is under way from now on.
    pub is_ready: bool,
    /// The connection is of no more use.
    pub ending: Option<Ending>,
}

impl Output {
    /// Notes something that cannot be understood, with the place and an excerpt.
    pub(crate) fn malformed(&mut self, counters: &mut SessionCounters, place: &str, reason: &str, text: &str) {
        counters.malformed_count = counters.malformed_count.saturating_add(1);
        self.notes.push(format!("not understood ({place}): {reason}: {}", excerpt(text)));
    }

    /// Ends the connection; the first reason counts.
    pub(crate) fn end(&mut self, ending: Ending) {
        self.ending.get_or_insert(ending);
    }
}

/// A vendor's session as a stage: bytes and events of a connection come in, frames and updates go out. No socket, no
/// clock.
pub trait VendorSession {
    /// A connection stands: whatever was known of an earlier one is forgotten.
    fn connected(&mut self, out: &mut Output);

    /// Bytes arrived: a whole message where the transport has messages, any part of the stream where it has none.
    fn receive(&mut self, bytes: &[u8], out: &mut Output);

    /// A message that the vendor answers, for a transport that cannot ask by itself whether the other side lives.
    fn probe(&self) -> Option<Vec<u8>> {
        None
    }

    /// What it counted.
    fn counters(&self) -> SessionCounters;
}

/// The head of a text, fit for one line.
#[must_use]
pub fn excerpt(text: &str) -> String {
    let head: String = text.chars().take(EXCERPT_LEN_MAX).collect();
    let end = if head.len() < text.len() { "…" } else { "" };
    format!("{}{end}", head.escape_debug())
}

/// A number of a message in 10⁻⁹, read from its text; texts in quotes are taken too, as vendors write exact decimals so.
pub(crate) fn number(raw: &RawValue) -> Result<i64, String> {
    let text = raw.get();
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    peregrine_convert::decimal(inner)
}

/// Price and size of a message.
pub(crate) fn amount(price: &RawValue, size: &RawValue) -> Result<Amount, String> {
    let named = |name: &str, reason: String| format!("{name} {reason}");
    Ok(Amount {
        price: number(price).map_err(|reason| named("price", reason))?,
        size: number(size).map_err(|reason| named("size", reason))?,
    })
}
