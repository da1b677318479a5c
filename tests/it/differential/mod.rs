//! Random legal conversations, held with PostgreSQL directly and through the proxy: the messages
//! must be the same.
//!
//! `DSQLPROXY_SEED` repeats a run (`random`: a new one), `DSQLPROXY_CONVERSATIONS` sets how many go
//! through the proxy, all shapes of pools together, `DSQLPROXY_ONLY` holds a single one of them, by
//! its number.

mod conversation;
mod generator;

use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use conversation::{Outcome, Step, hold};
use generator::Generator;

use crate::client::Login;
use crate::postgres::{self, Postgres};
use crate::proxy::{Plan, plan};

/// Conversations held at the same time.
const SLOTS: usize = 4;
/// Differences after which a run stops.
const ENOUGH: usize = 5;

/// How many go through the proxy in all: [`transaction_pool`] holds six in ten, the other shapes
/// one in ten each. Two cores hold 10,000 in about two minutes.
fn conversations() -> usize {
    let given = std::env::var("DSQLPROXY_CONVERSATIONS").ok();
    given.map_or(10_000, |text| {
        text.parse().expect("DSQLPROXY_CONVERSATIONS is a number")
    })
}

/// The same conversations at each run, or new ones with `DSQLPROXY_SEED=random`.
fn seed() -> u64 {
    match std::env::var("DSQLPROXY_SEED").as_deref() {
        Err(_) => 1,
        Ok("random") => rand::random(),
        Ok(text) => text.parse().expect("DSQLPROXY_SEED is a number or random"),
    }
}

#[test]
fn postgres_against_itself() {
    compare(
        "itself",
        &postgres::cluster().address(),
        conversations() / 20,
    );
}

#[test]
fn transaction_pool() {
    through("pool", plan().size(2), conversations() * 6 / 10);
}

#[test]
fn transaction_pool_of_two_workers_with_few_prepared_statements() {
    let plan = plan().size(3).workers(2).pool("prepared_statements", 2);
    through("few", plan, conversations() / 10);
}

#[test]
fn transaction_pool_of_one() {
    through("one", plan().size(1), conversations() / 10);
}

/// Answers of writes are held back and watched; without conflicts a client must not notice.
#[test]
fn transaction_pool_that_watches_for_conflicts() {
    through("watch", plan().size(2).retry(3), conversations() / 10);
}

/// Savepoints from the journal against those of PostgreSQL.
#[test]
fn transaction_pool_with_savepoints_of_its_own() {
    let plan = plan().size(2).savepoints("emulate");
    through("savepoints", plan, conversations() / 10);
}

#[test]
fn session_pool() {
    through(
        "session",
        plan().size(2).session_mode(),
        conversations() / 10,
    );
}

fn through(name: &str, plan: Plan, count: usize) {
    let proxy = plan.start();
    compare(name, &proxy.address(), count);
    proxy.wait_base();
}

/// One comparison: who is compared with whom, and where its tables are.
struct Comparison<'a> {
    cluster: &'a Postgres,
    proxied: &'a str,
    name: &'a str,
    seed: u64,
}

fn compare(name: &str, proxied: &str, count: usize) {
    let comparison = Comparison {
        cluster: postgres::cluster(),
        proxied,
        name,
        seed: seed(),
    };
    println!(
        "{name}: {count} conversations, DSQLPROXY_SEED={}",
        comparison.seed
    );
    let reports = Mutex::new(Vec::new());
    let stop = AtomicBool::new(false);
    let began = Instant::now();
    std::thread::scope(|threads| {
        for slot in 0..SLOTS {
            let (comparison, reports, stop) = (&comparison, &reports, &stop);
            threads.spawn(move || {
                comparison.prepare(slot);
                for number in (slot..count).step_by(SLOTS) {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    if only().is_some_and(|only| only != number) {
                        continue;
                    }
                    if let Some(report) = comparison.hold_both(slot, number) {
                        let mut reports = reports.lock().expect("unpoisoned");
                        reports.push(report);
                        stop.store(reports.len() >= ENOUGH, Ordering::Relaxed);
                        drop(reports);
                        comparison.prepare(slot);
                    }
                }
            });
        }
    });
    let reports = reports.into_inner().expect("unpoisoned");
    println!(
        "{name}: {count} conversations, {} differences, {:.1} s, DSQLPROXY_SEED={}",
        reports.len(),
        began.elapsed().as_secs_f64(),
        comparison.seed
    );
    for report in &reports {
        println!("{report}");
    }
    assert!(
        reports.is_empty(),
        "{} differences, see above",
        reports.len()
    );
}

