//! A ledger of operations that are done once, and a bank whose money stays what it is, while
//! everything between the clients and the cluster breaks.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;

use crate::client::{Client, Login, LoginError, PATIENCE};
use crate::dsql::{Cluster, set_up};
use crate::number;
use crate::postgres::ROLE;
use crate::proxy::Proxy;
use crate::proxy::plan;
use crate::relay::Relay;
use crate::requests::{Protocol, Reply, Request, Statement, one_string, one_sync, plain};

const CLIENTS: u64 = 32;
const ACCOUNTS: u64 = 200;
const OPENING: u64 = 1_000_000;

const ENTRY: &str = "insert into entries (op, source, target, amount) values ($1, $2, $3, $4)";
const ENTRY_TOLD: &str =
    "insert into entries (op, source, target, amount) values ($1, $2, $3, $4) returning op";
const READ: &str = "select balance from accounts where id = $1";
const SET: &str = "update accounts set balance = $2 where id = $1";
const GIVE: &str = "update accounts set balance = balance - $2 where id = $1";
const TAKE: &str = "update accounts set balance = balance + $2 where id = $1 returning id";
const TOTAL: &str = "select sum(balance) from accounts";

fn statement(sql: &'static str, parameters: &[u64]) -> Statement {
    Statement {
        sql,
        parameters: parameters.to_vec(),
        rows: sql.starts_with("select") || sql.contains("returning"),
    }
}

/// What a client knows of an operation afterwards.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Acknowledged,
    /// An error that says it was not done, or nothing that could do it was sent.
    Refused(String),
    /// 08007.
    Unknown,
    /// The client's own connection ended without a word, with a proxy that went away.
    Silence,
}

/// What it does: an entry that moves nothing, or one that moves money.
#[derive(Debug, Clone, Copy)]
struct Operation {
    id: u64,
    source: u64,
    target: u64,
    amount: u64,
}

impl Operation {
    fn random(random: &mut StdRng, id: u64) -> Self {
        let source = random.random_range(0..ACCOUNTS);
        Self {
            id,
            source,
            target: (source + random.random_range(1..ACCOUNTS)) % ACCOUNTS,
            amount: random.random_range(1..100),
        }
    }

    fn entry(&self, sql: &'static str) -> Statement {
        statement(sql, &[self.id, self.source, self.target, self.amount])
    }

    /// Without reading anything before.
    fn blind(&self) -> Vec<Statement> {
        vec![
            plain("begin"),
            statement(GIVE, &[self.source, self.amount]),
            statement(TAKE, &[self.target, self.amount]),
            self.entry(ENTRY_TOLD),
            plain("commit"),
        ]
    }
}

/// How a request went.
enum Answer {
    /// Rows of the last statement.
    Good(Reply),
    Bad(Verdict),
}

struct Actor<'a> {
    random: StdRng,
    scene: &'a Scene,
    client: Option<Client>,
    /// [`Scene::gone`] when it connected.
    gone: u64,
    verdicts: Vec<(Operation, Verdict)>,
}

/// What all clients share.
struct Scene {
    address: RwLock<String>,
    over: AtomicBool,
    next: AtomicU64,
    /// Proxies that were told to go.
    gone: AtomicU64,
    /// Refused logins by SQLSTATE, and what else is worth a line.
    notes: Mutex<BTreeMap<String, u64>>,
}

impl Scene {
    fn note(&self, what: String) {
        *self
            .notes
            .lock()
            .expect("unpoisoned")
            .entry(what)
            .or_default() += 1;
    }
}

