//! A venue's drop copy and its reader, joined by bytes: every kind of difference is planted once and found in under a
//! second; a clean day finds none, over broken connections too.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use peregrine_fix::copy_check::{CopiedFill, Discrepancy, FillField, Found, OwnEvent};
use peregrine_fix::orders::{ExecType, ExecutionReport, OrdStatus, SideCode};
use peregrine_fix::{Body, CopyClient, CopyNotice, Numbers, Role, Session, SessionConfig, State};
use peregrine_types::{EpochNanos, MatchNumber, Nanos, OrderId, Price, Qty, Side, Symbol};

const DEADLINE: Nanos = Nanos::from_secs(1);
const STEP: Nanos = Nanos::from_millis(10);

struct Day {
    venue: Session,
    client: CopyClient,
    now: EpochNanos,
    found: Vec<Found>,
}

fn fill(number: u64) -> CopiedFill {
    CopiedFill {
        order_id: OrderId(100 + number),
        match_number: MatchNumber(number),
        symbol: Symbol::new("AAPL").unwrap(),
        side: Side::Buy,
        qty: Qty(100),
        price: Price(250_010_000_000),
    }
}

impl Day {
    fn new() -> Self {
        let config = |role, us, them| SessionConfig { heartbeat_s: 1, ..SessionConfig::new(role, us, them) };
        let venue = Session::new(config(Role::Acceptor, "VENUE", "DESK"), Numbers::START);
        let client = CopyClient::new(config(Role::Initiator, "DESK", "VENUE"), DEADLINE, 1_000);
        let mut day = Self { venue, client, now: EpochNanos(1_767_623_400_000_000_000), found: vec![] };
        day.connect();
        day.client.on_own(OwnEvent::Live(true), day.now);
        day.steps(10);
        assert_eq!(day.venue.state(), State::Active);
        day
    }

    fn connect(&mut self) {
        self.client.disconnect(self.now);
        self.venue.disconnect(&mut |_| {});
        self.venue.connect(self.now);
        self.client.connect(self.now);
    }

    fn steps(&mut self, count: u32) {
        for _ in 0..count {
            self.now = self.now.plus(STEP);
            let bytes = self.client.pending().to_vec();
            self.client.sent(bytes.len(), self.now);
            self.venue.receive(&bytes, self.now, &mut |_| {});
            self.venue.poll(self.now, &mut |_| {});
            let bytes = self.venue.pending().to_vec();
            self.venue.sent(bytes.len(), self.now);
            self.client.receive(&bytes, self.now);
            self.client.poll(self.now);
            self.hear();
        }
    }

    fn hear(&mut self) {
        while let Some(notice) = self.client.take_notice() {
            if let CopyNotice::Found(found) = notice {
                self.found.push(found);
            }
        }
    }

    /// What the venue wants to send is lost on the way.
    fn lose(&mut self) {
        let count = self.venue.pending().len();
        self.venue.sent(count, self.now);
    }

    /// The run is over: what was found in all.
    fn finish(mut self) -> Vec<Discrepancy> {
        self.client.finish(self.now);
        self.hear();
        self.found.iter().map(|found| found.discrepancy).collect()
    }

    fn own(&mut self, fill: CopiedFill) {
        self.client.on_own(OwnEvent::Fill(fill), self.now);
    }

    fn tell(&mut self, fill: CopiedFill, exec_type: ExecType) {
        let body = report(fill, exec_type);
        self.venue.send("8", &body, self.now).unwrap();
    }

    fn both(&mut self, number: u64) {
        self.own(fill(number));
        self.tell(fill(number), ExecType::Trade);
    }

    /// What was found within a second, and nothing later.
    fn ends_with(mut self, wanted: &[Discrepancy]) {
        self.steps(99);
        let found: Vec<Discrepancy> = self.found.iter().map(|found| found.discrepancy).collect();
        assert_eq!(found, wanted);
        assert!(self.found.iter().all(|found| found.after < Nanos::from_secs(1)), "{:?}", self.found);
        self.steps(300);
        self.client.finish(self.now);
        self.steps(1);
        assert_eq!(self.found.len(), wanted.len());
        assert_eq!(self.client.check().counters().found_count, wanted.len() as u64);
    }
}

