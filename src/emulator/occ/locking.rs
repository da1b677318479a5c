//! FOR UPDATE and FOR KEY SHARE without locks: the statement runs without these words, and a query
//! beside it tells which rows it asked for.

use pg_query::NodeEnum;
use pg_query::protobuf::{LockClauseStrength, Node, SelectStmt};

use super::names::quote;
use crate::sql::scan::{Token, Tokens};
use crate::sql::statement::{Statement, Tree, parse};

/// A query that reports the rows a locking clause asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockQuery {
    /// Runs in the same transaction, with the same parameters; its rows are nobody's business.
    pub sql: String,
}

/// The statement's text without its locking clauses.
#[must_use]
pub fn strip(text: &str) -> String {
    let mut out = text.as_bytes().to_vec();
    let mut tokens = Tokens::new(text.as_bytes()).peekable_spans();
    while let Some((token, span)) = tokens.next() {
        if !token.is("for") {
            continue;
        }
        let Some(mut end) = tokens.take_strength() else {
            continue;
        };
        end = tokens.take_rest(end);
        out[span.start..end].fill(b' ');
    }
    // Only whole tokens were blanked, so it is UTF-8 still.
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

struct Spans<'a> {
    tokens: Tokens<'a>,
}

trait PeekableSpans<'a> {
    fn peekable_spans(self) -> Spans<'a>;
}

impl<'a> PeekableSpans<'a> for Tokens<'a> {
    fn peekable_spans(self) -> Spans<'a> {
        Spans { tokens: self }
    }
}

impl<'a> Spans<'a> {
    fn next(&mut self) -> Option<(Token<'a>, std::ops::Range<usize>)> {
        let token = self.tokens.next()?;
        Some((token, self.tokens.span()))
    }

