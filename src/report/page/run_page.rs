//! Runs in full: results, maps, music, corpus and settings, as the sections of a page; and the page of one run.

use maud::{Markup, PreEscaped, html};

use super::super::effort::Effort;
use super::super::figure::{Drawing, Section, piano_roll};
use super::super::finding::about_layout;
use super::super::group::Group;
use super::super::record::RunRecord;
use super::super::table::claims::counters;
use super::super::table::{self, Table, hyperparameters};
use super::super::text::number;
use super::super::verdict::{FigureTests, judge};
use super::{Links, claims_markup, figure_markup, figure_with, page, provenance_of, table_markup};
use crate::number::grouped;
use crate::run::State;

/// What makes a browser load the page of a running run again.
const RELOAD: &str = r#"<meta http-equiv="refresh" content="15">"#;

/// The page that a run leaves in its own folder; that of a running run loads itself again.
pub fn own_page(run: &RunRecord, drawings: &[(Section, Drawing)]) -> String {
    let title = run
        .resolved_text("title")
        .map_or_else(|| run.title(), |title| format!("{title} — {}", run.title()));
    let group = Group::alone(run);
    let tests = FigureTests::of(std::iter::once((run, &run.claims[..])));
    let judged = judge(&run.claims, Some(&group), &tests);
    let body = html! {
        header {
            h1 { (title) }
            @if let Some(question) = run.resolved_text("question") { p.question { (question) } }
            (navigation(&group, drawings, !judged.is_empty()))
        }
        main {
            (run_facts(&group))
            @if !judged.is_empty() {
                h2 #claims { "Paper against measured" }
                (counters(&judged))
                (claims_markup(&judged, about_layout(&group).as_ref()))
            }
            (run_sections(&group, drawings, None, Links::RunFolder))
        }
    };
    let page = page(&title, body, provenance_of(&group));
    match run.state {
        State::Running => page.replacen("<head>", &format!("<head>{RELOAD}"), 1),
        _ => page,
    }
}

/// The parts of the page, to jump to.
pub fn navigation(group: &Group, drawings: &[(Section, Drawing)], has_claims: bool) -> Markup {
    html! {
        nav aria-label="sections" {
            ul {
                @if has_claims { li { a href="#claims" { "Paper against measured" } } }
                @for (section, name) in Section::ALL {
                    @if has_section(group, drawings, section) { li { a href={ "#" (section.anchor()) } { (name) } } }
                }
                li { a href="#settings" { "Settings" } }
            }
        }
    }
}

fn tables_of(group: &Group, section: Section) -> Vec<Table> {
    table::TABLES
        .iter()
        .filter(|kind| kind.section == section)
        .filter_map(|kind| (kind.fill)(group))
        .collect()
}

fn has_section(group: &Group, drawings: &[(Section, Drawing)], section: Section) -> bool {
    drawings.iter().any(|(of, _)| *of == section) || !tables_of(group, section).is_empty()
}

/// What a reader must know before the numbers, and the runs at a glance.
pub fn run_facts(group: &Group) -> Markup {
    let run = group.shown();
    let record = &run.stored.record;
    let held_out = ["valid.nll_per_step.best", "valid.loss.best"]
        .into_iter()
        .map(|name| (name, group.over_seeds(|run| run.number(name)).cell()))
        .find(|(_, cell)| cell.number.is_some());
    let effort = Effort::of(group, run.claims.iter());
    let several = group.runs().len() > 1;
    let seeds: Vec<String> = group
        .runs()
        .iter()
        .map(|run| run.stored.record.seed.to_string())
        .collect();
    html! {
        @if record.smoke { p.notice { strong { "Smoke run. " } "It shows that the path works, on a few pieces and steps; its numbers mean nothing and are never set beside the paper's." } }
        @if run.state != State::Finished {
            p.notice { strong { (outcome(run.state)) } @if let Some(reason) = &record.reason { " " (reason) "." } }
        }
        @if let Some(changes) = run.changes_in_words() {
            p.notice { strong { "Changed on the command line. " } "This is not the experiment as its file has it: " (changes) ". The file's reasons are not of these values, and claims that cannot be judged with them say so." }
        }
        @if let Some(step) = record.changed_at() {
            p.notice { strong { "Changed on the way. " } "From step " (grouped(step)) " on the run went on as another experiment than it was started as; what was changed is told at the end of this page." }
        }
        @let empty = empty_splits(run);
        @if !empty.is_empty() {
            p.notice { strong { "Nothing held out. " } (empty.join(" ")) }
        }
        @let concluded = concluded_runs(group);
        @if !concluded.is_empty() {
            p.notice { strong { "Concluded early. " } "Training was ended by hand before it had come to its end: " (concluded.join("; ")) ". What is judged are the best weights until then." }
        }
        @if run.counts() && effort.falls_short() {
            p.notice { strong { "Fewer epochs than the paper. " } (effort.sentence()) }
        }
        @if let Some(corpus) = &record.corpus {
            @if corpus.synthetic { p.notice { strong { "Synthetic corpus. " } "The music was composed by a program; its numbers are not those of the paper's data." } }
            @if let Some(original) = &corpus.stand_in { p.notice { strong { "Stand-in corpus. " } (corpus.name) " stands in for " (original) "." } }
        }
        @for run in group.runs().iter().filter(|run| !run.problems.is_empty()) {
            div.notice { strong { "Parts of the record of " (run.name()) " could not be read:" } ul { @for problem in &run.problems { li { (problem) } } } }
        }
        dl.facts {
            @if several {
                div { dt { "runs" } dd { (seeds.len()) " finished, seeds " (seeds.join(", ")) } }
                div { dt { "figures of a single run show" } dd { "seed " (record.seed) ", run " (record.id) } }
            } @else {
                div { dt { "run" } dd { (run.name()) } }
                div { dt { "state" } dd { (run.state) } }
                div { dt { "seed" } dd { (record.seed) } }
            }
            div { dt { "corpus" } dd { (run.corpus_name()) } }
            div { dt { "epochs" } dd { (effort.epochs_text()) } }
            @if let Some((name, cell)) = held_out {
                div { dt { @if name.contains("nll") { "best held-out nats per time step" } @else { "best held-out nats per token" } } dd { (cell.text) @if let Some(spread) = cell.detail { " " (spread) } } }
            }
            div { dt { @if several { "time of a run" } @else { "time" } } dd { (effort.time_text()) @if let Some(time) = effort.paper_time { " (paper: " (time) ")" } } }
            div { dt { "device" } dd { (effort.devices) } }
        }
    }
}

