//! Temporary tables, which are ordinary ones under names that only their session knows.

use std::time::{Duration, Instant};

use crate::client::{Client, PATIENCE, tags};
use crate::dsql::{Cluster, set_up};
use crate::message::{bind_text, describe, execute, parse, sync};
use crate::proxy::{Proxy, plan};

fn start(cluster: &Cluster) -> (Proxy, Client) {
    let proxy = plan().size(3).dsql(cluster).dialect("compat").start();
    let client = proxy.connect();
    (proxy, client)
}

const LEFT: &str = "select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace \
    where nspname = 'dsqlproxy_temp' and relkind = 'r'";

/// Waits until so many tables are there.
#[track_caller]
fn wait_left(client: &mut Client, count: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = client.scalar(LEFT);
        if left == count {
            return;
        }
        assert!(Instant::now() < deadline, "{left} are left");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_temporary_table_is_of_its_session() {
    let cluster = Cluster::start();
    let (proxy, mut a) = start(&cluster);
    let mut b = proxy.connect();
    set_up(&mut a, "create table x (a text)");
    b.run("insert into x values ('all')");
    let frames = a.run("create temp table x (id serial primary key, a text default 'mine')");
    assert_eq!(frames.last().map(|frame| frame.tag), Some(b'Z'));
    a.run("insert into x default values");
    assert_eq!(a.scalar("select x.a from x where x.id = 1"), "mine");
    assert_eq!(a.scalar("select a from public.x"), "all");
    assert_eq!(a.scalar("select a from pg_temp.x"), "mine");
    assert_eq!(b.scalar("select a from x"), "all");
    b.run("create temporary table x (b int)");
    assert_eq!(b.scalar("select count(b) from x"), "0");
    let columns = "select string_agg(table_schema || '.' || column_name || ' ' || data_type, ', ' \
        order by table_schema, ordinal_position) from information_schema.columns where table_name = 'x'";
    assert_eq!(
        a.scalar(columns),
        "pg_temp_1.id bigint, pg_temp_1.a text, public.a text"
    );
    assert_eq!(
        b.scalar("select string_agg(table_type, ',' order by 1) from information_schema.tables where table_name = 'x'"),
        "BASE TABLE,LOCAL TEMPORARY"
    );
    assert_eq!(a.sqlstate("create temp table x (a int)"), "42P07");
    a.run("create temp table if not exists x (a int)");
    a.run("create index on x (a)");
    let refused = a.query("insert into x values (1)");
    let refused = refused.iter().find(|frame| frame.tag == b'E').unwrap();
    assert_eq!(
        refused.field(b'M').unwrap(),
        "duplicate key value violates unique constraint \"x_pkey\""
    );
    a.run("update x set a = 'other' where id = 1; select 1");
    assert_eq!(
        a.scalar("with y as (select a from x) select y.a from y"),
        "other"
    );
    a.run("delete from public.x");
    a.run("drop table x");
    assert_eq!(a.scalar("select count(*) from x"), "0", "the table of all");
    a.run("create temp table x (c int)");
    assert_eq!(a.scalar("select count(c) from x"), "0");
    a.run("discard temp");
    assert_eq!(a.scalar("select count(a) from x"), "0");
    b.terminate();
    wait_left(&mut a, "0");
}

#[test]
fn temporary_tables_live_and_die_with_transactions() {
    let cluster = Cluster::start();
    let (_proxy, mut a) = start(&cluster);
    // First in its transaction, with rows behind it.
    a.run("begin");
    a.run("create temp table x (a int) on commit drop");
    a.run("insert into x values (1), (2)");
    assert_eq!(a.scalar("select sum(a) from x"), "3");
    a.run("commit");
    assert_eq!(a.sqlstate("select 1 from x"), "42P01");
    a.run("begin");
    a.run("create temp table x (a int)");
    a.run("insert into x values (1)");
    a.run("rollback");
    assert_eq!(a.sqlstate("select 1 from x"), "42P01");
    a.run("begin");
    a.run("create temp table x (a int)");
    assert_eq!(a.sqlstate("select 1/0 from x"), "22012");
    a.run("commit");
    assert_eq!(a.sqlstate("select 1 from x"), "42P01");
    a.run("begin");
    a.run("create temp table x (a int)");
    a.run("commit");
    a.run("begin");
    a.run("insert into x values (1)");
    a.run("rollback");
    assert_eq!(a.scalar("select count(*) from x"), "0");
    // Rows that go with their transaction.
    a.run("create temp table y (a int) on commit delete rows");
    a.run("begin");
    a.run("insert into y values (1), (2)");
    assert_eq!(a.scalar("select count(*) from y"), "2");
    a.run("commit");
    assert_eq!(a.scalar("select count(*) from y"), "0");
    a.run("insert into y values (1)");
    assert_eq!(a.scalar("select count(*) from y"), "0");
    // Views, also over other temporary ones.
    a.run("insert into x values (7)");
    let frames = a.run("create temp view w as select a as b from x");
    assert_eq!(tags(&frames), "CZ");
    assert_eq!(a.scalar("select w.b from w"), "7");
    assert_eq!(a.sqlstate("create temp view w as select 1"), "42P07");
    a.run("create or replace temp view w as select a * 2 as b from x");
    assert_eq!(a.scalar("select b from w"), "14");
    a.run("drop view w");
    a.run("create temp table z (c int); drop table z; select 1");
    a.run("create temp table z (c int); drop table z; select 1");
    // A DROP that has to wait, since the schema is looked at behind a change, is not done by that.
    a.run("set dsqlproxy.unstorable_columns = text");
    a.run("create temp table z (c int); drop table z; select 1");
    a.run("create temp table z (c int)");
    a.run("drop table z");
    a.run("reset dsqlproxy.unstorable_columns");
    assert_eq!(a.sqlstate("select 1 from w"), "42P01");
    a.run("create temp view w as select 1 as one");
    a.run("discard all");
    assert_eq!(a.sqlstate("select 1 from w"), "42P01");
    assert_eq!(a.sqlstate("select 1 from x"), "42P01");
    // From queries.
    set_up(&mut a, "create table t (id int primary key, v varchar(5))");
    a.run("insert into t values (1, 'a'), (2, 'b')");
    let tag = |frames: Vec<crate::message::Frame>| {
        let complete = frames.into_iter().find(|frame| frame.tag == b'C');
        complete.expect("a tag").strings().remove(0)
    };
    a.run("begin");
    assert_eq!(
        tag(a.run("create temp table x (n) as select * from t")),
        "SELECT 2"
    );
    assert_eq!(
        tag(a.run("select n * 10 as m, v into temp y from x where n > 1")),
        "SELECT 1"
    );
    assert_eq!(a.scalar("select m || v from y"), "20b");
    a.run("insert into t values (3, 'c')");
    assert_eq!(
        a.sqlstate("create temp table z as select * from t"),
        "0A000"
    );
    a.run("rollback");
    assert_eq!(a.sqlstate("select 1 from y"), "42P01");
    assert_eq!(
        tag(a.run("create temp table z as select * from t with no data")),
        "SELECT 0"
    );
    assert_eq!(a.scalar("select count(v) from z"), "0");
    a.run("discard temp");
    wait_left(&mut a, "0");
}

/// A DROP that waits for a connection, or stands behind what fails, has dropped nothing yet.
#[test]
fn a_temporary_table_is_known_until_it_is_dropped() {
    let cluster = Cluster::start();
    let plan = plan().size(1).dsql(&cluster).dialect("compat");
    let proxy = plan.entry("ddl_in_transaction", "split").start();
    let (mut a, mut b) = (proxy.connect(), proxy.connect());
    a.run("create temp table x (a int)");
    b.run("begin");
    b.run("select 1");
    a.send(&crate::message::query(
        "insert into x values (1); drop table x",
    ));
    proxy.wait_waiters(1);
    b.run("commit");
    assert_eq!(tags(&a.until_ready()).replace('N', ""), "CCZ");
    assert_eq!(a.sqlstate("select 1 from x"), "42P01");
    a.run("create temp table x (a int)");
    assert_eq!(
        a.sqlstate("insert into x values (1); select 1/0; drop table x"),
        "22012"
    );
    assert_eq!(a.scalar("select count(*) from x"), "0");
    a.run("drop table x");
    // A transaction that failed before has nothing to do with it.
    assert_eq!(a.sqlstate("begin; select 1/0"), "22012");
    a.run("rollback");
    a.run("create temp table x (a int)");
    assert_eq!(a.scalar("select count(*) from x"), "0");
}

#[test]
fn temporary_tables_are_used_in_the_extended_protocol() {
    let cluster = Cluster::start();
    let (_proxy, mut a) = start(&cluster);
    let run = |client: &mut Client, sql: &str, values: &[&str]| {
        client.send(
            &[
                parse("", sql, &[]),
                bind_text("", "", values),
                describe(b'P', ""),
                execute("", 0),
                sync(),
            ]
            .concat(),
        );
        tags(&client.until_ready())
    };
    assert_eq!(run(&mut a, "create temp table x (a int)", &[]), "12nCZ");
    assert_eq!(run(&mut a, "insert into x values ($1)", &["7"]), "12nCZ");
    assert_eq!(
        run(&mut a, "select a from x where a = $1", &["7"]),
        "12TDCZ"
    );
    a.send(&crate::message::query("copy x (a) from stdin"));
    a.expect(b'G');
    a.send(
        &[
            crate::message::copy_data(b"8\n9\n"),
            crate::message::copy_done(),
        ]
        .concat(),
    );
    a.until_ready();
    assert_eq!(a.scalar("select sum(a) from x"), "24");
    assert_eq!(run(&mut a, "drop table x", &[]), "12nCZ");
    assert_eq!(a.sqlstate("select 1 from x"), "42P01");
}

/// A worker that is gone does not renew its lease.
#[test]
fn tables_of_lost_proxies_are_dropped() {
    let cluster = Cluster::start();
    let (lost, mut a) = start(&cluster);
    a.run("create temp table x (a int)");
    lost.signal("KILL");
    let other = plan().size(3).dsql(&cluster).dialect("compat").start();
    let mut b = other.connect();
    assert_eq!(b.scalar(LEFT), "1");
    // Its lease ends.
    b.run("update dsqlproxy.advisory_lock set holders = replace(holders, ' x ', ' x -')");
    b.run("create temp table y (a int)");
    wait_left(&mut b, "1");
    assert_eq!(b.scalar("select count(*) from y"), "0");
}

#[test]
fn constraints_of_temporary_tables_are_found() {
    let cluster = Cluster::start();
    let (_proxy, mut a) = start(&cluster);
    a.run(
        "create temp table p (id int primary key check (id > 0), up int references p (id) deferrable)",
    );
    a.run("create temp table k (id int constraint k_p references p (id) deferrable)");
    a.run("insert into p values (1, 1)");
    a.run("begin");
    a.run("set constraints k_p deferred");
    a.run("insert into k values (7)");
    assert_eq!(a.sqlstate("commit"), "23503");
    assert_eq!(a.sqlstate("insert into k values (7)"), "23503");
    let refused = a.query("insert into p values (0, null)");
    let refused = refused.iter().find(|frame| frame.tag == b'E').unwrap();
    assert_eq!(refused.sqlstate(), "23514");
    assert_eq!(refused.field(b's').unwrap(), "pg_temp");
    assert_eq!(refused.field(b't').unwrap(), "p");
}
