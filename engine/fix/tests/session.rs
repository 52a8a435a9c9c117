//! Scripted sessions: what a session does beside the published cases (`acceptance.rs`), and those again in short.
//!
//! A script is lines: `> FIELDS` the other side sends, `< FIELDS` we send next (the fields named, others are free), `version
//! FIELDS` the same as FIX.4.2, `raw BYTES` as they are, `wait SECONDS`, `send` an order of ours, `seen NUMBER` the application got it, `in NUMBER` is
//! expected next, `open` and `closed`, `reconnect`, `logout`. What the header needs and a line does not give is filled in;
//! `TAG=@SECONDS` is a moment from now, `TAG=-` leaves a field out. A script ends with nothing more to read.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{framed, summed, wire};
use peregrine_fix::value::format_time;
use peregrine_fix::{Body, Event, FrameDecoder, Numbers, Role, Session, SessionConfig, State, message};
use peregrine_types::{EpochNanos, Nanos};
use proptest::prelude::*;

const START: EpochNanos = EpochNanos(1_767_623_400_000_000_000);
const HEADER: [&str; 8] = ["35", "49", "56", "34", "43", "97", "52", "122"];

struct Script {
    session: Session,
    now: EpochNanos,
    decoder: FrameDecoder,
    said: std::collections::VecDeque<String>,
    seen: Vec<u64>,
}

fn frame(fields: &str) -> Vec<u8> {
    wire(&framed(fields))
}

impl Script {
    fn new(config: SessionConfig, numbers: Numbers) -> Self {
        let mut session = Session::new(config, numbers);
        session.connect(START);
        let decoder = FrameDecoder::new(1 << 13);
        Self { session, now: START, decoder, said: [].into(), seen: vec![] }
    }

    /// A message of the other side from the fields that matter.
    fn complete(&self, fields: &str) -> String {
        let given: Vec<(&str, &str)> = fields.split('|').filter_map(|field| field.split_once('=')).collect();
        let stamp = format_time(self.now);
        let default = [("49", "THEM"), ("56", "US"), ("52", stamp.as_str())];
        let mut head = String::new();
        for tag in HEADER {
            let given = given.iter().find(|(key, _)| *key == tag);
            if let Some((_, value)) = given.or(default.iter().find(|(key, _)| *key == tag)) {
                match value.strip_prefix('@') {
                    Some(seconds) => {
                        let time = self.now.plus(Nanos::from_secs(seconds.parse().unwrap()));
                        head += &format!("{tag}={}|", format_time(time));
                    }
                    None if *value == "-" => {}
                    None => head += &format!("{tag}={value}|"),
                }
            }
        }
        let body = given.iter().filter(|(tag, _)| !HEADER.contains(tag));
        body.fold(head, |text, (tag, value)| text + &format!("{tag}={value}|"))
    }

    fn on_bytes(&mut self, bytes: &[u8]) {
        let seen = &mut self.seen;
        self.session.receive(bytes, self.now, &mut |event| {
            if let Event::Message { number, .. } = event {
                seen.push(number);
            }
        });
        self.take();
    }

    /// Reads what the session sends, as the other side would: framed, summed.
    fn take(&mut self) {
        loop {
            let bytes = self.session.pending().to_vec();
            if bytes.is_empty() {
                return;
            }
            self.session.sent(bytes.len(), self.now);
            let mut input = &bytes[..];
            while let Some(frame) = self.decoder.next(&mut input).expect("what we send is sound") {
                let mut fields = Vec::new();
                let (message, error) = message::parse(frame, &mut fields);
                assert_eq!(error, None);
                assert_eq!(peregrine_fix::dictionary::check(&message), Ok(()), "{}", String::from_utf8_lossy(frame));
                self.said.push_back(String::from_utf8(frame.to_vec()).unwrap().replace('\x01', "|"));
            }
        }
    }

    fn step(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            ">" => {
                let bytes = frame(&self.complete(rest));
                self.on_bytes(&bytes);
            }
            "version" => {
                let text = framed(&self.complete(rest)).replacen("FIX.4.4", "FIX.4.2", 1);
                self.on_bytes(&wire(&summed(&text[..text.len() - 7])));
            }
            "raw" => self.on_bytes(&wire(rest)),
            "<" => {
                let said = self.said.pop_front().unwrap_or_else(|| panic!("nothing was said, expected {rest}"));
                for field in rest.split('|') {
                    assert!(said.contains(&format!("|{field}|")), "{field} is not in {said}");
                }
            }
            "wait" => {
                for _ in 0..rest.parse::<u32>().unwrap() {
                    self.now = self.now.plus(Nanos::from_secs(1));
                    self.session.poll(self.now, &mut |_| {});
                    self.take();
                }
            }
            "send" => {
                let mut body = Body::new();
                body.field(11, rest).field(55, "X").char(54, b'1').time(60, self.now).char(40, b'1');
                self.session.send("D", &body, self.now).unwrap();
                self.take();
            }
            "seen" => assert_eq!(self.seen.remove(0), rest.parse::<u64>().unwrap()),
            "in" => assert_eq!(self.session.numbers().next_in, rest.parse::<u64>().unwrap()),
            "out" => assert_eq!(self.session.numbers().next_out, rest.parse::<u64>().unwrap()),
            "open" => assert_eq!(self.session.state(), State::Active),
            "closed" => assert_eq!(self.session.state(), State::Disconnected),
            "reconnect" => {
                self.session.disconnect(&mut |_| {});
                self.decoder.reset();
                self.session.connect(self.now);
                self.take();
            }
            "logout" => {
                self.session.logout(rest, self.now, &mut |_| {});
                self.take();
            }
            _ => panic!("no such step: {line}"),
        }
    }
}

