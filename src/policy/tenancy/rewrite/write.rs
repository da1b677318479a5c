//! UPDATE and DELETE, and what INSERT shares with them.

use pg_query::protobuf::{
    DeleteStmt, MultiAssignRef, RangeVar, ReturningClause, UpdateStmt, a_const,
};
use pg_query::{Node, NodeEnum};

use super::loudness::is_loud;
use super::select::{From, conjuncts};
use super::{Done, Meaning, Place, Rewriter, hidden, own_alias, own_name, refuse};
use crate::policy::tenancy::catalog::{Relation, RelationName};
use crate::policy::tenancy::rules::TenantColumn;
use crate::policy::tenancy::tenant::{TenantType, Value};
use crate::policy::tenancy::{Refusal, Rule, build};
use crate::sql::tree::{self, Ref};

/// The table that a statement writes.
pub(super) struct Target<'a> {
    pub(super) name: RelationName,
    /// By which its columns are known.
    pub(super) alias: String,
    pub(super) column: TenantColumn<'a>,
    pub(super) relation: &'a Relation,
}

impl<'a> Rewriter<'a> {
    pub(super) fn update(&mut self, update: &mut UpdateStmt) -> Done {
        let scope = (self.ctes.len(), self.bare.len());
        let UpdateStmt {
            relation,
            target_list,
            where_clause,
            from_clause,
            returning_clause,
            with_clause,
        } = update;
        self.with(with_clause)?;
        let alias = relation.as_ref().and_then(|table| table.alias.as_ref());
        if alias.is_some_and(|alias| alias.aliasname == "set") {
            // The printer writes it without quotes, and that is the word behind it.
            return refuse(Rule::ReservedName, "set");
        }
        let target = self.target(relation)?;
        hidden::named_in(&target, [target_list.as_slice(), from_clause.as_slice()])?;
        hidden::named_in_condition(&target, where_clause)?;
        hidden::show(returning_clause, &target, from_clause)?;
        self.from(from_clause, &mut From::default())?;
        self.assignments(target_list, target.column)?;
        self.guard_target(where_clause, &target)?;
        self.returning(returning_clause)?;
        self.ctes.truncate(scope.0);
        self.bare.truncate(scope.1);
        Ok(())
    }

    pub(super) fn delete(&mut self, delete: &mut DeleteStmt) -> Done {
        let scope = (self.ctes.len(), self.bare.len());
        let DeleteStmt {
            relation,
            using_clause,
            where_clause,
            returning_clause,
            with_clause,
        } = delete;
        self.with(with_clause)?;
        let target = self.target(relation)?;
        hidden::named_in(&target, [using_clause.as_slice()])?;
        hidden::named_in_condition(&target, where_clause)?;
        hidden::show(returning_clause, &target, using_clause)?;
        self.from(using_clause, &mut From::default())?;
        self.guard_target(where_clause, &target)?;
        self.returning(returning_clause)?;
        self.ctes.truncate(scope.0);
        self.bare.truncate(scope.1);
        Ok(())
    }

