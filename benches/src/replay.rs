//! One pass over a session in memory: decoding, books, features and the kernel, each turn with one part more.

use std::hint::black_box;

use peregrine_book::{BookUpdate, Books, MarketBooks};
use peregrine_decide::{FeatureConfig, FeatureEngine};
use peregrine_model::{
    Backend, FeatureSet, Heads, Kernel, LatentStore, Model, ModelMeta, PositionInput, Precision, Size,
};
use peregrine_types::{EpochNanos, EventKind, Full, MarketEvent, Nanos, Price, Sink, SymbolId};
use peregrine_wire::FileFeed;

use crate::BenchError;
use crate::session::LoadedSession;

/// Messages of one packet, for turns that look ahead within a packet.
pub const PACKET_MESSAGE_COUNT: usize = 20;

/// Writes events into a small ring of slots, as a feed does.
#[derive(Debug)]
pub struct Slots {
    slots: Box<[MarketEvent]>,
    /// Events so far.
    pub count: usize,
}

impl Default for Slots {
    fn default() -> Self {
        let event = MarketEvent::new(EventKind::AddOrder, SymbolId(0), EpochNanos(0), EpochNanos(0));
        Self { slots: vec![event; 1_024].into_boxed_slice(), count: 0 }
    }
}

impl Sink<MarketEvent> for Slots {
    #[inline]
    fn push(&mut self, event: MarketEvent) -> Result<(), Full<MarketEvent>> {
        if let Some(slot) = self.slots.get_mut(self.count & 1_023) {
            *slot = event;
        }
        self.count = self.count.wrapping_add(1);
        Ok(())
    }
}

/// Decodes every message into slots; returns how many events that gave.
pub fn decode(feed: &mut FileFeed, bytes: &[u8], slots: &mut Slots) -> usize {
    let before = slots.count;
    for message in crate::session::messages(bytes) {
        black_box(feed.on_message(message, None, slots).is_ok());
    }
    black_box(&slots.slots);
    slots.count.wrapping_sub(before)
}

/// Applies every event as it is decoded; returns how many changed a best price or quantity.
pub fn decode_and_book(feed: &mut FileFeed, messages: &[&[u8]], books: &mut Books) -> usize {
    let mut top_changes = 0_usize;
    let mut apply = |event: MarketEvent| -> Result<(), Full<MarketEvent>> {
        let update = books.apply(&event);
        top_changes = top_changes.wrapping_add(usize::from(update.is_top_changed));
        Ok(())
    };
    for message in messages {
        black_box(feed.on_message(message, None, &mut apply).is_ok());
    }
    top_changes
}

/// The same a packet at a time: all of its messages are decoded, the memory that they need is asked for, and then they
/// are applied one by one.
pub fn decode_and_book_by_packet(
    feed: &mut FileFeed,
    messages: &[&[u8]],
    books: &mut Books,
    packet: &mut Packet,
) -> usize {
    let mut top_changes = 0_usize;
    for chunk in messages.chunks(PACKET_MESSAGE_COUNT) {
        packet.count = 0;
        for message in chunk {
            black_box(feed.on_message(message, None, packet).is_ok());
        }
        let events = packet.events();
        books.prefetch_hint(events);
        for event in events {
            let update = books.apply(event);
            top_changes = top_changes.wrapping_add(usize::from(update.is_top_changed));
        }
    }
    top_changes
}

/// The events of one packet.
#[derive(Debug)]
pub struct Packet {
    events: [MarketEvent; 2 * PACKET_MESSAGE_COUNT],
    count: usize,
}

impl Default for Packet {
    fn default() -> Self {
        let event = MarketEvent::new(EventKind::AddOrder, SymbolId(0), EpochNanos(0), EpochNanos(0));
        Self { events: [event; 2 * PACKET_MESSAGE_COUNT], count: 0 }
    }
}

impl Packet {
    fn events(&self) -> &[MarketEvent] {
        self.events.get(..self.count).unwrap_or_default()
    }
}

impl Sink<MarketEvent> for Packet {
    #[inline]
    fn push(&mut self, event: MarketEvent) -> Result<(), Full<MarketEvent>> {
        match self.events.get_mut(self.count) {
            Some(slot) => *slot = event,
            None => return Err(Full(event)),
        }
        self.count = self.count.wrapping_add(1);
        Ok(())
    }
}

