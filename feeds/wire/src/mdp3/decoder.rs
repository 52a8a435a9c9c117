//! From packets of an incremental MDP 3.0 feed to market events.
//!
//! The exchange says what is left of an order or a level, the engine's books want to know what went, so the decoder keeps
//! what stands. [`Depth`] says from which part of the feed books are made: from its orders (market by order, full depth), or
//! from its price levels (market by price), where one order stands for each level.
//!
//! | MDP 3.0 | events |
//! |---|---|
//! | order new | `AddOrder` |
//! | order changed: less of it, same place | `CancelOrder` |
//! | order changed: otherwise | `ReplaceOrder`: a new reference, behind all others of its price |
//! | order deleted | `DeleteOrder`; nothing where a trade has taken it already |
//! | trade summary, an order that stands, against an aggressor | `ExecuteOrder`, at another price `ExecuteOrderAtPrice` |
//! | the same without an aggressor (auctions, legs of spreads) | `ExecuteOrderAtPrice`, not printable |
//! | what a trade's orders did not print | `Trade` |
//! | trade changed, trade deleted | `BrokenTrade`, and `Trade` for what it is now |
//! | security status, also of a definition | `TradingAction`: 17 trades, 15, 21, 24, 25 take quotes, else halted |
//! | definition of a future | `StockDirectory` |
//! | an instrument's book or the channel is reset | `DeleteOrder` for each order of it |
//!
//! A trade summary comes before the changes that it causes, so an order is reduced when its trade is told and the change
//! finds nothing left to do. An event of the exchange can go over many messages and packets; books are exact behind its
//! last one, and in between whatever the part that came says.
//!
//! Statistics, limits, volumes and quote requests are counted and left alone.

use peregrine_types::{EpochNanos, EventFlags, EventKind, Full, MarketEvent, Sink, Symbol, SymbolId};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::instruments::{Index, Instruments, KnownInstrument};
use super::levels::Levels;
use super::messages::template;
use super::orders::Orders;
use super::packet::{Message, Messages, SCHEMA_VERSION_MIN};
use super::trades::Trades;
use crate::feed::FeedCounts;
use crate::itch50::{DirectoryFull, SymbolDirectory};

/// From which part of the feed books are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// From its orders.
    Orders,
    /// From its price levels, ten at most; implied ones, two at most, as orders of their own.
    Levels,
}

/// What a decoder is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mdp3Config {
    /// Instruments, and symbols, that there is room for.
    pub instrument_count_max: u32,
    /// Orders that can stand at the same time, at most 2²⁴.
    pub order_count_max: u32,
    /// From which part of the feed books are made.
    pub depth: Depth,
}

/// Templates that are counted one by one.
const TEMPLATE_COUNT: usize = 256;

/// What a decoder has seen since it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mdp3Counters {
    /// Packets taken.
    pub packet_count: u64,
    /// Messages by template, unknown ones included; the last place counts templates of 255 and above.
    pub message_count_by_template: [u64; TEMPLATE_COUNT],
    /// Messages of templates that are left alone.
    pub left_alone_count: u64,
    /// Messages refused because a block or a group does not fit.
    pub malformed_count: u64,
    /// The template of the last of them.
    pub malformed_last: Option<u16>,
    /// Messages of a schema whose templates have other numbers: left alone.
    pub old_schema_count: u64,
    /// Entries with a code, a quantity or a price that cannot be: left alone.
    pub refused_entry_count: u64,
    /// Deletions of orders that do not stand, those that trades have taken included.
    pub unknown_order_count: u64,
    /// Changes of orders that did not stand: taken as new ones.
    pub revived_order_count: u64,
    /// Changes of levels at ranks that the book does not have.
    pub unknown_rank_count: u64,
    /// Orders of trades that belong to no trade that was told.
    pub unmatched_trade_order_count: u64,
    /// Orders for which there was no room.
    pub order_full_count: u64,
    /// Entries of instruments for which there was no room.
    pub directory_full_count: u64,
    /// Definitions that contradict what is known of an instrument whose orders stand: left alone.
    pub late_definition_count: u64,
    /// Receive times that lay before an earlier one and were raised to it.
    pub recv_time_backward_count: u64,
}

