//! Enum types: domains over text with a CHECK.

use pg_query::{Node, NodeEnum};

use super::{Case, Changed, Draft, build};
use crate::policy::Step;

fn qualified(names: &[Node]) -> String {
    let parts: Vec<String> = build::strings(names)
        .into_iter()
        .map(build::quoted)
        .collect();
    parts.join(".")
}

/// CREATE TYPE … AS ENUM.
pub(super) fn create(draft: &mut Draft, _: &Case<'_>) -> Changed {
    let NodeEnum::CreateEnumStmt(create) = &draft.tree else {
        return Ok(Vec::new());
    };
    let labels: Vec<String> = build::strings(&create.vals)
        .into_iter()
        .map(build::literal)
        .collect();
    let name = build::last(&create.type_name).to_owned();
    // A type without labels takes no value at all.
    let check = if labels.is_empty() {
        "false".to_owned()
    } else {
        format!("VALUE IN ({})", labels.join(", "))
    };
    let sql = format!(
        "CREATE DOMAIN {} AS text CONSTRAINT {} CHECK ({check})",
        qualified(&create.type_name),
        build::quoted(&super::name::chosen(&name, None, "check"))
    );
    draft.instead = Some(vec![Step::statement(build::normal(&sql)?)]);
    draft.tag = Some("CREATE TYPE".to_owned());
    Ok(vec![name])
}

/// ALTER TYPE ADD VALUE: a domain takes no other CHECK, so it loses the one it has.
pub(super) fn add_value(draft: &mut Draft, _: &Case<'_>) -> Changed {
    let NodeEnum::AlterEnumStmt(alter) = &draft.tree else {
        return Ok(Vec::new());
    };
    if !alter.old_val.is_empty() {
        return Ok(Vec::new());
    }
    let name = build::last(&alter.type_name).to_owned();
    let sql = format!(
        "ALTER DOMAIN {} DROP CONSTRAINT IF EXISTS {}",
        qualified(&alter.type_name),
        build::quoted(&super::name::chosen(&name, None, "check"))
    );
    draft.instead = Some(vec![Step::statement(build::normal(&sql)?)]);
    draft.tag = Some("ALTER TYPE".to_owned());
    Ok(vec![format!("\"{name}\"")])
}

/// ALTER TYPE RENAME VALUE: the rows would have to be changed too.
pub(super) fn rename_value(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    match tree {
        NodeEnum::AlterEnumStmt(alter) if !alter.old_val.is_empty() => {
            vec![build::last(&alter.type_name).to_owned()]
        }
        _ => Vec::new(),
    }
}

/// ALTER DOMAIN ADD CONSTRAINT and VALIDATE CONSTRAINT.
pub(super) fn alter_domain(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    const ADD: &str = "C";
    const VALIDATE: &str = "V";
    match tree {
        NodeEnum::AlterDomainStmt(alter) if matches!(alter.subtype.as_str(), ADD | VALIDATE) => {
            vec![build::last(&alter.type_name).to_owned()]
        }
        _ => Vec::new(),
    }
}
