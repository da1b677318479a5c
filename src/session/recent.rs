//! The client's requests that are not answered in full, so that they can be taken once more when
//! their connection is lost.

use std::collections::VecDeque;

use crate::sql::redact;
use crate::wire::frame::{self, HEADER};
use crate::wire::frontend;

/// Bytes kept at most.
const LIMIT: usize = 64 * 1024;

/// Memory kept for the next request, in bytes at most.
const SPARE: usize = 1024;

/// Characters of a statement that are logged.
const SHOWN: usize = 100;

/// Frames of the client that were sent upstream, oldest first.
#[derive(Debug, Default)]
pub(super) struct Recent {
    bytes: Vec<u8>,
    /// Lengths of the requests that are complete: those that end with a ReadyForQuery.
    closed: VecDeque<usize>,
    /// Bytes behind them.
    open: usize,
    /// Something was too long to be kept.
    lost: bool,
}

impl Recent {
    /// Notes bytes of a frame.
    pub fn note(&mut self, bytes: &[u8]) {
        if self.lost {
            return;
        }
        if self.bytes.len() + bytes.len() > LIMIT {
            self.lose();
            return;
        }
        self.bytes.extend_from_slice(bytes);
        self.open += bytes.len();
    }

    /// The frame noted last ends a request.
    pub fn close(&mut self) {
        self.closed.push_back(std::mem::take(&mut self.open));
    }

    /// Keeps nothing before everything is answered.
    pub fn lose(&mut self) {
        self.lost = true;
        self.bytes = Vec::new();
    }

    /// The oldest request was answered in full.
    pub fn answered(&mut self) {
        let length = self.closed.pop_front().unwrap_or(0);
        if self.closed.is_empty() && self.open == 0 {
            self.clear();
        } else if !self.lost {
            self.bytes.drain(..length.min(self.bytes.len()));
        }
    }

    /// Nothing is under way.
    pub fn clear(&mut self) {
        self.closed.clear();
        self.open = 0;
        self.lost = false;
        self.bytes.clear();
        if self.bytes.capacity() > SPARE {
            self.bytes = Vec::new();
        }
    }

    /// Everything that is not answered is kept.
    pub fn is_whole(&self) -> bool {
        !self.lost
    }

    /// Takes out everything.
    pub fn take(&mut self) -> Vec<u8> {
        let bytes = std::mem::take(&mut self.bytes);
        self.clear();
        bytes
    }

    /// Takes out everything but the oldest request.
    pub fn take_rest(&mut self) -> Vec<u8> {
        let first = self.closed.front().copied().unwrap_or(self.open);
        let mut bytes = self.take();
        bytes.drain(..first.min(bytes.len()));
        bytes
    }

    /// What the last statement among them begins with, without its constants; `named` gives the
    /// text of a prepared statement.
    pub fn describe(&self, named: impl Fn(&[u8]) -> Option<Vec<u8>>) -> String {
        let mut last = None;
        let mut rest = self.bytes.as_slice();
        while let Ok(Some(header)) = frame::frontend_header(rest) {
            let body = &rest[HEADER..header.total.min(rest.len())];
            let text = match header.tag {
                b'Q' => frontend::query(body).ok().map(<[u8]>::to_vec),
                b'P' => frontend::parse(body).ok().map(|parse| parse.text.to_vec()),
                b'B' => frontend::bind_head(body)
                    .ok()
                    .and_then(|head| named(head.statement)),
                _ => None,
            };
            last = text.or(last);
            rest = rest.get(header.total..).unwrap_or_default();
        }
        match last {
            Some(text) => redact(&text, SHOWN),
            None if self.lost => "(too long to be kept)".to_owned(),
            None => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_leave_in_their_order() {
        let mut recent = Recent::default();
        for text in ["one", "two", "three"] {
            recent.note(text.as_bytes());
            recent.close();
        }
        recent.note(b"open");
        recent.answered();
        assert_eq!(recent.take_rest(), b"threeopen");
        assert!(recent.is_whole() && recent.take().is_empty());
        recent.note(b"open");
        assert_eq!(recent.take_rest(), b"");
    }

    #[test]
    fn what_is_too_long_is_not_kept_until_it_is_answered() {
        let mut recent = Recent::default();
        recent.note(b"one");
        recent.close();
        recent.note(&vec![0; LIMIT]);
        recent.close();
        recent.answered();
        recent.note(b"two");
        assert!(!recent.is_whole());
        recent.close();
        recent.answered();
        recent.answered();
        assert!(recent.is_whole());
        recent.note(b"three");
        assert_eq!(recent.take(), b"three");
    }

    #[test]
    fn a_statement_is_described_without_its_constants() {
        let mut recent = Recent::default();
        let mut out = Vec::new();
        frontend::put_query(&mut out, b"insert into t values ('secret', 42)");
        recent.note(&out);
        assert_eq!(recent.describe(|_| None), "insert into t values (?, ?)");
    }
}
