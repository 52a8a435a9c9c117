//! The venue's side of order entry: takes every order, fills none, cancels what it is asked to.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use peregrine_gateway::ouch50::{
    AccountQueryResponse, Body, EnterOrder, Inbound, MESSAGE_LEN_MAX, MassCancelResponse, MessageBuilder,
    OrderAccepted, OrderCanceled, OrderReplaced, ReplaceOrder,
};
use peregrine_gateway::soup::{
    CLIENT_SILENCE_MAX, HEARTBEAT_INTERVAL, LOGIN_TIME_MAX, Password, ServerConfig, ServerEvent, ServerSession,
    ServerState, SessionId, Username,
};
use peregrine_runtime::{TscClock, system_now};

use crate::BenchError;
use crate::percentiles::Timer;

/// User of the port.
pub const USERNAME: &str = "desk1";
/// Its password.
pub const PASSWORD: &str = "password";

/// One port with one connection.
#[derive(Debug)]
pub struct Desk {
    listener: TcpListener,
    stream: Option<TcpStream>,
    session: ServerSession,
    clock: TscClock,
    buffer: Vec<u8>,
    /// Orders by number, as they were entered or replaced last.
    open: HashMap<u32, EnterOrder>,
    user_ref_num_last: u32,
    order_ref_last: u64,
    /// Orders and cancels that came.
    pub order_count: u64,
}

