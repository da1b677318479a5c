//! The conversation itself: what drivers rely on, apart from any statement's meaning.

use std::io::Write as _;
use std::net::TcpStream;

use dsql_proxy::wire::frontend::{put, put_cancel, put_parse};

use crate::Test;
use crate::client::{Lost, Reply, Session, put_bind, put_execute};
use crate::ground::Ground;

pub const TESTS: &[Test] = &[
    ("protocol::reported_environment", reported_environment),
    ("protocol::startup_settings", startup_settings),
    ("protocol::portals_with_row_limits", portals_with_row_limits),
    (
        "protocol::statements_are_described",
        statements_are_described,
    ),
    ("protocol::errors_skip_to_sync", errors_skip_to_sync),
    (
        "protocol::a_query_of_several_statements",
        a_query_of_several_statements,
    ),
    ("protocol::copy_both_ways", copy_both_ways),
    ("protocol::cancel_has_no_effect", cancel_has_no_effect),
    (
        "protocol::nothing_internal_is_seen",
        nothing_internal_is_seen,
    ),
    (
        "protocol::schema_changes_reach_others_once",
        schema_changes_reach_others_once,
    ),
];

fn reply(session: &mut Session) -> Reply {
    session.reply().unwrap_or_else(|lost| panic!("{lost}"))
}

fn reported_environment(ground: &mut Ground) {
    let mut session = ground.admin();
    let reported =
        |session: &Session, name: &str| session.parameters.get(name).cloned().unwrap_or_default();
    assert!(
        reported(&session, "server_version").starts_with("16."),
        "{:?}",
        session.parameters
    );
    for (name, value) in [
        ("client_encoding", "UTF8"),
        ("server_encoding", "UTF8"),
        ("standard_conforming_strings", "on"),
        ("integer_datetimes", "on"),
        ("TimeZone", "UTC"),
        ("DateStyle", "ISO, MDY"),
    ] {
        assert_eq!(reported(&session, name), value, "{name}");
    }
    assert!(session.cancel_key.is_some());
    // A changed setting is reported anew.
    session.run("SET TimeZone = 'Europe/Berlin'");
    assert_eq!(reported(&session, "TimeZone"), "Europe/Berlin");
    session.run("RESET ALL");
    assert_eq!(reported(&session, "TimeZone"), "UTC");
    let version = session.run("SHOW server_version").rows[0][0]
        .clone()
        .unwrap();
    assert_eq!(version, reported(&session, "server_version"));
}

fn startup_settings(ground: &mut Ground) {
    let connect = |parameters: &[(&str, &str)]| {
        let all = [&[("user", "admin"), ("database", "postgres")], parameters].concat();
        ground.try_connect(&all)
    };
    let mut session = connect(&[
        ("application_name", "x"),
        ("options", "-c search_path=s,public"),
    ])
    .unwrap_or_else(|lost| panic!("{lost}"));
    let path = session.run("SHOW search_path").rows[0][0].clone();
    assert_eq!(
        path.map(|path| path.replace(' ', "")).as_deref(),
        Some("s,public")
    );
    for (name, value) in [
        ("statement_timeout", "5s"),
        ("work_mem", "1MB"),
        ("default_transaction_read_only", "on"),
        ("client_min_messages", "warning"),
        ("request.jwt.claims", "x"),
        ("role", "admin"),
    ] {
        let options = format!("-c {name}={value}");
        for parameter in [(name, value), ("options", options.as_str())] {
            let Err(Lost::Told(failure)) = connect(&[parameter]) else {
                panic!("{parameter:?} was let in");
            };
            let message = format!("setting configuration parameter \"{name}\" not supported");
            assert_eq!(failure.summary(), format!("0A000 {message}"));
            assert_eq!(failure.severity, "FATAL");
        }
        let mut session = ground.admin();
        let failure = session.refused(&format!("SET {name} = '{value}'"));
        assert_eq!(failure.sqlstate, "0A000", "{failure}");
    }
}

