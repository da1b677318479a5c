//! The hard tier: views of one tenant's rows on the server, and a role that may use these views alone, for
//! those who want the database itself to enforce. Pure: what is there comes in, statements come out.
//!
//! A schema and a role, both with the name that [`name_of`] gives, hold for each tenant table a view with
//! `security_barrier` and a cascaded check option, and for each shared table a view to read. What is made is
//! marked by a comment; what is not marked is never changed.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use aws_lc_rs::digest;
use pg_query::NodeEnum;
use pg_query::protobuf::{AExprKind, RangeVar, a_const};

use super::build;
use super::catalog::{Catalog, RelationKind, RelationName};
use super::rules::{Policy, Role};
use super::snapshot::{Rows, Unread};
use super::tenant::{Tenant, TenantType};
use crate::sql::Statement;

/// Comment of schemas and views that are made here.
pub const MARK: &str = "made by dsql-proxy tenants sync";

/// Begin of the names of schemas and roles.
const PREFIX: &str = "t_";

/// Hexadecimal digits behind it.
const DIGITS: usize = 16;

/// Name of a tenant's schema and role. It tells nothing of the tenant's name.
#[must_use]
pub fn name_of(tenant: &str) -> String {
    let text = format!("dsql-proxy tenant {tenant}");
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    let mut name = PREFIX.to_owned();
    for byte in &digest.as_ref()[..DIGITS / 2] {
        // Writing into a String cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// Whether a schema has the name of a tenant's.
#[must_use]
pub fn is_name(schema: &str) -> bool {
    schema.strip_prefix(PREFIX).is_some_and(|digits| {
        digits.len() == DIGITS
            && digits
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    })
}

/// Queries for what is there of a tenant's schema and role, in the order in which [`read`] takes the answers.
#[must_use]
pub fn queries(name: &str) -> [String; 5] {
    let mark = |object: &str, class: &str| {
        format!(
            "coalesce((SELECT d.description FROM pg_description d WHERE d.objoid = {object}.oid \
             AND d.classoid = '{class}'::regclass AND d.objsubid = 0), '')"
        )
    };
    let may = |what: &str| {
        format!(
            "coalesce((SELECT has_schema_privilege(r.oid, n.oid, '{what}') FROM pg_roles r WHERE r.rolname = '{name}'), false)"
        )
    };
    [
        "SET search_path = pg_catalog".to_owned(),
        format!(
            "SELECT r.rolcanlogin, r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolbypassrls OR r.rolreplication
               OR EXISTS (SELECT 1 FROM pg_auth_members m WHERE m.member = r.oid),
               coalesce(array_to_string(r.rolconfig, chr(1)), '') FROM pg_roles r WHERE r.rolname = '{name}'"
        ),
        format!(
            "SELECT {}, {}, {} FROM pg_namespace n WHERE n.nspname = '{name}'",
            mark("n", "pg_namespace"),
            may("USAGE"),
            may("CREATE"),
        ),
        format!(
            "SELECT c.relname, coalesce(array_to_string(c.reloptions, ','), ''),
               CASE WHEN c.relkind = 'v' THEN pg_get_viewdef(c.oid) ELSE '' END, {},
               coalesce((SELECT string_agg(p, ',') FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE',
                 'REFERENCES', 'TRIGGER']) p, pg_roles r WHERE r.rolname = '{name}' AND has_table_privilege(r.oid, c.oid, p)), '')
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = '{name}' AND c.relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY 1",
            mark("c", "pg_class"),
        ),
        format!(
            "SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, pg_roles r
             WHERE r.rolname = '{name}' AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('{name}', 'information_schema', 'sys')
               AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND has_schema_privilege(r.oid, n.oid, 'USAGE')
               AND (has_table_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES')
                 OR has_any_column_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE'))
             UNION ALL
             SELECT 'function ' || n.nspname || '.' || p.proname || ', which runs as its owner,'
             FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace, pg_roles r
             WHERE r.rolname = '{name}' AND p.prosecdef AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'sys')
               AND has_schema_privilege(r.oid, n.oid, 'USAGE') AND has_function_privilege(r.oid, p.oid, 'EXECUTE')
             UNION ALL
             SELECT 'CREATE on schema ' || n.nspname FROM pg_namespace n, pg_roles r
             WHERE r.rolname = '{name}' AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('{name}', 'information_schema', 'sys')
               AND has_schema_privilege(r.oid, n.oid, 'CREATE') ORDER BY 1"
        ),
    ]
}

