//! SELECT, VALUES, set operations, and FROM.

use std::collections::HashMap;

use pg_query::protobuf::{
    AExprKind, Alias, BoolExprType, ColumnRef, GroupingSet, JoinExpr, JoinType, List,
    LockingClause, RangeFunction, RangeSubselect, RangeVar, ResTarget, SelectStmt, SetOperation,
};
use pg_query::{Node, NodeEnum};

use super::expression::SYSTEM_COLUMNS;
use super::loudness::{is_loud, text};
use super::{
    Done, Meaning, Place, Rewriter, VIEW_DEPTH, own_alias, own_name, own_names, refuse, visible,
};
use crate::policy::tenancy::catalog::{Relation, RelationName};
use crate::policy::tenancy::rules::TenantColumn;
use crate::policy::tenancy::{Rule, build};
use crate::sql::Statement;
use crate::sql::tree::{self, Descent, Ref};

/// What a FROM clause is rewritten with, and what it was found to have.
#[derive(Default)]
pub(super) struct From {
    /// Conditions that may be copied into the wrap of an alias, about `__t`.
    copies: HashMap<String, Vec<Copied>>,
    /// Columns of GROUP BY, by alias; the empty alias is for those without one.
    groups: Vec<(String, String)>,
    /// Predicates of tables that stay as they are.
    pub(super) predicates: Vec<Node>,
    /// Columns that GROUP BY determines, of tables whose whole key would tell the server so.
    determined: Vec<Node>,
    /// Aliases of shared tables and of sub-selects that read some.
    shared: Vec<String>,
}

/// A condition `column operator constants` that may be copied.
struct Copied {
    column: String,
    condition: Node,
}

