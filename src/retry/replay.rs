//! The state machine: watch, repeat, verify, or give the error on.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rand::Rng;

use crate::telemetry::conflicts::ConflictCode;
use crate::wire::backend::{TransactionStatus, error_fields};
use crate::wire::frame::{self, HEADER};
use crate::wire::frontend;
use crate::wire::reply::ClientError;
use crate::wire::sqlstate;

use super::budget::{Budget, Rank};
use super::digest::{Hasher, Print, Rows};
use super::insight::{self, Effort, Evidence, Meter};
use super::journal::{
    Rerun, Segment, Sent, closed_statements, fetches_from_earlier_portal, left_statements,
    put_closes, statements,
};

mod resume;

use resume::Goal;
pub(super) use resume::Seen;

/// As much of an ErrorResponse is read at most, in bytes.
const LOOK_AT: usize = 64 * 1024;

/// Longest pause before the first repetition; doubled for each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// Longest pause of all.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// What tags begin with behind which something has taken effect; a COMMIT that rolled back says
/// ROLLBACK.
const COMMITS: [&[u8]; 2] = [b"COMMIT", b"PREPARE TRANSACTION"];
/// Length of ReadyForQuery.
const READY: usize = HEADER + 1;
/// As much of a tag is read.
const TAG: usize = 32;

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
    /// The upstream no longer has the statements of these names, nor the unnamed one.
    Forget(Vec<Vec<u8>>),
    /// The upstream has the statements of these names.
    Remember(Vec<Vec<u8>>),
    /// What the upstream's transaction is cannot be told any more: the connection is of no use.
    Lost,
    /// How repeating ended: for the counters.
    Tell(Outcome),
    /// A conflict was met, by the first run or a repetition: for the counters.
    Conflict(Evidence),
    /// A transaction that was repeated is over: for the counters.
    Measured(Effort),
    /// These requests were answered with the same rows in another order: say with [`Replay::judge`]
    /// whether that matters.
    Judge(Vec<Vec<u8>>),
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
    /// Not a conflict: run again up to a savepoint.
    RolledBack,
    /// Not a conflict: what came ahead of a savepoint came out otherwise.
    SavepointDiverged,
    /// The user, the session or a statement of it asked not to repeat it.
    OptedOut,
}

