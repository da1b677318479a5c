//! Takes back what a rolled back transaction had made and committed in the middle, the newest first.
//!
//! Nobody else loses anything by it. A table goes only when it is the one that was made (by its OID) and
//! holds no row, after a CHECK that no row satisfies has kept writers out: that is DDL, so a
//! transaction that has written to it meanwhile is refused (OC001). Nothing goes by CASCADE: what others
//! have built on it keeps it.

use std::rc::Rc;

use crate::policy::temporary::SCHEMA;
use crate::pool::AskError;
use crate::session::creations::{Catalog, Made};
use crate::session::procedure::quoted;

use super::{Locks, Waiting, literal, refusal};

/// The CHECK that keeps writers out.
const CLOSED: &str = "dsqlproxy_rolled_back";

/// Why something stays.
enum Kept {
    /// It is not there any more.
    Gone,
    /// Others would lose something, in words.
    Because(String),
}

impl From<AskError> for Kept {
    fn from(error: AskError) -> Self {
        Self::Because(refusal(error).message)
    }
}

impl Locks {
    /// Takes them back, whoever waits for it; gives what the client is told.
    pub(in crate::session) fn undo(self: &Rc<Self>, made: Vec<Made>) -> Waiting<Vec<String>> {
        let locks = Rc::clone(self);
        let (done, told) = tokio::sync::oneshot::channel();
        self.pool.note_undoing(true);
        tokio::task::spawn_local(async move {
            let mut words = Vec::new();
            for made in made.iter().rev() {
                words.extend(locks.undo_one(made).await);
            }
            locks.pool.note_undoing(false);
            // A client that has left is told nothing.
            let _ = done.send(words);
        });
        Box::pin(async move { told.await.unwrap_or_default() })
    }

    /// Deletes the rows of temporary tables whose transaction is over; gives what the client is told.
    pub fn empty_tables(self: &Rc<Self>, reals: Vec<String>) -> Waiting<Vec<String>> {
        let locks = Rc::clone(self);
        Box::pin(async move {
            let mut words = Vec::new();
            for real in reals {
                let sql = format!("DELETE FROM {SCHEMA}.{}", quoted(&real));
                if let Err(error) = locks.again(None, &sql).await {
                    let cause = error.message;
                    words.push(format!(
                        "the rows of a temporary table that should go with COMMIT stay: {cause}"
                    ));
                }
            }
            words
        })
    }

    async fn undo_one(&self, made: &Made) -> Option<String> {
        let (word, name) = match self.name_of(made).await {
            Ok(found) => found?,
            Err(error) => {
                let cause = refusal(error).message;
                tracing::warn!(
                    oid = made.oid,
                    cause,
                    "what a rolled back transaction has made stays"
                );
                return Some(format!(
                    "something that the rolled back transaction had made stays: {cause}"
                ));
            }
        };
        let outcome = match word {
            "table" => self.undo_table(made, &name).await,
            word => {
                let sql = format!("DROP {} {name}", word.to_uppercase());
                self.look(&sql).await.map(|_| ()).map_err(Kept::from)
            }
        };
        match outcome {
            Ok(()) => Some(format!(
                "{word} {name}, which had been committed around other statements, was dropped, since the transaction was rolled back"
            )),
            Err(Kept::Gone) => None,
            Err(Kept::Because(cause)) => Some(format!(
                "{word} {name}, which had been committed around other statements, stays, though the transaction was rolled back: {cause}"
            )),
        }
    }

    /// What it is and what it is called now; `None` when it is gone.
    async fn name_of(&self, made: &Made) -> Result<Option<(&'static str, String)>, AskError> {
        let oid = &made.oid;
        let sql = match made.catalog {
            Catalog::Relation => format!(
                "SELECT c.relkind::text, n.nspname, c.relname FROM pg_catalog.pg_class c \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = {oid}"
            ),
            Catalog::Schema => {
                format!("SELECT 's', NULL, nspname FROM pg_catalog.pg_namespace WHERE oid = {oid}")
            }
            Catalog::Domain => format!(
                "SELECT t.typtype::text, n.nspname, t.typname FROM pg_catalog.pg_type t \
                 JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE t.oid = {oid}"
            ),
        };
        let asked = self.look(&sql).await?;
        let Some([Some(kind), schema, Some(name)]) = asked.first().map(Vec::as_slice) else {
            return Ok(None);
        };
        let word = match (made.catalog, kind.as_str()) {
            (Catalog::Relation, "r") => "table",
            (Catalog::Relation, "v") => "view",
            (Catalog::Relation, "S") => "sequence",
            (Catalog::Relation, "i") => "index",
            (Catalog::Schema, _) => "schema",
            (Catalog::Domain, _) => "domain",
            _ => return Ok(None),
        };
        let name = match schema {
            Some(schema) => format!("{}.{}", quoted(schema), quoted(name)),
            None => quoted(name),
        };
        Ok(Some((word, name)))
    }

    async fn undo_table(&self, made: &Made, name: &str) -> Result<(), Kept> {
        let close = format!("ALTER TABLE {name} ADD CONSTRAINT {CLOSED} CHECK (false) NOT VALID");
        match self.look(&close).await {
            Err(AskError::Refused(code, _)) if code == "42P01" => return Err(Kept::Gone),
            Err(error) => return Err(error.into()),
            Ok(_) => {}
        }
        let dropped = self.drop_empty(made, name).await;
        if dropped.is_err() {
            let open = format!("ALTER TABLE {name} DROP CONSTRAINT {CLOSED}");
            if let Err(error) = self.look(&open).await {
                let cause = refusal(error).message;
                tracing::error!(
                    table = name,
                    constraint = CLOSED,
                    cause,
                    "a table stays closed to writers"
                );
            }
        }
        dropped
    }

    async fn drop_empty(&self, made: &Made, name: &str) -> Result<(), Kept> {
        let sql = format!(
            "SELECT pg_catalog.to_regclass({})::pg_catalog.oid::text, EXISTS (SELECT 1 FROM {name})::text",
            literal(name)
        );
        let rows = self.look(&sql).await?;
        match rows.first().map(Vec::as_slice) {
            Some([Some(oid), Some(filled)]) if *oid == made.oid => match filled.as_str() {
                "false" => {
                    self.look(&format!("DROP TABLE {name}")).await?;
                    Ok(())
                }
                _ => Err(Kept::Because("there are rows in it".to_owned())),
            },
            _ => Err(Kept::Gone),
        }
    }

    /// Runs a statement until nobody's change is in the way.
    async fn look(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, AskError> {
        for attempt in 0..super::SWAPS {
            match self.pool.ask(sql).await {
                Err(AskError::Refused(code, _)) if code == "40001" => {
                    tokio::time::sleep(super::pause(attempt)).await;
                }
                outcome => {
                    if !sql.starts_with("SELECT") {
                        self.pool.note_schema_change();
                    }
                    return outcome.map(|asked| asked.rows);
                }
            }
        }
        Err(AskError::Lost(
            "others change it again and again".to_owned(),
        ))
    }
}
