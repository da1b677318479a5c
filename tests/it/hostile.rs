//! Bad input: each ends in one true ErrorResponse or a closed socket, the pool and the counters go
//! back to their base line, and nobody else is disturbed.

use std::io::Read;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

use crate::client::{Client, Login, PATIENCE, tags};
use crate::limits;
use crate::message::{bind_text, execute, message, parse, query, sync, terminate};
use crate::postgres::ROLE;
use crate::proxy::{Proxy, plan};
use crate::upstream::{Conversation, Upstream, one_column, row};

const MIB: u64 = 1024 * 1024;

fn seed() -> u64 {
    let given = std::env::var("DSQLPROXY_SEED").ok();
    let seed = given.map_or_else(rand::random, |text| text.parse().expect("a number"));
    println!("DSQLPROXY_SEED={seed}");
    seed
}

/// Reads to the end, which must come, and gives the number of ErrorResponses among whole messages.
/// An error after which the session goes on is an end too: then the client leaves.
fn errors_to_the_end(client: &mut Client) -> usize {
    let mut errors = 0;
    let mut left = false;
    loop {
        match client.next_frame() {
            Ok(Some(frame)) if frame.tag == b'E' && !left => errors += 1,
            Ok(Some(frame)) if frame.tag == b'Z' && errors > 0 && !left => {
                left = true;
                let _ = client.try_send(&terminate());
            }
            Ok(Some(_)) => {}
            Ok(None) => return errors,
            Err(error) => {
                let kind = error.kind();
                assert_ne!(
                    kind,
                    std::io::ErrorKind::WouldBlock,
                    "the connection stays open"
                );
                return errors;
            }
        }
    }
}

fn undisturbed(proxy: &mut Proxy, other: &mut Client) {
    assert!(proxy.alive(), "the proxy died:\n{}", proxy.log.text());
    assert_eq!(other.scalar("select 'undisturbed'"), "undisturbed");
}

#[test]
fn random_bytes_instead_of_a_startup_packet() {
    let mut random = StdRng::seed_from_u64(seed());
    let mut proxy = plan().tls().start();
    let mut other = proxy.connect();
    for _ in 0..300 {
        let mut bytes = vec![0; random.random_range(1..600)];
        random.fill_bytes(&mut bytes);
        if random.random_ratio(1, 2) {
            // A length that is possible leads further in.
            let length = bytes.len() as u32;
            let count = bytes.len().min(4);
            bytes[..count].copy_from_slice(&length.to_be_bytes()[..count]);
        }
        let mut client = proxy.open();
        if client.try_send(&bytes).is_ok() {
            client.finish_sending();
            assert!(errors_to_the_end(&mut client) <= 1);
        }
    }
    undisturbed(&mut proxy, &mut other);
    drop(other);
    proxy.wait_base();
}

#[test]
fn random_bytes_after_the_login() {
    let mut random = StdRng::seed_from_u64(seed());
    let mut proxy = plan().size(2).start();
    let mut other = proxy.connect();
    for round in 0..200 {
        let mut client = proxy.connect();
        let mut bytes = Vec::new();
        for _ in 0..random.random_range(1..6) {
            let mut body = vec![0; random.random_range(0..80)];
            random.fill_bytes(&mut body);
            let tag = match round % 3 {
                0 => random.random(),
                _ => b"QPBDECHSFdcfX"[random.random_range(0..13)],
            };
            let mut frame = message(tag, &body);
            if random.random_ratio(1, 4) {
                let length: u32 = random.random();
                frame[1..5].copy_from_slice(&length.to_be_bytes());
            }
            bytes.extend(frame);
        }
        if client.try_send(&bytes).is_ok() {
            client.finish_sending();
            errors_to_the_end(&mut client);
        }
        if round % 20 == 0 {
            undisturbed(&mut proxy, &mut other);
        }
    }
    undisturbed(&mut proxy, &mut other);
    drop(other);
    proxy.wait_base();
}

