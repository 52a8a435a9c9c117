//! By what a live run receives its lines: what the profile wishes for, and what was granted.

use peregrine_report::Fact;
use peregrine_source::live::{
    LiveInput, LivePlan, RingOptions, SocketFacts, SocketOptions, SourceKind, StampWish, XdpMode, XdpOptions,
};

use crate::commands::note;
use crate::config::{Config, LiveSection, SourceChoice, StampChoice, XdpModeChoice};
use crate::exit::Failure;

/// Names of the lines of a feed.
pub(super) const LINE_NAMES: [&str; 4] = ["A", "B", "C", "D"];

/// Puts what the profile wishes for into the plan.
pub(super) fn wish(plan: &mut LivePlan, live: &LiveSection) {
    let stamp = match live.stamps {
        StampChoice::Kernel => StampWish::Kernel,
        StampChoice::Hardware => StampWish::Hardware,
    };
    plan.socket = SocketOptions {
        receive_buffer_len: live.receive_buffer_len,
        busy_poll_us: live.busy_poll_us,
        stamp,
        ..SocketOptions::default()
    };
    plan.source = match live.source {
        SourceChoice::Udp => SourceKind::Udp,
        SourceChoice::PacketRing => SourceKind::PacketRing(RingOptions { stamp, ..RingOptions::default() }),
        SourceChoice::Xdp => SourceKind::Xdp(xdp_options(live)),
    };
    plan.has_fallback = live.fallback;
}

/// How the profile wishes AF_XDP sockets to be made.
fn xdp_options(live: &LiveSection) -> XdpOptions {
    let mode = match live.xdp_mode {
        XdpModeChoice::Auto => None,
        XdpModeChoice::ZeroCopy => Some(XdpMode::DriverZeroCopy),
        XdpModeChoice::DriverCopy => Some(XdpMode::DriverCopy),
        XdpModeChoice::Generic => Some(XdpMode::Generic),
    };
    XdpOptions { mode, queue: live.xdp_queue, ..XdpOptions::default() }
}

/// What the system granted to a line, in words.
fn granted(facts: &SocketFacts) -> String {
    let buffer = if facts.is_buffer_granted { "granted" } else { "cut by net.core.rmem_max" };
    format!("{}, {:?} stamps, receive buffer {buffer}", facts.way.name(), facts.stamp)
}

/// Says aloud what was granted, and what was not.
pub(super) fn say(input: &LiveInput) {
    if let Some(reason) = input.fallback() {
        note(format_args!("source  UDP sockets instead of what live.source wishes for: {reason}"));
    }
    for (line, facts) in input.facts().iter().enumerate() {
        note(format_args!("line {line}  {}  {}", facts.local, granted(facts)));
    }
}

/// Opens the lines as a live run would, for a moment: what was granted to each, by name, and why that is not what was wished
/// for.
///
/// # Errors
/// [`Failure`] with what cannot be opened.
pub(crate) fn try_lines(config: &Config, live: &LiveSection) -> Result<(Vec<Fact>, Option<String>), Failure> {
    let plan = LivePlan { recovery: None, ..super::live::lines(config, live, None)? };
    let input = LiveInput::open(&plan, &[]).map_err(Failure::usage)?;
    Ok((facts(&input), input.fallback().map(str::to_owned)))
}

/// What was granted, for the report.
pub(super) fn facts(input: &LiveInput) -> Vec<Fact> {
    let lines = input.facts();
    let of_line = |(facts, name): (&SocketFacts, &str)| {
        Fact::new("feed", &format!("line {name}"), format!("{}, {}", facts.local, granted(facts)))
    };
    lines.iter().zip(LINE_NAMES).map(of_line).collect()
}

/// What the report warns of.
pub(super) fn warning(input: &LiveInput) -> Option<String> {
    let reason = input.fallback()?;
    Some(format!("The lines were received by UDP sockets instead of what live.source wishes for: {reason}."))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use peregrine_source::live::LineAddress;

    use super::*;
    use crate::config::Loaded;

    fn plan(set: &[&str]) -> LivePlan {
        let profile = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/live.toml");
        let words: Vec<String> = set.iter().map(|word| (*word).to_owned()).collect();
        let live = Loaded::read(&profile, &words).unwrap().config.live.unwrap();
        let line = LineAddress { destination: "127.0.0.1:0".parse().unwrap(), interface: [127, 0, 0, 1].into() };
        let mut plan = LivePlan::new(vec![line], 10);
        wish(&mut plan, &live);
        plan
    }

    #[test]
    fn every_wish_of_the_profile_reaches_the_source() {
        let udp = plan(&[]);
        assert_eq!((udp.source, udp.socket.stamp, udp.has_fallback), (SourceKind::Udp, StampWish::Kernel, false));
        assert_eq!(plan(&["live.stamps=\"hardware\""]).socket.stamp, StampWish::Hardware);
        let ring = plan(&["live.source=\"packet_ring\"", "live.stamps=\"hardware\"", "live.fallback=true"]);
        let wished = RingOptions { stamp: StampWish::Hardware, ..RingOptions::default() };
        assert_eq!((ring.source, ring.has_fallback), (SourceKind::PacketRing(wished), true));
        for (word, mode) in [
            ("auto", None),
            ("zero_copy", Some(XdpMode::DriverZeroCopy)),
            ("driver_copy", Some(XdpMode::DriverCopy)),
            ("generic", Some(XdpMode::Generic)),
        ] {
            let word = format!("live.xdp_mode=\"{word}\"");
            let xdp = plan(&["live.source=\"xdp\"", &word, "live.xdp_queue=3"]);
            assert_eq!(xdp.source, SourceKind::Xdp(XdpOptions { mode, queue: 3, ..XdpOptions::default() }));
        }
    }

    /// What was granted instead is said in the report, with the reason.
    #[test]
    fn a_fallback_is_in_the_report() {
        let mut fallen = plan(&["live.fallback=true"]);
        fallen.source = SourceKind::PacketRing(RingOptions { block_len: 1, ..RingOptions::default() });
        let input = LiveInput::open(&fallen, &[]).unwrap();
        let warning = warning(&input).unwrap();
        assert!(warning.contains("UDP sockets instead") && warning.contains("packet ring"), "{warning}");
        let [fact] = facts(&input).try_into().unwrap();
        assert!(fact.name == "line A" && fact.value.contains("UDP socket, Kernel stamps"), "{fact:?}");
        let granted = LiveInput::open(&plan(&[]), &[]).unwrap();
        assert_eq!(super::warning(&granted), None);
    }
}
