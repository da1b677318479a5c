//! Savepoints from the journal, for servers without them. The upstream is a PostgreSQL that never
//! sees one; what a client sees must be what PostgreSQL itself would show.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::client::Client;
use crate::message::{Frame, bind_text, execute, parse, query, sync};
use crate::postgres;
use crate::proxy::{Proxy, plan};

fn start() -> (Proxy, Client, String) {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("savepoints_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let mut direct = postgres::cluster().connect("app");
    direct.run(&format!(
        "create table {name} (id int primary key, value int);
         insert into {name} select n, 0 from generate_series(1, 10) n;
         create function put_in_{name}() returns int language sql
         as 'insert into {name} values (99, 99) returning id'"
    ));
    let proxy = plan().savepoints("emulate").start();
    (proxy, direct, name)
}

fn tags(frames: &[Frame]) -> String {
    frames.iter().map(|frame| char::from(frame.tag)).collect()
}

fn sum(client: &mut Client, name: &str) -> String {
    client.scalar(&format!("select sum(value) from {name}"))
}

/// Scripts as one session plays them, on PostgreSQL itself and through the proxy: tags, rows,
/// SQLSTATEs, messages and transaction states must be the same. `t` is the table.
const SCRIPTS: &[&[&str]] = &[
    // As psqlODBC sends them.
    &[
        "begin; select 1",
        "savepoint s; update t set value = 1 where id = 1",
        "release s; savepoint s; update t set value = 2 where id = 2",
        "release s; savepoint s; select 1/0; select 2",
        "rollback to s; release s; select sum(value) from t",
        "savepoint s;update t set value = 3 where id = 3; rollback to s",
        "commit; select sum(value) from t",
    ],
    &[
        "begin; savepoint a; update t set value = 5 where id = 5; rollback to a; commit; select sum(value) from t",
        "begin; savepoint a; select nothing",
        "rollback to a; select sum(value) from t; commit",
        "begin; rollback to savepoint b; select 1",
        "rollback",
    ],
    &[
        "begin",
        "savepoint a",
        "select put_in( t )",
        "rollback to a",
        "commit",
    ],
    &[
        "begin",
        "savepoint a",
        "select put_in( t )",
        "update t set value = 2 where id = 2",
        "rollback to a",
        "commit",
    ],
    &[
        "begin",
        "set local work_mem = '1MB'",
        "savepoint a",
        "set local work_mem to default",
        "rollback to a",
        "show work_mem",
        "savepoint b",
        "set local role pg_read_all_data",
        "rollback to b",
        "select current_user = session_user",
        "commit",
    ],
    &[
        "begin",
        "savepoint a",
        "update t set value = 1 where id = 1",
        "rollback to a",
        "commit",
    ],
    &[
        "begin",
        "update t set value = 1 where id = 1",
        "savepoint a",
        "update t set value = 2 where id = 2",
        "rollback to a",
        "select sum(value) from t",
        "commit",
    ],
    &[
        "begin",
        "update t set value = 1 where id = 1 returning *",
        "savepoint a",
        "update t set value = 2 where id = 2",
        "release a",
        "rollback to a",
        "rollback",
    ],
    &[
        "begin",
        "savepoint a",
        "select 1/0",
        "select 1",
        "savepoint b",
        "release a",
        "rollback to savepoint a",
        "select 1",
        "commit",
    ],
    &[
        "begin",
        "insert into t values (11, 5)",
        "savepoint a",
        "insert into t values (11, 6)",
        "rollback to a",
        "insert into t values (12, 6)",
        "commit",
        "select * from t where id > 10 order by id",
    ],
    &[
        "begin",
        "savepoint a",
        "insert into t values (11, 1)",
        "savepoint a",
        "insert into t values (12, 1)",
        "rollback to a",
        "select count(*) from t",
        "release a",
        "rollback to a",
        "select count(*) from t",
        "commit",
    ],
    &[
        "begin",
        "savepoint a",
        "insert into t values (11, 1)",
        "savepoint b",
        "insert into t values (12, 1)",
        "savepoint c",
        "insert into t values (13, 1)",
        "rollback to b",
        "select count(*) from t",
        "rollback to c",
        "rollback to a",
        "select count(*) from t",
        "commit",
    ],
    &["savepoint a", "release a", "rollback to a", "select 1"],
    &["begin", "rollback to nowhere", "select 1", "rollback"],
    &[
        "begin",
        "release nowhere",
        "rollback to nowhere",
        "rollback",
    ],
    &[
        "begin",
        "SAVEPOINT \"A b\"",
        "insert into t values (11, 1)",
        "ROLLBACK WORK TO SAVEPOINT \"A b\"",
        "ROLLBACK TO a",
        "commit",
    ],
    &["begin", "savepoint", "rollback"],
    &["begin", "savepoint a b", "rollback"],
    &[
        "begin",
        "savepoint a",
        "set work_mem = '7MB'",
        "rollback to a",
        "show work_mem",
        "commit",
    ],
    &[
        "begin",
        "set work_mem = '5MB'",
        "savepoint a",
        "set work_mem = '7MB'",
        "select 1/0",
        "rollback to a",
        "show work_mem",
        "commit",
        "show work_mem",
        "reset work_mem",
    ],
    &[
        "begin",
        "set local work_mem = '5MB'",
        "savepoint a",
        "update t set value = 9",
        "rollback to a",
        "show work_mem",
        "commit",
        "show work_mem",
    ],
    &[
        "begin",
        "savepoint a",
        "select value from t where id = 1",
        "rollback to a",
        "select value from t where id = 1",
        "commit",
    ],
    &[
        "begin",
        "declare c cursor for select id from t order by id",
        "fetch 2 from c",
        "savepoint a",
        "update t set value = 3 where id = 9",
        "rollback to a",
        "fetch 2 from c",
        "commit",
    ],
    &[
        "begin",
        "savepoint a",
        "commit",
        "rollback to a",
        "begin",
        "rollback to a",
        "rollback",
    ],
    &[
        "begin",
        "savepoint a",
        "rollback",
        "begin",
        "update t set value = 4",
        "savepoint b",
        "select 1/0",
        "rollback to b",
        "release b",
        "commit and chain",
        "savepoint c",
        "rollback to c",
        "commit",
    ],
    &[
        "begin",
        "savepoint a",
        "selekt",
        "rollback to a",
        "prepare transaction 'x'",
        "rollback",
    ],
];

/// What a client sees of one message.
fn seen(frames: &[Frame]) -> Vec<String> {
    let line = |frame: &Frame| match frame.tag {
        b'E' => {
            let message = frame.field(b'M').unwrap_or_default();
            format!("E {} {message}", frame.sqlstate())
        }
        tag => format!("{} {:?}", char::from(tag), frame.body),
    };
    frames
        .iter()
        .filter(|frame| !matches!(frame.tag, b'S' | b'N' | b'1' | b'2' | b'n' | b't'))
        .map(line)
        .collect()
}

fn play(client: &mut Client, script: &[&str], table: &str, extended: bool) -> Vec<Vec<String>> {
    let statements = script.iter().map(|text| {
        let mut text = text
            .replace("put_in( t )", &format!("put_in_{table}()"))
            .replace(" t ", &format!(" {table} "));
        if text.ends_with(" t") {
            text = format!("{}{table}", &text[..text.len() - 1]);
        }
        if extended {
            client.send(
                &[
                    parse("", text, &[]),
                    bind_text("", "", &[]),
                    execute("", 0),
                    sync(),
                ]
                .concat(),
            );
            let mut frames = client.until_ready();
            // Only the simple protocol describes rows unasked.
            frames.retain(|frame| frame.tag != b'T');
            seen(&frames)
        } else {
            seen(&client.query(&text))
        }
    });
    statements.collect()
}

#[test]
fn scripts_are_answered_as_postgresql_answers_them() {
    let (proxy, mut direct, name) = start();
    let mut client = proxy.connect();
    for script in SCRIPTS {
        for extended in [false, true] {
            let reset = format!("delete from {name} where id > 10; update {name} set value = 0");
            direct.run(&reset);
            let expected = play(&mut direct, script, &name, extended);
            let rows = direct.scalar(&format!(
                "select string_agg(t::text, ' ' order by id) from {name} t"
            ));
            direct.run(&reset);
            let got = play(&mut client, script, &name, extended);
            assert_eq!(got, expected, "{script:?} extended: {extended}");
            assert_eq!(
                client.scalar(&format!(
                    "select string_agg(t::text, ' ' order by id) from {name} t"
                )),
                rows,
                "{script:?}"
            );
        }
    }
    drop(client);
    proxy.wait_base();
}

#[test]
fn a_prefix_that_reads_otherwise_fails_the_transaction() {
    let (proxy, mut direct, name) = start();
    let mut client = proxy.connect();
    client.run("begin");
    client.run(&format!("select value from {name} where id = 1"));
    client.run("savepoint a");
    client.run(&format!("update {name} set value = 1 where id = 2"));
    direct.run(&format!("update {name} set value = 7 where id = 1"));
    let frames = client.query("rollback to a");
    assert_eq!(tags(&frames), "EZ");
    assert_eq!(frames[0].sqlstate(), "40001");
    assert!(
        frames[0]
            .field(b'D')
            .expect("a DETAIL")
            .contains("statement 1")
    );
    assert_eq!(client.sqlstate("select 1"), "25P02");
    assert_eq!(client.sqlstate("rollback to a"), "54000");
    assert_eq!(tags(&client.run("rollback")), "CZ");
    assert_eq!(sum(&mut direct, &name), "7");
    drop(client);
    proxy.wait_base();
}

/// pgjdbc with autosave sends the savepoint and the statement in one batch, by named statements.
#[test]
fn a_portal_from_before_a_savepoint_is_known_by_what_it_does() {
    let (proxy, _direct, name) = start();
    let mut client = proxy.connect();
    let insert = format!("insert into {name} values (50, 50)");
    client.run("begin");
    let binds = [
        parse("s1", insert, &[]),
        parse("s2", "select 1", &[]),
        bind_text("p1", "s1", &[]),
        bind_text("p2", "s2", &[]),
        sync(),
    ];
    assert_eq!(client.exchange(&binds), "1122Z");
    client.run("savepoint a");
    assert_eq!(client.exchange(&[execute("p1", 0), sync()]), "CZ");
    client.run("rollback to a");
    client.run("commit");
    assert_eq!(
        client.scalar(&format!("select count(*) from {name} where id = 50")),
        "0"
    );
}

#[test]
fn a_savepoint_in_the_batch_of_its_statement() {
    let (proxy, mut direct, name) = start();
    let mut client = proxy.connect();
    client.run("begin");
    client.run(&format!("insert into {name} values (11, 1)"));
    client.exchange(&[
        parse("S_1", "SAVEPOINT PGJDBC_AUTOSAVE", &[]),
        parse("S_2", "ROLLBACK TO SAVEPOINT PGJDBC_AUTOSAVE", &[]),
        sync(),
    ]);
    let insert = |value: &str| {
        [
            bind_text("", "S_1", &[]),
            execute("", 1),
            parse("", format!("insert into {name} values ({value}, 1)"), &[]),
            bind_text("", "", &[]),
            execute("", 0),
            sync(),
        ]
    };
    assert_eq!(client.exchange(&insert("12")), "2C12CZ");
    assert_eq!(client.exchange(&insert("11")), "2C12EZ");
    assert_eq!(
        client.exchange(&[bind_text("", "S_2", &[]), execute("", 1), sync()]),
        "2CZ"
    );
    assert_eq!(client.exchange(&insert("13")), "2C12CZ");
    assert_eq!(tags(&client.run("commit")), "CZ");
    assert_eq!(sum(&mut direct, &name), "3");
    drop(client);
    proxy.wait_base();
}

/// psycopg's pipelines send BEGIN, savepoints and statements in one batch.
#[test]
fn savepoints_in_the_middle_of_a_batch() {
    let (proxy, mut direct, name) = start();
    let mut client = proxy.connect();
    let run = |text: &str| [parse("", text, &[]), bind_text("", "", &[]), execute("", 0)].concat();
    let batch = [
        run("begin"),
        run(&format!("insert into {name} values (11, 1)")),
        run("savepoint a"),
        run(&format!("insert into {name} values (12, 1)")),
        run("savepoint b"),
        run(&format!("insert into {name} values (13, 1)")),
        run("rollback to b"),
        run("release a"),
        sync(),
    ];
    assert_eq!(client.exchange(&batch), "12C12C12C12C12C12C12C12CZ");
    client.run("commit");
    assert_eq!(sum(&mut direct, &name), "2");
    let batch = [
        run("begin"),
        run(&format!("insert into {name} values (14, 1)")),
        run("savepoint a"),
        run("select 1/0"),
        run("savepoint b"),
        sync(),
    ];
    assert_eq!(client.exchange(&batch), "12C12C12C1EZ");
    assert_eq!(
        client.exchange(&[run("rollback to a"), run("commit"), sync()]),
        "12C12CZ"
    );
    assert_eq!(sum(&mut direct, &name), "3");
    // Outside a transaction block nothing of the batch stays.
    let batch = [
        run(&format!("insert into {name} values (15, 1)")),
        run("savepoint a"),
        sync(),
    ];
    let mut expected = postgres::cluster().connect("app");
    assert_eq!(client.exchange(&batch), expected.exchange(&batch));
    assert_eq!(sum(&mut direct, &name), "3");
    drop(client);
    proxy.wait_base();
}

#[test]
fn queries_sent_at_once() {
    let (proxy, mut direct, name) = start();
    let mut client = proxy.connect();
    let texts = [
        "begin".to_owned(),
        "savepoint a".to_owned(),
        format!("insert into {name} values (11, 1)"),
        "savepoint b".to_owned(),
        "select 1/0".to_owned(),
        "rollback to b".to_owned(),
        "release b".to_owned(),
        format!("insert into {name} values (12, 1)"),
        "commit".to_owned(),
    ];
    let all: Vec<Vec<u8>> = texts.iter().map(query).collect();
    client.send(&all.concat());
    for expected in ["CZ", "CZ", "CZ", "CZ", "TEZ", "CZ", "CZ", "CZ", "CZ"] {
        let got = tags(&client.until_ready());
        assert_eq!(got.replace("TE", "E"), expected.replace("TE", "E"));
    }
    assert_eq!(sum(&mut direct, &name), "2");
    drop(client);
    proxy.wait_base();
}

/// The server has forgotten all of the transaction's settings when a statement fails; the client has
/// to know what they are behind ROLLBACK TO.
#[test]
fn reported_settings_are_told_as_they_change() {
    let (proxy, _direct, name) = start();
    let mut client = proxy.connect();
    let reported = |frames: &[Frame]| -> Vec<String> {
        let all = frames.iter().filter(|frame| frame.tag == b'S');
        all.map(|frame| String::from_utf8_lossy(&frame.body).replace('\0', " "))
            .collect()
    };
    client.run("begin");
    assert_eq!(
        reported(&client.query("set datestyle = 'SQL'")),
        ["DateStyle SQL, MDY "]
    );
    client.run("savepoint a");
    client.run("set timezone = 'Asia/Tokyo'");
    let frames = client.query("select 1/0");
    assert_eq!(reported(&frames).len(), 2, "{frames:?}");
    assert_eq!(
        reported(&client.query("rollback to a")),
        ["DateStyle SQL, MDY "]
    );
    client.run(&format!("update {name} set value = 1 where id = 1"));
    assert_eq!(reported(&client.query("rollback to a")), [""; 0]);
    assert_eq!(client.scalar("show datestyle"), "SQL, MDY");
    client.run("commit");
    drop(client);
    proxy.wait_base();
}

#[test]
fn what_is_refused() {
    let (proxy, mut direct, name) = start();
    let mut client = proxy.connect();
    // Outside a block the statements of a text are one transaction.
    let frames = client.query(&format!(
        "insert into {name} values (11, 1); savepoint a; select 1"
    ));
    assert_eq!(tags(&frames), "EZ");
    assert_eq!(frames[0].sqlstate(), "0A000");
    assert!(frames[0].field(b'H').is_some());
    assert_eq!(sum(&mut direct, &name), "0");
    drop(client);
    proxy.wait_base();

    let proxy = plan().savepoints("emulate").dialect("compat").start();
    let mut client = proxy.connect();
    client.run("set dsqlproxy.savepoints = reject; begin");
    assert_eq!(client.sqlstate("savepoint a"), "0A000");
    client.run("rollback");
    client.run("reset dsqlproxy.savepoints; begin");
    client.run("savepoint a");
    client.run("rollback to a");
    client.run("commit");
    drop(client);
    proxy.wait_base();

    let proxy = plan().savepoints("reject").start();
    let mut client = proxy.connect();
    client.run("begin");
    assert_eq!(client.sqlstate("savepoint a"), "0A000");
    assert_eq!(client.sqlstate("select 1"), "25P02");
    client.run("rollback");
    let batch = [
        parse("", "savepoint a", &[]),
        bind_text("", "", &[]),
        execute("", 0),
        sync(),
    ];
    client.run("begin");
    assert!(client.exchange(&batch).ends_with("EZ"));
    client.run("rollback");
    assert_eq!(sum(&mut direct, &name), "0");
    drop(client);
    proxy.wait_base();
}

/// What is answered here does not overtake what the server has said and the client has not taken.
#[test]
fn answers_come_in_order_however_slowly_they_are_read() {
    let (proxy, _direct, name) = start();
    let mut client = proxy.connect();
    // So small a window that the end of an answer has to wait.
    let socket = socket2::SockRef::from(client.socket());
    socket
        .set_recv_buffer_size(256 * 1024)
        .expect("a small window");
    let run = |text: &str| [bind_text("", text, &[]), execute("", 0), sync()].concat();
    client.exchange(&[
        parse("big", "select repeat('x', 100000)", &[]),
        parse("set", "savepoint a", &[]),
        parse("back", "rollback to a", &[]),
        sync(),
    ]);
    client.run("begin");
    client.run(&format!("update {name} set value = 1 where id = 1"));
    let big = query("select repeat('x', 100000)");
    let round = [
        big.clone(),
        query("savepoint a"),
        big.clone(),
        query("rollback to a"),
        big.clone(),
        query("release a"),
        query("savepoint a"),
        run("big"),
        run("back"),
    ];
    client.send(&round.concat().repeat(30));
    let sent = || proxy.metrics().sum("dsqlproxy_bytes_total", &[]);
    let mut before = 0.0;
    // Until the proxy can write no more.
    while before != sent() || before == 0.0 {
        before = sent();
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    for _ in 0..30 {
        for expected in [
            "TDCZ", "CZ", "TDCZ", "CZ", "TDCZ", "CZ", "CZ", "2DCZ", "2CZ",
        ] {
            assert_eq!(tags(&client.until_ready()), expected);
        }
    }
}

/// Behind ROLLBACK TO the transaction is open again, though the batch goes on.
#[test]
fn a_savepoint_behind_a_rollback_to_in_one_batch() {
    let (proxy, mut direct, name) = start();
    let mut client = proxy.connect();
    let run = |text: &str| [parse("", text, &[]), bind_text("", "", &[]), execute("", 0)].concat();
    client.run("begin");
    client.run(&format!("insert into {name} values (11, 1)"));
    client.run("savepoint a");
    assert_eq!(client.sqlstate("select 1/0"), "22012");
    let batch = [
        run("rollback to a"),
        run("savepoint b"),
        run(&format!("insert into {name} values (12, 1)")),
        sync(),
    ];
    assert_eq!(client.exchange(&batch), "12C12C12CZ");
    assert_eq!(client.exchange(&[run("rollback to b"), sync()]), "12CZ");
    client.run("commit");
    assert_eq!(sum(&mut direct, &name), "1");
    drop(client);
    proxy.wait_base();
}

/// A portal would go back with its transaction and give rows a second time.
#[test]
fn a_portal_that_was_fetched_from_behind_the_mark() {
    let (proxy, _direct, name) = start();
    let mut client = proxy.connect();
    client.run("begin");
    let fetch = || [execute("c", 2), sync()];
    client.exchange(&[
        parse("", format!("select id from {name} order by id"), &[]),
        bind_text("c", "", &[]),
        sync(),
    ]);
    assert_eq!(client.exchange(&fetch()), "DDsZ");
    client.run("savepoint a");
    // Nothing to be undone: the portal is where the client left it.
    assert_eq!(client.exchange(&fetch()), "DDsZ");
    client.run("rollback to a");
    client.run("savepoint b");
    client.run(&format!("update {name} set value = 1 where id = 1"));
    client.run("rollback to b");
    client.send(&fetch().concat());
    assert_eq!(client.until_ready()[0].values(), [Some(b"5".to_vec())]);
    client.run(&format!("update {name} set value = 1 where id = 1"));
    assert_eq!(client.exchange(&fetch()), "DDsZ");
    let frames = client.query("rollback to b");
    assert_eq!(
        (tags(&frames).as_str(), frames[0].sqlstate()),
        ("EZ", "40001".into())
    );
    client.run("rollback");
    drop(client);
    proxy.wait_base();
}

/// What made room for a statement behind the mark is there again ahead of it.
#[test]
fn a_statement_that_was_evicted_behind_the_mark() {
    let name = start().2;
    let proxy = plan()
        .savepoints("emulate")
        .pool("prepared_statements", 2)
        .start();
    let mut client = proxy.connect();
    client.run("begin");
    let first = [
        parse("s1", format!("select value from {name} where id = 1"), &[]),
        bind_text("", "s1", &[]),
        execute("", 0),
        sync(),
    ];
    assert_eq!(client.exchange(&first), "12DCZ");
    client.run("savepoint a");
    client.run(&format!("update {name} set value = 1 where id = 2"));
    for number in 2..5 {
        let text = format!("select {number}");
        client.exchange(&[parse(&format!("s{number}"), text, &[]), sync()]);
    }
    client.run("rollback to a");
    let again = [bind_text("", "s1", &[]), execute("", 0), sync()];
    assert_eq!(client.exchange(&again), "2DCZ");
    client.run("commit");
    assert_eq!(client.exchange(&again), "2DCZ");
    drop(client);
    proxy.wait_base();
}

/// A second run would draw other numbers: it gets those that the client knows.
#[test]
fn what_was_drawn_ahead_of_a_savepoint_stays() {
    let (proxy, mut direct, name) = start();
    direct.run(&format!(
        "create table {name}_n (id int generated always as identity primary key, \
         key uuid default gen_random_uuid(), made timestamptz default clock_timestamp(), note text);
         create sequence {name}_s"
    ));
    let mut client = proxy.connect();
    let insert = format!("insert into {name}_n (note) values");
    let seen = |frames: &[Frame]| -> Vec<Vec<String>> {
        let rows = frames.iter().filter(|frame| frame.tag == b'D');
        let text = |value: Option<Vec<u8>>| String::from_utf8(value.unwrap()).unwrap();
        rows.map(|row| row.values().into_iter().map(text).collect())
            .collect()
    };
    client.run("begin");
    let mut rows = seen(&client.run(&format!("{insert} ('a'), ('b') returning *")));
    let all = [
        parse(
            "",
            format!("{insert} ($1) returning id, key, made, note"),
            &[],
        ),
        bind_text("", "", &["c"]),
        crate::message::describe(b'P', ""),
        execute("", 0),
        sync(),
    ];
    client.send(&all.concat());
    rows.extend(seen(&client.until_ready()));
    rows.extend(seen(&client.run(&format!(
        "insert into {name}_n (id, note) values (default, 'd') returning id, key, made, 'd'"
    ))));
    let drawn = seen(&client.run(&format!("select nextval('{name}_s')")));
    client.run("savepoint a");
    for _ in 0..2 {
        let behind = client.run(&format!("{insert} ('x') returning id"));
        assert_eq!(tags(&behind), "TDCZ");
        assert_eq!(client.sqlstate("select 1/0"), "22012");
        assert_eq!(tags(&client.run("rollback to a")), "CZ");
    }
    assert_eq!(
        seen(&client.run(&format!("select nextval('{name}_s')")))[0][0],
        "2"
    );
    assert_eq!(drawn, [["1"]]);
    let there = format!("select * from {name}_n order by note");
    assert_eq!(seen(&client.run(&there)), rows);
    assert_eq!(tags(&client.run("commit")), "CZ");
    assert_eq!(seen(&direct.run(&there)), rows);
    drop(client);
    proxy.wait_base();
}

/// pgjdbc with autosave sends the savepoint behind an extended BEGIN, without a Sync between them.
#[test]
fn a_savepoint_behind_a_begin_without_sync() {
    let (proxy, mut direct, name) = start();
    let mut client = proxy.connect();
    client.exchange(&[parse("S_1", "BEGIN", &[]), sync()]);
    for (end, left) in [("rollback", "0"), ("commit", "2")] {
        let begin = [
            bind_text("", "S_1", &[]),
            execute("", 0),
            query("savepoint a"),
        ];
        client.send(&begin.concat());
        let frames = client.until_ready();
        assert_eq!(tags(&frames), "2CCZ");
        client.run(&format!("insert into {name} values (11, 1)"));
        client.run("savepoint b");
        assert_eq!(client.sqlstate("select 1/0"), "22012");
        assert_eq!(tags(&client.run("rollback to b")), "CZ");
        assert_eq!(tags(&client.run("rollback to a")), "CZ");
        client.run(&format!("insert into {name} values (12, 2)"));
        client.run(end);
        assert_eq!(sum(&mut direct, &name), left);
    }
    drop(client);
    proxy.wait_base();
}

/// What was read at random behind a savepoint is nobody's business when that is gone back to.
#[test]
fn reads_at_random_behind_a_savepoint() {
    let (proxy, mut direct, name) = start();
    let mut client = proxy.connect();
    client.run("begin");
    client.run(&format!("insert into {name} values (11, 1)"));
    client.run("savepoint a");
    client.run(&format!("select id from {name} order by random()"));
    client.run(&format!("insert into {name} values (12, 1)"));
    assert_eq!(tags(&client.run("rollback to a")), "CZ");
    client.run(&format!("select clock_timestamp() from {name}"));
    assert_eq!(client.sqlstate("select 1/0"), "22012");
    assert_eq!(tags(&client.run("rollback to a")), "CZ");
    client.run("commit");
    assert_eq!(sum(&mut direct, &name), "1");
    drop(client);
    proxy.wait_base();
}

/// Rows that somebody else has moved come back in another order; the rows are the same.
fn rows_that_moved(read: &str, extended: bool) -> String {
    let (proxy, mut direct, name) = start();
    let mut client = proxy.connect();
    let read = read.replace(" t", &format!(" {name}"));
    client.run("begin");
    let order = |frames: &[Frame]| -> Vec<String> {
        let rows = frames.iter().filter(|frame| frame.tag == b'D');
        rows.map(|frame| format!("{:?}", frame.body)).collect()
    };
    let ask = |client: &mut Client| match extended {
        false => order(&client.run(&read)),
        true => {
            let batch = [bind_text("", "s", &[]), execute("", 0), sync()].concat();
            client.send(&batch);
            order(&client.until_ready())
        }
    };
    if extended {
        client.send(&[parse("s", &read, &[]), sync()].concat());
        client.until_ready();
    }
    let first = ask(&mut client);
    client.run("savepoint a");
    client.run(&format!("update {name} set value = 1 where id = 5"));
    direct.run(&format!("update {name} set value = value where id = 1"));
    let frames = client.query("rollback to a");
    if tags(&frames) != "CZ" {
        return frames[0].sqlstate().to_owned();
    }
    let mut again = ask(&mut client);
    assert_ne!(again, first, "the rows have not moved: {read}");
    let mut sorted = first;
    sorted.sort();
    again.sort();
    assert_eq!(again, sorted, "{read}");
    client.run("commit");
    assert_eq!(sum(&mut direct, &name), "0");
    drop(client);
    proxy.wait_base();
    "00000".to_owned()
}

#[test]
fn a_read_without_order_may_come_back_in_another() {
    for (read, extended, expected) in [
        ("select id, value from t", false, "00000"),
        ("select id, value from t", true, "00000"),
        ("select id, value from t order by value", false, "00000"),
        ("select * from t order by value", true, "00000"),
        ("select id from t order by value", false, "40001"),
        ("select id from t order by value", true, "40001"),
        (
            "select x.id from (select id from t order by value) x",
            false,
            "40001",
        ),
        // Of one value the order says something.
        ("select unnest(array[id, value]) from t", false, "40001"),
        ("select x from t, unnest(array[id, value]) x", true, "40001"),
    ] {
        let found = rows_that_moved(read, extended);
        assert_eq!(found, expected, "{read}, extended: {extended}");
    }
}
