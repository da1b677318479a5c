//! The proxy as a whole: what `run` and `dev` start and stop.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use thiserror::Error;
use tokio::runtime;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::LocalSet;

use crate::auth::{Gate, GateError};
use crate::config::{
    ClusterKind, Config, Database, DdlInTransaction, Dialect, LargeDml, PoolMode, Retry,
    RuleAction, Savepoints, ShownIsolation, TableRebuild, UnstorableColumns,
};
use crate::policy::settings::{self, Scope};
use crate::policy::{ActionKind, Month, NotAMonth, Rules, RulesError, rules};
use crate::pool::{Pool, PoolShared};
use crate::retry::{ClusterBudget, Limits};
use crate::session::{Hub, Isolation, KeptEnv, Quota, Ruling};
use crate::sql::tree::nesting;
use crate::telemetry::conflicts::ConflictLog;
use crate::telemetry::tally::WorkerTally;
use crate::upstream::{Target, TargetError};

use super::cancels::CancelKeys;
use super::console::Client;
use super::isolation::{self, Policies, TenancyError, policies_of};
use super::listener;
use super::operations::Operations;
use super::worker::{self, Errand};

/// Why the proxy could not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A listening address cannot be used.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// The configured address.
        address: SocketAddr,
        /// What the operating system said.
        cause: io::Error,
    },
    /// The login rules cannot be set up.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// A cluster cannot be set up.
    #[error("cluster {cluster}: {cause}")]
    Cluster {
        /// Its name.
        cluster: String,
        /// What is wrong.
        cause: TargetError,
    },
    /// A database entry names no known cluster.
    #[error("database {0}: unknown cluster")]
    Database(String),
    /// The dialect rules are wrong.
    #[error("dialect: {0}")]
    Rules(#[from] RulesError),
    /// A tenant policy is wrong.
    #[error(transparent)]
    Tenancy(#[from] TenancyError),
    /// A thread or runtime cannot be made.
    #[error("cannot start a worker: {0}")]
    Worker(io::Error),
}

/// A cancelled statement of a DSQL cluster may go on for this long.
const CANCEL_GRACE: Duration = Duration::from_secs(1);

/// A database entry as a session needs it.
#[derive(Debug)]
pub(super) struct Entry {
    pub pool: usize,
    pub mode: PoolMode,
    pub retry: Limits,
    pub savepoints: Savepoints,
    /// Of its cluster.
    pub budget: Arc<ClusterBudget>,
    pub budget_percent: u32,
    pub conflicts: Arc<ConflictLog>,
    pub kept: KeptEnv,
    /// How statements are decided about, unless all pass.
    pub profile: Option<Dialect>,
    /// What tenants may see of it.
    pub isolation: Option<Arc<Isolation>>,
    /// Databases may be created from it.
    pub creates: bool,
}

struct WorkerHandle {
    errands: UnboundedSender<Errand>,
    tally: Arc<WorkerTally>,
    /// Connections dealt to it and not ended.
    load: AtomicUsize,
}

/// What all threads of the proxy share.
pub(super) struct Shared {
    gate: Gate,
    pools: Vec<Arc<PoolShared>>,
    databases: HashMap<String, Entry>,
    workers: Vec<WorkerHandle>,
    cancels: CancelKeys,
    draining: watch::Sender<bool>,
    client_idle_timeout: Duration,
    statement_quota: Quota,
    drain_timeout: Duration,
    max_clients: usize,
    started: Instant,
    reloads: AtomicU64,
    ruling: Arc<Ruling>,
    hub: Arc<Hub>,
    /// Who is logged in, by virtual process id.
    clients: DashMap<u32, Client>,
}

impl Shared {
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    pub fn pool_list(&self) -> &[Arc<PoolShared>] {
        &self.pools
    }

    pub fn tallies(&self) -> impl Iterator<Item = &WorkerTally> {
        self.workers.iter().map(|worker| &*worker.tally)
    }

    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Stops accepting and ends sessions as they come to rest.
    pub fn drain(&self) {
        self.draining.send_replace(true);
        self.broadcast(|| Errand::Drain);
    }

    pub fn note_reload(&self) {
        self.reloads.fetch_add(1, Ordering::Relaxed);
    }

    pub fn reloads(&self) -> u64 {
        self.reloads.load(Ordering::Relaxed)
    }

    /// The rules of the dialect.
    pub fn ruling(&self) -> &Arc<Ruling> {
        &self.ruling
    }

    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    pub fn cancels(&self) -> &CancelKeys {
        &self.cancels
    }

    pub fn client_idle_timeout(&self) -> Duration {
        self.client_idle_timeout
    }

    pub fn statement_quota(&self) -> Quota {
        self.statement_quota
    }

    pub fn database(&self, name: &str) -> Option<&Entry> {
        self.databases.get(name)
    }

    /// A client has a session.
    pub fn welcome(&self, pid: u32, client: Client) {
        self.clients.insert(pid, client);
    }

    /// Its session ended.
    pub fn farewell(&self, pid: u32) {
        self.clients.remove(&pid);
    }

    /// Who is logged in, in no order.
    pub fn clients(&self) -> Vec<(u32, Client)> {
        let each = self.clients.iter();
        each.map(|client| (*client.key(), client.value().clone()))
            .collect()
    }

    /// Database entries by name.
    pub fn entries(&self) -> Vec<(&str, &Entry)> {
        let mut entries: Vec<(&str, &Entry)> = self
            .databases
            .iter()
            .map(|(name, entry)| (name.as_str(), entry))
            .collect();
        entries.sort_by_key(|(name, _)| *name);
        entries
    }

    /// The tenant policies of database entries, each with its pool.
    pub fn isolations(&self) -> impl Iterator<Item = (&Arc<Isolation>, &Arc<PoolShared>)> {
        self.databases.values().filter_map(|entry| {
            let isolation = entry.isolation.as_ref()?;
            Some((isolation, &self.pools[entry.pool]))
        })
    }

    /// The conflicts of each database entry, by name.
    pub fn conflict_logs(&self) -> Vec<(&str, &ConflictLog)> {
        let mut logs: Vec<(&str, &ConflictLog)> = self
            .databases
            .iter()
            .map(|(name, entry)| (name.as_str(), &*entry.conflicts))
            .collect();
        logs.sort_by_key(|(name, _)| *name);
        logs
    }

    /// The slices of all pools for one worker.
    pub fn pools(&self, worker: usize, tally: &Arc<WorkerTally>) -> Vec<Rc<Pool>> {
        let slice =
            |shared: &Arc<PoolShared>| Pool::new(Arc::clone(shared), worker, Arc::clone(tally));
        self.pools.iter().map(slice).collect()
    }

    /// Returns when the proxy drains.
    pub async fn draining(&self) {
        let mut draining = self.draining.subscribe();
        // The sender lives as long as `self`.
        let _ = draining.wait_for(|draining| *draining).await;
    }

    /// The worker with the fewest connections, which now has one more.
    pub fn least_loaded(&self) -> usize {
        let least = self
            .workers
            .iter()
            .enumerate()
            .min_by_key(|(_, worker)| worker.load.load(Ordering::Relaxed))
            .map_or(0, |(index, _)| index);
        self.workers[least].load.fetch_add(1, Ordering::Relaxed);
        least
    }

    /// A connection of a worker ended.
    pub fn leave(&self, worker: usize) {
        self.workers[worker].load.fetch_sub(1, Ordering::Relaxed);
    }

    pub fn connections(&self) -> usize {
        self.workers
            .iter()
            .map(|worker| worker.load.load(Ordering::Relaxed))
            .sum()
    }

    /// `limits.clients` is reached.
    pub fn is_full(&self) -> bool {
        self.connections() >= self.max_clients
    }

    pub fn send(&self, worker: usize, errand: Errand) {
        // A worker that is gone has no sessions left to tell.
        let _ = self.workers[worker].errands.send(errand);
    }

    pub fn broadcast(&self, errand: impl Fn() -> Errand) {
        for worker in 0..self.workers.len() {
            self.send(worker, errand());
        }
    }
}

/// A running proxy.
pub struct Proxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    threads: Vec<JoinHandle<()>>,
}

