//! Composite types: views without rows, whose row type is the type. A mark among their options lets the
//! catalogs tell them from others, as with materialized views.
//!
//! A view and not a table, since it may have columns of every type that there is in expressions: arrays,
//! ranges, other composite types. What becomes of a type that is there already depends on what the catalog
//! says of it, so these statements are composed by a query ([`Step::composed`]).

use pg_query::protobuf::{
    AlterTableStmt, AlterTableType, ColumnDef, CompositeTypeStmt, DropBehavior, DropStmt,
    ObjectType, RangeVar, RenameStmt, ResTarget, TypeCast, a_const,
};
use pg_query::{Node, NodeEnum};

use super::build::{literal, quoted};
use super::{Case, Changed, Draft, build};
use crate::policy::Step;
use crate::policy::unstorable::SCHEMA;
use crate::wire::reply::ClientError;

/// Options of the view, which say what holds anyway. Their order is that of `pg_class.reloptions`.
const MARK: [&str; 2] = ["security_barrier", "security_invoker"];

/// How the options are off; the views that stand for materialized ones say it otherwise.
const OFF: &str = "off";

/// A condition for `pg_class`: the relation is such a type. `prefix` is put ahead of its columns.
pub(crate) fn is_marked(prefix: &str) -> String {
    let options = MARK.map(|name| format!("'{name}={OFF}'")).join(", ");
    format!("{prefix}relkind = 'v' AND {prefix}reloptions = ARRAY[{options}]")
}

fn options() -> String {
    MARK.map(|name| format!("{name} = '{OFF}'")).join(", ")
}

/// CREATE TYPE … AS (…) in a database whose tenants are kept apart: what they can do with such a type was not
/// proven.
pub(super) fn among_tenants(tree: &NodeEnum, case: &Case<'_>) -> Vec<String> {
    match tree {
        NodeEnum::CompositeTypeStmt(create) if case.facts.tenants => {
            let name = create.typevar.as_ref();
            vec![name.map_or_else(String::new, |name| name.relname.clone())]
        }
        _ => Vec::new(),
    }
}

/// CREATE TYPE … AS (…).
pub(super) fn create(draft: &mut Draft, _: &Case<'_>) -> Changed {
    let NodeEnum::CompositeTypeStmt(create) = &draft.tree else {
        return Ok(Vec::new());
    };
    let Some(name) = &create.typevar else {
        return Ok(Vec::new());
    };
    if create.coldeflist.is_empty() {
        return Err(without_attributes(&name.relname));
    }
    let found = vec![name.relname.clone()];
    draft.tree = view(name, &attributes(create))?;
    draft.tag = Some("CREATE TYPE".to_owned());
    Ok(found)
}

fn attributes(create: &CompositeTypeStmt) -> Vec<Node> {
    let columns = create
        .coldeflist
        .iter()
        .filter_map(|node| match &node.node {
            Some(NodeEnum::ColumnDef(column)) => Some(attribute(column)),
            _ => None,
        });
    columns.collect()
}

/// A column without a value.
fn attribute(column: &ColumnDef) -> Node {
    let nothing = build::node(NodeEnum::AConst(pg_query::protobuf::AConst {
        isnull: true,
        location: 0,
        val: None::<a_const::Val>,
    }));
    let value = build::node(NodeEnum::TypeCast(Box::new(TypeCast {
        arg: Some(Box::new(nothing)),
        type_name: column.type_name.clone(),
        location: 0,
    })));
    build::node(NodeEnum::ResTarget(Box::new(ResTarget {
        name: column.colname.clone(),
        indirection: Vec::new(),
        val: Some(Box::new(value)),
        location: 0,
    })))
}

fn view(name: &RangeVar, attributes: &[Node]) -> Result<NodeEnum, ClientError> {
    let sql = format!(
        "CREATE VIEW v WITH ({}) AS SELECT NULL WHERE false",
        options()
    );
    let mut tree = build::parsed(&sql)?;
    if let NodeEnum::ViewStmt(create) = &mut tree {
        if let Some(view) = &mut create.view {
            view.schemaname.clone_from(&name.schemaname);
            view.relname.clone_from(&name.relname);
        }
        let query = create.query.as_mut().and_then(|query| query.node.as_mut());
        if let Some(NodeEnum::SelectStmt(select)) = query {
            select.target_list = attributes.to_vec();
        }
    }
    Ok(tree)
}

