//! `advance_many` gives the bits of one `advance` after the other: every size, precision and backend, any list of
//! instruments.
//!
//! Negative control (tried, and failed here): an instrument's inputs taken from another.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as it does")]

use peregrine_model::{Backend, FeatureSet, Kernel, LatentStore, Model, ModelMeta, PositionInput, Precision, Size};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn uniform(rng: &mut ChaCha8Rng) -> f32 {
    (rng.next_u32() >> 8) as f32 / (1 << 22) as f32 - 2.0
}

fn model(size: Size, precision: Precision) -> Model {
    let names = (0..size.d()).map(|index| format!("feature_{index}")).collect();
    let meta = ModelMeta::untrained(size, 3, FeatureSet::unscaled(names, "test-definition"));
    Model::seeded(&meta).unwrap().quantise(precision).unwrap()
}

/// A store whose instruments have seen different things.
fn store(kernel: &Kernel, model: &Model, count: usize) -> LatentStore {
    let mut store = LatentStore::new(model, count);
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    for _ in 0..3 {
        for instrument in 0..count {
            let x: Vec<f32> = (0..model.size().d()).map(|_| uniform(&mut rng)).collect();
            let mut latent = store.latent_mut(instrument).unwrap();
            kernel.observe(model, &mut latent, &x, PositionInput::default()).unwrap();
            kernel.advance(model, &mut latent);
        }
    }
    store
}

fn bytes(store: &LatentStore) -> Vec<u8> {
    store.bytes().collect()
}

#[test]
fn many_at_once_are_the_same_bits_as_one_by_one() {
    let lists: [&[usize]; 8] = [
        &[],
        &[4],
        &[3, 2, 1, 0],
        &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
        &[10, 0, 9, 1, 8, 2, 7, 3],
        // Named twice within four: once after the other, as the list says.
        &[5, 5, 6, 7],
        &[1, 2, 3, 4, 1, 2, 3, 4],
        // There is no instrument 11 or 900.
        &[0, 900, 1, 11],
    ];
    for kernel in Backend::ALL.into_iter().filter_map(Kernel::new) {
        for size in Size::ALL {
            for precision in Precision::ALL {
                let model = model(size, precision);
                let start = store(&kernel, &model, 11);
                for list in lists {
                    let (mut together, mut alone) = (start.clone(), start.clone());
                    kernel.advance_many(&model, &mut together, list);
                    for instrument in list {
                        if let Some(mut latent) = alone.latent_mut(*instrument) {
                            kernel.advance(&model, &mut latent);
                        }
                    }
                    let is_same = bytes(&together) == bytes(&alone);
                    assert!(is_same, "{size:?} {precision:?} {:?} {list:?}", kernel.backend());
                    assert_eq!(bytes(&together) == bytes(&start), list.is_empty());
                }
            }
        }
    }
}

#[test]
fn a_store_of_another_size_is_left_alone() {
    let (nano, micro) = (model(Size::Nano, Precision::F32), model(Size::Micro, Precision::F32));
    for kernel in Backend::ALL.into_iter().filter_map(Kernel::new) {
        let mut other = LatentStore::new(&nano, 5);
        kernel.advance_many(&micro, &mut other, &[0, 1, 2, 3, 4]);
        assert_eq!(bytes(&other), bytes(&LatentStore::new(&nano, 5)));
    }
}
