//! Statements that take several statements upstream, each in a transaction of its own.
//!
//! The session runs them itself, one after the other, hidden from the client, whose next requests
//! wait meanwhile. The client gets one answer: a tag, or an error that tells what has been done. What
//! is asked and what answers mean is in [`task`]; here is how it is sent, stopped and ended.

mod aside;
mod catalog;
mod copy;
mod feed;
mod rebuild;
mod task;
mod tuples;
mod words;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rand::Rng;
use tokio::time::Sleep;

use crate::policy::{
    Action, Creation, Decision, Level, LockWish, Notice, Placement, Procedure, SPLIT,
    TransactionFacts,
};
use crate::sql::Effect;
use crate::upstream::Expect;
use crate::wire::backend::{TransactionStatus, command_tag, error_fields, row_values};
use crate::wire::frame::{HEADER, Header};
use crate::wire::frontend;
use crate::wire::reply::{self, ClientError, Severity};
use crate::wire::sqlstate;

pub(super) use self::catalog::{columns, quoted, storable};

use self::aside::Aside;
use self::rebuild::Guarded;
use self::task::{Answer, Failure, Manner, Next, Request, Tag, Task, Work};
use super::abandon::Loss;
use super::advisory::{Given, Part as KeyPart, Waiting, Wish};
use super::frontend::Taken;
use super::limbo::{Limbo, aborted};
use super::names::Prepared;
use super::run::{End, Note, Own, Rest, Session};
use super::verdict::Part;

/// The client is told how far it is about so often.
const TELL: Duration = Duration::from_secs(5);

/// A connection is given back for pauses that are at least so long.
const LONG_PAUSE: Duration = Duration::from_millis(100);

/// Longest pause before the first repetition of a step; doubled for each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The rules by which tables are made anew.
const REBUILD: &str = "table_rebuild";

/// Repetitions of what has to be done, at least.
const STUBBORN: u32 = 8;

/// Requests that only look are sent on another connection so often when theirs is lost.
const LOOKS: u32 = 3;

/// Rows and bytes of an answer that are kept: keys, names of tables, the state of a job.
const ROWS: usize = 1024;

/// How the client gets the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    /// As that of a Query.
    Query,
    /// As that of an Execute.
    Execute,
    /// Not at all: what comes behind it is taken then.
    Nothing,
}

/// The parameters of a portal.
#[derive(Debug, Clone)]
struct Parameters {
    /// Types as in Parse: count and OIDs.
    types: Rc<[u8]>,
    /// Formats and values as in Bind, without formats of results.
    values: Rc<[u8]>,
}

/// A procedure under way.
pub(super) struct Running {
    /// What is left to do; the first is under way.
    tasks: VecDeque<Task>,
    tag: Tag,
    reply: Reply,
    parameters: Option<Parameters>,
    /// A lock that is waited for.
    guard: Option<Waiting<Result<Vec<Given>, ClientError>>>,
    /// What is done when the rest is done.
    aside: Option<Aside>,
    /// What begins a transaction block behind it, if the client is in one.
    block: Option<Vec<u8>>,
    /// The client itself ends its transaction, and wants another.
    chains: bool,
    /// It goes back to the last of so many savepoints, where the transaction began.
    returns: Option<usize>,
    /// So many savepoints are where the next transaction begins.
    fresh: usize,
    /// It is part of the client's transaction so far.
    within: bool,
    /// It looks for the one statement that is run in the client's transaction, which stays open.
    composes: bool,
    /// A request was sent, of which this is known.
    asked: Option<Asked>,
    pause: Option<Pin<Box<Sleep>>>,
    /// Somebody wants it to end.
    stop: Option<ClientError>,
    /// It has failed, and only undoes.
    failure: Option<Failure>,
    /// Repetitions of the request at hand.
    attempts: u32,
    /// Connections lost under a request that could be sent again.
    losses: u32,
    /// What has been done and stays.
    deeds: Vec<String>,
    /// What takes back what has been done, in order.
    undos: Vec<String>,
    /// Nothing is taken back any more: it is gone on with, whoever wants it to end.
    settled: bool,
    /// Rows changed.
    changed: u64,
    /// Tag of the last statement.
    last: String,
    /// When the client was last told something.
    told: Instant,
    began: Instant,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running")
            .field("tasks", &self.tasks)
            .field("aside", &self.aside)
            .field("failure", &self.failure)
            .finish_non_exhaustive()
    }
}

/// A request that was sent.
#[derive(Debug, Default)]
struct Asked {
    answer: Answer,
    /// It may change something.
    changes: bool,
    /// ReadyForQuery came.
    complete: bool,
    /// The server waits for data to copy.
    copies: bool,
}

impl Running {
    fn new(work: Work, reply: Reply, parameters: Option<Parameters>) -> Self {
        let now = Instant::now();
        Self {
            tasks: work.tasks.into(),
            tag: work.tag,
            reply,
            parameters,
            guard: None,
            aside: None,
            block: None,
            chains: false,
            returns: None,
            fresh: 0,
            within: false,
            composes: false,
            asked: None,
            pause: None,
            stop: None,
            failure: None,
            attempts: 0,
            losses: 0,
            deeds: Vec::new(),
            undos: Vec::new(),
            settled: false,
            changed: 0,
            last: String::new(),
            told: now,
            began: now,
        }
    }

