//! Random statements against row-level security. `ISOLATION_STATEMENTS` says how many,
//! `ISOLATION_SEED` from where.

use std::collections::BTreeMap;

use dsql_proxy::sql::Statement;

use crate::answer::tainted;
use crate::client::Client;
use crate::generator::Generator;
use crate::ground::{self, Ground};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

#[test]
fn random_statements_are_equal_to_row_level_security() {
    let (count, seed) = (
        setting("ISOLATION_STATEMENTS", 5000),
        setting("ISOLATION_SEED", 20_261_121),
    );
    println!("{count} statements, seed {seed}");
    let mut generator = Generator::new(seed);
    let mut ground = ground::open();
    let mut tally: BTreeMap<String, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    let mut last: Option<(String, bool)> = None;
    for number in 0..count {
        // Every fourth is made of the one before it.
        let (text, writes) = match last.take().filter(|_| number % 4 == 3) {
            Some((text, writes)) => (generator.mutate(&text), writes),
            None => generator.statement(),
        };
        let verdict = judge(&mut ground, &text, writes);
        let verdict = verdict.unwrap_or_else(|problem| {
            wrong.push(format!("{text}\n   {problem}"));
            "WRONG".to_owned()
        });
        *tally.entry(verdict).or_default() += 1;
        last = Some((text, writes));
        if wrong.len() > 20 {
            break;
        }
    }
    for (verdict, count) in &tally {
        println!("{count:6} {verdict}");
    }
    assert!(
        wrong.is_empty(),
        "{} of {count}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    let equal = tally.get("equal, with rows").copied().unwrap_or_default();
    assert!(
        equal as u64 > count / 4,
        "only {equal} statements gave rows"
    );
}

fn judge(ground: &mut Ground, text: &str, writes: bool) -> Result<String, String> {
    if Statement::read(text).is_err() {
        return Ok("not SQL".to_owned());
    }
    let isolated = match ground.isolate(text) {
        Ok(isolated) => isolated,
        Err(refusal) => return Ok(format!("refused by {:?} {}", refusal.rule, refusal.subject)),
    };
    let [isolated] = isolated.as_slice() else {
        return Ok("not one statement".to_owned());
    };
    let outcome = if writes {
        ground.run(&isolated.text, text, None)
    } else {
        ground.read(&isolated.text, text)
    };
    let said = |problem: String| format!("{problem}\n   {}", isolated.text);
    if outcome.foreign_change {
        return Err(said("rows of others changed".to_owned()));
    }
    if let Some((ours, theirs)) = outcome
        .ours
        .taint()
        .map(|taint| (taint, outcome.theirs.taint()))
    {
        // The statement itself may hold such a text.
        if !text.contains(&ours) && theirs.is_none() {
            return Err(said(format!("shows {ours}")));
        }
    }
    let error = |answer: &crate::answer::Answer| {
        answer
            .error
            .iter()
            .find(|(kind, _)| *kind == b'M')
            .map(|(_, text)| text.clone())
            .unwrap_or_default()
    };
    let (our_error, their_error) = (error(&outcome.ours), error(&outcome.theirs));
    if let Some(taint) = tainted(&our_error).filter(|taint| !text.contains(taint.as_str())) {
        return Err(said(format!("error shows {taint}: {our_error}")));
    }
    match (&outcome.ours.sqlstate, &outcome.theirs.sqlstate) {
        (Some(ours), Some(theirs)) if ours == theirs => return Ok(format!("same error {ours}")),
        (Some(ours), Some(theirs)) => {
            // A foreign or missing tenant is refused by NOT NULL here, by the policy there.
            let refused = ours == "23502" && theirs == "42501";
            if refused || [ours, theirs].contains(&&"57014".to_owned()) {
                return Ok(format!("errors {ours} and {theirs}"));
            }
            // Both fail on a value of our own, but on another one.
            if ours.starts_with("22") && theirs.starts_with("22") {
                return Ok("tolerated: other data error".to_owned());
            }
            return Err(said(format!("{ours} {our_error} / {theirs} {their_error}")));
        }
        (Some(state), None) | (None, Some(state)) if state.starts_with("22") => {
            return Ok("tolerated: one side fails on our own data".to_owned());
        }
        (Some(state), None) | (None, Some(state)) if state == "57014" => {
            return Ok("time-out".to_owned());
        }
        // A plain table's key is not seen through a fence.
        (Some(state), None) if state == "42803" => {
            return Ok("tolerated: key hidden by a fence".to_owned());
        }
        // What can be merge-joined depends on what the planner makes of a condition.
        (Some(state), None) | (None, Some(state)) if state == "0A000" => {
            return Ok("tolerated: FULL JOIN without a plan on one side".to_owned());
        }
        (None, None) => {}
        _ => return Err(said(format!("ours {our_error:?} theirs {their_error:?}"))),
    }
    let (ours, theirs) = (
        outcome.ours.comparable(false),
        outcome.theirs.comparable(false),
    );
    if ours != theirs {
        return Err(said(format!("ours   {ours:?}\n   theirs {theirs:?}")));
    }
    if !outcome.differs.is_empty() {
        return Err(said(format!("tables {:?}", outcome.differs)));
    }
    let with_rows =
        !outcome.ours.rows.is_empty() || outcome.ours.tags.iter().any(|tag| !tag.ends_with(" 0"));
    Ok(if with_rows {
        "equal, with rows"
    } else {
        "equal, without rows"
    }
    .to_owned())
}

/// What a tenant sees does not depend on the rows of others: the same texts, on other rows of
/// others.
#[test]
fn rows_of_others_make_no_difference() {
    let (count, seed) = (
        setting("ISOLATION_STATEMENTS", 5000) / 2,
        setting("ISOLATION_SEED", 20_261_121) + 1,
    );
    println!("{count} statements, seed {seed}");
    let mut generator = Generator::new(seed);
    let mut ground = ground::open();
    ground.bare.run("reset role");
    let mut disturbed = ground::open_disturbed();
    let mut tally: BTreeMap<String, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for _ in 0..count {
        let (text, _) = generator.statement();
        let verdict = match ground.isolate(&text).as_deref() {
            Ok([isolated]) => compare(&mut ground, &mut disturbed, &isolated.text),
            _ => Ok("refused".to_owned()),
        };
        let verdict = verdict.unwrap_or_else(|problem| {
            wrong.push(format!("{text}\n   {problem}"));
            "WRONG".to_owned()
        });
        *tally.entry(verdict).or_default() += 1;
        if wrong.len() > 20 {
            break;
        }
    }
    for (verdict, count) in &tally {
        println!("{count:6} {verdict}");
    }
    assert!(
        wrong.is_empty(),
        "{} of {count}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    let equal = tally.get("equal").copied().unwrap_or_default() as u64;
    assert!(equal > count / 2, "only {equal} were equal");
}

fn compare(ground: &mut Ground, disturbed: &mut Client, text: &str) -> Result<String, String> {
    let ours = ground::ask(&mut ground.bare, text, None);
    ground.bare.query("rollback");
    let other = ground::ask(disturbed, text, None);
    disturbed.query("rollback");
    match (&ours.sqlstate, &other.sqlstate) {
        (Some(one), Some(other)) if one == other => return Ok("the same error".to_owned()),
        (None, None) => {}
        (one, another) => {
            let states = [one, another].map(|state| state.as_deref().unwrap_or("00000"));
            // Plans depend on statistics, which count rows of others, here as under row-level
            // security: which of our own rows fails first, and whether it is reached.
            if states
                .iter()
                .all(|state| ["00000", "0A000", "57014"].contains(state) || state.starts_with("22"))
            {
                return Ok(format!("tolerated: {} and {}", states[0], states[1]));
            }
            return Err(format!(
                "{states:?} {:?} {:?}: {text}",
                ours.error, other.error
            ));
        }
    }
    if ours.comparable(false) != other.comparable(false) {
        let (ours, other) = (ours.comparable(false), other.comparable(false));
        return Err(format!("{ours:?}\n   {other:?}\n   {text}"));
    }
    Ok("equal".to_owned())
}
