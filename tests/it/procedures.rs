//! Statements that take several transactions on DSQL, and are one to the client.

use std::time::{Duration, Instant};

use crate::client::{Client, tags};
use crate::dsql::{Cluster, set_up};
use crate::message::{Frame, bind_text, describe, execute, parse, sync};
use crate::proxy::{Proxy, plan};

fn start(cluster: &Cluster) -> (Proxy, Client) {
    let proxy = plan().size(3).dsql(cluster).dialect("compat").start();
    let client = proxy.connect();
    (proxy, client)
}

fn fill(client: &mut Client, table: &str, rows: u32) {
    let mut from = 1;
    while from <= rows {
        let to = (from + 2499).min(rows);
        let sql =
            format!("insert into {table} select n, n % 7 from generate_series({from}, {to}) n");
        set_up(client, &sql);
        from = to + 1;
    }
}

fn table(client: &mut Client, rows: u32) {
    set_up(client, "create table t (id bigint primary key, n int)");
    fill(client, "t", rows);
}

fn error(frames: &[Frame]) -> &Frame {
    let found = frames.iter().find(|frame| frame.tag == b'E');
    found.unwrap_or_else(|| panic!("no error: {}", tags(frames)))
}

/// The tag, when nothing failed.
#[track_caller]
fn tag(frames: &[Frame]) -> String {
    if let Some(error) = frames.iter().find(|frame| frame.tag == b'E') {
        panic!("{}", error.render(true));
    }
    let complete = frames.iter().find(|frame| frame.tag == b'C');
    complete.expect("CommandComplete").strings().remove(0)
}

fn detail(frame: &Frame) -> String {
    frame.field(b'D').unwrap_or_default()
}

const INDEXES: &str =
    "select count(*) from pg_index where indrelid = 't'::regclass and not indisprimary";

#[test]
fn an_index_is_there_when_its_statement_is_done() {
    let cluster = Cluster::start();
    let (_proxy, mut client) = start(&cluster);
    table(&mut client, 100);
    let frames = client.query("create index i on t (n)");
    assert_eq!(tag(&frames), "CREATE INDEX");
    assert!(tags(&frames).starts_with('N') && !tags(&frames).contains('D'));
    let valid = "select indisvalid from pg_index where indexrelid = 'i'::regclass";
    assert_eq!(client.scalar(valid), "t");
    assert_eq!(
        tag(&client.query("create index if not exists i on t (n)")),
        "CREATE INDEX"
    );
    assert_eq!(client.sqlstate("create index i on t (n)"), "42P07");
}

#[test]
fn a_unique_index_over_duplicates_leaves_nothing() {
    let cluster = Cluster::start();
    let (_proxy, mut client) = start(&cluster);
    table(&mut client, 100);
    let frames = client.query("create unique index u on t (n)");
    let error = error(&frames);
    assert_eq!(error.sqlstate(), "23505");
    assert_eq!(
        error.field(b'M').unwrap(),
        "could not create unique index \"u\""
    );
    assert!(detail(error).contains("duplicate key"), "{}", detail(error));
    assert_eq!(client.scalar(INDEXES), "0");
    assert_eq!(
        tag(&client.query("create unique index u on t (id)")),
        "CREATE INDEX"
    );
    assert_eq!(client.scalar(INDEXES), "1");
}

