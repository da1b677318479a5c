//! Supervision of the local PostgreSQL that stores the emulated cluster's data.
//!
//! It listens on a unix socket only, trusts whoever can reach that socket (its folder is private to
//! the user it runs as), and does not sync to disk: data survives a crash of PostgreSQL or of the
//! proxy, not one of the machine.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, chown};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::sync::watch;

use super::binaries::{self, Binaries, RunAs};
use crate::wire::frontend::put_startup;

/// The superuser of the data folder.
pub const SUPERUSER: &str = "postgres";
/// The port in the socket's name; nothing listens on it.
pub const PORT: u16 = 5432;

/// Longest socket folder, in bytes: `sun_path` has 108 with its terminator, and
/// `/.s.PGSQL.5432.lock` comes behind the folder.
const SOCKET_FOLDER_MAX: usize = 107 - 19;
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Fast shutdown, immediate shutdown: how long each may take.
const STOP_TIMEOUTS: [(Signal, Duration); 3] = [
    (Signal::INT, Duration::from_secs(15)),
    (Signal::QUIT, Duration::from_secs(5)),
    (Signal::KILL, Duration::from_secs(5)),
];
const POLL: Duration = Duration::from_millis(20);

/// How to run PostgreSQL.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// State folder; must exist and be locked by the caller (see [`super::lock`]).
    pub dir: PathBuf,
    /// Folder of the server's programs; found by itself when left out.
    pub pg_bin: Option<PathBuf>,
    /// Connections at most.
    pub max_connections: u16,
    /// Throw the data away first.
    pub fresh: bool,
}

/// Why there is no running PostgreSQL.
#[derive(Debug, Error)]
pub enum PostgresError {
    /// No server programs of version 15 or above.
    #[error("no PostgreSQL server (15 or newer) found{}: install one (Debian: apt-get install postgresql) or run `make dev`, which fetches one",
            .pg_bin.as_ref().map(|folder| format!(" in {} that the user running it can reach", folder.display())).unwrap_or_default())]
    NoBinaries {
        /// The only folder searched, if one was named.
        pg_bin: Option<PathBuf>,
    },
    /// The data folder was made by a version that is not there.
    #[error(
        "the data was made by PostgreSQL {major}, which is not installed: install it, or start with --fresh to throw the data away"
    )]
    OtherVersion {
        /// Major version of the data.
        major: u32,
    },
    /// Root, and nobody to run PostgreSQL as.
    #[error(
        "PostgreSQL does not run as root, and there is neither a user postgres nor nobody: start as an ordinary user"
    )]
    NoUser,
    /// The data folder belongs to somebody else.
    #[error("{path} belongs to user id {owner}: start as that user, or with another --dir")]
    Owner {
        /// The folder.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// A file or folder could not be made or read.
    #[error("{path}: {cause}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A program could not be run or failed.
    #[error("{program} failed: {reason}")]
    Program {
        /// The program.
        program: String,
        /// Its own words.
        reason: String,
    },
    /// It did not answer in time.
    #[error("PostgreSQL did not get ready within {} s: {log}", START_TIMEOUT.as_secs())]
    NotReady {
        /// Last lines of its log.
        log: String,
    },
    /// A server of an earlier run holds the data and does not stop.
    #[error(
        "a PostgreSQL of an earlier run (process {pid}) holds the data and does not stop: end it by hand"
    )]
    Orphan {
        /// Its process id.
        pid: i32,
    },
}

/// A running PostgreSQL. Stopped on drop.
#[derive(Debug)]
pub struct Postgres {
    socket_folder: PathBuf,
    version: u32,
    commands: Option<mpsc::Sender<()>>,
    exit: watch::Receiver<Option<ExitStatus>>,
    supervisor: Option<JoinHandle<()>>,
}

/// Where things are.
#[derive(Debug, Clone)]
struct Places {
    data: PathBuf,
    socket: PathBuf,
    log: PathBuf,
}

impl Postgres {
    /// Makes the data folder if there is none, starts the server and waits until it answers.
    ///
    /// A server that an earlier, killed run left behind on the same data is stopped first.
    ///
    /// # Errors
    /// What kept it from starting, with what to do.
    pub fn start(options: &PostgresOptions) -> Result<Self, PostgresError> {
        let dir = absolute(&options.dir)?;
        let run_as = RunAs::choose(&dir.join("pgdata"))?;
        let places = place(&dir, &run_as)?;
        stop_orphan(&places.data)?;
        if options.fresh {
            remove(&places.data)?;
        }
        check_owner(&places.data, &run_as)?;
        let binaries = binaries::find(
            options.pg_bin.as_deref(),
            &dir,
            data_version(&places.data),
            &run_as,
        )?;
        if data_version(&places.data).is_none() {
            initialise(&binaries, &places.data, &run_as)?;
        }
        make_folder(&places.socket, &run_as)?;
        let command = server_command(options, &binaries, &places, &run_as)?;
        Self::supervise(command, &binaries, &places)
    }

