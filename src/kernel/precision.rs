//! In what the operands of matrix products are held.

use serde::{Deserialize, Serialize};

/// In what the operands of matrix products are held; sums, and all else, are f32 in either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// Rounded to bfloat16 (8 bits of mantissa).
    Bf16,
}

impl Precision {
    /// Its name in experiments and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }

    /// How many numbers lie in four bytes.
    pub(super) fn pair(self) -> usize {
        match self {
            Self::F32 => 1,
            Self::Bf16 => 2,
        }
    }
}
