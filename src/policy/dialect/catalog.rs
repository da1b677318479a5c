//! Catalog queries: what Aurora DSQL shows otherwise than PostgreSQL is put right on the way.
//!
//! | DSQL shows | clients expect |
//! |---|---|
//! | a primary key's index that includes all other columns | `indkey`, `indnatts`, `pg_attribute`, `pg_get_indexdef`, `pg_get_constraintdef` of the key alone |
//! | access method `btree_index` | `btree` |
//! | NOT NULL that was added later as a CHECK | `attnotnull`, no such constraint |
//! | schema `sys` and those of the proxy, and what is in them | nothing of it, unless they name it |
//! | no `pg_authid` to look at | what `pg_roles` tells, no passwords |
//! | materialized views as marked views | `relkind` `m`, `pg_matviews`, nothing of them among the views |
//! | composite types as marked views | `relkind` `c`, nothing of them among the views |
//! | statements that the proxy has prepared for all sessions | nothing of them |
//! | no `pg_table_size()` | `pg_relation_size()` |
//! | domains of types that are kept as text ([`crate::policy::unstorable`]) | these types |
//!
//! A catalog in FROM becomes a sub-select of the same columns under the same alias. In a created database
//! ([`crate::policy::databases`]) the sub-select has its schema as `public`, and nothing of `public` itself.

use std::sync::LazyLock;

use pg_query::protobuf::{Alias, ColumnRef, FuncCall, RangeSubselect, RangeVar, ResTarget};
use pg_query::{Node, NodeEnum};

use super::materialized::is_marked;
use super::{Case, Changed, Draft, build, composite};
use crate::sql::Statement;
use crate::sql::tree::{Descent, Mut, Ref, walk, walk_mut};

/// A catalog and its sub-select. In its text `{system}` is where system columns go that are asked for,
/// `{name:column}` a column with names of schemas, `{seen:column}` whether what is in such a schema is shown,
/// `{hidden}` the contrary for `s.nspname`, `{def}` column `indexdef`, `{marked:prefix}` whether a row of
/// `pg_class` is a materialized view, `{composite:prefix}` whether a composite type, `{unmarked:schema, name}` whether these name none.
struct Shown {
    schema: &'static str,
    relation: &'static str,
    query: &'static str,
    /// Only there to hide schemas, unless they are named.
    hides: bool,
}

const fn shown(relation: &'static str, query: &'static str) -> Shown {
    Shown {
        schema: "pg_catalog",
        relation,
        query,
        hides: false,
    }
}

const fn hidden(schema: &'static str, relation: &'static str, query: &'static str) -> Shown {
    Shown {
        schema,
        relation,
        query,
        hides: true,
    }
}

