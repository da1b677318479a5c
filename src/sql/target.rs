//! What statements may conflict over: the tables they write or lock, and the keys they name.
//!
//! For statistics. A text that cannot be read gives less, never an error.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    AExpr, AExprKind, BoolExprType, LockingClause, Node, RangeVar, SelectStmt, WithClause, a_const,
};

use super::classify::classify;
use super::fingerprint::fingerprint;
use super::scan::{Tokens, identifier};
use super::statement::{self, Kind};

/// Texts above this many bytes are not parsed; only their first words are looked at.
pub const LONGEST: usize = 16 * 1024;

/// Values of an IN list above this are too many to be keys of interest.
const VALUES: usize = 8;

/// Columns of a key above this are a search.
const COLUMNS: usize = 4;

/// A statement that may take part in a conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writing {
    /// Its shape, see [`fingerprint`].
    pub fingerprint: String,
    /// What it writes or locks, as far as its text names it.
    pub targets: Vec<Target>,
}

/// A table that a statement writes or locks rows of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name, with its schema if the text has one.
    pub table: String,
    /// The keys that the statement names.
    pub keys: Vec<Key>,
}

/// Columns that must equal something, in the order of the text.
pub type Key = Vec<(String, Operand)>;

/// What a column is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operand {
    /// A constant.
    Value(String),
    /// Parameter `$n`, from 1.
    Parameter(usize),
}

/// The statements of a text that may take part in a conflict.
#[must_use]
pub fn writings(text: &[u8]) -> Vec<Writing> {
    if text.len() > LONGEST {
        return unread(text);
    }
    let Ok(text) = std::str::from_utf8(text) else {
        return unread(text);
    };
    let Ok(statements) = statement::parse(text) else {
        return unread(text.as_bytes());
    };
    let writes = |statement: &&statement::Statement| {
        matches!(
            statement.kind(),
            Kind::Lock | Kind::Write | Kind::Ddl | Kind::Other
        )
    };
    let writing = |statement: &statement::Statement| Writing {
        fingerprint: text
            .get(statement.span.clone())
            .map(|text| fingerprint(text.as_bytes()))
            .unwrap_or_default(),
        targets: statement.node().map(targets).unwrap_or_default(),
    };
    statements.iter().filter(writes).map(writing).collect()
}

/// What the first words of a text say.
fn unread(text: &[u8]) -> Vec<Writing> {
    let head = &text[..text.len().min(LONGEST)];
    if !classify(head).may_write {
        return Vec::new();
    }
    let target = |table| Target {
        table,
        keys: Vec::new(),
    };
    vec![Writing {
        fingerprint: fingerprint(head),
        targets: first_table(head).map(target).into_iter().collect(),
    }]
}

/// The name behind INSERT INTO, UPDATE, DELETE FROM or COPY.
fn first_table(text: &[u8]) -> Option<String> {
    let mut tokens = Tokens::new(text);
    let verb = tokens.next()?;
    if verb.is("insert") || verb.is("delete") {
        tokens.next();
    } else if !verb.is("update") && !verb.is("copy") {
        return None;
    }
    let mut token = tokens.next()?;
    if token.is("only") {
        token = tokens.next()?;
    }
    let mut name = String::from_utf8(identifier(token)?).ok()?;
    if tokens.next() == Some(super::scan::Token::Symbol(b'.')) {
        name.push('.');
        name.push_str(&String::from_utf8(identifier(tokens.next()?)?).ok()?);
    }
    Some(name)
}

fn targets(node: &NodeEnum) -> Vec<Target> {
    let mut found = Vec::new();
    collect(node, &mut found);
    found
}

