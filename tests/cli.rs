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
    let keys = "listen, admin, workers, clusters, databases, users, auth, limits, log, dialect, tenancy, tokens";
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

const PROXY: &str = "listen: {address: '127.0.0.1:1'}
clusters:
  plain: {kind: postgres, endpoint: '127.0.0.1:1', user: app, tls: disable}
  main: {kind: dsql, endpoint: abcdefghijklmnopqrstuvwxyz.dsql.us-east-1.on.aws}
databases:
  bench: {cluster: plain}
  other: {cluster: plain}
  app: {cluster: main, dialect: compat, savepoints: reject}
users:
- {name: app, password: app, databases: [bench]}
- {name: two, password: two, databases: [bench, other]}
- {name: legacy, password: legacy, databases: [app]}
";

fn explain(name: &str, arguments: &[&str]) -> Output {
    let path = scratch(name, PROXY);
    let mut all = vec!["explain", "--config", path.to_str().expect("text")];
    all.extend_from_slice(arguments);
    let output = proxy(&all, b"");
    std::fs::remove_file(&path).expect("temporary file");
    output
}

#[test]
fn explain_prints_the_decision_of_the_contract() {
    let sql = "CREATE INDEX CONCURRENTLY i ON t USING btree (a DESC)";
    let output = explain(
        "explain-a.yaml",
        &["--user", "app", "--profile", "compat", "--json", sql],
    );
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let keys: Vec<&String> = printed.as_object().expect("object").keys().collect();
    let expected = [
        "decision", "hint", "message", "notices", "rules", "sql", "sqlstate",
    ];
    assert_eq!(keys, expected);
    assert_eq!(printed["decision"], "rewrite");
    assert_eq!(printed["sql"][0], "CREATE INDEX ASYNC i ON t (a)");
    assert_eq!(printed["sqlstate"], serde_json::Value::Null);
    assert!(
        printed["rules"]
            .as_array()
            .expect("rules")
            .contains(&"index_async".into())
    );

    let output = explain(
        "explain-b.yaml",
        &[
            "--user",
            "app",
            "--profile",
            "compat",
            "--json",
            "TRUNCATE t",
        ],
    );
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(printed["decision"], "reject");
    assert_eq!(printed["sqlstate"], "0A000");
    assert!(
        printed["hint"]
            .as_str()
            .expect("hint")
            .contains("dsqlproxy.large_dml")
    );

    let output = explain("explain-c.yaml", &["--user", "app", "TRUNCATE t"]);
    assert_eq!(
        text(&output.stdout),
        "decision: forward\nsql:      TRUNCATE t\n"
    );
}

#[test]
fn explain_follows_the_configuration() {
    let decision = |name: &str, sql: &str| -> String {
        let output = explain(name, &["--user", "legacy", "--json", sql]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let lines = text(&output.stdout).lines();
        let decisions: Vec<String> = lines
            .map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
                line["decision"].as_str().expect("text").to_owned()
            })
            .collect();
        decisions.join(" ")
    };
    assert_eq!(decision("explain-i.yaml", "SAVEPOINT a"), "reject");
    assert_eq!(
        decision("explain-j.yaml", "CREATE TABLE t (a serial)"),
        "rewrite"
    );
    // A string of several statements is one transaction.
    let string = "CREATE TABLE a (x int); SELECT 1; CREATE TABLE b (x int)";
    assert_eq!(decision("explain-k.yaml", string), "forward forward reject");
    assert_eq!(decision("explain-l.yaml", "SELEC 1"), "reject");
}

#[test]
fn explain_says_what_it_was_not_told() {
    let cases: [(&str, &[&str], i32); 5] = [
        ("explain-d.yaml", &["--user", "nobody", "SELECT 1"], 1),
        ("explain-e.yaml", &["--user", "two", "SELECT 1"], 2),
        (
            "explain-f.yaml",
            &["--user", "app", "--database", "other", "SELECT 1"],
            1,
        ),
        (
            "explain-g.yaml",
            &["--user", "app", "--profile", "odd", "SELECT 1"],
            2,
        ),
        (
            "explain-h.yaml",
            &["--user", "app", "--as-of", "2026", "SELECT 1"],
            2,
        ),
    ];
    for (name, arguments, code) in cases {
        let output = explain(name, arguments);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {output:?}"
        );
        assert!(
            !output.stderr.is_empty() && output.stdout.is_empty(),
            "{output:?}"
        );
    }
}

#[test]
fn lint_fails_on_what_would_be_refused() {
    let fine = scratch("fine.sql", "CREATE TABLE t (id serial PRIMARY KEY);\n");
    let wrong = scratch("wrong.sql", "SELECT 1;\n\nCREATE TABLE t (a money);\n");
    let fine_name = fine.to_str().expect("text");
    let wrong_name = wrong.to_str().expect("text");
    let output = proxy(&["lint", fine_name], b"");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let output = proxy(&["lint", "--profile", "strict", fine_name], b"");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let output = proxy(&["lint", "--format", "json", fine_name, wrong_name], b"");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(printed["summary"]["reject"], 1);
    assert_eq!(printed["statements"][2]["line"], 3);
    assert_eq!(printed["statements"][2]["file"], wrong_name);
    assert_eq!(text(&output.stderr), "1 statement would be refused\n");
    let output = proxy(&["lint", "--as-of", "2025-12", fine_name], b"");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let output = proxy(&["lint", "/nowhere/at/all.sql"], b"");
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/config/dialect.yaml");
    let output = proxy(&["lint", "--rules", rules, fine_name], b"");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let output = proxy(&["lint", "--rules", fine_name, fine_name], b"");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    for path in [fine, wrong] {
        std::fs::remove_file(&path).expect("temporary file");
    }
}