fn only() -> Option<usize> {
    std::env::var("DSQLPROXY_ONLY").ok()?.parse().ok()
}

impl Comparison<'_> {
    fn schema(&self, slot: usize) -> String {
        format!("{}{slot}", self.name)
    }

    /// Makes the slot's tables anew, in both databases.
    fn prepare(&self, slot: usize) {
        for database in ["direct", "proxied"] {
            let mut client = self.cluster.connect(database);
            client.run("set client_min_messages = error; set lock_timeout = '20s'");
            client.run(&generator::SCHEMA.replace("{s}", &self.schema(slot)));
        }
    }

    fn hold_both(&self, slot: usize, number: usize) -> Option<String> {
        let seed = self
            .seed
            .wrapping_add((number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (login, parts) = Generator::new(seed, &self.schema(slot))
            .savepoints_alone(self.name == "savepoints")
            .conversation();
        let (direct, proxied) = self.outcomes(&login, &parts)?;
        let (parts, direct, proxied, note) = self.shrink(slot, &login, parts, direct, proxied);
        let mut report = format!(
            "=== conversation {number} of DSQLPROXY_SEED={} ({}), {note} ===\n  startup {:?}\n",
            self.seed, self.name, login.parameters
        );
        for (at, step) in parts.concat().iter().enumerate() {
            let _ = write!(report, "  step {at}: {step}");
        }
        let _ = write!(report, "{}", differing(&direct, &proxied));
        Some(report)
    }

    /// The two outcomes, unless they are the same.
    fn outcomes(&self, login: &Login, parts: &[Vec<Step>]) -> Option<(Outcome, Outcome)> {
        let (mut login, steps) = (login.clone(), parts.concat());
        login.database = "direct".into();
        let direct = hold(&self.cluster.address(), &login, &steps);
        login.database = "proxied".into();
        let proxied = hold(self.proxied, &login, &steps);
        let mut same = direct == proxied || differs_as_known(&direct, &proxied, &steps);
        if self.name == "savepoints" {
            // A server without savepoints undoes, and reports, all of a transaction that fails.
            let but_reports = |outcome: &Outcome| {
                let mut lines = outcome.lines();
                lines.retain(|line| !line.starts_with("ParameterStatus"));
                lines
            };
            let (direct_lines, proxied_lines) = (but_reports(&direct), but_reports(&proxied));
            same |= !direct.failed()
                && (direct_lines == proxied_lines
                    || savepoints_differ_as_known(&direct_lines, &proxied_lines));
        }
        (!same || direct.failed()).then_some((direct, proxied))
    }

    /// Leaves out one part after the other as long as the difference stays.
    fn shrink(
        &self,
        slot: usize,
        login: &Login,
        mut parts: Vec<Vec<Step>>,
        mut direct: Outcome,
        mut proxied: Outcome,
    ) -> (Vec<Vec<Step>>, Outcome, Outcome, &'static str) {
        let mut note = "seen once, not when repeated";
        let began = Instant::now();
        let mut at = parts.len();
        while began.elapsed().as_secs() < 60 {
            let mut fewer = parts.clone();
            if at < parts.len() {
                fewer.remove(at);
            }
            self.prepare(slot);
            let outcomes = self.outcomes(login, &fewer);
            // Without its cancel a conversation would wait in vain: that is another failure.
            if let Some(outcomes) = outcomes.filter(|(new, _)| new.failed() == direct.failed()) {
                (direct, proxied) = outcomes;
                parts = fewer;
                note = "shrunk";
            }
            if at == 0 {
                break;
            }
            at = (at - 1).min(parts.len().saturating_sub(1));
        }
        (parts, direct, proxied, note)
    }
}

/// In a failed transaction nothing can be prepared: a statement that is on another connection of
/// the pool is answered with 25P02, where PostgreSQL may first find another fault or describe it.
/// Outside a failed one, preparing it takes the transaction's snapshot, behind which PostgreSQL
/// refuses SET TRANSACTION; whether it had to be prepared depends on the connection the pool gave.
/// And it is done with the role of that moment: another than the one of the Parse, if the client
/// itself has set one since (the generator's has no right in any schema of the test).
/// From there the conversations are not compared.
fn differs_as_known(direct: &Outcome, proxied: &Outcome, steps: &[Step]) -> bool {
    let (direct, proxied) = (direct.lines(), proxied.lines());
    let same = direct
        .iter()
        .zip(&proxied)
        .take_while(|(left, right)| left == right)
        .count();
    let failed = direct[..same]
        .iter()
        .rev()
        .find_map(|line| line.strip_prefix("ReadyForQuery "));
    let told = proxied
        .get(same)
        .is_some_and(|line| line.contains("C=\"25P02\""));
    let snapshot = direct
        .get(same)
        .is_some_and(|line| line.starts_with("CommandComplete SET"))
        && proxied.get(same).is_some_and(|line| {
            line.contains("C=\"25001\"") && line.contains("must be called before any query")
        });
    let role = proxied
        .get(same)
        .is_some_and(|line| line.contains("C=\"42501\" M=\"permission denied for schema"))
        && steps
            .iter()
            .any(|step| step.to_string().contains("role other"));
    (failed == Some("E") && told) || (failed == Some("T") && snapshot) || role
}

/// Where savepoints of the journal cannot be as those of a server:
/// - behind a simple query that lacks a Sync before it, and behind COMMIT AND CHAIN, nothing can be
///   taken back (54000);
/// - modes of the transaction are not refused for being set in a subtransaction (25001);
/// - portals of these statements that are used again get another of the errors for that.
fn savepoints_differ_as_known(direct: &[String], proxied: &[String]) -> bool {
    let mut both = direct.iter().zip(proxied);
    let Some((direct, proxied)) = both.find(|(left, right)| left != right) else {
        return false;
    };
    let has = |line: &String, code: &str| line.contains(&format!("C=\"{code}\""));
    let of_portals = ["55000", "34000", "42P03"];
    has(proxied, "54000")
        || has(direct, "25001")
        || of_portals
            .iter()
            .any(|code| has(direct, code) || has(proxied, code))
}

fn differing(direct: &Outcome, proxied: &Outcome) -> String {
    let (direct, proxied) = (direct.lines(), proxied.lines());
    let same = direct
        .iter()
        .zip(&proxied)
        .take_while(|(left, right)| left == right)
        .count();
    let mut out = String::new();
    for (at, line) in direct
        .iter()
        .enumerate()
        .take(same)
        .skip(same.saturating_sub(8))
    {
        let _ = writeln!(out, "  {at:4}   both    {}", shorten(line));
    }
    for (name, lines) in [("direct ", &direct), ("proxied", &proxied)] {
        for (at, line) in lines.iter().enumerate().skip(same).take(8) {
            let _ = writeln!(out, "  {at:4}   {name} {}", shorten(line));
        }
    }
    out
}

fn shorten(line: &str) -> String {
    match line.char_indices().nth(400) {
        None => line.to_owned(),
        Some((at, _)) => format!("{}… ({} bytes)", &line[..at], line.len()),
    }
}
