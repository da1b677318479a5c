//! Changes of a table that DSQL takes only when it is made: the type of a column, the primary key.

use pg_query::protobuf::{
    AlterTableCmd, AlterTableStmt, AlterTableType, ColumnDef, ConstrType, CreateStmt, DropBehavior,
    ObjectType, RangeVar, TypeName,
};
use pg_query::{NodeEnum, protobuf};

use super::{Case, Changed, Draft, alter, build, name, unprintable};
use crate::policy::{DdlInTransaction, Rebuild, Reshape, Step, StepKind, TableName, TableRebuild};
use crate::sql::tree::{self, PrintError};
use crate::wire::reply::ClientError;

/// Rows of a small table: as many as a transaction of DSQL changes.
const SMALL: u32 = 3_000;

/// Types whose names the grammar leaves without a schema.
const BUILTIN: [&str; 8] = [
    "text", "uuid", "json", "jsonb", "date", "bytea", "oid", "name",
];

/// ALTER COLUMN TYPE.
pub(super) fn alter_type(draft: &mut Draft, case: &Case<'_>) -> Changed {
    let Some((alter, command)) = alter::command(&draft.tree) else {
        return Ok(Vec::new());
    };
    let (AlterTableType::AtAlterColumnType, ObjectType::ObjectTable) =
        (command.subtype(), alter.objtype())
    else {
        return Ok(Vec::new());
    };
    let Some(change) = type_of(command)? else {
        return Ok(Vec::new());
    };
    let found = vec![command.name.clone()];
    make_anew(draft, case, change)?;
    Ok(found)
}

/// ADD PRIMARY KEY over columns.
pub(super) fn add_primary_key(draft: &mut Draft, case: &Case<'_>) -> Changed {
    let Some((table, constraint)) = alter::added(&draft.tree, ConstrType::ConstrPrimary) else {
        return Ok(Vec::new());
    };
    if !constraint.indexname.is_empty() {
        return Err(ClientError::error(
            "0A000",
            "a primary key cannot be made of an index on Aurora DSQL",
        )
        .hint("Write ADD PRIMARY KEY with its columns."));
    }
    let name = match constraint.conname.as_str() {
        "" => name::chosen(&table.relname, None, "pkey"),
        given => given.to_owned(),
    };
    let columns = build::strings(&constraint.keys);
    let columns = columns.into_iter().map(str::to_owned).collect();
    let found = vec![table.relname.clone()];
    make_anew(draft, case, Reshape::AddPrimaryKey { name, columns })?;
    Ok(found)
}

/// DROP CONSTRAINT of a name as primary keys have: whether it is one, only the catalog tells.
pub(super) fn drop_primary_key(draft: &mut Draft, case: &Case<'_>) -> Changed {
    let Some((alter, command)) = alter::command(&draft.tree) else {
        return Ok(Vec::new());
    };
    if command.subtype() != AlterTableType::AtDropConstraint
        || alter.objtype() != ObjectType::ObjectTable
        || !is_primary(&command.name)
    {
        return Ok(Vec::new());
    }
    let change = Reshape::DropConstraint {
        name: command.name.clone(),
        if_exists: command.missing_ok,
        cascade: command.behavior() == DropBehavior::DropCascade,
    };
    let found = vec![command.name.clone()];
    make_anew(draft, case, change)?;
    Ok(found)
}

/// ALTER COLUMN ADD GENERATED AS IDENTITY: whether the column is a bigint, only the catalog tells.
pub(super) fn add_identity_type(draft: &mut Draft, case: &Case<'_>) -> Changed {
    let Some((alter, command)) = alter::command(&draft.tree) else {
        return Ok(Vec::new());
    };
    let definition = command.def.as_ref().and_then(|node| node.node.as_ref());
    let (AlterTableType::AtAddIdentity, ObjectType::ObjectTable, true, Some(identity)) = (
        command.subtype(),
        alter.objtype(),
        stands_alone(case),
        definition,
    ) else {
        return Ok(Vec::new());
    };
    let column = ColumnDef {
        colname: command.name.clone(),
        type_name: Some(build::catalog_type("int8")),
        is_local: true,
        constraints: vec![build::node(identity.clone())],
        ..ColumnDef::default()
    };
    // What cannot be printed goes on as it is.
    let Ok(definition) = definition_of(&column) else {
        return Ok(Vec::new());
    };
    let found = vec![command.name.clone()];
    let change = Reshape::AddIdentity {
        column: command.name.clone(),
        definition,
    };
    if make_anew(draft, case, change).is_err() {
        return Ok(Vec::new());
    }
    try_first(draft);
    Ok(found)
}

