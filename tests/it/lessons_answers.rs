//! Numbered cases, group Q: which answers are still owed, pipelines, deadlocks.

use std::time::{Duration, Instant};

use crate::client::{Client, render, tags};
use crate::message::{bind_text, describe, execute, flush, message, parse, query, sync, terminate};
use crate::postgres;
use crate::proxy::{Proxy, plan};

fn select(text: &str) -> Vec<u8> {
    [parse("", text, &[]), bind_text("", "", &[]), execute("", 0)].concat()
}

fn usable(proxy: &Proxy) {
    assert_eq!(
        proxy.connect().scalar("select 'still there'"),
        "still there"
    );
}

#[test]
fn q1_a_simple_query_behind_an_error_without_sync_is_skipped() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    client.send(&[select("select 1/0"), query("select 'skipped'")].concat());
    // A division of constants fails when it is planned, at Bind.
    assert_eq!(tags(&client.until(b'E')), "1E");
    client.send(&sync());
    assert_eq!(tags(&client.until_ready()), "Z");
    client.send(&[select("select 1"), query("select 2")].concat());
    assert_eq!(tags(&client.until_ready()), "12DCTDCZ");
    usable(&proxy);
}

#[test]
fn q2_five_queries_written_at_once_all_answer() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    let queries: Vec<u8> = (0..5)
        .flat_map(|number| query(format!("select {number}")))
        .collect();
    client.send(&queries);
    for number in 0..5 {
        let frames = client.until_ready();
        assert_eq!(tags(&frames), "TDCZ");
        assert_eq!(
            frames[1].values()[0].as_deref(),
            Some(number.to_string().as_bytes())
        );
    }
}

#[test]
fn q3_an_error_in_one_batch_leaves_the_next_one_alone() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    let mut other = proxy.connect();
    for _ in 0..50 {
        client.send(&[select("select 1/0"), sync(), select("select 2"), sync()].concat());
        other.send(&query("select 3"));
        assert_eq!(tags(&client.until_ready()), "1EZ");
        assert_eq!(tags(&client.until_ready()), "12DCZ");
        assert_eq!(tags(&other.until_ready()), "TDCZ");
    }
}

#[test]
fn q4_an_error_at_each_place_of_a_pipeline() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    for broken in 0..10 {
        let batch: Vec<u8> = (0..10)
            .flat_map(|at| {
                select(if at == broken {
                    "select 1/0"
                } else {
                    "select 1"
                })
            })
            .chain(sync())
            .collect();
        client.send(&batch);
        assert_eq!(
            tags(&client.until_ready()),
            format!("{}1EZ", "12DC".repeat(broken))
        );
    }
    assert_eq!(client.scalar("select 1"), "1");
}

#[test]
fn q5_a_conversation_with_flush_only_keeps_its_connection() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    let mut other = proxy.connect();
    client.send(&[parse("", "select 5", &[]), describe(b'S', ""), flush()].concat());
    assert_eq!(tags(&client.until(b'T')), "1tT");
    other.send(&query("select 6"));
    proxy.wait_waiters(1);
    client.send(&[bind_text("", "", &[]), execute("", 0), flush()].concat());
    assert_eq!(tags(&client.until(b'C')), "2DC");
    client.send(&sync());
    assert_eq!(tags(&client.until_ready()), "Z");
    assert_eq!(tags(&other.until_ready()), "TDCZ");
}

#[test]
fn q6_a_refused_setting_in_a_batch_leaves_no_trace() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    client.send(
        &[
            select("set work_mem = 'nonsense'"),
            select("set work_mem = '9MB'"),
            sync(),
        ]
        .concat(),
    );
    assert_eq!(tags(&client.until_ready()), "12EZ");
    assert_eq!(client.scalar("show work_mem"), "4MB");
    let mut other = proxy.connect();
    assert_eq!(other.scalar("show work_mem"), "4MB");
}

