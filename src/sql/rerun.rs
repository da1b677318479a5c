//! Statements whose answer would be another one if they ran again, though nothing they depend on has
//! changed: numbers that were drawn, random values, times.
//!
//! What they answered with is put into their text, so that a second run answers the same.

use pg_query::protobuf::{
    AConst, FuncCall, InsertStmt, OverridingKind, ResTarget, SelectStmt, SetOperation, a_const,
};
use pg_query::{Node, NodeEnum, protobuf};

use super::scan::{Token, Tokens};
use super::statement::{Statement, Tree};
use super::tree;

/// A column of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// OID of its type.
    pub oid: u32,
}

/// Types whose values are numbers that are drawn, identifiers, or times; by OID and name
/// (`pg_type.dat` of PostgreSQL). A generated column of another type is left alone: no value may be
/// given to it.
const TYPES: [(u32, &str); 7] = [
    (20, "int8"),
    (21, "int2"),
    (23, "int4"),
    (1082, "date"),
    (1114, "timestamp"),
    (1184, "timestamptz"),
    (2950, "uuid"),
];

/// Functions whose answer depends on nothing that a transaction could undo.
const DRAWING: [&str; 10] = [
    "clock_timestamp",
    "currval",
    "gen_random_uuid",
    "lastval",
    "nextval",
    "now",
    "setval",
    "statement_timestamp",
    "transaction_timestamp",
    "uuid_generate_v4",
];

/// A SELECT that only draws is no longer than this, in bytes.
const SHORT: usize = 512;

/// Whether a text may be one of these; a look at its words, for [`with_values`] to make sure.
#[must_use]
pub fn may_draw(text: &[u8]) -> bool {
    let has = |word: &[u8]| {
        text.windows(word.len())
            .any(|piece| piece.eq_ignore_ascii_case(word))
    };
    let short = text.len() <= SHORT && !has(b"from");
    has(b"returning") || short && DRAWING.iter().any(|name| has(name.as_bytes()))
}

/// Words of a query whose answer is another one each time.
const VARYING: [&str; 8] = [
    "random",
    "clock_timestamp",
    "timeofday",
    "tablesample",
    "now",
    "current_timestamp",
    "localtimestamp",
    "current_time",
];

/// Whether a query may answer otherwise each time, by its words.
#[must_use]
pub fn may_vary(text: &[u8]) -> bool {
    Tokens::new(text).any(|token| match token {
        Token::Word(word) => VARYING
            .iter()
            .any(|known| word.eq_ignore_ascii_case(known.as_bytes())),
        _ => false,
    })
}

/// The text that does and answers the same as `text` did, which was answered with these rows, in text
/// format: `INSERT … RETURNING` with the values that defaults gave, a SELECT that only draws without
/// drawing. `None` when it is none of these, or says all of that already.
#[must_use]
pub fn with_values(text: &str, columns: &[Column], rows: &[Vec<Option<String>>]) -> Option<String> {
    let mut read = Statement::read(text).ok()?;
    let statement = read.pop().filter(|_| read.is_empty())?;
    let Tree::Node(node) = statement.tree else {
        return None;
    };
    match *node {
        NodeEnum::InsertStmt(insert) => inserted(*insert, columns, rows),
        NodeEnum::SelectStmt(select) => drawn(&select, columns, rows),
        _ => None,
    }
}

// ---- INSERT … RETURNING ----------------------------------------------------------------------------

