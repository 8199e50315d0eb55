//! A comparison as a page, for a terminal or in Markdown.

use crate::checksum::shortened;
use crate::metric::Direction;
use crate::text_table::{aligned, markdown, wrapped};

use super::measurement::{Measured, Measurement, Verdict};
use super::{At, Comparison, RunName};
use crate::statistics::MEANING;

/// The comparison for a terminal; with `all`, unchanged metrics and timings too.
pub fn to_text(comparison: &Comparison, all: bool) -> String {
    let mut text = String::new();
    for part in parts(comparison, all) {
        text += &format!(
            "{}{}\n",
            if text.is_empty() { "" } else { "\n" },
            part.title
        );
        if !part.rows.is_empty() {
            text += &aligned(&part.header, &part.rows);
        }
        for line in part.lines {
            text += &wrapped(&line);
        }
    }
    text
}

/// The comparison in Markdown; with `all`, unchanged metrics and timings too.
pub fn to_markdown(comparison: &Comparison, all: bool) -> String {
    let mut text = String::new();
    for part in parts(comparison, all) {
        text += &format!(
            "{}## {}\n\n",
            if text.is_empty() { "" } else { "\n" },
            part.title
        );
        if !part.rows.is_empty() {
            text += &markdown(&part.header, &part.rows);
        }
        if !part.rows.is_empty() && !part.lines.is_empty() {
            text += "\n";
        }
        for line in part.lines {
            text += &format!("- {line}\n");
        }
    }
    text
}

/// A table under a title, and lines under the table; either may be empty.
struct Part {
    title: String,
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    lines: Vec<String>,
}

fn parts(comparison: &Comparison, all: bool) -> Vec<Part> {
    let mut parts = vec![
        runs(comparison),
        differences(comparison),
        metrics(comparison, all),
    ];
    if all && !comparison.timings.is_empty() {
        let rows = comparison.timings.iter().map(plain_row).collect();
        let lines =
            vec!["depends on the machine and its load, and is no part of any verdict".into()];
        parts.push(Part {
            title: "What the clock said (last)".into(),
            header: PLAIN.to_vec(),
            rows,
            lines,
        });
    }
    if let Some(curves) = &comparison.curves {
        let line = match &curves.first_difference {
            None if curves.shared == 0 => "no step at which both have a value".to_string(),
            None => "the same in every bit, over the steps and metrics that both have".to_string(),
            Some(it) => {
                let (a, b) = pair(it.a.unwrap_or(f64::NAN), it.b.unwrap_or(f64::NAN));
                format!(
                    "part first at step {}, in {}/{}: {a} against {b}",
                    it.step, it.split, it.metric
                )
            }
        };
        parts.push(Part {
            title: "Curves".into(),
            header: Vec::new(),
            rows: Vec::new(),
            lines: vec![line],
        });
    }
    if !comparison.piece_noise.is_empty() {
        let row = |it: &super::PieceNoise| {
            let interval = format!(
                "{} to {}",
                signed(it.interval.low),
                signed(it.interval.high)
            );
            vec![
                it.split.clone(),
                it.pieces.to_string(),
                signed(it.delta),
                interval,
            ]
        };
        parts.push(Part {
            title: "Evaluation noise (nats per prediction, B − A)".into(),
            header: vec!["split", "pieces", "Δ", "95 % interval"],
            rows: comparison.piece_noise.iter().map(row).collect(),
            lines: vec![
                "evaluation noise only: paired bootstrap over held-out pieces; one run a side says nothing of other seeds".into(),
            ],
        });
    }
    if !comparison.notes.is_empty() {
        let lines = comparison.notes.clone();
        parts.push(Part {
            title: "Notes".into(),
            header: Vec::new(),
            rows: Vec::new(),
            lines,
        });
    }
    parts
}

fn runs(comparison: &Comparison) -> Part {
    let row = |side: &str, run: &RunName| {
        let state = format!("{} at step {}", run.state, run.step);
        vec![
            side.to_string(),
            run.id.clone(),
            run.experiment.clone(),
            run.seed.to_string(),
            state,
        ]
    };
    let a = comparison.a.iter().map(|it| row("A", it));
    let rows = a
        .chain(comparison.b.iter().map(|it| row("B", it)))
        .collect();
    Part {
        title: "Runs".into(),
        header: vec!["", "run", "experiment", "seed", "state"],
        rows,
        lines: Vec::new(),
    }
}

