//! Who waits for whom: a circle would wait for ever.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Those who wait for locks of others, over all workers of the process.
#[derive(Debug, Default)]
pub struct Waits(Mutex<HashMap<String, Vec<String>>>);

impl Waits {
    fn with<T>(&self, act: impl FnOnce(&mut HashMap<String, Vec<String>>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// `who` waits for all of `others`. False when one of them, in the end, waits for `who`: then it does
    /// not wait, and the others may go on.
    #[must_use]
    pub fn begin(&self, who: &str, others: Vec<String>) -> bool {
        self.with(|all| {
            let mut ahead = others.clone();
            let mut seen: Vec<String> = Vec::new();
            while let Some(next) = ahead.pop() {
                if next == who {
                    all.remove(who);
                    return false;
                }
                if !seen.contains(&next) {
                    ahead.extend(all.get(&next).into_iter().flatten().cloned());
                    seen.push(next);
                }
            }
            all.insert(who.to_owned(), others);
            true
        })
    }

    /// `who` does not wait any more.
    pub fn end(&self, who: &str) {
        self.with(|all| all.remove(who));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_is_found_by_the_one_that_closes_it() {
        let waits = Waits::default();
        let on = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        assert!(waits.begin("a", on(&["b"])));
        assert!(waits.begin("b", on(&["c", "d"])));
        assert!(waits.begin("c", on(&["d"])));
        assert!(!waits.begin("d", on(&["x", "a"])));
        assert!(waits.begin("d", on(&["x"])));
        waits.end("b");
        assert!(waits.begin("d", on(&["a"])));
        assert!(!waits.begin("b", on(&["d"])));
    }
}
