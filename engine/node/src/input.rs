//! The input of a replay; datasets are built from the same one (`peregrine_source::market`).

pub use peregrine_source::market::{Feed, Input, InputError, InputPlan, open_merged};
