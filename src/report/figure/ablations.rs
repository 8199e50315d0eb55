//! Ablations at a glance: the test score of each variant of an experiment beside the baseline's, and two verdicts in columns.

use anyhow::Result;

use super::super::experiment::{ExperimentReport, Kind};
use super::super::text::number;
use super::super::verdict::Scores;
use super::axis::{Axis, Panel};
use super::canvas::{Anchor, Canvas, Mark, figure};
use super::style::{INK, LABEL, MUTED, SMALL, WIDTH, series_colour};
use super::{Drawing, Spot, csv_text};
use crate::claim::{BaselineName, ClaimKind, Verdict};

/// Height of one variant's row, in half pixels.
const ROW: i32 = 58;

/// Where the panel begins and ends across; to its right stand the verdicts.
const PANEL: (i32, i32) = (430, 960);

/// A variant: its scores by seed and its verdicts.
struct Variant<'a> {
    name: &'a str,
    scores: Vec<Scores>,
    verdicts: Vec<&'a Verdict>,
}

/// One figure for each experiment that has ablations: itself first, then its variants by score.
pub fn draw(reports: &[ExperimentReport]) -> Result<Vec<Drawing>> {
    let bases = reports.iter().filter(|report| report.kind == Kind::Paper);
    let drawn = bases.map(|base| {
        let of_base = |it: &&ExperimentReport| base_of(it, reports) == Some(base.name);
        let mut variants: Vec<Variant> =
            reports.iter().filter(of_base).filter_map(variant).collect();
        if variants.is_empty() {
            return Ok(None);
        }
        variants.sort_by(|a, b| a.mean_test().total_cmp(&b.mean_test()));
        variants.splice(..0, variant(base));
        draw_one(base, &variants).map(Some)
    });
    let drawn: Result<Vec<Option<Drawing>>> = drawn.collect();
    Ok(drawn?.into_iter().flatten().collect())
}

/// The paper's experiment that an ablation changes, at first or second hand.
fn base_of<'a>(report: &'a ExperimentReport, reports: &'a [ExperimentReport]) -> Option<&'a str> {
    let Kind::Ablation(base) = &report.kind else {
        return None;
    };
    let base_report = reports.iter().find(|it| it.name == base)?;
    base_of(base_report, reports).or(Some(base))
}

fn variant<'a>(report: &'a ExperimentReport) -> Option<Variant<'a>> {
    let group = report.group.as_ref().filter(|_| report.has_page())?;
    let runs = group.runs().iter();
    let scores: Vec<Scores> = runs
        .filter_map(|run| Scores::of(run, BaselineName::Markov.name()))
        .collect();
    let findings = report
        .judged
        .iter()
        .filter(|it| it.kind() == ClaimKind::Finding);
    (!scores.is_empty()).then(|| Variant {
        name: report.name,
        scores,
        verdicts: findings.map(|it| &it.verdict).collect(),
    })
}

impl Variant<'_> {
    fn mean_test(&self) -> f64 {
        self.scores.iter().map(|it| it.test).sum::<f64>() / self.scores.len() as f64
    }
}

fn draw_one(base: &ExperimentReport, variants: &[Variant]) -> Result<Drawing> {
    let markov = variants[0].scores[0].test_baseline;
    let all = || {
        variants
            .iter()
            .flat_map(|it| it.scores.iter().map(|it| it.test))
    };
    let low = all().chain([markov]).fold(f64::INFINITY, f64::min);
    let high = all().chain([markov]).fold(f64::NEG_INFINITY, f64::max);
    let rows = variants.len() as i32;
    let height = 270 + ROW * rows;
    let sentences: Vec<&str> = base
        .judged
        .iter()
        .filter(|it| it.kind() == ClaimKind::Finding)
        .map(|it| it.claim.id.as_str())
        .collect();
    let title = format!("What the outcome of {} depends on", base.name);
    let footer = "One dot a training seed. ✓ reproduced, ✗ differs, ? inconclusive or not learned yet; judged by the ablation's own runs.";
    let mut spots = Vec::new();
    let svg = figure(height, &title, footer, |canvas| {
        let panel = Panel {
            left: PANEL.0,
            right: PANEL.1,
            top: 130,
            bottom: 130 + ROW * rows,
            x: Axis::linear("test, nats per time step", low - 0.3, high + 0.3, 6),
            y: Axis {
                ticks: Vec::new(),
                ..Axis::linear("", 0.0, f64::from(rows), 1)
            },
        };
        panel.draw_axes(canvas)?;
        let (at, _) = panel.at(markov, 0.0);
        canvas.dashed((at, panel.top), (at, panel.bottom), 12, MUTED)?;
        canvas.text(
            (at, panel.top - 18),
            Anchor::Centre,
            SMALL,
            MUTED,
            "Markov chain",
        )?;
        for (column, id) in sentences.iter().enumerate() {
            canvas.text(
                (column_at(column), panel.top - 18),
                Anchor::Centre,
                SMALL,
                MUTED,
                id,
            )?;
        }
        for (row, variant) in variants.iter().enumerate() {
            let y = panel.top + ROW * row as i32 + ROW / 2;
            draw_row(canvas, &panel, y, variant)?;
            spots.push(spot(&panel, y, variant));
        }
        Ok(())
    })?;
    let csv = csv_text(
        &["experiment", "valid", "test"],
        variants.iter().flat_map(|it| {
            it.scores.iter().map(|score| {
                [
                    it.name.to_owned(),
                    score.valid.to_string(),
                    score.test.to_string(),
                ]
            })
        }),
    )?;
    Ok(Drawing {
        name: format!("ablations-{}", base.name),
        caption: format!(
            "{} and its variants: the test score of each seed beside a first-order Markov chain's ({}), and the paper's sentences.",
            base.title,
            number(markov)
        ),
        alt: format!(
            "Test scores of {} variants of {}, from {} to {} nats.",
            rows,
            base.name,
            number(low),
            number(high)
        ),
        svg,
        height,
        csv,
        more_csv: Vec::new(),
        spots,
    })
}

fn column_at(column: usize) -> i32 {
    PANEL.1 + 90 + 150 * column as i32
}

fn draw_row(canvas: &Canvas, panel: &Panel, y: i32, variant: &Variant) -> Result<()> {
    canvas.text((PANEL.0 - 24, y), Anchor::Right, LABEL, INK, variant.name)?;
    for score in &variant.scores {
        let (x, _) = panel.at(score.test, 0.0);
        canvas.mark(Mark::Circle, (x, y), 9, series_colour(0))?;
    }
    for (column, verdict) in variant.verdicts.iter().enumerate() {
        let (sign, colour) = match verdict {
            Verdict::Reproduced => ("✓", series_colour(2)),
            Verdict::Differs => ("✗", series_colour(1)),
            _ => ("?", MUTED),
        };
        canvas.text((column_at(column), y), Anchor::Centre, LABEL, colour, sign)?;
    }
    Ok(())
}

fn spot(panel: &Panel, y: i32, variant: &Variant) -> Spot {
    let mut lines = vec![format!(
        "{}: test {}",
        variant.name,
        number(variant.mean_test())
    )];
    lines.extend(variant.verdicts.iter().map(|it| it.name().to_owned()));
    Spot {
        x: panel.at(variant.mean_test(), 0.0).0,
        y,
        radius: 18,
        lines,
        pitch: None,
    }
}

const _: () = assert!(PANEL.1 + 90 + 150 < WIDTH);
