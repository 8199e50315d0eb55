//! The paper's sentences about its figures, as questions to a run's single-note rows and the maps drawn of them.

use serde::{Deserialize, Serialize};

use super::note::{NoteRow, Register, TokenKind};
use super::structure::{Structure, of_centre, of_labels};
use super::{AnalysisConfig, MapPoint, quantile_pitch};
use crate::analysis::neighbours::Distances;

/// What is asked of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// Do ON and OFF messages of mid-range notes lie apart? Mid-range: the middle half of the notes played.
    OnOffMidRange,
    /// Do ON and OFF messages of low and high notes lie apart? Low and high: the outermost twentieths of the notes played.
    OnOffExtremes,
    /// Do low and high notes lie nearer the middle of the figure than mid-range notes?
    ExtremesInTheMiddle,
    /// Do low, middle and high notes lie apart?
    Registers,
}

/// An answer in the embedding's space and on the drawn maps, those of all t-SNE seeds together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spaces<T> {
    /// In the embedding's own space.
    pub embedding: T,
    /// On the t-SNE maps.
    pub map: T,
}

impl<T> Spaces<T> {
    /// Both, each with its name.
    pub fn named(&self) -> [(&'static str, &T); 2] {
        [("embedding", &self.embedding), ("map", &self.map)]
    }
}

impl Question {
    /// Every question.
    pub const ALL: [Self; 4] = [
        Self::OnOffMidRange,
        Self::OnOffExtremes,
        Self::ExtremesInTheMiddle,
        Self::Registers,
    ];

    /// What lies apart, for tables.
    pub fn labels(self) -> &'static str {
        match self {
            Self::OnOffMidRange => "ON against OFF, mid-range notes",
            Self::OnOffExtremes => "ON against OFF, lowest and highest notes",
            Self::ExtremesInTheMiddle => {
                "lowest and highest notes nearer the centre than mid-range"
            }
            Self::Registers => "low, middle and high notes",
        }
    }

    /// The rows that take part, and each one's label; `played` counts the notes of each pitch.
    fn members(self, rows: &[NoteRow], played: &[u64; 128]) -> (Vec<usize>, Vec<usize>) {
        let [lowest, low, high, highest] =
            [(1, 20), (1, 4), (3, 4), (19, 20)].map(|share| quantile_pitch(played, share));
        let mid = |row: &NoteRow| (low..=high).contains(&row.pitch);
        let extreme = |row: &NoteRow| row.pitch < lowest || row.pitch > highest;
        let kind = |row: &NoteRow| match row.kind {
            TokenKind::On => Some(0),
            TokenKind::Off => Some(1),
            TokenKind::Note => None,
        };
        let label = |row: &NoteRow| match self {
            Self::OnOffMidRange => kind(row).filter(|_| mid(row)),
            Self::OnOffExtremes => kind(row).filter(|_| extreme(row)),
            Self::ExtremesInTheMiddle => match kind(row) {
                Some(_) if extreme(row) => Some(1),
                Some(_) if mid(row) => Some(0),
                _ => None,
            },
            Self::Registers => Some(match Register::of(row.pitch) {
                Register::Low => 0,
                Register::Middle => 1,
                Register::High => 2,
            }),
        };
        let labelled = rows.iter().enumerate();
        labelled
            .filter_map(|(i, row)| Some((i, label(row)?)))
            .unzip()
    }

    /// The answer by `rows`, trained, and `maps` of them, each with a point a row.
    ///
    /// `None` where fewer than two labels have two rows each, or there is no map.
    pub fn ask(
        self,
        rows: &[NoteRow],
        played: &[u64; 128],
        maps: &[Vec<[f64; 2]>],
        config: &AnalysisConfig,
    ) -> Option<Spaces<Structure>> {
        let (members, labels) = self.members(rows, played);
        let of_label = |label: usize| labels.iter().filter(|it| **it == label).count();
        if maps.is_empty() || (0..3).filter(|label| of_label(*label) >= 2).count() < 2 {
            return None;
        }
        let trained: Vec<&[f64]> = rows.iter().map(|row| &row.trained[..]).collect();
        let maps: Vec<Vec<&[f64]>> = maps
            .iter()
            .map(|map| map.iter().map(|point| &point[..]).collect())
            .collect();
        let (permutations, seed) = (config.permutations, config.permutation_seed);
        let answer = |spaces: &[Vec<&[f64]>]| match self {
            Self::ExtremesInTheMiddle => {
                let distances: Vec<Vec<f64>> = spaces
                    .iter()
                    .map(|rows| pick(&from_centre(rows), &members))
                    .collect();
                let inner: Vec<bool> = labels.iter().map(|label| *label == 1).collect();
                of_centre(&distances, &inner, permutations, seed)
            }
            _ => {
                let graphs: Vec<Vec<Vec<usize>>> = spaces
                    .iter()
                    .map(|rows| {
                        Distances::between(&pick(rows, &members)).neighbours(config.neighbours)
                    })
                    .collect();
                of_labels(&graphs, &labels, permutations, seed)
            }
        };
        Some(Spaces {
            embedding: answer(&[trained]),
            map: answer(&maps),
        })
    }
}

