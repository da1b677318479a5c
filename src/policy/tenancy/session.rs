//! What drivers send to bring a session back to its beginning, or to give it a setting by a function:
//! nothing of a table is in it, so neither the rewriter nor the verifier has anything to do.

use pg_query::NodeEnum;
use pg_query::protobuf::{DiscardMode, FuncCall, SelectStmt, VariableSetKind, VariableSetStmt};

use super::SEARCH_PATH;
use super::build;
use super::lists::lists;
use super::metadata;
use super::rules::{Catalogs, Policy};
use crate::sql::tree;

/// The text of such a statement, printed from its tree.
pub(super) fn passes(node: &NodeEnum, policy: &Policy) -> Option<String> {
    match node {
        NodeEnum::DiscardStmt(discard) if discard.target() != DiscardMode::Undefined => {}
        NodeEnum::UnlistenStmt(_) => {}
        NodeEnum::VariableSetStmt(set) if set.kind() == VariableSetKind::VarResetAll => {}
        NodeEnum::SelectStmt(select) if is_session_function(select, policy) => {}
        NodeEnum::VariableSetStmt(set) if says_what_is(set, policy) => {
            if set.name.eq_ignore_ascii_case("search_path") {
                let local = if set.is_local { "LOCAL " } else { "" };
                return Some(format!("SET {local}search_path TO {SEARCH_PATH}"));
            }
        }
        NodeEnum::VariableShowStmt(show)
            if policy.catalogs == Catalogs::Declared && metadata::shows(&show.name) => {}
        _ => return None,
    }
    tree::verify_print(node).ok()
}

/// What programs set as they begin although it is so: the policy's own search path, which stays the
/// system's, strings as the standard has them, UTF-8.
fn says_what_is(set: &VariableSetStmt, policy: &Policy) -> bool {
    if set.kind() != VariableSetKind::VarSetValue {
        return false;
    }
    let Some(values) = set.args.iter().map(constant).collect::<Option<Vec<_>>>() else {
        return false;
    };
    match (set.name.to_ascii_lowercase().as_str(), values.as_slice()) {
        ("search_path", values) => {
            let path = values
                .iter()
                .flat_map(|value| value.split(','))
                .map(|schema| schema.trim().trim_matches('"'));
            path.filter(|schema| *schema != "$user")
                .eq(policy.search_path.iter().map(String::as_str))
        }
        ("standard_conforming_strings", [value]) => value.eq_ignore_ascii_case("on"),
        ("client_encoding", [value]) => {
            matches!(
                value.to_ascii_lowercase().as_str(),
                "utf8" | "utf-8" | "unicode"
            )
        }
        _ => false,
    }
}

/// `SELECT pg_advisory_unlock_all()` of reset scripts, and `SELECT set_config('TimeZone', value,
/// false)` of a setting that tenants may change.
fn is_session_function(select: &SelectStmt, policy: &Policy) -> bool {
    let [target] = select.target_list.as_slice() else {
        return false;
    };
    let Some(NodeEnum::ResTarget(target)) = &target.node else {
        return false;
    };
    let Some(NodeEnum::FuncCall(call)) = target.val.as_ref().and_then(|value| value.node.as_ref())
    else {
        return false;
    };
    // Nothing but the call: with it the statement is the same as without anything else.
    let bare = SelectStmt {
        target_list: select.target_list.clone(),
        limit_option: select.limit_option,
        op: select.op,
        ..SelectStmt::default()
    };
    let plain = FuncCall {
        funcname: call.funcname.clone(),
        args: call.args.clone(),
        funcformat: call.funcformat,
        location: call.location,
        ..FuncCall::default()
    };
    if *select != bare || **call != plain || !target.indirection.is_empty() {
        return false;
    }
    let names = build::words(&call.funcname);
    let name = match names.as_deref() {
        Some([name] | ["pg_catalog", name]) => *name,
        _ => return false,
    };
    match (name, call.args.as_slice()) {
        ("pg_advisory_unlock_all", []) => true,
        ("set_config", [setting, value, local]) => {
            let allowed = constant(setting).is_some_and(|setting| {
                let setting = setting.to_ascii_lowercase();
                lists().has_setting(&setting) && policy.settings.allow.contains(&setting)
            });
            let given =
                constant(value).is_some() || matches!(&value.node, Some(NodeEnum::ParamRef(_)));
            allowed && given && is_boolean(local)
        }
        _ => false,
    }
}

fn constant(node: &pg_query::Node) -> Option<&str> {
    use pg_query::protobuf::a_const::Val;
    match &node.node {
        Some(NodeEnum::AConst(constant)) => match &constant.val {
            Some(Val::Sval(text)) => Some(&text.sval),
            _ => None,
        },
        _ => None,
    }
}

fn is_boolean(node: &pg_query::Node) -> bool {
    use pg_query::protobuf::a_const::Val;
    matches!(&node.node, Some(NodeEnum::AConst(constant)) if matches!(constant.val, Some(Val::Boolval(_))))
}
