//! Columns of types that Aurora DSQL does not store, as domains over text.

use pg_query::NodeEnum;
use pg_query::protobuf::{AlterTableType, ConstrType};

use super::{Case, Changed, Draft, build, column as columns};
use crate::policy::Step;
use crate::policy::unstorable::{StandIn, schema_creation};
use crate::wire::sqlstate::SqlState;

/// It is there already.
const THERE: [SqlState; 2] = ["42P06", "42710"];

/// Gives such columns their domains, which are made first. What they stand for is the business of
/// [`crate::policy::unstorable`].
pub(super) fn column(draft: &mut Draft, _: &Case<'_>) -> Changed {
    let mut found = Vec::new();
    let mut domains: Vec<StandIn> = Vec::new();
    columns::each(&mut draft.tree, &mut |column| {
        let Some(stands) = column.type_name.as_ref().and_then(StandIn::of) else {
            return;
        };
        column.type_name = Some(stands.domain());
        for node in &mut column.constraints {
            if let Some(NodeEnum::Constraint(constraint)) = &mut node.node
                && constraint.contype() == ConstrType::ConstrDefault
                && let Some(value) = &mut constraint.raw_expr
            {
                **value = stands.by_default(std::mem::take(&mut **value));
            }
        }
        found.push(column.colname.clone());
        if !domains.contains(&stands) {
            domains.push(stands);
        }
    });
    // ALTER COLUMN TYPE has the column's name elsewhere.
    if let NodeEnum::AlterTableStmt(alter) = &draft.tree {
        let names = alter.cmds.iter().filter_map(|node| match &node.node {
            Some(NodeEnum::AlterTableCmd(command))
                if command.subtype() == AlterTableType::AtAlterColumnType =>
            {
                Some(command.name.clone())
            }
            _ => None,
        });
        let mut names = names;
        for name in found.iter_mut().filter(|name| name.is_empty()) {
            *name = names.next().unwrap_or_default();
        }
    }
    if !domains.is_empty() {
        draft.first.push(ahead(&schema_creation())?);
    }
    for domain in domains {
        draft.first.push(ahead(&domain.creation())?);
    }
    Ok(found)
}

fn ahead(sql: &str) -> Result<Step, crate::wire::reply::ClientError> {
    Ok(Step {
        tolerate: THERE.to_vec(),
        ..Step::statement(build::normal(sql)?)
    })
}
