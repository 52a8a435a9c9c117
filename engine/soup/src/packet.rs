//! The packets of SoupBinTCP as views over bytes: the same structs read in place and are built. All binary numbers are
//! big-endian; text is ASCII. Session and sequence number are padded with spaces on the left, user and password on the
//! right.

use zerocopy::byteorder::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of the length in front of every packet; it does not count itself.
pub const LENGTH_LEN: usize = 2;
/// Bytes in front of a payload: length and type.
pub const HEADER_LEN: usize = 3;
/// The longest payload that a packet can carry: the length counts the type byte and has 16 bits.
pub const PAYLOAD_LEN_MAX: usize = 65_534;
/// The longest packet, its length included.
pub const PACKET_LEN_MAX: usize = HEADER_LEN + PAYLOAD_LEN_MAX;

/// Why bytes are no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("SoupBinTCP packet `{}` is malformed at byte {offset}: {kind}", char::from(*.packet_type))]
pub struct PacketError {
    /// The type byte, 0 when there was none.
    pub packet_type: u8,
    /// Where in the packet the trouble lies, in bytes from its length field.
    pub offset: usize,
    /// What is wrong.
    pub kind: PacketErrorKind,
}

/// What is wrong with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketErrorKind {
    /// Shorter than length and type.
    #[error("shorter than length and type")]
    Truncated,
    /// The length field does not say how long the packet is.
    #[error("the length field says {announced}, {actual} bytes follow it")]
    LengthMismatch {
        /// What the length field says.
        announced: usize,
        /// How many bytes follow the length field.
        actual: usize,
    },
    /// A packet of this type has another length.
    #[error("{actual} bytes long instead of {expected}")]
    WrongLength {
        /// The length that the type fixes.
        expected: usize,
        /// The length found.
        actual: usize,
    },
    /// A type that no version knows.
    #[error("no version knows this type")]
    UnknownType,
    /// A number in text holds something else than digits and padding, or does not fit 64 bits.
    #[error("not a number")]
    NotANumber,
    /// A code that the specification does not list.
    #[error("illegal code 0x{0:02x}")]
    IllegalCode(u8),
}

macro_rules! packet_types {
    ($($name:ident = $code:literal, $text:literal;)*) => {
        /// The type of a packet.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum PacketType {
            $(#[doc = concat!("`", stringify!($code), "`: ", $text, ".")] $name = $code,)*
        }

        impl PacketType {
            /// Every type.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The type of a type byte, `None` where no version has one.
            #[must_use]
            pub const fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// The type byte.
            #[must_use]
            pub const fn code(self) -> u8 {
                self as u8
            }
        }
    };
}

packet_types! {
    Debug = b'+', "free text in either direction, to be ignored";
    LoginAccepted = b'A', "server: session and number of the next sequenced message";
    LoginRejected = b'J', "server: no, and why; then it closes";
    SequencedData = b'S', "server: one message of the numbered stream";
    UnsequencedData = b'U', "either direction: one message without a number (server only since 4.00)";
    ServerHeartbeat = b'H', "server: still here";
    EndOfSession = b'Z', "server: nothing more comes in this session";
    LoginRequest = b'L', "client: who, which session, from which number";
    ClientHeartbeat = b'R', "client: still here";
    LogoutRequest = b'O', "client: goes";
}

/// The name of a session: ten characters, padded with spaces on the **left**. Compare with [`SessionId::is_same`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct SessionId(pub [u8; 10]);

impl SessionId {
    /// All spaces: whichever session is running.
    pub const CURRENT: Self = Self([b' '; 10]);

    /// The session written as `text`, or `None` when it is longer than ten characters or not printable ASCII.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        left_padded(text).map(Self)
    }

    /// Whether both name the same session, wherever their padding is.
    #[must_use]
    pub fn is_same(self, other: Self) -> bool {
        self.0.trim_ascii() == other.0.trim_ascii()
    }

    /// Whether it names no session in particular.
    #[must_use]
    pub fn is_current(self) -> bool {
        self.0.trim_ascii().is_empty()
    }
}

