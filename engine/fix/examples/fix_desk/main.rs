//! Both ends of an order session over TCP, for peers that somebody else wrote (`scripts/fix_peer.sh`).
//!
//! `fix_desk acceptor ADDRESS`: a venue that fills half of each order at once, then cancels or replaces the rest as asked.
//! `fix_desk initiator ADDRESS`: a desk that logs on, sends ten orders, cancels what is left of each, and logs out when all
//! is answered. Each writes what it heard, a line for each message, and at the end what its session counted.
//! `fix_desk venue|desk|copy ADDRESS [NEXT_OUT NEXT_IN]`: sessions that live on over many connections, see `driven`
//! (`scripts/fix_engine.sh`).

mod driven;

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use peregrine_fix::orders::{
    BusinessMessageReject, ExecType, ExecutionReport, Lifetime, NewOrderSingle, OrdStatus, OrdType, OrderCancelReject,
    OrderCancelReplaceRequest, OrderCancelRequest, ResponseTo, SideCode,
};
use peregrine_fix::{Body, Event, Message, Numbers, Role, Session, SessionConfig, State};
use peregrine_types::{EpochNanos, Price, Qty};

type Failure = Box<dyn std::error::Error>;

/// Orders that the desk sends.
const ORDER_COUNT: u64 = 10;

