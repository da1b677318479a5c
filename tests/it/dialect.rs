//! What policy decides, on the wire: `dialect: compat` in front of an emulated DSQL cluster.

use crate::client::Client;
use crate::dsql::{Cluster, set_up};
use crate::message::{Frame, bind_text, describe, execute, parse, query, sync};
use crate::proxy::{Proxy, plan};

fn start() -> (Cluster, Proxy, Client) {
    let cluster = Cluster::start();
    let proxy = plan().dsql(&cluster).dialect("compat").start();
    let mut client = proxy.connect();
    set_up(
        &mut client,
        "create table t (id bigint primary key, value text)",
    );
    client.run("insert into t values (1, 'one'), (2, 'two'), (3, 'three')");
    (cluster, proxy, client)
}

/// A line for each frame: what a person looks at.
fn show(frames: &[Frame]) -> Vec<String> {
    let text = |body: &[u8]| {
        String::from_utf8_lossy(body)
            .trim_end_matches('\0')
            .to_owned()
    };
    let shown = frames
        .iter()
        .filter(|frame| frame.tag != b'S')
        .map(|frame| match frame.tag {
            b'E' => format!(
                "E {} {}",
                frame.sqlstate(),
                frame.field(b'M').unwrap_or_default()
            ),
            b'N' => format!(
                "N {} {}",
                frame.sqlstate(),
                frame.field(b'M').unwrap_or_default()
            ),
            b'C' | b'Z' => format!("{} {}", char::from(frame.tag), text(&frame.body)),
            b'D' => {
                let values = frame.values().into_iter().map(|value| match value {
                    Some(value) => text(&value),
                    None => "NULL".to_owned(),
                });
                format!("D {}", values.collect::<Vec<_>>().join("|"))
            }
            tag => char::from(tag).to_string(),
        });
    shown.collect()
}

#[track_caller]
fn play(client: &mut Client, script: &[(&str, &[&str])]) {
    for (sql, expected) in script {
        assert_eq!(show(&client.query(sql)), *expected, "{sql}");
    }
}

/// The same statements by Parse, Bind, Describe, Execute.
#[track_caller]
fn play_extended(client: &mut Client, script: &[(&str, &[&str])]) {
    for (sql, expected) in script {
        let messages = [
            parse("", sql, &[]),
            bind_text("", "", &[]),
            describe(b'P', ""),
            execute("", 0),
            sync(),
        ];
        client.send(&messages.concat());
        assert_eq!(show(&client.until_ready()), *expected, "{sql}");
    }
}

const SHARED: &str = "N 00000 FOR SHARE becomes FOR UPDATE on Aurora DSQL";
const NO_MERGE: &str = "E 0A000 MERGE is not available on Aurora DSQL";
const MERGE: &str = "merge into t using t s on t.id = s.id when matched then do nothing";
const ABORTED: &str =
    "E 25P02 current transaction is aborted, commands ignored until end of transaction block";

#[test]
fn one_statement_is_rewritten_or_refused() {
    let (_cluster, _proxy, mut client) = start();
    play(
        &mut client,
        &[
            ("select 1", &["T", "D 1", "C SELECT 1", "Z I"]),
            (
                "select id from t where id < 3 order by id for share",
                &["T", "D 1", "D 2", SHARED, "C SELECT 2", "Z I"],
            ),
            // Told once.
            (
                "select id from t where id = 3 for share",
                &["T", "D 3", "C SELECT 1", "Z I"],
            ),
            (MERGE, &[NO_MERGE, "Z I"]),
            ("begin", &["C BEGIN", "Z T"]),
            // Nothing was sent yet.
            (MERGE, &[NO_MERGE, "Z E"]),
            ("select 1", &[ABORTED, "Z E"]),
            ("commit", &["C ROLLBACK", "Z I"]),
            ("begin", &["C BEGIN", "Z T"]),
            ("insert into t values (4, 'four')", &["C INSERT 0 1", "Z T"]),
            (MERGE, &[NO_MERGE, "Z E"]),
            ("select 1", &[ABORTED, "Z E"]),
            (MERGE, &[ABORTED, "Z E"]),
            ("rollback", &["C ROLLBACK", "Z I"]),
            ("select count(*) from t", &["T", "D 3", "C SELECT 1", "Z I"]),
            (
                "begin isolation level serializable",
                &[
                    "N 00000 isolation level SERIALIZABLE becomes REPEATABLE READ on Aurora DSQL",
                    "C BEGIN",
                    "Z T",
                ],
            ),
            ("select 1", &["T", "D 1", "C SELECT 1", "Z T"]),
            ("commit", &["C COMMIT", "Z I"]),
            ("begin isolation level read committed", &["C BEGIN", "Z T"]),
            ("select 1", &["T", "D 1", "C SELECT 1", "Z T"]),
            ("commit", &["C COMMIT", "Z I"]),
            ("unlisten *", &["C UNLISTEN", "Z I"]),
            (
                "select pg_advisory_unlock_all()",
                &["T", "D ", "C SELECT 1", "Z I"],
            ),
            (
                "create table n (id bigint primary key, amount numeric)",
                &[
                    "N 00000 column amount is numeric(38,9) on Aurora DSQL, which has no numeric of any precision",
                    "C CREATE TABLE",
                    "Z I",
                ],
            ),
            (
                "create index on t (value)",
                &[
                    "N 00000 index \"t_value_idx\" is built in the background on Aurora DSQL",
                    "C CREATE INDEX",
                    "Z I",
                ],
            ),
        ],
    );
}