/// A tenant's role as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct FoundRole {
    logs_in: bool,
    /// It may do what such a role must not: make roles, be another one.
    powerful: bool,
    /// Its settings.
    settings: BTreeSet<String>,
}

/// A tenant's schema as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct FoundSchema {
    marked: bool,
    usable: bool,
    creatable: bool,
}

/// Something in that schema.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct FoundRelation {
    name: String,
    options: BTreeSet<String>,
    definition: String,
    marked: bool,
    privileges: BTreeSet<String>,
}

/// What is there of a tenant's schema and role.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    role: Option<FoundRole>,
    schema: Option<FoundSchema>,
    relations: Vec<FoundRelation>,
    /// Relations elsewhere, and other things, that the role may use.
    exposed: Vec<String>,
}

/// Makes of the answers to [`queries`] what is there.
///
/// # Errors
/// An answer has other columns.
pub fn read(answers: &[Rows]) -> Result<Found, Unread> {
    let [_, roles, schemas, relations, exposed] = answers else {
        return Err(Unread::Shape(answers.len()));
    };
    let set = |text: &str, end: char| -> BTreeSet<String> {
        let parts = text.split(end).filter(|part| !part.is_empty());
        parts.map(str::to_owned).collect()
    };
    let mut found = Found::default();
    for [logs_in, powerful, settings] in columns(roles, 1)? {
        found.role = Some(FoundRole {
            logs_in: logs_in == "t",
            powerful: powerful == "t",
            settings: set(settings, '\u{1}'),
        });
    }
    for [mark, usable, creatable] in columns(schemas, 2)? {
        found.schema = Some(FoundSchema {
            marked: mark == MARK,
            usable: usable == "t",
            creatable: creatable == "t",
        });
    }
    for [name, options, definition, mark, privileges] in columns(relations, 3)? {
        found.relations.push(FoundRelation {
            name: name.to_owned(),
            options: set(options, ','),
            definition: definition.to_owned(),
            marked: mark == MARK,
            privileges: set(privileges, ','),
        });
    }
    for [name] in columns(exposed, 4)? {
        found.exposed.push(name.to_owned());
    }
    Ok(found)
}

fn columns<const N: usize>(rows: &Rows, query: usize) -> Result<Vec<[&str; N]>, Unread> {
    let each = rows.iter().map(|row| {
        let values: Option<Vec<&str>> = row.iter().map(Option::as_deref).collect();
        values.and_then(|values| <[&str; N]>::try_from(values).ok())
    });
    each.collect::<Option<_>>().ok_or(Unread::Shape(query))
}

/// What has to be done for a tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Statements, each a transaction of its own.
    pub statements: Vec<String>,
    /// What the role lacks, one sentence each.
    pub notes: Vec<String>,
    /// What is in the way, one sentence each. Where there is one, nothing is enforced.
    pub problems: Vec<String>,
}

/// A view as it should be.
struct View<'a> {
    name: String,
    table: &'a RelationName,
    columns: Vec<&'a str>,
    /// Tenant column, its type and the value; none for a shared table.
    condition: Option<(&'a str, TenantType, &'a str)>,
    /// Every unique key has the tenant column. By one that has not, `INSERT ... ON CONFLICT DO UPDATE` reaches
    /// rows that the view does not show.
    keyed: bool,
}

