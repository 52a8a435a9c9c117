//! SoupBinTCP sessions: both sides against each other, cut at every byte.

#![expect(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test fails by panicking")]

use peregrine_soup::*;
use peregrine_types::{EpochNanos, Nanos};

const MS: i64 = 1_000_000;

fn client_config() -> ClientConfig {
    ClientConfig {
        username: Username::new("trader").unwrap(),
        password: Password::new("Secret").unwrap(),
        heartbeat_interval: HEARTBEAT_INTERVAL,
        silence_max: Nanos::from_secs(3),
        login_time_max: Nanos::from_secs(5),
        heartbeat_timeout_ms: None,
        packet_len_max: 100,
        outbox_len_max: 1_000,
    }
}

fn server_config() -> ServerConfig {
    ServerConfig {
        username: Username::new("TRADER").unwrap(),
        password: Password::new("secret").unwrap(),
        session: SessionId::new("0001").unwrap(),
        heartbeat_interval: HEARTBEAT_INTERVAL,
        silence_max: CLIENT_SILENCE_MAX,
        login_time_max: LOGIN_TIME_MAX,
        packet_len_max: 100,
        outbox_len_max: 200,
        message_count_max: 100,
        byte_count_max: 2_000,
    }
}

fn at(ms: i64) -> EpochNanos {
    EpochNanos(ms * MS)
}

/// What a client heard: numbered messages and everything else as text.
#[derive(Default)]
struct Heard {
    sequenced: Vec<(u64, Vec<u8>)>,
    other: Vec<String>,
}

impl Heard {
    fn take(&mut self, event: ClientEvent<'_>) {
        match event {
            ClientEvent::Sequenced { sequence_number, payload } => {
                self.sequenced.push((sequence_number, payload.to_vec()))
            }
            other => self.other.push(format!("{other:?}")),
        }
    }
}

/// Moves up to `budget` bytes from one side to the other; how many were moved.
fn to_client(server: &mut ServerSession, client: &mut ClientSession, heard: &mut Heard, budget: usize) -> usize {
    let bytes = server.pending()[..server.pending().len().min(budget)].to_vec();
    server.sent(bytes.len(), at(0));
    client.receive(&bytes, at(0), &mut |event| heard.take(event));
    bytes.len()
}

fn to_server(
    client: &mut ClientSession,
    server: &mut ServerSession,
    orders: &mut Vec<Vec<u8>>,
    budget: usize,
) -> usize {
    let bytes = client.pending()[..client.pending().len().min(budget)].to_vec();
    client.sent(bytes.len());
    server.receive(&bytes, at(0), &mut |event| {
        if let ServerEvent::Unsequenced(payload) = event {
            orders.push(payload.to_vec());
        }
    });
    bytes.len()
}

#[test]
fn layouts_equal_the_protocol_sheet() {
    let data = std::env::var("PEREGRINE_DATA")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data").to_owned());
    let path = std::path::Path::new(&data).join("../protocols/tools/layouts.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("skipped: no real data at {}", path.display());
        return;
    };
    let sheet: serde_json::Value = serde_json::from_str(&text).unwrap();
    let rows = [
        ("soup.login_accepted", LoginAccepted::LEN, LoginAccepted::FIELDS),
        ("soup.login_rejected", LoginRejected::LEN, LoginRejected::FIELDS),
        ("soup.login_request", LoginRequest::LEN, LoginRequest::FIELDS),
        ("soup.login_request_410", LoginRequest410::LEN, LoginRequest410::FIELDS),
    ];
    for (name, len, fields) in rows {
        assert_eq!(sheet[name]["size"], len, "{name}");
        let wanted = sheet[name]["fields"].as_array().unwrap();
        assert_eq!(wanted.len(), fields.len(), "{name}");
        for (want, have) in wanted.iter().zip(fields) {
            assert!(want[0] == have.1 && want[1] == have.2 && want[2] == have.0, "{name}: {have:?} is not {want}");
        }
    }
}

#[test]
fn the_login_has_the_bytes_of_the_sheet() {
    let mut client = ClientSession::new(client_config(), Position::START);
    client.connect(at(0));
    assert_eq!(client.pending(), format!("\0\x2fLtrader{:<10}{:10}{:>20}", "Secret", "", 1).as_bytes());
    client.sent(49);
    client.receive(b"\0\x1fA      0001                   1", at(0), &mut |_| {});
    assert_eq!(client.state(), ClientState::Active);
    let newer = ClientConfig { heartbeat_timeout_ms: Some(2_500), ..client_config() };
    let mut client =
        ClientSession::new(newer, Position { session: SessionId(*b"      0001"), next_sequence_number: 42 });
    client.connect(at(0));
    assert_eq!(
        client.pending(),
        format!("\0\x34Ltrader{:<10}{:>10}{:>20}{:>5}", "Secret", "0001", 42, 2_500).as_bytes()
    );
}

