//! Created databases in the cluster: schemas with a comment that says what they are. Whoever uses one
//! holds a shared lock on its name, whoever changes one an exclusive one, so that all proxies agree.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::sleep;

use crate::policy::LockWish;
use crate::policy::databases::{
    CLOSED, CONSOLE, Created, DatabaseChange, MAINTENANCE, Naming, PREFIX, schema_name,
};
use crate::pool::AskError;
use crate::wire::reply::ClientError;
use crate::wire::sqlstate;

use super::{Locks, Own, Part, SWAPS, Waiting, Wish, is_passing, literal, pause, refusal};

/// Sessions that are about to end are waited for, as by PostgreSQL.
const PATIENCE: Duration = Duration::from_secs(5);

/// The only database that a cluster has.
const CLUSTERS: &str = "postgres";

/// Names that are tried for the schema of one database.
const ATTEMPTS: u32 = 10;

/// Ends the sessions of this process in a created database.
pub(in crate::session) type Evict = Rc<dyn Fn(&str)>;

/// Keeps a created database from being dropped.
#[derive(Debug)]
pub struct Occupancy {
    _lock: Own,
}

impl Locks {
    /// The created database of a name.
    ///
    /// # Errors
    /// The cluster did not answer.
    pub async fn find_database(&self, name: &str) -> Result<Option<Created>, ClientError> {
        let (known, _) = self.databases().await?;
        Ok(known.into_iter().find(|created| created.name == name))
    }

    /// Keeps a database from being dropped or renamed for as long as what is given lives.
    ///
    /// # Errors
    /// Others are changing it.
    pub async fn occupy(self: &Rc<Self>, name: &str) -> Result<Occupancy, ClientError> {
        let own = Own::new(Rc::clone(self));
        own.carry_out(vec![wish(name, LockWish::Lock, true)])
            .await?;
        Ok(Occupancy { _lock: own })
    }

    /// All of them, and the names of all schemas that are theirs or look so.
    async fn databases(&self) -> Result<(Vec<Created>, Vec<String>), ClientError> {
        let sql = format!(
            "SELECT nspname, pg_catalog.obj_description(oid, 'pg_namespace') \
             FROM pg_catalog.pg_namespace WHERE starts_with(nspname::text, '{PREFIX}')"
        );
        let asked = self.change(&sql).await?;
        let mut known = Vec::new();
        let mut schemas = Vec::new();
        for row in asked.rows {
            let mut values = row.into_iter();
            let Some(schema) = values.next().flatten() else {
                continue;
            };
            let comment = values.next().flatten().unwrap_or_default();
            known.extend(Created::read(&schema, &comment));
            schemas.push(schema);
        }
        Ok((known, schemas))
    }

    /// A statement that may be run twice, until nobody is in its way.
    async fn change(&self, sql: &str) -> Result<crate::pool::Asked, ClientError> {
        for attempt in 0..SWAPS {
            match self.pool.ask(sql).await {
                Err(error) if is_passing(&error) => sleep(pause(attempt)).await,
                Err(AskError::Refused(code, message)) => {
                    return Err(refusal(AskError::Refused(code, message)));
                }
                outcome => return outcome.map_err(refusal),
            }
        }
        Err(ClientError::error(
            sqlstate::SERIALIZATION_FAILURE,
            "the schema was changed by others again and again",
        ))
    }

    /// Carries a statement about databases out. False: there was nothing to do.
    pub(in crate::session) fn change_database(
        self: &Rc<Self>,
        change: DatabaseChange,
        by: Rc<Naming>,
        evict: Evict,
    ) -> Waiting<Result<bool, ClientError>> {
        let locks = Rc::clone(self);
        Box::pin(async move {
            let own = Own::new(Rc::clone(&locks));
            let outcome = locks.change_locked(&own, &change, &by, &evict).await;
            // Others are to get at it as soon as the client knows.
            let free = Wish {
                wish: LockWish::UnlockAll,
                ..wish("", LockWish::UnlockAll, false)
            };
            let _ = own.carry_out(vec![free]).await;
            if matches!(outcome, Ok(true)) {
                locks.pool.note_schema_change();
            }
            outcome
        })
    }