fn config(role: Role) -> SessionConfig {
    SessionConfig {
        resend_len_max: 2_500,
        resend_time_max: Nanos::from_secs(5),
        ..SessionConfig::new(role, "US", "THEM")
    }
}

fn run(name: &str, config: SessionConfig, numbers: Numbers, script: &str) {
    let result = std::panic::catch_unwind(|| {
        let mut made = Script::new(config, numbers);
        made.take();
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            made.step(line);
        }
        assert!(made.said.is_empty(), "more was said: {:?}", made.said);
        assert!(made.seen.is_empty(), "more was seen: {:?}", made.seen);
    });
    assert!(result.is_ok(), "the case `{name}` fails");
}

const LOGON: &str = "> 35=A|34=1|98=0|108=30\n< 35=A|34=1|98=0|108=30\n";
/// An order of the other side, but its number and what differs.
const ORDER: &str = "35=D|11=1|55=X|54=1|60=20260105-14:30:00|38=100|40=2|44=1.5";

/// Cases after a Logon, for an acceptor. `ORDER` stands for an order's fields.
const ACCEPTOR: &[(&str, &str)] = &[
    ("a message with the expected number is taken", "> ORDER|34=2\nseen 2\nin 3"),
    (
        "a number too high asks for what is missing, which then comes",
        "> ORDER|34=3\nin 2\n< 35=2|7=2|16=0\n> ORDER|34=2|43=Y|122=@-5\n> ORDER|34=3|43=Y|122=@-1\nseen 2\nseen 3\nin 4\nopen",
    ),
    (
        "no second request while one is running",
        "> ORDER|34=5\n< 35=2|7=2|16=0\n> ORDER|34=6\n> ORDER|34=7\n> 35=4|34=2|43=Y|123=Y|36=8\nin 8\n> ORDER|34=8\nseen 8",
    ),
    (
        "a number too low without PossDup ends the session",
        "> ORDER|34=1\n< 35=5|58=message number 1 is too low, 2 is expected: one side has lost its numbers\nclosed",
    ),
    ("garbled bytes are ignored and use up no number", "raw 8=FIX.4.4|9=5|nonsense|\n> ORDER|34=2\nseen 2"),
    ("a repeated message that was taken is ignored", "> ORDER|34=2\nseen 2\n> ORDER|34=2|43=Y|122=@-1\nin 3\nopen"),
    ("a repeated message that was not taken is taken", "> ORDER|34=2|43=Y|122=@-1\nseen 2"),
    (
        "a repeated message that was first sent after it was sent is refused and ends the session",
        "> ORDER|34=2|43=Y|122=@10\n< 35=3|45=2|371=122|373=10|372=D\n< 35=5\nclosed",
    ),
    (
        "a repeated message without its first time is refused",
        "> ORDER|34=2|43=Y\n< 35=3|45=2|371=122|373=1\nin 3\nopen",
    ),
    ("another version of FIX ends the session", "version 35=0|34=2\n< 35=5|58=another version than FIX.4.4\nclosed"),
    (
        "another sender is refused and ends the session",
        "> ORDER|34=2|49=SOMEBODY\n< 35=3|45=2|371=49|373=9\n< 35=5\nclosed",
    ),
    (
        "another target is refused and ends the session",
        "> ORDER|34=2|56=SOMEBODY\n< 35=3|45=2|371=56|373=9\n< 35=5\nclosed",
    ),
    (
        "a body length that is wrong is garbled",
        "raw 8=FIX.4.4|9=99|35=0|34=2|10=000|8=FIX.4.4|9=5|35=0|10=1\nin 2\nopen",
    ),
    ("the first three fields out of order are garbled", "raw 8=FIX.4.4|35=0|9=5|34=2|10=000|\n> 35=0|34=2\nin 3\nopen"),
    (
        "a sending time far from the clock is refused and ends the session",
        "> ORDER|34=2|52=@-180\n< 35=3|45=2|371=52|373=10\n< 35=5\nclosed",
    ),
    ("a sending time far in the future as well", "> ORDER|34=2|52=@180\n< 35=3|45=2|371=52|373=10\n< 35=5\nclosed"),
    ("a sending time that is none is refused", "> ORDER|34=2|52=yesterday\n< 35=3|45=2|371=52|373=6\nin 3\nopen"),
    ("a message without sending time is refused", "> ORDER|34=2|52=-\n< 35=3|45=2|371=52|373=1\nin 3\nopen"),
    ("a message without number ends the session", "> ORDER|34=-\n< 35=5|58=a message without a number\nclosed"),
    ("a type that FIX 4.4 does not have is refused", "> 35=O|34=2\n< 35=3|45=2|373=11|371=35\nin 3"),
    ("a sum that is wrong is garbled", "raw 8=FIX.4.4|9=10|35=0|34=2|10=000|\n> 35=0|34=2\nin 3\nopen"),
    ("a heartbeat goes out when nothing was said", "> 35=0|34=2\nwait 29\nin 3\nwait 1\n< 35=0|34=2"),
    ("a test request is answered with its word", "> 35=1|34=2|112=HELLO\n< 35=0|112=HELLO"),
    ("a heartbeat is taken", "> 35=0|34=2\nin 3\n> 35=0|34=3|112=X\nin 4"),
    (
        "silence brings a test request, then the end",
        "wait 35\n< 35=0\nwait 1\n< 35=1|112=PEREGRINE-1\nwait 30\n< 35=0\nopen\nwait 6\nclosed",
    ),
    (
        "an answered test request keeps the session",
        "wait 36\n< 35=0\n< 35=1|112=PEREGRINE-1\n> 35=0|34=2|112=PEREGRINE-1\nwait 30\n< 35=0\nopen",
    ),
    ("a Reject is taken and not answered", "> 35=3|34=2|45=1|373=5|58=no\nin 3\nopen"),
    ("a malformed Reject is not answered with a Reject", "> 35=3|34=2\nin 3\nopen"),
    (
        "messages of applications are sent again, the session's are stepped over",
        "send a\n< 35=D|34=2\n> 35=1|34=2|112=X\n< 35=0|34=3\nsend b\n< 35=D|34=4|11=b\n> 35=2|34=3|7=1|16=0\n\
         < 35=4|34=1|43=Y|123=Y|36=2\n< 35=D|34=2|43=Y|11=a\n< 35=4|34=3|43=Y|123=Y|36=4\n< 35=D|34=4|43=Y|11=b\nout 5",
    ),
    (
        "a resend of the session's messages alone is one gap fill",
        "> 35=1|34=2|112=X\n< 35=0\n> 35=2|34=3|7=1|16=0\n< 35=4|34=1|123=Y|36=3",
    ),
    (
        "a resend of the application's messages alone has no gap fill",
        "send a\n< 35=D|34=2\nsend b\n< 35=D|34=3\n> 35=2|34=2|7=2|16=3\n< 35=D|34=2|43=Y\n< 35=D|34=3|43=Y",
    ),
    ("a part is sent again as a part", "send a\n< 35=D\nsend b\n< 35=D\n> 35=2|34=2|7=2|16=2\n< 35=D|34=2|43=Y|11=a"),
    (
        "an end beyond the last message is the last message",
        "send a\n< 35=D\n> 35=2|34=2|7=2|16=999999\n< 35=D|34=2|43=Y",
    ),
    ("a request for what was never sent brings nothing", "> 35=2|34=2|7=9|16=0\nin 3\nopen"),
    ("a Reject of ours is sent again", "> 35=O|34=2\n< 35=3|34=2\n> 35=2|34=3|7=2|16=2\n< 35=3|34=2|43=Y|45=2"),
    (
        "a repeated request is answered twice",
        "send a\n< 35=D\n> 35=2|34=2|7=2|16=0\n< 35=D|43=Y\n> 35=2|34=3|7=2|16=0\n< 35=D|43=Y",
    ),
    ("a gap fill in its place is taken", "> 35=4|34=2|123=Y|36=20\nin 20\nopen"),
    ("a gap fill with a number too high asks for what is missing", "> 35=4|34=5|123=Y|36=20\n< 35=2|7=2|16=0\nin 2"),
    ("a gap fill with a number too low ends the session", "> 35=4|34=1|123=Y|36=20\n< 35=5\nclosed"),
    ("a repeated gap fill with a number too low is ignored", "> 35=4|34=1|43=Y|122=@-1|123=Y|36=20\nin 2\nopen"),
    ("a gap fill that goes back is refused", "> 35=4|34=2|123=Y|36=1\n< 35=3|45=2|371=36|373=5\nin 3\nopen"),
    ("a reset forward is taken whatever its number", "> 35=4|34=77|123=N|36=20\nin 20\n> ORDER|34=20\nseen 20"),
    ("a reset to what is expected changes nothing", "> 35=4|34=2|36=2\nin 2\nopen"),
    ("a reset back is refused", "> ORDER|34=2\nseen 2\n> 35=4|34=77|36=2\n< 35=3|371=36|373=5\nin 3\nopen"),
    ("a logout is answered and ends the session", "> 35=5|34=2\n< 35=5\nclosed"),
    ("a logout with a number too high is answered", "> 35=5|34=9\n< 35=5\nclosed"),
    ("our logout ends with its answer", "logout good night\n< 35=5|58=good night\n> 35=5|34=2\nclosed"),
    ("our logout ends without an answer too", "logout\n< 35=5\nwait 5\nclosed"),
    ("a field that FIX 4.4 does not have is refused", "> ORDER|34=2|999=HI\n< 35=3|45=2|371=999|373=0|372=D\nin 3"),
    ("a field that is no number is refused", "> ORDER|34=2|x=1\n< 35=3|45=2|373=0\nin 3"),
    (
        "a field that must be there is missed",
        "> 35=D|34=2|11=1|55=X|60=20260105-14:30:00|40=1\n< 35=3|45=2|371=54|373=1\nin 3",
    ),
    ("a field of another message is refused", "> ORDER|34=2|112=X\n< 35=3|371=112|373=2\nin 3"),
    ("a field without value is refused", "> ORDER|34=2|58=\n< 35=3|371=58|373=4\nin 3"),
    (
        "a value that the field cannot have is refused",
        "> 35=D|34=2|11=1|55=X|54=1|60=20260105-14:30:00|40=X\n< 35=3|371=40|373=5\nin 3",
    ),
    (
        "a value of another type is refused",
        "> 35=D|34=2|11=1|55=X|54=1|60=20260105-14:30:00|38=+200.00|40=1\n< 35=3|371=38|373=6\nin 3",
    ),
    ("a header field in the body is refused", "> ORDER|34=2|50=DESK\n< 35=3|371=50|373=14\nin 3"),
    ("a field that stands twice is refused", "> ORDER|34=2|40=2\n< 35=3|371=40|373=13\nin 3"),
    ("a group of another size than it says is refused", "> ORDER|34=2|386=3|336=A|336=B\n< 35=3|371=386|373=16\nin 3"),
    ("a group whose entry begins elsewhere is refused", "> ORDER|34=2|386=1|625=A|336=B\n< 35=3|371=625|373=15\nin 3"),
    ("a group of nothing is taken", "> ORDER|34=2|386=0\nseen 2"),
    (
        "fields of a body may stand in any order",
        "> 35=D|34=2|44=1.5|40=2|38=100|60=20260105-14:30:00|54=1|55=X|11=1\nseen 2",
    ),
    ("fields of users' own are taken", "> ORDER|34=2|6001=x\nseen 2"),
    ("a possible resend is taken under its new number", "> ORDER|34=2\nseen 2\n> ORDER|34=3|97=Y\nseen 3"),
    (
        "two sides that both miss something answer each other",
        "send a\n< 35=D|34=2\n> 35=2|34=3|7=2|16=0\n< 35=D|34=2|43=Y|11=a\n< 35=2|7=2|16=0\n> 35=4|34=2|43=Y|123=Y|36=4\nin 4\nopen",
    ),
    (
        "numbers begin anew while connected",
        "> ORDER|34=2\nseen 2\n> 35=A|34=1|98=0|108=30|141=Y\n< 35=A|34=1|141=Y\nin 2\nout 2\nopen",
    ),
    (
        "a logon that is sent again does not begin anew",
        "> ORDER|34=2\nseen 2\n> 35=A|34=1|43=Y|122=@-1|98=0|108=30|141=Y\nin 3\nout 2\nopen",
    ),
    ("what came early is taken in its turn", "> ORDER|34=3\n< 35=2|7=2|16=0\n> 35=0|34=2\nseen 3\nin 4\nopen"),
    (
        "a request that came early is answered once",
        "send a\n< 35=D|34=2\n> 35=2|34=3|7=2|16=0\n< 35=D|34=2|43=Y\n< 35=2|34=3|7=2|16=0\n> 35=0|34=2\nin 4\nopen",
    ),
    (
        "a reset forgets what came early",
        "> ORDER|34=5\n< 35=2|7=2\n> 35=4|34=9|123=N|36=5\nin 5\n> ORDER|34=5\nseen 5\nin 6",
    ),
    (
        "what is said behind our logout waits for the next connection",
        "logout\n< 35=5|34=2\nsend a\nout 4\n> 35=5|34=2\nclosed\nreconnect\n> 35=A|34=3|98=0|108=30\n< 35=A|34=4\n\
         > 35=2|34=4|7=3|16=3\n< 35=D|34=3|43=Y|11=a",
    ),
    ("a type that nobody has is repeated", "> 35=Zq9|34=2\n< 35=3|45=2|371=35|372=Zq9|373=11\nin 3"),
    ("a second logon is refused", "> 35=A|34=2|98=0|108=30\n< 35=3|45=2|373=99\nin 3\nopen"),
    (
        "a lost connection goes on with its numbers",
        "send a\n< 35=D|34=2\n> ORDER|34=2\nseen 2\nreconnect\nsend b\n> 35=A|34=3|98=0|108=30\n< 35=A|34=4\n> 35=2|34=4|7=2|16=0\n< 35=D|34=2|43=Y\n< 35=D|34=3|43=Y|11=b\n< 35=4|34=4|36=5\nopen",
    ),
];

