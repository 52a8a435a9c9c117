//! Datasets of ticks from generated sessions and real files.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test's helpers fail as it does")]

mod common;

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Instant;

use peregrine_dataset::integrity::{Action, Reason};
use peregrine_dataset::ticks::{QuoteFamily, TickInputs, TicksConfig, build_dataset, build_file, build_observed};
use peregrine_dataset::{Dataset, DatasetReader, Sequence};
use peregrine_generate::{GeneratorConfig, PacketConfig, Session, for_each_packet, write_binary_file};
use peregrine_source::frame::FrameBuilder;
use peregrine_source::pcap;
use peregrine_types::{EpochNanos, EventSeq, SymbolId};

/// Documentation addresses (RFC 5771, RFC 5737).
const GROUPS: [SocketAddrV4; 2] = [
    SocketAddrV4::new(Ipv4Addr::new(233, 252, 0, 1), 26_477),
    SocketAddrV4::new(Ipv4Addr::new(233, 252, 0, 2), 26_477),
];
const SENDER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 26_400);

/// The profile with room for a small session.
fn small() -> TicksConfig {
    let mut config = TicksConfig::load(&common::root().join("configs/train/dataset-ticks.toml")).unwrap();
    (config.capture.order_count_max, config.capture.level_count_max) = (65_536, 65_536);
    config.capture.symbol_count_max = 64;
    config
}

fn inputs(files: &[PathBuf]) -> TickInputs {
    TickInputs { files: files.to_vec(), date: None }
}

fn session(seed: u64) -> GeneratorConfig {
    GeneratorConfig::every_type(seed, 12, 30_000)
}

fn itch_file(folder: &Path, seed: u64) -> PathBuf {
    let path = folder.join("session-2024-06-12.itch50");
    let mut out = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    write_binary_file(&mut Session::new(session(seed)).unwrap(), &mut out).unwrap();
    out.flush().unwrap();
    path
}

/// The returns of a sequence follow from its own mid prices, as far as binary32 context tells them.
fn check_returns(sequence: &Sequence, horizons: &[usize]) {
    let mid = |row: usize| f64::from(sequence.context[4 * row]);
    for row in (0..sequence.rows()).step_by(37) {
        for (index, horizon) in horizons.iter().enumerate() {
            let got = sequence.returns[horizons.len() * row + index];
            assert_eq!(got.is_nan(), row + horizon >= sequence.rows(), "row {row}, horizon {horizon}");
            if !got.is_nan() {
                let expected = (mid(row + horizon) / mid(row)).ln();
                assert!((f64::from(got) - expected).abs() < 1e-6, "row {row}: {got} against {expected}");
            }
        }
    }
}

#[test]
fn a_generated_session_becomes_the_same_dataset_in_memory_and_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let file = itch_file(folder.path(), 7);
    let mut config = small();
    config.ticks.horizons = vec![1, 10, 100];
    let mut seen: Vec<(EventSeq, EpochNanos, SymbolId)> = Vec::new();
    let mut observer =
        |seq: EventSeq, time: EpochNanos, symbol: SymbolId, _: &[f32; 32]| seen.push((seq, time, symbol));
    let (dataset, provenance) = build_observed(&inputs(std::slice::from_ref(&file)), &config, &mut observer).unwrap();
    assert!(dataset.rows() > 5_000, "{} rows", dataset.rows());
    assert_eq!(seen.len(), dataset.rows());
    assert!(seen.windows(2).all(|pair| pair[0].0 < pair[1].0), "in the order of events");
    let names: std::collections::BTreeSet<_> = dataset.sequences.iter().map(|part| &part.instrument).collect();
    assert!(
        names.len() > 5 && dataset.sequences.len() > names.len(),
        "halts cut sequences: {}",
        dataset.sequences.len()
    );
    assert!(provenance.integrity.count(Reason::BookNotGood) > 0);
    dataset.sequences.iter().for_each(|sequence| check_returns(sequence, &[1, 10, 100]));
    assert!(dataset.sequences.iter().all(|part| part.half_spread.iter().all(|half| *half > 0.0 && *half < 0.25)));
    let path = folder.path().join("session.parquet");
    let manifest = build_file(&inputs(&[file]), &config, &path).unwrap();
    assert_eq!((&manifest.meta.sha256, &manifest.integrity), (&dataset.meta.sha256, &provenance.integrity));
    assert_eq!(manifest.meta.feature_hash, peregrine_decide::definition_hash_hex());
    let again = Dataset::open(&path).unwrap();
    assert_eq!(again.meta.sha256, dataset.meta.sha256);
}

