//! What a session needs to know.

use peregrine_types::Nanos;

/// Which side of the session it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Connects and logs on first.
    Initiator,
    /// Waits for a Logon.
    Acceptor,
}

/// What a session needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// Which side it is.
    pub role: Role,
    /// Our name: SenderCompID (49) of what we send.
    pub sender: String,
    /// The other side's name: TargetCompID (56) of what we send.
    pub target: String,
    /// Username (553) and Password (554) of the Logon: an initiator sends them, an acceptor demands them. An empty one is
    /// left out.
    pub login: Option<(String, String)>,
    /// HeartBtInt (108) in seconds, 0 for none; an acceptor takes the initiator's.
    pub heartbeat_s: u32,
    /// An initiator's wish that both sides begin at 1 with each Logon (ResetSeqNumFlag, 141).
    pub is_reset_on_logon: bool,
    /// How long a Logon may take, or its answer: 10 s is usual.
    pub logon_time_max: Nanos,
    /// How long the answer to a Logout may take: 2–10 s are usual.
    pub logout_time_max: Nanos,
    /// How far SendingTime (52) may be from our clock, 120 s by the standard; `None`: any.
    pub sending_time_max: Option<Nanos>,
    /// Messages asked for at once, at least 2: many venues refuse more than 2,500. A request is a message itself: two sides
    /// that both miss something, and ask for one message at a time, would never catch up with each other's requests.
    pub resend_len_max: u64,
    /// How often the same messages are asked for.
    pub resend_count_max: u32,
    /// How long a resend may make no progress until it is asked for again.
    pub resend_time_max: Nanos,
    /// Age from which a message of ours is stepped over instead of sent again; `None`: never.
    pub resend_age_max: Option<Nanos>,
    /// Bytes of messages that came too early which are kept until their turn comes; what does not fit is asked for again.
    pub early_len_max: usize,
    /// Whether fields of users' own (5000–9999) are taken. FIX leaves them to an agreement of both sides: without one,
    /// `false` refuses them (SessionRejectReason 0).
    pub is_user_field_taken: bool,
    /// The longest message, in bytes.
    pub message_len_max: usize,
    /// How many outgoing bytes can wait; at least two messages'.
    pub outbox_len_max: usize,
    /// How many sent messages are kept.
    pub store_count_max: usize,
    /// How many bytes they have together, headers left out.
    pub store_byte_count_max: usize,
}

impl SessionConfig {
    /// Usual values for a session between two names.
    #[must_use]
    pub fn new(role: Role, sender: &str, target: &str) -> Self {
        Self {
            role,
            sender: sender.to_owned(),
            target: target.to_owned(),
            login: None,
            heartbeat_s: 30,
            is_reset_on_logon: false,
            logon_time_max: Nanos::from_secs(10),
            logout_time_max: Nanos::from_secs(5),
            sending_time_max: Some(Nanos::from_secs(120)),
            resend_len_max: 2_500,
            resend_count_max: 3,
            resend_time_max: Nanos::from_secs(10),
            resend_age_max: None,
            early_len_max: 1 << 20,
            is_user_field_taken: true,
            message_len_max: 1 << 13,
            outbox_len_max: 1 << 16,
            store_count_max: 1 << 14,
            store_byte_count_max: 1 << 21,
        }
    }
}

/// The numbers of the next messages. Who keeps them over a restart can go on with the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// Of our next message.
    pub next_out: u64,
    /// Of the other side's next one.
    pub next_in: u64,
}

impl Numbers {
    /// The begin of a session.
    pub const START: Self = Self { next_out: 1, next_in: 1 };
}
