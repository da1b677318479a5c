//! COPY FROM STDIN of more rows than a transaction may have, on an emulated DSQL cluster.

use crate::client::{Client, tags};
use crate::dsql::{Cluster, set_up};
use crate::message::{
    Frame, bind_text, copy_data, copy_done, copy_fail, execute, parse, query, sync,
};
use crate::proxy::{Proxy, plan};

fn start() -> (Cluster, Proxy, Client) {
    let cluster = Cluster::start();
    let proxy = plan().size(3).dsql(&cluster).dialect("compat").start();
    let mut client = proxy.connect();
    set_up(
        &mut client,
        "create table t (id bigint primary key, n text not null)",
    );
    client.run("set dsqlproxy.large_dml = batch");
    (cluster, proxy, client)
}

fn rows(from: u32, to: u32) -> Vec<u8> {
    let rows = (from..=to).map(|id| format!("{id}\trow {id}\n"));
    rows.collect::<String>().into_bytes()
}

/// Sends data in messages that end where they like.
fn send(client: &mut Client, data: &[u8]) {
    let frames: Vec<Vec<u8>> = data.chunks(10_007).map(copy_data).collect();
    client.send(&frames.concat());
}

#[track_caller]
fn copy(client: &mut Client, sql: &str, data: &[u8], end: &[u8]) -> Vec<Frame> {
    client.send(&query(sql));
    client.expect(b'G');
    send(client, data);
    client.send(end);
    client.until_ready()
}

#[track_caller]
fn tag(frames: &[Frame]) -> String {
    let complete = frames.iter().find(|frame| frame.tag == b'C');
    let complete = complete.unwrap_or_else(|| panic!("{:?}", crate::client::render(frames)));
    complete.strings().remove(0)
}

#[track_caller]
fn error(frames: &[Frame]) -> &Frame {
    let found = frames.iter().find(|frame| frame.tag == b'E');
    found.unwrap_or_else(|| panic!("no error: {}", tags(frames)))
}

fn count(client: &mut Client) -> String {
    client.scalar("select count(*) from t")
}

#[test]
fn many_rows_are_copied_in_batches() {
    let (_cluster, proxy, mut client) = start();
    let frames = copy(
        &mut client,
        "copy t from stdin",
        &rows(1, 10_000),
        &copy_done(),
    );
    assert_eq!(
        (tag(&frames).as_str(), &*tags(&frames)),
        ("COPY 10000", "CZ")
    );
    assert_eq!(count(&mut client), "10000");
    assert_eq!(client.scalar("select n from t where id = 9999"), "row 9999");
    // Without the switch the cluster has its limit.
    client.run("set dsqlproxy.large_dml = refuse");
    let frames = copy(
        &mut client,
        "copy t from stdin",
        &rows(10_001, 13_002),
        &copy_done(),
    );
    assert_eq!(error(&frames).sqlstate(), "54000");
    assert_eq!(count(&mut client), "10000");
    drop(client);
    proxy.wait_base();
}

#[test]
fn few_rows_are_one_transaction() {
    let (_cluster, _proxy, mut client) = start();
    // The last row of a batch that is not full.
    let mut data = rows(1, 2499);
    data.extend_from_slice(b"1\tagain\n");
    let frames = copy(&mut client, "copy t from stdin", &data, &copy_done());
    let refused = error(&frames);
    assert_eq!(refused.sqlstate(), "23505");
    assert_eq!(refused.field(b'D').unwrap(), "Key (id)=(1) already exists.");
    assert_eq!(count(&mut client), "0");
    let frames = copy(&mut client, "copy t from stdin", b"", &copy_done());
    assert_eq!(tag(&frames), "COPY 0");
    let text = "copy t (n, id) from stdin with (format csv, header, delimiter ';')";
    let data = b"n;id\n\"a\nb\";1\n\"c;\"\"\";2\n";
    let frames = copy(&mut client, text, data, &copy_done());
    assert_eq!(tag(&frames), "COPY 2");
    assert_eq!(client.scalar("select n from t where id = 1"), "a\nb");
}

