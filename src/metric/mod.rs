//! What is measured: the registry of every metric that a run logs, and the sums they come from.
//!
//! Flow: model → training → **metric** → run. Values are plain numbers here; nothing in this room reads or writes.

pub mod baseline;
pub mod music;
pub mod unknown;

use crate::tolerance::Tolerance;

/// Everything that a reader of a metric's value must know, apart from the value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// The name in the tables of a run.
    pub name: &'static str,
    /// The unit of its values; empty for a ratio.
    pub unit: &'static str,
    /// Which of two values is the better one.
    pub direction: Direction,
    /// How far two values may lie apart and still count as no change in `harness diff`, unless the experiment says
    /// otherwise. Zero for whatever a record determines.
    pub tolerance: Tolerance,
    /// How far another kernel path, device or code version may move a value for `harness reproduce` to call it equivalent.
    pub equivalence: Tolerance,
    /// The metric of which this is a function, so that both say the same of two runs.
    pub function_of: Option<&'static str>,
}

/// Which of two values is the better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The smaller.
    LowerIsBetter,
    /// The larger.
    HigherIsBetter,
    /// Neither.
    Neutral,
}

impl Direction {
    /// Whether `b` is better than `a`. Never for neutral metrics, never against NaN.
    pub fn is_better(self, b: f64, a: f64) -> bool {
        match self {
            Self::LowerIsBetter => b < a,
            Self::HigherIsBetter => b > a,
            Self::Neutral => false,
        }
    }

    /// A number that is the smaller the better `value` is; `value` itself for neutral metrics.
    pub fn cost(self, value: f64) -> f64 {
        match self {
            Self::LowerIsBetter | Self::Neutral => value,
            Self::HigherIsBetter => -value,
        }
    }

    /// An arrow to the better side.
    pub fn arrow(self) -> &'static str {
        match self {
            Self::LowerIsBetter => "↓",
            Self::HigherIsBetter => "↑",
            Self::Neutral => "·",
        }
    }
}

/// A metric that a record determines.
const fn determined(name: &'static str, unit: &'static str, direction: Direction) -> Metric {
    Metric {
        name,
        unit,
        direction,
        tolerance: Tolerance::EXACT,
        equivalence: Tolerance::relative(1e-3),
        function_of: None,
    }
}

/// A metric that the clock says.
const fn clocked(name: &'static str, unit: &'static str, direction: Direction) -> Metric {
    Metric {
        name,
        unit,
        direction,
        tolerance: Tolerance::relative(0.1),
        equivalence: Tolerance::relative(f64::INFINITY),
        function_of: None,
    }
}

/// Every metric, in the order of tables.
pub const METRICS: &[Metric] = &[
    determined("loss", "nats per token", Direction::LowerIsBetter),
    Metric {
        function_of: Some("loss"),
        ..determined("perplexity", "", Direction::LowerIsBetter)
    },
    determined(
        "nll_per_step",
        "nats per time step",
        Direction::LowerIsBetter,
    ),
    determined("frame_accuracy", "", Direction::HigherIsBetter),
    // The best of many batches is luck, so no batch is better than another: `loss` on train is what to compare.
    determined("batch_loss", "nats per token", Direction::Neutral),
    // How often a held-out chord was unknown says something of the corpus, not of the model.
    determined("unknown_share", "", Direction::Neutral),
    determined("learning_rate", "", Direction::Neutral),
    // A norm adds up what rounding moved in every parameter, and is steep where the loss is.
    Metric {
        equivalence: Tolerance::relative(5e-2),
        ..determined("gradient_norm", "", Direction::Neutral)
    },
    clocked(
        "tokens_per_second",
        "tokens per second",
        Direction::HigherIsBetter,
    ),
    clocked("seconds", "s", Direction::LowerIsBetter),
    clocked("evaluation_seconds", "s", Direction::LowerIsBetter),
    clocked("memory", "MiB", Direction::LowerIsBetter),
];

/// The metric called `name`; one that is not registered has no direction and is compared exactly.
pub fn metric(name: &str) -> Metric {
    let unknown = Metric {
        name: "",
        ..determined("", "", Direction::Neutral)
    };
    METRICS
        .iter()
        .find(|metric| metric.name == name)
        .copied()
        .unwrap_or(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_metric_is_registered_once() {
        for (index, metric) in METRICS.iter().enumerate() {
            assert!(
                METRICS[..index].iter().all(|it| it.name != metric.name),
                "{}",
                metric.name
            );
        }
        assert_eq!(metric("loss").direction, Direction::LowerIsBetter);
        assert_eq!(metric("unheard_of").direction, Direction::Neutral);
    }
}
