//! Expressions: what may stand in them, and the names in them.

use pg_query::protobuf::{
    AExpr, AExprKind, CaseExpr, CaseWhen, CollateClause, ColumnRef, FuncCall, SqlValueFunctionOp,
    SubLink, SubLinkType, TypeCast, TypeName, WindowDef,
};
use pg_query::{Node, NodeEnum};

use super::loudness::{is_loud, is_plain_pattern, text};
use super::{Done, Place, Rewriter, own_name, refuse};
use crate::policy::tenancy::catalog::RelationName;
use crate::policy::tenancy::lists::lists;
use crate::policy::tenancy::{RESERVED, Rule, build};
use crate::sql::tree::{self, Ref};

/// Columns that every table has and no wrap.
pub(super) const SYSTEM_COLUMNS: [&str; 6] = ["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];

/// Collations that are the same everywhere.
const COLLATIONS: [&str; 4] = ["C", "POSIX", "default", "ucs_basic"];

impl Rewriter<'_> {
    /// Rewrites an expression that stands at `place`.
    pub(super) fn value_at(&mut self, node: &mut Node, place: Place) -> Done {
        if place == Place::Condition {
            self.loud |= is_loud(node, &self.hazards);
        }
        self.expression(node)
    }

    /// Rewrites the expression if there is one.
    pub(super) fn optional(&mut self, node: &mut Option<Box<Node>>, place: Place) -> Done {
        match node {
            Some(node) => self.value_at(node, place),
            None => Ok(()),
        }
    }

    /// Rewrites expressions that stand at `place`.
    pub(super) fn values_at(&mut self, nodes: &mut [Node], place: Place) -> Done {
        nodes
            .iter_mut()
            .try_for_each(|node| self.value_at(node, place))
    }

    fn expressions(&mut self, nodes: &mut [Node]) -> Done {
        nodes.iter_mut().try_for_each(|node| self.expression(node))
    }

    fn maybe(&mut self, node: &mut Option<Box<Node>>) -> Done {
        match node {
            Some(node) => self.expression(node),
            None => Ok(()),
        }
    }

    /// Rewrites an expression, wherever it stands.
    pub(super) fn expression(&mut self, node: &mut Node) -> Done {
        self.enter()?;
        let Some(node) = &mut node.node else {
            return refuse(Rule::Construct, "nothing");
        };
        match node {
            NodeEnum::AConst(_) => {}
            NodeEnum::ParamRef(param) if param.number > 0 => {}
            NodeEnum::ColumnRef(column) => self.column(column)?,
            NodeEnum::TypeCast(cast) => {
                let TypeCast {
                    arg,
                    type_name,
                    location: _,
                } = &mut **cast;
                let Some(type_name) = type_name else {
                    return refuse(Rule::Type, "");
                };
                self.type_name(type_name)?;
                self.maybe(arg)?;
            }
            NodeEnum::AExpr(expression) => self.operator(expression)?,
            NodeEnum::BoolExpr(expression) => self.expressions(&mut expression.args)?,
            NodeEnum::FuncCall(call) => self.call(call)?,
            NodeEnum::SubLink(link) => self.sublink(link)?,
            NodeEnum::CaseExpr(case) => {
                let CaseExpr {
                    xpr: _,
                    casetype: _,
                    casecollid: _,
                    arg,
                    args,
                    defresult,
                    location: _,
                } = &mut **case;
                self.maybe(arg)?;
                for when in args {
                    let Some(NodeEnum::CaseWhen(when)) = &mut when.node else {
                        return refuse(Rule::Construct, "CASE");
                    };
                    let CaseWhen {
                        xpr: _,
                        expr,
                        result,
                        location: _,
                    } = &mut **when;
                    self.maybe(expr)?;
                    self.maybe(result)?;
                }
                self.maybe(defresult)?;
            }
            NodeEnum::CoalesceExpr(expression) => self.expressions(&mut expression.args)?,
            NodeEnum::MinMaxExpr(expression) => self.expressions(&mut expression.args)?,
            NodeEnum::NullTest(test) => self.maybe(&mut test.arg)?,
            NodeEnum::BooleanTest(test) => self.maybe(&mut test.arg)?,
            NodeEnum::RowExpr(row) => {
                own_row(&row.colnames)?;
                self.expressions(&mut row.args)?;
            }
            NodeEnum::AArrayExpr(array) => self.expressions(&mut array.elements)?,
            NodeEnum::List(list) => self.expressions(&mut list.items)?,
            NodeEnum::AIndirection(indirection) => {
                self.maybe(&mut indirection.arg)?;
                for step in &mut indirection.indirection {
                    // `(row).name` calls a function when the row has no such column.
                    let Some(NodeEnum::AIndices(indices)) = &mut step.node else {
                        return refuse(Rule::Construct, "field selection");
                    };
                    self.maybe(&mut indices.lidx)?;
                    self.maybe(&mut indices.uidx)?;
                }
            }
            NodeEnum::CollateClause(clause) => self.collation(clause)?,
            NodeEnum::NamedArgExpr(argument) => self.maybe(&mut argument.arg)?,
            NodeEnum::GroupingFunc(grouping) => self.expressions(&mut grouping.args)?,
            NodeEnum::SqlvalueFunction(function) => match function.op() {
                SqlValueFunctionOp::SvfopCurrentDate
                | SqlValueFunctionOp::SvfopCurrentTime
                | SqlValueFunctionOp::SvfopCurrentTimeN
                | SqlValueFunctionOp::SvfopCurrentTimestamp
                | SqlValueFunctionOp::SvfopCurrentTimestampN
                | SqlValueFunctionOp::SvfopLocaltime
                | SqlValueFunctionOp::SvfopLocaltimeN
                | SqlValueFunctionOp::SvfopLocaltimestamp
                | SqlValueFunctionOp::SvfopLocaltimestampN => {}
                other => return refuse(Rule::Function, format!("{other:?}")),
            },
            other => return refuse(Rule::Construct, Ref::of(other).name()),
        }
        self.leave();
        Ok(())
    }

    fn column(&mut self, column: &mut ColumnRef) -> Done {
        let ColumnRef {
            fields,
            location: _,
        } = column;
        for name in fields.iter().filter_map(text) {
            own_name(name)?;
        }
        match fields.last().and_then(|last| last.node.as_ref()) {
            Some(NodeEnum::AStar(_)) => {}
            Some(NodeEnum::String(name)) => {
                if SYSTEM_COLUMNS.contains(&name.sval.as_str()) {
                    return refuse(Rule::SystemColumn, &name.sval);
                }
                if fields.len() == 1 {
                    self.row(&name.sval)?;
                }
                if fields.len() > 1 {
                    self.qualified(&name.sval)?;
                }
            }
            _ => return refuse(Rule::Construct, "column"),
        }
        if fields
            .iter()
            .rev()
            .skip(1)
            .any(|field| text(field).is_none())
        {
            return refuse(Rule::Construct, "column");
        }
        match fields.len() {
            1 | 2 => Ok(()),
            // A wrap has no schema; the table's own name is its alias.
            3 => {
                let (Some(schema), Some(table)) = (text(&fields[0]), text(&fields[1])) else {
                    return refuse(Rule::Construct, "column");
                };
                if !self.bare.contains(&RelationName::new(schema, table)) {
                    return refuse(Rule::SchemaOfColumn, format!("{schema}.{table}"));
                }
                fields.remove(0);
                Ok(())
            }
            _ => refuse(Rule::DatabaseName, "column"),
        }
    }

    /// A whole row of a table under other names of columns has the table's own for the server, and
    /// would have the other ones here.
    fn row(&self, alias: &str) -> Done {
        match self.renamed.contains(alias) {
            true => refuse(Rule::Construct, "row with renamed columns"),
            false => Ok(()),
        }
    }

    /// `o.name` calls function `name` when `o` has no such column.
    fn qualified(&self, name: &str) -> Done {
        if !self.columns.contains(name) {
            return refuse(Rule::Column, name);
        }
        if lists().takes_row(name) && lists().function(name).is_none() {
            return refuse(Rule::Function, name);
        }
        Ok(())
    }

    /// Rewrites a type's name: only types of `pg_catalog` that are on the list.
    pub(super) fn type_name(&mut self, name: &mut TypeName) -> Done {
        let TypeName {
            names,
            type_oid,
            setof,
            pct_type,
            typmods,
            typemod: _,
            array_bounds: _,
            location: _,
        } = name;
        if *type_oid != 0 || *setof || *pct_type {
            return refuse(Rule::Type, "");
        }
        let known = match names.as_slice() {
            [only] => text(only),
            [schema, last] if text(schema) == Some("pg_catalog") => text(last),
            _ => None,
        };
        let Some(known) = known.filter(|name| lists().has_type(name)) else {
            return refuse(Rule::Type, names.last().and_then(text).unwrap_or_default());
        };
        if !typmods
            .iter()
            .all(|modifier| matches!(&modifier.node, Some(NodeEnum::AConst(_))))
        {
            return refuse(Rule::Type, known);
        }
        *names = vec![build::string("pg_catalog"), build::string(known)];
        Ok(())
    }

    fn operator(&mut self, expression: &mut AExpr) -> Done {
        let kind = expression.kind();
        let AExpr {
            kind: _,
            name,
            lexpr,
            rexpr,
            rexpr_list_start: _,
            rexpr_list_end: _,
            location: _,
        } = expression;
        match kind {
            AExprKind::AexprOp | AExprKind::AexprOpAny | AExprKind::AexprOpAll => {
                operator_name(name)?;
            }
            AExprKind::AexprDistinct
            | AExprKind::AexprNotDistinct
            | AExprKind::AexprNullif
            | AExprKind::AexprIn
            | AExprKind::AexprLike
            | AExprKind::AexprIlike
            | AExprKind::AexprSimilar
            | AExprKind::AexprBetween
            | AExprKind::AexprNotBetween
            | AExprKind::AexprBetweenSym
            | AExprKind::AexprNotBetweenSym => {}
            AExprKind::Undefined => return refuse(Rule::Operator, ""),
        }
        self.maybe(lexpr)?;
        self.maybe(rexpr)?;
        let estimated = name
            .last()
            .and_then(text)
            .is_some_and(|name| lists().is_estimated(name));
        let plain = matches!(kind, AExprKind::AexprLike | AExprKind::AexprIlike)
            && is_plain_pattern(rexpr.as_deref());
        if self.fence && estimated && !plain {
            hide(lexpr);
        }
        Ok(())
    }

    fn call(&mut self, call: &mut FuncCall) -> Done {
        let FuncCall {
            funcname,
            args,
            agg_order,
            agg_filter,
            over,
            agg_within_group: _,
            agg_star: _,
            agg_distinct: _,
            func_variadic: _,
            funcformat: _,
            location: _,
        } = call;
        match funcname.as_slice() {
            [name] => {
                let name = text(name).unwrap_or_default().to_owned();
                allowed(&name)?;
                *funcname = vec![build::string("pg_catalog"), build::string(&name)];
            }
            [schema, name] => {
                let (schema, name) = (text(schema), text(name).unwrap_or_default());
                match schema {
                    Some("pg_catalog") => allowed(name)?,
                    Some(schema) if self.policy.attests(schema, name, args.len()) => {}
                    _ => return refuse(Rule::Function, name),
                }
            }
            _ => return refuse(Rule::Function, ""),
        }
        for arg in args.iter() {
            if let Some(NodeEnum::ColumnRef(column)) = &arg.node
                && let [alias, star] = column.fields.as_slice()
                && matches!(&star.node, Some(NodeEnum::AStar(_)))
            {
                self.row(text(alias).unwrap_or_default())?;
            }
        }
        self.expressions(args)?;
        self.sorts(agg_order, Place::Result)?;
        self.maybe(agg_filter)?;
        match over {
            Some(window) => self.window(window, Place::Result),
            None => Ok(()),
        }
    }

    /// Rewrites the definition of a window.
    pub(super) fn window(&mut self, window: &mut WindowDef, place: Place) -> Done {
        let WindowDef {
            name,
            refname: _,
            partition_clause,
            order_clause,
            frame_options: _,
            start_offset,
            end_offset,
            location: _,
        } = window;
        own_name(name)?;
        self.values_at(partition_clause, place)?;
        self.sorts(order_clause, place)?;
        self.optional(start_offset, place)?;
        self.optional(end_offset, place)
    }

    /// Rewrites an ORDER BY.
    pub(super) fn sorts(&mut self, sorts: &mut [Node], place: Place) -> Done {
        for sort in sorts {
            let Some(NodeEnum::SortBy(sort)) = &mut sort.node else {
                return refuse(Rule::Construct, "ORDER BY");
            };
            if !sort.use_op.is_empty() {
                return refuse(Rule::Operator, "USING");
            }
            self.optional(&mut sort.node, place)?;
        }
        Ok(())
    }

    fn sublink(&mut self, link: &mut SubLink) -> Done {
        let kind = link.sub_link_type();
        let SubLink {
            xpr: _,
            sub_link_type: _,
            sub_link_id: _,
            testexpr,
            oper_name,
            subselect,
            location: _,
        } = link;
        match kind {
            SubLinkType::ExistsSublink
            | SubLinkType::AllSublink
            | SubLinkType::AnySublink
            | SubLinkType::RowcompareSublink
            | SubLinkType::ExprSublink
            | SubLinkType::MultiexprSublink
            | SubLinkType::ArraySublink => {}
            SubLinkType::CteSublink | SubLinkType::Undefined => {
                return refuse(Rule::Construct, "sub-select");
            }
        }
        if !oper_name.is_empty() {
            operator_name(oper_name)?;
        }
        self.maybe(testexpr)?;
        match subselect.as_mut().and_then(|query| query.node.as_mut()) {
            Some(NodeEnum::SelectStmt(select)) => {
                let scope = (self.ctes.len(), self.bare.len());
                let wraps = self.wraps;
                self.enter()?;
                self.select(select, Place::Condition)?;
                self.leave();
                self.ctes.truncate(scope.0);
                self.bare.truncate(scope.1);
                // The same sub-select stays the same wherever it stands: the server compares those of
                // GROUP BY, DISTINCT ON and ORDER BY with the results.
                self.wraps = wraps;
                Ok(())
            }
            _ => refuse(Rule::Construct, "sub-select"),
        }
    }

    fn collation(&mut self, clause: &mut CollateClause) -> Done {
        let CollateClause {
            arg,
            collname,
            location: _,
        } = clause;
        let known = match collname.as_slice() {
            [only] => text(only),
            [schema, last] if text(schema) == Some("pg_catalog") => text(last),
            _ => None,
        };
        let Some(known) = known.filter(|name| COLLATIONS.contains(name)) else {
            return refuse(Rule::Collation, "");
        };
        *collname = vec![build::string("pg_catalog"), build::string(known)];
        self.maybe(arg)
    }
}