    /// Finds the table that is written, and gives it its schema.
    pub(super) fn target(&mut self, table: &mut Option<RangeVar>) -> Result<Target<'a>, Refusal> {
        let Some(table) = table else {
            return refuse(Rule::Construct, "target");
        };
        own_alias(&table.alias)?;
        if table.relpersistence != "p" {
            return refuse(Rule::Construct, "persistence");
        }
        if table
            .alias
            .as_ref()
            .is_some_and(|alias| !alias.colnames.is_empty())
        {
            return refuse(Rule::Construct, "alias");
        }
        let (name, column, relation) = match self.declared(table)? {
            Meaning::Table(name, column, relation) => (name, column, relation),
            Meaning::Shared(name) => return refuse(Rule::SharedWrite, name.to_string()),
            Meaning::View(name, _) => return refuse(Rule::ViewWrite, name.to_string()),
            Meaning::Cte => return refuse(Rule::Relation, &table.relname),
        };
        table.schemaname.clone_from(&name.schema);
        let alias = match &table.alias {
            Some(alias) => alias.aliasname.clone(),
            None => {
                own_name(&table.relname)?;
                self.bare.push(name.clone());
                table.relname.clone()
            }
        };
        // In ON CONFLICT this name is the proposed row's, in RETURNING of later servers these are
        // the row's before and after.
        if ["excluded", "old", "new"].contains(&alias.as_str()) {
            return refuse(Rule::ReservedName, alias);
        }
        Ok(Target {
            name,
            alias,
            column,
            relation,
        })
    }

    /// Puts the tenant's predicate before the conditions of a write.
    pub(super) fn guard_target(
        &mut self,
        condition: &mut Option<Box<Node>>,
        target: &Target<'_>,
    ) -> Done {
        let predicate = self.predicate(&target.alias, target.column)?;
        self.guard(condition, &predicate)
    }

    /// Puts the tenant's predicate before other conditions, and has loud ones wait for it.
    pub(super) fn guard(&mut self, condition: &mut Option<Box<Node>>, predicate: &Node) -> Done {
        let mut guarded = vec![predicate.clone()];
        for mut conjunct in conjuncts(condition.take()) {
            if matches!(&conjunct.node, Some(NodeEnum::CurrentOfExpr(_))) {
                return refuse(Rule::CurrentOf, "");
            }
            let selects = conjunct
                .node
                .as_ref()
                .is_some_and(|node| tree::any(node, &mut |node| matches!(node, Ref::SubLink(_))));
            let loud = is_loud(&conjunct, &self.hazards) || (self.fence && selects);
            self.value_at(&mut conjunct, Place::Condition)?;
            guarded.push(if loud {
                build::case(predicate.clone(), conjunct, Some(build::falsehood()))
            } else {
                conjunct
            });
        }
        *condition = build::all(guarded).map(Box::new);
        Ok(())
    }

    /// Rewrites the list behind SET.
    pub(super) fn assignments(&mut self, list: &mut [Node], column: TenantColumn<'_>) -> Done {
        // All parts of one `(a, b) = source` carry the same source; the first one's counts.
        let mut source: Option<Box<Node>> = None;
        for assignment in list {
            let Some(NodeEnum::ResTarget(assignment)) = &mut assignment.node else {
                return refuse(Rule::Construct, "SET");
            };
            if !assignment.indirection.is_empty() {
                return refuse(Rule::Construct, "SET of a part");
            }
            let is_tenant = assignment.name == column.name;
            if is_tenant && column.hidden {
                return refuse(Rule::HiddenColumn, column.name);
            }
            let Some(value) = &mut assignment.val else {
                return refuse(Rule::Construct, "SET");
            };
            match &mut value.node {
                Some(NodeEnum::MultiAssignRef(part)) => {
                    if is_tenant {
                        return refuse(Rule::TenantAssignment, column.name);
                    }
                    let MultiAssignRef {
                        source: of_part,
                        colno,
                        ncolumns: _,
                    } = &mut **part;
                    if *colno == 1 {
                        self.row_source(of_part)?;
                        source.clone_from(of_part);
                    } else {
                        of_part.clone_from(&source);
                    }
                    if of_part.is_none() {
                        return refuse(Rule::Construct, "SET");
                    }
                }
                Some(NodeEnum::SetToDefault(_)) if is_tenant => {
                    return refuse(Rule::TenantAssignment, column.name);
                }
                Some(NodeEnum::SetToDefault(_)) => {}
                _ if is_tenant => {
                    self.value_at(value, Place::Result)?;
                    self.tenant_value(value, column)?;
                }
                _ => self.value_at(value, Place::Result)?,
            }
        }
        Ok(())
    }

    fn row_source(&mut self, source: &mut Option<Box<Node>>) -> Done {
        match source.as_mut().map(|source| &mut source.node) {
            Some(Some(NodeEnum::RowExpr(row))) => {
                for value in &mut row.args {
                    if !matches!(&value.node, Some(NodeEnum::SetToDefault(_))) {
                        self.value_at(value, Place::Result)?;
                    }
                }
                Ok(())
            }
            Some(Some(NodeEnum::SubLink(_))) => self.optional(source, Place::Result),
            _ => refuse(Rule::Construct, "SET of several columns"),
        }
    }

    /// Makes an expression for the tenant column yield the tenant or NULL, which NOT NULL refuses
    /// before any unique index is asked. The expression has been rewritten already.
    pub(super) fn tenant_value(&self, value: &mut Node, column: TenantColumn<'_>) -> Done {
        let own = self.value(column)?;
        let constant = match &value.node {
            Some(NodeEnum::AConst(constant)) => Some((constant.isnull, constant.val.as_ref())),
            _ => None,
        };
        let tenant = match self.value {
            Value::Literal(tenant) => tenant.value(column.kind),
            // Whose value it is decides.
            Value::Parameter(_) if matches!(constant, Some((false, _))) => {
                return refuse(Rule::OfTenant, column.name);
            }
            Value::Parameter(_) => Some(""),
        };
        let Some(tenant) = tenant else {
            return refuse(Rule::NoValue, column.name);
        };
        let same = match constant {
            None => None,
            Some((true, _)) => Some(false),
            Some((false, Some(a_const::Val::Ival(number)))) => {
                Some(number.ival.to_string() == tenant)
            }
            Some((false, Some(a_const::Val::Fval(number)))) => Some(number.fval == tenant),
            Some((false, Some(a_const::Val::Sval(text)))) => {
                // Other spellings of a number or a uuid are compared by the server.
                (text.sval == tenant)
                    .then_some(true)
                    .or((column.kind == TenantType::Text).then_some(false))
            }
            Some((false, _)) => Some(false),
        };
        match same {
            Some(true) => *value = own,
            Some(false) => return refuse(Rule::ForeignTenant, column.name),
            None => {
                let given = std::mem::take(value);
                *value = build::case(build::equals(given, own.clone()), own, None);
            }
        }
        Ok(())
    }

    pub(super) fn returning(&mut self, returning: &mut Option<ReturningClause>) -> Done {
        let Some(ReturningClause { options, exprs }) = returning else {
            return Ok(());
        };
        if !options.is_empty() {
            return refuse(Rule::Construct, "RETURNING WITH");
        }
        for target in exprs {
            let Some(NodeEnum::ResTarget(target)) = &mut target.node else {
                return refuse(Rule::Construct, "RETURNING");
            };
            if !target.indirection.is_empty() {
                return refuse(Rule::Construct, "RETURNING");
            }
            own_name(&target.name)?;
            self.optional(&mut target.val, Place::Result)?;
        }
        Ok(())
    }
}
