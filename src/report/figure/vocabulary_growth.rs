//! Distinct tokens against tokens read, on logarithmic axes (Heaps 1978).

use anyhow::Result;

use super::super::record::RunRecord;
use super::Drawing;
use super::histogram::{LogLog, draw_log_log};

/// How the vocabulary grows while the corpus is read, if the run recorded it.
pub fn draw(run: &RunRecord) -> Result<Vec<Drawing>> {
    draw_log_log(
        run,
        &LogLog {
            figure: "vocabulary_growth",
            title: "Vocabulary growth",
            x: "tokens read",
            y: "distinct tokens",
            caption: "Distinct tokens met while the corpus is read piece by piece, on logarithmic axes (Heaps). \
                      A line that keeps rising means that more music would bring more new tokens.",
        },
    )
}
