//! Queries: locking clauses, sampling, functions.

use pg_query::NodeEnum;
use pg_query::protobuf::{FuncCall, LockClauseStrength, LockWaitPolicy};

use super::{Case, Changed, Draft, build};
use crate::sql::tree::{Descent, Mut, Ref, any, walk, walk_mut};

fn words(strength: LockClauseStrength) -> &'static str {
    match strength {
        LockClauseStrength::LcsForshare => "FOR SHARE",
        LockClauseStrength::LcsFornokeyupdate => "FOR NO KEY UPDATE",
        LockClauseStrength::LcsForkeyshare => "FOR KEY SHARE",
        _ => "FOR UPDATE",
    }
}

fn strengthen(draft: &mut Draft, wanted: &[LockClauseStrength]) -> Vec<String> {
    let mut found = Vec::new();
    if !any(&draft.tree, &mut |node| {
        matches!(node, Ref::LockingClause(_))
    }) {
        return found;
    }
    walk_mut(Mut::of(&mut draft.tree), &mut |node| {
        if let Mut::LockingClause(clause) = node
            && wanted.contains(&clause.strength())
        {
            found.push(words(clause.strength()).to_owned());
            clause.set_strength(LockClauseStrength::LcsForupdate);
        }
        Descent::Into
    });
    found
}

/// FOR SHARE and FOR NO KEY UPDATE: FOR UPDATE excludes all that they exclude.
pub(super) fn locking(draft: &mut Draft, _: &Case<'_>) -> Changed {
    Ok(strengthen(
        draft,
        &[
            LockClauseStrength::LcsForshare,
            LockClauseStrength::LcsFornokeyupdate,
        ],
    ))
}

/// FOR KEY SHARE, before DSQL had it.
pub(super) fn key_share(draft: &mut Draft, _: &Case<'_>) -> Changed {
    Ok(strengthen(draft, &[LockClauseStrength::LcsForkeyshare]))
}

/// NOWAIT and SKIP LOCKED.
pub(super) fn no_wait(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    let mut found = Vec::new();
    walk(Ref::of(tree), &mut |node| {
        if let Ref::LockingClause(clause) = node {
            match clause.wait_policy() {
                LockWaitPolicy::LockWaitSkip => found.push("SKIP LOCKED".to_owned()),
                LockWaitPolicy::LockWaitError => found.push("NOWAIT".to_owned()),
                _ => {}
            }
        }
        Descent::Into
    });
    found
}

/// TABLESAMPLE.
pub(super) fn tablesample(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    any(tree, &mut |node| matches!(node, Ref::RangeTableSample(_)))
        .then(String::new)
        .into_iter()
        .collect()
}

/// MERGE below another statement.
pub(super) fn merge_inside(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    any(tree, &mut |node| matches!(node, Ref::MergeStmt(_)))
        .then(String::new)
        .into_iter()
        .collect()
}

/// Expressions of PostgreSQL 17 and 18.
pub(super) fn newer(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    let mut found = Vec::new();
    walk(Ref::of(tree), &mut |node| {
        let word = match node {
            Ref::JsonTable(_) => "JSON_TABLE",
            Ref::JsonFuncExpr(_) => "JSON_EXISTS, JSON_VALUE or JSON_QUERY",
            Ref::JsonParseExpr(_) => "JSON()",
            Ref::JsonScalarExpr(_) => "JSON_SCALAR",
            Ref::JsonSerializeExpr(_) => "JSON_SERIALIZE",
            Ref::MergeSupportFunc(_) => "MERGE_ACTION",
            Ref::ReturningClause(returning) if !returning.options.is_empty() => {
                "RETURNING WITH (OLD or NEW AS …)"
            }
            _ => return Descent::Into,
        };
        found.push(word.to_owned());
        Descent::Into
    });
    found
}

/// Functions of extensions that PostgreSQL has itself, or has under another name.
const MOVED: [(&str, &str); 2] = [
    ("uuid_generate_v4", "gen_random_uuid"),
    ("gen_random_uuid", "gen_random_uuid"),
];

/// uuid_generate_v4(), and gen_random_uuid() with a schema, as dumps have it.
pub(super) fn uuid(draft: &mut Draft, case: &Case<'_>) -> Changed {
    let mut found = Vec::new();
    let text = case.text.to_ascii_lowercase();
    if !MOVED.iter().any(|(name, _)| text.contains(name)) {
        return Ok(found);
    }
    let moved = |call: &FuncCall| {
        let names = build::strings(&call.funcname);
        let name = names.last().copied().unwrap_or_default();
        let there = matches!(names.as_slice(), ["gen_random_uuid"] | ["pg_catalog", _]);
        let known = MOVED.iter().find(|(known, _)| *known == name);
        known.filter(|_| !there && call.args.is_empty()).copied()
    };
    walk_mut(Mut::of(&mut draft.tree), &mut |node| {
        match node {
            // A column keeps the name that the function gives it.
            Mut::ResTarget(target) if target.name.is_empty() => {
                let value = target.val.as_ref().and_then(|value| value.node.as_ref());
                if let Some(NodeEnum::FuncCall(call)) = value
                    && let Some((name, _)) = moved(call)
                {
                    name.clone_into(&mut target.name);
                }
            }
            Mut::FuncCall(call) => {
                if let Some((name, new)) = moved(call) {
                    call.funcname = vec![build::string(new)];
                    found.push(name.to_owned());
                }
            }
            _ => {}
        }
        Descent::Into
    });
    Ok(found)
}
