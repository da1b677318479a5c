//! Logins at servers that mean harm (or are no servers): one clear error, no panic, no hang.

use proptest::prelude::*;
use tokio::io::{AsyncWriteExt, DuplexStream};

use super::fake::{error, message, password, plain, request, say, startup, welcome};
use crate::config::Secret;
use crate::upstream::login::{Session, log_in};
use crate::upstream::target::Password;
use crate::upstream::{Backoff, ConnectError, Target};

type Outcome = Result<Session, ConnectError>;

fn target() -> Target {
    Target::new(&plain("127.0.0.1:1"), "postgres").expect("target")
}

fn secret() -> Password {
    Password::Configured(Secret("correct horse".to_owned()))
}

/// Runs `server` against a login on a pipe that holds `room` bytes.
async fn meet<F: Future>(room: usize, server: impl FnOnce(DuplexStream) -> F) -> Outcome {
    let (mut client, stream) = tokio::io::duplex(room);
    let (target, secret) = (target(), secret());
    let binding = Some(vec![1; 32]);
    let (outcome, _) = tokio::join!(
        log_in(&mut client, &target, &secret, binding),
        server(stream)
    );
    outcome
}

/// A server that says `bytes` whatever it hears, and then no more.
async fn deaf(bytes: &[u8]) -> Outcome {
    meet(1 << 20, |mut stream| async move {
        // The client may be gone by now.
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        stream
    })
    .await
}

#[tokio::test]
async fn a8_messages_in_pieces_of_one_byte() {
    let outcome = meet(1, |mut stream| async move {
        startup(&mut stream).await;
        say(&mut stream, &request(3, b"")).await;
        assert_eq!(password(&mut stream).await, b"correct horse\0");
        say(&mut stream, &welcome()).await;
        stream
    })
    .await;
    assert_eq!(outcome.expect("logged in").pid, 7);
}

#[tokio::test]
async fn a3_answers_of_hostile_servers() {
    let ok = || request(0, b"");
    let cases: Vec<(&str, Vec<u8>, Backoff, &str)> = vec![
        (
            "closed",
            vec![],
            Backoff::Unreachable,
            "closed the connection",
        ),
        (
            "http",
            b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
            Backoff::Broken,
            "not a message",
        ),
        (
            "length 0",
            b"R\0\0\0\0".to_vec(),
            Backoff::Broken,
            "not a message",
        ),
        (
            "length -1",
            b"R\xff\xff\xff\xff".to_vec(),
            Backoff::Broken,
            "not a message",
        ),
        (
            "2 GiB",
            b"R\x7f\xff\xff\xf0".to_vec(),
            Backoff::Broken,
            "more than a login",
        ),
        (
            "65 KiB",
            b"N\0\x01\0\0".to_vec(),
            Backoff::Broken,
            "more than a login",
        ),
        (
            "short request",
            message(b'R', b"\0\0"),
            Backoff::Broken,
            "too short",
        ),
        ("gss", request(7, b""), Backoff::Broken, "GSSAPI"),
        (
            "unknown method",
            request(99, b""),
            Backoff::Broken,
            "method 99",
        ),
        ("short salt", request(5, b"abc"), Backoff::Broken, "salt"),
        (
            "two methods",
            [request(3, b""), request(3, b"")].concat(),
            Backoff::Broken,
            "as well",
        ),
        (
            "no mechanism",
            request(10, b""),
            Backoff::Broken,
            "SASL mechanism",
        ),
        (
            "unknown mechanism",
            request(10, b"FOO\0\0"),
            Backoff::Broken,
            "SASL mechanism",
        ),
        (
            "continue first",
            request(11, b"r=a"),
            Backoff::Broken,
            "SASL",
        ),
        (
            "scram skipped",
            [request(10, b"SCRAM-SHA-256\0\0"), ok()].concat(),
            Backoff::Broken,
            "skipped",
        ),
        (
            "rows",
            [ok(), message(b'D', b"\0\0")].concat(),
            Backoff::Broken,
            "'D'",
        ),
        (
            "in a transaction",
            [ok(), message(b'Z', b"T")].concat(),
            Backoff::Broken,
            "not idle",
        ),
        (
            "odd status",
            [ok(), message(b'S', b"a\0b")].concat(),
            Backoff::Broken,
            "two strings",
        ),
        (
            "status not UTF-8",
            [ok(), message(b'S', b"a\0\xff\0")].concat(),
            Backoff::Broken,
            "two",
        ),
        (
            "short key",
            [ok(), message(b'K', b"\0\0\0\x01ab")].concat(),
            Backoff::Broken,
            "key",
        ),
        (
            "endless notices",
            [ok(), message(b'N', b"Mx\0\0").repeat(10_000)].concat(),
            Backoff::Broken,
            "more than a login",
        ),
        (
            "endless parameters",
            [
                ok(),
                message(b'S', &[&[b'a'; 60_000][..], b"\0b\0"].concat()).repeat(10),
            ]
            .concat(),
            Backoff::Broken,
            "more than a login",
        ),
        (
            "error without code",
            message(b'E', b"Mno\0\0"),
            Backoff::Unreachable,
            "no SQLSTATE no",
        ),
        (
            "error without fields",
            message(b'E', b""),
            Backoff::Unreachable,
            "no SQLSTATE",
        ),
        (
            "error cut off",
            message(b'E', b"C28"),
            Backoff::Unreachable,
            "no SQLSTATE",
        ),
        (
            "denied",
            error("28P01", "no", ""),
            Backoff::Denied,
            "28P01 no",
        ),
    ];
    for (name, bytes, backoff, words) in cases {
        let error = deaf(&bytes).await.expect_err(name);
        assert!(error.to_string().contains(words), "{name}: {error}");
        assert_eq!(error.backoff(), backoff, "{name}: {error}");
    }
}

