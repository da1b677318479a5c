//! A table made anew: another table with the wanted columns and key takes its rows, then its name.
//!
//! Clients must not lose what they write meanwhile. So first a constraint that no row satisfies keeps
//! new and changed rows out of the old table; rows that are deleted are looked for when the old table
//! has lost its name, which nobody survives: a change of the schema aborts what is under way. Every
//! statement can be sent twice, so that a lost connection leaves no doubt, and what was done before the
//! new table has the name is undone after a failure. What a lost proxy leaves behind, the next
//! statement of the kind finds and clears away.

use crate::policy::dialect::rebuild::index_like;
use crate::policy::{Rebuild, Reshape, Step, TableName};
use crate::wire::reply::ClientError;
use crate::wire::sqlstate;

use super::catalog::{self, literal, quoted};
use super::task::{Answer, Batches, Failure, Job, Next, Request, Task};

/// Nobody writes to a table that has it.
const FROZEN: &str = "dsqlproxy_table_is_being_rebuilt";

/// Rows that fit into one transaction.
const ONE_TRANSACTION: u32 = 3_000;

/// Bytes of a name that an alias keeps.
const KEPT: usize = 36;

/// Looks at a table, then says what is to be done.
#[derive(Debug)]
pub(super) struct Rebuilding {
    plan: Rebuild,
    /// The client's statement.
    whole: String,
    /// Rows of a batch.
    rows: u32,
    stage: Stage,
    names: Names,
    /// The table looked at is one that a rebuild left behind.
    finishes: bool,
    /// A table that a rebuild had begun to fill.
    leftover: bool,
    /// Nobody else makes the table anew.
    locked: bool,
    columns: Vec<Column>,
    constraints: Vec<Constraint>,
    indexes: Vec<Index>,
    views: Vec<View>,
    rights: Vec<String>,
    count: u32,
}

/// A view that reads the table.
#[derive(Debug, Clone)]
struct View {
    /// As text may name it.
    name: String,
    definition: String,
    /// Behind WITH.
    options: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Names,
    Columns,
    Constraints,
    Indexes,
    Views,
    Types,
    Obstacles,
    Rights,
    Rows,
    Nulls,
}

/// The tables, by name.
#[derive(Debug, Default, Clone)]
struct Names {
    oid: String,
    schema: String,
    table: String,
    owner: String,
    owned_by_other: bool,
    comment: Option<String>,
}

#[derive(Debug, Clone)]
struct Column {
    name: String,
    kind: String,
    required: bool,
    identity: String,
    generated: bool,
    default: Option<String>,
    oid: u32,
    modifier: i32,
    /// A type of PostgreSQL's own.
    basic: bool,
    comment: Option<String>,
    sequence: Option<Sequence>,
    /// Somebody has rights on it alone.
    rights: bool,
}

#[derive(Debug, Clone)]
struct Sequence {
    /// As text may name it.
    name: String,
    /// Its name alone, in quotes.
    own: String,
    options: String,
}

#[derive(Debug, Clone)]
struct Constraint {
    name: String,
    kind: String,
    definition: String,
    valid: bool,
    /// The table it is of, as text may name it.
    table: String,
    /// It is one of the table.
    own: bool,
    /// It is a foreign key to the table.
    refers: bool,
    /// Its columns, in quotes.
    columns: Vec<String>,
    comment: Option<String>,
}

#[derive(Debug, Clone)]
struct Index {
    name: String,
    definition: String,
    comment: Option<String>,
}

/// A statement of a rebuild: sent again when its answer is lost.
#[derive(Debug)]
pub(super) struct Guarded {
    sql: String,
    tolerate: Vec<&'static str>,
    /// Takes it back, should something behind it fail.
    pub undo: Option<String>,
    /// From here on nothing is taken back.
    pub settles: bool,
    /// What it does stays.
    pub stays: bool,
}

/// Rows on their way into another table.
#[derive(Debug)]
pub(super) struct Moving {
    from: String,
    /// What the expressions call the table.
    alias: String,
    into: String,
    columns: String,
    values: String,
    key: Vec<String>,
    rows: u32,
    behind: Option<String>,
    copied: u64,
}

/// Whether both tables have as many rows.
#[derive(Debug)]
pub(super) struct Comparing {
    old: String,
    new: String,
    table: String,
    /// Columns by which rows that went meanwhile are found.
    key: Vec<String>,
    rows: u32,
    again: bool,
}

/// The new table's sequence gets the name that the old one's had.
#[derive(Debug)]
pub(super) struct Renaming {
    table: String,
    column: String,
    to: String,
}

impl Guarded {
    fn task(sql: String) -> Self {
        Self {
            sql,
            tolerate: Vec::new(),
            undo: None,
            settles: false,
            stays: false,
        }
    }

    /// Takes back what was done; what is not there needs none.
    pub fn undoing(sql: String) -> Task {
        Task::Guarded(Self::task(sql).tolerates(&["42P01", "42704"]))
    }

    fn tolerates(self, tolerate: &[&'static str]) -> Self {
        Self {
            tolerate: tolerate.to_vec(),
            ..self
        }
    }

    fn undone_by(self, undo: String) -> Self {
        Self {
            undo: Some(undo),
            ..self
        }
    }

    pub fn request(&self) -> Request {
        Request::look(self.sql.clone())
    }

    /// A refusal that says it had been done.
    pub fn tolerates_code(&self, code: &[u8]) -> bool {
        self.tolerate.iter().any(|known| known.as_bytes() == code)
    }

    pub fn sql(&self) -> &str {
        &self.sql
    }
}

fn text(row: &[Option<String>], at: usize) -> &str {
    row.get(at).and_then(Option::as_deref).unwrap_or_default()
}

fn some(row: &[Option<String>], at: usize) -> Option<String> {
    row.get(at).cloned().flatten()
}

fn yes(row: &[Option<String>], at: usize) -> bool {
    text(row, at) == "t"
}

/// A name for something that takes the place of `name`, or makes place for it: the same each time.
fn alias(kind: &str, name: &str) -> String {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    let mut end = name.len().min(KEPT);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("dsqlproxy_{kind}_{hash:08x}_{}", &name[..end])
}

fn error(code: &'static str, message: impl Into<String>) -> ClientError {
    ClientError::error(code, message)
}

fn fail(error: ClientError) -> Next {
    Next::Fail(Failure::Own(error), None)
}

impl Rebuilding {
    pub fn new(plan: &Rebuild, whole: &str, rows: u32) -> Self {
        Self {
            plan: plan.clone(),
            whole: whole.to_owned(),
            rows: rows.max(1),
            stage: Stage::Names,
            names: Names::default(),
            finishes: false,
            leftover: false,
            locked: false,
            columns: Vec::new(),
            constraints: Vec::new(),
            indexes: Vec::new(),
            views: Vec::new(),
            rights: Vec::new(),
            count: 0,
        }
    }

    fn afresh(&self) -> Task {
        Task::Rebuild(Box::new(Self {
            locked: self.locked,
            ..Self::new(&self.plan, &self.whole, self.rows)
        }))
    }

    /// Begins again, now that nobody else is at it.
    pub fn lock(&mut self) {
        *self = Self {
            locked: true,
            ..Self::new(&self.plan, &self.whole, self.rows)
        };
    }

    fn in_schema(&self, name: &str) -> String {
        format!("{}.{}", quoted(&self.names.schema), quoted(name))
    }

