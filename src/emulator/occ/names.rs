//! Which tables a statement names, and the same statement with other tables put in their place.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use serde_json::Value;

use crate::sql::scan::{Token, Tokens};
use crate::sql::statement::{Statement, Tree};

/// A table's name in a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    /// Schema, when it is written.
    pub schema: Option<String>,
    /// Table.
    pub relation: String,
    /// Whether rows of it are written.
    pub target: bool,
    aliased: bool,
    span: Range<usize>,
}

impl Name {
    /// As SQL.
    pub fn quoted(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{}.{}", quote(schema), quote(&self.relation)),
            None => quote(&self.relation),
        }
    }
}

/// The names of a statement.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Tables, without those that WITH defines.
    pub tables: Vec<Name>,
    /// `schema.table.column` and the like: schema, table, and where both stand.
    columns: Vec<(String, String, Range<usize>)>,
}

impl Names {
    /// Of a statement whose text is `statement.text`.
    pub fn read(statement: &Statement) -> Self {
        let mut names = Self::default();
        let Tree::Node(tree) = &statement.tree else {
            return names;
        };
        let Ok(tree) = serde_json::to_value(tree) else {
            return names;
        };
        let mut walk = Walk {
            text: &statement.text,
            start: statement.span.start,
            defined: HashSet::new(),
            names: &mut names,
        };
        walk.visit(&tree, "", "");
        let defined = walk.defined;
        names
            .tables
            .retain(|name| name.schema.is_some() || !defined.contains(&name.relation));
        names
    }

    /// The text with tables replaced: `places` maps a name as SQL to the name of a temporary table.
    pub fn replace(&self, text: &str, places: &HashMap<String, String>) -> String {
        let mut edits: Vec<(Range<usize>, String)> = Vec::new();
        for name in &self.tables {
            let Some(place) = places.get(&name.quoted()) else {
                continue;
            };
            let mut words = format!("pg_temp.{}", quote(place));
            if *place != name.relation && !name.aliased {
                words = format!("{words} AS {}", quote(&name.relation));
            }
            edits.push((name.span.clone(), words));
        }
        for (schema, table, span) in &self.columns {
            if places.contains_key(&format!("{}.{}", quote(schema), quote(table))) {
                edits.push((span.clone(), quote(table)));
            }
        }
        edits.sort_by_key(|(span, _)| span.start);
        let mut out = String::with_capacity(text.len() + 16 * edits.len());
        let mut at = 0;
        for (span, words) in edits {
            if span.start < at {
                continue;
            }
            out.push_str(&text[at..span.start]);
            out.push_str(&words);
            at = span.end;
        }
        out.push_str(&text[at..]);
        out
    }
}

struct Walk<'a> {
    text: &'a str,
    start: usize,
    defined: HashSet<String>,
    names: &'a mut Names,
}

