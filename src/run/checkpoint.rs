//! Checkpoints: named arrays and a state in one safetensors file that knows its own checksum.
//!
//! The file's metadata has one entry, `harness`: JSON with step, epoch, best step, state, and a SHA-256 over all of
//! those and over every array's name, shape and bytes. Weights alone (`final.safetensors`) have no metadata.

use std::collections::HashMap;
use std::fs;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use safetensors::tensor::{Dtype, Metadata, SafeTensors, TensorInfo};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::disk::{create_folder, read_file, replace_atomically};
use super::error::RunError;
use crate::checksum::hex;

/// Everything that training needs to go on as if it had never stopped.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Optimizer steps completed.
    pub step: u64,
    /// Epochs begun, from 1.
    pub epoch: u32,
    /// The step of the best checkpoint so far, by the loop's own measure: that checkpoint is kept.
    pub best_step: Option<u64>,
    /// Weights, optimizer state, carried LSTM state, …
    pub arrays: Vec<NamedArray>,
    /// Data position, random streams, schedule, … Finite floating-point numbers survive with every bit.
    pub state: Value,
}

/// An array with a name.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedArray {
    /// Such as `lstm.0.weight_hidden`; unique in its checkpoint.
    pub name: String,
    /// The length of each axis; row-major.
    pub shape: Vec<usize>,
    /// The elements.
    pub data: ArrayData,
}

/// The elements of an array.
#[derive(Debug, Clone, PartialEq)]
pub enum ArrayData {
    /// Single-precision numbers.
    F32(Vec<f32>),
    /// Bytes.
    U8(Vec<u8>),
}

impl NamedArray {
    /// A single-precision array.
    pub fn f32(name: impl Into<String>, shape: impl Into<Vec<usize>>, values: Vec<f32>) -> Self {
        Self {
            name: name.into(),
            shape: shape.into(),
            data: ArrayData::F32(values),
        }
    }

    /// The elements, if they are single-precision numbers.
    pub fn as_f32(&self) -> Result<&[f32]> {
        match &self.data {
            ArrayData::F32(values) => Ok(values),
            ArrayData::U8(_) => Err(anyhow!(
                "array '{}' holds bytes, not single-precision numbers",
                self.name
            )),
        }
    }

    fn dtype(&self) -> Dtype {
        match self.data {
            ArrayData::F32(_) => Dtype::F32,
            ArrayData::U8(_) => Dtype::U8,
        }
    }

    fn byte_count(&self) -> usize {
        match &self.data {
            ArrayData::F32(values) => 4 * values.len(),
            ArrayData::U8(values) => values.len(),
        }
    }

    /// Hands the elements' little-endian bytes to `take`, a part at a time: an array can be as large as the model.
    fn each_part(&self, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        match &self.data {
            ArrayData::U8(values) => take(values),
            ArrayData::F32(values) => values.chunks(1 << 14).try_for_each(|part| {
                let bytes: Vec<u8> = part.iter().flat_map(|value| value.to_le_bytes()).collect();
                take(&bytes)
            }),
        }
    }
}

/// The name of the metadata's one entry.
const ENTRY: &str = "harness";

#[derive(Serialize, Deserialize)]
struct Header {
    step: u64,
    epoch: u32,
    best_step: Option<u64>,
    state: Value,
    sha256: String,
}

/// Writes `arrays` alone to `path`. The same arrays give the same bytes.
pub fn write_arrays(path: &Path, arrays: &[NamedArray]) -> Result<()> {
    write(path, arrays, None)
}

/// The arrays of a safetensors file's bytes, sorted by name.
pub fn read_arrays(bytes: &[u8]) -> Result<Vec<NamedArray>> {
    Ok(parse(bytes)?.0)
}

/// Writes `checkpoint` to `path`.
pub fn write_checkpoint(path: &Path, checkpoint: &Checkpoint) -> Result<()> {
    let state = map_floats(&checkpoint.state, &encode_float);
    let mut header = Header {
        step: checkpoint.step,
        epoch: checkpoint.epoch,
        best_step: checkpoint.best_step,
        state,
        sha256: String::new(),
    };
    header.sha256 = digest(&header, &checkpoint.arrays)?;
    write(
        path,
        &checkpoint.arrays,
        Some(serde_json::to_string(&header).context("failed to write a state as JSON")?),
    )
}

