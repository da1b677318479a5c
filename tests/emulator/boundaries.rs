//! Each limit that names an error: the largest that is accepted, the smallest that is refused, and
//! what can be done afterwards.

use dsql_proxy::wire::frontend::put;

use crate::Test;
use crate::client::{Failure, Session};
use crate::ground::Ground;

pub const TESTS: &[Test] = &[
    ("boundaries::rows_in_a_block", rows_in_a_block),
    ("boundaries::rows_of_one_statement", rows_of_one_statement),
    (
        "boundaries::rows_of_each_kind_count",
        rows_of_each_kind_count,
    ),
    ("boundaries::cascaded_rows_count", cascaded_rows_count),
    (
        "boundaries::index_entries_do_not_count",
        index_entries_do_not_count,
    ),
    ("boundaries::rows_of_a_copy", rows_of_a_copy),
    ("boundaries::transaction_size", transaction_size),
    ("boundaries::transaction_age", transaction_age),
    ("boundaries::connection_age", connection_age),
    ("boundaries::open_connections", open_connections),
    ("boundaries::rate_of_connects", rate_of_connects),
    ("boundaries::temporary_space", temporary_space),
    ("boundaries::message_size", message_size),
    (
        "boundaries::parameters_of_a_statement",
        parameters_of_a_statement,
    ),
    ("boundaries::key_size", key_size),
    ("boundaries::declared_key_size", declared_key_size),
    ("boundaries::key_columns", key_columns),
    ("boundaries::row_size", row_size),
    ("boundaries::column_value", column_value),
    ("boundaries::declared_lengths", declared_lengths),
    ("boundaries::columns_of_a_table", columns_of_a_table),
    ("boundaries::indexes_of_a_table", indexes_of_a_table),
    ("boundaries::schemas", schemas),
    ("boundaries::tables_views_sequences", tables_views_sequences),
    ("boundaries::view_definition", view_definition),
    ("boundaries::statistics", statistics),
    ("boundaries::numeric_precision", numeric_precision),
    ("boundaries::nesting", nesting),
];

const ROW_LIMIT: (&str, &str) = ("54000", "transaction row limit exceeded");
const ADMIN: &[(&str, &str)] = &[("user", "admin")];
const MIB: usize = 1 << 20;

#[track_caller]
fn is(failure: &Failure, sqlstate: &str, message: &str) {
    assert_eq!(
        (failure.sqlstate.as_str(), failure.message.as_str()),
        (sqlstate, message),
        "{failure}"
    );
    assert_eq!(failure.severity, "ERROR", "{failure}");
}

/// Refused with this error, and the session goes on.
#[track_caller]
fn refused_outside(session: &mut Session, sql: &str, sqlstate: &str, message: &str) {
    is(&session.refused(sql), sqlstate, message);
    assert_eq!(session.status, 'I', "no transaction is left open");
    assert_eq!(session.run("SELECT 1").tag, "SELECT 1");
}

/// In a failed transaction: everything is refused but its end, and then all is well.
#[track_caller]
fn is_failed_transaction(session: &mut Session) {
    assert_eq!(session.status, 'E');
    is(
        &session.refused("SELECT 1"),
        "25P02",
        "current transaction is aborted, commands ignored until end of transaction block",
    );
    assert_eq!(session.run("COMMIT").tag, "ROLLBACK");
    assert_eq!(session.status, 'I');
    assert_eq!(session.run("SELECT 1").tag, "SELECT 1");
}

fn count(session: &mut Session, table: &str) -> u64 {
    let done = session.run(&format!("SELECT count(*) FROM {table}"));
    done.rows[0][0].as_deref().unwrap().parse().unwrap()
}

/// A superuser at the PostgreSQL behind: to make many things at once.
fn behind(ground: &Ground) -> Session {
    let session = Session::open_local(&ground.emulator.postgres().socket(), "postgres");
    session.unwrap_or_else(|lost| panic!("{lost}"))
}

