//! What tools ask of the catalogs, for tenants whose policy says `catalogs: declared`: every catalog
//! becomes a fenced sub-select of what the policy declares and of the system's own objects.
//!
//! Such a statement reads catalogs alone. [`read`] changes it, [`verify`] walks the result again and
//! accepts no table outside the very sub-selects that the policy gives for it.
//!
//! Object identifiers are not secret: functions over them (`format_type`, `pg_get_indexdef`) answer for
//! any, as PostgreSQL's do. What they can tell of undeclared objects are names and definitions, never
//! rows.

use std::collections::BTreeMap;

use pg_query::protobuf::{
    Alias, FuncCall, RangeSubselect, RangeVar, SelectStmt, TypeCast, a_const,
};
use pg_query::{Node, NodeEnum};

use super::catalog::RelationName;
use super::lists::lists;
use super::rules::Policy;
use super::{Isolated, RESERVED, Refusal, Rule, build};
use crate::sql::Statement;
use crate::sql::tree::{self, Descent, Mut, Ref, walk, walk_mut};

/// Oids below are of objects that initdb made. Source: `FirstNormalObjectId` in transam.h.
const OURS: &str = "oid < 16384";

/// Catalogs and the rows of them that are shown. `{class}` stands for the relations shown, `{schemas}`
/// for the schemas, `{tables}` for schema and name of what is declared, `{settings}` for settings.
const SHOWN: [(&str, &str, &str); 53] = [
    ("pg_catalog", "pg_class", "oid IN ({class})"),
    ("pg_catalog", "pg_namespace", "nspname IN ({schemas})"),
    ("pg_catalog", "pg_attribute", "attrelid IN ({class})"),
    ("pg_catalog", "pg_attrdef", "adrelid IN ({class})"),
    ("pg_catalog", "pg_index", "indrelid IN ({class})"),
    (
        "pg_catalog",
        "pg_constraint",
        "conrelid IN ({class}) AND (confrelid = 0 OR confrelid IN ({class}))",
    ),
    (
        "pg_catalog",
        "pg_type",
        "typnamespace IN (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname IN ({schemas})) \
         AND (typrelid = 0 OR typrelid IN ({class})) \
         AND (typelem = 0 OR typelem IN (SELECT e.oid FROM pg_catalog.pg_type e \
         WHERE e.typrelid = 0 OR e.typrelid IN ({class})))",
    ),
    (
        "pg_catalog",
        "pg_description",
        "objoid IN ({class}) OR objoid < 16384",
    ),
    (
        "pg_catalog",
        "pg_depend",
        "objid IN ({class}) AND refobjid IN ({class})",
    ),
    (
        "pg_catalog",
        "pg_inherits",
        "inhrelid IN ({class}) AND inhparent IN ({class})",
    ),
    ("pg_catalog", "pg_sequence", "seqrelid IN ({class})"),
    ("pg_catalog", "pg_trigger", "tgrelid IN ({class})"),
    ("pg_catalog", "pg_enum", "enumtypid < 16384"),
    ("pg_catalog", "pg_range", "rngtypid < 16384"),
    ("pg_catalog", "pg_proc", OURS),
    ("pg_catalog", "pg_operator", OURS),
    ("pg_catalog", "pg_opclass", OURS),
    ("pg_catalog", "pg_am", OURS),
    ("pg_catalog", "pg_collation", OURS),
    ("pg_catalog", "pg_language", OURS),
    ("pg_catalog", "pg_cast", OURS),
    ("pg_catalog", "pg_extension", OURS),
    ("pg_catalog", "pg_tablespace", OURS),
    ("pg_catalog", "pg_database", "datname = current_database()"),
    ("pg_catalog", "pg_settings", "name IN ({settings})"),
    ("pg_catalog", "pg_roles", "rolname = current_user"),
    ("pg_catalog", "pg_user", "usename = current_user"),
    (
        "pg_catalog",
        "pg_tables",
        "(schemaname, tablename) IN ({tables})",
    ),
    (
        "pg_catalog",
        "pg_views",
        "(schemaname, viewname) IN ({tables})",
    ),
    (
        "pg_catalog",
        "pg_indexes",
        "(schemaname, tablename) IN ({tables})",
    ),
    ("pg_catalog", "pg_auth_members", "false"),
    ("pg_catalog", "pg_default_acl", "false"),
    ("pg_catalog", "pg_policy", "false"),
    ("pg_catalog", "pg_policies", "false"),
    ("pg_catalog", "pg_rewrite", "false"),
    ("pg_catalog", "pg_matviews", "false"),
    ("pg_catalog", "pg_sequences", "false"),
    ("pg_catalog", "pg_statistic_ext", "false"),
    ("pg_catalog", "pg_publication", "false"),
    ("pg_catalog", "pg_publication_rel", "false"),
    ("pg_catalog", "pg_publication_namespace", "false"),
    ("pg_catalog", "pg_event_trigger", "false"),
    ("pg_catalog", "pg_foreign_table", "false"),
    ("pg_catalog", "pg_foreign_server", "false"),
    ("pg_catalog", "pg_partitioned_table", "false"),
    (
        "information_schema",
        "schemata",
        "schema_name IN ({schemas})",
    ),
    (
        "information_schema",
        "tables",
        "(table_schema, table_name) IN ({tables})",
    ),
    (
        "information_schema",
        "columns",
        "(table_schema, table_name) IN ({tables})",
    ),
    (
        "information_schema",
        "views",
        "(table_schema, table_name) IN ({tables})",
    ),
    (
        "information_schema",
        "table_constraints",
        "(table_schema, table_name) IN ({tables})",
    ),
    (
        "information_schema",
        "constraint_column_usage",
        "(table_schema, table_name) IN ({tables})",
    ),
    (
        "information_schema",
        "referential_constraints",
        "(constraint_schema, constraint_name) IN (SELECT s.nspname, k.conname \
         FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_namespace s ON s.oid = k.connamespace \
         WHERE k.conrelid IN ({class}))",
    ),
    (
        "information_schema",
        "key_column_usage",
        "(table_schema, table_name) IN ({tables})",
    ),
];