    /// What has been done, the part of the task at hand too.
    fn all_deeds(&self) -> Vec<String> {
        let partly = self.tasks.front().and_then(|task| task.deed(false));
        self.deeds.iter().cloned().chain(partly).collect()
    }

    fn is_one_composition(&self) -> bool {
        self.tasks.len() == 1 && matches!(self.tasks.front(), Some(Task::Composed(_)))
    }

    fn tag(&self) -> String {
        match &self.tag {
            Tag::Fixed(tag) => tag.clone(),
            Tag::Counted(word) => format!("{word} {}", self.changed),
            Tag::Last => self.last.clone(),
        }
    }

    /// It fails; this undoes a part of it.
    fn fail(&mut self, failure: Failure, undo: Option<String>) {
        self.deeds = self.all_deeds();
        self.failure = Some(failure);
        self.tasks.clear();
        let undos = std::mem::take(&mut self.undos).into_iter().rev();
        self.tasks.extend(undo.map(|sql| Task::Statement {
            step: crate::policy::Step::statement(sql),
            bound: false,
        }));
        self.tasks.extend(undos.map(Guarded::undoing));
        self.pause = None;
        self.attempts = 0;
    }
}

/// A pause before a step is repeated: full jitter, as of all repetitions.
fn pause_before(attempt: u32) -> Duration {
    let bound = FIRST_PAUSE.saturating_mul(1 << attempt.min(5));
    rand::rng().random_range(Duration::ZERO..=bound)
}

/// Why a statement of several steps is refused; `None` when [`Session::take_procedure_query`] and
/// [`Session::take_procedure_execute`] run it.
pub(super) fn refusal(decision: &Decision) -> Option<ClientError> {
    let runs = match &decision.action {
        Action::Rewrite(_)
        | Action::Emulate(
            Procedure::Batch(_)
            | Procedure::Copy(_)
            | Procedure::Truncate { .. }
            | Procedure::CreateTableAs { .. }
            | Procedure::AdvisoryLock(_)
            | Procedure::Notify(_)
            | Procedure::Chain { .. }
            | Procedure::Signal(_)
            | Procedure::TemporaryTable
            | Procedure::Database(_)
            | Procedure::LockTable { .. },
        ) => true,
        _ => decision.placement == Placement::AfterCommit,
    };
    (!runs).then(|| {
        let rules: Vec<&str> = decision.rules.iter().map(|rule| &**rule).collect();
        ClientError::error(
            sqlstate::FEATURE_NOT_SUPPORTED,
            "this statement takes several steps on Aurora DSQL, which this version does not run",
        )
        .hint(format!(
            "dsql-proxy explain prints the steps; rules: {}.",
            rules.join(", ")
        ))
    })
}

/// The refusal of such a statement among others of one Query.
pub(super) fn alone() -> ClientError {
    ClientError::error(
        sqlstate::FEATURE_NOT_SUPPORTED,
        "this statement takes several steps on Aurora DSQL and cannot be one of several in a Query",
    )
    .hint("Send it as a Query of its own.")
}

impl Session {
    /// Runs the one statement of a Query, and answers it with ReadyForQuery.
    pub(super) fn take_procedure_query(&mut self, text: &[u8], part: &Part) -> Taken {
        if self.waits_for_answers(false) {
            return Taken::Wait;
        }
        if let Action::Emulate(Procedure::Chain { commit }) = part.decision.action {
            return self.begin_chain(commit, Reply::Query);
        }
        if self.has_failed() {
            self.more = None;
            aborted().put(self.answers());
            reply::put_ready(self.answers(), TransactionStatus::Failed);
            return Taken::All;
        }
        if let Some(taken) = self.take_aside(part, Reply::Query, &[]) {
            return taken;
        }
        self.begin_part(text, part, Reply::Query, None)
    }

    /// Runs the statement of a portal when it is executed. The server got an empty statement in its
    /// place, so that Parse, Bind and Describe are answered; or the client's own, if that may have
    /// parameters.
    pub(super) fn take_procedure_execute(
        &mut self,
        prepared: &Prepared,
        part: &Part,
        values: Option<&Rc<[u8]>>,
    ) -> Taken {
        if self.waits_for_answers(false) {
            return Taken::Wait;
        }
        if let Action::Emulate(Procedure::Chain { commit }) = part.decision.action {
            return self.begin_chain(commit, Reply::Execute);
        }
        if self.has_failed() {
            self.refuse_parse(aborted());
            return Taken::All;
        }
        if values.is_none() {
            self.refuse_parse(words::long_parameters());
            return Taken::All;
        }
        let bind = values.map_or(&[][..], |values| values);
        if let Some(taken) = self.take_aside(part, Reply::Execute, bind) {
            return taken;
        }
        let parameters = values.map(|values| Parameters {
            types: prepared.types.as_ref().into(),
            values: Rc::clone(values),
        });
        self.begin_part(&prepared.source, part, Reply::Execute, parameters)
    }

