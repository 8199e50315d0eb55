//! The page of a run that is still running, for a browser that loads it again and again.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::report;
use crate::run::StoredRun;
use crate::tell;

/// The least time between two pages of a run, so that short epochs do not spend it on drawing.
const AT_MOST_EVERY: Duration = Duration::from_secs(10);

/// Writes a run's page while it trains.
pub struct LivePage {
    folder: PathBuf,
    written: Option<Instant>,
    is_due: bool,
}

impl LivePage {
    /// The page of the run in `folder`.
    pub fn of(folder: PathBuf) -> Self {
        Self {
            folder,
            written: None,
            is_due: false,
        }
    }

    /// Takes in that a step was trained, at whose end held-out pieces were scored or not. The page is written at the step after a score:
    /// by then the score is on disk, where pages are made from. A page that cannot be written is told of, and ends no run.
    pub fn after_step(&mut self, was_scored: bool) {
        let just_now = |it: Instant| it.elapsed() < AT_MOST_EVERY;
        if self.is_due && !self.written.is_some_and(just_now) {
            let page = StoredRun::open(&self.folder, false);
            if let Err(error) = page.and_then(|run| report::write_run_page(&run)) {
                tell!("the page of the running run could not be written: {error:#}");
            }
            self.written = Some(Instant::now());
            self.is_due = false;
        }
        self.is_due |= was_scored;
    }
}
