//! The second look: a small walk over the tree that is to be sent, which accepts proven shapes and
//! nothing else. It knows nothing of how the tree was made, and shares no code with the rewriter.
//!
//! A tenant table may stand
//! - as the only table of `(SELECT __tN.* FROM s.t AS __tN WHERE T [AND column op constants] [OFFSET 0])`,
//!   or of the same with columns of the table, without a hidden tenant column, for `__tN.*`,
//! - in FROM, unless the null side of an outer join, when WHERE is a conjunction with `T` in it,
//! - as the target of UPDATE or DELETE under such a WHERE, and of INSERT when every source row has
//!   the tenant's value, or an expression that yields it or NULL, at the tenant column's place,
//! - as the target of COPY FROM STDIN in a format that is read on its way (`copy.rs`), with the tenant
//!   column among those named.
//!
//! `T` is `alias.tenant_column OPERATOR(pg_catalog.=) CAST('tenant' AS pg_catalog.type)`, or the same with the
//! one parameter that is said to be the tenant's in place of the literal. Where a
//! loud expression can become a condition, every such sub-select is a fence, and conditions of
//! targets wait behind `CASE WHEN T`; so may those of a table that is the only one of a query whose rows nobody
//! sees but the client.

use std::collections::HashSet;

use pg_query::protobuf::{
    AExpr, AExprKind, BoolExprType, ColumnRef, CopyStmt, DeleteStmt, FuncCall, InsertStmt,
    JoinExpr, JoinType, OnConflictAction, RangeSubselect, RangeVar, ReturningClause, SelectStmt,
    SetOperation, TypeName, UpdateStmt, a_const,
};
use pg_query::{Node, NodeEnum};
use thiserror::Error;

use super::RESERVED;
use super::catalog::{Catalog, RelationName};
use super::lists::{Volume, lists};
use super::rules::{Policy, Role, TenantColumn};
use super::tenant::{Tenant, TenantParameter};
use crate::sql::tree::{self, Ref};

/// The tree holds something that is not proven.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("not a proven shape: {0}")]
pub struct Unproven(String);

type Proof = Result<(), Unproven>;

fn unproven<T>(what: impl Into<String>) -> Result<T, Unproven> {
    Err(Unproven(what.into()))
}

/// Where an expression stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Zone {
    /// It is run on rows that have passed all conditions.
    Result,
    /// It can become a condition of a scan.
    Condition,
    /// It is a condition of a write's target, without a guard.
    Target,
    /// It is a condition of the one table that is read, behind a guard.
    Guarded,
}

/// What must stand where the tenant's value is due.
#[derive(Debug, Clone, Copy)]
pub enum Expected<'a> {
    /// A literal, with the value of this tenant.
    Tenant(&'a Tenant),
    /// This parameter and no other; none: there is no such place.
    Parameter(Option<TenantParameter>),
}

struct Verifier<'a> {
    policy: &'a Policy,
    catalog: &'a Catalog,
    expected: Expected<'a>,
    /// Names of all WITH items, wherever they are.
    ctes: HashSet<String>,
    /// Names that stand for whole rows.
    rows: HashSet<String>,
    /// A table has a column of type json.
    json: bool,
    /// A loud expression can become a condition.
    loud: bool,
    /// Some tenant table is neither a fence nor a target.
    open: bool,
    /// Some rows are locked.
    locks: bool,
}

/// Accepts a statement of a client whose parameters all have numbers below `number`.
///
/// # Errors
/// One has not.
pub fn verify_free(tree: &NodeEnum, number: u16) -> Proof {
    let mut free = true;
    tree::walk(Ref::of(tree), &mut |node| {
        if let Ref::ParamRef(parameter) = node {
            free &= (1..i32::from(number)).contains(&parameter.number);
        }
        tree::Descent::Into
    });
    match free {
        true => Ok(()),
        false => unproven("a parameter of the client's in the tenant's place"),
    }
}

/// Accepts a tree that is to be sent for a tenant.
///
/// # Errors
/// Something of it is not proven to be safe.
pub fn verify(
    tree: &NodeEnum,
    policy: &Policy,
    catalog: &Catalog,
    expected: Expected<'_>,
) -> Proof {
    if let Expected::Parameter(Some(parameter)) = expected {
        only_as_value(tree, parameter)?;
    }
    let mut verifier = Verifier {
        policy,
        catalog,
        expected,
        ctes: HashSet::new(),
        rows: HashSet::new(),
        json: false,
        loud: false,
        open: false,
        locks: false,
    };
    verifier.collect(tree);
    verifier.statement(tree)?;
    if verifier.loud && verifier.open {
        return unproven("a loud condition beside an open table");
    }
    if verifier.loud && verifier.locks {
        return unproven("a loud condition beside a lock");
    }
    Ok(())
}

/// The tenant's parameter stands in casts to its type alone, and there is none behind it.
fn only_as_value(tree: &NodeEnum, parameter: TenantParameter) -> Proof {
    let mut sound = true;
    tree::walk(Ref::of(tree), &mut |node| match node {
        Ref::TypeCast(cast) if is_parameter(inside(&cast.arg), parameter) => {
            sound &= cast
                .type_name
                .as_ref()
                .is_some_and(|kind| is_plain_type(kind, parameter.kind.catalog_name()));
            tree::Descent::Over
        }
        Ref::ParamRef(other) => {
            sound &= (1..i32::from(parameter.number)).contains(&other.number);
            tree::Descent::Into
        }
        _ => tree::Descent::Into,
    });
    match sound {
        true => Ok(()),
        false => unproven("the tenant's parameter in another place"),
    }
}

