//! What a procedure asks of the server, one request after the other, and what the answers mean.
//!
//! Pure: answers go in, texts come out.

use std::time::Duration;

use crate::policy::{
    Action, Batch, BatchKind, Creation, Procedure, Rewrite, Step, StepKind, TableName,
};
use crate::session::creations::{self, Made};
use crate::sql::redact;
use crate::wire::backend::error_fields;
use crate::wire::reply::ClientError;
use crate::wire::sqlstate::{self, SqlState};

use super::catalog;
use super::copy::Copying;
use super::rebuild::{Comparing, Guarded, Moving, Rebuilding, Renaming};
use super::words;

/// Characters of a statement that messages show.
const SHOWN: usize = 120;

/// A job is looked at after so long for the first time, then ever less often.
const FIRST_LOOK: Duration = Duration::from_millis(20);
/// At least so often.
const LONGEST_LOOK: Duration = Duration::from_secs(1);
/// So many names are tried, should the chosen one be taken.
const CHOICES: u32 = 20;
/// A job that is not listed is looked for so often.
const MISSING_LOOKS: u32 = 10;

/// What the server said to a request, but for what the session itself deals with.
#[derive(Debug, Default)]
pub(in crate::session) struct Answer {
    /// Rows, of which only the first are kept.
    pub rows: Vec<Vec<Option<String>>>,
    /// The command tag.
    pub tag: String,
    /// Rows as the tags of all its statements count them.
    pub counted: u64,
    /// Body of a RowDescription.
    pub columns: Vec<u8>,
    /// Body of an ErrorResponse.
    pub error: Option<Vec<u8>>,
}

impl Answer {
    fn first(&self) -> Option<&str> {
        self.rows.first()?.first()?.as_deref()
    }

    /// Rows as the tag counts them.
    fn count(&self) -> u64 {
        number_of(&self.tag)
    }
}

/// The number of rows at the end of a tag.
pub(super) fn number_of(tag: &str) -> u64 {
    let number = tag.rsplit(' ').next();
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// What is sent next.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::session) enum Request {
    /// The end of what the client's batch began.
    Sync,
    /// The end of the client's transaction.
    Commit,
    /// The same, with nothing done.
    Rollback,
    /// What columns a query has.
    Describe(String),
    /// A COPY that takes data.
    Copy(String),
    /// Rows that the client has copied, as INSERTs.
    Rows,
    /// A statement.
    Text {
        sql: String,
        /// It has the client's parameters.
        bound: bool,
        /// It may change something, so that a lost answer leaves a doubt.
        changes: bool,
    },
}

impl Request {
    fn change(sql: impl Into<String>) -> Self {
        Self::Text {
            sql: sql.into(),
            bound: false,
            changes: true,
        }
    }

    pub fn look(sql: String) -> Self {
        Self::Text {
            sql,
            bound: false,
            changes: false,
        }
    }
}

/// Why a task cannot be done.
#[derive(Debug)]
pub(in crate::session) enum Failure {
    /// The server's own error.
    Server(Vec<u8>),
    /// The proxy's.
    Own(ClientError),
}

impl Failure {
    /// Its SQLSTATE.
    pub fn code(&self) -> &[u8] {
        match self {
            Self::Server(body) => error_fields(body).code,
            Self::Own(error) => error.code.as_bytes(),
        }
    }
}