#[test]
fn an_acceptor_after_the_logon() {
    for (name, script) in ACCEPTOR {
        let script = script.replace("ORDER", ORDER);
        run(name, config(Role::Acceptor), Numbers::START, &format!("{LOGON}{script}"));
    }
}

/// First messages, for an acceptor that expects number 5.
const LOGONS: &[(&str, &str)] = &[
    ("a logon is answered with its heartbeat", "> 35=A|34=5|98=0|108=2\n< 35=A|34=9|108=2\nin 6\nwait 2\n< 35=0"),
    (
        "a logon with a number too high is answered, then asked",
        "> 35=A|34=8|98=0|108=30\n< 35=A|34=9\n< 35=2|7=5|16=0\nin 5\nopen",
    ),
    ("a logon with a number too low is refused", "> 35=A|34=2|98=0|108=30\n< 35=5\nclosed"),
    ("a logon of somebody else is not answered", "> 35=A|34=5|98=0|108=30|49=SOMEBODY\nclosed"),
    ("a logon for somebody else is not answered", "> 35=A|34=5|98=0|108=30|56=SOMEBODY\nclosed"),
    ("a logon at another time is not answered", "> 35=A|34=5|98=0|108=30|52=@-180\nclosed"),
    ("a logon of another version is not answered", "version 35=A|34=5|98=0|108=30\nclosed"),
    ("a garbled logon is not answered", "raw 8=FIX.4.4|9=10|35=A|34=5|10=000|\nclosed"),
    ("a first message that is no logon is not answered", "> 35=0|34=5\nclosed"),
    (
        "a logon without heartbeat interval is refused",
        "> 35=A|34=5|98=0\n< 35=5|58=the logon is not acceptable: tag 108\nclosed",
    ),
    ("a logon with a negative heartbeat interval is refused", "> 35=A|34=5|98=0|108=-1\n< 35=5\nclosed"),
    ("a logon with encryption is refused", "> 35=A|34=5|98=1|108=30\n< 35=5\nclosed"),
    ("a logon may begin both sides anew", "> 35=A|34=1|98=0|108=30|141=Y\n< 35=A|34=1|141=Y\nin 2\nout 2"),
    ("a reset that does not begin at 1 is refused", "> 35=A|34=5|98=0|108=30|141=Y\n< 35=5\nclosed"),
    ("no heartbeat interval, no heartbeats", "> 35=A|34=5|98=0|108=0\n< 35=A|108=0\nwait 300\nopen"),
    (
        "what the other side expects next is sent without asking",
        "> 35=A|34=5|98=0|108=30|789=7\n< 35=A|34=9\n< 35=4|34=7|123=Y|36=10",
    ),
    ("who expects more than was sent knows more than we do", "> 35=A|34=5|98=0|108=30|789=12\n< 35=A\n< 35=5\nclosed"),
    ("no logon in time", "wait 9\nwait 1\nclosed"),
];

