//! How all figures look: their size, text sizes, colours and marks.
//!
//! Figures are drawn in half pixels: a canvas of [`WIDTH`] units is shown 640 pixels wide, so that plotters' whole-numbered
//! coordinates are fine enough. Colours are those of Okabe & Ito, told apart without colour vision; no figure relies on colour alone.

use plotters::style::RGBColor;

use super::canvas::Mark;

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