/// A session of ten messages and three orders with one cut: `cut` bytes flow in all in the direction that is cut, then
/// the connection is lost and made again. The number of bytes that would have flowed without a cut.
fn run_with_cut(cut: usize, is_server_cut: bool) -> usize {
    let mut client = ClientSession::new(client_config(), Position::START);
    let mut server = ServerSession::new(server_config());
    let (mut heard, mut orders) = (Heard::default(), Vec::new());
    let messages: Vec<Vec<u8>> = (0_u8..10).map(|n| vec![n; usize::from(n) * 7 % 30]).collect();
    let own = [b"order one".to_vec(), Vec::new(), b"order three".to_vec()];
    let mut flowed = 0;
    let mut is_cut = false;
    let mut sent_count = 0;
    client.connect(at(0));
    server.connect(at(0));
    for round in 0..200 {
        if round < messages.len() {
            server.sequence(&messages[round], at(0)).unwrap();
        }
        if client.state() == ClientState::Active && sent_count < own.len() {
            client.send(&own[sent_count], at(0)).unwrap();
            sent_count += 1;
        }
        let room = if is_cut { usize::MAX } else { cut - flowed };
        let (up, down) = if is_server_cut { (usize::MAX, room) } else { (room, usize::MAX) };
        let moved_up = to_server(&mut client, &mut server, &mut orders, up);
        let moved_down = to_client(&mut server, &mut client, &mut heard, down);
        flowed += if is_server_cut { moved_down } else { moved_up };
        if !is_cut && flowed == cut {
            is_cut = true;
            client.disconnect(&mut |_| {});
            server.disconnect(&mut |_| {});
            client.connect(at(0));
            server.connect(at(0));
            // Messages to the server carry no number: the layer above sends again what was not answered.
            sent_count = orders.len();
        }
    }
    let numbers: Vec<(u64, Vec<u8>)> = (1..).zip(messages).collect();
    assert_eq!(heard.sequenced, numbers, "cut after {cut} bytes");
    assert_eq!(orders, own, "cut after {cut} bytes");
    assert_eq!(client.position().next_sequence_number, 11);
    flowed
}

#[test]
fn a_session_cut_at_every_byte_in_both_directions_loses_and_doubles_nothing() {
    for is_server_cut in [true, false] {
        let all = run_with_cut(usize::MAX, is_server_cut);
        assert!(all > 60, "the session is longer than its login");
        for cut in 0..=all {
            run_with_cut(cut, is_server_cut);
        }
    }
}

#[test]
fn every_request_of_a_number_is_answered_as_written() {
    let mut server = ServerSession::new(server_config());
    for n in 1_u8..=5 {
        assert_eq!(server.sequence(&[n], at(0)), Ok(u64::from(n)));
    }
    for (session, asked, next) in
        [("", 1, 1), ("0001", 3, 3), ("", 5, 5), ("0001", 6, 6), ("", 0, 5), ("", 7, 6), ("", u64::MAX, 6)]
    {
        let login = LoginRequest::new(
            client_config().username,
            client_config().password,
            SessionId::new(session).unwrap(),
            AsciiNumber::new(asked).unwrap(),
        );
        server.connect(at(0));
        let mut told = Vec::new();
        server.receive(zerocopy::IntoBytes::as_bytes(&login), at(0), &mut |event| told.push(format!("{event:?}")));
        assert_eq!(told.len(), 1, "{told:?}");
        let mut input = server.pending();
        let mut decoder = FrameDecoder::new(100);
        let mut payloads = Vec::new();
        while let Some(packet) = decoder.next(&mut input).unwrap() {
            match Packet::parse(packet).unwrap() {
                Packet::LoginAccepted(accepted) => assert_eq!(accepted.sequence_number.get(), Some(next)),
                Packet::Sequenced(payload) => payloads.push(u64::from(payload[0])),
                other => unreachable!("{other:?}"),
            }
        }
        assert_eq!(payloads, (next..=5).collect::<Vec<_>>(), "asked for {asked}");
    }
}

