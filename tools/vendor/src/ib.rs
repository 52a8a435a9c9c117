//! Interactive Brokers' TWS API over a local socket, in its text form (server versions 137 to 151, which later ones still
//! speak when asked): best quotes, trades (RTVolume), halts, and the depth.
//!
//! Framing: a length of four bytes, big-endian, then fields as text, each followed by NUL, the first one the message's
//! number. The session: `API\0` and the range of versions; the server's version; START_API; managed accounts (15) and the
//! next order number (9); then the requests. The transport paces what is sent: TWS takes 50 messages a second.
//!
//! | message | used for |
//! |---|---|
//! | 1 tick price, 2 tick size | bid (1, 0), ask (2, 3): no time stamp |
//! | 46 tick string, type 48 (RTVolume) | trades: price; size; milliseconds; … |
//! | 45 tick generic, type 49 | halts |
//! | 12, 13 market depth | rows by position |
//! | 4 error | what to do: below |

use peregrine_types::{EpochNanos, Side};

use crate::depth::{DepthRows, RowChange};
use crate::instruments::Instruments;
use crate::update::{Amount, Ending, Output, SessionCounters, TradingState, Update, VendorSession, What, excerpt};

/// Versions of the server that are asked for: text payloads, layouts as in this file.
const VERSIONS: &str = "v137..151";
/// Longest message that is taken for one.
const MESSAGE_LEN_MAX: usize = 1 << 20;
/// Numbers of depth requests begin here, those of market data at 0.
const DEPTH_REQUESTS: usize = 1 << 20;
const NANOS_PER_MILLI: i64 = 1_000_000;

/// What is asked for, and of whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IbConfig {
    /// Number of this client; one that is in use is refused.
    pub client_id: u32,
    /// Where contracts are routed, such as `SMART`.
    pub exchange: String,
    /// The listing exchange, which tells contracts of one name apart; empty for any.
    pub primary_exchange: String,
    /// Currency of the contracts.
    pub currency: String,
    /// Rows of depth for each side; 0 for best quotes.
    pub depth_row_count: u32,
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Greeting,
    /// Accounts, order number: which of them came.
    Starting(bool, bool),
    UnderWay,
}

/// What is known of an instrument.
#[derive(Clone, Debug, Default)]
struct Known {
    bid: Amount,
    ask: Amount,
    rows: DepthRows,
}

/// See the file's head.
#[derive(Debug)]
pub struct IbSession {
    instruments: Instruments,
    config: IbConfig,
    step: Step,
    /// Version of the server.
    version: u32,
    buffer: Vec<u8>,
    known: Vec<Known>,
    message_count: u64,
    counters: SessionCounters,
}

/// The fields of a message behind its number.
struct Fields<'a>(core::str::Split<'a, char>);

impl<'a> Fields<'a> {
    fn text(&mut self) -> Result<&'a str, String> {
        self.0.next().ok_or_else(|| "too few fields".to_owned())
    }

    fn skip(&mut self, count: usize) -> Result<(), String> {
        (0..count).try_for_each(|_| self.text().map(|_| ()))
    }

    fn number(&mut self) -> Result<i64, String> {
        let text = self.text()?;
        text.parse().map_err(|_| format!("{text:?} is no number"))
    }

    fn place(&mut self) -> Result<usize, String> {
        let number = self.number()?;
        usize::try_from(number).map_err(|_| format!("{number} is below zero"))
    }

    /// A decimal in 10⁻⁹. No price is said as -1, and as nothing.
    fn decimal(&mut self) -> Result<i64, String> {
        match self.text()? {
            "" | "-1" | "-1.0" => Ok(0),
            text => peregrine_convert::decimal(text),
        }
    }
}

impl IbSession {
    /// A session before its first connection.
    #[must_use]
    pub fn new(instruments: Instruments, config: IbConfig) -> Self {
        let known = vec![Known::default(); instruments.names().len()];
        Self {
            instruments,
            config,
            step: Step::Greeting,
            version: 0,
            buffer: Vec::new(),
            known,
            message_count: 0,
            counters: SessionCounters::default(),
        }
    }