const SHOWN: [Shown; 22] = [
    shown(
        "pg_index",
        "SELECT {system} indexrelid, indrelid, \
         CASE WHEN indisprimary THEN indnkeyatts ELSE indnatts END AS indnatts, indnkeyatts, \
         indisunique, indnullsnotdistinct, indisprimary, indisexclusion, indimmediate, indisclustered, \
         indisvalid, indcheckxmin, indisready, indislive, indisreplident, \
         CASE WHEN indisprimary THEN array_to_string(indkey[0:indnkeyatts - 1], ' ')::int2vector \
         ELSE indkey END AS indkey, indcollation, indclass, indoption, indexprs, indpred \
         FROM pg_catalog.pg_index",
    ),
    shown(
        "pg_attribute",
        "SELECT {system} attrelid, attname, COALESCE(k.kind, atttypid) AS atttypid, \
         COALESCE(k.length, attlen) AS attlen, attnum, attcacheoff, COALESCE(k.modifier, atttypmod) AS atttypmod, \
         attndims, COALESCE(k.byval, attbyval) AS attbyval, COALESCE(k.align, attalign) AS attalign, \
         COALESCE(k.storage, attstorage) AS attstorage, attcompression, attnotnull OR EXISTS (SELECT 1 \
         FROM pg_catalog.pg_constraint c WHERE c.conrelid = a.attrelid AND c.contype = 'c' \
         AND c.convalidated AND c.conkey = ARRAY[a.attnum] AND c.conname LIKE '%\\_not\\_null' \
         AND pg_catalog.pg_get_constraintdef(c.oid) = format('CHECK ((%I IS NOT NULL))', a.attname)) \
         AS attnotnull, atthasdef, atthasmissing, attidentity, attgenerated, attisdropped, attislocal, \
         attinhcount, attstattarget, COALESCE(k.collated, attcollation) AS attcollation, attacl, attoptions, \
         attfdwoptions, attmissingval FROM (SELECT {system} * FROM pg_catalog.pg_attribute) a \
         LEFT JOIN (SELECT d.oid AS domain, \
         z.oid AS kind, z.typlen AS length, z.typbyval AS byval, z.typalign AS align, z.typstorage AS storage, \
         z.typcollation AS collated, COALESCE(CASE WHEN d.typname LIKE 'numeric(%' \
         THEN (substring(d.typname FROM '[0-9]+')::int4 << 16) \
         + COALESCE(substring(d.typname FROM ',([0-9]+)')::int4, 0) + 4 \
         WHEN d.typname LIKE 'character varying(%' THEN substring(d.typname FROM '[0-9]+')::int4 + 4 \
         ELSE substring(d.typname FROM '[(]([0-9]+)')::int4 END, -1) AS modifier \
         FROM pg_catalog.pg_type d JOIN pg_catalog.pg_type z ON z.oid = pg_catalog.to_regtype(d.typname) \
         WHERE d.typtype = 'd' AND d.typnamespace = pg_catalog.to_regnamespace('dsqlproxy')) k \
         ON k.domain = a.atttypid WHERE NOT EXISTS (SELECT 1 \
         FROM pg_catalog.pg_index i WHERE i.indexrelid = a.attrelid AND i.indisprimary \
         AND a.attnum > i.indnkeyatts)",
    ),
    shown(
        "pg_constraint",
        "SELECT {system} * FROM pg_catalog.pg_constraint c WHERE NOT (contype = 'c' AND convalidated \
         AND conname LIKE '%\\_not\\_null' AND pg_catalog.pg_get_constraintdef(oid) ~ \
         '^CHECK \\(\\((\"([^\"]|\"\")+\"|[^ \"]+) IS NOT NULL\\)\\)$')",
    ),
    shown(
        "pg_am",
        "SELECT {system} oid, CASE amname WHEN 'btree_index' THEN 'btree'::name ELSE amname END \
         AS amname, amhandler, amtype FROM pg_catalog.pg_am",
    ),
    shown(
        "pg_authid",
        "SELECT {system} oid, rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, \
         rolreplication, rolbypassrls, rolconnlimit, NULL::text AS rolpassword, rolvaliduntil \
         FROM pg_catalog.pg_roles",
    ),
    shown(
        "pg_indexes",
        "SELECT {name:schemaname}, tablename, indexname, tablespace, \
         CASE WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_index p \
         JOIN pg_catalog.pg_class pc ON pc.oid = p.indexrelid \
         JOIN pg_catalog.pg_namespace pn ON pn.oid = pc.relnamespace \
         WHERE p.indisprimary AND pc.relname = x.indexname AND pn.nspname = x.schemaname) \
         THEN regexp_replace(replace({def}, ' USING btree_index (', ' USING btree ('), \
         ' INCLUDE \\((\"[^\"]*\"|[^\")])*\\)', '') \
         ELSE replace({def}, ' USING btree_index (', ' USING btree (') END AS indexdef \
         FROM pg_catalog.pg_indexes x WHERE {seen:schemaname}",
    ),
    hidden(
        "pg_catalog",
        "pg_namespace",
        "SELECT {system} oid, {name:nspname}, nspowner, nspacl FROM pg_catalog.pg_namespace \
         WHERE {seen:nspname}",
    ),
    hidden(
        "pg_catalog",
        "pg_class",
        "SELECT {system} oid, relname, relnamespace, reltype, reloftype, relowner, relam, relfilenode, \
         reltablespace, relpages, reltuples, relallvisible, reltoastrelid, relhasindex, relisshared, \
         relpersistence, CASE WHEN {marked:} THEN 'm'::\"char\" WHEN {composite:} THEN 'c'::\"char\" ELSE relkind END AS relkind, \
         relnatts, relchecks, CASE WHEN {composite:} THEN false ELSE relhasrules END AS relhasrules, relhastriggers, relhassubclass, relrowsecurity, relforcerowsecurity, \
         relispopulated, relreplident, relispartition, relrewrite, relfrozenxid, relminmxid, relacl, \
         CASE WHEN {marked:} OR {composite:} THEN NULL ELSE reloptions END AS reloptions, relpartbound \
         FROM pg_catalog.pg_class WHERE relnamespace <> ALL (ARRAY(\
         SELECT s.oid FROM pg_catalog.pg_namespace s WHERE {hidden}))",
    ),
    hidden(
        "pg_catalog",
        "pg_proc",
        "SELECT {system} * FROM pg_catalog.pg_proc WHERE pronamespace <> ALL (ARRAY(\
         SELECT s.oid FROM pg_catalog.pg_namespace s WHERE {hidden}))",
    ),
    hidden(
        "pg_catalog",
        "pg_type",
        "SELECT {system} * FROM pg_catalog.pg_type WHERE typnamespace <> ALL (ARRAY(\
         SELECT s.oid FROM pg_catalog.pg_namespace s WHERE {hidden}))",
    ),
    hidden(
        "pg_catalog",
        "pg_rewrite",
        "SELECT {system} * FROM pg_catalog.pg_rewrite WHERE ev_class <> ALL (ARRAY(\
         SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace \
         WHERE {hidden} OR {composite:c.}))",
    ),
    // Others have made these, on a connection that is shared.
    shown(
        "pg_prepared_statements",
        "SELECT * FROM pg_catalog.pg_prepared_statements WHERE name NOT LIKE 'dsqlproxy\\_%'",
    ),
    hidden(
        "pg_catalog",
        "pg_tables",
        "SELECT {name:schemaname}, tablename, tableowner, tablespace, hasindexes, hasrules, hastriggers, \
         rowsecurity FROM pg_catalog.pg_tables WHERE {seen:schemaname}",
    ),
    hidden(
        "pg_catalog",
        "pg_sequences",
        "SELECT {name:schemaname}, sequencename, sequenceowner, data_type, start_value, min_value, \
         max_value, increment_by, cycle, cache_size, last_value \
         FROM pg_catalog.pg_sequences WHERE {seen:schemaname}",
    ),
    hidden(
        "pg_catalog",
        "pg_views",
        "SELECT {name:schemaname}, viewname, viewowner, definition \
         FROM pg_catalog.pg_views WHERE {seen:schemaname} AND {unmarked:schemaname, viewname}",
    ),
    shown(
        "pg_matviews",
        "SELECT {name:schemaname}, matviewname, matviewowner, tablespace, hasindexes, ispopulated, \
         definition FROM (SELECT n.nspname AS schemaname, c.relname AS matviewname, \
         pg_catalog.pg_get_userbyid(c.relowner) AS matviewowner, NULL::name AS tablespace, \
         false AS hasindexes, true AS ispopulated, pg_catalog.pg_get_viewdef(c.oid) AS definition \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE {marked:c.}) AS m WHERE {seen:schemaname}",
    ),
    hidden(
        "information_schema",
        "sequences",
        "SELECT * FROM information_schema.sequences WHERE {seen:sequence_schema}",
    ),
    hidden(
        "information_schema",
        "table_constraints",
        "SELECT * FROM information_schema.table_constraints WHERE {seen:table_schema}",
    ),
    hidden(
        "information_schema",
        "schemata",
        "SELECT * FROM information_schema.schemata WHERE {seen:schema_name}",
    ),
    hidden(
        "information_schema",
        "tables",
        "SELECT * FROM information_schema.tables WHERE {seen:table_schema} \
         AND {unmarked:table_schema, table_name}",
    ),
    hidden(
        "information_schema",
        "columns",
        "SELECT * FROM information_schema.columns WHERE {seen:table_schema} \
         AND {unmarked:table_schema, table_name}",
    ),
    hidden(
        "information_schema",
        "views",
        "SELECT * FROM information_schema.views WHERE {seen:table_schema} \
         AND {unmarked:table_schema, table_name}",
    ),
];

