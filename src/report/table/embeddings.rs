//! Whether labels keep together among single-note embeddings, and how faithful the flat maps are, against what chance gives.

use serde_json::Value;

use super::super::group::Group;
use super::super::record::{RunRecord, at_path};
use super::super::seeds::RULE;
use super::super::text::number;
use super::{Cell, Table};

const LABELS: [(&str, &str); 4] = [
    ("kind_mid_range", "ON or OFF, mid-range"),
    ("kind_outside_mid_range", "ON or OFF, other notes"),
    ("kind", "ON or OFF, all notes"),
    ("register", "low, middle, high"),
];

/// How labels keep together in each map; `None` if the runs measured no map.
pub fn fill_labels(group: &Group) -> Option<Table> {
    let run = group.shown();
    let mut rows = Vec::new();
    for (map, statistics) in run.maps() {
        for (labels, name) in LABELS
            .iter()
            .filter(|(labels, _)| at_path(statistics, &format!("{labels}.trained")).is_some())
        {
            let found = |path: &str| number_at(statistics, &format!("{labels}.{path}"));
            let path = |path: &str| format!("analysis.{map}.{labels}.{path}");
            let tested = |of: &str| tested(group, &path(of), &[("p", &path(&format!("{of}_p")))]);
            let mean = |of: &str| group.over_seeds(|run| run.number(&path(of))).cell();
            let spread = found("tsne.purity_over_seeds.smallest")
                .zip(found("tsne.purity_over_seeds.largest"));
            let spread = spread.map(|(low, high)| format!("{low:.3} to {high:.3} over maps"));
            rows.push(vec![
                Cell::text(map.replace('-', " ")).with_detail(
                    number_at(statistics, "rows").map(|rows| format!("{rows} tokens")),
                ),
                Cell::text(*name).with_detail(sizes(statistics, labels)),
                tested("trained.purity"),
                tested("untrained.purity"),
                mean("trained.purity_chance"),
                match group.runs().len() {
                    1 => mean("tsne.purity").with_detail(spread),
                    _ => mean("tsne.purity"),
                },
                tested("pca.purity"),
                tested("trained.silhouette"),
                tested("untrained.silhouette"),
            ]);
        }
    }
    let first = run.maps().next().map(|(_, statistics)| statistics)?;
    let setting = |name: &str| number_at(first, name).map_or("?".to_owned(), number);
    let caption = format!(
        "Do labels keep together? Purity: the share of a note's {} nearest neighbours (Euclidean) with its own label. p: the share of {} \
         shuffles of the labels that give at least as much, one-sided; chance is their mean. Mid-range: pitches {} to {}, the middle half of \
         the played notes. Over maps: over t-SNE seeds.{} Corpus: {}.",
        setting("settings.neighbours"),
        setting("settings.permutations"),
        setting("mid_range.lowest"),
        setting("mid_range.highest"),
        match group.runs().len() {
            1 => String::new(),
            _ => format!(" {RULE}."),
        },
        run.corpus_name(),
    );
    let columns = vec![
        "map",
        "labels",
        "purity, trained",
        "purity, untrained",
        "chance",
        "purity, t-SNE",
        "purity, PCA",
        "silhouette, trained",
        "silhouette, untrained",
    ];
    (!rows.is_empty()).then_some(Table {
        name: "embeddings",
        caption,
        columns,
        rows,
    })
}

