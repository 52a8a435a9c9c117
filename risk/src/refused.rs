//! An approved order that its way to the venue did not take.

use peregrine_types::{Full, ReasonCode};

use crate::ApprovedOrder;

/// An approved order handed back, and why: it was not sent and never will be.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an approved order is counted as open: revoke it"]
pub struct Refused {
    /// The order, to be revoked.
    pub order: ApprovedOrder,
    /// Why it was not taken.
    pub reason: ReasonCode,
}

impl From<Full<ApprovedOrder>> for Refused {
    fn from(Full(order): Full<ApprovedOrder>) -> Self {
        Self { order, reason: ReasonCode::RingFull }
    }
}
