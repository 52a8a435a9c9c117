//! The order session with a real venue, without sockets: approved orders and time in, bytes out; bytes and time in,
//! executions out. OUCH 5.0 over SoupBinTCP.
//!
//! [`OrderClient`] joins four parts: the session ([`crate::soup::ClientSession`]), the order table (what we believe of our
//! orders), the [`Ledger`] (what the venue's numbered stream says, and nothing else), and the messages that wait for an
//! answer. Whatever happens is handed to a [`Journal`] *before* its bytes can leave.
//!
//! # Phases
//!
//! | phase | connected | logged in where it was left | logged in elsewhere | query answered | marker answered | connection lost |
//! |---|---|---|---|---|---|---|
//! | `Offline` | → `LoggingIn` | – | – | – | – | stays |
//! | `LoggingIn` | – | queries → `CatchingUp` | halts: `SessionLost`, cancels all, logs out | – | – | → `Offline` |
//! | `CatchingUp` | – | – | – | sends again what did not arrive, then a marker | the replay is complete: compares, resolves → `Settling` | → `Offline` |
//! | `Settling` | – | – | – | nothing | resolves; when nothing is unknown → `Trading` | → `Offline` |
//! | `Trading` | – | – | – | nothing | resolves what is overdue | → `Offline` |
//!
//! New orders go out in `Trading` alone; cancels are taken in every phase and go out as soon as they can. A *halt* stands
//! beside the phase and stays: nothing new is sent any more, and what is open is cancelled, in one message for all. The
//! first replay of a run begins with the first message of the venue's session, and orders of earlier runs are cancelled
//! before `Trading`; later ones begin where the stream was left.
//!
//! # Order numbers, query and marker
//!
//! The number on the wire (`UserRefNum`) is our order id. It rises strictly within the venue's session: after a restart it
//! begins above everything in the logs of the session and in the venue's replay. The venue ignores a number that is not
//! above the last one that it processed, so that the same message can be sent again without harm.
//!
//! The *query* (Account Query) is answered with the next free number. The answer has no identity: one in a replay may be of
//! an older query. It therefore decides only what is harmless: which orders to send again. The *marker* is a Mass Cancel of
//! a group that none of our orders is in: it cancels nothing, and its answer names its number. As messages are processed in
//! order and the stream is numbered, that answer says: everything that the venue had to say of what we sent before has been
//! read, and every lower number that it has not seen yet is void.
//!
//! # What became of an order that nobody answered
//!
//! | when | what is done |
//! |---|---|
//! | after a new login, the query says that its number was not seen, it is fresh and still wanted | sent once more with the same number, before the marker |
//! | overdue | named: unknown; a marker |
//! | a marker that was sent behind it is answered, and it is silent | a cancel, and another marker: an order that lives says so in its cancel (a cancel of an order that is not live is ignored: OUCH 5.0) |
//! | [`OrderClientConfig::probe_count`] such cancels are silent | by the venue's own order of things it does not live and never will: closed, `NeverArrived` |
//!
//! Until then it is open in the order table and in the risk gate, with all that it might still do, and from when it is named
//! nothing new is sent for its symbol: new orders and replacements are refused as `Unanswered`. A cancel that is overdue
//! does the same. Other symbols go on.
//!
//! # A venue that does not read
//!
//! An order waits for the socket no longer than [`OrderClientConfig::resend_age_max`]: then the connection is given up, what
//! waits is forgotten, and what became of it is found out as after every lost connection. Cancels may wait: they harm nobody
//! by being late.
//!
//! A replacement that nobody answered is treated the same way: it is sent again under its number, which is without effect
//! when the order before it is gone; a cancel *of the replacement* asks whether it lives, and leaves the other order alone.
//! Silence closes the replacement, and the order before it goes on.
//!
//! # Messages of the venue
//!
//! | message | effect |
//! |---|---|
//! | System Event | `E`: nothing new is sent |
//! | Accepted | `Accepted`; `Reduced` when fewer shares were taken; `Canceled` at once when it is dead |
//! | Canceled, AIQ Canceled | `Reduced`, or `Canceled` when nothing is left |
//! | Executed | `Filled`; the same match number again is a duplicate |
//! | Broken Trade | `Busted`, once; one that the stream never had halts |
//! | Rejected | `Rejected`; too many in a row halt: `RejectStorm` |
//! | Cancel Pending | nothing: the cancel stays on its way |
//! | Cancel Reject | `CancelRejected` |
//! | Modified (nobody asked) | `Reduced` by the difference; a larger order halts |
//! | Replaced | `Replaced`: the replacement has open what the venue says, the order before it is gone; dead: `Canceled` at once. One that nobody asked for halts |
//! | Rejected, with the number of a replacement | `Rejected`; the order before it is as it was |
//! | whatever ends an order for which a replacement is on its way | the replacement is `Rejected`, too late: OUCH 5.0 ignores it, and the stream is in the order of what happened |
//! | whatever is said of a replacement that was not said to live | it took its place before: `Replaced` first, with what the chain's arithmetic leaves it |
//! | Priority Update, Restated, answers to disable and enable | counted |
//! | Account Query Response, Mass Cancel Response | see above |
//! | of an unknown type | counted and told |
//! | Accepted under one of our numbers and not what we sent: symbol, side, identifier, more shares | halts: `ReconcileFailed` |
//! | malformed, or about an order that neither we nor our logs know | halts: `ReconcileFailed` |
//!
//! After each message the order table is held against the ledger: open shares, executed shares, position. A difference
//! halts and is named.

