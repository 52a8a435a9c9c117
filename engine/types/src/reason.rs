//! Reason codes: why an order was denied, rejected or cancelled. One list serves the log, the reports and the docs.

use zerocopy::{Immutable, IntoBytes, KnownLayout, TryFromBytes};

/// Who gave the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReasonFamily {
    /// No reason was needed.
    None,
    /// Our own risk gate denied the order.
    Denied,
    /// The venue rejected or cancelled the order.
    Venue,
    /// The engine withdrew orders on its own.
    Engine,
}

macro_rules! reason_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $family:ident, $text:literal;)*) => {
        /// Why something was denied, rejected, cancelled or stopped. The number is part of the log format.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(u16)]
        pub enum ReasonCode {
            $($(#[$doc])* #[doc = $text] $name = $code,)*
        }

        impl ReasonCode {
            /// Every code, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name as it stands in logs and reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// What it means, for people.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Who gave it.
            #[must_use]
            pub const fn family(self) -> ReasonFamily {
                match self { $(Self::$name => ReasonFamily::$family,)* }
            }

            /// The code of a number from the log, `None` where no code has it.
            #[must_use]
            pub fn from_number(number: u16) -> Option<Self> {
                Self::ALL.iter().copied().find(|code| code.number() == number)
            }

            /// The number that the log holds.
            #[must_use]
            pub const fn number(self) -> u16 {
                self as u16
            }
        }
    };
}

reason_codes! {
    #[default]
    None = 0, None, "No reason: the check passed.";
    LimitMissing = 1000, Denied, "A limit that the check needs is not loaded.";
    QtyZero = 1001, Denied, "The order's quantity is zero.";
    OrderQtyLimit = 1002, Denied, "The order's quantity is above order_qty_max.";
    OrderNotionalLimit = 1003, Denied, "The order's value is above order_notional_max.";
    PriceInvalid = 1004, Denied, "The price is zero, negative or not on the tick.";
    PriceCollar = 1005, Denied, "The price is further from the reference price than price_collar_bps.";
    ReferencePriceMissing = 1006, Denied, "There is no reference price to hold the order against.";
    PositionLimit = 1007, Denied, "Position and open orders together could exceed position_qty_max.";
    GrossExposureLimit = 1008, Denied, "Worst-case exposure of all symbols could exceed gross_notional_max.";
    OrderRateLimit = 1009, Denied, "More messages than order_rate_max within its window.";
    DuplicateOrder = 1010, Denied, "The same order was sent within duplicate_window_ns.";
    OpenOrdersLimit = 1011, Denied, "More orders open at once than open_orders_max.";
    SymbolNotPermitted = 1012, Denied, "The symbol is not on the list of permitted symbols.";
    MarketHalted = 1013, Denied, "The venue does not trade the symbol now.";
    BookStale = 1014, Denied, "The feed has a gap: the book may lack events.";
    BookQuarantined = 1015, Denied, "The book saw an impossible event and cannot be believed.";
    BookCrossed = 1016, Denied, "Best bid is not below best ask.";
    NonFiniteInput = 1017, Denied, "A feature or a model output was not a finite number.";
    TradingHalted = 1018, Denied, "Trading is halted by a breaker, the latency guard or the kill switch.";
    SelfTrade = 1019, Denied, "The order would trade with one of our own resting orders.";
    Overflow = 1020, Denied, "The check would overflow its arithmetic.";
    RingFull = 1021, Denied, "The ring to the gateway was full: the order was not sent.";
    UnknownOrder = 1022, Denied, "The order to cancel is not open.";
    DataStale = 1023, Denied, "The last market event is older than data_age_ns_max.";
    VenueRejected = 2000, Venue, "The venue rejected the order without a closer reason.";
    VenueHalted = 2001, Venue, "The venue does not trade the symbol now.";
    VenuePostOnly = 2002, Venue, "A post-only order would have taken liquidity.";
    VenueUnknownOrder = 2003, Venue, "The venue knows no such open order.";
    VenueIocRemainder = 2004, Venue, "What an immediate-or-cancel order could not fill was cancelled.";
    VenueUserCancel = 2005, Venue, "Cancelled as we asked.";
    VenueClosed = 2006, Venue, "The session ended with the order still open.";
    VenueCapacity = 2007, Venue, "The venue stage has no room for more orders.";
    VenueSymbolUnknown = 2008, Venue, "The venue has no book for the symbol.";
    VenuePriceInvalid = 2009, Venue, "The price is not on the venue's tick.";
    VenueCanceled = 2010, Venue, "The venue took shares off the order for a reason of its own.";
    VenueSelfTrade = 2011, Venue, "The venue prevented a trade with an order of our own firm.";
    VenueBusted = 2012, Venue, "The venue broke an earlier trade.";
    VenueReplaceTooLate = 2013, Venue, "The order to be replaced had ended before its replacement arrived.";
    LatencyHalt = 3000, Engine, "Inference p99 was above its halt threshold: all orders were cancelled.";
    NonFiniteHalt = 3001, Engine, "The model gave a non-finite number: all orders were cancelled.";
    StopRequested = 3002, Engine, "The operator asked for a clean stop.";
    LogFull = 3003, Engine, "The event log could take no more: trading stopped.";
    StaleHalt = 3004, Engine, "A feed gap withdrew the orders of the symbols concerned.";
    NeverArrived = 3005, Engine, "The venue's stream does not know the order: it was lost on its way and is too old to be sent again.";
    Unanswered = 3006, Engine, "The venue did not answer in time: what became of the order is unknown until its stream says so.";
    VenueDisconnected = 3007, Engine, "There is no session with the venue: nothing new is sent until orders, fills and positions are equal again.";
    RejectStorm = 3008, Engine, "The venue rejected too many orders in a row: nothing more is sent.";
    SessionLost = 3009, Engine, "The venue's session is over, is another one, or lost messages: nothing more is sent.";
    ReconcileFailed = 3010, Engine, "Our account and the venue's stream differ: nothing more is sent.";
    GatewayFull = 3011, Engine, "The gateway has no room for another order of the day.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_ascending_and_in_their_family() {
        for pair in ReasonCode::ALL.windows(2) {
            assert!(pair[0].number() < pair[1].number());
        }
        for code in ReasonCode::ALL {
            let thousands = match code.family() {
                ReasonFamily::None => 0,
                ReasonFamily::Denied => 1,
                ReasonFamily::Venue => 2,
                ReasonFamily::Engine => 3,
            };
            assert_eq!(code.number() / 1000, thousands, "{}", code.name());
            assert_eq!(ReasonCode::from_number(code.number()), Some(*code));
            assert!(code.text().ends_with('.'));
        }
        assert_eq!(ReasonCode::from_number(9), None);
    }
}
