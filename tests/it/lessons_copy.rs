//! Numbered cases, group D: COPY and large data.

use std::time::{Duration, Instant};

use crate::client::tags;
use crate::message::{bind_text, copy_data, copy_done, copy_fail, execute, parse, query, sync};
use crate::proxy::plan;

const MIB: usize = 1024 * 1024;

#[test]
fn d1_copy_data_never_goes_to_another_connection() {
    let proxy = plan().size(1).start();
    proxy
        .connect()
        .run("drop table if exists d1; create table d1 (who int, n int)");
    std::thread::scope(|threads| {
        for who in 0..20 {
            let proxy = &proxy;
            threads.spawn(move || {
                let mut client = proxy.connect();
                for _ in 0..5 {
                    client.send(&query("copy d1 from stdin"));
                    client.expect(b'G');
                    for n in 0..20 {
                        client.send(&copy_data(format!("{who}\t{n}\n").as_bytes()));
                    }
                    client.send(&copy_done());
                    let frames = client.until_ready();
                    assert_eq!(tags(&frames), "CZ");
                    assert_eq!(frames[0].body, b"COPY 20\0");
                }
            });
        }
    });
    let wrong = "select count(*) from (select who from d1 group by who having count(*) <> 100) a";
    assert_eq!(proxy.connect().scalar(wrong), "0");
    assert_eq!(proxy.connect().scalar("select count(*) from d1"), "2000");
}

#[test]
fn d2_a_copy_that_fails_early_in_a_transaction_does_not_wedge_it() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    client.run("drop table if exists d2; create table d2 (a int check (a < 100))");
    client.run("begin");
    client.send(&query("copy d2 from stdin"));
    client.expect(b'G');
    client.send(&copy_data(b"1000\n"));
    let line = copy_data("5\n".repeat(1000).as_bytes());
    for _ in 0..2000 {
        client.send(&line);
    }
    client.send(&copy_done());
    let frames = client.until_ready();
    assert_eq!(tags(&frames), "EZ");
    assert_eq!(
        (frames[0].sqlstate().as_str(), &frames[1].body[..]),
        ("23514", &b"E"[..])
    );
    client.run("rollback");
    assert_eq!(client.scalar("select count(*) from d2"), "0");
    assert_eq!(proxy.connect().scalar("select 1"), "1");
}

#[test]
fn d3_after_an_error_in_copy_the_session_goes_on() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    client.run("drop table if exists d3; create table d3 (a int)");
    for end in [
        copy_fail("no more"),
        [copy_data(b"x\n"), copy_done()].concat(),
    ] {
        client.send(&query("copy d3 from stdin"));
        client.expect(b'G');
        client.send(&end);
        assert_eq!(tags(&client.until_ready()), "EZ");
        assert_eq!(client.scalar("select count(*) from d3"), "0");
    }
    client.send(
        &[
            parse("", "copy d3 from stdin", &[]),
            bind_text("", "", &[]),
            execute("", 0),
            sync(),
        ]
        .concat(),
    );
    assert_eq!(tags(&client.until(b'G')), "12G");
    client.send(&[copy_data(b"x\n"), copy_done(), sync()].concat());
    assert_eq!(tags(&client.until_ready()), "EZ");
    assert_eq!(client.scalar("select count(*) from d3"), "0");
}

#[test]
fn d4_the_edges_of_copy() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    client.run("drop table if exists d4; create table d4 (a text)");
    let binary = [
        &b"PGCOPY\n\xff\r\n\0"[..],
        &[0; 8],
        &[0, 1, 0, 0, 0, 1],
        b"b",
        &[0xff, 0xff],
    ]
    .concat();
    let cases: &[(&str, &[u8], &str)] = &[
        ("copy d4 from stdin", b"", "COPY 0"),
        ("copy d4 from stdin", b"\\.\n", "COPY 0"),
        ("copy d4 from stdin", b"x\n\\.\n", "COPY 1"),
        (
            "copy d4 from stdin (format csv, header)",
            b"a\nx\n",
            "COPY 1",
        ),
        ("copy d4 from stdin (format csv, header)", b"a\n", "COPY 0"),
        (
            "copy d4 from stdin (format csv)",
            b"\"two\nlines\"\n",
            "COPY 1",
        ),
        ("copy d4 from stdin (format binary)", &binary, "COPY 1"),
        ("copy d4 from stdin", b"no newline at the end", "COPY 1"),
    ];
    for (sql, data, expected) in cases {
        client.send(&query(sql));
        client.expect(b'G');
        client.send(&[copy_data(data), copy_done()].concat());
        let frames = client.until_ready();
        assert_eq!(
            frames[0].body,
            format!("{expected}\0").as_bytes(),
            "{sql} {}",
            data.escape_ascii()
        );
    }
    for sql in [
        "copy (select 1 where false) to stdout",
        "copy (select 1 where false) to stdout (format binary)",
    ] {
        assert!(tags(&client.query(sql)).ends_with("cCZ"));
    }
    assert_eq!(
        tags(&client.query("copy (select 1) to stdout (format csv, header)")),
        "HddcCZ"
    );
}

