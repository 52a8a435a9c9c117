//! `stationary_bootstrap.json` (arch).

use crate::support::{Case, cases, indices, number, numbers};
use peregrine_stats::{mean, optimal_block_length, sharpe_difference, stationary_indices};

#[test]
fn oracle_stationary_bootstrap() {
    for value in cases("stationary_bootstrap.json").unwrap_or_default() {
        let mut case = Case::new(&value);
        match case.kind() {
            "index_map" => index_map(&mut case),
            "optimal_block_length" => block_length(&mut case),
            "sharpe_diff_bootstrap" => sharpe(&mut case),
            other => panic!("{}: a kind that this test does not know: {other}", case.id()),
        }
        case.finish();
    }
}

fn index_map(case: &mut Case<'_>) {
    let (starts, uniforms) = (indices(case.input("starts")), numbers(case.input("uniforms")));
    let found = stationary_indices(&starts, &uniforms, number(case.input("block_size"))).unwrap();
    assert_eq!(found, indices(case.expected("indices")), "{}", case.id());
    case.skip("indices");
}

fn block_length(case: &mut Case<'_>) {
    let found = optimal_block_length(&numbers(case.input("x"))).unwrap();
    case.check("stationary", &[found.stationary]);
    case.check("circular", &[found.circular]);
}

fn sharpe(case: &mut Case<'_>) {
    let rows: Vec<Vec<usize>> = case.input("indices").as_array().unwrap().iter().map(indices).collect();
    let (champion, challenger) = (numbers(case.input("champion")), numbers(case.input("challenger")));
    let year = number(case.input("periods_per_year"));
    let found = sharpe_difference(&champion, &challenger, &rows, year).unwrap();
    case.check("delta", &[found.delta]);
    case.check("ci95", &[found.interval.lower, found.interval.upper]);
    case.check("p_one_sided", &[found.p_value]);
    case.check("delta_star_mean", &[mean(&found.distribution).unwrap()]);
    case.check("delta_star_first5", &found.distribution[..5]);
}
