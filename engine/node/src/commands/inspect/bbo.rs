//! Every change of the best bid and ask as a CSV file.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use peregrine_types::{Level, MarketEvent, TopOfBook};

use crate::exit::Failure;

/// The file while it is written.
#[derive(Debug)]
pub(super) struct BboFile {
    path: PathBuf,
    out: BufWriter<File>,
    last: Vec<[Option<(i64, u64)>; 2]>,
    error: Option<io::Error>,
}

impl BboFile {
    pub(super) fn create(path: &Path, symbol_count_max: usize) -> Result<Self, Failure> {
        let file = File::create(path)
            .map_err(|error| Failure::file("create", path, &error, "give a path in a folder that can be written"))?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        let error = out.write_all(b"exch_time_ns,symbol,bid_price,bid_qty,ask_price,ask_qty\n").err();
        Ok(Self { path: path.to_owned(), out, last: vec![[None; 2]; symbol_count_max], error })
    }

    /// Writes a line if price or quantity of a best level differs from the line before.
    pub(super) fn on_change(&mut self, event: &MarketEvent, name: &str, top: &TopOfBook) {
        let key = |level: Option<Level>| level.map(|level| (level.price.0, level.qty.0));
        let now = [key(top.bid), key(top.ask)];
        let Some(last) = self.last.get_mut(event.symbol.index()) else { return };
        if *last == now || self.error.is_some() {
            return;
        }
        *last = now;
        let side = |level: Option<Level>| match level {
            Some(level) => format!("{},{}", level.price, level.qty),
            None => ",".to_owned(),
        };
        let line = writeln!(self.out, "{},{name},{},{}", event.exch_time.0, side(top.bid), side(top.ask));
        self.error = line.err();
    }

    /// Flushes; the first error of any line is the file's.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        let result = match self.error {
            Some(error) => Err(error),
            None => self.out.flush(),
        };
        result.map_err(|error| Failure::file("write", &self.path, &error, "make room on the disk and run it again"))
    }
}