    fn on_message(&mut self, payload: &[u8], out: &mut Output) {
        self.message_count = self.message_count.saturating_add(1);
        let text = String::from_utf8_lossy(payload).into_owned();
        let result = match self.step {
            Step::Greeting => self.on_greeting(&text, out),
            Step::Starting(..) | Step::UnderWay => self.on_numbered(&text, out),
        };
        if let Err(reason) = result {
            let place = format!("message {}", self.message_count);
            out.malformed(&mut self.counters, &place, &reason, &text.replace('\0', "|"));
        }
    }

    fn on_greeting(&mut self, text: &str, out: &mut Output) -> Result<(), String> {
        let mut fields = Fields(text.split('\0'));
        let version = fields.number()?;
        self.version = u32::try_from(version).unwrap_or(0);
        if !(137..=151).contains(&self.version) {
            let said = format!("the server speaks version {version}, asked for was {VERSIONS}");
            out.end(Ending::Refused(said));
            return Ok(());
        }
        self.step = Step::Starting(false, false);
        out.frames.push(frame(&["71", "2", &self.config.client_id.to_string(), ""]));
        Ok(())
    }

    fn on_numbered(&mut self, text: &str, out: &mut Output) -> Result<(), String> {
        let mut fields = Fields(text.split('\0'));
        let number = fields.number()?;
        match (number, self.step) {
            (15, Step::Starting(_, is_numbered)) => self.started((true, is_numbered), out),
            (9, Step::Starting(has_accounts, _)) => self.started((has_accounts, true), out),
            (9 | 15, _) => {}
            (1, _) => self.on_price(fields, out)?,
            (2, _) => self.on_size(fields, out)?,
            (4, _) => self.on_error(fields, out)?,
            (12 | 13, _) => {
                if let Err(reason) = self.on_depth(number == 13, fields, out) {
                    // A row that is not understood leaves the rows unknown.
                    out.end(Ending::Retry(format!("depth is not known any more: {reason}")));
                    return Err(reason);
                }
            }
            (45, _) => self.on_generic(fields, out)?,
            (46, _) => self.on_string(fields, out)?,
            // Parameters of ticks, the kind of market data, accounts and orders.
            (3..=8 | 10 | 11 | 14 | 49..=59 | 61..=64 | 81, _) => self.unused(),
            (_, _) => {
                self.counters.unknown_count = self.counters.unknown_count.saturating_add(1);
            }
        }
        Ok(())
    }

    fn unused(&mut self) {
        self.counters.unused_count = self.counters.unused_count.saturating_add(1);
    }

    fn started(&mut self, (has_accounts, is_numbered): (bool, bool), out: &mut Output) {
        self.step = Step::Starting(has_accounts, is_numbered);
        if has_accounts && is_numbered {
            self.step = Step::UnderWay;
            out.is_ready = true;
            for (place, name) in self.instruments.names().iter().enumerate() {
                out.frames.push(self.data_request(place, name));
                if self.config.depth_row_count > 0 {
                    out.frames.push(self.depth_request(place, name));
                }
            }
        }
    }

    /// Market data (1), with trades (generic tick 233, RTVolume).
    fn data_request(&self, place: usize, name: &str) -> Vec<u8> {
        let IbConfig { exchange, primary_exchange, currency, .. } = &self.config;
        let id = place.to_string();
        let head = ["1", "11", &id, "0", name, "STK", "", "0", "", "", exchange, primary_exchange, currency, "", ""];
        // No combination, ticks, no snapshot of either kind, no options.
        frame(&[&head[..], &["0", "233", "0", "0", ""]].concat())
    }

    /// Market depth (10).
    fn depth_request(&self, place: usize, name: &str) -> Vec<u8> {
        let IbConfig { exchange, primary_exchange, currency, depth_row_count, .. } = &self.config;
        let (id, rows) = (DEPTH_REQUESTS.saturating_add(place).to_string(), depth_row_count.to_string());
        let mut fields = vec!["10", "5", &id, "0", name, "STK", "", "0", "", "", exchange];
        if self.version >= 149 {
            fields.push(primary_exchange);
        }
        fields.extend_from_slice(&[currency, "", "", &rows]);
        if self.version >= 146 {
            fields.push(if exchange == "SMART" { "1" } else { "0" });
        }
        fields.push("");
        frame(&fields)
    }

