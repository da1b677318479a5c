//! What `lint` says of whole schemas, held against what happens to them: in front of an emulated
//! cluster and behind the proxy. What it calls fine runs as it is, what it calls rewritten runs in
//! the other words, what it calls refused is refused, and what `lint --fix` writes runs with psql.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use dsql_proxy::sql::script::{Part, parts};
use futures_util::{SinkExt as _, TryStreamExt as _};
use serde_json::Value;
use tokio_postgres::{Client, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::dsql::Cluster;
use crate::emulated::{client_tls, sdk_token};
use crate::message::{copy_data, copy_done, query};
use crate::postgres;
use crate::proxy::{Proxy, plan};

struct Schema {
    name: &'static str,
    files: &'static [&'static str],
    /// Sessions commit around DDL.
    split: bool,
    /// So many statements are refused at least: what the schema is a test of.
    refused: usize,
}

const fn schema(name: &'static str, files: &'static [&'static str], refused: usize) -> Schema {
    Schema {
        name,
        files,
        split: false,
        refused,
    }
}

const SCHEMAS: [Schema; 10] = [
    schema("shop", &["shop.sql"], 1),
    schema("blog", &["blog.sql"], 4),
    schema("tickets", &["tickets.sql"], 3),
    Schema {
        split: true,
        ..schema("Django", &["django.sql"], 1)
    },
    schema("Rails", &["rails.sql"], 6),
    schema("pg_dump", &["pg_dump.sql"], 6),
    schema("analytics", &["analytics.sql"], 5),
    schema("several tenants", &["saas.sql"], 8),
    schema(
        "Flyway",
        &[
            "flyway/V1__init.sql",
            "flyway/V2__express.sql",
            "flyway/V3__cleanup.sql",
        ],
        2,
    ),
    schema("Hibernate", &["hibernate.sql"], 2),
];

/// Refusals of the proxy that the server would not make itself, with the reason.
const OWN_REFUSALS: [&str; 0] = [];

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/lint")
        .join(file)
}

fn lint(arguments: &[&str], files: &[PathBuf]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dsql-proxy"))
        .arg("lint")
        .args(arguments)
        .args(files)
        .output()
        .expect("the binary")
}

/// A statement of a schema, and what `lint` says of it.
struct Line {
    text: String,
    data: Option<String>,
    decision: String,
    sql: Vec<String>,
    sqlstate: String,
    message: String,
    rules: Vec<String>,
    place: String,
}

fn lines(schema: &Schema) -> Vec<Line> {
    let files: Vec<PathBuf> = schema.files.iter().map(|file| path(file)).collect();
    let mut arguments = vec!["--format", "json"];
    if schema.split {
        arguments.push("--split-transactions");
    }
    let output = lint(&arguments, &files);
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    let mut findings = report["statements"].as_array().unwrap().iter();
    let mut lines: Vec<Line> = Vec::new();
    for file in &files {
        let text = std::fs::read_to_string(file).unwrap();
        for part in parts(&text) {
            match part {
                Part::Command(_) => {}
                Part::Data(span) => lines.last_mut().unwrap().data = Some(text[span].to_owned()),
                Part::Statement(span) => {
                    let finding = findings.next().expect("a finding");
                    let word = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
                    let words = |key: &str| -> Vec<String> {
                        let list = finding[key].as_array().unwrap().iter();
                        list.map(|word| word.as_str().unwrap().to_owned()).collect()
                    };
                    lines.push(Line {
                        text: text[span].to_owned(),
                        data: None,
                        decision: word("decision"),
                        sql: words("sql"),
                        sqlstate: word("sqlstate"),
                        message: word("message"),
                        rules: words("rules"),
                        place: format!(
                            "{}:{}",
                            file.file_name().unwrap().to_string_lossy(),
                            finding["line"]
                        ),
                    });
                }
            }
        }
    }
    assert!(findings.next().is_none());
    lines
}

// ── Straight to the cluster ────────────────────────────────────────────────────────────────────────

async fn dial(cluster: &Cluster) -> Client {
    let emulator = cluster.emulator();
    let token = token(cluster);
    let mut config = tokio_postgres::Config::new();
    config
        .host(&emulator.account().endpoint)
        .hostaddr(emulator.address().ip())
        .port(emulator.address().port())
        .user("admin")
        .password(token)
        .dbname("postgres")
        .ssl_mode(tokio_postgres::config::SslMode::Require);
    let tls = MakeRustlsConnect::new(client_tls(emulator));
    let (client, connection) = config.connect(tls).await.expect("a login");
    tokio::spawn(connection);
    client
}

