//! Single-note embeddings → maps and numbers: the paper's visual claims, made measurable.
//!
//! A run calls [`analyse`] once for each map when it ends and stores what comes back; pages draw from that and never compute.
//! What is compared: the trained rows in their own space, the same tokens' rows before training, and two flat pictures of the
//! trained rows (t-SNE and principal components). How labels keep together is asked for ON against OFF and for the three registers;
//! how pitch is laid out, of the rows alone.

mod config;
pub mod geometry;
mod labelling;
mod map;
pub mod neighbours;
mod note;
pub mod permutation;
pub mod projection;
mod question;
pub mod single_note;
mod structure;
pub mod tsne;

use anyhow::Result;
use serde_json::{Map as Json, Value, json};

use labelling::labellings;
use map::{map_quality, spread};
use projection::principal_components;

pub use config::AnalysisConfig;
pub use note::{NoteRow, Register, TokenKind};
pub use question::{Question, Spaces, maps_of, played_by_rows};
pub use structure::{BOUND, LEVEL, Outcome, Structure};

/// The fewest single-note rows that are analysed.
pub const FEWEST_ROWS: usize = 8;

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
    /// Numbers by dotted path `<labels>.<space>.<statistic>`, beside `map.…`, `spread.…`, `settings.…` and
    /// `geometry.<space>.<rows>.<test>`.
    pub statistics: Value,
    /// The points of every flat map.
    pub points: Vec<MapPoint>,
}

/// Measures every map of a run; `statistics` holds each by name.
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

    let spaces = PointSets {
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
    statistics.insert("geometry".to_owned(), geometry::measure(rows, config));
    Ok(Analysis {
        statistics: Value::Object(statistics),
        points,
    })
}

/// The lowest and highest pitch of the middle half of the played notes: a quarter of the notes lies below, a quarter above.
pub fn mid_range(played: &[u64; 128]) -> (u8, u8) {
    (
        quantile_pitch(played, (1, 4)),
        quantile_pitch(played, (3, 4)),
    )
}

/// The first pitch at which the share of the notes played so far, from below, reaches `share`, a numerator and a denominator.
fn quantile_pitch(played: &[u64; 128], share: (u64, u64)) -> u8 {
    let total: u64 = played.iter().sum();
    let mut below = 0;
    let reached = played.iter().position(|count| {
        below += count;
        share.1 * below >= share.0 * total && below > 0
    });
    reached.unwrap_or(0) as u8
}

/// The point sets that every labelling is measured in.
struct PointSets<'a> {
    trained: &'a [Vec<f64>],
    untrained: &'a [Vec<f64>],
    pca: &'a [[f64; 2]],
    untrained_map: &'a [[f64; 2]],
    maps: &'a [tsne::Map],
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
}