fn report(fill: CopiedFill, exec_type: ExecType) -> Body {
    let (order, number) = (fill.order_id.0.to_string(), fill.match_number.0.to_string());
    let symbol = String::from_utf8(fill.symbol.0.to_vec()).unwrap();
    let mut body = Body::new();
    let exec_id = format!("{}{number}-{order}", if exec_type == ExecType::TradeCancel { "B" } else { "" });
    ExecutionReport {
        order_id: "77",
        cl_ord_id: Some(&order),
        orig_cl_ord_id: None,
        exec_id: &exec_id,
        exec_ref_id: None,
        secondary_exec_id: Some(&number),
        exec_type,
        status: OrdStatus::PartiallyFilled,
        reject_reason: None,
        restatement_reason: None,
        account: None,
        symbol: symbol.trim(),
        side: SideCode::from(fill.side),
        qty: None,
        ord_type: None,
        price: None,
        lifetime: None,
        last_qty: Some(fill.qty),
        last_price: Some(fill.price),
        leaves_qty: Qty(0),
        cum_qty: fill.qty,
        avg_price: "0",
        transact_time: None,
        text: None,
        liquidity: Some(1),
    }
    .write(&mut body);
    body
}

/// A Logon with number 1 and a heartbeat each second.
fn logon(names: &str, reset: &str, now: EpochNanos) -> Vec<u8> {
    let stamp = peregrine_fix::value::format_time(now);
    common::wire(&common::framed(&format!("35=A|{names}|34=1|52={stamp}|98=0|108=1|{reset}")))
}

#[test]
fn a_clean_day_finds_nothing_whoever_speaks_first() {
    let mut day = Day::new();
    for number in 1..40 {
        match number % 3 {
            0 => day.both(number),
            1 => {
                day.own(fill(number));
                day.steps(60);
                day.tell(fill(number), ExecType::Trade);
            }
            _ => {
                day.tell(fill(number), ExecType::Trade);
                day.steps(60);
                day.own(fill(number));
            }
        }
        day.tell(fill(number), ExecType::New);
        day.steps(3);
    }
    day.tell(fill(5), ExecType::TradeCancel);
    day.client.on_own(OwnEvent::Bust(OrderId(105), MatchNumber(5)), day.now);
    day.steps(200);
    let counters = day.client.check().counters();
    assert_eq!((counters.equal_count, counters.bust_count, counters.other_count), (39, 1, 39));
    assert_eq!(day.client.check().pending_count(), 0);
    day.ends_with(&[]);
}

#[test]
fn a_broken_connection_is_no_difference_however_long_it_lasts() {
    let mut day = Day::new();
    day.both(1);
    day.steps(5);
    // The venue goes on talking to a connection that is gone.
    day.client.disconnect(day.now);
    day.venue.disconnect(&mut |_| {});
    for number in 2..20 {
        day.both(number);
    }
    day.steps(500);
    day.connect();
    day.steps(20);
    assert_eq!(day.client.check().counters().equal_count, 19, "what was missed was sent again");
    // Our own order session is gone: the copy knows more than we do, which is no difference.
    day.client.on_own(OwnEvent::Live(false), day.now);
    day.tell(fill(20), ExecType::Trade);
    day.steps(500);
    day.client.on_own(OwnEvent::Live(true), day.now);
    day.steps(50);
    day.own(fill(20));
    day.ends_with(&[]);
}

#[test]
fn a_reader_that_begins_late_or_again_is_told_the_day() {
    let mut day = Day::new();
    (1..6).for_each(|number| day.both(number));
    day.steps(5);
    // A venue whose reader begins anew tells everything again, as possible repetitions.
    for number in 1..6 {
        day.venue.send_again("8", &report(fill(number), ExecType::Trade), day.now).unwrap();
    }
    day.steps(5);
    assert_eq!(day.client.check().counters().repeated_count, 5);
    day.ends_with(&[]);
}

#[test]
fn a_fill_that_we_do_not_have_is_found() {
    let mut day = Day::new();
    day.both(1);
    day.tell(fill(2), ExecType::Trade);
    day.ends_with(&[Discrepancy::MissingHere(fill(2))]);
}

#[test]
fn a_fill_that_the_venue_does_not_have_is_found() {
    let mut day = Day::new();
    day.both(1);
    day.own(fill(2));
    day.ends_with(&[Discrepancy::MissingThere(fill(2))]);
}