fn token(cluster: &Cluster) -> String {
    let account = cluster.emulator().account();
    let make = || sdk_token(account, "admin", 900, SystemTime::now(), None);
    std::thread::scope(|scope| scope.spawn(make).join().expect("a token"))
}

/// Runs one statement; the first value of its last row.
async fn run(client: &Client, sql: &str, data: Option<&str>) -> Result<Option<String>, String> {
    let say = |error: tokio_postgres::Error| match error.as_db_error() {
        Some(error) => format!("{} {}", error.code().code(), error.message()),
        None => error.to_string(),
    };
    let upper = sql.to_ascii_uppercase();
    if let Some(data) = data {
        let sink = client.copy_in::<_, Bytes>(sql).await.map_err(say)?;
        let mut sink = std::pin::pin!(sink);
        let data = data.trim_end_matches("\\.\n").to_owned();
        sink.send(Bytes::from(data)).await.map_err(say)?;
        sink.finish().await.map_err(say)?;
        return Ok(None);
    }
    if upper.starts_with("COPY") && upper.contains("TO STDOUT") {
        let stream = client.copy_out(sql).await.map_err(say)?;
        let _: Vec<Bytes> = stream.try_collect().await.map_err(say)?;
        return Ok(None);
    }
    let mut last = None;
    for message in client.simple_query(sql).await.map_err(say)? {
        if let SimpleQueryMessage::Row(row) = message {
            last = (!row.is_empty())
                .then(|| row.get(0).map(str::to_owned))
                .flatten();
        }
    }
    Ok(last)
}

/// The same until no schema change of somebody is in its way.
async fn run_again(
    client: &Client,
    sql: &str,
    data: Option<&str>,
) -> Result<Option<String>, String> {
    for _ in 0..10 {
        match run(client, sql, data).await {
            Err(error) if error.starts_with("40001") => {}
            other => return other,
        }
    }
    Err("no end of conflicts".to_owned())
}

/// A change in batches at once: the tables here are small.
fn without_batches(sql: &str) -> String {
    let Some((change, rows)) = sql.split_once(" WHERE ({key}) IN ") else {
        return sql.to_owned();
    };
    let condition = rows.split_once(" WHERE ").expect("a condition").1;
    let end = condition.find(" LIMIT ").expect("a limit");
    format!("{change} WHERE {}", &condition[..end])
}

/// Runs what `lint` says would go to the server.
async fn go_straight(cluster: &Cluster, schema: &Schema, lines: &[Line], wrong: &mut Vec<String>) {
    let client = dial(cluster).await;
    for line in lines {
        let control = matches!(
            line.text.to_ascii_uppercase().as_str(),
            "BEGIN" | "COMMIT" | "ROLLBACK"
        );
        if control && schema.split {
            continue;
        }
        let outcome = match line.decision.as_str() {
            "forward" => run_again(&client, &line.text, line.data.as_deref()).await,
            "rewrite" => {
                let mut job = String::new();
                let mut outcome = Ok(None);
                for sql in &line.sql {
                    let sql = without_batches(sql).replace("<job_id>", &job);
                    outcome = run_again(&client, &sql, line.data.as_deref()).await;
                    match &outcome {
                        Ok(value) => job = value.clone().unwrap_or_default(),
                        // A constraint's index may have been there before.
                        Err(_) => break,
                    }
                }
                outcome
            }
            "reject" => match run_again(&client, &line.text, line.data.as_deref()).await {
                Ok(_)
                    if !OWN_REFUSALS
                        .iter()
                        .any(|rule| line.rules.iter().any(|made| made == rule)) =>
                {
                    Err("it is called refused, and the server takes it".to_owned())
                }
                _ => continue,
            },
            _ => continue,
        };
        if let Err(error) = outcome {
            wrong.push(format!(
                "{} straight, {}: {error}\n    {}",
                line.place, line.decision, line.text
            ));
        }
    }
}

// ── Through the proxy ──────────────────────────────────────────────────────────────────────────────

