//! `dsql-proxy run --config FILE`: the proxy, until a signal ends it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::admin::http;
use crate::config::reload::{self, Changes};
use crate::config::{Config, Problem};
use crate::server::{Operations, Proxy};
use crate::telemetry::log::{self, LogControl};
use crate::telemetry::metrics;

use super::signals::{Signals, Stop};
use super::{Failure, RunArguments};

/// How long SIGINT waits for open transactions; SIGTERM waits for `limits.drain_timeout`.
const INTERRUPTED: Duration = Duration::from_secs(1);

/// Runs the proxy until SIGTERM or SIGINT, a second of which ends it at once; SIGHUP reloads.
///
/// # Errors
/// A wrong configuration, or what could not be started.
pub fn run(arguments: &RunArguments) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let running = Running::start(&arguments.config)?;
    tracing::info!(address = %running.address(), admin = ?running.admin_address(), "serving");
    let limit = match running.wait(&mut signals)? {
        Stop::Interrupt => INTERRUPTED,
        Stop::Terminate => Duration::MAX,
    };
    let cut = running.stop(limit, &signals.hurry());
    tracing::info!(clients_cut = cut, "stopped");
    Ok(())
}

/// A proxy with its HTTP endpoint and log, as `run` and `dev` start it.
pub struct Running {
    proxy: Proxy,
    admin: Option<http::Server>,
    desk: Arc<Desk>,
}

impl Running {
    /// Reads the configuration and starts everything in it.
    ///
    /// # Errors
    /// A wrong configuration, or what could not be started.
    pub fn start(path: &Path) -> Result<Self, Failure> {
        let config = Config::load(path)?;
        let log = log::start(&config.log).map_err(|error| Failure::Start(error.to_string()))?;
        let proxy = Proxy::start(&config).map_err(|error| Failure::Start(error.to_string()))?;
        let desk = Arc::new(Desk {
            path: path.to_owned(),
            operations: proxy.operations(),
            config: Mutex::new(config.clone()),
            log,
        });
        let admin = config.admin.as_ref().map(|admin| {
            let operations: Arc<dyn http::Operations> = desk.clone();
            http::Server::start(admin.address, &admin.names, operations).map_err(|error| {
                Failure::Start(format!("cannot listen on {}: {error}", admin.address))
            })
        });
        Ok(Self {
            proxy,
            admin: admin.transpose()?,
            desk,
        })
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.proxy.address()
    }

    /// Where the HTTP endpoint is, if there is one.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(http::Server::address)
    }

    /// Waits for a signal to end, and reloads at each SIGHUP.
    fn wait(&self, signals: &mut Signals) -> Result<Stop, Failure> {
        signals
            .wait(self.obey_hangups())
            .map_err(|error| Failure::Start(format!("cannot wait for signals: {error}")))
    }

    async fn obey_hangups(&self) -> std::io::Error {
        let mut hangup = match signal(SignalKind::hangup()) {
            Ok(hangup) => hangup,
            Err(error) => return error,
        };
        loop {
            hangup.recv().await;
            // Its outcome is in the log.
            let _ = http::Operations::reload(&*self.desk);
        }
    }

    /// Stops everything, see [`Proxy::stop`]; gives the number of clients that were cut. The HTTP
    /// endpoint answers until the proxy has drained.
    pub fn stop(self, at_most: Duration, hurry: &AtomicBool) -> usize {
        let cut = self.proxy.stop(at_most, hurry);
        if let Some(admin) = self.admin {
            admin.stop();
        }
        cut
    }
}

/// Where operators' requests are answered.
struct Desk {
    path: PathBuf,
    operations: Operations,
    config: Mutex<Config>,
    log: LogControl,
}

impl Desk {
    fn take_over(&self, new: &Config) -> Result<Changes, Vec<String>> {
        let mut config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = reload::compare(&config, new);
        let merged = reload::merge(&config, new);
        self.operations
            .reload(&merged)
            .map_err(|error| vec![error])?;
        self.log
            .set_level(&merged.log.level)
            .map_err(|error| vec![error.to_string()])?;
        *config = merged;
        Ok(changes)
    }
}

impl http::Operations for Desk {
    fn ready(&self) -> Result<(), Vec<String>> {
        self.operations.ready()
    }

    fn metrics(&self) -> String {
        let mut families = self.operations.metrics();
        families.extend(metrics::process());
        metrics::encode(&families)
    }

    fn status(&self) -> serde_json::Value {
        self.operations.status()
    }

    fn conflicts(&self, rows: usize) -> serde_json::Value {
        self.operations.conflicts(rows)
    }

    fn reload(&self) -> Result<Changes, Vec<String>> {
        let outcome = Config::load(&self.path)
            .map_err(|problems| problems.iter().map(Problem::to_string).collect())
            .and_then(|new| self.take_over(&new));
        match &outcome {
            Ok(changes) => {
                tracing::info!(changes = ?changes.live, "configuration reloaded");
                if !changes.restart.is_empty() {
                    tracing::warn!(changes = ?changes.restart, "these changes need a restart");
                }
            }
            Err(problems) => tracing::error!(?problems, "reload refused, nothing was changed"),
        }
        outcome
    }

    fn drain(&self) {
        self.operations.drain();
    }
}
