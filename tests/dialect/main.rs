//! What policy lets pass is taken by Aurora DSQL, as far as the emulator knows: its rules are
//! written apart from those of policy, so that one mistake is not in both.

// Shared with tests/it, which uses the rest of them.
#[allow(dead_code)]
#[path = "../it/client.rs"]
mod client;
mod columns;
mod cost;
#[path = "../it/dsql.rs"]
mod dsql;
#[path = "../emulated/mod.rs"]
mod emulated;
#[allow(dead_code)]
#[path = "../it/message.rs"]
mod message;
#[path = "../it/ports.rs"]
mod ports;
#[allow(dead_code)]
#[path = "../it/postgres.rs"]
mod postgres;
#[allow(dead_code)]
#[path = "../it/proxy.rs"]
mod proxy;
mod schemas;
mod sessions;
#[path = "../it/stopwatch.rs"]
mod stopwatch;

use dsql_proxy::config::schema::Dialect;
use dsql_proxy::emulator::rules::{Facts, Rules as Cluster, ServerVersion};
use dsql_proxy::policy::{
    Action, Decision, Rules, SessionFacts, StepKind, Switches, TransactionFacts, decide,
};
use dsql_proxy::sql::script::{Part, parts};
use dsql_proxy::sql::{Statement, classify};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

include!("cases.rs");

const MONTHS: [&str; 9] = [
    "2025-06", "2026-02", "2026-04", "2026-05", "2026-06", "2026-07", "2026-08", "2026-09",
    "2026-10",
];

/// Refusals that PostgreSQL itself would make of the values in a statement.
const RUN_TIME: [&str; 2] = ["22P02 ", "0A000 cannot use subquery in CALL argument"];

fn facts(profile: Dialect, month: &str) -> SessionFacts {
    SessionFacts {
        profile,
        as_of: month.parse().unwrap(),
        switches: Switches::default(),
        transaction: TransactionFacts::default(),
        created: false,
        tenants: false,
    }
}

/// The texts that would go upstream, with something in the places that are filled in later.
fn upstream(decision: &Decision, text: &str) -> Vec<String> {
    match &decision.action {
        Action::Forward => vec![text.to_owned()],
        Action::Rewrite(rewrite) => rewrite
            .steps
            .iter()
            .filter(|step| step.kind != StepKind::Rebuild)
            .map(|step| match step.kind {
                StepKind::Batch => step.sql.replace("{key}", "id").replace("{rows}", "2500"),
                _ => step.sql.clone(),
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn refusal(cluster: &Cluster, text: &str) -> Option<String> {
    let facts = Facts {
        user: "admin",
        in_block: false,
        version: &ServerVersion::default(),
    };
    let statements = match Statement::read(text) {
        Ok(statements) => statements,
        Err(error) => return Some(error.to_string()),
    };
    statements
        .iter()
        .find_map(|statement| cluster.judge(statement, &facts).err())
        .map(|error| format!("{} {}", error.code, error.message))
}

/// Seeds: the cases, and the statements of the recordings.
fn seeds() -> Vec<String> {
    let mut seeds: Vec<String> = CASES.iter().map(|(sql, _)| (*sql).to_owned()).collect();
    for case in include_str!("../emulator/recordings.jsonl").lines() {
        let case: serde_json::Value = serde_json::from_str(case).unwrap();
        for step in case["steps"].as_array().unwrap() {
            seeds.push(step["sql"].as_str().unwrap().to_owned());
        }
    }
    seeds
}

#[derive(Default, Debug)]
struct Counts {
    texts: usize,
    fine: usize,
    refused_by_both: usize,
    refused_by_policy_alone: usize,
    answered: usize,
}

fn compare(profile: Dialect, month: &str, seeds: &[String], wrong: &mut Vec<String>) -> Counts {
    let rules = Rules::standard().unwrap();
    let cluster = Cluster::as_of(month)
        .or_else(|_| Cluster::newest())
        .unwrap();
    let facts = facts(profile, month);
    let mut counts = Counts::default();
    for seed in seeds {
        let Ok(statements) = Statement::read(seed) else {
            continue;
        };
        let [statement] = statements.as_slice() else {
            continue;
        };
        counts.texts += 1;
        let decision = decide(statement, &facts, &rules);
        match &decision.action {
            Action::Reject(_) if refusal(&cluster, seed).is_some() => counts.refused_by_both += 1,
            Action::Reject(error) => {
                counts.refused_by_policy_alone += 1;
                if std::env::var_os("DSQL_PROXY_TRACE").is_some() {
                    println!("{month} policy alone refuses {seed}: {}", error.message);
                }
            }
            Action::Answer(_) | Action::Emulate(_) => counts.answered += 1,
            Action::Forward | Action::Rewrite(_) => {
                counts.fine += 1;
                for text in upstream(&decision, seed) {
                    if let Some(refusal) = refusal(&cluster, &text)
                        && !RUN_TIME.iter().any(|known| refusal.starts_with(known))
                    {
                        wrong.push(format!("{month} {seed}\n    {text}\n    {refusal}"));
                    }
                }
            }
        }
    }
    counts
}

#[test]
fn what_goes_on_is_taken() {
    let seeds = seeds();
    let mut wrong = Vec::new();
    for profile in [Dialect::Compat, Dialect::Strict] {
        for month in MONTHS {
            let counts = compare(profile, month, &seeds, &mut wrong);
            println!("{profile:?} {month}: {counts:?}");
            assert!(counts.texts > 400 && counts.fine > 100, "{counts:?}");
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

/// Files of whole and broken statements are cut inside their text, and into all that can be read.
#[test]
fn files_are_cut_inside_their_text() {
    const SEED: u64 = 11;
    const GLUE: [&str; 8] = [
        ";",
        ";;",
        "; ;",
        ";\n-- x;\n;",
        "\n\\g\n",
        ";\n\\.\n",
        "'",
        "$$;",
    ];
    let seeds = seeds();
    let mut random = StdRng::seed_from_u64(SEED);
    let mut found = 0;
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..random.random_range(1..6) {
            text.push_str(seeds.choose(&mut random).unwrap());
            text.push_str(GLUE.choose(&mut random).unwrap());
        }
        let mut behind = 0;
        for part in parts(&text) {
            let (Part::Statement(span) | Part::Command(span) | Part::Data(span)) = part;
            assert!(
                behind <= span.start && text.get(span.clone()).is_some(),
                "seed {SEED}: {text}: {span:?}"
            );
            behind = span.end;
            found += 1;
        }
        let _ = classify(text.as_bytes());
    }
    println!("seed {SEED}: {found} parts");
    assert!(found > 40_000, "{found}");
}

/// The same for PostgreSQL's regression SQL, when it is there (see `scripts/sql-corpus`): at most
/// one in a hundred statements that policy calls fine is refused. The emulator has the last word
/// about what only a catalog can tell.
#[test]
fn what_goes_on_of_a_corpus_is_taken() {
    let Some(folder) = std::env::var_os("DSQL_PROXY_SQL_CORPUS") else {
        return;
    };
    let mut seeds = Vec::new();
    let mut folders = vec![std::path::PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                seeds.extend(text.split_inclusive(";\n").map(str::to_owned));
            }
        }
    }
    let mut wrong = Vec::new();
    let counts = compare(Dialect::Compat, "2026-09", &seeds, &mut wrong);
    println!("corpus: {counts:?}, {} refused behind", wrong.len());
    if std::env::var_os("DSQL_PROXY_TRACE").is_some() {
        println!("{}", wrong.join("\n"));
    }
    assert!(counts.texts > 10_000 && wrong.len() * 100 < counts.fine);
}
