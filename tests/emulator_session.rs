//! The emulator's sessions on the wire: both protocols, transactions, limits, faults, COPY.

#[path = "emulated/mod.rs"]
mod emulated;

use std::io::{Read, Write};
use std::time::{Duration, SystemTime};

use dsql_proxy::emulator::Emulator;
use dsql_proxy::wire::backend::error_fields;
use dsql_proxy::wire::frontend::{put, put_close_statement, put_parse, put_query, put_startup};
use emulated::{Tls, client_tls, sdk_token};
use serde_json::Value;

struct Fixture {
    emulator: Emulator,
    token: String,
    _dir: tempfile::TempDir,
}

fn start() -> Fixture {
    let (emulator, dir) = emulated::start();
    let token = sdk_token(emulator.account(), "admin", 7200, SystemTime::now(), None);
    Fixture {
        emulator,
        token,
        _dir: dir,
    }
}

impl Fixture {
    /// The first answers to a startup message and the token.
    fn knock(&self) -> Wire {
        let mut wire = Wire {
            stream: emulated::dial(&self.emulator),
        };
        let mut out = Vec::new();
        put_startup(&mut out, &[("user", "admin"), ("database", "postgres")]);
        wire.send(&out);
        wire
    }

    /// A session behind its login.
    fn session(&self) -> Wire {
        let mut wire = self.knock();
        assert_eq!(wire.message().0, b'R');
        let mut out = Vec::new();
        put(&mut out, b'p', &[self.token.as_bytes(), b"\0"]);
        wire.send(&out);
        wire.until_ready();
        wire
    }

    /// As the data folder's owner, around the emulator.
    fn superuser(&self, sql: &str) {
        let folder = self.emulator.postgres().socket_folder().to_owned();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (client, connection) = tokio_postgres::Config::new()
                .host_path(folder)
                .user("postgres")
                .dbname("postgres")
                .connect(tokio_postgres::NoTls)
                .await
                .unwrap();
            tokio::spawn(connection);
            client.batch_execute(sql).await.unwrap();
        });
    }

    fn http(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        emulated::http(&self.emulator, "host: 127.0.0.1", method, path, body)
    }

    fn order(&self, body: &str) {
        let (status, answer) = self.http("POST", "/faults", body);
        assert_eq!(status, 200, "{answer}");
    }

    fn advance(&self, by: &str) {
        let order = format!("{{\"advance\":\"{by}\"}}");
        assert_eq!(self.http("POST", "/clock", &order).0, 200);
    }

    fn stat(&self, name: &str) -> u64 {
        self.http("GET", "/stats", "").1[name].as_u64().unwrap()
    }
}

/// A connection as frames.
struct Wire {
    stream: Tls,
}

impl Wire {
    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    fn message(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head).unwrap();
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let mut body = vec![0; length - 4];
        self.stream.read_exact(&mut body).unwrap();
        (head[0], body)
    }

    fn until_ready(&mut self) -> Vec<(u8, Vec<u8>)> {
        let mut out = Vec::new();
        loop {
            let message = self.message();
            let last = message.0 == b'Z';
            out.push(message);
            if last {
                return out;
            }
        }
    }

    /// Messages in short: tags of commands, values of rows, errors, status.
    fn shown(&mut self) -> Vec<String> {
        self.until_ready().iter().map(show).collect()
    }

    fn query(&mut self, sql: &str) -> Vec<String> {
        let mut out = Vec::new();
        put_query(&mut out, sql.as_bytes());
        self.send(&out);
        self.shown()
    }

    /// As [`Wire::query`], without descriptions.
    fn run(&mut self, sql: &str) -> Vec<String> {
        let mut shown = self.query(sql);
        shown.retain(|line| line != COLUMNS);
        shown
    }

    /// What comes until the connection ends: whole bytes, and whether the end was a clean one.
    fn rest(&mut self) -> (Vec<u8>, bool) {
        let mut rest = Vec::new();
        let clean = self.stream.read_to_end(&mut rest).is_ok();
        (rest, clean)
    }
}

/// A RowDescription.
const COLUMNS: &str = "columns";

fn show((tag, body): &(u8, Vec<u8>)) -> String {
    let text = |bytes: &[u8]| {
        String::from_utf8_lossy(bytes)
            .trim_end_matches('\0')
            .to_owned()
    };
    match tag {
        b'C' | b'Z' => text(body),
        b'T' => COLUMNS.to_owned(),
        b'D' => {
            let mut values = Vec::new();
            let mut rest = &body[2..];
            while let [a, b, c, d, behind @ ..] = rest {
                let length = i32::from_be_bytes([*a, *b, *c, *d]);
                let length = usize::try_from(length).ok();
                values.push(length.map_or("NULL".to_owned(), |length| text(&behind[..length])));
                rest = &behind[length.unwrap_or(0)..];
            }
            values.join("|")
        }
        b'E' | b'N' => {
            let fields = error_fields(body);
            let mut line = format!("{} {}", text(fields.code), text(fields.message));
            if !fields.detail.is_empty() {
                line = format!("{line} | {}", text(fields.detail));
            }
            line
        }
        other => char::from(*other).to_string(),
    }
}

/// Messages of the extended protocol.
#[derive(Default)]
struct Pipeline(Vec<u8>);

impl Pipeline {
    fn parse(mut self, name: &str, sql: &str) -> Self {
        put_parse(&mut self.0, name.as_bytes(), sql.as_bytes(), &[0, 0]);
        self
    }

    fn bind(mut self, portal: &str, name: &str, values: &[&str]) -> Self {
        let mut tail = vec![0, 0];
        tail.extend_from_slice(&u16::try_from(values.len()).unwrap().to_be_bytes());
        for value in values {
            tail.extend_from_slice(&u32::try_from(value.len()).unwrap().to_be_bytes());
            tail.extend_from_slice(value.as_bytes());
        }
        tail.extend_from_slice(&[0, 0]);
        let pieces: &[&[u8]] = &[portal.as_bytes(), b"\0", name.as_bytes(), b"\0", &tail];
        put(&mut self.0, b'B', pieces);
        self
    }

    fn describe(mut self, kind: u8, name: &str) -> Self {
        put(&mut self.0, b'D', &[&[kind], name.as_bytes(), b"\0"]);
        self
    }

