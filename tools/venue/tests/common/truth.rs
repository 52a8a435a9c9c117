//! What the venue's stream says of a session in which the engine was killed, against the logs of all its runs.
#![allow(dead_code, clippy::allow_attributes, reason = "each test uses its part")]
#![expect(clippy::wildcard_enum_match_arm, reason = "most messages say nothing of fills")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use peregrine_gateway::live::LoggedOrder;
use peregrine_gateway::ouch50::Outbound;
use peregrine_node::live::history::{self, SessionNote};
use peregrine_types::{OrderId, Side};

use super::desk::stream_of;

pub(crate) const SYMBOLS: [&str; 2] = ["ALFA", "BETA"];

/// An exchange with two ports, and neither tape nor faults.
pub(crate) fn venue_text() -> String {
    let port = |user: &str, firm: u32| {
        format!(
            "[[port]]\naddress = \"127.0.0.1:0\"\nusername = \"{user}\"\npassword = \"secret\"\nfirm = {firm}\n\
             self_trade = \"decrement_both\"\nis_cancel_on_disconnect = false\norder_count_max = 400_000\n\
             message_count_max = 2_000_000\n"
        )
    };
    let symbol = |name: &str| format!("[[symbol]]\nname = \"{name}\"\nreference_price = \"10.00\"\nround_lot = 100\n");
    format!(
        "[venue]\nsession = \"KILLDAY001\"\nstart = \"10:00:00\"\nspeed = 1\nis_spinning = false\n\
         [hours]\nstart_messages = \"09:24:00\"\nstart_system = \"09:25:00\"\nopen = \"09:30:00\"\n\
         close = \"16:30:00\"\nend_system = \"16:31:00\"\nend_messages = \"16:32:00\"\nlate_s = 10\n\
         [capacity]\norder_count_max = 50_000\nreference_count_max = 2_000_000\nlevel_count_max = 50_000\n\
         side_level_count_max = 2_000\nfeed_message_count_max = 4_000_000\n\
         [feed]\nline_a = \"127.0.0.1:9\"\nline_b = \"127.0.0.1:9\"\ninterface = \"127.0.0.1\"\nttl = 0\n\
         payload_len_max = 1_400\nheartbeat_ms = 500\nend_of_session_ms = 100\n\
         [retransmission]\naddress = \"127.0.0.1:0\"\n\
         [snapshot]\naddress = \"127.0.0.1:0\"\nusername = \"glimps\"\npassword = \"glimpse\"\n\
         [faults]\nseed = 7\n{}{}[flow]\nkind = \"none\"\n{}{}",
        port("desk", 1),
        port("other", 2),
        symbol(SYMBOLS[0]),
        symbol(SYMBOLS[1]),
    )
}

/// An order as our logs have it.
struct Ours {
    symbol: String,
    /// 1 buys, -1 sells.
    sign: i64,
    /// Shares; of a replacement those of the whole chain.
    qty: i64,
    /// The order that it was to replace, 0 for none.
    replaces: u64,
}

/// What the venue's stream says: acceptances by order, fills by order and match number, what is open. Where it never said an
/// acceptance, or that an order was replaced, our logs say what was meant.
#[derive(Default)]
pub(crate) struct Truth {
    pub(crate) accepted: BTreeMap<u64, u32>,
    pub(crate) fills: BTreeMap<(u64, u64), u64>,
    pub(crate) positions: BTreeMap<String, i64>,
    open: BTreeMap<u64, i64>,
    /// Shares executed of an order and of those whose place it took.
    executed: BTreeMap<u64, i64>,
}

impl Truth {
    /// The replacement `id` has taken the place of `old`, with `open` shares.
    fn replace(&mut self, old: u64, id: u64, open: i64) {
        self.open.insert(old, 0);
        self.open.insert(id, open);
        let executed = self.executed.get(&old).copied().unwrap_or(0);
        self.executed.insert(id, executed);
    }