#[test]
fn a_failure_tells_how_much_is_done() {
    let (_cluster, _proxy, mut client) = start();
    let mut data = rows(1, 6000);
    data.extend_from_slice(b"x\ty\n");
    data.extend_from_slice(&rows(6001, 9000));
    let frames = copy(&mut client, "copy t from stdin", &data, &copy_done());
    let refused = error(&frames);
    assert_eq!(refused.sqlstate(), "22P02");
    let context = refused.field(b'W').unwrap();
    assert!(context.contains("line 6001, column id"), "{context}");
    let detail = refused.field(b'D').unwrap();
    assert!(
        detail.contains("the copy of 5000 rows into table \"t\" in 2 transactions"),
        "{detail}"
    );
    assert_eq!(count(&mut client), "5000");

    let frames = copy(
        &mut client,
        "copy t from stdin",
        &rows(10_001, 13_000),
        &copy_fail("no more"),
    );
    let refused = error(&frames);
    assert_eq!(refused.sqlstate(), "57014");
    assert!(
        refused
            .field(b'M')
            .unwrap()
            .contains("COPY from stdin failed: no more")
    );
    assert!(refused.field(b'D').unwrap().contains("2500 rows"));
    assert_eq!(count(&mut client), "7500");
    assert_eq!(client.sqlstate("copy missing from stdin"), "42P01");
}

#[test]
fn a_transaction_stays_one_as_long_as_it_can() {
    let (_cluster, _proxy, mut client) = start();
    // Without leave to commit it, it goes on as it is.
    client.run("begin");
    let frames = copy(
        &mut client,
        "copy t from stdin",
        &rows(1, 3001),
        &copy_done(),
    );
    assert_eq!(error(&frames).sqlstate(), "54000");
    client.run("rollback; set dsqlproxy.ddl_in_transaction = split");

    client.run("begin");
    let frames = copy(
        &mut client,
        "copy t from stdin",
        &rows(1, 100),
        &copy_done(),
    );
    assert_eq!((tag(&frames).as_str(), &*tags(&frames)), ("COPY 100", "CZ"));
    assert_eq!(count(&mut client), "100");
    client.run("rollback");
    assert_eq!(count(&mut client), "0");

    client.run("begin");
    client.run("insert into t values (0, 'before')");
    let frames = copy(
        &mut client,
        "copy t from stdin",
        &rows(1, 6000),
        &copy_done(),
    );
    assert_eq!(
        (tag(&frames).as_str(), &*tags(&frames)),
        ("COPY 6000", "NCZ")
    );
    assert!(frames[0].field(b'M').unwrap().contains("no longer atomic"));
    assert_eq!(frames.last().unwrap().body, b"T");
    client.run("insert into t values (9000, 'behind')");
    client.run("rollback");
    assert_eq!(count(&mut client), "6001");

    client.run("begin");
    let frames = copy(&mut client, "copy t from stdin", &rows(1, 2), &copy_done());
    assert_eq!(error(&frames).sqlstate(), "23505");
    assert_eq!(frames.last().unwrap().body, b"E");
    assert_eq!(client.sqlstate("select 1"), "25P02");
    client.run("rollback");
}

#[test]
fn conflicts_are_met_batch_by_batch() {
    let (cluster, _proxy, mut client) = start();
    cluster.fault("abort_commit", 2, "");
    let frames = copy(
        &mut client,
        "copy t from stdin",
        &rows(1, 6000),
        &copy_done(),
    );
    assert_eq!(tag(&frames), "COPY 6000");
    assert_eq!(count(&mut client), "6000");
}

#[test]
fn a_change_of_the_schema_ahead_of_a_copy_is_nobodys_business() {
    let (cluster, _proxy, mut client) = start();
    let order = serde_json::json!(
        {"kind": "abort_statement", "code": "OC001", "count": 1, "match": "(?i)^copy"}
    );
    let places: [(&str, &[&str], &[&str]); 4] = [
        ("batch", &[], &[]),
        ("batch", &["begin"], &["commit"]),
        ("refuse", &["begin", "select count(*) from t"], &["commit"]),
        ("refuse", &[], &[]),
    ];
    for (number, (switch, before, behind)) in (1..).zip(places) {
        client.run(&format!("set dsqlproxy.large_dml = {switch}"));
        before.iter().for_each(|sql| drop(client.run(sql)));
        cluster.order(&order);
        let frames = copy(
            &mut client,
            "copy t from stdin",
            &rows(number, number),
            &copy_done(),
        );
        assert_eq!(tag(&frames), "COPY 1", "{before:?}");
        behind.iter().for_each(|sql| drop(client.run(sql)));
        assert_eq!(count(&mut client), number.to_string(), "{before:?}");
        assert_eq!(cluster.orders_left(), 0, "{before:?}");
    }
}

