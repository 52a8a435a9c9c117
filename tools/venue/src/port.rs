//! The order-entry port of one account: OUCH 5.0, or 4.2, over SoupBinTCP, without sockets.
//!
//! What a port does not take: channels of reference numbers (option 28), discretion, minimum quantities, and pegs other
//! than to the midpoint: each is refused with its reason. A time to live counts in seconds of the venue's day from when
//! the order, or the replacement, arrives. Stop orders have no message in OUCH 5.0. Order Priority Update (`T`) is never
//! sent: an order's reference changes only by a replace.

mod answers;
mod late;
mod terms;
mod tokens;

use std::collections::VecDeque;

use peregrine_gateway::ouch42;
use peregrine_gateway::ouch50::{
    self, AccountQueryResponse, Body, BrokenTrade, BuildError, DisableResponse, EnableResponse, EnterOrder, Inbound,
    MESSAGE_LEN_MAX, MassCancel, MassCancelResponse, MessageBuilder, ModifyOrder, OptionValue, OrderModified,
    OuchPrice, RejectReason, Rejected, ReplaceOrder, SystemEvent, Text,
};
use peregrine_gateway::soup::{ServerConfig, ServerSession};
use peregrine_types::{EpochNanos, OrderRef, Side, Symbol, SymbolId};

use crate::drop_copy::CopiedOrder;
use crate::faults::{PortChaos, PortFaultCounters, PortFaults};
use crate::orders::{AccountId, Command, NewOrder, SelfTrade, Terms, TimeOfDay};

/// What a port needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortConfig {
    /// The session that carries it.
    pub session: ServerConfig,
    /// The account that its orders belong to.
    pub account: AccountId,
    /// What orders do about others of their firm when they do not say.
    pub self_trade: SelfTrade,
    /// Whether a lost connection or a logout cancels every order of the port.
    pub is_cancel_on_disconnect: bool,
    /// Orders and replacements that the port can have in a day.
    pub order_count_max: u32,
    /// Executions that it can have in a day.
    pub execution_count_max: u32,
}

/// The language of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// OUCH 5.0.
    #[default]
    Ouch50,
    /// OUCH 4.2.
    Ouch42,
}

/// An order or replacement as its client sent it, and what became of it.
#[derive(Clone, Copy, Debug)]
struct PortOrder {
    user_ref_num: u32,
    order_ref: OrderRef,
    symbol_id: SymbolId,
    symbol: Symbol,
    /// Side of the wire: B, S, T or E.
    side: u8,
    price: OuchPrice,
    time_in_force: u8,
    display: u8,
    capacity: u8,
    iso_eligibility: u8,
    cross_type: u8,
    clordid: Text<14>,
    max_floor: Option<u32>,
    post_only: Option<u8>,
    price_type: Option<u8>,
    aiq_strategy: Option<u8>,
    /// Seconds to live, of an order that lives for a time.
    expire_time: Option<u32>,
    group_id: u16,
    open: u32,
    spent: u32,
}

/// What the port counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortCounters {
    /// Messages that were no OUCH: ignored.
    pub malformed_count: u64,
    /// Messages with a number that was used before, or about an order that is not alive: ignored, as the protocol says.
    pub ignored_count: u64,
    /// Answers that found no room in the session's store: the session is too small for its day.
    pub lost_count: u64,
}

/// A port: see the module.
#[derive(Debug)]
pub struct OuchPort {
    pub(crate) session: ServerSession,
    config: PortConfig,
    /// In the order of both user reference numbers and references of the venue.
    orders: Vec<PortOrder>,
    /// Match number and order of each execution, in order.
    executions: Vec<(u64, OrderRef)>,
    user_ref_num_last: u32,
    is_enabled: bool,
    /// The order that the venue is working on.
    pending: Option<PortOrder>,
    is_modifying: bool,
    counters: PortCounters,
    chaos: Option<PortChaos>,
    /// Messages that wait behind a late execution, and until when.
    held: Vec<Vec<u8>>,
    held_until: Option<EpochNanos>,
    /// Executions that are to be broken: when, in what, and which.
    busts: VecDeque<(EpochNanos, SymbolId, u64)>,
    /// The tokens of a client that speaks OUCH 4.2.
    tokens: Option<Box<Tokens>>,
    /// Sessions so far, and the messages of those that are over.
    session_count: u64,
    ended_message_count: u64,
    now: EpochNanos,
    time: TimeOfDay,
}

