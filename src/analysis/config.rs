//! The settings of an analysis, as an experiment gives them.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

/// How the maps are made and tested.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnalysisConfig {
    /// t-SNE's perplexity; lowered to a third of the other rows where there are few.
    pub perplexity: f64,
    /// t-SNE's iterations.
    pub iterations: usize,
    /// One t-SNE map a seed; the first is the one drawn.
    pub seeds: Vec<u64>,
    /// Nearest neighbours for purity, trustworthiness and continuity.
    pub neighbours: usize,
    /// Shuffles behind each p-value.
    pub permutations: usize,
    /// The seed of the shuffles.
    pub permutation_seed: u64,
}

impl Default for AnalysisConfig {
    fn default() -> Self {
        Self {
            perplexity: 30.0,
            iterations: 1000,
            seeds: vec![0, 1, 2, 3, 4],
            neighbours: 5,
            permutations: 9_999,
            permutation_seed: 0,
        }
    }
}

impl AnalysisConfig {
    /// Checks each value.
    ///
    /// # Errors
    /// Names the setting, as in an experiment, and its range.
    pub fn validate(&self) -> Result<()> {
        ensure!(
            self.perplexity.is_finite() && self.perplexity >= 1.0,
            "analysis.perplexity must be a number of at least 1"
        );
        ensure!(
            self.iterations > 0,
            "analysis.iterations must be at least 1"
        );
        ensure!(
            !self.seeds.is_empty(),
            "analysis.seeds must name at least one seed"
        );
        ensure!(
            self.neighbours > 0,
            "analysis.neighbours must be at least 1"
        );
        ensure!(
            self.permutations > 0,
            "analysis.permutations must be at least 1"
        );
        Ok(())
    }

    /// What a smoke run makes of it: the same path, two maps of few iterations.
    pub fn smoke(mut self) -> Self {
        self.iterations = self.iterations.min(100);
        self.seeds.truncate(2);
        self.permutations = self.permutations.min(199);
        self
    }
}
