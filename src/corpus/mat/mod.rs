//! MATLAB level 5 files of piano rolls → the sounding pitches of every time step.
//!
//! The Boulanger-Lewandowski data sets come as such files: the variables `traindata`, `validdata` and `testdata` are
//! cell arrays with one matrix a piece, time steps by 88 keys. Only what these need is read; every size in the file is
//! checked against the bytes that are there before anything is allocated.
//! Source: "MAT-File Format", The MathWorks, chapter 1 (level 5).

mod element;

use std::io::Read;

use anyhow::{Context, Result, bail, ensure};
use flate2::read::ZlibDecoder;

use super::score::{KEYS, LOWEST_KEY};
use super::split::Split;
use element::{Array, COMPRESSED, Cursor, Element, MATRIX, Place, positive};

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
/// All three splits must be there. Other variables are skipped. A key sounds where its number is above 0.
pub fn read(bytes: &[u8]) -> Result<Vec<Roll>> {
    let mut file = Cursor::of_file(bytes)?;
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
            let mut inside = Cursor {
                bytes: &inflated,
                at: 0,
                place,
                ..file
            };
            read_variable(inside.element()?, &mut splits)?;
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
pub const MOST_INFLATED: usize = 256 << 20;

// Classes of arrays: cells hold arrays of their own; 6 to 15 are numbers, from double to uint64.
const CELL_CLASS: u32 = 1;
const NUMBER_CLASSES: std::ops::RangeInclusive<u32> = 6..=15;

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
            .and_then(steps);
        rolls.push(steps.with_context(|| format!("failed to read piece {id} of '{name}'"))?);
    }
    splits[index] = Some(rolls);
    Ok(())
}

fn variable_name(split: Split) -> String {
    format!("{}data", split.name())
}

/// The time steps of a matrix of numbers, stored column by column.
fn steps(mut array: Array) -> Result<Vec<u128>> {
    let here = array.here();
    ensure!(
        NUMBER_CLASSES.contains(&array.class),
        "{here}: numbers expected, found class {}",
        array.class
    );
    let [rows, columns] = array.lengths[..] else {
        bail!("{here}: {} dimensions, not 2", array.lengths.len())
    };
    if rows == 0 || columns == 0 {
        return Ok(Vec::new());
    }
    ensure!(
        columns == KEYS,
        "{here}: a piano roll of {KEYS} columns expected, found {rows} by {columns}"
    );
    let numbers = array.parts.element()?;
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
            *step |= u128::from(sounds(number)) << (usize::from(LOWEST_KEY) + key);
        }
    }
    Ok(steps)
}

#[cfg(test)]
mod tests;