#[test]
fn one_prepared_statement_is_rewritten_or_refused() {
    let (_cluster, _proxy, mut client) = start();
    play_extended(
        &mut client,
        &[
            (
                "select id from t where id < 3 order by id for share",
                &["1", "2", "T", "D 1", "D 2", SHARED, "C SELECT 2", "Z I"],
            ),
            (MERGE, &[NO_MERGE, "Z I"]),
            ("begin", &["1", "2", "n", "C BEGIN", "Z T"]),
            (
                "insert into t values (4, 'four')",
                &["1", "2", "n", "C INSERT 0 1", "Z T"],
            ),
            (MERGE, &[NO_MERGE, "Z E"]),
            ("select 1", &[ABORTED, "Z E"]),
            (MERGE, &[ABORTED, "Z E"]),
            ("rollback", &["1", "2", "n", "C ROLLBACK", "Z I"]),
            (
                "select count(*) from t",
                &["1", "2", "T", "D 3", "C SELECT 1", "Z I"],
            ),
            (
                "begin isolation level serializable",
                &[
                    "1",
                    "2",
                    "n",
                    "N 00000 isolation level SERIALIZABLE becomes REPEATABLE READ on Aurora DSQL",
                    "C BEGIN",
                    "Z T",
                ],
            ),
            ("commit", &["1", "2", "n", "C COMMIT", "Z I"]),
            ("unlisten *", &["1", "2", "n", "C UNLISTEN", "Z I"]),
            (
                "select pg_advisory_unlock_all()",
                &["1", "2", "T", "D ", "C SELECT 1", "Z I"],
            ),
            (
                "create unlogged table u (id bigint primary key)",
                &[
                    "1",
                    "2",
                    "n",
                    "N 00000 u is an ordinary, durable table on Aurora DSQL",
                    "C CREATE TABLE",
                    "Z I",
                ],
            ),
        ],
    );
}

#[test]
fn a_deferred_begin_fails_with_a_prepared_refusal() {
    let (_cluster, _proxy, mut client) = start();
    client.run("begin");
    client.send(&[parse("", MERGE, &[]), sync()].concat());
    assert_eq!(show(&client.until_ready()), [NO_MERGE, "Z E"]);
    play(
        &mut client,
        &[
            ("select 1", &[ABORTED, "Z E"]),
            ("rollback", &["C ROLLBACK", "Z I"]),
            ("select 1", &["T", "D 1", "C SELECT 1", "Z I"]),
        ],
    );
}

/// A named statement that was rewritten serves on other connections too, and keeps its parameters.
#[test]
fn a_rewritten_statement_goes_where_its_session_goes() {
    let (_cluster, proxy, mut client) = start();
    let mut other = proxy.connect();
    let sql = "select value from t where id = $1 for no key update";
    client.send(&[parse("s", sql, &[20]), sync()].concat());
    assert_eq!(show(&client.until_ready()), ["1", "Z I"]);
    for round in 0..4 {
        // Takes the connection that was used last.
        other.run("begin");
        other.run("select 1");
        client.send(&[bind_text("", "s", &["2"]), execute("", 0), sync()].concat());
        let told = "N 00000 FOR NO KEY UPDATE becomes FOR UPDATE on Aurora DSQL";
        let mut expected = vec!["2", "D two", told, "C SELECT 1", "Z I"];
        if round > 0 {
            expected.remove(2);
        }
        assert_eq!(show(&client.until_ready()), expected);
        other.run("commit");
    }
}

