//! How pitch is laid out in the rows' own space, trained and untrained: what the paper's pictures could not show.
//!
//! Asked of the rows of each kind (ON, OFF, or notes), by pitch:
//! - `transposition`: is a step of k semitones the same wherever it starts? The mean of [`Steps::consistency`] over k = 1 to 12,
//!   against pitch labels shuffled anywhere; `steps.<k>` are its parts. Rows along one line through the space satisfy it, so
//!   `transposition_within_octaves` asks the same against labels shuffled within each octave from C to B, which keep their register.
//! - `octave`, `fifth`, `fourth`: are rows 12, 7, 5 semitones apart closer than those one semitone less or more apart?
//!   [`Neighbourhoods::closeness`] as a share of the mean distance, of the rows without their cubic trend in pitch, so that register
//!   is not what is found, against pitch labels of those residuals shuffled anywhere (Freedman & Lane 1983; approximate, since
//!   residuals are not wholly exchangeable). A register that is more than a cubic bends distances and mostly lowers the value: what
//!   is not found is not shown to be absent.
//!
//! And of ON and OFF rows of the same pitch, `on_off.direction`: do the differences point one way ([`direction_consistency`])? Against
//! exchanging ON and OFF at each pitch by the toss of a coin.
//!
//! Each is `{ value, chance, p, p_holm }`, one-sided. The tests of one space are adjusted together, and the twelve steps of a kind
//! among themselves (Holm).

pub mod statistic;

use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde_json::{Map as Json, Value, json};

use super::{AnalysisConfig, FEWEST_ROWS, NoteRow, TokenKind};
use crate::analysis::geometry::statistic::{
    Gram, Neighbourhoods, Steps, cosines, direction_consistency, mean_distance, without_trend,
};
use crate::analysis::neighbours::Distances;
use crate::analysis::permutation::{Permuted, holm, permutation_tests};

/// The largest step, in semitones, whose sameness is measured; all smaller ones are too.
const LARGEST_STEP: usize = 12;

/// The intervals that are compared with their neighbours, in semitones.
const RELATIONS: [(&str, u8); 3] = [("octave", 12), ("fifth", 7), ("fourth", 5)];

/// The degree of the trend in pitch that octaves and fifths are asked without.
const TREND: i32 = 3;

/// One statistic and its test.
struct Test {
    name: String,
    value: f64,
    permuted: Permuted,
}

/// The tests of some rows: those that are adjusted with the others of the space, and the twelve steps.
struct Tests {
    rows: &'static str,
    main: Vec<Test>,
    steps: Vec<Test>,
}

/// Measures the layout of the rows; kinds with fewer than [`FEWEST_ROWS`] pitches are left out, and so is what they would show.
pub(super) fn measure(rows: &[NoteRow], config: &AnalysisConfig) -> Value {
    let kinds = [TokenKind::On, TokenKind::Off, TokenKind::Note].map(|kind| of_kind(rows, kind));
    let mut pitches = Json::new();
    for kind in kinds.iter().filter(|kind| !kind.is_empty()) {
        let (first, last) = (kind[0], kind[kind.len() - 1]);
        pitches.insert(
            first.kind.name().to_owned(),
            json!({ "rows": kind.len(), "lowest": first.pitch, "highest": last.pitch }),
        );
    }
    let pairs = same_pitches(&kinds[0], &kinds[1]);
    if !pairs.is_empty() {
        pitches.insert("on_off".to_owned(), json!({ "rows": pairs.len() }));
    }
    let space = |values: &dyn Fn(&NoteRow) -> &[f64]| {
        let mut tests = Vec::new();
        for kind in kinds.iter().filter(|kind| kind.len() >= FEWEST_ROWS) {
            tests.push(layout(kind, values, config));
        }
        if pairs.len() >= FEWEST_ROWS {
            tests.push(direction(&pairs, values, config));
        }
        write(&tests)
    };
    json!({
        "pitches": pitches,
        "trained": space(&|row| &row.trained),
        "untrained": space(&|row| &row.untrained),
    })
}

/// The rows of a kind by rising pitch.
fn of_kind(rows: &[NoteRow], kind: TokenKind) -> Vec<&NoteRow> {
    let mut rows: Vec<&NoteRow> = rows.iter().filter(|row| row.kind == kind).collect();
    rows.sort_by_key(|row| row.pitch);
    rows
}

