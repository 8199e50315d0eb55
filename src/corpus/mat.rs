//! MATLAB level 5 files of piano rolls → the sounding pitches of every time step.
//!
//! The Boulanger-Lewandowski data sets come as such files: the variables `traindata`, `validdata` and `testdata` are
//! cell arrays with one matrix a piece, time steps by 88 keys. Only what these need is read; every size in the file is
//! checked against the bytes that are there before anything is allocated.
//! Source: "MAT-File Format", The MathWorks, chapter 1 (level 5).

use std::io::Read;

use anyhow::{Context, Result, bail, ensure};
use flate2::read::ZlibDecoder;

use super::split::Split;

/// The MIDI pitch of a matrix's first column: the lowest key of a piano.
pub const LOWEST_PITCH: usize = 21;

/// Columns of a piano roll: the keys of a piano.
pub const KEYS: usize = 88;

/// One piece as its published piano roll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roll {
    /// The published split that it belongs to.
    pub split: Split,
    /// Its place in that split, from 0.
    pub id: usize,
    /// The sounding pitches of each time step: bit p is MIDI pitch p.
    pub steps: Vec<u128>,
}

/// The piano rolls of the file `bytes`, in the order of split and id.
///
/// All three splits must be there; other variables are passed over. A key sounds where its number is above 0.
pub fn read(bytes: &[u8]) -> Result<Vec<Roll>> {
    let mut file = Cursor {
        bytes,
        at: HEADER,
        order: byte_order(bytes)?,
        place: Place::File,
    };
    let mut splits: [Option<Vec<Vec<u128>>>; 3] = [None, None, None];
    let mut budget = MOST_INFLATED;
    while file.at < bytes.len() {
        let element = file.element()?;
        if element.kind == COMPRESSED {
            let inflated = inflate(element.data(), budget).with_context(|| {
                format!("failed to inflate the variable at byte {}", element.at)
            })?;
            budget -= inflated.len();
            let place = Place::Inflated { from: element.at };
            read_variable(
                Cursor {
                    bytes: &inflated,
                    at: 0,
                    place,
                    ..file
                }
                .element()?,
                &mut splits,
            )?;
        } else {
            read_variable(element, &mut splits)?;
        }
    }
    let mut rolls = Vec::new();
    for (split, pieces) in Split::ALL.into_iter().zip(splits) {
        let pieces =
            pieces.with_context(|| format!("the file has no variable '{}data'", split.name()))?;
        rolls.extend(
            pieces
                .into_iter()
                .enumerate()
                .map(|(id, steps)| Roll { split, id, steps }),
        );
    }
    Ok(rolls)
}

/// Most bytes that the variables of one file may take once inflated; the largest known file takes 35 million.
const MOST_INFLATED: usize = 256 << 20;

/// Bytes of the file's header: 116 of text, 8 of an offset, 2 of a version, 2 that mark the byte order.
const HEADER: usize = 128;

// Kinds of data elements.
const INT8: u32 = 1;
const UINT8: u32 = 2;
const INT16: u32 = 3;
const UINT16: u32 = 4;
const INT32: u32 = 5;
const UINT32: u32 = 6;
const SINGLE: u32 = 7;
const DOUBLE: u32 = 9;
const INT64: u32 = 12;
const UINT64: u32 = 13;
const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;

// Classes of arrays: cells hold arrays of their own; 6 to 15 are numbers, from double to uint64.
const CELL_CLASS: u32 = 1;
const NUMBER_CLASSES: std::ops::RangeInclusive<u32> = 6..=15;

#[derive(Debug, Clone, Copy)]
enum Order {
    Little,
    Big,
}

fn byte_order(bytes: &[u8]) -> Result<Order> {
    ensure!(
        bytes.len() >= HEADER,
        "not a MATLAB level 5 file: {} bytes are fewer than its header's 128",
        bytes.len()
    );
    match &bytes[126..128] {
        b"IM" => Ok(Order::Little),
        b"MI" => Ok(Order::Big),
        other => bail!(
            "not a MATLAB level 5 file: bytes 126 and 127 are {other:02x?}, neither 'IM' nor 'MI'"
        ),
    }
}

