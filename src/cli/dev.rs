//! `dsql-proxy dev`: local PostgreSQL, emulated cluster and proxy in one process, with sample data.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::emulate::{finish, print_lines, wait};
use super::run::Running;
use super::signals::Signals;
use super::{DevArguments, Failure};
use crate::emulator::postgres::PORT;
use crate::emulator::sample::{BENCH, prepare_dev};
use crate::emulator::{Emulator, write_private};

/// Name of the generated configuration file in the state folder.
pub const CONFIG_FILE: &str = "dsql-proxy.yaml";

/// Name of the tenant policy of the sample tables.
const POLICY_FILE: &str = "tenancy.yaml";

/// That policy.
const POLICY: &str = include_str!("../../config/tenancy.yaml");

/// How long open transactions may still take after a signal.
const STOPPING: Duration = Duration::from_secs(1);

/// Starts everything, prints how to connect, waits for SIGINT or SIGTERM, stops everything.
///
/// # Errors
/// What could not start, or how PostgreSQL ended.
pub fn run(arguments: &DevArguments) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let mut emulator = start_emulator(arguments)?;
    let config = emulator.dir().join(CONFIG_FILE);
    let proxy = match Running::start(&config) {
        Ok(proxy) => proxy,
        Err(failure) => {
            emulator.stop();
            return Err(failure);
        }
    };
    let ready = Ready::new(&emulator, &proxy, config);
    print_lines(&if arguments.print_json {
        ready.json()
    } else {
        ready.text()
    });
    let end = wait(&mut signals, &emulator);
    proxy.stop(STOPPING, &signals.hurry());
    emulator.stop();
    finish(&end)
}

fn start_emulator(options: &DevArguments) -> Result<Emulator, Failure> {
    let emulator = Emulator::start(&options.cluster.options(
        &options.dir,
        options.emulator_listen,
        options.emulator_admin,
        options.fresh,
    ))
    .map_err(|error| Failure::Start(error.to_string()))?;
    emulator
        .prepare(prepare_dev(emulator.postgres().socket_folder()))
        .map_err(|error| Failure::Start(error.to_string()))?;
    let path = emulator.dir().join(CONFIG_FILE);
    write_private(&path, configuration(options, &emulator).as_bytes())
        .map_err(|error| Failure::Start(format!("{}: {error}", path.display())))?;
    let path = emulator.dir().join(POLICY_FILE);
    write_private(&path, POLICY.as_bytes())
        .map_err(|error| Failure::Start(format!("{}: {error}", path.display())))?;
    Ok(emulator)
}

/// The configuration of the proxy, written anew at each start: ports and keys follow the emulator.
fn configuration(options: &DevArguments, emulator: &Emulator) -> String {
    let account = emulator.account();
    // JSON strings are YAML strings: paths may hold anything.
    let quoted = |text: &str| json!(text).to_string();
    let path = |path: &Path| quoted(&path.display().to_string());
    format!(
        "# Written by `dsql-proxy dev` at each start: change a copy.
listen: {{address: {listen}}}
admin: {{address: {admin}}}
clusters:
  main:
    kind: dsql
    endpoint: {endpoint}
    connect_to: {connect_to}
    region: {region}
    user: admin
    credentials:
      access_key_id: {access_key_id}
      secret_access_key: {secret_access_key}
    ca_file: {ca_file}
  plain:
    kind: postgres
    endpoint: {socket}
    user: {BENCH}
    tls: disable
databases:
  app: {{cluster: main, upstream_database: postgres, dialect: compat, tenancy: sample}}
  bench: {{cluster: plain, upstream_database: {BENCH}, dialect: off}}
users:
  - {{name: app, password: app, databases: [app, bench], unrestricted: true}}
  - {{name: admin, password: admin, databases: [app, bench], admin: true, unrestricted: true}}
  # Tenants: each sees its own rows of the sample tables.
  - {{name: acme, password: acme, databases: [app], tenant: acme}}
  - {{name: globex, password: globex, databases: [app], tenant: globex}}
tenancy:
  sample: {{file: {POLICY_FILE}}}
",
        listen = quoted(&options.listen.to_string()),
        admin = quoted(&options.admin.to_string()),
        endpoint = quoted(&account.endpoint),
        connect_to = quoted(&emulator.address().to_string()),
        region = quoted(&account.region),
        access_key_id = quoted(&account.access_key_id),
        secret_access_key = quoted(&account.secret_access_key),
        ca_file = path(&emulator.authority_file()),
        socket = quoted(&format!(
            "{}:{PORT}",
            emulator.postgres().socket_folder().display()
        )),
    )
}

/// What is told when everything runs.
struct Ready {
    proxy: SocketAddr,
    admin: Option<SocketAddr>,
    emulator: SocketAddr,
    emulator_admin: SocketAddr,
    endpoint: String,
    ca_file: PathBuf,
    config: PathBuf,
    postgres: String,
}

impl Ready {
    fn new(emulator: &Emulator, proxy: &Running, config: PathBuf) -> Self {
        Self {
            proxy: proxy.address(),
            admin: proxy.admin_address(),
            emulator: emulator.address(),
            emulator_admin: emulator.admin_address(),
            endpoint: emulator.account().endpoint.clone(),
            ca_file: emulator.authority_file(),
            config,
            postgres: emulator.postgres().connection_string("postgres"),
        }
    }

    fn json(&self) -> String {
        let line = json!({
            "ready": true,
            "proxy": self.proxy.to_string(),
            "admin": self.admin.map(|address| format!("http://{address}")),
            "emulator": self.emulator.to_string(),
            "emulator_admin": format!("http://{}", self.emulator_admin),
            "ca_file": self.ca_file,
            "config": self.config,
            "postgres": self.postgres,
        });
        format!("{line}\n")
    }

    fn text(&self) -> String {
        let mut out = String::from("dsql-proxy is ready. Connect with (password = user):\n\n");
        for (user, database) in [
            ("app", "app"),
            ("app", "bench"),
            ("admin", "app"),
            ("admin", "bench"),
            ("acme", "app"),
            ("globex", "app"),
        ] {
            // Writing into a String cannot fail.
            let _ = writeln!(
                out,
                "  psql 'postgresql://{user}:{user}@{}/{database}?sslmode=disable'",
                self.proxy
            );
        }
        let admin = self
            .admin
            .map_or("none".to_owned(), |address| format!("http://{address}"));
        let _ = write!(
            out,
            "\n  admin            {admin}\n  emulated cluster {} at {}\n  emulator admin   http://{}\n  \
             ca_file          {}\n  configuration    {}\n  local PostgreSQL psql '{}'\n\n\
             The users acme and globex are tenants: each sees its own rows (tenancy.yaml).\n\
             Stop with Ctrl-C.\n",
            self.endpoint,
            self.emulator,
            self.emulator_admin,
            self.ca_file.display(),
            self.config.display(),
            self.postgres
        );
        out
    }
}