    fn supervise(
        command: Command,
        binaries: &Binaries,
        places: &Places,
    ) -> Result<Self, PostgresError> {
        let (exit_sender, exit) = watch::channel(None);
        let (commands, stop) = mpsc::channel();
        let (started_sender, started) = mpsc::channel();
        let supervisor = std::thread::Builder::new()
            .name("postgres".to_owned())
            .spawn(move || supervise(command, &started_sender, &stop, &exit_sender))
            .map_err(|cause| program_error("thread", &cause))?;
        let mut postgres = Self {
            socket_folder: places.socket.clone(),
            version: binaries.major,
            commands: Some(commands),
            exit,
            supervisor: Some(supervisor),
        };
        if let Ok(Err(cause)) = started.recv() {
            return Err(program_error("postgres", &cause));
        }
        postgres.await_ready(&places.log)?;
        Ok(postgres)
    }

    fn await_ready(&mut self, log: &Path) -> Result<(), PostgresError> {
        let socket = self.socket_folder.join(format!(".s.PGSQL.{PORT}"));
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if answers(&socket) {
                return Ok(());
            }
            if let Some(status) = *self.exit.borrow() {
                let reason = format!("{status}: {}", log_tail(log));
                return Err(PostgresError::Program {
                    program: "postgres".to_owned(),
                    reason,
                });
            }
            std::thread::sleep(POLL);
        }
        self.stop();
        Err(PostgresError::NotReady { log: log_tail(log) })
    }

    /// The folder of its unix socket, as libpq's `host`.
    #[must_use]
    pub fn socket_folder(&self) -> &Path {
        &self.socket_folder
    }

    /// The unix socket itself.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.socket_folder.join(format!(".s.PGSQL.{PORT}"))
    }

    /// Major version.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// A libpq connection string for the superuser.
    #[must_use]
    pub fn connection_string(&self, database: &str) -> String {
        let folder = quote_value(&self.socket_folder.display().to_string());
        format!("host={folder} port={PORT} user={SUPERUSER} dbname={database}")
    }

    /// How it ended, once it has.
    #[must_use]
    pub fn exit(&self) -> watch::Receiver<Option<ExitStatus>> {
        self.exit.clone()
    }

    /// Stops it: fast shutdown, then harder ones. Blocks until it is gone.
    pub fn stop(&mut self) {
        // The supervisor takes a closed channel for the order to stop.
        self.commands = None;
        if let Some(supervisor) = self.supervisor.take() {
            // It ends without panicking; were it not so, the server would be gone all the same.
            let _ = supervisor.join();
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Owns the child from its start to its end. A thread of its own, because the kernel delivers the
/// signal of `setpriv --pdeathsig` when the thread that started the child ends.
fn supervise(
    mut command: Command,
    started: &mpsc::Sender<io::Result<()>>,
    stop: &mpsc::Receiver<()>,
    exit: &watch::Sender<Option<ExitStatus>>,
) {
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(cause) => {
            // Nobody waits any more if this fails.
            let _ = started.send(Err(cause));
            return;
        }
    };
    let _ = started.send(Ok(()));
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) => {}
            Err(cause) => {
                tracing::error!(%cause, "cannot wait for PostgreSQL");
                return;
            }
        }
        match stop.recv_timeout(POLL) {
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            _ => match end(&mut child) {
                Some(status) => break status,
                None => return,
            },
        }
    };
    exit.send_replace(Some(status));
}

fn end(child: &mut Child) -> Option<ExitStatus> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw)?;
    for (signal, patience) in STOP_TIMEOUTS {
        // Not reaped yet, so the id is still this child's.
        let _ = kill_process(pid, signal);
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = child.try_wait() {
                return Some(status);
            }
            std::thread::sleep(POLL);
        }
        tracing::warn!(?signal, "PostgreSQL did not stop");
    }
    None
}

/// Quotes a value of a libpq connection string when it needs that.
fn quote_value(value: &str) -> String {
    if value
        .chars()
        .any(|c| c.is_whitespace() || matches!(c, '\'' | '\\'))
    {
        format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
    } else {
        value.to_owned()
    }
}