#[test]
fn tables_are_changed_in_steps() {
    let cluster = Cluster::start();
    let (_proxy, mut client) = start(&cluster);
    table(&mut client, 6000);
    client.run("create schema s create table s.a (id serial primary key) create table s.b (id serial primary key, a bigint references s.a) create index on s.b (a)");
    assert_eq!(
        client.scalar(
            "select count(*) from pg_index where indrelid = 's.b'::regclass and indisvalid"
        ),
        "2"
    );

    let frames = client.query("alter table t add column c text not null default 'x'");
    assert_eq!(tag(&frames), "ALTER TABLE");
    assert_eq!(
        client.scalar("select count(*) from t where c = 'x'"),
        "6000"
    );
    assert_eq!(
        client.sqlstate("update t set c = null where id = 1"),
        "23514"
    );

    assert_eq!(
        tag(&client.query("alter table t add constraint low check (n < 7)")),
        "ALTER TABLE"
    );
    let frames = client.query("alter table t add constraint lower check (n < 6)");
    let refused = error(&frames);
    assert_eq!(refused.sqlstate(), "23514");
    let left = "select count(*) from pg_constraint where conname = 'lower'";
    assert_eq!(client.scalar(left), "0", "what failed is undone");
    assert!(!detail(refused).contains("stay"), "{}", detail(refused));

    assert_eq!(
        client.sqlstate("alter table t alter n set not null, add unique (n)"),
        "23505"
    );
    let frames = client.query("alter table t add column d int default 5 check (d > 5)");
    let refused = error(&frames);
    assert_eq!(refused.sqlstate(), "23514");
    assert!(
        detail(refused).contains("ADD COLUMN"),
        "{}",
        detail(refused)
    );
    assert!(detail(refused).contains("6000 rows"), "{}", detail(refused));
    client.run("alter table t add constraint k unique (id)");
}

#[test]
fn many_rows_are_changed_in_batches() {
    let cluster = Cluster::start();
    let (_proxy, mut client) = start(&cluster);
    table(&mut client, 10_000);
    assert_eq!(client.sqlstate("delete from t"), "54000");
    client.run("set dsqlproxy.large_dml = batch");
    let frames = client.query("update t set n = n + 100 where id > 10 or id = 3");
    assert_eq!(tag(&frames), "UPDATE 9991");
    assert_eq!(
        client.scalar("select sum(n) from t"),
        (999_100 + 10_000 / 7 * 21 + 1 + 2 + 3 + 4).to_string()
    );
    assert_eq!(
        tag(&client.query("update t set id = id + 0 where id < 9")),
        "UPDATE 8"
    );
    assert_eq!(
        tag(&client.query("delete from t as x where x.id <= 7000")),
        "DELETE 7000"
    );
    assert_eq!(tag(&client.query("delete from t where id = 1")), "DELETE 0");
    assert_eq!(client.scalar("select count(*) from t"), "3000");
    fill(&mut client, "t", 7000);
    assert_eq!(tag(&client.query("truncate t")), "TRUNCATE TABLE");
    assert_eq!(client.scalar("select count(*) from t"), "0");
    // Rows of one table into another.
    set_up(
        &mut client,
        "create table copy (id bigint primary key, n int, x text)",
    );
    fill(&mut client, "t", 6000);
    let frames = client
        .query("insert into copy (n, id, x) select n, id, upper('x') from t where n < 6 or n > 6");
    assert_eq!(tag(&frames), "INSERT 0 5143");
    assert_eq!(
        client.scalar("select count(*) from copy where x = 'X' and n = id % 7"),
        "5143"
    );
    // Keys of two columns.
    set_up(
        &mut client,
        "create table p (a text, b int, n int, primary key (b, a))",
    );
    for at in [0, 2000] {
        client.run(&format!(
            "insert into p select 'it''s \\ ' || n % 3, n, 0 from generate_series({}, {}) n",
            at + 1,
            at + 2000
        ));
    }
    assert_eq!(tag(&client.query("update p set n = n + 1")), "UPDATE 4000");
    assert_eq!(client.scalar("select count(*) from p where n = 1"), "4000");
    // Without a key it is one transaction.
    set_up(&mut client, "create table bare (n int)");
    client.run("insert into bare values (1), (2)");
    assert_eq!(tag(&client.query("delete from bare")), "DELETE 2");
}

#[test]
fn a_truncate_knows_its_references() {
    let cluster = Cluster::start();
    let (_proxy, mut client) = start(&cluster);
    table(&mut client, 10);
    set_up(
        &mut client,
        "create table r (id bigint generated always as identity (cache 1) primary key, t bigint references t)",
    );
    client.run("insert into r (t) select id from t");
    client.run("set dsqlproxy.large_dml = batch");
    let frames = client.query("truncate t");
    assert_eq!(error(&frames).sqlstate(), "0A000");
    assert_eq!(client.scalar("select count(*) from t"), "10");
    assert_eq!(tag(&client.query("truncate t, r")), "TRUNCATE TABLE");
    fill(&mut client, "t", 5);
    client.run("insert into r (t) select id from t");
    assert_eq!(
        tag(&client.query("truncate t restart identity cascade")),
        "TRUNCATE TABLE"
    );
    fill(&mut client, "t", 1);
    assert_eq!(
        client.scalar("insert into r (t) values (1) returning id"),
        "1"
    );
}