fn inserted(
    mut insert: InsertStmt,
    columns: &[Column],
    rows: &[Vec<Option<String>>],
) -> Option<String> {
    if insert.with_clause.is_some() {
        return None;
    }
    let returned = returned(&insert, columns)?;
    if unnested(&mut insert).is_some() {
        return inserted_arrays(insert, &returned, columns, rows);
    }
    if insert.select_stmt.is_none() && rows.len() == 1 {
        insert.select_stmt = Some(Box::new(no_values()?));
    } else if insert.cols.is_empty() {
        // Which column a value goes to is not known.
        return None;
    }
    let given: Vec<String> = insert.cols.iter().filter_map(plain_name).collect();
    if given.len() != insert.cols.len() {
        return None;
    }
    let Some(NodeEnum::SelectStmt(select)) = &mut insert.select_stmt.as_mut()?.node else {
        return None;
    };
    if select.values_lists.len() != rows.len() {
        return None;
    }
    let mut changed = false;
    for (list, row) in select.values_lists.iter_mut().zip(rows) {
        let Some(NodeEnum::List(list)) = &mut list.node else {
            return None;
        };
        if list.items.len() != given.len() {
            return None;
        }
        for (at, name) in &returned {
            let value = constant(row.get(*at)?.as_deref());
            match given.iter().position(|known| known == name) {
                None => list.items.push(value),
                Some(known) => {
                    let item = list.items.get_mut(known)?;
                    if !matches!(item.node, Some(NodeEnum::SetToDefault(_))) {
                        continue;
                    }
                    *item = value;
                }
            }
            changed = true;
        }
    }
    let added = returned.iter().filter(|(_, name)| !given.contains(name));
    insert.cols.extend(added.map(|(_, name)| target(name)));
    insert.r#override = OverridingKind::OverridingSystemValue as i32;
    changed
        .then(|| tree::verify_print(&NodeEnum::InsertStmt(Box::new(insert))).ok())
        .flatten()
}

/// The arguments of `INSERT … SELECT * FROM unnest(…)`: each is the array of a column's values. Without
/// ON CONFLICT, so that each row of them is inserted.
fn unnested(insert: &mut InsertStmt) -> Option<&mut Vec<Node>> {
    if insert.on_conflict_clause.is_some() {
        return None;
    }
    let Some(NodeEnum::SelectStmt(select)) = &mut insert.select_stmt.as_mut()?.node else {
        return None;
    };
    let star = matches!(select.target_list.as_slice(), [all] if is_star(all));
    let plain = SelectStmt {
        target_list: Vec::new(),
        from_clause: Vec::new(),
        ..(**select).clone()
    };
    let nothing_else = SelectStmt {
        limit_option: plain.limit_option,
        op: plain.op,
        ..SelectStmt::default()
    };
    if !star || plain != nothing_else || plain.op() != SetOperation::SetopNone {
        return None;
    }
    let [source] = select.from_clause.as_mut_slice() else {
        return None;
    };
    let Some(NodeEnum::RangeFunction(source)) = &mut source.node else {
        return None;
    };
    if source.ordinality || source.is_rowsfrom || source.alias.is_some() {
        return None;
    }
    let [function] = source.functions.as_mut_slice() else {
        return None;
    };
    let Some(NodeEnum::List(function)) = &mut function.node else {
        return None;
    };
    match &mut function.items.first_mut()?.node {
        Some(NodeEnum::FuncCall(call)) if is_unnest(call) => Some(&mut call.args),
        _ => None,
    }
}

fn is_unnest(call: &FuncCall) -> bool {
    let names = call.funcname.iter().map(|name| match &name.node {
        Some(NodeEnum::String(name)) => name.sval.as_str(),
        _ => "",
    });
    let names: Vec<&str> = names.collect();
    matches!(names.as_slice(), ["unnest"] | ["pg_catalog", "unnest"])
}

/// Values that were drawn are one more array.
fn inserted_arrays(
    mut insert: InsertStmt,
    returned: &[(usize, String)],
    columns: &[Column],
    rows: &[Vec<Option<String>>],
) -> Option<String> {
    let given: Vec<String> = insert.cols.iter().filter_map(plain_name).collect();
    if given.is_empty() || given.len() != insert.cols.len() || rows.is_empty() {
        return None;
    }
    let added = returned.iter().filter(|(_, name)| !given.contains(name));
    let mut arrays = Vec::new();
    for (at, name) in added {
        let oid = columns.get(*at)?.oid;
        let (_, kind) = TYPES.iter().find(|(known, _)| *known == oid)?;
        let values: Option<Vec<Option<&str>>> = rows
            .iter()
            .map(|row| Some(row.get(*at)?.as_deref()))
            .collect();
        arrays.push((target(name), array(kind, &values?)?));
    }
    if arrays.is_empty() {
        return None;
    }
    let arguments = unnested(&mut insert)?;
    if arguments.len() != given.len() {
        return None;
    }
    let (targets, values): (Vec<Node>, Vec<Node>) = arrays.into_iter().unzip();
    arguments.extend(values);
    insert.cols.extend(targets);
    insert.r#override = OverridingKind::OverridingSystemValue as i32;
    tree::verify_print(&NodeEnum::InsertStmt(Box::new(insert))).ok()
}