#[test]
fn other_terms_are_found() {
    let here = fill(2);
    let others = [
        (FillField::Qty, CopiedFill { qty: Qty(101), ..here }),
        (FillField::Price, CopiedFill { price: Price(250_010_000_001), ..here }),
        (FillField::Side, CopiedFill { side: Side::Sell, ..here }),
        (FillField::Symbol, CopiedFill { symbol: Symbol::new("MSFT").unwrap(), ..here }),
    ];
    for (field, there) in others {
        let mut day = Day::new();
        day.own(here);
        day.tell(there, ExecType::Trade);
        day.ends_with(&[Discrepancy::Differs { field, here, there }]);
        // A correction that only the venue has.
        let mut day = Day::new();
        day.both(2);
        day.steps(5);
        day.tell(there, ExecType::TradeCorrect);
        day.ends_with(&[Discrepancy::Differs { field, here, there }]);
    }
}

#[test]
fn a_fill_that_is_told_twice_is_found() {
    let mut day = Day::new();
    day.both(1);
    day.tell(fill(1), ExecType::Trade);
    day.ends_with(&[Discrepancy::ToldTwice(fill(1))]);
}

#[test]
fn busts_that_one_side_does_not_have_are_found() {
    let mut day = Day::new();
    day.tell(fill(9), ExecType::TradeCancel);
    day.ends_with(&[Discrepancy::UnknownBust(OrderId(109), MatchNumber(9))]);
    let mut day = Day::new();
    day.both(1);
    day.tell(fill(1), ExecType::TradeCancel);
    day.ends_with(&[Discrepancy::BustMissingHere(fill(1))]);
    let mut day = Day::new();
    day.both(1);
    day.client.on_own(OwnEvent::Bust(OrderId(101), MatchNumber(1)), day.now);
    day.ends_with(&[Discrepancy::BustMissingThere(fill(1))]);
}

#[test]
fn a_report_that_cannot_be_read_is_found() {
    let mut day = Day::new();
    let text = String::from_utf8(report(fill(1), ExecType::Trade).bytes().to_vec()).unwrap();
    let mut body = Body::new();
    for field in text.split('\x01').filter(|field| !field.is_empty()) {
        let (tag, value) = field.split_once('=').unwrap();
        body.field(tag.parse().unwrap(), if tag == "11" { "NOT-OURS" } else { value });
    }
    day.venue.send("8", &body, day.now).unwrap();
    day.steps(50);
    assert!(matches!(day.found[..], [Found { discrepancy: Discrepancy::Unreadable(error), .. }] if error.tag == 11));
}

#[test]
fn a_malformed_report_is_found() {
    let mut day = Day::new();
    day.both(1);
    let text = String::from_utf8(report(fill(2), ExecType::Trade).bytes().to_vec()).unwrap();
    let mut body = Body::new();
    for field in text.split('\x01').filter(|field| !field.is_empty()) {
        let (tag, value) = field.split_once('=').unwrap();
        body.field(tag.parse().unwrap(), if tag == "39" { "Z" } else { value });
    }
    day.venue.send("8", &body, day.now).unwrap();
    day.steps(50);
    assert!(matches!(day.found[..], [Found { discrepancy: Discrepancy::Unreadable(error), .. }] if error.tag == 39));
}

#[test]
fn a_copy_that_was_never_there_is_not_equal() {
    let config = SessionConfig::new(Role::Initiator, "DESK", "VENUE");
    let mut client = CopyClient::new(config, DEADLINE, 10);
    let now = EpochNanos(1_767_623_400_000_000_000);
    client.poll(now);
    client.finish(now);
    let found = core::iter::from_fn(|| client.take_notice()).collect::<Vec<_>>();
    assert_eq!(found, [CopyNotice::Found(Found { discrepancy: Discrepancy::NeverRead, after: Nanos(0) })]);
}

#[test]
fn a_copy_that_steps_over_reports_is_asked_for_the_day_again() {
    let mut day = Day::new();
    day.both(1);
    day.steps(5);
    let next = day.venue.numbers().next_out;
    assert!(day.venue.reset_sequence(next + 3, day.now));
    day.steps(5);
    assert_eq!(day.client.session().state(), State::Disconnected);
    day.connect();
    day.steps(5);
    let numbers = day.venue.numbers();
    assert_eq!((day.venue.state(), numbers.next_in, numbers.next_out), (State::Active, 2, 2), "the day begins anew");
    day.ends_with(&[]);
}

