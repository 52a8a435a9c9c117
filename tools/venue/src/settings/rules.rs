//! The rules of the day as they are configured: bands, imbalances, price steps, calendar.

use jiff::civil;
use peregrine_source::session::{NASDAQ_ZONE, date_in_name};
use peregrine_types::{Price, Symbol, TickBand, TickTable, parse_decimal};
use serde::Deserialize;

use super::Reader;
use super::raw::RawFlow;
use crate::bands::{BandTier, BandWidth};
use crate::schedule::{Calendar, Date, DaySchedule, Step};
use crate::supervisor::{BandReference, BandRules, ImbalanceRules};
use crate::ticks::is_expressible;

const SECOND: u64 = 1_000_000_000;
/// What stands for every symbol that no other rule names.
const ALL: &str = "*";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBands {
    width_bps: Option<u32>,
    #[serde(default)]
    tiers: Vec<RawTier>,
    /// The plan doubled widths for the first 15 minutes, and doubles them for the last 25.
    #[serde(default = "fifteen_minutes")]
    doubled_open_s: u32,
    #[serde(default = "twenty_five_minutes")]
    doubled_close_s: u32,
    reference: RawReference,
    /// The plan's reference prices stand for 30 seconds at least.
    #[serde(default = "thirty")]
    update_s: u32,
    /// The plan's reference prices are means of five minutes, and change by 1 % at least.
    #[serde(default = "five_minutes")]
    mean_s: u32,
    #[serde(default = "one_percent")]
    change_bps: u32,
    pause_s: u32,
    #[serde(default)]
    limit_state_s: u32,
}

const fn five_minutes() -> u32 {
    300
}

const fn one_percent() -> u32 {
    100
}

const fn thirty() -> u32 {
    30
}

const fn fifteen_minutes() -> u32 {
    900
}

