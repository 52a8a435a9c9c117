//! What a message of FIX 4.4 may and must contain: the part of the standard's dictionary that this crate speaks (session
//! messages, single orders, reports). Other messages of the standard are held to the rules that hold for all.

use super::message::{FieldError, FieldSpan, Message, RejectReason};
use super::tags::*;
use super::value::{parse_bool, parse_int, parse_number, parse_time};

/// Fields of the standard header; 8, 9 and 35 first, in this order (FIX 4.4, volume 1).
const HEADER: [u32; 30] = [
    8, 9, 35, 49, 56, 115, 128, 90, 91, 34, 50, 142, 57, 143, 116, 144, 129, 145, 43, 97, 52, 122, 212, 213, 347, 369,
    627, 628, 629, 630,
];
/// Fields of the standard trailer.
const TRAILER: [u32; 3] = [93, 89, 10];
/// The last tag that FIX 4.4 defines.
const TAG_LAST: u32 = 956;
/// Tags of users' own (FIX 4.4, volume 1, "User Defined Fields").
const USER_TAGS: core::ops::RangeInclusive<u32> = 5_000..=9_999;
/// Fields that belong to session messages alone.
const SESSION_ONLY: [u32; 13] = [7, 16, 36, 45, 98, 108, 112, 123, 141, 371, 373, 383, 789];

/// What one message has of its own.
#[derive(Debug)]
struct Shape {
    msg_type: &'static [u8],
    required: &'static [u32],
    /// Further fields; `None`: any but those of session messages.
    optional: Option<&'static [u32]>,
}

const SHAPES: [Shape; 15] = [
    Shape { msg_type: b"0", required: &[], optional: Some(&[112]) },
    Shape { msg_type: b"1", required: &[112], optional: Some(&[]) },
    Shape { msg_type: b"2", required: &[7, 16], optional: Some(&[]) },
    Shape { msg_type: b"3", required: &[45], optional: Some(&[371, 372, 373, 58, 354, 355]) },
    Shape { msg_type: b"4", required: &[36], optional: Some(&[123]) },
    Shape { msg_type: b"5", required: &[], optional: Some(&[58, 354, 355]) },
    Shape {
        msg_type: b"A",
        required: &[98, 108],
        optional: Some(&[95, 96, 141, 789, 383, 384, 372, 385, 464, 553, 554]),
    },
    Shape { msg_type: b"j", required: &[372, 380], optional: Some(&[45, 379, 58, 354, 355]) },
    Shape { msg_type: b"D", required: &[11, 55, 54, 60, 40], optional: None },
    Shape { msg_type: b"F", required: &[41, 11, 55, 54, 60], optional: None },
    Shape { msg_type: b"G", required: &[41, 11, 55, 54, 60, 40], optional: None },
    Shape { msg_type: b"q", required: &[11, 530, 60], optional: None },
    Shape { msg_type: b"r", required: &[37, 530, 531], optional: None },
    Shape { msg_type: b"8", required: &[37, 17, 150, 39, 55, 54, 151, 14, 6], optional: None },
    Shape { msg_type: b"9", required: &[37, 11, 41, 39, 434], optional: None },
];

/// A repeating group.
#[derive(Debug)]
struct Group {
    /// The field that says how many entries there are.
    count: u32,
    /// The first field of each entry.
    first: u32,
    /// The others, in order. One that is itself the count of a group of this list has that group's entries behind it.
    others: &'static [u32],
}

/// The repeating groups that are checked in full (FIX 4.4, volumes 2 to 4).
const GROUPS: [Group; 16] = [
    Group { count: 384, first: 372, others: &[385] },
    Group { count: 386, first: 336, others: &[625] },
    Group { count: 453, first: 448, others: &[447, 452, 802] },
    Group { count: 802, first: 523, others: &[803] },
    Group { count: NO_ALLOCS, first: 79, others: &[661, 736, 467, 539, 80] },
    Group { count: 539, first: 524, others: &[525, 538, 804] },
    Group { count: 804, first: 545, others: &[805] },
    Group { count: 382, first: 375, others: &[337, 437, 438, 655] },
    Group { count: 136, first: 137, others: &[138, 139, 891] },
    Group { count: 454, first: 455, others: &[456] },
    Group { count: 627, first: 628, others: &[629, 630] },
    Group { count: 232, first: 233, others: &[234] },
    Group { count: 518, first: 519, others: &[520, 521] },
    Group { count: 534, first: 41, others: &[535, 536] },
    Group { count: 864, first: 865, others: &[866, 867, 868] },
    Group { count: 683, first: 688, others: &[689] },
];

