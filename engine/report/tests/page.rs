//! The three forms of a report: golden copies, hostile text, nothing at all, and the largest numbers.
#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod common;

use common::full;
use peregrine_report::{EquityPoint, LatencyRow, RunReport, SymbolRow, to_html, to_json, to_terminal};
use peregrine_types::{EpochNanos, Notional};

#[test]
fn the_terminal_text_is_the_golden_one() {
    insta::assert_snapshot!(to_terminal(&full(), 110, false));
}

#[test]
fn the_json_is_the_golden_one() {
    insta::assert_snapshot!(to_json(&full()));
}

/// The page itself is looked at by people; set PEREGRINE_REPORT_PAGE to a path to have it written there.
#[test]
fn the_page_is_well_formed_and_needs_nothing_else() {
    let page = to_html(&full());
    if let Some(path) = std::env::var_os("PEREGRINE_REPORT_PAGE") {
        std::fs::write(path, &page).unwrap();
    }
    assert_well_formed(&page);
    for forbidden in ["<script", "<link", "<img", "<iframe", "@import", "url(", "href=", "src=", "NaN"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert_eq!(page.matches("http").count(), page.matches("http://www.w3.org/2000/svg").count());
    for wanted in [
        "The model is not trained",
        "Coordinated omission",
        "copy of the exchange's stamp",
        "p99.99",
        "What paper trading showed",
    ] {
        assert!(page.contains(wanted), "{wanted}");
    }
    assert!(page.contains("peregrine replay --verify peregrine-out&#x2f;demo-7&#x2f;log"));
}

#[test]
fn hostile_text_stays_text() {
    const HOSTILE: &str = "\"'><script>alert(1)</script>&\u{1b}[31m\n";
    let mut report = full();
    let hostile = || HOSTILE.to_owned();
    report.title = hostile();
    report.command = hostile();
    report.run_dir = hostile();
    report.warnings = vec![hostile()];
    report.verdicts[0].text = hostile();
    report.facts[0].group = hostile();
    report.facts[0].value = hostile();
    report.model.training = hostile();
    report.inputs[0].path = hostile();
    report.feed.messages[0].name = hostile();
    report.feed.lines[0].name = hostile();
    report.book.quarantined_symbols = vec![hostile()];
    report.strategy.watched_symbols = vec![hostile()];
    report.pnl.symbols[0].symbol = hostile();
    report.pnl.currency = hostile();
    report.latencies[0].name = hostile();
    report.latencies[0].measures = hostile();
    report.filled_by = hostile();
    report.paper.as_mut().unwrap().latency.model = hostile();
    report.paper.as_mut().unwrap().drift.rows[0].name = hostile();
    report.log.verify_command = hostile();
    report.log.streams[0].name = hostile();
    let page = to_html(&report);
    assert!(!page.contains("<script"));
    assert_well_formed(&page);
    let text = to_terminal(&report, 100, false);
    assert!(!text.contains('\u{1b}'), "control characters reach the terminal: {text:?}");
    let json: serde_json::Value = serde_json::from_str(&to_json(&report)).unwrap();
    assert_eq!(json["title"], HOSTILE);
}

#[test]
fn an_empty_run_has_a_page() {
    let report = RunReport::default();
    let page = to_html(&report);
    assert_well_formed(&page);
    assert!(page.contains("No symbol was traded") && page.contains("Nothing was measured") && !page.contains("NaN"));
    insta::assert_snapshot!(to_terminal(&report, 80, false));
    serde_json::from_str::<serde_json::Value>(&to_json(&report)).unwrap();
}

#[test]
fn the_largest_numbers_have_a_page() {
    let mut report = full();
    report.elapsed_ns = u64::MAX;
    report.feed.message_count = u64::MAX;
    report.feed.messages[0].count = u64::MAX;
    report.pnl.net = Notional(i128::MIN);
    report.pnl.symbols = vec![SymbolRow { position: i64::MIN, turnover: Notional(i128::MAX), ..SymbolRow::default() }];
    report.pnl.curve = [(EpochNanos::MIN, i128::MIN), (EpochNanos::MAX, i128::MAX)]
        .map(|(time, money)| EquityPoint { time, equity: Notional(money), gross_exposure: Notional(money) })
        .to_vec();
    report.throughput.series[0].event_count = u64::MAX;
    report.latencies[0].max_ns = u64::MAX;
    report.latencies.push(LatencyRow { name: "empty".to_owned(), ..LatencyRow::default() });
    let page = to_html(&report);
    assert_well_formed(&page);
    assert!(
        !page.contains("NaN") && !page.contains("inf ") && page.contains("-170,141,183,460,469,231,731,687,303,715.88")
    );
    let json = to_json(&report);
    assert!(json.contains("\"net\": \"-170141183460469231731687303715.884105728\""));
    assert!(to_terminal(&report, 200, true).contains("18,446,744,073,709,551,615"));
}

#[test]
fn colour_is_there_only_when_asked_for() {
    assert!(to_terminal(&full(), 100, true).contains("\u{1b}[31mfail"));
    assert!(!to_terminal(&full(), 100, false).contains('\u{1b}'));
}

/// Every element that is opened is closed, in order, and attributes are quoted.
fn assert_well_formed(page: &str) {
    const VOID: [&str; 2] = ["meta", "br"];
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page;
    while let Some(start) = rest.find('<') {
        let end = start + rest[start..].find('>').expect("a tag that never ends");
        let tag = &rest[start + 1..end];
        let name = tag.split([' ', '/']).find(|part| !part.is_empty()).unwrap();
        assert!(!tag.contains('<') && tag.matches('"').count().is_multiple_of(2), "{tag}");
        if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed), "…{}", &rest[..end]);
        } else if !tag.starts_with('!') && !tag.ends_with('/') && !VOID.contains(&name) {
            open.push(name);
        }
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty(), "{open:?}");
}
