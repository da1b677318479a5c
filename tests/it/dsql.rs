//! An emulated Aurora DSQL cluster for one test, with its clock and its faults.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use dsql_proxy::emulator::{Emulator, EmulatorOptions};
use serde_json::json;

use crate::client::PATIENCE;

/// A running emulator; it ends with the test.
pub struct Cluster {
    emulator: Emulator,
    _folder: tempfile::TempDir,
}

impl Cluster {
    /// Starts one with nothing in it.
    pub fn start() -> Self {
        // PostgreSQL runs as another user when the tests run as root.
        let folder = tempfile::Builder::new()
            .prefix("dsql-it-")
            .tempdir_in("/tmp")
            .expect("a folder");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))
            .expect("permissions");
        let loopback = "127.0.0.1:0".parse().expect("an address");
        let emulator = Emulator::start(&EmulatorOptions {
            dir: folder.path().join("cluster"),
            listen: loopback,
            admin: loopback,
            pg_bin: None,
            fresh: false,
            as_of: None,
            job_duration: Duration::from_millis(200),
        })
        .expect("an emulator");
        Self {
            emulator,
            _folder: folder,
        }
    }

    /// The keys of a cluster of this kind.
    pub fn yaml(&self) -> String {
        let account = self.emulator.account();
        format!(
            "kind: dsql\n    endpoint: {}\n    connect_to: \"{}\"\n    region: {}\n    user: admin\n    \
             credentials: {{access_key_id: {}, secret_access_key: \"{}\"}}\n    ca_file: \"{}\"\n",
            account.endpoint,
            self.emulator.address(),
            account.region,
            account.access_key_id,
            account.secret_access_key,
            self.emulator.authority_file().display(),
        )
    }

    /// Orders a fault.
    pub fn fault(&self, kind: &str, count: u64, pattern: &str) {
        let mut order = json!({"kind": kind, "count": count});
        if !pattern.is_empty() {
            order["match"] = json!(pattern);
        }
        self.post("/faults", &order.to_string());
    }

    /// Orders delays of statements.
    pub fn delay(&self, milliseconds: u64, count: u64, pattern: &str) {
        let order = json!({"kind": "delay", "count": count, "match": pattern, "ms": milliseconds});
        self.post("/faults", &order.to_string());
    }

    /// Moves its clock.
    pub fn advance(&self, seconds: u64) {
        self.post(
            "/clock",
            &json!({"advance": format!("{seconds}s")}).to_string(),
        );
    }

    fn post(&self, path: &str, body: &str) {
        let mut stream = TcpStream::connect(self.emulator.admin_address()).expect("admin port");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("an open socket");
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: \
             application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 20"), "{path} {body}: {answer}");
    }
}
