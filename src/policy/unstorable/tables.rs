//! Which tables have such columns.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use pg_query::protobuf::{
    AlterTableStmt, AlterTableType, ColumnDef, ConstrType, Constraint, CreateStmt, ObjectType,
    RangeVar,
};
use pg_query::{Node, NodeEnum};

use super::{SCHEMA, StandIn, UNEQUAL};
use crate::policy::dialect::{build, composite};

/// Column of a table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    pub name: String,
    /// The type that it stands for.
    pub stands_for: Option<StandIn>,
    /// Rows can be grouped by it.
    pub groups: bool,
}

/// A relation with such columns, or one that has its name, or such a column's, and none of them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Table {
    pub schema: String,
    pub name: String,
    pub columns: Vec<Column>,
    /// Columns of the primary key.
    pub key: Vec<String>,
}

/// The search path decides, and is not known.
#[derive(Debug)]
pub(super) struct Ambiguous;

impl Table {
    pub fn stands_in(&self) -> bool {
        self.columns
            .iter()
            .any(|column| column.stands_for.is_some())
    }

    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The expression reads one of the columns already.
    pub fn is_seen(&self, expression: &Node) -> bool {
        let mut stand_ins = self
            .columns
            .iter()
            .filter_map(|column| column.stands_for.as_ref());
        stand_ins.any(|stands| stands.is_seen(expression))
    }

    pub fn stand_in(&self, name: &str) -> Option<&StandIn> {
        self.column(name)?.stands_for.as_ref()
    }
}

/// What a database's catalog says of such columns.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tables {
    by_name: HashMap<String, Vec<Arc<Table>>>,
    /// First words of the names.
    words: HashSet<String>,
    /// A table got such a column that the others are not known of.
    incomplete: bool,
    /// Composite types.
    types: Vec<CompositeType>,
}

/// A composite type.
#[derive(Debug, Clone, PartialEq)]
struct CompositeType {
    schema: String,
    name: String,
    /// PostgreSQL has one of this name, which comes first in every search path.
    builtin: bool,
}

