//! CREATE TABLE of MySQL, and the parts of it that ALTER TABLE adds.

use std::collections::HashSet;

use sqlparser::ast::{
    ColumnDef, ColumnOption, CreateTable, CreateTableOptions, Expr, ForeignKeyConstraint, Ident,
    IndexColumn, OrderBySort, SqlOption, TableConstraint,
};
use sqlparser::tokenizer::Token;

use super::Converted;
use super::text::{constant, identifier, last, list, literal, respell};
use super::types::{self, Values};

/// Longest name in PostgreSQL, in bytes.
const LONGEST_NAME: usize = 63;

/// A table on its way.
pub(super) struct Table<'a> {
    name: &'a str,
    pub out: &'a mut Converted,
    /// Its columns so far.
    pub columns: Vec<(String, Values)>,
}

/// Keys and counters that come later in the file.
type Later<'a> = (&'a Vec<TableConstraint>, &'a HashSet<String>);

pub(super) fn is_auto_increment(option: &ColumnOption) -> bool {
    matches!(option, ColumnOption::DialectSpecific(tokens)
        if tokens.iter().any(|token| matches!(token, Token::Word(word)
            if word.value.eq_ignore_ascii_case("auto_increment"))))
}

impl<'a> Table<'a> {
    pub(super) fn new(name: &'a str, out: &'a mut Converted) -> Self {
        Self {
            name,
            out,
            columns: Vec::new(),
        }
    }

    pub(super) fn create(&mut self, create: &CreateTable, later: Option<Later<'_>>) {
        if create.query.is_some() || create.like.is_some() || create.temporary {
            return self.out.refuse(
                "this CREATE TABLE of MySQL cannot be converted",
                "Write its columns.",
            );
        }
        let mut elements = Vec::new();
        for column in &create.columns {
            let counts = later
                .is_some_and(|(_, counters)| counters.contains(&column.name.value.to_lowercase()));
            match self.column(column, counts) {
                Some(column) => elements.push(column),
                None => return,
            }
        }
        let added = later.map_or(&[][..], |(keys, _)| keys.as_slice());
        let mut indexes = Vec::new();
        for constraint in create.constraints.iter().chain(added) {
            match constraint {
                TableConstraint::PrimaryKey(key) => {
                    let columns = self.key_columns(&key.columns, true);
                    elements.push(format!("PRIMARY KEY ({columns})"));
                }
                TableConstraint::Unique(key) => {
                    let name = key.name.as_ref().or(key.index_name.as_ref());
                    let name = self.object_name(name, &key.columns);
                    let columns = self.key_columns(&key.columns, true);
                    elements.push(format!("CONSTRAINT {name} UNIQUE ({columns})"));
                }
                TableConstraint::Check(check) => {
                    let name = check.name.as_ref().map_or(String::new(), |name| {
                        format!("CONSTRAINT {} ", identifier(&name.value))
                    });
                    let condition = respell(&check.expr.to_string());
                    elements.push(format!("{name}CHECK ({condition})"));
                }
                other => indexes.push(other),
            }
        }
        let condition = if create.if_not_exists {
            "IF NOT EXISTS "
        } else {
            ""
        };
        let table = identifier(self.name);
        self.out.sql.insert(
            0,
            format!("CREATE TABLE {condition}{table} ({})", elements.join(", ")),
        );
        for constraint in indexes {
            self.add(constraint);
        }
        if let Some(comment) = comment(create) {
            let comment = literal(&comment);
            self.out
                .sql
                .push(format!("COMMENT ON TABLE {table} IS {comment}"));
        }
        self.tell_of_names(&create.columns);
    }

    fn tell_of_names(&mut self, columns: &[ColumnDef]) {
        let folded: Vec<&str> = columns
            .iter()
            .map(|column| column.name.value.as_str())
            .filter(|name| name.chars().any(char::is_uppercase))
            .collect();
        if !folded.is_empty() {
            let names = folded.join(", ");
            self.out
                .notice(format!("names are in lower case now: {names}"));
        }
    }

