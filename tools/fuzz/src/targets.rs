//! The targets: one for every parser that meets bytes from outside.

use std::hint::black_box;

use crate::{corpus, order_entry, vendor};

/// A fuzz body and where its inputs begin.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// What runs; it reports by panicking.
    pub body: fn(&[u8]),
    /// The inputs that mutations start from.
    pub corpus: fn() -> anyhow::Result<Vec<Vec<u8>>>,
}

/// Every target.
pub const ALL: [Target; 19] = [
    Target { name: "itch", body: peregrine_wire::fuzz::itch, corpus: corpus::itch },
    Target { name: "moldudp64", body: peregrine_wire::fuzz::moldudp64, corpus: corpus::moldudp64 },
    Target { name: "mdp3", body: peregrine_wire::fuzz::mdp3, corpus: corpus::mdp3 },
    Target { name: "feed", body: peregrine_wire::fuzz::feed, corpus: corpus::feed },
    Target { name: "pcap", body: |data| count(peregrine_source::fuzz::pcap(data)), corpus: corpus::pcap },
    Target { name: "pcapng", body: |data| count(peregrine_source::fuzz::pcapng(data)), corpus: corpus::pcapng },
    Target {
        name: "binaryfile",
        body: |data| count(peregrine_source::fuzz::binaryfile(data)),
        corpus: corpus::binaryfile,
    },
    Target { name: "gzip", body: |data| count(peregrine_source::fuzz::gzip(data)), corpus: corpus::gzip },
    Target { name: "segment", body: peregrine_eventlog::fuzz::segment, corpus: corpus::segment },
    Target { name: "model_file", body: peregrine_model::fuzz::model_file, corpus: corpus::model_file },
    Target { name: "soup", body: peregrine_gateway::fuzz::soup, corpus: order_entry::soup },
    Target { name: "ouch", body: peregrine_gateway::fuzz::ouch, corpus: order_entry::ouch },
    Target { name: "ouch42", body: peregrine_gateway::fuzz::ouch42, corpus: order_entry::ouch42 },
    Target { name: "fix", body: peregrine_fix::fuzz::fix, corpus: order_entry::fix },
    Target { name: "port", body: peregrine_venue::fuzz::port_messages, corpus: order_entry::port },
    Target { name: "port42", body: peregrine_venue::fuzz::port42_messages, corpus: order_entry::port42 },
    Target { name: "alpaca", body: peregrine_vendor::fuzz::alpaca, corpus: vendor::alpaca },
    Target { name: "massive", body: peregrine_vendor::fuzz::massive, corpus: vendor::massive },
    Target { name: "ib", body: peregrine_vendor::fuzz::ib, corpus: vendor::ib },
];

/// A negative control, run only when it is named: asks for a gibibyte at every second length.
const CONTROL_MEMORY: Target = Target {
    name: "control-memory",
    body: |data| {
        if data.len() % 2 == 1 {
            black_box(Vec::<u8>::with_capacity(1 << 30));
        }
    },
    corpus: || Ok(vec![vec![0; 4]]),
};

/// The target called `name`.
#[must_use]
pub fn find(name: &str) -> Option<Target> {
    ALL.into_iter().chain([CONTROL_MEMORY]).find(|target| target.name == name)
}

fn count(packets: usize) {
    black_box(packets);
}
