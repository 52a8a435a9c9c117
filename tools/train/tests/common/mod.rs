//! A seeded dataset with a signal to find: two regimes, a hidden factor that moves returns, and features that show it.
use peregrine_dataset::{Dataset, DatasetMeta, Sequence};
use peregrine_model::{Horizon, HorizonUnit, Observations};
use peregrine_train::TrainConfig;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn normal(rng: &mut ChaCha8Rng) -> f64 {
    (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0
}

/// `rows` per sequence; D 16, horizons 1 and 5 bars.
pub(crate) fn dataset(seed: u64, sequences: usize, rows: usize) -> Dataset {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let horizons = [1_usize, 5];
    let horizon = |count: &usize| Horizon { count: u32::try_from(*count).unwrap(), unit: HorizonUnit::Bars };
    let meta = DatasetMeta {
        observations: Observations::Bars,
        features: (0..16).map(|index| format!("feature_{index}")).collect(),
        feature_hash: "generated".to_owned(),
        context: Vec::new(),
        horizons: horizons.iter().map(horizon).collect(),
        sources: Vec::new(),
        sha256: format!("{seed:064x}"),
    };
    let mut all = Vec::new();
    for sequence in 0..sequences {
        let (mut factor, mut regime) = (0.0, 0);
        let (mut features, mut step_returns) = (Vec::new(), Vec::new());
        for _ in 0..rows {
            if rng.random::<f64>() < 0.01 {
                regime = 1 - regime;
            }
            let volatility = [0.005, 0.02][regime];
            factor = 0.9 * factor + 0.4 * normal(&mut rng);
            step_returns.push(volatility * (0.4 * factor + normal(&mut rng)));
            for index in 0..16_u32 {
                let loading = f64::from(index % 4) / 3.0;
                let level = if regime == 0 { -1.0 } else { 1.0 };
                let x = loading * factor + (1.0 - loading) * level + 0.3 * normal(&mut rng);
                features.push(x as f32);
            }
        }
        let mut returns = Vec::new();
        for row in 0..rows {
            for horizon in horizons {
                // The return of the next rows: known only where the future is in the data.
                let next = step_returns.get(row + 1..row + 1 + horizon);
                returns.push(next.map_or(f32::NAN, |next| next.iter().sum::<f64>() as f32));
            }
        }
        let start = i64::try_from(sequence * rows).unwrap();
        all.push(Sequence {
            instrument: format!("SYM{sequence}"),
            time_ns: (0..i64::try_from(rows).unwrap()).map(|row| (start + row) * 86_400_000_000_000).collect(),
            features,
            returns,
            half_spread: vec![0.0; rows],
            context: Vec::new(),
        });
    }
    Dataset { meta, sequences: all }
}

/// A short run of size nano.
pub(crate) fn config(epochs: u32) -> TrainConfig {
    let text = format!(
        r#"
        seed = 7
        [optimizer]
        learning_rate = 3e-3
        learning_rate_last = 3e-4
        weight_decay = 1e-4
        gradient_norm_max = 1.0
        [schedule]
        epochs_max = {epochs}
        patience = 12
        checkpoint_steps = 3
        threads = 1
        [world]
        size = "nano"
        lanes = 8
        chunk_rows = 16
        burn_in_rows = 16
        return_clip = 10.0
        [world.loss]
        reconstruction = 8.0
        kl = 0.5
        free_nats = 1.0
        kl_balance = 0.8
        return_nll = 2.0
        direction = 1.0
        [world.regimes]
        count_min = 2
        count_max = 3
        sample_rows = 1000
        distill_steps = 50
        [world.controller]
        steps = 20
        batch = 32
        imagined_rows = 8
        learning_rate = 1e-2
        fee_bps_max = 1.0
        half_spread_bps = 1.0
        spread_paid = 1.0
        risk_aversion = 0.1
        "#
    );
    TrainConfig::from_toml(&text).unwrap()
}
