//! The configuration: one TOML profile with `include`s, read into typed sections, refused with every violation at once.

mod across;
mod schema;
mod sections;
mod ticks;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use peregrine_types::{SymbolId, TickTable, TickTables};
use toml::de::{DeTable, DeValue};

use schema::{Entry, Reader, kind_and_bound};
pub use schema::{KeyDoc, Violation};
pub use sections::{
    BackendChoice, BookSection, DecideSection, DropCopySection, FeedSection, GatewaySection, GuardSection,
    HugePagesChoice, InstrumentsSection, LiveSection, LogSection, Mdp3Depth, ModeChoice, ModelSection, OuchSection,
    PaperBurstSection, PaperKindsSection, PaperSection, PaperSpreadSection, PrecisionChoice, ProtectSection,
    RiskSection, RuntimeSection, SourceChoice, StampChoice, Wait, Wiring, XdpModeChoice,
};
pub use ticks::TickRule;

/// The shipped profiles, for a program that runs away from its sources.
const BUNDLED: [(&str, &str); 5] = [
    ("configs/live_copy.toml", include_str!("../../../../configs/live_copy.toml")),
    ("configs/live.toml", include_str!("../../../../configs/live.toml")),
    ("configs/demo.toml", include_str!("../../../../configs/demo.toml")),
    ("configs/replay.toml", include_str!("../../../../configs/replay.toml")),
    ("configs/limits.toml", include_str!("../../../../configs/limits.toml")),
];
/// How deep `include`s may nest.
const INCLUDE_DEPTH_MAX: usize = 8;

/// A whole profile: every value explicit and within its bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Threads, cores and memory.
    pub runtime: RuntimeSection,
    /// Lines, gaps and symbols.
    pub feed: FeedSection,
    /// Capacities of the books.
    pub book: BookSection,
    /// The world model.
    pub model: ModelSection,
    /// What the strategy watches and when it acts.
    pub decide: DecideSection,
    /// What the venue lays down about its instruments.
    pub instruments: InstrumentsSection,
    /// Pre-trade limits.
    pub risk: RiskSection,
    /// The paper venue.
    pub gateway: GatewaySection,
    /// The latency guard.
    pub guard: GuardSection,
    /// The event log.
    pub log: LogSection,
    /// The lines of a live run, where the profile has them.
    pub live: Option<LiveSection>,
    /// The order port of a live run, where the profile has one.
    pub ouch: Option<OuchSection>,
    /// Orders that the engine holds; left out where none is.
    pub protect: Option<ProtectSection>,
    /// Recorded latencies of the paper venue; left out where they are constant.
    pub paper: Option<PaperSection>,
    /// The paper venue's latencies by kind; left out where `[gateway]` has them.
    pub paper_kinds: Option<PaperKindsSection>,
    /// What is drawn for each message; left out where nothing is.
    pub paper_spread: Option<PaperSpreadSection>,
    /// What bursts of the feed add; left out where they add nothing.
    pub paper_burst: Option<PaperBurstSection>,
    /// The drop copy of a live run, where the profile has one.
    pub drop_copy: Option<DropCopySection>,
}

/// A profile and where its values came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The typed values.
    pub config: Config,
    /// The profile's file; relative paths in it start at its folder.
    pub file: PathBuf,
    /// Whether the file is a shipped one that is not there, so that the copy within the program was taken.
    pub is_bundled: bool,
    origins: BTreeMap<(String, String), Place>,
}

/// Where a key is written: the file, and its line from 1, `None` on the command line.
type Place = (PathBuf, Option<usize>);

