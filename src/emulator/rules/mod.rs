//! What Aurora DSQL makes of a statement: refused with its words, answered without PostgreSQL, or
//! run with changes. Pure judgement: no connection, no clock, no state of a session.

use thiserror::Error;

use pg_query::NodeEnum;
use pg_query::protobuf::{TransactionStmt, TransactionStmtKind};

use crate::sql::statement::{Kind, Statement};
use crate::wire::reply::ClientError;
use crate::wire::sqlstate::FEATURE_NOT_SUPPORTED;

/// The version of PostgreSQL that the cluster says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerVersion {
    /// As `SHOW server_version` has it, e.g. `16.15`.
    pub text: String,
    /// As `SHOW server_version_num` has it, e.g. `160015`.
    pub number: u32,
}

impl Default for ServerVersion {
    /// 16.15, seen on clusters in September 2026.
    fn default() -> Self {
        Self {
            text: "16.15".to_owned(),
            number: 160_015,
        }
    }
}

/// What a judgement needs to know of the session.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The role that is logged in.
    pub user: &'a str,
    /// Inside an explicit transaction block (BEGIN was sent).
    pub in_block: bool,
    /// The version to report.
    pub version: &'a ServerVersion,
}

/// What is to be done with a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// PostgreSQL runs it.
    Run(Plan),
    /// The answer is known.
    Answer(Answer),
    /// `CALL sys.wait_for_job(…)`.
    WaitForJob(JobArgument),
    /// Transaction control in a form DSQL takes; other forms are refused.
    Control(Control),
}

/// How PostgreSQL is to run a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// One statement to run instead; parameters keep their numbers. `None`: the statement's own
    /// [`text`](Statement::text).
    pub sql: Option<String>,
    /// Queries run first, in the same transaction. A row (sqlstate, message, and maybe detail and
    /// hint) refuses the statement; no row lets it pass.
    pub before: Vec<String>,
    /// The same, run behind the statement.
    pub after: Vec<String>,
    /// The statement starts a job, whose id is its result.
    pub job: Option<Job>,
    /// What it is to the rules on mixing statements in a transaction.
    pub class: Class,
}

impl Plan {
    /// Runs the statement as it is.
    #[must_use]
    pub fn plain(class: Class) -> Self {
        Self {
            sql: None,
            before: Vec::new(),
            after: Vec::new(),
            job: None,
            class,
        }
    }
}

/// What a statement is to the rules on mixing statements in a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Reads; a function may write.
    Read,
    /// `SELECT … FOR UPDATE` and `FOR KEY SHARE`.
    Lock,
    /// Changes rows.
    Write,
    /// Changes the catalog; GRANT and REVOKE too.
    Ddl,
    /// Changes settings of the session at most.
    Session,
}

/// A job that a statement starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Query run behind the statement, in the same transaction: enters the job and gives its id,
    /// one row of one text column. The job runner finds the job when the transaction has committed.
    pub register: String,
}

/// An answer that needs no PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Columns of the result; none: there is no result set, only the tag.
    pub columns: Vec<Column>,
    /// Rows in text format; `None` is NULL.
    pub rows: Vec<Vec<Option<String>>>,
    /// Command tag, e.g. `SHOW`.
    pub tag: String,
}

/// A column of an [`Answer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// OID of its type: text 25, boolean 16, bigint 20, integer 23.
    pub type_oid: u32,
}

/// Which job `CALL sys.wait_for_job` waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobArgument {
    /// The job with this id.
    Id(String),
    /// The id is parameter `$n`, counted from 1.
    Parameter(u16),
    /// NULL.
    Null,
}

/// Transaction control.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// BEGIN or START TRANSACTION.
    Begin {
        /// READ ONLY was said.
        read_only: bool,
        /// Command tag: `BEGIN` or `START TRANSACTION`.
        tag: &'static str,
    },
    /// COMMIT or END.
    Commit,
    /// ROLLBACK or ABORT.
    Rollback,
}

/// Why there are no such rules.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RulesError {
    /// Not a month as in `2026-09`, or one before the first cluster.
    #[error("\"{0}\" is not a month of Aurora DSQL, as in 2026-09")]
    Month(String),
}

/// The rules of a month.
#[derive(Debug, Clone)]
pub struct Rules {}