    fn table(&self) -> String {
        self.in_schema(&self.names.table)
    }

    fn new_name(&self) -> String {
        alias("new", &self.names.table)
    }

    fn old_name(&self) -> String {
        alias("old", &self.names.table)
    }

    // ---- looking -----------------------------------------------------------------------------

    pub fn request(&self) -> Request {
        let oid = &self.names.oid;
        match self.stage {
            Stage::Names => Request::look(self.names_query()),
            Stage::Columns => Request::look(columns_query(oid)),
            Stage::Constraints => Request::look(constraints_query(oid)),
            Stage::Indexes => Request::look(indexes_query(oid)),
            Stage::Types => Request::Describe(self.types_query()),
            Stage::Views => Request::look(views_query(oid)),
            Stage::Obstacles => Request::look(self.obstacles_query()),
            Stage::Rights => Request::look(rights_query(oid)),
            Stage::Rows => Request::look(format!(
                "SELECT count(*) FROM (SELECT 1 FROM {} LIMIT {}) AS some_rows",
                self.table(),
                ONE_TRANSACTION + 1
            )),
            Stage::Nulls => Request::look(self.nulls_query()),
        }
    }

    pub fn answered(&mut self, answer: &Answer) -> Next {
        let next = match self.stage {
            Stage::Names => return self.found_names(answer),
            Stage::Columns => {
                self.columns = answer.rows.iter().map(|row| column(row)).collect();
                Stage::Constraints
            }
            Stage::Constraints => {
                let read = answer.rows.iter().map(|row| constraint(row));
                self.constraints = read.filter(|found| found.name != FROZEN).collect();
                Stage::Indexes
            }
            Stage::Indexes => {
                self.indexes = answer.rows.iter().map(|row| index(row)).collect();
                Stage::Views
            }
            Stage::Views => {
                let Some(views) = views(&answer.rows) else {
                    return fail(self.obstacle("a view with a long definition"));
                };
                self.views = views;
                if self.finishes {
                    let mut tasks = self.finish();
                    tasks.push(self.afresh());
                    return Next::Become(tasks);
                }
                match self.check() {
                    Err(next) => return *next,
                    Ok(()) if self.asks_for_types() => Stage::Types,
                    Ok(()) => Stage::Obstacles,
                }
            }
            Stage::Types => {
                if self.keeps_types(&catalog::columns(&answer.columns)) {
                    return Next::Become(Vec::new());
                }
                Stage::Obstacles
            }
            Stage::Obstacles => match answer.rows.first().and_then(|row| some(row, 0)) {
                Some(obstacle) => return fail(self.obstacle(&obstacle)),
                None => Stage::Rights,
            },
            Stage::Rights => {
                self.rights = answer.rows.iter().filter_map(|row| some(row, 0)).collect();
                Stage::Rows
            }
            Stage::Rows => {
                let count = answer.rows.first().map(|row| text(row, 0).to_owned());
                self.count = count.and_then(|count| count.parse().ok()).unwrap_or(0);
                if let Err(error) = self.fits() {
                    return fail(error);
                }
                match self.has_new_key() {
                    true => Stage::Nulls,
                    false => return self.make(),
                }
            }
            Stage::Nulls => {
                return match answer.rows.first() {
                    Some(row) => fail(self.has_nulls(row)),
                    None => self.make(),
                };
            }
        };
        self.stage = next;
        Next::Again
    }

    fn names_query(&self) -> String {
        let schema = self.plan.schema.as_deref().map(quoted);
        let schema = schema.map_or_else(String::new, |schema| format!("{schema}."));
        let name = &self.plan.name;
        let relation = |name: &str| {
            let name = format!("{schema}{}", quoted(name));
            format!("pg_catalog.to_regclass({})", literal(&name))
        };
        format!(
            "SELECT w.what, c.oid::text, n.nspname, c.relname, c.relkind::text, \
             pg_catalog.pg_get_userbyid(c.relowner), \
             pg_catalog.pg_get_userbyid(c.relowner) <> current_user, \
             pg_catalog.obj_description(c.oid, 'pg_class') \
             FROM (VALUES (0, {}), (1, {}), (2, {})) AS w (what, relation) \
             JOIN pg_catalog.pg_class c ON c.oid = w.relation \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace ORDER BY w.what",
            relation(name),
            relation(&alias("old", name)),
            relation(&alias("new", name)),
        )
    }

    fn found_names(&mut self, answer: &Answer) -> Next {
        let find = |what: &str| answer.rows.iter().find(|row| text(row, 0) == what);
        let (table, old) = (find("0"), find("1"));
        self.leftover = find("2").is_some();
        if (old.is_some() || self.leftover) && !self.locked {
            // Somebody may be at it.
            return Next::Guard(self.plan.name.clone());
        }
        let Some(row) = table.or(old) else {
            let relation = &self.plan.name;
            if self.plan.if_exists {
                let notice = format!("relation \"{relation}\" does not exist, skipping");
                return Next::Skip("ALTER TABLE", "00000", notice);
            }
            return fail(error(
                "42P01",
                format!("relation \"{relation}\" does not exist"),
            ));
        };
        self.names = Names {
            oid: text(row, 1).to_owned(),
            schema: text(row, 2).to_owned(),
            table: self.plan.name.clone(),
            owner: text(row, 5).to_owned(),
            owned_by_other: yes(row, 6),
            comment: some(row, 7),
        };
        if text(row, 4) != "r" {
            return Next::Become(vec![self.as_it_is()]);
        }
        match (table, old) {
            // It had lost its name when the proxy was lost, and nobody has it since.
            (None, Some(_)) => {
                let back = format!(
                    "ALTER TABLE {} RENAME TO {}",
                    self.in_schema(&self.old_name()),
                    quoted(&self.names.table)
                );
                let back = Guarded::task(back).tolerates(&["42P01"]);
                return Next::Become(vec![Task::Guarded(back), self.afresh()]);
            }
            // The new one is there already.
            (Some(_), Some(old)) => {
                self.names.oid = text(old, 1).to_owned();
                self.names.owner = text(old, 5).to_owned();
                self.names.owned_by_other = yes(old, 6);
                self.finishes = true;
            }
            _ => {}
        }
        self.stage = Stage::Columns;
        Next::Again
    }

    /// The statement as it is; the server knows best.
    fn as_it_is(&self) -> Task {
        Task::Statement {
            step: Step::statement(self.whole.clone()),
            bound: false,
        }
    }

    fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    fn primary(&self) -> Option<&Constraint> {
        let mut constraints = self.constraints.iter();
        constraints.find(|constraint| constraint.own && constraint.kind == "p")
    }

    fn drops(&self, constraint: &Constraint) -> bool {
        constraint.own
            && self.plan.changes.iter().any(|change| match change {
                Reshape::DropConstraint { name, .. } => *name == constraint.name,
                Reshape::DropColumn { name, .. } => constraint.columns.contains(&quoted(name)),
                _ => false,
            })
    }

    fn drops_column(&self, column: &str) -> bool {
        let mut changes = self.plan.changes.iter();
        changes.any(|change| matches!(change, Reshape::DropColumn { name, .. } if name == column))
    }