/// Where an error is, in what the client wrote.
#[test]
fn errors_point_at_the_clients_text() {
    let (_cluster, _proxy, mut client) = start();
    let position = |frames: &[Frame]| {
        let error = frames
            .iter()
            .find(|frame| frame.tag == b'E')
            .expect("an error");
        error.field(b'P')
    };
    let cases = [
        ("select nothing from t", Some("8")),
        ("select nothing from t for share", None),
        ("select 1; select nothing from t", Some("18")),
        ("select 'é'; unlisten *; select nothing from t", Some("32")),
        ("selekt 1", Some("1")),
    ];
    for (sql, expected) in cases {
        let found = position(&client.query(sql));
        assert_eq!(found.as_deref(), expected, "{sql}");
    }
    client.send(&[parse("", cases[1].0, &[]), sync()].concat());
    assert_eq!(position(&client.until_ready()), None);
    client.send(&[parse("", cases[0].0, &[]), sync()].concat());
    assert_eq!(position(&client.until_ready()).as_deref(), Some("8"));
}

/// Several statements of one Query are one transaction, unless they say otherwise; what is refused
/// fails at its place.
#[test]
fn each_statement_of_several_is_decided_at_its_place() {
    let (_cluster, _proxy, mut client) = start();
    let refused = format!("insert into t values (4, 'four'); {MERGE}; select 1");
    let committed =
        format!("begin; insert into t values (5, 'five'); commit; select 1; {MERGE}; select 2");
    play(
        &mut client,
        &[
            (
                "select 1; unlisten *; select 2; select id from t where id = 1 for share",
                &[
                    "T",
                    "D 1",
                    "C SELECT 1",
                    "C UNLISTEN",
                    "T",
                    "D 2",
                    "C SELECT 1",
                    "T",
                    "D 1",
                    SHARED,
                    "C SELECT 1",
                    "Z I",
                ],
            ),
            (&refused, &["C INSERT 0 1", NO_MERGE, "Z I"]),
            ("select count(*) from t", &["T", "D 3", "C SELECT 1", "Z I"]),
            (
                &committed,
                &[
                    "C BEGIN",
                    "C INSERT 0 1",
                    "C COMMIT",
                    "T",
                    "D 1",
                    "C SELECT 1",
                    NO_MERGE,
                    "Z I",
                ],
            ),
            ("select count(*) from t", &["T", "D 4", "C SELECT 1", "Z I"]),
            (
                "begin; update t set value = 'x' where id = 1; unlisten *",
                &["C BEGIN", "C UPDATE 1", "C UNLISTEN", "Z T"],
            ),
            (
                "rollback; unlisten *; select value from t where id = 1",
                &[
                    "C ROLLBACK",
                    "C UNLISTEN",
                    "T",
                    "D one",
                    "C SELECT 1",
                    "Z I",
                ],
            ),
            (
                "unlisten *; unlisten *",
                &["C UNLISTEN", "C UNLISTEN", "Z I"],
            ),
            // A syntax error anywhere is one of the whole.
            (
                "unlisten *; selekt",
                &["E 42601 syntax error at or near \"selekt\"", "Z I"],
            ),
        ],
    );
}

/// Requests that wait for each other's answers do not wait for ever.
#[test]
fn pipelined_requests_are_answered_in_order() {
    let (_cluster, _proxy, mut client) = start();
    let messages = [
        parse("", "select id from t where id = 1 for share", &[]),
        bind_text("", "", &[]),
        execute("", 0),
        parse("", "unlisten *", &[]),
        bind_text("", "", &[]),
        execute("", 0),
        parse("", "select 3", &[]),
        bind_text("", "", &[]),
        execute("", 0),
        sync(),
        parse("", MERGE, &[]),
        bind_text("", "", &[]),
        execute("", 0),
        sync(),
        query("unlisten *"),
        query(MERGE),
        query("select 4"),
    ];
    client.send(&messages.concat());
    let mut lines = Vec::new();
    for _ in 0..5 {
        lines.extend(show(&client.until_ready()));
    }
    let expected = [
        "1",
        "2",
        "D 1",
        SHARED,
        "C SELECT 1",
        "1",
        "2",
        "C UNLISTEN",
        "1",
        "2",
        "D 3",
        "C SELECT 1",
        "Z I",
        NO_MERGE,
        "Z I",
        "C UNLISTEN",
        "Z I",
        NO_MERGE,
        "Z I",
        "T",
        "D 4",
        "C SELECT 1",
        "Z I",
    ];
    assert_eq!(lines, expected);
}

