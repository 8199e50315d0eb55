//! MusicXML, plain or packed as `.mxl` → `Score`: written notation becomes sounding note messages.
//!
//! `package` gets the XML text out of the bytes, `part` reads the notes of one part measure by measure, `repeats` says
//! in which order the measures sound, and this file puts the measures in line and joins tied notes. Each staff of a part
//! is a track. Times are exact fractions of a beat until the last step, and ticks are those of music21's MIDI files.
//! Source: MusicXML 4.0, W3C Music Notation Community Group.

mod package;
mod part;
mod repeats;

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use roxmltree::{Document, Node, ParsingOptions};

use super::score::{NoteKind, NoteMessage, Score, Ticks};
use super::{Reading, Remark};
use part::{Measure, Note};

/// Ticks in a beat of every score read from MusicXML: music21's resolution, which holds all common tuplets.
pub const TICKS_PER_BEAT: u16 = 10_080;

/// Reads the MusicXML document in `bytes`; a rejection states why.
///
/// What is not a plain sounding note (grace and cue notes, percussion without pitch, jumps such as da capo) is left out
/// and remarked, one remark a kind.
pub fn read(bytes: &[u8]) -> Reading {
    let mut remarks = Remarks::default();
    let read = package::text(bytes).and_then(|document| {
        remarks.inside = document.inside;
        read_text(&document.text, &mut remarks)
    });
    match read {
        Ok(score) => Reading {
            score: Some(score),
            remarks: remarks.into_list(),
        },
        Err(error) => Reading {
            score: None,
            remarks: vec![Remark {
                offset: 0,
                what: format!("{error:#}"),
            }],
        },
    }
}

/// Most nodes (elements, attributes' owners, texts) in a document; large symphonies have a few million.
const MOST_NODES: u32 = 20_000_000;

/// Most measures that a piece may have once its repeats are played.
const MOST_MEASURES: usize = 100_000;

/// Most notes that a piece may have once its repeats are played.
const MOST_NOTES: usize = 5_000_000;

/// Most beats that a piece may last: as long as a MIDI file may.
const MOST_BEATS: u64 = 65_536;

/// Time in units: the largest number of equal parts of a beat in which the document's durations are whole numbers.
type Units = u64;

/// No position in a measure lies further on than this.
const MOST_UNITS: Units = 1 << 50;

fn read_text(text: &str, remarks: &mut Remarks) -> Result<Score> {
    // MusicXML does not need entities, and a few lines of them can expand to gigabytes.
    ensure!(
        !text.contains("<!ENTITY"),
        "the document declares entities of its own, which MusicXML does not need"
    );
    let options = ParsingOptions {
        allow_dtd: true,
        nodes_limit: MOST_NODES,
        ..Default::default()
    };
    let document = Document::parse_with_options(text, options).context("not well-formed XML")?;
    let root = document.root_element();
    let measures_of_parts = match root.tag_name().name() {
        "score-partwise" => partwise(root),
        "score-timewise" => timewise(root),
        other => bail!(
            "not MusicXML: the document is a <{other}>, not a <score-partwise> or <score-timewise>"
        ),
    };
    let units_per_beat = units_per_beat(root)?;
    let concert = root
        .descendants()
        .any(|node| node.has_tag_name("concert-score"));
    let mut parts = Vec::new();
    for measures in &measures_of_parts {
        parts.push(part::read(measures, units_per_beat, concert, remarks)?);
    }
    let bars = repeats::bars(&measures_of_parts, remarks);
    let order = repeats::order(&bars, MOST_MEASURES)?;
    let lengths = (0..bars.len())
        .map(|index| length(&parts, index, units_per_beat))
        .collect::<Vec<_>>();
    let end = order
        .iter()
        .try_fold(0, |end: Units, index| end.checked_add(lengths[*index]));
    let end = end.filter(|end| *end <= MOST_BEATS * units_per_beat);
    let end = end.with_context(|| format!("the piece is longer than {MOST_BEATS} beats"))?;
    let ticks = Clock { units_per_beat };
    let mut tracks = Vec::new();
    let mut notes_so_far = 0;
    for measures in &parts {
        let staves = measures
            .iter()
            .flat_map(|it| &it.notes)
            .map(|note| note.staff)
            .max()
            .unwrap_or(1);
        for staff in 1..=staves {
            let notes = performed(measures, staff, &order, &lengths, MOST_NOTES - notes_so_far)?;
            notes_so_far += notes.len();
            tracks.push(ticks.messages(&join_ties(notes), remarks));
        }
    }
    Ok(Score {
        ticks_per_beat: TICKS_PER_BEAT,
        tracks,
        duration: ticks.at(end),
    })
}

/// The measures of each part, parts in the order of the document.
fn partwise<'a, 'input>(root: Node<'a, 'input>) -> Vec<Vec<Node<'a, 'input>>> {
    children(root, "part")
        .map(|part| children(part, "measure").collect())
        .collect()
}

/// The same of a document that has its parts within its measures; parts are told apart by their id.
fn timewise<'a, 'input>(root: Node<'a, 'input>) -> Vec<Vec<Node<'a, 'input>>> {
    let mut ids: Vec<&str> = Vec::new();
    let mut parts: Vec<Vec<Node>> = Vec::new();
    for part in children(root, "measure").flat_map(|measure| children(measure, "part")) {
        let id = part.attribute("id").unwrap_or_default();
        match ids.iter().position(|it| *it == id) {
            Some(index) => parts[index].push(part),
            None => {
                ids.push(id);
                parts.push(vec![part]);
            }
        }
    }
    parts
}

fn children<'a, 'input>(
    node: Node<'a, 'input>,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'input>> {
    node.children()
        .filter(move |child| child.has_tag_name(name))
}

