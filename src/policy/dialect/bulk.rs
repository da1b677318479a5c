//! Statements over many rows: TRUNCATE, CREATE TABLE AS, COPY, maintenance.

use pg_query::protobuf::{
    CopyStmt, DropBehavior, InsertStmt, IntoClause, ObjectType, RangeVar, ResTarget, SelectStmt,
    SetOperation, UpdateStmt,
};
use pg_query::{Node, NodeEnum};

use super::{Case, Changed, Draft, build};
use crate::policy::{
    Batch, BatchKind, CopyBinary, CopyForm, CopyIn, CopyLines, DdlInTransaction, LargeDml,
    Procedure, SessionFacts, TableName,
};
use crate::sql::tree::{self, Ref, print};

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

fn made(
    into: &IntoClause,
    query: &NodeEnum,
    if_not_exists: bool,
    case: &Case<'_>,
) -> Option<(Procedure, String)> {
    let table = into.rel.as_ref()?;
    let name = build::relation(table);
    let query = print(query).ok()?;
    let batch = (case.facts.switches.large_dml == LargeDml::Batch)
        .then(|| batch_of(&format!("INSERT INTO {name} {query}")))
        .flatten();
    let procedure = Procedure::CreateTableAs {
        batch,
        table: TableName(name),
        columns: build::strings(&into.col_names)
            .into_iter()
            .map(str::to_owned)
            .collect(),
        if_not_exists,
        query,
        with_data: !into.skip_data,
    };
    Some((procedure, table.relname.clone()))
}

