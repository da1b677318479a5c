//! Statements about the session itself.

use pg_query::NodeEnum;
use pg_query::protobuf::{SelectStmt, VariableSetKind, VariableSetStmt, a_const};

use super::{Case, build};
use crate::policy::{Answer, SessionCommand};
use crate::sql::tree::{Ref, any};

fn is_own(case: &Case<'_>, name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    case.rules.parameters.settings.contains(&name)
}

/// SET, RESET and SHOW of settings that DSQL does not take: the session's settings answer.
pub(super) fn setting(tree: &NodeEnum, case: &Case<'_>) -> Option<(Answer, String)> {
    let name = match tree {
        NodeEnum::VariableSetStmt(set) => {
            if set.kind() == VariableSetKind::VarResetAll {
                "all"
            } else {
                set.name.as_str()
            }
        }
        NodeEnum::VariableShowStmt(show) => show.name.as_str(),
        _ => return None,
    };
    (!is_own(case, name)).then(|| (Answer::Setting, name.to_owned()))
}

/// SET LOCAL ROLE.
pub(super) fn local_role(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    match tree {
        NodeEnum::VariableSetStmt(set) if set.name == "role" && set.is_local => {
            vec![String::new()]
        }
        _ => Vec::new(),
    }
}

/// RESET ROLE, and SET LOCAL ROLE in a transaction, which DSQL takes.
pub(super) fn own_role(tree: &NodeEnum, case: &Case<'_>) -> Vec<String> {
    match tree {
        NodeEnum::VariableSetStmt(set) if set.name == "role" => {
            let local = set.is_local && case.facts.transaction.open;
            let taken = set.kind() == VariableSetKind::VarReset || local;
            taken.then(|| "ROLE".to_owned()).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

fn modes(set: &VariableSetStmt) -> Option<&str> {
    (set.kind() == VariableSetKind::VarSetMulti).then_some(set.name.as_str())
}

/// SET TRANSACTION SNAPSHOT.
pub(super) fn snapshot(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    match tree {
        NodeEnum::VariableSetStmt(set) if modes(set) == Some("TRANSACTION SNAPSHOT") => {
            vec![String::new()]
        }
        _ => Vec::new(),
    }
}

/// SET TRANSACTION ISOLATION LEVEL SERIALIZABLE.
pub(super) fn set_serializable(tree: &NodeEnum, case: &Case<'_>) -> Option<(Answer, String)> {
    match tree {
        NodeEnum::VariableSetStmt(set) if super::transaction::is_serializable(&set.args) => {
            transaction_modes(tree, case)
        }
        _ => None,
    }
}

/// SET TRANSACTION: kept for a BEGIN that is still to be sent. SET SESSION CHARACTERISTICS is a
/// setting.
pub(super) fn transaction_modes(tree: &NodeEnum, _: &Case<'_>) -> Option<(Answer, String)> {
    let NodeEnum::VariableSetStmt(set) = tree else {
        return None;
    };
    let answer = match modes(set)? {
        "TRANSACTION" => {
            let text = super::transaction::modes(&set.args);
            Answer::Session(SessionCommand::TransactionModes(text))
        }
        _ => Answer::Setting,
    };
    Some((answer, String::new()))
}

/// SET ROLE and SET SESSION AUTHORIZATION to something else than before; SET LOCAL ROLE goes on.
pub(super) fn role_switch(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    let NodeEnum::VariableSetStmt(set) = tree else {
        return Vec::new();
    };
    let switches = match set.name.as_str() {
        "role" => set.kind() == VariableSetKind::VarSetValue && !set.is_local && !is_none(set),
        "session_authorization" => set.kind() == VariableSetKind::VarSetValue,
        _ => false,
    };
    let name = match set.name.as_str() {
        "role" => "SET ROLE",
        _ => "SET SESSION AUTHORIZATION",
    };
    switches.then(|| name.to_owned()).into_iter().collect()
}

fn is_none(set: &VariableSetStmt) -> bool {
    set.args.first().and_then(constant).as_deref() == Some("none")
}

fn constant(node: &pg_query::Node) -> Option<String> {
    match node.node.as_ref()? {
        NodeEnum::AConst(constant) => match constant.val.as_ref()? {
            a_const::Val::Sval(text) => Some(text.sval.clone()),
            _ => None,
        },
        NodeEnum::TypeCast(cast) => constant(cast.arg.as_ref()?),
        _ => None,
    }
}

/// `set_config` and `current_setting` of settings that DSQL does not take, and queries of
/// `pg_settings`.
pub(super) fn setting_function(tree: &NodeEnum, case: &Case<'_>) -> Option<(Answer, String)> {
    let NodeEnum::SelectStmt(select) = tree else {
        return None;
    };
    let called = &case.survey(tree).functions;
    // Beside a table it is compared with the server's own numbers.
    let alone = || !any(tree, &mut |node| matches!(node, Ref::RangeVar(_)));
    if called.iter().any(|name| name == "pg_backend_pid") && alone() {
        return Some((Answer::Setting, "pg_backend_pid".to_owned()));
    }
    let calls = called
        .iter()
        .any(|name| matches!(name.as_str(), "set_config" | "current_setting"));
    if !calls && !lists_settings(tree) {
        return None;
    }
    let name = foreign_setting(select, tree, case)?;
    Some((Answer::Setting, name))
}

fn lists_settings(tree: &NodeEnum) -> bool {
    any(tree, &mut |node| match node {
        Ref::RangeVar(table) => table.relname == "pg_settings",
        Ref::FuncCall(call) => build::last(&call.funcname) == "pg_show_all_settings",
        _ => false,
    })
}

fn foreign_setting(select: &SelectStmt, tree: &NodeEnum, case: &Case<'_>) -> Option<String> {
    if lists_settings(tree) {
        return Some("pg_settings".to_owned());
    }
    if !select.from_clause.is_empty() {
        return None;
    }
    let mut found = None;
    any(tree, &mut |node| {
        if let Ref::FuncCall(call) = node
            && matches!(
                build::last(&call.funcname),
                "set_config" | "current_setting"
            )
        {
            let name = call.args.first().and_then(constant);
            // A name that is a parameter is known at Bind only.
            match name {
                Some(name) if is_own(case, &name) => {}
                Some(name) => found = Some(name),
                None => {}
            }
        }
        false
    });
    found
}

/// `current_setting` of a client's own settings, whose names have a dot, where no answer of the
/// proxy can take its place: the server has none of them.
pub(super) fn custom_setting(tree: &NodeEnum, case: &Case<'_>) -> Vec<String> {
    let calls = &case.survey(tree).functions;
    if !calls.iter().any(|name| name == "current_setting") {
        return Vec::new();
    }
    let mut found = Vec::new();
    any(tree, &mut |node| {
        if let Ref::FuncCall(call) = node
            && build::last(&call.funcname) == "current_setting"
            && let Some(name) = call.args.first().and_then(constant)
            && name.contains('.')
            && !is_own(case, &name)
        {
            found.push(name);
        }
        false
    });
    found
}

/// DECLARE, FETCH, MOVE and CLOSE.
pub(super) fn cursor(tree: &NodeEnum, _: &Case<'_>) -> Option<(Answer, String)> {
    let (command, name) = match tree {
        NodeEnum::DeclareCursorStmt(declare) => {
            (SessionCommand::Declare, declare.portalname.clone())
        }
        NodeEnum::FetchStmt(fetch) => (SessionCommand::Fetch, fetch.portalname.clone()),
        NodeEnum::ClosePortalStmt(close) => {
            let name = (!close.portalname.is_empty()).then(|| close.portalname.clone());
            (SessionCommand::Close(name), close.portalname.clone())
        }
        _ => return None,
    };
    Some((Answer::Session(command), name))
}

/// PREPARE, EXECUTE and DEALLOCATE.
pub(super) fn prepared(tree: &NodeEnum, _: &Case<'_>) -> Option<(Answer, String)> {
    let (command, name) = match tree {
        NodeEnum::PrepareStmt(prepare) => (SessionCommand::Prepare, prepare.name.clone()),
        NodeEnum::ExecuteStmt(execute) => (SessionCommand::Execute, execute.name.clone()),
        NodeEnum::ExplainStmt(explain) => match explain.query.as_ref()?.node.as_ref()? {
            NodeEnum::ExecuteStmt(execute) => (SessionCommand::Execute, execute.name.clone()),
            _ => return None,
        },
        NodeEnum::DeallocateStmt(deallocate) => {
            let name = (!deallocate.isall).then(|| deallocate.name.clone());
            (SessionCommand::Deallocate(name), deallocate.name.clone())
        }
        _ => return None,
    };
    Some((Answer::Session(command), name))
}

/// DISCARD.
pub(super) fn discard(tree: &NodeEnum, _: &Case<'_>) -> Option<(Answer, String)> {
    matches!(tree, NodeEnum::DiscardStmt(_))
        .then(|| (Answer::Session(SessionCommand::Discard), String::new()))
}

/// EXPLAIN DECLARE.
pub(super) fn explain_cursor(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    let query = match tree {
        NodeEnum::ExplainStmt(explain) => explain.query.as_ref(),
        _ => None,
    };
    match query.and_then(|query| query.node.as_ref()) {
        Some(NodeEnum::DeclareCursorStmt(declare)) => vec![declare.portalname.clone()],
        _ => Vec::new(),
    }
}