impl View<'_> {
    fn privileges(&self) -> BTreeSet<String> {
        let all: &[&str] = match self.condition {
            Some(_) if self.keyed => &["SELECT", "INSERT", "UPDATE", "DELETE"],
            Some(_) => &["SELECT", "UPDATE", "DELETE"],
            None => &["SELECT"],
        };
        all.iter().map(|one| (*one).to_owned()).collect()
    }

    fn options(&self) -> BTreeSet<String> {
        let mut options = BTreeSet::from(["security_barrier=true".to_owned()]);
        if self.condition.is_some() {
            options.insert("check_option=cascaded".to_owned());
        }
        options
    }

    fn statement(&self, schema: &str) -> String {
        let columns: Vec<String> = self.columns.iter().map(|name| quoted(name)).collect();
        let mut text = format!(
            "CREATE VIEW {}.{} WITH (security_barrier=true) AS SELECT {} FROM {}",
            quoted(schema),
            quoted(&self.name),
            columns.join(", "),
            whole(self.table)
        );
        if let Some((column, kind, value)) = self.condition {
            // A tenant's value has no quote and no backslash.
            let _ = write!(
                text,
                " WHERE {} OPERATOR(pg_catalog.=) CAST('{value}' AS pg_catalog.{}) WITH CASCADED CHECK OPTION",
                quoted(column),
                kind.catalog_name()
            );
        }
        text
    }

    fn is(&self, found: &FoundRelation) -> bool {
        let condition = self
            .condition
            .map(|(column, _, value)| (column.to_owned(), value.to_owned()));
        self.options() == found.options
            && shape(&found.definition).is_some_and(|shape| {
                shape.table == *self.table
                    && shape.columns == self.columns
                    && shape.condition == condition
            })
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn whole(name: &RelationName) -> String {
    format!("{}.{}", quoted(&name.schema), quoted(&name.name))
}

/// What the views of a tenant are; the problems are about names that two tables share.
fn views<'a>(
    policy: &'a Policy,
    catalog: &'a Catalog,
    tenant: &'a Tenant,
    problems: &mut Vec<String>,
) -> Vec<View<'a>> {
    let place = |name: &RelationName| {
        let mut path = policy.search_path.iter();
        path.position(|schema| *schema == name.schema)
    };
    let mut names: Vec<&RelationName> = policy.tables.keys().chain(policy.shared.keys()).collect();
    // Whose schema comes first on the search path has the name.
    names.sort_by_key(|name| (place(name).unwrap_or(usize::MAX), *name));
    let mut taken = BTreeSet::new();
    let mut views = Vec::new();
    for table in names {
        let (Some(role), Some(relation)) = (policy.role(table), catalog.relation(table)) else {
            continue;
        };
        let condition = match role {
            Role::Shared => None,
            Role::View => continue,
            Role::Tenant(column) => match tenant.value(column.kind) {
                Some(value) => Some((column.name, column.kind, value)),
                // Not this tenant's to name.
                None => continue,
            },
        };
        let long = format!("{}_{}", table.schema, table.name);
        let name = [table.name.clone(), long]
            .into_iter()
            .find(|name| !taken.contains(name));
        let Some(name) = name else {
            problems.push(format!("there is no name left for a view of {table}"));
            continue;
        };
        taken.insert(name.clone());
        views.push(View {
            name,
            table,
            keyed: condition
                .is_none_or(|(column, ..)| relation.keys_without(column).next().is_none()),
            columns: relation
                .columns
                .iter()
                .map(|column| column.name.as_str())
                .collect(),
            condition,
        });
    }
    views
}

