//! Two network namespaces joined by a veth pair, gone with the value. Addresses are of the block for documentation
//! (RFC 5737).

use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use crate::BenchError;

/// The venue's side of the wire.
pub const VENUE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The engine's side.
pub const ENGINE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// See the module.
#[derive(Debug)]
pub struct Veth {
    /// Name of the namespace of the venue's side.
    pub venue: String,
    /// Name of the namespace of the engine's side.
    pub engine: String,
}

fn ip(words: &str) -> Result<(), BenchError> {
    let output = Command::new("ip").args(words.split_ascii_whitespace()).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {words}: {}", String::from_utf8_lossy(&output.stderr).trim()).into())
}

impl Veth {
    /// Makes both namespaces and the pair between them; groups leave by it.
    ///
    /// # Errors
    /// What `ip` says: it needs root.
    pub fn new() -> Result<Self, BenchError> {
        let name = |side: &str| format!("peregrine-{side}-{}", std::process::id());
        let made = Self { venue: name("venue"), engine: name("engine") };
        let Self { venue, engine } = &made;
        ip(&format!("netns add {venue}"))?;
        ip(&format!("netns add {engine}"))?;
        ip(&format!("link add pv0 netns {venue} type veth peer name pv1 netns {engine}"))?;
        for (space, device, address) in [(venue, "pv0", VENUE), (engine, "pv1", ENGINE)] {
            ip(&format!("-n {space} addr add {address}/24 dev {device}"))?;
            ip(&format!("-n {space} link set lo up"))?;
            ip(&format!("-n {space} link set {device} up"))?;
            ip(&format!("-n {space} route add 239.0.0.0/8 dev {device}"))?;
        }
        Ok(made)
    }

    /// A command that runs `program` in the namespace `space`.
    #[must_use]
    pub fn within(space: &str, program: &std::path::Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", space]).arg(program);
        command
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        for space in [&self.venue, &self.engine] {
            // What was never made cannot be taken away.
            ip(&format!("netns del {space}")).unwrap_or_default();
        }
    }
}
