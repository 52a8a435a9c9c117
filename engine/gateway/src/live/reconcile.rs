//! The start of a session: what earlier runs wrote down against what the venue says, from its first message on.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use peregrine_types::{MatchNumber, NewOrder, OrderId, Position, Price, Qty, Symbol};

use super::ledger::Ledger;

/// An order as the logs of earlier runs of this session have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoggedOrder {
    /// Its number.
    pub order_id: OrderId,
    /// What was ordered; its symbol by the identifiers of this run.
    pub order: NewOrder,
    /// Whether the logs say that it ended without ever having lived.
    pub is_rejected: bool,
    /// The order that it was to replace; 0 if none.
    pub replaces: OrderId,
}

/// A fill as the logs have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoggedFill {
    /// The order.
    pub order_id: OrderId,
    /// The venue's number of it.
    pub match_number: MatchNumber,
    /// Shares.
    pub qty: Qty,
    /// Price.
    pub price: Price,
    /// Whether the logs say that it was broken.
    pub is_busted: bool,
}

/// What the logs of earlier runs of this session say together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoggedAccount {
    /// Orders, by number.
    pub orders: BTreeMap<OrderId, LoggedOrder>,
    /// Fills, by order and match number.
    pub fills: BTreeMap<(OrderId, MatchNumber), LoggedFill>,
    /// The highest number used, by orders and by mass cancels.
    pub last_number: OrderId,
}

/// One thing in which our account and the venue's stream differ, or did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The logs have an order of which the venue says nothing: it is asked, and closed when it does not answer.
    Silent(OrderId),
    /// The venue executed an order and no log has it: learnt now.
    FillLearnt(OrderId, MatchNumber, Qty),
    /// The venue broke a trade and no log has it: learnt now.
    BustLearnt(OrderId, MatchNumber),
    /// An order of an earlier run is still open: it is cancelled.
    StillOpen(OrderId, Qty),
    /// The venue has an order that no log has.
    OrderNotInLog(OrderId),
    /// The logs have a fill that the venue's stream does not have.
    FillNotAtVenue(OrderId, MatchNumber),
    /// A fill has another quantity or price in the logs than at the venue, or was broken in the logs alone.
    FillDiffers(OrderId, MatchNumber),
    /// The venue has processed numbers up to this one, which no log has.
    NumberNotInLog(OrderId),
    /// A position of the logs is not that of the venue's stream.
    Position {
        /// The symbol.
        symbol: Symbol,
        /// By our account.
        own: Position,
        /// By the stream.
        venue: Position,
    },
    /// An order's open or executed shares are not those of the venue's stream.
    Order {
        /// The order.
        order_id: OrderId,
        /// Open and executed by our table.
        own: (Qty, Qty),
        /// Open and executed by the stream.
        venue: (Qty, Qty),
    },
    /// The venue has another order under this number than the log: another symbol, side, identifier or more shares, or one
    /// that the log says never lived.
    OrderDiffers(OrderId),
    /// The venue speaks of a number above those that a day is configured to have: nothing can be booked on it.
    NumberTooHigh(OrderId),
    /// The venue said of an order what cannot be true of it.
    Impossible(OrderId),
    /// A trade was broken that the stream never had.
    UnknownBust(OrderId, MatchNumber),
    /// A message of the venue that cannot be read: its type.
    Malformed(u8),
}

impl Difference {
    /// Whether the venue's word settles it, so that trading can begin. Of the others nobody knows who is right.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        match self {
            Self::Silent(_) | Self::FillLearnt(..) | Self::BustLearnt(..) | Self::StillOpen(..) => true,
            Self::OrderNotInLog(_)
            | Self::FillNotAtVenue(..)
            | Self::FillDiffers(..)
            | Self::NumberNotInLog(_)
            | Self::Position { .. }
            | Self::Order { .. }
            | Self::OrderDiffers(_)
            | Self::NumberTooHigh(_)
            | Self::Impossible(_)
            | Self::UnknownBust(..)
            | Self::Malformed(_) => false,
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent(id) => write!(f, "order {id} is in the log, and the venue says nothing of it: it is asked"),
            Self::FillLearnt(id, number, qty) => {
                write!(f, "order {id}: fill {} of {} shares is in no log: booked", number.0, qty.0)
            }
            Self::BustLearnt(id, number) => {
                write!(f, "order {id}: fill {} was broken, which is in no log: booked", number.0)
            }
            Self::StillOpen(id, qty) => {
                write!(f, "order {id} of an earlier run has {} shares open: they are cancelled", qty.0)
            }
            Self::OrderNotInLog(id) => write!(f, "the venue has order {id}, which is in no log"),
            Self::FillNotAtVenue(id, number) => {
                write!(f, "order {id}: fill {} is in the log and not in the venue's stream", number.0)
            }
            Self::FillDiffers(id, number) => {
                write!(f, "order {id}: fill {} is another one in the log, or was broken there alone", number.0)
            }
            Self::NumberNotInLog(id) => write!(f, "the venue has processed number {id}, which is in no log"),
            Self::Position { symbol, own, venue } => {
                write!(f, "position in {symbol}: {} by our account, {} by the venue's stream", own.0, venue.0)
            }
            Self::Order { order_id, own, venue } => write!(
                f,
                "order {order_id}: {} open and {} executed by our table, {} and {} by the venue's stream",
                own.0.0, own.1.0, venue.0.0, venue.1.0
            ),
            Self::OrderDiffers(id) => write!(f, "order {id} is another one at the venue than in the log"),
            Self::NumberTooHigh(id) => {
                write!(f, "the venue speaks of number {id}, above ouch.order_number_end: raise it and start again")
            }
            Self::Impossible(id) => write!(f, "the venue said of order {id} what cannot be true of it"),
            Self::UnknownBust(id, number) => {
                write!(f, "order {id}: fill {} was broken, which the venue's stream never had", number.0)
            }
            Self::Malformed(message_type) => {
                write!(f, "a message of type `{}` cannot be read", char::from(*message_type))
            }
        }
    }
}