/// What follows from each held-out split that has no symbol.
fn empty_splits(run: &RunRecord) -> Vec<&'static str> {
    let consequences = [
        (
            "corpus.valid.tokens",
            "The valid split is empty, so what is judged are the last weights and not the best.",
        ),
        (
            "corpus.test.tokens",
            "The test split is empty, so the model is scored on no piece that it was not chosen by.",
        ),
    ];
    let empty = consequences
        .into_iter()
        .filter(|(tokens, _)| run.number(tokens) == Some(0.0));
    empty.map(|(_, consequence)| consequence).collect()
}

/// The runs that were concluded before the end of their training, and when.
fn concluded_runs(group: &Group) -> Vec<String> {
    let concluded = |run: &&RunRecord| {
        let record = &run.stored.record;
        let step = grouped(record.concluded_at?);
        let epochs = run.number("training.epochs").map(number);
        let epochs = epochs.unwrap_or_else(|| record.epoch.to_string());
        Some(format!(
            "seed {} at step {step}, epochs trained: {epochs}",
            record.seed
        ))
    };
    group.runs().iter().filter_map(concluded).collect()
}

/// How the run stands, as a sentence.
fn outcome(state: State) -> &'static str {
    match state {
        State::Running => "This run is still running.",
        State::Died => "This run's process ended without a word.",
        State::Finished => "This run has finished.",
        State::Failed => "This run failed.",
        State::Interrupted => "This run was interrupted.",
    }
}

/// Every section that the runs have something for, without the figure that stands above them, then the settings.
pub fn run_sections(
    group: &Group,
    drawings: &[(Section, Drawing)],
    shown_above: Option<&Drawing>,
    links: Links,
) -> Markup {
    let run = group.shown();
    let is_above = |it: &Drawing| shown_above.is_some_and(|above| above.name == it.name);
    html! {
        @for (section, name) in Section::ALL {
            @if has_section(group, drawings, section) {
                h2 id=(section.anchor()) { (name) }
                @if section == Section::Samples {
                    (samples(run, drawings, links))
                } @else {
                    @for (_, drawing) in drawings.iter().filter(|(of, it)| *of == section && !is_above(it)) { (figure_markup(drawing, links)) }
                }
                @for table in tables_of(group, section) {
                    details.wide { summary { "Table: " (table.name.replace('-', " ")) } (table_markup(&table)) }
                }
            }
        }
        h2 #settings { "Settings" }
        @match hyperparameters::fill(run) {
            Some(table) => details.wide { summary { "Every setting, and why" } (table_markup(&table)) },
            None => p { "The resolved experiment could not be read." },
        }
    }
}

/// Each sample with its piano roll, a player and its MIDI file.
fn samples(run: &RunRecord, drawings: &[(Section, Drawing)], links: Links) -> Markup {
    let rolls = drawings
        .iter()
        .filter(|(section, _)| *section == Section::Samples)
        .map(|(_, drawing)| drawing);
    html! {
        @for (index, (sample, drawing)) in run.samples.iter().zip(rolls).enumerate() {
            (figure_with(drawing, links, html! {
                p.tip aria-live="polite" {}
                p {
                    button.play type="button" hidden data-notes={ "notes-" (index) } data-panel=(piano_roll::panel_of(run)) { "Play" }
                    " " a href={ "samples/" (sample.file) } { "MIDI file" }
                    @if let Some(seed) = sample.seed { " · seed " (seed) }
                    @if let Some(temperature) = sample.temperature { " · temperature " (temperature) }
                    @if let Some(top_k) = sample.top_k { " · top " (top_k) }
                }
                script type="application/json" id={ "notes-" (index) } { (PreEscaped(notes_json(&sample.notes))) }
            }))
        }
    }
}

/// The notes as JSON; numbers alone, so nothing in it can end a script element.
fn notes_json(notes: &[crate::sample::SampleNote]) -> String {
    let notes: Vec<String> = notes
        .iter()
        .map(|note| format!("[{},{},{}]", note.onset(), note.duration(), note.pitch()))
        .collect();
    format!("[{}]", notes.join(","))
}
