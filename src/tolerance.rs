//! How far two numbers may lie apart and still count as the same: in claims, in the registry of metrics, and as an experiment
//! writes it.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::number::trimmed;

/// The bounds on a distance; where both are given, either suffices, and where neither is, only equal numbers are the same.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tolerance {
    /// A share of the first number's size: 0.02 is two per cent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relative: Option<f64>,
    /// In the numbers' own unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absolute: Option<f64>,
}

impl Tolerance {
    /// Only equal numbers are the same.
    pub const EXACT: Tolerance = Tolerance {
        relative: None,
        absolute: None,
    };

    /// Up to `share` of the first number's size.
    pub const fn relative(share: f64) -> Self {
        Self {
            relative: Some(share),
            absolute: None,
        }
    }

    /// The largest distance from `value` that counts as the same, in the number's own unit.
    pub fn allowance(&self, value: f64) -> f64 {
        let relative = self.relative.map_or(0.0, |share| share * value.abs());
        relative.max(self.absolute.unwrap_or(0.0))
    }

    /// Whether `b` is the same as `a`. NaN is the same as NaN and nothing else.
    pub fn covers(&self, a: f64, b: f64) -> bool {
        a == b || (a.is_nan() && b.is_nan()) || (b - a).abs() <= self.allowance(a)
    }

    /// The tolerance as a reader would write it, such as `± 2 %`.
    pub fn describe(&self) -> String {
        let relative = self
            .relative
            .map(|share| format!("± {} %", trimmed(share * 100.0)));
        let absolute = self.absolute.map(|amount| format!("± {}", trimmed(amount)));
        [relative, absolute]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" or ")
    }
}

/// The tolerances that an experiment writes, by metric.
///
/// # Errors
/// When `yaml` is no YAML, or one of its tolerances is none.
pub fn written(yaml: &str) -> Result<BTreeMap<String, Tolerance>> {
    #[derive(Deserialize)]
    struct Written {
        #[serde(default)]
        tolerances: BTreeMap<String, Tolerance>,
    }
    let written: Written =
        serde_yaml::from_str(yaml).context("failed to read the tolerances of an experiment")?;
    Ok(written.tolerances)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tolerance_takes_its_larger_bound() {
        let tolerance = Tolerance {
            absolute: Some(0.5),
            relative: Some(0.1),
        };
        assert!(tolerance.covers(1.0, 1.5) && !tolerance.covers(1.0, 1.51));
        assert!(tolerance.covers(-100.0, -110.0) && !tolerance.covers(-100.0, -111.0));
        assert!(
            Tolerance::EXACT.covers(f64::NAN, f64::NAN) && !Tolerance::EXACT.covers(1.0, f64::NAN)
        );
        assert!(Tolerance::EXACT.covers(f64::INFINITY, f64::INFINITY));
        assert!(!Tolerance::relative(0.1).covers(f64::NAN, 1.0));
    }

    #[test]
    fn what_an_experiment_writes_is_read_or_an_error() {
        let found =
            written("title: x\ntolerances:\n  loss: {absolute: 0.5}\n  memory: {}\n").unwrap();
        assert!(found["loss"].covers(1.0, 1.5) && found["memory"] == Tolerance::EXACT);
        assert!(written("title: x\n").unwrap().is_empty());
        for wrong in ["{absolute: much}", "{absolut: 1}", "0.5"] {
            let yaml = format!("tolerances:\n  loss: {wrong}\n");
            assert!(written(&yaml).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_tolerance_reads_as_text() {
        let tolerance = Tolerance {
            relative: Some(0.02),
            absolute: Some(130.0),
        };
        assert_eq!(tolerance.describe(), "± 2 % or ± 130");
    }
}
