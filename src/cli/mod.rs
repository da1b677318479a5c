//! The commands of the binary, one file each.

pub mod check;
pub mod dev;
pub mod emulate;
pub mod explain;
pub mod hash_password;
pub mod lint;
pub mod run;
pub mod signals;
pub mod tenants;
pub mod token;

use std::ffi::OsString;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::config::Problem;
use crate::emulator::EmulatorOptions;
use crate::sql::tree::nesting;

/// An ordinary PostgreSQL connection string in front of Amazon Aurora DSQL.
#[derive(Debug, Parser)]
#[command(name = "dsql-proxy", version, after_help = EXIT_CODES)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 the input was found wrong, 2 usage, 3 could not start (port, file, upstream).";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the proxy
    Run(RunArguments),
    /// Check a configuration file and name everything that is wrong in it
    Check(CheckArguments),
    /// Run a local PostgreSQL, the emulator and the proxy, with a sample database
    Dev(DevArguments),
    /// Run the emulator alone
    Emulate(EmulateArguments),
    /// Print what would become of a statement, without running it
    Explain(ExplainArguments),
    /// Print what would become of every statement of SQL files
    Lint(LintArguments),
    /// Tell what tenants may do
    #[command(subcommand)]
    Tenants(TenantsCommand),
    /// Read a password from standard input and print its SCRAM-SHA-256 verifier
    HashPassword(HashPasswordArguments),
    /// Print a fresh DSQL token, to log in to a cluster by hand
    Token(TokenArguments),
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// What the emulated cluster is like: arguments of `dev` and `emulate`.
#[derive(Debug, Args)]
pub struct ClusterArguments {
    /// Folder of initdb and postgres; searched for when left out
    #[arg(long, value_name = "DIR")]
    pub pg_bin: Option<PathBuf>,
    /// Month whose rules of Aurora DSQL hold, as in 2026-09; the newest known when left out
    #[arg(long, value_name = "YYYY-MM")]
    pub as_of: Option<String>,
    /// How long an asynchronous index build takes at least, in milliseconds; about 30000 in a real cluster
    #[arg(long, value_name = "MS", default_value_t = 1000)]
    pub job_duration: u64,
}

impl ClusterArguments {
    /// With where it lives and listens, what the emulator is to be started with.
    #[must_use]
    pub fn options(
        &self,
        dir: &Path,
        listen: SocketAddr,
        admin: SocketAddr,
        fresh: bool,
    ) -> EmulatorOptions {
        EmulatorOptions {
            dir: dir.to_owned(),
            listen,
            admin,
            pg_bin: self.pg_bin.clone(),
            fresh,
            as_of: self.as_of.clone(),
            job_duration: Duration::from_millis(self.job_duration),
        }
    }
}

/// Arguments of `dev`.
#[derive(Debug, Args)]
pub struct DevArguments {
    /// Folder for certificates, the configuration and the database; kept between runs
    #[arg(long, value_name = "DIR", default_value = ".dsql-proxy-dev")]
    pub dir: PathBuf,
    /// Address of the proxy
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:6432")]
    pub listen: SocketAddr,
    /// Address of the emulator
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:6434")]
    pub emulator_listen: SocketAddr,
    /// Address of the proxy's HTTP endpoint
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:6433")]
    pub admin: SocketAddr,
    /// Address of the emulator's HTTP endpoint
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:6435")]
    pub emulator_admin: SocketAddr,
    /// What the emulated cluster is like.
    #[command(flatten)]
    pub cluster: ClusterArguments,
    /// Begin with an empty DIR
    #[arg(long)]
    pub fresh: bool,
    /// Print one line of JSON when ready, in place of connection strings
    #[arg(long)]
    pub print_json: bool,
}