impl Proxy {
    /// Starts listener and workers.
    ///
    /// # Errors
    /// Addresses, certificates, users or clusters that cannot be used.
    pub fn start(config: &Config) -> Result<Self, StartError> {
        let listener =
            listener::bind(config.listen.address).map_err(|cause| StartError::Listen {
                address: config.listen.address,
                cause,
            })?;
        let address = listener.local_addr().map_err(|cause| StartError::Listen {
            address: config.listen.address,
            cause,
        })?;
        let count = worker_count(config.workers);
        let (workers, inboxes): (Vec<_>, Vec<_>) = (0..count)
            .map(|_| {
                let (errands, inbox) = unbounded_channel();
                let handle = WorkerHandle {
                    errands,
                    tally: Arc::default(),
                    load: AtomicUsize::new(0),
                };
                (handle, inbox)
            })
            .unzip();
        let (pools, databases) = make_pools(config, &workers, &policies_of(config)?)?;
        let (rules, as_of) = rules_of(config)?;
        let shared = Arc::new(Shared {
            hub: Arc::default(),
            gate: Gate::new(config)?,
            pools,
            databases,
            workers,
            cancels: CancelKeys::default(),
            draining: watch::Sender::new(false),
            client_idle_timeout: config.limits.client_idle_timeout,
            statement_quota: Quota {
                statements: config.limits.client_statements,
                bytes: config.limits.client_statement_bytes,
            },
            drain_timeout: config.limits.drain_timeout,
            max_clients: config.limits.clients,
            started: Instant::now(),
            reloads: AtomicU64::new(0),
            ruling: Arc::new(Ruling::new(rules, as_of)),
            clients: DashMap::new(),
        });
        let mut threads = Vec::new();
        for (index, inbox) in inboxes.into_iter().enumerate() {
            let worker_shared = Arc::clone(&shared);
            let tally = Arc::clone(&shared.workers[index].tally);
            threads.push(spawn(&format!("worker-{index}"), move || {
                worker::run(index, worker_shared, tally, inbox)
            })?);
        }
        if shared.isolations().next().is_some() {
            let shared = Arc::clone(&shared);
            threads.push(spawn("isolation", move || isolation::watch(shared))?);
        }
        let accept_shared = Arc::clone(&shared);
        threads.push(spawn("listener", move || {
            listener::accept(listener, accept_shared)
        })?);
        Ok(Self {
            shared,
            address,
            threads,
        })
    }