/// What a message asks of the venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Nothing: it was answered, or ignored.
    Nothing,
    /// One command.
    One(Command),
    /// One command, whose effect is a modification.
    Modify(Command, OrderRef),
    /// To cancel these orders of the port: all, or those of a symbol, side or group.
    Cancels { symbol: Option<Symbol>, side: Option<u8>, group_id: Option<u16> },
}

use terms::{check_options, reason_of};
use tokens::{Read, Tokens};

impl OuchPort {
    /// A port that nobody is connected to.
    #[must_use]
    pub fn new(config: PortConfig) -> Self {
        Self {
            session: ServerSession::new(config.session),
            orders: Vec::with_capacity(config.order_count_max as usize),
            executions: Vec::with_capacity(config.execution_count_max as usize),
            config,
            user_ref_num_last: 0,
            is_enabled: true,
            pending: None,
            is_modifying: false,
            counters: PortCounters::default(),
            chaos: None,
            held: Vec::new(),
            held_until: None,
            busts: VecDeque::new(),
            tokens: None,
            session_count: 1,
            ended_message_count: 0,
            now: EpochNanos(0),
            time: TimeOfDay(0),
        }
    }

    /// The session that carries the port: its bytes go out from here.
    pub const fn session(&mut self) -> &mut ServerSession {
        &mut self.session
    }

    /// The account of its orders.
    #[must_use]
    pub const fn account(&self) -> AccountId {
        self.config.account
    }

    /// What the port knows of an order, for its drop copy.
    pub(crate) fn copied(&self, order_ref: OrderRef) -> Option<CopiedOrder> {
        let order = self.by_ref(order_ref)?;
        let PortOrder { user_ref_num, symbol, side, open, .. } = *order;
        Some(CopiedOrder { number: user_ref_num, order_ref, symbol, side, open })
    }

    /// Whether a lost connection cancels its orders.
    #[must_use]
    pub const fn is_cancel_on_disconnect(&self) -> bool {
        self.config.is_cancel_on_disconnect
    }

    /// What it counted.
    #[must_use]
    pub const fn counters(&self) -> PortCounters {
        self.counters
    }

    /// Speaks another language from now on: before anybody is connected.
    pub fn speak(&mut self, protocol: Protocol) {
        self.tokens = match protocol {
            Protocol::Ouch50 => None,
            Protocol::Ouch42 => Some(Box::new(Tokens::new(self.config.order_count_max))),
        };
    }

    /// From now on these faults happen, by chance from `seed`.
    pub fn set_faults(&mut self, faults: PortFaults, seed: u64) {
        self.chaos = Some(PortChaos::new(faults, seed));
    }

    /// How often its faults happened.
    #[must_use]
    pub fn fault_counters(&self) -> PortFaultCounters {
        self.chaos.as_ref().map(|chaos| chaos.counters).unwrap_or_default()
    }

    /// Has other faults from now on, by the chance that [`set_faults`](Self::set_faults) gave it.
    pub(crate) fn switch_faults(&mut self, change: impl FnOnce(&mut PortFaults)) {
        if let Some(chaos) = &mut self.chaos {
            chaos.switch(change);
        }
    }

    /// The symbol of an execution of one of its orders.
    pub(crate) fn traded(&self, match_number: u64) -> Option<Symbol> {
        let at = self.executions.partition_point(|(number, _)| *number < match_number);
        let (_, order_ref) = self.executions.get(at).filter(|(number, _)| *number == match_number)?;
        self.by_ref(*order_ref).map(|order| order.symbol)
    }

    /// Whether a fault happens.
    fn has_fault(&mut self, happens: impl FnOnce(&mut PortChaos) -> bool) -> bool {
        self.chaos.as_mut().is_some_and(happens)
    }

    pub(crate) const fn set_time(&mut self, now: EpochNanos, time: TimeOfDay) {
        self.now = now;
        self.time = time;
    }