    /// Commits what the client's transaction has done, if the statement of a portal that is bound
    /// cannot be in the same one.
    pub(super) fn take_procedure_bind(&mut self, part: &Part) -> Option<Taken> {
        if part.decision.placement != Placement::AfterCommit {
            return None;
        }
        if self.waits_for_answers(false) {
            return Some(Taken::Wait);
        }
        if self.has_failed() {
            return None;
        }
        Some(self.begin_part(b"", part, Reply::Nothing, None))
    }

    /// The client's transaction was committed in the middle, and goes on.
    ///
    /// Tells how many of the last savepoints had nothing behind them then.
    pub(super) fn goes_on_behind_commit(&self) -> Option<usize> {
        let running = self.procedure.as_deref();
        let running = running.filter(|running| running.block.is_some() && !running.chains);
        running.map(|running| running.fresh)
    }

    /// The client's transaction begins again at the last of so many savepoints.
    pub(super) fn begins_again(&self) -> Option<usize> {
        self.procedure.as_deref()?.returns
    }

    /// The client's transaction is rolled back, and goes on from the last of so many savepoints,
    /// where it began. Nothing may be owed.
    pub(super) fn begin_block_again(&mut self, savepoints: usize, reply: Reply) -> Taken {
        let taken = self.begin_chain(false, reply);
        if let Some(running) = &mut self.procedure {
            running.returns = Some(savepoints);
        }
        taken
    }

    /// COMMIT or ROLLBACK AND CHAIN. Nothing may be owed; the client's next frames wait.
    fn begin_chain(&mut self, commit: bool, reply: Reply) -> Taken {
        let effect = match commit {
            true => Effect::Commit { plain: true },
            false => Effect::Rollback { plain: true },
        };
        let (tasks, begin) = match self.begin.take() {
            // There was nothing to end.
            Some(begin) => {
                self.settings.apply(&effect);
                self.obey_switches();
                (Vec::new(), begin)
            }
            None if self.lease.is_some() && self.block() != TransactionStatus::Idle => {
                let end = match commit {
                    true => Task::Commit,
                    false => Task::Rollback,
                };
                let sync = self.owed.is_unsynced().then_some(Task::Sync);
                (sync.into_iter().chain([end]).collect(), self.same_begin())
            }
            None => {
                let error = words::no_block(commit);
                if reply == Reply::Execute {
                    self.refuse_extended(error);
                } else {
                    self.more = None;
                    self.take_passing_of_lease();
                    error.put(self.cout.tail());
                    self.end_request(reply);
                }
                return Taken::All;
            }
        };
        self.take_passing_of_lease();
        let tag = match (tasks.is_empty(), commit) {
            // A failed transaction is rolled back, and the server says so.
            (false, _) => Tag::Last,
            (true, true) => Tag::Fixed("COMMIT".to_owned()),
            (true, false) => Tag::Fixed("ROLLBACK".to_owned()),
        };
        let mut running = Running::new(Work { tasks, tag }, reply, None);
        running.block = Some(begin);
        running.chains = true;
        running.settled = true;
        self.start_statement();
        self.procedure = Some(Box::new(running));
        Taken::All
    }

    /// The text that begins a transaction with the modes of the open one.
    fn same_begin(&self) -> Vec<u8> {
        match self.read_only.or(self.begun_read_only) {
            Some(true) => b"BEGIN READ ONLY".to_vec(),
            Some(false) => b"BEGIN READ WRITE".to_vec(),
            None => b"BEGIN".to_vec(),
        }
    }

    fn has_failed(&self) -> bool {
        self.lease.is_some() && self.block() == TransactionStatus::Failed
    }

    /// `text` is the client's, of which `part` is the only statement.
    fn begin_part(
        &mut self,
        text: &[u8],
        part: &Part,
        reply: Reply,
        parameters: Option<Parameters>,
    ) -> Taken {
        let again = part.decision.placement == Placement::AfterCommit;
        // What its rules say is told when it is taken again.
        let told = part.decision.notices.iter();
        let told = told.filter(|notice| !again || &*notice.rule == SPLIT);
        let told: Vec<Notice> = told.cloned().collect();
        let notices = self.notices(&told);
        self.take_passing_of_lease();
        self.answers().extend_from_slice(&notices);
        if again {
            // Its transaction is another then, in which it is taken again.
            let work = Work {
                tasks: Vec::new(),
                tag: Tag::Last,
            };
            let fresh = self.fresh_savepoints();
            self.begin_procedure(work, Reply::Nothing, None, None);
            if let Some(running) = &mut self.procedure {
                running.fresh = fresh;
            }
            return Taken::Wait;
        }
        let whole = text.get(part.span.clone()).unwrap_or_default();
        let whole = String::from_utf8_lossy(whole);
        let manner = Manner {
            waits: self.switches.index_wait,
            rows: self
                .env
                .policy
                .as_ref()
                .map_or(1, |policy| policy.verdicts.batch_rows()),
            open: self.transaction.open,
        };
        // Executed or not, other connections have to hear of it.
        self.changes_schema |= matches!(
            part.decision.action,
            Action::Rewrite(_) | Action::Emulate(Procedure::CreateTableAs { .. })
        );
        match Work::of(&part.decision.action, &whole, manner) {
            Some(work) => {
                let creation = part.creation.clone();
                self.begin_procedure(work, reply, parameters, creation);
            }
            // Refused before it comes to this.
            None => {
                let work = Work {
                    tasks: Vec::new(),
                    tag: Tag::Last,
                };
                self.begin_procedure(work, reply, None, None);
                self.fail_procedure(Failure::Own(alone()), None);
            }
        }
        Taken::All
    }