fn collect(node: &NodeEnum, found: &mut Vec<Target>) {
    match node {
        NodeEnum::InsertStmt(insert) => {
            found.extend(insert.relation.as_ref().map(whole));
            with(insert.with_clause.as_ref(), found);
        }
        NodeEnum::UpdateStmt(update) => {
            let alone = update.from_clause.is_empty();
            let keyed = |table| keyed(table, alone, update.where_clause.as_deref());
            found.extend(update.relation.as_ref().map(keyed));
            with(update.with_clause.as_ref(), found);
        }
        NodeEnum::DeleteStmt(delete) => {
            let alone = delete.using_clause.is_empty();
            let keyed = |table| keyed(table, alone, delete.where_clause.as_deref());
            found.extend(delete.relation.as_ref().map(keyed));
            with(delete.with_clause.as_ref(), found);
        }
        NodeEnum::MergeStmt(merge) => {
            found.extend(merge.relation.as_ref().map(whole));
            with(merge.with_clause.as_ref(), found);
        }
        NodeEnum::CopyStmt(copy) if copy.is_from => {
            found.extend(copy.relation.as_ref().map(whole));
        }
        NodeEnum::SelectStmt(select) => {
            locked(select, found);
            with(select.with_clause.as_ref(), found);
        }
        NodeEnum::ExplainStmt(explain) => inner(explain.query.as_deref(), found),
        _ => {}
    }
}

fn inner(node: Option<&Node>, found: &mut Vec<Target>) {
    if let Some(node) = node.and_then(|node| node.node.as_ref()) {
        collect(node, found);
    }
}

fn with(clause: Option<&WithClause>, found: &mut Vec<Target>) {
    for table in clause.map(|clause| &clause.ctes).into_iter().flatten() {
        if let Some(NodeEnum::CommonTableExpr(expression)) = &table.node {
            inner(expression.ctequery.as_deref(), found);
        }
    }
}

/// The tables of a SELECT … FOR UPDATE or its kin.
fn locked(select: &SelectStmt, found: &mut Vec<Target>) {
    let mut tables = Vec::new();
    for item in &select.from_clause {
        range(item, &mut tables);
    }
    let clauses = select.locking_clause.iter();
    let locks = |table: &RangeVar| {
        clauses
            .clone()
            .any(|clause| matches!(&clause.node, Some(NodeEnum::LockingClause(clause)) if names(clause, table)))
    };
    let alone = tables.len() == 1;
    let found_now = tables.iter().filter(|table| locks(table));
    found.extend(found_now.map(|table| keyed(table, alone, select.where_clause.as_deref())));
}

/// Whether FOR UPDATE is of this table: of all, or of those it names.
fn names(clause: &LockingClause, table: &RangeVar) -> bool {
    let named = |node: &Node| matches!(&node.node, Some(NodeEnum::RangeVar(named)) if named.relname == called(table));
    clause.locked_rels.is_empty() || clause.locked_rels.iter().any(named)
}

fn range<'n>(item: &'n Node, tables: &mut Vec<&'n RangeVar>) {
    match &item.node {
        Some(NodeEnum::RangeVar(table)) => tables.push(table),
        Some(NodeEnum::JoinExpr(join)) => {
            for side in [&join.larg, &join.rarg].into_iter().flatten() {
                range(side, tables);
            }
        }
        _ => {}
    }
}

/// The name that columns of a table are qualified with.
fn called(table: &RangeVar) -> &str {
    match &table.alias {
        Some(alias) => &alias.aliasname,
        None => &table.relname,
    }
}

fn whole(table: &RangeVar) -> Target {
    let schema = Some(table.schemaname.as_str()).filter(|schema| !schema.is_empty());
    Target {
        table: match schema {
            Some(schema) => format!("{schema}.{}", table.relname),
            None => table.relname.clone(),
        },
        keys: Vec::new(),
    }
}