/// An array of values of a type of [`TYPES`], whose texts need no more than quotes.
fn array(kind: &str, values: &[Option<&str>]) -> Option<Node> {
    let values: Vec<String> = values
        .iter()
        .map(|value| value.map_or_else(|| "NULL".to_owned(), |value| format!("\"{value}\"")))
        .collect();
    let values = values.join(",").replace('\'', "''");
    let text = format!("SELECT '{{{values}}}'::pg_catalog.{kind}[]");
    let Tree::Node(node) = Statement::read(&text).ok()?.pop()?.tree else {
        return None;
    };
    match *node {
        NodeEnum::SelectStmt(select) => match select.target_list.into_iter().next()?.node? {
            NodeEnum::ResTarget(target) => target.val.map(|value| *value),
            _ => None,
        },
        _ => None,
    }
}

/// Columns of the table that are returned as they are: their places in the answer and their names.
fn returned(insert: &InsertStmt, columns: &[Column]) -> Option<Vec<(usize, String)>> {
    let list = &insert.returning_clause.as_ref()?.exprs;
    let names: Vec<Option<String>> = match list.as_slice() {
        [all] if is_star(all) => columns
            .iter()
            .map(|column| Some(column.name.clone()))
            .collect(),
        list if list.len() == columns.len() => list.iter().map(column_of).collect(),
        _ => return None,
    };
    let mut found: Vec<(usize, String)> = Vec::new();
    for (at, (name, column)) in names.into_iter().zip(columns).enumerate() {
        let Some(name) = name else { continue };
        let is_drawn = TYPES.iter().any(|(oid, _)| *oid == column.oid);
        if is_drawn && found.iter().all(|(_, known)| *known != name) {
            found.push((at, name));
        }
    }
    Some(found)
}

fn value_of(target: &Node) -> Option<&NodeEnum> {
    match target.node.as_ref()? {
        NodeEnum::ResTarget(target) => target.val.as_ref()?.node.as_ref(),
        _ => None,
    }
}

fn is_star(target: &Node) -> bool {
    match value_of(target) {
        Some(NodeEnum::ColumnRef(column)) => matches!(
            column.fields.last().and_then(|field| field.node.as_ref()),
            Some(NodeEnum::AStar(_))
        ),
        _ => false,
    }
}

/// The name of the column that a target is, if it is nothing more.
fn column_of(target: &Node) -> Option<String> {
    match value_of(target)? {
        NodeEnum::ColumnRef(column) => match column.fields.last()?.node.as_ref()? {
            NodeEnum::String(name) => Some(name.sval.clone()),
            _ => None,
        },
        _ => None,
    }
}

fn plain_name(target: &Node) -> Option<String> {
    match target.node.as_ref()? {
        NodeEnum::ResTarget(target) if target.indirection.is_empty() => Some(target.name.clone()),
        _ => None,
    }
}

fn target(name: &str) -> Node {
    Node {
        node: Some(NodeEnum::ResTarget(Box::new(ResTarget {
            name: name.to_owned(),
            ..ResTarget::default()
        }))),
    }
}

fn constant(value: Option<&str>) -> Node {
    let text = value.map(|value| {
        a_const::Val::Sval(protobuf::String {
            sval: value.to_owned(),
        })
    });
    Node {
        node: Some(NodeEnum::AConst(AConst {
            isnull: text.is_none(),
            location: 0,
            val: text,
        })),
    }
}

/// VALUES with one row of no columns.
fn no_values() -> Option<Node> {
    let mut read = Statement::read("VALUES (1)").ok()?;
    let Tree::Node(mut node) = read.pop()?.tree else {
        return None;
    };
    if let NodeEnum::SelectStmt(select) = &mut *node
        && let Some(Node {
            node: Some(NodeEnum::List(list)),
        }) = select.values_lists.first_mut()
    {
        list.items.clear();
    }
    Some(Node { node: Some(*node) })
}

// ---- SELECT nextval(…) -----------------------------------------------------------------------------