    /// The venue speaks of an order: so it lives, or did, and those whose place it took do not.
    fn learn(&mut self, id: u64, logged: &BTreeMap<u64, Ours>) {
        if self.open.contains_key(&id) {
            return;
        }
        let Ours { qty, replaces, .. } = logged[&id];
        if replaces == 0 {
            self.open.insert(id, qty);
        } else {
            self.learn(replaces, logged);
            let executed = self.executed.get(&replaces).copied().unwrap_or(0);
            self.replace(replaces, id, qty - executed);
        }
    }

    fn reduce(&mut self, id: u64, qty: i64, logged: &BTreeMap<u64, Ours>) {
        self.learn(id, logged);
        *self.open.get_mut(&id).unwrap() -= qty;
    }
}

/// Reads a stream.
fn truth(messages: &[Vec<u8>], logged: &BTreeMap<u64, Ours>) -> Truth {
    let mut truth = Truth::default();
    for message in messages {
        match Outbound::parse(message).unwrap() {
            Outbound::OrderAccepted(m, _) => {
                let id = u64::from(m.user_ref_num.get());
                *truth.accepted.entry(id).or_default() += 1;
                truth.open.insert(id, i64::from(m.quantity.get()));
            }
            Outbound::OrderReplaced(m, _) => {
                let id = u64::from(m.user_ref_num.get());
                *truth.accepted.entry(id).or_default() += 1;
                let old = u64::from(m.orig_user_ref_num.get());
                truth.learn(old, logged);
                truth.replace(old, id, m.quantity.get().into());
            }
            Outbound::OrderExecuted(m, _) => {
                let id = u64::from(m.user_ref_num.get());
                let Ours { symbol, sign, .. } = &logged[&id];
                let qty = m.quantity.get();
                if truth.fills.insert((id, m.match_number.get()), u64::from(qty)).is_none() {
                    *truth.positions.entry(symbol.clone()).or_default() += sign * i64::from(qty);
                    truth.reduce(id, qty.into(), logged);
                    *truth.executed.entry(id).or_default() += i64::from(qty);
                }
            }
            Outbound::OrderCanceled(m, _) => {
                truth.reduce(m.user_ref_num.get().into(), m.quantity.get().into(), logged);
            }
            Outbound::AiqCanceled(m, _) => {
                truth.reduce(m.user_ref_num.get().into(), m.decrement_shares.get().into(), logged);
            }
            _ => {}
        }
    }
    truth
}

/// A number from the environment.
pub(crate) fn setting(name: &str, default: u32) -> u32 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

pub(crate) fn said_by(child: std::process::Child) -> String {
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// What the logs of all runs in `dir` say together, against the venue's stream.
pub(crate) fn hold_equal(
    dir: &Path,
    port: SocketAddr,
    (session, user): (&str, &str),
    symbols: &[&str],
) -> (Truth, usize) {
    let note = SessionNote {
        version: 1,
        session: session.to_owned(),
        address: port.to_string(),
        username: user.to_owned(),
        symbols: symbols.iter().map(|name| (*name).to_owned()).collect(),
        earlier: Vec::new(),
    };
    let past = history::read(dir, &note).unwrap();
    let logged = (past.account.orders.values())
        .map(|LoggedOrder { order_id, order, replaces, .. }| {
            let sign = if order.side == Side::Buy { 1 } else { -1 };
            let (symbol, qty) = (symbols[order.symbol.index()].to_owned(), i64::try_from(order.qty.0).unwrap());
            (order_id.0, Ours { symbol, sign, qty, replaces: replaces.0 })
        })
        .collect();
    let truth = truth(&stream_of(port, user), &logged);
    let fills: BTreeMap<(u64, u64), u64> =
        (past.account.fills.values()).map(|fill| ((fill.order_id.0, fill.match_number.0), fill.qty.0)).collect();
    assert_eq!(fills, truth.fills, "fills in the logs, fills at the venue");
    assert!(truth.accepted.values().all(|count| *count == 1), "no order lives twice");
    assert!(truth.accepted.keys().all(|id| past.account.orders.contains_key(&OrderId(*id))), "every order is in a log");
    assert!(truth.open.values().all(|open| *open == 0), "nothing is open: {:?}", truth.open);
    (truth, past.runs.len())
}
