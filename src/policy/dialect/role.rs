//! Roles.

use pg_query::NodeEnum;
use pg_query::protobuf::RoleStmtType;

use super::{Case, Changed, Draft, build};

/// Options of CREATE ROLE that say what holds for every role of DSQL.
const DEFAULTS: [(&str, &str); 6] = [
    ("superuser", "false"),
    ("createdb", "false"),
    ("isreplication", "false"),
    ("bypassrls", "false"),
    ("inherit", "true"),
    ("createrole", "false"),
];

/// Options that DSQL takes.
const TAKEN: [&str; 1] = ["canlogin"];

fn is_default(option: &pg_query::protobuf::DefElem) -> bool {
    let value = build::word(option).unwrap_or_default();
    DEFAULTS.contains(&(option.defname.as_str(), value.as_str()))
        || option.defname == "connectionlimit" && build::number(option) == Some(-1)
}

/// Options that say what holds anyway.
pub(super) fn defaults(draft: &mut Draft, _: &Case<'_>) -> Changed {
    let NodeEnum::CreateRoleStmt(create) = &mut draft.tree else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    create.options.retain(|node| match &node.node {
        Some(NodeEnum::DefElem(option)) if is_default(option) => {
            found.push(option.defname.clone());
            false
        }
        _ => true,
    });
    Ok(found)
}

/// Options that DSQL does not take.
pub(super) fn options(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    let options = match tree {
        NodeEnum::CreateRoleStmt(create) => {
            if create.stmt_type() == RoleStmtType::RolestmtGroup {
                return vec!["GROUP".to_owned()];
            }
            &create.options
        }
        NodeEnum::AlterRoleStmt(alter) => &alter.options,
        _ => return Vec::new(),
    };
    let all = matches!(tree, NodeEnum::AlterRoleStmt(_));
    build::options(options)
        .filter(|option| all || !TAKEN.contains(&option.defname.as_str()) && !is_default(option))
        .map(|option| match option.defname.as_str() {
            "validUntil" => "VALID UNTIL".to_owned(),
            "connectionlimit" => "CONNECTION LIMIT".to_owned(),
            "isreplication" => "REPLICATION".to_owned(),
            other => other.to_ascii_uppercase(),
        })
        .collect()
}

/// ALTER ROLE … SET of anything but search_path.
pub(super) fn setting(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    match tree {
        NodeEnum::AlterRoleSetStmt(alter) => alter
            .setstmt
            .iter()
            .filter(|set| set.name != "search_path" || !alter.database.is_empty())
            .map(|set| set.name.clone())
            .collect(),
        _ => Vec::new(),
    }
}
