//! Statements as sessions say them: what is decided about each, and what a client gets through the
//! proxy in front of an emulated cluster, in both protocols.
//!
//! The cases are in `sessions/*.txt`. A case is a paragraph:
//!
//! ```text
//! @strict                      profile; `compat` when left out
//! @simple                      a Query only, as for several statements at once
//! @server                      only the server can know why it refuses this
//! @copy 1<tab>one              a line of the data of COPY FROM STDIN
//! @ begin                      said before in the same session; it must not fail
//! SELECT 1                     the statement
//! = forward                    the decision and the rules that made it, and behind it
//! =   SELECT 1                 what goes to the server in its place (rewrite)
//! = T ?column?:23              then the answer: columns with type OIDs, rows, notices,
//! = D 1                        errors, tag and transaction status
//! = C SELECT 1
//! = Z I
//! + E 0A000 …                  the answer to the same by Parse, Bind, Execute, where it differs
//! ```
//!
//! `DIALECT_WRITE=1` writes what is found into the files, to be read before it is committed;
//! `DIALECT_ONLY=text` runs the cases with this text alone.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use dsql_proxy::config::schema::Dialect;
use dsql_proxy::policy::{
    Action, DdlInTransaction, Decision, LargeDml, Rewrite, Rules, SessionFacts, StepKind, Switches,
    TransactionFacts, UnstorableColumns, decide,
};
use dsql_proxy::sql::Statement;

use crate::client::Client;
use crate::dsql::Cluster;
use crate::message::{
    Frame, bind_text, copy_data, copy_done, describe, execute, parse, query, sync,
};
use crate::proxy::{Proxy, plan};

const FIXTURE: &str = include_str!("fixture.sql");
/// Rows alone, for cases that change no more.
const ROWS: &str = include_str!("rows.sql");

#[derive(Debug, Default, Clone)]
struct Case {
    /// Lines between cases: headings.
    heading: String,
    strict: bool,
    simple: bool,
    server: bool,
    copy: Vec<String>,
    before: Vec<String>,
    sql: String,
    expected: Vec<String>,
    extended: Vec<String>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialect/sessions")
}

fn read(file: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(file).unwrap();
    let mut cases = Vec::new();
    let mut heading = String::new();
    for paragraph in text.split("\n\n").map(str::trim) {
        let mut case = Case::default();
        for line in paragraph.lines() {
            match line.split_once(' ').unwrap_or((line, "")) {
                ("#", _) => {
                    let _ = writeln!(heading, "{line}");
                }
                ("@strict", _) => case.strict = true,
                ("@simple", _) => case.simple = true,
                ("@server", _) => case.server = true,
                ("@copy", data) => case.copy.push(data.to_owned()),
                ("@", sql) => case.before.push(sql.to_owned()),
                ("=", expected) => case.expected.push(expected.to_owned()),
                ("+", expected) => case.extended.push(expected.to_owned()),
                _ if case.sql.is_empty() => case.sql = line.to_owned(),
                _ => {
                    let _ = write!(case.sql, "\n{line}");
                }
            }
        }
        if !case.sql.is_empty() {
            case.heading = std::mem::take(&mut heading);
            cases.push(case);
        }
    }
    cases
}

fn write(file: &Path, cases: &[Case]) {
    let mut text = String::new();
    for case in cases {
        if !case.heading.is_empty() {
            let _ = writeln!(text, "{}", case.heading);
        }
        if case.strict {
            text.push_str("@strict\n");
        }
        if case.simple {
            text.push_str("@simple\n");
        }
        if case.server {
            text.push_str("@server\n");
        }
        for line in &case.copy {
            let _ = writeln!(text, "@copy {line}");
        }
        for line in &case.before {
            let _ = writeln!(text, "@ {line}");
        }
        let _ = writeln!(text, "{}", case.sql);
        for line in &case.expected {
            let _ = writeln!(text, "= {line}");
        }
        for line in &case.extended {
            let _ = writeln!(text, "+ {line}");
        }
        text.push('\n');
    }
    std::fs::write(file, text.trim_end().to_owned() + "\n").unwrap();
}

// ── What is decided ────────────────────────────────────────────────────────────────────────────────