#[test]
fn prepared_copies_too() {
    let (_cluster, _proxy, mut client) = start();
    let messages = [
        parse("", "copy t from stdin", &[]),
        bind_text("", "", &[]),
        execute("", 0),
        // The server ignores it while it waits for data.
        sync(),
    ];
    client.send(&messages.concat());
    client.expect(b'1');
    client.expect(b'2');
    client.expect(b'G');
    send(&mut client, &rows(1, 5001));
    client.send(&[copy_done(), sync()].concat());
    let frames = client.until_ready();
    assert_eq!(tag(&frames), "COPY 5001");
    assert_eq!(count(&mut client), "5001");
}

#[test]
fn a_copy_can_be_cancelled() {
    let (_cluster, _proxy, mut client) = start();
    client.send(&query("copy t from stdin"));
    client.expect(b'G');
    send(&mut client, &rows(1, 3000));
    client.cancel();
    let frames = client.until_ready();
    assert_eq!(error(&frames).sqlstate(), "57014");
    // What comes late is nobody's.
    send(&mut client, &rows(3001, 3100));
    client.send(&copy_done());
    let done: u32 = count(&mut client).parse().unwrap();
    assert!(done == 0 || done == 2500, "{done}");
}

const BINARY: &str = "copy t from stdin (format binary)";

/// A value in binary form, with its length.
fn value(bytes: Option<&[u8]>) -> Vec<u8> {
    match bytes {
        None => vec![0xff; 4],
        Some(bytes) => {
            let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
            [&length, bytes].concat()
        }
    }
}

fn tuple(values: &[Option<&[u8]>]) -> Vec<u8> {
    let count = u16::try_from(values.len()).unwrap().to_be_bytes();
    let values = values.iter().flat_map(|bytes| value(*bytes));
    count.into_iter().chain(values).collect()
}

/// Data of format binary.
fn binary(tuples: &[u8]) -> Vec<u8> {
    [b"PGCOPY\n\xff\r\n\0", &[0; 8][..], tuples, &[0xff; 2]].concat()
}

fn tuples(from: u32, to: u32) -> Vec<u8> {
    let tuples = (from..=to).flat_map(|id| {
        let text = format!("row {id}");
        tuple(&[Some(&u64::from(id).to_be_bytes()), Some(text.as_bytes())])
    });
    tuples.collect()
}