/// A decimal number in `N` characters, padded with spaces on the left. Padding on the right is read too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct AsciiNumber<const N: usize>(pub [u8; N]);

impl<const N: usize> AsciiNumber<N> {
    /// The field holding `value`, or `None` when it has more than `N` digits.
    #[must_use]
    pub fn new(value: u64) -> Option<Self> {
        let mut field = [b' '; N];
        let mut rest = value;
        for place in field.iter_mut().rev() {
            *place = b'0'.saturating_add(u8::try_from(rest % 10).unwrap_or(0));
            rest /= 10;
            if rest == 0 {
                return Some(Self(field));
            }
        }
        None
    }

    /// The number, or `None` for a blank field, one with other characters, or one above 64 bits.
    #[must_use]
    pub fn get(&self) -> Option<u64> {
        let digits = self.0.trim_ascii();
        if digits.is_empty() {
            return None;
        }
        digits.iter().try_fold(0_u64, |sum, digit| {
            let value = char::from(*digit).to_digit(10)?;
            sum.checked_mul(10)?.checked_add(u64::from(value))
        })
    }
}

/// A user name: six characters, padded on the right, without regard to case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct Username(pub [u8; 6]);

/// A password: ten characters, padded on the right, without regard to case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct Password(pub [u8; 10]);

impl core::fmt::Debug for Password {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Password(…)")
    }
}

impl Username {
    /// The user written as `text`, or `None` when it is longer than six characters or not printable ASCII.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        right_padded(text).map(Self)
    }

    /// Whether both name the same user.
    #[must_use]
    pub fn is_same(self, other: Self) -> bool {
        self.0.trim_ascii().eq_ignore_ascii_case(other.0.trim_ascii())
    }
}

impl Password {
    /// The password written as `text`, or `None` when it is longer than ten characters or not printable ASCII.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        right_padded(text).map(Self)
    }

    /// Whether both are the same password.
    #[must_use]
    pub fn is_same(self, other: Self) -> bool {
        self.0.trim_ascii().eq_ignore_ascii_case(other.0.trim_ascii())
    }
}

/// Why a server refuses a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum LoginRejectReason {
    /// `A`: user or password is wrong.
    #[error("user or password is wrong")]
    NotAuthorized,
    /// `S`: the session asked for is not available.
    #[error("the session asked for is not available")]
    SessionNotAvailable,
}

impl LoginRejectReason {
    /// The reason of a code, `None` where the specification has none.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            b'A' => Some(Self::NotAuthorized),
            b'S' => Some(Self::SessionNotAvailable),
            _ => None,
        }
    }

    /// The code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::NotAuthorized => b'A',
            Self::SessionNotAvailable => b'S',
        }
    }
}

