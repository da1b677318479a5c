//! CREATE INDEX.

use pg_query::NodeEnum;
use pg_query::protobuf::{IndexElem, IndexStmt, SortByDir, SortByNulls};

use super::{Case, Changed, Draft, Job, build, name as names};
use crate::policy::TableName;

fn index(tree: &NodeEnum) -> Option<&IndexStmt> {
    match tree {
        NodeEnum::IndexStmt(index) => Some(index),
        _ => None,
    }
}

fn index_mut(draft: &mut Draft) -> Option<&mut IndexStmt> {
    match &mut draft.tree {
        NodeEnum::IndexStmt(index) => Some(index),
        _ => None,
    }
}

fn keys(index: &mut IndexStmt) -> impl Iterator<Item = &mut IndexElem> {
    index
        .index_params
        .iter_mut()
        .filter_map(|node| match &mut node.node {
            Some(NodeEnum::IndexElem(key)) => Some(&mut **key),
            _ => None,
        })
}

fn label(key: &IndexElem) -> &str {
    if key.name.is_empty() {
        "expr"
    } else {
        &key.name
    }
}

/// Index methods that only make some searches faster: the index is left out.
pub(super) fn method(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    index(tree)
        .filter(|index| !matches!(index.access_method.as_str(), "btree" | "hash" | ""))
        .filter(|index| !index.unique)
        .map(|index| index.access_method.clone())
        .into_iter()
        .collect()
}

/// What only newer servers have.
pub(super) fn newer(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    index(tree)
        .filter(|index| index.iswithoutoverlaps)
        .map(|index| index.idxname.clone())
        .into_iter()
        .collect()
}

/// An index without a name gets the one PostgreSQL would choose.
pub(super) fn name(draft: &mut Draft, _: &Case<'_>) -> Changed {
    let Some(index) = index_mut(draft) else {
        return Ok(Vec::new());
    };
    if !index.idxname.is_empty() {
        return Ok(Vec::new());
    }
    let columns: Vec<String> = keys(index).map(|key| label(key).to_owned()).collect();
    let table = index
        .relation
        .as_ref()
        .map_or("", |table| table.relname.as_str());
    index.idxname = names::chosen(table, Some(&columns.join("_")), "idx");
    Ok(vec![index.idxname.clone()])
}

/// USING hash: a tree finds equal values too.
pub(super) fn hash(draft: &mut Draft, _: &Case<'_>) -> Changed {
    let Some(index) = index_mut(draft) else {
        return Ok(Vec::new());
    };
    if index.access_method != "hash" {
        return Ok(Vec::new());
    }
    index.access_method = "btree".to_owned();
    Ok(vec![index.idxname.clone()])
}

/// ASC and DESC. An index is read in both directions, so one key in descending order is the same
/// as it in ascending order with NULLs at the other end.
pub(super) fn order(draft: &mut Draft, _: &Case<'_>) -> Changed {
    let Some(index) = index_mut(draft) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for key in keys(index) {
        let nulls = match (key.ordering(), key.nulls_ordering()) {
            (SortByDir::SortbyAsc, nulls) => nulls,
            (SortByDir::SortbyDesc, SortByNulls::SortbyNullsLast) => SortByNulls::SortbyNullsFirst,
            (SortByDir::SortbyDesc, _) => SortByNulls::SortbyNullsDefault,
            _ => continue,
        };
        if key.ordering() == SortByDir::SortbyDesc {
            found.push(label(key).to_owned());
        } else {
            found.push(String::new());
        }
        key.set_ordering(SortByDir::SortbyDefault);
        key.set_nulls_ordering(nulls);
    }
    Ok(found)
}

/// Operator classes.
pub(super) fn opclass(draft: &mut Draft, _: &Case<'_>) -> Changed {
    let Some(index) = index_mut(draft) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for key in keys(index) {
        if !key.opclass.is_empty() {
            found.push(build::last(&key.opclass).to_owned());
            key.opclass.clear();
            key.opclassopts.clear();
        }
    }
    Ok(found)
}

/// COLLATE of a key.
pub(super) fn collation(draft: &mut Draft, _: &Case<'_>) -> Changed {
    let Some(index) = index_mut(draft) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for key in keys(index) {
        if !key.collation.is_empty() {
            found.push(build::last(&key.collation).to_owned());
            key.collation.clear();
        }
    }
    Ok(found)
}

/// WITH and TABLESPACE.
pub(super) fn storage(draft: &mut Draft, _: &Case<'_>) -> Changed {
    let Some(index) = index_mut(draft) else {
        return Ok(Vec::new());
    };
    if index.options.is_empty() && index.table_space.is_empty() {
        return Ok(Vec::new());
    }
    index.options.clear();
    index.table_space.clear();
    Ok(vec![index.idxname.clone()])
}

/// ASYNC in place of nothing, CONCURRENTLY and USING btree; the job is waited for if the session
/// wants the index to be there when the statement is done.
pub(super) fn asynchronous(draft: &mut Draft, case: &Case<'_>) -> Changed {
    let already = draft.asynchronous;
    let with_method = names_method(case.text);
    let Some(index) = index_mut(draft) else {
        return Ok(Vec::new());
    };
    let only = index
        .relation
        .as_mut()
        .is_some_and(|table| !std::mem::replace(&mut table.inh, true));
    if already && !index.concurrent && !only && !with_method {
        return Ok(Vec::new());
    }
    index.concurrent = false;
    index.access_method = "btree".to_owned();
    let found = vec![index.idxname.clone()];
    let index_of = index.relation.as_ref().map(build::relation).map(TableName);
    let schema = match &index.relation {
        Some(table) if !table.schemaname.is_empty() => {
            format!("{}.", build::quoted(&table.schemaname))
        }
        _ => String::new(),
    };
    let drop = format!("DROP INDEX {schema}{}", build::quoted(&index.idxname));
    let failure = index.unique.then_some("23505");
    draft.asynchronous = true;
    if !already {
        draft.tag = Some("CREATE INDEX".to_owned());
        if case.facts.switches.index_wait {
            draft.job = Some(Job {
                undo: Some(build::normal(&drop)?),
                failure,
                index_of,
            });
        }
    }
    Ok(found)
}

/// Whether a method is named: the tree has `btree` also where the text says nothing.
fn names_method(text: &str) -> bool {
    let head = text.split('(').next().unwrap_or_default();
    head.split_whitespace()
        .any(|word| word.eq_ignore_ascii_case("using"))
}

/// Expressions as keys, before DSQL had them.
pub(super) fn expression(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    index(tree)
        .filter(|index| {
            index.index_params.iter().any(
                |node| matches!(&node.node, Some(NodeEnum::IndexElem(key)) if key.expr.is_some()),
            )
        })
        .map(|index| index.idxname.clone())
        .into_iter()
        .collect()
}

/// WHERE, before DSQL had it.
pub(super) fn partial(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    index(tree)
        .filter(|index| index.where_clause.is_some())
        .map(|index| index.idxname.clone())
        .into_iter()
        .collect()
}
