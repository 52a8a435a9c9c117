//! The thirty-two features as a table: the one text that the documentation, the model file and the hash are made of.

use core::fmt::Write as _;

use sha2::{Digest, Sha256};

/// How many features there are: the observation size of the `micro` and `small` models.
pub const FEATURE_COUNT: usize = 32;

/// Rises whenever a value changes although no text of [`DEFINITIONS`] does.
pub const DEFINITION_VERSION: u32 = 1;

/// One feature: what it is called, how it is made, in which unit, after whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureDefinition {
    /// Name, unique, as it stands in model files and dumps.
    pub name: &'static str,
    /// Formula, in the notation of [`DEFINITIONS`].
    pub formula: &'static str,
    /// Unit of the value.
    pub unit: &'static str,
    /// Valid range of the value; every value is finite.
    pub range: &'static str,
    /// Where the formula comes from.
    pub source: &'static str,
}

const HOUSE: &str = "house convention";
const CONT: &str = "Cont, Kukanov & Stoikov (2014), The Price Impact of Order Book Events, e_n of section 2.1, normalised by average depth";
const XU: &str = "Xu, Gould & Howison (2018), Multi-Level Order-Flow Imbalance in a Limit Order Book";
const CAO: &str =
    "Cao, Hansch & Wang (2009), The Information Content of an Open Limit-Order Book (depth beyond the best)";
const STOIKOV: &str =
    "weighted mid-price in the terms of Stoikov (2018), The Micro-Price: the simple form, not his martingale limit";
const LEE: &str =
    "trade sign from the resting side, else the quote rule of Lee & Ready (1991), Inferring Trade Direction";
const VOLATILITY: &str =
    "realised variance, Andersen & Bollerslev (1998), exponentially weighted as in RiskMetrics (1996)";

const fn define(
    name: &'static str,
    formula: &'static str,
    (unit, range): (&'static str, &'static str),
    source: &'static str,
) -> FeatureDefinition {
    FeatureDefinition { name, formula, unit, range, source }
}