/// Holds the account of the logs against the complete stream. `rejected` are the orders that the stream refused, `symbols`
/// names the positions.
pub(super) fn compare(
    account: &LoggedAccount,
    ledger: &Ledger,
    rejected: &BTreeSet<OrderId>,
    symbols: &[Symbol],
) -> Vec<Difference> {
    let mut found = Vec::new();
    for (id, logged) in &account.orders {
        let is_answered = ledger.order(*id).is_some() || rejected.contains(id) || logged.is_rejected;
        if !is_answered {
            found.push(Difference::Silent(*id));
        }
        if logged.is_rejected && ledger.order(*id).is_some() {
            found.push(Difference::OrderDiffers(*id));
        }
    }
    let known = |id: &OrderId| account.orders.contains_key(id);
    let strange = ledger.orders().map(|(id, _)| id).chain(rejected.iter().copied()).filter(|id| !known(id));
    found.extend(strange.map(Difference::OrderNotInLog));
    compare_fills(account, ledger, &mut found);
    compare_positions(account, ledger, symbols, &mut found);
    let open = ledger.orders().filter(|(_, order)| order.open_qty > Qty::ZERO);
    found.extend(open.map(|(id, order)| Difference::StillOpen(id, order.open_qty)));
    found
}

fn compare_fills(account: &LoggedAccount, ledger: &Ledger, found: &mut Vec<Difference>) {
    let mut at_venue = BTreeSet::new();
    for fill in ledger.fills() {
        let key = (fill.order_id, fill.match_number);
        at_venue.insert(key);
        let logged = account.fills.get(&key);
        match logged {
            None => found.push(Difference::FillLearnt(fill.order_id, fill.match_number, fill.qty)),
            Some(logged) if (logged.qty, logged.price) != (fill.qty, fill.price) => {
                found.push(Difference::FillDiffers(fill.order_id, fill.match_number));
            }
            Some(_) => {}
        }
        if fill.is_busted && !logged.is_some_and(|logged| logged.is_busted) {
            found.push(Difference::BustLearnt(fill.order_id, fill.match_number));
        }
        if !fill.is_busted && logged.is_some_and(|logged| logged.is_busted) {
            found.push(Difference::FillDiffers(fill.order_id, fill.match_number));
        }
    }
    let missing = account.fills.keys().filter(|key| !at_venue.contains(key));
    found.extend(missing.map(|(id, number)| Difference::FillNotAtVenue(*id, *number)));
}

/// Positions by the logs and what was learnt, against those of the stream.
fn compare_positions(account: &LoggedAccount, ledger: &Ledger, symbols: &[Symbol], found: &mut Vec<Difference>) {
    let mut own = vec![Position::FLAT; symbols.len()];
    let mut book = |id: &OrderId, qty: Qty, is_bust: bool| {
        let Some(logged) = account.orders.get(id) else { return };
        if let Some(position) = own.get_mut(logged.order.symbol.index()) {
            let side = if is_bust { logged.order.side.opposite() } else { logged.order.side };
            *position = position.after(side, qty).unwrap_or(*position);
        }
    };
    for fill in account.fills.values() {
        book(&fill.order_id, fill.qty, false);
        if fill.is_busted {
            book(&fill.order_id, fill.qty, true);
        }
    }
    for fill in ledger.fills() {
        let logged = account.fills.get(&(fill.order_id, fill.match_number));
        if logged.is_none() {
            book(&fill.order_id, fill.qty, false);
        }
        if fill.is_busted && !logged.is_some_and(|logged| logged.is_busted) {
            book(&fill.order_id, fill.qty, true);
        }
    }
    for ((symbol, own), id) in symbols.iter().zip(own).zip(0..) {
        let venue = ledger.position(peregrine_types::SymbolId(id));
        if own != venue {
            found.push(Difference::Position { symbol: *symbol, own, venue });
        }
    }
}
