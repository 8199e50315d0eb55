//! Tables of named columns, as polars holds them and Parquet stores them: with `metrics.rs`, the door of polars.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Context, Result, anyhow, bail, ensure};
use polars::prelude::{
    ChunkCompareEq, Column, DataFrame, DataType, ParallelStrategy, ParquetCompression,
    ParquetReader, ParquetWriter, PolarsResult, SerReader, Series, SortMultipleOptions,
};

use crate::checksum::sha256;

/// No table of a run comes near this many bytes; a file that does is not ours to read.
const MOST_BYTES: usize = 1 << 30;

/// No table of a run comes near this many rows. (A few bytes of Parquet can promise any number.)
const MOST_ROWS: usize = 1 << 26;

/// What stands before the checksum that every table carries between its data and its footer, where Parquet allows any
/// bytes. A damaged file must never reach polars, which may ask for any amount of memory over it and abort.
const MARK: &[u8] = b"harness-sha256:";

/// How many bytes [`MARK`] and the checksum's digits take.
const MARK_AND_DIGITS: usize = MARK.len() + 64;

/// Columns of equal height, each of one type.
#[derive(Debug, Clone)]
pub struct Table {
    pub(super) frame: DataFrame,
}

/// The values of one column.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Counts, steps, ids.
    U64(Vec<u64>),
    /// Small counts, such as epochs.
    U32(Vec<u32>),
    /// Measurements.
    F64(Vec<f64>),
    /// Weights.
    F32(Vec<f32>),
    /// Names.
    Text(Vec<String>),
}

/// What kind of values a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// Whole numbers from 0.
    Whole,
    /// Floating-point numbers.
    Number,
    /// Text.
    Text,
}

macro_rules! values_from {
    ($($variant:ident: $kind:ty),*) => {$(
        impl From<Vec<$kind>> for Values {
            fn from(values: Vec<$kind>) -> Self {
                Self::$variant(values)
            }
        }
    )*};
}
values_from!(U64: u64, U32: u32, F64: f64, F32: f32, Text: String);

impl From<Vec<&str>> for Values {
    fn from(values: Vec<&str>) -> Self {
        Self::Text(values.into_iter().map(String::from).collect())
    }
}

impl Default for Table {
    fn default() -> Self {
        Self::new()
    }
}

impl Table {
    /// A table without columns.
    pub fn new() -> Self {
        Self {
            frame: DataFrame::empty(),
        }
    }

    /// The table with one more column at its right. Fails if the name is taken or the height another.
    pub fn with(mut self, name: &str, values: impl Into<Values>) -> Result<Self> {
        let column = match values.into() {
            Values::U64(values) => Column::new(name.into(), values),
            Values::U32(values) => Column::new(name.into(), values),
            Values::F64(values) => Column::new(name.into(), values),
            Values::F32(values) => Column::new(name.into(), values),
            Values::Text(values) => Column::new(name.into(), values),
        };
        let mut columns = self.frame.columns().to_vec();
        columns.push(column);
        self.frame = DataFrame::new_infer_height(columns)
            .with_context(|| format!("column '{name}' does not fit the table's other columns"))?;
        Ok(self)
    }

    /// How many rows there are.
    pub fn height(&self) -> usize {
        self.frame.height()
    }

    /// The columns' names, from left to right.
    pub fn column_names(&self) -> Vec<String> {
        self.frame
            .get_column_names()
            .iter()
            .map(|name| name.to_string())
            .collect()
    }

    /// The columns' names and kinds, from left to right.
    pub fn columns(&self) -> Result<Vec<(String, ColumnKind)>> {
        let kind = |column: &Column| match column.dtype() {
            DataType::UInt32 | DataType::UInt64 => Ok(ColumnKind::Whole),
            DataType::Float32 | DataType::Float64 => Ok(ColumnKind::Number),
            DataType::String => Ok(ColumnKind::Text),
            other => bail!("column '{}' has the type {other}", column.name()),
        };
        let columns = self.frame.columns().iter();
        columns
            .map(|column| Ok((column.name().to_string(), kind(column)?)))
            .collect()
    }

    /// The column `name`, whose values are whole numbers from 0.
    pub fn u64s(&self, name: &str) -> Result<Vec<u64>> {
        self.numbers(name, |series| {
            Ok(series.u64()?.iter().collect::<Option<Vec<u64>>>())
        })
    }

    /// The column `name`, whose values are small whole numbers from 0.
    pub fn u32s(&self, name: &str) -> Result<Vec<u32>> {
        self.numbers(name, |series| {
            Ok(series.u32()?.iter().collect::<Option<Vec<u32>>>())
        })
    }

