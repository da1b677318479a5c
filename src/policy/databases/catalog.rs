//! Catalogs and functions about databases, and the schema of a created one as `public` in catalogs.

use std::collections::HashMap;
use std::sync::LazyLock;

use pg_query::protobuf::{FuncCall, RangeVar, ResTarget, SqlValueFunctionOp};
use pg_query::{Node, NodeEnum};

use super::names::{parse, told_path};
use super::{CLOSED, MAINTENANCE, MARK, Naming, hash, literal};
use crate::policy::dialect::build;
use crate::policy::dialect::catalog::{OWN_ALIAS, Seen, show, unmarked};
use crate::policy::unstorable::SCHEMA as TYPES;
use crate::sql::tree::{Descent, Mut, walk_mut};

/// Views of information_schema with names of databases or schemas, and their columns.
static VIEWS: LazyLock<HashMap<&str, Vec<&str>>> = LazyLock::new(|| {
    include_str!("information_schema.tsv")
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(view, columns)| (view, columns.split(' ').collect()))
        .collect()
});

/// Functions whose results are texts with qualified names.
const DEFINITIONS: [&str; 11] = [
    "format_type",
    "pg_describe_object",
    "pg_get_constraintdef",
    "pg_get_expr",
    "pg_get_function_arguments",
    "pg_get_function_identity_arguments",
    "pg_get_function_result",
    "pg_get_functiondef",
    "pg_get_indexdef",
    "pg_get_triggerdef",
    "pg_get_viewdef",
];

/// Puts in place what the session is to see. True when there was any.
pub(super) fn present(tree: &mut NodeEnum, naming: &Naming) -> bool {
    let other = |relation: &RangeVar, all: bool| sub_select(relation, all, naming);
    let seen = Seen {
        public: naming.schema.as_deref(),
        other: Some(&other),
    };
    let mut found = Vec::new();
    functions(tree, naming, &seen, &mut found);
    show(tree, &seen, &mut found);
    !found.is_empty()
}

fn sub_select(relation: &RangeVar, all: bool, naming: &Naming) -> Option<String> {
    let name = relation.relname.as_str();
    match relation.schemaname.as_str() {
        "" | "pg_catalog" if name == "pg_database" => Some(databases(naming)),
        // The comment that makes the schema a database is none of the client's.
        "" | "pg_catalog" if name == "pg_description" && naming.schema.is_some() => Some(format!(
            "SELECT {{system}}objoid, classoid, objsubid, description \
             FROM pg_catalog.pg_description {OWN_ALIAS}c WHERE description NOT LIKE '{MARK}%'"
        )),
        "information_schema" => information(name, all, naming),
        _ => None,
    }
}

/// The columns of a view of information_schema.
pub(in crate::policy) fn columns_of(view: &str) -> Option<&'static [&'static str]> {
    VIEWS.get(view).map(Vec::as_slice)
}

/// A view of information_schema with the names that the session knows.
fn information(view: &str, all: bool, naming: &Naming) -> Option<String> {
    let database = literal(&naming.database);
    if view == "information_schema_catalog_name" {
        return Some(format!(
            "SELECT {database}::information_schema.sql_identifier AS catalog_name"
        ));
    }
    let seen = Seen {
        public: naming.schema.as_deref(),
        other: None,
    };
    let columns = columns_of(view)?;
    let is_schema = |column: &str| column.ends_with("_schema") || column == "schema_name";
    let select = columns.iter().map(|column| match *column {
        column if view == "columns" && stands_for(column).is_some() => {
            let shown = stands_for(column).unwrap_or_default();
            format!("CASE WHEN domain_schema = '{TYPES}' THEN {shown} ELSE {column} END AS {column}")
        }
        "udt_schema" if view == "columns" => format!(
            "CASE WHEN domain_schema = '{TYPES}' THEN {} ELSE {} END AS udt_schema",
            as_public(&seen, TYPE_SCHEMA),
            as_public(&seen, "udt_schema")
        ),
        column if column.ends_with("_catalog") || column == "catalog_name" => format!(
            "CASE WHEN {column} IS NOT NULL THEN {database} END::information_schema.sql_identifier AS {column}"
        ),
        column if is_schema(column) => seen.name(column),
        column => column.to_owned(),
    });
    let of = columns.iter().find(|column| is_schema(column))?;
    let unmarked = match view {
        "tables" | "columns" | "views" => unmarked("table_schema, table_name"),
        _ => "true".to_owned(),
    };
    Some(format!(
        "SELECT {} FROM information_schema.{view} {OWN_ALIAS}v WHERE {} AND {unmarked}",
        select.collect::<Vec<_>>().join(", "),
        seen.shows(of, all)
    ))
}

/// The schema of the type that a column stands for.
const TYPE_SCHEMA: &str = "(SELECT s.nspname FROM pg_catalog.pg_type y JOIN pg_catalog.pg_namespace s ON s.oid = y.typnamespace \
     WHERE y.oid = pg_catalog.to_regtype(domain_name))";

