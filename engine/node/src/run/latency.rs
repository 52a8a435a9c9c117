//! The paper venue's latencies as the profile wants them: constant, modeled, or as a live run recorded them.

use std::fmt::Display;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use peregrine_gateway::{
    Burst, ConstantLatency, KindWays, ModeledLatency, Quantiles, RecordedLatency, Recording, Spread, VenueLatency,
};
use peregrine_source::session::{date_of, session_midnight};
use peregrine_types::{EpochNanos, Nanos, ReportKind};
use sha2::{Digest, Sha256};

use super::facts::{InputFile, hex};
use crate::commands::note;
use crate::config::{Config, ConfigError, Loaded, PaperSection, PaperSpreadSection};
use crate::exit::Failure;

/// Bytes of a file of latencies at most: more than as many rows as are taken need, at up to 68 bytes each.
const LEN_MAX: u64 = 1 << 27;

/// A file of latencies, read and found fit for its purpose.
#[derive(Clone, Debug)]
pub struct LatencyFile {
    recording: Recording,
    midnight: EpochNanos,
    file: InputFile,
}

impl LatencyFile {
    /// Which file it is.
    pub(super) fn input_file(&self) -> InputFile {
        self.file.clone()
    }

    /// Reads the file that the profile names; `None` when it names none.
    ///
    /// # Errors
    /// [`ConfigError::Violations`] at the key that names it: the file is missing, another one than the digest says, malformed,
    /// or of more than one day.
    pub fn of(loaded: &Loaded) -> Result<Option<Self>, ConfigError> {
        let Some(section) = &loaded.config.paper else { return Ok(None) };
        Self::read(loaded, section).map(Some)
    }

    fn read(loaded: &Loaded, section: &PaperSection) -> Result<Self, ConfigError> {
        let path = loaded.resolve(&section.latency_file);
        let wrong = |key: &str, what: &dyn Display| {
            let what = format!("{}: {what}", path.display());
            ConfigError::Violations(vec![loaded.violation(PaperSection::SECTION, key, what)])
        };
        let bytes = bytes_of(&path).map_err(|error| {
            let remedy = "`peregrine log latencies RUN --out FILE` writes one";
            wrong("latency_file", &format_args!("{error}; {remedy}"))
        })?;
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if len > LEN_MAX {
            let what = "is longer than 128 MiB; cut it to the part of the day that you need";
            return Err(wrong("latency_file", &what));
        }
        let sha256 = hex(&Sha256::digest(&bytes));
        if !section.latency_sha256.is_empty() && !section.latency_sha256.eq_ignore_ascii_case(&sha256) {
            return Err(wrong(
                "latency_sha256",
                &format_args!("its SHA-256 is {sha256}: another file, or a changed one"),
            ));
        }
        let recording = Recording::parse(&bytes).map_err(|error| wrong("latency_file", &error))?;
        let midnight = midnight_of(&recording, &loaded.config).map_err(|error| wrong("latency_file", &error))?;
        let path = std::fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
        Ok(Self { recording, midnight, file: InputFile { path, len, sha256 } })
    }

    /// Its latencies in a session of the day that begins at `midnight`: at each time of the day what was recorded at that
    /// time.
    fn on_day(&self, midnight: EpochNanos) -> RecordedLatency {
        RecordedLatency::new(&self.recording, midnight.since(self.midnight))
    }

    /// What is in it, for people: kinds without rows are named with what is taken instead.
    #[must_use]
    pub fn text(&self) -> String {
        let kinds = ReportKind::ALL.iter().zip(self.recording.counts()).map(|(kind, count)| match count {
            0 => format!("no {} (those of submit are taken)", kind.name()),
            _ => format!("{count} {}", kind.name()),
        });
        let (first, _) = self.recording.span();
        let day = peregrine_report::format::utc(first);
        format!(
            "{} from {day} on, by the time of day: {}",
            self.file.path.display(),
            kinds.collect::<Vec<_>>().join(", ")
        )
    }
}

