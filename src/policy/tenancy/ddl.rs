//! Tables with a hidden tenant column, as a user makes them who knows nothing of it: the column is put
//! into CREATE TABLE, and first into every key.
//!
//! This is for users who see all tenants. What they make is verified before tenants are served by it, so
//! nothing here is trusted.

use pg_query::protobuf::{
    AlterTableCmd, AlterTableStmt, AlterTableType, ColumnDef, ConstrType, Constraint, CreateStmt,
    IndexElem, IndexStmt, RangeVar, SortByDir, SortByNulls,
};
use pg_query::{Node, NodeEnum};

use super::catalog::{Catalog, RelationName};
use super::rules::{Policy, Role, TenantColumn};
use super::{Refusal, Rule, build};
use crate::sql::{Statement, tree};

type Changed = Result<bool, Refusal>;

/// Bytes of a name at most; the server cuts longer ones.
const NAME: usize = 63;

/// The text that makes the same table or key with the hidden column in it. `None`: as it is.
///
/// # Errors
/// The table cannot be made with the column.
pub fn with_tenant_column(
    text: &str,
    policy: &Policy,
    catalog: &Catalog,
) -> Result<Option<String>, Refusal> {
    // What cannot be read is the server's to refuse.
    let Ok(statements) = Statement::read(text) else {
        return Ok(None);
    };
    let maker = Maker { policy, catalog };
    let mut out = String::new();
    let mut done = 0;
    for statement in &statements {
        let Some(mut tree) = statement.node().cloned() else {
            continue;
        };
        if !maker.change(&mut tree)? {
            continue;
        }
        let printed = tree::verify_print(&tree)
            .map_err(|problem| Refusal::new(Rule::Unprintable, problem.to_string()))?;
        let printed = match statement.asynchronous {
            true => printed.replacen(" INDEX ", " INDEX ASYNC ", 1),
            false => printed,
        };
        out.push_str(text.get(done..statement.span.start).unwrap_or_default());
        out.push_str(&printed);
        done = statement.span.end;
    }
    if done == 0 {
        return Ok(None);
    }
    out.push_str(text.get(done..).unwrap_or_default());
    Ok(Some(out))
}

struct Maker<'a> {
    policy: &'a Policy,
    catalog: &'a Catalog,
}

impl<'a> Maker<'a> {
    fn change(&self, tree: &mut NodeEnum) -> Changed {
        match tree {
            NodeEnum::CreateStmt(create) => self.create(create),
            NodeEnum::AlterTableStmt(alter) => self.alter(alter),
            NodeEnum::IndexStmt(index) => self.index(index),
            NodeEnum::CreateTableAsStmt(create) => {
                let into = create.into.as_ref().and_then(|into| into.rel.as_ref());
                match into.and_then(|table| self.hidden(table)) {
                    Some(_) => Err(unmakeable("CREATE TABLE AS")),
                    None => Ok(false),
                }
            }
            _ => Ok(false),
        }
    }

    /// The table's name and hidden column, if it has one or is to have.
    fn hidden(&self, table: &RangeVar) -> Option<(RelationName, TenantColumn<'a>)> {
        if table.relpersistence == "t" || !table.catalogname.is_empty() {
            return None;
        }
        let name = match table.schemaname.as_str() {
            "" => {
                let path = self.policy.search_path.iter();
                let mut names = path.map(|schema| RelationName::new(schema, &table.relname));
                let first = names.clone().next();
                names
                    .find(|name| self.catalog.relation(name).is_some())
                    .or(first)?
            }
            schema => RelationName::new(schema, &table.relname),
        };
        let column = match self.policy.role(&name) {
            Some(Role::Tenant(column)) => column,
            Some(_) => return None,
            None if self.policy.is_default(&name) => self.policy.default_column()?,
            None => return None,
        };
        column.hidden.then_some((name, column))
    }