/// With the keys of a WHERE clause. A column without a qualifier is of this table if it is `alone`.
fn keyed(table: &RangeVar, alone: bool, clause: Option<&Node>) -> Target {
    let mut terms = Vec::new();
    if let Some(clause) = clause {
        conjuncts(clause, &mut terms);
    }
    let column = |node: Option<&Node>| column(node?, called(table), alone);
    let equals = terms
        .iter()
        .filter(|term| is(term, AExprKind::AexprOp))
        .filter_map(|term| {
            let (left, right) = (term.lexpr.as_deref(), term.rexpr.as_deref());
            match (column(left), column(right)) {
                (Some(name), None) => Some((name, operand(right?)?)),
                (None, Some(name)) => Some((name, operand(left?)?)),
                _ => None,
            }
        });
    let key: Key = equals.collect();
    let mut target = whole(table);
    if (1..=COLUMNS).contains(&key.len()) {
        target.keys.push(key);
    } else if key.is_empty()
        && let [term] = terms.as_slice()
        && is(term, AExprKind::AexprIn)
        && let Some(name) = column(term.lexpr.as_deref())
    {
        target.keys = members(term, &name);
    }
    target
}

/// The terms that must all be true, as far as they are comparisons.
fn conjuncts<'n>(clause: &'n Node, terms: &mut Vec<&'n AExpr>) {
    match &clause.node {
        Some(NodeEnum::AExpr(term)) => terms.push(term),
        Some(NodeEnum::BoolExpr(all)) if all.boolop() == BoolExprType::AndExpr => {
            all.args.iter().for_each(|term| conjuncts(term, terms));
        }
        _ => {}
    }
}

fn is(term: &AExpr, kind: AExprKind) -> bool {
    let equals =
        |name: &Node| matches!(&name.node, Some(NodeEnum::String(name)) if name.sval == "=");
    term.kind() == kind && matches!(term.name.as_slice(), [name] if equals(name))
}

fn members(term: &AExpr, column: &str) -> Vec<Key> {
    let list = match term.rexpr.as_ref().and_then(|list| list.node.as_ref()) {
        Some(NodeEnum::List(list)) => &list.items,
        _ => return Vec::new(),
    };
    if list.len() > VALUES {
        return Vec::new();
    }
    let values: Option<Vec<Operand>> = list.iter().map(operand).collect();
    let key = |value| vec![(column.to_owned(), value)];
    values.into_iter().flatten().map(key).collect()
}

fn column(node: &Node, table: &str, alone: bool) -> Option<String> {
    let Some(NodeEnum::ColumnRef(column)) = &node.node else {
        return None;
    };
    let part = |node: &Node| match &node.node {
        Some(NodeEnum::String(name)) => Some(name.sval.clone()),
        _ => None,
    };
    match column.fields.as_slice() {
        [name] if alone => part(name),
        [.., qualifier, name] if part(qualifier).as_deref() == Some(table) => part(name),
        _ => None,
    }
}

