//! Random transactions over few rows by clients of all habits, with conflicts both real and ordered:
//! everything they see is what single executions under snapshot isolation give.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;

use crate::checker::{self, Event, History, Key, Outcome, Transaction};
use crate::client::Client;
use crate::dsql::{Cluster, set_up};
use crate::number;
use crate::proxy::plan;
use crate::proxy::{Metrics, Proxy};
use crate::requests::{
    Done, Protocol, Reply, Request, Statement, finish, one_string, one_sync, plain,
};

const CLIENTS: u64 = 8;
/// Rows that all clients of a round share.
const KEYS: u32 = 6;
/// Transactions between two looks at the rows: their logs must stay short.
const ROUND: u64 = 400;

const READ: &str = "select k, version, value from items where k = $1";
const READ_ALL: &str = "select k, version, value from items where k between $1 and $2 order by k";
const LOCK: &str = "select k, version, value from items where k = $1 for update";
const BLIND: &str = "update items set version = version + 1, value = $2, \
                     log = log || ' ' || $2::text where k = $1";
const TOLD: &str = "update items set version = version + 1, value = $2, \
                    log = log || ' ' || $2::text where k = $1 returning k, version, value";
const FAIL: &str = "select 1 / $1";

#[derive(Debug, Clone, Copy)]
enum Op {
    Read(Key),
    ReadAll,
    Lock(Key),
    Blind(Key, u64),
    Told(Key, u64),
    Fail,
}

impl Op {
    fn statement(self, first: Key) -> Statement {
        let (sql, parameters, rows) = match self {
            Self::Read(key) => (READ, vec![key.into()], true),
            Self::ReadAll => (
                READ_ALL,
                vec![first.into(), (first + KEYS - 1).into()],
                true,
            ),
            Self::Lock(key) => (LOCK, vec![key.into()], true),
            Self::Blind(key, id) => (BLIND, vec![key.into(), id], false),
            Self::Told(key, id) => (TOLD, vec![key.into(), id], true),
            Self::Fail => (FAIL, vec![0], true),
        };
        Statement {
            sql,
            parameters,
            rows,
        }
    }

    /// What a client learns from the answer; `None` when it is not one to this.
    fn events(self, done: &Done) -> Option<Vec<Event>> {
        let mut rows = Vec::new();
        for row in &done.rows {
            let mut numbers = row.iter().map(|value| value.as_ref()?.parse::<u64>().ok());
            let mut next = || numbers.next().flatten();
            rows.push((u32::try_from(next()?).ok()?, next()?, next()?));
        }
        let read = |(key, version, value): &(Key, u64, u64)| Event::Read {
            key: *key,
            version: *version,
            value: *value,
        };
        match (self, rows.as_slice()) {
            (Self::Read(key), [row]) if row.0 == key => Some(vec![read(row)]),
            (Self::ReadAll, rows) if rows.len() == KEYS as usize => {
                let ordered = rows.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0);
                ordered.then(|| rows.iter().map(read).collect())
            }
            (Self::Lock(key), [(found, version, value)]) if *found == key => {
                Some(vec![Event::Lock {
                    key,
                    version: *version,
                    value: *value,
                }])
            }
            (Self::Blind(key, id), []) if done.tag == "UPDATE 1" => Some(vec![Event::Write {
                key,
                id,
                version: None,
            }]),
            (Self::Told(key, id), [(found, version, value)])
                if *found == key && *value == id && done.tag == "UPDATE 1" =>
            {
                Some(vec![Event::Write {
                    key,
                    id,
                    version: Some(*version),
                }])
            }
            _ => None,
        }
    }
}

/// How a client sends a transaction.
#[derive(Debug, Clone, Copy)]
enum Manner {
    /// It waits for each answer.
    Talk(Protocol),
    /// It sends all requests at once.
    Burst(Protocol),
    OneString,
    OneSync,
    /// One statement, no transaction block.
    Alone(Protocol),
}

const MANNERS: [Manner; 11] = [
    Manner::Talk(Protocol::Simple),
    Manner::Talk(Protocol::Extended),
    Manner::Talk(Protocol::Prepared),
    Manner::Burst(Protocol::Simple),
    Manner::Burst(Protocol::Extended),
    Manner::Burst(Protocol::Prepared),
    Manner::OneString,
    Manner::OneSync,
    Manner::Alone(Protocol::Simple),
    Manner::Alone(Protocol::Extended),
    Manner::Alone(Protocol::Prepared),
];

