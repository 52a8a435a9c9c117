//! Settings of a dataset of ticks: one TOML file, every key mandatory.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use peregrine_book::BookConfig;
use peregrine_decide::Watch;
use peregrine_types::{EpochNanos, Price, Symbol, parse_decimal};
use serde::{Deserialize, Serialize};

use crate::bars::local_nanos;
use crate::integrity::TickRules;
use crate::settings::{flatten, read_toml};
use crate::{DatasetError, Violation};

/// The section `[ticks]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TicksSection {
    /// Time zone of the venue, a name of the IANA table.
    pub zone: String,
    /// Begin of the continuous session, local time.
    #[serde(with = "crate::settings::text")]
    pub session_open: Time,
    /// Its end.
    #[serde(with = "crate::settings::text")]
    pub session_close: Time,
    /// Price step, a decimal in currency.
    pub tick: String,
    /// Horizons of the return targets in rows of the sequence (decision events), 1 to 4, ascending.
    pub horizons: Vec<u32>,
}

/// The section `[capture]`: what `[feed]`, `[book]` and `[decide]` of a trading profile say of the same things.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CaptureSection {
    /// Symbols that the session can announce.
    pub symbol_count_max: u32,
    /// Orders alive at once in the whole market.
    pub order_count_max: u32,
    /// Price levels of the whole market.
    pub level_count_max: u32,
    /// Whether a symbol of which no trading state was heard counts as trading.
    pub is_unknown_state_tradable: bool,
    /// How long a packet past a gap waits for the other line.
    pub reorder_window_ns: u32,
    /// Whether sequence numbers mean anything.
    pub is_sequence_checked: bool,
    /// Names of the symbols to watch; `["*"]` watches the first `watched_count_max`.
    pub symbols: Vec<String>,
    /// How many symbols are watched at most. Memory grows with it: up to about (greatest horizon + 4,096) × 200 bytes each.
    pub watched_count_max: u32,
}

/// Everything that decides a dataset of ticks.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TicksConfig {
    /// Session and targets.
    pub ticks: TicksSection,
    /// Captures.
    pub capture: CaptureSection,
    /// The integrity gate.
    pub integrity: TickRules,
}

/// A session in UTC.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hours {
    pub(crate) open: EpochNanos,
    pub(crate) close: EpochNanos,
}

impl Hours {
    pub(crate) const fn contains(&self, time_ns: i64) -> bool {
        time_ns >= self.open.0 && time_ns < self.close.0
    }
}

impl TicksConfig {
    /// Reads a profile.
    ///
    /// # Errors
    /// [`DatasetError::Io`], [`DatasetError::Input`] when it is no TOML, lacks a key or has one too many.
    pub fn load(path: &Path) -> Result<Self, DatasetError> {
        read_toml(path)
    }

    /// The effective settings, key by key.
    #[must_use]
    pub fn settings(&self) -> BTreeMap<String, String> {
        flatten(self)
    }

    /// Every value that cannot be, all at once.
    ///
    /// # Errors
    /// [`DatasetError::Config`].
    pub(crate) fn validate(&self) -> Result<(), DatasetError> {
        let mut found = Vec::new();
        self.integrity.violations(&mut found);
        let ticks = &self.ticks;
        let mut bound = |key: &str, value: String, holds: bool, bound: &str| {
            if !holds {
                found.push(Violation::new(key, value, bound));
            }
        };
        let is_zone = TimeZone::get(&ticks.zone).is_ok();
        bound("ticks.zone", ticks.zone.clone(), is_zone, "a name of the IANA time zone table");
        let is_ordered = ticks.session_open < ticks.session_close;
        bound("ticks.session_close", ticks.session_close.to_string(), is_ordered, "after session_open");
        let is_price = parse_decimal(&ticks.tick).is_ok_and(|tick| tick > 0);
        bound("ticks.tick", ticks.tick.clone(), is_price, "a price above 0");
        let horizons = &ticks.horizons;
        let ascends = horizons.iter().zip(horizons.iter().skip(1)).all(|(a, b)| a < b);
        let is_fine = (1..=4).contains(&horizons.len())
            && ascends
            && horizons.first().is_some_and(|first| *first > 0)
            && horizons.last().is_some_and(|last| *last <= 100_000);
        bound("ticks.horizons", format!("{horizons:?}"), is_fine, "1 to 4 ascending numbers of rows, 1 to 100000");
        let capture = &self.capture;
        let is_named = !capture.symbols.is_empty() && self.watch().is_some();
        bound("capture.symbols", format!("{:?}", capture.symbols), is_named, "[\"*\"] or symbols of 1 to 8 characters");
        bound(
            "capture.watched_count_max",
            capture.watched_count_max.to_string(),
            capture.watched_count_max > 0,
            "1 or more",
        );
        if let Err(error) = self.book_config().validate() {
            bound(&format!("capture.{}", error.key), error.value.to_string(), false, &format!("1 to {}", error.limit));
        }
        if found.is_empty() { Ok(()) } else { Err(DatasetError::Config(found)) }
    }

    pub(crate) const fn book_config(&self) -> BookConfig {
        BookConfig {
            symbol_count_max: self.capture.symbol_count_max,
            order_count_max: self.capture.order_count_max,
            level_count_max: self.capture.level_count_max,
            is_unknown_state_tradable: self.capture.is_unknown_state_tradable,
        }
    }

    /// Which symbols are watched; `None` when a name is none.
    pub(crate) fn watch(&self) -> Option<Watch> {
        if self.capture.symbols == ["*"] {
            return Some(Watch::All);
        }
        self.capture.symbols.iter().map(|name| Symbol::new(name)).collect::<Option<Vec<_>>>().map(Watch::Named)
    }

    pub(crate) fn tick(&self) -> Price {
        Price(parse_decimal(&self.ticks.tick).unwrap_or(0))
    }

    /// Midnight, open and close of `date`.
    pub(crate) fn hours(&self, date: Date) -> Option<(i64, Hours)> {
        let zone = TimeZone::get(&self.ticks.zone).ok()?;
        let moment = |time| local_nanos(date, time, &zone);
        let (open, close) = (moment(self.ticks.session_open)?, moment(self.ticks.session_close)?);
        Some((moment(Time::midnight())?, Hours { open: EpochNanos(open), close: EpochNanos(close) }))
    }
}