/// ALTER TYPE ADD, DROP and ALTER ATTRIBUTE.
pub(super) fn alter(draft: &mut Draft, _: &Case<'_>) -> Changed {
    let NodeEnum::AlterTableStmt(alter) = &draft.tree else {
        return Ok(Vec::new());
    };
    let Some(name) = alter
        .relation
        .as_ref()
        .filter(|_| alter.objtype() == ObjectType::ObjectType)
    else {
        return Ok(Vec::new());
    };
    let found = vec![name.relname.clone()];
    let steps = Alteration::of(name, alter)?.steps()?;
    instead(draft, steps, "ALTER TYPE")?;
    Ok(found)
}

/// ALTER TYPE RENAME ATTRIBUTE and RENAME TO.
pub(super) fn rename(draft: &mut Draft, _: &Case<'_>) -> Changed {
    let NodeEnum::RenameStmt(rename) = &draft.tree else {
        return Ok(Vec::new());
    };
    let Some((name, change)) = renaming(rename) else {
        return Ok(Vec::new());
    };
    let sql = composition(&name, &moved(&name, &change));
    instead(draft, vec![Step::composed(sql)], "ALTER TYPE")?;
    Ok(vec![name.relname])
}

/// ALTER TYPE SET SCHEMA.
pub(super) fn set_schema(draft: &mut Draft, _: &Case<'_>) -> Changed {
    let NodeEnum::AlterObjectSchemaStmt(alter) = &draft.tree else {
        return Ok(Vec::new());
    };
    let object = alter
        .object
        .as_ref()
        .filter(|_| alter.object_type() == ObjectType::ObjectType);
    let Some(name) = object.and_then(|object| type_named(object)) else {
        return Ok(Vec::new());
    };
    let change = format!("SET SCHEMA {}", quoted(&alter.newschema));
    let sql = composition(&name, &moved(&name, &change));
    instead(draft, vec![Step::composed(sql)], "ALTER TYPE")?;
    Ok(vec![name.relname])
}

/// DROP TYPE: one that was made as an enum is a domain.
pub(super) fn drop(draft: &mut Draft, case: &Case<'_>) -> Changed {
    let NodeEnum::DropStmt(drop) = &draft.tree else {
        return Ok(Vec::new());
    };
    if drop.remove_type() != ObjectType::ObjectType {
        return Ok(Vec::new());
    }
    // Of a transaction the type alone is the one statement.
    let tidies = !case.facts.transaction.open;
    let names = drop.objects.iter().filter_map(type_named);
    let steps: Vec<Step> = names
        .map(|name| Step::composed(dropping(&name, drop, tidies)))
        .collect();
    instead(draft, steps, "DROP TYPE")?;
    Ok(vec![String::new()])
}

fn instead(draft: &mut Draft, steps: Vec<Step>, tag: &str) -> Result<(), ClientError> {
    // The rules behind this one have nothing to say about it.
    draft.tree = build::parsed("SELECT")?;
    draft.instead = Some(steps);
    draft.tag = Some(tag.to_owned());
    Ok(())
}

/// A type's name as that of its view.
fn type_named(object: &Node) -> Option<RangeVar> {
    let names = match object.node.as_ref()? {
        NodeEnum::TypeName(name) => build::strings(&name.names),
        NodeEnum::List(list) => build::strings(&list.items),
        _ => return None,
    };
    let (schema, name) = match names.as_slice() {
        [name] => ("", *name),
        [schema, name] => (*schema, *name),
        _ => return None,
    };
    Some(RangeVar {
        schemaname: schema.to_owned(),
        relname: name.to_owned(),
        inh: true,
        relpersistence: "p".to_owned(),
        ..RangeVar::default()
    })
}

fn renaming(rename: &RenameStmt) -> Option<(RangeVar, String)> {
    let new = quoted(&rename.newname);
    match rename.rename_type() {
        ObjectType::ObjectType => {
            let name = type_named(rename.object.as_ref()?)?;
            Some((name, format!("RENAME TO {new}")))
        }
        ObjectType::ObjectAttribute => {
            let name = rename.relation.clone()?;
            let old = quoted(&rename.subname);
            Some((name, format!("RENAME COLUMN {old} TO {new}")))
        }
        _ => None,
    }
}