#[test]
fn wrong_logins_are_refused_with_their_reason() {
    let try_login = |username: &str, password: &str, session: &str| {
        let mut server = ServerSession::new(server_config());
        let config = ClientConfig {
            username: Username::new(username).unwrap(),
            password: Password::new(password).unwrap(),
            ..client_config()
        };
        let position = Position { session: SessionId::new(session).unwrap(), next_sequence_number: 1 };
        let mut client = ClientSession::new(config, position);
        client.connect(at(0));
        server.connect(at(0));
        let (mut heard, mut orders) = (Heard::default(), Vec::new());
        to_server(&mut client, &mut server, &mut orders, usize::MAX);
        to_client(&mut server, &mut client, &mut heard, usize::MAX);
        assert_eq!(server.state() == ServerState::Active, client.state() == ClientState::Active);
        heard.other.pop().unwrap()
    };
    assert!(try_login("Trader", "SECRET", "1   ".trim_end()).contains("SessionNotAvailable"));
    assert!(try_login("trader", "secret1", "").contains("NotAuthorized"));
    assert!(try_login("trades", "secret", "").contains("NotAuthorized"));
    assert!(try_login("TRADER", "sEcReT", "0001").contains("Continued"));
}

#[test]
fn the_client_tells_how_the_stream_goes_on() {
    let story = |asked: Position, answer: &[u8]| {
        let mut client = ClientSession::new(client_config(), asked);
        let mut heard = Heard::default();
        client.connect(at(0));
        client.receive(answer, at(0), &mut |event| heard.take(event));
        (heard.other.pop().unwrap(), client.position().next_sequence_number)
    };
    let position = Position { session: SessionId::new("0001").unwrap(), next_sequence_number: 7 };
    let (told, next) = story(position, b"\0\x1fA      0001                   9");
    assert!(told.contains("Gap { missing_count: 2 }") && next == 9, "{told}");
    let (told, next) = story(position, b"\0\x1fA      0001                   3");
    assert!(told.contains("Behind") && next == 3, "{told}");
    let (told, _) = story(position, b"\0\x1fA0001                         7");
    assert!(told.contains("Continued"), "padding on the other side: {told}");
    let (told, next) = story(position, b"\0\x1fA      0002                   1");
    assert!(told.contains("OtherSession") && next == 1, "{told}");
}

#[test]
fn heartbeats_keep_both_sides_and_silence_ends_them() {
    let mut client = ClientSession::new(client_config(), Position::START);
    let mut server = ServerSession::new(server_config());
    let (mut heard, mut orders) = (Heard::default(), Vec::new());
    client.connect(at(0));
    server.connect(at(0));
    to_server(&mut client, &mut server, &mut orders, usize::MAX);
    to_client(&mut server, &mut client, &mut heard, usize::MAX);
    let (mut client_beats, mut server_beats) = (0, 0);
    for ms in (0..20_000).step_by(100) {
        client.poll(at(ms), &mut |event| heard.take(event));
        server.poll(at(ms), &mut |_| {});
        let (up, down) = (client.pending().to_vec(), server.pending().to_vec());
        client.sent(up.len());
        server.sent(down.len(), at(ms));
        client_beats += usize::from(up == b"\0\x01R");
        server_beats += usize::from(down == b"\0\x01H");
        server.receive(&up, at(ms), &mut |_| {});
        client.receive(&down, at(ms), &mut |event| heard.take(event));
    }
    assert_eq!((client_beats, server_beats), (19, 19), "one a second");
    assert_eq!((client.state(), server.state()), (ClientState::Active, ServerState::Active));
    // Now neither hears the other.
    let mut closed = Vec::new();
    for ms in (20_000..50_000).step_by(100) {
        client.poll(at(ms), &mut |event| closed.push((ms, format!("{event:?}"))));
        server.poll(at(ms), &mut |event| closed.push((ms, format!("{event:?}"))));
    }
    let silent = "Closed(Silent)".to_owned();
    // The last words of both were the heartbeats of second 19.
    assert_eq!(closed, [(22_000, silent.clone()), (34_000, silent)]);
}

#[test]
fn missing_logins_and_wrong_directions_end_a_connection() {
    let mut client = ClientSession::new(client_config(), Position::START);
    let mut server = ServerSession::new(server_config());
    let mut heard = Heard::default();
    client.connect(at(0));
    server.connect(at(0));
    assert_eq!((client.next_deadline(), server.next_deadline()), (Some(at(5_000)), Some(at(30_000))));
    let mut told = Vec::new();
    server.poll(at(29_999), &mut |event| told.push(format!("{event:?}")));
    server.poll(at(30_000), &mut |event| told.push(format!("{event:?}")));
    client.poll(at(5_000), &mut |event| heard.take(event));
    assert_eq!((told.as_slice(), heard.other.as_slice()), (&["Closed(LoginTimeout)".to_owned()][..], &told[..]));
    for (bytes, what) in [
        (&b"\0\x01H"[..], "Unexpected(72)"),
        (b"\0\x02Sx", "Unexpected(83)"),
        (b"\0\0", "Empty"),
        (b"\xff\xffS", "TooLong"),
        (b"\0\x01?", "UnknownType"),
        (b"\0\x01Z", "Unexpected(90)"),
    ] {
        client.connect(at(0));
        let mut heard = Heard::default();
        client.receive(bytes, at(0), &mut |event| heard.take(event));
        client.receive(b"\0\x1fA      0001                   1", at(0), &mut |event| heard.take(event));
        assert_eq!(heard.other.len(), 1, "nothing is heard after the close: {:?}", heard.other);
        assert!(heard.other[0].contains(what), "{:?}", heard.other);
    }
    assert_eq!(client.send(b"x", at(0)), Err(SendError::NotLoggedIn));
}