fn bytes_of(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LEN_MAX.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The midnight from which the recording's times of day count.
fn midnight_of(recording: &Recording, config: &Config) -> Result<EpochNanos, String> {
    let zone = &config.feed.venue_zone;
    let (first, last) = recording.span();
    let unknown = || format!("feed.venue_zone = \"{zone}\" is no zone of the IANA table");
    let (first, last) = (date_of(first, zone).ok_or_else(unknown)?, date_of(last, zone).ok_or_else(unknown)?);
    if first != last {
        return Err(format!(
            "holds times of {first} and of {last} ({zone}): a file has one day, because it is matched by the time of day"
        ));
    }
    session_midnight(first, zone).map_err(|error| error.to_string())
}

/// The latency model of the paper venue in a session of the day that begins at `midnight`.
pub(super) fn venue_latency(config: &Config, file: Option<&LatencyFile>, midnight: EpochNanos) -> VenueLatency {
    let section = &config.gateway;
    let (to_venue, from_venue) = (Nanos(section.to_venue_ns), Nanos(section.from_venue_ns));
    let is_modeled = config.paper_kinds.is_some() || config.paper_spread.is_some() || config.paper_burst.is_some();
    match file {
        Some(file) => VenueLatency::Recorded(file.on_day(midnight)),
        None if is_modeled => {
            let kinds = config.paper_kinds.as_ref().map_or(
                KindWays {
                    submit: to_venue,
                    replace: to_venue,
                    cancel: to_venue,
                    response: from_venue,
                    fill: from_venue,
                },
                |kinds| KindWays {
                    submit: Nanos(kinds.submit_ns),
                    replace: Nanos(kinds.replace_ns),
                    cancel: Nanos(kinds.cancel_ns),
                    response: Nanos(kinds.response_ns),
                    fill: Nanos(kinds.fill_ns),
                },
            );
            let spread = config.paper_spread.as_ref().and_then(spread_of);
            let burst = config.paper_burst.as_ref().map(|burst| Burst {
                window: Nanos(burst.window_ns),
                events_free: burst.events_free,
                there_per_event: Nanos(burst.there_ns_per_event),
                back_per_event: Nanos(burst.back_ns_per_event),
                extra_max: Nanos(burst.extra_max_ns),
            });
            VenueLatency::Modeled(ModeledLatency::new(kinds, spread, burst))
        }
        None => VenueLatency::Constant(ConstantLatency { to_venue, from_venue }),
    }
}

/// `None` for quantiles that fall, which no profile that was read has.
fn spread_of(section: &PaperSpreadSection) -> Option<Spread> {
    let [there, back] = section.ways().map(|way| Quantiles::new(way.map(|(_, ns)| Nanos(ns))));
    Some(Spread { seed: section.seed, there: there?, back: back? })
}

/// The latency model of the paper venue in words.
pub(crate) fn model_text(config: &Config, file: Option<&InputFile>) -> String {
    if let Some(file) = file {
        return format!("recorded: {}, SHA-256 {}", file.path.display(), file.sha256);
    }
    let mut parts = vec![match &config.paper_kinds {
        None => format!(
            "constant: {} to the venue, {} back",
            ns(config.gateway.to_venue_ns),
            ns(config.gateway.from_venue_ns)
        ),
        Some(kinds) => format!(
            "by kind: submit {}, replace {}, cancel {} to the venue; answer {}, fill {} back",
            ns(kinds.submit_ns),
            ns(kinds.replace_ns),
            ns(kinds.cancel_ns),
            ns(kinds.response_ns),
            ns(kinds.fill_ns)
        ),
    }];
    parts.extend(config.paper_spread.as_ref().map(|spread| {
        format!(
            "plus a draw (seed {}): median {} and p99 {} there, {} and {} back",
            spread.seed,
            ns(spread.there_p50_ns),
            ns(spread.there_p99_ns),
            ns(spread.back_p50_ns),
            ns(spread.back_p99_ns)
        )
    }));
    parts.extend(config.paper_burst.as_ref().map(|burst| {
        format!(
            "plus bursts: {} there and {} back for each market event above {} in {}, at most {}",
            ns(burst.there_ns_per_event),
            ns(burst.back_ns_per_event),
            burst.events_free,
            ns(burst.window_ns),
            ns(burst.extra_max_ns)
        )
    }));
    parts.join("; ")
}

fn ns(value: i64) -> String {
    peregrine_report::format::nanos(value.unsigned_abs())
}

/// Reads the file for a run and says what is in it.
///
/// # Errors
/// As [`LatencyFile::of`].
pub(super) fn of_run(loaded: &Loaded) -> Result<Option<LatencyFile>, Failure> {
    let file = LatencyFile::of(loaded)?;
    if let Some(file) = &file {
        note(format_args!("latency {}", file.text()));
    }
    Ok(file)
}
