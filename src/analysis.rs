//! Single-note embeddings → maps and numbers: the paper's visual claims, made measurable.
//!
//! A run calls [`analyse`] once for each map when it ends and stores what comes back; pages draw from that and never compute.
//! What is compared: the trained rows in their own space, the same tokens' rows before training, and two flat pictures of the
//! trained rows (t-SNE and principal components). How labels keep together is asked for ON against OFF and for the three registers.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Map as Json, Value, json};

use crate::metric::embedding::{
    Distances, centroid_distance, continuity, permutation_test, purity, silhouette, trustworthiness,
};
use crate::metric::projection::{principal_components, procrustes_distance};
use crate::tsne;

/// The fewest single-note rows that are analysed.
pub const FEWEST_ROWS: usize = 8;

/// What a single-note token says about its note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenKind {
    /// The note starts (MIDI messages).
    On,
    /// The note ends (MIDI messages).
    Off,
    /// The note sounds (chords and keys).
    Note,
}

impl TokenKind {
    /// The name in tables: `on`, `off` or `note`.
    pub fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Note => "note",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::On, Self::Off, Self::Note]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

/// A third of the keyboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Register {
    /// Pitches below 48.
    Low,
    /// Pitches from 48 to 71.
    Middle,
    /// Pitches from 72.
    High,
}

impl Register {
    /// The register of a MIDI pitch.
    pub fn of(pitch: u8) -> Self {
        match pitch {
            0..48 => Self::Low,
            48..72 => Self::Middle,
            _ => Self::High,
        }
    }

    /// The name in tables: `low`, `middle` or `high`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Middle => "middle",
            Self::High => "high",
        }
    }
}

/// One single-note token's embedding, or the mean of several tokens of the same kind and pitch.
#[derive(Debug, Clone, PartialEq)]
pub struct NoteRow {
    /// The token, or a name for the mean.
    pub token: String,
    /// What it says about its note.
    pub kind: TokenKind,
    /// MIDI pitch.
    pub pitch: u8,
    /// How often it occurs in the corpus the vocabulary was made from.
    pub count: u64,
    /// The trained embedding.
    pub trained: Vec<f64>,
    /// The same row at initialisation.
    pub untrained: Vec<f64>,
}

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

/// One token's place in one flat map.
#[derive(Debug, Clone, PartialEq)]
pub struct MapPoint {
    /// The map's name; `<name>-untrained` and `<name>-pca` are the yardsticks' maps.
    pub map: String,
    /// The t-SNE seed; 0 for principal components.
    pub seed: u64,
    /// The token.
    pub token: String,
    /// Across.
    pub x: f64,
    /// Up.
    pub y: f64,
}

/// What [`analyse`] found.
#[derive(Debug, Clone, PartialEq)]
pub struct Analysis {
    /// Numbers by dotted path `<labels>.<space>.<statistic>`, beside `map.…`, `spread.…` and `settings.…`.
    pub statistics: Value,
    /// The points of every flat map.
    pub points: Vec<MapPoint>,
}

/// Measures every map of a run; `statistics` holds each by name.
///
/// `statistics.claims` repeats what the paper's sentences are judged by, of the first map's trained rows: `on_off_mid_range`,
/// `on_off_outer` and `registers`, each with `purity`, `chance`, `p_value` and `silhouette`.
pub fn analyse_all(
    maps: &[(String, Vec<NoteRow>)],
    played: &[u64; 128],
    config: &AnalysisConfig,
) -> Result<Analysis> {
    let mut all = Analysis {
        statistics: Value::Null,
        points: Vec::new(),
    };
    let mut statistics = Json::new();
    for (name, rows) in maps {
        let analysis = analyse(name, rows, played, config)?;
        statistics.insert(name.clone(), analysis.statistics);
        all.points.extend(analysis.points);
    }
    if let Some(first) = maps.first().map(|(name, _)| &statistics[name]) {
        let claim = |labels: &str| {
            let found = &first[labels]["trained"];
            json!({ "purity": found["purity"], "chance": found["purity_chance"], "p_value": found["purity_p"], "silhouette": found["silhouette"] })
        };
        let claims = json!({
            "on_off_mid_range": claim("kind_mid_range"),
            "on_off_outer": claim("kind_outside_mid_range"),
            "registers": claim("register"),
        });
        statistics.insert("claims".to_owned(), claims);
    }
    all.statistics = Value::Object(statistics);
    Ok(all)
}

