//! One whole message as a view over its bytes: tags and where their values lie.

use super::frame::SOH;
use super::tags;
use super::value::{parse_bool, parse_int, parse_number, parse_price, parse_qty, parse_time};
use peregrine_types::{EpochNanos, Price, Qty};

/// Fields that a message can have; one with more is refused.
pub const FIELD_COUNT_MAX: usize = 512;

/// Length fields, each with the data field that must follow it and whose value may hold any byte (FIX 4.4, data type
/// `data`).
const DATA_FIELDS: [(u32, u32); 16] = [
    (93, 89),
    (90, 91),
    (95, 96),
    (212, 213),
    (348, 349),
    (350, 351),
    (352, 353),
    (354, 355),
    (356, 357),
    (358, 359),
    (360, 361),
    (362, 363),
    (364, 365),
    (445, 446),
    (618, 619),
    (621, 622),
];

/// SessionRejectReason (373) of FIX 4.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
#[repr(u8)]
pub enum RejectReason {
    /// The tag is no number, or none that FIX 4.4 has (test cases 14.a of volume 2 ask for this reason, not for 3).
    #[error("invalid tag number")]
    InvalidTag = 0,
    /// A field that the message must have is not there.
    #[error("required tag missing")]
    Missing = 1,
    /// The message's type has no such field.
    #[error("tag not defined for this message type")]
    NotDefinedForType = 2,
    /// The field has no value.
    #[error("tag specified without a value")]
    NoValue = 4,
    /// The value is not one of those that the field can have.
    #[error("value is incorrect (out of range) for this tag")]
    Value = 5,
    /// The value is not of the field's type.
    #[error("incorrect data format for value")]
    Format = 6,
    /// Sender or target is another.
    #[error("CompID problem")]
    CompId = 9,
    /// SendingTime is too far from our clock.
    #[error("SendingTime accuracy problem")]
    SendingTime = 10,
    /// FIX 4.4 has no such message.
    #[error("invalid MsgType")]
    MsgType = 11,
    /// The field stands twice.
    #[error("tag appears more than once")]
    Twice = 13,
    /// Header, body and trailer are mixed.
    #[error("tag specified out of required order")]
    Order = 14,
    /// An entry of a group does not begin with the group's first field, or its fields are out of order.
    #[error("repeating group fields out of order")]
    GroupOrder = 15,
    /// A group has another number of entries than it says.
    #[error("incorrect NumInGroup count for repeating group")]
    GroupCount = 16,
    /// Anything else.
    #[error("other")]
    Other = 99,
}

impl RejectReason {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }
}

/// Why a message with a whole frame cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tag {tag} at byte {offset} of the message: {reason}")]
pub struct FieldError {
    /// Where the field, or the place where it should be, begins, in bytes from the begin of the message.
    pub offset: usize,
    /// The tag; 0 when it is no number.
    pub tag: u32,
    /// What is wrong.
    pub reason: RejectReason,
}

/// Where a field lies in its message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FieldSpan {
    /// The tag.
    pub tag: u32,
    /// Where `tag=` begins.
    pub begin: usize,
    /// Where the value begins.
    pub value: usize,
    /// Where the value ends.
    pub end: usize,
}

/// A message in place.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    bytes: &'a [u8],
    fields: &'a [FieldSpan],
}

/// Takes a frame apart into `fields`, which are replaced: the message with every field that could be read, and the first
/// thing that is wrong with one.
pub fn parse<'a>(frame: &'a [u8], fields: &'a mut Vec<FieldSpan>) -> (Message<'a>, Option<FieldError>) {
    let error = scan(frame, fields);
    (Message { bytes: frame, fields }, error)
}