    /// Begins to do a statement's work. Nothing may be owed; the client's next frames wait.
    fn begin_procedure(
        &mut self,
        work: Work,
        reply: Reply,
        parameters: Option<Parameters>,
        creation: Option<Creation>,
    ) {
        self.take_passing_of_lease();
        let mut running = Running::new(work, reply, parameters);
        let block = self.begin.is_some() || self.block() == TransactionStatus::Open;
        running.composes = block && running.is_one_composition();
        running.within =
            running.composes || running.copying().is_some_and(|copying| copying.within);
        if running.within {
            // Its BEGIN goes ahead of it, if that was not sent yet.
        } else if let Some(begin) = self.begin.take() {
            running.block = Some(begin);
        } else if self.lease.is_some() && self.block() == TransactionStatus::Open {
            let begin = self.begin_sent.clone();
            running.block = Some(begin.unwrap_or_else(|| b"BEGIN".to_vec()));
            let made = self.creations.take_expected();
            if !made.is_empty() {
                running.tasks.push_front(Task::Find(made));
            }
            running.tasks.push_front(Task::Commit);
        }
        if let Some(made) = creation.filter(|_| running.block.is_some()) {
            running.tasks.push_back(Task::Find(vec![made]));
        }
        if self.owed.is_unsynced() {
            running.tasks.push_front(Task::Sync);
        }
        self.start_statement();
        self.procedure = Some(Box::new(running));
    }

    /// Goes on with the procedure as far as it can.
    pub(super) fn run_procedure(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let Some(running) = &mut self.procedure else {
            return Ok(false);
        };
        match &running.asked {
            Some(asked) if asked.complete => {
                self.note_answer();
                return Ok(true);
            }
            Some(asked) if asked.copies => return Ok(self.send_batch()),
            Some(_) => return Ok(false),
            None => {}
        }
        if let Some(guard) = &mut running.guard
            && running.stop.is_none()
        {
            let Poll::Ready(outcome) = guard.as_mut().poll(cx) else {
                self.release_if_settled();
                return Ok(false);
            };
            running.guard = None;
            if let Err(error) = outcome {
                self.fail_procedure(Failure::Own(error), None);
            }
            return Ok(true);
        }
        if running.tasks.is_empty() && running.aside.is_some() {
            return Ok(self.run_aside(cx));
        }
        if running.stop.is_some() && running.fails_with_server() {
            // As the server does that waits for data.
        } else if running.stop.is_some() && running.failure.is_none() && !running.settled {
            self.obey_stop();
            return Ok(true);
        }
        if let Some(pause) = &mut running.pause {
            if pause.as_mut().poll(cx).is_pending() {
                return Ok(false);
            }
            running.pause = None;
        }
        if running.tasks.is_empty() {
            self.end_procedure();
            return Ok(true);
        }
        if running.failure.is_none() && running.copying().is_some() {
            if running.waits_for_data() {
                return Ok(false);
            }
            if self.give_up_copy() {
                return Ok(true);
            }
        }
        let waited = self.ticket.is_some();
        match self.ensure_lease() {
            Ok(true) => {
                self.ask_step();
                Ok(true)
            }
            Ok(false) => Ok(!waited),
            Err(error) => {
                self.fail_procedure(Failure::Own(error), None);
                Ok(true)
            }
        }
    }

    // ---- asking ----------------------------------------------------------------------------

    fn ask_step(&mut self) {
        let Some(running) = &mut self.procedure else {
            return;
        };
        let Some(task) = running.tasks.front() else {
            return;
        };
        let request = task.request();
        let changes = match &request {
            Request::Sync | Request::Commit => true,
            // As soon as data are sent.
            Request::Describe(_) | Request::Copy(_) | Request::Rollback => false,
            Request::Text { changes, .. } => *changes,
            Request::Rows => true,
        };
        running.asked = Some(Asked {
            changes,
            ..Asked::default()
        });
        let parameters = match &request {
            Request::Text { bound: true, .. } => running.parameters.clone(),
            _ => None,
        };
        if self.owed.is_empty() {
            self.wrote_upstream = false;
        }
        match (request, parameters) {
            (Request::Sync, _) => self.send(Expect::Sync, true, step(true), |out| {
                frontend::put(out, b'S', &[]);
            }),
            (Request::Commit, _) => {
                let note = step(true).map(|note| Note {
                    effects: Some([Effect::Commit { plain: true }].into()),
                    ..note
                });
                self.send(Expect::Query, true, note, |out| {
                    frontend::put_query(out, b"COMMIT");
                });
            }
            (Request::Rollback, _) => {
                let note = step(false).map(|note| Note {
                    effects: Some([Effect::Rollback { plain: true }].into()),
                    ..note
                });
                self.send(Expect::Query, true, note, |out| {
                    frontend::put_query(out, b"ROLLBACK");
                });
            }
            (Request::Describe(sql), _) => self.send_describe(&sql),
            (Request::Copy(sql), _) => {
                self.send(Expect::Query, true, step(true), |out| {
                    frontend::put_query(out, sql.as_bytes());
                });
            }
            (Request::Rows, _) => self.send_rows(),
            (Request::Text { sql, .. }, None) => {
                self.send(Expect::Query, true, step(changes), |out| {
                    frontend::put_query(out, sql.as_bytes());
                });
            }
            (Request::Text { sql, .. }, Some(parameters)) => {
                self.send_bound(&sql, &parameters, changes);
            }
        }
        self.unnamed.settle(None);
    }