    /// The address clients connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The operators' hold on it.
    #[must_use]
    pub fn operations(&self) -> Operations {
        Operations::new(Arc::clone(&self.shared))
    }

    /// Stops accepting, lets open transactions end for at most `limits.drain_timeout` (or `at_most`,
    /// when shorter), or until `hurry` is set; ends the rest, stops all threads. Gives the number of
    /// clients that were cut.
    pub fn stop(self, at_most: Duration, hurry: &AtomicBool) -> usize {
        let limit = self.shared.drain_timeout.min(at_most);
        self.shared.drain();
        let deadline = Instant::now() + limit;
        let waits = || Instant::now() < deadline && !hurry.load(Ordering::Relaxed);
        while self.shared.connections() > 0 && waits() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let cut = self.shared.connections();
        if cut > 0 {
            self.shared.broadcast(|| Errand::Kill);
            let deadline = Instant::now() + Duration::from_millis(500);
            while self.shared.connections() > 0 && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        self.shared.broadcast(|| Errand::Stop);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the proxy panicked");
            }
        }
        cut
    }
}

fn worker_count(configured: usize) -> usize {
    if configured > 0 {
        return configured;
    }
    std::thread::available_parallelism().map_or(1, usize::from)
}

type Pools = (Vec<Arc<PoolShared>>, HashMap<String, Entry>);

