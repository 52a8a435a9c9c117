//! Sessions as DBN and back: the same book after each event, whether a naive book reads the DBN or the converter does.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{Replay, Written, plan, real_data};
use dbn::decode::{DbnDecoder, DbnMetadata as _, DecodeRecord as _};
use dbn::{MboMsg, VersionUpgradePolicy};
use jiff::civil::{Date, date};
use peregrine_book::MarketBooks as _;
use peregrine_convert::{ConvertError, DbnSchema, DbnSummary, Format, write_dbn};
use peregrine_generate::{GeneratorConfig, Session, write_binary_file};
use peregrine_source::market::InputPlan;
use peregrine_types::{Nanos, Side, SymbolId};
use tempfile::TempDir;

/// A generated session, in a file of `folder`.
fn generated(folder: &Path, config: GeneratorConfig) -> InputPlan {
    let path = folder.join("day.itch50");
    let mut bytes = Vec::new();
    write_binary_file(&mut Session::new(config).unwrap(), &mut bytes).unwrap();
    std::fs::write(&path, &bytes).unwrap();
    session(&path, Some(date(2026, 1, 5)))
}

fn session(path: &Path, date: Option<Date>) -> InputPlan {
    InputPlan {
        files: vec![path.to_path_buf()],
        date,
        zone: "America/New_York".to_owned(),
        symbol_count_max: 100,
        reorder_window: Nanos(1),
        is_sequence_checked: true,
        mdp3: peregrine_source::market::Mdp3Plan::default(),
    }
}

/// A session as DBN.
struct AsDbn {
    summary: DbnSummary,
    folder: TempDir,
}

impl AsDbn {
    fn of(plan: &InputPlan) -> Result<Self, ConvertError> {
        let mut bytes = Vec::new();
        let summary = write_dbn(plan, DbnSchema::Mbo, &mut bytes)?;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("day.mbo.dbn"), bytes).unwrap();
        Ok(Self { summary, folder })
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("day.mbo.dbn")
    }

    fn records(&self) -> Vec<MboMsg> {
        let file = std::fs::File::open(self.path()).unwrap();
        let mut decoder = DbnDecoder::with_upgrade_policy(file, VersionUpgradePolicy::AsIs).unwrap();
        assert_eq!(decoder.metadata().mappings.len(), self.summary.instruments.len());
        let mut records = Vec::new();
        while let Some(record) = decoder.decode_record::<MboMsg>().unwrap() {
            records.push(record.clone());
        }
        records
    }
}

/// Price and quantity of each level of a symbol's side, best first.
type Levels = Vec<(i64, u64)>;

fn levels(replay: &Replay, symbol: u32, side: Side) -> Levels {
    let levels = replay.depth(SymbolId(symbol), side, 1_000);
    levels.iter().map(|level| (level.price.0, level.qty.0)).collect()
}

/// Orders by their number: instrument, side, price, size. Follows A, C and R alone, which is all that is written.
#[derive(Default)]
struct Naive(BTreeMap<u64, (u32, u8, i64, u32)>);

impl Naive {
    fn apply(&mut self, record: &MboMsg) {
        let side = record.side.cast_unsigned();
        match record.action.cast_unsigned() {
            b'A' => {
                let order = (record.hd.instrument_id - 1, side, record.price, record.size);
                assert_eq!(self.0.insert(record.order_id, order), None);
            }
            b'C' => {
                let order = self.0.get_mut(&record.order_id).unwrap();
                assert_eq!((order.0, order.1, order.2), (record.hd.instrument_id - 1, side, record.price));
                order.3 -= record.size;
                if order.3 == 0 {
                    self.0.remove(&record.order_id);
                }
            }
            b'R' => self.0.clear(),
            _ => {}
        }
    }

    fn levels(&self, symbol: u32, side: Side) -> Levels {
        let code = if side == Side::Buy { b'B' } else { b'A' };
        let mut levels = BTreeMap::new();
        for (_, _, price, size) in self.0.values().filter(|order| order.0 == symbol && order.1 == code) {
            *levels.entry(*price).or_insert(0) += u64::from(*size);
        }
        if side == Side::Buy { levels.into_iter().rev().collect() } else { levels.into_iter().collect() }
    }
}

