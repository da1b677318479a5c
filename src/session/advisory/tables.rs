//! Temporary tables of a worker's sessions: made and dropped here, and those of workers that are gone
//! are cleared away.

use std::rc::Rc;

use rand::Rng;
use tokio::time::sleep;

use crate::policy::temporary::{Filling, SCHEMA};
use crate::policy::unstorable;
use crate::pool::{AskError, Asked};
use crate::session::procedure::{columns, quoted, storable};
use crate::session::temporary::schema_text;
use crate::wire::reply::ClientError;

use super::{
    Chore, Held, Locks, SWAPS, Taken, Waiting, is_conflict, is_missing, is_passing, is_there,
    literal, pause, refusal,
};

/// Names of views end so.
pub(in crate::session) const VIEW: &str = "v";

impl Locks {
    /// A name that no other temporary table or view has: of the worker, and a number.
    pub fn table_name(&self, view: bool) -> String {
        let number: u32 = rand::rng().random();
        let kind = if view { VIEW } else { "" };
        format!("t{}_{number:08x}{kind}", self.instance)
    }

    /// Runs the statements that make a table, each by itself.
    /// Gives the rows that a query put into it, if one did. `path`: the session's `search_path`.
    pub fn make_table(
        self: &Rc<Self>,
        real: String,
        steps: Vec<String>,
        filling: Option<Filling>,
        path: Option<String>,
    ) -> Waiting<Result<Option<u64>, ClientError>> {
        self.keep();
        let locks = Rc::clone(self);
        Box::pin(async move {
            locks.come_alive().await?;
            for sql in &steps {
                match locks.run_ddl(path.as_deref(), sql).await {
                    // Domains that columns need stay for the next ones.
                    Err(AskError::Refused(code, _))
                        if is_there(&code) && unstorable::makes_type(sql) => {}
                    outcome => outcome.map_err(passed_on)?,
                }
            }
            match &filling {
                Some(filling) => locks.fill(&real, filling, path.as_deref()).await.map(Some),
                None => Ok(None),
            }
        })
    }

    /// Makes a table with the columns of a query, and puts its rows into it.
    async fn fill(
        &self,
        real: &str,
        filling: &Filling,
        path: Option<&str>,
    ) -> Result<u64, ClientError> {
        let query = &filling.query;
        let asked = self
            .again(path, &format!("SELECT * FROM ({query}) AS query LIMIT 0"))
            .await?;
        let found = columns(&asked.columns);
        let types: Vec<String> = found
            .iter()
            .map(|(_, oid, modifier)| format!("pg_catalog.format_type({oid}, {modifier})"))
            .collect();
        if types.is_empty() {
            return Err(ClientError::error(
                "0A000",
                "a temporary table cannot be made from this query",
            ));
        }
        let asked = self
            .again(path, &format!("SELECT {}", types.join(", ")))
            .await?;
        let types = asked.rows.first().cloned().unwrap_or_default();
        let given = filling.columns.iter();
        let rest = found
            .iter()
            .skip(filling.columns.len())
            .map(|column| &column.0);
        let columns: Vec<String> = given
            .chain(rest)
            .zip(types.iter().flatten())
            .map(|(name, of)| format!("{} {}", quoted(name), storable(of)))
            .collect();
        let table = format!("{SCHEMA}.{real}");
        let create = format!("CREATE TABLE {table} ({})", columns.join(", "));
        self.run_ddl(path, &create).await.map_err(passed_on)?;
        if !filling.with_data {
            return Ok(0);
        }
        let asked = self
            .again(path, &format!("INSERT INTO {table} {query}"))
            .await?;
        let rows = asked.tag.rsplit(' ').next();
        Ok(rows.and_then(|rows| rows.parse().ok()).unwrap_or(0))
    }

    /// Runs a statement until nobody's change is in its way.
    pub(super) async fn again(&self, path: Option<&str>, sql: &str) -> Result<Asked, ClientError> {
        for attempt in 0..SWAPS {
            match self.pool.ask_in(path, sql).await {
                Err(AskError::Refused(code, _)) if code == "40001" => sleep(pause(attempt)).await,
                outcome => return outcome.map_err(passed_on),
            }
        }
        Err(ClientError::error(
            "40001",
            "others change what the query reads again and again",
        ))
    }

