//! Plays recorded answers of a real cluster against the emulator.
//!
//! Each case runs on an empty cluster, once in each protocol it allows; cases of two sessions also
//! with both COMMITs in flight at once. The format of the file is told in `recordings.md`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use serde_json::Value as Json;

use crate::Test;
use crate::client::{Done, Lost, Reply, Session, Value};
use crate::ground::Ground;

pub const TESTS: &[Test] = &[
    (
        "conformance::comparison_sees_differences",
        comparison_sees_differences,
    ),
    ("conformance::recordings", recordings),
];

/// Differences that are accepted, at most.
const MAX_EXCEPTIONS: usize = 3;
const RETRIES: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Simple,
    Extended,
}

/// How a case is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Way {
    protocol: Protocol,
    /// Both COMMITs at once, instead of the order of the steps.
    race: bool,
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let protocol = match self.protocol {
            Protocol::Simple => "simple",
            Protocol::Extended => "extended",
        };
        write!(f, "{protocol}{}", if self.race { ", race" } else { "" })
    }
}

#[derive(Default)]
struct Score {
    passed: usize,
    accepted: usize,
    failed: usize,
}

fn recordings(ground: &mut Ground) {
    let file = std::env::var_os("DSQLPROXY_RECORDINGS")
        .map_or_else(|| here("recordings.jsonl"), PathBuf::from);
    let cases = read_cases(&file);
    let mut exceptions = read_exceptions();
    let begun = Instant::now();
    let mut groups: BTreeMap<&str, Score> = BTreeMap::new();
    let mut lines = Vec::new();
    let mut plays = 0;
    for case in &cases {
        let name = text(case, "name");
        let mut differences = Vec::new();
        for way in ways(case) {
            plays += 1;
            if let Err(what) = play(ground, case, way) {
                differences.push(format!("({way}) {what}"));
            }
        }
        let score = groups.entry(text(case, "group")).or_default();
        match (differences.is_empty(), exceptions.remove(name)) {
            (true, None) => score.passed += 1,
            (true, Some(_)) => {
                score.failed += 1;
                lines.push(format!(
                    "{name}: passes, and is still listed in exceptions.json"
                ));
            }
            (false, Some(exception)) if exception.covers(&differences) => {
                score.accepted += 1;
                lines.push(format!("{name}: accepted: {}", exception.reason));
            }
            (false, _) => {
                score.failed += 1;
                lines.extend(differences.iter().map(|what| format!("{name}: {what}")));
            }
        }
    }
    let failed = print_scores(&groups, &lines);
    println!(
        "    {} cases, {plays} plays of {} in {:.1}s",
        cases.len(),
        file.display(),
        begun.elapsed().as_secs_f64()
    );
    assert_eq!(failed, 0, "cases differ from the recordings");
}

fn print_scores(groups: &BTreeMap<&str, Score>, lines: &[String]) -> usize {
    let mut total = Score::default();
    let mut table = format!("    {:<18} passed accepted failed\n", "group");
    let mut row = |name: &str, score: &Score| {
        let Score {
            passed,
            accepted,
            failed,
        } = score;
        table += &format!("    {name:<18} {passed:>6} {accepted:>8} {failed:>6}\n");
    };
    for (name, score) in groups {
        row(name, score);
        total.passed += score.passed;
        total.accepted += score.accepted;
        total.failed += score.failed;
    }
    row("all", &total);
    for line in lines {
        table += &format!("    {line}\n");
    }
    // One print, so that nothing of other tests comes between.
    print!("{table}");
    total.failed
}

fn here(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/emulator")
        .join(name)
}

fn read_cases(file: &PathBuf) -> Vec<Json> {
    let content = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
    let lines = content.lines().filter(|line| !line.trim().is_empty());
    let cases: Vec<Json> = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(!cases.is_empty(), "{file:?} holds no case");
    cases
}