/// NoAllocs: its entries are others in each message that is no order.
const NO_ALLOCS: u32 = 78;

/// SecurityType (167), all that FIX 4.4 has (volume 6).
const SECURITY_TYPES: &str = "EUSUPRA FAC FADN PEF SUPRA CORP CPP CB DUAL EUCORP XLINKD STRUCT YANK FOR CS PS BRADY EUSOV TBOND TINT TIPS \
    TCAL TPRN UST USTB TNOTE TBILL REPO FORWARD BUYSELL SECLOAN SECPLEDGE TERM RVLV RVLVTRM BRIDGE LOFC SWING DINP \
    DEFLTED WITHDRN REPLACD MATURED AMENDED RETIRED BA BN BOX CD CL CP DN EUCD EUCP LQN MTN ONITE PN PZFJ STN TD \
    XCN YCD ABS CMBS CMO IET MBS MIO MPO MPP MPT PFAND TBA AN COFO COFP GO MT RAN REV SPCLA SPCLO SPCLT TAN TAXA \
    TECP TRAN VRDN WAR MF MLEG NONE WLD FUT OPT";

/// Types of a field's value, as far as they can be wrong.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Number,
    Int,
    Decimal,
    Flag,
    Moment,
    Char,
    Among(&'static [u8]),
    Word(&'static str),
}

/// Fields of orders and reports that are read as they stand, without a type that could be wrong.
const TEXTS: [u32; 11] = [
    ACCOUNT,
    CL_ORD_ID,
    EXEC_ID,
    EXEC_REF_ID,
    ORDER_ID,
    ORIG_CL_ORD_ID,
    REF_MSG_TYPE,
    SECONDARY_EXEC_ID,
    SYMBOL,
    TEXT,
    BUSINESS_REJECT_REF_ID,
];

const ORD_STATUS_CODES: &[u8] = b"0123456789ABCDE";
const EXEC_TYPE_CODES: &[u8] = b"0123456789ABCDEFGHI";

const fn kind_of(tag: u32) -> Option<Kind> {
    Some(match tag {
        BODY_LENGTH
        | MSG_SEQ_NUM
        | BEGIN_SEQ_NO
        | END_SEQ_NO
        | NEW_SEQ_NO
        | REF_SEQ_NUM
        | HEART_BT_INT
        | NEXT_EXPECTED_MSG_SEQ_NUM
        | 95
        | 354
        | 383 => Kind::Number,
        REF_TAG_ID
        | SESSION_REJECT_REASON
        | BUSINESS_REJECT_REASON
        | ORD_REJ_REASON
        | CXL_REJ_REASON
        | EXEC_RESTATEMENT_REASON
        | LAST_LIQUIDITY_IND => Kind::Int,
        PRICE | STOP_PX | LAST_PX | AVG_PX | ORDER_QTY | LAST_QTY | CUM_QTY | LEAVES_QTY | MIN_QTY | MAX_FLOOR => {
            Kind::Decimal
        }
        POSS_DUP_FLAG | POSS_RESEND | GAP_FILL_FLAG | RESET_SEQ_NUM_FLAG | 464 => Kind::Flag,
        SENDING_TIME | ORIG_SENDING_TIME | TRANSACT_TIME | 126 | 168 => Kind::Moment,
        EXEC_INST | ORDER_CAPACITY => Kind::Char,
        ENCRYPT_METHOD => Kind::Among(b"0123456"),
        SIDE => Kind::Among(b"123456789ABCDEFG"),
        ORD_TYPE => Kind::Among(b"123456789DEGIJKLMP"),
        TIME_IN_FORCE => Kind::Among(b"01234567"),
        HANDL_INST => Kind::Among(b"123"),
        ORD_STATUS => Kind::Among(ORD_STATUS_CODES),
        EXEC_TYPE => Kind::Among(EXEC_TYPE_CODES),
        CXL_REJ_RESPONSE_TO => Kind::Among(b"12"),
        MASS_CANCEL_REQUEST_TYPE => Kind::Among(b"1234567"),
        SECURITY_TYPE => Kind::Word(SECURITY_TYPES),
        _ => return None,
    })
}

fn check_value(kind: Kind, value: &[u8]) -> Option<RejectReason> {
    let is_right = match kind {
        Kind::Number => parse_number(value).is_some(),
        Kind::Int => parse_int(value).is_some(),
        // Finer than our own prices is legal: an average often is.
        Kind::Decimal => is_decimal(value),
        Kind::Flag => parse_bool(value).is_some(),
        Kind::Moment => parse_time(value).is_some(),
        // ExecInst (18) holds several characters, separated by spaces.
        Kind::Char => value.split(|byte| *byte == b' ').all(|part| part.len() == 1),
        Kind::Among(codes) => match value {
            [code] => return (!codes.contains(code)).then_some(RejectReason::Value),
            _ => return Some(RejectReason::Value),
        },
        Kind::Word(words) => {
            let is_known = words.split(' ').any(|word| word.as_bytes() == value);
            return (!is_known).then_some(RejectReason::Value);
        }
    };
    (!is_right).then_some(RejectReason::Format)
}

/// FIX `float`: digits with at most one point, a minus sign, no exponent.
fn is_decimal(value: &[u8]) -> bool {
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    let is_digit_or_point = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    digits.iter().any(u8::is_ascii_digit)
        && digits.iter().all(is_digit_or_point)
        && digits.iter().filter(|byte| **byte == b'.').count() <= 1
}

/// Whether FIX 4.4 has a message of this type.
#[must_use]
pub const fn is_known_type(msg_type: &[u8]) -> bool {
    matches!(
        msg_type,
        [b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'H' | b'J'..=b'N' | b'P'..=b'T' | b'V'..=b'Z']
            | [b'A', b'A'..=b'Z']
            | [b'B', b'A'..=b'H']
    )
}

/// Whether a message belongs to the session layer.
#[must_use]
pub const fn is_session_type(msg_type: &[u8]) -> bool {
    matches!(msg_type, [b'0'..=b'5' | b'A'])
}

/// Holds a message against the dictionary. Tags of users' own (5000–9999) are taken wherever they stand, those of later
/// versions of FIX are [`RejectReason::InvalidTag`].
///
/// # Errors
/// The first [`FieldError`] in the order of the message; missing fields last.
pub fn check(message: &Message<'_>) -> Result<(), FieldError> {
    let msg_type = message.msg_type();
    if !is_known_type(msg_type) {
        return Err(message.error(MSG_TYPE, RejectReason::MsgType));
    }
    let shape = SHAPES.iter().find(|shape| shape.msg_type == msg_type);
    let fields = message.fields();
    let wrong = |field: FieldSpan, reason| Err(FieldError { offset: field.begin, tag: field.tag, reason });
    let mut seen = Seen::new();
    let (mut is_behind_header, mut is_behind_body) = (false, false);
    let mut at = 0_usize;
    while let Some(field) = fields.get(at).copied() {
        let (is_header, is_trailer) = (HEADER.contains(&field.tag), TRAILER.contains(&field.tag));
        let is_out_of_order = (is_header && is_behind_header) || (!is_trailer && is_behind_body);
        is_behind_header |= !is_header;
        is_behind_body |= is_trailer;
        check_tag(shape, field).map_err(|reason| FieldError { offset: field.begin, tag: field.tag, reason })?;
        if is_out_of_order {
            return wrong(field, RejectReason::Order);
        }
        if !seen.insert(field.tag) && is_single(shape, field.tag) {
            return wrong(field, RejectReason::Twice);
        }
        if let Some(reason) = kind_of(field.tag).and_then(|kind| check_value(kind, message.value_of(field))) {
            return wrong(field, reason);
        }
        at = at.saturating_add(1);
        let is_varying = field.tag == NO_ALLOCS && shape.is_none();
        if let Some(group) = group_of(field.tag).filter(|_| !is_varying) {
            at = check_group(message, (at, field), group)?;
        }
    }
    let required = shape.map_or(&[][..], |shape| shape.required);
    match required.iter().find(|tag| message.field(**tag).is_none()) {
        Some(tag) => Err(message.error(*tag, RejectReason::Missing)),
        None => check_condition(message, msg_type),
    }
}

fn check_tag(shape: Option<&Shape>, field: FieldSpan) -> Result<(), RejectReason> {
    let tag = field.tag;
    if HEADER.contains(&tag) || TRAILER.contains(&tag) || USER_TAGS.contains(&tag) {
        return Ok(());
    }
    if tag > TAG_LAST {
        return Err(RejectReason::InvalidTag);
    }
    let is_allowed = match shape {
        None | Some(Shape { optional: None, .. }) => {
            !SESSION_ONLY.contains(&tag) || shape.is_none_or(|shape| shape.required.contains(&tag))
        }
        Some(Shape { required, optional: Some(optional), .. }) => required.contains(&tag) || optional.contains(&tag),
    };
    if is_allowed { Ok(()) } else { Err(RejectReason::NotDefinedForType) }
}

/// Fields that one condition makes necessary.
fn check_condition(message: &Message<'_>, msg_type: &[u8]) -> Result<(), FieldError> {
    let missing = |tag| Err(message.error(tag, RejectReason::Missing));
    let is_order = matches!(msg_type, b"D" | b"G");
    let has = |tag| message.field(tag).is_some();
    match message.get(ORD_TYPE) {
        Some(b"2" | b"4") if is_order && !has(PRICE) => missing(PRICE),
        Some(b"3" | b"4") if is_order && !has(STOP_PX) => missing(STOP_PX),
        Some(_) | None => Ok(()),
    }
}

/// Whether a field stands once: those of the header and the trailer, any of a session message, and of an order or a report
/// what this crate reads. Others may belong to groups that are not checked here (legs, underlyings, market data).
fn is_single(shape: Option<&Shape>, tag: u32) -> bool {
    let is_read = match shape {
        None => false,
        Some(Shape { optional: Some(_), .. }) => true,
        Some(Shape { optional: None, required, .. }) => {
            required.contains(&tag) || kind_of(tag).is_some() || TEXTS.contains(&tag)
        }
    };
    is_read || HEADER.contains(&tag) || TRAILER.contains(&tag)
}

/// The first field of users' own (5000–9999) as an error, for sessions without an agreement about them.
#[must_use]
pub fn user_field(message: &Message<'_>) -> Option<FieldError> {
    let field = message.fields().iter().find(|field| USER_TAGS.contains(&field.tag))?;
    Some(FieldError { offset: field.begin, tag: field.tag, reason: RejectReason::InvalidTag })
}

fn group_of(count: u32) -> Option<&'static Group> {
    GROUPS.iter().find(|group| group.count == count)
}