/// The statement is most likely one that the server takes as it is.
fn try_first(draft: &mut Draft) {
    for step in draft.instead.iter_mut().flatten() {
        step.kind = StepKind::Statement;
    }
}

/// DROP COLUMN of a name as columns of primary keys have: whether it is one, only the catalog tells.
pub(super) fn drop_key_column(draft: &mut Draft, case: &Case<'_>) -> Changed {
    let Some((alter, command)) = alter::command(&draft.tree) else {
        return Ok(Vec::new());
    };
    if command.subtype() != AlterTableType::AtDropColumn
        || alter.objtype() != ObjectType::ObjectTable
        || !stands_alone(case)
        || !is_key(&command.name)
    {
        return Ok(Vec::new());
    }
    let change = Reshape::DropColumn {
        name: command.name.clone(),
        if_exists: command.missing_ok,
        cascade: command.behavior() == DropBehavior::DropCascade,
    };
    let found = vec![command.name.clone()];
    make_anew(draft, case, change)?;
    try_first(draft);
    Ok(found)
}

/// The table may be made anew, outside the client's transaction; else the server says what it thinks.
fn stands_alone(case: &Case<'_>) -> bool {
    let facts = case.facts;
    let within =
        facts.transaction.open && facts.switches.ddl_in_transaction != DdlInTransaction::Split;
    !within && facts.switches.table_rebuild != TableRebuild::Reject
}

/// Names that columns of primary keys have by custom.
fn is_key(name: &str) -> bool {
    matches!(
        name.to_ascii_lowercase().as_str(),
        "id" | "pk" | "uuid" | "guid"
    )
}

/// ADD COLUMN GENERATED ALWAYS AS … STORED, … AS IDENTITY or PRIMARY KEY, with a default and NOT NULL
/// at most.
pub(super) fn add_computed_column(draft: &mut Draft, case: &Case<'_>) -> Changed {
    let Some((table, if_not_exists, column)) = alter::added_column(&draft.tree) else {
        return Ok(Vec::new());
    };
    if !is_computed(column) {
        return Ok(Vec::new());
    }
    let name = column.colname.clone();
    let mut column = column.clone();
    let constraints = column.constraints.len();
    column
        .constraints
        .retain(|constraint| !is_primary_key(constraint));
    let key = (column.constraints.len() < constraints).then(|| name.clone());
    let definition = definition_of(&column).map_err(|error| unprintable(&error))?;
    let found = vec![name.clone()];
    let change = Reshape::AddColumn {
        name,
        definition,
        if_not_exists,
    };
    make_anew(draft, case, change)?;
    if let Some(column) = key {
        let change = Reshape::AddPrimaryKey {
            name: name::chosen(&table.relname, None, "pkey"),
            columns: vec![column],
        };
        let steps = draft.instead.iter_mut().flatten();
        for rebuild in steps.filter_map(|step| step.rebuild.as_mut()) {
            rebuild.changes.push(change.clone());
        }
    }
    // The rules behind this one are not about it any more.
    if let NodeEnum::AlterTableStmt(alter) = &mut draft.tree {
        alter.cmds.clear();
    }
    Ok(found)
}

fn is_primary_key(constraint: &pg_query::Node) -> bool {
    matches!(&constraint.node, Some(NodeEnum::Constraint(constraint))
        if constraint.contype() == ConstrType::ConstrPrimary)
}