/// Reads the checkpoint at `path`, and is sure that it is what was written.
pub fn read_checkpoint(path: &Path) -> Result<Checkpoint> {
    let corrupt = |reason: String| RunError::Corrupt {
        file: path.to_path_buf(),
        reason,
    };
    let bytes = read_file(path)?;
    let (arrays, entry) = parse(&bytes).map_err(|error| corrupt(format!("{error:#}")))?;
    drop(bytes);
    let entry = entry.ok_or_else(|| corrupt("it holds weights but no training state".into()))?;
    let mut header: Header =
        serde_json::from_str(&entry).map_err(|error| corrupt(error.to_string()))?;
    let promised = std::mem::take(&mut header.sha256);
    if digest(&header, &arrays)? != promised {
        return Err(corrupt("its contents do not have their checksum".into()).into());
    }
    let state = map_floats(&header.state, &|value| value.clone());
    Ok(Checkpoint {
        step: header.step,
        epoch: header.epoch,
        best_step: header.best_step,
        arrays,
        state,
    })
}

/// Writes the safetensors format: the header's length, the header, then each array's bytes, larger elements first.
fn write(path: &Path, arrays: &[NamedArray], entry: Option<String>) -> Result<()> {
    let mut sorted: Vec<&NamedArray> = arrays.iter().collect();
    sorted.sort_by_key(|array| (std::cmp::Reverse(array.dtype()), &array.name));
    let (mut infos, mut end) = (Vec::with_capacity(sorted.len()), 0);
    for array in &sorted {
        let begin = end;
        end += array.byte_count();
        let info = TensorInfo {
            dtype: array.dtype(),
            shape: array.shape.clone(),
            data_offsets: (begin, end),
        };
        infos.push((array.name.clone(), info));
    }
    let entries = entry.map(|entry| HashMap::from([(ENTRY.to_string(), entry)]));
    let metadata = Metadata::new(entries, infos)
        .with_context(|| format!("failed to write '{}'", path.display()))?;
    let mut header =
        serde_json::to_vec(&metadata).context("failed to write a safetensors header")?;
    header.resize(header.len().next_multiple_of(8), b' ');
    replace_atomically(path, |unfinished| {
        let mut file = BufWriter::new(fs::File::create(unfinished)?);
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        for array in &sorted {
            array.each_part(|part| file.write_all(part))?;
        }
        Ok(file.flush()?)
    })
}

fn parse(bytes: &[u8]) -> Result<(Vec<NamedArray>, Option<String>)> {
    let tensors = SafeTensors::deserialize(bytes).context("not a whole safetensors file")?;
    let (_, metadata) =
        SafeTensors::read_metadata(bytes).context("not a whole safetensors file")?;
    let entry = metadata
        .metadata()
        .as_ref()
        .and_then(|entries| entries.get(ENTRY).cloned());
    let mut arrays = Vec::with_capacity(tensors.len());
    for (name, view) in tensors.iter() {
        let data = match view.dtype() {
            Dtype::F32 => {
                let numbers = view.data().chunks_exact(4);
                ArrayData::F32(
                    numbers
                        .map(|it| f32::from_le_bytes([it[0], it[1], it[2], it[3]]))
                        .collect(),
                )
            }
            Dtype::U8 => ArrayData::U8(view.data().to_vec()),
            other => {
                return Err(anyhow!(
                    "array '{name}' is of type {other:?}, which no checkpoint of a run holds"
                ));
            }
        };
        arrays.push(NamedArray {
            name: name.to_string(),
            shape: view.shape().to_vec(),
            data,
        });
    }
    arrays.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((arrays, entry))
}