fn rows_in_a_block(ground: &mut Ground) {
    ground.set_up(&["CREATE TABLE t (id int PRIMARY KEY)"]);
    let mut session = ground.admin();
    session.run("BEGIN");
    session.run("INSERT INTO t SELECT generate_series(1, 2999)");
    assert_eq!(session.run("INSERT INTO t VALUES (3000)").tag, "INSERT 0 1");
    assert_eq!(session.run("COMMIT").tag, "COMMIT");
    assert_eq!(count(&mut session, "t"), 3000);

    session.run("BEGIN");
    session.run("DELETE FROM t");
    let (sqlstate, message) = ROW_LIMIT;
    is(
        &session.refused("INSERT INTO t VALUES (1)"),
        sqlstate,
        message,
    );
    is_failed_transaction(&mut session);
    assert_eq!(count(&mut session, "t"), 3000, "nothing of it happened");

    // Each transaction counts anew.
    session.run("BEGIN");
    session.run("DELETE FROM t");
    session.run("ROLLBACK");
    session.run("BEGIN");
    session.run("DELETE FROM t");
    assert_eq!(session.run("COMMIT").tag, "COMMIT");
}

fn rows_of_one_statement(ground: &mut Ground) {
    ground.set_up(&["CREATE TABLE t (id int)"]);
    let mut session = ground.admin();
    let (sqlstate, message) = ROW_LIMIT;
    let insert = |rows| format!("INSERT INTO t SELECT generate_series(1, {rows})");
    refused_outside(&mut session, &insert(3001), sqlstate, message);
    assert_eq!(count(&mut session, "t"), 0);
    let reply = session
        .execute(&insert(3001), &[])
        .unwrap_or_else(|lost| panic!("{lost}"));
    is(reply.error(), sqlstate, message);
    assert_eq!(session.run(&insert(3000)).tag, "INSERT 0 3000");
    // The strings of one query are one transaction.
    let two = "INSERT INTO t SELECT generate_series(1, 2000); INSERT INTO t SELECT generate_series(1, 1001)";
    refused_outside(&mut session, two, sqlstate, message);
    assert_eq!(count(&mut session, "t"), 3000);
}

fn rows_of_each_kind_count(ground: &mut Ground) {
    ground.set_up(&[
        "CREATE TABLE t (id int PRIMARY KEY, v int)",
        "INSERT INTO t SELECT g, 0 FROM generate_series(1, 3000) g",
        "INSERT INTO t VALUES (3001, 0)",
    ]);
    let mut session = ground.admin();
    let (sqlstate, message) = ROW_LIMIT;
    refused_outside(&mut session, "UPDATE t SET v = 1", sqlstate, message);
    refused_outside(&mut session, "DELETE FROM t", sqlstate, message);
    let upsert = "INSERT INTO t SELECT g, 1 FROM generate_series(1, 3001) g \
                  ON CONFLICT (id) DO UPDATE SET v = excluded.v";
    refused_outside(&mut session, upsert, sqlstate, message);
    assert_eq!(
        session.run("UPDATE t SET v = 1 WHERE id <= 3000").tag,
        "UPDATE 3000"
    );
    // Rows that are left alone do not count.
    let nothing =
        "INSERT INTO t SELECT g, 1 FROM generate_series(1, 3001) g ON CONFLICT DO NOTHING";
    assert_eq!(session.run(nothing).tag, "INSERT 0 0");
    assert_eq!(session.run("SELECT * FROM t").rows.len(), 3001);
}

fn cascaded_rows_count(ground: &mut Ground) {
    ground.set_up(&[
        "CREATE TABLE parent (id int PRIMARY KEY)",
        "CREATE TABLE child (id int PRIMARY KEY, p int REFERENCES parent (id) ON DELETE CASCADE)",
        "INSERT INTO parent VALUES (1), (2)",
        "INSERT INTO child SELECT g, 1 FROM generate_series(1, 3000) g",
        "INSERT INTO child SELECT g, 2 FROM generate_series(3001, 5999) g",
    ]);
    let mut session = ground.admin();
    let (sqlstate, message) = ROW_LIMIT;
    refused_outside(
        &mut session,
        "DELETE FROM parent WHERE id = 1",
        sqlstate,
        message,
    );
    assert_eq!(count(&mut session, "child"), 5999);
    // 1 + 2,999.
    assert_eq!(
        session.run("DELETE FROM parent WHERE id = 2").tag,
        "DELETE 1"
    );
    assert_eq!(count(&mut session, "child"), 3000);
}

