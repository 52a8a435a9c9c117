//! The LSTM that is served: split steps are whole steps, backends agree to the bit, and narrow weights stay near.

use peregrine_model::layers::LstmClassifier;
use peregrine_model::reference::{Cell, linear, sigmoid};
use peregrine_model::{Backend, Kernel, NonFinite, Precision, Tensor, Tensors};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn uniform(rng: &mut ChaCha8Rng, bound: f32) -> f32 {
    ((rng.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0) * bound
}

/// PyTorch's initialisation: uniform within 1/√hidden.
fn tensors(inputs: usize, hidden: usize, layers: usize) -> Tensors {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let bound = (hidden as f32).sqrt().recip();
    let mut tensors = Tensors::default();
    let mut add = |name: String, shape: Vec<usize>| {
        let data = (0..shape.iter().product()).map(|_| uniform(&mut rng, bound)).collect();
        tensors.0.insert(name, Tensor { shape, data });
    };
    for layer in 0..layers {
        let width = if layer == 0 { inputs } else { hidden };
        add(format!("lstm.weight_ih_l{layer}"), vec![4 * hidden, width]);
        add(format!("lstm.weight_hh_l{layer}"), vec![4 * hidden, hidden]);
        add(format!("lstm.bias_ih_l{layer}"), vec![4 * hidden]);
        add(format!("lstm.bias_hh_l{layer}"), vec![4 * hidden]);
    }
    add("fc.weight".to_owned(), vec![1, hidden]);
    add("fc.bias".to_owned(), vec![1]);
    tensors
}

fn inputs(width: usize, steps: usize) -> Vec<Vec<f32>> {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    (0..steps).map(|_| (0..width).map(|_| uniform(&mut rng, 2.0)).collect()).collect()
}

/// The outputs before the sigmoid by the f64 reference.
fn reference(tensors: &Tensors, layers: usize, inputs: &[Vec<f32>]) -> Vec<f64> {
    let get = |name: &str| -> Vec<f64> { tensors.0[name].data.iter().copied().map(f64::from).collect() };
    let cell = |layer: usize| Cell {
        weight_ih: get(&format!("lstm.weight_ih_l{layer}")),
        weight_hh: get(&format!("lstm.weight_hh_l{layer}")),
        bias_ih: get(&format!("lstm.bias_ih_l{layer}")),
        bias_hh: get(&format!("lstm.bias_hh_l{layer}")),
    };
    let cells: Vec<Cell> = (0..layers).map(cell).collect();
    let hidden = tensors.0["fc.weight"].shape[1];
    let mut states = vec![(vec![0.0; hidden], vec![0.0; hidden]); layers];
    let mut outputs = Vec::new();
    for x in inputs {
        let mut x: Vec<f64> = x.iter().copied().map(f64::from).collect();
        for (cell, state) in cells.iter().zip(&mut states) {
            *state = cell.lstm(&x, &state.0, &state.1);
            x.clone_from(&state.0);
        }
        outputs.extend(linear(&get("fc.weight"), &get("fc.bias"), &x));
    }
    outputs
}

#[test]
fn split_steps_follow_the_reference_on_every_backend_and_precision() {
    // The LSTM of source 004 and that of STAC-ML's LSTM_A, and widths that fill no block.
    for (width, hidden, layers, steps) in [(8, 64, 2, 60), (100, 100, 2, 50), (5, 7, 3, 30)] {
        let (tensors, inputs) = (tensors(width, hidden, layers), inputs(width, steps));
        let expected = reference(&tensors, layers, &inputs);
        for (precision, bound) in [(Precision::F32, 2e-6), (Precision::Int16, 1e-3), (Precision::Int8, 2e-2)] {
            let mut first: Option<Vec<u32>> = None;
            for kernel in Backend::ALL.into_iter().filter_map(Kernel::new) {
                let mut network = LstmClassifier::with_precision(&tensors, precision).unwrap();
                let mut whole = network.clone();
                let mut outputs = Vec::new();
                for (step, x) in inputs.iter().enumerate() {
                    let output = network.observe(&kernel, x).unwrap();
                    // One `advance` left out now and then, one made twice: nothing changes.
                    (0..step % 3).for_each(|_| network.advance(&kernel));
                    whole.step(&kernel, x).unwrap();
                    assert_eq!(network.state(layers - 1), whole.state(layers - 1));
                    let probability = whole.probability(&kernel).unwrap();
                    assert!((f64::from(probability) - sigmoid(f64::from(output))).abs() < 1e-6);
                    outputs.push(output);
                }
                let bits: Vec<u32> = outputs.iter().map(|x| x.to_bits()).collect();
                assert_eq!(*first.get_or_insert(bits.clone()), bits, "{precision:?} {:?}", kernel.backend());
                let error = outputs.iter().zip(&expected).map(|(got, expected)| (f64::from(*got) - expected).abs());
                let worst = error.fold(0.0, f64::max);
                assert!(worst <= bound, "{width} {hidden} {precision:?}: {worst}");
            }
        }
    }
}

#[test]
fn a_bad_input_changes_nothing_and_a_reset_begins_anew() {
    let (tensors, inputs) = (tensors(8, 16, 2), inputs(8, 4));
    let kernel = Kernel::new(Backend::best()).unwrap();
    let mut network = LstmClassifier::new(&tensors).unwrap();
    let first = network.observe(&kernel, &inputs[0]).unwrap();
    let second = network.clone().observe(&kernel, &inputs[1]).unwrap();
    let mut bad = inputs[1].clone();
    bad[3] = f32::NAN;
    assert_eq!(network.observe(&kernel, &bad), Err(NonFinite::Feature { index: 3 }));
    assert_eq!(network.observe(&kernel, &inputs[1][..5]), Err(NonFinite::Feature { index: 5 }));
    assert_eq!(network.observe(&kernel, &[0.0; 9]), Err(NonFinite::Feature { index: 8 }));
    assert_eq!(network.observe(&kernel, &inputs[1]), Ok(second));
    network.reset();
    assert_eq!(network.observe(&kernel, &inputs[0]), Ok(first));
}

#[test]
fn an_overflow_gives_no_output_and_begins_anew() {
    let mut tensors = tensors(8, 16, 1);
    let fc = tensors.0.get_mut("fc.weight").unwrap();
    fc.data.iter_mut().for_each(|w| *w = 3e38_f32.copysign(*w));
    let kernel = Kernel::new(Backend::best()).unwrap();
    let mut network = LstmClassifier::new(&tensors).unwrap();
    let fresh = network.clone();
    let outcome = (0..50).map(|step| network.observe(&kernel, &[50.0 + step as f32; 8])).find(Result::is_err);
    assert_eq!(outcome, Some(Err(NonFinite::Output)));
    assert_eq!(network.state(0), fresh.state(0));
}
