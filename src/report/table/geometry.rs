//! How pitch is laid out in the embedding's own space: transposition, octaves and fifths, ON and OFF as a direction.

use serde_json::Value;

use super::super::group::Group;
use super::super::record::{RunRecord, at_path};
use super::super::text::number;
use super::embeddings::{number_at, p_value, tested};
use super::{Cell, Table};

/// What the rows are, by the name in the record.
const ROWS: [(&str, &str); 4] = [
    ("on", "ON"),
    ("off", "OFF"),
    ("note", "notes"),
    ("on_off", "ON minus OFF"),
];

/// What is asked of them, by the name in the record, and against what.
const TESTS: [(&str, &str, &str); 6] = [
    ("transposition", "transposition", "shuffled anywhere"),
    (
        "transposition_within_octaves",
        "transposition",
        "shuffled within octaves",
    ),
    ("octave", "octave", "12 against 11 and 13 semitones"),
    ("fifth", "fifth", "7 against 6 and 8 semitones"),
    ("fourth", "fourth", "5 against 4 and 6 semitones"),
    ("direction", "direction", "exchanged at each pitch"),
];

/// Each question of each kind of row; `None` if the runs measured none of it.
pub fn fill(group: &Group) -> Option<Table> {
    let run = group.shown();
    let mut rows = Vec::new();
    for (map, statistics) in run.maps() {
        for (of, of_name) in ROWS {
            for (test, name, against) in TESTS {
                let found = |space: &str, what: &str| {
                    number_at(statistics, &format!("geometry.{space}.{of}.{test}.{what}"))
                };
                if found("trained", "value").is_none() {
                    continue;
                }
                let path = |space: &str, what: &str| {
                    format!("analysis.{map}.geometry.{space}.{of}.{test}.{what}")
                };
                let tested = |space: &str| {
                    let ps = [path(space, "p"), path(space, "p_holm")];
                    let ps = [("p", ps[0].as_str()), ("Holm", ps[1].as_str())];
                    tested(group, &path(space, "value"), &ps)
                };
                let chance = group.over_seeds(|run| run.number(&path("trained", "chance")));
                let pitches = number_at(statistics, &format!("geometry.pitches.{of}.rows"));
                rows.push(vec![
                    Cell::text(map.replace('-', " ")),
                    Cell::text(of_name)
                        .with_detail(pitches.map(|count| format!("{count} pitches"))),
                    Cell::text(name).with_detail(Some(against.to_owned())),
                    tested("trained"),
                    chance.cell(),
                    tested("untrained"),
                ]);
            }
        }
    }
    let first = run.maps().next().map(|(_, statistics)| statistics)?;
    let caption = format!(
        "How is pitch laid out in the embedding's own space? Transposition: the mean cosine between two steps of the same size, over steps \
         of 1 to 12 semitones, leaving out steps that share a note; 1 if C to D is the same step as F to G. Octave, fifth, fourth: how much \
         closer rows that far apart are than rows one semitone less or more apart, as a share of the mean distance, once the rows' cubic \
         trend in pitch is taken out. Direction: the mean cosine between the differences ON minus OFF of two pitches. p: one-sided, {}; \
         pitch labels are shuffled anywhere, or within octaves from C to B, which keeps register; for the direction ON and OFF are \
         exchanged at random at each pitch. Holm: p adjusted for the {} tests of one map and space. Corpus: {}.",
        shuffles(first),
        number_at(first, "geometry.trained.tests").map_or("?".to_owned(), number),
        run.corpus_name(),
    );
    (!rows.is_empty()).then_some(Table {
        name: "geometry",
        caption,
        columns: vec!["map", "rows", "question", "trained", "chance", "untrained"],
        rows,
    })
}

/// Transposition step by step; `None` if the run did not measure it.
pub fn fill_steps(group: &Group) -> Option<Table> {
    let run = group.shown();
    const STEPS: [&str; 12] = [
        "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12",
    ];
    let mut rows = Vec::new();
    for (map, statistics) in run.maps() {
        for (of, name) in ROWS {
            for space in ["trained", "untrained"] {
                let path = format!("geometry.{space}.{of}.steps");
                let Some(steps) = at_path(statistics, &path) else {
                    continue;
                };
                let step = |step: &&str| {
                    let holm = number_at(steps, &format!("{step}.p_holm"));
                    Cell::number(number_at(steps, &format!("{step}.value")))
                        .with_detail(holm.map(p_value))
                };
                let mut row = vec![
                    Cell::text(map.replace('-', " ")),
                    Cell::text(name).with_detail(Some(space.to_owned())),
                ];
                row.extend(STEPS.iter().map(step));
                rows.push(row);
            }
        }
    }
    let first = run.maps().next().map(|(_, statistics)| statistics)?;
    let caption = format!(
        "Is a step of so many semitones the same wherever it starts? The mean cosine between two such steps that share no note, and p \
         against pitch labels shuffled anywhere, one-sided, {}, adjusted for the twelve steps of a row (Holm).{}",
        shuffles(first),
        group.only_shown()
    );
    let mut columns = vec!["map", "rows"];
    columns.extend(STEPS);
    (!rows.is_empty()).then_some(Table {
        name: "transposition",
        caption,
        columns,
        rows,
    })
}

