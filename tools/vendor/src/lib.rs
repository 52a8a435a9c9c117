//! Live feeds of vendors as lines of this host: `peregrine-vendor` connects to a vendor and turns what it says into a
//! MoldUDP64 feed of ITCH 5.0 messages, which `peregrine run` reads like any other (docs/vendor.md).
//!
//! Floor 5. Each vendor's session is a stage without sockets ([`VendorSession`]): bytes in, frames and [`Update`]s out.
//! [`Desk`] turns updates into messages by rules that are on one page, and counts whatever they had to decide. The link is
//! a thread that connects, waits and connects again; [`Service`] gives all of it sockets.

mod alpaca;
mod credentials;
mod depth;
mod desk;
#[doc(hidden)]
pub mod fuzz;
mod ib;
mod instruments;
mod json;
mod latency;
mod link;
mod massive;
mod service;
mod settings;
mod update;

pub use alpaca::AlpacaSession;
pub use credentials::{CredentialError, CredentialPlan, Credentials, Secret};
pub use depth::{DepthRows, ROW_COUNT_MAX, RowChange};
pub use desk::{Desk, DeskConfig, DeskCounters, DeskInstrument, SizeUnit, TRADES_REMEMBERED_MAX};
pub use ib::{IbConfig, IbSession};
pub use instruments::Instruments;
pub use latency::{LatencyMonitor, LatencyReport};
pub use link::{Address, AddressError, LinkPlan, TlsError, TlsRoots};
pub use massive::MassiveSession;
pub use service::{Addresses, Service, ServiceError, Summary};
pub use settings::{Settings, SettingsError, VendorKind};
pub use update::{
    Amount, Ending, Output, SessionCounters, TradeId, TradingState, Update, VendorSession, What, excerpt,
};
