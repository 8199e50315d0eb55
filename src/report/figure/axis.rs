//! Axes with round numbers, and the panel between two of them.

use anyhow::Result;

use super::super::text::axis_number;
use super::canvas::{Anchor, Canvas, text_width};
use super::style::{GRID, INK, LABEL, MUTED, TICK};

/// One axis of a panel: the range it shows, its name and its labelled places.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// What it counts, with its unit.
    pub name: String,
    /// The value at its beginning.
    pub low: f64,
    /// The value at its end, above `low`.
    pub high: f64,
    /// Values that get a number.
    pub ticks: Vec<(f64, String)>,
}

impl Axis {
    /// An even axis over `low..high` with about `count` numbers.
    pub fn linear(name: &str, low: f64, high: f64, count: usize) -> Self {
        let (low, high) = if high > low {
            (low, high)
        } else {
            (low - 0.5, low + 0.5)
        };
        let step = nice_step((high - low) / count.max(1) as f64);
        let first = (low / step).ceil() as i64;
        let last = (high / step + 1e-9).floor() as i64;
        let ticks = (first..=last)
            .map(|index| index as f64 * step)
            .map(|value| (value, axis_number(value)))
            .collect();
        Self {
            name: name.to_owned(),
            low,
            high,
            ticks,
        }
    }

    /// An axis of powers of ten over `low..high`, both above 0; places on it are decimal logarithms.
    pub fn logarithmic(name: &str, low: f64, high: f64) -> Self {
        let (from, to) = (low.log10(), high.log10().max(low.log10() + 0.3));
        let ticks = (from.ceil() as i32..=to.floor() as i32)
            .map(|power| (f64::from(power), axis_number(10f64.powi(power))))
            .collect();
        Self {
            name: name.to_owned(),
            low: from,
            high: to,
            ticks,
        }
    }
}

/// The smallest of 1, 2, 5 times a power of ten that is not below `step`.
fn nice_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|nice| *nice >= step * 0.999)
        .unwrap_or(10.0 * power)
}

/// A rectangle of the canvas with two axes.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// Left edge.
    pub left: i32,
    /// Top edge.
    pub top: i32,
    /// Right edge.
    pub right: i32,
    /// Bottom edge.
    pub bottom: i32,
    /// Across.
    pub x: Axis,
    /// Up.
    pub y: Axis,
}

impl Panel {
    /// Where the values lie on the canvas.
    pub fn at(&self, x: f64, y: f64) -> (i32, i32) {
        let across = (x - self.x.low) / (self.x.high - self.x.low);
        let up = (y - self.y.low) / (self.y.high - self.y.low);
        let place =
            |from: i32, to: i32, share: f64| from + (share * f64::from(to - from)).round() as i32;
        (
            place(self.left, self.right, across),
            place(self.bottom, self.top, up),
        )
    }

    /// Draws grid, axes, numbers and names.
    pub fn draw_axes(&self, canvas: &Canvas) -> Result<()> {
        for (value, label) in &self.x.ticks {
            let (x, _) = self.at(*value, self.y.low);
            canvas.line(vec![(x, self.top), (x, self.bottom)], GRID, 2)?;
            canvas.text((x, self.bottom + 24), Anchor::Centre, TICK, MUTED, label)?;
        }
        for (value, label) in &self.y.ticks {
            let (_, y) = self.at(self.x.low, *value);
            canvas.line(vec![(self.left, y), (self.right, y)], GRID, 2)?;
            canvas.text((self.left - 12, y), Anchor::Right, TICK, MUTED, label)?;
        }
        canvas.line(
            vec![
                (self.left, self.top),
                (self.left, self.bottom),
                (self.right, self.bottom),
            ],
            MUTED,
            2,
        )?;
        let middle = ((self.left + self.right) / 2, (self.top + self.bottom) / 2);
        let below = if self.x.ticks.is_empty() { 26 } else { 62 };
        canvas.text(
            (middle.0, self.bottom + below),
            Anchor::Centre,
            LABEL,
            INK,
            &self.x.name,
        )?;
        let widest = self
            .y
            .ticks
            .iter()
            .map(|(_, label)| text_width(label, TICK))
            .max()
            .unwrap_or(0);
        canvas.upward_text(
            (self.left - 34 - widest, middle.1),
            LABEL,
            INK,
            &self.y.name,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_fall_on_round_numbers() {
        let labels = |axis: Axis| {
            axis.ticks
                .into_iter()
                .map(|tick| tick.1)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            labels(Axis::linear("", 0.0, 50.0, 5)),
            ["0", "10", "20", "30", "40", "50"]
        );
        assert_eq!(labels(Axis::linear("", 6.93, 8.2, 5)), ["7", "7.5", "8"]);
        assert_eq!(
            labels(Axis::logarithmic("", 1.0, 40_000.0)),
            ["1", "10", "100", "1000", "10k"]
        );
        assert_eq!(labels(Axis::linear("", 3.0, 3.0, 2)), ["2.5", "3", "3.5"]);
    }

    #[test]
    fn a_panel_maps_its_corners() {
        let panel = Panel {
            left: 100,
            top: 50,
            right: 300,
            bottom: 250,
            x: Axis::linear("", 0.0, 10.0, 2),
            y: Axis::linear("", 0.0, 1.0, 2),
        };
        assert_eq!(panel.at(0.0, 0.0), (100, 250));
        assert_eq!(panel.at(10.0, 1.0), (300, 50));
    }
}
