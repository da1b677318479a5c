//! Connects to scripted servers over sockets.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::fake::{
    DSQL, Identity, accept, accept_tls, dsql, error, listen, message, password, plain, request,
    say, startup, welcome,
};
use crate::config::{Cluster, Secret, UpstreamTls};
use crate::upstream::{Backend, Backoff, ConnectError, Stage, Target, connect};
use crate::wire::startup::Startup;

fn target(cluster: &Cluster) -> Target {
    Target::new(cluster, "postgres").expect("target")
}

fn failure(result: Result<Backend, ConnectError>) -> ConnectError {
    result.expect_err("the connect must fail")
}

#[tokio::test]
async fn a_login_takes_nothing_behind_ready_for_query() {
    let (listener, address) = listen().await;
    let mut cluster = plain(&address);
    cluster.tls = Some(UpstreamTls::Disable);
    let target = target(&cluster);
    let notice = message(b'N', b"SNOTICE\0Mlater\0\0");
    let server = async {
        let mut socket = accept(&listener).await;
        let said = startup(&mut socket).await;
        say(&mut socket, &[welcome(), notice.clone()].concat()).await;
        (socket, said)
    };
    let (backend, (_socket, said)) = tokio::join!(connect(&target), server);
    let mut backend = backend.expect("connected");
    assert_eq!((backend.pid, backend.key.as_slice()), (7, &b"1234"[..]));
    let version = ("server_version".to_owned(), "16.15".to_owned());
    assert_eq!(backend.parameters, [version]);
    let mut rest = vec![0; notice.len()];
    backend.stream.read_exact(&mut rest).await.expect("rest");
    assert_eq!(rest, notice);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let parameters = vec![pair("user", "admin"), pair("database", "postgres")];
    assert_eq!(
        said,
        Startup::Start {
            minor: 0,
            parameters
        }
    );
}

#[tokio::test]
async fn dsql_gets_a_token_inside_verified_tls_with_sni() {
    let identity = Identity::new();
    let acceptor = identity.acceptor(&[]);
    for (user, action) in [("admin", "DbConnectAdmin"), ("app", "DbConnect")] {
        let (listener, address) = listen().await;
        let mut cluster = dsql(&address, &identity);
        cluster.user.0 = user.to_owned();
        let target = target(&cluster);
        let server = async {
            let (mut stream, name) = accept_tls(&listener, &acceptor).await.expect("TLS");
            let said = startup(&mut stream).await;
            say(&mut stream, &request(3, b"")).await;
            let token = String::from_utf8(password(&mut stream).await).expect("text");
            say(&mut stream, &welcome()).await;
            (stream, name, said, token)
        };
        let (backend, (_stream, name, said, token)) = tokio::join!(connect(&target), server);
        assert!(backend.expect("connected").stream.is_tls());
        assert_eq!(name.as_deref(), Some(DSQL));
        let start = format!("{DSQL}/?Action={action}&X-Amz-Algorithm=AWS4-HMAC-SHA256");
        assert!(
            token.starts_with(&start) && token.ends_with('\0'),
            "{action}"
        );
        let Startup::Start { parameters, .. } = said else {
            panic!("not a startup message: {said:?}");
        };
        let names: Vec<_> = parameters.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["user", "database", "application_name"]);
    }
}

/// Runs one connect against a DSQL that refuses with these HINTs, one after the other, then
/// accepts; gives the outcome and how often it was asked.
async fn refusing(hints: &[&str]) -> (Result<Backend, ConnectError>, usize) {
    let identity = Identity::new();
    let acceptor = identity.acceptor(&[]);
    let (listener, address) = listen().await;
    let target = target(&dsql(&address, &identity));
    let mut asked = 0;
    let server = async {
        let mut streams = Vec::new();
        loop {
            let (mut stream, _) = accept_tls(&listener, &acceptor).await.expect("TLS");
            startup(&mut stream).await;
            say(&mut stream, &request(3, b"")).await;
            let token = password(&mut stream).await;
            let answer = match hints.get(asked) {
                Some(hint) => {
                    let token = String::from_utf8_lossy(&token[..token.len() - 1]).into_owned();
                    let text = "unable to accept connection, access denied";
                    error("08006", text, &format!("{hint} {token}"))
                }
                None => welcome(),
            };
            asked += 1;
            say(&mut stream, &answer).await;
            streams.push(stream);
        }
    };
    let result = tokio::select! {
        biased;
        result = connect(&target) => result,
        () = server => unreachable!("the server goes on for ever"),
    };
    (result, asked)
}

