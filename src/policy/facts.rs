//! What policy knows about a session.

use std::fmt;
use std::str::FromStr;

use crate::config::schema::Dialect;

/// A month of Aurora DSQL's history, written `2026-09`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    year: u16,
    month: u8,
}

/// A text is no month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a month is written YYYY-MM, such as 2026-09")]
pub struct NotAMonth;

impl Month {
    /// Before Aurora DSQL; rules without a beginning hold from here on.
    pub const FIRST: Self = Self { year: 0, month: 1 };
    /// Later than any known month.
    pub const LAST: Self = Self {
        year: u16::MAX,
        month: 12,
    };
}

impl FromStr for Month {
    type Err = NotAMonth;

    fn from_str(text: &str) -> Result<Self, NotAMonth> {
        let digits = |part: &str, length: usize| {
            let valid = part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
            valid.then(|| part.parse().ok()).flatten()
        };
        let (year, month) = text.split_once('-').ok_or(NotAMonth)?;
        let year: u16 = digits(year, 4).ok_or(NotAMonth)?;
        let month: u16 = digits(month, 2).ok_or(NotAMonth)?;
        match u8::try_from(month) {
            Ok(month @ 1..=12) => Ok(Self { year, month }),
            _ => Err(NotAMonth),
        }
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

/// What to do with more DDL in a transaction than Aurora DSQL takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum DdlInTransaction {
    /// Refuse it.
    #[default]
    Reject,
    /// Commit around it, with a WARNING that the transaction is no longer atomic.
    Split,
}

/// What to do with statements that change more rows than a transaction of Aurora DSQL may.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum LargeDml {
    /// Refuse them.
    #[default]
    Refuse,
    /// Run them as several transactions.
    Batch,
}

/// What to do with changes of a table that Aurora DSQL has only for new tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum TableRebuild {
    /// Refuse them.
    Reject,
    /// Make tables of few rows anew, refuse the others.
    #[default]
    Small,
    /// Make the table anew, whatever its size.
    Rebuild,
}

/// What to do with columns of types that Aurora DSQL has in expressions and does not store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum UnstorableColumns {
    /// Refuse them.
    #[default]
    Refuse,
    /// Keep them as text and show them as what they stand for.
    Text,
}

/// A session's switches (`dsqlproxy.…`), as its settings say at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Switches {
    /// `dsqlproxy.ddl_in_transaction`.
    pub ddl_in_transaction: DdlInTransaction,
    /// `dsqlproxy.large_dml`.
    pub large_dml: LargeDml,
    /// `dsqlproxy.table_rebuild`.
    pub table_rebuild: TableRebuild,
    /// `dsqlproxy.unstorable_columns`.
    pub unstorable_columns: UnstorableColumns,
    /// `dsqlproxy.index_wait`: an index is there when its statement has been answered.
    pub index_wait: bool,
    /// `dsqlproxy.savepoints` is `emulate`.
    pub savepoints: bool,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            ddl_in_transaction: DdlInTransaction::Reject,
            large_dml: LargeDml::Refuse,
            table_rebuild: TableRebuild::Small,
            unstorable_columns: UnstorableColumns::Refuse,
            index_wait: true,
            savepoints: true,
        }
    }
}

/// What the open transaction of a session has done upstream so far. A query string of several
/// statements is a transaction too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct TransactionFacts {
    /// A transaction block is open, or a string of several statements is under way.
    pub open: bool,
    /// It has run DDL since it began or was last committed around.
    pub ddl: bool,
    /// It has written rows since then.
    pub wrote: bool,
}

/// All that a decision depends on besides the statement and the rules: part of every cache key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionFacts {
    /// Profile of the database entry.
    pub profile: Dialect,
    /// Month whose Aurora DSQL is upstream.
    pub as_of: Month,
    /// The session's switches.
    pub switches: Switches,
    /// Its transaction.
    pub transaction: TransactionFacts,
    /// It is connected to a created database, of whose names its texts are free already.
    pub created: bool,
    /// Its database entry keeps tenants apart.
    pub tenants: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months() {
        let month: Month = "2026-09".parse().unwrap();
        assert_eq!(month.to_string(), "2026-09");
        assert!(month > "2026-08".parse().unwrap() && month < "2027-01".parse().unwrap());
        assert!(Month::FIRST < month && month < Month::LAST);
        for wrong in [
            "",
            "2026",
            "2026-9",
            "2026-13",
            "2026-00",
            "26-09",
            "2026-09-01",
            "+026-01",
        ] {
            assert_eq!(wrong.parse::<Month>(), Err(NotAMonth), "{wrong}");
        }
    }
}
