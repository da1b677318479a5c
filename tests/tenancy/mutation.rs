//! Statements made of others: with tokens changed, or parts of the syntax tree.

use dsql_proxy::sql::Statement;
use dsql_proxy::sql::scan::{Token, Tokens};
use dsql_proxy::sql::tree::{self, Descent, Mut, Ref};
use pg_query::protobuf::{
    AExprKind, BoolExprType, CoercionForm, JoinType, SetOperation, SubLinkType,
};
use pg_query::{Node, NodeEnum};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use crate::layout::{Layout, Part};

/// Further tokens that may come in.
const TOKENS: [&str; 44] = [
    "OR true",
    "AND false",
    "NOT",
    "IS NULL",
    "::text",
    "DISTINCT",
    "ALL",
    "ONLY",
    "LATERAL",
    "NATURAL",
    "UNION",
    "UNION ALL",
    "EXCEPT",
    "JOIN",
    "LEFT JOIN",
    "FULL JOIN",
    "CROSS JOIN",
    "EXISTS",
    "ANY",
    "IN",
    "WHERE true",
    "FROM",
    "GROUP BY 1",
    "HAVING true",
    "ORDER BY 1",
    "FOR UPDATE",
    "NULL",
    "DEFAULT",
    "*",
    "-- '\n",
    "/* \" /* */ */",
    "excluded",
    "(SELECT 1)",
    "()",
    "=",
    "<>",
    "||",
    "~",
    "::int",
    "ROW",
    "COLLATE \"C\"",
    "RETURNING *",
    "$$x$$",
    "E'\\x41'",
];

/// Another text with one to three tokens changed, that is still one statement, if one was found.
pub fn of_tokens(random: &mut StdRng, layout: &Layout, text: &str) -> Option<String> {
    for _ in 0..12 {
        let mut tokens = split(text);
        for _ in 0..random.random_range(1..4) {
            change_tokens(random, layout, &mut tokens);
        }
        let made = tokens.join(" ");
        if made != text && is_one(&made) {
            return Some(made);
        }
    }
    None
}

/// Whether it is one statement that is no transaction's.
pub fn is_one(text: &str) -> bool {
    match Statement::read(text).as_deref() {
        Ok([one]) => !matches!(
            one.node(),
            None | Some(NodeEnum::TransactionStmt(_) | NodeEnum::VariableSetStmt(_))
        ),
        _ => false,
    }
}

fn split(text: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut scan = Tokens::new(text.as_bytes());
    let mut end = 0;
    let is_operator = |byte: u8| b"=<>!~|&:-+*/%^?@#.".contains(&byte);
    let mut last_operator = false;
    while let Some(token) = scan.next() {
        let span = scan.span();
        let Some(part) = text.get(span.clone()) else {
            return vec![text.to_owned()];
        };
        let operator = matches!(token, Token::Symbol(byte) if is_operator(byte));
        // Qualified names and operators of several characters stay together.
        let joins = span.start == end
            && ((operator && last_operator)
                || part == "."
                || tokens.last().is_some_and(|last| last.ends_with('.')));
        match tokens.last_mut() {
            Some(last) if joins => last.push_str(part),
            _ => tokens.push(part.to_owned()),
        }
        last_operator = operator;
        end = span.end;
    }
    tokens
}

fn change_tokens(random: &mut StdRng, layout: &Layout, tokens: &mut Vec<String>) {
    if tokens.len() < 3 {
        return;
    }
    let at = random.random_range(0..tokens.len());
    let other = random.random_range(0..tokens.len());
    match random.random_range(0..12) {
        0 => drop(tokens.remove(at)),
        1 => tokens.insert(at, tokens[at].clone()),
        2 => tokens.swap(at, other),
        3 => tokens[at] = tokens[other].clone(),
        4 | 5 => tokens.insert(at, (*TOKENS.choose(random).unwrap()).to_owned()),
        6 => {
            let name = &layout.tables.choose(random).unwrap().name;
            tokens[at] = name.clone();
        }
        7 => {
            let table = layout.tables.choose(random).unwrap();
            let column = &table.columns.choose(random).unwrap().name;
            tokens[at] = match tokens[at].split_once('.') {
                Some((alias, _)) => format!("{alias}.{column}"),
                None => column.clone(),
            };
        }
        8 => {
            // Another spelling of the same, or nearly.
            let token = &tokens[at];
            let plain = token.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            tokens[at] = match random.random_range(0..4) {
                0 => token.to_uppercase(),
                1 if plain => format!("\"{token}\""),
                2 if plain && token.is_ascii() => format!("U&\"{}\"", escaped(token)),
                _ => token.to_lowercase(),
            };
        }
        9 => {
            tokens.insert(at, "(".to_owned());
            let end = random.random_range(at + 1..=tokens.len());
            tokens.insert(end, ")".to_owned());
        }
        10 => {
            let tenant = layout.tenants.choose(random).unwrap().clone();
            let places: Vec<usize> = (0..tokens.len())
                .filter(|at| tokens[*at].starts_with(|c: char| c == '\'' || c.is_ascii_digit()))
                .collect();
            if let Some(at) = places.choose(random) {
                tokens[*at] = tenant;
            }
        }
        _ => {
            // A part of it once more, elsewhere.
            let (from, to) = (at.min(other), at.max(other));
            let part: Vec<String> = tokens[from..to].to_vec();
            let place = random.random_range(0..tokens.len());
            if part.len() < 12 {
                tokens.splice(place..place, part);
            }
        }
    }
}

