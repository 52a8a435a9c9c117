//! Messages of single orders, typed, both ways. Field by field what FIX 4.4 (volume 4) requires, and what this engine uses
//! of the rest; other fields are passed over.

use peregrine_types::{EpochNanos, Price, Qty, Side};

use super::message::{FieldError, Message, RejectReason};
use super::tags;
use super::value::{parse_int, parse_number, parse_price, parse_qty, parse_time};
use super::write::Body;

/// A value of a field, to and from text.
trait Value<'a>: Sized {
    /// The value, or why it is none.
    fn read(text: &'a [u8]) -> Result<Self, RejectReason>;
    /// Appends the field.
    fn write(&self, tag: u32, body: &mut Body);
}

/// A field that must be there, or may be.
trait Field<'a>: Sized {
    fn take(message: &Message<'a>, tag: u32) -> Result<Self, FieldError>;
    fn put(&self, tag: u32, body: &mut Body);
}

impl<'a, T: Value<'a>> Field<'a> for T {
    fn take(message: &Message<'a>, tag: u32) -> Result<Self, FieldError> {
        let value = message.required(tag, message.get(tag))?;
        T::read(value).map_err(|reason| message.error(tag, reason))
    }

    fn put(&self, tag: u32, body: &mut Body) {
        self.write(tag, body);
    }
}

impl<'a, T: Value<'a>> Field<'a> for Option<T> {
    fn take(message: &Message<'a>, tag: u32) -> Result<Self, FieldError> {
        message.get(tag).map(|value| T::read(value).map_err(|reason| message.error(tag, reason))).transpose()
    }

    fn put(&self, tag: u32, body: &mut Body) {
        if let Some(value) = self {
            value.write(tag, body);
        }
    }
}

macro_rules! values {
    ($($type:ty: $read:expr, $write:expr;)*) => {$(
        impl<'a> Value<'a> for $type {
            fn read(text: &'a [u8]) -> Result<Self, RejectReason> {
                $read(text).ok_or(RejectReason::Format)
            }

            fn write(&self, tag: u32, body: &mut Body) {
                let write: fn(&mut Body, u32, &Self) = $write;
                write(body, tag, self);
            }
        }
    )*};
}

values! {
    &'a str: |text| core::str::from_utf8(text).ok(), |body, tag, value| { body.field(tag, value); };
    Price: parse_price, |body, tag, value| { body.price(tag, *value); };
    Qty: parse_qty, |body, tag, value| { body.qty(tag, *value); };
    EpochNanos: parse_time, |body, tag, value| { body.time(tag, *value); };
    u64: parse_number, |body, tag, value| { body.field(tag, value); };
    i64: parse_int, |body, tag, value| { body.field(tag, value); };
}

macro_rules! codes {
    ($($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $code:literal,)* })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$doc])* $variant = $code,)* }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The character on the wire.
            #[must_use]
            pub const fn code(self) -> u8 {
                self as u8
            }

            /// The value of a character; `None` for one that the list does not have.
            #[must_use]
            pub const fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }

        impl<'a> Value<'a> for $name {
            fn read(text: &'a [u8]) -> Result<Self, RejectReason> {
                match text {
                    [code] => Self::from_code(*code).ok_or(RejectReason::Value),
                    _ => Err(RejectReason::Value),
                }
            }

            fn write(&self, tag: u32, body: &mut Body) {
                body.char(tag, self.code());
            }
        }
    )*};
}