fn differences(comparison: &Comparison) -> Part {
    let values = |side: &[String]| -> String {
        let values: Vec<String> = side.iter().map(|it| shortened(it)).collect();
        values.join(", ")
    };
    let mut rows = Vec::new();
    for it in &comparison.differences {
        rows.push(vec![
            it.section.to_string(),
            it.key.clone(),
            values(&it.a),
            values(&it.b),
        ]);
    }
    let lines = match rows.is_empty() {
        true => vec!["nothing: experiment, corpus, code and environment are the same".into()],
        false => Vec::new(),
    };
    Part {
        title: "What differs".into(),
        header: vec!["in", "key", "A", "B"],
        rows,
        lines,
    }
}

const PLAIN: [&str; 6] = ["metric", "A", "B", "Δ", "Δ %", "verdict"];
const GROUPED: [&str; 8] = [
    "metric",
    "A",
    "B",
    "Δ",
    "Δ %",
    "95 % interval of Δ",
    "p (Holm)",
    "verdict",
];

fn metrics(comparison: &Comparison, all: bool) -> Part {
    let shown: Vec<&Measurement> = comparison
        .measurements
        .iter()
        .filter(|it| all || it.verdict != Verdict::NoChange)
        .collect();
    let grouped = comparison.a.len() > 1 || comparison.b.len() > 1;
    let mut lines = Vec::new();
    let hidden = comparison.measurements.len() - shown.len();
    if hidden > 0 {
        lines.push(format!(
            "no change in {hidden} of {} metrics (--all shows them)",
            comparison.measurements.len()
        ));
    }
    let name = |row: &Measurement| format!("{}/{}", row.split, row.metric);
    let mut refused: Vec<(&String, Vec<String>)> = Vec::new();
    for row in &shown {
        let Some(reason) = &row.reason else { continue };
        if row.verdict != Verdict::NotComparable {
            lines.push(format!("{}: {reason}", name(row)));
            continue;
        }
        match refused.iter_mut().find(|(other, _)| *other == reason) {
            Some((_, rows)) => rows.push(name(row)),
            None => refused.push((reason, vec![name(row)])),
        }
    }
    for (reason, rows) in refused {
        lines.push(format!("not comparable, {reason}: {}", rows.join(", ")));
    }
    let tested = shown.iter().any(|row| row.test.is_some());
    let better_or_worse = |row: &&Measurement| {
        matches!(row.verdict, Verdict::Improved | Verdict::Regressed) && row.test.is_none()
    };
    if tested {
        lines.push(MEANING.to_owned());
    } else if shown.iter().any(better_or_worse) {
        lines.push(
            "one run a side: improved and regressed say which value is better, and no test that this is more than chance".to_owned(),
        );
    }
    let rows = shown
        .iter()
        .map(|it| {
            if grouped {
                grouped_row(it)
            } else {
                plain_row(it)
            }
        })
        .collect();
    let title = match comparison.at {
        At::Best => "Metrics at best, each by itself (↓ lower is better, ↑ higher is better, · neither: the last)".to_string(),
        at => format!("Metrics at {at} (↓ lower is better, ↑ higher is better, · neither)"),
    };
    Part {
        title,
        header: if grouped {
            GROUPED.to_vec()
        } else {
            PLAIN.to_vec()
        },
        rows,
        lines,
    }
}

fn named(row: &Measurement) -> String {
    format!("{}/{} {}", row.split, row.metric, row.direction.arrow())
}

fn plain_row(row: &Measurement) -> Vec<String> {
    let (a, b) = pair(
        row.mean_a().unwrap_or(f64::NAN),
        row.mean_b().unwrap_or(f64::NAN),
    );
    let shown = |side: &[Measured], text: String| match side {
        [] => "–".to_string(),
        [only] => format!("{text} @{}", only.step),
        _ => text,
    };
    vec![
        named(row),
        shown(&row.a, a),
        shown(&row.b, b),
        delta(row),
        percent(row),
        row.verdict.text().into(),
    ]
}