/// What makes of what is there a schema and role through which this tenant reaches its rows alone.
#[must_use]
pub fn plan(
    policy: &Policy,
    catalog: &Catalog,
    tenant: &Tenant,
    name: &str,
    found: &Found,
) -> Plan {
    let mut plan = Plan::default();
    let wanted = views(policy, catalog, tenant, &mut plan.problems);
    match &found.role {
        None => plan.statements.push(format!("CREATE ROLE {} WITH LOGIN", quoted(name))),
        Some(role) if role.powerful => plan.problems.push(format!(
            "role {name} is a member of other roles, or may make roles or databases: it is not confined"
        )),
        Some(role) if !role.logs_in => plan.problems.push(format!("role {name} may not log in")),
        Some(_) => {}
    }
    if !plan.schema(name, found) {
        return plan;
    }
    for view in &wanted {
        plan.view(view, name, found);
        if !view.keyed {
            plan.notes.push(format!(
                "role {name} may not INSERT into {}: a unique key without the tenant column would let ON CONFLICT \
                 change rows of others",
                view.name
            ));
        }
    }
    for relation in &found.relations {
        if wanted.iter().any(|view| view.name == relation.name) {
            continue;
        }
        let whole = format!("{}.{}", quoted(name), quoted(&relation.name));
        match relation.marked {
            true => plan.statements.push(format!("DROP VIEW {whole}")),
            false => plan.problems.push(format!(
                "{whole} was not made by this command: it is left alone"
            )),
        }
    }
    let setting = format!("search_path={name}");
    let set = found
        .role
        .as_ref()
        .is_some_and(|role| role.settings.contains(&setting));
    if !set {
        plan.statements.push(format!(
            "ALTER ROLE {} SET search_path = {}",
            quoted(name),
            quoted(name)
        ));
    }
    let exposed = found.exposed.iter();
    plan.problems.extend(exposed.map(|relation| {
        format!("role {name} may use {relation}, by a grant to it or to PUBLIC: revoke it")
    }));
    plan
}

impl Plan {
    /// The schema and who may use it. False when it is somebody else's.
    fn schema(&mut self, name: &str, found: &Found) -> bool {
        let own = quoted(name);
        let comment = format!("COMMENT ON SCHEMA {own} IS '{MARK}'");
        let usage = format!("GRANT USAGE ON SCHEMA {own} TO {own}");
        match &found.schema {
            None => self
                .statements
                .extend([format!("CREATE SCHEMA {own}"), comment, usage]),
            Some(schema) if !schema.marked && !found.relations.is_empty() => {
                self.problems.push(format!(
                    "schema {name} was not made by this command: it is left alone"
                ));
                return false;
            }
            Some(schema) => {
                self.statements.extend((!schema.marked).then_some(comment));
                self.statements.extend((!schema.usable).then_some(usage));
                if schema.creatable {
                    self.statements
                        .push(format!("REVOKE CREATE ON SCHEMA {own} FROM {own}"));
                }
            }
        }
        true
    }

