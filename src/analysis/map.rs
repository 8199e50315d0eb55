//! How far the flat maps can be trusted, and how far they agree with one another.

use serde_json::{Value, json};

use super::PointSets;
use crate::analysis::neighbours::{Distances, continuity, trustworthiness};
use crate::analysis::projection::procrustes_distance;
use crate::analysis::tsne;

/// How faithful each flat map is to the rows it shows.
pub(super) fn map_quality(
    spaces: &PointSets,
    shares: [f64; 2],
    untrained_kl: f64,
    k: usize,
) -> Value {
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
pub(super) fn spread(maps: &[tsne::Map]) -> Value {
    let pairs = (0..maps.len()).flat_map(|i| (0..i).map(move |j| (i, j)));
    let distances: Vec<f64> = pairs
        .map(|(i, j)| procrustes_distance(&maps[i].points, &maps[j].points))
        .collect();
    json!({ "maps": maps.len(), "procrustes": summary(&distances) })
}

/// Mean, smallest and largest of the values; null for none.
pub(super) fn summary(values: &[f64]) -> Value {
    if values.is_empty() {
        return Value::Null;
    }
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let smallest = values.iter().copied().fold(f64::INFINITY, f64::min);
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    json!({ "mean": mean, "smallest": smallest, "largest": largest })
}