/// The facts of a session in which the statements before the case were said.
fn facts(case: &Case, rules: &Rules) -> SessionFacts {
    let mut facts = SessionFacts {
        profile: if case.strict {
            Dialect::Strict
        } else {
            Dialect::Compat
        },
        as_of: rules.newest,
        switches: Switches::default(),
        transaction: TransactionFacts::default(),
        created: false,
        tenants: false,
    };
    for text in &case.before {
        match text.to_ascii_lowercase().as_str() {
            "set dsqlproxy.large_dml = batch" => facts.switches.large_dml = LargeDml::Batch,
            "set dsqlproxy.ddl_in_transaction = split" => {
                facts.switches.ddl_in_transaction = DdlInTransaction::Split;
            }
            "set dsqlproxy.unstorable_columns = text" => {
                facts.switches.unstorable_columns = UnstorableColumns::Text;
            }
            "set dsqlproxy.index_wait = off" => facts.switches.index_wait = false,
            "set dsqlproxy.savepoints = reject" => facts.switches.savepoints = false,
            // No decision asks for it.
            "set dsqlproxy.shown_isolation = asked" => {}
            other => assert!(!other.starts_with("set dsqlproxy"), "{text}"),
        }
        for statement in Statement::read(text).unwrap_or_default() {
            let decision = decide(&statement, &facts, rules);
            facts.transaction = facts.transaction.after(&statement, &decision);
        }
    }
    facts
}

fn decisions(case: &Case, rules: &Rules) -> (Vec<String>, Vec<Decision>) {
    let mut facts = facts(case, rules);
    let statements = match Statement::read(&case.sql) {
        Ok(statements) => statements,
        Err(error) => return (vec![format!("unread {error}")], Vec::new()),
    };
    let several = statements.len() > 1;
    facts.transaction.open |= several;
    let mut lines = Vec::new();
    let mut made = Vec::new();
    for statement in &statements {
        let decision = decide(statement, &facts, rules);
        facts.transaction = facts.transaction.after(statement, &decision);
        facts.transaction.open |= several;
        let names: Vec<&str> = decision.rules.iter().map(AsRef::as_ref).collect();
        lines.push(
            format!("{} {}", decision.kind(), names.join(", "))
                .trim()
                .to_owned(),
        );
        if let Action::Rewrite(Rewrite { steps, .. }) = &decision.action {
            for step in steps {
                let kind = match step.kind {
                    StepKind::Statement => "",
                    StepKind::Job => "[job] ",
                    StepKind::Batch => "[batch] ",
                    StepKind::Condition => "[condition] ",
                    StepKind::Composed => "[composed] ",
                    StepKind::Rebuild => "[rebuild] ",
                };
                lines.push(format!("  {kind}{}", step.sql.replace('\n', " ")));
            }
        }
        made.push(decision);
    }
    (lines, made)
}

// ── What a client gets ─────────────────────────────────────────────────────────────────────────────

/// What is another one each time.
fn steady(value: &str) -> String {
    let is_uuid = value.len() == 36
        && value.char_indices().all(|(at, letter)| match at {
            8 | 13 | 18 | 23 => letter == '-',
            _ => letter.is_ascii_hexdigit(),
        });
    let is_job = value.len() == 26
        && value
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'));
    match () {
        () if is_uuid => "<uuid>".to_owned(),
        () if is_job => "<job>".to_owned(),
        () => value.replace('\n', "\\n").replace('\t', "\\t"),
    }
}

fn columns(body: &[u8]) -> String {
    let mut rest = &body[2..];
    let mut shown = Vec::new();
    while let Some(end) = rest.iter().position(|byte| *byte == 0) {
        let name = String::from_utf8_lossy(&rest[..end]);
        let fields = &rest[end + 1..];
        let oid = u32::from_be_bytes(fields[6..10].try_into().unwrap());
        // Types that a case has made are others each time.
        match oid {
            16_384.. => shown.push(format!("{name}:<own>")),
            oid => shown.push(format!("{name}:{oid}")),
        }
        rest = &fields[18..];
    }
    shown.join(" ")
}

