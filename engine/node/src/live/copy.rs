//! The drop copy of a live run: the send stage hands its fills over a ring, a thread of its own reads the venue's copy and
//! holds the two against each other. Nothing of it is on the way of an order but a push into the ring for each fill.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use peregrine_fix::copy_check::{CopiedFill, CopyCounters, Found, OwnEvent};
use peregrine_fix::{CopyClient, CopyNotice, Counters, SessionConfig, State};
use peregrine_gateway::live::{OrderClient, Phase};
use peregrine_runtime::{IndexConsumer, IndexProducer, RingConsumer, StopFlag, TscClock, index_ring};
use peregrine_types::{EpochNanos, MatchNumber, Nanos, OrderId, Sink, Symbol};

use super::link::{Link, Turn};
use crate::exit::Failure;

/// Fills that wait for the check, at most; what does not fit waits in the ledger.
const RING_SLOTS: usize = 4_096;
/// Broken trades that wait for room in the ring.
const BUST_COUNT_MAX: usize = 1_024;
/// Time between two turns of the thread.
const TURN: Duration = Duration::from_millis(1);
/// Differences that are kept with their text.
const FOUND_COUNT_MAX: usize = 1_000;

/// What a drop copy needs to know.
#[derive(Clone, Debug)]
pub struct CopyConfig {
    /// The venue's drop-copy port.
    pub address: SocketAddr,
    /// The session, an initiator's.
    pub session: SessionConfig,
    /// A difference is named before this is over.
    pub deadline: Nanos,
    /// Time between two tries to connect.
    pub reconnect: Nanos,
    /// Fills of a day.
    pub fill_count_max: usize,
}

/// The send stage's end of the ring.
#[derive(Debug)]
pub struct CopyTap {
    events: IndexProducer<OwnEvent>,
    symbols: Vec<Symbol>,
    fill_count: usize,
    busts: VecDeque<(OrderId, MatchNumber)>,
    is_live: bool,
    differs: StopFlag,
}

impl CopyTap {
    /// Hands over what is new: fills in the order of the venue's stream, then broken trades, then whether the order
    /// session stands.
    pub(super) fn tell(&mut self, client: &OrderClient) {
        let ledger = client.ledger();
        while let Some(fill) = ledger.fills().get(self.fill_count) {
            let Some(order) = ledger.order(fill.order_id) else { return };
            let symbol = self.symbols.get(order.symbol.index()).copied().unwrap_or(Symbol([b'?'; 8]));
            let copied = CopiedFill {
                order_id: fill.order_id,
                match_number: fill.match_number,
                symbol,
                side: order.side,
                qty: fill.qty,
                price: fill.price,
            };
            if self.events.push(OwnEvent::Fill(copied)).is_err() {
                return;
            }
            self.fill_count += 1;
        }
        while let Some((order_id, match_number)) = self.busts.front() {
            if self.events.push(OwnEvent::Bust(*order_id, *match_number)).is_err() {
                return;
            }
            self.busts.pop_front();
        }
        let is_live = matches!(client.phase(), Phase::Settling | Phase::Trading);
        if is_live != self.is_live && self.events.push(OwnEvent::Live(is_live)).is_ok() {
            self.is_live = is_live;
        }
    }

    /// A trade was broken.
    pub(super) fn on_bust(&mut self, order_id: OrderId, match_number: MatchNumber) {
        if self.busts.len() < self.busts.capacity() {
            self.busts.push_back((order_id, match_number));
        }
    }

    /// Whether the check found a difference: nothing new is to be sent.
    pub(super) fn differs(&self) -> bool {
        self.differs.is_requested()
    }
}

/// What a drop copy came to.
#[derive(Clone, Debug)]
pub struct CopyEnd {
    /// Differences, the first ones when there are many.
    pub found: Vec<Found>,
    /// What the check counted.
    pub counters: CopyCounters,
    /// What its session counted.
    pub session: Counters,
}

/// The running thread.
#[derive(Debug)]
pub struct CopyWatch {
    stop: StopFlag,
    thread: JoinHandle<CopyEnd>,
}

impl CopyWatch {
    /// Starts the thread. `say` is called there for what people should hear of.
    ///
    /// # Errors
    /// [`Failure`] when the system gives no thread.
    pub fn start(
        config: &CopyConfig,
        symbols: &[Symbol],
        clock: TscClock,
        say: impl Fn(String) + Send + 'static,
    ) -> Result<(CopyTap, Self), Failure> {
        let (events, own) = index_ring(RING_SLOTS).map_err(Failure::usage)?;
        let (stop, differs) = (StopFlag::new(), StopFlag::new());
        let tap = CopyTap {
            events,
            symbols: symbols.to_vec(),
            fill_count: 0,
            busts: VecDeque::with_capacity(BUST_COUNT_MAX),
            is_live: false,
            differs: differs.clone(),
        };
        let reader = Reader {
            client: CopyClient::new(config.session.clone(), config.deadline, config.fill_count_max),
            link: Link::new(config.address, config.reconnect, Nanos::from_secs(2)),
            own,
            differs,
            found: Vec::new(),
            say,
        };
        let (flag, deadline) = (stop.clone(), config.deadline);
        let run = move || reader.run(&clock, &flag, deadline);
        let thread = std::thread::Builder::new().name("drop_copy".to_owned()).spawn(run).map_err(Failure::io)?;
        Ok((tap, Self { stop, thread }))
    }