/// Writes a session as DBN, reads that naively, converts it back, and compares the three books event by event.
fn round_trip(plan: &InputPlan) -> (DbnSummary, Written) {
    let as_dbn = AsDbn::of(plan).unwrap();
    assert!(as_dbn.summary.is_sound, "{:?}", as_dbn.summary);
    let back = Written::of(&common::plan(Format::Dbn, &as_dbn.path())).unwrap();
    assert!(back.summary.is_sound, "{:?}", back.summary.findings);
    let names: Vec<&String> = back.summary.symbols.iter().map(|entry| &entry.symbol).collect();
    // The converter numbers instruments by their first record.
    let number = |name: &&String| *as_dbn.summary.instruments.iter().find(|(_, known)| known == name).unwrap().0 - 1;
    let symbols: Vec<u32> = names.iter().map(number).collect();
    let (mut original, mut returned, mut naive) = (Replay::of(plan), back.replay(), Naive::default());
    let records = as_dbn.records();
    let mut compared = 0_u32;
    for (at, record) in records.iter().enumerate() {
        naive.apply(record);
        if !record.flags.is_last() || records.get(at + 1).is_some_and(|next| next.ts_recv == record.ts_recv) {
            continue;
        }
        original.step_to(record.ts_recv.cast_signed(), |_, _| {});
        returned.step_to(record.ts_recv.cast_signed(), |_, _| {});
        assert_eq!(original.books.order_count(), naive.0.len());
        assert_eq!(original.books.order_count(), returned.books.order_count());
        let symbol = record.hd.instrument_id - 1;
        let theirs = symbols.iter().position(|known| *known == symbol).unwrap();
        for side in Side::BOTH {
            let ours = levels(&original, symbol, side);
            assert_eq!(ours, levels(&returned, u32::try_from(theirs).unwrap(), side), "record {at}");
            if compared.is_multiple_of(50) {
                assert_eq!(ours, naive.levels(symbol, side), "record {at}");
            }
        }
        compared += 1;
    }
    assert!(compared > 1_000, "{compared}");
    (as_dbn.summary, back)
}

#[test]
fn a_generated_session_of_every_type_comes_back_with_the_same_books() {
    let folder = tempfile::tempdir().unwrap();
    let (summary, back) = round_trip(&generated(folder.path(), GeneratorConfig::every_type(3, 5, 20_000)));
    let count = |action: &str| summary.records.get(action).copied().unwrap_or(0);
    assert!(count("A") > 1_000 && count("F") > 100 && count("T") > 100, "{summary:?}");
    let messages = &back.summary.messages;
    assert!(messages.contains_key(&'E') && messages.contains_key(&'C') && messages.contains_key(&'X'), "{messages:?}");
    assert_eq!((back.summary.date.as_str(), back.summary.zone.as_str()), ("2026-01-05", "America/New_York"));
}

#[test]
fn the_real_sessions_come_back_with_the_same_books() {
    let premarket = "itch/aapl_20200130_premarket_5000.itch50";
    for name in [premarket, "itch/aapl_20120621_0930_1030_reencoded.itch50.gz"] {
        let Some(path) = real_data(name) else { return };
        let (_, back) = round_trip(&session(&path, None));
        assert!(back.summary.symbols.iter().any(|entry| entry.symbol == "AAPL"), "{name}");
    }
}

/// Time, price, quantity of each print, and whether it counts.
fn prints(mut replay: Replay) -> Vec<(i64, i64, u64, bool)> {
    let mut prints = Vec::new();
    while let Some((event, update)) = replay.step() {
        let print = update.trade.map(|trade| (event.exch_time.0, trade.price.0, trade.qty.0, trade.is_printable));
        prints.extend(print);
    }
    prints
}