fn is_parameter(node: Option<&NodeEnum>, parameter: TenantParameter) -> bool {
    matches!(node, Some(NodeEnum::ParamRef(found)) if found.number == i32::from(parameter.number))
}

/// `pg_catalog.name` and nothing more.
fn is_plain_type(kind: &TypeName, name: &str) -> bool {
    words(&kind.names).as_deref() == Some(&["pg_catalog", name])
        && kind.array_bounds.is_empty()
        && kind.typmods.is_empty()
        && !kind.setof
        && !kind.pct_type
}

/// Not a name of the proxy's own statements.
fn own(name: &str) -> Proof {
    match name.strip_prefix(crate::upstream::STATEMENT_PREFIX) {
        Some(_) => unproven(name),
        None => Ok(()),
    }
}

fn word(node: &Node) -> Option<&str> {
    match &node.node {
        Some(NodeEnum::String(string)) => Some(&string.sval),
        _ => None,
    }
}

fn words(nodes: &[Node]) -> Option<Vec<&str>> {
    nodes.iter().map(word).collect()
}

fn inside(node: &Option<Box<Node>>) -> Option<&NodeEnum> {
    node.as_ref()?.node.as_ref()
}

/// The conditions that AND joins, at the top alone.
fn parts(condition: Option<&NodeEnum>) -> Vec<&NodeEnum> {
    match condition {
        None => Vec::new(),
        Some(NodeEnum::BoolExpr(and)) if and.boolop() == BoolExprType::AndExpr => and
            .args
            .iter()
            .filter_map(|arg| arg.node.as_ref())
            .collect(),
        Some(single) => vec![single],
    }
}

impl<'a> Verifier<'a> {
    fn collect(&mut self, tree: &NodeEnum) {
        tree::walk(Ref::of(tree), &mut |node| {
            match node {
                Ref::CommonTableExpr(cte) => {
                    self.ctes.insert(cte.ctename.clone());
                    self.rows.insert(cte.ctename.clone());
                }
                Ref::Alias(alias) => drop(self.rows.insert(alias.aliasname.clone())),
                Ref::RangeVar(table) => {
                    self.rows.insert(table.relname.clone());
                    let name = RelationName::new(&table.schemaname, &table.relname);
                    self.json |= self.catalog.relation(&name).is_some_and(|relation| {
                        relation.columns.iter().any(|column| {
                            column.type_name.starts_with("json")
                                && !column.type_name.starts_with("jsonb")
                        })
                    });
                }
                _ => {}
            }
            tree::Descent::Into
        });
    }

    fn statement(&mut self, tree: &NodeEnum) -> Proof {
        match tree {
            NodeEnum::SelectStmt(_)
            | NodeEnum::InsertStmt(_)
            | NodeEnum::UpdateStmt(_)
            | NodeEnum::DeleteStmt(_) => self.look(Ref::of(tree), Zone::Result),
            NodeEnum::CopyStmt(copy) if copy.is_from => self.copy_from(copy),
            NodeEnum::CopyStmt(copy) => {
                let CopyStmt {
                    relation,
                    query,
                    is_from,
                    is_program,
                    filename,
                    where_clause,
                    ..
                } = &**copy;
                match inside(query) {
                    Some(query @ NodeEnum::SelectStmt(_))
                        if relation.is_none()
                            && !is_from
                            && !is_program
                            && filename.is_empty()
                            && where_clause.is_none() =>
                    {
                        self.look(Ref::of(query), Zone::Result)
                    }
                    _ => unproven("COPY"),
                }
            }
            NodeEnum::DeclareCursorStmt(declare) if declare.options & 0x20 == 0 => {
                self.inner(&declare.query)
            }
            NodeEnum::PrepareStmt(prepare) => {
                for kind in &prepare.argtypes {
                    self.item(kind, Zone::Result)?;
                }
                self.inner(&prepare.query)
            }
            NodeEnum::ExplainStmt(explain)
                if explain.options.iter().all(|option| {
                    matches!(&option.node, Some(NodeEnum::DefElem(option))
                        if matches!(option.defname.as_str(), "verbose" | "costs" | "format"))
                }) =>
            {
                self.inner(&explain.query)
            }
            NodeEnum::ExecuteStmt(execute) => {
                own(&execute.name)?;
                self.list(&execute.params, Zone::Result)
            }
            NodeEnum::TransactionStmt(transaction) if transaction.gid.is_empty() => Ok(()),
            NodeEnum::VariableShowStmt(show) => self.setting(&show.name),
            NodeEnum::VariableSetStmt(set) if set.name == "TRANSACTION" => Ok(()),
            NodeEnum::VariableSetStmt(set) => self.setting(&set.name),
            NodeEnum::FetchStmt(fetch) => own(&fetch.portalname),
            NodeEnum::ClosePortalStmt(close) => own(&close.portalname),
            NodeEnum::DeallocateStmt(deallocate) => own(&deallocate.name),
            other => unproven(Ref::of(other).name()),
        }
    }

    /// COPY FROM STDIN into a tenant table: its columns are named, the tenant's among them once, and its
    /// rows are ones that can be read on their way.
    fn copy_from(&self, copy: &CopyStmt) -> Proof {
        let CopyStmt {
            relation,
            query,
            attlist,
            is_from,
            is_program,
            filename,
            options,
            where_clause,
        } = copy;
        let plain = *is_from
            && !is_program
            && filename.is_empty()
            && query.is_none()
            && where_clause.is_none();
        let (alias, column) = self.target(relation)?;
        let own_name = relation
            .as_ref()
            .is_some_and(|table| table.relname == alias);
        let Some(columns) = words(attlist) else {
            return unproven("columns");
        };
        let places = columns.iter().filter(|name| **name == column.name);
        if !plain || !own_name || places.count() != 1 {
            return unproven("COPY FROM");
        }
        for option in options {
            let Some(NodeEnum::DefElem(option)) = &option.node else {
                return unproven("option of COPY");
            };
            let known = match option.defname.as_str() {
                "format" => {
                    let format = option.arg.as_ref().and_then(|arg| word(arg));
                    matches!(format, Some("text" | "csv"))
                }
                "delimiter" | "null" | "header" | "quote" | "escape" | "force_null"
                | "force_not_null" | "encoding" => true,
                _ => false,
            };
            if !known {
                return unproven("option of COPY");
            }
        }
        Ok(())
    }