fn absolute(dir: &Path) -> Result<PathBuf, PostgresError> {
    dir.canonicalize().map_err(file_error(dir))
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> PostgresError {
    let path = path.to_owned();
    move |cause| PostgresError::File { path, cause }
}

fn program_error(program: &str, cause: &io::Error) -> PostgresError {
    PostgresError::Program {
        program: program.to_owned(),
        reason: cause.to_string(),
    }
}

/// Decides where data and socket live: in `dir`, unless the user PostgreSQL runs as cannot enter it
/// (root's home) or its path is too long for a socket. The other places have names that follow from
/// `dir`, so that the next start finds them.
fn place(dir: &Path, run_as: &RunAs) -> Result<Places, PostgresError> {
    let base = if run_as.can_enter(dir) {
        dir.to_owned()
    } else {
        let base = foreign_base(dir)?;
        make_folder(&base, run_as)?;
        tracing::info!(
            "PostgreSQL runs as user id {} and cannot enter {}; its data is in {}",
            run_as.uid,
            dir.display(),
            base.display()
        );
        base
    };
    let mut socket = base.join("socket");
    if socket.as_os_str().len() > SOCKET_FOLDER_MAX {
        let temporary = format!("dsql-proxy-{}-{}", run_as.uid, name_of(dir));
        socket = std::env::temp_dir().join(temporary);
    }
    Ok(Places {
        data: base.join("pgdata"),
        socket,
        log: dir.join("postgres.log"),
    })
}

fn foreign_base(dir: &Path) -> Result<PathBuf, PostgresError> {
    let parent = Path::new("/var/lib/dsql-proxy-dev");
    match std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(parent)
    {
        Ok(()) => Ok(parent.join(name_of(dir))),
        Err(cause) => Err(file_error(parent)(cause)),
    }
}

/// A stable short name for a folder.
fn name_of(dir: &Path) -> String {
    let hash = Sha256::digest(dir.as_os_str().as_encoded_bytes());
    hash[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Makes a folder that only PostgreSQL's user may enter, or checks that it is one: in a folder that
/// everybody may write to, somebody else could have made it first.
fn make_folder(path: &Path, run_as: &RunAs) -> Result<(), PostgresError> {
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) if run_as.other => {
            chown(path, Some(run_as.uid), Some(run_as.gid)).map_err(file_error(path))
        }
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => check_folder(path, run_as),
        Err(cause) => Err(file_error(path)(cause)),
    }
}

fn check_folder(path: &Path, run_as: &RunAs) -> Result<(), PostgresError> {
    let found = std::fs::symlink_metadata(path).map_err(file_error(path))?;
    if found.uid() != run_as.uid {
        return Err(PostgresError::Owner {
            path: path.to_owned(),
            owner: found.uid(),
        });
    }
    if !found.is_dir() || found.mode() & 0o077 != 0 {
        let cause = io::Error::other("is not a folder with access for its owner only");
        return Err(file_error(path)(cause));
    }
    Ok(())
}

fn check_owner(data: &Path, run_as: &RunAs) -> Result<(), PostgresError> {
    match std::fs::metadata(data) {
        Ok(found) if found.uid() != run_as.uid => Err(PostgresError::Owner {
            path: data.to_owned(),
            owner: found.uid(),
        }),
        _ => Ok(()),
    }
}

fn remove(path: &Path) -> Result<(), PostgresError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file_error(path)(error)),
        _ => Ok(()),
    }
}

/// The major version that made the data, `None` when there is none.
fn data_version(data: &Path) -> Option<u32> {
    std::fs::read_to_string(data.join("PG_VERSION"))
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// Runs `initdb` beside the final place and moves the result there, so that a start that was killed
/// half-way leaves nothing that looks whole.
fn initialise(binaries: &Binaries, data: &Path, run_as: &RunAs) -> Result<(), PostgresError> {
    let new = data.with_extension("new");
    remove(&new)?;
    make_folder(&new, run_as)?;
    let output = run_as
        .command(binaries.program("initdb"))
        .arg("-D")
        .arg(&new)
        .args(["-U", SUPERUSER, "-A", "trust", "--no-locale", "-E", "UTF8"])
        .args(["--no-sync", "--no-instructions"])
        .stdout(Stdio::null())
        .output()
        .map_err(|cause| program_error("initdb", &cause))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let reason = format!("{}: {words}", output.status);
        return Err(PostgresError::Program {
            program: "initdb".to_owned(),
            reason,
        });
    }
    remove(data)?;
    std::fs::rename(&new, data).map_err(file_error(data))
}

fn server_command(
    options: &PostgresOptions,
    binaries: &Binaries,
    places: &Places,
    run_as: &RunAs,
) -> Result<Command, PostgresError> {
    let log = open_log(&places.log)?;
    let errors = log.try_clone().map_err(file_error(&places.log))?;
    let server = binaries.program("postgres");
    // With setpriv the server stops by itself when we are killed; without, the next start stops it.
    let follow = ["--pdeathsig", "INT", "--"];
    let probe = follow
        .iter()
        .chain(&["true"])
        .map(|word| word.as_ref())
        .collect::<Vec<_>>();
    let mut command = if run_as.succeeds("setpriv", &probe) {
        let mut command = run_as.command("setpriv");
        command.args(follow).arg(&server);
        command
    } else {
        run_as.command(&server)
    };
    command
        .arg("-D")
        .arg(&places.data)
        .stdout(log)
        .stderr(errors);
    // A Ctrl-C in the terminal is for us; the server is told to stop when its clients are done.
    command.process_group(0);
    for setting in settings(options, &places.socket) {
        command.arg("-c").arg(setting);
    }
    Ok(command)
}

