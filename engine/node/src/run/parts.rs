//! What a run reads and where its orders go, of either kind, for those who look at it afterwards.

use std::path::Path;

use peregrine_gateway::live::OrderClientCounters;
use peregrine_gateway::{FifoQueue, OrderTable, PaperVenue, VenueLatency};
use peregrine_report::format::nanos as span;
use peregrine_report::{Fact, InputReport};
use peregrine_source::market::itch_messages;
use peregrine_source::{Carrier, End, Session};
use peregrine_wire::Arbiter;
use peregrine_wire::feed::FeedCounts;
use peregrine_wire::itch50::SymbolDirectory;

use super::RECORDING_NAME;
use super::facts::InputFile;
use super::sources::{self, LINE_NAMES};
use crate::input::{ClockedInput, Feed, Input};
use crate::live::{ClockFigures, LiveEnd, LiveSend};
use crate::run::ReplaySend;
use crate::stage::decide::DecideEnd;
use crate::stage::repeat::RepeatedSend;

/// The input of a run after its end.
#[derive(Debug)]
pub enum RunInput {
    /// Files.
    Files(Box<Input>),
    /// Lines that were received, and what became of their recording.
    Live(Box<ClockedInput>),
}

impl From<Input> for RunInput {
    fn from(input: Input) -> Self {
        Self::Files(Box::new(input))
    }
}

impl From<ClockedInput> for RunInput {
    fn from(input: ClockedInput) -> Self {
        Self::Live(Box::new(input))
    }
}

impl RunInput {
    /// Names and identifiers of symbols.
    #[must_use]
    pub fn symbols(&self) -> &SymbolDirectory {
        match self {
            Self::Files(input) => input.feed().symbols(),
            Self::Live(live) => live.input.feed().decoder().symbols(),
        }
    }

    /// What the decoder counted.
    #[must_use]
    pub fn counts(&self) -> FeedCounts {
        match self {
            Self::Files(input) => input.feed().counts(),
            Self::Live(live) => live.input.feed().decoder().counters().counts(),
        }
    }

    /// Code, title and count of each kind of message.
    #[must_use]
    pub fn messages(&self) -> Vec<(String, &'static str, u64)> {
        match self {
            Self::Files(input) => input.feed().messages(),
            Self::Live(live) => itch_messages(live.input.feed().decoder()),
        }
    }

    /// Line statistics, gaps and losses, where there are packets.
    #[must_use]
    pub fn arbiter(&self) -> Option<&Arbiter> {
        match self {
            Self::Files(input) => input.feed().arbiter(),
            Self::Live(live) => Some(live.input.feed().arbiter()),
        }
    }

    /// The session's day.
    #[must_use]
    pub fn session(&self) -> Session {
        match self {
            Self::Files(input) => input.session(),
            Self::Live(live) => live.input.session(),
        }
    }

    /// How the files ended; nothing for lines.
    #[must_use]
    pub fn file_end(&self) -> Option<End> {
        match self {
            Self::Files(input) => Some(input.source().statistics().end),
            Self::Live(_) => None,
        }
    }

    /// The command that proves the run, whose folder is `dir`: lines that nobody recorded cannot be asked again.
    #[must_use]
    pub fn proof(&self, dir: &str) -> String {
        match self {
            Self::Live(_) if !Path::new(dir).join(RECORDING_NAME).exists() => format!("peregrine log check {dir}"),
            Self::Files(_) | Self::Live(_) => format!("peregrine replay --verify {dir}"),
        }
    }

    /// Whether receive times are the venue's.
    #[must_use]
    pub fn is_recv_time_synthetic(&self) -> bool {
        match self {
            Self::Files(input) => input.source().format() == Carrier::Itch,
            Self::Live(_) => false,
        }
    }

    /// Where lines contradicted each other, in a sentence; nothing where none did.
    #[must_use]
    pub fn contradiction(&self) -> Option<String> {
        let arbiter = self.arbiter()?;
        let counters = arbiter.counters();
        let first = counters.mismatch_first?;
        let differing = arbiter.lines().iter().map(|line| line.mismatch_count);
        Some(format!(
            "{} copies of messages differ from the ones taken, the first is message {first}: books were stale {} times, and \
             {} times that was settled.",
            differing.fold(0, u64::saturating_add),
            counters.dispute_count,
            counters.settled_dispute_count
        ))
    }

