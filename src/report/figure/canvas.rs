//! A figure being drawn: text, lines and marks on a canvas, and the SVG that comes of it. The only code that talks to plotters.

use std::sync::Once;

use anyhow::{Context, Result};
use plotters::backend::SVGBackend;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::{Circle, Drawable, PathElement, PointCollection, Polygon, Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontFamily, FontStyle, FontTransform, IntoFont, RGBColor, TextStyle};

use super::style::{INK, LABEL, MUTED, PAPER, SMALL, TITLE, WIDTH};

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
    /// A thin line.
    Line,
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
    Ok(joined(&ringed(&tidy(&svg))))
}

/// The SVG without what plotters writes at every element though it is the default or the same everywhere.
fn tidy(svg: &str) -> String {
    // plotters closes each text with a line break, which would count as a space when text is anchored at its end.
    let svg = svg
        .replace("\n</text>", "</text>")
        .replace(">\n", ">")
        .replace("><", ">\n<")
        .replace(" opacity=\"1\"", "")
        .replace(" stroke=\"none\"", "")
        .replace(" font-family=\"sans-serif\"", "")
        .replacen("<svg ", "<svg font-family=\"sans-serif\" ", 1);
    // Font sizes have all digits of a division; one decimal is a twentieth of a pixel.
    let rounded = |part: &str| {
        let (size, rest) = part.split_once('"')?;
        let size: f64 = size.parse().ok()?;
        Some(format!("{size:.1}\"{rest}"))
    };
    let mut parts = svg.split("font-size=\"");
    let mut tidied = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        tidied.push_str("font-size=\"");
        tidied.push_str(&rounded(part).unwrap_or_else(|| part.to_owned()));
    }
    tidied
}

/// The SVG with a filled circle upon a larger one, which is how a mark gets its outline, as one circle with a stroke.
fn ringed(svg: &str) -> String {
    let mut text = String::new();
    let mut lines = svg.lines().peekable();
    while let Some(line) = lines.next() {
        let ring = lines.peek().and_then(|upper| ring(line, upper));
        if ring.is_some() {
            lines.next();
        }
        text.push_str(ring.as_deref().unwrap_or(line));
        text.push('\n');
    }
    text
}

/// One circle that looks as `upper` upon `lower`, if both are filled circles with one middle.
fn ring(lower: &str, upper: &str) -> Option<String> {
    let parts = |line: &'_ str| -> Option<(String, i32, String)> {
        let rest = line.strip_prefix("<circle ")?;
        let rest = rest.strip_suffix("\" stroke-width=\"1\"/>")?;
        let (middle, rest) = rest.split_once(" r=\"")?;
        let (radius, fill) = rest.split_once("\" fill=\"")?;
        Some((middle.to_owned(), radius.parse().ok()?, fill.to_owned()))
    };
    let ((middle, outer, stroke), (place, inner, fill)) = (parts(lower)?, parts(upper)?);
    let width = outer - inner;
    // The stroke's own middle must be a whole number of units out.
    (middle == place && width > 0 && width % 2 == 0).then(|| {
        let radius = inner + width / 2;
        format!("<circle {middle} r=\"{radius}\" fill=\"{fill}\" stroke=\"{stroke}\" stroke-width=\"{width}\"/>")
    })
}

/// The SVG with neighbouring rectangles or lines of one look joined to one path, which takes a third of the room.
fn joined(svg: &str) -> String {
    let mut text = String::new();
    let mut open: Option<String> = None;
    for line in svg.lines() {
        match outline(line) {
            Some((look, path)) => {
                if open.as_ref() != Some(&look) {
                    let end = open.map_or("", |_| "\"/>\n");
                    text.push_str(&format!("{end}<path {look} d=\""));
                    open = Some(look);
                }
                text.push_str(&path);
            }
            None => {
                if open.take().is_some() {
                    text.push_str("\"/>\n");
                }
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

/// The look and the outline, as of a path, of a line that is a filled rectangle or a line through points.
fn outline(line: &str) -> Option<(String, String)> {
    if let Some(rest) = line.strip_prefix("<polyline ") {
        let (look, points) = rest.strip_suffix("\"/>")?.split_once(" points=\"")?;
        return Some((look.to_owned(), format!("M{}", points.trim_end())));
    }
    let rest = line.strip_prefix("<rect x=\"")?.strip_suffix("\"/>")?;
    let (x, rest) = rest.split_once("\" y=\"")?;
    let (y, rest) = rest.split_once("\" width=\"")?;
    let (width, rest) = rest.split_once("\" height=\"")?;
    let (height, fill) = rest.split_once("\" fill=\"")?;
    let path = format!("M{x} {y}h{width}v{height}h-{width}z");
    Some((format!("fill=\"{fill}\""), path))
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
        if text.is_empty() {
            return Ok(());
        }
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
            Mark::Line => self.line(vec![(x - 45, y), (x + 45, y)], colour, 2),
        }
    }

    /// Legend entries in rows from `top` on, left to right; returns where the next free row is.
    pub fn legend(&self, left: i32, top: i32, entries: &[(Mark, RGBColor, String)]) -> Result<i32> {
        let (mut x, mut y) = (left, top);
        for (mark, colour, name) in entries {
            let symbol = if matches!(mark, Mark::Dashes(_) | Mark::Line) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_of_one_look_become_one_path() {
        let svg = figure(300, "t", "f", |canvas| {
            canvas.bar((10, 20), (30, 60), INK)?;
            canvas.bar((40, 20), (50, 60), INK)?;
            canvas.bar((60, 20), (70, 60), MUTED)?;
            canvas.line(vec![(1, 2), (3, 4)], INK, 9)?;
            canvas.line(vec![(3, 2), (1, 4)], INK, 9)
        })
        .unwrap();
        assert!(
            svg.contains("<path fill=\"#1A1A1A\" d=\"M10 20h20v40h-20zM40 20h10v40h-10z\"/>"),
            "{svg}"
        );
        assert!(svg.contains("<path fill=\"#595959\" d=\"M60 20h10v40h-10z\"/>"));
        assert!(
            svg.contains(
                r##"<path fill="none" stroke="#1A1A1A" stroke-width="9" d="M1,2 3,4M3,2 1,4"/>"##
            ),
            "{svg}"
        );
        assert!(!svg.contains("<rect") && svg.ends_with("</svg>\n"));
    }

    #[test]
    fn a_circle_upon_a_larger_one_is_one_with_a_stroke() {
        let svg = figure(300, "t", "f", |canvas| {
            canvas.mark(Mark::Circle, (40, 50), 11, MUTED)
        })
        .unwrap();
        let circle = r##"<circle cx="40" cy="50" r="11" fill="#595959" stroke="#1A1A1A" stroke-width="2"/>"##;
        assert!(
            svg.contains(circle) && svg.matches("<circle").count() == 1,
            "{svg}"
        );
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
