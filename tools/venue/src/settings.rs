//! The configuration of the program: TOML, every key typed, unknown keys refused, every violation reported at once.
//! Only faults and the rules of the day have defaults: none.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use peregrine_gateway::soup::{
    CLIENT_SILENCE_MAX, HEARTBEAT_INTERVAL, LOGIN_TIME_MAX, Password, ServerConfig, SessionId, Username,
};
use peregrine_types::{Nanos, Price, Symbol, parse_decimal};
use peregrine_wire::itch50::MESSAGE_LEN_MAX as ITCH_LEN_MAX;
use peregrine_wire::moldudp64::Session;

use crate::agents::AgentsConfig;
use crate::config::SymbolConfig;
use crate::faults::{LineFaults, PortFaults};
use crate::incidents::Incident;
use crate::orders::{AccountId, FirmId, SelfTrade, TimeOfDay};
use crate::port::{PortConfig, Protocol};
use crate::schedule::{Date, DaySchedule};
use crate::stream::StreamConfig;
use crate::supervisor::DayRules;
use crate::ticks::is_allowed;

mod copies;
mod raw;
mod rules;

pub use copies::DropCopySettings;
use raw::{
    Raw, RawCapacity, RawControl, RawFaults, RawFlow, RawHours, RawLineFaults, RawPort, RawProtocol, RawSelfTrade,
    RawSymbol,
};
pub use rules::TickRules;

/// Longest packet of an order port, in bytes with its length: every OUCH 5.0 message with all its options.
const PACKET_LEN_MAX: usize = 512;
const OUTBOX_LEN_MAX: usize = 1 << 18;
/// Bytes that an answer of an order port takes on average, at most.
const ANSWER_LEN: usize = 96;

/// Where a line of the feed goes, and what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineSettings {
    /// Multicast group and port, or one receiver's address.
    pub destination: SocketAddr,
    /// Its faults.
    pub faults: LineFaults,
}

/// The server that sends messages again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetransmissionSettings {
    /// Where it listens.
    pub address: SocketAddr,
    /// Faults of its answers.
    pub faults: LineFaults,
    /// Answers, in millionths, that begin one message behind the one that was asked for.
    pub lie_ppm: u32,
}

/// The server of the book's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotSettings {
    /// Where it listens.
    pub address: SocketAddr,
    /// User that may log in.
    pub username: Username,
    /// Password.
    pub password: Password,
}

/// An order port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSettings {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it is.
    pub config: PortConfig,
    /// What it speaks.
    pub protocol: Protocol,
    /// What is wrong with its orders and answers.
    pub faults: PortFaults,
    /// Totals of bytes, rising, behind which its connection is cut: sent ones, received ones.
    pub cuts: (Vec<u64>, Vec<u64>),
}

/// How the exchange is told something while it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControlSettings {
    /// The Unix-domain socket that takes commands.
    pub socket: Option<PathBuf>,
    /// The file that gets each command with its time of day.
    pub journal: Option<PathBuf>,
    /// The journal of another run, whose commands are carried out at their times.
    pub script: Option<PathBuf>,
}

/// Where the background flow comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum FlowSettings {
    /// From nowhere: the instruments are those that are listed.
    None {
        /// The instruments.
        symbols: Vec<SymbolConfig>,
    },
    /// A generated session over the configured hours.
    Generator {
        /// Its seed.
        seed: u64,
        /// Instruments.
        symbol_count: u32,
        /// Messages to aim at.
        message_count: u64,
        /// Volatility pauses with a reopening.
        halt_count: u32,
    },
    /// A recorded session: length-prefixed ITCH 5.0, pcap or pcapng, plain or gzip.
    File {
        /// The file.
        path: PathBuf,
    },
    /// Agents, over instruments of the generator.
    Agents(Box<AgentsConfig>),
}