fn now() -> EpochNanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    EpochNanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// What is to be sent: type and fields.
type Answers = Vec<(&'static str, Body)>;

#[derive(Clone, Copy, Debug)]
struct Order {
    id: u64,
    side: SideCode,
    qty: Qty,
    cum: Qty,
    price: Price,
    is_open: bool,
}

/// A venue's orders by their names.
#[derive(Debug, Default)]
struct Venue {
    orders: BTreeMap<String, Order>,
    count: u64,
    reports: u64,
}

impl Venue {
    fn report(&mut self, name: &str, symbol: &str, order: Order, exec_type: ExecType) -> (&'static str, Body) {
        self.reports += 1;
        let (order_id, exec_id) = (order.id.to_string(), self.reports.to_string());
        let is_fill = exec_type == ExecType::Trade;
        let status = if exec_type == ExecType::Canceled {
            OrdStatus::Canceled
        } else if order.cum.0 > 0 {
            OrdStatus::PartiallyFilled
        } else {
            OrdStatus::New
        };
        let mut body = Body::new();
        ExecutionReport {
            order_id: &order_id,
            cl_ord_id: Some(name),
            orig_cl_ord_id: None,
            exec_id: &exec_id,
            exec_ref_id: None,
            secondary_exec_id: None,
            exec_type,
            status,
            reject_reason: None,
            restatement_reason: None,
            account: None,
            symbol,
            side: order.side,
            qty: Some(order.qty),
            ord_type: Some(OrdType::Limit),
            price: Some(order.price),
            lifetime: None,
            last_qty: is_fill.then_some(order.cum),
            last_price: is_fill.then_some(order.price),
            leaves_qty: if order.is_open { order.qty.saturating_sub(order.cum) } else { Qty::ZERO },
            cum_qty: order.cum,
            avg_price: "0",
            transact_time: Some(now()),
            text: None,
            liquidity: None,
        }
        .write(&mut body);
        (ExecutionReport::MSG_TYPE, body)
    }

    fn on_message(&mut self, number: u64, message: &Message<'_>) -> Answers {
        if let Ok(new) = NewOrderSingle::parse(message) {
            self.count += 1;
            let price = new.price.unwrap_or_default();
            let mut order =
                Order { id: self.count, side: new.side, qty: new.qty, cum: Qty::ZERO, price, is_open: true };
            let accepted = self.report(new.cl_ord_id, new.symbol, order, ExecType::New);
            order.cum = Qty(new.qty.0 / 2);
            self.orders.insert(new.cl_ord_id.to_owned(), order);
            return vec![accepted, self.report(new.cl_ord_id, new.symbol, order, ExecType::Trade)];
        }
        if let Ok(cancel) = OrderCancelRequest::parse(message) {
            return match self.orders.get_mut(cancel.orig_cl_ord_id) {
                Some(order) if order.is_open => {
                    order.is_open = false;
                    let order = *order;
                    vec![self.report(cancel.cl_ord_id, cancel.symbol, order, ExecType::Canceled)]
                }
                Some(_) | None => vec![unknown(cancel.cl_ord_id, cancel.orig_cl_ord_id, ResponseTo::Cancel)],
            };
        }
        if let Ok(replace) = OrderCancelReplaceRequest::parse(message) {
            return match self.orders.remove(replace.orig_cl_ord_id) {
                Some(order) if order.is_open && replace.qty > order.cum => {
                    let price = replace.price.unwrap_or(order.price);
                    let order = Order { qty: replace.qty, price, ..order };
                    self.orders.insert(replace.cl_ord_id.to_owned(), order);
                    vec![self.report(replace.cl_ord_id, replace.symbol, order, ExecType::Replaced)]
                }
                Some(_) | None => vec![unknown(replace.cl_ord_id, replace.orig_cl_ord_id, ResponseTo::Replace)],
            };
        }
        let mut body = Body::new();
        let msg_type = String::from_utf8_lossy(message.msg_type()).into_owned();
        let (ref_number, text) = (Some(number), Some("not served here"));
        BusinessMessageReject { ref_number, ref_msg_type: &msg_type, ref_id: None, reason: 3, text }.write(&mut body);
        vec![(BusinessMessageReject::MSG_TYPE, body)]
    }
}

fn unknown(cl_ord_id: &str, orig_cl_ord_id: &str, response_to: ResponseTo) -> (&'static str, Body) {
    let mut body = Body::new();
    let (order_id, status, reason) = ("NONE", OrdStatus::Rejected, Some(1));
    let (transact_time, text) = (Some(now()), None);
    OrderCancelReject { order_id, cl_ord_id, orig_cl_ord_id, status, transact_time, response_to, reason, text }
        .write(&mut body);
    (OrderCancelReject::MSG_TYPE, body)
}

fn new_order(number: u64) -> (&'static str, Body) {
    let mut body = Body::new();
    NewOrderSingle {
        cl_ord_id: &format!("N{number}"),
        account: None,
        handl_inst: Some(1),
        exec_inst: None,
        min_qty: None,
        max_floor: None,
        symbol: "ALFA",
        side: if number.is_multiple_of(2) { SideCode::Buy } else { SideCode::Sell },
        transact_time: now(),
        qty: Qty(100 * number),
        ord_type: OrdType::Limit,
        price: Some(Price(10_010_000_000)),
        stop_price: None,
        lifetime: Some(Lifetime::Day),
        capacity: Some("P"),
    }
    .write(&mut body);
    (NewOrderSingle::MSG_TYPE, body)
}

/// A desk's answer to a report: what is left behind the first fill is cancelled.
fn desk(message: &Message<'_>) -> Answers {
    let Ok(report) = ExecutionReport::parse(message) else { return vec![] };
    let Some(name) = report.cl_ord_id.filter(|_| report.exec_type == ExecType::Trade && report.leaves_qty.0 > 0) else {
        return vec![];
    };
    let mut body = Body::new();
    OrderCancelRequest {
        orig_cl_ord_id: name,
        order_id: Some(report.order_id),
        cl_ord_id: &format!("C{name}"),
        symbol: report.symbol,
        side: report.side,
        transact_time: now(),
        qty: report.qty.unwrap_or(Qty::ZERO),
    }
    .write(&mut body);
    vec![(OrderCancelRequest::MSG_TYPE, body)]
}

/// One connection, to its end.
fn serve(
    session: &mut Session,
    stream: &mut TcpStream,
    on_message: &mut dyn FnMut(u64, &Message<'_>) -> Answers,
) -> Result<(), Failure> {
    stream.set_read_timeout(Some(Duration::from_millis(5)))?;
    let (mut buffer, mut out) = (vec![0; 1 << 14], std::io::stdout());
    session.connect(now());
    loop {
        let (mut answers, mut lines) = (Answers::new(), Vec::new());
        let mut on_event = |event: Event<'_>| {
            if let Event::Message { number, message } = event {
                lines.push(format!("{number} {}", String::from_utf8_lossy(message.bytes()).replace('\x01', "|")));
                answers.extend(on_message(number, &message));
            } else {
                lines.push(format!("{event:?}"));
            }
        };
        match stream.read(&mut buffer) {
            Ok(0) => session.disconnect(&mut on_event),
            Ok(count) => session.receive(buffer.get(..count).unwrap_or_default(), now(), &mut on_event),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            // A connection that is gone is no failure of the session.
            Err(_) => session.disconnect(&mut on_event),
        }
        session.poll(now(), &mut on_event);
        for (msg_type, body) in answers {
            session.send(msg_type, &body, now())?;
        }
        let count = session.pending().len();
        if stream.write_all(session.pending()).is_ok() {
            session.sent(count, now());
        } else {
            session.disconnect(&mut |_| {});
        }
        lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
        out.flush()?;
        if session.state() == State::Disconnected {
            return Ok(());
        }
    }
}

fn config(role: Role, us: &str, them: &str) -> SessionConfig {
    SessionConfig {
        heartbeat_s: 2,
        resend_time_max: peregrine_types::Nanos::from_secs(3),
        ..SessionConfig::new(role, us, them)
    }
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut out = std::io::stdout();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["acceptor", address] => {
            let listener = TcpListener::bind(address)?;
            writeln!(out, "listening {}", listener.local_addr()?)?;
            let mut session = Session::new(config(Role::Acceptor, "VENUE", "DESK"), Numbers::START);
            let mut venue = Venue::default();
            // Two connections: the second one goes on where the first one broke.
            for _ in 0..2 {
                let (mut stream, _) = listener.accept()?;
                serve(&mut session, &mut stream, &mut |number, message| venue.on_message(number, message))?;
            }
            writeln!(out, "{:?}", session.counters())?;
        }
        ["initiator", address] => {
            let mut session = Session::new(config(Role::Initiator, "DESK", "VENUE"), Numbers::START);
            for number in 1..=ORDER_COUNT {
                let (msg_type, body) = new_order(number);
                session.send(msg_type, &body, now())?;
            }
            // What was sent without a connection is asked for by the venue: its first gap.
            let mut stream = TcpStream::connect(address)?;
            serve(&mut session, &mut stream, &mut |_, message| desk(message))?;
            writeln!(out, "{:?}", session.counters())?;
        }
        [kind @ ("venue" | "desk" | "copy"), address] => driven::run(kind, address, Numbers::START)?,
        [kind @ ("venue" | "desk"), address, next_out, next_in] => {
            driven::run(kind, address, Numbers { next_out: next_out.parse()?, next_in: next_in.parse()? })?;
        }
        _ => return Err("usage: fix_desk acceptor|initiator|venue|desk|copy ADDRESS [NEXT_OUT NEXT_IN]".into()),
    }
    Ok(())
}
