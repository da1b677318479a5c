//! Nodes that the rewriter puts into trees.

use pg_query::protobuf::{
    self, AConst, AExpr, AExprKind, AStar, Alias, BoolExpr, BoolExprType, CaseExpr, CaseWhen,
    ColumnRef, Integer, LimitOption, NullTest, NullTestType, ParamRef, RangeSubselect, RangeVar,
    ResTarget, SelectStmt, SetOperation, TypeCast, TypeName, a_const,
};
use pg_query::{Node, NodeEnum};

/// The node in its slot.
pub fn node(node: NodeEnum) -> Node {
    Node { node: Some(node) }
}

/// A name or a word.
pub fn string(text: &str) -> Node {
    node(NodeEnum::String(protobuf::String {
        sval: text.to_owned(),
    }))
}

/// A text literal.
fn literal(text: &str) -> Node {
    node(NodeEnum::AConst(AConst {
        isnull: false,
        location: 0,
        val: Some(a_const::Val::Sval(protobuf::String {
            sval: text.to_owned(),
        })),
    }))
}

/// `CAST('value' AS pg_catalog.type)`.
pub fn constant(value: &str, type_name: &str) -> Node {
    cast(literal(value), type_name)
}

/// `CAST($number AS pg_catalog.type)`.
pub fn parameter(number: u16, type_name: &str) -> Node {
    let parameter = NodeEnum::ParamRef(ParamRef {
        number: number.into(),
        location: 0,
    });
    cast(node(parameter), type_name)
}

fn cast(value: Node, type_name: &str) -> Node {
    node(NodeEnum::TypeCast(Box::new(TypeCast {
        arg: Some(Box::new(value)),
        type_name: Some(TypeName {
            names: vec![string("pg_catalog"), string(type_name)],
            type_oid: 0,
            setof: false,
            pct_type: false,
            typmods: Vec::new(),
            typemod: -1,
            array_bounds: Vec::new(),
            location: 0,
        }),
        location: 0,
    })))
}

/// `relation.column`.
pub fn column(relation: &str, column: &str) -> Node {
    node(NodeEnum::ColumnRef(ColumnRef {
        fields: vec![string(relation), string(column)],
        location: 0,
    }))
}

/// `left OPERATOR(pg_catalog.=) right`.
pub fn equals(left: Node, right: Node) -> Node {
    node(NodeEnum::AExpr(Box::new(AExpr {
        kind: AExprKind::AexprOp.into(),
        name: vec![string("pg_catalog"), string("=")],
        lexpr: Some(Box::new(left)),
        rexpr: Some(Box::new(right)),
        rexpr_list_start: 0,
        rexpr_list_end: 0,
        location: 0,
    })))
}

/// `CASE WHEN condition THEN result [ELSE otherwise] END`.
pub fn case(condition: Node, result: Node, otherwise: Option<Node>) -> Node {
    node(NodeEnum::CaseExpr(Box::new(CaseExpr {
        xpr: None,
        casetype: 0,
        casecollid: 0,
        arg: None,
        args: vec![node(NodeEnum::CaseWhen(Box::new(CaseWhen {
            xpr: None,
            expr: Some(Box::new(condition)),
            result: Some(Box::new(result)),
            location: 0,
        })))],
        defresult: otherwise.map(Box::new),
        location: 0,
    })))
}

/// `NULL`.
pub fn null() -> Node {
    node(NodeEnum::AConst(AConst {
        isnull: true,
        location: 0,
        val: None,
    }))
}

/// `expression IS NULL`.
pub fn is_null(expression: Node) -> Node {
    node(NodeEnum::NullTest(Box::new(NullTest {
        xpr: None,
        arg: Some(Box::new(expression)),
        nulltesttype: NullTestType::IsNull.into(),
        argisrow: false,
        location: 0,
    })))
}

/// `false`.
pub fn falsehood() -> Node {
    node(NodeEnum::AConst(AConst {
        isnull: false,
        location: 0,
        val: Some(a_const::Val::Boolval(protobuf::Boolean { boolval: false })),
    }))
}

/// The conditions joined by AND, as the parser would have it.
pub fn all(mut conditions: Vec<Node>) -> Option<Node> {
    if conditions.len() < 2 {
        return conditions.pop();
    }
    Some(node(NodeEnum::BoolExpr(Box::new(BoolExpr {
        xpr: None,
        boolop: BoolExprType::AndExpr.into(),
        args: conditions,
        location: 0,
    }))))
}

/// `expression AS name`, or without a name.
pub fn target(name: &str, expression: Node) -> Node {
    node(NodeEnum::ResTarget(Box::new(ResTarget {
        name: name.to_owned(),
        indirection: Vec::new(),
        val: Some(Box::new(expression)),
        location: 0,
    })))
}

/// A SELECT of nothing from nothing.
pub fn select() -> SelectStmt {
    SelectStmt {
        limit_option: LimitOption::Default.into(),
        op: SetOperation::SetopNone.into(),
        ..SelectStmt::default()
    }
}

/// `(SELECT inner.* FROM table AS inner WHERE conditions [OFFSET 0]) AS alias`; `columns`: of these
/// alone.
pub fn wrap(
    mut table: RangeVar,
    inner: &str,
    columns: Option<Vec<&str>>,
    conditions: Vec<Node>,
    fence: bool,
    alias: Alias,
) -> Node {
    table.alias = Some(Alias {
        aliasname: inner.to_owned(),
        colnames: Vec::new(),
    });
    let star = node(NodeEnum::ColumnRef(ColumnRef {
        fields: vec![string(inner), node(NodeEnum::AStar(AStar {}))],
        location: 0,
    }));
    let target_list = match columns {
        None => vec![target("", star)],
        Some(names) => names
            .into_iter()
            .map(|name| target("", column(inner, name)))
            .collect(),
    };
    let mut query = SelectStmt {
        target_list,
        from_clause: vec![node(NodeEnum::RangeVar(table))],
        where_clause: all(conditions).map(Box::new),
        ..select()
    };
    if fence {
        query.limit_offset = Some(Box::new(node(NodeEnum::AConst(AConst {
            isnull: false,
            location: 0,
            val: Some(a_const::Val::Ival(Integer { ival: 0 })),
        }))));
        query.limit_option = LimitOption::Count.into();
    }
    subselect(query, alias)
}

/// `(query) AS alias`.
pub fn subselect(query: SelectStmt, alias: Alias) -> Node {
    node(NodeEnum::RangeSubselect(Box::new(RangeSubselect {
        lateral: false,
        subquery: Some(Box::new(node(NodeEnum::SelectStmt(Box::new(query))))),
        alias: Some(alias),
    })))
}

/// The parts of a name; `None` when one of them is none, `*` say.
pub fn words(nodes: &[Node]) -> Option<Vec<&str>> {
    nodes.iter().map(word).collect()
}

/// The last part of a name.
pub fn last(nodes: &[Node]) -> Option<&str> {
    nodes.last().and_then(word)
}

fn word(node: &Node) -> Option<&str> {
    match &node.node {
        Some(NodeEnum::String(string)) => Some(&string.sval),
        _ => None,
    }
}