/// A column that is generated, numbered or a key, with a default and NOT NULL at most.
fn is_computed(column: &ColumnDef) -> bool {
    let kinds: Vec<ConstrType> = super::column::constraints(&column.constraints)
        .map(|constraint| constraint.contype())
        .collect();
    let plain = kinds.iter().all(|kind| {
        matches!(
            kind,
            ConstrType::ConstrGenerated
                | ConstrType::ConstrIdentity
                | ConstrType::ConstrPrimary
                | ConstrType::ConstrDefault
                | ConstrType::ConstrNotnull
                | ConstrType::ConstrNull
        )
    });
    let anew = [
        ConstrType::ConstrGenerated,
        ConstrType::ConstrIdentity,
        ConstrType::ConstrPrimary,
    ];
    plain && kinds.iter().any(|kind| anew.contains(kind))
}

/// A column as it stands in CREATE TABLE.
fn definition_of(column: &ColumnDef) -> Result<String, PrintError> {
    let create = NodeEnum::CreateStmt(CreateStmt {
        relation: Some(RangeVar {
            relname: "t".to_owned(),
            inh: true,
            relpersistence: "p".to_owned(),
            ..RangeVar::default()
        }),
        table_elts: vec![build::node(NodeEnum::ColumnDef(Box::new(column.clone())))],
        oncommit: protobuf::OnCommitAction::OncommitNoop as i32,
        ..CreateStmt::default()
    });
    let text = super::text(&create, false)?;
    text.strip_prefix("CREATE TABLE t (")
        .and_then(|text| text.strip_suffix(')'))
        .map(str::to_owned)
        .ok_or(PrintError::Different)
}

/// `t_pkey` as PostgreSQL chooses it; `PK_…` and `t_pk` as tools do.
fn is_primary(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.ends_with("_pkey") || name.ends_with("_pk") || name.starts_with("pk_")
}

fn make_anew(draft: &mut Draft, case: &Case<'_>, change: Reshape) -> Result<(), ClientError> {
    let NodeEnum::AlterTableStmt(alter) = &draft.tree else {
        return Ok(());
    };
    let table = alter.relation.clone().unwrap_or_default();
    let rebuild = Rebuild {
        table: TableName(build::relation(&table)),
        schema: Some(table.schemaname.clone()).filter(|schema| !schema.is_empty()),
        name: table.relname.clone(),
        if_exists: alter.missing_ok,
        changes: vec![change],
        most: match case.facts.switches.table_rebuild {
            TableRebuild::Rebuild => None,
            _ => Some(SMALL),
        },
    };
    let sql = super::text(&draft.tree, false).map_err(|error| unprintable(&error))?;
    draft.instead = Some(vec![Step::rebuild(sql, rebuild)]);
    draft.tag = Some("ALTER TABLE".to_owned());
    Ok(())
}

fn type_of(command: &AlterTableCmd) -> Result<Option<Reshape>, ClientError> {
    let definition = command.def.as_ref().and_then(|node| node.node.as_ref());
    let Some(NodeEnum::ColumnDef(definition)) = definition else {
        return Ok(None);
    };
    let Some(to) = &definition.type_name else {
        return Ok(None);
    };
    let simple = |node: &pg_query::Node| {
        matches!(
            node.node,
            Some(NodeEnum::AConst(_) | NodeEnum::ParamRef(_) | NodeEnum::ColumnRef(_))
        )
    };
    if !to.typmods.iter().all(simple) {
        // PostgreSQL's words; the printer has none for others.
        return Err(ClientError::error(
            "42601",
            "type modifiers must be simple constants or identifiers",
        ));
    }
    let (printed, using) = printed(definition)?;
    Ok(Some(Reshape::Type {
        column: command.name.clone(),
        to: printed,
        builtin: is_builtin(to),
        plain: definition
            .raw_default
            .as_ref()
            .is_none_or(|using| is_plain(using.node.as_ref(), &command.name, to)),
        using,
    }))
}

fn is_builtin(to: &TypeName) -> bool {
    match build::strings(&to.names).as_slice() {
        ["pg_catalog", _] => true,
        [name] => BUILTIN.contains(name),
        _ => false,
    }
}

