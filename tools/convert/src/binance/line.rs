//! One line: what it tells, in the source's units.

use peregrine_types::Side;
use serde::Deserialize;

use crate::decimal::decimal;
use crate::levels::LevelChange;

/// Prices and quantities of a side, as text.
type Levels<'a> = Vec<(&'a str, &'a str)>;

/// `b` and `a` are levels of an update, texts of a ticker, and something else elsewhere.
#[derive(Deserialize)]
#[serde(untagged)]
enum Field<'a> {
    #[serde(borrow)]
    Text(&'a str),
    Levels(Levels<'a>),
    Number(u64),
}

/// Every field of the messages that are read.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    stream: Option<&'a str>,
    data: Option<Box<Message<'a>>>,
    e: Option<&'a str>,
    #[serde(rename = "E")]
    event_time: Option<u64>,
    #[serde(rename = "T")]
    engine_time: Option<u64>,
    s: Option<&'a str>,
    #[serde(rename = "U")]
    first: Option<u64>,
    u: Option<u64>,
    pu: Option<u64>,
    b: Option<Field<'a>>,
    a: Option<Field<'a>>,
    #[serde(rename = "B")]
    bid_qty: Option<&'a str>,
    #[serde(rename = "A")]
    ask_qty: Option<&'a str>,
    p: Option<&'a str>,
    q: Option<&'a str>,
    #[serde(rename = "X")]
    order_type: Option<&'a str>,
    m: Option<bool>,
    #[serde(rename = "lastUpdateId")]
    last_update: Option<u64>,
    bids: Option<Levels<'a>>,
    asks: Option<Levels<'a>>,
}

/// The part that every message has, for those whose fields mean something else.
#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(borrow)]
    e: Option<&'a str>,
    stream: Option<&'a str>,
    data: Option<Box<Kind<'a>>>,
}

/// An update of the book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Depth {
    symbol: String,
    time: Option<u64>,
    /// Number of its first change.
    pub(super) first: u64,
    /// Number of its last change.
    pub(super) last: u64,
    /// Futures: number of the last change of the update before.
    pub(super) before: Option<u64>,
    pub(super) levels: Vec<LevelChange>,
}

/// The whole book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    symbol: Option<String>,
    time: Option<u64>,
    /// Number of the last change that it holds.
    pub(super) last: u64,
    pub(super) levels: Vec<LevelChange>,
}

/// Best bid and ask; quantities and prices in 10⁻⁹.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ticker {
    symbol: String,
    time: Option<u64>,
    pub(super) update: u64,
    pub(super) bid: LevelChange,
    pub(super) ask: LevelChange,
}

/// A trade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trade {
    symbol: String,
    time: Option<u64>,
    pub(super) price: i64,
    pub(super) qty: i64,
    pub(super) resting: Side,
    /// Whether orders of the book traded.
    pub(super) is_of_market: bool,
    /// Whether it sums up trades of one taker at one price.
    pub(super) is_aggregate: bool,
}

/// What a line tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Depth(Depth),
    Snapshot(Snapshot),
    Ticker(Ticker),
    Trade(Trade),
    /// A stream that an order book has no use for.
    Other(String),
}

impl Event {
    pub(super) fn symbol(&self) -> Option<&str> {
        match self {
            Self::Depth(Depth { symbol, .. })
            | Self::Ticker(Ticker { symbol, .. })
            | Self::Trade(Trade { symbol, .. }) => Some(symbol),
            Self::Snapshot(Snapshot { symbol, .. }) => symbol.as_deref(),
            Self::Other(_) => None,
        }
    }

    /// The exchange's time, in whatever unit.
    pub(super) const fn time(&self) -> Option<u64> {
        match self {
            Self::Depth(Depth { time, .. })
            | Self::Ticker(Ticker { time, .. })
            | Self::Trade(Trade { time, .. })
            | Self::Snapshot(Snapshot { time, .. }) => *time,
            Self::Other(_) => None,
        }
    }

    /// What the manifest counts it as.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Depth(_) => "depth update",
            Self::Snapshot(_) => "snapshot",
            Self::Ticker(_) => "book ticker",
            Self::Trade(_) => "trade",
            Self::Other(_) => "other",
        }
    }
}