impl Rewriter<'_> {
    /// Rewrites a SELECT. `place` is that of its results.
    pub(super) fn select(&mut self, select: &mut SelectStmt, place: Place) -> Done {
        let scope = (self.ctes.len(), self.bare.len());
        self.select_in_scope(select, place)?;
        self.ctes.truncate(scope.0);
        self.bare.truncate(scope.1);
        Ok(())
    }

    fn select_in_scope(&mut self, select: &mut SelectStmt, place: Place) -> Done {
        let operation = select.op();
        let copies = if self.fence && !self.guards {
            self.copies_of(select)
        } else {
            HashMap::new()
        };
        let groups = grouped_columns(&select.group_clause);
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
            return refuse(Rule::StatementKind, "SELECT INTO");
        }
        self.with(with_clause)?;
        if operation != SetOperation::SetopNone {
            // The arms' columns are cast to common types.
            self.loud |= self.hazards.dates && place == Place::Condition;
            for arm in [larg, rarg] {
                let Some(arm) = arm else {
                    return refuse(Rule::Construct, "set operation");
                };
                self.enter()?;
                self.select(arm, place)?;
                self.leave();
            }
            if !locking_clause.is_empty() {
                return refuse(Rule::Construct, "locking clause");
            }
            self.sorts(sort_clause, place)?;
            self.optional(limit_offset, Place::Result)?;
            return self.optional(limit_count, Place::Result);
        }
        let mut from = From {
            copies,
            groups,
            ..From::default()
        };
        self.from(from_clause, &mut from)?;
        for row in values_lists {
            self.value_at(row, place)?;
        }
        for target in target_list {
            let Some(NodeEnum::ResTarget(target)) = &mut target.node else {
                return refuse(Rule::Construct, "target");
            };
            if !target.indirection.is_empty() {
                return refuse(Rule::Construct, "target");
            }
            own_name(&target.name)?;
            // `*` stands for columns here, not for a row.
            let place = if is_star(target) {
                Place::Result
            } else {
                place
            };
            self.optional(&mut target.val, place)?;
        }
        // DISTINCT without ON is a list of one empty place.
        for distinct in distinct_clause
            .iter_mut()
            .filter(|node| node.node.is_some())
        {
            self.value_at(distinct, place)?;
        }
        let mut conditions = from.predicates;
        if let (true, [predicate]) = (self.guards, conditions.as_slice()) {
            self.guard(where_clause, predicate)?;
        } else {
            self.optional(where_clause, Place::Condition)?;
            if !conditions.is_empty() {
                conditions.extend(conjuncts(where_clause.take()));
                *where_clause = build::all(conditions).map(Box::new);
            }
        }
        for group in &mut *group_clause {
            self.group(group, place)?;
        }
        group_clause.append(&mut from.determined);
        self.optional(having_clause, Place::Condition)?;
        for window in window_clause {
            let Some(NodeEnum::WindowDef(window)) = &mut window.node else {
                return refuse(Rule::Construct, "WINDOW");
            };
            self.window(window, place)?;
        }
        self.sorts(sort_clause, place)?;
        self.optional(limit_offset, Place::Result)?;
        self.optional(limit_count, Place::Result)?;
        for lock in locking_clause {
            self.locks = true;
            let Some(NodeEnum::LockingClause(lock)) = &lock.node else {
                return refuse(Rule::Construct, "locking clause");
            };
            let LockingClause {
                locked_rels,
                strength: _,
                wait_policy: _,
            } = lock;
            if locked_rels.is_empty() && !from.shared.is_empty() {
                return refuse(Rule::SharedLock, "");
            }
            for table in locked_rels {
                let Some(NodeEnum::RangeVar(table)) = &table.node else {
                    return refuse(Rule::Construct, "locking clause");
                };
                if !table.schemaname.is_empty() || !table.catalogname.is_empty() {
                    return refuse(Rule::Construct, "locking clause");
                }
                if from.shared.contains(&table.relname) {
                    return refuse(Rule::SharedLock, &table.relname);
                }
            }
        }
        Ok(())
    }

    fn group(&mut self, group: &mut Node, place: Place) -> Done {
        match &mut group.node {
            Some(NodeEnum::GroupingSet(set)) => {
                let GroupingSet {
                    kind: _,
                    content,
                    location: _,
                } = set;
                self.enter()?;
                for part in content {
                    self.group(part, place)?;
                }
                self.leave();
                Ok(())
            }
            _ => self.value_at(group, place),
        }
    }

    /// Rewrites a FROM list.
    pub(super) fn from(&mut self, items: &mut [Node], from: &mut From) -> Done {
        items
            .iter_mut()
            .try_for_each(|item| self.table_expression(item, true, from))
    }

    /// Rewrites one item. `inner`: what WHERE says of it can be said before the join.
    fn table_expression(&mut self, item: &mut Node, inner: bool, from: &mut From) -> Done {
        self.enter()?;
        match &mut item.node {
            Some(NodeEnum::RangeVar(table)) => {
                let table = std::mem::take(table);
                item.node = self.table(table, inner, from)?.node;
            }
            Some(NodeEnum::JoinExpr(join)) => self.join(join, inner, from)?,
            Some(NodeEnum::RangeSubselect(query)) => {
                let RangeSubselect {
                    lateral: _,
                    subquery,
                    alias,
                } = &mut **query;
                own_alias(alias)?;
                match subquery.as_mut().and_then(|query| query.node.as_mut()) {
                    Some(NodeEnum::SelectStmt(select)) => {
                        let named = alias.clone().unwrap_or_default();
                        from.notice(self.has_shared(select), &named);
                        self.select(select, Place::Condition)?;
                    }
                    _ => return refuse(Rule::Construct, "sub-select"),
                }
            }
            Some(NodeEnum::RangeFunction(function)) => self.function(function)?,
            Some(other) => return refuse(Rule::Construct, Ref::of(other).name()),
            None => return refuse(Rule::Construct, "nothing"),
        }
        self.leave();
        Ok(())
    }

    /// Whether some table of the query is shared, so that locking its rows would lock those.
    fn has_shared(&self, select: &SelectStmt) -> bool {
        let mut shared = false;
        tree::walk(Ref::SelectStmt(select), &mut |node| {
            if let Ref::RangeVar(table) = node {
                shared |= matches!(self.declared(table), Ok(Meaning::Shared(_)));
            }
            Descent::Into
        });
        shared
    }

    fn join(&mut self, join: &mut JoinExpr, inner: bool, from: &mut From) -> Done {
        let kind = join.jointype();
        let JoinExpr {
            jointype: _,
            is_natural,
            larg,
            rarg,
            using_clause,
            join_using_alias,
            quals,
            alias,
            rtindex: _,
        } = join;
        own_alias(alias)?;
        own_alias(join_using_alias)?;
        own_names(using_clause)?;
        // Columns that are merged are cast to a common type.
        self.loud |= self.hazards.dates && (*is_natural || !using_clause.is_empty());
        // An alias of the join hides those of its tables from WHERE.
        let inner = inner && alias.is_none();
        let (left, right) = match kind {
            JoinType::JoinInner => (inner, inner),
            JoinType::JoinLeft => (inner, false),
            JoinType::JoinRight => (false, inner),
            JoinType::JoinFull => (false, false),
            _ => return refuse(Rule::Construct, "join"),
        };
        for (side, inner) in [(larg, left), (rarg, right)] {
            match side {
                Some(side) => self.table_expression(side, inner, from)?,
                None => return refuse(Rule::Construct, "join"),
            }
        }
        self.optional(quals, Place::Condition)
    }

    fn function(&mut self, function: &mut RangeFunction) -> Done {
        let RangeFunction {
            lateral: _,
            ordinality: _,
            is_rowsfrom,
            functions,
            alias,
            coldeflist,
        } = function;
        own_alias(alias)?;
        if coldeflist.is_empty() {
            *is_rowsfrom |= spread(functions);
        }
        for function in functions {
            let Some(NodeEnum::List(parts)) = &mut function.node else {
                return refuse(Rule::Construct, "function in FROM");
            };
            let Some((call, columns)) = parts.items.split_first_mut() else {
                return refuse(Rule::Construct, "function in FROM");
            };
            if !tree::is_call(call) {
                return refuse(Rule::Construct, "function in FROM");
            }
            self.value_at(call, Place::Condition)?;
            for column in columns {
                match &mut column.node {
                    Some(NodeEnum::List(list)) => self.column_definitions(&mut list.items)?,
                    None => {}
                    _ => return refuse(Rule::Construct, "function in FROM"),
                }
            }
        }
        self.column_definitions(coldeflist)
    }

    fn column_definitions(&mut self, definitions: &mut [Node]) -> Done {
        for definition in definitions {
            let Some(NodeEnum::ColumnDef(definition)) = &mut definition.node else {
                return refuse(Rule::Construct, "column definition");
            };
            own_name(&definition.colname)?;
            let plain = definition.raw_default.is_none()
                && definition.cooked_default.is_none()
                && definition.constraints.is_empty()
                && definition.coll_clause.is_none()
                && definition.fdwoptions.is_empty()
                && definition.identity_sequence.is_none();
            if !plain {
                return refuse(Rule::Construct, "column definition");
            }
            match &mut definition.type_name {
                Some(type_name) => self.type_name(type_name)?,
                None => return refuse(Rule::Type, &definition.colname),
            }
        }
        Ok(())
    }

    /// What stands in FROM in place of a table's name.
    fn table(
        &mut self,
        mut table: RangeVar,
        inner: bool,
        from: &mut From,
    ) -> Result<Node, super::Refusal> {
        own_alias(&table.alias)?;
        if table.relpersistence != "p" {
            return refuse(Rule::Construct, "persistence");
        }
        let meaning = self.meaning(&table)?;
        let bare = table.alias.is_none();
        let alias = table.alias.clone().unwrap_or_else(|| Alias {
            aliasname: table.relname.clone(),
            colnames: Vec::new(),
        });
        if bare {
            own_name(&table.relname)?;
        }
        match meaning {
            Meaning::Cte => Ok(build::node(NodeEnum::RangeVar(table))),
            Meaning::Shared(name) => {
                from.notice(true, &alias);
                self.remember(bare, &name);
                table.schemaname = name.schema;
                table.alias = Some(alias);
                Ok(build::node(NodeEnum::RangeVar(table)))
            }
            Meaning::Table(name, column, relation) => {
                self.remember(bare, &name);
                table.schemaname = name.schema;
                // Of a plain table all columns would be seen.
                let plain = inner
                    && !column.hidden
                    && alias.colnames.is_empty()
                    && (self.guards
                        || (!self.fence && from.groups_by_key(&alias.aliasname, relation)));
                if plain {
                    let predicate = self.predicate(&alias.aliasname, column)?;
                    from.predicates.push(predicate);
                    table.alias = Some(alias);
                    return Ok(build::node(NodeEnum::RangeVar(table)));
                }
                if column.hidden && alias.colnames.is_empty() {
                    from.determine(&alias.aliasname, column, relation);
                }
                let copies = from.copies.remove(&alias.aliasname);
                let copies = copies.filter(|_| inner && alias.colnames.is_empty());
                self.wrap(table, alias, column, relation, copies.unwrap_or_default())
            }
            Meaning::View(name, definition) => {
                self.remember(bare, &name);
                let query = self.view(&name, definition, &alias, from)?;
                Ok(build::subselect(query, alias))
            }
        }
    }

    fn remember(&mut self, bare: bool, name: &RelationName) {
        if bare {
            self.bare.push(name.clone());
        }
    }

    fn wrap(
        &mut self,
        table: RangeVar,
        alias: Alias,
        column: TenantColumn<'_>,
        relation: &Relation,
        copies: Vec<Copied>,
    ) -> Result<Node, super::Refusal> {
        let inner = self.wrap_name();
        let mut conditions = vec![self.predicate(&inner, column)?];
        for copied in copies {
            // A column that the table does not have would be an outer query's.
            let plain = relation
                .column(&copied.column)
                .is_some_and(|column| is_plain_type(&column.type_name));
            if plain {
                let mut condition = copied.condition;
                qualify(&mut condition, &inner, &copied.column);
                self.expression_of_copy(&mut condition)?;
                conditions.push(condition);
            }
        }
        // A view sees what its author saw.
        let columns = (column.hidden && self.views == 0).then(|| visible(relation, column));
        let wrap = build::wrap(table, &inner, columns, conditions, self.fence, alias);
        Ok(wrap)
    }

    /// Types and operators of a copied condition are checked as those of the original; only its
    /// column has a name that no client may use.
    fn expression_of_copy(&mut self, condition: &mut Node) -> Done {
        let Some(NodeEnum::AExpr(expression)) = &mut condition.node else {
            return refuse(Rule::Construct, "copy");
        };
        match &mut expression.rexpr {
            Some(right) => self.expression(right),
            None => refuse(Rule::Construct, "copy"),
        }
    }

    /// A view's query, rewritten as if the client had sent it.
    fn view(
        &mut self,
        name: &RelationName,
        definition: &str,
        alias: &Alias,
        from: &mut From,
    ) -> Result<SelectStmt, super::Refusal> {
        self.inlined = true;
        self.views += 1;
        if self.views > VIEW_DEPTH {
            return refuse(Rule::View, name.to_string());
        }
        let unreadable = || super::Refusal::new(Rule::View, name.to_string());
        let mut statements = Statement::read(definition).map_err(|_| unreadable())?;
        let (Some(statement), true) = (statements.pop(), statements.is_empty()) else {
            return Err(unreadable());
        };
        let Some(NodeEnum::SelectStmt(query)) = statement.node() else {
            return Err(unreadable());
        };
        let mut query = (**query).clone();
        // The view's own names count from here on: more of them only make more loud.
        self.survey(&NodeEnum::SelectStmt(Box::new(query.clone())));
        from.notice(self.has_shared(&query), alias);
        let (ctes, bare) = (
            std::mem::take(&mut self.ctes),
            std::mem::take(&mut self.bare),
        );
        self.select(&mut query, Place::Condition)?;
        (self.ctes, self.bare) = (ctes, bare);
        self.views -= 1;
        Ok(query)
    }

    /// Quiet conjuncts of WHERE about one column of one table and constants: with them inside its
    /// wrap a look-up by key stays one although the wrap is a fence.
    fn copies_of(&self, select: &SelectStmt) -> HashMap<String, Vec<Copied>> {
        let mut copies: HashMap<String, Vec<Copied>> = HashMap::new();
        let only = match select.from_clause.as_slice() {
            [
                Node {
                    node: Some(NodeEnum::RangeVar(table)),
                },
            ] => Some(
                table
                    .alias
                    .as_ref()
                    .map_or(&table.relname, |alias| &alias.aliasname),
            ),
            _ => None,
        };
        for conjunct in conjuncts(select.where_clause.clone()) {
            if is_loud(&conjunct, &self.hazards) {
                continue;
            }
            let Some((alias, column)) = compared_column(&conjunct) else {
                continue;
            };
            let Some(alias) = alias.or_else(|| only.cloned()) else {
                continue;
            };
            copies.entry(alias).or_default().push(Copied {
                column,
                condition: conjunct,
            });
        }
        copies
    }
}

