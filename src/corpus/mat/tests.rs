use super::element::*;
use super::*;
use crate::mirror;
use proptest::prelude::*;
use std::io::Write;

fn element(kind: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = [kind.to_le_bytes(), (data.len() as u32).to_le_bytes()].concat();
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

fn array(class: u32, lengths: [u32; 2], name: &str, parts: &[u8]) -> Vec<u8> {
    let flags = [class.to_le_bytes(), [0; 4]].concat();
    let lengths = [lengths[0].to_le_bytes(), lengths[1].to_le_bytes()].concat();
    let mut data = [element(UINT32, &flags), element(INT32, &lengths)].concat();
    match name.len() {
        1..=4 => {
            data.extend(
                INT8.to_le_bytes()[..2]
                    .iter()
                    .chain(&(name.len() as u16).to_le_bytes()),
            );
            data.extend(name.bytes().chain([0; 4]).take(4));
        }
        _ => data.extend(element(INT8, name.as_bytes())),
    }
    data.extend(parts);
    element(MATRIX, &data)
}

/// A matrix of doubles, as bytes, with these steps.
fn roll(steps: &[u128]) -> Vec<u8> {
    let pitches = usize::from(LOWEST_KEY)..usize::from(LOWEST_KEY) + KEYS;
    let numbers = pitches.flat_map(|pitch| {
        steps
            .iter()
            .map(move |step| f64::from((step >> pitch & 1) as u8))
    });
    let data = numbers.flat_map(f64::to_le_bytes).collect::<Vec<_>>();
    array(
        6,
        [steps.len() as u32, KEYS as u32],
        "",
        &element(DOUBLE, &data),
    )
}

fn variable(name: &str, rolls: &[&[u128]]) -> Vec<u8> {
    let cells = rolls
        .iter()
        .flat_map(|steps| roll(steps))
        .collect::<Vec<_>>();
    array(CELL_CLASS, [1, rolls.len() as u32], name, &cells)
}

fn compressed(variable: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(variable).unwrap();
    let data = encoder.finish().unwrap();
    [
        &COMPRESSED.to_le_bytes(),
        &(data.len() as u32).to_le_bytes(),
        &data[..],
    ]
    .concat()
}

fn file(variables: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = vec![b' '; 124];
    bytes.extend([0, 1, b'I', b'M']);
    bytes.extend(variables.concat());
    bytes
}

fn small() -> Vec<u8> {
    let c_major = 1 << 60 | 1 << 64 | 1 << 67;
    file(&[
        compressed(&variable(
            "traindata",
            &[&[c_major, 0, 1 << 21], &[1 << 108]],
        )),
        array(6, [0, 0], "x", &element(DOUBLE, &[])),
        variable("testdata", &[&[1 << 60]]),
        compressed(&variable("validdata", &[&[]])),
    ])
}

#[test]
fn reads_plain_and_compressed_variables_in_the_order_of_splits() {
    let c_major = 1 << 60 | 1 << 64 | 1 << 67;
    let expected = [
        (Split::Train, 0, vec![c_major, 0, 1 << 21]),
        (Split::Train, 1, vec![1 << 108]),
        (Split::Valid, 0, vec![]),
        (Split::Test, 0, vec![1 << 60]),
    ];
    assert_eq!(
        read(&small()).unwrap(),
        expected.map(|(split, id, steps)| Roll { split, id, steps })
    );
}

#[test]
fn numbers_of_every_kind_sound_above_zero_in_either_byte_order() {
    let sounds = |kind, bytes: &[u8], order| positive(kind, order).unwrap().1(bytes);
    assert!(sounds(UINT8, &[255], Order::Little) && !sounds(INT8, &[255], Order::Little));
    assert!(sounds(INT16, &[0, 128], Order::Big) && !sounds(INT16, &[0, 128], Order::Little));
    assert!(
        sounds(DOUBLE, &1.0f64.to_be_bytes(), Order::Big) && !sounds(DOUBLE, &[0; 8], Order::Big)
    );
    assert!(!sounds(SINGLE, &(-1.0f32).to_le_bytes(), Order::Little));
    assert!(!sounds(DOUBLE, &f64::NAN.to_le_bytes(), Order::Little));
}

#[test]
fn errors_name_the_byte() {
    let message = |bytes: &[u8]| format!("{:#}", read(bytes).unwrap_err());
    assert_eq!(
        message(b"MThd"),
        "not a MATLAB level 5 file: 4 bytes are fewer than its header's 128"
    );
    assert_eq!(message(&file(&[])), "the file has no variable 'traindata'");
    assert_eq!(
        message(&file(&[
            [MATRIX.to_le_bytes(), 1000u32.to_le_bytes()].concat()
        ])),
        "byte 128: a data element claims 1000 bytes where 0 are left"
    );
    let narrow = array(9, [1, 3], "", &element(UINT8, &[0; 3]));
    assert_eq!(
        message(&file(&[array(CELL_CLASS, [1, 1], "testdata", &narrow)])),
        "failed to read piece 0 of 'testdata': byte 184: a piano roll of 88 columns expected, found 1 by 3"
    );
}

#[test]
fn a_claim_of_four_billion_pieces_or_rows_allocates_nothing() {
    assert!(
        read(&file(&[array(
            CELL_CLASS,
            [u32::MAX, u32::MAX],
            "traindata",
            &[]
        )]))
        .is_err()
    );
    let tall = array(9, [u32::MAX, KEYS as u32], "", &element(UINT8, &[0; 88]));
    assert!(read(&file(&[array(CELL_CLASS, [1, 1], "traindata", &tall)])).is_err());
}

#[test]
fn a_variable_that_inflates_beyond_the_limit_is_refused() {
    assert!(inflate(&compressed(&[0; 100_000])[8..], 99_999).is_err());
    assert_eq!(
        inflate(&compressed(&[0; 100_000])[8..], 100_000)
            .unwrap()
            .len(),
        100_000
    );
}

proptest! {
    #[test]
    fn mutated_files_never_panic(changes in prop::collection::vec((0usize..20_000, any::<u8>()), 1..8), cut in 0usize..20_000) {
        for mut bytes in [small(), file(&[variable("traindata", &[&[1 << 60, 0]])])] {
            for (at, byte) in &changes {
                let at = at % bytes.len();
                bytes[at] = *byte;
            }
            let _ = read(&bytes);
            bytes.truncate(cut % bytes.len());
            let _ = read(&bytes);
        }
    }

    #[test]
    fn arbitrary_variables_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes);
        let _ = read(&file(&[bytes]));
    }
}

