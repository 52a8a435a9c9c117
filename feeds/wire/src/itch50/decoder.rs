//! From messages to market events. The eight types that change or print against the book come first and share one
//! tail; everything else goes through one cold function.

use core::ops::ControlFlow;

use peregrine_types::{EpochNanos, EventFlags, EventKind, Full, MarketEvent, Price, Qty, Side, Sink, Symbol, SymbolId};
use zerocopy::byteorder::big_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::messages::*;
use super::symbols::SymbolDirectory;
use crate::feed::FeedCounts;

/// Nanoseconds in a day: timestamps lie below it.
pub const DAY_NS: u64 = 86_400_000_000_000;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// Its one or two events went to the sink.
    Emitted,
    /// Its type is not in the specification: skipped and counted.
    UnknownType(u8),
    /// It is malformed: counted, nothing was emitted.
    Malformed(ParseError),
    /// Its symbol needs an identifier and the directory is full: counted, nothing was emitted.
    DirectoryFull,
}

/// What a decoder has seen since it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecoderCounters {
    /// Messages whose events were emitted, by type code: by code rather than by index, because counting then costs no
    /// branch.
    pub message_count_by_code: [u64; 256],
    /// Messages refused as malformed, by [`MessageType::index`]; empty ones are in `empty_count`.
    pub malformed_count_by_type: [u64; MessageType::COUNT],
    /// Messages without a single byte.
    pub empty_count: u64,
    /// Messages of each type code that the specification does not know.
    pub unknown_count_by_code: [u64; 256],
    /// The malformed message seen last.
    pub malformed_last: Option<ParseError>,
    /// Locates that messages used before a directory message announced them.
    pub unannounced_locate_count: u64,
    /// Messages dropped because the symbol directory was full.
    pub directory_full_count: u64,
    /// Receive times that lay before an earlier one and were raised to it.
    pub recv_time_backward_count: u64,
}

/// Decodes the messages of one session, in order.
#[derive(Clone, Debug)]
pub struct Decoder {
    session_midnight: EpochNanos,
    recv_time: EpochNanos,
    is_second_event_due: bool,
    symbols: SymbolDirectory,
    counters: DecoderCounters,
}

/// The eleven bytes of [`Header`] with tracking number and timestamp as one integer: one load instead of two.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct WideHeader {
    message_type: u8,
    stock_locate: U16,
    tracking_and_timestamp: U64,
}

/// What the types of the fast path say beyond the header.
struct Body {
    kind: EventKind,
    side: Side,
    flags: EventFlags,
    id_a: u64,
    id_b: u64,
    price: Price,
    qty: u32,
    /// The symbol that the message names beside its locate.
    stock: Option<Symbol>,
}

impl Body {
    #[inline]
    const fn of(kind: EventKind, id_a: u64, id_b: u64) -> Self {
        let (side, flags, price, qty, stock) = (Side::Buy, EventFlags::NONE, Price(0), 0, None);
        Self { kind, side, flags, id_a, id_b, price, qty, stock }
    }
}

impl DecoderCounters {
    const ZERO: Self = Self {
        message_count_by_code: [0; 256],
        malformed_count_by_type: [0; MessageType::COUNT],
        empty_count: 0,
        unknown_count_by_code: [0; 256],
        malformed_last: None,
        unannounced_locate_count: 0,
        directory_full_count: 0,
        recv_time_backward_count: 0,
    };

    /// Messages whose events were emitted.
    #[must_use]
    pub fn message_count(&self) -> u64 {
        self.message_count_by_code.iter().sum()
    }

    /// Messages of one type whose events were emitted.
    #[must_use]
    pub fn message_count_of(&self, message_type: MessageType) -> u64 {
        self.message_count_by_code.get(usize::from(message_type.code())).copied().unwrap_or(0)
    }

    /// Messages refused as malformed.
    #[must_use]
    pub fn malformed_count(&self) -> u64 {
        self.malformed_count_by_type.iter().sum::<u64>().saturating_add(self.empty_count)
    }

    /// Messages of unknown types.
    #[must_use]
    pub fn unknown_count(&self) -> u64 {
        self.unknown_count_by_code.iter().sum()
    }

    /// What every decoder counts.
    #[must_use]
    pub fn counts(&self) -> FeedCounts {
        FeedCounts {
            message_count: self.message_count(),
            malformed_count: self.malformed_count(),
            unknown_count: self.unknown_count(),
            directory_full_count: self.directory_full_count,
            recv_time_backward_count: self.recv_time_backward_count,
        }
    }
}

