//! The adversarial statements of `cases.sql`.

use std::collections::BTreeMap;

use dsql_proxy::policy::tenancy::rules::Errors;
use dsql_proxy::policy::tenancy::scrub;

use crate::answer::tainted;
use crate::ground::{self, Ground};

const CASES: &str = include_str!("cases.sql");

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
    let mut cases: Vec<Case> = Vec::new();
    for line in CASES.lines() {
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
    let outcome = ground.run(&ours, &case.text, params.as_deref());
    if outcome.foreign_change {
        return Err(format!("changes rows of others: {ours}"));
    }
    if let Some(taint) = outcome.ours.taint() {
        return Err(format!("shows {taint}: {ours}"));
    }
    let context = scrub::Context {
        errors: Errors::Canned,
        tenant_columns: &["tenant_id"],
        loud: true,
    };
    let scrubbed = scrub::scrub(&outcome.ours.error, context);
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
    let mut groups: BTreeMap<String, BTreeMap<&str, usize>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for case in &cases {
        let verdict = match judge(&mut ground, case) {
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

/// Statements beyond the list that were found to leak, or nearly so, each with what is to become of
/// it.
#[test]
fn further_attacks_fail() {
    let cases = [
        // The planner runs LIKE on the statistics of the column, which hold values of all tenants:
        // a pattern that ends in a backslash fails on those that match it so far.
        (
            "SELECT count(*) FROM tree WHERE label LIKE '_1\\'",
            Expected::Safe,
        ),
        (
            "SELECT count(*) FROM items WHERE sku LIKE 's_\\'",
            Expected::SafeOrReject,
        ),
        (
            "SELECT count(*) FROM orders WHERE status LIKE lower('P_I\\')",
            Expected::SafeOrReject,
        ),
        (
            "SELECT count(*) FROM tree WHERE label LIKE ANY (ARRAY['_1\\'])",
            Expected::Safe,
        ),
        (
            "SELECT count(*) FROM tree WHERE label ~~* '_1\\'",
            Expected::Safe,
        ),
        (
            "UPDATE tree SET parent = 1 WHERE label LIKE '_1\\'",
            Expected::Safe,
        ),
        ("SELECT pg_typeof(1) = 'app.audit_log'", Expected::Reject),
        (
            "SELECT count(*) FROM orders WHERE extract(foo FROM created_at) = 1 AND id > 100",
            Expected::SafeOrReject,
        ),
        (
            "SELECT count(*) FROM orders o WHERE o = (SELECT x FROM orders x WHERE id = 1)",
            Expected::SafeOrReject,
        ),
        (
            "SELECT orders.id FROM (WITH orders AS (SELECT 1) SELECT 1 FROM orders) a, orders ORDER BY 1",
            Expected::Safe,
        ),
        (
            "INSERT INTO orders (id) SELECT 500 UNION SELECT 501 RETURNING tenant_id, id",
            Expected::SafeOrReject,
        ),
    ];
    let mut ground = ground::open();
    let mut wrong = Vec::new();
    for (number, (text, expected)) in cases.into_iter().enumerate() {
        let case = Case {
            id: format!("A{number}"),
            category: String::new(),
            expected,
            params: None,
            text: text.to_owned(),
        };
        if let Err(problem) = judge(&mut ground, &case) {
            wrong.push(format!("{}: {problem}", case.id));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