fn portals_with_row_limits(ground: &mut Ground) {
    let mut session = ground.admin();
    session.run("BEGIN");
    let mut out = Vec::new();
    put_parse(
        &mut out,
        b"s",
        b"SELECT g FROM generate_series(1, 20) g",
        &[0, 0],
    );
    put_bind(&mut out, b"p", b"s", &[]);
    for _ in 0..2 {
        put_execute(&mut out, b"p", 8);
    }
    put(&mut out, b'S', &[]);
    session.send(&out).unwrap();
    let first = reply(&mut session);
    let rows: Vec<usize> = first.done.iter().map(|done| done.rows.len()).collect();
    assert_eq!((rows, first.status), (vec![8, 8], 'T'), "{first:?}");
    assert!(
        first.done.iter().all(|done| done.tag.is_empty()),
        "suspended"
    );
    out.clear();
    put_execute(&mut out, b"p", 8);
    put(&mut out, b'C', &[b"Pp\0"]);
    put(&mut out, b'S', &[]);
    session.send(&out).unwrap();
    let last = reply(&mut session);
    assert_eq!(
        (last.one().rows.len(), last.one().tag.as_str()),
        (4, "SELECT 4")
    );
    assert_eq!(session.run("COMMIT").tag, "COMMIT");
    // The statement outlives the transaction, the portal does not.
    out.clear();
    put_bind(&mut out, b"", b"s", &[]);
    put_execute(&mut out, b"", 0);
    put(&mut out, b'S', &[]);
    session.send(&out).unwrap();
    assert_eq!(reply(&mut session).one().tag, "SELECT 20");
    out.clear();
    put_execute(&mut out, b"p", 0);
    put(&mut out, b'S', &[]);
    session.send(&out).unwrap();
    assert_eq!(reply(&mut session).error().sqlstate, "34000");
}

fn statements_are_described(ground: &mut Ground) {
    ground.set_up(&["CREATE TABLE t (id int PRIMARY KEY, name text, at timestamptz)"]);
    let mut session = ground.admin();
    let mut out = Vec::new();
    put_parse(
        &mut out,
        b"s",
        b"SELECT id, name, at FROM t WHERE id = $1 AND name = $2",
        &[0, 0],
    );
    put(&mut out, b'D', &[b"Ss\0"]);
    put(&mut out, b'S', &[]);
    session.send(&out).unwrap();
    assert_eq!(session.message().unwrap().0, b'1');
    let (tag, body) = session.message().unwrap();
    assert_eq!(
        (tag, body),
        (b't', vec![0, 2, 0, 0, 0, 23, 0, 0, 0, 25]),
        "int4, text"
    );
    let (tag, body) = session.message().unwrap();
    assert_eq!(tag, b'T');
    let table = u32::from_be_bytes([body[5], body[6], body[7], body[8]]);
    assert!(
        table > 0 && body[9..11] == [0, 1],
        "real table oid and column number"
    );
    reply(&mut session);
    // Errors of Parse: two statements, and a refused one before anything runs.
    for (sql, sqlstate) in [
        ("SELECT 1; SELECT 2", "42601"),
        ("TRUNCATE t", "0A000"),
        ("SELECT nothing", "42703"),
    ] {
        let failed = session
            .execute(sql, &[])
            .unwrap_or_else(|lost| panic!("{lost}"));
        assert_eq!(failed.error().sqlstate, sqlstate, "{sql}");
        assert_eq!(failed.status, 'I');
    }
    let bad = session.execute("SELECT $1::int", &[Some("x")]);
    assert_eq!(
        bad.unwrap_or_else(|lost| panic!("{lost}")).error().sqlstate,
        "22P02"
    );
    let null = session
        .execute("SELECT $1::int", &[None])
        .unwrap_or_else(|lost| panic!("{lost}"));
    assert_eq!(null.value(), None);
}

fn errors_skip_to_sync(ground: &mut Ground) {
    ground.set_up(&["CREATE TABLE t (id int PRIMARY KEY)"]);
    let mut session = ground.admin();
    let mut out = Vec::new();
    for sql in [
        "INSERT INTO t VALUES (1)",
        "SELECT 1/0",
        "INSERT INTO t VALUES (2)",
    ] {
        put_parse(&mut out, b"", sql.as_bytes(), &[0, 0]);
        put_bind(&mut out, b"", b"", &[]);
        put_execute(&mut out, b"", 0);
    }
    put(&mut out, b'S', &[]);
    // What follows Sync is not skipped.
    put_parse(&mut out, b"", b"SELECT count(*) FROM t", &[0, 0]);
    put_bind(&mut out, b"", b"", &[]);
    put_execute(&mut out, b"", 0);
    put(&mut out, b'S', &[]);
    session.send(&out).unwrap();
    let failed = reply(&mut session);
    assert_eq!(
        (failed.error().sqlstate.as_str(), failed.status),
        ("22012", 'I')
    );
    assert_eq!(
        failed.done.len(),
        1,
        "the first was executed, the third skipped"
    );
    assert_eq!(
        reply(&mut session).value().as_deref(),
        Some("0"),
        "and rolled back with the rest"
    );
}