fn scan(frame: &[u8], fields: &mut Vec<FieldSpan>) -> Option<FieldError> {
    fields.clear();
    let (mut at, mut error) = (0_usize, None);
    let mut data_len: Option<(u32, usize)> = None;
    while at < frame.len() {
        let rest = frame.get(at..).unwrap_or_default();
        let equals = rest.iter().position(|byte| *byte == b'=' || *byte == SOH).unwrap_or(rest.len());
        let has_equals = rest.get(equals) == Some(&b'=');
        let tag = parse_number(rest.get(..equals).unwrap_or_default()).and_then(|tag| u32::try_from(tag).ok());
        let tag = tag.filter(|tag| *tag > 0 && has_equals && rest.first() != Some(&b'0'));
        let value = at.saturating_add(if has_equals { equals.saturating_add(1) } else { equals });
        let is_data = data_len.zip(tag).filter(|((wanted, _), tag)| wanted == tag).map(|((_, len), _)| len);
        let end = is_data.map(|len| value.saturating_add(len)).filter(|end| frame.get(*end) == Some(&SOH));
        let end = end.unwrap_or_else(|| {
            let tail = frame.get(value..).unwrap_or_default();
            value.saturating_add(tail.iter().position(|byte| *byte == SOH).unwrap_or(tail.len()))
        });
        let text = frame.get(value..end).unwrap_or_default();
        let wrong = |reason| Some(FieldError { offset: at, tag: tag.unwrap_or(0), reason });
        match tag {
            None => error = error.or(wrong(RejectReason::InvalidTag)),
            Some(tag) => {
                if fields.len() >= FIELD_COUNT_MAX {
                    return error.or(wrong(RejectReason::Other));
                }
                if end == value {
                    error = error.or(wrong(RejectReason::NoValue));
                }
                fields.push(FieldSpan { tag, begin: at, value, end });
                let follower = DATA_FIELDS.iter().find(|(length, _)| *length == tag).map(|(_, data)| *data);
                data_len = follower.zip(parse_number(text).and_then(|len| usize::try_from(len).ok()));
            }
        }
        at = end.saturating_add(1);
    }
    error
}