fn escaped(word: &str) -> String {
    word.bytes().map(|byte| format!("\\{byte:04x}")).collect()
}

/// Another text of a changed tree, if one was found.
pub fn of_tree(random: &mut StdRng, layout: &Layout, text: &str) -> Option<String> {
    let statements = Statement::read(text).ok()?;
    let [statement] = statements.as_slice() else {
        return None;
    };
    let original = statement.node()?;
    let mut donors = Vec::new();
    tree::walk(Ref::of(original), &mut |node| {
        collect(node, &mut donors);
        Descent::Into
    });
    for _ in 0..12 {
        let mut made = original.clone();
        for _ in 0..random.random_range(1..3) {
            change_tree(random, layout, &donors, &mut made);
        }
        if tree::same(&made, original) {
            continue;
        }
        if let Ok(text) = tree::print(&made)
            && is_one(&text)
        {
            return Some(text);
        }
    }
    None
}

/// Expressions that can stand anywhere.
fn collect(node: Ref<'_>, donors: &mut Vec<Node>) {
    let mut take = |node: Option<&Node>| {
        if let Some(node) = node
            && matches!(
                node.node,
                Some(
                    NodeEnum::AExpr(_)
                        | NodeEnum::BoolExpr(_)
                        | NodeEnum::AConst(_)
                        | NodeEnum::FuncCall(_)
                        | NodeEnum::SubLink(_)
                        | NodeEnum::CaseExpr(_)
                        | NodeEnum::NullTest(_)
                        | NodeEnum::TypeCast(_)
                        | NodeEnum::CoalesceExpr(_)
                        | NodeEnum::ColumnRef(_)
                )
            )
            && !is_star(node)
        {
            donors.push(node.clone());
        }
    };
    match node {
        Ref::AExpr(expression) => {
            take(expression.lexpr.as_deref());
            take(expression.rexpr.as_deref());
        }
        Ref::BoolExpr(expression) => expression.args.iter().for_each(|arg| take(Some(arg))),
        Ref::FuncCall(call) => call.args.iter().for_each(|arg| take(Some(arg))),
        Ref::ResTarget(target) => take(target.val.as_deref()),
        Ref::SelectStmt(select) => take(select.where_clause.as_deref()),
        _ => {}
    }
}

fn is_star(node: &Node) -> bool {
    match &node.node {
        Some(NodeEnum::ColumnRef(column)) => column
            .fields
            .iter()
            .any(|field| matches!(&field.node, Some(NodeEnum::AStar(_)))),
        _ => false,
    }
}

/// Changes one of the nodes that can be changed.
fn change_tree(random: &mut StdRng, layout: &Layout, donors: &[Node], tree: &mut NodeEnum) {
    let mut places = 0;
    tree::walk_mut(Mut::of(tree), &mut |node| {
        places += usize::from(is_place(node));
        Descent::Into
    });
    if places == 0 {
        return;
    }
    let chosen = random.random_range(0..places);
    let mut at = 0;
    tree::walk_mut(Mut::of(tree), &mut |node| {
        if is_place(node) {
            if at == chosen {
                change(random, layout, donors, node);
            }
            at += 1;
        }
        match at > chosen {
            true => Descent::Over,
            false => Descent::Into,
        }
    });
}

fn is_place(node: &Mut<'_>) -> bool {
    matches!(
        node,
        Mut::AExpr(_)
            | Mut::BoolExpr(_)
            | Mut::SelectStmt(_)
            | Mut::JoinExpr(_)
            | Mut::RangeVar(_)
            | Mut::ColumnRef(_)
            | Mut::SubLink(_)
            | Mut::ResTarget(_)
            | Mut::CommonTableExpr(_)
            | Mut::UpdateStmt(_)
            | Mut::DeleteStmt(_)
            | Mut::InsertStmt(_)
            | Mut::FuncCall(_)
            | Mut::OnConflictClause(_)
            | Mut::NullTest(_)
    )
}

