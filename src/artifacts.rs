//! The tables that a run leaves beside its metrics, as rows and as Parquet columns: written when a run ends, read by reports.

use anyhow::{Context, Result};

use crate::analysis::{MapPoint, NoteRow, TokenKind};
use crate::run::Table;

/// File of [`Evaluation`] rows.
pub const EVALUATION: &str = "evaluation.parquet";
/// File of [`CorpusPoint`] rows.
pub const CORPUS_STATISTICS: &str = "corpus_statistics.parquet";
/// File of single-note rows, see [`NoteRow`].
pub const EMBEDDINGS: &str = "embeddings.parquet";
/// File of [`MapPoint`] rows.
pub const TSNE: &str = "tsne.parquet";
/// Nested numbers by name.
pub const STATISTICS: &str = "statistics.json";
/// The list of samples, see [`crate::sample::Sample`].
pub const SAMPLES: &str = "samples.json";

/// What a model makes of one piece.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// `train`, `valid` or `test`.
    pub split: String,
    /// The piece's name.
    pub piece: String,
    /// Its tokens or time steps.
    pub steps: u64,
    /// Its negative log-likelihood, in nats.
    pub nll: f64,
}

/// One point of a corpus figure.
#[derive(Debug, Clone, PartialEq)]
pub struct CorpusPoint {
    /// `rank_frequency`, `vocabulary_growth`, `polyphony`, `pitch` or `duration`.
    pub figure: String,
    /// The part of the corpus it counts, such as `train` or `all`.
    pub series: String,
    /// Across.
    pub x: f64,
    /// Up.
    pub y: f64,
}

/// One map's single-note rows: the map's name (`most-frequent` or `mean`) and its tokens.
pub type NoteMap = (String, Vec<NoteRow>);

/// The rows as a table.
pub fn evaluation_table(rows: &[Evaluation]) -> Result<Table> {
    Table::new()
        .with("split", texts(rows, |row| &row.split))?
        .with("piece", texts(rows, |row| &row.piece))?
        .with(
            "steps",
            rows.iter().map(|row| row.steps).collect::<Vec<u64>>(),
        )?
        .with("nll", rows.iter().map(|row| row.nll).collect::<Vec<f64>>())
}

/// The rows of such a table.
pub fn evaluation_rows(table: &Table) -> Result<Vec<Evaluation>> {
    let (splits, pieces) = (table.texts("split")?, table.texts("piece")?);
    let rows = splits
        .into_iter()
        .zip(pieces)
        .zip(table.u64s("steps")?)
        .zip(table.f64s("nll")?);
    Ok(rows
        .map(|(((split, piece), steps), nll)| Evaluation {
            split,
            piece,
            steps,
            nll,
        })
        .collect())
}

/// The points as a table.
pub fn corpus_table(points: &[CorpusPoint]) -> Result<Table> {
    Table::new()
        .with("figure", texts(points, |point| &point.figure))?
        .with("series", texts(points, |point| &point.series))?
        .with(
            "x",
            points.iter().map(|point| point.x).collect::<Vec<f64>>(),
        )?
        .with(
            "y",
            points.iter().map(|point| point.y).collect::<Vec<f64>>(),
        )
}

/// The points of such a table.
pub fn corpus_points(table: &Table) -> Result<Vec<CorpusPoint>> {
    let rows = table
        .texts("figure")?
        .into_iter()
        .zip(table.texts("series")?)
        .zip(table.f64s("x")?)
        .zip(table.f64s("y")?);
    Ok(rows
        .map(|(((figure, series), x), y)| CorpusPoint {
            figure,
            series,
            x,
            y,
        })
        .collect())
}

/// The points of all flat maps as a table.
pub fn map_table(points: &[MapPoint]) -> Result<Table> {
    Table::new()
        .with("map", texts(points, |point| &point.map))?
        .with(
            "seed",
            points.iter().map(|point| point.seed).collect::<Vec<u64>>(),
        )?
        .with("token", texts(points, |point| &point.token))?
        .with(
            "x",
            points.iter().map(|point| point.x).collect::<Vec<f64>>(),
        )?
        .with(
            "y",
            points.iter().map(|point| point.y).collect::<Vec<f64>>(),
        )
}

/// The points of such a table.
pub fn map_points(table: &Table) -> Result<Vec<MapPoint>> {
    let names = table
        .texts("map")?
        .into_iter()
        .zip(table.u64s("seed")?)
        .zip(table.texts("token")?);
    let rows = names.zip(table.f64s("x")?).zip(table.f64s("y")?);
    Ok(rows
        .map(|((((map, seed), token), x), y)| MapPoint {
            map,
            seed,
            token,
            x,
            y,
        })
        .collect())
}