/// Lines for the messages that both protocols answer with.
fn show(frames: &[Frame]) -> Vec<String> {
    let mut lines = Vec::new();
    for frame in frames {
        let text = || {
            String::from_utf8_lossy(&frame.body)
                .trim_end_matches('\0')
                .to_owned()
        };
        let tag = char::from(frame.tag);
        match frame.tag {
            b'1' | b'2' | b'3' | b'n' | b't' => {}
            b'S' => lines.push(format!("S {}", frame.strings().join("="))),
            b'T' => lines.push(format!("T {}", columns(&frame.body))),
            b'D' => {
                let values = frame.values().into_iter().map(|value| match value {
                    Some(value) => steady(&String::from_utf8_lossy(&value)),
                    None => "NULL".to_owned(),
                });
                lines.push(format!("D {}", values.collect::<Vec<_>>().join("|")));
            }
            b'E' | b'N' => {
                let message = frame.field(b'M').unwrap_or_default();
                let level = frame.field(b'V').unwrap_or_default();
                let level = match level.as_str() {
                    "ERROR" | "NOTICE" => String::new(),
                    other => format!("{other} "),
                };
                lines.push(format!("{tag} {level}{} {message}", frame.sqlstate()));
                for (code, word) in [(b'D', "DETAIL"), (b'H', "HINT")] {
                    if let Some(text) = frame.field(code) {
                        lines.push(format!("  {word} {}", text.replace('\n', "\\n")));
                    }
                }
            }
            b'd' => lines.push(format!("d {}", steady(text().trim_end_matches('\n')))),
            b'G' | b'H' | b'c' | b'I' | b's' => lines.push(tag.to_string()),
            _ => lines.push(format!("{tag} {}", text())),
        }
    }
    lines
}