impl Mdp3Counters {
    const ZERO: Self = Self {
        packet_count: 0,
        message_count_by_template: [0; TEMPLATE_COUNT],
        left_alone_count: 0,
        malformed_count: 0,
        malformed_last: None,
        old_schema_count: 0,
        refused_entry_count: 0,
        unknown_order_count: 0,
        revived_order_count: 0,
        unknown_rank_count: 0,
        unmatched_trade_order_count: 0,
        order_full_count: 0,
        directory_full_count: 0,
        late_definition_count: 0,
        recv_time_backward_count: 0,
    };

    /// Messages of all templates.
    #[must_use]
    pub fn message_count(&self) -> u64 {
        self.message_count_by_template.iter().sum()
    }

    /// What every decoder counts.
    #[must_use]
    pub fn counts(&self) -> FeedCounts {
        FeedCounts {
            message_count: self.message_count(),
            malformed_count: self.malformed_count,
            unknown_count: self.old_schema_count,
            directory_full_count: self.directory_full_count,
            recv_time_backward_count: self.recv_time_backward_count,
        }
    }

    /// What should be known of a feed, with how often it was seen.
    pub fn notes(&self) -> impl Iterator<Item = (u64, &'static str)> {
        [
            (self.old_schema_count, "messages of a schema before version 9 were left alone"),
            (self.refused_entry_count, "entries with a code, a quantity or a price that cannot be were left alone"),
            (self.revived_order_count, "changes of orders that did not stand were taken as new orders"),
            (self.unknown_rank_count, "changes of levels that the book does not have were left alone"),
            (self.unmatched_trade_order_count, "orders of trades belong to no trade that was told"),
            (self.order_full_count, "orders found no room"),
            (self.late_definition_count, "definitions contradict what is known of an instrument whose orders stand"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
    }

    /// Messages of one template.
    #[must_use]
    pub fn message_count_of(&self, template_id: u16) -> u64 {
        self.message_count_by_template.get(usize::from(template_id)).copied().unwrap_or(0)
    }
}

/// One more.
#[inline]
pub(super) const fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}

/// Events that a step made and the sink did not take yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Pending {
    first: Option<MarketEvent>,
    second: Option<MarketEvent>,
}

impl Pending {
    /// A step makes two events at most.
    #[inline]
    pub(super) const fn push(&mut self, event: MarketEvent) {
        if self.first.is_none() {
            self.first = Some(event);
        } else {
            self.second = Some(event);
        }
    }
}

/// Decodes the packets of one channel, in order.
#[derive(Clone, Debug)]
pub struct Mdp3Decoder {
    pub(super) depth: Depth,
    pub(super) instruments: Instruments,
    pub(super) orders: Orders,
    pub(super) levels: Levels,
    pub(super) trades: Trades,
    pub(super) pending: Pending,
    pub(super) counters: Mdp3Counters,
    /// Ranks that a refused deletion of several still has to take.
    pub(super) rank_left: Option<usize>,
    /// The instrument at which a refused status of a group goes on.
    pub(super) status_next: Index,
    /// Steps of the packet that were done before the sink refused.
    progress: u32,
    recv_time: EpochNanos,
}

/// Where a packet is being read, and what every event of it carries.
pub(super) struct Walk<'a, S> {
    step: u32,
    pub(super) exch_time: EpochNanos,
    recv_time: EpochNanos,
    flags: EventFlags,
    out: &'a mut S,
}

impl<S> Walk<'_, S> {
    #[inline]
    pub(super) fn event(&self, kind: EventKind, symbol: SymbolId) -> MarketEvent {
        MarketEvent { flags: self.flags, ..MarketEvent::new(kind, symbol, self.exch_time, self.recv_time) }
    }

    /// What follows happened at `transact_time` by the exchange.
    #[inline]
    pub(super) fn set_time(&mut self, transact_time: u64) {
        self.exch_time = EpochNanos(i64::try_from(transact_time).unwrap_or(i64::MAX));
    }
}

