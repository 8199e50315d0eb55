//! SVG → PNG, by resvg with the same font, so that no system font or viewer changes a picture.

use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};
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
    pixels
        .encode_png()
        .context("failed to write a figure as PNG")
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

    #[test]
    fn text_leaves_ink_on_the_picture() {
        let svg = r##"<svg xmlns="http://www.w3.org/2000/svg" width="80" height="30"><text x="5" y="20" font-family="sans-serif">note</text></svg>"##;
        let picture = Pixmap::decode_png(&render(svg).unwrap()).unwrap();
        assert_eq!((picture.width(), picture.height()), (80, 30));
        assert!(picture.pixels().iter().any(|pixel| pixel.alpha() > 200));
    }
}
