//! The published acceptance suite of FIX session layers, as cases of our own: QuickFIX has 59 server definitions for FIX
//! 4.4, each a dialogue. What goes in and what must come out is theirs; notation, driver, names and orders are ours.
//! `docs/fix.md` has them in a table, which [`the_table_of_the_documentation_says_what_the_cases_say`] holds to this.
//!
//! # Lines of a script
//!
//! | line | meaning |
//! |---|---|
//! | `> TYPE NUMBER FIELDS` | the other side sends a message; what the header needs is filled in |
//! | `exactly FIELDS` | the same, with MsgType and header as they stand |
//! | `bad KIND TYPE NUMBER FIELDS` | the same, damaged: `sum`, `length=N`, `length+N`, `version=V`, `separator`, `first` (MsgType before BeginString) |
//! | `< TYPE NUMBER FIELDS` | we send this next, and no other field: in any order, Text and times left out |
//! | `logon SECONDS [NUMBER]` | both Logons, in the order of the roles; the other side's has that number |
//! | `logout NUMBER OURS` | the other side's Logout, our answer, the end |
//! | `wait MS`, `cut`, `anew`, `strict` | time passes; the connection breaks; a new session; fields of users' own are refused |
//! | `second` | a second connection is not taken, the first goes on |
//! | `next NUMBER`, `open`, `closed` | what is expected next; the session goes on; it has ended the connection |
//!
//! Fields are `TAG=VALUE`; `@S` is a moment S seconds from now, `-` leaves a field out, `dup` is a sound PossDupFlag,
//! `order:NAME` an order, `112=?` a TestReqID of ours. `+` marks a field of ours that the published answer does not have,
//! `~` an answer that is otherwise than published.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "acceptance/cases.rs"]
mod cases;
mod common;

use std::collections::{BTreeSet, VecDeque};

use cases::CASES;
use common::{framed, summed, wire};
use peregrine_fix::orders::BusinessMessageReject;
use peregrine_fix::value::format_time;
use peregrine_fix::{
    Body, CopyClient, CopyNotice, Event, FrameDecoder, Numbers, Role, Session, SessionConfig, State, message,
};
use peregrine_types::{EpochNanos, Nanos};

const START: EpochNanos = EpochNanos(1_767_623_400_000_000_000);
/// Fields of the header, in the order in which the other side sends them.
const HEADER: [&str; 14] = ["35", "34", "49", "56", "115", "116", "128", "129", "144", "145", "43", "97", "52", "122"];
/// Fields of ours that are not held against a script: frame, names and times are checked by themselves, Text is free.
const FREE: [&str; 10] = ["8", "9", "10", "35", "34", "49", "56", "52", "122", "58"];

/// What becomes of a case when we are the initiator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mirror {
    /// It holds as it stands.
    Same,
    /// It is about the first message: then it is the answer to our Logon.
    Answer,
    /// It is about what only an acceptor has.
    None,
}

/// One definition.
#[derive(Clone, Copy, Debug)]
struct Case {
    name: &'static str,
    mirror: Mirror,
    script: &'static str,
}

/// How ours stands to the published answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    AsPublished,
    More,
    Otherwise,
}

impl Case {
    fn verdict(&self) -> Verdict {
        if self.script.contains('~') {
            Verdict::Otherwise
        } else if self.script.split_whitespace().any(|word| word.starts_with('+')) {
            Verdict::More
        } else {
            Verdict::AsPublished
        }
    }
}

/// An application as the suite supposes one: it sends orders and definitions back, once for each ClOrdID when they say
/// PossResend, and serves nothing else.
#[derive(Default)]
struct Application {
    seen: BTreeSet<Vec<u8>>,
    answers: Vec<(String, bool, Body)>,
}

