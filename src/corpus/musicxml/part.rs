//! The notes of one part, measure by measure.

use anyhow::{Context, Result, ensure};
use roxmltree::Node;

use super::{MOST_UNITS, Remarks, Units, child_text, children};

/// What one part does in one measure.
#[derive(Debug, Default)]
pub struct Measure {
    /// The notes that sound, in the order of the document; times count from the beginning of the measure.
    pub notes: Vec<Note>,
    /// How far notes, rests and gaps reach; a rest that stands for a whole measure fills nothing.
    pub filled: Units,
    /// How long the time signature says it is.
    pub nominal: Units,
}

/// A sounding note.
#[derive(Debug, Clone, Copy)]
pub struct Note {
    /// From 1, as MusicXML counts.
    pub staff: u32,
    pub start: Units,
    pub end: Units,
    /// MIDI pitch, below 128, as it sounds.
    pub pitch: u8,
    /// Tied to the note before it.
    pub tied_back: bool,
    /// Tied to the note after it.
    pub tied_on: bool,
    /// The byte of the document where it is written.
    pub offset: usize,
}

/// Reads the measures of one part. With `concert`, the document is written as it sounds whatever it says of transposition.
pub fn read(
    measures: &[Node],
    units_per_beat: Units,
    concert: bool,
    remarks: &mut Remarks,
) -> Result<Vec<Measure>> {
    let mut reader = Reader {
        units_per_beat,
        concert,
        units_per_division: units_per_beat,
        nominal: 4 * units_per_beat,
        transpositions: Vec::new(),
        remarks,
    };
    measures
        .iter()
        .map(|measure| reader.measure(*measure))
        .collect()
}

/// The number in a `<divisions>` element: how many of the document's durations make a beat.
pub fn divisions(node: Node) -> Result<Units> {
    let text = node.text().unwrap_or_default().trim();
    let number = text
        .parse::<f64>()
        .ok()
        .filter(|it| it.fract() == 0.0 && (1.0..=1e9).contains(it));
    let number = number.with_context(|| {
        format!(
            "byte {}: beats divided by '{text}'; a whole number from 1 expected",
            node.range().start
        )
    })?;
    Ok(number as Units)
}

/// Most staves of a part.
const MOST_STAVES: u32 = 16;

/// What carries over from one measure to the next.
struct Reader<'r> {
    units_per_beat: Units,
    concert: bool,
    units_per_division: Units,
    nominal: Units,
    /// Semitones from written to sounding pitch; for one staff, or for all.
    transpositions: Vec<(Option<u32>, i32)>,
    remarks: &'r mut Remarks,
}

