//! What a transaction has made and committed in the middle, so that it can go again should the client
//! roll back.
//!
//! An object counts as the transaction's own when its statement succeeded and it was found, by the
//! statement's own words and in the session's search path, right behind the commit; from there on it is
//! known by its OID. What takes it away is in [`super::advisory`].

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

use crate::policy::{Creation, DdlInTransaction, Level, Notice, SPLIT};

use super::advisory::{Locks, Waiting};
use super::run::Session;

/// A client that connects, or begins a transaction, waits at most so long for what others' rollbacks undo.
const PATIENCE: Duration = Duration::from_secs(10);

/// It looks so often.
const LOOK: Duration = Duration::from_millis(5);

/// An object as the catalogs have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Made {
    /// The catalog that it is in.
    pub catalog: Catalog,
    /// Its OID.
    pub oid: String,
}

/// Where an object is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Catalog {
    /// `pg_class`.
    Relation,
    /// `pg_namespace`.
    Schema,
    /// `pg_type`.
    Domain,
}

impl Catalog {
    fn word(self) -> &'static str {
        match self {
            Self::Relation => "relation",
            Self::Schema => "schema",
            Self::Domain => "domain",
        }
    }
}

/// Those of a session.
pub(super) struct Creations {
    locks: Rc<Locks>,
    /// Made in the transaction under way upstream, if nothing fails.
    expected: Vec<Creation>,
    /// The search path may have changed within the client's transaction: names without a schema are not
    /// found where they were made.
    strayed: bool,
    /// Committed, while the client's transaction is still open.
    made: Vec<Made>,
    /// They are being undone; what the client is told then.
    undoing: Option<Waiting<Vec<String>>>,
    /// Nobody has asked how far that is.
    begun: bool,
    /// A client that connects waits for others' to be undone.
    pause: Option<Pin<Box<Sleep>>>,
    since: Option<Instant>,
}

impl std::fmt::Debug for Creations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Creations")
            .field("expected", &self.expected)
            .field("made", &self.made)
            .finish_non_exhaustive()
    }
}

impl Creations {
    pub fn new(locks: Rc<Locks>) -> Self {
        Self {
            locks,
            expected: Vec::new(),
            strayed: false,
            made: Vec::new(),
            undoing: None,
            begun: false,
            pause: None,
            since: None,
        }
    }

    /// Statements were sent that make these.
    pub fn expect(&mut self, creations: &[Creation]) {
        if !self.strayed {
            self.expected.extend_from_slice(creations);
        }
    }

    /// The search path may be another from here on: what is made is left alone, until the client's
    /// transaction is over.
    pub fn stray(&mut self) {
        self.strayed = true;
        self.expected.clear();
    }

    /// What was made in the transaction that is about to be committed in the middle.
    pub fn take_expected(&mut self) -> Vec<Creation> {
        std::mem::take(&mut self.expected)
    }

    /// A statement has failed, or was undone: what the transaction has made is not known any more.
    pub fn fail(&mut self) {
        self.expected.clear();
    }

    /// These were committed.
    pub fn add(&mut self, made: Vec<Made>) {
        self.made.extend(made);
    }

    /// Something would go with a rollback.
    pub fn is_unsettled(&self) -> bool {
        !self.made.is_empty()
    }

    /// All of it stays: the client has committed, or nobody knows.
    pub fn forget(&mut self) {
        self.strayed = false;
        self.expected.clear();
        self.made.clear();
    }

    /// The client's transaction is over. What was not committed by the client goes again.
    pub fn settle(&mut self) {
        self.strayed = false;
        self.expected.clear();
        if !self.made.is_empty() {
            let undone = self.locks.undo(std::mem::take(&mut self.made));
            self.wait_for(undone);
        }
    }

    /// The client's requests wait for this too.
    pub fn wait_for(&mut self, next: Waiting<Vec<String>>) {
        self.begun = true;
        self.undoing = Some(match self.undoing.take() {
            None => next,
            Some(before) => Box::pin(async move {
                let mut told = before.await;
                told.extend(next.await);
                told
            }),
        });
    }

    /// Something has begun that nobody has polled yet.
    pub fn take_begun(&mut self) -> bool {
        std::mem::take(&mut self.begun)
    }

    /// The client's requests wait for what its rollback undoes.
    pub fn is_undoing(&self) -> bool {
        self.undoing.is_some()
    }
}

impl Drop for Creations {
    fn drop(&mut self) {
        if !self.made.is_empty() {
            drop(self.locks.undo(std::mem::take(&mut self.made)));
        }
    }
}

impl Session {
    /// Goes on with what a rollback undoes; true when that is done.
    pub(super) fn run_undoing(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(undoing) = &mut self.creations.undoing else {
            return false;
        };
        let Poll::Ready(told) = undoing.as_mut().poll(cx) else {
            return false;
        };
        self.creations.undoing = None;
        let notices: Vec<Notice> = told.into_iter().map(warning).collect();
        let notices = self.notices(&notices);
        self.answers().extend_from_slice(&notices);
        true
    }