    fn create(&self, create: &mut CreateStmt) -> Changed {
        let found = create
            .relation
            .as_ref()
            .and_then(|table| self.hidden(table));
        let Some((name, column)) = found else {
            return Ok(false);
        };
        let knows = create.table_elts.iter().any(|element| {
            matches!(&element.node, Some(NodeEnum::ColumnDef(def)) if def.colname == column.name)
        });
        if knows {
            return Ok(false);
        }
        let plain = create.inh_relations.is_empty()
            && create.partbound.is_none()
            && create.partspec.is_none()
            && create.of_typename.is_none()
            && create.table_elts.iter().all(|element| {
                matches!(
                    &element.node,
                    Some(NodeEnum::ColumnDef(_) | NodeEnum::Constraint(_))
                )
            });
        if !plain {
            return Err(unmakeable("LIKE, INHERITS, OF and PARTITION"));
        }
        let mut keys = Vec::new();
        for element in &mut create.table_elts {
            match &mut element.node {
                Some(NodeEnum::ColumnDef(def)) => self.column(def, &name, column, &mut keys)?,
                Some(NodeEnum::Constraint(constraint)) => {
                    self.key(constraint, &name, column)?;
                }
                _ => {}
            }
        }
        create.table_elts.insert(0, definition(column)?);
        create.table_elts.extend(keys);
        Ok(true)
    }

    fn alter(&self, alter: &mut AlterTableStmt) -> Changed {
        let found = alter.relation.as_ref().and_then(|table| self.hidden(table));
        let Some((name, column)) = found else {
            return Ok(false);
        };
        let mut changed = false;
        let mut commands = Vec::new();
        for mut node in std::mem::take(&mut alter.cmds) {
            let mut keys = Vec::new();
            if let Some(NodeEnum::AlterTableCmd(command)) = &mut node.node {
                let kind = command.subtype();
                match command.def.as_mut().and_then(|def| def.node.as_mut()) {
                    Some(NodeEnum::ColumnDef(def)) if kind == AlterTableType::AtAddColumn => {
                        self.column(def, &name, column, &mut keys)?;
                    }
                    Some(NodeEnum::Constraint(key)) if kind == AlterTableType::AtAddConstraint => {
                        changed |= self.key(key, &name, column)?;
                    }
                    _ => {}
                }
            }
            changed |= !keys.is_empty();
            commands.push(node);
            commands.extend(keys.into_iter().map(|key| {
                build::node(NodeEnum::AlterTableCmd(Box::new(AlterTableCmd {
                    subtype: AlterTableType::AtAddConstraint.into(),
                    def: Some(Box::new(key)),
                    behavior: pg_query::protobuf::DropBehavior::DropRestrict.into(),
                    ..AlterTableCmd::default()
                })))
            }));
        }
        alter.cmds = commands;
        Ok(changed)
    }

    fn index(&self, index: &mut IndexStmt) -> Changed {
        let found = index.relation.as_ref().and_then(|table| self.hidden(table));
        let Some((_, column)) = found.filter(|_| index.unique) else {
            return Ok(false);
        };
        let has = index.index_params.iter().any(|element| {
            matches!(&element.node, Some(NodeEnum::IndexElem(element)) if element.name == column.name)
        });
        if has {
            return Ok(false);
        }
        let element = IndexElem {
            name: column.name.to_owned(),
            ordering: SortByDir::SortbyDefault.into(),
            nulls_ordering: SortByNulls::SortbyNullsDefault.into(),
            ..IndexElem::default()
        };
        let element = build::node(NodeEnum::IndexElem(Box::new(element)));
        index.index_params.insert(0, element);
        Ok(true)
    }

    /// Makes keys of one column keys of the table.
    fn column(
        &self,
        def: &mut ColumnDef,
        table: &RelationName,
        tenant: TenantColumn<'_>,
        keys: &mut Vec<Node>,
    ) -> Result<(), Refusal> {
        let mut kept = Vec::new();
        for mut node in std::mem::take(&mut def.constraints) {
            let moved = match &mut node.node {
                Some(NodeEnum::Constraint(key)) => match key.contype() {
                    ConstrType::ConstrPrimary | ConstrType::ConstrUnique => {
                        key.keys = vec![build::string(&def.colname)];
                        self.key(key, table, tenant)?
                    }
                    ConstrType::ConstrForeign => {
                        key.fk_attrs = vec![build::string(&def.colname)];
                        let moved = self.key(key, table, tenant)?;
                        if !moved {
                            key.fk_attrs.clear();
                        }
                        moved
                    }
                    _ => false,
                },
                _ => false,
            };
            match moved {
                true => keys.push(node),
                false => kept.push(node),
            }
        }
        def.constraints = kept;
        Ok(())
    }