impl Application {
    fn on_message(&mut self, number: u64, message: &message::Message<'_>) {
        let msg_type = String::from_utf8(message.msg_type().to_vec()).unwrap();
        let mut body = Body::new();
        if !matches!(msg_type.as_str(), "D" | "d") {
            let (ref_number, ref_msg_type) = (Some(number), msg_type.as_str());
            body.route_back(message);
            BusinessMessageReject { ref_number, ref_msg_type, ref_id: None, reason: 3, text: None }.write(&mut body);
            return self.answers.push((BusinessMessageReject::MSG_TYPE.to_owned(), false, body));
        }
        let is_repeated = message.flag(97).unwrap();
        let name = message.get(11).unwrap_or_default().to_vec();
        if !self.seen.insert(name) && is_repeated {
            return;
        }
        for field in message.fields() {
            let tag = field.tag.to_string();
            if !HEADER.contains(&tag.as_str()) && !["8", "9", "10"].contains(&tag.as_str()) {
                body.field(field.tag, core::str::from_utf8(message.value_of(*field)).unwrap());
            }
        }
        self.answers.push((msg_type, is_repeated, body));
    }
}

struct Dialogue {
    config: SessionConfig,
    session: Session,
    application: Application,
    now: EpochNanos,
    decoder: FrameDecoder,
    said: VecDeque<Vec<(String, String)>>,
    test_request_id: String,
}

impl Dialogue {
    fn new(role: Role) -> Self {
        let config = SessionConfig::new(role, "US", "THEM");
        let session = Session::new(config.clone(), Numbers::START);
        let decoder = FrameDecoder::new(1 << 13);
        let application = Application::default();
        Self { config, session, application, now: START, decoder, said: [].into(), test_request_id: String::new() }
    }

    fn begin(&mut self, heartbeat_s: u32) {
        if self.session.state() == State::Disconnected {
            self.config.heartbeat_s = heartbeat_s;
            self.session = Session::new(self.config.clone(), Numbers::START);
            assert!(self.session.connect(self.now));
            self.take();
        }
    }

