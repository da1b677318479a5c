//! INSERT: every row gets the tenant's value, whatever its source says.

use pg_query::protobuf::{
    InferClause, InsertStmt, OnConflictAction, OnConflictClause, ResTarget, SelectStmt,
    SetOperation, a_const,
};
use pg_query::{Node, NodeEnum};

use super::loudness::text;
use super::write::Target;
use super::{Done, Place, Rewriter, hidden, refuse, visible};
use crate::policy::tenancy::rules::{ExistenceOracle, TenantColumn};
use crate::policy::tenancy::{Refusal, Rule, build};

/// Where the tenant column stands among the columns of an INSERT.
enum Position {
    /// Behind the others, put there by the rewriter.
    Added,
    /// At this index, from 0.
    Given(usize),
}

impl Rewriter<'_> {
    pub(super) fn insert(&mut self, insert: &mut InsertStmt) -> Done {
        let scope = (self.ctes.len(), self.bare.len());
        let InsertStmt {
            relation,
            cols,
            select_stmt,
            on_conflict_clause,
            returning_clause,
            with_clause,
            r#override: _,
        } = insert;
        self.with(with_clause)?;
        // The source of the rows does not see the target; later parts do.
        let target = self.target(relation)?;
        let bare = std::mem::take(&mut self.bare);
        let defaults = select_stmt.is_none();
        let position = match select_stmt.as_mut().and_then(|source| source.node.as_mut()) {
            None if defaults => {
                let row = build::node(NodeEnum::List(pg_query::protobuf::List {
                    items: vec![self.value(target.column)?],
                }));
                let source = SelectStmt {
                    values_lists: vec![row],
                    ..build::select()
                };
                let source = NodeEnum::SelectStmt(Box::new(source));
                *select_stmt = Some(Box::new(build::node(source)));
                if !cols.is_empty() {
                    return refuse(Rule::InsertShape, "DEFAULT VALUES");
                }
                cols.push(named(target.column.name));
                None
            }
            Some(NodeEnum::SelectStmt(source)) => {
                if is_values(source) {
                    self.rows(source)?;
                } else {
                    self.select(source, Place::Result)?;
                }
                let position = position(cols, source, &target)?;
                self.arms(source, &position, target.column)?;
                Some(position)
            }
            _ => return refuse(Rule::InsertShape, ""),
        };
        if matches!(position, Some(Position::Added)) {
            cols.push(named(target.column.name));
        }
        self.bare = bare;
        hidden::show(returning_clause, &target, &[])?;
        self.conflict(on_conflict_clause, &target)?;
        self.returning(returning_clause)?;
        self.ctes.truncate(scope.0);
        self.bare.truncate(scope.1);
        Ok(())
    }

    /// Rewrites the rows of VALUES, in which DEFAULT may stand.
    fn rows(&mut self, source: &mut SelectStmt) -> Done {
        let bare = source.with_clause.is_none()
            && source.sort_clause.is_empty()
            && source.limit_count.is_none()
            && source.limit_offset.is_none()
            && source.locking_clause.is_empty();
        if !bare {
            // The server brings such a WITH into the scope of RETURNING for one row, not for more.
            return refuse(Rule::InsertShape, "VALUES");
        }
        for row in &mut source.values_lists {
            let Some(NodeEnum::List(row)) = &mut row.node else {
                return refuse(Rule::InsertShape, "VALUES");
            };
            for value in &mut row.items {
                if !matches!(&value.node, Some(NodeEnum::SetToDefault(_))) {
                    self.value_at(value, Place::Result)?;
                }
            }
        }
        Ok(())
    }

    /// Gives every arm of the source the tenant's value.
    fn arms(&self, source: &mut SelectStmt, position: &Position, column: TenantColumn<'_>) -> Done {
        // There is one more column to sort by than the client knows of.
        if matches!(position, Position::Added) && sorts_beyond(source) {
            return refuse(Rule::InsertShape, "ORDER BY");
        }
        if source.op() != SetOperation::SetopNone {
            for arm in [&mut source.larg, &mut source.rarg] {
                match arm {
                    Some(arm) => self.arms(arm, position, column)?,
                    None => return refuse(Rule::InsertShape, ""),
                }
            }
            return Ok(());
        }
        for row in &mut source.values_lists {
            let Some(NodeEnum::List(row)) = &mut row.node else {
                return refuse(Rule::InsertShape, "VALUES");
            };
            match position {
                Position::Added => row.items.push(self.value(column)?),
                Position::Given(index) => match row.items.get_mut(*index) {
                    Some(value) if matches!(&value.node, Some(NodeEnum::SetToDefault(_))) => {
                        *value = self.value(column)?;
                    }
                    Some(value) => self.tenant_value(value, column)?,
                    None => return refuse(Rule::InsertShape, "VALUES"),
                },
            }
        }
        if !source.values_lists.is_empty() {
            return Ok(());
        }
        match position {
            Position::Added => source
                .target_list
                .push(build::target("", self.value(column)?)),
            Position::Given(index) => {
                if source.target_list.iter().take(index + 1).any(is_star) {
                    return refuse(Rule::InsertShape, "*");
                }
                let Some(NodeEnum::ResTarget(target)) = source
                    .target_list
                    .get_mut(*index)
                    .and_then(|target| target.node.as_mut())
                else {
                    return refuse(Rule::InsertShape, "SELECT");
                };
                if target.name.is_empty() {
                    target.name = implied_name(target).unwrap_or_default();
                }
                match &mut target.val {
                    Some(value) => self.tenant_value(value, column)?,
                    None => return refuse(Rule::InsertShape, "SELECT"),
                }
            }
        }
        Ok(())
    }

    /// A conflict of a new row must be with a row of the tenant's own, or be accepted to tell of others.
    /// True where it can.
    pub(super) fn may_insert(&self, target: &Target<'_>) -> Result<bool, Refusal> {
        let mut global = target.relation.keys_without(target.column.name);
        let global = global.next().is_some();
        let accepted = self
            .policy
            .tables
            .get(&target.name)
            .is_some_and(|table| table.existence_oracle == ExistenceOracle::Accept);
        match global && !accepted {
            true => refuse(Rule::GlobalKey, target.name.to_string()),
            false => Ok(global),
        }
    }

    fn conflict(
        &mut self,
        clause: &mut Option<Box<OnConflictClause>>,
        target: &Target<'_>,
    ) -> Done {
        let column = target.column;
        let global = self.may_insert(target)?;
        let Some(clause) = clause else {
            return Ok(());
        };
        hidden::conflict(clause, target)?;
        let action = clause.action();
        let OnConflictClause {
            action: _,
            infer,
            target_list,
            where_clause,
            location: _,
        } = &mut **clause;
        if let Some(infer) = infer {
            let InferClause {
                index_elems,
                where_clause,
                conname: _,
                location: _,
            } = &mut **infer;
            for element in index_elems {
                let Some(NodeEnum::IndexElem(element)) = &mut element.node else {
                    return refuse(Rule::Construct, "ON CONFLICT");
                };
                if !element.opclass.is_empty()
                    || !element.opclassopts.is_empty()
                    || !element.collation.is_empty()
                {
                    return refuse(Rule::Construct, "ON CONFLICT");
                }
                self.optional(&mut element.expr, Place::Result)?;
            }
            self.optional(where_clause, Place::Result)?;
        }
        match action {
            OnConflictAction::OnconflictNothing => {
                if where_clause.is_some() || !target_list.is_empty() {
                    return refuse(Rule::Construct, "ON CONFLICT");
                }
                Ok(())
            }
            OnConflictAction::OnconflictUpdate => {
                // A row of another tenant in the way would be skipped where row-level security
                // raises an error.
                if global {
                    return refuse(Rule::GlobalKey, target.name.to_string());
                }
                self.assignments(target_list, column)?;
                self.guard_target(where_clause, target)
            }
            OnConflictAction::OnconflictNone | OnConflictAction::Undefined => {
                refuse(Rule::Construct, "ON CONFLICT")
            }
        }
    }
}

