//! Pages: one HTML file each, whole without network and without scripts; maud sets them.

mod experiment_page;
mod index_page;
mod run_page;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::figure::Drawing;
use super::figure::style::WIDTH;
use super::finding::Finding;
use super::group::Group;
use super::record::RunRecord;
use super::table::claims;
use super::table::{Cell, Table};
use super::verdict::Judged;

pub use experiment_page::experiment_page;
pub use index_page::{IndexReport, index_page};
pub use run_page::own_page;

/// Where a page finds a figure's files and a run's MIDI files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// The page lies in the run's folder: the CSV is part of the page, MIDI files are beside it.
    RunFolder,
    /// The page lies in a report's folder, with `figures/` and `samples/` beside it.
    Report,
    /// As in a report, but figures are there as SVG alone.
    PublishedReport,
}

/// A whole page.
fn page(title: &str, body: Markup, provenance: Markup) -> String {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="icon" href="data:,";
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body {
                (body)
                footer { (provenance) }
                script { (PreEscaped(include_str!("script.js"))) }
            }
        }
    };
    markup.into_string() + "\n"
}

/// A table, its columns of numbers flush right, sortable by script.
pub fn table_markup(table: &Table) -> Markup {
    let class = |column: usize, cell: Option<&Cell>| match cell.map_or("", |cell| cell.class) {
        "" if table.is_numeric(column) => Some("number"),
        "" => None,
        class => Some(class),
    };
    html! {
        p.caption { (table.caption) }
        div.scroll tabindex="0" role="region" aria-label=(table.caption) {
            table.sortable {
                thead { tr { @for (column, name) in table.columns.iter().enumerate() { th scope="col" class=[class(column, None)] { (name) } } } }
                tbody {
                    @for row in &table.rows {
                        tr { @for (column, cell) in row.iter().enumerate() {
                            td class=[class(column, Some(cell))] data-number=[cell.number] {
                                @match &cell.link { Some(link) => { a href=(link) { (breakable(&cell.text)) } }, None => (breakable(&cell.text)) }
                                @if let Some(detail) = &cell.detail { small { (breakable(detail)) } }
                                @if !cell.each_seed.is_empty() {
                                    details { summary { "each seed" } @for line in &cell.each_seed { small { (breakable(line)) } } }
                                }
                            }
                        } }
                    }
                }
            }
        }
    }
}

/// Text that may break after the dots, underscores and slashes of its names, but not within a number.
fn breakable(text: &str) -> Markup {
    let ends_name = |part: &str| {
        let before = part.strip_suffix(['.', '_', '/']);
        before.is_some_and(|before| {
            !part.ends_with('.') || !before.ends_with(|it: char| it.is_ascii_digit())
        })
    };
    html! {
        @for part in text.split_inclusive(['.', '_', '/']) { (part) @if ends_name(part) { wbr; } }
    }
}

/// The tables of judged claims, those behind the findings folded, and what was found beyond the paper.
fn claims_markup(judged: &[Judged], beyond: Option<&Finding>) -> Markup {
    let tables = claims::TABLES.iter();
    let tables = tables.filter_map(|(heading, fill)| Some((*heading, fill(judged)?)));
    html! {
        @for (place, (heading, table)) in tables.enumerate() {
            @if place == 0 && table.name == "findings" {
                (table_markup(&table))
            } @else {
                details.claims { summary { (heading) } (table_markup(&table)) }
            }
        }
        @if let Some(beyond) = beyond { p { strong { (beyond.about) "." } " " (breakable(&beyond.text)) } }
    }
}

/// A figure with its caption, what its places tell, and links to its files.
pub fn figure_markup(drawing: &Drawing, links: Links) -> Markup {
    figure_with(drawing, links, html! {})
}