#[test]
fn lengths_that_lie_end_in_one_error() {
    let mut proxy = plan().size(1).start();
    let mut other = proxy.connect();
    let raw =
        |tag: u8, length: u32, body: &[u8]| [&[tag][..], &length.to_be_bytes(), body].concat();
    // The length of a frame itself is impossible: nothing behind it can be trusted.
    for bytes in [
        raw(b'Q', 0, b""),
        raw(b'Q', 3, b""),
        raw(b'S', 0x7fff_ffff, b""),
        raw(b'S', 0xffff_ffff, b""),
        raw(b'X', 0x8000_0000, b""),
        raw(b'Q', 0x4000_0000, b"select 1\0"),
        raw(b'D', 20_000, b"S"),
        raw(b'?', 4, b""),
        raw(0, 4, b""),
        message(b'p', b"password\0"),
    ] {
        let mut client = proxy.connect();
        client.send(&bytes);
        let frames = client.until_closed().expect("an end");
        assert_eq!(tags(&frames), "E", "{}", bytes.escape_ascii());
        assert_eq!(frames[0].sqlstate(), "08P01", "{}", frames[0].render(true));
        assert_eq!(frames[0].field(b'V').as_deref(), Some("FATAL"));
        undisturbed(&mut proxy, &mut other);
    }
    drop(other);
    proxy.wait_base();
}

