//! The rows of a SQL cursor that outlives its transaction or goes backward: they are kept here.

use std::ops::Range;

use pg_query::protobuf::FetchDirection;

use crate::wire::frontend;

/// Rows of a session's cursors may take so many bytes, all together.
pub(super) const BYTES: usize = 32 * 1024 * 1024;

/// `FETCH_ALL` of PostgreSQL.
pub(super) const ALL: i64 = i64::MAX;

/// A result that was read to its end.
#[derive(Debug, Default)]
pub(super) struct Spool {
    /// Body of its RowDescription.
    pub description: Vec<u8>,
    /// DataRow frames.
    frames: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
    /// 0 is ahead of the first row, one more than there are behind the last.
    position: usize,
    /// It goes forward only.
    pub forward: bool,
    /// All rows are there.
    pub complete: bool,
    /// They were too many bytes, and are not kept.
    pub overflow: bool,
}

/// Rows that a FETCH gives, by their numbers from 0, in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    Forward(Range<usize>),
    Backward(Range<usize>),
    /// It would go backward, and cannot.
    Refused,
}

impl Spool {
    pub fn new(forward: bool) -> Self {
        Self {
            forward,
            ..Self::default()
        }
    }

    /// Bytes of rows.
    pub fn size(&self) -> usize {
        self.frames.len()
    }

    /// Takes bytes of a DataRow: the first of a frame, or more of it.
    pub fn put(&mut self, bytes: &[u8], begins: bool, room: usize) {
        if self.overflow || bytes.len() > room {
            *self = Self {
                overflow: true,
                ..Self::default()
            };
            return;
        }
        self.frames.extend_from_slice(bytes);
        match self.ends.last_mut() {
            Some(last) if !begins => *last = self.frames.len(),
            _ => self.ends.push(self.frames.len()),
        }
    }

    /// Moves as FETCH and MOVE do, and tells which rows are passed.
    ///
    /// Source: PostgreSQL manual, FETCH.
    pub fn go(&mut self, direction: FetchDirection, count: i64) -> Found {
        let rows = self.ends.len();
        let (forward, count) = match direction {
            FetchDirection::FetchBackward => (false, count),
            FetchDirection::FetchAbsolute => return self.go_to(absolute(count, rows)),
            FetchDirection::FetchRelative if count == 0 => (true, 0),
            FetchDirection::FetchRelative => {
                let here = i64::try_from(self.position).unwrap_or(i64::MAX);
                return self.go_to(here.saturating_add(count));
            }
            _ => (true, count),
        };
        let (forward, count) = match count {
            count if count < 0 => (!forward, count.unsigned_abs()),
            count => (forward, count.unsigned_abs()),
        };
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count == 0 {
            // The row where it stands, once more.
            return match self.position {
                at if at >= 1 && at <= rows => Found::Forward(at - 1..at),
                _ => Found::Forward(0..0),
            };
        }
        if forward {
            let start = self.position.min(rows);
            let end = start.saturating_add(count).min(rows);
            let past = count > end - start;
            self.position = if past { rows + 1 } else { end };
            return Found::Forward(start..end);
        }
        if self.forward {
            return Found::Refused;
        }
        let end = self.position.saturating_sub(1);
        let start = end.saturating_sub(count);
        self.position = match count > end - start {
            true => 0,
            false => start + 1,
        };
        Found::Backward(start..end)
    }

    /// Goes to the row of this number, from 1.
    fn go_to(&mut self, number: i64) -> Found {
        let rows = self.ends.len();
        let to = usize::try_from(number.max(0)).unwrap_or(usize::MAX);
        if self.forward && to < self.position {
            return Found::Refused;
        }
        self.position = to.min(rows + 1);
        match to {
            to if to >= 1 && to <= rows => Found::Forward(to - 1..to),
            _ => Found::Forward(0..0),
        }
    }

