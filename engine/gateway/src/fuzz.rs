//! Bodies for fuzzers: any bytes go in, and what must hold for any bytes is asserted.

use core::cell::RefCell;

use peregrine_types::{EpochNanos, Nanos};

use crate::ouch50::{Inbound, Outbound};
use crate::soup::{
    ClientConfig, ClientEvent, ClientSession, CloseReason, Packet, Password, Position, ServerConfig, ServerEvent,
    ServerSession, SessionId, Username, header,
};

/// One inbound and one outbound message: what is accepted is written back to the same bytes, what is refused says
/// where.
pub fn ouch(data: &[u8]) {
    let mut buffer = vec![0; data.len()];
    match Inbound::parse(data) {
        Ok(message) => {
            assert_eq!(message.write(&mut buffer), Ok(data));
            if let Err(error) = message.check() {
                assert!(error.offset <= data.len());
            }
        }
        Err(error) => assert!(error.offset <= data.len()),
    }
    match Outbound::parse(data) {
        Ok(message) => {
            assert_eq!(message.write(&mut buffer), Ok(data));
            if let Err(error) = message.check() {
                assert!(error.offset <= data.len());
            }
        }
        Err(error) => assert!(error.offset <= data.len()),
    }
}

/// As [`ouch`], for OUCH 4.2.
pub fn ouch42(data: &[u8]) {
    use crate::ouch42::{Inbound, Outbound};
    let mut buffer = vec![0; data.len()];
    match Inbound::parse(data) {
        Ok(message) => {
            assert_eq!(message.write(&mut buffer), Ok(data));
            if let Err(error) = message.check() {
                assert!(error.offset <= data.len());
            }
        }
        Err(error) => assert!(error.offset <= data.len()),
    }
    match Outbound::parse(data) {
        Ok(message) => {
            assert_eq!(message.write(&mut buffer), Ok(data));
            if let Err(error) = message.check() {
                assert!(error.offset <= data.len());
            }
        }
        Err(error) => assert!(error.offset <= data.len()),
    }
}

/// A configuration of either side that fuzz bodies use; user and password are blank.
const PACKET_LEN_MAX: usize = 300;

fn client() -> ClientSession {
    let config = ClientConfig {
        username: Username([b' '; 6]),
        password: Password([b' '; 10]),
        heartbeat_interval: Nanos(50),
        silence_max: Nanos(400),
        login_time_max: Nanos(600),
        heartbeat_timeout_ms: None,
        packet_len_max: PACKET_LEN_MAX,
        outbox_len_max: 500,
    };
    ClientSession::new(config, Position::START)
}

fn server() -> ServerSession {
    ServerSession::new(ServerConfig {
        username: Username([b' '; 6]),
        password: Password([b' '; 10]),
        session: SessionId(*b"         1"),
        heartbeat_interval: Nanos(50),
        silence_max: Nanos(400),
        login_time_max: Nanos(600),
        packet_len_max: PACKET_LEN_MAX,
        outbox_len_max: 500,
        message_count_max: 64,
        byte_count_max: 4_096,
    })
}

/// A byte stream of packets, whole and cut into pieces of the length that the first byte says: both sides tell the
/// same either way, what they tell is in order, and what they send are packets.
pub fn soup(data: &[u8]) {
    let (piece, stream) = data.split_first().map_or((1, data), |(first, rest)| (usize::from(*first).max(1), rest));
    let cut: Vec<&[u8]> = stream.chunks(piece).collect();
    assert_eq!(client_story(&[stream]), client_story(&cut));
    assert_eq!(server_story(&[stream]), server_story(&cut));
    if let Ok(packet) = Packet::parse(data) {
        let header = header(packet.packet_type(), packet.payload().len());
        assert_eq!(header.map(|header| [&header, packet.payload()].concat()).as_deref(), Some(data));
    }
}

fn client_story(pieces: &[&[u8]]) -> (Vec<String>, Vec<u8>) {
    let mut session = client();
    let story = RefCell::new(Vec::new());
    let mut number = None;
    let mut tell = |event: ClientEvent<'_>| {
        match event {
            ClientEvent::LoggedIn { position, .. } => number = Some(position.next_sequence_number),
            ClientEvent::Sequenced { sequence_number, .. } => {
                assert_eq!(number.replace(sequence_number.saturating_add(1)), Some(sequence_number));
            }
            ClientEvent::Unsequenced(_) | ClientEvent::Debug(_) | ClientEvent::Closed(_) => {}
        }
        story.borrow_mut().push(format!("{event:?}"));
    };
    session.connect(EpochNanos(0));
    for piece in pieces {
        session.receive(piece, EpochNanos(1), &mut tell);
    }
    session.poll(EpochNanos(60), &mut tell);
    session.poll(EpochNanos(10_000), &mut tell);
    assert!(session.next_deadline().is_none(), "silence ends every connection");
    (story.into_inner(), session.pending().to_vec())
}

fn server_story(pieces: &[&[u8]]) -> (Vec<String>, Vec<u8>) {
    let mut session = server();
    for message in [&b"first"[..], b"", b"third"] {
        assert!(session.sequence(message, EpochNanos(0)).is_ok());
    }
    let story = RefCell::new(Vec::new());
    let mut close_count = 0;
    let mut tell = |event: ServerEvent<'_>| {
        assert_eq!(close_count, 0, "nothing comes after the close");
        close_count += usize::from(matches!(event, ServerEvent::Closed(_)));
        story.borrow_mut().push(format!("{event:?}"));
    };
    session.connect(EpochNanos(0));
    for piece in pieces {
        session.receive(piece, EpochNanos(1), &mut tell);
    }
    session.poll(EpochNanos(60), &mut tell);
    let sent = session.pending().to_vec();
    session.disconnect(&mut tell);
    let story = story.into_inner();
    let lost = format!("{:?}", ServerEvent::Closed(CloseReason::Lost));
    assert!(close_count == 1 || story.last() == Some(&lost));
    let mut rest = &sent[..];
    while let Some((len, _)) = rest.split_first_chunk::<2>() {
        let (packet, behind) = rest.split_at(usize::from(u16::from_be_bytes(*len)) + 2);
        assert!(Packet::parse(packet).is_ok());
        rest = behind;
    }
    assert!(rest.is_empty());
    (story, sent)
}
