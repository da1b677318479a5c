//! What was sent since the transaction began, and what the client has seen of the answers.

use crate::wire::frame::{self, HEADER};
use crate::wire::frontend;

use super::digest::Print;
use super::replay::Seen;

/// What is sent, as far as a repetition must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// It ends with a ReadyForQuery of its own: Query, FunctionCall, Sync.
    pub ends: bool,
    /// A simple Query or FunctionCall.
    pub simple: bool,
    /// May write or commit: its answers are kept until the ReadyForQuery.
    pub writes: bool,
    /// May begin a transaction block.
    pub begins: bool,
    /// Begins or ends a transaction or a part of it.
    pub controls: bool,
    /// Runs something else than a BEGIN.
    pub runs: bool,
    /// An extended message of the client, which an error may make the server skip along with what
    /// follows up to a Sync.
    pub skippable: bool,
    /// A BEGIN of the proxy's own; should it fail, the server skips a simple request behind it.
    pub own_begin: bool,
    /// Does what an abort does not undo: PREPARE, DEALLOCATE, a session's lock.
    pub outlives: bool,
    /// Runs a statement: Query, FunctionCall, Execute.
    pub executes: bool,
    /// Leaves nothing behind that a ROLLBACK TO would have to undo.
    pub quiet: bool,
    /// The client does not want its transaction to be repeated.
    pub opts_out: bool,
    /// Whether it succeeds does not matter.
    pub nobodys: bool,
}

/// How requests are run again whose answer would be another one, though nothing has changed.
#[derive(Debug, Clone, Copy)]
pub struct Rerun {
    /// Whether the answer of a request, given as its messages, has to be kept for that.
    pub needs: fn(&[u8]) -> bool,
    /// The messages that do and answer the same as these did, which were answered with those; `None`
    /// when these do so themselves, as far as is known.
    pub again: fn(&[u8], &[u8]) -> Option<Vec<u8>>,
    /// Whether messages that only read answer otherwise each time.
    pub varies: fn(&[u8]) -> bool,
}

/// Requests up to one ReadyForQuery.
#[derive(Debug, Default)]
pub(super) struct Segment {
    /// The bytes that were sent.
    pub sent: Vec<u8>,
    /// Its last request was sent.
    pub closed: bool,
    /// It ended with a simple request.
    pub simple: bool,
    /// Keep the answers to the end.
    pub writes: bool,
    /// It may begin a transaction block.
    pub begins: bool,
    /// It begins or ends a transaction or a part of it.
    pub controls: bool,
    /// Something else than a BEGIN is in it.
    pub runs: bool,
    /// A statement is run in it, be it a BEGIN.
    pub executes: bool,
    /// Something in it would have to be undone by a ROLLBACK TO.
    pub loud: bool,
    /// A BEGIN of the proxy's own is in it.
    pub own_begin: bool,
    /// Extended messages of the client are in it.
    pub skippable: bool,
    /// Answers have to go on as they come.
    pub streams: bool,
    /// A COMMIT among its statements took effect.
    pub committed: bool,
    /// The client has seen answers of it.
    pub delivered: bool,
    /// Types of the acknowledgements, notices and CopyInResponse that went on ahead of all else.
    pub shown: Vec<u8>,
    /// So many of these were dropped in a repetition.
    pub skip: usize,
    /// So often the server was ready for copy data, less the ends of such data that were sent: above
    /// zero, it waits for one.
    pub copies: i32,
    /// The client does not want its transaction to be repeated.
    pub opts_out: bool,
    /// Whether it succeeds does not matter.
    pub nobodys: bool,
    /// It cannot be sent again: too long to be kept, or it does what an abort does not undo.
    pub lost: bool,
    /// Of what the client saw; of a transaction block only.
    pub print: Option<Print>,
    /// What the client saw, if a second run would answer otherwise.
    pub answer: Vec<u8>,
    /// What the client has of the answers already; of a transaction of its own only.
    pub seen: Option<Seen>,
}

impl Segment {
    /// Memory it takes besides its bytes.
    pub const OVERHEAD: usize = size_of::<Self>();

    /// Memory it takes.
    pub fn weight(&self) -> usize {
        self.sent.len() + self.answer.len() + Self::OVERHEAD
    }