    /// Leaves it to the keeper to drop a table.
    pub fn drop_table(&self, real: &str) {
        self.leave(Chore::Drop(real.to_owned()));
    }

    pub(super) async fn run_ddl(&self, path: Option<&str>, sql: &str) -> Result<(), AskError> {
        let mut made = false;
        for attempt in 0.. {
            match self.pool.ask_in(path, sql).await {
                Ok(_) => {
                    self.pool.note_schema_change();
                    break;
                }
                Err(AskError::Refused(code, _)) if is_missing(&code) && !made => {
                    made = true;
                    self.run_schema().await?;
                }
                Err(AskError::Refused(code, _)) if code == "40001" && attempt < SWAPS => {
                    sleep(pause(attempt)).await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn run_schema(&self) -> Result<(), AskError> {
        for attempt in 0.. {
            match self.pool.ask(&schema_text()).await {
                Err(AskError::Refused(code, _)) if is_there(&code) => break,
                Err(AskError::Refused(code, _)) if is_conflict(&code) && attempt < SWAPS => {
                    sleep(pause(attempt)).await;
                }
                Err(error) => return Err(error),
                Ok(_) => break,
            }
        }
        Ok(())
    }

    /// The worker says that it lives, and looks for tables of those that do not.
    async fn come_alive(self: &Rc<Self>) -> Result<(), ClientError> {
        if self.alive.replace(true) {
            return Ok(());
        }
        let key = format!("worker/{}", self.instance);
        match self.take(&key, &self.instance, false).await {
            Ok(Taken::Until(until)) => {
                let held = Held::new(key, self.instance.clone(), false);
                held.until.set(until);
                self.held.borrow_mut().push(Rc::new(held));
                self.leave(Chore::Reap);
                Ok(())
            }
            Ok(Taken::By(_)) => Ok(()),
            Err(error) => {
                self.alive.set(false);
                Err(error)
            }
        }
    }

    /// Drops the tables of workers that have not renewed their lease.
    pub(super) async fn reap(&self) {
        let sql = format!(
            "SELECT c.relname FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = {} AND c.relkind IN ('r', 'v') ORDER BY 1 LIMIT 1000",
            literal(SCHEMA)
        );
        let Ok(asked) = self.again(None, &sql).await else {
            return;
        };
        let mut judged: Vec<(String, bool)> = Vec::new();
        for row in asked.rows.iter().flatten().flatten() {
            let worker = row.split('_').next().unwrap_or_default();
            let worker = worker.trim_start_matches('t').to_owned();
            if worker == self.instance {
                continue;
            }
            let known = judged.iter().find(|(known, _)| *known == worker);
            let dead = match known {
                Some((_, dead)) => *dead,
                None => {
                    let dead = self.is_dead(&worker).await;
                    judged.push((worker, dead));
                    dead
                }
            };
            if dead {
                tracing::info!(
                    table = row,
                    "dropped a temporary table that a worker left behind"
                );
                self.drop_now(row).await;
            }
        }
    }

    async fn is_dead(&self, worker: &str) -> bool {
        let key = format!("worker/{worker}");
        for attempt in 0..SWAPS {
            match self.read(&key).await {
                Ok(row) => return row.ledger.0.iter().all(|holder| holder.until <= row.now),
                Err(error) if is_passing(&error) => sleep(pause(attempt)).await,
                Err(_) => return false,
            }
        }
        false
    }

    pub(super) async fn drop_now(&self, real: &str) {
        let real = real.replace('"', "\"\"");
        let kind = if real.ends_with(VIEW) {
            "VIEW"
        } else {
            "TABLE"
        };
        let sql = format!("DROP {kind} IF EXISTS {SCHEMA}.\"{real}\" CASCADE");
        if let Err(error) = self.run_ddl(None, &sql).await {
            let cause = refusal(error).message;
            tracing::warn!(
                table = real,
                cause,
                "a temporary table stays until another worker finds it"
            );
        }
    }
}

/// The server's own words, which are about the client's table.
fn passed_on(error: AskError) -> ClientError {
    refusal(error)
}
