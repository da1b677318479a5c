//! `dsql-proxy emulate`: the emulated cluster alone.

use super::{EmulateArguments, Failure};
use crate::emulator::{Emulator, EmulatorOptions};
use std::io::Write as _;
use std::time::Duration;

/// Runs the emulator until SIGINT or SIGTERM.
///
/// # Errors
/// What could not start, or how PostgreSQL ended.
pub fn run(arguments: &EmulateArguments) -> Result<(), Failure> {
    let signals = Signals::listen()?;
    let options = EmulatorOptions {
        dir: arguments.dir.clone(),
        listen: arguments.listen,
        admin: arguments.admin,
        pg_bin: arguments.pg_bin.clone(),
        fresh: false,
        as_of: arguments.as_of.clone(),
        job_duration: Duration::from_millis(arguments.job_duration),
    };
    let mut emulator =
        Emulator::start(&options).map_err(|error| Failure::Start(error.to_string()))?;
    print_lines(&describe(&emulator));
    let end = signals.wait(&emulator);
    emulator.stop();
    finish(&end)
}

fn describe(emulator: &Emulator) -> String {
    let account = emulator.account();
    let address = emulator.address();
    format!(
        "Emulated Aurora DSQL cluster with the rules of {}, over PostgreSQL {}\n\
         \n  endpoint     {}\n  listens on   {address}\n  admin        http://{}\n  ca_file      {}\n  \
         credentials  {}\n\nStop with Ctrl-C.\n",
        emulator.rules().month(),
        emulator.postgres().version(),
        account.endpoint,
        emulator.admin_address(),
        emulator.authority_file().display(),
        emulator.dir().join("account.json").display(),
    )
}

/// What ended the wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// SIGINT or SIGTERM.
    Signal,
    /// The local PostgreSQL ended by itself; how.
    Postgres(String),
}

/// Signals that end a command, caught from the moment this is made.
pub struct Signals {
    runtime: tokio::runtime::Runtime,
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
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
        use tokio::signal::unix::{SignalKind, signal};
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
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

    /// Waits for a signal or for the emulator's PostgreSQL to end.
    #[must_use]
    pub fn wait(mut self, emulator: &Emulator) -> End {
        let mut exit = emulator.postgres().exit();
        self.runtime.block_on(async {
            tokio::select! {
                _ = self.interrupt.recv() => End::Signal,
                _ = self.terminate.recv() => End::Signal,
                ended = exit.wait_for(Option::is_some) => {
                    End::Postgres(ended.ok().and_then(|status| *status).map_or_else(
                        || "unknown status".to_owned(),
                        |status| status.to_string(),
                    ))
                }
            }
        })
    }
}

/// What an end means for the command.
///
/// # Errors
/// PostgreSQL ended by itself.
pub fn finish(end: &End) -> Result<(), Failure> {
    match end {
        End::Signal => Ok(()),
        End::Postgres(status) => Err(Failure::Start(format!(
            "the local PostgreSQL ended: {status}"
        ))),
    }
}

/// Prints to stdout at once, for whoever waits for it behind a pipe.
pub fn print_lines(text: &str) {
    let mut out = std::io::stdout();
    // A closed stdout does not stop the servers.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
