//! Columns of composite types and of arrays of them: kept as JSON, by the names of the attributes.
//!
//! What COPY brings is a text as the type itself writes it, and stays so: both are read.

use pg_query::protobuf::TypeName;
use pg_query::{Node, NodeEnum};

use super::{StandIn, type_name};
use crate::policy::dialect::build;
use crate::sql::tree::{self, Descent, Mut, walk_mut};

/// Bytes of the name of a domain at most.
const NAME: usize = 63;

/// What any text of such a value begins with. It does not name the type, which is to go without its domain.
pub(super) const CHECK: &str = "value IS NULL OR value ~ '^[[({]'";

/// How values are read and written: expressions with `$1` in the place of the value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record {
    read: Node,
    write: Node,
}

impl Record {
    /// A value to be written, as JSON. What is left of a text of several statements is translated again.
    pub fn written(&self, value: Node) -> Node {
        match within(&value) {
            Some(inner) if same(&filled(&self.write, inner), &value) => value,
            _ => filled(&self.write, &value),
        }
    }

    /// The expression reads such a column already.
    pub fn is_seen(&self, expression: &Node) -> bool {
        let otherwise = match &expression.node {
            Some(NodeEnum::CaseExpr(case)) => case.defresult.as_deref(),
            _ => None,
        };
        let column = otherwise.and_then(cast_from);
        column.is_some_and(|column| same(&filled(&self.read, column), expression))
    }

    pub fn seen(&self, column: Node) -> Node {
        filled(&self.read, &column)
    }
}

/// The name of the domain for a composite type, or an array of it; `None`: it would be too long.
pub(super) fn spelling(schema: &str, name: &str, array: bool) -> Option<String> {
    let brackets = if array { "[]" } else { "" };
    let plain = format!("{schema}.{name}{brackets}");
    let text = match is_plain(schema) && is_plain(name) && stands_for(&plain, schema, name) {
        true => plain,
        false => format!(
            "{}.{}{brackets}",
            build::quoted(schema),
            build::quoted(name)
        ),
    };
    (text.len() <= NAME && stands_for(&text, schema, name)).then_some(text)
}

fn is_plain(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_lowercase() || c == '_';
    name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit())
}

fn stands_for(text: &str, schema: &str, name: &str) -> bool {
    type_name(text).is_some_and(|read| build::strings(&read.names) == [schema, name])
}

/// The composite type that a domain of this name stands for.
pub(super) fn named(domain: &str) -> Option<StandIn> {
    let kind: TypeName = type_name(domain)?;
    let names = build::strings(&kind.names);
    let [schema, name] = names.as_slice() else {
        return None;
    };
    let array = !kind.array_bounds.is_empty();
    if *schema == "pg_catalog" || spelling(schema, name, array)? != domain {
        return None;
    }
    let read = match array {
        false => format!(
            "CASE WHEN pg_catalog.left($1, 1) = '{{' THEN pg_catalog.json_populate_record(NULL::{domain}, $1::json) \
             ELSE $1::{domain} END"
        ),
        true => format!(
            "CASE WHEN pg_catalog.left($1, 1) = '[' THEN (SELECT dsqlproxy_r.v FROM \
             pg_catalog.json_to_record(pg_catalog.json_build_object('v', $1::json)) AS dsqlproxy_r(v {domain})) \
             ELSE $1::{domain} END"
        ),
    };
    let record = Record {
        read: expression(&read)?,
        write: expression(&format!("pg_catalog.to_json($1::{domain})::text"))?,
    };
    Some(StandIn {
        read: kind.clone(),
        write: kind.clone(),
        written: domain.to_owned(),
        base: domain.to_owned(),
        spelling: domain.to_owned(),
        record: Some(record),
    })
}

/// The value in `to_json(value::…)::text`.
fn within(written: &Node) -> Option<&Node> {
    match &cast_from(written)?.node {
        Some(NodeEnum::FuncCall(call)) => cast_from(call.args.first()?),
        _ => None,
    }
}

fn cast_from(node: &Node) -> Option<&Node> {
    match &node.node {
        Some(NodeEnum::TypeCast(cast)) => cast.arg.as_deref(),
        _ => None,
    }
}

fn same(one: &Node, other: &Node) -> bool {
    match (&one.node, &other.node) {
        (Some(one), Some(other)) => tree::same(one, other),
        _ => false,
    }
}

fn expression(text: &str) -> Option<Node> {
    let NodeEnum::SelectStmt(mut select) = build::parsed(&format!("SELECT {text}")).ok()? else {
        return None;
    };
    match select.target_list.pop()?.node? {
        NodeEnum::ResTarget(target) => target.val.map(|value| *value),
        _ => None,
    }
}

/// The expression with a value in its place.
fn filled(expression: &Node, value: &Node) -> Node {
    let mut new = build::node(NodeEnum::List(pg_query::protobuf::List {
        items: vec![expression.clone()],
    }));
    if let Some(root) = &mut new.node {
        walk_mut(Mut::of(root), &mut |node| {
            if let Mut::Slot(slot) = node
                && let Some(NodeEnum::ParamRef(_)) = &slot.node
            {
                **slot = value.clone();
                return Descent::Over;
            }
            Descent::Into
        });
    }
    match new.node {
        Some(NodeEnum::List(mut list)) => list.items.pop().unwrap_or_default(),
        _ => Node::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_of_composite_types() {
        let long = "a".repeat(60);
        let cases = [
            ("public", "typ1", false, Some("public.typ1")),
            ("public", "typ1", true, Some("public.typ1[]")),
            ("My s", "T\"x", true, Some("\"My s\".\"T\"\"x\"[]")),
            ("select", "t", false, Some("\"select\".\"t\"")),
            ("public", &long, false, None),
        ];
        for (schema, name, array, expected) in cases {
            let found = spelling(schema, name, array);
            assert_eq!(found.as_deref(), expected);
            if let Some(found) = found {
                let stands = StandIn::named(&found).unwrap();
                assert_eq!(StandIn::of(&stands.domain()), Some(stands));
            }
        }
        assert_eq!(StandIn::named("pg_catalog.mood"), None);
        assert_eq!(StandIn::named("mood"), None);
    }
}