/// Checks the entries of a group, whose count is a field before field number `at`; where the group ends. A group within an
/// entry is checked the same way: the list has no group within itself, so it ends.
fn check_group(
    message: &Message<'_>,
    (mut at, count_field): (usize, FieldSpan),
    group: &Group,
) -> Result<usize, FieldError> {
    let fail = |field: FieldSpan, reason| FieldError { offset: field.begin, tag: field.tag, reason };
    let said = parse_number(message.value_of(count_field)).ok_or_else(|| fail(count_field, RejectReason::Format))?;
    let (mut count, mut rank) = (0_u64, 0_usize);
    while let Some(field) = message.fields().get(at).copied() {
        if field.tag == group.first {
            count = count.saturating_add(1);
            rank = 0;
        } else if let Some(place) = group.others.iter().position(|tag| *tag == field.tag) {
            if count == 0 || place < rank {
                return Err(fail(field, RejectReason::GroupOrder));
            }
            rank = place.saturating_add(1);
        } else {
            break;
        }
        if let Some(reason) = kind_of(field.tag).and_then(|kind| check_value(kind, message.value_of(field))) {
            return Err(fail(field, reason));
        }
        at = at.saturating_add(1);
        if let Some(inner) = group_of(field.tag) {
            at = check_group(message, (at, field), inner)?;
        }
    }
    if count == said { Ok(at) } else { Err(fail(count_field, RejectReason::GroupCount)) }
}