/// Which tests of the first map stay under 0.05 once adjusted, among trained and among untrained rows, as sentences.
pub fn significant(run: &RunRecord) -> Option<String> {
    let (map, statistics) = run.maps().next()?;
    let tests = number_at(statistics, "geometry.trained.tests").filter(|tests| *tests > 0.0)?;
    let among = |space: &str| {
        let mut found = Vec::new();
        for (of, of_name) in ROWS {
            for (test, name, against) in TESTS {
                let number_of = |what: &str| {
                    number_at(statistics, &format!("geometry.{space}.{of}.{test}.{what}"))
                };
                let numbers = number_of("value")
                    .zip(number_of("p"))
                    .zip(number_of("p_holm"));
                if let Some(((value, p), holm)) = numbers.filter(|(_, holm)| *holm < 0.05) {
                    let (value, p) = (number(value), with_holm(p, holm));
                    found.push(format!("{of_name}, {name}, {against}: {value} ({p})"));
                }
            }
        }
        match found.is_empty() {
            true => "none".to_owned(),
            false => found.join("; "),
        }
    };
    Some(format!(
        "Of the {} tests of the map {map} in the embedding's own space, those with p under 0.05 after Holm's adjustment, {}: among trained \
         rows {}; among untrained rows {}.",
        number(tests),
        shuffles(statistics),
        among("trained"),
        among("untrained"),
    ))
}

/// How often labels were shuffled and from which seed, such as `9,999 shuffles (seed 0)`.
fn shuffles(statistics: &Value) -> String {
    let setting = |name: &str| {
        number_at(statistics, &format!("settings.{name}")).map_or("?".to_owned(), number)
    };
    format!(
        "{} shuffles (seed {})",
        setting("permutations"),
        setting("permutation_seed")
    )
}

fn with_holm(p: f64, holm: f64) -> String {
    format!("{}, Holm {}", p_value(p), number(holm))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture::{Options, make_run};
    use crate::run::Store;

    fn made(options: Options) -> RunRecord {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().join("runs"), folder.path().join("records"));
        RunRecord::read(&make_run(&store, "first", options), false).unwrap()
    }

    fn column(table: &Table, column: usize) -> Vec<&str> {
        table
            .rows
            .iter()
            .map(|row| row[column].text.as_str())
            .collect()
    }

    #[test]
    fn on_and_off_rows_are_asked_alike_and_their_difference_for_its_direction() {
        let run = made(Options::default());
        let table = fill(&Group::alone(&run)).unwrap();
        let of = [["ON"; 5], ["OFF"; 5]].concat();
        assert_eq!(column(&table, 1)[..10], of);
        assert_eq!(column(&table, 1)[10..], ["ON minus OFF"]);
        assert_eq!(column(&table, 2)[10], "direction");
        assert!(table.caption.contains("the 11 tests"), "{}", table.caption);
        assert!(table.caption.contains("199 shuffles (seed 0)"));
        // The invented rows differ by their kind along one axis and rise with pitch along another.
        let transposition = &table.rows[0][3];
        assert!(transposition.number.unwrap() > 0.0);
        assert_eq!(
            transposition.detail.as_deref(),
            Some("p 0.0050, Holm 0.0550")
        );
        assert_eq!(fill_steps(&Group::alone(&run)).unwrap().rows.len(), 4);
    }

    #[test]
    fn chords_have_five_questions_and_twelve_steps() {
        let run = made(Options {
            chords: true,
            ..Options::default()
        });
        assert_eq!(column(&fill(&Group::alone(&run)).unwrap(), 1), ["notes"; 5]);
        let steps = fill_steps(&Group::alone(&run)).unwrap();
        assert_eq!((steps.rows.len(), steps.columns.len()), (2, 14));
        assert!(steps.rows[0][2..].iter().all(|cell| cell.number.is_some()));
    }

    #[test]
    fn a_record_from_before_these_measurements_has_no_such_table() {
        let mut run = made(Options::default());
        let map = &mut run.statistics["analysis"]["most-frequent"];
        map.as_object_mut().unwrap().remove("geometry");
        assert_eq!(
            (fill(&Group::alone(&run)), fill_steps(&Group::alone(&run))),
            (None, None)
        );
    }
}
