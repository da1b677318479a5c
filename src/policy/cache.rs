//! Decisions that were made before, for one worker.
//!
//! The key is the whole text with all facts that a decision rests on, compared in full: a hash or a
//! fingerprint that two statements share would give one the other's decision.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};

use super::SessionFacts;

/// Texts longer than this are not kept: they are inserts of many rows, which do not come again.
const LONGEST_TEXT: usize = 32 * 1024;

/// Hashes of texts seen once that are remembered before all are forgotten.
const SEEN_ONCE: usize = 16 * 1024;

/// What an entry takes besides its text and value, about.
const OVERHEAD: usize = 160;

/// Decisions (or anything made of them) by text and facts, at most so many bytes.
///
/// A text is kept when it comes the second time, so that texts with values in them pass by. There
/// are two generations: what was not asked for while one filled up is dropped with the older one.
#[derive(Debug)]
pub struct Cache<V, F = SessionFacts> {
    limit: usize,
    epoch: u64,
    young: Generation<V, F>,
    old: Generation<V, F>,
    seen: HashSet<u64>,
    hasher: RandomState,
    hits: u64,
    misses: u64,
}

#[derive(Debug)]
struct Generation<V, F> {
    entries: HashMap<Box<[u8]>, Vec<Entry<V, F>>>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry<V, F> {
    facts: F,
    value: V,
    weight: usize,
}

impl<V, F> Default for Generation<V, F> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            bytes: 0,
        }
    }
}

impl<V, F: PartialEq> Generation<V, F> {
    fn take(&mut self, text: &[u8], facts: &F) -> Option<Entry<V, F>> {
        let entries = self.entries.get_mut(text)?;
        let at = entries.iter().position(|entry| entry.facts == *facts)?;
        let entry = entries.swap_remove(at);
        if entries.is_empty() {
            self.entries.remove(text);
        }
        self.bytes -= entry.weight;
        Some(entry)
    }

    fn put(&mut self, text: &[u8], entry: Entry<V, F>) {
        self.bytes += entry.weight;
        match self.entries.get_mut(text) {
            Some(entries) => entries.push(entry),
            None => {
                self.entries.insert(text.into(), vec![entry]);
            }
        }
    }
}