/// Why a profile was refused.
#[derive(Debug)]
pub enum ConfigError {
    /// A file could not be read.
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A file is no TOML.
    Syntax {
        /// The file.
        file: PathBuf,
        /// What the parser said, with line and column.
        what: String,
    },
    /// The values do not hold together.
    Violations(Vec<Violation>),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { file, error } => {
                write!(f, "cannot read the configuration ({}): {error}; give a file that exists", file.display())
            }
            Self::Syntax { file, what } => write!(f, "the configuration is no TOML ({}): {what}", file.display()),
            Self::Violations(list) => {
                let plural = if list.len() == 1 { "" } else { "s" };
                write!(f, "the configuration has {} violation{plural}:", list.len())?;
                list.iter().try_for_each(|violation| write!(f, "\n  {violation}"))
            }
        }
    }
}

impl std::error::Error for ConfigError {}

/// More tick tables than a session may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("instruments.tick_tables: more than 255 different tables; join those that are equal")]
pub struct TooManyTickTables;

impl Config {
    fn read(reader: &mut Reader) -> Option<Self> {
        // Every section is read before the first failure counts, so that all violations are found.
        let runtime = RuntimeSection::read(reader);
        let feed = FeedSection::read(reader);
        let book = BookSection::read(reader);
        let model = ModelSection::read(reader);
        let decide = DecideSection::read(reader);
        let instruments = InstrumentsSection::read(reader);
        let risk = RiskSection::read(reader);
        let gateway = GatewaySection::read(reader);
        let guard = GuardSection::read(reader);
        let log = LogSection::read(reader);
        // What only a live run needs may be left out whole.
        let has_live = reader.has_section(LiveSection::SECTION);
        let live = has_live.then(|| LiveSection::read(reader));
        let has_protect = reader.has_section(ProtectSection::SECTION);
        let protect = has_protect.then(|| ProtectSection::read(reader));
        let has_paper = reader.has_section(PaperSection::SECTION);
        let paper = has_paper.then(|| PaperSection::read(reader));
        let has_kinds = reader.has_section(PaperKindsSection::SECTION);
        let paper_kinds = has_kinds.then(|| PaperKindsSection::read(reader));
        let has_spread = reader.has_section(PaperSpreadSection::SECTION);
        let paper_spread = has_spread.then(|| PaperSpreadSection::read(reader));
        let has_burst = reader.has_section(PaperBurstSection::SECTION);
        let paper_burst = has_burst.then(|| PaperBurstSection::read(reader));
        let has_ouch = reader.has_section(OuchSection::SECTION);
        let ouch = has_ouch.then(|| OuchSection::read(reader));
        let has_drop_copy = reader.has_section(DropCopySection::SECTION);
        let drop_copy = has_drop_copy.then(|| DropCopySection::read(reader));
        reader.refuse_rest();
        let config = Self {
            runtime: runtime?,
            feed: feed?,
            book: book?,
            model: model?,
            decide: decide?,
            instruments: instruments?,
            risk: risk?,
            gateway: gateway?,
            guard: guard?,
            log: log?,
            live: live.flatten(),
            ouch: ouch.flatten(),
            protect: protect.flatten(),
            paper: paper.flatten(),
            paper_kinds: paper_kinds.flatten(),
            paper_spread: paper_spread.flatten(),
            paper_burst: paper_burst.flatten(),
            drop_copy: drop_copy.flatten(),
        };
        config.check_across(reader);
        Some(config)
    }

    /// The symbols that the profile names, each once, in the order of their identifiers: those to watch first, then
    /// those that may be traded, then those with tick tables of their own.
    #[must_use]
    pub fn named_symbols(&self) -> Vec<&str> {
        let of_tables = self.instruments.tick_tables.iter().flat_map(|rule| &rule.symbols);
        let names = self.decide.symbols.iter().chain(&self.risk.permitted_symbols).chain(of_tables);
        let mut named: Vec<&str> = Vec::new();
        for name in names.map(String::as_str) {
            if name != "*" && !named.contains(&name) {
                named.push(name);
            }
        }
        named
    }

