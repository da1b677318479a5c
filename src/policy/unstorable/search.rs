//! The search path, as far as it is known, from one statement of a text to the next.

use std::rc::Rc;

use pg_query::NodeEnum;
use pg_query::protobuf::{DiscardMode, FuncCall, VariableSetKind, VariableSetStmt, a_const};
use pg_query::{Node, protobuf};

use crate::policy::dialect::build;
use crate::sql::Statement;
use crate::sql::tree::{Descent, Ref, walk};

/// Where names without a schema are looked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Search {
    /// Schemas; `None`: it is not known which.
    pub path: Option<Rc<[String]>>,
    /// What RESET goes back to.
    pub home: Rc<[String]>,
}

/// The schemas of a search path as SET takes it.
#[must_use]
pub fn names(path: &str) -> Rc<[String]> {
    let names = path
        .split(',')
        .map(|name| name.trim().trim_matches(['"', '\'']).replace("\"\"", "\""));
    names
        .filter(|name| !name.is_empty() && name != "$user")
        .collect()
}

/// Whether a text that changes a setting may change the search path: anything but queries whose
/// `set_config()` names another one.
#[must_use]
pub fn may_set_path(text: &[u8]) -> bool {
    let read = std::str::from_utf8(text).ok().map(Statement::read);
    let Some(Ok(statements)) = read else {
        return true;
    };
    let harmless = |statement: &Statement| {
        let node = statement.node();
        node.is_some_and(|node| {
            matches!(node, NodeEnum::SelectStmt(_)) && configured(node).is_none()
        })
    };
    memchr::memmem::find(text, b"pg_settings").is_some() || !statements.iter().all(harmless)
}

impl Search {
    /// Where tables are made that have no schema; the best guess where it is not known.
    pub(super) fn or_home(&self) -> &[String] {
        self.path.as_ref().unwrap_or(&self.home)
    }

    /// What holds behind a statement of the same text; `None`: the same.
    pub(super) fn behind(&self, node: &NodeEnum, at_start: &Self) -> Option<Self> {
        let path = match node {
            NodeEnum::VariableSetStmt(set) => self.set(set)?,
            NodeEnum::DiscardStmt(discard) if discard.target() == DiscardMode::DiscardAll => {
                Some(Rc::clone(&self.home))
            }
            NodeEnum::TransactionStmt(_) if self == at_start => return None,
            // It depends on where the transaction began, and on SET LOCAL.
            NodeEnum::TransactionStmt(_) => None,
            _ => configured(node)?,
        };
        Some(Self {
            path,
            home: Rc::clone(&self.home),
        })
    }

    fn set(&self, set: &VariableSetStmt) -> Option<Option<Rc<[String]>>> {
        let home = || Some(Rc::clone(&self.home));
        match set.kind() {
            VariableSetKind::VarResetAll => Some(home()),
            _ if set.name != "search_path" => None,
            VariableSetKind::VarSetValue => Some(listed(set)),
            VariableSetKind::VarSetDefault | VariableSetKind::VarReset => Some(home()),
            _ => Some(None),
        }
    }
}

/// The schemas that a SET names, if they are constants.
fn listed(set: &VariableSetStmt) -> Option<Rc<[String]>> {
    let names: Option<Vec<String>> = set.args.iter().map(text).collect();
    let names = names?.into_iter();
    Some(
        names
            .filter(|name| !name.is_empty() && name != "$user")
            .collect(),
    )
}

/// The schemas of a list in one string.
fn in_string(list: &str) -> Option<Rc<[String]>> {
    if list.trim().is_empty() {
        return Some(Rc::default());
    }
    let read = Statement::read(&format!("SET search_path = {list}")).ok()?;
    match read.as_slice() {
        [only] => match only.node()? {
            NodeEnum::VariableSetStmt(set) if set.kind() == VariableSetKind::VarSetValue => {
                listed(set)
            }
            _ => None,
        },
        _ => None,
    }
}

/// What `set_config()` in a statement makes of the path; `None`: nothing.
fn configured(node: &NodeEnum) -> Option<Option<Rc<[String]>>> {
    let mut found = None;
    walk(Ref::of(node), &mut |node| {
        if let Ref::FuncCall(call) = node
            && build::last(&call.funcname) == "set_config"
        {
            found = of_call(call).or(found.take());
        }
        Descent::Into
    });
    found
}

fn of_call(call: &FuncCall) -> Option<Option<Rc<[String]>>> {
    match call.args.first().map(text) {
        Some(Some(name)) if !name.eq_ignore_ascii_case("search_path") => None,
        Some(Some(_)) => {
            let value = call.args.get(1).and_then(text);
            Some(value.and_then(|value| in_string(&value)))
        }
        _ => Some(None),
    }
}

fn text(node: &Node) -> Option<String> {
    match &node.node {
        Some(NodeEnum::AConst(protobuf::AConst {
            val: Some(a_const::Val::Sval(text)),
            ..
        })) => Some(text.sval.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_may_set_the_path() {
        let cases = [
            ("SELECT set_config('jit', $1, false)", false),
            ("SELECT set_config('Search_Path', $1, false)", true),
            ("SELECT set_config($1, $2, false)", true),
            (
                "SELECT set_config('jit', 'off', false), \"set_config\"('search_path', $1, true)",
                true,
            ),
            ("UPDATE pg_settings SET setting = 's'", true),
            (
                "WITH x AS (UPDATE pg_settings SET setting = 's' RETURNING 1) SELECT 1",
                true,
            ),
            ("SET x TO DEFAULT", true),
            ("SELECT set_config('jit', ", true),
        ];
        for (text, expected) in cases {
            assert_eq!(may_set_path(text.as_bytes()), expected, "{text}");
        }
    }
}
