//! Columns that are kept as text, next to PostgreSQL with columns of the types themselves.

use crate::client::Client;
use crate::dsql::{Cluster, set_up};
use crate::message::{Frame, bind_text, execute, parse, query, sync};
use crate::postgres;
use crate::proxy::{Proxy, plan};

const SET_UP: [&str; 11] = [
    "CREATE SCHEMA s2",
    "CREATE TABLE t (id int PRIMARY KEY, ip inet, tags varchar(9)[], n int[], i interval[])",
    "CREATE TABLE u (id int PRIMARY KEY, ip text, x int, tag text)",
    "CREATE TABLE s2.t (id int PRIMARY KEY, ip text, x int)",
    "CREATE TABLE s2.w (id int PRIMARY KEY, n int[])",
    "INSERT INTO t VALUES (1, '10.0.0.1', '{a,b}', '{1,2}', NULL), (2, '10.0.0.2/32', '{b,a}', '{}', NULL)",
    "INSERT INTO t (id) VALUES (3)",
    "INSERT INTO t VALUES (10, '9.0.0.1', '{c}', '{10,9}', NULL)",
    "INSERT INTO u VALUES (1, '10.0.0.1', 1, 'a'), (2, '10.0.0.2/32', 2, 'z'), (3, 'x', 3, 'c')",
    "INSERT INTO s2.t VALUES (1, 'hello', 3)",
    "INSERT INTO s2.w VALUES (1, '{1,2}')",
];

struct Both {
    proxy: Proxy,
    client: Client,
    plain: Client,
    _cluster: Cluster,
}

fn start(database: &str) -> Both {
    let cluster = Cluster::start();
    let proxy = plan().size(3).dsql(&cluster).dialect("compat");
    let proxy = proxy.entry("unstorable_columns", "text").start();
    let mut admin = postgres::cluster().connect_superuser("postgres");
    admin.run(&format!("drop database if exists {database}"));
    admin.run(&format!("create database {database}"));
    let mut both = Both {
        client: proxy.connect(),
        plain: postgres::cluster().connect_superuser(database),
        proxy,
        _cluster: cluster,
    };
    for text in SET_UP {
        set_up(&mut both.client, text);
        both.plain.run(text);
    }
    both
}

/// Rows, tags and SQLSTATEs.
fn told(frames: &[Frame]) -> Vec<String> {
    let told = frames.iter().filter_map(|frame| match frame.tag {
        b'D' => {
            let values = frame.values().into_iter();
            let values = values.map(|value| match value {
                Some(value) => String::from_utf8_lossy(&value).into_owned(),
                None => "NULL".to_owned(),
            });
            Some(values.collect::<Vec<_>>().join("|"))
        }
        b'C' => frame.strings().into_iter().next(),
        b'E' => Some(frame.sqlstate()),
        _ => None,
    });
    told.collect()
}

impl Both {
    #[track_caller]
    fn same(&mut self, messages: &[Vec<u8>], what: &str) {
        for client in [&mut self.client, &mut self.plain] {
            client.send(&messages.concat());
        }
        let readies = |frame: &&Vec<u8>| matches!(frame[0], b'Q' | b'S');
        for _ in messages.iter().filter(readies) {
            let here = told(&self.client.until_ready());
            assert_eq!(here, told(&self.plain.until_ready()), "{what}");
        }
    }

    #[track_caller]
    fn say(&mut self, text: &str) {
        self.same(&[query(text)], text);
    }
}

fn extended(text: &str) -> Vec<u8> {
    [parse("", text, &[]), bind_text("", "", &[]), execute("", 0)].concat()
}