fn drawn(select: &SelectStmt, columns: &[Column], rows: &[Vec<Option<String>>]) -> Option<String> {
    let plain = select.op() == SetOperation::SetopNone
        && select.from_clause.is_empty()
        && select.where_clause.is_none()
        && select.values_lists.is_empty()
        && select.distinct_clause.is_empty()
        && select.group_clause.is_empty()
        && select.having_clause.is_none()
        && select.limit_count.is_none()
        && select.limit_offset.is_none()
        && select.locking_clause.is_empty()
        && select.with_clause.is_none()
        && select.into_clause.is_none();
    let draws = select.target_list.iter().all(|target| {
        let mut value = value_of(target);
        while let Some(NodeEnum::TypeCast(cast)) = value {
            value = cast.arg.as_ref().and_then(|inner| inner.node.as_ref());
        }
        matches!(value, Some(NodeEnum::FuncCall(call)) if is_drawing(call))
    });
    let [row] = rows else { return None };
    if !plain || !draws || row.len() != columns.len() || columns.is_empty() {
        return None;
    }
    let values = columns.iter().zip(row).map(|(column, value)| {
        let (_, kind) = TYPES.iter().find(|(oid, _)| *oid == column.oid)?;
        let value = match value {
            Some(value) => format!("'{}'", value.replace('\'', "''")),
            None => "NULL".to_owned(),
        };
        let name = column.name.replace('"', "\"\"");
        Some(format!("{value}::pg_catalog.{kind} AS \"{name}\""))
    });
    let values: Option<Vec<String>> = values.collect();
    Some(format!("SELECT {}", values?.join(", ")))
}

