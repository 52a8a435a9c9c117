//! Messages on their way out: a body of fields, and the frame around it.

use core::fmt::{Display, Write as _};

use peregrine_types::{Decimal, EpochNanos, Price, Qty};

use super::frame::{BEGIN, SOH, check_sum};
use super::message::Message;
use super::tags;
use super::value::format_time;

/// Longest routing value that an answer repeats: names of firms and desks are short.
const ROUTE_LEN_MAX: usize = 64;

/// The fields behind the header of a message that is being written. Values are written as they are given: a separator in
/// a text becomes a space, because nothing may end a field but its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    bytes: Vec<u8>,
}

/// Writes text as bytes without separators.
struct Clean<'a>(&'a mut Vec<u8>);

impl core::fmt::Write for Clean<'_> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.0.extend(text.bytes().map(|byte| if byte == SOH { b' ' } else { byte }));
        Ok(())
    }
}

impl Body {
    /// No fields.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    /// The fields so far.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Forgets every field and keeps the room.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Appends fields that were written before.
    pub(crate) fn append_raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends a field.
    pub fn field(&mut self, tag: u32, value: impl Display) -> &mut Self {
        let written = write!(Clean(&mut self.bytes), "{tag}={value}");
        debug_assert!(written.is_ok(), "a vector takes every text");
        self.bytes.push(SOH);
        self
    }

    /// Begins the answer to a message that came by way of somebody, or was meant for somebody behind us: OnBehalfOf… (115,
    /// 116, 144) becomes DeliverTo… (128, 129, 145), and the other way round (FIX 4.4, volume 2, "Third Party Message
    /// Routing"). The fields belong to the header: this comes before any other. Values without or with more than 64 bytes
    /// are left out.
    pub fn route_back(&mut self, message: &Message<'_>) -> &mut Self {
        for (from, to) in [
            (tags::ON_BEHALF_OF_COMP_ID, tags::DELIVER_TO_COMP_ID),
            (tags::ON_BEHALF_OF_SUB_ID, tags::DELIVER_TO_SUB_ID),
            (tags::ON_BEHALF_OF_LOCATION_ID, tags::DELIVER_TO_LOCATION_ID),
            (tags::DELIVER_TO_COMP_ID, tags::ON_BEHALF_OF_COMP_ID),
            (tags::DELIVER_TO_SUB_ID, tags::ON_BEHALF_OF_SUB_ID),
            (tags::DELIVER_TO_LOCATION_ID, tags::ON_BEHALF_OF_LOCATION_ID),
        ] {
            let value = message.text(from).ok().flatten();
            self.option(to, value.filter(|value| (1..=ROUTE_LEN_MAX).contains(&value.len())));
        }
        self
    }

    /// Appends a field if there is a value.
    pub fn option(&mut self, tag: u32, value: Option<impl Display>) -> &mut Self {
        if let Some(value) = value {
            self.field(tag, value);
        }
        self
    }

    /// Appends a field of one character.
    pub fn char(&mut self, tag: u32, value: u8) -> &mut Self {
        self.field(tag, char::from(value))
    }

    /// Appends a price, exact.
    pub fn price(&mut self, tag: u32, price: Price) -> &mut Self {
        self.field(tag, Decimal::new(i128::from(price.0)))
    }

    /// Appends a quantity.
    pub fn qty(&mut self, tag: u32, qty: Qty) -> &mut Self {
        self.field(tag, qty.0)
    }

    /// Appends a moment.
    pub fn time(&mut self, tag: u32, time: EpochNanos) -> &mut Self {
        self.field(tag, format_time(time))
    }

    /// Appends `Y`, or nothing: absent is `N`.
    pub fn flag(&mut self, tag: u32, is_set: bool) -> &mut Self {
        self.option(tag, is_set.then_some('Y'))
    }
}

/// What the header of a message says beside its type.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    /// SenderCompID (49).
    pub sender: &'a str,
    /// TargetCompID (56).
    pub target: &'a str,
    /// MsgSeqNum (34).
    pub number: u64,
    /// SendingTime (52).
    pub time: EpochNanos,
    /// OrigSendingTime (122), with which PossDupFlag (43) is `Y`.
    pub original: Option<EpochNanos>,
    /// PossResend (97).
    pub is_poss_resend: bool,
}

