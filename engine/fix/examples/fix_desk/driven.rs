//! Sessions that live on over many connections and take orders from standard input (`scripts/fix_engine.py`).
//!
//! Each writes a line for what it does and hears: `out NUMBER TYPE FIELDS` for a message of the application that was kept to
//! be sent, `in NUMBER MESSAGE` for one that came, `event …` and `notice …` for the rest. Commands are lines too:
//! `orders N`, `logout TEXT`, `reset N` (N numbers ahead), `anew` (the next Logon begins both sides anew), `status`, `end`;
//! for the reader of a drop copy `live`, `own ORDER MATCH SYMBOL SIDE QTY PRICE`, `finish`.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufWriter, ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::str::FromStr as _;
use std::sync::mpsc;
use std::time::Duration;

use peregrine_fix::copy_check::{CopiedFill, OwnEvent};
use peregrine_fix::orders::{
    ExecType, ExecutionReport, OrdType, OrderCancelReject, OrderCancelReplaceRequest, OrderCancelRequest,
};
use peregrine_fix::{Body, CopyClient, CopyNotice, Event, Message, Numbers, Role, Session, State};
use peregrine_types::{MatchNumber, Nanos, OrderId, Price, Qty, Side, Symbol};

use super::{Answers, Failure, Venue, config, new_order, now};

/// Orders that a desk has under way at once.
const WINDOW: u64 = 32;
/// Fills that the drop-copy check has room for.
const FILL_COUNT_MAX: usize = 1 << 20;
/// Commands that are taken between two looks at the connection.
const COMMAND_COUNT_MAX: usize = 256;
/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(20);

/// A desk whose orders are filled by half: of three one is then cancelled, one replaced and cancelled, one left alone.
#[derive(Debug, Default)]
struct Desk {
    sent: u64,
    wanted: u64,
    done: u64,
    /// Names of orders, replacements and cancels that wait for an answer, with the order's number.
    waiting: BTreeMap<String, u64>,
}

impl Desk {
    fn next_orders(&mut self) -> Answers {
        let mut orders = Answers::new();
        while self.sent < self.wanted && self.sent.saturating_sub(self.done) < WINDOW {
            self.sent += 1;
            self.waiting.insert(format!("N{}", self.sent), self.sent);
            orders.push(new_order(self.sent));
        }
        orders
    }

    fn cancel(&mut self, number: u64, name: &str, report: &ExecutionReport<'_>) -> (&'static str, Body) {
        let cl_ord_id = format!("C{number}");
        let mut body = Body::new();
        OrderCancelRequest {
            orig_cl_ord_id: name,
            order_id: Some(report.order_id),
            cl_ord_id: &cl_ord_id,
            symbol: report.symbol,
            side: report.side,
            transact_time: now(),
            qty: report.qty.unwrap_or(Qty::ZERO),
        }
        .write(&mut body);
        self.waiting.insert(cl_ord_id, number);
        (OrderCancelRequest::MSG_TYPE, body)
    }

    fn replace(&mut self, number: u64, name: &str, report: &ExecutionReport<'_>) -> (&'static str, Body) {
        let cl_ord_id = format!("R{number}");
        let mut body = Body::new();
        OrderCancelReplaceRequest {
            order_id: Some(report.order_id),
            orig_cl_ord_id: name,
            cl_ord_id: &cl_ord_id,
            exec_inst: None,
            symbol: report.symbol,
            side: report.side,
            transact_time: now(),
            qty: report.qty.unwrap_or(Qty::ZERO).saturating_add(Qty(100)),
            ord_type: OrdType::Limit,
            price: Some(Price(10_020_000_000)),
            stop_price: None,
            lifetime: None,
        }
        .write(&mut body);
        self.waiting.insert(cl_ord_id, number);
        (OrderCancelReplaceRequest::MSG_TYPE, body)
    }

    fn on_message(&mut self, message: &Message<'_>) -> Answers {
        if let Ok(reject) = OrderCancelReject::parse(message) {
            self.done += u64::from(self.waiting.remove(reject.cl_ord_id).is_some());
            return self.next_orders();
        }
        let Ok(report) = ExecutionReport::parse(message) else { return Answers::new() };
        let name = report.cl_ord_id.unwrap_or_default();
        if !matches!(report.exec_type, ExecType::Trade | ExecType::Replaced | ExecType::Canceled) {
            return Answers::new();
        }
        // What nobody waits for was answered before: it is not answered twice.
        let Some(number) = self.waiting.remove(name) else { return Answers::new() };
        let mut answers = match (report.exec_type, number % 3) {
            (ExecType::Trade, 0) | (ExecType::Replaced, _) => vec![self.cancel(number, name, &report)],
            (ExecType::Trade, 1) => vec![self.replace(number, name, &report)],
            _ => {
                self.done += 1;
                Answers::new()
            }
        };
        answers.extend(self.next_orders());
        answers
    }
}