impl FlowSettings {
    /// How many accounts it trades from.
    #[must_use]
    pub const fn account_count(&self) -> u32 {
        match self {
            Self::None { .. } | Self::Generator { .. } | Self::File { .. } => 1,
            Self::Agents(config) => config.agent_count(),
        }
    }
}

/// Everything that the program needs to know.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where its day stands when the program starts.
    pub start: TimeOfDay,
    /// Nanoseconds of the day in one of the wall.
    pub speed: u32,
    /// Whether it never sleeps: the shortest way from order to answer, for one whole core.
    pub is_spinning: bool,
    /// The day, where there is a calendar or somebody said it.
    pub date: Option<Date>,
    /// The hours, of that day where it closes early.
    pub schedule: DaySchedule,
    /// What the venue does by itself.
    pub rules: DayRules,
    /// The price steps.
    pub ticks: TickRules,
    /// Orders, references, levels, levels of one side: at most.
    pub capacities: [u32; 4],
    /// How the feed is carried.
    pub stream: StreamConfig,
    /// Address of the interface that the feed leaves by.
    pub interface: Ipv4Addr,
    /// How many networks its packets may cross: 0 stays on the machine, 1 on the network.
    pub ttl: u32,
    /// How long the end of the session is said.
    pub end_of_session: Nanos,
    /// Lines A and B.
    pub lines: [LineSettings; 2],
    /// The server that sends messages again.
    pub retransmission: RetransmissionSettings,
    /// The server of the book's state.
    pub snapshot: SnapshotSettings,
    /// The order ports; each has the account of its place.
    pub ports: Vec<PortSettings>,
    /// The drop copy of one of them.
    pub drop_copy: Option<DropCopySettings>,
    /// How it is told something while it runs.
    pub control: ControlSettings,
    /// The firm of each account; those behind the ports' are the background flow's, each a firm of its own.
    pub firms: Vec<FirmId>,
    /// The background flow.
    pub flow: FlowSettings,
    /// Faults of the day, in no order.
    pub incidents: Vec<(TimeOfDay, Incident)>,
    /// The feed begins another session behind so many messages; 0 for never.
    pub session_message_count_max: u64,
    /// Seed of every fault.
    pub seed: u64,
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
        /// What the parser said, with line and column.
        what: String,
    },
    /// Values that no venue can have: all of them.
    #[error("the configuration has values that no venue can have ({}):\n  {}", .path.display(), .list.join("\n  "))]
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
        let raw: Raw = toml::from_str(text)
            .map_err(|error| SettingsError::Syntax { path: path.to_path_buf(), what: error.to_string() })?;
        let mut reader = Reader { list: Vec::new() };
        let settings = reader.settings(raw, path);
        if reader.list.is_empty() {
            Ok(settings)
        } else {
            Err(SettingsError::Violations { path: path.to_path_buf(), list: reader.list })
        }
    }
}

/// Turns raw values into typed ones and notes what is wrong; a placeholder stands for what is.
struct Reader {
    list: Vec<String>,
}

impl Reader {
    fn refuse(&mut self, key: &str, value: &impl std::fmt::Display, bound: &str) {
        self.list.push(format!("{key} is {value}: must be {bound}"));
    }

    fn within(&mut self, key: &str, value: u64, (least, most): (u64, u64)) -> u64 {
        if value < least || value > most {
            self.refuse(key, &value, &format!("{least} to {most}"));
        }
        value.clamp(least, most)
    }

    fn count(&mut self, key: &str, value: u64) -> u32 {
        let most = 1 << 30;
        u32::try_from(self.within(key, value, (1, most))).unwrap_or(1)
    }

    fn ppm(&mut self, key: &str, value: u32) -> u32 {
        u32::try_from(self.within(key, u64::from(value), (0, 1_000_000))).unwrap_or(0)
    }

    /// A time of day as `HH:MM:SS`, as nanoseconds since midnight.
    fn time(&mut self, key: &str, text: &str) -> TimeOfDay {
        let time = parse_time(text);
        if time.is_none() {
            self.refuse(key, &format!("`{text}`"), "a time of day, HH:MM:SS");
        }
        time.unwrap_or_default()
    }

