//! Sequences: CREATE SEQUENCE and ALTER SEQUENCE.

use pg_query::{Node, NodeEnum};

use super::{Case, Changed, Draft, build};

/// The cache sizes that DSQL takes (DSQL guide, sequences): 1, or this many and more.
const LARGE_CACHE: i64 = 65_536;

/// Makes options say a cache size that DSQL takes; false when they do already. One value stays one
/// value; a cache that is too small becomes the smallest large one.
pub(super) fn set_cache(options: &mut Vec<Node>, default: i32) -> bool {
    for option in options.iter_mut() {
        let Some(NodeEnum::DefElem(option)) = &mut option.node else {
            continue;
        };
        if option.defname == "cache" {
            let Some(size) = build::number(option) else {
                return false;
            };
            if size <= 1 || size >= LARGE_CACHE {
                return false;
            }
            let replaced = build::option("cache", 65_536);
            if let Some(NodeEnum::DefElem(replaced)) = replaced.node {
                option.arg = replaced.arg;
            }
            return true;
        }
    }
    options.push(build::option("cache", default));
    true
}

fn name_of(tree: &NodeEnum) -> String {
    let sequence = match tree {
        NodeEnum::CreateSeqStmt(create) => create.sequence.as_ref(),
        NodeEnum::AlterSeqStmt(alter) => alter.sequence.as_ref(),
        _ => None,
    };
    sequence.map_or_else(String::new, |sequence| sequence.relname.clone())
}

/// CACHE, which DSQL wants to see.
pub(super) fn cache(draft: &mut Draft, case: &Case<'_>) -> Changed {
    let name = name_of(&draft.tree);
    let changed = match &mut draft.tree {
        NodeEnum::CreateSeqStmt(create) => {
            set_cache(&mut create.options, case.rules.parameters.sequence_cache)
        }
        NodeEnum::AlterSeqStmt(alter) => {
            let says = build::options(&alter.options).any(|option| option.defname == "cache");
            says && set_cache(&mut alter.options, 1)
        }
        _ => false,
    };
    Ok(changed.then_some(name).into_iter().collect())
}

/// AS smallint or integer: sequences are bigint on DSQL.
pub(super) fn kind(draft: &mut Draft, _: &Case<'_>) -> Changed {
    let name = name_of(&draft.tree);
    let options = match &mut draft.tree {
        NodeEnum::CreateSeqStmt(create) => &mut create.options,
        NodeEnum::AlterSeqStmt(alter) => &mut alter.options,
        _ => return Ok(Vec::new()),
    };
    let before = options.len();
    options.retain(|option| match &option.node {
        Some(NodeEnum::DefElem(option)) if option.defname == "as" => {
            build::word(option).as_deref() == Some("int8")
        }
        _ => true,
    });
    let changed = options.len() < before;
    if changed && options.is_empty() && matches!(draft.tree, NodeEnum::AlterSeqStmt(_)) {
        draft.instead = Some(Vec::new());
        draft.tag = Some("ALTER SEQUENCE".to_owned());
    }
    Ok(changed.then_some(name).into_iter().collect())
}