    /// Reads a message: answers it, or says what it asks of the venue.
    pub(crate) fn on_message(&mut self, bytes: &[u8], symbol_of: impl Fn(Symbol) -> Option<SymbolId>) -> Asked {
        if self.has_fault(PortChaos::loses_order) {
            return Asked::Nothing;
        }
        let Some(mut tokens) = self.tokens.take() else { return self.on_ouch50(bytes, symbol_of) };
        let mut buffer = [0; MESSAGE_LEN_MAX];
        let read = tokens.read(bytes, |number| self.live(number).is_some(), &mut buffer);
        self.tokens = Some(tokens);
        match read {
            Read::Made(len) => self.on_ouch50(&buffer[..len], symbol_of),
            Read::Ignored => self.ignore(),
            Read::Malformed => {
                self.counters.malformed_count += 1;
                Asked::Nothing
            }
        }
    }

    fn on_ouch50(&mut self, bytes: &[u8], symbol_of: impl Fn(Symbol) -> Option<SymbolId>) -> Asked {
        let Ok(message) = Inbound::parse(bytes) else {
            self.counters.malformed_count += 1;
            return Asked::Nothing;
        };
        let verdict = message.check().map_err(|error| reason_of(error.message_type, error.offset, error.kind));
        match message {
            Inbound::EnterOrder(order, options) => {
                let verdict = verdict.and_then(|()| self.order_of(order, &options, &symbol_of));
                self.on_enter(order, verdict)
            }
            Inbound::ReplaceOrder(order, options) => self.on_replace(order, &options, verdict.is_ok()),
            Inbound::CancelOrder(cancel, _) => match self.live(cancel.user_ref_num.get()) {
                Some(order) if verdict.is_ok() => {
                    Asked::One(Command::Cancel { order_ref: order.order_ref, qty: cancel.quantity.get() })
                }
                Some(_) | None => self.ignore(),
            },
            Inbound::ModifyOrder(modify, _) => self.on_modify(modify, verdict.is_ok()),
            Inbound::MassCancel(cancel, options) => self.on_mass_cancel(cancel, &options, verdict.is_ok()),
            Inbound::DisableOrderEntry(m, _) => self.on_switch((m.user_ref_num.get(), m.firm), false),
            Inbound::EnableOrderEntry(m, _) => self.on_switch((m.user_ref_num.get(), m.firm), true),
            Inbound::AccountQuery(..) => {
                let next = self.user_ref_num_last.saturating_add(1);
                let answer = AccountQueryResponse {
                    timestamp: self.time.0.into(),
                    next_user_ref_num: next.into(),
                    ..AccountQueryResponse::blank()
                };
                self.send(&answer, &[]);
                Asked::Nothing
            }
            Inbound::Unknown(_) => {
                self.counters.malformed_count += 1;
                Asked::Nothing
            }
        }
    }

    const fn ignore(&mut self) -> Asked {
        self.counters.ignored_count += 1;
        Asked::Nothing
    }

    /// Whether a reference number is new; it is used up then.
    const fn consume(&mut self, user_ref_num: u32) -> bool {
        let is_new = user_ref_num > self.user_ref_num_last;
        if is_new {
            self.user_ref_num_last = user_ref_num;
        }
        is_new
    }

    fn on_enter(&mut self, order: &EnterOrder, made: Result<(PortOrder, Terms), RejectReason>) -> Asked {
        let user_ref_num = order.user_ref_num.get();
        if !self.consume(user_ref_num) {
            return self.ignore();
        }
        let made = if self.is_enabled { made } else { Err(RejectReason::FIRM_NOT_AUTHORIZED) };
        let time = self.time;
        let made =
            if self.has_fault(|chaos| chaos.is_stormy(time)) { Err(RejectReason::PROCESSING_ERROR) } else { made };
        let has_room = self.orders.len() < self.orders.capacity();
        let made = if has_room { made } else { Err(RejectReason::PROCESSING_ERROR) };
        match made {
            Err(reason) => {
                self.reject(user_ref_num, reason, order.clordid);
                Asked::Nothing
            }
            Ok((pending, terms)) => {
                self.pending = Some(pending);
                Asked::One(Command::Enter(NewOrder {
                    account: self.config.account,
                    token: u64::from(user_ref_num),
                    symbol: pending.symbol_id,
                    side: side_of(order.side),
                    qty: order.quantity.get(),
                    terms,
                }))
            }
        }
    }

