//! A statement whose answers were too long to be held: the client has a part of them when the
//! conflict comes.
//!
//! Run again alone it would commit before its answers are compared. So it is run inside BEGIN and
//! COMMIT of the proxy's own: first the part that the client has must come again, byte for byte; then
//! the rest goes on; then comes the COMMIT, and its outcome ends the answer. For requests that are
//! their own transaction only.

use super::{Action, Found, Outcome, Phase, READY, Reader, Replay, error_and_ready};
use crate::retry::digest::{Digest, Hasher};
use crate::retry::journal::Segment;
use crate::wire::backend::TransactionStatus;
use crate::wire::frontend;

/// The part of a request's answers that the client has.
#[derive(Debug, Clone)]
pub(in crate::retry) struct Seen {
    /// Bytes that count in the digest.
    count: u64,
    hasher: Hasher,
    /// So many bytes of its last frame are missing.
    cut: usize,
    /// That frame counts in the digest.
    cut_counts: bool,
}

/// A prefix that must come again.
#[derive(Debug)]
pub(super) struct Goal {
    count: u64,
    digest: Digest,
    /// Whether it came, once so many bytes have; and where it ends among the bytes at hand.
    reached: Option<(bool, usize)>,
}

impl Reader {
    /// Hashes a piece that counts, up to `end`, and looks whether the goal is reached within it.
    pub(super) fn hash(&mut self, piece: &[u8], end: usize) {
        let Some(hasher) = &mut self.hasher else {
            return;
        };
        let mut piece = piece;
        if let Some(goal) = self.goal.as_mut().filter(|goal| goal.reached.is_none()) {
            let left = usize::try_from(goal.count - self.counted).unwrap_or(usize::MAX);
            if let Some((first, rest)) = piece.split_at_checked(left) {
                hasher.update(first);
                self.counted += first.len() as u64;
                goal.reached = Some((hasher.finish() == goal.digest, end - rest.len()));
                piece = rest;
            }
        }
        hasher.update(piece);
        self.counted += piece.len() as u64;
    }
}

impl Replay {
    /// Notes what the client gets of the oldest request before its end.
    pub(super) fn note_seen(&mut self) {
        let Some(front) = self.flight.front_mut() else {
            return;
        };
        let (Some(hasher), true) = (&self.reader.hasher, front.is_resumable()) else {
            return;
        };
        front.seen = Some(Seen {
            count: self.reader.counted,
            hasher: hasher.clone(),
            cut: self.reader.pending,
            cut_counts: self.reader.counts,
        });
    }

    /// The answers of the oldest request begin to go on before their end.
    pub(super) fn prepare_to_show(&mut self, held: &[u8]) {
        let resumable = self
            .flight
            .front()
            .is_some_and(|front| !front.delivered && front.is_resumable());
        let wanted = self.limits.attempts > 0 && !self.is_opted_out();
        let begins = self.status == TransactionStatus::Idle && self.reader.hasher.is_none();
        if resumable && wanted && begins {
            self.reader.count_from_here(held);
        }
    }

    /// The oldest request can be run again although the client has a part of its answers.
    pub(super) fn can_resume(&self) -> bool {
        let front = self.flight.front();
        self.status == TransactionStatus::Idle
            && front.is_some_and(|front| front.seen.is_some() && front.is_resumable())
    }

    /// The frame that the client has a part of goes on to its end.
    pub(super) fn finish_frame(&mut self, held: &[u8]) -> usize {
        let front = self.flight.front_mut();
        let Some(seen) = front.and_then(|front| front.seen.as_mut()) else {
            return 0;
        };
        let cut = std::mem::take(&mut seen.cut);
        if cut > 0 {
            if seen.cut_counts {
                seen.hasher.update(&held[..cut]);
                seen.count += cut as u64;
            }
            self.actions.push_back(Action::Release(cut));
        }
        cut
    }

    /// The first step of running such a request again.
    pub(super) fn send_begin(&mut self) -> Action {
        self.phase = Phase::Opening;
        // As every simple request does.
        self.actions.push_back(Action::Forget(Vec::new()));
        let mut out = Vec::new();
        frontend::put_query(&mut out, b"BEGIN");
        Action::Send(out)
    }

    pub(super) fn open(&mut self, held: &[u8]) -> Action {
        match self.skip_to_ready(held) {
            Err(action) => action,
            Ok((count, status)) => {
                self.actions.push_back(Action::Drop(count));
                self.status = status;
                if status == TransactionStatus::Open {
                    self.send_again();
                } else {
                    self.give_up(Outcome::Diverged, Some(1));
                }
                self.next()
            }
        }
    }

    fn send_again(&mut self) {
        let Some(front) = self.flight.front_mut() else {
            self.actions.push_back(Action::Lost);
            return;
        };
        front.reset();
        if let Some(seen) = &front.seen {
            self.reader.goal = Some(Goal {
                count: seen.count,
                digest: seen.hasher.finish(),
                reached: None,
            });
        }
        self.reader.begin_digest();
        self.phase = Phase::Matching;
        self.actions.push_back(Action::Send(front.sent.clone()));
    }

