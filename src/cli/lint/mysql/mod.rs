//! `lint --from mysql`: files of MySQL in PostgreSQL's words, before the rules of the dialect look
//! at them.
//!
//! The statements are read by a parser of MySQL's dialect; what is made of them is read again by
//! PostgreSQL's own grammar, and refused if that does not take it.

mod script;
mod table;
mod text;
mod types;

use std::collections::{HashMap, HashSet};

use sqlparser::ast::{
    AlterTable, AlterTableOperation, Expr, Insert, ObjectType, OnInsert, SetExpr, Statement,
    TableConstraint, TableObject,
};
use sqlparser::dialect::MySqlDialect;
use sqlparser::parser::Parser;

use self::table::Table;
use self::text::{constant, identifier, last, respell};
use self::types::Values;
use crate::sql::tree::nesting;
use crate::wire::reply::ClientError;

/// Rows of one INSERT: Aurora DSQL takes 3,000 in a transaction.
const ROWS: usize = 1000;

/// A statement of MySQL in PostgreSQL's words.
#[derive(Debug, Default)]
pub(super) struct Converted {
    /// Where it begins in its file, in bytes.
    pub at: usize,
    /// Its text.
    pub text: String,
    /// What takes its place; nothing for what is left out.
    pub sql: Vec<String>,
    /// What takes its place at the end of the file, where all tables are there.
    pub later: Vec<String>,
    /// What the reader is told.
    pub notices: Vec<String>,
    /// Why nothing takes its place.
    pub refusal: Option<ClientError>,
}

impl Converted {
    fn notice(&mut self, notice: impl Into<String>) {
        self.notices.push(notice.into());
    }

    fn warning(&mut self, warning: impl AsRef<str>) {
        self.notices.push(format!("WARNING: {}", warning.as_ref()));
    }

    fn refuse(&mut self, message: impl Into<String>, hint: &str) {
        let error = ClientError::error("0A000", message);
        self.refusal = Some(match hint {
            "" => error,
            hint => error.hint(hint),
        });
    }
}

/// Converts the statements of a file.
pub(super) fn convert(text: &str) -> Vec<Converted> {
    let parts = script::parts(text);
    let mut read: Vec<(script::Part, Result<Statement, String>)> = Vec::new();
    for part in parts {
        let statement = match is_known(&part.text) {
            Some(_) => Err(String::new()),
            None => parse(&part.text),
        };
        read.push((part, statement));
    }
    let mut converter = Converter {
        later: later_keys(&read),
        ..Converter::default()
    };
    read.into_iter()
        .map(|(part, statement)| {
            let mut out = Converted {
                at: part.at,
                ..Converted::default()
            };
            match (is_known(&part.text), statement) {
                (Some(Known::LeftOut("")), _) => {}
                (Some(Known::LeftOut(why)), _) => out.notice(why),
                (Some(Known::Refused(what, hint)), _) => {
                    out.refuse(format!("{what} of MySQL cannot be converted"), hint);
                }
                (None, Err(error)) => {
                    out.refusal = Some(ClientError::error("42601", error));
                }
                (None, Ok(statement)) => converter.statement(&statement, &mut out),
            }
            out.text = part.text;
            verify(&mut out);
            out
        })
        .collect()
}

fn parse(text: &str) -> Result<Statement, String> {
    let mut read = Parser::parse_sql(&MySqlDialect {}, text).map_err(|error| error.to_string())?;
    match (read.pop(), read.is_empty()) {
        (Some(statement), true) => Ok(statement),
        _ => Err("not one statement".to_owned()),
    }
}

/// PostgreSQL's grammar has the last word about what was made.
fn verify(out: &mut Converted) {
    let wrong = out
        .sql
        .iter()
        .chain(&out.later)
        .find_map(|sql| nesting::read(sql).err());
    if let Some(error) = wrong {
        out.sql.clear();
        out.later.clear();
        out.notices.clear();
        out.refusal = Some(
            ClientError::error("42601", format!("what is made of it is not SQL: {error}"))
                .hint("Write the statement for PostgreSQL."),
        );
    }
}