#[test]
fn two_lines_with_losses_of_their_own_give_what_the_file_gives() {
    let folder = tempfile::tempdir().unwrap();
    let whole = build_dataset(&inputs(&[itch_file(folder.path(), 3)]), &small()).unwrap().0;
    // Packets carry receive times of their own, so that features of time differ; rows by line do not.
    let files = ["a.pcap", "b.pcap"].map(|name| folder.path().join(name));
    let mut writers = files.each_ref().map(|file| pcap::Writer::new(std::fs::File::create(file).unwrap()).unwrap());
    let mut builders = GROUPS.map(|group| FrameBuilder::new(SENDER, group));
    let mut frame = Vec::new();
    for_each_packet(&mut Session::new(session(3)).unwrap(), &PacketConfig::clean(3), |line, time, payload| {
        let line = usize::from(line);
        builders[line].build(payload, &mut frame).unwrap();
        writers[line].write_packet(time, &frame).unwrap();
    })
    .unwrap();
    for writer in writers {
        writer.finish().unwrap();
    }
    let both = build_dataset(&inputs(&files), &small()).unwrap().0;
    let one = build_dataset(&inputs(&files[..1]), &small()).unwrap().0;
    assert_eq!(both.rows(), whole.rows());
    assert_eq!(one.rows(), whole.rows());
}

#[test]
fn rows_outside_the_session_follow_their_rule() {
    let folder = tempfile::tempdir().unwrap();
    let file = itch_file(folder.path(), 5);
    let keep = build_dataset(&inputs(std::slice::from_ref(&file)), &small()).unwrap();
    let mut config = small();
    config.ticks.session_open = "10:00".parse().unwrap();
    assert_eq!(keep.1.integrity.count(Reason::OutsideSession), 0);
    config.integrity.outside_session = Action::Cut;
    let cut = build_dataset(&inputs(std::slice::from_ref(&file)), &config).unwrap();
    assert!(cut.0.rows() < keep.0.rows() && cut.1.integrity.count(Reason::OutsideSession) > 100);
    config.integrity.outside_session = Action::Halt;
    let error = build_dataset(&inputs(&[file]), &config).unwrap_err().to_string();
    assert!(error.contains("outside_session") && error.contains("session-2024-06-12.itch50"), "{error}");
}

/// Quotes `ms,bid,ask` (0: that side unchanged) and trades `ms,price` of one day, as files of Lean's layout.
fn quote_day(folder: &Path, quotes: &[(u32, u32, u32)], trades: &[(u32, u32)]) -> TickInputs {
    let (quote_file, trade_file) = (folder.join("acme_20240612_quote.csv"), folder.join("acme_20240612_trade.csv"));
    let size = |price: &u32| if *price > 0 { 200 } else { 0 };
    let lines = quotes.iter().map(|(ms, bid, ask)| format!("{ms},{bid},{},{ask},{},P,1,0\n", size(bid), size(ask)));
    std::fs::write(&quote_file, lines.collect::<String>()).unwrap();
    let lines = trades.iter().map(|(ms, price)| format!("{ms},{price},100,P,2000,0\n"));
    std::fs::write(&trade_file, lines.collect::<String>()).unwrap();
    inputs(&[quote_file, trade_file])
}

/// 10:00 local time in milliseconds since midnight.
const TEN: u32 = 36_000_000;

#[test]
fn a_step_back_in_time_cuts_where_the_rule_says_so_and_the_line_begins_the_next_sequence() {
    let folder = tempfile::tempdir().unwrap();
    let quote = |ms: u32, step: u32| (TEN + ms, 1_000_000 + 100 * step, 1_000_500 + 100 * step);
    let quotes = [quote(0, 0), quote(1_000, 1), quote(2_000, 2), quote(500, 3), quote(600, 4), quote(2_500, 5)];
    let inputs = quote_day(folder.path(), &quotes, &[(TEN + 550, 1_000_300), (TEN + 2_200, 1_000_300)]);
    let times = |dataset: &Dataset| {
        let ms = |time: &i64| time / 1_000_000 % 10_000;
        let parts = dataset.sequences.iter().map(|part| part.time_ns.iter().map(ms).collect::<Vec<_>>());
        parts.collect::<Vec<_>>()
    };
    let mut config = small();
    config.integrity.timestamp_backwards = Action::Drop;
    let (dropped, report) = build_dataset(&inputs, &config).unwrap();
    // The trade of 550 came before the quote of 1,000; both quotes behind that of 2,000 are left out.
    assert_eq!(times(&dropped), [[0, 550, 1_000, 2_000, 2_200, 2_500].to_vec()]);
    assert_eq!(report.integrity.count(Reason::TimestampBackwards), 2);
    config.integrity.timestamp_backwards = Action::Cut;
    let (cut, report) = build_dataset(&inputs, &config).unwrap();
    let mut found = times(&cut);
    found.sort();
    assert_eq!(found, [[0, 550, 1_000, 2_000].to_vec(), [500, 600, 2_200, 2_500].to_vec()]);
    let finding = &report.integrity.findings[&Reason::TimestampBackwards];
    assert_eq!((finding.rows, finding.action), (1, Action::Cut));
    assert!(finding.first.starts_with("acme_20240612_quote.csv, line 4"), "{finding:?}");
    config.integrity.timestamp_backwards = Action::Halt;
    let error = build_dataset(&inputs, &config).unwrap_err().to_string();
    assert!(error.contains("acme_20240612_quote.csv, line 4"), "{error}");
}