    fn execute(mut self, portal: &str, limit: u32) -> Self {
        put(
            &mut self.0,
            b'E',
            &[portal.as_bytes(), b"\0", &limit.to_be_bytes()],
        );
        self
    }

    fn close(mut self, name: &str) -> Self {
        put_close_statement(&mut self.0, name.as_bytes());
        self
    }

    fn flush(mut self) -> Self {
        put(&mut self.0, b'H', &[]);
        self
    }

    fn sync(mut self) -> Self {
        put(&mut self.0, b'S', &[]);
        self
    }

    /// One statement through the unnamed statement and portal.
    fn run(self, sql: &str, values: &[&str]) -> Self {
        self.parse("", sql).bind("", "", values).execute("", 0)
    }

    fn on(self, wire: &mut Wire) -> Vec<String> {
        wire.send(&self.0);
        wire.shown()
    }
}

fn pipeline() -> Pipeline {
    Pipeline::default()
}

const ABORTED: &str =
    "25P02 current transaction is aborted, commands ignored until end of transaction block";

#[test]
fn strings_of_statements() {
    let fixture = start();
    let mut wire = fixture.session();
    assert_eq!(wire.run("SELECT 1"), ["1", "SELECT 1", "I"]);
    assert_eq!(wire.run(" ; -- nothing"), ["I", "I"]);
    assert_eq!(
        wire.run("CREATE TABLE t (a int PRIMARY KEY, b text)"),
        ["CREATE TABLE", "I"]
    );
    assert_eq!(
        wire.run("INSERT INTO t VALUES (1, 'x'); INSERT INTO t VALUES (2, 'y') RETURNING a; SELECT count(*) FROM t"),
        ["INSERT 0 1", "2", "INSERT 0 1", "2", "SELECT 1", "I"]
    );
    // The first error ends the string and undoes it.
    let out = wire.run("INSERT INTO t VALUES (3, 'z'); SELECT 1/0; SELECT 2");
    assert_eq!(out, ["INSERT 0 1", "22012 division by zero", "I"]);
    let duplicate = "23505 duplicate key value violates unique constraint \"t_pkey\" | Key (a)=(1) already exists.";
    assert_eq!(
        wire.run("INSERT INTO t VALUES (3, 'z'); INSERT INTO t VALUES (1, '')"),
        ["INSERT 0 1", duplicate, "I"]
    );
    assert_eq!(wire.run("SELECT count(*) FROM t"), ["2", "SELECT 1", "I"]);
    // BEGIN and COMMIT inside a string.
    assert_eq!(
        wire.run("BEGIN; INSERT INTO t VALUES (3, ''); COMMIT"),
        ["BEGIN", "INSERT 0 1", "COMMIT", "I"]
    );
    assert_eq!(
        wire.run("INSERT INTO t VALUES (4, ''); BEGIN; INSERT INTO t VALUES (5, '')"),
        ["INSERT 0 1", "BEGIN", "INSERT 0 1", "T"]
    );
    assert_eq!(wire.run("ROLLBACK"), ["ROLLBACK", "I"]);
    assert_eq!(
        wire.run("INSERT INTO t VALUES (6, ''); COMMIT; SELECT 1/0"),
        [
            "INSERT 0 1",
            "25P01 there is no transaction in progress",
            "COMMIT",
            "22012 division by zero",
            "I"
        ]
    );
    assert_eq!(
        wire.run("INSERT INTO t VALUES (7, ''); ROLLBACK; SELECT max(a) FROM t"),
        [
            "INSERT 0 1",
            "25P01 there is no transaction in progress",
            "ROLLBACK",
            "6",
            "SELECT 1",
            "I"
        ]
    );
    // PostgreSQL words what cannot be parsed, with the position in the whole string.
    let mut out = Vec::new();
    put_query(&mut out, b"SELECT 1; SELECT x FROM t");
    wire.send(&out);
    let answer = wire.until_ready();
    let error = answer.iter().find(|(tag, _)| *tag == b'E').unwrap();
    let text = String::from_utf8_lossy(&error.1);
    assert!(
        text.contains("C42703\0") && text.contains("P18\0"),
        "{text}"
    );
    let shown = wire.run("INSERT INTO t VALUES (8, ''); SELEC 1");
    assert_eq!(shown, ["42601 syntax error at or near \"SELEC\"", "I"]);
    let mut out = Vec::new();
    put_query(&mut out, b"SELECT '\xff'");
    wire.send(&out);
    assert!(wire.shown()[0].starts_with("22021 "));
    assert_eq!(fixture.stat("commits"), 4);
}

#[test]
fn blocks_fail_and_end() {
    let fixture = start();
    let mut wire = fixture.session();
    wire.run("CREATE TABLE t (a int PRIMARY KEY)");
    assert_eq!(wire.run("BEGIN"), ["BEGIN", "T"]);
    assert_eq!(
        wire.run("SHOW transaction_isolation"),
        ["repeatable read", "SHOW", "T"]
    );
    assert_eq!(
        wire.run("BEGIN"),
        [
            "25001 there is already a transaction in progress",
            "BEGIN",
            "T"
        ]
    );
    assert_eq!(wire.run("INSERT INTO t VALUES (1)"), ["INSERT 0 1", "T"]);
    assert_eq!(wire.run("SELECT 1/0"), ["22012 division by zero", "E"]);
    assert_eq!(wire.run("SELECT 1"), [ABORTED, "E"]);
    assert_eq!(
        pipeline().parse("", "SELECT 1").sync().on(&mut wire),
        [ABORTED, "E"]
    );
    // Refusals come behind the state of the transaction.
    assert_eq!(wire.run("SAVEPOINT s"), [ABORTED, "E"]);
    assert_eq!(wire.run("COMMIT"), ["ROLLBACK", "I"]);
    assert_eq!(wire.run("SELECT count(*) FROM t"), ["0", "SELECT 1", "I"]);
    assert_eq!(
        wire.run("ROLLBACK"),
        ["25P01 there is no transaction in progress", "ROLLBACK", "I"]
    );
    wire.run("START TRANSACTION READ ONLY");
    let refused = "25006 cannot execute INSERT in a read-only transaction";
    assert_eq!(wire.run("INSERT INTO t VALUES (1)"), [refused, "E"]);
    assert_eq!(wire.run("ROLLBACK"), ["ROLLBACK", "I"]);
    // A refused statement fails a block and leaves a session.
    let savepoint = "0A000 unsupported transaction statement: SAVEPOINT";
    assert_eq!(wire.run("SAVEPOINT s"), [savepoint, "I"]);
    wire.run("BEGIN");
    assert_eq!(wire.run("SAVEPOINT s"), [savepoint, "E"]);
    assert_eq!(wire.run("END"), ["ROLLBACK", "I"]);
    // Constraints that are checked at COMMIT.
    wire.run("CREATE TABLE c (a int REFERENCES t DEFERRABLE INITIALLY DEFERRED)");
    wire.run("BEGIN");
    assert_eq!(wire.run("INSERT INTO c VALUES (9)"), ["INSERT 0 1", "T"]);
    let shown = wire.run("COMMIT");
    assert!(
        shown[0].starts_with("23503 ") && shown[1] == "I",
        "{shown:?}"
    );
    let shown = wire.run("INSERT INTO c VALUES (9)");
    assert!(
        shown[0].starts_with("23503 ") && shown.len() == 2,
        "{shown:?}"
    );
    // An abandoned transaction leaves nothing behind.
    wire.run("BEGIN; INSERT INTO t VALUES (5)");
    drop(wire);
    let mut wire = fixture.session();
    assert_eq!(wire.run("SELECT count(*) FROM t"), ["0", "SELECT 1", "I"]);
}