/// Relations of the policy with their indexes, and the system's.
const CLASS: &str = "SELECT c.oid FROM pg_catalog.pg_class c \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE (n.nspname, c.relname) IN ({tables}) \
     OR n.nspname = 'pg_catalog' \
     UNION ALL SELECT i.indexrelid FROM pg_catalog.pg_index i \
     JOIN pg_catalog.pg_class t ON t.oid = i.indrelid \
     JOIN pg_catalog.pg_namespace s ON s.oid = t.relnamespace \
     WHERE (s.nspname, t.relname) IN ({tables})";

/// Functions besides those that tenants may call on rows: they read catalogs, or tell of the session.
const FUNCTIONS: [&str; 47] = [
    "_pg_expandarray",
    "array_to_string",
    "aclexplode",
    "col_description",
    "current_database",
    "current_schema",
    "current_schemas",
    "format_type",
    "has_any_column_privilege",
    "has_column_privilege",
    "has_database_privilege",
    "has_function_privilege",
    "has_schema_privilege",
    "has_table_privilege",
    "has_type_privilege",
    "obj_description",
    "pg_char_to_encoding",
    "pg_collation_is_visible",
    "pg_encoding_to_char",
    "pg_function_is_visible",
    "pg_get_constraintdef",
    "pg_get_expr",
    "pg_get_function_arguments",
    "pg_get_function_identity_arguments",
    "pg_get_function_result",
    "pg_get_indexdef",
    "pg_get_keywords",
    "pg_get_partkeydef",
    "pg_get_serial_sequence",
    "pg_get_statisticsobjdef_columns",
    "pg_get_triggerdef",
    "pg_get_userbyid",
    "pg_is_in_recovery",
    "pg_operator_is_visible",
    "pg_partition_ancestors",
    "pg_partition_tree",
    "pg_relation_is_publishable",
    "pg_table_is_visible",
    "pg_tablespace_location",
    "pg_type_is_visible",
    "pg_typeof",
    "quote_ident",
    "shobj_description",
    "to_regclass",
    "to_regtype",
    "unnest",
    "version",
];

/// Settings that everybody may know.
const SETTINGS: [&str; 9] = [
    "client_encoding",
    "integer_datetimes",
    "lc_collate",
    "max_identifier_length",
    "max_index_keys",
    "server_encoding",
    "server_version",
    "server_version_num",
    "standard_conforming_strings",
];

