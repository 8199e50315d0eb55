//! Named random streams of one seed: each purpose draws from its own, so that one more draw in one place changes nothing elsewhere.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// The random stream `name` of `seed`: the same two always give the same numbers, on every machine.
pub fn stream(seed: u64, name: &str) -> ChaCha8Rng {
    let digest = Sha256::new()
        .chain_update(seed.to_le_bytes())
        .chain_update(name)
        .finalize();
    ChaCha8Rng::from_seed(digest.into())
}