/// The first bytes of a block as `T`; `None` where it is shorter.
#[inline]
pub(super) fn root<'a, T: FromBytes + KnownLayout + Immutable + Unaligned>(message: &Message<'a>) -> Option<&'a T> {
    T::ref_from_prefix(message.root).ok().map(|(root, _)| root)
}

impl Mdp3Decoder {
    /// A decoder that has seen nothing yet. Takes all memory that it will ever use.
    #[must_use]
    pub fn new(config: Mdp3Config) -> Self {
        let instruments = Instruments::new(config.instrument_count_max);
        Self {
            depth: config.depth,
            orders: Orders::new(config.order_count_max, instruments.symbols.capacity()),
            levels: Levels::new(instruments.symbols.capacity()),
            instruments,
            trades: Trades::new(),
            pending: Pending::default(),
            counters: Mdp3Counters::ZERO,
            rank_left: None,
            status_next: Index(0),
            progress: 0,
            recv_time: EpochNanos::MIN,
        }
    }

    /// The names of the symbols seen so far.
    #[must_use]
    pub const fn symbols(&self) -> &SymbolDirectory {
        &self.instruments.symbols
    }

    /// What was seen so far.
    #[must_use]
    pub const fn counters(&self) -> &Mdp3Counters {
        &self.counters
    }

    /// Orders that stand now.
    #[must_use]
    pub const fn order_count(&self) -> usize {
        self.orders.count()
    }

    /// Gives `symbol` its identifier before the feed does, so that a configured symbol has a known one. To be called
    /// before the first packet.
    ///
    /// # Errors
    /// [`DirectoryFull`] when there is no room for it.
    pub fn register(&mut self, symbol: Symbol) -> Result<SymbolId, DirectoryFull> {
        self.instruments.symbols.insert(symbol)
    }

    /// Takes what the user knows of an instrument, whose symbol gets its identifier now when it has none. To be called before
    /// the first packet.
    ///
    /// # Errors
    /// [`DirectoryFull`] when there is no room for it.
    pub fn know(&mut self, known: &KnownInstrument) -> Result<SymbolId, DirectoryFull> {
        self.instruments.know(known)
    }

    /// Begins a session (a week): nothing stands any more, instruments and names stay. The books are emptied by the event
    /// that begins the session.
    pub fn begin_session(&mut self) {
        self.orders.clear();
        self.levels.clear();
        self.trades.clear();
    }

    /// The receive time that an event gets which arrived at `recv_time`: that, or the latest one given out if it is
    /// later (which is counted).
    #[inline]
    pub fn stamp(&mut self, recv_time: EpochNanos) -> EpochNanos {
        if recv_time < self.recv_time {
            count(&mut self.counters.recv_time_backward_count);
        } else {
            self.recv_time = recv_time;
        }
        self.recv_time
    }

    /// The receive time that an event gets which arrived at `recv_time`, without counting.
    #[inline]
    #[must_use]
    pub fn latest(&self, recv_time: EpochNanos) -> EpochNanos {
        recv_time.max(self.recv_time)
    }

    /// Decodes what stands behind the header of one packet that arrived at `recv_time`, and pushes its events.
    ///
    /// # Errors
    /// [`Full`] when the sink had no room: the packet is not consumed, and the next call must bring it again. Events that
    /// went out are not sent twice.
    pub fn decode(
        &mut self,
        body: &[u8],
        recv_time: EpochNanos,
        flags: EventFlags,
        out: &mut impl Sink<MarketEvent>,
    ) -> Result<(), Full<()>> {
        let recv_time = self.latest(recv_time);
        let mut walk = Walk { step: 0, exch_time: recv_time, recv_time, flags, out };
        self.flush(&mut walk)?;
        for message in Messages(body) {
            self.take(&message, &mut walk)?;
        }
        self.progress = 0;
        count(&mut self.counters.packet_count);
        self.stamp(recv_time);
        Ok(())
    }