    fn address(&mut self, key: &str, text: &str) -> SocketAddr {
        text.parse().unwrap_or_else(|_| {
            self.refuse(key, &format!("`{text}`"), "an IPv4 address with port, like 127.0.0.1:30001");
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
        })
    }

    fn credentials(&mut self, key: &str, username: &str, password: &str) -> (Username, Password) {
        let made = Username::new(username).zip(Password::new(password));
        if made.is_none() {
            self.refuse(key, &format!("`{username}`"), "a user of at most 6 and a password of at most 10 characters");
        }
        made.unwrap_or((Username([b' '; 6]), Password([b' '; 10])))
    }

    fn settings(&mut self, raw: Raw, path: &Path) -> Settings {
        let session = self.session(&raw.venue.session);
        let hours = self.schedule(&raw.hours);
        let date = self.date(raw.venue.date.as_deref(), raw.calendar.is_some(), &raw.flow);
        let schedule = raw.calendar.as_ref().map_or(hours, |calendar| self.hours_of(calendar, date, hours));
        let ticks = raw.instruments.as_ref().map(|raw| self.ticks(raw)).unwrap_or_default();
        let ports: Vec<PortSettings> =
            raw.port.iter().enumerate().map(|(index, port)| self.port(index, port, session)).collect();
        let flow = self.flow(raw.flow, (&raw.symbol, &ticks), path);
        let others = (0..flow.account_count()).map(|account| FirmId(u32::MAX - account));
        let firms = raw.port.iter().map(|port| FirmId(port.firm)).chain(others).collect();
        let message_count_max = self.count("capacity.feed_message_count_max", raw.capacity.feed_message_count_max);
        let snapshot_user = self.credentials("snapshot", &raw.snapshot.username, &raw.snapshot.password);
        let faults = raw.faults;
        Settings {
            start: self.time("venue.start", &raw.venue.start),
            speed: u32::try_from(self.within("venue.speed", u64::from(raw.venue.speed), (1, 100_000))).unwrap_or(1),
            is_spinning: raw.venue.is_spinning,
            date,
            schedule,
            rules: DayRules {
                bands: raw.bands.as_ref().map(|bands| self.bands(bands)),
                tiers: raw.bands.as_ref().map(|bands| self.tiers(bands)).unwrap_or_default(),
                imbalance: raw.imbalance.as_ref().map(|imbalance| self.imbalance(imbalance)),
            },
            ticks,
            capacities: self.capacities(&raw.capacity),
            stream: StreamConfig {
                session: Session(session.map_or([b' '; 10], |session| session.0)),
                payload_len_max: self.size("feed.payload_len_max", raw.feed.payload_len_max, (80, 65_000)),
                heartbeat_interval: self.millis("feed.heartbeat_ms", raw.feed.heartbeat_ms, (1, 60_000)),
                message_count_max: message_count_max as usize,
                byte_count_max: message_count_max as usize * ITCH_LEN_MAX,
            },
            interface: raw.feed.interface,
            ttl: u32::try_from(self.within("feed.ttl", u64::from(raw.feed.ttl), (0, 255))).unwrap_or(0),
            end_of_session: self.millis("feed.end_of_session_ms", raw.feed.end_of_session_ms, (0, 3_600_000)),
            lines: [
                LineSettings {
                    destination: self.address("feed.line_a", &raw.feed.line_a),
                    faults: self.line_faults("faults.line_a", &faults.line_a),
                },
                LineSettings {
                    destination: self.address("feed.line_b", &raw.feed.line_b),
                    faults: self.line_faults("faults.line_b", &faults.line_b),
                },
            ],
            retransmission: RetransmissionSettings {
                address: self.address("retransmission.address", &raw.retransmission.address),
                faults: self.line_faults("faults.retransmission", &faults.retransmission),
                lie_ppm: self.ppm("faults.retransmission_lie_ppm", faults.retransmission_lie_ppm),
            },
            snapshot: SnapshotSettings {
                address: self.address("snapshot.address", &raw.snapshot.address),
                username: snapshot_user.0,
                password: snapshot_user.1,
            },
            drop_copy: raw.drop_copy.as_ref().map(|raw_copy| self.drop_copy(raw_copy, ports.len(), faults.seed ^ 90)),
            control: raw.control.map(|raw_control| self.control(raw_control, path)).unwrap_or_default(),
            ports,
            firms,
            flow,
            incidents: self.incidents(&faults, &raw.port),
            session_message_count_max: faults.session_message_count_max,
            seed: faults.seed,
        }
    }

