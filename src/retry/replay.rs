//! The state machine: watch, repeat, verify, or give the error on.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rand::Rng;

use crate::wire::backend::{TransactionStatus, error_fields};
use crate::wire::frame::{self, HEADER};
use crate::wire::frontend;
use crate::wire::reply::ClientError;
use crate::wire::sqlstate;

use super::budget::Budget;
use super::journal::{Digest, Segment, Sent, close_statements};

/// As much of an ErrorResponse is read at most, in bytes.
const LOOK_AT: usize = 64 * 1024;

/// Longest pause before the first repetition; doubled for each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// Longest pause of all.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// What the tag of a COMMIT begins with; that of one that rolled back is ROLLBACK.
const COMMIT: &[u8] = b"COMMIT";

/// Memory kept for the next request, in bytes at most.
const SPARE: usize = 1024;

/// A statement that no server takes: it fails the transaction it is sent in.
const FAILING: &[u8] = b"dsqlproxy: transaction failed";

/// How far repeating goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Repetitions of one transaction at most; 0 turns repeating off.
    pub attempts: u32,
    /// Answers of a request that may write are kept up to this many bytes.
    pub hold_bytes: usize,
    /// Requests of a transaction are kept up to this many bytes.
    pub journal_bytes: usize,
}

/// What the session has to do next, in the order given.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// So many of the bytes looked at may go on.
    Release(usize),
    /// So many of the bytes looked at are dropped.
    Drop(usize),
    /// Send this upstream; it is not noted again.
    Send(Vec<u8>),
    /// Wait so long before looking again.
    Wait(Duration),
    /// Take these bytes for what the upstream answered.
    Inject(Vec<u8>),
    /// How repeating ended: for the counters.
    Tell(Outcome),
    /// Nothing before more bytes arrive.
    More,
}

/// How a transaction that met a conflict ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Repeated and committed, or repeated and gone on.
    Repeated,
    /// What the client had seen came out otherwise.
    Diverged,
    /// All attempts met conflicts.
    Exhausted,
    /// Too many repetitions for the number of commits.
    Budget,
    /// It could not be repeated: too long, or answers of its last request had gone out.
    Ineligible,
}

impl Outcome {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 5] = [
        Self::Repeated,
        Self::Diverged,
        Self::Exhausted,
        Self::Budget,
        Self::Ineligible,
    ];

    /// Label of metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Repeated => "repeated",
            Self::Diverged => "diverged",
            Self::Exhausted => "exhausted",
            Self::Budget => "budget",
            Self::Ineligible => "ineligible",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The client's requests run for the first time, or the last of them runs again.
    Watching,
    /// So many ReadyForQuery are due for what makes the repetition possible.
    Clearing(usize),
    /// Requests answered earlier run again; this one is answered next.
    Verifying(usize),
    /// So many ReadyForQuery are due before the first error can be given on.
    Undoing(usize),
}

/// What went wrong in a repetition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Conflict,
    /// The number of the statement that was answered otherwise, from 1; BEGIN is not counted.
    Differs(usize),
}

/// The error that started it, to be given on should repeating not help.
#[derive(Debug)]
struct Original {
    frames: Vec<u8>,
    status: TransactionStatus,
}

/// Where the reader stands within the bytes that are held.
#[derive(Debug)]
struct Reader {
    /// Held bytes that were looked at.
    examined: usize,
    /// Bytes of the frame at hand that have not come yet.
    pending: usize,
    /// The frame at hand counts in the digest.
    counts: bool,
    hasher: Option<Box<blake3::Hasher>>,
    /// Only frames that say nothing were read since the request.
    acknowledges: bool,
    /// How many of these are held.
    frames: usize,
    /// A COMMIT was read: what stands before it has taken effect.
    committed: bool,
    /// A 40001 was read.
    conflict: bool,
    /// Another error was read.
    failed: bool,
}

/// What a step of the reader found.
enum Found {
    /// The bytes at hand are used up.
    Nothing,
    /// A whole frame, or the head of a long one.
    Frame(u8),
    /// ReadyForQuery.
    Ready(TransactionStatus),
    /// What came is not the protocol; the session will see.
    Garbage,
}

