//! A value that requests change when they are sent, before it is known whether the server carries
//! them out.

use std::collections::VecDeque;

/// What a value will be, and how it got there. Requests that are skipped do not change it: each
/// change can be taken back alone, whatever was sent behind it.
#[derive(Debug, Default)]
pub(super) struct Tentative<T> {
    /// Where the changes begin.
    decided: T,
    /// Oldest first.
    changes: VecDeque<(u64, T)>,
    next: u64,
}

impl<T> Tentative<T> {
    /// The value behind everything that was sent.
    pub fn get(&self) -> &T {
        self.changes
            .back()
            .map_or(&self.decided, |(_, value)| value)
    }

    /// A request was sent that gives it another value; returns the number of the change.
    pub fn change(&mut self, value: T) -> u64 {
        self.next += 1;
        self.changes.push_back((self.next, value));
        self.next
    }

    /// The server did it; all earlier requests have been answered then.
    pub fn keep(&mut self, number: u64) {
        if let Some(at) = self.position(number)
            && let Some((_, value)) = self.changes.drain(..=at).next_back()
        {
            self.decided = value;
        }
    }

    /// The server skipped the request.
    pub fn undo(&mut self, number: u64) {
        if let Some(at) = self.position(number) {
            self.changes.remove(at);
        }
    }

    /// The server did something else than was expected of the change.
    pub fn decide(&mut self, number: u64, value: T) {
        if let Some(at) = self.position(number) {
            self.changes.drain(..=at);
            self.decided = value;
        }
    }

    /// Whatever became of earlier requests, it has this value now.
    pub fn settle(&mut self, value: T) {
        self.changes.clear();
        self.decided = value;
    }

    fn position(&self, number: u64) -> Option<usize> {
        self.changes.iter().position(|(known, _)| *known == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipped_changes_leave_the_others_alone() {
        let mut value = Tentative::default();
        let a = value.change("a");
        let b = value.change("b");
        let c = value.change("c");
        value.keep(a);
        value.undo(b);
        assert_eq!(*value.get(), "c");
        value.undo(c);
        assert_eq!(*value.get(), "a", "not what was skipped in between");
        value.undo(a);
        assert_eq!(*value.get(), "a", "what was kept stays");
    }

    #[test]
    fn what_is_settled_is_not_taken_back() {
        let mut value = Tentative::default();
        let a = value.change("a");
        value.settle("b");
        value.undo(a);
        value.keep(a);
        assert_eq!(*value.get(), "b");
        let c = value.change("c");
        let d = value.change("d");
        value.decide(c, "failed");
        assert_eq!(*value.get(), "d");
        value.undo(d);
        assert_eq!(*value.get(), "failed");
    }
}