impl Decoder {
    /// A decoder for the session whose timestamps count from `session_midnight` (midnight of the venue's zone, in
    /// UTC), with room for `symbol_count_max` symbols.
    #[must_use]
    pub fn new(session_midnight: EpochNanos, symbol_count_max: u32) -> Self {
        Self {
            session_midnight,
            recv_time: EpochNanos::MIN,
            is_second_event_due: false,
            symbols: SymbolDirectory::new(symbol_count_max),
            counters: DecoderCounters::ZERO,
        }
    }

    /// The names of the symbols seen so far.
    #[must_use]
    pub const fn symbols(&self) -> &SymbolDirectory {
        &self.symbols
    }

    /// What was seen so far.
    #[must_use]
    pub const fn counters(&self) -> &DecoderCounters {
        &self.counters
    }

    /// Gives `symbol` its identifier before the feed does, so that a configured symbol has a known one. To be called
    /// before the first message.
    ///
    /// # Errors
    /// [`super::DirectoryFull`] when there is no room for it.
    pub fn register(&mut self, symbol: Symbol) -> Result<SymbolId, super::DirectoryFull> {
        self.symbols.insert(symbol)
    }

    /// Begins a session: locates mean nothing until they are announced again, identifiers and names stay.
    pub fn begin_session(&mut self) {
        self.symbols.forget_locates();
    }

    /// Begins a session of another day, whose timestamps count from `session_midnight`.
    pub fn begin_day(&mut self, session_midnight: EpochNanos) {
        self.session_midnight = session_midnight;
        self.begin_session();
    }