/// More DDL than a transaction takes is refused when it is run, however early it was prepared.
#[test]
fn a_prepared_statement_is_decided_about_when_it_is_bound() {
    let (_cluster, _proxy, mut client) = start();
    client.send(&[parse("s", "insert into t values (9, 'nine')", &[]), sync()].concat());
    client.until_ready();
    client.run("begin");
    client.run("create table v (id bigint primary key)");
    client.send(&[bind_text("", "s", &[]), execute("", 0), sync()].concat());
    assert_eq!(
        show(&client.until_ready()),
        [
            "E 0A000 Aurora DSQL takes no changes of rows in a transaction with a DDL statement",
            "Z E"
        ]
    );
    client.run("rollback");
    client.send(&[bind_text("", "s", &[]), execute("", 0), sync()].concat());
    assert_eq!(show(&client.until_ready()), ["2", "C INSERT 0 1", "Z I"]);
}

/// What was rewritten is run again as it was rewritten, after a conflict and up to a savepoint.
#[test]
fn rewritten_statements_are_repeated() {
    let (cluster, _proxy, mut client) = start();
    let told = "N 00000 FOR SHARE becomes FOR UPDATE on Aurora DSQL";
    cluster.order(&serde_json::json!({"kind": "abort_commit", "code": "OC000", "count": 1}));
    play(
        &mut client,
        &[
            ("begin isolation level read committed", &["C BEGIN", "Z T"]),
            (
                "select value from t where id = 1 for share",
                &["T", "D one", told, "C SELECT 1", "Z T"],
            ),
            (
                "update t set value = 'eins' where id = 1",
                &["C UPDATE 1", "Z T"],
            ),
            ("commit", &["C COMMIT", "Z I"]),
            ("begin", &["C BEGIN", "Z T"]),
            (
                "select value from t where id = 1 for share",
                &["T", "D eins", "C SELECT 1", "Z T"],
            ),
            ("savepoint a", &["C SAVEPOINT", "Z T"]),
            (
                "update t set value = 'uno' where id = 1",
                &["C UPDATE 1", "Z T"],
            ),
            ("rollback to a", &["C ROLLBACK", "Z T"]),
            (
                "select value from t where id = 1",
                &["T", "D eins", "C SELECT 1", "Z T"],
            ),
            ("commit", &["C COMMIT", "Z I"]),
        ],
    );
    assert_eq!(cluster.orders_left(), 0);
}

