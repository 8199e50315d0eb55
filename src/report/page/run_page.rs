//! One run: its question, results, maps, music, corpus and settings, as the sections of a page.

use maud::{Markup, PreEscaped, html};

use super::super::figure::{Drawing, Section};
use super::super::finding::findings;
use super::super::record::RunRecord;
use super::super::table::{self, Table, claims, hyperparameters};
use super::super::text::{duration, number};
use super::{Links, figure_markup, figure_with, findings_markup, page, provenance, table_markup};
use crate::run::State;

const SECTIONS: [(Section, &str, &str); 5] = [
    (Section::Learning, "learning", "Learning"),
    (
        Section::Embeddings,
        "embeddings",
        "What the embeddings show",
    ),
    (Section::Samples, "samples", "Music"),
    (Section::Corpus, "corpus", "Corpus"),
    (Section::Speed, "speed", "Speed"),
];

/// The page that a run leaves in its own folder.
pub fn own_page(run: &RunRecord, drawings: &[(Section, Drawing)]) -> String {
    let title = run
        .resolved_text("title")
        .map_or_else(|| run.title(), |title| format!("{title} — {}", run.title()));
    let judged: Vec<_> = run
        .claims
        .iter()
        .map(|claim| claims::judge(claim, Some(run)))
        .collect();
    let body = html! {
        header {
            h1 { (title) }
            @if let Some(question) = run.resolved_text("question") { p.question { (question) } }
            (navigation(run, drawings, !judged.is_empty()))
        }
        main {
            (run_facts(run))
            @if let Some(table) = claims::fill(&judged) {
                h2 #claims { "Paper against measured" }
                p { (claims::tally(&judged)) "." }
                (table_markup(&table))
                (findings_markup(&findings(&judged, Some(run), &[])))
            }
            (run_sections(run, drawings, Links::RunFolder))
        }
    };
    page(
        &title,
        body,
        html! { p { "From the run's own record:" } (provenance(run)) },
    )
}

/// The parts of the page, to jump to.
fn navigation(run: &RunRecord, drawings: &[(Section, Drawing)], has_claims: bool) -> Markup {
    html! {
        nav aria-label="sections" {
            ul {
                @if has_claims { li { a href="#claims" { "Paper against measured" } } }
                @for (section, id, name) in SECTIONS {
                    @if has_section(run, drawings, section) { li { a href={ "#" (id) } { (name) } } }
                }
                li { a href="#settings" { "Settings" } }
            }
        }
    }
}

fn tables_of(run: &RunRecord, section: Section) -> Vec<Table> {
    table::TABLES
        .iter()
        .filter(|kind| kind.section == section)
        .filter_map(|kind| (kind.fill)(run))
        .collect()
}

fn has_section(run: &RunRecord, drawings: &[(Section, Drawing)], section: Section) -> bool {
    drawings.iter().any(|(of, _)| *of == section) || !tables_of(run, section).is_empty()
}

/// What a reader must know before the numbers, and the run at a glance.
pub fn run_facts(run: &RunRecord) -> Markup {
    let record = &run.stored.record;
    let held_out = ["valid.nll_per_step.best", "valid.loss.best"]
        .into_iter()
        .find_map(|name| Some((name, run.number(name)?)));
    html! {
        @if record.smoke { p.notice { strong { "Smoke run. " } "It shows that the path works, on a few pieces and steps; its numbers mean nothing and are never set beside the paper's." } }
        @if run.state != State::Finished {
            p.notice { strong { (outcome(run.state)) } @if let Some(reason) = &record.reason { " " (reason) "." } }
        }
        @if let Some(corpus) = &record.corpus {
            @if corpus.synthetic { p.notice { strong { "Synthetic corpus. " } "The music was composed by a program; its numbers are not those of the paper's data." } }
            @if let Some(original) = &corpus.stand_in { p.notice { strong { "Stand-in corpus. " } (corpus.name) " stands in for " (original) "." } }
        }
        @if !run.problems.is_empty() {
            div.notice { strong { "Parts of the record could not be read:" } ul { @for problem in &run.problems { li { (problem) } } } }
        }
        dl.facts {
            div { dt { "run" } dd { (record.experiment) "/" (record.id) } }
            div { dt { "state" } dd { (run.state) } }
            div { dt { "corpus" } dd { (run.corpus_name()) } }
            div { dt { "epochs, steps" } dd { (record.epoch) ", " (number(record.step as f64)) } }
            @if let Some((name, value)) = held_out {
                div { dt { @if name.contains("nll") { "best held-out nats per time step" } @else { "best held-out nats per token" } } dd { (number(value)) } }
            }
            div { dt { "time" } dd { (duration(record.seconds())) } }
            div { dt { "device" } dd { (run.device()) } }
            div { dt { "seed" } dd { (record.seed) } }
        }
    }
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

/// Every section that the run has something for, then its settings.
pub fn run_sections(run: &RunRecord, drawings: &[(Section, Drawing)], links: Links) -> Markup {
    html! {
        @for (section, id, name) in SECTIONS {
            @if has_section(run, drawings, section) {
                h2 id=(id) { (name) }
                @for table in tables_of(run, section) { (table_markup(&table)) }
                @if section == Section::Samples {
                    (samples(run, drawings, links))
                } @else {
                    @for (_, drawing) in drawings.iter().filter(|(of, _)| *of == section) { (figure_markup(drawing, links)) }
                }
            }
        }
        h2 #settings { "Settings" }
        @match hyperparameters::fill(run) {
            Some(table) => (table_markup(&table)),
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
                p {
                    button.play type="button" hidden data-notes={ "notes-" (index) } data-panel=(super::super::figure::piano_roll::panel_of(run)) { "Play" }
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
