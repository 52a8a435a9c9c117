//! Tick tables as a profile writes them: for whom, and the price steps by band.

use peregrine_types::{Price, TickBand, TickTable};
use toml::Value;

use super::schema::{ConfigValue, wrong_type};

/// What stands for every symbol that no other rule names.
const ALL: &str = "*";

/// The price steps of some symbols, or of all that no other rule names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TickRule {
    /// The symbols; `"*"` is every one that no other rule names.
    pub symbols: Vec<String>,
    /// Their price steps.
    pub table: TickTable,
}

impl TickRule {
    /// Whether this is the rule of every symbol that no other names.
    #[must_use]
    pub fn is_general(&self) -> bool {
        self.symbols.iter().any(|name| name == ALL)
    }

    fn read(value: &Value) -> Result<Self, String> {
        let keys = value.as_table().ok_or_else(|| wrong_type(value, "table { symbols, bands }"))?;
        if let Some(unknown) = keys.keys().find(|key| !matches!(key.as_str(), "symbols" | "bands")) {
            return Err(format!("\"{unknown}\" is no key of a tick rule; it has symbols and bands"));
        }
        let key = |name: &str| keys.get(name).ok_or_else(|| format!("a rule has no {name}"));
        let symbols = Vec::<String>::read(key("symbols")?).map_err(|what| format!("symbols: {what}"))?;
        let bands = key("bands")?;
        let bands = bands.as_array().ok_or_else(|| format!("bands: {}", wrong_type(bands, "list of [from, tick]")))?;
        let bands: Vec<TickBand> = bands.iter().map(band).collect::<Result<_, _>>()?;
        let table = TickTable::new(&bands).map_err(|error| error.to_string())?;
        Ok(Self { symbols, table })
    }

    fn print(&self) -> String {
        let bands = self.table.bands().iter().map(|band| format!("[\"{}\", \"{}\"]", band.from, band.tick));
        let bands: Vec<String> = bands.collect();
        format!("{{ symbols = {}, bands = [{}] }}", self.symbols.print(), bands.join(", "))
    }
}

fn band(value: &Value) -> Result<TickBand, String> {
    let pair = value.as_array().map(Vec::as_slice);
    let Some([from, tick]) = pair else {
        return Err("a band is two decimals in strings: [from, tick]".to_owned());
    };
    let read = |value| Price::read(value).map_err(|what| format!("bands: {what}"));
    Ok(TickBand { from: read(from)?, tick: read(tick)? })
}

impl ConfigValue for Vec<TickRule> {
    const KIND: &'static str = "list of tables { symbols, bands }";
    fn read(value: &Value) -> Result<Self, String> {
        let array = value.as_array().ok_or_else(|| wrong_type(value, Self::KIND))?;
        let rules = array.iter().enumerate();
        rules.map(|(index, rule)| TickRule::read(rule).map_err(|what| format!("rule {}: {what}", index + 1))).collect()
    }
    fn print(&self) -> String {
        let rules: Vec<String> = self.iter().map(TickRule::print).collect();
        format!("[{}]", rules.join(", "))
    }
}

/// Whether every symbol has one rule and no symbol two.
pub(super) fn hold_together(rules: &[TickRule]) -> bool {
    let mut names: Vec<&String> = rules.iter().flat_map(|rule| &rule.symbols).collect();
    let is_short = names.iter().all(|name| (1..=8).contains(&name.len()));
    let is_general = names.iter().any(|name| name.as_str() == ALL);
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    is_short && is_general && names.len() == count
}