/// Reads a line: its receive time, in whatever unit, and what it tells.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(line: &[u8]) -> Result<(u64, Event), String> {
    let text = core::str::from_utf8(line).map_err(|error| error.to_string())?;
    let (time, json) = text.split_once(' ').ok_or("no space behind a receive time")?;
    let time = time.parse().map_err(|_| "the receive time is not a number")?;
    let event = match serde_json::from_str::<Message<'_>>(json) {
        Ok(message) => of_message(&message)?,
        Err(error) => of_another_kind(json).ok_or_else(|| format!("JSON: {error}"))?,
    };
    Ok((time, event))
}

/// A message whose fields have other types, if it is of a kind that is not read.
fn of_another_kind(json: &str) -> Option<Event> {
    let kind: Kind<'_> = serde_json::from_str(json).ok()?;
    let inner = kind.data.as_deref();
    let name = inner.map_or(kind.e, |inner| inner.e)?;
    let is_read = matches!(name, "depthUpdate" | "bookTicker" | "trade" | "aggTrade");
    (!is_read).then(|| Event::Other(kind.stream.unwrap_or(name).to_owned()))
}

fn of_message(message: &Message<'_>) -> Result<Event, String> {
    let is_stream = message.data.is_some();
    let body = message.data.as_deref().unwrap_or(message);
    let time = body.engine_time.or(body.event_time);
    let other = || Event::Other(message.stream.or(body.e).unwrap_or("a message without a name").to_owned());
    let symbol = || body.s.map(ToOwned::to_owned).ok_or_else(|| "no symbol".to_owned());
    if let (Some(last), false) = (body.last_update, is_stream) {
        let (Some(bids), Some(asks)) = (&body.bids, &body.asks) else { return Err("a snapshot without levels".into()) };
        let levels = levels(bids, asks)?;
        return Ok(Event::Snapshot(Snapshot { symbol: body.s.map(ToOwned::to_owned), time, last, levels }));
    }
    match (body.e, &body.b, &body.a) {
        (Some("depthUpdate"), Some(Field::Levels(bids)), Some(Field::Levels(asks))) => {
            let (Some(first), Some(last)) = (body.first, body.u) else { return Err("no update numbers".into()) };
            let levels = levels(bids, asks)?;
            Ok(Event::Depth(Depth { symbol: symbol()?, time, first, last, before: body.pu, levels }))
        }
        (None | Some("bookTicker"), Some(Field::Text(bid)), Some(Field::Text(ask))) => {
            let (Some(bid_qty), Some(ask_qty), Some(update)) = (body.bid_qty, body.ask_qty, body.u) else {
                return Err("a ticker without quantities or number".into());
            };
            let (bid, ask) = (level(Side::Buy, bid, bid_qty)?, level(Side::Sell, ask, ask_qty)?);
            Ok(Event::Ticker(Ticker { symbol: symbol()?, time, update, bid, ask }))
        }
        (Some(kind @ ("trade" | "aggTrade")), ..) => {
            let (Some(price), Some(qty), Some(is_buyer_resting)) = (body.p, body.q, body.m) else {
                return Err("a trade without price, quantity or side".into());
            };
            Ok(Event::Trade(Trade {
                symbol: symbol()?,
                time,
                price: decimal(price)?,
                qty: decimal(qty)?,
                resting: if is_buyer_resting { Side::Buy } else { Side::Sell },
                is_of_market: body.order_type.is_none_or(|kind| kind == "MARKET"),
                is_aggregate: kind == "aggTrade",
            }))
        }
        (Some(kind @ ("depthUpdate" | "bookTicker")), bids, asks) => {
            Err(format!("a {kind} whose bids are {} and whose asks are {}", shown(bids.as_ref()), shown(asks.as_ref())))
        }
        _ => Ok(other()),
    }
}

/// A field that is not what it should be.
fn shown(field: Option<&Field<'_>>) -> String {
    match field {
        None => "missing".to_owned(),
        Some(Field::Text(text)) => format!("the text {text:?}"),
        Some(Field::Levels(levels)) => format!("{} levels", levels.len()),
        Some(Field::Number(number)) => format!("the number {number}"),
    }
}

fn levels(bids: &Levels<'_>, asks: &Levels<'_>) -> Result<Vec<LevelChange>, String> {
    let bids = bids.iter().map(|(price, qty)| level(Side::Buy, price, qty));
    bids.chain(asks.iter().map(|(price, qty)| level(Side::Sell, price, qty))).collect()
}

fn level(side: Side, price: &str, qty: &str) -> Result<LevelChange, String> {
    Ok(LevelChange { side, price: decimal(price)?, qty: decimal(qty)? })
}
