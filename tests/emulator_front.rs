//! The emulator's front over a real PostgreSQL: what it lets in and what it refuses, on the wire.

#[path = "emulated/mod.rs"]
mod emulated;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use dsql_proxy::emulator::account::Account;
use dsql_proxy::emulator::{Emulator, EmulatorError, EmulatorOptions};
use dsql_proxy::wire::frontend::{SSL_REQUEST, put, put_cancel, put_query, put_startup};
use emulated::{Tls, client_tls, open_folder, options, sdk_token};
use serde_json::Value;

const LOOPBACK: &str = "127.0.0.1:0";

struct Fixture {
    emulator: Emulator,
    dir: tempfile::TempDir,
}

fn start() -> Fixture {
    let (emulator, dir) = emulated::start();
    Fixture { emulator, dir }
}

/// A token of this age.
fn token(account: &Account, user: &str, age: Duration) -> String {
    sdk_token(account, user, 900, SystemTime::now() - age, None)
}

fn token_with(account: &Account, user: &str, age: Duration, secret: &str) -> String {
    let mut account = account.clone();
    account.secret_access_key = secret.to_owned();
    token(&account, user, age)
}

type Parameters<'a> = &'a [(&'a str, &'a str)];

impl Fixture {
    fn address(&self) -> SocketAddr {
        self.emulator.address()
    }

    fn token(&self, user: &str) -> String {
        token(self.emulator.account(), user, Duration::ZERO)
    }

    fn tcp(&self) -> TcpStream {
        let socket = TcpStream::connect(self.address()).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        socket
    }

    /// TLS for a name; an address instead of a name means no SNI.
    fn tls(&self, socket: TcpStream, name: &str, alpn: &[&[u8]]) -> Tls {
        let mut config = client_tls(&self.emulator);
        config.enable_sni = name == self.emulator.account().endpoint;
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        emulated::secure(&self.emulator, config, socket)
    }

    fn after_ssl_request(&self) -> TcpStream {
        emulated::after_ssl_request(self.address())
    }

    fn open(&self) -> Tls {
        let endpoint = self.emulator.account().endpoint.clone();
        self.tls(self.after_ssl_request(), &endpoint, &[])
    }

    /// Startup and token; gives the connection and the first message behind them.
    fn log_in(&self, parameters: &[(&str, &str)], token: &str) -> (Tls, (u8, Vec<u8>)) {
        let mut stream = self.open();
        let first = log_in(&mut stream, parameters, token);
        (stream, first)
    }

    fn refusal(&self, parameters: &[(&str, &str)], token: &str) -> String {
        let (mut stream, mut first) = self.log_in(parameters, token);
        // PostgreSQL looks at the role only behind AuthenticationOk.
        if first == (b'R', vec![0; 4]) {
            first = message(&mut stream);
        }
        let (tag, body) = first;
        assert_eq!(tag, b'E', "{parameters:?}");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty(), "nothing follows a FATAL error");
        fields(&body)
    }

    fn http(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        self.http_with("host: localhost", method, path, body)
    }

    fn http_with(&self, header: &str, method: &str, path: &str, body: &str) -> (u16, Value) {
        emulated::http(&self.emulator, header, method, path, body)
    }

    fn stat(&self, name: &str) -> u64 {
        self.http("GET", "/stats", "").1[name].as_u64().unwrap()
    }

    /// Waits until a counter has a value: connections end on the server's own time.
    fn await_stat(&self, name: &str, value: u64) {
        for _ in 0..500 {
            if self.stat(name) == value {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{name} is {}, not {value}", self.stat(name));
    }

    fn psql(&self, user: &str, token: &str, mode: &str, sql: &str) -> Output {
        Command::new("psql")
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("PGPASSWORD", token)
            .env("PGSSLROOTCERT", self.emulator.authority_file())
            .args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql])
            .arg(format!(
                "host={} hostaddr=127.0.0.1 port={} user={user} dbname=postgres sslmode={mode}",
                self.emulator.account().endpoint,
                self.address().port()
            ))
            .output()
            .unwrap()
    }
}

