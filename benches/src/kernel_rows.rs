//! What is measured of the kernel: split steps by size and precision, many instruments, M1, LSTMs, sparse events.

use std::time::{Duration, Instant};

use peregrine_model::{Backend, Kernel, LatentStore, Precision, Size};

use crate::BenchError;
use crate::networks::{LSTM_004, LSTM_A, LSTM_A_WINDOW, M1, M1_INPUTS, M1Tensors, lstm};
use crate::percentiles::{Measurement, Timer};
use crate::replay::{Network, wandering_inputs};

/// Instruments of the rows about many.
const INSTRUMENT_COUNT: usize = 64;
/// Idleness before a call of the rows about sparse events, and between two warm steps.
const IDLE: Duration = Duration::from_millis(1);
const WARM_INTERVAL: Duration = Duration::from_micros(50);

/// Everything about the kernel, with so many calls a row.
///
/// # Errors
/// What the seeded models say of themselves.
pub fn kernel_rows(backend: Backend, count: usize) -> Result<Vec<Measurement<'static>>, BenchError> {
    let mut rows = Vec::new();
    for size in [Size::Micro, Size::Small] {
        for precision in Precision::ALL {
            rows.extend(split_rows(size, precision, backend, count)?);
        }
    }
    for precision in Precision::ALL {
        rows.extend(many_rows(precision, backend, count / 200)?);
    }
    for precision in Precision::ALL {
        rows.extend(m1_row(precision, backend, count)?);
    }
    for (name, widths) in [("LSTM_A", LSTM_A), ("LSTM of source 004", LSTM_004)] {
        for precision in Precision::ALL {
            rows.extend(lstm_rows(name, widths, precision, (backend, count))?);
        }
    }
    rows.extend(sparse_rows(backend, count.min(300))?);
    Ok(rows)
}

/// `observe` with an `advance` before each call, so that its weights come from where `advance` left them; `advance`
/// likewise; and both back to back.
///
/// # Errors
/// What the seeded model says of itself.
pub fn split_rows(
    size: Size,
    precision: Precision,
    backend: Backend,
    count: usize,
) -> Result<Vec<Measurement<'static>>, BenchError> {
    let inputs = wandering_inputs(size.d());
    let mut rows = Vec::new();
    for call in ["observe", "advance", "advance and observe"] {
        let Some(mut network) = Network::with_precision(size, precision, backend, 1)? else { return Ok(Vec::new()) };
        let inputs = inputs.clone();
        let name = format!("{call}, {}, {}, {backend:?}", size.name(), precision.name());
        rows.push(Measurement::new(&name, 1, move |timer| {
            let mut spans = Vec::with_capacity(count + count / 10);
            for x in inputs.iter().cycle().take(count + count / 10) {
                match call {
                    "observe" => network.advance(0),
                    "advance" => network.observe(0, x),
                    _ => {}
                }
                let start = timer.ticks();
                if call != "observe" {
                    network.advance(0);
                }
                if call != "advance" {
                    network.observe(0, x);
                }
                spans.push(timer.nanos_since(start));
            }
            assert!(network.heads.horizon_count > 0 && network.heads.action.abs() <= 1.0);
            spans.drain(..count / 10);
            spans
        }));
    }
    Ok(rows)
}

/// `advance` of 64 instruments, one after the other and together: nanoseconds per instrument.
fn many_rows(precision: Precision, backend: Backend, count: usize) -> Result<Vec<Measurement<'static>>, BenchError> {
    let mut rows = Vec::new();
    for size in [Size::Micro, Size::Small] {
        for way in ["one by one", "together"] {
            let Some(network) = Network::with_precision(size, precision, backend, 1)? else { return Ok(Vec::new()) };
            let Network { kernel, model, .. } = network;
            let mut store = LatentStore::new(&model, INSTRUMENT_COUNT);
            let all: Vec<usize> = (0..INSTRUMENT_COUNT).collect();
            let name = format!("advance of 64 instruments {way}, {}, {}", size.name(), precision.name());
            rows.push(Measurement::new(&name, INSTRUMENT_COUNT, move |timer| {
                let pass = |store: &mut LatentStore| match way {
                    "together" => kernel.advance_many(&model, store, &all),
                    _ => all.iter().for_each(|instrument| {
                        if let Some(mut latent) = store.latent_mut(*instrument) {
                            kernel.advance(&model, &mut latent);
                        }
                    }),
                };
                spans_of(timer, count, || pass(&mut store), INSTRUMENT_COUNT)
            }));
        }
    }
    Ok(rows)
}

