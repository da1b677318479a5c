//! What becomes of a statement on its way to Aurora DSQL.
//!
//! Pure: the same statement, facts and rules give the same [`Decision`]. What is done by which
//! construct is data (`config/dialect.yaml`, [`rules`]); the code that finds and changes constructs
//! is in [`dialect`].

mod cache;
mod creation;
pub mod databases;
pub mod dialect;
pub mod facts;
mod locks;
pub mod lookup;
mod rebuild;
pub mod rules;
pub mod settings;
pub mod temporary;
pub mod tenancy;
mod transaction;
pub mod unstorable;

use std::sync::Arc;

pub use cache::Cache;
pub use creation::{Creation, creation};
pub use databases::DatabaseChange;
pub(crate) use dialect::materialized::is_marked;
pub use facts::{
    DdlInTransaction, LargeDml, Month, NotAMonth, SessionFacts, Switches, TableRebuild,
    TransactionFacts, UnstorableColumns,
};
pub use locks::{
    AdvisoryLock, KeyParameter, LockArgument, LockCall, LockExpression, LockWish, NotifyCall,
    SignalCall, SignalTarget, TextArgument,
};
pub use rebuild::{Rebuild, Reshape};
pub use rules::{ActionKind, Rules, RulesError};
pub use transaction::RULE as SPLIT;
pub(crate) use transaction::warning as split_warning;

use crate::config::schema::Dialect;
use crate::sql::Statement;
use crate::wire::reply::ClientError;
use crate::wire::sqlstate::SqlState;

/// What happens to one statement.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What is done.
    pub action: Action,
    /// Where in the client's transaction it is done.
    pub placement: Placement,
    /// What the client is told besides the answer, in order, before CommandComplete.
    pub notices: Vec<Notice>,
    /// Names of the rules that made the decision.
    pub rules: Vec<Arc<str>>,
}

/// What is done with a statement.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// The client's own bytes go on.
    Forward,
    /// Other text goes on in their place.
    Rewrite(Rewrite),
    /// The session answers; nothing goes on.
    Answer(Answer),
    /// The session runs a named procedure.
    Emulate(Procedure),
    /// The client gets an error; nothing goes on.
    Reject(ClientError),
}

/// Text in place of the client's.
#[derive(Debug, Clone, PartialEq)]
pub struct Rewrite {
    /// What to run, in order. A single [`StepKind::Statement`] takes the client's parameters and
    /// its answer is the client's; of several steps the client sees the tag alone.
    pub steps: Vec<Step>,
    /// Command tag for the client; the last step's own when `None`.
    pub tag: Option<String>,
}

/// How a step is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepKind {
    /// As one statement.
    Statement,
    /// Its only row is a job's id; the step is done when `CALL sys.wait_for_job` says so.
    Job,
    /// Again and again, each in a transaction of its own, until it changes no row. `{key}` in its
    /// text stands for the primary key's columns, parted by commas, `{rows}` for the rows of a batch.
    Batch,
    /// As one statement that changes nothing; its only value says whether the steps behind it are run.
    Condition,
    /// The table is made anew ([`Rebuild`]); its text is the client's.
    Rebuild,
    /// A query that changes nothing, whose rows are what is done in its place: a statement; or a SQLSTATE, a
    /// message and a HINT, which is told as a NOTICE with `00000` and else is why it cannot be done.
    Composed,
}

/// One step of a rewritten statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// How it is run.
    pub kind: StepKind,
    /// Text for the server.
    pub sql: String,
    /// The table that a batch is of, or the index that a job builds.
    pub table: Option<TableName>,
    /// SQLSTATEs that count as success: the step had been done before.
    pub tolerate: Vec<SqlState>,
    /// Text that undoes the step when its job fails.
    pub undo: Option<String>,
    /// SQLSTATE for the client when its job fails: 23505, 23514, 23503 …
    pub failure: Option<SqlState>,
    /// What is different about a table that is made anew.
    pub rebuild: Option<Box<Rebuild>>,
    /// The NOTICE when the condition does not hold.
    pub otherwise: Option<String>,
    /// A name that the proxy has chosen, as PostgreSQL does: where it is taken, the steps get another.
    pub chosen: Option<String>,
}

impl Step {
    fn new(kind: StepKind, sql: String) -> Self {
        Self {
            kind,
            sql,
            table: None,
            tolerate: Vec::new(),
            undo: None,
            failure: None,
            rebuild: None,
            otherwise: None,
            chosen: None,
        }
    }

    /// A plain statement.
    #[must_use]
    pub fn statement(sql: String) -> Self {
        Self::new(StepKind::Statement, sql)
    }

    /// A statement that begins a job which is waited for.
    #[must_use]
    pub fn job(sql: String) -> Self {
        Self::new(StepKind::Job, sql)
    }

    /// A query for what is done in its place ([`StepKind::Composed`]).
    #[must_use]
    pub fn composed(sql: String) -> Self {
        Self::new(StepKind::Composed, sql)
    }