    fn send_describe(&mut self, sql: &str) {
        self.send(Expect::Parse, true, step(false), |out| {
            frontend::put_parse(out, b"", sql.as_bytes(), b"\0\0");
        });
        self.send(Expect::DescribeStatement, true, step(false), |out| {
            frontend::put(out, b'D', &[b"S\0"]);
        });
        self.send(Expect::Sync, true, step(false), |out| {
            frontend::put(out, b'S', &[]);
        });
    }

    fn send_bound(&mut self, sql: &str, parameters: &Parameters, changes: bool) {
        self.send(Expect::Parse, true, step(false), |out| {
            frontend::put_parse(out, b"", sql.as_bytes(), &parameters.types);
        });
        self.send(Expect::Bind, true, step(false), |out| {
            // Unnamed portal and statement; all results as text.
            frontend::put(out, b'B', &[b"\0\0", &parameters.values, b"\0\0"]);
        });
        self.send(Expect::Execute, true, step(changes), |out| {
            frontend::put(out, b'E', &[b"\0\0\0\0\0"]);
        });
        self.send(Expect::Sync, true, step(false), |out| {
            frontend::put(out, b'S', &[]);
        });
    }

    /// The answer that comes next is one to a procedure's request.
    pub(super) fn answers_procedure(&self) -> bool {
        let front = self.owed.front().and_then(|entry| entry.note.as_deref());
        front.is_some_and(|note| note.own == Some(Own::Step))
    }

    /// Looks at a frame that answers a procedure's request. True when the client is to see it.
    pub(super) fn look_for_procedure(
        &mut self,
        header: Header,
        body: &[u8],
    ) -> Result<Option<bool>, End> {
        let whole = body.len() + HEADER == header.total;
        let expect = self.owed.front().map(|entry| entry.expect);
        match header.tag {
            b'D' => {
                if let Some(asked) = self.asked_step()
                    && whole
                    && asked.answer.rows.len() < ROWS
                {
                    asked.answer.rows.push(row_values(body));
                }
            }
            b'G' => return self.open_copy().map(Some),
            b'C' => {
                if std::mem::take(&mut self.copy_open) {
                    self.owed.forget_copy_end();
                }
                let tag = command_tag(body).unwrap_or_default();
                let text = String::from_utf8_lossy(tag).into_owned();
                self.apply_commit(tag);
                if let Some(asked) = self.asked_step() {
                    asked.answer.counted += task::number_of(&text);
                    asked.answer.tag = text;
                }
                self.pop_step(expect);
            }
            b'I' => self.pop_step(expect),
            b'E' if !error_fields(body).is_fatal() => {
                self.note_unwatched(&error_fields(body));
                self.settings.fail();
                self.copying_in = false;
                self.copy_open = false;
                if let Some(asked) = self.asked_step() {
                    asked.copies = false;
                    asked.answer.error = Some(body.to_vec());
                }
                if expect.is_some_and(Expect::is_extended) {
                    self.fail_batch();
                }
            }
            // What the server says about the client's objects: "already exists, skipping".
            b'N' => return Ok(Some(self.wants_of_server(body))),
            b'T' if expect == Some(Expect::Query) => {}
            b'T' => {
                if let Some(asked) = self.asked_step().filter(|_| whole) {
                    asked.answer.columns = body.to_vec();
                }
                return Ok(None);
            }
            // Everything else is the relay's business, as of any other request.
            _ => return Ok(None),
        }
        Ok(Some(false))
    }

    fn apply_commit(&mut self, tag: &[u8]) {
        let front = self.owed.front().and_then(|entry| entry.note.as_deref());
        let effect = front.and_then(|note| note.effects.as_deref()?.first().cloned());
        if let Some(effect) = effect {
            self.take_effect(&effect, tag);
        }
    }

    fn pop_step(&mut self, expect: Option<Expect>) {
        if expect == Some(Expect::Execute) {
            self.owed.pop();
        }
    }

    fn asked_step(&mut self) -> Option<&mut Asked> {
        self.procedure.as_mut()?.asked.as_mut()
    }

    /// A request of a procedure was answered in full.
    pub(super) fn procedure_ready(&mut self) {
        if let Some(asked) = self.asked_step() {
            asked.complete = true;
        }
        self.deadlines.cancelled_in_time();
    }

