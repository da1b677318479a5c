//! The real binary, started with a configuration written for one test.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use rustls::ClientConfig;
use sha2::{Digest, Sha256};

use crate::client::{Client, Login, LoginError, PATIENCE};
use crate::dsql::Cluster;
use crate::ports;
use crate::postgres::{self, ROLE};

/// What to start.
pub struct Plan {
    /// Keys of the cluster besides its pool, one a line.
    cluster: String,
    /// What all databases are called upstream; else as here.
    upstream_database: Option<&'static str>,
    pool: BTreeMap<&'static str, String>,
    databases: Vec<String>,
    users: Vec<String>,
    /// Further keys of the first user.
    owner: &'static str,
    session_mode: bool,
    savepoints: Option<&'static str>,
    retry: Option<String>,
    dialect: &'static str,
    /// Further keys of each database entry.
    entry: String,
    workers: usize,
    tls: bool,
    tls_required: bool,
    sections: String,
    listen: String,
    descriptors: Option<u32>,
}

/// A proxy in front of the test cluster with a pool of two and one worker.
pub fn plan() -> Plan {
    let plan = Plan {
        cluster: String::new(),
        upstream_database: None,
        pool: BTreeMap::from([("size", "2".into()), ("wait_timeout", "20s".into())]),
        databases: ["app", "direct", "proxied"].map(str::to_owned).to_vec(),
        users: Vec::new(),
        owner: "",
        session_mode: false,
        retry: None,
        savepoints: None,
        dialect: "off",
        entry: String::new(),
        workers: 1,
        tls: false,
        tls_required: false,
        sections: String::new(),
        listen: String::new(),
        descriptors: None,
    };
    plan.endpoint(&postgres::cluster().socket_endpoint())
}

impl Plan {
    /// Connections of each pool.
    pub fn size(self, size: usize) -> Self {
        self.pool("size", size)
    }

    /// One key of the cluster's `pool`.
    pub fn pool(mut self, key: &'static str, value: impl ToString) -> Self {
        self.pool.insert(key, value.to_string());
        self
    }

    /// Worker threads.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// `pool_mode: session`.
    pub fn session_mode(mut self) -> Self {
        self.session_mode = true;
        self
    }

    /// What becomes of savepoints.
    pub fn savepoints(mut self, way: &'static str) -> Self {
        self.savepoints = Some(way);
        self
    }

    /// `retry` with so many attempts.
    pub fn retry(self, attempts: u32) -> Self {
        self.retry_with(&format!("attempts: {attempts}"))
    }

    /// `retry` with these keys, as a YAML flow mapping without the braces.
    pub fn retry_with(mut self, keys: &str) -> Self {
        self.retry = Some(keys.into());
        self
    }

    /// In front of an emulated DSQL cluster, whose one database all are.
    pub fn dsql(self, cluster: &Cluster) -> Self {
        self.dsql_at(cluster, cluster.address())
    }

    /// The same, dialled at another address than its own.
    pub fn dsql_at(mut self, cluster: &Cluster, address: SocketAddr) -> Self {
        self.cluster = cluster.keys(address);
        self.upstream_database = Some("postgres");
        self
    }

    /// `dialect`.
    pub fn dialect(mut self, dialect: &'static str) -> Self {
        self.dialect = dialect;
        self
    }

    /// One more key of each database entry.
    pub fn entry(mut self, key: &str, value: &str) -> Self {
        let _ = write!(self.entry, ", {key}: {value}");
        self
    }

    /// Another PostgreSQL than the test cluster.
    pub fn endpoint(mut self, endpoint: &str) -> Self {
        self.cluster =
            format!("kind: postgres\nendpoint: \"{endpoint}\"\nuser: {ROLE}\ntls: disable");
        self
    }

    /// A certificate for clients.
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// A certificate for clients, and no plain connections.
    pub fn tls_required(mut self) -> Self {
        self.tls = true;
        self.tls_required = true;
        self
    }

    /// One more database entry.
    // Only tests/corpus uses it.
    #[allow(dead_code)]
    pub fn database(mut self, name: &str) -> Self {
        self.databases.push(name.to_owned());
        self
    }

    /// Only this database entry, bound by this policy file; the first user sees all tenants.
    // Only tests/tenancy uses it.
    #[allow(dead_code)]
    pub fn tenancy(mut self, database: &str, policy: &std::path::Path) -> Self {
        self.databases = vec![database.to_owned()];
        self.owner = ", unrestricted: true";
        self.entry("tenancy", "policy").section(&format!(
            "tenancy: {{policy: {{file: \"{}\"}}}}",
            policy.display()
        ))
    }

