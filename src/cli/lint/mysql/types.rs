//! Types of MySQL in PostgreSQL's words.

use sqlparser::ast::{DataType, EnumMember};

use super::text::{identifier, literal};

/// What values of a column look like in a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    /// Numbers, also where the dump has bits.
    Numbers,
    /// Bytes.
    Bytes,
    /// Dates and times, some of them all zeros.
    Times,
    /// Anything else.
    Text,
}

/// A column's type, and what is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mapped {
    /// In PostgreSQL's words.
    pub name: String,
    /// What its values look like.
    pub values: Values,
    /// A condition on the column.
    pub check: Option<String>,
    /// What the reader is told.
    pub notice: Option<String>,
    /// The same, and something is lost.
    pub warning: Option<String>,
}

impl Mapped {
    fn new(name: impl Into<String>, values: Values) -> Self {
        Self {
            name: name.into(),
            values,
            check: None,
            notice: None,
            warning: None,
        }
    }
}

/// The type of column `column`; `None` when PostgreSQL has nothing like it that DSQL stores.
///
/// Widths follow MySQL's manual, chapter "Data Types": an unsigned integer takes the next wider type.
pub(super) fn map(kind: &DataType, column: &str) -> Option<Mapped> {
    match kind {
        DataType::Enum(members, _) => return Some(enumeration(members, column)),
        DataType::Set(_) => {
            let mut mapped = Mapped::new("text", Values::Text);
            mapped.warning = Some(format!(
                "column \"{column}\" is text, not a set; what it holds is not checked"
            ));
            return Some(mapped);
        }
        _ => {}
    }
    let words = kind.to_string().to_ascii_uppercase();
    let (words, unsigned) = match words.strip_suffix(" UNSIGNED") {
        Some(words) => (words, true),
        None => (words.as_str(), false),
    };
    let (name, arguments) = match words.split_once('(') {
        Some((name, rest)) => (name.trim(), rest.trim_end_matches(')')),
        None => (words, ""),
    };
    let mut mapped = plain(name, arguments, unsigned)?;
    if unsigned && mapped.values == Values::Numbers && !mapped.name.starts_with("numeric(20") {
        mapped.notice = Some(format!(
            "column \"{column}\" is {}, which takes all values of {}",
            mapped.name,
            kind.to_string().to_ascii_lowercase()
        ));
    }
    if mapped.name == "numeric(20,0)" {
        mapped.notice = Some(format!(
            "column \"{column}\" is numeric(20,0), since bigint ends at 2^63 - 1"
        ));
    }
    if matches!(name, "MEDIUMTEXT" | "LONGTEXT" | "MEDIUMBLOB" | "LONGBLOB") {
        mapped.notice = Some(format!(
            "column \"{column}\" is {}, of at most 1 MiB on Aurora DSQL",
            mapped.name
        ));
    }
    Some(mapped)
}

fn plain(name: &str, arguments: &str, unsigned: bool) -> Option<Mapped> {
    use Values::{Bytes, Numbers, Text, Times};
    let with = |name: &str, values| match arguments {
        "" => Mapped::new(name, values),
        _ => Mapped::new(format!("{name}({arguments})"), values),
    };
    Some(match name {
        "BOOL" | "BOOLEAN" | "TINYINT" | "INT1" | "YEAR" => Mapped::new("smallint", Numbers),
        "SMALLINT" | "INT2" if unsigned => Mapped::new("integer", Numbers),
        "SMALLINT" | "INT2" => Mapped::new("smallint", Numbers),
        "MEDIUMINT" | "INT3" => Mapped::new("integer", Numbers),
        "INT" | "INTEGER" | "INT4" if unsigned => Mapped::new("bigint", Numbers),
        "INT" | "INTEGER" | "INT4" => Mapped::new("integer", Numbers),
        "BIGINT" | "INT8" if unsigned => Mapped::new("numeric(20,0)", Numbers),
        "BIGINT" | "INT8" => Mapped::new("bigint", Numbers),
        "DECIMAL" | "DEC" | "NUMERIC" | "FIXED" if arguments.is_empty() => {
            Mapped::new("numeric(10,0)", Numbers)
        }
        "DECIMAL" | "DEC" | "NUMERIC" | "FIXED" => {
            Mapped::new(format!("numeric({arguments})"), Numbers)
        }
        "FLOAT" | "FLOAT4" => match arguments.parse::<u8>() {
            Ok(digits) if digits > 24 => Mapped::new("double precision", Numbers),
            _ => Mapped::new("real", Numbers),
        },
        "DOUBLE" | "DOUBLE PRECISION" | "REAL" | "FLOAT8" => {
            Mapped::new("double precision", Numbers)
        }
        "BIT" => Mapped::new(
            match arguments.parse::<u8>().unwrap_or(1) {
                0..=15 => "smallint",
                16..=31 => "integer",
                32..=63 => "bigint",
                _ => "numeric(20,0)",
            },
            Numbers,
        ),
        "CHAR" | "CHARACTER" | "NCHAR" => with("char", Text),
        "VARCHAR" | "NVARCHAR" | "CHARACTER VARYING" | "CHAR VARYING" => with("varchar", Text),
        "TEXT" | "TINYTEXT" | "MEDIUMTEXT" | "LONGTEXT" | "STRING" => Mapped::new("text", Text),
        "BINARY" | "VARBINARY" | "BLOB" | "TINYBLOB" | "MEDIUMBLOB" | "LONGBLOB" => {
            Mapped::new("bytea", Bytes)
        }
        "DATE" => Mapped::new("date", Times),
        "TIME" => with("time", Times),
        "DATETIME" => with("timestamp", Times),
        "TIMESTAMP" => with("timestamptz", Times),
        "JSON" => Mapped::new("jsonb", Text),
        "UUID" => Mapped::new("uuid", Text),
        _ => return None,
    })
}

fn enumeration(members: &[EnumMember], column: &str) -> Mapped {
    let words: Vec<String> = members
        .iter()
        .map(|member| match member {
            EnumMember::Name(word) | EnumMember::NamedValue(word, _) => literal(word),
        })
        .collect();
    let mut mapped = Mapped::new("text", Values::Text);
    mapped.check = Some(format!("{} IN ({})", identifier(column), words.join(", ")));
    mapped.notice = Some(format!(
        "column \"{column}\" is text with a CHECK on the values of its enum; they sort as text"
    ));
    mapped
}