/// The repetition of one session's transactions on one connection.
#[derive(Debug)]
pub struct Replay {
    limits: Limits,
    budget: Rc<Budget>,
    /// Answered requests of the open transaction.
    done: Vec<Segment>,
    /// Requests not answered in full, oldest first.
    flight: VecDeque<Segment>,
    /// Status of the last ReadyForQuery.
    status: TransactionStatus,
    /// Nothing is watched before the connection is given back.
    off: bool,
    /// The open transaction cannot be repeated.
    lost: bool,
    attempts: u32,
    phase: Phase,
    trouble: Option<Trouble>,
    original: Option<Original>,
    reader: Reader,
    actions: VecDeque<Action>,
    /// Memory of an earlier request, for the next.
    spare: Vec<u8>,
}

impl Replay {
    /// For a session of a pool with this budget.
    #[must_use]
    pub fn new(limits: Limits, budget: Rc<Budget>) -> Self {
        Self {
            limits,
            budget,
            done: Vec::new(),
            flight: VecDeque::new(),
            status: TransactionStatus::Idle,
            off: false,
            lost: false,
            attempts: 0,
            phase: Phase::Watching,
            trouble: None,
            original: None,
            reader: Reader::default(),
            actions: VecDeque::new(),
            spare: Vec::new(),
        }
    }

    /// Begins anew for another connection.
    pub fn reset(&mut self) {
        *self = Self::new(self.limits, Rc::clone(&self.budget));
    }

    /// A repetition is under way: nothing of the client may be sent.
    #[must_use]
    pub fn is_repeating(&self) -> bool {
        self.original.is_some()
    }

    /// The request that commits has not been sent again yet, so nothing is committed.
    #[must_use]
    pub fn is_before_commit(&self) -> bool {
        self.phase != Phase::Watching
    }

    /// No further repetition of this transaction.
    pub fn stop(&mut self) {
        self.attempts = self.limits.attempts;
    }

    /// Notes a request.
    pub fn note(&mut self, bytes: &[u8], sent: Sent) {
        if self.flight.back().is_none_or(|segment| segment.closed) {
            self.flight.push_back(Segment {
                sent: std::mem::take(&mut self.spare),
                ..Segment::default()
            });
        }
        self.note_rest(bytes);
        if let Some(segment) = self.flight.back_mut() {
            // Whether a simple request behind extended ones without a Sync is answered depends on
            // these: no telling which ReadyForQuery is whose.
            self.off |= sent.simple && segment.skippable;
            segment.skippable |= sent.skippable;
            segment.closed |= sent.ends;
            segment.simple |= sent.simple;
            segment.writes |= sent.writes;
            segment.begins |= sent.begins;
            segment.runs |= sent.runs;
        }
    }

    /// Notes bytes that belong to the request before: the rest of a long one, copy data.
    pub fn note_rest(&mut self, bytes: &[u8]) {
        let kept: usize = self.done.iter().map(|segment| segment.sent.len()).sum();
        let Some(segment) = self.flight.back_mut() else {
            return;
        };
        if segment.lost {
            return;
        }
        segment.sent.extend_from_slice(bytes);
        if kept + segment.sent.len() > self.limits.journal_bytes {
            segment.lost = true;
            segment.sent = Vec::new();
        }
    }

    /// The client wants what is there.
    pub fn flush(&mut self, bytes: &[u8]) {
        self.note_rest(bytes);
        if let Some(segment) = self.flight.back_mut() {
            segment.streams = true;
        }
    }

    /// Looks at what came and is held; to be called until it says [`Action::More`].
    pub fn look(&mut self, held: &[u8]) -> Action {
        if let Some(action) = self.actions.pop_front() {
            return action;
        }
        if self.off {
            self.reader.examined = 0;
            return all(held);
        }
        match self.phase {
            Phase::Watching => self.watch(held),
            Phase::Clearing(due) => self.clear(held, due),
            Phase::Verifying(next) => self.verify(held, next),
            Phase::Undoing(due) => self.undo(held, due),
        }
    }

    // ---- the first run ---------------------------------------------------------------------

