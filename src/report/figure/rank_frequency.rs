//! Token rank and frequency on logarithmic axes (Zipf 1949).

use anyhow::Result;

use super::super::record::RunRecord;
use super::Drawing;
use super::histogram::{LogLog, draw_log_log};

/// How often the token of each rank occurs, if the run recorded it.
pub fn draw(run: &RunRecord) -> Result<Vec<Drawing>> {
    draw_log_log(
        run,
        &LogLog {
            figure: "rank_frequency",
            title: "Token frequency by rank",
            x: "rank of the token",
            y: "occurrences",
            caption: "How often each token occurs, the most frequent first, on logarithmic axes (Zipf). \
                      A straight line is a power law; a long flat end is tokens seen once.",
        },
    )
}
