//! The report as JSON: `report.json`.

use serde::Serialize;

use crate::RunReport;

/// The version of the layout of `report.json`; it grows when a field changes its meaning or goes away.
pub const REPORT_FORMAT_VERSION: u32 = 1;

#[derive(Serialize)]
struct Envelope<'a> {
    format: &'static str,
    version: u32,
    #[serde(flatten)]
    report: &'a RunReport,
}

/// The report as indented JSON in a fixed order of keys, ending with a line feed. Times of day are RFC 3339 in UTC,
/// spans are nanoseconds, money and prices are decimal strings.
#[must_use]
pub fn to_json(report: &RunReport) -> String {
    pretty(&Envelope { format: "peregrine-report", version: REPORT_FORMAT_VERSION, report })
}

/// A struct as indented JSON, ending with a line feed. Ours have no keys but text and no value that JSON lacks (a float
/// that is not finite becomes null), so that writing to memory cannot fail; if it did, the text would say so.
#[must_use]
pub fn pretty(value: &impl Serialize) -> String {
    match serde_json::to_string_pretty(value) {
        Ok(mut text) => {
            text.push('\n');
            text
        }
        Err(error) => format!("{{\"error\": {:?}}}\n", error.to_string()),
    }
}