/// As [`figure_markup`], with something between drawing and caption.
fn figure_with(drawing: &Drawing, links: Links, between: Markup) -> Markup {
    html! {
        figure id=(drawing.name) {
            div.drawing tabindex="0" role="region" aria-label="figure, scrolls sideways where it is wider than the page" {
                (PreEscaped(inline_svg(drawing)))
            }
            @if !drawing.spots.is_empty() { p.tip aria-live="polite" {} }
            (between)
            figcaption {
                (drawing.caption) " "
                span.links {
                    @match links {
                        Links::RunFolder => {
                            a href=(data_uri(&drawing.csv)) download={ (drawing.name) ".csv" } { "CSV" }
                        }
                        Links::Report => {
                            @for ending in ["svg", "png", "csv"] {
                                a href={ "figures/" (drawing.name) "." (ending) } { (ending.to_uppercase()) }
                            }
                            @for (name, _) in &drawing.more_csv { a href={ "figures/" (name) ".csv" } { "CSV: " (name) } }
                        }
                        Links::PublishedReport => a href={ "figures/" (drawing.name) ".svg" } { "SVG" },
                    }
                }
            }
        }
    }
}

/// The drawing with its places on top, for a page: named for readers who cannot see it, the places reachable by key.
fn inline_svg(drawing: &Drawing) -> String {
    let spots = html! {
        g {
            @for (index, spot) in drawing.spots.iter().enumerate() {
                circle.spot cx=(spot.x) cy=(spot.y) r=(spot.radius) tabindex=[(index == 0).then_some(0)] data-pitch=[spot.pitch] {
                    title { (spot.lines.join("\n")) }
                }
            }
        }
    };
    let body = drawing.svg.split_once('>').map_or("", |(_, rest)| rest);
    let body = body.rsplit_once("</svg>").map_or(body, |(body, _)| body);
    let opening = html! { (drawing.alt) }.into_string();
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"{opening}\">{body}{}</svg>",
        drawing.height,
        spots.into_string()
    )
}

/// Text as a `data:` address.
fn data_uri(text: &str) -> String {
    let mut uri = String::from("data:text/csv;charset=utf-8,");
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.,".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}

/// Where the numbers of runs come from, for a page's footer.
fn provenance_of(group: &Group) -> Markup {
    html! {
        p { @if group.runs().len() == 1 { "From the run's own record:" } @else { "From the runs' own records:" } }
        @for run in group.runs() { (provenance(run)) }
    }
}

fn provenance(run: &RunRecord) -> Markup {
    let record = &run.stored.record;
    html! {
        dl {
            dt { "run" } dd { (record.experiment) "/" (record.id) " — " (run.state) @if record.smoke { ", smoke run" } }
            dt { "command" } dd { code { (run.command()) } }
            dt { "code" } dd { (record.execution.code.summary()) ", " (record.execution.code.rustc) ", " (record.execution.code.target) ", profile " (record.execution.code.profile) }
            dt { "experiment" } dd { "SHA-256 " code { (run.experiment_hash) } }
            @if let Some(corpus) = &record.corpus { dt { "corpus" } dd { (run.corpus_in_full()) ", fingerprint " code { (corpus.fingerprint) } } }
            dt { "seed" } dd { (record.seed) }
            dt { "device" } dd { (run.device()) ", " (record.execution.environment.precision) }
            dt { "started" } dd { (record.execution.started) @if !record.resumed.is_empty() { ", resumed " (record.resumed.len()) " times" } }
            @if !record.events.is_empty() { dt { "what happened" } dd { @for event in &record.events { (event.at) ": " (event.what) br; } } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_address_keeps_every_byte() {
        assert_eq!(
            data_uri("a,b\n1 é"),
            "data:text/csv;charset=utf-8,a,b%0A1%20%C3%A9"
        );
    }

    #[test]
    fn names_may_break_and_numbers_may_not() {
        assert_eq!(
            breakable("a_b/c.d = 1.5").into_string(),
            "a_<wbr>b/<wbr>c.<wbr>d = 1.5"
        );
    }

    #[test]
    fn text_is_escaped_and_numbers_are_flush_right() {
        let table = Table {
            name: "t",
            caption: "<b>".to_owned(),
            columns: vec!["what", "n"],
            rows: vec![vec![Cell::text("<script>"), Cell::number(Some(2.0))]],
        };
        let markup = table_markup(&table).into_string();
        assert!(markup.contains("&lt;script&gt;") && !markup.contains("<script>"));
        assert!(
            markup.contains(r#"<td class="number" data-number="2">2</td>"#),
            "{markup}"
        );
    }
}