/// Arguments of `emulate`.
#[derive(Debug, Args)]
pub struct EmulateArguments {
    /// Folder for certificates and the database; kept between runs
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// Address for PostgreSQL clients
    #[arg(long, value_name = "ADDR")]
    pub listen: SocketAddr,
    /// Address of the HTTP endpoint
    #[arg(long, value_name = "ADDR")]
    pub admin: SocketAddr,
    /// What the emulated cluster is like.
    #[command(flatten)]
    pub cluster: ClusterArguments,
}

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArguments {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// User who sends the statement
    #[arg(long, value_name = "U")]
    pub user: String,
    /// Database the user is connected to; may be left out if there is one only
    #[arg(long, value_name = "D")]
    pub database: Option<String>,
    /// Tenant, for a user who is one of several, or names it by a token or certificate
    #[arg(long, value_name = "NAME")]
    pub tenant: Option<String>,
    /// Profile to use in place of the database's: strict, compat or off
    #[arg(long, value_name = "P")]
    pub profile: Option<String>,
    /// Month whose Aurora DSQL is meant, as in 2026-09; the newest known when left out
    #[arg(long, value_name = "YYYY-MM")]
    pub as_of: Option<String>,
    /// Rules in place of those that are compiled in, in the format of config/dialect.yaml
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// The statement
    #[arg(value_name = "SQL")]
    pub sql: String,
}

/// Arguments of `lint`.
#[derive(Debug, Args)]
pub struct LintArguments {
    /// Profile: strict, compat or off
    #[arg(long, value_name = "P", default_value = "compat")]
    pub profile: String,
    /// Month whose Aurora DSQL is meant, as in 2026-09; the newest known when left out
    #[arg(long, value_name = "YYYY-MM")]
    pub as_of: Option<String>,
    /// Rules in place of those that are compiled in, in the format of config/dialect.yaml
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,
    /// What the files are written for
    #[arg(long, value_enum, default_value_t)]
    pub from: lint::Source,
    /// How findings are written
    #[arg(long, value_enum, default_value_t)]
    pub format: lint::Format,
    /// Take it that sessions commit around DDL (dsqlproxy.ddl_in_transaction = split)
    #[arg(long)]
    pub split_transactions: bool,
    /// Print the files as Aurora DSQL takes them, in place of findings
    #[arg(long)]
    pub fix: bool,
    /// Files of SQL: output of pg_dump, migrations
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}

/// What to tell of tenants.
#[derive(Debug, Subcommand)]
pub enum TenantsCommand {
    /// Print what would become of logged statements if a tenant sent them; asks the database for its
    /// catalog
    Check(TenantsCheckArguments),
    /// Make, on the server, a role for each tenant and views of its rows, so that the database itself keeps
    /// tenants apart; prints every statement, and changes only what differs
    Sync(TenantsSyncArguments),
}

/// Arguments of `tenants sync`.
#[derive(Debug, Args)]
pub struct TenantsSyncArguments {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Database entry; needed when several have a tenant policy
    #[arg(long, value_name = "NAME")]
    pub database: Option<String>,
    /// A tenant; may be given more than once
    #[arg(long, value_name = "NAME", required = true)]
    pub tenant: Vec<String>,
    /// Print the statements and run none
    #[arg(long)]
    pub dry_run: bool,
}

/// Arguments of `tenants check`.
#[derive(Debug, Args)]
pub struct TenantsCheckArguments {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// User of the proxy who belongs to a tenant
    #[arg(long, value_name = "NAME")]
    pub user: String,
    /// Database entry; needed when the user has several
    #[arg(long, value_name = "NAME")]
    pub database: Option<String>,
    /// Tenant, for a user who is one of several, or names it by a token or certificate
    #[arg(long, value_name = "NAME")]
    pub tenant: Option<String>,
    /// Statements: a file of SQL, or a PostgreSQL server's log with log_statement
    #[arg(long, value_name = "FILE")]
    pub log: PathBuf,
    /// Print JSON, one line for each statement and one for the sums
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `hash-password`.
#[derive(Debug, Args)]
pub struct HashPasswordArguments {
    /// Rounds of PBKDF2; clients run them at every login
    #[arg(long, value_name = "N", default_value_t = 4096,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub iterations: u32,
}

/// Arguments of `token`.
#[derive(Debug, Args)]
pub struct TokenArguments {
    /// Configuration file
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "emulator",
        requires = "cluster"
    )]
    pub config: Option<PathBuf>,
    /// Name of the cluster in it
    #[arg(long, value_name = "C", requires = "config")]
    pub cluster: Option<String>,
    /// State folder of an emulator, instead of a configuration
    #[arg(long, value_name = "DIR", conflicts_with_all = ["config", "cluster"])]
    pub emulator: Option<PathBuf>,
    /// User of the emulator
    #[arg(long, value_name = "U", default_value = "admin", requires = "emulator")]
    pub user: String,
}