#[test]
fn an_acceptor_before_the_logon() {
    for (name, script) in LOGONS {
        run(name, config(Role::Acceptor), Numbers { next_out: 9, next_in: 5 }, script);
    }
    let login = SessionConfig { login: Some(("me".into(), "secret".into())), ..config(Role::Acceptor) };
    run("a password", login.clone(), Numbers::START, "> 35=A|34=1|98=0|108=30|553=me|554=secret\n< 35=A");
    run("a wrong password", login, Numbers::START, "> 35=A|34=1|98=0|108=30|553=me|554=wrong\n< 35=5\nclosed");
    let name = SessionConfig { login: Some(("me".into(), String::new())), ..config(Role::Acceptor) };
    run("a name alone", name.clone(), Numbers::START, "> 35=A|34=1|98=0|108=30|553=me\n< 35=A\nopen");
    run("a password too much", name, Numbers::START, "> 35=A|34=1|98=0|108=30|553=me|554=x\n< 35=5\nclosed");
}

/// An initiator that expects number 5 and sends number 9 next.
const INITIATOR: &[(&str, &str)] = &[
    ("it logs on first", "< 35=A|34=9|98=0|108=30\n> 35=A|34=5|98=0|108=30\nopen\nin 6"),
    ("orders wait for the answer", "< 35=A|34=9\nsend a\n> 35=A|34=5|98=0|108=30\n< 35=D|34=10|11=a"),
    (
        "what waited was sent first when it went out, not when it was kept",
        "< 35=A|34=9\nwait 1\nsend a\nwait 2\n> 35=A|34=5|98=0|108=30\n< 35=D|34=10|52=20260105-14:30:03.000|11=a\n\
         wait 1\n> 35=2|34=6|7=10|16=0\n< 35=D|34=10|43=Y|52=20260105-14:30:04.000|122=20260105-14:30:03.000|11=a",
    ),
    (
        "it asks for what it missed",
        "< 35=A|34=9\n> 35=A|34=7|98=0|108=30\n< 35=2|34=10|7=5|16=0\n> 35=4|34=5|43=Y|123=Y|36=8\nin 8",
    ),
    ("a logout instead of an answer", "< 35=A\n> 35=5|34=5|58=no\nclosed"),
    ("another message instead of an answer", "< 35=A\n> 35=0|34=5\nclosed"),
    ("no answer in time", "< 35=A\nwait 10\nclosed"),
    ("an acceptor that has lost its numbers", "< 35=A\n> 35=A|34=1|98=0|108=30\n< 35=5\nclosed"),
    ("an acceptor that begins anew", "< 35=A\n> 35=A|34=1|98=0|108=30|141=Y\nopen\nin 2\nout 2"),
    (
        "an acceptor that begins anew while orders wait",
        "< 35=A|34=9\nsend a\n> 35=A|34=1|98=0|108=30|141=Y\n< 35=D|34=2|11=a\nout 3\n> 35=2|34=2|7=1|16=0\n\
         < 35=4|34=1|36=2\n< 35=D|34=2|43=Y|11=a\nopen",
    ),
    (
        "an acceptor that begins anew while connected",
        "< 35=A|34=9\n> 35=A|34=5|98=0|108=30\nsend a\n< 35=D|34=10\n> 35=A|34=1|98=0|108=30|141=Y\n\
         < 35=A|34=1|141=Y\nin 2\nsend b\n< 35=D|34=2|11=b\nopen",
    ),
    (
        "what waits is sent once, whatever the answer expects",
        "< 35=A|34=9\nsend a\n> 35=A|34=5|98=0|108=30|789=10\n< 35=D|34=10|11=a\nout 11\nopen",
    ),
    (
        "what the answer expects ends where the wire ends",
        "< 35=A|34=9\nsend a\n> 35=A|34=5|98=0|108=30|789=9\n< 35=4|34=9|36=10\n< 35=D|34=10|11=a\nout 11\nopen",
    ),
    (
        "an acceptor that expects what was never sent knows more than we do",
        "< 35=A|34=9\nsend a\n> 35=A|34=5|98=0|108=30|789=11\n< 35=D|34=10\n< 35=5|34=11\nclosed",
    ),
];

