//! What a transaction has made and committed in the middle, and what becomes of it.

use std::time::Duration;

use crate::client::{Client, tags};
use crate::dsql::{Cluster, set_up};
use crate::message::{Frame, bind_text, execute, parse, sync};
use crate::proxy::{Proxy, plan};

fn start(cluster: &Cluster) -> Proxy {
    plan()
        .size(4)
        .dsql(cluster)
        .dialect("compat")
        .entry("ddl_in_transaction", "split")
        .start()
}

/// Tables, views, indexes, sequences and domains of the client's.
const THERE: &str = "select coalesce(string_agg(relname, ' ' order by relname), '-') from \
    (select relname from pg_class c join pg_namespace n on n.oid = c.relnamespace \
    where nspname = 'public' and relkind in ('r', 'v', 'S', 'i') and relname not like '%pkey%' \
    union all select typname from pg_type t join pg_namespace n on n.oid = t.typnamespace \
    where nspname = 'public' and typtype = 'd') as a";

fn warnings(frames: &[Frame]) -> Vec<String> {
    let notices = frames.iter().filter(|frame| frame.tag == b'N');
    notices.filter_map(|frame| frame.field(b'M')).collect()
}

/// What the client is told behind its ROLLBACK comes with its next answer.
#[track_caller]
fn told(client: &mut Client) -> String {
    warnings(&client.run("select 1")).join("; ")
}

#[test]
fn what_a_rolled_back_transaction_has_made_goes_the_newest_first() {
    let cluster = Cluster::start();
    let proxy = start(&cluster);
    let mut client = proxy.connect();
    set_up(&mut client, "create table before (a int primary key)");
    for end in ["rollback", "commit and no chain", "commit"] {
        client.run("begin");
        client.run("create table a (id int primary key)");
        client.run("create view b as select id from a");
        client.run("create domain c as text");
        client.run("create index i on before (a)");
        client.run("create table d (id bigserial primary key, x int unique)");
        client.run("insert into d (x) values (1)");
        if end != "rollback" {
            assert_eq!(client.sqlstate("select 1/0"), "22012");
        }
        client.run(end);
        let told = told(&mut client);
        for name in ["d", "c", "b", "a"] {
            assert!(told.contains(&format!("\"public\".\"{name}\"")), "{told}");
        }
        assert_eq!(told.matches("was dropped").count(), 5, "{told}");
        assert!(told.find("\"d\"") < told.find("\"a\""), "{told}");
        assert_eq!(client.scalar(THERE), "before");
    }
    // In the extended protocol.
    client.run("begin");
    client.run("create table a (id int primary key)");
    client.run("insert into a values (1)");
    let frames = client.exchange(&[
        parse("", "rollback", &[]),
        bind_text("", "", &[]),
        execute("", 0),
        sync(),
    ]);
    assert_eq!(frames, "12CZ");
    assert_eq!(client.scalar(THERE), "before");
    // And with it a table that was made last, in the transaction that is open.
    client.run("begin");
    client.run("create table a (id int primary key)");
    client.run("create table b (id int primary key)");
    client.run("rollback");
    assert_eq!(client.scalar(THERE), "before");
}

#[test]
fn what_is_committed_stays() {
    let cluster = Cluster::start();
    let proxy = start(&cluster);
    let mut client = proxy.connect();
    client.run("begin");
    client.run("create table a (id int primary key)");
    client.run("insert into a values (1)");
    client.run("commit");
    client.run("begin");
    client.run("select 1");
    client.run("rollback");
    client.run("begin");
    client.run("create table b (id int primary key)");
    client.run("create table c (id int primary key)");
    client.run("commit");
    client.terminate();
    let mut client = proxy.connect();
    assert_eq!(client.scalar(THERE), "a b c");
    assert_eq!(client.scalar("select count(*) from a"), "1");
}

#[test]
fn what_others_would_lose_stays() {
    let cluster = Cluster::start();
    let proxy = start(&cluster);
    let (mut client, mut other) = (proxy.connect(), proxy.connect());
    // Rows of others.
    client.run("begin");
    client.run("create table a (id int primary key)");
    client.run("insert into a values (1)");
    other.run("insert into a values (2)");
    client.run("rollback");
    assert!(told(&mut client).contains("stays"), "it has a row");
    assert_eq!(other.scalar("select id from a"), "2");
    other.run("insert into a values (3)");
    // What others have built on it.
    client.run("begin");
    client.run("create table b (id int primary key)");
    client.run("insert into b values (1)");
    set_up(&mut other, "create view v as select id from b");
    client.run("rollback");
    assert!(told(&mut client).contains("stays"), "a view reads it");
    other.run("insert into b values (1)");
    // Another one by the same name.
    client.run("begin");
    client.run("create table c (id int primary key)");
    client.run("insert into c values (1)");
    other.run("drop table c");
    set_up(&mut other, "create table c (id int primary key)");
    client.run("rollback");
    assert_eq!(told(&mut client), "");
    other.run("insert into c values (1)");
    // Those that were there before.
    for sql in [
        "create table if not exists a (id int)",
        "create or replace view v as select id from b",
    ] {
        client.run("begin");
        client.run(sql);
        client.run("insert into c values (9)");
        client.run("rollback");
        assert_eq!(client.scalar(THERE), "a b c v", "{sql}");
    }
    // A statement that failed has made nothing.
    client.run("begin");
    client.run("savepoint s");
    assert_eq!(client.sqlstate("create table a (id int)"), "42P07");
    client.run("rollback to s");
    client.run("create table d (id int primary key)");
    client.run("insert into d values (1)");
    client.run("rollback");
    assert_eq!(client.scalar(THERE), "a b c v");
}

