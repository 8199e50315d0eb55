//! The order in which measures sound: repeats and their endings played out.

use anyhow::{Result, bail, ensure};
use roxmltree::Node;

use super::{Remarks, children};

/// The repeat signs of one measure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bar {
    /// A repeated section begins with this measure.
    pub begins: bool,
    /// A repeated section ends with this measure: how often it is played in all.
    pub repeats: Option<u32>,
    /// The passes in which this measure is played; empty is all.
    pub passes: Vec<u32>,
}

/// Most passes of a repeated section.
const MOST_PASSES: u32 = 32;

/// The repeat signs of each measure; a sign in any part counts for all.
pub fn bars(parts: &[Vec<Node>], remarks: &mut Remarks) -> Vec<Bar> {
    let mut bars = vec![Bar::default(); parts.iter().map(Vec::len).max().unwrap_or(0)];
    for measures in parts {
        let mut passes: Vec<u32> = Vec::new();
        for (index, measure) in measures.iter().enumerate() {
            let jumps = ["dacapo", "dalsegno", "tocoda"];
            for sound in measure
                .descendants()
                .filter(|node| node.has_tag_name("sound"))
            {
                if jumps.iter().any(|name| sound.has_attribute(*name)) {
                    remarks.add(
                        "jumps (da capo, dal segno, to coda) were not followed",
                        sound.range().start,
                    );
                }
            }
            let mut closed = false;
            for barline in children(*measure, "barline") {
                let left = barline.attribute("location") == Some("left");
                if let Some(ending) = children(barline, "ending").next() {
                    match ending.attribute("type") {
                        Some("start") => {
                            passes = numbers(ending.attribute("number").unwrap_or_default())
                        }
                        _ => closed = true,
                    }
                }
                let Some(repeat) = children(barline, "repeat").next() else {
                    continue;
                };
                let backward = repeat.attribute("direction") == Some("backward");
                let at = match (backward, left) {
                    (true, true) => index.checked_sub(1),
                    (true, false) | (false, true) => Some(index),
                    (false, false) => Some(index + 1),
                };
                let Some(bar) = at.and_then(|at| bars.get_mut(at)) else {
                    remarks.add(
                        "repeat signs outside the music were passed over",
                        repeat.range().start,
                    );
                    continue;
                };
                match backward {
                    true => {
                        let times = repeat
                            .attribute("times")
                            .and_then(|times| times.parse().ok())
                            .unwrap_or(2);
                        bar.repeats = Some(times.clamp(1, MOST_PASSES));
                    }
                    false => bar.begins = true,
                }
            }
            if bars[index].passes.is_empty() {
                bars[index].passes.clone_from(&passes);
            }
            if closed {
                passes.clear();
            }
        }
    }
    bars
}

/// The measures in the order in which they sound; at most `most`.
///
/// Sections may hold others, which are repeated again in each pass. A section that nothing opens begins after the section
/// before it. An ending belongs to the passes that it names, and a repeat sign in it counts in these.
pub fn order(bars: &[Bar], most: usize) -> Result<Vec<usize>> {
    let passes = passes(bars);
    let mut order = Vec::new();
    // The sections that are open; the outermost is the one that nothing opens.
    let mut open = vec![Section { start: 0, pass: 1 }];
    let mut index = 0;
    for _ in 0..10 * most {
        let Some(bar) = bars.get(index) else {
            return Ok(order);
        };
        let top = open.len() - 1;
        if bar.begins && (top == 0 || open[top].start != index) {
            open.push(Section {
                start: index,
                pass: 1,
            });
            continue;
        }
        let in_ending = !bar.passes.is_empty();
        let skipped = in_ending && !bar.passes.contains(&open[top].pass);
        if !skipped {
            ensure!(
                order.len() < most,
                "more than {most} measures once the repeats are played"
            );
            order.push(index);
            if open[top].pass < passes[index] {
                open[top].pass += 1;
                index = open[top].start;
                continue;
            }
        }
        index += 1;
        let endings_over = in_ending && bars.get(index).is_none_or(|next| next.passes.is_empty());
        if endings_over || !in_ending && bar.repeats.is_some() {
            open.truncate(top.max(1));
            if let [outermost] = &mut open[..] {
                *outermost = Section {
                    start: index,
                    pass: 1,
                };
            }
        }
    }
    bail!("repeats that skip more than {} measures", 9 * most)
}

