//! One thread with its own runtime: its clients, its slice of every pool, its counters.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::TcpStream;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::auth::{self, Arrival, Binding, Identity};
use crate::config::Dialect;
use crate::net::{Peer, Socket, Stream};
use crate::policy::databases::{CLOSED, Created, MAINTENANCE, Naming};
use crate::pool::{Pool, Transfer};
use crate::session::{
    Admissions, Alarm, Columns, Control, DatabaseEnv, Guard, Insight, Locks, Occupancy, PolicyEnv,
    Profiles, Registry, RetryEnv, Session, SessionEnv, Translations, Verdicts,
};
use crate::telemetry::tally::WorkerTally;
use crate::upstream::Owner;
use crate::wire::reply::{ClientError, Severity};
use crate::wire::sqlstate;

use super::cancels::Address;
use super::console::Client;
use super::proxy::{Entry, Shared};

/// Time between two looks at the clock.
const TICK: Duration = Duration::from_millis(100);

/// How long a client may take to read what was sent before the end.
const FAREWELL: Duration = Duration::from_secs(5);

/// A cancel request is held open for at most this long.
const CANCEL_LIMIT: Duration = Duration::from_secs(10);

/// How long a transaction may go on whose session has no more right to be.
const EXPIRY_GRACE: Duration = Duration::from_secs(60);

/// What a worker is told to do.
pub(super) enum Errand {
    /// Take this client.
    Accept { socket: TcpStream, peer: Peer },
    /// Another worker sends something for a pool.
    Pool { pool: usize, transfer: Transfer },
    /// Cancel what a session runs.
    Cancel {
        session: u64,
        done: oneshot::Sender<()>,
    },
    /// End sessions as they come to rest.
    Drain,
    /// End the sessions in a database that was created in a pool's cluster.
    Evict { pool: usize, database: String },
    /// End all sessions now.
    Kill,
    /// End the thread.
    Stop,
}

struct Worker {
    index: usize,
    shared: Arc<Shared>,
    tally: Arc<WorkerTally>,
    /// What may be repeated and where conflicts are noted, by database entry.
    retries: RefCell<HashMap<String, RetryEnv>>,
    /// What became of tenants' texts, by database entry.
    admissions: RefCell<HashMap<String, Rc<Admissions>>>,
    pools: Vec<Rc<Pool>>,
    registry: Rc<Registry>,
    profiles: Rc<Profiles>,
    sessions: RefCell<HashMap<u64, Watched>>,
    next: Cell<u64>,
    draining: Cell<bool>,
    alarm: Rc<Alarm>,
    verdicts: Rc<Verdicts>,
    /// Advisory locks, of each pool's database.
    locks: Vec<Rc<Locks>>,
    /// Columns that are kept as text, of each pool's database.
    columns: Vec<Rc<Columns>>,
    /// Texts as they are said in created databases.
    translations: Rc<Translations>,
}

/// A session as the worker watches it.
struct Watched {
    control: Rc<Control>,
    /// The created database that it is in, and its pool.
    created: Option<(usize, String)>,
    /// Since when it has been seen idle at every look.
    idle_since: Cell<Option<Instant>>,
    /// Since when it only waits for its client to take the last bytes.
    closing_since: Cell<Option<Instant>>,
}

/// Runs a worker until it is told to stop.
pub(super) async fn run(
    index: usize,
    shared: Arc<Shared>,
    tally: Arc<WorkerTally>,
    mut errands: UnboundedReceiver<Errand>,
) {
    let pools = shared.pools(index, &tally);
    let verdicts = Rc::new(Verdicts::new(Arc::clone(shared.ruling())));
    let locks = pools
        .iter()
        .map(|pool| Rc::new(Locks::new(Rc::clone(pool))));
    let locks = locks.collect();
    let columns = pools
        .iter()
        .map(|pool| Rc::new(Columns::new(Rc::clone(pool))));
    let columns = columns.collect();
    let worker = Rc::new(Worker {
        locks,
        columns,
        index,
        shared,
        tally,
        pools,
        retries: RefCell::default(),
        admissions: RefCell::default(),
        registry: Rc::default(),
        profiles: Rc::default(),
        sessions: RefCell::default(),
        next: Cell::new(0),
        draining: Cell::new(false),
        alarm: Rc::default(),
        verdicts,
        translations: Rc::default(),
    });
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            errand = errands.recv() => match errand {
                None | Some(Errand::Stop) => {
                    worker.pools.iter().for_each(|pool| pool.stop());
                    return;
                }
                Some(errand) => worker.run_errand(errand),
            },
            _ = ticks.tick() => worker.tick(),
            () = worker.next_deadline() => worker.check_deadlines(),
        }
    }
}