/// A schema by the name that the session knows it by.
fn as_public(seen: &Seen<'_>, schema: &str) -> String {
    match seen.public {
        None => schema.to_owned(),
        Some(own) => format!(
            "CASE {schema} WHEN {} THEN 'public' ELSE {schema} END",
            literal(own)
        ),
    }
}

/// What is told of a column that is kept as text ([`crate::policy::unstorable`]).
fn stands_for(column: &str) -> Option<&'static str> {
    Some(match column {
        "data_type" => {
            "CASE WHEN domain_name LIKE '%[]' THEN 'ARRAY' WHEN domain_name LIKE '%.%' THEN 'USER-DEFINED' \
             ELSE pg_catalog.format_type(pg_catalog.to_regtype(domain_name), NULL) END"
        }
        "udt_name" => {
            "(SELECT y.typname FROM pg_catalog.pg_type y WHERE y.oid = pg_catalog.to_regtype(domain_name))"
        }
        "domain_name" | "domain_schema" | "domain_catalog" | "character_octet_length" => "NULL",
        _ => return None,
    })
}

/// What a user may connect to, as rows of `pg_database`.
fn databases(naming: &Naming) -> String {
    let mut known: Vec<(&str, u32, bool)> = Vec::new();
    let entries = naming.entries.iter().map(String::as_str);
    let maintenance = MAINTENANCE.into_iter().chain([CLOSED]);
    for name in entries.chain(maintenance.filter(|_| naming.creates)) {
        let (oid, template) = match name {
            "template1" => (1, true),
            CLOSED => (4, true),
            "postgres" => (5, false),
            // Beyond what the cluster gives to objects of ours soon.
            name => (3_000_000_000 + hash(name) % 1_000_000_000, false),
        };
        if !known.iter().any(|(other, ..)| *other == name) {
            known.push((name, oid, template));
        }
    }
    let mut rows: Vec<String> = known
        .iter()
        .map(|(name, oid, template)| {
            format!(
                "SELECT {oid}::oid, {}::name, {template}, {}",
                literal(name),
                *name != CLOSED
            )
        })
        .collect();
    if naming.creates {
        let line = |at: u32| {
            format!(
                "split_part(pg_catalog.obj_description({OWN_ALIAS}n.oid, 'pg_namespace'), E'\\n', {at})"
            )
        };
        let entries: Vec<String> = naming.entries.iter().map(|name| literal(name)).collect();
        rows.push(format!(
            "SELECT {OWN_ALIAS}n.oid, {}::name, false, true FROM pg_catalog.pg_namespace {OWN_ALIAS}n \
             WHERE {OWN_ALIAS}n.nspname LIKE 'dsqlproxy%' AND {} = {} AND ({} = {} OR {} IN ({}))",
            line(2),
            line(1),
            literal(MARK),
            line(4),
            literal(&naming.user),
            line(3),
            entries.join(", ")
        ));
    }
    format!(
        "SELECT {{system}}{OWN_ALIAS}d.oid, {OWN_ALIAS}d.datname, \
         (SELECT {OWN_ALIAS}r.oid FROM pg_catalog.pg_roles {OWN_ALIAS}r WHERE {OWN_ALIAS}r.rolname = current_user) AS datdba, \
         6 AS encoding, 'c'::\"char\" AS datlocprovider, {OWN_ALIAS}d.datistemplate, {OWN_ALIAS}d.datallowconn, \
         -1 AS datconnlimit, '0'::xid AS datfrozenxid, '1'::xid AS datminmxid, 1663::oid AS dattablespace, 'C'::text AS datcollate, 'C'::text AS datctype, \
         NULL::text AS daticulocale, NULL::text AS daticurules, NULL::text AS datcollversion, \
         NULL::aclitem[] AS datacl \
         FROM ({}) AS {OWN_ALIAS}d (oid, datname, datistemplate, datallowconn)",
        rows.join(" UNION ALL ")
    )
}

fn functions(tree: &mut NodeEnum, naming: &Naming, seen: &Seen<'_>, found: &mut Vec<String>) {
    walk_mut(Mut::of(tree), &mut |node| {
        match node {
            // A function in FROM cannot be an expression.
            Mut::RangeFunction(_) => return Descent::Over,
            Mut::ResTarget(target) => name_target(target, naming),
            Mut::Slot(slot) => {
                if let Some((name, new)) = replacement(slot, naming, seen) {
                    found.push(name);
                    **slot = new;
                    return Descent::Over;
                }
            }
            _ => {}
        }
        Descent::Into
    });
}

/// A column keeps the name that the function gives it.
fn name_target(target: &mut ResTarget, naming: &Naming) {
    if !target.name.is_empty() {
        return;
    }
    let mut value = target.val.as_deref();
    while let Some(node) = value {
        match &node.node {
            Some(NodeEnum::TypeCast(cast)) => value = cast.arg.as_deref(),
            Some(NodeEnum::CollateClause(clause)) => value = clause.arg.as_deref(),
            _ => {
                if let Some(name) = function(node)
                    && is_put(&name, node, naming)
                {
                    target.name = name;
                }
                return;
            }
        }
    }
}

