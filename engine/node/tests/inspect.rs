//! `inspect`, `log`, `doctor` and `config` as a user meets them: on sound files, on damaged ones, and on the real data.

mod common;

use std::fs;
use std::io::Read as _;
use std::path::Path;

use common::{DATE, Ended, flip, generator, itch_file, peregrine, real_data, replay, shipped};
use peregrine_book::{BookConfig, MarketBooks, NaiveBooks};
use peregrine_eventlog::records::{OrderRecord, OrderTransition};
use peregrine_eventlog::{LogReader, Stream};
use peregrine_generate::Session;
use peregrine_types::{EventKind, Full, Level, MarketEvent, Sink};
use peregrine_wire::FileFeed;
use peregrine_wire::itch50::Decoder;

fn inspect(dir: &Path, words: &[&str]) -> Ended {
    peregrine(dir, std::iter::once(&"inspect").chain(words))
}

#[test]
fn more_captures_than_lines_and_several_files_of_messages_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let file = itch_file(dir, 3, 1_000);
    let file = file.to_str().unwrap();
    let ended = inspect(dir, &[file, file]);
    assert!(ended.code != Some(0) && ended.err.contains("2 files of messages"), "{ended:?}");
    let capture = dir.join("session.pcap");
    let capture = capture.to_str().unwrap();
    let words = [
        "generate",
        "--format",
        "pcap",
        "--lines",
        "1",
        "--messages",
        "4000",
        "--symbol-count",
        "20",
        "--out",
        capture,
    ];
    assert_eq!(peregrine(dir, words).code, Some(0));
    let ended = inspect(dir, &[capture; 5]);
    assert!(ended.code != Some(0) && ended.err.contains("at most 4 lines"), "{ended:?}");
}

#[test]
fn a_sound_file_is_sound_and_a_damaged_one_is_named_with_its_offset() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let file = itch_file(dir, 3, 20_000);
    let file = file.to_str().unwrap();
    let sound = inspect(dir, &[file]);
    assert_eq!(sound.code, Some(0), "{sound:?}");
    assert!(sound.out.contains("sound") && !sound.out.contains("NOT") && sound.out.contains(DATE), "{}", sound.out);
    let as_json = inspect(dir, &[file, "--json"]);
    let value: serde_json::Value = serde_json::from_str(&as_json.out).unwrap();
    assert_eq!((&value["is_sound"], &value["malformed_count"]), (&true.into(), &0.into()));
    // Messages are named by where they begin, behind their length. The type of one in the middle becomes that of a message with another length.
    let bytes = fs::read(file).unwrap();
    let (mut offset, mut number) = (0, 0);
    while number < 9_000 || bytes[offset + 2] != b'A' {
        offset += 2 + usize::from(u16::from_be_bytes([bytes[offset], bytes[offset + 1]]));
        number += 1;
    }
    let mut damaged = bytes.clone();
    damaged[offset + 2] = b'D';
    let path = dir.join("damaged-2026-01-05.itch50");
    fs::write(&path, damaged).unwrap();
    let ended = inspect(dir, &[path.to_str().unwrap()]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.out.contains("NOT sound") && ended.out.contains(&format!("at byte {}: message", offset + 2)),
        "{offset}: {}",
        ended.out
    );
    // A file that ends within a message.
    let path = dir.join("cut-2026-01-05.itch50");
    fs::write(&path, &bytes[..offset + 7]).unwrap();
    let ended = inspect(dir, &[path.to_str().unwrap()]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.out.contains(&format!("byte {offset}")), "{offset}: {}", ended.out);
    // An execution of an order that is not there: the book names the place.
    let execution = (0..).scan(0, |at, _| {
        let here = *at;
        let len = usize::from(u16::from_be_bytes([*bytes.get(here)?, *bytes.get(here + 1)?]));
        *at = here + 2 + len;
        Some(here)
    });
    let offset = execution.skip(9_000).find(|at| bytes[at + 2] == b'D').unwrap();
    let mut damaged = bytes;
    damaged[offset + 2 + 11] = 0x7f;
    let path = dir.join("unknown-2026-01-05.itch50");
    fs::write(&path, damaged).unwrap();
    let ended = inspect(dir, &[path.to_str().unwrap()]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.out.contains(&format!("at byte {}: order", offset + 2)), "{offset}: {}", ended.out);
}

/// The lines of `--bbo` as the naive books make them.
struct Bbo {
    books: NaiveBooks,
    names: Vec<String>,
    last: Vec<[Option<Level>; 2]>,
    text: String,
}

impl Sink<MarketEvent> for Bbo {
    fn push(&mut self, event: MarketEvent) -> Result<(), Full<MarketEvent>> {
        self.books.apply(&event);
        if event.kind == EventKind::StockDirectory {
            self.names[event.symbol.index()] = event.symbol_name().to_string();
        }
        if event.symbol.index() < self.names.len() {
            let top = self.books.top(event.symbol);
            let now = [top.bid, top.ask];
            if self.last[event.symbol.index()] != now {
                self.last[event.symbol.index()] = now;
                let side = |level: Option<Level>| {
                    level.map_or(",".to_owned(), |level| format!("{},{}", level.price, level.qty))
                };
                let name = &self.names[event.symbol.index()];
                self.text += &format!("{},{name},{},{}\n", event.exch_time.0, side(now[0]), side(now[1]));
            }
        }
        Ok(())
    }
}

