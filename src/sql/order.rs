//! Whether the order of a statement's rows says anything.

use pg_query::NodeEnum;
use pg_query::protobuf::{FuncCall, Node, SelectStmt, SortBy, a_const};

use super::reads::is_harmless;
use super::statement::{Statement, Tree};
use super::tree::{self, Descent, Ref};

/// Columns of every table that a star leaves out.
const SYSTEM: [&str; 6] = ["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];

/// Functions that give rows in the order of a value's elements: when that has changed, the same rows come in
/// another order. Source: pg_proc of PostgreSQL 15, `proretset`.
const IN_ORDER: [&str; 20] = [
    "json_array_elements",
    "json_array_elements_text",
    "json_each",
    "json_each_text",
    "json_object_keys",
    "json_populate_recordset",
    "json_to_recordset",
    "jsonb_array_elements",
    "jsonb_array_elements_text",
    "jsonb_each",
    "jsonb_each_text",
    "jsonb_object_keys",
    "jsonb_path_query",
    "jsonb_path_query_tz",
    "jsonb_populate_recordset",
    "jsonb_to_recordset",
    "regexp_matches",
    "regexp_split_to_table",
    "string_to_table",
    "unnest",
];

/// Whether the rows of these statements may come in any order, or none of them has rows: no ORDER BY
/// is there, or what it sorts by is in the rows. Then the same rows in another order are an answer
/// that the statement may have as well, or the same answer told apart by ties.
#[must_use]
pub fn says_nothing(text: &str) -> bool {
    Statement::read(text).is_ok_and(|statements| {
        statements.iter().all(|statement| match &statement.tree {
            Tree::Node(node) => is_free(node),
            _ => false,
        })
    })
}

fn is_free(node: &NodeEnum) -> bool {
    match node {
        NodeEnum::SelectStmt(select) => is_free_select(select),
        NodeEnum::TransactionStmt(_) | NodeEnum::VariableSetStmt(_) => true,
        NodeEnum::InsertStmt(insert) => insert.returning_clause.is_none(),
        NodeEnum::UpdateStmt(update) => update.returning_clause.is_none(),
        NodeEnum::DeleteStmt(delete) => delete.returning_clause.is_none(),
        _ => false,
    }
}

fn is_free_select(select: &SelectStmt) -> bool {
    select.into_clause.is_none()
        && !sorts_below(select)
        && select
            .sort_clause
            .iter()
            .all(|key| is_shown(key, leftmost(select)))
}

/// The SELECT that names the columns of set operations.
fn leftmost(select: &SelectStmt) -> &SelectStmt {
    let mut select = select;
    while let Some(left) = &select.larg {
        select = left;
    }
    select
}

/// An ORDER BY of what is read from, which SQL does not pass on, and people count on; a value that becomes
/// rows; or a part that writes.
fn sorts_below(select: &SelectStmt) -> bool {
    if select.target_list.iter().any(unfolds) {
        return true;
    }
    let parts = [&select.larg, &select.rarg];
    let parts = parts.into_iter().flatten();
    let parts = parts.map(|part| !part.sort_clause.is_empty() || sorts_below(part));
    let named = select.with_clause.iter().flat_map(|with| &with.ctes);
    let named = named.map(|part| match &part.node {
        Some(NodeEnum::CommonTableExpr(part)) => part.ctequery.as_deref().is_none_or(is_sorted),
        _ => true,
    });
    let sources = select.from_clause.iter().map(is_sorted_source);
    parts.chain(named).chain(sources).any(|sorted| sorted)
}

fn is_sorted_source(source: &Node) -> bool {
    match &source.node {
        Some(NodeEnum::RangeSubselect(part)) => part.subquery.as_deref().is_none_or(is_sorted),
        Some(NodeEnum::JoinExpr(join)) => [&join.larg, &join.rarg]
            .into_iter()
            .flatten()
            .any(|side| is_sorted_source(side)),
        Some(NodeEnum::RangeVar(_)) => false,
        _ => unfolds(source),
    }
}

/// Whether an expression, or a source of rows, may make rows of one value, in its order.
fn unfolds(node: &Node) -> bool {
    let Some(node) = &node.node else { return false };
    let mut found = false;
    tree::walk(Ref::of(node), &mut |node| {
        match node {
            // It is one value.
            Ref::SubLink(_) => return Descent::Over,
            Ref::FuncCall(call) => found |= !is_plain_call(call),
            Ref::RangeTableFunc(_) => found = true,
            _ => {}
        }
        Descent::Into
    });
    found
}

/// A call of a function that is known, and gives one value or numbers.
fn is_plain_call(call: &FuncCall) -> bool {
    let name = match names(&call.funcname).as_deref() {
        Some([name] | ["pg_catalog", name]) => (*name).to_owned(),
        _ => return false,
    };
    // Only one value comes of rows, whatever the aggregate or window function is.
    call.over.is_some()
        || call.agg_star
        || call.agg_within_group
        || is_harmless(name.as_bytes())
            && !IN_ORDER
                .iter()
                .any(|known| name.eq_ignore_ascii_case(known))
}

fn is_sorted(query: &Node) -> bool {
    match &query.node {
        Some(NodeEnum::SelectStmt(select)) => !select.sort_clause.is_empty() || sorts_below(select),
        _ => true,
    }
}

/// What is sorted by is a column of the rows.
fn is_shown(key: &Node, select: &SelectStmt) -> bool {
    let Some(NodeEnum::SortBy(key)) = &key.node else {
        return false;
    };
    let Some(value) = value_of(key) else {
        return false;
    };
    if let NodeEnum::AConst(constant) = value {
        return matches!(constant.val, Some(a_const::Val::Ival(_)));
    }
    let targets = select
        .target_list
        .iter()
        .filter_map(|target| match &target.node {
            Some(NodeEnum::ResTarget(target)) => Some(target),
            _ => None,
        });
    let name = match value {
        NodeEnum::ColumnRef(column) => names(&column.fields),
        _ => None,
    };
    targets.into_iter().any(|target| {
        let Some(shown) = target.val.as_ref().and_then(|shown| shown.node.as_ref()) else {
            return false;
        };
        match (shown, &name) {
            // An output column's name comes first; a name that is one is no other column's.
            (_, Some(name)) if name.len() == 1 && !target.name.is_empty() => {
                target.name == name[0] || tree::same(shown, value) && !hides(select, name[0])
            }
            (NodeEnum::ColumnRef(column), Some(name)) => shows(&column.fields, name),
            _ => tree::same(shown, value),
        }
    })
}

/// Another output column has this name.
fn hides(select: &SelectStmt, name: &str) -> bool {
    select.target_list.iter().any(
        |target| matches!(&target.node, Some(NodeEnum::ResTarget(target)) if target.name == name),
    )
}

/// The column of these names is among those that `shown` stands for. `t.f` may be a function, so a
/// star stands for names without a table only.
fn shows(shown: &[Node], name: &[&str]) -> bool {
    let (Some((last, table)), Some((end, of))) = (name.split_last(), shown.split_last()) else {
        return false;
    };
    let of = names(of);
    match &end.node {
        Some(NodeEnum::AStar(_)) => {
            of.is_some_and(|of| of.is_empty()) && table.is_empty() && !SYSTEM.contains(last)
        }
        Some(NodeEnum::String(end)) => {
            end.sval == *last && (table.is_empty() || of.is_some_and(|of| of == table))
        }
        _ => false,
    }
}

fn names(fields: &[Node]) -> Option<Vec<&str>> {
    let names = fields.iter().map(|field| match &field.node {
        Some(NodeEnum::String(name)) => Some(name.sval.as_str()),
        _ => None,
    });
    names.collect()
}

fn value_of(key: &SortBy) -> Option<&NodeEnum> {
    key.node.as_ref()?.node.as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_told_from_none() {
        let cases = [
            ("SELECT a FROM t", true),
            ("select a from t for update", true),
            ("SELECT a FROM t LIMIT 3", true),
            ("SELECT DISTINCT ON (a) a, b FROM t", true),
            ("SELECT a, rank() OVER (ORDER BY b) FROM t", true),
            ("SELECT a FROM t UNION ALL SELECT b FROM u", true),
            ("WITH x AS (SELECT a FROM t) SELECT * FROM x, u", true),
            (
                "SELECT a FROM t WHERE a IN (SELECT b FROM u ORDER BY c)",
                true,
            ),
            ("VALUES (1), (2)", true),
            ("BEGIN", true),
            ("", true),
            ("UPDATE t SET a = 1; SELECT a FROM t", true),
            // What is sorted by is in the rows.
            ("SELECT a, b FROM t ORDER BY b", true),
            ("SELECT a, b FROM t ORDER BY 2 DESC, 1 LIMIT 3", true),
            ("SELECT t.a FROM t ORDER BY t.a", true),
            ("SELECT t.a FROM t ORDER BY a", true),
            ("SELECT * FROM t ORDER BY a", true),
            ("SELECT lower(a) FROM t ORDER BY lower(a)", true),
            ("SELECT lower(a) AS l FROM t ORDER BY l", true),
            ("SELECT a AS b FROM t ORDER BY a", true),
            ("SELECT a FROM t UNION SELECT b FROM u ORDER BY a", true),
            // Something else is.
            ("SELECT a FROM t ORDER BY b", false),
            ("SELECT a, b FROM t ORDER BY b, c", false),
            ("SELECT a FROM t ORDER BY lower(a)", false),
            ("SELECT lower(a) FROM t ORDER BY a", false),
            ("SELECT t.a FROM t, u ORDER BY u.a", false),
            ("SELECT a AS b, c AS a FROM t ORDER BY t.a", false),
            ("SELECT * FROM t ORDER BY ctid", false),
            ("SELECT * FROM t ORDER BY t.f", false),
            ("SELECT t.* FROM t, u ORDER BY a", false),
            ("SELECT DISTINCT ON (a) a FROM t ORDER BY a, b", false),
            ("SELECT a FROM t ORDER BY $1", false),
            ("SELECT a FROM t ORDER BY random()", false),
            // Not passed on by SQL, and counted on.
            ("SELECT * FROM (SELECT a FROM t ORDER BY b) x", false),
            (
                "SELECT * FROM u JOIN (SELECT a FROM t ORDER BY b LIMIT 1) x ON true",
                false,
            ),
            (
                "WITH x AS (SELECT a FROM t ORDER BY b) SELECT * FROM x",
                false,
            ),
            (
                "(SELECT a FROM t ORDER BY b LIMIT 1) UNION ALL SELECT c FROM u",
                false,
            ),
            // The order of a value's elements.
            ("SELECT unnest(tags) FROM t WHERE id = 1", false),
            ("SELECT id, unnest(tags) FROM t ORDER BY id", false),
            ("SELECT x FROM t, jsonb_array_elements(t.doc) x", false),
            (
                "SELECT * FROM t LEFT JOIN LATERAL regexp_split_to_table(t.a, ',') x ON true",
                false,
            ),
            ("SELECT * FROM (SELECT unnest(tags) FROM t) x", false),
            (
                "WITH x AS (SELECT unnest(tags) FROM t) SELECT * FROM x",
                false,
            ),
            ("SELECT f(a) FROM t", false),
            ("SELECT * FROM s.f(1)", false),
            (
                "SELECT 1 UNION ALL SELECT upper(unnest(tags)) FROM t",
                false,
            ),
            ("SELECT a, (SELECT max(x) FROM unnest(tags) x) FROM t", true),
            ("SELECT * FROM t, generate_series(1, t.n) x", true),
            ("SELECT count(*), max(lower(a)), f(b) OVER () FROM t", true),
            // Not reads.
            (
                "WITH x AS (DELETE FROM t RETURNING a) SELECT a FROM x",
                false,
            ),
            ("SELECT a INTO u FROM t", false),
            ("INSERT INTO t (a) VALUES (1), (2) RETURNING a", false),
            ("UPDATE t SET a = 1 RETURNING a", false),
            ("FETCH ALL FROM c", false),
            ("SELECT a FROM t; SELECT a FROM t ORDER BY b", false),
            ("SELEC a FROM t", false),
        ];
        for (text, free) in cases {
            assert_eq!(says_nothing(text), free, "{text}");
        }
    }
}
