//! SVG → PNG, by resvg with the same font, so that no system font or viewer changes a picture.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};
use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb};

/// The SVG drawn at one pixel a unit, as the bytes of a PNG file.
pub fn render(svg: &str) -> Result<Vec<u8>> {
    let options = Options {
        fontdb: fonts(),
        ..Options::default()
    };
    let tree = Tree::from_str(svg, &options).context("failed to read a figure's SVG")?;
    let size = tree.size().to_int_size();
    let mut pixels = Pixmap::new(size.width(), size.height())
        .context("failed to draw a figure: it has no size")?;
    resvg::render(&tree, Transform::identity(), &mut pixels.as_mut());
    encode(&pixels).context("failed to write a figure as PNG")
}

/// An opaque picture as a PNG file with a palette: a figure has few colours, and so takes half the room.
fn encode(pixels: &Pixmap) -> Result<Vec<u8>> {
    let (palette, indices) = palette_of(pixels);
    let (width, height) = (pixels.width(), pixels.height());
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::best());
    for line in indices.chunks(width as usize) {
        packed.write_all(&[0])?; // no filter: neighbouring indices are not near in colour
        packed.write_all(line)?;
    }
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    header.extend([8, 3, 0, 0, 0]); // 8 bits a pixel, a palette, and the only ways to compress, filter and interlace
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(&mut png, b"IHDR", &header);
    chunk(&mut png, b"PLTE", &palette.concat());
    chunk(&mut png, b"IDAT", &packed.finish()?);
    chunk(&mut png, b"IEND", &[]);
    Ok(png)
}

/// The picture's colours, at most 256, and each pixel's place among them. Where there are more, which only the edges of
/// letters and marks in many colours give, channels are rounded to 16 levels, or to 6.
fn palette_of(pixels: &Pixmap) -> (Vec<[u8; 3]>, Vec<u8>) {
    for step in [1u16, 17, 51] {
        let round = |channel: u8| ((u16::from(channel) + step / 2) / step * step) as u8;
        let mut places = BTreeMap::new();
        let colours: Vec<[u8; 3]> = pixels
            .pixels()
            .iter()
            .map(|it| [it.red(), it.green(), it.blue()].map(round))
            .collect();
        colours.iter().for_each(|colour| {
            places.insert(*colour, 0u8);
        });
        if places.len() <= 256 {
            for (place, at) in places.values_mut().enumerate() {
                *at = place as u8;
            }
            let indices = colours.iter().map(|colour| places[colour]).collect();
            return (places.into_keys().collect(), indices);
        }
    }
    unreachable!("6 levels of 3 channels are 216 colours")
}

fn chunk(png: &mut Vec<u8>, name: &[u8; 4], content: &[u8]) {
    let mut checksum = Crc::new();
    checksum.update(name);
    checksum.update(content);
    png.extend((content.len() as u32).to_be_bytes());
    png.extend(name);
    png.extend(content);
    png.extend(checksum.sum().to_be_bytes());
}

/// DejaVu Sans alone, under the family name that the figures use.
fn fonts() -> Arc<fontdb::Database> {
    static FONTS: OnceLock<Arc<fontdb::Database>> = OnceLock::new();
    let fonts = FONTS.get_or_init(|| {
        let mut fonts = fontdb::Database::new();
        fonts.load_font_data(dejavu::sans::regular().to_vec());
        fonts.load_font_data(dejavu::sans::bold().to_vec());
        fonts.set_sans_serif_family("DejaVu Sans");
        Arc::new(fonts)
    });
    fonts.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(content: &str) -> Pixmap {
        let svg = format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" width="80" height="30" font-family="sans-serif"><rect width="80" height="30" fill="#ffffff"/>{content}</svg>"##
        );
        Pixmap::decode_png(&render(&svg).unwrap()).unwrap()
    }

    #[test]
    fn text_leaves_ink_on_the_picture() {
        let picture = drawn(r#"<text x="5" y="20">note</text>"#);
        assert_eq!((picture.width(), picture.height()), (80, 30));
        assert!(picture.pixels().iter().any(|pixel| pixel.red() < 50));
        assert_eq!(picture.pixels()[0].red(), 255);
    }

    #[test]
    fn many_colours_are_rounded_to_near_ones() {
        let bars: Vec<String> = (0..80)
            .flat_map(|x| (0..6).map(move |y| (x, y)))
            .map(|(x, y)| {
                format!(
                    r##"<rect x="{x}" y="{}" width="1" height="5" fill="#{:02x}{:02x}80"/>"##,
                    5 * y,
                    3 * x,
                    40 * y
                )
            })
            .collect();
        let picture = drawn(&bars.concat());
        let pixel = picture.pixels()[80 * 12 + 33];
        assert!(pixel.red().abs_diff(99) <= 8 && pixel.green().abs_diff(80) <= 8);
        assert_eq!(pixel.blue(), 0x88);
    }
}