#[test]
fn conflicts_of_steps_are_repeated() {
    let cluster = Cluster::start();
    let (_proxy, mut client) = start(&cluster);
    table(&mut client, 6000);
    client.run("set dsqlproxy.large_dml = batch");
    cluster.fault("abort_commit", 2, "^DELETE");
    cluster.order(&serde_json::json!({"kind": "abort_commit", "code": "OC001", "count": 2, "match": "^CREATE INDEX"}));
    assert_eq!(
        tag(&client.query("create index i on t (n)")),
        "CREATE INDEX"
    );
    assert_eq!(tag(&client.query("delete from t")), "DELETE 6000");
    assert_eq!(cluster.orders_left(), 0);
    // More than can be repeated: what was done is told.
    fill(&mut client, "t", 6000);
    cluster.delay(1, 1, "^DELETE");
    client.run("set dsqlproxy.retry = off");
    cluster.fault("abort_commit", 1, "^DELETE");
    let frames = client.query("delete from t");
    assert_eq!(error(&frames).sqlstate(), "40001");
    assert_eq!(tag(&client.query("delete from t")), "DELETE 6000");
}

#[test]
fn a_failure_half_way_tells_what_is_done() {
    let cluster = Cluster::start();
    let (_proxy, mut client) = start(&cluster);
    table(&mut client, 6000);
    set_up(
        &mut client,
        "create table r (id bigint primary key, t bigint references t)",
    );
    client.run("insert into r values (1, 5600)");
    client.run("set dsqlproxy.large_dml = batch");
    let frames = client.query("update t set n = 6000 / (5500 - id)");
    let refused = error(&frames);
    assert_eq!(refused.sqlstate(), "22012");
    assert!(
        detail(refused).contains("the change of 5000 rows of table \"t\" in 2 transactions"),
        "{}",
        detail(refused)
    );
    assert_eq!(refused.field(b'P'), None);
    assert_eq!(client.scalar("select 1"), "1");
}

#[test]
fn a_cancel_half_way_tells_what_is_done() {
    let cluster = Cluster::with_jobs_of(Duration::from_secs(3600));
    let (proxy, mut client) = start(&cluster);
    table(&mut client, 6000);
    // A job is given up, and what it was for is undone.
    client.send(&crate::message::query("create index i on t (n)"));
    let mut watcher = proxy.connect();
    let deadline = Instant::now() + Duration::from_secs(20);
    while watcher.scalar("select count(*) from sys.jobs") == "0" {
        assert!(Instant::now() < deadline);
    }
    client.cancel();
    let frames = client.until_ready();
    assert_eq!(error(&frames).sqlstate(), "57014");
    assert_eq!(client.scalar(INDEXES), "0");
    // So does a timeout.
    client.run("set statement_timeout = '300ms'");
    let frames = client.query("create index i on t (n)");
    assert_eq!(error(&frames).sqlstate(), "57014");
    assert!(
        error(&frames)
            .field(b'M')
            .unwrap()
            .contains("statement timeout")
    );
    client.run("set statement_timeout = 0");
    assert_eq!(client.scalar(INDEXES), "0");
    // Batches end behind the one that runs.
    client.run("set dsqlproxy.large_dml = batch");
    cluster.delay(500, 1, "^DELETE");
    client.send(&crate::message::query("delete from t"));
    cluster.wait_struck();
    client.cancel();
    let frames = client.until_ready();
    assert_eq!(error(&frames).sqlstate(), "57014");
    assert_eq!(client.scalar("select 1"), "1");
}

