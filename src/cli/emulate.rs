//! `dsql-proxy emulate`: the emulated cluster alone.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::emulator::{Emulator, EmulatorOptions};

/// Exit code of a command that could not start.
pub const COULD_NOT_START: u8 = 3;

/// Arguments of `emulate`.
#[derive(Debug, Clone)]
pub struct EmulateOptions {
    /// State folder.
    pub dir: PathBuf,
    /// Address of the PostgreSQL listener; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Address of the HTTP endpoint; port 0 takes a free one.
    pub admin: SocketAddr,
    /// Folder of the PostgreSQL server's programs.
    pub pg_bin: Option<PathBuf>,
}

/// Runs the emulator until SIGINT or SIGTERM; exit code 0 then, 3 when it could not start or its
/// PostgreSQL ended.
#[must_use]
pub fn run(options: &EmulateOptions) -> ExitCode {
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return fail(&format!("cannot wait for signals: {error}")),
    };
    let mut emulator = match Emulator::start(&EmulatorOptions {
        dir: options.dir.clone(),
        listen: options.listen,
        admin: options.admin,
        pg_bin: options.pg_bin.clone(),
        fresh: false,
    }) {
        Ok(emulator) => emulator,
        Err(error) => return fail(&error.to_string()),
    };
    print_lines(&describe(&emulator));
    let end = signals.wait(&emulator);
    emulator.stop();
    finish(&end)
}

fn describe(emulator: &Emulator) -> String {
    let account = emulator.account();
    let address = emulator.address();
    format!(
        "IAM and TLS front of an emulated cluster, over PostgreSQL {} (no SQL rules of DSQL)\n\
         \n  endpoint     {}\n  listens on   {address}\n  admin        http://{}\n  ca_file      {}\n  \
         credentials  {}\n\nStop with Ctrl-C.\n",
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
    pub fn listen() -> std::io::Result<Self> {
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

/// The exit code that belongs to an end.
#[must_use]
pub fn finish(end: &End) -> ExitCode {
    match end {
        End::Signal => ExitCode::SUCCESS,
        End::Postgres(status) => fail(&format!(
            "the local PostgreSQL ended ({status}); its log is postgres.log"
        )),
    }
}

/// Says why nothing runs.
pub fn fail(message: &str) -> ExitCode {
    // With stderr gone there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "dsql-proxy: {message}");
    ExitCode::from(COULD_NOT_START)
}

/// Prints to stdout at once, for whoever waits for it behind a pipe.
pub fn print_lines(text: &str) {
    let mut out = std::io::stdout();
    // A closed stdout does not stop the servers.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