/// The statement for a type that no column is kept of, or why there is none.
fn moved(name: &RangeVar, change: &str) -> String {
    let statement = literal(&format!("ALTER VIEW {} {change}", build::relation(name)));
    format!(
        "SELECT {statement}, NULL, NULL, NULL, 0 FROM w WHERE ours AND kept IS NULL \
         UNION ALL {KEPT} \
         UNION ALL SELECT NULL, '0A000', format('type \"%s\" cannot be changed on Aurora DSQL', {}), \
         'Make a new one and drop the old.', 0 FROM w WHERE kind = 'd'",
        literal(&name.relname)
    )
}

/// Columns of the type are kept by the names of its attributes.
const KEPT: &str = "SELECT NULL, '0A000', format('type \"%s\" cannot be changed so, since columns are kept of it', name), \
     format('Drop column %s first, or add a column of a new type and copy the values.', kept), 0 \
     FROM w WHERE ours AND kept IS NOT NULL";

/// A query for statements that change a type: `w` tells of it, `choice` chooses from that. Its rows are
/// as [`Step::composed`] says, in the order of the last column.
fn composition(name: &RangeVar, choice: &str) -> String {
    let known = literal(&build::relation(name));
    let plain = literal(&name.relname);
    let marked = is_marked("c.");
    format!(
        "WITH RECURSIVE t AS (SELECT t.oid, t.typtype, c.oid AS relation, ({marked}) IS TRUE AS ours \
         FROM pg_catalog.pg_type t LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid \
         WHERE t.oid = pg_catalog.to_regtype({known})), \
         k AS (SELECT oid FROM t WHERE ours UNION SELECT y.reltype FROM k \
         JOIN pg_catalog.pg_type e ON e.oid = k.oid \
         JOIN pg_catalog.pg_attribute a ON a.atttypid IN (e.oid, e.typarray) AND NOT a.attisdropped \
         JOIN pg_catalog.pg_class y ON y.oid = a.attrelid AND y.relkind = 'v'), \
         w AS (SELECT {plain}::text AS name, t.oid, t.relation, t.typtype AS kind, COALESCE(t.ours, false) AS ours, \
         (SELECT min(format('%I of table %s', a.attname, a.attrelid::pg_catalog.regclass)) FROM k \
         JOIN pg_catalog.pg_type e ON e.oid = k.oid \
         JOIN pg_catalog.pg_type d ON d.typnamespace = pg_catalog.to_regnamespace('{SCHEMA}') AND d.typtype = 'd' \
         AND pg_catalog.to_regtype(d.typname::text) IN (e.oid, e.typarray) \
         JOIN pg_catalog.pg_attribute a ON a.atttypid = d.oid AND NOT a.attisdropped \
         JOIN pg_catalog.pg_class r ON r.oid = a.attrelid AND r.relkind = 'r') AS kept \
         FROM (SELECT 1) one LEFT JOIN t ON true) \
         SELECT * FROM ({choice} \
         UNION ALL SELECT NULL, '42704', format('type \"%s\" does not exist', name), NULL, 0 FROM w WHERE oid IS NULL \
         UNION ALL SELECT NULL, '42809', format('\"%s\" is not a composite type', name), NULL, 0 \
         FROM w WHERE NOT ours AND kind <> 'd') AS s(statement, code, message, hint, place) ORDER BY place"
    )
}