    fn setting(&self, name: &str) -> Proof {
        let name = name.to_lowercase();
        let allowed = lists().has_transaction_setting(&name)
            || (lists().has_setting(&name) && self.policy.settings.allow.contains(&name));
        if allowed { Ok(()) } else { unproven(name) }
    }

    fn inner(&mut self, query: &Option<Box<Node>>) -> Proof {
        match inside(query) {
            Some(
                query @ (NodeEnum::SelectStmt(_)
                | NodeEnum::InsertStmt(_)
                | NodeEnum::UpdateStmt(_)
                | NodeEnum::DeleteStmt(_)),
            ) => self.look(Ref::of(query), Zone::Result),
            _ => unproven("statement inside a statement"),
        }
    }

    fn item(&mut self, node: &Node, zone: Zone) -> Proof {
        match &node.node {
            Some(node) => self.look(Ref::of(node), zone),
            None => Ok(()),
        }
    }

    fn list(&mut self, nodes: &[Node], zone: Zone) -> Proof {
        nodes.iter().try_for_each(|node| self.item(node, zone))
    }

    fn maybe(&mut self, node: &Option<Box<Node>>, zone: Zone) -> Proof {
        match node {
            Some(node) => self.item(node, zone),
            None => Ok(()),
        }
    }

    fn below(&mut self, node: Ref<'_>, zone: Zone) -> Proof {
        let mut proof = Ok(());
        node.children(&mut |child| {
            if proof.is_ok() {
                proof = self.look(child, zone);
            }
        });
        proof
    }

    /// Looks at any node that is part of a query.
    fn look(&mut self, node: Ref<'_>, zone: Zone) -> Proof {
        match node {
            Ref::SelectStmt(select) => self.select(select, zone),
            Ref::InsertStmt(insert) => self.insert(insert),
            Ref::UpdateStmt(update) => self.update(update),
            Ref::DeleteStmt(delete) => self.delete(delete),
            Ref::RangeSubselect(query) => self.subselect(query),
            Ref::RangeVar(table) => self.bystander(table),
            Ref::ColumnRef(column) => self.column(column, zone),
            Ref::FuncCall(call) => self.call(call, zone),
            Ref::AExpr(expression) => self.operator(expression, zone),
            Ref::TypeName(name) => type_name(name),
            Ref::TypeCast(cast) => {
                let to = cast.type_name.as_ref().and_then(|name| words(&name.names));
                let text = matches!(to.as_deref(), Some(["pg_catalog", "text" | "varchar"]));
                let array = cast
                    .type_name
                    .as_ref()
                    .is_some_and(|name| !name.array_bounds.is_empty());
                let rows = cast.arg.as_ref().is_some_and(|arg| has_rows(arg));
                self.hear(rows && (!text || array), zone)?;
                self.below(node, zone)
            }
            Ref::SubLink(_) if zone == Zone::Guarded => unproven("sub-select in a guard"),
            Ref::SubLink(link) => {
                let quiet = link.oper_name.is_empty() || self.is_quiet_operator(&link.oper_name)?;
                self.hear(!quiet, zone)?;
                self.maybe(&link.testexpr, zone)?;
                self.maybe(&link.subselect, Zone::Condition)
            }
            Ref::CollateClause(clause) => match words(&clause.collname).as_deref() {
                Some(["pg_catalog", "C" | "POSIX" | "default" | "ucs_basic"]) => {
                    self.maybe(&clause.arg, zone)
                }
                _ => unproven("collation"),
            },
            Ref::MinMaxExpr(_) => {
                self.hear(true, zone)?;
                self.below(node, zone)
            }
            Ref::CaseExpr(case) if case.arg.is_some() => {
                // The comparison with each WHEN.
                let row = |node: &Node| matches!(&node.node, Some(NodeEnum::RowExpr(_)));
                self.hear(case.arg.as_ref().is_some_and(|arg| row(arg)), zone)?;
                self.below(node, zone)
            }
            Ref::AIndirection(indirection) => {
                let subscripts = indirection.indirection.iter();
                let plain = subscripts
                    .clone()
                    .all(|step| matches!(&step.node, Some(NodeEnum::AIndices(_))));
                if !plain {
                    return unproven("field selection");
                }
                self.below(node, zone)
            }
            Ref::SortBy(sort) if sort.use_op.is_empty() => self.maybe(&sort.node, zone),
            Ref::ResTarget(target) if target.indirection.is_empty() => {
                self.maybe(&target.val, zone)
            }
            Ref::WithClause(with) => self.list(&with.ctes, Zone::Condition),
            Ref::CommonTableExpr(cte) => {
                if cte.ctename.starts_with(RESERVED) || cte.ctename.starts_with("pg_") {
                    return unproven("name of a WITH item");
                }
                self.maybe(&cte.ctequery, Zone::Condition)
            }
            Ref::RangeFunction(function) => {
                // Their names are checked as those of other calls.
                self.list(&function.functions, Zone::Condition)?;
                self.list(&function.coldeflist, Zone::Condition)
            }
            Ref::SqlValueFunction(function) => {
                // CURRENT_DATE to LOCALTIMESTAMP(n); behind them come roles and names.
                if (1..=9).contains(&function.op) {
                    return Ok(());
                }
                unproven("value function")
            }
            Ref::AConst(_)
            | Ref::ParamRef(_)
            | Ref::BoolExpr(_)
            | Ref::CaseExpr(_)
            | Ref::CaseWhen(_)
            | Ref::CoalesceExpr(_)
            | Ref::NullTest(_)
            | Ref::BooleanTest(_)
            | Ref::RowExpr(_)
            | Ref::AArrayExpr(_)
            | Ref::AIndices(_)
            | Ref::NamedArgExpr(_)
            | Ref::GroupingFunc(_)
            | Ref::GroupingSet(_)
            | Ref::WindowDef(_)
            | Ref::ColumnDef(_)
            | Ref::SetToDefault(_)
            | Ref::MultiAssignRef(_)
            | Ref::JoinExpr(_)
            | Ref::List(_)
            | Ref::Integer(_)
            | Ref::Float(_)
            | Ref::Boolean(_)
            | Ref::String(_)
            | Ref::BitString(_)
            | Ref::Alias(_)
            | Ref::InferClause(_)
            | Ref::IndexElem(_) => self.below(node, zone),
            other => unproven(other.name()),
        }
    }

