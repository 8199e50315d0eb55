//! `harness list`: what runs there are.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value, json};

use super::best_on_valid;
use crate::diff::significant;
use crate::run::{Listed, Store};
use crate::tell;
use crate::text_table::{aligned, print};

/// Arguments of `list`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON Lines, one object a run
    #[arg(long)]
    json: bool,
}

const HEADER: [&str; 9] = [
    "id",
    "no",
    "experiment",
    "status",
    "epochs",
    "best held-out",
    "device",
    "started",
    "",
];

/// Lists every run of this machine, then every published record that it has no run of.
///
/// # Errors
/// When a folder cannot be read; a broken run is listed as such.
pub fn run(args: &Args) -> Result<ExitCode> {
    let listed = Store::here().list()?;
    if args.json {
        print(
            &listed
                .iter()
                .map(|it| format!("{}\n", to_json(it)))
                .collect::<String>(),
        )?;
    } else if listed.is_empty() {
        tell!("there are no runs yet: `harness run experiments/quickstart.yaml` makes one");
    } else {
        print(&aligned(
            &HEADER,
            &listed.iter().map(row).collect::<Vec<Vec<String>>>(),
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn row(listed: &Listed) -> Vec<String> {
    let run = match &listed.run {
        Ok(run) => run,
        Err(error) => {
            let mut cells = vec![String::new(); HEADER.len()];
            cells[0].clone_from(&listed.id);
            cells[1] = listed.number().to_string();
            cells[2].clone_from(&listed.experiment);
            cells[3] = "broken".into();
            // A reason is long: in the last column it widens no other.
            cells[HEADER.len() - 1] = format!("{error:#}");
            return cells;
        }
    };
    let best_held_out = run.metrics().and_then(|it| best_on_valid(&it));
    let best = match best_held_out {
        Ok(Some((name, point))) => {
            format!(
                "valid/{name} {} @{}",
                significant(point.value, 5),
                point.step
            )
        }
        Ok(None) => "–".into(),
        Err(_) => "unreadable".into(),
    };
    let marks = [
        (run.record.smoke, "smoke"),
        (run.record.concluded_at.is_some(), "concluded early"),
        (run.published, "published"),
    ];
    let marks: Vec<&str> = marks
        .into_iter()
        .filter(|(is, _)| *is)
        .map(|(_, mark)| mark)
        .collect();
    vec![
        run.id.clone(),
        run.record.number.to_string(),
        listed.experiment.clone(),
        run.state().to_string(),
        run.record.epoch.to_string(),
        best,
        run.record.last_execution().environment.device_marked(),
        run.record.execution.started.clone(),
        marks.join(", "),
    ]
}

fn to_json(listed: &Listed) -> Value {
    let run = match &listed.run {
        Ok(run) => run,
        Err(error) => {
            let (id, experiment) = (&listed.id, &listed.experiment);
            return json!({ "id": id, "experiment": experiment, "status": "broken", "reason": format!("{error:#}") });
        }
    };
    let best = match run.metrics().and_then(|it| best_on_valid(&it)) {
        Ok(best) => best.map(|(name, point)| {
            json!({ "metric": format!("valid/{name}"), "value": point.value, "step": point.step })
        }),
        Err(error) => Some(json!({ "error": format!("{error:#}") })),
    };
    json!({
        "id": run.id,
        "experiment": listed.experiment,
        "number": run.record.number,
        "status": run.state().to_string(),
        "reason": run.record.reason,
        "step": run.record.step,
        "epochs": run.record.epoch,
        "best_held_out": best,
        "seed": run.record.seed,
        "device": run.record.last_execution().environment.device,
        "emulated": run.record.last_execution().environment.emulated,
        "started": run.record.execution.started,
        "heartbeat": run.record.heartbeat,
        "smoke": run.record.smoke,
        "concluded_at": run.record.concluded_at,
        "published": run.published,
        "path": run.path,
    })
}
