//! SIGINT and SIGTERM: the first ends a command, a second one makes that end come at once.

use std::future::{Future, pending};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Failure;

/// A signal that ends a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

/// Signals that end a command, caught from the moment this is made.
pub struct Signals {
    runtime: Runtime,
    interrupt: Signal,
    terminate: Signal,
}

impl std::fmt::Debug for Signals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signals")
    }
}

impl Signals {
    /// Begins to catch SIGINT and SIGTERM, before anything is started that would have to be stopped.
    ///
    /// # Errors
    /// What the system says.
    pub fn listen() -> Result<Self, Failure> {
        Self::catch().map_err(|error| Failure::Start(format!("cannot wait for signals: {error}")))
    }

    fn catch() -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let entered = runtime.enter();
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        drop(entered);
        Ok(Self {
            runtime,
            interrupt,
            terminate,
        })
    }

    /// Waits for a signal, or for something else that ends the command.
    ///
    /// # Errors
    /// What `other` gave.
    pub fn wait<E>(&mut self, other: impl Future<Output = E>) -> Result<Stop, E> {
        self.runtime.block_on(async {
            tokio::select! {
                _ = self.interrupt.recv() => Ok(Stop::Interrupt),
                _ = self.terminate.recv() => Ok(Stop::Terminate),
                ended = other => Err(ended),
            }
        })
    }

    /// A flag that the next signal sets: whoever stops is to wait no longer.
    #[must_use]
    pub fn hurry(mut self) -> Arc<AtomicBool> {
        let hurry = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&hurry);
        let thread = std::thread::Builder::new().name("signals".to_owned());
        let spawned = thread.spawn(move || {
            if let Ok(stop) = self.wait(pending::<()>()) {
                tracing::info!(signal = ?stop, "a second signal: stopping at once");
                flag.store(true, Ordering::Relaxed);
            }
        });
        if let Err(error) = spawned {
            tracing::warn!(%error, "a second signal will not be seen");
        }
        hurry
    }
}
