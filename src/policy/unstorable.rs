//! Columns of types that Aurora DSQL has in expressions and does not store: kept as text, and seen as what
//! they stand for.
//!
//! | a statement says | goes on as |
//! |---|---|
//! | `CREATE TABLE t (id int, ip inet)` | `ip` is of domain `dsqlproxy."inet"`, a text that must be an `inet` |
//! | `FROM t` | `FROM (SELECT id, ip::inet AS ip FROM t) t`, which the planner pulls up |
//! | `INSERT INTO t VALUES (1, $1)` | `VALUES (1, $1::inet)`, so that the parameter has its type |
//! | `UPDATE t SET ip = $1 WHERE ip << $2 RETURNING *` | `SET ip = $1::inet WHERE ip::inet << $2 RETURNING id, ip::inet` |
//!
//! The name of the domain is the type it stands for, so the catalog itself knows ([`tables`]). The types
//! are those whose text says all that there is to a value, whatever the session's settings are; where
//! `DateStyle` decides, the domain takes ISO dates only.
//!
//! Composite types and arrays of them (`record`) are kept as JSON, so that a value outlives attributes that
//! the type gets later.

mod record;
mod rewrite;
mod search;
pub mod tables;

use pg_query::protobuf::{TypeName, a_const};
use pg_query::{Node, NodeEnum};

pub use rewrite::{Translated, translate};
pub use search::{Search, may_set_path, names};
pub use tables::Tables;

use super::dialect::build;
use crate::sql::{Statement, Tree};

/// Where the domains are.
pub const SCHEMA: &str = "dsqlproxy";

/// Types by their names in the catalog, and as PostgreSQL writes them; `{}` is where a length stands.
const SCALARS: [(&str, &str); 25] = [
    ("bit", "bit{}"),
    ("box", "box"),
    ("cidr", "cidr"),
    ("datemultirange", "datemultirange"),
    ("daterange", "daterange"),
    ("inet", "inet"),
    ("int4multirange", "int4multirange"),
    ("int4range", "int4range"),
    ("int8multirange", "int8multirange"),
    ("int8range", "int8range"),
    ("lseg", "lseg"),
    ("macaddr", "macaddr"),
    ("macaddr8", "macaddr8"),
    ("money", "money"),
    ("nummultirange", "nummultirange"),
    ("numrange", "numrange"),
    ("path", "path"),
    ("point", "point"),
    ("polygon", "polygon"),
    ("tsmultirange", "tsmultirange"),
    ("tsquery", "tsquery"),
    ("tsrange", "tsrange"),
    ("tstzmultirange", "tstzmultirange"),
    ("tstzrange", "tstzrange"),
    ("tsvector", "tsvector"),
];

/// `bit varying` apart, since its name in the catalog is a word of its own.
const VARBIT: (&str, &str) = ("varbit", "bit varying{}");

/// Types of the elements of arrays besides those.
const ELEMENTS: [(&str, &str); 19] = [
    ("bool", "boolean"),
    ("bpchar", "bpchar"),
    ("bytea", "bytea"),
    ("date", "date"),
    ("float4", "real"),
    ("float8", "double precision"),
    ("int2", "smallint"),
    ("int4", "integer"),
    ("int8", "bigint"),
    ("interval", "interval"),
    ("json", "json"),
    ("jsonb", "jsonb"),
    ("numeric", "numeric{}"),
    ("text", "text"),
    ("time", "time{} without time zone"),
    ("timestamp", "timestamp{} without time zone"),
    ("timestamptz", "timestamp{} with time zone"),
    ("uuid", "uuid"),
    ("varchar", "character varying{}"),
];

/// Types of which a cast cuts what is too long.
const CUT: [&str; 3] = ["bit", "varbit", "varchar"];

/// Types whose text has dates.
const DATED: [&str; 9] = [
    "date",
    "timestamp",
    "timestamptz",
    "daterange",
    "tsrange",
    "tstzrange",
    "datemultirange",
    "tsmultirange",
    "tstzmultirange",
];

/// Types without equality, by which nothing is grouped.
const UNEQUAL: [&str; 8] = [
    "json", "xml", "point", "lseg", "box", "path", "polygon", "unknown",
];

