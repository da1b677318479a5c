//! What Aurora DSQL makes of a statement: refused with its words, answered without PostgreSQL, or
//! run with changes. Pure judgement: no connection, no clock, no state of a session.

mod access;
mod data;
mod edit;
pub mod function;
mod index;
mod judge;
mod node;
mod object;
mod setting;
mod table;
#[cfg(test)]
mod tests;
mod transaction;
mod tree;
mod types;
mod words;

use std::sync::Arc;

use thiserror::Error;

use crate::sql::statement::Statement;
use crate::wire::reply::ClientError;
use data::{Data, Feature, Objects};
use judge::Judge;

pub(in crate::emulator) use tree::{INTERNAL, mentions_internal};
pub(in crate::emulator) use words::INVALID_SCHEMA;

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
    /// Command tag to tell the client; `None`: PostgreSQL's.
    pub tag: Option<&'static str>,
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
            tag: None,
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
    /// one row of one text column, NULL when `IF NOT EXISTS` found nothing to do. The job runner finds the job when the transaction has committed.
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
    /// The data compiled in is damaged.
    #[error("the rules cannot be read: {0}")]
    Data(String),
}

/// The rules of a month. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Rules {
    data: Arc<Data>,
    month: String,
}

impl Rules {
    /// The rules as they were in a month, written `2026-09`; later months are as the newest known.
    ///
    /// # Errors
    /// [`RulesError`].
    pub fn as_of(month: &str) -> Result<Self, RulesError> {
        let data = Data::shared()?;
        if !is_month(month) || month < data.first.as_str() {
            return Err(RulesError::Month(month.to_owned()));
        }
        Ok(Self {
            data,
            month: month.to_owned(),
        })
    }

    /// The newest rules known.
    ///
    /// # Errors
    /// [`RulesError::Data`].
    pub fn newest() -> Result<Self, RulesError> {
        let data = Data::shared()?;
        let month = data.newest.clone();
        Ok(Self { data, month })
    }

    /// The month, as in `2026-09`.
    #[must_use]
    pub fn month(&self) -> &str {
        &self.month
    }

    /// Judges one statement. The order of checks around it is the session's: a failed transaction
    /// (25P02) comes first, the mixing rules after it.
    ///
    /// # Errors
    /// The refusal in DSQL's words.
    pub fn judge(&self, statement: &Statement, facts: &Facts<'_>) -> Result<Action, ClientError> {
        Judge::new(self, statement, facts).judge()
    }

    /// Whether a setting may be named in SET, `set_config` and startup parameters. `name` in any
    /// case.
    #[must_use]
    pub fn setting(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        self.settings().any(|setting| setting == name)
    }

    /// The names of all settings that [`Rules::setting`] takes.
    pub fn settings(&self) -> impl Iterator<Item = &str> {
        let settings = self.data.settings.iter();
        settings
            .filter(|setting| self.has(&setting.since))
            .map(|setting| setting.name.as_str())
    }

    /// The name that a setting of DSQL's own has in the PostgreSQL behind, `None` for all others.
    /// `name` in any case.
    #[must_use]
    pub fn own_setting(&self, name: &str) -> Option<&str> {
        let own = &self.data.own_settings;
        own.get(&name.to_ascii_lowercase()).map(String::as_str)
    }

    /// What `SHOW` and `current_setting` say where the PostgreSQL behind says something else, as
    /// (name in lower case, value).
    pub fn reported<'a>(
        &'a self,
        version: &'a ServerVersion,
    ) -> impl Iterator<Item = (&'a str, String)> {
        let fixed = self.data.reported_settings.iter();
        [
            ("server_version", version.text.clone()),
            ("server_version_num", version.number.to_string()),
        ]
        .into_iter()
        .chain(fixed.map(|(name, value)| (name.as_str(), value.clone())))
    }

    /// Settings that do not exist although the PostgreSQL behind may have them.
    #[must_use]
    pub fn missing_settings(&self) -> &[String] {
        &self.data.missing_settings
    }

    /// The types a column may have, by their names in `pg_type`, and whether keys take them.
    pub fn storable_types(&self) -> impl Iterator<Item = (&str, bool)> {
        let types = self.data.types.iter();
        types
            .filter(|kind| self.has(&kind.storable))
            .map(|kind| (kind.name.as_str(), kind.key && self.has(&kind.keyable)))
    }

    /// Functions that do not exist although the PostgreSQL behind has them, as patterns of LIKE.
    pub fn missing_functions(&self) -> impl Iterator<Item = &str> {
        let missing = self.data.missing_functions.iter();
        missing
            .filter(|function| self.lacks(function.until.as_deref()))
            .map(|function| function.pattern.as_str())
    }

    fn has(&self, since: &str) -> bool {
        self.month.as_str() >= since
    }

    fn lacks(&self, until: Option<&str>) -> bool {
        until.is_none_or(|until| self.month.as_str() <= until)
    }

    /// Refuses a construct that is not there yet.
    fn require(&self, feature: Feature) -> Result<(), ClientError> {
        match self.data.features.get(&feature) {
            Some(rule) if !self.has(&rule.since) => Err(words::unsupported(&rule.message)),
            _ => Ok(()),
        }
    }

    fn takes(&self, statement: Objects, kind: &str) -> bool {
        let list = self.data.objects.get(&statement);
        list.is_some_and(|list| {
            list.iter()
                .any(|object| object.name == kind && self.has(&object.since))
        })
    }
}

fn is_month(text: &str) -> bool {
    let number = |part: &str| part.parse::<u16>().ok();
    match text.split_once('-') {
        Some((year, month)) if year.len() == 4 && month.len() == 2 => {
            number(year).is_some() && number(month).is_some_and(|month| (1..=12).contains(&month))
        }
        _ => false,
    }
}