#[test]
fn an_initiator() {
    for (name, script) in INITIATOR {
        run(name, config(Role::Initiator), Numbers { next_out: 9, next_in: 5 }, script);
    }
    let reset = SessionConfig { is_reset_on_logon: true, ..config(Role::Initiator) };
    let script = "< 35=A|34=1|141=Y\n> 35=A|34=1|98=0|108=30|141=Y\nopen\nin 2\nout 2";
    run("both begin anew", reset, Numbers { next_out: 9, next_in: 5 }, script);
    let login = SessionConfig { login: Some(("me".into(), "secret".into())), ..config(Role::Initiator) };
    run("a password", login, Numbers::START, "< 35=A|553=me|554=secret\n");
    // The script's own check of what is said refuses a field without value.
    let name = SessionConfig { login: Some(("me".into(), String::new())), ..config(Role::Initiator) };
    run("a name alone", name, Numbers::START, "< 35=A|553=me\n> 35=A|34=1|98=0|108=30\nopen");
}

#[test]
fn a_long_gap_is_asked_for_in_parts_and_ends() {
    let mut script = format!("{LOGON}> 35=0|34=6001\n< 35=2|7=2|16=2501\n");
    script += "> 35=4|34=2|43=Y|123=Y|36=2502\n< 35=2|7=2502|16=5001\n> 35=0|34=6002\n";
    script += "> 35=4|34=2502|43=Y|123=Y|36=5002\n< 35=2|7=5002|16=0\n> 35=4|34=5002|43=Y|123=Y|36=6003\nin 6003\nopen";
    run("parts", config(Role::Acceptor), Numbers::START, &script);
    // The other side never sends what is asked for, and talks on: no endless loop.
    let silence = |script: &str, numbers: core::ops::Range<u32>| {
        numbers.fold(script.to_owned(), |script, number| script + &format!("wait 1\n> 35=0|34={number}\n"))
    };
    let script = silence(&format!("{LOGON}> 35=0|34=6001\n< 35=2|7=2|16=2501\n"), 6_002..6_006);
    let script = silence(&(script + "wait 1\n< 35=2|7=2|16=2501\n"), 6_006..6_010);
    let script = silence(&(script + "wait 1\n< 35=2|7=2|16=2501\n"), 6_010..6_014);
    let script = script + "wait 1\n< 35=5|58=messages from 2 on were asked for and did not come\nclosed";
    run("no end", config(Role::Acceptor), Numbers::START, &script);
}

