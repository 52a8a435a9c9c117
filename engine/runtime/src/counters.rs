//! Counters: plain numbers that one role writes and anyone reads.
//!
//! Names and units are registered at start. The writer adds with a relaxed load and a relaxed store (it is the only
//! writer, so no read-modify-write is needed); readers see each counter whole, though not all counters of one moment.
//! The counters of a role share cache lines with nobody else's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a counter counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CounterUnit {
    /// Things: messages, orders, turns.
    Count,
    /// Bytes.
    Bytes,
    /// Nanoseconds.
    Nanos,
}

impl CounterUnit {
    /// The unit as it stands in reports and metric names.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Bytes => "bytes",
            Self::Nanos => "ns",
        }
    }
}

/// One cache line of counters.
#[derive(Debug, Default)]
#[repr(align(64))]
struct CounterLine([AtomicU64; COUNTERS_PER_LINE]);

const COUNTERS_PER_LINE: usize = 8;

/// A counter as it was registered.
#[derive(Clone, Debug, PartialEq, Eq)]
struct CounterSpec {
    name: &'static str,
    unit: CounterUnit,
}

#[derive(Debug)]
struct CounterBlock {
    role: String,
    specs: Vec<CounterSpec>,
    lines: Box<[CounterLine]>,
}

impl CounterBlock {
    #[inline]
    fn value(&self, index: usize) -> Option<&AtomicU64> {
        self.lines.get(index / COUNTERS_PER_LINE).and_then(|line| line.0.get(index % COUNTERS_PER_LINE))
    }
}

/// A registered counter of the writer that [`CounterRegistry::build`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CounterId(usize);

/// The list of a role's counters while it is being made.
#[derive(Debug)]
pub struct CounterRegistry {
    role: String,
    specs: Vec<CounterSpec>,
}

impl CounterRegistry {
    /// An empty list; `role` is the prefix of its names.
    #[must_use]
    pub fn new(role: &str) -> Self {
        Self { role: role.to_owned(), specs: Vec::new() }
    }

    /// Adds a counter. A name that is registered already gives the same counter again.
    pub fn register(&mut self, name: &'static str, unit: CounterUnit) -> CounterId {
        let known = self.specs.iter().position(|spec| spec.name == name);
        CounterId(known.unwrap_or_else(|| {
            self.specs.push(CounterSpec { name, unit });
            self.specs.len().saturating_sub(1)
        }))
    }

    /// Fixes the list: from here on nothing is allocated.
    #[must_use]
    pub fn build(self) -> (CounterWriter, CounterReader) {
        let line_count = self.specs.len().div_ceil(COUNTERS_PER_LINE);
        let lines = core::iter::repeat_with(CounterLine::default).take(line_count).collect();
        let block = Arc::new(CounterBlock { role: self.role, specs: self.specs, lines });
        (CounterWriter { block: Arc::clone(&block) }, CounterReader { block })
    }
}

/// The one writer of a role's counters.
#[derive(Debug)]
pub struct CounterWriter {
    block: Arc<CounterBlock>,
}

impl CounterWriter {
    /// Adds `amount`, wrapping.
    #[inline]
    pub fn add(&mut self, id: CounterId, amount: u64) {
        self.update(id, |value| value.wrapping_add(amount));
    }

    /// Adds one.
    #[inline]
    pub fn increment(&mut self, id: CounterId) {
        self.add(id, 1);
    }

    /// Sets a gauge.
    #[inline]
    pub fn set(&mut self, id: CounterId, value: u64) {
        self.update(id, |_| value);
    }

    /// Keeps the largest value seen.
    #[inline]
    pub fn raise_to(&mut self, id: CounterId, value: u64) {
        self.update(id, |known| known.max(value));
    }

    /// The value now.
    #[inline]
    #[must_use]
    pub fn get(&self, id: CounterId) -> u64 {
        self.block.value(id.0).map_or(0, |value| value.load(Ordering::Relaxed))
    }

    /// An id of another registry is nobody's counter here and is left alone.
    #[inline]
    fn update(&mut self, id: CounterId, next: impl FnOnce(u64) -> u64) {
        let value = self.block.value(id.0);
        debug_assert!(value.is_some(), "the counter was registered elsewhere");
        if let Some(value) = value {
            value.store(next(value.load(Ordering::Relaxed)), Ordering::Relaxed);
        }
    }
}

/// One counter's value at the time of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterSample<'a> {
    /// The role that counts.
    pub role: &'a str,
    /// The counter's name.
    pub name: &'static str,
    /// Its unit.
    pub unit: CounterUnit,
    /// Its value.
    pub value: u64,
}

/// A reader of a role's counters; clone freely.
#[derive(Clone, Debug)]
pub struct CounterReader {
    block: Arc<CounterBlock>,
}

impl CounterReader {
    /// All counters, in the order of registration.
    pub fn samples(&self) -> impl Iterator<Item = CounterSample<'_>> {
        self.block.specs.iter().enumerate().map(|(index, spec)| CounterSample {
            role: &self.block.role,
            name: spec.name,
            unit: spec.unit,
            value: self.block.value(index).map_or(0, |value| value.load(Ordering::Relaxed)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_keep_their_names_units_and_values() {
        let mut registry = CounterRegistry::new("feed");
        let ids: Vec<_> = ["a", "b", "c", "d", "e", "f", "g", "h", "i"]
            .into_iter()
            .map(|name| registry.register(name, CounterUnit::Count))
            .collect();
        let bytes = registry.register("bytes_in", CounterUnit::Bytes);
        assert_eq!(registry.register("bytes_in", CounterUnit::Bytes), bytes);
        let (mut writer, reader) = registry.build();
        for (amount, id) in (1..).zip(&ids) {
            writer.add(*id, amount);
            writer.increment(*id);
        }
        writer.set(bytes, 7);
        writer.raise_to(bytes, 5);
        writer.raise_to(bytes, 9);
        let samples: Vec<_> = reader.samples().collect();
        assert_eq!(samples.len(), 10);
        assert_eq!(samples[8], CounterSample { role: "feed", name: "i", unit: CounterUnit::Count, value: 10 });
        assert_eq!((samples[9].value, samples[9].unit.name(), writer.get(bytes)), (9, "bytes", 9));
    }

    #[test]
    fn counters_of_two_roles_share_no_cache_line_and_are_read_while_written() {
        let mut registry = CounterRegistry::new("decide");
        let id = registry.register("turns", CounterUnit::Count);
        let (mut writer, reader) = registry.build();
        assert_eq!(align_of::<CounterLine>(), 64);
        let writing = std::thread::spawn(move || (0..10_000).for_each(|_| writer.increment(id)));
        let mut last = 0;
        while last < 10_000 {
            let now = reader.samples().next().unwrap().value;
            assert!(now >= last);
            last = now;
            std::thread::yield_now();
        }
        writing.join().unwrap();
    }
}
