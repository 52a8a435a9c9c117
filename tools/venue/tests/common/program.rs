//! The program `peregrine` against an exchange with a tape.
#![allow(dead_code, clippy::allow_attributes, reason = "each test uses its part")]

use std::path::Path;

use clap::Parser;
use peregrine_node::cli::Cli;
use peregrine_node::exit::{Exit, Failure};
use peregrine_runtime::StopFlag;
use peregrine_venue::{Addresses, Server, Settings, Summary};

/// Symbols of the tape.
pub(crate) const TAPE: [&str; 6] = ["ASGV", "BDZK", "BPRZ", "CBKO", "CNDD", "CYVS"];
pub(crate) const PROFILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/live.toml");

/// An exchange under way, of the configuration that `text` makes for the ports of its lines, which stand beside it.
pub(crate) fn exchange(
    text: impl FnOnce([u16; 2]) -> String,
) -> (Addresses, [u16; 2], StopFlag, std::thread::JoinHandle<Summary>) {
    let lines = [super::ports::free_udp_port(), super::ports::free_udp_port()];
    let text = text(lines);
    let settings = Settings::parse(&text, Path::new("test.toml")).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let server = Server::bind(&settings).unwrap();
    let (addresses, stop) = (server.addresses().clone(), StopFlag::new());
    let flag = stop.clone();
    (addresses, lines, stop, std::thread::spawn(move || server.run(&flag).unwrap()))
}

/// Runs a command of the engine as its program does.
pub(crate) fn peregrine(words: &[&str], set: &[String]) -> Result<Exit, Failure> {
    let words = words.iter().copied().chain(set.iter().flat_map(|word| ["--set", word]));
    let cli = Cli::try_parse_from(std::iter::once("peregrine").chain(words)).unwrap();
    peregrine_node::commands::run(cli, &StopFlag::new())
}

/// What of the shipped profile is another one here.
pub(crate) fn changes(addresses: &Addresses, lines: [u16; 2]) -> Vec<String> {
    let named = format!("[\"{}\"]", TAPE.join("\",\""));
    vec![
        format!("live.lines=[\"127.0.0.1:{}\",\"127.0.0.1:{}\"]", lines[0], lines[1]),
        format!("live.retransmission=[\"{}\"]", addresses.retransmission),
        format!("live.snapshot=\"{}\"", addresses.snapshot),
        format!("ouch.address=\"{}\"", addresses.ports[0]),
        "ouch.username=\"desk\"".to_owned(),
        "ouch.password=\"secret\"".to_owned(),
        format!("decide.symbols={named}"),
        format!("risk.permitted_symbols={named}"),
        "runtime.pin_threads=false".to_owned(),
        "runtime.lock_memory=false".to_owned(),
        "runtime.wait=\"park\"".to_owned(),
    ]
}