/// One pool for each cluster and upstream database that an entry names.
fn make_pools(
    config: &Config,
    workers: &[WorkerHandle],
    policies: &Policies,
) -> Result<Pools, StartError> {
    let mut pools: Vec<Arc<PoolShared>> = Vec::new();
    let mut entries = HashMap::new();
    let mut budgets: HashMap<&str, Arc<ClusterBudget>> = HashMap::new();
    let start = Instant::now();
    for (name, database) in &config.databases {
        let cluster = config
            .clusters
            .get(&database.cluster)
            .ok_or_else(|| StartError::Database(name.clone()))?;
        let pool_name = format!("{}/{}", database.cluster, database.upstream_database.0);
        let pool = match pools.iter().position(|pool| pool.name == pool_name) {
            Some(pool) => pool,
            None => {
                let target =
                    Target::new(cluster, &database.upstream_database.0).map_err(|cause| {
                        StartError::Cluster {
                            cluster: database.cluster.clone(),
                            cause,
                        }
                    })?;
                let index = pools.len();
                let senders: Vec<_> = workers
                    .iter()
                    .map(|worker| worker.errands.clone())
                    .collect();
                pools.push(Arc::new(PoolShared::new(
                    pool_name,
                    Arc::new(target),
                    cluster.kind,
                    cluster.pool.clone(),
                    workers.len(),
                    Box::new(move |worker, transfer| {
                        let _ = senders[worker].send(Errand::Pool {
                            pool: index,
                            transfer,
                        });
                    }),
                )));
                index
            }
        };
        let retry = retry_of(database, cluster.kind);
        entries.insert(
            name.clone(),
            Entry {
                pool,
                mode: database.pool_mode,
                budget: Arc::clone(
                    budgets
                        .entry(&database.cluster)
                        .or_insert_with(|| ClusterBudget::new(workers.len(), start)),
                ),
                budget_percent: retry.budget_percent,
                savepoints: savepoints_of(database, cluster.kind),
                conflicts: Arc::new(ConflictLog::new(retry.insight_keys, start)),
                kept: kept_of(database, cluster.kind),
                profile: profile_of(database, cluster.kind),
                creates: config.creates_databases(database),
                isolation: policies
                    .get(name)
                    .map(|policy| Arc::new(Isolation::new(name, Arc::clone(policy)))),
                retry: Limits {
                    attempts: retry.attempts,
                    hold_bytes: retry.hold_bytes,
                    journal_bytes: retry.journal_bytes,
                },
            },
        );
    }
    Ok((pools, entries))
}

/// Only DSQL needs its transactions repeated as a rule; a PostgreSQL gets it when asked for.
fn retry_of(database: &Database, kind: ClusterKind) -> Retry {
    let default = || match kind {
        ClusterKind::Dsql => Retry::default(),
        ClusterKind::Postgres => Retry::off(),
    };
    database.retry.clone().unwrap_or_else(default)
}

