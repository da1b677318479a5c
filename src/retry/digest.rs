//! Digests of what a client has seen.

use std::sync::LazyLock;

use xxhash_rust::xxh3::{Xxh3, Xxh3Builder};

/// Digest of the answers that were passed on; of use in this process only.
pub(super) type Digest = u128;

/// Nobody outside knows it, so nobody can choose rows that collide.
static SECRET: LazyLock<[u8; 192]> = LazyLock::new(|| {
    let mut secret = [0; 192];
    rand::fill(&mut secret);
    secret
});

/// Digests as the bytes come.
///
/// Rows are streamed through this: a cryptographic hash takes several times as long as all else
/// that is done to them.
#[derive(Clone)]
pub(super) struct Hasher(Box<Xxh3>);

impl Hasher {
    pub(super) fn new() -> Self {
        Self(Box::new(Xxh3Builder::new().with_secret(*SECRET).build()))
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(super) fn finish(&self) -> Digest {
        self.0.digest128()
    }
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hasher").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_do_not_matter_and_bytes_do() {
        let digest = |pieces: &[&[u8]]| {
            let mut hasher = Hasher::new();
            pieces.iter().for_each(|piece| hasher.update(piece));
            hasher.finish()
        };
        let long = vec![b'x'; 5000];
        assert_eq!(digest(&[b"ab", b"", b"c"]), digest(&[b"abc"]));
        assert_eq!(digest(&[&long[..1], &long[1..]]), digest(&[&long]));
        assert_ne!(digest(&[&long[1..]]), digest(&[&long]));
        assert_ne!(digest(&[b"abd"]), digest(&[b"abc"]));
        assert_ne!(digest(&[]), digest(&[b"\0"]));
    }
}