fn spans_of(timer: &Timer, count: usize, mut call: impl FnMut(), calls_per_span: usize) -> Vec<f64> {
    (0..count / 10).for_each(|_| call());
    let mut spans = Vec::with_capacity(count);
    for _ in 0..count {
        let start = timer.ticks();
        call();
        spans.push(timer.nanos_since(start) / calls_per_span as f64);
    }
    spans
}

fn m1_row(precision: Precision, backend: Backend, count: usize) -> Result<Option<Measurement<'static>>, BenchError> {
    let Some(kernel) = Kernel::new(backend) else { return Ok(None) };
    let mut network = M1::new(&M1Tensors::seeded(), kernel, precision)?;
    let inputs = wandering_inputs(M1_INPUTS);
    let name = format!("M1, whole step, {}", precision.name());
    Ok(Some(Measurement::new(&name, 1, move |timer| {
        let mut turn = inputs.iter().cycle();
        let spans = spans_of(timer, count, || assert!(turn.next().is_some_and(|x| network.step(x).is_ok())), 1);
        assert!(network.output().all(f32::is_finite));
        spans
    })))
}

/// A streaming step, split and whole, and for LSTM_A the whole window from empty states.
fn lstm_rows(
    name: &str,
    widths: (usize, usize),
    precision: Precision,
    (backend, count): (Backend, usize),
) -> Result<Vec<Measurement<'static>>, BenchError> {
    let Some(kernel) = Kernel::new(backend) else { return Ok(Vec::new()) };
    let inputs = wandering_inputs(widths.0);
    let mut rows = Vec::new();
    for call in ["after the new input", "before the next input", "whole streaming step"] {
        let (mut network, inputs) = (lstm(widths, precision)?, inputs.clone());
        let name = format!("{name}, {call}, {}", precision.name());
        rows.push(Measurement::new(&name, 1, move |timer| {
            let (mut spans, mut sum) = (Vec::with_capacity(count + count / 10), 0.0);
            for x in inputs.iter().cycle().take(count + count / 10) {
                let mut start = timer.ticks();
                sum += network.observe(&kernel, x).unwrap_or(f32::NAN);
                if call == "after the new input" {
                    spans.push(timer.nanos_since(start));
                } else if call == "before the next input" {
                    start = timer.ticks();
                }
                network.advance(&kernel);
                if call != "after the new input" {
                    spans.push(timer.nanos_since(start));
                }
            }
            assert!(sum.is_finite());
            spans.drain(..count / 10);
            spans
        }));
    }
    if widths == LSTM_A {
        let mut network = lstm(widths, precision)?;
        let name = format!("{name}, whole window of {LSTM_A_WINDOW} steps, {}", precision.name());
        rows.push(Measurement::new(&name, 1, move |timer| {
            let (mut turn, mut sum) = (inputs.windows(LSTM_A_WINDOW).cycle(), 0.0);
            let mut window = || {
                network.reset();
                for x in turn.next().unwrap_or_default() {
                    sum += network.observe(&kernel, x).unwrap_or(f32::NAN);
                }
            };
            let spans = spans_of(timer, count / 50, &mut window, 1);
            assert!(sum.is_finite());
            spans
        }));
    }
    Ok(rows)
}

/// A decision after 1 ms without events, the core spinning meanwhile as a polling role does: as it is, and with a step on
/// scratch state every 50 µs.
fn sparse_rows(backend: Backend, count: usize) -> Result<Vec<Measurement<'static>>, BenchError> {
    let mut rows = Vec::new();
    for size in [Size::Micro, Size::Small] {
        for is_warm in [false, true] {
            let Some(mut network) = Network::with_precision(size, Precision::F32, backend, 1)? else {
                return Ok(Vec::new());
            };
            let mut scratch = LatentStore::new(&network.model, 1);
            let inputs = wandering_inputs(size.d());
            let label = if is_warm { ", kept warm" } else { "" };
            let name = format!("observe after 1 ms idle{label}, {}, f32", size.name());
            rows.push(Measurement::new(&name, 1, move |timer| {
                let mut spans = Vec::with_capacity(count);
                for x in inputs.iter().cycle().take(count) {
                    network.advance(0);
                    idle(|| {
                        if is_warm {
                            network.kernel.warm(&network.model, &mut scratch);
                        }
                    });
                    let start = timer.ticks();
                    network.observe(0, x);
                    spans.push(timer.nanos_since(start));
                }
                spans
            }));
        }
    }
    Ok(rows)
}

/// Spins for 1 ms and calls `now_and_then` every 50 µs.
fn idle(mut now_and_then: impl FnMut()) {
    let begin = Instant::now();
    let mut last = begin;
    while begin.elapsed() < IDLE {
        if last.elapsed() >= WARM_INTERVAL {
            now_and_then();
            last = Instant::now();
        }
        std::hint::spin_loop();
    }
}