fn is_values(source: &SelectStmt) -> bool {
    source.op() == SetOperation::SetopNone && !source.values_lists.is_empty()
}

fn named(column: &str) -> Node {
    build::node(NodeEnum::ResTarget(Box::new(ResTarget {
        name: column.to_owned(),
        ..ResTarget::default()
    })))
}

/// Finds the tenant column among the columns; without a list they are the table's first ones.
fn position(
    columns: &mut Vec<Node>,
    source: &SelectStmt,
    target: &Target<'_>,
) -> Result<Position, Refusal> {
    if columns.is_empty() {
        let Some(width) = width(source).filter(|width| *width > 0) else {
            return refuse(Rule::InsertShape, "*");
        };
        let names = visible(target.relation, target.column);
        if width > names.len() {
            return refuse(Rule::InsertWidth, "");
        }
        *columns = names.into_iter().take(width).map(named).collect();
    }
    // The tenant's value behind another number of values would stand in another column's place.
    if !fits(source, columns.len()) {
        return refuse(Rule::InsertWidth, "");
    }
    let mut found = None;
    for (index, column) in columns.iter().enumerate() {
        let Some(NodeEnum::ResTarget(column)) = &column.node else {
            return refuse(Rule::InsertShape, "columns");
        };
        if !column.indirection.is_empty() {
            return refuse(Rule::InsertShape, &column.name);
        }
        if column.name == target.column.name {
            if target.column.hidden {
                return refuse(Rule::HiddenColumn, &column.name);
            }
            if found.is_some() {
                return refuse(Rule::InsertShape, &column.name);
            }
            found = Some(index);
        }
    }
    Ok(found.map_or(Position::Added, Position::Given))
}