codes! {
    /// Side (54), as far as equities have sides.
    SideCode {
        /// Buy.
        Buy = b'1',
        /// Sell.
        Sell = b'2',
        /// Sell short.
        SellShort = b'5',
        /// Sell short, exempt.
        SellShortExempt = b'6',
    }
    /// OrdType (40) of orders that this engine knows.
    OrdType {
        /// At any price.
        Market = b'1',
        /// At a price or better.
        Limit = b'2',
        /// Market once the stop price is reached.
        Stop = b'3',
        /// Limit once the stop price is reached.
        StopLimit = b'4',
        /// Price made from the market's.
        Pegged = b'P',
    }
    /// TimeInForce (59).
    Lifetime {
        /// To the end of the day.
        Day = b'0',
        /// Until cancelled.
        GoodTillCancel = b'1',
        /// In the opening auction.
        AtTheOpening = b'2',
        /// What can be filled at once.
        ImmediateOrCancel = b'3',
        /// All of it at once, or nothing.
        FillOrKill = b'4',
        /// Refused if it would trade at once.
        GoodTillCrossing = b'5',
        /// To a date.
        GoodTillDate = b'6',
        /// In the closing auction.
        AtTheClose = b'7',
    }
    /// OrdStatus (39).
    OrdStatus {
        /// Live, nothing executed.
        New = b'0',
        /// Live, a part executed.
        PartiallyFilled = b'1',
        /// All executed.
        Filled = b'2',
        /// Over for today.
        DoneForDay = b'3',
        /// What was left is gone.
        Canceled = b'4',
        /// Replaced (4.2, 4.3; still sent by some).
        Replaced = b'5',
        /// A cancel is being worked on.
        PendingCancel = b'6',
        /// Stopped: guaranteed a price.
        Stopped = b'7',
        /// Never lived.
        Rejected = b'8',
        /// Not working for now.
        Suspended = b'9',
        /// Received, not accepted yet.
        PendingNew = b'A',
        /// Settled for the day.
        Calculated = b'B',
        /// Its time is over.
        Expired = b'C',
        /// In a list that is bid for.
        AcceptedForBidding = b'D',
        /// A replacement is being worked on.
        PendingReplace = b'E',
    }
    /// ExecType (150): what a report tells. `PartialFill` and `Fill` are FIX 4.2's forms of `Trade`, still sent by some.
    ExecType {
        /// The order is live.
        New = b'0',
        /// A part was executed (4.2).
        PartialFill = b'1',
        /// The last part was executed (4.2).
        Fill = b'2',
        /// Over for today.
        DoneForDay = b'3',
        /// What was left is gone.
        Canceled = b'4',
        /// Terms were replaced as asked.
        Replaced = b'5',
        /// A cancel is being worked on.
        PendingCancel = b'6',
        /// Guaranteed a price.
        Stopped = b'7',
        /// Never lived.
        Rejected = b'8',
        /// Not working for now.
        Suspended = b'9',
        /// Received, not accepted yet.
        PendingNew = b'A',
        /// Settled for the day.
        Calculated = b'B',
        /// Its time is over.
        Expired = b'C',
        /// The venue changed its terms on its own.
        Restated = b'D',
        /// A replacement is being worked on.
        PendingReplace = b'E',
        /// Executed: a part or the rest.
        Trade = b'F',
        /// An earlier execution has other terms.
        TradeCorrect = b'G',
        /// An earlier execution does not count.
        TradeCancel = b'H',
        /// An answer to a question; nothing happened.
        OrderStatus = b'I',
    }
    /// CxlRejResponseTo (434).
    ResponseTo {
        /// To a cancel.
        Cancel = b'1',
        /// To a replacement.
        Replace = b'2',
    }
}

impl SideCode {
    /// Buy, or any kind of sale.
    #[must_use]
    pub const fn side(self) -> Side {
        match self {
            Self::Buy => Side::Buy,
            Self::Sell | Self::SellShort | Self::SellShortExempt => Side::Sell,
        }
    }
}

impl From<Side> for SideCode {
    fn from(side: Side) -> Self {
        match side {
            Side::Buy => Self::Buy,
            Side::Sell => Self::Sell,
        }
    }
}

