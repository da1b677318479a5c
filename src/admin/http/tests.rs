use std::io::{Read as _, Write as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::*;

#[derive(Default)]
struct Fixture {
    reasons: Mutex<Vec<String>>,
    errors: Mutex<Vec<String>>,
    reloads: AtomicUsize,
    drains: AtomicUsize,
}

impl Operations for Fixture {
    fn ready(&self) -> Result<(), Vec<String>> {
        let reasons = self.reasons.lock().expect("not poisoned").clone();
        if reasons.is_empty() {
            Ok(())
        } else {
            Err(reasons)
        }
    }

    fn metrics(&self) -> String {
        "dsqlproxy_x 1\n".to_owned()
    }

    fn status(&self) -> serde_json::Value {
        json!({"clients": 3})
    }

    fn conflicts(&self, rows: usize) -> serde_json::Value {
        json!({"databases": {"app": {"analysed": 7, "rows": rows}}})
    }

    fn reload(&self) -> Result<Changes, Vec<String>> {
        self.reloads.fetch_add(1, Ordering::SeqCst);
        let errors = self.errors.lock().expect("not poisoned").clone();
        match errors.is_empty() {
            true => Ok(Changes {
                live: vec!["users.app changed".to_owned()],
                restart: vec!["workers changed".to_owned()],
            }),
            false => Err(errors),
        }
    }

    fn drain(&self) {
        self.drains.fetch_add(1, Ordering::SeqCst);
    }
}

fn start() -> (Server, Arc<Fixture>) {
    let fixture = Arc::new(Fixture::default());
    let address = "127.0.0.1:0".parse().expect("an address");
    let operations = Arc::clone(&fixture);
    let server = Server::start(address, &["h".to_owned()], operations).expect("a free port");
    (server, fixture)
}

fn connect(server: &Server) -> std::net::TcpStream {
    let socket = std::net::TcpStream::connect(server.address()).expect("a listener");
    let patience = Some(DEADLINE * 2);
    socket.set_read_timeout(patience).expect("a socket");
    socket
}

/// Everything the server sends until it closes the connection.
fn exchange(server: &Server, request: &str) -> String {
    let mut socket = connect(server);
    // The server may have refused and closed already.
    let _ = socket.write_all(request.as_bytes());
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    String::from_utf8(answer).expect("text")
}

/// Status and body.
fn ask(server: &Server, method: &str, path: &str, headers: &str) -> (u16, String) {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: h:1\r\n{headers}\r\n");
    let answer = exchange(server, &request);
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).expect("a status");
    (status.parse().expect("a number"), body.to_owned())
}

#[test]
fn every_path() {
    let (server, fixture) = start();
    let cases = [
        ("GET", "/livez", 200, "alive\n"),
        ("HEAD", "/livez", 200, ""),
        ("GET", "/readyz", 200, "ready\n"),
        ("GET", "/readyz?verbose", 200, "ready\n"),
        ("GET", "/metrics", 200, "dsqlproxy_x 1\n"),
        ("GET", "/api/status", 200, "{\"clients\":3}\n"),
        (
            "GET",
            "/api/conflicts",
            200,
            &format!(
                "{{\"databases\":{{\"app\":{{\"analysed\":7,\"rows\":{}}}}}}}\n",
                usize::MAX
            ),
        ),
        (
            "POST",
            "/api/reload",
            200,
            "{\"changes\":[\"users.app changed\"],\"restart\":[\"workers changed\"]}\n",
        ),
        ("POST", "/api/drain", 202, "{\"draining\":true}\n"),
        ("POST", "/livez", 405, "method not allowed\n"),
        ("DELETE", "/", 405, "method not allowed\n"),
        ("GET", "/api/reload", 405, "method not allowed\n"),
        ("GET", "/api/drain", 405, "method not allowed\n"),
        ("GET", "/livez/", 404, "not found\n"),
        ("GET", "/etc/passwd", 404, "not found\n"),
        ("POST", "/api/other", 404, "not found\n"),
    ];
    for (method, path, status, body) in cases {
        let answer = ask(&server, method, path, "");
        assert_eq!(answer, (status, body.to_owned()), "{method} {path}");
    }
    assert_eq!(fixture.reloads.load(Ordering::SeqCst), 1);
    assert_eq!(fixture.drains.load(Ordering::SeqCst), 1);
    let (status, page) = ask(&server, "GET", "/", "");
    assert_eq!(status, 200);
    assert!(page.contains("<th>clients</th><td>3</td>"), "{page}");
    server.stop();
}