fn index_entries_do_not_count(ground: &mut Ground) {
    ground.set_up(&["CREATE TABLE t (id int PRIMARY KEY, a int UNIQUE, b int UNIQUE)"]);
    let mut session = ground.admin();
    let insert = "INSERT INTO t SELECT g, g, g FROM generate_series(1, 3000) g";
    assert_eq!(session.run(insert).tag, "INSERT 0 3000");
}

fn rows_of_a_copy(ground: &mut Ground) {
    ground.set_up(&["CREATE TABLE t (id int)"]);
    let mut session = ground.admin();
    let data = |rows: usize| -> String { (0..rows).map(|n| format!("{n}\n")).collect() };
    let copy = "COPY t FROM STDIN";
    let reply = session.copy_in(copy, data(3001).as_bytes());
    let reply = reply.unwrap_or_else(|lost| panic!("{lost}"));
    let (sqlstate, message) = ROW_LIMIT;
    is(reply.error(), sqlstate, message);
    assert_eq!(reply.status, 'I');
    assert_eq!(count(&mut session, "t"), 0);
    let reply = session.copy_in(copy, data(3000).as_bytes());
    assert_eq!(
        reply.unwrap_or_else(|lost| panic!("{lost}")).one().tag,
        "COPY 3000"
    );
}

fn transaction_size(ground: &mut Ground) {
    ground.set_up(&["CREATE TABLE t (id int PRIMARY KEY, v bytea)"]);
    let mut session = ground.admin();
    // 1,000,000 bytes, as a value and not as text of the statement.
    let insert = |id: usize| {
        format!("INSERT INTO t VALUES ({id}, convert_to(repeat('0123456789', 100000), 'UTF8'))")
    };
    session.run("BEGIN");
    for id in 0..10 {
        session.run(&insert(id));
    }
    assert_eq!(session.run("COMMIT").tag, "COMMIT");

    session.run("BEGIN");
    for id in 10..26 {
        assert_eq!(
            session.run(&insert(id)).tag,
            "INSERT 0 1",
            "statements still pass"
        );
    }
    let failure = session.refused("COMMIT");
    is(&failure, "54000", "transaction size limit 10mb exceeded");
    let size = failure.detail.strip_prefix("Current transaction size ");
    let size = size.and_then(|rest| rest.strip_suffix("mb > 10mb"));
    let size: u64 = size
        .and_then(|size| size.parse().ok())
        .unwrap_or_else(|| panic!("{failure}"));
    assert!((15..=17).contains(&size), "{failure}");
    assert_eq!(session.status, 'I');
    assert_eq!(count(&mut session, "t"), 10);

    // In autocommit it is the statement.
    let many = "INSERT INTO t SELECT g, convert_to(repeat('0123456789', 100000), 'UTF8') \
                FROM generate_series(100, 115) g";
    is(
        &session.refused(many),
        "54000",
        "transaction size limit 10mb exceeded",
    );
    assert_eq!(count(&mut session, "t"), 10);
}

