//! Settings in queries: `current_setting`, `set_config`, `pg_settings`.

use pg_query::protobuf::{Alias, FuncCall, RangeFunction, a_const};
use pg_query::{Node, NodeEnum};

use super::dialect;
use super::settings::read_switch;
use crate::sql::tree::{Descent, Mut, Ref, walk, walk_mut};
use crate::sql::{Statement, Tree};
use crate::wire::reply::ClientError;

/// A call of a function about one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The setting, in lower case.
    pub name: String,
    /// What is to be done with it.
    pub wish: Wish,
}

/// What a call asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// Its value; NULL if there is no such setting and `or_null`.
    Show {
        /// `missing_ok`.
        or_null: bool,
    },
    /// Another value; `None` is the default.
    Set {
        /// As text.
        value: Given,
        /// Until the transaction ends.
        local: bool,
    },
}

/// An argument of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// A constant, as text.
    Text(Option<String>),
    /// The parameter of this number.
    Parameter(i32),
}

/// What takes the place of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The server knows it.
    Server,
    /// This value.
    Value(Option<String>),
    /// The parameter of this number.
    Parameter(i32),
}

/// The query's text with values in the place of settings that the server does not know. `ask` is
/// given each call with constants, `pid` is that of `pg_backend_pid()`; `list` gives the names and values that take precedence over those
/// of the server's `pg_settings`.
///
/// # Errors
/// What `ask` says, or that the text cannot be made.
pub fn replace(
    statement: &Statement,
    pid: u32,
    ask: &mut dyn FnMut(Call) -> Result<Found, ClientError>,
    list: &dyn Fn() -> Vec<(String, String)>,
) -> Result<Option<String>, ClientError> {
    let Some(node) = statement.node() else {
        return Ok(None);
    };
    let strings = strings(node);
    let mut tree = node.clone();
    let mut changed = false;
    let mut failed = None;
    walk_mut(Mut::of(&mut tree), &mut |node| {
        if failed.is_some() {
            return Descent::Over;
        }
        let outcome = match node {
            Mut::ResTarget(target) => name_target(target),
            Mut::Slot(slot) if is_pid(slot) => {
                slot.node = parsed(&format!("SELECT {pid}")).and_then(first_target);
                Ok(true)
            }
            Mut::Slot(slot) => replace_slot(slot, &strings, ask, list),
            _ => Ok(false),
        };
        match outcome {
            Ok(false) => Descent::Into,
            Ok(true) if matches!(node, Mut::ResTarget(_)) => Descent::Into,
            Ok(true) => {
                changed = true;
                Descent::Over
            }
            Err(error) => {
                failed = Some(error);
                Descent::Over
            }
        }
    });
    match (failed, changed) {
        (Some(error), _) => Err(error),
        (None, false) => Ok(None),
        (None, true) => dialect::text(&tree, false)
            .map(Some)
            .map_err(|error| dialect::unprintable(&error)),
    }
}

/// A column that would have the function's name keeps it.
fn name_target(target: &mut pg_query::protobuf::ResTarget) -> Result<bool, ClientError> {
    if target.name.is_empty()
        && target.indirection.is_empty()
        && let Some(NodeEnum::FuncCall(call)) =
            target.val.as_ref().and_then(|value| value.node.as_ref())
        && (is_about_settings(call) || function(call) == "pg_backend_pid")
    {
        target.name = function(call).to_owned();
        return Ok(true);
    }
    Ok(false)
}

fn replace_slot(
    slot: &mut Node,
    strings: &[String],
    ask: &mut dyn FnMut(Call) -> Result<Found, ClientError>,
    list: &dyn Fn() -> Vec<(String, String)>,
) -> Result<bool, ClientError> {
    match &slot.node {
        Some(NodeEnum::FuncCall(call)) if is_about_settings(call) => {
            let Some(call) = read_call(call, strings) else {
                return Ok(false);
            };
            match ask(call)? {
                Found::Server => Ok(false),
                Found::Parameter(number) => {
                    slot.node = parsed(&format!("SELECT ${number}::text")).and_then(first_target);
                    Ok(true)
                }
                Found::Value(value) => {
                    slot.node = parsed(&format!("SELECT {}", constant(value.as_deref())))
                        .and_then(first_target);
                    Ok(true)
                }
            }
        }
        Some(NodeEnum::RangeVar(table))
            if table.relname == "pg_settings"
                && matches!(table.schemaname.as_str(), "" | "pg_catalog") =>
        {
            let alias = table.alias.clone();
            list_settings(slot, alias, strings, list())
        }
        Some(NodeEnum::RangeFunction(call)) if is_list(call) => {
            let alias = call.alias.clone();
            list_settings(slot, alias, strings, list())
        }
        _ => Ok(false),
    }
}