/// One line of the converted files that stand beside the originals.
#[derive(serde::Deserialize)]
struct Converted {
    split: Split,
    id: usize,
    chords: Vec<String>,
}

#[test]
fn the_published_files_read_as_an_independent_converter_reads_them() {
    for name in ["JSB_Chorales", "MuseData", "Nottingham", "Piano_midi"] {
        let beside = |ending: &str| mirror::file(&format!("muse/{name}.{ending}"));
        let (Some(path), Some(converted)) = (beside("mat"), beside("jsonl.gz")) else {
            continue;
        };
        let bytes = std::fs::read(&path).unwrap();
        let mut lines = String::new();
        let converted = std::fs::File::open(converted).unwrap();
        flate2::read::GzDecoder::new(converted)
            .read_to_string(&mut lines)
            .unwrap();
        let rolls = read(&bytes).unwrap();
        assert_eq!(rolls.len(), lines.lines().count(), "{name}");
        for (roll, line) in rolls.iter().zip(lines.lines()) {
            let expected: Converted = serde_json::from_str(line).unwrap();
            assert_eq!(
                (roll.split, roll.id),
                (expected.split, expected.id),
                "{name}"
            );
            let bits = |chord: &String| {
                chord
                    .split('-')
                    .filter(|it| !it.is_empty())
                    .fold(0u128, |bits, pitch| {
                        bits | 1 << pitch.parse::<u32>().unwrap()
                    })
            };
            assert!(
                roll.steps
                    .iter()
                    .copied()
                    .eq(expected.chords.iter().map(bits)),
                "{name} {line:.60}"
            );
        }
    }
}
