//! The body for fuzzers: any bytes go in, and what must hold for any bytes is asserted.

use peregrine_types::{EpochNanos, Nanos};

use crate::dictionary;
use crate::frame::FrameDecoder;
use crate::message::{FieldError, parse};
use crate::orders::{
    BusinessMessageReject, ExecutionReport, NewOrderSingle, OrderCancelReject, OrderCancelReplaceRequest,
    OrderCancelRequest,
};
use crate::session::{Numbers, Role, Session, SessionConfig, State};
use crate::write::Body;

const MESSAGE_LEN_MAX: usize = 512;
/// Moment of the corpus: near enough for its messages.
const NOW: EpochNanos = EpochNanos(1_767_623_400_000_000_000);

/// A stream of bytes from the other side: framed, read, held against the dictionary, read as an order or report, and taken
/// by a session of either side, whole and in pieces.
pub fn fix(data: &[u8]) {
    let (mut decoder, mut fields, mut input) = (FrameDecoder::new(MESSAGE_LEN_MAX), Vec::new(), data);
    let mut taken = 0_usize;
    loop {
        match decoder.next(&mut input) {
            Ok(None) => break,
            Err(garbled) => {
                assert!(garbled.len > 0 && garbled.offset <= data.len() as u64);
                taken = garbled.len.saturating_add(taken);
            }
            Ok(Some(frame)) => {
                taken = frame.len().saturating_add(taken);
                let (message, error) = parse(frame, &mut fields);
                let within = |error: FieldError| assert!(error.offset <= frame.len());
                error.into_iter().for_each(within);
                dictionary::check(&message).err().into_iter().for_each(within);
                let Ok(report) = ExecutionReport::parse(&message) else {
                    NewOrderSingle::parse(&message).err().into_iter().for_each(within);
                    OrderCancelRequest::parse(&message).err().into_iter().for_each(within);
                    OrderCancelReplaceRequest::parse(&message).err().into_iter().for_each(within);
                    OrderCancelReject::parse(&message).err().into_iter().for_each(within);
                    BusinessMessageReject::parse(&message).err().into_iter().for_each(within);
                    continue;
                };
                report.write(&mut Body::new());
            }
        }
    }
    assert!(taken <= data.len());
    for (role, piece) in [(Role::Acceptor, data.len().max(1)), (Role::Acceptor, 3), (Role::Initiator, 7)] {
        talk(role, data, piece);
    }
}

fn talk(role: Role, data: &[u8], piece: usize) {
    let config = SessionConfig {
        message_len_max: MESSAGE_LEN_MAX,
        outbox_len_max: 2 * MESSAGE_LEN_MAX,
        store_count_max: 8,
        store_byte_count_max: 1_024,
        early_len_max: 2_048,
        sending_time_max: None,
        ..SessionConfig::new(role, "VENUE", "CLIENT")
    };
    let (mut session, mut now) = (Session::new(config, Numbers::START), NOW);
    session.connect(now);
    for bytes in data.chunks(piece) {
        now = now.plus(Nanos::from_millis(700));
        session.receive(bytes, now, &mut |_| {});
        session.poll(now, &mut |_| {});
        assert!(session.pending().len() <= 2 * MESSAGE_LEN_MAX);
        session.sent(session.pending().len() / 2, now);
        let numbers = session.numbers();
        assert!(numbers.next_in > 0 && numbers.next_out > 0);
        if session.state() == State::Disconnected {
            return;
        }
        assert!(session.next_deadline().is_none_or(|time| time > EpochNanos::MIN));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            super::fix(&bytes);
        }

        #[test]
        fn any_fields_are_taken(fields in prop::collection::vec((1_u32..1_000, "[ -~]{0,12}"), 0..30)) {
            let text: String = fields.iter().map(|(tag, value)| format!("{tag}={value}|")).collect();
            let logon = crate::tests::wire("35=A|49=CLIENT|56=VENUE|34=1|52=20260105-14:30:00|98=0|108=30|");
            let body = crate::tests::wire(&format!("35=8|49=CLIENT|56=VENUE|34=2|52=20260105-14:30:00|{text}"));
            super::fix(&[logon, body].concat());
        }
    }
}