fn inflate(data: &[u8], most: usize) -> Result<Vec<u8>> {
    let mut inflated = Vec::new();
    ZlibDecoder::new(data)
        .take(most as u64 + 1)
        .read_to_end(&mut inflated)?;
    ensure!(
        inflated.len() <= most,
        "a file's variables may take {MOST_INFLATED} bytes in all, and these take more"
    );
    Ok(inflated)
}

/// What offsets count from, for messages.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// From the beginning of the file.
    File,
    /// From the beginning of what was inflated from the element at that byte of the file.
    Inflated { from: usize },
}

/// A walk over the data elements of `bytes`, of which the next begins at `at`.
#[derive(Debug, Clone, Copy)]
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    order: Order,
    place: Place,
}

/// One data element: `bytes` ends where it ends, it begins at `at` and its data at `data_at`.
#[derive(Debug, Clone, Copy)]
struct Element<'a> {
    kind: u32,
    bytes: &'a [u8],
    at: usize,
    data_at: usize,
    order: Order,
    place: Place,
}

impl<'a> Cursor<'a> {
    /// The next data element, stepping over it and its padding.
    fn element(&mut self) -> Result<Element<'a>> {
        let Cursor {
            bytes,
            at,
            order,
            place,
        } = *self;
        let here = whence(at, place);
        let Some((&tag, rest)) = bytes
            .get(at..)
            .and_then(|rest| rest.split_first_chunk::<8>())
        else {
            bail!("{here}: cut short, no room for a data element's tag of 8 bytes");
        };
        let [first, second] = [word(&tag[..4], order), word(&tag[4..], order)];
        // A small element packs size and kind into four bytes and its data into the next four.
        let (kind, size, header, room) = match first >> 16 {
            0 => (first, second as usize, 8, rest.len()),
            size => (first & 0xffff, size as usize, 4, 4),
        };
        ensure!(
            size <= room,
            "{here}: a data element claims {size} bytes where {room} are left"
        );
        let padded = if kind == COMPRESSED {
            header + size
        } else {
            (header + size).next_multiple_of(8)
        };
        self.at = bytes.len().min(at + padded);
        Ok(Element {
            kind,
            bytes: &bytes[..at + header + size],
            at,
            data_at: at + header,
            order,
            place,
        })
    }
}

impl<'a> Element<'a> {
    fn data(&self) -> &'a [u8] {
        &self.bytes[self.data_at..]
    }

    fn here(&self) -> String {
        whence(self.at, self.place)
    }

    /// The array in this element, its data not yet looked at.
    fn array(&self) -> Result<Array<'a>> {
        ensure!(
            self.kind == MATRIX,
            "{}: an array expected, found an element of kind {}",
            self.here(),
            self.kind
        );
        let mut parts = Cursor {
            bytes: self.bytes,
            at: self.data_at,
            order: self.order,
            place: self.place,
        };
        let flags = parts.element()?;
        let class = match (flags.kind, flags.data().first_chunk::<4>()) {
            (UINT32, Some(first)) => word(first, self.order) & 0xff,
            _ => bail!("{}: an array's flags expected", flags.here()),
        };
        let dimensions = parts.element()?;
        ensure!(
            dimensions.kind == INT32,
            "{}: an array's dimensions expected",
            dimensions.here()
        );
        let lengths = dimensions
            .data()
            .chunks_exact(4)
            .map(|size| word(size, self.order) as usize)
            .collect();
        let name = parts.element()?;
        ensure!(
            name.kind == INT8,
            "{}: an array's name expected",
            name.here()
        );
        Ok(Array {
            class,
            lengths,
            name: name.data(),
            parts,
            at: self.at,
        })
    }
}

/// An array, read up to its data.
struct Array<'a> {
    class: u32,
    /// Rows, columns and further dimensions, as the file claims them.
    lengths: Vec<usize>,
    name: &'a [u8],
    /// The elements that follow the name.
    parts: Cursor<'a>,
    at: usize,
}