/// The column itself, or the column cast to the type.
fn is_plain(using: Option<&NodeEnum>, column: &str, to: &TypeName) -> bool {
    match using {
        Some(NodeEnum::ColumnRef(reference)) => {
            build::strings(&reference.fields).last() == Some(&column)
        }
        Some(NodeEnum::TypeCast(cast)) => {
            let same = cast
                .type_name
                .as_ref()
                .is_some_and(|cast| cast.names == to.names && cast.array_bounds == to.array_bounds);
            let inner = cast.arg.as_ref().and_then(|arg| arg.node.as_ref());
            same && is_plain(inner, column, to)
        }
        _ => false,
    }
}

/// Type and USING as text.
fn printed(definition: &ColumnDef) -> Result<(String, Option<String>), ClientError> {
    let text = |using: bool| -> Result<String, ClientError> {
        let mut plain = ColumnDef {
            type_name: definition.type_name.clone(),
            ..ColumnDef::default()
        };
        if using {
            plain.raw_default.clone_from(&definition.raw_default);
        }
        let command = AlterTableCmd {
            subtype: AlterTableType::AtAlterColumnType as i32,
            name: "c".to_owned(),
            def: Some(Box::new(build::node(NodeEnum::ColumnDef(Box::new(plain))))),
            behavior: DropBehavior::DropRestrict as i32,
            ..AlterTableCmd::default()
        };
        let whole = NodeEnum::AlterTableStmt(AlterTableStmt {
            relation: Some(RangeVar {
                relname: "t".to_owned(),
                inh: true,
                relpersistence: "p".to_owned(),
                ..RangeVar::default()
            }),
            cmds: vec![build::node(NodeEnum::AlterTableCmd(Box::new(command)))],
            objtype: ObjectType::ObjectTable as i32,
            missing_ok: false,
        });
        let printed = tree::print(&whole).map_err(|error| unprintable(&error))?;
        let rest = printed.strip_prefix("ALTER TABLE t ALTER COLUMN c TYPE ");
        rest.map(str::to_owned)
            .ok_or_else(|| unprintable(&PrintError::Different))
    };
    let to = text(false)?;
    if definition.raw_default.is_none() {
        return Ok((to, None));
    }
    let using = text(true)?;
    let using = using
        .strip_prefix(&to)
        .and_then(|rest| rest.strip_prefix(" USING "));
    match using {
        Some(using) => Ok((to, Some(using.to_owned()))),
        None => Err(unprintable(&PrintError::Different)),
    }
}

/// The text of CREATE INDEX for an index of another name on another table, from what
/// `pg_get_indexdef` says of one that exists; `None` when that cannot be read.
#[must_use]
pub fn index_like(definition: &str, index: &str, schema: &str, table: &str) -> Option<String> {
    let read = crate::sql::Statement::read(definition).ok()?;
    let [statement] = read.as_slice() else {
        return None;
    };
    let Some(NodeEnum::IndexStmt(found)) = statement.node() else {
        return None;
    };
    let mut like = found.clone();
    index.clone_into(&mut like.idxname);
    if let Some(relation) = &mut like.relation {
        schema.clone_into(&mut relation.schemaname);
        table.clone_into(&mut relation.relname);
    }
    like.access_method = "btree".to_owned();
    super::text(&NodeEnum::IndexStmt(like), true).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_made_like_others() {
        let cases = [
            (
                "CREATE UNIQUE INDEX i ON public.t USING btree_index (a, lower(b)) INCLUDE (c) WHERE (a > 0)",
                "CREATE UNIQUE INDEX ASYNC j ON s.u (a, lower(b)) INCLUDE (c) WHERE a > 0",
            ),
            (
                "CREATE INDEX i ON public.t USING btree_index (a NULLS FIRST)",
                "CREATE INDEX ASYNC j ON s.u (a NULLS FIRST)",
            ),
        ];
        for (definition, expected) in cases {
            assert_eq!(
                index_like(definition, "j", "s", "u").as_deref(),
                Some(expected)
            );
        }
        assert_eq!(index_like("DROP INDEX i", "j", "s", "u"), None);
    }
}