#[test]
fn what_is_stale_or_forgotten_is_stepped_over() {
    let stale = SessionConfig { resend_age_max: Some(Nanos::from_secs(3)), ..config(Role::Acceptor) };
    let script =
        "send a\n< 35=D|34=2\nwait 4\nsend b\n< 35=D|34=3\n> 35=2|34=2|7=2|16=0\n< 35=4|34=2|36=3\n< 35=D|34=3|43=Y";
    run("stale", stale, Numbers::START, &format!("{LOGON}{script}"));
    let small = SessionConfig { store_count_max: 2, ..config(Role::Acceptor) };
    let script = "send a\n< 35=D\nsend b\n< 35=D\nsend c\n< 35=D\n> 35=2|34=2|7=1|16=0\n< 35=4|34=1|36=3\n< 35=D|34=3|43=Y|11=b\n< 35=D|34=4|43=Y|11=c";
    run("forgotten", small, Numbers::START, &format!("{LOGON}{script}"));
}

#[test]
fn what_comes_early_and_finds_no_room_is_asked_for() {
    let none = SessionConfig { early_len_max: 0, ..config(Role::Acceptor) };
    let script = "> ORDER|34=3\n< 35=2|7=2|16=0\n> 35=0|34=2\nin 3\n> ORDER|34=3|43=Y|122=@-1\nseen 3\nin 4\nopen";
    run("no room", none, Numbers::START, &format!("{LOGON}{script}").replace("ORDER", ORDER));
}