impl Worker {
    fn run_errand(self: &Rc<Self>, errand: Errand) {
        match errand {
            Errand::Accept { socket, peer } => self.accept(socket, peer),
            Errand::Pool { pool, transfer } => self.pools[pool].receive(transfer),
            Errand::Cancel { session, done } => {
                if let Some(watched) = self.sessions.borrow().get(&session) {
                    watched.control.cancel(done);
                }
            }
            Errand::Drain => {
                self.draining.set(true);
                self.sessions
                    .borrow()
                    .values()
                    .for_each(|watched| watched.control.drain());
            }
            Errand::Kill => self.sessions.borrow().values().for_each(|watched| {
                watched.control.end(ClientError::fatal(
                    sqlstate::ADMIN_SHUTDOWN,
                    "terminating connection due to administrator command",
                ));
            }),
            Errand::Evict { pool, database } => self.evict(pool, &database),
            Errand::Stop => {}
        }
    }

    fn evict(&self, pool: usize, database: &str) {
        for watched in self.sessions.borrow().values() {
            let created = watched.created.as_ref();
            if created.is_some_and(|(of, name)| *of == pool && name == database) {
                watched.control.end(ClientError::fatal(
                    sqlstate::ADMIN_SHUTDOWN,
                    "terminating connection due to administrator command",
                ));
            }
        }
    }

    /// Returns when a session's deadline has come, or there is an earlier one.
    async fn next_deadline(&self) {
        match self.alarm.next() {
            Some(next) => tokio::select! {
                () = tokio::time::sleep_until(next.into()) => {}
                () = self.alarm.set_earlier() => {}
            },
            None => self.alarm.set_earlier().await,
        }
    }

    fn check_deadlines(&self) {
        let now = Instant::now();
        if self.alarm.next().is_some_and(|next| now < next) {
            return;
        }
        let sessions = self.sessions.borrow();
        let later = sessions
            .values()
            .filter_map(|watched| watched.control.check_deadline(now));
        self.alarm.set(later.min());
    }

    fn tick(&self) {
        let now = Instant::now();
        for pool in &self.pools {
            pool.tick(now);
        }
        self.end_closing(now);
        let limit = self.shared.client_idle_timeout();
        if !limit.is_zero() {
            self.end_idle(now, limit);
        }
    }

    /// A client that does not take its last bytes is not waited for longer than this.
    fn end_closing(&self, now: Instant) {
        for watched in self.sessions.borrow().values() {
            if !watched.control.is_closing() {
                continue;
            }
            let since = watched.closing_since.get().unwrap_or(now);
            watched.closing_since.set(Some(since));
            if now - since >= FAREWELL {
                watched.control.end(ClientError::fatal(
                    sqlstate::ADMIN_SHUTDOWN,
                    "the client did not read its last messages",
                ));
            }
        }
    }

    fn end_idle(&self, now: Instant, limit: Duration) {
        for watched in self.sessions.borrow().values() {
            let since = match watched.idle_since.get() {
                _ if !watched.control.is_idle() => None,
                None => Some(now),
                since => since,
            };
            watched.idle_since.set(since);
            if since.is_some_and(|since| now - since >= limit) {
                watched.control.end(
                    ClientError::fatal(
                        sqlstate::IDLE_SESSION_TIMEOUT,
                        "terminating connection due to idle-session timeout",
                    )
                    .hint("limits.client_idle_timeout sets the time."),
                );
            }
        }
    }