    /// The fields of a line, with what the short forms stand for.
    fn fields(&self, text: &str) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        for word in text.split_whitespace() {
            if let Some(name) = word.strip_prefix("order:") {
                let time = format_time(self.now);
                let order = [("11", name), ("38", "100"), ("40", "1"), ("54", "1"), ("55", "ALFA"), ("60", &time)];
                fields.extend(order.map(|(tag, value)| (tag.to_owned(), value.to_owned())));
            } else if word == "dup" {
                let original = format_time(self.now.plus(Nanos::from_secs(-1)));
                fields.extend([("43".to_owned(), "Y".to_owned()), ("122".to_owned(), original)]);
            } else {
                let (tag, value) = word.trim_start_matches('+').split_once('=').unwrap();
                let value = match value.strip_prefix('@') {
                    Some(seconds) => format_time(self.now.plus(Nanos::from_secs(seconds.parse().unwrap()))),
                    None if value == "?" => self.test_request_id.clone(),
                    None => value.to_owned(),
                };
                fields.push((tag.to_owned(), value));
            }
        }
        fields
    }

    /// `TYPE NUMBER FIELDS` as the fields behind BodyLength.
    fn body(&self, line: &str) -> String {
        let mut parts = line.splitn(3, ' ');
        let (msg_type, number) = (parts.next().unwrap(), parts.next().unwrap());
        let given = self.fields(parts.next().unwrap_or(""));
        let stamp = format_time(self.now);
        let default = [("35", msg_type), ("34", number), ("49", "THEM"), ("56", "US"), ("52", stamp.as_str())];
        let mut body = String::new();
        for tag in HEADER {
            let value = given.iter().find(|(key, _)| key == tag).map(|(_, value)| value.as_str());
            let value = value.or(default.iter().find(|(key, _)| *key == tag).map(|(_, value)| *value));
            if let Some(value) = value.filter(|value| *value != "-") {
                body += &format!("{tag}={value}|");
            }
        }
        let rest = given.iter().filter(|(tag, _)| !HEADER.contains(&tag.as_str()));
        rest.fold(body, |body, (tag, value)| body + &format!("{tag}={value}|"))
    }

    /// A message that something is wrong with.
    fn damaged(&self, line: &str) -> String {
        let (damage, line) = line.split_once(' ').unwrap();
        let body = self.body(line);
        let whole = framed(&body);
        let digits = whole.len() - 4;
        if let Some(len) = damage.strip_prefix("length=") {
            return summed(&format!("8=FIX.4.4|9={len}|{body}"));
        }
        if let Some(more) = damage.strip_prefix("length+") {
            return summed(&format!("8=FIX.4.4|9={}|{body}", body.len() + more.parse::<usize>().unwrap()));
        }
        if let Some(version) = damage.strip_prefix("version=") {
            return summed(&whole[..digits - 3].replacen("FIX.4.4", version, 1));
        }
        match damage {
            "sum" => {
                let sum: u32 = whole[digits..digits + 3].parse().unwrap();
                format!("{}{:03}|", &whole[..digits], (sum + 1) % 256)
            }
            "separator" => whole.replacen("|49=", "x49=", 1),
            "first" => {
                let (first, rest) = body.split_once('|').unwrap();
                format!("{first}|{}", framed(rest))
            }
            _ => panic!("no such damage: {damage}"),
        }
    }

    fn hear(&mut self, text: &str) {
        let Self { session, application, now, .. } = self;
        session.receive(&wire(text), *now, &mut |event| {
            if let Event::Message { number, message } = event {
                application.on_message(number, &message);
            }
        });
        for (msg_type, is_repeated, body) in application.answers.drain(..) {
            let sent = if is_repeated {
                session.send_again(&msg_type, &body, *now)
            } else {
                session.send(&msg_type, &body, *now)
            };
            sent.unwrap();
        }
        self.take();
    }

    /// Reads what the session sends, as the other side would: framed, summed, allowed by the dictionary.
    fn take(&mut self) {
        while !self.session.pending().is_empty() {
            let bytes = self.session.pending().to_vec();
            self.session.sent(bytes.len(), self.now);
            let mut input = &bytes[..];
            while let Some(frame) = self.decoder.next(&mut input).expect("what we send is sound") {
                let mut spans = Vec::new();
                let (message, error) = message::parse(frame, &mut spans);
                let text = String::from_utf8_lossy(frame).replace('\x01', "|");
                assert_eq!((error, peregrine_fix::dictionary::check(&message)), (None, Ok(())), "{text}");
                assert_eq!((message.get(49), message.get(56)), (Some(&b"US"[..]), Some(&b"THEM"[..])), "{text}");
                let (sent, original) = (message.time(52).unwrap().unwrap(), message.time(122).unwrap());
                assert_eq!(sent, self.now, "{text}");
                assert_eq!(original.is_some(), message.flag(43).unwrap(), "{text}");
                assert!(original.is_none_or(|original| original <= sent), "{text}");
                let fields = text.split_terminator('|').map(|field| field.split_once('=').unwrap());
                self.said.push_back(fields.map(|(tag, value)| (tag.to_owned(), value.to_owned())).collect());
            }
        }
    }

    fn expect(&mut self, line: &str) {
        let said = self.said.pop_front().unwrap_or_else(|| panic!("nothing was said, expected {line}"));
        let mut parts = line.splitn(3, ' ');
        let (msg_type, number) = (parts.next().unwrap(), parts.next().unwrap());
        let value = |tag: &str| said.iter().find(|(key, _)| key == tag).map_or("", |(_, value)| value.as_str());
        let wanted = parts.next().unwrap_or("");
        assert_eq!((value("35"), value("34")), (msg_type, number), "expected {line}, said {said:?}");
        if wanted.contains("112=?") {
            assert!(!value("112").is_empty() && value("112") != self.test_request_id, "{said:?}");
            self.test_request_id = value("112").to_owned();
        }
        let is_held = |(tag, _): &(String, String)| !FREE.contains(&tag.as_str()) && tag != "60";
        let sorted = |fields: Vec<(String, String)>| {
            let mut fields: Vec<_> = fields.into_iter().filter(is_held).collect();
            fields.sort();
            fields
        };
        assert_eq!(sorted(said.clone()), sorted(self.fields(wanted)), "expected {line}, said {said:?}");
    }

    fn logon(&mut self, line: &str) {
        let (seconds, number) = line.split_once(' ').unwrap_or((line, "1"));
        self.begin(seconds.parse().unwrap());
        let ours = format!("A 1 98=0 108={seconds}");
        let theirs = framed(&self.body(&format!("A {number} 98=0 108={seconds}")));
        if self.config.role == Role::Initiator {
            self.expect(&ours);
            self.hear(&theirs);
        } else {
            self.hear(&theirs);
            self.expect(&ours);
        }
        assert_eq!(self.session.state(), State::Active);
    }

    fn step(&mut self, line: &str) {
        let line = line.strip_prefix("~ ").unwrap_or(line);
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            ">" => self.hear(&framed(&self.body(rest))),
            "exactly" => {
                let fields = self.fields(rest);
                let body = fields.iter().fold(String::new(), |body, (tag, value)| body + &format!("{tag}={value}|"));
                self.hear(&framed(&body));
            }
            "bad" => self.hear(&self.damaged(rest)),
            "<" => self.expect(rest),
            "logon" => self.logon(rest),
            "logout" => {
                let (number, ours) = rest.split_once(' ').unwrap();
                self.hear(&framed(&self.body(&format!("5 {number}"))));
                self.expect(&format!("5 {ours}"));
                self.step("closed");
            }
            "wait" => {
                for _ in 0..rest.parse::<u32>().unwrap() / 100 {
                    self.now = self.now.plus(Nanos::from_millis(100));
                    self.session.poll(self.now, &mut |_| {});
                    self.take();
                }
            }
            "strict" => self.config.is_user_field_taken = false,
            "cut" => self.session.disconnect(&mut |_| {}),
            "anew" => {
                self.session.disconnect(&mut |_| {});
                self.decoder.reset();
            }
            "second" => {
                assert!(!self.session.connect(self.now), "a second connection is taken");
                assert_eq!((self.session.state(), self.session.pending()), (State::Active, &[][..]));
            }
            "next" => assert_eq!(self.session.numbers().next_in, rest.parse::<u64>().unwrap()),
            "open" => assert_eq!(self.session.state(), State::Active),
            "closed" => {
                assert_eq!(self.session.state(), State::Disconnected);
                assert!(self.said.is_empty(), "more was said: {:?}", self.said);
            }
            _ => panic!("no such line: {line}"),
        }
    }
}