    /// What the watch of the clocks found, in a sentence, if they ever disagreed.
    #[must_use]
    pub fn clock_alarm(&self) -> Option<String> {
        let Self::Live(live) = self else { return None };
        let figures = live.clocks.filter(|figures| figures.alarm_count > 0)?;
        let now = if figures.is_off { "it was not put right" } else { "it was put right" };
        Some(format!(
            "The system's clock was set {} times beyond live.clock_step_ms, by up to {}, and {now}: receive times are wrong.",
            figures.alarm_count,
            span(figures.off_max.0.unsigned_abs())
        ))
    }

    /// What is said of it in the log.
    #[must_use]
    pub fn log_facts(&self) -> Vec<(&'static str, String)> {
        let Self::Live(live) = self else { return Vec::new() };
        let fact = |figures: ClockFigures| {
            let ClockFigures { alarm_count, off_max, is_off } = figures;
            (
                "clock steps",
                format!("{alarm_count}, {}{}", span(off_max.0.unsigned_abs()), if is_off { ", off" } else { "" }),
            )
        };
        live.clocks.map(fact).into_iter().collect()
    }

    /// By what lines were received, and what input and clocks did, for the report.
    #[must_use]
    pub fn facts(&self) -> Vec<Fact> {
        let mut facts = match self {
            Self::Files(_) => Vec::new(),
            Self::Live(live) => sources::facts(&live.input),
        };
        if self.contradiction().is_some()
            && let Some(arbiter) = self.arbiter()
        {
            let lines = arbiter.lines().iter().zip(LINE_NAMES);
            let differing: Vec<String> = lines.map(|(line, name)| format!("{name} {}", line.mismatch_count)).collect();
            facts.push(Fact::new("feed", "copies that differ from the ones taken", differing.join(", ")));
        }
        if let Self::Live(live) = self
            && let Some(figures) = live.clocks
        {
            let text = format!("{}, by up to {}", figures.alarm_count, span(figures.off_max.0.unsigned_abs()));
            facts.push(Fact::new("clock", "steps beyond live.clock_step_ms", text));
        }
        facts
    }

    /// What people should know about it.
    #[must_use]
    pub fn warnings(&self, files: &[InputFile]) -> Vec<String> {
        let mut warnings = Vec::new();
        match self {
            Self::Files(input) => {
                if let Feed::Mdp3(feed) = input.feed() {
                    warnings.extend(feed.decoder().counters().notes().map(|(count, what)| format!("{count} {what}.")));
                }
                for (index, file) in files.iter().enumerate() {
                    let end = input.source().file_statistics(index).end;
                    if !end.is_clean() {
                        warnings.push(format!("{}: {end}.", file.path.display()));
                    }
                }
                let statistics = input.source().statistics();
                if statistics.skipped.total() > 0 {
                    let skipped = statistics.skipped.iter().filter(|(_, count)| *count > 0);
                    let list: Vec<String> =
                        skipped.map(|(reason, count)| format!("{count} {}", reason.as_str())).collect();
                    warnings.push(format!("Frames that were skipped: {}.", list.join(", ")));
                }
            }
            Self::Live(live) => {
                warnings.extend(sources::warning(&live.input));
                if let Some(Err(error)) = &live.recorded {
                    warnings.push(format!("The recording could not be written: {error}."));
                }
                let counters = live.input.counters();
                for (count, what) in [
                    (counters.kernel_drop_count, "datagrams were dropped by the kernel: raise live.receive_buffer_len"),
                    (counters.oversize_count, "datagrams were longer than the slots"),
                    (counters.damaged_count, "frames were damaged: a length or a checksum in their headers is wrong"),
                    (counters.backward_step_count, "receive times lay before an earlier one"),
                    (counters.stranger_count, "datagrams at the retransmission socket came from strangers"),
                    (counters.unrecorded_count, "packets are not in the recording: its ring was full"),
                ] {
                    if count > 0 {
                        warnings.push(format!("{count} {what}."));
                    }
                }
            }
        }
        warnings
    }

