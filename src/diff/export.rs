//! A comparison for programs: one JSON object, or CSV with a line for each metric.

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::Comparison;
use super::groups::GroupTest;
use super::measurement::{Measured, Measurement};
use super::page::direction_name;

/// The comparison as one JSON object. A number that JSON cannot hold is `null`, with its reason beside it.
pub fn to_json(comparison: &Comparison) -> Value {
    let noise = comparison.piece_noise.iter().map(|it| {
        json!({
            "split": it.split, "pieces": it.pieces, "delta": it.delta, "low": it.interval.low, "high": it.interval.high,
            "label": "evaluation noise only: paired bootstrap over held-out pieces, 95 %",
        })
    });
    let curves = comparison.curves.as_ref();
    let divergence = curves
        .and_then(|it| it.first_difference.as_ref())
        .map(|it| {
            let mut fields = Map::new();
            fields.insert("step".into(), it.step.into());
            fields.insert("split".into(), it.split.clone().into());
            fields.insert("metric".into(), it.metric.clone().into());
            put(&mut fields, "a", it.a, "not measured");
            put(&mut fields, "b", it.b, "not measured");
            fields
        });
    json!({
        "a": comparison.a,
        "b": comparison.b,
        "at": comparison.at.to_string(),
        "differences": comparison.differences,
        "metrics": comparison.measurements.iter().map(measurement).collect::<Vec<Value>>(),
        "timings": comparison.timings.iter().map(measurement).collect::<Vec<Value>>(),
        "shared_values": curves.map(|it| it.shared),
        "divergence": divergence,
        "evaluation_noise": noise.collect::<Vec<Value>>(),
        "regressed": !comparison.regressions().is_empty(),
        "regressions": comparison.regressions(),
        "untested_regressions": comparison.untested_regressions(),
        "not_comparable": comparison.not_comparable(),
        "notes": comparison.notes,
    })
}

fn measurement(row: &Measurement) -> Value {
    let mut fields = Map::new();
    fields.insert("split".into(), row.split.clone().into());
    fields.insert("metric".into(), row.metric.clone().into());
    fields.insert("unit".into(), row.unit.into());
    fields.insert("direction".into(), direction_name(row.direction).into());
    put(&mut fields, "a", row.mean_a(), "not measured");
    put(&mut fields, "b", row.mean_b(), "not measured");
    let no_delta = row.reason.as_deref().unwrap_or("measured on one side only");
    put(&mut fields, "delta", row.delta, no_delta);
    let no_percent = if row.delta.is_some() {
        "A is 0 or infinite"
    } else {
        no_delta
    };
    put(&mut fields, "delta_percent", row.delta_percent, no_percent);
    fields.insert("verdict".into(), json!(row.verdict));
    fields.insert("reason".into(), json!(row.reason));
    fields.insert(
        "tolerance".into(),
        json!({
            "absolute": row.tolerance.absolute.unwrap_or(0.0),
            "relative": row.tolerance.relative.unwrap_or(0.0),
        }),
    );
    fields.insert("runs_a".into(), row.a.iter().map(measured).collect());
    fields.insert("runs_b".into(), row.b.iter().map(measured).collect());
    fields.insert(
        "test".into(),
        row.test.as_ref().map(|it| group_test(it, row)).into(),
    );
    Value::Object(fields)
}

fn measured(it: &Measured) -> Value {
    let mut fields = Map::new();
    fields.insert("run".into(), it.run.clone().into());
    fields.insert("step".into(), it.step.into());
    put(&mut fields, "value", Some(it.value), "");
    Value::Object(fields)
}

fn group_test(test: &GroupTest, row: &Measurement) -> Value {
    json!({
        "name": "Mann-Whitney U, exact, two-sided",
        "n_a": row.a.len(), "n_b": row.b.len(), "u": test.u, "p": test.p, "p_holm": test.p_holm, "smallest_p": test.smallest_p,
        "standard_deviation_a": test.deviation_a, "standard_deviation_b": test.deviation_b,
        "half_of_95_percent_t_interval_a": test.half_width_a, "half_of_95_percent_t_interval_b": test.half_width_b,
        "interval": test.interval.map(|it| json!({ "low": it.low, "high": it.high, "share": 0.95, "by": "bootstrap of runs" })),
    })
}

/// Puts a number, or `null` and `<key>_reason`: `absent` where there is none, else what it is.
fn put(fields: &mut Map<String, Value>, key: &str, value: Option<f64>, absent: &str) {
    let reason = match value {
        Some(value) if value.is_finite() => {
            fields.insert(key.into(), value.into());
            return;
        }
        Some(value) => value.to_string(),
        None => absent.to_string(),
    };
    fields.insert(key.into(), Value::Null);
    fields.insert(format!("{key}_reason"), reason.into());
}

const HEADER: [&str; 16] = [
    "split",
    "metric",
    "unit",
    "direction",
    "n_a",
    "a",
    "n_b",
    "b",
    "delta",
    "delta_percent",
    "verdict",
    "reason",
    "p",
    "p_holm",
    "interval_low",
    "interval_high",
];

/// The metrics as CSV with full precision; what is absent is empty.
pub fn to_csv(comparison: &Comparison) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let text = |value: Option<f64>| value.map_or_else(String::new, |it| it.to_string());
    writer.write_record(HEADER).context("failed to write CSV")?;
    for row in &comparison.measurements {
        let (test, interval) = (row.test.as_ref(), row.test.and_then(|it| it.interval));
        let cells = [
            row.split.clone(),
            row.metric.clone(),
            row.unit.to_string(),
            direction_name(row.direction).to_string(),
            row.a.len().to_string(),
            text(row.mean_a()),
            row.b.len().to_string(),
            text(row.mean_b()),
            text(row.delta),
            text(row.delta_percent),
            row.verdict.text().to_string(),
            row.reason.clone().unwrap_or_default(),
            text(test.map(|it| it.p)),
            text(test.map(|it| it.p_holm)),
            text(interval.map(|it| it.low)),
            text(interval.map(|it| it.high)),
        ];
        writer.write_record(cells).context("failed to write CSV")?;
    }
    let bytes = writer.into_inner().context("failed to write CSV")?;
    String::from_utf8(bytes).context("failed to write CSV")
}