/// Why a command did not do what it was asked for; the text is for standard error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The input was found wrong (exit code 1).
    #[error("{0}")]
    Wrong(String),
    /// The command was called wrongly (exit code 2).
    #[error("{0}")]
    Usage(String),
    /// A port, file or server it needs could not be had (exit code 3).
    #[error("{0}")]
    Start(String),
}

impl Failure {
    /// The exit code of the process.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Wrong(_) => 1,
            Self::Usage(_) => 2,
            Self::Start(_) => 3,
        }
    }
}

impl From<Vec<Problem>> for Failure {
    fn from(problems: Vec<Problem>) -> Self {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Self::Wrong(lines.join("\n"))
    }
}

/// Runs the command that `arguments` (the program's name first) ask for.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version come here too, with code 0; nothing is left to do if it fails.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match on_own_thread(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "{failure}");
            ExitCode::from(failure.code())
        }
    }
}

/// The process's first thread has the stack that the shell gives it.
fn on_own_thread(command: Command) -> Result<(), Failure> {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("command".to_owned())
            .stack_size(nesting::STACK)
            .spawn_scoped(scope, || dispatch(command))
            .map_err(|error| Failure::Start(format!("no thread can be started: {error}")))?
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Dev(arguments) => dev::run(&arguments),
        Command::Emulate(arguments) => emulate::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Tenants(command) => tenants::run(&command),
        Command::Lint(arguments) => lint::run(&arguments),
        Command::HashPassword(arguments) => hash_password::run(&arguments),
        Command::Token(arguments) => print(&token::run(&arguments)?),
    }
}

/// Prints a line of result. A reader that went away is a failure, not a panic.
pub(crate) fn print(line: &str) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}")
        .and_then(|()| output.flush())
        .map_err(|error| Failure::Start(format!("cannot write to standard output: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, i32> {
        let words = std::iter::once("dsql-proxy").chain(line.split_whitespace());
        Arguments::try_parse_from(words)
            .map(|arguments| arguments.command)
            .map_err(|error| error.exit_code())
    }

    #[test]
    fn the_definition_is_sound() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }

    #[test]
    fn usage_errors_are_2_and_help_is_0() {
        let cases = [
            ("", 2),
            ("fly", 2),
            ("run", 2),
            ("run --config", 2),
            ("check --config a b", 2),
            ("emulate --dir d --listen here --admin 127.0.0.1:1", 2),
            ("hash-password --iterations 0", 2),
            ("hash-password --iterations 1000001", 2),
            ("token --config a", 2),
            ("--help", 0),
            ("--version", 0),
            ("dev --help", 0),
        ];
        for (line, code) in cases {
            assert_eq!(parse(line).expect_err(line), code, "{line}");
        }
    }

    #[test]
    fn dev_has_the_addresses_of_the_contract() {
        let Ok(Command::Dev(dev)) = parse("dev") else {
            panic!("dev needs no arguments");
        };
        let addresses = [
            dev.listen,
            dev.admin,
            dev.emulator_listen,
            dev.emulator_admin,
        ];
        let expected = [
            "127.0.0.1:6432",
            "127.0.0.1:6433",
            "127.0.0.1:6434",
            "127.0.0.1:6435",
        ];
        assert_eq!(addresses.map(|address| address.to_string()), expected);
        assert_eq!(dev.dir, PathBuf::from(".dsql-proxy-dev"));
        assert!(!dev.fresh && !dev.print_json && dev.cluster.pg_bin.is_none());
    }

    #[test]
    fn exit_codes() {
        let text = String::new;
        let failures = [
            Failure::Wrong(text()),
            Failure::Usage(text()),
            Failure::Start(text()),
        ];
        assert_eq!(failures.map(|failure| failure.code()), [1, 2, 3]);
    }
}