    /// What is behind it is done only if the table is there.
    #[must_use]
    pub fn if_exists(table: &TableName, name: &str) -> Self {
        let literal = table.0.replace('\'', "''");
        Self {
            otherwise: Some(format!("relation \"{name}\" does not exist, skipping")),
            ..Self::new(
                StepKind::Condition,
                format!("SELECT pg_catalog.to_regclass('{literal}') IS NOT NULL"),
            )
        }
    }

    /// The text of a batch for all rows at once, as a table without a primary key needs it.
    #[must_use]
    pub fn without_batches(&self) -> Option<String> {
        let (change, rows) = self
            .sql
            .split_once(" WHERE ({key}) IN (SELECT {key} FROM ")?;
        let (_, condition) = rows.split_once(" WHERE ")?;
        let condition = condition.strip_suffix(" LIMIT {rows})")?;
        Some(format!("{change} WHERE {condition}"))
    }

    /// A table is made anew, in place of this statement.
    #[must_use]
    pub fn rebuild(sql: String, rebuild: Rebuild) -> Self {
        Self {
            table: Some(rebuild.table.clone()),
            rebuild: Some(Box::new(rebuild)),
            ..Self::new(StepKind::Rebuild, sql)
        }
    }

    /// A statement for part of the rows of a table.
    #[must_use]
    pub fn batch(sql: String, table: TableName) -> Self {
        Self {
            table: Some(table),
            ..Self::new(StepKind::Batch, sql)
        }
    }
}

/// An answer without the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// CommandComplete alone, with this tag.
    Tag(String),
    /// Rows of text, as of a SELECT.
    Rows {
        /// Name and type OID of each column.
        columns: Vec<(String, u32)>,
        /// Values in text format.
        rows: Vec<Vec<Option<String>>>,
    },
    /// The session's settings answer: SET, RESET, SHOW, `set_config`, `current_setting`.
    Setting,
    /// The session's own state answers.
    Session(SessionCommand),
}

/// Statements about the session, which the session carries out itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionCommand {
    /// LISTEN.
    Listen(String),
    /// UNLISTEN; `None` is all.
    Unlisten(Option<String>),
    /// NOTIFY.
    Notify {
        /// The channel.
        channel: String,
        /// The payload.
        payload: String,
    },
    /// DISCARD.
    Discard,
    /// PREPARE.
    Prepare,
    /// EXECUTE, also inside EXPLAIN.
    Execute,
    /// DEALLOCATE; `None` is all.
    Deallocate(Option<String>),
    /// DECLARE CURSOR.
    Declare,
    /// FETCH and MOVE.
    Fetch,
    /// CLOSE; `None` is all.
    Close(Option<String>),
    /// SET TRANSACTION: the modes go into a BEGIN that has not been sent yet. Modes that Aurora
    /// DSQL does not have are left out already; what is left is the text behind BEGIN.
    TransactionModes(String),
}

/// A table's name as the statement has it, ready to stand in other text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName(pub String);

/// A procedure of several steps that depend on what the server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Procedure {
    /// COMMIT or ROLLBACK AND CHAIN: the end of the transaction, and the beginning of one with the
    /// same modes.
    Chain {
        /// COMMIT, not ROLLBACK.
        commit: bool,
    },
    /// SAVEPOINT name.
    Savepoint(String),
    /// RELEASE name.
    Release(String),
    /// ROLLBACK TO name.
    RollbackTo(String),
    /// TRUNCATE: batches of DELETE.
    Truncate {
        /// The tables.
        tables: Vec<TableName>,
        /// RESTART IDENTITY.
        restart_identity: bool,
        /// CASCADE: referencing tables too.
        cascade: bool,
    },
    /// CREATE TABLE AS and SELECT INTO: a table with the query's columns, then its rows in batches.
    CreateTableAs {
        /// The new table.
        table: TableName,
        /// Names for the first columns.
        columns: Vec<String>,
        /// IF NOT EXISTS.
        if_not_exists: bool,
        /// The query.
        query: String,
        /// How its rows come into the table in batches, where they can.
        batch: Option<Batch>,
        /// Not WITH NO DATA.
        with_data: bool,
    },
    /// UPDATE, DELETE or INSERT … SELECT in batches, in the order of a primary key.
    Batch(Batch),
    /// COPY FROM STDIN in batches, as soon as there is more than one.
    Copy(CopyIn),
    /// Advisory lock functions.
    AdvisoryLock(AdvisoryLock),
    /// LOCK TABLE in a mode that excludes others.
    LockTable {
        /// The tables.
        tables: Vec<TableName>,
        /// PostgreSQL's number of the mode, 1 to 8.
        mode: i32,
        /// NOWAIT.
        nowait: bool,
    },
    /// pg_notify().
    Notify(NotifyCall),
    /// pg_terminate_backend() and pg_cancel_backend().
    Signal(SignalCall),
    /// CREATE TEMP TABLE.
    TemporaryTable,
    /// CREATE, DROP and ALTER DATABASE.
    Database(DatabaseChange),
}

/// A change of many rows, for which the server takes several transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The table whose rows it goes through.
    pub table: TableName,
    /// What it does.
    pub kind: BatchKind,
    /// The client's statement without its WHERE, so that another can be put behind it.
    pub change: String,
    /// `FROM table [WHERE …]`: the rows that the client means.
    pub rows: String,
}

