//! From a byte stream to whole messages, wherever the stream was cut, and past what is garbled.
//!
//! A message begins with `8=…␁9=LENGTH␁`, and `10=ddd␁` stands LENGTH bytes behind that. Where it does not, or where the
//! sum is wrong, the bytes are garbled: they are told, dropped, and the search goes on with the next `8=FIX` (FIX 4.4,
//! session protocol: a garbled message is ignored and uses up no number).

use super::value::parse_number;

/// The separator of fields.
pub const SOH: u8 = 1;
/// What every message of version 4.4 begins with.
pub const BEGIN: &[u8] = b"8=FIX.4.4\x01";
/// What every message of any version begins with.
const BEGIN_ANY: &[u8] = b"8=FIX";
/// Bytes of the trailer `10=ddd␁`.
const TRAILER_LEN: usize = 7;
/// Longest `8=…␁9=…␁` that is waited for.
const HEAD_LEN_MAX: usize = 32;

/// Bytes that are no message. The stream goes on behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("garbled at byte {offset} of the stream, {len} bytes ignored: {kind}")]
pub struct Garbled {
    /// Where the garbled bytes begin, counted from the begin of the stream.
    pub offset: u64,
    /// How many were dropped.
    pub len: usize,
    /// What is wrong.
    pub kind: GarbledKind,
}

/// What is wrong with bytes that are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GarbledKind {
    /// They do not begin with `8=FIX`.
    #[error("no begin of a message")]
    NoBegin,
    /// BodyLength (9) does not follow BeginString (8), or is no number.
    #[error("BodyLength (9) does not follow BeginString (8)")]
    NoBodyLength,
    /// MsgType (35) is not the third field.
    #[error("MsgType (35) is not the third field")]
    NoMsgType,
    /// The message is longer than the decoder was made for.
    #[error("a body of {len} bytes, more than fit")]
    TooLong {
        /// The announced length.
        len: u64,
    },
    /// CheckSum (10) does not stand where BodyLength (9) says.
    #[error("CheckSum (10) does not stand where BodyLength (9) says")]
    BodyLength,
    /// CheckSum (10) is another.
    #[error("CheckSum (10) says {said:03}, the bytes sum to {sum:03}")]
    CheckSum {
        /// What the field says; 999 when it is no number.
        said: u16,
        /// What it should say.
        sum: u8,
    },
}

/// The sum of bytes modulo 256, which CheckSum (10) says with three digits.
#[must_use]
pub fn check_sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// Cuts a byte stream into messages, in a buffer of fixed size.
#[derive(Debug)]
pub struct FrameDecoder {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    offset: u64,
}

enum Look {
    Frame(usize),
    More,
    Garbled(usize, GarbledKind),
}

impl FrameDecoder {
    /// A decoder at the begin of a stream, for messages of at most `message_len_max` bytes (at least 64).
    #[must_use]
    pub fn new(message_len_max: usize) -> Self {
        let buffer = vec![0; message_len_max.max(64)].into_boxed_slice();
        Self { buffer, start: 0, end: 0, offset: 0 }
    }

    /// Begins another stream: what was pending is gone.
    pub const fn reset(&mut self) {
        (self.start, self.end, self.offset) = (0, 0, 0);
    }

    /// The next message whose frame is whole, `None` when `input` was used up without completing one. Takes what it uses
    /// off the front of `input`: call it until it returns `None`.
    ///
    /// # Errors
    /// [`Garbled`] for bytes that were dropped; the next call goes on behind them.
    pub fn next<'s>(&'s mut self, input: &mut &[u8]) -> Result<Option<&'s [u8]>, Garbled> {
        loop {
            match self.look() {
                Look::Frame(len) => {
                    let begin = self.start;
                    self.drop_front(len);
                    return Ok(self.buffer.get(begin..begin.saturating_add(len)));
                }
                Look::Garbled(len, kind) => {
                    let offset = self.offset;
                    self.drop_front(len);
                    return Err(Garbled { offset, len, kind });
                }
                Look::More => {}
            }
            if input.is_empty() {
                return Ok(None);
            }
            self.fill(input);
        }
    }

    fn fill(&mut self, input: &mut &[u8]) {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end = self.end.saturating_sub(self.start);
        self.start = 0;
        let count = self.buffer.len().saturating_sub(self.end).min(input.len());
        let end = self.end.saturating_add(count);
        if let (Some(room), Some((bytes, rest))) = (self.buffer.get_mut(self.end..end), input.split_at_checked(count)) {
            room.copy_from_slice(bytes);
            *input = rest;
            self.end = end;
        }
    }

    fn drop_front(&mut self, len: usize) {
        self.start = self.start.saturating_add(len).min(self.end);
        self.offset = self.offset.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
    }

    fn look(&self) -> Look {
        let bytes = self.buffer.get(self.start..self.end).unwrap_or_default();
        let common = bytes.len().min(BEGIN_ANY.len());
        if bytes.get(..common) != BEGIN_ANY.get(..common) {
            return Look::Garbled(next_begin(bytes), GarbledKind::NoBegin);
        }
        let head = bytes.get(..bytes.len().min(HEAD_LEN_MAX)).unwrap_or_default();
        let mut soh = head.iter().enumerate().filter(|(_, byte)| **byte == SOH).map(|(at, _)| at);
        let (Some(first), Some(second)) = (soh.next(), soh.next()) else {
            let is_whole = head.len() == HEAD_LEN_MAX;
            return if is_whole { Look::Garbled(next_begin(bytes), GarbledKind::NoBodyLength) } else { Look::More };
        };
        let field = bytes.get(first.saturating_add(1)..second).unwrap_or_default();
        let Some(body_len) = field.strip_prefix(b"9=").and_then(parse_number) else {
            return Look::Garbled(next_begin(bytes), GarbledKind::NoBodyLength);
        };
        let body = second.saturating_add(1);
        let trailer = usize::try_from(body_len).unwrap_or(usize::MAX).saturating_add(body);
        let len = trailer.saturating_add(TRAILER_LEN);
        if len > self.buffer.len() {
            return Look::Garbled(next_begin(bytes), GarbledKind::TooLong { len: body_len });
        }
        match bytes.get(trailer.saturating_sub(1)..len) {
            Some([SOH, b'1', b'0', b'=', digits @ .., SOH]) => {
                let sum = check_sum(bytes.get(..trailer).unwrap_or_default());
                let said = parse_number(digits).and_then(|said| u16::try_from(said).ok()).unwrap_or(999);
                if said == u16::from(sum) && bytes.get(body..).is_some_and(|rest| rest.starts_with(b"35=")) {
                    Look::Frame(len)
                } else if said == u16::from(sum) {
                    Look::Garbled(next_begin(bytes), GarbledKind::NoMsgType)
                } else {
                    Look::Garbled(next_begin(bytes), GarbledKind::CheckSum { said, sum })
                }
            }
            Some(_) => Look::Garbled(next_begin(bytes), GarbledKind::BodyLength),
            // A length that is too long must not swallow the messages behind it: it is noticed when they end.
            None => Look::More,
        }
    }
}