    fn on_price(&mut self, mut fields: Fields<'_>, out: &mut Output) -> Result<(), String> {
        fields.skip(1)?;
        let (place, kind, price, size) = (fields.place()?, fields.number()?, fields.decimal()?, fields.decimal()?);
        let amount = if price == 0 { Amount::default() } else { Amount { price, size } };
        let Some(known) = self.known.get_mut(place) else { return self.stranger() };
        match kind {
            1 => known.bid = amount,
            2 => known.ask = amount,
            _ => {
                self.unused();
                return Ok(());
            }
        }
        self.tell_quote(place, out);
        Ok(())
    }

    fn on_size(&mut self, mut fields: Fields<'_>, out: &mut Output) -> Result<(), String> {
        fields.skip(1)?;
        let (place, kind, size) = (fields.place()?, fields.number()?, fields.decimal()?);
        let Some(known) = self.known.get_mut(place) else { return self.stranger() };
        match kind {
            0 => known.bid.size = size,
            3 => known.ask.size = size,
            _ => {
                self.unused();
                return Ok(());
            }
        }
        self.tell_quote(place, out);
        Ok(())
    }

    fn tell_quote(&mut self, place: usize, out: &mut Output) {
        // With depth its first rows are the best quotes.
        if self.config.depth_row_count > 0 {
            return self.unused();
        }
        let Some(Known { bid, ask, .. }) = self.known.get(place) else { return };
        let what = What::Quote { bid: *bid, ask: *ask };
        self.tell(Update { instrument: place, time: None, what }, out);
    }

    fn tell(&mut self, update: Update, out: &mut Output) {
        self.counters.update_count = self.counters.update_count.saturating_add(1);
        out.updates.push(update);
    }

    fn stranger(&mut self) -> Result<(), String> {
        self.counters.stranger_count = self.counters.stranger_count.saturating_add(1);
        Ok(())
    }

    fn on_generic(&mut self, mut fields: Fields<'_>, out: &mut Output) -> Result<(), String> {
        fields.skip(1)?;
        let (place, kind, value) = (fields.place()?, fields.number()?, fields.text()?);
        if kind != 49 {
            self.unused();
            return Ok(());
        }
        if self.known.get(place).is_none() {
            return self.stranger();
        }
        // 0 no halt, 1 a halt, 2 a pause for volatility; -1 not known.
        let state = match value.split('.').next().unwrap_or_default() {
            "0" => Some(TradingState::Trading),
            "1" => Some(TradingState::Halted),
            "2" => Some(TradingState::Paused),
            _ => None,
        };
        let what = state.map_or(What::UnmappedState, |state| What::State { state, reason: "".into() });
        self.tell(Update { instrument: place, time: None, what }, out);
        Ok(())
    }

    /// RTVolume: `price;size;milliseconds;volume;VWAP;single`; without a price where only the volume changed.
    fn on_string(&mut self, mut fields: Fields<'_>, out: &mut Output) -> Result<(), String> {
        fields.skip(1)?;
        let (place, kind, value) = (fields.place()?, fields.number()?, fields.text()?);
        if kind != 48 {
            self.unused();
            return Ok(());
        }
        if self.known.get(place).is_none() {
            return self.stranger();
        }
        let mut parts = Fields(value.split(';'));
        let (price, size, millis) = (parts.decimal()?, parts.decimal()?, parts.number()?);
        let time = millis.checked_mul(NANOS_PER_MILLI).ok_or_else(|| format!("time {millis}"))?;
        if price == 0 {
            self.unused();
            return Ok(());
        }
        let what = What::Trade { id: None, amount: Amount { price, size } };
        self.tell(Update { instrument: place, time: Some(EpochNanos(time)), what }, out);
        Ok(())
    }

