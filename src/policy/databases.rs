//! Databases that clients create. An Aurora DSQL cluster has one, `postgres`; a created database is a
//! schema of it, which is `public` to the sessions that connect to that database.
//!
//! | a session sees | what is there |
//! |---|---|
//! | `public`, where a statement, `search_path` or a constant name of an object says so | the schema |
//! | `public` in catalogs and in functions that print definitions | the schema |
//! | `pg_database`, `current_database()`, `has_database_privilege()`, `table_catalog` | what the user may connect to |
//!
//! Names without a schema are found by `search_path`, which begins with the schema.

mod catalog;
mod names;

pub(in crate::policy) use self::catalog::columns_of;

use crate::sql::{Statement, Tree};
use crate::wire::reply::ClientError;

use super::dialect;

/// What the schemas of created databases begin with.
pub const PREFIX: &str = "dsqlproxy_db_";

/// Databases of PostgreSQL that tools connect to in order to make others.
pub const MAINTENANCE: [&str; 2] = ["postgres", "template1"];

/// The one that nobody connects to.
pub const CLOSED: &str = "template0";

/// The operators' console.
pub const CONSOLE: &str = "dsqlproxy";

/// First line of the comment on the schema of a created database; name, entry and owner follow.
const MARK: &str = "dsql-proxy database";

/// Bytes of an identifier.
const LONGEST: usize = 63;

/// A created database, as the comment on its schema says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// Its name.
    pub name: String,
    /// The database entry that it was made from.
    pub entry: String,
    /// The user who made it.
    pub owner: String,
    /// The schema.
    pub schema: String,
}

impl Created {
    /// The comment on its schema.
    #[must_use]
    pub fn comment(&self) -> String {
        [MARK, &self.name, &self.entry, &self.owner].join("\n")
    }

    /// What such a comment says; `None` if it is another one.
    #[must_use]
    pub fn read(schema: &str, comment: &str) -> Option<Self> {
        let lines: Vec<&str> = comment.split('\n').collect();
        match lines.as_slice() {
            [MARK, name, entry, owner] => Some(Self {
                name: (*name).to_owned(),
                entry: (*entry).to_owned(),
                owner: (*owner).to_owned(),
                schema: schema.to_owned(),
            }),
            _ => None,
        }
    }
}

/// What a session calls its database, and what is behind that name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naming {
    /// The name that the client connected to.
    pub database: String,
    /// The schema that is its `public`; `None` where that is `public` itself.
    pub schema: Option<String>,
    /// Database entries that the user may connect to.
    pub entries: Vec<String>,
    /// The entry whose rules hold.
    pub entry: String,
    /// The user.
    pub user: String,
    /// The user may create databases.
    pub creates: bool,
}

impl Naming {
    /// Whether the configuration has an entry of this name that the session knows of.
    #[must_use]
    pub fn is_entry(&self, name: &str) -> bool {
        self.entry == name || self.entries.iter().any(|entry| entry == name)
    }

    /// Whether the user may connect to a created database, and change it.
    #[must_use]
    pub fn may_use(&self, created: &Created) -> bool {
        created.owner == self.user || self.entries.contains(&created.entry)
    }
}

/// A statement about databases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseChange {
    /// CREATE DATABASE.
    Create {
        /// Its name.
        name: String,
    },
    /// DROP DATABASE.
    Drop {
        /// Its name.
        name: String,
        /// IF EXISTS.
        if_exists: bool,
        /// WITH (FORCE).
        force: bool,
    },
    /// ALTER DATABASE RENAME.
    Rename {
        /// Its name.
        name: String,
        /// The new one.
        to: String,
    },
}

impl DatabaseChange {
    /// Its command tag.
    #[must_use]
    pub fn tag(&self) -> &'static str {
        match self {
            Self::Create { .. } => "CREATE DATABASE",
            Self::Drop { .. } => "DROP DATABASE",
            Self::Rename { .. } => "ALTER DATABASE",
        }
    }

    /// The database that it is about.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Create { name } | Self::Drop { name, .. } | Self::Rename { name, .. } => name,
        }
    }
}