#[test]
fn binary_rows_are_copied_whatever_their_types() {
    let (_cluster, proxy, mut client) = start();
    client.run("set dsqlproxy.large_dml = refuse");
    client.run(
        "create table kinds (id bigint generated always as identity (cache 1) primary key, \
         \"a B\" bytea, c varchar(3), d numeric(10, 2) default 7, e bigint generated always as (id + 1) stored)",
    );
    // 12.34 as PostgreSQL sends it: two digits of base 10,000, weight 0, sign, two decimals.
    let number = [0, 2, 0, 0, 0, 0, 0, 2, 0, 12, 0x0d, 0x48];
    let seven = 7_u64.to_be_bytes();
    let data = [
        tuple(&[
            Some(&seven),
            Some(b"\0\xff"),
            Some("ä".as_bytes()),
            Some(&number),
        ]),
        tuple(&[Some(&8_u64.to_be_bytes()), None, Some(b""), None]),
    ];
    client.send(&query("copy kinds from stdin binary"));
    assert_eq!(
        client.expect(b'G').body,
        b"\x01\0\x04\0\x01\0\x01\0\x01\0\x01"
    );
    send(&mut client, &binary(&data.concat()));
    client.send(&copy_done());
    let frames = client.until_ready();
    assert_eq!((tag(&frames).as_str(), &*tags(&frames)), ("COPY 2", "CZ"));
    let all = "select string_agg(k::text, ' ' order by id) from kinds k";
    assert_eq!(
        client.scalar(all),
        "(7,\"\\\\x00ff\",ä,12.34,8) (8,,\"\",,9)"
    );
    // Columns of one's own choice and order, and a condition.
    client.run("delete from kinds");
    let data = [
        tuple(&[Some(b"abc"), Some(&seven)]),
        tuple(&[Some(b"no"), Some(&8_u64.to_be_bytes())]),
    ];
    let sql = "copy kinds (c, id) from stdin (format binary) where c <> 'no' and kinds.id > 1";
    let frames = copy(&mut client, sql, &binary(&data.concat()), &copy_done());
    assert_eq!(tag(&frames), "COPY 1");
    assert_eq!(client.scalar(all), "(7,,abc,7.00,8)");
    // What the server says is about the data.
    type Case<'c> = (&'c str, &'c [Option<&'c [u8]>], &'c str, &'c str);
    let cases: [Case<'_>; 4] = [
        (
            "(c)",
            &[Some(b"long")],
            "22001",
            "value too long for type character varying(3)",
        ),
        (
            "(id)",
            &[Some(b"1")],
            "08P01",
            "insufficient data left in message",
        ),
        (
            "(id)",
            &[Some(&[0; 9])],
            "22P03",
            "incorrect binary data format",
        ),
        (
            "(id)",
            &[Some(&seven)],
            "23505",
            "duplicate key value violates unique constraint \"kinds_pkey\"",
        ),
    ];
    for (columns, values, code, message) in cases {
        let sql = format!("copy kinds {columns} from stdin (format binary)");
        let frames = copy(&mut client, &sql, &binary(&tuple(values)), &copy_done());
        let refused = error(&frames);
        assert_eq!(refused.sqlstate(), code);
        assert_eq!(refused.field(b'M').unwrap(), message);
        assert_eq!(refused.field(b'W').unwrap(), "COPY kinds");
        assert_eq!(refused.field(b'P'), None);
    }
    for (sql, code) in [
        ("copy missing from stdin (format binary)", "42P01"),
        ("copy kinds (e) from stdin (format binary)", "42703"),
        ("copy kinds to stdout (format binary)", "0A000"),
    ] {
        assert_eq!(client.sqlstate(sql), code, "{sql}");
    }
    assert_eq!(client.scalar(all), "(7,,abc,7.00,8)");
    drop(client);
    proxy.wait_base();
}

#[test]
fn binary_rows_are_copied_in_batches() {
    let (cluster, _proxy, mut client) = start();
    cluster.fault("abort_commit", 2, "");
    let frames = copy(&mut client, BINARY, &binary(&tuples(1, 6000)), &copy_done());
    assert_eq!(
        (tag(&frames).as_str(), &*tags(&frames)),
        ("COPY 6000", "CZ")
    );
    assert_eq!(count(&mut client), "6000");
    assert_eq!(client.scalar("select n from t where id = 5999"), "row 5999");
    let frames = copy(&mut client, BINARY, &binary(b""), &copy_done());
    assert_eq!(tag(&frames), "COPY 0");
    // The third batch fails.
    let data = [tuples(6001, 11_500), tuples(1, 1)].concat();
    let frames = copy(&mut client, BINARY, &binary(&data), &copy_done());
    assert_eq!(error(&frames).sqlstate(), "23505");
    assert_eq!(count(&mut client), "11000");
    // Without leave to part them they are all or none.
    client.run("delete from t");
    client.run("set dsqlproxy.large_dml = refuse");
    let frames = copy(&mut client, BINARY, &binary(&tuples(1, 3001)), &copy_done());
    assert_eq!(error(&frames).sqlstate(), "54000");
    let frames = copy(&mut client, BINARY, &binary(&tuples(1, 2900)), &copy_done());
    assert_eq!(tag(&frames), "COPY 2900");
    let data = binary(&tuple(&[Some(&[0; 8]), Some(&vec![b'x'; 11 << 20])]));
    let frames = copy(&mut client, BINARY, &data, &copy_done());
    assert_eq!(error(&frames).sqlstate(), "54000");
    assert_eq!(count(&mut client), "2900");
}