/// Kinds of nodes that such a statement may have.
const NODES: [&str; 41] = [
    "AArrayExpr",
    "AConst",
    "AExpr",
    "AIndices",
    "AIndirection",
    "AStar",
    "Alias",
    "BitString",
    "BoolExpr",
    "Boolean",
    "BooleanTest",
    "CaseExpr",
    "CaseWhen",
    "CoalesceExpr",
    "CollateClause",
    "ColumnRef",
    "CommonTableExpr",
    "Float",
    "FuncCall",
    "GroupingSet",
    "Integer",
    "JoinExpr",
    "List",
    "MinMaxExpr",
    "NamedArgExpr",
    "NullTest",
    "ParamRef",
    "RangeFunction",
    "RangeSubselect",
    "RangeVar",
    "ResTarget",
    "RowExpr",
    "SelectStmt",
    "SortBy",
    "SqlValueFunction",
    "String",
    "SubLink",
    "TypeCast",
    "TypeName",
    "WindowDef",
    "WithClause",
];

/// SHOW of a setting that everybody may know.
pub(super) fn shows(name: &str) -> bool {
    SETTINGS.contains(&name.to_ascii_lowercase().as_str())
}

/// The sub-selects of a policy, by the catalog they stand for.
struct Shelf {
    queries: BTreeMap<(&'static str, &'static str), NodeEnum>,
}

impl Shelf {
    fn new(policy: &Policy, system: bool) -> Option<Self> {
        let names = policy
            .tables
            .keys()
            .chain(policy.shared.keys())
            .chain(policy.views.keys())
            .filter(|name| policy.role(name).is_some());
        let tables: Vec<String> = names
            .clone()
            .map(|name| format!("({}, {})", quoted(&name.schema), quoted(&name.name)))
            .collect();
        // A list has something in it.
        let tables = match tables.is_empty() {
            true => "(NULL, NULL)".to_owned(),
            false => tables.join(", "),
        };
        let mut schemas: Vec<String> = names.map(|name| quoted(&name.schema)).collect();
        schemas.extend(["'pg_catalog'".to_owned(), "'information_schema'".to_owned()]);
        schemas.dedup();
        let allowed = policy.settings.allow.iter().map(String::as_str);
        let settings: Vec<String> = SETTINGS.into_iter().chain(allowed).map(quoted).collect();
        let mut queries = BTreeMap::new();
        for (schema, relation, filter) in SHOWN {
            let filter = filter
                .replace("{class}", CLASS)
                .replace("{tables}", &tables)
                .replace("{schemas}", &schemas.join(", "))
                .replace("{settings}", &settings.join(", "));
            let columns = match system && schema == "pg_catalog" && has_tableoid(relation) {
                true => "tableoid, *",
                false => "*",
            };
            let filter = match hidden_filter(policy, relation) {
                Some(hidden) => format!("({filter}) AND {hidden}"),
                None => filter,
            };
            let mut text =
                format!("SELECT {columns} FROM {schema}.{relation} WHERE {filter} OFFSET 0");
            if relation == "pg_indexes" {
                let definition = without_hidden(policy, "indexdef");
                let shown = "SELECT schemaname, tablename, indexname, tablespace, ";
                let shown = format!("{shown}{definition} AS indexdef FROM");
                text = text.replacen("SELECT * FROM", &shown, 1);
            }
            let mut read = Statement::read(&text).ok()?;
            let mut query = read.pop()?.node()?.clone();
            tree::forget_places(&mut query);
            queries.insert((schema, relation), query);
        }
        Some(Self { queries })
    }

