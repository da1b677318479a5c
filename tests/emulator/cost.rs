//! What the emulator costs: time per simple statement at the local PostgreSQL's own socket and
//! through the emulator, TLS included, and the time to start. Prints Markdown; `benches/emulator_cost`
//! runs it as a release build.

use std::time::{Duration, Instant};

use crate::Test;
use crate::client::Session;
use crate::ground::Ground;

pub const TESTS: &[Test] = &[("cost::report", report)];

const ROWS: u32 = 1000;
/// Statements at one side before the other has its turn, so that a disturbance hits both.
const TURN: u32 = 50;
const TURNS: u32 = 40;
/// The most that a statement may cost more in the median; of release builds.
const TARGET: Duration = Duration::from_micros(100);
const START_TARGET: Duration = Duration::from_secs(5);

struct Case {
    name: &'static str,
    /// `%t` is the table, `%k` the key: a literal or a parameter.
    sql: &'static str,
    has_key: bool,
}

const CASES: &[Case] = &[
    Case {
        name: "`SELECT 1`",
        sql: "SELECT 1",
        has_key: false,
    },
    Case {
        name: "point select",
        sql: "SELECT v FROM %t WHERE id = %k",
        has_key: true,
    },
    Case {
        name: "point update",
        sql: "UPDATE %t SET v = v + 1 WHERE id = %k",
        has_key: true,
    },
];

fn report(ground: &mut Ground) {
    let from_nothing = time_of(Ground::start);
    let create = |name: &str| format!("CREATE TABLE {name} (id int PRIMARY KEY, v int NOT NULL)");
    let fill =
        |name: &str| format!("INSERT INTO {name} SELECT g, 0 FROM generate_series(1, {ROWS}) g");
    ground.set_up(&[create("through"), fill("through")]);
    ground.forget_keeper();
    let socket = ground.emulator.postgres().socket();
    let mut direct =
        Session::open_local(&socket, "postgres").unwrap_or_else(|lost| panic!("{lost}"));
    direct.run(&create("direct"));
    direct.run(&fill("direct"));
    let mut through = ground.admin();
    let mut table = String::from(
        "| statement | protocol | local socket, µs | through the emulator, µs | added, µs |\n|---|---|---|---|---|\n",
    );
    let mut worst = Duration::ZERO;
    for case in CASES {
        for extended in [false, true] {
            let (near, far) = measure(case, extended, &mut direct, &mut through);
            let added = far.saturating_sub(near);
            worst = worst.max(added);
            table += &format!(
                "| {} | {} | {:.0} | {:.0} | {:.0} |\n",
                case.name,
                if extended { "extended" } else { "simple" },
                micros(near),
                micros(far),
                micros(added)
            );
        }
    }
    direct.run("DROP TABLE direct");
    println!(
        "\n{table}\nMedians of {} statements each, in turns of {TURN}; TLS 1.3 over TCP through the emulator, \
         a unix socket without. Start from nothing (initdb, certificates, account): {:.2} s.\n",
        TURN * TURNS,
        from_nothing.as_secs_f64()
    );
    if cfg!(debug_assertions) {
        println!("This is not a release build: no target applies.");
        return;
    }
    for (what, took, target) in [
        ("worst case", worst, TARGET),
        ("start", from_nothing, START_TARGET),
    ] {
        let word = if took < target { "below" } else { "above" };
        println!("{what}: {took:?}, {word} the target of {target:?}");
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn time_of<T>(work: impl FnOnce() -> T) -> Duration {
    let begun = Instant::now();
    let made = work();
    let took = begun.elapsed();
    drop(made);
    took
}

/// Medians at the socket and through the emulator.
fn measure(
    case: &Case,
    extended: bool,
    direct: &mut Session,
    through: &mut Session,
) -> (Duration, Duration) {
    let mut near = Vec::new();
    let mut far = Vec::new();
    for turn in 0..=TURNS {
        for (session, table, times) in [
            (&mut *direct, "direct", &mut near),
            (&mut *through, "through", &mut far),
        ] {
            for number in 0..TURN {
                let key = (turn * TURN + number) * 7 % ROWS + 1;
                let took = once(session, case, table, key, extended);
                // The first turn warms caches.
                if turn > 0 {
                    times.push(took);
                }
            }
        }
    }
    (median(near), median(far))
}

fn once(session: &mut Session, case: &Case, table: &str, key: u32, extended: bool) -> Duration {
    let key = key.to_string();
    let sql = case.sql.replace("%t", table);
    let sql = sql.replace("%k", if extended { "$1::int" } else { &key });
    let parameters: &[Option<&str>] = if case.has_key { &[Some(&key)] } else { &[] };
    let begun = Instant::now();
    let reply = match extended {
        true => session.execute(&sql, parameters),
        false => session.query(&sql),
    };
    let took = begun.elapsed();
    let reply = reply.unwrap_or_else(|lost| panic!("{lost}"));
    assert!(reply.one().tag.ends_with(" 1"), "{reply:?}");
    took
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
