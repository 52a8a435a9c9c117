//! The role that reads the input.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use peregrine_runtime::{Role, StopFlag, Stopwatch};
use peregrine_source::SourceError;
use peregrine_types::{Full, MarketEvent, Sink};

use crate::input::{EventInput, Taken};
use crate::stage::batch::{Batch, EventSink};
use crate::stage::feed::FeedLog;
use crate::stage::schedule::{Schedule, wait_until};

/// How far the feed role has come, for the progress bar.
#[derive(Debug, Default)]
pub struct FeedProgress {
    /// Market events handed over.
    pub event_count: AtomicU64,
    /// Bytes read.
    pub read_len: AtomicU64,
    /// Bytes that the files have.
    pub total_len: AtomicU64,
}

/// The feed role: reads the input, decodes it, notes every event in the log and hands it on.
#[derive(Debug)]
pub struct FeedRole<I, S, W> {
    /// Where events come from.
    pub input: I,
    /// The feed's log.
    pub log: FeedLog,
    /// Where the events go.
    pub sink: S,
    /// When events are due.
    pub schedule: Schedule,
    /// The clock of due times.
    pub stopwatch: W,
    /// Packets, or messages of a raw file, after which the input ends.
    pub packet_count_max: u64,
    /// Whether the input breaks off at its end: what would still come of it is left open.
    pub is_cut: bool,
    /// Packets, or messages of a raw file, taken so far.
    pub packet_count: u64,
    /// Raised to end the input early.
    pub stop_input: StopFlag,
    /// For the progress bar.
    pub progress: Arc<FeedProgress>,
    /// Why reading ended early.
    pub error: Option<SourceError>,
    /// Set when the input has ended.
    pub is_done: bool,
    /// Events that are not handed over yet.
    pub batch: Batch,
}

/// Packets that the feed role takes in one turn at most.
const PACKETS_PER_TURN_MAX: usize = 64;

/// Waits for due times, notes events, and passes them on.
struct Paced<'a, S, W> {
    log: &'a mut FeedLog,
    batch: &'a mut Batch,
    sink: &'a mut S,
    schedule: &'a Schedule,
    stopwatch: &'a W,
    /// Whether somebody waits for each event: none is held back.
    is_live: bool,
}

impl<S: EventSink, W: Stopwatch> Sink<MarketEvent> for Paced<'_, S, W> {
    #[inline]
    fn push(&mut self, event: MarketEvent) -> Result<(), Full<MarketEvent>> {
        let index = self.log.event_count();
        if self.schedule.is_timed() {
            if self.schedule.is_to_begin(event.recv_time) {
                self.schedule.begin(self.stopwatch.start(), index, event.recv_time);
            }
            if let Some(due) = self.schedule.due(index, event.recv_time) {
                wait_until(due, self.stopwatch, || self.sink.idle());
            }
        }
        if self.is_live || self.schedule.is_timed() {
            // Somebody waits for it: it is noted when what it leads to has left.
            self.sink.push(event)?;
            self.log.on_event(&event);
            return Ok(());
        }
        self.log.on_event(&event);
        self.batch.add(&event, self.sink);
        Ok(())
    }
}

impl<I: EventInput, S: EventSink, W: Stopwatch + Send> FeedRole<I, S, W> {
    fn end(&mut self) {
        if self.is_cut {
            self.batch.flush(&mut self.sink);
            self.note_input();
            self.log.checkpoint();
            self.sink.cut_input();
            self.is_done = true;
            return;
        }
        // What still waits for missing messages makes no orders any more.
        self.sink.stop();
        let (log, schedule, stopwatch) = (&mut self.log, &self.schedule, &self.stopwatch);
        let (sink, batch) = (&mut self.sink, &mut self.batch);
        self.input.finish(&mut Paced { log, batch, sink, schedule, stopwatch, is_live: I::IS_LIVE });
        self.batch.flush(&mut self.sink);
        self.note_input();
        self.log.checkpoint();
        self.sink.end_input();
        self.input.conclude();
        self.is_done = true;
    }

    fn note_input(&mut self) {
        self.log.set_input(self.input.offset(), self.input.message_count());
    }

    fn publish_progress(&self) {
        let (read_len, total_len) = self.input.progress();
        self.progress.event_count.store(self.log.event_count(), Ordering::Relaxed);
        self.progress.read_len.store(read_len, Ordering::Relaxed);
        self.progress.total_len.store(total_len, Ordering::Relaxed);
    }
}

impl<I: EventInput, S: EventSink, W: Stopwatch + Send> Role for FeedRole<I, S, W> {
    fn name(&self) -> &str {
        "feed"
    }

    fn duty_cycle(&mut self) -> usize {
        if self.is_done {
            return 0;
        }
        let mut done = 0;
        let mut has_ended = self.stop_input.is_requested() || self.log.has_failed();
        has_ended |= self.packet_count >= self.packet_count_max;
        while done < PACKETS_PER_TURN_MAX && !has_ended {
            if self.log.is_checkpoint_near() {
                self.note_input();
            }
            let (log, schedule, stopwatch) = (&mut self.log, &self.schedule, &self.stopwatch);
            let (batch, sink, is_live) = (&mut self.batch, &mut self.sink, I::IS_LIVE);
            let mut paced = Paced { log, batch, sink, schedule, stopwatch, is_live };
            match self.input.step(&mut paced) {
                Ok(Taken::Some) => {
                    done += 1;
                    self.packet_count += 1;
                }
                Ok(Taken::Nothing) => break,
                Ok(Taken::End) => has_ended = true,
                Err(error) => {
                    self.error = Some(error);
                    has_ended = true;
                }
            }
            has_ended |= self.packet_count >= self.packet_count_max;
        }
        self.batch.flush(&mut self.sink);
        if done > 0 || has_ended {
            self.publish_progress();
        }
        if has_ended {
            self.end();
        } else if done == 0 {
            self.sink.idle();
        } else {
            self.sink.turn_end();
        }
        done
    }

    fn is_finished(&self) -> bool {
        self.is_done
    }
}