/// Measures the rows of the map called `name` (such as `most-frequent` or `mean`).
///
/// `played` counts the notes of each pitch in the corpus: the middle half of them bounds the "mid-range". With fewer than
/// [`FEWEST_ROWS`] rows, or rows that t-SNE cannot map, nothing is measured and `statistics.skipped` says why: a trained model
/// is not lost for want of a map.
pub fn analyse(
    name: &str,
    rows: &[NoteRow],
    played: &[u64; 128],
    config: &AnalysisConfig,
) -> Result<Analysis> {
    let trained: Vec<Vec<f64>> = rows.iter().map(|row| row.trained.clone()).collect();
    let untrained: Vec<Vec<f64>> = rows.iter().map(|row| row.untrained.clone()).collect();
    let skipped = |why: String| Analysis {
        statistics: json!({ "rows": rows.len(), "skipped": why }),
        points: Vec::new(),
    };
    if rows.len() < FEWEST_ROWS {
        let rows = rows.len();
        return Ok(skipped(format!(
            "{rows} single-note tokens; at least {FEWEST_ROWS} are needed"
        )));
    }
    let perplexity = config.perplexity.min(tsne::largest_perplexity(rows.len()));
    let first_seed = config.seeds.first().copied().unwrap_or(0);
    let map = |rows: &[Vec<f64>], seed: u64| tsne::embed(rows, perplexity, config.iterations, seed);
    let maps = config
        .seeds
        .iter()
        .map(|seed| map(&trained, *seed))
        .collect::<Result<Vec<_>>>();
    let (maps, untrained_map) = match (maps, map(&untrained, first_seed)) {
        (Ok(maps), Ok(untrained_map)) => (maps, untrained_map),
        (Err(error), _) | (_, Err(error)) => {
            return Ok(skipped(format!(
                "failed to draw the map '{name}': {error:#}"
            )));
        }
    };
    let (pca, shares) = principal_components(&trained);

    let mut points = Vec::new();
    let mut keep = |map: String, seed: u64, places: &[[f64; 2]]| {
        points.extend(rows.iter().zip(places).map(|(row, [x, y])| MapPoint {
            map: map.clone(),
            seed,
            token: row.token.clone(),
            x: *x,
            y: *y,
        }));
    };
    for (map, seed) in maps.iter().zip(&config.seeds) {
        keep(name.to_owned(), *seed, &map.points);
    }
    keep(
        format!("{name}-untrained"),
        first_seed,
        &untrained_map.points,
    );
    keep(format!("{name}-pca"), 0, &pca);

    let mut statistics = Json::new();
    statistics.insert("rows".to_owned(), json!(rows.len()));
    let mut used = serde_json::to_value(config)?;
    used["perplexity"] = json!(perplexity);
    used["perplexity_asked"] = json!(config.perplexity);
    statistics.insert("settings".to_owned(), used);
    let (low, high) = mid_range(played);
    statistics.insert(
        "mid_range".to_owned(),
        json!({ "lowest": low, "highest": high }),
    );

    let spaces = Spaces {
        trained: &trained,
        untrained: &untrained,
        pca: &pca,
        untrained_map: &untrained_map.points,
        maps: &maps,
    };
    for labelling in labellings(rows, low, high) {
        statistics.insert(
            labelling.name.to_owned(),
            labelling.measure(&spaces, config),
        );
    }
    statistics.insert(
        "map".to_owned(),
        map_quality(&spaces, shares, untrained_map.kl, config.neighbours),
    );
    statistics.insert("spread".to_owned(), spread(&maps));
    Ok(Analysis {
        statistics: Value::Object(statistics),
        points,
    })
}

/// The lowest and highest pitch of the middle half of the played notes: a quarter of the notes lies below, a quarter above.
pub fn mid_range(played: &[u64; 128]) -> (u8, u8) {
    let total: u64 = played.iter().sum();
    let quantile = |quarters: u64| {
        let mut below = 0;
        let reached = played.iter().position(|count| {
            below += count;
            4 * below >= quarters * total && below > 0
        });
        reached.unwrap_or(0) as u8
    };
    (quantile(1), quantile(3))
}

/// The point sets that every labelling is measured in.
struct Spaces<'a> {
    trained: &'a [Vec<f64>],
    untrained: &'a [Vec<f64>],
    pca: &'a [[f64; 2]],
    untrained_map: &'a [[f64; 2]],
    maps: &'a [tsne::Map],
}

/// One question about labels: which rows take part, and each one's label.
struct Labelling {
    name: &'static str,
    classes: Vec<&'static str>,
    members: Vec<usize>,
    labels: Vec<usize>,
}

