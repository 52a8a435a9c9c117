//! The configuration of the program: TOML, every key mandatory, unknown keys refused, every violation reported at once.

mod raw;

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use peregrine_gateway::soup::{Password, SessionId, Username};
use peregrine_types::{Nanos, Symbol};
use peregrine_venue::{LineFaults, LineSettings, RetransmissionSettings, SnapshotSettings, StreamConfig};
use peregrine_wire::itch50::MESSAGE_LEN_MAX as ITCH_LEN_MAX;
use peregrine_wire::moldudp64::Session;

use crate::credentials::CredentialPlan;
use crate::desk::{DeskConfig, DeskInstrument, SizeUnit};
use crate::ib::IbConfig;
use crate::link::{Address, LinkPlan, TlsRoots};

use raw::{Raw, RawKind, RawUnit};

/// Messages that one symbol may need at once: its orders taken off, or told again by a session that begins.
const MESSAGES_PER_SYMBOL_MAX: u64 = 600;
/// And what comes with them.
const MESSAGES_BESIDE_MAX: u64 = 1_000;

/// Which vendor, and what only it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VendorKind {
    /// Alpaca.
    Alpaca {
        /// Whether trading states are asked for.
        has_statuses: bool,
    },
    /// Massive, formerly Polygon.io.
    Massive,
    /// Interactive Brokers.
    Ib(IbConfig),
}

/// Everything that the program needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The vendor.
    pub vendor: VendorKind,
    /// Where it is.
    pub address: Address,
    /// Certificates of the authorities that are trusted; without it Mozilla's list.
    pub authorities: Option<PathBuf>,
    /// Where keys are.
    pub credentials: CredentialPlan,
    /// The vendor's names of the instruments.
    pub names: Vec<String>,
    /// What the desk goes by.
    pub desk: DeskConfig,
    /// How long connecting may take.
    pub connect: Nanos,
    /// How long the session may take to be under way.
    pub ready: Nanos,
    /// How long nothing may be heard.
    pub silence: Nanos,
    /// First and longest pause before another try.
    pub backoff: (Nanos, Nanos),
    /// Seed of the pauses.
    pub backoff_seed: u64,
    /// Longest message of the vendor, in bytes.
    pub message_len_max: usize,
    /// Latency beyond which a message is late.
    pub latency_warn: Nanos,
    /// How often latencies are reported.
    pub report_interval: Nanos,
    /// Zone in whose midnight the feed's stamps begin.
    pub zone: String,
    /// How the feed is carried.
    pub stream: StreamConfig,
    /// Messages that a session of the feed keeps room for; another session begins before.
    pub message_reserve: u64,
    /// Lines A and B.
    pub lines: [LineSettings; 2],
    /// Address of the interface that the feed leaves by.
    pub interface: Ipv4Addr,
    /// How many networks its packets may cross.
    pub ttl: u32,
    /// How long the end of the session is said.
    pub end_of_session: Nanos,
    /// The server that sends messages again.
    pub retransmission: RetransmissionSettings,
    /// The server of the book's state.
    pub snapshot: SnapshotSettings,
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read the configuration ({}): {source}; give a file that exists", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no TOML, or a key is missing, unknown or of another type.
    #[error("the configuration cannot be understood ({}): {what}", .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What the parser said, with the line.
        what: String,
    },
    /// Values that cannot be: all of them.
    #[error("the configuration has values that cannot be ({}):\n  {}", .path.display(), .list.join("\n  "))]
    Violations {
        /// The file.
        path: PathBuf,
        /// Key, value and bound of each.
        list: Vec<String>,
    },
}

