//! The learning rate as a function of the step.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

/// How the learning rate goes on after the warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleKind {
    /// It stays.
    #[default]
    Constant,
    /// It falls along a line to `final_fraction` at the last step.
    Linear,
    /// It falls along half a cosine wave to `final_fraction` at the last step.
    Cosine,
    /// It is multiplied by `factor` after every `interval` steps.
    Step,
}

/// The learning rate's course, as a factor on `training.learning_rate`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Schedule {
    /// Constant, linear, cosine or step.
    pub kind: ScheduleKind,
    /// Steps over which the rate rises from 0 along a line.
    pub warmup_steps: u64,
    /// Where linear and cosine end, as a fraction of the rate.
    pub final_fraction: f64,
    /// What step multiplies by.
    pub factor: f64,
    /// After how many steps it does so.
    pub interval: u64,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            kind: ScheduleKind::Constant,
            warmup_steps: 0,
            final_fraction: 0.0,
            factor: 0.5,
            interval: 1000,
        }
    }
}

impl Schedule {
    /// Checks each value.
    ///
    /// # Errors
    /// For a fraction or factor that is not in 0 to 1, and for an interval of 0.
    pub fn validate(&self) -> Result<()> {
        ensure!(
            (0.0..=1.0).contains(&self.final_fraction),
            "training.schedule.final_fraction must be from 0 to 1"
        );
        ensure!(
            (0.0..=1.0).contains(&self.factor),
            "training.schedule.factor must be from 0 to 1"
        );
        ensure!(
            self.interval > 0,
            "training.schedule.interval must be at least 1"
        );
        Ok(())
    }

    /// The factor on the learning rate at `step` of `steps`, both counted from 0: a warm-up of 2 gives 1/2, then 1.
    pub fn factor_at(&self, step: u64, steps: u64) -> f64 {
        if step < self.warmup_steps {
            return (step + 1) as f64 / self.warmup_steps as f64;
        }
        let after = step - self.warmup_steps;
        let last = steps
            .saturating_sub(1)
            .saturating_sub(self.warmup_steps)
            .max(1);
        let progress = (after as f64 / last as f64).min(1.0);
        let down_to_final =
            |fraction: f64| self.final_fraction + (1.0 - self.final_fraction) * fraction;
        match self.kind {
            ScheduleKind::Constant => 1.0,
            ScheduleKind::Linear => down_to_final(1.0 - progress),
            ScheduleKind::Cosine => {
                down_to_final(0.5 * (1.0 + (std::f64::consts::PI * progress).cos()))
            }
            ScheduleKind::Step => self.factor.powf((after / self.interval) as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course(schedule: Schedule) -> Vec<f64> {
        (0..5)
            .map(|step| (schedule.factor_at(step, 5) * 1e6).round() / 1e6)
            .collect()
    }

    #[test]
    fn each_kind_follows_its_curve() {
        let kind = |kind| Schedule {
            kind,
            ..Schedule::default()
        };
        assert_eq!(
            course(kind(ScheduleKind::Constant)),
            [1.0, 1.0, 1.0, 1.0, 1.0]
        );
        assert_eq!(
            course(kind(ScheduleKind::Linear)),
            [1.0, 0.75, 0.5, 0.25, 0.0]
        );
        assert_eq!(
            course(kind(ScheduleKind::Cosine)),
            [1.0, 0.853553, 0.5, 0.146447, 0.0]
        );
        let steps = Schedule {
            interval: 2,
            ..kind(ScheduleKind::Step)
        };
        assert_eq!(course(steps), [1.0, 1.0, 0.5, 0.5, 0.25]);
    }

    #[test]
    fn the_warm_up_rises_to_the_full_rate_and_the_end_is_the_final_fraction() {
        let schedule = Schedule {
            kind: ScheduleKind::Linear,
            warmup_steps: 2,
            final_fraction: 0.2,
            ..Schedule::default()
        };
        assert_eq!(course(schedule), [0.5, 1.0, 1.0, 0.6, 0.2]);
    }
}