/// What the proxy keeps in the server's stead.
fn kept_of(database: &Database, kind: ClusterKind) -> KeptEnv {
    let scope = match (kind, database.dialect) {
        (_, Dialect::Off) => Scope::Nothing,
        (ClusterKind::Postgres, _) => Scope::Own,
        (ClusterKind::Dsql, _) => Scope::All,
    };
    let timeouts = [
        (settings::STATEMENT_TIMEOUT, database.statement_timeout),
        (settings::TRANSACTION_TIMEOUT, database.transaction_timeout),
        (
            settings::IDLE_IN_TRANSACTION_TIMEOUT,
            database.idle_in_transaction_timeout,
        ),
    ];
    let set = timeouts.into_iter().filter_map(|(name, value)| {
        let shown = settings::show_duration(value?);
        Some((name.to_owned(), shown))
    });
    let ddl = database.ddl_in_transaction.map(|ddl| match ddl {
        DdlInTransaction::Reject => "reject",
        DdlInTransaction::Split => "split",
    });
    let large = database.large_dml.map(|large| match large {
        LargeDml::Refuse => "refuse",
        LargeDml::Batch => "batch",
    });
    let rebuild = database.table_rebuild.map(|rebuild| match rebuild {
        TableRebuild::Reject => "reject",
        TableRebuild::Small => "small",
        TableRebuild::Rebuild => "rebuild",
    });
    let unstorable = database.unstorable_columns.map(|columns| match columns {
        UnstorableColumns::Refuse => "refuse",
        UnstorableColumns::Text => "text",
    });
    let isolation = database.shown_isolation.map(|isolation| match isolation {
        ShownIsolation::Actual => "actual",
        ShownIsolation::Asked => "asked",
    });
    let switches = [
        (settings::SHOWN_ISOLATION, isolation),
        (settings::UNSTORABLE_COLUMNS, unstorable),
        (settings::DDL_IN_TRANSACTION, ddl),
        (settings::LARGE_DML, large),
        (settings::TABLE_REBUILD, rebuild),
    ];
    let switches = switches
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
    KeptEnv {
        scope,
        defaults: set.chain(switches).collect(),
        cancel_grace: match kind {
            ClusterKind::Dsql => Some(database.cancel_grace.unwrap_or(CANCEL_GRACE)),
            ClusterKind::Postgres => None,
        },
    }
}

/// Only DSQL has a dialect of its own.
fn profile_of(database: &Database, kind: ClusterKind) -> Option<Dialect> {
    match (kind, database.dialect) {
        (ClusterKind::Postgres, _) | (_, Dialect::Off) => None,
        (ClusterKind::Dsql, profile) => Some(profile),
    }
}

/// The rules that a configuration names or overrides, and the month they are for.
///
/// # Errors
/// What is wrong with them.
pub fn rules_of(config: &Config) -> Result<(Arc<Rules>, Month), RulesError> {
    let section = &config.dialect;
    let rules = match &section.file {
        Some(file) => {
            let text = std::fs::read_to_string(file)
                .map_err(|error| RulesError::Format(format!("{}: {error}", file.display())))?;
            Some(Rules::read(&text)?)
        }
        None if section.rules.is_empty() => None,
        None => Some(Rules::read(rules::DEFAULT)?),
    };
    let rules = match rules {
        None => Rules::standard()?,
        Some(mut rules) => {
            let actions = section.rules.iter().map(|(name, action)| {
                let action = match action {
                    RuleAction::Forward => ActionKind::Forward,
                    RuleAction::Reject => ActionKind::Reject,
                };
                (name.clone(), action)
            });
            rules.override_actions(&actions.collect())?;
            Arc::new(rules)
        }
    };
    let as_of = match &section.as_of {
        None => rules.newest,
        Some(month) => month
            .parse()
            .map_err(|error: NotAMonth| RulesError::Format(format!("as_of: {error}")))?,
    };
    Ok((rules, as_of))
}

/// Only DSQL lacks them.
fn savepoints_of(database: &Database, kind: ClusterKind) -> Savepoints {
    let default = match (kind, database.dialect) {
        (ClusterKind::Postgres, _) | (_, Dialect::Off) => Savepoints::Forward,
        _ => Savepoints::Emulate,
    };
    database.savepoints.unwrap_or(default)
}

/// Runs an async function on a thread of its own, with its own runtime.
fn spawn<F>(
    name: &str,
    run: impl FnOnce() -> F + Send + 'static,
) -> Result<JoinHandle<()>, StartError>
where
    F: Future<Output = ()>,
{
    let runtime = runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(StartError::Worker)?;
    std::thread::Builder::new()
        .name(name.to_owned())
        .stack_size(nesting::STACK)
        .spawn(move || LocalSet::new().block_on(&runtime, run()))
        .map_err(StartError::Worker)
}