    fn on_replace(&mut self, replace: &ReplaceOrder, options: &ouch50::Appendage<'_>, is_legal: bool) -> Asked {
        let user_ref_num = replace.user_ref_num.get();
        let old = self.live(replace.orig_user_ref_num.get()).copied();
        let (Some(old), true) = (old, user_ref_num > self.user_ref_num_last) else { return self.ignore() };
        // Options that are not given keep the original order's value.
        let pending = PortOrder {
            user_ref_num,
            side: options.side().filter(|side| side_of(*side) == side_of(old.side)).unwrap_or(old.side),
            price: replace.price,
            time_in_force: replace.time_in_force,
            display: replace.display,
            iso_eligibility: replace.iso_eligibility,
            clordid: replace.clordid,
            max_floor: options.max_floor().or(old.max_floor),
            post_only: options.post_only().or(old.post_only),
            price_type: options.price_type().or(old.price_type),
            aiq_strategy: options.aiq_strategy().or(old.aiq_strategy),
            expire_time: options.expire_time().or(old.expire_time),
            ..old
        };
        let order_ref = old.order_ref;
        let terms = if is_legal {
            check_options(options).and_then(|()| self.terms_of(&pending))
        } else {
            Err(RejectReason::OTHER)
        };
        let has_room = self.orders.len() < self.orders.capacity();
        match terms {
            Ok(terms) if has_room => {
                self.pending = Some(pending);
                let qty = replace.quantity.get();
                Asked::One(Command::Replace { order_ref, token: u64::from(user_ref_num), qty, terms })
            }
            // OUCH 5.0: a replace that cannot be removes the order, and its number is not used up.
            Ok(_) | Err(_) => Asked::One(Command::Cancel { order_ref, qty: 0 }),
        }
    }

    fn on_modify(&mut self, modify: &ModifyOrder, is_legal: bool) -> Asked {
        let Some(order) = self.live(modify.user_ref_num.get()).copied() else { return self.ignore() };
        let is_short_change = side_of(order.side) == Side::Sell && side_of(modify.side) == Side::Sell;
        if !is_legal || !(is_short_change || modify.side == order.side) {
            return self.ignore();
        }
        if let Some(order) = self.by_ref_mut(order.order_ref) {
            order.side = modify.side;
        }
        let (order_ref, qty) = (order.order_ref, modify.quantity.get());
        self.is_modifying = qty > order.spent;
        Asked::Modify(Command::Cancel { order_ref, qty }, order_ref)
    }

    /// The venue carried out a modification: its answer.
    pub(crate) fn finish_modify(&mut self, order_ref: OrderRef) {
        if !core::mem::take(&mut self.is_modifying) {
            return;
        }
        let Some(order) = self.by_ref(order_ref).copied() else { return };
        let answer = OrderModified {
            timestamp: self.time.0.into(),
            user_ref_num: order.user_ref_num.into(),
            side: order.side,
            quantity: order.open.into(),
            ..OrderModified::blank()
        };
        self.send(&answer, &[]);
    }

    fn on_mass_cancel(&mut self, cancel: &MassCancel, options: &ouch50::Appendage<'_>, is_legal: bool) -> Asked {
        if !is_legal || !self.consume(cancel.user_ref_num.get()) {
            return self.ignore();
        }
        let answer = MassCancelResponse {
            timestamp: self.time.0.into(),
            user_ref_num: cancel.user_ref_num,
            firm: cancel.firm,
            symbol: cancel.symbol,
            ..MassCancelResponse::blank()
        };
        let echoed = [options.group_id().map(OptionValue::GroupId), options.side().map(OptionValue::Side)];
        let echoed: Vec<OptionValue> = echoed.into_iter().flatten().collect();
        self.send(&answer, &echoed);
        let symbol = (cancel.symbol.0 != [b' '; 8]).then_some(cancel.symbol);
        Asked::Cancels { symbol, side: options.side(), group_id: options.group_id() }
    }

    fn on_switch(&mut self, (user_ref_num, firm): (u32, Text<4>), is_enabled: bool) -> Asked {
        if !self.consume(user_ref_num) {
            return self.ignore();
        }
        self.is_enabled = is_enabled;
        let (timestamp, user_ref_num) = (self.time.0.into(), user_ref_num.into());
        if is_enabled {
            self.send(&EnableResponse { timestamp, user_ref_num, firm, ..EnableResponse::blank() }, &[]);
        } else {
            self.send(&DisableResponse { timestamp, user_ref_num, firm, ..DisableResponse::blank() }, &[]);
        }
        Asked::Nothing
    }