#[test]
fn executions_keep_their_price_and_their_print() {
    let folder = tempfile::tempdir().unwrap();
    let generated = generated(folder.path(), GeneratorConfig::every_type(4, 5, 20_000));
    let real = real_data("itch/aapl_20120621_0930_1030_reencoded.itch50.gz").map(|path| session(&path, None));
    for plan in [Some(generated), real].into_iter().flatten() {
        let as_dbn = AsDbn::of(&plan).unwrap();
        let back = Written::of(&common::plan(Format::Dbn, &as_dbn.path())).unwrap();
        let (ours, theirs) = (prints(Replay::of(&plan)), prints(back.replay()));
        assert!(ours.len() > 500, "{}", ours.len());
        assert_eq!(ours, theirs);
    }
}

#[test]
fn a_quantity_that_dbn_has_no_number_for_is_not_written_as_an_undefined_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ACME_2026-01-05_message.csv");
    std::fs::write(&path, "34200.1,1,100,4294967295,5000000,1\n34200.2,1,101,4294967294,5000000,1\n").unwrap();
    let written = Written::of(&plan(Format::Lobster, &path)).unwrap();
    let as_dbn = AsDbn::of(&session(&written.path(), Some(date(2026, 1, 5)))).unwrap();
    assert_eq!((as_dbn.summary.impossible, as_dbn.summary.is_sound), (1, false));
    let sizes: Vec<u32> = as_dbn.records().iter().map(|record| record.size).collect();
    assert_eq!(sizes, [4_294_967_294]);
}

/// A small generated session as DBN, and where its first record begins.
fn small_file(folder: &Path) -> (Vec<u8>, usize) {
    let as_dbn = AsDbn::of(&generated(folder, GeneratorConfig::every_type(2, 5, 2_000))).unwrap();
    let bytes = std::fs::read(as_dbn.path()).unwrap();
    let metadata_len = 8 + usize::try_from(u32::from_le_bytes(bytes[4..8].try_into().unwrap())).unwrap();
    (bytes, metadata_len)
}

#[test]
fn a_cut_file_is_converted_up_to_the_cut_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (bytes, metadata_len) = small_file(folder.path());
    let cut = folder.path().join("cut.dbn");
    for len in (0..metadata_len).step_by(7) {
        std::fs::write(&cut, &bytes[..len]).unwrap();
        assert!(Written::of(&plan(Format::Dbn, &cut)).is_err(), "{len} bytes of the metadata");
    }
    for len in metadata_len..metadata_len + 56 * 5 {
        std::fs::write(&cut, &bytes[..len]).unwrap();
        let (whole, rest) = ((len - metadata_len) / 56, (len - metadata_len) % 56);
        match Written::of(&plan(Format::Dbn, &cut)) {
            Ok(written) => {
                assert_eq!(written.found("truncated"), u64::from(rest > 0), "{len}");
                assert_eq!(written.summary.rows.values().sum::<u64>(), u64::try_from(whole).unwrap());
            }
            Err(error) => assert!(whole == 0 && matches!(error, ConvertError::NoDate(_)), "{error}"),
        }
    }
}

#[test]
fn lies_of_a_damaged_file_are_errors_and_never_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let (bytes, metadata_len) = small_file(folder.path());
    let bytes = &bytes[..metadata_len + 56 * 40];
    let damaged = folder.path().join("damaged.dbn");
    let mut refused = 0;
    for at in (0..bytes.len()).step_by(3) {
        for value in [0, 1, 0x7f, 0xff] {
            let mut bytes = bytes.to_vec();
            bytes[at] = value;
            std::fs::write(&damaged, &bytes).unwrap();
            refused += u32::from(Written::of(&plan(Format::Dbn, &damaged)).is_err());
        }
    }
    assert!(refused > 20, "{refused}");
    let mut newer = bytes.to_vec();
    newer[3] = 4;
    std::fs::write(&damaged, &newer).unwrap();
    let error = Written::of(&plan(Format::Dbn, &damaged)).err().unwrap().to_string();
    assert!(error.contains("version 4"), "{error}");
    std::fs::write(&damaged, [&bytes[..4], &u32::MAX.to_le_bytes(), &bytes[8..]].concat()).unwrap();
    let error = Written::of(&plan(Format::Dbn, &damaged)).err().unwrap().to_string();
    assert!(error.contains("metadata of 4294967295 bytes"), "{error}");
}