fn a_query_of_several_statements(ground: &mut Ground) {
    ground.set_up(&["CREATE TABLE t (id int PRIMARY KEY)"]);
    let mut session = ground.admin();
    let several = "INSERT INTO t VALUES (1); ; SELECT id FROM t; SELECT id, id FROM t WHERE false;";
    let reply = session
        .query(several)
        .unwrap_or_else(|lost| panic!("{lost}"));
    let tags: Vec<&str> = reply.done.iter().map(|done| done.tag.as_str()).collect();
    assert_eq!(tags, ["INSERT 0 1", "SELECT 1", "SELECT 0"], "{reply:?}");
    assert_eq!(reply.done[2].columns.as_ref().map(Vec::len), Some(2));
    // One transaction: the first goes with the last.
    let failing = session.query("INSERT INTO t VALUES (2); SELECT 1/0; INSERT INTO t VALUES (3)");
    let failing = failing.unwrap_or_else(|lost| panic!("{lost}"));
    assert_eq!(
        (failing.error().sqlstate.as_str(), failing.status),
        ("22012", 'I')
    );
    assert_eq!(
        session.run("SELECT count(*) FROM t").rows[0][0].as_deref(),
        Some("1")
    );
    for empty in ["", ";", " -- nothing", "/* */ ;"] {
        let reply = session.query(empty).unwrap_or_else(|lost| panic!("{lost}"));
        assert!(reply.failure.is_none(), "{empty:?}: {reply:?}");
    }
}

fn copy_both_ways(ground: &mut Ground) {
    ground.set_up(&["CREATE TABLE t (id int PRIMARY KEY, name text)"]);
    let mut session = ground.admin();
    let copied = session.copy_in("COPY t FROM STDIN", b"1\tone\n2\t\\N\n");
    assert_eq!(
        copied.unwrap_or_else(|lost| panic!("{lost}")).one().tag,
        "COPY 2"
    );
    let csv = "COPY t (id, name) FROM STDIN WITH (FORMAT csv, HEADER true, DELIMITER ';')";
    let copied = session.copy_in(csv, b"id;name\n3;\"a;b\"\n");
    assert_eq!(
        copied.unwrap_or_else(|lost| panic!("{lost}")).one().tag,
        "COPY 1"
    );
    let (data, reply) = session
        .copy_out("COPY t TO STDOUT")
        .unwrap_or_else(|lost| panic!("{lost}"));
    assert_eq!(String::from_utf8_lossy(&data), "1\tone\n2\t\\N\n3\ta;b\n");
    assert_eq!(reply.one().tag, "COPY 3");
    let (data, _) = session
        .copy_out("COPY (SELECT name FROM t WHERE id = 3) TO STDOUT WITH (FORMAT csv)")
        .unwrap_or_else(|lost| panic!("{lost}"));
    assert_eq!(String::from_utf8_lossy(&data), "a;b\n");
    // The client gives up.
    session.start_query("COPY t FROM STDIN").unwrap();
    assert_eq!(session.message().unwrap().0, b'G');
    let mut out = Vec::new();
    put(&mut out, b'd', &[b"4\tfour\n"]);
    put(&mut out, b'f', &[b"changed my mind\0"]);
    session.send(&out).unwrap();
    let failed = session.reply().unwrap_or_else(|lost| panic!("{lost}"));
    assert_eq!(
        (failed.error().sqlstate.as_str(), failed.status),
        ("57014", 'I')
    );
    // In a transaction, and never a file of the server.
    session.run("BEGIN");
    let copied = session.copy_in("COPY t FROM STDIN", b"5\tfive\n");
    assert_eq!(copied.unwrap_or_else(|lost| panic!("{lost}")).status, 'T');
    session.run("ROLLBACK");
    assert_eq!(
        session.run("SELECT count(*) FROM t").rows[0][0].as_deref(),
        Some("3")
    );
    for sql in ["COPY t FROM '/etc/passwd'", "COPY t TO PROGRAM 'cat'"] {
        assert!(!session.refused(sql).sqlstate.is_empty());
    }
}