    fn find(&self, relation: &RangeVar) -> Option<((&'static str, &'static str), &NodeEnum)> {
        let schema = match relation.schemaname.as_str() {
            "" => "pg_catalog",
            schema => schema,
        };
        let mut found = self.queries.iter();
        let (key, query) =
            found.find(|((of, name), _)| *of == schema && *name == relation.relname)?;
        Some((*key, query))
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Which rows of a catalog are about columns that are not hidden. `None`: all of them.
fn hidden_filter(policy: &Policy, relation: &str) -> Option<String> {
    let mut hidden = policy.hidden().peekable();
    hidden.peek()?;
    match relation {
        "pg_attribute" => {
            let rows = hidden.map(|(table, column)| {
                let (schema, name) = (quoted(&table.schema), quoted(&table.name));
                format!("({schema}, {name}, {})", quoted(column))
            });
            let rows = rows.collect::<Vec<_>>().join(", ");
            Some(format!(
                "(attrelid, attname) NOT IN (SELECT c.oid, h.attname FROM pg_catalog.pg_class c \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 JOIN pg_catalog.pg_attribute h ON h.attrelid = c.oid \
                 WHERE (n.nspname, c.relname, h.attname) IN ({rows}) \
                 UNION ALL SELECT i.indexrelid, h.attname FROM pg_catalog.pg_index i \
                 JOIN pg_catalog.pg_class c ON c.oid = i.indrelid \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 JOIN pg_catalog.pg_attribute h ON h.attrelid = i.indexrelid \
                 WHERE (n.nspname, c.relname, h.attname) IN ({rows}))"
            ))
        }
        "columns" | "key_column_usage" | "constraint_column_usage" => {
            let rows = hidden.map(|(table, column)| {
                let (schema, name) = (quoted(&table.schema), quoted(&table.name));
                format!("({schema}, {name}, {})", quoted(column))
            });
            let rows = rows.collect::<Vec<_>>().join(", ");
            Some(format!(
                "(table_schema, table_name, column_name) NOT IN ({rows})"
            ))
        }
        _ => None,
    }
}

/// An expression for a definition's text without the hidden columns, which are the first of their keys.
fn without_hidden(policy: &Policy, definition: &str) -> String {
    let mut columns: Vec<&str> = policy.hidden().map(|(_, column)| column).collect();
    columns.sort_unstable();
    columns.dedup();
    columns.iter().fold(definition.to_owned(), |text, column| {
        let name = column.replace('"', "\"\"");
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let name = match name.bytes().all(plain) {
            true => name,
            false => format!("\"{name}\""),
        };
        let (first, alone) = (quoted(&format!("({name}, ")), quoted(&format!("({name})")));
        let whole = quoted(&name);
        format!(
            "nullif(pg_catalog.replace(pg_catalog.replace({text}, {first}, '('), {alone}, '()'), {whole})"
        )
    })
}

/// Calls that print definitions in which hidden columns stand.
const DEFINITIONS: [&str; 2] = ["pg_get_indexdef", "pg_get_constraintdef"];

/// The call of such a function with the hidden columns taken out of what it prints.
fn redacted(call: &FuncCall, policy: &Policy) -> Option<Node> {
    let name = pg_catalog_name(call)?;
    if !DEFINITIONS.contains(&name) || policy.hidden().next().is_none() {
        return None;
    }
    let mut node = expression(&without_hidden(policy, "here"))?;
    let mut call = Some(Node {
        node: Some(NodeEnum::FuncCall(Box::new(call.clone()))),
    });
    put_in_place(&mut node, &mut call);
    call.is_none().then_some(node)
}

/// Puts the call where the column `here` stands.
fn put_in_place(node: &mut Node, call: &mut Option<Node>) {
    match &mut node.node {
        Some(NodeEnum::ColumnRef(_)) => {
            if let Some(call) = call.take() {
                *node = call;
            }
        }
        Some(NodeEnum::FuncCall(outer)) => {
            for argument in &mut outer.args {
                put_in_place(argument, call);
            }
        }
        Some(NodeEnum::AExpr(outer)) => {
            for side in [&mut outer.lexpr, &mut outer.rexpr].into_iter().flatten() {
                put_in_place(side, call);
            }
        }
        _ => {}
    }
}

fn expression(text: &str) -> Option<Node> {
    let mut read = Statement::read(&format!("SELECT {text}")).ok()?;
    let NodeEnum::SelectStmt(select) = read.pop()?.node()?.clone() else {
        return None;
    };
    let NodeEnum::ResTarget(target) = select.target_list.into_iter().next()?.node? else {
        return None;
    };
    target.val.map(|value| *value)
}

/// Views have none.
fn has_tableoid(relation: &str) -> bool {
    !matches!(
        relation,
        "pg_settings"
            | "pg_roles"
            | "pg_user"
            | "pg_tables"
            | "pg_views"
            | "pg_indexes"
            | "pg_policies"
            | "pg_matviews"
            | "pg_sequences"
    )
}

/// What goes on in place of a query of catalogs.
///
/// # Errors
/// It is none, or asks for more than is shown.
pub(super) fn read(statement: &NodeEnum, policy: &Policy) -> Result<Isolated, Refusal> {
    let refuse = |rule, subject: &str| Err(Refusal::new(rule, subject));
    if !matches!(statement, NodeEnum::SelectStmt(_)) {
        return refuse(Rule::StatementKind, "");
    }
    let system = tree::any(statement, &mut |node| {
        matches!(node, Ref::ColumnRef(column)
            if build::last(&column.fields) == Some("tableoid"))
    });
    let Some(shelf) = Shelf::new(policy, system) else {
        return refuse(Rule::Unprintable, "catalogs");
    };
    let mut tree = statement.clone();
    let ctes = cte_names(&tree);
    // Outside its scope such a name would mean the catalog itself.
    if let Some(name) = ctes.iter().find(|name| name.starts_with("pg_")) {
        return refuse(Rule::ReservedName, name);
    }
    let mut unknown = None;
    walk_mut(Mut::of(&mut tree), &mut |node| {
        let Mut::Slot(slot) = node else {
            return Descent::Into;
        };
        match &slot.node {
            Some(NodeEnum::RangeVar(relation)) if is_cte(relation, &ctes) => {}
            Some(NodeEnum::RangeVar(relation)) => match shelf.find(relation) {
                Some((_, query)) => {
                    **slot = sub_select(relation, query);
                    return Descent::Over;
                }
                None => unknown = Some(relation.relname.clone()),
            },
            Some(NodeEnum::TypeCast(cast)) => {
                if let Some(new) = named(cast, policy) {
                    **slot = new;
                    return Descent::Over;
                }
            }
            Some(NodeEnum::FuncCall(call)) => {
                if let Some(new) = answered(call, policy) {
                    **slot = new;
                } else if let Some(new) = redacted(call, policy) {
                    // Tables inside are found below by the second look.
                    **slot = new;
                    return Descent::Over;
                }
            }
            _ => {}
        }
        Descent::Into
    });
    if let Some(name) = unknown {
        return refuse(Rule::Relation, &name);
    }
    drop_schemas(&mut tree);
    verify(&tree, &shelf)?;
    let text = tree::verify_print(&tree)
        .map_err(|problem| Refusal::new(Rule::Unprintable, problem.to_string()))?;
    Ok(Isolated {
        tree,
        text,
        loud: true,
        copy: None,
        parameter: None,
    })
}

/// `'orders'::regclass` means a table of the policy's search path, which is not the connection's.
fn named(cast: &TypeCast, policy: &Policy) -> Option<Node> {
    let kind = cast.type_name.as_ref()?;
    if build::last(&kind.names) != Some("regclass") || !kind.array_bounds.is_empty() {
        return None;
    }
    let Some(NodeEnum::AConst(constant)) = cast.arg.as_ref()?.node.as_ref() else {
        return None;
    };
    let Some(a_const::Val::Sval(given)) = &constant.val else {
        return None;
    };
    let text = given.sval.trim();
    let name = match text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
    {
        Some(quoted) if !quoted.contains('"') => quoted.to_owned(),
        None if !text.contains(['.', '"']) => text.to_lowercase(),
        _ => return None,
    };
    let mut path = policy.search_path.iter();
    let schema = path.find(|schema| policy.role(&RelationName::new(schema, &name)).is_some())?;
    let quoted = |name: &str| name.replace('"', "\"\"");
    let mut constant = constant.clone();
    constant.val = Some(a_const::Val::Sval(pg_query::protobuf::String {
        sval: format!("\"{}\".\"{}\"", quoted(schema), quoted(&name)),
    }));
    let mut cast = cast.clone();
    cast.arg = Some(Box::new(build::node(NodeEnum::AConst(constant))));
    Some(build::node(NodeEnum::TypeCast(Box::new(cast))))
}

fn cte_names(tree: &NodeEnum) -> Vec<String> {
    let mut names = Vec::new();
    walk(Ref::of(tree), &mut |node| {
        if let Ref::CommonTableExpr(cte) = node {
            names.push(cte.ctename.clone());
        }
        Descent::Into
    });
    names
}

fn is_cte(relation: &RangeVar, ctes: &[String]) -> bool {
    relation.schemaname.is_empty()
        && relation.catalogname.is_empty()
        && ctes.contains(&relation.relname)
}

fn sub_select(relation: &RangeVar, query: &NodeEnum) -> Node {
    let alias = relation.alias.clone().unwrap_or_else(|| Alias {
        aliasname: relation.relname.clone(),
        colnames: Vec::new(),
    });
    Node {
        node: Some(NodeEnum::RangeSubselect(Box::new(RangeSubselect {
            lateral: false,
            subquery: Some(Box::new(Node {
                node: Some(query.clone()),
            })),
            alias: Some(alias),
        }))),
    }
}

/// Functions whose answers depend on the search path, which is the system's: the policy's in its place.
fn answered(call: &FuncCall, policy: &Policy) -> Option<Node> {
    let name = pg_catalog_name(call)?;
    let first = policy.search_path.first()?;
    let text = match (name, call.args.len()) {
        (
            "pg_table_is_visible"
            | "pg_type_is_visible"
            | "pg_function_is_visible"
            | "pg_operator_is_visible"
            | "pg_collation_is_visible",
            1,
        ) => "true".to_owned(),
        ("current_schema", 0) => format!("CAST({} AS name)", quoted(first)),
        ("current_schemas", 1) => {
            let path: Vec<String> = policy.search_path.iter().map(|name| quoted(name)).collect();
            format!("CAST(ARRAY[{}] AS name[])", path.join(", "))
        }
        _ => return None,
    };
    expression(&text)
}

fn pg_catalog_name(call: &FuncCall) -> Option<&str> {
    match build::words(&call.funcname).as_deref() {
        Some([name] | ["pg_catalog", name]) => Some(name),
        _ => None,
    }
}

/// `pg_catalog.pg_class.relname`: a sub-select has no schema.
fn drop_schemas(tree: &mut NodeEnum) {
    walk_mut(Mut::of(tree), &mut |node| {
        if let Mut::ColumnRef(column) = node {
            let schema = match build::words(&column.fields).as_deref() {
                Some([schema, _, _]) => ["pg_catalog", "information_schema"].contains(schema),
                _ => false,
            };
            if schema {
                column.fields.remove(0);
            }
        }
        Descent::Into
    });
}

/// Accepts a query whose every table is one of the shelf's sub-selects, or a WITH query of its own, and
/// which calls known functions alone.
fn verify(tree: &NodeEnum, shelf: &Shelf) -> Result<(), Refusal> {
    let mut ctes = cte_names(tree);
    ctes.retain(|name| !name.starts_with("pg_"));
    let mut wrong: Option<Refusal> = None;
    walk(Ref::of(tree), &mut |node| {
        if wrong.is_some() {
            return Descent::Over;
        }
        if let Ref::RangeSubselect(sub) = node
            && is_shelved(sub, shelf)
        {
            return Descent::Over;
        }
        wrong = fault(node, &ctes);
        Descent::Into
    });
    wrong.map_or(Ok(()), Err)
}

fn is_shelved(sub: &RangeSubselect, shelf: &Shelf) -> bool {
    let query = sub.subquery.as_ref().and_then(|query| query.node.as_ref());
    query.is_some_and(|query| shelf.queries.values().any(|known| known == query))
}

fn fault(node: Ref<'_>, ctes: &[String]) -> Option<Refusal> {
    let refuse = |rule, subject: &str| Some(Refusal::new(rule, subject));
    match node {
        Ref::RangeVar(relation) if !is_cte(relation, ctes) => {
            refuse(Rule::Relation, &relation.relname)
        }
        Ref::SelectStmt(select) if is_more_than_a_query(select) => {
            refuse(Rule::Construct, "SELECT")
        }
        Ref::FuncCall(call) if !may_call(call) => refuse(
            Rule::Function,
            build::last(&call.funcname).unwrap_or_default(),
        ),
        Ref::TypeName(name) if !is_systems_type(name) => refuse(Rule::Type, ""),
        Ref::AExpr(expression) if !is_systems_operator(&expression.name) => {
            refuse(Rule::Operator, "")
        }
        Ref::SortBy(sort) if !sort.use_op.is_empty() => refuse(Rule::Operator, "USING"),
        Ref::CollateClause(clause) => match build::words(&clause.collname).as_deref() {
            Some([_] | ["pg_catalog", _]) => None,
            _ => refuse(Rule::Collation, ""),
        },
        Ref::Alias(alias) if alias.aliasname.starts_with(RESERVED) => {
            refuse(Rule::ReservedName, &alias.aliasname)
        }
        node if !NODES.contains(&node.name()) => refuse(Rule::Construct, node.name()),
        _ => None,
    }
}

fn is_more_than_a_query(select: &SelectStmt) -> bool {
    select.into_clause.is_some() || !select.locking_clause.is_empty()
}

fn may_call(call: &FuncCall) -> bool {
    match build::words(&call.funcname).as_deref() {
        Some(["information_schema", "_pg_expandarray"]) => true,
        Some([name] | ["pg_catalog", name]) => {
            FUNCTIONS.contains(name) || lists().function(name).is_some()
        }
        _ => false,
    }
}

fn is_systems_type(name: &pg_query::protobuf::TypeName) -> bool {
    matches!(
        build::words(&name.names).as_deref(),
        Some([_] | ["pg_catalog" | "information_schema", _])
    )
}

fn is_systems_operator(name: &[Node]) -> bool {
    matches!(build::words(name).as_deref(), Some([_] | ["pg_catalog", _]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        Policy::parse(
            "version: 1\nsearch_path: [app]\ncatalogs: declared\ntenant: {type: integer}\n\
             tables: {app.orders: {}}\nshared: {app.countries: {access: read}}\n",
        )
        .expect("a policy")
    }

    fn ask(text: &str) -> Result<String, Refusal> {
        let statement = Statement::read(text).expect("SQL").remove(0);
        read(statement.node().expect("a tree"), &policy()).map(|isolated| isolated.text)
    }

    #[test]
    fn every_sub_select_can_be_read() {
        for system in [false, true] {
            let shelf = Shelf::new(&policy(), system).expect("all of them");
            assert_eq!(shelf.queries.len(), SHOWN.len());
        }
    }

    #[test]
    fn catalogs_are_shown_in_part() {
        let cases = [
            (
                "SELECT relname FROM pg_class c WHERE pg_table_is_visible(oid)",
                "SELECT relname FROM (SELECT * FROM pg_catalog.pg_class WHERE oid IN (",
            ),
            (
                "SELECT pg_catalog.pg_class.relname FROM pg_catalog.pg_class",
                "SELECT pg_class.relname FROM (SELECT * FROM pg_catalog.pg_class WHERE",
            ),
            (
                "SELECT tableoid FROM pg_type t",
                "FROM (SELECT tableoid, * FROM",
            ),
            ("SELECT current_schema()", "SELECT 'app'::name"),
            ("SELECT version()", "SELECT version()"),
            (
                "WITH a AS (SELECT 1 AS b) SELECT b FROM a, pg_namespace",
                "FROM a, (SELECT * FROM pg_catalog.pg_namespace WHERE nspname IN ('app',",
            ),
        ];
        for (text, expected) in cases {
            let got = ask(text).unwrap_or_else(|refusal| panic!("{text}: {refusal}"));
            assert!(got.contains(expected), "{text}\n{got}");
        }
    }

    #[test]
    fn nothing_else_is_shown() {
        let cases = [
            ("SELECT * FROM pg_stats", Rule::Relation),
            ("SELECT * FROM pg_authid", Rule::Relation),
            ("SELECT * FROM pg_stat_activity, pg_class", Rule::Relation),
            ("SELECT * FROM app.orders, pg_class", Rule::Relation),
            ("SELECT * FROM orders", Rule::Relation),
            ("SELECT * FROM sys.jobs", Rule::Relation),
            (
                "SELECT query_to_xml('table app.orders', true, true, '')",
                Rule::Function,
            ),
            ("SELECT app.f()", Rule::Function),
            ("SELECT pg_get_viewdef(1)", Rule::Function),
            (
                "SELECT set_config('search_path', 'app', false)",
                Rule::Function,
            ),
            ("SELECT * INTO x FROM pg_class", Rule::Construct),
            ("SELECT * FROM pg_class FOR UPDATE", Rule::Construct),
            ("SELECT 1 OPERATOR(app.+) 2", Rule::Operator),
            ("SELECT 1::app.t", Rule::Type),
            (
                "WITH a AS (DELETE FROM pg_class RETURNING 1) SELECT * FROM a",
                Rule::Construct,
            ),
            (
                "SELECT * FROM pg_class TABLESAMPLE SYSTEM (1)",
                Rule::Construct,
            ),
            (
                "SELECT * FROM XMLTABLE('a' PASSING '<a/>' COLUMNS a int)",
                Rule::Construct,
            ),
            ("DELETE FROM pg_class", Rule::StatementKind),
            // A name of a WITH query hides no catalog elsewhere.
            (
                "SELECT * FROM (WITH pg_stats AS (SELECT 1) SELECT 1 FROM pg_stats) a, pg_stats",
                Rule::ReservedName,
            ),
        ];
        for (text, rule) in cases {
            match ask(text) {
                Err(refusal) => assert_eq!(refusal.rule, rule, "{text}"),
                Ok(got) => panic!("{text}\n{got}"),
            }
        }
    }
}