/// The project's own recordings of one group.
pub fn recorded(group: &str) -> Vec<Json> {
    let mut cases = read_cases(&here("recordings.jsonl"));
    cases.retain(|case| text(case, "group") == group);
    cases
}

/// A difference that is accepted.
#[derive(serde::Deserialize)]
struct Exception {
    /// What the emulator answers instead; a part of the difference as it is printed.
    got: String,
    reason: String,
}

impl Exception {
    fn covers(&self, differences: &[String]) -> bool {
        differences.iter().all(|what| what.contains(&self.got))
    }
}

/// By name of the case.
fn read_exceptions() -> BTreeMap<String, Exception> {
    let content = std::fs::read_to_string(here("exceptions.json")).unwrap();
    let exceptions: BTreeMap<String, Exception> = serde_json::from_str(&content).unwrap();
    assert!(exceptions.len() <= MAX_EXCEPTIONS, "too many exceptions");
    for Exception { got, reason } in exceptions.values() {
        assert!(
            got.len() > 5 && reason.len() > 40,
            "a reason is a sentence: {reason}"
        );
    }
    exceptions
}

fn text<'a>(value: &'a Json, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn list<'a>(value: &'a Json, key: &str) -> &'a [Json] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn ways(case: &Json) -> Vec<Way> {
    let mut protocols = vec![Protocol::Simple];
    if text(case, "protocol") != "simple" {
        protocols.push(Protocol::Extended);
    }
    let races: &[bool] = if case["race"].is_object() {
        &[false, true]
    } else {
        &[false]
    };
    let mut ways = Vec::new();
    for race in races {
        ways.extend(protocols.iter().map(|protocol| Way {
            protocol: *protocol,
            race: *race,
        }));
    }
    ways
}

/// Plays one case; the error says what differed. A schema change of the set-up that still reaches a
/// session (OC001) is not the case's: then it is played again.
fn play(ground: &mut Ground, case: &Json, way: Way) -> Result<(), String> {
    for _ in 0..RETRIES {
        ground.empty()?;
        for statement in list(case, "setup") {
            let sql = statement.as_str().unwrap_or_default();
            ground
                .keep(sql)
                .map_err(|error| format!("set-up {sql}: {error}"))?;
        }
        let count = case["sessions"].as_u64().unwrap_or(1);
        let mut sessions = (0..count)
            .map(|_| ground.try_connect(&[("user", "admin"), ("database", "postgres")]))
            .collect::<Result<Vec<Session>, Lost>>()
            .map_err(|lost| format!("login: {lost}"))?;
        match play_steps(&mut sessions, case, way) {
            Err(what) if what.contains("(OC001)") => {}
            result => return result,
        }
    }
    Err("OC001 in every try".to_owned())
}

fn play_steps(sessions: &mut [Session], case: &Json, way: Way) -> Result<(), String> {
    let steps = list(case, "steps");
    // The COMMITs are the last steps, one for each session.
    let apart = if way.race {
        steps.len() - sessions.len()
    } else {
        steps.len()
    };
    for (number, step) in steps[..apart].iter().enumerate() {
        let session = &mut sessions[place(step)];
        let reply = send(session, step, way)
            .and_then(|()| session.reply())
            .map_err(|lost| format!("step {}: {lost}", number + 1))?;
        compare(&reply, &step["expect"])
            .map_err(|what| format!("step {}: {}: {what}", number + 1, text(step, "sql")))?;
    }
    if way.race {
        play_race(sessions, &steps[apart..], &case["race"], way)
    } else {
        Ok(())
    }
}

fn place(step: &Json) -> usize {
    usize::try_from(step["session"].as_u64().unwrap_or(1)).unwrap_or(1) - 1
}

fn send(session: &mut Session, step: &Json, way: Way) -> Result<(), Lost> {
    let sql = text(step, "sql");
    match way.protocol {
        Protocol::Simple => session.start_query(sql)?,
        Protocol::Extended => session.start_execute(sql, &[])?,
    }
    Ok(())
}