/// A type that a column stands for.
#[derive(Debug, Clone, PartialEq)]
pub struct StandIn {
    /// The type as PostgreSQL writes it, and the name of its domain.
    pub spelling: String,
    /// The type of what is read.
    read: TypeName,
    /// The type of what is written: without a length, so that nothing is cut.
    write: TypeName,
    /// The same as a text.
    written: String,
    base: String,
    /// A composite type, or an array of one.
    record: Option<record::Record>,
}

impl StandIn {
    /// The type that a column is declared with; `None`: DSQL stores it, or nothing is known of it.
    #[must_use]
    pub fn of(name: &TypeName) -> Option<Self> {
        if name.setof || name.pct_type {
            return None;
        }
        let base = match build::strings(&name.names).as_slice() {
            // Without quotes it is `bpchar`.
            [base] | ["pg_catalog", base] if *base != "char" => *base,
            [schema, spelling] if *schema == SCHEMA => return record::named(spelling),
            _ => return None,
        };
        let array = !name.array_bounds.is_empty();
        let known = SCALARS.iter().chain([&VARBIT]);
        let mut known = known.chain(ELEMENTS.iter().filter(|_| array));
        let (_, pattern) = known.find(|(known, _)| *known == base)?;
        let lengths: Option<Vec<String>> = name.typmods.iter().map(number).collect();
        let lengths = lengths?.join(",");
        if !lengths.is_empty() && !pattern.contains("{}") {
            return None;
        }
        Self::made(base, pattern, &lengths, array)
    }

    /// The type that a domain of this name stands for.
    #[must_use]
    pub fn named(domain: &str) -> Option<Self> {
        Self::of(&type_name(domain)?).or_else(|| record::named(domain))
    }

    fn made(base: &str, pattern: &str, lengths: &str, array: bool) -> Option<Self> {
        let brackets = if array { "[]" } else { "" };
        let spelled = |lengths: &str| {
            let lengths = match lengths {
                "" => String::new(),
                lengths => format!("({lengths})"),
            };
            format!("{}{brackets}", pattern.replace("{}", &lengths))
        };
        let spelling = spelled(lengths);
        let write = match CUT.contains(&base) {
            // `bit` alone is `bit(1)`.
            true if base == "bit" => format!("bit varying{brackets}"),
            true => spelled(""),
            false => spelling.clone(),
        };
        Some(Self {
            read: type_name(&spelling)?,
            write: type_name(&write)?,
            written: write,
            base: base.to_owned(),
            spelling,
            record: None,
        })
    }

    /// The domain's name, to stand in a statement.
    #[must_use]
    pub fn domain(&self) -> TypeName {
        TypeName {
            names: vec![build::string(SCHEMA), build::string(&self.spelling)],
            typemod: -1,
            ..TypeName::default()
        }
    }

    /// The statement that makes the domain.
    #[must_use]
    pub fn creation(&self) -> String {
        let kind = &self.spelling;
        if self.record.is_some() {
            return format!(
                "CREATE DOMAIN {SCHEMA}.{} AS text CONSTRAINT valid CHECK ({})",
                build::quoted(kind),
                record::CHECK
            );
        }
        let mut checks = vec![format!("CAST(value AS {kind}) IS NOT NULL")];
        if CUT.contains(&self.base.as_str()) && kind.contains('(') {
            let loose = match self.base.as_str() {
                "varchar" => "character varying[]",
                _ if kind.ends_with("[]") => "bit varying[]",
                _ => "bit varying",
            };
            checks.push(format!(
                "CAST(CAST(value AS {kind}) AS text) = CAST(CAST(value AS {loose}) AS text)"
            ));
        }
        if DATED.contains(&self.base.as_str()) {
            // `12/31/2025`, `31.12.2025` and `Wed Dec 31` mean something else to other sessions.
            checks.push("value !~ '/|[0-9]\\.[0-9]+\\.|[[:alpha:]] '".to_owned());
        }
        if self.base == "interval" {
            // As `sql_standard` writes it: with other settings the sign is of the days alone.
            checks.push("value !~ '-[0-9]+ [0-9]'".to_owned());
        }
        format!(
            "CREATE DOMAIN {SCHEMA}.{} AS text CONSTRAINT valid CHECK (value IS NULL OR {})",
            build::quoted(kind),
            checks.join(" AND ")
        )
    }

    /// The type of values that are written into a domain of this name.
    #[must_use]
    pub fn written_as(domain: &str) -> Option<String> {
        Self::named(domain).map(|found| found.written)
    }