/// Settings that DSQL does not take are the session's, with PostgreSQL's rules for transactions.
#[test]
fn settings_are_kept_for_the_session() {
    let (_cluster, _proxy, mut client) = start();
    let show = |value: &'static str| ["T", value, "C SHOW", "Z I"];
    play(
        &mut client,
        &[
            ("show work_mem", &show("D 4MB")),
            ("set work_mem = '64MB'", &["C SET", "Z I"]),
            ("show work_mem", &show("D 64MB")),
            ("select 1", &["T", "D 1", "C SELECT 1", "Z I"]),
            ("show work_mem", &show("D 64MB")),
            (
                "select current_setting('work_mem'), set_config('jit', 'off', false)",
                &["T", "D 64MB|off", "C SELECT 1", "Z I"],
            ),
            ("show jit", &show("D off")),
            (
                "select name, setting from pg_settings where name = 'jit'",
                &["T", "D jit|off", "C SELECT 1", "Z I"],
            ),
            ("begin", &["C BEGIN", "Z T"]),
            ("set local work_mem = '1GB'", &["C SET", "Z T"]),
            ("set jit = on", &["C SET", "Z T"]),
            ("show work_mem", &["T", "D 1GB", "C SHOW", "Z T"]),
            ("rollback", &["C ROLLBACK", "Z I"]),
            ("show work_mem", &show("D 64MB")),
            ("show jit", &show("D off")),
            ("reset work_mem", &["C RESET", "Z I"]),
            ("show work_mem", &show("D 4MB")),
            (
                "set no_such_setting = 1",
                &[
                    "E 42704 unrecognized configuration parameter \"no_such_setting\"",
                    "Z I",
                ],
            ),
            (
                "set work_mem = 'much'",
                &[
                    "E 22023 invalid value for parameter \"work_mem\": \"much\"",
                    "Z I",
                ],
            ),
            ("set my.tenant = 'a'", &["C SET", "Z I"]),
            (
                "select current_setting('my.tenant'), current_setting('my.other', true)",
                &["T", "D a|NULL", "C SELECT 1", "Z I"],
            ),
            (
                "show my.other",
                &[
                    "E 42704 unrecognized configuration parameter \"my.other\"",
                    "Z I",
                ],
            ),
            (
                "set client_min_messages to warning; set time zone 'UTC'; show jit",
                &["C SET", "C SET", "T", "D off", "C SHOW", "Z I"],
            ),
            // No NOTICE any more.
            (
                "select id from t where id = 1 for share",
                &["T", "D 1", "C SELECT 1", "Z I"],
            ),
            ("set role none", &["C SET", "Z I"]),
            ("set session authorization default", &["C SET", "Z I"]),
            (
                "set session characteristics as transaction isolation level read committed, read only",
                &["C SET", "Z I"],
            ),
            ("show default_transaction_read_only", &show("D on")),
            (
                "insert into t values (7, 'x')",
                &[
                    "E 25006 cannot change anything in a read-only transaction",
                    "Z I",
                ],
            ),
            ("begin", &["C BEGIN", "Z T"]),
            ("set transaction read write", &["C SET", "Z T"]),
            ("insert into t values (7, 'x')", &["C INSERT 0 1", "Z T"]),
            ("rollback", &["C ROLLBACK", "Z I"]),
            ("reset all", &["C RESET", "Z I"]),
            ("show default_transaction_read_only", &show("D off")),
            ("show jit", &show("D on")),
            (
                "begin; set transaction isolation level repeatable read, read only; select 1; commit",
                &[
                    "C BEGIN",
                    "C SET",
                    "T",
                    "D 1",
                    "C SELECT 1",
                    "C COMMIT",
                    "Z I",
                ],
            ),
        ],
    );
    let all = client.run("show all");
    assert!(all.len() > 150, "{}", all.len());
}

#[test]
fn settings_are_kept_in_the_extended_protocol_too() {
    let (_cluster, _proxy, mut client) = start();
    play_extended(
        &mut client,
        &[
            ("show work_mem", &["1", "2", "T", "D 4MB", "C SHOW", "Z I"]),
            ("set work_mem = '64MB'", &["1", "2", "n", "C SET", "Z I"]),
            ("show work_mem", &["1", "2", "T", "D 64MB", "C SHOW", "Z I"]),
            (
                "select current_setting('work_mem') as now, set_config('jit', 'off', false) as new",
                &["1", "2", "T", "D 64MB|off", "C SELECT 1", "Z I"],
            ),
            ("show jit", &["1", "2", "T", "D off", "C SHOW", "Z I"]),
            (
                "select current_setting('jit')",
                &["1", "2", "T", "D off", "C SELECT 1", "Z I"],
            ),
            ("discard all", &["1", "2", "n", "C DISCARD ALL", "Z I"]),
            ("show jit", &["1", "2", "T", "D on", "C SHOW", "Z I"]),
            (
                "set no_such = 1",
                &[
                    "1",
                    "2",
                    "n",
                    "E 42704 unrecognized configuration parameter \"no_such\"",
                    "Z I",
                ],
            ),
        ],
    );
    // A statement that was prepared shows what holds when it runs.
    client.send(
        &[
            parse("s", "show jit", &[]),
            parse("q", "select current_setting('jit')", &[]),
            sync(),
        ]
        .concat(),
    );
    client.until_ready();
    client.run("set jit = off");
    client.send(
        &[
            bind_text("", "s", &[]),
            execute("", 0),
            bind_text("", "q", &[]),
            execute("", 0),
            sync(),
        ]
        .concat(),
    );
    assert_eq!(
        show(&client.until_ready()),
        ["2", "D off", "C SHOW", "2", "D off", "C SELECT 1", "Z I"]
    );
}