/// Name of a function that is called, if it may be the catalog's.
fn function(node: &Node) -> Option<String> {
    match node.node.as_ref()? {
        NodeEnum::SqlvalueFunction(value) => match value.op() {
            SqlValueFunctionOp::SvfopCurrentCatalog => Some("current_catalog".to_owned()),
            SqlValueFunctionOp::SvfopCurrentSchema => Some("current_schema".to_owned()),
            _ => None,
        },
        NodeEnum::FuncCall(call) => match build::strings(&call.funcname).as_slice() {
            [name] | ["pg_catalog", name] => Some((*name).to_owned()),
            _ => None,
        },
        _ => None,
    }
}

fn is_put(name: &str, node: &Node, naming: &Naming) -> bool {
    let count = match &node.node {
        Some(NodeEnum::FuncCall(call)) => call.args.len(),
        _ => 0,
    };
    match name {
        "current_database" | "current_catalog" => count == 0,
        "has_database_privilege" => count == 2 || count == 3,
        "current_schema" => naming.schema.is_some() && count == 0,
        "current_schemas" => naming.schema.is_some() && count == 1,
        "current_setting" => {
            let asks = |call: &FuncCall| {
                call.args.first().is_some_and(|name| {
                    matches!(&name.node, Some(NodeEnum::AConst(constant))
                        if matches!(&constant.val, Some(pg_query::protobuf::a_const::Val::Sval(text))
                            if text.sval.eq_ignore_ascii_case("search_path")))
                })
            };
            naming.schema.is_some()
                && matches!(&node.node, Some(NodeEnum::FuncCall(call)) if asks(call))
        }
        name => naming.schema.is_some() && DEFINITIONS.contains(&name),
    }
}

fn replacement(slot: &Node, naming: &Naming, seen: &Seen<'_>) -> Option<(String, Node)> {
    let name = function(slot)?;
    if !is_put(&name, slot, naming) {
        return None;
    }
    let mut arguments = match &slot.node {
        Some(NodeEnum::FuncCall(call)) => call.args.clone(),
        _ => Vec::new(),
    };
    let text = match (name.as_str(), &naming.schema) {
        ("current_database" | "current_catalog", _) => {
            format!("{}::name", literal(&naming.database))
        }
        ("has_database_privilege", _) => {
            let at = arguments.len() - 1;
            format!(
                "EXISTS (SELECT 1 FROM ({}) {OWN_ALIAS}p WHERE ({OWN_ALIAS}p.datname = (${at})::text \
                 OR {OWN_ALIAS}p.oid::text = (${at})::text) AND {OWN_ALIAS}p.datallowconn)",
                databases(naming).replace("{system}", "")
            )
        }
        ("current_schema", Some(schema)) => format!(
            "CASE pg_catalog.current_schema() WHEN {} THEN 'public'::name \
             ELSE pg_catalog.current_schema() END",
            literal(schema)
        ),
        ("current_schemas", Some(schema)) => format!(
            "array_replace(pg_catalog.current_schemas($1), {}::name, 'public'::name)",
            literal(schema)
        ),
        ("current_setting", Some(schema)) => told_path("$1", schema),
        _ => seen.definition("$1"),
    };
    if matches!(name.as_str(), "current_setting") || DEFINITIONS.contains(&name.as_str()) {
        // The call itself is put in.
        arguments = vec![slot.clone()];
    }
    for argument in &mut arguments {
        put_inside(argument, naming, seen);
    }
    Some((name, fill(&text, &arguments)?))
}

/// What stands inside a call.
fn put_inside(argument: &mut Node, naming: &Naming, seen: &Seen<'_>) {
    let inner: &mut [Node] = match &mut argument.node {
        Some(NodeEnum::FuncCall(call)) => &mut call.args,
        _ => std::slice::from_mut(argument),
    };
    for node in inner {
        if let Some((_, new)) = replacement(node, naming, seen) {
            *node = new;
        } else if let Some(tree) = &mut node.node {
            functions(tree, naming, seen, &mut Vec::new());
        }
    }
}

/// An expression's tree with its arguments.
fn fill(text: &str, arguments: &[Node]) -> Option<Node> {
    let NodeEnum::SelectStmt(mut select) = parse(&format!("SELECT {text}"))? else {
        return None;
    };
    let NodeEnum::ResTarget(target) = select.target_list.pop()?.node? else {
        return None;
    };
    let mut root = NodeEnum::List(pg_query::protobuf::List {
        items: vec![*target.val?],
    });
    walk_mut(Mut::of(&mut root), &mut |node| {
        if let Mut::Slot(slot) = node
            && let Some(NodeEnum::ParamRef(parameter)) = &slot.node
        {
            let at = usize::try_from(parameter.number - 1).unwrap_or(usize::MAX);
            if let Some(argument) = arguments.get(at) {
                **slot = argument.clone();
                return Descent::Over;
            }
        }
        Descent::Into
    });
    match root {
        NodeEnum::List(mut list) => list.items.pop(),
        _ => None,
    }
}
