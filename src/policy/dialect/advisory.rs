//! Advisory locks: a SELECT whose list is calls of their functions, and nothing else.

use std::collections::BTreeMap;

use pg_query::protobuf::{FuncCall, SelectStmt, a_const};
use pg_query::{Node, NodeEnum};

use super::{Case, build};
use crate::policy::{
    AdvisoryLock, Answer, KeyParameter, LockArgument, LockCall, LockExpression, LockWish, Procedure,
};
use crate::sql::tree::{self, Descent, Ref, any};

/// OID of type void.
const VOID: u32 = 2278;
/// OID of type bool.
const BOOL: u32 = 16;

/// The functions: what each does, whether others may hold the lock too, whether it ends with the
/// transaction.
const FUNCTIONS: [(&str, LockWish, bool, bool); 11] = [
    ("pg_advisory_lock", LockWish::Lock, false, false),
    ("pg_advisory_lock_shared", LockWish::Lock, true, false),
    ("pg_advisory_xact_lock", LockWish::Lock, false, true),
    ("pg_advisory_xact_lock_shared", LockWish::Lock, true, true),
    ("pg_try_advisory_lock", LockWish::Try, false, false),
    ("pg_try_advisory_lock_shared", LockWish::Try, true, false),
    ("pg_try_advisory_xact_lock", LockWish::Try, false, true),
    (
        "pg_try_advisory_xact_lock_shared",
        LockWish::Try,
        true,
        true,
    ),
    ("pg_advisory_unlock", LockWish::Unlock, false, false),
    ("pg_advisory_unlock_shared", LockWish::Unlock, true, false),
    ("pg_advisory_unlock_all", LockWish::UnlockAll, false, false),
];

/// A SELECT of nothing but calls.
pub(super) fn locks(tree: &NodeEnum, case: &Case<'_>) -> Option<(Procedure, String)> {
    let survey = case.survey(tree);
    let called = |name: &str| FUNCTIONS.iter().any(|(known, ..)| *known == name);
    if !survey.functions.iter().any(|name| called(name)) {
        return None;
    }
    let NodeEnum::SelectStmt(select) = tree else {
        return None;
    };
    let settings = settings_of(select)?;
    if !is_plain(select) {
        return None;
    }
    let mut lock = AdvisoryLock {
        settings,
        ..AdvisoryLock::default()
    };
    let mut prepared = Vec::new();
    for target in &select.target_list {
        let Some(NodeEnum::ResTarget(target)) = &target.node else {
            return None;
        };
        let value = target.val.as_ref().and_then(|value| value.node.as_ref());
        let Some(NodeEnum::FuncCall(call)) = value else {
            return None;
        };
        let read = call_of(call)?;
        let name = match target.name.as_str() {
            "" => build::last(&call.funcname).to_owned(),
            name => name.to_owned(),
        };
        prepared.push(stand_in(&read, &name));
        let kind = if has_truth(read.wish) { BOOL } else { VOID };
        lock.columns.push((name, kind));
        lock.calls.push(read);
    }
    lock.prepared = format!("SELECT {}", prepared.join(", "));
    let names = survey.functions.first().cloned().unwrap_or_default();
    Some((Procedure::AdvisoryLock(lock), names))
}

fn has_truth(wish: LockWish) -> bool {
    matches!(wish, LockWish::Try | LockWish::Unlock)
}

/// Nothing but a list, FROM and WITH.
pub(super) fn is_plain(select: &SelectStmt) -> bool {
    select.where_clause.is_none()
        && select.larg.is_none()
        && select.limit_count.is_none()
        && select.limit_offset.is_none()
        && select.values_lists.is_empty()
        && select.group_clause.is_empty()
        && select.having_clause.is_none()
        && select.sort_clause.is_empty()
        && select.distinct_clause.is_empty()
        && select.locking_clause.is_empty()
        && select.into_clause.is_none()
}