    // ---- answers ---------------------------------------------------------------------------

    fn note_answer(&mut self) {
        let repeats = self.repeats();
        let Some(running) = &mut self.procedure else {
            return;
        };
        let answer = running.asked.take().unwrap_or_default().answer;
        let Some(task) = running.tasks.front_mut() else {
            return;
        };
        let conflict = answer.error.as_deref().is_some_and(|body| {
            error_fields(body).code == sqlstate::SERIALIZATION_FAILURE.as_bytes()
        });
        // What commits the client's transaction is repeated with it, or not at all.
        let transactions = matches!(task, Task::Commit) || running.within;
        let may_repeat = conflict && running.stop.is_none() && !transactions;
        if may_repeat && running.attempts < repeats {
            let pause = pause_before(running.attempts);
            running.attempts += 1;
            self.pause_procedure(pause);
            return;
        }
        running.attempts = 0;
        let splits = answer.error.is_none()
            && matches!(task, Task::Copy(copying) if copying.splits && copying.within);
        let undoing = running.failure.is_some();
        let tag = answer.tag.clone();
        let rolled_back = matches!(task, Task::Commit) && tag == "ROLLBACK" && !running.chains;
        match task.answered(answer) {
            Next::Again => {}
            Next::Pause(pause) => self.pause_procedure(pause),
            Next::Feed(columns) => self.ask_for_rows(columns),
            Next::Done if rolled_back => {
                let error = aborted();
                self.fail_procedure(Failure::Own(error), None);
                return;
            }
            Next::Done => {
                match undoing {
                    true => running.deeds.retain(|deed| !task.undoes(deed)),
                    false => running.deeds.extend(task.deed(true)),
                }
                if let Task::Guarded(guarded) = task {
                    running.undos.extend(guarded.undo.take());
                    if guarded.settles {
                        running.undos.clear();
                        running.settled = true;
                    }
                }
                running.changed += task.changed(&tag);
                if running.chains || !matches!(task, Task::Sync | Task::Commit) {
                    running.last = tag;
                }
                running.tasks.pop_front();
            }
            Next::Found(made) => {
                running.tasks.pop_front();
                self.creations.add(made);
            }
            Next::Finish => running.tasks.clear(),
            Next::Guard(name) => {
                if let Task::Rebuild(rebuilding) = task {
                    rebuilding.lock();
                }
                self.guard_rebuild(name);
            }
            Next::Skip(tag, code, notice) => {
                if !matches!(running.tag, Tag::Fixed(_)) {
                    running.tag = Tag::Fixed(tag.to_owned());
                }
                running.tasks.clear();
                self.tell_notice(code, notice);
            }
            Next::Rename(old) => {
                let new = task::next_name(&old);
                for task in &mut running.tasks {
                    task.rename(&old, &new);
                }
            }
            Next::Become(tasks) => {
                running.tasks.pop_front();
                for task in tasks.into_iter().rev() {
                    running.tasks.push_front(task);
                }
            }
            Next::Tell(tasks, notice) => {
                running.tasks.pop_front();
                for task in tasks.into_iter().rev() {
                    running.tasks.push_front(task);
                }
                self.tell_notice("00000", notice);
            }
            Next::Fail(failure, _) if undoing => {
                let left = String::from_utf8_lossy(failure.code()).into_owned();
                tracing::warn!(sqlstate = left, "a failed step could not be undone");
                let subject = task.subject();
                running.deeds.push(format!(
                    "what this should have undone, which failed: {subject}"
                ));
                running.tasks.clear();
            }
            Next::Fail(failure, undo) => self.fail_procedure(failure, undo),
        }
        if splits {
            self.split_for_copy();
        }
        self.tell_progress();
    }

    /// Repetitions that a step gets from the session, behind those that it got as a transaction.
    fn repeats(&self) -> u32 {
        let undoing = self
            .procedure
            .as_ref()
            .is_some_and(|r| r.failure.is_some() || r.settled);
        match self.retry_on || undoing {
            true => self
                .env
                .retry
                .limits
                .attempts
                .max(if undoing { STUBBORN } else { 0 }),
            false => 0,
        }
    }

    fn pause_procedure(&mut self, pause: Duration) {
        if let Some(running) = &mut self.procedure {
            running.pause = Some(Box::pin(tokio::time::sleep(pause)));
        }
        if pause >= LONG_PAUSE {
            self.release_if_settled();
        }
    }

    /// Waits until nobody else makes a table of this name anew; until the end of the transaction, or
    /// of the statement.
    fn guard_rebuild(&mut self, name: String) {
        let wish = Wish {
            wish: LockWish::Lock,
            shared: false,
            transaction: true,
            key: Some(vec![KeyPart::Name(format!("rebuild {name}"))]),
            database: self.identity.database().to_owned(),
            timeout: self.timeout("lock_timeout"),
            open: true,
        };
        let waiting = self.advisory.carry_out(vec![wish]);
        if let Some(running) = &mut self.procedure {
            running.guard = Some(waiting);
        }
    }

