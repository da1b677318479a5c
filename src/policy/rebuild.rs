//! Tables that are made anew, since Aurora DSQL changes some things of a table at its birth only.

use super::TableName;

/// A table made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuild {
    /// The table, as the statement has it.
    pub table: TableName,
    /// Its schema, if the statement names it.
    pub schema: Option<String>,
    /// Its name alone.
    pub name: String,
    /// IF EXISTS.
    pub if_exists: bool,
    /// What is different about it.
    pub changes: Vec<Reshape>,
    /// More rows than these are not copied.
    pub most: Option<u32>,
}

/// What is different about a table that is made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reshape {
    /// ALTER COLUMN TYPE.
    Type {
        /// The column.
        column: String,
        /// The type, as text.
        to: String,
        /// The type is one of PostgreSQL's own.
        builtin: bool,
        /// USING.
        using: Option<String>,
        /// USING does no more than a change of the type without it, if it has the type already.
        plain: bool,
    },
    /// ADD PRIMARY KEY.
    AddPrimaryKey {
        /// The constraint's name.
        name: String,
        /// Its columns.
        columns: Vec<String>,
    },
    /// ADD COLUMN of a generated or numbered one, or of a key.
    AddColumn {
        /// Its name.
        name: String,
        /// As CREATE TABLE has it.
        definition: String,
        /// IF NOT EXISTS.
        if_not_exists: bool,
    },
    /// ALTER COLUMN ADD GENERATED AS IDENTITY of a column that may have another type than bigint.
    AddIdentity {
        /// The column.
        column: String,
        /// The column with its type and identity, as CREATE TABLE has it.
        definition: String,
    },
    /// DROP COLUMN of what may be in the primary key.
    DropColumn {
        /// Its name.
        name: String,
        /// IF EXISTS.
        if_exists: bool,
        /// CASCADE.
        cascade: bool,
    },
    /// DROP CONSTRAINT of what may be the primary key.
    DropConstraint {
        /// Its name.
        name: String,
        /// IF EXISTS.
        if_exists: bool,
        /// CASCADE.
        cascade: bool,
    },
}

impl Rebuild {
    /// Takes over the changes of another one of the same table; `false` if it is of another.
    pub fn join(&mut self, other: &Self) -> bool {
        let same = self.table == other.table;
        if same {
            self.changes.extend(other.changes.iter().cloned());
        }
        same
    }
}