#[test]
fn names_are_looked_for_as_the_server_does() {
    let mut both = start("columns_path");
    let own = "SELECT id FROM t WHERE ip = '10.0.0.1'";
    for text in [
        own,
        "BEGIN",
        "SET LOCAL search_path = s2",
        "SELECT * FROM t",
        "SELECT n[1] FROM w",
        "SAVEPOINT a",
        "SET LOCAL search_path TO DEFAULT",
        own,
        "ROLLBACK TO a",
        "SELECT * FROM t",
        "COMMIT",
        own,
        "BEGIN",
        "SELECT set_config('search_path', 's2', true)",
        "SELECT n[1] FROM w",
        "SET search_path = public",
        own,
        "ROLLBACK",
        own,
        "SET search_path = s2; SELECT * FROM t; SET search_path = public; SELECT n FROM s2.w",
        own,
        "SET search_path = s2, public",
        "SELECT set_config('search_path', 'public', false)",
        own,
        "SELECT set_config('search_path', '\"s2\", Public', false)",
        "SELECT * FROM t",
        "SELECT n[2] FROM w",
        "RESET search_path",
        own,
    ] {
        both.say(text);
    }
    // All at once, so that nothing is answered when the next is read.
    let batches = [
        [
            extended("SET search_path = s2"),
            extended("SELECT * FROM t"),
            sync(),
        ]
        .concat(),
        [extended("RESET search_path"), extended(own), sync()].concat(),
        [
            extended("BEGIN"),
            extended("SET LOCAL search_path = s2"),
            sync(),
        ]
        .concat(),
        [
            extended("SELECT n[1] FROM w"),
            extended("COMMIT"),
            extended(own),
            sync(),
        ]
        .concat(),
        [
            extended("SET search_path = s2"),
            extended("SELECT 1/0"),
            sync(),
        ]
        .concat(),
        [extended(own), sync()].concat(),
    ];
    let mut at_once = Vec::new();
    for batch in batches {
        at_once.extend(batch);
    }
    for client in [&mut both.client, &mut both.plain] {
        client.send(&at_once);
    }
    for number in 0..6 {
        let here = told(&both.client.until_ready());
        assert_eq!(here, told(&both.plain.until_ready()), "{number}");
    }
    // What nobody can follow is refused where it decides.
    let unknown = [
        parse("", "SELECT set_config('search_path', $1, false)", &[]),
        bind_text("", "", &["s2"]),
        execute("", 0),
        sync(),
    ];
    both.client.send(&unknown.concat());
    both.client.until_ready();
    assert_eq!(both.client.sqlstate("SELECT * FROM t"), "0A000");
    assert_eq!(both.client.scalar("SELECT n[1] FROM w"), "1");
    assert_eq!(
        both.client
            .scalar("SELECT ip << '10.0.0.0/8' FROM public.t WHERE id = 1"),
        "t"
    );
}

#[test]
fn columns_of_a_target_in_its_sub_selects() {
    let mut both = start("columns_target");
    for text in [
        "UPDATE t SET n = n || 5 WHERE EXISTS (SELECT 1 FROM u WHERE u.id = t.id AND t.ip = '10.0.0.1') RETURNING id, n",
        "UPDATE t SET n = n || 6 WHERE EXISTS (SELECT 1 FROM u WHERE u.id = t.id AND tags = '{b, a}') RETURNING id, n",
        "UPDATE t SET n = n || 7 WHERE EXISTS (SELECT 1 FROM unnest(tags) x WHERE x > 'b') RETURNING id, n",
        "UPDATE t SET n = n || 8 WHERE id IN (SELECT u.id FROM u WHERE ip = '10.0.0.2/32') RETURNING id, n",
        "UPDATE t SET n = n || 9 WHERE id IN (SELECT id FROM t WHERE ip = '10.0.0.2') RETURNING id, n",
        "UPDATE t a SET n = n || 1 WHERE 1 = (SELECT count(*) FROM t b WHERE b.ip < a.ip AND b.n IS NOT NULL) RETURNING id, n",
        "UPDATE t SET (id, ip) = (2, '10.0.0.9') WHERE id = 2 RETURNING ip",
        "UPDATE t SET (tags, ip) = (SELECT ARRAY['q'], '10.0.0.8'::inet) WHERE id = 2 RETURNING tags, ip",
        "UPDATE t SET ip = '1.1.1.2' FROM unnest(ARRAY[3]) WHERE t.id = unnest RETURNING *",
        "DELETE FROM t WHERE id IN (SELECT u.id FROM u WHERE n = '{1, 2, 5}') RETURNING id",
        "INSERT INTO t (id, ip) VALUES (2, '5.5.5.6') ON CONFLICT (id) DO UPDATE SET (ip, tags) = ROW(EXCLUDED.ip, '{q}') RETURNING id, ip, tags",
        "SELECT id, ip, tags, n FROM t ORDER BY id",
    ] {
        both.say(text);
    }
    for refused in [
        "WITH w AS (SELECT 1 AS id) DELETE FROM t WHERE id IN (SELECT id FROM w WHERE ip = '10.0.0.1')",
        "UPDATE t SET ip = NULL FROM u JOIN u v USING (id) WHERE t.id = v.id RETURNING *",
    ] {
        assert_eq!(both.client.sqlstate(refused), "0A000", "{refused}");
    }
}

/// What nobody reads would see text.
#[test]
fn a_query_that_is_too_long_to_be_read_is_refused() {
    let mut both = start("columns_long");
    let many = "'10.0.0.1', ".repeat(100_000);
    let text = format!("SELECT id FROM t WHERE ip IN ({many} '10.0.0.1')");
    assert_eq!(both.client.sqlstate(&text), "54000");
    both.say("SELECT id FROM t WHERE ip = '10.0.0.1'");
    let mut without = both.proxy.connect();
    without.run("SET dsqlproxy.unstorable_columns = refuse");
    assert!(told(&without.query(&text)).contains(&"SELECT 0".to_owned()));
}