    fn accept(self: &Rc<Self>, socket: TcpStream, peer: Peer) {
        let worker = Rc::clone(self);
        self.tally.connections.add(1);
        tokio::task::spawn_local(async move {
            match tokio::net::TcpStream::from_std(socket) {
                Ok(socket) => worker.serve(Socket::Tcp(socket), peer).await,
                Err(cause) => tracing::warn!(%cause, "connection could not be taken"),
            }
            worker.tally.connections.sub(1);
            worker.shared.leave(worker.index);
        });
    }

    async fn serve(self: &Rc<Self>, socket: Socket, peer: Peer) {
        // Boxed: the login's state is gone before the session begins.
        match Box::pin(auth::receive(socket, peer, self.shared.gate())).await {
            Arrival::Session { stream, identity } => self.converse(stream, identity).await,
            Arrival::Cancel { pid, key, stream } => self.cancel(pid, &key, stream, peer).await,
            Arrival::Ended => {}
        }
    }

    /// What the sessions of a database entry need to repeat transactions.
    fn retry(&self, identity: &Identity, name: &str, entry: &Entry) -> RetryEnv {
        let mut retries = self.retries.borrow_mut();
        let shared = retries.entry(name.to_owned()).or_insert_with(|| RetryEnv {
            limits: entry.retry,
            budget: Rc::new(entry.budget.share(self.index, entry.budget_percent)),
            user: true,
            insight: Rc::new(Insight::new(Arc::clone(&entry.conflicts))),
        });
        RetryEnv {
            user: identity.retry(),
            ..shared.clone()
        }
    }

    /// What the sessions of a database entry need to decide about statements.
    fn policy(&self, entry: &Entry) -> Option<PolicyEnv> {
        Some(PolicyEnv {
            profile: entry.profile?,
            verdicts: Rc::clone(&self.verdicts),
        })
    }

    /// What binds a session to its tenant; none where the entry has no tenants, or the user sees all.
    async fn guard(
        &self,
        identity: &Identity,
        entry: &Entry,
    ) -> Result<Option<Guard>, ClientError> {
        let Some(isolation) = &entry.isolation else {
            return match identity.binding() {
                // A reload may have given a tenant to a user of this database.
                _ if identity.selected().is_some() => Err(no_tenants()),
                Binding::Tenant(_) | Binding::OneOf(_) => Err(no_tenants()),
                Binding::Unrestricted | Binding::Unsaid => Ok(None),
            };
        };
        let kept = Rc::clone(
            self.admissions
                .borrow_mut()
                .entry(identity.database().to_owned())
                .or_default(),
        );
        isolation.guard(identity, &kept).await
    }