fn grouped_row(row: &Measurement) -> Vec<String> {
    let (a, b) = pair(
        row.mean_a().unwrap_or(f64::NAN),
        row.mean_b().unwrap_or(f64::NAN),
    );
    let shown = |side: &[Measured], text: String, half: Option<f64>| match (side.len(), half) {
        (0, _) => "–".to_string(),
        (n, Some(half)) => format!("{text} ± {} (n = {n})", significant(half, 2)),
        (n, None) => format!("{text} (n = {n})"),
    };
    let test = row.test.as_ref();
    let interval = test
        .and_then(|it| it.interval)
        .map(|it| format!("{} to {}", signed(it.low), signed(it.high)));
    let p = test.map(|it| format!("{} ({})", significant(it.p, 3), significant(it.p_holm, 3)));
    vec![
        named(row),
        shown(&row.a, a, test.and_then(|it| it.half_width_a)),
        shown(&row.b, b, test.and_then(|it| it.half_width_b)),
        delta(row),
        percent(row),
        interval.unwrap_or_else(|| "–".into()),
        p.unwrap_or_else(|| "–".into()),
        row.verdict.text().into(),
    ]
}

fn delta(row: &Measurement) -> String {
    row.delta.map_or_else(|| "–".into(), signed)
}

fn percent(row: &Measurement) -> String {
    row.delta_percent
        .map_or_else(|| "–".into(), |it| format!("{} %", signed_to(it, 3)))
}

/// Two values as text: five digits, or all of them where five look equal and the values are not.
fn pair(a: f64, b: f64) -> (String, String) {
    let (short_a, short_b) = (significant(a, 5), significant(b, 5));
    if short_a == short_b && a != b && !(a.is_nan() && b.is_nan()) {
        (format!("{a:?}"), format!("{b:?}"))
    } else {
        (short_a, short_b)
    }
}

fn signed(value: f64) -> String {
    signed_to(value, 3)
}

fn signed_to(value: f64, digits: usize) -> String {
    let sign = if value > 0.0 { "+" } else { "" };
    format!("{sign}{}", significant(value, digits))
}

/// `value` with so many significant digits, without trailing zeros; very large and small ones with an exponent.
pub fn significant(value: f64, digits: usize) -> String {
    if value == 0.0 || !value.is_finite() {
        return value
            .abs()
            .to_string()
            .replace("inf", if value < 0.0 { "-inf" } else { "inf" });
    }
    // Rounding first settles how many digits stand before the point: 9.9999996 is 10 in six digits.
    let rounded = format!("{:.*e}", digits.saturating_sub(1), value);
    let exponent: i32 = rounded
        .split_once('e')
        .and_then(|(_, it)| it.parse().ok())
        .unwrap_or(0);
    if !(-5..15).contains(&exponent) {
        return rounded;
    }
    let decimals = (digits as i32 - 1 - exponent).max(0) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_string()
    } else {
        text
    }
}

/// The direction as JSON and CSV name it.
pub(super) fn direction_name(direction: Direction) -> &'static str {
    match direction {
        Direction::LowerIsBetter => "lower",
        Direction::HigherIsBetter => "higher",
        Direction::Neutral => "neutral",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_digits_are_shown_unless_they_hide_a_difference() {
        assert_eq!(pair(1.0, 2.5), ("1".into(), "2.5".into()));
        assert_eq!(
            pair(8.123456789, 8.123456788),
            ("8.123456789".into(), "8.123456788".into())
        );
        assert_eq!(
            pair(0.1 + 0.2, 0.3),
            ("0.30000000000000004".into(), "0.3".into())
        );
        assert_eq!(significant(9.9999996, 6), "10");
        assert_eq!(significant(-1234567.0, 6), "-1234567");
        assert_eq!(significant(1.5e-9, 6), "1.50000e-9");
        assert_eq!(significant(f64::NEG_INFINITY, 6), "-inf");
        assert_eq!(significant(f64::NAN, 6), "NaN");
        assert_eq!(signed(0.5), "+0.5");
    }
}