#[tokio::test]
async fn a14_an_expired_token_is_replaced_once() {
    let (result, asked) = refusing(&["Signature expired: a"]).await;
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(asked, 2);

    let (result, asked) = refusing(&["Signature expired: a", "Signature expired: b"]).await;
    let error = failure(result);
    assert_eq!((asked, error.backoff()), (2, Backoff::Denied));
    assert!(error.to_string().contains("clock"), "{error}");
    assert!(
        error.to_string().contains("Signature expired: b <secret>"),
        "{error}"
    );
    assert!(!format!("{error:?}").contains("X-Amz-Signature"));
    assert_eq!(error.client_error().code, "57P03");
}

#[tokio::test]
async fn a14_another_refusal_is_final() {
    let (result, asked) = refusing(&["Wrong user to action mapping."]).await;
    let error = failure(result);
    assert_eq!((asked, error.backoff()), (1, Backoff::Denied));
    let told = error.client_error();
    assert_eq!(told.code, "57P03");
    assert!(!format!("{told:?}").contains("mapping"), "{told:?}");
}

#[tokio::test]
async fn a_token_is_sent_as_cleartext_only() {
    let identity = Identity::new();
    let acceptor = identity.acceptor(&[]);
    for asked in [request(5, b"salt"), request(10, b"SCRAM-SHA-256\0\0")] {
        let (listener, address) = listen().await;
        let target = target(&dsql(&address, &identity));
        let server = async {
            let (mut stream, _) = accept_tls(&listener, &acceptor).await.expect("TLS");
            startup(&mut stream).await;
            say(&mut stream, &asked).await;
            let mut rest = Vec::new();
            // A close without notice is an end too.
            let _ = stream.read_to_end(&mut rest).await;
            rest
        };
        let (result, rest) = tokio::join!(connect(&target), server);
        assert_eq!(failure(result).backoff(), Backoff::Broken);
        assert_eq!(rest, b"");
    }
}

#[tokio::test]
async fn certificates_are_checked_where_they_must_be() {
    let (right, other) = (Identity::new(), Identity::new());
    type Change = fn(&mut Cluster);
    let full: Change = |c| c.tls = Some(UpstreamTls::VerifyFull);
    let wrong_name: Change = |c| {
        c.tls = Some(UpstreamTls::VerifyFull);
        c.endpoint.0 = "elsewhere".to_owned();
    };
    let require: Change = |c| {
        c.tls = Some(UpstreamTls::Require);
        c.ca_file = None;
    };
    let prefer: Change = |c| c.ca_file = None;
    let cases: &[(&str, Change, &Identity, bool)] = &[
        ("verify-full, right CA", full, &right, true),
        ("verify-full, other CA", full, &other, false),
        ("verify-full, other name", wrong_name, &right, false),
        ("require, nothing known", require, &right, true),
        ("prefer, nothing known", prefer, &right, true),
    ];
    let acceptor = right.acceptor(&[]);
    for (name, change, trusted, good) in cases {
        let (listener, address) = listen().await;
        let mut cluster = plain(&address);
        cluster.ca_file = Some(trusted.ca_file());
        change(&mut cluster);
        let target = target(&cluster);
        let server = async {
            let (mut stream, _) = accept_tls(&listener, &acceptor).await.ok()?;
            startup(&mut stream).await;
            say(&mut stream, &welcome()).await;
            Some(stream)
        };
        let (result, _stream) = tokio::join!(connect(&target), server);
        if *good {
            assert!(result.expect(name).stream.is_tls(), "{name}");
        } else {
            let error = failure(result);
            assert!(
                matches!(error, ConnectError::Tls { .. }),
                "{name}: {error:?}"
            );
            assert_eq!(error.backoff(), Backoff::Denied, "{name}: {error}");
        }
    }
    let (listener, address) = listen().await;
    let mut cluster = dsql(&address, &other);
    cluster.tls = Some(UpstreamTls::Disable);
    let target = target(&cluster);
    let (result, _) = tokio::join!(connect(&target), accept_tls(&listener, &acceptor));
    let error = failure(result);
    assert!(
        matches!(error, ConnectError::Tls { .. }),
        "dsql is always verified: {error:?}"
    );
}