macro_rules! messages {
    ($($(#[$meta:meta])* $name:ident = $type:literal { $($(#[$doc:meta])* $field:ident: $kind:ty = $tag:expr,)* })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name<'a> { $($(#[$doc])* pub $field: $kind,)* }

        impl<'a> $name<'a> {
            /// MsgType (35).
            pub const MSG_TYPE: &'static str = $type;

            /// Reads a message of this type.
            ///
            /// # Errors
            /// [`FieldError`] for the first field that is missing or has no such value; [`RejectReason::MsgType`] for a
            /// message of another type.
            pub fn parse(message: &Message<'a>) -> Result<Self, FieldError> {
                if message.msg_type() != Self::MSG_TYPE.as_bytes() {
                    return Err(message.error(tags::MSG_TYPE, RejectReason::MsgType));
                }
                Ok(Self { $($field: Field::take(message, $tag)?,)* })
            }

            /// Appends the fields in the order of the standard's dictionary.
            pub fn write(&self, body: &mut Body) {
                $(self.$field.put($tag, body);)*
            }
        }
    )*};
}

messages! {
    /// A new order.
    NewOrderSingle = "D" {
        /// Our name for it, unique for ever.
        cl_ord_id: &'a str = tags::CL_ORD_ID,
        /// Account.
        account: Option<&'a str> = tags::ACCOUNT,
        /// HandlInst.
        handl_inst: Option<u64> = tags::HANDL_INST,
        /// ExecInst: characters separated by spaces; `6` is post only, `M` pegs to the midpoint.
        exec_inst: Option<&'a str> = tags::EXEC_INST,
        /// Least quantity of an execution.
        min_qty: Option<Qty> = tags::MIN_QTY,
        /// Quantity that is displayed at once.
        max_floor: Option<Qty> = tags::MAX_FLOOR,
        /// Instrument.
        symbol: &'a str = tags::SYMBOL,
        /// Side.
        side: SideCode = tags::SIDE,
        /// When it was made.
        transact_time: EpochNanos = tags::TRANSACT_TIME,
        /// Quantity in shares.
        qty: Qty = tags::ORDER_QTY,
        /// Kind of order.
        ord_type: OrdType = tags::ORD_TYPE,
        /// Limit price, for `Limit` and `StopLimit`.
        price: Option<Price> = tags::PRICE,
        /// Stop price, for `Stop` and `StopLimit`.
        stop_price: Option<Price> = tags::STOP_PX,
        /// How long it lives; absent is `Day`.
        lifetime: Option<Lifetime> = tags::TIME_IN_FORCE,
        /// Capacity: `A` agency, `P` principal, `R` riskless principal.
        capacity: Option<&'a str> = tags::ORDER_CAPACITY,
    }
    /// A cancel of what is left of an order.
    OrderCancelRequest = "F" {
        /// The order's latest accepted name.
        orig_cl_ord_id: &'a str = tags::ORIG_CL_ORD_ID,
        /// The venue's name for it.
        order_id: Option<&'a str> = tags::ORDER_ID,
        /// Name of the request.
        cl_ord_id: &'a str = tags::CL_ORD_ID,
        /// Instrument.
        symbol: &'a str = tags::SYMBOL,
        /// Side.
        side: SideCode = tags::SIDE,
        /// When it was made.
        transact_time: EpochNanos = tags::TRANSACT_TIME,
        /// The order's quantity.
        qty: Qty = tags::ORDER_QTY,
    }
    /// Other terms for an order.
    OrderCancelReplaceRequest = "G" {
        /// The venue's name for it.
        order_id: Option<&'a str> = tags::ORDER_ID,
        /// The order's latest accepted name.
        orig_cl_ord_id: &'a str = tags::ORIG_CL_ORD_ID,
        /// Its new name.
        cl_ord_id: &'a str = tags::CL_ORD_ID,
        /// ExecInst.
        exec_inst: Option<&'a str> = tags::EXEC_INST,
        /// Instrument: cannot change.
        symbol: &'a str = tags::SYMBOL,
        /// Side: cannot change but between kinds of sales.
        side: SideCode = tags::SIDE,
        /// When it was made.
        transact_time: EpochNanos = tags::TRANSACT_TIME,
        /// New total quantity, what was executed included.
        qty: Qty = tags::ORDER_QTY,
        /// Kind of order.
        ord_type: OrdType = tags::ORD_TYPE,
        /// New limit price.
        price: Option<Price> = tags::PRICE,
        /// New stop price.
        stop_price: Option<Price> = tags::STOP_PX,
        /// How long it lives.
        lifetime: Option<Lifetime> = tags::TIME_IN_FORCE,
    }
    /// What a venue says of an order.
    ExecutionReport = "8" {
        /// The venue's name for the order.
        order_id: &'a str = tags::ORDER_ID,
        /// The order's name at this report.
        cl_ord_id: Option<&'a str> = tags::CL_ORD_ID,
        /// Its name before, after a cancel or replacement.
        orig_cl_ord_id: Option<&'a str> = tags::ORIG_CL_ORD_ID,
        /// Name of this report: fills are told apart by it.
        exec_id: &'a str = tags::EXEC_ID,
        /// The report that this one cancels or corrects.
        exec_ref_id: Option<&'a str> = tags::EXEC_REF_ID,
        /// The venue's match number, where it is not the ExecID.
        secondary_exec_id: Option<&'a str> = tags::SECONDARY_EXEC_ID,
        /// What happened.
        exec_type: ExecType = tags::EXEC_TYPE,
        /// Where the order stands.
        status: OrdStatus = tags::ORD_STATUS,
        /// OrdRejReason.
        reject_reason: Option<i64> = tags::ORD_REJ_REASON,
        /// ExecRestatementReason.
        restatement_reason: Option<i64> = tags::EXEC_RESTATEMENT_REASON,
        /// Account.
        account: Option<&'a str> = tags::ACCOUNT,
        /// Instrument.
        symbol: &'a str = tags::SYMBOL,
        /// Side.
        side: SideCode = tags::SIDE,
        /// Total quantity.
        qty: Option<Qty> = tags::ORDER_QTY,
        /// Kind of order.
        ord_type: Option<OrdType> = tags::ORD_TYPE,
        /// Limit price.
        price: Option<Price> = tags::PRICE,
        /// How long it lives.
        lifetime: Option<Lifetime> = tags::TIME_IN_FORCE,
        /// Quantity of this execution.
        last_qty: Option<Qty> = tags::LAST_QTY,
        /// Price of this execution.
        last_price: Option<Price> = tags::LAST_PX,
        /// What is still open.
        leaves_qty: Qty = tags::LEAVES_QTY,
        /// What was executed in all.
        cum_qty: Qty = tags::CUM_QTY,
        /// Average price as it is written: often finer than a [`Price`].
        avg_price: &'a str = tags::AVG_PX,
        /// When it happened.
        transact_time: Option<EpochNanos> = tags::TRANSACT_TIME,
        /// Text.
        text: Option<&'a str> = tags::TEXT,
        /// LastLiquidityInd: 1 added, 2 removed, 3 routed.
        liquidity: Option<i64> = tags::LAST_LIQUIDITY_IND,
    }
    /// A cancel or replacement that the venue refused.
    OrderCancelReject = "9" {
        /// The venue's name for the order; `NONE` when it knows none.
        order_id: &'a str = tags::ORDER_ID,
        /// Name of the request.
        cl_ord_id: &'a str = tags::CL_ORD_ID,
        /// The order's name.
        orig_cl_ord_id: &'a str = tags::ORIG_CL_ORD_ID,
        /// Where the order stands.
        status: OrdStatus = tags::ORD_STATUS,
        /// When it was refused.
        transact_time: Option<EpochNanos> = tags::TRANSACT_TIME,
        /// To which kind of request.
        response_to: ResponseTo = tags::CXL_REJ_RESPONSE_TO,
        /// CxlRejReason.
        reason: Option<i64> = tags::CXL_REJ_REASON,
        /// Text.
        text: Option<&'a str> = tags::TEXT,
    }
    /// A message that was understood and cannot be served.
    BusinessMessageReject = "j" {
        /// Number of the message.
        ref_number: Option<u64> = tags::REF_SEQ_NUM,
        /// Its type.
        ref_msg_type: &'a str = tags::REF_MSG_TYPE,
        /// What the message was about: a ClOrdID, say.
        ref_id: Option<&'a str> = tags::BUSINESS_REJECT_REF_ID,
        /// BusinessRejectReason: 3 for a type that is not served.
        reason: i64 = tags::BUSINESS_REJECT_REASON,
        /// Text.
        text: Option<&'a str> = tags::TEXT,
    }
}
