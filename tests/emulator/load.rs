//! Many sessions at once: the recorded transaction cases in a loop, each answer checked.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use crate::Test;
use crate::client::{Door, Session};
use crate::conformance;
use crate::ground::Ground;

pub const TESTS: &[Test] = &[(
    "load::transactions_of_many_sessions",
    transactions_of_many_sessions,
)];

/// Size of the run, from the environment.
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is not a number"))
    })
}

#[derive(Default)]
struct Tally {
    statements: AtomicU64,
    loops: AtomicU64,
    conflicts: AtomicU64,
}

/// What the sessions share.
struct Storm<'a> {
    door: Door,
    token: String,
    cases: Vec<&'a Json>,
    tally: Tally,
    wrong: Mutex<Vec<String>>,
    /// All are connected.
    ready: Barrier,
    life: Duration,
}

fn transactions_of_many_sessions(ground: &mut Ground) {
    let sessions = number("DSQLPROXY_LOAD_SESSIONS", 100);
    let life = Duration::from_secs(number("DSQLPROXY_LOAD_SECONDS", 3));
    let all = conformance::recorded("transaction");
    let cases: Vec<&Json> = all.iter().collect();
    assert!(!cases.is_empty());
    set_up(ground, &cases);
    let storm = Storm {
        // Schema changes take turns, and there may be hundreds in front.
        door: Door {
            patience: Duration::from_secs(300),
            ..ground.door.clone()
        },
        token: ground.token("admin"),
        cases,
        tally: Tally::default(),
        wrong: Mutex::new(Vec::new()),
        ready: Barrier::new(usize::try_from(sessions).unwrap() + 1),
        life,
    };
    let (connected, ran) = std::thread::scope(|scope| {
        let begun = Instant::now();
        for number in 0..sessions {
            let storm = &storm;
            let thread = std::thread::Builder::new().stack_size(512 * 1024);
            thread
                .spawn_scoped(scope, move || storm.run(number))
                .unwrap();
        }
        storm.ready.wait();
        (begun.elapsed(), Instant::now())
    });
    let ran = ran.elapsed();
    let Tally {
        statements,
        loops,
        conflicts,
    } = &storm.tally;
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    println!(
        "    {sessions} sessions: {:.0} connections/s, {:.0} statements/s over {:.0}s, {} loops, {} conflicts retried",
        per_second(sessions, connected),
        per_second(read(statements), ran),
        ran.as_secs_f64(),
        read(loops),
        read(conflicts),
    );
    let wrong = storm.wrong.into_inner().unwrap();
    let shown: Vec<&String> = wrong.iter().take(10).collect();
    assert!(
        wrong.is_empty(),
        "{} wrong answers: {shown:#?}",
        wrong.len()
    );
    assert!(
        read(loops) >= sessions,
        "every session came round once at least"
    );
    ground.admin().run("SELECT 1");
}

fn per_second(count: u64, time: Duration) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / time.as_secs_f64()
}

/// Tables are shared, made once: what the cases commit is told apart by value.
fn set_up(ground: &mut Ground, cases: &[&Json]) {
    let mut done: Vec<&str> = Vec::new();
    for case in cases {
        for sql in case["setup"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Json::as_str)
        {
            if !done.contains(&sql) {
                ground.set_up(&[sql]);
                done.push(sql);
            }
        }
    }
    ground.forget_keeper();
}

impl Storm<'_> {
    fn run(&self, number: u64) {
        let opened = Session::open(&self.door, &[("user", "admin")], &self.token);
        self.ready.wait();
        let mut session = match opened {
            Ok(session) => session,
            Err(lost) => return self.blame(format!("login {number}: {lost}")),
        };
        let begun = Instant::now();
        let mut turn = 0;
        // Once round, however long it takes; then until the time is over.
        while turn == 0 || begun.elapsed() < self.life {
            for case in &self.cases {
                if let Err(what) = self.play(&mut session, case, number, turn) {
                    self.blame(format!("{}: {what}", case["name"]));
                    return;
                }
            }
            turn += 1;
            self.tally.loops.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn blame(&self, what: String) {
        self.wrong.lock().unwrap().push(what);
    }

    /// One case; from its beginning again when another session's commit came between.
    fn play(
        &self,
        session: &mut Session,
        case: &Json,
        number: u64,
        turn: u64,
    ) -> Result<(), String> {
        for attempt in 0..50 {
            let played = self.play_steps(session, case, number, turn * 50 + attempt);
            if session.status != 'I' {
                session.query("ROLLBACK").map_err(|lost| lost.to_string())?;
            }
            match played {
                // Nobody else writes what this session writes: only a schema change may come between.
                Err(what) if what.contains("(OC001)") => {
                    self.tally.conflicts.fetch_add(1, Ordering::Relaxed);
                }
                result => return result,
            }
        }
        Err("no end of OC001".to_owned())
    }

    fn play_steps(
        &self,
        session: &mut Session,
        case: &Json,
        number: u64,
        turn: u64,
    ) -> Result<(), String> {
        for step in case["steps"].as_array().into_iter().flatten() {
            let sql = own(step["sql"].as_str().unwrap_or_default(), number, turn);
            let reply = match turn % 2 {
                0 => session.query(&sql),
                _ => session.execute(&sql, &[]),
            };
            let reply = reply.map_err(|lost| format!("{sql}: {lost}"))?;
            self.tally.statements.fetch_add(1, Ordering::Relaxed);
            conformance::compare(&reply, &step["expect"])
                .map_err(|what| format!("{sql}: {what}"))?;
        }
        Ok(())
    }
}

/// Names and keys of this session alone, where the case makes something.
fn own(sql: &str, number: u64, turn: u64) -> String {
    sql.replace("baseline_txn_", &format!("txn_{number}_"))
        .replace(
            "0000000000bb",
            &format!("{:012x}", (number + 1) << 32 | turn),
        )
}