impl Settings {
    /// Reads a file.
    ///
    /// # Errors
    /// [`SettingsError`] with everything that is wrong.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| SettingsError::Read { path: path.to_path_buf(), source })?;
        Self::parse(&text, path)
    }

    /// Reads a text; `path` stands for it in messages, and relative paths in it count from its folder.
    ///
    /// # Errors
    /// [`SettingsError::Syntax`] and [`SettingsError::Violations`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, SettingsError> {
        // Not the parser's own text: that shows the line, in which a key could stand.
        let place = |error: toml::de::Error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count().saturating_add(1);
            SettingsError::Syntax { path: path.to_path_buf(), what: format!("line {line}: {}", error.message()) }
        };
        let raw: Raw = toml::from_str(text).map_err(place)?;
        let mut reader = Reader { list: Vec::new() };
        let settings = reader.settings(&raw, path);
        match settings {
            Some(settings) if reader.list.is_empty() => Ok(settings),
            Some(_) | None => Err(SettingsError::Violations { path: path.to_path_buf(), list: reader.list }),
        }
    }

    /// How the vendor is reached.
    #[must_use]
    pub fn link_plan(&self, roots: TlsRoots) -> LinkPlan {
        LinkPlan {
            address: self.address.clone(),
            roots,
            connect: duration(self.connect),
            ready: duration(self.ready),
            silence: duration(self.silence),
            backoff_first: duration(self.backoff.0),
            backoff_max: duration(self.backoff.1),
            backoff_seed: self.backoff_seed,
            message_len_max: self.message_len_max,
        }
    }
}

fn duration(span: Nanos) -> Duration {
    Duration::from_nanos(u64::try_from(span.0).unwrap_or(0))
}

/// Turns raw values into typed ones and notes what is wrong.
struct Reader {
    list: Vec<String>,
}

impl Reader {
    fn refuse(&mut self, key: &str, value: &impl std::fmt::Display, bound: &impl std::fmt::Display) {
        self.list.push(format!("{key} is {value}: must be {bound}"));
    }

    fn within(&mut self, key: &str, value: u64, (least, most): (u64, u64)) -> u64 {
        if value < least || value > most {
            self.refuse(key, &value, &format!("{least} to {most}"));
        }
        value.clamp(least, most)
    }

    fn size(&mut self, key: &str, value: u64, range: (u64, u64)) -> usize {
        usize::try_from(self.within(key, value, range)).unwrap_or(0)
    }

    fn narrow(&mut self, key: &str, value: u64, range: (u64, u64)) -> u32 {
        u32::try_from(self.within(key, value, range)).unwrap_or(0)
    }

    fn millis(&mut self, key: &str, value: u64, range: (u64, u64)) -> Nanos {
        Nanos::from_millis(i64::try_from(self.within(key, value, range)).unwrap_or(0))
    }

    fn socket(&mut self, key: &str, text: &str) -> SocketAddr {
        text.parse().ok().filter(SocketAddr::is_ipv4).unwrap_or_else(|| {
            self.refuse(key, &format!("`{text}`"), &"an IPv4 address with port, like 127.0.0.1:30001");
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
        })
    }