/// What a client is told of the server's parameters stays true when they go back.
#[test]
fn parameters_are_told_when_settings_are_reset() {
    let (_cluster, _proxy, mut client) = start();
    let told = |frames: &[Frame]| -> Vec<String> {
        let frames = frames.iter().filter(|frame| frame.tag == b'S');
        frames.map(|frame| frame.strings().join("=")).collect()
    };
    let zone = client.parameters()["TimeZone"].clone();
    assert_eq!(
        told(&client.run("set timezone = 'Asia/Tokyo'")),
        ["TimeZone=Asia/Tokyo"]
    );
    assert_eq!(
        told(&client.run("discard all")),
        [format!("TimeZone={zone}")]
    );
    assert_eq!(client.scalar("show timezone"), zone);
    client.run("set timezone = 'Asia/Tokyo'");
    client.run("begin");
    client.run("select 1");
    assert_eq!(told(&client.run("reset all")), [format!("TimeZone={zone}")]);
    assert_eq!(client.scalar("show timezone"), zone);
    client.run("commit");
    assert_eq!(client.scalar("show timezone"), zone);
}

/// What drivers and poolers send to clean a session.
#[test]
fn reset_scripts_are_answered() {
    let (_cluster, _proxy, mut client) = start();
    client.run("prepare p (int) as select $1 + 1");
    client.run("set work_mem = '8MB'");
    play(
        &mut client,
        &[
            (
                "SELECT pg_advisory_unlock_all();\nUNLISTEN *;\nRESET ALL;",
                &["T", "D ", "C SELECT 1", "C UNLISTEN", "C RESET", "Z I"],
            ),
            ("show work_mem", &["T", "D 4MB", "C SHOW", "Z I"]),
            ("execute p(1)", &["T", "D 2", "C SELECT 1", "Z I"]),
            ("discard plans", &["C DISCARD PLANS", "Z I"]),
            ("discard all", &["C DISCARD ALL", "Z I"]),
            (
                "execute p(1)",
                &["E 26000 prepared statement \"p\" does not exist", "Z I"],
            ),
            ("begin", &["C BEGIN", "Z T"]),
            (
                "discard all",
                &[
                    "E 25001 DISCARD ALL cannot run inside a transaction block",
                    "Z E",
                ],
            ),
            ("rollback", &["C ROLLBACK", "Z I"]),
        ],
    );
}

#[test]
fn statements_are_prepared_in_sql() {
    let (_cluster, _proxy, mut client) = start();
    play(
        &mut client,
        &[
            (
                "prepare p (bigint) as select value from t where id = $1 for share",
                &["C PREPARE", "Z I"],
            ),
            (
                "prepare p as select 1",
                &["E 42P05 prepared statement \"p\" already exists", "Z I"],
            ),
            ("execute p(2)", &["T", "D two", SHARED, "C SELECT 1", "Z I"]),
            (
                "execute p",
                &[
                    "E 42601 wrong number of parameters for prepared statement \"p\"",
                    "Z I",
                ],
            ),
            (
                "prepare i as insert into t values ($1, $2)",
                &["C PREPARE", "Z I"],
            ),
            ("execute i(5, 'five')", &["C INSERT 0 1", "Z I"]),
            ("deallocate p", &["C DEALLOCATE", "Z I"]),
            (
                "deallocate p",
                &["E 26000 prepared statement \"p\" does not exist", "Z I"],
            ),
            ("deallocate all", &["C DEALLOCATE ALL", "Z I"]),
            (
                "execute i(6, 'six')",
                &["E 26000 prepared statement \"i\" does not exist", "Z I"],
            ),
            ("prepare e as select $1::int", &["C PREPARE", "Z I"]),
        ],
    );
    // Both protocols know the same names.
    client.send(&[bind_text("", "e", &["7"]), execute("", 0), sync()].concat());
    assert_eq!(
        show(&client.until_ready()),
        ["2", "D 7", "C SELECT 1", "Z I"]
    );
    client.send(&[parse("x", "select $1::int + 1", &[]), sync()].concat());
    client.until_ready();
    play(
        &mut client,
        &[("execute x(1)", &["T", "D 2", "C SELECT 1", "Z I"])],
    );
    let plan = client.run("explain execute e(1)");
    assert!(plan.iter().any(|frame| frame.tag == b'D'));
}