    /// The run is over: what is pending gets its time, then the thread ends.
    ///
    /// # Errors
    /// [`Failure`] when the thread died.
    pub fn end(self) -> Result<CopyEnd, Failure> {
        self.stop.request();
        self.thread.join().map_err(|_| Failure::io("the thread of the drop copy died"))
    }
}

struct Reader<F> {
    client: CopyClient,
    link: Link,
    own: IndexConsumer<OwnEvent>,
    differs: StopFlag,
    found: Vec<Found>,
    say: F,
}

impl<F: Fn(String)> Reader<F> {
    fn run(mut self, clock: &TscClock, stop: &StopFlag, deadline: Nanos) -> CopyEnd {
        let mut stopping: Option<EpochNanos> = None;
        loop {
            let now = clock.now();
            self.turn(now);
            if stop.is_requested() {
                let since = *stopping.get_or_insert(now);
                let is_late = now.since(since) >= deadline;
                if is_late
                    || (self.client.check().pending_count() == 0 && (self.is_in_touch() || self.client.is_at_end()))
                {
                    break;
                }
            }
            std::thread::sleep(TURN);
        }
        self.leave(clock);
        self.client.finish(clock.now());
        self.tell();
        let (counters, session) = (self.client.check().counters(), self.client.session().counters());
        CopyEnd { found: self.found, counters, session }
    }

    /// Logs out, and reads on until the venue has answered: its Logout stands behind everything that it had to say. The
    /// session's time for it bounds the wait.
    fn leave(&mut self, clock: &TscClock) {
        self.client.logout(clock.now());
        self.link.let_linger();
        self.turn(clock.now());
        while self.client.session().state() == State::LoggingOut {
            std::thread::sleep(TURN);
            self.turn(clock.now());
        }
    }

    fn is_in_touch(&self) -> bool {
        self.client.session().state() == State::Active && !self.client.session().has_gap()
    }

    fn turn(&mut self, now: EpochNanos) {
        while let Some(event) = self.own.pop() {
            self.client.on_own(event, now);
        }
        self.link.begin_turn();
        if !self.link.is_up() && self.client.session().state() != State::Disconnected {
            self.client.disconnect(now);
        }
        // A venue whose day is over is not called again.
        while self.link.is_up() || !self.client.is_at_end() {
            match self.link.turn(now) {
                Turn::Nothing => break,
                Turn::Connected => self.client.connect(now),
                Turn::Bytes(bytes) => self.client.receive(bytes, now),
                Turn::Gone => self.client.disconnect(now),
            }
        }
        self.client.poll(now);
        self.flush(now);
        let is_over = self.client.session().state() == State::Disconnected && self.client.pending().is_empty();
        if is_over && self.link.is_up() {
            self.link.close(now);
        }
        self.tell();
    }

    fn flush(&mut self, now: EpochNanos) {
        while !self.client.pending().is_empty() {
            match self.link.write(self.client.pending(), now) {
                Some(0) => return,
                Some(count) => self.client.sent(count, now),
                None => return self.client.disconnect(now),
            }
        }
    }

