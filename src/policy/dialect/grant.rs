//! Extensions, and the objects that nobody may change.

use pg_query::NodeEnum;
use pg_query::protobuf::{GrantTargetType, ObjectType};

use super::{Case, build};

/// CREATE, ALTER and DROP EXTENSION, and COMMENT ON one; with names in the rule, of one of these.
pub(super) fn extension(tree: &NodeEnum, case: &Case<'_>) -> Vec<String> {
    let names: Vec<String> = match tree {
        NodeEnum::CreateExtensionStmt(create) => vec![create.extname.clone()],
        NodeEnum::AlterExtensionStmt(alter) => vec![alter.extname.clone()],
        NodeEnum::AlterExtensionContentsStmt(alter) => vec![alter.extname.clone()],
        NodeEnum::DropStmt(drop) if drop.remove_type() == ObjectType::ObjectExtension => {
            build::strings(&drop.objects)
                .into_iter()
                .map(str::to_owned)
                .collect()
        }
        _ => return Vec::new(),
    };
    let wanted = &case.rule.matches.name;
    if wanted.is_empty() || names.iter().all(|name| wanted.contains(name)) {
        names
    } else {
        Vec::new()
    }
}

/// CREATE EXTENSION IF NOT EXISTS of one that the rule names.
pub(super) fn extension_if_missing(tree: &NodeEnum, case: &Case<'_>) -> Vec<String> {
    match tree {
        NodeEnum::CreateExtensionStmt(create) if create.if_not_exists => extension(tree, case),
        _ => Vec::new(),
    }
}

/// GRANT, REVOKE, COMMENT and ALTER … OWNER of schema public.
pub(super) fn system_schema(tree: &NodeEnum, case: &Case<'_>) -> Vec<String> {
    let wanted = &case.rule.matches.name;
    let among = |name: &str| wanted.iter().any(|wanted| wanted == name);
    let names: Vec<String> = match tree {
        NodeEnum::GrantStmt(grant)
            if grant.objtype() == ObjectType::ObjectSchema
                && grant.targtype() == GrantTargetType::AclTargetObject =>
        {
            build::strings(&grant.objects)
                .into_iter()
                .map(str::to_owned)
                .collect()
        }
        NodeEnum::CommentStmt(comment) if comment.objtype() == ObjectType::ObjectSchema => {
            match comment
                .object
                .as_ref()
                .and_then(|object| object.node.as_ref())
            {
                Some(NodeEnum::String(name)) => vec![name.sval.clone()],
                _ => Vec::new(),
            }
        }
        NodeEnum::AlterOwnerStmt(alter) if alter.object_type() == ObjectType::ObjectSchema => {
            match alter
                .object
                .as_ref()
                .and_then(|object| object.node.as_ref())
            {
                Some(NodeEnum::String(name)) => vec![name.sval.clone()],
                _ => Vec::new(),
            }
        }
        NodeEnum::CreateSchemaStmt(create) if create.if_not_exists => {
            vec![create.schemaname.clone()]
        }
        _ => Vec::new(),
    };
    names.into_iter().filter(|name| among(name)).collect()
}

/// GRANT and REVOKE of roles that are PostgreSQL's own.
pub(super) fn system_role(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    let NodeEnum::GrantRoleStmt(grant) = tree else {
        return Vec::new();
    };
    grant
        .granted_roles
        .iter()
        .filter_map(|role| match &role.node {
            Some(NodeEnum::AccessPriv(role)) => Some(role.priv_name.clone()),
            _ => None,
        })
        .filter(|role| role.starts_with("pg_"))
        .collect()
}