impl Walk<'_> {
    /// `node` is what stands in `field` of a node of type `parent`.
    fn visit(&mut self, node: &Value, parent: &str, field: &str) {
        match node {
            Value::Array(items) => {
                for item in items {
                    self.visit(item, parent, field);
                }
            }
            Value::Object(fields) => {
                if fields.contains_key("relname") && fields.contains_key("relpersistence") {
                    self.take_table(node, parent, field);
                }
                if let Some(name) = fields.get("ctename").and_then(Value::as_str) {
                    self.defined.insert(name.to_owned());
                }
                for (name, value) in fields {
                    if name == "ColumnRef" {
                        self.take_column(value);
                    }
                    // A node's type is the key it stands under; all others are fields.
                    if name.starts_with(|first: char| first.is_ascii_uppercase()) {
                        let reads = name == "CopyStmt" && value["is_from"] != Value::Bool(true);
                        self.visit(value, if reads { "" } else { name }, field);
                    } else if name == "node" {
                        self.visit(value, parent, field);
                    } else {
                        self.visit(value, parent, name);
                    }
                }
            }
            _ => {}
        }
    }

    fn take_table(&mut self, node: &Value, parent: &str, field: &str) {
        let (Some(relation), Some(span)) = (node["relname"].as_str(), self.span(node, 3)) else {
            return;
        };
        let writes = ["InsertStmt", "UpdateStmt", "DeleteStmt", "CopyStmt"];
        let schema = node["schemaname"].as_str().unwrap_or_default();
        self.names.tables.push(Name {
            schema: (!schema.is_empty()).then(|| schema.to_owned()),
            relation: relation.to_owned(),
            target: field == "relation" && writes.contains(&parent),
            aliased: !node["alias"].is_null(),
            span,
        });
    }

    fn take_column(&mut self, node: &Value) {
        let Some(fields) = node["fields"].as_array() else {
            return;
        };
        let word = |at: usize| fields.get(at)?["node"]["String"]["sval"].as_str();
        let (3, Some(schema), Some(table)) = (fields.len(), word(0), word(1)) else {
            return;
        };
        if let Some(span) = self.span(node, 2) {
            let column = (schema.to_owned(), table.to_owned(), span);
            self.names.columns.push(column);
        }
    }

    /// The dotted name, of `parts` parts at most, that begins at the node's location.
    fn span(&self, node: &Value, parts: usize) -> Option<Range<usize>> {
        let location = usize::try_from(node["location"].as_i64()?).ok()?;
        let start = location.checked_sub(self.start)?;
        let text = self.text.get(start..)?;
        let mut tokens = Tokens::new(text.as_bytes());
        let mut end = None;
        for _ in 0..parts {
            match tokens.next() {
                Some(Token::Word(_) | Token::Quoted(_)) => end = Some(start + tokens.span().end),
                _ => break,
            }
            if tokens.next() != Some(Token::Symbol(b'.')) {
                break;
            }
        }
        end.map(|end| start..end)
    }
}

/// Quotes an identifier, whether it needs that or not.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::statement::parse;

    fn names(text: &str) -> (Statement, Names) {
        let statement = parse(text).unwrap().remove(0);
        let names = Names::read(&statement);
        (statement, names)
    }

    #[test]
    fn targets_and_sources_are_told_apart() {
        for (text, expected) in [
            ("INSERT INTO t SELECT * FROM public.u", "t! public.u"),
            ("UPDATE a.t SET x = 1 FROM u WHERE t.id = u.id", "a.t! u"),
            (
                "DELETE FROM t USING u WHERE EXISTS (SELECT FROM v)",
                "t! u v",
            ),
            (
                "WITH w AS (DELETE FROM t RETURNING *) INSERT INTO u SELECT * FROM w",
                "u! t!",
            ),
            ("COPY t (a) FROM STDIN", "t!"),
            ("COPY t TO STDOUT", "t"),
            ("SELECT 1", ""),
        ] {
            let (_, names) = names(text);
            let mut found: Vec<String> = names
                .tables
                .iter()
                .map(|n| n.quoted().replace('"', "") + if n.target { "!" } else { "" })
                .collect();
            let mut expected: Vec<&str> = expected.split_whitespace().collect();
            found.sort();
            expected.sort_unstable();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn tables_are_replaced_in_the_text() {
        let places = HashMap::from([
            ("\"public\".\"t\"".to_owned(), "t".to_owned()),
            ("\"u\"".to_owned(), "u_7".to_owned()),
        ]);
        for (text, expected) in [
            (
                "UPDATE public . t SET a = 'public.t' WHERE public.t.b = 1",
                "UPDATE pg_temp.\"t\" SET a = 'public.t' WHERE \"t\".b = 1",
            ),
            (
                "SELECT * FROM u, u AS x, v",
                "SELECT * FROM pg_temp.\"u_7\" AS \"u\", pg_temp.\"u_7\" AS x, v",
            ),
            ("SELECT u.a FROM v u", "SELECT u.a FROM v u"),
            (
                "WITH u AS (SELECT 1) SELECT * FROM u",
                "WITH u AS (SELECT 1) SELECT * FROM u",
            ),
        ] {
            let (statement, names) = names(text);
            assert_eq!(names.replace(&statement.text, &places), expected);
        }
        // Offsets count from the statement, not from the string it came in.
        let statement = parse("SELECT 'é'; SELECT * FROM public.t")
            .unwrap()
            .remove(1);
        let replaced = Names::read(&statement).replace(&statement.text, &places);
        assert!(replaced.ends_with("FROM pg_temp.\"t\""), "{replaced}");
    }
}
