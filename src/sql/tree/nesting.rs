//! How deep a statement may be nested, and the stack that takes.
//!
//! A syntax tree is read, copied, compared, printed and dropped by functions that call themselves, so its depth costs
//! stack. It is bounded here, once, for everything behind: a text that may be deep is read on a thread with a large
//! stack, and the tree leaves that thread only if [`MAX_DEPTH`] is enough for it.

use pg_query::NodeEnum;
use pg_query::protobuf::{ParseResult, RawStmt};
use thiserror::Error;

use super::Ref;
use crate::sql::scan::{Token, Tokens};

/// Most nodes of a tree from its root to a leaf: a chain of so many operators or UNIONs. The server ends at several
/// thousand, by its `max_stack_depth` (PostgreSQL manual, "Resource Consumption"); libpg_query, built without
/// optimization, at 750.
pub const MAX_DEPTH: usize = 500;

/// What the proxy may add to a statement's depth.
const ADDED: usize = 200;

/// Stack, in bytes, of a thread that handles statements: enough for all that is done with a tree of [`MAX_DEPTH`].
/// Builds without optimization need several times as much. It is address space, of which only the part in use takes
/// memory.
pub const STACK: usize = if cfg!(debug_assertions) { 256 } else { 64 } * 1024 * 1024;

/// Stack of the thread that reads what may be deep: libpg_query gives out 10,000 messages within each other at most.
const READING_STACK: usize = 4 * STACK;

/// Texts that cannot be nested deeper than this are read where they are: on any thread's stack.
const SHALLOW: usize = if cfg!(debug_assertions) { 30 } else { 200 };

/// Why a text has no tree.
#[derive(Debug, Error)]
pub enum Unread {
    /// PostgreSQL's grammar does not take it.
    #[error("{0}")]
    Grammar(pg_query::Error),
    /// It is nested deeper than [`MAX_DEPTH`], or than libpg_query goes.
    #[error("stack depth limit exceeded")]
    TooDeep,
}

/// PostgreSQL's tree of a client's text.
///
/// # Errors
/// Why there is none.
pub fn read(text: &str) -> Result<ParseResult, Unread> {
    read_bounded(text, MAX_DEPTH)
}

/// PostgreSQL's tree of a text that was made of a client's, and may be somewhat deeper.
///
/// # Errors
/// Why there is none.
pub fn read_back(text: &str) -> Result<ParseResult, Unread> {
    read_bounded(text, MAX_DEPTH + ADDED)
}

fn read_bounded(text: &str, bound: usize) -> Result<ParseResult, Unread> {
    let parse_bounded = || {
        let parsed = parse(text)?;
        let fits = |statement| depth_of(statement) <= bound;
        match parsed.stmts.iter().all(fits) {
            true => Ok(parsed),
            false => Err(Unread::TooDeep),
        }
    };
    if most_depth(text.as_bytes()) <= SHALLOW {
        return parse_bounded();
    }
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("parser".to_owned())
            .stack_size(READING_STACK)
            .spawn_scoped(scope, parse_bounded)
            // No thread, or one that ended: the text cannot be read here.
            .map_or(Err(Unread::TooDeep), |thread| {
                thread.join().unwrap_or(Err(Unread::TooDeep))
            })
    })
}

fn parse(text: &str) -> Result<ParseResult, Unread> {
    pg_query::parse(text, 0)
        .map(|parsed| parsed.protobuf)
        .map_err(refusal)
}

fn refusal(error: pg_query::Error) -> Unread {
    let deep = |message: &str| {
        ["stack depth", "nested too deep", "memory exhausted"]
            .iter()
            .any(|words| message.contains(words))
    };
    match error {
        pg_query::Error::Decode(_) => Unread::TooDeep,
        pg_query::Error::Parse(message) if deep(&message) => Unread::TooDeep,
        other => Unread::Grammar(other),
    }
}

fn depth_of(statement: &RawStmt) -> usize {
    let node: Option<&NodeEnum> = statement.stmt.as_ref().and_then(|node| node.node.as_ref());
    node.map_or(0, |node| depth(Ref::of(node)))
}

fn depth(node: Ref<'_>) -> usize {
    let mut below = 0;
    node.children(&mut |child| below = below.max(depth(child)));
    below + 1
}