#[test]
fn bodies_that_lie_end_in_one_error_each() {
    let mut proxy = plan().size(1).start();
    let mut other = proxy.connect();
    let bodies: &[(u8, &[u8])] = &[
        (b'Q', b""),
        (b'Q', b"select 1"),
        (b'P', b""),
        (b'P', b"name"),
        (b'P', b"\0select 1"),
        (b'P', b"\0select 1\0"),
        (b'P', b"\0select 1\0\0\x05"),
        (b'P', b"\0select 1\0\xff\xff"),
        (b'B', b""),
        (b'B', b"\0"),
        (b'B', b"\0\0\0\x01"),
        (b'B', b"\0\0\0\0\x7f\xff"),
        (b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xff"),
        (b'D', b""),
        (b'D', b"S"),
        (b'D', b"Zname\0"),
        (b'E', b""),
        (b'E', b"\0\0"),
        (b'C', b"S"),
        (b'C', b"?name\0"),
        (b'F', b""),
        (b'F', b"\0\0\0\xb1\0\x01"),
        (b'F', b"\0\0\0\xb1\0\0\0\x02\0\0\0\x04"),
        (b'H', b"unexpected"),
        (b'S', b"unexpected"),
    ];
    for (tag, body) in bodies {
        let mut client = proxy.connect();
        client.send(&[message(*tag, body), sync()].concat());
        // Answered like any statement, or the end.
        let mut errors = 0;
        while let Ok(Some(frame)) = client.next_frame() {
            errors += usize::from(frame.tag == b'E');
            if frame.tag == b'Z' {
                break;
            }
        }
        assert!(
            errors <= 1,
            "{} {}: {errors} errors",
            *tag as char,
            body.escape_ascii()
        );
        if *tag != b'H' && *tag != b'S' {
            assert_eq!(errors, 1, "{} {}", *tag as char, body.escape_ascii());
        }
        undisturbed(&mut proxy, &mut other);
    }
    drop(other);
    proxy.wait_base();
}

#[test]
fn a_thousand_half_open_connections() {
    let count = 1000.min(limits::descriptors().saturating_sub(200));
    let proxy = plan()
        .listen("max_unauthenticated", "1100")
        .listen("login_timeout", "3s")
        .descriptors(4096)
        .start();
    proxy.connect().run("select 1");
    proxy.wait_base();
    let base = proxy.descriptors();
    let mut open: Vec<TcpStream> = (0..count)
        .map(|_| TcpStream::connect(("127.0.0.1", proxy.port)).expect("a connection"))
        .collect();
    let began = Instant::now();
    assert_eq!(proxy.connect().scalar("select 'served'"), "served");
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "half-open connections are in the way"
    );
    for stream in &mut open {
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    }
    drop(open);
    proxy.wait_base();
    let deadline = Instant::now() + PATIENCE;
    while proxy.descriptors() > base + 4 {
        assert!(
            Instant::now() < deadline,
            "{base} descriptors became {}",
            proxy.descriptors()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn more_half_open_connections_than_allowed_are_turned_away() {
    let proxy = plan()
        .listen("max_unauthenticated", "20")
        .listen("login_timeout", "2s")
        .start();
    let mut established = proxy.connect();
    let open: Vec<_> = (0..60)
        .map(|_| TcpStream::connect(("127.0.0.1", proxy.port)))
        .collect();
    assert_eq!(established.scalar("select 'served'"), "served");
    drop(open);
    let deadline = Instant::now() + PATIENCE;
    while proxy.login(&Login::new(ROLE, "app")).is_err() {
        assert!(Instant::now() < deadline, "logins never work again");
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(established);
    proxy.wait_base();
}

/// A client, when there is a place: one is free when all of its client is gone, which is a moment behind the last count.
fn admitted(proxy: &Proxy) -> Client {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match proxy.login(&Login::new(ROLE, "app")) {
            Ok(client) => return client,
            Err(error) => assert!(Instant::now() < deadline, "{error:?}"),
        }
    }
}

#[test]
fn more_clients_than_allowed_are_told_so() {
    let proxy = plan().section("limits: {clients: 5}").start();
    // Whoever looked whether it serves is gone.
    proxy.wait_base();
    let clients: Vec<Client> = (0..5).map(|_| admitted(&proxy)).collect();
    let refused = proxy.login(&Login::new(ROLE, "app"));
    assert_eq!(refused.err().expect("refused").sqlstate(), "53300");
    drop(clients);
    assert_eq!(admitted(&proxy).scalar("select 1"), "1");
}

#[test]
fn a_client_that_stops_reading_costs_no_memory_and_disturbs_nobody() {
    let mut proxy = plan().size(2).start();
    let mut other = proxy.connect();
    other.run("select 1");
    let base = proxy.resident();
    let mut client = proxy.connect();
    client.send(&query(
        "select repeat('x', 2000) from generate_series(1, 100000)",
    ));
    client.expect(b'T');
    let mut peak = 0;
    for _ in 0..200 {
        undisturbed(&mut proxy, &mut other);
        peak = peak.max(proxy.resident());
    }
    let grown = peak.saturating_sub(base) / MIB;
    assert!(grown < 16, "grew by {grown} MiB");
    // It reads on, and gets everything.
    let rows = client
        .until_ready()
        .iter()
        .filter(|frame| frame.tag == b'D')
        .count();
    assert_eq!(rows, 100_000);
    client.send(&query(
        "select repeat('x', 2000) from generate_series(1, 100000)",
    ));
    client.expect(b'T');
    drop(client);
    undisturbed(&mut proxy, &mut other);
    drop(other);
    proxy.wait_base();
}

#[test]
fn one_huge_row_passes_in_bounded_memory() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    client.run("select 1");
    let base = proxy.resident();
    client.send(&query("select repeat('x', 200000000)"));
    client.expect(b'T');
    let mut peak = 0;
    let mut received = 0;
    while received < 200_000_000 {
        received += client.bytes().expect("bytes").len();
        peak = peak.max(proxy.resident());
    }
    let grown = peak.saturating_sub(base) / MIB;
    assert!(grown < 16, "grew by {grown} MiB");
}

// ---- hostile upstreams --------------------------------------------------------------------------

/// A client's query meets `act`; what the client gets must be an error, once, and an end.
fn meets(
    name: &str,
    act: impl Fn(&mut Conversation) -> std::io::Result<()> + Send + Sync + 'static,
) {
    let upstream = Upstream::start(move |conversation| {
        conversation.serve_until("hostile")?;
        act(conversation)?;
        conversation.wait_closed()
    });
    let mut proxy = plan().size(2).endpoint(&upstream.endpoint()).start();
    let mut other = proxy.connect();
    for extended in [false, true] {
        let mut client = proxy.connect();
        if extended {
            // The trigger is a simple query; what is pipelined behind it must not confuse anybody.
            let behind = [
                parse("", "select 1", &[]),
                bind_text("", "", &[]),
                execute("", 0),
                sync(),
            ];
            client.send(&[query("select 'hostile'"), behind.concat()].concat());
        } else {
            client.send(&query("select 'hostile'"));
        }
        let errors = errors_to_the_end(&mut client);
        assert!(errors <= 1, "{name}: {errors} errors");
        assert_eq!(
            tags(&other.query("select 1")),
            "CZ",
            "{name}: somebody else is disturbed"
        );
    }
    assert!(proxy.alive(), "{name}");
    let logged = proxy.log.wait_for("upstream", 1);
    assert!(!logged.is_empty(), "{name}");
    drop(other);
    proxy.wait_base();
}

#[test]
fn an_upstream_that_sends_garbage() {
    meets("zeroes", |conversation| conversation.send(&[0; 64]));
    meets("text", |conversation| {
        conversation.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    });
    let mut bytes = vec![0; 4096];
    StdRng::seed_from_u64(seed()).fill_bytes(&mut bytes);
    meets("noise", move |conversation| conversation.send(&bytes));
}

#[test]
fn an_upstream_that_lies_about_lengths() {
    for length in [0u32, 3, 0x7fff_ffff, 0xffff_ffff] {
        let frame = [&b"D"[..], &length.to_be_bytes()].concat();
        meets("a row", move |conversation| {
            conversation.send(&one_column())?;
            conversation.send(&frame)?;
            conversation.close()
        });
    }
    meets("ReadyForQuery with a long body", |conversation| {
        conversation.send(&message(b'Z', b"IIII"))?;
        conversation.close()
    });
    meets("CommandComplete without its end", |conversation| {
        conversation.send(&message(b'C', b""))?;
        conversation.close()
    });
}

#[test]
fn an_upstream_that_answers_out_of_turn() {
    for (name, frame) in [
        ("ParseComplete", message(b'1', b"")),
        ("BindComplete", message(b'2', b"")),
        ("CopyInResponse twice", message(b'G', b"\0\0\0").repeat(2)),
        ("an unknown type", message(b'~', b"what")),
        ("authentication", message(b'R', &[0; 4])),
        ("a status of its own", message(b'Z', b"X")),
        ("portal suspended", message(b's', b"")),
    ] {
        meets(name, move |conversation| {
            conversation.send(&frame)?;
            conversation.close()
        });
    }
}

#[test]
fn an_upstream_that_says_ready_twice_is_not_used_again() {
    let upstream = Upstream::start(|conversation| {
        conversation.serve_until("twice")?;
        let answer = [message(b'C', b"SELECT 0\0"), message(b'Z', b"I").repeat(2)].concat();
        conversation.send(&answer)?;
        conversation.serve()
    });
    let mut proxy = plan().size(1).endpoint(&upstream.endpoint()).start();
    let mut client = proxy.connect();
    client.send(&query("select 'twice'"));
    // The client may get its answer or an end; nobody may get an answer too many.
    let _ = client.frame();
    for _ in 0..5 {
        let mut other = proxy.connect();
        for _ in 0..3 {
            assert_eq!(tags(&other.query("select 1")), "CZ");
        }
        other.terminate();
    }
    assert!(proxy.alive());
}

#[test]
fn an_upstream_that_closes_at_any_byte_of_a_result() {
    let result = [
        one_column(),
        row(b"value"),
        message(b'C', b"SELECT 1\0"),
        message(b'Z', b"I"),
    ]
    .concat();
    let cut = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let (whole, at) = (result.clone(), Arc::clone(&cut));
    let upstream = Upstream::start(move |conversation| {
        conversation.serve_until("cut")?;
        conversation.send(&whole[..at.load(Ordering::SeqCst)])?;
        conversation.close()
    });
    let mut proxy = plan().size(1).endpoint(&upstream.endpoint()).start();
    for length in 0..result.len() {
        cut.store(length, Ordering::SeqCst);
        let mut client = proxy.connect();
        client.send(&query("select 'cut'"));
        let errors = errors_to_the_end(&mut client);
        assert!(errors <= 1, "cut after {length} bytes: {errors} errors");
    }
    assert_eq!(tags(&proxy.connect().query("select 1")), "CZ");
    assert!(proxy.alive());
    proxy.wait_base();
}

#[test]
fn a_lost_connection_is_of_unknown_outcome_when_it_may_have_written() {
    let upstream = Upstream::start(|conversation| {
        conversation.serve_until("cut")?;
        conversation.close()
    });
    let proxy = plan().size(1).endpoint(&upstream.endpoint()).start();
    for (text, sqlstate) in [
        ("select 'cut'", "08006"),
        ("select 'cut' as c into t", "08007"),
        ("insert into t values ('cut')", "08007"),
    ] {
        let mut client = proxy.connect();
        client.send(&query(text));
        assert_eq!(client.expect(b'E').sqlstate(), sqlstate, "{text}");
    }
}

#[test]
fn an_upstream_that_never_answers_can_be_cancelled_and_left() {
    let upstream = Upstream::start(|conversation| {
        conversation.serve_until("silence")?;
        conversation.wait_closed()
    });
    let proxy = plan()
        .size(1)
        .pool("wait_timeout", "300ms")
        .endpoint(&upstream.endpoint())
        .start();
    let mut client = proxy.connect();
    client.send(&query("select 'silence'"));
    let mut other = proxy.connect();
    assert_eq!(other.sqlstate("select 1"), "53300");
    // Its cancel is passed on and changes nothing; leaving does.
    client.cancel();
    drop(client);
    let deadline = Instant::now() + PATIENCE;
    while tags(&other.query("select 1")) != "CZ" {
        assert!(Instant::now() < deadline, "the pool never recovers");
    }
    drop(other);
    proxy.wait_base();
}

/// Logins meet `act` until the server mends its ways.
fn login_meets(
    name: &str,
    act: impl Fn(&mut Conversation) -> std::io::Result<()> + Send + Sync + 'static,
) {
    let mended = Arc::new(AtomicBool::new(false));
    let good = Arc::clone(&mended);
    let upstream = Upstream::start_raw(move |conversation| {
        if good.load(Ordering::SeqCst) {
            conversation.greet()?;
            return conversation.serve();
        }
        conversation.take_startup()?;
        act(conversation)?;
        conversation.wait_closed()
    });
    let mut proxy = plan()
        .size(2)
        .pool("connect_timeout", "500ms")
        .pool("wait_timeout", "1s")
        .endpoint(&upstream.endpoint())
        .start();
    let began = Instant::now();
    match proxy.login(&Login::new(ROLE, "app")) {
        Err(refused) => assert!(!refused.sqlstate().is_empty(), "{name}"),
        Ok(mut client) => {
            client.send(&query("select 1"));
            let frames = client.until(b'E');
            assert!(
                !frames.last().expect("messages").sqlstate().is_empty(),
                "{name}"
            );
        }
    }
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "{name}: {:?}",
        began.elapsed()
    );
    assert!(proxy.alive(), "{name}");
    assert!(proxy.log.len() > 0, "{name}: nothing is logged");
    mended.store(true, Ordering::SeqCst);
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Ok(mut client) = proxy.login(&Login::new(ROLE, "app"))
            && tags(&client.query("select 1")) == "CZ"
        {
            break;
        }
        assert!(Instant::now() < deadline, "{name}: never connects again");
    }
    proxy.wait_base();
}