/// `-1 2:03:04` is minus a day and two hours, or minus both.
#[test]
fn intervals_are_kept_as_every_session_reads_them() {
    let mut both = start("columns_interval");
    both.say("INSERT INTO t (id, i) VALUES (20, '{\"-1 day -02:03:04\",\"1 day -02:00\"}')");
    both.client.run("SET intervalstyle = sql_standard");
    both.plain.run("SET intervalstyle = sql_standard");
    both.say("INSERT INTO t (id, i) VALUES (21, '{\"1 day 02:03:04\"}')");
    let ambiguous = "INSERT INTO t (id, i) VALUES (22, '{\"-1 days -02:03:04\"}')";
    assert_eq!(both.client.sqlstate(ambiguous), "23514");
    both.client.run("RESET intervalstyle");
    both.plain.run("RESET intervalstyle");
    both.say("SELECT id, i FROM t WHERE i IS NOT NULL ORDER BY id");
}

#[test]
fn columns_of_composite_types() {
    let mut both = start("columns_composite");
    set_up(&mut both.client, "SET dsqlproxy.ddl_in_transaction = split");
    for text in [
        "CREATE TYPE p AS (a int, b text)",
        "CREATE TYPE q AS (x p, y p[], z inet)",
        "CREATE TABLE c (id int PRIMARY KEY, v p, w p[] DEFAULT '{}', n q)",
        "INSERT INTO c VALUES (1, (2, 'b'), ARRAY[ROW(3, 'c')::p, NULL]), (2, '(4,\"d ,\")', NULL), (3, NULL, '{\"(5,)\"}')",
        "INSERT INTO c (id, v, n) SELECT 4, ROW(6, NULL)::p, ROW(ROW(1, '{\"'), '{}', '::1')::q",
        "INSERT INTO c (id, v) SELECT id + 10, v FROM c WHERE id < 3",
        "SELECT * FROM c ORDER BY id",
        "SELECT id, (v).a, (v).b, w[1], (w[1]).b, (n).y, ((n).x).b FROM c ORDER BY id",
        "SELECT count(*) FROM c WHERE v = ROW(2, 'b')::p OR v IS NULL",
        "UPDATE c SET v = ROW((v).a + 1, 'new'), w = w || v WHERE (v).a = 2 RETURNING *",
        "UPDATE c SET (v, w) = ((1, 'x'), DEFAULT) WHERE id = 2 RETURNING v, w",
        "DELETE FROM c WHERE (v).b = 'x' RETURNING (v).a",
        "INSERT INTO c (id, v) VALUES (1, (7, 'z')) ON CONFLICT (id) DO UPDATE SET v = EXCLUDED.v RETURNING v",
        "SELECT v, count(*) FROM c GROUP BY v ORDER BY v",
        "WITH k AS (SELECT v FROM c) SELECT (v).a FROM k ORDER BY 1",
        "ALTER TYPE p ADD ATTRIBUTE c int[]",
        "SELECT v, w, n FROM c ORDER BY id",
        "BEGIN",
        "ALTER TYPE p ADD ATTRIBUTE d text",
        "SELECT v FROM c ORDER BY id",
        "ROLLBACK",
        "SELECT v FROM c ORDER BY id",
        "DROP TYPE p",
        "DROP TYPE q",
        "SELECT * FROM p",
        "INSERT INTO p VALUES (1)",
        "DROP TABLE p",
        "ALTER TABLE c DROP COLUMN n, DROP COLUMN v",
        "DROP TYPE q",
        "DROP TYPE p CASCADE",
        "SELECT * FROM c ORDER BY id",
        "CREATE TYPE p AS (a int)",
        "BEGIN",
        "SAVEPOINT s",
        "DROP TYPE nothing",
        "ROLLBACK TO s",
        "DROP TYPE p",
        "COMMIT",
        "SELECT '(1)'::p",
    ] {
        both.say(text);
    }
    both.same(
        &[query("CREATE TYPE p AS (a int); CREATE TABLE d (v p[]); INSERT INTO d VALUES (ARRAY[ROW(1)::p])")],
        "three statements",
    );
    for text in [
        "INSERT INTO d VALUES ('{(2)}') RETURNING v",
        "SELECT v[1] FROM d ORDER BY 1",
    ] {
        both.same(&[extended(text), sync()], text);
    }
}