fn cancel_has_no_effect(ground: &mut Ground) {
    let mut session = ground.admin();
    let (pid, key) = session.cancel_key.clone().unwrap();
    session
        .start_query("SELECT pg_sleep(0.6), 1 AS done")
        .unwrap();
    let before = ground.stat("cancels");
    let mut socket = TcpStream::connect(ground.door.address).unwrap();
    let mut out = Vec::new();
    put_cancel(&mut out, pid, &key);
    socket.write_all(&out).unwrap();
    assert_eq!(reply(&mut session).one().rows[0][1].as_deref(), Some("1"));
    assert_eq!(ground.stat("cancels"), before + 1);
}

/// What the emulator does with PostgreSQL for its own ends stays behind.
fn nothing_internal_is_seen(ground: &mut Ground) {
    ground.set_up(&["CREATE TABLE t (id int PRIMARY KEY, v int)"]);
    let mut session = ground.admin();
    for sql in [
        "INSERT INTO t VALUES (1, 1)",
        "UPDATE t SET v = 2",
        "SELECT * FROM t FOR UPDATE",
        "DELETE FROM t",
    ] {
        let reply = session.query(sql).unwrap_or_else(|lost| panic!("{lost}"));
        assert!(reply.notices.is_empty(), "{sql}: {:?}", reply.notices);
        let reply = session
            .execute(sql, &[])
            .unwrap_or_else(|lost| panic!("{lost}"));
        assert!(reply.notices.is_empty(), "{sql}: {:?}", reply.notices);
    }
    for (what, sql) in [
        (
            "a trigger",
            "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal",
        ),
        (
            "a table",
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> 't'",
        ),
        (
            "a temporary table",
            "SELECT relname FROM pg_class WHERE relpersistence = 't'",
        ),
    ] {
        let rows = session.run(sql).rows;
        assert!(rows.is_empty(), "{what}: {rows:?}");
    }
    // The client's own notices arrive.
    let reply = session
        .query("CREATE TABLE IF NOT EXISTS t (id int)")
        .unwrap_or_else(|lost| panic!("{lost}"));
    assert_eq!(reply.notices.len(), 1, "{reply:?}");
    assert_eq!(reply.notices[0].sqlstate, "42P07");
}

fn schema_changes_reach_others_once(ground: &mut Ground) {
    ground.set_up(&["CREATE TABLE t (id int PRIMARY KEY)"]);
    let mut reader = ground.admin();
    let mut writer = ground.admin();
    let changed = "40001 schema has been updated by another transaction (OC001)";
    reader.run("SELECT 1");
    writer.run("CREATE TABLE u (id int)");
    assert_eq!(reader.refused("SELECT * FROM t").summary(), changed);
    assert_eq!(reader.status, 'I');
    reader.run("SELECT * FROM t");
    // READ ONLY, too, and a change in the middle shows at COMMIT.
    reader.run("BEGIN READ ONLY");
    reader.run("SELECT * FROM t");
    writer.run("DROP TABLE u");
    let last = reader.refused("COMMIT").summary();
    assert_eq!(last, changed);
    assert_eq!(reader.status, 'I');
    reader.run("SELECT * FROM t");
    // Several changes, one error; the changer itself gets none.
    writer.run("CREATE TABLE u (id int)");
    writer.run("DROP TABLE u");
    writer.run("SELECT * FROM t");
    assert_eq!(reader.refused("SELECT * FROM t").summary(), changed);
    reader.run("SELECT * FROM t");
    // Rolled back: no change.
    writer.run("BEGIN");
    writer.run("CREATE TABLE u (id int)");
    writer.run("ROLLBACK");
    reader.run("SELECT * FROM t");
    // A grant is one.
    writer.run("CREATE ROLE clerk");
    assert_eq!(reader.refused("SELECT 1").summary(), changed);
    writer.run("CREATE SCHEMA s");
    writer.run("GRANT USAGE ON SCHEMA s TO clerk");
    assert_eq!(reader.refused("SELECT 1").summary(), changed);
    // New sessions know all.
    ground.admin().run("SELECT * FROM t");
}