#[test]
fn the_end_of_a_session_is_told_to_late_comers_and_a_new_one_begins_at_one() {
    let mut client = ClientSession::new(client_config(), Position::START);
    let mut server = ServerSession::new(server_config());
    let (mut heard, mut orders) = (Heard::default(), Vec::new());
    server.sequence(b"only", at(0)).unwrap();
    server.end_session(at(0));
    assert_eq!(server.sequence(b"late", at(0)), Err(SendError::EndOfSession));
    client.connect(at(0));
    server.connect(at(0));
    to_server(&mut client, &mut server, &mut orders, usize::MAX);
    to_client(&mut server, &mut client, &mut heard, usize::MAX);
    assert_eq!(heard.sequenced, [(1, b"only".to_vec())]);
    assert_eq!(heard.other.last().unwrap(), "Closed(EndOfSession)");
    server.begin_session(SessionId::new("0002").unwrap(), &mut |_| {});
    client.connect(at(0));
    server.connect(at(0));
    to_server(&mut client, &mut server, &mut orders, usize::MAX);
    to_client(&mut server, &mut client, &mut heard, usize::MAX);
    assert!(heard.other.last().unwrap().contains("Continued"));
    assert_eq!(client.position(), Position { session: SessionId(*b"      0002"), next_sequence_number: 1 });
}

#[test]
fn a_client_of_version_4_10_says_how_long_it_may_be_silent() {
    let mut server = ServerSession::new(server_config());
    let config = ClientConfig { heartbeat_timeout_ms: Some(2_000), ..client_config() };
    let mut client = ClientSession::new(config, Position::START);
    client.connect(at(0));
    server.connect(at(0));
    to_server(&mut client, &mut server, &mut Vec::new(), usize::MAX);
    let mut told = Vec::new();
    for ms in [1_999, 2_000] {
        server.poll(at(ms), &mut |event| told.push((ms, format!("{event:?}"))));
    }
    assert_eq!(told, [(2_000, "Closed(Silent)".to_owned())]);
}

#[test]
fn a_slow_reader_gets_everything_later_and_capacities_are_errors() {
    let mut server = ServerSession::new(server_config());
    let mut client = ClientSession::new(client_config(), Position::START);
    let (mut heard, mut orders) = (Heard::default(), Vec::new());
    client.connect(at(0));
    server.connect(at(0));
    to_server(&mut client, &mut server, &mut orders, usize::MAX);
    for n in 0_u8..40 {
        server.sequence(&[n; 50], at(0)).unwrap();
    }
    assert!(server.pending().len() <= 200);
    assert!(matches!(server.sequence(&[0; 98], at(0)), Err(SendError::TooLong { len: 98, len_max: 97 })));
    assert!(matches!(server.sequence(&[0; 50], at(0)), Err(SendError::StoreFull(_))));
    assert!(matches!(server.send_unsequenced(&[0; 90], at(0)), Err(SendError::OutboxFull(_))));
    for _ in 0..2_000 {
        to_client(&mut server, &mut client, &mut heard, 3);
    }
    assert_eq!(heard.sequenced.len(), 40);
    assert_eq!(heard.sequenced[39], (40, vec![39; 50]));
    server.send_unsequenced(b"aside", at(0)).unwrap();
    to_client(&mut server, &mut client, &mut heard, 100);
    assert!(heard.other.last().unwrap().contains("Unsequenced"));
    assert_eq!(client.position().next_sequence_number, 41, "unsequenced messages are not counted");
    client.logout(&mut |event| heard.take(event));
    assert_eq!(client.pending(), b"\0\x01O");
    let mut told = Vec::new();
    server.receive(client.pending(), at(0), &mut |event| told.push(format!("{event:?}")));
    assert_eq!(told, ["Closed(LoggedOut)"]);
}
