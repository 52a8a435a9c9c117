//! Latency as it was recorded: triples of request, venue and response time.
//!
//! A message that is sent between two recorded requests of its kind takes a way there between theirs, in proportion to
//! the times; a report that the venue makes between two recorded answers takes a way back between theirs, by the venue's
//! times. Before the first and after the last, the nearest one counts. (The interpolating order latency of hftbacktest,
//! `IntpOrderLatency`, does the same; kinds are our own.) A kind that the recording does not have takes the ways of new
//! orders.
//!
//! # The file
//!
//! CSV, one triple a line, below the line [`RECORDING_HEADER`]: kind (`submit`, `replace`, `cancel`, `fill`), then three
//! times in nanoseconds since 1970 UTC. Nobody asks for a fill: its request is empty, and it has a way back alone. Within
//! each kind requests (of fills: the venue's times) never go back. `peregrine log latencies` writes such files.

use std::sync::Arc;

use peregrine_types::{EpochNanos, Nanos, RECORDING_HEADER, ReportKind};

use super::latency::{LatencyModel, RequestKind};

/// Rows of a file at most: a message each 20 ms of a day of 6.5 hours, in 32 MiB of memory.
const ROW_COUNT_MAX: usize = 1 << 20;
/// The longest way: more is a wrong unit, or two clocks that have nothing to do with each other.
const WAY_MAX: Nanos = Nanos::from_secs(3_600);
/// 2000-01-01T00:00:00Z: an earlier time is none that counts nanoseconds since 1970.
const TIME_MIN: EpochNanos = EpochNanos(946_684_800_000_000_000);
/// 2100-01-01T00:00:00Z.
const TIME_MAX: EpochNanos = EpochNanos(4_102_444_800_000_000_000);

/// Why a file of triples is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordingError {
    /// The bytes are no text.
    #[error("byte {offset} is no UTF-8: give the CSV file that `peregrine log latencies RUN --out FILE` wrote")]
    Encoding {
        /// Where, from 0.
        offset: usize,
    },
    /// Another first line.
    #[error(
        "line 1 is `{found}`, not `{}`: `peregrine log latencies RUN --out FILE` writes such files",
        RECORDING_HEADER
    )]
    Header {
        /// What is there.
        found: String,
    },
    /// Not four fields.
    #[error("line {line} has {found} fields, 4 are needed: {}", RECORDING_HEADER)]
    Fields {
        /// The line, from 1.
        line: usize,
        /// How many it has.
        found: usize,
    },
    /// A word that is no kind.
    #[error("line {line}: `{found}` is no kind; it is submit, replace, cancel or fill")]
    Kind {
        /// The line, from 1.
        line: usize,
        /// The word.
        found: String,
    },
    /// No whole number.
    #[error("line {line}: {column} is `{found}`, not a whole number of nanoseconds{}", hint(.found, .column))]
    Number {
        /// The line, from 1.
        line: usize,
        /// The column.
        column: &'static str,
        /// What is there.
        found: String,
    },
    /// A fill with a request.
    #[error("line {line}: a fill has no request, `{found}` must be empty: it has a way back alone")]
    FillRequest {
        /// The line, from 1.
        line: usize,
        /// What is there.
        found: String,
    },
    /// A time that cannot be meant.
    #[error(
        "line {line}: {column} = {found} lies outside of the years 2000 to 2099: times are nanoseconds since 1970 UTC, \
         neither micro- or milliseconds nor counted from midnight"
    )]
    Time {
        /// The line, from 1.
        line: usize,
        /// The column.
        column: &'static str,
        /// The time.
        found: i64,
    },
    /// Requests are not in order.
    #[error("line {line}: {column} = {found} lies before the {kind} above it, {before}: sort each kind by it")]
    Unsorted {
        /// The line, from 1.
        line: usize,
        /// The column by which rows are in order.
        column: &'static str,
        /// The kind.
        kind: &'static str,
        /// The time.
        found: i64,
        /// The time on the earlier line.
        before: i64,
    },
    /// The venue had it before it was sent.
    #[error(
        "line {line}: venue_ns = {venue} is not after request_ns = {request}: the two clocks differ; `peregrine log \
         latencies --venue-offset NS` or `--halve` writes a file without that"
    )]
    VenueBeforeRequest {
        /// The line, from 1.
        line: usize,
        /// The request.
        request: i64,
        /// The venue's time.
        venue: i64,
    },
    /// The answer was there before the venue made it.
    #[error(
        "line {line}: response_ns = {response} is not after venue_ns = {venue}: the two clocks differ; `peregrine log \
         latencies --venue-offset NS` or `--halve` writes a file without that"
    )]
    ResponseBeforeVenue {
        /// The line, from 1.
        line: usize,
        /// The venue's time.
        venue: i64,
        /// The response.
        response: i64,
    },
    /// A way that cannot be meant.
    #[error("line {line}: the {way} takes {ns} ns, more than an hour: a wrong unit, or clocks that differ")]
    TooLong {
        /// The line, from 1.
        line: usize,
        /// Which way.
        way: &'static str,
        /// Its length, ns.
        ns: i64,
    },
    /// Nothing to go by.
    #[error("there is no row of the kind submit: all other kinds fall back to it")]
    NoSubmit,
    /// Too much.
    #[error("line {line} is more than {} rows: cut the file to the part of the day that you need", ROW_COUNT_MAX)]
    TooMany {
        /// The line, from 1.
        line: usize,
    },
}