    fn capacities(&mut self, raw: &RawCapacity) -> [u32; 4] {
        [
            self.count("capacity.order_count_max", raw.order_count_max),
            self.count("capacity.reference_count_max", raw.reference_count_max),
            self.count("capacity.level_count_max", raw.level_count_max),
            self.count("capacity.side_level_count_max", raw.side_level_count_max),
        ]
    }

    fn size(&mut self, key: &str, value: u64, range: (u64, u64)) -> usize {
        usize::try_from(self.within(key, value, range)).unwrap_or(0)
    }

    fn millis(&mut self, key: &str, value: u64, range: (u64, u64)) -> Nanos {
        Nanos::from_millis(i64::try_from(self.within(key, value, range)).unwrap_or(0))
    }

    fn session(&mut self, text: &str) -> Option<SessionId> {
        // Ten characters fill the name, so that MoldUDP64 and SoupBinTCP, which pad on different sides, agree.
        let session = SessionId::new(text).filter(|_| text.len() == 10);
        if session.is_none() {
            self.refuse("venue.session", &format!("`{text}`"), "exactly ten letters or digits");
        }
        session
    }

    fn schedule(&mut self, hours: &RawHours) -> DaySchedule {
        let steps = [
            ("hours.start_messages", &hours.start_messages),
            ("hours.start_system", &hours.start_system),
            ("hours.open", &hours.open),
            ("hours.close", &hours.close),
            ("hours.end_system", &hours.end_system),
            ("hours.end_messages", &hours.end_messages),
        ];
        let times = steps.map(|(key, text)| self.time(key, text));
        if !times.windows(2).all(|pair| pair[1].0 >= pair[0].0 + 1_000_000_000) {
            self.refuse("hours", &"not rising", "six times, each at least a second behind the one before");
        }
        let late_s = self.within("hours.late_s", u64::from(hours.late_s), (0, 3_600));
        DaySchedule { times, late_ns: late_s * 1_000_000_000 }
    }

    fn line_faults(&mut self, key: &str, raw: &RawLineFaults) -> LineFaults {
        LineFaults {
            loss_ppm: self.ppm(&format!("{key}.loss_ppm"), raw.loss_ppm),
            duplicate_ppm: self.ppm(&format!("{key}.duplicate_ppm"), raw.duplicate_ppm),
            reorder_ppm: self.ppm(&format!("{key}.reorder_ppm"), raw.reorder_ppm),
            reorder_delay: micros(raw.reorder_delay_us),
            delay: micros(raw.delay_us),
            jitter: micros(raw.jitter_us),
            outage: micros(raw.outage_us),
            outage_every: micros(raw.outage_every_us),
            outage_after: micros(raw.outage_after_us),
        }
    }

    /// Relative paths count from the configuration's folder.
    fn control(&mut self, raw: RawControl, path: &Path) -> ControlSettings {
        let folder = path.parent().unwrap_or(path);
        let place = |name: Option<String>| name.map(|name| folder.join(name));
        let RawControl { socket, journal, script } = raw;
        let settings = ControlSettings { socket: place(socket), journal: place(journal), script: place(script) };
        if settings.journal.is_some() && settings.journal == settings.script {
            self.refuse("control.journal", &"that of control.script", "another file: it is written anew");
        }
        settings
    }