    /// Whether the next step of the packet is still to be done.
    #[inline]
    pub(super) const fn is_due<S>(&self, walk: &mut Walk<'_, S>) -> bool {
        walk.step = walk.step.saturating_add(1);
        walk.step > self.progress
    }

    /// The step is done: its events go out, now or with the next call.
    #[inline]
    pub(super) fn done(&mut self, walk: &mut Walk<'_, impl Sink<MarketEvent>>) -> Result<(), Full<()>> {
        self.progress = walk.step;
        self.flush(walk)
    }

    /// Sends what the sink has not taken yet.
    #[inline]
    pub(super) fn flush(&mut self, walk: &mut Walk<'_, impl Sink<MarketEvent>>) -> Result<(), Full<()>> {
        while let Some(event) = self.pending.first {
            walk.out.push(event).map_err(|_| Full(()))?;
            self.pending.first = self.pending.second.take();
        }
        Ok(())
    }

    /// One message.
    fn take(&mut self, message: &Message<'_>, walk: &mut Walk<'_, impl Sink<MarketEvent>>) -> Result<(), Full<()>> {
        let template_id = message.header.template_id.get();
        let is_known = message.header.version.get() >= SCHEMA_VERSION_MIN || template_id == template::HEARTBEAT;
        if self.is_due(walk) {
            if !matches!(template_id, template::TRADE_SUMMARY | template::TRADE_SUMMARY_LONG) {
                self.close_trades(walk)?;
            }
            let place = usize::from(template_id).min(TEMPLATE_COUNT.saturating_sub(1));
            if let Some(counter) = self.counters.message_count_by_template.get_mut(place) {
                count(counter);
            }
            if !is_known {
                count(&mut self.counters.old_schema_count);
            }
            self.done(walk)?;
        }
        if !is_known {
            return Ok(());
        }
        let taken = match template_id {
            template::BOOK => self.on_book(message, walk)?,
            template::BOOK_LONG => self.on_book_long(message, walk)?,
            template::ORDER_BOOK => self.on_order_book(message, walk)?,
            template::TRADE_SUMMARY => self.on_trades(message, walk)?,
            template::TRADE_SUMMARY_LONG => self.on_trades_long(message, walk)?,
            template::SECURITY_STATUS => self.on_status(message, walk)?,
            template::FUTURE => self.on_definition(message, walk)?,
            template::CHANNEL_RESET => self.on_reset(message, walk)?,
            template::HEARTBEAT => Some(()),
            _ => {
                if self.is_due(walk) {
                    count(&mut self.counters.left_alone_count);
                    self.done(walk)?;
                }
                Some(())
            }
        };
        if taken.is_none() && self.is_due(walk) {
            count(&mut self.counters.malformed_count);
            self.counters.malformed_last = Some(template_id);
            self.done(walk)?;
        }
        Ok(())
    }

    /// Whether anything of the instrument stands.
    pub(super) fn has_orders(&self, instrument: Index) -> bool {
        self.levels.has_any(instrument) || self.orders.has_any(instrument)
    }

    /// Everything of the instrument goes.
    #[cold]
    pub(super) fn empty(
        &mut self,
        instrument: Index,
        walk: &mut Walk<'_, impl Sink<MarketEvent>>,
    ) -> Result<(), Full<()>> {
        let Some(symbol) = self.instruments.get(instrument).map(|instrument| instrument.symbol) else { return Ok(()) };
        while let Some(order) = self.orders.pop_any(instrument) {
            self.pending.push(MarketEvent { id_a: order.order_ref, ..walk.event(EventKind::DeleteOrder, symbol) });
            self.flush(walk)?;
        }
        while let Some((_, level)) = self.levels.pop(instrument) {
            self.pending.push(MarketEvent { id_a: level.order_ref, ..walk.event(EventKind::DeleteOrder, symbol) });
            self.flush(walk)?;
        }
        Ok(())
    }
}