impl Reader<'_> {
    fn measure(&mut self, node: Node) -> Result<Measure> {
        let mut measure = Measure::default();
        let mut now: Units = 0;
        // Where the note before began, which the further notes of a chord share.
        let mut before: Units = 0;
        for element in node.children().filter(Node::is_element) {
            match element.tag_name().name() {
                "attributes" => self.attributes(element)?,
                "backup" => {
                    let back = self.duration(element)?;
                    if back > now {
                        self.remarks.add(
                            "steps back beyond the beginning of a measure ended there",
                            element.range().start,
                        );
                    }
                    now = now.saturating_sub(back);
                }
                "forward" => {
                    now = later(now, self.duration(element)?, element)?;
                    measure.filled = measure.filled.max(now);
                }
                "note" if has(element, "grace") => self
                    .remarks
                    .add("grace notes were left out", element.range().start),
                "note" => {
                    let start = if has(element, "chord") { before } else { now };
                    let end = later(start, self.duration(element)?, element)?;
                    if !self.fills_any_measure(element, end - start) {
                        measure.filled = measure.filled.max(end);
                    }
                    measure.notes.extend(self.note(element, start, end));
                    before = start;
                    now = now.max(end);
                }
                _ => {}
            }
        }
        measure.nominal = self.nominal;
        Ok(measure)
    }

    fn attributes(&mut self, node: Node) -> Result<()> {
        if let Some(node) = children(node, "divisions").next() {
            self.units_per_division = self.units_per_beat / divisions(node)?;
        }
        if let Some(time) = children(node, "time").next() {
            match nominal(time, self.units_per_beat) {
                Some(nominal) => self.nominal = nominal,
                None => self.remarks.add(
                    "time signatures without a measure's length were passed over",
                    time.range().start,
                ),
            }
        }
        for transpose in children(node, "transpose").filter(|_| !self.concert) {
            let number = |name| {
                child_text(transpose, name).map_or(Some(0.0), |text| text.parse::<f64>().ok())
            };
            let staff = transpose
                .attribute("number")
                .and_then(|number| number.parse().ok());
            let semitones = match (number("chromatic"), number("octave-change")) {
                (Some(chromatic), Some(octaves)) => chromatic + 12.0 * octaves,
                _ => f64::NAN,
            };
            if semitones.fract() != 0.0 || semitones.abs() > 127.0 {
                self.remarks.add(
                    "transpositions by no whole number of semitones were not made",
                    transpose.range().start,
                );
                continue;
            }
            self.transpositions
                .retain(|(other, _)| staff.is_some() && *other != staff);
            self.transpositions.push((staff, semitones as i32));
        }
        Ok(())
    }

    /// The note in a `<note>` element, if it sounds.
    fn note(&mut self, node: Node, start: Units, end: Units) -> Option<Note> {
        let offset = node.range().start;
        if has(node, "rest") {
            return None;
        }
        let not_sounding = [
            (has(node, "cue"), "cue notes were left out"),
            (
                has(node, "unpitched"),
                "percussion notes without pitch were left out",
            ),
            (start == end, "notes without duration were left out"),
        ];
        if let Some((_, what)) = not_sounding.into_iter().find(|(is_so, _)| *is_so) {
            self.remarks.add(what, offset);
            return None;
        }
        let staff = child_text(node, "staff").map_or(Some(1), |text| text.parse().ok());
        let staff = staff
            .filter(|staff| (1..=MOST_STAVES).contains(staff))
            .unwrap_or_else(|| {
                self.remarks.add(
                    "notes on a staff that is not 1 to 16 were put on the first",
                    offset,
                );
                1
            });
        let Some(written) = children(node, "pitch").next().and_then(pitch) else {
            self.remarks
                .add("notes without a readable pitch were left out", offset);
            return None;
        };
        if written.fract() != 0.0 {
            self.remarks
                .add("pitches between two semitones were rounded", offset);
        }
        // The latest word on this staff, or on all.
        let transposition = self
            .transpositions
            .iter()
            .rev()
            .find(|(on, _)| on.is_none_or(|on| on == staff));
        let sounding =
            written.round() as i32 + transposition.map_or(0, |(_, semitones)| *semitones);
        let Some(pitch) = u8::try_from(sounding).ok().filter(|pitch| *pitch < 128) else {
            self.remarks
                .add("notes beyond the range of MIDI were left out", offset);
            return None;
        };
        let tied = |kind| children(node, "tie").any(|tie| tie.attribute("type") == Some(kind));
        Some(Note {
            staff,
            start,
            end,
            pitch,
            tied_back: tied("stop"),
            tied_on: tied("start"),
            offset,
        })
    }

    /// Whether the element is a rest that stands for a measure of whatever length.
    fn fills_any_measure(&self, node: Node, duration: Units) -> bool {
        let Some(rest) = children(node, "rest").next() else {
            return false;
        };
        let looks_whole =
            child_text(node, "type").is_none_or(|kind| matches!(kind, "whole" | "breve"));
        rest.attribute("measure") == Some("yes")
            || looks_whole && duration == 4 * self.units_per_beat
    }

    /// The duration in an element; none is 0.
    fn duration(&mut self, node: Node) -> Result<Units> {
        let Some(text) = child_text(node, "duration") else {
            return Ok(0);
        };
        let number = text
            .parse::<f64>()
            .ok()
            .filter(|it| (0.0..=1e9).contains(it));
        let number = number.with_context(|| {
            format!(
                "byte {}: a duration of '{text}'; a number from 0 expected",
                node.range().start
            )
        })?;
        let units = number * self.units_per_division as f64;
        if units.fract() != 0.0 {
            self.remarks.add(
                "durations finer than the document's divisions were rounded",
                node.range().start,
            );
        }
        Ok(units.round() as Units)
    }
}

fn has(node: Node, name: &'static str) -> bool {
    children(node, name).next().is_some()
}

fn later(now: Units, by: Units, node: Node) -> Result<Units> {
    ensure!(
        now + by <= MOST_UNITS,
        "byte {}: the measure is too long",
        node.range().start
    );
    Ok(now + by)
}

/// How long a measure is under a time signature; `None` where it does not say.
fn nominal(time: Node, units_per_beat: Units) -> Option<Units> {
    let mut total: Units = 0;
    for (beats, kind) in children(time, "beats").zip(children(time, "beat-type")) {
        let kind = kind
            .text()?
            .trim()
            .parse::<Units>()
            .ok()
            .filter(|it| (1..=1024).contains(it))?;
        // Additive beats are written 3+2.
        for beats in beats.text()?.split('+') {
            let beats = beats
                .trim()
                .parse::<Units>()
                .ok()
                .filter(|it| *it <= 1024)?;
            total = total.saturating_add(4 * beats * units_per_beat / kind);
        }
    }
    (total > 0).then_some(total)
}

/// The written MIDI pitch, with a fraction where it is not a whole number of semitones; 60 is C in octave 4.
fn pitch(node: Node) -> Option<f64> {
    let step = match child_text(node, "step")? {
        "C" => 0.0,
        "D" => 2.0,
        "E" => 4.0,
        "F" => 5.0,
        "G" => 7.0,
        "A" => 9.0,
        "B" => 11.0,
        _ => return None,
    };
    let octave = child_text(node, "octave")?
        .parse::<i32>()
        .ok()
        .filter(|it| (-2..=11).contains(it))?;
    let alter = match child_text(node, "alter") {
        Some(text) => text.parse::<f64>().ok().filter(|it| it.abs() <= 12.0)?,
        None => 0.0,
    };
    Some(12.0 * f64::from(octave + 1) + step + alter)
}
