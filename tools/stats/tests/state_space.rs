//! The process whose truth is known: simulator, filter and theory agree.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail as it does")]

use peregrine_stats::cluster::adjusted_rand_index;
use peregrine_stats::state_space::{
    Filtered, MarketSpec, RegimeFilter, RegimeParameters, RegimeProcess, SimulatedPath, exact_filter,
};
use peregrine_stats::{MatrixView, StatsError, mean, out_of_sample_r2, r_squared, variance};

fn observations(path: &SimulatedPath) -> MatrixView<'_> {
    path.observations.view("observations").unwrap()
}

/// Regimes that are hard to tell apart and of very different dynamics: the worst case of the collapse.
fn hard() -> RegimeProcess {
    let regime = |persistence: f64, innovation: f64, offset: f64, beta: f64| RegimeParameters {
        persistence,
        innovation,
        offset: vec![offset, -offset],
        noise: vec![0.8, 1.1],
        beta,
        return_noise: 0.5,
    };
    let regimes = vec![regime(0.95, 0.2, 0.0, 1.0), regime(0.3, 1.0, 0.6, -1.0), regime(-0.5, 0.5, -0.4, 0.5)];
    let transition = vec![0.9, 0.06, 0.04, 0.1, 0.85, 0.05, 0.05, 0.05, 0.9];
    RegimeProcess::new(regimes, vec![1.0, 0.5], transition).unwrap()
}

/// Greatest difference of the regime probabilities, root mean square of the difference of the return means in units of the
/// exact one's standard deviation, over many short sequences.
fn distance(process: &RegimeProcess, steps: usize, sequences: u64) -> (f64, f64) {
    let (mut worst, mut squares, mut scale) = (0.0_f64, 0.0, 0.0);
    for seed in 0..sequences {
        let path = process.simulate(steps, seed);
        let exact = exact_filter(process, observations(&path)).unwrap();
        let found = RegimeFilter::run(process, observations(&path)).unwrap();
        for (exact, found) in exact.iter().zip(&found) {
            let pairs = exact.regime_probabilities.iter().zip(&found.regime_probabilities);
            worst = pairs.map(|(a, b)| (a - b).abs()).fold(worst, f64::max);
            squares += (exact.return_mean - found.return_mean).powi(2);
            scale += exact.return_mean.powi(2);
        }
    }
    (worst, (squares / scale).sqrt())
}

#[test]
fn the_filter_is_close_to_the_exact_one() {
    let (worst, rms) = distance(&hard(), 9, 60);
    eprintln!(
        "hard process: greatest difference of a regime probability {worst:.4}, return mean {rms:.4} of its deviation"
    );
    assert!(worst < 0.05 && rms < 0.02, "{worst} {rms}");
    let market = MarketSpec::default().process().unwrap();
    let (worst, rms) = distance(&market, 9, 60);
    eprintln!("default market: greatest difference of a regime probability {worst:.2e}, return mean {rms:.2e}");
    assert!(worst < 0.01 && rms < 2e-3, "{worst} {rms}");
}

#[test]
fn the_comparison_sees_a_filter_with_wrong_parameters() {
    let process = hard();
    let path = process.simulate(9, 1);
    let turned: Vec<RegimeParameters> =
        process.regimes().iter().map(|regime| RegimeParameters { persistence: 0.0, ..regime.clone() }).collect();
    let transition = (0..3).flat_map(|row| process.transition_row(row).to_vec()).collect();
    let wrong = RegimeProcess::new(turned, process.loadings().to_vec(), transition).unwrap();
    let exact = exact_filter(&process, observations(&path)).unwrap();
    let found = RegimeFilter::run(&wrong, observations(&path)).unwrap();
    let gap = |(a, b): (&Filtered, &Filtered)| (a.return_mean - b.return_mean).abs();
    assert!(exact.iter().zip(&found).map(gap).fold(0.0, f64::max) > 0.05);
}

/// Two steps, two features: the exact filter against conditioning the joint normal of (f₂, x₁, x₂) for each path, by hand.
#[test]
fn the_exact_filter_is_bayes_rule() {
    let process = hard();
    let path = process.simulate(2, 5);
    let x: Vec<f64> = path.observations.data.clone();
    let (mut weights, mut means) = (vec![0.0; 3], vec![0.0; 3]);
    for first in 0..3 {
        for second in 0..3 {
            let prior = process.stationary()[first] * process.transition_row(first)[second];
            let (mean, density) = condition(&process, [first, second], &x);
            weights[second] += prior * density;
            means[second] += prior * density * mean;
        }
    }
    let sum: f64 = weights.iter().sum();
    let found = &exact_filter(&process, observations(&path)).unwrap()[1];
    for (weight, probability) in weights.iter().zip(&found.regime_probabilities) {
        assert!((weight / sum - probability).abs() < 1e-12);
    }
    assert!((means.iter().sum::<f64>() / sum - found.factor_mean).abs() < 1e-12);
    let betas = process.regimes().iter().zip(&means).map(|(regime, mean)| regime.beta * mean);
    assert!((betas.sum::<f64>() / sum - found.return_mean).abs() < 1e-12);
}