/// A constant or parameter, with or without a cast.
fn operand(node: &Node) -> Option<Operand> {
    match node.node.as_ref()? {
        NodeEnum::TypeCast(cast) => operand(cast.arg.as_deref()?),
        NodeEnum::ParamRef(parameter) => {
            let number = usize::try_from(parameter.number).ok()?;
            Some(Operand::Parameter(number))
        }
        NodeEnum::AConst(constant) => match constant.val.as_ref()? {
            a_const::Val::Ival(number) => Some(Operand::Value(number.ival.to_string())),
            a_const::Val::Fval(number) => Some(Operand::Value(number.fval.clone())),
            a_const::Val::Sval(text) => Some(Operand::Value(text.sval.clone())),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `table(column=value, …)` for each key, or `table`; statements apart by `;`.
    fn shown(text: &str) -> String {
        let key = |table: &str, key: &Key| {
            let parts: Vec<String> = key
                .iter()
                .map(|(column, operand)| match operand {
                    Operand::Value(value) => format!("{column}={value}"),
                    Operand::Parameter(number) => format!("{column}=${number}"),
                })
                .collect();
            format!("{table}({})", parts.join(", "))
        };
        let target = |target: &Target| match target.keys.as_slice() {
            [] => target.table.clone(),
            keys => {
                let keys: Vec<String> = keys.iter().map(|one| key(&target.table, one)).collect();
                keys.join(" ")
            }
        };
        let writing = |writing: &Writing| -> String {
            let targets: Vec<String> = writing.targets.iter().map(target).collect();
            targets.join(" ")
        };
        let all: Vec<String> = writings(text.as_bytes()).iter().map(writing).collect();
        all.join("; ")
    }

    #[test]
    fn tables_and_keys_are_found() {
        let cases = [
            ("update t set a = 1 where id = 42", "t(id=42)"),
            ("UPDATE s.\"T\" SET a = 1 WHERE 42 = id", "s.T(id=42)"),
            ("update t set a = 1 where id = $1", "t(id=$1)"),
            ("update t set a = 1 where id = $2::uuid", "t(id=$2)"),
            (
                "update t set a = 1 where id = '7'::int and x > 3",
                "t(id=7)",
            ),
            ("update t set a = 1 where id = -7", "t(id=-7)"),
            (
                "update t set a = 1 where tenant = 'acme' and (id = 7 and a is null)",
                "t(tenant=acme, id=7)",
            ),
            ("update t set a = 1 where id = 1 or id = 2", "t"),
            ("update t set a = 1 where id <> 1", "t"),
            ("update t set a = 1 where id = other", "t"),
            ("update t set a = 1 where not id = 1", "t"),
            ("update t set a = 1", "t"),
            ("update t x set a = 1 where x.id = 5", "t(id=5)"),
            (
                "update t x set a = 1 from u where x.id = 5 and n = 1",
                "t(id=5)",
            ),
            ("update t set a = 1 from u where id = 5", "t"),
            (
                "delete from t where id in (1, $2, 'c')",
                "t(id=1) t(id=$2) t(id=c)",
            ),
            ("delete from t where id in (1,2,3,4,5,6,7,8,9)", "t"),
            ("delete from t using u where t.id = 5", "t(id=5)"),
            (
                "update t set a = 1 where a = 1 and b = 2 and c = 3 and d = 4 and e = 5",
                "t",
            ),
            ("insert into t values (1, 2)", "t"),
            ("insert into t select * from u where id = 1", "t"),
            ("select * from t where id = 3 for update", "t(id=3)"),
            (
                "select * from t join u on u.id = t.u where t.id = 3 for update of u",
                "u",
            ),
            ("select * from t where id = 3", ""),
            ("copy t from stdin", "t"),
            ("copy t to stdout", ""),
            (
                "with x as (delete from a where id = 1 returning *) insert into b select * from x",
                "b a(id=1)",
            ),
            (
                "begin; update t set a = 1 where id = 1; update u set a = 2; commit",
                "t(id=1); u",
            ),
            ("create table x (a int)", ""),
            ("set x = 1", ""),
            ("update t set", "t"),
            ("select broken from from", ""),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn long_texts_give_their_first_table() {
        let rows = "(1, 'x'), ".repeat(10_000);
        for (text, table) in [
            (format!("insert into s.t values {rows}"), "s.t"),
            (format!("/* {rows} */ select 1"), ""),
            (format!("update only \"T\" set a = '{rows}'"), "T"),
            (format!("delete from t where x = '{rows}'"), "t"),
            (format!("vacuum {rows}"), ""),
        ] {
            assert_eq!(shown(&text), table);
        }
        assert_eq!(writings(b"update t set a = '\xff'").len(), 1);
    }

    #[test]
    fn statements_have_their_own_fingerprints() {
        let writings = writings(b"select 1; update t set a = 'x'; create table u (a int)");
        let found: Vec<&str> = writings
            .iter()
            .map(|one| one.fingerprint.as_str())
            .collect();
        assert_eq!(found, ["update t set a = ?", "create table u(a int)"]);
    }
}