fn log_in(stream: &mut Tls, parameters: &[(&str, &str)], token: &str) -> (u8, Vec<u8>) {
    let mut out = Vec::new();
    put_startup(&mut out, parameters);
    stream.write_all(&out).unwrap();
    let (tag, body) = message(stream);
    if tag == b'E' {
        return (tag, body);
    }
    assert_eq!(
        (tag, body.as_slice()),
        (b'R', &[0, 0, 0, 3][..]),
        "cleartext password is asked for"
    );
    out.clear();
    put(&mut out, b'p', &[token.as_bytes(), b"\0"]);
    stream.write_all(&out).unwrap();
    message(stream)
}

fn message(stream: &mut impl Read) -> (u8, Vec<u8>) {
    let mut head = [0; 5];
    stream.read_exact(&mut head).unwrap();
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    let mut body = vec![0; length - 4];
    stream.read_exact(&mut body).unwrap();
    (head[0], body)
}

fn fields(body: &[u8]) -> String {
    let fields = dsql_proxy::wire::backend::error_fields(body);
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    format!(
        "{} {} {} | {}",
        text(fields.severity),
        text(fields.code),
        text(fields.message),
        text(fields.hint)
    )
}

const DENIED: &str = "FATAL 08006 unable to accept connection, access denied | ";

#[test]
fn psql_logs_in_with_a_token_and_only_over_verified_tls() {
    let fixture = start();
    let sql = "CREATE TABLE t (a int); COMMIT; INSERT INTO t VALUES (1), (2); \
               SELECT sum(a) FROM t; SHOW transaction_isolation; SHOW server_encoding; \
               SELECT rolsuper FROM pg_roles WHERE rolname = current_user";
    let output = fixture.psql("admin", &fixture.token("admin"), "verify-full", sql);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        text.lines().skip(3).collect::<Vec<_>>(),
        ["3", "repeatable read", "UTF8", "f"]
    );

    let plain = fixture.psql("admin", &fixture.token("admin"), "disable", "SELECT 1");
    let error = String::from_utf8_lossy(&plain.stderr);
    assert!(
        error.contains("access denied") && error.contains("use TLS"),
        "{error}"
    );

    let wrong = fixture.psql("admin", "nonsense", "require", "SELECT 1");
    let error = String::from_utf8_lossy(&wrong.stderr);
    assert!(
        error.contains("access denied") && error.contains("malformed"),
        "{error}"
    );
    assert_eq!(
        (fixture.stat("logins"), fixture.stat("refused_logins")),
        (1, 2)
    );
    fixture.await_stat("connections", 0);
}