    /// A column's definition; `None` when it cannot be had.
    pub(super) fn column(&mut self, column: &ColumnDef, counts: bool) -> Option<String> {
        let name = column.name.value.to_lowercase();
        let Some(mut mapped) = types::map(&column.data_type, &name) else {
            let message = format!(
                "a column cannot be of type {} on Aurora DSQL (\"{name}\")",
                column.data_type.to_string().to_lowercase()
            );
            self.out
                .refuse(message, "Use text, jsonb or columns of numbers.");
            return None;
        };
        let counts = counts
            || column
                .options
                .iter()
                .any(|option| is_auto_increment(&option.option));
        if counts {
            mapped.name = "bigint".to_owned();
            mapped.notice = Some(format!(
                "column \"{name}\" is a bigint that numbers its rows as an identity"
            ));
        }
        self.out.notices.extend(mapped.notice.take());
        if let Some(warning) = mapped.warning.take() {
            self.out.warning(warning);
        }
        self.columns.push((name.clone(), mapped.values));
        let mut parts = vec![identifier(&name), mapped.name.clone()];
        if counts {
            parts.push("GENERATED BY DEFAULT AS IDENTITY (CACHE 1)".to_owned());
        }
        for option in &column.options {
            parts.extend(self.option(&option.option, &name, mapped.values, counts)?);
        }
        if let Some(check) = mapped.check {
            parts.push(format!("CHECK ({check})"));
        }
        Some(parts.join(" "))
    }

    /// What an option becomes; the outer `None` is that the column cannot be had.
    fn option(
        &mut self,
        option: &ColumnOption,
        column: &str,
        values: Values,
        counts: bool,
    ) -> Option<Option<String>> {
        Some(match option {
            ColumnOption::NotNull => Some("NOT NULL".to_owned()),
            ColumnOption::PrimaryKey(_) => Some("PRIMARY KEY".to_owned()),
            ColumnOption::Unique(_) => Some("UNIQUE".to_owned()),
            ColumnOption::Default(_) if counts => None,
            ColumnOption::Default(value) => self.default(value, column, values)?,
            ColumnOption::Check(check) => {
                Some(format!("CHECK ({})", respell(&check.expr.to_string())))
            }
            ColumnOption::Generated {
                generation_expr: Some(expression),
                ..
            } => Some(format!(
                "GENERATED ALWAYS AS ({}) STORED",
                respell(&expression.to_string())
            )),
            ColumnOption::Comment(comment) => {
                self.out.sql.push(format!(
                    "COMMENT ON COLUMN {}.{} IS {}",
                    identifier(self.name),
                    identifier(column),
                    literal(comment)
                ));
                None
            }
            ColumnOption::OnUpdate(_) => {
                self.out.warning(format!(
                    "ON UPDATE CURRENT_TIMESTAMP of column \"{column}\" is left out; the application has to set it"
                ));
                None
            }
            ColumnOption::ForeignKey(key) => {
                let key = ForeignKeyConstraint {
                    columns: vec![Ident::new(column)],
                    ..key.clone()
                };
                self.foreign_key(&key);
                None
            }
            ColumnOption::Null
            | ColumnOption::CharacterSet(_)
            | ColumnOption::Collation(_)
            | ColumnOption::DialectSpecific(_)
            | ColumnOption::Invisible => None,
            other => {
                let message = format!("{other} of column \"{column}\" cannot be converted");
                self.out.refuse(message, "");
                return None;
            }
        })
    }

    fn default(&mut self, value: &Expr, column: &str, values: Values) -> Option<Option<String>> {
        match constant(value, values) {
            Some(constant) if constant == "NULL" => {
                if value.to_string().contains("0000-") {
                    self.out.warning(format!(
                        "DEFAULT {value} of column \"{column}\" is left out: it is no date"
                    ));
                }
                Some(None)
            }
            Some(constant) => Some(Some(format!("DEFAULT {constant}"))),
            None => {
                let message = format!("DEFAULT {value} of column \"{column}\" cannot be converted");
                self.out.refuse(message, "Use a constant.");
                None
            }
        }
    }

    /// A constraint or index of a table that is there.
    pub(super) fn add(&mut self, constraint: &TableConstraint) {
        let table = identifier(self.name);
        match constraint {
            TableConstraint::PrimaryKey(key) => {
                let columns = self.key_columns(&key.columns, true);
                self.out
                    .sql
                    .push(format!("ALTER TABLE {table} ADD PRIMARY KEY ({columns})"));
            }
            TableConstraint::Unique(key) => {
                let name = key.name.as_ref().or(key.index_name.as_ref());
                let name = self.object_name(name, &key.columns);
                let columns = self.key_columns(&key.columns, true);
                self.out.sql.push(format!(
                    "ALTER TABLE {table} ADD CONSTRAINT {name} UNIQUE ({columns})"
                ));
            }
            TableConstraint::ForeignKey(key) => self.foreign_key(key),
            TableConstraint::Check(check) => {
                let condition = respell(&check.expr.to_string());
                let name = check.name.as_ref().map_or(String::new(), |name| {
                    format!("CONSTRAINT {} ", identifier(&name.value))
                });
                self.out
                    .sql
                    .push(format!("ALTER TABLE {table} ADD {name}CHECK ({condition})"));
            }
            TableConstraint::Index(index) => {
                let name = index.name.as_ref().map(|name| name.value.as_str());
                self.index(name, &index.columns, false);
            }
            TableConstraint::FulltextOrSpatial(index) => {
                let kind = if index.fulltext {
                    "FULLTEXT"
                } else {
                    "SPATIAL"
                };
                self.out.warning(format!(
                    "the {kind} index of table \"{}\" is left out; Aurora DSQL has none of its kind",
                    self.name
                ));
            }
            _ => self
                .out
                .refuse("this constraint of MySQL cannot be converted", ""),
        }
    }

