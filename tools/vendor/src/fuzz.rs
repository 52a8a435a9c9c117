//! Bodies for fuzzers: any bytes of a vendor go in, and what must hold for any of them is asserted.

use peregrine_convert::{Day, MessageSink};
use peregrine_types::{EpochNanos, Nanos, Symbol};
use peregrine_wire::itch50::MessageType;

use crate::alpaca::AlpacaSession;
use crate::credentials::{Credentials, Secret};
use crate::desk::{Desk, DeskConfig, DeskInstrument, SizeUnit};
use crate::ib::{IbConfig, IbSession};
use crate::instruments::Instruments;
use crate::massive::MassiveSession;
use crate::update::{Output, VendorSession};

/// Instruments of the bodies.
pub const NAMES: [&str; 2] = ["ALFA", "BETA"];

fn instruments() -> Instruments {
    Instruments::new(NAMES.map(str::to_owned).to_vec())
}

fn credentials() -> Credentials {
    Credentials { key: Secret::new("K"), secret: Secret::new("S") }
}

/// Holds what is written to be messages of ITCH 5.0, whole ones.
struct Whole;

impl MessageSink for Whole {
    fn on_message(&mut self, message: &[u8]) -> std::io::Result<()> {
        let kind = message.first().and_then(|code| MessageType::from_code(*code));
        assert!(kind.is_some_and(|kind| kind.message_len() == message.len()), "{message:?}");
        Ok(())
    }
}

fn desk() -> Option<Desk<Whole>> {
    let instruments = NAMES.iter().filter_map(|name| Symbol::new(name));
    let config = DeskConfig {
        instruments: instruments.map(|symbol| DeskInstrument { symbol, round_lot: 100 }).collect(),
        quote_size_unit: SizeUnit::RoundLots,
        trade_size_unit: SizeUnit::Shares,
        stale_after: Nanos::from_secs(1),
        is_trading_at_start: true,
    };
    let day = Day::new(jiff::civil::date(2026, 1, 5), "UTC").ok()?;
    Desk::new(config, day, Whole).ok()
}

/// Lets a session read `data` and the desk tell what came of it: it never fails, and never writes what is no message.
fn run(mut session: impl VendorSession, data: &[u8], chunk_len: usize) {
    let Some(mut desk) = desk() else { return };
    let mut now = desk.day().midnight;
    let mut out = Output::default();
    session.connected(&mut out);
    for chunk in data.chunks(chunk_len.max(1)) {
        session.receive(chunk, &mut out);
        now = EpochNanos(now.0.saturating_add(1_000_000));
        for update in core::mem::take(&mut out.updates) {
            let told = desk.apply(now, update);
            assert!(told.is_ok(), "{told:?}");
        }
    }
    let counters = session.counters();
    assert!(counters.malformed_count <= out.notes.len() as u64 && desk.lose(now).is_ok() && desk.end(now).is_ok());
}

/// One frame of Alpaca's.
pub fn alpaca(data: &[u8]) {
    run(AlpacaSession::new(instruments(), credentials(), true), data, data.len());
}

/// One frame of Massive's.
pub fn massive(data: &[u8]) {
    run(MassiveSession::new(instruments(), credentials()), data, data.len());
}

/// A stream of TWS, in parts.
pub fn ib(data: &[u8]) {
    let config = IbConfig {
        client_id: 1,
        exchange: "SMART".to_owned(),
        primary_exchange: String::new(),
        currency: "USD".to_owned(),
        depth_row_count: 5,
    };
    run(IbSession::new(instruments(), config), data, 7);
}