/// A session that is logged on as an acceptor, with small buffers, and nothing read yet of what it said.
fn small_acceptor() -> Session {
    let config = SessionConfig { message_len_max: 512, outbox_len_max: 1_024, ..config(Role::Acceptor) };
    let mut session = Session::new(config, Numbers::START);
    session.connect(START);
    let stamp = format_time(START);
    let logon = frame(&format!("35=A|49=THEM|56=US|34=1|52={stamp}|98=0|108=30|"));
    session.receive(&logon, START, &mut |_| {});
    assert_eq!(session.state(), State::Active);
    session
}

#[test]
fn a_second_request_does_not_cut_the_first_one_off() {
    let mut session = small_acceptor();
    let read = |session: &mut Session| {
        let (mut decoder, mut numbers) = (FrameDecoder::new(512), Vec::new());
        while !session.pending().is_empty() {
            let bytes = session.pending().to_vec();
            session.sent(bytes.len(), START);
            let mut input = &bytes[..];
            while let Some(frame) = decoder.next(&mut input).unwrap() {
                let mut fields = Vec::new();
                numbers.push(message::parse(frame, &mut fields).0.number(34).unwrap().unwrap());
            }
        }
        numbers
    };
    assert_eq!(read(&mut session), [1]);
    for name in 0..20 {
        let mut body = Body::new();
        body.field(11, name).field(55, "X").char(54, b'1').time(60, START).char(40, b'1');
        session.send("D", &body, START).unwrap();
    }
    assert_eq!(read(&mut session), (2..22).collect::<Vec<_>>());
    let ask = |number, begin, end| {
        frame(&format!("35=2|49=THEM|56=US|34={number}|52={}|7={begin}|16={end}|", format_time(START)))
    };
    session.receive(&[ask(2, 2, 15), ask(3, 18, 20)].concat(), START, &mut |_| {});
    let again = read(&mut session);
    for number in (2..=15).chain(18..=20) {
        assert!(again.contains(&number), "{number} is not among {again:?}");
    }
}

/// A caller that sleeps until the next deadline does not spin when the other side does not read.
#[test]
fn no_deadline_lies_in_the_past() {
    let mut session = small_acceptor();
    let mut now = START;
    for _ in 0..35 {
        now = now.plus(Nanos::from_secs(1));
        session.poll(now, &mut |_| {});
        let deadline = session.next_deadline().unwrap();
        assert!(deadline > now, "{} s after the begin", now.since(START).0 / 1_000_000_000);
    }
}

/// Both of our sides talk, and the connection breaks at every byte of what they say: every message arrives once, in order.
#[test]
fn a_connection_cut_at_every_byte_loses_and_doubles_nothing() {
    let talk = |cut: usize| -> (Vec<Vec<u64>>, usize) {
        let mut sides = [Role::Initiator, Role::Acceptor].map(|role| {
            let (us, them) = if role == Role::Initiator { ("A", "B") } else { ("B", "A") };
            let config = SessionConfig {
                heartbeat_s: 1,
                resend_time_max: Nanos::from_secs(1),
                ..SessionConfig::new(role, us, them)
            };
            Session::new(config, Numbers::START)
        });
        let (mut now, mut passed, mut seen) = (START, 0_usize, vec![vec![], vec![]]);
        sides.iter_mut().rev().for_each(|side| assert!(side.connect(now)));
        for round in 0..60_u64 {
            now = now.plus(Nanos::from_millis(400));
            if round % 5 == 1 && round < 30 {
                for side in &mut sides {
                    let mut body = Body::new();
                    body.field(11, round).field(55, "X").char(54, b'1').time(60, now).char(40, b'1');
                    side.send("D", &body, now).unwrap();
                }
            }
            for from in [0, 1] {
                let mut bytes = sides[from].pending().to_vec();
                sides[from].sent(bytes.len(), now);
                let is_cut = passed < cut && passed + bytes.len() >= cut;
                passed += bytes.len();
                if is_cut {
                    bytes.truncate(bytes.len() - (passed - cut));
                }
                let to = 1 - from;
                let list = &mut seen[to];
                let mut on_event = |event: Event<'_>| {
                    if let Event::Message { message, .. } = event {
                        list.push(message.number(11).unwrap().unwrap());
                    }
                };
                sides[to].receive(&bytes, now, &mut on_event);
                sides[to].poll(now, &mut on_event);
                if is_cut || sides.iter().any(|side| side.state() == State::Disconnected) {
                    sides.iter_mut().for_each(|side| side.disconnect(&mut |_| {}));
                    sides.iter_mut().rev().for_each(|side| assert!(side.connect(now)));
                    break;
                }
            }
        }
        (seen, passed)
    };
    let (whole, len) = talk(0);
    assert_eq!(whole, vec![vec![1, 6, 11, 16, 21, 26]; 2]);
    for cut in 1..len.min(2_600) {
        assert_eq!(talk(cut).0, whole, "cut at byte {cut}");
    }
}