    fn foreign_key(&mut self, key: &ForeignKeyConstraint) {
        let name = key.name.as_ref().map_or(String::new(), |name| {
            format!("CONSTRAINT {} ", identifier(&name.value))
        });
        let referred = match key.referred_columns.is_empty() {
            true => String::new(),
            false => format!(" ({})", list(&key.referred_columns)),
        };
        let mut sql = format!(
            "ALTER TABLE {} ADD {name}FOREIGN KEY ({}) REFERENCES {}{referred}",
            identifier(self.name),
            list(&key.columns),
            identifier(last(&key.foreign_table))
        );
        if let Some(action) = &key.on_delete {
            sql.push_str(&format!(" ON DELETE {action}"));
        }
        if let Some(action) = &key.on_update {
            sql.push_str(&format!(" ON UPDATE {action}"));
        }
        self.out.later.push(sql);
    }

    pub(super) fn index(&mut self, name: Option<&str>, columns: &[IndexColumn], unique: bool) {
        let name = self.object_name(name.map(Ident::new).as_ref(), columns);
        let columns = self.key_columns(columns, false);
        let unique = if unique { "UNIQUE " } else { "" };
        let table = identifier(self.name);
        self.out.sql.push(format!(
            "CREATE {unique}INDEX {name} ON {table} ({columns})"
        ));
    }

    /// Names of MySQL's keys are those of a table, names of PostgreSQL's those of a schema.
    fn object_name(&self, name: Option<&Ident>, columns: &[IndexColumn]) -> String {
        let own = match (name, columns.first()) {
            (Some(name), _) => name.value.to_lowercase(),
            (None, Some(column)) => first_word(&column.column.expr),
            (None, None) => "key".to_owned(),
        };
        let mut full = format!("{}_{own}", self.name);
        if !full.ends_with("_idx") && name.is_none() {
            full.push_str("_idx");
        }
        let mut end = full.len().min(LONGEST_NAME);
        while !full.is_char_boundary(end) {
            end -= 1;
        }
        identifier(&full[..end])
    }

    fn key_columns(&mut self, columns: &[IndexColumn], is_key: bool) -> String {
        let printed: Vec<String> = columns
            .iter()
            .map(|column| {
                let order = match column.column.options.sort {
                    Some(OrderBySort::Desc) if !is_key => " DESC",
                    _ => "",
                };
                match &column.column.expr {
                    Expr::Identifier(name) => format!("{}{order}", identifier(&name.value)),
                    // `name(10)`: the first ten characters.
                    Expr::Function(prefix) => {
                        let name = last(&prefix.name).to_lowercase();
                        self.out.warning(format!(
                            "the key over the first characters of column \"{name}\" is over the whole; values above 1 KiB are refused there"
                        ));
                        format!("{}{order}", identifier(&name))
                    }
                    other => format!("({}){order}", respell(&other.to_string())),
                }
            })
            .collect();
        printed.join(", ")
    }
}

fn first_word(expression: &Expr) -> String {
    match expression {
        Expr::Identifier(name) => name.value.to_lowercase(),
        Expr::Function(prefix) => last(&prefix.name).to_lowercase(),
        _ => "expr".to_owned(),
    }
}

/// The table's COMMENT.
fn comment(create: &CreateTable) -> Option<String> {
    let CreateTableOptions::Plain(options) = &create.table_options else {
        return None;
    };
    options.iter().find_map(|option| match option {
        SqlOption::Comment(comment) => match comment {
            sqlparser::ast::CommentDef::WithEq(text)
            | sqlparser::ast::CommentDef::WithoutEq(text) => Some(text.clone()),
        },
        _ => None,
    })
}