/// What stands behind a session.
enum Business {
    Venue(Venue),
    Desk(Desk),
}

impl Business {
    fn on_message(&mut self, number: u64, message: &Message<'_>) -> Answers {
        match self {
            Self::Venue(venue) => venue.on_message(number, message),
            Self::Desk(desk) => desk.on_message(message),
        }
    }
}

fn readable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\x01', "|")
}

/// One end of a line, whatever stands behind it. What it has to tell goes to `lines`.
trait End {
    fn connect(&mut self);
    /// Bytes that came; `None` when the connection is gone.
    fn take(&mut self, bytes: Option<&[u8]>, lines: &mut Vec<String>) -> Result<(), Failure>;
    fn pending(&self) -> &[u8];
    fn sent(&mut self, count: usize);
    fn is_connected(&self) -> bool;
    fn obey(&mut self, command: &[&str], lines: &mut Vec<String>) -> Result<(), Failure>;
}

struct Party {
    session: Session,
    business: Business,
}

impl Party {
    fn send(&mut self, answers: Answers, lines: &mut Vec<String>) -> Result<(), Failure> {
        for (msg_type, body) in answers {
            let number = self.session.send(msg_type, &body, now())?;
            lines.push(format!("out {number} {msg_type} {}", readable(body.bytes())));
        }
        Ok(())
    }
}

impl End for Party {
    fn connect(&mut self) {
        self.session.connect(now());
    }

    fn take(&mut self, bytes: Option<&[u8]>, lines: &mut Vec<String>) -> Result<(), Failure> {
        let Self { session, business } = self;
        let mut answers = Answers::new();
        let mut on_event = |event: Event<'_>| {
            if let Event::Message { number, message } = event {
                lines.push(format!("in {number} {}", readable(message.bytes())));
                answers.extend(business.on_message(number, &message));
            } else {
                lines.push(format!("event {event:?}"));
            }
        };
        match bytes {
            Some(bytes) => session.receive(bytes, now(), &mut on_event),
            None => session.disconnect(&mut on_event),
        }
        session.poll(now(), &mut on_event);
        self.send(answers, lines)
    }

    fn pending(&self) -> &[u8] {
        self.session.pending()
    }

    fn sent(&mut self, count: usize) {
        self.session.sent(count, now());
    }

    fn is_connected(&self) -> bool {
        self.session.state() != State::Disconnected
    }

    fn obey(&mut self, command: &[&str], lines: &mut Vec<String>) -> Result<(), Failure> {
        match (command, &mut self.business) {
            (["orders", count], Business::Desk(desk)) => {
                desk.wanted += u64::from_str(count)?;
                let orders = desk.next_orders();
                self.send(orders, lines)?;
            }
            (["logout", text @ ..], _) => {
                self.session.logout(&text.join(" "), now(), &mut |event| lines.push(format!("event {event:?}")));
            }
            (["reset", ahead], _) => {
                let new = self.session.numbers().next_out.saturating_add(u64::from_str(ahead)?);
                lines.push(format!("reset {new} {}", self.session.reset_sequence(new, now())));
            }
            (["anew", flag], _) => self.session.set_reset_on_logon(*flag == "on"),
            (["status"], business) => {
                let Numbers { next_out, next_in } = self.session.numbers();
                let (done, state) =
                    (if let Business::Desk(desk) = business { desk.done } else { 0 }, self.session.state());
                lines.push(format!("status {state:?} {done} {next_out} {next_in} {}", self.session.has_gap()));
            }
            (["end"], _) => lines.push(format!("{:?}", self.session.counters())),
            _ => return Err(format!("no such command: {}", command.join(" ")).into()),
        }
        Ok(())
    }
}

impl End for CopyClient {
    fn connect(&mut self) {
        Self::connect(self, now());
    }

    fn take(&mut self, bytes: Option<&[u8]>, lines: &mut Vec<String>) -> Result<(), Failure> {
        match bytes {
            Some(bytes) => self.receive(bytes, now()),
            None => self.disconnect(now()),
        }
        self.poll(now());
        while let Some(notice) = self.take_notice() {
            lines.push(match notice {
                CopyNotice::Found(found) => format!("notice {found}"),
                CopyNotice::LoggedOn | CopyNotice::Lost(_) => format!("event {notice:?}"),
            });
        }
        Ok(())
    }

    fn pending(&self) -> &[u8] {
        Self::pending(self)
    }

    fn sent(&mut self, count: usize) {
        Self::sent(self, count, now());
    }

    fn is_connected(&self) -> bool {
        self.session().state() != State::Disconnected
    }

