//! What a statement makes that was not there before: should its transaction be rolled back after it
//! was committed in the middle, that can go again.

use pg_query::protobuf::ObjectType;
use pg_query::{Node, NodeEnum};

use super::temporary::is_temporary;
use crate::sql::Statement;

/// An object that a statement makes; names as the statement has them, in quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Creation {
    /// A table, view or sequence.
    Relation(String),
    /// An index.
    Index {
        /// Its table.
        table: String,
        /// Its own name, without quotes.
        name: String,
    },
    /// A schema; its name without quotes.
    Schema(String),
    /// A domain, or a type that becomes one.
    Domain(String),
}

/// What `statement` makes. Nothing where there may have been one before: with IF NOT EXISTS and OR
/// REPLACE nobody could tell.
#[must_use]
pub fn creation(statement: &Statement) -> Option<Creation> {
    match statement.node()? {
        NodeEnum::CreateStmt(create) if !create.if_not_exists => {
            relation(create.relation.as_ref()?)
        }
        NodeEnum::CreateTableAsStmt(create)
            if !create.if_not_exists
                && matches!(
                    create.objtype(),
                    ObjectType::ObjectTable | ObjectType::ObjectMatview
                ) =>
        {
            relation(create.into.as_ref()?.rel.as_ref()?)
        }
        NodeEnum::SelectStmt(select) => relation(select.into_clause.as_ref()?.rel.as_ref()?),
        NodeEnum::ViewStmt(create) if !create.replace => relation(create.view.as_ref()?),
        NodeEnum::CompositeTypeStmt(create) => relation(create.typevar.as_ref()?),
        NodeEnum::CreateSeqStmt(create) if !create.if_not_exists => {
            relation(create.sequence.as_ref()?)
        }
        NodeEnum::IndexStmt(create) if !create.if_not_exists && !create.idxname.is_empty() => {
            Some(Creation::Index {
                table: name_of(create.relation.as_ref()?),
                name: create.idxname.clone(),
            })
        }
        NodeEnum::CreateSchemaStmt(create)
            if !create.if_not_exists
                && create.schema_elts.is_empty()
                && !create.schemaname.is_empty() =>
        {
            Some(Creation::Schema(create.schemaname.clone()))
        }
        NodeEnum::CreateDomainStmt(create) => Some(Creation::Domain(list(&create.domainname))),
        NodeEnum::CreateEnumStmt(create) => Some(Creation::Domain(list(&create.type_name))),
        _ => None,
    }
}

fn relation(relation: &pg_query::protobuf::RangeVar) -> Option<Creation> {
    (!is_temporary(relation)).then(|| Creation::Relation(name_of(relation)))
}

fn name_of(relation: &pg_query::protobuf::RangeVar) -> String {
    match relation.schemaname.as_str() {
        "" => quoted(&relation.relname),
        schema => format!("{}.{}", quoted(schema), quoted(&relation.relname)),
    }
}

fn list(names: &[Node]) -> String {
    let names = names.iter().filter_map(|name| match &name.node {
        Some(NodeEnum::String(name)) => Some(quoted(&name.sval)),
        _ => None,
    });
    names.collect::<Vec<String>>().join(".")
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_not_there_before_is_made() {
        let relation = |name: &str| Some(Creation::Relation(name.to_owned()));
        let cases = [
            ("CREATE TABLE t (a int)", relation("\"t\"")),
            ("CREATE TABLE s.\"T\" (a serial)", relation("\"s\".\"T\"")),
            ("CREATE TABLE IF NOT EXISTS t (a int)", None),
            ("CREATE TEMP TABLE t (a int)", None),
            ("CREATE TABLE t AS SELECT 1 AS a", relation("\"t\"")),
            ("SELECT 1 AS a INTO t", relation("\"t\"")),
            ("SELECT 1", None),
            ("CREATE VIEW v AS SELECT 1", relation("\"v\"")),
            ("CREATE OR REPLACE VIEW v AS SELECT 1", None),
            ("CREATE MATERIALIZED VIEW v AS SELECT 1", relation("\"v\"")),
            ("CREATE SEQUENCE q", relation("\"q\"")),
            (
                "CREATE INDEX i ON s.t (a)",
                Some(Creation::Index {
                    table: "\"s\".\"t\"".to_owned(),
                    name: "i".to_owned(),
                }),
            ),
            ("CREATE INDEX ON t (a)", None),
            ("CREATE SCHEMA s", Some(Creation::Schema("s".to_owned()))),
            (
                "CREATE DOMAIN s.d AS int",
                Some(Creation::Domain("\"s\".\"d\"".to_owned())),
            ),
            (
                "CREATE TYPE e AS ENUM ('a')",
                Some(Creation::Domain("\"e\"".to_owned())),
            ),
            ("ALTER TABLE t ADD a int", None),
            ("DROP TABLE t", None),
        ];
        for (text, expected) in cases {
            let statement = Statement::read(text).unwrap().remove(0);
            assert_eq!(creation(&statement), expected, "{text}");
        }
    }
}