#[test]
fn a3_upstreams_that_are_hostile_at_login() {
    login_meets("silence", |_| Ok(()));
    login_meets("closed", |conversation| conversation.close());
    login_meets("garbage", |conversation| conversation.send(&[0xff; 100]));
    login_meets("an error without SQLSTATE", |conversation| {
        conversation.send(&message(b'E', b"SFATAL\0Mno\0\0"))?;
        conversation.close()
    });
    login_meets("an empty error", |conversation| {
        conversation.send(&message(b'E', b""))?;
        conversation.close()
    });
    login_meets("an unknown method", |conversation| {
        conversation.send(&message(b'R', &99u32.to_be_bytes()))
    });
    login_meets("a short method", |conversation| {
        conversation.send(&message(b'R', &[0, 0]))
    });
    login_meets("SCRAM with a long nonce", |conversation| {
        conversation.send(&message(
            b'R',
            &[&10u32.to_be_bytes()[..], b"SCRAM-SHA-256\0\0"].concat(),
        ))?;
        conversation.frame()?;
        let first = format!("r={},s=c2FsdA==,i=4096", "n".repeat(200_000));
        conversation.send(&message(
            b'R',
            &[&11u32.to_be_bytes()[..], first.as_bytes()].concat(),
        ))
    });
    login_meets("SCRAM with endless iterations", |conversation| {
        conversation.send(&message(
            b'R',
            &[&10u32.to_be_bytes()[..], b"SCRAM-SHA-256\0\0"].concat(),
        ))?;
        let first = conversation.frame()?;
        let text = String::from_utf8_lossy(&first.body).into_owned();
        let nonce = text.rsplit("r=").next().unwrap_or_default().to_owned();
        let answer = format!("r={nonce}x,s=c2FsdA==,i=4294967295");
        conversation.send(&message(
            b'R',
            &[&11u32.to_be_bytes()[..], answer.as_bytes()].concat(),
        ))
    });
    login_meets("a key that is too short", |conversation| {
        conversation.send(
            &[
                message(b'R', &[0; 4]),
                message(b'K', &[1]),
                message(b'Z', b"I"),
            ]
            .concat(),
        )
    });
    login_meets("parameters without end", |conversation| {
        conversation.send(&message(b'R', &[0; 4]))?;
        let parameter = message(b'S', format!("n\0{}\0", "v".repeat(9000)).as_bytes());
        // Until the proxy has enough of it.
        while conversation.send(&parameter).is_ok() {}
        Ok(())
    });
}