impl Array<'_> {
    fn here(&self) -> String {
        whence(self.at, self.parts.place)
    }

    /// The time steps of a matrix of numbers, stored column by column.
    fn steps(mut self) -> Result<Vec<u128>> {
        let here = self.here();
        ensure!(
            NUMBER_CLASSES.contains(&self.class),
            "{here}: numbers expected, found class {}",
            self.class
        );
        let [rows, columns] = self.lengths[..] else {
            bail!("{here}: {} dimensions, not 2", self.lengths.len())
        };
        if rows == 0 || columns == 0 {
            return Ok(Vec::new());
        }
        ensure!(
            columns == KEYS,
            "{here}: a piano roll of {KEYS} columns expected, found {rows} by {columns}"
        );
        let numbers = self.parts.element()?;
        let Some((width, sounds)) = positive(numbers.kind, numbers.order) else {
            bail!(
                "{}: numbers expected, found an element of kind {}",
                numbers.here(),
                numbers.kind
            );
        };
        let size = numbers.data().len();
        ensure!(
            rows.checked_mul(KEYS * width) == Some(size),
            "{}: {rows} by {KEYS} numbers of {width} bytes do not take {size} bytes",
            numbers.here()
        );
        let mut steps = vec![0u128; rows];
        for (key, column) in numbers.data().chunks_exact(rows * width).enumerate() {
            for (step, number) in steps.iter_mut().zip(column.chunks_exact(width)) {
                *step |= u128::from(sounds(number)) << (LOWEST_PITCH + key);
            }
        }
        Ok(steps)
    }
}

/// Reads `variable` into its place in `splits`, if it is one of the three that hold piano rolls.
fn read_variable(variable: Element, splits: &mut [Option<Vec<Vec<u128>>>; 3]) -> Result<()> {
    if variable.kind != MATRIX {
        return Ok(());
    }
    let mut array = variable.array()?;
    let Some(index) = Split::ALL
        .iter()
        .position(|split| array.name == variable_name(*split).as_bytes())
    else {
        return Ok(());
    };
    let (here, name) = (array.here(), variable_name(Split::ALL[index]));
    ensure!(
        splits[index].is_none(),
        "{here}: a second variable '{name}'"
    );
    ensure!(
        array.class == CELL_CLASS,
        "{here}: '{name}' must be a cell array, found class {}",
        array.class
    );
    let pieces = array
        .lengths
        .iter()
        .fold(1, |pieces: usize, length| pieces.saturating_mul(*length));
    let mut rolls = Vec::new();
    for id in 0..pieces {
        let steps = array
            .parts
            .element()
            .and_then(|cell| cell.array())
            .and_then(Array::steps);
        rolls.push(steps.with_context(|| format!("failed to read piece {id} of '{name}'"))?);
    }
    splits[index] = Some(rolls);
    Ok(())
}

fn variable_name(split: Split) -> String {
    format!("{}data", split.name())
}

/// Bytes of a number of that kind, and whether such bytes stand for more than 0; `None` where the kind is no number.
fn positive(kind: u32, order: Order) -> Option<(usize, impl Fn(&[u8]) -> bool)> {
    let (width, signed, float) = match kind {
        INT8 => (1, true, false),
        UINT8 => (1, false, false),
        INT16 => (2, true, false),
        UINT16 => (2, false, false),
        INT32 => (4, true, false),
        UINT32 => (4, false, false),
        SINGLE => (4, true, true),
        DOUBLE => (8, true, true),
        INT64 => (8, true, false),
        UINT64 => (8, false, false),
        _ => return None,
    };
    let sounds = move |number: &[u8]| {
        let append = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        let bits = match order {
            Order::Little => number.iter().rev().fold(0, append),
            Order::Big => number.iter().fold(0, append),
        };
        let negative = signed && bits >> (8 * width - 1) == 1;
        let nan = match width {
            4 if float => f32::from_bits(bits as u32).is_nan(),
            8 if float => f64::from_bits(bits).is_nan(),
            _ => false,
        };
        bits != 0 && !negative && !nan
    };
    Some((width, sounds))
}

fn word(four: &[u8], order: Order) -> u32 {
    let four = four.try_into().expect("callers pass four bytes");
    match order {
        Order::Little => u32::from_le_bytes(four),
        Order::Big => u32::from_be_bytes(four),
    }
}