#[test]
fn ddl_and_dml_do_not_mix() {
    let fixture = start();
    let mut wire = fixture.session();
    let second = "0A000 multiple ddl statements not supported in a transaction";
    let mixed = "0A000 ddl and dml are not supported in the same transaction";
    assert_eq!(
        wire.run("CREATE TABLE a (x int); CREATE TABLE b (x int)"),
        ["CREATE TABLE", second, "I"]
    );
    wire.run("CREATE TABLE a (x int)");
    assert_eq!(
        wire.run("BEGIN; CREATE TABLE b (x int); INSERT INTO a VALUES (1)"),
        ["BEGIN", "CREATE TABLE", mixed, "E"]
    );
    assert_eq!(wire.run("ROLLBACK"), ["ROLLBACK", "I"]);
    assert_eq!(
        wire.run("INSERT INTO a VALUES (1); DROP TABLE a"),
        ["INSERT 0 1", mixed, "I"]
    );
    assert_eq!(wire.run("SELECT count(*) FROM a"), ["0", "SELECT 1", "I"]);
    let shown = pipeline()
        .run("CREATE TABLE b (x int)", &[])
        .run("CREATE TABLE c (x int)", &[])
        .sync()
        .on(&mut wire);
    assert_eq!(shown, ["1", "2", "CREATE TABLE", "1", "2", second, "I"]);
    wire.run("BEGIN");
    assert_eq!(
        pipeline()
            .run("CREATE TABLE b (x int)", &[])
            .sync()
            .on(&mut wire),
        ["1", "2", "CREATE TABLE", "T"]
    );
    assert_eq!(
        pipeline().run("DELETE FROM a", &[]).sync().on(&mut wire),
        ["1", "2", mixed, "E"]
    );
    assert_eq!(
        pipeline().run("COMMIT", &[]).sync().on(&mut wire),
        ["1", "2", "ROLLBACK", "I"]
    );
}