    /// Takes note of a loud expression.
    fn hear(&mut self, loud: bool, zone: Zone) -> Proof {
        match zone {
            Zone::Target if loud => unproven("a loud condition of a write without a guard"),
            Zone::Condition => {
                self.loud |= loud;
                Ok(())
            }
            Zone::Target | Zone::Result | Zone::Guarded => Ok(()),
        }
    }

    fn select(&mut self, select: &SelectStmt, zone: Zone) -> Proof {
        let SelectStmt {
            distinct_clause,
            into_clause,
            target_list,
            from_clause,
            where_clause,
            group_clause,
            group_distinct: _,
            having_clause,
            window_clause,
            values_lists,
            sort_clause,
            limit_offset,
            limit_count,
            limit_option: _,
            locking_clause,
            with_clause,
            op: _,
            all: _,
            larg,
            rarg,
        } = select;
        if into_clause.is_some() {
            return unproven("INTO");
        }
        if let Some(with) = with_clause {
            self.look(Ref::WithClause(with), Zone::Condition)?;
        }
        for arm in [larg, rarg].into_iter().flatten() {
            self.select(arm, zone)?;
        }
        let conditions = parts(inside(where_clause));
        for item in from_clause {
            self.from(item, true, &conditions)?;
        }
        let lone = self.lone_table(select).filter(|_| zone == Zone::Result);
        for part in conditions {
            match lone.and_then(|(alias, column)| self.guard(part, alias, column)) {
                Some(guarded) => self.look(Ref::of(guarded), Zone::Guarded)?,
                None => self.look(Ref::of(part), Zone::Condition)?,
            }
        }
        self.maybe(having_clause, Zone::Condition)?;
        for results in [
            distinct_clause,
            target_list,
            group_clause,
            window_clause,
            values_lists,
            sort_clause,
        ] {
            self.list(results, zone)?;
        }
        self.maybe(limit_offset, Zone::Result)?;
        self.maybe(limit_count, Zone::Result)?;
        for lock in locking_clause {
            self.locks = true;
            let Some(NodeEnum::LockingClause(lock)) = &lock.node else {
                return unproven("lock");
            };
            let named = lock.locked_rels.iter().all(|table| {
                matches!(&table.node, Some(NodeEnum::RangeVar(table))
                    if table.schemaname.is_empty() && table.catalogname.is_empty())
            });
            if !named {
                return unproven("lock");
            }
        }
        Ok(())
    }

