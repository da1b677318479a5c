//! pg_terminate_backend() and pg_cancel_backend().

use pg_query::NodeEnum;

use super::{Case, advisory, build, call};
use crate::policy::{LockArgument, Procedure, SignalCall, SignalTarget};

/// `SELECT pg_terminate_backend(pid)` alone, of a constant, a parameter or pg_backend_pid().
pub(super) fn call(tree: &NodeEnum, _: &Case<'_>) -> Option<(Procedure, String)> {
    let call = call::alone(tree)?;
    let terminate = match call.name {
        "pg_terminate_backend" => true,
        "pg_cancel_backend" => false,
        _ => return None,
    };
    // How long to wait for the end means nothing here: it comes with the session's next turn.
    let ([pid] | [pid, _]) = call.arguments else {
        return None;
    };
    let target_pid = if is_own(pid) {
        SignalTarget::Own
    } else {
        match advisory::argument(pid)? {
            LockArgument::Constant(pid) => SignalTarget::Constant(pid),
            LockArgument::Parameter(number) => SignalTarget::Parameter(number),
            LockArgument::Expression(_) => return None,
        }
    };
    let value = match target_pid {
        SignalTarget::Parameter(number) => format!("(${number})::int4 IS NOT NULL"),
        _ => "true".to_owned(),
    };
    let signal = SignalCall {
        terminate,
        target: target_pid,
        prepared: format!("SELECT {value} AS {}", build::quoted(call.column)),
        column: call.column.to_owned(),
    };
    Some((Procedure::Signal(signal), call.name.to_owned()))
}

fn is_own(node: &pg_query::Node) -> bool {
    matches!(&node.node, Some(NodeEnum::FuncCall(call))
        if build::last(&call.funcname) == "pg_backend_pid" && call.args.is_empty())
}
