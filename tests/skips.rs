//! A test that is skipped is seen to be, in what `cargo test` prints and in the list that `.ci/run` reads.

#[path = "../src/skip.rs"]
mod skip;

use std::fs;
use std::process::Command;

use skip::{LIST, skipped};

#[test]
#[ignore = "run by the test below, as an example"]
fn an_example_that_is_skipped() {
    skipped("there is no example", true);
    skipped("there is no example", true);
    skipped("there is no other", false);
}

#[test]
fn a_skip_is_seen_though_the_test_passes_and_is_listed_once() {
    let folder = tempfile::tempdir().unwrap();
    for threads in ["1", "2"] {
        let list = folder.path().join(threads);
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "an_example_that_is_skipped", "--ignored"])
            .args(["--test-threads", threads])
            .env(LIST, &list)
            .output()
            .unwrap();
        assert!(output.status.success());
        assert_eq!(
            String::from_utf8_lossy(&output.stderr),
            "SKIPPED an_example_that_is_skipped: there is no example\n\
             SKIPPED an_example_that_is_skipped: there is no other\n"
        );
        assert_eq!(
            fs::read_to_string(&list).unwrap(),
            "expected\tan_example_that_is_skipped\tthere is no example\n\
             absent\tan_example_that_is_skipped\tthere is no other\n"
        );
    }
}