    /// A value to be written, as a value of the type.
    pub fn written(&self, value: Node) -> Node {
        match &self.record {
            None => cast(value, &self.write),
            Some(record) => record.written(value),
        }
    }

    /// A column's default. It stays readable, so that a dump can be restored.
    pub fn by_default(&self, value: Node) -> Node {
        cast(value, &self.write)
    }

    /// A column that is read, as a value of the type.
    pub fn seen(&self, column: Node) -> Node {
        match &self.record {
            None => cast(column, &self.read),
            Some(record) => record.seen(column),
        }
    }

    fn is_seen(&self, expression: &Node) -> bool {
        self.record
            .as_ref()
            .is_some_and(|record| record.is_seen(expression))
    }

    /// What is written has to be made JSON, whatever type it has already.
    fn is_record(&self) -> bool {
        self.record.is_some()
    }
}

/// The statement that makes the schema of the domains.
#[must_use]
pub fn schema_creation() -> String {
    format!("CREATE SCHEMA {SCHEMA}")
}

/// Whether a text of the proxy's own makes a domain, or the schema of all.
#[must_use]
pub fn makes_type(sql: &str) -> bool {
    let domain = sql.strip_prefix("CREATE DOMAIN ");
    let domain = domain.and_then(|name| name.strip_prefix(SCHEMA));
    sql == schema_creation() || domain.is_some_and(|name| name.starts_with('.'))
}

fn cast(value: Node, to: &TypeName) -> Node {
    build::node(NodeEnum::TypeCast(Box::new(pg_query::protobuf::TypeCast {
        arg: Some(Box::new(value)),
        type_name: Some(to.clone()),
        location: 0,
    })))
}

fn number(node: &Node) -> Option<String> {
    match &node.node {
        Some(NodeEnum::AConst(constant)) => match &constant.val {
            Some(a_const::Val::Ival(value)) => Some(value.ival.to_string()),
            _ => None,
        },
        _ => None,
    }
}

/// A type as it is written.
fn type_name(text: &str) -> Option<TypeName> {
    let mut read = Statement::read(&format!("SELECT CAST(NULL AS {text})")).ok()?;
    let (Some(statement), true) = (read.pop(), read.is_empty()) else {
        return None;
    };
    let Tree::Node(node) = statement.tree else {
        return None;
    };
    let NodeEnum::SelectStmt(mut select) = *node else {
        return None;
    };
    let NodeEnum::ResTarget(target) = select.target_list.pop()?.node? else {
        return None;
    };
    let NodeEnum::TypeCast(cast) = target.val?.node? else {
        return None;
    };
    cast.type_name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_their_domains() {
        let cases = [
            ("inet", Some("inet")),
            ("tsvector", Some("tsvector")),
            ("int[]", Some("integer[]")),
            ("int4[][3]", Some("integer[]")),
            ("varchar(20)[]", Some("character varying(20)[]")),
            ("text ARRAY[4]", Some("text[]")),
            ("numeric(10,2)[]", Some("numeric(10,2)[]")),
            ("timestamptz(3)[]", Some("timestamp(3) with time zone[]")),
            ("bit", Some("bit(1)")),
            ("bit(5)", Some("bit(5)")),
            ("bit varying", Some("bit varying")),
            ("inet[]", Some("inet[]")),
            ("\"char\"[]", None),
            ("char(3)[]", None),
            ("int", None),
            ("text", None),
            ("xml", None),
            ("mood[]", None),
            ("s.inet", None),
            ("interval day[]", None),
        ];
        for (text, expected) in cases {
            let found = StandIn::of(&type_name(text).unwrap());
            let spelling = found.as_ref().map(|found| found.spelling.as_str());
            assert_eq!(spelling, expected, "{text}");
            if let Some(found) = found {
                assert_eq!(StandIn::named(&found.spelling).as_ref(), Some(&found));
                assert!(Statement::read(&found.creation()).is_ok(), "{text}");
            }
        }
    }

    #[test]
    fn every_type_can_be_written() {
        let all = SCALARS.iter().chain([&VARBIT]).chain(&ELEMENTS);
        for (base, _) in all {
            let array = StandIn::of(&type_name(&format!("pg_catalog.{base}[]")).unwrap());
            assert!(array.is_some(), "{base}");
        }
    }
}