    fn tell_notice(&mut self, code: sqlstate::SqlState, message: String) {
        let notice = Notice {
            level: match code {
                "01000" => Level::Warning,
                _ => Level::Notice,
            },
            code,
            message,
            hint: None,
            once: false,
            rule: REBUILD.into(),
        };
        let mut notices = self.notices(&[notice]);
        self.take_passing_of_lease();
        self.cout.tail().append(&mut notices);
    }

    fn tell_progress(&mut self) {
        let Some(running) = &mut self.procedure else {
            return;
        };
        if running.told.elapsed() < TELL || running.failure.is_some() {
            return;
        }
        running.told = Instant::now();
        let progress = running.tasks.front().and_then(Task::progress);
        let seconds = running.began.elapsed().as_secs();
        if let Some(progress) = progress {
            self.take_passing_of_lease();
            let message = format!("{progress} ({seconds} s so far)");
            reply::put_notice(self.cout.tail(), "00000", &message);
        }
    }

    // ---- stopping --------------------------------------------------------------------------

    /// Somebody wants the statement to end.
    pub(super) fn cancel_procedure(&mut self) {
        let error = ClientError::error(
            sqlstate::QUERY_CANCELED,
            "canceling statement due to user request",
        );
        let cancels = self.control.take_cancels();
        let Some(running) = &mut self.procedure else {
            return;
        };
        running.stop.get_or_insert(error);
        let runs = running.asked.as_ref().is_some_and(|asked| !asked.copies)
            && running.tasks.front().is_some_and(|t| !t.is_waiting());
        self.leave_queue();
        self.stop_repeating();
        if !runs {
            return;
        }
        if let Some(lease) = &self.lease {
            for done in cancels {
                self.env.tally.cancels.add(1);
                lease.cancel(move || drop(done));
            }
            self.expect_cancel();
        }
    }

    /// Its time is up, or a cancel request had no effect.
    pub(super) fn give_up_procedure(&mut self, error: ClientError) -> Result<(), End> {
        let Some(running) = &mut self.procedure else {
            return Ok(());
        };
        let again = running.stop.is_some();
        running.stop.get_or_insert(error.clone());
        let waits = running.asked.as_ref().is_none_or(|asked| asked.copies)
            || running.tasks.front().is_some_and(Task::is_waiting);
        self.leave_queue();
        self.stop_repeating();
        if waits {
            return Ok(());
        }
        if !again && let (Some(_), Some(lease)) = (self.env.kept.cancel_grace, &self.lease) {
            lease.cancel(|| {});
            self.expect_cancel();
            return Ok(());
        }
        Err(End::Lost(Box::new(Loss {
            cause: error.message.clone(),
            told: Some(error),
            code: sqlstate::QUERY_CANCELED,
            repeatable: false,
            running: true,
            ends: false,
        })))
    }

    fn obey_stop(&mut self) {
        let Some(running) = &mut self.procedure else {
            return;
        };
        if running.tasks.is_empty() {
            // Done just in time.
            running.stop = None;
            return;
        }
        let Some(error) = running.stop.clone() else {
            return;
        };
        let undo = running.tasks.front_mut().and_then(Task::give_up);
        self.fail_procedure(Failure::Own(error), undo);
    }

    fn fail_procedure(&mut self, failure: Failure, undo: Option<String>) {
        let Some(running) = &mut self.procedure else {
            return;
        };
        // A cancelled statement says why.
        let cancelled = failure.code() == sqlstate::QUERY_CANCELED.as_bytes();
        let failure = match running.stop.clone().filter(|_| cancelled) {
            Some(error) => Failure::Own(error),
            None => failure,
        };
        running.fail(failure, undo);
        // What undoes it has all the time it needs.
        self.deadlines.answered();
    }

    /// The connection is lost under a procedure.
    ///
    /// # Errors
    /// When the session ends with it.
    pub(super) fn lose_procedure(&mut self, loss: &Loss) -> Result<(), End> {
        let wrote = self.wrote_upstream;
        self.forget_connection(loss.running);
        let Some(running) = &mut self.procedure else {
            return Ok(());
        };
        if running.aside.is_some() {
            return Err(End::Refuse(fatal(loss.told.clone())));
        }
        let asked = running.asked.take();
        let open = running
            .tasks
            .iter()
            .take(2)
            .any(|task| matches!(task, Task::Commit))
            || running.within;
        let doubtful = wrote && !running.within && asked.is_some_and(|asked| asked.changes);
        let subject = running
            .tasks
            .front()
            .map_or_else(String::new, Task::subject);
        let error = match (doubtful, open, &loss.told) {
            (true, ..) => {
                self.env.tally.commit_unknown.add(1);
                words::lost(&subject, &running.all_deeds(), &loss.cause)
            }
            (false, true, _) => ClientError::error(
                sqlstate::SERIALIZATION_FAILURE,
                "the upstream connection was lost inside a transaction; nothing was committed",
            )
            .detail(loss.cause.clone())
            .hint("Run the whole transaction again."),
            (false, false, None) if loss.repeatable && running.losses < LOOKS => {
                running.losses += 1;
                return self.end_if_pinned(None);
            }
            (false, false, Some(told)) => told.clone(),
            (false, false, None) => {
                ClientError::error(loss.code, "the upstream connection was lost")
            }
        };
        if !running.undos.is_empty()
            && running.failure.is_none()
            && !loss.ends
            && self.pin.is_none()
        {
            // Nothing of it is to stay.
            running.fail(Failure::Own(error), None);
            return Ok(());
        }
        // All is told already when it is in doubt.
        if doubtful {
            running.deeds.clear();
        }
        running.tasks.clear();
        match running.failure.is_some() {
            // What was to be undone stays.
            true => running
                .deeds
                .push(format!("what this should have undone: {subject}")),
            false => running.failure = Some(Failure::Own(error.clone())),
        }
        self.end_if_pinned(Some(error).filter(|_| !loss.ends))
            .and(match loss.ends {
                true => Err(End::Refuse(fatal(loss.told.clone()))),
                false => Ok(()),
            })
    }