#[test]
fn logins_are_refused_in_the_words_of_dsql() {
    let fixture = start();
    let account = fixture.emulator.account().clone();
    let admin = fixture.token("admin");
    let user = fixture.token("someone");
    let old = token(&account, "admin", Duration::from_secs(1000));
    let forged = token_with(&account, "admin", Duration::ZERO, "another secret");
    let endpoint = account.endpoint.as_str();
    let elsewhere = Account {
        endpoint: format!("x{endpoint}"),
        ..account.clone()
    };
    let other_host = token(&elsewhere, "admin", Duration::ZERO);
    let elsewhere = Account {
        region: "eu-west-1".to_owned(),
        ..account.clone()
    };
    let other_region = token(&elsewhere, "admin", Duration::ZERO);
    let as_admin: Parameters = &[("user", "admin"), ("database", "postgres")];
    let cases: Vec<(Parameters, &str, String)> = vec![
        (
            as_admin,
            &user,
            format!("{DENIED}Wrong user to action mapping. user: admin, action: DbConnect"),
        ),
        (
            &[("user", "app")],
            &admin,
            format!("{DENIED}Wrong user to action mapping. user: app, action: DbConnectAdmin"),
        ),
        (as_admin, &old, format!("{DENIED}Signature expired: ")),
        (
            as_admin,
            &forged,
            format!("{DENIED}The signature of the token does not match"),
        ),
        (
            as_admin,
            &other_host,
            format!("{DENIED}The token was signed for another endpoint"),
        ),
        (
            as_admin,
            &other_region,
            format!("{DENIED}The token was signed for another region"),
        ),
        (as_admin, "", format!("{DENIED}The token is malformed: ")),
        (
            &[("user", "postgres")],
            &user,
            "FATAL 08006 IAM authentication failed for user \"postgres\" | ".to_owned(),
        ),
        (
            &[("user", "nobody_here")],
            &user,
            "FATAL 08006 IAM authentication failed for user \"nobody_here\" | ".to_owned(),
        ),
        (
            &[("user", "")],
            &user,
            "FATAL 28000 no PostgreSQL user name specified".to_owned(),
        ),
        (
            &[("user", "admin"), ("database", "app")],
            &admin,
            "FATAL 3D000 database \"app\" does not exist | ".to_owned(),
        ),
        (
            &[("user", "admin"), ("statement_timeout", "5")],
            &admin,
            "FATAL 0A000 setting configuration parameter \"statement_timeout\" not supported | "
                .to_owned(),
        ),
        (
            &[("user", "admin"), ("options", "-c work_mem=1MB")],
            &admin,
            "FATAL 0A000 setting configuration parameter \"work_mem\" not supported | ".to_owned(),
        ),
        (
            &[("user", "admin"), ("replication", "database")],
            &admin,
            "FATAL 0A000 setting configuration parameter \"replication\" not supported | "
                .to_owned(),
        ),
        (
            &[("user", "admin"), ("options", "-c amzn-cluster-id=other")],
            &admin,
            format!("{DENIED}There is no cluster of this name"),
        ),
    ];
    let count = cases.len() as u64;
    for (parameters, token, expected) in cases {
        let refusal = fixture.refusal(parameters, token);
        assert!(refusal.starts_with(&expected), "{parameters:?}: {refusal}");
    }
    assert_eq!(fixture.stat("refused_logins"), count);
    fixture.await_stat("connections", 0);
}

#[test]
fn openings_of_every_kind() {
    let fixture = start();
    let endpoint = fixture.emulator.account().endpoint.clone();
    let admin = fixture.token("admin");
    let me = [
        ("user", "admin"),
        ("DateStyle", "ISO"),
        ("options", "-c search_path=x"),
    ];

    // No SNI.
    let mut stream = fixture.tls(fixture.after_ssl_request(), "no SNI", &[]);
    let (tag, body) = log_in(&mut stream, &me, &admin);
    assert_eq!(tag, b'E');
    assert_eq!(
        fields(&body),
        "FATAL 08006 unable to accept connection, sni was not received | "
    );

    // Direct TLS needs ALPN; with it all is well, and one byte at a time will do.
    let mut stream = fixture.tls(fixture.tcp(), &endpoint, &[b"postgresql"]);
    assert_eq!(log_in(&mut stream, &me, &admin), (b'R', vec![0, 0, 0, 0]));
    let mut stream = fixture.tls(fixture.tcp(), &endpoint, &[]);
    let mut out = Vec::new();
    put_startup(&mut out, &me);
    let mut answer = [0];
    let ended = stream
        .write_all(&out)
        .and_then(|()| stream.read(&mut answer));
    assert!(
        !matches!(ended, Ok(n) if n > 0),
        "direct TLS without ALPN gets no answer"
    );

    let mut stream = fixture.open();
    for byte in &out {
        stream.write_all(&[*byte]).unwrap();
    }
    assert_eq!(message(&mut stream).0, b'R');

    // Protocol 3.2 is negotiated down.
    out[4..8].copy_from_slice(&[0, 3, 0, 2]);
    let mut stream = fixture.open();
    stream.write_all(&out).unwrap();
    let (tag, body) = message(&mut stream);
    assert_eq!((tag, body), (b'v', vec![0, 3, 0, 0, 0, 0, 0, 0]));

    // GSS is declined, then TLS goes on.
    let mut socket = fixture.tcp();
    socket.write_all(&[0, 0, 0, 8, 4, 210, 22, 48]).unwrap();
    socket.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"N");
    socket.write_all(&SSL_REQUEST).unwrap();
    socket.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"S");

    // Cancel requests are taken and closed.
    let mut socket = fixture.tcp();
    out.clear();
    put_cancel(&mut out, 1, &[0; 4]);
    socket.write_all(&out).unwrap();
    assert_eq!(socket.read(&mut answer).unwrap(), 0);
    fixture.await_stat("cancels", 1);
}