/// `WITH s AS (SELECT set_config('lock_timeout', …)) SELECT … FROM s`, as Kysely has it: the settings;
/// `None` for any other FROM and WITH.
fn settings_of(select: &SelectStmt) -> Option<Vec<(String, String, bool)>> {
    let Some(with) = &select.with_clause else {
        return select.from_clause.is_empty().then(Vec::new);
    };
    let ([query], [from]) = (with.ctes.as_slice(), select.from_clause.as_slice()) else {
        return None;
    };
    let (Some(NodeEnum::CommonTableExpr(query)), Some(NodeEnum::RangeVar(from))) =
        (&query.node, &from.node)
    else {
        return None;
    };
    let Some(NodeEnum::SelectStmt(inner)) = query.ctequery.as_ref()?.node.as_ref() else {
        return None;
    };
    let alone = from.relname == query.ctename
        && from.schemaname.is_empty()
        && inner.from_clause.is_empty()
        && inner.with_clause.is_none()
        && is_plain(inner);
    if !alone {
        return None;
    }
    let setting = |target: &Node| {
        let Some(NodeEnum::ResTarget(target)) = &target.node else {
            return None;
        };
        let Some(NodeEnum::FuncCall(call)) = target.val.as_ref()?.node.as_ref() else {
            return None;
        };
        let [name, value, local] = call.args.as_slice() else {
            return None;
        };
        let text = |node: &Node| match &node.node {
            Some(NodeEnum::AConst(constant)) => match constant.val.as_ref()? {
                a_const::Val::Sval(text) => Some(text.sval.clone()),
                a_const::Val::Boolval(value) => Some(value.boolval.to_string()),
                _ => None,
            },
            _ => None,
        };
        (build::last(&call.funcname) == "set_config")
            .then(|| Some((text(name)?, text(value)?, text(local)? == "true")))
            .flatten()
    };
    inner.target_list.iter().map(setting).collect()
}

fn call_of(call: &FuncCall) -> Option<LockCall> {
    let name = match build::strings(&call.funcname).as_slice() {
        [name] | ["pg_catalog", name] => *name,
        _ => return None,
    };
    let (_, wish, shared, transaction) = FUNCTIONS.iter().find(|(known, ..)| *known == name)?;
    let plain = call.agg_filter.is_none()
        && call.over.is_none()
        && call.agg_order.is_empty()
        && !call.agg_distinct
        && !call.agg_star;
    let arguments = match (wish, call.args.len()) {
        (LockWish::UnlockAll, 0) => Vec::new(),
        (LockWish::UnlockAll, _) => return None,
        (_, 1 | 2) => call
            .args
            .iter()
            .map(argument)
            .collect::<Option<Vec<LockArgument>>>()?,
        _ => return None,
    };
    plain.then_some(LockCall {
        wish: *wish,
        shared: *shared,
        transaction: *transaction,
        arguments,
    })
}

pub(super) fn argument(node: &Node) -> Option<LockArgument> {
    match node.node.as_ref()? {
        NodeEnum::AConst(constant) if constant.isnull => Some(LockArgument::Constant(None)),
        NodeEnum::AConst(constant) => match constant.val.as_ref()? {
            a_const::Val::Ival(value) => Some(LockArgument::Constant(Some(value.ival.into()))),
            a_const::Val::Fval(value) => {
                Some(LockArgument::Constant(Some(value.fval.parse().ok()?)))
            }
            a_const::Val::Sval(text) => {
                Some(LockArgument::Constant(Some(text.sval.trim().parse().ok()?)))
            }
            _ => None,
        },
        NodeEnum::ParamRef(parameter) => Some(LockArgument::Parameter(
            usize::try_from(parameter.number).ok()?,
        )),
        NodeEnum::TypeCast(cast) => {
            let to = cast.type_name.as_ref()?;
            let whole = matches!(super::name::catalog(to), "int2" | "int4" | "int8");
            match argument(cast.arg.as_ref()?) {
                Some(argument) if whole => Some(argument),
                _ => expression(node),
            }
        }
        _ => expression(node),
    }
}

/// One that the server works out by itself: no column, no query.
fn expression(node: &Node) -> Option<LockArgument> {
    let inner = node.node.as_ref()?;
    let depends = any(inner, &mut |node| {
        matches!(
            node,
            Ref::ColumnRef(_) | Ref::SelectStmt(_) | Ref::SubLink(_)
        )
    });
    if depends {
        return None;
    }
    let mut select = SelectStmt::default();
    if let Some(NodeEnum::SelectStmt(read)) =
        crate::sql::Statement::read("SELECT 1").ok()?.pop()?.node()
    {
        select = (**read).clone();
    }
    if let Some(NodeEnum::ResTarget(target)) = select
        .target_list
        .first_mut()
        .and_then(|target| target.node.as_mut())
    {
        target.val = Some(Box::new(node.clone()));
    }
    let text = tree::verify_print(&NodeEnum::SelectStmt(Box::new(select))).ok()?;
    let text = text.strip_prefix("SELECT ")?.to_owned();
    let parameters = parameters_of(inner)?;
    Some(LockArgument::Expression(LockExpression {
        text,
        parameters,
    }))
}

