//! A market whose truth is known, and a model made by hand that knows it: eight factors, each an AR(1) or a regime, seen
//! through sixteen features; the first factor moves the return to come. Every part can be broken by itself.

use std::collections::BTreeMap;

use peregrine_dataset::{Dataset, DatasetMeta, Sequence, SourceDigest};
use peregrine_model::{
    FeatureSet, Horizon, HorizonUnit, ModelMeta, Size, Tensor, Tensors, Training, encode_safetensors,
};
use peregrine_stats::random::Generator;
use peregrine_validate::DiagnoseSettings;

pub(crate) const FACTORS: usize = 8;
pub(crate) const D: usize = 16;
/// Memory of each factor; the last one is the regime.
const MEMORY: [f64; FACTORS] = [0.9, 0.9, 0.95, 0.8, 0.85, 0.9, 0.6, 0.97];
/// Deviation of a return over one step, and the share of it that the first factor explains.
const SIGMA: f64 = 1e-3;
const SIGNAL: f64 = 0.3;
/// SiLU is nearly the identity from here on.
const LIFT: f32 = 20.0;

pub(crate) fn horizons() -> Vec<Horizon> {
    [1, 5].map(|count| Horizon { count, unit: HorizonUnit::Events }).to_vec()
}

pub(crate) fn names() -> Vec<String> {
    (0..D).map(|index| format!("feature_{index}")).collect()
}

/// What to break in the data.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Market {
    pub(crate) rows: usize,
    pub(crate) seed: u64,
    /// First row's time, in steps.
    pub(crate) start: i64,
    /// The first feature holds the return to come.
    pub(crate) leaks: bool,
    /// Rows in random order, times ascending.
    pub(crate) is_shuffled: bool,
    /// No signal in the returns.
    pub(crate) is_silent: bool,
    /// The ninth feature never changes.
    pub(crate) has_constant: bool,
}

/// The features of one state of the factors.
fn observe(factors: &[f64; FACTORS], generator: &mut Generator) -> Vec<f64> {
    let mut noisy = |value: f64| value + 0.1 * generator.normal();
    let mut x: Vec<f64> = factors.iter().map(|factor| noisy(*factor)).collect();
    x.extend((0..FACTORS).map(|i| noisy(0.6 * factors[i] + 0.8 * factors[(i + 3) % FACTORS])));
    x
}

#[expect(clippy::cast_possible_truncation, reason = "data are 32-bit floats")]
pub(crate) fn single(x: f64) -> f32 {
    x as f32
}

pub(crate) fn market(market: Market) -> Dataset {
    let mut generator = Generator::new(market.seed, "market");
    let (mut factors, mut regime) = ([0.0; FACTORS], 1.0);
    let (mut x, mut steps, mut context) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..market.rows {
        if generator.uniform() < 0.01 {
            regime = -regime;
        }
        for (factor, memory) in factors.iter_mut().zip(MEMORY).take(FACTORS - 1) {
            *factor = memory * *factor + (1.0 - memory * memory).sqrt() * generator.normal();
        }
        factors[FACTORS - 1] = 1.5 * regime + 0.5 * generator.normal();
        let signal = if market.is_silent { 0.0 } else { SIGNAL };
        let mut row = observe(&factors, &mut generator);
        if market.has_constant {
            row[8] = 0.25;
        }
        x.push(row);
        steps.push(SIGMA * (signal * factors[0] + (1.0 - SIGNAL * SIGNAL).sqrt() * generator.normal()));
        context.push([20.0 + 5.0 * factors[1] + 2.0 * generator.normal(), generator.normal()]);
    }
    let ahead = |row: usize, count: usize| steps.get(row..row + count).map_or(f64::NAN, |steps| steps.iter().sum());
    if market.leaks {
        for (row, x) in x.iter_mut().enumerate() {
            x[0] = steps[row] / SIGMA;
        }
    }
    let mut order: Vec<usize> = (0..market.rows).collect();
    if market.is_shuffled {
        order.sort_by_cached_key(|_| generator.index(usize::MAX));
    }
    let mut sequence = Sequence { instrument: "ABC".to_owned(), ..Sequence::default() };
    for (step, row) in order.into_iter().enumerate() {
        sequence.time_ns.push((market.start + i64::try_from(step).unwrap()) * 1_000_000_000);
        sequence.features.extend(x[row].iter().copied().map(single));
        sequence.returns.extend([ahead(row, 1), ahead(row, 5)].map(single));
        sequence.half_spread.push(1e-4);
        sequence.context.extend(context[row].map(single));
    }
    let source = SourceDigest { name: "made".to_owned(), sha256: "ab".repeat(32), bytes: 1 };
    let meta = DatasetMeta {
        observations: peregrine_model::Observations::Ticks,
        features: names(),
        feature_hash: "0123abcd".to_owned(),
        context: vec!["vix".to_owned(), "noise".to_owned()],
        horizons: horizons(),
        sources: vec![source],
        sha256: format!("{:064x}", market.seed + 1),
    };
    Dataset { meta, sequences: vec![sequence] }
}