macro_rules! packets {
    ($(
        $(#[$doc:meta])*
        $name:ident = $kind:ident, $len:literal { $($offset:literal $field_len:literal $field:ident: $type:ty, $text:literal;)* }
    )*) => {
        $(
            $(#[$doc])*
            ///
            /// | offset | length | field | meaning |
            /// |---|---|---|---|
            /// | 0 | 2 | `packet_length` | bytes that follow this field |
            /// | 2 | 1 | `packet_type` | type |
            $(#[doc = concat!("| ", $offset, " | ", $field_len, " | `", stringify!($field), "` | ", $text, " |")])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
            #[repr(C)]
            pub struct $name {
                /// Bytes that follow this field.
                pub packet_length: U16,
                /// Type.
                pub packet_type: u8,
                $(#[doc = concat!($text, ".")] pub $field: $type,)*
            }

            const _: () = {
                assert!(size_of::<$name>() == $len);
                $(assert!(core::mem::offset_of!($name, $field) == $offset && size_of::<$type>() == $field_len);)*
            };

            impl $name {
                /// The type of the packet.
                pub const TYPE: PacketType = PacketType::$kind;
                /// The length of the packet in bytes, its length field included.
                pub const LEN: usize = $len;
                /// Name, offset and length of every field.
                pub const FIELDS: &[(&str, usize, usize)] = &[
                    ("packet_length", 0, 2),
                    ("packet_type", 2, 1),
                    $((stringify!($field), $offset, $field_len),)*
                ];

                /// The packet with these fields.
                #[must_use]
                pub const fn new($($field: $type),*) -> Self {
                    Self { packet_length: U16::new($len - 2), packet_type: Self::TYPE.code(), $($field),* }
                }
            }
        )*
    };
}

packets! {
    /// Login accepted (`A`, 33 bytes).
    LoginAccepted = LoginAccepted, 33 {
        3 10 session: SessionId, "the session that runs";
        13 20 sequence_number: AsciiNumber<20>, "number of the next sequenced message";
    }
    /// Login rejected (`J`, 4 bytes); the server closes after it.
    LoginRejected = LoginRejected, 4 {
        3 1 reason: u8, "A not authorised, S session not available";
    }
    /// Login request (`L`, 49 bytes), of versions 3.00 and 4.00.
    LoginRequest = LoginRequest, 49 {
        3 6 username: Username, "user";
        9 10 password: Password, "password";
        19 10 requested_session: SessionId, "session wanted, blank for the current one";
        29 20 requested_sequence: AsciiNumber<20>, "first number wanted; 0 for the most recent message";
    }
    /// Login request (`L`, 54 bytes) of version 4.10.
    LoginRequest410 = LoginRequest, 54 {
        3 6 username: Username, "user";
        9 10 password: Password, "password";
        19 10 requested_session: SessionId, "session wanted, blank for the current one";
        29 20 requested_sequence: AsciiNumber<20>, "first number wanted; 0 for the most recent message";
        49 5 heartbeat_timeout_ms: AsciiNumber<5>, "silence after which the server shall drop the client, in ms";
    }
}

/// One packet, viewed in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// Free text, to be ignored.
    Debug(&'a [u8]),
    /// Login accepted.
    LoginAccepted(&'a LoginAccepted),
    /// Login rejected.
    LoginRejected(&'a LoginRejected),
    /// One message of the numbered stream.
    Sequenced(&'a [u8]),
    /// One message without a number.
    Unsequenced(&'a [u8]),
    /// The server is still here.
    ServerHeartbeat,
    /// Nothing more comes in this session.
    EndOfSession,
    /// Login request of 3.00 or 4.00.
    LoginRequest(&'a LoginRequest),
    /// Login request of 4.10.
    LoginRequest410(&'a LoginRequest410),
    /// The client is still here.
    ClientHeartbeat,
    /// The client goes.
    LogoutRequest,
}

/// Views a fixed packet, whose numbers in text are looked at by `is_sound`.
fn fixed<T: FromBytes + KnownLayout + Immutable + Unaligned>(
    packet: &[u8],
    expected: usize,
) -> Result<&T, PacketError> {
    T::ref_from_bytes(packet).map_err(|_| wrong_length(packet, expected))
}

#[cold]
fn wrong_length(packet: &[u8], expected: usize) -> PacketError {
    let actual = packet.len();
    error(packet, actual.min(expected), PacketErrorKind::WrongLength { expected, actual })
}

#[cold]
fn error(packet: &[u8], offset: usize, kind: PacketErrorKind) -> PacketError {
    PacketError { packet_type: packet.get(LENGTH_LEN).copied().unwrap_or(0), offset, kind }
}

impl<'a> Packet<'a> {
    /// Views one packet, its length field included, as [`super::FrameDecoder`] cuts it.
    ///
    /// # Errors
    /// [`PacketError`] with the offset: [`PacketErrorKind::Truncated`] or [`PacketErrorKind::LengthMismatch`] when it
    /// is no whole packet, [`PacketErrorKind::UnknownType`], [`PacketErrorKind::WrongLength`] for its type,
    /// [`PacketErrorKind::NotANumber`] or [`PacketErrorKind::IllegalCode`] in a field.
    pub fn parse(packet: &'a [u8]) -> Result<Self, PacketError> {
        let Some(([a, b, code], payload)) = packet.split_first_chunk::<HEADER_LEN>() else {
            return Err(error(packet, packet.len(), PacketErrorKind::Truncated));
        };
        let (announced, actual) = (usize::from(u16::from_be_bytes([*a, *b])), packet.len().saturating_sub(LENGTH_LEN));
        if announced != actual {
            return Err(error(packet, 0, PacketErrorKind::LengthMismatch { announced, actual }));
        }
        let Some(packet_type) = PacketType::from_code(*code) else {
            return Err(error(packet, LENGTH_LEN, PacketErrorKind::UnknownType));
        };
        let alone = |view| if payload.is_empty() { Ok(view) } else { Err(wrong_length(packet, HEADER_LEN)) };
        match packet_type {
            PacketType::Debug => Ok(Self::Debug(payload)),
            PacketType::SequencedData => Ok(Self::Sequenced(payload)),
            PacketType::UnsequencedData => Ok(Self::Unsequenced(payload)),
            PacketType::ServerHeartbeat => alone(Self::ServerHeartbeat),
            PacketType::EndOfSession => alone(Self::EndOfSession),
            PacketType::ClientHeartbeat => alone(Self::ClientHeartbeat),
            PacketType::LogoutRequest => alone(Self::LogoutRequest),
            PacketType::LoginAccepted => Self::login_accepted(packet),
            PacketType::LoginRejected => Self::login_rejected(packet),
            PacketType::LoginRequest => Self::login_request(packet),
        }
    }

    fn login_accepted(packet: &'a [u8]) -> Result<Self, PacketError> {
        let view = fixed::<LoginAccepted>(packet, LoginAccepted::LEN)?;
        match view.sequence_number.get() {
            Some(_) => Ok(Self::LoginAccepted(view)),
            None => Err(error(packet, 13, PacketErrorKind::NotANumber)),
        }
    }

    fn login_rejected(packet: &'a [u8]) -> Result<Self, PacketError> {
        let view = fixed::<LoginRejected>(packet, LoginRejected::LEN)?;
        match LoginRejectReason::from_code(view.reason) {
            Some(_) => Ok(Self::LoginRejected(view)),
            None => Err(error(packet, 3, PacketErrorKind::IllegalCode(view.reason))),
        }
    }

    fn login_request(packet: &'a [u8]) -> Result<Self, PacketError> {
        if packet.len() == LoginRequest410::LEN {
            let view = fixed::<LoginRequest410>(packet, LoginRequest410::LEN)?;
            return match (view.requested_sequence.get(), view.heartbeat_timeout_ms.get()) {
                (Some(_), Some(_)) => Ok(Self::LoginRequest410(view)),
                (Some(_), None) => Err(error(packet, 49, PacketErrorKind::NotANumber)),
                (None, _) => Err(error(packet, 29, PacketErrorKind::NotANumber)),
            };
        }
        let view = fixed::<LoginRequest>(packet, LoginRequest::LEN)?;
        match view.requested_sequence.get() {
            Some(_) => Ok(Self::LoginRequest(view)),
            None => Err(error(packet, 29, PacketErrorKind::NotANumber)),
        }
    }

    /// The type of the packet.
    #[must_use]
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Self::Debug(_) => PacketType::Debug,
            Self::LoginAccepted(_) => PacketType::LoginAccepted,
            Self::LoginRejected(_) => PacketType::LoginRejected,
            Self::Sequenced(_) => PacketType::SequencedData,
            Self::Unsequenced(_) => PacketType::UnsequencedData,
            Self::ServerHeartbeat => PacketType::ServerHeartbeat,
            Self::EndOfSession => PacketType::EndOfSession,
            Self::LoginRequest(_) | Self::LoginRequest410(_) => PacketType::LoginRequest,
            Self::ClientHeartbeat => PacketType::ClientHeartbeat,
            Self::LogoutRequest => PacketType::LogoutRequest,
        }
    }

    /// The bytes behind length and type.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        let behind = |bytes: &'a [u8]| bytes.get(HEADER_LEN..).unwrap_or_default();
        match self {
            Self::Debug(payload) | Self::Sequenced(payload) | Self::Unsequenced(payload) => payload,
            Self::LoginAccepted(view) => behind(view.as_bytes()),
            Self::LoginRejected(view) => behind(view.as_bytes()),
            Self::LoginRequest(view) => behind(view.as_bytes()),
            Self::LoginRequest410(view) => behind(view.as_bytes()),
            Self::ServerHeartbeat | Self::EndOfSession | Self::ClientHeartbeat | Self::LogoutRequest => &[],
        }
    }
}

/// Length and type of a packet that carries `payload_len` bytes, or `None` when that is above [`PAYLOAD_LEN_MAX`].
#[must_use]
pub fn header(packet_type: PacketType, payload_len: usize) -> Option<[u8; HEADER_LEN]> {
    let [a, b] = u16::try_from(payload_len.checked_add(1)?).ok()?.to_be_bytes();
    Some([a, b, packet_type.code()])
}

fn is_text(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn left_padded<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut field = [b' '; N];
    let start = N.checked_sub(text.len())?;
    field.get_mut(start..)?.copy_from_slice(text.as_bytes());
    is_text(text).then_some(field)
}

fn right_padded<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut field = [b' '; N];
    field.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
    is_text(text).then_some(field)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paddings_are_on_their_sides_and_read_trimmed() {
        let session = SessionId::new("0001").unwrap();
        assert_eq!(session.0, *b"      0001");
        assert!(session.is_same(SessionId(*b"0001      ")) && !session.is_same(SessionId(*b"0002      ")));
        assert!(SessionId::CURRENT.is_current() && !session.is_current());
        assert_eq!(Username::new("ab").unwrap().0, *b"ab    ");
        assert!(Password::new("Secret").unwrap().is_same(Password(*b"SECRET    ")));
        assert!(!Password::new("Secret").unwrap().is_same(Password(*b"SECRETS   ")));
        assert_eq!((Username::new("toolong"), SessionId::new("a b")), (None, None));
        assert_eq!(format!("{:?}", Password(*b"SECRET    ")), "Password(…)");
        assert_eq!(AsciiNumber::<5>::new(100_000), None);
        assert_eq!(AsciiNumber(*b"  12 ").get(), Some(12));
        assert_eq!((AsciiNumber(*b"     ").get(), AsciiNumber(*b" 1 2 ").get()), (None, None));
        assert_eq!(AsciiNumber(*b"18446744073709551616").get(), None, "one above 64 bits");
    }

    #[test]
    fn malformed_packets_say_where() {
        let kind = |bytes: &[u8]| {
            Packet::parse(bytes).map(|packet| packet.packet_type()).map_err(|error| (error.offset, error.kind))
        };
        assert_eq!(kind(&[0, 1]), Err((2, PacketErrorKind::Truncated)));
        assert_eq!(kind(&[0, 2, b'H']), Err((0, PacketErrorKind::LengthMismatch { announced: 2, actual: 1 })));
        assert_eq!(kind(&[0, 2, b'H', 0]), Err((3, PacketErrorKind::WrongLength { expected: 3, actual: 4 })));
        assert_eq!(kind(&[0, 1, b'?']), Err((2, PacketErrorKind::UnknownType)));
        assert_eq!(kind(&[0, 2, b'J', b'X']), Err((3, PacketErrorKind::IllegalCode(b'X'))));
        let mut accepted = LoginAccepted::new(SessionId::CURRENT, AsciiNumber::new(7).unwrap());
        assert!(matches!(Packet::parse(accepted.as_bytes()), Ok(Packet::LoginAccepted(_))));
        accepted.sequence_number.0[19] = b'x';
        assert_eq!(kind(accepted.as_bytes()), Err((13, PacketErrorKind::NotANumber)));
        let error = Packet::parse(&[0, 1, b'A']).unwrap_err();
        assert_eq!(error.to_string(), "SoupBinTCP packet `A` is malformed at byte 3: 3 bytes long instead of 33");
    }

    proptest! {
        #[test]
        fn numbers_round_trip(value: u64) {
            prop_assert_eq!(AsciiNumber::<20>::new(value).unwrap().get(), Some(value));
        }
    }
}
