//! What a report of the venue means to the engine: FIX's execution types as the kinds of [`Execution`].
//!
//! | ExecType (150) | meaning |
//! |---|---|
//! | New | `Accepted` |
//! | Rejected | `Rejected` |
//! | Trade, and 4.2's PartialFill and Fill | `Filled` |
//! | Canceled, Expired, DoneForDay | `Canceled` |
//! | Restated with fewer shares left | `Reduced`; otherwise amended |
//! | TradeCancel | `Busted` |
//! | Replaced | `Replaced`: told under the replacement's ClOrdID |
//! | TradeCorrect | amended: the fill has other terms |
//! | PendingNew, PendingCancel, PendingReplace, Stopped, Suspended, Calculated, OrderStatus | informative: nothing changes |
//!
//! An OrderCancelReject is `CancelRejected`.

use peregrine_types::{
    EpochNanos, Execution, ExecutionKind, Liquidity, MatchNumber, Notional, OrderId, Price, Qty, ReasonCode, SymbolId,
};

use super::orders::{ExecType, ExecutionReport, OrderCancelReject};

/// What a report means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// It is one of the engine's executions.
    Execution(ExecutionKind),
    /// An order or a fill has other terms: not an execution, and not to be passed over.
    Amended,
    /// Nothing changes.
    Informative,
}

/// Why a report is no execution of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// A fill without quantity (32) or price (31).
    #[error("a fill without LastQty (32) or LastPx (31)")]
    NoFill,
    /// A fill whose ExecID (17) and SecondaryExecID (527) are no numbers: without one it could not be told from others.
    #[error("a fill without a number: neither SecondaryExecID (527) nor ExecID (17) is one")]
    NoMatchNumber,
}

/// What the engine knows of the order that a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its number.
    pub order_id: OrderId,
    /// Its instrument.
    pub symbol: SymbolId,
    /// What was open before the report.
    pub open_qty: Qty,
    /// When the report may be known.
    pub visible_time: EpochNanos,
}

impl ExecutionReport<'_> {
    /// What it means to an order of which `open_qty` was open.
    #[must_use]
    pub fn meaning(&self, open_qty: Qty) -> Meaning {
        match self.exec_type {
            ExecType::New => Meaning::Execution(ExecutionKind::Accepted),
            ExecType::Rejected => Meaning::Execution(ExecutionKind::Rejected),
            ExecType::Trade | ExecType::PartialFill | ExecType::Fill => Meaning::Execution(ExecutionKind::Filled),
            ExecType::Canceled | ExecType::Expired | ExecType::DoneForDay => {
                Meaning::Execution(ExecutionKind::Canceled)
            }
            ExecType::Restated if self.leaves_qty < open_qty => Meaning::Execution(ExecutionKind::Reduced),
            ExecType::TradeCancel => Meaning::Execution(ExecutionKind::Busted),
            ExecType::Replaced => Meaning::Execution(ExecutionKind::Replaced),
            ExecType::Restated | ExecType::TradeCorrect => Meaning::Amended,
            ExecType::PendingNew
            | ExecType::PendingCancel
            | ExecType::PendingReplace
            | ExecType::Stopped
            | ExecType::Suspended
            | ExecType::Calculated
            | ExecType::OrderStatus => Meaning::Informative,
        }
    }

    /// The venue's number of the fill: SecondaryExecID (527), or ExecID (17), where it is a number above 0.
    #[must_use]
    pub fn match_number(&self) -> Option<MatchNumber> {
        let number = |text: &str| super::value::parse_number(text.as_bytes()).filter(|number| *number > 0);
        self.secondary_exec_id.and_then(number).or_else(|| number(self.exec_id)).map(MatchNumber)
    }

    /// The report as an execution; `None` when it is none ([`Meaning`]). Fees are not in the report: zero.
    ///
    /// # Errors
    /// [`ReportError`] for a fill or a broken fill without what makes it one.
    pub fn execution(&self, known: &Known) -> Result<Option<Execution>, ReportError> {
        let Meaning::Execution(kind) = self.meaning(known.open_qty) else { return Ok(None) };
        let is_fill = matches!(kind, ExecutionKind::Filled | ExecutionKind::Busted);
        let (price, qty, match_number) = if is_fill {
            let (Some(price), Some(qty)) = (self.last_price, self.last_qty) else { return Err(ReportError::NoFill) };
            (price, qty, self.match_number().ok_or(ReportError::NoMatchNumber)?)
        } else {
            let qty = match kind {
                ExecutionKind::Accepted => self.qty.unwrap_or(known.open_qty),
                ExecutionKind::Replaced => self.leaves_qty,
                ExecutionKind::Reduced => known.open_qty.saturating_sub(self.leaves_qty),
                ExecutionKind::Canceled => known.open_qty,
                ExecutionKind::Rejected
                | ExecutionKind::Filled
                | ExecutionKind::CancelRejected
                | ExecutionKind::Busted => Qty::ZERO,
            };
            (self.price.unwrap_or_default(), qty, MatchNumber(0))
        };
        Ok(Some(Execution {
            order_id: known.order_id,
            symbol: known.symbol,
            side: self.side.side(),
            kind,
            liquidity: if self.liquidity == Some(1) { Liquidity::Added } else { Liquidity::Removed },
            reason: self.reason(kind),
            price,
            qty,
            leaves_qty: self.leaves_qty,
            match_number,
            venue_time: self.transact_time.unwrap_or(known.visible_time),
            visible_time: known.visible_time,
            fee: Notional::ZERO,
        }))
    }

    /// Why: OrdRejReason (103) and ExecRestatementReason (378) as the engine's codes.
    fn reason(&self, kind: ExecutionKind) -> ReasonCode {
        match kind {
            ExecutionKind::Rejected => match self.reject_reason {
                Some(1) => ReasonCode::VenueSymbolUnknown,
                Some(2) => ReasonCode::VenueClosed,
                Some(5) => ReasonCode::VenueUnknownOrder,
                Some(_) | None => ReasonCode::VenueRejected,
            },
            ExecutionKind::Canceled => {
                let is_over = matches!(self.exec_type, ExecType::Expired | ExecType::DoneForDay);
                match self.restatement_reason {
                    _ if is_over => ReasonCode::VenueClosed,
                    Some(_) => ReasonCode::VenueCanceled,
                    None => ReasonCode::VenueUserCancel,
                }
            }
            ExecutionKind::Reduced => ReasonCode::VenueCanceled,
            ExecutionKind::Busted => ReasonCode::VenueBusted,
            ExecutionKind::Accepted
            | ExecutionKind::Filled
            | ExecutionKind::CancelRejected
            | ExecutionKind::Replaced => ReasonCode::None,
        }
    }
}

