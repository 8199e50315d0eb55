//! What all figures share: canvas, text, colours and axes. The only code that talks to plotters.
//!
//! Figures are drawn in half pixels: a canvas of [`WIDTH`] units is shown 640 pixels wide, so that plotters' whole-numbered
//! coordinates are fine enough. Colours are those of Okabe & Ito, told apart without colour vision; no figure relies on colour alone.

use std::sync::Once;

use anyhow::{Context, Result};
use plotters::backend::SVGBackend;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::{Circle, Drawable, PathElement, PointCollection, Polygon, Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontFamily, FontStyle, FontTransform, IntoFont, RGBColor, TextStyle};

use super::super::text::axis_number;

/// Width of every figure, in half pixels.
pub const WIDTH: i32 = 1280;

/// Text and outlines.
pub const INK: RGBColor = RGBColor(0x1A, 0x1A, 0x1A);
/// Secondary text and axes.
pub const MUTED: RGBColor = RGBColor(0x59, 0x59, 0x59);
/// Grid lines.
pub const GRID: RGBColor = RGBColor(0xE2, 0xE2, 0xE2);
/// Background.
pub const PAPER: RGBColor = RGBColor(0xFF, 0xFF, 0xFF);
/// Okabe & Ito's colours, in the order in which series take them.
pub const PALETTE: [RGBColor; 6] = [
    RGBColor(0x00, 0x72, 0xB2),
    RGBColor(0xD5, 0x5E, 0x00),
    RGBColor(0x00, 0x9E, 0x73),
    RGBColor(0xCC, 0x79, 0xA7),
    RGBColor(0xE6, 0x9F, 0x00),
    RGBColor(0x56, 0xB4, 0xE9),
];

/// Text sizes in plotters' unit: the font size is this over 1.24, in half pixels.
pub const TITLE: f64 = 37.0;
/// Axis labels, legends.
pub const LABEL: f64 = 31.0;
/// Numbers on axes.
pub const TICK: f64 = 28.0;
/// Footers and labels of points.
pub const SMALL: f64 = 23.0;

const FAMILY: &str = "sans-serif";

/// Makes DejaVu Sans known to plotters, once in a process.
fn register_fonts() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // A font that cannot be registered shows as an error at the first text drawn.
        let _ = plotters::style::register_font(FAMILY, FontStyle::Normal, dejavu::sans::regular());
        let _ = plotters::style::register_font(FAMILY, FontStyle::Bold, dejavu::sans::bold());
    });
}

/// Which point of a text lies at the given place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// Its left end, at half height.
    Left,
    /// Its middle.
    Centre,
    /// Its right end, at half height.
    Right,
}

/// A shape that marks a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// A filled circle.
    Circle,
    /// An ×.
    Cross,
    /// A filled triangle, its tip down.
    Triangle,
    /// A filled square.
    Square,
    /// The outline of a square.
    Hollow,
    /// A dashed line, its dashes so long.
    Dashes(i32),
}

/// The shape that the `index`-th series takes.
pub fn series_mark(index: usize) -> Mark {
    [Mark::Circle, Mark::Square, Mark::Triangle, Mark::Cross][index % 4]
}

/// The colour that the `index`-th series takes.
pub fn series_colour(index: usize) -> RGBColor {
    PALETTE[index % PALETTE.len()]
}

/// A colour for `share` from 0 (dark violet) to 1 (yellow): viridis, whose lightness rises evenly.
pub fn scale_colour(share: f64) -> RGBColor {
    const STOPS: [(u8, u8, u8); 9] = [
        (68, 1, 84),
        (71, 45, 123),
        (59, 82, 139),
        (44, 114, 142),
        (33, 145, 140),
        (40, 174, 128),
        (94, 201, 98),
        (173, 220, 48),
        (253, 231, 37),
    ];
    let place = share.clamp(0.0, 1.0) * 8.0;
    let index = (place.floor() as usize).min(7);
    let (from, to, part) = (STOPS[index], STOPS[index + 1], place - index as f64);
    let mix = |a: u8, b: u8| (f64::from(a) + part * (f64::from(b) - f64::from(a))).round() as u8;
    RGBColor(mix(from.0, to.0), mix(from.1, to.1), mix(from.2, to.2))
}