/// What to break in the model.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Broken {
    /// The posterior knows one factor only.
    pub(crate) is_collapsed: bool,
    /// The encoder does not see these many of the first features' columns.
    pub(crate) blind_inputs: usize,
    /// The probability of an up-move is always this.
    pub(crate) up_always: Option<f32>,
    /// The logit of an up-move is this many times too large.
    pub(crate) up_factor: f32,
    /// The prior says zero whatever it has seen.
    pub(crate) has_no_dynamics: bool,
    /// Return weights that overflow.
    pub(crate) overflows: bool,
    /// The controller likes costs.
    pub(crate) likes_costs: bool,
    /// One regime always wins.
    pub(crate) has_one_regime: bool,
    /// Returns are expected to be what the first feature says.
    pub(crate) trusts_first: bool,
}

fn meta(training_sha256: &str) -> ModelMeta {
    let mut meta = ModelMeta::untrained(Size::Nano, 7, FeatureSet::unscaled(names(), "0123abcd"));
    meta.horizons = horizons();
    meta.regimes = vec!["calm".to_owned(), "stress".to_owned()];
    meta.training = Training::Trained;
    meta.training_data_sha256 = Some(training_sha256.to_owned());
    meta
}

/// Tensors of zeros that are filled cell by cell.
struct Builder(BTreeMap<String, Tensor>);

impl Builder {
    fn new(meta: &ModelMeta) -> Self {
        let (d, e, h, z) = (meta.d, meta.e, meta.h, meta.z);
        let (s, n, k) = (h + z, meta.horizons.len(), meta.regimes.len());
        let layers = [
            ("encoder.0", e, d),
            ("encoder.2", e, e),
            ("prior", 2 * z, h),
            ("posterior", 2 * z, h + e),
            ("return_mean", n, s),
            ("return_log_var", n, s),
            ("up", 1, s),
            ("regime", k, s),
            ("controller.0", 16, s + 3),
            ("controller.2", 1, 16),
            ("decoder.0", e, s),
            ("decoder.2", d, e),
        ];
        let mut tensors = BTreeMap::new();
        for (name, rows, columns) in layers {
            let zeros = |shape: Vec<usize>| Tensor { data: vec![0.0; shape.iter().product()], shape };
            tensors.insert(format!("{name}.weight"), zeros(vec![rows, columns]));
            tensors.insert(format!("{name}.bias"), zeros(vec![rows]));
        }
        for (name, shape) in [
            ("weight_ih", vec![3 * h, z]),
            ("weight_hh", vec![3 * h, h]),
            ("bias_ih", vec![3 * h]),
            ("bias_hh", vec![3 * h]),
        ] {
            tensors.insert(format!("gru.{name}"), Tensor { data: vec![0.0; shape.iter().product()], shape });
        }
        Self(tensors)
    }

    fn weight(&mut self, name: &str, row: usize, column: usize, value: f64) {
        let tensor = self.0.get_mut(name).unwrap();
        let columns = tensor.shape[1];
        tensor.data[row * columns + column] = single(value);
    }

    fn bias(&mut self, name: &str, row: usize, value: f64) {
        self.0.get_mut(name).unwrap().data[row] = single(value);
    }
}

/// The model that knows the truth, but for what is broken.
pub(crate) fn model(training_sha256: &str, broken: Broken) -> Vec<u8> {
    let meta = meta(training_sha256);
    let mut builder = Builder::new(&meta);
    let lift = f64::from(LIFT);
    for unit in 0..meta.e {
        if unit >= broken.blind_inputs {
            builder.weight("encoder.0.weight", unit, unit, 1.0);
        }
        builder.bias("encoder.0.bias", unit, lift);
        builder.weight("encoder.2.weight", unit, unit, 1.0);
    }
    latent(&mut builder, &meta, broken);
    heads(&mut builder, &meta, broken);
    controller(&mut builder, &meta, broken);
    encode_safetensors(&meta, &Tensors(builder.0)).unwrap()
}