/// Functions and what stands in their place; `$1` and further are their arguments. Only with so
/// many arguments.
const FUNCTIONS: [(&str, usize, &str); 6] = [
    (
        "pg_get_indexdef",
        1,
        "CASE WHEN $1::oid = ANY (ARRAY(SELECT indexrelid FROM pg_catalog.pg_index WHERE indisprimary)) \
         THEN regexp_replace(replace(pg_catalog.pg_get_indexdef($1), ' USING btree_index (', ' USING btree ('), \
         ' INCLUDE \\((\"[^\"]*\"|[^\")])*\\)', '') \
         ELSE replace(pg_catalog.pg_get_indexdef($1), ' USING btree_index (', ' USING btree (') END",
    ),
    (
        "pg_get_indexdef",
        3,
        "CASE WHEN $2 = 0 AND $1::oid = ANY (ARRAY(SELECT indexrelid FROM pg_catalog.pg_index WHERE indisprimary)) \
         THEN regexp_replace(replace(pg_catalog.pg_get_indexdef($1, $2, $3), ' USING btree_index (', ' USING btree ('), \
         ' INCLUDE \\((\"[^\"]*\"|[^\")])*\\)', '') \
         ELSE replace(pg_catalog.pg_get_indexdef($1, $2, $3), ' USING btree_index (', ' USING btree (') END",
    ),
    (
        "pg_get_constraintdef",
        1,
        "regexp_replace(pg_catalog.pg_get_constraintdef($1), \
         '^(PRIMARY KEY \\((\"[^\"]*\"|[^\")])*\\)) INCLUDE \\((\"[^\"]*\"|[^\")])*\\)', '\\1')",
    ),
    (
        "pg_get_constraintdef",
        2,
        "regexp_replace(pg_catalog.pg_get_constraintdef($1, $2), \
         '^(PRIMARY KEY \\((\"[^\"]*\"|[^\")])*\\)) INCLUDE \\((\"[^\"]*\"|[^\")])*\\)', '\\1')",
    ),
    ("pg_table_size", 1, "pg_catalog.pg_relation_size($1)"),
    ("pg_indexes_size", 1, "0::bigint"),
];