    /// One row for each file or line.
    #[must_use]
    pub fn reports(&self, files: &[InputFile]) -> Vec<InputReport> {
        match self {
            Self::Files(input) => files.iter().enumerate().map(|(index, file)| file_row(input, index, file)).collect(),
            Self::Live(live) => {
                let lines = live.input.feed().arbiter().lines().iter().zip(live.input.facts()).zip(LINE_NAMES);
                lines
                    .map(|((line, facts), name)| InputReport {
                        path: facts.local.to_string(),
                        format: format!("MoldUDP64/ITCH 5.0, {}", facts.way.name()),
                        line: name.to_owned(),
                        len: 0,
                        sha256: String::new(),
                        packet_count: line.packet_count,
                        message_count: line.message_count,
                        end: "closed".to_owned(),
                    })
                    .collect()
            }
        }
    }
}

fn file_row(input: &Input, index: usize, file: &InputFile) -> InputReport {
    let statistics = input.source().file_statistics(index);
    let format = match input.source().format() {
        Carrier::Itch => "length-prefixed ITCH 5.0",
        Carrier::MoldUdp64 => "capture of MoldUDP64/ITCH 5.0",
        Carrier::Mdp3 => "capture of MDP 3.0",
    };
    let (packet_count, message_count) = match input.feed().arbiter() {
        Some(arbiter) => arbiter.lines().get(index).map_or((0, 0), |line| (line.packet_count, line.message_count)),
        None => (statistics.packet_count, input.feed().counts().message_count),
    };
    InputReport {
        path: file.path.display().to_string(),
        format: format.to_owned(),
        line: LINE_NAMES.get(index).copied().unwrap_or("?").to_owned(),
        len: file.len,
        sha256: file.sha256.clone(),
        packet_count,
        message_count,
        end: statistics.end.to_string(),
    }
}

/// The venue of a run after its end, and our orders.
#[derive(Debug)]
pub enum RunVenue {
    /// The paper venue.
    Paper(Box<PaperVenue<FifoQueue, VenueLatency>>, OrderTable),
    /// The client of a real one.
    Live(Box<LiveEnd>),
    /// None: the log of a live run stood for it.
    Repeated,
}

impl From<RepeatedSend> for RunVenue {
    fn from(_: RepeatedSend) -> Self {
        Self::Repeated
    }
}

impl From<ReplaySend> for RunVenue {
    fn from(send: ReplaySend) -> Self {
        let (venue, orders) = send.end();
        Self::Paper(Box::new(venue), orders)
    }
}

impl From<LiveSend> for RunVenue {
    fn from(send: LiveSend) -> Self {
        Self::Live(Box::new(send.end()))
    }
}

impl RunVenue {
    /// Our orders; `None` where a log stood for the venue.
    #[must_use]
    pub fn orders(&self) -> Option<&OrderTable> {
        match self {
            Self::Paper(_, orders) => Some(orders),
            Self::Live(end) => Some(end.client.table()),
            Self::Repeated => None,
        }
    }

    /// Fills that added and that removed liquidity.
    #[must_use]
    pub fn fill_counts(&self) -> (u64, u64) {
        match self {
            Self::Paper(venue, _) => (venue.counters().fills_added, venue.counters().fills_removed),
            Self::Live(end) => (end.client.counters().fills_added, end.client.counters().fills_removed),
            Self::Repeated => (0, 0),
        }
    }

    /// Orders and reports that found no room between the stages. A live venue takes nothing while it cannot: that is
    /// counted as refused, and no failure.
    #[must_use]
    pub fn undelivered_count(&self, decide: &DecideEnd) -> u64 {
        match self {
            Self::Paper(venue, _) => venue.counters().undelivered.saturating_add(decide.counters.undelivered),
            Self::Live(end) => end.client.counters().undelivered_count,
            // What was refused then is refused again.
            Self::Repeated => 0,
        }
    }