/// CREATE TABLE AS and SELECT INTO.
pub(super) fn create_table_as(tree: &NodeEnum, case: &Case<'_>) -> Option<(Procedure, String)> {
    match tree {
        NodeEnum::CreateTableAsStmt(create) if create.objtype() == ObjectType::ObjectTable => made(
            create.into.as_ref()?,
            create.query.as_ref()?.node.as_ref()?,
            create.if_not_exists,
            case,
        ),
        NodeEnum::SelectStmt(select) => {
            let into = select.into_clause.as_ref()?;
            let query = SelectStmt {
                into_clause: None,
                ..(**select).clone()
            };
            made(into, &NodeEnum::SelectStmt(Box::new(query)), false, case)
        }
        _ => None,
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

fn is_binary(copy: &CopyStmt) -> bool {
    build::options(&copy.options)
        .filter(|option| option.defname == "format")
        .filter_map(build::word)
        .any(|format| format.eq_ignore_ascii_case("binary"))
}

/// COPY … (FORMAT binary) that cannot be done: TO, and FROM with other options.
pub(super) fn copy_binary(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    let NodeEnum::CopyStmt(copy) = tree else {
        return Vec::new();
    };
    if !is_binary(copy) {
        return Vec::new();
    }
    let others = build::options(&copy.options);
    let mut others = others.filter(|option| !matches!(&*option.defname, "format" | "freeze"));
    match others.next() {
        Some(option) => vec![format!("binary with {}", option.defname.to_uppercase())],
        None if copy.is_from => Vec::new(),
        None => vec!["binary to the client".to_owned()],
    }
}

/// COPY FROM STDIN (FORMAT binary).
pub(super) fn binary_copy(tree: &NodeEnum, case: &Case<'_>) -> Option<(Procedure, String)> {
    let NodeEnum::CopyStmt(copy) = tree else {
        return None;
    };
    if !copy.is_from || !is_binary(copy) {
        return None;
    }
    let table = copy.relation.as_ref()?;
    let condition = match &copy.where_clause {
        None => None,
        condition => Some(printed_condition(condition.clone())?),
    };
    let procedure = Procedure::Copy(CopyIn {
        table: TableName(build::relation(table)),
        form: CopyForm::Binary(CopyBinary {
            columns: build::strings(&copy.attlist)
                .into_iter()
                .map(str::to_owned)
                .collect(),
            name: table.relname.clone(),
            condition,
            batches: case.facts.switches.large_dml == LargeDml::Batch && may_split(case.facts),
        }),
    });
    Some((procedure, table.relname.clone()))
}

/// The client is in no transaction, or its transaction may be committed around the statement.
fn may_split(facts: &SessionFacts) -> bool {
    !facts.transaction.open || facts.switches.ddl_in_transaction == DdlInTransaction::Split
}

fn printed_condition(condition: Option<Box<Node>>) -> Option<String> {
    let table = RangeVar {
        relname: "x".to_owned(),
        inh: true,
        relpersistence: "p".to_owned(),
        ..RangeVar::default()
    };
    let text = rows(table, condition)?;
    text.strip_prefix("FROM x WHERE ").map(str::to_owned)
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

/// COPY FROM STDIN of rows as text. In a transaction only where that may be committed around it.
pub(super) fn large_copy(tree: &NodeEnum, case: &Case<'_>) -> Option<(Procedure, String)> {
    let NodeEnum::CopyStmt(copy) = tree else {
        return None;
    };
    let lines = copy.is_from && copy.filename.is_empty() && !copy.is_program;
    if !lines || !may_split(case.facts) {
        return None;
    }
    let option = |name: &str| {
        let mut all = build::options(&copy.options);
        all.find(|option| option.defname == name)
    };
    let byte = |name: &str, default: u8| match option(name) {
        None => Some(default),
        Some(option) => match build::word(option)?.as_bytes() {
            [byte] => Some(*byte),
            _ => None,
        },
    };
    let csv = match option("format").and_then(build::word).as_deref() {
        None | Some("text") => None,
        Some("csv") => {
            let quote = byte("quote", b'"')?;
            Some((quote, byte("escape", quote)?))
        }
        Some(_) => return None,
    };
    let header = option("header").is_some_and(|option| {
        let value = build::word(option).unwrap_or_default().to_ascii_lowercase();
        !matches!(value.as_str(), "false" | "off" | "0")
    });
    let mut next = copy.clone();
    next.options.retain(
        |node| !matches!(&node.node, Some(NodeEnum::DefElem(option)) if option.defname == "header"),
    );
    let table = copy.relation.as_ref()?;
    let procedure = Procedure::Copy(CopyIn {
        table: TableName(build::relation(table)),
        form: CopyForm::Lines(CopyLines {
            first: print(tree).ok()?,
            next: print(&NodeEnum::CopyStmt(next)).ok()?,
            csv,
            header,
        }),
    });
    Some((procedure, table.relname.clone()))
}

/// UPDATE, DELETE and INSERT … SELECT over one table, outside a transaction. Those with other tables
/// in them, or whose rows the client wants to see, go on as they are.
pub(super) fn large(tree: &NodeEnum, case: &Case<'_>) -> Option<(Procedure, String)> {
    if case.facts.transaction.open {
        return None;
    }
    batch(tree).map(|(batch, name)| (Procedure::Batch(batch), name))
}

/// The batches of a text.
fn batch_of(sql: &str) -> Option<Batch> {
    match crate::sql::Statement::read(sql).ok()?.pop()?.tree {
        crate::sql::Tree::Node(node) => batch(&node).map(|(batch, _)| batch),
        crate::sql::Tree::Iam { .. } => None,
    }
}

/// A statement in batches, and the name of the table that it changes.
fn batch(tree: &NodeEnum) -> Option<(Batch, String)> {
    let mut bare = tree.clone();
    let (name, table, condition, kind) = match &mut bare {
        NodeEnum::UpdateStmt(update)
            if update.from_clause.is_empty()
                && update.with_clause.is_none()
                && update.returning_clause.is_none() =>
        {
            let condition = update.where_clause.take();
            let table = update.relation.clone()?;
            let kind = BatchKind::Update(set_columns(update));
            (table.relname.clone(), table, condition, kind)
        }
        NodeEnum::DeleteStmt(delete)
            if delete.using_clause.is_empty()
                && delete.with_clause.is_none()
                && delete.returning_clause.is_none() =>
        {
            let condition = delete.where_clause.take();
            let table = delete.relation.clone()?;
            (table.relname.clone(), table, condition, BatchKind::Delete)
        }
        NodeEnum::InsertStmt(insert)
            if insert.with_clause.is_none()
                && insert.on_conflict_clause.is_none()
                && insert.returning_clause.is_none() =>
        {
            let target = insert.relation.clone()?;
            let (source, condition) = copied(insert)?;
            // What is added must not be read again.
            if source.relname == target.relname {
                return None;
            }
            (target.relname, source, condition, BatchKind::Insert)
        }
        _ => return None,
    };
    let batch = Batch {
        table: TableName(build::relation(&table)),
        kind,
        change: print(&bare).ok()?,
        rows: rows(table, condition)?,
    };
    Some((batch, name))
}

/// The only table that an INSERT reads row by row, and its condition, which is taken out.
fn copied(insert: &mut InsertStmt) -> Option<(RangeVar, Option<Box<Node>>)> {
    let Some(NodeEnum::SelectStmt(select)) = &mut insert.select_stmt.as_mut()?.node else {
        return None;
    };
    let plain = select.op() == SetOperation::SetopNone
        && select.values_lists.is_empty()
        && select.distinct_clause.is_empty()
        && select.group_clause.is_empty()
        && select.having_clause.is_none()
        && select.window_clause.is_empty()
        && select.sort_clause.is_empty()
        && select.limit_offset.is_none()
        && select.limit_count.is_none()
        && select.locking_clause.is_empty()
        && select.with_clause.is_none()
        && select.into_clause.is_none();
    let [
        Node {
            node: Some(NodeEnum::RangeVar(source)),
        },
    ] = select.from_clause.as_slice()
    else {
        return None;
    };
    let by_row = select.target_list.iter().all(|target| {
        target.node.as_ref().is_some_and(|target| {
            !tree::any(target, &mut |node| match node {
                Ref::FuncCall(call) => !is_by_row(build::last(&call.funcname)),
                Ref::SubLink(_) => true,
                _ => false,
            })
        })
    });
    let source = source.clone();
    (plain && by_row).then(|| (source, select.where_clause.take()))
}

/// Functions that are known to give one value for each row: an aggregate looks the same.
fn is_by_row(function: &str) -> bool {
    const KNOWN: [&str; 30] = [
        "abs",
        "age",
        "ceil",
        "clock_timestamp",
        "concat",
        "date_part",
        "date_trunc",
        "extract",
        "floor",
        "format",
        "gen_random_uuid",
        "left",
        "length",
        "lower",
        "lpad",
        "ltrim",
        "md5",
        "mod",
        "now",
        "random",
        "replace",
        "right",
        "round",
        "rtrim",
        "split_part",
        "substr",
        "substring",
        "to_char",
        "trim",
        "upper",
    ];
    KNOWN.binary_search(&function).is_ok()
}

fn set_columns(update: &UpdateStmt) -> Vec<String> {
    let targets = update.target_list.iter();
    targets
        .filter_map(|target| match &target.node {
            Some(NodeEnum::ResTarget(target)) => Some(target.name.clone()),
            _ => None,
        })
        .collect()
}

/// `FROM table [WHERE …]`.
fn rows(table: RangeVar, condition: Option<Box<Node>>) -> Option<String> {
    // With a column, so that the printer has something to print.
    let column = ResTarget {
        val: Some(Box::new(build::integer(1))),
        ..ResTarget::default()
    };
    let select = SelectStmt {
        target_list: vec![build::node(NodeEnum::ResTarget(Box::new(column)))],
        from_clause: vec![build::node(NodeEnum::RangeVar(table))],
        where_clause: condition,
        ..frame()?
    };
    let text = print(&NodeEnum::SelectStmt(Box::new(select))).ok()?;
    text.strip_prefix("SELECT 1 ").map(str::to_owned)
}

/// A SELECT with nothing in it.
fn frame() -> Option<SelectStmt> {
    match crate::sql::Statement::read("SELECT").ok()?.pop()?.tree {
        crate::sql::Tree::Node(node) => match *node {
            NodeEnum::SelectStmt(select) => Some(*select),
            _ => None,
        },
        crate::sql::Tree::Iam { .. } => None,
    }
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