fn transaction_age(ground: &mut Ground) {
    ground.set_up(&["CREATE TABLE t (id int PRIMARY KEY)"]);
    let mut session = ground.admin();
    let too_old = |failure: &Failure| {
        is(failure, "54000", "transaction age limit of 300s exceeded");
        let age = failure.detail.strip_prefix("Current transaction age ");
        let age = age.and_then(|rest| rest.strip_suffix("s exceeds 300s"));
        let age: u64 = age
            .and_then(|age| age.parse().ok())
            .unwrap_or_else(|| panic!("{failure}"));
        assert!((301..=340).contains(&age), "{failure}");
    };
    // Just in time: statement and COMMIT.
    session.run("BEGIN");
    session.run("INSERT INTO t VALUES (1)");
    ground.advance(285);
    session.run("SELECT count(*) FROM t");
    assert_eq!(session.run("COMMIT").tag, "COMMIT");
    // Too late at the next statement, reads too.
    session.run("BEGIN");
    session.run("INSERT INTO t VALUES (2)");
    ground.advance(301);
    too_old(&session.refused("SELECT 1"));
    is_failed_transaction(&mut session);
    // Too late at COMMIT.
    session.run("BEGIN");
    session.run("INSERT INTO t VALUES (3)");
    ground.advance(301);
    too_old(&session.refused("COMMIT"));
    assert_eq!(session.status, 'I');
    // A transaction that only reads, or did nothing yet.
    for begin in ["BEGIN READ ONLY", "START TRANSACTION"] {
        session.run(begin);
        ground.advance(301);
        too_old(&session.refused("SELECT 1"));
        assert_eq!(session.run("ROLLBACK").tag, "ROLLBACK");
    }
    // ROLLBACK is always possible, and a session without transaction does not age.
    session.run("BEGIN");
    ground.advance(301);
    assert_eq!(session.run("ROLLBACK").tag, "ROLLBACK");
    ground.advance(301);
    assert_eq!(count(&mut session, "t"), 1);
    // Through the extended protocol.
    session.run("BEGIN");
    ground.advance(301);
    let reply = session
        .execute("SELECT 1", &[])
        .unwrap_or_else(|lost| panic!("{lost}"));
    too_old(reply.error());
    assert_eq!(reply.status, 'E');
}

fn connection_age(ground: &mut Ground) {
    let mut idle = ground.admin();
    let mut busy = ground.admin();
    busy.run("BEGIN");
    ground.advance(59 * 60);
    let mut young = ground.admin();
    idle.run("SELECT 1");
    ground.advance(120);
    assert!(idle.is_closed_silently(), "no word and no SQLSTATE");
    assert!(busy.is_closed_silently(), "in a transaction, too");
    young.run("SELECT 1");
    ground.admin().run("SELECT 1");
}

