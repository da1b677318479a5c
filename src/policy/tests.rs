//! Tables of decisions.

use super::*;
use crate::sql::statement::parse;

fn facts() -> SessionFacts {
    SessionFacts {
        profile: Dialect::Compat,
        as_of: "2026-09".parse().unwrap(),
        switches: Switches::default(),
        transaction: TransactionFacts::default(),
    }
}

fn decided(sql: &str, facts: &SessionFacts) -> Decision {
    let statements = parse(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    assert_eq!(statements.len(), 1, "{sql}");
    decide(&statements[0], facts, &Rules::standard().unwrap())
}

/// A decision on one line, for tables.
fn line(decision: &Decision) -> String {
    match &decision.action {
        Action::Forward => "forward".to_owned(),
        Action::Rewrite(rewrite) => {
            let steps: Vec<String> = rewrite
                .steps
                .iter()
                .map(|step| match step.kind {
                    StepKind::Statement => step.sql.clone(),
                    StepKind::Job => format!("[job] {}", step.sql),
                    StepKind::Batch => format!("[batch] {}", step.sql),
                })
                .collect();
            steps.join("; ")
        }
        Action::Answer(Answer::Tag(tag)) => format!("answer {tag}"),
        Action::Answer(other) => format!("answer {other:?}"),
        Action::Emulate(procedure) => format!("emulate {}", procedure.name()),
        Action::Reject(error) => format!("reject {} {}", error.code, error.message),
    }
}

include!("cases.rs");

#[test]
fn cases_in_profile_compat() {
    let facts = facts();
    let mut wrong = Vec::new();
    for (sql, expected) in CASES {
        let found = line(&decided(sql, &facts));
        if found != *expected {
            wrong.push(format!("{sql}\n  found    {found}\n  expected {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), CASES.len(), wrong.join("\n"));
}

#[test]
fn probe() {
    let Ok(path) = std::env::var("PROBE") else { return };
    let facts = facts();
    for sql in std::fs::read_to_string(path).unwrap().lines() {
        let decision = match parse(sql) {
            Ok(_) => decided(sql, &facts),
            Err(error) => { println!("{sql:?}\n    SYNTAX {error}"); continue; }
        };
        println!("{sql}\n    {}\n    {:?}", line(&decision), decision.rules);
        for notice in &decision.notices { println!("    {:?} {}", notice.level, notice.message); }
    }
}