    async fn change_locked(
        &self,
        own: &Own,
        change: &DatabaseChange,
        by: &Naming,
        evict: &Evict,
    ) -> Result<bool, ClientError> {
        let name = change.name();
        match change {
            DatabaseChange::Create { name } => {
                check_name(name)?;
                if is_given(name, by) {
                    return Err(exists(name));
                }
                lock(own, name).await?;
                self.create(own, name, by).await.map(|()| true)
            }
            DatabaseChange::Drop {
                if_exists, force, ..
            } => {
                let found = self.find_database(name).await?;
                check_change(name, found.as_ref(), by, "drop")?;
                if found.is_none() {
                    return match if_exists {
                        true => Ok(false),
                        false => Err(missing(name)),
                    };
                }
                if *force {
                    evict(name);
                }
                lock(own, name).await?;
                // Whoever made one of that name meanwhile may be somebody else.
                let found = self.find_database(name).await?;
                check_change(name, found.as_ref(), by, "drop")?;
                let Some(created) = found else {
                    return Err(missing(name));
                };
                self.change(&format!(
                    "DROP SCHEMA IF EXISTS {} CASCADE",
                    quoted(&created.schema)
                ))
                .await?;
                tracing::info!(database = name, user = by.user, "dropped a database");
                Ok(true)
            }
            DatabaseChange::Rename { to, .. } => {
                check_name(to)?;
                let found = self.find_database(name).await?;
                check_change(name, found.as_ref(), by, "rename")?;
                if is_given(to, by) {
                    return Err(exists(to));
                }
                lock(own, name).await?;
                lock(own, to).await?;
                let (known, _) = self.databases().await?;
                if known.iter().any(|created| created.name == *to) {
                    return Err(exists(to));
                }
                let found = known.into_iter().find(|created| created.name == name);
                check_change(name, found.as_ref(), by, "rename")?;
                let Some(created) = found else {
                    return Err(missing(name));
                };
                let created = Created {
                    name: to.clone(),
                    ..created
                };
                self.describe(&created).await.map(|()| true)
            }
        }
    }

    async fn create(&self, own: &Own, name: &str, by: &Naming) -> Result<(), ClientError> {
        let (mut known, _) = self.databases().await?;
        if known.iter().any(|created| created.name == name) {
            return Err(exists(name));
        }
        let mut free = None;
        for schema in (0..ATTEMPTS).map(|attempt| schema_name(name, attempt)) {
            let is_described = |known: &[Created]| known.iter().any(|one| one.schema == schema);
            if is_described(&known) {
                continue;
            }
            // A database of another name may be about to take it.
            lock_schema(own, &schema).await?;
            let schemas;
            (known, schemas) = self.databases().await?;
            // Without a comment it was left behind, and goes if nothing is in it.
            if !is_described(&known)
                && (!schemas.contains(&schema)
                    || self
                        .change(&format!("DROP SCHEMA IF EXISTS {}", quoted(&schema)))
                        .await
                        .is_ok())
            {
                free = Some(schema);
                break;
            }
        }
        let Some(schema) = free else {
            return Err(exists(name));
        };
        let created = Created {
            name: name.to_owned(),
            entry: by.entry.clone(),
            owner: by.user.clone(),
            schema,
        };
        let make = format!("CREATE SCHEMA IF NOT EXISTS {}", quoted(&created.schema));
        self.change(&make).await.map_err(|error| match error.code {
            sqlstate::PROGRAM_LIMIT_EXCEEDED => error.hint(
                "Each created database is a schema, of which a cluster of Aurora DSQL has ten, those of the proxy included: drop databases or schemas that are not needed.",
            ),
            _ => error,
        })?;
        let described = self.describe(&created).await;
        if described.is_err() {
            let undo = format!("DROP SCHEMA IF EXISTS {}", quoted(&created.schema));
            if let Err(error) = self.change(&undo).await {
                tracing::warn!(
                    schema = created.schema,
                    cause = error.message,
                    "the schema of a database that could not be created stays"
                );
            }
        } else {
            tracing::info!(database = name, user = by.user, "created a database");
        }
        described
    }