/// Appends a whole message to `out`: header, the fields of a body, trailer.
pub fn encode(out: &mut Vec<u8>, header: &Header<'_>, msg_type: &str, body: &[u8]) {
    let mut head = Body::new();
    head.field(tags::MSG_TYPE, msg_type)
        .field(tags::SENDER_COMP_ID, header.sender)
        .field(tags::TARGET_COMP_ID, header.target)
        .field(tags::MSG_SEQ_NUM, header.number)
        .flag(tags::POSS_DUP_FLAG, header.original.is_some())
        .flag(tags::POSS_RESEND, header.is_poss_resend)
        .time(tags::SENDING_TIME, header.time);
    if let Some(original) = header.original {
        head.time(tags::ORIG_SENDING_TIME, original);
    }
    let begin = out.len();
    out.extend_from_slice(BEGIN);
    let body_len = head.bytes().len().saturating_add(body.len());
    let written = write!(Clean(out), "{}={body_len}", tags::BODY_LENGTH);
    out.push(SOH);
    out.extend_from_slice(head.bytes());
    out.extend_from_slice(body);
    let sum = check_sum(out.get(begin..).unwrap_or_default());
    let summed = write!(Clean(out), "{}={sum:03}", tags::CHECK_SUM);
    debug_assert!(written.is_ok() && summed.is_ok(), "a vector takes every text");
    out.push(SOH);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::parse_time;

    /// Messages of the sheet, whose lengths and sums were computed elsewhere.
    #[test]
    fn the_known_vectors_come_out_to_the_byte() {
        let at = |text: &str| parse_time(text.as_bytes()).unwrap();
        let header = |number, time| Header {
            sender: "CLIENT",
            target: "VENUE",
            number,
            time: at(time),
            original: None,
            is_poss_resend: false,
        };
        let check = |header: Header<'_>, msg_type: &str, body: &Body, wanted: &str| {
            let mut out = Vec::new();
            encode(&mut out, &header, msg_type, body.bytes());
            assert_eq!(String::from_utf8(out).unwrap().replace('\x01', "|"), wanted);
        };
        let mut logon = Body::new();
        logon.field(98, 0).field(108, 30).flag(141, true);
        check(
            header(1, "20260105-14:30:00.000"),
            "A",
            &logon,
            "8=FIX.4.4|9=72|35=A|49=CLIENT|56=VENUE|34=1|52=20260105-14:30:00.000|98=0|108=30|141=Y|10=086|",
        );
        let mut order = Body::new();
        order.field(11, "ORD0001").field(55, "AAPL").char(54, b'1').time(60, at("20260105-14:30:01.250"));
        order.qty(38, Qty(100)).char(40, b'2').price(44, Price(250_010_000_000)).char(59, b'0');
        check(
            header(2, "20260105-14:30:01.250"),
            "D",
            &order,
            "8=FIX.4.4|9=130|35=D|49=CLIENT|56=VENUE|34=2|52=20260105-14:30:01.250|11=ORD0001|55=AAPL|54=1|\
             60=20260105-14:30:01.250|38=100|40=2|44=250.01|59=0|10=164|",
        );
        check(
            header(3, "20260105-14:30:31.250"),
            "0",
            &Body::new(),
            "8=FIX.4.4|9=54|35=0|49=CLIENT|56=VENUE|34=3|52=20260105-14:30:31.250|10=012|",
        );
        let mut fill = Body::new();
        fill.flag(123, true).field(36, 9);
        let time = at("20260105-14:30:40.010");
        let header =
            Header { sender: "VENUE", target: "CLIENT", number: 5, time, original: Some(time), is_poss_resend: false };
        check(
            header,
            "4",
            &fill,
            "8=FIX.4.4|9=96|35=4|49=VENUE|56=CLIENT|34=5|43=Y|52=20260105-14:30:40.010|122=20260105-14:30:40.010|\
             123=Y|36=9|10=012|",
        );
    }

    #[test]
    fn a_text_cannot_end_its_field() {
        assert_eq!(Body::new().field(58, "a\x0110=000").bytes(), b"58=a 10=000\x01");
    }
}
