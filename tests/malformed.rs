//! Every reader of outside bytes on damaged files, in little memory: the seeds of the fuzz targets, changed in many ways.

#[path = "fuzz/readers.rs"]
mod readers;

use std::fs;
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;

/// Whether a reader takes the bytes.
type Reader = fn(&[u8]) -> bool;

/// What is read, by the name of its folder of seeds.
const READERS: [(&str, Reader); 5] = [
    ("midi", readers::midi),
    ("mat", readers::mat),
    ("musicxml", readers::musicxml),
    ("experiment", readers::experiment),
    ("parquet", readers::parquet),
];

/// The address space of the process that reads, in KiB: a few bytes that claim gigabytes must not be believed.
const MEMORY: u32 = 1 << 20;

/// How many damaged files each reader gets.
const CASES: u32 = 5000;

/// One way in which a file is damaged.
#[derive(Debug, Clone)]
enum Damage {
    Set(Index, u8),
    Cut(Index),
    Insert(Index, Vec<u8>),
    /// Numbers of four bytes become the largest, or the largest that has a sign.
    Huge(Index, bool),
    /// Some bytes stand again elsewhere.
    Copy(Index, Index, usize),
}

impl Damage {
    fn any() -> impl Strategy<Value = Self> {
        let at = any::<Index>;
        prop_oneof![
            (at(), any::<u8>()).prop_map(|(at, byte)| Self::Set(at, byte)),
            at().prop_map(Self::Cut),
            (at(), prop::collection::vec(any::<u8>(), 1..20))
                .prop_map(|(at, bytes)| Self::Insert(at, bytes)),
            (at(), any::<bool>()).prop_map(|(at, signed)| Self::Huge(at, signed)),
            (at(), at(), 1usize..200).prop_map(|(from, to, length)| Self::Copy(from, to, length)),
        ]
    }

    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let length = bytes.len();
        match self {
            Self::Set(at, byte) => bytes[at.index(length)] = *byte,
            Self::Cut(at) => bytes.truncate(at.index(length)),
            Self::Insert(at, more) => {
                let at = at.index(length);
                bytes.splice(at..at, more.iter().copied());
            }
            Self::Huge(at, signed) => {
                let at = at.index(length);
                let end = length.min(at + 4);
                bytes[at..end].fill(0xFF);
                bytes[end - 1] = if *signed { 0x7F } else { 0xFF };
            }
            Self::Copy(from, to, count) => {
                let from = from.index(length);
                let copied = bytes[from..length.min(from + count)].to_vec();
                let to = to.index(length);
                bytes.splice(to..to, copied);
            }
        }
    }
}

#[test]
fn no_damage_panics_or_takes_more_memory_than_there_is() {
    let limited = Command::new("sh")
        .args(["-c", &format!("ulimit -v {MEMORY} && exec \"$@\""), "sh"])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "every_reader_meets_damaged_seeds",
            "--ignored",
            "--test-threads=1",
        ])
        .env("POLARS_MAX_THREADS", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&limited.stdout).into_owned()
        + &String::from_utf8_lossy(&limited.stderr);
    assert!(
        limited.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

#[test]
#[ignore = "run by the test above, in little memory"]
fn every_reader_meets_damaged_seeds() {
    for (name, read) in READERS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fuzz/seeds")
            .join(name);
        let mut files: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|it| it.unwrap().path())
            .collect();
        files.sort();
        let seeds: Vec<Vec<u8>> = files.iter().map(|it| fs::read(it).unwrap()).collect();
        assert!(
            seeds.iter().all(|seed| read(seed)),
            "{name}: a seed is refused"
        );
        let damage = (any::<Index>(), prop::collection::vec(Damage::any(), 1..6));
        let config = ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::with_cases(CASES)
        };
        let outcome = TestRunner::new(config).run(&damage, |(seed, damage)| {
            let mut bytes = seed.get(&seeds).clone();
            damage.iter().for_each(|it| it.apply(&mut bytes));
            read(&bytes);
            Ok(())
        });
        if let Err(failure) = outcome {
            panic!("{name}: {failure}");
        }
    }
}
