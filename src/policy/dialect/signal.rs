//! pg_terminate_backend() and pg_cancel_backend().

use pg_query::NodeEnum;

use super::{Case, advisory, build};
use crate::policy::{LockArgument, Procedure, SignalCall, SignalTarget};

/// `SELECT pg_terminate_backend(pid)` alone, of a constant, a parameter or pg_backend_pid().
pub(super) fn call(tree: &NodeEnum, _: &Case<'_>) -> Option<(Procedure, String)> {
    let NodeEnum::SelectStmt(select) = tree else {
        return None;
    };
    let [target] = select.target_list.as_slice() else {
        return None;
    };
    let Some(NodeEnum::ResTarget(target)) = &target.node else {
        return None;
    };
    let Some(NodeEnum::FuncCall(call)) = target.val.as_ref().and_then(|value| value.node.as_ref())
    else {
        return None;
    };
    let name = match build::strings(&call.funcname).as_slice() {
        [name] | ["pg_catalog", name] => *name,
        _ => return None,
    };
    let terminate = match name {
        "pg_terminate_backend" => true,
        "pg_cancel_backend" => false,
        _ => return None,
    };
    let plain =
        advisory::is_plain(select) && select.from_clause.is_empty() && select.with_clause.is_none();
    // How long to wait for the end means nothing here: it comes with the session's next turn.
    let pid = call
        .args
        .first()
        .filter(|_| plain && call.args.len() <= 2)?;
    let target_pid = if is_own(pid) {
        SignalTarget::Own
    } else {
        match advisory::argument(pid)? {
            LockArgument::Constant(pid) => SignalTarget::Constant(pid),
            LockArgument::Parameter(number) => SignalTarget::Parameter(number),
            LockArgument::Expression(_) => return None,
        }
    };
    let column = match target.name.as_str() {
        "" => name.to_owned(),
        name => name.to_owned(),
    };
    let value = match target_pid {
        SignalTarget::Parameter(number) => format!("(${number})::int4 IS NOT NULL"),
        _ => "true".to_owned(),
    };
    let call = SignalCall {
        terminate,
        target: target_pid,
        prepared: format!("SELECT {value} AS {}", build::quoted(&column)),
        column,
    };
    Some((Procedure::Signal(call), name.to_owned()))
}

fn is_own(node: &pg_query::Node) -> bool {
    matches!(&node.node, Some(NodeEnum::FuncCall(call))
        if build::last(&call.funcname) == "pg_backend_pid" && call.args.is_empty())
}