/// How far the next begin of a message, or what may become one, lies behind the first byte.
fn next_begin(bytes: &[u8]) -> usize {
    (1..bytes.len())
        .find(|at| {
            let rest = bytes.get(*at..).unwrap_or_default();
            let common = rest.len().min(BEGIN_ANY.len());
            rest.get(..common) == BEGIN_ANY.get(..common)
        })
        .unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::wire;
    use proptest::prelude::*;

    fn cut(stream: &[u8], cuts: &[usize]) -> (Vec<Vec<u8>>, Vec<Garbled>) {
        let (mut decoder, mut frames, mut garbled) = (FrameDecoder::new(512), Vec::new(), Vec::new());
        let mut start = 0;
        for end in cuts.iter().copied().chain([stream.len()]) {
            let mut input = &stream[start..end];
            start = end;
            loop {
                match decoder.next(&mut input) {
                    Ok(Some(frame)) => frames.push(frame.to_vec()),
                    Ok(None) => break,
                    Err(error) => garbled.push(error),
                }
            }
        }
        (frames, garbled)
    }

    #[test]
    fn a_stream_cut_at_every_byte_gives_the_same_messages() {
        let messages = [wire("35=0|34=1|"), wire("35=1|34=2|112=X|"), wire("35=0|34=3|")];
        let stream = messages.concat();
        for at in 0..=stream.len() {
            assert_eq!(cut(&stream, &[at]), (messages.to_vec(), vec![]), "cut at {at}");
        }
        let every: Vec<usize> = (1..stream.len()).collect();
        assert_eq!(cut(&stream, &every).0, messages);
    }

    #[test]
    fn what_is_garbled_is_told_and_passed_over() {
        let (good, other) = (wire("35=0|34=1|"), wire("35=0|34=2|"));
        let mut sum = good.clone();
        let at = sum.len() - 2;
        sum[at] = if sum[at] == b'9' { b'0' } else { sum[at] + 1 };
        let short = String::from_utf8(good.clone()).unwrap().replacen("9=10\x01", "9=9\x01", 1).into_bytes();
        let swapped = b"8=FIX.4.4\x0135=0\x019=10\x0134=1\x0110=000\x01".to_vec();
        let long = b"8=FIX.4.4\x019=99999999999\x0135=0\x01".to_vec();
        let endless = [b"8=FIX.4.4".as_slice(), &[b'x'; 40]].concat();
        for (bad, kind) in [
            (sum, 0),
            (short, 1),
            (swapped, 2),
            (long, 3),
            (endless, 2),
            (b"nonsense".to_vec(), 4),
            (wire("34=1|35=0|"), 5),
        ] {
            let stream = [good.clone(), bad.clone(), other.clone()].concat();
            let (frames, garbled) = cut(&stream, &[]);
            assert_eq!(frames, [good.clone(), other.clone()], "{}", String::from_utf8_lossy(&bad));
            assert_eq!((garbled.len(), garbled[0].offset), (1, good.len() as u64), "{garbled:?}");
            assert_eq!(garbled[0].len, bad.len());
            let said = match garbled[0].kind {
                GarbledKind::CheckSum { .. } => 0,
                GarbledKind::BodyLength => 1,
                GarbledKind::NoBodyLength => 2,
                GarbledKind::TooLong { .. } => 3,
                GarbledKind::NoBegin => 4,
                GarbledKind::NoMsgType => 5,
            };
            assert_eq!(said, kind, "{:?}", garbled[0]);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_give_the_same(bytes in prop::collection::vec(any::<u8>(), 0..200),
                                                 cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
            let stream = [wire("35=0|34=1|"), bytes, wire("35=0|34=2|"), wire("35=0|34=3|")].concat();
            let mut cuts: Vec<usize> = cuts.iter().map(|at| at.index(stream.len() + 1)).collect();
            cuts.sort_unstable();
            let whole = cut(&stream, &[]);
            prop_assert_eq!(&cut(&stream, &cuts).0, &whole.0);
            prop_assert!(whole.0.len() >= 2);
        }
    }
}
