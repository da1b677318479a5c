//! One PostgreSQL cluster for the whole test process, started when first asked for.
//!
//! It lives in a temporary folder, listens on a unix socket and on a free TCP port of 127.0.0.1,
//! trusts everybody, and dies with the test process: a shell waits for the end of its own standard
//! input, which the kernel closes for us however the tests end, then stops the server and removes
//! the folder.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::client::{Client, Login, PATIENCE};
use crate::ports;

/// Role that owns what tests create; the proxy logs in with it.
pub const ROLE: &str = "app";

/// The running cluster.
pub struct Postgres {
    /// TCP port on 127.0.0.1.
    pub port: u16,
    /// Folder of the unix socket (the socket carries the same port number).
    pub socket_folder: PathBuf,
    _keeper: Child,
}

/// The cluster of this process, with the databases `direct`, `proxied` and `app` owned by [`ROLE`].
pub fn cluster() -> &'static Postgres {
    static CLUSTER: OnceLock<Postgres> = OnceLock::new();
    CLUSTER.get_or_init(start)
}

impl Postgres {
    /// Address for direct clients.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What goes into a cluster's `endpoint` to use the unix socket.
    pub fn socket_endpoint(&self) -> String {
        format!("{}:{}", self.socket_folder.display(), self.port)
    }

    /// A direct connection to `database` as [`ROLE`].
    pub fn connect(&self, database: &str) -> Client {
        self.login(ROLE, database)
    }

    /// A direct connection to `database` as superuser.
    pub fn connect_superuser(&self, database: &str) -> Client {
        self.login("postgres", database)
    }

    /// Logs in, after the recovery from a crashed backend if there was one.
    fn login(&self, user: &str, database: &str) -> Client {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Client::login(&self.address(), &Login::new(user, database)) {
                Ok(client) => return client,
                Err(error) => assert!(Instant::now() < deadline, "direct login: {error:?}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The folder with `initdb` and `postgres`: `PG_BIN`, else the newest of Debian's, else `PATH`.
pub fn bin_folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("PG_BIN") {
        return folder.into();
    }
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            let folder = entry.path().join("bin");
            folder.join("initdb").exists().then_some((version, folder))
        })
        .collect();
    versions.sort();
    match versions.pop() {
        Some((_, folder)) => folder,
        None => PathBuf::new(),
    }
}

fn start() -> Postgres {
    let folder = std::env::temp_dir().join(format!("dsql-proxy-it-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("temporary folder");
    let port = ports::free();
    let unprivileged = is_root();
    if unprivileged {
        let done = Command::new("chown").arg("postgres").arg(&folder).status();
        assert!(done.expect("chown").success(), "chown of the data folder");
    }
    let mut keeper = spawn_keeper(&folder, port, unprivileged);
    let mut line = String::new();
    let stdout = keeper.stdout.take().expect("piped");
    BufReader::new(stdout)
        .read_line(&mut line)
        .expect("a line from the keeper");
    assert_eq!(
        line.trim(),
        "ready",
        "PostgreSQL did not start: {}",
        std::fs::read_to_string(folder.join("log")).unwrap_or_default()
    );
    let cluster = Postgres {
        port,
        socket_folder: folder,
        _keeper: keeper,
    };
    prepare(&cluster);
    cluster
}

fn spawn_keeper(folder: &Path, port: u16, unprivileged: bool) -> Child {
    let bin = bin_folder();
    let tool = |name: &str| {
        let path = if bin.as_os_str().is_empty() {
            PathBuf::from(name)
        } else {
            bin.join(name)
        };
        path.display().to_string()
    };
    let script = format!(
        r#"
        cd '{folder}' || exit 1
        {initdb} -D data -U postgres -A trust --no-sync --locale=C -E UTF8 >log 2>&1 || {{ echo failed; exit 1; }}
        {postgres} -D data -p {port} -k '{folder}' -c listen_addresses=127.0.0.1 \
            -c max_connections=300 -c fsync=off -c synchronous_commit=off -c full_page_writes=off \
            -c autovacuum=off -c shared_buffers=64MB -c timezone=UTC -c max_prepared_transactions=0 \
            -c log_min_messages=log -c log_checkpoints=off -c log_min_error_statement=fatal >>log 2>&1 </dev/null &
        server=$!
        tries=0
        until {pg_isready} -q -h '{folder}' -p {port}; do
            tries=$((tries + 1)); kill -0 $server 2>/dev/null && [ $tries -lt 600 ] || {{ echo failed; exit 1; }}
            sleep 0.05
        done
        echo ready
        trap '' INT TERM
        read end
        kill -QUIT $server
        wait $server
        cp log /tmp/it-last-postgres.log; cd / && rm -rf '{folder}'
        "#,
        folder = folder.display(),
        initdb = tool("initdb"),
        postgres = tool("postgres"),
        pg_isready = tool("pg_isready"),
    );
    let mut command = if unprivileged {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--", "sh", "-c", &script]);
        command
    } else {
        let mut command = Command::new("sh");
        command.args(["-c", &script]);
        command
    };
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell")
}

fn prepare(cluster: &Postgres) {
    let mut admin = cluster.connect_superuser("postgres");
    admin.run(&format!("create role {ROLE} login"));
    admin.run(&format!("create role other nologin; grant other to {ROLE}"));
    for database in ["direct", "proxied", "app"] {
        admin.run(&format!("create database {database} owner {ROLE}"));
    }
}

/// Whether the tests run as root, which PostgreSQL refuses to.
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}
