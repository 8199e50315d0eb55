//! One number measured by several runs that differ in their training seed: its mean, how sure that is, and each value.

use super::table::Cell;
use super::text::number;
use crate::statistics::{half_width, mean};

/// How means over seeds are printed, for captions.
pub const RULE: &str = "Where several training seeds were run, a number is their mean, and ± is half of its 95 % interval by \
                        Student's t; of p-values the largest is given";

/// A number by training seed.
#[derive(Debug, Clone, PartialEq)]
pub struct OverSeeds {
    /// Seed, value, and a word on the value (or nothing), by seed.
    values: Vec<(u64, f64, String)>,
}

impl OverSeeds {
    /// The values of some seeds.
    pub fn new(values: Vec<(u64, f64, String)>) -> Self {
        Self { values }
    }

    /// The values alone.
    pub fn values(&self) -> impl ExactSizeIterator<Item = f64> + '_ {
        self.values.iter().map(|(_, value, _)| *value)
    }

    /// Each seed with its value.
    pub fn each(&self) -> impl Iterator<Item = (u64, f64)> + '_ {
        self.values.iter().map(|(seed, value, _)| (*seed, *value))
    }

    /// Their mean; `None` of none.
    pub fn mean(&self) -> Option<f64> {
        (!self.values.is_empty()).then(|| mean(self.values()))
    }

    /// The largest value; `None` of none.
    pub fn largest(&self) -> Option<f64> {
        self.values().reduce(f64::max)
    }

    /// Half the width of the 95 % interval of the mean; see [`half_width`].
    pub fn half_width(&self) -> Option<f64> {
        half_width(&self.values().collect::<Vec<f64>>())
    }

    /// The mean as a cell; the interval below it, each seed's value within reach.
    pub fn cell(&self) -> Cell {
        let mean = self.mean();
        let interval = self
            .half_width()
            .zip(mean)
            .map(|(half, mean)| format!("± {}", like(half, mean)));
        self.with_each(Cell::number(mean).with_detail(interval.or_else(|| self.shared_note())))
    }

    /// The largest value as a cell, which is what p-values are judged by.
    pub fn largest_cell(&self) -> Cell {
        let largest = self.largest();
        let several = self.varies().then(|| "the largest".to_owned());
        self.with_each(Cell::number(largest).with_detail(several))
    }

    /// The values from the smallest to the largest as a cell, for what is no measurement: epochs trained, hours.
    pub fn range_cell(&self) -> Cell {
        let low = self.values().reduce(f64::min);
        let high = self.largest();
        let mut cell = Cell::number(high);
        if let Some((low, high)) = low.zip(high).filter(|(low, high)| low < high) {
            cell.text = format!("{} to {}", number(low), number(high));
        }
        self.with_each(cell)
    }

    /// Whether there are several values, not all equal.
    pub fn varies(&self) -> bool {
        self.values
            .windows(2)
            .any(|pair| (pair[0].1, &pair[0].2) != (pair[1].1, &pair[1].2))
    }

    /// The word on the values, where they have the same.
    fn shared_note(&self) -> Option<String> {
        let (_, _, note) = self.values.first()?;
        (!self.varies()).then(|| note.clone())
    }

    fn with_each(&self, mut cell: Cell) -> Cell {
        if self.varies() {
            let line = |(seed, value, note): &(u64, f64, String)| match note.as_str() {
                "" => format!("seed {seed}: {}", number(*value)),
                note => format!("seed {seed}: {} ({note})", number(*value)),
            };
            cell.each_seed = self.values.iter().map(line).collect();
        }
        cell
    }
}

/// A width with as many decimals as the number it belongs to is printed with, or as it needs not to read as zero.
fn like(width: f64, beside: f64) -> String {
    let text = number(beside);
    let decimals = text
        .split_once('.')
        .map_or(0, |(_, decimals)| decimals.len());
    let text = format!("{width:.decimals$}");
    if text.bytes().all(|byte| b"0.".contains(&byte)) {
        number(width)
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> OverSeeds {
        let seeds = (1..).zip(values);
        OverSeeds::new(
            seeds
                .map(|(seed, value)| (seed, *value, String::new()))
                .collect(),
        )
    }

    #[test]
    fn a_mean_has_its_interval_and_every_value() {
        // s = 1, n = 3: 4.3027 / √3 = 2.484.
        let cell = of(&[6.5, 7.5, 8.5]).cell();
        assert_eq!(
            (cell.text.as_str(), cell.detail.as_deref()),
            ("7.500", Some("± 2.484"))
        );
        assert_eq!(
            cell.each_seed,
            ["seed 1: 6.500", "seed 2: 7.500", "seed 3: 8.500"]
        );
        let same = of(&[524.0, 524.0]).cell();
        assert_eq!((same.detail, same.each_seed.len()), (None, 0));
        assert_eq!(of(&[3.0]).half_width(), None);
        // The mean of equal values need not be one of them to the last bit.
        assert_eq!(of(&[7.1, 7.1, 7.1]).half_width(), None);
        assert_eq!(of(&[]).cell().text, "–");
        assert_eq!(of(&[0.01, 0.2]).largest_cell().text, "0.2000");
    }
}
