//! What a generator knows of a world: its tables, their columns, and values that stand in them.

use std::collections::BTreeMap;

use dsql_proxy::policy::tenancy::catalog::RelationKind;
use dsql_proxy::policy::tenancy::rules::Role;
use dsql_proxy::policy::tenancy::{Catalog, Policy, RelationName};

use crate::client::Client;

/// What an expression yields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Int,
    Numeric,
    Float,
    Text,
    Boolean,
    Date,
    Time,
    Json,
    Uuid,
    Other,
}

impl Kind {
    fn of(type_name: &str) -> Self {
        match type_name.split('(').next().unwrap_or_default() {
            "smallint" | "integer" | "bigint" => Self::Int,
            "numeric" => Self::Numeric,
            "real" | "double precision" => Self::Float,
            "text" | "character varying" => Self::Text,
            "boolean" => Self::Boolean,
            "date" => Self::Date,
            "jsonb" | "json" => Self::Json,
            "uuid" => Self::Uuid,
            name if name.starts_with("timestamp") => Self::Time,
            _ => Self::Other,
        }
    }
}

/// A column.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its name as it is written.
    pub name: String,
    pub kind: Kind,
    pub type_name: String,
    pub not_null: bool,
    /// Literals of values that stand in it, of any tenant.
    pub values: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Tenants,
    Shared,
    View,
}

/// A relation that the policy declares.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its name with its schema, as it is written.
    pub name: String,
    /// The same without schema, when that means it.
    pub short: Option<String>,
    pub part: Part,
    pub columns: Vec<Column>,
    /// Name of the tenant column.
    pub tenant: String,
    /// Unique keys: names of their columns.
    pub keys: Vec<Vec<String>>,
    /// Name of the primary key.
    pub constraint: String,
}

impl Table {
    pub fn column(&self, name: &str) -> &Column {
        self.columns
            .iter()
            .find(|column| column.name == name)
            .unwrap()
    }

    /// Columns of unique keys.
    pub fn is_key(&self, name: &str) -> bool {
        self.keys
            .iter()
            .any(|key| key.iter().any(|column| column == name))
    }
}

/// What can be named.
#[derive(Debug, Clone)]
pub struct Layout {
    pub tables: Vec<Table>,
    /// Literals of tenants, ours first.
    pub tenants: Vec<String>,
    /// Any value of a kind.
    pub values: BTreeMap<Kind, Vec<String>>,
}

/// A name as it is written.
fn written(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !["select", "order", "group", "user"].contains(&name);
    match plain {
        true => name.to_owned(),
        false => format!("\"{name}\""),
    }
}

impl Layout {
    /// Of the relations of a policy in a database.
    pub fn read(policy: &Policy, catalog: &Catalog, tenants: &[&str], client: &mut Client) -> Self {
        let mut tables = Vec::new();
        for (name, relation) in &catalog.relations {
            let part = match policy.role(name) {
                Some(Role::Tenant(_)) => Part::Tenants,
                Some(Role::Shared) => Part::Shared,
                Some(Role::View) => Part::View,
                None => continue,
            };
            let tenant = match policy.role(name) {
                Some(Role::Tenant(column)) => column.name.to_owned(),
                _ => String::new(),
            };
            let first = policy.search_path.iter().find(|schema| {
                let name = RelationName::new(schema, &name.name);
                catalog.relation(&name).is_some()
            });
            let whole = format!("{}.{}", written(&name.schema), written(&name.name));
            let columns = relation.columns.iter().map(|column| Column {
                name: written(&column.name),
                kind: Kind::of(&column.type_name),
                type_name: column.type_name.clone(),
                not_null: column.not_null,
                values: match part {
                    Part::View => Vec::new(),
                    _ => values(client, &whole, &written(&column.name), &column.type_name),
                },
            });
            let keys = relation.keys.iter().filter_map(|key| {
                let columns = key
                    .columns
                    .iter()
                    .map(|column| column.as_deref().map(written));
                columns.collect::<Option<Vec<_>>>()
            });
            let constraint = relation.keys.iter().find(|key| key.primary);
            tables.push(Table {
                short: (first == Some(&name.schema)).then(|| written(&name.name)),
                part,
                columns: columns.collect(),
                keys: keys.collect(),
                tenant: match tenant.is_empty() {
                    true => tenant,
                    false => written(&tenant),
                },
                constraint: constraint.map_or_else(String::new, |key| written(&key.name)),
                name: whole,
            });
            debug_assert!(relation.kind != RelationKind::Other);
        }
        let mut all: BTreeMap<Kind, Vec<String>> = BTreeMap::new();
        for column in tables.iter().flat_map(|table| &table.columns) {
            let of_kind = all.entry(column.kind).or_default();
            of_kind.extend(column.values.iter().take(4).cloned());
        }
        Self {
            tables,
            tenants: tenants.iter().map(|tenant| format!("'{tenant}'")).collect(),
            values: all,
        }
    }

    /// The table of a name with its schema.
    pub fn all(&self, part: Part) -> Vec<&Table> {
        self.tables
            .iter()
            .filter(|table| table.part == part)
            .collect()
    }
}

fn values(client: &mut Client, table: &str, column: &str, type_name: &str) -> Vec<String> {
    let sql = format!(
        "select distinct {column}::text, md5({column}::text) from {table} where {column} is not null order by 2 limit 16"
    );
    let frames = client.run(&sql);
    let rows = frames.iter().filter(|frame| frame.tag == b'D');
    rows.map(|row| {
        let value = String::from_utf8(row.values()[0].clone().unwrap_or_default()).unwrap();
        match Kind::of(type_name) {
            Kind::Int if !value.starts_with('-') => value,
            Kind::Text => format!("'{}'", value.replace('\'', "''")),
            _ => format!("'{}'::{type_name}", value.replace('\'', "''")),
        }
    })
    .collect()
}