    /// Puts the tenant column first into a table's key, under the name that it would have without.
    fn key(&self, key: &mut Constraint, table: &RelationName, tenant: TenantColumn<'_>) -> Changed {
        match key.contype() {
            ConstrType::ConstrPrimary | ConstrType::ConstrUnique if key.indexname.is_empty() => {
                if has(&key.keys, tenant.name) {
                    return Ok(false);
                }
                if key.conname.is_empty() && key.contype() == ConstrType::ConstrUnique {
                    key.conname = implied(table, &key.keys, "key");
                }
                key.keys.insert(0, build::string(tenant.name));
                Ok(true)
            }
            ConstrType::ConstrForeign => self.reference(key, table, tenant),
            ConstrType::ConstrExclusion => Err(unmakeable("EXCLUDE")),
            _ => Ok(false),
        }
    }

    fn reference(
        &self,
        key: &mut Constraint,
        table: &RelationName,
        tenant: TenantColumn<'_>,
    ) -> Changed {
        let other = key.pktable.as_ref().and_then(|other| self.hidden(other));
        let Some((_, other)) = other.filter(|_| !has(&key.fk_attrs, tenant.name)) else {
            return Ok(false);
        };
        let sets = |action: &str| matches!(action, "n" | "d");
        if sets(&key.fk_upd_action) {
            return Err(unmakeable("ON UPDATE SET"));
        }
        if sets(&key.fk_del_action) && key.fk_del_set_cols.is_empty() {
            key.fk_del_set_cols.clone_from(&key.fk_attrs);
        }
        if key.conname.is_empty() {
            key.conname = implied(table, &key.fk_attrs, "fkey");
        }
        key.fk_attrs.insert(0, build::string(tenant.name));
        // Without columns it is the other's primary key, which has its tenant column first.
        if !key.pk_attrs.is_empty() {
            key.pk_attrs.insert(0, build::string(other.name));
        }
        Ok(true)
    }
}

fn unmakeable(what: &str) -> Refusal {
    Refusal::new(Rule::HiddenTable, what)
}

fn has(columns: &[Node], name: &str) -> bool {
    build::words(columns).is_some_and(|columns| columns.contains(&name))
}

/// The name of a constraint that has none, as the server makes it.
fn implied(table: &RelationName, columns: &[Node], suffix: &str) -> String {
    let columns = build::words(columns).unwrap_or_default().join("_");
    let name = format!("{}_{columns}_{suffix}", table.name);
    match name.len() <= NAME {
        true => name,
        // The server's way of shortening would need its encoding; any name will do.
        false => String::new(),
    }
}

