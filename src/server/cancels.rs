//! Which session a cancel key belongs to.

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use rand::{Rng, RngCore};
use subtle::ConstantTimeEq;

/// Where a session lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Address {
    pub worker: usize,
    pub session: u64,
}

#[derive(Debug)]
struct Holder {
    key: Vec<u8>,
    address: Address,
}

/// Virtual process ids and secrets of all sessions, keyed by process id.
#[derive(Debug, Default)]
pub(super) struct CancelKeys {
    holders: DashMap<u32, Holder>,
}

impl CancelKeys {
    /// A new process id with a random secret: 32 bytes in protocol 3.2, 4 before.
    pub fn register(&self, address: Address, minor: u16) -> (u32, Vec<u8>) {
        let mut key = vec![0; if minor >= 2 { 32 } else { 4 }];
        rand::rng().fill_bytes(&mut key);
        loop {
            let pid = rand::rng().random_range(1..=u32::MAX >> 1);
            if let Entry::Vacant(vacant) = self.holders.entry(pid) {
                vacant.insert(Holder {
                    key: key.clone(),
                    address,
                });
                return (pid, key);
            }
        }
    }

    /// Forgets a session.
    pub fn forget(&self, pid: u32) {
        self.holders.remove(&pid);
    }

    /// The session a cancel request means; the secret is compared in constant time.
    pub fn find(&self, pid: u32, key: &[u8]) -> Option<Address> {
        let holder = self.holders.get(&pid)?;
        bool::from(holder.key.ct_eq(key)).then_some(holder.address)
    }

    /// Sessions known.
    pub fn len(&self) -> usize {
        self.holders.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_secret_finds_a_session() {
        let keys = CancelKeys::default();
        let address = Address {
            worker: 1,
            session: 7,
        };
        for (minor, length) in [(0, 4), (2, 32)] {
            let (pid, key) = keys.register(address, minor);
            assert_eq!(key.len(), length);
            assert_eq!(keys.find(pid, &key), Some(address));
            let mut wrong = key.clone();
            wrong[0] ^= 1;
            assert_eq!(keys.find(pid, &wrong), None);
            assert_eq!(keys.find(pid, &key[..3]), None);
            assert_eq!(keys.find(pid ^ 1, &key), None);
            keys.forget(pid);
            assert_eq!(keys.find(pid, &key), None);
        }
        assert_eq!(keys.len(), 0);
    }
}
