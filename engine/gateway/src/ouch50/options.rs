//! The appendage: a length, and options as length, tag and value.

use super::fields::{OuchPrice, Text};
use super::{ParseError, ParseErrorKind};

/// Bytes of the length in front of the options.
pub(super) const APPENDAGE_HEADER_LEN: usize = 2;

/// The appendage of a message: absent, or options that were found to end exactly where it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appendage<'a> {
    /// Its length field and the options; empty when it is absent.
    raw: &'a [u8],
}

/// One option as it stands in the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// Where it begins, in bytes from the begin of the appendage's length field.
    pub offset: usize,
    /// Its tag.
    pub tag: u8,
    /// Its value.
    pub value: &'a [u8],
}

/// The options of an appendage in order, known and unknown ones.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        let (len, rest) = self.rest.split_first()?;
        let (element, rest) = rest.split_at_checked(usize::from(*len))?;
        let (tag, value) = element.split_first()?;
        let offset = self.offset;
        self.rest = rest;
        self.offset = offset.saturating_add(element.len()).saturating_add(1);
        Some(Element { offset, tag: *tag, value })
    }
}

impl<'a> Appendage<'a> {
    /// No appendage at all.
    pub const ABSENT: Self = Self { raw: &[] };

    /// Views what lies behind the fixed part of a message; nothing is [`Appendage::ABSENT`]. `base` is where `raw`
    /// begins in the message: offsets of errors count from the message.
    pub(super) fn parse(raw: &'a [u8], message_type: u8, base: usize) -> Result<Self, ParseError> {
        let error = |offset: usize, kind| Err(ParseError { message_type, offset: base.saturating_add(offset), kind });
        let Some((len, options)) = raw.split_first_chunk::<APPENDAGE_HEADER_LEN>() else {
            let expected = base.saturating_add(APPENDAGE_HEADER_LEN);
            return if raw.is_empty() {
                Ok(Self::ABSENT)
            } else {
                error(raw.len(), ParseErrorKind::Truncated { expected, actual: base.saturating_add(raw.len()) })
            };
        };
        let announced = usize::from(u16::from_be_bytes(*len));
        if announced != options.len() {
            return error(0, ParseErrorKind::AppendageLength { announced, actual: options.len() });
        }
        let mut elements = Self { raw }.elements();
        while elements.next().is_some() {}
        match elements.rest.first() {
            None => Ok(Self { raw }),
            Some(0) => error(elements.offset, ParseErrorKind::OptionEmpty),
            Some(len) => error(elements.offset, ParseErrorKind::OptionTruncated(*len)),
        }
    }

    /// Whether the message has an appendage, possibly without options.
    #[must_use]
    pub const fn is_present(&self) -> bool {
        !self.raw.is_empty()
    }

    /// The bytes behind the fixed part: length field and options, or nothing.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.raw
    }

    /// The options in order, unknown ones too.
    #[must_use]
    pub fn elements(&self) -> Elements<'a> {
        Elements { rest: self.raw.get(APPENDAGE_HEADER_LEN..).unwrap_or_default(), offset: APPENDAGE_HEADER_LEN }
    }

    /// The value of the first option with `tag`, as bytes.
    #[must_use]
    pub fn find(&self, tag: u8) -> Option<&'a [u8]> {
        self.elements().find(|element| element.tag == tag).map(|element| element.value)
    }
}

/// The bytes of an option's value, at most eight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ValueBytes {
    bytes: [u8; 8],
    len: usize,
}

