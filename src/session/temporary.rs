//! Temporary tables of a session: ordinary tables under names that nobody else knows, made and dropped
//! on connections of their own, so that no transaction of the client is in their way.

use std::rc::Rc;

use pg_query::NodeEnum;

use crate::policy::temporary::{self, AtCommit, Filling, SCHEMA};
use crate::policy::{Action, Decision};
use crate::sql::Statement;
use crate::wire::frame::HEADER;
use crate::wire::frontend;
use crate::wire::reply::ClientError;
use crate::wire::sqlstate;

use super::advisory::{Locks, VIEW};
use super::run::Session;
use super::verdict::Part;

/// Temporary tables that a session has.
#[derive(Debug)]
pub(super) struct Temporary {
    tables: Vec<Table>,
    locks: Rc<Locks>,
    /// The transaction that is about to end is rolled back.
    rolls_back: bool,
    /// Real names of those that a statement under way drops.
    going: Vec<String>,
}

/// One of them.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub name: String,
    /// Its name in the schema of the proxy.
    pub real: String,
    /// Names of its foreign keys.
    pub foreign_keys: Vec<String>,
    /// It was made in the transaction under way.
    pub fresh: bool,
    pub at_commit: AtCommit,
    /// It was named in the transaction under way.
    pub touched: bool,
}

/// What is to be done for a CREATE TEMP TABLE.
#[derive(Debug)]
pub(super) struct Making {
    pub table: Table,
    /// Statements, each in a transaction of its own.
    pub steps: Vec<String>,
    /// The query that makes and fills it, in place of steps.
    pub filling: Option<Filling>,
    pub notices: Vec<u8>,
}