/// Columns that every table has and no sub-select.
const SYSTEM: [&str; 6] = ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];

/// Finds catalogs of [`SHOWN`] and functions of [`FUNCTIONS`], and puts what clients expect in
/// their place.
pub(super) fn catalog(draft: &mut Draft, case: &Case<'_>) -> Changed {
    if !may_ask(case.text) {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    // In a created database catalogs were put right ahead of all rules.
    if !case.facts.created {
        show(&mut draft.tree, &Seen::default(), &mut found);
    }
    functions(&mut draft.tree, &mut found);
    Ok(found)
}

/// The sub-select for a relation; true: the statement names what is hidden otherwise.
pub(in crate::policy) type Other<'s> = &'s dyn Fn(&RangeVar, bool) -> Option<String>;

/// Where catalogs are looked at from.
#[derive(Default)]
pub(in crate::policy) struct Seen<'s> {
    /// The schema that is `public` to the session.
    pub public: Option<&'s str>,
    /// Sub-selects for other relations, or in place of those here.
    pub other: Option<Other<'s>>,
}

/// What a sub-select of the proxy's own looks into has an alias that begins so.
pub(in crate::policy) const OWN_ALIAS: &str = "dsqlproxy_";

/// Puts sub-selects in the place of catalogs; `found`: their names.
pub(in crate::policy) fn show(tree: &mut NodeEnum, seen: &Seen<'_>, found: &mut Vec<String>) {
    let use_of = Use::of(tree);
    if !use_of.stars || use_of.system.is_empty() {
        relations(tree, &use_of, seen, found);
    }
}

