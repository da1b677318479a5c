//! Digests of what a client has seen.

use std::sync::LazyLock;

use xxhash_rust::xxh3::{Xxh3, Xxh3Builder, xxh3_128_with_secret};

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

/// What is left of an answer, to be compared with another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Print {
    /// Of its bytes as they came.
    pub exact: Digest,
    /// The same for all orders that the rows of each of its results may come in.
    pub unordered: Digest,
}

/// Digests frames, and rows between two others as a multiset: by how many they are and the sum of
/// their digests. The digests are secret, so no rows can be chosen whose sum is that of others.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Of the frames up to the rows at hand.
    chain: Digest,
    sum: Digest,
    count: u64,
    /// A frame that has not come to its end.
    begun: Option<Hasher>,
}

impl Rows {
    /// A piece of a frame; `ends`: its last.
    pub(super) fn update(&mut self, tag: u8, piece: &[u8], ends: bool) {
        let frame = match (self.begun.take(), ends) {
            (None, true) => xxh3_128_with_secret(piece, &*SECRET),
            (begun, _) => {
                let mut hasher = begun.unwrap_or_else(Hasher::new);
                hasher.update(piece);
                if !ends {
                    self.begun = Some(hasher);
                    return;
                }
                hasher.finish()
            }
        };
        if tag == b'D' {
            self.sum = self.sum.wrapping_add(frame);
            self.count += 1;
        } else {
            self.chain = self.link(frame);
            (self.sum, self.count) = (0, 0);
        }
    }

    pub(super) fn finish(&self) -> Digest {
        self.link(0)
    }

    fn link(&self, frame: Digest) -> Digest {
        let mut all = [0; 56];
        all[..16].copy_from_slice(&self.chain.to_le_bytes());
        all[16..32].copy_from_slice(&self.sum.to_le_bytes());
        all[32..48].copy_from_slice(&frame.to_le_bytes());
        all[48..].copy_from_slice(&self.count.to_le_bytes());
        xxh3_128_with_secret(&all, &*SECRET)
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
    #[test]
    fn rows_of_one_result_may_change_places() {
        let of = |frames: &[&str]| {
            let mut rows = Rows::default();
            for frame in frames {
                rows.update(frame.as_bytes()[0], frame.as_bytes(), true);
            }
            rows.finish()
        };
        let all = of(&["T", "D1", "D2", "C", "D3", "C"]);
        assert_eq!(of(&["T", "D2", "D1", "C", "D3", "C"]), all);
        for other in [
            ["T", "D1", "D3", "C", "D2", "C"],
            ["T", "D1", "D1", "C", "D3", "C"],
            ["D1", "T", "D2", "C", "D3", "C"],
            ["T", "D1", "D2", "s", "D3", "C"],
        ] {
            assert_ne!(of(&other), all, "{other:?}");
        }
        assert_ne!(of(&["T", "D1", "D2", "C", "C"]), all);
        assert_ne!(of(&["D1", "D1"]), of(&["D1"]));
    }

    #[test]
    fn a_frame_in_pieces_is_the_same_frame() {
        let frame = vec![b'x'; 900];
        let mut whole = Rows::default();
        whole.update(b'D', &frame, true);
        for cut in [0, 1, 100, 899, 900] {
            let mut pieces = Rows::default();
            pieces.update(b'D', &frame[..cut], false);
            pieces.update(b'D', &frame[cut..], true);
            assert_eq!(pieces.finish(), whole.finish(), "{cut}");
        }
        let mut short = Rows::default();
        short.update(b'D', b"ab", true);
        let mut pieces = Rows::default();
        pieces.update(b'D', b"a", false);
        pieces.update(b'D', b"b", true);
        assert_eq!(pieces.finish(), short.finish());
    }
}