/// What comes behind an answer.
#[derive(Debug)]
pub(in crate::session) enum Next {
    /// The task asks again.
    Again,
    /// The same, after a pause.
    Pause(Duration),
    /// It is done.
    Done,
    /// So is all.
    Finish,
    /// The client is asked for rows of so many values.
    Feed(u16),
    /// It goes on when nobody else makes a table of this name anew.
    Guard(String),
    /// What the transaction has made was looked up.
    Found(Vec<Made>),
    /// There is nothing to do: the tag, and a NOTICE why, with its SQLSTATE.
    Skip(&'static str, SqlState, String),
    /// A name that was chosen is taken: what is left of the steps gets the next one.
    Rename(String),
    /// Others take its place.
    Become(Vec<Task>),
    /// The same, and a NOTICE says what is going on.
    Tell(Vec<Task>, String),
    /// It cannot be done; what undoes its part, if anything does.
    Fail(Failure, Option<String>),
}

/// One piece of work.
#[derive(Debug)]
pub(in crate::session) enum Task {
    /// Ends what the client's batch began.
    Sync,
    /// Ends the client's transaction.
    Commit,
    /// Ends it with nothing done.
    Rollback,
    /// One statement.
    Statement { step: Step, bound: bool },
    /// A statement that begins a job.
    Job(Job),
    /// Changes in batches.
    Batches(Batches),
    /// Rows that the client sends, in batches.
    Copy(Copying),
    /// Finds the columns of a table that is made from a query.
    Columns(Making),
    /// Finds the tables that refer to those that are emptied.
    Referring(Truncation),
    /// Whether what comes behind it is done; the NOTICE if not.
    Condition(String, Option<String>),
    /// Finds out what is done in its place.
    Composed(String),
    /// Has the server refuse something, so that its transaction fails too: why the client's cannot be done.
    Refusal(Box<ClientError>),
    /// Finds out how a table is made anew.
    Rebuild(Box<Rebuilding>),
    /// A statement of that.
    Guarded(Guarded),
    /// Copies the rows of that.
    Move(Moving),
    /// Counts them.
    Compare(Comparing),
    /// Names a sequence.
    Rename(Renaming),
    /// Finds the numbered columns of a table, to number them from the start.
    Numbered(TableName),
    /// Finds what the client's transaction has made and committed.
    Find(Vec<Creation>),
    /// The server has refused an index with this error: whether it is one of a materialized view.
    Unindexed(TableName, Vec<u8>),
}

/// A job, from its statement to its end.
#[derive(Debug)]
pub(in crate::session) struct Job {
    step: Step,
    /// It goes on in the background.
    leaves: bool,
    /// What it does goes again, should something behind it fail.
    passing: bool,
    id: Option<String>,
    looks: u32,
    status: String,
}

/// A change of many rows.
#[derive(Debug)]
pub(in crate::session) struct Batches {
    form: Form,
    table: TableName,
    /// Rows of a batch at most.
    rows: u32,
    key: Vec<String>,
    /// Key of the last row changed, as constants.
    behind: Option<String>,
    /// What is done should the table have no primary key.
    whole: Option<String>,
    /// What undoes all of it.
    undo: Option<String>,
    /// It has the client's parameters.
    bound: bool,
    /// Rows changed so far.
    pub changed: u64,
    /// Transactions so far.
    runs: u64,
}

#[derive(Debug)]
enum Form {
    /// A text for one batch, which changes rows so that it does not find them again.
    Text(String),
    /// Rows that go.
    Delete(Batch),
    /// Rows that stay and may be found again, so these are taken in the order of their key.
    Onward(Batch),
}

/// A TRUNCATE.
#[derive(Debug)]
pub(in crate::session) struct Truncation {
    tables: Vec<TableName>,
    restart_identity: bool,
    cascade: bool,
    rows: u32,
}

/// A table made from a query.
#[derive(Debug)]
pub(in crate::session) struct Making {
    table: TableName,
    /// Names for the first columns.
    columns: Vec<String>,
    if_not_exists: bool,
    query: String,
    with_data: bool,
    batch: Option<Batch>,
    manner: Manner,
    /// Columns of the query: name, type and its modifier.
    found: Vec<(String, u32, i32)>,
}

/// How a procedure's command tag reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::session) enum Tag {
    /// As here.
    Fixed(String),
    /// With the number of rows behind it.
    Counted(&'static str),
    /// As the last statement's.
    Last,
}

/// All that is to be done for one statement of the client.
#[derive(Debug)]
pub(in crate::session) struct Work {
    pub tasks: Vec<Task>,
    pub tag: Tag,
}

/// How a session wants its work done.
#[derive(Debug, Clone, Copy)]
pub(in crate::session) struct Manner {
    /// Jobs are waited for.
    pub waits: bool,
    /// Rows of a batch.
    pub rows: u32,
    /// The client is in a transaction.
    pub open: bool,
}

impl Work {
    /// What is to be done for an action; `whole` is the client's own text. `None` for actions that
    /// the session does otherwise.
    pub fn of(action: &Action, whole: &str, manner: Manner) -> Option<Self> {
        match action {
            Action::Rewrite(rewrite) => Some(Self::steps(rewrite, manner)),
            Action::Emulate(Procedure::Batch(batch)) => Some(Self::batch(batch, whole, manner)),
            Action::Emulate(Procedure::Copy(copy)) => Some(Self {
                tasks: vec![Task::Copy(Copying::new(
                    copy.clone(),
                    manner.rows,
                    manner.open,
                ))],
                tag: Tag::Counted("COPY"),
            }),
            Action::Emulate(Procedure::Truncate {
                tables,
                restart_identity,
                cascade,
            }) => Some(Self {
                tasks: vec![Task::Referring(Truncation {
                    tables: tables.clone(),
                    restart_identity: *restart_identity,
                    cascade: *cascade,
                    rows: manner.rows,
                })],
                tag: Tag::Fixed("TRUNCATE TABLE".to_owned()),
            }),
            Action::Emulate(Procedure::CreateTableAs {
                table,
                columns,
                if_not_exists,
                query,
                with_data,
                batch,
            }) => Some(Self {
                tasks: vec![Task::Columns(Making {
                    table: table.clone(),
                    columns: columns.clone(),
                    if_not_exists: *if_not_exists,
                    query: query.clone(),
                    with_data: *with_data,
                    batch: batch.clone(),
                    manner,
                    found: Vec::new(),
                })],
                tag: match with_data {
                    true => Tag::Counted("SELECT"),
                    false => Tag::Fixed("CREATE TABLE AS".to_owned()),
                },
            }),
            Action::Forward => Some(Self {
                tasks: vec![Task::Statement {
                    step: Step::statement(whole.to_owned()),
                    bound: true,
                }],
                tag: Tag::Last,
            }),
            Action::Emulate(_) | Action::Answer(_) | Action::Reject(_) => None,
        }
    }

