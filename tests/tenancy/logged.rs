//! Statements that programs were recorded with (`tests/corpus/recordings`), as if every table of theirs
//! belonged to tenants: how many of them are open to a tenant, and that the texts that leave are valid
//! where the programs' own are.
//!
//! A program's tables are made of what it says itself; then each has a tenant column added.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use dsql_proxy::policy::tenancy::{self, Catalog, Policy, RelationName};
use dsql_proxy::sql::Statement;
use pg_query::NodeEnum;

use crate::client::Client;
use crate::message;
use crate::postgres;
use crate::recording::{Message, RECORDINGS, Recording};
use crate::snapshot;

/// Recordings of nothing but schemas and dumps, which are none of a tenant's.
const OF_SCHEMAS: [&str; 6] = [
    "pgbench_i",
    "pgdump_fc",
    "pgdump_s",
    "pgdumpall",
    "pgrestore",
    "psql_setup",
];

const COLUMN: &str = "tenant_of_row";

/// What a statement is about.
fn kind(node: Option<&NodeEnum>, text: &str) -> &'static str {
    let catalogs = [
        "pg_",
        "information_schema",
        "regclass",
        "regtype",
        "version()",
        "current_database",
        "::mood",
    ];
    match node {
        Some(NodeEnum::SelectStmt(_)) if catalogs.iter().any(|name| text.contains(name)) => {
            "catalogs"
        }
        Some(NodeEnum::SelectStmt(_)) => "reads",
        Some(NodeEnum::InsertStmt(_) | NodeEnum::UpdateStmt(_) | NodeEnum::DeleteStmt(_)) => {
            "writes"
        }
        Some(NodeEnum::TransactionStmt(_)) => "transactions",
        Some(
            NodeEnum::VariableSetStmt(_)
            | NodeEnum::VariableShowStmt(_)
            | NodeEnum::DeclareCursorStmt(_)
            | NodeEnum::FetchStmt(_)
            | NodeEnum::ClosePortalStmt(_)
            | NodeEnum::PrepareStmt(_)
            | NodeEnum::ExecuteStmt(_)
            | NodeEnum::DeallocateStmt(_)
            | NodeEnum::DiscardStmt(_)
            | NodeEnum::ListenStmt(_)
            | NodeEnum::UnlistenStmt(_)
            | NodeEnum::ExplainStmt(_),
        ) => "session",
        Some(NodeEnum::CopyStmt(_)) => "copy",
        // Not open to tenants, whatever it says.
        _ => "schema and administration",
    }
}

/// A database in which a program's own tables are made as it says.
struct Scratch {
    own: Client,
    isolated: Client,
    policy: Policy,
    catalog: Catalog,
    stale: bool,
}

impl Scratch {
    fn open(name: &str) -> Self {
        let cluster = postgres::cluster();
        let database = format!("logged_{name}");
        cluster
            .connect_superuser("postgres")
            .run(&format!("create database {database}"));
        let mut isolated = cluster.connect_superuser(&database);
        let catalog = snapshot::take(&mut isolated);
        Self {
            own: cluster.connect_superuser(&database),
            isolated,
            policy: policy(&catalog),
            catalog,
            stale: false,
        }
    }

    /// Takes what the program changed in the schema.
    fn follow(&mut self) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        self.own.query("rollback");
        let tables = "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname = 'public' \
                      and not exists (select from pg_attribute where attrelid = format('%I.%I', schemaname, tablename)::regclass \
                      and attname = '%s' and not attisdropped)";
        let frames = self
            .isolated
            .run(&tables.replace("'%s'", &format!("'{COLUMN}'")));
        for row in frames.iter().filter(|frame| frame.tag == b'D') {
            let table = String::from_utf8(row.values().remove(0).unwrap()).unwrap();
            self.isolated.run(&format!(
                "alter table {table} add column {COLUMN} int not null default 1"
            ));
        }
        self.catalog = snapshot::take(&mut self.isolated);
        self.policy = policy(&self.catalog);
    }

    /// What becomes of a statement.
    fn judge(&mut self, statement: &Statement) -> Result<String, String> {
        let tenant = self.policy.tenant_named("1").unwrap();
        let isolated = tenancy::isolate(statement, &self.policy, &self.catalog, &tenant);
        let isolated = match isolated {
            Ok(isolated) => isolated,
            Err(refusal) => return Err(format!("{} {}", refusal.rule.name(), refusal.subject)),
        };
        let state = |client: &mut Client, text: &str| {
            client.query("begin");
            client.send(&[message::parse("", text, &[]), message::sync()].concat());
            let frames = client.until_ready();
            client.query("rollback");
            let error = frames.iter().find(|frame| frame.tag == b'E');
            error.map(|error| error.sqlstate())
        };
        let theirs = state(&mut self.own, &statement.text);
        let ours = state(&mut self.isolated, &isolated.text);
        if theirs.is_none() && ours.is_some() {
            return Ok(format!("INVALID {ours:?}: {}", isolated.text));
        }
        Ok("accepted".to_owned())
    }
}

