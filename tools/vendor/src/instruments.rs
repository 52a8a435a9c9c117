//! The instruments that were asked for, by the vendor's name.

use std::collections::HashMap;

/// See the file's head.
#[derive(Clone, Debug)]
pub struct Instruments {
    names: Vec<String>,
    places: HashMap<String, usize>,
}

impl Instruments {
    /// Instruments in their order; of several with one name the last one counts (a configuration has none).
    #[must_use]
    pub fn new(names: Vec<String>) -> Self {
        let places = names.iter().enumerate().map(|(place, name)| (name.clone(), place)).collect();
        Self { names, places }
    }

    /// Their names.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The place of a name.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }
}