#[test]
fn q7_terminate_in_a_transaction_rolls_back_and_frees_the_connection() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    client.run("drop table if exists q7; create table q7 (a int)");
    client.run("begin");
    client.run("insert into q7 values (1)");
    client.send(&terminate());
    let mut other = proxy.connect();
    assert_eq!(other.scalar("select count(*) from q7"), "0");
    assert_eq!(
        other.scalar("select transaction_timestamp() = statement_timestamp()"),
        "t"
    );
}

#[test]
fn q8_a_client_killed_at_each_byte_disturbs_nobody() {
    let proxy = plan().size(1).start();
    let mut other = proxy.connect();
    other.run("drop table if exists q8; create table q8 (a int)");
    let insert = "insert into q8 values (1) returning a";
    let whole = [
        parse("s", insert, &[]),
        bind_text("", "s", &[]),
        execute("", 0),
        query("select 'behind it'"),
    ]
    .concat();
    for length in 0..whole.len() {
        let mut client = proxy.connect();
        client.send(&whole[..length]);
        drop(client);
        assert_eq!(
            other.scalar("select 'alive'"),
            "alive",
            "after {length} bytes"
        );
    }
    other.run("begin; select count(*) from q8; commit");
    assert_eq!(
        other.scalar("select count(*) from q8"),
        "0",
        "an unfinished batch does not commit"
    );
    drop(other);
    proxy.wait_base();
}

#[test]
fn q9_a_client_that_writes_64_mib_before_it_reads_is_served_in_bounded_memory() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    client.run("select 1");
    let base = proxy.resident();
    let one = query(format!("select 1 -- {}", "x".repeat(64 * 1024)));
    let count = 1024;
    let stream = client.socket().try_clone().expect("a socket");
    let writer = std::thread::spawn(move || {
        use std::io::Write;
        (0..count).for_each(|_| (&stream).write_all(&one).expect("the proxy takes it all"));
    });
    let mut peak = 0;
    while !writer.is_finished() {
        peak = peak.max(proxy.resident());
        std::thread::sleep(Duration::from_millis(5));
    }
    writer.join().expect("written");
    for _ in 0..count {
        assert_eq!(tags(&client.until_ready()), "TDCZ");
    }
    let grown = peak.saturating_sub(base) / 1024 / 1024;
    assert!(grown < 32, "grew by {grown} MiB");
}

#[test]
fn q11_a_busy_client_does_not_starve_another() {
    let proxy = plan().size(2).start();
    let mut busy = proxy.connect();
    let mut other = proxy.connect();
    let count = 20_000;
    let queries: Vec<u8> = query("select 1").repeat(count);
    let stream = busy.socket().try_clone().expect("a socket");
    std::thread::scope(|threads| {
        threads.spawn(move || {
            use std::io::Write;
            (&stream).write_all(&queries).expect("written");
        });
        let reader = threads.spawn(|| {
            (0..count).for_each(|_| assert_eq!(tags(&busy.until_ready()), "TDCZ"));
        });
        let mut served = 0;
        while !reader.is_finished() {
            let began = Instant::now();
            assert_eq!(other.scalar("select 2"), "2");
            assert!(
                began.elapsed() < Duration::from_secs(2),
                "starved for {:?}",
                began.elapsed()
            );
            served += 1;
        }
        assert!(served > 0);
    });
}

#[test]
fn q13_a_lost_upstream_ends_in_exactly_one_error() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    client.run("begin");
    let pid = client.scalar("select pg_backend_pid()");
    client.send(&query("select pg_sleep(60)"));
    let mut admin = postgres::cluster().connect_superuser("app");
    while admin.scalar(&format!(
        "select count(*) from pg_stat_activity where pid = {pid} and state = 'active'"
    )) == "0"
    {}
    admin.run(&format!("select pg_terminate_backend({pid})"));
    let frames = client.until_ready();
    assert!(tags(&frames).ends_with("EZ"), "{:?}", render(&frames));
    let errors: Vec<_> = frames.iter().filter(|frame| frame.tag == b'E').collect();
    assert_eq!(errors.len(), 1, "{:?}", render(&frames));
    assert_eq!(errors[0].sqlstate(), "40001");
    client.run("rollback");
    usable(&proxy);
    client.run("select 1");
}

