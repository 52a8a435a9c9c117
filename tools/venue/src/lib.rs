//! The simulated exchange: a matching engine for thousands of symbols that speaks ITCH 5.0 and OUCH 5.0.
//!
//! Floor 4. Every stage is a plain struct: [`Venue::apply`] takes a time and a [`Command`] and hands what came of it to a
//! [`VenueSink`], order events for the accounts and ITCH 5.0 messages for the feed. No sockets, no clock, no chance:
//! the same commands give the same events ([`EventHash`]). [`ReferenceVenue`] is the definition, written for the eye;
//! the tests hold [`Venue`] against it, event for event and byte for byte. [`Server`] is the program `peregrine-venue`: the
//! same stages with sockets, a clock, a tape and faults (docs/venue.md).
//!
//! # How it matches
//!
//! - **Price, then display, then time.** At one price displayed orders come before hidden and pegged ones, and the
//!   oldest first within each. A reserve order (iceberg) shows one part at a time; the next part joins the back of the
//!   queue under a new reference. The resting order's price is the price of the trade.
//! - **Arrival.** An order meets the other side as far as its limit goes. Immediate-or-cancel and market orders lose
//!   their rest, fill-or-kill orders trade whole or not at all, post-only orders that would trade are cancelled.
//! - **Midpoint pegs** are hidden, stand at the middle of the *displayed* best prices, rounded down to 0.0001, and never
//!   worse than their limit; without a middle strictly between the two they wait. While an order arrives they stand
//!   where they stood when it came; after it, those that meet the other side trade, the oldest first.
//! - **Stop orders** sleep until a trade reaches them, wake up the oldest first, and arrive then.
//! - **Cancel** reduces to a total size and keeps the place in the queue; of a reserve order the part that is not shown
//!   goes first. **Replace** gives another reference and the back of the queue, always (OUCH 5.0); quantities are totals
//!   of the chain.
//! - **Self-trade prevention** by the arriving order's choice, between accounts of a firm; not in crosses.
//! - **Crosses** at open, close and after a halt: the price with most volume, then least imbalance, then nearest to the
//!   last trade, then lowest; within the bands. Orders of a cross and the book take part, pegs and stops do not.
//! - **Halts**: halted (cancels only), paused or quotation (orders are taken and not matched, the book may cross), resumed (a
//!   cross, then trading). **Bands**: no trade outside; orders beyond them are refused or cancelled.
//! - **By itself** the venue sets bands, pauses a symbol whose bands were struck, and tells imbalances before crosses, where
//!   it was told to ([`DayRules`]): always at times of its own, never by how often somebody looks.
//! - **Until a time**: an order that lives until a time of the day loses its rest then, before everything else of that time,
//!   by symbol and age; in a halt too. The end of the system's hours ends it earlier.
//! - **The day** has the steps of [`DaySchedule`]; day orders end with the closing cross, everything with the system.
//!
//! # Capacities
//!
//! All memory is taken by [`Venue::new`]. An order that finds no slot is refused (processing error); one whose price
//! level, or whose next displayed part, finds no room is cancelled (system).

mod agents;
mod bands;
mod clock;
mod config;
mod control;
mod cross;
mod drop_copy;
mod exchange;
mod expiries;
mod faults;
#[doc(hidden)]
pub mod fuzz;
mod hash;
mod incidents;
mod levels;
mod live;
mod matching;
mod orders;
mod pool;
mod port;
mod publish;
mod reference;
mod rules;
mod schedule;
mod settings;
mod snapshot;
mod stream;
mod supervisor;
mod tape;
mod ticks;
mod venue;

pub use agents::{
    AGENT_COUNT_MAX, AgentCounters, AgentFlow, AgentsConfig, InformedConfig, Kind, KindCounters, MakersConfig,
    MomentumConfig, NoiseConfig, ValueConfig,
};
pub use bands::{BandTier, BandWidth};
pub use clock::VenueClock;
pub use config::{SymbolConfig, VenueConfig, VenueConfigError};
pub use control::{CONTROL_COMMANDS, ControlError, JournalEntry};
pub use drop_copy::{CopyFaults, DropCopy, DropCopyConfig, DropCopyCounters};
pub use exchange::{Exchange, Feed};
pub use faults::{FaultyLine, LineCounters, LineFaults, PortFaultCounters, PortFaults};
pub use hash::EventHash;
pub use incidents::{Incident, next_session};
pub use live::{
    Addresses, ControlSummary, EndpointCounters, Line, LineReport, PortSummary, RequestServer, Server, ServerError,
    SnapshotServer, Summary, TapeError, Tell, VISITOR_COUNT_MAX, ask,
};
pub use orders::{
    AccountId, Auction, Bands, Command, Display, FirmId, Lifetime, NewOrder, OrderEvent, SelfTrade, Terms, TimeOfDay,
    VenueSink,
};
pub use port::{OuchPort, PortConfig, PortCounters, Protocol};
pub use reference::ReferenceVenue;
pub use rules::{Circumstances, SymbolState, check, is_beyond, midpoint, pegged, reaches};
pub use schedule::{Calendar, Date, DaySchedule, Phase, Step};
pub use settings::{
    ControlSettings, DropCopySettings, FlowSettings, LineSettings, PortSettings, RetransmissionSettings, Settings,
    SettingsError, SnapshotSettings, TickRules,
};
pub use snapshot::{END_OF_SNAPSHOT, END_OF_SNAPSHOT_LEN, end_of_snapshot, snapshot_end};
pub use stream::{FeedStream, StreamConfig, StreamCounters};
pub use supervisor::{BandReference, BandRules, DayRules, ImbalanceRules};
pub use tape::{TapeCounters, TapeFlow};
pub use ticks::{PRICE_MAX, STEP_MIN, is_allowed};
pub use venue::{DisplayedOrder, Venue};
