//! The triples of a live run, `peregrine run` against this exchange over sockets: they are what the venue's numbered stream
//! and the run's log say, message for message; and the file that is made of them drives the paper venue.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "how much was compared")]
#![expect(clippy::wildcard_enum_match_arm, reason = "most messages answer nothing")]

#[path = "common/desk.rs"]
mod desk;
#[path = "common/ports.rs"]
mod ports;
#[path = "common/program.rs"]
mod program;

use std::collections::HashMap;
use std::path::Path;

use desk::stream_of;
use peregrine_eventlog::records::{OrderRecord, OrderTransition};
use peregrine_eventlog::{LogReader, Stream};
use peregrine_gateway::Recording;
use peregrine_gateway::ouch50::{CancelReason, Outbound};
use peregrine_node::exit::Exit;
use peregrine_node::run::Manifest;
use peregrine_report::{LatencyTriples, latency_triples};
use peregrine_runtime::system_now;
use peregrine_source::session::{NASDAQ_ZONE, date_of, session_midnight};
use peregrine_types::{EpochNanos, Nanos, OrderId, ReportKind};
use program::{PROFILE, changes, exchange, peregrine};

fn venue_text(lines: [u16; 2]) -> String {
    format!(
        "[venue]\nsession = \"LATENCY001\"\nstart = \"09:29:00\"\nspeed = 60\nis_spinning = false\n\
         [hours]\nstart_messages = \"09:24:00\"\nstart_system = \"09:25:00\"\nopen = \"09:30:00\"\n\
         close = \"10:30:00\"\nend_system = \"10:31:00\"\nend_messages = \"10:32:00\"\nlate_s = 10\n\
         [capacity]\norder_count_max = 50_000\nreference_count_max = 2_000_000\nlevel_count_max = 50_000\n\
         side_level_count_max = 2_000\nfeed_message_count_max = 4_000_000\n\
         [feed]\nline_a = \"127.0.0.1:{}\"\nline_b = \"127.0.0.1:{}\"\ninterface = \"127.0.0.1\"\nttl = 0\n\
         payload_len_max = 1_400\nheartbeat_ms = 500\nend_of_session_ms = 100\n\
         [retransmission]\naddress = \"127.0.0.1:0\"\n\
         [snapshot]\naddress = \"127.0.0.1:0\"\nusername = \"glimps\"\npassword = \"glimpse\"\n\
         [faults]\nseed = 7\n\
         [[port]]\naddress = \"127.0.0.1:0\"\nusername = \"desk\"\npassword = \"secret\"\nfirm = 1\n\
         self_trade = \"decrement_both\"\nis_cancel_on_disconnect = false\norder_count_max = 100_000\n\
         message_count_max = 500_000\n\
         [flow]\nkind = \"generator\"\nseed = 3\nsymbol_count = 6\nmessage_count = 120_000\nhalt_count = 0\n",
        lines[0], lines[1]
    )
}

/// The venue's times of what it said, by what that is: answers to orders, to replacements, cancels that were asked for, fills.
#[derive(Debug, Default)]
struct Said {
    orders: Vec<(OrderId, EpochNanos)>,
    replacements: Vec<(OrderId, EpochNanos)>,
    cancels: Vec<(OrderId, EpochNanos)>,
    fills: Vec<EpochNanos>,
}

fn said(messages: &[Vec<u8>], midnight: EpochNanos, replacements: &[OrderId]) -> Said {
    let mut said = Said::default();
    let time = |timestamp: u64| midnight.plus(Nanos(i64::try_from(timestamp).unwrap()));
    for message in messages {
        match Outbound::parse(message).unwrap() {
            Outbound::OrderAccepted(m, _) => {
                said.orders.push((OrderId(m.user_ref_num.get().into()), time(m.timestamp.get())));
            }
            Outbound::Rejected(m, _) => {
                let id = OrderId(m.user_ref_num.get().into());
                let is_replacement = replacements.contains(&id);
                let list = if is_replacement { &mut said.replacements } else { &mut said.orders };
                list.push((id, time(m.timestamp.get())));
            }
            Outbound::OrderReplaced(m, _) => {
                said.replacements.push((OrderId(m.user_ref_num.get().into()), time(m.timestamp.get())));
            }
            Outbound::OrderCanceled(m, _) if CancelReason(m.reason) == CancelReason::USER => {
                said.cancels.push((OrderId(m.user_ref_num.get().into()), time(m.timestamp.get())));
            }
            Outbound::OrderExecuted(m, _) => said.fills.push(time(m.timestamp.get())),
            _ => {}
        }
    }
    said
}