    /// The alias and tenant column of the only table of a query that nothing else in it can mix with.
    fn lone_table<'t>(&self, select: &'t SelectStmt) -> Option<(&'t str, TenantColumn<'a>)> {
        let [
            Node {
                node: Some(NodeEnum::RangeVar(table)),
            },
        ] = select.from_clause.as_slice()
        else {
            return None;
        };
        let column = self.tenant_table(table)?;
        let alias = match &table.alias {
            None => table.relname.as_str(),
            Some(alias) if alias.colnames.is_empty() => alias.aliasname.as_str(),
            Some(_) => return None,
        };
        let alone = !column.hidden
            && select.with_clause.is_none()
            && select.having_clause.is_none()
            && select.locking_clause.is_empty()
            && select.larg.is_none()
            && select.rarg.is_none();
        alone.then_some((alias, column))
    }

    /// Looks at an item of FROM; `strict`: the rows that WHERE refuses do not come back as NULLs.
    fn from(&mut self, item: &Node, strict: bool, conditions: &[&NodeEnum]) -> Proof {
        match &item.node {
            Some(NodeEnum::RangeVar(table)) => match self.tenant_table(table) {
                Some(column) => {
                    let alias = table
                        .alias
                        .as_ref()
                        .map_or(&table.relname, |alias| &alias.aliasname);
                    let renamed = table
                        .alias
                        .as_ref()
                        .is_some_and(|alias| !alias.colnames.is_empty());
                    let bound = conditions
                        .iter()
                        .any(|part| self.is_predicate(part, alias, column));
                    if !strict || renamed || !bound {
                        return unproven("an open table");
                    }
                    self.open = true;
                    Ok(())
                }
                None => self.bystander(table),
            },
            Some(NodeEnum::JoinExpr(join)) => {
                let JoinExpr {
                    larg,
                    rarg,
                    quals,
                    alias,
                    ..
                } = &**join;
                let strict = strict && alias.is_none();
                let (left, right) = match join.jointype() {
                    JoinType::JoinInner => (strict, strict),
                    JoinType::JoinLeft => (strict, false),
                    JoinType::JoinRight => (false, strict),
                    _ => (false, false),
                };
                for (side, strict) in [(larg, left), (rarg, right)] {
                    match side {
                        Some(side) => self.from(side, strict, conditions)?,
                        None => return unproven("join"),
                    }
                }
                self.maybe(quals, Zone::Condition)
            }
            Some(node @ (NodeEnum::RangeSubselect(_) | NodeEnum::RangeFunction(_))) => {
                self.look(Ref::of(node), Zone::Condition)
            }
            _ => unproven("FROM"),
        }
    }

    /// A table that is nobody's: a shared one or a WITH item.
    fn bystander(&self, table: &RangeVar) -> Proof {
        let name = RelationName::new(&table.schemaname, &table.relname);
        let known = table.catalogname.is_empty()
            && if table.schemaname.is_empty() {
                self.ctes.contains(&table.relname)
            } else {
                self.policy.role(&name) == Some(Role::Shared)
            };
        if known {
            Ok(())
        } else {
            unproven(name.to_string())
        }
    }

    fn has_column(&self, table: &RangeVar, column: &str) -> bool {
        let name = RelationName::new(&table.schemaname, &table.relname);
        let relation = self.catalog.relation(&name);
        relation.is_some_and(|relation| relation.column(column).is_some())
    }

    fn tenant_table(&self, table: &RangeVar) -> Option<TenantColumn<'a>> {
        let name = RelationName::new(&table.schemaname, &table.relname);
        match self.policy.role(&name) {
            Some(Role::Tenant(column)) if table.catalogname.is_empty() => Some(column),
            _ => None,
        }
    }

    /// `CAST('tenant' AS pg_catalog.type)`, or of the tenant's parameter.
    fn is_value(&self, node: Option<&NodeEnum>, column: TenantColumn<'_>) -> bool {
        let Some(NodeEnum::TypeCast(cast)) = node else {
            return false;
        };
        let Some(kind) = &cast.type_name else {
            return false;
        };
        let typed = is_plain_type(kind, column.kind.catalog_name());
        let tenant = match self.expected {
            Expected::Tenant(tenant) => tenant,
            Expected::Parameter(None) => return false,
            Expected::Parameter(Some(parameter)) => {
                return typed
                    && parameter.kind == column.kind
                    && is_parameter(inside(&cast.arg), parameter);
            }
        };
        let Some(NodeEnum::AConst(constant)) = inside(&cast.arg) else {
            return false;
        };
        let value = match &constant.val {
            Some(a_const::Val::Sval(value)) if !constant.isnull => Some(value.sval.as_str()),
            _ => None,
        };
        typed && value.is_some() && value == tenant.value(column.kind)
    }

    /// `left OPERATOR(pg_catalog.=) value`: the left side.
    fn equated<'t>(&self, node: &'t NodeEnum, column: TenantColumn<'_>) -> Option<&'t NodeEnum> {
        let NodeEnum::AExpr(expression) = node else {
            return None;
        };
        let equals = expression.kind() == AExprKind::AexprOp
            && words(&expression.name).as_deref() == Some(&["pg_catalog", "="])
            && self.is_value(inside(&expression.rexpr), column);
        inside(&expression.lexpr).filter(|_| equals)
    }

    fn is_predicate(&self, node: &NodeEnum, alias: &str, column: TenantColumn<'_>) -> bool {
        match self.equated(node, column) {
            Some(NodeEnum::ColumnRef(left)) => {
                words(&left.fields).as_deref() == Some(&[alias, column.name])
            }
            _ => false,
        }
    }

    /// The tenant's value, or `CASE WHEN expression = value THEN value END`: then the expression.
    fn given<'t>(
        &self,
        node: Option<&'t NodeEnum>,
        column: TenantColumn<'_>,
    ) -> Result<Option<&'t NodeEnum>, Unproven> {
        if self.is_value(node, column) {
            return Ok(None);
        }
        let Some(NodeEnum::CaseExpr(case)) = node else {
            return unproven("value of a tenant column");
        };
        match (case.args.as_slice(), &case.arg, &case.defresult) {
            (
                [
                    Node {
                        node: Some(NodeEnum::CaseWhen(when)),
                    },
                ],
                None,
                None,
            ) if self.is_value(inside(&when.result), column) => {
                let given = inside(&when.expr).and_then(|test| self.equated(test, column));
                given
                    .map(Some)
                    .ok_or_else(|| Unproven("value of a tenant column".to_owned()))
            }
            _ => unproven("value of a tenant column"),
        }
    }

    fn subselect(&mut self, query: &RangeSubselect) -> Proof {
        let RangeSubselect {
            lateral,
            subquery,
            alias,
        } = query;
        if alias
            .as_ref()
            .is_some_and(|alias| alias.aliasname.starts_with(RESERVED))
        {
            return unproven("alias");
        }
        let Some(NodeEnum::SelectStmt(select)) = inside(subquery) else {
            return unproven("sub-select");
        };
        match self.wrapped(select)? {
            Some(_) if *lateral || alias.is_none() => unproven("wrap"),
            Some(fenced) => {
                self.open |= !fenced;
                Ok(())
            }
            None => self.select(select, Zone::Condition),
        }
    }

    /// Whether the query is a wrap, and then whether it is a fence.
    fn wrapped(&self, select: &SelectStmt) -> Result<Option<bool>, Unproven> {
        let [
            Node {
                node: Some(NodeEnum::RangeVar(table)),
            },
        ] = select.from_clause.as_slice()
        else {
            return Ok(None);
        };
        let Some(alias) = table
            .alias
            .as_ref()
            .filter(|alias| alias.aliasname.starts_with(RESERVED))
        else {
            return Ok(None);
        };
        let Some(column) = self.tenant_table(table) else {
            return unproven("wrap of another table");
        };
        let name = alias.aliasname.as_str();
        // All columns, or those that are seen of a table with a hidden one.
        let result = |target: &Node, alone: bool| {
            let Some(NodeEnum::ResTarget(target)) = &target.node else {
                return false;
            };
            let Some(NodeEnum::ColumnRef(result)) = inside(&target.val) else {
                return false;
            };
            let [relation, last] = result.fields.as_slice() else {
                return false;
            };
            let known = match word(last) {
                None => alone && matches!(&last.node, Some(NodeEnum::AStar(_))),
                Some(last) => column.hidden && last != column.name && self.has_column(table, last),
            };
            known
                && word(relation) == Some(name)
                && target.name.is_empty()
                && target.indirection.is_empty()
        };
        let alone = select.target_list.len() == 1;
        let results = select.target_list.iter();
        let star = results.clone().all(|target| result(target, alone))
            && (column.hidden || results.count() == 1);
        let conditions = parts(inside(&select.where_clause));
        let Some((first, copies)) = conditions.split_first() else {
            return unproven("wrap without a condition");
        };
        let fenced = match inside(&select.limit_offset) {
            None => false,
            Some(NodeEnum::AConst(constant)) => match &constant.val {
                Some(a_const::Val::Ival(number)) if number.ival == 0 && !constant.isnull => true,
                _ => return unproven("OFFSET of a wrap"),
            },
            _ => return unproven("OFFSET of a wrap"),
        };
        let plain = star
            && alias.colnames.is_empty()
            && self.is_predicate(first, name, column)
            && copies.iter().all(|copy| is_copy(copy, name))
            && select.op() == SetOperation::SetopNone
            && select.distinct_clause.is_empty()
            && select.into_clause.is_none()
            && select.group_clause.is_empty()
            && select.having_clause.is_none()
            && select.window_clause.is_empty()
            && select.values_lists.is_empty()
            && select.sort_clause.is_empty()
            && select.limit_count.is_none()
            && select.locking_clause.is_empty()
            && select.with_clause.is_none()
            && select.larg.is_none()
            && select.rarg.is_none();
        if plain {
            Ok(Some(fenced))
        } else {
            unproven("wrap")
        }
    }

    /// The table that is written: its alias and tenant column.
    fn target<'t>(
        &self,
        table: &'t Option<RangeVar>,
    ) -> Result<(&'t str, TenantColumn<'a>), Unproven> {
        let Some(table) = table else {
            return unproven("target");
        };
        let Some(column) = self.tenant_table(table) else {
            return unproven("target of a write");
        };
        match &table.alias {
            None => Ok((&table.relname, column)),
            Some(alias) if alias.colnames.is_empty() => Ok((&alias.aliasname, column)),
            Some(_) => unproven("alias of a target"),
        }
    }

    /// WHERE of a write: the predicate, and nothing loud without a guard.
    fn guarded(
        &mut self,
        condition: &Option<Box<Node>>,
        alias: &str,
        column: TenantColumn<'_>,
    ) -> Proof {
        let conditions = parts(inside(condition));
        if !conditions
            .iter()
            .any(|part| self.is_predicate(part, alias, column))
        {
            return unproven("write without the predicate");
        }
        for part in conditions {
            match self.guard(part, alias, column) {
                Some(guarded) => self.look(Ref::of(guarded), Zone::Condition)?,
                None => self.look(Ref::of(part), Zone::Target)?,
            }
        }
        Ok(())
    }

    /// `CASE WHEN predicate THEN condition ELSE false END`: the condition.
    fn guard<'t>(
        &self,
        node: &'t NodeEnum,
        alias: &str,
        column: TenantColumn<'_>,
    ) -> Option<&'t NodeEnum> {
        let NodeEnum::CaseExpr(case) = node else {
            return None;
        };
        let [
            Node {
                node: Some(NodeEnum::CaseWhen(when)),
            },
        ] = case.args.as_slice()
        else {
            return None;
        };
        let otherwise = match inside(&case.defresult) {
            Some(NodeEnum::AConst(constant)) => {
                matches!(&constant.val, Some(a_const::Val::Boolval(value)) if !value.boolval)
            }
            _ => false,
        };
        let test = inside(&when.expr)?;
        let proven = case.arg.is_none() && otherwise && self.is_predicate(test, alias, column);
        inside(&when.result).filter(|_| proven)
    }

    /// The list behind SET.
    fn assignments(&mut self, list: &[Node], column: TenantColumn<'_>) -> Proof {
        for assignment in list {
            let Some(NodeEnum::ResTarget(assignment)) = &assignment.node else {
                return unproven("SET");
            };
            if !assignment.indirection.is_empty() {
                return unproven("SET of a part");
            }
            if assignment.name == column.name {
                if let Some(given) = self.given(inside(&assignment.val), column)? {
                    self.look(Ref::of(given), Zone::Result)?;
                }
            } else {
                self.maybe(&assignment.val, Zone::Result)?;
            }
        }
        Ok(())
    }

    fn returning(&mut self, returning: &Option<ReturningClause>) -> Proof {
        match returning {
            Some(returning) if !returning.options.is_empty() => unproven("RETURNING"),
            Some(returning) => self.list(&returning.exprs, Zone::Result),
            None => Ok(()),
        }
    }

    fn update(&mut self, update: &UpdateStmt) -> Proof {
        let UpdateStmt {
            relation,
            target_list,
            where_clause,
            from_clause,
            returning_clause,
            with_clause,
        } = update;
        if let Some(with) = with_clause {
            self.look(Ref::WithClause(with), Zone::Condition)?;
        }
        let (alias, column) = self.target(relation)?;
        for item in from_clause {
            self.from(item, false, &[])?;
        }
        self.assignments(target_list, column)?;
        self.guarded(where_clause, alias, column)?;
        self.returning(returning_clause)
    }

    fn delete(&mut self, delete: &DeleteStmt) -> Proof {
        let DeleteStmt {
            relation,
            using_clause,
            where_clause,
            returning_clause,
            with_clause,
        } = delete;
        if let Some(with) = with_clause {
            self.look(Ref::WithClause(with), Zone::Condition)?;
        }
        let (alias, column) = self.target(relation)?;
        for item in using_clause {
            self.from(item, false, &[])?;
        }
        self.guarded(where_clause, alias, column)?;
        self.returning(returning_clause)
    }

    fn insert(&mut self, insert: &InsertStmt) -> Proof {
        let InsertStmt {
            relation,
            cols,
            select_stmt,
            on_conflict_clause,
            returning_clause,
            with_clause,
            r#override: _,
        } = insert;
        if let Some(with) = with_clause {
            self.look(Ref::WithClause(with), Zone::Condition)?;
        }
        let (alias, column) = self.target(relation)?;
        let mut places = Vec::new();
        for (index, place) in cols.iter().enumerate() {
            let Some(NodeEnum::ResTarget(place)) = &place.node else {
                return unproven("columns");
            };
            if !place.indirection.is_empty() {
                return unproven("part of a column");
            }
            if place.name == column.name {
                places.push(index);
            }
        }
        let [place] = places.as_slice() else {
            return unproven("columns without the tenant column");
        };
        match inside(select_stmt) {
            Some(NodeEnum::SelectStmt(source)) => {
                self.source(source, *place, *place + 1 == cols.len(), column)?;
                self.rows_of(source)?;
            }
            _ => return unproven("source of rows"),
        }
        if let Some(conflict) = on_conflict_clause {
            if let Some(infer) = &conflict.infer {
                self.look(Ref::InferClause(infer), Zone::Result)?;
            }
            if conflict.action() == OnConflictAction::OnconflictUpdate {
                let name = relation
                    .as_ref()
                    .map(|table| RelationName::new(&table.schemaname, &table.relname));
                let keyed = name
                    .and_then(|name| self.catalog.relation(&name))
                    .is_some_and(|relation| relation.keys_without(column.name).next().is_none());
                if !keyed {
                    return unproven("conflict with a row of another tenant");
                }
                self.assignments(&conflict.target_list, column)?;
                self.guarded(&conflict.where_clause, alias, column)?;
            } else if conflict.action() != OnConflictAction::OnconflictNothing
                || !conflict.target_list.is_empty()
                || conflict.where_clause.is_some()
            {
                return unproven("ON CONFLICT");
            }
        }
        self.returning(returning_clause)
    }

    /// Looks at the source itself, in which DEFAULT may stand.
    fn rows_of(&mut self, source: &SelectStmt) -> Proof {
        self.select(source, Zone::Result)
    }

    /// Every arm of a source has the tenant's value at `place`; `last`: it is the last column, so
    /// that a list of unknown width with the value behind it fits or fails.
    fn source(
        &self,
        source: &SelectStmt,
        place: usize,
        last: bool,
        column: TenantColumn<'_>,
    ) -> Proof {
        if source.op() != SetOperation::SetopNone {
            let (Some(left), Some(right)) = (&source.larg, &source.rarg) else {
                return unproven("set operation");
            };
            self.source(left, place, last, column)?;
            return self.source(right, place, last, column);
        }
        for row in &source.values_lists {
            let Some(NodeEnum::List(row)) = &row.node else {
                return unproven("VALUES");
            };
            let value = row.items.get(place).and_then(|value| value.node.as_ref());
            self.given(value, column)?;
        }
        if !source.values_lists.is_empty() {
            return Ok(());
        }
        let starless = |target: &Node| {
            let Some(NodeEnum::ResTarget(target)) = &target.node else {
                return false;
            };
            match inside(&target.val) {
                Some(NodeEnum::ColumnRef(column)) => words(&column.fields).is_some(),
                other => other.is_some(),
            }
        };
        let value = |target: Option<&'_ Node>| match target.and_then(|target| target.node.as_ref())
        {
            Some(NodeEnum::ResTarget(target)) => self.given(inside(&target.val), column).map(drop),
            _ => unproven("source of rows"),
        };
        if source.target_list.iter().take(place + 1).all(starless) {
            return value(source.target_list.get(place));
        }
        match source.target_list.last() {
            Some(target) if last && starless(target) => value(Some(target)),
            _ => unproven("source of rows"),
        }
    }

    fn column(&mut self, column: &ColumnRef, zone: Zone) -> Proof {
        let (last, relation) = match column.fields.as_slice() {
            [last] => (last, None),
            [relation, last] => (last, Some(relation)),
            _ => return unproven("column"),
        };
        if relation.is_some_and(|relation| word(relation).is_none()) {
            return unproven("column");
        }
        match &last.node {
            Some(NodeEnum::AStar(_)) => Ok(()),
            Some(NodeEnum::String(name)) => {
                let name = name.sval.as_str();
                if ["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"].contains(&name) {
                    return unproven("system column");
                }
                if relation.is_some() && lists().takes_row(name) {
                    if lists().function(name).is_none() {
                        return unproven("function in the form of a column");
                    }
                    return self.hear(true, zone);
                }
                self.hear(relation.is_none() && self.rows.contains(name), zone)
            }
            _ => unproven("column"),
        }
    }

    fn call(&mut self, call: &FuncCall, zone: Zone) -> Proof {
        let volume = match words(&call.funcname).as_deref() {
            Some(["pg_catalog", name]) => lists().function(name),
            Some([schema, name]) if self.policy.attests(schema, name, call.args.len()) => {
                Some(Volume::Loud)
            }
            _ => None,
        };
        let Some(volume) = volume else {
            return unproven("function");
        };
        self.hear(
            volume == Volume::Loud && tree_has_rows(Ref::FuncCall(call)),
            zone,
        )?;
        self.below(Ref::FuncCall(call), zone)
    }

    fn is_quiet_operator(&self, name: &[Node]) -> Result<bool, Unproven> {
        let volume = match words(name).as_deref() {
            Some([name] | ["pg_catalog", name]) => lists().operator(name, self.json),
            _ => None,
        };
        match volume {
            Some(volume) => Ok(volume == Volume::Quiet),
            None => unproven("operator"),
        }
    }

    fn operator(&mut self, expression: &AExpr, zone: Zone) -> Proof {
        let is_row = |side: &Option<Box<Node>>| matches!(inside(side), Some(NodeEnum::RowExpr(_)));
        let one_row = is_row(&expression.lexpr) != is_row(&expression.rexpr);
        let quiet = match expression.kind() {
            AExprKind::AexprOp | AExprKind::AexprOpAny | AExprKind::AexprOpAll => {
                self.is_quiet_operator(&expression.name)? && !one_row
            }
            AExprKind::AexprIn => match inside(&expression.rexpr) {
                Some(NodeEnum::List(list)) => {
                    let row = |node: &Node| matches!(&node.node, Some(NodeEnum::RowExpr(_)));
                    list.items
                        .iter()
                        .all(|item| row(item) == is_row(&expression.lexpr))
                }
                _ => false,
            },
            AExprKind::AexprLike | AExprKind::AexprIlike => match inside(&expression.rexpr) {
                Some(NodeEnum::AConst(constant)) => {
                    matches!(&constant.val, Some(a_const::Val::Sval(pattern)) if !pattern.sval.contains('\\'))
                }
                _ => false,
            },
            AExprKind::AexprDistinct
            | AExprKind::AexprNotDistinct
            | AExprKind::AexprNullif
            | AExprKind::AexprBetween
            | AExprKind::AexprNotBetween
            | AExprKind::AexprBetweenSym
            | AExprKind::AexprNotBetweenSym => !is_row(&expression.lexpr),
            AExprKind::AexprSimilar => false,
            AExprKind::Undefined => return unproven("operator"),
        };
        let named = words(&expression.name)
            .and_then(|name| name.last().copied().map(|name| lists().is_estimated(name)));
        if !quiet
            && matches!(zone, Zone::Condition | Zone::Guarded)
            && named == Some(true)
            && is_estimable(&expression.lexpr)
        {
            return unproven("a condition that is estimated with values of others");
        }
        self.hear(!quiet && tree_has_rows(Ref::AExpr(expression)), zone)?;
        self.below(Ref::AExpr(expression), zone)
    }
}