    fn settings(&mut self, raw: &Raw, path: &Path) -> Option<Settings> {
        let folder = path.parent().unwrap_or(path);
        let file = |name: &str| (!name.is_empty()).then(|| folder.join(name));
        let (vendor, address) = (self.vendor(raw), self.address(raw));
        let (names, instruments) = self.symbols(raw);
        let (connection, quality, feed) = (&raw.connection, &raw.quality, &raw.feed);
        let count = u64::try_from(instruments.len()).unwrap_or(u64::MAX);
        let message_reserve = count.saturating_mul(MESSAGES_PER_SYMBOL_MAX).saturating_add(MESSAGES_BESIDE_MAX);
        let line = |destination| LineSettings { destination, faults: LineFaults::default() };
        let backoff = (
            self.millis("connection.backoff_first_ms", connection.backoff_first_ms, (1, 3_600_000)),
            self.millis("connection.backoff_max_ms", connection.backoff_max_ms, (1, 3_600_000)),
        );
        if backoff.0 > backoff.1 {
            self.refuse("connection.backoff_first_ms", &connection.backoff_first_ms, &"at most backoff_max_ms");
        }
        if jiff::tz::TimeZone::get(&feed.zone).is_err() {
            self.refuse("feed.zone", &format!("`{}`", feed.zone), &"a zone of the IANA table, like America/New_York");
        }
        Some(Settings {
            credentials: self.credentials(raw, file(&raw.credentials.file)),
            authorities: file(&raw.vendor.authority_file),
            names,
            desk: DeskConfig {
                instruments,
                quote_size_unit: unit(raw.vendor.quote_size_unit),
                trade_size_unit: unit(raw.vendor.trade_size_unit),
                stale_after: self.millis("quality.stale_after_ms", quality.stale_after_ms, (10, 86_400_000)),
                is_trading_at_start: raw.vendor.is_trading_at_start,
            },
            connect: self.millis("connection.connect_ms", connection.connect_ms, (100, 600_000)),
            ready: self.millis("connection.ready_ms", connection.ready_ms, (100, 600_000)),
            silence: self.millis("connection.silence_ms", connection.silence_ms, (100, 3_600_000)),
            backoff,
            backoff_seed: connection.backoff_seed,
            message_len_max: self.size("connection.message_len_max", connection.message_len_max, (1_024, 1 << 28)),
            latency_warn: self.millis("quality.latency_warn_ms", quality.latency_warn_ms, (1, 3_600_000)),
            report_interval: self.millis("quality.report_ms", quality.report_ms, (100, 86_400_000)),
            zone: feed.zone.clone(),
            stream: self.stream(raw, message_reserve),
            message_reserve,
            lines: [line(self.socket("feed.line_a", &feed.line_a)), line(self.socket("feed.line_b", &feed.line_b))],
            interface: feed.interface,
            ttl: self.narrow("feed.ttl", feed.ttl, (0, 255)),
            end_of_session: self.millis("feed.end_of_session_ms", feed.end_of_session_ms, (0, 3_600_000)),
            retransmission: RetransmissionSettings {
                address: self.socket("retransmission.address", &raw.retransmission.address),
                faults: LineFaults::default(),
                lie_ppm: 0,
            },
            snapshot: self.snapshot(raw)?,
            vendor: vendor?,
            address: address?,
        })
    }

    /// The section of the vendor must be there, those of others must not.
    fn vendor(&mut self, raw: &Raw) -> Option<VendorKind> {
        let kind = raw.vendor.kind;
        let sections = [("alpaca", raw.alpaca.is_some(), RawKind::Alpaca), ("ib", raw.ib.is_some(), RawKind::Ib)];
        for (name, is_there, of) in sections {
            if is_there != (of == kind) {
                let (value, bound) = if is_there {
                    ("given", "absent, where vendor.kind is another")
                } else {
                    ("missing", "there, as vendor.kind says so")
                };
                self.refuse(&format!("[{name}]"), &value, &bound);
            }
        }
        match kind {
            RawKind::Alpaca => raw.alpaca.as_ref().map(|alpaca| VendorKind::Alpaca { has_statuses: alpaca.statuses }),
            RawKind::Massive => Some(VendorKind::Massive),
            RawKind::Ib => {
                let ib = raw.ib.as_ref()?;
                let most = 1 << 30;
                Some(VendorKind::Ib(IbConfig {
                    client_id: self.narrow("ib.client_id", ib.client_id, (0, most)),
                    exchange: self.plain("ib.exchange", &ib.exchange, 1),
                    primary_exchange: self.plain("ib.primary_exchange", &ib.primary_exchange, 0),
                    currency: self.plain("ib.currency", &ib.currency, 1),
                    depth_row_count: self.narrow("ib.depth_row_count", ib.depth_row_count, (0, 256)),
                }))
            }
        }
    }