/// SHA-256 over the header, whose own checksum is empty, and the arrays by name.
fn digest(header: &Header, arrays: &[NamedArray]) -> Result<String> {
    let mut sorted: Vec<&NamedArray> = arrays.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    let mut digest = Sha256::new();
    digest.update(serde_json::to_vec(header).context("failed to write a state as JSON")?);
    for array in sorted {
        digest.update(format!(
            "\n{} {:?} {:?}\n",
            array.name,
            array.dtype(),
            array.shape
        ));
        array.each_part(|part| {
            digest.update(part);
            Ok(())
        })?;
    }
    Ok(hex(&digest.finalize()))
}

/// The key under which a floating-point number's bits are kept: JSON in decimals may lose the last of them.
const BITS: &str = "$f64";

fn encode_float(value: &Value) -> Value {
    match value.as_f64() {
        Some(number) if value.is_f64() => json!({ BITS: format!("{:016x}", number.to_bits()) }),
        _ => value.clone(),
    }
}

/// `value` with `encode` applied to each number, and each kept bit pattern made a number again.
fn map_floats(value: &Value, encode: &impl Fn(&Value) -> Value) -> Value {
    match value {
        Value::Number(_) => encode(value),
        Value::Array(values) => values.iter().map(|it| map_floats(it, encode)).collect(),
        Value::Object(fields) => decode_float(fields).unwrap_or_else(|| {
            Value::Object(
                fields
                    .iter()
                    .map(|(key, it)| (key.clone(), map_floats(it, encode)))
                    .collect(),
            )
        }),
        _ => value.clone(),
    }
}

fn decode_float(fields: &Map<String, Value>) -> Option<Value> {
    let digits = fields.get(BITS).filter(|_| fields.len() == 1)?.as_str()?;
    let bits = u64::from_str_radix(digits, 16).ok()?;
    serde_json::Number::from_f64(f64::from_bits(bits)).map(Value::Number)
}

/// The checkpoints of a run, in the folder `checkpoints`.
#[derive(Debug, Clone)]
pub(super) struct Checkpoints {
    folder: PathBuf,
}

impl Checkpoints {
    /// The checkpoints of the run in `folder`.
    pub fn of_run(folder: &Path) -> Self {
        Self {
            folder: folder.join("checkpoints"),
        }
    }

    /// The file of the checkpoint at `step`.
    pub fn path(&self, step: u64) -> PathBuf {
        self.folder.join(format!("step-{step:08}.safetensors"))
    }

    /// The steps there are checkpoints of, in order, whether they can be read or not.
    pub fn steps(&self) -> Result<Vec<u64>> {
        if !self.folder.exists() {
            return Ok(Vec::new());
        }
        let mut steps = Vec::new();
        for entry in fs::read_dir(&self.folder)
            .with_context(|| format!("failed to list '{}'", self.folder.display()))?
        {
            let name = entry
                .with_context(|| format!("failed to list '{}'", self.folder.display()))?
                .file_name();
            let name = name.to_string_lossy();
            let step = name
                .strip_prefix("step-")
                .and_then(|it| it.strip_suffix(".safetensors"));
            steps.extend(step.and_then(|it| it.parse::<u64>().ok()));
        }
        steps.sort_unstable();
        Ok(steps)
    }

    /// Writes `checkpoint`, then removes those that no resume needs: all but the last two and the best they name.
    pub fn save(&self, checkpoint: &Checkpoint) -> Result<()> {
        create_folder(&self.folder)?;
        let steps = self.steps()?;
        let previous = steps.iter().copied().rfind(|step| *step != checkpoint.step);
        let previous_best = previous.and_then(|step| read_best_step(&self.path(step)));
        write_checkpoint(&self.path(checkpoint.step), checkpoint)?;
        let kept = [
            Some(checkpoint.step),
            previous,
            checkpoint.best_step,
            previous_best,
        ];
        for step in steps
            .into_iter()
            .filter(|step| !kept.contains(&Some(*step)))
        {
            let path = self.path(step);
            fs::remove_file(&path)
                .with_context(|| format!("failed to remove '{}'", path.display()))?;
        }
        Ok(())
    }

    /// Puts a damaged checkpoint aside, so that it is neither used nor counted again.
    pub fn put_aside(&self, step: u64) -> Result<()> {
        let (from, to) = (
            self.path(step),
            self.folder.join(format!("step-{step:08}.damaged")),
        );
        fs::rename(&from, &to).with_context(|| format!("failed to put '{}' aside", from.display()))
    }
}