    fn view(&mut self, view: &View<'_>, name: &str, found: &Found) {
        let whole = format!("{}.{}", quoted(name), quoted(&view.name));
        let is = found
            .relations
            .iter()
            .find(|relation| relation.name == view.name);
        let same = is.is_some_and(|relation| view.is(relation));
        if let Some(other) = is.filter(|_| !same) {
            if !other.marked {
                self.problems.push(format!(
                    "{whole} was not made by this command: it is left alone"
                ));
                return;
            }
            self.statements.push(format!("DROP VIEW {whole}"));
        }
        if !same {
            self.statements.push(view.statement(name));
        }
        let kept = is.filter(|_| same);
        if kept.is_none_or(|relation| !relation.marked) {
            self.statements
                .push(format!("COMMENT ON VIEW {whole} IS '{MARK}'"));
        }
        let (wanted, nothing) = (view.privileges(), BTreeSet::new());
        let has = kept.map_or(&nothing, |relation| &relation.privileges);
        let list = |some: Vec<&String>| {
            some.into_iter()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let (missing, more) = (
            list(wanted.difference(has).collect()),
            list(has.difference(&wanted).collect()),
        );
        if !missing.is_empty() {
            self.statements
                .push(format!("GRANT {missing} ON {whole} TO {}", quoted(name)));
        }
        if !more.is_empty() {
            self.statements
                .push(format!("REVOKE {more} ON {whole} FROM {}", quoted(name)));
        }
    }
}

/// What a view of the only form that is made here shows.
#[derive(Debug, PartialEq, Eq)]
struct Shape {
    table: RelationName,
    columns: Vec<String>,
    /// Column and the text of the constant that it equals.
    condition: Option<(String, String)>,
}

/// The shape of a view as the server prints its query: columns of one table under their own names, and a
/// column that equals a constant.
fn shape(definition: &str) -> Option<Shape> {
    let mut statements = Statement::read(definition).ok()?;
    let NodeEnum::SelectStmt(select) = statements.pop()?.node()?.clone() else {
        return None;
    };
    let mut select = *select;
    let targets = std::mem::take(&mut select.target_list);
    let from = std::mem::take(&mut select.from_clause);
    let condition = select.where_clause.take();
    if select != build::select() || !statements.is_empty() {
        return None;
    }
    let [from] = from.as_slice() else { return None };
    let Some(NodeEnum::RangeVar(table)) = &from.node else {
        return None;
    };
    let columns = targets.iter().map(|target| match &target.node {
        Some(NodeEnum::ResTarget(target))
            if target.name.is_empty() && target.indirection.is_empty() =>
        {
            column_of(target.val.as_ref()?.node.as_ref()?, table)
        }
        _ => None,
    });
    let plain = table.inh && table.catalogname.is_empty() && table.alias.is_none();
    Some(Shape {
        columns: columns.collect::<Option<_>>().filter(|_| plain)?,
        condition: match &condition {
            None => None,
            Some(condition) => Some(equality(condition.node.as_ref()?, table)?),
        },
        table: RelationName::new(&table.schemaname, &table.relname),
    })
}

/// The column that an expression is, of this table.
fn column_of(node: &NodeEnum, table: &RangeVar) -> Option<String> {
    let NodeEnum::ColumnRef(column) = node else {
        return None;
    };
    match build::words(&column.fields)?.as_slice() {
        [name] => Some((*name).to_owned()),
        [of, name] if *of == table.relname => Some((*name).to_owned()),
        _ => None,
    }
}

/// A column and the text of the constant that it equals.
fn equality(node: &NodeEnum, table: &RangeVar) -> Option<(String, String)> {
    let NodeEnum::AExpr(equals) = node else {
        return None;
    };
    let plain = equals.kind() == AExprKind::AexprOp
        && matches!(
            build::words(&equals.name)?.as_slice(),
            ["="] | ["pg_catalog", "="]
        );
    let left = match equals.lexpr.as_ref()?.node.as_ref()? {
        // A varchar is compared as a text.
        NodeEnum::TypeCast(cast) if is_cast_to(cast, &["text"]) => {
            cast.arg.as_ref()?.node.as_ref()?
        }
        left => left,
    };
    let types = ["int4", "int8", "uuid", "text"];
    let right = match equals.rexpr.as_ref()?.node.as_ref()? {
        NodeEnum::TypeCast(cast) if is_cast_to(cast, &types) => cast.arg.as_ref()?.node.as_ref()?,
        right => right,
    };
    let NodeEnum::AConst(constant) = right else {
        return None;
    };
    let value = match constant.val.as_ref()? {
        a_const::Val::Sval(text) => text.sval.clone(),
        a_const::Val::Ival(number) => number.ival.to_string(),
        _ => return None,
    };
    plain.then_some((column_of(left, table)?, value))
}

fn is_cast_to(cast: &pg_query::protobuf::TypeCast, types: &[&str]) -> bool {
    cast.type_name.as_ref().is_some_and(|kind| {
        build::last(&kind.names).is_some_and(|name| types.contains(&name))
            && kind.array_bounds.is_empty()
            && kind.typmods.is_empty()
    })
}

/// Whether a view that the policy does not declare is one that is made here: of rows of one tenant, or of a
/// shared table.
#[must_use]
pub fn is_own(name: &RelationName, policy: &Policy, catalog: &Catalog) -> bool {
    let Some(RelationKind::View { definition, .. }) =
        catalog.relation(name).map(|relation| &relation.kind)
    else {
        return false;
    };
    is_name(&name.schema)
        && shape(definition).is_some_and(|shape| {
            match (policy.role(&shape.table), shape.condition) {
                (Some(Role::Tenant(column)), Some((compared, _))) => compared == column.name,
                (Some(Role::Shared), None) => true,
                _ => false,
            }
        })
}

#[cfg(test)]
mod tests {
    use super::super::catalog::{Column, Key, Relation};
    use super::*;