impl Tables {
    /// The query for all that there is to know; its rows are for [`Tables::read`].
    #[must_use]
    pub fn query() -> String {
        let of_domains = format!(
            "FROM pg_catalog.pg_type y JOIN pg_catalog.pg_attribute b ON b.atttypid = y.oid AND NOT b.attisdropped \
             JOIN pg_catalog.pg_class o ON o.oid = b.attrelid AND o.relkind IN ('r', 'v') \
             WHERE y.typtype = 'd' AND y.typnamespace = pg_catalog.to_regnamespace('{SCHEMA}')"
        );
        format!(
            "SELECT * FROM (SELECT n.nspname, c.relname, a.attname, t.typname, \
             CASE WHEN t.typtype = 'd' AND t.typnamespace = pg_catalog.to_regnamespace('{SCHEMA}') THEN 'y' ELSE 'n' END, \
             CASE WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisprimary \
             AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])) THEN 'y' ELSE 'n' END, c.oid, a.attnum \
             FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
             JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
             WHERE c.relkind IN ('r', 'v') AND (c.relname IN (SELECT o.relname {of_domains}) \
             OR EXISTS (SELECT 1 FROM pg_catalog.pg_attribute s WHERE s.attrelid = c.oid AND s.attnum > 0 \
             AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' AND s.attname IN (SELECT b.attname {of_domains}))) \
             UNION ALL SELECT n.nspname, c.relname, '', '', 't', CASE WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_type b \
             WHERE b.typname = c.relname AND b.typnamespace = pg_catalog.to_regnamespace('pg_catalog')) THEN 'y' ELSE 'n' END, \
             c.oid, 0 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE {}) \
             AS found(schema, name, attribute, type, own, key, oid, number) ORDER BY oid, number",
            composite::is_marked("c.")
        )
    }

    /// What the rows of [`Tables::query`] say.
    #[must_use]
    pub fn read(rows: &[Vec<Option<String>>]) -> Self {
        let mut found: Vec<Table> = Vec::new();
        let mut types = Vec::new();
        for row in rows {
            let [
                Some(schema),
                Some(name),
                Some(column),
                Some(kind),
                Some(own),
                Some(key),
                ..,
            ] = row.as_slice()
            else {
                continue;
            };
            if own == "t" {
                types.push(CompositeType {
                    schema: schema.clone(),
                    name: name.clone(),
                    builtin: key == "y",
                });
                continue;
            }
            let same = found
                .last()
                .is_some_and(|table| table.schema == *schema && table.name == *name);
            if !same {
                found.push(Table {
                    schema: schema.clone(),
                    name: name.clone(),
                    columns: Vec::new(),
                    key: Vec::new(),
                });
            }
            let Some(table) = found.last_mut() else {
                continue;
            };
            let stands_for = (own == "y").then(|| StandIn::named(kind)).flatten();
            table.columns.push(new_column(column, kind, stands_for));
            if key == "y" {
                table.key.push(column.clone());
            }
        }
        let mut tables = Self::default();
        found.into_iter().for_each(|table| tables.put(table));
        types.into_iter().for_each(|kind| tables.put_type(kind));
        tables
    }

    /// There is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The catalog has to be asked again.
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    /// A quick look: the text may name such a table, or make one.
    #[must_use]
    pub fn touches(&self, text: &str) -> bool {
        // A name that may be spelled in any way.
        let escaped = || text.contains("U&\"") || text.contains("u&\"");
        if !self.words.is_empty() && escaped() {
            return true;
        }
        let mut lower = String::new();
        text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'))
            .filter(|word| !word.is_empty())
            .any(|word| {
                if word.eq_ignore_ascii_case("create") || word.eq_ignore_ascii_case("alter") {
                    return true;
                }
                if self.words.is_empty() {
                    return false;
                }
                lower.clear();
                lower.extend(word.chars().flat_map(char::to_lowercase));
                self.words.contains(&lower)
            })
    }

    fn put_type(&mut self, kind: CompositeType) {
        self.words.extend(first_word(&kind.name));
        self.types
            .retain(|known| known.schema != kind.schema || known.name != kind.name);
        self.types.push(kind);
    }

    /// The schema of the composite type that a name means. `path`: where it is looked for, if that is known.
    ///
    /// # Errors
    /// It depends on the search path.
    pub(super) fn composite(
        &self,
        names: &[&str],
        path: Option<&[String]>,
    ) -> Result<Option<&str>, Ambiguous> {
        let (schema, name) = match names {
            [name] => (None, *name),
            [schema, name] => (Some(*schema), *name),
            _ => return Ok(None),
        };
        let named = || self.types.iter().filter(|kind| kind.name == name);
        let of = |schema: &str| named().find(|kind| kind.schema == schema);
        let plain = |kind: &&CompositeType| schema.is_some() || !kind.builtin;
        let found = match (schema, path) {
            (Some(schema), _) => of(schema),
            (None, Some(path)) => path.iter().find_map(|schema| of(schema)),
            (None, None) if named().nth(1).is_some() => return Err(Ambiguous),
            (None, None) => named().next(),
        };
        Ok(found.filter(plain).map(|kind| kind.schema.as_str()))
    }

    /// The table that a name means with this search path; `None` if it has no such columns.
    pub(super) fn find(&self, name: &RangeVar, path: &[String]) -> Option<&Arc<Table>> {
        self.known(name, path).filter(|table| table.stands_in())
    }

    /// The same, of all that are known: others have no columns that are called like such a one.
    pub(super) fn known(&self, name: &RangeVar, path: &[String]) -> Option<&Arc<Table>> {
        let tables = self.by_name.get(&name.relname)?;
        let of = |schema: &str| tables.iter().find(|table| table.schema == schema);
        match name.schemaname.as_str() {
            "" => path.iter().find_map(|schema| of(schema)),
            schema => of(schema),
        }
    }

    /// The table that a name means wherever it is looked for.
    ///
    /// # Errors
    /// It depends.
    pub(super) fn find_anywhere(&self, name: &RangeVar) -> Result<Option<&Arc<Table>>, Ambiguous> {
        if !name.schemaname.is_empty() {
            return Ok(self.find(name, &[]));
        }
        let of_name = self.by_name.get(&name.relname);
        match of_name.map(Vec::as_slice).unwrap_or_default() {
            [only] => Ok(Some(only).filter(|table| table.stands_in())),
            several if several.iter().any(|table| table.stands_in()) => Err(Ambiguous),
            _ => Ok(None),
        }
    }

    fn put(&mut self, table: Table) {
        if table.stands_in() {
            self.words.extend(first_word(&table.name));
        }
        let tables = self.by_name.entry(table.name.clone()).or_default();
        tables.retain(|other| other.schema != table.schema);
        tables.push(Arc::new(table));
    }

    fn remove(&mut self, table: &Table) {
        if let Some(tables) = self.by_name.get_mut(&table.name) {
            tables.retain(|other| other.schema != table.schema);
        }
    }

    /// What holds behind a statement that changes tables; `None`: the same.
    pub(super) fn after(&self, node: &NodeEnum, path: &[String]) -> Option<Self> {
        let mut next = self.clone();
        match node {
            NodeEnum::CreateStmt(create) => {
                let table = new_table(create, path)?;
                if !table.stands_in() && !self.by_name.contains_key(&table.name) {
                    return None;
                }
                let known = next.by_name.get(&table.name);
                let exists = known
                    .is_some_and(|known| known.iter().any(|known| known.schema == table.schema));
                if create.if_not_exists && exists {
                    return None;
                }
                next.put(table);
            }
            NodeEnum::CompositeTypeStmt(create) => {
                let name = create.typevar.as_ref()?;
                let schema = match name.schemaname.as_str() {
                    "" => path.first()?,
                    schema => schema,
                };
                next.put_type(CompositeType {
                    schema: schema.to_owned(),
                    name: name.relname.clone(),
                    builtin: false,
                });
            }
            NodeEnum::AlterTableStmt(alter) => next.alter(alter, path)?,
            NodeEnum::RenameStmt(rename) => {
                let mut table = self.find(rename.relation.as_ref()?, path)?.as_ref().clone();
                match rename.rename_type() {
                    ObjectType::ObjectTable => {
                        next.remove(&table);
                        table.name.clone_from(&rename.newname);
                    }
                    ObjectType::ObjectColumn => {
                        let renamed = table.columns.iter_mut().map(|column| &mut column.name);
                        let names = renamed.chain(&mut table.key);
                        names
                            .filter(|name| **name == rename.subname)
                            .for_each(|name| name.clone_from(&rename.newname));
                    }
                    _ => return None,
                }
                next.put(table);
            }
            NodeEnum::AlterObjectSchemaStmt(alter) => {
                let mut table = self.find(alter.relation.as_ref()?, path)?.as_ref().clone();
                next.remove(&table);
                table.schema.clone_from(&alter.newschema);
                next.put(table);
            }
            NodeEnum::DropStmt(drop) if drop.remove_type() == ObjectType::ObjectTable => {
                let names = drop.objects.iter().filter_map(|object| match &object.node {
                    Some(NodeEnum::List(list)) => Some(build::strings(&list.items)),
                    _ => None,
                });
                let mut changed = false;
                for name in names {
                    let (schema, name) = match name.as_slice() {
                        [name] => ("", *name),
                        [.., schema, name] => (*schema, *name),
                        [] => continue,
                    };
                    let name = RangeVar {
                        schemaname: schema.to_owned(),
                        relname: name.to_owned(),
                        ..RangeVar::default()
                    };
                    if let Some(table) = self.find(&name, path) {
                        next.remove(table);
                        changed = true;
                    }
                }
                return changed.then_some(next);
            }
            _ => return None,
        }
        Some(next)
    }

    fn alter(&mut self, alter: &AlterTableStmt, path: &[String]) -> Option<()> {
        let relation = alter.relation.as_ref()?;
        let known = self
            .find(relation, path)
            .map(|table| table.as_ref().clone());
        let mut table = known.clone();
        let mut changed = false;
        for command in &alter.cmds {
            let Some(NodeEnum::AlterTableCmd(command)) = &command.node else {
                continue;
            };
            let definition = command.def.as_ref().and_then(|node| match &node.node {
                Some(NodeEnum::ColumnDef(column)) => Some(&**column),
                _ => None,
            });
            let stands_for = definition
                .and_then(|column| column.type_name.as_ref())
                .and_then(StandIn::of);
            let Some(table) = &mut table else {
                self.incomplete |= stands_for.is_some();
                changed |= stands_for.is_some();
                continue;
            };
            match (command.subtype(), definition) {
                (AlterTableType::AtAddColumn, Some(column)) => {
                    if table.column(&column.colname).is_none() {
                        table.columns.push(declared(column));
                    }
                }
                (AlterTableType::AtDropColumn, _) => {
                    table.columns.retain(|column| column.name != command.name);
                }
                (AlterTableType::AtAlterColumnType, Some(_)) => {
                    let columns = table.columns.iter_mut();
                    for column in columns.filter(|column| column.name == command.name) {
                        column.stands_for.clone_from(&stands_for);
                        column.groups = true;
                    }
                }
                _ => continue,
            }
            changed = true;
        }
        if let Some(table) = table {
            self.put(table);
        }
        changed.then_some(())
    }
}

/// The first word of a name, by which texts are looked through.
fn first_word(name: &str) -> Option<String> {
    let lower = name.to_lowercase();
    let mut words = lower.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'));
    words.find(|word| !word.is_empty()).map(str::to_owned)
}

fn new_column(name: &str, kind: &str, stands_for: Option<StandIn>) -> Column {
    let base = stands_for.as_ref().map_or(kind, |stands| &stands.base);
    Column {
        name: name.to_owned(),
        groups: !UNEQUAL.contains(&base),
        stands_for,
    }
}

fn declared(column: &ColumnDef) -> Column {
    let kind = column.type_name.as_ref();
    let base = kind.map_or("", |kind| build::last(&kind.names));
    new_column(&column.colname, base, kind.and_then(StandIn::of))
}

/// The table that a statement makes; `None` if not all of its columns are in it.
pub(super) fn new_table(create: &CreateStmt, path: &[String]) -> Option<Table> {
    let relation = create.relation.as_ref()?;
    let schema = match relation.schemaname.as_str() {
        "" => path.first()?,
        schema => schema,
    };
    let mut table = Table {
        schema: schema.to_owned(),
        name: relation.relname.clone(),
        columns: Vec::new(),
        key: Vec::new(),
    };
    let mut keys: Vec<&Constraint> = Vec::new();
    for element in create.table_elts.iter().chain(&create.constraints) {
        match &element.node {
            Some(NodeEnum::ColumnDef(column)) => {
                table.columns.push(declared(column));
                let primary = column.constraints.iter().any(|node| {
                    matches!(&node.node, Some(NodeEnum::Constraint(constraint))
                        if constraint.contype() == ConstrType::ConstrPrimary)
                });
                if primary {
                    table.key.push(column.colname.clone());
                }
            }
            Some(NodeEnum::Constraint(constraint)) => keys.push(constraint),
            _ => return None,
        }
    }
    for key in keys {
        if key.contype() == ConstrType::ConstrPrimary {
            let names = build::strings(&key.keys).into_iter();
            table.key.extend(names.map(str::to_owned));
        }
    }
    Some(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: [&str; 6]) -> Vec<Option<String>> {
        values
            .iter()
            .map(|value| Some((*value).to_owned()))
            .collect()
    }

    #[test]
    fn a_name_means_a_table_by_the_search_path() {
        let tables = Tables::read(&[
            row(["a", "t", "id", "int4", "n", "y"]),
            row(["a", "t", "ip", "inet", "y", "n"]),
            row(["b", "t", "id", "int4", "n", "n"]),
        ]);
        let found = |schema: &str, path: &[&str]| {
            let name = RangeVar {
                schemaname: schema.to_owned(),
                relname: "t".to_owned(),
                ..RangeVar::default()
            };
            let path: Vec<String> = path.iter().map(|name| (*name).to_owned()).collect();
            tables.find(&name, &path).map(|table| table.schema.clone())
        };
        assert_eq!(found("", &["a"]).as_deref(), Some("a"));
        assert_eq!(found("", &["c", "a"]).as_deref(), Some("a"));
        assert_eq!(found("", &["b", "a"]), None);
        assert_eq!(found("a", &["b"]).as_deref(), Some("a"));
        assert_eq!(found("b", &["a"]), None);
        assert!(tables.touches("select * from T where id = 1"));
        assert!(!tables.touches("select * from tt"));
        assert!(tables.touches("select * from U&\"\\0074\""));
        assert!(!Tables::default().touches("select * from t"));
        assert!(Tables::default().touches("Create table t (a int[])"));
    }
}
