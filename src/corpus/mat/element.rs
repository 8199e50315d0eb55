//! The data elements of a MATLAB level 5 file: tags, sizes and arrays, each checked against the bytes that are there.

use anyhow::{Result, bail, ensure};

/// Bytes of the file's header: 116 of text, 8 of an offset, 2 of a version, 2 that mark the byte order.
const HEADER: usize = 128;

// Kinds of data elements.
pub const INT8: u32 = 1;
pub const UINT8: u32 = 2;
pub const INT16: u32 = 3;
pub const UINT16: u32 = 4;
pub const INT32: u32 = 5;
pub const UINT32: u32 = 6;
pub const SINGLE: u32 = 7;
pub const DOUBLE: u32 = 9;
const INT64: u32 = 12;
const UINT64: u32 = 13;
pub const MATRIX: u32 = 14;
pub const COMPRESSED: u32 = 15;

#[derive(Debug, Clone, Copy)]
pub enum Order {
    Little,
    Big,
}

fn byte_order(bytes: &[u8]) -> Result<Order> {
    ensure!(
        bytes.len() >= HEADER,
        "not a MATLAB level 5 file: {} bytes are fewer than its header's 128",
        bytes.len()
    );
    match &bytes[126..128] {
        b"IM" => Ok(Order::Little),
        b"MI" => Ok(Order::Big),
        other => bail!(
            "not a MATLAB level 5 file: bytes 126 and 127 are {other:02x?}, neither 'IM' nor 'MI'"
        ),
    }
}

/// Where offsets start, for messages.
#[derive(Debug, Clone, Copy)]
pub enum Place {
    /// From the beginning of the file.
    File,
    /// From the beginning of what was inflated from the element at that byte of the file.
    Inflated { from: usize },
}

/// A walk over the data elements of `bytes`, of which the next begins at `at`.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
    pub order: Order,
    pub place: Place,
}

/// One data element: `bytes` ends where it ends, it begins at `at` and its data at `data_at`.
#[derive(Debug, Clone, Copy)]
pub struct Element<'a> {
    pub kind: u32,
    pub bytes: &'a [u8],
    pub at: usize,
    data_at: usize,
    pub order: Order,
    place: Place,
}

impl<'a> Cursor<'a> {
    /// At the first data element of the file `bytes`.
    pub fn of_file(bytes: &'a [u8]) -> Result<Self> {
        let order = byte_order(bytes)?;
        Ok(Cursor {
            bytes,
            at: HEADER,
            order,
            place: Place::File,
        })
    }

    /// The next data element, stepping over it and its padding.
    pub fn element(&mut self) -> Result<Element<'a>> {
        let Cursor {
            bytes,
            at,
            order,
            place,
        } = *self;
        let here = whence(at, place);
        let Some((&tag, rest)) = bytes
            .get(at..)
            .and_then(|rest| rest.split_first_chunk::<8>())
        else {
            bail!("{here}: cut short, no room for a data element's tag of 8 bytes");
        };
        let [first, second] = [word(&tag[..4], order), word(&tag[4..], order)];
        // A small element packs size and kind into four bytes and its data into the next four.
        let (kind, size, header, room) = match first >> 16 {
            0 => (first, second as usize, 8, rest.len()),
            size => (first & 0xffff, size as usize, 4, 4),
        };
        ensure!(
            size <= room,
            "{here}: a data element claims {size} bytes where {room} are left"
        );
        let padded = if kind == COMPRESSED {
            header + size
        } else {
            (header + size).next_multiple_of(8)
        };
        self.at = bytes.len().min(at + padded);
        Ok(Element {
            kind,
            bytes: &bytes[..at + header + size],
            at,
            data_at: at + header,
            order,
            place,
        })
    }
}

impl<'a> Element<'a> {
    pub fn data(&self) -> &'a [u8] {
        &self.bytes[self.data_at..]
    }

    pub fn here(&self) -> String {
        whence(self.at, self.place)
    }

    /// The array in this element, its data not yet looked at.
    pub fn array(&self) -> Result<Array<'a>> {
        ensure!(
            self.kind == MATRIX,
            "{}: an array expected, found an element of kind {}",
            self.here(),
            self.kind
        );
        let mut parts = Cursor {
            bytes: self.bytes,
            at: self.data_at,
            order: self.order,
            place: self.place,
        };
        let flags = parts.element()?;
        let class = match (flags.kind, flags.data().first_chunk::<4>()) {
            (UINT32, Some(first)) => word(first, self.order) & 0xff,
            _ => bail!("{}: an array's flags expected", flags.here()),
        };
        let dimensions = parts.element()?;
        ensure!(
            dimensions.kind == INT32,
            "{}: an array's dimensions expected",
            dimensions.here()
        );
        let lengths = dimensions
            .data()
            .chunks_exact(4)
            .map(|size| word(size, self.order) as usize)
            .collect();
        let name = parts.element()?;
        ensure!(
            name.kind == INT8,
            "{}: an array's name expected",
            name.here()
        );
        Ok(Array {
            class,
            lengths,
            name: name.data(),
            parts,
            at: self.at,
        })
    }
}

/// An array, read up to its data.
pub struct Array<'a> {
    pub class: u32,
    /// Rows, columns and further dimensions, as the file claims them.
    pub lengths: Vec<usize>,
    pub name: &'a [u8],
    /// The elements that follow the name.
    pub parts: Cursor<'a>,
    at: usize,
}

impl Array<'_> {
    pub fn here(&self) -> String {
        whence(self.at, self.parts.place)
    }
}

/// Bytes of a number of that kind, and whether such bytes stand for more than 0; `None` where the kind is no number.
pub fn positive(kind: u32, order: Order) -> Option<(usize, impl Fn(&[u8]) -> bool)> {
    let (width, signed, float) = match kind {
        INT8 => (1, true, false),
        UINT8 => (1, false, false),
        INT16 => (2, true, false),
        UINT16 => (2, false, false),
        INT32 => (4, true, false),
        UINT32 => (4, false, false),
        SINGLE => (4, true, true),
        DOUBLE => (8, true, true),
        INT64 => (8, true, false),
        UINT64 => (8, false, false),
        _ => return None,
    };
    let sounds = move |number: &[u8]| {
        let append = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        let bits = match order {
            Order::Little => number.iter().rev().fold(0, append),
            Order::Big => number.iter().fold(0, append),
        };
        let negative = signed && bits >> (8 * width - 1) == 1;
        let nan = match width {
            4 if float => f32::from_bits(bits as u32).is_nan(),
            8 if float => f64::from_bits(bits).is_nan(),
            _ => false,
        };
        bits != 0 && !negative && !nan
    };
    Some((width, sounds))
}

fn word(four: &[u8], order: Order) -> u32 {
    let four = four.try_into().expect("callers pass four bytes");
    match order {
        Order::Little => u32::from_le_bytes(four),
        Order::Big => u32::from_be_bytes(four),
    }
}

fn whence(at: usize, place: Place) -> String {
    match place {
        Place::File => format!("byte {at}"),
        Place::Inflated { from } => format!("byte {at} of what was inflated from byte {from}"),
    }
}
