//! Catalogs as a session with temporary tables sees them: its own in a schema of their own, by the names
//! that it knows, and none of others.

use pg_query::protobuf::RangeVar;
use pg_query::{Node, NodeEnum};

use super::OWN;
use crate::policy::databases::columns_of;
use crate::policy::dialect::build::{self, literal};
use crate::policy::dialect::catalog::{self, OWN_ALIAS as A, Seen};
use crate::sql::Statement;
use crate::sql::tree::{Descent, Mut, walk_mut};

/// The schema of temporary tables, as the session sees it.
const NAME: &str = "pg_temp_1";

/// The schema's name as an expression: a text that names it would be shown all that is hidden.
const SCHEMA: &str = "concat('dsql', 'proxy_temp')";

/// Puts sub-selects in the place of catalogs that list relations. True when there was any. `tables`: name
/// and real name of each.
pub(super) fn show(tree: &mut NodeEnum, tables: &[(&str, &str)]) -> bool {
    if catalog::names_system_columns(tree) {
        return false;
    }
    let mut found = Vec::new();
    visible(tree, tables, &mut found);
    // Who names the proxy's schemas sees the tables there, by their real names.
    let other = |relation: &RangeVar, all: bool| match relation.schemaname.as_str() {
        "" | "pg_catalog" if !all => sub_select(&relation.relname, tables),
        "information_schema" if !all && relation.catalogname.is_empty() => {
            information(&relation.relname, tables)
        }
        _ => None,
    };
    let seen = Seen {
        public: None,
        other: Some(&other),
    };
    catalog::show(tree, &seen, &mut found);
    !found.is_empty()
}

fn sub_select(relation: &str, tables: &[(&str, &str)]) -> Option<String> {
    match relation {
        "pg_class" => Some(classes(tables)),
        "pg_namespace" => Some(format!(
            "SELECT {{system}}oid, nspname, nspowner, nspacl FROM pg_catalog.pg_namespace UNION ALL \
             SELECT {{system}}{A}n.oid, '{NAME}'::name, {A}n.nspowner, {A}n.nspacl \
             FROM pg_catalog.pg_namespace {A}n WHERE {A}n.nspname = {SCHEMA}"
        )),
        "pg_constraint" => Some(constraints(tables)),
        _ => None,
    }
}

/// Columns of `pg_class`.
const CLASS: [&str; 33] = [
    "oid",
    "relname",
    "relnamespace",
    "reltype",
    "reloftype",
    "relowner",
    "relam",
    "relfilenode",
    "reltablespace",
    "relpages",
    "reltuples",
    "relallvisible",
    "reltoastrelid",
    "relhasindex",
    "relisshared",
    "relpersistence",
    "relkind",
    "relnatts",
    "relchecks",
    "relhasrules",
    "relhastriggers",
    "relhassubclass",
    "relrowsecurity",
    "relforcerowsecurity",
    "relispopulated",
    "relreplident",
    "relispartition",
    "relrewrite",
    "relfrozenxid",
    "relminmxid",
    "relacl",
    "reloptions",
    "relpartbound",
];

/// What `pg_class` has besides: relations of the session's tables, under their names.
fn classes(tables: &[(&str, &str)]) -> String {
    let own = CLASS.map(|column| match column {
        "relname" => format!("{}::name", clients_name(&format!("{A}c.relname"))),
        "relpersistence" => "'t'::\"char\"".to_owned(),
        other => format!("{A}c.{other}"),
    });
    format!(
        "SELECT {{system}}{} FROM pg_catalog.pg_class UNION ALL SELECT {{system}}{} \
         FROM pg_catalog.pg_class {A}c JOIN {} ON starts_with({A}c.relname, {A}real) \
         WHERE {A}c.relnamespace = (SELECT {A}n.oid FROM pg_catalog.pg_namespace {A}n \
         WHERE {A}n.nspname = {SCHEMA})",
        CLASS.join(", "),
        own.join(", "),
        values(tables),
    )
}

/// A view of information_schema with the session's tables, as dbt asks for their columns.
fn information(view: &str, tables: &[(&str, &str)]) -> Option<String> {
    if !matches!(view, "tables" | "columns") {
        return None;
    }
    let columns = columns_of(view)?;
    let own = columns.iter().map(|column| match *column {
        "table_catalog" => {
            "pg_catalog.current_database()::information_schema.sql_identifier".to_owned()
        }
        "table_schema" => format!("'{NAME}'::information_schema.sql_identifier"),
        "table_name" => format!("{A}name::information_schema.sql_identifier"),
        "table_type" => "'LOCAL TEMPORARY'::information_schema.character_data".to_owned(),
        other => format!("{A}c.{other}"),
    });
    Some(format!(
        "SELECT {} FROM information_schema.{view} UNION ALL SELECT {} FROM information_schema.{view} {A}c \
         JOIN {} ON {A}c.table_name = {A}real WHERE {A}c.table_schema = {SCHEMA}",
        columns.join(", "),
        own.collect::<Vec<_>>().join(", "),
        values(tables),
    ))
}

/// Columns of `pg_constraint` behind its name.
const CONSTRAINT: &str = "connamespace, contype, condeferrable, condeferred, convalidated, conrelid, \
    contypid, conindid, conparentid, confrelid, confupdtype, confdeltype, confmatchtype, conislocal, \
    coninhcount, connoinherit, conkey, confkey, conpfeqop, conppeqop, conffeqop, confdelsetcols, conexclop, \
    conbin";