#[test]
fn malformed_openings_end_in_an_error_or_a_closed_socket() {
    let fixture = start();
    let big = |length: u32| [&length.to_be_bytes()[..], &[0; 64]].concat();
    for bytes in [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        big(0),
        big(7),
        big(10_001),
        big(u32::MAX),
        vec![0, 0, 0, 8, 0, 2, 0, 0],
        vec![0x16; 600],
        vec![0, 0, 0, 9, 0, 3, 0, 0, b'x'],
        [&SSL_REQUEST[..], &[0, 0, 0, 8, 0, 3, 0, 0, 0]].concat(),
    ] {
        let mut socket = fixture.tcp();
        let mut rest = Vec::new();
        // The front may close while this is still being sent, and a reset is an end too.
        let _ = socket.write_all(&bytes);
        let _ = socket.shutdown(std::net::Shutdown::Write);
        let _ = socket.read_to_end(&mut rest);
        assert!(!rest.contains(&b'R'), "{bytes:?} got {rest:?}");
    }
    // Password messages that are none.
    for message_bytes in [
        b"Q\0\0\0\x05\0".to_vec(),
        b"p\0\0\0\x04".to_vec(),
        b"p\xff\xff\xff\xff".to_vec(),
        b"p\0\x02\0\0".to_vec(),
        b"p\0\0\0\x07a\0b".to_vec(),
        b"p\0\0\0\x05a".to_vec(),
    ] {
        let mut stream = fixture.open();
        let mut out = Vec::new();
        put_startup(&mut out, &[("user", "admin")]);
        stream.write_all(&out).unwrap();
        assert_eq!(message(&mut stream).0, b'R');
        stream.write_all(&message_bytes).unwrap();
        let (tag, body) = message(&mut stream);
        assert_eq!(tag, b'E');
        assert!(
            fields(&body).starts_with("FATAL 08P01 "),
            "{}",
            fields(&body)
        );
    }
    // A token of the largest size is read whole, and refused for what it is.
    let refusal = fixture.refusal(&[("user", "admin")], &"x".repeat(64 * 1024));
    assert!(refusal.starts_with(DENIED), "{refusal}");
    assert_eq!(fixture.stat("logins"), 0);
    let (_stream, (tag, _)) = fixture.log_in(&[("user", "admin")], &fixture.token("admin"));
    assert_eq!(tag, b'R', "nobody else was disturbed");
}

