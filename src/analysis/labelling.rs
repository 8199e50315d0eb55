//! Whether rows keep to their own label, in the rows' own space and in every flat map of them.

use serde_json::{Map as Json, Value, json};

use super::map::summary;
use super::{AnalysisConfig, NoteRow, PointSets, Register, TokenKind};
use crate::analysis::neighbours::{Distances, centroid_distance, purity, silhouette};
use crate::analysis::permutation::permutation_test;

/// One question about labels: which rows take part, and each one's label.
pub(super) struct Labelling {
    pub(super) name: &'static str,
    classes: Vec<&'static str>,
    members: Vec<usize>,
    labels: Vec<usize>,
}

/// ON against OFF among mid-range notes, among the others and among all; the three registers.
pub(super) fn labellings(rows: &[NoteRow], low: u8, high: u8) -> Vec<Labelling> {
    let kind = |row: &NoteRow| match row.kind {
        TokenKind::On => Some(0),
        TokenKind::Off => Some(1),
        TokenKind::Note => None,
    };
    let is_mid = |row: &NoteRow| (low..=high).contains(&row.pitch);
    let register = |row: &NoteRow| match Register::of(row.pitch) {
        Register::Low => 0,
        Register::Middle => 1,
        Register::High => 2,
    };
    let pick = |name, classes: &[&'static str], label: &dyn Fn(&NoteRow) -> Option<usize>| {
        let (members, labels) = rows
            .iter()
            .enumerate()
            .filter_map(|(i, row)| Some((i, label(row)?)))
            .unzip();
        Labelling {
            name,
            classes: classes.to_vec(),
            members,
            labels,
        }
    };
    let on_off = ["on", "off"];
    vec![
        pick("kind_mid_range", &on_off, &|row| {
            kind(row).filter(|_| is_mid(row))
        }),
        pick("kind_outside_mid_range", &on_off, &|row| {
            kind(row).filter(|_| !is_mid(row))
        }),
        pick("kind", &on_off, &kind),
        pick("register", &["low", "middle", "high"], &|row| {
            Some(register(row))
        }),
    ]
}

impl Labelling {
    /// The statistics of this question in every space, or why there are none.
    pub(super) fn measure(&self, spaces: &PointSets, config: &AnalysisConfig) -> Value {
        let sizes: Vec<usize> = (0..self.classes.len())
            .map(|class| self.labels.iter().filter(|label| **label == class).count())
            .collect();
        let points: Json<String, Value> = self
            .classes
            .iter()
            .zip(&sizes)
            .map(|(name, size)| ((*name).to_owned(), json!(size)))
            .collect();
        let mut result = Json::new();
        result.insert("points".to_owned(), Value::Object(points));
        if sizes.iter().filter(|size| **size >= 2).count() < 2 {
            result.insert(
                "skipped".to_owned(),
                json!("fewer than two kinds of label with two rows each"),
            );
            return Value::Object(result);
        }
        result.insert(
            "trained".to_owned(),
            self.statistics(spaces.trained, config, true),
        );
        result.insert(
            "untrained".to_owned(),
            self.statistics(spaces.untrained, config, true),
        );
        result.insert("pca".to_owned(), self.statistics(spaces.pca, config, false));
        result.insert(
            "untrained_tsne".to_owned(),
            self.statistics(spaces.untrained_map, config, false),
        );
        let maps: Vec<Value> = spaces
            .maps
            .iter()
            .map(|map| self.statistics(&map.points, config, false))
            .collect();
        let Some(Value::Object(mut first)) = maps.first().cloned() else {
            return Value::Object(result);
        };
        for statistic in ["purity", "silhouette"] {
            let values: Vec<f64> = maps
                .iter()
                .filter_map(|map| map[statistic].as_f64())
                .collect();
            first.insert(format!("{statistic}_over_seeds"), summary(&values));
        }
        result.insert("tsne".to_owned(), Value::Object(first));
        Value::Object(result)
    }

    /// Purity and silhouette of the members' rows, each with what chance gives.
    fn statistics<R: AsRef<[f64]>>(
        &self,
        rows: &[R],
        config: &AnalysisConfig,
        test_silhouette: bool,
    ) -> Value {
        let rows: Vec<&[f64]> = self.members.iter().map(|i| rows[*i].as_ref()).collect();
        let distances = Distances::between(&rows);
        let neighbours = distances.neighbours(config.neighbours);
        let kept = purity(&neighbours, &self.labels);
        let (permutations, seed) = (config.permutations, config.permutation_seed);
        let kept_test = permutation_test(kept, &self.labels, permutations, seed, |labels| {
            purity(&neighbours, labels)
        });
        let apart = silhouette(&distances, &self.labels);
        let mut result = Json::new();
        result.insert("purity".to_owned(), json!(kept));
        result.insert("purity_chance".to_owned(), json!(kept_test.chance));
        result.insert("purity_p".to_owned(), json!(kept_test.p_value));
        result.insert("silhouette".to_owned(), json!(apart));
        if test_silhouette {
            let test = permutation_test(apart, &self.labels, permutations, seed, |labels| {
                silhouette(&distances, labels)
            });
            result.insert("silhouette_p".to_owned(), json!(test.p_value));
        }
        for a in 0..self.classes.len() {
            for b in a + 1..self.classes.len() {
                let distance = centroid_distance(&rows, &self.labels, a, b);
                if distance.is_finite() {
                    result.insert(
                        format!("centroid_distance_{}_{}", self.classes[a], self.classes[b]),
                        json!(distance),
                    );
                }
            }
        }
        Value::Object(result)
    }
}
