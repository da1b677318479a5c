//! A local Aurora DSQL cluster over a local PostgreSQL.
//!
//! It takes nothing but TLS with SNI and a valid token, as DSQL does. Behind the login a [`session`]
//! has each statement judged by the [`rules`] and runs it on a PostgreSQL of the emulator's own.

pub mod account;
pub mod admin;
pub mod binaries;
pub mod catalog;
pub mod certificate;
pub mod control;
pub mod faults;
pub mod front;
pub mod jobs;
pub mod lock;
pub mod occ;
pub mod postgres;
mod private_file;
pub mod quota;
pub mod rules;
pub mod sample;
pub mod session;
pub mod settings;
pub mod verify;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use account::Account;
use certificate::CertificateError;
use control::Control;
use front::Front;
use jobs::Jobs;
use lock::{Lock, LockError};
use postgres::{Postgres, PostgresError, PostgresOptions};
use rules::{Rules, RulesError, ServerVersion};
use session::Cluster;

use crate::sql::tree::nesting;

pub use private_file::write as write_private;

/// Connections of the local PostgreSQL: those of the front, and the rest for direct use.
const MAX_CONNECTIONS: u16 = front::MAX_CONNECTIONS + 100;

/// How to run the emulator.
#[derive(Debug, Clone)]
pub struct EmulatorOptions {
    /// State folder, made if it is not there.
    pub dir: PathBuf,
    /// Address of the PostgreSQL listener; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Address of the HTTP endpoint; port 0 takes a free one.
    pub admin: SocketAddr,
    /// Folder of the PostgreSQL server's programs.
    pub pg_bin: Option<PathBuf>,
    /// Throw away data, account and certificates of earlier runs first.
    pub fresh: bool,
    /// The month whose rules hold, as in `2026-09`; the newest known when left out.
    pub as_of: Option<String>,
    /// How long an asynchronous job takes at least, on the emulator's clock. About 30 s in a real
    /// cluster.
    pub job_duration: Duration,
}

/// [`EmulatorOptions::job_duration`] where nothing else is said: long enough that a client sees its
/// job under way.
pub const JOB_DURATION: Duration = Duration::from_secs(1);

/// Why the emulator did not start.
#[derive(Debug, Error)]
pub enum EmulatorError {
    /// The state folder.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The local PostgreSQL.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// The certificates.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A file of the state folder.
    #[error("{path}: {cause}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// An address that cannot be listened on.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        cause: io::Error,
    },
    /// There are no such rules.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// Roles and databases could not be made.
    #[error("cannot prepare the local PostgreSQL: {0}")]
    Prepare(String),
    /// No runtime.
    #[error("cannot start threads: {0}")]
    Runtime(io::Error),
}

/// A running emulator. Stopped on drop.
pub struct Emulator {
    dir: PathBuf,
    account: Account,
    rules: Rules,
    address: SocketAddr,
    admin: SocketAddr,
    stop: watch::Sender<bool>,
    runtime: Option<Runtime>,
    postgres: Postgres,
    // Behind `postgres`: fields are dropped in order, and the folder is free only when it is down.
    _lock: Lock,
}

