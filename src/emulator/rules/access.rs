//! Roles and privileges.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    AlterRoleSetStmt, CreateRoleStmt, DropRoleStmt, GrantRoleStmt, GrantStmt, ObjectType,
};

use super::data::Objects;
use super::judge::{Check, Judge};
use super::node;
use super::words::{literal, system_entity, unsupported};

/// Options of CREATE ROLE, as the parse tree calls them, that are taken with any value.
const ROLE_OPTIONS: [&str; 7] = [
    "canlogin",
    "inherit",
    "createrole",
    "addroleto",
    "rolemembers",
    "adminmembers",
    "sysid",
];

impl Judge<'_> {
    pub(super) fn grant(&mut self, grant: &GrantStmt) -> Check {
        let kind = grant.objtype();
        if !self.rules.takes(Objects::Grant, kind.as_str_name()) {
            let statement = if grant.is_grant { "GRANT" } else { "REVOKE" };
            return Err(unsupported(format!(
                "unsupported object type in {statement}"
            )));
        }
        if kind == ObjectType::ObjectSchema {
            return node::each(&grant.objects)
                .filter_map(node::text)
                .try_for_each(|schema| self.schema_kept(schema));
        }
        let system = node::each(&grant.objects).any(|object| {
            matches!(object, NodeEnum::RangeVar(name)
                if matches!(name.schemaname.as_str(), "sys" | "pg_catalog" | "information_schema"))
        });
        if system { Err(system_entity()) } else { Ok(()) }
    }

    /// PostgreSQL's own roles reach the machine's files and programs.
    pub(super) fn grant_role(&mut self, grant: &GrantRoleStmt) -> Check {
        let system = node::each(&grant.granted_roles).any(|role| match role {
            NodeEnum::AccessPriv(role) => is_system_role(&role.priv_name),
            NodeEnum::RoleSpec(role) => is_system_role(&role.rolename),
            _ => false,
        });
        if system { Err(system_entity()) } else { Ok(()) }
    }

    pub(super) fn create_role(&mut self, create: &CreateRoleStmt) -> Check {
        for option in node::each(&create.options) {
            let NodeEnum::DefElem(option) = option else {
                continue;
            };
            let value = option.arg.as_ref().and_then(|arg| arg.node.as_ref());
            let off = matches!(value, Some(NodeEnum::Boolean(value)) if !value.boolval);
            if !(off || ROLE_OPTIONS.contains(&option.defname.as_str())) {
                return Err(unsupported(format!(
                    "{} option not supported for CREATE ROLE",
                    role_option(&option.defname)
                )));
            }
            if let (true, Some(NodeEnum::List(roles))) = (option.defname == "addroleto", value) {
                let system = node::each(&roles.items).any(
                    |role| matches!(role, NodeEnum::RoleSpec(role) if is_system_role(&role.rolename)),
                );
                if system {
                    return Err(system_entity());
                }
            }
        }
        Ok(())
    }

    pub(super) fn drop_role(&mut self, drop: &DropRoleStmt) -> Check {
        for role in node::each(&drop.roles) {
            let NodeEnum::RoleSpec(role) = role else {
                continue;
            };
            if is_system_role(&role.rolename) || role.rolename == "admin" {
                return Err(system_entity());
            }
            self.plan.before.push(format!(
                "SELECT * FROM pg_dsql.check_drop_role({})",
                literal(&role.rolename)
            ));
        }
        Ok(())
    }

    pub(super) fn alter_role_set(&mut self, alter: &AlterRoleSetStmt) -> Check {
        let role = alter.role.as_ref();
        if role.is_some_and(|role| role.rolename == "admin") {
            return Err(system_entity());
        }
        self.role_setting(alter)
    }

    /// `AWS IAM GRANT role TO 'arn'` and its opposite.
    pub(super) fn iam(&mut self, grant: bool, role: &str, arn: &str) -> Check {
        let (role_text, arn_text) = (literal(role), literal(arn));
        self.plan.before.push(format!(
            "SELECT * FROM pg_dsql.check_iam({grant}, {role_text}, {arn_text})"
        ));
        let inner = format!("PERFORM pg_dsql.change_iam({grant}, {role_text}, {arn_text})");
        self.plan.sql = Some(format!("DO {}", literal(&format!("BEGIN {inner}; END"))));
        self.plan.tag = Some(if grant {
            "AWS IAM GRANT"
        } else {
            "AWS IAM REVOKE"
        });
        Ok(())
    }
}

fn is_system_role(name: &str) -> bool {
    name.starts_with("pg_") || name == "postgres"
}

fn role_option(name: &str) -> &str {
    match name {
        "password" => "PASSWORD",
        "superuser" => "SUPERUSER",
        "createdb" => "CREATEDB",
        "isreplication" => "REPLICATION",
        "bypassrls" => "BYPASSRLS",
        "connectionlimit" => "CONNECTION LIMIT",
        "validUntil" => "VALID UNTIL",
        other => other,
    }
}