    /// The column `name`, whose values are floating-point numbers of 64 or 32 bits.
    pub fn f64s(&self, name: &str) -> Result<Vec<f64>> {
        self.numbers(name, |series| {
            Ok(match series.f32() {
                Ok(values) => values.iter().map(|it| it.map(f64::from)).collect(),
                Err(_) => series.f64()?.iter().collect::<Option<Vec<f64>>>(),
            })
        })
    }

    /// The column `name`, whose values are text.
    pub fn texts(&self, name: &str) -> Result<Vec<String>> {
        self.numbers(name, |series| {
            Ok(series
                .str()?
                .iter()
                .map(|it| it.map(String::from))
                .collect::<Option<Vec<String>>>())
        })
    }

    fn numbers<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Series) -> PolarsResult<Option<Vec<T>>>,
    ) -> Result<Vec<T>> {
        let series = self.frame.column(name).map_err(|_| {
            anyhow!(
                "no column '{name}' in a table of {}",
                self.column_names().join(", ")
            )
        })?;
        read(series.as_materialized_series())
            .with_context(|| format!("column '{name}' is not of the type that was expected"))?
            .with_context(|| format!("column '{name}' lacks some values"))
    }

    /// The rows whose `column` is `text`.
    pub fn rows_where(&self, column: &str, text: &str) -> Result<Self> {
        let series = self
            .frame
            .column(column)
            .with_context(|| format!("no column '{column}' to choose rows by"))?;
        let mask = series
            .str()
            .with_context(|| format!("column '{column}' is not text"))?
            .equal(text);
        Ok(Self {
            frame: self
                .frame
                .filter(&mask)
                .with_context(|| format!("failed to choose rows by '{column}'"))?,
        })
    }

    /// The rows in ascending order of `columns`; equal rows keep their order.
    pub fn sorted_by(&self, columns: &[&str]) -> Result<Self> {
        let options = SortMultipleOptions::default()
            .with_maintain_order(true)
            .with_multithreaded(false);
        let frame = self.frame.sort(columns.iter().copied(), options);
        Ok(Self {
            frame: frame
                .with_context(|| format!("failed to sort a table by {}", columns.join(", ")))?,
        })
    }

    /// The table as a Parquet file: one row group, and nothing in it but the table and a checksum, so equal tables give
    /// equal bytes.
    pub fn to_parquet(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut frame = self.frame.clone();
        frame.rechunk_mut();
        ParquetWriter::new(&mut bytes)
            .with_compression(ParquetCompression::Zstd(None))
            .with_row_group_size(Some(frame.height().max(1)))
            .set_parallel(false)
            .finish(&mut frame)
            .context("failed to write a table as Parquet")?;
        let footer = footer_start(&bytes).context("polars wrote no whole Parquet file")?;
        let checksum = sha256(&bytes);
        bytes.splice(footer..footer, MARK.iter().copied().chain(checksum.bytes()));
        Ok(bytes)
    }

    /// Reads the bytes of a table that harness wrote. Any other bytes are an error.
    pub fn from_parquet(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > MOST_BYTES {
            bail!(
                "{} bytes are more than a run's table can have ({MOST_BYTES})",
                bytes.len()
            );
        }
        check(bytes)?;
        Self::from_intact_parquet(bytes)
    }

    /// As [`Table::from_parquet`], for bytes that are known to be what was written, by a checksum kept elsewhere.
    pub(super) fn from_intact_parquet(bytes: &[u8]) -> Result<Self> {
        let bytes = bytes.to_vec();
        let read = AssertUnwindSafe(move || -> Result<DataFrame> {
            let mut reader =
                ParquetReader::new(Cursor::new(bytes)).read_parallel(ParallelStrategy::None);
            let rows = reader.num_rows().context("not a Parquet file")?;
            if rows > MOST_ROWS {
                bail!("{rows} rows are more than a run's table can have ({MOST_ROWS})");
            }
            reader
                .finish()
                .context("not a Parquet file that polars can read")
        });
        let frame = catch_unwind(read)
            .map_err(|_| anyhow!("its bytes are not a Parquet file that polars can read"))??;
        Ok(Self { frame })
    }
}