#[test]
fn a_lost_connection_is_told_with_what_is_done() {
    let cluster = Cluster::start();
    let (proxy, mut client) = start(&cluster);
    table(&mut client, 6000);
    client.run("set dsqlproxy.large_dml = batch");
    // Looks are taken again on another connection.
    cluster.fault("cut", 1, "sys.jobs");
    assert_eq!(
        tag(&client.query("create index i on t (n)")),
        "CREATE INDEX"
    );
    cluster.wait_struck();
    cluster.fault("cut_after_commit", 1, "^DELETE");
    let frames = client.query("delete from t");
    let lost = error(&frames);
    assert_eq!(lost.sqlstate(), "08007");
    assert!(
        detail(lost).contains("a batch of table \"t\""),
        "{}",
        detail(lost)
    );
    let left: u32 = client.scalar("select count(*) from t").parse().unwrap();
    assert_eq!(left, 3500);
    assert_eq!(tag(&client.query("delete from t")), "DELETE 3500");
    drop(client);
    proxy.wait_base();
}

#[test]
fn progress_is_told() {
    let cluster = Cluster::with_jobs_of(Duration::from_secs(6));
    let (_proxy, mut client) = start(&cluster);
    table(&mut client, 10);
    let frames = client.query("create index i on t (n)");
    assert_eq!(tag(&frames), "CREATE INDEX");
    let told = frames.iter().filter(|frame| frame.tag == b'N').count();
    assert_eq!(told, 2, "that it is built, and how far it is");
}

#[test]
fn a_transaction_is_split_when_asked_for() {
    let cluster = Cluster::start();
    let (_proxy, mut client) = start(&cluster);
    table(&mut client, 10);
    client.run("set dsqlproxy.ddl_in_transaction = split");
    for first in ["", "insert into t values (11, 0)"] {
        client.run("delete from t where id > 10");
        client.run("begin");
        if !first.is_empty() {
            client.run(first);
        }
        let frames = client.query("alter table t add constraint low check (n < 7)");
        assert_eq!(tag(&frames), "ALTER TABLE");
        assert_eq!(frames.last().unwrap().body, b"T");
        client.run("insert into t values (12, 0)");
        client.run("rollback");
        let rows = if first.is_empty() { "10" } else { "11" };
        assert_eq!(client.scalar("select count(*) from t"), rows);
        client.run("alter table t drop constraint low");
    }
    client.run("begin");
    client.run("insert into t values (13, 9)");
    let frames = client.query("alter table t add constraint low check (n < 7)");
    assert_eq!(error(&frames).sqlstate(), "23514");
    assert!(detail(error(&frames)).contains("COMMIT"));
    assert_eq!(frames.last().unwrap().body, b"E");
    assert_eq!(client.sqlstate("select 1"), "25P02");
    assert_eq!(tag(&client.query("commit")), "ROLLBACK");
    assert_eq!(client.scalar("select count(*) from t where id = 13"), "1");
}

fn extended(client: &mut Client, sql: &str, values: &[&str]) -> Vec<Frame> {
    client.send(
        &[
            parse("", sql, &[]),
            describe(b'S', ""),
            bind_text("", "", values),
            execute("", 0),
            sync(),
        ]
        .concat(),
    );
    client.until_ready()
}

