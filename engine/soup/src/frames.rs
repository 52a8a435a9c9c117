//! From a byte stream to packets, wherever the stream was cut.

use super::packet::{LENGTH_LEN, PACKET_LEN_MAX};

/// Why a byte stream cannot be cut into packets any further. The connection is to be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("SoupBinTCP stream is broken at byte {offset}: {kind}")]
pub struct FrameError {
    /// Where the packet's length field lies, in bytes from the begin of the stream.
    pub offset: u64,
    /// What is wrong.
    pub kind: FrameErrorKind,
}

/// What is wrong with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameErrorKind {
    /// A packet announces a length of 0: not even a type byte.
    #[error("a packet of length 0")]
    Empty,
    /// A packet is longer than the decoder was made for.
    #[error("a packet of {len} bytes, more than {len_max}")]
    TooLong {
        /// Its length with the length field.
        len: usize,
        /// The longest that is accepted.
        len_max: usize,
    },
}

/// Cuts a byte stream into packets. A packet that lies whole in the input is handed out in place; one that was cut is
/// completed in a buffer of fixed size.
#[derive(Debug)]
pub struct FrameDecoder {
    pending: Box<[u8]>,
    pending_len: usize,
    is_taken: bool,
    offset: u64,
    error: Option<FrameError>,
}

impl FrameDecoder {
    /// A decoder at the begin of a stream for packets of at most `packet_len_max` bytes, length field included (capped
    /// at [`PACKET_LEN_MAX`]).
    #[must_use]
    pub fn new(packet_len_max: usize) -> Self {
        let len = packet_len_max.clamp(LENGTH_LEN, PACKET_LEN_MAX);
        Self { pending: vec![0; len].into_boxed_slice(), pending_len: 0, is_taken: false, offset: 0, error: None }
    }

    /// Begins another stream: what was pending is gone.
    pub const fn reset(&mut self) {
        self.pending_len = 0;
        self.is_taken = false;
        self.offset = 0;
        self.error = None;
    }

    /// How many bytes of a packet are waiting for the rest of it.
    #[must_use]
    pub const fn pending_len(&self) -> usize {
        if self.is_taken { 0 } else { self.pending_len }
    }

    /// The next packet, length field included; `None` when `input` was used up without completing one. Takes what it
    /// uses off the front of `input`: call it until it returns `None`.
    ///
    /// # Errors
    /// [`FrameError`] when the stream is broken, on this call and every later one.
    pub fn next<'s, 'i: 's>(&'s mut self, input: &mut &'i [u8]) -> Result<Option<&'s [u8]>, FrameError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.is_taken {
            self.pending_len = 0;
            self.is_taken = false;
        }
        if self.pending_len == 0
            && let Some(head) = input.first_chunk::<LENGTH_LEN>()
        {
            let len = self.packet_len(*head)?;
            if let Some((packet, rest)) = input.split_at_checked(len) {
                *input = rest;
                self.advance(len);
                return Ok(Some(packet));
            }
        }
        if self.fill(LENGTH_LEN, input) {
            let len = self.packet_len(self.pending.first_chunk::<LENGTH_LEN>().copied().unwrap_or_default())?;
            if self.fill(len, input) {
                self.advance(len);
                self.is_taken = true;
                return Ok(self.pending.get(..len));
            }
        }
        Ok(None)
    }

    /// Moves bytes from `input` until `wanted` are pending; whether they are.
    fn fill(&mut self, wanted: usize, input: &mut &[u8]) -> bool {
        let missing = wanted.saturating_sub(self.pending_len).min(input.len());
        let end = self.pending_len.saturating_add(missing);
        if let (Some(room), Some((bytes, rest))) =
            (self.pending.get_mut(self.pending_len..end), input.split_at_checked(missing))
        {
            room.copy_from_slice(bytes);
            *input = rest;
            self.pending_len = end;
        }
        self.pending_len >= wanted
    }

    /// The length of the packet with this length field, which is checked.
    fn packet_len(&mut self, head: [u8; LENGTH_LEN]) -> Result<usize, FrameError> {
        let len = usize::from(u16::from_be_bytes(head)).saturating_add(LENGTH_LEN);
        let kind = if len == LENGTH_LEN {
            FrameErrorKind::Empty
        } else if len > self.pending.len() {
            FrameErrorKind::TooLong { len, len_max: self.pending.len() }
        } else {
            return Ok(len);
        };
        let error = FrameError { offset: self.offset, kind };
        self.error = Some(error);
        Err(error)
    }

    fn advance(&mut self, len: usize) {
        self.offset = self.offset.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(stream: &[u8], cuts: &[usize], len_max: usize) -> (Vec<Vec<u8>>, Option<FrameError>) {
        let mut decoder = FrameDecoder::new(len_max);
        let mut packets = Vec::new();
        let mut start = 0;
        for end in cuts.iter().copied().chain([stream.len()]) {
            let mut input = &stream[start..end];
            start = end;
            loop {
                match decoder.next(&mut input) {
                    Ok(Some(packet)) => packets.push(packet.to_vec()),
                    Ok(None) => break,
                    Err(error) => return (packets, Some(error)),
                }
            }
            assert!(input.is_empty());
        }
        (packets, None)
    }

    fn packet(payload: &[u8]) -> Vec<u8> {
        let len = u16::try_from(payload.len() + 1).unwrap();
        [&len.to_be_bytes()[..], b"S", payload].concat()
    }

    #[test]
    fn a_stream_cut_at_every_byte_gives_the_same_packets() {
        let packets = [packet(b""), packet(b"hello"), packet(&[7; 300]), packet(b"x")];
        let stream = packets.concat();
        for at in 0..=stream.len() {
            assert_eq!(cut(&stream, &[at], 400), (packets.to_vec(), None), "cut at {at}");
        }
        let every: Vec<usize> = (1..stream.len()).collect();
        assert_eq!(cut(&stream, &every, 400), (packets.to_vec(), None));
    }

    #[test]
    fn a_broken_stream_stays_broken_and_says_where() {
        let stream = [packet(b"abc"), vec![0, 0, b'S'], packet(b"d")].concat();
        for at in 0..=stream.len() {
            let (packets, error) = cut(&stream, &[at], 100);
            assert_eq!(packets, [packet(b"abc")]);
            assert_eq!(error, Some(FrameError { offset: 6, kind: FrameErrorKind::Empty }), "cut at {at}");
        }
        let (_, error) = cut(&packet(&[1; 98]), &[], 100);
        assert_eq!(error.unwrap().kind, FrameErrorKind::TooLong { len: 101, len_max: 100 });
        let mut decoder = FrameDecoder::new(100);
        let mut input = &[0_u8, 0, 0, 1, b'H'][..];
        assert!(decoder.next(&mut input).is_err() && decoder.next(&mut input).is_err());
        decoder.reset();
        assert_eq!(decoder.next(&mut &[0_u8, 1, b'H'][..]), Ok(Some(&[0, 1, b'H'][..])));
    }

    proptest! {
        #[test]
        fn any_cuts_give_the_same(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..12),
                                  cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
            let packets: Vec<Vec<u8>> = payloads.iter().map(|payload| packet(payload)).collect();
            let stream = packets.concat();
            let mut cuts: Vec<usize> = cuts.iter().map(|at| at.index(stream.len() + 1)).collect();
            cuts.sort_unstable();
            prop_assert_eq!(cut(&stream, &cuts, 64), (packets, None));
        }
    }
}