impl From {
    /// Remembers that an alias stands for rows of shared tables.
    fn notice(&mut self, shared: bool, alias: &Alias) {
        if shared {
            self.shared.push(alias.aliasname.clone());
        }
    }

    /// Whether GROUP BY names the whole primary key of the table, so that its other columns may be
    /// selected: a wrap would hide the key.
    fn groups_by_key(&self, alias: &str, relation: &Relation) -> bool {
        self.groups_by(&relation.primary_key(), alias)
    }

    fn groups_by(&self, key: &[&str], alias: &str) -> bool {
        !key.is_empty()
            && key.iter().all(|column| {
                self.groups
                    .iter()
                    .any(|(of, name)| name == column && (of.is_empty() || of == alias))
            })
    }

    /// The same for a table whose tenant column is hidden: the key that is seen determines the other
    /// columns, which the server is not to know. To group by them as well changes nothing.
    fn determine(&mut self, alias: &str, tenant: TenantColumn<'_>, relation: &Relation) {
        let mut key = relation.primary_key();
        key.retain(|column| *column != tenant.name);
        if !self.groups_by(&key, alias) {
            return;
        }
        let others = relation.columns.iter().filter(|column| {
            column.name != tenant.name
                && !key.contains(&column.name.as_str())
                && is_groupable(&column.type_name)
        });
        self.determined
            .extend(others.map(|column| build::column(alias, &column.name)));
    }
}