/// What the log says of each order, record by record: when what of it was sent, and when which answer was read.
fn logged(dir: &Path) -> HashMap<(OrderId, OrderTransition), Vec<(EpochNanos, EpochNanos)>> {
    let log = LogReader::open(dir, Stream::Send).unwrap();
    let mut steps: HashMap<_, Vec<_>> = HashMap::new();
    for item in log.payloads::<OrderRecord>() {
        let record = item.unwrap().1;
        let key = (record.order_id, record.transition);
        steps.entry(key).or_default().push((record.venue_time, record.visible_time));
    }
    steps
}

/// The triples of one kind, as (request, venue, response).
fn of_kind(found: &LatencyTriples, kind: ReportKind) -> Vec<(EpochNanos, EpochNanos, EpochNanos)> {
    let of_kind = found.triples.iter().filter(|triple| triple.kind == kind);
    let mut triples: Vec<_> = of_kind.map(|t| (t.request.unwrap_or(t.venue), t.venue, t.response)).collect();
    triples.sort_unstable();
    triples
}

/// What the venue said, joined with what the log has under the same order: when that was asked, and when the answer was read.
fn joined(
    said: &[(OrderId, EpochNanos)],
    steps: &HashMap<(OrderId, OrderTransition), Vec<(EpochNanos, EpochNanos)>>,
    (asked, answers): (OrderTransition, &[OrderTransition]),
) -> Vec<(EpochNanos, EpochNanos, EpochNanos)> {
    let join = |(id, venue): &(OrderId, EpochNanos)| {
        let (request, _) = *steps[&(*id, asked)].first().unwrap();
        let mut answered = answers.iter().filter_map(|answer| steps.get(&(*id, *answer))).flatten();
        let (_, response) = answered.find(|(time, _)| time == venue).unwrap();
        (request, *venue, *response)
    };
    let mut triples: Vec<_> = said.iter().map(join).collect();
    triples.sort_unstable();
    triples
}

/// Orders, replacements, cancels and fills of the run in `dir`: triples, stream and log agree.
fn hold_equal(dir: &Path, messages: &[Vec<u8>], midnight: EpochNanos) -> LatencyTriples {
    use OrderTransition as T;
    let (found, steps) = (latency_triples(dir).unwrap(), logged(dir));
    let replacements: Vec<OrderId> =
        steps.keys().filter(|(_, what)| *what == T::ReplaceRequested).map(|(id, _)| *id).collect();
    let said = said(messages, midnight, &replacements);
    println!(
        "{} orders, {} replacements, {} cancels, {} fills; {:?}",
        said.orders.len(),
        said.replacements.len(),
        said.cancels.len(),
        said.fills.len(),
        found.left_out
    );
    assert_eq!(found.damage, None);
    assert_eq!(found.left_out.resent_count, 0, "the venue has no faults");
    let orders = joined(&said.orders, &steps, (T::Submitted, &[T::Accepted, T::Rejected]));
    assert_eq!(of_kind(&found, ReportKind::Submit), orders);
    let replaced = joined(&said.replacements, &steps, (T::ReplaceRequested, &[T::Replaced, T::ReplaceRejected]));
    assert_eq!(of_kind(&found, ReportKind::Replace), replaced);
    let cancels = joined(&said.cancels, &steps, (T::CancelRequested, &[T::Canceled]));
    let certain = of_kind(&found, ReportKind::Cancel);
    assert!(certain.iter().all(|triple| cancels.contains(triple)), "{certain:?}\n{cancels:?}");
    // The cancels of the stop went out in one message for all, and say nothing of themselves.
    let repeated = usize::try_from(found.left_out.repeated_cancel_count).unwrap();
    assert_eq!(certain.len() + repeated, cancels.len(), "{:?}", found.left_out);
    let mut fills: Vec<_> = found.triples.iter().filter(|t| t.kind == ReportKind::Fill).map(|t| t.venue).collect();
    let mut expected = said.fills;
    fills.sort_unstable();
    expected.sort_unstable();
    assert_eq!(fills, expected);
    // Lists that are equal because nothing is in them would say nothing.
    assert!(![orders, replaced, certain].iter().any(Vec::is_empty) && !fills.is_empty(), "{:?}", found.left_out);
    found
}

