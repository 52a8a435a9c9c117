//! LSTM_A of STAC-ML beside ONNX Runtime: a streaming step with its states carried, and the whole window from empty states.

use peregrine_benches::networks::{LSTM_A, LSTM_A_WINDOW, Numbers, lstm};
use peregrine_benches::percentiles::Timer;
use peregrine_model::{Backend, Kernel, Precision};

use super::onnx::OnnxLstm;
use super::{Failure, median};
use crate::{Contender, compare};

/// Median nanoseconds of `count` calls on rows of `inputs`, `len` rows a call.
fn pass(
    inputs: &[Vec<f32>],
    (len, count): (usize, usize),
    timer: &Timer,
    mut run: impl FnMut(&[Vec<f32>]) -> f32,
) -> f64 {
    let mut spans = Vec::with_capacity(count);
    for rows in inputs.windows(len).cycle().take(count) {
        let start = timer.ticks();
        let output = run(rows);
        spans.push(timer.nanos_since(start));
        assert!(output.is_finite());
    }
    median(spans)
}

/// Compares, and prints the tables and how far the outputs lie apart.
///
/// # Errors
/// What a runtime says while it builds or runs the network.
pub fn run(timer: &Timer) -> Result<(), Failure> {
    let mut numbers = Numbers::seeded(7);
    let inputs: Vec<Vec<f32>> = (0..256).map(|_| numbers.take(LSTM_A.0, 2.0)).collect();
    let inputs = inputs.as_slice();
    let kernel = Kernel::new(Backend::best()).ok_or("the best backend is there")?;
    for (title, len, count) in [("one streaming step", 1, 2_000), ("whole window of 50 steps", LSTM_A_WINDOW, 400)] {
        let Some(mut theirs) = OnnxLstm::new(len)? else { return Ok(()) };
        let is_window = len > 1;
        let mut worst = 0.0_f32;
        let mut network = lstm(LSTM_A, Precision::F32)?;
        for rows in inputs.windows(len).take(50) {
            if is_window {
                network.reset();
                theirs.reset();
            }
            let ours = rows
                .iter()
                .try_fold(f32::NAN, |_, x| network.observe(&kernel, x))
                .map_err(|error| format!("{error:?}"))?;
            worst = worst.max((ours - theirs.run(rows.iter())?).abs());
        }
        let mut contenders = Vec::new();
        for (name, precision) in [
            ("Peregrine, f32", Precision::F32),
            ("Peregrine, 16-bit weights", Precision::Int16),
            ("Peregrine, 8-bit weights", Precision::Int8),
        ] {
            let mut network = lstm(LSTM_A, precision)?;
            let kernel = &kernel;
            contenders.push(Contender::new(name, move |timer| {
                pass(inputs, (len, count), timer, |rows| {
                    if is_window {
                        network.reset();
                    }
                    let output = rows.iter().try_fold(f32::NAN, |_, x| network.observe(kernel, x)).unwrap_or(f32::NAN);
                    if !is_window {
                        network.advance(kernel);
                    }
                    output
                })
            }));
        }
        contenders.push(Contender::new("ONNX Runtime, C API", move |timer| {
            pass(inputs, (len, count), timer, |rows| {
                if is_window {
                    theirs.reset();
                }
                theirs.run(rows.iter()).unwrap_or(f32::NAN)
            })
        }));
        compare(&format!("LSTM_A, {title}"), "goal for the window 2", timer, &mut contenders);
        println!("\nLargest difference of the output from ours in f32 over 50 calls: {worst:.1e}.");
    }
    Ok(())
}
