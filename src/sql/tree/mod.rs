//! PostgreSQL's syntax tree: walked, changed, printed.
//!
//! The walk misses nothing: `nodes` names every field of every node, so a grammar with a new one
//! does not compile until it is dealt with.

pub mod nesting;
mod nodes;

use pg_query::protobuf::{CopyStmt, ParseResult, RawStmt};
use pg_query::{Node, NodeEnum};
use thiserror::Error;

pub use nodes::{Mut, Ref};

/// Whether a walk goes on below a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Descent {
    /// Its children are visited.
    Into,
    /// Its children are left out.
    Over,
}

/// Why a changed tree has no text. Nothing is sent upstream then (XX000).
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum PrintError {
    /// The printer does not take the tree.
    #[error("a rewritten statement cannot be printed: {0}")]
    Print(String),
    /// The printed text is not valid.
    #[error("a rewritten statement cannot be read back: {0}")]
    Read(String),
    /// The printed text says something else.
    #[error("a rewritten statement reads back as another one")]
    Different,
}

/// Visits `node` and everything below it, parents first.
pub fn walk<'a>(node: Ref<'a>, visit: &mut dyn FnMut(Ref<'a>) -> Descent) {
    if visit(node) == Descent::Into {
        node.children(&mut |child| walk(child, visit));
    }
}

/// Visits `node` and everything below it, parents first; the visitor may change what it sees. The
/// children visited are those that the node has afterwards.
pub fn walk_mut(mut node: Mut<'_>, visit: &mut dyn FnMut(&mut Mut<'_>) -> Descent) {
    if visit(&mut node) == Descent::Into {
        node.children(&mut |child| walk_mut(child, visit));
    }
}