/// Mean of f₂ and density of (x₁, x₂) given a path, from the joint covariance by Gaussian elimination.
fn condition(process: &RegimeProcess, path: [usize; 2], x: &[f64]) -> (f64, f64) {
    let second = &process.regimes()[path[1]];
    let v1 = process.factor_variance()[path[0]];
    let covariance_of_factors = [
        [v1, second.persistence * v1],
        [second.persistence * v1, second.persistence.powi(2) * v1 + second.innovation.powi(2)],
    ];
    // Row i of the system: feature i % 2 of step i / 2; the last column is x less its mean.
    let loadings = process.loadings();
    let mut system = [[0.0; 5]; 4];
    let mut with_f2 = [0.0; 4];
    for i in 0..4 {
        let regime = &process.regimes()[path[i / 2]];
        for j in 0..4 {
            system[i][j] = loadings[i % 2] * loadings[j % 2] * covariance_of_factors[i / 2][j / 2];
        }
        system[i][i] += regime.noise[i % 2].powi(2);
        system[i][4] = x[i] - regime.offset[i % 2];
        with_f2[i] = loadings[i % 2] * covariance_of_factors[i / 2][1];
    }
    let residual: Vec<f64> = system.iter().map(|row| row[4]).collect();
    let mut determinant = 1.0;
    for pivot in 0..4 {
        determinant *= system[pivot][pivot];
        for row in 0..4 {
            if row != pivot {
                let factor = system[row][pivot] / system[pivot][pivot];
                let above = system[pivot];
                system[row].iter_mut().zip(above).skip(pivot).for_each(|(cell, above)| *cell -= factor * above);
            }
        }
    }
    let solved: Vec<f64> = (0..4).map(|i| system[i][4] / system[i][i]).collect();
    let dot = |a: &[f64]| a.iter().zip(&solved).map(|(a, b)| a * b).sum::<f64>();
    let density = (-0.5 * dot(&residual)).exp() / (determinant.sqrt() * std::f64::consts::TAU.powi(2));
    (dot(&with_f2), density)
}

/// One regime: the Kalman filter, whose steady state and R² are known in closed form.
#[test]
fn one_regime_is_the_kalman_filter_of_the_textbook() {
    let (phi, q, noise, beta, v) = (0.9, 0.4, 0.7, 1.5, 1.0);
    let regime = RegimeParameters {
        persistence: phi,
        innovation: q,
        offset: vec![0.3],
        noise: vec![noise],
        beta,
        return_noise: v,
    };
    let process = RegimeProcess::new(vec![regime], vec![1.0], vec![1.0]).unwrap();
    let path = process.simulate(60_000, 2);
    let found = RegimeFilter::run(&process, observations(&path)).unwrap();
    // The algebraic Riccati equation of the predicted variance.
    let b = noise * noise * (1.0 - phi * phi) - q * q;
    let predicted = 0.5 * (-b + (b * b + 4.0 * q * q * noise * noise).sqrt());
    let steady = predicted * noise * noise / (predicted + noise * noise);
    assert!((found[1_000].factor_variance - steady).abs() < 1e-12);
    let factor_variance = q * q / (1.0 - phi * phi);
    assert!((process.factor_variance()[0] - factor_variance).abs() < 1e-12);
    let theory = beta * beta * (factor_variance - steady) / (beta * beta * factor_variance + v * v);
    let means: Vec<f64> = found.iter().map(|step| step.return_mean).collect();
    let r2 = out_of_sample_r2(&path.returns, &means, &vec![0.0; means.len()], 0).unwrap();
    eprintln!("one regime: R2 {:.4} ± {:.4}, theory {theory:.4}", r2.r2, r2.standard_error);
    assert!((r2.r2 - theory).abs() < 4.0 * r2.standard_error);
}

#[test]
fn the_simulator_has_the_moments_of_the_process() {
    let spec = MarketSpec::default();
    let process = spec.process().unwrap();
    let path = process.simulate(200_000, 3);
    let (explained, all) = process.return_variance();
    assert!((explained / all - spec.explained_share).abs() < 1e-12);
    assert!((all.sqrt() - spec.return_volatility).abs() < 1e-15);
    assert!((variance(&path.returns, 1).unwrap() / all - 1.0).abs() < 0.02);
    let signal: Vec<f64> = path
        .regimes
        .iter()
        .zip(&path.factor)
        .map(|(regime, factor)| process.regimes()[*regime].beta * factor)
        .collect();
    assert!((r_squared(&path.returns, &signal).unwrap() - spec.explained_share).abs() < 0.01);
    for regime in 0..spec.regimes {
        let of = |x: &[f64]| -> Vec<f64> {
            x.iter().zip(&path.regimes).filter(|(_, label)| **label == regime).map(|(x, _)| *x).collect()
        };
        let factor = of(&path.factor);
        let share = factor.len() as f64 / path.regimes.len() as f64;
        assert!((share - process.stationary()[regime]).abs() < 0.02, "{share}");
        assert!((variance(&factor, 1).unwrap() / process.factor_variance()[regime] - 1.0).abs() < 0.08);
        let x = of(&observations(&path).column(0));
        let parameters = &process.regimes()[regime];
        let spread = process.loadings()[0].powi(2) * process.factor_variance()[regime] + parameters.noise[0].powi(2);
        assert!((mean(&x).unwrap() - parameters.offset[0]).abs() < 0.1);
        assert!((variance(&x, 1).unwrap() / spread - 1.0).abs() < 0.08);
    }
    assert_eq!(process.simulate(200, 3), process.simulate(200, 3));
    assert_ne!(process.simulate(200, 3), process.simulate(200, 4));
}

