//! CREATE TABLE: what stands around its columns.

use pg_query::NodeEnum;
use pg_query::protobuf::{ConstrType, Constraint, CreateStmt, OnCommitAction};

use super::{Case, Changed, Draft, build, column, name};
use crate::policy::Procedure;

fn create(tree: &NodeEnum) -> Option<&CreateStmt> {
    match tree {
        NodeEnum::CreateStmt(create) => Some(create),
        _ => None,
    }
}

fn table(create: &CreateStmt) -> String {
    create
        .relation
        .as_ref()
        .map_or_else(String::new, |table| table.relname.clone())
}

/// All constraints of a new table, its columns' too, with the column they stand at.
fn constraints(create: &CreateStmt) -> impl Iterator<Item = (Option<&str>, &Constraint)> {
    create.table_elts.iter().flat_map(|element| {
        let found: Vec<(Option<&str>, &Constraint)> = match &element.node {
            Some(NodeEnum::Constraint(constraint)) => vec![(None, &**constraint)],
            Some(NodeEnum::ColumnDef(column)) => column::constraints(&column.constraints)
                .map(|constraint| (Some(column.colname.as_str()), constraint))
                .collect(),
            _ => Vec::new(),
        };
        found
    })
}

fn each_constraint(tree: &mut NodeEnum, each: &mut dyn FnMut(&mut Constraint)) {
    match tree {
        NodeEnum::CreateStmt(create) => {
            for element in &mut create.table_elts {
                match &mut element.node {
                    Some(NodeEnum::Constraint(constraint)) => each(constraint),
                    Some(NodeEnum::ColumnDef(column)) => {
                        column::constraints_mut(&mut column.constraints).for_each(&mut *each);
                    }
                    _ => {}
                }
            }
        }
        NodeEnum::AlterTableStmt(alter) => {
            for command in &mut alter.cmds {
                let Some(NodeEnum::AlterTableCmd(command)) = &mut command.node else {
                    continue;
                };
                match command
                    .def
                    .as_mut()
                    .and_then(|definition| definition.node.as_mut())
                {
                    Some(NodeEnum::Constraint(constraint)) => each(constraint),
                    Some(NodeEnum::ColumnDef(column)) => {
                        column::constraints_mut(&mut column.constraints).for_each(&mut *each);
                    }
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

/// UNLOGGED.
pub(super) fn unlogged(draft: &mut Draft, _: &Case<'_>) -> Changed {
    let relation = match &mut draft.tree {
        NodeEnum::CreateStmt(create) => &mut create.relation,
        NodeEnum::CreateSeqStmt(create) => &mut create.sequence,
        _ => return Ok(Vec::new()),
    };
    Ok(match relation {
        Some(relation) if relation.relpersistence == "u" => {
            relation.relpersistence = "p".to_owned();
            vec![relation.relname.clone()]
        }
        _ => Vec::new(),
    })
}

/// CREATE TEMP TABLE, also in schema `pg_temp`.
pub(super) fn temporary(tree: &NodeEnum, _: &Case<'_>) -> Option<(Procedure, String)> {
    let relation = match tree {
        NodeEnum::CreateStmt(create) => create.relation.as_ref()?,
        NodeEnum::CreateTableAsStmt(create) => create.into.as_ref()?.rel.as_ref()?,
        NodeEnum::SelectStmt(select) => select.into_clause.as_ref()?.rel.as_ref()?,
        NodeEnum::ViewStmt(create) => create.view.as_ref()?,
        _ => return None,
    };
    is_temporary(relation).then(|| (Procedure::TemporaryTable, relation.relname.clone()))
}

fn is_temporary(relation: &pg_query::protobuf::RangeVar) -> bool {
    relation.relpersistence == "t" || relation.schemaname.starts_with("pg_temp")
}

/// Temporary sequences.
pub(super) fn temporary_other(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    let relation = match tree {
        NodeEnum::CreateSeqStmt(create) => create.sequence.as_ref(),
        _ => None,
    };
    relation
        .filter(|relation| is_temporary(relation))
        .map(|relation| relation.relname.clone())
        .into_iter()
        .collect()
}

/// WITH (fillfactor = …) and WITHOUT OIDS.
pub(super) fn storage_options(draft: &mut Draft, _: &Case<'_>) -> Changed {
    let NodeEnum::CreateStmt(create) = &mut draft.tree else {
        return Ok(Vec::new());
    };
    let found = build::options(&create.options)
        .map(|option| option.defname.clone())
        .collect();
    create.options.clear();
    Ok(found)
}

/// TABLESPACE.
pub(super) fn tablespace(draft: &mut Draft, _: &Case<'_>) -> Changed {
    Ok(match &mut draft.tree {
        NodeEnum::CreateStmt(create) if !create.tablespacename.is_empty() => {
            vec![std::mem::take(&mut create.tablespacename)]
        }
        _ => Vec::new(),
    })
}

/// USING heap.
pub(super) fn access_method(draft: &mut Draft, _: &Case<'_>) -> Changed {
    Ok(match &mut draft.tree {
        NodeEnum::CreateStmt(create) if !create.access_method.is_empty() => {
            vec![std::mem::take(&mut create.access_method)]
        }
        _ => Vec::new(),
    })
}

/// WITH and USING INDEX TABLESPACE of a key.
pub(super) fn constraint_storage(draft: &mut Draft, _: &Case<'_>) -> Changed {
    let mut found = Vec::new();
    each_constraint(&mut draft.tree, &mut |constraint| {
        let key = matches!(
            constraint.contype(),
            ConstrType::ConstrPrimary | ConstrType::ConstrUnique
        );
        if key && !(constraint.options.is_empty() && constraint.indexspace.is_empty()) {
            constraint.options.clear();
            constraint.indexspace.clear();
            found.push(constraint.conname.clone());
        }
    });
    Ok(found)
}

/// DEFERRABLE of a key: DSQL defers foreign keys only.
pub(super) fn deferrable_key(draft: &mut Draft, _: &Case<'_>) -> Changed {
    let mut found = Vec::new();
    each_constraint(&mut draft.tree, &mut |constraint| {
        let key = matches!(
            constraint.contype(),
            ConstrType::ConstrPrimary | ConstrType::ConstrUnique
        );
        if key && (constraint.deferrable || constraint.initdeferred) {
            constraint.deferrable = false;
            constraint.initdeferred = false;
            found.push(constraint.conname.clone());
        }
    });
    // At a column the words stand beside the constraint they belong to.
    column::each(&mut draft.tree, &mut |column| {
        let mut key = false;
        let name = column.colname.clone();
        column.constraints.retain(|node| {
            let Some(NodeEnum::Constraint(constraint)) = &node.node else {
                return true;
            };
            match constraint.contype() {
                ConstrType::ConstrPrimary | ConstrType::ConstrUnique => key = true,
                ConstrType::ConstrAttrDeferrable
                | ConstrType::ConstrAttrNotDeferrable
                | ConstrType::ConstrAttrDeferred
                | ConstrType::ConstrAttrImmediate => {
                    if key {
                        found.push(name.clone());
                        return false;
                    }
                }
                _ => key = false,
            }
            true
        });
    });
    Ok(found)
}

/// PARTITION BY and PARTITION OF.
pub(super) fn partition(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    create(tree)
        .filter(|create| create.partspec.is_some() || create.partbound.is_some())
        .map(table)
        .into_iter()
        .collect()
}

/// INHERITS.
pub(super) fn inherits(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    create(tree)
        .filter(|create| !create.inh_relations.is_empty() && create.partbound.is_none())
        .map(table)
        .into_iter()
        .collect()
}

/// CREATE TABLE … OF type, and ON COMMIT of a lasting table.
pub(super) fn typed(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    create(tree)
        .filter(|create| {
            create.of_typename.is_some()
                || !matches!(
                    create.oncommit(),
                    OnCommitAction::OncommitNoop | OnCommitAction::Undefined
                )
        })
        .map(table)
        .into_iter()
        .collect()
}

/// EXCLUDE constraints.
pub(super) fn exclusion(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    create(tree)
        .into_iter()
        .flat_map(constraints)
        .filter(|(_, constraint)| constraint.contype() == ConstrType::ConstrExclusion)
        .map(|(_, constraint)| constraint.conname.clone())
        .collect()
}

/// FOREIGN KEY, before DSQL had them: the constraint is left out.
pub(super) fn foreign_key(draft: &mut Draft, _: &Case<'_>) -> Changed {
    let NodeEnum::CreateStmt(create) = &mut draft.tree else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    let foreign = |node: &pg_query::Node| {
        matches!(&node.node, Some(NodeEnum::Constraint(constraint))
            if constraint.contype() == ConstrType::ConstrForeign)
    };
    for element in &mut create.table_elts {
        if let Some(NodeEnum::ColumnDef(column)) = &mut element.node {
            let before = column.constraints.len();
            let mut behind = false;
            column.constraints.retain(|node| {
                if foreign(node) {
                    behind = true;
                    return false;
                }
                !(behind && is_attribute(node))
            });
            if column.constraints.len() < before {
                found.push(column.colname.clone());
            }
        }
    }
    create.table_elts.retain(|element| {
        let foreign = foreign(element);
        if let (true, Some(NodeEnum::Constraint(constraint))) = (foreign, &element.node) {
            found.push(build::strings(&constraint.fk_attrs).join(", "));
        }
        !foreign
    });
    Ok(found)
}

fn is_attribute(node: &pg_query::Node) -> bool {
    matches!(&node.node, Some(NodeEnum::Constraint(constraint)) if matches!(
        constraint.contype(),
        ConstrType::ConstrAttrDeferrable
            | ConstrType::ConstrAttrNotDeferrable
            | ConstrType::ConstrAttrDeferred
            | ConstrType::ConstrAttrImmediate
    ))
}

/// Keys over columns of the types that the rule names.
pub(super) fn unkeyable(tree: &NodeEnum, case: &Case<'_>) -> Vec<String> {
    let Some(create) = create(tree) else {
        return Vec::new();
    };
    let type_of = |wanted: &str| {
        column::all(tree)
            .into_iter()
            .find(|column| column.colname == wanted)
            .and_then(|column| column.type_name.as_ref())
            .filter(|kind| {
                let types = &case.rule.matches.name;
                types.iter().any(|wanted| wanted == name::catalog(kind)) && name::is_builtin(kind)
            })
            .map(name::display)
    };
    keys(create)
        .into_iter()
        .flat_map(|key| key.into_iter())
        .filter_map(|column| type_of(&column))
        .collect()
}

fn keys(create: &CreateStmt) -> Vec<Vec<String>> {
    constraints(create)
        .filter(|(_, constraint)| {
            matches!(
                constraint.contype(),
                ConstrType::ConstrPrimary | ConstrType::ConstrUnique
            )
        })
        .map(|(column, constraint)| match column {
            Some(column) => vec![column.to_owned()],
            None => build::strings(&constraint.keys)
                .into_iter()
                .map(str::to_owned)
                .collect(),
        })
        .collect()
}

/// Columns of a key at most (DSQL guide, quotas).
pub(super) const KEY_COLUMNS: usize = 8;

/// Keys with more columns than DSQL takes.
pub(super) fn too_many_key_columns(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    match tree {
        NodeEnum::CreateStmt(create) => keys(create)
            .into_iter()
            .filter(|key| key.len() > KEY_COLUMNS)
            .map(|key| key.len().to_string())
            .collect(),
        NodeEnum::IndexStmt(index) if index.index_params.len() > KEY_COLUMNS => {
            vec![index.index_params.len().to_string()]
        }
        _ => Vec::new(),
    }
}

/// NOT ENFORCED, WITHOUT OVERLAPS, PERIOD, named NOT NULL at the table: newer than DSQL's
/// PostgreSQL 16.
pub(super) fn newer(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let mut copy = tree.clone();
    let table_level = create(tree).is_some_and(|create| {
        constraints(create).any(|(column, constraint)| {
            column.is_none() && constraint.contype() == ConstrType::ConstrNotnull
        })
    });
    if table_level {
        found.push("NOT NULL as a table constraint".to_owned());
    }
    each_constraint(&mut copy, &mut |constraint| {
        let not_enforced = constraint.contype() == ConstrType::ConstrAttrNotEnforced
            || matches!(
                constraint.contype(),
                ConstrType::ConstrCheck | ConstrType::ConstrForeign
            ) && !constraint.is_enforced;
        if not_enforced {
            found.push("NOT ENFORCED".to_owned());
        }
        if constraint.without_overlaps {
            found.push("WITHOUT OVERLAPS".to_owned());
        }
        if constraint.fk_with_period || constraint.pk_with_period {
            found.push("PERIOD".to_owned());
        }
    });
    found
}