/// `unnest(a, b)` means `ROWS FROM (unnest(a), unnest(b))` to the grammar, as long as it has no schema.
/// True when there was one.
fn spread(functions: &mut Vec<Node>) -> bool {
    let mut found = false;
    let mut spread = Vec::with_capacity(functions.len());
    for function in std::mem::take(functions) {
        match several_arrays(&function) {
            Some(calls) => {
                found = true;
                spread.extend(calls);
            }
            None => spread.push(function),
        }
    }
    *functions = spread;
    found
}

fn several_arrays(function: &Node) -> Option<Vec<Node>> {
    let Some(NodeEnum::List(parts)) = &function.node else {
        return None;
    };
    let (call, columns) = parts.items.split_first()?;
    let Some(NodeEnum::FuncCall(call)) = &call.node else {
        return None;
    };
    let [name] = call.funcname.as_slice() else {
        return None;
    };
    let plain = text(name) == Some("unnest")
        && call.args.len() > 1
        && call.agg_order.is_empty()
        && call.agg_filter.is_none()
        && call.over.is_none()
        && !call.agg_star
        && !call.agg_distinct
        && !call.func_variadic
        && columns.iter().all(|column| column.node.is_none());
    let one = |array: &Node| {
        let mut call = call.clone();
        call.args = vec![array.clone()];
        let mut items = vec![build::node(NodeEnum::FuncCall(call))];
        items.extend_from_slice(columns);
        build::node(NodeEnum::List(List { items }))
    };
    plain.then(|| call.args.iter().map(one).collect())
}

