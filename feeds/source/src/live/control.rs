//! Control messages beside a datagram (`cmsg(3)`), read as bytes: when it was received, and how many were dropped before.

use peregrine_types::EpochNanos;

use crate::{StampKind, bytes::array};

/// Bytes for the control messages of one datagram: at most three time stamps (16 + 48) and a counter (16 + 8).
pub(crate) const CONTROL_LEN: usize = 128;
/// Length, level and type in front of the data of a control message (`struct cmsghdr` of 64-bit systems).
const HEADER_LEN: usize = 16;
/// Every control message begins at a multiple of this.
const ALIGNMENT: usize = 8;

/// What the kernel said beside a datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Beside {
    /// When it was received, and whose clock says so.
    pub(crate) stamp: Option<(EpochNanos, StampKind)>,
    /// Datagrams that the socket dropped since it was opened (`SO_RXQ_OVFL`).
    pub(crate) drop_count: Option<u32>,
}

impl Beside {
    /// Reads the control messages in `control`. What is not understood is passed over.
    pub(crate) fn parse(control: &[u8]) -> Self {
        let mut beside = Self::default();
        let mut rest = control;
        while let (Some(len), Some(level), Some(kind)) = (array(rest, 0), array(rest, 8), array(rest, 12)) {
            let Ok(len) = usize::try_from(u64::from_ne_bytes(len)) else { break };
            let (level, kind) = (i32::from_ne_bytes(level), i32::from_ne_bytes(kind));
            let Some(data) = rest.get(HEADER_LEN..len) else { break };
            if level == libc::SOL_SOCKET {
                beside.take(kind, data);
            }
            rest = rest.get(len.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
        }
        beside
    }

    fn take(&mut self, kind: i32, data: &[u8]) {
        match kind {
            libc::SCM_TIMESTAMPNS => self.stamp = moment(data, 0).map(|time| (time, StampKind::Kernel)),
            // Three stamps: software, one that is not used any more, hardware; zeros where there is none.
            libc::SCM_TIMESTAMPING => {
                let hardware = moment(data, 32).map(|time| (time, StampKind::Hardware));
                self.stamp = hardware.or_else(|| moment(data, 0).map(|time| (time, StampKind::Kernel)));
            }
            libc::SO_RXQ_OVFL => self.drop_count = array(data, 0).map(u32::from_ne_bytes),
            _ => {}
        }
    }
}

/// The `struct timespec` at `at`; `None` where it is zero, which means that there is none.
fn moment(data: &[u8], at: usize) -> Option<EpochNanos> {
    let seconds = i64::from_ne_bytes(array(data, at)?);
    let nanos = i64::from_ne_bytes(array(data, at.checked_add(8)?)?);
    let time = seconds.checked_mul(1_000_000_000)?.checked_add(nanos)?;
    if time > 0 { Some(EpochNanos(time)) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: i32, data: &[u8]) -> Vec<u8> {
        let mut bytes = (HEADER_LEN + data.len()).to_ne_bytes().to_vec();
        bytes.extend(libc::SOL_SOCKET.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        bytes
    }

    fn words(words: &[i64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    #[test]
    fn stamps_and_drops_are_read_wherever_they_stand() {
        let drops = message(libc::SO_RXQ_OVFL, &7_u32.to_ne_bytes());
        let kernel = message(libc::SCM_TIMESTAMPNS, &words(&[1_700_000_000, 123]));
        let time = EpochNanos(1_700_000_000_000_000_123);
        let both = Beside { stamp: Some((time, StampKind::Kernel)), drop_count: Some(7) };
        assert_eq!(Beside::parse(&[drops.clone(), kernel.clone()].concat()), both);
        assert_eq!(Beside::parse(&[kernel, drops].concat()), both);
        let hardware = message(libc::SCM_TIMESTAMPING, &words(&[1, 0, 0, 0, 1_700_000_000, 123]));
        assert_eq!(Beside::parse(&hardware).stamp, Some((time, StampKind::Hardware)));
        let software = message(libc::SCM_TIMESTAMPING, &words(&[1_700_000_000, 123, 0, 0, 0, 0]));
        assert_eq!(Beside::parse(&software).stamp, Some((time, StampKind::Kernel)));
    }

    #[test]
    fn lengths_that_lead_outside_end_the_reading() {
        let mut torn = message(libc::SO_RXQ_OVFL, &7_u32.to_ne_bytes());
        for len in 0..torn.len() {
            assert!(Beside::parse(&torn[..len]).stamp.is_none());
        }
        for len in [0_u64, 1, 15, u64::MAX] {
            torn[..8].copy_from_slice(&len.to_ne_bytes());
            assert_eq!(Beside::parse(&torn), Beside::default());
        }
    }
}