    fn steps(rewrite: &Rewrite, manner: Manner) -> Self {
        let last = rewrite.steps.len().saturating_sub(1);
        let task = |(at, step): (usize, &Step)| match (step.kind, &step.table) {
            _ if let Some(rebuild) = &step.rebuild => {
                Task::Rebuild(Box::new(Rebuilding::new(rebuild, &step.sql, manner.rows)))
            }
            (StepKind::Job, _) => Task::Job(Job {
                step: step.clone(),
                // What comes behind it needs it done.
                leaves: !manner.waits && at == last,
                passing: false,
                id: None,
                looks: 0,
                status: String::new(),
            }),
            (StepKind::Condition, _) => Task::Condition(step.sql.clone(), step.otherwise.clone()),
            (StepKind::Composed, _) => Task::Composed(step.sql.clone()),
            (StepKind::Batch, Some(table)) => Task::Batches(Batches {
                whole: step.without_batches(),
                ..Batches::new(Form::Text(step.sql.clone()), table.clone(), manner.rows)
            }),
            _ => Task::Statement {
                step: step.clone(),
                bound: false,
            },
        };
        Self {
            tasks: rewrite.steps.iter().enumerate().map(task).collect(),
            tag: rewrite.tag.clone().map_or(Tag::Last, Tag::Fixed),
        }
    }

    fn batch(batch: &Batch, whole: &str, manner: Manner) -> Self {
        let (form, tag) = match batch.kind {
            BatchKind::Delete => (Form::Delete(batch.clone()), "DELETE"),
            BatchKind::Update(_) => (Form::Onward(batch.clone()), "UPDATE"),
            BatchKind::Insert => (Form::Onward(batch.clone()), "INSERT 0"),
        };
        Self {
            tasks: vec![Task::Batches(Batches {
                whole: Some(whole.to_owned()),
                bound: true,
                ..Batches::new(form, batch.table.clone(), manner.rows)
            })],
            tag: Tag::Counted(tag),
        }
    }
}

impl Task {
    /// What is asked next.
    pub fn request(&self) -> Request {
        match self {
            Self::Sync => Request::Sync,
            Self::Commit => Request::Commit,
            Self::Rollback => Request::Rollback,
            Self::Statement { step, bound } => Request::Text {
                sql: step.sql.clone(),
                bound: *bound,
                changes: true,
            },
            Self::Job(job) => match &job.id {
                None => Request::change(job.step.sql.clone()),
                Some(id) => Request::look(catalog::job(id)),
            },
            Self::Batches(batches) => batches.request(),
            Self::Copy(copying) => copying.request(),
            Self::Condition(sql, _) | Self::Composed(sql) => Request::look(sql.clone()),
            Self::Refusal(_) => Request::look(".".to_owned()),
            Self::Rebuild(rebuilding) => rebuilding.request(),
            Self::Guarded(guarded) => guarded.request(),
            Self::Move(moving) => moving.request(),
            Self::Compare(comparing) => comparing.request(),
            Self::Rename(renaming) => renaming.request(),
            Self::Columns(making) => making.request(),
            Self::Referring(truncation) => Request::look(catalog::referring(&truncation.tables)),
            Self::Numbered(table) => Request::look(catalog::numbered(table)),
            Self::Find(made) => Request::look(creations::look_up(made)),
            Self::Unindexed(table, _) => Request::look(catalog::materialized(table)),
        }
    }

    /// What an answer to that means.
    pub fn answered(&mut self, answer: Answer) -> Next {
        if let Some(error) = answer.error {
            return self.refused(error);
        }
        match self {
            Self::Sync
            | Self::Commit
            | Self::Rollback
            | Self::Statement { .. }
            | Self::Guarded(_) => Next::Done,
            Self::Condition(..) if answer.first() == Some("t") => Next::Done,
            Self::Condition(_, Some(notice)) => {
                Next::Skip("ALTER TABLE", "00000", std::mem::take(notice))
            }
            Self::Condition(_, None) => Next::Finish,
            Self::Composed(_) => composed(&answer.rows),
            Self::Refusal(why) => Next::Fail(Failure::Own((**why).clone()), None),
            Self::Rebuild(rebuilding) => rebuilding.answered(&answer),
            Self::Move(moving) => moving.answered(&answer),
            Self::Compare(comparing) => comparing.answered(&answer),
            Self::Rename(renaming) => renaming.answered(&answer),
            Self::Job(job) => job.answered(&answer),
            Self::Batches(batches) => batches.answered(&answer),
            Self::Copy(copying) if copying.looks() => match copying.found(&answer.rows) {
                Some(columns) => Next::Feed(columns),
                None => Next::Again,
            },
            Self::Copy(copying) => {
                copying.note_copied(answer.counted);
                match copying.is_done() {
                    true => Next::Done,
                    false => Next::Again,
                }
            }
            Self::Columns(making) => making.answered(&answer),
            Self::Referring(truncation) => truncation.answered(&answer),
            Self::Numbered(table) => Next::Become(restarts(table, &answer)),
            Self::Find(_) => Next::Found(creations::found(&answer.rows)),
            Self::Unindexed(table, _) if answer.first() == Some("t") => {
                Next::Skip("CREATE INDEX", "01000", words::unindexed(table))
            }
            Self::Unindexed(_, error) => Next::Fail(Failure::Server(std::mem::take(error)), None),
        }
    }

