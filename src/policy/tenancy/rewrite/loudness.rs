//! Which expressions may tell of the rows they are run on other than by their result: by an error
//! that depends on a value. The planner may run such a condition before the tenant test.

use std::collections::HashSet;

use pg_query::protobuf::{AExpr, AExprKind, ColumnRef, FuncCall, a_const};
use pg_query::{Node, NodeEnum};

use crate::policy::tenancy::lists::{Volume, lists};

/// What the statement's tables and names have that changes the judgement of its expressions.
#[derive(Debug, Default)]
pub struct Hazards {
    /// A column of type json: reading it may fail.
    pub json: bool,
    /// A column of a type whose values the server casts to another one where types meet, and may
    /// fail: dates and timestamps have years that the other types have not.
    pub dates: bool,
    /// Names of relations: alone they stand for a whole row, whose comparison may fail.
    pub rows: HashSet<String>,
}

/// What an expression is fed with, and whether it may fail of that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Judgement {
    /// It holds a column or a sub-select.
    pub rows: bool,
    /// Something of it is loud on them.
    pub loud: bool,
}

impl Judgement {
    const CONSTANT: Self = Self {
        rows: false,
        loud: false,
    };
    const ROWS: Self = Self {
        rows: true,
        loud: false,
    };
    const LOUD: Self = Self {
        rows: true,
        loud: true,
    };

    fn or(self, other: Self) -> Self {
        Self {
            rows: self.rows || other.rows,
            loud: self.loud || other.loud,
        }
    }

    /// The same, loud when fed with rows unless `quiet`.
    fn under(self, quiet: bool) -> Self {
        Self {
            rows: self.rows,
            loud: self.loud || (self.rows && !quiet),
        }
    }
}

/// Whether the expression is loud. Sub-selects inside are judged by themselves.
pub fn is_loud(expression: &Node, hazards: &Hazards) -> bool {
    judge(expression, hazards).loud
}

/// Judges an expression. What is not known is loud.
pub fn judge(expression: &Node, hazards: &Hazards) -> Judgement {
    let Some(expression) = &expression.node else {
        return Judgement::CONSTANT;
    };
    let each = |nodes: &[Node]| {
        nodes
            .iter()
            .map(|node| judge(node, hazards))
            .fold(Judgement::CONSTANT, Judgement::or)
    };
    let one = |node: &Option<Box<Node>>| {
        node.as_ref()
            .map_or(Judgement::CONSTANT, |node| judge(node, hazards))
    };
    match expression {
        NodeEnum::AConst(_)
        | NodeEnum::ParamRef(_)
        | NodeEnum::SqlvalueFunction(_)
        | NodeEnum::SetToDefault(_) => Judgement::CONSTANT,
        NodeEnum::ColumnRef(column) => judge_column(column, hazards),
        NodeEnum::BoolExpr(expression) => each(&expression.args),
        NodeEnum::List(list) => each(&list.items),
        NodeEnum::CoalesceExpr(expression) => each(&expression.args).under(!hazards.dates),
        NodeEnum::AArrayExpr(array) => each(&array.elements).under(!hazards.dates),
        NodeEnum::CaseExpr(case) => {
            // `CASE x WHEN y` compares like `x = y`.
            let inputs = one(&case.arg).or(each(&case.args)).or(one(&case.defresult));
            let rows = case.arg.is_some() && case.args.iter().any(has_row);
            inputs.under(!rows && !hazards.dates)
        }
        NodeEnum::CaseWhen(when) => one(&when.expr).or(one(&when.result)),
        NodeEnum::NullTest(test) => one(&test.arg),
        NodeEnum::BooleanTest(test) => one(&test.arg),
        NodeEnum::CollateClause(clause) => one(&clause.arg),
        NodeEnum::AIndirection(indirection) => {
            one(&indirection.arg).or(each(&indirection.indirection))
        }
        NodeEnum::AIndices(indices) => one(&indices.lidx).or(one(&indices.uidx)),
        NodeEnum::NamedArgExpr(argument) => one(&argument.arg),
        NodeEnum::GroupingFunc(_) => Judgement::ROWS,
        // A row by itself; its comparison is judged by the operator above it.
        NodeEnum::RowExpr(row) => each(&row.args),
        NodeEnum::SubLink(link) => {
            let quiet =
                link.oper_name.is_empty() || operator(&link.oper_name, hazards) == Quiet::Yes;
            one(&link.testexpr).or(Judgement::ROWS).under(quiet)
        }
        NodeEnum::TypeCast(cast) => {
            let to = cast.type_name.as_ref().and_then(|name| {
                let plain = name.array_bounds.is_empty();
                name.names.last().filter(|_| plain).and_then(text)
            });
            one(&cast.arg).under(matches!(to, Some("text" | "varchar")))
        }
        NodeEnum::AExpr(expression) => judge_operator(expression, hazards),
        NodeEnum::FuncCall(call) => judge_call(call, hazards),
        _ => Judgement::LOUD,
    }
}

