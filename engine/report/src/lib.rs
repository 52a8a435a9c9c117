//! What people read: tables, a self-contained HTML page and JSON from histograms and logs.
//!
//! The wiring fills a [`RunReport`] (plain structs, units in the names) and shows it with [`to_terminal`],
//! [`to_json`] and [`to_html`]. [`table::Table`] and [`mod@format`] serve every command that prints a table.
//! [`STYLE`], [`plot::Frame`] and [`pretty`] serve every other report that is a page or JSON.
//! [`order_story`], [`log_summary`], [`latency_triples`] and [`paper_report`] read the event log.
//!
//! Money, prices and quantities stay integers up to the moment they are written; JSON carries money and prices as
//! decimal strings, never as floats. Floats are used for shares, quantiles and pixels alone.

pub mod format;
mod html;
mod json;
mod latency;
mod paper;
pub mod plot;
mod run;
mod run_plot;
mod story;
mod summary;
pub mod table;
mod terminal;
mod triples;

pub use html::{STYLE, to_html};
pub use json::{REPORT_FORMAT_VERSION, pretty, to_json};
pub use latency::{LatencyBucket, LatencyPoint, LatencyRow};
pub use paper::{
    DriftPart, DriftRow, FillClass, FillPart, HitRate, LatencyPart, PaperFacts, PaperReport, PartText, RegimeChange,
    RegimePart, RegimeRow, paper_report,
};
pub use run::*;
pub use story::{
    BestLevel, Cause, DecisionStory, FeatureValue, ModelOutputs, OrderStory, Reason, StepStory, StoryError, order_story,
};
pub use summary::{KindCount, LogSummary, log_summary};
pub use terminal::to_terminal;
pub use triples::{ClockCheck, LatencyTriple, LatencyTriples, LeftOut, WayFigures, latency_triples};