    fn take(&mut self, test: impl Fn(&Token<'a>) -> bool) -> Option<usize> {
        let mut ahead = self.tokens.clone();
        let token = ahead.next()?;
        test(&token).then(|| {
            self.tokens = ahead;
            self.tokens.span().end
        })
    }

    fn take_words(&mut self, words: &[&str]) -> Option<usize> {
        let before = self.tokens.clone();
        let mut end = None;
        for word in words {
            end = self.take(|token| token.is(word));
            if end.is_none() {
                self.tokens = before;
                return None;
            }
        }
        end
    }

    fn take_strength(&mut self) -> Option<usize> {
        self.take_words(&["update"])
            .or_else(|| self.take_words(&["key", "share"]))
    }

    /// `OF a, b.c` and `NOWAIT` or `SKIP LOCKED`.
    fn take_rest(&mut self, mut end: usize) -> usize {
        if self.take(|token| token.is("of")).is_some() {
            while let Some(name) =
                self.take(|token| matches!(token, Token::Word(_) | Token::Quoted(_)))
            {
                end = name;
                if self
                    .take(|token| matches!(token, Token::Symbol(b'.' | b',')))
                    .is_none()
                {
                    break;
                }
            }
        }
        self.take_words(&["nowait"])
            .or_else(|| self.take_words(&["skip", "locked"]))
            .unwrap_or(end)
    }
}

/// The queries that report what the locking clauses of `statement` ask for. `is_table` tells
/// whether a name (as SQL) is that of a table and no view.
pub(super) fn queries(statement: &Statement, is_table: &dyn Fn(&str) -> bool) -> Vec<LockQuery> {
    let Tree::Node(tree) = &statement.tree else {
        return Vec::new();
    };
    let mut selects = Vec::new();
    match tree.as_ref() {
        NodeEnum::SelectStmt(select) => collect(select, &mut selects),
        NodeEnum::InsertStmt(insert) => {
            from_with(insert.with_clause.as_ref(), &mut selects);
            from_node(insert.select_stmt.as_deref(), &mut selects);
        }
        NodeEnum::UpdateStmt(update) => {
            from_with(update.with_clause.as_ref(), &mut selects);
            from_nodes(&update.from_clause, &mut selects);
            from_node(update.where_clause.as_deref(), &mut selects);
        }
        NodeEnum::DeleteStmt(delete) => {
            from_with(delete.with_clause.as_ref(), &mut selects);
            from_nodes(&delete.using_clause, &mut selects);
            from_node(delete.where_clause.as_deref(), &mut selects);
        }
        _ => {}
    }
    selects
        .into_iter()
        .filter_map(|select| query(select, is_table))
        .collect()
}

fn collect(select: &SelectStmt, found: &mut Vec<SelectStmt>) {
    if !select.locking_clause.is_empty() {
        found.push(select.clone());
    }
    from_with(select.with_clause.as_ref(), found);
    from_nodes(&select.from_clause, found);
    from_node(select.where_clause.as_deref(), found);
}

fn from_with(with: Option<&pg_query::protobuf::WithClause>, found: &mut Vec<SelectStmt>) {
    for definition in with.iter().flat_map(|with| &with.ctes) {
        if let Some(NodeEnum::CommonTableExpr(definition)) = &definition.node {
            from_node(definition.ctequery.as_deref(), found);
        }
    }
}

fn from_nodes(nodes: &[Node], found: &mut Vec<SelectStmt>) {
    for node in nodes {
        from_node(Some(node), found);
    }
}

fn from_node(node: Option<&Node>, found: &mut Vec<SelectStmt>) {
    match node.and_then(|node| node.node.as_ref()) {
        Some(NodeEnum::SelectStmt(select)) => collect(select, found),
        Some(NodeEnum::RangeSubselect(sub)) => from_node(sub.subquery.as_deref(), found),
        Some(NodeEnum::JoinExpr(join)) => {
            from_node(join.larg.as_deref(), found);
            from_node(join.rarg.as_deref(), found);
        }
        Some(NodeEnum::SubLink(link)) => from_node(link.subselect.as_deref(), found),
        Some(NodeEnum::BoolExpr(all)) => from_nodes(&all.args, found),
        Some(NodeEnum::AExpr(expression)) => from_node(expression.rexpr.as_deref(), found),
        _ => {}
    }
}

struct Source {
    alias: String,
    name: String,
}

fn query(mut select: SelectStmt, is_table: &dyn Fn(&str) -> bool) -> Option<LockQuery> {
    let mut sources = Vec::new();
    for node in &select.from_clause {
        take_sources(node, &mut sources);
    }
    sources.retain(|source| is_table(&source.name));
    let clauses = std::mem::take(&mut select.locking_clause);
    for clause in clauses {
        let Some(NodeEnum::LockingClause(clause)) = clause.node else {
            continue;
        };
        let mode = match LockClauseStrength::try_from(clause.strength) {
            Ok(LockClauseStrength::LcsForkeyshare) => 'C',
            _ => 'A',
        };
        let wanted: Vec<String> = clause
            .locked_rels
            .iter()
            .filter_map(|node| match &node.node {
                Some(NodeEnum::RangeVar(name)) => Some(name.relname.clone()),
                _ => None,
            })
            .collect();
        for source in &sources {
            if wanted.is_empty() || wanted.contains(&source.alias) {
                select.target_list.push(report(mode, &source.alias)?);
            }
        }
    }
    let sql = NodeEnum::SelectStmt(Box::new(select))
        .deparse(Default::default())
        .ok()?;
    Some(LockQuery { sql })
}

fn take_sources(node: &Node, found: &mut Vec<Source>) {
    match &node.node {
        Some(NodeEnum::RangeVar(table)) => {
            let name = if table.schemaname.is_empty() {
                quote(&table.relname)
            } else {
                format!("{}.{}", quote(&table.schemaname), quote(&table.relname))
            };
            let alias = table
                .alias
                .as_ref()
                .map_or(&table.relname, |a| &a.aliasname);
            found.push(Source {
                alias: alias.clone(),
                name,
            });
        }
        Some(NodeEnum::JoinExpr(join)) => {
            for side in [&join.larg, &join.rarg].into_iter().flatten() {
                take_sources(side, found);
            }
        }
        _ => {}
    }
}

/// The column `pg_dsql.lock_row(…)`, in the words of the parser itself.
fn report(mode: char, alias: &str) -> Option<Node> {
    let alias = quote(alias);
    let text = format!(
        "SELECT pg_dsql.lock_row('{mode}', {alias}.tableoid, {alias}.ctid, ({alias}.*)::text)"
    );
    let statement = parse(&text).ok()?.pop()?;
    let Tree::Node(tree) = statement.tree else {
        return None;
    };
    match *tree {
        NodeEnum::SelectStmt(mut select) => select.target_list.pop(),
        _ => None,
    }
}

/// Whether the text may hold a locking clause: cheap, and never no when there is one.
#[must_use]
pub fn may_lock(text: &str) -> bool {
    let mut tokens = Tokens::new(text.as_bytes()).peekable_spans();
    while let Some((token, _)) = tokens.next() {
        if token.is("for") && tokens.take_strength().is_some() {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locking_words_are_blanked() {
        for (text, expected) in [
            ("SELECT * FROM t FOR UPDATE", "SELECT * FROM t"),
            (
                "SELECT * FROM t FOR UPDATE OF t, public.u SKIP LOCKED",
                "SELECT * FROM t",
            ),
            (
                "SELECT * FROM t FOR KEY SHARE NOWAIT LIMIT 1",
                "SELECT * FROM t  LIMIT 1",
            ),
            (
                "SELECT 'for update', substring('abc' from 1 for 2) FROM t -- for update",
                "SELECT 'for update', substring('abc' from 1 for 2) FROM t -- for update",
            ),
            (
                "SELECT * FROM t FOR UPDATE OF t FOR KEY SHARE OF u",
                "SELECT * FROM t",
            ),
        ] {
            let words = |text: &str| {
                text.split_whitespace()
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            };
            assert_eq!(words(&strip(text)), words(expected), "{text}");
            assert_eq!(strip(text).len(), text.len());
        }
        assert!(may_lock("select 1 from t for\nupdate"));
        assert!(!may_lock("update t set a = 1"));
    }

    #[test]
    fn rows_are_reported_by_a_query_of_the_same_shape() {
        let lock = |mode: &str, alias: &str| {
            format!("pg_dsql.lock_row('{mode}', {alias}.tableoid, {alias}.ctid, {alias}.*::text)")
        };
        for (text, expected) in [
            (
                "SELECT a FROM t WHERE id = $1 ORDER BY 1 LIMIT 1 FOR UPDATE",
                vec![format!(
                    "SELECT a, {} FROM t WHERE id = $1 ORDER BY 1 LIMIT 1",
                    lock("A", "t")
                )],
            ),
            (
                "SELECT x.a FROM t x JOIN v ON true FOR KEY SHARE",
                vec![format!(
                    "SELECT x.a, {} FROM t x JOIN v ON true",
                    lock("C", "x")
                )],
            ),
            (
                "SELECT 1 FROM t, u FOR UPDATE OF u",
                vec![format!("SELECT 1, {} FROM t, u", lock("A", "u"))],
            ),
            (
                "UPDATE t SET a = 1 WHERE id IN (SELECT id FROM u FOR UPDATE SKIP LOCKED)",
                vec![format!("SELECT id, {} FROM u", lock("A", "u"))],
            ),
            (
                "WITH w AS (SELECT id FROM u FOR UPDATE) DELETE FROM t USING w WHERE t.id = w.id",
                vec![format!("SELECT id, {} FROM u", lock("A", "u"))],
            ),
            ("SELECT 1", vec![]),
        ] {
            let statement = parse(text).unwrap().remove(0);
            let found = queries(&statement, &|name| name != "\"v\"");
            let found: Vec<String> = found.into_iter().map(|query| query.sql).collect();
            assert_eq!(found, expected, "{text}");
        }
    }
}
