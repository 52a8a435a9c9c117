//! Alpaca's market-data stream v2, JSON over a websocket.
//!
//! | step | client | server |
//! |---|---|---|
//! | 1 | | `[{"T":"success","msg":"connected"}]` |
//! | 2 | `{"action":"auth","key":…,"secret":…}` | `[{"T":"success","msg":"authenticated"}]` |
//! | 3 | `{"action":"subscribe","trades":[…],"quotes":[…],"statuses":[…]}` | `[{"T":"subscription",…}]`: the whole list |
//!
//! Then arrays of messages, of which `t` (trade), `q` (quote), `s` (status), `c` (correction) and `x` (cancel) are used.
//! A correction takes its original back (`Broken`): the corrected trade is old news and is not printed anew.

use std::borrow::Cow;
use std::collections::HashSet;

use jiff::Timestamp;
use peregrine_types::EpochNanos;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::credentials::Credentials;
use crate::instruments::Instruments;
use crate::update::{
    Ending, Output, SessionCounters, TradeId, TradingState, Update, VendorSession, What, amount, excerpt,
};

/// Kinds that are known and not used: bars (`b`, `d`, `u`), bands (`l`), imbalances, news, books of other markets.
const UNUSED: [&str; 7] = ["b", "d", "u", "l", "i", "n", "o"];

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Greeting,
    Authentication,
    Subscription,
    UnderWay,
}

/// See the file's head.
#[derive(Debug)]
pub struct AlpacaSession {
    instruments: Instruments,
    credentials: Credentials,
    has_statuses: bool,
    step: Step,
    frame_count: u64,
    counters: SessionCounters,
}

#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(rename = "T", borrow)]
    kind: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Control<'a> {
    #[serde(borrow)]
    msg: Option<Cow<'a, str>>,
    code: Option<u32>,
}

#[derive(Deserialize)]
struct Subscription<'a> {
    #[serde(borrow, default)]
    trades: Vec<Cow<'a, str>>,
    #[serde(borrow, default)]
    quotes: Vec<Cow<'a, str>>,
    #[serde(borrow, default)]
    statuses: Vec<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(rename = "S", borrow)]
    symbol: Cow<'a, str>,
    #[serde(borrow)]
    t: Option<Cow<'a, str>>,
    /// Name of a trade.
    #[serde(borrow)]
    i: Option<&'a RawValue>,
    /// Name of the trade that is corrected.
    #[serde(borrow)]
    oi: Option<&'a RawValue>,
    #[serde(borrow)]
    p: Option<&'a RawValue>,
    #[serde(borrow)]
    s: Option<&'a RawValue>,
    #[serde(borrow)]
    bp: Option<&'a RawValue>,
    #[serde(borrow)]
    bs: Option<&'a RawValue>,
    #[serde(borrow)]
    ap: Option<&'a RawValue>,
    #[serde(rename = "as", borrow)]
    asked: Option<&'a RawValue>,
    #[serde(borrow)]
    sc: Option<Cow<'a, str>>,
    #[serde(borrow)]
    rc: Option<Cow<'a, str>>,
}

impl AlpacaSession {
    /// A session before its first connection; `has_statuses` asks for trading states too.
    #[must_use]
    pub fn new(instruments: Instruments, credentials: Credentials, has_statuses: bool) -> Self {
        let counters = SessionCounters::default();
        Self { instruments, credentials, has_statuses, step: Step::Greeting, frame_count: 0, counters }
    }