#[test]
fn both_protocols_run_them() {
    let cluster = Cluster::start();
    let (proxy, mut client) = start(&cluster);
    table(&mut client, 6000);
    let frames = extended(&mut client, "create index i on t (n)", &[]);
    assert_eq!(tag(&frames), "CREATE INDEX");
    assert_eq!(tags(&frames), "1tn2NCZ");
    let frames = extended(&mut client, "create unique index u on t (n)", &[]);
    assert_eq!(error(&frames).sqlstate(), "23505");
    assert_eq!(tags(&frames), "1tn2NEZ");
    assert_eq!(client.scalar(INDEXES), "1");

    client.run("set dsqlproxy.large_dml = batch");
    let sql = "update t set n = $1 + n where id > $2";
    let frames = extended(&mut client, sql, &["100", "1000"]);
    assert_eq!(tag(&frames), "UPDATE 5000");
    assert_eq!(tags(&frames), "1tn2CZ");
    assert_eq!(frames[1].body, b"\0\x02\0\0\0\x17\0\0\0\x14");
    assert_eq!(
        client.scalar("select count(*) from t where n >= 100"),
        "5000"
    );

    // Parameters that are too long to be kept go with the statement as a whole.
    let long = "x".repeat(20_000);
    let sql = "update t set n = n where id <= $1 and $2::text <> ''";
    let frames = extended(&mut client, sql, &["10", &long]);
    assert_eq!(tag(&frames), "UPDATE 10");
    assert_eq!(tags(&frames), "1tn2CZ");

    // Prepared once, run twice, with more in the batch behind it.
    client.send(&[parse("d", "delete from t where id <= $1", &[20]), sync()].concat());
    client.until_ready();
    client.send(
        &[
            bind_text("", "d", &["3500"]),
            execute("", 0),
            bind_text("p", "d", &["5500"]),
            execute("p", 0),
            parse("", "select count(*) from t", &[]),
            bind_text("", "", &[]),
            execute("", 0),
            sync(),
        ]
        .concat(),
    );
    let frames = client.until_ready();
    assert_eq!(tags(&frames), "2C2C12DCZ");
    assert_eq!(frames[1].strings(), ["DELETE 3500"]);
    assert_eq!(frames[3].strings(), ["DELETE 2000"]);
    assert_eq!(frames[6].values(), [Some(b"500".to_vec())]);

    // An error ends the batch.
    client.send(
        &[
            parse(
                "",
                "alter table t add constraint low check (id < 5600)",
                &[],
            ),
            bind_text("", "", &[]),
            execute("", 0),
            parse("", "select 1", &[]),
            sync(),
        ]
        .concat(),
    );
    let frames = client.until_ready();
    assert_eq!(tags(&frames), "12NEZ", "{}", error(&frames).render(false));
    assert_eq!(error(&frames).sqlstate(), "23514");
    assert_eq!(tags(&extended(&mut client, "select 1", &[])), "1tT2DCZ");
    drop(client);
    proxy.wait_base();
}

#[test]
fn a_transaction_is_committed_around_ddl() {
    let cluster = Cluster::start();
    let (_proxy, mut client) = start(&cluster);
    table(&mut client, 10);
    client.run("set dsqlproxy.ddl_in_transaction = split");
    client.run("begin");
    client.run("insert into t values (11, 1)");
    let frames = client.query("create table u (id bigint primary key)");
    assert_eq!(tag(&frames), "CREATE TABLE");
    assert_eq!(tags(&frames), "NCZ");
    assert_eq!(frames[2].body, b"T");
    assert_eq!(
        tags(&client.query("create table v (id bigint primary key)")),
        "NCZ"
    );
    let frames = extended(
        &mut client,
        "insert into u values ($1) returning id",
        &["5"],
    );
    assert_eq!(
        tags(&frames),
        "1tTN2DCZ",
        "{:?}",
        frames.iter().find(|f| f.tag == b'E')
    );
    assert_eq!(frames.last().unwrap().body, b"T");
    assert_eq!(tag(&client.query("insert into u values (6)")), "INSERT 0 1");
    client.run("rollback");
    assert_eq!(client.sqlstate("select count(*) from u"), "42P01");
    assert_eq!(client.sqlstate("select count(*) from v"), "42P01");
    assert_eq!(client.scalar("select count(*) from t"), "11");
    // What is before it is lost with its commit.
    client.run("begin");
    client.run("insert into t values (12, 1)");
    cluster.fault("cut_before_commit", 1, "COMMIT");
    let frames = client.query("create table w (id bigint primary key)");
    assert!(["08007", "40001"].contains(&error(&frames).sqlstate().as_str()));
    assert_eq!(frames.last().unwrap().body, b"E");
    client.run("rollback");
    assert_eq!(client.scalar("select count(*) from t"), "11");
}