    fn on_depth(&mut self, has_maker: bool, mut fields: Fields<'_>, out: &mut Output) -> Result<(), String> {
        fields.skip(1)?;
        let (request, position) = (fields.place()?, fields.place()?);
        fields.skip(usize::from(has_maker))?;
        let (operation, side) = (fields.number()?, fields.number()?);
        let amount = Amount { price: fields.decimal()?, size: fields.decimal()? };
        let place = request.checked_sub(DEPTH_REQUESTS).filter(|place| *place < self.known.len());
        let Some((place, known)) = place.and_then(|place| Some((place, self.known.get_mut(place)?))) else {
            return self.stranger();
        };
        let change = match operation {
            0 => RowChange::Insert(amount),
            1 => RowChange::Update(amount),
            2 => RowChange::Delete,
            _ => return Err(format!("operation {operation}")),
        };
        let side = match side {
            0 => Side::Sell,
            1 => Side::Buy,
            _ => return Err(format!("side {side}")),
        };
        if !known.rows.apply(side, position, change) {
            // What the server shows is not known any more; a new connection gets it whole.
            out.end(Ending::Retry(format!("a row of depth at position {position}, where there is none")));
            return Ok(());
        }
        let (bids, asks) = (known.rows.side(Side::Buy).to_vec(), known.rows.side(Side::Sell).to_vec());
        self.tell(Update { instrument: place, time: None, what: What::Depth { bids, asks } }, out);
        Ok(())
    }

    fn on_error(&mut self, mut fields: Fields<'_>, out: &mut Output) -> Result<(), String> {
        fields.skip(1)?;
        let (request, code, msg) = (fields.number()?, fields.number()?, excerpt(fields.text()?));
        let place = usize::try_from(request).ok().map(|request| request % DEPTH_REQUESTS);
        let name = place.and_then(|place| self.instruments.names().get(place)).map_or("", String::as_str);
        let said = format!("error {code} {name}: {msg}");
        match code {
            // Farms of data that are well.
            2104 | 2106 | 2158 => self.unused(),
            326 => out.end(Ending::Refused(format!("{said}: choose another ib.client_id"))),
            // Connection of TWS to its servers: lost; back with data lost. Quotes of before are not to be believed.
            1100 | 1101 => out.end(Ending::Retry(said)),
            // Depth was reset (317): the rows come anew.
            317 => {
                if let Some(place) = place
                    && let Some(known) = self.known.get_mut(place)
                {
                    known.rows.clear();
                    let what = What::Depth { bids: Vec::new(), asks: Vec::new() };
                    self.tell(Update { instrument: place, time: None, what }, out);
                }
            }
            _ => out.notes.push(said),
        }
        Ok(())
    }
}

impl VendorSession for IbSession {
    fn connected(&mut self, out: &mut Output) {
        self.step = Step::Greeting;
        self.buffer.clear();
        self.known.fill(Known::default());
        let mut hello = b"API\0".to_vec();
        hello.extend_from_slice(&length(VERSIONS.len()));
        hello.extend_from_slice(VERSIONS.as_bytes());
        out.frames.push(hello);
    }

    fn receive(&mut self, bytes: &[u8], out: &mut Output) {
        self.buffer.extend_from_slice(bytes);
        let buffer = core::mem::take(&mut self.buffer);
        let mut rest = &buffer[..];
        while let Some((head, behind)) = rest.split_first_chunk::<4>() {
            let len = usize::try_from(u32::from_be_bytes(*head)).unwrap_or(usize::MAX);
            if len > MESSAGE_LEN_MAX {
                let place = format!("message {}", self.message_count.saturating_add(1));
                out.malformed(&mut self.counters, &place, &format!("a length of {len}"), "");
                return out.end(Ending::Retry("the stream makes no sense any more".to_owned()));
            }
            let Some((payload, behind)) = behind.split_at_checked(len) else { break };
            self.on_message(payload, out);
            rest = behind;
        }
        self.buffer = rest.to_vec();
    }

    fn probe(&self) -> Option<Vec<u8>> {
        // The server's time: any answer shows that it lives.
        (self.step == Step::UnderWay).then(|| frame(&["49", "1"]))
    }

    fn counters(&self) -> SessionCounters {
        self.counters
    }
}

fn length(len: usize) -> [u8; 4] {
    u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes()
}

/// A message of these fields.
fn frame(fields: &[&str]) -> Vec<u8> {
    let len = fields.iter().map(|field| field.len().saturating_add(1)).sum();
    let mut bytes = length(len).to_vec();
    for field in fields {
        bytes.extend_from_slice(field.as_bytes());
        bytes.push(0);
    }
    bytes
}

#[cfg(test)]
mod tests;