/// No less than the number of operators, calls and sub-selects within each other that the text may be read as, and
/// usually far more. Every token is taken for one that holds all before and after it up to the next comma, but for
/// commas and parentheses; set operations hold each other across commas.
fn most_depth(text: &[u8]) -> usize {
    #[derive(Default)]
    struct Level {
        run: usize,
        sets: usize,
    }
    let mut outer: Vec<Level> = Vec::new();
    let mut level = Level::default();
    // Sum of those that are open around the current level.
    let mut around = 0;
    let mut most = 0;
    for token in Tokens::new(text) {
        match token {
            Token::Symbol(b'(' | b'[') => {
                level.run += 1;
                around += level.run + level.sets;
                outer.push(std::mem::take(&mut level));
            }
            Token::Symbol(b')' | b']') => {
                level = outer.pop().unwrap_or_default();
                around -= level.run + level.sets;
            }
            Token::Symbol(b',') => level.run = 0,
            Token::Semicolon => level = Level::default(),
            token
                if ["union", "intersect", "except"]
                    .iter()
                    .any(|word| token.is(word)) =>
            {
                level.sets += 1;
            }
            _ => level.run += 1,
        }
        most = most.max(around + level.run + level.sets);
    }
    most
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Texts that nest `n` times, each in another way.
    pub(crate) const SHAPES: [fn(usize) -> String; 24] = [
        |n| format!("SELECT 1{}", " || 1".repeat(n)),
        |n| format!("SELECT {}true", "NOT ".repeat(n)),
        |n| format!("SELECT {}a", "- ".repeat(n)),
        |n| format!("SELECT a{}", " IS NULL".repeat(n)),
        |n| format!("SELECT a{}", "::int".repeat(n)),
        |n| format!("SELECT a{}", " COLLATE \"C\"".repeat(n)),
        |n| format!("SELECT a{}", " AT TIME ZONE b".repeat(n)),
        |n| format!("SELECT {}a{}", "(".repeat(n), "[1])".repeat(n)),
        |n| format!("SELECT {}a{}", "(".repeat(n), ").b".repeat(n)),
        |n| format!("SELECT {}1{}", "(a OR b AND ".repeat(n), ")".repeat(n)),
        |n| format!("SELECT {}1{}", "ARRAY[1, ".repeat(n), "]".repeat(n)),
        |n| format!("SELECT {}1{}", "ROW(1, ".repeat(n), ")".repeat(n)),
        |n| format!("SELECT {}1{}", "f(1, a => ".repeat(n), ")".repeat(n)),
        |n| {
            format!(
                "SELECT {}1{}",
                "CASE WHEN true THEN ".repeat(n),
                " END".repeat(n)
            )
        },
        |n| format!("SELECT {}1{}", "(SELECT ".repeat(n), ")".repeat(n)),
        |n| format!("SELECT 1{}", " WHERE EXISTS (SELECT 1, 2".repeat(n)) + &")".repeat(n),
        |n| format!("SELECT 1, 2{}", " UNION SELECT 1, 2".repeat(n)),
        |n| {
            format!(
                "SELECT 1, 2{}{}",
                " EXCEPT (SELECT 1, 2".repeat(n),
                ")".repeat(n)
            )
        },
        |n| {
            format!(
                "{}SELECT 1 FROM t{}",
                "SELECT * FROM (".repeat(n),
                ") x".repeat(n)
            )
        },
        |n| format!("SELECT * FROM a{}", " JOIN b USING (c, d)".repeat(n)),
        |n| {
            format!(
                "SELECT * FROM a{}{}",
                " LEFT JOIN b".repeat(n),
                " ON c".repeat(n)
            )
        },
        |n| {
            format!(
                "{}SELECT 1{} SELECT 2",
                "WITH a AS (".repeat(n),
                ") SELECT 1".repeat(n - 1) + ")"
            )
        },
        |n| {
            format!(
                "CREATE TABLE t (a int CHECK ({}a{} > 0))",
                "abs(".repeat(n),
                ")".repeat(n)
            )
        },
        |n| {
            format!(
                "UPDATE t SET a = 1, b = {}1{}",
                "(1 + ".repeat(n),
                ")".repeat(n)
            )
        },
    ];

    #[test]
    fn no_text_is_nested_deeper_than_it_is_taken_for() {
        on_own_thread(|| {
            for shape in SHAPES {
                for size in [1, 2, 5, 10, 50] {
                    let text = shape(size);
                    let parsed = parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
                    let found = depth_of(&parsed.stmts[0]);
                    let most = most_depth(text.as_bytes());
                    // A sub-select of two tokens is three nodes, and a statement's own are five.
                    assert!(found <= 3 * most + 5, "{text}: {found}, taken for {most}");
                }
            }
        });
    }

    #[test]
    fn commas_part_what_stands_beside_each_other() {
        let columns = "a.b AS c, ".repeat(1000);
        let rows = "(1, 'a', NULL), ".repeat(1000);
        for text in [
            format!("SELECT {columns} 1 FROM t"),
            format!("INSERT INTO t VALUES {rows} (1, 'b', 2)"),
            "SELECT 1;".repeat(1000),
        ] {
            let most = most_depth(text.as_bytes());
            assert!(most <= 12, "{most}: {text}");
        }
    }

    /// On the stack that every thread of the process has at least.
    fn on_own_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(STACK);
            thread.spawn_scoped(scope, work).unwrap().join().unwrap()
        })
    }

    #[test]
    fn a_tree_is_as_deep_as_the_bound_or_refused() {
        on_own_thread(|| {
            for shape in SHAPES {
                for size in [100, 300, 1000, 3000, 10_000, 100_000] {
                    match read(&shape(size)) {
                        Ok(parsed) => {
                            assert!(depth_of(&parsed.stmts[0]) <= MAX_DEPTH);
                            assert!(size <= MAX_DEPTH, "{size}: {}", shape(1));
                        }
                        Err(Unread::TooDeep) => assert!(size > 100, "{size}: {}", shape(1)),
                        Err(Unread::Grammar(error)) => panic!("{size}: {}: {error}", shape(1)),
                    }
                }
            }
        });
    }

    #[test]
    fn chains_of_hundreds_are_read() {
        on_own_thread(|| {
            for text in [
                format!("SELECT 1{}", " || 1".repeat(MAX_DEPTH - 10)),
                format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(MAX_DEPTH - 10)),
                format!("SELECT 1 WHERE true{}", " AND a = 1 OR b = 2".repeat(5000)),
            ] {
                assert!(read(&text).is_ok(), "{}", &text[..40]);
            }
        });
    }
}
