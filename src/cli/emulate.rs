//! `dsql-proxy emulate`: the emulated cluster alone.

use super::signals::Signals;
use super::{EmulateArguments, Failure};
use crate::emulator::Emulator;
use std::io::Write as _;

/// Runs the emulator until SIGINT or SIGTERM.
///
/// # Errors
/// What could not start, or how PostgreSQL ended.
pub fn run(arguments: &EmulateArguments) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let EmulateArguments {
        dir,
        listen,
        admin,
        cluster,
    } = arguments;
    let options = cluster.options(dir, *listen, *admin, false);
    let mut emulator =
        Emulator::start(&options).map_err(|error| Failure::Start(error.to_string()))?;
    print_lines(&describe(&emulator));
    let end = wait(&mut signals, &emulator);
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

/// Waits for a signal or for the emulator's PostgreSQL to end.
#[must_use]
pub fn wait(signals: &mut Signals, emulator: &Emulator) -> End {
    let mut exit = emulator.postgres().exit();
    let ended = signals.wait(async {
        let status = exit.wait_for(Option::is_some).await;
        status.ok().and_then(|status| *status)
    });
    match ended {
        Ok(_) => End::Signal,
        Err(status) => End::Postgres(
            status.map_or_else(|| "unknown status".to_owned(), |status| status.to_string()),
        ),
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