/// A client that leaves rolls back too; whoever comes next finds nothing of it.
#[test]
fn a_client_that_leaves_leaves_nothing() {
    let cluster = Cluster::start();
    let proxy = start(&cluster);
    for _ in 0..3 {
        let mut client = proxy.connect();
        client.run("begin");
        client.run("create table a (id int primary key)");
        client.run("insert into a values (1)");
        client.terminate();
    }
    let mut client = proxy.connect();
    assert_eq!(client.scalar(THERE), "-");
}

#[test]
fn names_that_are_chosen_get_a_number_when_they_are_taken() {
    let cluster = Cluster::start();
    let proxy = start(&cluster);
    let mut client = proxy.connect();
    set_up(&mut client, "create table t (a int primary key, b int)");
    for _ in 0..3 {
        client.run("alter table t add unique (b)");
        client.run("alter table t add check (b > 0)");
        client.run("alter table t alter b set not null");
    }
    let names = "select string_agg(conname, ' ' order by conname) from pg_constraint \
        where conrelid = 't'::regclass and contype in ('u', 'c')";
    assert_eq!(
        client.scalar(names),
        "t_b_check t_b_check1 t_b_check2 t_b_key t_b_key1 t_b_key2"
    );
    let frames = client.run("alter table t alter b drop not null");
    assert_eq!(tags(&frames), "CZ");
    let frames = client.run("alter table t alter b drop not null");
    assert_eq!(tags(&frames), "CZ", "nobody has asked for the constraint");
    for sql in [
        "alter table if exists missing add column a int default 5 not null",
        "alter table if exists missing alter a set not null",
        "alter table if exists missing add unique (a), add check (a > 0)",
    ] {
        let frames = client.run(sql);
        let told = warnings(&frames);
        assert_eq!(
            told.last().map(String::as_str),
            Some("relation \"missing\" does not exist, skipping"),
            "{sql}"
        );
        let complete = frames.iter().find(|frame| frame.tag == b'C');
        assert_eq!(complete.unwrap().strings(), ["ALTER TABLE"]);
    }
}

#[test]
fn sessions_of_a_user_end_each_other() {
    let cluster = Cluster::start();
    let proxy = start(&cluster);
    let (mut a, mut b) = (proxy.connect(), proxy.connect());
    let pid = b.scalar("select pg_backend_pid()");
    assert_eq!(
        a.scalar(&format!("select pg_terminate_backend({pid})")),
        "t"
    );
    let frames = b.until_closed().unwrap();
    assert_eq!(frames.last().unwrap().sqlstate(), "57P01");
    let frames = a.query(&format!("select pg_terminate_backend({pid})"));
    assert_eq!(tags(&frames), "NTDCZ", "a warning: there is none");
    // A statement of another.
    let mut b = proxy.connect();
    let pid = b.scalar("select pg_backend_pid()");
    b.send(&crate::message::query("select pg_sleep(20)"));
    let short = Some(Duration::from_millis(200));
    b.socket().set_read_timeout(short).unwrap();
    // Again, should it come before the statement.
    let told = (0..50).find_map(|_| {
        a.exchange(&[
            parse("", "select pg_cancel_backend($1) as done", &[23]),
            bind_text("", "", &[&pid]),
            execute("", 0),
            sync(),
        ]);
        b.next_frame().ok().flatten()
    });
    assert_eq!(told.expect("an answer").sqlstate(), "57014");
    // Itself.
    a.send(&crate::message::query(
        "select pg_terminate_backend(pg_backend_pid())",
    ));
    let frames = a.until_closed().unwrap();
    assert_eq!(frames.last().unwrap().sqlstate(), "57P01");
}

#[test]
fn of_sessions_that_wait_for_each_other_one_is_told() {
    let cluster = Cluster::start();
    let proxy = start(&cluster);
    let (mut a, mut b) = (proxy.connect(), proxy.connect());
    a.run("select pg_advisory_lock(1)");
    b.run("select pg_advisory_lock(2)");
    a.send(&crate::message::query("select pg_advisory_lock(2)"));
    // Whoever closes the circle.
    b.send(&crate::message::query("select pg_advisory_lock(1)"));
    let first = |client: &mut Client| {
        let frame = client.frame().unwrap();
        (frame.tag == b'E').then(|| frame.sqlstate())
    };
    // One of them fails; when it lets go, the other has its lock.
    let waiting = std::thread::spawn(move || {
        let told = first(&mut b);
        b.until_ready();
        if told.is_some() {
            b.terminate();
            return (told, None);
        }
        (told, Some(b))
    });
    let own = first(&mut a);
    a.until_ready();
    if own.is_some() {
        a.terminate();
    }
    let (others, _b) = waiting.join().unwrap();
    assert_eq!(
        [own, others].into_iter().flatten().collect::<Vec<_>>(),
        ["40P01"]
    );
}
