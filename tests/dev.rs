//! `dev` up to the border of the proxy: state folder, sample data, configuration file, JSON line's
//! parts. The proxy itself is a stand-in here.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use dsql_proxy::cli::dev::{CONFIG_FILE, DevOptions, RunningProxy, run};
use dsql_proxy::config::{ClusterKind, Config};

struct Stub;

impl RunningProxy for Stub {
    fn address(&self) -> SocketAddr {
        "127.0.0.1:1".parse().unwrap()
    }
    fn admin_address(&self) -> Option<SocketAddr> {
        None
    }
    fn stop(self: Box<Self>) {}
}

fn options(dir: &Path) -> DevOptions {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    DevOptions {
        dir: dir.to_owned(),
        listen: any,
        admin: any,
        emulator_listen: any,
        emulator_admin: any,
        pg_bin: None,
        fresh: false,
        print_json: true,
    }
}

fn query(endpoint: &str, user: &str, database: &str, sql: &str) -> String {
    let (folder, port) = endpoint.rsplit_once(':').unwrap();
    let output = Command::new("psql")
        .args([
            "-XAtc", sql, "-h", folder, "-p", port, "-U", user, "-d", database,
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn dev_prepares_everything_twice_the_same() {
    let dir = tempfile::Builder::new()
        .prefix("dsql-")
        .tempdir_in("/tmp")
        .unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    for _ in 0..2 {
        let seen = std::cell::Cell::new(false);
        let start = |path: &Path| -> Result<Box<dyn RunningProxy>, String> {
            inspect(path);
            seen.set(true);
            // As from a terminal: the signal is caught already, and ends the wait at once.
            let id = std::process::id().to_string();
            assert!(
                Command::new("kill")
                    .args(["-INT", &id])
                    .status()
                    .unwrap()
                    .success()
            );
            Ok(Box::new(Stub))
        };
        assert_eq!(run(&options(dir.path()), &start), ExitCode::SUCCESS);
        assert!(seen.get());
    }
    let refuse = |_: &Path| -> Result<Box<dyn RunningProxy>, String> { Err("no".to_owned()) };
    assert_eq!(run(&options(dir.path()), &refuse), ExitCode::from(3));
    assert!(
        !dir.path().join("pgdata/postmaster.pid").exists(),
        "PostgreSQL is down"
    );
}

fn inspect(path: &Path) {
    assert!(path.ends_with(CONFIG_FILE));
    assert_eq!(
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let text = std::fs::read_to_string(path).unwrap();
    let config: Config = serde_saphyr::from_str(&text).unwrap();
    let main = &config.clusters["main"];
    assert_eq!(main.kind, ClusterKind::Dsql);
    assert!(
        main.connect_to
            .as_ref()
            .is_some_and(|to| !to.0.ends_with(":0"))
    );
    assert!(main.ca_file.as_ref().is_some_and(|file| file.exists()));
    for user in &config.users {
        let tenant = matches!(user.name.0.as_str(), "acme" | "globex");
        assert_eq!(user.databases.is_empty(), tenant, "{}", user.name.0);
        assert_eq!(user.name.0, user.password.0);
    }
    let plain = &config.clusters["plain"];
    let endpoint = &plain.endpoint.0;
    let counts = "SELECT (SELECT count(*) FROM countries), count(*) FILTER (WHERE tenant_id = 'acme'), \
                  count(*) FILTER (WHERE tenant_id = 'globex') FROM orders";
    assert_eq!(query(endpoint, "admin", "postgres", counts), "10|300|300");
    let own = "CREATE TABLE IF NOT EXISTS t (a int); SELECT rolsuper FROM pg_roles WHERE rolname = current_user";
    let bench = query(
        endpoint,
        &plain.user.0,
        &config.databases["bench"].upstream_database.0,
        own,
    );
    assert!(bench.ends_with('f'), "{bench}");
}