    /// The database entry behind the name that a client connects to, and the created database if it is
    /// one.
    async fn find<'s>(
        &'s self,
        identity: &'s Identity,
    ) -> Result<(&'s str, &'s Entry, Option<Created>, Option<Occupancy>), ClientError> {
        let wanted = identity.database();
        if let Some(entry) = self.shared.database(wanted) {
            return Ok((wanted, entry, None, None));
        }
        if wanted == CLOSED {
            let message = format!("database \"{wanted}\" is not currently accepting connections");
            return Err(ClientError::fatal("55000", message));
        }
        let origins: Vec<(&str, &Entry)> = identity
            .entries()
            .iter()
            .filter_map(|name| Some((name.as_str(), self.shared.database(name)?)))
            .filter(|(_, entry)| entry.creates)
            .collect();
        if MAINTENANCE.contains(&wanted)
            && let Some((name, entry)) = origins.first()
        {
            return Ok((name, entry, None, None));
        }
        let mut pools: Vec<usize> = Vec::new();
        for (_, entry) in &origins {
            if pools.contains(&entry.pool) {
                continue;
            }
            pools.push(entry.pool);
            let locks = &self.locks[entry.pool];
            if locks.find_database(wanted).await.map_err(fatal)?.is_none() {
                continue;
            }
            let occupancy = locks.occupy(wanted).await.map_err(in_change)?;
            // Nobody changes it from here on.
            let Some(created) = locks.find_database(wanted).await.map_err(fatal)? else {
                continue;
            };
            let beside = origins.iter().filter(|(_, other)| other.pool == entry.pool);
            let origin = beside
                .clone()
                .find(|(name, _)| *name == created.entry)
                // Whoever made it may use it as long as there is any entry for that.
                .or_else(|| beside.clone().find(|_| created.owner == identity.user()));
            return match origin {
                Some((name, entry)) => Ok((name, entry, Some(created), Some(occupancy))),
                None => Err(ClientError::fatal(
                    "42501",
                    format!("permission denied for database \"{wanted}\""),
                )
                .detail("The user may not use the entry of the proxy's configuration that it was created from.")),
            };
        }
        Err(ClientError::fatal(
            sqlstate::INVALID_CATALOG_NAME,
            format!("database \"{wanted}\" does not exist"),
        ))
    }

    /// What a session knows of databases; nothing where no dialect makes others, and in tenants' sessions.
    fn databases(
        &self,
        identity: &Identity,
        name: &str,
        entry: &Entry,
        schema: Option<String>,
        guarded: bool,
        occupancy: Option<Occupancy>,
    ) -> Option<DatabaseEnv> {
        if guarded || entry.profile != Some(Dialect::Compat) {
            return None;
        }
        let naming = Naming {
            database: identity.database().to_owned(),
            schema,
            entries: identity.entries().to_vec(),
            entry: name.to_owned(),
            user: identity.user().to_owned(),
            creates: entry.creates,
        };
        let (shared, pool) = (Arc::clone(&self.shared), entry.pool);
        Some(DatabaseEnv {
            naming: Rc::new(naming),
            translations: Rc::clone(&self.translations),
            occupancy,
            evict: Rc::new(move |database: &str| {
                shared.broadcast(|| Errand::Evict {
                    pool,
                    database: database.to_owned(),
                });
            }),
        })
    }

    /// Columns that are kept as text; nothing where no dialect keeps them so, and where there are tenants.
    fn columns(&self, entry: &Entry) -> Option<Rc<Columns>> {
        let keeps = entry.profile == Some(Dialect::Compat) && entry.isolation.is_none();
        keeps.then(|| Rc::clone(&self.columns[entry.pool]))
    }

    async fn converse(self: &Rc<Self>, stream: Stream, identity: Identity) {
        if identity.database() == auth::CONSOLE {
            let talk = super::console::converse(stream, &identity, &self.shared);
            match time_left(identity.until()) {
                Some(left) => drop(timeout(left, talk).await),
                None => talk.await,
            }
            return;
        }
        let (name, entry, created, occupancy) = match self.find(&identity).await {
            Ok(found) => found,
            Err(error) => {
                refuse(stream, &error).await;
                return;
            }
        };
        let guard = match self.guard(&identity, entry).await {
            Ok(guard) => guard,
            Err(error) => {
                refuse(stream, &error).await;
                return;
            }
        };
        let owner = self.pools[entry.pool]
            .is_per_tenant()
            .then(|| match &guard {
                // The same name is another tenant in another database entry.
                Some(guard) => Owner::Tenant(format!("{name}\0{}", guard.tenant()).into()),
                None => Owner::Unrestricted,
            });
        let schema = created.map(|created| created.schema);
        let watched_database = schema
            .is_some()
            .then(|| (entry.pool, identity.database().to_owned()));
        let env = SessionEnv {
            owner,
            pool: Rc::clone(&self.pools[entry.pool]),
            pool_index: entry.pool,
            mode: entry.mode,
            quota: self.shared.statement_quota(),
            registry: Rc::clone(&self.registry),
            profiles: Rc::clone(&self.profiles),
            tally: Arc::clone(&self.tally),
            savepoints: entry.savepoints,
            retry: self.retry(&identity, name, entry),
            kept: entry.kept.clone(),
            alarm: Rc::clone(&self.alarm),
            policy: self.policy(entry),
            locks: Rc::clone(&self.locks[entry.pool]),
            hub: Arc::clone(self.shared.hub()),
            databases: self.databases(&identity, name, entry, schema, guard.is_some(), occupancy),
            columns: self.columns(entry),
            guard,
            isolation: entry.isolation.clone(),
        };
        let session = self.next.get();
        self.next.set(session + 1);
        let control = Rc::new(Control::default());
        if self.draining.get() {
            control.drain();
        }
        let watched = Watched {
            control: Rc::clone(&control),
            created: watched_database,
            idle_since: Cell::new(None),
            closing_since: Cell::new(None),
        };
        self.sessions.borrow_mut().insert(session, watched);
        let address = Address {
            worker: self.index,
            session,
        };
        let key = self.shared.cancels().register(address, identity.minor());
        let pid = key.0;
        let client = Client {
            user: identity.user().to_owned(),
            database: identity.database().to_owned(),
            worker: self.index,
            since: Instant::now(),
        };
        self.shared.welcome(pid, client);
        let until = identity.until();
        let talk = Session::new(stream, identity, key, Rc::clone(&control), env);
        converse_until(talk, until, &control).await;
        self.shared.cancels().forget(pid);
        self.shared.farewell(pid);
        self.sessions.borrow_mut().remove(&session);
    }

    /// Passes a cancel request on and keeps its connection open until it has been dealt with, as
    /// PostgreSQL does.
    async fn cancel(&self, pid: u32, key: &[u8], mut stream: Stream, peer: Peer) {
        match self.shared.cancels().find(pid, key) {
            Some(address) => {
                let (done, finished) = oneshot::channel();
                let errand = Errand::Cancel {
                    session: address.session,
                    done,
                };
                self.shared.send(address.worker, errand);
                let _ = timeout(CANCEL_LIMIT, finished).await;
            }
            None => self.shared.gate().note_missed_cancel(peer),
        }
        // Over TLS with its word of farewell: without it libpq 17 and newer call the cancel a failure.
        let _ = timeout(CANCEL_LIMIT, stream.shutdown()).await;
    }
}

