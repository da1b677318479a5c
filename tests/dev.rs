//! `dsql-proxy dev` as a user runs it: ready line, both databases, state kept, clean end.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// A running `dev`, stopped with the test.
struct Dev {
    child: Child,
    ready: Value,
}

impl Dev {
    fn start(dir: &Path) -> Self {
        let any = "127.0.0.1:0";
        let mut child = Command::new(env!("CARGO_BIN_EXE_dsql-proxy"))
            .arg("dev")
            .arg("--dir")
            .arg(dir)
            .args(["--listen", any, "--admin", any])
            .args(["--emulator-listen", any, "--emulator-admin", any])
            .arg("--print-json")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let ready = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not ready: {line}"));
        Self { child, ready }
    }

    fn text(&self, key: &str) -> &str {
        self.ready[key].as_str().unwrap()
    }

    fn query(&self, user: &str, database: &str, sql: &str) -> Result<String, String> {
        let (host, port) = self.text("proxy").rsplit_once(':').unwrap();
        let output = Command::new("psql")
            .args([
                "-XAtc", sql, "-h", host, "-p", port, "-U", user, "-d", database,
            ])
            .env("PGPASSWORD", user)
            .env("PGSSLMODE", "disable")
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stderr))
        }
    }

    /// Stops it as a terminal does; gives the exit code.
    fn stop(mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        Command::new("kill").args(["-INT", &id]).status().unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A proxy of its own in front of the emulated cluster of a `dev`, with one connection.
struct Second(Child, String);

impl Second {
    fn start(dev: &Dev, dir: &Path) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let config = std::fs::read_to_string(dev.text("config")).unwrap();
        let lines = config.lines().map(|line| match line.trim_start() {
            own if own.starts_with("listen:") => {
                format!("listen: {{address: '127.0.0.1:{port}'}}\nworkers: 1")
            }
            own if own.starts_with("admin: {address") => String::new(),
            own if own.starts_with("ca_file:") => format!("{line}\n    pool: {{size: 1}}"),
            _ => line.to_owned(),
        });
        let path = dir.join("second.yaml");
        std::fs::write(&path, lines.collect::<Vec<_>>().join("\n")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_dsql-proxy"))
            .args(["run", "--config"])
            .arg(&path)
            .spawn()
            .unwrap();
        let address = format!("127.0.0.1:{port}");
        while std::net::TcpStream::connect(&address).is_err() {
            std::thread::yield_now();
        }
        Self(child, address)
    }

    /// Runs each statement in one session.
    fn session(&self, statements: &[&str]) -> String {
        let (host, port) = self.1.rsplit_once(':').unwrap();
        let mut psql = Command::new("psql");
        psql.args(["-XAtq", "-h", host, "-p", port, "-U", "app", "-d", "app"]);
        psql.args(statements.iter().flat_map(|statement| ["-c", statement]));
        let output = psql
            .env("PGPASSWORD", "app")
            .env("PGSSLMODE", "disable")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_dsql_connection_is_clean_for_the_next_client() {
    let dir = tempfile::Builder::new()
        .prefix("dsql-")
        .tempdir_in("/tmp")
        .unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let dev = Dev::start(dir.path());
    let proxy = Second::start(&dev, dir.path());
    let state = "SELECT concat_ws('|', current_setting('search_path'), \
                 current_setting('TimeZone'), current_user = session_user)";
    let before = proxy.session(&[state]);
    assert!(before.ends_with("|UTC|t"), "{before}");
    // What a DSQL session can leave behind that is not followed: these pin it.
    let traces: [&[&str]; 3] = [
        &["SELECT set_config('search_path', 'elsewhere', false)"],
        &["SELECT set_config('TimeZone', 'Asia/Tokyo', false)"],
        &[
            "SELECT set_config('search_path', 'elsewhere', false)",
            "BEGIN",
        ],
    ];
    for statements in traces {
        proxy.session(statements);
        assert_eq!(proxy.session(&[state]), before, "after {statements:?}");
    }
    drop(proxy);
    assert_eq!(dev.stop(), Some(0));
}

#[test]
fn dev_serves_both_databases_and_keeps_its_state() {
    let dir = tempfile::Builder::new()
        .prefix("dsql-")
        .tempdir_in("/tmp")
        .unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();

    let dev = Dev::start(dir.path());
    let counts = "SELECT count(*) FILTER (WHERE tenant_id = 'acme'), \
                  count(*) FILTER (WHERE tenant_id = 'globex') FROM orders";
    assert_eq!(dev.query("app", "app", counts).unwrap(), "300|300");
    dev.query("app", "bench", "CREATE TABLE kept (a int)")
        .unwrap();
    assert_eq!(dev.query("acme", "app", counts).unwrap(), "300|0");
    assert_eq!(dev.query("globex", "app", counts).unwrap(), "0|300");
    let refused = dev.query("acme", "bench", counts).unwrap_err();
    assert!(
        refused.contains("permission denied for database"),
        "{refused}"
    );
    let mode = std::fs::metadata(dev.text("config"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600, "the configuration holds keys");
    assert_eq!(dev.stop(), Some(0));
    assert!(
        !dir.path().join("pgdata/postmaster.pid").exists(),
        "PostgreSQL is down"
    );

    let dev = Dev::start(dir.path());
    assert_eq!(
        dev.query("app", "bench", "SELECT count(*) FROM kept")
            .unwrap(),
        "0"
    );
    let second = Command::new(env!("CARGO_BIN_EXE_dsql-proxy"))
        .args(["dev", "--dir"])
        .arg(dir.path())
        .output()
        .unwrap();
    assert_eq!(
        second.status.code(),
        Some(3),
        "one `dev` in a folder at a time"
    );
    assert_eq!(dev.stop(), Some(0));
}