#[test]
fn bbo_equals_the_naive_books() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let file = itch_file(dir, 3, 20_000);
    let ended = inspect(dir, &[file.to_str().unwrap(), "--bbo", "bbo.csv"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let config = generator(3, 20_000);
    let mut feed = FileFeed::new(Decoder::new(config.midnight, 64));
    let books = NaiveBooks::new(BookConfig::new(64, 65_536, 65_536)).unwrap();
    let text = "exch_time_ns,symbol,bid_price,bid_qty,ask_price,ask_qty\n".to_owned();
    let mut naive = Bbo { books, names: vec![String::new(); 64], last: vec![[None; 2]; 64], text };
    Session::new(config).unwrap().for_each_message(|_, message| {
        assert!(feed.on_message(message, None, &mut naive).is_ok());
    });
    let written = fs::read_to_string(dir.join("bbo.csv")).unwrap();
    assert!(naive.text.lines().count() > 3_000, "{} lines", naive.text.lines().count());
    for (number, (ours, theirs)) in written.lines().zip(naive.text.lines()).enumerate() {
        assert_eq!(ours, theirs, "line {}", number + 1);
    }
    assert_eq!(written.lines().count(), naive.text.lines().count());
}

/// A price of LOBSTER (10⁻⁴) as a number, our decimal likewise; an empty side is `None`.
fn price4(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{whole}{:0<4}", &fraction[..fraction.len().min(4)]);
    if text.is_empty() { None } else { digits.parse().ok() }
}

#[test]
fn lobster_best_levels_through_the_program_equal_all_11015_published_states() {
    let itch = real_data("itch/aapl_20120621_0930_1030_reencoded.itch50.gz");
    let published = real_data("lobster/AAPL_2012-06-21_34200000_57600000_orderbook_1.head12000.csv.gz");
    let (Some(itch), Some(published)) = (itch, published) else { return };
    let mut text = String::new();
    flate2::read::GzDecoder::new(fs::File::open(published).unwrap()).read_to_string(&mut text).unwrap();
    let empty = |price: i64| (price.abs() != 9_999_999_999).then_some(price);
    let mut theirs: Vec<[Option<i64>; 4]> = text
        .lines()
        .map(|line| {
            let field: Vec<i64> = line.split(',').map(|field| field.parse().unwrap()).collect();
            [empty(field[2]), Some(field[3]), empty(field[0]), Some(field[1])]
        })
        .collect();
    theirs.dedup();
    assert_eq!(theirs.len(), 11_015);
    let dir = tempfile::tempdir().unwrap();
    let ended = inspect(dir.path(), &[itch.to_str().unwrap(), "--bbo", "bbo.csv"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let csv = fs::read_to_string(dir.path().join("bbo.csv")).unwrap();
    let ours: Vec<[Option<i64>; 4]> = csv
        .lines()
        .skip(1)
        .map(|line| {
            let field: Vec<&str> = line.split(',').collect();
            assert_eq!(field[1], "AAPL");
            let qty = |text: &str| Some(text.parse().unwrap_or(0));
            [price4(field[2]), qty(field[3]), price4(field[4]), qty(field[5])]
        })
        .collect();
    let first = ours.iter().position(|row| Some(row) == theirs.first()).unwrap();
    assert!(first < 40, "only the orders that were resting already may come before the first state");
    for (index, (our, their)) in ours[first..].iter().zip(&theirs).enumerate() {
        assert_eq!(our, their, "distinct state {index}");
    }
    assert!(ours.len() - first >= theirs.len());
}

#[test]
fn every_real_file_is_sound_or_said_to_have_a_gap() {
    let Some(root) = real_data("itch") else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut count = 0;
    for folder in [root.clone(), root.join("../pcap/nasdaq_itch50")] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let ended = inspect(dir.path(), &[path.to_str().unwrap()]);
            // Two captures of one session, hours apart, put into one file by who published it.
            if path.ends_with("Nasdaq_Multiple.Packets.pcap") {
                assert_eq!(ended.code, Some(1), "{ended:?}");
                assert!(ended.out.contains("4244620 messages are missing in 1 gaps"), "{}", ended.out);
            } else {
                assert_eq!(ended.code, Some(0), "{}: {ended:?}", path.display());
            }
            count += 1;
        }
    }
    assert!(count >= 23, "{count} files");
    // A capture of another feed is no sound capture of those that are read.
    let foreign = root.join("../pcap/iex/PriceLevelBuyUpdateMessage.pcap");
    let ended = inspect(dir.path(), &[foreign.to_str().unwrap()]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.out.contains("NOT sound: no frame of the capture holds MoldUDP64"), "{}", ended.out);
}

#[test]
fn log_why_tells_cause_features_verdict_and_fills() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let file = itch_file(dir, 3, 30_000);
    let (run, ended) = replay(dir, "run", &[&file], &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let reader = LogReader::open(&run, Stream::Send).unwrap();
    let filled = reader.payloads::<OrderRecord>().map(|record| *record.unwrap().1);
    let filled = filled.filter(|record| record.transition == OrderTransition::Filled).last().unwrap();
    let (order, run_dir) = (filled.order_id.0.to_string(), run.to_str().unwrap());
    let why = peregrine(dir, ["log", "why", &order, "--run", run_dir]);
    assert_eq!(why.code, Some(0), "{why:?}");
    let words = ["Why it was sent", "event", "book", "model", "features", "approved", "What became of it", "liquidity"];
    for word in words {
        assert!(why.out.contains(word), "{word} is missing in:\n{}", why.out);
    }
    assert!(why.out.contains(&format!("number {} of the input", filled.event_seq.0)), "{}", why.out);
    assert_eq!(peregrine(dir, ["log", "why", &order, "--run", run_dir, "--json"]).code, Some(0));
    let unknown = peregrine(dir, ["log", "why", "99999999", "--run", run_dir]);
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
    assert!(unknown.err.contains("99999999"), "{unknown:?}");
    // The log itself, sound and damaged.
    assert_eq!(inspect(dir, &[run_dir]).code, Some(0));
    assert_eq!(peregrine(dir, ["log", "check", run_dir]).code, Some(0));
    flip(&run.join("send-000001.plog"), 5_000);
    let check = peregrine(dir, ["log", "check", run_dir]);
    assert_eq!(check.code, Some(1), "{check:?}");
    assert_eq!(inspect(dir, &[run_dir]).code, Some(1));
    let cut = peregrine(dir, ["log", "why", "1", "--run", run_dir]);
    assert_eq!(cut.code, Some(1), "{cut:?}");
    assert!(cut.out.contains("NOT whole: stream send ends after"), "{}", cut.out);
    let none = dir.join("none");
    fs::create_dir(&none).unwrap();
    for words in [vec!["log", "check"], vec!["log", "why", "1", "--run"], vec!["inspect"]] {
        let ended = peregrine(dir, words.iter().copied().chain([none.to_str().unwrap()]));
        assert_eq!(ended.code, Some(3), "{words:?}: {ended:?}");
    }
}

#[test]
fn doctor_and_config_speak() {
    let dir = tempfile::tempdir().unwrap();
    let config = shipped("replay.toml");
    let config = config.to_str().unwrap();
    let doctor = peregrine(dir.path(), ["doctor", "--config", config]);
    assert_eq!(doctor.code, Some(0), "{doctor:?}");
    for word in ["tsc", "core", "huge", "governor"] {
        assert!(doctor.out.to_lowercase().contains(word), "{word} is missing in:\n{}", doctor.out);
    }
    let as_json = peregrine(dir.path(), ["doctor", "--config", config, "--json"]);
    assert!(serde_json::from_str::<serde_json::Value>(&as_json.out).is_ok(), "{as_json:?}");
    assert_eq!(peregrine(dir.path(), ["config", "check", "--config", config]).code, Some(0));
    let print = peregrine(dir.path(), ["config", "print", "--config", config]);
    assert!(print.code == Some(0) && print.out.contains("limits.toml:"), "{print:?}");
    let schema = peregrine(dir.path(), ["config", "print", "--schema"]);
    assert!(schema.code == Some(0) && schema.out.contains("order_qty_max"), "{schema:?}");
    let words = ["config", "check", "--json", "--config", config, "--set", "risk.order_qty_max=0"];
    let broken = peregrine(dir.path(), words);
    let value: serde_json::Value = serde_json::from_str(&broken.out).unwrap();
    assert_eq!((broken.code, &value["violations"][0]["key"]), (Some(2), &"risk.order_qty_max".into()));
    let print = peregrine(dir.path(), ["config", "print", "--json", "--config", config]);
    let value: serde_json::Value = serde_json::from_str(&print.out).unwrap();
    assert_eq!(value["risk"]["order_qty_max"]["value"], 1_000);
    // Away from the sources the shipped profiles come from within the program: whole, or not at all.
    let away = peregrine(dir.path(), ["config", "print"]);
    assert!(away.code == Some(0) && away.err.contains("configs/replay.toml is not here"), "{away:?}");
    fs::create_dir(dir.path().join("configs")).unwrap();
    fs::copy(config, dir.path().join("configs/replay.toml")).unwrap();
    let half = peregrine(dir.path(), ["config", "print"]);
    assert!(half.code == Some(2) && half.err.contains("limits.toml"), "{half:?}");
    let lines = peregrine(dir.path(), ["generate", "--out", "x.itch50", "--loss", "1"]);
    assert!(lines.code == Some(2) && lines.err.contains("--format pcap"), "{lines:?}");
    let broken = peregrine(dir.path(), ["config", "check", "--config", config, "--set", "risk.order_qty_max=0"]);
    assert_eq!(broken.code, Some(2), "{broken:?}");
    assert!(broken.err.contains("risk.order_qty_max"), "{broken:?}");
}