    /// One more user, as a YAML flow mapping without the braces.
    pub fn user(mut self, keys: &str) -> Self {
        self.users.push(keys.into());
        self
    }

    /// One more key of `listen`.
    pub fn listen(mut self, key: &str, value: &str) -> Self {
        let _ = writeln!(self.listen, "  {key}: {value}");
        self
    }

    /// One more top-level section.
    pub fn section(mut self, yaml: &str) -> Self {
        self.sections.push_str(yaml);
        self.sections.push('\n');
        self
    }

    /// Limit of open file descriptors.
    pub fn descriptors(mut self, limit: u32) -> Self {
        self.descriptors = Some(limit);
        self
    }

    /// Starts it and waits until it takes connections.
    pub fn start(self) -> Proxy {
        // A port found free may be taken by a neighbour before the proxy binds it.
        for _ in 0..5 {
            if let Some(proxy) = self.try_start() {
                return proxy;
            }
        }
        panic!("the proxy does not start; its last words are above");
    }

    fn try_start(&self) -> Option<Proxy> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder =
            std::env::temp_dir().join(format!("dsql-proxy-it-run-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("temporary folder");
        let (port, admin_port) = (ports::free(), ports::free());
        let tls = self.tls.then(|| write_certificate(&folder));
        let config = folder.join("dsql-proxy.yaml");
        std::fs::write(&config, self.yaml(port, admin_port)).expect("configuration");

        let mut child = self.command(&config).spawn().expect("the binary starts");
        let log = Log::follow(child.stderr.take().expect("piped"));
        let deadline = Instant::now() + PATIENCE;
        loop {
            // The one for operators comes last.
            let open = |port| TcpStream::connect(("127.0.0.1", port)).is_ok();
            if open(port) && open(admin_port) {
                break;
            }
            if child.try_wait().expect("a child").is_some() || Instant::now() > deadline {
                let _ = child.kill();
                let _ = child.wait();
                eprintln!("{}", log.text());
                return None;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(Proxy {
            child,
            port,
            admin_port,
            folder,
            tls,
            log,
        })
    }

    fn command(&self, config: &std::path::Path) -> Command {
        let binary = env!("CARGO_BIN_EXE_dsql-proxy");
        let mut command = match self.descriptors {
            None => Command::new(binary),
            Some(limit) => {
                let mut command = Command::new("sh");
                command.args([
                    "-c",
                    &format!("ulimit -n {limit}; exec \"$0\" \"$@\""),
                    binary,
                ]);
                command
            }
        };
        command
            .args(["run", "--config"])
            .arg(config)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    fn yaml(&self, port: u16, admin_port: u16) -> String {
        let mut yaml = format!("listen:\n  address: 127.0.0.1:{port}\n{}", self.listen);
        if self.tls {
            let _ = writeln!(
                yaml,
                "  tls: {{certificate: server.crt, private_key: server.key, required: {}}}",
                self.tls_required
            );
        }
        let pool: Vec<String> = self
            .pool
            .iter()
            .map(|(key, value)| format!("{key}: {value}"))
            .collect();
        let _ = write!(
            yaml,
            "admin: {{address: 127.0.0.1:{admin_port}}}\nworkers: {}\nclusters:\n  main:\n    {}\n    \
             pool: {{{}}}\ndatabases:\n",
            self.workers,
            self.cluster.replace('\n', "\n    "),
            pool.join(", ")
        );
        let mode = if self.session_mode {
            "session"
        } else {
            "transaction"
        };
        let savepoints = self
            .savepoints
            .map_or(String::new(), |way| format!(", savepoints: {way}"));
        let retry = self
            .retry
            .as_ref()
            .map_or(String::new(), |keys| format!(", retry: {{{keys}}}"));
        for name in &self.databases {
            let upstream = self.upstream_database.unwrap_or(name);
            let _ = writeln!(
                yaml,
                "  {name}: {{cluster: main, upstream_database: {upstream}, dialect: {}, pool_mode: {mode}{retry}{savepoints}{}}}",
                self.dialect, self.entry
            );
        }
        let databases = self.databases.join(", ");
        let _ = writeln!(
            yaml,
            "users:\n  - {{name: {ROLE}, password: \"{}\", databases: [{databases}]{}}}",
            verifier(ROLE),
            self.owner
        );
        for user in &self.users {
            let _ = writeln!(yaml, "  - {{{user}, databases: [{databases}]}}");
        }
        yaml.push_str(&self.sections);
        yaml
    }
}

/// A verifier of one iteration: tests log in thousands of times in an unoptimised build.
pub fn verifier(password: &str) -> String {
    verifier_of(password, 1)
}

/// A SCRAM-SHA-256 verifier in PostgreSQL's form.
pub fn verifier_of(password: &str, iterations: u32) -> String {
    let salt = b"salt of the test";
    let mut first = salt.to_vec();
    first.extend(1u32.to_be_bytes());
    let mut block = mac(password.as_bytes(), &first);
    let mut salted = block.clone();
    for _ in 1..iterations {
        block = mac(password.as_bytes(), &block);
        salted
            .iter_mut()
            .zip(&block)
            .for_each(|(left, right)| *left ^= right);
    }
    let stored = Sha256::digest(mac(&salted, b"Client Key"));
    format!(
        "SCRAM-SHA-256${iterations}:{}${}:{}",
        base64(salt),
        base64(&stored),
        base64(&mac(&salted, b"Server Key"))
    )
}

fn mac(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().enumerate().fold(0u32, |word, (at, byte)| {
            word | u32::from(*byte) << (16 - 8 * at)
        });
        for at in 0..4 {
            let index = (word >> (18 - 6 * at)) as usize & 63;
            out.push(if at <= chunk.len() {
                ALPHABET[index] as char
            } else {
                '='
            });
        }
    }
    out
}

fn write_certificate(folder: &std::path::Path) -> Arc<ClientConfig> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    std::fs::write(folder.join("server.crt"), made.cert.pem()).expect("a file");
    std::fs::write(folder.join("server.key"), made.signing_key.serialize_pem()).expect("a file");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Arc::new(config)
}

/// A running proxy; killed when dropped.
pub struct Proxy {
    child: Child,
    /// Where clients connect, on 127.0.0.1.
    pub port: u16,
    /// Where operators connect, on 127.0.0.1.
    pub admin_port: u16,
    folder: PathBuf,
    tls: Option<Arc<ClientConfig>>,
    /// Its standard error.
    pub log: Log,
}

impl Proxy {
    /// Address for clients.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its configuration file.
    // Only tests/tenancy uses it.
    #[allow(dead_code)]
    pub fn config(&self) -> PathBuf {
        self.folder.join("dsql-proxy.yaml")
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Logs in as [`ROLE`] to the database `app`.
    pub fn connect(&self) -> Client {
        self.login(&Login::new(ROLE, "app"))
            .expect("login through the proxy")
    }

    /// Logs in.
    pub fn login(&self, login: &Login) -> Result<Client, LoginError> {
        Client::login(&self.address(), login)
    }

    /// A connection on which nothing was said yet.
    pub fn open(&self) -> Client {
        Client::open(&self.address()).expect("a connection")
    }

    /// A login of [`ROLE`] over TLS.
    pub fn tls_login(&self) -> Login {
        let mut login = Login::new(ROLE, "app");
        login.tls = Some(self.tls_config());
        login
    }

    /// What trusts the proxy's certificate.
    pub fn tls_config(&self) -> Arc<ClientConfig> {
        Arc::clone(self.tls.as_ref().expect("a plan with TLS"))
    }

    /// Changes its configuration file.
    pub fn edit(&self, change: impl FnOnce(&str) -> String) {
        let path = self.folder.join("dsql-proxy.yaml");
        let yaml = std::fs::read_to_string(&path).expect("the configuration");
        std::fs::write(&path, change(&yaml)).expect("the configuration");
    }

    /// Body of an HTTP GET at the admin port, with the status line's code.
    pub fn get(&self, path: &str) -> (u16, String) {
        self.ask("GET", path)
    }

    /// The same for POST.
    pub fn post(&self, path: &str) -> (u16, String) {
        self.ask("POST", path)
    }

    fn ask(&self, method: &str, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.admin_port)).expect("admin port");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("an open socket");
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        .expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let code = answer
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .unwrap_or(0);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let chunked = head
            .to_ascii_lowercase()
            .contains("transfer-encoding: chunked");
        (
            code,
            if chunked {
                unchunk(body)
            } else {
                body.to_owned()
            },
        )
    }

    /// A scrape of `/metrics`.
    pub fn metrics(&self) -> Metrics {
        let (code, text) = self.get("/metrics");
        assert_eq!(code, 200, "{text}");
        Metrics::read(&text)
    }

    /// Scrapes until `accept` is true; panics with the last scrape after `PATIENCE`.
    pub fn wait_metrics(&self, what: &str, accept: impl Fn(&Metrics) -> bool) -> Metrics {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let metrics = self.metrics();
            if accept(&metrics) {
                return metrics;
            }
            assert!(
                Instant::now() < deadline,
                "{what} never came true:\n{metrics:?}\n{}",
                self.log.text()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until no client is connected and no connection is leased or waited for.
    pub fn wait_base(&self) {
        self.wait_metrics("the base line", |metrics| {
            metrics.sum("dsqlproxy_clients", &[]) == 0.0
                && metrics.sum("dsqlproxy_servers", &[("state", "leased")]) == 0.0
                && metrics.sum("dsqlproxy_pool_waiters", &[]) == 0.0
        });
    }

    /// Waits until `count` clients wait for a connection.
    pub fn wait_waiters(&self, count: usize) {
        self.wait_metrics("waiters", |metrics| {
            metrics.sum("dsqlproxy_pool_waiters", &[]) == count as f64
        });
    }

    /// Resident memory in bytes.
    pub fn resident(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("alive");
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .expect("VmRSS");
        line.split_whitespace()
            .nth(1)
            .expect("a number")
            .parse::<u64>()
            .expect("a number")
            * 1024
    }

    /// Open file descriptors.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid()))
            .expect("alive")
            .count()
    }

    /// Threads.
    pub fn threads(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.pid()))
            .expect("alive")
            .count()
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let done = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.pid().to_string())
            .status();
        assert!(done.expect("kill").success());
    }

    /// Waits for its end and gives the exit code.
    pub fn wait_exit(&mut self, patience: Duration) -> Option<i32> {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }

    /// Whether it still runs.
    pub fn alive(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the proxy ---\n{}", self.log.tail(60));
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn unchunk(mut body: &str) -> String {
    let mut out = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let Ok(length) = usize::from_str_radix(length.trim(), 16) else {
            break;
        };
        let Some(chunk) = rest.get(..length).filter(|chunk| !chunk.is_empty()) else {
            break;
        };
        out.push_str(chunk);
        body = rest.get(length + 2..).unwrap_or("");
    }
    out
}