/// Whether a target is `*` or `t.*`.
fn is_star(target: &ResTarget) -> bool {
    match target.val.as_ref().and_then(|value| value.node.as_ref()) {
        Some(NodeEnum::ColumnRef(column)) => column
            .fields
            .last()
            .is_some_and(|last| matches!(&last.node, Some(NodeEnum::AStar(_)))),
        _ => false,
    }
}

/// Whether values of the type can be told apart.
fn is_groupable(name: &str) -> bool {
    let base = name.trim_end_matches("[]").split(['(', ' ']).next();
    matches!(
        base,
        Some(
            "boolean"
                | "smallint"
                | "integer"
                | "bigint"
                | "real"
                | "double"
                | "numeric"
                | "text"
                | "character"
                | "bytea"
                | "date"
                | "time"
                | "timestamp"
                | "interval"
                | "uuid"
                | "jsonb"
        )
    )
}

/// The plain columns of GROUP BY; none beside grouping sets, in which each makes other groups.
fn grouped_columns(groups: &[Node]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let sets = |group: &Node| matches!(&group.node, Some(NodeEnum::GroupingSet(_)));
    if groups.iter().any(sets) {
        return found;
    }
    for group in groups {
        if let Some(NodeEnum::ColumnRef(ColumnRef { fields, .. })) = &group.node {
            match fields.as_slice() {
                [name] => found.extend(text(name).map(|name| (String::new(), name.to_owned()))),
                [.., alias, name] => {
                    if let (Some(alias), Some(name)) = (text(alias), text(name)) {
                        found.push((alias.to_owned(), name.to_owned()));
                    }
                }
                [] => {}
            }
        }
    }
    found
}

