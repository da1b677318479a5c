//! What the database's catalog says of the tables of a policy: plain data, taken by whoever may
//! read the catalog.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// A relation's name: schema and name as the catalog has them, no quotes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelationName {
    /// The schema.
    pub schema: String,
    /// The relation in it.
    pub name: String,
}

impl RelationName {
    /// The name made of these parts.
    #[must_use]
    pub fn new(schema: &str, name: &str) -> Self {
        Self {
            schema: schema.to_owned(),
            name: name.to_owned(),
        }
    }
}

impl fmt::Display for RelationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// A text that is not `schema.name`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a relation is written schema.name")]
pub struct NotARelation;

impl FromStr for RelationName {
    type Err = NotARelation;

    fn from_str(text: &str) -> Result<Self, NotARelation> {
        match text.split_once('.') {
            Some((schema, name))
                if !schema.is_empty() && !name.is_empty() && !name.contains('.') =>
            {
                Ok(Self::new(schema, name))
            }
            _ => Err(NotARelation),
        }
    }
}

impl<'de> Deserialize<'de> for RelationName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// A column of a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type as `format_type` writes it: `integer`, `numeric(12,2)`, `text[]`.
    pub type_name: String,
    /// NOT NULL.
    pub not_null: bool,
}

/// A unique index: primary key, unique constraint, or bare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The index's name.
    pub name: String,
    /// Its key columns, without included ones. `None` stands for an expression.
    pub columns: Vec<Option<String>>,
    /// It is the primary key.
    pub primary: bool,
}

impl Key {
    /// Whether this column is one of the key's.
    #[must_use]
    pub fn contains(&self, column: &str) -> bool {
        self.columns
            .iter()
            .any(|key| key.as_deref() == Some(column))
    }
}

/// What happens to referencing rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReferentialAction {
    /// NO ACTION, RESTRICT or CASCADE: columns keep their values.
    Keep,
    /// SET NULL or SET DEFAULT of these columns.
    Set,
}

/// A foreign key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignKey {
    /// The constraint's name.
    pub name: String,
    /// Referencing column and referenced column.
    pub columns: Vec<(String, String)>,
    /// The referenced table.
    pub references: RelationName,
    /// ON DELETE and ON UPDATE.
    pub actions: [ReferentialAction; 2],
    /// The columns that ON DELETE SET NULL or SET DEFAULT names; none: all of them.
    pub set_on_delete: Vec<String>,
}

/// What a relation is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelationKind {
    /// A table, partitioned ones too.
    Table,
    /// A view and its definition as `pg_get_viewdef` prints it under an empty search path.
    View {
        /// The text of its query.
        definition: String,
        /// Every relation it reads, as `pg_depend` says.
        reads: Vec<RelationName>,
    },
    /// Anything else: materialized view, foreign table, sequence.
    Other,
}

/// A relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// What it is.
    pub kind: RelationKind,
    /// Its columns in their order.
    pub columns: Vec<Column>,
    /// Its unique indexes.
    pub keys: Vec<Key>,
    /// Its foreign keys.
    pub foreign_keys: Vec<ForeignKey>,
    /// Rules, policies and triggers on it, by name.
    pub attachments: Vec<String>,
}

impl Relation {
    /// A relation of a kind and with columns, and nothing else known of it.
    #[must_use]
    pub fn new(kind: RelationKind, columns: Vec<Column>) -> Self {
        Self {
            kind,
            columns,
            keys: Vec::new(),
            foreign_keys: Vec::new(),
            attachments: Vec::new(),
        }
    }

    /// The column of this name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The columns of the primary key; none when it has expressions or is missing.
    #[must_use]
    pub fn primary_key(&self) -> Vec<&str> {
        let key = self.keys.iter().find(|key| key.primary);
        key.and_then(|key| key.columns.iter().map(Option::as_deref).collect())
            .unwrap_or_default()
    }

    /// Unique indexes that do not contain `column`: their conflicts tell of rows of others.
    pub fn keys_without<'a>(&'a self, column: &'a str) -> impl Iterator<Item = &'a Key> {
        self.keys.iter().filter(move |key| !key.contains(column))
    }
}

/// A snapshot of the catalog.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalog {
    /// Every relation outside `pg_catalog` and `information_schema`.
    pub relations: BTreeMap<RelationName, Relation>,
}

impl Catalog {
    /// The relation of this name.
    #[must_use]
    pub fn relation(&self, name: &RelationName) -> Option<&Relation> {
        self.relations.get(name)
    }
}