#[derive(Debug, Clone, Copy)]
struct Section {
    start: usize,
    /// How often it is being played, from 1.
    pass: u32,
}

/// For each measure that ends a section, the passes of that section; 0 for others.
///
/// In an ending they are as many as its neighbouring endings name; a lone ending is left out of one more.
fn passes(bars: &[Bar]) -> Vec<u32> {
    let mut passes = Vec::new();
    for group in bars.chunk_by(|a, b| a.passes.is_empty() == b.passes.is_empty()) {
        let last = group.iter().flat_map(|bar| &bar.passes).max();
        let lone = group.iter().all(|bar| bar.passes == group[0].passes);
        passes.extend(group.iter().map(|bar| match (bar.repeats, last) {
            (None, _) => 0,
            (Some(times), None) => times,
            (Some(_), Some(last)) => last + u32::from(lone),
        }));
    }
    passes
}

/// The numbers of an ending, written as `1`, `1, 2` or `1-3`.
fn numbers(text: &str) -> Vec<u32> {
    let mut numbers = Vec::new();
    for item in text.split(',') {
        let (from, to) = item.split_once('-').unwrap_or((item, item));
        if let (Ok(from), Ok(to)) = (from.trim().parse::<u32>(), to.trim().parse::<u32>()) {
            numbers.extend((from..=to.min(MOST_PASSES)).filter(|number| *number > 0));
        }
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One letter a measure: `(` begins, `)` ends a section, `1` or `2` names the pass of an ending.
    fn bars_of(text: &str) -> Vec<Bar> {
        text.split_whitespace()
            .map(|measure| Bar {
                begins: measure.contains('('),
                repeats: measure.contains(')').then_some(2),
                passes: measure
                    .chars()
                    .filter_map(|letter| letter.to_digit(10))
                    .collect(),
            })
            .collect()
    }

    fn played(text: &str) -> Vec<usize> {
        order(&bars_of(text), 1000).unwrap()
    }

    #[test]
    fn without_signs_every_measure_sounds_once() {
        assert_eq!(played("a b c"), [0, 1, 2]);
    }

    #[test]
    fn a_section_that_nothing_opens_begins_at_the_beginning_or_after_the_section_before() {
        assert_eq!(played("a b) c d) e"), [0, 1, 0, 1, 2, 3, 2, 3, 4]);
        assert_eq!(played("a (b) c"), [0, 1, 1, 2]);
        assert_eq!(played("(a b) c"), [0, 1, 0, 1, 2]);
    }

    #[test]
    fn endings_belong_to_their_passes() {
        assert_eq!(played("a b1) c2 d"), [0, 1, 0, 2, 3]);
        assert_eq!(played("a (b c12) d3 e"), [0, 1, 2, 1, 2, 1, 3, 4]);
        assert_eq!(played("a b1) c2) d"), [0, 1, 0, 2, 3]);
        assert_eq!(played("a b1) c"), [0, 1, 0, 2]);
        assert_eq!(played("a1) b2 (c d1) e2 f"), [0, 1, 2, 3, 2, 4, 5]);
    }

    #[test]
    fn sections_within_sections_are_repeated_in_each_pass() {
        assert_eq!(played("(a (b) c)"), [0, 1, 1, 2, 0, 1, 1, 2]);
    }

    #[test]
    fn repeats_within_repeats_do_not_fill_the_memory() {
        let many = "(a ".repeat(60) + &"b) ".repeat(60);
        assert!(order(&bars_of(&many), 1000).is_err());
    }

    #[test]
    fn numbers_of_endings_are_lists_and_ranges() {
        assert_eq!(numbers("1, 2"), [1, 2]);
        assert_eq!(numbers("1-3"), [1, 2, 3]);
        assert_eq!(numbers("0-4000000000").len(), MOST_PASSES as usize);
        assert!(numbers("").is_empty());
    }
}