    /// Whether our account and a live venue's are equal, in a sentence.
    #[must_use]
    pub fn reconciliation(&self) -> Option<(bool, String)> {
        let Self::Live(end) = self else { return None };
        let ledger = end.client.ledger();
        let (orders, fills) = (ledger.orders().count(), ledger.fills().len());
        let unsettled: Vec<String> = (end.client.differences().iter())
            .filter(|difference| !difference.is_settled())
            .map(ToString::to_string)
            .collect();
        let open = end.client.table().open_count();
        let copied: Vec<String> =
            end.copy.iter().flat_map(|copy| &copy.found).take(20).map(ToString::to_string).collect();
        let mut wrong = Vec::new();
        if !copied.is_empty() {
            wrong.push(format!("Our fills and the venue's drop copy differ: {}.", copied.join("; ")));
        }
        // What the copy's check found does not hide what became of our orders.
        if end.client.counters().unsettled_count > 0 {
            wrong.push(format!("Our account and the venue's stream differ: {}.", unsettled.join("; ")));
        } else if end.client.is_session_lost() && !end.client.is_session_over() {
            let text = "The session with the venue was lost, and there was no way back to it: what became of our orders is not \
                        known. Ask the venue before the next run.";
            wrong.push(text.to_owned());
        } else if !end.client.is_compared() {
            let text = "The run ended before the venue's stream was read: nothing was compared, and nothing was sent.";
            wrong.push(text.to_owned());
        } else if open > 0 && end.client.is_session_over() {
            wrong.push(format!(
                "The venue ended its session, and {open} orders were not known to be gone: no run gets back to that session. \
                 Ask the venue before the next run."
            ));
        } else if open > 0 {
            wrong.push(format!(
                "{open} orders were not known to be gone when the run ended: the next run begins with them."
            ));
        }
        if !wrong.is_empty() {
            return Some((false, wrong.join(" ")));
        }
        let text = "Our account equals the venue's stream";
        let copy = end.copy.as_ref().map_or_else(String::new, |copy| {
            format!(" {} of them are in its drop copy, word for word.", copy.counters.equal_count)
        });
        Some((true, format!("{text}: {orders} orders, {fills} fills, every position; nothing is open.{copy}")))
    }

    /// What the order session did, for the report.
    #[must_use]
    pub fn facts(&self) -> Vec<Fact> {
        let Self::Live(end) = self else { return Vec::new() };
        let OrderClientCounters {
            login_count,
            order_count,
            cancel_count,
            resent_count,
            overdue_count,
            closed_count,
            accepted_count,
            rejected_count,
            busted_count,
            duplicate_count,
            difference_count,
            refused_count,
            stale_count,
            unanswered_count,
            unread_count,
            ..
        } = end.client.counters();
        let halted = end.client.halted().map_or("no", peregrine_types::ReasonCode::name);
        let rows = [
            ("logins", login_count),
            ("orders sent", order_count),
            ("cancels sent", cancel_count),
            ("sent again", resent_count),
            ("not answered in time", overdue_count),
            ("closed as never arrived", closed_count),
            ("accepted", accepted_count),
            ("rejected", rejected_count),
            ("trades broken", busted_count),
            ("said twice", duplicate_count),
            ("differences named", difference_count),
            ("not sent: nothing new was permitted", refused_count),
            ("of them decided on too long before", stale_count),
            ("of them with a message of the symbol overdue", unanswered_count),
            ("connections left: orders waited for the socket", unread_count),
        ];
        let counted = rows.into_iter().map(|(name, count)| Fact::new("order session", name, count.to_string()));
        let rehearsed = end.rehearsed.map(|(count, is_whole)| {
            let text = if is_whole { count.to_string() } else { format!("{count}, then its connection broke") };
            Fact::new("order session", "rehearsals of the kernel's way", text)
        });
        let own = counted.chain([Fact::new("order session", "halted", halted)]).chain(rehearsed);
        let copy = end.copy.iter().flat_map(|copy| {
            let (counters, session) = (copy.counters, copy.session);
            [
                ("fills of ours", counters.own_count),
                ("fills told", counters.copied_count),
                ("equal", counters.equal_count),
                ("broken trades", counters.bust_count),
                ("told again", counters.repeated_count),
                ("differences", counters.found_count),
                ("logons", session.logon_count),
                ("resend requests", session.resend_request_count),
            ]
        });
        own.chain(copy.map(|(name, count)| Fact::new("drop copy", name, count.to_string()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use peregrine_fix::copy_check::{Discrepancy, Found};
    use peregrine_types::Nanos;

    use super::*;
    use crate::live::CopyEnd;
    use crate::live::testing::order_client;

    #[test]
    fn what_the_copy_differs_in_does_not_hide_what_became_of_our_orders() {
        let found = vec![Found { discrepancy: Discrepancy::EndMissing, after: Nanos(0) }];
        let copy = Some(CopyEnd { found, counters: Default::default(), session: Default::default() });
        let client = order_client();
        let (is_equal, text) =
            RunVenue::Live(LiveEnd { client, is_clean: true, copy, rehearsed: None }.into()).reconciliation().unwrap();
        let parts = ["the drop copy was not read to its end", "ended before the venue's stream was read"];
        assert!(!is_equal && parts.iter().all(|part| text.contains(part)), "{text}");
    }
}