#[test]
fn methods_and_types_are_in_the_header() {
    let (server, _) = start();
    let request = |line: &str| exchange(&server, &format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert!(request("POST /metrics").contains("\r\nallow: GET, HEAD\r\n"));
    assert!(request("GET /api/drain").contains("\r\nallow: POST\r\n"));
    let kind = "\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n";
    assert!(request("GET /metrics").contains(kind));
    assert!(request("GET /api/status").contains("\r\ncontent-type: application/json\r\n"));
    assert!(request("GET /").contains("\r\ncontent-type: text/html; charset=utf-8\r\n"));
    server.stop();
}

#[test]
fn reasons_and_errors_are_shown() {
    let (server, fixture) = start();
    let lines = || vec!["one".to_owned(), "two".to_owned()];
    *fixture.reasons.lock().expect("not poisoned") = lines();
    *fixture.errors.lock().expect("not poisoned") = lines();
    assert_eq!(
        ask(&server, "GET", "/readyz", ""),
        (503, "one\ntwo\n".to_owned())
    );
    assert_eq!(ask(&server, "GET", "/livez", "").0, 200);
    let refused = (422, "{\"errors\":[\"one\",\"two\"]}\n".to_owned());
    assert_eq!(ask(&server, "POST", "/api/reload", ""), refused);
    server.stop();
}

#[test]
fn pages_of_other_sites_cannot_act() {
    let (server, fixture) = start();
    for origin in ["http://evil.example", "null", "http://h:2"] {
        let header = format!("Origin: {origin}\r\n");
        assert_eq!(
            ask(&server, "POST", "/api/drain", &header).0,
            403,
            "{origin}"
        );
    }
    // A name of theirs that leads here: the page and its request have one origin.
    for request in ["POST /api/drain", "GET /api/status"] {
        let answer = exchange(
            &server,
            &format!(
                "{request} HTTP/1.1\r\nHost: evil.example:1\r\nOrigin: http://evil.example:1\r\n\r\n"
            ),
        );
        assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
        assert!(!answer.contains("clients"), "{answer}");
    }
    assert_eq!(fixture.drains.load(Ordering::SeqCst), 0);
    assert_eq!(
        ask(&server, "POST", "/api/drain", "Origin: http://h:1\r\n").0,
        202
    );
    server.stop();
}

#[test]
fn bad_requests_are_refused_and_others_still_served() {
    let (server, _) = start();
    let long = format!(
        "GET /livez HTTP/1.1\r\nX: {}\r\n\r\n",
        "x".repeat(HEADER_SIZE * 2)
    );
    let many = format!("GET /livez HTTP/1.1\r\n{}\r\n", "X: x\r\n".repeat(1000));
    let bodies = "POST /api/reload HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\nx";
    for request in [
        long.as_str(),
        many.as_str(),
        "\0\0\0\x08\x04\x52\x16\x2f",
        "GET\r\n\r\n",
    ] {
        let answer = exchange(&server, request);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{answer}"
        );
    }
    // A body that never comes is not waited for.
    assert!(exchange(&server, bodies).starts_with("HTTP/1.1 200"));
    assert_eq!(ask(&server, "GET", "/livez", "").0, 200);
    server.stop();
}

#[test]
fn slow_clients_lose_their_places() {
    let (server, _) = start();
    let begin = Instant::now();
    let mut slow: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let mut socket = connect(&server);
            socket.write_all(b"GET /livez HT").expect("a connection");
            socket
        })
        .collect();
    // Every place is taken; this one is served when the deadline has freed them.
    assert_eq!(ask(&server, "GET", "/livez", "").0, 200);
    let waited = begin.elapsed();
    assert!(
        waited >= HEADER_DEADLINE - Duration::from_secs(1),
        "{waited:?}"
    );
    for socket in &mut slow {
        let mut rest = Vec::new();
        // Closed, with or without a word.
        let _ = socket.read_to_end(&mut rest);
        assert!(!rest.starts_with(b"HTTP/1.1 2"));
    }
    server.stop();
}

#[test]
fn stop_frees_the_port_and_drop_ends_it() {
    let (server, fixture) = start();
    let open = connect(&server);
    let address = server.address();
    server.stop();
    drop(open);
    assert_eq!(Arc::strong_count(&fixture), 1, "nothing is left behind");
    let server = Server::start(address, &[], fixture).expect("the port is free again");
    let taken = Server::start(address, &[], Arc::new(Fixture::default()));
    assert_eq!(taken.expect_err("taken").kind(), io::ErrorKind::AddrInUse);
    drop(server);
}