    fn incidents(&mut self, raw: &RawFaults, ports: &[RawPort]) -> Vec<(TimeOfDay, Incident)> {
        let mut incidents = Vec::new();
        for (index, port) in ports.iter().enumerate() {
            let key = format!("port[{index}].faults.session_rolls");
            let rolls = port.faults.session_rolls.iter();
            incidents.extend(rolls.map(|text| (self.time(&key, text), Incident::PortSessionRoll(index))));
        }
        for text in &raw.session_rolls {
            incidents.push((self.time("faults.session_rolls", text), Incident::SessionRoll));
        }
        for text in &raw.sequence_resets {
            incidents.push((self.time("faults.sequence_resets", text), Incident::SequenceReset));
        }
        for (name, begin, end) in &raw.halts {
            let (begin, end) = (self.time("faults.halts", begin), self.time("faults.halts", end));
            match Symbol::new(name) {
                Some(symbol) if begin < end => {
                    incidents.extend([(begin, Incident::Halt(symbol)), (end, Incident::Resumption(symbol))]);
                }
                Some(_) | None => {
                    self.refuse("faults.halts", &format!("`{name}`"), "symbol, begin and a later end of each");
                }
            }
        }
        incidents
    }

    fn port(&mut self, index: usize, raw: &RawPort, session: Option<SessionId>) -> PortSettings {
        let key = |name: &str| format!("port[{index}].{name}");
        let (username, password) = self.credentials(&key("username"), &raw.username, &raw.password);
        let order_count_max = self.count(&key("order_count_max"), raw.order_count_max);
        let message_count_max = self.count(&key("message_count_max"), raw.message_count_max) as usize;
        let faults = PortFaults {
            reject_storms: raw
                .faults
                .reject_storms
                .iter()
                .map(|(begin, end)| {
                    (self.time(&key("faults.reject_storms"), begin), self.time(&key("faults.reject_storms"), end))
                })
                .collect(),
            lost_order_ppm: self.ppm(&key("faults.lost_order_ppm"), raw.faults.lost_order_ppm),
            lost_answer_ppm: self.ppm(&key("faults.lost_answer_ppm"), raw.faults.lost_answer_ppm),
            duplicate_fill_ppm: self.ppm(&key("faults.duplicate_fill_ppm"), raw.faults.duplicate_fill_ppm),
            late_fill_ppm: self.ppm(&key("faults.late_fill_ppm"), raw.faults.late_fill_ppm),
            late_fill_delay: micros(raw.faults.late_fill_delay_us),
            bust_ppm: self.ppm(&key("faults.bust_ppm"), raw.faults.bust_ppm),
            bust_delay: micros(raw.faults.bust_delay_us),
        };
        let cuts = (raw.faults.cut_sent_bytes.clone(), raw.faults.cut_received_bytes.clone());
        if !cuts.0.is_sorted() || !cuts.1.is_sorted() {
            self.refuse(&key("faults.cut_sent_bytes or cut_received_bytes"), &"not rising", "rising totals of bytes");
        }
        PortSettings {
            address: self.address(&key("address"), &raw.address),
            config: PortConfig {
                session: ServerConfig {
                    username,
                    password,
                    session: session.unwrap_or(SessionId([b' '; 10])),
                    heartbeat_interval: HEARTBEAT_INTERVAL,
                    silence_max: CLIENT_SILENCE_MAX,
                    login_time_max: LOGIN_TIME_MAX,
                    packet_len_max: PACKET_LEN_MAX,
                    outbox_len_max: OUTBOX_LEN_MAX,
                    message_count_max,
                    byte_count_max: message_count_max.saturating_mul(ANSWER_LEN),
                },
                account: AccountId(u32::try_from(index).unwrap_or(u32::MAX)),
                self_trade: match raw.self_trade {
                    RawSelfTrade::Allow => SelfTrade::Allow,
                    RawSelfTrade::DecrementBoth => SelfTrade::DecrementBoth,
                    RawSelfTrade::CancelOldest => SelfTrade::CancelOldest,
                    RawSelfTrade::CancelNewest => SelfTrade::CancelNewest,
                },
                is_cancel_on_disconnect: raw.is_cancel_on_disconnect,
                order_count_max,
                execution_count_max: u32::try_from(message_count_max).unwrap_or(u32::MAX),
            },
            protocol: match raw.protocol {
                RawProtocol::Ouch50 => Protocol::Ouch50,
                RawProtocol::Ouch42 => Protocol::Ouch42,
            },
            faults,
            cuts,
        }
    }