#[test]
fn the_extended_protocol() {
    let fixture = start();
    let mut wire = fixture.session();
    wire.run("CREATE TABLE t (a int PRIMARY KEY, b text)");
    let shown = pipeline()
        .parse("ins", "INSERT INTO t VALUES ($1::int, $2) RETURNING a")
        .describe(b'S', "ins")
        .sync()
        .on(&mut wire);
    assert_eq!(shown, ["1", "t", COLUMNS, "I"]);
    let shown = pipeline()
        .bind("", "ins", &["1", "x"])
        .describe(b'P', "")
        .execute("", 0)
        .bind("", "ins", &["2", "y"])
        .execute("", 0)
        .sync()
        .on(&mut wire);
    assert_eq!(
        shown,
        ["2", COLUMNS, "1", "INSERT 0 1", "2", "2", "INSERT 0 1", "I"]
    );
    // An error undoes the pipeline, and what follows up to Sync is dropped.
    let shown = pipeline()
        .bind("", "ins", &["3", "z"])
        .execute("", 0)
        .bind("", "ins", &["1", "again"])
        .execute("", 0)
        .run("SELECT 1", &[])
        .sync()
        .on(&mut wire);
    assert_eq!(shown.len(), 6, "{shown:?}");
    assert!(
        shown[4].starts_with("23505 ") && shown[5] == "I",
        "{shown:?}"
    );
    let shown = pipeline()
        .run("SELECT count(*) FROM t", &[])
        .sync()
        .on(&mut wire);
    assert_eq!(shown, ["1", "2", "2", "SELECT 1", "I"]);
    // Row limits, suspension, Flush.
    let shown = pipeline()
        .parse("", "SELECT generate_series(1, 5)")
        .bind("p", "", &[])
        .execute("p", 2)
        .flush()
        .execute("p", 2)
        .execute("p", 0)
        .sync()
        .on(&mut wire);
    assert_eq!(
        shown,
        ["1", "2", "1", "2", "s", "3", "4", "s", "5", "SELECT 1", "I"]
    );
    assert_eq!(
        pipeline().execute("p", 0).sync().on(&mut wire),
        ["34000 portal \"p\" does not exist", "I"]
    );
    // In a block portals live across Syncs, also those of writing statements.
    wire.run("BEGIN");
    let shown = pipeline()
        .parse("", "DELETE FROM t RETURNING a")
        .bind("p", "", &[])
        .execute("p", 1)
        .sync()
        .on(&mut wire);
    assert_eq!(shown, ["1", "2", "1", "s", "T"]);
    assert_eq!(
        pipeline().execute("p", 0).sync().on(&mut wire),
        ["2", "DELETE 1", "T"]
    );
    assert_eq!(wire.run("ROLLBACK"), ["ROLLBACK", "I"]);
    // Transaction control.
    let shown = pipeline()
        .run("BEGIN", &[])
        .run("SELECT 1", &[])
        .run("COMMIT", &[])
        .sync()
        .on(&mut wire);
    assert_eq!(
        shown,
        [
            "1", "2", "BEGIN", "1", "2", "1", "SELECT 1", "1", "2", "COMMIT", "I"
        ]
    );
    let shown = pipeline()
        .parse("b", "BEGIN")
        .describe(b'S', "b")
        .sync()
        .on(&mut wire);
    assert_eq!(shown, ["1", "t", "n", "I"]);
    assert_eq!(
        pipeline()
            .bind("", "b", &[])
            .execute("", 0)
            .sync()
            .on(&mut wire),
        ["2", "BEGIN", "T"]
    );
    let shown = pipeline()
        .run("INSERT INTO t VALUES (9, '')", &[])
        .sync()
        .on(&mut wire);
    assert_eq!(shown, ["1", "2", "INSERT 0 1", "T"]);
    assert_eq!(
        pipeline().run("ROLLBACK", &[]).sync().on(&mut wire),
        ["1", "2", "ROLLBACK", "I"]
    );
    // Errors of names and forms.
    let cases: Vec<(Pipeline, &str)> = vec![
        (
            pipeline().parse("ins", "SELECT 1"),
            "42P05 prepared statement \"ins\" already exists",
        ),
        (
            pipeline().parse("b", "BEGIN"),
            "42P05 prepared statement \"b\" already exists",
        ),
        (
            pipeline().bind("", "none", &[]),
            "26000 prepared statement \"none\" does not exist",
        ),
        (
            pipeline().describe(b'S', "none"),
            "26000 prepared statement \"none\" does not exist",
        ),
        (
            pipeline().describe(b'P', "none"),
            "34000 portal \"none\" does not exist",
        ),
        (
            pipeline().parse("", "SELECT 1; SELECT 2"),
            "42601 cannot insert multiple commands into a prepared statement",
        ),
        (
            pipeline().parse("", "SELEC"),
            "42601 syntax error at or near \"SELEC\"",
        ),
        (
            pipeline().parse("", "SAVEPOINT s"),
            "0A000 unsupported transaction statement: SAVEPOINT",
        ),
        (
            pipeline().bind("", "b", &["x"]),
            "08P01 bind message supplies 1 parameters, but prepared statement \"b\" requires 0",
        ),
        (
            pipeline().bind("", "ins", &["x", "y"]),
            "22P02 invalid input syntax for type integer: \"x\"",
        ),
    ];
    for (messages, expected) in cases {
        assert_eq!(
            messages.run("SELECT 1", &[]).sync().on(&mut wire),
            [expected, "I"]
        );
    }
    let shown = pipeline()
        .close("ins")
        .close("b")
        .close("none")
        .sync()
        .on(&mut wire);
    assert_eq!(shown, ["3", "3", "3", "I"]);
    let shown = pipeline()
        .parse("ins", "SELECT 2")
        .run("", &[])
        .sync()
        .on(&mut wire);
    assert_eq!(shown, ["1", "1", "2", "I", "I"]);
    // The unnamed statement survives hidden commands.
    let shown = pipeline()
        .parse("", "INSERT INTO t VALUES ($1::int)")
        .bind("", "", &["20"])
        .execute("", 0)
        .sync()
        .bind("", "", &["21"])
        .execute("", 0)
        .sync();
    wire.send(&shown.0);
    assert_eq!(wire.shown(), ["1", "2", "INSERT 0 1", "I"]);
    assert_eq!(wire.shown(), ["2", "INSERT 0 1", "I"]);
    // A simple query in the middle of a pipeline.
    wire.send(&pipeline().run("SELECT 1", &[]).0);
    assert_eq!(
        wire.query("SELECT 2"),
        ["1", "2", "1", "SELECT 1", COLUMNS, "2", "SELECT 1", "I"]
    );
}

const TOO_MANY_ROWS: &str = "54000 transaction row limit exceeded";

#[test]
fn rows_of_a_transaction_are_limited() {
    let fixture = start();
    let mut wire = fixture.session();
    assert_eq!(
        wire.run("CREATE TABLE t (a int PRIMARY KEY, p int)"),
        ["CREATE TABLE", "I"]
    );
    let fill = |from: u32, to: u32| format!("INSERT INTO t SELECT generate_series({from}, {to})");
    assert_eq!(wire.run(&fill(1, 3000)), ["INSERT 0 3000", "I"]);
    assert_eq!(wire.run(&fill(3001, 6001)), [TOO_MANY_ROWS, "I"]);
    // At the statement that crosses it, and behind it the transaction is lost.
    wire.run("BEGIN");
    assert_eq!(wire.run(&fill(3001, 6000)), ["INSERT 0 3000", "T"]);
    assert_eq!(
        wire.run("SELECT count(*) FROM t"),
        ["6000", "SELECT 1", "T"]
    );
    assert_eq!(
        wire.run("UPDATE t SET p = 1 WHERE a = 1"),
        [TOO_MANY_ROWS, "E"]
    );
    assert_eq!(wire.run("COMMIT"), ["ROLLBACK", "I"]);
    // Far above it the statement is stopped, and the session is as good as before.
    assert_eq!(wire.run(&fill(3001, 2_000_000)), [TOO_MANY_ROWS, "I"]);
    assert_eq!(
        wire.run("SELECT count(*) FROM t"),
        ["3000", "SELECT 1", "I"]
    );
    let shown = pipeline()
        .run("UPDATE t SET p = 2 RETURNING a", &[])
        .run("DELETE FROM t WHERE a = 1", &[])
        .sync()
        .on(&mut wire);
    assert_eq!(shown[..2], ["1", "2"]);
    assert_eq!(shown[shown.len() - 4..], ["1", "2", TOO_MANY_ROWS, "I"]);
    let shown = pipeline().run(&fill(3001, 6001), &[]).sync().on(&mut wire);
    assert_eq!(shown, ["1", "2", TOO_MANY_ROWS, "I"]);
    assert_eq!(wire.run("DELETE FROM t"), ["DELETE 3000", "I"]);
    // COPY counts too.
    let data = |rows: u32| {
        (0..rows)
            .map(|row| format!("{row}\t1\n"))
            .collect::<String>()
    };
    assert_eq!(
        copy_in(&mut wire, "COPY t FROM STDIN", &data(3001)),
        ["G", TOO_MANY_ROWS, "I"]
    );
    assert_eq!(
        copy_in(&mut wire, "COPY t FROM STDIN", &data(3000)),
        ["G", "COPY 3000", "I"]
    );
}