/// Two sides over a line that damages or swallows messages: what happens to the next ones, again and again.
struct BadLine {
    sides: [Session; 2],
    seen: [Vec<u64>; 2],
    fates: Vec<u8>,
    fate: usize,
    now: EpochNanos,
}

impl BadLine {
    fn new((resend_len_max, early_len_max): (u64, usize), fates: Vec<u8>) -> Self {
        let sides = [Role::Initiator, Role::Acceptor].map(|role| {
            let (us, them) = if role == Role::Initiator { ("A", "B") } else { ("B", "A") };
            let config = SessionConfig {
                heartbeat_s: 5,
                resend_time_max: Nanos::from_secs(1),
                resend_count_max: 1_000,
                message_len_max: 512,
                outbox_len_max: 1_024,
                resend_len_max,
                early_len_max,
                ..SessionConfig::new(role, us, them)
            };
            Session::new(config, Numbers::START)
        });
        let mut line = Self { sides, seen: [vec![], vec![]], fates, fate: 0, now: START };
        line.sides.iter_mut().rev().for_each(|side| assert!(side.connect(START)));
        line.carry(false);
        line.carry(false);
        assert!(line.sides.iter().all(|side| side.state() == State::Active));
        line
    }

    /// Everything that either side has to say goes over the line once.
    fn carry(&mut self, is_bad: bool) {
        self.now = self.now.plus(Nanos::from_millis(100));
        for from in [0, 1] {
            let (mut bytes, now) = (Vec::new(), self.now);
            while !self.sides[from].pending().is_empty() {
                bytes.extend_from_slice(self.sides[from].pending());
                let count = self.sides[from].pending().len();
                self.sides[from].sent(count, now);
            }
            let (mut decoder, mut input, mut over) = (FrameDecoder::new(512), &bytes[..], Vec::new());
            while let Some(frame) = decoder.next(&mut input).unwrap() {
                let fate = self.fates[self.fate % self.fates.len()];
                self.fate += 1;
                let begin = over.len();
                match fate {
                    0 if is_bad => {}
                    1 if is_bad => {
                        over.extend_from_slice(frame);
                        let at = begin + frame.len() / 2;
                        over[at] = over[at].wrapping_add(1);
                    }
                    _ => over.extend_from_slice(frame),
                }
            }
            let list = &mut self.seen[1 - from];
            let mut on_event = |event: Event<'_>| {
                if let Event::Message { message, .. } = event {
                    list.push(message.number(11).unwrap().unwrap());
                }
                assert!(!matches!(event, Event::Closed(_)), "{event:?}");
            };
            self.sides[1 - from].receive(&over, now, &mut on_event);
            self.sides[1 - from].poll(now, &mut on_event);
        }
    }

    fn send(&mut self, from: usize, name: u64) {
        let mut body = Body::new();
        body.field(11, name).field(55, "X").char(54, b'1').time(60, self.now).char(40, b'1');
        self.sides[from].send("D", &body, self.now).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the line loses, in requests, repetitions and gap fills too: every message arrives once and in order.
    #[test]
    fn a_line_that_loses_messages_loses_nothing(
        fates in prop::collection::vec(0_u8..8, 1..40),
        sends in prop::collection::vec(0_usize..4, 1..60),
        resend_len_max in prop::sample::select(vec![1_u64, 2, 3, 2_500]),
        early_len_max in prop::sample::select(vec![0_usize, 300, 1 << 16]),
    ) {
        // A line that loses everything is none.
        let fates = [fates, vec![7]].concat();
        let mut line = BadLine::new((resend_len_max, early_len_max), fates);
        let mut sent = [vec![], vec![]];
        for (name, kind) in (1..).zip(&sends) {
            for from in [0, 1] {
                if kind & (1 << from) != 0 {
                    line.send(from, name);
                    sent[from].push(name);
                }
            }
            line.carry(true);
        }
        (0..600).for_each(|_| line.carry(false));
        let [first, second] = sent;
        prop_assert_eq!(&line.seen, &[second, first]);
        prop_assert!(line.sides.iter().all(|side| !side.has_gap()));
    }
}