    const POLICY: &str = "
version: 1
search_path: [app, crm]
tenant: {type: integer, values: {'2': {text: acme}}}
tables: {app.orders: {}, crm.orders: {}, app.docs: {column: owner, type: text}, app.keys: {type: uuid}}
shared: {app.countries: {access: read}}
";

    fn catalog() -> Catalog {
        let mut catalog = Catalog::default();
        for (schema, name, columns) in [
            ("app", "orders", ["tenant_id", "id"]),
            ("crm", "orders", ["tenant_id", "Name"]),
            ("app", "docs", ["owner", "body"]),
            ("app", "keys", ["tenant_id", "id"]),
            ("app", "countries", ["code", "name"]),
        ] {
            let columns = columns.map(|name| Column {
                name: name.to_owned(),
                type_name: "text".to_owned(),
                not_null: true,
            });
            let relation = Relation::new(RelationKind::Table, columns.into());
            let name = RelationName::new(schema, name);
            catalog.relations.insert(name, relation);
        }
        catalog
    }

    fn planned(found: &Found) -> Plan {
        let policy = Policy::parse(POLICY).unwrap();
        let tenant = policy.tenant_named("2").unwrap();
        plan(&policy, &catalog(), &tenant, "t_x", found)
    }

    fn relation(name: &str, definition: &str, privileges: &[&str]) -> FoundRelation {
        let options = match definition.contains("WHERE") {
            true => vec!["security_barrier=true", "check_option=cascaded"],
            false => vec!["security_barrier=true"],
        };
        let set = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect();
        FoundRelation {
            name: name.to_owned(),
            options: set(&options),
            definition: definition.to_owned(),
            marked: true,
            privileges: set(privileges),
        }
    }

    /// As a server has it after everything was done.
    fn done() -> Found {
        let all = ["SELECT", "INSERT", "UPDATE", "DELETE"];
        Found {
            role: Some(FoundRole {
                logs_in: true,
                powerful: false,
                settings: BTreeSet::from(["search_path=t_x".to_owned()]),
            }),
            schema: Some(FoundSchema {
                marked: true,
                usable: true,
                creatable: false,
            }),
            relations: vec![
                relation(
                    "orders",
                    " SELECT orders.tenant_id,\n    orders.id\n   FROM app.orders\n  WHERE (orders.tenant_id = 2);",
                    &all,
                ),
                relation(
                    "crm_orders",
                    " SELECT tenant_id,\n    \"Name\"\n   FROM crm.orders\n  WHERE tenant_id = 2;",
                    &all,
                ),
                relation(
                    "docs",
                    " SELECT docs.owner, docs.body FROM app.docs WHERE ((docs.owner)::text = 'acme'::text);",
                    &all,
                ),
                relation(
                    "countries",
                    " SELECT countries.code, countries.name FROM app.countries;",
                    &["SELECT"],
                ),
            ],
            exposed: Vec::new(),
        }
    }