/// How faithful each flat map is to the rows it shows; `None` if the run measured no map.
pub fn fill_maps(group: &Group) -> Option<Table> {
    let run = group.shown();
    const SPACES: [(&str, &str); 3] = [
        ("tsne", "t-SNE"),
        ("pca", "principal components"),
        ("untrained_tsne", "t-SNE of untrained rows"),
    ];
    let mut rows = Vec::new();
    for (map, statistics) in run.maps() {
        for (space, name) in SPACES
            .iter()
            .filter(|(space, _)| at_path(statistics, &format!("map.{space}")).is_some())
        {
            let found = |path: &str| number_at(statistics, &format!("map.{space}.{path}"));
            let over_seeds = |statistic: &str| {
                let (low, high) = (
                    found(&format!("{statistic}_over_seeds.smallest"))?,
                    found(&format!("{statistic}_over_seeds.largest"))?,
                );
                Some(format!("{low:.3} to {high:.3} over seeds"))
            };
            let drawn =
                |statistic: &str| Cell::number(found(statistic)).with_detail(over_seeds(statistic));
            let shares = found("variance_first").zip(found("variance_second"));
            let spread = (*space == "tsne")
                .then(|| number_at(statistics, "spread.procrustes.mean"))
                .flatten();
            rows.push(vec![
                Cell::text(map.replace('-', " ")),
                Cell::text(*name)
                    .with_detail(shares.map(|(a, b)| {
                        format!("{:.1} % and {:.1} % of the variance", 100.0 * a, 100.0 * b)
                    }))
                    .with_detail(lowered_perplexity(statistics).filter(|_| *space != "pca")),
                drawn("trustworthiness"),
                drawn("continuity"),
                drawn("kl"),
                Cell::number(spread),
            ]);
        }
    }
    let caption = format!(
        "How faithful are the maps? Trustworthiness and continuity of nearest neighbours, 1 at best; the divergence that t-SNE \
                   minimises, in nats; and how far maps of other seeds lie once aligned (Procrustes distance, 0 to 1, mean over pairs).{}",
        group.only_shown()
    );
    let columns = vec![
        "map",
        "picture",
        "trustworthiness",
        "continuity",
        "KL divergence",
        "seed to seed",
    ];
    (!rows.is_empty()).then_some(Table {
        name: "maps",
        caption,
        columns,
        rows,
    })
}

/// The perplexity of a map's t-SNE pictures beside the one that was asked for, where the map has too few rows for that.
pub(in super::super) fn lowered_perplexity(statistics: &Value) -> Option<String> {
    let setting = |name: &str| number_at(statistics, &format!("settings.{name}"));
    let (used, asked) = (setting("perplexity")?, setting("perplexity_asked")?);
    (used != asked).then(|| format!("perplexity {used:.1}, asked for: {}", number(asked)))
}

/// A measured number over seeds, and below it its p-values: of several seeds, the largest of each.
pub(super) fn tested(group: &Group, value: &str, ps: &[(&str, &str)]) -> Cell {
    let in_words = |run: &RunRecord| {
        let of =
            |(name, path): &(&str, &str)| Some(format!("{name} {}", number(run.number(path)?)));
        ps.iter().filter_map(of).collect::<Vec<_>>().join(", ")
    };
    let values = group.noted(|run| Some((run.number(value)?, in_words(run))));
    let largest = |(name, path): &(&str, &str)| {
        let largest = group.over_seeds(|run| run.number(path)).largest()?;
        Some(format!("{name} ≤ {}", number(largest)))
    };
    let of_all = values
        .varies()
        .then(|| ps.iter().filter_map(largest).collect::<Vec<_>>().join(", "));
    values.cell().with_detail(of_all)
}

/// `p` and the number.
pub(super) fn p_value(p: f64) -> String {
    format!("p {}", number(p))
}

/// How many tokens carry each label.
fn sizes(statistics: &Value, labels: &str) -> Option<String> {
    let points = at_path(statistics, &format!("{labels}.points"))?.as_object()?;
    let sizes = points
        .iter()
        .filter_map(|(name, count)| Some(format!("{} {name}", count.as_u64()?)));
    Some(sizes.collect::<Vec<_>>().join(", "))
}

/// The number at a dotted path.
pub(super) fn number_at(value: &Value, path: &str) -> Option<f64> {
    at_path(value, path).and_then(Value::as_f64)
}
