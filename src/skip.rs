//! Tests that cannot do their work on this machine say so: on the real standard error, since libtest hides what a passing test
//! prints, and in the file that `HARNESS_SKIPPED_TESTS` names, from which `.ci/run` tells it again.
//!
//! Tests in `tests/` include this file by its path.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Mutex;

/// Names the file to which each skip is appended: `expected` or `absent`, the test, and why, with tabs between.
pub const LIST: &str = "HARNESS_SKIPPED_TESTS";

/// Says that the running test does not do (all of) its work, and why. `expected`: what it needs should be here, so `.ci/run` fails.
pub fn skipped(why: &str, expected: bool) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let thread = std::thread::current();
    // libtest names a test's thread after the test.
    let test = thread.name().unwrap_or("a test");
    let kind = if expected { "expected" } else { "absent" };
    let line = format!("{kind}\t{test}\t{why}\n");
    // A test that comes here in a loop says it once.
    let is_new = SAID
        .lock()
        .expect("nothing panics while it is held")
        .insert(line.clone());
    if !is_new {
        return;
    }
    // Written to the stream itself: libtest captures only what `eprintln!` writes. A closed stream is no reason to fail.
    let _ = io::stderr().write_all(format!("SKIPPED {test}: {why}\n").as_bytes());
    if let Some(list) = std::env::var_os(LIST).filter(|list| !list.is_empty()) {
        append(Path::new(&list), &line)
            .unwrap_or_else(|error| panic!("failed to write '{}': {error}", list.display()));
    }
}

/// One write, so that the lines of tests in several processes do not mix.
fn append(list: &Path, line: &str) -> io::Result<()> {
    let mut file = File::options().append(true).create(true).open(list)?;
    file.write_all(line.as_bytes())
}