#[test]
fn binary_data_that_are_not_readable_copy_nothing() {
    let (_cluster, _proxy, mut client) = start();
    let good = binary(&tuples(1, 3));
    let three = [tuples(1, 1), tuple(&[None, None, None])].concat();
    let cases: [(&[u8], &str); 4] = [
        (b"1\tone\n2\ttwo\n", "COPY file signature not recognized"),
        (&good[..good.len() - 4], "unexpected EOF in COPY data"),
        (&binary(&three), "row field count is 3, expected 2"),
        (
            &[&good[..], b"x"].concat(),
            "received copy data after EOF marker",
        ),
    ];
    for (within, state) in [(false, b"I"), (true, b"E")] {
        for (data, message) in cases {
            if within {
                client.run("begin");
            }
            let frames = copy(&mut client, BINARY, data, &copy_done());
            let refused = error(&frames);
            assert_eq!(refused.sqlstate(), "22P04", "{message}");
            assert_eq!(refused.field(b'M').unwrap(), message);
            assert_eq!(frames.last().unwrap().body, state);
            if within {
                assert_eq!(client.sqlstate("select 1"), "25P02");
                client.run("rollback");
            }
        }
    }
    assert_eq!(count(&mut client), "0");
}

#[test]
fn binary_rows_are_part_of_a_transaction() {
    let (_cluster, _proxy, mut client) = start();
    client.run("begin");
    client.run("insert into t values (0, 'before')");
    client.run("savepoint s");
    let frames = copy(&mut client, BINARY, &binary(&tuples(1, 5)), &copy_done());
    assert_eq!((tag(&frames).as_str(), &*tags(&frames)), ("COPY 5", "CZ"));
    assert_eq!(frames.last().unwrap().body, b"T");
    assert_eq!(count(&mut client), "6");
    client.run("rollback to s");
    assert_eq!(count(&mut client), "1");
    // The client gives up: the block has failed, up to the savepoint.
    let frames = copy(
        &mut client,
        BINARY,
        &binary(&tuples(1, 5)),
        &copy_fail("no more"),
    );
    let refused = error(&frames);
    assert_eq!(refused.sqlstate(), "57014");
    assert!(
        refused
            .field(b'M')
            .unwrap()
            .ends_with("COPY from stdin failed: no more")
    );
    assert_eq!(frames.last().unwrap().body, b"E");
    assert_eq!(client.sqlstate("select 1"), "25P02");
    client.run("rollback to s");
    let frames = copy(&mut client, BINARY, &binary(&tuples(7, 8)), &copy_done());
    assert_eq!(tag(&frames), "COPY 2");
    client.run("commit");
    assert_eq!(count(&mut client), "3");
    client.run("delete from t");

    client.run("begin");
    assert_eq!(client.sqlstate("copy t (id, x) from stdin binary"), "42703");
    assert_eq!(client.sqlstate("select 1"), "25P02");
    client.run("rollback");

    client.run("set dsqlproxy.ddl_in_transaction = split");
    client.run("begin");
    let frames = copy(&mut client, BINARY, &binary(&tuples(1, 6000)), &copy_done());
    assert_eq!(
        (tag(&frames).as_str(), &*tags(&frames)),
        ("COPY 6000", "NCZ")
    );
    client.run("rollback");
    assert_eq!(count(&mut client), "6000");
}

#[test]
fn prepared_binary_copies_too() {
    let (_cluster, _proxy, mut client) = start();
    let messages = [
        parse("", BINARY, &[]),
        bind_text("", "", &[]),
        execute("", 0),
        sync(),
    ];
    client.send(&messages.concat());
    client.expect(b'1');
    client.expect(b'2');
    client.expect(b'G');
    send(&mut client, &binary(&tuples(1, 5001)));
    client.send(&[copy_done(), sync()].concat());
    let frames = client.until_ready();
    assert_eq!(tag(&frames), "COPY 5001");
    assert_eq!(count(&mut client), "5001");
}

#[test]
fn a_binary_copy_can_be_cancelled() {
    let (_cluster, _proxy, mut client) = start();
    for within in [false, true] {
        if within {
            client.run("begin");
        }
        client.send(&query(BINARY));
        client.expect(b'G');
        send(&mut client, &binary(&tuples(1, 100)));
        client.cancel();
        let frames = client.until_ready();
        assert_eq!(error(&frames).sqlstate(), "57014");
        send(&mut client, &tuples(1, 2));
        client.send(&copy_done());
        if within {
            assert_eq!(frames.last().unwrap().body, b"E");
            client.run("rollback");
        }
        assert_eq!(count(&mut client), "0");
    }
}