    fn refused(&mut self, error: Vec<u8>) -> Next {
        let code = error_fields(&error).code;
        let is = |known: &SqlState| known.as_bytes() == code;
        match self {
            Self::Refusal(why) => Next::Fail(Failure::Own((**why).clone()), None),
            Self::Statement { step, .. } if step.tolerate.iter().any(is) => Next::Done,
            Self::Guarded(guarded) if guarded.tolerates_code(code) => Next::Done,
            // It stays, should the client roll back.
            Self::Find(_) => Next::Found(Vec::new()),
            Self::Move(moving)
                if is(&sqlstate::PROGRAM_LIMIT_EXCEEDED) && moving.can_take_less() =>
            {
                moving.take_less();
                Next::Again
            }
            Self::Job(job) if job.id.is_none() && job.step.tolerate.iter().any(is) => Next::Done,
            Self::Job(Job {
                step: Step {
                    table: Some(table), ..
                },
                id: None,
                ..
            }) if code == b"42809" => Next::Become(vec![Task::Unindexed(table.clone(), error)]),
            Self::Statement { step, .. } | Self::Job(Job { step, id: None, .. })
                if step.chosen.is_some() && (code == b"42P07" || code == b"42710") =>
            {
                match step
                    .chosen
                    .clone()
                    .filter(|name| numbered(name).1 < CHOICES)
                {
                    Some(name) => Next::Rename(name),
                    None => Next::Fail(Failure::Server(error), None),
                }
            }
            Self::Job(job) if job.id.is_some() => {
                let undo = job.step.undo.take();
                Next::Fail(Failure::Server(error), undo)
            }
            // Rows that are large, or have many index entries.
            Self::Batches(batches) if is(&sqlstate::PROGRAM_LIMIT_EXCEEDED) && batches.rows > 1 => {
                batches.rows /= 2;
                Next::Again
            }
            Self::Copy(copying) => {
                if let Some(broken) = copying.take_broken() {
                    return Next::Fail(Failure::Own(broken), None);
                }
                let large = is(&sqlstate::PROGRAM_LIMIT_EXCEEDED) && !copying.within;
                match large && copying.shrink() {
                    true => Next::Again,
                    false => Next::Fail(Failure::Server(copying.place(&error)), None),
                }
            }
            Self::Statement { step, .. } => {
                let undo = step.undo.take();
                Next::Fail(Failure::Server(error), undo)
            }
            Self::Batches(batches) => {
                let undo = batches.undo.take();
                Next::Fail(Failure::Server(error), undo)
            }
            _ => Next::Fail(Failure::Server(error), None),
        }
    }

    /// The steps that name what was to be called `old` call it `new`.
    pub fn rename(&mut self, old: &str, new: &str) {
        let step = match self {
            Self::Statement { step, .. } | Self::Job(Job { step, .. }) => step,
            _ => return,
        };
        step.sql = renamed(&step.sql, old, new);
        step.undo = step.undo.as_deref().map(|undo| renamed(undo, old, new));
        if step.chosen.as_deref() == Some(old) {
            step.chosen = Some(new.to_owned());
        }
    }

    /// It undoes something that has been done: what is not among the deeds any more.
    pub fn undoes(&self, deed: &str) -> bool {
        let Self::Statement { step, .. } = self else {
            return false;
        };
        let undo = shown(&step.sql);
        // A constraint; or the table that all of it was about.
        let added = format!("{} ", undo.replace(" DROP CONSTRAINT ", " ADD CONSTRAINT "));
        deed.starts_with(&added) || undo.starts_with("DROP TABLE")
    }

    /// It is not waited for any longer: what undoes its part.
    pub fn give_up(&mut self) -> Option<String> {
        match self {
            Self::Job(job) if job.id.is_some() => job.step.undo.take(),
            Self::Statement { step, .. } => step.undo.take(),
            Self::Batches(batches) => batches.undo.take(),
            _ => None,
        }
    }

    /// It only waits for something that goes on without the session.
    pub fn is_waiting(&self) -> bool {
        matches!(self, Self::Job(job) if job.id.is_some())
    }

    /// How far it is, for whoever waits for it.
    pub fn progress(&self) -> Option<String> {
        match self {
            Self::Job(job) if job.id.is_some() => Some(format!(
                "waiting for a job of Aurora DSQL, which is {}: {}",
                match job.status.as_str() {
                    "" => "submitted",
                    status => status,
                },
                shown(&job.step.sql)
            )),
            Self::Batches(batches) if batches.runs > 0 => Some(batches.tale()),
            Self::Copy(copying) if copying.runs > 0 => Some(copying.tale()),
            Self::Move(moving) => Some(moving.tale()),
            _ => None,
        }
    }

    /// What it has done that stays, for the DETAIL of an error; nothing if it has done nothing.
    pub fn deed(&self, complete: bool) -> Option<String> {
        match self {
            Self::Commit if complete => Some("COMMIT of the transaction before".to_owned()),
            Self::Statement { step, .. } if complete => Some(shown(&step.sql)),
            Self::Job(job) if complete && !job.passing => Some(shown(&job.step.sql)),
            Self::Guarded(guarded) if complete && (guarded.stays || guarded.settles) => {
                Some(shown(guarded.sql()))
            }
            Self::Batches(batches) if batches.runs > 0 => Some(batches.tale()),
            Self::Copy(copying) if copying.runs > 0 => Some(copying.tale()),
            _ => None,
        }
    }