    #[test]
    fn everything_is_made_once() {
        let plan = planned(&Found::default());
        assert_eq!(plan.problems, [""; 0]);
        let text = plan.statements.join("\n");
        let expected = r#"CREATE ROLE "t_x" WITH LOGIN
CREATE SCHEMA "t_x"
COMMENT ON SCHEMA "t_x" IS 'made by dsql-proxy tenants sync'
GRANT USAGE ON SCHEMA "t_x" TO "t_x"
CREATE VIEW "t_x"."countries" WITH (security_barrier=true) AS SELECT "code", "name" FROM "app"."countries"
COMMENT ON VIEW "t_x"."countries" IS 'made by dsql-proxy tenants sync'
GRANT SELECT ON "t_x"."countries" TO "t_x"
CREATE VIEW "t_x"."docs" WITH (security_barrier=true) AS SELECT "owner", "body" FROM "app"."docs" WHERE "owner" OPERATOR(pg_catalog.=) CAST('acme' AS pg_catalog.text) WITH CASCADED CHECK OPTION
COMMENT ON VIEW "t_x"."docs" IS 'made by dsql-proxy tenants sync'
GRANT DELETE, INSERT, SELECT, UPDATE ON "t_x"."docs" TO "t_x"
CREATE VIEW "t_x"."orders" WITH (security_barrier=true) AS SELECT "tenant_id", "id" FROM "app"."orders" WHERE "tenant_id" OPERATOR(pg_catalog.=) CAST('2' AS pg_catalog.int4) WITH CASCADED CHECK OPTION
COMMENT ON VIEW "t_x"."orders" IS 'made by dsql-proxy tenants sync'
GRANT DELETE, INSERT, SELECT, UPDATE ON "t_x"."orders" TO "t_x"
CREATE VIEW "t_x"."crm_orders" WITH (security_barrier=true) AS SELECT "tenant_id", "Name" FROM "crm"."orders" WHERE "tenant_id" OPERATOR(pg_catalog.=) CAST('2' AS pg_catalog.int4) WITH CASCADED CHECK OPTION
COMMENT ON VIEW "t_x"."crm_orders" IS 'made by dsql-proxy tenants sync'
GRANT DELETE, INSERT, SELECT, UPDATE ON "t_x"."crm_orders" TO "t_x"
ALTER ROLE "t_x" SET search_path = "t_x""#;
        assert_eq!(text, expected);
        assert_eq!(planned(&done()), Plan::default());
    }

    #[test]
    fn what_differs_is_changed_and_nothing_else() {
        type Change = fn(&mut Found);
        let cases: [(Change, &[&str]); 12] = [
            (
                |found| found.schema.as_mut().unwrap().usable = false,
                &["GRANT USAGE ON SCHEMA \"t_x\" TO \"t_x\""],
            ),
            (
                |found| found.schema.as_mut().unwrap().creatable = true,
                &["REVOKE CREATE ON SCHEMA \"t_x\" FROM \"t_x\""],
            ),
            (
                |found| found.role.as_mut().unwrap().settings.clear(),
                &["ALTER ROLE \"t_x\" SET search_path = \"t_x\""],
            ),
            (
                |found| found.relations[0].marked = false,
                &["COMMENT ON VIEW \"t_x\".\"orders\" IS 'made by dsql-proxy tenants sync'"],
            ),
            (
                |found| found.relations[0].privileges.retain(|one| one != "INSERT"),
                &["GRANT INSERT ON \"t_x\".\"orders\" TO \"t_x\""],
            ),
            (
                |found| found.relations[3].privileges.extend(["DELETE".to_owned()]),
                &["REVOKE DELETE ON \"t_x\".\"countries\" FROM \"t_x\""],
            ),
            (
                |found| found.relations.push(relation("old", "SELECT 1", &[])),
                &["DROP VIEW \"t_x\".\"old\""],
            ),
            // Another tenant's, all rows, without its barrier, other columns, something more.
            (
                |found| {
                    found.relations[0].definition =
                        "SELECT tenant_id, id FROM app.orders WHERE tenant_id = 3".to_owned()
                },
                REMADE,
            ),
            (
                |found| {
                    found.relations[0].definition =
                        "SELECT tenant_id, id FROM app.orders".to_owned()
                },
                REMADE,
            ),
            (
                |found| {
                    found.relations[0]
                        .options
                        .retain(|one| one != "security_barrier=true")
                },
                REMADE,
            ),
            (
                |found| {
                    found.relations[0].definition =
                        "SELECT tenant_id, id, note FROM app.orders WHERE tenant_id = 2".to_owned()
                },
                REMADE,
            ),
            (
                |found| {
                    found.relations[0].definition =
                        "SELECT tenant_id, id FROM app.orders WHERE tenant_id = 2 OR true"
                            .to_owned()
                },
                REMADE,
            ),
        ];
        for (number, (change, expected)) in cases.into_iter().enumerate() {
            let mut found = done();
            change(&mut found);
            let plan = planned(&found);
            assert_eq!(plan.problems, [""; 0], "{number}");
            let begins = plan
                .statements
                .iter()
                .zip(expected)
                .all(|(is, begin)| is.starts_with(begin));
            assert!(
                begins && plan.statements.len() == expected.len(),
                "{number} {:?}",
                plan.statements
            );
        }
    }