fn go_through(proxy: &Proxy, schema: &Schema, lines: &[Line], wrong: &mut Vec<String>) {
    let mut client = proxy.connect();
    if schema.split {
        client.run("set dsqlproxy.ddl_in_transaction = split");
    }
    for line in lines {
        client.send(&query(&line.text));
        let mut frames = Vec::new();
        loop {
            let frame = client.frame().expect("an answer");
            let tag = frame.tag;
            frames.push(frame);
            match tag {
                b'Z' => break,
                b'G' => {
                    let data = line.data.as_deref().unwrap_or_default();
                    let data = data.trim_end_matches("\\.\n");
                    client.send(&[copy_data(data.as_bytes()), copy_done()].concat());
                }
                _ => {}
            }
        }
        let error = frames.iter().find(|frame| frame.tag == b'E').map(|frame| {
            let message = frame.field(b'M').unwrap_or_default();
            (frame.sqlstate(), message)
        });
        let right = match &error {
            None => line.decision != "reject",
            // The server has the word where an object is missing.
            Some((code, _)) if line.rules == ["missing"] => *code == line.sqlstate,
            Some((code, message)) => *code == line.sqlstate && *message == line.message,
        };
        if !right {
            wrong.push(format!(
                "{} through the proxy, {} {}: {error:?}\n    {}",
                line.place, line.decision, line.sqlstate, line.text
            ));
        }
    }
}

// ── Anew ───────────────────────────────────────────────────────────────────────────────────────────

fn psql(cluster: &Cluster, file: &Path) -> Output {
    let emulator = cluster.emulator();
    let target = format!(
        "host={} hostaddr={} port={} user=admin dbname=postgres sslmode=verify-full sslrootcert={}",
        emulator.account().endpoint,
        emulator.address().ip(),
        emulator.address().port(),
        emulator.authority_file().display()
    );
    Command::new(postgres::bin_folder().join("psql"))
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"])
        .arg(file)
        .arg(target)
        .env("PGPASSWORD", token(cluster))
        .output()
        .expect("psql")
}

/// What there is besides tables' own indexes.
async fn objects(cluster: &Cluster) -> Vec<String> {
    let client = dial(cluster).await;
    let sql = "SELECT relkind::text || ' ' || nspname || '.' || relname FROM pg_class c \
               JOIN pg_namespace n ON n.oid = c.relnamespace WHERE relkind IN ('r', 'v', 'S') \
               AND nspname NOT IN ('information_schema', 'sys') AND nspname !~ '^pg_' ORDER BY 1";
    let rows = client.simple_query(sql).await.expect("a catalog");
    rows.iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        })
        .collect()
}

