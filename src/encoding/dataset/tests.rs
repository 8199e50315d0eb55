use super::*;
use crate::corpus::score::Score;
use crate::mirror;

pub fn piece(name: &str, split: Split, chords: &[u128]) -> Piece {
    let score = Some(Score::from_chords(chords, 120, 480));
    Piece {
        name: name.to_owned(),
        split,
        reading: Reading {
            score,
            remarks: vec![],
        },
    }
}

pub fn chords() -> EncodingConfig {
    EncodingConfig {
        kind: EncodingKind::Chord,
        ..EncodingConfig::default()
    }
}

/// Three pieces, in which the chord 8 is known from the test split alone, and one that cannot be read.
pub fn small(from: VocabularySource, threads: usize) -> Dataset {
    let remark = Remark {
        offset: 3,
        what: "noise".to_owned(),
    };
    let rejected = Piece {
        name: "bad".to_owned(),
        split: Split::Train,
        reading: Reading {
            score: None,
            remarks: vec![remark],
        },
    };
    let pieces = [
        piece("a", Split::Train, &[2, 4, 4, 0]),
        rejected,
        piece("b", Split::Test, &[8, 4, 8]),
        piece("c", Split::Train, &[]),
        piece("d", Split::Train, &[4]),
    ];
    let read = |number: usize| Ok(pieces[number].clone());
    Dataset::build(
        pieces.len(),
        read,
        &chords(),
        &VocabularyConfig { from },
        threads,
    )
    .unwrap()
}

#[test]
fn numbers_what_the_train_split_knows_first() {
    let dataset = small(VocabularySource::Train, 2);
    let known: Vec<_> = dataset.vocabulary.iter().collect();
    assert_eq!(known, [(Symbol(4), 3), (Symbol(0), 1), (Symbol(2), 1)]);
    assert_eq!(dataset.unknown.iter().collect::<Vec<_>>(), [(Symbol(8), 2)]);
    assert_eq!(dataset.tokens, [2, 0, 0, 1, 3, 0, 3, 0]);
    assert_eq!(
        (dataset.symbol(3), dataset.symbol(4)),
        (Some(Symbol(8)), None)
    );
    let names: Vec<_> = dataset
        .pieces
        .iter()
        .map(|piece| (piece.name.as_str(), piece.range.clone()))
        .collect();
    assert_eq!(names, [("a", 0..4), ("b", 4..7), ("c", 7..7), ("d", 7..8)]);
    assert_eq!(dataset.stream(Split::Train), [2, 0, 0, 1, 0]);
    assert_eq!(dataset.rejected[0].name, "bad");
}

#[test]
fn the_corpus_vocabulary_knows_everything() {
    let dataset = small(VocabularySource::Corpus, 1);
    assert_eq!((dataset.vocabulary.len(), dataset.unknown.len()), (4, 0));
    assert_eq!(dataset.tokens, [3, 0, 0, 2, 1, 0, 1, 0]);
}

#[test]
fn threads_change_nothing() {
    for from in [VocabularySource::Train, VocabularySource::Corpus] {
        assert_eq!(small(from, 1), small(from, 4));
    }
}

#[test]
fn a_reading_error_ends_it() {
    let read = |number| {
        if number == 2 {
            anyhow::bail!("no disk")
        } else {
            Ok(piece("a", Split::Train, &[1]))
        }
    };
    let error = Dataset::build(9, read, &chords(), &VocabularyConfig::default(), 3).unwrap_err();
    assert_eq!(error.to_string(), "no disk");
}

/// The MuseData piano rolls of the local mirror; `None`, with a notice, where there is no mirror.
fn muse() -> Option<Vec<Piece>> {
    #[derive(serde::Deserialize)]
    struct Roll {
        split: Split,
        id: usize,
        chords: Vec<String>,
    }
    let file = std::fs::File::open(mirror::file("muse/MuseData.jsonl.gz")?).unwrap();
    let text = std::io::read_to_string(flate2::read::GzDecoder::new(file)).unwrap();
    let chord = |text: &String| {
        text.split('-')
            .filter(|it| !it.is_empty())
            .fold(0, |chord, pitch| {
                chord | 1u128 << pitch.parse::<u8>().unwrap()
            })
    };
    let read = |line: &str| {
        let Roll { split, id, chords } = serde_json::from_str(line).unwrap();
        piece(
            &format!("{}-{id}", split.name()),
            split,
            &chords.iter().map(chord).collect::<Vec<_>>(),
        )
    };
    Some(text.lines().map(read).collect())
}

#[test]
fn muse_has_the_counts_of_the_paper() {
    use crate::encoding::statistics::statistics;
    let Some(pieces) = muse() else { return };
    let build = |encoding: &EncodingConfig| {
        let read = |number: usize| Ok(pieces[number].clone());
        Dataset::build(
            pieces.len(),
            read,
            encoding,
            &VocabularyConfig::default(),
            2,
        )
        .unwrap()
    };
    let all = build(&chords());
    let counted = statistics(&all, None);
    let splits: Vec<_> = counted
        .splits
        .iter()
        .map(|it| (it.pieces, it.tokens, it.unique_tokens))
        .collect();
    assert_eq!(
        splits,
        [
            (524, 245_202, 39_289),
            (135, 82_755, 17_462),
            (124, 64_339, 12_621)
        ]
    );
    assert_eq!(
        (counted.pieces, counted.tokens, counted.unique_tokens),
        (783, 392_296, 54_230)
    );
    assert_eq!((all.vocabulary.len(), all.symbols()), (39_289, 54_230));
    let share = |split: usize| {
        counted.splits[split].unseen_tokens as f64 / counted.splits[split].tokens as f64
    };
    assert_eq!(
        [share(1), share(2)].map(|share| (share * 1000.0).round()),
        [220.0, 200.0]
    );
    let train = statistics(&all, Some(Split::Train)).music;
    let highest = train.polyphony.iter().rposition(|&steps| steps > 0);
    assert_eq!((train.polyphony[0], highest), (12_962, Some(14)));

    for seed in 1..6 {
        let truncated = build(&EncodingConfig {
            polyphony_limit: Some(4),
            seed,
            ..chords()
        });
        let unique = truncated.vocabulary.len() as f64;
        assert!(
            (unique - 21_538.0).abs() <= 130.0,
            "seed {seed}: {unique} different chords"
        );
        assert!(
            truncated
                .vocabulary
                .iter()
                .all(|(symbol, _)| symbol.0.count_ones() <= 4)
        );
    }
    let keys = build(&EncodingConfig {
        kind: EncodingKind::MultiHot,
        ..chords()
    });
    assert_eq!((keys.vocabulary.len(), keys.unknown.len()), (54_230, 0));
    assert_eq!(keys.tokens.len(), all.tokens.len());
    assert!(
        keys.tokens
            .iter()
            .zip(&all.tokens)
            .all(|(key, chord)| keys.symbol(*key) == all.symbol(*chord))
    );
}
