//! Which instruments a session has, and what they are called in it.

use std::collections::HashSet;

use peregrine_types::Symbol;

use crate::findings::Findings;
use crate::session::Instrument;
use crate::{ConvertError, Finding, Place, Plan, SymbolEntry};

/// An instrument of the source.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    /// What it is called there.
    pub(crate) source: String,
    /// What else it may be called, where that is no ITCH symbol.
    pub(crate) other: String,
    /// Shares in a round lot; 1 where the source does not say.
    pub(crate) round_lot: u32,
}

/// The instruments that are converted.
pub(crate) struct Directory {
    pub(crate) instruments: Vec<Instrument>,
    pub(crate) entries: Vec<SymbolEntry>,
    /// For each name: its locate, `None` where `--symbols` leaves it out.
    pub(crate) locates: Vec<Option<u16>>,
}

impl Directory {
    /// The instruments of `names` that the plan asks for, in their order.
    ///
    /// # Errors
    /// [`ConvertError::Setting`] for a symbol that the file does not have; [`ConvertError::Instruments`].
    pub(crate) fn new(plan: &Plan, names: &[Name], findings: &mut Findings) -> Result<Self, ConvertError> {
        if let Some(missing) = plan.symbols.iter().find(|symbol| !names.iter().any(|name| name.source == **symbol)) {
            let known: Vec<&str> = names.iter().take(10).map(|name| name.source.as_str()).collect();
            let reason = format!("the file has no {missing}; it has {}", known.join(", "));
            return Err(ConvertError::Setting { setting: "--symbols", reason });
        }
        let mut directory = Self { instruments: Vec::new(), entries: Vec::new(), locates: Vec::new() };
        let mut taken = HashSet::new();
        for Name { source, other, round_lot } in names {
            if !plan.symbols.is_empty() && !plan.symbols.contains(source) {
                directory.locates.push(None);
                continue;
            }
            let count = directory.instruments.len();
            let locate = u16::try_from(count.saturating_add(1)).map_err(|_| ConvertError::Instruments(names.len()))?;
            let numbered = format!("#{locate}");
            let symbol = [source, other, &numbered]
                .into_iter()
                .filter_map(|text| Symbol::new(text))
                .find(|symbol| !taken.contains(symbol))
                .ok_or(ConvertError::Fault("a symbol that cannot be written"))?;
            if symbol.to_string() != *source {
                findings.add(Finding::SymbolRenamed, Place::Byte(0), || format!("{source} is {symbol}"))?;
            }
            taken.insert(symbol);
            directory.instruments.push(Instrument { symbol, round_lot: *round_lot, state: b'T' });
            directory.entries.push(SymbolEntry { locate, symbol: symbol.to_string(), source: source.clone() });
            directory.locates.push(Some(locate));
        }
        Ok(directory)
    }
}