    /// The references of the port's live orders that a mass cancel means, the oldest first.
    pub(crate) fn meant(&self, symbol: Option<Symbol>, side: Option<u8>, group_id: Option<u16>) -> Vec<OrderRef> {
        let is_meant = |order: &&PortOrder| {
            order.open > 0
                && symbol.is_none_or(|symbol| symbol == order.symbol)
                && side.is_none_or(|side| side == order.side)
                && group_id.is_none_or(|group_id| group_id == order.group_id)
        };
        self.orders.iter().filter(is_meant).map(|order| order.order_ref).collect()
    }

    fn live(&self, user_ref_num: u32) -> Option<&PortOrder> {
        let at = self.orders.binary_search_by_key(&user_ref_num, |order| order.user_ref_num).ok()?;
        self.orders.get(at).filter(|order| order.open > 0)
    }

    fn by_ref(&self, order_ref: OrderRef) -> Option<&PortOrder> {
        let at = self.orders.binary_search_by_key(&order_ref, |order| order.order_ref).ok()?;
        self.orders.get(at)
    }

    fn by_ref_mut(&mut self, order_ref: OrderRef) -> Option<&mut PortOrder> {
        let at = self.orders.binary_search_by_key(&order_ref, |order| order.order_ref).ok()?;
        self.orders.get_mut(at)
    }

    /// Puts a message into the session's stream.
    fn send<B: Body>(&mut self, body: &B, options: &[OptionValue]) {
        let mut buffer = [0; MESSAGE_LEN_MAX];
        let built = MessageBuilder::new(&mut buffer, body);
        let built =
            options.iter().try_fold(built, |built, option| Ok::<_, BuildError>(built.and_then(|b| b.option(*option))));
        let Ok(bytes) = built.and_then(|built| built).map(MessageBuilder::finish) else {
            self.counters.lost_count += 1;
            return;
        };
        let mut other = [0; ouch42::MESSAGE_LEN_MAX];
        match self.tokens.as_ref().map(|tokens| tokens.write(bytes, &mut other)) {
            None => self.say(bytes),
            Some(Some(len)) => self.say(&other[..len]),
            Some(None) => {}
        }
    }

    fn reject(&mut self, user_ref_num: u32, reason: RejectReason, clordid: Text<14>) {
        let answer = Rejected {
            timestamp: self.time.0.into(),
            user_ref_num: user_ref_num.into(),
            reason: reason.0.into(),
            clordid,
            ..Rejected::blank()
        };
        self.send(&answer, &[]);
    }

    /// A step of the session: `S` start of day, `E` end of day.
    pub(crate) fn on_system(&mut self, event_code: u8) {
        self.send(&SystemEvent { timestamp: self.time.0.into(), event_code, ..SystemEvent::blank() }, &[]);
    }

    /// An earlier execution was broken: told to whoever had it.
    pub(crate) fn on_broken(&mut self, match_number: u64, reason: u8) {
        let first = self.executions.partition_point(|(number, _)| *number < match_number);
        let meant: Vec<OrderRef> = self.executions[first..]
            .iter()
            .take_while(|(number, _)| *number == match_number)
            .map(|(_, order_ref)| *order_ref)
            .collect();
        for order_ref in meant {
            let Some(order) = self.by_ref(order_ref).copied() else { continue };
            let answer = BrokenTrade {
                timestamp: self.time.0.into(),
                user_ref_num: order.user_ref_num.into(),
                match_number: match_number.into(),
                reason,
                clordid: order.clordid,
                ..BrokenTrade::blank()
            };
            self.send(&answer, &[]);
        }
        // What was broken is not broken again.
        let known = self.executions[first..].iter().take_while(|(number, _)| *number == match_number).count();
        self.executions.drain(first..first + known);
    }
}

/// Buy, or any kind of sale.
const fn side_of(side: u8) -> Side {
    match side {
        b'B' => Side::Buy,
        _ => Side::Sell,
    }
}
