//! Sessions as schema `mbo`: every order.
//!
//! | ITCH 5.0 | DBN |
//! |---|---|
//! | `A`, `F` | A |
//! | `E` | T of the aggressor's side, F and C of the resting order, in one event |
//! | `C` | as `E`, T and F at the price of the execution; without T where it is not printable |
//! | `X`, `D` | C; of all that is left for `D` |
//! | `U` | C of the old order and A of the new one, in one event |
//! | `P`, `Q` | T without a side |
//! | a snapshot or another session | R of each instrument that has orders |
//! | messages missing | the flag `MAYBE_BAD_BOOK`, from the gap to its end |
//! | everything else | counted, not written |

use std::collections::HashMap;
use std::io::Write;

use dbn::{Action, MboMsg, UNDEF_PRICE, rtype};
use peregrine_types::{EventFlags, EventKind, MarketEvent, Price, Side, SymbolId};

use super::{Out, letter, nanos, side_letter, size_of};
use crate::ConvertError;

/// A resting order.
#[derive(Clone, Copy, Debug)]
struct Resting {
    symbol: SymbolId,
    side: Side,
    price: Price,
    qty: u32,
}

/// The orders that rest, by reference.
#[derive(Default)]
pub(super) struct Orders(HashMap<u64, Resting>);

/// A record's own part, beside what the event gives.
#[derive(Clone, Copy, Debug)]
struct Part {
    action: Action,
    side: Option<Side>,
    order: u64,
    price: i64,
    size: u32,
    is_last: bool,
}

impl Orders {
    pub(super) fn on_event<W: Write>(&mut self, out: &mut Out<W>, event: &MarketEvent) -> Result<(), ConvertError> {
        match event.kind {
            EventKind::AddOrder => self.on_add(out, event),
            EventKind::ExecuteOrder => self.on_execution(out, event, None),
            EventKind::ExecuteOrderAtPrice => self.on_execution(out, event, Some(event.price)),
            EventKind::CancelOrder => self.on_reduction(out, event, Some(event.qty.0)),
            EventKind::DeleteOrder => self.on_reduction(out, event, None),
            EventKind::ReplaceOrder => self.on_replacement(out, event),
            EventKind::Trade | EventKind::CrossTrade => on_trade(out, event),
            EventKind::SessionStart | EventKind::SnapshotStart => self.on_empty_start(out, event),
            EventKind::BrokenTrade
            | EventKind::SystemEvent
            | EventKind::StockDirectory
            | EventKind::TradingAction
            | EventKind::RegSho
            | EventKind::ParticipantPosition
            | EventKind::MwcbLevels
            | EventKind::MwcbStatus
            | EventKind::IpoQuotingPeriod
            | EventKind::LuldCollar
            | EventKind::OperationalHalt
            | EventKind::ImbalanceShares
            | EventKind::ImbalancePrices
            | EventKind::RetailInterest
            | EventKind::DirectListingPrices
            | EventKind::DirectListingCollars
            | EventKind::GapStart
            | EventKind::GapEnd
            | EventKind::SessionEnd => {
                out.leave_out(event);
                Ok(())
            }
        }
    }

    fn on_add<W: Write>(&mut self, out: &mut Out<W>, event: &MarketEvent) -> Result<(), ConvertError> {
        match self.join(event, event.id_a, event.side) {
            Some(part) => write(out, event, part),
            None => out.refuse(),
        }
    }

    /// Lets an order join, where that can be and can be said; what there is to write.
    fn join(&mut self, event: &MarketEvent, order: u64, side: Side) -> Option<Part> {
        let size = size_of(event.qty.0).filter(|size| *size > 0 && event.price.0 > 0)?;
        if self.0.contains_key(&order) {
            return None;
        }
        self.0.insert(order, Resting { symbol: event.symbol, side, price: event.price, qty: size });
        Some(Part { action: Action::Add, side: Some(side), order, price: event.price.0, size, is_last: true })
    }