#[test]
fn the_filter_recovers_regimes_and_returns_and_says_how_sure_it_is() {
    let process = MarketSpec::default().process().unwrap();
    let path = process.simulate(40_000, 11);
    let found = RegimeFilter::run(&process, observations(&path)).unwrap();
    let labels: Vec<usize> = found.iter().map(Filtered::regime).collect();
    let agreement = adjusted_rand_index(&labels, &path.regimes).unwrap();
    let means: Vec<f64> = found.iter().map(|step| step.return_mean).collect();
    let r2 = out_of_sample_r2(&path.returns, &means, &vec![0.0; means.len()], 0).unwrap();
    eprintln!("default market: ARI {agreement:.4}, R2 {:.4} ± {:.4}", r2.r2, r2.standard_error);
    assert!(agreement > 0.9 && agreement < 0.98 && r2.r2 > 0.14 && r2.r2 < 0.2 + 3.0 * r2.standard_error);
    // The variance it states is that of its errors, and what it calls 60 % happens in 60 %.
    let scores = path.returns.iter().zip(&found).map(|(y, step)| (y - step.return_mean).powi(2) / step.return_variance);
    assert!((mean(&scores.collect::<Vec<f64>>()).unwrap() - 1.0).abs() < 0.03);
    let up: Vec<f64> = found.iter().map(|step| step.up_probability).collect();
    let rose: Vec<bool> = path.returns.iter().map(|y| *y > 0.0).collect();
    use peregrine_stats::calibration::{BinEdges, reliability};
    assert!(reliability(&up, &rose, 10, BinEdges::RightClosed).unwrap().ece < 0.015);
}

#[test]
fn longer_horizons_are_forecast_without_bias() {
    let process = MarketSpec::default().process().unwrap();
    let path = process.simulate(40_000, 12);
    let mut filter = RegimeFilter::new(&process);
    let horizon = 5;
    let ahead = path.horizon_returns(horizon);
    let mut forecasts = Vec::new();
    for row in observations(&path).iter_rows().take(ahead.len()) {
        let step = filter.observe(row).unwrap();
        assert!((filter.return_mean(1) - step.return_mean).abs() < 1e-15);
        forecasts.push(filter.return_mean(horizon));
    }
    let product: f64 = ahead.iter().zip(&forecasts).map(|(y, f)| y * f).sum();
    let slope = product / forecasts.iter().map(|f| f * f).sum::<f64>();
    assert!((slope - 1.0).abs() < 0.05, "{slope}");
}

#[test]
fn a_market_without_signal_has_none() {
    let process = MarketSpec::default().without_signal().process().unwrap();
    let path = process.simulate(20_000, 4);
    assert_eq!(process.return_variance().0, 0.0);
    assert!((variance(&path.returns, 1).unwrap().sqrt() / 0.01 - 1.0).abs() < 0.05);
    let found = RegimeFilter::run(&process, observations(&path)).unwrap();
    assert!(found.iter().all(|step| step.return_mean == 0.0 && (step.up_probability - 0.5).abs() < 1e-12));
    let signal = r_squared(&path.returns, &path.factor.iter().map(|f| 0.001 * f).collect::<Vec<f64>>()).unwrap();
    assert!(signal.abs() < 0.03);
}

#[test]
fn bad_parameters_are_named() {
    let spec = MarketSpec::default();
    let of = |spec: MarketSpec| spec.process().unwrap_err();
    assert!(matches!(of(MarketSpec { regimes: 5, ..spec }), StatsError::OutOfRange { what: "regimes", .. }));
    assert!(matches!(of(MarketSpec { stickiness: 1.0, ..spec }), StatsError::OutOfRange { what: "stickiness", .. }));
    assert!(matches!(
        of(MarketSpec { explained_share: f64::NAN, ..spec }),
        StatsError::OutOfRange { what: "explained_share", .. }
    ));
    let process = hard();
    let mut filter = RegimeFilter::new(&process);
    assert!(matches!(filter.observe(&[1.0]), Err(StatsError::Length { .. })));
    assert!(matches!(filter.observe(&[1.0, f64::NAN]), Err(StatsError::NonFinite { index: 1, .. })));
    let long = process.simulate(30, 1);
    assert!(matches!(exact_filter(&process, observations(&long)), Err(StatsError::OutOfRange { .. })));
    let regimes = process.regimes().to_vec();
    let rows = vec![0.5; 9];
    assert!(matches!(
        RegimeProcess::new(regimes, vec![1.0, 0.5], rows),
        Err(StatsError::OutOfRange { what: "transition", .. })
    ));
}