/// What is to be done in one transaction.
#[derive(Debug)]
struct Plan {
    manner: Manner,
    ops: Vec<Op>,
    /// It ends with ROLLBACK.
    taken_back: bool,
}

fn random_op(random: &mut StdRng, first: Key, ids: &AtomicU64) -> Op {
    let key = first + random.random_range(0..KEYS);
    let id = || ids.fetch_add(1, Ordering::Relaxed);
    match random.random_range(0..100) {
        0..30 => Op::Read(key),
        30..45 => Op::ReadAll,
        45..53 => Op::Lock(key),
        53..75 => Op::Blind(key, id()),
        75..98 => Op::Told(key, id()),
        _ => Op::Fail,
    }
}

impl Plan {
    fn random(random: &mut StdRng, first: Key, ids: &AtomicU64) -> Self {
        let manner = *MANNERS.choose(random).expect("some");
        let count = match manner {
            Manner::Alone(_) => 1,
            _ => random.random_range(1..=5),
        };
        Self {
            manner,
            ops: (0..count).map(|_| random_op(random, first, ids)).collect(),
            taken_back: random.random_ratio(1, 25),
        }
    }

    /// Requests, with the statements that each runs; `None` stands for BEGIN and the end.
    fn requests(&self, first: Key) -> Vec<(Request, Vec<Option<Op>>)> {
        let end = plain(if self.taken_back {
            "rollback"
        } else {
            "commit"
        });
        let mut statements = vec![(plain("begin"), None)];
        statements.extend(self.ops.iter().map(|op| (op.statement(first), Some(*op))));
        statements.push((end, None));
        let (texts, ops): (Vec<Statement>, Vec<Option<Op>>) = statements.into_iter().unzip();
        match self.manner {
            Manner::OneString => vec![(one_string(&texts), ops)],
            Manner::OneSync => vec![(one_sync(&texts), ops)],
            Manner::Alone(protocol) => vec![(texts[1].request(protocol), vec![ops[1]])],
            Manner::Talk(protocol) | Manner::Burst(protocol) => {
                let requests = texts.iter().map(|text| text.request(protocol));
                requests.zip(ops.into_iter().map(|op| vec![op])).collect()
            }
        }
    }
}

/// One client's session and what it has seen.
struct Actor<'a> {
    number: u64,
    client: Client,
    clock: Instant,
    ids: &'a AtomicU64,
    seen: Vec<Transaction>,
}

impl<'a> Actor<'a> {
    fn new(number: u64, proxy: &Proxy, clock: Instant, ids: &'a AtomicU64) -> Self {
        let mut client = proxy.connect();
        let ops = [
            Op::Read(0),
            Op::ReadAll,
            Op::Lock(0),
            Op::Blind(0, 0),
            Op::Told(0, 0),
            Op::Fail,
        ];
        let ends = ["begin", "commit", "rollback"].map(plain);
        for statement in ops.map(|op| op.statement(0)).iter().chain(&ends) {
            let request = finish(statement.preparation(statement.sql));
            client.send(&request.bytes);
            let reply = Reply::read(&mut client);
            assert!(reply.shape == request.shape, "{statement:?}: {reply:?}");
        }
        Self {
            number,
            client,
            clock,
            ids,
            seen: Vec::new(),
        }
    }

    fn now(&self) -> u64 {
        self.clock.elapsed().as_nanos() as u64
    }