    fn flow(&mut self, raw: RawFlow, (symbols, ticks): (&[RawSymbol], &TickRules), path: &Path) -> FlowSettings {
        let symbols = symbols.iter().enumerate();
        let symbols: Vec<_> = symbols.map(|(index, symbol)| self.symbol(index, symbol, ticks)).collect();
        let is_listed = !symbols.is_empty();
        let flow = match raw {
            RawFlow::None {} => FlowSettings::None { symbols },
            RawFlow::Generator { seed, symbol_count, message_count, halt_count } => {
                FlowSettings::Generator { seed, symbol_count, message_count, halt_count }
            }
            RawFlow::File { path: file } => FlowSettings::File { path: path.parent().unwrap_or(path).join(file) },
            RawFlow::Agents(config) => {
                for (key, value, bound) in config.violations() {
                    self.refuse(key, &value, &bound);
                }
                FlowSettings::Agents(config)
            }
        };
        match (&flow, is_listed) {
            (FlowSettings::None { .. }, false) => self.refuse("symbol", &"missing", "there, where no flow brings them"),
            (FlowSettings::Generator { .. } | FlowSettings::File { .. } | FlowSettings::Agents(_), true) => {
                self.refuse("symbol", &"given", "absent, where a flow brings its own");
            }
            (FlowSettings::None { .. }, true)
            | (FlowSettings::Generator { .. } | FlowSettings::File { .. } | FlowSettings::Agents(_), false) => {}
        }
        flow
    }

    fn symbol(&mut self, index: usize, raw: &RawSymbol, ticks: &TickRules) -> SymbolConfig {
        let key = |name: &str| format!("symbol[{index}].{name}");
        let name = Symbol::new(&raw.name);
        if name.is_none() {
            self.refuse(&key("name"), &format!("`{}`", raw.name), "one to eight letters");
        }
        let ticks = ticks.of(name.unwrap_or(Symbol([b' '; 8])));
        let price = parse_decimal(&raw.reference_price).map(Price).ok().filter(|price| is_allowed(&ticks, *price));
        if price.is_none() {
            self.refuse(&key("reference_price"), &format!("`{}`", raw.reference_price), "a price on the tick, above 0");
        }
        SymbolConfig {
            name: name.unwrap_or(Symbol([b' '; 8])),
            ticks,
            round_lot: self.count(&key("round_lot"), u64::from(raw.round_lot)),
            reference_price: price.unwrap_or(Price(1_000_000_000)),
        }
    }
}

/// Microseconds, an hour at most.
fn micros(value: u64) -> Nanos {
    Nanos::from_micros(i64::try_from(value.min(3_600_000_000)).unwrap_or(0))
}

fn parse_time(text: &str) -> Option<TimeOfDay> {
    let mut parts = text.split(':');
    let mut part = |below: u64| {
        let text = parts.next().filter(|text| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit()))?;
        text.parse::<u64>().ok().filter(|number| *number < below)
    };
    let (hours, minutes, seconds) = (part(24)?, part(60)?, part(60)?);
    let seconds = (hours * 60 + minutes) * 60 + seconds;
    parts.next().is_none().then_some(TimeOfDay(seconds * 1_000_000_000))
}

#[cfg(test)]
mod tests;