#[test]
fn schemas_do_what_lint_says() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let cluster = Cluster::with_jobs_of(Duration::from_millis(1));
    let proxy = plan()
        .dsql(&cluster)
        .dialect("compat")
        .entry("table_rebuild", "reject")
        .start();
    let scratch = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for schema in &SCHEMAS {
        let lines = lines(schema);
        let refused = lines
            .iter()
            .filter(|line| line.decision == "reject")
            .count();
        let fine = lines
            .iter()
            .filter(|line| line.decision == "forward")
            .count();
        println!(
            "{:16} {:3} statements, {fine} fine, {refused} refused",
            schema.name,
            lines.len()
        );
        if refused < schema.refused {
            wrong.push(format!("{}: {refused} refused", schema.name));
        }
        cluster.empty();
        runtime.block_on(go_straight(&cluster, schema, &lines, &mut wrong));
        cluster.empty();
        go_through(&proxy, schema, &lines, &mut wrong);
        let made = runtime.block_on(objects(&cluster));

        cluster.empty();
        let files: Vec<PathBuf> = schema.files.iter().map(|file| path(file)).collect();
        let file = scratch.path().join("fixed.sql");
        std::fs::write(&file, lint(&["--fix"], &files).stdout).unwrap();
        let output = psql(&cluster, &file);
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            wrong.push(format!("{} anew: {words}", schema.name));
            if std::env::var_os("DSQL_PROXY_TRACE").is_some() {
                println!("{}", std::fs::read_to_string(&file).unwrap());
            }
        }
        let fixed = runtime.block_on(objects(&cluster));
        // Only the proxy makes a table from a query.
        let lost: Vec<&String> = made
            .iter()
            .filter(|object| !fixed.contains(object))
            .filter(|object| object.as_str() != "r mart.january")
            .collect();
        if !lost.is_empty() {
            wrong.push(format!("{} anew lacks {lost:?}", schema.name));
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

/// 100,000 statements of a migration's kind in less than 20 seconds, and all of them found; a tenth of
/// them when nothing is optimised.
#[test]
fn lint_is_quick() {
    const COUNT: usize = if cfg!(debug_assertions) {
        10_000
    } else {
        100_000
    };
    let mut text = String::with_capacity(COUNT * 90);
    for number in 0..COUNT / 10 {
        text.push_str(&format!(
            "CREATE TABLE t{number} (id bigserial PRIMARY KEY, name varchar(80) NOT NULL, amount numeric(10,2));\n\
             CREATE INDEX t{number}_name ON t{number} USING btree (name);\n\
             ALTER TABLE t{number} ADD CONSTRAINT positive CHECK (amount > 0);\n\
             COMMENT ON TABLE t{number} IS 'number {number}';\n"
        ));
        for row in 0..6 {
            text.push_str(&format!(
                "INSERT INTO t{number} (name, amount) VALUES ('row {row}; of {number}', {row}.50);\n"
            ));
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("large.sql");
    std::fs::write(&file, &text).unwrap();
    let begin = Instant::now();
    let output = lint(&[], &[file]);
    let took = begin.elapsed();
    let words = String::from_utf8_lossy(&output.stdout);
    let summary = words.lines().last().unwrap_or_default();
    println!("{summary}: {:.1} s", took.as_secs_f64());
    let expected = format!(
        "{COUNT} statements: {} forward, {} rewrite, 0 answer, 0 emulate, 0 reject",
        COUNT / 10 * 7,
        COUNT / 10 * 3
    );
    assert_eq!(summary, expected);
    assert!(took < Duration::from_secs(20), "{took:?}");
}

/// Dumps of MySQL, as `lint --from mysql --fix` writes them, run with psql; their rows are what they
/// were.
#[test]
fn dumps_of_mysql_run() {
    let cases: [(&str, &[(&str, &str)]); 2] = [
        (
            "mysql/shop.sql",
            &[
                ("SELECT count(*) FROM articles", "3"),
                (
                    "SELECT title || body FROM articles WHERE id = 1",
                    "ShirtIt's a shirt; \"fine\"\nand a \\ line",
                ),
                (
                    "SELECT encode(picture, 'hex') FROM articles WHERE id = 1",
                    "89504e47",
                ),
                (
                    "SELECT encode(picture, 'hex') FROM articles WHERE id = 2",
                    "61620063",
                ),
                (
                    "SELECT data ->> 'colour' FROM articles WHERE id = 1",
                    "blue",
                ),
                ("SELECT sum(visible) FROM articles", "1"),
                (
                    "SELECT count(*) FROM articles WHERE updated_at IS NULL",
                    "2",
                ),
                ("SELECT sort FROM groups", "18446744073709551615"),
                (
                    "INSERT INTO orders (order_no, line, article, amount) VALUES ('a', 1, 1, 2.5) RETURNING total",
                    "5.00",
                ),
                (
                    "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND conname IN ('articles_group_fk', 'orders_ibfk_1')",
                    "2",
                ),
                ("SELECT count(*) FROM cheap", "2"),
            ],
        ),
        (
            "mysql/admin.sql",
            &[
                ("SELECT count(*) FROM members WHERE born IS NULL", "1"),
                ("SELECT amount FROM fees", "50.00"),
                (
                    "INSERT INTO members (id, email) VALUES (10, 'eve@example.com') RETURNING id",
                    "10",
                ),
                (
                    "SELECT count(*) FROM pg_constraint WHERE conrelid IN ('members'::regclass, 'fees'::regclass) AND contype IN ('p', 'u', 'f')",
                    "4",
                ),
            ],
        ),
    ];
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let cluster = Cluster::with_jobs_of(Duration::from_millis(1));
    let scratch = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for (name, questions) in cases {
        cluster.empty();
        let file = scratch.path().join("fixed.sql");
        let fixed = lint(&["--from", "mysql", "--fix"], &[path(name)]).stdout;
        std::fs::write(&file, &fixed).unwrap();
        let output = psql(&cluster, &file);
        if !output.status.success() {
            wrong.push(format!(
                "{name}: {}\n{}",
                String::from_utf8_lossy(&output.stderr),
                String::from_utf8_lossy(&fixed)
            ));
            continue;
        }
        runtime.block_on(async {
            let client = dial(&cluster).await;
            for (sql, expected) in questions {
                let found = run_again(&client, sql, None).await;
                if found != Ok(Some((*expected).to_owned())) {
                    wrong.push(format!("{name}: {sql}: {found:?}"));
                }
            }
        });
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
