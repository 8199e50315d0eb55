//! Which code this binary is made of, as `build.rs` baked it in.

use serde::{Deserialize, Serialize};

use crate::checksum::sha256;

/// What this binary's code has that its commit has not, as a patch; empty if nothing, or if there was no git.
pub const PATCH: &str = include_str!(concat!(env!("OUT_DIR"), "/code.patch"));

/// The code of a binary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeVersion {
    /// The package's version.
    pub version: String,
    /// The git commit, or `unknown`.
    pub commit: String,
    /// Whether the code differed from that commit: `yes`, `no` or `unknown`.
    pub dirty: String,
    /// SHA-256 of the difference, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch_sha256: Option<String>,
    /// The compiler.
    pub rustc: String,
    /// The platform that it was compiled for.
    pub target: String,
    /// Cargo's profile.
    pub profile: String,
}

impl CodeVersion {
    /// The code of the binary that is running.
    pub fn current() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").into(),
            commit: env!("HARNESS_COMMIT").into(),
            dirty: env!("HARNESS_DIRTY").into(),
            patch_sha256: (!PATCH.is_empty()).then(|| sha256(PATCH.as_bytes())),
            rustc: env!("HARNESS_RUSTC").into(),
            target: env!("HARNESS_TARGET").into(),
            profile: env!("HARNESS_PROFILE").into(),
        }
    }

    /// Such as `0.1.0 (1a2b3c4d5e6f, modified)`.
    pub fn summary(&self) -> String {
        let commit: String = self.commit.chars().take(12).collect();
        let modified = if self.dirty == "yes" {
            ", modified"
        } else {
            ""
        };
        format!("{} ({commit}{modified})", self.version)
    }
}