fn function(call: &FuncCall) -> &str {
    match call.funcname.last().and_then(|name| name.node.as_ref()) {
        Some(NodeEnum::String(name)) => &name.sval,
        _ => "",
    }
}

fn is_about_settings(call: &FuncCall) -> bool {
    matches!(function(call), "set_config" | "current_setting")
}

fn is_pid(slot: &Node) -> bool {
    matches!(&slot.node, Some(NodeEnum::FuncCall(call)) if function(call) == "pg_backend_pid" && call.args.is_empty())
}

fn is_list(call: &RangeFunction) -> bool {
    let mut found = false;
    for function_list in &call.functions {
        let Some(NodeEnum::List(list)) = &function_list.node else {
            continue;
        };
        found |= list.items.iter().any(|item| {
            matches!(&item.node, Some(NodeEnum::FuncCall(call)) if function(call) == "pg_show_all_settings")
        });
    }
    found
}

/// All string constants of a query.
fn strings(node: &NodeEnum) -> Vec<String> {
    let mut strings = Vec::new();
    walk(Ref::of(node), &mut |node| {
        if let Ref::AConst(constant) = node
            && let Some(a_const::Val::Sval(text)) = &constant.val
        {
            strings.push(text.sval.clone());
        }
        Descent::Into
    });
    strings
}

fn read_call(call: &FuncCall, strings: &[String]) -> Option<Call> {
    let (name, rest) = call.args.split_first()?;
    let name = match text_of(name) {
        Some(name) => name?,
        // `name` of a row of pg_settings that is picked by its name.
        None if is_column(name, "name") => {
            let known = |text: &&String| {
                super::settings::find(&text.to_lowercase(), super::settings::Scope::All).is_some()
            };
            let mut known = strings.iter().filter(known);
            let only = known.next()?;
            known.next().is_none().then(|| only.clone())?
        }
        None => return None,
    };
    let name = name.to_lowercase();
    let wish = match (function(call), rest) {
        ("current_setting", []) => Wish::Show { or_null: false },
        ("current_setting", [or_null]) => Wish::Show {
            or_null: switch_of(or_null)?,
        },
        ("set_config", [value, local]) => Wish::Set {
            value: match parameter_of(value) {
                Some(number) => Given::Parameter(number),
                None => Given::Text(text_of(value)?),
            },
            local: switch_of(local)?,
        },
        _ => return None,
    };
    Some(Call { name, wish })
}

/// A constant as text; the inner `None` is NULL.
fn text_of(node: &Node) -> Option<Option<String>> {
    match node.node.as_ref()? {
        NodeEnum::AConst(constant) if constant.isnull => Some(None),
        NodeEnum::AConst(constant) => match constant.val.as_ref()? {
            a_const::Val::Sval(text) => Some(Some(text.sval.clone())),
            a_const::Val::Ival(value) => Some(Some(value.ival.to_string())),
            a_const::Val::Fval(value) => Some(Some(value.fval.clone())),
            a_const::Val::Boolval(value) => Some(Some(value.boolval.to_string())),
            a_const::Val::Bsval(_) => None,
        },
        NodeEnum::TypeCast(cast) => text_of(cast.arg.as_ref()?),
        _ => None,
    }
}

fn parameter_of(node: &Node) -> Option<i32> {
    match node.node.as_ref()? {
        NodeEnum::ParamRef(parameter) => Some(parameter.number),
        NodeEnum::TypeCast(cast) => parameter_of(cast.arg.as_ref()?),
        _ => None,
    }
}

fn switch_of(node: &Node) -> Option<bool> {
    read_switch(&text_of(node)??)
}

fn is_column(node: &Node, name: &str) -> bool {
    match &node.node {
        Some(NodeEnum::ColumnRef(column)) => {
            let last = column.fields.last().and_then(|field| field.node.as_ref());
            matches!(last, Some(NodeEnum::String(text)) if text.sval == name)
        }
        Some(NodeEnum::TypeCast(cast)) => cast.arg.as_ref().is_some_and(|arg| is_column(arg, name)),
        _ => false,
    }
}

fn constant(value: Option<&str>) -> String {
    match value {
        Some(value) => format!("'{}'::text", value.replace('\'', "''")),
        None => "NULL::text".to_owned(),
    }
}