    /// What it is about, should its outcome be in doubt.
    pub fn subject(&self) -> String {
        match self {
            Self::Sync | Self::Commit => "COMMIT".to_owned(),
            Self::Rollback => "ROLLBACK".to_owned(),
            Self::Statement { step, .. } => shown(&step.sql),
            Self::Job(job) => shown(&job.step.sql),
            Self::Batches(batches) => format!("a batch of table {}", batches.table.0),
            Self::Copy(copying) => format!("a batch copied into table {}", copying.table()),
            Self::Guarded(guarded) => shown(guarded.sql()),
            Self::Move(moving) => moving.tale(),
            Self::Columns(_)
            | Self::Referring(_)
            | Self::Numbered(_)
            | Self::Find(_)
            | Self::Unindexed(..)
            | Self::Condition(..)
            | Self::Composed(_)
            | Self::Refusal(_)
            | Self::Rebuild(_)
            | Self::Compare(_)
            | Self::Rename(_) => "a look into the catalog".to_owned(),
        }
    }

    /// Rows that it changed, when its last tag is this.
    pub fn changed(&self, tag: &str) -> u64 {
        match self {
            Self::Batches(batches) => batches.changed,
            Self::Copy(copying) => copying.copied,
            Self::Statement { .. } => number_of(tag),
            _ => 0,
        }
    }
}

/// What the rows of a [`StepKind::Composed`] say.
fn composed(rows: &[Vec<Option<String>>]) -> Next {
    let mut tasks = Vec::new();
    for row in rows {
        let (statement, told) = row.split_first().map_or((&None, &[][..]), |all| all);
        match (statement, told) {
            (Some(sql), _) => tasks.push(Task::Statement {
                step: Step::statement(sql.clone()),
                bound: false,
            }),
            (None, [Some(code), Some(message), ..]) if code == "00000" => {
                return Next::Tell(tasks, message.clone());
            }
            (None, [Some(code), Some(message), hint, ..]) => {
                let code = REFUSALS.into_iter().find(|known| known == code);
                let error = ClientError::error(code.unwrap_or("0A000"), message.clone());
                let error = match hint {
                    Some(hint) => error.hint(hint.clone()),
                    None => error,
                };
                tasks.push(Task::Refusal(Box::new(error)));
                break;
            }
            _ => {}
        }
    }
    Next::Become(tasks)
}

/// SQLSTATEs of refusals that are composed.
const REFUSALS: [SqlState; 5] = ["0A000", "2BP01", "42703", "42704", "42809"];

/// A chosen name without the number behind it, and the number.
fn numbered(name: &str) -> (&str, u32) {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    (stem, name[stem.len()..].parse().unwrap_or(0))
}

/// The name that PostgreSQL would try next.
pub(in crate::session) fn next_name(name: &str) -> String {
    let (stem, number) = numbered(name);
    let number = (number + 1).to_string();
    // Names have 63 bytes; PostgreSQL shortens what is in front of the label, here the whole.
    let mut end = stem.len().min(63 - number.len());
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{number}", &stem[..end])
}

/// The text with another name in place of one, where that stands as an identifier.
fn renamed(sql: &str, old: &str, new: &str) -> String {
    let part = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    let mut out = String::with_capacity(sql.len() + 2);
    let mut rest = sql;
    while let Some(at) = rest.find(old) {
        let (before, from) = rest.split_at(at);
        let behind = &from[old.len()..];
        let alone = !before.ends_with(part) && !behind.starts_with(part);
        out.push_str(before);
        out.push_str(if alone { new } else { old });
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// A statement without its constants, as long as a message may show.
fn shown(sql: &str) -> String {
    redact(sql.as_bytes(), SHOWN)
}

impl Job {
    /// One that is waited for.
    pub fn waited_for(step: Step) -> Self {
        Self {
            step,
            leaves: false,
            passing: true,
            id: None,
            looks: 0,
            status: String::new(),
        }
    }

    fn answered(&mut self, answer: &Answer) -> Next {
        if self.id.is_some() {
            return self.looked(answer);
        }
        match answer.first() {
            // IF NOT EXISTS, and it does.
            None => Next::Done,
            Some(_) if self.leaves => Next::Done,
            Some(id) => {
                self.id = Some(id.to_owned());
                Next::Pause(FIRST_LOOK)
            }
        }
    }

    fn looked(&mut self, answer: &Answer) -> Next {
        self.looks += 1;
        let column = |at: usize| {
            let row = answer.rows.first()?;
            row.get(at)?.as_deref()
        };
        match column(0) {
            Some("completed") => Next::Done,
            Some("failed") => {
                let failure = words::job_failed(&self.step, column(1));
                Next::Fail(Failure::Own(failure), self.step.undo.take())
            }
            None if self.looks >= MISSING_LOOKS => {
                let id = self.id.as_deref().unwrap_or_default();
                Next::Fail(Failure::Own(words::job_missing(id)), None)
            }
            status => {
                if let Some(status) = status {
                    self.looks = self.looks.max(1);
                    status.clone_into(&mut self.status);
                }
                let longer = FIRST_LOOK.saturating_mul(1 << self.looks.min(10));
                Next::Pause(longer.min(LONGEST_LOOK))
            }
        }
    }
}

impl Batches {
    fn new(form: Form, table: TableName, rows: u32) -> Self {
        Self {
            form,
            table,
            rows: rows.max(1),
            key: Vec::new(),
            behind: None,
            whole: None,
            undo: None,
            bound: false,
            changed: 0,
            runs: 0,
        }
    }

    /// A text for one batch of a table with this key.
    pub fn keyed(text: String, table: TableName, rows: u32, key: Vec<String>) -> Self {
        Self {
            key: key
                .iter()
                .map(|column| column.trim_matches('"').replace("\"\"", "\""))
                .collect(),
            ..Self::new(Form::Text(text), table, rows)
        }
    }

    fn tale(&self) -> String {
        let what = match &self.form {
            Form::Delete(_) => "deletion",
            Form::Onward(batch) if batch.kind == BatchKind::Insert => "copy",
            _ => "change",
        };
        format!(
            "the {what} of {} rows of table {} in {}",
            self.changed,
            self.table.0,
            match self.runs {
                1 => "1 transaction".to_owned(),
                runs => format!("{runs} transactions"),
            }
        )
    }

    fn request(&self) -> Request {
        if self.key.is_empty() {
            return Request::look(catalog::key(&self.table));
        }
        let quoted: Vec<String> = self
            .key
            .iter()
            .map(|column| catalog::quoted(column))
            .collect();
        let key = quoted.join(", ");
        let rows = self.rows;
        let sql = match &self.form {
            Form::Text(text) => text
                .replace("{key}", &key)
                .replace("{rows}", &rows.to_string()),
            Form::Delete(batch) => format!(
                "{} WHERE ({key}) IN (SELECT {key} {} LIMIT {rows})",
                batch.change, batch.rows
            ),
            Form::Onward(batch) => self.onward(batch, &quoted),
        };
        Request::Text {
            sql,
            bound: self.bound,
            changes: true,
        }
    }

    /// Takes the next rows in the order of the key; answers with the key of the last of them, their
    /// number, and the number of rows changed.
    fn onward(&self, batch: &Batch, quoted: &[String]) -> String {
        let key = quoted.join(", ");
        let behind = match &self.behind {
            Some(behind) => format!(" WHERE ({key}) > ({behind})"),
            None => String::new(),
        };
        let constants: Vec<String> = quoted
            .iter()
            .map(|column| format!("pg_catalog.quote_literal({column}::text)"))
            .collect();
        let last: Vec<String> = quoted
            .iter()
            .map(|column| format!("{column} DESC"))
            .collect();
        format!(
            "WITH meant AS (SELECT {key} FROM (SELECT {key} {}) AS every{behind} ORDER BY {key} LIMIT {}), \
             changed AS ({} WHERE ({key}) IN (SELECT {key} FROM meant) RETURNING 1) \
             SELECT {}, (SELECT count(*) FROM meant), (SELECT count(*) FROM changed) \
             FROM meant ORDER BY {} LIMIT 1",
            batch.rows,
            self.rows,
            batch.change,
            constants.join(", "),
            last.join(", ")
        )
    }

    fn answered(&mut self, answer: &Answer) -> Next {
        if self.key.is_empty() {
            return self.found_key(answer);
        }
        let (meant, changed) = match &self.form {
            Form::Onward(_) => self.went_on(answer),
            _ => (answer.count(), answer.count()),
        };
        self.runs += u64::from(changed > 0);
        self.changed += changed;
        // Fewer than there may be are the last.
        match meant < u64::from(self.rows) {
            true => Next::Done,
            false => Next::Again,
        }
    }

    /// Notes where to go on; gives the rows taken and those changed.
    fn went_on(&mut self, answer: &Answer) -> (u64, u64) {
        let Some([key @ .., meant, changed]) = answer.rows.first().map(Vec::as_slice) else {
            return (0, 0);
        };
        let key: Vec<&str> = key.iter().flatten().map(String::as_str).collect();
        self.behind = Some(key.join(", "));
        let number = |value: &Option<String>| value.as_ref().and_then(|n| n.parse().ok());
        (number(meant).unwrap_or(0), number(changed).unwrap_or(0))
    }

    fn found_key(&mut self, answer: &Answer) -> Next {
        let columns = answer.rows.iter().filter_map(|row| row.first()?.clone());
        let key: Vec<String> = columns.collect();
        let moves = match &self.form {
            Form::Onward(Batch {
                kind: BatchKind::Update(sets),
                ..
            }) => sets.iter().any(|column| key.contains(column)),
            _ => false,
        };
        match (&self.whole, key.is_empty() || moves) {
            (_, false) => {
                self.key = key;
                Next::Again
            }
            // In one transaction, as far as it goes.
            (Some(whole), true) => Next::Become(vec![Task::Statement {
                step: Step {
                    undo: self.undo.take(),
                    ..Step::statement(whole.clone())
                },
                bound: self.bound,
            }]),
            (None, true) => Next::Fail(Failure::Own(words::no_key(&self.table)), None),
        }
    }
}

impl Making {
    fn request(&self) -> Request {
        if self.found.is_empty() {
            return Request::Describe(self.query.clone());
        }
        let types: Vec<(u32, i32)> = self
            .found
            .iter()
            .map(|column| (column.1, column.2))
            .collect();
        Request::look(catalog::types(&self.table, &types))
    }

    fn answered(&mut self, answer: &Answer) -> Next {
        if self.found.is_empty() {
            self.found = catalog::columns(&answer.columns);
            return match self.found.is_empty() {
                true => Next::Fail(Failure::Own(words::no_columns(&self.table)), None),
                false => Next::Again,
            };
        }
        let Some([there, types @ ..]) = answer.rows.first().map(Vec::as_slice) else {
            return Next::Fail(Failure::Own(words::no_columns(&self.table)), None);
        };
        if self.if_not_exists && there.is_some() {
            let notice = format!("relation {} already exists, skipping", self.table.0);
            return Next::Skip("CREATE TABLE AS", "42P07", notice);
        }
        let given = self.columns.iter().map(String::as_str);
        let rest = self.found.iter().skip(self.columns.len());
        let names = given.chain(rest.map(|column| column.0.as_str()));
        let columns: Vec<String> = names
            .zip(types.iter().flatten())
            .map(|(name, of)| format!("{} {}", catalog::quoted(name), catalog::storable(of)))
            .collect();
        let table = &self.table.0;
        let mut tasks = vec![Task::Statement {
            step: Step::statement(format!("CREATE TABLE {table} ({})", columns.join(", "))),
            bound: false,
        }];
        if self.with_data {
            tasks.push(self.fill());
        }
        Next::Become(tasks)
    }

    fn fill(&mut self) -> Task {
        let table = self.table.clone();
        let undo = Some(format!("DROP TABLE {}", table.0));
        let whole = format!("INSERT INTO {} {}", table.0, self.query);
        match self.batch.take() {
            Some(batch) => {
                let source = batch.table.clone();
                Task::Batches(Batches {
                    whole: Some(whole),
                    undo,
                    ..Batches::new(Form::Onward(batch), source, self.manner.rows)
                })
            }
            None => Task::Statement {
                step: Step {
                    undo,
                    ..Step::statement(whole)
                },
                bound: false,
            },
        }
    }
}

impl Truncation {
    /// Tables from those that refer to others to those that are referred to.
    fn answered(&mut self, answer: &Answer) -> Next {
        let mut tasks = Vec::new();
        let mut restarts = Vec::new();
        let mut circle = Vec::new();
        for row in &answer.rows {
            let [Some(name), given, referred, rest @ ..] = row.as_slice() else {
                continue;
            };
            let table = TableName(name.clone());
            if given.as_deref() == Some("f") && !self.cascade {
                let to = referred.as_deref().unwrap_or_default();
                return Next::Fail(Failure::Own(words::referred_to(name, to)), None);
            }
            if self.restart_identity {
                restarts.push(Task::Numbered(table.clone()));
            }
            if matches!(rest, [Some(circular)] if circular == "t") {
                circle.push(format!("DELETE FROM {name}"));
                continue;
            }
            let batch = Batch {
                table: table.clone(),
                kind: BatchKind::Delete,
                change: format!("DELETE FROM {name}"),
                rows: format!("FROM {name}"),
            };
            tasks.push(Task::Batches(Batches {
                whole: Some(batch.change.clone()),
                ..Batches::new(Form::Delete(batch), table, self.rows)
            }));
        }
        if let Some(last) = circle.pop() {
            // Keys are looked at when the statement is done, so that no order is needed.
            let others = circle.iter().enumerate();
            let others: Vec<String> = others
                .map(|(at, sql)| format!("t{at} AS ({sql})"))
                .collect();
            let sql = match others.is_empty() {
                true => last,
                false => format!("WITH {} {last}", others.join(", ")),
            };
            tasks.insert(
                0,
                Task::Statement {
                    step: Step::statement(sql),
                    bound: false,
                },
            );
        }
        tasks.append(&mut restarts);
        Next::Become(tasks)
    }
}

fn restarts(table: &TableName, answer: &Answer) -> Vec<Task> {
    let columns = answer.rows.iter().filter_map(|row| row.first()?.as_deref());
    columns
        .map(|column| {
            let column = catalog::quoted(column);
            Task::Statement {
                step: Step::statement(format!(
                    "ALTER TABLE {} ALTER COLUMN {column} RESTART",
                    table.0
                )),
                bound: false,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> TableName {
        TableName("t".to_owned())
    }

    fn rows(rows: &[&[&str]]) -> Answer {
        let row = |row: &&[&str]| row.iter().map(|value| Some((*value).to_owned())).collect();
        Answer {
            rows: rows.iter().map(row).collect(),
            ..Answer::default()
        }
    }

    fn tagged(tag: &str) -> Answer {
        Answer {
            tag: tag.to_owned(),
            ..Answer::default()
        }
    }

    fn refused(code: &str) -> Answer {
        Answer {
            error: Some(format!("SERROR\0VERROR\0C{code}\0Mno\0\0").into_bytes()),
            ..Answer::default()
        }
    }

    fn sql(task: &Task) -> String {
        match task.request() {
            Request::Text { sql, .. } => sql,
            other => panic!("{other:?}"),
        }
    }

    fn work(kind: BatchKind, change: &str) -> Task {
        let batch = Batch {
            table: table(),
            kind,
            change: change.to_owned(),
            rows: "FROM t WHERE n > 1".to_owned(),
        };
        let manner = Manner {
            waits: true,
            rows: 10,
            open: false,
        };
        let action = Action::Emulate(Procedure::Batch(batch));
        Work::of(&action, "whole", manner).unwrap().tasks.remove(0)
    }

    #[test]
    fn rows_that_stay_are_taken_in_the_order_of_their_key() {
        let mut task = work(BatchKind::Update(vec!["n".into()]), "UPDATE t SET n = 1");
        assert!(sql(&task).contains("pg_constraint"));
        assert!(matches!(
            task.answered(rows(&[&["a"], &["b c"]])),
            Next::Again
        ));
        assert!(!sql(&task).contains(") > ("), "{}", sql(&task));
        let answer = rows(&[&["'1'", "'x''y'", "10", "9"]]);
        assert!(matches!(task.answered(answer), Next::Again));
        assert!(
            sql(&task).contains("WHERE (\"a\", \"b c\") > ('1', 'x''y')"),
            "{}",
            sql(&task)
        );
        assert!(matches!(task.answered(rows(&[])), Next::Done));
        assert_eq!(task.changed(""), 9);
        assert_eq!(
            task.deed(false).unwrap(),
            "the change of 9 rows of table t in 1 transaction"
        );
    }

    #[test]
    fn batches_become_smaller_when_they_are_too_large() {
        let mut task = work(BatchKind::Delete, "DELETE FROM t");
        task.answered(rows(&[&["id"]]));
        assert_eq!(
            sql(&task),
            "DELETE FROM t WHERE (\"id\") IN (SELECT \"id\" FROM t WHERE n > 1 LIMIT 10)"
        );
        for limit in [5, 2, 1] {
            assert!(matches!(task.answered(refused("54000")), Next::Again));
            assert!(sql(&task).ends_with(&format!("LIMIT {limit})")));
        }
        assert!(matches!(task.answered(refused("54000")), Next::Fail(..)));
        assert!(matches!(task.answered(tagged("DELETE 1")), Next::Again));
        assert!(matches!(task.answered(tagged("DELETE 0")), Next::Done));
        assert_eq!(task.changed(""), 1);
    }

    #[test]
    fn what_cannot_be_parted_is_done_whole() {
        let cases: [(BatchKind, &[&[&str]]); 2] = [
            (BatchKind::Delete, &[]),
            (BatchKind::Update(vec!["id".into()]), &[&["id"]]),
        ];
        for (kind, key) in cases {
            let mut task = work(kind, "change");
            let Next::Become(tasks) = task.answered(rows(key)) else {
                panic!("{key:?}");
            };
            assert_eq!(sql(&tasks[0]), "whole");
        }
    }

    #[test]
    fn a_chosen_name_that_is_taken_gets_a_number() {
        let step = Step {
            undo: Some("DROP INDEX t_a_key".to_owned()),
            chosen: Some("t_a_key".to_owned()),
            ..Step::job("CREATE UNIQUE INDEX ASYNC t_a_key ON t (t_a_key_x)".to_owned())
        };
        let mut task = Task::Job(Job::waited_for(step));
        assert!(matches!(task.answered(refused("42P07")), Next::Rename(name) if name == "t_a_key"));
        task.rename("t_a_key", &next_name("t_a_key"));
        assert_eq!(
            sql(&task),
            "CREATE UNIQUE INDEX ASYNC t_a_key1 ON t (t_a_key_x)"
        );
        assert!(
            matches!(task.answered(refused("42P07")), Next::Rename(name) if name == "t_a_key1")
        );
        assert_eq!(next_name("t_a_key9"), "t_a_key10");
        let long = "x".repeat(63);
        assert_eq!(next_name(&long), format!("{}1", &long[..62]));
        let mut own = Task::Statement {
            step: Step::statement("ALTER TABLE t ADD CONSTRAINT mine CHECK (true)".to_owned()),
            bound: false,
        };
        assert!(matches!(own.answered(refused("42710")), Next::Fail(..)));
    }

    #[test]
    fn a_job_is_waited_for_and_undone() {
        let job = |leaves| {
            Task::Job(Job {
                step: Step {
                    undo: Some("DROP INDEX i".to_owned()),
                    failure: Some("23505"),
                    tolerate: vec!["42P07"],
                    ..Step::job("CREATE UNIQUE INDEX ASYNC i ON t (a)".to_owned())
                },
                leaves,
                passing: false,
                id: None,
                looks: 0,
                status: String::new(),
            })
        };
        assert!(matches!(job(true).answered(rows(&[&["id"]])), Next::Done));
        assert!(matches!(job(false).answered(rows(&[])), Next::Done));
        assert!(matches!(job(false).answered(refused("42P07")), Next::Done));
        let mut task = job(false);
        assert!(matches!(task.answered(rows(&[&["id'x"]])), Next::Pause(_)));
        assert!(sql(&task).ends_with("job_id = 'id''x'"));
        assert!(task.is_waiting());
        let mut pause = Duration::ZERO;
        for _ in 0..9 {
            let Next::Pause(next) = task.answered(rows(&[&["processing", ""]])) else {
                panic!("it is waited for");
            };
            assert!(next >= pause && next <= LONGEST_LOOK);
            pause = next;
        }
        assert_eq!(pause, LONGEST_LOOK);
        let Next::Fail(failure, undo) = task.answered(rows(&[&["failed", "two of them"]])) else {
            panic!("failed");
        };
        assert_eq!(failure.code(), b"23505");
        assert_eq!(undo.as_deref(), Some("DROP INDEX i"));
    }
}
