//! Logins at a real PostgreSQL, started for the test.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::fake::{Folder, Identity, plain};
use crate::config::{Cluster, Secret, Text, UpstreamTls};
use crate::upstream::{Backend, Backoff, Target, cancel, connect};
use crate::wire::backend::error_fields;
use crate::wire::frontend::put_query;

/// A server of its own with certificate, on a free port and a socket in `folder`.
struct Server {
    folder: Folder,
    port: u16,
    binaries: PathBuf,
    /// User to run as; PostgreSQL refuses to be root.
    user: Option<(u32, u32)>,
}

const HBA: &str = "local all all trust
host all trusted 127.0.0.1/32 trust
host all clear 127.0.0.1/32 password
host all hashed 127.0.0.1/32 md5
hostssl all scram_ssl 127.0.0.1/32 scram-sha-256
host all scram 127.0.0.1/32 scram-sha-256
";

impl Server {
    fn start(identity: &Identity) -> Self {
        let server = Self {
            folder: Folder::new(),
            port: free_port(),
            binaries: binaries(),
            user: unprivileged(),
        };
        server.own(&server.folder.0);
        let data = server.data();
        server.run(
            "initdb",
            &["-D", &data, "-U", "postgres", "-A", "trust", "-N"],
        );
        let file = |name: &str| server.folder.0.join("data").join(name);
        for (name, text) in [
            ("server.crt", identity.certificate_pem.as_str()),
            ("server.key", identity.key_pem.as_str()),
            ("pg_hba.conf", HBA),
        ] {
            write_private(&file(name), text);
            server.own(&file(name));
        }
        let options = format!(
            "-c port={} -c listen_addresses=127.0.0.1 -c unix_socket_directories={} -c ssl=on \
             -c max_connections=10 -c superuser_reserved_connections=3 -c fsync=off",
            server.port,
            server.folder.0.display()
        );
        let log = server.folder.0.join("log").display().to_string();
        server.run(
            "pg_ctl",
            &["-D", &data, "-w", "-s", "-l", &log, "-o", &options, "start"],
        );
        server
    }

    fn data(&self) -> String {
        self.folder.0.join("data").display().to_string()
    }

    fn own(&self, path: &Path) {
        if let Some((user, group)) = self.user {
            std::os::unix::fs::chown(path, Some(user), Some(group)).expect("chown");
        }
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(self.binaries.join(program));
        command.args(arguments).current_dir("/").env("LC_ALL", "C");
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        let log = self.folder.0.join(format!("{program}.out"));
        let out = std::fs::File::create(&log).expect("log");
        command.stdout(out.try_clone().expect("log")).stderr(out);
        let status = command.status().expect(program);
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        assert!(status.success(), "{program}: {said}");
    }

    /// Over TCP; the certificate is for `localhost`.
    fn cluster(&self, user: &str, password: &str, tls: UpstreamTls) -> Cluster {
        let mut cluster = plain(&format!("127.0.0.1:{}", self.port));
        cluster.user = Text(user.to_owned());
        cluster.password = Some(Secret(password.to_owned()));
        cluster.tls = Some(tls);
        cluster
    }

    fn local(&self) -> Cluster {
        let endpoint = format!("{}:{}", self.folder.0.display(), self.port);
        let mut cluster = super::cluster(crate::config::ClusterKind::Postgres, &endpoint);
        cluster.user = Text("postgres".to_owned());
        cluster
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut stop = Command::new(self.binaries.join("pg_ctl"));
        stop.args(["-D", &self.data(), "-m", "immediate", "-s", "stop"])
            .current_dir("/");
        if let Some((user, group)) = self.user {
            stop.uid(user).gid(group);
        }
        let _ = stop.status();
    }
}

fn write_private(path: &Path, text: &str) {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .expect("file");
    file.write_all(text.as_bytes()).expect("write");
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("port");
    listener.local_addr().expect("address").port()
}