fn latent(builder: &mut Builder, meta: &ModelMeta, broken: Broken) {
    let (h, z, lift) = (meta.h, meta.z, f64::from(LIFT));
    for (unit, known) in MEMORY.into_iter().enumerate() {
        let seen = if broken.is_collapsed { 0 } else { unit };
        // The mean of the two features that see the factor alone and mixed would be better; the plain one does.
        builder.weight("posterior.weight", unit, h + seen, 0.98);
        builder.weight("posterior.weight", unit, h + FACTORS + seen, 0.02);
        builder.bias("posterior.bias", unit, -lift);
        builder.bias("posterior.bias", z + unit, -4.0);
        let memory = if broken.has_no_dynamics { 0.0 } else { known };
        builder.weight("prior.weight", unit, unit, memory / 0.1);
        builder.bias("prior.bias", z + unit, (1.0 - known * known).ln());
    }
    for unit in 0..h {
        builder.bias("gru.bias_ih", h + unit, -30.0);
        builder.weight("gru.weight_ih", 2 * h + unit, unit % z, 0.1);
    }
    for unit in 0..meta.e {
        builder.weight("decoder.0.weight", unit, h + unit % z, 1.0);
        builder.bias("decoder.0.bias", unit, lift);
    }
    for factor in 0..FACTORS {
        let mixed = FACTORS + factor;
        builder.weight("decoder.2.weight", factor, factor, 1.0);
        builder.bias("decoder.2.bias", factor, -lift);
        builder.weight("decoder.2.weight", mixed, factor, 0.6);
        builder.weight("decoder.2.weight", mixed, (factor + 3) % FACTORS, 0.8);
        builder.bias("decoder.2.bias", mixed, -1.4 * lift);
    }
}

fn heads(builder: &mut Builder, meta: &ModelMeta, broken: Broken) {
    let first = meta.h;
    let noise = (1.0 - SIGNAL * SIGNAL).sqrt();
    let summed: f64 = (0..5).map(|step| MEMORY[0].powi(step)).sum();
    let scale = if broken.overflows { 1e30 } else { SIGMA };
    let signal = if broken.trusts_first { 1.0 } else { SIGNAL };
    builder.weight("return_mean.weight", 0, first, scale * signal);
    builder.weight("return_mean.weight", 1, first, scale * signal * summed);
    if broken.overflows {
        builder.weight("return_mean.weight", 0, first, 3e38);
    }
    builder.bias("return_log_var.bias", 0, (SIGMA * noise).powi(2).ln());
    builder.bias("return_log_var.bias", 1, (5.3 * SIGMA * SIGMA).ln());
    match broken.up_always {
        Some(probability) => builder.bias("up.bias", 0, f64::from((probability / (1.0 - probability)).ln())),
        None => {
            let factor = if broken.up_factor > 0.0 { f64::from(broken.up_factor) } else { 1.0 };
            builder.weight("up.weight", 0, first, 1.702 * SIGNAL / noise * factor);
        }
    }
    if broken.has_one_regime {
        builder.bias("regime.bias", 0, 5.0);
    } else {
        builder.weight("regime.weight", 0, first + FACTORS - 1, 2.0);
        builder.weight("regime.weight", 1, first + FACTORS - 1, -2.0);
    }
}

/// A band around the position held in which it does not trade; the band is as wide as the costs.
fn controller(builder: &mut Builder, meta: &ModelMeta, broken: Broken) {
    let (signal, position) = (meta.h, meta.h + meta.z);
    let cost = if broken.likes_costs { 3.0 } else { -3.0 };
    for (unit, sign) in [(0, 1.0), (1, -1.0)] {
        builder.weight("controller.0.weight", unit, position, sign);
        builder.weight("controller.2.weight", 0, unit, 1.098 * sign);
        builder.weight("controller.0.weight", 2 + unit, position, sign);
        builder.bias("controller.0.bias", 2 + unit, -0.5);
        builder.weight("controller.2.weight", 0, 2 + unit, 3.1 * sign);
        builder.weight("controller.0.weight", 4 + unit, signal, sign);
        builder.weight("controller.0.weight", 4 + unit, position, -1.098 * sign);
        builder.weight("controller.0.weight", 4 + unit, position + 1, cost);
        builder.weight("controller.0.weight", 4 + unit, position + 2, cost);
        builder.weight("controller.2.weight", 0, 4 + unit, sign);
    }
}

/// The shipped settings with smaller samples, so that a test takes a second.
pub(crate) fn settings() -> DiagnoseSettings {
    let mut settings = DiagnoseSettings::from_toml(include_str!("../../../../configs/train/diagnose.toml")).unwrap();
    settings.sample.sample_rows_max = 800;
    settings.sample.origins_max = 500;
    settings.sample.bootstrap_draws = 200;
    settings.component.rows = 500;
    settings.component.free_run_steps = 200;
    settings
}

pub(crate) fn training() -> Dataset {
    market(Market { rows: 4_000, seed: 1, ..Market::default() })
}

pub(crate) fn held_out(market_of: Market) -> Dataset {
    market(Market { rows: 3_000, seed: 2, start: 5_000, ..market_of })
}