/// How often each pitch is played, as the rows of a map of note messages tell: their ON tokens' counts.
pub fn played_by_rows(rows: &[NoteRow]) -> [u64; 128] {
    let mut played = [0; 128];
    for row in rows.iter().filter(|row| row.kind == TokenKind::On) {
        played[usize::from(row.pitch)] += row.count;
    }
    played
}

/// The maps called `name` of all t-SNE seeds, with a point for each row; a map that lacks one is left out.
pub fn maps_of(name: &str, rows: &[NoteRow], points: &[MapPoint]) -> Vec<Vec<[f64; 2]>> {
    let points: Vec<&MapPoint> = points.iter().filter(|point| point.map == name).collect();
    let mut seeds: Vec<u64> = points.iter().map(|point| point.seed).collect();
    seeds.dedup();
    seeds
        .iter()
        .filter_map(|seed| {
            let of_seed = points.iter().filter(|point| point.seed == *seed);
            let places: std::collections::BTreeMap<&str, [f64; 2]> = of_seed
                .map(|point| (point.token.as_str(), [point.x, point.y]))
                .collect();
            rows.iter()
                .map(|row| places.get(row.token.as_str()).copied())
                .collect()
        })
        .collect()
}

fn pick<T: Clone>(all: &[T], members: &[usize]) -> Vec<T> {
    members.iter().map(|i| all[*i].clone()).collect()
}

/// The distance of each row to the mean of all.
fn from_centre(rows: &[&[f64]]) -> Vec<f64> {
    let width = rows.first().map_or(0, |row| row.len());
    let mean: Vec<f64> = (0..width)
        .map(|d| rows.iter().map(|row| row[d]).sum::<f64>() / rows.len() as f64)
        .collect();
    let squared = |row: &&[f64]| -> f64 {
        let parts = row.iter().zip(&mean).map(|(x, m)| (x - m) * (x - m));
        parts.sum()
    };
    rows.iter().map(|row| squared(row).sqrt()).collect()
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::random;

    /// Rows as the paper draws Figure 1: mid-range ON and OFF in two clusters, the lowest and highest notes between them.
    fn as_drawn() -> (Vec<NoteRow>, Vec<[f64; 2]>) {
        let mut rng = random::stream(1, "as drawn");
        let mut rows = Vec::new();
        for pitch in 30..90_u8 {
            for (kind, side) in [(TokenKind::On, -1.0), (TokenKind::Off, 1.0)] {
                let distance = f64::from(pitch.abs_diff(60));
                let away = if distance < 16.0 { 8.0 } else { 0.0 };
                rows.push(NoteRow {
                    token: format!("note-{}-{pitch}-0", kind.name()),
                    kind,
                    pitch,
                    count: (1000.0 * (-distance * distance / 200.0).exp()) as u64 + 1,
                    trained: vec![
                        side * away + rng.gen_range(-1.0..1.0),
                        rng.gen_range(-1.0..1.0),
                    ],
                    untrained: vec![0.0; 2],
                });
            }
        }
        let map = rows
            .iter()
            .map(|row| [row.trained[0], row.trained[1]])
            .collect();
        (rows, map)
    }

    #[test]
    fn figure_1_as_the_paper_draws_it_answers_each_question_as_the_paper_does() {
        let (rows, map) = as_drawn();
        let played = played_by_rows(&rows);
        let config = AnalysisConfig {
            permutations: 999,
            ..AnalysisConfig::default()
        };
        let ask = |question: Question| {
            let found = question
                .ask(&rows, &played, std::slice::from_ref(&map), &config)
                .unwrap();
            assert_eq!(found.embedding, found.map);
            found.map.outcome(found.map.p_value).name()
        };
        assert_eq!(ask(Question::OnOffMidRange), "present");
        assert_eq!(ask(Question::OnOffExtremes), "absent");
        assert_eq!(ask(Question::ExtremesInTheMiddle), "present");
    }

    #[test]
    fn without_two_labels_or_without_a_map_there_is_no_answer() {
        let (rows, map) = as_drawn();
        let played = played_by_rows(&rows);
        let config = AnalysisConfig::default();
        let notes: Vec<NoteRow> = rows
            .iter()
            .cloned()
            .map(|row| NoteRow {
                kind: TokenKind::Note,
                ..row
            })
            .collect();
        assert!(
            Question::OnOffMidRange
                .ask(&notes, &played, &[map], &config)
                .is_none()
        );
        assert!(
            Question::Registers
                .ask(&rows, &played, &[], &config)
                .is_none()
        );
    }
}