/// Tags that were seen; those beyond the standard's are few and kept in a list.
struct Seen {
    low: [u64; 15],
    high: Vec<u32>,
}

impl Seen {
    const fn new() -> Self {
        Self { low: [0; 15], high: Vec::new() }
    }

    fn insert(&mut self, tag: u32) -> bool {
        let (word, bit) = (tag.checked_div(64).unwrap_or(0), tag.checked_rem(64).unwrap_or(0));
        match usize::try_from(word).ok().and_then(|word| self.low.get_mut(word)) {
            Some(word) => {
                let mask = 1_u64.checked_shl(bit).unwrap_or(0);
                let is_new = *word & mask == 0;
                *word |= mask;
                is_new
            }
            None if self.high.contains(&tag) => false,
            None => {
                self.high.push(tag);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::parse;
    use crate::tests::wire;

    fn verdict(text: &str) -> Result<(), (u32, RejectReason)> {
        let bytes = wire(text);
        let mut fields = Vec::new();
        let (message, error) = parse(&bytes, &mut fields);
        assert_eq!(error, None);
        check(&message).map_err(|error| (error.tag, error.reason))
    }

    const ORDER: &str = "35=D|49=A|56=B|34=2|52=20260105-14:30:00|11=1|55=X|54=1|60=20260105-14:30:00|38=1|40=2|44=1|";

    #[test]
    fn an_order_passes_and_each_thing_wrong_is_named() {
        assert_eq!(verdict(ORDER), Ok(()));
        let cases = [
            ("54=1|", "", (54, RejectReason::Missing)),
            ("54=1|", "54=H|", (54, RejectReason::Value)),
            ("44=1|", "44=+1|", (44, RejectReason::Format)),
            ("44=1|", "", (44, RejectReason::Missing)),
            ("40=2|44=1|", "40=3|", (99, RejectReason::Missing)),
            ("11=1|", "11=1|999=1|", (999, RejectReason::InvalidTag)),
            ("11=1|", "11=1|112=1|", (112, RejectReason::NotDefinedForType)),
            ("11=1|", "11=1|11=2|", (11, RejectReason::Twice)),
            ("38=1|", "38=1|50=DESK|", (50, RejectReason::Order)),
            ("35=D|", "35=O|", (35, RejectReason::MsgType)),
            ("38=1|", "453=2|448=A|447=D|452=1|38=1|", (453, RejectReason::GroupCount)),
            ("38=1|", "453=1|447=D|448=A|452=1|38=1|", (447, RejectReason::GroupOrder)),
            ("38=1|", "453=1|448=A|452=1|447=D|38=1|", (447, RejectReason::GroupOrder)),
            ("60=20260105-14:30:00|", "60=20260105|", (60, RejectReason::Format)),
            ("38=1|", "453=1|448=A|447=D|452=1|802=2|523=X|803=1|38=1|", (802, RejectReason::GroupCount)),
            ("38=1|", "453=1|448=A|447=D|452=1|802=1|803=1|523=X|38=1|", (803, RejectReason::GroupOrder)),
            ("38=1|", "453=x|38=1|", (453, RejectReason::Format)),
            ("38=1|", "38=1|167=ETF|", (167, RejectReason::Value)),
        ];
        for (old, new, wanted) in cases {
            assert_eq!(verdict(&ORDER.replacen(old, new, 1)), Err(wanted), "{new}");
        }
        assert_eq!(
            verdict(&ORDER.replacen("38=1|", "453=2|448=A|447=D|452=1|448=B|447=D|452=3|38=1|6001=x|", 1)),
            Ok(())
        );
        assert_eq!(verdict(&ORDER.replacen("38=1|", "453=0|38=1|", 1)), Ok(()));
    }
    /// Groups of the standard that a report or another message may have, within others and beside those that are checked.
    #[test]
    fn what_stands_in_groups_may_stand_again() {
        let parties = "453=2|448=A|447=D|452=1|802=2|523=X|803=1|523=Y|803=2|448=B|447=D|452=3|802=1|523=Z|803=1|";
        assert_eq!(verdict(&ORDER.replacen("38=1|", &format!("{parties}38=1|"), 1)), Ok(()));
        let allocations = "78=2|79=A|539=1|524=N|525=D|538=4|804=1|545=S|805=2|80=1|79=B|80=2|";
        assert_eq!(verdict(&ORDER.replacen("38=1|", &format!("{allocations}38=1|"), 1)), Ok(()));
        let report = "35=8|49=A|56=B|34=2|52=20260105-14:30:00|37=1|17=2|150=F|39=1|55=X|54=1|151=1|14=1|6=1|";
        let legs = "555=2|600=P|624=1|566=1.5|600=Q|624=2|566=2.5|711=2|311=U|311=V|";
        assert_eq!(verdict(&format!("{report}{legs}")), Ok(()));
        assert_eq!(verdict(&format!("{report}{legs}17=3|")), Err((17, RejectReason::Twice)));
        let allocation = "35=J|49=A|56=B|34=2|52=20260105-14:30:00|78=2|79=A|366=1|80=1|79=B|366=1|80=2|";
        assert_eq!(verdict(allocation), Ok(()));
        let quotes = "35=W|49=A|56=B|34=2|52=20260105-14:30:00|55=X|268=2|269=0|270=1|271=5|269=1|270=2|271=6|";
        assert_eq!(verdict(quotes), Ok(()));
        assert_eq!(verdict(&quotes.replacen("35=W|", "35=W|49=A|", 1)), Err((49, RejectReason::Twice)));
    }
}