    /// The receive time that an event gets which arrived at `recv_time`: that, or the latest one given out if it is
    /// later (which is counted).
    #[inline]
    pub fn stamp(&mut self, recv_time: EpochNanos) -> EpochNanos {
        if recv_time < self.recv_time {
            self.counters.recv_time_backward_count = self.counters.recv_time_backward_count.saturating_add(1);
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

    /// Decodes one message that arrived at `recv_time` and pushes its events. With
    /// [`EventFlags::RECV_TIME_SYNTHETIC`] in `flags` the message's own time stands for `recv_time`.
    ///
    /// # Errors
    /// [`Full`] when the sink had no room: the message is not consumed, and the next call must bring it again. Events
    /// that went out are not sent twice.
    #[inline]
    pub fn decode(
        &mut self,
        message: &[u8],
        recv_time: EpochNanos,
        flags: EventFlags,
        out: &mut impl Sink<MarketEvent>,
    ) -> Result<Decoded, Full<()>> {
        let Ok((header, _)) = WideHeader::ref_from_prefix(message) else {
            return self.decode_other(message, recv_time, flags, out);
        };
        let timestamp = header.tracking_and_timestamp.get() & U48_MASK;
        let symbol = self.symbols.by_locate(header.stock_locate.get());
        if timestamp >= DAY_NS || symbol == SymbolId::MARKET {
            return self.decode_other(message, recv_time, flags, out);
        }
        let body = match read_body(header.message_type, message) {
            Some(body) => body,
            None => return self.decode_other(message, recv_time, flags, out),
        };
        if body.stock.is_some_and(|stock| !self.symbols.is_called(symbol, stock)) {
            return self.decode_other(message, recv_time, flags, out);
        }
        let exch_time = self.exch_time(timestamp);
        let asked = asked_time(recv_time, exch_time, flags);
        let latest = self.latest(asked);
        let event = MarketEvent {
            exch_time,
            recv_time: latest,
            id_a: body.id_a,
            id_b: body.id_b,
            price: body.price,
            qty: Qty(u64::from(body.qty)),
            symbol,
            kind: body.kind,
            side: body.side,
            flags: flags | body.flags,
            detail: 0,
        };
        out.push(event).map_err(|_| Full(()))?;
        self.recv_time = latest;
        if asked < latest {
            self.stamp(asked);
        }
        self.count_emitted(header.message_type);
        Ok(Decoded::Emitted)
    }

    #[inline]
    fn exch_time(&self, timestamp: u64) -> EpochNanos {
        EpochNanos(self.session_midnight.0.saturating_add_unsigned(timestamp))
    }

    #[inline]
    fn count_emitted(&mut self, code: u8) {
        if let Some(count) = self.counters.message_count_by_code.get_mut(usize::from(code)) {
            *count = count.wrapping_add(1);
        }
    }

    /// Everything that the fast path does not do: other types, unannounced locates, and whatever is wrong.
    #[cold]
    #[inline(never)]
    fn decode_other(
        &mut self,
        bytes: &[u8],
        recv_time: EpochNanos,
        flags: EventFlags,
        out: &mut impl Sink<MarketEvent>,
    ) -> Result<Decoded, Full<()>> {
        let (mut first, second) = match self.read(bytes) {
            ControlFlow::Continue(events) => events,
            ControlFlow::Break(verdict) => return Ok(verdict),
        };
        let asked = asked_time(recv_time, first.exch_time, flags);
        first.recv_time = self.latest(asked);
        first.flags |= flags;
        if !self.is_second_event_due {
            out.push(first).map_err(|_| Full(()))?;
        }
        if let Some(mut second) = second {
            self.is_second_event_due = true;
            second.recv_time = first.recv_time;
            second.flags |= flags;
            out.push(second).map_err(|_| Full(()))?;
        }
        self.is_second_event_due = false;
        self.stamp(asked);
        self.count_emitted(bytes.first().copied().unwrap_or(0));
        Ok(Decoded::Emitted)
    }

    /// The events of a message without their receive time, or why there are none.
    fn read(&mut self, bytes: &[u8]) -> ControlFlow<Decoded, (MarketEvent, Option<MarketEvent>)> {
        let message = match parse(bytes) {
            Ok(Message::Unknown(_)) => return ControlFlow::Break(self.count_unknown(bytes)),
            Ok(message) => message,
            Err(error) => return ControlFlow::Break(self.count_malformed(error)),
        };
        if let Err(error) = super::check(&message) {
            return ControlFlow::Break(self.count_malformed(error));
        }
        let Some(header) = message.header() else { return ControlFlow::Break(self.count_unknown(bytes)) };
        let Some(symbol) = self.resolve(&message, header.stock_locate.get()) else {
            self.counters.directory_full_count = self.counters.directory_full_count.saturating_add(1);
            return ControlFlow::Break(Decoded::DirectoryFull);
        };
        let time = self.exch_time(header.timestamp.get());
        let event = MarketEvent::new(EventKind::SystemEvent, symbol, time, time);
        if let Some(body) = read_body(header.message_type, bytes) {
            let Body { kind, side, flags, id_a, id_b, price, qty, stock } = body;
            if stock.is_some_and(|stock| !self.symbols.is_called(symbol, stock)) {
                let kind = ParseErrorKind::SymbolMismatch(header.stock_locate.get());
                let error = ParseError { message_type: header.message_type, offset: STOCK_OFFSET, kind };
                return ControlFlow::Break(self.count_malformed(error));
            }
            let qty = Qty(u64::from(qty));
            return ControlFlow::Continue((MarketEvent { kind, side, flags, id_a, id_b, price, qty, ..event }, None));
        }
        ControlFlow::Continue(super::other_events(&message, event))
    }

    /// The identifier of the message's symbol, given now when it has none; `None` when there is no room for it.
    fn resolve(&mut self, message: &Message<'_>, locate: u16) -> Option<SymbolId> {
        let stock = super::stock(message);
        if let (Message::StockDirectory(_), Some(stock)) = (message, stock) {
            return self.symbols.announce(locate, stock).ok();
        }
        let known = self.symbols.by_locate(locate);
        if known != SymbolId::MARKET {
            // A locate whose name is not known yet takes the one that an order names.
            return match stock.filter(|_| self.symbols.is_nameless(locate)) {
                Some(stock) => self.symbols.announce(locate, stock).ok(),
                None => Some(known),
            };
        }
        let given = match (locate, stock) {
            (0, None) => return Some(SymbolId::MARKET),
            (0, Some(stock)) => return self.symbols.insert(stock).ok(),
            (_, Some(stock)) => self.symbols.announce(locate, stock),
            (_, None) => self.symbols.insert_nameless(locate),
        };
        self.counters.unannounced_locate_count =
            self.counters.unannounced_locate_count.saturating_add(u64::from(given.is_ok()));
        given.ok()
    }

    fn count_unknown(&mut self, bytes: &[u8]) -> Decoded {
        let code = bytes.first().copied().unwrap_or(0);
        if let Some(count) = self.counters.unknown_count_by_code.get_mut(usize::from(code)) {
            *count = count.saturating_add(1);
        }
        Decoded::UnknownType(code)
    }

    fn count_malformed(&mut self, error: ParseError) -> Decoded {
        let by_type = MessageType::from_code(error.message_type)
            .and_then(|message_type| self.counters.malformed_count_by_type.get_mut(message_type.index()));
        let count = by_type.unwrap_or(&mut self.counters.empty_count);
        *count = count.saturating_add(1);
        self.counters.malformed_last = Some(error);
        Decoded::Malformed(error)
    }
}

/// Where the messages of the fast path that name a symbol have it (Add Order, with and without attribution, Trade).
const STOCK_OFFSET: usize = 24;

const U48_MASK: u64 = super::U48::MAX;

/// The receive time that a message asks for.
#[inline]
fn asked_time(recv_time: EpochNanos, exch_time: EpochNanos, flags: EventFlags) -> EpochNanos {
    if flags.contains(EventFlags::RECV_TIME_SYNTHETIC) { exch_time } else { recv_time }
}

/// Views `message` as the `T` that its type announces, `None` when the length is another.
#[inline]
fn view<T: FromBytes + KnownLayout + Immutable + Unaligned>(message: &[u8]) -> Option<&T> {
    T::ref_from_bytes(message).ok()
}

/// The side of a code, `None` for an illegal one.
#[inline]
const fn side_of(code: u8) -> Option<Side> {
    match code {
        b'B' => Some(Side::Buy),
        b'S' => Some(Side::Sell),
        _ => None,
    }
}

/// What a message of the fast path says beyond its header; `None` for every other type, and for a wrong length or an
/// illegal code, which the cold path names.
#[inline]
fn read_body(message_type: u8, message: &[u8]) -> Option<Body> {
    const PRINTABLE: EventFlags = EventFlags::PRINTABLE;
    match message_type {
        AddOrder::TYPE => {
            let m = view::<AddOrder>(message)?;
            let (side, price, qty) = (side_of(m.side)?, m.price.price(), m.shares.get());
            Some(Body { side, price, qty, stock: Some(m.stock), ..Body::of(EventKind::AddOrder, m.order_ref.get(), 0) })
        }
        OrderDelete::TYPE => Some(Body::of(EventKind::DeleteOrder, view::<OrderDelete>(message)?.order_ref.get(), 0)),
        OrderExecuted::TYPE => {
            let m = view::<OrderExecuted>(message)?;
            let body = Body::of(EventKind::ExecuteOrder, m.order_ref.get(), m.match_number.get());
            Some(Body { qty: m.executed_shares.get(), flags: PRINTABLE, ..body })
        }
        OrderCancel::TYPE => {
            let m = view::<OrderCancel>(message)?;
            Some(Body { qty: m.cancelled_shares.get(), ..Body::of(EventKind::CancelOrder, m.order_ref.get(), 0) })
        }
        OrderReplace::TYPE => {
            let m = view::<OrderReplace>(message)?;
            let body = Body::of(EventKind::ReplaceOrder, m.original_order_ref.get(), m.new_order_ref.get());
            Some(Body { price: m.price.price(), qty: m.shares.get(), ..body })
        }
        AddOrderMpid::TYPE => {
            let m = view::<AddOrderMpid>(message)?;
            let (side, price, qty) = (side_of(m.side)?, m.price.price(), m.shares.get());
            let attribution = u64::from(u32::from_be_bytes(m.attribution));
            let body = Body::of(EventKind::AddOrder, m.order_ref.get(), attribution);
            Some(Body { side, price, qty, stock: Some(m.stock), ..body })
        }
        TradeNonCross::TYPE => {
            let m = view::<TradeNonCross>(message)?;
            let (side, price, qty) = (side_of(m.side)?, m.price.price(), m.shares.get());
            let body = Body::of(EventKind::Trade, m.order_ref.get(), m.match_number.get());
            Some(Body { side, price, qty, flags: PRINTABLE, stock: Some(m.stock), ..body })
        }
        OrderExecutedWithPrice::TYPE => {
            let m = view::<OrderExecutedWithPrice>(message)?;
            let flags = match m.printable {
                b'Y' => PRINTABLE,
                b'N' => EventFlags::NONE,
                _ => return None,
            };
            let body = Body::of(EventKind::ExecuteOrderAtPrice, m.order_ref.get(), m.match_number.get());
            Some(Body { flags, price: m.execution_price.price(), qty: m.executed_shares.get(), ..body })
        }
        _ => None,
    }
}
