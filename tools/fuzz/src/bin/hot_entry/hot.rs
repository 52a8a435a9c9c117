//! One function per hot entry point, with the concrete types that the engine is wired with.

use peregrine_book::{BookUpdate, Books, MarketBooks};
use peregrine_decide::{FeatureEngine, FeatureVector, Input, IntentBatch, NoStopwatch, Strategy};
use peregrine_eventlog::records::{DecisionRecord, OrderRecord};
use peregrine_eventlog::{Decide, LogFull, RecordIndex, Send, StreamWriter};
use peregrine_gateway::{Arrival, Cause, ConstantLatency, FifoQueue, OrderTable, OrderTableFull, Outcome, PaperVenue};
use peregrine_model::layers::LstmClassifier;
use peregrine_model::{Heads, Kernel, Latent, LatentStore, Model, NonFinite, PositionInput};
use peregrine_risk::{ApprovedOrder, ExecutionEffect, RiskContext, RiskGate};
use peregrine_runtime::{IndexConsumer, IndexProducer, RingConsumer, SlotConsumer, SlotProducer};
use peregrine_types::{
    EpochNanos, EventFlags, EventSeq, Execution, Full, MarketEvent, NewOrder, OrderId, OrderIntent, ReasonCode, Sink,
    SymbolId,
};
use peregrine_wire::LineId;
use peregrine_wire::feed::MoldFeed;
use peregrine_wire::itch50::{Decoded, Decoder};

type Ring = SlotProducer<MarketEvent>;
type Venue = PaperVenue<FifoQueue, ConstantLatency>;
type Executions = IndexProducer<Execution>;

