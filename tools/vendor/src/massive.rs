//! Massive's (formerly Polygon.io's) websocket of stocks, JSON.
//!
//! | step | client | server |
//! |---|---|---|
//! | 1 | | `[{"ev":"status","status":"connected",…}]` |
//! | 2 | `{"action":"auth","params":KEY}` | `auth_success`, or `auth_failed` |
//! | 3 | `{"action":"subscribe","params":"T.X,Q.X,…"}` | one `success` for each topic |
//!
//! Then arrays of events, of which `T` (trade) and `Q` (quote) are used. Times are milliseconds. The vendor's sequence
//! numbers have holes by design, so that they prove nothing about loss.

use std::borrow::Cow;

use peregrine_types::EpochNanos;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::credentials::Credentials;
use crate::instruments::Instruments;
use crate::update::{Amount, Ending, Output, SessionCounters, Update, VendorSession, What, amount, excerpt, number};

/// Kinds that are known and not used: aggregates, bands, imbalances, fair market values.
const UNUSED: [&str; 5] = ["AM", "A", "LULD", "NOI", "FMV"];
const NANOS_PER_MILLI: i64 = 1_000_000;

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Greeting,
    Authentication,
    /// So many topics are not confirmed yet.
    Subscription(usize),
    UnderWay,
}

/// See the file's head.
#[derive(Debug)]
pub struct MassiveSession {
    instruments: Instruments,
    credentials: Credentials,
    step: Step,
    frame_count: u64,
    counters: SessionCounters,
}

#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(borrow)]
    ev: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Status<'a> {
    #[serde(borrow)]
    status: Cow<'a, str>,
    #[serde(borrow)]
    message: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    sym: Cow<'a, str>,
    t: Option<i64>,
    #[serde(borrow)]
    i: Option<&'a RawValue>,
    #[serde(borrow)]
    p: Option<&'a RawValue>,
    #[serde(borrow)]
    s: Option<&'a RawValue>,
    /// The size as a decimal, where shares are fractional.
    #[serde(borrow)]
    ds: Option<&'a RawValue>,
    #[serde(borrow)]
    bp: Option<&'a RawValue>,
    #[serde(borrow)]
    bs: Option<&'a RawValue>,
    #[serde(borrow)]
    ap: Option<&'a RawValue>,
    #[serde(rename = "as", borrow)]
    asked: Option<&'a RawValue>,
}

impl MassiveSession {
    /// A session before its first connection.
    #[must_use]
    pub fn new(instruments: Instruments, credentials: Credentials) -> Self {
        let counters = SessionCounters::default();
        Self { instruments, credentials, step: Step::Greeting, frame_count: 0, counters }
    }

    fn on_message(&mut self, text: &str, out: &mut Output) {
        let place = format!("frame {}", self.frame_count);
        let kind = match serde_json::from_str::<Kind<'_>>(text) {
            Ok(kind) => kind.ev,
            Err(error) => return out.malformed(&mut self.counters, &place, &error.to_string(), text),
        };
        match kind.as_ref() {
            "T" | "Q" => match self.data(kind == "T", text) {
                Ok(Some(update)) => {
                    self.counters.update_count = self.counters.update_count.saturating_add(1);
                    out.updates.push(update);
                }
                Ok(None) => self.counters.stranger_count = self.counters.stranger_count.saturating_add(1),
                Err(reason) => out.malformed(&mut self.counters, &place, &reason, text),
            },
            "status" => match serde_json::from_str::<Status<'_>>(text) {
                Ok(status) => self.on_status(&status, out),
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

    fn on_status(&mut self, status: &Status<'_>, out: &mut Output) {
        let said = format!("{}: {}", status.status, excerpt(status.message.as_deref().unwrap_or_default()));
        match (self.step, status.status.as_ref()) {
            (Step::Greeting, "connected") => {
                self.step = Step::Authentication;
                let auth = serde_json::json!({"action": "auth", "params": self.credentials.key.text()});
                out.frames.push(auth.to_string().into_bytes());
            }
            (Step::Authentication, "auth_success") => {
                let names = self.instruments.names();
                self.step = Step::Subscription(names.len().saturating_mul(2));
                let topics: Vec<String> = names.iter().map(|name| format!("T.{name},Q.{name}")).collect();
                let ask = serde_json::json!({"action": "subscribe", "params": topics.join(",")});
                out.frames.push(ask.to_string().into_bytes());
            }
            (Step::Subscription(left), "success") => {
                self.step = if left > 1 { Step::Subscription(left.saturating_sub(1)) } else { Step::UnderWay };
                out.is_ready = left <= 1;
            }
            (Step::UnderWay, "success") => {}
            (_, "auth_failed") => out.end(Ending::Refused(format!("{said}: check the key"))),
            (_, "not_authorized") => {
                out.end(Ending::Refused(format!("{said}: the plan does not have this feed or these topics")));
            }
            // One connection for each key: an old one may still stand. Slow readers are cut off.
            (_, "max_connections" | "error" | "auth_timeout") => out.end(Ending::Retry(said)),
            (_, _) => out.notes.push(format!("status {said}")),
        }
    }

    /// A message about the market; `None` for an instrument that nobody asked for.
    fn data(&self, is_trade: bool, text: &str) -> Result<Option<Update>, String> {
        let data: Data<'_> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let Some(instrument) = self.instruments.place(&data.sym) else { return Ok(None) };
        let time = match data.t {
            Some(millis) => {
                Some(EpochNanos(millis.checked_mul(NANOS_PER_MILLI).ok_or_else(|| format!("time {millis}"))?))
            }
            None => None,
        };
        let what = if is_trade {
            // The decimal size is exact where there is one.
            let size = data.ds.or(data.s);
            let id = data.i.map(|raw| raw.get().into());
            What::Trade { id, amount: amount(need("p", data.p)?, need("s", size)?)? }
        } else {
            What::Quote { bid: side(data.bp, data.bs)?, ask: side(data.ap, data.asked)? }
        };
        Ok(Some(Update { instrument, time, what }))
    }
}

impl VendorSession for MassiveSession {
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

/// A side of a quote: empty where it has neither field (every field is optional); one without the other is not understood.
fn side(price: Option<&RawValue>, size: Option<&RawValue>) -> Result<Amount, String> {
    match (price, size) {
        (Some(price), Some(size)) => amount(price, size),
        (None, None) => Ok(Amount::default()),
        (Some(price), None) => number(price).and_then(|_| Err("a price without a size".to_owned())),
        (None, Some(size)) => number(size).and_then(|_| Err("a size without a price".to_owned())),
    }
}

#[cfg(test)]
mod tests;