/// Features of the first `watched_count_max` symbols of `session`.
///
/// # Errors
/// When a symbol cannot be watched.
pub fn features(session: &LoadedSession, watched_count_max: u32) -> Result<FeatureEngine, BenchError> {
    let midnight = session.midnight();
    let config = FeatureConfig {
        tick: Price(10_000_000),
        session_open: midnight.plus(Nanos::from_secs(34_200)),
        session_close: midnight.plus(Nanos::from_secs(57_600)),
    };
    let symbol_count = session.symbol_count().saturating_add(1);
    let mut engine = FeatureEngine::new(config, symbol_count, symbol_count);
    for symbol in 0..session.symbol_count().min(watched_count_max) {
        engine.watch(SymbolId(symbol))?;
    }
    Ok(engine)
}

/// Model, kernel and one latent per instrument.
#[derive(Debug)]
pub struct Network {
    /// The backend.
    pub kernel: Kernel,
    /// The weights: a seeded initialisation.
    pub model: Model,
    latents: LatentStore,
    /// What was said last.
    pub heads: Heads,
}

impl Network {
    /// A seeded network of `size` for as many instruments; `None` where this processor lacks the backend.
    ///
    /// # Errors
    /// What the model says of its own metadata.
    pub fn seeded(size: Size, backend: Backend, instrument_count: usize) -> Result<Option<Self>, BenchError> {
        Self::with_precision(size, Precision::F32, backend, instrument_count)
    }

    /// The same with its weights kept in `precision`.
    ///
    /// # Errors
    /// What the model says of its own metadata.
    pub fn with_precision(
        size: Size,
        precision: Precision,
        backend: Backend,
        instrument_count: usize,
    ) -> Result<Option<Self>, BenchError> {
        let Some(kernel) = Kernel::new(backend) else { return Ok(None) };
        let names = (0..size.d()).map(|index| format!("feature_{index}")).collect();
        let model = Model::seeded(&ModelMeta::untrained(size, 1, FeatureSet::unscaled(names, "bench")))?;
        let model = model.quantise(precision)?;
        let latents = LatentStore::new(&model, instrument_count);
        Ok(Some(Self { kernel, model, latents, heads: Heads::default() }))
    }

    /// Shows `x` to the latent of `instrument`; the position fed back is what the network wanted before.
    #[inline]
    pub fn observe(&mut self, instrument: usize, x: &[f32]) {
        let position = PositionInput { position: self.heads.action, half_spread_bps: 0.5, fee_bps: 0.3 };
        if let Some(mut latent) = self.latents.latent_mut(instrument) {
            self.heads = self.kernel.observe(&self.model, &mut latent, x, position).unwrap_or_default();
        }
    }

    /// The next step of `instrument`.
    #[inline]
    pub fn advance(&mut self, instrument: usize) {
        if let Some(mut latent) = self.latents.latent_mut(instrument) {
            self.kernel.advance(&self.model, &mut latent);
        }
    }
}

/// Features that wander, by a multiplicative congruence (Knuth, *Seminumerical Algorithms*, 3.2.1): 1,024 vectors.
#[must_use]
pub fn wandering_inputs(d: usize) -> Vec<Vec<f32>> {
    let mut seed = 12_345_u32;
    let mut next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from(u16::try_from(seed >> 16).unwrap_or(0)) / 16_384.0 - 2.0
    };
    (0..1_024).map(|_| (0..d).map(|_| next()).collect()).collect()
}

/// Whether an event of a watched symbol is decided on: the best level moved, or something traded.
#[inline]
#[must_use]
pub const fn is_decision(update: &BookUpdate) -> bool {
    update.is_top_changed || update.trade.is_some()
}

/// What a whole pass saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PassCounts {
    /// Market events.
    pub events: u64,
    /// Events that made a vector (and, with a network, a decision).
    pub decisions: u64,
}

/// A whole pass on one core: decoding, books, features of watched symbols, and with a network `observe` and `advance`
/// on every decision.
pub fn whole_pass(
    feed: &mut FileFeed,
    messages: &[&[u8]],
    books: &mut Books,
    engine: &mut FeatureEngine,
    mut network: Option<&mut Network>,
) -> PassCounts {
    let mut counts = PassCounts::default();
    let mut packet = Packet::default();
    for chunk in messages.chunks(PACKET_MESSAGE_COUNT) {
        packet.count = 0;
        for message in chunk {
            black_box(feed.on_message(message, None, &mut packet).is_ok());
        }
        books.prefetch_hint(packet.events());
        engine.prefetch_hint(packet.events());
        for event in packet.events() {
            counts.events = counts.events.wrapping_add(1);
            let update = books.apply(event);
            let Some(slot) = engine.on_event(event, &update, books) else { continue };
            if !is_decision(&update) {
                continue;
            }
            let Some(vector) = engine.vector(slot) else { continue };
            counts.decisions = counts.decisions.wrapping_add(1);
            black_box(&vector);
            if let Some(network) = network.as_deref_mut() {
                network.observe(slot, &vector);
                network.advance(slot);
            }
        }
    }
    counts
}