impl Seen<'_> {
    /// A sub-select's text; `all`: the statement names what is hidden otherwise.
    fn fill(&self, query: &str, system: &str, all: bool) -> String {
        let mut text = String::with_capacity(query.len() + 128);
        let mut rest = query;
        while let Some(start) = rest.find('{') {
            let (before, behind) = rest.split_at(start);
            text.push_str(before);
            let Some((word, tail)) = behind[1..].split_once('}') else {
                break;
            };
            rest = tail;
            match word.split_once(':').unwrap_or((word, "")) {
                ("system", _) => text.push_str(system),
                ("def", _) => text.push_str(&self.definition("indexdef")),
                ("hidden", _) => text.push_str(&self.hides("s.nspname", all)),
                ("marked", prefix) => text.push_str(&is_marked(prefix)),
                ("composite", prefix) => text.push_str(&composite::is_marked(prefix)),
                ("unmarked", columns) => text.push_str(&unmarked(columns)),
                ("seen", column) => text.push_str(&self.shows(column, all)),
                (_, column) => text.push_str(&self.name(column)),
            }
        }
        text + rest
    }

    /// Whether what is in a schema is shown.
    pub fn shows(&self, column: &str, all: bool) -> String {
        match (self.public, all) {
            (None, true) => "true".to_owned(),
            (None, false) => format!("{column} <> 'sys' AND {column} NOT LIKE 'dsqlproxy%'"),
            (Some(_), true) => format!("({column} <> 'public')"),
            (Some(own), false) => format!(
                "({column} = {} OR {column} NOT IN ('sys', 'public') AND {column} NOT LIKE 'dsqlproxy%')",
                build::literal(own)
            ),
        }
    }

    fn hides(&self, column: &str, all: bool) -> String {
        match (self.public, all) {
            (None, false) => format!("{column} = 'sys' OR {column} LIKE 'dsqlproxy%'"),
            _ => format!("NOT {}", self.shows(column, all)),
        }
    }

    /// A column of schemas.
    pub fn name(&self, column: &str) -> String {
        match self.public {
            None => column.to_owned(),
            Some(own) => format!(
                "CASE {column} WHEN {} THEN 'public' ELSE {column} END AS {column}",
                build::literal(own)
            ),
        }
    }

    /// A text with qualified names.
    pub fn definition(&self, expression: &str) -> String {
        match self.public {
            None => expression.to_owned(),
            Some(own) => format!(
                "replace(replace({expression}, {}, 'public.'), {}, 'public.')",
                build::literal(&format!("\"{own}\".")),
                build::literal(&format!("{own}."))
            ),
        }
    }
}

/// Whether what these columns name, a schema and a relation, is neither a materialized view nor a composite type.
pub(in crate::policy) fn unmarked(columns: &str) -> String {
    format!(
        "({columns}) NOT IN (SELECT {OWN_ALIAS}s.nspname, {OWN_ALIAS}m.relname \
         FROM pg_catalog.pg_class {OWN_ALIAS}m \
         JOIN pg_catalog.pg_namespace {OWN_ALIAS}s ON {OWN_ALIAS}s.oid = {OWN_ALIAS}m.relnamespace \
         WHERE {} OR {})",
        is_marked(&format!("{OWN_ALIAS}m.")),
        composite::is_marked(&format!("{OWN_ALIAS}m."))
    )
}

/// The statement names columns that no sub-select can have, but for `tableoid`.
pub(in crate::policy) fn names_system_columns(tree: &NodeEnum) -> bool {
    let names = Use::of(tree).system;
    names.iter().any(|name| name != "tableoid")
}

/// A quick look: most statements name no catalog.
pub(in crate::policy) fn may_ask(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr::memchr_iter(b'_', bytes).any(|at| {
        let before = &bytes[..at];
        let ends = |word: &[u8]| {
            before.len() >= word.len()
                && before[before.len() - word.len()..].eq_ignore_ascii_case(word)
        };
        ends(b"pg") || ends(b"information")
    })
}

/// What a statement says that decides how catalogs can be shown.
#[derive(Default)]
struct Use {
    /// System columns that it names.
    system: Vec<String>,
    /// It says `*`.
    stars: bool,
    /// It names schema `sys`, or one of the proxy.
    sys: bool,
    /// Names of its WITH queries.
    with: Vec<String>,
}

impl Use {
    fn of(tree: &NodeEnum) -> Self {
        let mut found = Self::default();
        walk(Ref::of(tree), &mut |node| {
            match node {
                Ref::ColumnRef(column) => found.column(column),
                Ref::CommonTableExpr(with) => found.with.push(with.ctename.clone()),
                Ref::AConst(constant) => {
                    if let Some(pg_query::protobuf::a_const::Val::Sval(text)) = &constant.val {
                        found.sys |= is_hidden(&text.sval);
                    }
                }
                Ref::RangeVar(relation) => found.sys |= is_hidden(&relation.schemaname),
                _ => {}
            }
            Descent::Into
        });
        found
    }