/// COPY FROM STDIN, for which the server may take several transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyIn {
    /// The table.
    pub table: TableName,
    /// How its rows come.
    pub form: CopyForm,
}

/// Form of the rows that a client copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyForm {
    /// Lines of format text or csv, which go on as they are.
    Lines(CopyLines),
    /// Format binary: the values become parameters of INSERTs.
    Binary(CopyBinary),
}

/// Rows that are lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyLines {
    /// The statement for the first batch.
    pub first: String,
    /// The statement for those behind it: without HEADER.
    pub next: String,
    /// Quote and escape of format csv; `None` is format text.
    pub csv: Option<(u8, u8)>,
    /// The first line is no row.
    pub header: bool,
}

/// Rows in binary form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyBinary {
    /// The columns that are named; none are all that can be written.
    pub columns: Vec<String>,
    /// The table's name without its schema, as its condition has it.
    pub name: String,
    /// The condition of WHERE.
    pub condition: Option<String>,
    /// More rows than a transaction takes go into several.
    pub batches: bool,
}

/// What a batch does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BatchKind {
    /// DELETE.
    Delete,
    /// UPDATE of these columns.
    Update(Vec<String>),
    /// INSERT of what is read from the table.
    Insert,
}

impl Procedure {
    /// It needs transactions of its own, and cannot be part of a client's.
    #[must_use]
    pub fn has_own_transactions(&self) -> bool {
        match self {
            Self::Truncate { .. } | Self::CreateTableAs { .. } | Self::Batch(_) => true,
            // Only when it turns out to be long.
            Self::Copy(_)
            | Self::Chain { .. }
            | Self::Savepoint(_)
            | Self::Release(_)
            | Self::RollbackTo(_)
            | Self::AdvisoryLock(_)
            | Self::LockTable { .. }
            | Self::Notify(_)
            | Self::Signal(_)
            | Self::TemporaryTable
            | Self::Database(_) => false,
        }
    }

    /// Its name in the data.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Chain { .. } => "chain",
            Self::Savepoint(_) | Self::Release(_) | Self::RollbackTo(_) => "savepoint",
            Self::Truncate { .. } => "truncate",
            Self::CreateTableAs { .. } => "create_table_as",
            Self::Batch(_) => "batch",
            Self::Copy(_) => "copy",
            Self::AdvisoryLock(_) => "advisory_lock",
            Self::LockTable { .. } => "lock_table",
            Self::Notify(_) => "notify",
            Self::Signal(_) => "signal",
            Self::TemporaryTable => "temporary_table",
            Self::Database(_) => "database",
        }
    }
}

/// Where a statement runs when the client has a transaction open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// In the client's transaction, or by itself when there is none.
    Within,
    /// What the transaction did so far is committed first; the statement begins a new one, with the
    /// same modes, that stays open.
    AfterCommit,
    /// What the transaction did so far is committed first; every step is a transaction by itself;
    /// what the client does next begins a new one.
    Alone,
}

/// How loud a notice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// NOTICE.
    Notice,
    /// WARNING: something is lost.
    Warning,
}

/// A message that goes with an answer. `client_min_messages` may silence it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// How loud.
    pub level: Level,
    /// SQLSTATE: 00000, or 01000 for warnings.
    pub code: SqlState,
    /// The sentence.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Tell a session only the first time that this rule speaks.
    pub once: bool,
    /// The rule that speaks.
    pub rule: Arc<str>,
}

impl Decision {
    fn of(action: Action) -> Self {
        Self {
            action,
            placement: Placement::Within,
            notices: Vec::new(),
            rules: Vec::new(),
        }
    }

    /// The texts that would go upstream, in order; `forward` is the client's own.
    #[must_use]
    pub fn texts(&self, forward: &str) -> Vec<String> {
        match &self.action {
            Action::Forward => vec![forward.to_owned()],
            Action::Rewrite(rewrite) => rewrite
                .steps
                .iter()
                .flat_map(|step| {
                    let wait = (step.kind == StepKind::Job)
                        .then(|| "CALL sys.wait_for_job('<job_id>')".to_owned());
                    std::iter::once(step.sql.clone()).chain(wait)
                })
                .collect(),
            Action::Answer(_) | Action::Emulate(_) | Action::Reject(_) => Vec::new(),
        }
    }

    /// Name of the action as `explain` prints it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.action {
            Action::Forward => "forward",
            Action::Rewrite(_) => "rewrite",
            Action::Answer(_) => "answer",
            Action::Emulate(_) => "emulate",
            Action::Reject(_) => "reject",
        }
    }
}

/// Decides what becomes of `statement` in a session of which `facts` are known.
#[must_use]
pub fn decide(statement: &Statement, facts: &SessionFacts, rules: &Rules) -> Decision {
    if facts.profile == Dialect::Off {
        return Decision::of(Action::Forward);
    }
    let mut decision = dialect::judge(statement, facts, rules);
    transaction::place(statement, facts, &mut decision);
    decision
}

#[cfg(test)]
mod tests;