/// A figure being drawn.
pub struct Canvas<'a> {
    root: DrawingArea<SVGBackend<'a>, Shift>,
}

/// Draws a figure of the given height with its title and footer line, and returns the SVG.
pub fn figure(
    height: i32,
    title: &str,
    footer: &str,
    draw: impl FnOnce(&Canvas) -> Result<()>,
) -> Result<String> {
    register_fonts();
    let mut svg = String::new();
    {
        let root =
            SVGBackend::with_string(&mut svg, (WIDTH as u32, height as u32)).into_drawing_area();
        root.fill(&PAPER).context("failed to start a figure")?;
        let canvas = Canvas { root };
        let size = fitting(title, TITLE, WIDTH - 40);
        canvas.text((20, 34), Anchor::Left, size, INK, title)?;
        let size = fitting(footer, SMALL, WIDTH - 40);
        canvas.text((20, height - 20), Anchor::Left, size, MUTED, footer)?;
        draw(&canvas)?;
        canvas.root.present().context("failed to finish a figure")?;
    }
    // plotters closes each text with a line break, which would count as a space when text is anchored at its end.
    Ok(svg
        .replace("\n</text>", "</text>")
        .replace("<text ", "<text xml:space=\"preserve\" ")
        .replace(">\n", ">")
        .replace("><", ">\n<"))
}

/// The largest size up to `size` at which `text` is at most `width` wide.
fn fitting(text: &str, size: f64, width: i32) -> f64 {
    let wide = text_width(text, size);
    if wide <= width {
        size
    } else {
        size * f64::from(width) / f64::from(wide) * 0.99
    }
}

/// How wide `text` is drawn, in half pixels, a little overestimated.
pub fn text_width(text: &str, size: f64) -> i32 {
    register_fonts();
    let font = (FAMILY, size).into_font();
    font.box_size(text).map_or(0, |(width, _)| width as i32)
}

impl<'a> Canvas<'a> {
    /// One line of text.
    pub fn text(
        &self,
        place: (i32, i32),
        anchor: Anchor,
        size: f64,
        colour: RGBColor,
        text: &str,
    ) -> Result<()> {
        let style = style(anchor, size, colour);
        self.draw(&Text::new(text.to_owned(), place, style))
    }

    /// One line of text that reads upwards, its middle at `place`.
    pub fn upward_text(
        &self,
        place: (i32, i32),
        size: f64,
        colour: RGBColor,
        text: &str,
    ) -> Result<()> {
        let style = style(Anchor::Centre, size, colour).transform(FontTransform::Rotate270);
        self.draw(&Text::new(text.to_owned(), place, style))
    }

    /// A line through the points.
    pub fn line(&self, points: Vec<(i32, i32)>, colour: RGBColor, width: u32) -> Result<()> {
        self.draw(&PathElement::new(points, colour.stroke_width(width)))
    }

    /// A dashed line between two points; `dash` is the length of a dash, with gaps of 10.
    pub fn dashed(
        &self,
        from: (i32, i32),
        to: (i32, i32),
        dash: i32,
        colour: RGBColor,
    ) -> Result<()> {
        let (dx, dy) = (f64::from(to.0 - from.0), f64::from(to.1 - from.1));
        let length = dx.hypot(dy);
        let at = |along: f64| {
            let share = (along / length).min(1.0);
            let (x, y) = ((dx * share).round() as i32, (dy * share).round() as i32);
            (from.0 + x, from.1 + y)
        };
        let mut along = 0.0;
        while along < length {
            self.line(vec![at(along), at(along + f64::from(dash))], colour, 3)?;
            along += f64::from(dash + 10);
        }
        Ok(())
    }

    /// A filled rectangle.
    pub fn bar(&self, from: (i32, i32), to: (i32, i32), colour: RGBColor) -> Result<()> {
        self.draw(&Rectangle::new([from, to], colour.filled()))
    }