    /// The tick tables, by the identifiers that [`Self::named_symbols`] have.
    ///
    /// # Errors
    /// When there are more different tables than a session may have.
    pub fn tick_tables(&self) -> Result<TickTables, TooManyTickTables> {
        let rules = &self.instruments.tick_tables;
        let general = rules.iter().find(|rule| rule.is_general()).map_or(TickTable::US_EQUITY, |rule| rule.table);
        let mut tables = TickTables::new(general);
        for (name, id) in self.named_symbols().into_iter().zip(0..) {
            let own = rules.iter().find(|rule| rule.symbols.iter().any(|known| known == name));
            if own.is_some_and(|rule| !tables.assign(SymbolId(id), rule.table)) {
                return Err(TooManyTickTables);
            }
        }
        Ok(tables)
    }

    /// The whole configuration as TOML; `origin` gives a comment for each key.
    fn print(&self, origin: &dyn Fn(&str, &str) -> String) -> String {
        let mut sections = vec![
            self.runtime.print(origin),
            self.feed.print(origin),
            self.book.print(origin),
            self.model.print(origin),
            self.decide.print(origin),
            self.instruments.print(origin),
            self.risk.print(origin),
            self.gateway.print(origin),
            self.guard.print(origin),
            self.log.print(origin),
        ];
        sections.extend(self.protect.as_ref().map(|protect| protect.print(origin)));
        sections.extend(self.paper.as_ref().map(|paper| paper.print(origin)));
        sections.extend(self.paper_kinds.as_ref().map(|kinds| kinds.print(origin)));
        sections.extend(self.paper_spread.as_ref().map(|spread| spread.print(origin)));
        sections.extend(self.paper_burst.as_ref().map(|burst| burst.print(origin)));
        sections.extend(self.live.as_ref().map(|live| live.print(origin)));
        sections.extend(self.ouch.as_ref().map(|ouch| ouch.print(origin)));
        sections.extend(self.drop_copy.as_ref().map(|copy| copy.print(origin)));
        sections.join("\n")
    }

    /// The effective configuration as TOML with nothing but its values: what is hashed and stored with a run.
    #[must_use]
    pub fn canonical(&self) -> String {
        self.print(&|_, _| String::new())
    }

    /// SHA-256 of [`Config::canonical`]: two runs with equal hashes ran with equal values.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        use sha2::Digest;
        sha2::Sha256::digest(self.canonical().as_bytes()).into()
    }
}

/// Every section with its keys.
pub const SECTIONS: &[(&str, &[KeyDoc])] = &[
    (RuntimeSection::SECTION, RuntimeSection::KEYS),
    (FeedSection::SECTION, FeedSection::KEYS),
    (BookSection::SECTION, BookSection::KEYS),
    (ModelSection::SECTION, ModelSection::KEYS),
    (DecideSection::SECTION, DecideSection::KEYS),
    (InstrumentsSection::SECTION, InstrumentsSection::KEYS),
    (RiskSection::SECTION, RiskSection::KEYS),
    (GatewaySection::SECTION, GatewaySection::KEYS),
    (GuardSection::SECTION, GuardSection::KEYS),
    (LogSection::SECTION, LogSection::KEYS),
    (LiveSection::SECTION, LiveSection::KEYS),
    (OuchSection::SECTION, OuchSection::KEYS),
    (ProtectSection::SECTION, ProtectSection::KEYS),
    (PaperSection::SECTION, PaperSection::KEYS),
    (PaperKindsSection::SECTION, PaperKindsSection::KEYS),
    (PaperSpreadSection::SECTION, PaperSpreadSection::KEYS),
    (PaperBurstSection::SECTION, PaperBurstSection::KEYS),
    (DropCopySection::SECTION, DropCopySection::KEYS),
];

/// Every section with its keys, for people.
#[must_use]
pub fn schema_text() -> String {
    let mut text = String::new();
    for (section, keys) in SECTIONS {
        text.push_str(&format!("[{section}]\n"));
        for key in *keys {
            text.push_str(&format!("# {} ({})\n{}\n", key.doc.trim(), kind_and_bound(key.kind, key.bound), key.key));
        }
        text.push('\n');
    }
    text
}