    async fn describe(&self, created: &Created) -> Result<(), ClientError> {
        let sql = format!(
            "COMMENT ON SCHEMA {} IS {}",
            quoted(&created.schema),
            literal(&created.comment())
        );
        self.change(&sql).await.map(drop)
    }
}

async fn lock(own: &Own, name: &str) -> Result<(), ClientError> {
    let locked = own.carry_out(vec![wish(name, LockWish::Lock, false)]).await;
    match locked {
        Ok(_) => Ok(()),
        Err(error) if error.code == "55P03" => Err(ClientError::error(
            "55006",
            format!("database \"{name}\" is being accessed by other users"),
        )
        .detail("There are other sessions using the database.")
        .hint("Close them; DROP DATABASE ... WITH (FORCE) ends those of this proxy.")),
        Err(error) => Err(error),
    }
}

/// The schema of a new database. No database has a line's end in its name.
async fn lock_schema(own: &Own, schema: &str) -> Result<(), ClientError> {
    let locked = own
        .carry_out(vec![wish(&format!("\n{schema}"), LockWish::Lock, false)])
        .await;
    match locked {
        Ok(_) => Ok(()),
        Err(error) if error.code == "55P03" => Err(ClientError::error(
            "55006",
            "another database is being created in the schema for this one",
        )
        .hint("Try again.")),
        Err(error) => Err(error),
    }
}

fn wish(name: &str, wish: LockWish, shared: bool) -> Wish {
    Wish {
        wish,
        shared,
        transaction: false,
        key: Some(vec![Part::Name(format!("database {name}"))]),
        // Beside those of any database.
        database: String::new(),
        timeout: Some(PATIENCE),
        open: true,
    }
}

fn check_name(name: &str) -> Result<(), ClientError> {
    match name.is_empty() || name.contains(['\n', '\r']) {
        true => Err(ClientError::error(
            "42602",
            "a database cannot have this name",
        )),
        false => Ok(()),
    }
}

/// The configuration, or PostgreSQL, has a database of this name.
fn is_given(name: &str, by: &Naming) -> bool {
    name == CLOSED || name == CONSOLE || MAINTENANCE.contains(&name) || by.is_entry(name)
}

fn check_change(
    name: &str,
    found: Option<&Created>,
    by: &Naming,
    word: &str,
) -> Result<(), ClientError> {
    if name == by.database {
        return Err(match word {
            "drop" => ClientError::error("55006", "cannot drop the currently open database"),
            _ => ClientError::error(
                sqlstate::FEATURE_NOT_SUPPORTED,
                "current database cannot be renamed",
            ),
        });
    }
    if name == CLUSTERS {
        let message = format!("database \"{name}\" is the cluster's own");
        return Err(ClientError::error("42501", message));
    }
    if name == CLOSED || MAINTENANCE.contains(&name) {
        let message = format!("cannot {word} a template database");
        return Err(ClientError::error("42809", message));
    }
    if by.is_entry(name) {
        return Err(ClientError::error(
            "42501",
            format!("database \"{name}\" is an entry of the proxy's configuration"),
        )
        .hint("Change the configuration."));
    }
    match found {
        Some(created) if !by.may_use(created) => Err(ClientError::error(
            "42501",
            format!("must be owner of database {name}"),
        )),
        None if word != "drop" => Err(missing(name)),
        _ => Ok(()),
    }
}

fn exists(name: &str) -> ClientError {
    ClientError::error("42P04", format!("database \"{name}\" already exists"))
}

fn missing(name: &str) -> ClientError {
    ClientError::error(
        sqlstate::INVALID_CATALOG_NAME,
        format!("database \"{name}\" does not exist"),
    )
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