    fn tell(&mut self) {
        while let Some(notice) = self.client.take_notice() {
            let text = match notice {
                CopyNotice::LoggedOn => "drop copy  logged on".to_owned(),
                CopyNotice::Lost(reason) => format!("drop copy  session lost: {reason}"),
                CopyNotice::Found(found) => {
                    self.differs.request();
                    if self.found.len() < FOUND_COUNT_MAX {
                        self.found.push(found);
                    }
                    format!("drop copy  DIFFERS: {found}; nothing new is sent")
                }
            };
            (self.say)(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::sync::mpsc;
    use std::time::Instant;

    use peregrine_fix::copy_check::Discrepancy;
    use peregrine_fix::{Body, Numbers, Role, Session};
    use peregrine_types::{Price, Qty, Side};

    use super::*;

    const REPORT: &str = "37=9|11=101|17=7-101|527=7|150=F|39=2|55=AAPL|54=1|32=100|31=250.01|151=0|14=100|6=250.01";

    fn report(fields: &str) -> Body {
        let mut body = Body::new();
        for field in fields.split('|') {
            let (tag, value) = field.split_once('=').unwrap();
            body.field(tag.parse().unwrap(), value);
        }
        body
    }

    /// When the venue tells its reports.
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Told {
        /// At once.
        AtOnce,
        /// When the reader logs out: before the answer.
        BeforeTheEnd,
        /// Never: it hangs up on a reader that logs out.
        Never,
    }

    /// A venue that tells these reports to whoever logs on.
    fn venue(reports: Vec<Body>, told: Told) -> (SocketAddr, StopFlag, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, clock) = (StopFlag::new(), TscClock::calibrated());
        let flag = stop.clone();
        let run = move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
            let mut session = Session::new(SessionConfig::new(Role::Acceptor, "VENUE", "DESK"), Numbers::START);
            session.connect(clock.now());
            let (mut buffer, mut reports) = ([0; 4_096], reports.into_iter());
            while !flag.is_requested() {
                let now = clock.now();
                match stream.read(&mut buffer) {
                    Ok(0) => return,
                    Ok(count) => {
                        let is_logout = buffer[..count].windows(6).any(|bytes| bytes == b"\x0135=5\x01");
                        if is_logout && told == Told::Never {
                            return;
                        }
                        if is_logout {
                            for body in reports.by_ref() {
                                session.send("8", &body, now).unwrap();
                            }
                        }
                        session.receive(&buffer[..count], now, &mut |_| {});
                    }
                    Err(_) => session.poll(now, &mut |_| {}),
                }
                if session.state() == State::Active && told == Told::AtOnce {
                    for body in reports.by_ref() {
                        session.send("8", &body, now).unwrap();
                    }
                }
                let count = session.pending().len();
                if stream.write_all(session.pending()).is_err() {
                    return;
                }
                session.sent(count, now);
            }
        };
        (address, stop, std::thread::spawn(run))
    }

    fn fill() -> CopiedFill {
        CopiedFill {
            order_id: OrderId(101),
            match_number: MatchNumber(7),
            symbol: Symbol::new("AAPL").unwrap(),
            side: Side::Buy,
            qty: Qty(100),
            price: Price(250_010_000_000),
        }
    }

    /// Runs the thread against a venue that tells `reports`; own fills are `own`. What is found first, and when, since both
    /// sides could speak.
    fn run(reports: &[&str], own: &[CopiedFill], told: Told) -> (Option<Found>, CopyEnd) {
        let (address, stop, thread) = venue(reports.iter().map(|fields| report(fields)).collect(), told);
        let config = CopyConfig {
            address,
            session: SessionConfig::new(Role::Initiator, "DESK", "VENUE"),
            deadline: Nanos::from_secs(1),
            reconnect: Nanos::from_millis(10),
            fill_count_max: 100,
        };
        let (said, heard) = mpsc::channel();
        let clock = TscClock::calibrated();
        let (mut tap, watch) = CopyWatch::start(&config, &[], clock, move |text| said.send(text).unwrap()).unwrap();
        tap.events.push(OwnEvent::Live(true)).unwrap();
        own.iter().for_each(|fill| tap.events.push(OwnEvent::Fill(*fill)).unwrap());
        let logged_on = heard.recv_timeout(Duration::from_secs(30)).unwrap();
        assert_eq!(logged_on, "drop copy  logged on");
        let begin = Instant::now();
        while !tap.differs() && begin.elapsed() < Duration::from_millis(1_500) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let is_found = tap.differs();
        let end = watch.end().unwrap();
        stop.request();
        thread.join().unwrap();
        assert_eq!(is_found, told == Told::AtOnce && !end.found.is_empty());
        (end.found.first().copied(), end)
    }

    #[test]
    fn equal_fills_are_no_difference() {
        let (found, end) = run(&[REPORT], &[fill()], Told::AtOnce);
        assert_eq!((found, end.counters.equal_count), (None, 1));
    }

    #[test]
    fn what_the_venue_tells_before_it_answers_our_logout_is_no_less_true() {
        let (found, _) = run(&[REPORT], &[], Told::BeforeTheEnd);
        assert_eq!(found.map(|found| found.discrepancy), Some(Discrepancy::MissingHere(fill())));
        let (found, _) = run(&[REPORT], &[], Told::Never);
        assert_eq!(found.map(|found| found.discrepancy), Some(Discrepancy::EndMissing));
    }

    /// Reports of the venue, own fills, and whether a difference is the one that was planted.
    type Case<'a> = (&'a [&'a str], &'a [CopiedFill], fn(&Discrepancy) -> bool);

    #[test]
    fn each_difference_is_found_over_a_socket_within_a_second() {
        let cases: [Case<'_>; 6] = [
            (&[REPORT], &[], |found| matches!(found, Discrepancy::MissingHere(_))),
            (&[], &[fill()], |found| matches!(found, Discrepancy::MissingThere(_))),
            (&[&REPORT.replace("32=100", "32=90")], &[fill()], |found| matches!(found, Discrepancy::Differs { .. })),
            (&[&REPORT.replace("54=1", "54=2")], &[fill()], |found| matches!(found, Discrepancy::Differs { .. })),
            (&[REPORT, REPORT], &[fill()], |found| matches!(found, Discrepancy::ToldTwice(_))),
            (&[&REPORT.replace("150=F", "150=H")], &[], |found| matches!(found, Discrepancy::UnknownBust(..))),
        ];
        for (reports, own, is_wanted) in cases {
            let (found, end) = run(reports, own, Told::AtOnce);
            let found = found.expect("a difference");
            assert!(is_wanted(&found.discrepancy), "{found}");
            // The thread may have slept long on a loaded machine; the check itself is exact (crate `fix`).
            assert!(found.after < Nanos::from_millis(1_400), "{found}");
            assert!(!end.found.is_empty());
        }
    }
}