/// All COMMITs at once: who loses is open, how many and with which error is not.
fn play_race(
    sessions: &mut [Session],
    steps: &[Json],
    race: &Json,
    way: Way,
) -> Result<(), String> {
    for step in steps {
        send(&mut sessions[place(step)], step, way).map_err(|lost| lost.to_string())?;
    }
    let error = steps
        .iter()
        .map(|step| &step["expect"])
        .find(|expect| expect["sqlstate"].is_string())
        .ok_or("a race without a loser")?;
    let mut losers = 0u64;
    for session in sessions.iter_mut() {
        let reply = session.reply().map_err(|lost| lost.to_string())?;
        if reply.failure.is_some() {
            losers += 1;
            compare(&reply, error)?;
        } else if reply.summary() != text(race, "at") {
            return Err(format!("answered {:?}", reply.summary()));
        }
    }
    let wanted: Vec<u64> = list(race, "losers")
        .iter()
        .filter_map(Json::as_u64)
        .collect();
    // Where a conflict spans several rows the number is not stable on the cluster either.
    let fits = wanted.contains(&losers);
    fits.then_some(())
        .ok_or_else(|| format!("{losers} lost, not one of {wanted:?}"))
}

/// Whether an answer is the recorded one; the error tells the difference.
pub fn compare(reply: &Reply, expect: &Json) -> Result<(), String> {
    if let Some(sqlstate) = expect["sqlstate"].as_str() {
        let wanted = format!("{sqlstate} {}", text(expect, "message"));
        let got = reply.summary();
        return if reply.failure.is_some() && got == wanted {
            Ok(())
        } else {
            Err(format!("got {got:?}, recorded {wanted:?}"))
        };
    }
    if let Some(failure) = &reply.failure {
        return Err(format!("got {:?}, recorded {expect}", failure.summary()));
    }
    let one = std::slice::from_ref(expect);
    let wanted = expect["results"].as_array().map_or(one, Vec::as_slice);
    if reply.done.len() != wanted.len() {
        return Err(format!(
            "{} results, recorded {}",
            reply.done.len(),
            wanted.len()
        ));
    }
    for (done, expect) in reply.done.iter().zip(wanted) {
        compare_result(done, expect)?;
    }
    Ok(())
}

fn compare_result(done: &Done, expect: &Json) -> Result<(), String> {
    if done.tag != text(expect, "tag") {
        return Err(format!(
            "tag {:?}, recorded {:?}",
            done.tag,
            text(expect, "tag")
        ));
    }
    let columns: Option<Vec<&str>> = expect["columns"]
        .as_array()
        .map(|names| names.iter().filter_map(Json::as_str).collect());
    let got: Option<Vec<&str>> = done
        .columns
        .as_ref()
        .map(|names| names.iter().map(String::as_str).collect());
    if got != columns {
        return Err(format!("columns {got:?}, recorded {columns:?}"));
    }
    if expect["rows"] == "any" {
        return Ok(());
    }
    let wanted = list(expect, "rows");
    let same = if expect["unordered"] == true {
        is_permutation(&done.rows, wanted)
    } else {
        done.rows.len() == wanted.len()
            && done
                .rows
                .iter()
                .zip(wanted)
                .all(|(row, wanted)| is_row(row, wanted))
    };
    if same {
        Ok(())
    } else {
        Err(format!("rows {:?}, recorded {}", done.rows, expect["rows"]))
    }
}

/// Each row takes one wanted row that is still free; rows with patterns are few, so greed will do.
fn is_permutation(rows: &[Vec<Value>], wanted: &[Json]) -> bool {
    let mut free: Vec<&Json> = wanted.iter().collect();
    rows.len() == wanted.len()
        && rows.iter().all(|row| {
            let at = free.iter().position(|wanted| is_row(row, wanted));
            at.map(|at| free.swap_remove(at)).is_some()
        })
}

