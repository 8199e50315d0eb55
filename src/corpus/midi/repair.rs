//! The list of repairs, and the one repair that concerns a whole file.

use super::Remark;

/// What was repaired in a file: each kind of repair once, where it was first needed, and how often.
#[derive(Debug, Default)]
pub struct Repairs {
    list: Vec<Repair>,
}

#[derive(Debug)]
struct Repair {
    offset: usize,
    what: String,
    times: usize,
    damage: bool,
}

impl Repairs {
    /// Adds a harmless irregularity at `offset`.
    pub fn note(&mut self, offset: usize, what: impl AsRef<str>) {
        self.add(offset, what.as_ref(), 1, false);
    }

    /// Adds a repair of damage: some of the file's music may be lost or wrong.
    pub fn damage(&mut self, offset: usize, what: impl AsRef<str>) {
        self.add(offset, what.as_ref(), 1, true);
    }

    fn add(&mut self, offset: usize, what: &str, times: usize, damage: bool) {
        const MOST_KINDS: usize = 64;
        let known = self.list.iter().position(|repair| repair.what == what);
        match known.or((self.list.len() == MOST_KINDS).then_some(MOST_KINDS - 1)) {
            Some(place) => self.list[place].times += times,
            None => self.list.push(Repair {
                offset,
                what: what.to_owned(),
                times,
                damage,
            }),
        }
    }

    /// Whether there is any repair.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether there is damage, not only harmless irregularities.
    pub fn damaged(&self) -> bool {
        self.list.iter().any(|repair| repair.damage)
    }

    /// Adds the repairs of `others`.
    pub fn append(&mut self, others: Repairs) {
        for repair in others.list {
            self.add(repair.offset, &repair.what, repair.times, repair.damage);
        }
    }

    /// Changes every offset, for when the scanned bytes are not those of the original file.
    pub fn move_offsets(&mut self, as_given: impl Fn(usize) -> usize) {
        for repair in &mut self.list {
            repair.offset = as_given(repair.offset);
        }
    }

    /// The remarks of a [`super::Reading`], in the order of their offsets.
    pub fn into_remarks(mut self) -> Vec<Remark> {
        self.list.sort_by_key(|repair| repair.offset);
        let remark = |repair: Repair| {
            let times = if repair.times > 1 {
                format!(" ({} times, first here)", repair.times)
            } else {
                String::new()
            };
            Remark {
                offset: repair.offset,
                what: repair.what + &times,
            }
        };
        self.list.into_iter().map(remark).collect()
    }
}

/// A file with the line feeds taken out that a text-mode transfer had put after each of its carriage returns.
pub struct LineEnds {
    /// The file as it was before.
    pub bytes: Vec<u8>,
    /// Where, in the file as given, the line feeds stood.
    taken_out: Vec<usize>,
}

impl LineEnds {
    /// Undoes such a transfer, if every carriage return of the file is followed by a line feed and there is one.
    pub fn restore(given: &[u8]) -> Option<LineEnds> {
        let mut taken_out = Vec::new();
        let mut bytes = Vec::new();
        let mut copied = 0;
        for (at, _) in given.iter().enumerate().filter(|(_, byte)| **byte == b'\r') {
            if given.get(at + 1) != Some(&b'\n') {
                return None;
            }
            bytes.extend_from_slice(&given[copied..=at]);
            taken_out.push(at + 1);
            copied = at + 2;
        }
        bytes.extend_from_slice(&given[copied..]);
        (!taken_out.is_empty()).then_some(LineEnds { bytes, taken_out })
    }

    /// Where the first line feed stood.
    pub fn first(&self) -> usize {
        self.taken_out[0]
    }

    /// The place in the file as given of a place in `bytes`.
    pub fn offset_as_given(&self, offset: usize) -> usize {
        let before = self
            .taken_out
            .iter()
            .enumerate()
            .take_while(|(taken, place)| *place - taken <= offset)
            .count();
        offset + before
    }
}
