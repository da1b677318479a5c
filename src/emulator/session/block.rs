//! The transaction a session is in, as its client sees it.

use std::time::{Duration, SystemTime};

use crate::emulator::rules::Class;
use crate::wire::backend::TransactionStatus;
use crate::wire::reply::ClientError;
use crate::wire::sqlstate::{FEATURE_NOT_SUPPORTED, PROGRAM_LIMIT_EXCEEDED};

/// Rows that a transaction may change (facts, section 2).
pub const MAX_ROWS: u64 = 3000;
/// How old a transaction may get.
pub const MAX_AGE: Duration = Duration::from_secs(300);
/// Bytes of statements remembered for faults that match a transaction by its SQL.
const MAX_TEXTS: usize = 64 * 1024;

/// Where a session is between BEGIN and COMMIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// No transaction.
    #[default]
    Idle,
    /// Inside a string of several statements, or between two Syncs.
    Implicit,
    /// Behind BEGIN.
    Explicit,
    /// Behind BEGIN and an error.
    Failed,
}

/// A transaction block and what happened in it.
#[derive(Debug, Default)]
pub struct Block {
    /// Where the session is.
    pub phase: Phase,
    /// When the transaction began.
    began: Option<SystemTime>,
    /// Rows changed so far.
    rows: u64,
    ddl: bool,
    dml: bool,
    lock: bool,
    looked: bool,
    texts: Vec<String>,
    texts_length: usize,
}

impl Block {
    /// The status byte for ReadyForQuery.
    pub fn status(&self) -> TransactionStatus {
        match self.phase {
            Phase::Idle | Phase::Implicit => TransactionStatus::Idle,
            Phase::Explicit => TransactionStatus::Open,
            Phase::Failed => TransactionStatus::Failed,
        }
    }

    /// Notes the moment the transaction begins, unless it has begun.
    pub fn begin(&mut self, now: SystemTime) {
        self.began.get_or_insert(now);
    }

    /// Forgets the transaction; the next phase is `phase`.
    pub fn end(&mut self, phase: Phase) {
        *self = Self {
            phase,
            ..Self::default()
        };
    }

    /// Remembers a statement's text for faults that match it.
    pub fn remember(&mut self, text: &str) {
        if self.texts_length + text.len() <= MAX_TEXTS {
            self.texts_length += text.len();
            self.texts.push(text.to_owned());
        }
    }

    /// The statements so far, as far as they were remembered.
    pub fn texts(&self) -> Vec<&str> {
        self.texts.iter().map(String::as_str).collect()
    }

    /// Counts a changed row; true when it is the first one too many.
    pub fn count_row(&mut self) -> bool {
        self.rows += 1;
        self.rows == MAX_ROWS + 1
    }

    /// Corrects the number of changed rows: some were taken back.
    pub fn recount(&mut self, rows: u64) {
        self.rows = rows;
    }

    /// Whether a statement has run in the transaction that looks at the schema.
    pub fn has_looked(&self) -> bool {
        self.looked
    }

    /// True at the first statement of a transaction.
    pub fn is_first(&mut self) -> bool {
        let first = !self.looked;
        self.looked = self.phase != Phase::Idle;
        first
    }

    /// Whether the transaction changed anything that a commit could lose.
    pub fn wrote(&self) -> bool {
        self.ddl || self.dml || self.lock || self.rows > 0
    }

    /// Checks the number of changed rows.
    ///
    /// # Errors
    /// 54000.
    pub fn check_rows(&self) -> Result<(), ClientError> {
        if self.rows <= MAX_ROWS {
            return Ok(());
        }
        let message = "transaction row limit exceeded";
        Err(ClientError::error(PROGRAM_LIMIT_EXCEEDED, message))
    }

    /// Checks the transaction's age.
    ///
    /// # Errors
    /// 54000 above 300 s.
    pub fn check_age(&self, now: SystemTime) -> Result<(), ClientError> {
        let age = self.began.and_then(|began| now.duration_since(began).ok());
        let Some(age) = age.filter(|age| *age > MAX_AGE) else {
            return Ok(());
        };
        Err(too_old(age))
    }

    /// Enters a statement under the rules on mixing (facts, section 3.3).
    ///
    /// # Errors
    /// 0A000.
    pub fn mix(&mut self, class: Class) -> Result<(), ClientError> {
        let refused = match class {
            Class::Ddl if self.ddl => Some(SECOND_DDL),
            Class::Ddl if self.dml => Some(DDL_AND_DML),
            Class::Write if self.ddl => Some(DDL_AND_DML),
            _ => None,
        };
        if let Some(message) = refused {
            return Err(ClientError::error(FEATURE_NOT_SUPPORTED, message));
        }
        match class {
            Class::Ddl => self.ddl = true,
            Class::Write => self.dml = true,
            Class::Lock => self.lock = true,
            Class::Read | Class::Session => {}
        }
        Ok(())
    }
}

/// The error for a transaction of this age.
pub fn too_old(age: Duration) -> ClientError {
    let limit = MAX_AGE.as_secs();
    let seconds = age.as_secs().max(limit + 1);
    let message = format!("transaction age limit of {limit}s exceeded");
    ClientError::error(PROGRAM_LIMIT_EXCEEDED, message).detail(format!(
        "Current transaction age {seconds}s exceeds {limit}s"
    ))
}

const SECOND_DDL: &str = "multiple ddl statements not supported in a transaction";
const DDL_AND_DML: &str = "ddl and dml are not supported in the same transaction";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ddl_and_dml_do_not_mix() {
        use Class::{Ddl, Lock, Read, Session, Write};
        let cases: &[(&[Class], Option<&str>)] = &[
            (&[Ddl], None),
            (&[Read, Session, Ddl, Read, Lock], None),
            (&[Write, Write, Lock, Read], None),
            (&[Ddl, Ddl], Some(SECOND_DDL)),
            (&[Ddl, Write], Some(DDL_AND_DML)),
            (&[Write, Ddl], Some(DDL_AND_DML)),
        ];
        for (classes, expected) in cases {
            let mut block = Block::default();
            let refused = classes.iter().find_map(|class| block.mix(*class).err());
            assert_eq!(refused.map(|error| error.message).as_deref(), *expected);
        }
    }

    #[test]
    fn limits_are_at_their_boundary() {
        let mut block = Block::default();
        for row in 1..=MAX_ROWS + 2 {
            assert_eq!(block.count_row(), row == MAX_ROWS + 1);
            assert_eq!(block.check_rows().is_ok(), row <= MAX_ROWS);
        }
        let start = SystemTime::UNIX_EPOCH;
        assert!(block.check_age(start + MAX_AGE * 2).is_ok());
        block.begin(start);
        block.begin(start + MAX_AGE);
        assert!(block.check_age(start + MAX_AGE).is_ok());
        let error = block
            .check_age(start + Duration::from_millis(300_001))
            .unwrap_err();
        assert_eq!(
            error.detail.as_deref(),
            Some("Current transaction age 301s exceeds 300s")
        );
        let error = block
            .check_age(start + Duration::from_secs(310))
            .unwrap_err();
        assert_eq!(
            error.detail.as_deref(),
            Some("Current transaction age 310s exceeds 300s")
        );
        block.end(Phase::Idle);
        assert!(block.check_rows().is_ok() && block.check_age(start + MAX_AGE * 2).is_ok());
    }

    #[test]
    fn memory_of_statements_is_bounded() {
        let mut block = Block::default();
        for _ in 0..100 {
            block.remember(&"x".repeat(1000));
        }
        assert_eq!(block.texts().len(), 65);
    }
}