#[test]
fn q14_a_connection_left_inside_a_pipeline_is_not_given_to_others() {
    let proxy = plan().size(1).start();
    for _ in 0..20 {
        let mut client = proxy.connect();
        client.send(&[select("select 'unread'"), flush()].concat());
        client.until(b'C');
        drop(client);
        let mut other = proxy.connect();
        assert_eq!(other.scalar("select 'mine'"), "mine");
    }
}

#[test]
fn q16_after_a_timeout_in_the_queue_the_next_query_is_answered_rightly() {
    let proxy = plan().size(1).pool("wait_timeout", "200ms").start();
    let mut holder = proxy.connect();
    holder.run("begin; select 1");
    let mut client = proxy.connect();
    client.send(&[select("select 'too late'"), sync()].concat());
    let frames = client.until_ready();
    assert_eq!(tags(&frames), "EZ", "{:?}", render(&frames));
    assert_eq!(frames[0].sqlstate(), "53300");
    assert_eq!(client.sqlstate("select 'too late'"), "53300");
    holder.run("commit");
    assert_eq!(client.scalar("select 'good'"), "good");
    client.send(&[select("select 'good too'"), sync()].concat());
    assert_eq!(tags(&client.until_ready()), "12DCZ");
}

#[test]
fn q17_descriptors_return_to_base_after_many_connections() {
    let proxy = plan().size(2).start();
    proxy.connect().run("select 1");
    proxy.wait_base();
    let base = proxy.descriptors();
    for round in 0..600 {
        let mut client = proxy.connect();
        match round % 3 {
            0 => client.terminate(),
            1 => drop(client),
            _ => client.send(&query("select 1")),
        }
    }
    proxy.wait_base();
    let deadline = Instant::now() + Duration::from_secs(10);
    while proxy.descriptors() > base + 2 {
        assert!(
            Instant::now() < deadline,
            "{base} descriptors became {}",
            proxy.descriptors()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn q18_every_answer_arrives_before_the_stream_ends() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    client.send(&[query("select 1"), query("select 2"), terminate()].concat());
    let frames = client.until_closed().expect("an end");
    assert_eq!(tags(&frames), "TDCZTDCZ");
}

#[test]
fn q18b_answers_that_a_flush_asked_for_arrive_before_the_stream_ends() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    let unasked = [parse("", "select 2", &[]), parse("", "selekt", &[])].concat();
    client.send(&[select("select 1"), flush(), unasked, terminate()].concat());
    let frames = client.until_closed().expect("an end");
    // Whatever else comes: the flushed answers are first, the error is last.
    let tags = tags(&frames);
    assert!(tags.starts_with("12DC") && tags.ends_with('E'), "{tags}");
    usable(&proxy);
}

#[test]
fn q18c_a_begin_is_answered_in_the_words_it_was_said_in() {
    let proxy = plan().size(1).start();
    for (text, tag) in [
        ("begin", "BEGIN"),
        ("start transaction", "START TRANSACTION"),
        (";; /* now */ start transaction;", "START TRANSACTION"),
    ] {
        let mut client = proxy.connect();
        let complete = client.run(text).remove(0);
        assert_eq!(complete.body, [tag.as_bytes(), b"\0"].concat(), "{text}");
    }
}

#[test]
fn q19_messages_cut_into_single_bytes_are_answered() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    let bytes = [
        select("select 1"),
        sync(),
        query("select 2"),
        message(b'H', &[]),
    ]
    .concat();
    bytes.iter().for_each(|byte| client.send(&[*byte]));
    assert_eq!(tags(&client.until_ready()), "12DCZ");
    assert_eq!(tags(&client.until_ready()), "TDCZ");
}

#[test]
fn q20_notices_arrive_before_the_statement_ends() {
    let proxy = plan().size(1).start();
    let mut client: Client = proxy.connect();
    client.send(&query(
        "do $$ begin raise notice 'early'; perform pg_sleep(600); end $$",
    ));
    client.expect(b'N');
    client.cancel();
    assert_eq!(tags(&client.until_ready()), "EZ");
}
