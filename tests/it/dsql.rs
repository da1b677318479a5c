//! An emulated Aurora DSQL cluster for one test, with its clock and its faults.

// Each test binary uses its own part of it.
#![allow(dead_code)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dsql_proxy::emulator::{Emulator, EmulatorOptions};
use serde_json::{Value, json};

use crate::client::{Client, PATIENCE};
use crate::emulated;

/// A running emulator; it ends with the test.
pub struct Cluster {
    emulator: Emulator,
    _folder: tempfile::TempDir,
}

impl Cluster {
    /// Starts one with nothing in it.
    pub fn start() -> Self {
        Self::with_jobs_of(Duration::from_millis(200))
    }

    /// The same; jobs take at least so long on its clock.
    pub fn with_jobs_of(job_duration: Duration) -> Self {
        let folder = emulated::open_folder();
        let emulator = Emulator::start(&EmulatorOptions {
            job_duration,
            ..emulated::options(folder.path())
        })
        .expect("an emulator");
        Self {
            emulator,
            _folder: folder,
        }
    }

    /// Drops all that clients have made. Sessions are not told.
    pub fn empty(&self) {
        self.script(include_str!("../corpus/empty.sql"));
    }

    /// Runs a script behind the emulator's back, as superuser. Sessions are not told.
    #[track_caller]
    pub fn script(&self, script: &str) {
        let target = self.emulator.postgres().connection_string("postgres");
        let work = async {
            let (client, connection) =
                tokio_postgres::connect(&target, tokio_postgres::NoTls).await?;
            let talk = tokio::spawn(connection);
            client.batch_execute(script).await?;
            drop(client);
            let _ = talk.await;
            Ok(())
        };
        self.emulator.prepare(work).expect("a script that runs");
    }

    /// The emulator itself.
    pub fn emulator(&self) -> &Emulator {
        &self.emulator
    }

    /// Where it takes connections.
    pub fn address(&self) -> SocketAddr {
        self.emulator.address()
    }

    /// Its keys in a configuration, one a line, when it is dialled at this address.
    pub fn keys(&self, address: SocketAddr) -> String {
        let account = self.emulator.account();
        format!(
            "kind: dsql\nendpoint: {}\nconnect_to: \"{address}\"\nregion: {}\nuser: admin\n\
             credentials: {{access_key_id: {}, secret_access_key: \"{}\"}}\nca_file: \"{}\"",
            account.endpoint,
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
        self.order(&order);
    }

    /// Orders delays of statements.
    pub fn delay(&self, milliseconds: u64, count: u64, pattern: &str) {
        self.order(&json!({"kind": "delay", "count": count, "match": pattern, "ms": milliseconds}));
    }

    /// Orders a fault as the admin endpoint takes it.
    #[track_caller]
    pub fn order(&self, fault: &Value) {
        self.post("/faults", fault);
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

    /// Strikes that are left of all orders.
    pub fn orders_left(&self) -> u64 {
        let (_, left) = self.http("GET", "/faults", "");
        let orders = left["orders"].as_array().expect("orders");
        let counts = orders
            .iter()
            .map(|order| order["count"].as_u64().expect("a count"));
        counts.sum()
    }

    /// Takes back all orders.
    pub fn forget_orders(&self) {
        assert_eq!(self.http("DELETE", "/faults", "").0, 200);
    }

    /// Moves its clock.
    pub fn advance(&self, seconds: u64) {
        self.post("/clock", &json!({"advance": format!("{seconds}s")}));
    }

    /// A counter of the emulator.
    pub fn stat(&self, name: &str) -> u64 {
        self.http("GET", "/stats", "").1[name]
            .as_u64()
            .expect("a counter")
    }

    #[track_caller]
    fn post(&self, path: &str, order: &Value) {
        let (status, answer) = self.http("POST", path, &order.to_string());
        assert_eq!(status, 200, "{path} {order}: {answer}");
    }

    fn http(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        emulated::http(&self.emulator, "host: 127.0.0.1", method, path, body)
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