/// A function of [`DRAWING`], of constants at most.
fn is_drawing(call: &FuncCall) -> bool {
    let names: Vec<&str> = call
        .funcname
        .iter()
        .filter_map(|name| match &name.node {
            Some(NodeEnum::String(name)) => Some(name.sval.as_str()),
            _ => None,
        })
        .collect();
    let known = match names.as_slice() {
        [name] | ["pg_catalog", name] => DRAWING.contains(name),
        _ => false,
    };
    let constant = call.args.iter().all(|argument| {
        let mut argument = argument.node.as_ref();
        while let Some(NodeEnum::TypeCast(cast)) = argument {
            argument = cast.arg.as_ref().and_then(|inner| inner.node.as_ref());
        }
        matches!(argument, Some(NodeEnum::AConst(_)))
    });
    known && constant && !call.agg_star && call.over.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(columns: &[(&str, u32)]) -> Vec<Column> {
        let column = |(name, oid): &(&str, u32)| Column {
            name: (*name).to_owned(),
            oid: *oid,
        };
        columns.iter().map(column).collect()
    }

    fn rows(rows: &[&[&str]]) -> Vec<Vec<Option<String>>> {
        let row = |row: &&[&str]| row.iter().map(|value| Some((*value).to_owned())).collect();
        rows.iter().map(row).collect()
    }

    /// Text, columns of the answer, its rows, the text that says the same; "" when there is none.
    type Row = (
        &'static str,
        &'static [(&'static str, u32)],
        &'static [&'static [&'static str]],
        &'static str,
    );

    const CASES: &[Row] = &[
        (
            "INSERT INTO t (a) VALUES ('x') RETURNING id",
            &[("id", 20)],
            &[&["7"]],
            "INSERT INTO t (a, id) OVERRIDING SYSTEM VALUE VALUES ('x', '7') RETURNING id",
        ),
        (
            "insert into \"s\".\"T\" (\"a\", \"id\") values (1, default), (2, default) returning \"T\".\"id\", a",
            &[("id", 23), ("a", 23)],
            &[&["7", "1"], &["8", "2"]],
            "INSERT INTO s.\"T\" (a, id) OVERRIDING SYSTEM VALUE VALUES (1, '7'), (2, '8') RETURNING \"T\".id, a",
        ),
        (
            "INSERT INTO t DEFAULT VALUES RETURNING *",
            &[("id", 20), ("note", 25), ("made", 1184)],
            &[&["7", "n", "2026-01-01 00:00:00+00"]],
            "INSERT INTO t (id, made) OVERRIDING SYSTEM VALUE VALUES ('7', '2026-01-01 00:00:00+00') RETURNING *",
        ),
        (
            "INSERT INTO t (a) VALUES ('it''s') ON CONFLICT (a) DO UPDATE SET a = excluded.a RETURNING id, lower(a)",
            &[("id", 20), ("lower", 25)],
            &[&["7", "it's"]],
            "INSERT INTO t (a, id) OVERRIDING SYSTEM VALUE VALUES ('it''s', '7') \
             ON CONFLICT (a) DO UPDATE SET a = excluded.a RETURNING id, lower(a)",
        ),
        // All of it is the client's own.
        (
            "INSERT INTO t (id, a) VALUES (1, 'x') RETURNING id",
            &[("id", 20)],
            &[&["1"]],
            "",
        ),
        // A row was left out: which of them, is not known.
        (
            "INSERT INTO t (a) VALUES ('x'), ('y') ON CONFLICT DO NOTHING RETURNING id",
            &[("id", 20)],
            &[&["7"]],
            "",
        ),
        (
            "INSERT INTO t (a) SELECT a FROM u RETURNING id",
            &[("id", 20)],
            &[&["7"]],
            "",
        ),
        (
            "INSERT INTO t (a, b) SELECT * FROM UNNEST(('{x,y}')::varchar[], ($1)::int[]) RETURNING t.id",
            &[("id", 20)],
            &[&["7"], &["8"]],
            "INSERT INTO t (a, b, id) OVERRIDING SYSTEM VALUE SELECT * FROM \
             unnest('{x,y}'::varchar[], $1::int[], '{\"7\",\"8\"}'::bigint[]) RETURNING t.id",
        ),
        // Which of them were left out is not known; another order or number of rows.
        (
            "INSERT INTO t (a) SELECT * FROM unnest($1::int[]) ON CONFLICT DO NOTHING RETURNING id",
            &[("id", 20)],
            &[&["7"]],
            "",
        ),
        (
            "INSERT INTO t (a) SELECT * FROM unnest($1::int[]) LIMIT 1 RETURNING id",
            &[("id", 20)],
            &[&["7"]],
            "",
        ),
        (
            "INSERT INTO t (a) SELECT * FROM unnest($1::int[]) u (a) WHERE a > 1 RETURNING id",
            &[("id", 20)],
            &[&["7"]],
            "",
        ),
        (
            "INSERT INTO t VALUES ('x') RETURNING id",
            &[("id", 20)],
            &[&["7"]],
            "",
        ),
        (
            "INSERT INTO t (a) VALUES ('x') RETURNING id + 1",
            &[("?column?", 20)],
            &[&["8"]],
            "",
        ),
        (
            "INSERT INTO t (a) VALUES ('x') RETURNING id; DELETE FROM t",
            &[("id", 20)],
            &[&["7"]],
            "",
        ),
        (
            "SELECT nextval('s'::regclass), now() AS \"n\"\"w\"",
            &[("nextval", 20), ("n\"w", 1184)],
            &[&["7", "2026-01-01 00:00:00+00"]],
            "SELECT '7'::pg_catalog.int8 AS \"nextval\", '2026-01-01 00:00:00+00'::pg_catalog.timestamptz AS \"n\"\"w\"",
        ),
        (
            "SELECT nextval((SELECT name FROM t))",
            &[("nextval", 20)],
            &[&["7"]],
            "",
        ),
        ("SELECT f()", &[("f", 20)], &[&["7"]], ""),
        (
            "SELECT nextval('s') FROM t",
            &[("nextval", 20)],
            &[&["7"]],
            "",
        ),
    ];

    #[test]
    fn what_was_drawn_is_given() {
        for (text, answer, values, expected) in CASES {
            let again = with_values(text, &columns(answer), &rows(values));
            assert_eq!(again.as_deref().unwrap_or(""), *expected, "{text}");
            if !expected.is_empty() {
                assert!(may_draw(text.as_bytes()), "{text}");
            }
        }
    }

    #[test]
    fn chance_and_time_are_known_by_their_words() {
        for text in ["SELECT a FROM t ORDER BY RANDOM()", "select now() from t"] {
            assert!(may_vary(text.as_bytes()), "{text}");
        }
        for text in ["SELECT 'random' FROM t", "SELECT known FROM t -- now"] {
            assert!(!may_vary(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn most_texts_are_passed_over_by_their_words() {
        for text in ["SELECT now() FROM t", "INSERT INTO t VALUES (1)", ""] {
            assert!(!may_draw(text.as_bytes()), "{text}");
        }
    }
}