#[test]
fn a_bust_counts_once_however_often_it_is_told() {
    let mut day = Day::new();
    day.both(1);
    day.tell(fill(1), ExecType::TradeCancel);
    day.client.on_own(OwnEvent::Bust(OrderId(101), MatchNumber(1)), day.now);
    day.steps(5);
    day.venue.send_again("8", &report(fill(1), ExecType::TradeCancel), day.now).unwrap();
    day.steps(5);
    let counters = day.client.check().counters();
    assert_eq!((counters.bust_count, counters.repeated_count, counters.found_count), (1, 1, 0));
    day.tell(fill(1), ExecType::TradeCancel);
    day.ends_with(&[Discrepancy::ToldTwice(fill(1))]);
}

#[test]
fn a_copy_that_begins_anew_on_its_own_is_asked_for_the_day_again() {
    let mut day = Day::new();
    day.both(1);
    day.steps(5);
    day.client.receive(&logon("49=VENUE|56=DESK", "141=Y|", day.now), day.now);
    assert_eq!(day.client.session().state(), State::LoggingOut);
    day.connect();
    day.steps(5);
    let numbers = day.venue.numbers();
    assert_eq!((day.venue.state(), numbers.next_in, numbers.next_out), (State::Active, 2, 2), "the day begins anew");
    day.ends_with(&[]);
}

/// A venue that is asked to begin anew while connected is told so as by a Logon: it tells the day again.
#[test]
fn a_reset_while_connected_is_a_logon_that_begins_anew() {
    let config = SessionConfig::new(Role::Acceptor, "VENUE", "DESK");
    let mut venue = Session::new(config, Numbers::START);
    let now = EpochNanos(1_767_623_400_000_000_000);
    venue.connect(now);
    let mut heard = Vec::new();
    for reset in ["", "141=Y|"] {
        venue.receive(&logon("49=DESK|56=VENUE", reset, now), now, &mut |event| {
            if let peregrine_fix::Event::LoggedOn { heartbeat_s, is_reset } = event {
                heard.push((heartbeat_s, is_reset));
            }
        });
    }
    assert_eq!(heard, [(1, false), (1, true)]);
}

/// A venue that marks everything as a possible repetition does not put the judgement off for ever.
#[test]
fn endless_repetitions_hide_no_missing_fill() {
    let mut day = Day::new();
    day.both(1);
    day.steps(5);
    day.own(fill(2));
    for _ in 0..330 {
        day.venue.send_again("8", &report(fill(1), ExecType::Trade), day.now).unwrap();
        day.steps(10);
    }
    let found: Vec<Discrepancy> = day.found.iter().map(|found| found.discrepancy).collect();
    assert_eq!(found, [Discrepancy::MissingThere(fill(2))]);
}

/// The venue takes its time to answer a request: what is in the gap is not missing.
#[test]
fn nothing_in_a_gap_is_missing_before_the_venue_has_answered() {
    let mut day = Day::new();
    day.both(1);
    day.steps(5);
    day.both(2);
    day.lose();
    day.both(3);
    // The request waits for one and a half times the deadline.
    for _ in 0..150 {
        day.now = day.now.plus(STEP);
        day.venue.poll(day.now, &mut |_| {});
        let bytes = day.venue.pending().to_vec();
        day.venue.sent(bytes.len(), day.now);
        day.client.receive(&bytes, day.now);
        day.client.poll(day.now);
        day.hear();
    }
    assert!(day.client.session().has_gap() && day.found.is_empty(), "{:?}", day.found);
    day.steps(20);
    assert_eq!(day.client.check().counters().equal_count, 3);
    day.ends_with(&[]);
}