/// Runs a session, and ends it when its login no longer holds: as soon as it is at rest, or after
/// [`EXPIRY_GRACE`].
async fn converse_until(
    session: impl Future<Output = ()>,
    until: Option<SystemTime>,
    control: &Control,
) {
    let mut session = pin!(session);
    let Some(left) = time_left(until) else {
        return session.await;
    };
    if timeout(left, &mut session).await.is_ok() {
        return;
    }
    let error = || {
        ClientError::fatal(
            sqlstate::INVALID_AUTHORIZATION,
            "the token that the session logged in with has expired",
        )
        .hint("Reconnect with a new token.")
    };
    control.end_at_rest(error());
    if timeout(EXPIRY_GRACE, &mut session).await.is_err() {
        control.end(error());
        session.await;
    }
}

fn time_left(until: Option<SystemTime>) -> Option<Duration> {
    until.map(|until| until.duration_since(SystemTime::now()).unwrap_or_default())
}

fn no_tenants() -> ClientError {
    ClientError::fatal(
        sqlstate::INVALID_AUTHORIZATION,
        "this database has no tenants",
    )
    .hint("The login is for a tenant: connect to a database with a tenant policy.")
}

fn fatal(error: ClientError) -> ClientError {
    ClientError {
        severity: Severity::Fatal,
        ..error
    }
}

fn in_change(error: ClientError) -> ClientError {
    match error.code {
        "55P03" => ClientError::fatal(
            sqlstate::CANNOT_CONNECT_NOW,
            "the database is being dropped or renamed",
        ),
        _ => fatal(error),
    }
}

/// Ends a login that led nowhere.
async fn refuse(mut stream: Stream, error: &ClientError) {
    let mut out = Vec::new();
    error.put(&mut out);
    let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, &out).await;
    let _ = tokio::io::AsyncWriteExt::shutdown(&mut stream).await;
}