/// Whether `bytes` carry their own checksum.
fn check(bytes: &[u8]) -> Result<()> {
    let footer = footer_start(bytes).context("it is not a whole Parquet file")?;
    let mark = footer
        .checked_sub(MARK_AND_DIGITS)
        .filter(|at| bytes[*at..].starts_with(MARK));
    let mark = mark.context("it carries no checksum, as every table does that harness writes")?;
    let without = [&bytes[..mark], &bytes[footer..]].concat();
    ensure!(
        bytes[mark + MARK.len()..footer] == *sha256(&without).as_bytes(),
        "its bytes do not have the checksum they carry"
    );
    Ok(())
}

/// Where the footer begins: a Parquet file ends with the footer, its length in 4 bytes, and `PAR1`.
fn footer_start(bytes: &[u8]) -> Option<usize> {
    let rest = bytes.strip_suffix(b"PAR1")?;
    let (rest, length) = rest.split_last_chunk::<4>()?;
    rest.len().checked_sub(u32::from_le_bytes(*length) as usize)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Table {
        Table::new()
            .with("piece", vec!["b", "a", "c"])
            .and_then(|it| it.with("steps", vec![2u64, 1, u64::MAX]))
            .and_then(|it| it.with("nll", vec![0.5, f64::NAN, -0.0]))
            .unwrap()
    }

    #[test]
    fn a_table_read_back_is_the_table_written() {
        let table = Table::from_parquet(&sample().to_parquet().unwrap()).unwrap();
        assert_eq!(table.texts("piece").unwrap(), ["b", "a", "c"]);
        assert_eq!(table.u64s("steps").unwrap(), [2, 1, u64::MAX]);
        let bits: Vec<u64> = table
            .f64s("nll")
            .unwrap()
            .into_iter()
            .map(f64::to_bits)
            .collect();
        assert_eq!(bits, [0.5, f64::NAN, -0.0].map(f64::to_bits));
    }

    #[test]
    fn columns_have_the_kinds_of_their_values() {
        let table = sample()
            .with("weight", vec![0.5f32, 1.0, 2.0])
            .and_then(|it| it.with("epoch", vec![1u32, 2, 3]))
            .unwrap();
        let (whole, number, text) = (ColumnKind::Whole, ColumnKind::Number, ColumnKind::Text);
        let expected = [
            ("piece", text),
            ("steps", whole),
            ("nll", number),
            ("weight", number),
            ("epoch", whole),
        ];
        assert_eq!(
            table.columns().unwrap(),
            expected.map(|(name, kind)| (name.to_owned(), kind))
        );
    }

    #[test]
    fn rows_can_be_chosen_and_sorted() {
        let table = sample().sorted_by(&["piece"]).unwrap();
        assert_eq!(table.u64s("steps").unwrap(), [1, 2, u64::MAX]);
        assert_eq!(
            table
                .rows_where("piece", "b")
                .unwrap()
                .u64s("steps")
                .unwrap(),
            [2]
        );
        assert_eq!(table.rows_where("piece", "z").unwrap().height(), 0);
    }

    #[test]
    fn a_wrong_column_is_named() {
        let message = format!("{:#}", sample().f64s("loss").unwrap_err());
        assert!(
            message.contains("'loss'") && message.contains("nll"),
            "{message}"
        );
        assert!(sample().f64s("piece").is_err());
        assert!(sample().with("piece", vec![1u64, 2, 3]).is_err());
        assert!(sample().with("short", vec![1u64]).is_err());
    }

    #[test]
    fn a_table_without_rows_survives() {
        let table = Table::new().with("piece", Vec::<String>::new()).unwrap();
        assert_eq!(
            Table::from_parquet(&table.to_parquet().unwrap())
                .unwrap()
                .column_names(),
            ["piece"]
        );
    }

    proptest! {
        #[test]
        fn damaged_bytes_are_refused(at in any::<prop::sample::Index>(), flip in 1u8.., cut in any::<prop::sample::Index>()) {
            let whole = sample().to_parquet().unwrap();
            let mut bytes = whole.clone();
            bytes[at.index(whole.len())] ^= flip;
            prop_assert!(Table::from_parquet(&bytes).is_err());
            prop_assert!(Table::from_parquet(&whole[..cut.index(whole.len())]).is_err());
            let mut longer = whole.clone();
            longer.insert(at.index(whole.len()), flip);
            prop_assert!(Table::from_parquet(&longer).is_err());
        }

        #[test]
        fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), length in any::<u32>()) {
            prop_assert!(Table::from_parquet(&bytes).is_err());
            let dressed = [b"PAR1", &bytes[..], MARK, &[b'0'; 64], &length.to_le_bytes(), b"PAR1"].concat();
            prop_assert!(Table::from_parquet(&dressed).is_err());
        }
    }
}
