//! BEGIN, COMMIT, ROLLBACK, savepoints and LOCK TABLE.

use pg_query::protobuf::{DefElem, TransactionStmt, TransactionStmtKind, a_const};
use pg_query::{Node, NodeEnum};

use super::{Case, Changed, Draft, build};
use crate::policy::{Procedure, TableName};

/// PostgreSQL's numbers of the modes of LOCK TABLE that exclude no writer.
const ACCESS_SHARE: i32 = 1;
const ROW_EXCLUSIVE: i32 = 3;

fn begin(tree: &mut NodeEnum) -> Option<&mut TransactionStmt> {
    match tree {
        NodeEnum::TransactionStmt(transaction)
            if matches!(
                transaction.kind(),
                TransactionStmtKind::TransStmtBegin | TransactionStmtKind::TransStmtStart
            ) =>
        {
            Some(transaction)
        }
        _ => None,
    }
}

fn isolation(option: &DefElem) -> Option<String> {
    if option.defname != "transaction_isolation" {
        return None;
    }
    match option.arg.as_ref()?.node.as_ref()? {
        NodeEnum::AConst(constant) => match constant.val.as_ref()? {
            a_const::Val::Sval(level) => Some(level.sval.clone()),
            _ => None,
        },
        _ => None,
    }
}

fn change_isolation(draft: &mut Draft, from: &[&str]) -> Vec<String> {
    let Some(transaction) = begin(&mut draft.tree) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for node in &mut transaction.options {
        let Some(NodeEnum::DefElem(option)) = &mut node.node else {
            continue;
        };
        if let Some(level) = isolation(option)
            && from.contains(&level.as_str())
        {
            if let Some(NodeEnum::AConst(constant)) =
                option.arg.as_mut().and_then(|node| node.node.as_mut())
                && let Some(a_const::Val::Sval(text)) = &mut constant.val
            {
                text.sval = "repeatable read".to_owned();
            }
            found.push(level.to_ascii_uppercase());
        }
    }
    found
}

/// READ COMMITTED and READ UNCOMMITTED: REPEATABLE READ is stronger.
pub(super) fn weaker(draft: &mut Draft, _: &Case<'_>) -> Changed {
    Ok(change_isolation(
        draft,
        &["read committed", "read uncommitted"],
    ))
}

/// SERIALIZABLE: REPEATABLE READ is weaker.
pub(super) fn serializable(draft: &mut Draft, _: &Case<'_>) -> Changed {
    Ok(change_isolation(draft, &["serializable"]))
}

/// DEFERRABLE, which means something to SERIALIZABLE READ ONLY alone.
pub(super) fn deferrable(draft: &mut Draft, _: &Case<'_>) -> Changed {
    let Some(transaction) = begin(&mut draft.tree) else {
        return Ok(Vec::new());
    };
    let before = transaction.options.len();
    transaction.options.retain(|node| {
        !matches!(&node.node, Some(NodeEnum::DefElem(option)) if option.defname == "transaction_deferrable")
    });
    Ok((transaction.options.len() < before)
        .then(String::new)
        .into_iter()
        .collect())
}

/// Whether modes ask for SERIALIZABLE.
pub(super) fn is_serializable(args: &[Node]) -> bool {
    build::options(args).any(|option| isolation(option).as_deref() == Some("serializable"))
}

/// The modes of a SET TRANSACTION as text behind BEGIN: what DSQL has, and READ ONLY or WRITE.
pub(super) fn modes(args: &[Node]) -> String {
    let mut modes: Vec<&str> = Vec::new();
    for option in build::options(args) {
        match option.defname.as_str() {
            "transaction_isolation" => modes.push("ISOLATION LEVEL REPEATABLE READ"),
            "transaction_read_only" => modes.push(if is_on(option) {
                "READ ONLY"
            } else {
                "READ WRITE"
            }),
            _ => {}
        }
    }
    modes.join(", ")
}

fn is_on(option: &DefElem) -> bool {
    let constant = option.arg.as_ref().and_then(|node| node.node.as_ref());
    match constant {
        Some(NodeEnum::AConst(constant)) => {
            matches!(&constant.val, Some(a_const::Val::Ival(value)) if value.ival != 0)
        }
        _ => false,
    }
}

fn transaction(tree: &NodeEnum) -> Option<&TransactionStmt> {
    match tree {
        NodeEnum::TransactionStmt(transaction) => Some(transaction),
        _ => None,
    }
}

/// COMMIT AND CHAIN, ROLLBACK AND CHAIN.
pub(super) fn chain(tree: &NodeEnum, _: &Case<'_>) -> Option<(Procedure, String)> {
    let transaction = transaction(tree).filter(|transaction| transaction.chain)?;
    let commit = transaction.kind() == TransactionStmtKind::TransStmtCommit;
    let words = match commit {
        true => "COMMIT AND CHAIN",
        false => "ROLLBACK AND CHAIN",
    };
    Some((Procedure::Chain { commit }, words.to_owned()))
}

/// PREPARE TRANSACTION and what follows it.
pub(super) fn two_phase(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    let found = transaction(tree).and_then(|transaction| match transaction.kind() {
        TransactionStmtKind::TransStmtPrepare => Some("PREPARE TRANSACTION"),
        TransactionStmtKind::TransStmtCommitPrepared => Some("COMMIT PREPARED"),
        TransactionStmtKind::TransStmtRollbackPrepared => Some("ROLLBACK PREPARED"),
        _ => None,
    });
    found.map(str::to_owned).into_iter().collect()
}

/// SAVEPOINT, RELEASE, ROLLBACK TO.
pub(super) fn savepoint(tree: &NodeEnum, _: &Case<'_>) -> Option<(Procedure, String)> {
    let transaction = transaction(tree)?;
    let name = transaction.savepoint_name.clone();
    let (procedure, words) = match transaction.kind() {
        TransactionStmtKind::TransStmtSavepoint => (Procedure::Savepoint(name), "SAVEPOINT"),
        TransactionStmtKind::TransStmtRelease => (Procedure::Release(name), "RELEASE SAVEPOINT"),
        TransactionStmtKind::TransStmtRollbackTo => {
            (Procedure::RollbackTo(name), "ROLLBACK TO SAVEPOINT")
        }
        _ => return None,
    };
    Some((procedure, words.to_owned()))
}

/// LOCK TABLE outside a transaction block.
pub(super) fn lock_outside(tree: &NodeEnum, case: &Case<'_>) -> Vec<String> {
    (matches!(tree, NodeEnum::LockStmt(_)) && !case.facts.transaction.open)
        .then(String::new)
        .into_iter()
        .collect()
}

/// Modes that exclude no reader and no writer of rows: a snapshot gives the same.
pub(super) fn lock_shared(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    match tree {
        NodeEnum::LockStmt(lock) if (ACCESS_SHARE..=ROW_EXCLUSIVE).contains(&lock.mode) => {
            vec![String::new()]
        }
        _ => Vec::new(),
    }
}

/// All other modes.
pub(super) fn lock_table(tree: &NodeEnum, _: &Case<'_>) -> Option<(Procedure, String)> {
    let NodeEnum::LockStmt(lock) = tree else {
        return None;
    };
    let mut first = String::new();
    let mut tables = Vec::new();
    for node in &lock.relations {
        if let Some(NodeEnum::RangeVar(table)) = &node.node {
            if first.is_empty() {
                first.clone_from(&table.relname);
            }
            tables.push(TableName(build::relation(table)));
        }
    }
    let procedure = Procedure::LockTable {
        tables,
        mode: lock.mode,
        nowait: lock.nowait,
    };
    Some((procedure, first))
}
