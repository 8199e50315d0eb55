//! What a run leaves on disk. This room deals in text, rows and named arrays; it knows no tensors and no music.
//!
//! ```text
//! runs/<experiment>/<id>/          made when the corpus has been read; <id> is <number>-<short hash>
//!   experiment.yaml                the resolved experiment: every default spelled out
//!   record.json                    what ran, on what, where, how it ended; at the end every file's checksum
//!   code.patch                     what the binary's code had that its commit had not, if anything
//!   metrics/NNNNNN-<checksum>.parquet   segments of `step, epoch, split, metric, value`, while the run is running
//!   timings/NNNNNN-<checksum>.parquet   the same, for what the clock says
//!   metrics.parquet, timings.parquet    at the end: one sorted table each
//!   checkpoints/step-NNNNNNNN.safetensors   the last two and the best
//!   final.safetensors              weights alone
//!   log, lock                      what the terminal showed, with the hour; what the writing process holds locked
//! ```
//! and whatever other rooms write through [`Run::write_table`], [`Run::write_json`] and [`Run::write_bytes`].
//!
//! Every file is written whole or not at all (temporary file, fsync, rename). A run that dies at any moment is resumed
//! from its newest whole checkpoint, by [`StoredRun::resume`]: rows logged after that checkpoint are measured again and
//! replace the old ones, so `metrics.parquet` and `final.safetensors` come out as if nothing had happened.

mod checkpoint;
mod clock;
mod code;
mod disk;
mod error;
mod lock;
mod log;
mod metrics;
mod record;
mod settings;
mod store;
mod stored;
mod table;
mod verify;
mod writer;

#[cfg(test)]
mod tests;

pub use checkpoint::{ArrayData, Checkpoint, NamedArray, read_arrays, write_arrays};
pub use code::CodeVersion;
pub use disk::{
    create_folder, ensure_outside_of_runs, files_below, read_regular, write_atomically,
};
pub use error::RunError;
pub use log::Log;
pub use metrics::{Metrics, Point, Row};
pub use record::{
    CorpusIdentity, Environment, Event, Execution, FileChecksum, RECORD, Record, SegmentCounts,
    Status,
};
pub use settings::{SettingChange, changed_settings, explains, flat_settings};
pub use store::{Listed, NewRun, Store, ensure_is_name};
pub use stored::{State, StoredRun};
pub use table::{ColumnKind, Table, Values};
pub use verify::{Problem, Verification, is_compact};
pub use writer::{Run, WEIGHTS};