/// ON against OFF among mid-range notes, among the others and among all; the three registers.
fn labellings(rows: &[NoteRow], low: u8, high: u8) -> Vec<Labelling> {
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
    fn measure(&self, spaces: &Spaces, config: &AnalysisConfig) -> Value {
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

/// How faithful each flat map is to the rows it shows.
fn map_quality(spaces: &Spaces, shares: [f64; 2], untrained_kl: f64, k: usize) -> Value {
    let space = Distances::between(spaces.trained);
    let faith = |space: &Distances, points: &[[f64; 2]]| {
        let map = Distances::between(points);
        (trustworthiness(space, &map, k), continuity(space, &map, k))
    };
    let maps: Vec<(f64, f64)> = spaces
        .maps
        .iter()
        .map(|map| faith(&space, &map.points))
        .collect();
    let kls: Vec<f64> = spaces.maps.iter().map(|map| map.kl).collect();
    let trust: Vec<f64> = maps.iter().map(|it| it.0).collect();
    let keep: Vec<f64> = maps.iter().map(|it| it.1).collect();
    let pca = faith(&space, spaces.pca);
    let untrained = faith(&Distances::between(spaces.untrained), spaces.untrained_map);
    json!({
        "tsne": {
            "kl": kls.first(), "trustworthiness": trust.first(), "continuity": keep.first(),
            "kl_over_seeds": summary(&kls), "trustworthiness_over_seeds": summary(&trust), "continuity_over_seeds": summary(&keep),
        },
        "pca": { "variance_first": shares[0], "variance_second": shares[1], "trustworthiness": pca.0, "continuity": pca.1 },
        "untrained_tsne": { "kl": untrained_kl, "trustworthiness": untrained.0, "continuity": untrained.1 },
    })
}

/// How far the maps of different seeds lie from one another, once aligned.
fn spread(maps: &[tsne::Map]) -> Value {
    let pairs = (0..maps.len()).flat_map(|i| (0..i).map(move |j| (i, j)));
    let distances: Vec<f64> = pairs
        .map(|(i, j)| procrustes_distance(&maps[i].points, &maps[j].points))
        .collect();
    json!({ "maps": maps.len(), "procrustes": summary(&distances) })
}

/// Mean, smallest and largest of the values; null for none.
fn summary(values: &[f64]) -> Value {
    if values.is_empty() {
        return Value::Null;
    }
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let smallest = values.iter().copied().fold(f64::INFINITY, f64::min);
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    json!({ "mean": mean, "smallest": smallest, "largest": largest })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random;
    use rand::Rng;

    /// ON and OFF rows of pitches 36 to 83, apart by `gap` once trained.
    fn rows(gap: f64) -> Vec<NoteRow> {
        let mut rng = random::stream(9, "rows");
        let mut noise = |shift: f64| -> Vec<f64> {
            (0..6)
                .map(|d| rng.gen_range(-1.0..1.0) + if d == 0 { shift } else { 0.0 })
                .collect()
        };
        (36..84)
            .flat_map(|pitch| [(pitch, TokenKind::On), (pitch, TokenKind::Off)])
            .map(|(pitch, kind)| NoteRow {
                token: format!("note-{}-{pitch}-0", kind.name()),
                kind,
                pitch,
                count: 100,
                trained: noise(if kind == TokenKind::On { gap } else { 0.0 }),
                untrained: noise(0.0),
            })
            .collect()
    }

    fn quick() -> AnalysisConfig {
        AnalysisConfig {
            iterations: 250,
            seeds: vec![0, 1],
            permutations: 199,
            ..AnalysisConfig::default()
        }
    }

    #[test]
    fn separate_on_and_off_rows_are_found_and_random_ones_are_not() {
        let apart = analyse("most-frequent", &rows(10.0), &[1; 128], &quick()).unwrap();
        let kind = &apart.statistics["kind_mid_range"];
        assert_eq!(kind["trained"]["purity"], 1.0);
        assert_eq!(kind["trained"]["purity_p"], 0.005);
        assert_eq!(kind["tsne"]["purity"], 1.0);
        assert!(kind["untrained"]["purity_p"].as_f64().unwrap() > 0.05);
        assert!(kind["trained"]["silhouette"].as_f64().unwrap() > 0.5);
        // 96 rows in two t-SNE maps, one untrained map and one of principal components.
        assert_eq!(apart.points.len(), 4 * 96);
        assert_eq!(apart.statistics["settings"]["perplexity"], 30.0);
    }

    #[test]
    fn the_middle_half_of_the_notes_is_found_from_their_counts() {
        let mut played = [0; 128];
        played[60..70].fill(10);
        assert_eq!(mid_range(&played), (62, 67));
        assert_eq!(mid_range(&[0; 128]), (0, 0));
    }

    #[test]
    fn too_few_rows_say_so_instead_of_failing() {
        let few = analyse("mean", &rows(1.0)[..5], &[1; 128], &quick()).unwrap();
        assert_eq!(
            few.statistics["skipped"],
            "5 single-note tokens; at least 8 are needed"
        );
        assert!(few.points.is_empty());
    }

    #[test]
    fn rows_without_on_and_off_are_measured_by_register_alone() {
        let mut notes = rows(0.0);
        notes.iter_mut().for_each(|row| row.kind = TokenKind::Note);
        let analysis = analyse("most-frequent", &notes, &[1; 128], &quick()).unwrap();
        assert!(analysis.statistics["kind"]["skipped"].is_string());
        assert!(analysis.statistics["register"]["trained"]["purity"].is_number());
    }

    #[test]
    fn registers_split_at_48_and_72() {
        let names = [47, 48, 71, 72].map(|pitch| Register::of(pitch).name());
        assert_eq!(names, ["low", "middle", "middle", "high"]);
    }
}