    /// Makes it ready to be sent again.
    pub fn reset(&mut self) {
        self.print = None;
        self.delivered = self.seen.is_some();
        self.skip = 0;
    }

    /// Takes out the Syncs that the server swallows: those ahead of the end of copy data. Without
    /// one behind it, more is to come.
    pub fn swallow_syncs(&mut self) {
        if self.lost {
            self.closed &= self.copies <= 0;
            return;
        }
        let mut ended = false;
        let mut at = 0;
        self.closed = false;
        while let Ok(Some(header)) = frame::frontend_header(self.sent.get(at..).unwrap_or_default())
        {
            ended |= matches!(header.tag, b'c' | b'f');
            self.closed |= ended && header.tag == b'S';
            if header.tag == b'S' && !ended {
                self.sent.drain(at..at + header.total);
            } else {
                at += header.total;
            }
        }
    }

    /// Whether a frame of this type, ahead of all results of a repetition, stands for one that the
    /// client has seen. A notice may come in one run and not in the other.
    pub fn was_shown(&mut self, tag: u8) -> bool {
        let Some(left) = self.shown.get(self.skip..).filter(|left| !left.is_empty()) else {
            return false;
        };
        let ahead = left
            .iter()
            .take_while(|shown| **shown == b'N' && tag != b'N')
            .count();
        match left.get(ahead) {
            Some(shown) if *shown == tag => {
                self.skip += ahead + 1;
                true
            }
            _ => tag == b'N',
        }
    }
}

/// Names of the statements that `segments` prepare. They outlive the abort, so they are closed before
/// their Parse is sent again.
pub(super) fn statements<'a>(segments: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    names(segments, b'P')
}

/// Names of the statements that `segments` close.
pub(super) fn closed_statements<'a>(segments: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    names(segments, b'C')
}

fn names<'a>(segments: impl Iterator<Item = &'a [u8]>, tag: u8) -> Vec<Vec<u8>> {
    let all = segments.flat_map(messages).filter_map(named);
    all.filter(|(found, _)| *found == tag)
        .map(|(_, name)| name.to_vec())
        .collect()
}

/// Names of the statements that are there when `segments` have been carried out.
pub(super) fn left_statements<'a>(segments: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = Vec::new();
    for segment in segments {
        for message in messages(segment) {
            match named(message) {
                Some((b'P', name)) => names.push(name.to_vec()),
                Some((_, name)) => names.retain(|known| known != name),
                None => {}
            }
        }
    }
    names
}

/// Whether `segments` fetch from a portal that was there before them. Not the unnamed one: whatever
/// else is run takes its place.
pub(super) fn fetches_from_earlier_portal<'a>(segments: impl Iterator<Item = &'a [u8]>) -> bool {
    let mut bound: Vec<&[u8]> = Vec::new();
    for segment in segments {
        for message in messages(segment) {
            let body = &message[HEADER..];
            match message[0] {
                b'B' => {
                    if let Ok(head) = frontend::bind_head(body) {
                        bound.push(head.portal);
                    }
                }
                b'E' => {
                    let fetches = |(portal, rows): (&[u8], _)| {
                        rows != 0 && !portal.is_empty() && !bound.contains(&portal)
                    };
                    if frontend::execute(body).is_ok_and(fetches) {
                        return true;
                    }
                }
                _ => {}
            }
        }
    }
    false
}

/// The whole messages among these bytes.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let header = frame::frontend_header(bytes).ok()??;
        let (message, rest) = bytes.split_at_checked(header.total)?;
        bytes = rest;
        Some(message)
    })
}

/// The statement with a name that a message prepares (`P`) or closes (`C`).
fn named(message: &[u8]) -> Option<(u8, &[u8])> {
    let body = &message[HEADER..];
    let name = match message[0] {
        b'P' => frontend::parse(body).ok()?.name,
        b'C' => match frontend::target(body).ok()? {
            (b'S', name) => name,
            _ => return None,
        },
        _ => return None,
    };
    (!name.is_empty()).then_some((message[0], name))
}

/// Closes statements; one ReadyForQuery answers, unless there are none.
pub(super) fn put_closes(out: &mut Vec<u8>, names: &[Vec<u8>]) {
    for name in names {
        frontend::put_close_statement(out, name);
    }
    if !names.is_empty() {
        frontend::put(out, b'S', &[]);
    }
}
