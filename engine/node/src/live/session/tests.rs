//! The question for the session's name, against a port that breaks connections.

use std::net::TcpListener;

use peregrine_gateway::soup::{
    CLIENT_SILENCE_MAX, HEARTBEAT_INTERVAL, LOGIN_TIME_MAX, Password, ServerConfig, ServerSession, Username,
};
use peregrine_runtime::system_now;

use super::*;
use crate::live::testing::login;

const PAUSE: Duration = Duration::from_millis(1);

/// A port that cuts its first `cut_count` connections, one at once, the next behind a byte of the login and so on, and then
/// answers. Gives its address, and a thread that says how many connections there were: it ends after `accept_count` of them.
fn port(cut_count: usize, accept_count: usize) -> (SocketAddr, std::thread::JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = move || {
        for number in 0..accept_count {
            let (mut stream, _) = listener.accept().unwrap();
            if number < cut_count {
                let mut part = vec![0; number];
                stream.read_exact(&mut part).unwrap();
                continue;
            }
            let mut server = ServerSession::new(ServerConfig {
                username: Username::new("desk").unwrap(),
                password: Password::new("secret").unwrap(),
                session: SessionId::new("DAY").unwrap(),
                heartbeat_interval: HEARTBEAT_INTERVAL,
                silence_max: CLIENT_SILENCE_MAX,
                login_time_max: LOGIN_TIME_MAX,
                packet_len_max: 512,
                outbox_len_max: 1 << 12,
                message_count_max: 16,
                byte_count_max: 1_024,
            });
            server.connect(system_now());
            let mut buffer = [0; 512];
            loop {
                match stream.read(&mut buffer) {
                    Ok(0) | Err(_) => break,
                    Ok(len) => server.receive(&buffer[..len], system_now(), &mut |_| {}),
                }
                let sent = stream.write(server.pending()).unwrap_or(0);
                server.sent(sent, system_now());
                if server.state() == peregrine_gateway::soup::ServerState::Disconnected {
                    break;
                }
            }
        }
        accept_count
    };
    (address, std::thread::spawn(serve))
}

#[test]
fn a_cut_connection_is_made_again_until_the_port_answers() {
    for cut_count in [0, 1, 9] {
        let (address, served) = port(cut_count, cut_count + 1);
        let name = ask(address, login("desk"), PAUSE, &mut || false).unwrap();
        assert_eq!((name, served.join().unwrap()), (SessionId::new("DAY").unwrap(), cut_count + 1));
    }
}

#[test]
fn after_the_last_try_the_error_says_how_often_it_was_tried() {
    let count = usize::try_from(TRY_COUNT_MAX).unwrap();
    let (address, served) = port(count, count);
    let error = ask(address, login("desk"), PAUSE, &mut || false).unwrap_err();
    assert!(matches!(error, AskError::Unreachable { try_count: TRY_COUNT_MAX, .. }), "{error:?}");
    let text = Failure::from(error).to_string();
    assert!(
        text.contains("in 10 tries, 1 ms apart; the last one: ") && text.contains("is the venue running?"),
        "{text}"
    );
    assert_eq!(served.join().unwrap(), count);
}

#[test]
fn a_refused_login_is_not_tried_again() {
    let (address, served) = port(0, 1);
    let error = ask(address, login("other"), PAUSE, &mut || false).unwrap_err();
    let is_refused = matches!(error, AskError::Refused { reason: CloseReason::Rejected(_), .. });
    assert!(is_refused && error.to_string().contains("check [ouch] username and password"), "{error}");
    assert_eq!(served.join().unwrap(), 1);
}

#[test]
fn somebody_who_wants_to_stop_is_heard_between_two_tries() {
    let (address, served) = port(1, 1);
    let begin = Instant::now();
    // The first try breaks; it is in the pause, an hour, that somebody stops.
    let mut gone = None::<Instant>;
    let mut is_stopped = || {
        let since = if served.is_finished() { *gone.get_or_insert_with(Instant::now) } else { return false };
        since.elapsed() > Duration::from_millis(300)
    };
    let error = ask(address, login("desk"), Duration::from_secs(3_600), &mut is_stopped).unwrap_err();
    assert!(matches!(error, AskError::Stopped { .. }), "{error}");
    assert_eq!(Failure::from(error).exit, crate::exit::Exit::Interrupted);
    assert!(begin.elapsed() < Duration::from_secs(600));
}