impl Outcome {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Repeated,
        Self::Diverged,
        Self::Exhausted,
        Self::Budget,
        Self::Ineligible,
        Self::RolledBack,
        Self::SavepointDiverged,
        Self::OptedOut,
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
            Self::RolledBack => "rolled_back",
            Self::SavepointDiverged => "savepoint_diverged",
            Self::OptedOut => "opted_out",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The client's requests run for the first time, or the last of them runs again.
    Watching,
    /// A repetition is waited for; nothing of it was sent.
    Pausing,
    /// So many ReadyForQuery are due for what makes the repetition possible.
    Clearing(usize),
    /// Requests answered earlier run again; this one is answered next.
    Verifying(usize),
    /// So many ReadyForQuery are due before the first error can be given on.
    Undoing(usize),
    /// A BEGIN is due: the client has a part of the last request's answers ([`resume`]).
    Opening,
    /// That part must come again.
    Matching,
    /// It has come; the rest goes on.
    Resumed,
    /// The end of that transaction is due.
    Ending { commits: bool },
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

/// A place in the open transaction to which it can be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Requests answered before it.
    position: usize,
    /// What had been done by then.
    loudness: u64,
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
    /// Its type.
    tag: u8,
    hasher: Option<Hasher>,
    rows: Rows,
    /// Only frames that say nothing were read since the request.
    acknowledges: bool,
    /// Types of those that are held.
    acknowledgements: Vec<u8>,
    /// A statement of the request was completed.
    completed: bool,
    /// A COMMIT was read: what stands before it has taken effect.
    committed: bool,
    /// A 40001 was read.
    conflict: bool,
    /// What it was for.
    code: ConflictCode,
    /// Another error was read.
    failed: bool,
    /// Bytes in the digest.
    counted: u64,
    /// What has to come again of an answer.
    goal: Option<Goal>,
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
    rerun: Option<Rerun>,
    /// Answered requests of the open transaction.
    done: Vec<Segment>,
    /// Requests not answered in full, oldest first.
    flight: VecDeque<Segment>,
    /// Status of the last ReadyForQuery.
    status: TransactionStatus,
    /// A repetition of the open transaction has sent something.
    repeated: bool,
    /// Bytes kept of `done` and `flight`.
    kept: usize,
    /// Nothing is watched before the connection is given back.
    off: bool,
    /// The open transaction cannot be repeated.
    lost: bool,
    attempts: u32,
    /// Marks may be gone back to: a failed transaction can still be saved.
    marked: bool,
    /// Requests that a ROLLBACK TO would have to undo, and errors.
    loudness: u64,
    /// What is answered when the transaction has been taken back to a mark.
    taken_back: Option<Vec<u8>>,
    /// ParameterStatus frames of a repetition.
    reported: Vec<u8>,
    /// The end of an answer, until its transaction is committed.
    tail: Vec<u8>,
    /// The session and its user want transactions repeated.
    allowed: bool,
    /// The open transaction is not to be repeated.
    opted_out: bool,
    /// The one whose BEGIN was not sent yet is not to be, either.
    next_opted_out: bool,
    /// When the session was last granted a repetition, of whatever transaction.
    last_repetition: Option<Instant>,
    /// The open transaction has run what may write.
    wrote: bool,
    meter: Meter,
    phase: Phase,
    trouble: Option<Trouble>,
    /// Requests answered earlier whose rows came in another order.
    reordered: Vec<usize>,
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
            rerun: None,
            done: Vec::new(),
            flight: VecDeque::new(),
            status: TransactionStatus::Idle,
            repeated: false,
            kept: 0,
            off: false,
            lost: false,
            attempts: 0,
            marked: false,
            loudness: 0,
            taken_back: None,
            reported: Vec::new(),
            tail: Vec::new(),
            allowed: true,
            opted_out: false,
            next_opted_out: false,
            last_repetition: None,
            wrote: false,
            meter: Meter::default(),
            phase: Phase::Watching,
            trouble: None,
            reordered: Vec::new(),
            original: None,
            reader: Reader::default(),
            actions: VecDeque::new(),
            spare: Vec::new(),
        }
    }

    /// The same, which runs requests again in this way.
    #[must_use]
    pub fn with_rerun(self, rerun: Rerun) -> Self {
        Self {
            rerun: Some(rerun),
            ..self
        }
    }

    /// Begins anew for another connection.
    pub fn reset(&mut self) {
        *self = Self {
            rerun: self.rerun,
            allowed: self.allowed,
            opted_out: self.next_opted_out,
            last_repetition: self.last_repetition,
            ..Self::new(self.limits, Rc::clone(&self.budget))
        };
    }

    /// A repetition is under way: nothing of the client may be sent.
    #[must_use]
    pub fn is_repeating(&self) -> bool {
        self.original.is_some()
    }

    /// It sees what comes; otherwise conflicts are nobody's but the session's.
    #[must_use]
    pub fn is_watching(&self) -> bool {
        !self.off
    }

    /// The request that commits has not been sent again yet, so nothing is committed.
    #[must_use]
    pub fn is_before_commit(&self) -> bool {
        !matches!(
            self.phase,
            Phase::Watching | Phase::Ending { commits: true }
        )
    }

    /// Whether transactions that begin from now on may be repeated. One that is under way (`open`, if
    /// it was not sent yet) may not, unless it was and goes on to be allowed.
    pub fn allow(&mut self, allowed: bool, open: bool) {
        if allowed && self.allowed {
            return;
        }
        self.allowed = allowed;
        self.opted_out |= open || self.status != TransactionStatus::Idle;
        self.next_opted_out = open;
        for segment in &mut self.flight {
            segment.opts_out = true;
        }
    }

    /// No further repetition of this transaction.
    pub fn stop(&mut self) {
        self.attempts = self.limits.attempts;
        if self.phase == Phase::Pausing {
            self.actions.clear();
            self.give_up(Outcome::Exhausted, None);
        }
    }

    // ---- savepoints ------------------------------------------------------------------------

    /// A mark at this place, if nothing has been run since the last ReadyForQuery; so that BEGIN is
    /// always ahead of it.
    #[must_use]
    pub fn mark(&self) -> Option<Mark> {
        let fresh = !self.flight.iter().any(|segment| segment.executes);
        (self.off || fresh && self.in_block()).then(|| self.mark_at(self.done.len()))
    }

    /// A mark behind the request under way, which is the last one.
    #[must_use]
    pub fn mark_behind(&self) -> Mark {
        self.mark_at(self.done.len() + 1)
    }

    fn mark_at(&self, position: usize) -> Mark {
        Mark {
            // Ahead of BEGIN is nothing to go back to.
            position: if self.off { 0 } else { position },
            loudness: self.loudness,
        }
    }

    fn in_block(&self) -> bool {
        self.status != TransactionStatus::Idle
    }

    /// Whether the transaction may be taken back to some mark later on.
    pub fn set_marked(&mut self, marked: bool) {
        self.marked = marked;
    }

    /// Nothing has been done since the mark that would have to be undone.
    #[must_use]
    pub fn is_as_at(&self, mark: Mark) -> bool {
        !self.off && self.loudness == mark.loudness && self.status == TransactionStatus::Open
    }

    /// Takes the transaction back: what was done before the mark is done again in a new transaction,
    /// and must be answered the same. Nothing may be owed. `answer` is what the client gets then,
    /// `error` what it gets if that fails; both come as if from the upstream. False when too little
    /// is known of the transaction.
    pub fn take_back(&mut self, mark: Mark, answer: Vec<u8>, error: Vec<u8>) -> bool {
        if self.off || self.lost || mark.position == 0 || self.done.len() < mark.position {
            return false;
        }
        self.done.truncate(self.kept_at(mark));
        if let Some(rerun) = self.rerun {
            let behind = self.done.split_off(mark.position);
            let again = behind
                .into_iter()
                .filter(|read| !(rerun.varies)(&read.sent));
            self.done.extend(again);
        }
        self.flight.clear();
        self.kept = self.done.iter().map(Segment::weight).sum();
        self.reader.begin_request();
        self.reader.digest();
        self.trouble = None;
        self.taken_back = Some(answer);
        self.original = Some(Original {
            frames: error,
            status: TransactionStatus::Failed,
        });
        let first = self.begin_repetition();
        self.actions.push_back(first);
        true
    }

    /// How many requests are done again. Reads behind the mark leave nothing to be undone; doing them
    /// again keeps what the client knows true.
    fn kept_at(&self, mark: Mark) -> usize {
        let behind = self.done.iter().skip(mark.position);
        mark.position + behind.take_while(|segment| !segment.loud).count()
    }

    /// What [`Replay::take_back`] would undo has fetched from a portal that was bound before it: taken
    /// back with its transaction, the portal would give the same rows once more.
    #[must_use]
    pub fn moves_portal(&self, mark: Mark) -> bool {
        let dropped = self.done.iter().skip(self.kept_at(mark));
        let dropped = dropped.chain(&self.flight);
        fetches_from_earlier_portal(dropped.map(|segment| segment.sent.as_slice()))
    }

    /// The transaction is as it was at this mark.
    pub fn renew(&self, mark: &mut Mark) {
        mark.loudness = self.loudness;
    }

    /// Notes a request.
    pub fn note(&mut self, bytes: &[u8], sent: Sent) {
        if self.flight.back().is_none_or(|segment| segment.closed) {
            self.kept += Segment::OVERHEAD;
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
            segment.controls |= sent.controls;
            segment.runs |= sent.runs;
            segment.executes |= sent.executes;
            segment.loud |= !sent.quiet;
            self.loudness += u64::from(!sent.quiet);
            segment.own_begin |= sent.own_begin;
            segment.lost |= sent.outlives;
            segment.opts_out |= sent.opts_out || !self.allowed;
            segment.nobodys |= sent.nobodys;
        }
    }

    /// Notes the end of copy data.
    pub fn note_copy_end(&mut self, bytes: &[u8]) {
        self.note_rest(bytes);
        if let Some(segment) = self.flight.back_mut() {
            segment.copies -= 1;
        }
    }

    /// Notes bytes that belong to the request before: the rest of a long one, copy data.
    pub fn note_rest(&mut self, bytes: &[u8]) {
        let Some(segment) = self.flight.back_mut() else {
            return;
        };
        if segment.lost {
            return;
        }
        if self.kept + bytes.len() > self.limits.journal_bytes {
            self.kept -= segment.sent.len();
            segment.lost = true;
            segment.sent = Vec::new();
        } else {
            self.kept += bytes.len();
            segment.sent.extend_from_slice(bytes);
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
            Phase::Pausing => self.begin_repetition(),
            Phase::Clearing(due) => self.clear(held, due),
            Phase::Verifying(next) => self.verify(held, next),
            Phase::Undoing(due) => self.undo(held, due),
            Phase::Opening => self.open(held),
            Phase::Matching => self.match_seen(held),
            Phase::Resumed => self.resume(held),
            Phase::Ending { commits } => self.end(held, commits),
        }
    }

    // ---- the first run ---------------------------------------------------------------------

    fn watch(&mut self, held: &[u8]) -> Action {
        loop {
            let found = self.reader.step(held);
            let Some(front) = self.flight.front_mut() else {
                match found {
                    Found::Frame(_) | Found::Ready(_) => continue,
                    Found::Nothing => return self.release(),
                    Found::Garbage => return self.give_in(held),
                }
            };
            match found {
                Found::Garbage => return self.give_in(held),
                Found::Ready(status) => return self.answered(held, status),
                Found::Frame(tag) => {
                    if front.print.is_none()
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
                    let full = self.reader.examined > self.limits.hold_bytes;
                    let unwatched = self.limits.attempts == 0 || self.opted_out;
                    front.streams |= full || unwatched || front.opts_out;
                    // A 40001 is kept for its ReadyForQuery, if that comes without the client.
                    let skipped = front.own_begin && front.simple && !self.reader.completed;
                    let shows = front.streams || self.reader.conflict && skipped;
                    let nobodys = front.nobodys;
                    let again = !(full || front.delivered) || self.can_resume();
                    let keeps =
                        self.reader.conflict && again && !skipped && !nobodys && self.is_closed();
                    if shows && !keeps {
                        self.prepare_to_show(held);
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
        let repeating = self.original.is_some();
        if tag == b'G' {
            self.begin_copy();
        }
        let front = self.flight.front_mut()?;
        // Behind a result they take it along.
        front.streams |= !self.reader.acknowledges && matches!(tag, b'N' | b'G');
        if !self.reader.acknowledges || self.reader.pending > 0 || front.streams {
            return None;
        }
        if repeating && front.was_shown(tag) {
            self.reader.acknowledgements.clear();
            return Some(Action::Drop(std::mem::take(&mut self.reader.examined)));
        }
        self.reader.acknowledgements.push(tag);
        if !matches!(tag, b'N' | b'G') {
            return None;
        }
        front.shown.append(&mut self.reader.acknowledgements);
        front.skip = front.shown.len();
        Some(Action::Release(std::mem::take(&mut self.reader.examined)))
    }

    /// The server is ready for copy data; in a repetition they were sent already, unless the run
    /// before did not come this far. Then the client is asked for them: the repetition is over.
    fn begin_copy(&mut self) {
        let repeating = self.original.is_some();
        let several = self.flight.len() > 1;
        let Some(front) = self.flight.front_mut() else {
            return;
        };
        if repeating && front.shown.contains(&b'G') {
            return;
        }
        front.copies += 1;
        if !front.simple && front.closed {
            // Which of the Syncs behind this the server swallows, is not known.
            self.off |= several;
            let before = front.sent.len();
            front.swallow_syncs();
            self.kept -= before - front.sent.len();
        }
        if repeating && front.copies > 0 {
            self.original = None;
            self.actions.push_back(Action::Tell(Outcome::Repeated));
        }
    }

    /// What comes is not the protocol: the session will say so.
    fn give_in(&mut self, held: &[u8]) -> Action {
        self.off = true;
        self.original = None;
        self.reader.examined = 0;
        all(held)
    }

    /// What was looked at goes on.
    fn release(&mut self) -> Action {
        let count = std::mem::take(&mut self.reader.examined);
        if count == 0 {
            return Action::More;
        }
        self.note_seen();
        if let Some(front) = self.flight.front_mut() {
            front.delivered = true;
        }
        if self.reader.conflict {
            // Whatever comes behind it, the client has seen it.
            self.original = None;
        }
        Action::Release(count)
    }

    /// The oldest request was answered in full.
    fn answered(&mut self, held: &[u8], status: TransactionStatus) -> Action {
        self.reader.begin_request();
        let count = std::mem::take(&mut self.reader.examined);
        let block = self.status == TransactionStatus::Open
            || self.flight.front().is_some_and(|front| front.begins);
        let conflict = std::mem::take(&mut self.reader.conflict);
        let failed = std::mem::take(&mut self.reader.failed);
        let committed = std::mem::take(&mut self.reader.committed);
        let digest = self
            .reader
            .digest()
            .or_else(|| block.then(print_of_nothing));
        if let Some(front) = self.flight.front_mut() {
            front.committed = committed;
        }
        if block && !conflict && !failed {
            self.keep_answer(&held[..count]);
        }
        let nobodys = self.flight.front().is_some_and(|front| front.nobodys);
        if conflict && !nobodys {
            return self.conflict(&held[..count], status);
        }
        let repeated = self.original.take().is_some();
        if repeated {
            self.actions.push_back(Action::Tell(Outcome::Repeated));
        }
        if let Some(mut front) = self.flight.pop_front() {
            front.print = digest;
            self.settle(front, status, failed);
        }
        Action::Release(count)
    }

    /// Keeps the answer of the oldest request, if that is needed to run it again and all of it is here.
    fn keep_answer(&mut self, frames: &[u8]) {
        let (Some(rerun), Some(front)) = (self.rerun, self.flight.front_mut()) else {
            return;
        };
        let fits = self.kept + frames.len() <= self.limits.journal_bytes;
        if fits && !front.delivered && !front.lost && (rerun.needs)(&front.sent) {
            frames.clone_into(&mut front.answer);
            self.kept += frames.len();
        }
    }

    /// What is run again answers as it did.
    fn prepare_again(&mut self) {
        let Some(rerun) = self.rerun else { return };
        for segment in &mut self.done {
            let answer = std::mem::take(&mut segment.answer);
            if !answer.is_empty()
                && let Some(sent) = (rerun.again)(&segment.sent, &answer)
            {
                segment.sent = sent;
            }
        }
        let segments = self.done.iter().chain(&self.flight);
        self.kept = segments.map(Segment::weight).sum();
    }

    fn settle(&mut self, mut front: Segment, status: TransactionStatus, failed: bool) {
        let was = std::mem::replace(&mut self.status, status);
        self.meter.rest();
        match status {
            TransactionStatus::Idle => {
                let wrote = std::mem::take(&mut self.wrote);
                let counts = match was {
                    TransactionStatus::Idle => front.writes,
                    TransactionStatus::Open => front.committed && wrote,
                    TransactionStatus::Failed => false,
                };
                if counts && !failed {
                    self.budget.commit(Instant::now());
                }
                self.done.clear();
                self.kept = self.flight.iter().map(Segment::weight).sum();
                self.lost = false;
                self.marked = false;
                self.repeated = false;
                self.attempts = 0;
                self.opted_out = false;
                if let Some(effort) = self.meter.end() {
                    self.actions.push_back(Action::Measured(effort));
                }
                if front.sent.capacity() <= SPARE {
                    front.sent.clear();
                    self.spare = front.sent;
                }
            }
            TransactionStatus::Open => {
                self.wrote |= front.writes;
                self.opted_out |= front.opts_out;
                // A transaction that began behind a COMMIT of the same request cannot be sent alone.
                self.lost |= front.lost || front.committed || front.print.is_none();
                front.delivered = true;
                if self.lost {
                    self.done.clear();
                } else {
                    self.done.push(front);
                }
            }
            // An error dooms the transaction: the client must roll back, if not all of it.
            TransactionStatus::Failed => {
                self.loudness += 1;
                if !self.marked {
                    self.lost = true;
                    self.done.clear();
                }
            }
        }
    }

    // ---- after a conflict ------------------------------------------------------------------

    fn conflict(&mut self, frames: &[u8], status: TransactionStatus) -> Action {
        let count = frames.len();
        self.investigate();
        let opted_out = self.is_opted_out();
        let resumes = self.can_resume() && status == TransactionStatus::Idle;
        let ineligible = opted_out
            || self.limits.attempts == 0
            || self.lost
            || self.flight.len() != 1
            || status == TransactionStatus::Open
            || self.flight.front().is_none_or(|front| {
                front.lost
                    || front.delivered && !resumes
                    || front.committed
                    || front.copies > 0
                    || !front.closed
            });
        if ineligible {
            self.original = None;
            let outcome = match opted_out {
                true => Outcome::OptedOut,
                false => Outcome::Ineligible,
            };
            if self.limits.attempts > 0 {
                self.actions.push_back(Action::Tell(outcome));
            }
            if let Some(front) = self.flight.pop_front() {
                self.settle(front, status, true);
            }
            return Action::Release(count);
        }
        let shown = match resumes {
            true => self.finish_frame(frames),
            false => 0,
        };
        // Of an earlier run's answers the client may have seen some in this one.
        self.original = Some(Original {
            frames: match resumes {
                true => error_and_ready(&frames[shown..]),
                false => frames.to_vec(),
            },
            status,
        });
        self.status = status;
        self.actions.push_back(Action::Drop(count - shown));
        self.again_or_give_up();
        self.next()
    }

    /// Notes what may have met the conflict, before any of it is forgotten.
    fn investigate(&mut self) {
        let requests = self.done.iter().chain(self.flight.front());
        let looks = self.budget.take_look(Instant::now());
        let evidence = Evidence {
            code: self.reader.code,
            ran: looks.then(|| insight::read(requests.map(|segment| segment.sent.as_slice()))),
        };
        self.actions.push_back(Action::Conflict(evidence));
    }

    /// The last message of the oldest request was sent.
    fn is_closed(&self) -> bool {
        self.flight.front().is_some_and(|front| front.closed)
    }

    fn is_opted_out(&self) -> bool {
        self.opted_out || self.flight.front().is_some_and(|front| front.opts_out)
    }

    fn next(&mut self) -> Action {
        self.actions.pop_front().unwrap_or(Action::More)
    }

    fn again_or_give_up(&mut self) {
        if self.attempts >= self.limits.attempts {
            self.give_up(Outcome::Exhausted, None);
        } else if !self.may_repeat(Instant::now()) {
            self.give_up(Outcome::Budget, None);
        } else {
            self.repeat();
        }
    }

    fn may_repeat(&mut self, now: Instant) -> bool {
        let rank = Rank::of(self.attempts, self.last_repetition, now);
        let granted = self.budget.take(now, rank);
        if granted {
            self.last_repetition = Some(now);
        }
        granted
    }

    fn repeat(&mut self) {
        self.attempts += 1;
        self.meter.begin(Instant::now());
        self.trouble = None;
        self.phase = Phase::Pausing;
        self.actions.push_back(Action::Wait(pause(self.attempts)));
    }

    /// The pause is over: first comes what makes the repetition possible.
    fn begin_repetition(&mut self) -> Action {
        self.repeated = true;
        self.reported.clear();
        self.reordered.clear();
        self.prepare_again();
        let mut out = Vec::new();
        let mut due = 0;
        if self.status != TransactionStatus::Idle {
            frontend::put_query(&mut out, b"ROLLBACK");
            due += 1;
            // As every simple request.
            self.actions.push_back(Action::Forget(Vec::new()));
        }
        let names = self.statements();
        put_closes(&mut out, &names);
        due += usize::from(!names.is_empty());
        if due == 0 {
            return self.send_first();
        }
        self.phase = Phase::Clearing(due);
        Action::Send(out)
    }

    fn statements(&self) -> Vec<Vec<u8>> {
        let segments = self.done.iter().chain(self.flight.front());
        statements(segments.map(|segment| segment.sent.as_slice()))
    }

    /// The first request goes alone: what follows must not run when its BEGIN fails.
    fn send_first(&mut self) -> Action {
        match self.done.first() {
            Some(first) => {
                self.phase = Phase::Verifying(0);
                Action::Send(first.sent.clone())
            }
            None => self.send_last(),
        }
    }

    fn send_last(&mut self) -> Action {
        if self.can_resume() {
            return self.send_begin();
        }
        self.phase = Phase::Watching;
        match self.flight.front_mut() {
            Some(front) => {
                front.reset();
                Action::Send(front.sent.clone())
            }
            None => Action::Lost,
        }
    }

    fn clear(&mut self, held: &[u8], due: usize) -> Action {
        match self.skip_to_ready(held) {
            Err(action) => action,
            Ok((count, status)) => {
                self.status = status;
                self.actions.push_back(Action::Drop(count));
                if due > 1 {
                    self.phase = Phase::Clearing(due - 1);
                } else {
                    let next = match status {
                        TransactionStatus::Idle => self.send_first(),
                        _ => Action::Lost,
                    };
                    self.actions.push_back(next);
                }
                self.next()
            }
        }
    }

    /// Reads up to the next ReadyForQuery; what came of it so far is dropped.
    fn skip_to_ready(&mut self, held: &[u8]) -> Result<(usize, TransactionStatus), Action> {
        loop {
            let at = self.reader.examined + self.reader.pending;
            match self.reader.step(held) {
                Found::Frame(tag) => self.keep_reported(tag, held, at),
                Found::Ready(status) => {
                    self.reader.begin_request();
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
                Found::Garbage => return Err(self.give_in(held)),
            }
        }
    }

    /// What the server reports on the way back the client has to know, if it stays there.
    fn keep_reported(&mut self, tag: u8, held: &[u8], at: usize) {
        if tag == b'S' && self.reader.pending == 0 {
            self.reported
                .extend_from_slice(&held[at..self.reader.examined]);
        }
    }

    fn verify(&mut self, held: &[u8], next: usize) -> Action {
        loop {
            let at = self.reader.examined + self.reader.pending;
            match self.reader.step(held) {
                Found::Frame(tag) => {
                    self.keep_reported(tag, held, at);
                    if self.reader.hasher.is_none() {
                        self.reader.count_from_here(held);
                    }
                    if tag == b'E' && self.is_skipped(next) {
                        let mut sync = Vec::new();
                        frontend::put(&mut sync, b'S', &[]);
                        self.actions.push_back(Action::Send(sync));
                    }
                }
                Found::Ready(status) => return self.verified(next, status),
                Found::Nothing => {
                    let count = std::mem::take(&mut self.reader.examined);
                    if count > 0 {
                        self.actions.push_back(Action::Drop(count));
                    }
                    return self.next();
                }
                Found::Garbage => return self.give_in(held),
            }
        }
    }

    /// The BEGIN of the proxy's own has failed, and the server skips the simple request behind it
    /// up to a Sync.
    fn is_skipped(&self, next: usize) -> bool {
        !self.reader.completed
            && self
                .done
                .get(next)
                .is_some_and(|segment| segment.own_begin && segment.simple)
    }

    fn verified(&mut self, next: usize, status: TransactionStatus) -> Action {
        self.actions
            .push_back(Action::Drop(std::mem::take(&mut self.reader.examined)));
        self.status = status;
        let conflict = std::mem::take(&mut self.reader.conflict);
        let failed = std::mem::take(&mut self.reader.failed);
        self.reader.committed = false;
        self.reader.begin_request();
        let print = self.reader.digest().unwrap_or_else(print_of_nothing);
        let expected = self.done.get(next).and_then(|segment| segment.print);
        let reordered = expected.is_some_and(|expected| {
            print.unordered == expected.unordered && print.exact != expected.exact
        });
        let same =
            !failed && status == TransactionStatus::Open && (Some(print) == expected || reordered);
        if same && reordered {
            self.reordered.push(next);
        }
        if conflict {
            self.investigate();
        }
        if self.trouble.is_none() {
            self.trouble = match (conflict, same) {
                (true, _) => Some(Trouble::Conflict),
                (false, true) => None,
                (false, false) => Some(Trouble::Differs(self.number_of(next))),
            };
        }
        let more = next + 1 < self.done.len();
        if more && (next > 0 || self.trouble.is_none()) {
            self.phase = Phase::Verifying(next + 1);
            if next == 0 {
                let rest = self
                    .done
                    .iter()
                    .skip(1)
                    .map(|segment| segment.sent.as_slice());
                let rest: Vec<&[u8]> = rest.collect();
                self.actions.push_back(Action::Send(rest.concat()));
            }
            return self.next();
        }
        match self.trouble.take() {
            None if !self.reordered.is_empty() => {
                let reordered = self.reordered.iter().filter_map(|at| self.done.get(*at));
                let sent = reordered.map(|segment| segment.sent.clone()).collect();
                self.actions.push_back(Action::Judge(sent));
            }
            None => self.accept(),
            Some(Trouble::Conflict) => self.again_or_give_up(),
            Some(Trouble::Differs(number)) => self.give_up(Outcome::Diverged, Some(number)),
        }
        self.next()
    }

    /// The number of the statement of an answered request, from 1; BEGIN is not counted.
    fn number_of(&self, request: usize) -> usize {
        let ran = self.done.iter().take(request + 1);
        ran.filter(|done| done.runs).count()
    }

    /// The answer to [`Action::Judge`]: the order of these rows says nothing, or it does.
    pub fn judge(&mut self, says_nothing: bool) {
        let first = self.reordered.first().copied();
        self.reordered.clear();
        match first {
            Some(_) if says_nothing => self.accept(),
            Some(first) => self.give_up(Outcome::Diverged, Some(self.number_of(first))),
            None => {}
        }
    }

    /// All that was answered came again.
    fn accept(&mut self) {
        if self.taken_back.is_some() {
            self.arrive();
        } else {
            let last = self.send_last();
            self.actions.push_back(last);
        }
    }

    /// The transaction stands where the mark is.
    fn arrive(&mut self) {
        self.phase = Phase::Watching;
        self.original = None;
        self.actions.push_back(Action::Tell(Outcome::RolledBack));
        // The unnamed statement is whichever came last.
        self.actions.push_back(Action::Forget(Vec::new()));
        // What was closed behind the mark, to make room, has been prepared again.
        let segments = self.done.iter().map(|segment| segment.sent.as_slice());
        let names = left_statements(segments);
        if !names.is_empty() {
            self.actions.push_back(Action::Remember(names));
        }
        let mut answer = std::mem::take(&mut self.reported);
        answer.extend(self.taken_back.take().unwrap_or_default());
        self.actions.push_back(Action::Inject(answer));
    }

    // ---- giving up -------------------------------------------------------------------------

    /// The client gets its first error after all, and the server's transaction the state that goes
    /// with it.
    fn give_up(&mut self, outcome: Outcome, statement: Option<usize>) {
        let told = match (&self.taken_back, outcome) {
            (Some(_), Outcome::Diverged) => Outcome::SavepointDiverged,
            _ => outcome,
        };
        self.actions.push_back(Action::Tell(told));
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
        // What was sent again may be there or not; so that this is known, none of it is.
        if self.repeated {
            let mut names = self.statements();
            let segments = self.done.iter().chain(self.flight.front());
            let closed = closed_statements(segments.map(|segment| segment.sent.as_slice()));
            names.extend(closed);
            put_closes(&mut out, &names);
            due += usize::from(!names.is_empty());
            self.actions.push_back(Action::Forget(names));
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
            Ok((count, status)) => {
                self.actions.push_back(Action::Drop(count));
                let wanted = self.original.as_ref().map(|original| original.status);
                if due > 1 {
                    self.phase = Phase::Undoing(due - 1);
                } else if wanted != Some(status) {
                    self.actions.push_back(Action::Lost);
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
            if self.taken_back.take().is_some() {
                self.status = original.status;
                self.loudness += 1;
                self.lost = true;
                self.done.clear();
            } else if let Some(front) = self.flight.pop_front() {
                self.settle(front, original.status, true);
            }
            let mut answer = std::mem::take(&mut self.reported);
            answer.extend(original.frames);
            self.actions.push_back(Action::Inject(answer));
        }
    }
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            examined: 0,
            pending: 0,
            counts: false,
            tag: 0,
            hasher: None,
            rows: Rows::default(),
            acknowledges: true,
            acknowledgements: Vec::new(),
            completed: false,
            committed: false,
            conflict: false,
            code: ConflictCode::Other,
            failed: false,
            counted: 0,
            goal: None,
        }
    }
}

impl Reader {
    /// The next frame begins the answers of another request.
    fn begin_request(&mut self) {
        self.acknowledges = true;
        self.acknowledgements.clear();
        self.completed = false;
    }

    /// Looks at the next frame of `held`.
    fn step(&mut self, held: &[u8]) -> Found {
        if self.pending > 0 {
            let there = held.len().saturating_sub(self.examined).min(self.pending);
            self.pending -= there;
            self.take(held, there);
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
            b'S' => header.total.min(LOOK_AT),
            b'C' => header.total.min(HEADER + TAG),
            b'G' | b'N' => header.total.min(LOOK_AT),
            _ => HEADER,
        };
        if rest.len() < wanted {
            return Found::Nothing;
        }
        let there = rest.len().min(header.total);
        let ready = (header.tag == b'Z').then(|| rest[HEADER..there].first().copied());
        if header.tag == b'E' {
            let fields = error_fields(&rest[HEADER..there]);
            let conflict = is_conflict(fields.code);
            if conflict {
                self.code = ConflictCode::of(&fields);
            }
            self.conflict |= conflict;
            self.failed |= !conflict;
        }
        if header.tag == b'C' {
            self.completed = true;
            let tag = &rest[HEADER..there];
            self.committed |= COMMITS.iter().any(|commit| tag.starts_with(commit));
        }
        self.tag = header.tag;
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
        if self.counts && self.hasher.is_some() {
            let piece = &held[self.examined..end];
            self.hash(piece, end);
            self.rows.update(self.tag, piece, self.pending == 0);
        }
        self.examined = end;
    }

    /// Starts a digest with the frame that was just read: the first of a request's answers.
    fn count_from_here(&mut self, held: &[u8]) {
        self.begin_digest();
        let mut at = 0;
        // All frames held so far belong to this request.
        while let Ok(Some(header)) = frame::backend_header(&held[at..self.examined]) {
            let end = (at + header.total).min(self.examined);
            if !matches!(header.tag, b'S' | b'N' | b'A' | b'Z') {
                let piece = &held[at..end];
                self.hash(piece, end);
                self.rows
                    .update(header.tag, piece, piece.len() == header.total);
            }
            at = end;
        }
    }

    fn begin_digest(&mut self) {
        self.hasher = Some(Hasher::new());
        self.rows = Rows::default();
        self.counted = 0;
    }

    fn digest(&mut self) -> Option<Print> {
        let rows = std::mem::take(&mut self.rows);
        self.hasher.take().map(|hasher| Print {
            exact: hasher.finish(),
            unordered: rows.finish(),
        })
    }
}

/// DSQL's abort: the SQLSTATE, or its own code in that place, as older releases sent it.
#[must_use]
pub fn is_conflict(code: &[u8]) -> bool {
    matches!(code, b"40001" | b"OC000" | b"OC001")
}

/// The errors and ReadyForQuery of an answer.
fn error_and_ready(frames: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = frames;
    while let Ok(Some(header)) = frame::backend_header(rest) {
        let (frame, behind) = rest.split_at(header.total.min(rest.len()));
        if matches!(header.tag, b'E' | b'Z') {
            out.extend_from_slice(frame);
        }
        rest = behind;
    }
    out
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

fn print_of_nothing() -> Print {
    Print {
        exact: Hasher::new().finish(),
        unordered: Rows::default().finish(),
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