    /// A column that takes another type, with identity, as CREATE TABLE has it.
    fn numbered(&self, column: &Column) -> Option<&str> {
        self.plan.changes.iter().find_map(|change| match change {
            Reshape::AddIdentity {
                column: name,
                definition,
            } if *name == column.name => Some(definition.as_str()),
            _ => None,
        })
    }

    /// A column that the table does not have yet.
    fn adds(&self, column: &str) -> bool {
        let mut changes = self.plan.changes.iter();
        changes.any(|change| matches!(change, Reshape::AddColumn { name, .. } if name == column))
    }

    /// All columns of the new key are there already.
    fn has_new_key(&self) -> bool {
        let columns = self.new_key().map(|(_, columns)| columns);
        columns.is_some_and(|columns| columns.iter().all(|name| self.column(name).is_some()))
    }

    fn new_key(&self) -> Option<(&str, &[String])> {
        self.plan.changes.iter().find_map(|change| match change {
            Reshape::AddPrimaryKey { name, columns } => Some((name.as_str(), columns.as_slice())),
            _ => None,
        })
    }

    /// What PostgreSQL would refuse, and what needs no new table.
    fn check(&self) -> Result<(), Box<Next>> {
        let table = &self.names.table;
        for change in &self.plan.changes {
            match change {
                Reshape::Type { column, to, .. } => match self.column(column) {
                    None => {
                        let message =
                            format!("column \"{column}\" of relation \"{table}\" does not exist");
                        return Err(Box::new(fail(error("42703", message))));
                    }
                    Some(found) if !found.identity.is_empty() && !is_whole_number(to) => {
                        let message =
                            "identity column type must be smallint, integer, or bigint".to_owned();
                        return Err(Box::new(fail(error("22023", message))));
                    }
                    Some(_) => {}
                },
                Reshape::AddColumn {
                    name,
                    if_not_exists,
                    ..
                } => {
                    if self.column(name).is_none() {
                        continue;
                    }
                    let message =
                        format!("column \"{name}\" of relation \"{table}\" already exists");
                    return Err(Box::new(match if_not_exists {
                        true => Next::Skip("ALTER TABLE", "42701", format!("{message}, skipping")),
                        false => fail(error("42701", message)),
                    }));
                }
                Reshape::AddIdentity { column, .. } => self.check_identity(column)?,
                Reshape::DropColumn {
                    name,
                    if_exists,
                    cascade,
                } => self.check_drop_column(name, *if_exists, *cascade)?,
                Reshape::AddPrimaryKey { columns, .. } => {
                    if self.primary().is_some_and(|primary| !self.drops(primary)) {
                        let message =
                            format!("multiple primary keys for table \"{table}\" are not allowed");
                        return Err(Box::new(fail(error("42P16", message))));
                    }
                    let missing = columns
                        .iter()
                        .find(|name| self.column(name).is_none() && !self.adds(name));
                    if let Some(missing) = missing {
                        let message = format!("column \"{missing}\" named in key does not exist");
                        return Err(Box::new(fail(error("42703", message))));
                    }
                }
                Reshape::DropConstraint {
                    name,
                    if_exists,
                    cascade,
                } => {
                    let found = self
                        .constraints
                        .iter()
                        .find(|found| found.own && found.name == *name);
                    match found {
                        Some(found) if found.kind == "p" => self.check_drop(name, *cascade)?,
                        _ if self.plan.changes.len() == 1 => {
                            return Err(Box::new(Next::Become(vec![self.as_it_is()])));
                        }
                        Some(_) => {}
                        None if *if_exists => {}
                        None => {
                            let message = format!(
                                "constraint \"{name}\" of relation \"{table}\" does not exist"
                            );
                            return Err(Box::new(fail(error("42704", message))));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn check_identity(&self, name: &str) -> Result<(), Box<Next>> {
        let changes = |column: &&Column| {
            let whole = match column.kind.as_str() {
                "smallint" | "integer" => true,
                kind => kind == "bigint" && self.plan.changes.len() > 1,
            };
            whole && column.required && column.identity.is_empty() && column.default.is_none()
        };
        // The server knows best what is wrong with it, if anything is.
        match self.column(name).filter(changes) {
            Some(_) => Ok(()),
            None => Err(Box::new(Next::Become(vec![self.as_it_is()]))),
        }
    }

    fn check_drop_column(
        &self,
        name: &str,
        if_exists: bool,
        cascade: bool,
    ) -> Result<(), Box<Next>> {
        let table = &self.names.table;
        if self.column(name).is_none() {
            let message = format!("column \"{name}\" of relation \"{table}\" does not exist");
            return Err(Box::new(match if_exists {
                true => Next::Skip("ALTER TABLE", "00000", format!("{message}, skipping")),
                false => fail(error("42703", message)),
            }));
        }
        if let Some(primary) = self.primary().filter(|primary| self.drops(primary)) {
            return self.check_drop(&primary.name, cascade);
        }
        match self.plan.changes.len() {
            1 => Err(Box::new(Next::Become(vec![self.as_it_is()]))),
            _ => Ok(()),
        }
    }

    fn check_drop(&self, name: &str, cascade: bool) -> Result<(), Box<Next>> {
        let key: Vec<String> = self
            .primary()
            .map(|primary| primary.columns.clone())
            .unwrap_or_default();
        let mut referring = self.constraints.iter().filter(|found| {
            // Those to other columns are to other keys.
            found.refers && referred(&found.definition).is_none_or(|columns| columns == key)
        });
        if cascade {
            let drops: Vec<String> = referring
                .map(|found| {
                    format!(
                        "ALTER TABLE {} DROP CONSTRAINT {}",
                        found.table,
                        quoted(&found.name)
                    )
                })
                .collect();
            if drops.is_empty() {
                return Ok(());
            }
            let notice = format!("drop cascades to foreign keys that refer to {name}");
            let drop = |sql| {
                Task::Guarded(Guarded {
                    stays: true,
                    ..Guarded::task(sql).tolerates(&["42704"])
                })
            };
            let tasks = drops.into_iter().map(drop).chain([self.afresh()]);
            return Err(Box::new(Next::Tell(tasks.collect(), notice)));
        }
        let Some(referring) = referring.next() else {
            return Ok(());
        };
        let message = format!(
            "cannot drop constraint {name} on table {} because other objects depend on it",
            self.names.table
        );
        let error = error("2BP01", message).detail(format!(
            "constraint {} on table {} depends on it.",
            referring.name, referring.table
        ));
        Err(Box::new(fail(
            error.hint("Drop the foreign key first, or say CASCADE."),
        )))
    }

    /// The changes of types, as far as the column has another; identity columns stay bigint.
    fn retyped(&self) -> impl Iterator<Item = (&Column, &str, Option<&str>)> {
        self.plan.changes.iter().filter_map(|change| match change {
            Reshape::Type {
                column, to, using, ..
            } => {
                let found = self.column(column)?;
                found
                    .identity
                    .is_empty()
                    .then_some((found, to.as_str(), using.as_deref()))
            }
            _ => None,
        })
    }

    /// All of it may be a change of types to what they are.
    fn asks_for_types(&self) -> bool {
        self.plan.changes.iter().all(|change| match change {
            Reshape::Type {
                column,
                builtin,
                plain,
                ..
            } => {
                let found = self.column(column);
                found.is_some_and(|found| {
                    !found.identity.is_empty() || found.basic && *builtin && *plain
                })
            }
            _ => false,
        })
    }

    fn types_query(&self) -> String {
        let types: Vec<String> = self
            .retyped()
            .map(|(_, to, _)| format!("NULL::{to}"))
            .collect();
        match types.is_empty() {
            true => "SELECT 1".to_owned(),
            false => format!("SELECT {}", types.join(", ")),
        }
    }

    fn keeps_types(&self, wanted: &[(String, u32, i32)]) -> bool {
        let retyped: Vec<&Column> = self.retyped().map(|(column, ..)| column).collect();
        let same = |(column, wanted): (&&Column, &(String, u32, i32))| {
            (column.oid, column.modifier) == (wanted.1, wanted.2)
        };
        retyped.is_empty() || retyped.len() == wanted.len() && retyped.iter().zip(wanted).all(same)
    }

    fn obstacle(&self, obstacle: &str) -> ClientError {
        error(
            sqlstate::FEATURE_NOT_SUPPORTED,
            format!(
                "table \"{}\" has to be made anew for this, and {obstacle} depends on it",
                self.names.table
            ),
        )
        .hint("Drop what depends on the table, change the table, and make it again.")
    }

    /// What else depends on the table, in words: not a view that can read another one in its place.
    fn obstacles_query(&self) -> String {
        let oid = &self.names.oid;
        let dropped = self.plan.changes.iter().filter_map(|change| match change {
            Reshape::DropColumn { name, .. } | Reshape::AddIdentity { column: name, .. } => {
                Some(literal(name))
            }
            _ => None,
        });
        let retyped: Vec<String> = self
            .retyped()
            .map(|(column, ..)| literal(&column.name))
            .chain(dropped)
            .collect();
        let retyped = match retyped.is_empty() {
            true => "false".to_owned(),
            false => format!(
                "EXISTS (SELECT 1 FROM pg_catalog.pg_attribute a WHERE a.attrelid = {oid} \
                 AND a.attnum = d.refobjsubid AND a.attname IN ({}))",
                retyped.join(", ")
            ),
        };
        let drops = self.constraints.iter().any(|found| self.drops(found));
        format!(
            "SELECT CASE d.classid WHEN 2618 THEN 'view ' || (SELECT r.ev_class::pg_catalog.regclass::text \
             FROM pg_catalog.pg_rewrite r WHERE r.oid = d.objid) WHEN 1255 THEN 'function ' || \
             d.objid::pg_catalog.regprocedure::text ELSE 'a statistics object' END \
             FROM pg_catalog.pg_depend d WHERE d.classid IN (1255, 2618, 3381) AND \
             (d.refclassid = 1259 AND d.refobjid = {oid} AND (d.classid <> 2618 OR {retyped} OR \
             EXISTS (SELECT 1 FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class v ON v.oid = r.ev_class \
             WHERE r.oid = d.objid AND (v.relkind <> 'v' OR pg_catalog.pg_get_userbyid(v.relowner) <> current_user))) \
             OR {drops} AND d.refclassid = 2606 AND d.refobjid IN \
             (SELECT k.oid FROM pg_catalog.pg_constraint k WHERE k.conrelid = {oid} AND k.contype = 'p') \
             OR d.refclassid = 1247 AND d.refobjid IN \
             (SELECT reltype FROM pg_catalog.pg_class WHERE oid = {oid})) LIMIT 1"
        )
    }

    fn fits(&self) -> Result<(), ClientError> {
        if let Some(column) = self.columns.iter().find(|column| column.rights) {
            let rights = format!("a right on column \"{}\" alone", column.name);
            return Err(self.obstacle(&rights));
        }
        let table = &self.names.table;
        if self.plan.most.is_some_and(|most| self.count > most) {
            return Err(error(
                sqlstate::FEATURE_NOT_SUPPORTED,
                format!(
                    "table \"{table}\" has to be made anew for this, and has more than {ONE_TRANSACTION} rows"
                ),
            )
            .hint("SET dsqlproxy.table_rebuild = rebuild to have its rows copied in batches; nobody can write to it meanwhile."));
        }
        if self.count > ONE_TRANSACTION && self.copy_key().is_empty() {
            return Err(error(
                sqlstate::FEATURE_NOT_SUPPORTED,
                format!(
                    "table \"{table}\" has to be made anew for this, and has more than {ONE_TRANSACTION} rows and no primary key to copy them by"
                ),
            ));
        }
        Ok(())
    }

    fn nulls_query(&self) -> String {
        let columns: Vec<String> = self
            .new_key()
            .map(|(_, columns)| columns.iter().map(|column| quoted(column)).collect())
            .unwrap_or_default();
        let is_null: Vec<String> = columns
            .iter()
            .map(|column| format!("{column} IS NULL"))
            .collect();
        format!(
            "SELECT {} FROM {} WHERE {} LIMIT 1",
            is_null.join(", "),
            self.table(),
            is_null.join(" OR ")
        )
    }

    fn has_nulls(&self, row: &[Option<String>]) -> ClientError {
        let columns = self.new_key().map(|(_, columns)| columns);
        let at = (0..row.len()).find(|at| yes(row, *at)).unwrap_or(0);
        let column = columns.and_then(|columns| columns.get(at));
        error(
            "23502",
            format!(
                "column \"{}\" of relation \"{}\" contains null values",
                column.map_or("", String::as_str),
                self.names.table
            ),
        )
    }

    // ---- making ------------------------------------------------------------------------------

    /// Columns by which rows are copied in batches, in quotes; none if there are none.
    fn copy_key(&self) -> Vec<String> {
        if let Some(primary) = self.primary() {
            return match self.loses_columns_of(&primary.columns) {
                true => Vec::new(),
                false => primary.columns.clone(),
            };
        }
        let key = self
            .new_key()
            .filter(|_| self.has_new_key())
            .map(|(_, columns)| columns);
        key.unwrap_or_default()
            .iter()
            .map(|column| quoted(column))
            .collect()
    }

    fn type_of(&self, column: &Column) -> String {
        let mut retyped = self.retyped();
        let change = retyped.find(|(found, ..)| found.name == column.name);
        change.map_or_else(|| column.kind.clone(), |(_, to, _)| to.to_owned())
    }

    fn make(&self) -> Next {
        if !self.locked {
            return Next::Guard(self.plan.name.clone());
        }
        let table = self.table();
        let new = self.in_schema(&self.new_name());
        let mut tasks = Vec::new();
        let mut then = |guarded: Guarded| tasks.push(Task::Guarded(guarded));
        if self.leftover {
            then(Guarded::task(format!("DROP TABLE IF EXISTS {new}")));
        }
        then(
            Guarded::task(format!(
                "ALTER TABLE {table} ADD CONSTRAINT {FROZEN} CHECK (false) NOT VALID"
            ))
            .tolerates(&["42710"])
            .undone_by(format!("ALTER TABLE {table} DROP CONSTRAINT {FROZEN}")),
        );
        then(
            Guarded::task(self.create(&new))
                .tolerates(&["42P07"])
                .undone_by(format!("DROP TABLE IF EXISTS {new}")),
        );
        for constraint in self.constraints.iter().filter(|found| is_late(found)) {
            if !self.drops(constraint) {
                then(
                    Guarded::task(format!(
                        "ALTER TABLE {new} ADD CONSTRAINT {} {}",
                        quoted(&constraint.name),
                        constraint.definition
                    ))
                    .tolerates(&["42710"]),
                );
            }
        }
        for right in &self.rights {
            let (rights, role) = right.split_once(" TO ").unwrap_or((right, "PUBLIC"));
            then(Guarded::task(format!("GRANT {rights} ON {new} TO {role}")));
        }
        for (what, comment) in self.comments(&new) {
            then(Guarded::task(format!(
                "COMMENT ON {what} IS {}",
                literal(&comment)
            )));
        }
        for index in self.kept_indexes() {
            let like = index_like(
                &index.definition,
                &alias("index", &index.name),
                &self.names.schema,
                &self.new_name(),
            );
            let Some(sql) = like else {
                let index = format!("index \"{}\"", index.name);
                return fail(self.obstacle(&index));
            };
            tasks.push(Task::Job(Job::waited_for(Step {
                tolerate: vec!["42P07"],
                failure: Some("23505"),
                ..Step::job(sql)
            })));
        }
        tasks.push(Task::Move(self.copy(&new)));
        self.swap(&mut tasks, &table, &new);
        tasks.extend(self.finish());
        let notice = format!(
            "table \"{}\" is made anew on Aurora DSQL for this, and cannot be written to meanwhile",
            self.names.table
        );
        Next::Tell(tasks, notice)
    }

    fn create(&self, new: &str) -> String {
        let mut lines: Vec<String> = self
            .kept_columns()
            .map(|column| self.definition(column))
            .collect();
        lines.extend(self.plan.changes.iter().filter_map(|change| match change {
            Reshape::AddColumn { definition, .. } => Some(definition.clone()),
            _ => None,
        }));
        for constraint in &self.constraints {
            if !constraint.own || self.drops(constraint) || is_late(constraint) {
                continue;
            }
            lines.push(match constraint.kind.as_str() {
                // The index behind it has all other columns too.
                "p" => format!(
                    "CONSTRAINT {} PRIMARY KEY ({})",
                    quoted(&alias("key", &constraint.name)),
                    constraint.columns.join(", ")
                ),
                "u" => format!(
                    "CONSTRAINT {} {}",
                    quoted(&alias("key", &constraint.name)),
                    constraint.definition
                ),
                "c" => format!(
                    "CONSTRAINT {} {}",
                    quoted(&constraint.name),
                    constraint.definition
                ),
                "f" if !constraint.refers => format!(
                    "CONSTRAINT {} {}",
                    quoted(&constraint.name),
                    constraint.definition
                ),
                _ => continue,
            });
        }
        if let Some((name, columns)) = self.new_key() {
            let columns: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
            lines.push(format!(
                "CONSTRAINT {} PRIMARY KEY ({})",
                quoted(&alias("key", name)),
                columns.join(", ")
            ));
        }
        format!("CREATE TABLE {new} ({})", lines.join(", "))
    }

    fn kept_columns(&self) -> impl Iterator<Item = &Column> {
        let columns = self.columns.iter();
        columns.filter(|column| !self.drops_column(&column.name))
    }

    /// An index goes with any of its columns.
    fn kept_indexes(&self) -> impl Iterator<Item = &Index> {
        let dropped = self.plan.changes.iter().filter_map(|change| match change {
            Reshape::DropColumn { name, .. } => Some(name.as_str()),
            _ => None,
        });
        let dropped: Vec<&str> = dropped.collect();
        self.indexes.iter().filter(move |index| {
            let mut dropped = dropped.iter();
            !dropped.any(|column| index_names(&index.definition, column))
        })
    }

    fn loses_columns_of(&self, columns: &[String]) -> bool {
        let mut all = self.columns.iter();
        all.any(|column| self.drops_column(&column.name) && columns.contains(&quoted(&column.name)))
    }

    fn definition(&self, column: &Column) -> String {
        if let Some(numbered) = self.numbered(column) {
            return format!("{numbered} NOT NULL");
        }
        let mut line = format!("{} {}", quoted(&column.name), self.type_of(column));
        match (column.identity.as_str(), &column.sequence, &column.default) {
            ("a" | "d", Some(sequence), _) => line.push_str(&format!(
                " GENERATED {} AS IDENTITY ({})",
                match column.identity.as_str() {
                    "a" => "ALWAYS",
                    _ => "BY DEFAULT",
                },
                sequence.options
            )),
            (_, _, Some(expression)) if column.generated => {
                line.push_str(&format!(" GENERATED ALWAYS AS ({expression}) STORED"));
            }
            (_, _, Some(expression)) => line.push_str(&format!(" DEFAULT {expression}")),
            _ => {}
        }
        if column.required {
            line.push_str(" NOT NULL");
        }
        line
    }

    fn comments(&self, new: &str) -> Vec<(String, String)> {
        let mut comments = Vec::new();
        if let Some(comment) = &self.names.comment {
            comments.push((format!("TABLE {new}"), comment.clone()));
        }
        for column in self.kept_columns() {
            if let Some(comment) = &column.comment {
                comments.push((
                    format!("COLUMN {new}.{}", quoted(&column.name)),
                    comment.clone(),
                ));
            }
        }
        comments
    }

    fn copy(&self, new: &str) -> Moving {
        let stored: Vec<&Column> = self
            .kept_columns()
            .filter(|column| !column.generated)
            .collect();
        let columns: Vec<String> = stored.iter().map(|column| quoted(&column.name)).collect();
        let values: Vec<String> = stored.iter().map(|column| self.value(column)).collect();
        Moving {
            from: self.table(),
            alias: quoted(&self.names.table),
            into: new.to_owned(),
            columns: columns.join(", "),
            values: values.join(", "),
            key: match self.count > self.rows {
                true => self.copy_key(),
                false => Vec::new(),
            },
            rows: self.rows,
            behind: None,
            copied: 0,
        }
    }

    fn value(&self, column: &Column) -> String {
        let mut retyped = self.retyped();
        let using = retyped
            .find(|(found, ..)| found.name == column.name)
            .and_then(|(.., using)| using);
        match using {
            Some(using) => format!("({using})"),
            None => quoted(&column.name),
        }
    }

    /// The names change hands.
    fn swap(&self, tasks: &mut Vec<Task>, table: &str, new: &str) {
        let (old, name) = (self.in_schema(&self.old_name()), quoted(&self.names.table));
        let away = Guarded::task(format!(
            "ALTER TABLE {table} RENAME TO {}",
            quoted(&self.old_name())
        ))
        .tolerates(&["42P01"])
        .undone_by(format!("ALTER TABLE {old} RENAME TO {name}"));
        tasks.push(Task::Guarded(away));
        let key = match self.primary() {
            Some(primary)
                if !self.changes_type_of(&primary.columns)
                    && !self.loses_columns_of(&primary.columns) =>
            {
                primary.columns.clone()
            }
            _ => Vec::new(),
        };
        tasks.push(Task::Compare(Comparing {
            old: old.clone(),
            new: new.to_owned(),
            table: self.names.table.clone(),
            key,
            rows: self.rows,
            again: false,
        }));
        for column in self.kept_columns() {
            if let ("a" | "d", Some(sequence)) = (column.identity.as_str(), &column.sequence) {
                let serial = format!(
                    "pg_catalog.pg_get_serial_sequence({}, {})",
                    literal(new),
                    literal(&column.name)
                );
                tasks.push(Task::Guarded(Guarded::task(format!(
                    "SELECT pg_catalog.setval({serial}::pg_catalog.regclass, last_value, is_called) FROM {}",
                    sequence.name
                ))));
            }
        }
        tasks.push(Task::Guarded(Guarded {
            settles: true,
            ..Guarded::task(format!("ALTER TABLE {new} RENAME TO {name}")).tolerates(&["42P01"])
        }));
    }

    fn changes_type_of(&self, columns: &[String]) -> bool {
        self.retyped()
            .any(|(column, ..)| columns.contains(&quoted(&column.name)))
    }

    /// What is left when the new table has the name.
    fn finish(&self) -> Vec<Task> {
        let table = self.table();
        let mut statements = Vec::new();
        let mut jobs = Vec::new();
        for key in self.constraints.iter().filter(|found| found.refers) {
            if !self.drops(key) {
                self.refer(key, &mut statements, &mut jobs);
            }
        }
        for column in self.kept_columns() {
            if let ("", Some(sequence)) = (column.identity.as_str(), &column.sequence) {
                statements.push(Guarded::task(format!(
                    "ALTER SEQUENCE {} OWNED BY {table}.{}",
                    sequence.name,
                    quoted(&column.name)
                )));
            }
        }
        // They read the old table, by whatever name; from here on the one that has its name.
        for view in &self.views {
            statements.push(Guarded::task(self.view(view)));
        }
        let old = self.in_schema(&self.old_name());
        statements.push(Guarded::task(format!("DROP TABLE IF EXISTS {old}")));
        self.rename_keys(&table, &mut statements);
        for index in self.kept_indexes() {
            statements.push(
                Guarded::task(format!(
                    "ALTER INDEX {} RENAME TO {}",
                    self.in_schema(&alias("index", &index.name)),
                    quoted(&index.name)
                ))
                .tolerates(&["42P01", "42704"]),
            );
            if let Some(comment) = &index.comment {
                statements.push(Guarded::task(format!(
                    "COMMENT ON INDEX {} IS {}",
                    self.in_schema(&index.name),
                    literal(comment)
                )));
            }
        }
        if self.names.owned_by_other {
            let owner = quoted(&self.names.owner);
            statements.push(Guarded::task(format!(
                "ALTER TABLE {table} OWNER TO {owner}"
            )));
        }
        let mut tasks: Vec<Task> = statements
            .into_iter()
            .map(|guarded| {
                Task::Guarded(Guarded {
                    stays: true,
                    ..guarded
                })
            })
            .collect();
        for column in self.kept_columns() {
            if let ("a" | "d", Some(sequence)) = (column.identity.as_str(), &column.sequence) {
                tasks.push(Task::Rename(Renaming {
                    table: table.clone(),
                    column: column.name.clone(),
                    to: sequence.own.clone(),
                }));
            }
        }
        tasks.extend(self.new_sequences(&table));
        tasks.extend(jobs);
        tasks
    }

    /// Sequences of columns that are numbered from now on get the names that PostgreSQL would choose.
    fn new_sequences(&self, table: &str) -> Vec<Task> {
        let numbered = self.plan.changes.iter().filter_map(|change| match change {
            Reshape::AddIdentity { column, .. } => Some(column),
            Reshape::AddColumn {
                name, definition, ..
            } if definition.contains(" AS IDENTITY") => Some(name),
            _ => None,
        });
        let rename = |column: &String| {
            Task::Rename(Renaming {
                table: table.to_owned(),
                column: column.clone(),
                to: quoted(&format!("{}_{column}_seq", self.names.table)),
            })
        };
        numbered.map(rename).collect()
    }

    fn view(&self, view: &View) -> String {
        let mut definition = view.definition.trim_end().trim_end_matches(';').to_owned();
        if self.finishes {
            let (old, name) = (self.old_name(), quoted(&self.names.table));
            definition = definition
                .replace(&quoted(&old), &name)
                .replace(&old, &name);
        }
        let options = view.options.as_ref();
        let options = options.map_or_else(String::new, |options| format!(" WITH ({options})"));
        format!(
            "CREATE OR REPLACE VIEW {}{options} AS {definition}",
            view.name
        )
    }

    fn rename_keys(&self, table: &str, statements: &mut Vec<Guarded>) {
        let added = self.new_key().map(|(name, _)| (name.to_owned(), None));
        let kept = self.constraints.iter().filter(|found| {
            found.own && matches!(found.kind.as_str(), "p" | "u") && !self.drops(found)
        });
        let kept = kept.map(|found| (found.name.clone(), found.comment.clone()));
        for (name, comment) in kept.chain(added) {
            statements.push(
                Guarded::task(format!(
                    "ALTER TABLE {table} RENAME CONSTRAINT {} TO {}",
                    quoted(&alias("key", &name)),
                    quoted(&name)
                ))
                .tolerates(&["42704"]),
            );
            if let Some(comment) = comment {
                statements.push(Guarded::task(format!(
                    "COMMENT ON CONSTRAINT {} ON {table} IS {}",
                    quoted(&name),
                    literal(&comment)
                )));
            }
        }
    }

    /// A foreign key to the table gets one like it to the new one.
    fn refer(&self, key: &Constraint, statements: &mut Vec<Guarded>, jobs: &mut Vec<Task>) {
        let table = match key.own {
            true => self.table(),
            false => key.table.clone(),
        };
        let definition = referring_to(&key.definition, &self.table());
        let definition = definition.trim_end_matches(" NOT VALID");
        let name = quoted(&key.name);
        let added = match key.own {
            true => name.clone(),
            false => quoted(&alias("fkey", &key.name)),
        };
        statements.push(
            Guarded::task(format!(
                "ALTER TABLE {table} ADD CONSTRAINT {added} {definition} NOT VALID"
            ))
            .tolerates(&["42710"]),
        );
        if !key.own {
            statements.push(Guarded::task(format!(
                "ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}"
            )));
            statements.push(
                Guarded::task(format!(
                    "ALTER TABLE {table} RENAME CONSTRAINT {added} TO {name}"
                ))
                .tolerates(&["42704"]),
            );
        }
        if key.valid {
            jobs.push(Task::Job(Job::waited_for(Step {
                failure: Some("23503"),
                ..Step::job(format!(
                    "ALTER TABLE ASYNC {table} VALIDATE CONSTRAINT {name}"
                ))
            })));
        }
    }
}

/// A foreign key's definition with another table in the place of the one it refers to, which may be
/// known by another name for the moment.
fn referring_to(definition: &str, table: &str) -> String {
    const WORD: &str = " REFERENCES ";
    let Some((head, tail)) = definition.split_once(WORD) else {
        return definition.to_owned();
    };
    let mut quoted = false;
    let end = tail.find(|letter| {
        quoted ^= letter == '"';
        letter == '(' && !quoted
    });
    match end {
        Some(end) => format!("{head}{WORD}{table}{}", &tail[end..]),
        None => definition.to_owned(),
    }
}

/// Rows may violate it, so it comes when they are not looked at.
fn is_late(constraint: &Constraint) -> bool {
    constraint.own
        && !constraint.valid
        && !constraint.refers
        && matches!(constraint.kind.as_str(), "c" | "f")
}

fn is_whole_number(kind: &str) -> bool {
    matches!(
        kind.trim_start_matches("pg_catalog."),
        "int" | "integer" | "bigint" | "smallint" | "int2" | "int4" | "int8"
    )
}

impl Moving {
    pub fn request(&self) -> Request {
        let insert = format!(
            "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} AS {}",
            self.into, self.columns, self.values, self.from, self.alias
        );
        if self.key.is_empty() {
            // So that it can be sent twice.
            let sql = format!("{insert} WHERE NOT EXISTS (SELECT 1 FROM {})", self.into);
            return Request::look(sql);
        }
        let key = self.key.join(", ");
        let behind = match &self.behind {
            Some(behind) => format!(" WHERE ({key}) > ({behind})"),
            None => String::new(),
        };
        let each = |of: &dyn Fn(&String) -> String| {
            let all: Vec<String> = self.key.iter().map(of).collect();
            all.join(", ")
        };
        Request::look(format!(
            "WITH meant AS (SELECT {key} FROM {}{behind} ORDER BY {key} LIMIT {}), \
             copied AS ({insert} WHERE ({}) IN (SELECT {key} FROM meant) \
             ON CONFLICT DO NOTHING RETURNING 1) \
             SELECT {}, (SELECT count(*) FROM meant), (SELECT count(*) FROM copied) \
             FROM meant ORDER BY {} LIMIT 1",
            self.from,
            self.rows,
            each(&|column| format!("{}.{column}", self.alias)),
            each(&|column| format!("pg_catalog.quote_literal({column}::text)")),
            each(&|column| format!("{column} DESC")),
        ))
    }

    pub fn answered(&mut self, answer: &Answer) -> Next {
        if self.key.is_empty() {
            return Next::Done;
        }
        let Some([key @ .., meant, copied]) = answer.rows.first().map(Vec::as_slice) else {
            return Next::Done;
        };
        let number = |value: &Option<String>| value.as_ref().and_then(|n| n.parse::<u64>().ok());
        let key: Vec<&str> = key.iter().flatten().map(String::as_str).collect();
        self.behind = Some(key.join(", "));
        self.copied += number(copied).unwrap_or(0);
        match number(meant).unwrap_or(0) < u64::from(self.rows) {
            true => Next::Done,
            false => Next::Again,
        }
    }

    /// Rows that are large, or have many index entries, go in smaller batches.
    pub fn take_less(&mut self) {
        self.rows = (self.rows / 2).max(1);
    }

    /// Smaller batches are possible.
    pub fn can_take_less(&self) -> bool {
        !self.key.is_empty() && self.rows > 1
    }

    /// How far it is.
    pub fn tale(&self) -> String {
        format!("copied {} rows of table {}", self.copied, self.from)
    }
}

impl Comparing {
    pub fn request(&self) -> Request {
        Request::look(format!(
            "SELECT (SELECT count(*) FROM {}), (SELECT count(*) FROM {})",
            self.old, self.new
        ))
    }

    pub fn answered(&self, answer: &Answer) -> Next {
        let number = |at: usize| {
            let row = answer.rows.first()?;
            text(row, at).parse::<u64>().ok()
        };
        let (Some(old), Some(new)) = (number(0), number(1)) else {
            return fail(error(
                sqlstate::INTERNAL_ERROR,
                "the rows of a table that is made anew could not be counted",
            ));
        };
        if old == new {
            return Next::Done;
        }
        if new < old {
            return fail(
                error(
                    "23505",
                    format!(
                        "the rows of table \"{}\" are not unique as its keys want them",
                        self.table
                    ),
                )
                .detail(format!("Of {old} rows {new} have a key of their own.")),
            );
        }
        if self.again || self.key.is_empty() {
            return fail(
                error(
                    sqlstate::SERIALIZATION_FAILURE,
                    format!(
                        "rows of table \"{}\" were deleted while it was made anew",
                        self.table
                    ),
                )
                .hint("Run the statement again."),
            );
        }
        let same: Vec<String> = self
            .key
            .iter()
            .map(|column| format!("o.{column} = n.{column}"))
            .collect();
        let sql = format!(
            "DELETE FROM {new} WHERE ({{key}}) IN (SELECT {{key}} FROM {new} AS n WHERE NOT EXISTS \
             (SELECT 1 FROM {} AS o WHERE {}) LIMIT {{rows}})",
            self.old,
            same.join(" AND "),
            new = self.new,
        );
        let gone = Batches::keyed(
            sql,
            TableName(self.new.clone()),
            self.rows,
            self.key.clone(),
        );
        let again = Self {
            old: self.old.clone(),
            new: self.new.clone(),
            table: self.table.clone(),
            key: self.key.clone(),
            rows: self.rows,
            again: true,
        };
        Next::Become(vec![Task::Batches(gone), Task::Compare(again)])
    }
}

impl Renaming {
    pub fn request(&self) -> Request {
        Request::look(format!(
            "SELECT pg_catalog.pg_get_serial_sequence({}, {})",
            literal(&self.table),
            literal(&self.column)
        ))
    }

    pub fn answered(&self, answer: &Answer) -> Next {
        let found = answer.rows.first().and_then(|row| some(row, 0));
        let Some(sequence) = found else {
            return Next::Done;
        };
        let rename = format!("ALTER SEQUENCE {sequence} RENAME TO {}", self.to);
        // Its name is for people, and a server that keeps it does no harm.
        let rename = Guarded::task(rename).tolerates(&["42P07", "0A000"]);
        Next::Become(vec![Task::Guarded(Guarded {
            stays: true,
            ..rename
        })])
    }
}

// ---- the catalog -----------------------------------------------------------------------------------

fn columns_query(oid: &str) -> String {
    format!(
        "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull, \
         a.attidentity::text, a.attgenerated::text, pg_catalog.pg_get_expr(d.adbin, d.adrelid), \
         a.atttypid::text, a.atttypmod::text, t.typtype = 'b', \
         pg_catalog.col_description(a.attrelid, a.attnum), q.name, q.own, q.options, \
         a.attacl IS NOT NULL \
         FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
         LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
         LEFT JOIN (SELECT p.refobjid, p.refobjsubid, s.seqrelid::pg_catalog.regclass::text AS name, \
         pg_catalog.quote_ident(c.relname) AS own, \
         'INCREMENT BY ' || s.seqincrement || ' MINVALUE ' || s.seqmin || ' MAXVALUE ' || s.seqmax || \
         ' START WITH ' || s.seqstart || ' CACHE ' || s.seqcache || \
         CASE WHEN s.seqcycle THEN ' CYCLE' ELSE '' END AS options \
         FROM pg_catalog.pg_depend p JOIN pg_catalog.pg_sequence s ON s.seqrelid = p.objid \
         JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid \
         WHERE p.classid = 1259 AND p.refclassid = 1259 AND p.deptype IN ('a', 'i')) q \
         ON q.refobjid = a.attrelid AND q.refobjsubid = a.attnum \
         WHERE a.attrelid = {oid} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
    )
}

fn column(row: &[Option<String>]) -> Column {
    let sequence = some(row, 10).map(|name| Sequence {
        name,
        own: text(row, 11).to_owned(),
        options: text(row, 12).to_owned(),
    });
    Column {
        name: text(row, 0).to_owned(),
        kind: text(row, 1).to_owned(),
        required: yes(row, 2),
        identity: text(row, 3).to_owned(),
        generated: !text(row, 4).is_empty(),
        default: some(row, 5),
        oid: text(row, 6).parse().unwrap_or(0),
        modifier: text(row, 7).parse().unwrap_or(-1),
        basic: yes(row, 8),
        comment: some(row, 9),
        sequence,
        rights: yes(row, 13),
    }
}

/// The columns that a foreign key refers to, in quotes; `None` when it does not name them.
fn referred(definition: &str) -> Option<Vec<String>> {
    let behind = &definition[definition.rfind(" REFERENCES ")?..];
    let (_, columns) = behind.split_once('(')?;
    let (columns, _) = columns.split_once(')')?;
    Some(columns.split(", ").map(requoted).collect())
}

/// Whether an index has to do with a column; of one that cannot be read, yes.
fn index_names(definition: &str, column: &str) -> bool {
    use crate::sql::tree::{Descent, Ref, walk};
    use pg_query::NodeEnum;

    let Ok(read) = crate::sql::Statement::read(definition) else {
        return true;
    };
    let [statement] = read.as_slice() else {
        return true;
    };
    let Some(node) = statement.node() else {
        return true;
    };
    let mut named = false;
    walk(Ref::of(node), &mut |node| {
        match node {
            Ref::IndexElem(element) => named |= element.name == column,
            Ref::ColumnRef(reference) => {
                named |= reference.fields.iter().any(|field| {
                    matches!(&field.node, Some(NodeEnum::String(name)) if name.sval == column)
                });
            }
            _ => {}
        }
        Descent::Into
    });
    named
}

fn constraints_query(oid: &str) -> String {
    format!(
        "SELECT c.conname, c.contype::text, pg_catalog.pg_get_constraintdef(c.oid), c.convalidated, \
         c.conrelid::pg_catalog.regclass::text, c.conrelid = {oid}, \
         c.contype = 'f' AND c.confrelid = {oid}, \
         (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), E'\\n' \
         ORDER BY pg_catalog.array_position(c.conkey, a.attnum)) FROM pg_catalog.pg_attribute a \
         WHERE a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)), \
         pg_catalog.obj_description(c.oid, 'pg_constraint') \
         FROM pg_catalog.pg_constraint c \
         WHERE c.conrelid = {oid} OR (c.contype = 'f' AND c.confrelid = {oid}) ORDER BY c.oid"
    )
}

fn constraint(row: &[Option<String>]) -> Constraint {
    Constraint {
        name: text(row, 0).to_owned(),
        kind: text(row, 1).to_owned(),
        definition: text(row, 2).to_owned(),
        valid: yes(row, 3),
        table: text(row, 4).to_owned(),
        own: yes(row, 5),
        refers: yes(row, 6),
        columns: text(row, 7).split('\n').map(requoted).collect(),
        comment: some(row, 8),
    }
}

/// A name as `quote_ident` gives it, always in quotes.
fn requoted(name: &str) -> String {
    match name.starts_with('"') {
        true => name.to_owned(),
        false => quoted(name),
    }
}

fn indexes_query(oid: &str) -> String {
    format!(
        "SELECT c.relname, pg_catalog.pg_get_indexdef(i.indexrelid), \
         pg_catalog.obj_description(c.oid, 'pg_class') \
         FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
         WHERE i.indrelid = {oid} AND i.indisvalid AND NOT i.indisprimary AND NOT EXISTS \
         (SELECT 1 FROM pg_catalog.pg_constraint k WHERE k.conindid = i.indexrelid \
         AND k.contype IN ('p', 'u', 'x')) ORDER BY c.oid"
    )
}

fn index(row: &[Option<String>]) -> Index {
    Index {
        name: text(row, 0).to_owned(),
        definition: text(row, 1).to_owned(),
        comment: some(row, 2),
    }
}

/// Views, functions and statistics that know the table by more than its name (numbers of catalogs:
/// pg_type 1247, pg_proc 1255, pg_class 1259, pg_rewrite 2618, pg_statistic_ext 3381).
/// Views that read the table: their number, then name, definition and options of each.
fn views_query(oid: &str) -> String {
    let views = format!(
        "(SELECT DISTINCT r.ev_class FROM pg_catalog.pg_depend d \
         JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid \
         WHERE d.classid = 2618 AND d.refclassid = 1259 AND d.refobjid = {oid} \
         AND r.ev_class <> {oid}) AS w"
    );
    format!(
        "SELECT NULL, count(*)::text, NULL FROM {views} UNION ALL \
         SELECT v.oid::pg_catalog.regclass::text, pg_catalog.pg_get_viewdef(v.oid), \
         pg_catalog.array_to_string(v.reloptions, ', ') \
         FROM {views} JOIN pg_catalog.pg_class v ON v.oid = w.ev_class"
    )
}

/// The answer to that; `None` when one was too long to be kept.
fn views(rows: &[Vec<Option<String>>]) -> Option<Vec<View>> {
    let (count, rows) = rows.split_first()?;
    let view = |row: &Vec<Option<String>>| View {
        name: text(row, 0).to_owned(),
        definition: text(row, 1).to_owned(),
        options: some(row, 2).filter(|options| !options.is_empty()),
    };
    let views: Vec<View> = rows.iter().map(view).collect();
    (text(count, 1) == views.len().to_string()).then_some(views)
}

fn rights_query(oid: &str) -> String {
    format!(
        "SELECT x.privilege_type || ' TO ' || CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE \
         pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) END || \
         CASE WHEN x.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END \
         FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) x \
         WHERE c.oid = {oid} AND x.grantee <> c.relowner ORDER BY 1"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_moment_are_the_same_each_time() {
        assert_eq!(alias("old", "t"), "dsqlproxy_old_f10c3da3_t");
        let long = "ü".repeat(31);
        assert!(alias("index", &long).len() <= 63);
        assert_ne!(alias("old", &long), alias("old", &"ü".repeat(30)));
    }

    #[test]
    fn indexes_go_with_their_columns() {
        let cases = [
            ("CREATE INDEX i ON public.t USING btree (a, b)", true),
            ("CREATE INDEX i ON public.t USING btree (lower(a))", true),
            (
                "CREATE INDEX i ON public.t USING btree (b) INCLUDE (a)",
                true,
            ),
            (
                "CREATE INDEX i ON public.t USING btree (b) WHERE (a > 0)",
                true,
            ),
            ("CREATE INDEX a ON public.a USING btree (b)", false),
        ];
        for (definition, expected) in cases {
            assert_eq!(index_names(definition, "a"), expected, "{definition}");
        }
    }

    #[test]
    fn a_foreign_key_names_the_columns_it_refers_to() {
        let definition = "FOREIGN KEY (a) REFERENCES s.t(id, \"N\") ON DELETE CASCADE";
        let expected = ["\"id\"", "\"N\""].map(str::to_owned).to_vec();
        assert_eq!(referred(definition), Some(expected));
        assert_eq!(referred("CHECK (a > 0)"), None);
    }

    #[test]
    fn foreign_keys_refer_to_the_table_that_takes_the_name() {
        let cases = [
            (
                "FOREIGN KEY (a) REFERENCES t(id) ON DELETE CASCADE",
                "FOREIGN KEY (a) REFERENCES \"s\".\"t\"(id) ON DELETE CASCADE",
            ),
            (
                "FOREIGN KEY (a) REFERENCES \"x(y\"(id, b) NOT VALID",
                "FOREIGN KEY (a) REFERENCES \"s\".\"t\"(id, b) NOT VALID",
            ),
        ];
        for (definition, expected) in cases {
            assert_eq!(referring_to(definition, "\"s\".\"t\""), expected);
        }
    }
}