    fn watch(&mut self, held: &[u8]) -> Action {
        if self.flight.is_empty() {
            return all(held);
        }
        loop {
            let found = self.reader.step(held);
            let Some(front) = self.flight.front_mut() else {
                return all(held);
            };
            match found {
                Found::Garbage => {
                    front.streams = true;
                    self.reader.examined = 0;
                    return all(held);
                }
                Found::Ready(status) => return self.answered(held, status),
                Found::Frame(tag) => {
                    if front.digest.is_none()
                        && self.reader.hasher.is_none()
                        && (front.begins || self.status == TransactionStatus::Open)
                    {
                        self.reader.count_from_here(held);
                    }
                    if let Some(action) = self.acknowledged(tag) {
                        return action;
                    }
                    let Some(front) = self.flight.front_mut() else {
                        return all(held);
                    };
                    front.streams |= !front.writes && is_result(tag) || self.reader.failed;
                }
                Found::Nothing => {
                    front.streams |= self.reader.examined > self.limits.hold_bytes;
                    if front.streams && !self.reader.conflict {
                        return self.release();
                    }
                    return Action::More;
                }
            }
        }
    }

    /// Notices are not kept waiting, and the client sends its copy data only when it has seen
    /// CopyInResponse. Ahead of any result they say nothing that a repetition could say otherwise, so
    /// they go on, and a repetition drops as many.
    fn acknowledged(&mut self, tag: u8) -> Option<Action> {
        let says_nothing = matches!(tag, b'1' | b'2' | b'3' | b'n' | b'N' | b'G');
        self.reader.acknowledges &= says_nothing;
        self.reader.frames += 1;
        let front = self.flight.front_mut()?;
        // Behind a result they take it along.
        front.streams |= !self.reader.acknowledges && matches!(tag, b'N' | b'G');
        if !self.reader.acknowledges || self.reader.pending > 0 || front.streams {
            return None;
        }
        if front.skip > 0 {
            front.skip -= 1;
            self.reader.frames = 0;
            return Some(Action::Drop(std::mem::take(&mut self.reader.examined)));
        }
        if !matches!(tag, b'N' | b'G') {
            return None;
        }
        front.shown += std::mem::take(&mut self.reader.frames);
        // The server swallows a Sync that was sent ahead of copy data.
        front.closed &= front.simple || tag != b'G';
        Some(Action::Release(std::mem::take(&mut self.reader.examined)))
    }

    /// What was looked at goes on.
    fn release(&mut self) -> Action {
        let count = std::mem::take(&mut self.reader.examined);
        if count == 0 {
            return Action::More;
        }
        if let Some(front) = self.flight.front_mut() {
            front.delivered = true;
        }
        Action::Release(count)
    }

    /// The oldest request was answered in full.
    fn answered(&mut self, held: &[u8], status: TransactionStatus) -> Action {
        self.reader.begin_request();
        let count = std::mem::take(&mut self.reader.examined);
        let conflict = std::mem::take(&mut self.reader.conflict);
        let failed = std::mem::take(&mut self.reader.failed);
        let committed = std::mem::take(&mut self.reader.committed);
        let digest = self.reader.digest();
        if let Some(front) = self.flight.front_mut() {
            front.committed = committed;
        }
        if conflict {
            return self.conflict(&held[..count], status);
        }
        let repeated = self.original.take().is_some();
        if repeated {
            self.actions.push_back(Action::Tell(Outcome::Repeated));
        }
        if let Some(mut front) = self.flight.pop_front() {
            front.digest = digest;
            self.settle(front, status, failed);
        }
        Action::Release(count)
    }

    fn settle(&mut self, mut front: Segment, status: TransactionStatus, failed: bool) {
        let was = std::mem::replace(&mut self.status, status);
        match status {
            TransactionStatus::Idle => {
                if !failed && (front.writes || was == TransactionStatus::Open) {
                    self.budget.commit(Instant::now());
                }
                self.done.clear();
                self.lost = false;
                self.attempts = 0;
                if front.sent.capacity() <= SPARE {
                    front.sent.clear();
                    self.spare = front.sent;
                }
            }
            TransactionStatus::Open => {
                // A transaction that began behind a COMMIT of the same request cannot be sent alone.
                self.lost |= front.lost || front.committed || front.digest.is_none();
                front.delivered = true;
                if self.lost {
                    self.done.clear();
                } else {
                    self.done.push(front);
                }
            }
            // An error dooms the transaction: the client must roll back.
            TransactionStatus::Failed => {
                self.lost = true;
                self.done.clear();
            }
        }
    }

    // ---- after a conflict ------------------------------------------------------------------