/// Every feature, in the order of the observation vector.
///
/// Notation: B_m, A_m price and b_m, a_m displayed quantity (at most 2^40) of the m-th best bid and ask after the event; M = (B_1+A_1)/2,
/// held while a side is empty; t = `recv_time` of the symbol's last event, never decreasing; an *event* is any event of the symbol, a
/// *book change* one that adds, cancels, deletes, executes or replaces a displayed order. D(τ)\[w\] = Σ w_i exp(−(t−t_i)/τ)
/// over all events so far. e^m_n is the order-flow term of level m at book change n:
/// e = \[B'≥B\]b' − \[B'≤B\]b − \[A'≤A\]a' + \[A'≥A\]a (primes: after), absent levels infinitely far away with quantity 0.
/// W(w) = the events whose bucket ⌊t_i/w⌋ is above ⌊t/w⌋ − 16: 15 to 16 widths w of time.
/// Q = mean quantity at the best prices, (q_b+q_a)/2 with q_x = D(10 s)\[x_1\]/D(10 s)\[1\] over events that leave two sides, at least 1.
/// Where a formula would divide by nothing, the value is 0. Return lags reach back to the first known mid at most.
/// Values are computed in binary64 and narrowed to binary32.
#[rustfmt::skip]
pub const DEFINITIONS: [FeatureDefinition; FEATURE_COUNT] = [
    define("spread_ticks", "(A_1-B_1)/tick; 0 unless two-sided", ("ticks", "any; negative only when crossed"), HOUSE),
    define("spread_bps", "1e4*(A_1-B_1)/M; 0 unless two-sided", ("basis points", "any; negative only when crossed"), HOUSE),
    define("depth_imbalance_1", "(b_1-a_1)/(b_1+a_1)", ("1", "-1 to 1"), STOIKOV),
    define("depth_imbalance_5", "sum over m=1..5 of (b_m-a_m) / sum of (b_m+a_m)", ("1", "-1 to 1"), CAO),
    define("depth_imbalance_10", "sum over m=1..10 of (b_m-a_m) / sum of (b_m+a_m)", ("1", "-1 to 1"), CAO),
    define("weighted_mid_offset", "((B_1*a_1+A_1*b_1)/(a_1+b_1) - M)/tick; 0 unless two-sided", ("ticks", "-spread/2 to spread/2"), STOIKOV),
    define("ofi_1_64_changes", "sum of e^1 over the last 64 book changes / Q", ("multiples of mean depth", "any"), CONT),
    define("ofi_1_1s", "sum of e^1 over W(62.5 ms) / Q", ("multiples of mean depth", "any"), CONT),
    define("ofi_1_10s", "sum of e^1 over W(625 ms) / Q", ("multiples of mean depth", "any"), CONT),
    define("ofi_2_5_64_changes", "sum of e^2..e^5 over the last 64 book changes / Q", ("multiples of mean depth", "any"), XU),
    define("ofi_6_10_64_changes", "sum of e^6..e^10 over the last 64 book changes / Q", ("multiples of mean depth", "any"), XU),
    define("trade_imbalance_1s", "D(1 s)[sign*qty]/(D(1 s)[qty]+1) over printable trades outside crosses", ("1", "-1 to 1"), LEE),
    define("trade_imbalance_10s", "D(10 s)[sign*qty]/(D(10 s)[qty]+1) over printable trades outside crosses", ("1", "-1 to 1"), LEE),
    define("trade_rate_1s", "D(1 s)[1]/1 s over printable trades outside crosses", ("1/s", "from 0"), HOUSE),
    define("trade_rate_10s", "D(10 s)[1]/10 s over printable trades outside crosses", ("1/s", "from 0"), HOUSE),
    define("add_rate_bid", "D(1 s)[1]/1 s over bids added, replacements included", ("1/s", "from 0"), HOUSE),
    define("add_rate_ask", "D(1 s)[1]/1 s over asks added, replacements included", ("1/s", "from 0"), HOUSE),
    define("cancel_rate_bid", "D(1 s)[1]/1 s over bids cancelled in part or whole, replaced ones included", ("1/s", "from 0"), HOUSE),
    define("cancel_rate_ask", "D(1 s)[1]/1 s over asks cancelled in part or whole, replaced ones included", ("1/s", "from 0"), HOUSE),
    define("execute_rate_bid", "D(1 s)[1]/1 s over executions of displayed bids", ("1/s", "from 0"), HOUSE),
    define("execute_rate_ask", "D(1 s)[1]/1 s over executions of displayed asks", ("1/s", "from 0"), HOUSE),
    define("queue_ratio_bid", "b_1/q_b", ("1", "from 0"), HOUSE),
    define("queue_ratio_ask", "a_1/q_a", ("1", "from 0"), HOUSE),
    define("return_10_changes", "1e4*(M/M' - 1), M' the mid after the 10th last book change before this one", ("basis points", "above -10000"), HOUSE),
    define("return_100_changes", "1e4*(M/M' - 1), M' the mid after the 100th last book change before this one", ("basis points", "above -10000"), HOUSE),
    define("return_100ms", "1e4*(M/M' - 1), M' the mid before W(6.25 ms)", ("basis points", "above -10000"), HOUSE),
    define("return_1s", "1e4*(M/M' - 1), M' the mid before W(62.5 ms)", ("basis points", "above -10000"), HOUSE),
    define("return_10s", "1e4*(M/M' - 1), M' the mid before W(625 ms)", ("basis points", "above -10000"), HOUSE),
    define("realised_volatility_10s", "sqrt(D(10 s)[r^2]), r = 1e4*(M'/M - 1) at each change of the mid", ("basis points per 10 s", "from 0"), VOLATILITY),
    define("log_time_since_trade", "log2(1 + (t - time of the last printable trade outside crosses, else of the first event)/1 us)", ("log2 of microseconds", "from 0"), HOUSE),
    define("log_time_since_mid_change", "log2(1 + (t - time of the last change of the mid, else of the first event)/1 us)", ("log2 of microseconds", "from 0"), HOUSE),
    define("session_fraction", "(t - session open)/(session close - session open), clamped", ("1", "0 to 1"), HOUSE),
];

/// The canonical text that is hashed: version, notation and every definition, one per line.
#[must_use]
pub fn definition_text() -> String {
    let mut text = format!("peregrine-features {DEFINITION_VERSION}\n");
    for d in &DEFINITIONS {
        // Writing to a String cannot fail.
        let _written = writeln!(text, "{}|{}|{}|{}|{}", d.name, d.formula, d.unit, d.range, d.source);
    }
    text
}

/// SHA-256 of [`definition_text`]: the name under which a model says which features it was trained on. Allocates: for
/// start-up only.
#[must_use]
pub fn definition_hash() -> [u8; 32] {
    Sha256::digest(definition_text().as_bytes()).into()
}

/// [`definition_hash`] as 64 hexadecimal digits.
#[must_use]
pub fn definition_hash_hex() -> String {
    definition_hash().iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _written = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_nothing_is_left_blank() {
        for (index, d) in DEFINITIONS.iter().enumerate() {
            assert!(DEFINITIONS[..index].iter().all(|other| other.name != d.name), "{} twice", d.name);
            for text in [d.name, d.formula, d.unit, d.range, d.source] {
                assert!(!text.is_empty() && text.is_ascii() && !text.contains(['|', '\n', '"', '\\']), "{}", d.name);
            }
        }
    }

    #[test]
    fn the_hash_is_fixed_until_a_definition_changes() {
        assert_eq!(definition_hash_hex(), "bea75ccb6369b8ae919603e9d17928713eb7ede99054d0181999302f43d26dc8");
    }
}
