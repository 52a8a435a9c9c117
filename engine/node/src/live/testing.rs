//! What tests of live parts share: who logs in, and an order client that has sent nothing.

use peregrine_gateway::Fees;
use peregrine_gateway::live::{LoggedAccount, OrderClient, OrderClientConfig};
use peregrine_gateway::ouch50::Text;
use peregrine_gateway::soup::{ClientConfig, HEARTBEAT_INTERVAL, Password, Username};
use peregrine_types::{EpochNanos, Nanos, Price};

/// A login of `user`.
pub(crate) fn login(user: &str) -> ClientConfig {
    ClientConfig {
        username: Username::new(user).unwrap(),
        password: Password::new("secret").unwrap(),
        heartbeat_interval: HEARTBEAT_INTERVAL,
        silence_max: Nanos::from_secs(60),
        login_time_max: Nanos::from_secs(60),
        heartbeat_timeout_ms: None,
        packet_len_max: 512,
        outbox_len_max: 1 << 12,
    }
}

/// A client without symbols.
pub(crate) fn order_client() -> OrderClient {
    let config = OrderClientConfig {
        session: login("desk"),
        symbols: vec![],
        order_count_max: 1,
        order_number_end: 2,
        fill_count_max: 1,
        fees: Fees { added: Price(0), removed: Price(0) },
        midnight: EpochNanos(0),
        capacity: b'P',
        firm: Text(*b"FIRM"),
        answer_time_max: Nanos::from_secs(60),
        resend_age_max: Nanos::from_secs(1),
        reject_count_max: 1,
        probe_count: 1,
        backlog_len_max: 1,
    };
    OrderClient::new(config, LoggedAccount::default())
}