#[test]
fn a_breach_names_the_file_and_the_line_that_it_is_of() {
    let folder = tempfile::tempdir().unwrap();
    let quote = |ms: u32, step: u32| (TEN + ms, 1_000_000 + 100 * step, 1_000_500 + 100 * step);
    let halted = |inputs: &TickInputs, set: fn(&mut TicksConfig)| {
        let mut config = small();
        set(&mut config);
        build_dataset(inputs, &config).unwrap_err().to_string()
    };
    // The trade comes after the last quote, and steps back.
    let back = [(TEN + 100, 1_000_300), (TEN + 5_000, 1_000_300), (TEN + 4_000, 1_000_300)];
    let inputs = quote_day(folder.path(), &[quote(0, 0), quote(1_000, 1)], &back);
    let error = halted(&inputs, |_| {});
    assert!(error.contains("timestamp_backwards (") && error.contains("acme_20240612_trade.csv, line 3"), "{error}");
    // A row that a trade makes, refused by the gate.
    let error = halted(&inputs, |config| {
        config.integrity.timestamp_backwards = Action::Drop;
        (config.integrity.stale_ms_max, config.integrity.stale) = (3_000, Action::Halt);
    });
    assert!(error.contains("stale (") && error.contains("acme_20240612_trade.csv, line 2"), "{error}");
    // A bid line whose ask line never comes is judged when the next line is read.
    let crossed = [quote(0, 0), (TEN + 500, 1_000_600, 0), quote(1_000, 2), quote(2_000, 3)];
    let error =
        halted(&quote_day(folder.path(), &crossed, &[]), |config| config.integrity.crossed_or_locked = Action::Halt);
    assert!(error.contains("crossed_or_locked (") && error.contains("acme_20240612_quote.csv, line 2"), "{error}");
}

#[test]
fn real_captures_become_datasets() {
    let names = ["itch/aapl_20120621_0930_1030_reencoded.itch50.gz", "itch/aapl_20200130_premarket_5000.itch50"];
    for (name, least) in names.into_iter().zip([20_000, 500]) {
        let Some(file) = common::data(name) else { return };
        let started = Instant::now();
        let (dataset, provenance) = build_dataset(&inputs(&[file]), &small()).unwrap();
        let found = provenance.integrity;
        eprintln!(
            "{name}: {} rows in {} sequences, {:?}, {found:?}",
            dataset.rows(),
            dataset.sequences.len(),
            started.elapsed()
        );
        assert!(dataset.rows() > least, "{}", dataset.rows());
        assert!(dataset.sequences.iter().all(|sequence| sequence.instrument == "AAPL"));
    }
}

#[test]
fn the_quote_day_of_a_million_and_a_half_becomes_a_dataset_in_seconds() {
    let (Some(quotes), Some(trades)) =
        (common::data("ticks/aig_20131009_quote.zip"), common::data("ticks/aig_20131009_trade.zip"))
    else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("aig.parquet");
    let started = Instant::now();
    let mut config = small();
    config.integrity.outside_session = Action::Cut;
    let manifest = build_file(&inputs(&[quotes.clone(), trades]), &config, &path).unwrap();
    let elapsed = started.elapsed();
    eprintln!(
        "1.42 M quotes: {} rows, {} sequences in {elapsed:?}; {:?}",
        manifest.rows, manifest.sequences, manifest.integrity
    );
    assert!(manifest.rows > 300_000 && elapsed.as_secs() < 30, "{elapsed:?}");
    assert_eq!(manifest.meta.feature_hash, QuoteFamily::QuotesAndTrades.definition_hash());
    let alone = build_dataset(&inputs(&[quotes]), &config).unwrap().0;
    assert_eq!(alone.meta.feature_hash, QuoteFamily::Quotes.definition_hash());
    assert!(alone.rows() < usize::try_from(manifest.rows).unwrap(), "trades are rows of their own");
    for chunk in DatasetReader::open(&path).unwrap() {
        let rows = chunk.unwrap().rows;
        // Best bid below best ask in every row, the mid that of AIG on that day.
        assert!(
            rows.half_spread.iter().all(|half| *half > 0.0)
                && rows.context.iter().step_by(4).all(|mid| (45.0..52.0).contains(mid))
        );
    }
}