/// Whether the source's rows have so many values, as far as its text tells.
fn fits(source: &SelectStmt, width: usize) -> bool {
    if source.op() != SetOperation::SetopNone {
        let arms = [&source.larg, &source.rarg];
        return arms
            .iter()
            .all(|arm| arm.as_ref().is_none_or(|arm| fits(arm, width)));
    }
    let rows = source.values_lists.iter();
    let star = source.target_list.iter().any(is_star);
    rows.clone()
        .all(|row| matches!(&row.node, Some(NodeEnum::List(row)) if row.items.len() == width))
        && (rows.len() > 0 || star || source.target_list.len() == width)
}

/// Whether it sorts or groups by a column's number that it does not have.
fn sorts_beyond(source: &SelectStmt) -> bool {
    let Some(width) = width(source) else {
        return false;
    };
    let is_beyond = |node: &Node| match &node.node {
        Some(NodeEnum::AConst(constant)) => match &constant.val {
            Some(a_const::Val::Ival(number)) => {
                usize::try_from(number.ival).is_ok_and(|number| number > width)
            }
            _ => false,
        },
        _ => false,
    };
    let mut keys = source.sort_clause.iter().map(|key| match &key.node {
        Some(NodeEnum::SortBy(by)) => by.node.as_deref().unwrap_or(key),
        _ => key,
    });
    keys.any(is_beyond)
        || source.distinct_clause.iter().any(is_beyond)
        || source.group_clause.iter().any(is_beyond)
}

/// How many values the source's rows have, if its text tells.
fn width(source: &SelectStmt) -> Option<usize> {
    if source.op() != SetOperation::SetopNone {
        let (left, right) = (source.larg.as_ref()?, source.rarg.as_ref()?);
        let (left, right) = (width(left)?, width(right)?);
        return (left == right).then_some(left);
    }
    if let Some(row) = source.values_lists.first() {
        return match &row.node {
            Some(NodeEnum::List(row)) => Some(row.items.len()),
            _ => None,
        };
    }
    let star = source.target_list.iter().any(is_star);
    (!star).then_some(source.target_list.len())
}

/// Whether a target is `*` or `t.*`.
fn is_star(target: &Node) -> bool {
    let Some(NodeEnum::ResTarget(target)) = &target.node else {
        return true;
    };
    match target.val.as_ref().and_then(|value| value.node.as_ref()) {
        Some(NodeEnum::ColumnRef(column)) => {
            column.fields.last().is_none_or(|last| text(last).is_none())
        }
        Some(NodeEnum::AIndirection(_)) | None => true,
        Some(_) => false,
    }
}

/// The name that the column of a result has without AS.
fn implied_name(target: &ResTarget) -> Option<String> {
    match target.val.as_ref()?.node.as_ref()? {
        NodeEnum::ColumnRef(column) => column.fields.last().and_then(text).map(str::to_owned),
        _ => None,
    }
}
