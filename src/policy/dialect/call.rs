//! A SELECT of one function's call and nothing else.

use pg_query::{Node, NodeEnum};

use super::{advisory, build};

/// What such a SELECT calls.
pub(super) struct Call<'a> {
    /// The function's name, of the search path or pg_catalog.
    pub name: &'a str,
    pub arguments: &'a [Node],
    /// The name of the column of its result.
    pub column: &'a str,
}

/// The call that a SELECT without any other clause consists of; `None` for all else.
pub(super) fn alone(tree: &NodeEnum) -> Option<Call<'_>> {
    let NodeEnum::SelectStmt(select) = tree else {
        return None;
    };
    let [target] = select.target_list.as_slice() else {
        return None;
    };
    let Some(NodeEnum::ResTarget(target)) = &target.node else {
        return None;
    };
    let Some(NodeEnum::FuncCall(call)) = target.val.as_ref()?.node.as_ref() else {
        return None;
    };
    let name = match build::strings(&call.funcname).as_slice() {
        [name] | ["pg_catalog", name] => *name,
        _ => return None,
    };
    let nothing_else =
        advisory::is_plain(select) && select.from_clause.is_empty() && select.with_clause.is_none();
    nothing_else.then_some(Call {
        name,
        arguments: &call.args,
        column: match target.name.as_str() {
            "" => name,
            column => column,
        },
    })
}