fn judge_column(column: &ColumnRef, hazards: &Hazards) -> Judgement {
    match column.fields.as_slice() {
        [only] => match text(only) {
            Some(name) if !hazards.rows.contains(name) => Judgement::ROWS,
            _ => Judgement::LOUD,
        },
        // `o.row_to_json` calls a function.
        [.., last] => match text(last) {
            Some(name) if !lists().takes_row(name) => Judgement::ROWS,
            _ => Judgement::LOUD,
        },
        [] => Judgement::LOUD,
    }
}

fn has_row(node: &Node) -> bool {
    match &node.node {
        Some(NodeEnum::RowExpr(_)) => true,
        Some(NodeEnum::CaseWhen(when)) => when.expr.as_deref().is_some_and(has_row),
        Some(NodeEnum::List(list)) => list.items.iter().any(has_row),
        _ => false,
    }
}

#[derive(PartialEq, Eq)]
enum Quiet {
    Yes,
    No,
}

fn operator(name: &[Node], hazards: &Hazards) -> Quiet {
    let volume = name
        .last()
        .and_then(text)
        .and_then(|name| lists().operator(name, hazards.json));
    if volume == Some(Volume::Quiet) {
        Quiet::Yes
    } else {
        Quiet::No
    }
}

fn judge_operator(expression: &AExpr, hazards: &Hazards) -> Judgement {
    let side = |node: &Option<Box<Node>>| {
        node.as_ref()
            .map_or(Judgement::CONSTANT, |node| judge(node, hazards))
    };
    let inputs = side(&expression.lexpr).or(side(&expression.rexpr));
    let sides = [&expression.lexpr, &expression.rexpr].map(|side| side.as_deref());
    let is_row = |side: Option<&Node>| side.is_some_and(has_row);
    // Two rows are compared column by column; a row and anything else as wholes, which may fail at
    // some column or not, depending on those before it.
    let rows_match = is_row(sides[0]) == is_row(sides[1]);
    let named = operator(&expression.name, hazards) == Quiet::Yes;
    let quiet = match expression.kind() {
        AExprKind::AexprOp | AExprKind::AexprIn => named && rows_match,
        AExprKind::AexprOpAny | AExprKind::AexprOpAll => {
            named && !is_row(sides[0]) && !is_row(sides[1])
        }
        AExprKind::AexprDistinct
        | AExprKind::AexprNotDistinct
        | AExprKind::AexprNullif
        | AExprKind::AexprBetween
        | AExprKind::AexprNotBetween
        | AExprKind::AexprBetweenSym
        | AExprKind::AexprNotBetweenSym => !is_row(sides[0]) && !is_row(sides[1]),
        AExprKind::AexprLike | AExprKind::AexprIlike => is_plain_pattern(sides[1]),
        AExprKind::AexprSimilar | AExprKind::Undefined => false,
    };
    inputs.under(quiet)
}

/// A pattern that ends in a backslash fails only on texts that match it as far as that.
pub fn is_plain_pattern(pattern: Option<&Node>) -> bool {
    match pattern.and_then(|pattern| pattern.node.as_ref()) {
        Some(NodeEnum::AConst(constant)) => match &constant.val {
            Some(a_const::Val::Sval(pattern)) => !pattern.sval.contains('\\'),
            _ => false,
        },
        _ => false,
    }
}

fn judge_call(call: &FuncCall, hazards: &Hazards) -> Judgement {
    let one = |node: &Node| judge(node, hazards);
    let mut inputs = call
        .args
        .iter()
        .map(one)
        .fold(Judgement::CONSTANT, Judgement::or);
    inputs = call
        .agg_order
        .iter()
        .fold(inputs, |inputs, sort| match &sort.node {
            Some(NodeEnum::SortBy(sort)) => inputs.or(sort
                .node
                .as_ref()
                .map_or(Judgement::CONSTANT, |node| one(node))),
            _ => Judgement::LOUD,
        });
    if let Some(filter) = &call.agg_filter {
        inputs = inputs.or(one(filter));
    }
    if call.over.is_some() || call.agg_star {
        inputs = inputs.or(Judgement::ROWS);
    }
    let own = match call.funcname.as_slice() {
        [_] => true,
        [schema, _] => text(schema) == Some("pg_catalog"),
        _ => false,
    };
    let name = call.funcname.last().and_then(text).filter(|_| own);
    // `length(bytes, encoding)` fails on bytes that are no text of it.
    let decodes = name == Some("length") && call.args.len() > 1;
    let volume = name.and_then(|name| lists().function(name));
    inputs.under(volume == Some(Volume::Quiet) && !decodes)
}

/// The text of a name's part.
pub fn text(node: &Node) -> Option<&str> {
    match &node.node {
        Some(NodeEnum::String(string)) => Some(&string.sval),
        _ => None,
    }
}