/// The conditions that are joined by AND.
pub(super) fn conjuncts(condition: Option<Box<Node>>) -> Vec<Node> {
    let Some(condition) = condition else {
        return Vec::new();
    };
    match condition.node {
        Some(NodeEnum::BoolExpr(expression)) if expression.boolop() == BoolExprType::AndExpr => {
            expression.args
        }
        node => vec![Node { node }],
    }
}

/// `[alias.]column operator constants`: the alias, if any, and the column.
fn compared_column(condition: &Node) -> Option<(Option<String>, String)> {
    let Some(NodeEnum::AExpr(expression)) = &condition.node else {
        return None;
    };
    if !matches!(expression.kind(), AExprKind::AexprOp | AExprKind::AexprIn) {
        return None;
    }
    let operator = text(expression.name.last()?)?;
    if !["=", "<", ">", "<=", ">="].contains(&operator) {
        return None;
    }
    let right = expression.rexpr.as_ref()?;
    let constant = match &right.node {
        Some(NodeEnum::List(list)) => list.items.iter().all(is_fixed),
        _ => is_fixed(right),
    };
    let Some(NodeEnum::ColumnRef(column)) = &expression.lexpr.as_ref()?.node else {
        return None;
    };
    let (alias, name) = match column.fields.as_slice() {
        [name] => (None, text(name)?),
        [alias, name] => (Some(text(alias)?.to_owned()), text(name)?),
        _ => return None,
    };
    (constant && !SYSTEM_COLUMNS.contains(&name)).then(|| (alias, name.to_owned()))
}

/// A literal, a parameter, or a cast of one.
fn is_fixed(node: &Node) -> bool {
    match &node.node {
        Some(NodeEnum::AConst(_) | NodeEnum::ParamRef(_)) => true,
        Some(NodeEnum::TypeCast(cast)) => cast.arg.as_ref().is_some_and(|arg| {
            matches!(&arg.node, Some(NodeEnum::AConst(_) | NodeEnum::ParamRef(_)))
        }),
        _ => false,
    }
}

/// Types whose comparison with a constant of any type cannot fail.
fn is_plain_type(name: &str) -> bool {
    let base = name.split('(').next().unwrap_or_default();
    matches!(
        base,
        "smallint"
            | "integer"
            | "bigint"
            | "text"
            | "character varying"
            | "uuid"
            | "boolean"
            | "date"
            | "timestamp with time zone"
            | "timestamp without time zone"
    )
}

/// Gives the condition's column its relation.
fn qualify(condition: &mut Node, relation: &str, name: &str) {
    if let Some(NodeEnum::AExpr(expression)) = &mut condition.node {
        expression.lexpr = Some(Box::new(build::column(relation, name)));
    }
}