fn open_connections(ground: &mut Ground) {
    ground.forget_keeper();
    assert_eq!(ground.http("GET", "/quotas", "").1["connections"], 10_000);
    ground.quotas(r#"{"connections":3}"#);
    let mut sessions: Vec<Session> = (0..3).map(|_| ground.admin()).collect();
    let failure = ground.refusal(ADMIN, &ground.token("admin"));
    let message = "Unable to accept connection, too many open connections.";
    assert_eq!(failure.summary(), format!("53300 {message}"));
    assert_eq!(failure.severity, "FATAL");
    for session in &mut sessions {
        session.run("SELECT 1");
    }
    sessions.pop();
    ground.await_stat("connections", 2);
    sessions.push(ground.admin());
}

fn rate_of_connects(ground: &mut Ground) {
    let quotas = ground.http("GET", "/quotas", "").1;
    assert_eq!(
        (
            quotas["connect_rate"].as_f64(),
            quotas["connect_burst"].as_f64()
        ),
        (Some(100.0), Some(1000.0))
    );
    // Slow enough that nothing is refilled while the test runs.
    ground.quotas(r#"{"connect_rate":0.01,"connect_burst":3}"#);
    for _ in 0..3 {
        ground.admin().run("SELECT 1");
    }
    let failure = ground.refusal(ADMIN, &ground.token("admin"));
    assert_eq!(
        failure.summary(),
        "53400 Unable to accept connection, rate exceeded."
    );
    assert_eq!(failure.severity, "FATAL");
    ground.advance(110);
    ground.admin().run("SELECT 1");
    let failure = ground.refusal(ADMIN, &ground.token("admin"));
    assert_eq!(failure.sqlstate, "53400", "{failure}");
}

fn temporary_space(ground: &mut Ground) {
    let mut session = ground.admin();
    let sort = |rows: usize| {
        format!(
            "SELECT count(*) FROM (SELECT repeat('x', 1000) || g AS v FROM generate_series(1, {rows}) g \
             ORDER BY v OFFSET 0) s"
        )
    };
    session.run(&sort(60_000));
    let message = "query requires more than allowed temp space of 131072 KB to execute";
    refused_outside(&mut session, &sort(200_000), "54000", message);
    session.run("BEGIN");
    is(&session.refused(&sort(200_000)), "54000", message);
    is_failed_transaction(&mut session);
}

fn message_size(ground: &mut Ground) {
    let mut session = ground.admin();
    // The length word counts itself and the terminator.
    let query = |length: usize| {
        let mut sql = b"SELECT 1 /*".to_vec();
        sql.resize(length - 4 - 1 - 2, b'x');
        sql.extend_from_slice(b"*/");
        let mut out = Vec::new();
        put(&mut out, b'Q', &[&sql, b"\0"]);
        out
    };
    session.send(&query(10 * MIB)).unwrap();
    assert_eq!(
        session
            .reply()
            .unwrap_or_else(|lost| panic!("{lost}"))
            .one()
            .tag,
        "SELECT 1"
    );
    // The server may close while this is still being sent.
    let _ = session.send(&query(10 * MIB + 1));
    assert!(session.is_closed_silently(), "no word and no SQLSTATE");
    // The length alone is enough.
    let mut session = ground.admin();
    let _ = session.send(b"Q\x7f\xff\xff\xff");
    assert!(session.is_closed_silently());
    ground.admin().run("SELECT 1");
}

fn parameters_of_a_statement(ground: &mut Ground) {
    let mut session = ground.admin();
    let sql = |count: usize| {
        let all: Vec<String> = (1..=count).map(|n| format!("${n}::int")).collect();
        format!("SELECT cardinality(ARRAY[{}])", all.join(","))
    };
    let values = vec![Some("1"); 65_535];
    let reply = session
        .execute(&sql(65_535), &values)
        .unwrap_or_else(|lost| panic!("{lost}"));
    assert_eq!(reply.value().as_deref(), Some("65535"));
    let reply = session
        .execute("SELECT $65536::int", &[])
        .unwrap_or_else(|lost| panic!("{lost}"));
    assert!(!reply.error().sqlstate.is_empty());
    session.run("SELECT 1");
}

fn key_size(ground: &mut Ground) {
    ground.set_up(&[
        "CREATE TABLE one (k text PRIMARY KEY, w text)",
        "CREATE TABLE t (k text PRIMARY KEY, v text UNIQUE)",
        "CREATE TABLE two (a text, b text, PRIMARY KEY (a, b))",
    ]);
    let mut session = ground.admin();
    let refuse = |session: &mut Session, sql: &str| {
        refused_outside(session, sql, "54000", "key size too large");
    };
    let key = |length: usize| format!("INSERT INTO one (k) VALUES (repeat('k', {length}))");
    assert_eq!(session.run(&key(1981)).tag, "INSERT 0 1");
    refuse(&mut session, &key(1982));
    // Bytes, not characters.
    session.run("INSERT INTO one (k) VALUES (repeat('é', 990))");
    refuse(
        &mut session,
        "INSERT INTO one (k) VALUES (repeat('é', 991))",
    );
    // Shared by the columns, and a few bytes for each more.
    session.run("INSERT INTO two VALUES (repeat('a', 1000), repeat('b', 970))");
    refuse(
        &mut session,
        "INSERT INTO two VALUES (repeat('a', 1000), repeat('b', 981))",
    );
    // A secondary key holds the primary key, too.
    session.run("INSERT INTO t (k, v) VALUES (repeat('m', 100), repeat('v', 1800))");
    refuse(
        &mut session,
        "INSERT INTO t (k, v) VALUES (repeat('n', 500), repeat('w', 1600))",
    );
    refuse(
        &mut session,
        "UPDATE t SET k = repeat('z', 1982) WHERE k = repeat('m', 100)",
    );
    // Other columns are free.
    session.run("INSERT INTO one (k, w) VALUES ('o', repeat('w', 10000))");
    session.run("BEGIN");
    is(&session.refused(&key(1982)), "54000", "key size too large");
    is_failed_transaction(&mut session);
}

fn declared_key_size(ground: &mut Ground) {
    let message = "key size greater than 2000 bytes not supported";
    ground.set_up(&[
        "CREATE TABLE good (k varchar(2000) PRIMARY KEY)",
        "CREATE TABLE pair (a varchar(1000), b varchar(1000), c text, PRIMARY KEY (a, b))",
        "CREATE TABLE plain (id int PRIMARY KEY, a varchar(2000), b varchar(2001))",
    ]);
    let mut session = ground.admin();
    for sql in [
        "CREATE TABLE bad (k varchar(2001) PRIMARY KEY)",
        "CREATE TABLE bad (a varchar(1000), b varchar(1001), PRIMARY KEY (a, b))",
        "CREATE TABLE bad (id int PRIMARY KEY, a varchar(2001) UNIQUE)",
        "CREATE INDEX ASYNC ON plain (b)",
    ] {
        refused_outside(&mut session, sql, "54000", message);
    }
    // The primary key is not added.
    assert_eq!(
        session.run("CREATE INDEX ASYNC ON plain (a)").tag,
        "CREATE INDEX"
    );
}

fn key_columns(ground: &mut Ground) {
    let columns = |count: usize| -> String {
        let all: Vec<String> = (0..count).map(|n| format!("c{n}")).collect();
        all.join(", ")
    };
    let table = |name: &str, count: usize| {
        format!(
            "CREATE TABLE {name} ({} int, PRIMARY KEY ({}))",
            columns(9).replace(',', " int,"),
            columns(count)
        )
    };
    ground.set_up(&[table("eight", 8)]);
    let mut session = ground.admin();
    let message = "more than 8 column keys in an index are not supported";
    refused_outside(&mut session, &table("nine", 9), "54011", message);
    let index = |count: usize| format!("CREATE INDEX ASYNC ON eight ({})", columns(count));
    refused_outside(&mut session, &index(9), "54011", message);
    assert_eq!(session.run(&index(8)).tag, "CREATE INDEX");
}

fn row_size(ground: &mut Ground) {
    ground.set_up(&["CREATE TABLE t (id int PRIMARY KEY, a bytea, b bytea, c bytea)"]);
    let mut session = ground.admin();
    let insert = |id: usize, length: usize| {
        let value = format!("convert_to(repeat('x', {length}), 'UTF8')");
        format!("INSERT INTO t VALUES ({id}, {value}, {value}, {value})")
    };
    assert_eq!(session.run(&insert(1, 699_000)).tag, "INSERT 0 1");
    let message = "maximum row size exceeded";
    refused_outside(&mut session, &insert(2, 699_060), "54000", message);
    let grow = "UPDATE t SET a = convert_to(repeat('x', 800000), 'UTF8')";
    refused_outside(&mut session, grow, "54000", message);
    session.run("BEGIN");
    is(&session.refused(&insert(2, 700_000)), "54000", message);
    is_failed_transaction(&mut session);
}

fn column_value(ground: &mut Ground) {
    ground.set_up(&["CREATE TABLE t (id int PRIMARY KEY, b bytea, x text, v varchar, j jsonb)"]);
    let mut session = ground.admin();
    let message =
        |kind: &str| format!("datatype limit greater than 1048576 bytes not supported for {kind}");
    let bytes = |length: usize| {
        format!(
            "INSERT INTO t (id, b) VALUES ({length}, convert_to(repeat('x', {length}), 'UTF8'))"
        )
    };
    assert_eq!(session.run(&bytes(MIB)).tag, "INSERT 0 1");
    refused_outside(&mut session, &bytes(MIB + 1), "54000", &message("bytea"));
    // Random digits do not shrink.
    let random = |column: &str, id: usize, length: usize| {
        format!(
            "INSERT INTO t (id, {column}) SELECT {id}, left(string_agg(md5(g::text), ''), {length}) \
             FROM generate_series(1, 32769) g"
        )
    };
    assert_eq!(session.run(&random("x", 1, MIB)).tag, "INSERT 0 1");
    refused_outside(
        &mut session,
        &random("x", 2, MIB + 1),
        "54000",
        &message("text"),
    );
    assert_eq!(session.run(&random("v", 3, MIB)).tag, "INSERT 0 1");
    let failure = session.refused(&random("v", 4, MIB + 1));
    assert_eq!(failure.sqlstate, "54000", "{failure}");
    // The limit is on what is stored, and text is compressed.
    session.run("INSERT INTO t (id, x) VALUES (5, repeat('x', 2000000))");
    let json = "INSERT INTO t (id, j) SELECT 6, to_jsonb(string_agg(md5(g::text), '')) \
                FROM generate_series(1, 33000) g";
    refused_outside(&mut session, json, "54000", &message("jsonb"));
    session.run("BEGIN");
    is(
        &session.refused(&bytes(MIB + 1)),
        "54000",
        &message("bytea"),
    );
    is_failed_transaction(&mut session);
}

fn declared_lengths(ground: &mut Ground) {
    ground.set_up(&["CREATE TABLE good (a char(4096), b varchar(65535))"]);
    let mut session = ground.admin();
    for (kind, message) in [
        (
            "char(4097)",
            "Datatype limit greater than 4096 bytes not supported for char",
        ),
        (
            "varchar(65536)",
            "Datatype limit greater than 65535 bytes not supported for varchar",
        ),
    ] {
        let create = format!("CREATE TABLE bad (a {kind})");
        refused_outside(&mut session, &create, "54000", message);
        let add = format!("ALTER TABLE good ADD COLUMN c {kind}");
        refused_outside(&mut session, &add, "54000", message);
    }
    session.run("BEGIN");
    is(
        &session.refused("CREATE TABLE bad (a char(4097))"),
        "54000",
        "Datatype limit greater than 4096 bytes not supported for char",
    );
    is_failed_transaction(&mut session);
}

fn columns_of_a_table(ground: &mut Ground) {
    let table = |name: &str, count: usize, key: &str| {
        let all: Vec<String> = (1..count).map(|n| format!("c{n} int")).collect();
        format!("CREATE TABLE {name} (id int{key}, {})", all.join(", "))
    };
    ground.set_up(&[
        table("keyless", 256, ""),
        table("keyed", 256, " PRIMARY KEY"),
    ]);
    let mut session = ground.admin();
    let most = "tables can have at most 255 columns";
    refused_outside(&mut session, &table("bad", 257, ""), "54011", most);
    let index = "cannot use more than 256 columns in an index";
    refused_outside(
        &mut session,
        &table("bad", 257, " PRIMARY KEY"),
        "54011",
        index,
    );
    let failure = session.refused("ALTER TABLE keyless ADD COLUMN more int");
    assert_eq!(failure.sqlstate, "54011", "{failure}");
    let failure = session.refused("ALTER TABLE keyed ADD COLUMN more int");
    assert_eq!(failure.sqlstate, "54011", "{failure}");
}

fn indexes_of_a_table(ground: &mut Ground) {
    // The primary key, a unique constraint, and 22 more.
    ground.set_up(&["CREATE TABLE t (id int PRIMARY KEY, u int UNIQUE, v int)"]);
    for n in 0..22 {
        ground.set_up(&[format!("CREATE INDEX ASYNC i{n} ON t (v)")]);
    }
    let mut session = ground.admin();
    let message = "more than 24 indexes per table are not allowed";
    let more = "CREATE INDEX ASYNC more ON t (v)";
    refused_outside(&mut session, more, "54000", message);
    session.run("DROP INDEX i3");
    assert_eq!(session.run(more).tag, "CREATE INDEX");
    let unique: Vec<String> = (0..24).map(|n| format!("c{n} int UNIQUE")).collect();
    let all = format!(
        "CREATE TABLE bad (id int PRIMARY KEY, {})",
        unique.join(", ")
    );
    refused_outside(&mut session, &all, "54000", message);
}

fn schemas(ground: &mut Ground) {
    for n in 0..10 {
        ground.set_up(&[format!("CREATE SCHEMA s{n}")]);
    }
    let mut session = ground.admin();
    let message = "more than 10 schemas not allowed";
    refused_outside(&mut session, "CREATE SCHEMA s10", "54000", message);
    // Counted before it is looked whether it is there.
    refused_outside(
        &mut session,
        "CREATE SCHEMA IF NOT EXISTS s1",
        "54000",
        message,
    );
    session.run("DROP SCHEMA s1");
    session.run("CREATE SCHEMA IF NOT EXISTS s10");
}

fn tables_views_sequences(ground: &mut Ground) {
    for (kind, rest, most, message) in [
        (
            "TABLE",
            "(id int)",
            1000,
            "creating more than 1000 tables not allowed",
        ),
        (
            "VIEW",
            "AS SELECT 1 AS x",
            5000,
            "creating more than 5000 views not allowed",
        ),
        (
            "SEQUENCE",
            "CACHE 1",
            5000,
            "creating more than 5000 sequences is not allowed",
        ),
    ] {
        let many = format!(
            "SET ROLE admin; DO $$ BEGIN FOR n IN 2..{most} LOOP \
             EXECUTE format('CREATE {kind} public.many_%s {rest}', n); END LOOP; END $$"
        );
        let made = behind(ground)
            .query(&many)
            .unwrap_or_else(|lost| panic!("{lost}"));
        assert!(made.failure.is_none(), "{made:?}");
        let mut session = ground.admin();
        session.run(&format!("CREATE {kind} last_{kind} {rest}"));
        refused_outside(
            &mut session,
            &format!("CREATE {kind} more_{kind} {rest}"),
            "54000",
            message,
        );
        let drop = format!(
            "DO $$ BEGIN FOR n IN 2..{most} LOOP \
             EXECUTE format('DROP {kind} public.many_%s', n); END LOOP; END $$"
        );
        let dropped = behind(ground)
            .query(&drop)
            .unwrap_or_else(|lost| panic!("{lost}"));
        assert!(dropped.failure.is_none(), "{dropped:?}");
        session.run(&format!("CREATE {kind} more_{kind} {rest}"));
    }
}

fn view_definition(ground: &mut Ground) {
    let mut session = ground.admin();
    let view = |name: &str, length: usize| {
        format!("CREATE VIEW {name} AS SELECT '{}' AS x", "x".repeat(length))
    };
    assert_eq!(session.run(&view("good", 100 * 1024)).tag, "CREATE VIEW");
    let message = "view definition too large";
    refused_outside(&mut session, &view("bad", 600 * 1024), "54000", message);
}

fn statistics(ground: &mut Ground) {
    ground.set_up(&["CREATE TABLE t (a int, b int, c int)"]);
    for n in 0..5 {
        ground.set_up(&[format!("CREATE STATISTICS s{n} ON a, b FROM t")]);
    }
    let mut session = ground.admin();
    let message = "more than 5 extended statistics per table are not allowed";
    refused_outside(
        &mut session,
        "CREATE STATISTICS s5 ON a, c FROM t",
        "54000",
        message,
    );
    session.run("ALTER STATISTICS s0 SET STATISTICS 100");
    let message = "statistics target 101 exceeds maximum allowed value of 100";
    let alter = "ALTER STATISTICS s0 SET STATISTICS 101";
    refused_outside(&mut session, alter, "22023", message);
}

fn numeric_precision(ground: &mut Ground) {
    ground.set_up(&["CREATE TABLE good (a numeric(1000), b numeric(1000, 1000))"]);
    let mut session = ground.admin();
    let message = "NUMERIC precision 1001 must be between 1 and 1000";
    refused_outside(
        &mut session,
        "CREATE TABLE bad (a numeric(1001))",
        "22023",
        message,
    );
}

fn nesting(ground: &mut Ground) {
    let mut session = ground.admin();
    let nested = |depth: usize| format!("SELECT {}1{}", "1+(".repeat(depth), ")".repeat(depth));
    // The service takes more; where it ends is not known. This is what the emulator reads.
    let reply = session
        .query(&nested(480))
        .unwrap_or_else(|lost| panic!("{lost}"));
    assert_eq!(reply.value().as_deref(), Some("481"));
    for depth in [20_000, 400_000] {
        let sql = nested(depth);
        refused_outside(&mut session, &sql, "54001", "stack depth limit exceeded");
        let reply = session
            .execute(&sql, &[])
            .unwrap_or_else(|lost| panic!("{lost}"));
        is(reply.error(), "54001", "stack depth limit exceeded");
    }
}