    fn column(&mut self, column: &ColumnRef) {
        match column.fields.last().and_then(|field| field.node.as_ref()) {
            Some(NodeEnum::AStar(_)) => self.stars = true,
            Some(NodeEnum::String(name))
                if SYSTEM.contains(&name.sval.as_str()) && !self.system.contains(&name.sval) =>
            {
                self.system.push(name.sval.clone());
            }
            _ => {}
        }
    }

    /// The sub-select for a relation.
    fn shows(&self, relation: &RangeVar, seen: &Seen<'_>) -> Option<(String, Node)> {
        let unqualified = relation.schemaname.is_empty();
        let own = relation.alias.as_ref().map_or("", |alias| &alias.aliasname);
        if unqualified && self.with.contains(&relation.relname) || own.starts_with(OWN_ALIAS) {
            return None;
        }
        let other = seen.other.and_then(|other| other(relation, self.sys));
        if let Some(query) = other {
            // The only one that is asked for; rows that are not the server's have none.
            let table = self.system.iter().any(|column| column == "tableoid");
            let system = match (table, relation.relname.as_str()) {
                (false, _) => "",
                (true, "pg_database") => "1262::oid AS tableoid, ",
                (true, _) => "tableoid, ",
            };
            let query = query.replace("{system}", system);
            let schema = match unqualified {
                true => "pg_catalog",
                false => &relation.schemaname,
            };
            return Some((schema.to_owned(), parse(&query).map(build::node)?));
        }
        let shown = SHOWN.iter().find(|shown| {
            shown.relation == relation.relname
                && (shown.schema == relation.schemaname
                    || unqualified && shown.schema == "pg_catalog")
                && !(shown.hides && self.sys && seen.public.is_none())
        })?;
        // Without a created database only the dialect's own rule shows them.
        let rule = seen.public.is_some() || seen.other.is_none();
        let select = rule.then(|| sub_select(shown, &self.system, seen, self.sys));
        Some((shown.schema.to_owned(), select.flatten()?))
    }
}

fn is_hidden(schema: &str) -> bool {
    schema == "sys" || schema.starts_with("dsqlproxy")
}

fn relations(tree: &mut NodeEnum, use_of: &Use, seen: &Seen<'_>, found: &mut Vec<String>) {
    let mut replaced = Vec::new();
    walk_mut(Mut::of(tree), &mut |node| {
        let Mut::Slot(slot) = node else {
            return Descent::Into;
        };
        let Some(NodeEnum::RangeVar(relation)) = &slot.node else {
            return Descent::Into;
        };
        let Some((schema, select)) = use_of.shows(relation, seen) else {
            return Descent::Into;
        };
        let alias = relation.alias.clone().unwrap_or_else(|| Alias {
            aliasname: relation.relname.clone(),
            colnames: Vec::new(),
        });
        replaced.push((schema, relation.relname.clone()));
        **slot = build::node(NodeEnum::RangeSubselect(Box::new(RangeSubselect {
            lateral: false,
            subquery: Some(Box::new(select)),
            alias: Some(alias),
        })));
        Descent::Over
    });
    if replaced.is_empty() {
        return;
    }
    found.extend(replaced.iter().map(|(_, name)| name.clone()));
    // `pg_catalog.pg_class.relname`: a sub-select has no schema.
    walk_mut(Mut::of(tree), &mut |node| {
        if let Mut::ColumnRef(column) = node
            && column.fields.len() == 3
        {
            let names = build::strings(&column.fields);
            let qualified = match names.as_slice() {
                [schema, table, ..] => replaced
                    .iter()
                    .any(|known| known.0 == **schema && known.1 == **table),
                _ => false,
            };
            if qualified {
                column.fields.remove(0);
            }
        }
        Descent::Into
    });
}

fn sub_select(shown: &Shown, system: &[String], seen: &Seen<'_>, all: bool) -> Option<Node> {
    let mut columns = system.join(", ");
    if !columns.is_empty() {
        columns.push(',');
    }
    parse(&seen.fill(shown.query, &columns, all)).map(build::node)
}

