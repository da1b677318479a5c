//! Materialized views: plain views, which are always current. A mark among their options lets the catalogs
//! tell them from others.

use pg_query::protobuf::{CreateTableAsStmt, ObjectType, SelectStmt, SetOperation};
use pg_query::{Node, NodeEnum};

use super::{Case, Changed, Draft, build};
use crate::policy::{Step, StepKind};
use crate::sql::tree::print;
use crate::wire::reply::ClientError;

/// Options of a view that say what holds anyway, in words that nobody else puts together so. Their
/// order is that of `pg_class.reloptions`.
const MARK: [&str; 2] = ["security_barrier", "security_invoker"];

/// How the options are off.
const OFF: &str = "no";

/// A condition for `pg_class`: the relation is such a view. `prefix` is put ahead of its columns.
pub(crate) fn is_marked(prefix: &str) -> String {
    let options = MARK.map(|name| format!("'{name}={OFF}'")).join(", ");
    format!("{prefix}relkind = 'v' AND {prefix}reloptions = ARRAY[{options}]")
}

/// CREATE MATERIALIZED VIEW.
pub(super) fn create(draft: &mut Draft, _: &Case<'_>) -> Changed {
    let NodeEnum::CreateTableAsStmt(create) = &draft.tree else {
        return Ok(Vec::new());
    };
    if create.objtype() != ObjectType::ObjectMatview {
        return Ok(Vec::new());
    }
    let Some((name, sql)) = view(create)? else {
        return Ok(Vec::new());
    };
    if create.if_not_exists
        && let Some(view) = create.into.as_ref().and_then(|into| into.rel.as_ref())
    {
        let relation = build::literal(&build::relation(view));
        draft.before.push(Step {
            kind: StepKind::Condition,
            otherwise: Some(format!("relation \"{name}\" already exists, skipping")),
            ..Step::statement(format!("SELECT pg_catalog.to_regclass({relation}) IS NULL"))
        });
    }
    draft.tree = build::parsed(&sql)?;
    draft.tag = Some("CREATE MATERIALIZED VIEW".to_owned());
    Ok(vec![name])
}

/// Its name, and the text that makes the view.
fn view(create: &CreateTableAsStmt) -> Result<Option<(String, String)>, ClientError> {
    let query = create.query.as_ref().and_then(|query| query.node.as_ref());
    let (Some(into), Some(query)) = (&create.into, query) else {
        return Ok(None);
    };
    let Some(view) = &into.rel else {
        return Ok(None);
    };
    let text = print(query).map_err(|error| super::unprintable(&error))?;
    let name = build::quoted(&view.relname);
    // Nobody changes rows through a materialized view, so nobody shall through this one.
    let text = match query {
        NodeEnum::SelectStmt(select) if may_be_changed_through(select) => {
            format!("SELECT * FROM ({text}) AS {name}")
        }
        _ => text,
    };
    let columns: Vec<String> = build::strings(&into.col_names)
        .into_iter()
        .map(build::quoted)
        .collect();
    let columns = match columns.is_empty() {
        true => String::new(),
        false => format!(" ({})", columns.join(", ")),
    };
    let options = MARK.map(|name| format!("{name} = '{OFF}'")).join(", ");
    let sql = format!(
        "CREATE VIEW {}{columns} WITH ({options}) AS {text}",
        build::relation(view)
    );
    Ok(Some((view.relname.clone(), sql)))
}

/// A view of this query may be one through which rows of its only table can be changed.
fn may_be_changed_through(select: &SelectStmt) -> bool {
    let [
        Node {
            node: Some(NodeEnum::RangeVar(_)),
        },
    ] = select.from_clause.as_slice()
    else {
        return false;
    };
    select.op() == SetOperation::SetopNone
        && select.distinct_clause.is_empty()
        && select.group_clause.is_empty()
        && select.having_clause.is_none()
        && select.limit_offset.is_none()
        && select.limit_count.is_none()
        && select.with_clause.is_none()
}

/// DROP, ALTER and COMMENT ON MATERIALIZED VIEW: the same of a view.
pub(super) fn as_view(draft: &mut Draft, _: &Case<'_>) -> Changed {
    const VIEW: i32 = ObjectType::ObjectView as i32;
    let is = |kind: i32| kind == ObjectType::ObjectMatview as i32;
    let tag = match &mut draft.tree {
        NodeEnum::DropStmt(drop) if is(drop.remove_type) => {
            drop.remove_type = VIEW;
            Some("DROP MATERIALIZED VIEW")
        }
        NodeEnum::CommentStmt(comment) if is(comment.objtype) => {
            comment.objtype = VIEW;
            None
        }
        NodeEnum::RenameStmt(rename) if is(rename.rename_type) => {
            rename.rename_type = VIEW;
            Some("ALTER MATERIALIZED VIEW")
        }
        // Of a column.
        NodeEnum::RenameStmt(rename) if is(rename.relation_type) => {
            rename.relation_type = VIEW;
            Some("ALTER MATERIALIZED VIEW")
        }
        NodeEnum::AlterObjectSchemaStmt(alter) if is(alter.object_type) => {
            alter.object_type = VIEW;
            Some("ALTER MATERIALIZED VIEW")
        }
        NodeEnum::AlterTableStmt(alter) if is(alter.objtype) => {
            alter.objtype = VIEW;
            Some("ALTER MATERIALIZED VIEW")
        }
        _ => return Ok(Vec::new()),
    };
    draft.tag = tag.map(str::to_owned);
    Ok(vec![String::new()])
}
