//! `calibration_ece.json` (torchmetrics, scikit-learn).

use crate::support::{Case, cases, indices, numbers};
use peregrine_stats::calibration::{BinEdges, Reliability, brier, log_loss, reliability, top_label_calibration_error};

#[test]
fn oracle_calibration_ece() {
    for value in cases("calibration_ece.json").unwrap_or_default() {
        let mut case = Case::new(&value);
        match case.kind() {
            "ece" => ece(&mut case),
            other => panic!("{}: a kind that this test does not know: {other}", case.id()),
        }
        case.finish();
    }
}

fn ece(case: &mut Case<'_>) {
    let p = numbers(case.input("p"));
    let outcomes: Vec<bool> = indices(case.input("y")).iter().map(|y| *y == 1).collect();
    let bins = usize::try_from(case.input("n_bins").as_u64().unwrap()).unwrap();
    let right = reliability(&p, &outcomes, bins, BinEdges::RightClosed).unwrap();
    let left = reliability(&p, &outcomes, bins, BinEdges::LeftClosed).unwrap();
    let counts = |found: &Reliability| found.count.iter().map(|count| *count as f64).collect::<Vec<f64>>();
    case.check("ece_right_closed", &[right.ece]);
    case.check("mce_right_closed", &[right.mce]);
    case.check("count_right_closed", &counts(&right));
    case.check("mean_p_right_closed", &right.mean_predicted);
    case.check("share_pos_right_closed", &right.share_positive);
    case.check("ece_left_closed", &[left.ece]);
    case.check("count_left_closed", &counts(&left));
    case.check("ece_top_label", &[top_label_calibration_error(&p, &outcomes, bins).unwrap()]);
    case.check("brier", &[brier(&p, &outcomes).unwrap()]);
    case.check("log_loss", &[log_loss(&p, &outcomes).unwrap()]);
}