/// A SCRAM server that answers the client's first message with what `challenge` makes of its nonce.
async fn scram(challenge: impl FnOnce(&str) -> String, last: Vec<u8>) -> Outcome {
    meet(1 << 20, |mut stream| async move {
        startup(&mut stream).await;
        say(
            &mut stream,
            &request(10, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"),
        )
        .await;
        let first = String::from_utf8(password(&mut stream).await).expect("text");
        assert!(first.starts_with("SCRAM-SHA-256-PLUS\0"), "{first:?}");
        let nonce = first.rsplit_once(",r=").expect("nonce").1;
        say(&mut stream, &request(11, challenge(nonce).as_bytes())).await;
        // Where the challenge was refused nobody is there to hear more.
        let _ = stream.write_all(&last).await;
        let _ = stream.shutdown().await;
        stream
    })
    .await
}

#[tokio::test]
async fn a3_scram_challenges_of_hostile_servers() {
    type Challenge = fn(&str) -> String;
    let good: Challenge = |nonce| format!("r={nonce}x,s=c2FsdA==,i=4096");
    let cases: Vec<(&str, Challenge, Vec<u8>, &str)> = vec![
        (
            "other nonce",
            |_| "r=abc,s=c2FsdA==,i=4096".to_owned(),
            vec![],
            "nonce",
        ),
        (
            "iterations",
            |n| format!("r={n}x,s=c2FsdA==,i=4000000000"),
            vec![],
            "iteration count",
        ),
        (
            "iterations",
            |n| format!("r={n}x,s=c2FsdA==,i=99999999999"),
            vec![],
            "SCRAM",
        ),
        ("no salt", |n| format!("r={n}x,s=!,i=1"), vec![], "SCRAM"),
        ("empty", |_| String::new(), vec![], "SCRAM"),
        (
            "long nonce",
            |n| format!("r={n}{},s=c2FsdA==,i=1", "x".repeat(65_000)),
            vec![],
            "closed",
        ),
        (
            "longer nonce",
            |n| format!("r={n}{}", "x".repeat(70_000)),
            vec![],
            "more than a login",
        ),
        ("no proof", good, request(0, b""), "skipped"),
        (
            "wrong proof",
            good,
            request(12, b"v=AAAA"),
            "SCRAM verification",
        ),
        ("error", good, request(12, b"e=other-error"), "SCRAM error"),
        ("again", good, request(11, b"r=a"), "in the middle"),
    ];
    for (name, challenge, last, words) in cases {
        let last = match last.as_slice() {
            [] => last,
            // A client that let it pass would be logged in.
            some => [some, &welcome()].concat(),
        };
        let error = scram(challenge, last).await.expect_err(name);
        let said = error.to_string();
        assert!(said.contains(words), "{name}: {error}");
        assert!(!said.contains("correct horse"));
    }
}

#[tokio::test]
async fn mechanisms_are_chosen_by_what_both_can() {
    type Case = (&'static [u8], Option<Vec<u8>>, &'static str);
    let cases: &[Case] = &[
        (
            b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0",
            Some(vec![1]),
            "SCRAM-SHA-256-PLUS p=",
        ),
        (
            b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0",
            None,
            "SCRAM-SHA-256 n,,",
        ),
        (b"SCRAM-SHA-256\0\0", Some(vec![1]), "SCRAM-SHA-256 y,,"),
        (b"FOO\0SCRAM-SHA-256\0\0", None, "SCRAM-SHA-256 n,,"),
    ];
    for (offer, binding, expected) in cases {
        let (mut client, mut stream) = tokio::io::duplex(1 << 16);
        let (target, secret) = (target(), secret());
        let server = async {
            startup(&mut stream).await;
            say(&mut stream, &request(10, offer)).await;
            let first = password(&mut stream).await;
            drop(stream);
            first
        };
        let (_, first) = tokio::join!(
            log_in(&mut client, &target, &secret, binding.clone()),
            server
        );
        let (name, rest) = first.split_at(first.iter().position(|b| *b == 0).expect("name"));
        let said = [name, b" ", &rest[5..]].concat();
        assert!(
            said.starts_with(expected.as_bytes()),
            "{:?}",
            String::from_utf8_lossy(&said)
        );
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("runtime").block_on(future)
}

fn logins() -> impl Strategy<Value = Vec<u8>> {
    let auth = prop_oneof![
        Just(request(0, b"")),
        Just([request(3, b""), request(0, b"")].concat()),
        Just([request(5, b"salt"), request(0, b"")].concat()),
        Just(
            [
                request(10, b"SCRAM-SHA-256\0\0"),
                request(11, b"r=x,s=eA==,i=1")
            ]
            .concat()
        ),
    ];
    let tail = prop::collection::vec(
        prop_oneof![
            Just(message(b'S', b"a\0b\0")),
            Just(message(b'K', b"\0\0\0\x071234")),
            Just(message(b'N', b"Mx\0\0")),
            Just(error("57P03", "starting up", "")),
            Just(message(b'Z', b"I")),
        ],
        0..6,
    );
    (auth, tail).prop_map(|(auth, tail)| [auth, tail.concat()].concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

    #[test]
    fn a3_random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        // Chance does not speak the protocol through to its end.
        prop_assert!(block_on(deaf(&bytes)).is_err());
    }

    #[test]
    fn a3_damaged_logins(
        mut bytes in logins(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
        whole in any::<bool>(),
    ) {
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if !whole {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(session) = block_on(deaf(&bytes)) {
            prop_assert!(session.key.is_empty() || session.key.len() >= 4);
        }
    }
}