fn change(random: &mut StdRng, layout: &Layout, donors: &[Node], node: &mut Mut<'_>) {
    let donor = donors.choose(random).cloned().map(Box::new);
    let choice = random.random_range(0..4);
    match node {
        // The printer takes only what the grammar makes: lists stay where lists stand.
        Mut::AExpr(expression) if expression.kind() == AExprKind::AexprOp && donor.is_some() => {
            match choice {
                0 if expression.lexpr.is_some() => {
                    std::mem::swap(&mut expression.lexpr, &mut expression.rexpr);
                }
                1 if expression.lexpr.is_some() => expression.lexpr = donor,
                _ => expression.rexpr = donor,
            }
        }
        Mut::AExpr(expression) if expression.kind() == AExprKind::AexprIn && donor.is_some() => {
            expression.lexpr = donor;
        }
        Mut::BoolExpr(expression) => match (choice, expression.boolop()) {
            (0 | 1, BoolExprType::AndExpr) => expression.set_boolop(BoolExprType::OrExpr),
            (0 | 1, BoolExprType::OrExpr) => expression.set_boolop(BoolExprType::AndExpr),
            (_, BoolExprType::AndExpr | BoolExprType::OrExpr) => {
                expression.args.reverse();
                expression.args.extend(donor.map(|donor| *donor));
            }
            _ => {}
        },
        Mut::SelectStmt(select) => match choice {
            0 if select.op() != SetOperation::SetopNone => {
                std::mem::swap(&mut select.larg, &mut select.rarg);
            }
            0 => select.where_clause = None,
            1 if select.op() == SetOperation::SetopNone && select.values_lists.is_empty() => {
                select.where_clause = donor;
            }
            2 => select.sort_clause.clear(),
            _ => select.target_list.reverse(),
        },
        Mut::JoinExpr(join) if join.using_clause.is_empty() && join.quals.is_some() => match choice
        {
            0 => std::mem::swap(&mut join.larg, &mut join.rarg),
            1 => join.quals = donor.or(join.quals.take()),
            _ => {
                let kinds = [
                    JoinType::JoinInner,
                    JoinType::JoinLeft,
                    JoinType::JoinRight,
                    JoinType::JoinFull,
                ];
                join.set_jointype(*kinds.choose(random).unwrap());
            }
        },
        Mut::RangeVar(table) => match choice {
            0 => table.schemaname.clear(),
            1 => {
                let tables = layout.all(Part::Tenants);
                let name = tables.choose(random).unwrap().name.replace('"', "");
                if let Some((schema, name)) = name.split_once('.') {
                    // The columns that the statement names stay those of the other one.
                    table.schemaname = schema.to_owned();
                    table.relname = name.to_owned();
                }
            }
            2 => table.inh = !table.inh,
            _ => table.alias = None,
        },
        Mut::ColumnRef(column) => match choice {
            0 if column.fields.len() > 1 => drop(column.fields.remove(0)),
            _ => {
                let table = layout.tables.choose(random).unwrap();
                let name = table.columns.choose(random).unwrap().name.replace('"', "");
                if let Some(NodeEnum::String(last)) = column
                    .fields
                    .last_mut()
                    .and_then(|field| field.node.as_mut())
                {
                    last.sval = name;
                }
            }
        },
        Mut::SubLink(link) if link.testexpr.is_none() => {
            let kinds = [
                SubLinkType::ExistsSublink,
                SubLinkType::ExprSublink,
                SubLinkType::ArraySublink,
            ];
            link.set_sub_link_type(*kinds.choose(random).unwrap());
        }
        Mut::ResTarget(target) => {
            if let (Some(value), Some(donor)) = (&mut target.val, donor)
                && !matches!(&value.node, Some(NodeEnum::MultiAssignRef(_)))
            {
                *value = donor;
            }
        }
        Mut::CommonTableExpr(item) => {
            let names: Vec<&String> = layout
                .tables
                .iter()
                .filter_map(|table| table.short.as_ref())
                .collect();
            item.ctename = names.choose(random).unwrap().replace('"', "");
        }
        Mut::UpdateStmt(update) => update.where_clause = donor,
        Mut::DeleteStmt(delete) => delete.where_clause = donor,
        Mut::InsertStmt(insert) => insert.cols.reverse(),
        Mut::FuncCall(call) if call.funcformat() == CoercionForm::CoerceExplicitCall => {
            match (choice, donor) {
                (0, _) => call.args.reverse(),
                (_, Some(donor)) if !call.args.is_empty() => call.args[0] = *donor,
                _ => {}
            }
        }
        Mut::OnConflictClause(clause) => match choice {
            0 => clause.infer = None,
            1 => clause.where_clause = donor,
            _ => clause.target_list.reverse(),
        },
        Mut::NullTest(test) if donor.is_some() => test.arg = donor,
        _ => {}
    }
}