    fn conflict(&mut self, frames: &[u8], status: TransactionStatus) -> Action {
        let count = frames.len();
        let ineligible = self.lost
            || self.flight.len() != 1
            || self.flight.front().is_none_or(|front| {
                front.lost || front.delivered || front.committed || !front.closed
            });
        if ineligible {
            self.original = None;
            self.actions.push_back(Action::Tell(Outcome::Ineligible));
            if let Some(front) = self.flight.pop_front() {
                self.settle(front, status, true);
            }
            return Action::Release(count);
        }
        self.original.get_or_insert_with(|| Original {
            frames: frames.to_vec(),
            status,
        });
        self.status = status;
        self.actions.push_back(Action::Drop(count));
        self.again_or_give_up();
        self.next()
    }

    fn next(&mut self) -> Action {
        self.actions.pop_front().unwrap_or(Action::More)
    }

    fn again_or_give_up(&mut self) {
        if self.attempts >= self.limits.attempts {
            self.give_up(Outcome::Exhausted, None);
        } else if !self.budget.take(Instant::now()) {
            self.give_up(Outcome::Budget, None);
        } else {
            self.repeat();
        }
    }

    /// Sends what came before the last request again, behind what makes that possible.
    fn repeat(&mut self) {
        self.attempts += 1;
        self.trouble = None;
        let mut out = Vec::new();
        let mut due = 0;
        if self.status != TransactionStatus::Idle {
            frontend::put_query(&mut out, b"ROLLBACK");
            due += 1;
            self.status = TransactionStatus::Idle;
        }
        let segments = self.done.iter().chain(self.flight.front());
        let closes = close_statements(segments.map(|segment| segment.sent.as_slice()));
        due += usize::from(!closes.is_empty());
        out.extend_from_slice(&closes);
        let again = self.done.iter().map(|segment| segment.sent.as_slice());
        again.for_each(|sent| out.extend_from_slice(sent));
        if self.done.is_empty() {
            out.extend_from_slice(self.last_request());
        }
        self.phase = if due > 0 {
            Phase::Clearing(due)
        } else {
            self.behind_clearing()
        };
        self.actions.push_back(Action::Wait(pause(self.attempts)));
        self.actions.push_back(Action::Send(out));
    }

    fn last_request(&mut self) -> &[u8] {
        match self.flight.front_mut() {
            Some(front) => {
                front.reset();
                &front.sent
            }
            None => &[],
        }
    }

    fn behind_clearing(&self) -> Phase {
        if self.done.is_empty() {
            Phase::Watching
        } else {
            Phase::Verifying(0)
        }
    }

    fn clear(&mut self, held: &[u8], due: usize) -> Action {
        match self.skip_to_ready(held) {
            Err(action) => action,
            Ok((count, _)) => {
                self.phase = match due {
                    1 => self.behind_clearing(),
                    due => Phase::Clearing(due - 1),
                };
                Action::Drop(count)
            }
        }
    }

    /// Reads up to the next ReadyForQuery; what came of it so far is dropped.
    fn skip_to_ready(&mut self, held: &[u8]) -> Result<(usize, TransactionStatus), Action> {
        loop {
            match self.reader.step(held) {
                Found::Frame(_) => {}
                Found::Ready(status) => {
                    self.reader.conflict = false;
                    self.reader.failed = false;
                    self.reader.committed = false;
                    return Ok((std::mem::take(&mut self.reader.examined), status));
                }
                Found::Nothing => {
                    return Err(match std::mem::take(&mut self.reader.examined) {
                        0 => Action::More,
                        count => Action::Drop(count),
                    });
                }
                Found::Garbage => {
                    self.reader.examined = 0;
                    return Err(all(held));
                }
            }
        }
    }

    fn verify(&mut self, held: &[u8], next: usize) -> Action {
        loop {
            match self.reader.step(held) {
                Found::Frame(_) => {
                    if self.reader.hasher.is_none() {
                        self.reader.count_from_here(held);
                    }
                }
                Found::Ready(status) => return self.verified(next, status),
                Found::Nothing => {
                    return match std::mem::take(&mut self.reader.examined) {
                        0 => Action::More,
                        count => Action::Drop(count),
                    };
                }
                Found::Garbage => {
                    self.reader.examined = 0;
                    return all(held);
                }
            }
        }
    }

