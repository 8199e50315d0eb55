//! Maps as CSV: the points of a map, those of every map of the same tokens, and the rows that they are maps of.

use anyhow::Result;

use super::super::record::RunRecord;
use super::csv_text;
use crate::analysis::{MapPoint, NoteRow, Register};

/// What a table says of a token: itself, kind, pitch, register and count.
pub(super) fn labels_of(row: &NoteRow) -> [String; 5] {
    let register = Register::of(row.pitch).name().to_owned();
    [
        row.token.clone(),
        row.kind.name().to_owned(),
        row.pitch.to_string(),
        register,
        row.count.to_string(),
    ]
}

/// Where a point lies, as 32-bit floats: a ten-millionth of the map's size is more than a reader can see or compute with.
pub(super) fn place_of(point: &MapPoint) -> [String; 2] {
    [point.x, point.y].map(|value| (value as f32).to_string())
}

/// The points of one map.
pub(super) fn map_csv(placed: &[(&NoteRow, &MapPoint)]) -> Result<String> {
    let rows = placed
        .iter()
        .map(|(row, point)| labels_of(row).into_iter().chain(place_of(point)));
    csv_text(
        &["token", "kind", "pitch", "register", "count", "x", "y"],
        rows,
    )
}

/// The rows themselves (`e0…`), as 32-bit floats: what an embedding holds, and a mean of tokens to seven digits. The untrained ones are
/// in the run's `embeddings.parquet`.
pub(super) fn rows_csv(rows: &[NoteRow]) -> Result<String> {
    let width = rows.first().map_or(0, |row| row.trained.len());
    let names = ["token", "kind", "pitch", "register", "count"]
        .map(str::to_owned)
        .into_iter();
    let header: Vec<String> = names.chain((0..width).map(|d| format!("e{d}"))).collect();
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let values = |row: &NoteRow| {
        row.trained
            .iter()
            .map(|value| (*value as f32).to_string())
            .collect::<Vec<_>>()
    };
    csv_text(
        &header,
        rows.iter()
            .map(|row| labels_of(row).into_iter().chain(values(row))),
    )
}

/// The points of every seed's map, of the untrained map and of the principal components.
pub(super) fn every_map_csv(run: &RunRecord, map: &str, rows: &[NoteRow]) -> Result<String> {
    let of_this = |point: &&MapPoint| {
        point.map == map
            || point.map == format!("{map}-untrained")
            || point.map == format!("{map}-pca")
    };
    let named = run
        .points
        .iter()
        .filter(of_this)
        .filter_map(|point| Some((point, rows.iter().find(|row| row.token == point.token)?)));
    csv_text(
        &[
            "map", "seed", "token", "kind", "pitch", "register", "count", "x", "y",
        ],
        named.map(|(point, row)| {
            let place = [point.map.clone(), point.seed.to_string()];
            place
                .into_iter()
                .chain(labels_of(row))
                .chain(place_of(point))
        }),
    )
}
