//! Whether labels keep together among single-note embeddings, in their own space and in flat maps, against what chance gives.

use super::super::record::{RunRecord, at_path};
use super::{Cell, Table};

const LABELS: [(&str, &str); 4] = [
    ("kind_mid_range", "ON or OFF, mid-range"),
    ("kind_outside_mid_range", "ON or OFF, other notes"),
    ("kind", "ON or OFF, all notes"),
    ("register", "low, middle, high"),
];

const SPACES: [(&str, &str); 5] = [
    ("trained", "trained embeddings"),
    ("untrained", "untrained embeddings"),
    ("tsne", "t-SNE map"),
    ("pca", "principal components"),
    ("untrained_tsne", "t-SNE map, untrained"),
];

/// The statistics of a run's maps; `None` if it has none.
pub fn fill(run: &RunRecord) -> Option<Table> {
    let mut rows = Vec::new();
    for (map, statistics) in run.maps() {
        for (labels, labels_name) in LABELS {
            for (space, space_name) in SPACES {
                let Some(found) = at_path(statistics, &format!("{labels}.{space}")) else { continue };
                let number = |name: &str| at_path(found, name).and_then(|it| it.as_f64());
                let spread = number("purity_over_seeds.smallest").zip(number("purity_over_seeds.largest"));
                let spread = spread.map(|(low, high)| format!("{low:.3} to {high:.3} over seeds"));
                let faith = number_at(statistics, &format!("map.{space}.trustworthiness"));
                rows.push(vec![
                    Cell::text(map.replace('-', " ")),
                    Cell::text(labels_name),
                    Cell::text(space_name),
                    Cell::number(number("purity")).with_detail(spread),
                    Cell::number(number("purity_chance")),
                    Cell::number(number("purity_p")),
                    Cell::number(number("silhouette")).with_detail(number("silhouette_p").map(|p| format!("p {p:.4}"))),
                    Cell::number(faith),
                    Cell::number(number_at(statistics, &format!("map.{space}.continuity"))),
                ]);
            }
        }
    }
    let first = run.maps().next().map(|(_, statistics)| statistics);
    let setting = |name: &str| first.and_then(|it| number_at(it, name)).map_or("?".to_owned(), super::super::text::number);
    let caption = format!(
        "Do labels keep together? Purity: the share of a note's {} nearest neighbours (Euclidean) with its own label, against shuffled \
         labels (chance; one-sided p over {} shuffles). Mid-range: pitches {} to {}, the middle half of the played notes. \
         Maps of other seeds differ by {} on average (Procrustes distance, 0 to 1).",
        setting("settings.neighbours"),
        setting("settings.permutations"),
        setting("mid_range.lowest"),
        setting("mid_range.highest"),
        setting("spread.procrustes.mean"),
    );
    let columns = vec!["map", "labels", "space", "purity", "chance", "p", "silhouette", "trustworthiness", "continuity"];
    (!rows.is_empty()).then_some(Table { name: "embeddings", caption, columns, rows })
}

fn number_at(value: &serde_json::Value, path: &str) -> Option<f64> {
    at_path(value, path).and_then(|it| it.as_f64())
}