/// The rows of two kinds that have the same pitch.
fn same_pitches<'a>(on: &[&'a NoteRow], off: &[&'a NoteRow]) -> Vec<(&'a NoteRow, &'a NoteRow)> {
    let partner = |row: &NoteRow| off.iter().find(|other| other.pitch == row.pitch).copied();
    on.iter()
        .filter_map(|row| Some((*row, partner(row)?)))
        .collect()
}

/// Transposition, octave, fifth and fourth among the rows of one kind.
fn layout(
    kind: &[&NoteRow],
    values: &dyn Fn(&NoteRow) -> &[f64],
    config: &AnalysisConfig,
) -> Tests {
    let pitches: Vec<u8> = kind.iter().map(|row| row.pitch).collect();
    let rows: Vec<&[f64]> = kind.iter().map(|row| values(row)).collect();
    let (mut main, steps) = transposition(&rows, &pitches, config);
    main.extend(relations(&rows, &pitches, config));
    Tests {
        rows: kind[0].kind.name(),
        main,
        steps,
    }
}

/// Whether steps are the same wherever they start: in all, in all against labels that keep their octave, and step by step.
fn transposition(
    rows: &[&[f64]],
    pitches: &[u8],
    config: &AnalysisConfig,
) -> (Vec<Test>, Vec<Test>) {
    let gram = Gram::of(rows);
    let steps: Vec<Steps> = (1..=LARGEST_STEP)
        .map(|interval| Steps::of(pitches, interval as u8))
        .collect();
    let each = |place: &[usize]| -> [f64; LARGEST_STEP] {
        std::array::from_fn(|step| steps[step].consistency(&gram, place))
    };
    let each_and_mean = |place: &[usize]| -> [f64; LARGEST_STEP + 1] {
        let each = each(place);
        std::array::from_fn(|i| each.get(i).copied().unwrap_or_else(|| mean(&each)))
    };
    let octaves: Vec<usize> = pitches
        .chunk_by(|a, b| a / 12 == b / 12)
        .map(<[u8]>::len)
        .collect();
    let within_octaves = |place: &mut [usize], rng: &mut ChaCha8Rng| {
        let mut rest = place;
        for length in &octaves {
            let (octave, above) = rest.split_at_mut(*length);
            octave.shuffle(rng);
            rest = above;
        }
    };
    let place: Vec<usize> = (0..rows.len()).collect();
    let mut names: Vec<String> = (1..=LARGEST_STEP).map(|step| step.to_string()).collect();
    names.push("transposition".to_owned());
    let mut steps = tested(&names, &place, anywhere, config, each_and_mean);
    let mut main = steps.split_off(LARGEST_STEP);
    let name = ["transposition_within_octaves".to_owned()];
    main.extend(tested(&name, &place, within_octaves, config, |place| {
        [mean(&each(place))]
    }));
    (main, steps)
}

/// Whether rows an octave, a fifth or a fourth apart are closer than their neighbours, once register is taken out.
fn relations(rows: &[&[f64]], pitches: &[u8], config: &AnalysisConfig) -> Vec<Test> {
    let residuals = Distances::between(&without_trend(rows, pitches, TREND));
    let scale = match mean_distance(&residuals) {
        left if left > 1e-9 * mean_distance(&Distances::between(rows)) => left,
        // Nothing but rounding is left.
        _ => f64::NAN,
    };
    let neighbourhoods = RELATIONS.map(|(_, interval)| Neighbourhoods::of(pitches, interval));
    let place: Vec<usize> = (0..rows.len()).collect();
    let names = RELATIONS.map(|(name, _)| name.to_owned());
    tested(&names, &place, anywhere, config, |place| {
        [0, 1, 2].map(|i: usize| neighbourhoods[i].closeness(&residuals, place) / scale)
    })
}