fn dropping(name: &RangeVar, drop: &DropStmt, tidies: bool) -> String {
    let own = build::relation(name);
    let cascade = match drop.behavior() {
        DropBehavior::DropCascade => " CASCADE",
        _ => "",
    };
    let domain = literal(&format!("DROP DOMAIN {own}{cascade}"));
    let view = literal(&format!("DROP VIEW {own}{cascade}"));
    let plain = literal(&name.relname);
    let mut choices = vec![
        format!("SELECT {domain}, NULL, NULL, NULL, 0 FROM t WHERE typtype = 'd'"),
        format!(
            "SELECT {view}, NULL, NULL, NULL, 1 FROM t WHERE ours AND (kept IS NULL OR {})",
            !cascade.is_empty()
        ),
        format!(
            "SELECT NULL, '2BP01', format('cannot drop type %s because other objects depend on it', {plain}), \
             format('Column %s is of it; use DROP ... CASCADE to drop that too.', kept), 0 FROM t WHERE ours AND kept IS NOT NULL AND {}",
            cascade.is_empty()
        ),
        format!(
            "SELECT NULL, '2BP01', format('cannot drop type %s because table %s requires it', {plain}, {plain}), \
             format('You can drop table %s instead.', {plain}), 0 FROM t WHERE relation IS NOT NULL AND NOT ours"
        ),
        format!(
            "SELECT NULL, '2BP01', format('cannot drop type %s because it is required by the database system', oid::pg_catalog.regtype), \
             NULL, 0 FROM t WHERE relation IS NULL AND typtype <> 'd'"
        ),
    ];
    if tidies || !cascade.is_empty() {
        let all = match tidies {
            true => "true",
            false => "false",
        };
        choices.push(format!(
            "SELECT format('DROP DOMAIN {SCHEMA}.%I{cascade}', d.typname), NULL, NULL, NULL, 0 FROM t \
             JOIN pg_catalog.pg_type d ON d.oid = ANY (t.domains) \
             WHERE t.ours AND ({all} AND kept IS NULL OR kept IS NOT NULL AND {})",
            !cascade.is_empty()
        ));
    }
    let missing = match drop.missing_ok {
        true => format!("'00000', format('type \"%s\" does not exist, skipping', {plain})"),
        false => format!("'42704', format('type \"%s\" does not exist', {plain})"),
    };
    let marked = is_marked("c.");
    format!(
        "WITH z AS (SELECT t.oid, t.typarray, t.typtype, c.oid AS relation, ({marked}) IS TRUE AS ours \
         FROM pg_catalog.pg_type t LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid \
         WHERE t.oid = pg_catalog.to_regtype({})), \
         y AS (SELECT z.*, ARRAY(SELECT d.oid FROM pg_catalog.pg_type d \
         WHERE z.ours AND d.typnamespace = pg_catalog.to_regnamespace('{SCHEMA}') AND d.typtype = 'd' \
         AND pg_catalog.to_regtype(d.typname::text) IN (z.oid, z.typarray)) AS domains FROM z), \
         t AS (SELECT y.*, (SELECT min(format('%I of table %s', a.attname, a.attrelid::pg_catalog.regclass)) \
         FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class r ON r.oid = a.attrelid AND r.relkind = 'r' \
         WHERE a.atttypid = ANY (y.domains) AND NOT a.attisdropped) AS kept FROM y) \
         SELECT * FROM ({} UNION ALL SELECT NULL, {missing}, NULL, 0 WHERE NOT EXISTS (SELECT 1 FROM t)) \
         AS s(statement, code, message, hint, place) ORDER BY place",
        literal(&own),
        choices.join(" UNION ALL ")
    )
}

/// What an ALTER TYPE makes of the attributes.
struct Alteration {
    name: RangeVar,
    /// Attributes that are added, as columns of the view.
    added: Vec<String>,
    /// Names of those that go, and whether they may be missing.
    dropped: Vec<(String, bool)>,
    /// Names of those of another type, and the type.
    retyped: Vec<(String, String)>,
}

impl Alteration {
    fn of(name: &RangeVar, alter: &AlterTableStmt) -> Result<Self, ClientError> {
        let mut found = Self {
            name: name.clone(),
            added: Vec::new(),
            dropped: Vec::new(),
            retyped: Vec::new(),
        };
        for node in &alter.cmds {
            let Some(NodeEnum::AlterTableCmd(command)) = &node.node else {
                continue;
            };
            let column = command.def.as_ref().and_then(|node| match &node.node {
                Some(NodeEnum::ColumnDef(column)) => Some(&**column),
                _ => None,
            });
            match (command.subtype(), column) {
                (AlterTableType::AtAddColumn, Some(column)) => found.added.push(printed(column)?),
                (AlterTableType::AtDropColumn, _) => {
                    found
                        .dropped
                        .push((command.name.clone(), command.missing_ok));
                }
                (AlterTableType::AtAlterColumnType, Some(column)) => {
                    let mut column = column.clone();
                    column.colname.clone_from(&command.name);
                    found
                        .retyped
                        .push((command.name.clone(), printed(&column)?));
                }
                _ => return Err(cannot_change(&name.relname)),
            }
        }
        Ok(found)
    }