#[test]
fn several_statements_of_one_query_are_parted() {
    let cluster = Cluster::start();
    let (_proxy, mut client) = start(&cluster);
    table(&mut client, 10);
    let text =
        "insert into t values (11, 1); create index i on t (n); select 'é'; select count(*) from t";
    assert_eq!(client.sqlstate(text), "0A000");
    assert_eq!(client.scalar("select count(*) from t"), "10");
    client.run("set dsqlproxy.ddl_in_transaction = split");
    let frames = client.query(text);
    assert_eq!(tags(&frames), "CNNCTDCTDCZ");
    assert_eq!(frames[8].values(), [Some(b"11".to_vec())]);
    assert_eq!(client.scalar(INDEXES), "1");

    // Errors end it where they are, and point at the whole text.
    let frames = client
        .query("select 'é'; create index k on t (id);\n insert into nowhere values (1); select 1");
    assert_eq!(tags(&frames), "TDCNNCEZ");
    assert_eq!(error(&frames).sqlstate(), "42P01");
    assert_eq!(error(&frames).field(b'P').unwrap(), "52");
    let frames = client.query("create unique index u on t (n); select 1");
    assert_eq!(error(&frames).sqlstate(), "23505");
    assert_eq!(frames.last().unwrap().body, b"I");
    assert_eq!(client.scalar("select 1"), "1");

    // With a transaction of its own, and settings.
    let frames = client.query(
        "set statement_timeout = '1min'; begin; create table a (id int primary key); \
         create table b (id int primary key); insert into b values (1); commit; show statement_timeout",
    );
    let codes: Vec<String> = frames
        .iter()
        .filter(|f| f.tag == b'E')
        .map(|f| f.render(false))
        .collect();
    assert!(codes.is_empty(), "{codes:?}");
    assert_eq!(frames.last().unwrap().body, b"I");
    assert_eq!(client.scalar("select count(*) from b"), "1");
    assert_eq!(client.scalar("select count(*) from a"), "0");
}

#[test]
fn a_table_is_made_from_a_query() {
    let cluster = Cluster::start();
    let (_proxy, mut client) = start(&cluster);
    table(&mut client, 5000);
    let frames = client.query(
        "create table c (k, v) as select id, n, n / 2.0 as half, 'x' as x from t where id <= 100",
    );
    assert_eq!(tag(&frames), "SELECT 100");
    assert_eq!(
        client.scalar("select sum(k) + max(v) from c where x = 'x' and half < 4"),
        "5056"
    );
    let types = "select string_agg(format_type(atttypid, atttypmod), ',' order by attnum) from pg_attribute where attrelid = 'c'::regclass and attnum > 0";
    assert_eq!(client.scalar(types), "bigint,integer,numeric(38,9),text");
    assert_eq!(
        tag(&client.query("create table if not exists c as select 1 as a")),
        "CREATE TABLE AS"
    );
    assert_eq!(client.sqlstate("create table c as select 1 as a"), "42P07");
    assert_eq!(client.scalar("select count(*) from c"), "100");
    assert_eq!(
        tag(&client.query("create table e as select * from t with no data")),
        "CREATE TABLE AS"
    );
    assert_eq!(
        tag(&client.query("select id into f from t limit 3")),
        "SELECT 3"
    );
    let left = "select to_regclass('g') is null";
    let frames = client.query("create table g as select id from t");
    assert_eq!(error(&frames).sqlstate(), "54000");
    assert!(!detail(error(&frames)).contains("stay"));
    assert_eq!(client.scalar(left), "t");
    assert_eq!(
        client.sqlstate("create table g as select id / (id - 50) as x from t"),
        "22012"
    );
    assert_eq!(client.scalar(left), "t");
    client.run("set dsqlproxy.large_dml = batch");
    assert_eq!(
        tag(&client.query("create table g as select id, upper('a') as a from t where n < 6")),
        "SELECT 4286"
    );
    assert_eq!(
        client.scalar("select count(*) from g where a = 'A'"),
        "4286"
    );
}

/// Two tables that refer to each other are emptied in one statement, as one of them alone cannot be.
#[test]
fn a_truncate_empties_a_circle() {
    let cluster = Cluster::start();
    let (_proxy, mut client) = start(&cluster);
    for sql in [
        "create table a (id int primary key, b int)",
        "create table b (id int primary key, a int references a)",
        "alter table a add constraint a_b foreign key (b) references b",
        "create table c (id int primary key, b int references b)",
    ] {
        set_up(&mut client, sql);
    }
    client.run("insert into a values (1, null)");
    client.run("insert into b values (1, 1)");
    client.run("update a set b = 1");
    client.run("insert into c values (1, 1)");
    client.run("set dsqlproxy.large_dml = batch");
    assert_eq!(tag(&client.query("truncate a, b, c")), "TRUNCATE TABLE");
    assert_eq!(
        client.scalar(
            "select (select count(*) from a) + (select count(*) from b) + (select count(*) from c)"
        ),
        "0"
    );
}