impl Desk {
    /// A port at `address`; port 0 is the system's choice.
    ///
    /// # Errors
    /// What the socket says.
    pub fn listen(address: SocketAddrV4) -> Result<Self, BenchError> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let config = ServerConfig {
            username: Username::new(USERNAME).ok_or("no user name")?,
            password: Password::new(PASSWORD).ok_or("no password")?,
            session: SessionId::new("WIRE").ok_or("no session")?,
            heartbeat_interval: HEARTBEAT_INTERVAL,
            silence_max: CLIENT_SILENCE_MAX,
            login_time_max: LOGIN_TIME_MAX,
            packet_len_max: 512,
            outbox_len_max: 1 << 20,
            message_count_max: 4_000_000,
            byte_count_max: 256 << 20,
        };
        Ok(Self {
            listener,
            stream: None,
            session: ServerSession::new(config),
            clock: TscClock::calibrated(),
            buffer: vec![0; 1 << 16],
            open: HashMap::new(),
            user_ref_num_last: 0,
            order_ref_last: 0,
            order_count: 0,
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the socket says.
    pub fn address(&self) -> Result<SocketAddr, BenchError> {
        Ok(self.listener.local_addr()?)
    }

    /// Whether somebody is logged in.
    #[must_use]
    pub fn is_logged_in(&self) -> bool {
        self.session.state() == ServerState::Active
    }

    /// Waits for an order or a cancel, spinning; gives the ticks of the moment when its bytes had been read, `None` when none came in
    /// time. What was read is answered afterwards.
    ///
    /// # Errors
    /// What the connection says.
    pub fn await_order(&mut self, timer: &Timer, time_max: Duration) -> Result<Option<u64>, BenchError> {
        let started = Instant::now();
        let before = self.order_count;
        while started.elapsed() < time_max {
            let len = self.read()?;
            if len > 0 {
                let end = timer.ticks();
                self.take(len)?;
                if self.order_count > before {
                    return Ok(Some(end));
                }
            }
        }
        Ok(None)
    }

    /// Accepts, reads and answers what is there; whether anything was read.
    ///
    /// # Errors
    /// What the connection says.
    pub fn serve(&mut self) -> Result<bool, BenchError> {
        if self.stream.is_none() {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    self.stream = Some(stream);
                    self.session.connect(system_now());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        let len = self.read()?;
        self.take(len)?;
        Ok(len > 0)
    }

    fn read(&mut self) -> Result<usize, BenchError> {
        let Some(stream) = &mut self.stream else { return Ok(0) };
        match stream.read(&mut self.buffer) {
            Ok(0) => {
                self.stream = None;
                self.session.disconnect(&mut |_| {});
                Ok(0)
            }
            Ok(len) => Ok(len),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Answers `len` bytes of the buffer, lets time pass, and writes what is due.
    fn take(&mut self, len: usize) -> Result<(), BenchError> {
        let now = self.clock.now();
        let mut asked: Vec<Vec<u8>> = Vec::new();
        let bytes = self.buffer.get(..len).unwrap_or_default();
        self.session.receive(bytes, now, &mut |event| {
            if let ServerEvent::Unsequenced(payload) = event {
                asked.push(payload.to_vec());
            }
        });
        self.session.poll(now, &mut |_| {});
        for payload in asked {
            self.answer(&payload)?;
        }
        let Some(stream) = &mut self.stream else { return Ok(()) };
        while !self.session.pending().is_empty() {
            match stream.write(self.session.pending()) {
                Ok(sent) => self.session.sent(sent, now),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn answer(&mut self, payload: &[u8]) -> Result<(), BenchError> {
        match Inbound::parse(payload)? {
            Inbound::EnterOrder(order, _) => {
                self.order_count += 1;
                self.order_ref_last += 1;
                self.user_ref_num_last = self.user_ref_num_last.max(order.user_ref_num.get());
                self.open.insert(order.user_ref_num.get(), *order);
                self.say(&accepted(order, self.order_ref_last))
            }
            Inbound::CancelOrder(cancel, _) => {
                self.order_count += 1;
                let Some(order) = self.open.remove(&cancel.user_ref_num.get()) else { return Ok(()) };
                self.say(&OrderCanceled {
                    user_ref_num: cancel.user_ref_num,
                    quantity: order.quantity,
                    reason: b'U',
                    ..OrderCanceled::blank()
                })
            }
            Inbound::ReplaceOrder(replace, _) => {
                self.order_count += 1;
                self.order_ref_last += 1;
                self.user_ref_num_last = self.user_ref_num_last.max(replace.user_ref_num.get());
                let Some(order) = self.open.remove(&replace.orig_user_ref_num.get()) else {
                    return Err("a replacement of an order that is not open".into());
                };
                let order = EnterOrder {
                    user_ref_num: replace.user_ref_num,
                    quantity: replace.quantity,
                    price: replace.price,
                    clordid: replace.clordid,
                    ..order
                };
                self.open.insert(replace.user_ref_num.get(), order);
                self.say(&replaced(&order, replace, self.order_ref_last))
            }
            Inbound::AccountQuery(..) => self.say(&AccountQueryResponse {
                next_user_ref_num: (self.user_ref_num_last + 1).into(),
                ..AccountQueryResponse::blank()
            }),
            Inbound::MassCancel(mass, _) => {
                self.user_ref_num_last = self.user_ref_num_last.max(mass.user_ref_num.get());
                self.say(&MassCancelResponse {
                    user_ref_num: mass.user_ref_num,
                    firm: mass.firm,
                    symbol: mass.symbol,
                    ..MassCancelResponse::blank()
                })
            }
            other @ (Inbound::ModifyOrder(..)
            | Inbound::DisableOrderEntry(..)
            | Inbound::EnableOrderEntry(..)
            | Inbound::Unknown(_)) => Err(format!("an order message that this desk does not know: {other:?}").into()),
        }
    }

    fn say<B: Body>(&mut self, body: &B) -> Result<(), BenchError> {
        let mut buffer = [0; MESSAGE_LEN_MAX];
        let message = MessageBuilder::new(&mut buffer, body)?.finish();
        self.session.sequence(message, self.clock.now())?;
        Ok(())
    }
}

fn accepted(order: &EnterOrder, order_ref: u64) -> OrderAccepted {
    OrderAccepted {
        user_ref_num: order.user_ref_num,
        side: order.side,
        quantity: order.quantity,
        symbol: order.symbol,
        price: order.price,
        time_in_force: order.time_in_force,
        display: order.display,
        order_ref: order_ref.into(),
        capacity: order.capacity,
        iso_eligibility: order.iso_eligibility,
        cross_type: order.cross_type,
        order_state: b'L',
        clordid: order.clordid,
        ..OrderAccepted::blank()
    }
}

fn replaced(order: &EnterOrder, replace: &ReplaceOrder, order_ref: u64) -> OrderReplaced {
    OrderReplaced {
        orig_user_ref_num: replace.orig_user_ref_num,
        user_ref_num: order.user_ref_num,
        side: order.side,
        quantity: order.quantity,
        symbol: order.symbol,
        price: order.price,
        time_in_force: order.time_in_force,
        display: order.display,
        order_ref: order_ref.into(),
        capacity: order.capacity,
        iso_eligibility: order.iso_eligibility,
        cross_type: order.cross_type,
        order_state: b'L',
        clordid: order.clordid,
        ..OrderReplaced::blank()
    }
}