fn copy_in(wire: &mut Wire, sql: &str, data: &str) -> Vec<String> {
    let mut out = Vec::new();
    put_query(&mut out, sql.as_bytes());
    wire.send(&out);
    let first = wire.message();
    if first.0 != b'G' {
        let mut shown = vec![show(&first)];
        shown.extend(wire.shown());
        return shown;
    }
    let mut out = Vec::new();
    for piece in data.as_bytes().chunks(1000) {
        put(&mut out, b'd', &[piece]);
    }
    put(&mut out, b'c', &[]);
    wire.send(&out);
    let mut shown = vec!["G".to_owned()];
    shown.extend(wire.shown());
    shown
}

#[test]
fn copy_in_both_directions_and_protocols() {
    let fixture = start();
    let mut wire = fixture.session();
    wire.run("CREATE TABLE t (a int PRIMARY KEY, b text)");
    assert_eq!(
        copy_in(&mut wire, "COPY t FROM STDIN", "1\tx\n2\t\\N\n"),
        ["G", "COPY 2", "I"]
    );
    let csv = "COPY t FROM STDIN WITH (FORMAT csv, HEADER, DELIMITER ';')";
    assert_eq!(
        copy_in(&mut wire, csv, "a;b\n3;\"y;z\"\n"),
        ["G", "COPY 1", "I"]
    );
    assert_eq!(
        wire.run("COPY t TO STDOUT WITH (FORMAT csv)"),
        ["H", "d", "d", "d", "c", "COPY 3", "I"]
    );
    // In a block; an error in the data fails it, and what is still sent is dropped.
    wire.run("BEGIN");
    assert_eq!(
        copy_in(&mut wire, "COPY t FROM STDIN", "4\tx\n"),
        ["G", "COPY 1", "T"]
    );
    let shown = copy_in(&mut wire, "COPY t FROM STDIN", &"x\ty\n".repeat(100_000));
    assert!(
        shown[1].starts_with("22P02 ") && shown[2] == "E",
        "{shown:?}"
    );
    assert_eq!(wire.run("ROLLBACK"), ["ROLLBACK", "I"]);
    // The client gives up.
    let mut out = Vec::new();
    put_query(&mut out, b"COPY t FROM STDIN");
    put(&mut out, b'd', &[b"5\tx\n"]);
    put(&mut out, b'f', &[b"no more\0"]);
    wire.send(&out);
    assert_eq!(
        wire.shown(),
        ["G", "57014 COPY from stdin failed: no more", "I"]
    );
    // The extended protocol, with a Sync in front of the data and one behind it.
    let mut out = pipeline().run("COPY t FROM STDIN", &[]).sync().0;
    put(&mut out, b'd', &[b"6\tx\n"]);
    put(&mut out, b'c', &[]);
    wire.send(&Pipeline(out).sync().0);
    assert_eq!(wire.shown(), ["1", "2", "G", "COPY 1", "I"]);
    let shown = pipeline().run("COPY t TO STDOUT", &[]).sync().on(&mut wire);
    assert_eq!(
        shown,
        ["1", "2", "H", "d", "d", "d", "d", "c", "COPY 4", "I"]
    );
    assert_eq!(wire.run("SELECT max(a) FROM t"), ["6", "SELECT 1", "I"]);
}

/// Ordering an advance takes up to a second, so ages vary.
fn without_age(lines: Vec<String>) -> Vec<String> {
    let plain = |line: String| match line.split_once("Current transaction age ") {
        Some((before, rest)) => {
            let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            format!("{before}Current transaction age N{rest}")
        }
        None => line,
    };
    lines.into_iter().map(plain).collect()
}

#[test]
fn ages_are_on_the_emulators_clock() {
    let fixture = start();
    let mut wire = fixture.session();
    wire.run("CREATE TABLE t (a int)");
    let exceeded =
        "54000 transaction age limit of 300s exceeded | Current transaction age Ns exceeds 300s";
    wire.run("BEGIN");
    fixture.advance("295s");
    assert_eq!(wire.run("INSERT INTO t VALUES (1)"), ["INSERT 0 1", "T"]);
    fixture.advance("7s");
    assert_eq!(without_age(wire.run("SELECT 1")), [exceeded, "E"]);
    assert_eq!(wire.run("COMMIT"), ["ROLLBACK", "I"]);
    wire.run("BEGIN; INSERT INTO t VALUES (1)");
    fixture.advance("310s");
    assert_eq!(without_age(wire.run("COMMIT")), [exceeded, "I"]);
    assert_eq!(wire.run("SELECT count(*) FROM t"), ["0", "SELECT 1", "I"]);
    wire.run("BEGIN; SELECT 1");
    fixture.advance("310s");
    let shown = pipeline().run("SELECT 1", &[]).sync().on(&mut wire);
    assert_eq!(without_age(shown), ["1", exceeded, "E"]);
    assert_eq!(wire.run("ROLLBACK"), ["ROLLBACK", "I"]);
    // A connection ends when it is 60 minutes old, without a word, also while nothing goes on.
    fixture.advance("44m");
    assert_eq!(wire.run("SELECT 1"), ["1", "SELECT 1", "I"]);
    fixture.advance("1m");
    assert_eq!(wire.rest(), (Vec::new(), false));
}

