//! Asynchronous jobs: index builds and validations of constraints.
//!
//! A statement enters its job in `pg_dsql.job`, in its own transaction. The runner here does the
//! work once the job is old enough on the emulator's clock, and forgets it half an hour later. It works
//! as the superuser, but as the owner where functions that clients wrote would run.

use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, watch};
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Error, NoTls, Row};

use super::control::Control;
use super::front::DATABASE;
use super::postgres::{PORT, SUPERUSER};
use super::rules::function::{bad_job_id, is_job_id};
use crate::wire::reply::ClientError;
use crate::wire::sqlstate::INTERNAL_ERROR;

/// How long finished jobs are kept (DSQL guide, "Asynchronous indexes").
const KEPT: Duration = Duration::from_secs(30 * 60);
/// Longest wait for a job; a job that cannot finish, for locks its own waiter holds, ends there.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often the clock is looked at while a job is under way, and otherwise.
const TICK: Duration = Duration::from_millis(20);
const IDLE_TICK: Duration = Duration::from_millis(200);
/// Between attempts to reach PostgreSQL.
const RECONNECT: Duration = Duration::from_secs(1);

/// SQLSTATEs of work that can be tried again: deadlock, lock not available, serialization failure.
const TRANSIENT: [&str; 3] = ["40P01", "55P03", "40001"];

/// The jobs of one emulator.
#[derive(Debug)]
pub struct Jobs {
    socket_folder: PathBuf,
    control: Arc<Control>,
    duration: Duration,
    client: Mutex<Option<Arc<Client>>>,
    entered: Arc<Notify>,
    finished: watch::Sender<u64>,
}

/// A job that is not finished.
struct Pending {
    id: String,
    kind: String,
    object: u32,
    table: String,
    constraint: Option<String>,
    started: SystemTime,
}

/// How a job ended.
struct Outcome {
    status: &'static str,
    details: Option<String>,
}

impl Jobs {
    /// Jobs in the PostgreSQL behind the socket in `socket_folder`, each of which takes at least
    /// `duration` on the clock of `control`.
    #[must_use]
    pub fn new(socket_folder: &Path, control: Arc<Control>, duration: Duration) -> Self {
        Self {
            socket_folder: socket_folder.to_owned(),
            control,
            duration,
            client: Mutex::new(None),
            entered: Arc::default(),
            finished: watch::Sender::new(0),
        }
    }