impl<V: Clone, F: PartialEq + Clone> Cache<V, F> {
    /// A cache of at most `limit` bytes; 0 keeps nothing.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            epoch: 0,
            young: Generation::default(),
            old: Generation::default(),
            seen: HashSet::new(),
            hasher: RandomState::new(),
            hits: 0,
            misses: 0,
        }
    }

    /// What was put for this text and these facts. Another `epoch` than the last one (the rules
    /// have changed) forgets everything.
    pub fn get(&mut self, text: &[u8], facts: &F, epoch: u64) -> Option<V> {
        self.enter(epoch);
        let found = self.young.entries.get(text).and_then(|entries| {
            let entry = entries.iter().find(|entry| entry.facts == *facts)?;
            Some(entry.value.clone())
        });
        let found = found.or_else(|| {
            let entry = self.old.take(text, facts)?;
            let value = entry.value.clone();
            self.keep(text, entry);
            Some(value)
        });
        match found {
            Some(_) => self.hits += 1,
            None => self.misses += 1,
        }
        found
    }

    /// Keeps a value of about `weight` bytes, if the text has been put before or there is nothing
    /// against it. Says whether it is kept.
    pub fn put(&mut self, text: &[u8], facts: &F, epoch: u64, value: V, weight: usize) -> bool {
        self.enter(epoch);
        let weight = weight.saturating_add(text.len()).saturating_add(OVERHEAD);
        if text.len() > LONGEST_TEXT || weight > self.limit / 2 || !self.comes_again(text) {
            return false;
        }
        self.young.take(text, facts);
        self.old.take(text, facts);
        let facts = facts.clone();
        self.keep(
            text,
            Entry {
                facts,
                value,
                weight,
            },
        );
        true
    }

    /// Bytes kept, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.young.bytes + self.old.bytes
    }

    /// How many times [`Cache::get`] found something, and how many times nothing.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.hits, self.misses)
    }

    fn enter(&mut self, epoch: u64) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.young = Generation::default();
            self.old = Generation::default();
        }
    }

    fn comes_again(&mut self, text: &[u8]) -> bool {
        let hash = self.hasher.hash_one(text);
        if self.seen.remove(&hash) {
            return true;
        }
        if self.seen.len() >= SEEN_ONCE {
            self.seen.clear();
        }
        // A text that is kept under other facts is worth its second entry.
        if self.young.entries.contains_key(text) || self.old.entries.contains_key(text) {
            return true;
        }
        self.seen.insert(hash);
        false
    }

    fn keep(&mut self, text: &[u8], entry: Entry<V, F>) {
        if self.young.bytes + entry.weight > self.limit / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.put(text, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LargeDml, Switches, TransactionFacts};
    use super::*;
    use crate::config::schema::Dialect;

    fn facts() -> SessionFacts {
        SessionFacts {
            profile: Dialect::Compat,
            as_of: "2026-09".parse().unwrap(),
            switches: Switches::default(),
            transaction: TransactionFacts::default(),
            created: false,
            tenants: false,
        }
    }

    fn put(cache: &mut Cache<u32>, text: &str, value: u32) -> bool {
        cache.put(text.as_bytes(), &facts(), 0, value, 0);
        cache.put(text.as_bytes(), &facts(), 0, value, 0)
    }

    #[test]
    fn a_text_is_kept_when_it_comes_again() {
        let mut cache = Cache::new(1 << 20);
        assert_eq!(cache.get(b"a", &facts(), 0), None);
        assert!(!cache.put(b"a", &facts(), 0, 1, 0));
        assert_eq!(cache.get(b"a", &facts(), 0), None);
        assert!(cache.put(b"a", &facts(), 0, 1, 0));
        assert_eq!(cache.get(b"a", &facts(), 0), Some(1));
        assert_eq!(cache.counts(), (1, 2));
    }

    #[test]
    fn facts_and_epoch_are_part_of_the_key() {
        let mut cache = Cache::new(1 << 20);
        assert!(put(&mut cache, "a", 1));
        let mut others = [facts(), facts(), facts(), facts()];
        others[0].profile = Dialect::Strict;
        others[1].switches.large_dml = LargeDml::Batch;
        others[2].transaction.ddl = true;
        others[3].as_of = "2026-08".parse().unwrap();
        for (number, other) in others.iter().enumerate() {
            assert_eq!(cache.get(b"a", other, 0), None);
            assert!(cache.put(b"a", other, 0, 10 + number as u32, 0));
        }
        for (number, other) in others.iter().enumerate() {
            assert_eq!(cache.get(b"a", other, 0), Some(10 + number as u32));
        }
        assert_eq!(cache.get(b"a", &facts(), 0), Some(1));
        assert_eq!(cache.get(b"a", &facts(), 1), None);
        assert_eq!(cache.bytes(), 0);
    }

    #[test]
    fn bytes_are_bounded_and_what_is_asked_for_stays() {
        let limit = 64 * 1024;
        let mut cache = Cache::new(limit);
        assert!(put(&mut cache, "hot", 7));
        for number in 0..10_000 {
            put(&mut cache, &format!("SELECT {number}"), number);
            assert!(cache.bytes() <= limit, "{}", cache.bytes());
            assert_eq!(cache.get(b"hot", &facts(), 0), Some(7), "{number}");
        }
        assert_eq!(cache.get(b"SELECT 1", &facts(), 0), None);
        assert!(cache.seen.len() <= SEEN_ONCE);
        let long = "x".repeat(LONGEST_TEXT + 1);
        assert!(!put(&mut cache, &long, 1));
        assert!(!put(&mut Cache::new(0), "a", 1));
    }

    /// Another value for the same key takes the place of the first.
    #[test]
    fn a_value_can_be_put_again() {
        let mut cache = Cache::new(1 << 20);
        assert!(put(&mut cache, "a", 1));
        let bytes = cache.bytes();
        assert!(put(&mut cache, "a", 2));
        assert_eq!(
            (cache.get(b"a", &facts(), 0), cache.bytes()),
            (Some(2), bytes)
        );
    }
}