    /// A word of printable ASCII.
    fn plain(&mut self, key: &str, text: &str, len_min: usize) -> String {
        if text.len() < len_min || text.len() > 32 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            self.refuse(key, &format!("`{text}`"), &format!("{len_min} to 32 printable letters"));
        }
        text.to_owned()
    }

    fn address(&mut self, raw: &Raw) -> Option<Address> {
        let text = &raw.vendor.address;
        let address = match raw.vendor.kind {
            RawKind::Alpaca | RawKind::Massive => Address::web_socket(text),
            RawKind::Ib => Address::stream(text),
        };
        // The text is not repeated: it may hold a key.
        address.inspect_err(|bound| self.refuse("vendor.address", &"not to be used", bound)).ok()
    }

    fn credentials(&mut self, raw: &Raw, file: Option<PathBuf>) -> CredentialPlan {
        let given = &raw.credentials;
        let is_needed = match raw.vendor.kind {
            RawKind::Alpaca => [true, true],
            RawKind::Massive => [true, false],
            RawKind::Ib => [false, false],
        };
        let names = [
            ("credentials.key_variable", &given.key_variable),
            ("credentials.secret_variable", &given.secret_variable),
        ];
        for ((key, value), is_needed) in names.into_iter().zip(is_needed) {
            if is_needed && file.is_none() && value.is_empty() {
                self.refuse(key, &"empty", &"the name of an environment variable, where credentials.file is empty");
            }
        }
        CredentialPlan {
            key_variable: given.key_variable.clone(),
            secret_variable: given.secret_variable.clone(),
            file,
        }
    }

    fn symbols(&mut self, raw: &Raw) -> (Vec<String>, Vec<DeskInstrument>) {
        if raw.symbol.is_empty() || raw.symbol.len() > usize::from(u16::MAX) {
            self.refuse("symbol", &raw.symbol.len(), &"1 to 65,535 symbols");
        }
        let (mut seen, mut names, mut instruments) = (HashSet::new(), Vec::new(), Vec::new());
        for (index, symbol) in raw.symbol.iter().enumerate() {
            let key = |name: &str| format!("symbol[{index}].{name}");
            let name = Symbol::new(&symbol.name).filter(|_| seen.insert(symbol.name.clone()));
            if name.is_none() {
                let value = format!("`{}`", symbol.name);
                self.refuse(&key("name"), &value, &"one to eight letters, and named once");
            }
            let round_lot = self.narrow(&key("round_lot"), symbol.round_lot, (1, 1_000_000));
            names.push(symbol.name.clone());
            instruments.push(DeskInstrument { symbol: name.unwrap_or(Symbol([b' '; 8])), round_lot });
        }
        (names, instruments)
    }

    fn stream(&mut self, raw: &Raw, reserve: u64) -> StreamConfig {
        let feed = &raw.feed;
        // Ten characters fill the name, so that MoldUDP64 and SoupBinTCP, which pad on different sides, agree.
        let session = SessionId::new(&feed.session).filter(|_| feed.session.len() == 10);
        if session.is_none() {
            self.refuse("feed.session", &format!("`{}`", feed.session), &"exactly ten letters or digits");
        }
        let range = (reserve.saturating_mul(4), 1 << 30);
        let message_count_max = self.size("feed.message_count_max", feed.message_count_max, range);
        StreamConfig {
            session: Session(session.map_or([b' '; 10], |session| session.0)),
            payload_len_max: self.size("feed.payload_len_max", feed.payload_len_max, (80, 65_000)),
            heartbeat_interval: self.millis("feed.heartbeat_ms", feed.heartbeat_ms, (1, 60_000)),
            message_count_max,
            byte_count_max: message_count_max.saturating_mul(ITCH_LEN_MAX),
        }
    }

    fn snapshot(&mut self, raw: &Raw) -> Option<SnapshotSettings> {
        let address = self.socket("snapshot.address", &raw.snapshot.address);
        let (username, password) = (Username::new(&raw.snapshot.username), Password::new(&raw.snapshot.password));
        let Some((username, password)) = username.zip(password) else {
            let bound = "a user of at most 6 and a password of at most 10 characters";
            self.refuse("snapshot", &format!("`{}`", raw.snapshot.username), &bound);
            return None;
        };
        Some(SnapshotSettings { address, username, password })
    }
}

const fn unit(raw: RawUnit) -> SizeUnit {
    match raw {
        RawUnit::Shares => SizeUnit::Shares,
        RawUnit::RoundLots => SizeUnit::RoundLots,
    }
}

#[cfg(test)]
mod tests;