#[test]
fn d5_copy_data_may_be_cut_anywhere() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    client.run("drop table if exists d5; create table d5 (a text, b text)");
    let data = b"one\ttwo\nthree\t\xc3\xa9\xe2\x82\xac\n\\N\tfive\\nlines\n";
    let mut whole = None;
    for cut in 0..=data.len() {
        client.run("truncate d5");
        client.send(&query("copy d5 from stdin"));
        client.expect(b'G');
        let (left, right) = data.split_at(cut);
        client.send(&[copy_data(left), copy_data(right), copy_done()].concat());
        assert_eq!(tags(&client.until_ready()), "CZ");
        let sum = client.scalar("select md5(string_agg(d5::text, '|' order by d5::text)) from d5");
        assert_eq!(
            &sum,
            whole.get_or_insert_with(|| sum.clone()),
            "cut at {cut}"
        );
    }
    client.run("truncate d5");
    client.send(&query("copy d5 from stdin"));
    client.expect(b'G');
    let bytes: Vec<u8> = data
        .iter()
        .flat_map(|byte| copy_data(&[*byte]))
        .chain(copy_done())
        .collect();
    bytes.iter().for_each(|byte| client.send(&[*byte]));
    assert_eq!(tags(&client.until_ready()), "CZ");
    assert_eq!(client.scalar("select count(*) from d5"), "3");
}

#[test]
fn d6_memory_comes_back_after_big_messages() {
    let proxy = plan().size(40).start();
    let mut clients: Vec<_> = (0..40).map(|_| proxy.connect()).collect();
    clients
        .iter_mut()
        .for_each(|client| drop(client.run("select 1")));
    let base = proxy.resident();
    let big = query(format!("select length('{}')", "x".repeat(8 * MIB)));
    for client in &mut clients {
        client.send(&big);
        assert_eq!(tags(&client.until_ready()), "TDCZ");
    }
    let grown = proxy.resident().saturating_sub(base) as usize / MIB;
    assert!(grown < 48, "{} clients hold {grown} MiB", clients.len());
}

#[test]
#[ignore = "a statement above 1 MiB pins its session to its connection"]
fn d6_a_big_statement_does_not_keep_its_connection() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    client.run(&format!("select length('{}')", "x".repeat(2 * MIB)));
    assert_eq!(proxy.connect().scalar("select 'next'"), "next");
}

#[test]
fn d7_a_client_killed_inside_a_large_row_frees_its_connection() {
    let proxy = plan().size(1).start();
    for _ in 0..3 {
        let mut client = proxy.connect();
        client.send(&query("select repeat('x', 100000000)"));
        client.expect(b'T');
        drop(client);
        assert_eq!(proxy.connect().scalar("select 'next'"), "next");
    }
    proxy.wait_base();
}

#[test]
fn d9_large_values_pass_over_tls_in_linear_time() {
    let proxy = plan().size(1).tls().start();
    let mut client = proxy.login(&proxy.tls_login()).expect("login over TLS");
    let mut times = Vec::new();
    for megabytes in [8, 32] {
        let began = Instant::now();
        let frames = client.run(&format!("select repeat('x', {})", megabytes * MIB));
        assert_eq!(frames[1].body.len(), megabytes * MIB + 6);
        times.push(began.elapsed());
    }
    assert!(
        times[1] < times[0] * 12 + Duration::from_secs(1),
        "{times:?}"
    );
    let text = "y".repeat(16 * MIB);
    assert_eq!(
        client.scalar(&format!("select length('{text}')")),
        (16 * MIB).to_string()
    );
}

#[test]
fn d11_copy_out_of_many_rows_arrives_whole() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    client.send(&query(
        "copy (select i, repeat('x', i % 100) from generate_series(1, 100000) i) to stdout",
    ));
    let frames = client.until_ready();
    let rows = frames.iter().filter(|frame| frame.tag == b'd').count();
    assert_eq!(rows, 100_000);
    let bytes: usize = frames
        .iter()
        .filter(|frame| frame.tag == b'd')
        .map(|frame| frame.body.len())
        .sum();
    let expected = client
        .scalar("select sum(length(i::text) + 2 + i % 100) from generate_series(1, 100000) i");
    assert_eq!(bytes.to_string(), expected);
}

#[test]
fn d12_an_idle_copy_holds_its_connection_and_gives_it_back() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    client.run("create table if not exists d12 (a int)");
    client.send(&query("copy d12 from stdin"));
    client.expect(b'G');
    let mut other = proxy.connect();
    other.send(&query("select 1"));
    proxy.wait_waiters(1);
    drop(client);
    assert_eq!(tags(&other.until_ready()), "TDCZ");
}