pub(crate) type Decode = fn(&mut Decoder, &[u8], EpochNanos, &mut Ring) -> Result<Decoded, Full<()>>;
pub(crate) type OnPacket = fn(&mut MoldFeed, &[u8], EpochNanos, &mut Ring) -> Result<(), Full<()>>;
pub(crate) type Apply = fn(&mut Books, &MarketEvent) -> BookUpdate;
pub(crate) type BookHint = fn(&Books, &[MarketEvent]);
pub(crate) type FeaturesHint = fn(&FeatureEngine, &[MarketEvent]);
pub(crate) type RiskHint = fn(&RiskGate, SymbolId);
pub(crate) type StrategyHint = fn(&Strategy, SymbolId);
pub(crate) type Check = fn(&mut RiskGate, &OrderIntent, &RiskContext, EpochNanos) -> Result<ApprovedOrder, ReasonCode>;
pub(crate) type RiskOnExecution = fn(&mut RiskGate, &Execution) -> ExecutionEffect;
pub(crate) type Features = fn(&mut FeatureEngine, &MarketEvent, &BookUpdate, &Books) -> Option<usize>;
pub(crate) type Vector = fn(&FeatureEngine, usize) -> Option<FeatureVector>;
pub(crate) type OnEvent = fn(&mut Strategy, &Input<'_>, &Books, &mut IntentBatch) -> bool;
pub(crate) type StrategyOnExecution = fn(&mut Strategy, &Execution);
pub(crate) type Observe = fn(&Kernel, &Model, &mut Latent<'_>, &[f32], PositionInput) -> Result<Heads, NonFinite>;
pub(crate) type Advance = fn(&Kernel, &Model, &mut Latent<'_>);
pub(crate) type AdvanceMany = fn(&Kernel, &Model, &mut LatentStore, &[usize]);
pub(crate) type KeepWarm = fn(&mut Strategy, &Books) -> Option<SymbolId>;
pub(crate) type LstmObserve = fn(&Kernel, &mut LstmClassifier, &[f32]) -> Result<f32, NonFinite>;
pub(crate) type LstmAdvance = fn(&Kernel, &mut LstmClassifier);
pub(crate) type AppendDecision = fn(&mut StreamWriter<Decide>, &DecisionRecord) -> Result<RecordIndex, LogFull>;
pub(crate) type AppendOrder = fn(&mut StreamWriter<Send>, &OrderRecord) -> Result<RecordIndex, LogFull>;
pub(crate) type SlotPush = fn(&mut Ring, MarketEvent) -> Result<(), Full<MarketEvent>>;
pub(crate) type SlotPop = fn(&mut SlotConsumer<MarketEvent>) -> Option<MarketEvent>;
pub(crate) type IndexPush = fn(&mut IndexProducer<Execution>, Execution) -> Result<(), Full<Execution>>;
pub(crate) type IndexPop = fn(&mut IndexConsumer<Execution>) -> Option<Execution>;
pub(crate) type TableSubmit = fn(&mut OrderTable, OrderId, NewOrder, Cause) -> Result<Outcome, OrderTableFull>;
pub(crate) type TableCancelSent = fn(&mut OrderTable, OrderId) -> Outcome;
pub(crate) type TableOnExecution = fn(&mut OrderTable, &Execution) -> Outcome;
pub(crate) type PaperAccept = fn(&mut Venue, ApprovedOrder) -> Result<(), Full<ApprovedOrder>>;
pub(crate) type PaperNextArrived = fn(&mut Venue, EpochNanos) -> Option<Arrival>;
pub(crate) type PaperProcess = fn(&mut Venue, &Arrival, &Books, &mut Executions);
pub(crate) type PaperRefuse = fn(&mut Venue, &Arrival, ReasonCode, &mut Executions);
pub(crate) type PaperOnMarket = fn(&mut Venue, &MarketEvent, &BookUpdate, &Books, &mut Executions);

#[inline(never)]
pub(crate) fn decode(
    decoder: &mut Decoder,
    message: &[u8],
    now: EpochNanos,
    out: &mut Ring,
) -> Result<Decoded, Full<()>> {
    decoder.decode(message, now, EventFlags::NONE, out)
}

#[inline(never)]
pub(crate) fn on_packet(feed: &mut MoldFeed, payload: &[u8], now: EpochNanos, out: &mut Ring) -> Result<(), Full<()>> {
    feed.on_packet(LineId::A, payload, now, out)
}

#[inline(never)]
pub(crate) fn apply(books: &mut Books, event: &MarketEvent) -> BookUpdate {
    books.apply(event)
}

#[inline(never)]
pub(crate) fn book_hint(books: &Books, events: &[MarketEvent]) {
    books.prefetch_hint(events);
}

#[inline(never)]
pub(crate) fn features_hint(engine: &FeatureEngine, events: &[MarketEvent]) {
    engine.prefetch_hint(events);
}

#[inline(never)]
pub(crate) fn risk_hint(gate: &RiskGate, symbol: SymbolId) {
    gate.prefetch_hint(symbol);
}

#[inline(never)]
pub(crate) fn strategy_hint(strategy: &Strategy, symbol: SymbolId) {
    strategy.prefetch_hint(symbol);
}

#[inline(never)]
pub(crate) fn check(
    gate: &mut RiskGate,
    intent: &OrderIntent,
    context: &RiskContext,
    now: EpochNanos,
) -> Result<ApprovedOrder, ReasonCode> {
    gate.check(intent, context, EventSeq(0), now)
}

#[inline(never)]
pub(crate) fn risk_on_execution(gate: &mut RiskGate, execution: &Execution) -> ExecutionEffect {
    gate.on_execution(execution)
}

#[inline(never)]
pub(crate) fn features(
    engine: &mut FeatureEngine,
    event: &MarketEvent,
    update: &BookUpdate,
    books: &Books,
) -> Option<usize> {
    engine.on_event(event, update, books)
}

#[inline(never)]
pub(crate) fn feature_vector(engine: &FeatureEngine, slot: usize) -> Option<FeatureVector> {
    engine.vector(slot)
}

#[inline(never)]
pub(crate) fn strategy_on_event(
    strategy: &mut Strategy,
    input: &Input<'_>,
    books: &Books,
    out: &mut IntentBatch,
) -> bool {
    strategy.on_event(input, books, &mut NoStopwatch, out)
}

#[inline(never)]
pub(crate) fn strategy_on_execution(strategy: &mut Strategy, execution: &Execution) {
    strategy.on_execution(execution);
}

#[inline(never)]
pub(crate) fn observe(
    kernel: &Kernel,
    model: &Model,
    latent: &mut Latent<'_>,
    features: &[f32],
    position: PositionInput,
) -> Result<Heads, NonFinite> {
    kernel.observe(model, latent, features, position)
}

#[inline(never)]
pub(crate) fn advance(kernel: &Kernel, model: &Model, latent: &mut Latent<'_>) {
    kernel.advance(model, latent);
}

#[inline(never)]
pub(crate) fn advance_many(kernel: &Kernel, model: &Model, store: &mut LatentStore, instruments: &[usize]) {
    kernel.advance_many(model, store, instruments);
}

#[inline(never)]
pub(crate) fn strategy_keep_warm(strategy: &mut Strategy, books: &Books) -> Option<SymbolId> {
    strategy.keep_warm(books)
}

#[inline(never)]
pub(crate) fn lstm_observe(kernel: &Kernel, network: &mut LstmClassifier, x: &[f32]) -> Result<f32, NonFinite> {
    network.observe(kernel, x)
}

#[inline(never)]
pub(crate) fn lstm_advance(kernel: &Kernel, network: &mut LstmClassifier) {
    network.advance(kernel);
}

#[inline(never)]
pub(crate) fn append_decision(log: &mut StreamWriter<Decide>, record: &DecisionRecord) -> Result<RecordIndex, LogFull> {
    log.append(record)
}

#[inline(never)]
pub(crate) fn append_order(log: &mut StreamWriter<Send>, record: &OrderRecord) -> Result<RecordIndex, LogFull> {
    log.append(record)
}

#[inline(never)]
pub(crate) fn slot_push(ring: &mut Ring, event: MarketEvent) -> Result<(), Full<MarketEvent>> {
    ring.push(event)
}

#[inline(never)]
pub(crate) fn slot_pop(ring: &mut SlotConsumer<MarketEvent>) -> Option<MarketEvent> {
    ring.pop()
}

#[inline(never)]
pub(crate) fn index_push(ring: &mut IndexProducer<Execution>, execution: Execution) -> Result<(), Full<Execution>> {
    ring.push(execution)
}

#[inline(never)]
pub(crate) fn index_pop(ring: &mut IndexConsumer<Execution>) -> Option<Execution> {
    ring.pop()
}

#[inline(never)]
pub(crate) fn order_table_submit(
    table: &mut OrderTable,
    order_id: OrderId,
    order: NewOrder,
    cause: Cause,
) -> Result<Outcome, OrderTableFull> {
    table.submit(order_id, order, cause)
}

#[inline(never)]
pub(crate) fn order_table_cancel_sent(table: &mut OrderTable, order_id: OrderId) -> Outcome {
    table.cancel_sent(order_id)
}

#[inline(never)]
pub(crate) fn order_table_on_execution(table: &mut OrderTable, execution: &Execution) -> Outcome {
    table.on_execution(execution)
}

#[inline(never)]
pub(crate) fn paper_accept(venue: &mut Venue, approved: ApprovedOrder) -> Result<(), Full<ApprovedOrder>> {
    venue.accept(approved)
}

#[inline(never)]
pub(crate) fn paper_next_arrived(venue: &mut Venue, now: EpochNanos) -> Option<Arrival> {
    venue.next_arrived(now)
}

#[inline(never)]
pub(crate) fn paper_process(venue: &mut Venue, arrival: &Arrival, books: &Books, out: &mut Executions) {
    venue.process(arrival, books, out);
}

#[inline(never)]
pub(crate) fn paper_refuse(venue: &mut Venue, arrival: &Arrival, reason: ReasonCode, out: &mut Executions) {
    venue.refuse(arrival, reason, out);
}

#[inline(never)]
pub(crate) fn paper_on_market(
    venue: &mut Venue,
    event: &MarketEvent,
    update: &BookUpdate,
    books: &Books,
    out: &mut Executions,
) {
    venue.on_market(event, update, books, out);
}