/// Column names of a row constructor are the parser's own, if any.
fn own_row(names: &[Node]) -> Done {
    match names
        .iter()
        .filter_map(text)
        .find(|name| name.starts_with(RESERVED))
    {
        Some(name) => refuse(Rule::ReservedName, name),
        None => Ok(()),
    }
}

/// Hides an operand from the planner's estimates: `CASE WHEN x IS NULL THEN NULL ELSE x END` is no
/// column for it, so it does not run the operator on the column's statistics.
fn hide(operand: &mut Option<Box<Node>>) {
    let Some(operand) = operand else {
        return;
    };
    let kinds = |wanted: fn(Ref<'_>) -> bool| {
        operand
            .node
            .as_ref()
            .is_some_and(|node| tree::any(node, &mut |node| wanted(node)))
    };
    let columns = kinds(|node| matches!(node, Ref::ColumnRef(_)));
    // A sub-select is no column either, and should not run twice.
    if columns && !kinds(|node| matches!(node, Ref::SubLink(_))) {
        let value = std::mem::take(&mut **operand);
        **operand = build::case(build::is_null(value.clone()), build::null(), Some(value));
    }
}

fn allowed(name: &str) -> Done {
    match lists().function(name) {
        Some(_) => Ok(()),
        None => refuse(Rule::Function, name),
    }
}

fn operator_name(name: &[Node]) -> Done {
    let last = match name {
        [only] => text(only),
        [schema, last] if text(schema) == Some("pg_catalog") => text(last),
        _ => None,
    };
    match last {
        Some(last) if lists().operator(last, false).is_some() => Ok(()),
        _ => refuse(Rule::Operator, last.unwrap_or_default()),
    }
}