/// The single-note rows of all maps as a table: trained values in `e0…`, untrained ones in `u0…`, in 32 bits as weights are (of a mean of
/// tokens, seven digits).
pub fn embeddings_table(maps: &[NoteMap]) -> Result<Table> {
    let rows: Vec<(&str, &NoteRow)> = maps
        .iter()
        .flat_map(|(map, rows)| rows.iter().map(move |row| (map.as_str(), row)))
        .collect();
    let width = rows.first().map_or(0, |(_, row)| row.trained.len());
    let mut table = Table::new()
        .with(
            "map",
            rows.iter().map(|(map, _)| *map).collect::<Vec<&str>>(),
        )?
        .with("token", texts(&rows, |(_, row)| &row.token))?
        .with(
            "kind",
            rows.iter()
                .map(|(_, row)| row.kind.name())
                .collect::<Vec<&str>>(),
        )?
        .with(
            "pitch",
            rows.iter()
                .map(|(_, row)| u32::from(row.pitch))
                .collect::<Vec<u32>>(),
        )?
        .with(
            "count",
            rows.iter().map(|(_, row)| row.count).collect::<Vec<u64>>(),
        )?;
    for (letter, values) in [
        ("e", (|row| &row.trained) as fn(&NoteRow) -> &Vec<f64>),
        ("u", |row| &row.untrained),
    ] {
        for d in 0..width {
            let column = rows
                .iter()
                .map(|(_, row)| values(row).get(d).map(|value| *value as f32))
                .collect::<Option<Vec<f32>>>();
            table = table.with(
                &format!("{letter}{d}"),
                column.context("single-note rows differ in length")?,
            )?;
        }
    }
    Ok(table)
}

/// The single-note rows of such a table, by map.
pub fn embeddings(table: &Table) -> Result<Vec<NoteMap>> {
    let width = table
        .column_names()
        .iter()
        .filter(|name| is_value(name, 'e'))
        .count();
    let columns = |letter: char| {
        (0..width)
            .map(|d| table.f64s(&format!("{letter}{d}")))
            .collect::<Result<Vec<_>>>()
    };
    let (trained, untrained) = (columns('e')?, columns('u')?);
    let (names, tokens, kinds) = (
        table.texts("map")?,
        table.texts("token")?,
        table.texts("kind")?,
    );
    let (pitches, counts) = (table.u32s("pitch")?, table.u64s("count")?);
    let mut maps: Vec<NoteMap> = Vec::new();
    for index in 0..table.height() {
        let row = NoteRow {
            token: tokens[index].clone(),
            kind: TokenKind::from_name(&kinds[index])
                .with_context(|| format!("unknown kind '{}' of a token", kinds[index]))?,
            pitch: u8::try_from(pitches[index])
                .ok()
                .filter(|pitch| *pitch < 128)
                .with_context(|| format!("pitch {} is not a MIDI pitch", pitches[index]))?,
            count: counts[index],
            trained: trained.iter().map(|column| column[index]).collect(),
            untrained: untrained.iter().map(|column| column[index]).collect(),
        };
        match maps.iter_mut().find(|(name, _)| *name == names[index]) {
            Some((_, rows)) => rows.push(row),
            None => maps.push((names[index].clone(), vec![row])),
        }
    }
    Ok(maps)
}

/// Whether a column's name is `letter` and a number.
fn is_value(name: &str, letter: char) -> bool {
    name.strip_prefix(letter)
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
}

fn texts<T>(rows: &[T], text: impl Fn(&T) -> &String) -> Vec<String> {
    rows.iter().map(|row| text(row).clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through_parquet(table: Table) -> Table {
        Table::from_parquet(&table.to_parquet().unwrap()).unwrap()
    }

    #[test]
    fn every_table_read_back_is_what_was_written() {
        let evaluation = vec![Evaluation {
            split: "test".into(),
            piece: "a".into(),
            steps: 3,
            nll: 1.5,
        }];
        assert_eq!(
            evaluation_rows(&through_parquet(evaluation_table(&evaluation).unwrap())).unwrap(),
            evaluation
        );
        let corpus = vec![CorpusPoint {
            figure: "pitch".into(),
            series: "all".into(),
            x: 60.0,
            y: 2.0,
        }];
        assert_eq!(
            corpus_points(&through_parquet(corpus_table(&corpus).unwrap())).unwrap(),
            corpus
        );
        let points = vec![MapPoint {
            map: "mean".into(),
            seed: 7,
            token: "60".into(),
            x: 0.1,
            y: -0.2,
        }];
        assert_eq!(
            map_points(&through_parquet(map_table(&points).unwrap())).unwrap(),
            points
        );
        let row = |pitch: u8| NoteRow {
            token: pitch.to_string(),
            kind: TokenKind::Note,
            pitch,
            count: 4,
            trained: vec![0.125, f64::from(pitch)],
            untrained: vec![0.25, 0.5],
        };
        let maps = vec![
            ("most-frequent".to_owned(), vec![row(60), row(61)]),
            ("mean".to_owned(), vec![row(62)]),
        ];
        assert_eq!(
            embeddings(&through_parquet(embeddings_table(&maps).unwrap())).unwrap(),
            maps
        );
        assert!(
            embeddings(&through_parquet(embeddings_table(&[]).unwrap()))
                .unwrap()
                .is_empty()
        );
    }
}