    /// What the session had on its connection is gone.
    fn end_if_pinned(&mut self, error: Option<ClientError>) -> Result<(), End> {
        match self.pin {
            Some(_) => Err(End::Refuse(fatal(error))),
            None => Ok(()),
        }
    }

    // ---- the end ---------------------------------------------------------------------------

    fn end_procedure(&mut self) {
        let Some(mut running) = self.procedure.take() else {
            return;
        };
        if running.chains && running.failure.is_some() {
            // The transaction is over, and no other has begun.
            running.block = None;
            running.deeds.clear();
            self.status = TransactionStatus::Idle;
        }
        self.transaction = match running.within {
            true if running.composes => TransactionFacts {
                ddl: true,
                ..self.transaction
            },
            true => TransactionFacts {
                wrote: true,
                ..self.transaction
            },
            false => TransactionFacts {
                open: running.block.is_some(),
                ..TransactionFacts::default()
            },
        };
        self.take_passing_of_lease();
        self.recent.clear();
        match &running.failure {
            None => self.tell_done(&running),
            Some(failure) => self.tell_failure(&running, failure),
        }
        self.release_if_settled();
        if self.lease.is_some() && self.limbo.is_none() {
            self.send_deferred_begin();
        }
    }

    fn tell_done(&mut self, running: &Running) {
        if running.block.is_some() {
            self.begin.clone_from(&running.block);
            self.status = TransactionStatus::Open;
        }
        // Back at a savepoint, the client's transaction is not over.
        if running.chains && running.returns.is_none() {
            self.end_chained(running.tag() == "COMMIT");
        }
        match running.reply {
            Reply::Nothing => return,
            Reply::Query => self.names.forget_unnamed(),
            Reply::Execute => {}
        }
        reply::put_command_complete(self.cout.tail(), &running.tag());
        self.end_request(running.reply);
    }

    /// One transaction of the client has ended, though it is in the next already.
    fn end_chained(&mut self, committed: bool) {
        if committed {
            self.creations.forget();
        }
        self.end_cursors(committed);
        self.temporary.note_end(!committed);
        self.deadlines.transaction_over();
        self.settle_transaction_end();
    }

    fn tell_failure(&mut self, running: &Running, failure: &Failure) {
        let mut frame = Vec::new();
        words::put_failure(&mut frame, failure, &running.deeds);
        if let Rest::Keep(left) = self.from_client {
            // The rest of a message of data is nobody's.
            self.from_client = Rest::Drop(left);
        }
        if running.within && self.lease.is_some() {
            self.status = self.owed.status();
        }
        if running.block.is_some() || running.within && self.lease.is_none() {
            let reason = match failure {
                Failure::Own(error) => error.clone(),
                Failure::Server(body) => words::of_server(body),
            };
            self.limbo = Some(match running.reply {
                Reply::Nothing => Limbo::telling(reason),
                Reply::Query | Reply::Execute => Limbo::told(reason),
            });
            self.status = TransactionStatus::Failed;
        }
        match running.reply {
            // What comes behind it is told.
            Reply::Nothing if running.block.is_some() => return,
            Reply::Nothing | Reply::Query => {}
            Reply::Execute => self.discarding = true,
        }
        self.more = None;
        self.cout.tail().append(&mut frame);
        self.end_request(running.reply);
    }

    fn end_request(&mut self, reply: Reply) {
        if reply == Reply::Execute {
            // The batch goes on; what was shown of it cannot be taken back.
            self.acks_to_skip = 0;
            self.results_shown = true;
            self.restart_statement();
            return;
        }
        if self.status == TransactionStatus::Idle {
            self.deadlines.transaction_over();
        }
        if let Some(rest) = self.more.take() {
            self.take_rest(&rest);
            return;
        }
        self.request_answered();
        self.env.tally.requests.add(1);
        reply::put_ready(self.cout.tail(), self.status);
    }
}

fn fatal(error: Option<ClientError>) -> ClientError {
    let error = error.unwrap_or_else(|| {
        ClientError::error(
            sqlstate::CONNECTION_FAILURE,
            "the upstream connection was lost",
        )
    });
    ClientError {
        severity: Severity::Fatal,
        ..error
    }
}

fn step(changes: bool) -> Option<Note> {
    Some(Note {
        own: Some(Own::Step),
        writes: changes,
        ..Note::default()
    })
}
