//! The answers recorded from a real cluster, against what policy says about the same statements.

use super::*;

const RECORDINGS: &str = include_str!("../../../tests/emulator/recordings.jsonl");

/// Cases that `strict` refuses though the cluster takes them, since they mean something else there.
const OTHER_MEANING: [&str; 2] = ["types_supported_columns", "types_alias_columns"];

/// SQLSTATEs that only the server can know: constraints, conflicts, limits, values, its catalog.
const RUN_TIME: [&str; 10] = [
    "22P02", "23503", "23505", "23514", "25P02", "40001", "42704", "42804", "42809", "54000",
];

/// Refusals with 0A000 that depend on the catalog, or that PostgreSQL itself would make.
const CATALOG: [&str; 2] = ["alter_drop_pk_column", "sys_call_wait_for_job"];

/// What the cluster said to one statement.
struct Answer<'a> {
    refused: Option<&'a str>,
}

#[derive(Default, Debug)]
struct Counts {
    statements: usize,
    accepted: usize,
    refused: usize,
    forwarded: usize,
    changed: usize,
    rejected: usize,
    run_time: usize,
}

fn play(case: &serde_json::Value, profile: Dialect, counts: &mut Counts, wrong: &mut Vec<String>) {
    let name = case["name"].as_str().unwrap();
    let mut sessions = [facts(), facts()].map(|facts| SessionFacts { profile, ..facts });
    for step in case["steps"].as_array().unwrap() {
        let sql = step["sql"].as_str().unwrap();
        let session = step["session"].as_u64().unwrap_or(1) as usize - 1;
        let expect = &step["expect"];
        let several = expect["results"].as_array();
        let Ok(statements) = parse(sql) else {
            counts.statements += 1;
            counts.refused += 1;
            counts.rejected += 1;
            if expect["sqlstate"] != "42601" {
                wrong.push(format!("{name}: {sql} does not parse"));
            }
            continue;
        };
        let facts = &mut sessions[session];
        let mut refused_so_far = false;
        for (number, statement) in statements.iter().enumerate() {
            if statements.len() > 1 {
                facts.transaction.open = true;
            }
            let decision = decide(statement, facts, &Rules::standard().unwrap());
            let last = number + 1 == statements.len();
            // The recording does not say which statement of a string was refused: one of them.
            let answer = match (several, expect["sqlstate"].as_str()) {
                (Some(results), _) => Answer {
                    refused: results[number]["sqlstate"].as_str(),
                },
                (None, Some(code)) if last && !refused_so_far => Answer {
                    refused: Some(code),
                },
                _ => Answer { refused: None },
            };
            counts.statements += 1;
            let rejected = matches!(decision.action, Action::Reject(_));
            match (&decision.action, answer.refused) {
                (_, None) => counts.accepted += 1,
                (_, Some(_)) => counts.refused += 1,
            }
            match &decision.action {
                Action::Forward => counts.forwarded += 1,
                Action::Reject(_) => counts.rejected += 1,
                _ => counts.changed += 1,
            }
            refused_so_far |= rejected;
            let other = profile == Dialect::Strict && OTHER_MEANING.contains(&name);
            if answer.refused.is_none() && rejected && !other {
                wrong.push(format!(
                    "{name}: the cluster takes {sql}: {}",
                    line(&decision)
                ));
            }
            if let Some(code) = answer.refused
                && decision.action == Action::Forward
            {
                if RUN_TIME.contains(&code) || CATALOG.contains(&name) || code == "55000" {
                    counts.run_time += 1;
                } else {
                    wrong.push(format!("{name}: the cluster refuses {sql} ({code})"));
                }
            }
            if answer.refused.is_none() {
                facts.transaction = facts.transaction.after(statement, &decision);
            }
        }
    }
}

#[test]
fn the_recorded_answers_agree() {
    for profile in [Dialect::Compat, Dialect::Strict] {
        let mut counts = Counts::default();
        let mut wrong = Vec::new();
        let mut cases = 0;
        for case in RECORDINGS.lines().filter(|line| !line.is_empty()) {
            cases += 1;
            play(
                &serde_json::from_str(case).unwrap(),
                profile,
                &mut counts,
                &mut wrong,
            );
        }
        println!("{profile:?}: {cases} recordings, {counts:?}");
        assert!(wrong.is_empty(), "{profile:?}:\n{}", wrong.join("\n"));
        assert!(
            cases >= 181 && counts.accepted > 120 && counts.refused > 60,
            "{counts:?}"
        );
    }
}