fn hint(found: &str, column: &str) -> &'static str {
    if found.is_empty() && column == "request_ns" { "; only fills have none" } else { "" }
}

/// How long something took at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Point {
    time: EpochNanos,
    way: Nanos,
}

/// A file of triples, read: ways there by request time and ways back by the venue's time, each kind for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    there: [Vec<Point>; 3],
    back: [Vec<Point>; 4],
    span: Option<(EpochNanos, EpochNanos)>,
}

impl Recording {
    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// [`RecordingError`] with the first line that is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordingError> {
        let text =
            core::str::from_utf8(bytes).map_err(|error| RecordingError::Encoding { offset: error.valid_up_to() })?;
        let mut lines = text.lines().zip(1_usize..);
        let header = lines.next().map_or("", |(header, _)| header);
        if header != RECORDING_HEADER {
            let found = header.chars().take(RECORDING_HEADER.len()).collect();
            return Err(RecordingError::Header { found });
        }
        let (mut recording, mut last) = (Self::default(), [EpochNanos::MIN; 4]);
        for (row_count, (text, line)) in lines.enumerate() {
            if row_count >= ROW_COUNT_MAX {
                return Err(RecordingError::TooMany { line });
            }
            recording.add(&Row::parse(text, line)?, &mut last, line)?;
        }
        if recording.there.first().is_none_or(Vec::is_empty) {
            return Err(RecordingError::NoSubmit);
        }
        // Answers of requests that overtook each other.
        recording.back.iter_mut().for_each(|points| points.sort_by_key(|point| point.time));
        Ok(recording)
    }

    fn add(&mut self, row: &Row, last: &mut [EpochNanos; 4], line: usize) -> Result<(), RecordingError> {
        let Row { kind, request, venue, response } = *row;
        let (column, by) = request.map_or(("venue_ns", venue), |request| ("request_ns", request));
        if let Some(last) = last.get_mut(kind.index()) {
            if by < *last {
                let (kind, found, before) = (kind.name(), by.0, last.0);
                return Err(RecordingError::Unsorted { line, column, kind, found, before });
            }
            *last = by;
        }
        if let (Some(request), Some(points)) = (request, self.there.get_mut(kind.index())) {
            points.push(Point { time: request, way: request_to_venue(request, venue, line)? });
        }
        if let Some(points) = self.back.get_mut(kind.index()) {
            points.push(Point { time: venue, way: venue_to_response(venue, response, line)? });
        }
        let (first, end) = self.span.unwrap_or((by, response));
        self.span = Some((first.min(by), end.max(response)));
        Ok(())
    }

    /// The first and the last moment that it tells of.
    #[must_use]
    pub fn span(&self) -> (EpochNanos, EpochNanos) {
        self.span.unwrap_or_default()
    }

    /// Rows of each kind, in the order of [`ReportKind::ALL`].
    #[must_use]
    pub fn counts(&self) -> [usize; 4] {
        self.back.each_ref().map(Vec::len)
    }
}

/// One line.
#[derive(Clone, Copy, Debug)]
struct Row {
    kind: ReportKind,
    request: Option<EpochNanos>,
    venue: EpochNanos,
    response: EpochNanos,
}

impl Row {
    fn parse(text: &str, line: usize) -> Result<Self, RecordingError> {
        let mut fields = text.split(',');
        let (Some(kind), Some(request), Some(venue), Some(response), None) =
            (fields.next(), fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err(RecordingError::Fields { line, found: text.split(',').count() });
        };
        let Some(kind) = ReportKind::ALL.into_iter().find(|known| known.name() == kind) else {
            return Err(RecordingError::Kind { line, found: kind.to_owned() });
        };
        let request = match (kind, request) {
            (ReportKind::Fill, "") => None,
            (ReportKind::Fill, found) => {
                return Err(RecordingError::FillRequest { line, found: found.to_owned() });
            }
            (ReportKind::Submit | ReportKind::Replace | ReportKind::Cancel, text) => {
                Some(time(text, "request_ns", line)?)
            }
        };
        let (venue, response) = (time(venue, "venue_ns", line)?, time(response, "response_ns", line)?);
        Ok(Self { kind, request, venue, response })
    }
}

fn time(text: &str, column: &'static str, line: usize) -> Result<EpochNanos, RecordingError> {
    // Digits alone: `parse` takes a sign.
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| is_number);
    let Some(found) = number else {
        return Err(RecordingError::Number { line, column, found: text.to_owned() });
    };
    let time = EpochNanos(found);
    if (TIME_MIN..TIME_MAX).contains(&time) { Ok(time) } else { Err(RecordingError::Time { line, column, found }) }
}