/// The server's settings, with those that the proxy keeps in place of its own.
fn list_settings(
    slot: &mut Node,
    alias: Option<Alias>,
    strings: &[String],
    mut kept: Vec<(String, String)>,
) -> Result<bool, ClientError> {
    // A query that names settings is about these alone.
    let named = |name: &str| strings.iter().any(|text| text.eq_ignore_ascii_case(name));
    if kept.iter().any(|(name, _)| named(name)) {
        kept.retain(|(name, _)| named(name));
    }
    let names: Vec<String> = kept
        .iter()
        .map(|(name, _)| format!("'{}'", name.replace('\'', "''")))
        .collect();
    let columns = "name, setting, unit, category, short_desc, extra_desc, context, vartype, source, \
                   min_val, max_val, enumvals, boot_val, reset_val, sourcefile, sourceline, \
                   pending_restart";
    let mut query = format!("SELECT {columns} FROM pg_catalog.pg_settings");
    if !names.is_empty() {
        query.push_str(&format!(" WHERE name NOT IN ({})", names.join(", ")));
    }
    for (name, value) in &kept {
        let (name, value) = (constant(Some(name)), constant(Some(value)));
        query.push_str(&format!(
            " UNION ALL SELECT {name}, {value}, NULL, '', '', NULL, 'user', 'string', 'default', \
             NULL, NULL, NULL, {value}, {value}, NULL, NULL, false"
        ));
    }
    let node = parsed(&format!("SELECT 1 FROM ({query}) AS pg_settings"));
    let Some(NodeEnum::SelectStmt(mut select)) = node else {
        return Ok(false);
    };
    let Some(mut table) = select.from_clause.pop() else {
        return Ok(false);
    };
    if let (Some(NodeEnum::RangeSubselect(table)), Some(alias)) = (&mut table.node, alias) {
        table.alias = Some(alias);
    }
    *slot = table;
    Ok(true)
}

fn parsed(text: &str) -> Option<NodeEnum> {
    let statement = Statement::read(text).ok()?.pop()?;
    match statement.tree {
        Tree::Node(node) => Some(*node),
        Tree::Iam { .. } => None,
    }
}

fn first_target(node: NodeEnum) -> Option<NodeEnum> {
    let NodeEnum::SelectStmt(mut select) = node else {
        return None;
    };
    match select.target_list.pop()?.node? {
        NodeEnum::ResTarget(target) => target.val?.node,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(text: &str) -> Option<String> {
        let statement = Statement::read(text).unwrap().pop().unwrap();
        let mut ask = |call: Call| {
            Ok(match (call.name.as_str(), call.wish) {
                ("search_path", _) => Found::Server,
                ("gone", Wish::Show { or_null: true }) => Found::Value(None),
                ("gone", _) => return Err(ClientError::error("42704", "gone")),
                (
                    _,
                    Wish::Set {
                        value: Given::Text(value),
                        ..
                    },
                ) => Found::Value(value),
                (
                    _,
                    Wish::Set {
                        value: Given::Parameter(number),
                        ..
                    },
                ) => Found::Parameter(number),
                (_, Wish::Show { .. }) => Found::Value(Some("4MB".into())),
            })
        };
        let list = || {
            vec![
                ("jit".into(), "off".into()),
                ("work_mem".into(), "4MB".into()),
            ]
        };
        replace(&statement, 77, &mut ask, &list).unwrap_or_else(|error| Some(error.message))
    }

    #[test]
    fn values_take_the_place_of_calls() {
        let cases = [
            (
                "SELECT current_setting('work_mem')",
                Some("SELECT '4MB'::text AS current_setting"),
            ),
            (
                "SELECT current_setting('WORK_MEM') AS a, pg_catalog.set_config('jit', 'off', false), now()",
                Some("SELECT '4MB'::text AS a, 'off'::text AS set_config, now()"),
            ),
            ("SELECT set_config('search_path', '', false)", None),
            ("SELECT current_setting('gone')", Some("gone")),
            (
                "SELECT current_setting('gone', true) IS NULL",
                Some("SELECT NULL::text IS NULL"),
            ),
            ("SELECT current_setting($1)", None),
            (
                "SELECT set_config('jit', $1, false)",
                Some("SELECT $1::text AS set_config"),
            ),
            (
                "SELECT pg_backend_pid(), f(pg_catalog.pg_backend_pid() + 1)",
                Some("SELECT 77 AS pg_backend_pid, f(77 + 1)"),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(replaced(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn the_list_of_settings_is_the_sessions() {
        let text = "SELECT set_config(name, 'on', false) FROM pg_settings WHERE name = 'jit'";
        let replaced = replaced(text).unwrap();
        assert!(
            replaced.starts_with("SELECT 'on'::text AS set_config FROM (SELECT name, setting,"),
            "{replaced}"
        );
        assert!(
            replaced.contains("'off'::text") && !replaced.contains("work_mem"),
            "{replaced}"
        );
        assert!(
            replaced.ends_with(") pg_settings WHERE name = 'jit'"),
            "{replaced}"
        );
    }
}