/// Reads up to ReadyForQuery, giving the data of a COPY when it is asked for.
fn finish(client: &mut Client, copy: &[String], protocol: Protocol) -> Vec<Frame> {
    let mut frames = Vec::new();
    loop {
        let frame = client
            .frame()
            .unwrap_or_else(|error| panic!("{error}; got {:?}", show(&frames)));
        let tag = frame.tag;
        frames.push(frame);
        match tag {
            b'Z' => return frames,
            b'G' => {
                let mut out = Vec::new();
                for line in copy {
                    out.extend(copy_data(format!("{line}\n").as_bytes()));
                }
                out.extend(copy_done());
                if protocol == Protocol::Extended {
                    // The one before was dropped: it came while data was awaited.
                    out.extend(sync());
                }
                client.send(&out);
            }
            _ => {}
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Protocol {
    Simple,
    Extended,
}

fn ask(client: &mut Client, sql: &str, copy: &[String], protocol: Protocol) -> Vec<Frame> {
    match protocol {
        Protocol::Simple => client.send(&query(sql)),
        Protocol::Extended => {
            let messages = [
                parse("", sql, &[]),
                bind_text("", "", &[]),
                describe(b'P', ""),
                execute("", 0),
                sync(),
            ];
            client.send(&messages.concat());
        }
    }
    finish(client, copy, protocol)
}

/// One case in a new session, and whether the session is of use afterwards.
fn play(proxy: &Proxy, case: &Case, protocol: Protocol) -> Vec<String> {
    let mut client = proxy.connect();
    for sql in &case.before {
        let lines = show(&ask(&mut client, sql, &[], protocol));
        if let Some(error) = lines.iter().find(|line| line.starts_with("E ")) {
            return vec![format!("before: {sql}: {error}")];
        }
    }
    let lines = show(&ask(&mut client, &case.sql, &case.copy, protocol));
    let status = lines.last().cloned().unwrap_or_default();
    if status != "Z I" {
        let ended = show(&client.query("rollback"));
        if ended != ["C ROLLBACK", "Z I"] {
            return vec![format!("no end of the transaction: {ended:?}")];
        }
    }
    let after = show(&client.query("select id from t where id = 1"));
    // The case may have taken the table or the row away.
    let known = after.last().is_some_and(|line| line == "Z I")
        && after
            .iter()
            .any(|line| line.starts_with("C SELECT") || line.starts_with("E 42"));
    if !known {
        return vec![format!("the session is of no use: {after:?}")];
    }
    client.terminate();
    lines
}

/// What a case may have changed.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Change {
    Nothing,
    Rows,
    Schema,
}

fn change(case: &Case) -> Change {
    let of = |sql: &String| {
        let word = sql.split_whitespace().next().unwrap_or_default();
        match word.to_ascii_lowercase().as_str() {
            "insert" | "update" | "delete" | "copy" if !sql.contains(';') => Change::Rows,
            "select" if sql.to_ascii_lowercase().contains(" into ") => Change::Schema,
            "select" if sql.contains("val(") => Change::Rows,
            "values" | "table" | "set" | "show" | "reset" | "begin" | "start" | "explain"
            | "declare" | "fetch" | "close" | "savepoint" | "release" | "prepare"
            | "deallocate" | "select" | "discard"
                if !sql.contains(';') =>
            {
                Change::Nothing
            }
            "with" | "execute" | "commit" | "rollback" | "end" | "abort" => Change::Rows,
            _ => Change::Schema,
        }
    };
    case.before
        .iter()
        .chain([&case.sql])
        .map(of)
        .fold(
            Change::Nothing,
            |most, next| if next > most { next } else { most },
        )
}

struct Ground {
    cluster: Cluster,
    compat: Proxy,
    strict: Proxy,
}

impl Ground {
    fn start() -> Self {
        let cluster = Cluster::with_jobs_of(std::time::Duration::from_millis(1));
        cluster.script(FIXTURE);
        let compat = plan().dsql(&cluster).dialect("compat").start();
        let strict = plan().dsql(&cluster).dialect("strict").start();
        Self {
            cluster,
            compat,
            strict,
        }
    }

    fn restore(&self, change: Change) {
        match change {
            Change::Nothing => {}
            Change::Rows => self.cluster.script(ROWS),
            Change::Schema => {
                self.cluster.empty();
                self.cluster.script(FIXTURE);
            }
        }
    }

    fn play(&self, case: &Case, protocol: Protocol) -> Vec<String> {
        let proxy = if case.strict {
            &self.strict
        } else {
            &self.compat
        };
        let lines = play(proxy, case, protocol);
        self.restore(change(case));
        lines
    }
}

/// What a decision promises about the answer.
fn contradiction(decisions: &[Decision], answer: &[String]) -> Option<&'static str> {
    let [decision] = decisions else {
        return None;
    };
    let error = answer.iter().find(|line| line.starts_with("E "));
    match (&decision.action, error) {
        (Action::Reject(refusal), Some(error))
            if *error == format!("E {} {}", refusal.code, refusal.message) =>
        {
            None
        }
        (Action::Reject(_), _) => Some("it is refused otherwise than decided"),
        (Action::Answer(_), _) => None,
        (_, Some(error)) if error.starts_with("E 0A000") || error.starts_with("E XX") => {
            Some("the server refuses what was let pass")
        }
        _ => None,
    }
}

#[test]
fn sessions_get_what_is_decided() {
    let write_down = std::env::var_os("DIALECT_WRITE").is_some();
    let only = std::env::var("DIALECT_ONLY").unwrap_or_default();
    let rules = Rules::standard().unwrap();
    let ground = Ground::start();
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let (mut count, mut runs, mut wrong) = (0, 0, Vec::new());
    for file in files {
        let mut cases = read(&file);
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        for case in cases.iter_mut().filter(|case| case.sql.contains(&only)) {
            count += 1;
            let (mut found, made) = decisions(case, &rules);
            let simple = ground.play(case, Protocol::Simple);
            runs += 1;
            if let Some(problem) = contradiction(&made, &simple)
                && !case.server
            {
                wrong.push(format!("{name}: {}\n    {problem}: {simple:?}", case.sql));
            }
            let mut extended = Vec::new();
            if !case.simple {
                extended = ground.play(case, Protocol::Extended);
                runs += 1;
                if extended == simple {
                    extended.clear();
                }
            }
            found.extend(simple);
            if extended != case.extended {
                if !write_down {
                    wrong.push(format!(
                        "{name}: {}\n    found by Parse, Bind, Execute\n+ {}\n    expected\n+ {}",
                        case.sql,
                        extended.join("\n+ "),
                        case.extended.join("\n+ ")
                    ));
                }
                case.extended = extended;
            }
            if found != case.expected {
                if !write_down {
                    wrong.push(format!(
                        "{name}: {}\n    found\n= {}\n    expected\n= {}",
                        case.sql,
                        found.join("\n= "),
                        case.expected.join("\n= ")
                    ));
                }
                case.expected = found;
            }
        }
        if write_down {
            write(&file, &cases);
        }
    }
    println!("{count} cases, {runs} conversations, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(!only.is_empty() || count >= 400, "{count} cases");
}
