//! Random statements against row-level security. `ISOLATION_STATEMENTS` says how many,
//! `ISOLATION_SEED` from where.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Instant;

use dsql_proxy::policy::tenancy::rules::{Errors, TenantValue};
use dsql_proxy::policy::tenancy::{Isolated, Rule};
use dsql_proxy::sql::Statement;
use rand::Rng;

use crate::answer::Answer;
use crate::cases::{self, Expected};
use crate::client::Client;
use crate::generator::{Generated, Generator};
use crate::ground::{self, Ground};
use crate::layout::Layout;
use crate::mutation;
use crate::world::{WORLDS, World};

/// Statements between two cleanings of what rolled-back ones left.
const TIDY_EVERY: u64 = 400;

/// More wrong ones than this tell nothing new.
const ENOUGH: usize = 15;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

fn count() -> u64 {
    setting("ISOLATION_STATEMENTS", 5000)
}

fn seed() -> u64 {
    setting("ISOLATION_SEED", 20_261_121)
}

/// What became of statements, by category.
#[derive(Default)]
struct Tally(BTreeMap<&'static str, BTreeMap<String, u64>>);

impl Tally {
    fn note(&mut self, category: &'static str, verdict: &str) {
        let verdicts = self.0.entry(category).or_default();
        *verdicts.entry(verdict.to_owned()).or_default() += 1;
    }

    fn add(&mut self, other: Self) {
        for (category, verdicts) in other.0 {
            for (verdict, count) in verdicts {
                *self
                    .0
                    .entry(category)
                    .or_default()
                    .entry(verdict)
                    .or_default() += count;
            }
        }
    }

    fn of(&self, verdict: &str) -> u64 {
        let found = self.0.values().filter_map(|verdicts| verdicts.get(verdict));
        found.sum()
    }

    /// A line for each category, then one for each verdict.
    fn show(&self) -> String {
        let mut shown = format!(
            "{:28} {:>8} {:>8} {:>8} {:>9} {:>8} {:>8} {:>8}\n",
            "category", "judged", "accepted", "refused", "accept %", "rows", "no rows", "errors"
        );
        let mut line = |name: &str, verdicts: &BTreeMap<String, u64>| {
            let of = |begin: &str| -> u64 {
                let found = verdicts
                    .iter()
                    .filter(|(verdict, _)| verdict.starts_with(begin));
                found.map(|(_, count)| count).sum()
            };
            let refused = of("refused");
            let judged: u64 = verdicts.values().sum::<u64>() - of("not");
            let accepted = judged - refused;
            let _ = writeln!(
                shown,
                "{name:28} {judged:8} {accepted:8} {refused:8} {:9.1} {:8} {:8} {:8}",
                100.0 * accepted as f64 / judged.max(1) as f64,
                of("equal, with rows"),
                of("equal, without"),
                accepted - of("equal"),
            );
        };
        let mut all: BTreeMap<String, u64> = BTreeMap::new();
        for (category, verdicts) in &self.0 {
            line(category, verdicts);
            for (verdict, count) in verdicts {
                *all.entry(verdict.clone()).or_default() += count;
            }
        }
        line("all", &all);
        for (verdict, count) in &all {
            let _ = writeln!(shown, "{count:8} {verdict}");
        }
        shown
    }
}

/// Statements for a world: generated ones, and mutants of those and of the cases.
struct Statements<'a> {
    generator: Generator<'a>,
    /// What mutants are made of besides generated ones.
    seeds: Vec<String>,
}

impl<'a> Statements<'a> {
    fn new(seed: u64, layout: &'a Layout, world: &World) -> Self {
        let cases = cases::read().into_iter().chain(cases::attacks());
        let seeds = cases.filter(|case| {
            world.name == "app" && case.params.is_none() && case.expected != Expected::Error
        });
        Self {
            generator: Generator::new(seed, layout),
            seeds: seeds
                .map(|case| case.text.trim().trim_end_matches(';').to_owned())
                .filter(|text| mutation::is_one(text))
                .collect(),
        }
    }

