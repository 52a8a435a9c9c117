//! What a diagnosis holds a model against: every threshold and every sample size, typed, from one TOML file
//! (`configs/train/diagnose.toml`). Every key is mandatory; an unknown key, a wrong type and a value out of its bound are
//! all reported in one go.

use std::fmt;

use serde::Serialize;
use toml::{Table, Value};

/// Something wrong with one key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Violation {
    /// `section.key`.
    pub key: String,
    /// The value as written; `None` for a key that is missing.
    pub value: Option<String>,
    /// The bound that it breaks, or what to do.
    pub bound: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{} = {value}: {}", self.key, self.bound),
            None => write!(f, "{} is missing: {}", self.key, self.bound),
        }
    }
}

/// Why settings were refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SettingsError {
    /// The text is no TOML.
    #[error("the settings are no TOML: {what}")]
    Syntax {
        /// What the parser said, with line and column.
        what: String,
    },
    /// Keys are missing, unknown, of the wrong type or out of bounds.
    #[error("the settings have violations: {}", list(.0))]
    Violations(Vec<Violation>),
}

fn list(violations: &[Violation]) -> String {
    violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// A type that a key can have.
trait Setting: Copy + fmt::Display + PartialOrd {
    const KIND: &'static str;
    fn read(value: &Value) -> Option<Self>;
}

impl Setting for f64 {
    const KIND: &'static str = "a finite number";
    fn read(value: &Value) -> Option<Self> {
        let integer = value.as_integer().and_then(|integer| i32::try_from(integer).ok()).map(Self::from);
        value.as_float().or(integer).filter(|number| number.is_finite())
    }
}

impl Setting for usize {
    const KIND: &'static str = "a whole number";
    fn read(value: &Value) -> Option<Self> {
        value.as_integer().and_then(|integer| Self::try_from(integer).ok())
    }
}

impl Setting for u64 {
    const KIND: &'static str = "a whole number";
    fn read(value: &Value) -> Option<Self> {
        value.as_integer().and_then(|integer| Self::try_from(integer).ok())
    }
}

/// Takes keys out of the table as they are read, and gathers what is wrong.
struct Reader {
    root: Table,
    violations: Vec<Violation>,
}

impl Reader {
    fn take<T: Setting>(&mut self, section: &str, key: &str, low: T, high: T) -> Option<T> {
        let bound = format!("{} from {low} to {high} is needed", T::KIND);
        let found = self.root.get_mut(section).and_then(Value::as_table_mut).and_then(|table| table.remove(key));
        let read = found.as_ref().and_then(T::read).filter(|value| (low..=high).contains(value));
        if read.is_none() {
            let value = found.map(|value| value.to_string());
            self.violations.push(Violation { key: format!("{section}.{key}"), value, bound });
        }
        read
    }

    fn refuse_rest(&mut self) {
        for (section, value) in std::mem::take(&mut self.root) {
            if let Value::Table(table) = value {
                self.refuse(table.into_iter().map(|(key, value)| (format!("{section}.{key}"), value)));
            } else {
                self.refuse([(section, value)]);
            }
        }
    }

    fn refuse(&mut self, rest: impl IntoIterator<Item = (String, Value)>) {
        for (key, value) in rest {
            let bound = "no such key; remove it".to_owned();
            self.violations.push(Violation { key, value: Some(value.to_string()), bound });
        }
    }
}

/// One line per key: its type, bound and meaning; makes the typed section, its reader and the section of the whole.
macro_rules! settings {
    ($($(#[$section_doc:meta])* $section:ident: $name:ident {
        $($(#[$doc:meta])* $key:ident: $kind:ty, $low:expr => $high:expr;)*
    })*) => {
        $(
            $(#[$section_doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Serialize)]
            pub struct $name {
                $($(#[$doc])* pub $key: $kind,)*
            }

            impl $name {
                fn read(reader: &mut Reader) -> Option<Self> {
                    $(let $key = reader.take::<$kind>(stringify!($section), stringify!($key), $low, $high);)*
                    Some(Self { $($key: $key?,)* })
                }
            }
        )*

        /// All settings of a diagnosis.
        #[derive(Clone, Copy, Debug, PartialEq, Serialize)]
        pub struct DiagnoseSettings {
            $($(#[$section_doc])* pub $section: $name,)*
        }

        impl DiagnoseSettings {
            fn read(reader: &mut Reader) -> Option<Self> {
                // Every section is read before the first failure counts, so that all violations are found.
                $(let $section = $name::read(reader);)*
                reader.refuse_rest();
                Some(Self { $($section: $section?,)* })
            }
        }
    };
}

settings! {
    /// How much of the data is used, and the chance of intervals.
    sample: SampleSettings {
        /// Seed of the bootstrap and of sampling.
        seed: u64, 0 => u64::MAX >> 1;
        /// First rows of each sequence that warm the state up and are not judged.
        warm_up_rows: usize, 0 => 100_000;
        /// Most rows per dataset that are kept; a longer dataset is thinned evenly (the state still sees every row).
        rows_max: usize, 500 => 10_000_000;
        /// Most rows for intervals, neighbours, silhouette and plots.
        sample_rows_max: usize, 200 => 100_000;
        /// Most origins from which the prior is rolled forward.
        origins_max: usize, 50 => 100_000;
        /// Draws of each bootstrap interval.
        bootstrap_draws: usize, 100 => 100_000;
        /// Two-sided confidence of every interval.
        confidence: f64, 0.5 => 0.999;
    }
    /// Level 0: the artefact's parts.
    component: ComponentSettings {
        /// Rows on which determinism, backends and reference are held against each other.
        rows: usize, 50 => 1_000_000;
        /// Largest difference from the f64 reference, as a share of 1 + |value|.
        reference_difference_max: f64, 0.0 => 1.0;
        /// An input whose step of one interquartile range moves no latent and no head by this share of its deviation is dead.
        input_effect_min: f64, 0.0 => 1.0;
        /// Largest share of varying inputs that may be dead.
        dead_input_share_max: f64, 0.0 => 1.0;
        /// A unit whose standard deviation over the data is below this is dead.
        unit_deviation_min: f64, 0.0 => 1.0;
        /// Largest share of units of a layer that may be dead.
        dead_unit_share_max: f64, 0.0 => 1.0;
        /// Least standard deviation of the prior's mean over the data, as a share of the posterior mean's.
        prior_movement_min: f64, 0.0 => 1.0;
        /// Steps that the prior is rolled forward without observations.
        free_run_steps: usize, 10 => 100_000;
        /// Largest decoded feature of a free run, interquartile ranges from the median.
        free_run_abs_max: f64, 1.0 => 1e6;
        /// Least standard deviation of the action over the data.
        action_deviation_min: f64, 0.0 => 1.0;
        /// How far trading may rise, or a target fall, from one step of cost or position to the next.
        monotone_tolerance: f64, 0.0 => 1.0;
        /// Largest share of such steps that break the order.
        monotone_violation_share_max: f64, 0.0 => 1.0;
    }
    /// The decisions by which narrower weights are judged.
    precision: PrecisionSettings {
        /// Most held-out rows compared.
        rows: usize, 100 => 10_000_000;
        /// Action beyond which the target is ±1, as the trading profile has it.
        action_threshold: f64, 0.001 => 1.0;
        /// How far the action must fall back before a target is given up.
        action_hysteresis: f64, 0.0 => 1.0;
        /// Half spread that the controller is shown, basis points.
        half_spread_bps: f64, 0.0 => 1_000.0;
        /// Fee that it is shown, basis points.
        fee_bps: f64, -100.0 => 100.0;
    }
    /// A2.1, A2.2: reconstruction.
    reconstruction: ReconstructionSettings {
        /// Mean R² over the features on held-out data at which the check passes.
        r2_pass: f64, -1.0 => 1.0;
        /// … and below which it fails.
        r2_fail: f64, -1.0 => 1.0;
        /// Largest loss of mean R² from training to held-out data.
        r2_decay_max: f64, 0.0 => 10.0;
    }
    /// A2.3, A2.4, A2.7, A2.8: the shape of the latent space.
    latent: LatentSettings {
        /// (effective rank − 1)/(Z − 1) of z's covariance at which the check passes: 0 one direction, 1 all alike.
        rank_share_pass: f64, 0.0 => 1.0;
        /// … and below which the latent space has collapsed.
        rank_share_fail: f64, 0.0 => 1.0;
        /// Variance of a posterior mean above which its unit is active (Burda et al. 2016: 0.01).
        active_variance_min: f64, 0.0 => 100.0;
        /// Least share of active units.
        active_share_min: f64, 0.0 => 1.0;
        /// Largest KL divergence from N(0, I) per dimension, nats.
        kl_per_dimension_max: f64, 0.0 => 1_000.0;
        /// Neighbours of each row.
        neighbours: usize, 1 => 1_000;
        /// Least share of neighbours in the observation that stay neighbours in the latent, over what chance gives.
        neighbour_lift_min: f64, 0.0 => 1_000.0;
        /// Largest total correlation per dimension, nats.
        total_correlation_max: f64, 0.0 => 1_000.0;
        /// Chance that any correlation with the context columns is marked when none is real (family-wise).
        correlation_error: f64, 0.0001 => 0.5;
        /// Least |correlation| that counts as a tie.
        correlation_min: f64, 0.0 => 1.0;
    }
    /// A2.10: regimes.
    regime: RegimeSettings {
        /// Silhouette of the regimes in z at which the check passes.
        silhouette_pass: f64, -1.0 => 1.0;
        /// … and below which it fails.
        silhouette_fail: f64, -1.0 => 1.0;
        /// Least share of rows that a regime must hold to count as in use.
        share_min: f64, 0.0 => 1.0;
    }
    /// A2.5, A2.6: prediction several steps ahead.
    horizon: HorizonSettings {
        /// Furthest horizon, rows.
        steps_max: usize, 2 => 250;
        /// Growth exponent of the mean squared error whose interval must lie below (1 = linear, a random walk's).
        growth_exponent_max: f64, 0.0 => 10.0;
        /// Largest ratio of held-out to training error over all horizons.
        decay_ratio_max: f64, 1.0 => 1_000.0;
        /// Largest ratio of held-out to training surprise.
        surprise_ratio_max: f64, 1.0 => 1_000.0;
    }
    /// The probability of an up-move.
    calibration: CalibrationSettings {
        /// Bins of the reliability curve.
        bins: usize, 2 => 100;
        /// Expected calibration error at which the check passes.
        ece_pass: f64, 0.0 => 1.0;
        /// … and above which it fails.
        ece_fail: f64, 0.0 => 1.0;
        /// Least number of rows with a known outcome.
        rows_min: usize, 10 => 10_000_000;
    }
    /// Expected returns.
    returns: ReturnSettings {
        /// Out-of-sample R² of returns that no honest forecast reaches: a sign of look-ahead.
        r2_suspicious: f64, 0.0 => 1.0;
        /// Largest loss of R² from training to held-out data.
        r2_decay_max: f64, 0.0 => 10.0;
        /// Largest |ln| of mean squared error over mean predicted variance.
        variance_log_ratio_max: f64, 0.0 => 100.0;
    }
}

impl DiagnoseSettings {
    /// Reads settings from TOML.
    ///
    /// # Errors
    /// [`SettingsError::Syntax`] for text that is no TOML, [`SettingsError::Violations`] with everything else that is wrong.
    pub fn from_toml(text: &str) -> Result<Self, SettingsError> {
        let root: Table = text
            .parse()
            .map_err(|error: toml::de::Error| SettingsError::Syntax { what: error.to_string().trim().to_owned() })?;
        let mut reader = Reader { root, violations: Vec::new() };
        let settings = Self::read(&mut reader);
        if let Some(settings) = &settings {
            settings.check_across(&mut reader.violations);
        }
        match settings {
            Some(settings) if reader.violations.is_empty() => Ok(settings),
            Some(_) | None => Err(SettingsError::Violations(reader.violations)),
        }
    }

    /// A pass mark must not lie on the wrong side of its fail mark.
    fn check_across(&self, violations: &mut Vec<Violation>) {
        let pairs = [
            (
                "reconstruction.r2_fail",
                self.reconstruction.r2_fail,
                "reconstruction.r2_pass",
                self.reconstruction.r2_pass,
            ),
            (
                "latent.rank_share_fail",
                self.latent.rank_share_fail,
                "latent.rank_share_pass",
                self.latent.rank_share_pass,
            ),
            (
                "regime.silhouette_fail",
                self.regime.silhouette_fail,
                "regime.silhouette_pass",
                self.regime.silhouette_pass,
            ),
            ("calibration.ece_pass", self.calibration.ece_pass, "calibration.ece_fail", self.calibration.ece_fail),
        ];
        for (key, value, other, bound) in pairs {
            if value > bound {
                let bound = format!("must not lie above {other} = {bound}");
                violations.push(Violation { key: key.to_owned(), value: Some(value.to_string()), bound });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../../configs/train/diagnose.toml");

    fn violations(text: &str) -> Vec<String> {
        match DiagnoseSettings::from_toml(text) {
            Err(SettingsError::Violations(list)) => list.iter().map(ToString::to_string).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_shipped_settings_are_read() {
        let settings = DiagnoseSettings::from_toml(SHIPPED).unwrap();
        assert_eq!(settings.horizon.steps_max, 21);
        assert!((settings.calibration.ece_pass - 0.05).abs() < 1e-12);
    }

    #[test]
    fn everything_wrong_is_reported_at_once() {
        let text = SHIPPED.replace("steps_max = 21", "steps_max = 1\nstep_max = 3").replace("bins = ", "bin = ");
        let found = violations(&text);
        assert_eq!(found.len(), 4, "{found:#?}");
        assert!(found[0].starts_with("horizon.steps_max = 1: a whole number from 2 to 250"), "{found:#?}");
        assert!(found[1].starts_with("calibration.bins is missing"), "{found:#?}");
        assert!(found.iter().any(|text| text.starts_with("horizon.step_max = 3: no such key")), "{found:#?}");
    }

    #[test]
    fn every_key_is_mandatory() {
        let keys: Vec<&str> = SHIPPED.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')).collect();
        assert!(keys.len() > 40);
        for key in keys {
            let found = violations(&SHIPPED.replacen(&format!("{key}\n"), "", 1));
            assert_eq!(found.len(), 1, "{key}");
            assert!(found[0].contains("is missing"), "{found:?}");
        }
    }

    #[test]
    fn marks_must_be_in_order_and_text_must_be_toml() {
        let found = violations(&SHIPPED.replace("ece_pass = 0.05", "ece_pass = 0.2"));
        assert_eq!(found, ["calibration.ece_pass = 0.2: must not lie above calibration.ece_fail = 0.1"]);
        assert!(matches!(DiagnoseSettings::from_toml("[a"), Err(SettingsError::Syntax { .. })));
        let found =
            violations(&format!("stray = 1\n{}", SHIPPED.replace("confidence = 0.95", "confidence = \"much\"")));
        assert_eq!(found.len(), 2, "{found:?}");
    }
}
