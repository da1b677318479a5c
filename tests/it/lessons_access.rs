//! Numbered cases, group A: startup, TLS, login.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::client::{Client, Login, LoginError, PATIENCE, tags};
use crate::message::{gss_request, message, query, ssl_request, startup, untyped};
use crate::postgres::ROLE;
use crate::proxy::{Proxy, plan, verifier, verifier_of};
use crate::upstream::{Upstream, error};

fn parameters() -> Vec<(String, String)> {
    [("user", ROLE), ("database", "app")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
}

fn refused(result: Result<Client, LoginError>) -> crate::message::Frame {
    match result {
        Err(LoginError::Refused(frame)) => frame,
        Err(LoginError::Io(error)) => panic!("no answer but {error}"),
        Ok(_) => panic!("let in"),
    }
}

#[test]
fn a1_bytes_behind_sslrequest_end_the_connection() {
    let proxy = plan().tls().start();
    for smuggled in [startup(0, &parameters()), vec![0x16], query("select 1")] {
        let mut client = proxy.open();
        client.send(&[ssl_request(), smuggled].concat());
        let mut answer = Vec::new();
        let mut socket = client.socket();
        let _ = socket.read_to_end(&mut answer);
        assert!(
            answer.is_empty() || answer == b"S" || answer[0] == b'E' || answer[1..2] == [b'E'],
            "answered {}",
            answer.escape_ascii()
        );
    }
    assert_eq!(
        proxy
            .login(&proxy.tls_login())
            .expect("login")
            .scalar("select 1"),
        "1"
    );
}

#[test]
fn a2_impossible_startup_lengths_are_refused_at_once() {
    let proxy = plan().start();
    for length in [0u32, 3, 4, 7, 10_001, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] {
        let mut client = proxy.open();
        client.send(&[&length.to_be_bytes()[..], &[0, 3, 0, 0, 0]].concat());
        let frames = client.until_closed().expect("an end without waiting");
        assert!(frames.len() <= 1, "length {length}");
    }
    proxy.wait_base();
}

#[test]
fn a5_credentials_that_expired_are_refused_like_wrong_ones() {
    let proxy = plan()
        .user(&format!(
            "name: old, password: \"{}\", valid_until: \"2020-01-01T00:00:00Z\"",
            verifier("old")
        ))
        .user(&format!(
            "name: new, password: \"{}\", valid_until: \"2999-01-01T00:00:00Z\"",
            verifier("new")
        ))
        .start();
    assert_eq!(
        refused(proxy.login(&Login::new("old", "app"))).sqlstate(),
        "28P01"
    );
    assert!(proxy.login(&Login::new("new", "app")).is_ok());
}

#[test]
fn a8_a_startup_packet_may_come_byte_by_byte() {
    let proxy = plan().start();
    let login = Login::new(ROLE, "app");
    let mut client = proxy.open();
    for byte in startup(0, &parameters()) {
        client.send(&[byte]);
        std::thread::yield_now();
    }
    client.authenticate(&login).expect("login");
    assert_eq!(client.scalar("select 1"), "1");
    // Everything in one write, the query behind the password not yet: that needs the exchange.
    let mut client = proxy.open();
    client.send(&startup(0, &parameters()));
    client.authenticate(&login).expect("login");
    assert_eq!(client.scalar("select 2"), "2");
}

#[test]
fn a9_passwords_of_four_kibibytes_are_taken() {
    let long = "p".repeat(4096);
    let proxy = plan()
        .tls()
        .section("auth: {cleartext: true}")
        .user(&format!("name: long, password: \"{long}\""))
        .start();
    let login = Login::new("long", "app").password(&long);
    assert_eq!(proxy.login(&login).expect("login").scalar("select 1"), "1");
    let mut tls = login.clone();
    tls.tls = Some(proxy.tls_config());
    assert_eq!(proxy.login(&tls).expect("login").scalar("select 1"), "1");
    let wrong = Login::new("long", "app").password(&long[1..]);
    assert_eq!(refused(proxy.login(&wrong)).sqlstate(), "28P01");
}

#[test]
fn a10_half_open_connections_are_closed_at_the_deadline() {
    let proxy = plan().tls().listen("login_timeout", "500ms").start();
    let packet = startup(0, &parameters());
    let mut sockets: Vec<Client> = Vec::new();
    for bytes in [
        Vec::new(),
        packet[..3].to_vec(),
        packet[..20].to_vec(),
        packet.clone(),
        ssl_request(),
    ] {
        let mut client = proxy.open();
        client.send(&bytes);
        sockets.push(client);
    }
    let began = Instant::now();
    for client in &mut sockets {
        let mut rest = Vec::new();
        let mut socket = client.socket();
        let _ = socket.read_to_end(&mut rest);
    }
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "closed after {:?}",
        began.elapsed()
    );
    assert_eq!(
        proxy
            .login(&Login::new(ROLE, "app"))
            .expect("login")
            .scalar("select 1"),
        "1"
    );
    proxy.wait_base();
}