impl<'a> Message<'a> {
    /// All bytes.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Every field, in the order of the message.
    #[must_use]
    pub const fn fields(&self) -> &'a [FieldSpan] {
        self.fields
    }

    /// The value of a field.
    #[must_use]
    pub fn value_of(&self, field: FieldSpan) -> &'a [u8] {
        self.bytes.get(field.value..field.end).unwrap_or_default()
    }

    /// The first field with a tag.
    #[must_use]
    pub fn field(&self, tag: u32) -> Option<FieldSpan> {
        self.fields.iter().copied().find(|field| field.tag == tag)
    }

    /// The value of the first field with a tag.
    #[must_use]
    pub fn get(&self, tag: u32) -> Option<&'a [u8]> {
        self.field(tag).map(|field| self.value_of(field))
    }

    /// MsgType (35); empty when there is none.
    #[must_use]
    pub fn msg_type(&self) -> &'a [u8] {
        self.get(tags::MSG_TYPE).unwrap_or_default()
    }

    /// An error about a field: where it stands, or at the end of the message when it is not there.
    #[must_use]
    pub fn error(&self, tag: u32, reason: RejectReason) -> FieldError {
        let offset = self.field(tag).map_or(self.bytes.len(), |field| field.begin);
        FieldError { offset, tag, reason }
    }

    fn read<T>(&self, tag: u32, read: impl FnOnce(&'a [u8]) -> Option<T>) -> Result<Option<T>, FieldError> {
        self.get(tag).map(|value| read(value).ok_or_else(|| self.error(tag, RejectReason::Format))).transpose()
    }

    /// What a field must have.
    ///
    /// # Errors
    /// [`RejectReason::Missing`] when it is `None`.
    pub fn required<T>(&self, tag: u32, value: Option<T>) -> Result<T, FieldError> {
        value.ok_or_else(|| self.error(tag, RejectReason::Missing))
    }

    /// A whole number without sign.
    ///
    /// # Errors
    /// [`RejectReason::Format`] when it is none.
    pub fn number(&self, tag: u32) -> Result<Option<u64>, FieldError> {
        self.read(tag, parse_number)
    }

    /// A whole number.
    ///
    /// # Errors
    /// [`RejectReason::Format`] when it is none.
    pub fn int(&self, tag: u32) -> Result<Option<i64>, FieldError> {
        self.read(tag, parse_int)
    }

    /// A price.
    ///
    /// # Errors
    /// [`RejectReason::Format`] when it is none.
    pub fn price(&self, tag: u32) -> Result<Option<Price>, FieldError> {
        self.read(tag, parse_price)
    }

    /// A quantity of whole shares.
    ///
    /// # Errors
    /// [`RejectReason::Format`] when it is none.
    pub fn qty(&self, tag: u32) -> Result<Option<Qty>, FieldError> {
        self.read(tag, parse_qty)
    }

    /// A moment.
    ///
    /// # Errors
    /// [`RejectReason::Format`] when it is none.
    pub fn time(&self, tag: u32) -> Result<Option<EpochNanos>, FieldError> {
        self.read(tag, parse_time)
    }

    /// `Y` or `N`; absent is `N`.
    ///
    /// # Errors
    /// [`RejectReason::Format`] for another value.
    pub fn flag(&self, tag: u32) -> Result<bool, FieldError> {
        Ok(self.read(tag, parse_bool)?.unwrap_or(false))
    }

    /// A text (ASCII, or UTF-8 as a superset).
    ///
    /// # Errors
    /// [`RejectReason::Format`] when it is none.
    pub fn text(&self, tag: u32) -> Result<Option<&'a str>, FieldError> {
        self.read(tag, |value| core::str::from_utf8(value).ok())
    }

    /// One character.
    ///
    /// # Errors
    /// [`RejectReason::Format`] for none or several.
    pub fn char(&self, tag: u32) -> Result<Option<u8>, FieldError> {
        self.read(tag, |value| match value {
            [char] => Some(*char),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::wire;

    #[test]
    fn a_field_is_found_and_an_error_says_where() {
        let bytes = wire("35=D|49=A|56=B|34=x|44=250.01|96|=|58=|043=Y|0=1|44=1|");
        let mut fields = Vec::new();
        let (message, error) = parse(&bytes, &mut fields);
        assert_eq!(message.msg_type(), b"D");
        assert_eq!(message.price(tags::PRICE), Ok(Some(Price(250_010_000_000))));
        let at = bytes.windows(4).position(|part| part == b"34=x").unwrap();
        assert_eq!(
            message.number(tags::MSG_SEQ_NUM),
            Err(FieldError { offset: at, tag: 34, reason: RejectReason::Format })
        );
        let at = bytes.windows(3).position(|part| part == b"96\x01").unwrap();
        assert_eq!(error, Some(FieldError { offset: at, tag: 0, reason: RejectReason::InvalidTag }));
        assert_eq!(message.get(tags::TEXT), Some(&b""[..]));
        assert_eq!(message.get(tags::POSS_DUP_FLAG), None, "a tag has no leading zero");
    }

    #[test]
    fn a_data_field_may_hold_separators() {
        let bytes = wire("35=A|95=7|96=a|b=c|d|98=0|");
        let mut fields = Vec::new();
        let (message, error) = parse(&bytes, &mut fields);
        assert_eq!((error, message.get(96), message.get(98)), (None, Some(&b"a\x01b=c\x01d"[..]), Some(&b"0"[..])));
        // FIX 4.4 has more of them than 4.2 and 4.3: the legs' texts.
        let bytes = wire("35=8|618=5|619=a|b=c|621=3|622=||||555=1|");
        let (message, error) = parse(&bytes, &mut fields);
        assert_eq!((error, message.get(619)), (None, Some(&b"a\x01b=c"[..])));
        assert_eq!((message.get(622), message.get(555)), (Some(&b"\x01\x01\x01"[..]), Some(&b"1"[..])));
        let bytes = wire("35=A|95=700|96=ab|98=0|");
        let (message, error) = parse(&bytes, &mut fields);
        assert_eq!((error, message.get(96), message.get(98)), (None, Some(&b"ab"[..]), Some(&b"0"[..])));
    }
}