/// `name.column operator constants`, with an operator that cannot fail.
fn is_copy(node: &NodeEnum, name: &str) -> bool {
    let NodeEnum::AExpr(expression) = node else {
        return false;
    };
    let operator = words(&expression.name);
    let quiet = matches!(
        operator.as_deref(),
        Some(["=" | "<" | ">" | "<=" | ">="] | ["pg_catalog", "=" | "<" | ">" | "<=" | ">="])
    ) && matches!(expression.kind(), AExprKind::AexprOp | AExprKind::AexprIn);
    let left = match inside(&expression.lexpr) {
        Some(NodeEnum::ColumnRef(column)) => {
            matches!(words(&column.fields).as_deref(), Some([relation, _]) if *relation == name)
        }
        _ => false,
    };
    let right = match inside(&expression.rexpr) {
        Some(NodeEnum::List(list)) => list
            .items
            .iter()
            .all(|item| is_constant(item.node.as_ref())),
        other => is_constant(other),
    };
    quiet && left && right
}

fn is_constant(node: Option<&NodeEnum>) -> bool {
    match node {
        Some(NodeEnum::AConst(_) | NodeEnum::ParamRef(_)) => true,
        Some(NodeEnum::TypeCast(cast)) => {
            matches!(
                inside(&cast.arg),
                Some(NodeEnum::AConst(_) | NodeEnum::ParamRef(_))
            ) && cast
                .type_name
                .as_ref()
                .is_some_and(|name| type_name(name).is_ok())
        }
        _ => false,
    }
}

fn type_name(name: &TypeName) -> Proof {
    let listed = matches!(words(&name.names).as_deref(), Some(["pg_catalog", name]) if lists().has_type(name));
    if listed && !name.setof && !name.pct_type && name.type_oid == 0 {
        Ok(())
    } else {
        unproven("type")
    }
}

/// Whether the planner may know statistics of an operand.
fn is_estimable(operand: &Option<Box<Node>>) -> bool {
    let Some(operand) = inside(operand) else {
        return false;
    };
    let hidden = matches!(operand, NodeEnum::CaseExpr(_))
        || tree::any(operand, &mut |node| matches!(node, Ref::SubLink(_)));
    !hidden && tree_has_rows(Ref::of(operand))
}

fn has_rows(node: &Node) -> bool {
    node.node
        .as_ref()
        .is_some_and(|node| tree_has_rows(Ref::of(node)))
}

fn tree_has_rows(node: Ref<'_>) -> bool {
    let mut found = false;
    tree::walk(node, &mut |node| {
        found |= matches!(node, Ref::ColumnRef(_) | Ref::SubLink(_));
        tree::Descent::Into
    });
    found
}
