//! What a diagnosis is written as: a page that needs nothing else, JSON whose layout is golden, and hostile text.
#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod common;

use std::collections::BTreeSet;
use std::fmt::Write;

use common::{Broken, Market, held_out, model, settings, training};
use peregrine_validate::{Candidate, Diagnosis, diagnose_candidate, figure};
use serde_json::Value;

fn small(name: &str, broken: Broken) -> Diagnosis {
    let seen = training();
    let bytes = model(&seen.meta.sha256, broken);
    let candidate = Candidate { name, model: &bytes, lstm: None };
    diagnose_candidate(&candidate, &seen, &held_out(Market::default()), &settings()).unwrap()
}

/// Every path of the JSON with the kind of what stands there; a list counts as one.
fn layout(value: &Value, path: &str, to: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| layout(value, &format!("{path}.{key}"), to)),
        Value::Array(items) => items.iter().for_each(|value| layout(value, &format!("{path}[]"), to)),
        Value::String(_) => drop(to.insert(format!("{path}: text"))),
        Value::Number(_) => drop(to.insert(format!("{path}: number"))),
        Value::Bool(_) => drop(to.insert(format!("{path}: boolean"))),
        Value::Null => drop(to.insert(format!("{path}: null"))),
    }
}

#[test]
fn the_json_has_its_golden_layout_and_verdicts() {
    let found = small("hand-made", Broken::default());
    let json: Value = serde_json::from_str(&found.to_json()).unwrap();
    let mut lines = BTreeSet::new();
    layout(&json, "", &mut lines);
    let mut text: String = lines.into_iter().map(|line| line + "\n").collect();
    for check in &found.checks {
        // Two digits: the rest may differ between machines' logarithms.
        let value = if check.value.is_finite() { format!("{:.1e}", check.value) } else { "–".to_owned() };
        writeln!(text, "{} {} {value} ({})", check.id, check.outcome.name(), check.threshold).unwrap();
    }
    insta::assert_snapshot!(text);
}

#[test]
fn the_same_seed_gives_the_same_json() {
    assert_eq!(small("a", Broken::default()).to_json(), small("a", Broken::default()).to_json());
}

/// The page itself is looked at by people; set PEREGRINE_DIAGNOSIS_PAGE to a path to have it written there.
#[test]
fn the_page_is_well_formed_and_needs_nothing_else() {
    let broken = Broken { up_factor: 3.0, blind_inputs: 1, ..Broken::default() };
    let found = small("demo-model.safetensors", broken);
    let page = found.to_html().unwrap();
    if let Some(path) = std::env::var_os("PEREGRINE_DIAGNOSIS_PAGE") {
        std::fs::write(path, &page).unwrap();
    }
    assert_well_formed(&page);
    for forbidden in ["<script", "<link", "<img", "<iframe", "@import", "url(", "href=", "src=", "NaN", "inf\""] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert_eq!(page.matches("http").count(), page.matches("http://www.w3.org/2000/svg").count());
    for check in &found.checks {
        assert!(page.contains(check.id), "{}", check.id);
    }
    let wanted = [
        "Latent trajectory, held out",
        "Error of features by horizon",
        "Calibration, training",
        "Spectrum of z",
        "dead: feature_0",
    ];
    for wanted in wanted {
        assert!(page.contains(wanted), "{wanted}");
    }
    assert!(page.contains(&found.model.sha256) && page.contains(&found.held_out.data.sha256));
    assert!(page.contains(&figure(found.held_out.reconstruction.r2_mean.value)));
}

#[test]
fn hostile_text_stays_text() {
    const HOSTILE: &str = "\"'><script>alert(1)</script>&";
    let mut found = small(HOSTILE, Broken::default());
    found.model.regimes[0] = HOSTILE.to_owned();
    found.checks[0].reason = HOSTILE.to_owned();
    found.held_out.reconstruction.features[0].name = HOSTILE.to_owned();
    found.training.data.sources[0].name = HOSTILE.to_owned();
    found.component.inputs[0].name = HOSTILE.to_owned();
    if let Some(facts) = &mut found.held_out.correlations {
        facts.context[0] = HOSTILE.to_owned();
    }
    let page = found.to_html().unwrap();
    assert_well_formed(&page);
    assert!(!page.contains("<script"));
}

#[test]
fn the_terminal_text_names_every_check() {
    let found = small("a", Broken::default());
    let text = found.to_terminal();
    assert!(found.checks.iter().all(|check| text.contains(check.id) && text.contains(&check.reason)));
    assert!(text.ends_with("0 failed\n"), "{text}");
}

/// Every element that is opened is closed, in order.
fn assert_well_formed(page: &str) {
    const VOID: [&str; 4] = ["meta", "br", "!doctype", "hr"];
    let mut open: Vec<&str> = Vec::new();
    let body = page.split("<style>").next().unwrap().to_owned() + page.split("</style>").nth(1).unwrap();
    for tag in body.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').unwrap();
        let name = tag.trim_end_matches('/').split([' ', '\n']).next().unwrap();
        if let Some(name) = name.strip_prefix('/') {
            assert_eq!(open.last().copied(), Some(name), "{tag} closes {open:?}");
            open.pop();
        } else if !tag.ends_with('/') && !VOID.contains(&name) {
            // The text outlives the loop: it is part of `body`.
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}