    fn on_message(&mut self, text: &str, out: &mut Output) {
        let place = format!("frame {}", self.frame_count);
        let kind = match serde_json::from_str::<Kind<'_>>(text) {
            Ok(kind) => kind.kind,
            Err(error) => return out.malformed(&mut self.counters, &place, &error.to_string(), text),
        };
        match kind.as_ref() {
            "t" | "q" | "s" | "c" | "x" => match self.data(&kind, text) {
                Ok(Some(update)) => {
                    self.counters.update_count = self.counters.update_count.saturating_add(1);
                    out.updates.push(update);
                }
                Ok(None) => self.counters.stranger_count = self.counters.stranger_count.saturating_add(1),
                Err(reason) => out.malformed(&mut self.counters, &place, &reason, text),
            },
            "success" | "error" => match serde_json::from_str::<Control<'_>>(text) {
                Ok(control) if kind == "error" => self.on_error(&control, out),
                Ok(control) => self.on_success(control.msg.as_deref().unwrap_or_default(), out),
                Err(error) => out.malformed(&mut self.counters, &place, &error.to_string(), text),
            },
            "subscription" => match serde_json::from_str::<Subscription<'_>>(text) {
                Ok(lists) => self.on_subscription(&lists, out),
                Err(error) => out.malformed(&mut self.counters, &place, &error.to_string(), text),
            },
            known if UNUSED.contains(&known) => {
                self.counters.unused_count = self.counters.unused_count.saturating_add(1);
            }
            unknown => {
                self.counters.unknown_count = self.counters.unknown_count.saturating_add(1);
                out.notes.push(format!("a message of an unknown kind ({place}): {}", excerpt(unknown)));
            }
        }
    }

    fn on_success(&mut self, msg: &str, out: &mut Output) {
        match (self.step, msg) {
            (Step::Greeting, "connected") => {
                self.step = Step::Authentication;
                let Credentials { key, secret } = &self.credentials;
                out.frames.push(
                    serde_json::json!({"action": "auth", "key": key.text(), "secret": secret.text()})
                        .to_string()
                        .into_bytes(),
                );
            }
            (Step::Authentication, "authenticated") => {
                self.step = Step::Subscription;
                let names = self.instruments.names();
                let statuses = if self.has_statuses { names } else { &[] };
                let ask =
                    serde_json::json!({"action": "subscribe", "trades": names, "quotes": names, "statuses": statuses});
                out.frames.push(ask.to_string().into_bytes());
            }
            (Step::Greeting | Step::Authentication | Step::Subscription | Step::UnderWay, _) => {
                out.notes.push(format!("an answer out of turn: success {}", excerpt(msg)));
            }
        }
    }

    /// What an error means for the connection (codes: Alpaca, streaming errors).
    fn on_error(&mut self, control: &Control<'_>, out: &mut Output) {
        let msg = excerpt(control.msg.as_deref().unwrap_or_default());
        let Some(code) = control.code else { return out.end(Ending::Retry(format!("an error without a code: {msg}"))) };
        let said = format!("error {code}: {msg}");
        match code {
            402 => out.end(Ending::Refused(format!("{said}: check key and secret, and that they are of this address"))),
            405 => out.end(Ending::Refused(format!("{said}: name fewer symbols, or subscribe to more"))),
            409 => out.end(Ending::Refused(format!("{said}: the subscription does not have this feed or channel"))),
            400 | 410 => out.end(Ending::Refused(format!("{said}: the address may be that of another feed"))),
            // Authenticated already: nothing is lost.
            403 => out.notes.push(said),
            // Timeout, too many connections (an old one may still stand), too slow, the vendor's own trouble.
            _ => out.end(Ending::Retry(said)),
        }
    }

    fn on_subscription(&mut self, lists: &Subscription<'_>, out: &mut Output) {
        let names = self.instruments.names();
        let mut channels = vec![("trades", &lists.trades), ("quotes", &lists.quotes)];
        if self.has_statuses {
            channels.push(("statuses", &lists.statuses));
        }
        for (channel, list) in channels {
            let granted: HashSet<&str> = list.iter().map(AsRef::as_ref).collect();
            let missing: Vec<&str> = names.iter().map(String::as_str).filter(|name| !granted.contains(name)).collect();
            if !missing.is_empty() {
                out.notes.push(format!("not subscribed, {channel}: {}", excerpt(&missing.join(", "))));
            }
        }
        if self.step == Step::Subscription {
            self.step = Step::UnderWay;
            out.is_ready = true;
        }
    }

    /// A message about the market; `None` for an instrument that nobody asked for.
    fn data(&self, kind: &str, text: &str) -> Result<Option<Update>, String> {
        let data: Data<'_> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let Some(instrument) = self.instruments.place(&data.symbol) else { return Ok(None) };
        let time = match &data.t {
            Some(text) => Some(moment(text)?),
            None => None,
        };
        let what = match kind {
            "t" => What::Trade { id: data.i.map(trade_id), amount: amount(need("p", data.p)?, need("s", data.s)?)? },
            "q" => What::Quote {
                bid: amount(need("bp", data.bp)?, need("bs", data.bs)?)?,
                ask: amount(need("ap", data.ap)?, need("as", data.asked)?)?,
            },
            "c" => What::Broken { id: trade_id(need("oi", data.oi)?) },
            "x" => What::Broken { id: trade_id(need("i", data.i)?) },
            _ => match state(data.sc.as_deref().ok_or("no field sc")?) {
                Some(state) => What::State { state, reason: data.rc.unwrap_or_default().into() },
                None => What::UnmappedState,
            },
        };
        Ok(Some(Update { instrument, time, what }))
    }
}

impl VendorSession for AlpacaSession {
    fn connected(&mut self, _: &mut Output) {
        self.step = Step::Greeting;
    }

    fn receive(&mut self, bytes: &[u8], out: &mut Output) {
        self.frame_count = self.frame_count.saturating_add(1);
        crate::json::for_each_message(bytes, self.frame_count, &mut self.counters, out)
            .into_iter()
            .for_each(|text| self.on_message(text, out));
    }

    fn counters(&self) -> SessionCounters {
        self.counters
    }
}

fn need<'a>(name: &str, field: Option<&'a RawValue>) -> Result<&'a RawValue, String> {
    field.ok_or_else(|| format!("no field {name}"))
}

/// A trade's name: a number here, a text elsewhere.
fn trade_id(raw: &RawValue) -> TradeId {
    raw.get().into()
}

/// RFC 3339 with up to nanoseconds.
fn moment(text: &str) -> Result<EpochNanos, String> {
    let stamp: Timestamp = text.parse().map_err(|error| format!("time {text:?}: {error}"))?;
    i64::try_from(stamp.as_nanosecond()).map(EpochNanos).map_err(|_| format!("time {text:?} is out of range"))
}

/// Status codes of the tapes: letters of UTP (tape C), digits of CTA (tapes A and B). Others (indications, imbalances,
/// short-sale restrictions) say nothing about whether the symbol trades.
fn state(code: &str) -> Option<TradingState> {
    match code {
        "H" | "2" => Some(TradingState::Halted),
        "P" => Some(TradingState::Paused),
        "Q" => Some(TradingState::QuotationOnly),
        "T" | "3" => Some(TradingState::Trading),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
