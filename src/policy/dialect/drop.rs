//! DROP.

use pg_query::NodeEnum;

use super::{Case, Changed, Draft, build, name};
use crate::policy::Answer;

/// Words of the object that a DROP names first.
fn first(node: &NodeEnum) -> Option<String> {
    let NodeEnum::DropStmt(drop) = node else {
        return None;
    };
    match drop.objects.first()?.node.as_ref()? {
        NodeEnum::String(text) => Some(text.sval.clone()),
        NodeEnum::List(list) => Some(build::last(&list.items).to_owned()),
        NodeEnum::TypeName(kind) => Some(name::catalog(kind).to_owned()),
        NodeEnum::ObjectWithArgs(object) => Some(build::last(&object.objname).to_owned()),
        _ => None,
    }
}

/// DROP … IF EXISTS of a kind of object that DSQL does not have: there is none.
pub(super) fn missing(tree: &NodeEnum, _: &Case<'_>) -> Option<(Answer, String)> {
    let NodeEnum::DropStmt(drop) = tree else {
        return None;
    };
    if !drop.missing_ok {
        return None;
    }
    let words = name::object_words(name::object_kind(tree)?);
    let tag = format!("DROP {}", words.to_ascii_uppercase());
    let object = first(tree).unwrap_or_default();
    Some((Answer::Tag(tag), format!("{words} \"{object}\"")))
}

/// DROP INDEX CONCURRENTLY: DSQL drops without locks anyway.
pub(super) fn concurrently(draft: &mut Draft, _: &Case<'_>) -> Changed {
    let NodeEnum::DropStmt(drop) = &mut draft.tree else {
        return Ok(Vec::new());
    };
    let found = std::mem::take(&mut drop.concurrent);
    Ok(found.then(String::new).into_iter().collect())
}