    /// The outline of a rectangle, `width` wide inwards.
    pub fn frame(
        &self,
        from: (i32, i32),
        to: (i32, i32),
        colour: RGBColor,
        width: i32,
    ) -> Result<()> {
        let ((left, top), (right, bottom)) = (from, to);
        let sides = [
            (left, top, right, top + width),
            (left, bottom - width, right, bottom),
            (left, top, left + width, bottom),
            (right - width, top, right, bottom),
        ];
        sides
            .into_iter()
            .try_for_each(|(left, top, right, bottom)| {
                self.bar((left, top), (right, bottom), colour)
            })
    }

    /// A mark at `place`, `radius` large, with a thin outline that keeps light colours visible on paper and dark ones on black.
    pub fn mark(&self, mark: Mark, place: (i32, i32), radius: i32, colour: RGBColor) -> Result<()> {
        let (x, y) = place;
        match mark {
            Mark::Circle => {
                self.draw(&Circle::new(place, radius + 1, INK.filled()))?;
                self.draw(&Circle::new(place, radius - 1, colour.filled()))
            }
            Mark::Cross => {
                for (width, colour) in [(9, INK), (6, colour)] {
                    let r = if width == 9 { radius + 1 } else { radius };
                    self.line(vec![(x - r, y - r), (x + r, y + r)], colour, width)?;
                    self.line(vec![(x - r, y + r), (x + r, y - r)], colour, width)?;
                }
                Ok(())
            }
            Mark::Triangle => {
                for (r, colour) in [(radius + 4, INK), (radius, colour)] {
                    let points = vec![(x - r, y - r * 3 / 4), (x + r, y - r * 3 / 4), (x, y + r)];
                    self.draw(&Polygon::new(points, colour.filled()))?;
                }
                Ok(())
            }
            Mark::Square => {
                self.bar(
                    (x - radius - 1, y - radius - 1),
                    (x + radius + 1, y + radius + 1),
                    INK,
                )?;
                self.bar(
                    (x - radius + 1, y - radius + 1),
                    (x + radius - 1, y + radius - 1),
                    colour,
                )
            }
            Mark::Hollow => self.frame(
                (x - radius, y - radius),
                (x + radius, y + radius),
                colour,
                5,
            ),
            Mark::Dashes(dash) => self.dashed((x - 45, y), (x + 45, y), dash, colour),
        }
    }

    /// Legend entries in rows from `top` on, left to right; returns where the next free row is.
    pub fn legend(&self, left: i32, top: i32, entries: &[(Mark, RGBColor, String)]) -> Result<i32> {
        let (mut x, mut y) = (left, top);
        for (mark, colour, name) in entries {
            let symbol = if matches!(mark, Mark::Dashes(_)) {
                110
            } else {
                52
            };
            let width = symbol + text_width(name, LABEL) + 34;
            if x > left && x + width > WIDTH - 20 {
                (x, y) = (left, y + 42);
            }
            self.mark(*mark, (x + (symbol - 8) / 2, y), 10, *colour)?;
            self.text((x + symbol, y), Anchor::Left, LABEL, INK, name)?;
            x += width;
        }
        Ok(y + 42)
    }

    fn draw<'e, E>(&self, element: &'e E) -> Result<()>
    where
        &'e E: PointCollection<'e, (i32, i32)>,
        E: Drawable<SVGBackend<'a>>,
    {
        self.root
            .draw(element)
            .context("failed to draw in a figure")
    }
}

fn style(anchor: Anchor, size: f64, colour: RGBColor) -> TextStyle<'static> {
    let horizontal = match anchor {
        Anchor::Left => HPos::Left,
        Anchor::Centre => HPos::Center,
        Anchor::Right => HPos::Right,
    };
    let colour = colour.to_backend_color();
    TextStyle {
        font: (FontFamily::SansSerif, size).into_font(),
        color: colour,
        pos: Pos::new(horizontal, VPos::Center),
    }
}

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

    #[test]
    fn a_figure_is_the_same_bytes_each_time_and_its_title_fits() {
        let draw = || {
            figure(
                300,
                &"A title that is far too long for one line ".repeat(4),
                "footer",
                |_| Ok(()),
            )
            .unwrap()
        };
        assert_eq!(draw(), draw());
        assert!(draw().contains("A title"));
        assert!(text_width("footer", SMALL) > 40);
    }
}