    /// Appends these rows.
    pub fn put_rows(&self, found: &Found, out: &mut Vec<u8>) -> usize {
        let start = |at: usize| match at {
            0 => 0,
            at => self.ends.get(at - 1).copied().unwrap_or(0),
        };
        match found {
            Found::Refused => 0,
            Found::Forward(rows) => {
                let frames = self.frames.get(start(rows.start)..start(rows.end));
                out.extend_from_slice(frames.unwrap_or_default());
                rows.len()
            }
            Found::Backward(rows) => {
                for at in rows.clone().rev() {
                    let frame = self.frames.get(start(at)..start(at + 1));
                    out.extend_from_slice(frame.unwrap_or_default());
                }
                rows.len()
            }
        }
    }

    /// Number of rows that are passed.
    pub fn count(found: &Found) -> usize {
        match found {
            Found::Refused => 0,
            Found::Forward(rows) | Found::Backward(rows) => rows.len(),
        }
    }

    /// Appends what describes the rows.
    pub fn put_description(&self, out: &mut Vec<u8>) {
        match self.description.is_empty() {
            true => frontend::put(out, b'n', &[]),
            false => frontend::put(out, b'T', &[&self.description]),
        }
    }
}

fn absolute(count: i64, rows: usize) -> i64 {
    let rows = i64::try_from(rows).unwrap_or(i64::MAX);
    match count {
        count if count < 0 => rows.saturating_add(1).saturating_add(count),
        count => count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use FetchDirection::{FetchAbsolute, FetchBackward, FetchForward, FetchRelative};

    fn spool(rows: u8, forward: bool) -> Spool {
        let mut spool = Spool::new(forward);
        for row in 1..=rows {
            spool.put(&[row], true, BYTES);
            spool.put(b".", false, BYTES);
        }
        spool
    }

    /// Of three rows; as a server gives them that has the cursor itself.
    #[test]
    fn a_cursor_goes_as_in_postgresql() {
        let script = [
            (FetchBackward, 1, ""),
            (FetchForward, 1, "1"),
            (FetchForward, 0, "1"),
            (FetchForward, ALL, "23"),
            (FetchForward, 1, ""),
            (FetchForward, 0, ""),
            (FetchBackward, 1, "3"),
            (FetchBackward, ALL, "21"),
            (FetchForward, 2, "12"),
            (FetchRelative, 1, "3"),
            (FetchRelative, -2, "1"),
            (FetchAbsolute, 2, "2"),
            (FetchAbsolute, -1, "3"),
            (FetchRelative, 0, "3"),
            (FetchRelative, 5, ""),
            (FetchBackward, 2, "32"),
            (FetchForward, -1, "1"),
            (FetchAbsolute, 0, ""),
            (FetchForward, 3, "123"),
            (FetchBackward, 1, "2"),
            (FetchForward, 9, "3"),
            (FetchAbsolute, -9, ""),
            (FetchForward, 1, "1"),
        ];
        let mut spool = spool(3, false);
        for (number, (direction, count, expected)) in script.into_iter().enumerate() {
            let found = spool.go(direction, count);
            let mut out = Vec::new();
            assert_eq!(spool.put_rows(&found, &mut out), expected.len());
            let shown: String = out
                .chunks(2)
                .map(|frame| char::from(b'0' + frame[0]))
                .collect();
            assert_eq!(shown, expected, "step {number}");
        }
    }

    #[test]
    fn one_without_scroll_goes_forward() {
        let mut spool = spool(3, true);
        assert_eq!(spool.go(FetchForward, 2), Found::Forward(0..2));
        assert_eq!(spool.go(FetchBackward, 1), Found::Refused);
        assert_eq!(spool.go(FetchAbsolute, 1), Found::Refused);
        assert_eq!(spool.go(FetchAbsolute, 3), Found::Forward(2..3));
    }

    #[test]
    fn too_many_bytes_are_not_kept() {
        let mut spool = spool(3, false);
        spool.put(b"more", true, 3);
        assert!(spool.overflow && spool.size() == 0);
        spool.put(b"m", true, 3);
        assert_eq!(spool.size(), 0);
    }
}