const fn twenty_five_minutes() -> u32 {
    1_500
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTier {
    symbols: Vec<String>,
    widths: Vec<RawWidth>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWidth {
    from: String,
    bps: u32,
    at_most: Option<String>,
    #[serde(default)]
    doubled: Vec<RawDoubled>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum RawDoubled {
    Open,
    Close,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawReference {
    OpeningCross,
    LastTrade,
    MeanTrade,
    PreviousClose,
}

/// Nasdaq's own times, where a key is left out (docs/venue.md).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawImbalance {
    opening_s: u32,
    closing_s: u32,
    interval_ms: u32,
}

impl Default for RawImbalance {
    fn default() -> Self {
        Self { opening_s: 120, closing_s: 300, interval_ms: 1_000 }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawInstruments {
    tick_tables: Vec<RawTickRule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTickRule {
    symbols: Vec<String>,
    bands: Vec<(String, String)>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCalendar {
    #[serde(default)]
    holidays: Vec<String>,
    #[serde(default)]
    early_closes: Vec<String>,
    early_hours: Option<RawEarlyHours>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEarlyHours {
    close: String,
    end_system: String,
    end_messages: String,
}

/// The price steps of every symbol: those of US-listed shares, unless somebody says others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TickRules {
    general: TickTable,
    named: Vec<(Symbol, TickTable)>,
}

impl Default for TickRules {
    fn default() -> Self {
        Self { general: TickTable::US_EQUITY, named: Vec::new() }
    }
}

impl TickRules {
    /// The price steps of a symbol.
    #[must_use]
    pub fn of(&self, name: Symbol) -> TickTable {
        self.named.iter().find(|(named, _)| *named == name).map_or(self.general, |(_, table)| *table)
    }
}

impl Reader {
    pub(super) fn bands(&mut self, raw: &RawBands) -> BandRules {
        let is_mean = matches!(raw.reference, RawReference::MeanTrade);
        if is_mean && !raw.mean_s.is_multiple_of(raw.update_s.max(1)) {
            self.refuse("bands.mean_s", &raw.mean_s, "a multiple of bands.update_s");
        }
        if raw.limit_state_s > 0 && raw.pause_s == 0 {
            self.refuse("bands.limit_state_s", &raw.limit_state_s, "0 where bands.pause_s is: it would end in nothing");
        }
        BandRules {
            reference: match raw.reference {
                RawReference::OpeningCross => BandReference::OpeningCross,
                RawReference::LastTrade => BandReference::LastTrade,
                RawReference::MeanTrade => BandReference::MeanTrade,
                RawReference::PreviousClose => BandReference::PreviousClose,
            },
            update_ns: self.within("bands.update_s", u64::from(raw.update_s), (1, 86_400)) * SECOND,
            mean_ns: self.within("bands.mean_s", u64::from(raw.mean_s), (1, 86_400)) * SECOND,
            change_bps: u32::try_from(self.within("bands.change_bps", u64::from(raw.change_bps), (0, 9_999)))
                .unwrap_or(0),
            pause_ns: self.within("bands.pause_s", u64::from(raw.pause_s), (0, 86_400)) * SECOND,
            limit_state_ns: self.within("bands.limit_state_s", u64::from(raw.limit_state_s), (0, 86_400)) * SECOND,
            doubled_open_ns: self.within("bands.doubled_open_s", u64::from(raw.doubled_open_s), (0, 86_400)) * SECOND,
            doubled_close_ns: self.within("bands.doubled_close_s", u64::from(raw.doubled_close_s), (0, 86_400))
                * SECOND,
        }
    }

    /// How wide bands are: one width, or tiers of symbols and previous closes.
    pub(super) fn tiers(&mut self, raw: &RawBands) -> Vec<BandTier> {
        if let Some(width_bps) = raw.width_bps {
            self.within("bands.width_bps", u64::from(width_bps), (1, 9_999));
            if !raw.tiers.is_empty() {
                self.refuse("bands.tiers", &"given", "absent, where there is bands.width_bps");
            }
            return vec![BandTier::plain(width_bps)];
        }
        if raw.tiers.is_empty() {
            self.refuse("bands.width_bps", &"missing", "there, where there are no bands.tiers");
        }
        let (mut tiers, mut named, mut has_general) = (Vec::new(), Vec::new(), false);
        for (index, tier) in raw.tiers.iter().enumerate() {
            let key = |name: &str| format!("bands.tiers[{index}].{name}");
            let is_general = tier.symbols == [ALL];
            let mut symbols = Vec::new();
            for text in tier.symbols.iter().filter(|_| !is_general) {
                match Symbol::new(text).filter(|symbol| text != ALL && !named.contains(symbol)) {
                    Some(symbol) => {
                        named.push(symbol);
                        symbols.push(symbol);
                    }
                    None => {
                        let bound = "one to eight letters, in no other tier, or `*` alone for all others";
                        self.refuse(&key("symbols"), &format!("`{text}`"), bound);
                    }
                }
            }
            if tier.symbols.is_empty() || is_general && std::mem::replace(&mut has_general, true) {
                let bound = "some, or `*` for all others in one tier";
                self.refuse(&key("symbols"), &"empty, or `*` again", bound);
            }
            let widths = self.widths(&key("widths"), &tier.widths);
            tiers.push(BandTier { symbols: (!is_general).then_some(symbols), widths });
        }
        tiers
    }

    fn widths(&mut self, key: &str, raw: &[RawWidth]) -> Vec<BandWidth> {
        let mut widths = Vec::<BandWidth>::new();
        for width in raw {
            let from = parse_decimal(&width.from).map(Price).ok();
            let from = from.filter(|from| widths.last().map_or(from.0 == 0, |last| *from > last.from));
            if from.is_none() {
                self.refuse(key, &format!("from `{}`", width.from), "from \"0\" up, rising, decimals in strings");
            }
            let most = width.at_most.as_ref().map(|text| (text, parse_decimal(text).map(Price).ok()));
            if let Some((text, None | Some(Price(..=0)))) = most {
                self.refuse(&format!("{key}.at_most"), &format!("`{text}`"), "a decimal above 0, in a string");
            }
            self.within(&format!("{key}.bps"), u64::from(width.bps), (1, 9_999));
            widths.push(BandWidth {
                from: from.unwrap_or_default(),
                width_bps: width.bps,
                width_max: most.and_then(|(_, most)| most),
                is_doubled_at_open: width.doubled.contains(&RawDoubled::Open),
                is_doubled_at_close: width.doubled.contains(&RawDoubled::Close),
            });
        }
        if widths.is_empty() {
            self.refuse(key, &"empty", "one width at least, from \"0\"");
        }
        widths
    }

    pub(super) fn imbalance(&mut self, raw: &RawImbalance) -> ImbalanceRules {
        let interval_ms = self.within("imbalance.interval_ms", u64::from(raw.interval_ms), (10, 3_600_000));
        ImbalanceRules {
            opening_ns: self.within("imbalance.opening_s", u64::from(raw.opening_s), (0, 86_400)) * SECOND,
            closing_ns: self.within("imbalance.closing_s", u64::from(raw.closing_s), (0, 86_400)) * SECOND,
            interval_ns: interval_ms * 1_000_000,
        }
    }

    /// Every symbol has one rule and no symbol two, as in the engine's profile.
    pub(super) fn ticks(&mut self, raw: &RawInstruments) -> TickRules {
        let key = |index: usize, name: &str| format!("instruments.tick_tables[{index}].{name}");
        let (mut general, mut named) = (None, Vec::<(Symbol, TickTable)>::new());
        for (index, rule) in raw.tick_tables.iter().enumerate() {
            let table = self.tick_table(&key(index, "bands"), &rule.bands);
            for text in &rule.symbols {
                let symbol = Symbol::new(text).filter(|symbol| !named.iter().any(|(named, _)| named == symbol));
                match symbol {
                    _ if text == ALL && general.is_none() => general = Some(table),
                    Some(symbol) if text != ALL => named.push((symbol, table)),
                    Some(_) | None => {
                        let bound = "one to eight letters, or `*` for all others, and in no other rule";
                        self.refuse(&key(index, "symbols"), &format!("`{text}`"), bound);
                    }
                }
            }
        }
        if general.is_none() {
            self.refuse("instruments.tick_tables", &"without `*`", "with one rule for all that no other names");
        }
        TickRules { general: general.unwrap_or(TickTable::US_EQUITY), named }
    }

    fn tick_table(&mut self, key: &str, bands: &[(String, String)]) -> TickTable {
        let price = |text: &str| parse_decimal(text).map(Price).map_err(|_| format!("`{text}` is no decimal"));
        let band = |(from, tick): &(String, String)| Ok(TickBand { from: price(from)?, tick: price(tick)? });
        let read: Result<Vec<TickBand>, String> = bands.iter().map(band).collect();
        let table = read.and_then(|bands| TickTable::new(&bands).map_err(|error| error.to_string()));
        let is_fine = |table: &TickTable| is_expressible(table);
        match table {
            Ok(table) if is_fine(&table) => return table,
            Ok(_) => self.refuse(key, &"finer than the feed", "of steps that are multiples of 0.0001"),
            Err(what) => self.refuse(key, &what, "pairs of decimals in strings, [from, tick], from 0 up"),
        }
        TickTable::US_EQUITY
    }

    /// The day: the one that was said; with a calendar that of the tape's name, or today's where there is no tape.
    pub(super) fn date(&mut self, text: Option<&str>, has_calendar: bool, flow: &RawFlow) -> Option<Date> {
        if let Some(text) = text {
            return self.day("venue.date", text);
        }
        if !has_calendar {
            return None;
        }
        let (found, bound) = match flow {
            RawFlow::File { path } => {
                (date_in_name(std::path::Path::new(path)), "there, where the tape's name does not tell its day")
            }
            RawFlow::None {} | RawFlow::Generator { .. } | RawFlow::Agents(_) => {
                let today = jiff::Timestamp::now().in_tz(NASDAQ_ZONE).ok().map(|now| now.date());
                (today, "there, where this machine does not know the venue's zone")
            }
        };
        if found.is_none() {
            self.refuse("venue.date", &"missing", bound);
        }
        found.and_then(date_of)
    }

    fn day(&mut self, key: &str, text: &str) -> Option<Date> {
        let date = text.parse::<civil::Date>().ok().filter(|_| text.len() == 10).and_then(date_of);
        if date.is_none() {
            self.refuse(key, &format!("`{text}`"), "a day, YYYY-MM-DD");
        }
        date
    }

    /// The hours of the day, which must have a session.
    pub(super) fn hours_of(&mut self, raw: &RawCalendar, date: Option<Date>, hours: DaySchedule) -> DaySchedule {
        let holidays = raw.holidays.iter().filter_map(|text| self.day("calendar.holidays", text)).collect();
        let half_days = raw.early_closes.iter().filter_map(|text| self.day("calendar.early_closes", text)).collect();
        let early = self.early_hours(raw, hours);
        let Some(date) = date else { return hours };
        let session = Calendar { holidays, half_days }.hours(date, (hours, early));
        if session.is_none() {
            let bound = "a day with a session: no weekend, and none of calendar.holidays";
            self.refuse("venue.date", &format!("{:04}-{:02}-{:02}", date.year, date.month, date.day), bound);
        }
        session.unwrap_or(hours)
    }

    fn early_hours(&mut self, raw: &RawCalendar, hours: DaySchedule) -> DaySchedule {
        let Some(early) = &raw.early_hours else {
            if !raw.early_closes.is_empty() {
                self.refuse("calendar.early_hours", &"missing", "there, where there are calendar.early_closes");
            }
            return hours;
        };
        let [start_messages, start_system, open, ..] = hours.times;
        let times = [
            start_messages,
            start_system,
            open,
            self.time("calendar.early_hours.close", &early.close),
            self.time("calendar.early_hours.end_system", &early.end_system),
            self.time("calendar.early_hours.end_messages", &early.end_messages),
        ];
        let made = DaySchedule { times, ..hours };
        let is_rising = times.windows(2).all(|pair| pair[1].0 >= pair[0].0 + SECOND);
        if !is_rising || made.time_of(Step::CloseMarket) >= hours.time_of(Step::CloseMarket) {
            let bound = "three times behind hours.open, each at least a second behind the one before, the close before \
                         hours.close";
            self.refuse("calendar.early_hours", &"not early, or not rising", bound);
        }
        made
    }
}

fn date_of(date: civil::Date) -> Option<Date> {
    let year = u16::try_from(date.year()).ok().filter(|year| *year > 0)?;
    Some(Date { year, month: date.month().unsigned_abs(), day: date.day().unsigned_abs() })
}