/// The parameters of an expression, with what its own words say of their types.
fn parameters_of(node: &NodeEnum) -> Option<BTreeMap<usize, KeyParameter>> {
    let mut found = BTreeMap::new();
    let mut valid = true;
    let parameter = |node: &Node| match &node.node {
        Some(NodeEnum::ParamRef(parameter)) => usize::try_from(parameter.number).ok(),
        _ => None,
    };
    tree::walk(Ref::of(node), &mut |node| {
        let (number, kind) = match node {
            Ref::TypeCast(cast) => {
                let number = cast.arg.as_deref().and_then(parameter);
                let kind = cast.type_name.as_ref().map(super::name::catalog);
                (number, kind.map_or(KeyParameter::Unknown, kind_of))
            }
            Ref::FuncCall(call) if takes_text(build::last(&call.funcname)) => {
                let number = call.args.first().and_then(parameter);
                (number, KeyParameter::Text)
            }
            Ref::ParamRef(parameter) => {
                let number = usize::try_from(parameter.number).ok();
                valid &= number.is_some_and(|number| number > 0);
                (number, KeyParameter::Unknown)
            }
            _ => (None, KeyParameter::Unknown),
        };
        if let Some(number) = number {
            // Whatever holds it comes first.
            found.entry(number).or_insert(kind);
        }
        Descent::Into
    });
    valid.then_some(found)
}

fn kind_of(name: &str) -> KeyParameter {
    match name {
        "int2" | "int4" | "int8" => KeyParameter::Number,
        "text" | "varchar" | "bpchar" | "name" => KeyParameter::Text,
        _ => KeyParameter::Unknown,
    }
}

/// Functions whose first argument is a text if nothing else is said.
fn takes_text(function: &str) -> bool {
    matches!(
        function,
        "hashtext" | "hashtextextended" | "md5" | "lower" | "upper" | "length"
    )
}

/// What the server gets to describe: the same parameters, the same column.
fn stand_in(call: &LockCall, name: &str) -> String {
    let value = if has_truth(call.wish) {
        "true"
    } else {
        "''::void"
    };
    let kind = match call.arguments.len() {
        1 => "bigint",
        _ => "int",
    };
    let parameters: Vec<String> = call
        .arguments
        .iter()
        .filter_map(|argument| match argument {
            LockArgument::Parameter(number) => Some(format!("(${number})::{kind}")),
            LockArgument::Expression(key) if !key.parameters.is_empty() => Some(key.text.clone()),
            LockArgument::Expression(_) | LockArgument::Constant(_) => None,
        })
        .collect();
    let value = match parameters.is_empty() {
        true => value.to_owned(),
        false => format!(
            "(SELECT {value} FROM (SELECT {}) AS key)",
            parameters.join(", ")
        ),
    };
    format!("{value} AS {}", build::quoted(name))
}

/// `SELECT pg_advisory_unlock_all()` alone, as in reset scripts.
pub(super) fn unlock_all(tree: &NodeEnum, case: &Case<'_>) -> Option<(Answer, String)> {
    let (Procedure::AdvisoryLock(lock), _) = locks(tree, case)? else {
        return None;
    };
    let [call] = lock.calls.as_slice() else {
        return None;
    };
    (call.wish == LockWish::UnlockAll).then(|| {
        let answer = Answer::Rows {
            columns: lock.columns,
            rows: vec![vec![Some(String::new())]],
        };
        (answer, String::new())
    })
}

/// Any advisory lock function elsewhere in a statement.
pub(super) fn elsewhere(tree: &NodeEnum, case: &Case<'_>) -> Vec<String> {
    let functions = &case.survey(tree).functions;
    let mut found = functions
        .iter()
        .filter(|name| name.starts_with("pg_advisory_") || name.starts_with("pg_try_advisory_"));
    found.next().cloned().into_iter().collect()
}
