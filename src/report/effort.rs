//! How much was trained, on what and how long, against how much the paper trained: as the claims of the experiment give it.

use super::group::{Group, distinct};
use super::seeds::OverSeeds;
use super::text::{duration, number};
use crate::claim::Claim;

/// What was spent on an experiment.
pub struct Effort<'a> {
    /// Epochs trained, by seed.
    pub epochs: OverSeeds,
    /// Seconds of work, by seed.
    pub seconds: OverSeeds,
    /// The machines, each once.
    pub devices: String,
    /// The paper's epochs, where it gives them.
    pub paper_epochs: Option<f64>,
    /// What the paper says of its time.
    pub paper_time: Option<&'a str>,
}

impl<'a> Effort<'a> {
    /// The effort of a group of runs, beside what the paper says of its own.
    pub fn of(group: &Group, claims: impl Iterator<Item = &'a Claim> + Clone) -> Self {
        let about = |metric: &str| {
            let mut claims = claims.clone();
            claims.find(|claim| claim.metric.as_deref() == Some(metric))
        };
        Self {
            epochs: group.over_seeds(|run| {
                let trained = run.number("training.epochs");
                trained.or(Some(f64::from(run.stored.record.epoch)))
            }),
            seconds: group.over_seeds(|run| Some(run.stored.record.seconds())),
            devices: distinct(group.runs(), |run| run.device()).join("; "),
            paper_epochs: about("training.epochs").and_then(|claim| claim.value),
            paper_time: about("training.hours").map(|claim| claim.says.as_str()),
        }
    }

    /// Whether some run has fewer epochs than the paper's.
    pub fn falls_short(&self) -> bool {
        let paper = self.paper_epochs.unwrap_or(0.0);
        self.epochs.values().any(|epochs| epochs < paper)
    }

    /// The epochs, beside the paper's where it gives them: `8 of the paper's 100`.
    pub fn epochs_text(&self) -> String {
        let epochs = range(&self.epochs, number);
        match self.paper_epochs {
            Some(paper) if self.falls_short() => {
                format!("{epochs} of the paper's {}", number(paper))
            }
            Some(_) => format!("{epochs}, as the paper's"),
            None => epochs,
        }
    }

    /// The time a run took.
    pub fn time_text(&self) -> String {
        range(&self.seconds, duration)
    }

    /// Epochs, time and machine in a sentence, beside the paper's.
    pub fn sentence(&self) -> String {
        let each = if self.epochs.values().len() > 1 {
            " for each seed"
        } else {
            ""
        };
        let paper = self
            .paper_time
            .map(|time| format!(" The paper: {time}."))
            .unwrap_or_default();
        format!(
            "{} epochs were run, in {}{each}, on {}.{paper}",
            self.epochs_text(),
            self.time_text(),
            self.devices
        )
    }
}

/// The values as a reader would say them: one if all read the same, else the smallest to the largest.
fn range(values: &OverSeeds, text: impl Fn(f64) -> String) -> String {
    let low = text(values.values().fold(f64::INFINITY, f64::min));
    let high = text(values.values().fold(f64::NEG_INFINITY, f64::max));
    if low == high {
        low
    } else {
        format!("{low} to {high}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_epochs_than_the_paper_s_are_said_plainly() {
        let of = |epochs: &[f64]| Effort {
            epochs: OverSeeds::new(epochs.iter().map(|it| (1, *it, String::new())).collect()),
            seconds: OverSeeds::new(vec![(1, 1260.0, String::new())]),
            devices: "cpu, 2 threads, kernels avx2".to_owned(),
            paper_epochs: Some(100.0),
            paper_time: Some("7 hours on a CPU"),
        };
        assert_eq!(
            of(&[8.0]).sentence(),
            "8 of the paper's 100 epochs were run, in 21.0 min, on cpu, 2 threads, kernels avx2. The paper: 7 hours on a CPU."
        );
        assert!(of(&[100.0, 8.0]).falls_short() && !of(&[100.0]).falls_short());
        assert_eq!(of(&[8.0, 9.0]).epochs_text(), "8 to 9 of the paper's 100");
    }
}