    fn verified(&mut self, next: usize, status: TransactionStatus) -> Action {
        self.actions
            .push_back(Action::Drop(std::mem::take(&mut self.reader.examined)));
        self.status = status;
        let conflict = std::mem::take(&mut self.reader.conflict);
        let failed = std::mem::take(&mut self.reader.failed);
        self.reader.committed = false;
        let digest = self.reader.digest();
        let expected = self.done.get(next).and_then(|segment| segment.digest);
        let same = !failed && status == TransactionStatus::Open && digest == expected;
        if self.trouble.is_none() {
            self.trouble = match (conflict, same) {
                (true, _) => Some(Trouble::Conflict),
                (false, true) => None,
                (false, false) => {
                    let ran = self.done.iter().take(next + 1).filter(|done| done.runs);
                    Some(Trouble::Differs(ran.count()))
                }
            };
        }
        if next + 1 < self.done.len() {
            self.phase = Phase::Verifying(next + 1);
            return self.next();
        }
        match self.trouble.take() {
            None => {
                self.phase = Phase::Watching;
                let request = self.last_request().to_vec();
                self.actions.push_back(Action::Send(request));
            }
            Some(Trouble::Conflict) => self.again_or_give_up(),
            Some(Trouble::Differs(number)) => self.give_up(Outcome::Diverged, Some(number)),
        }
        self.next()
    }

    // ---- giving up -------------------------------------------------------------------------

    /// The client gets its first error after all, and the server's transaction the state that goes
    /// with it.
    fn give_up(&mut self, outcome: Outcome, statement: Option<usize>) {
        self.actions.push_back(Action::Tell(outcome));
        let Some(original) = &mut self.original else {
            return;
        };
        original.frames = explain(&original.frames, outcome, statement);
        let wanted = original.status;
        let mut out = Vec::new();
        let mut due = 0;
        let mut query = |text: &[u8]| {
            frontend::put_query(&mut out, text);
            due += 1;
        };
        match (wanted, self.status) {
            (TransactionStatus::Failed, TransactionStatus::Failed)
            | (TransactionStatus::Idle, TransactionStatus::Idle) => {}
            (TransactionStatus::Failed, TransactionStatus::Open) => query(FAILING),
            (TransactionStatus::Failed, TransactionStatus::Idle) => {
                query(b"BEGIN");
                query(FAILING);
            }
            (TransactionStatus::Idle, _) | (TransactionStatus::Open, _) => query(b"ROLLBACK"),
        }
        if due == 0 {
            self.give_original();
        } else {
            self.actions.push_back(Action::Send(out));
            self.phase = Phase::Undoing(due);
        }
    }

    fn undo(&mut self, held: &[u8], due: usize) -> Action {
        match self.skip_to_ready(held) {
            Err(action) => action,
            Ok((count, _)) => {
                self.actions.push_back(Action::Drop(count));
                if due > 1 {
                    self.phase = Phase::Undoing(due - 1);
                } else {
                    self.give_original();
                }
                self.next()
            }
        }
    }

    fn give_original(&mut self) {
        self.phase = Phase::Watching;
        if let Some(original) = self.original.take() {
            if let Some(front) = self.flight.pop_front() {
                self.settle(front, original.status, true);
            }
            self.actions.push_back(Action::Inject(original.frames));
        }
    }
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            examined: 0,
            pending: 0,
            counts: false,
            hasher: None,
            acknowledges: true,
            frames: 0,
            committed: false,
            conflict: false,
            failed: false,
        }
    }
}

impl Reader {
    /// The next frame begins the answers of another request.
    fn begin_request(&mut self) {
        self.acknowledges = true;
        self.frames = 0;
    }