fn run(case: &Case, role: Role) {
    let result = std::panic::catch_unwind(|| {
        let mut dialogue = Dialogue::new(role);
        let mut lines = case.script.lines().map(str::trim).peekable();
        if !case.script.contains("logon ") {
            dialogue.begin(30);
            if role == Role::Initiator {
                dialogue.expect("A 1 98=0 108=30");
            }
        }
        while let Some(line) = lines.next() {
            dialogue.step(line);
            // What is said is read by the next line, or by the one after the other side's next message.
            let is_read = |line: &str| line.trim_start_matches("~ ").starts_with(['<', '>']);
            assert!(dialogue.said.is_empty() || lines.peek().is_some_and(|line| is_read(line)), "{:?}", dialogue.said);
        }
        assert!(dialogue.said.is_empty(), "more was said: {:?}", dialogue.said);
    });
    assert!(result.is_ok(), "the case `{}` fails as {role:?}", case.name);
}

#[test]
fn every_published_case_runs_in_both_roles() {
    let names: BTreeSet<&str> = CASES.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), 59, "each name stands once");
    let mut mirrored = 0;
    for case in &CASES {
        run(case, Role::Acceptor);
        if case.mirror != Mirror::None {
            run(case, Role::Initiator);
            mirrored += 1;
        }
    }
    let count = |verdict| CASES.iter().filter(|case| case.verdict() == verdict).count();
    let counts = (count(Verdict::AsPublished), count(Verdict::More), count(Verdict::Otherwise), mirrored);
    eprintln!(
        "FIX 4.4 acceptance: {} cases, {} as published to the field, {} with a further field, {} otherwise with a reason; \
         {} also as an initiator",
        CASES.len(),
        counts.0,
        counts.1,
        counts.2,
        counts.3
    );
    assert_eq!(counts, (51, 5, 3, 57));
}

