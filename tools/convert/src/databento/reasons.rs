//! Why a trading state changed: ITCH 5.0's codes of a Stock Trading Action, and DBN's numbers.

use dbn::StatusReason;

/// The codes that have a number of the same meaning. Of several codes with one number the first one is what the number is
/// read as.
const CODES: [([u8; 4], StatusReason); 25] = [
    (*b"    ", StatusReason::None),
    (*b"T1  ", StatusReason::NewsPending),
    (*b"T2  ", StatusReason::NewsReleased),
    (*b"T3  ", StatusReason::NewsAndResumptionTimes),
    (*b"T6  ", StatusReason::MarketEvent),
    (*b"T8  ", StatusReason::Etf),
    (*b"T12 ", StatusReason::AdditionalInformationRequested),
    (*b"H4  ", StatusReason::NonCompliance),
    (*b"H9  ", StatusReason::FilingsNotCurrent),
    (*b"H10 ", StatusReason::SecTradingSuspension),
    (*b"H11 ", StatusReason::Regulatory),
    (*b"O1  ", StatusReason::Operational),
    (*b"LUDP", StatusReason::LuldPause),
    (*b"MWC0", StatusReason::MarketWideHaltCarryover),
    (*b"MWC1", StatusReason::MarketWideHaltLevel1),
    (*b"MWC2", StatusReason::MarketWideHaltLevel2),
    (*b"MWC3", StatusReason::MarketWideHaltLevel3),
    (*b"MWCQ", StatusReason::MarketWideHaltResumption),
    (*b"IPO1", StatusReason::NewSecurityOffering),
    (*b"M1  ", StatusReason::CorporateAction),
    (*b"M2  ", StatusReason::QuotationNotAvailable),
    (*b"R1  ", StatusReason::NewIssue),
    (*b"R2  ", StatusReason::IssueAvailable),
    (*b"R9  ", StatusReason::FilingReqsSatisfied),
    (*b"C3  ", StatusReason::NewsNotForthcoming),
];

/// DBN's number for a code, where there is one.
pub(super) fn of_code(code: [u8; 4]) -> Option<StatusReason> {
    CODES.iter().find(|(known, _)| *known == code).map(|(_, reason)| *reason)
}

/// The code for DBN's number, where there is one.
pub(super) fn code_of(reason: u16) -> Option<[u8; 4]> {
    CODES.iter().find(|(_, known)| u16::from(*known) == reason).map(|(code, _)| *code)
}