/// True when some node of the tree satisfies `test`.
pub fn any(node: &NodeEnum, test: &mut dyn FnMut(Ref<'_>) -> bool) -> bool {
    let mut found = false;
    walk(Ref::of(node), &mut |node| {
        found = found || test(node);
        if found { Descent::Over } else { Descent::Into }
    });
    found
}

/// Sets all places in the text to 0, so that trees of different texts can be compared.
pub fn forget_places(node: &mut NodeEnum) {
    walk_mut(Mut::of(node), &mut |node| {
        node.forget_place();
        Descent::Into
    });
}

/// The statement's text in PostgreSQL's normal spelling, on one line.
///
/// # Errors
/// [`PrintError::Print`]: the tree is none of the grammar's.
pub fn print(node: &NodeEnum) -> Result<String, PrintError> {
    if let NodeEnum::CopyStmt(copy) = node {
        check_copy(copy)?;
    }
    check_nodes(node)?;
    let quoted = with_quoted_names(node);
    quoted
        .as_ref()
        .unwrap_or(node)
        .deparse(pg_query::DeparseOptions::default())
        .map_err(|error| PrintError::Print(error.to_string()))
}

/// The printer writes some names as they are: gives the tree with quotes around those that need them.
fn with_quoted_names(node: &NodeEnum) -> Option<NodeEnum> {
    let needed = any(node, &mut |node| match node {
        Ref::WindowDef(window) => !is_bare(&window.name),
        Ref::NamedArgExpr(argument) => !is_bare(&argument.name),
        Ref::FunctionParameter(parameter) => !is_bare(&parameter.name),
        Ref::JoinExpr(join) => {
            let alias = join.join_using_alias.as_ref();
            alias.is_some_and(|alias| !is_bare(&alias.aliasname))
        }
        _ => false,
    });
    needed.then(|| {
        let mut quoted = node.clone();
        walk_mut(Mut::of(&mut quoted), &mut |node| {
            match node {
                Mut::WindowDef(window) => quote(&mut window.name),
                Mut::NamedArgExpr(argument) => quote(&mut argument.name),
                Mut::FunctionParameter(parameter) => quote(&mut parameter.name),
                Mut::JoinExpr(join) => {
                    if let Some(alias) = &mut join.join_using_alias {
                        quote(&mut alias.aliasname);
                    }
                }
                _ => {}
            }
            Descent::Into
        });
        quoted
    })
}

/// A name that means itself without quotes, if it is no word of the grammar's.
fn is_bare(name: &str) -> bool {
    let simple = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    name.bytes().all(simple) && !name.starts_with(|c: char| c.is_ascii_digit())
}

fn quote(name: &mut String) {
    if !is_bare(name) {
        *name = format!("\"{}\"", name.replace('"', "\"\""));
    }
}

/// Built with its own checks the printer stops the process at what it does not know; without them it leaves
/// it out.
fn check_nodes(node: &NodeEnum) -> Result<(), PrintError> {
    let mut unknown = None;
    walk(Ref::of(node), &mut |node| {
        unknown = unknown.or_else(|| unprintable(node));
        match unknown {
            Some(_) => Descent::Over,
            None => Descent::Into,
        }
    });
    match unknown {
        Some(unknown) => Err(PrintError::Print(unknown.to_owned())),
        None => Ok(()),
    }
}

fn unprintable(node: Ref<'_>) -> Option<&'static str> {
    match node {
        // Only pg_upgrade writes these.
        Ref::DefElem(option)
            if option.arg.is_none() && matches!(option.defname.as_str(), "logged" | "unlogged") =>
        {
            Some("LOGGED or UNLOGGED of a sequence")
        }
        Ref::RangeFunction(range) => {
            let call = |item: &Node| match &item.node {
                Some(NodeEnum::List(parts)) => parts.items.first().is_some_and(is_call),
                _ => false,
            };
            (!range.functions.iter().all(call)).then_some("a function in FROM")
        }
        Ref::TypeName(name) => {
            let plain = |modifier: &Node| {
                matches!(
                    &modifier.node,
                    Some(NodeEnum::AConst(_) | NodeEnum::ParamRef(_) | NodeEnum::ColumnRef(_))
                )
            };
            (!name.typmods.iter().all(plain)).then_some("an expression as a type's modifier")
        }
        Ref::ExplainStmt(explain) => {
            let query = explain.query.as_ref().and_then(|query| query.node.as_ref());
            (!query.is_some_and(is_explainable)).then_some("a statement without a plan in EXPLAIN")
        }
        _ => None,
    }
}

/// Whether EXPLAIN can be about it.
///
/// Source: PostgreSQL manual, EXPLAIN, "statement".
#[must_use]
pub fn is_explainable(node: &NodeEnum) -> bool {
    matches!(
        node,
        NodeEnum::SelectStmt(_)
            | NodeEnum::InsertStmt(_)
            | NodeEnum::UpdateStmt(_)
            | NodeEnum::DeleteStmt(_)
            | NodeEnum::MergeStmt(_)
            | NodeEnum::DeclareCursorStmt(_)
            | NodeEnum::CreateTableAsStmt(_)
            | NodeEnum::RefreshMatViewStmt(_)
            | NodeEnum::ExecuteStmt(_)
    )
}

/// What [`print()`] takes where the grammar has a function's call without OVER: not NULLIF, and nothing of
/// SQL/JSON.
#[must_use]
pub fn is_call(node: &Node) -> bool {
    matches!(
        &node.node,
        Some(
            NodeEnum::FuncCall(_)
                | NodeEnum::SqlvalueFunction(_)
                | NodeEnum::TypeCast(_)
                | NodeEnum::CoalesceExpr(_)
                | NodeEnum::MinMaxExpr(_)
                | NodeEnum::XmlExpr(_)
                | NodeEnum::XmlSerialize(_)
        )
    )
}

/// The grammar takes any value for any option of COPY, the printer does not: it reads the values it
/// expects without looking, and the process dies of one that is not there.
fn check_copy(copy: &CopyStmt) -> Result<(), PrintError> {
    for option in &copy.options {
        let Some(NodeEnum::DefElem(option)) = &option.node else {
            return Err(PrintError::Print("an option of COPY".to_owned()));
        };
        let value = option.arg.as_ref().and_then(|value| value.node.as_ref());
        let fits = match (option.defname.as_str(), value) {
            ("format", Some(NodeEnum::String(format))) => {
                matches!(format.sval.as_str(), "text" | "csv" | "binary")
            }
            ("format", _) => false,
            (
                "freeze" | "header",
                None | Some(NodeEnum::String(_) | NodeEnum::Integer(_) | NodeEnum::Boolean(_)),
            ) => true,
            ("freeze" | "header", _) => false,
            ("delimiter" | "null" | "quote" | "escape" | "encoding", value) => {
                matches!(value, Some(NodeEnum::String(_)))
            }
            ("force_quote" | "force_not_null" | "force_null", value) => match value {
                Some(NodeEnum::AStar(_)) => true,
                Some(NodeEnum::List(list)) => are_strings(&list.items),
                _ => false,
            },
            (_, Some(NodeEnum::List(list))) => are_strings(&list.items),
            (
                _,
                None
                | Some(
                    NodeEnum::String(_)
                    | NodeEnum::Integer(_)
                    | NodeEnum::Float(_)
                    | NodeEnum::AStar(_),
                ),
            ) => true,
            _ => false,
        };
        if !fits {
            let problem = format!("option {} of COPY", option.defname);
            return Err(PrintError::Print(problem));
        }
    }
    Ok(())
}

fn are_strings(nodes: &[Node]) -> bool {
    nodes
        .iter()
        .all(|node| matches!(node.node, Some(NodeEnum::String(_))))
}

/// Prints a changed tree, reads the text again, and makes sure that it says the same.
///
/// # Errors
/// The text would say something else, or nothing; it must not be used.
pub fn verify_print(node: &NodeEnum) -> Result<String, PrintError> {
    let text = print(node)?;
    let parsed = nesting::read_back(&text).map_err(|error| PrintError::Read(error.to_string()))?;
    let read = only(parsed).ok_or(PrintError::Different)?;
    if same(&read, node) {
        Ok(text)
    } else {
        Err(PrintError::Different)
    }
}

/// Whether two trees say the same, wherever in their texts.
#[must_use]
pub fn same(one: &NodeEnum, other: &NodeEnum) -> bool {
    let (mut one, mut other) = (one.clone(), other.clone());
    forget_places(&mut one);
    forget_places(&mut other);
    one == other
}

fn only(mut parsed: ParseResult) -> Option<NodeEnum> {
    match (parsed.stmts.pop(), parsed.stmts.is_empty()) {
        (Some(RawStmt { stmt, .. }), true) => stmt?.node,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> NodeEnum {
        only(pg_query::parse(text, 0).unwrap().protobuf).unwrap()
    }

    #[test]
    fn the_walk_reaches_names_wherever_they_stand() {
        let text = "WITH a AS (SELECT f1() FROM t1) INSERT INTO t2 SELECT (SELECT max(x) FROM t3), \
             CASE WHEN EXISTS (SELECT FROM t4) THEN 1 END FROM t5 JOIN LATERAL (SELECT FROM t6) y ON f2(1) > 0 \
             ON CONFLICT (b) DO UPDATE SET b = (SELECT 1 FROM t7) RETURNING (SELECT f3() FROM t8)";
        let tree = tree(text);
        let mut tables = Vec::new();
        walk(Ref::of(&tree), &mut |node| {
            if let Ref::RangeVar(table) = node {
                tables.push(table.relname.clone());
            }
            Descent::Into
        });
        tables.sort();
        assert_eq!(
            tables,
            ["t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8"].map(str::to_owned)
        );
        assert!(any(&tree, &mut |node| node.name() == "SubLink"));
        assert!(!any(&tree, &mut |node| node.name() == "LockingClause"));
    }

    #[test]
    fn what_the_printer_does_not_know_is_an_error() {
        let texts = [
            "SELECT * FROM NULLIF(1, 2)",
            "SELECT * FROM ROWS FROM (f(1), JSON_OBJECT('a': 1))",
            "SELECT (SELECT 1 FROM JSON_SCALAR(1) j) FROM t",
        ];
        for text in texts {
            let error = PrintError::Print("a function in FROM".to_owned());
            assert_eq!(print(&tree(text)), Err(error), "{text}");
        }
        let error = PrintError::Print("an expression as a type's modifier".to_owned());
        assert_eq!(print(&tree("SELECT a::numeric(1 + 1)")), Err(error));
        let text = "SELECT * FROM coalesce(1, 2), current_date, greatest(1), CAST(1 AS int), a.f(1) WITH ORDINALITY";
        print(&tree(text)).unwrap();
    }

    #[test]
    fn a_walk_can_stop_above_a_node() {
        let tree = tree("SELECT (SELECT 1 FROM b) FROM a");
        let mut tables = Vec::new();
        walk(Ref::of(&tree), &mut |node| match node {
            Ref::SubLink(_) => Descent::Over,
            Ref::RangeVar(table) => {
                tables.push(table.relname.as_str());
                Descent::Into
            }
            _ => Descent::Into,
        });
        assert_eq!(tables, ["a"]);
    }

    #[test]
    fn a_change_is_printed_and_read_back() {
        let mut tree = tree("SELECT a.x FROM t AS a WHERE EXISTS (SELECT 1 FROM t)");
        walk_mut(Mut::of(&mut tree), &mut |node| {
            if let Mut::RangeVar(table) = node {
                table.schemaname = "s".to_owned();
            }
            Descent::Into
        });
        assert_eq!(
            verify_print(&tree).unwrap(),
            "SELECT a.x FROM s.t a WHERE EXISTS (SELECT 1 FROM s.t)"
        );
    }

    #[test]
    fn a_slot_can_take_another_node() {
        let other = tree("SELECT * FROM (SELECT * FROM t) t");
        let NodeEnum::SelectStmt(other) = other else {
            panic!()
        };
        let mut tree = tree("SELECT 1 FROM t");
        walk_mut(Mut::of(&mut tree), &mut |node| {
            if let Mut::Slot(slot) = node
                && matches!(&slot.node, Some(NodeEnum::RangeVar(_)))
            {
                **slot = other.from_clause[0].clone();
                return Descent::Over;
            }
            Descent::Into
        });
        assert_eq!(
            verify_print(&tree).unwrap(),
            "SELECT 1 FROM (SELECT * FROM t) t"
        );
    }

    /// The printer would read what is not there.
    #[test]
    fn options_of_copy_are_looked_at_before_they_are_printed() {
        let cases = [
            (
                "COPY t FROM STDIN (FREEZE, FORMAT csv, HEADER, FORCE_NOT_NULL (a))",
                true,
            ),
            (
                "COPY t FROM STDIN (DELIMITER ';', NULL '', ON_ERROR ignore, REJECT_LIMIT 5)",
                true,
            ),
            ("COPY t FROM STDIN (FORMAT)", false),
            ("COPY t FROM STDIN (FORMAT weird)", false),
            ("COPY t FROM STDIN (FREEZE, NULL)", false),
            ("COPY t FROM STDIN (DELIMITER 5)", false),
            ("COPY t FROM STDIN (HEADER (a, b))", false),
            ("COPY t FROM STDIN (FORCE_NULL x)", false),
        ];
        for (text, fits) in cases {
            assert_eq!(verify_print(&tree(text)).is_ok(), fits, "{text}");
        }
    }

    #[test]
    fn options_of_sequences_are_looked_at_before_they_are_printed() {
        for (text, fits) in [
            ("CREATE SEQUENCE s CACHE 1 START 5 NO CYCLE", true),
            ("CREATE SEQUENCE s UNLOGGED", false),
            ("ALTER SEQUENCE s LOGGED", false),
            (
                "CREATE TABLE t (a bigint GENERATED ALWAYS AS IDENTITY (LOGGED))",
                false,
            ),
        ] {
            assert_eq!(verify_print(&tree(text)).is_ok(), fits, "{text}");
        }
    }

    #[test]
    fn names_are_quoted_wherever_they_stand() {
        for text in [
            "SELECT rank() OVER \"W\" FROM t WINDOW \"W\" AS (ORDER BY a)",
            "SELECT rank() OVER \"a \"\"b\", sum(a) OVER w, sum(a) OVER (\"A\" ORDER BY a) FROM t \
             WINDOW \"a \"\"b\" AS (), w AS (), \"A\" AS ()",
            "SELECT f(\"A\" := 1, b := 2)",
            "SELECT 1 FROM a JOIN b USING (x) AS \"J\"",
            "CREATE FUNCTION f(\"A\" int, b int) RETURNS int LANGUAGE sql AS $$SELECT 1$$",
        ] {
            assert_eq!(verify_print(&tree(text)).as_deref(), Ok(text));
        }
    }

    #[test]
    fn a_tree_that_prints_otherwise_is_refused() {
        let mut tree = tree("SELECT a FROM t");
        let NodeEnum::SelectStmt(select) = &mut tree else {
            panic!()
        };
        // Without GROUP BY no text says this.
        select.group_distinct = true;
        assert_eq!(verify_print(&tree), Err(PrintError::Different));
    }
}