    fn steps(&self) -> Result<Vec<Step>, ClientError> {
        let name = build::relation(&self.name);
        // What format() takes for itself.
        let escaped = name.replace('%', "%%");
        let create = |word: &str| {
            literal(&format!(
                "{word} VIEW {escaped} WITH ({}) AS SELECT %s WHERE false",
                options()
            ))
        };
        let columns = self.columns();
        if self.dropped.is_empty() && self.retyped.is_empty() {
            let choice = format!(
                "SELECT format({}, {columns}), NULL, NULL, NULL, 0 FROM w WHERE ours UNION ALL {}",
                create("CREATE OR REPLACE"),
                self.refusals()
            );
            return Ok(vec![Step::composed(composition(&self.name, &choice))]);
        }
        let drop = literal(&format!("DROP VIEW {name}"));
        let fine = "ours AND kept IS NULL";
        let choice = format!(
            "SELECT {drop}, NULL, NULL, NULL, 1 FROM w WHERE {fine} \
             UNION ALL SELECT format({}, {columns}), NULL, NULL, NULL, 2 FROM w WHERE {fine} \
             UNION ALL {KEPT} UNION ALL {}",
            create("CREATE"),
            self.refusals()
        );
        // Two changes of the schema, so not in the client's transaction.
        Ok(vec![
            Step::composed("SELECT NULL AS statement WHERE false".to_owned()),
            Step::composed(composition(&self.name, &choice)),
        ])
    }

    /// The columns of the view, as an expression.
    fn columns(&self) -> String {
        let mut cases = String::new();
        for (name, column) in &self.retyped {
            cases.push_str(&format!(" WHEN {} THEN {}", literal(name), literal(column)));
        }
        let kept =
            "format('NULL::%s AS %I', pg_catalog.format_type(a.atttypid, a.atttypmod), a.attname)";
        let column = match cases.is_empty() {
            true => kept.to_owned(),
            false => format!("CASE a.attname{cases} ELSE {kept} END"),
        };
        let gone: Vec<String> = self.dropped.iter().map(|(name, _)| literal(name)).collect();
        let stays = match gone.is_empty() {
            true => String::new(),
            false => format!(" AND a.attname NOT IN ({})", gone.join(", ")),
        };
        let added: Vec<String> = self.added.iter().map(|column| literal(column)).collect();
        let list = format!(
            "ARRAY(SELECT {column} FROM pg_catalog.pg_attribute a WHERE a.attrelid = w.relation \
             AND a.attnum > 0 AND NOT a.attisdropped{stays} ORDER BY a.attnum)"
        );
        match added.is_empty() {
            true => format!("array_to_string({list}, ', ')"),
            false => format!(
                "array_to_string({list} || ARRAY[{}]::text[], ', ')",
                added.join(", ")
            ),
        }
    }

    /// Attributes that are named and are not there.
    fn refusals(&self) -> String {
        let needed = self.dropped.iter().filter(|(_, missing_ok)| !missing_ok);
        let needed = needed.map(|(name, _)| name);
        let named = needed.chain(self.retyped.iter().map(|(name, _)| name));
        let named: Vec<String> = named.map(|name| literal(name)).collect();
        format!(
            "SELECT NULL, '42703', format('column \"%s\" of relation \"%s\" does not exist', n.name, w.name), NULL, -1 \
             FROM w CROSS JOIN unnest(ARRAY[{}]::text[]) AS n(name) WHERE ours AND NOT EXISTS (SELECT 1 \
             FROM pg_catalog.pg_attribute a WHERE a.attrelid = w.relation AND a.attname = n.name \
             AND a.attnum > 0 AND NOT a.attisdropped)",
            named.join(", ")
        ) + " UNION ALL SELECT NULL, '42809', format('\"%s\" is not a composite type', name), NULL, 0 FROM w WHERE kind = 'd'"
    }
}

/// An attribute as a column of the view.
fn printed(column: &ColumnDef) -> Result<String, ClientError> {
    let mut tree = build::parsed("SELECT NULL")?;
    if let NodeEnum::SelectStmt(select) = &mut tree {
        select.target_list = vec![attribute(column)];
    }
    let text = super::text(&tree, false).map_err(|error| super::unprintable(&error))?;
    Ok(text.trim_start_matches("SELECT ").to_owned())
}

fn without_attributes(name: &str) -> ClientError {
    ClientError::error(
        "0A000",
        format!("type \"{name}\" cannot be made without attributes on Aurora DSQL"),
    )
    .hint("Give it at least one.")
}

fn cannot_change(name: &str) -> ClientError {
    ClientError::error(
        "0A000",
        format!("type \"{name}\" cannot be changed so on Aurora DSQL"),
    )
    .hint("Make a new one and drop the old.")
}