    fn play(&mut self, random: &mut StdRng, first: Key) -> Result<(), String> {
        let plan = Plan::random(random, first, self.ids);
        let mut course = Course {
            transaction: Transaction {
                name: format!("client {} #{} {plan:?}", self.number, self.seen.len()),
                began: self.now(),
                ended: 0,
                events: Vec::new(),
                outcome: Outcome::Refused,
            },
            error: None,
            alone: matches!(plan.manner, Manner::Alone(_)),
        };
        let requests = plan.requests(first);
        let at_once = matches!(plan.manner, Manner::Burst(_));
        if at_once {
            let all = requests.iter().map(|(request, _)| request.bytes.as_slice());
            self.client.send(&all.collect::<Vec<_>>().concat());
        }
        for (request, ops) in &requests {
            if !at_once {
                self.client.send(&request.bytes);
            }
            let reply = Reply::read(&mut self.client);
            if let Err(what) = course.take(request, ops, &reply) {
                let Transaction { name, events, .. } = course.transaction;
                return Err(format!(
                    "{name}: {what}: {ops:?}\n{reply:?}\nseen: {events:?}"
                ));
            }
            if course.error.is_some() && !at_once {
                break;
            }
        }
        let mut transaction = course.transaction;
        transaction.ended = self.now();
        self.seen.push(transaction);
        // Whatever is left of it.
        let rollback = plain("rollback").request(Protocol::Simple);
        self.client.send(&rollback.bytes);
        let reply = Reply::read(&mut self.client);
        match reply.status {
            b'I' => Ok(()),
            _ => Err(format!("client {}: no end: {reply:?}", self.number)),
        }
    }
}

/// A transaction under way.
struct Course {
    transaction: Transaction,
    /// The first error's SQLSTATE.
    error: Option<String>,
    /// A single statement.
    alone: bool,
}

impl Course {
    /// Takes down what was seen; complains of what no server would answer.
    fn take(
        &mut self,
        request: &Request,
        ops: &[Option<Op>],
        reply: &Reply,
    ) -> Result<(), &'static str> {
        if reply.end.is_some() {
            return Err("the connection ended");
        }
        if !reply.fits(&request.shape) {
            return Err("not an answer to this");
        }
        for (op, done) in ops.iter().zip(&reply.done) {
            match op {
                Some(op) => {
                    let events = op.events(done).ok_or("not a result of this")?;
                    self.transaction.events.extend(events);
                }
                None if done.tag == "COMMIT" && self.error.is_none() => {
                    self.transaction.outcome = Outcome::Committed;
                }
                None if matches!(done.tag.as_str(), "BEGIN" | "ROLLBACK") => {}
                None => return Err("not an end of this"),
            }
        }
        match reply.sqlstate() {
            None if self.alone => self.transaction.outcome = Outcome::Committed,
            None => {}
            Some(sqlstate) => {
                if !self.expects(&sqlstate, ops.get(reply.done.len()).copied().flatten()) {
                    return Err("an error nobody expects");
                }
                if self.transaction.outcome == Outcome::Committed {
                    return Err("an error behind a commit");
                }
                if sqlstate == "08007" {
                    self.transaction.outcome = Outcome::Unknown;
                }
                self.error.get_or_insert(sqlstate);
            }
        }
        Ok(())
    }

    /// Whether this may be the answer to that, which is the statement that was not completed.
    fn expects(&self, sqlstate: &str, op: Option<Op>) -> bool {
        match (sqlstate, &self.error) {
            ("40001" | "08007", None) => true,
            ("22012", None) => matches!(op, Some(Op::Fail)),
            ("25P02", Some(_)) => !self.alone,
            _ => false,
        }
    }
}

#[derive(Debug, Default)]
struct Counts {
    committed: usize,
    refused: usize,
    unknown: usize,
}

/// Rows of a round, as their logs tell.
fn read_history(client: &mut Client, first: Key) -> Result<History, String> {
    client.send(
        &plain("select k, version, value, log from items order by k")
            .request(Protocol::Simple)
            .bytes,
    );
    let reply = Reply::read(client);
    let mut history = BTreeMap::new();
    for row in reply.done.iter().flat_map(|done| &done.rows) {
        let text = |at: usize| row[at].clone().unwrap_or_default();
        let key: Key = text(0).parse().expect("a number");
        if key < first || key >= first + KEYS {
            continue;
        }
        let log = text(3);
        let ids: Vec<u64> = log
            .split_whitespace()
            .map(|id| id.parse().expect("a number"))
            .collect();
        let last = ids.last().copied().unwrap_or(0);
        if text(1) != ids.len().to_string() || text(2) != last.to_string() {
            return Err(format!("row {key} contradicts itself: {row:?}"));
        }
        history.insert(key, ids);
    }
    match history.len() == KEYS as usize {
        true => Ok(history),
        false => Err(format!("rows are missing: {history:?} {reply:?}")),
    }
}