/// Statements that are told by their first words.
enum Known {
    /// Nothing is needed in their place.
    LeftOut(&'static str),
    /// They are programs.
    Refused(&'static str, &'static str),
}

fn is_known(text: &str) -> Option<Known> {
    let words: Vec<String> = text
        .split_whitespace()
        .take(12)
        .map(str::to_ascii_uppercase)
        .collect();
    let word = |at: usize| words.get(at).map_or("", String::as_str);
    let left_out = |why| Some(Known::LeftOut(why));
    match (word(0), word(1)) {
        ("SET" | "FLUSH" | "UNLOCK" | "ANALYZE" | "OPTIMIZE" | "CHECK", _) => left_out(""),
        ("LOCK", "TABLES" | "TABLE") => left_out(""),
        ("BEGIN" | "COMMIT", _) | ("START", "TRANSACTION") => {
            left_out("MySQL commits at every DDL statement; the transaction is left out")
        }
        ("USE", _) | ("CREATE" | "DROP" | "ALTER", "DATABASE" | "SCHEMA") => {
            left_out("databases of MySQL are left out; make a schema and set search_path to it")
        }
        ("ALTER", "TABLE") if matches!(word(3), "DISABLE" | "ENABLE") && word(4) == "KEYS" => {
            left_out("")
        }
        ("CREATE" | "DROP", _) => {
            // DEFINER and SQL SECURITY stand before the kind.
            let kind = words.iter().skip(1).find_map(|word| match word.as_str() {
                "TRIGGER" => Some("a trigger"),
                "PROCEDURE" => Some("a procedure"),
                "FUNCTION" => Some("a function"),
                "EVENT" => Some("an event"),
                _ => None,
            });
            let before = words
                .iter()
                .take_while(|word| !matches!(word.as_str(), "TABLE" | "VIEW" | "INDEX" | "KEY"))
                .count();
            match kind {
                Some(kind) if before == words.len() => {
                    Some(Known::Refused(kind, "Do it in the application."))
                }
                _ => None,
            }
        }
        ("DELIMITER" | "SOURCE", _) => left_out(""),
        _ => None,
    }
}

/// What a file adds to its tables after it has made them.
#[derive(Debug, Default)]
struct Later {
    keys: Vec<TableConstraint>,
    auto_increment: HashSet<String>,
}

/// Keys and counters that ALTER TABLE adds to tables of the same file.
fn later_keys(read: &[(script::Part, Result<Statement, String>)]) -> HashMap<String, Later> {
    let mut made = HashSet::new();
    let mut later: HashMap<String, Later> = HashMap::new();
    for (_, statement) in read {
        match statement {
            Ok(Statement::CreateTable(create)) => {
                made.insert(last(&create.name).to_lowercase());
            }
            Ok(Statement::AlterTable(alter)) => {
                let name = last(&alter.name).to_lowercase();
                if !made.contains(&name) {
                    continue;
                }
                let table = later.entry(name).or_default();
                for operation in &alter.operations {
                    match operation {
                        AlterTableOperation::AddConstraint { constraint, .. }
                            if is_key(constraint) =>
                        {
                            table.keys.push(constraint.clone());
                        }
                        AlterTableOperation::ModifyColumn {
                            col_name, options, ..
                        } if options.iter().any(table::is_auto_increment) => {
                            table.auto_increment.insert(col_name.value.to_lowercase());
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    later
}

fn is_key(constraint: &TableConstraint) -> bool {
    matches!(
        constraint,
        TableConstraint::PrimaryKey(_) | TableConstraint::Unique(_)
    )
}

#[derive(Debug, Default)]
struct Converter {
    later: HashMap<String, Later>,
    /// What values of the columns look like, by table.
    columns: HashMap<String, Vec<(String, Values)>>,
}

impl Converter {
    fn statement(&mut self, statement: &Statement, out: &mut Converted) {
        match statement {
            Statement::CreateTable(create) => {
                let name = last(&create.name).to_lowercase();
                let later = self.later.get(&name);
                let columns = {
                    let mut table = Table::new(&name, out);
                    table.create(
                        create,
                        later.map(|later| (&later.keys, &later.auto_increment)),
                    );
                    table.columns
                };
                self.columns.insert(name, columns);
            }
            Statement::AlterTable(alter) => self.alter(alter, out),
            Statement::CreateIndex(create) => {
                let table = last(&create.table_name).to_lowercase();
                let name = create.name.as_ref().map(last);
                Table::new(&table, out).index(name, &create.columns, create.unique);
            }
            Statement::Insert(insert) => self.insert(insert, out),
            Statement::Drop {
                object_type: ObjectType::Table | ObjectType::View,
                names,
                if_exists,
                ..
            } => {
                let kind = match statement {
                    Statement::Drop {
                        object_type: ObjectType::View,
                        ..
                    } => "VIEW",
                    _ => "TABLE",
                };
                let names: Vec<String> = names.iter().map(|name| identifier(last(name))).collect();
                let condition = if *if_exists { "IF EXISTS " } else { "" };
                out.sql.push(format!(
                    "DROP {kind} {condition}{} CASCADE",
                    names.join(", ")
                ));
            }
            Statement::Truncate(truncate) => {
                for table in &truncate.table_names {
                    out.sql
                        .push(format!("TRUNCATE {}", identifier(last(&table.name))));
                }
            }
            Statement::CreateView(view) => {
                let name = identifier(last(&view.name));
                let query = respell(&view.query.to_string());
                out.sql.push(format!("CREATE VIEW {name} AS {query}"));
                foreign_functions(&query, out);
            }
            Statement::Query(_) | Statement::Update(_) | Statement::Delete(_) => {
                let sql = respell(&statement.to_string());
                foreign_functions(&sql, out);
                out.sql.push(sql);
            }
            _ => out.refuse(
                "this statement of MySQL cannot be converted",
                "Write it for PostgreSQL.",
            ),
        }
    }

    fn alter(&mut self, alter: &AlterTable, out: &mut Converted) {
        let name = last(&alter.name).to_lowercase();
        let is_made = self.columns.contains_key(&name);
        let table_name = identifier(&name);
        for operation in &alter.operations {
            match operation {
                AlterTableOperation::AddConstraint { constraint, .. }
                    if is_made && is_key(constraint) =>
                {
                    out.notice("the key is part of CREATE TABLE");
                }
                AlterTableOperation::AddConstraint { constraint, .. } => {
                    Table::new(&name, out).add(constraint);
                }
                AlterTableOperation::ModifyColumn { options, .. }
                    if is_made && options.iter().any(table::is_auto_increment) =>
                {
                    out.notice("the column numbers its rows from CREATE TABLE on");
                }
                // Identities go on behind what the sequence gave; rows of the file have their own.
                AlterTableOperation::AutoIncrement { .. } => {}
                AlterTableOperation::AddColumn { column_def, .. } => {
                    let mut table = Table::new(&name, out);
                    if let Some(column) = table.column(column_def, false) {
                        let sql = format!("ALTER TABLE {table_name} ADD COLUMN {column}");
                        let added = std::mem::take(&mut table.columns);
                        table.out.sql.insert(0, sql);
                        self.columns.entry(name.clone()).or_default().extend(added);
                    }
                }
                AlterTableOperation::DropColumn { column_names, .. } => {
                    for column in column_names {
                        let column = identifier(&column.value);
                        out.sql
                            .push(format!("ALTER TABLE {table_name} DROP COLUMN {column}"));
                    }
                }
                AlterTableOperation::DropForeignKey { name, .. } => {
                    let name = identifier(&name.value);
                    out.sql
                        .push(format!("ALTER TABLE {table_name} DROP CONSTRAINT {name}"));
                }
                AlterTableOperation::RenameColumn {
                    old_column_name,
                    new_column_name,
                } => out.sql.push(format!(
                    "ALTER TABLE {table_name} RENAME COLUMN {} TO {}",
                    identifier(&old_column_name.value),
                    identifier(&new_column_name.value)
                )),
                other => {
                    let words: Vec<String> = other
                        .to_string()
                        .split_whitespace()
                        .take(3)
                        .map(str::to_owned)
                        .collect();
                    out.refuse(
                        format!("{} cannot be converted", words.join(" ")),
                        "Write the table as it shall be in CREATE TABLE.",
                    );
                }
            }
        }
    }

    fn insert(&mut self, insert: &Insert, out: &mut Converted) {
        let TableObject::TableName(name) = &insert.table else {
            return out.refuse("this INSERT cannot be converted", "");
        };
        if insert.replace_into {
            return out.refuse(
                "REPLACE cannot be converted",
                "Write INSERT ... ON CONFLICT (key) DO UPDATE.",
            );
        }
        if let Some(OnInsert::DuplicateKeyUpdate(_)) = insert.on {
            return out.refuse(
                "ON DUPLICATE KEY UPDATE names no key, and ON CONFLICT DO UPDATE must",
                "Write INSERT ... ON CONFLICT (key) DO UPDATE.",
            );
        }
        let table = last(name).to_lowercase();
        let known = self.columns.get(&table).map_or(&[][..], Vec::as_slice);
        let names: Vec<String> = insert
            .columns
            .iter()
            .map(|name| last(name).to_lowercase())
            .collect();
        let values = |at: usize| {
            let column = match names.get(at) {
                Some(name) => known.iter().find(|(known, _)| known == name),
                None => known.get(at),
            };
            column.map_or(Values::Text, |(_, values)| *values)
        };
        let mut head = format!("INSERT INTO {}", identifier(&table));
        if !names.is_empty() {
            let names: Vec<String> = names.iter().map(|name| identifier(name)).collect();
            head.push_str(&format!(" ({})", names.join(", ")));
        }
        let tail = if insert.ignore {
            " ON CONFLICT DO NOTHING"
        } else {
            ""
        };
        let rows = match insert.source.as_deref().map(|query| &*query.body) {
            Some(SetExpr::Values(rows)) => &rows.rows,
            Some(_) => {
                let query = insert.source.as_deref().map(ToString::to_string);
                let sql = respell(&query.unwrap_or_default());
                foreign_functions(&sql, out);
                return out.sql.push(format!("{head} {sql}{tail}"));
            }
            None => return out.refuse("this INSERT cannot be converted", ""),
        };
        for batch in rows.chunks(ROWS) {
            let mut printed = Vec::with_capacity(batch.len());
            for row in batch {
                match self.row(&row.content, &values) {
                    Some(row) => printed.push(row),
                    None => {
                        return out.refuse(
                            "a value of this INSERT cannot be converted",
                            "Write values as constants.",
                        );
                    }
                }
            }
            out.sql
                .push(format!("{head} VALUES {}{tail}", printed.join(", ")));
        }
        if rows.len() > ROWS {
            out.notice(format!(
                "its {} rows are inserted in parts, since Aurora DSQL takes 3,000 in a transaction",
                rows.len()
            ));
        }
    }

    fn row(&self, row: &[Expr], values: &dyn Fn(usize) -> Values) -> Option<String> {
        let constants: Option<Vec<String>> = row
            .iter()
            .enumerate()
            .map(|(at, value)| constant(value, values(at)))
            .collect();
        Some(format!("({})", constants?.join(", ")))
    }
}

/// Functions that mean the same in both; others stop the conversion.
const FUNCTIONS: [&str; 34] = [
    "abs",
    "avg",
    "cast",
    "ceil",
    "ceiling",
    "char_length",
    "coalesce",
    "concat",
    "concat_ws",
    "count",
    "exists",
    "floor",
    "greatest",
    "in",
    "left",
    "least",
    "length",
    "lower",
    "ltrim",
    "max",
    "min",
    "mod",
    "now",
    "nullif",
    "power",
    "replace",
    "right",
    "round",
    "row_number",
    "rtrim",
    "sum",
    "trim",
    "upper",
    "values",
];

fn foreign_functions(sql: &str, out: &mut Converted) {
    for token in sql.split_inclusive('(') {
        let Some(head) = token.strip_suffix('(') else {
            break;
        };
        let start = head
            .rfind(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'))
            .map_or(0, |at| at + 1);
        let name = &head[start..];
        let name = name.to_ascii_lowercase();
        if !name.is_empty()
            && !FUNCTIONS.contains(&name.as_str())
            && !matches!(
                name.as_str(),
                "and"
                    | "or"
                    | "not"
                    | "on"
                    | "where"
                    | "from"
                    | "select"
                    | "as"
                    | "join"
                    | "by"
                    | "when"
                    | "then"
                    | "else"
                    | "having"
                    | "between"
                    | "union"
                    | "all"
                    | "like"
                    | "using"
                    | "is"
                    | "over"
                    | "distinct"
                    | "any"
                    | "some"
                    | "case"
            )
        {
            out.sql.clear();
            return out.refuse(
                format!("function {name}() of MySQL may mean something else in PostgreSQL"),
                "Write the statement for PostgreSQL.",
            );
        }
    }
}

#[cfg(test)]
mod tests;