/// A venue that fills a gap message by message, and never to its end, does not put the judgement off for ever.
#[test]
fn a_gap_that_is_filled_for_ever_hides_no_missing_fill() {
    let mut day = Day::new();
    day.both(1);
    day.steps(5);
    (2..14).for_each(|number| day.both(number));
    day.lose();
    day.both(14);
    day.own(fill(99));
    let (mut held, begin) = (std::collections::VecDeque::new(), day.now);
    while day.now.since(begin) < Nanos::from_secs(40) {
        day.now = day.now.plus(STEP);
        let bytes = day.client.pending().to_vec();
        day.client.sent(bytes.len(), day.now);
        day.venue.receive(&bytes, day.now, &mut |_| {});
        day.venue.poll(day.now, &mut |_| {});
        let bytes = String::from_utf8(day.venue.pending().to_vec()).unwrap();
        day.venue.sent(bytes.len(), day.now);
        for message in bytes.split("8=FIX.4.4\x01").filter(|message| !message.is_empty()) {
            let message = format!("8=FIX.4.4\x01{message}").into_bytes();
            let is_repeated = String::from_utf8_lossy(&message).contains("\x0143=Y\x01");
            if is_repeated { held.push_back(message) } else { day.client.receive(&message, day.now) }
        }
        // One of what was asked for comes each 5 s.
        if day.now.since(begin).0 % 5_000_000_000 == 0 {
            day.client.receive(&held.pop_front().unwrap(), day.now);
        }
        day.client.poll(day.now);
        day.hear();
    }
    assert!(day.client.session().has_gap());
    let found = day.found.iter().find(|found| found.discrepancy == Discrepancy::MissingThere(fill(99)));
    assert!(found.is_some_and(|found| found.after < DEADLINE), "{:?}", day.found);
}

/// What the venue told when nobody read it any more is not known: it is said so, unless its Logout says that there is nothing.
#[test]
fn a_copy_that_was_not_read_to_its_end_is_not_equal() {
    let day = || {
        let mut day = Day::new();
        day.both(1);
        day.steps(5);
        day
    };
    let leave = |day: &mut Day| {
        day.client.logout(day.now);
        day.steps(5);
    };
    let missing = [Discrepancy::EndMissing];
    let mut lost = day();
    lost.client.disconnect(lost.now);
    assert_eq!(lost.finish(), missing);
    let mut left = day();
    leave(&mut left);
    assert_eq!(left.finish(), []);
    let mut unanswered = day();
    unanswered.client.logout(unanswered.now);
    assert_eq!(unanswered.finish(), missing);
    // The venue's Logout is the end when our order session does not live on for long.
    for (steps, wanted) in [(400, &[][..]), (600, &missing)] {
        let mut over = day();
        over.venue.logout("the day is over", over.now, &mut |_| {});
        over.steps(steps);
        assert!(!over.client.is_at_end());
        over.client.on_own(OwnEvent::Live(false), over.now);
        assert!(over.client.is_at_end());
        over.steps(1_000);
        leave(&mut over);
        assert_eq!(over.finish(), wanted, "{steps} steps");
    }
    // A report before the Logout is lost: the Logout is answered, and says that something is missing.
    let mut short = day();
    short.client.on_own(OwnEvent::Live(false), short.now);
    short.tell(fill(2), ExecType::Trade);
    short.lose();
    short.venue.logout("the day is over", short.now, &mut |_| {});
    short.steps(5);
    assert_eq!(short.client.session().state(), State::Disconnected);
    assert_eq!(short.finish(), missing);
    // Reports were stepped over, and the day was not told again.
    let mut torn = day();
    let next = torn.venue.numbers().next_out;
    assert!(torn.venue.reset_sequence(next + 3, torn.now));
    torn.steps(5);
    leave(&mut torn);
    assert_eq!(torn.finish(), missing);
}

/// What the venue says between our Logout and its answer is heard.
#[test]
fn a_report_before_the_answer_to_our_logout_is_held_against_our_fills() {
    let mut day = Day::new();
    day.both(1);
    day.steps(5);
    day.tell(fill(2), ExecType::Trade);
    day.client.logout(day.now);
    day.steps(5);
    assert_eq!(day.client.session().state(), State::Disconnected);
    assert_eq!(day.finish(), [Discrepancy::MissingHere(fill(2))]);
}

/// The answer to our Logon, and a Logon that begins anew, in the bytes of one read.
#[test]
fn a_copy_that_begins_anew_right_behind_its_logon_is_asked_for_the_day_again() {
    let mut day = Day::new();
    day.connect();
    let bytes = day.client.pending().to_vec();
    day.client.sent(bytes.len(), day.now);
    day.venue.receive(&bytes, day.now, &mut |_| {});
    let mut bytes = day.venue.pending().to_vec();
    bytes.extend(logon("49=VENUE|56=DESK", "141=Y|", day.now));
    day.client.receive(&bytes, day.now);
    assert_eq!(day.client.session().state(), State::LoggingOut);
}