    const REMADE: &[&str] = &[
        "DROP VIEW \"t_x\".\"orders\"",
        "CREATE VIEW \"t_x\".\"orders\"",
        "COMMENT ON VIEW \"t_x\".\"orders\"",
        "GRANT DELETE, INSERT, SELECT, UPDATE ON \"t_x\".\"orders\"",
    ];

    #[test]
    fn no_insert_where_a_conflict_is_with_rows_of_others() {
        let mut catalog = catalog();
        let docs = catalog.relations.get_mut(&RelationName::new("app", "docs"));
        docs.unwrap().keys.push(Key {
            name: "docs_body_key".to_owned(),
            primary: false,
            columns: vec![Some("body".to_owned())],
        });
        let policy = Policy::parse(POLICY).unwrap();
        let tenant = policy.tenant_named("2").unwrap();
        let plan = plan(&policy, &catalog, &tenant, "t_x", &done());
        assert_eq!(
            plan.statements,
            ["REVOKE INSERT ON \"t_x\".\"docs\" FROM \"t_x\""]
        );
        assert_eq!((plan.notes.len(), plan.problems.len()), (1, 0));
    }

    #[test]
    fn what_others_made_is_left_alone_and_told() {
        let mut found = done();
        found.relations[0].marked = false;
        found.relations[0].definition = "SELECT 1".to_owned();
        found.relations.push(FoundRelation {
            marked: false,
            ..relation("more", "SELECT 1", &[])
        });
        let plan = planned(&found);
        assert_eq!((plan.statements, plan.problems.len()), (Vec::new(), 2));
        let mut found = done();
        found.schema.as_mut().unwrap().marked = false;
        let plan = planned(&found);
        assert_eq!((plan.statements, plan.problems.len()), (Vec::new(), 1));
        let mut found = done();
        found.role.as_mut().unwrap().powerful = true;
        found.exposed.push("app.orders".to_owned());
        assert_eq!(planned(&found).problems.len(), 2);
    }

    #[test]
    fn only_views_of_this_form_may_read_tenant_tables_undeclared() {
        let policy = Policy::parse(POLICY).unwrap();
        let name = name_of("acme");
        assert!(is_name(&name) && name.len() == 18 && name != name_of("acm"));
        let own = |schema: &str, definition: &str| {
            let mut catalog = catalog();
            let view = RelationName::new(schema, "v");
            let kind = RelationKind::View {
                definition: definition.to_owned(),
                reads: Default::default(),
            };
            catalog
                .relations
                .insert(view.clone(), Relation::new(kind, Vec::new()));
            is_own(&view, &policy, &catalog)
        };
        assert!(own(&name, "SELECT id FROM app.orders WHERE tenant_id = 3;"));
        assert!(own(&name, "SELECT code FROM app.countries"));
        for definition in [
            "SELECT id FROM app.orders",
            "SELECT id FROM app.orders WHERE id = 3",
            "SELECT id FROM app.orders WHERE tenant_id <> 3",
            "SELECT id FROM app.orders WHERE tenant_id = id",
            "SELECT id + 1 FROM app.orders WHERE tenant_id = 3",
            "SELECT id FROM app.orders, app.docs WHERE tenant_id = 3",
            "SELECT id FROM app.orders WHERE tenant_id = 3 UNION SELECT id FROM app.orders",
            "SELECT id FROM app.orders WHERE tenant_id = 3 LIMIT 1",
        ] {
            assert!(!own(&name, definition), "{definition}");
        }
        assert!(!own("app", "SELECT id FROM app.orders WHERE tenant_id = 3"));
    }
}