mod adopt;
mod client;
mod desk;
mod ledger;
mod reconcile;
mod replace;
mod resolve;
mod wire;

pub use client::OrderClient;
pub use ledger::{BustError, Ledger, VenueFill, VenueOrder};
pub use reconcile::{Difference, LoggedAccount, LoggedFill, LoggedOrder};

use peregrine_types::{EpochNanos, Execution, MatchNumber, Nanos, OrderId, Position, ReasonCode, Symbol, SymbolId};

use crate::order_table::{OrderEntry, Outcome};
use crate::ouch50::Text;
use crate::paper::Fees;
use crate::soup::{ClientConfig, CloseReason, Continuity};

/// What an order client needs to know.
#[derive(Clone, Debug)]
pub struct OrderClientConfig {
    /// The session that carries it.
    pub session: ClientConfig,
    /// Names of the symbols, by their identifiers.
    pub symbols: Vec<Symbol>,
    /// Orders that can be open, and messages that can wait for an answer, at once.
    pub order_count_max: usize,
    /// Order numbers of a day lie below this.
    pub order_number_end: u32,
    /// Fills that a day can have.
    pub fill_count_max: usize,
    /// Fees.
    pub fees: Fees,
    /// Midnight of the venue's day: its time stamps count from there.
    pub midnight: EpochNanos,
    /// Capacity code of our orders: `A` agency, `P` principal, `R` riskless principal, `O` other.
    pub capacity: u8,
    /// Firm that a mass cancel names.
    pub firm: Text<4>,
    /// How long an answer may take before the message counts as unanswered.
    pub answer_time_max: Nanos,
    /// Age, from when it was sent first, from which an order that did not arrive is not sent again. An order whose bytes
    /// wait for the socket for longer (1 ms, where this is less) makes the client give the connection up.
    pub resend_age_max: Nanos,
    /// Refusals in a row that halt; at least 1.
    pub reject_count_max: u32,
    /// Cancels, each with an answered marker behind it, to which an order must be silent until it counts as not alive; at
    /// least 1.
    pub probe_count: u8,
    /// Bytes that may wait for the socket when a new order is taken: beyond, the venue does not read, and an order would
    /// leave late.
    pub backlog_len_max: usize,
}

/// Where the client is: see the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// No connection.
    #[default]
    Offline,
    /// The login is under way.
    LoggingIn,
    /// What was missed is on its way.
    CatchingUp,
    /// The stream is read, some orders are not resolved yet.
    Settling,
    /// Everything is equal: orders may go out.
    Trading,
}

/// A step of an order, for the log. It is told before the bytes that it is about can leave.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The order.
    pub order_id: OrderId,
    /// Its instrument.
    pub symbol: SymbolId,
    /// When, by our clock.
    pub time: EpochNanos,
    /// The order as the table has it after the step; `None` when it has none.
    pub entry: Option<&'a OrderEntry>,
    /// Our position in the symbol after the step.
    pub position: Position,
    /// What happened.
    pub kind: StepKind,
}