    /// What the client has must come again.
    pub(super) fn match_seen(&mut self, held: &[u8]) -> Action {
        loop {
            let found = self.reader.step(held);
            let reached = self.reader.goal.as_ref().and_then(|goal| goal.reached);
            match (found, reached) {
                (Found::Garbage, _) => return self.give_in(held),
                (found, Some((true, end))) if !self.reader.failed && !self.reader.conflict => {
                    self.reader.examined -= end;
                    self.reader.goal = None;
                    self.phase = Phase::Resumed;
                    self.actions.push_back(Action::Drop(end));
                    // Looked at again behind the drop.
                    if let Found::Ready(_) = found {
                        self.reader.examined -= READY;
                    }
                    return self.next();
                }
                (Found::Ready(status), _) => return self.mismatched(status),
                (Found::Frame(_), _) => {}
                (Found::Nothing, _) => {
                    let count = std::mem::take(&mut self.reader.examined);
                    if count > 0 {
                        self.actions.push_back(Action::Drop(count));
                    }
                    return self.next();
                }
            }
        }
    }

    fn mismatched(&mut self, status: TransactionStatus) -> Action {
        let count = std::mem::take(&mut self.reader.examined);
        self.actions.push_back(Action::Drop(count));
        self.again_or_diverged(status);
        self.next()
    }

    /// The repetition stops in the transaction block of the proxy's own.
    fn again_or_diverged(&mut self, status: TransactionStatus) {
        self.status = status;
        let conflict = std::mem::take(&mut self.reader.conflict);
        self.forget_answers();
        if conflict {
            self.investigate();
            self.again_or_give_up();
        } else {
            self.give_up(Outcome::Diverged, Some(1));
        }
    }

    fn forget_answers(&mut self) {
        self.reader.begin_request();
        self.reader.digest();
        self.reader.goal = None;
        self.reader.conflict = false;
        self.reader.failed = false;
        self.reader.committed = false;
    }

    /// The rest of the answers; the end of them is kept until it is committed.
    pub(super) fn resume(&mut self, held: &[u8]) -> Action {
        loop {
            match self.reader.step(held) {
                Found::Garbage => return self.give_in(held),
                Found::Frame(tag) => self.reader.completed = tag == b'C',
                Found::Ready(status) => return self.end_resumed(held, status),
                Found::Nothing => {
                    let full = self.reader.examined > self.limits.hold_bytes;
                    let ends = self.reader.completed || self.reader.conflict || self.reader.failed;
                    if !full || ends {
                        return self.next();
                    }
                    return self.release();
                }
            }
        }
    }

    fn end_resumed(&mut self, held: &[u8], status: TransactionStatus) -> Action {
        let count = std::mem::take(&mut self.reader.examined);
        let cut = self.finish_frame(held);
        self.actions.push_back(Action::Drop(count - cut));
        if self.reader.conflict {
            self.again_or_diverged(status);
            return self.next();
        }
        self.tail = held[cut..count - READY].to_vec();
        self.status = status;
        let commits = status == TransactionStatus::Open;
        self.forget_answers();
        self.phase = Phase::Ending { commits };
        let mut out = Vec::new();
        frontend::put_query(&mut out, if commits { b"COMMIT" } else { b"ROLLBACK" });
        self.actions.push_back(Action::Send(out));
        self.next()
    }

    /// The transaction's end is answered.
    pub(super) fn end(&mut self, held: &[u8], commits: bool) -> Action {
        loop {
            match self.reader.step(held) {
                Found::Garbage => return self.give_in(held),
                Found::Frame(_) => {}
                Found::Nothing => return self.next(),
                Found::Ready(status) => {
                    let count = std::mem::take(&mut self.reader.examined);
                    self.actions.push_back(Action::Drop(count));
                    self.ended(&held[..count], status, commits);
                    return self.next();
                }
            }
        }
    }

    fn ended(&mut self, frames: &[u8], status: TransactionStatus, commits: bool) {
        if status != TransactionStatus::Idle {
            self.actions.push_back(Action::Lost);
            return;
        }
        if self.reader.conflict {
            self.tail.clear();
            self.again_or_diverged(status);
            return;
        }
        let failed = self.reader.failed || !commits;
        self.forget_answers();
        self.phase = Phase::Watching;
        self.original = None;
        self.status = status;
        self.actions.push_back(Action::Tell(Outcome::Repeated));
        let mut answer = std::mem::take(&mut self.tail);
        answer.extend(error_and_ready(frames));
        self.actions.push_back(Action::Inject(answer));
        if let Some(front) = self.flight.pop_front() {
            self.settle(front, status, failed);
        }
    }
}

impl Segment {
    /// A transaction of its own, which leaves the place of its COMMIT to the proxy.
    pub(in crate::retry) fn is_resumable(&self) -> bool {
        self.writes
            && self.closed
            && self.shown.is_empty()
            && !(self.controls || self.begins || self.own_begin || self.copies != 0 || self.lost)
    }
}