/// Lines of the proxy's standard error as they come.
#[derive(Clone)]
pub struct Log(Arc<(Mutex<Vec<String>>, Condvar)>);

impl Log {
    fn follow(stderr: impl Read + Send + 'static) -> Self {
        let log = Self(Arc::default());
        let lines = Arc::clone(&log.0);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.0.lock().expect("unpoisoned").push(line);
                lines.1.notify_all();
            }
        });
        log
    }

    /// Everything so far.
    pub fn text(&self) -> String {
        self.0.0.lock().expect("unpoisoned").join("\n")
    }

    /// The line that is the `count`-th to contain `text`, when it has come.
    pub fn wait_for(&self, text: &str, count: usize) -> String {
        let mut lines = self.0.0.lock().expect("unpoisoned");
        loop {
            let mut found = lines.iter().filter(|line| line.contains(text));
            if let Some(line) = found.nth(count - 1) {
                return line.clone();
            }
            let (guard, waited) = self.0.1.wait_timeout(lines, PATIENCE).expect("unpoisoned");
            assert!(!waited.timed_out(), "never logged: {text}");
            lines = guard;
        }
    }

    /// The last `count` lines.
    pub fn tail(&self, count: usize) -> String {
        let lines = self.0.0.lock().expect("unpoisoned");
        lines[lines.len().saturating_sub(count)..].join("\n")
    }

    /// Lines so far.
    pub fn len(&self) -> usize {
        self.0.0.lock().expect("unpoisoned").len()
    }
}

/// One scrape: every sample with its labels.
#[derive(Debug)]
pub struct Metrics(Vec<(String, String, f64)>);

impl Metrics {
    fn read(text: &str) -> Self {
        let samples = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| {
                let (series, value) = line.rsplit_once(' ')?;
                let (name, labels) = series.split_once('{').unwrap_or((series, ""));
                Some((
                    name.to_owned(),
                    labels.trim_end_matches('}').to_owned(),
                    value.parse().ok()?,
                ))
            });
        Self(samples.collect())
    }

    /// Whether there is any sample of that name.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(found, _, _)| found == name)
    }

    /// Sum of the samples of that name that carry all `labels`.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.0
            .iter()
            .filter(|(found, text, _)| {
                found == name
                    && labels
                        .iter()
                        .all(|(label, value)| text.contains(&format!("{label}=\"{value}\"")))
            })
            .map(|(_, _, value)| value)
            .sum()
    }
}