/// The driver sees what is wrong: a field, a number, a message more or less.
#[test]
fn the_driver_fails_where_it_should() {
    let is_failing = |script: &'static str| {
        let case = Case { name: "control", mirror: Mirror::Same, script };
        std::panic::catch_unwind(|| run(&case, Role::Acceptor)).is_err()
    };
    assert!(!is_failing("logon 30\n> 1 2 112=HI\n< 0 2 112=HI\nlogout 3 3"));
    for script in [
        "logon 30\n> 1 2 112=HI\n< 0 2 112=HO\nlogout 3 3",
        "logon 30\n> 1 2 112=HI\n< 0 3 112=HI\nlogout 3 3",
        "logon 30\n> 1 2 112=HI\n< 0 2\nlogout 3 3",
        "logon 30\n> 1 2 112=HI\n< 1 2 112=HI\nlogout 3 3",
        "logon 30\n> 1 2 112=HI\nlogout 3 3",
        "logon 30\n> 0 2\n< 0 2\nlogout 3 3",
        "logon 30\n> 0 2\nclosed",
        "logon 30\n> 0 2\nnext 2",
    ] {
        assert!(is_failing(script), "{script}");
    }
}

/// Fields of users' own are taken where nobody says otherwise.
#[test]
fn user_fields_are_taken_by_default() {
    let script = "logon 30\n> 0 2 5000=HI\nnext 3\n> D 3 order:A 9999=X\n< D 2 order:A 9999=X\nlogout 4 3";
    let case = Case { name: "user fields", mirror: Mirror::Same, script };
    run(&case, Role::Acceptor);
    run(&case, Role::Initiator);
}

/// The application of case 2r that the engine has: the reader of a drop copy.
#[test]
fn the_reader_of_a_drop_copy_refuses_what_it_does_not_read() {
    let mut venue = Session::new(SessionConfig::new(Role::Acceptor, "THEM", "US"), Numbers::START);
    let config = SessionConfig::new(Role::Initiator, "US", "THEM");
    let mut client = CopyClient::new(config, Nanos::from_secs(1), 10);
    venue.connect(START);
    client.connect(START);
    let (mut rejects, mut notices) = (Vec::new(), Vec::new());
    for round in 0..6 {
        let bytes = client.pending().to_vec();
        client.sent(bytes.len(), START);
        venue.receive(&bytes, START, &mut |event| {
            if let Event::Message { message, .. } = event {
                let reject = BusinessMessageReject::parse(&message).unwrap();
                rejects.push((reject.ref_number, reject.ref_msg_type.to_owned(), reject.reason));
            }
        });
        if round == 2 {
            let mut body = Body::new();
            body.field(11, "A").field(55, "ALFA").char(54, b'1').time(60, START).char(40, b'1');
            venue.send("D", &body, START).unwrap();
        }
        let bytes = venue.pending().to_vec();
        venue.sent(bytes.len(), START);
        client.receive(&bytes, START);
        notices.extend(core::iter::from_fn(|| client.take_notice()));
    }
    assert_eq!(rejects, [(Some(2), "D".to_owned(), 3)]);
    assert_eq!(notices, [CopyNotice::LoggedOn]);
}

#[test]
fn the_table_of_the_documentation_says_what_the_cases_say() {
    let table = include_str!("../../../docs/fix.md");
    let rows: Vec<Vec<&str>> = (table.lines())
        .filter_map(|line| line.strip_prefix("| `"))
        .map(|line| line.split('|').map(|cell| cell.trim().trim_end_matches('`')).collect())
        .collect();
    assert_eq!(rows.iter().map(|row| row[0]).collect::<Vec<_>>(), CASES.map(|case| case.name));
    for (row, case) in rows.iter().zip(&CASES) {
        let verdict = match row[3] {
            "as published" => Verdict::AsPublished,
            text if text.starts_with("and ") => Verdict::More,
            text if text.starts_with("**otherwise**: ") => Verdict::Otherwise,
            text => panic!("{}: no verdict in `{text}`", case.name),
        };
        assert_eq!(verdict, case.verdict(), "{}", case.name);
    }
}