    /// Does the work until `stop` changes.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let work = async {
            loop {
                if let Err(error) = self.work().await {
                    tracing::warn!(%error, "emulator: the job runner lost PostgreSQL");
                }
                *held(&self.client) = None;
                tokio::time::sleep(RECONNECT).await;
            }
        };
        tokio::select! {
            () = work => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    /// Waits until a job is finished, as `CALL sys.wait_for_job` does: whether it succeeded. False
    /// also for a job that is not known.
    ///
    /// # Errors
    /// 22P02 for a text that is no job's id; XX000 when PostgreSQL is not reachable.
    pub async fn wait(&self, id: &str) -> Result<bool, ClientError> {
        if !is_job_id(id) {
            return Err(bad_job_id());
        }
        let id = id.to_ascii_lowercase();
        let wait = async {
            let mut finished = self.finished.subscribe();
            loop {
                finished.borrow_and_update();
                match self.status(&id).await?.as_deref() {
                    Some("completed") => return Ok(true),
                    Some("failed") | None => return Ok(false),
                    Some(_) => {}
                }
                if finished.changed().await.is_err() {
                    return Ok(false);
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait)
            .await
            .unwrap_or(Ok(false))
    }

    async fn status(&self, id: &str) -> Result<Option<String>, ClientError> {
        let client = held(&self.client).clone();
        let unreachable = || ClientError::error(INTERNAL_ERROR, "the job runner is not reachable");
        let query = "SELECT status FROM pg_dsql.job WHERE job_id = $1";
        let row = client
            .ok_or_else(unreachable)?
            .query_opt(query, &[&id])
            .await
            .map_err(|error| {
                tracing::error!(%error, "emulator: a job's status could not be read");
                unreachable()
            })?;
        Ok(row.map(|row| row.get(0)))
    }

    async fn work(&self) -> Result<(), Error> {
        let client = Arc::new(self.connect(SUPERUSER).await?);
        client.batch_execute("LISTEN pg_dsql_jobs").await?;
        *held(&self.client) = Some(Arc::clone(&client));
        let mut clock = None;
        let mut purged = self.control.now();
        loop {
            if clock != Some(self.control.advanced()) {
                clock = Some(self.control.advanced());
                self.set_clock(&client).await?;
            }
            let pending = self.pending(&client).await?;
            let now = self.control.now();
            for job in &pending {
                if job.started + self.duration <= now {
                    self.finish(&client, job).await?;
                }
            }
            if now >= purged + Duration::from_secs(60) {
                purged = now;
                self.purge(&client, now).await?;
            }
            self.pause(pending.is_empty(), clock).await;
        }
    }

    /// Waits for a new job, for time to pass, or for the clock to be moved.
    async fn pause(&self, idle: bool, clock: Option<Duration>) {
        if !idle {
            tokio::time::sleep(TICK).await;
            return;
        }
        while clock == Some(self.control.advanced()) {
            let entered = tokio::time::timeout(IDLE_TICK, self.entered.notified());
            if entered.await.is_ok() {
                return;
            }
        }
    }

    async fn connect(&self, user: &str) -> Result<Client, Error> {
        let (client, connection) = Config::new()
            .host_path(&self.socket_folder)
            .port(PORT)
            .user(user)
            .dbname(DATABASE)
            .application_name("jobs")
            .options("-c lock_timeout=200ms -c search_path=pg_catalog")
            .connect(NoTls)
            .await?;
        tokio::spawn(listen(connection, Arc::clone(&self.entered)));
        Ok(client)
    }

    async fn set_clock(&self, client: &Client) -> Result<(), Error> {
        let seconds = self.control.advanced().as_secs_f64();
        let change = "UPDATE pg_dsql.clock SET advance = make_interval(secs => $1)";
        client.execute(change, &[&seconds]).await.map(|_| ())
    }

    async fn pending(&self, client: &Client) -> Result<Vec<Pending>, Error> {
        let query = "SELECT job_id, job_type, object_id, table_name, constraint_name, start_time \
                     FROM pg_dsql.job WHERE status IN ('submitted', 'processing') \
                     ORDER BY start_time, job_id";
        let rows = client.query(query, &[]).await?;
        Ok(rows.iter().map(pending).collect())
    }

    async fn purge(&self, client: &Client, now: SystemTime) -> Result<(), Error> {
        let change = "DELETE FROM pg_dsql.job WHERE update_time < $1 \
                      AND status IN ('completed', 'failed')";
        client.execute(change, &[&(now - KEPT)]).await.map(|_| ())
    }

    async fn finish(&self, client: &Client, job: &Pending) -> Result<(), Error> {
        let processing = "UPDATE pg_dsql.job SET status = 'processing' WHERE job_id = $1";
        client.execute(processing, &[&job.id]).await?;
        let outcome = match self.attempt(client, job).await {
            Ok(outcome) => outcome,
            Err(error) => {
                let Some(cause) = error.as_db_error() else {
                    return Err(error);
                };
                if TRANSIENT.contains(&cause.code().code()) {
                    return Ok(());
                }
                Outcome {
                    status: "failed",
                    details: Some(cause.message().to_owned()),
                }
            }
        };
        let change = "UPDATE pg_dsql.job SET status = $2, details = $3, \
                      update_time = date_trunc('second', $4::timestamptz) WHERE job_id = $1";
        let now = self.control.now();
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
            [&job.id, &outcome.status, &outcome.details, &now];
        client.execute(change, &values).await?;
        self.finished.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Does a job's work in a transaction of its own, which an error leaves open.
    async fn attempt(&self, client: &Client, job: &Pending) -> Result<Outcome, Error> {
        // What clients wrote runs with their rights, not the superuser's.
        let query = "SELECT pg_dsql.runs_client_code($1, $2), \
                     (SELECT pg_get_userbyid(relowner)::text FROM pg_catalog.pg_class WHERE oid = $1)";
        let row = client
            .query_one(query, &[&job.object, &job.constraint])
            .await?;
        let owner: Option<String> = row.get(1);
        let own = match owner {
            Some(owner) if row.get(0) => Some(self.connect(&owner).await?),
            _ => None,
        };
        let worker = own.as_ref().unwrap_or(client);
        match job.kind.as_str() {
            "INDEX_BUILD" => build(client, worker, job).await,
            _ => validate(client, worker, job).await,
        }
    }
}

/// Drives a connection; a notification says that a job has been entered.
async fn listen<S, T>(mut connection: Connection<S, T>, entered: Arc<Notify>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        if matches!(message, AsyncMessage::Notification(_)) {
            entered.notify_one();
        }
    }
    // The worker's next query fails then.
    entered.notify_one();
}

fn pending(row: &Row) -> Pending {
    Pending {
        id: row.get(0),
        kind: row.get(1),
        object: row.get(2),
        table: row.get(3),
        constraint: row.get(4),
        started: row.get(5),
    }
}

/// The relation with its quotes, `None` when it is gone.
async fn relation(client: &Client, oid: u32) -> Result<Option<String>, Error> {
    let query = "SELECT oid::regclass::text FROM pg_catalog.pg_class WHERE oid = $1";
    let row = client.query_opt(query, &[&oid]).await?;
    Ok(row.map(|row| row.get(0)))
}

/// A job whose object is gone has nothing left to do. When the whole table is gone it counts as
/// completed, as recorded from a cluster; a dropped index or constraint cancels its job.
async fn gone(client: &Client, job: &Pending) -> Result<Outcome, Error> {
    let query = "SELECT 1 FROM pg_catalog.pg_class c \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE n.nspname || '.' || c.relname = $1";
    let table_left = client.query_opt(query, &[&job.table]).await?.is_some();
    let (status, details) = if table_left {
        ("failed", "the object of the job was dropped".to_owned())
    } else {
        (
            "completed",
            format!("relation \"{}\" does not exist", job.table),
        )
    };
    Ok(Outcome {
        status,
        details: Some(details),
    })
}

async fn build(client: &Client, worker: &Client, job: &Pending) -> Result<Outcome, Error> {
    if relation(client, job.object).await?.is_none() {
        return gone(client, job).await;
    }
    let query = "SELECT pg_dsql.duplicate_query($1)";
    let query: Option<String> = client.query_one(query, &[&job.object]).await?.get(0);
    if let Some(query) = query
        && !worker.query(&query, &[]).await?.is_empty()
    {
        return Ok(Outcome {
            status: "failed",
            details: Some("Found duplicate key while validating index for UCVs".to_owned()),
        });
    }
    let valid = "UPDATE pg_catalog.pg_index SET indisvalid = true WHERE indexrelid = $1";
    client.execute(valid, &[&job.object]).await?;
    Ok(Outcome {
        status: "completed",
        details: None,
    })
}

async fn validate(client: &Client, worker: &Client, job: &Pending) -> Result<Outcome, Error> {
    let query = "SELECT 1 FROM pg_catalog.pg_constraint WHERE conrelid = $1 AND conname = $2";
    let left = client
        .query_opt(query, &[&job.object, &job.constraint])
        .await?;
    let (true, Some(table), Some(constraint)) = (
        left.is_some(),
        relation(client, job.object).await?,
        &job.constraint,
    ) else {
        return gone(client, job).await;
    };
    let constraint = constraint.replace('"', "\"\"");
    worker
        .batch_execute(&format!(
            "ALTER TABLE {table} VALIDATE CONSTRAINT \"{constraint}\""
        ))
        .await?;
    Ok(Outcome {
        status: "completed",
        details: None,
    })
}

/// A panic elsewhere leaves a whole value behind.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
