//! The adversarial statements of `cases.sql`.

use std::collections::BTreeMap;

use dsql_proxy::policy::tenancy::rules::{Errors, TenantValue};
use dsql_proxy::sql::Statement;

use crate::answer::tainted;
use crate::ground::{self, Ground};

const CASES: &str = include_str!("cases.sql");
const ATTACKS: &str = include_str!("attacks.sql");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    Safe,
    Reject,
    Error,
    SafeOrReject,
}

pub struct Case {
    pub id: String,
    pub category: String,
    pub expected: Expected,
    pub params: Option<Vec<String>>,
    pub text: String,
}

/// All of them.
pub fn read() -> Vec<Case> {
    parse(CASES)
}

/// Statements beyond the list that were tried.
pub fn attacks() -> Vec<Case> {
    parse(ATTACKS)
}

fn parse(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines() {
        let Some(head) = line.strip_prefix("-- @case ") else {
            if let Some(case) = cases.last_mut() {
                case.text.push_str(line);
                case.text.push('\n');
            }
            continue;
        };
        let parts: Vec<&str> = head.split(" | ").collect();
        let field = |name: &str| {
            parts
                .iter()
                .find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
        };
        let expected = match field("expect").unwrap() {
            "SAFE" => Expected::Safe,
            "REJECT" => Expected::Reject,
            "ERROR" => Expected::Error,
            "SAFE_OR_REJECT" => Expected::SafeOrReject,
            other => panic!("outcome {other}"),
        };
        cases.push(Case {
            id: parts[0].to_owned(),
            category: field("cat").unwrap().to_owned(),
            expected,
            params: field("params").map(|list| list.split(',').map(str::to_owned).collect()),
            text: String::new(),
        });
    }
    cases
}

/// What became of a case, or what is wrong with it.
fn judge(ground: &mut Ground, case: &Case) -> Result<&'static str, String> {
    if Statement::read(&case.text).is_err() && case.expected != Expected::Safe {
        return Ok("not SQL");
    }
    let isolated = match ground.isolate(&case.text) {
        Ok(isolated) => isolated,
        Err(refusal) => {
            return match case.expected {
                Expected::Safe => Err(format!("refused: {refusal}")),
                _ => Ok("refused"),
            };
        }
    };
    let texts: Vec<&str> = isolated
        .iter()
        .map(|statement| statement.text.as_str())
        .collect();
    let ours = texts.join("; ");
    if case.expected == Expected::Reject {
        return Err(format!("accepted: {ours}"));
    }
    let params: Option<Vec<&str>> = case
        .params
        .as_ref()
        .map(|params| params.iter().map(String::as_str).collect());
    let outcome = ground.run(&isolated, &case.text, params.as_deref());
    if outcome.foreign_change {
        return Err(format!("changes rows of others: {ours}"));
    }
    if let Some(taint) = outcome.ours.taint() {
        return Err(format!("shows {taint}: {ours}"));
    }
    let scrubbed = ground.scrub(&outcome.ours.error, Errors::Canned, true);
    if let Some(taint) = scrubbed.iter().find_map(|(_, text)| tainted(text)) {
        return Err(format!("its error shows {taint}: {ours}"));
    }
    // The message itself, before it is scrubbed, must be about our own rows too.
    if let Some(taint) = outcome
        .ours
        .error
        .iter()
        .find_map(|(kind, text)| (*kind == b'M').then(|| tainted(text)).flatten())
    {
        return Err(format!("its raw error shows {taint}: {ours}"));
    }
    match (case.expected, &outcome.ours.sqlstate) {
        (Expected::Error, None) => return Err(format!("no error: {ours}")),
        (Expected::Error, Some(_)) => return Ok("error"),
        (Expected::SafeOrReject, Some(_)) => return Ok("error"),
        (_, Some(state)) => return Err(format!("{state} {:?}: {ours}", outcome.ours.error)),
        (_, None) => {}
    }
    let ordered = case.text.contains("ORDER BY");
    let (ours_shown, theirs_shown) = (
        outcome.ours.comparable(ordered),
        outcome.theirs.comparable(ordered),
    );
    if ours_shown != theirs_shown {
        return Err(format!(
            "{ours}\n  ours   {ours_shown:?}\n  theirs {theirs_shown:?} {:?}",
            outcome.theirs.error
        ));
    }
    if !outcome.differs.is_empty() {
        return Err(format!("{ours}\n  tables {:?}", outcome.differs));
    }
    Ok("equal")
}

#[test]
fn every_case_is_equal_to_row_level_security_or_refused() {
    let cases = read();
    assert_eq!(cases.len(), 176);
    let mut ground = ground::open();
    for value in [TenantValue::Literal, TenantValue::Parameter] {
        ground.policy.tenant_value = value;
        all_are_equal_or_refused(&mut ground, &cases);
    }
}

fn all_are_equal_or_refused(ground: &mut Ground, cases: &[Case]) {
    let mut groups: BTreeMap<String, BTreeMap<&str, usize>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for case in cases {
        let verdict = match judge(ground, case) {
            Ok(verdict) => verdict,
            Err(problem) => {
                wrong.push(format!("{}: {problem}", case.id));
                "WRONG"
            }
        };
        *groups
            .entry(case.category.clone())
            .or_default()
            .entry(verdict)
            .or_default() += 1;
    }
    for (group, verdicts) in &groups {
        println!("{group:14} {verdicts:?}");
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

/// Statements beyond the list, some of which were found to leak once.
#[test]
fn further_attacks_fail() {
    let cases = attacks();
    let mut ground = ground::open();
    let mut verdicts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for value in [TenantValue::Literal, TenantValue::Parameter] {
        ground.policy.tenant_value = value;
        for case in &cases {
            let verdict = judge(&mut ground, case).unwrap_or_else(|problem| {
                wrong.push(format!("{} {value:?}: {problem}", case.id));
                "WRONG"
            });
            *verdicts.entry(verdict).or_default() += 1;
        }
    }
    println!("{} attacks: {verdicts:?}", cases.len());
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}