fn is_row(row: &[Value], wanted: &Json) -> bool {
    let wanted = wanted.as_array().map_or(&[][..], Vec::as_slice);
    row.len() == wanted.len()
        && row
            .iter()
            .zip(wanted)
            .all(|(cell, wanted)| is_cell(cell, wanted))
}

fn is_cell(cell: &Value, wanted: &Json) -> bool {
    match (cell, wanted) {
        (None, Json::Null) => true,
        (Some(cell), Json::String(wanted)) => cell == wanted,
        (Some(cell), Json::Object(pattern)) => pattern
            .get("match")
            .and_then(Json::as_str)
            .is_some_and(|pattern| regex::Regex::new(pattern).unwrap().is_match(cell)),
        _ => false,
    }
}

/// The comparison itself: what it must see, and what it must let pass.
fn comparison_sees_differences(_: &mut Ground) {
    let row = |cells: &[Option<&str>]| -> Vec<Value> {
        cells.iter().map(|cell| cell.map(str::to_owned)).collect()
    };
    let reply = Reply {
        done: vec![Done {
            tag: "SELECT 2".to_owned(),
            columns: Some(vec!["a".to_owned(), "b".to_owned()]),
            types: vec![25, 25],
            rows: vec![row(&[Some("1"), None]), row(&[Some("2"), Some("x7")])],
        }],
        ..Reply::default()
    };
    let refused = Reply {
        failure: Some(crate::client::Failure {
            sqlstate: "0A000".to_owned(),
            message: "no".to_owned(),
            ..Default::default()
        }),
        ..Reply::default()
    };
    let full = r#"{"tag":"SELECT 2","columns":["a","b"],"rows":[["1",null],["2","x7"]]}"#;
    for (reply, expect, same) in [
        (&reply, full.to_owned(), true),
        (&reply, full.replace("SELECT 2", "SELECT 3"), false),
        (&reply, full.replace("\"b\"]", "\"c\"]"), false),
        (&reply, full.replace("null", "\"\""), false),
        (&reply, full.replace("\"1\",null", "null,null"), false),
        (&reply, full.replace("\"x7\"", r#"{"match":"^x[0-9]$"}"#), true),
        (&reply, full.replace("\"x7\"", r#"{"match":"^y"}"#), false),
        (&reply, full.replace(r#",["2","x7"]"#, ""), false),
        (&reply, r#"{"tag":"SELECT 2","columns":["a","b"],"rows":[["2","x7"],["1",null]]}"#.to_owned(), false),
        (
            &reply,
            r#"{"tag":"SELECT 2","columns":["a","b"],"unordered":true,"rows":[["2","x7"],["1",null]]}"#.to_owned(),
            true,
        ),
        (
            &reply,
            r#"{"tag":"SELECT 2","columns":["a","b"],"unordered":true,"rows":[["2","x7"],["2","x7"]]}"#.to_owned(),
            false,
        ),
        (&reply, r#"{"tag":"SELECT 2","columns":["a","b"],"rows":"any"}"#.to_owned(), true),
        (&reply, r#"{"tag":"SELECT 2"}"#.to_owned(), false),
        (&reply, r#"{"sqlstate":"0A000","message":"no"}"#.to_owned(), false),
        (&reply, format!(r#"{{"results":[{full}]}}"#), true),
        (&reply, format!(r#"{{"results":[{full},{full}]}}"#), false),
        (&refused, r#"{"sqlstate":"0A000","message":"no"}"#.to_owned(), true),
        (&refused, r#"{"sqlstate":"0A000","message":"No"}"#.to_owned(), false),
        (&refused, r#"{"sqlstate":"0A001","message":"no"}"#.to_owned(), false),
        (&refused, full.to_owned(), false),
    ] {
        let expect: Json = serde_json::from_str(&expect).unwrap();
        let result = compare(reply, &expect);
        assert_eq!(result.is_ok(), same, "{expect}: {result:?}");
    }
}