fn constraints(tables: &[(&str, &str)]) -> String {
    format!(
        "SELECT {{system}}oid, COALESCE((SELECT {} FROM {} WHERE starts_with(conname, {A}real)), \
         conname)::name AS conname, {CONSTRAINT} FROM pg_catalog.pg_constraint",
        clients_name("conname"),
        values(tables),
    )
}

/// The session's tables as a relation of real names and names.
fn values(tables: &[(&str, &str)]) -> String {
    let rows = tables
        .iter()
        .map(|(name, real)| format!("({}, {})", literal(real), literal(name)));
    let rows: Vec<String> = rows.collect();
    format!("(VALUES {}) AS {A}v ({A}real, {A}name)", rows.join(", "))
}

/// What the client calls what begins with a table's real name.
fn clients_name(column: &str) -> String {
    format!(
        "CASE WHEN substr({column}, length({A}real) + 1, 1) = '{OWN}' \
         THEN substr({column}, length({A}real) + 2) \
         ELSE concat({A}name, substr({column}, length({A}real) + 1)) END"
    )
}

/// The session's tables are visible.
fn visible(tree: &mut NodeEnum, tables: &[(&str, &str)], found: &mut Vec<String>) {
    const FUNCTION: &str = "pg_table_is_visible";
    let reals: Vec<String> = tables.iter().map(|(_, real)| literal(real)).collect();
    let text = format!(
        "SELECT pg_catalog.{FUNCTION}($1) OR $1 IN (SELECT {A}c.oid \
         FROM pg_catalog.pg_class {A}c WHERE {A}c.relname IN ({}))",
        reals.join(", ")
    );
    walk_mut(Mut::of(tree), &mut |node| {
        let slot = match node {
            Mut::Slot(slot) => slot,
            Mut::ResTarget(target) => {
                // A column keeps the name that the function gives it.
                let value = target.val.as_ref().and_then(|value| value.node.as_ref());
                if let Some(NodeEnum::FuncCall(call)) = value
                    && target.name.is_empty()
                    && build::last(&call.funcname) == FUNCTION
                {
                    FUNCTION.clone_into(&mut target.name);
                }
                return Descent::Into;
            }
            _ => return Descent::Into,
        };
        let Some(NodeEnum::FuncCall(call)) = &slot.node else {
            return Descent::Into;
        };
        let ([argument], FUNCTION) = (call.args.as_slice(), build::last(&call.funcname)) else {
            return Descent::Into;
        };
        if let Some(new) = of_argument(&text, argument) {
            found.push(FUNCTION.to_owned());
            **slot = new;
            return Descent::Over;
        }
        Descent::Into
    });
}

/// The expression of a SELECT with the argument in the place of `$1`.
fn of_argument(text: &str, argument: &Node) -> Option<Node> {
    let mut read = Statement::read(text).ok()?;
    let NodeEnum::SelectStmt(mut select) = read.pop()?.node()?.clone() else {
        return None;
    };
    for target in &mut select.target_list {
        let target = target.node.as_mut()?;
        walk_mut(Mut::of(target), &mut |node| match node {
            Mut::Slot(slot) if matches!(slot.node, Some(NodeEnum::ParamRef(_))) => {
                **slot = argument.clone();
                Descent::Over
            }
            _ => Descent::Into,
        });
    }
    let NodeEnum::ResTarget(target) = select.target_list.into_iter().next()?.node? else {
        return None;
    };
    target.val.map(|value| *value)
}

#[cfg(test)]
mod tests {
    use crate::policy::temporary::translate;

    #[test]
    fn catalogs_show_the_sessions_own() {
        let tables = [("mine", "t1_00c0ffee")];
        let cases = [
            (
                "SELECT relname FROM pg_class c",
                vec!["('t1_00c0ffee', 'mine')", ") c"],
            ),
            (
                "SELECT pg_catalog.pg_class.relname FROM pg_catalog.pg_class JOIN pg_namespace n ON true",
                vec![
                    "SELECT pg_class.relname FROM (SELECT oid",
                    "'pg_temp_1'::name",
                ],
            ),
            (
                "SELECT 1 WHERE pg_table_is_visible($1)",
                vec!["pg_catalog.pg_table_is_visible($1) OR $1 IN (SELECT"],
            ),
            (
                "SELECT conname FROM pg_constraint",
                vec!["COALESCE((SELECT"],
            ),
            (
                "SELECT tableoid FROM pg_class",
                vec!["SELECT tableoid, oid,"],
            ),
        ];
        for (text, expected) in cases {
            let shown = translate(text, &tables, &[]).unwrap_or_else(|| panic!("{text}"));
            for part in expected {
                assert!(shown.contains(part), "{text}: {shown}");
            }
            // What is hidden stays so: the rule for catalogs looks for the schema's name in texts.
            assert!(!shown.contains("'dsqlproxy"), "{shown}");
            assert_eq!(translate(text, &[], &[]), None, "{text}");
        }
        let left = [
            "SELECT xmin FROM pg_class",
            "SELECT relname FROM pg_class WHERE relnamespace = 'dsqlproxy_temp'::regnamespace",
            "SELECT * FROM other.pg_class",
            "SELECT * FROM pg_index",
            "WITH pg_class AS (SELECT 1) SELECT * FROM pg_class",
        ];
        for text in left {
            assert_eq!(translate(text, &tables, &[]), None, "{text}");
        }
    }
}