/// `PG_BIN`, or the newest of Debian's folders.
fn binaries() -> PathBuf {
    if let Some(given) = std::env::var_os("PG_BIN") {
        return given.into();
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let newest = versions
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .max()
        .expect("PostgreSQL's server binaries: install postgresql or set PG_BIN");
    format!("/usr/lib/postgresql/{newest}/bin").into()
}

fn unprivileged() -> Option<(u32, u32)> {
    let number = |option: &str, user: Option<&str>| {
        let output = Command::new("id").arg(option).args(user).output().ok()?;
        String::from_utf8(output.stdout)
            .ok()?
            .trim()
            .parse::<u32>()
            .ok()
    };
    if number("-u", None) != Some(0) {
        return None;
    }
    let postgres = Some("postgres");
    Some((
        number("-u", postgres).unwrap_or(65534),
        number("-g", postgres).unwrap_or(65534),
    ))
}

async fn open(cluster: &Cluster) -> Backend {
    let target = Target::new(cluster, "postgres").expect("target");
    connect(&target).await.expect("connected")
}

/// Runs one statement: the first column of each row, or SQLSTATE of the error.
async fn query(backend: &mut Backend, sql: &str) -> Result<Vec<String>, String> {
    let mut message = Vec::new();
    put_query(&mut message, sql.as_bytes());
    backend.stream.write_all(&message).await.expect("write");
    backend.stream.flush().await.expect("flush");
    let mut result = Ok(Vec::new());
    loop {
        let tag = backend.stream.read_u8().await.expect("type");
        let length = backend.stream.read_u32().await.expect("length") as usize;
        let mut body = vec![0; length - 4];
        backend.stream.read_exact(&mut body).await.expect("body");
        match tag {
            b'D' => {
                let size = u32::from_be_bytes([body[2], body[3], body[4], body[5]]) as usize;
                let text = String::from_utf8_lossy(&body[6..6 + size]).into_owned();
                if let Ok(rows) = &mut result {
                    rows.push(text);
                }
            }
            b'E' => {
                let code = error_fields(&body).code;
                result = Err(String::from_utf8_lossy(code).into_owned());
            }
            b'Z' => return result,
            _ => {}
        }
    }
}

const ROLES: &str = "SET password_encryption = 'scram-sha-256';
CREATE ROLE trusted LOGIN;
CREATE ROLE clear LOGIN PASSWORD 'päss word';
CREATE ROLE scram LOGIN PASSWORD 'päss word';
CREATE ROLE scram_ssl LOGIN PASSWORD 'päss word';
SET password_encryption = 'md5';
CREATE ROLE hashed LOGIN PASSWORD 'päss word';";

#[tokio::test]
async fn every_method_at_a_real_server() {
    let identity = Identity::new();
    let server = Server::start(&identity);
    let mut admin = open(&server.local()).await;
    query(&mut admin, ROLES).await.expect("roles");

    methods(&server, &identity).await;
    refusals(&server).await;
    cancels(&server, &mut admin).await;
    too_many(&server).await;
}

async fn methods(server: &Server, identity: &Identity) {
    use UpstreamTls::{Disable, Prefer, Require, VerifyFull};
    for user in ["trusted", "clear", "hashed", "scram", "scram_ssl"] {
        for tls in [Disable, Prefer, Require, VerifyFull] {
            if user == "scram_ssl" && tls == Disable {
                continue;
            }
            let mut cluster = server.cluster(user, "päss word", tls);
            if tls == VerifyFull {
                cluster.ca_file = Some(identity.ca_file());
            }
            let mut backend = open(&cluster).await;
            let sql = "SELECT current_user || ' ' || ssl FROM pg_stat_ssl \
                       WHERE pid = pg_backend_pid()";
            let encrypted = tls != Disable;
            let expected = format!("{user} {encrypted}");
            assert_eq!(
                query(&mut backend, sql).await,
                Ok(vec![expected]),
                "{tls:?}"
            );
            assert_eq!(backend.stream.is_tls(), encrypted);
            let pid = query(&mut backend, "SELECT pg_backend_pid()").await;
            assert_eq!(pid, Ok(vec![backend.pid.to_string()]));
            assert_eq!(backend.key.len(), 4);
            let has = |name: &str| backend.parameters.iter().any(|(found, _)| found == name);
            assert!(has("server_version") && has("client_encoding") && has("TimeZone"));
        }
    }
}

async fn refusals(server: &Server) {
    let wrong = server.cluster("scram", "wrong", UpstreamTls::Require);
    let nobody = server.cluster("nobody", "x", UpstreamTls::Disable);
    let plain = server.cluster("scram_ssl", "päss word", UpstreamTls::Disable);
    let good = server.cluster("trusted", "x", UpstreamTls::Disable);
    let cases = [
        (&wrong, "postgres", "28P01", "57P03"),
        (&nobody, "postgres", "28000", "57P03"),
        (&plain, "postgres", "28000", "57P03"),
        (&good, "missing", "3D000", "3D000"),
    ];
    for (cluster, database, code, told) in cases {
        let target = Target::new(cluster, database).expect("target");
        let error = connect(&target).await.expect_err(code);
        assert!(error.to_string().contains(code), "{error}");
        assert_eq!(error.backoff(), Backoff::Denied, "{error}");
        assert_eq!(error.client_error().code, told, "{error}");
    }
}

async fn cancels(server: &Server, admin: &mut Backend) {
    for tls in [UpstreamTls::Disable, UpstreamTls::Require] {
        let cluster = server.cluster("trusted", "x", tls);
        let target = Target::new(&cluster, "postgres").expect("target");
        let mut backend = connect(&target).await.expect("connected");
        let (pid, key) = (backend.pid, backend.key.clone());
        let canceller = async {
            let busy = format!(
                "SELECT 1 FROM pg_stat_activity WHERE pid = {pid} AND wait_event = 'PgSleep'"
            );
            while query(admin, &busy).await != Ok(vec!["1".to_owned()]) {}
            cancel(&target, None, pid, &key).await
        };
        let (slept, cancelled) =
            tokio::join!(query(&mut backend, "SELECT pg_sleep(600)"), canceller);
        cancelled.expect("sent");
        assert_eq!(slept, Err("57014".to_owned()));
        assert_eq!(
            query(&mut backend, "SELECT 7").await,
            Ok(vec!["7".to_owned()])
        );
    }
}

async fn too_many(server: &Server) {
    let cluster = server.cluster("trusted", "x", UpstreamTls::Disable);
    let target = Target::new(&cluster, "postgres").expect("target");
    let mut open = Vec::new();
    let error = loop {
        match connect(&target).await {
            Ok(backend) => open.push(backend),
            Err(error) => break error,
        }
        assert!(open.len() < 10, "the server has a limit of ten");
    };
    assert_eq!(error.backoff(), Backoff::Busy, "{error}");
    assert_eq!(error.client_error().code, "53300");
}