    /// What comes next begins a transaction, and what others have rolled back is still being undone: an
    /// object that is listed now may be gone in a moment, and the change of the schema would be a conflict.
    pub(super) fn waits_for_others(&mut self, cx: &mut Context<'_>) -> bool {
        let begins = self.switches.ddl_in_transaction == DdlInTransaction::Split
            && self.lease.is_none()
            && self.procedure.is_none()
            && !self.creations.is_undoing()
            && !self.cin.unread().is_empty();
        begins && self.waits_for_undoing(cx)
    }

    /// A client that has just connected waits for what others' rollbacks undo: those may have been its
    /// own, on a connection that it has closed.
    pub(super) fn waits_for_undoing(&mut self, cx: &mut Context<'_>) -> bool {
        let creations = &mut self.creations;
        loop {
            if !self.env.pool.is_undoing() {
                creations.pause = None;
                creations.since = None;
                return false;
            }
            let since = *creations.since.get_or_insert_with(Instant::now);
            if since.elapsed() > PATIENCE {
                creations.pause = None;
                return false;
            }
            let pause = creations
                .pause
                .get_or_insert_with(|| Box::pin(tokio::time::sleep(LOOK)));
            if pause.as_mut().poll(cx).is_pending() {
                return true;
            }
            creations.pause = None;
        }
    }
}

fn warning(message: String) -> Notice {
    Notice {
        level: Level::Warning,
        code: "01000",
        message,
        hint: None,
        once: false,
        rule: SPLIT.into(),
    }
}

/// Looks up objects by the words of the statements that made them: OID and catalog of each.
pub(super) fn look_up(creations: &[Creation]) -> String {
    let each = creations.iter().map(|creation| match creation {
        Creation::Relation(name) => format!(
            "SELECT c.oid::text, '{}' FROM pg_catalog.pg_class c WHERE c.oid = pg_catalog.to_regclass({}) AND {OWN}",
            Catalog::Relation.word(),
            literal(name)
        )
        .replace("{of}", "c.relnamespace"),
        Creation::Index { table, name } => format!(
            "SELECT c.oid::text, '{}' FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
             WHERE i.indrelid = pg_catalog.to_regclass({}) AND c.relname = {}",
            Catalog::Relation.word(),
            literal(table),
            literal(name)
        ),
        Creation::Schema(name) => format!(
            "SELECT n.oid::text, '{}' FROM pg_catalog.pg_namespace n WHERE n.nspname = {}",
            Catalog::Schema.word(),
            literal(name)
        ),
        Creation::Domain(name) => format!(
            "SELECT t.oid::text, '{}' FROM pg_catalog.pg_type t WHERE t.oid = pg_catalog.to_regtype({}) AND t.typtype = 'd' AND {OWN}",
            Catalog::Domain.word(),
            literal(name)
        )
        .replace("{of}", "t.typnamespace"),
    });
    each.collect::<Vec<String>>().join(" UNION ALL ")
}

/// What the system has is nobody's creation.
const OWN: &str = "{of} NOT IN (SELECT n.oid FROM pg_catalog.pg_namespace n \
     WHERE n.nspname IN ('pg_catalog', 'information_schema', 'sys'))";

/// The answer to that.
pub(super) fn found(rows: &[Vec<Option<String>>]) -> Vec<Made> {
    let made = rows.iter().filter_map(|row| {
        let [Some(oid), Some(word)] = row.as_slice() else {
            return None;
        };
        let catalogs = [Catalog::Relation, Catalog::Schema, Catalog::Domain];
        let catalog = catalogs
            .into_iter()
            .find(|catalog| catalog.word() == word)?;
        Some(Made {
            catalog,
            oid: oid.clone(),
        })
    });
    made.collect()
}

fn literal(text: &str) -> String {
    match text.contains('\\') {
        true => format!(" E'{}'", text.replace('\\', "\\\\").replace('\'', "''")),
        false => format!("'{}'", text.replace('\'', "''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_is_looked_up_and_known_by_its_oid() {
        let sql = look_up(&[
            Creation::Relation("\"s\".\"it's\"".to_owned()),
            Creation::Schema("s".to_owned()),
        ]);
        assert!(sql.contains("to_regclass('\"s\".\"it''s\"') AND c.relnamespace NOT IN"));
        assert!(sql.contains(" UNION ALL "));
        let row = |oid: &str, word: &str| vec![Some(oid.to_owned()), Some(word.to_owned())];
        assert_eq!(
            found(&[row("17", "relation"), row("18", "schema"), vec![None, None]]),
            [
                Made {
                    catalog: Catalog::Relation,
                    oid: "17".to_owned()
                },
                Made {
                    catalog: Catalog::Schema,
                    oid: "18".to_owned()
                }
            ]
        );
    }
}