fn functions(tree: &mut NodeEnum, found: &mut Vec<String>) {
    walk_mut(Mut::of(tree), &mut |node| {
        match node {
            Mut::ResTarget(target) => name_target(target),
            Mut::Slot(slot) => {
                if let Some(NodeEnum::FuncCall(call)) = &slot.node
                    && let Some((name, new)) = replacement(call)
                {
                    found.push(name.to_owned());
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
fn name_target(target: &mut ResTarget) {
    if !target.name.is_empty() {
        return;
    }
    let mut value = target.val.as_deref();
    while let Some(node) = value {
        match &node.node {
            Some(NodeEnum::TypeCast(cast)) => value = cast.arg.as_deref(),
            Some(NodeEnum::CollateClause(clause)) => value = clause.arg.as_deref(),
            Some(NodeEnum::FuncCall(call)) => {
                if let Some((name, _)) = template(call) {
                    name.clone_into(&mut target.name);
                }
                return;
            }
            _ => return,
        }
    }
}

/// Name and text of what replaces a call.
fn template(call: &FuncCall) -> Option<(&'static str, &'static Node)> {
    /// The expressions of [`FUNCTIONS`] as trees.
    static TREES: LazyLock<Vec<(&str, usize, Node)>> = LazyLock::new(|| {
        let read = FUNCTIONS.iter().filter_map(|(name, count, text)| {
            let NodeEnum::SelectStmt(mut select) = parse(&format!("SELECT {text}"))? else {
                return None;
            };
            let NodeEnum::ResTarget(target) = select.target_list.pop()?.node? else {
                return None;
            };
            Some((*name, *count, *target.val?))
        });
        read.collect()
    });
    let name = match build::strings(&call.funcname).as_slice() {
        [name] | ["pg_catalog", name] => *name,
        _ => return None,
    };
    let plain = call.over.is_none() && call.agg_filter.is_none() && !call.func_variadic;
    TREES
        .iter()
        .find(|(known, count, _)| plain && *known == name && *count == call.args.len())
        .map(|(known, _, tree)| (*known, tree))
}

fn replacement(call: &FuncCall) -> Option<(&'static str, Node)> {
    let (name, tree) = template(call)?;
    let mut new = build::node(NodeEnum::List(pg_query::protobuf::List {
        items: vec![tree.clone()],
    }));
    let root = new.node.as_mut()?;
    walk_mut(Mut::of(root), &mut |node| {
        if let Mut::Slot(slot) = node
            && let Some(NodeEnum::ParamRef(parameter)) = &slot.node
        {
            let at = usize::try_from(parameter.number - 1).unwrap_or(usize::MAX);
            if let Some(argument) = call.args.get(at) {
                **slot = argument.clone();
                return Descent::Over;
            }
        }
        Descent::Into
    });
    match new.node {
        Some(NodeEnum::List(mut list)) => Some((name, list.items.pop()?)),
        _ => None,
    }
}

fn parse(text: &str) -> Option<NodeEnum> {
    let mut read = Statement::read(text).ok()?;
    match (read.pop()?.tree, read.is_empty()) {
        (crate::sql::Tree::Node(node), true) => Some(*node),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_can_be_read() {
        let system = ["tableoid".to_owned(), "xmin".to_owned()];
        for public in [None, Some("it's \"one\"")] {
            let seen = Seen {
                public,
                ..Seen::default()
            };
            for (shown, all) in SHOWN.iter().zip([false, true].into_iter().cycle()) {
                for system in [&[][..], &system] {
                    let select = sub_select(shown, system, &seen, all);
                    assert!(select.is_some(), "{}", shown.relation);
                }
            }
        }
        for (name, count, text) in &FUNCTIONS {
            assert!(parse(&format!("SELECT {text}")).is_some(), "{name} {count}");
        }
    }

    #[test]
    fn a_quick_look_finds_every_name() {
        let cases = [
            ("SELECT * FROM pg_class", true),
            ("SELECT * FROM PG_CLASS", true),
            ("SELECT * FROM information_schema.tables", true),
            ("SELECT a_b FROM x_y", false),
            ("_", false),
            ("", false),
        ];
        for (text, expected) in cases {
            assert_eq!(may_ask(text), expected, "{text}");
        }
    }
}