impl OrderCancelReject<'_> {
    /// The refusal as an execution of the order that it is about.
    #[must_use]
    pub fn execution(&self, known: &Known, side: peregrine_types::Side, price: Price) -> Execution {
        Execution {
            order_id: known.order_id,
            symbol: known.symbol,
            side,
            kind: ExecutionKind::CancelRejected,
            liquidity: Liquidity::Added,
            reason: ReasonCode::VenueUnknownOrder,
            price,
            qty: Qty::ZERO,
            leaves_qty: known.open_qty,
            match_number: MatchNumber(0),
            venue_time: self.transact_time.unwrap_or(known.visible_time),
            visible_time: known.visible_time,
            fee: Notional::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::{NewOrderSingle, OrdStatus, OrdType, SideCode};
    use crate::{Body, dictionary, message, tests::wire};

    fn report(exec_type: ExecType) -> ExecutionReport<'static> {
        ExecutionReport {
            order_id: "77",
            cl_ord_id: Some("5"),
            orig_cl_ord_id: None,
            exec_id: "9",
            exec_ref_id: None,
            secondary_exec_id: None,
            exec_type,
            status: OrdStatus::PartiallyFilled,
            reject_reason: None,
            restatement_reason: None,
            account: None,
            symbol: "AAPL",
            side: SideCode::SellShort,
            qty: Some(Qty(100)),
            ord_type: Some(OrdType::Limit),
            price: Some(Price(250_010_000_000)),
            lifetime: None,
            last_qty: Some(Qty(40)),
            last_price: Some(Price(250_020_000_000)),
            leaves_qty: Qty(60),
            cum_qty: Qty(40),
            avg_price: "250.0200000000001",
            transact_time: Some(EpochNanos(1_767_623_400_000_000_000)),
            text: None,
            liquidity: Some(1),
        }
    }

    #[test]
    fn a_report_survives_the_way_over_the_wire() {
        let sent = report(ExecType::Trade);
        let mut body = Body::new();
        sent.write(&mut body);
        let text = String::from_utf8(body.bytes().to_vec()).unwrap().replace('\x01', "|");
        assert!(text.contains("|31=250.02|") && text.contains("|54=5|") && text.contains("|150=F|"), "{text}");
        let bytes = wire(&format!("35=8|49=A|56=B|34=2|52=20260105-14:30:00|{text}"));
        let mut fields = Vec::new();
        let (message, error) = message::parse(&bytes, &mut fields);
        assert_eq!((error, dictionary::check(&message)), (None, Ok(())));
        assert_eq!(ExecutionReport::parse(&message), Ok(sent));
        assert_eq!(NewOrderSingle::parse(&message).unwrap_err().tag, 35);
    }

    #[test]
    fn every_execution_type_has_a_meaning() {
        let known =
            Known { order_id: OrderId(5), symbol: SymbolId(3), open_qty: Qty(100), visible_time: EpochNanos(9) };
        let mut kinds = Vec::new();
        for exec_type in ExecType::ALL {
            assert_eq!(ExecType::from_code(exec_type.code()), Some(*exec_type));
            let execution = report(*exec_type).execution(&known).unwrap();
            kinds.push((char::from(exec_type.code()), execution.map(|execution| (execution.kind, execution.qty.0))));
        }
        use ExecutionKind::{Accepted, Busted, Canceled, Filled, Reduced, Rejected, Replaced};
        let wanted = [
            ('0', Some((Accepted, 100))),
            ('1', Some((Filled, 40))),
            ('2', Some((Filled, 40))),
            ('3', Some((Canceled, 100))),
            ('4', Some((Canceled, 100))),
            ('5', Some((Replaced, 60))),
            ('6', None),
            ('7', None),
            ('8', Some((Rejected, 0))),
            ('9', None),
            ('A', None),
            ('B', None),
            ('C', Some((Canceled, 100))),
            ('D', Some((Reduced, 40))),
            ('E', None),
            ('F', Some((Filled, 40))),
            ('G', None),
            ('H', Some((Busted, 40))),
            ('I', None),
        ];
        assert_eq!(kinds, wanted);
        let nameless = ExecutionReport { exec_id: "X9", ..report(ExecType::Trade) };
        assert_eq!(nameless.execution(&known), Err(ReportError::NoMatchNumber));
        let empty = ExecutionReport { last_qty: None, ..report(ExecType::Trade) };
        assert_eq!(empty.execution(&known), Err(ReportError::NoFill));
    }
}
