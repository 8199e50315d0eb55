//! Every figure of a report, in page order; each file draws one kind from what a run recorded.

pub mod ablations;
pub mod axis;
pub mod canvas;
pub mod histogram;
pub mod learning_curve;
pub mod map_comparison;
pub mod map_csv;
pub mod piano_roll;
pub mod png;
pub mod rank_frequency;
pub mod speed;
pub mod style;
pub mod tsne_map;
pub mod vocabulary_growth;

use anyhow::Result;

use super::group::Group;

/// The part of a page that a figure belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// Loss and accuracy over training.
    Learning,
    /// Maps of single-note embeddings.
    Embeddings,
    /// Generated music.
    Samples,
    /// What the corpus is like.
    Corpus,
    /// How fast the run went.
    Speed,
}

impl Section {
    /// Every section, in page order, with its heading.
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::Embeddings, "What the embeddings show"),
        (Self::Learning, "Learning"),
        (Self::Samples, "Music"),
        (Self::Corpus, "Corpus"),
        (Self::Speed, "Speed"),
    ];

    /// The name by which a page refers to it.
    pub fn anchor(self) -> &'static str {
        match self {
            Self::Embeddings => "embeddings",
            Self::Learning => "learning",
            Self::Samples => "samples",
            Self::Corpus => "corpus",
            Self::Speed => "speed",
        }
    }
}

/// One kind of figure: how runs become drawings; none where their records have nothing of the kind.
pub struct Figure {
    /// Its part of the page.
    pub section: Section,
    /// Whether it shows every run of a group; else it is given the shown one alone.
    pub every_seed: bool,
    /// Draws it.
    pub draw: fn(&Group) -> Result<Vec<Drawing>>,
}

/// Every figure, in page order.
pub const FIGURES: &[Figure] = &[
    Figure {
        section: Section::Learning,
        every_seed: true,
        draw: learning_curve::draw,
    },
    Figure {
        section: Section::Embeddings,
        every_seed: false,
        draw: |group| tsne_map::draw(group.shown()),
    },
    Figure {
        section: Section::Embeddings,
        every_seed: false,
        draw: |group| map_comparison::draw(group.shown()),
    },
    Figure {
        section: Section::Samples,
        every_seed: false,
        draw: |group| piano_roll::draw(group.shown()),
    },
    Figure {
        section: Section::Corpus,
        every_seed: false,
        draw: |group| rank_frequency::draw(group.shown()),
    },
    Figure {
        section: Section::Corpus,
        every_seed: false,
        draw: |group| vocabulary_growth::draw(group.shown()),
    },
    Figure {
        section: Section::Corpus,
        every_seed: false,
        draw: |group| histogram::draw(group.shown()),
    },
    Figure {
        section: Section::Speed,
        every_seed: false,
        draw: |group| speed::draw(group.shown()),
    },
];

/// A drawn figure, and what stands beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawing {
    /// File name without its ending, unique in a run.
    pub name: String,
    /// What it shows, in a sentence or two.
    pub caption: String,
    /// What a reader who cannot see it should know.
    pub alt: String,
    /// The figure.
    pub svg: String,
    /// Its height in the units of its view box; the width is [`style::WIDTH`].
    pub height: i32,
    /// Exactly what is drawn, one row a mark; the first row names the columns.
    pub csv: String,
    /// Further tables for the reader to compute with: file name and content.
    pub more_csv: Vec<(String, String)>,
    /// Places that answer to pointer and keyboard.
    pub spots: Vec<Spot>,
}

/// A place of a figure with something to tell.
#[derive(Debug, Clone, PartialEq)]
pub struct Spot {
    /// Across, in the units of the view box.
    pub x: i32,
    /// Down.
    pub y: i32,
    /// How near counts.
    pub radius: i32,
    /// What it tells, a line each.
    pub lines: Vec<String>,
    /// The MIDI pitch that it plays.
    pub pitch: Option<u8>,
}

/// Rows as CSV text.
pub fn csv_text<R, F>(header: &[&str], rows: R) -> Result<String>
where
    R: IntoIterator<Item = F>,
    F: IntoIterator<Item = String>,
{
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(header)?;
    for row in rows {
        writer.write_record(row)?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}