/// The schema of a new database, `attempt` counted from 0: the name behind [`PREFIX`], cut where it is too
/// long for an identifier.
#[must_use]
pub fn schema_name(database: &str, attempt: u32) -> String {
    let mut name = format!("{PREFIX}{database}");
    let mut tail = match attempt {
        0 => String::new(),
        attempt => format!("_{}", attempt + 1),
    };
    if name.len() + tail.len() > LONGEST {
        tail = format!("_{:08x}{tail}", hash(database));
        let mut end = LONGEST - tail.len();
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        name.truncate(end);
    }
    name + &tail
}

/// FNV-1a: the same in all processes.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

/// A client's text as it is said to the cluster; `None` when it says the same there, or cannot be read.
///
/// # Errors
/// The text that would take its place says something else: XX000.
pub fn translate(text: &str, naming: &Naming) -> Result<Option<String>, ClientError> {
    if !touches(text, naming) {
        return Ok(None);
    }
    let Ok(statements) = Statement::read(text) else {
        return Ok(None);
    };
    let mut changed = false;
    let mut out: Vec<String> = Vec::new();
    for statement in &statements {
        let own = text.get(statement.span.clone()).unwrap_or_default();
        let translated = match &statement.tree {
            Tree::Node(node) => {
                let mut tree = (**node).clone();
                let mut found = names::leave_database(&mut tree, naming);
                if let Some(schema) = &naming.schema {
                    found |= names::put_schema(&mut tree, naming, schema);
                }
                found |= catalog::present(&mut tree, naming);
                let text = found.then(|| dialect::text(&tree, statement.asynchronous));
                text.transpose()
                    .map_err(|error| dialect::unprintable(&error))?
            }
            Tree::Iam { .. } => None,
        };
        changed |= translated.is_some();
        out.push(translated.unwrap_or_else(|| own.to_owned()));
    }
    Ok(changed.then(|| out.join("; ")))
}

/// A quick look: most statements name nothing that differs.
fn touches(text: &str, naming: &Naming) -> bool {
    let bytes = text.as_bytes();
    let starts = |at: usize, word: &[u8]| {
        bytes
            .get(at..at + word.len())
            .is_some_and(|found| found.eq_ignore_ascii_case(word))
    };
    let ends = |at: usize, word: &[u8]| at >= word.len() && starts(at - word.len(), word);
    let whole = naming.schema.is_some();
    let names = memchr::memchr_iter(b'_', bytes).any(|at| {
        starts(at + 1, b"database")
            || starts(at + 1, b"catalog") && ends(at, b"current")
            || starts(at + 1, b"schema")
            || whole && (ends(at, b"pg") || starts(at + 1, b"path"))
    });
    let says = |word: &[u8]| (0..bytes.len()).any(|at| starts(at, word));
    let database = naming.database.as_bytes();
    let qualified = !database.is_empty()
        && memchr::memmem::find_iter(bytes, database).any(|at| {
            let behind = &bytes[at + database.len()..];
            behind.starts_with(b".") || behind.starts_with(b"\".")
        });
    names
        || qualified
        || whole && (says(b"public") || says(b"schema") || says(b"nextval") || says(b"setval"))
}

/// A name as it stands in a statement.
fn quoted(name: &str) -> String {
    let plain = name
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    match plain {
        true => name.to_owned(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

/// A string constant.
fn literal(text: &str) -> String {
    match text.contains('\\') {
        true => format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''")),
        false => format!("'{}'", text.replace('\'', "''")),
    }
}

/// A list of schemas as `search_path` has it, of start-up parameters: `public` becomes the schema.
#[must_use]
pub fn path(list: &str, schema: &str) -> String {
    let parts = list.split(',').map(|part| match part.trim() {
        "public" | "\"public\"" | "'public'" => format!("\"{}\"", schema.replace('"', "\"\"")),
        other => other.to_owned(),
    });
    parts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