impl ValueBytes {
    fn of<const N: usize>(value: [u8; N]) -> Self {
        let mut bytes = [0; 8];
        for (to, from) in bytes.iter_mut().zip(value) {
            *to = from;
        }
        Self { bytes, len: N }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// A value that options carry.
trait Value: Sized {
    fn read(bytes: &[u8]) -> Option<Self>;
    fn write(self) -> ValueBytes;
}

macro_rules! integers {
    ($($name:ty),*) => {
        $(impl Value for $name {
            fn read(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self::from_be_bytes)
            }
            fn write(self) -> ValueBytes {
                ValueBytes::of(self.to_be_bytes())
            }
        })*
    };
}

integers!(u8, u16, u32, u64, i32);

impl<const N: usize> Value for Text<N> {
    fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
    fn write(self) -> ValueBytes {
        ValueBytes::of(self.0)
    }
}

impl Value for OuchPrice {
    fn read(bytes: &[u8]) -> Option<Self> {
        u64::read(bytes).map(Self::new)
    }
    fn write(self) -> ValueBytes {
        self.get().write()
    }
}

macro_rules! options {
    ($($getter:ident $name:ident = $tag:literal, $len:literal $type:ty, $text:literal;)*) => {
        /// The options of OUCH 5.0.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum OptionTag {
            $(#[doc = concat!("Tag ", $tag, ": ", $text, ".")] $name = $tag,)*
        }

        /// An option and its value.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum OptionValue {
            $(#[doc = concat!("Tag ", $tag, ": ", $text, ".")] $name($type),)*
        }

        $(const _: () = assert!(size_of::<$type>() == $len && $len <= 8);)*

        impl OptionTag {
            /// Every option, by tag.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The option of a tag, `None` where the specification has none.
            #[must_use]
            pub const fn from_code(tag: u8) -> Option<Self> {
                match tag {
                    $($tag => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// The tag.
            #[must_use]
            pub const fn code(self) -> u8 {
                self as u8
            }

            /// The length of its value in bytes.
            #[must_use]
            pub const fn value_len(self) -> usize {
                match self { $(Self::$name => $len,)* }
            }
        }

        impl OptionValue {
            /// Which option it is.
            #[must_use]
            pub const fn tag(&self) -> OptionTag {
                match self { $(Self::$name(_) => OptionTag::$name,)* }
            }

            /// Reads the value of an option; `None` when its length is another.
            #[must_use]
            pub fn read(tag: OptionTag, value: &[u8]) -> Option<Self> {
                match tag { $(OptionTag::$name => Value::read(value).map(Self::$name),)* }
            }

            pub(super) fn bytes(self) -> ValueBytes {
                match self { $(Self::$name(value) => value.write(),)* }
            }
        }

        impl Appendage<'_> {
            $(
                #[doc = concat!("Tag ", $tag, ": ", $text, ". `None` when it is absent or has another length.")]
                #[must_use]
                pub fn $getter(&self) -> Option<$type> {
                    self.find($tag).and_then(Value::read)
                }
            )*
        }
    };
}

options! {
    secondary_order_ref SecondaryOrderRef = 1, 8 u64, "reference of the displayed part of a reserve order on the feed";
    firm Firm = 2, 4 Text<4>, "firm, upper case; blank for the account's default";
    min_qty MinQty = 3, 4 u32, "least quantity of an execution in round lots, 0 for none";
    customer_type CustomerType = 4, 1 u8, "R retail designated, N not, space for the port's default";
    max_floor MaxFloor = 5, 4 u32, "displayed part of a reserve order in shares, 0 for none";
    price_type PriceType = 6, 1 u8, "L limit, P market peg, M midpoint peg, R primary peg, Q market-maker peg, m midpoint";
    peg_offset PegOffset = 7, 4 i32, "signed offset of a peg in 10⁻⁴";
    discretion_price DiscretionPrice = 9, 8 OuchPrice, "price of the discretion, 0 for none";
    discretion_price_type DiscretionPriceType = 10, 1 u8, "L limit, P market peg, M midpoint peg, R primary peg";
    discretion_peg_offset DiscretionPegOffset = 11, 4 i32, "signed offset of the discretion in 10⁻⁴";
    post_only PostOnly = 12, 1 u8, "P post only, N not";
    random_reserves RandomReserves = 13, 4 u32, "range of the random size of a reserve's display in shares, 0 for none";
    route Route = 14, 4 Text<4>, "route; outbound only";
    expire_time ExpireTime = 15, 4 u32, "seconds to live, below 86,400; with time in force 6";
    trade_now TradeNow = 16, 1 u8, "Y trade against a locking order, N not, space for the port's default";
    handle_inst HandleInst = 17, 1 u8, "I imbalance only, O and T retail, Q RPI, B extended life and continuous, D direct listing";
    bbo_weight BboWeight = 18, 1 u8, "how the order weighs at the best price; outbound only";
    display_quantity DisplayQuantity = 22, 4 u32, "displayed quantity in shares; outbound restatement only";
    display_price DisplayPrice = 23, 8 OuchPrice, "displayed price; outbound restatement only";
    group_id GroupId = 24, 2 u16, "group for mass cancels, 0 for none";
    shares_located SharesLocated = 25, 1 u8, "Y shares were located for the short sale, N not";
    locate_broker LocateBroker = 26, 4 Text<4>, "who located them";
    side Side = 27, 1 u8, "B, S, T or E";
    user_ref_idx UserRefIdx = 28, 1 u8, "channel of user reference numbers in the port";
    aiq_strategy AiqStrategy = 29, 1 u8, "self-match prevention, * for the port's default, N off";
    aiq_group_id AiqGroupId = 30, 2 Text<2>, "group of the self-match prevention, ** for the port's default";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_those_of_the_specification() {
        let tags: Vec<u8> = OptionTag::ALL.iter().map(|tag| tag.code()).collect();
        assert_eq!(tags.len(), 26);
        assert!((0..=255).all(|tag| OptionTag::from_code(tag).is_some() == tags.contains(&tag)));
        assert!([8, 19, 20, 21, 0, 31].iter().all(|tag| !tags.contains(tag)), "unused tags");
        for tag in OptionTag::ALL {
            let value = vec![b'A'; tag.value_len()];
            let read = OptionValue::read(*tag, &value).unwrap();
            assert_eq!((read.tag(), read.bytes().as_slice()), (*tag, &value[..]));
            assert_eq!(OptionValue::read(*tag, &[0; 9]), None);
        }
    }

    #[test]
    fn the_real_channel_option_reads() {
        let appendage = Appendage::parse(&[0, 3, 2, 0x1C, 5], b'C', 18).unwrap();
        assert_eq!(appendage.user_ref_idx(), Some(5));
        assert_eq!(appendage.elements().next().unwrap().offset, 2);
        assert_eq!(Appendage::parse(&[], b'C', 18), Ok(Appendage::ABSENT));
    }

    #[test]
    fn unknown_options_are_skipped_by_their_length() {
        let appendage = Appendage::parse(&[0, 8, 3, 99, 1, 2, 4, 12, b'P', 0], b'O', 45);
        assert_eq!(appendage.unwrap_err().offset, 45 + 6, "the second option leads past the end");
        let appendage = Appendage::parse(&[0, 7, 3, 99, 1, 2, 2, 12, b'P'], b'O', 45).unwrap();
        assert_eq!((appendage.post_only(), appendage.elements().count()), (Some(b'P'), 2));
    }

    #[test]
    fn appendages_that_do_not_add_up_say_where() {
        let kind = |raw: &[u8]| Appendage::parse(raw, b'X', 9).map_err(|error| (error.offset, error.kind)).unwrap_err();
        assert_eq!(kind(&[0]), (10, ParseErrorKind::Truncated { expected: 11, actual: 10 }));
        assert_eq!(kind(&[0, 2, 1]), (9, ParseErrorKind::AppendageLength { announced: 2, actual: 1 }));
        assert_eq!(kind(&[0, 1, 0]), (11, ParseErrorKind::OptionEmpty));
        assert_eq!(kind(&[0, 1, 1]), (11, ParseErrorKind::OptionTruncated(1)));
    }
}
