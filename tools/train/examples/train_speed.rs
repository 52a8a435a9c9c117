//! Prints the median seconds of a training step: `train_speed SIZE LANES CHUNK_ROWS STEPS THREADS`.
//! `scripts/train_speed.py` runs it beside PyTorch.
#![expect(clippy::print_stdout, reason = "a program's result")]

use peregrine_model::Size;
use peregrine_train::speed::{StepShape, seconds_per_step};

fn main() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [size, lanes, chunk_rows, steps, threads] = arguments.as_slice() else {
        return Err("train_speed SIZE LANES CHUNK_ROWS STEPS THREADS".to_owned());
    };
    let size =
        Size::ALL.into_iter().find(|known| known.name() == size).ok_or("SIZE is nano, micro, small or medium")?;
    let number = |text: &str| text.parse::<usize>().map_err(|error| format!("{text}: {error}"));
    let (lanes, chunk_rows, threads) = (number(lanes)?, number(chunk_rows)?, number(threads)?);
    let shape = StepShape { size, horizons: 4, lanes, chunk_rows, threads };
    let mut seconds = seconds_per_step(shape, number(steps)?);
    seconds.sort_by(f64::total_cmp);
    let median = seconds.get(seconds.len() / 2).copied().ok_or("STEPS must be 1 or more")?;
    println!("{median}");
    Ok(())
}