#[test]
fn a11_a_flood_of_logins_leaves_queries_fast() {
    let slow = verifier_of("slow", 20_000);
    let proxy = plan()
        .section("auth: {max_failures: 100000}")
        .user(&format!("name: slow, password: \"{slow}\""))
        .start();
    let mut client = proxy.connect();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    let _ = proxy.login(&Login::new("slow", "app").password("wrong"));
                }
            });
        }
        let mut slowest = Duration::ZERO;
        for _ in 0..200 {
            let began = Instant::now();
            assert_eq!(client.scalar("select 1"), "1");
            slowest = slowest.max(began.elapsed());
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(slowest < Duration::from_secs(1), "a query took {slowest:?}");
    });
}

#[test]
fn a12_running_out_of_descriptors_is_survived() {
    let proxy = plan().size(2).descriptors(64).start();
    let mut client = proxy.connect();
    client.run("select 1");
    let flood: Vec<_> = (0..150)
        .map(|_| TcpStream::connect(("127.0.0.1", proxy.port)))
        .collect();
    assert_eq!(client.scalar("select 'served'"), "served");
    drop(flood);
    let deadline = Instant::now() + PATIENCE;
    loop {
        // While the flood drains a login may still be refused.
        if proxy.login(&Login::new(ROLE, "app")).is_ok() {
            break;
        }
        assert!(Instant::now() < deadline, "logins never work again");
    }
    assert_eq!(client.scalar("select 'still'"), "still");
}

#[test]
fn a13_a_server_that_starts_up_kills_no_waiting_client() {
    let upstream = Upstream::start_raw(|conversation| {
        if conversation.number < 3 {
            conversation.take_startup()?;
            return conversation.send(&error(
                "FATAL",
                "57P03",
                "the database system is starting up",
            ));
        }
        conversation.greet()?;
        conversation.serve()
    });
    let proxy = plan().size(1).endpoint(&upstream.endpoint()).start();
    let mut clients: Vec<Client> = (0..5).map(|_| proxy.connect()).collect();
    clients
        .iter_mut()
        .for_each(|client| client.send(&query("select 1")));
    clients
        .iter_mut()
        .for_each(|client| assert_eq!(tags(&client.until_ready()), "CZ"));
}

#[test]
fn a17_unknown_users_databases_and_wrong_passwords_look_the_same() {
    let proxy = plan().section("auth: {max_failures: 100000}").start();
    let attempts = [
        Login::new(ROLE, "app").password("wrong"),
        Login::new("nobody", "app"),
        Login::new("nobody", "nowhere"),
        Login::new(ROLE, "nowhere").password("wrong"),
    ];
    let mut answers = Vec::new();
    for login in &attempts {
        let frame = refused(proxy.login(login));
        assert_eq!(frame.sqlstate(), "28P01");
        let text = frame.field(b'M').expect("a message");
        answers.push(text.replace(&login.user, "<user>"));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
}

#[test]
fn a17_the_first_challenge_does_not_tell_users_apart() {
    let proxy = plan().start();
    let challenge = |user: &str| {
        let mut client = proxy.open();
        let named =
            [("user", user), ("database", "app")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        client.send(&startup(0, &named));
        let offered = client.expect(b'R');
        client.send(&message(
            b'p',
            &[b"SCRAM-SHA-256\0\0\0\0\x0f", &b"n,,n=,r=abcdefg"[..]].concat(),
        ));
        let first = client.expect(b'R');
        let text = String::from_utf8_lossy(&first.body[4..]).into_owned();
        let salt = text
            .split(',')
            .find(|part| part.starts_with("s="))
            .expect("a salt")
            .to_owned();
        (offered, salt)
    };
    let (known, unknown) = (challenge(ROLE), challenge("nobody"));
    assert_eq!(known.0, unknown.0, "the same mechanisms");
    assert_eq!(
        challenge("nobody").1,
        unknown.1,
        "an unknown user's salt is stable"
    );
    assert_ne!(challenge("nobody else").1, unknown.1);
}

#[test]
fn a19_gss_then_ssl_then_startup() {
    let proxy = plan().tls().start();
    let mut client = proxy.open();
    client.send(&gss_request());
    let mut answer = [0];
    let mut socket = client.socket();
    socket.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"N");
    client.start_tls(&proxy.tls_config(), false).expect("TLS");
    client.send(&startup(0, &parameters()));
    client
        .authenticate(&Login::new(ROLE, "app"))
        .expect("login");
    assert_eq!(client.scalar("select 1"), "1");
}

#[test]
fn a19_without_a_certificate_ssl_is_declined_and_plain_goes_on() {
    let proxy = plan().start();
    let mut client = proxy.open();
    for request in [ssl_request(), gss_request()] {
        client.send(&request);
        let mut answer = [0];
        let mut socket = client.socket();
        socket.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"N");
    }
    client.send(&startup(0, &parameters()));
    client
        .authenticate(&Login::new(ROLE, "app"))
        .expect("login");
    assert_eq!(client.scalar("select 1"), "1");
}

