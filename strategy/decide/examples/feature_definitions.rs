//! Prints the feature definitions with their hash as JSON: what a model file must be trained on.

use std::io::Write as _;

use peregrine_decide::{DEFINITION_VERSION, DEFINITIONS, definition_hash_hex};

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{{\n  \"version\": {DEFINITION_VERSION},\n  \"sha256\": \"{}\",\n  \"features\": [",
        definition_hash_hex()
    )?;
    for (index, d) in DEFINITIONS.iter().enumerate() {
        let comma = if index == DEFINITIONS.len() - 1 { "" } else { "," };
        // No text holds a quote or a backslash beyond what Debug escapes as JSON does; a test holds the table to that.
        writeln!(
            out,
            "    {{\"name\": {:?}, \"formula\": {:?}, \"unit\": {:?}, \"range\": {:?}, \"source\": {:?}}}{comma}",
            d.name, d.formula, d.unit, d.range, d.source
        )?;
    }
    writeln!(out, "  ]\n}}")
}