#[test]
fn faults_and_the_clock_can_be_ordered() {
    let fixture = start();
    let admin = fixture.token("admin");
    let me = [("user", "admin")];
    let order = |body: &str| fixture.http("POST", "/faults", body);
    assert_eq!(order(r#"{"kind":"refuse_login","count":1}"#).0, 200);
    assert_eq!(order(r#"{"kind":"expire_tokens","count":2}"#).0, 200);
    assert!(fixture.refusal(&me, &admin).starts_with(DENIED));
    assert!(
        fixture
            .refusal(&me, &admin)
            .starts_with(&format!("{DENIED}Signature expired"))
    );
    assert_eq!(fixture.http("GET", "/faults", "").1["expire_tokens"], 1);
    assert_eq!(fixture.http("DELETE", "/faults", "").0, 200);

    let (mut first, (tag, _)) = fixture.log_in(&me, &admin);
    assert_eq!(tag, b'R');
    while message(&mut first).0 != b'Z' {}
    let (status, moved) = fixture.http("POST", "/clock", r#"{"advance":"901s"}"#);
    assert_eq!(
        (status, moved["advanced_seconds"].as_u64()),
        (200, Some(901))
    );
    assert!(
        fixture
            .refusal(&me, &admin)
            .starts_with(&format!("{DENIED}Signature expired: "))
    );

    // A connection outlives its token.
    let mut out = Vec::new();
    put_query(&mut out, b"SELECT 42");
    first.write_all(&out).unwrap();
    assert_eq!(message(&mut first).0, b'T');
    assert_eq!(
        message(&mut first),
        (b'D', vec![0, 1, 0, 0, 0, 2, b'4', b'2'])
    );
    while message(&mut first).0 != b'Z' {}

    assert_eq!(fixture.stat("connections"), 1);
    assert_eq!(order(r#"{"kind":"cut"}"#).1["cut"], 1);
    let mut rest = Vec::new();
    assert!(
        first.read_to_end(&mut rest).is_err(),
        "cut without close_notify"
    );
    assert!(rest.is_empty(), "and without a word");
    fixture.await_stat("connections", 0);

    assert_eq!(order(r#"{"kind":"flood"}"#).0, 400);
    assert_eq!(fixture.http("POST", "/clock", "{").0, 400);
    assert_eq!(fixture.http("GET", "/other", "").0, 404);
}

#[test]
fn pages_of_other_sites_order_nothing() {
    let fixture = start();
    let fault = r#"{"kind":"refuse_login"}"#;
    for (header, status) in [
        ("host: evil.example", 421),
        ("host: evil.example\r\norigin: http://evil.example", 421),
        ("host: 127.0.0.1:1\r\norigin: http://evil.example", 403),
        ("host: 127.0.0.1:1\r\norigin: null", 403),
    ] {
        for (method, path, body) in [
            ("POST", "/faults", fault),
            ("DELETE", "/faults", ""),
            ("POST", "/clock", r#"{"advance":"300s"}"#),
        ] {
            let answer = fixture.http_with(header, method, path, body);
            assert_eq!(answer.0, status, "{method} {path} {header}");
        }
    }
    assert_eq!(fixture.http("GET", "/faults", "").1["refuse_login"], 0);
    assert_eq!(fixture.stat("clock_advance_seconds"), 0);
    let own = "host: 127.0.0.1:1\r\norigin: http://127.0.0.1:1";
    assert_eq!(fixture.http_with(own, "POST", "/faults", fault).0, 200);
}

#[test]
fn state_survives_stops_and_kills() {
    let mut fixture = start();
    let first = fixture.emulator.account().clone();
    let busy = Emulator::start(&options(fixture.dir.path())).unwrap_err();
    assert!(matches!(busy, EmulatorError::Lock(_)), "{busy}");
    let sql = "CREATE TABLE kept (a int)";
    assert!(
        fixture
            .psql("admin", &fixture.token("admin"), "require", sql)
            .status
            .success()
    );
    fixture.emulator.stop();
    let socket = fixture.emulator.postgres().socket();
    assert!(!socket.exists(), "PostgreSQL is down");

    fixture.emulator = {
        drop(fixture.emulator);
        Emulator::start(&options(fixture.dir.path())).unwrap()
    };
    assert_eq!(*fixture.emulator.account(), first);
    let keep = "SELECT count(*) FROM kept";
    let output = fixture.psql("admin", &fixture.token("admin"), "verify-full", keep);
    assert_eq!(output.stdout, b"0\n", "{output:?}");

    // PostgreSQL is killed with a client on it; the next start takes over.
    let (mut client, _) = fixture.log_in(&[("user", "admin")], &fixture.token("admin"));
    while message(&mut client).0 != b'Z' {}
    let pid = std::fs::read_to_string(fixture.dir.path().join("pgdata/postmaster.pid")).unwrap();
    let pid = pid.lines().next().unwrap();
    assert!(
        Command::new("kill")
            .args(["-KILL", pid])
            .status()
            .unwrap()
            .success()
    );
    let mut exit = fixture.emulator.postgres().exit();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(exit.wait_for(Option::is_some)).unwrap();
    drop(fixture.emulator);
    fixture.emulator = Emulator::start(&options(fixture.dir.path())).unwrap();
    let output = fixture.psql("admin", &fixture.token("admin"), "verify-full", keep);
    assert_eq!(output.stdout, b"0\n", "{output:?}");

    drop(fixture.emulator);
    let fresh = EmulatorOptions {
        fresh: true,
        ..options(fixture.dir.path())
    };
    fixture.emulator = Emulator::start(&fresh).unwrap();
    assert_ne!(*fixture.emulator.account(), first);
    let output = fixture.psql("admin", &fixture.token("admin"), "verify-full", keep);
    assert!(!output.status.success(), "the table is gone");
}

#[test]
fn what_keeps_it_from_starting_is_said() {
    let dir = open_folder();
    let none = EmulatorOptions {
        pg_bin: Some("/nowhere".into()),
        ..options(dir.path())
    };
    let error = Emulator::start(&none).unwrap_err().to_string();
    assert!(
        error.contains("no PostgreSQL server") && error.contains("/nowhere"),
        "{error}"
    );
    let taken = std::net::TcpListener::bind(LOOPBACK).unwrap();
    let port = taken.local_addr().unwrap();
    let error = Emulator::start(&EmulatorOptions {
        listen: port,
        ..options(dir.path())
    });
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("cannot listen on") && error.contains(&port.to_string()),
        "{error}"
    );
    std::fs::create_dir(dir.path().join("pgdata")).unwrap();
    std::fs::write(dir.path().join("pgdata/PG_VERSION"), "9\n").unwrap();
    let error = Emulator::start(&options(dir.path()))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("PostgreSQL 9") || error.contains("belongs to user id"),
        "{error}"
    );
}

#[test]
fn folders_that_are_too_long_or_closed_are_worked_around() {
    let dir = open_folder();
    let long = dir.path().join("a".repeat(100));
    let mut emulator = Emulator::start(&options(&long)).unwrap();
    let socket = emulator.postgres().socket_folder().to_owned();
    assert!(!socket.starts_with(&long));
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    emulator.stop();
    drop(emulator);
    std::fs::remove_dir(&socket).unwrap();

    let odd = dir.path().join("a \"b\", 'c");
    let emulator = Emulator::start(&options(&odd)).unwrap();
    assert!(emulator.postgres().socket_folder().starts_with(&odd));
    drop(emulator);

    // Closed to all but us: of consequence only when PostgreSQL runs as another user.
    let closed = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(closed.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let emulator = Emulator::start(&options(closed.path())).unwrap();
    let socket = emulator.postgres().socket_folder().to_owned();
    drop(emulator);
    let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    assert_eq!(socket.starts_with(closed.path()), !root);
    if root {
        std::fs::remove_dir_all(socket.parent().unwrap()).unwrap();
    }
}

/// Not a test: the process that the next one kills.
#[test]
#[ignore = "started by a_killed_process_leaves_nothing_behind"]
fn emulator_to_be_killed() {
    let Some(dir) = std::env::var_os("EMULATOR_TO_BE_KILLED") else {
        return;
    };
    let dir = std::path::PathBuf::from(dir);
    let _emulator = Emulator::start(&options(&dir)).unwrap();
    std::fs::write(dir.join("up"), "").unwrap();
    // Killed long before.
    std::thread::sleep(Duration::from_secs(120));
}

fn await_that(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..3000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{what} did not come about");
}

#[test]
fn a_killed_process_leaves_nothing_behind() {
    let has_setpriv = std::path::Path::new("/usr/bin/setpriv").exists();
    // With setpriv in PATH PostgreSQL follows its parent; without, the next start ends it.
    for path in ["/usr/bin:/bin", "/nowhere"] {
        let dir = open_folder();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "emulator_to_be_killed", "--ignored"])
            .env("EMULATOR_TO_BE_KILLED", dir.path())
            .env("PATH", path)
            .spawn()
            .unwrap();
        await_that("the start", || dir.path().join("up").exists());
        let lock = dir.path().join("pgdata/postmaster.pid");
        let process = || {
            let text = std::fs::read_to_string(&lock).unwrap_or_default();
            format!("/proc/{}", text.lines().next().unwrap_or("none"))
        };
        let orphan = process();
        assert!(std::path::Path::new(&orphan).exists());
        child.kill().unwrap();
        child.wait().unwrap();
        if path != "/nowhere" && has_setpriv {
            await_that("the end of PostgreSQL", || {
                !std::path::Path::new(&orphan).exists()
            });
        } else {
            assert!(std::path::Path::new(&orphan).exists());
        }
        let emulator = Emulator::start(&options(dir.path())).unwrap();
        assert_ne!(process(), orphan);
        await_that("the end of the orphan", || {
            !std::path::Path::new(&orphan).exists()
        });
        drop(emulator);
    }
}
