//! `latent_diagnostics.json` (scikit-learn, scipy, torch, jsharpe) and the scaler of `features_seed004.json`.

use crate::support::{Case, cases, indices, numbers};
use peregrine_stats::baselines::{LinearDynamics, growth_exponent, k_step_errors, persistence_errors};
use peregrine_stats::latent::{effective_rank_of_data, kl_to_standard_normal, moment_kl_to_standard_normal, spectrum};
use peregrine_stats::{MatrixView, RobustScaler, cluster, cross_correlation, reconstruction};
use serde_json::Value;

/// A table of an oracle: numbers, rows, columns.
fn table(value: &Value) -> (Vec<f64>, usize, usize) {
    let rows = value.as_array().unwrap();
    let cols = rows.first().map_or(1, |row| row.as_array().unwrap().len());
    (numbers(value), rows.len(), cols)
}

fn view(table: &(Vec<f64>, usize, usize)) -> MatrixView<'_> {
    MatrixView::new("table", &table.0, table.1, table.2).unwrap()
}

#[test]
fn oracle_latent_diagnostics() {
    for value in cases("latent_diagnostics.json").unwrap_or_default() {
        let mut case = Case::new(&value);
        match case.kind() {
            "silhouette" => silhouette(&mut case),
            "covariance_diagnostics" => covariance(&mut case),
            "reconstruction" => reconstructed(&mut case),
            "kl_diag" => kl(&mut case),
            "k_step" => k_step(&mut case),
            other => panic!("{}: a kind that this test does not know: {other}", case.id()),
        }
        case.finish();
    }
}

fn silhouette(case: &mut Case<'_>) {
    let x = table(case.input("x"));
    let found = cluster::silhouette(view(&x), &indices(case.input("labels"))).unwrap();
    case.check("score", &[found.score]);
    case.check("samples", &found.samples);
}

fn covariance(case: &mut Case<'_>) {
    let z = table(case.input("z"));
    let found = spectrum(view(&z)).unwrap();
    let kl = moment_kl_to_standard_normal(view(&z)).unwrap();
    case.check("eigenvalues_desc", &found.eigenvalues);
    case.check("erank_cov", &[found.effective_rank]);
    case.check("erank_data", &[effective_rank_of_data(view(&z)).unwrap()]);
    case.check("participation_ratio", &[found.participation_ratio]);
    case.check("numerical_rank", &[found.numerical_rank as f64]);
    case.check("kl_moment_full", &[kl.full]);
    case.check("kl_moment_diag", &[kl.diagonal]);
    if case.has("pearson_matrix") {
        let observables = table(case.input("observables"));
        case.check("pearson_matrix", &cross_correlation(view(&z), view(&observables)).unwrap().data);
    }
}

fn reconstructed(case: &mut Case<'_>) {
    let (y, y_hat) = (table(case.input("y")), table(case.input("y_hat")));
    let found = reconstruction(view(&y), view(&y_hat)).unwrap();
    case.check("mse", &found.mse);
    case.check("r2", &found.r2);
    case.check("r2_uniform", &[found.r2_uniform]);
    case.check("r2_variance_weighted", &[found.r2_variance_weighted]);
}

fn kl(case: &mut Case<'_>) {
    let (mu, log_var) = (table(case.input("mu")), table(case.input("logvar")));
    let found = kl_to_standard_normal(view(&mu), view(&log_var)).unwrap();
    case.check("kl_per_row", &found.per_row);
    case.check("kl_mean", &[found.mean]);
    case.check("kl_per_dim", &found.per_dimension);
}

fn k_step(case: &mut Case<'_>) {
    let (z, a, offset) = (table(case.input("z")), table(case.input("a")), numbers(case.input("b")));
    let steps = usize::try_from(case.input("max_k").as_u64().unwrap()).unwrap();
    let model = LinearDynamics { transition: view(&a), offset: &offset };
    let errors = k_step_errors(&model, view(&z), steps).unwrap();
    let growth = growth_exponent(&errors, 0.95).unwrap();
    assert_eq!(case.expected("sublinear").as_bool(), Some(growth.exponent < 1.0), "{}", case.id());
    case.skip("sublinear");
    case.check("growth_exponent", &[growth.exponent]);
    case.check("persistence", &persistence_errors(view(&z), steps).unwrap());
    case.check("err", &errors);
}

#[test]
fn oracle_robust_scaler() {
    for value in cases("features_seed004.json").unwrap_or_default() {
        let case = Case::new(&value);
        let fit_rows = usize::try_from(case.input("scaler_fit_rows").as_u64().unwrap()).unwrap();
        if !case.has("center") {
            assert_eq!(fit_rows, 0, "{}", case.id());
            continue;
        }
        let mut case = case;
        let (data, rows, cols) = table(case.expected("features"));
        let (fit, rest) = data.split_at(fit_rows * cols);
        let scaler = RobustScaler::fit(MatrixView::new("fit", fit, fit_rows, cols).unwrap()).unwrap();
        case.check("center", &scaler.center);
        case.check("scale", &scaler.scale);
        let rest = scaler.transform(MatrixView::new("rest", rest, rows - fit_rows, cols).unwrap()).unwrap();
        case.check("transformed_rest", &rest.data);
    }
}