impl std::fmt::Debug for Emulator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Emulator")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Emulator {
    /// Starts PostgreSQL, the listener and the HTTP endpoint on threads of their own.
    ///
    /// Blocks until all of them answer, so it must not be called inside an asynchronous task.
    ///
    /// # Errors
    /// What kept it from starting, in a sentence for the operator.
    pub fn start(options: &EmulatorOptions) -> Result<Self, EmulatorError> {
        let lock = Lock::take(&options.dir)?;
        raise_descriptors();
        let dir = options
            .dir
            .canonicalize()
            .map_err(file_error(&options.dir))?;
        if options.fresh {
            forget(&dir)?;
        }
        let rules = match &options.as_of {
            Some(month) => Rules::as_of(month)?,
            None => Rules::newest()?,
        };
        let version = ServerVersion::default();
        let account = Account::keep(&dir).map_err(file_error(&dir.join("account.json")))?;
        let tls = certificate::server_config(&dir, &account.endpoint)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("emulator")
            .thread_stack_size(nesting::STACK)
            .enable_all()
            .build()
            .map_err(EmulatorError::Runtime)?;
        // Before PostgreSQL is started: a taken port is the likelier mistake, and found at once.
        let listener = runtime.block_on(bind(options.listen))?;
        let admin_listener = runtime.block_on(bind(options.admin))?;
        let postgres = Postgres::start(&PostgresOptions {
            dir: dir.clone(),
            pg_bin: options.pg_bin.clone(),
            max_connections: MAX_CONNECTIONS,
            fresh: options.fresh,
        })?;
        runtime
            .block_on(sample::prepare_cluster(
                postgres.socket_folder(),
                &rules,
                &version,
            ))
            .map_err(|error| EmulatorError::Prepare(sample::describe(&error)))?;
        let (stop, stopped) = watch::channel(false);
        let control = Arc::new(Control::default());
        let jobs = Arc::new(Jobs::new(
            postgres.socket_folder(),
            Arc::clone(&control),
            options.job_duration,
        ));
        runtime.spawn(Arc::clone(&jobs).run(stopped.clone()));
        let cluster = Cluster::new(
            Arc::clone(&control),
            rules.clone(),
            version,
            postgres.socket(),
            jobs,
        );
        let front = Front::new(tls, &account, Arc::new(cluster));
        let address = local_address(&listener, options.listen)?;
        let admin = local_address(&admin_listener, options.admin)?;
        runtime.spawn(Arc::new(front).serve(listener, stopped.clone()));
        runtime.spawn(admin::serve(admin_listener, control, stopped));
        Ok(Self {
            dir,
            account,
            rules,
            address,
            admin,
            stop,
            runtime: Some(runtime),
            postgres,
            _lock: lock,
        })
    }

    /// Where the listener really listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the HTTP endpoint really listens.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// The state folder, absolute.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The certificate file that clients must trust.
    #[must_use]
    pub fn authority_file(&self) -> PathBuf {
        certificate::authority_path(&self.dir)
    }

    /// Endpoint, region and access key.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The rules that hold.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The PostgreSQL behind it.
    #[must_use]
    pub fn postgres(&self) -> &Postgres {
        &self.postgres
    }

    /// Runs a preparation on the emulator's threads and waits for it.
    ///
    /// # Errors
    /// What the preparation says.
    pub fn prepare<F>(&self, work: F) -> Result<(), EmulatorError>
    where
        F: Future<Output = Result<(), tokio_postgres::Error>>,
    {
        match &self.runtime {
            Some(runtime) => runtime
                .block_on(work)
                .map_err(|error| EmulatorError::Prepare(sample::describe(&error))),
            None => Err(EmulatorError::Prepare("the emulator is stopped".to_owned())),
        }
    }

    /// Closes all connections and stops PostgreSQL. Blocks until it is down.
    pub fn stop(&mut self) {
        self.stop.send_replace(true);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(2));
        }
        self.postgres.stop();
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A session has two descriptors; many systems start a process with 1,024.
fn raise_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "emulator: the limit of open files stays as it is");
        }
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, EmulatorError> {
    TcpListener::bind(address)
        .await
        .map_err(|cause| EmulatorError::Listen { address, cause })
}

fn local_address(listener: &TcpListener, asked: SocketAddr) -> Result<SocketAddr, EmulatorError> {
    listener
        .local_addr()
        .map_err(|cause| EmulatorError::Listen {
            address: asked,
            cause,
        })
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> EmulatorError {
    let path = path.to_owned();
    move |cause| EmulatorError::File { path, cause }
}

/// Removes what earlier runs kept, by name: the folder may hold other things too. The data goes
/// when PostgreSQL is started, because a left-over server must be stopped first.
fn forget(dir: &Path) -> Result<(), EmulatorError> {
    for name in ["account.json", "ca.crt", "ca.key"] {
        let path = dir.join(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(file_error(&path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}