#[test]
fn statements_and_commits_are_aborted_on_order() {
    let fixture = start();
    let mut wire = fixture.session();
    wire.run("CREATE TABLE t (a int)");
    let data = "40001 change conflicts with another transaction (OC000)";
    let schema = "40001 schema has been updated by another transaction (OC001)";
    fixture.order(r#"{"kind":"abort_statement","code":"OC001","count":2}"#);
    // Upkeep of a session does not use it up.
    assert_eq!(wire.run("SET extra_float_digits = 3"), ["SET", "I"]);
    assert_eq!(wire.run("BEGIN"), ["BEGIN", "T"]);
    assert_eq!(wire.run("SELECT 1"), [schema, "E"]);
    assert_eq!(wire.run("ROLLBACK"), ["ROLLBACK", "I"]);
    let shown = pipeline().run("SELECT 1", &[]).sync().on(&mut wire);
    assert_eq!(shown, ["1", "2", schema, "I"]);
    assert_eq!(wire.run("SELECT 1"), ["1", "SELECT 1", "I"]);

    fixture.order(r#"{"kind":"abort_commit","count":3}"#);
    assert_eq!(
        wire.run("SELECT 1"),
        ["1", "SELECT 1", "I"],
        "a read is no commit"
    );
    assert_eq!(
        wire.run("INSERT INTO t VALUES (1) RETURNING a"),
        [data, "I"]
    );
    let shown = pipeline()
        .run("INSERT INTO t VALUES (1)", &[])
        .sync()
        .on(&mut wire);
    assert_eq!(shown, ["1", "2", data, "I"]);
    wire.run("BEGIN");
    assert_eq!(wire.run("INSERT INTO t VALUES (1)"), ["INSERT 0 1", "T"]);
    assert_eq!(wire.run("COMMIT"), [data, "I"]);
    assert_eq!(wire.run("SELECT count(*) FROM t"), ["0", "SELECT 1", "I"]);

    // By the text of one statement of the transaction.
    fixture.order(r#"{"kind":"abort_commit","match":"VALUES \\(7"}"#);
    assert_eq!(wire.run("INSERT INTO t VALUES (6)"), ["INSERT 0 1", "I"]);
    wire.run("BEGIN; INSERT INTO t VALUES (7); INSERT INTO t VALUES (8)");
    assert_eq!(wire.run("COMMIT"), [data, "I"]);
    assert_eq!(
        fixture.http("GET", "/faults", "").1["orders"],
        serde_json::json!([])
    );
    assert_eq!((fixture.stat("conflicts"), fixture.stat("commits")), (6, 2));

    fixture.order(r#"{"kind":"delay","ms":300,"match":"^SELECT 5"}"#);
    let before = std::time::Instant::now();
    assert_eq!(wire.run("SELECT 5"), ["5", "SELECT 1", "I"]);
    assert!(before.elapsed() >= Duration::from_millis(300));
}

#[test]
fn connections_are_cut_on_order() {
    let fixture = start();
    let mut wire = fixture.session();
    wire.run("CREATE TABLE t (a int)");
    let count = |expected: &str| {
        let shown = fixture.session().run("SELECT count(*) FROM t");
        assert_eq!(shown[0], expected);
    };
    let mut insert = Vec::new();
    put_query(&mut insert, b"INSERT INTO t VALUES (1)");

    fixture.order(r#"{"kind":"cut_before_commit"}"#);
    wire.send(&insert);
    assert_eq!(wire.rest(), (Vec::new(), false));
    count("0");
    fixture.order(r#"{"kind":"cut_after_commit"}"#);
    let mut wire = fixture.session();
    wire.send(&insert);
    assert_eq!(wire.rest(), (Vec::new(), false));
    count("1");
    fixture.order(r#"{"kind":"cut_after_commit"}"#);
    let mut wire = fixture.session();
    wire.run("BEGIN");
    wire.run("INSERT INTO t VALUES (2)");
    wire.send(&pipeline().run("COMMIT", &[]).sync().0);
    let (rest, clean) = wire.rest();
    assert!(!rest.contains(&b'Z') && !clean);
    count("2");
    // In the middle of a row.
    fixture.order(r#"{"kind":"cut","match":"FROM t"}"#);
    let mut wire = fixture.session();
    assert_eq!(wire.run("SELECT 1"), ["1", "SELECT 1", "I"]);
    let mut out = Vec::new();
    put_query(&mut out, b"SELECT a, 'text that is long enough' FROM t");
    wire.send(&out);
    assert_eq!(wire.message().0, b'T');
    let (rest, clean) = wire.rest();
    assert!(rest[0] == b'D' && rest.len() < 30 && !clean, "{rest:?}");
    count("2");
    fixture.order(r#"{"kind":"cut","match":"long enough"}"#);
    let mut wire = fixture.session();
    let sql = "SELECT a, 'text that is long enough' FROM t";
    wire.send(&pipeline().run("SELECT 1", &[]).run(sql, &[]).sync().0);
    let (rest, clean) = wire.rest();
    assert!(!clean && rest.ends_with(b"text"), "{rest:?}");
    assert!(
        rest.windows(8).any(|bytes| bytes == b"SELECT 1"),
        "what came before is there"
    );
    // A statement without rows, which is not committed.
    fixture.order(r#"{"kind":"cut","match":"VALUES \\(3"}"#);
    let mut wire = fixture.session();
    let mut out = Vec::new();
    put_query(&mut out, b"INSERT INTO t VALUES (3)");
    wire.send(&out);
    let (rest, clean) = wire.rest();
    assert!(
        !clean && rest.starts_with(b"C") && rest.len() < 16,
        "{rest:?}"
    );
    count("2");
    // The connections that are open now.
    let mut wire = fixture.session();
    assert_eq!(
        fixture.http("POST", "/faults", r#"{"kind":"cut"}"#).1["cut"],
        1
    );
    assert_eq!(wire.rest(), (Vec::new(), false));
}

#[test]
fn logins_are_limited_and_refused_on_order() {
    let fixture = start();
    let refused = |fixture: &Fixture| {
        let mut wire = fixture.knock();
        let first = wire.message();
        assert_eq!(first.0, b'E');
        show(&first)
    };
    let cases = [
        (
            "waking_up",
            "08006 unable to accept connection, waking up cluster, please retry later",
        ),
        (
            "rate_exceeded",
            "53400 Unable to accept connection, rate exceeded.",
        ),
        (
            "too_many_connections",
            "53300 Unable to accept connection, too many open connections.",
        ),
    ];
    for (kind, expected) in cases {
        fixture.order(&format!("{{\"kind\":\"{kind}\"}}"));
        assert_eq!(refused(&fixture), expected);
    }
    let quotas = r#"{"connections":2,"connect_rate":1,"connect_burst":5}"#;
    assert_eq!(fixture.http("POST", "/quotas", quotas).0, 200);
    let open = (fixture.session(), fixture.session());
    assert_eq!(refused(&fixture), cases[2].1);
    assert_eq!(refused(&fixture), cases[2].1);
    assert_eq!(refused(&fixture), cases[2].1);
    assert_eq!(refused(&fixture), cases[1].1);
    fixture.advance("2s");
    assert_eq!(refused(&fixture), cases[2].1);
    drop(open);
}

#[test]
fn functions_that_write_count_as_writes() {
    let fixture = start();
    let mut wire = fixture.session();
    wire.run("CREATE TABLE t (a int)");
    wire.run("CREATE FUNCTION fill(int) RETURNS int LANGUAGE sql AS 'INSERT INTO t SELECT generate_series(1, $1); SELECT 1'");
    assert_eq!(wire.run("SELECT fill(3000)"), ["1", "SELECT 1", "I"]);
    assert_eq!(wire.run("SELECT fill(3001)"), [TOO_MANY_ROWS, "I"]);
    let shown = pipeline()
        .run("SELECT fill(3001)", &[])
        .sync()
        .on(&mut wire);
    assert_eq!(shown, ["1", "2", TOO_MANY_ROWS, "I"]);
    assert_eq!(
        wire.run("SELECT count(*) FROM t"),
        ["3000", "SELECT 1", "I"]
    );
    fixture.order(r#"{"kind":"abort_commit"}"#);
    assert!(wire.run("SELECT fill(1)")[0].starts_with("40001 "));
}

#[test]
fn statements_are_forgotten_and_long_rows_pass() {
    let fixture = start();
    let mut wire = fixture.session();
    let shown = pipeline()
        .parse("s", "SELECT 1")
        .parse("b", "BEGIN")
        .sync()
        .on(&mut wire);
    assert_eq!(shown, ["1", "1", "I"]);
    assert_eq!(wire.run("DEALLOCATE ALL"), ["DEALLOCATE ALL", "I"]);
    let shown = pipeline()
        .parse("s", "SELECT 2")
        .parse("b", "BEGIN")
        .sync()
        .on(&mut wire);
    assert_eq!(shown, ["1", "1", "I"]);
    for length in [100_000, 3_000_000, 50_000_000] {
        let mut out = Vec::new();
        put_query(
            &mut out,
            format!("SELECT repeat('x', {length}), 1").as_bytes(),
        );
        wire.send(&out);
        let answer = wire.until_ready();
        assert_eq!(answer[1].1.len(), 2 + 4 + length + 4 + 1);
        assert_eq!(show(&answer[2]), "SELECT 1");
    }
    let spill = "SELECT count(*) FROM (SELECT a, repeat('x', 200) FROM generate_series(1, 2000000) a ORDER BY 2, 1) s";
    let refused = "54000 query requires more than allowed temp space of 131072 KB to execute";
    assert_eq!(wire.run(spill), [refused, "I"]);
}

#[test]
fn hostile_bytes_end_a_session_and_nothing_else() {
    let fixture = start();
    let cases: &[(&[u8], &str)] = &[
        (b"\0\0\0\0\x04", "08P01 invalid frontend message type 0"),
        (b"S\0\0\0\x03", "08P01 invalid message length"),
        (b"p\0\0\0\x05\0", "08P01 invalid frontend message type 112"),
    ];
    for (bytes, expected) in cases {
        let mut wire = fixture.session();
        wire.send(bytes);
        assert_eq!(show(&wire.message()), *expected);
        assert_eq!(wire.rest(), (Vec::new(), true));
    }
    // Above 10 MiB: closed without a word. 10 MiB are taken.
    let mut wire = fixture.session();
    wire.send(b"Q\0\xa0\0\x01");
    assert_eq!(wire.rest(), (Vec::new(), false));
    let mut wire = fixture.session();
    let long = format!("SELECT 1 --{}", "x".repeat(10 * 1024 * 1024 - 16));
    assert_eq!(wire.run(&long), ["1", "SELECT 1", "I"]);
    // Bodies without their layout.
    let mut broken: Vec<(u8, &[u8])> = vec![(b'Q', b"x"), (b'Q', b""), (b'F', b"")];
    for tag in [b'P', b'B', b'D', b'E', b'C'] {
        for body in [&b""[..], b"\0", b"S", b"\0\0\0", b"Sx\0y"] {
            broken.push((tag, body));
        }
    }
    for (tag, body) in broken {
        let mut out = Vec::new();
        put(&mut out, tag, &[body]);
        if !matches!(tag, b'Q' | b'F') {
            put(&mut out, b'S', &[]);
        }
        wire.send(&out);
        let shown = wire.shown();
        assert!(
            shown.len() <= 2 && shown.last().unwrap() == "I",
            "{tag} {body:?}: {shown:?}"
        );
    }
    assert_eq!(wire.run("SELECT 1"), ["1", "SELECT 1", "I"]);
    // PostgreSQL ends the session's connection: said, and over.
    fixture.superuser(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'admin'",
    );
    assert_eq!(show(&wire.message()), "XX000 server unavailable");
    assert_eq!(wire.rest(), (Vec::new(), true));
    assert_eq!(fixture.session().run("SELECT 1"), ["1", "SELECT 1", "I"]);
}

/// Prints what the emulator adds to a statement; `cargo test --release -- --ignored added`.
#[test]
#[ignore = "a measurement"]
fn added_latency() {
    use std::os::unix::net::UnixStream;
    use std::time::Instant;

    fn median(mut once: impl FnMut()) -> f64 {
        for _ in 0..500 {
            once();
        }
        let mut times: Vec<f64> = (0..5000)
            .map(|_| {
                let start = Instant::now();
                once();
                start.elapsed().as_secs_f64() * 1e6
            })
            .collect();
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    }

    fn until_ready(stream: &mut impl Read) {
        let mut buffer = [0; 4096];
        let mut got = Vec::new();
        loop {
            let count = stream.read(&mut buffer).unwrap();
            got.extend_from_slice(&buffer[..count]);
            if got.len() >= 6 && got[got.len() - 6..got.len() - 1] == *b"Z\0\0\0\x05" {
                return;
            }
        }
    }

    let fixture = start();
    let mut emulated = fixture.session();
    emulated.run("CREATE TABLE t (a int PRIMARY KEY, b int)");
    emulated.run("INSERT INTO t VALUES (1, 1)");
    let mut direct = UnixStream::connect(fixture.emulator.postgres().socket()).unwrap();
    let mut out = Vec::new();
    put_startup(&mut out, &[("user", "admin"), ("database", "postgres")]);
    direct.write_all(&out).unwrap();
    until_ready(&mut direct);
    let simple = |sql: &str| {
        let mut out = Vec::new();
        put_query(&mut out, sql.as_bytes());
        out
    };
    let extended = |sql: &str| {
        pipeline()
            .parse("", sql)
            .bind("", "", &[])
            .describe(b'P', "")
            .execute("", 0)
            .sync()
            .0
    };
    emulated.send(&pipeline().parse("s", "SELECT 1").sync().0);
    emulated.shown();
    direct
        .write_all(&pipeline().parse("s", "SELECT 1").sync().0)
        .unwrap();
    until_ready(&mut direct);
    let cases = [
        ("SELECT 1, simple", simple("SELECT 1")),
        ("SELECT 1, extended", extended("SELECT 1")),
        (
            "SELECT 1, prepared",
            pipeline().bind("", "s", &[]).execute("", 0).sync().0,
        ),
        ("point read, simple", simple("SELECT b FROM t WHERE a = 1")),
        (
            "point read, extended",
            extended("SELECT b FROM t WHERE a = 1"),
        ),
        ("update, simple", simple("UPDATE t SET b = 2 WHERE a = 1")),
        (
            "update, extended",
            extended("UPDATE t SET b = 2 WHERE a = 1"),
        ),
    ];
    println!(
        "{:<22}{:>10}{:>10}{:>10}",
        "median, µs", "direct", "emulator", "added"
    );
    for (name, bytes) in cases {
        let plain = median(|| {
            direct.write_all(&bytes).unwrap();
            until_ready(&mut direct);
        });
        let through = median(|| {
            emulated.send(&bytes);
            until_ready(&mut emulated.stream);
        });
        println!(
            "{name:<22}{plain:>10.1}{through:>10.1}{:>10.1}",
            through - plain
        );
    }
}

#[test]
fn a_driver_finds_its_way() {
    use futures_util::{SinkExt as _, TryStreamExt as _, pin_mut};
    use tokio_postgres::{SimpleQueryMessage, error::SqlState};

    let fixture = start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (mut client, connection) = tokio_postgres::Config::new()
            .host(&fixture.emulator.account().endpoint)
            .hostaddr(fixture.emulator.address().ip())
            .port(fixture.emulator.address().port())
            .user("admin")
            .password(&fixture.token)
            .dbname("postgres")
            .ssl_mode(tokio_postgres::config::SslMode::Require)
            .connect(tokio_postgres_rustls::MakeRustlsConnect::new(client_tls(
                &fixture.emulator,
            )))
            .await
            .unwrap();
        assert_eq!(connection.parameter("server_version"), Some("16.15"));
        assert_eq!(connection.parameter("TimeZone"), Some("UTC"));
        tokio::spawn(connection);

        client
            .batch_execute("CREATE TABLE t (a bigint PRIMARY KEY, b text)")
            .await
            .unwrap();
        let insert = client
            .prepare("INSERT INTO t VALUES ($1, $2) RETURNING a")
            .await
            .unwrap();
        for a in 0..10i64 {
            let row = client.query_one(&insert, &[&a, &"x"]).await.unwrap();
            assert_eq!(row.get::<_, i64>(0), a);
        }
        let error = client.query(&insert, &[&1i64, &"x"]).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::UNIQUE_VIOLATION));
        // Pipelined: all are sent before the first is answered.
        let texts: Vec<String> = (0..50).map(|n| format!("SELECT {n}::bigint")).collect();
        let answers = futures_util::future::join_all(
            texts
                .iter()
                .map(|text| client.query_one(text.as_str(), &[])),
        )
        .await;
        for (n, answer) in answers.into_iter().enumerate() {
            assert_eq!(answer.unwrap().get::<_, i64>(0), i64::try_from(n).unwrap());
        }

        let transaction = client.transaction().await.unwrap();
        transaction
            .execute("UPDATE t SET b = $1 WHERE a < 5", &[&"y"])
            .await
            .unwrap();
        let portal = transaction
            .bind("SELECT a FROM t ORDER BY a", &[])
            .await
            .unwrap();
        let mut seen = Vec::new();
        loop {
            let rows = transaction.query_portal(&portal, 3).await.unwrap();
            seen.push(rows.len());
            if rows.len() < 3 {
                break;
            }
        }
        assert_eq!(seen, [3, 3, 3, 1]);
        let sink = transaction.copy_in("COPY t FROM STDIN").await.unwrap();
        pin_mut!(sink);
        sink.send(bytes::Bytes::from_static(b"100\tcopied\n"))
            .await
            .unwrap();
        assert_eq!(sink.finish().await.unwrap(), 1);
        transaction.commit().await.unwrap();
        let copied: Vec<bytes::Bytes> = client
            .copy_out("COPY (SELECT count(*), max(b) FROM t) TO STDOUT")
            .await
            .unwrap()
            .try_collect()
            .await
            .unwrap();
        assert_eq!(copied.concat(), b"11\ty\n");

        // A transaction that is dropped is rolled back.
        let transaction = client.transaction().await.unwrap();
        transaction.execute("DELETE FROM t", &[]).await.unwrap();
        drop(transaction);
        let messages = client.simple_query("SELECT count(*) FROM t").await.unwrap();
        let row = messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        assert_eq!(row, Some("11"));

        // A cancel request is taken and has no effect.
        let cancel = client.cancel_token();
        let tls = tokio_postgres_rustls::MakeRustlsConnect::new(client_tls(&fixture.emulator));
        let sleep = client.query_one("SELECT pg_sleep(0.5)::text", &[]);
        let (slept, cancelled) = futures_util::join!(sleep, cancel.cancel_query(tls));
        cancelled.unwrap();
        slept.unwrap();
    });
    assert_eq!(fixture.stat("cancels"), 1);
}