/// What happened to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepKind {
    /// It is about to be sent.
    Submitted,
    /// It is about to be sent once more, with the same number.
    Resent,
    /// It is about to be sent in the place of another order: [`OrderEntry::replaces`].
    ReplaceSubmitted,
    /// A cancel is about to be sent; what the order table says to that.
    CancelRequested(Outcome),
    /// A mass cancel, of everything or of nothing (a marker), is about to be sent: the "order" is the number that it uses
    /// up.
    MassCancel,
    /// No answer came in time.
    Overdue,
    /// The venue spoke.
    Report(Execution, Outcome),
}

/// Where steps are written down. Called on the hot path: it may not wait longer than the log makes it.
pub trait Journal {
    /// Writes a step down.
    fn record(&mut self, step: &Step<'_>);
}

/// Where steps and executions go.
#[derive(Debug)]
pub struct Outlet<'a, J, S> {
    /// Steps.
    pub journal: &'a mut J,
    /// Executions.
    pub executions: &'a mut S,
}

/// Something that people should hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The session goes on at this number of the stream.
    LoggedIn {
        /// The number.
        next_sequence_number: u64,
        /// Whether that is where it was left.
        continuity: Continuity,
    },
    /// Orders, fills and positions are equal: trading begins, or goes on.
    Equal {
        /// Orders that the venue knows.
        order_count: u64,
        /// Fills.
        fill_count: u64,
    },
    /// The connection is gone.
    Lost(CloseReason),
    /// An order was not answered in time: it is unknown.
    Overdue(OrderId),
    /// An order was sent once more.
    Resent(OrderId),
    /// An order was closed although the venue said nothing of it, and why that is certain: it never arrived, or it was
    /// refused here and never left. Of refusals in a row the first is told.
    Closed(OrderId, ReasonCode),
    /// A trade was broken.
    Busted(OrderId, MatchNumber),
    /// Our account and the stream differ.
    Differs(Difference),
    /// A message of a type that the protocol's sheet does not list.
    UnknownMessage(u8),
    /// A liquidity flag that the sheet does not list; the fill was counted.
    UnknownFlag(u8),
    /// Every line of the feed fell silent, or speaks again.
    Feed {
        /// Whether it is silent now: nothing new is sent, and everything open is cancelled.
        is_silent: bool,
    },
    /// Nothing more is sent.
    Halted(ReasonCode),
}

/// What the client counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrderClientCounters {
    /// Times that a login was accepted.
    pub login_count: u64,
    /// Orders sent, repetitions left out.
    pub order_count: u64,
    /// Cancels sent, repetitions included.
    pub cancel_count: u64,
    /// Orders sent once more.
    pub resent_count: u64,
    /// Messages that were not answered in time.
    pub overdue_count: u64,
    /// Orders closed without a word of the venue.
    pub closed_count: u64,
    /// Replacements sent, repetitions left out.
    pub replace_count: u64,
    /// Replacements that took their place.
    pub replaced_count: u64,
    /// Orders accepted.
    pub accepted_count: u64,
    /// Orders refused.
    pub rejected_count: u64,
    /// Fills that added liquidity.
    pub fills_added: u64,
    /// Fills that removed liquidity.
    pub fills_removed: u64,
    /// Trades broken.
    pub busted_count: u64,
    /// Fills, acceptances and ends that were said before.
    pub duplicate_count: u64,
    /// Differences between our account and the stream.
    pub difference_count: u64,
    /// Those of them that the venue's word does not settle.
    pub unsettled_count: u64,
    /// Messages that change nothing of ours.
    pub informative_count: u64,
    /// Orders that were approved and not taken, because nothing new may be sent or there is no room.
    pub refused_count: u64,
    /// Those of them that were decided on too long before, by the clock.
    pub stale_count: u64,
    /// Those of them whose symbol had a message that was not answered in time.
    pub unanswered_count: u64,
    /// Times that the connection was given up because an order waited for the socket for too long.
    pub unread_count: u64,
    /// Executions that the sink refused: the client halted, and the run is void.
    pub undelivered_count: u64,
    /// Notices that found no room.
    pub lost_notice_count: u64,
}
