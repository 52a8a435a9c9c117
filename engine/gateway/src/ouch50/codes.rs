//! Reason codes with their meaning. The venue adds codes without a version change: an unknown one is kept as it is.

macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident($type:ty) { $($constant:ident = $code:literal, $text:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct $name(pub $type);

        impl $name {
            $(#[doc = concat!($text, ".")] pub const $constant: Self = Self($code);)*

            /// Every code that the specification lists.
            pub const ALL: &'static [Self] = &[$(Self::$constant,)*];

            /// What it means, `None` for a code that the specification does not list.
            #[must_use]
            pub const fn meaning(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some($text),)*
                    _ => None,
                }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, "{:#04x} ({})", self.0, self.meaning().unwrap_or("unlisted"))
            }
        }
    };
}

reasons! {
    /// Why an order was refused (OUCH 5.0, Rejected).
    RejectReason(u16) {
        QUOTE_UNAVAILABLE = 0x01, "the quote is not available";
        DESTINATION_CLOSED = 0x02, "the destination is closed";
        DISPLAY = 0x03, "invalid display";
        MAX_FLOOR = 0x04, "invalid max floor";
        PEG_TYPE = 0x05, "invalid peg type";
        FAT_FINGER = 0x06, "fat finger";
        HALTED = 0x07, "the security is halted";
        ISO_NOT_ALLOWED = 0x08, "ISO is not allowed";
        SIDE = 0x09, "invalid side";
        PROCESSING_ERROR = 0x0A, "processing error";
        CANCEL_PENDING = 0x0B, "a cancel is pending";
        FIRM_NOT_AUTHORIZED = 0x0C, "the firm is not authorised";
        MIN_QUANTITY = 0x0D, "invalid minimum quantity";
        NO_CLOSING_REFERENCE = 0x0E, "no closing reference price";
        OTHER = 0x0F, "other";
        CANCEL_NOT_ALLOWED = 0x10, "cancel is not allowed";
        PEGGING_NOT_ALLOWED = 0x11, "pegging is not allowed";
        CROSSED_MARKET = 0x12, "the market is crossed";
        QUANTITY = 0x13, "invalid quantity";
        CROSS_ORDER = 0x14, "invalid cross order";
        REPLACE_NOT_ALLOWED = 0x15, "replace is not allowed";
        ROUTING_NOT_ALLOWED = 0x16, "routing is not allowed";
        SYMBOL = 0x17, "invalid symbol";
        TEST = 0x18, "test";
        LATE_LOC_TOO_AGGRESSIVE = 0x19, "the late limit-on-close order is too aggressive";
        RETAIL_NOT_ALLOWED = 0x1A, "retail is not allowed";
        MIDPOINT_POST_ONLY_PRICE = 0x1B, "invalid price of a midpoint post-only order";
        DESTINATION = 0x1C, "invalid destination";
        PRICE = 0x1D, "invalid price";
        SHARES_OVER_THRESHOLD = 0x1E, "shares exceed the threshold";
        NOTIONAL_OVER_MAXIMUM = 0x1F, "notional exceeds the maximum";
        RISK_AGGREGATE_EXPOSURE = 0x20, "risk: aggregate exposure";
        RISK_MARKET_IMPACT = 0x21, "risk: market impact";
        RISK_RESTRICTED_STOCK = 0x22, "risk: restricted stock";
        RISK_SHORT_SELL_RESTRICTED = 0x23, "risk: short sale restricted";
        RISK_ISO = 0x24, "risk: ISO not allowed";
        RISK_ADV = 0x25, "risk: limit of the average daily volume";
        RISK_FAT_FINGER = 0x26, "risk: fat finger";
        RISK_LOCATE_REQUIRED = 0x27, "risk: a locate is required";
        RISK_SYMBOL_RATE = 0x28, "risk: message rate of the symbol";
        RISK_PORT_RATE = 0x29, "risk: message rate of the port";
        RISK_DUPLICATE_RATE = 0x2A, "risk: rate of duplicate messages";
        RISK_SHORT_SELL_NOT_ALLOWED = 0x2B, "risk: short sales are not allowed";
        RISK_MARKET_ORDER = 0x2C, "risk: market orders are not allowed";
        RISK_PRE_MARKET = 0x2D, "risk: pre-market is not allowed";
        RISK_POST_MARKET = 0x2E, "risk: post-market is not allowed";
        RISK_SHORT_EXEMPT = 0x2F, "risk: short sale exempt is not allowed";
        RISK_SINGLE_ORDER_NOTIONAL = 0x30, "risk: notional of a single order";
        RISK_MAX_QUANTITY = 0x31, "risk: quantity of a single order";
        RISK_REG_SHO_UNAVAILABLE = 0x32, "risk: the Reg SHO state is not available";
        RISK_IPO_MARKET_BUY = 0x33, "risk: market buy orders in an IPO";
        AIQ = 0x40, "invalid self-match prevention";
    }
}

reasons! {
    /// Why shares left an order (OUCH 5.0, Order Canceled).
    CancelReason(u8) {
        REGULATORY = b'D', "regulatory restriction";
        CLOSED = b'E', "closed: a day order after the closing cross";
        POST_ONLY_NMS = b'F', "post-only would slide for Reg NMS";
        POST_ONLY_CONTRA = b'G', "post-only would slide because of a displayed contra order";
        HALTED = b'H', "halted after the opening cross";
        IMMEDIATE = b'I', "immediate-or-cancel remainder";
        MARKET_COLLARS = b'K', "market collars";
        SELF_MATCH = b'Q', "self-match prevention";
        SUPERVISORY = b'S', "supervisory";
        TIMEOUT = b'T', "the time in force ended";
        USER = b'U', "requested by the user";
        OPEN_PROTECTION = b'X', "opening price protection";
        SYSTEM = b'Z', "system";
        DIRECT_LISTING = b'e', "direct-listing order over the allowed shares";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_specification() {
        let codes: Vec<u16> = RejectReason::ALL.iter().map(|reason| reason.0).collect();
        assert_eq!(codes, (0x01..=0x33).chain([0x40]).collect::<Vec<_>>());
        let codes: Vec<u8> = CancelReason::ALL.iter().map(|reason| reason.0).collect();
        assert_eq!(codes, b"DEFGHIKQSTUXZe");
        assert_eq!(RejectReason::HALTED.to_string(), "0x07 (the security is halted)");
        assert_eq!(RejectReason(0x34).to_string(), "0x34 (unlisted)");
    }
}