fn whence(at: usize, place: Place) -> String {
    match place {
        Place::File => format!("byte {at}"),
        Place::Inflated { from } => format!("byte {at} of what was inflated from byte {from}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn element(kind: u32, data: &[u8]) -> Vec<u8> {
        let mut bytes = [kind.to_le_bytes(), (data.len() as u32).to_le_bytes()].concat();
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    fn array(class: u32, lengths: [u32; 2], name: &str, parts: &[u8]) -> Vec<u8> {
        let flags = [class.to_le_bytes(), [0; 4]].concat();
        let lengths = [lengths[0].to_le_bytes(), lengths[1].to_le_bytes()].concat();
        let mut data = [element(UINT32, &flags), element(INT32, &lengths)].concat();
        match name.len() {
            1..=4 => {
                data.extend(
                    INT8.to_le_bytes()[..2]
                        .iter()
                        .chain(&(name.len() as u16).to_le_bytes()),
                );
                data.extend(name.bytes().chain([0; 4]).take(4));
            }
            _ => data.extend(element(INT8, name.as_bytes())),
        }
        data.extend(parts);
        element(MATRIX, &data)
    }

    /// A matrix of doubles, as bytes, with these steps.
    fn roll(steps: &[u128]) -> Vec<u8> {
        let pitches = LOWEST_PITCH..LOWEST_PITCH + KEYS;
        let numbers = pitches.flat_map(|pitch| {
            steps
                .iter()
                .map(move |step| f64::from((step >> pitch & 1) as u8))
        });
        let data = numbers.flat_map(f64::to_le_bytes).collect::<Vec<_>>();
        array(
            6,
            [steps.len() as u32, KEYS as u32],
            "",
            &element(DOUBLE, &data),
        )
    }

    fn variable(name: &str, rolls: &[&[u128]]) -> Vec<u8> {
        let cells = rolls
            .iter()
            .flat_map(|steps| roll(steps))
            .collect::<Vec<_>>();
        array(CELL_CLASS, [1, rolls.len() as u32], name, &cells)
    }

    fn compressed(variable: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(variable).unwrap();
        let data = encoder.finish().unwrap();
        [
            &COMPRESSED.to_le_bytes(),
            &(data.len() as u32).to_le_bytes(),
            &data[..],
        ]
        .concat()
    }

    fn file(variables: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = vec![b' '; 124];
        bytes.extend([0, 1, b'I', b'M']);
        bytes.extend(variables.concat());
        bytes
    }

    fn small() -> Vec<u8> {
        let c_major = 1 << 60 | 1 << 64 | 1 << 67;
        file(&[
            compressed(&variable(
                "traindata",
                &[&[c_major, 0, 1 << 21], &[1 << 108]],
            )),
            array(6, [0, 0], "x", &element(DOUBLE, &[])),
            variable("testdata", &[&[1 << 60]]),
            compressed(&variable("validdata", &[&[]])),
        ])
    }

    #[test]
    fn reads_plain_and_compressed_variables_in_the_order_of_splits() {
        let c_major = 1 << 60 | 1 << 64 | 1 << 67;
        let expected = [
            (Split::Train, 0, vec![c_major, 0, 1 << 21]),
            (Split::Train, 1, vec![1 << 108]),
            (Split::Valid, 0, vec![]),
            (Split::Test, 0, vec![1 << 60]),
        ];
        assert_eq!(
            read(&small()).unwrap(),
            expected.map(|(split, id, steps)| Roll { split, id, steps })
        );
    }

    #[test]
    fn numbers_of_every_kind_sound_above_zero_in_either_byte_order() {
        let sounds = |kind, bytes: &[u8], order| positive(kind, order).unwrap().1(bytes);
        assert!(sounds(UINT8, &[255], Order::Little) && !sounds(INT8, &[255], Order::Little));
        assert!(sounds(INT16, &[0, 128], Order::Big) && !sounds(INT16, &[0, 128], Order::Little));
        assert!(
            sounds(DOUBLE, &1.0f64.to_be_bytes(), Order::Big)
                && !sounds(DOUBLE, &[0; 8], Order::Big)
        );
        assert!(!sounds(SINGLE, &(-1.0f32).to_le_bytes(), Order::Little));
        assert!(!sounds(DOUBLE, &f64::NAN.to_le_bytes(), Order::Little));
    }

    #[test]
    fn errors_name_the_byte() {
        let message = |bytes: &[u8]| format!("{:#}", read(bytes).unwrap_err());
        assert_eq!(
            message(b"MThd"),
            "not a MATLAB level 5 file: 4 bytes are fewer than its header's 128"
        );
        assert_eq!(message(&file(&[])), "the file has no variable 'traindata'");
        assert_eq!(
            message(&file(&[
                [MATRIX.to_le_bytes(), 1000u32.to_le_bytes()].concat()
            ])),
            "byte 128: a data element claims 1000 bytes where 0 are left"
        );
        let narrow = array(9, [1, 3], "", &element(UINT8, &[0; 3]));
        assert_eq!(
            message(&file(&[array(CELL_CLASS, [1, 1], "testdata", &narrow)])),
            "failed to read piece 0 of 'testdata': byte 184: a piano roll of 88 columns expected, found 1 by 3"
        );
    }

    #[test]
    fn a_claim_of_four_billion_pieces_or_rows_allocates_nothing() {
        assert!(
            read(&file(&[array(
                CELL_CLASS,
                [u32::MAX, u32::MAX],
                "traindata",
                &[]
            )]))
            .is_err()
        );
        let tall = array(9, [u32::MAX, KEYS as u32], "", &element(UINT8, &[0; 88]));
        assert!(read(&file(&[array(CELL_CLASS, [1, 1], "traindata", &tall)])).is_err());
    }

    #[test]
    fn a_variable_that_inflates_beyond_the_limit_is_refused() {
        assert!(inflate(&compressed(&[0; 100_000])[8..], 99_999).is_err());
        assert_eq!(
            inflate(&compressed(&[0; 100_000])[8..], 100_000)
                .unwrap()
                .len(),
            100_000
        );
    }

    proptest! {
        #[test]
        fn mutated_files_never_panic(changes in prop::collection::vec((0usize..20_000, any::<u8>()), 1..8), cut in 0usize..20_000) {
            for mut bytes in [small(), file(&[variable("traindata", &[&[1 << 60, 0]])])] {
                for (at, byte) in &changes {
                    let at = at % bytes.len();
                    bytes[at] = *byte;
                }
                let _ = read(&bytes);
                bytes.truncate(cut % bytes.len());
                let _ = read(&bytes);
            }
        }

        #[test]
        fn arbitrary_variables_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes);
            let _ = read(&file(&[bytes]));
        }
    }

    /// One line of the converted files that stand beside the originals.
    #[derive(serde::Deserialize)]
    struct Converted {
        split: Split,
        id: usize,
        chords: Vec<String>,
    }

    #[test]
    fn the_published_files_read_as_an_independent_converter_reads_them() {
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/corpora");
        let mirror = std::env::var("HARNESS_MIRROR").unwrap_or_else(|_| manifest.into());
        for name in ["JSB_Chorales", "MuseData", "Nottingham", "Piano_midi"] {
            let path = format!("{mirror}/muse/{name}");
            let Ok(bytes) = std::fs::read(format!("{path}.mat")) else {
                eprintln!("skipped: no {path}.mat");
                continue;
            };
            let mut lines = String::new();
            let converted = std::fs::File::open(format!("{path}.jsonl.gz")).unwrap();
            flate2::read::GzDecoder::new(converted)
                .read_to_string(&mut lines)
                .unwrap();
            let rolls = read(&bytes).unwrap();
            assert_eq!(rolls.len(), lines.lines().count(), "{name}");
            for (roll, line) in rolls.iter().zip(lines.lines()) {
                let expected: Converted = serde_json::from_str(line).unwrap();
                assert_eq!(
                    (roll.split, roll.id),
                    (expected.split, expected.id),
                    "{name}"
                );
                let bits = |chord: &String| {
                    chord
                        .split('-')
                        .filter(|it| !it.is_empty())
                        .fold(0u128, |bits, pitch| {
                            bits | 1 << pitch.parse::<u32>().unwrap()
                        })
                };
                assert!(
                    roll.steps
                        .iter()
                        .copied()
                        .eq(expected.chords.iter().map(bits)),
                    "{name} {line:.60}"
                );
            }
        }
    }
}