    /// Looks at the next frame of `held`.
    fn step(&mut self, held: &[u8]) -> Found {
        if self.pending > 0 {
            let there = held.len().saturating_sub(self.examined).min(self.pending);
            self.take(held, there);
            self.pending -= there;
            if self.pending > 0 {
                return Found::Nothing;
            }
        }
        let rest = held.get(self.examined..).unwrap_or_default();
        let header = match frame::backend_header(rest) {
            Ok(Some(header)) => header,
            Ok(None) => return Found::Nothing,
            Err(_) => return Found::Garbage,
        };
        let wanted = match header.tag {
            b'E' => header.total.min(LOOK_AT),
            b'Z' => header.total,
            b'C' => header.total.min(HEADER + COMMIT.len()),
            _ => HEADER,
        };
        if rest.len() < wanted {
            return Found::Nothing;
        }
        let there = rest.len().min(header.total);
        let ready = (header.tag == b'Z').then(|| rest[HEADER..there].first().copied());
        if header.tag == b'E' {
            let code = error_fields(&rest[HEADER..there]).code;
            let conflict = is_conflict(code);
            self.conflict |= conflict;
            self.failed |= !conflict;
        }
        self.committed |= header.tag == b'C' && rest[HEADER..there].starts_with(COMMIT);
        self.counts = !matches!(header.tag, b'S' | b'N' | b'A' | b'Z');
        self.pending = header.total - there;
        self.take(held, there);
        match ready {
            None => Found::Frame(header.tag),
            Some(byte) => byte
                .and_then(TransactionStatus::from_byte)
                .map_or(Found::Garbage, Found::Ready),
        }
    }

    fn take(&mut self, held: &[u8], count: usize) {
        let end = self.examined + count;
        if self.counts
            && let Some(hasher) = &mut self.hasher
        {
            hasher.update(&held[self.examined..end]);
        }
        self.examined = end;
    }

    /// Starts a digest with the frame that was just read: the first of a request's answers.
    fn count_from_here(&mut self, held: &[u8]) {
        let mut hasher = Box::new(blake3::Hasher::new());
        let mut at = 0;
        // All frames held so far belong to this request.
        while let Ok(Some(header)) = frame::backend_header(&held[at..self.examined]) {
            let end = (at + header.total).min(self.examined);
            if !matches!(header.tag, b'S' | b'N' | b'A' | b'Z') {
                hasher.update(&held[at..end]);
            }
            at = end;
        }
        self.hasher = Some(hasher);
    }

    fn digest(&mut self) -> Option<Digest> {
        self.hasher
            .take()
            .map(|hasher| *hasher.finalize().as_bytes())
    }
}

/// DSQL's abort: the SQLSTATE, or its own code in that place, as older releases sent it.
fn is_conflict(code: &[u8]) -> bool {
    matches!(code, b"40001" | b"OC000" | b"OC001")
}

/// Frames that carry a result: behind them a request that only reads is on its way.
fn is_result(tag: u8) -> bool {
    matches!(tag, b'D' | b'C' | b'H' | b'd' | b'c' | b'I' | b's' | b'V')
}

fn all(held: &[u8]) -> Action {
    if held.is_empty() {
        Action::More
    } else {
        Action::Release(held.len())
    }
}

/// Full jitter: anything up to a bound that doubles.
fn pause(attempt: u32) -> Duration {
    let bound = FIRST_PAUSE
        .saturating_mul(
            1u32.checked_shl(attempt.saturating_sub(1))
                .unwrap_or(u32::MAX),
        )
        .min(LONGEST_PAUSE);
    rand::rng().random_range(Duration::ZERO..=bound)
}

/// The frames with the 40001 saying why it was not repeated.
fn explain(frames: &[u8], outcome: Outcome, statement: Option<usize>) -> Vec<u8> {
    let mut out = Vec::with_capacity(frames.len() + 256);
    let mut rest = frames;
    while let Ok(Some(header)) = frame::backend_header(rest) {
        let end = header.total.min(rest.len());
        if header.tag == b'E' {
            put_explained(&mut out, &rest[HEADER..end], outcome, statement);
        } else {
            out.extend_from_slice(&rest[..end]);
        }
        rest = &rest[end..];
    }
    out
}

fn put_explained(out: &mut Vec<u8>, body: &[u8], outcome: Outcome, statement: Option<usize>) {
    let message = String::from_utf8_lossy(error_fields(body).message).into_owned();
    let detail = match (outcome, statement) {
        (Outcome::Diverged, Some(number)) => format!(
            "The transaction was run again, and statement {number} of it was answered differently."
        ),
        (Outcome::Exhausted, _) => {
            "The transaction was run again as often as allowed and met a conflict each time."
                .to_owned()
        }
        _ => "Too many transactions are being run again just now.".to_owned(),
    };
    ClientError::error(sqlstate::SERIALIZATION_FAILURE, message)
        .detail(detail)
        .hint("Run the whole transaction again.")
        .put(out);
}

#[cfg(test)]
mod tests;