impl Temporary {
    pub fn new(locks: Rc<Locks>) -> Self {
        Self {
            tables: Vec::new(),
            locks,
            rolls_back: false,
            going: Vec::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    fn find(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }

    pub fn add(&mut self, table: Table) {
        // Of a transaction before it that had none.
        self.rolls_back &= !self.tables.is_empty();
        self.tables.push(table);
    }

    /// A text with the tables by their real names.
    pub fn translate(&mut self, text: &[u8]) -> Option<Vec<u8>> {
        if self.tables.is_empty() {
            return None;
        }
        let text = std::str::from_utf8(text).ok()?;
        let names = |table: &'_ Table| (table.name.clone(), table.real.clone());
        let names: Vec<(String, String)> = self.tables.iter().map(names).collect();
        let names: Vec<(&str, &str)> = names
            .iter()
            .map(|(name, real)| (name.as_str(), real.as_str()))
            .collect();
        let keys = self.tables.iter().flat_map(|table| &table.foreign_keys);
        let keys: Vec<String> = keys.cloned().collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let text = temporary::translate(text, &names, &keys)?;
        for table in &mut self.tables {
            table.touched |= text.contains(&table.real);
        }
        Some(text.into_bytes())
    }

    /// An ErrorResponse in which the tables have their names again; `None` when it names none.
    pub fn in_clients_words(&self, body: &[u8]) -> Option<Vec<u8>> {
        let mut told: Option<Vec<u8>> = None;
        for table in &self.tables {
            for (real, name) in [
                (temporary::own_prefix(&table.real), ""),
                (table.real.clone(), table.name.as_str()),
            ] {
                let own = told.as_deref().unwrap_or(body);
                let pieces: Vec<&[u8]> = split_at(own, real.as_bytes());
                if pieces.len() > 1 {
                    told = Some(pieces.join(name.as_bytes()));
                }
            }
        }
        // The field with the schema's name.
        let field = format!("\0s{SCHEMA}\0");
        told.map(|told| split_at(&told, field.as_bytes()).join(&b"\0spg_temp\0"[..]))
    }

    /// The transaction that is about to end is rolled back, or is not.
    pub fn note_end(&mut self, rolls_back: bool) {
        self.rolls_back = rolls_back;
    }

    /// Whether the transaction that is over was rolled back.
    pub fn take_end(&mut self) -> bool {
        std::mem::take(&mut self.rolls_back)
    }

    /// A transaction is over. Gives the tables whose rows go with it.
    pub fn settle(&mut self, rolled_back: bool) -> Vec<String> {
        let locks = Rc::clone(&self.locks);
        let mut emptied = Vec::new();
        self.tables.retain_mut(|table| {
            let touched = std::mem::take(&mut table.touched);
            if touched && !rolled_back && table.at_commit == AtCommit::Empty {
                emptied.push(table.real.clone());
            }
            let goes = match rolled_back {
                true => table.fresh,
                false => table.at_commit == AtCommit::Drop,
            };
            table.fresh = false;
            if goes {
                locks.drop_table(&table.real);
            }
            !goes
        });
        emptied
    }

    /// One that is a view goes, since another takes its place.
    fn drop_view(&mut self, name: &str) {
        let locks = Rc::clone(&self.locks);
        self.tables.retain(|table| {
            let goes = table.name == name && table.real.ends_with(VIEW);
            if goes {
                locks.drop_table(&table.real);
            }
            !goes
        });
    }

    /// All of them go.
    pub fn drop_all(&mut self) {
        for table in self.tables.drain(..) {
            self.locks.drop_table(&table.real);
        }
    }

    /// A statement has failed: none is dropped.
    pub fn fail(&mut self) {
        self.going.clear();
    }

    /// Tables that a statement has dropped have no names any more.
    pub fn forget_gone(&mut self) {
        let going = std::mem::take(&mut self.going);
        self.tables.retain(|table| !going.contains(&table.real));
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        self.drop_all();
    }
}

impl Session {
    /// A Query or Parse with temporary tables by their real names; `None` when it names none.
    pub(super) fn with_real_names(&mut self, tag: u8, bytes: &[u8]) -> Option<Vec<u8>> {
        if self.temporary.is_empty() {
            return None;
        }
        let body = bytes.get(HEADER..)?;
        let mut frame = Vec::new();
        if tag == b'Q' {
            let text = self.temporary.translate(frontend::query(body).ok()?)?;
            frontend::put_query(&mut frame, &text);
        } else {
            let parse = frontend::parse(body).ok()?;
            let text = self.temporary.translate(parse.text)?;
            frontend::put_parse(&mut frame, parse.name, &text, parse.types);
        }
        Some(frame)
    }

    /// A text is carried out. DROP TABLE and DROP VIEW of temporary ones: their names are free when it is done.
    /// `text`: with the real names.
    pub(super) fn note_dropped(&mut self, text: &[u8]) {
        if self.temporary.is_empty() {
            return;
        }
        let drops = text
            .windows(4)
            .any(|word| word.eq_ignore_ascii_case(b"drop"));
        if drops {
            let dropped = temporary::dropped(&String::from_utf8_lossy(text));
            self.temporary.going.extend(dropped);
        }
    }

    /// What a CREATE TEMP TABLE takes; `Ok(None)` when there is nothing to do.
    pub(super) fn making_of(&mut self, part: &Part) -> Result<Option<Making>, ClientError> {
        let Some(statement) = part.statement.as_deref() else {
            return Err(not_available("this temporary table cannot be made"));
        };
        let view = matches!(statement.node(), Some(NodeEnum::ViewStmt(_)));
        let real = self.env.locks.table_name(view);
        let creation = temporary::creation(statement, &real)
            .ok_or_else(|| not_available("this temporary table cannot be made"))?;
        if creation.replaces {
            self.temporary.drop_view(&creation.name);
        }
        if self.temporary.find(&creation.name).is_some() {
            return match creation.if_not_exists {
                true => Ok(None),
                false => Err(ClientError::error(
                    "42P07",
                    format!("relation \"{}\" already exists", creation.name),
                )),
            };
        }
        let names = (real.as_str(), creation.name.as_str());
        let (text, notices, filling) = match creation.filling {
            None => {
                let (text, notices) = self.text_of(&creation.text, names)?;
                (text, notices, None)
            }
            Some(_) if self.transaction.wrote => {
                return Err(not_available(
                    "a temporary table cannot be made from a query in a transaction that has changed rows",
                )
                .hint("CREATE TEMP TABLE with its columns, then INSERT INTO ... SELECT."));
            }
            Some(filling) => {
                let (query, notices) = self.text_of(&filling.query, names)?;
                let query = query.into_iter().next().unwrap_or_default();
                (Vec::new(), notices, Some(Filling { query, ..filling }))
            }
        };
        Ok(Some(Making {
            table: Table {
                name: creation.name,
                real,
                foreign_keys: creation.foreign_keys,
                fresh: true,
                at_commit: creation.at_commit,
                touched: filling.is_some(),
            },
            steps: text,
            filling,
            notices,
        }))
    }

    /// What policy makes of a text, and what it tells; the table's real name and the client's.
    fn text_of(
        &mut self,
        text: &str,
        (real, name): (&str, &str),
    ) -> Result<(Vec<String>, Vec<u8>), ClientError> {
        let text = match self.temporary.translate(text.as_bytes()) {
            Some(text) => String::from_utf8_lossy(&text).into_owned(),
            None => text.to_owned(),
        };
        let mut decision = self.decision_of(&text)?;
        for notice in &mut decision.notices {
            notice.message = notice.message.replace(real, name);
        }
        let notices = self.notices(&decision.notices);
        let steps = match decision.action {
            Action::Forward => vec![text],
            Action::Rewrite(rewrite) => rewrite.steps.into_iter().map(|step| step.sql).collect(),
            Action::Reject(error) => return Err(error),
            Action::Emulate(_) | Action::Answer(_) => {
                return Err(not_available("this temporary table cannot be made"));
            }
        };
        Ok((steps, notices))
    }

    /// What policy makes of it by itself, outside the client's transaction.
    fn decision_of(&self, text: &str) -> Result<Decision, ClientError> {
        let statement = Statement::read(text).ok().and_then(|mut read| read.pop());
        statement
            .and_then(|statement| self.decide_alone(&statement))
            .ok_or_else(|| not_available("this temporary table cannot be made"))
    }
}

/// The pieces between all occurrences of `name`.
fn split_at<'a>(text: &'a [u8], name: &[u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut from = 0;
    for at in memchr::memmem::find_iter(text, name) {
        pieces.push(&text[from..at]);
        from = at + name.len();
    }
    pieces.push(&text[from..]);
    pieces
}

fn not_available(message: &str) -> ClientError {
    ClientError::error(sqlstate::FEATURE_NOT_SUPPORTED, message)
}

/// What makes the schema of temporary tables.
pub(super) fn schema_text() -> String {
    format!("CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
}