/// Whether ON and OFF of a pitch differ in one direction.
fn direction(
    pairs: &[(&NoteRow, &NoteRow)],
    values: &dyn Fn(&NoteRow) -> &[f64],
    config: &AnalysisConfig,
) -> Tests {
    let offsets: Vec<Vec<f64>> = pairs
        .iter()
        .map(|(on, off)| {
            let both = values(on).iter().zip(values(off));
            both.map(|(on, off)| on - off).collect()
        })
        .collect();
    let cosines = cosines(&offsets);
    let exchange = |signs: &mut [f64], rng: &mut ChaCha8Rng| {
        signs
            .iter_mut()
            .for_each(|sign| *sign = if rng.r#gen() { 1.0 } else { -1.0 })
    };
    let signs = vec![1.0; pairs.len()];
    let name = ["direction".to_owned()];
    Tests {
        rows: "on_off",
        main: tested(&name, &signs, exchange, config, |signs| {
            [direction_consistency(&cosines, signs)]
        }),
        steps: Vec::new(),
    }
}

/// Shuffles which row stands at which pitch.
fn anywhere(place: &mut [usize], rng: &mut ChaCha8Rng) {
    place.shuffle(rng);
}

/// The statistics of `labels`, tested with the analysis's number of shuffles and their seed.
fn tested<L: Clone, const N: usize>(
    names: &[String],
    labels: &[L],
    relabel: impl Fn(&mut [L], &mut ChaCha8Rng),
    config: &AnalysisConfig,
    statistics: impl Fn(&[L]) -> [f64; N],
) -> Vec<Test> {
    let observed = statistics(labels);
    let (permutations, seed) = (config.permutations, config.permutation_seed);
    let tests = permutation_tests(observed, labels, relabel, permutations, seed, statistics);
    let named = names.iter().zip(observed).zip(tests);
    named
        .map(|((name, value), permuted)| Test {
            name: name.clone(),
            value,
            permuted,
        })
        .collect()
}

/// The mean of what could be measured; NaN if nothing could.
fn mean(values: &[f64]) -> f64 {
    let finite: Vec<f64> = values.iter().copied().filter(|it| it.is_finite()).collect();
    finite.iter().sum::<f64>() / finite.len() as f64
}

/// The tests of one space by rows and name, with how many were adjusted together.
fn write(tests: &[Tests]) -> Value {
    let main = || tests.iter().flat_map(|it| &it.main);
    let adjusted = holm(&main().map(|it| it.permuted.p_value).collect::<Vec<_>>());
    let measured = adjusted.iter().filter(|p| !p.is_nan()).count();
    let mut adjusted = adjusted.into_iter();
    let mut result = Json::new();
    result.insert("tests".to_owned(), json!(measured));
    for of in tests {
        let mut found = written(&of.main, adjusted.by_ref());
        if !of.steps.is_empty() {
            let p_values: Vec<f64> = of.steps.iter().map(|it| it.permuted.p_value).collect();
            let steps = written(&of.steps, holm(&p_values).into_iter());
            found.insert("steps".to_owned(), Value::Object(steps));
        }
        result.insert(of.rows.to_owned(), Value::Object(found));
    }
    Value::Object(result)
}

fn written(tests: &[Test], adjusted: impl Iterator<Item = f64>) -> Json<String, Value> {
    let entry = |(test, adjusted): (&Test, f64)| {
        let Permuted { chance, p_value } = test.permuted;
        let numbers =
            json!({ "value": test.value, "chance": chance, "p": p_value, "p_holm": adjusted });
        (test.name.clone(), numbers)
    };
    tests.iter().zip(adjusted).map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random;

    /// Rows of pitches 36 to 83; `shape` gives the first numbers of a row by kind and pitch, `noise` the size of sixteen more.
    fn rows(
        kinds: &[TokenKind],
        noise: f64,
        shape: impl Fn(TokenKind, f64) -> Vec<f64>,
    ) -> Vec<NoteRow> {
        let mut rng = random::stream(11, "rows");
        let mut row = |kind, pitch: u8| {
            let mut values = shape(kind, f64::from(pitch));
            values.extend((0..16).map(|_| noise * rng.gen_range(-1.0..1.0)));
            NoteRow {
                token: format!("{}-{pitch}", kind.name()),
                kind,
                pitch,
                count: 1,
                untrained: values.iter().map(|_| rng.gen_range(-1.0..1.0)).collect(),
                trained: values,
            }
        };
        (36..84)
            .flat_map(|pitch| kinds.iter().map(move |kind| (*kind, pitch)))
            .map(|(kind, pitch)| row(kind, pitch))
            .collect()
    }

    fn measured(rows: &[NoteRow]) -> Value {
        let config = AnalysisConfig {
            permutations: 499,
            ..AnalysisConfig::default()
        };
        measure(rows, &config)
    }

    fn number(value: &Value, path: &str) -> f64 {
        let at = path.split('.').fold(value, |value, key| &value[key]);
        at.as_f64().unwrap_or_else(|| panic!("no {path}"))
    }

    #[test]
    fn rows_linear_in_pitch_are_transposed_by_one_step_and_have_no_octave() {
        let line = measured(&rows(&[TokenKind::Note], 0.0, |_, p| vec![p, -2.0 * p]));
        let note = &line["trained"]["note"];
        for test in ["transposition", "transposition_within_octaves", "steps.7"] {
            assert!((number(note, &format!("{test}.value")) - 1.0).abs() < 1e-9);
            assert_eq!(number(note, &format!("{test}.p")), 0.002);
        }
        assert!(number(note, "transposition.chance").abs() < 0.02);
        // Without its trend nothing is left to ask for an octave.
        assert_eq!(note["octave"]["value"], Value::Null);
        assert_eq!(number(&line, "trained.tests"), 2.0);
        assert_eq!(
            line["pitches"]["note"],
            json!({ "rows": 48, "lowest": 36, "highest": 83 })
        );
    }

    #[test]
    fn random_rows_show_nothing() {
        let found = measured(&rows(&[TokenKind::On, TokenKind::Off], 1.0, |_, _| vec![]));
        assert_eq!(number(&found, "trained.tests"), 11.0);
        for space in ["trained", "untrained"] {
            for of in ["on", "off", "on_off"] {
                for (name, test) in found[space][of].as_object().unwrap() {
                    if name != "steps" {
                        assert!(number(test, "p_holm") > 0.1, "{space} {of} {name} {test}");
                        assert!(number(test, "p") <= number(test, "p_holm"));
                    }
                }
            }
        }
    }

    #[test]
    fn a_noisy_line_is_transposed_but_register_alone_makes_no_octave_or_fifth() {
        let found = measured(&rows(&[TokenKind::Note], 1.0, |_, p| vec![p / 8.0]));
        let note = &found["trained"]["note"];
        assert_eq!(number(note, "transposition.p"), 0.002);
        for relation in ["octave", "fifth", "fourth"] {
            assert!(number(note, &format!("{relation}.p")) > 0.01, "{relation}");
        }
    }

    #[test]
    fn places_that_return_after_twelve_semitones_are_octaves_and_after_seven_fifths() {
        let returning = |semitones: u8| {
            let found = measured(&rows(&[TokenKind::Note], 0.1, |_, p| {
                let class = p as u8 % semitones;
                let mut row = vec![0.0; 13];
                row[usize::from(class)] = 1.0;
                row[12] = p / 12.0;
                row
            }));
            let p = |name: &str| number(&found, &format!("trained.note.{name}.p_holm"));
            (p("octave"), p("fifth"))
        };
        let (octave, fifth) = returning(12);
        assert!(octave < 0.05 && fifth > 0.05, "{octave} {fifth}");
        let (octave, fifth) = returning(7);
        assert!(fifth < 0.05 && octave > 0.05, "{octave} {fifth}");
    }

    #[test]
    fn one_offset_between_on_and_off_is_one_direction() {
        let kinds = [TokenKind::On, TokenKind::Off];
        let mut planted = rows(&kinds, 1.0, |_, _| vec![]);
        for i in (0..planted.len()).step_by(2) {
            planted[i].trained = planted[i + 1].trained.iter().map(|x| x + 0.5).collect();
        }
        let found = measured(&planted);
        assert!((number(&found, "trained.on_off.direction.value") - 1.0).abs() < 1e-9);
        assert_eq!(number(&found, "trained.on_off.direction.p"), 0.002);
        assert!(number(&found, "trained.on_off.direction.chance").abs() < 0.02);
        assert!(number(&found, "untrained.on_off.direction.p") > 0.05);
        assert_eq!(found["pitches"]["on_off"]["rows"], 48);
    }

    #[test]
    fn kinds_with_few_pitches_are_left_out() {
        let few = &rows(&[TokenKind::On, TokenKind::Off], 1.0, |_, _| vec![])[..14];
        let found = measured(few);
        assert_eq!(found["pitches"]["on"]["rows"], 7);
        assert_eq!(found["trained"], json!({ "tests": 0 }));
    }
}