/// Orders aborts as long as the clients run.
fn disturb(cluster: &Cluster, random: &mut StdRng, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let code = if random.random() { "OC000" } else { "OC001" };
        let count = random.random_range(1..=3);
        cluster.order(&match random.random_range(0..3) {
            0 => json!({"kind": "abort_statement", "code": code, "count": count, "match": "items"}),
            _ => json!({"kind": "abort_commit", "code": code, "count": count}),
        });
        std::thread::sleep(Duration::from_millis(random.random_range(5..60)));
    }
    cluster.forget_orders();
}

fn report(metrics: &Metrics) -> String {
    let outcomes = ["repeated", "diverged", "exhausted", "budget", "ineligible"];
    let count = |outcome| metrics.sum("dsqlproxy_retries_total", &[("outcome", outcome)]);
    let parts = outcomes.map(|outcome| format!("{outcome} {}", count(outcome)));
    parts.join(", ")
}

#[test]
fn random_transactions_have_an_order() {
    let wanted = number("DSQLPROXY_MODEL_TRANSACTIONS", 2000);
    let seed = number("DSQLPROXY_SEED", 1);
    let cluster = Cluster::start();
    let proxy = plan()
        .size(10)
        .dsql(&cluster)
        .workers(2)
        .retry_with("attempts: 5, budget_percent: 100")
        .start();
    let mut admin = proxy.connect();
    set_up(
        &mut admin,
        "create table items (k int primary key, version bigint, value bigint, log text)",
    );
    let clock = Instant::now();
    let ids = AtomicU64::new(1);
    let mut actors: Vec<Actor> = (0..CLIENTS)
        .map(|number| Actor::new(number, &proxy, clock, &ids))
        .collect();
    let mut counts = Counts::default();
    let rounds = wanted.div_ceil(ROUND).max(1);
    for round in 0..rounds {
        let first = round as u32 * 100;
        let rows: Vec<String> = (first..first + KEYS)
            .map(|key| format!("({key}, 0, 0, '')"))
            .collect();
        set_up(
            &mut admin,
            &format!(
                "delete from items; insert into items values {}",
                rows.join(", ")
            ),
        );
        let share = wanted.min(ROUND).div_ceil(CLIENTS);
        let stop = AtomicBool::new(false);
        std::thread::scope(|threads| {
            let mut random = StdRng::seed_from_u64(seed.wrapping_mul(7919) ^ round);
            let (cluster, stop) = (&cluster, &stop);
            let disturber = threads.spawn(move || disturb(cluster, &mut random, stop));
            let players: Vec<_> = actors
                .iter_mut()
                .map(|actor| {
                    let own = seed.wrapping_mul(1_000_003) ^ (round << 8) ^ actor.number;
                    let mut random = StdRng::seed_from_u64(own);
                    threads
                        .spawn(move || (0..share).try_for_each(|_| actor.play(&mut random, first)))
                })
                .collect();
            let results: Vec<_> = players.into_iter().map(|player| player.join()).collect();
            stop.store(true, Ordering::Relaxed);
            disturber.join().expect("orders");
            for result in results {
                let told = result.expect("no panic");
                assert_eq!(told, Ok(()), "seed {seed}, round {round}");
            }
        });
        let seen: Vec<Transaction> = actors
            .iter_mut()
            .flat_map(|actor| std::mem::take(&mut actor.seen))
            .collect();
        for transaction in &seen {
            match transaction.outcome {
                Outcome::Committed => counts.committed += 1,
                Outcome::Refused => counts.refused += 1,
                Outcome::Unknown => counts.unknown += 1,
            }
        }
        let history = read_history(&mut admin, first).expect("rows");
        if let Err(violations) = checker::check(&seen, &history) {
            panic!("seed {seed}, round {round}:\n{}", violations.join("\n"));
        }
    }
    let metrics = proxy.metrics();
    println!(
        "model: seed {seed}, {counts:?} in {:?}; {}; conflicts at the emulator {}",
        clock.elapsed(),
        report(&metrics),
        cluster.stat("conflicts")
    );
    let outcome = |outcome| metrics.sum("dsqlproxy_retries_total", &[("outcome", outcome)]);
    assert!(counts.committed as u64 > wanted / 4 && outcome("repeated") > 0.0);
    assert!(outcome("diverged") > 0.0, "real conflicts there must be");
}
