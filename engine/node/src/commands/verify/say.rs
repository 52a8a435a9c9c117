//! What a verification found, for people and as JSON.

use peregrine_eventlog::Stream;
use peregrine_report::format::count;
use serde_json::json;

use super::{Difference, Extent, Subject, Verdict, is_repeated, went_to_a_venue};
use crate::commands::{print, print_json};
use crate::exit::{Exit, Failure};

pub(super) fn conclude(subject: &Subject, verdict: &Verdict, is_json: bool) -> Result<Exit, Failure> {
    let is_equal = verdict.differences.is_empty();
    if is_json {
        print_json(&to_json(subject, verdict))?;
    } else if is_equal {
        print(&to_text(subject, verdict))?;
    } else {
        let plural = if verdict.differences.len() == 1 { "" } else { "s" };
        let mut text = format!("NOT identical: {} difference{plural}\n", verdict.differences.len());
        for difference in &verdict.differences {
            let Difference { what, expected, found } = difference;
            text.push_str(&format!("{what}\n  expected  {expected}\n  found     {found}\n"));
        }
        print(&text)?;
    }
    Ok(if is_equal { Exit::Done } else { Exit::No })
}

fn to_json(subject: &Subject, verdict: &Verdict) -> serde_json::Value {
    let is_live = went_to_a_venue(&subject.dir);
    let differences: Vec<_> = (verdict.differences.iter())
        .map(|Difference { what, expected, found }| json!({"what": what, "expected": expected, "found": found}))
        .collect();
    let extents: Vec<_> = (verdict.extents.iter())
        .map(|Extent { stream, repeated_count, behind_count }| {
            json!({"stream": stream.name(), "repeated_count": repeated_count, "behind_count": behind_count})
        })
        .collect();
    let (end, again) = (subject.end.as_ref(), verdict.again.as_ref());
    json!({
        "is_identical": differences.is_empty(),
        "is_venue_from_log": is_live,
        "is_cut_off": end.is_none(),
        "repeated_streams": Stream::ALL.into_iter().filter(|stream| is_repeated(*stream, is_live))
            .map(Stream::name).collect::<Vec<_>>(),
        "extents": extents,
        "event_count": end.map_or_else(|| again.map(|again| again.event_count), |end| Some(end.event_count)),
        "log_hash": end.map(|end| &end.log_hash),
        "state_hash": end.map(|end| &end.state_hash),
        "differences": differences,
    })
}

fn to_text(subject: &Subject, verdict: &Verdict) -> String {
    let venue = "what the venue said came from the log: streams feed and decide are repeated, send is whole\n";
    let is_live = went_to_a_venue(&subject.dir);
    let Some(end) = &subject.end else {
        let events = verdict.again.as_ref().map_or(0, |again| again.event_count);
        let mut text =
            format!("identical as far as it goes: the run was cut off, its input has {} events\n", count(events));
        for Extent { stream, repeated_count, behind_count } in &verdict.extents {
            let (repeated, name) = (count(*repeated_count), stream.name());
            text.push_str(&format!("{name:8}{repeated:>14} records made again"));
            if *behind_count > 0 {
                text.push_str(&format!(", {} follow from what the input does not have any more", count(*behind_count)));
            }
            text.push('\n');
        }
        return if is_live { text + venue } else { text };
    };
    let (events, state) = (count(end.event_count), &end.state_hash);
    if is_live {
        format!("identical: {events} events, decisions {}, state {state}\n{venue}", end.decision_hash)
    } else {
        format!("identical: {events} events, log {}, state {state}\n", end.log_hash)
    }
}