impl Loaded {
    /// Reads the profile `file` with its includes; `overrides` are `section.key=value` from the command line. A shipped
    /// profile that is not there is taken from within the program, whole: never some of its files.
    ///
    /// # Errors
    /// [`ConfigError`], with every violation found.
    pub fn read(file: &Path, overrides: &[String]) -> Result<Self, ConfigError> {
        let mut entries = Vec::new();
        let mut violations = Vec::new();
        let is_bundled = bundled(file).is_some() && !file.exists();
        let files: fn(&Path) -> Option<&'static str> = if is_bundled { bundled } else { |_| None };
        collect(file, 0, files, &mut entries, &mut violations)?;
        apply_overrides(overrides, &mut entries, &mut violations)?;
        let place = |entry: &Entry| (entry.file.clone(), entry.line);
        let origins = entries.iter().map(|entry| ((entry.section.clone(), entry.key.clone()), place(entry))).collect();
        let mut reader = Reader { file: file.to_owned(), entries, violations };
        let config = Config::read(&mut reader);
        match (config, reader.violations.is_empty()) {
            (Some(config), true) => Ok(Self { config, file: file.to_owned(), is_bundled, origins }),
            (_, _) => Err(ConfigError::Violations(reader.violations)),
        }
    }

    /// The effective configuration, each value with the file and line that it came from.
    #[must_use]
    pub fn print(&self) -> String {
        self.config
            .print(&|section, key| self.origin(section, key).map(|place| format!("  # {place}")).unwrap_or_default())
    }

    /// Where a value came from: file and line, or the command line.
    #[must_use]
    pub fn origin(&self, section: &str, key: &str) -> Option<String> {
        self.place(section, key).map(|(file, line)| match line {
            None => file.display().to_string(),
            Some(line) => format!("{}:{line}", file.display()),
        })
    }

    fn place(&self, section: &str, key: &str) -> Option<&Place> {
        self.origins.get(&(section.to_owned(), key.to_owned()))
    }

    /// What is wrong with what a key names, at the place where the key is written.
    #[must_use]
    pub fn violation(&self, section: &str, key: &str, what: String) -> Violation {
        let (file, line) = self.place(section, key).cloned().unwrap_or_else(|| (self.file.clone(), None));
        Violation { file, line, key: format!("{section}.{key}"), what }
    }

    /// A path of the configuration, seen from the profile's folder.
    #[must_use]
    pub fn resolve(&self, path: &str) -> PathBuf {
        self.folder().join(path)
    }

    /// The profile's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }
}

/// The text of a shipped file, from within the program.
fn bundled(file: &Path) -> Option<&'static str> {
    BUNDLED.iter().find(|(name, _)| Path::new(name) == file).map(|(_, text)| *text)
}