    /// The order that an event names, and what of it is taken; `None` (counted) if there is none or nothing.
    fn take<W: Write>(&mut self, out: &mut Out<W>, event: &MarketEvent, qty: Option<u64>) -> Option<(Resting, u32)> {
        let resting = self.0.get(&event.id_a).copied().filter(|resting| resting.symbol == event.symbol);
        let asked = qty.or_else(|| resting.map(|resting| u64::from(resting.qty))).unwrap_or(0);
        let taken = resting.and_then(|resting| {
            let taken = u32::try_from(asked).unwrap_or(u32::MAX).min(resting.qty);
            (taken > 0).then_some((resting, taken))
        });
        let is_possible = taken.is_some_and(|(_, taken)| u64::from(taken) == asked);
        if !is_possible {
            out.impossible();
        }
        let (resting, taken) = taken?;
        if taken == resting.qty {
            self.0.remove(&event.id_a);
        } else if let Some(order) = self.0.get_mut(&event.id_a) {
            order.qty = resting.qty.saturating_sub(taken);
        }
        Some((resting, taken))
    }

    fn on_execution<W: Write>(
        &mut self,
        out: &mut Out<W>,
        event: &MarketEvent,
        price: Option<Price>,
    ) -> Result<(), ConvertError> {
        let Some((resting, size)) = self.take(out, event, Some(event.qty.0)) else { return Ok(()) };
        let (side, order) = (Some(resting.side), event.id_a);
        let traded = price.unwrap_or(resting.price).0;
        let part = Part { action: Action::Fill, side, order, price: traded, size, is_last: false };
        if price.is_none() || event.flags.contains(EventFlags::PRINTABLE) {
            let side = Some(resting.side.opposite());
            write(out, event, Part { action: Action::Trade, side, order: 0, ..part })?;
        }
        write(out, event, part)?;
        write(out, event, Part { action: Action::Cancel, price: resting.price.0, is_last: true, ..part })
    }

    fn on_reduction<W: Write>(
        &mut self,
        out: &mut Out<W>,
        event: &MarketEvent,
        qty: Option<u64>,
    ) -> Result<(), ConvertError> {
        let Some((resting, size)) = self.take(out, event, qty) else { return Ok(()) };
        let (action, side, price) = (Action::Cancel, Some(resting.side), resting.price.0);
        write(out, event, Part { action, side, order: event.id_a, price, size, is_last: true })
    }

    fn on_replacement<W: Write>(&mut self, out: &mut Out<W>, event: &MarketEvent) -> Result<(), ConvertError> {
        let Some((resting, size)) = self.take(out, event, None) else { return Ok(()) };
        let (action, side, price) = (Action::Cancel, Some(resting.side), resting.price.0);
        let joined = self.join(event, event.id_b, resting.side);
        write(out, event, Part { action, side, order: event.id_a, price, size, is_last: joined.is_none() })?;
        match joined {
            Some(part) => write(out, event, part),
            None => out.refuse(),
        }
    }

    fn on_empty_start<W: Write>(&mut self, out: &mut Out<W>, event: &MarketEvent) -> Result<(), ConvertError> {
        let mut symbols: Vec<SymbolId> = self.0.values().map(|order| order.symbol).collect();
        symbols.sort_unstable();
        symbols.dedup();
        self.0.clear();
        for symbol in symbols {
            let event = MarketEvent { symbol, ..*event };
            let (action, price) = (Action::Clear, UNDEF_PRICE);
            write(out, &event, Part { action, side: None, order: 0, price, size: 0, is_last: true })?;
        }
        Ok(())
    }
}

fn on_trade<W: Write>(out: &mut Out<W>, event: &MarketEvent) -> Result<(), ConvertError> {
    if event.qty.0 == 0 {
        // A cross in which nothing traded.
        out.leave_out_as("CrossTrade of nothing");
        return Ok(());
    }
    let Some(size) = size_of(event.qty.0) else { return out.refuse() };
    let (action, price) = (Action::Trade, event.price.0);
    write(out, event, Part { action, side: None, order: 0, price, size, is_last: true })
}

fn write<W: Write>(out: &mut Out<W>, event: &MarketEvent, part: Part) -> Result<(), ConvertError> {
    let Part { action, side, order, price, size, is_last } = part;
    let record = MboMsg {
        hd: out.header::<MboMsg>(rtype::MBO, event),
        order_id: order,
        price,
        size,
        flags: out.flags(is_last),
        channel_id: 0,
        action: letter(action.into()),
        side: side_letter(side),
        ts_recv: nanos(event.recv_time),
        ts_in_delta: 0,
        sequence: out.sequence(),
    };
    out.write_action(action, &record)
}