    /// Every third is made of another one.
    fn next(&mut self) -> Generated {
        let generated = self.generator.statement();
        let kind = self.generator.random().random_range(0..9);
        if kind > 2 {
            return generated;
        }
        let layout = self.generator.layout();
        let of_case = kind == 0 && !self.seeds.is_empty();
        let text = match of_case {
            true => {
                let at = self.generator.random().random_range(0..self.seeds.len());
                self.seeds[at].clone()
            }
            false => generated.text.clone(),
        };
        let random = self.generator.random();
        let by_tree = random.random_range(0..2) == 0;
        let made = match by_tree {
            true => mutation::of_tree(random, layout, &text),
            false => mutation::of_tokens(random, layout, &text),
        };
        match made {
            None => generated,
            Some(text) => Generated {
                writes: true,
                category: match (of_case, by_tree) {
                    (true, _) => "mutant of a case",
                    (false, true) => "mutant by tree",
                    (false, false) => "mutant by tokens",
                },
                text,
            },
        }
    }
}

/// Runs a part of the test for each world, two at a time.
fn in_worlds(part: impl Fn(&'static World) -> (Tally, Vec<String>) + Sync) -> (Tally, Vec<String>) {
    let all: Mutex<(Tally, Vec<String>)> = Mutex::default();
    let left: Mutex<Vec<&'static World>> = Mutex::new(WORLDS.iter().rev().collect());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(world) = left.lock().unwrap().pop() else {
                        return;
                    };
                    let (tally, wrong) = part(world);
                    let mut all = all.lock().unwrap();
                    all.0.add(tally);
                    all.1.extend(wrong);
                }
            });
        }
    });
    all.into_inner().unwrap()
}

#[test]
fn random_statements_are_equal_to_row_level_security() {
    equal_to_row_level_security(ground::value(), count(), seed());
}

/// The same with the tenant as a parameter.
#[test]
fn random_statements_with_the_tenant_as_a_parameter_are_equal_too() {
    equal_to_row_level_security(TenantValue::Parameter, count() / 2, seed() + 2);
}

