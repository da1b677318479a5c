//! An emulated cluster of a test's own, and proxies in front of it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use dsql_proxy::emulator::{Emulator, EmulatorOptions, JOB_DURATION};
use serde_json::{Value, json};

use crate::client::{Client, PATIENCE};
use crate::proxy::{Plan, plan_of};

const LOOPBACK: &str = "127.0.0.1:0";

/// A running emulator; stopped when dropped.
pub struct Ground {
    emulator: Emulator,
    _dir: tempfile::TempDir,
}

impl Ground {
    pub fn start() -> Self {
        // PostgreSQL runs as another user when the tests run as root.
        let mut builder = tempfile::Builder::new();
        let dir = builder.prefix("dsql-").tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let emulator = Emulator::start(&EmulatorOptions {
            dir: dir.path().to_owned(),
            listen: LOOPBACK.parse().unwrap(),
            admin: LOOPBACK.parse().unwrap(),
            pg_bin: None,
            fresh: false,
            as_of: None,
            job_duration: JOB_DURATION,
        });
        Self {
            emulator: emulator.unwrap(),
            _dir: dir,
        }
    }

    /// Where the emulator takes connections.
    pub fn address(&self) -> SocketAddr {
        self.emulator.address()
    }

    /// A proxy in front of it.
    pub fn plan(&self) -> Plan {
        self.plan_at(self.address())
    }

    /// A proxy that dials this address for it.
    pub fn plan_at(&self, address: SocketAddr) -> Plan {
        let account = self.emulator.account();
        let keys = [
            ("kind", json!("dsql")),
            ("endpoint", json!(account.endpoint)),
            ("connect_to", json!(address.to_string())),
            ("region", json!(account.region)),
            ("user", json!("admin")),
            (
                "credentials",
                json!({"access_key_id": account.access_key_id, "secret_access_key": account.secret_access_key}),
            ),
            ("ca_file", json!(self.emulator.authority_file())),
        ];
        // JSON is YAML.
        let lines = keys.map(|(key, value)| format!("{key}: {value}"));
        plan_of(&lines.join("\n"), Some("postgres")).size(10)
    }

    /// Orders a fault.
    #[track_caller]
    pub fn order(&self, fault: Value) {
        let (status, answer) = self.http("POST", "/faults", &fault.to_string());
        assert_eq!(status, 200, "{fault}: {answer}");
    }

    /// Strikes that are left of all orders.
    pub fn orders_left(&self) -> u64 {
        let (_, left) = self.http("GET", "/faults", "");
        let orders = left["orders"].as_array().unwrap();
        let counts = orders.iter().map(|order| order["count"].as_u64().unwrap());
        counts.sum()
    }

    /// Waits until all orders have struck.
    #[track_caller]
    pub fn wait_struck(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.orders_left() > 0 {
            assert!(Instant::now() < deadline, "an order never strikes");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn forget_orders(&self) {
        assert_eq!(self.http("DELETE", "/faults", "").0, 200);
    }

    /// Moves the cluster's clock.
    pub fn advance(&self, seconds: u64) {
        let order = json!({"advance": format!("{seconds}s")}).to_string();
        let (status, answer) = self.http("POST", "/clock", &order);
        assert_eq!(status, 200, "{answer}");
    }

    /// A counter of the emulator.
    pub fn stat(&self, name: &str) -> u64 {
        self.http("GET", "/stats", "").1[name].as_u64().expect(name)
    }

    fn http(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut socket = TcpStream::connect(self.emulator.admin_address()).unwrap();
        write!(
            socket,
            "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }
}

/// Runs a statement until no schema change of somebody is in its way.
#[track_caller]
pub fn set_up(client: &mut Client, sql: &str) {
    for _ in 0..20 {
        let frames = client.query(sql);
        let Some(error) = frames.iter().find(|frame| frame.tag == b'E') else {
            return;
        };
        assert_eq!(error.sqlstate(), "40001", "{sql}: {}", error.render(false));
    }
    panic!("{sql}: no end of conflicts");
}