/// The column's definition.
fn definition(column: TenantColumn<'_>) -> Result<Node, Refusal> {
    let name = column.name.replace('"', "\"\"");
    let text = format!("CREATE TABLE t (\"{name}\" {} NOT NULL)", column.kind);
    let mut read = Statement::read(&text).unwrap_or_default();
    match read.pop().as_ref().and_then(Statement::node) {
        Some(NodeEnum::CreateStmt(create)) => create.table_elts.first().cloned(),
        _ => None,
    }
    .ok_or_else(|| Refusal::new(Rule::Unprintable, column.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "
version: 1
search_path: [app]
tenant: {type: uuid}
tables:
  default: {hidden: true}
  app.open: {hidden: false}
  app.kept: {column: owner, type: text}
shared: {app.countries: {access: read}}
";

    fn make(text: &str) -> Result<Option<String>, Rule> {
        let policy = Policy::parse(POLICY).unwrap();
        let made = with_tenant_column(text, &policy, &Catalog::default());
        made.map_err(|refusal| refusal.rule)
    }

    #[test]
    fn tables_and_keys_get_the_column_first() {
        let cases = [
            (
                "CREATE TABLE t (id int PRIMARY KEY, a text NOT NULL DEFAULT 'x')",
                "CREATE TABLE t (tenant_id uuid NOT NULL, id int, a text NOT NULL DEFAULT 'x', PRIMARY KEY (tenant_id, id))",
            ),
            (
                "CREATE TABLE IF NOT EXISTS app.t (id int, email text UNIQUE, CONSTRAINT p PRIMARY KEY (id))",
                "CREATE TABLE IF NOT EXISTS app.t (tenant_id uuid NOT NULL, id int, email text, CONSTRAINT p PRIMARY KEY (tenant_id, id), CONSTRAINT t_email_key UNIQUE (tenant_id, email))",
            ),
            (
                "CREATE TABLE t (o int REFERENCES app.other ON DELETE SET NULL, c text REFERENCES countries (code), UNIQUE (o, c))",
                "CREATE TABLE t (tenant_id uuid NOT NULL, o int, c text REFERENCES countries (code), CONSTRAINT t_o_c_key UNIQUE (tenant_id, o, c), CONSTRAINT t_o_fkey FOREIGN KEY (tenant_id, o) REFERENCES app.other ON DELETE SET NULL (o))",
            ),
            (
                "CREATE TABLE t (o int, FOREIGN KEY (o) REFERENCES kept (id))",
                "CREATE TABLE t (tenant_id uuid NOT NULL, o int, CONSTRAINT t_o_fkey FOREIGN KEY (tenant_id, o) REFERENCES kept (owner, id))",
            ),
            (
                "CREATE UNIQUE INDEX ON t (lower(email)) WHERE a > 1",
                "CREATE UNIQUE INDEX ON t USING btree (tenant_id, lower(email)) WHERE a > 1",
            ),
            (
                "ALTER TABLE t ADD COLUMN x int UNIQUE, ADD y int",
                "ALTER TABLE t ADD COLUMN x int, ADD CONSTRAINT t_x_key UNIQUE (tenant_id, x), ADD COLUMN y int",
            ),
            (
                "ALTER TABLE kept ADD CONSTRAINT k UNIQUE (a)",
                "ALTER TABLE kept ADD CONSTRAINT k UNIQUE (owner, a)",
            ),
            (
                "SELECT 1; CREATE TABLE t (id int);\nSELECT 2",
                "SELECT 1; CREATE TABLE t (tenant_id uuid NOT NULL, id int);\nSELECT 2",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(make(text), Ok(Some(expected.to_owned())), "{text}");
        }
        let made = make("CREATE UNIQUE INDEX ASYNC i ON t (a)")
            .unwrap()
            .unwrap();
        assert!(made.starts_with("CREATE UNIQUE INDEX ASYNC i ON"), "{made}");
    }

    #[test]
    fn what_is_not_hidden_is_left_as_it_is() {
        let cases = [
            "CREATE TABLE t (id int, tenant_id uuid)",
            "CREATE TABLE app.open (id int PRIMARY KEY)",
            "CREATE TABLE other.t (id int PRIMARY KEY)",
            "CREATE TABLE countries (id int PRIMARY KEY)",
            "CREATE TEMP TABLE t (id int PRIMARY KEY)",
            "CREATE INDEX ON t (a)",
            "CREATE UNIQUE INDEX ON t (a, tenant_id)",
            "CREATE UNIQUE INDEX ON app.open (a)",
            "ALTER TABLE t ADD COLUMN a int CHECK (a > 1)",
            "ALTER TABLE t DROP COLUMN a",
            "DROP TABLE t",
            "not SQL",
            "",
        ];
        for text in cases {
            assert_eq!(make(text), Ok(None), "{text}");
        }
        for text in [
            "CREATE TABLE t AS SELECT 1",
            "CREATE TABLE t (LIKE u)",
            "CREATE TABLE t () INHERITS (u)",
            "CREATE TABLE t (o int REFERENCES u ON UPDATE SET NULL)",
        ] {
            assert_eq!(make(text), Err(Rule::HiddenTable), "{text}");
        }
    }
}