#[test]
fn a20_protocol_versions_are_negotiated() {
    let proxy = plan().size(1).start();
    for (minor, newest, key_length) in [(0, None, 4), (2, None, 32), (9999, Some(2), 32)] {
        let mut login = Login::new(ROLE, "app");
        login.minor = minor;
        let mut client = proxy.login(&login).expect("login");
        let negotiated: Vec<_> = client
            .greeting
            .iter()
            .filter(|frame| frame.tag == b'v')
            .cloned()
            .collect();
        match newest {
            None => assert!(negotiated.is_empty(), "3.{minor} needs no negotiation"),
            Some(newest) => {
                assert_eq!(negotiated.len(), 1);
                assert_eq!(
                    negotiated[0].body[..4],
                    ((3u32 << 16) | newest).to_be_bytes()
                );
            }
        }
        assert_eq!(client.key.len(), key_length, "3.{minor}");
        client.send(&query(
            "do $$ begin raise notice 'asleep'; perform pg_sleep(600); end $$",
        ));
        client.expect(b'N');
        client.cancel();
        assert_eq!(tags(&client.until_ready()), "EZ");
    }
    // Unknown options of the protocol are listed, not refused.
    let mut client = proxy
        .login(&Login::new(ROLE, "app").with("_pq_.unknown", "on"))
        .expect("login");
    let frame = client
        .greeting
        .iter()
        .find(|frame| frame.tag == b'v')
        .expect("NegotiateProtocolVersion");
    assert!(frame.body.ends_with(b"_pq_.unknown\0"));
    assert_eq!(client.scalar("select 1"), "1");
}

#[test]
fn a20_other_major_versions_are_refused() {
    let proxy = plan().start();
    for version in [(2u32 << 16), (4 << 16), 0, 1] {
        let mut client = proxy.open();
        client.send(&untyped(
            &[&version.to_be_bytes()[..], b"user\0app\0\0"].concat(),
        ));
        let frames = client.until_closed().expect("an end");
        assert_eq!(tags(&frames), "E", "version {version:#x}");
    }
}

#[test]
fn a21_bytes_that_are_not_utf8_pass_unchanged() {
    let proxy = plan().size(1).start();
    let mut client = proxy.connect();
    client.run("set client_encoding = 'LATIN1'");
    for _ in 0..2 {
        client.send(&query(b"select '\xe9', length('\xe9'), 1 as \"\xe4\""));
        let frames = client.until_ready();
        assert_eq!(frames[0].tag, b'T');
        assert!(frames[0].body.windows(2).any(|bytes| bytes == b"\xe4\0"));
        assert_eq!(frames[1].values()[0].as_deref(), Some(&b"\xe9"[..]));
        assert_eq!(frames[1].values()[1].as_deref(), Some(&b"1"[..]));
        proxy.connect().run("select 1");
    }
    // In UTF-8 the server refuses it, and the session goes on.
    let mut client = proxy.connect();
    client.send(&query(b"select '\xe9'"));
    assert_eq!(client.until_ready()[0].sqlstate(), "22021");
    assert_eq!(client.scalar("select 1"), "1");
}

#[test]
fn a22_tls_can_be_required_and_begin_at_the_first_byte() {
    let proxy = plan().tls_required().start();
    let frame = refused(proxy.login(&Login::new(ROLE, "app")));
    assert_eq!(frame.sqlstate(), "28000");
    let mut login = proxy.tls_login();
    assert_eq!(
        proxy
            .login(&login)
            .expect("login over TLS")
            .scalar("select 1"),
        "1"
    );
    login.direct_tls = true;
    assert_eq!(
        proxy
            .login(&login)
            .expect("login over direct TLS")
            .scalar("select 1"),
        "1"
    );
}

#[test]
fn a23_repeated_failures_are_throttled_for_one_user_only() {
    let proxy = plan()
        .section("auth: {max_failures: 3}")
        .user(&format!(
            "name: second, password: \"{}\"",
            verifier("second")
        ))
        .start();
    let mut held: Proxy = proxy;
    for _ in 0..6 {
        assert!(
            held.login(&Login::new("second", "app").password("wrong"))
                .is_err()
        );
    }
    let right = held.login(&Login::new("second", "app"));
    assert!(right.is_err(), "the right password comes too late");
    assert!(
        held.login(&Login::new(ROLE, "app")).is_ok(),
        "other users are not affected"
    );
    assert!(held.alive());
}

#[test]
fn a24_a_password_message_out_of_place_is_refused() {
    let proxy = plan().start();
    for wrong in [
        message(b'p', b""),
        message(b'p', b"SCRAM-SHA-256"),
        query("select 1"),
        message(b'p', &[0xff; 64]),
    ] {
        let mut client = proxy.open();
        client.send(&startup(0, &parameters()));
        client.expect(b'R');
        client.send(&wrong);
        let frames = client.until_closed().expect("an end");
        assert!(
            frames.len() == 1 && frames[0].tag == b'E',
            "{:?}",
            tags(&frames)
        );
    }
    let mut socket = TcpStream::connect(("127.0.0.1", proxy.port)).expect("a connection");
    socket.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("sent");
    let mut answer = Vec::new();
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let _ = socket.read_to_end(&mut answer);
    proxy.wait_base();
}