/// A policy in which every table belongs to tenants.
fn policy(catalog: &Catalog) -> Policy {
    let mut text = format!(
        "version: 1\nsearch_path: [public]\ncatalogs: declared\ntenant: {{type: integer, column: {COLUMN}}}\n\
         settings: {{allow: [application_name, datestyle, extra_float_digits, intervalstyle, timezone, \
         statement_timeout, lock_timeout, client_min_messages]}}\ntables:\n  public.none_of_them: {{}}\n"
    );
    let tables = catalog.relations.iter().filter(|(name, relation)| {
        let plain = !name.name.contains(['.', '"', ':', '#']);
        plain && name.schema == "public" && relation.column(COLUMN).is_some()
    });
    for (RelationName { schema, name }, _) in tables {
        let _ = writeln!(text, "  \"{schema}.{name}\": {{existence_oracle: accept}}");
    }
    Policy::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn texts(name: &str) -> Vec<String> {
    let recording = Recording::read(name);
    let messages = recording.messages.into_iter();
    messages
        .filter_map(|(_, _, message)| match message {
            Message::Query(text) | Message::Parse(_, text) => Some(text),
            _ => None,
        })
        .collect()
}

#[test]
fn what_programs_were_recorded_with_is_open_to_tenants() {
    // By kind: accepted, all.
    let mut counts: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let mut programs: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let mut refused: BTreeSet<String> = BTreeSet::new();
    let mut invalid = Vec::new();
    for (name, before) in RECORDINGS {
        if OF_SCHEMAS.contains(&name) {
            continue;
        }
        let mut scratch = Scratch::open(name);
        let earlier = before.iter().flat_map(|before| texts(before));
        // Rows are not needed.
        for text in earlier.filter(|text| !text.to_lowercase().starts_with("copy ")) {
            scratch.own.query(&text);
            scratch.stale = true;
        }
        for text in texts(name) {
            let Ok(statements) = Statement::read(&text) else {
                continue;
            };
            for statement in &statements {
                let kind = kind(statement.node(), &statement.text);
                if kind == "schema and administration" {
                    let made = matches!(
                        statement.node(),
                        Some(node) if !matches!(node, NodeEnum::VacuumStmt(_) | NodeEnum::LockStmt(_) | NodeEnum::TruncateStmt(_))
                    );
                    if made {
                        scratch.own.query(&statement.text);
                        scratch.stale = true;
                    }
                    counts.entry(kind).or_default().1 += 1;
                    continue;
                }
                scratch.follow();
                let verdict = scratch.judge(statement);
                let accepted = u64::from(verdict.is_ok());
                for count in [
                    counts.entry(kind).or_default(),
                    programs.entry(name).or_default(),
                ] {
                    count.0 += accepted;
                    count.1 += 1;
                }
                match verdict {
                    Ok(verdict) if verdict.starts_with("INVALID") => {
                        let told = format!("{name}: {}\n   {verdict}", statement.text);
                        match kind {
                            "reads" | "writes" => invalid.push(told),
                            _ => println!("not valid: {}", told.replace('\n', " ")),
                        }
                    }
                    Ok(_) => {}
                    Err(reason) => {
                        let text: String = statement.text.chars().take(160).collect();
                        refused.insert(format!(
                            "{name} {kind}: {reason}: {}",
                            text.replace('\n', " ")
                        ));
                    }
                }
            }
        }
    }
    for line in &refused {
        println!("refused: {line}");
    }
    let share = |(accepts, all): (u64, u64)| {
        format!(
            "{accepts:6} of {all:6}  {:5.1} %",
            100.0 * accepts as f64 / all.max(1) as f64
        )
    };
    for (name, count) in &programs {
        println!("{name:28} {}", share(*count));
    }
    let (mut accepts, mut all) = (0, 0);
    for (kind, count) in &counts {
        println!("{kind:28} {}", share(*count));
        if *kind != "schema and administration" {
            accepts += count.0;
            all += count.1;
        }
    }
    println!("{:28} {}", "client suites", share((accepts, all)));
    assert!(
        invalid.is_empty(),
        "{}:\n{}",
        invalid.len(),
        invalid.join("\n")
    );
    assert!(accepts * 100 >= all * 95, "{accepts} of {all}");
}
