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
    let refused = dev.query("acme", "app", counts).unwrap_err();
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