    fn obey(&mut self, command: &[&str], lines: &mut Vec<String>) -> Result<(), Failure> {
        match command {
            ["live"] => self.on_own(OwnEvent::Live(true), now()),
            ["own", order_id, match_number, symbol, side, qty, price] => {
                let fill = CopiedFill {
                    order_id: OrderId(order_id.parse()?),
                    match_number: MatchNumber(match_number.parse()?),
                    symbol: Symbol::new(symbol).ok_or("no symbol")?,
                    side: if *side == "1" { Side::Buy } else { Side::Sell },
                    qty: Qty(qty.parse()?),
                    price: Price(price.parse()?),
                };
                self.on_own(OwnEvent::Fill(fill), now());
            }
            ["finish"] => {
                self.on_own(OwnEvent::Live(false), now());
                self.finish(now());
            }
            ["status"] => {
                let Numbers { next_out, next_in } = self.session().numbers();
                let (state, equal) = (self.session().state(), self.check().counters().equal_count);
                lines.push(format!("status {state:?} {equal} {next_out} {next_in} {}", self.session().has_gap()));
            }
            ["end"] => lines.push(format!("{:?} {:?}", self.check().counters(), self.session().counters())),
            _ => return Err(format!("no such command: {}", command.join(" ")).into()),
        }
        Ok(())
    }
}

/// Where connections come from.
enum Link {
    Listener(TcpListener),
    Address(String),
}

impl Link {
    fn next(&self) -> Option<TcpStream> {
        let stream = match self {
            Self::Listener(listener) => listener.accept().map(|(stream, _)| stream),
            Self::Address(address) => TcpStream::connect(address),
        };
        let ready = stream.and_then(|stream| {
            stream.set_nonblocking(false)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(Duration::from_millis(1)))?;
            Ok(stream)
        });
        // A peer that is not there yet, or no more, is tried again.
        ready.map_err(|_| std::thread::sleep(PAUSE)).ok()
    }
}

/// Reads what is there and writes what waits.
fn exchange(
    end: &mut dyn End,
    stream: &mut TcpStream,
    buffer: &mut [u8],
    lines: &mut Vec<String>,
) -> Result<(), Failure> {
    match stream.read(buffer) {
        Ok(0) => end.take(None, lines)?,
        Ok(count) => end.take(Some(buffer.get(..count).unwrap_or_default()), lines)?,
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            end.take(Some(&[]), lines)?
        }
        Err(_) => end.take(None, lines)?,
    }
    let count = end.pending().len();
    if stream.write_all(end.pending()).is_ok() {
        end.sent(count);
    } else {
        end.take(None, lines)?;
    }
    Ok(())
}

fn serve(end: &mut dyn End, link: &Link) -> Result<(), Failure> {
    let (sender, commands) = mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let (mut stream, mut buffer, mut lines) = (None, vec![0; 1 << 14], Vec::new());
    let mut out = BufWriter::new(std::io::stdout());
    loop {
        let mut is_over = false;
        for _ in 0..COMMAND_COUNT_MAX {
            let command = match commands.try_recv() {
                Ok(command) => command,
                Err(mpsc::TryRecvError::Empty) => break,
                // Who gives the commands is gone: so are we.
                Err(mpsc::TryRecvError::Disconnected) => return Ok(()),
            };
            end.obey(&command.split_whitespace().collect::<Vec<_>>(), &mut lines)?;
            is_over = is_over || command == "end";
        }
        if stream.is_none() {
            stream = link.next();
            if stream.is_some() {
                end.connect();
            } else {
                end.take(None, &mut lines)?;
            }
        }
        if let Some(stream) = &mut stream {
            exchange(end, stream, &mut buffer, &mut lines)?;
        }
        if !end.is_connected() {
            stream = None;
        }
        lines.drain(..).try_for_each(|line| writeln!(out, "{line}"))?;
        out.flush()?;
        if is_over {
            return Ok(());
        }
    }
}

/// Runs one of them: `venue` is an acceptor, `desk` and `copy` are initiators. `numbers` are those of the next messages.
pub(super) fn run(kind: &str, address: &str, numbers: Numbers) -> Result<(), Failure> {
    let role = if kind == "venue" { Role::Acceptor } else { Role::Initiator };
    let (us, them) = if kind == "venue" { ("VENUE", "DESK") } else { ("DESK", "VENUE") };
    let link = if kind == "venue" {
        let listener = TcpListener::bind(address)?;
        writeln!(std::io::stdout(), "listening {}", listener.local_addr()?)?;
        listener.set_nonblocking(true)?;
        Link::Listener(listener)
    } else {
        Link::Address(address.to_owned())
    };
    let session = || Session::new(config(role, us, them), numbers);
    match kind {
        "venue" => serve(&mut Party { session: session(), business: Business::Venue(Venue::default()) }, &link),
        "desk" => serve(&mut Party { session: session(), business: Business::Desk(Desk::default()) }, &link),
        _ => serve(&mut CopyClient::new(config(role, us, them), Nanos::from_secs(1), FILL_COUNT_MAX), &link),
    }
}