impl Rules {
    /// The rules as they were in a month, written `2026-09`; later months are as the newest known.
    ///
    /// # Errors
    /// [`RulesError`].
    pub fn as_of(month: &str) -> Result<Self, RulesError> {
        match month.split_once('-') {
            Some((year, _)) if year.len() == 4 => Ok(Self {}),
            _ => Err(RulesError::Month(month.to_owned())),
        }
    }

    /// Judges one statement. The order of checks around it is the session's: a failed transaction
    /// (25P02) comes first, the mixing rules after it.
    ///
    /// # Errors
    /// The refusal in DSQL's words.
    pub fn judge(&self, statement: &Statement, facts: &Facts<'_>) -> Result<Action, ClientError> {
        let _ = facts;
        let class = match statement.kind() {
            Kind::Read | Kind::Other => Class::Read,
            Kind::Lock => Class::Lock,
            Kind::Write => Class::Write,
            Kind::Ddl => Class::Ddl,
            Kind::Session => Class::Session,
            Kind::Transaction(_) => return control(statement),
        };
        Ok(Action::Run(Plan::plain(class)))
    }

    /// Whether a setting may be named in SET, `set_config` and startup parameters. `name` in any
    /// case.
    #[must_use]
    pub fn setting(&self, name: &str) -> bool {
        let _ = name;
        true
    }
}

fn control(statement: &Statement) -> Result<Action, ClientError> {
    let Some(NodeEnum::TransactionStmt(transaction)) = statement.node() else {
        return Err(unsupported("transaction statement"));
    };
    let control = match transaction.kind() {
        TransactionStmtKind::TransStmtBegin => Control::Begin {
            read_only: read_only(transaction),
            tag: "BEGIN",
        },
        TransactionStmtKind::TransStmtStart => Control::Begin {
            read_only: read_only(transaction),
            tag: "START TRANSACTION",
        },
        TransactionStmtKind::TransStmtCommit => Control::Commit,
        TransactionStmtKind::TransStmtRollback => Control::Rollback,
        TransactionStmtKind::TransStmtSavepoint => {
            return Err(unsupported("transaction statement: SAVEPOINT"));
        }
        TransactionStmtKind::TransStmtRelease => {
            return Err(unsupported("transaction statement: RELEASE"));
        }
        TransactionStmtKind::TransStmtRollbackTo => {
            return Err(unsupported("transaction statement: ROLLBACK TO"));
        }
        _ => return Err(unsupported("transaction statement")),
    };
    Ok(Action::Control(control))
}

fn unsupported(what: &str) -> ClientError {
    ClientError::error(FEATURE_NOT_SUPPORTED, format!("unsupported {what}"))
}

fn read_only(transaction: &TransactionStmt) -> bool {
    transaction.options.iter().any(|option| {
        matches!(&option.node, Some(NodeEnum::DefElem(option))
            if option.defname == "transaction_read_only" && is_true(option.arg.as_deref()))
    })
}

fn is_true(node: Option<&pg_query::Node>) -> bool {
    use pg_query::protobuf::a_const::Val;
    match node.and_then(|node| node.node.as_ref()) {
        Some(NodeEnum::AConst(constant)) => {
            matches!(&constant.val, Some(Val::Ival(value)) if value.ival != 0)
        }
        Some(NodeEnum::Integer(value)) => value.ival != 0,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::statement::parse;

    fn judged(text: &str) -> Result<Action, ClientError> {
        let facts = Facts {
            user: "admin",
            in_block: false,
            version: &ServerVersion::default(),
        };
        Rules::as_of("2026-09")
            .unwrap()
            .judge(&parse(text).unwrap()[0], &facts)
    }

    #[test]
    fn transaction_control_is_recognised() {
        let begin = |read_only, tag| Ok(Action::Control(Control::Begin { read_only, tag }));
        assert_eq!(judged("BEGIN"), begin(false, "BEGIN"));
        assert_eq!(judged("BEGIN READ ONLY"), begin(true, "BEGIN"));
        assert_eq!(judged("BEGIN READ WRITE"), begin(false, "BEGIN"));
        assert_eq!(
            judged("START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"),
            begin(true, "START TRANSACTION")
        );
        assert_eq!(judged("END"), Ok(Action::Control(Control::Commit)));
        assert_eq!(judged("ABORT"), Ok(Action::Control(Control::Rollback)));
        assert_eq!(
            judged("SAVEPOINT x").unwrap_err().message,
            "unsupported transaction statement: SAVEPOINT"
        );
        assert_eq!(
            judged("SELECT 1"),
            Ok(Action::Run(Plan::plain(Class::Read)))
        );
    }
}
