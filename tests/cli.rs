//! The binary as scripts call it: output, exit codes.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use dsql_proxy::config::verifier::Verifier;

fn proxy(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_dsql-proxy"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary");
    // A command that takes no input may be gone by now.
    let _ = child.stdin.take().expect("piped").write_all(input);
    child.wait_with_output().expect("output")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

fn scratch(name: &str, content: &str) -> PathBuf {
    let file = format!("dsql-proxy-cli-{}-{name}", std::process::id());
    let path = std::env::temp_dir().join(file);
    std::fs::write(&path, content).expect("temporary file");
    path
}

#[test]
fn check_accepts_the_example() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/config/dsql-proxy.yaml");
    let output = proxy(&["check", "--config", example], b"");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(text(&output.stdout), format!("{example}: right\n"));
}

#[test]
fn check_prints_every_error_with_file_line_and_key() {
    let yaml = "listen: {address: '127.0.0.1:1'}\ncolour: red\nworkers: -1\n";
    let path = scratch("wrong.yaml", yaml);
    let file = path.to_str().expect("text");
    let output = proxy(&["check", "--config", file], b"");
    std::fs::remove_file(&path).expect("temporary file");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let keys = "listen, admin, workers, clusters, databases, users, auth, limits, log, tenancy";
    let lines = [
        format!("{file}:1:1: clusters: write at least one cluster"),
        format!("{file}:1:1: databases: write at least one database"),
        format!("{file}:2:1: colour: unknown key; known here: {keys}"),
        format!(
            "{file}:3:10: workers: expected a whole number from 0 to {}",
            u64::MAX
        ),
    ];
    assert_eq!(text(&output.stdout).lines().collect::<Vec<_>>(), lines);
    assert_eq!(text(&output.stderr), format!("{file}: 4 problems\n"));
}

#[test]
fn check_of_a_file_that_is_not_there() {
    let output = proxy(&["check", "--config", "/no/such/file"], b"");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let line = "/no/such/file: cannot read /no/such/file: No such file or directory (os error 2)\n";
    assert_eq!(text(&output.stdout), line);
}

#[test]
fn hash_password_prints_a_verifier_with_fresh_salt() {
    let make = || {
        let output = proxy(
            &["hash-password", "--iterations", "5"],
            "pässword\n".as_bytes(),
        );
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let line = text(&output.stdout)
            .strip_suffix('\n')
            .expect("a line")
            .to_owned();
        line.parse::<Verifier>().expect("a verifier")
    };
    let (one, other) = (make(), make());
    assert_eq!((one.iterations, one.salt.len()), (5, 16));
    assert_ne!(one.salt, other.salt);
    assert_ne!(one.stored_key, other.stored_key);
}

#[test]
fn hash_password_refuses_what_is_not_one_line() {
    for input in [&b""[..], b"\n", b"a\nb\n", b"\xff\n"] {
        let output = proxy(&["hash-password"], input);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(output.stdout.is_empty());
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn usage() {
    assert_eq!(proxy(&["fly"], b"").status.code(), Some(2));
    assert_eq!(proxy(&["run"], b"").status.code(), Some(2));
    assert_eq!(proxy(&["--help"], b"").status.code(), Some(0));
}