/// The best step that the checkpoint at `path` names; reads its header only, and is silent about damage.
fn read_best_step(path: &Path) -> Option<u64> {
    let mut file = fs::File::open(path).ok()?;
    let mut length = [0; 8];
    file.read_exact(&mut length).ok()?;
    let mut text = Vec::new();
    file.take(u64::from_le_bytes(length).min(100 << 20))
        .read_to_end(&mut text)
        .ok()?;
    let header: Value = serde_json::from_slice(&text).ok()?;
    let entry: Header =
        serde_json::from_str(header.get("__metadata__")?.get(ENTRY)?.as_str()?).ok()?;
    entry.best_step
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(step: u64, best_step: Option<u64>) -> Checkpoint {
        let arrays = vec![
            NamedArray::f32("bias", [2], vec![f32::MIN_POSITIVE, -0.0]),
            NamedArray {
                name: "random".into(),
                shape: vec![3],
                data: ArrayData::U8(vec![0, 127, 255]),
            },
            NamedArray::f32("weight", [2, 3], vec![1.0, 2.0, 3.0, f32::NAN, 5.0, 6.0]),
        ];
        let state = json!({ "word": u64::MAX, "rate": 0.1 + 0.2, "list": [1.5e-310, -7, { "deep": 5e-324 }], "none": null });
        Checkpoint {
            step,
            epoch: 2,
            best_step,
            arrays,
            state,
        }
    }

    #[test]
    fn every_bit_of_a_checkpoint_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it");
        write_checkpoint(&path, &sample(7, Some(3))).unwrap();
        let back = read_checkpoint(&path).unwrap();
        assert_eq!(back.state, sample(7, None).state);
        assert_eq!((back.step, back.epoch, back.best_step), (7, 2, Some(3)));
        let bits = |values: &[f32]| values.iter().map(|it| it.to_bits()).collect::<Vec<u32>>();
        assert_eq!(
            bits(back.arrays[2].as_f32().unwrap()),
            bits(sample(7, None).arrays[2].as_f32().unwrap())
        );
        assert_eq!(back.arrays[1], sample(7, None).arrays[1]);
    }

    #[test]
    fn each_damaged_byte_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it");
        write_checkpoint(&path, &sample(7, None)).unwrap();
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&path, &bytes).unwrap();
            // A change that leaves every value as it was, such as one of padding, is no damage.
            if let Ok(back) = read_checkpoint(&path) {
                assert_eq!(
                    format!("{back:?}"),
                    format!("{:?}", sample(7, None)),
                    "byte {at}"
                );
            }
            fs::write(&path, &whole[..at]).unwrap();
            assert!(read_checkpoint(&path).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn the_same_weights_give_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        let arrays = sample(1, None).arrays;
        let reversed: Vec<NamedArray> = arrays.iter().rev().cloned().collect();
        write_arrays(&a, &arrays).unwrap();
        write_arrays(&b, &reversed).unwrap();
        assert_eq!(fs::read(&a).unwrap(), fs::read(&b).unwrap());
        assert_eq!(read_arrays(&fs::read(&a).unwrap()).unwrap().len(), 3);
        assert!(read_checkpoint(&a).is_err());
    }

    #[test]
    fn the_last_two_and_their_best_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::of_run(folder.path());
        for (step, best) in [
            (10, 10),
            (20, 10),
            (30, 10),
            (40, 40),
            (50, 40),
            (60, 40),
            (70, 40),
        ] {
            checkpoints.save(&sample(step, Some(best))).unwrap();
            let steps = checkpoints.steps().unwrap();
            let expected: &[u64] = match step {
                10 => &[10],
                20 => &[10, 20],
                30 => &[10, 20, 30],
                40 => &[10, 30, 40],
                50 => &[40, 50],
                60 => &[40, 50, 60],
                _ => &[40, 60, 70],
            };
            assert_eq!(steps, expected, "after {step}");
        }
    }
}