/// The same feed, the paper venue, and the ways that were recorded: none is below the least of them, and the recording of
/// the feed replays to the same log.
fn trade_on_paper(folder: &Path, (csv, day): (&str, &str), set: &[String], found: &LatencyTriples) {
    let path = |name: &str| folder.join(name).display().to_string();
    let (paper, again) = (path("paper"), path("again"));
    let mut set = set.to_vec();
    set.extend([format!("paper.latency_file=\"{csv}\""), "paper.latency_sha256=\"\"".to_owned()]);
    set.push("live.is_recorded=true".to_owned());
    let words =
        ["run", "--mode", "paper", "--config", PROFILE, "--date", day, "--seconds", "4", "--out", &paper, "--json"];
    peregrine(&words, &set).unwrap_or_else(|failure| panic!("{failure}"));
    let least = found.triples.iter().filter_map(|t| Some(t.response.since(t.request?).0 / 2)).min().unwrap();
    let log = LogReader::open(Path::new(&paper), Stream::Send).unwrap();
    let ways: Vec<i64> = (log.payloads::<OrderRecord>().map(|item| *item.unwrap().1))
        .filter(|record| record.transition == OrderTransition::Submitted)
        .map(|record| record.venue_time.since(record.decision_time).0)
        .collect();
    println!("{} orders on paper, least way {least} ns, ways {:?} …", ways.len(), ways.get(..ways.len().min(4)));
    assert!(!ways.is_empty() && ways.iter().all(|way| *way >= least), "{ways:?}");
    let recording = format!("{paper}/feed.pcapng");
    let words = ["replay", &recording, "--config", PROFILE, "--date", day, "--out", &again, "--json"];
    peregrine(&words, &set).unwrap_or_else(|failure| panic!("{failure}"));
    let [live, again] = [&paper, &again].map(|dir| Manifest::read(Path::new(dir)).unwrap());
    assert!(live.latency.is_some() && live.latency == again.latency, "{live:?}");
    assert_eq!((live.event_count, live.log_hash), (again.event_count, again.log_hash));
}

#[test]
fn triples_of_a_live_run_are_what_stream_and_log_say_and_drive_the_paper_venue() {
    let folder = tempfile::tempdir().unwrap();
    let (addresses, lines, stop, venue) = exchange(venue_text);
    let mut set = changes(&addresses, lines);
    set.extend(
        // Nobody is called overdue because the machine is busy.
        ["ouch.answer_ms=30000", "decide.use_replace=true", "runtime.order_slots=16384"].map(str::to_owned),
    );
    let date = date_of(system_now(), NASDAQ_ZONE).unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (live, csv, day) = (path("live"), path("ways.csv"), date.to_string());
    let words =
        ["run", "--mode", "live", "--config", PROFILE, "--date", &day, "--seconds", "8", "--out", &live, "--json"];
    peregrine(&words, &set).unwrap_or_else(|failure| panic!("{failure}"));
    let messages = stream_of(addresses.ports[0], "desk");
    let midnight = session_midnight(date, NASDAQ_ZONE).unwrap();
    let found = hold_equal(Path::new(&live), &messages, midnight);
    let submit_count = of_kind(&found, ReportKind::Submit).len();
    assert!(submit_count > 5, "{submit_count} orders");
    assert!(found.triples.iter().all(|t| t.request.is_none_or(|request| request < t.response)));

    // A day at sixty times the wall's speed: no offset makes the venue's times possible, and nothing is written.
    let refused = peregrine(&["log", "latencies", &live, "--out", &csv, "--json"], &[]).unwrap_err();
    assert!(refused.exit == Exit::No && refused.to_string().contains("--halve"), "{refused}");
    assert!(!Path::new(&csv).exists());
    let halved = peregrine(&["log", "latencies", &live, "--out", &csv, "--halve"], &[]);
    assert_eq!(halved.unwrap_or_else(|failure| panic!("{failure}")), Exit::Done);
    let recording = Recording::parse(&std::fs::read(&csv).unwrap()).unwrap();
    assert_eq!((recording.counts()[0], recording.counts()[3]), (submit_count, 0));
    trade_on_paper(folder.path(), (&csv, &day), &set, &found);
    stop.request();
    venue.join().unwrap();
}