fn equal_to_row_level_security(value: TenantValue, count: u64, seed: u64) {
    let started = Instant::now();
    println!("{count} statements, seed {seed}, {value:?}");
    let each = count / WORLDS.len() as u64;
    let (tally, wrong) = in_worlds(|world| random_in(world, value, each, seed));
    println!("{}{} s", tally.show(), started.elapsed().as_secs());
    assert!(
        wrong.is_empty(),
        "{} of {count}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    let equal = tally.of("equal, with rows");
    assert!(equal > count / 4, "only {equal} statements gave rows");
}

fn random_in(
    world: &'static World,
    value: TenantValue,
    count: u64,
    seed: u64,
) -> (Tally, Vec<String>) {
    let mut ground = ground::open_world(world);
    ground.policy.tenant_value = value;
    let layout = layout(&mut ground);
    let mut statements = Statements::new(seed, &layout, world);
    let (mut tally, mut wrong) = (Tally::default(), Vec::new());
    for number in 0..count {
        if number % TIDY_EVERY == TIDY_EVERY - 1 {
            ground.tidy();
        }
        // Half of the time the tenant of the middle, whose rows are quiet.
        if number % 50 == 0 {
            let own = [1, 0, 1, 2][(number / 50 % 4) as usize];
            ground.become_tenant(own);
        }
        let Generated {
            text,
            writes,
            category,
        } = statements.next();
        let verdict = judge(&mut ground, &text, writes, category.starts_with("mutant"));
        let verdict = verdict.unwrap_or_else(|problem| {
            let tenant = ground.world.tenants[ground.own];
            wrong.push(format!(
                "{} {tenant} {category}: {text}\n   {problem}",
                world.name
            ));
            "WRONG".to_owned()
        });
        tally.note(category, &verdict);
        if wrong.len() > ENOUGH {
            break;
        }
    }
    (tally, wrong)
}

fn layout(ground: &mut Ground) -> Layout {
    ground.bare.run("reset role");
    // Literals of the tenant of the middle first: most statements are its.
    let tenants = [1, 0, 2].map(|at| ground.world.tenants[at]);
    let layout = Layout::read(&ground.policy, &ground.catalog, &tenants, &mut ground.bare);
    ground.bare.run("set role owner");
    layout
}

fn message(answer: &Answer) -> String {
    let found = answer.error.iter().find(|(kind, _)| *kind == b'M');
    found.map(|(_, text)| text.clone()).unwrap_or_default()
}

/// Whether a statement makes distinct rows of grouping sets, in which it groups by constants: PostgreSQL 15 gives it other
/// rows with `enable_hashagg` than without, whoever asks.
fn groups_constants(lower: &str) -> bool {
    let sets = ["cube", "rollup", "grouping sets"];
    lower.contains("select distinct")
        && lower.contains("coalesce ( '")
        && sets.iter().any(|word| lower.contains(word))
}

/// Words by which the order of rows decides what is answered.
const ORDER_DECIDES: [&str; 17] = [
    "limit",
    "offset",
    "fetch",
    "distinct on",
    "array_agg",
    "string_agg",
    "json_agg",
    "jsonb_agg",
    "row_number",
    "lag(",
    "lead(",
    "_value",
    "ntile",
    "rows between",
    "array(",
    "update",
    "conflict",
];

fn judge(ground: &mut Ground, text: &str, writes: bool, mutant: bool) -> Result<String, String> {
    if Statement::read(text).is_err() {
        return Ok("not SQL".to_owned());
    }
    let isolated = match ground.isolate(text) {
        Ok(isolated) => isolated,
        Err(refusal) => {
            if matches!(refusal.rule, Rule::Unverified | Rule::Unprintable) {
                return Err(format!("{refusal}"));
            }
            let there = match refusal.rule {
                Rule::ForeignTenant => {
                    let asking = crate::message::query(text);
                    ground::ask_undone(&mut ground.guarded, &asking).sqlstate
                }
                _ => None,
            };
            return Ok(match there.as_deref() {
                Some("42501") => "same error 42501".to_owned(),
                _ => format!("refused by {}", refusal.rule.name()),
            });
        }
    };
    let outcome = match isolated.as_slice() {
        [_] if writes => ground.run(&isolated, text, None),
        [_] => ground.read(&isolated, text),
        _ => return Ok("not one statement".to_owned()),
    };
    let isolated = &isolated[0];
    let said = |problem: String| format!("{problem}\n   {}", isolated.text);
    if outcome.foreign_change {
        return Err(said("rows of others changed".to_owned()));
    }
    let (ours, theirs) = (&outcome.ours, &outcome.theirs);
    // The statement itself may hold such a text, or spell it with escapes.
    let holds = |text: &str, taint: &str| text.to_lowercase().contains(taint);
    let own = |taint: &str| holds(text, taint) || holds(&isolated.text, taint);
    let told = ours.rows.iter().chain(&ours.notices);
    for taint in told.filter_map(|row| ground.tainted(row)) {
        let theirs = theirs.rows.iter().filter_map(|row| ground.tainted(row));
        if !own(&taint) && !theirs.collect::<Vec<_>>().contains(&taint) {
            return Err(said(format!("shows {taint}")));
        }
    }
    let (our_error, their_error) = (message(ours), message(theirs));
    if let Some(taint) = ground.tainted(&our_error).filter(|taint| !own(taint)) {
        return Err(said(format!("error shows {taint}: {our_error}")));
    }
    for errors in [Errors::Canned, Errors::Message] {
        for (_, field) in ground.scrub(&ours.error, errors, isolated.loud) {
            if let Some(taint) = ground.tainted(&field).filter(|taint| !own(taint)) {
                return Err(said(format!("a tenant reads {taint}: {field}")));
            }
        }
    }
    let state = ours.sqlstate.as_ref().map(|_| {
        let scrubbed = ground.scrub(&ours.error, Errors::Canned, isolated.loud);
        scrubbed
            .into_iter()
            .find(|(kind, _)| *kind == b'C')
            .unwrap()
            .1
    });
    match (state, &theirs.sqlstate) {
        (Some(ours), Some(theirs)) if ours == *theirs => return Ok(format!("same error {ours}")),
        (Some(ours), Some(theirs)) => {
            if [ours.as_str(), theirs.as_str()].contains(&"57014") {
                return Ok("time-out".to_owned());
            }
            // A foreign tenant and something else are wrong with the row: which of both is told.
            if theirs == "42501" && ours.starts_with("23") {
                return Ok(format!("tolerated: {ours} comes before the tenant's 42501"));
            }
            // Both fail on a value of our own, but on another one.
            if ours.starts_with('2') && theirs.starts_with('2') {
                return Ok("tolerated: other data error".to_owned());
            }
            // What the planner cannot do, and a constant that it cannot compute, are told as they are met.
            let unplanned = |one: &str, other: &str| one == "0A000" && other.starts_with('2');
            if unplanned(&ours, theirs) || unplanned(theirs, &ours) {
                return Ok("tolerated: no plan, or a data error of our own".to_owned());
            }
            // The statement is wrong in itself, here and there: what is told of it first.
            let wrong = |state: &str| state.starts_with("42") && state != "42501";
            if wrong(&ours) || wrong(theirs) {
                return Ok("tolerated: wrong statement, told in another way".to_owned());
            }
            return Err(said(format!("{ours} {our_error} / {theirs} {their_error}")));
        }
        // The tenant column takes a literal where assignment would not, and compares what assignment
        // would cast.
        (None, Some(state)) if state == "42804" && their_error.contains("is of type") => {
            return Ok("tolerated: a literal for the tenant column".to_owned());
        }
        (Some(state), None) if state == "42883" && our_error.contains("pg_catalog.=") => {
            return Ok("tolerated: a value of another type for the tenant column".to_owned());
        }
        (Some(state), None) if state.starts_with("22") => {
            return Ok("tolerated: only here a data error of our own".to_owned());
        }
        (None, Some(state)) if state.starts_with("22") => {
            return Ok("tolerated: only there a data error of our own".to_owned());
        }
        (Some(state), None) if state == "57014" => return Ok("time-out".to_owned()),
        (None, Some(state)) if state == "57014" => return Ok("time-out".to_owned()),
        // A plain table's key is not seen through a fence.
        (Some(state), None) if state == "42803" => {
            return Ok("tolerated: key hidden by a fence".to_owned());
        }
        // What can be merge-joined depends on what the planner makes of a condition.
        (Some(state), None) if state == "0A000" => {
            return Ok("tolerated: FULL JOIN without a plan on one side".to_owned());
        }
        (None, Some(state)) if state == "0A000" => {
            return Ok("tolerated: FULL JOIN without a plan on one side".to_owned());
        }
        (None, None) => {}
        _ => return Err(said(format!("ours {our_error:?} theirs {their_error:?}"))),
    }
    if ours.comparable(false) != theirs.comparable(false) || !outcome.differs.is_empty() {
        let lower = text.to_lowercase();
        let by_order = mutant && ORDER_DECIDES.iter().any(|word| lower.contains(word));
        let as_many = ours.rows.len() == theirs.rows.len() && ours.tags == theirs.tags;
        if by_order && as_many && ours.columns == theirs.columns {
            return Ok("tolerated: the order of rows decides".to_owned());
        }
        if groups_constants(&lower) && outcome.differs.is_empty() {
            return Ok("tolerated: grouped constants".to_owned());
        }
        let (ours, theirs) = (ours.comparable(false), theirs.comparable(false));
        let tables = &outcome.differs;
        return Err(said(format!(
            "tables {tables:?}\n   ours   {}\n   theirs {}",
            short(&format!("{ours:?}")),
            short(&format!("{theirs:?}"))
        )));
    }
    let with_rows = !ours.rows.is_empty() || ours.tags.iter().any(|tag| !tag.ends_with(" 0"));
    let verdict = if with_rows {
        "equal, with rows"
    } else {
        "equal, without rows"
    };
    Ok(verdict.to_owned())
}

fn short(text: &str) -> String {
    text.chars().take(1500).collect()
}

/// What a tenant sees does not depend on the rows of others: the same texts, on other rows of
/// others.
#[test]
fn rows_of_others_make_no_difference() {
    no_difference(ground::value(), count() / 2, seed() + 1);
}

/// The same with the tenant as a parameter.
#[test]
fn rows_of_others_make_no_difference_where_the_tenant_is_a_parameter() {
    no_difference(TenantValue::Parameter, count() / 4, seed() + 3);
}

fn no_difference(value: TenantValue, count: u64, seed: u64) {
    let started = Instant::now();
    println!("{count} statements, seed {seed}, {value:?}");
    let each = count / WORLDS.len() as u64;
    let (tally, wrong) = in_worlds(|world| undisturbed(world, value, each, seed));
    println!("{}{} s", tally.show(), started.elapsed().as_secs());
    assert!(
        wrong.is_empty(),
        "{} of {count}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    let equal = tally.of("equal, with rows") + tally.of("equal, without rows");
    assert!(equal > count / 2, "only {equal} were equal");
}

fn undisturbed(
    world: &'static World,
    value: TenantValue,
    count: u64,
    seed: u64,
) -> (Tally, Vec<String>) {
    let mut ground = ground::open_world(world);
    ground.policy.tenant_value = value;
    let layout = layout(&mut ground);
    let mut statements = Statements::new(seed, &layout, world);
    ground.bare.run("reset role");
    let mut disturbed = ground::open_disturbed(world);
    let (mut tally, mut wrong) = (Tally::default(), Vec::new());
    for number in 0..count {
        if number % TIDY_EVERY == TIDY_EVERY - 1 {
            ground.tidy();
            ground.bare.run("reset role");
            disturbed.query("vacuum");
        }
        let Generated { text, category, .. } = statements.next();
        if Statement::read(&text).is_err() {
            tally.note(category, "not SQL");
            continue;
        }
        let verdict = match ground.isolate(&text).as_deref() {
            Ok([isolated]) => {
                let mutant = category.starts_with("mutant");
                compare(&mut ground, &mut disturbed, isolated, mutant)
            }
            Ok(_) => Ok("not one statement".to_owned()),
            Err(refusal) => Ok(format!("refused by {}", refusal.rule.name())),
        };
        let verdict = verdict.unwrap_or_else(|problem| {
            wrong.push(format!("{} {category}: {text}\n   {problem}", world.name));
            "WRONG".to_owned()
        });
        tally.note(category, &verdict);
        if wrong.len() > ENOUGH {
            break;
        }
    }
    (tally, wrong)
}

fn compare(
    ground: &mut Ground,
    disturbed: &mut Client,
    isolated: &Isolated,
    mutant: bool,
) -> Result<String, String> {
    let text = &isolated.text;
    let asking = ground.asking(std::slice::from_ref(isolated), None);
    let ours = ground::ask_undone(&mut ground.bare, &asking);
    let other = ground::ask_undone(disturbed, &asking);
    match (&ours.sqlstate, &other.sqlstate) {
        (Some(one), Some(other)) if one == other => return Ok(format!("same error {one}")),
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
    let (shown, expected) = (ours.comparable(false), other.comparable(false));
    if shown != expected {
        let lower = text.to_lowercase();
        let by_order = mutant && ORDER_DECIDES.iter().any(|word| lower.contains(word));
        if by_order && ours.rows.len() == other.rows.len() && ours.tags == other.tags {
            return Ok("tolerated: the order of rows decides".to_owned());
        }
        if groups_constants(&lower) {
            return Ok("tolerated: grouped constants".to_owned());
        }
        let (shown, expected) = (format!("{shown:?}"), format!("{expected:?}"));
        return Err(format!(
            "{}\n   {}\n   {text}",
            short(&shown),
            short(&expected)
        ));
    }
    let verdict = match ours.rows.is_empty() {
        true => "equal, without rows",
        false => "equal, with rows",
    };
    Ok(verdict.to_owned())
}
