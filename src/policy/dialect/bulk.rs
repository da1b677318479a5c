//! Statements over many rows: TRUNCATE, CREATE TABLE AS, COPY, maintenance.

use pg_query::NodeEnum;
use pg_query::protobuf::{DropBehavior, IntoClause, ObjectType, SelectStmt};

use super::{Case, Changed, Draft, build};
use crate::policy::{Procedure, TableName};
use crate::sql::tree::print;

/// TRUNCATE.
pub(super) fn truncate(tree: &NodeEnum, _: &Case<'_>) -> Option<(Procedure, String)> {
    let NodeEnum::TruncateStmt(truncate) = tree else {
        return None;
    };
    let mut names = Vec::new();
    let mut tables = Vec::new();
    for node in &truncate.relations {
        if let Some(NodeEnum::RangeVar(table)) = &node.node {
            names.push(table.relname.clone());
            tables.push(TableName(build::relation(table)));
        }
    }
    let procedure = Procedure::Truncate {
        tables,
        restart_identity: truncate.restart_seqs,
        cascade: truncate.behavior() == DropBehavior::DropCascade,
    };
    Some((procedure, names.join(", ")))
}

fn made(into: &IntoClause, query: &NodeEnum, if_not_exists: bool) -> Option<(Procedure, String)> {
    let table = into.rel.as_ref()?;
    let procedure = Procedure::CreateTableAs {
        table: TableName(build::relation(table)),
        columns: build::strings(&into.col_names)
            .into_iter()
            .map(str::to_owned)
            .collect(),
        if_not_exists,
        query: print(query).ok()?,
        with_data: !into.skip_data,
    };
    Some((procedure, table.relname.clone()))
}

/// CREATE TABLE AS and SELECT INTO.
pub(super) fn create_table_as(tree: &NodeEnum, _: &Case<'_>) -> Option<(Procedure, String)> {
    match tree {
        NodeEnum::CreateTableAsStmt(create) if create.objtype() == ObjectType::ObjectTable => made(
            create.into.as_ref()?,
            create.query.as_ref()?.node.as_ref()?,
            create.if_not_exists,
        ),
        NodeEnum::SelectStmt(select) => {
            let into = select.into_clause.as_ref()?;
            let query = SelectStmt {
                into_clause: None,
                ..(**select).clone()
            };
            made(into, &NodeEnum::SelectStmt(Box::new(query)), false)
        }
        _ => None,
    }
}

/// CREATE MATERIALIZED VIEW.
pub(super) fn materialized_view(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    match tree {
        NodeEnum::CreateTableAsStmt(create) if create.objtype() == ObjectType::ObjectMatview => {
            vec![String::new()]
        }
        _ => Vec::new(),
    }
}

/// COPY with a file or a program of the server.
pub(super) fn copy_file(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    match tree {
        NodeEnum::CopyStmt(copy) if copy.is_program => vec!["PROGRAM".to_owned()],
        NodeEnum::CopyStmt(copy) if !copy.filename.is_empty() => vec!["file".to_owned()],
        _ => Vec::new(),
    }
}

/// COPY … (FORMAT binary).
pub(super) fn copy_binary(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    match tree {
        NodeEnum::CopyStmt(copy) => build::options(&copy.options)
            .filter(|option| option.defname == "format")
            .filter_map(build::word)
            .filter(|format| format.eq_ignore_ascii_case("binary"))
            .collect(),
        _ => Vec::new(),
    }
}

/// COPY … (FREEZE). Options that no server takes go on as they are, for it to say so.
pub(super) fn copy_freeze(draft: &mut Draft, _: &Case<'_>) -> Changed {
    let mut changed = draft.tree.clone();
    let NodeEnum::CopyStmt(copy) = &mut changed else {
        return Ok(Vec::new());
    };
    let before = copy.options.len();
    copy.options.retain(
        |node| !matches!(&node.node, Some(NodeEnum::DefElem(option)) if option.defname == "freeze"),
    );
    if copy.options.len() == before || print(&changed).is_err() {
        return Ok(Vec::new());
    }
    draft.tree = changed;
    Ok(vec![String::new()])
}

/// UPDATE, DELETE and INSERT … SELECT over one table, outside a transaction.
pub(super) fn large(tree: &NodeEnum, case: &Case<'_>) -> Option<(Procedure, String)> {
    if case.facts.transaction.open {
        return None;
    }
    let (table, plain) = match tree {
        NodeEnum::UpdateStmt(update) => (
            update.relation.as_ref(),
            update.from_clause.is_empty()
                && update.with_clause.is_none()
                && update.returning_clause.is_none(),
        ),
        NodeEnum::DeleteStmt(delete) => (
            delete.relation.as_ref(),
            delete.using_clause.is_empty()
                && delete.with_clause.is_none()
                && delete.returning_clause.is_none(),
        ),
        NodeEnum::InsertStmt(insert) => (
            insert.relation.as_ref(),
            insert.with_clause.is_none()
                && insert.returning_clause.is_none()
                && matches!(
                    insert.select_stmt.as_ref().and_then(|query| query.node.as_ref()),
                    Some(NodeEnum::SelectStmt(select)) if select.values_lists.is_empty()
                ),
        ),
        _ => return None,
    };
    let name = table.map_or_else(String::new, |table| table.relname.clone());
    plain.then_some((Procedure::Batch, name))
}

/// ANALYZE without tables, and VACUUM of any kind.
pub(super) fn analyze_all(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    match tree {
        NodeEnum::VacuumStmt(vacuum) if vacuum.is_vacuumcmd => vec!["VACUUM".to_owned()],
        NodeEnum::VacuumStmt(vacuum) if vacuum.rels.is_empty() => vec!["ANALYZE".to_owned()],
        _ => Vec::new(),
    }
}

/// ANALYZE inside a transaction.
pub(super) fn analyze_in_transaction(tree: &NodeEnum, case: &Case<'_>) -> Vec<String> {
    (matches!(tree, NodeEnum::VacuumStmt(_)) && case.facts.transaction.open)
        .then(|| "ANALYZE".to_owned())
        .into_iter()
        .collect()
}

/// Options of ANALYZE.
pub(super) fn analyze_options(draft: &mut Draft, _: &Case<'_>) -> Changed {
    Ok(match &mut draft.tree {
        NodeEnum::VacuumStmt(vacuum) if !vacuum.is_vacuumcmd && !vacuum.options.is_empty() => {
            vacuum.options.clear();
            vec![String::new()]
        }
        _ => Vec::new(),
    })
}
