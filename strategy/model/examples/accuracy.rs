//! The accuracy gate of narrow weights on one model file:
//! `cargo run --release -p peregrine-model --example accuracy -- MODEL.safetensors [FEATURES.f32] [THRESHOLD HYSTERESIS]`.
//!
//! FEATURES.f32 holds raw features of held-out data, little-endian, observation after observation; without it the
//! sequences are seeded walks in the model's own scale. Exit status 1 when a precision is refused.
#![expect(clippy::print_stdout, reason = "a report is what the command is for")]

use std::error::Error;
use std::process::ExitCode;

use peregrine_model::{Backend, DecisionRule, Kernel, Model, Precision, accuracy_gate, seeded_walk};

/// Observations of the seeded walk.
const WALK_LEN: usize = 100_000;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let file = args.first().ok_or("give a model file")?;
    let exact = Model::load(&std::fs::read(file).map_err(|error| format!("{file}: {error}"))?)?;
    let features = match args.get(1) {
        Some(path) => {
            let bytes = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
            bytes.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)).collect()
        }
        None => seeded_walk(&exact, WALK_LEN),
    };
    let number = |index: usize, default: f32| args.get(index).map_or(Ok(default), |text| text.parse());
    let rule = DecisionRule {
        action_threshold: number(2, 0.3)?,
        action_hysteresis: number(3, 0.1)?,
        half_spread_bps: 0.5,
        fee_bps: 0.3,
    };
    let kernel = Kernel::new(Backend::best()).ok_or("the best backend is one that this machine has")?;
    let mut is_refused = false;
    for precision in [Precision::Int16, Precision::Int8] {
        let narrow = exact.quantise(precision)?;
        let report = accuracy_gate(&kernel, (&exact, &narrow), &[&features], &rule)?;
        println!(
            "{}: {:.4} % of {} decisions flip",
            precision.name(),
            100.0 * report.flip_share(),
            report.decision_count
        );
        println!("{report:#?}");
        if let Err(error) = report.verdict() {
            is_refused = true;
            println!("refused: {error}");
        }
    }
    Ok(if is_refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
