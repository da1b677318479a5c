//! Small pieces of syntax tree.

use pg_query::protobuf::{AConst, DefElem, Integer, RangeVar, TypeName, a_const};
use pg_query::{Node, NodeEnum, protobuf};

use super::{text, unprintable};
use crate::sql::Statement;
use crate::wire::reply::ClientError;

/// A node where the grammar allows several kinds.
pub(in crate::policy) fn node(node: NodeEnum) -> Node {
    Node { node: Some(node) }
}

/// An identifier or string in a list.
pub(in crate::policy) fn string(text: &str) -> Node {
    node(NodeEnum::String(protobuf::String {
        sval: text.to_owned(),
    }))
}

/// An integer constant.
pub(super) fn integer(value: i32) -> Node {
    node(NodeEnum::AConst(AConst {
        isnull: false,
        location: 0,
        val: Some(a_const::Val::Ival(Integer { ival: value })),
    }))
}

/// An option with a number.
pub(super) fn option(name: &str, value: i32) -> Node {
    node(NodeEnum::DefElem(Box::new(DefElem {
        defname: name.to_owned(),
        arg: Some(Box::new(node(NodeEnum::Integer(Integer { ival: value })))),
        defaction: protobuf::DefElemAction::DefelemUnspec as i32,
        ..DefElem::default()
    })))
}

/// A type of the catalog.
pub(super) fn catalog_type(name: &str) -> TypeName {
    TypeName {
        names: vec![string("pg_catalog"), string(name)],
        typemod: -1,
        ..TypeName::default()
    }
}

/// A type by its name alone, such as `text`.
pub(super) fn plain_type(name: &str) -> TypeName {
    TypeName {
        names: vec![string(name)],
        typemod: -1,
        ..TypeName::default()
    }
}

/// The strings of a list.
pub(in crate::policy) fn strings(nodes: &[Node]) -> Vec<&str> {
    nodes
        .iter()
        .filter_map(|node| match &node.node {
            Some(NodeEnum::String(text)) => Some(text.sval.as_str()),
            _ => None,
        })
        .collect()
}

/// The last of the strings, the name itself of a qualified one.
pub(in crate::policy) fn last(nodes: &[Node]) -> &str {
    strings(nodes).last().copied().unwrap_or_default()
}

/// The options of a list.
pub(super) fn options(nodes: &[Node]) -> impl Iterator<Item = &DefElem> {
    nodes.iter().filter_map(|node| match &node.node {
        Some(NodeEnum::DefElem(option)) => Some(&**option),
        _ => None,
    })
}

/// Value of an option as a number.
pub(super) fn number(option: &DefElem) -> Option<i64> {
    match option.arg.as_ref()?.node.as_ref()? {
        NodeEnum::Integer(value) => Some(i64::from(value.ival)),
        NodeEnum::Float(value) => value.fval.parse().ok(),
        _ => None,
    }
}

/// Value of an option as a word.
pub(super) fn word(option: &DefElem) -> Option<String> {
    match option.arg.as_ref()?.node.as_ref()? {
        NodeEnum::String(value) => Some(value.sval.clone()),
        NodeEnum::TypeName(name) => Some(last(&name.names).to_owned()),
        NodeEnum::Integer(value) => Some(value.ival.to_string()),
        NodeEnum::Boolean(value) => Some(value.boolval.to_string()),
        NodeEnum::List(list) => Some(last(&list.items).to_owned()),
        _ => None,
    }
}

/// An identifier in quotes.
pub(in crate::policy) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string constant.
pub(in crate::policy) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A table's name in quotes, with its schema if it has one.
pub(super) fn relation(name: &RangeVar) -> String {
    if name.schemaname.is_empty() {
        quoted(&name.relname)
    } else {
        format!("{}.{}", quoted(&name.schemaname), quoted(&name.relname))
    }
}

/// The tree of a text of one statement.
pub(in crate::policy) fn parsed(sql: &str) -> Result<NodeEnum, ClientError> {
    let failed = |problem: String| unprintable(&crate::sql::tree::PrintError::Read(problem));
    let mut read = Statement::read(sql).map_err(|error| failed(error.to_string()))?;
    match (read.pop().map(|statement| statement.tree), read.is_empty()) {
        (Some(crate::sql::Tree::Node(node)), true) => Ok(*node),
        _ => Err(failed(sql.to_owned())),
    }
}

/// A statement's text in normal spelling, without needless quotes.
pub(super) fn normal(sql: &str) -> Result<String, ClientError> {
    let failed = |problem: String| unprintable(&crate::sql::tree::PrintError::Read(problem));
    let read = Statement::read(sql).map_err(|error| failed(error.to_string()))?;
    match read.as_slice() {
        [
            Statement {
                tree: crate::sql::Tree::Node(node),
                asynchronous,
                ..
            },
        ] => text(node, *asynchronous).map_err(|error| unprintable(&error)),
        _ => Err(failed(sql.to_owned())),
    }
}