fn settings(options: &PostgresOptions, socket: &Path) -> Vec<String> {
    // The value is a list of folders with the quoting of identifiers.
    let socket = socket.display().to_string().replace('"', "\"\"");
    vec![
        "listen_addresses=".to_owned(),
        format!("port={PORT}"),
        format!("unix_socket_directories=\"{socket}\""),
        "unix_socket_permissions=0700".to_owned(),
        format!("max_connections={}", options.max_connections),
        "fsync=off".to_owned(),
        // Sooner than the sessions' lock_timeout: who waits for autovacuum sends it away.
        "deadlock_timeout=2ms".to_owned(),
        "synchronous_commit=off".to_owned(),
        "full_page_writes=off".to_owned(),
        "timezone=UTC".to_owned(),
        "log_timezone=UTC".to_owned(),
        "logging_collector=off".to_owned(),
    ]
}

/// Opens the server's log to append; one grown large is begun anew.
fn open_log(path: &Path) -> Result<File, PostgresError> {
    let large = std::fs::metadata(path).is_ok_and(|found| found.len() > 4 << 20);
    let mut options = OpenOptions::new();
    options.create(true);
    if large {
        options.write(true).truncate(true);
    } else {
        options.append(true);
    }
    options.open(path).map_err(file_error(path))
}

fn log_tail(path: &Path) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(600)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(4)..].join("; ")
}

/// Whether the server takes logins: it sends AuthenticationOk, not an error such as "starting up".
fn answers(socket: &Path) -> bool {
    let ask = || -> io::Result<bool> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut out = Vec::new();
        put_startup(&mut out, &[("user", SUPERUSER), ("database", "postgres")]);
        stream.write_all(&out)?;
        let mut tag = [0];
        stream.read_exact(&mut tag)?;
        Ok(tag[0] == b'R')
    };
    ask().unwrap_or(false)
}

/// Stops the server that an earlier run left behind. The caller holds the lock on the state folder,
/// so whoever runs on this data is an orphan.
fn stop_orphan(data: &Path) -> Result<(), PostgresError> {
    let lock = data.join("postmaster.pid");
    let Some(pid) = read_pid(&lock) else {
        return Ok(());
    };
    if !runs_in(pid, data) {
        // A number that another process has by now would keep PostgreSQL from starting.
        if Path::new("/proc/self").exists() {
            let _ = std::fs::remove_file(&lock);
        }
        return Ok(());
    }
    tracing::info!(
        pid = pid.as_raw_nonzero().get(),
        "stopping the PostgreSQL of an earlier run"
    );
    for (signal, patience) in STOP_TIMEOUTS {
        let _ = kill_process(pid, signal);
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if !runs_in(pid, data) {
                return Ok(());
            }
            std::thread::sleep(POLL);
        }
    }
    Err(PostgresError::Orphan {
        pid: pid.as_raw_nonzero().get(),
    })
}

fn read_pid(lock: &Path) -> Option<Pid> {
    let text = std::fs::read_to_string(lock).ok()?;
    Pid::from_raw(
        text.lines()
            .next()?
            .trim()
            .parse()
            .ok()
            .filter(|pid| *pid > 0)?,
    )
}

/// Whether a process has `data` as its working folder, as a running PostgreSQL has.
fn runs_in(pid: Pid, data: &Path) -> bool {
    std::fs::read_link(format!("/proc/{}/cwd", pid.as_raw_nonzero()))
        .is_ok_and(|folder| folder == data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_strings_are_quoted_when_needed() {
        for (value, expected) in [
            ("/a/b", "/a/b"),
            ("/a b", "'/a b'"),
            ("/it's", r"'/it\'s'"),
            (r"/a\b", r"'/a\\b'"),
        ] {
            assert_eq!(quote_value(value), expected);
        }
    }

    #[test]
    fn the_socket_list_is_quoted() {
        let options = PostgresOptions {
            dir: "/d".into(),
            pg_bin: None,
            max_connections: 7,
            fresh: false,
        };
        let settings = settings(&options, Path::new("/a, \"b"));
        assert!(settings.contains(&"unix_socket_directories=\"/a, \"\"b\"".to_owned()));
        assert!(settings.contains(&"max_connections=7".to_owned()));
        assert!(settings.contains(&"listen_addresses=".to_owned()));
    }
}