/// The text of the first child of that name, without the space around it.
fn child_text<'a>(node: Node<'a, '_>, name: &'static str) -> Option<&'a str> {
    children(node, name).next()?.text().map(str::trim)
}

/// The least common multiple of all that the document says to divide beats by.
fn units_per_beat(root: Node) -> Result<Units> {
    let mut units: Units = 1;
    for node in root
        .descendants()
        .filter(|node| node.has_tag_name("divisions"))
    {
        let divisions = part::divisions(node)?;
        let (mut a, mut b) = (units, divisions);
        while b > 0 {
            (a, b) = (b, a % b);
        }
        units = units.saturating_mul(divisions / a);
        ensure!(
            units <= 1_000_000_000,
            "beats are divided into more than a billion parts"
        );
    }
    Ok(units)
}

/// How long measure `index` lasts: as long as the fullest part, or as its time signature says where all are silent.
fn length(parts: &[Vec<Measure>], index: usize, units_per_beat: Units) -> Units {
    let measures = parts.iter().filter_map(|measures| measures.get(index));
    match measures.clone().map(|measure| measure.filled).max() {
        Some(filled) if filled > 0 => filled,
        _ => measures
            .map(|measure| measure.nominal)
            .max()
            .unwrap_or(4 * units_per_beat),
    }
}

/// The notes of one staff, its measures played in `order`.
fn performed(
    measures: &[Measure],
    staff: u32,
    order: &[usize],
    lengths: &[Units],
    most: usize,
) -> Result<Vec<Note>> {
    let mut notes = Vec::new();
    let mut start = 0;
    for (place, index) in order.iter().enumerate() {
        let jumped = place > 0 && order[place - 1] + 1 != *index;
        for note in measures
            .get(*index)
            .into_iter()
            .flat_map(|it| &it.notes)
            .filter(|note| note.staff == staff)
        {
            ensure!(notes.len() < most, "more than {MOST_NOTES} notes");
            // A tie over a jump is written where it starts; an ending's first note may not repeat it.
            let tied_back = note.tied_back || jumped && note.start == 0;
            let [from, to] = [note.start, note.end].map(|it| start + it);
            notes.push(Note {
                start: from,
                end: to,
                tied_back,
                ..*note
            });
        }
        start += lengths[*index];
    }
    notes.sort_by_key(|note| note.start);
    Ok(notes)
}

/// The notes with each that is tied to the one before it, of the same pitch and without a gap, joined to it.
fn join_ties(notes: Vec<Note>) -> Vec<Note> {
    let mut joined: Vec<Note> = Vec::new();
    // For each pitch, the note that waits for one tied to it.
    let mut open: [Option<usize>; 128] = [None; 128];
    for note in notes {
        let waiting = &mut open[usize::from(note.pitch)];
        match waiting.filter(|index| note.tied_back && joined[*index].end == note.start) {
            Some(index) => {
                joined[index].end = note.end;
                *waiting = waiting.filter(|_| note.tied_on);
            }
            None => {
                joined.push(note);
                if note.tied_on {
                    *waiting = Some(joined.len() - 1);
                }
            }
        }
    }
    joined
}

/// From units to ticks.
struct Clock {
    units_per_beat: Units,
}

impl Clock {
    fn at(&self, units: Units) -> u64 {
        let [units, per_beat] = [units, self.units_per_beat].map(u128::from);
        ((units * u128::from(TICKS_PER_BEAT) + per_beat / 2) / per_beat) as u64
    }

    fn is_exact(&self, units: Units) -> bool {
        u128::from(units) * u128::from(TICKS_PER_BEAT) % u128::from(self.units_per_beat) == 0
    }

    /// The messages of the notes of one track; at the same tick, notes end before others start.
    fn messages(&self, notes: &[Note], remarks: &mut Remarks) -> Vec<NoteMessage> {
        let mut events = Vec::new();
        for note in notes {
            if !self.is_exact(note.start) || !self.is_exact(note.end) {
                remarks.add("times between two ticks were rounded", note.offset);
            }
            let [start, end] = [self.at(note.start), self.at(note.end)];
            if start == end {
                remarks.add("notes shorter than a tick were left out", note.offset);
                continue;
            }
            events.push((start, NoteKind::On, note.pitch));
            events.push((end, NoteKind::Off, note.pitch));
        }
        events.sort_by_key(|(tick, kind, _)| (*tick, *kind == NoteKind::On));
        let mut now = 0;
        let messages = events.into_iter().map(|(tick, kind, pitch)| {
            let delta = (tick - now) as Ticks;
            now = tick;
            NoteMessage { delta, kind, pitch }
        });
        messages.collect()
    }
}

/// What was left out or changed: how often, and where first.
#[derive(Debug, Default)]
struct Remarks {
    /// Where the document lies in the file, and its name, if it lies in a package.
    inside: Option<(usize, String)>,
    kinds: BTreeMap<&'static str, (usize, usize)>,
}

impl Remarks {
    /// Counts `what`, which was met at byte `offset` of the document.
    fn add(&mut self, what: &'static str, offset: usize) {
        self.kinds.entry(what).or_insert((0, offset)).0 += 1;
    }

    fn into_list(self) -> Vec<Remark> {
        let remark = |(what, (times, offset)): (&str, (usize, usize))| match &self.inside {
            None => Remark {
                offset,
                what: format!("{what} ({times})"),
            },
            Some((start, name)) => Remark {
                offset: *start,
                what: format!("{what} ({times}, first at byte {offset} of '{name}')"),
            },
        };
        let mut list = self.kinds.into_iter().map(remark).collect::<Vec<_>>();
        list.sort_by_key(|remark| remark.offset);
        list
    }
}

#[cfg(test)]
mod tests;