/// Reads `file` into `entries`: includes first, so that the including file wins. What `known` has is not looked for on
/// the disk.
fn collect(
    file: &Path,
    depth: usize,
    known: fn(&Path) -> Option<&'static str>,
    entries: &mut Vec<Entry>,
    violations: &mut Vec<Violation>,
) -> Result<(), ConfigError> {
    let text = match known(file) {
        Some(text) => text.to_owned(),
        None => fs::read_to_string(file).map_err(|error| ConfigError::Read { file: file.to_owned(), error })?,
    };
    let table = DeTable::parse(&text)
        .map_err(|error| ConfigError::Syntax { file: file.to_owned(), what: error.to_string() })?
        .into_inner();
    let line_of = |offset: usize| text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1;
    let mut own = Vec::new();
    for (name, value) in &table {
        let (section, line) = (name.get_ref().as_ref(), line_of(name.span().start));
        let mut refuse = |key: String, line: usize, what: String| {
            violations.push(Violation { file: file.to_owned(), line: Some(line), key, what });
        };
        match value.get_ref() {
            DeValue::Array(items) if section == "include" => {
                let paths: Vec<&str> = items.iter().filter_map(|item| item.get_ref().as_str()).collect();
                if depth >= INCLUDE_DEPTH_MAX || paths.len() != items.len() {
                    let what = format!("must be a list of file names, nested at most {INCLUDE_DEPTH_MAX} deep");
                    refuse(section.to_owned(), line, what);
                    continue;
                }
                for path in paths {
                    let included = file.parent().unwrap_or(Path::new(".")).join(path);
                    collect(&included, depth + 1, known, entries, violations)?;
                }
            }
            DeValue::Table(keys) => {
                for (key, value) in keys {
                    let (key, line) = (key.get_ref().clone().into_owned(), line_of(key.span().start));
                    match to_value(value.get_ref()) {
                        Ok(value) => {
                            let (section, file) = (section.to_owned(), file.to_owned());
                            own.push(Entry { section, key, value, file, line: Some(line) });
                        }
                        Err(what) => refuse(format!("{section}.{key}"), line, what),
                    }
                }
            }
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_) => {
                let what = "stands outside of every section; sections are written as [risk]".to_owned();
                refuse(section.to_owned(), line, what);
            }
        }
    }
    own.into_iter().for_each(|entry| replace(entries, entry));
    Ok(())
}

/// The value without borrows of the file's text, or why it is none of the kinds that a key can have.
fn to_value(value: &DeValue<'_>) -> Result<toml::Value, String> {
    match value {
        DeValue::String(text) => Ok(toml::Value::String(text.clone().into_owned())),
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .map(toml::Value::Integer)
            .map_err(|_| format!("{} does not fit in 64 bits", integer.as_str())),
        DeValue::Float(float) => {
            float.as_str().parse().map(toml::Value::Float).map_err(|_| format!("{} is no number", float.as_str()))
        }
        DeValue::Boolean(is) => Ok(toml::Value::Boolean(*is)),
        DeValue::Array(items) => {
            items.iter().map(|item| to_value(item.get_ref())).collect::<Result<_, _>>().map(toml::Value::Array)
        }
        DeValue::Table(keys) => {
            let keys = keys.iter().map(|(key, value)| Ok((key.get_ref().to_string(), to_value(value.get_ref())?)));
            keys.collect::<Result<_, String>>().map(toml::Value::Table)
        }
        DeValue::Datetime(_) => Err(format!("is of type {}, which no key takes", value.type_str())),
    }
}

fn replace(entries: &mut Vec<Entry>, entry: Entry) {
    entries.retain(|old| old.section != entry.section || old.key != entry.key);
    entries.push(entry);
}

/// Lays `section.key=value` words of the command line over the file's entries.
fn apply_overrides(
    overrides: &[String],
    entries: &mut Vec<Entry>,
    violations: &mut Vec<Violation>,
) -> Result<(), ConfigError> {
    let file = PathBuf::from("command line");
    for word in overrides {
        let parts = word.split_once('=').and_then(|(name, value)| Some((name.split_once('.')?, value)));
        let Some(((section, key), text)) = parts else {
            let what = format!("\"{word}\" is no section.key=value");
            violations.push(Violation { file: file.clone(), line: None, key: "--set".to_owned(), what });
            continue;
        };
        let parsed = DeValue::parse(text)
            .map_err(|error| ConfigError::Syntax { file: file.clone(), what: format!("{word}: {error}") })?;
        match to_value(parsed.get_ref()) {
            Ok(value) => {
                let (section, key) = (section.to_owned(), key.to_owned());
                replace(entries, Entry { section, key, value, file: file.clone(), line: None });
            }
            Err(what) => violations.push(Violation { file: file.clone(), line: None, key: word.clone(), what }),
        }
    }
    Ok(())
}