impl Actor<'_> {
    fn play(&mut self) {
        while !self.scene.over.load(Ordering::Relaxed) {
            let pause = self.random.random_range(10..60);
            std::thread::sleep(Duration::from_millis(pause));
            if !self.connect() {
                continue;
            }
            let id = self.scene.next.fetch_add(1, Ordering::Relaxed);
            let mut operation = Operation::random(&mut self.random, id);
            let verdict = match self.random.random_range(0..9) {
                0 | 1 => {
                    operation.amount = 0;
                    let protocol = self.protocol();
                    let sql = [ENTRY, ENTRY_TOLD][self.random.random_range(0..2)];
                    self.alone(&operation.entry(sql).request(protocol))
                }
                2 => self.alone(&one_string(&operation.blind())),
                3 => self.alone(&one_sync(&operation.blind())),
                4 => {
                    self.look_at_total();
                    continue;
                }
                5 => self.talk(operation, false),
                _ => self.talk(operation, true),
            };
            self.verdicts.push((operation, verdict));
        }
    }

    fn protocol(&mut self) -> Protocol {
        [Protocol::Simple, Protocol::Extended][self.random.random_range(0..2)]
    }

    fn connect(&mut self) -> bool {
        if self.client.is_some() {
            return true;
        }
        self.gone = self.scene.gone.load(Ordering::SeqCst);
        let address = self.scene.address.read().expect("unpoisoned").clone();
        match Client::login(&address, &Login::new(ROLE, "app")) {
            Ok(client) => self.client = Some(client),
            Err(LoginError::Refused(error)) => {
                self.scene.note(format!("login {}", error.sqlstate()));
            }
            // Drained and not there again.
            Err(LoginError::Io(error)) => {
                assert!(!is_hang(&error), "a login hangs");
                self.scene.note(format!("login {:?}", error.kind()));
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        self.client.is_some()
    }

    /// Sends a request that may commit or not, and says what its end means.
    fn ask(&mut self, request: &Request, commits: bool) -> Answer {
        let Some(client) = &mut self.client else {
            return Answer::Bad(Verdict::Refused("no connection".into()));
        };
        let sent = client.try_send(&request.bytes);
        let reply = Reply::read(client);
        if let Some(end) = &reply.end {
            assert!(!is_hang(end), "an answer hangs: {reply:?}");
        }
        if reply.end.is_some() || sent.is_err() {
            self.client = None;
        }
        match reply.sqlstate().as_deref() {
            Some("08007") => {
                if !commits {
                    self.scene.note("08007 without a commit".into());
                }
                Answer::Bad(Verdict::Unknown)
            }
            Some(sqlstate) => {
                self.roll_back(reply.status);
                Answer::Bad(Verdict::Refused(sqlstate.into()))
            }
            None => match &reply.end {
                None => {
                    let shape = &request.shape;
                    assert!(reply.fits(shape), "{reply:?} for {shape}");
                    Answer::Good(reply)
                }
                Some(end) => Answer::Bad(self.silence(request, &reply, end, commits)),
            },
        }
    }

    /// The connection ended without a word. That is well when the proxy went away, or when a row was
    /// cut that the client has got a part of: nothing can be said behind that.
    fn silence(&self, request: &Request, reply: &Reply, end: &io::Error, commits: bool) -> Verdict {
        let went = self.scene.gone.load(Ordering::SeqCst) != self.gone;
        let text = String::from_utf8_lossy(&request.bytes);
        let inside = end.to_string().contains("inside a message") && !commits;
        assert!(
            went || inside,
            "ended without a word: {reply:?} to {text:?}"
        );
        match commits {
            true => Verdict::Silence,
            false => Verdict::Refused("silence".into()),
        }
    }

    fn roll_back(&mut self, status: u8) {
        let Some(client) = self.client.as_mut().filter(|_| status != b'I') else {
            return;
        };
        let rollback = plain("rollback").request(Protocol::Simple);
        let sent = client.try_send(&rollback.bytes);
        if sent.is_err() || Reply::read(client).status != b'I' {
            self.client = None;
        }
    }

    fn alone(&mut self, request: &Request) -> Verdict {
        match self.ask(request, true) {
            Answer::Bad(verdict) => verdict,
            Answer::Good(reply) => acknowledged(&reply),
        }
    }

    /// Reads both accounts, or not, and waits for each answer.
    fn talk(&mut self, operation: Operation, reads: bool) -> Verdict {
        match self.try_talk(operation, reads) {
            Ok(reply) => acknowledged(&reply),
            Err(verdict) => verdict,
        }
    }

    fn try_talk(&mut self, operation: Operation, reads: bool) -> Result<Reply, Verdict> {
        let protocol = self.protocol();
        let mut ask =
            |statement: Statement, commits| match self.ask(&statement.request(protocol), commits) {
                Answer::Good(reply) => Ok(reply),
                Answer::Bad(verdict) => Err(verdict),
            };
        let Operation {
            source,
            target,
            amount,
            ..
        } = operation;
        ask(plain("begin"), false)?;
        if reads {
            let balance = |reply: Reply| {
                let value = reply.done[0].rows[0][0].as_ref().expect("a balance");
                value.parse::<u64>().expect("a number")
            };
            let given = balance(ask(statement(READ, &[source]), false)?);
            let taken = balance(ask(statement(READ, &[target]), false)?);
            ask(statement(SET, &[source, given - amount]), false)?;
            ask(statement(SET, &[target, taken + amount]), false)?;
        } else {
            ask(statement(GIVE, &[source, amount]), false)?;
            ask(statement(TAKE, &[target, amount]), false)?;
        }
        ask(operation.entry(ENTRY), false)?;
        ask(plain("commit"), true)
    }

    fn look_at_total(&mut self) {
        let protocol = self.protocol();
        let request = statement(TOTAL, &[]).request(protocol);
        match self.ask(&request, false) {
            Answer::Good(reply) => {
                let total = reply.done[0].rows[0][0].clone().expect("a sum");
                assert_eq!(total, (ACCOUNTS * OPENING).to_string(), "the bank's money");
                self.scene.note("totals read".into());
            }
            Answer::Bad(verdict) => self.scene.note(format!("totals {verdict:?}")),
        }
    }
}

fn is_hang(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn acknowledged(reply: &Reply) -> Verdict {
    match reply.done.last() {
        Some(done) if done.tag == "COMMIT" || done.tag.starts_with("INSERT") => {
            Verdict::Acknowledged
        }
        other => panic!("neither done nor refused: {other:?}"),
    }
}

/// Breaks one thing; gives what.
fn disturb(random: &mut StdRng, cluster: &Cluster, relay: &Relay) -> &'static str {
    let count = random.random_range(1..=3);
    let code = if random.random() { "OC000" } else { "OC001" };
    let tables = "accounts|entries";
    let (name, order) = match random.random_range(0..100) {
        0..18 => (
            "abort_commit",
            json!({"kind": "abort_commit", "code": code, "count": count}),
        ),
        18..28 => (
            "abort_statement",
            json!({"kind": "abort_statement", "code": code, "count": count, "match": tables}),
        ),
        28..36 => (
            "cut_before_commit",
            json!({"kind": "cut_before_commit", "count": count}),
        ),
        36..44 => (
            "cut_after_commit",
            json!({"kind": "cut_after_commit", "count": count}),
        ),
        44..52 => (
            "cut",
            json!({"kind": "cut", "count": count, "match": tables}),
        ),
        52..58 => ("delay", json!({"kind": "delay", "ms": 150, "count": 5})),
        // A denial keeps the pool from knocking for two seconds: few of them.
        58..59 => ("refuse_login", json!({"kind": "refuse_login"})),
        59..64 => ("expire_tokens", json!({"kind": "expire_tokens"})),
        64..68 => ("waking_up", json!({"kind": "waking_up"})),
        68..72 => ("rate_exceeded", json!({"kind": "rate_exceeded"})),
        72..75 => {
            // Beyond the age of connections and tokens.
            cluster.advance(3700);
            return "clock";
        }
        75..78 => ("cut all", json!({"kind": "cut"})),
        _ => {
            let bytes = match random.random_range(0..3) {
                0 => 0,
                1 => random.random_range(1..200),
                _ => random.random_range(1..5000),
            };
            relay.cut(random, bytes);
            return "relay";
        }
    };
    cluster.order(&order);
    name
}

/// Drains the proxy as an upgrade does and starts the next one.
fn replace(proxy: &mut Proxy, start: impl Fn() -> Proxy, scene: &Scene, early: bool) {
    let next = early.then(&start);
    if let Some(next) = &next {
        *scene.address.write().expect("unpoisoned") = next.address();
    }
    scene.gone.fetch_add(1, Ordering::SeqCst);
    proxy.signal("TERM");
    assert_eq!(proxy.wait_exit(PATIENCE), Some(0), "drained");
    *proxy = next.unwrap_or_else(start);
    *scene.address.write().expect("unpoisoned") = proxy.address();
}

/// Rows of a table as numbers.
fn read_rows(client: &mut Client, sql: &'static str) -> Vec<Vec<u64>> {
    client.send(&plain(sql).request(Protocol::Simple).bytes);
    let reply = Reply::read(client);
    assert!(
        reply.error.is_none() && reply.end.is_none(),
        "{sql}: {:?}",
        reply.error
    );
    let rows = reply.done.into_iter().flat_map(|done| done.rows);
    let number = |value: Option<String>| value.expect("no NULL").parse().expect("a number");
    rows.map(|row| row.into_iter().map(number).collect())
        .collect()
}

/// Compares what clients know with what is there; gives sentences.
fn audit(
    verdicts: &[(Operation, Verdict)],
    entries: &[Vec<u64>],
    accounts: &[Vec<u64>],
) -> Vec<String> {
    let mut faults = Vec::new();
    let mut there: HashMap<u64, u64> = HashMap::new();
    let mut expected = vec![OPENING; ACCOUNTS as usize];
    for entry in entries {
        *there.entry(entry[0]).or_default() += 1;
        expected[entry[1] as usize] -= entry[3];
        expected[entry[2] as usize] += entry[3];
    }
    for (operation, verdict) in verdicts {
        let count = there.remove(&operation.id).unwrap_or(0);
        let good = match verdict {
            Verdict::Acknowledged => count == 1,
            Verdict::Refused(_) => count == 0,
            Verdict::Unknown | Verdict::Silence => count <= 1,
        };
        if !good {
            faults.push(format!(
                "{verdict:?}, and there {count} times: {operation:?}"
            ));
        }
    }
    for id in there.keys() {
        faults.push(format!("nobody asked for {id}"));
    }
    for account in accounts {
        let expected = expected[account[0] as usize];
        if account[1] != expected {
            faults.push(format!(
                "account {} has {} instead of {expected}",
                account[0], account[1]
            ));
        }
    }
    let total: u64 = accounts.iter().map(|account| account[1]).sum();
    if total != ACCOUNTS * OPENING {
        faults.push(format!(
            "the bank has {total} instead of {}",
            ACCOUNTS * OPENING
        ));
    }
    faults
}

#[test]
fn the_audit_finds_what_is_wrong() {
    let operation = |id| Operation {
        id,
        source: 1,
        target: 2,
        amount: 5,
    };
    let row = |id| vec![id, 1, 2, 5];
    let accounts = |moved: u64| -> Vec<Vec<u64>> {
        let balance = |id| match id {
            1 => OPENING - moved,
            2 => OPENING + moved,
            _ => OPENING,
        };
        (0..ACCOUNTS).map(|id| vec![id, balance(id)]).collect()
    };
    let refused = || Verdict::Refused("40001".into());
    for (verdict, rows, good) in [
        (Verdict::Acknowledged, 1, true),
        (Verdict::Acknowledged, 0, false),
        (Verdict::Acknowledged, 2, false),
        (refused(), 0, true),
        (refused(), 1, false),
        (Verdict::Unknown, 0, true),
        (Verdict::Unknown, 1, true),
        (Verdict::Unknown, 2, false),
        (Verdict::Silence, 2, false),
    ] {
        let entries: Vec<_> = (0..rows).map(|_| row(7)).collect();
        let faults = audit(
            &[(operation(7), verdict.clone())],
            &entries,
            &accounts(rows * 5),
        );
        assert_eq!(faults.is_empty(), good, "{verdict:?} {rows}: {faults:?}");
    }
    assert!(!audit(&[], &[row(7)], &accounts(5)).is_empty(), "nobody's");
    let acknowledged = [(operation(7), Verdict::Acknowledged)];
    assert!(
        !audit(&acknowledged, &[row(7)], &accounts(0)).is_empty(),
        "not moved"
    );
    assert!(
        !audit(&acknowledged, &[row(7)], &accounts(10)).is_empty(),
        "moved twice"
    );
}

#[test]
fn nothing_is_lost_and_nothing_doubled() {
    let time = Duration::from_secs(number("DSQLPROXY_LEDGER_SECONDS", 60));
    let seed = number("DSQLPROXY_SEED", 1);
    let cluster = Cluster::start();
    let relay = Relay::start(cluster.address());
    let start = || {
        plan()
            .size(10)
            .dsql_at(&cluster, relay.address())
            .pool("wait_timeout", "10s")
            .retry_with("attempts: 5, budget_percent: 100")
            .section("limits: {drain_timeout: 1s}")
            .start()
    };
    let mut proxy = start();
    let mut client = proxy.connect();
    for sql in [
        "create table accounts (id bigint primary key, balance bigint)",
        "create table entries (row uuid primary key default gen_random_uuid(), \
         op bigint, source bigint, target bigint, amount bigint)",
    ] {
        set_up(&mut client, sql);
    }
    let rows: Vec<String> = (0..ACCOUNTS)
        .map(|id| format!("({id}, {OPENING})"))
        .collect();
    set_up(
        &mut client,
        &format!("insert into accounts values {}", rows.join(", ")),
    );
    drop(client);
    let scene = Scene {
        address: RwLock::new(proxy.address()),
        over: AtomicBool::new(false),
        next: AtomicU64::new(1),
        gone: AtomicU64::new(0),
        notes: Mutex::default(),
    };
    let mut disturbances: BTreeMap<&str, u64> = BTreeMap::new();
    let verdicts: Vec<(Operation, Verdict)> = std::thread::scope(|threads| {
        let players: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let mut actor = Actor {
                    random: StdRng::seed_from_u64(seed.wrapping_mul(1_000_003) ^ number),
                    scene: &scene,
                    client: None,
                    gone: 0,
                    verdicts: Vec::new(),
                };
                threads.spawn(move || {
                    actor.play();
                    actor.verdicts
                })
            })
            .collect();
        let begun = Instant::now();
        let mut random = StdRng::seed_from_u64(seed);
        let mut restart = Duration::from_secs(6);
        while begun.elapsed() < time && players.iter().all(|player| !player.is_finished()) {
            let what = if begun.elapsed() > restart {
                restart += Duration::from_secs(9);
                replace(&mut proxy, start, &scene, random.random());
                "restart"
            } else {
                disturb(&mut random, &cluster, &relay)
            };
            *disturbances.entry(what).or_default() += 1;
            std::thread::sleep(Duration::from_millis(random.random_range(20..250)));
        }
        scene.over.store(true, Ordering::Relaxed);
        let results = players.into_iter().map(|player| player.join());
        results
            .flat_map(|result| result.expect("no panic"))
            .collect()
    });
    cluster.forget_orders();
    // What was under way when its client lost it ends first.
    drop(proxy);
    let proxy = plan().size(10).dsql(&cluster).start();
    let mut client = proxy.connect();
    let entries = read_rows(
        &mut client,
        "select op, source, target, amount from entries",
    );
    let accounts = read_rows(&mut client, "select id, balance from accounts");
    let mut counts: BTreeMap<&Verdict, u64> = BTreeMap::new();
    for (_, verdict) in &verdicts {
        *counts.entry(verdict).or_default() += 1;
    }
    let mut lines = format!(
        "ledger: seed {seed}, {time:?}, {} operations\n",
        verdicts.len()
    );
    let _ = writeln!(lines, "  {counts:?}");
    let _ = writeln!(lines, "  disturbed by {disturbances:?}");
    let _ = writeln!(
        lines,
        "  besides {:?}",
        scene.notes.lock().expect("unpoisoned")
    );
    println!("{lines}");
    let faults = audit(&verdicts, &entries, &accounts);
    assert!(faults.is_empty(), "{}\n{lines}", faults.join("\n"));
    let count = |verdict: &Verdict| counts.get(verdict).copied().unwrap_or(0);
    let done = count(&Verdict::Acknowledged);
    assert!(done > 100, "{lines}");
    assert!(
        count(&Verdict::Unknown) > 0,
        "none of the cuts was met: {lines}"
    );
}

/// What commits was sent, and then the proxy was told to go: nobody knows.
#[test]
fn a_write_that_a_drain_does_not_wait_for_is_unknown() {
    let cluster = Cluster::start();
    for write in [true, false] {
        let mut proxy = plan()
            .size(10)
            .dsql(&cluster)
            .section("limits: {drain_timeout: 100ms}")
            .start();
        let mut client = proxy.connect();
        set_up(
            &mut client,
            "create table if not exists late (id int primary key)",
        );
        let sql = if write {
            "insert into late values (1)"
        } else {
            "commit"
        };
        if !write {
            client.run("begin");
            client.run("insert into late values (2)");
        }
        cluster.order(&json!({"kind": "delay", "ms": 1000, "match": sql.replace(['(', ')'], ".")}));
        client.send(&plain(sql).request(Protocol::Simple).bytes);
        cluster.wait_struck();
        proxy.signal("TERM");
        let reply = Reply::read(&mut client);
        assert_eq!(proxy.wait_exit(PATIENCE), Some(0));
        assert_eq!(
            reply.sqlstate().as_deref(),
            Some("08007"),
            "{sql}: {reply:?}"
        );
    }
}