fn request_to_venue(request: EpochNanos, venue: EpochNanos, line: usize) -> Result<Nanos, RecordingError> {
    if venue <= request {
        return Err(RecordingError::VenueBeforeRequest { line, request: request.0, venue: venue.0 });
    }
    not_too_long(venue.since(request), "way there", line)
}

fn venue_to_response(venue: EpochNanos, response: EpochNanos, line: usize) -> Result<Nanos, RecordingError> {
    if response <= venue {
        return Err(RecordingError::ResponseBeforeVenue { line, venue: venue.0, response: response.0 });
    }
    not_too_long(response.since(venue), "way back", line)
}

fn not_too_long(span: Nanos, way: &'static str, line: usize) -> Result<Nanos, RecordingError> {
    if span > WAY_MAX { Err(RecordingError::TooLong { line, way, ns: span.0 }) } else { Ok(span) }
}

/// Ways over time, and where the last question fell.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Track {
    /// In the order of their times; never empty.
    points: Arc<[Point]>,
    /// Points at or before the last question.
    passed: usize,
}

impl Track {
    fn new(points: &[Point], shift: Nanos) -> Self {
        let moved = points.iter().map(|point| Point { time: point.time.plus(shift), ..*point });
        Self { points: moved.collect(), passed: 0 }
    }

    fn way_at(&mut self, time: EpochNanos) -> Nanos {
        if !self.is_between(time) {
            self.passed = self.points.partition_point(|point| point.time <= time);
        }
        let before = self.passed.checked_sub(1).and_then(|index| self.points.get(index));
        match (before, self.points.get(self.passed)) {
            (Some(before), Some(next)) => between(before, next, time),
            (Some(nearest), None) | (None, Some(nearest)) => nearest.way,
            (None, None) => Nanos(1),
        }
    }

    /// Whether `time` falls where the last question fell.
    fn is_between(&self, time: EpochNanos) -> bool {
        let before = self.passed.checked_sub(1).and_then(|index| self.points.get(index));
        let next = self.points.get(self.passed);
        before.is_none_or(|before| before.time <= time) && next.is_none_or(|next| time < next.time)
    }

    fn least(&self) -> Nanos {
        self.points.iter().map(|point| point.way).min().unwrap_or(Nanos(1))
    }
}

/// The mean of both ways, weighted by how near `time` is to each, rounded down: never outside of the two.
fn between(before: &Point, next: &Point, time: EpochNanos) -> Nanos {
    let positive = |span: Nanos| u128::try_from(span.0).unwrap_or(0);
    let (passed, to_come) = (positive(time.since(before.time)), positive(next.time.since(time)));
    // Ways are below 2^42 and spans below 2^62 ns.
    let weighted =
        positive(before.way).saturating_mul(to_come).saturating_add(positive(next.way).saturating_mul(passed));
    let way = weighted.checked_div(passed.saturating_add(to_come));
    way.and_then(|way| i64::try_from(way).ok()).map_or(before.way, Nanos)
}

/// Latency as it was recorded; see the module's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedLatency {
    there: [Track; 3],
    back: [Track; 4],
    there_min: Nanos,
    back_min: Nanos,
}

impl RecordedLatency {
    /// The ways of `recording`, with all of its times moved by `shift`: from the midnight of its day to that of the day on
    /// which it is to be used.
    #[must_use]
    pub fn new(recording: &Recording, shift: Nanos) -> Self {
        let [submit, ..] = &recording.there;
        let there = recording.there.each_ref().map(|points| Track::new(or(points, submit), shift));
        let [answers, ..] = &recording.back;
        let back = recording.back.each_ref().map(|points| Track::new(or(points, answers), shift));
        let least = |tracks: &[Track]| tracks.iter().map(Track::least).min().unwrap_or(Nanos(1));
        let (there_min, back_min) = (least(&there), least(&back));
        Self { there, back, there_min, back_min }
    }
}

/// `points`, or where there are none those of new orders.
fn or<'a>(points: &'a [Point], submit: &'a [Point]) -> &'a [Point] {
    if points.is_empty() { submit } else { points }
}

impl LatencyModel for RecordedLatency {
    fn way_there(&mut self, kind: RequestKind, sent: EpochNanos) -> Nanos {
        let [submit, replace, cancel] = &mut self.there;
        match kind {
            RequestKind::Submit => submit,
            RequestKind::Replace => replace,
            RequestKind::Cancel => cancel,
        }
        .way_at(sent)
    }

    fn way_back(&mut self, kind: ReportKind, venue_time: EpochNanos) -> Nanos {
        let [submit, replace, cancel, fill] = &mut self.back;
        match kind {
            ReportKind::Submit => submit,
            ReportKind::Replace => replace,
            ReportKind::Cancel => cancel,
            ReportKind::Fill => fill,
        }
        .way_at(venue_time)
    }

    fn way_there_min(&self) -> Nanos {
        self.there_min
    }

    fn way_back_min(&self) -> Nanos {
        self.back_min
    }
}

#[cfg(test)]
mod tests;