/// The configuration chooses profile, month and single rules; a reload changes them under way.
#[test]
fn rules_are_those_of_the_configuration() {
    let cluster = Cluster::start();
    let proxy = plan()
        .dsql(&cluster)
        .dialect("strict")
        .entry("large_dml", "batch")
        .section("dialect: {as_of: \"2026-09\", rules: {unlisten: reject}}")
        .start();
    let mut client = proxy.connect();
    let refused = |frames: &[Frame]| {
        let error = frames.iter().find(|frame| frame.tag == b'E');
        error.map(Frame::sqlstate)
    };
    assert_eq!(client.scalar("show dsqlproxy.large_dml"), "batch");
    assert_eq!(
        refused(&client.query("select 1 for share")).as_deref(),
        Some("0A000")
    );
    assert_eq!(
        refused(&client.query("unlisten *")).as_deref(),
        Some("0A000")
    );
    proxy.edit(|yaml| yaml.replace(", rules: {unlisten: reject}", ""));
    assert_eq!(proxy.post("/api/reload").0, 200);
    assert_eq!(refused(&client.query("unlisten *")), None);
    proxy.edit(|yaml| yaml.replace("as_of: \"2026-09\"", "rules: {nonsense: reject}"));
    assert_ne!(proxy.post("/api/reload").0, 200);
    assert_eq!(refused(&client.query("unlisten *")), None);
}

/// SQL cursors are portals of the extended protocol.
#[test]
fn cursors_are_portals() {
    let (_cluster, _proxy, mut client) = start();
    play(
        &mut client,
        &[
            (
                "declare c cursor for select id from t",
                &[
                    "E 25P01 DECLARE CURSOR can only be used in transaction blocks",
                    "Z I",
                ],
            ),
            ("close all", &["C CLOSE CURSOR ALL", "Z I"]),
            ("begin", &["C BEGIN", "Z T"]),
            (
                "declare c no scroll cursor for select id from t order by id for share",
                &[SHARED, "C DECLARE CURSOR", "Z T"],
            ),
            ("fetch 2 from c", &["T", "D 1", "D 2", "C FETCH 2", "Z T"]),
            ("select 7", &["T", "D 7", "C SELECT 1", "Z T"]),
            ("fetch next from c", &["T", "D 3", "C FETCH 1", "Z T"]),
            ("fetch c", &["T", "C FETCH 0", "Z T"]),
            ("close c", &["C CLOSE CURSOR", "Z T"]),
            (
                "declare d cursor for select id from t order by id",
                &["C DECLARE CURSOR", "Z T"],
            ),
            ("move 1 in d", &["C MOVE 1", "Z T"]),
            ("fetch all from d", &["T", "D 2", "D 3", "C FETCH 2", "Z T"]),
            ("commit", &["C COMMIT", "Z I"]),
            ("begin", &["C BEGIN", "Z T"]),
            ("fetch d", &["E 34000 cursor \"d\" does not exist", "Z E"]),
            ("close d", &[ABORTED, "Z E"]),
            ("rollback", &["C ROLLBACK", "Z I"]),
            ("begin", &["C BEGIN", "Z T"]),
            (
                "declare e cursor for select nothing from t",
                &["E 42703 column \"nothing\" does not exist", "Z E"],
            ),
            ("rollback", &["C ROLLBACK", "Z I"]),
        ],
    );
}

#[test]
fn chains_of_hundreds_are_understood_and_longer_ones_refused() {
    let (_cluster, _proxy, mut client) = start();
    let sum = |size: usize| format!("SELECT 1{} FROM t WHERE id = 1", " + 1".repeat(size));
    let union = |size: usize| {
        let arms = " UNION ALL SELECT 1".repeat(size);
        format!("SELECT count(*) FROM (SELECT 1{arms}) x")
    };
    // The last one is printed from its tree and read back.
    let texts = [sum(480), union(480), sum(480) + " FOR SHARE"];
    for text in &texts {
        assert_eq!(client.scalar(text), "481", "{}", &text[..30]);
    }
    let refused: &[&str] = &["E 54001 stack depth limit exceeded", "Z I"];
    for size in [600, 5000, 300_000] {
        for text in [sum(size), union(size)] {
            let script = [(text.as_str(), refused)];
            play(&mut client, &script);
            play_extended(&mut client, &script);
        }
    }
    assert_eq!(client.scalar("SELECT 1"), "1");
}