#[tokio::test]
async fn direct_tls_needs_its_alpn() {
    let identity = Identity::new();
    for (alpn, good) in [
        (&["postgresql"][..], true),
        (&[][..], false),
        (&["h2"][..], false),
    ] {
        let acceptor = identity.acceptor(alpn);
        let (listener, address) = listen().await;
        let mut cluster = dsql(&address, &identity);
        cluster.direct_tls = true;
        let target = target(&cluster);
        let server = async {
            let mut stream = acceptor.accept(accept(&listener).await).await.ok()?;
            // A client that is content with the handshake goes on; others are gone.
            let mut first = [0; 4];
            stream.read_exact(&mut first).await.ok()?;
            let mut rest = vec![0; u32::from_be_bytes(first) as usize - 4];
            stream.read_exact(&mut rest).await.ok()?;
            say(&mut stream, &welcome()).await;
            Some(stream)
        };
        let (result, _stream) = tokio::join!(connect(&target), server);
        match good {
            true => drop(result.expect("connected")),
            false => assert_eq!(failure(result).backoff(), Backoff::Broken, "{alpn:?}"),
        }
    }
}

#[tokio::test]
async fn answers_to_ssl_request() {
    let cases: &[(&[u8], UpstreamTls, Option<Backoff>)] = &[
        (b"N", UpstreamTls::Prefer, None),
        (b"N", UpstreamTls::Require, Some(Backoff::Denied)),
        (b"N", UpstreamTls::VerifyFull, Some(Backoff::Denied)),
        (b"E", UpstreamTls::Prefer, Some(Backoff::Broken)),
        (b"H", UpstreamTls::Prefer, Some(Backoff::Broken)),
        (b"", UpstreamTls::Prefer, Some(Backoff::Unreachable)),
        // Plaintext behind the S goes into the handshake, never into the login.
        (
            b"SR\0\0\0\x08\0\0\0\0",
            UpstreamTls::Require,
            Some(Backoff::Broken),
        ),
    ];
    for (answer, mode, expected) in cases {
        let (listener, address) = listen().await;
        let mut cluster = plain(&address);
        cluster.tls = Some(*mode);
        let target = target(&cluster);
        let server = async {
            let mut socket = accept(&listener).await;
            socket.read_exact(&mut [0; 8]).await.expect("request");
            say(&mut socket, answer).await;
            if expected.is_none() {
                startup(&mut socket).await;
                say(&mut socket, &welcome()).await;
            }
            let _ = socket.shutdown().await;
            socket
        };
        let (result, _socket) = tokio::join!(connect(&target), server);
        match expected {
            None => assert!(!result.expect("connected").stream.is_tls()),
            Some(backoff) => {
                let error = failure(result);
                assert_eq!(error.backoff(), *backoff, "{answer:?} {mode:?}: {error}");
            }
        }
    }
}

#[tokio::test]
async fn silence_ends_at_the_limit_and_says_where() {
    for (mode, stage) in [
        (UpstreamTls::Disable, Stage::Login),
        (UpstreamTls::Require, Stage::Tls),
    ] {
        let (listener, address) = listen().await;
        let mut cluster = plain(&address);
        cluster.tls = Some(mode);
        cluster.pool.connect_timeout = Duration::from_millis(50);
        let target = target(&cluster);
        let (result, _socket) = tokio::join!(connect(&target), accept(&listener));
        let error = failure(result);
        assert!(
            matches!(&error, ConnectError::Timeout { stage: found, .. } if *found == stage),
            "{error:?}"
        );
        assert_eq!(error.backoff(), Backoff::Unreachable);
        assert_eq!(error.client_error().code, "57P03");
    }
}

#[tokio::test]
async fn nobody_there() {
    let (listener, address) = listen().await;
    drop(listener);
    let error = failure(connect(&target(&plain(&address))).await);
    assert!(
        matches!(
            error,
            ConnectError::Io {
                stage: Stage::Connect,
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(error.backoff(), Backoff::Unreachable);
}

#[tokio::test]
async fn a9_long_passwords_and_missing_ones() {
    for length in [None, Some(4096), Some(60_000)] {
        let (listener, address) = listen().await;
        let mut cluster = plain(&address);
        cluster.tls = Some(UpstreamTls::Disable);
        cluster.password = length.map(|length| Secret("x".repeat(length)));
        let target = target(&cluster);
        let server = async {
            let mut socket = accept(&listener).await;
            startup(&mut socket).await;
            say(&mut socket, &request(3, b"")).await;
            if let Some(length) = length {
                assert_eq!(password(&mut socket).await.len(), length + 1);
                say(&mut socket, &welcome()).await;
            }
            socket
        };
        let (result, _socket) = tokio::join!(connect(&target), server);
        match length {
            Some(_) => drop(result.expect("connected")),
            None => assert!(matches!(failure(result), ConnectError::NoPassword { .. })),
        }
    }
}
