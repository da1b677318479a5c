//! Conflicts of the emulator, on the wire: random schedules against a model, the recordings, and the
//! classic anomalies by name.
//!
//! `DSQLPROXY_SCHEDULES=5000 cargo test --test emulator_occ schedules` plays that many;
//! `DSQLPROXY_SEED` says from which on. Without, it plays for a minute.

#[path = "../emulated/mod.rs"]
mod emulated;
mod model;
mod named;
mod schedule;
mod wire;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use model::{Model, Op, Seen, Table};
use schedule::Schedule;
use wire::Session;

const DEFAULT_TIME: Duration = Duration::from_secs(60);

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect(name))
}

#[derive(Debug, Default)]
struct Counts {
    commits: u64,
    conflicts: u64,
    statements: u64,
    errors: u64,
}

fn play(schedule: &Schedule, sessions: &mut [Session], counts: &mut Counts) -> Result<(), String> {
    let mut model = Model::default();
    for table in Table::ALL.iter().rev() {
        let sql = format!("DELETE FROM {}", table.name());
        sessions[0].run(&[&sql]);
    }
    let insert = |(table, row)| {
        (
            0,
            Op::Insert {
                table,
                row,
                skip: false,
            },
        )
    };
    let rows = schedule.rows.iter().copied().map(insert);
    let mut story = String::new();
    for (at, (session, op)) in rows.chain(schedule.steps.iter().copied()).enumerate() {
        let expected = model.play(session, op);
        // Some sessions speak the extended protocol.
        let extended = (schedule.seed + session as u64).is_multiple_of(3);
        let seen = match extended {
            true => sessions[session].play_extended(&op.sql()),
            false => sessions[session].play(&op.sql()),
        };
        let _ = writeln!(story, "{session}: {:60} {seen:?}", op.sql());
        counts.statements += 1;
        match (&op, &seen) {
            (Op::Commit, Seen::Done(..)) => counts.commits += 1,
            (Op::Commit, Seen::Error(_)) => counts.conflicts += 1,
            (_, Seen::Error(_)) => counts.errors += 1,
            _ => {}
        }
        if seen != expected {
            for session in sessions.iter_mut() {
                session.query("ROLLBACK");
            }
            return Err(format!(
                "seed {}, step {at}: expected {expected:?}\n{story}",
                schedule.seed
            ));
        }
    }
    Ok(())
}

#[test]
fn random_schedules_go_as_in_the_model() {
    let fixture = wire::start();
    let mut sessions: Vec<Session> = (0..4).map(|_| fixture.session()).collect();
    sessions[0].run(&model::SCHEMA);
    // Every session learns of the tables.
    for session in &mut sessions[1..] {
        assert!(session.tag("SELECT 1").starts_with("40001"));
    }
    let seed = number("DSQLPROXY_SEED").unwrap_or(1);
    let limit = number("DSQLPROXY_SCHEDULES");
    let begun = Instant::now();
    let (mut played, mut different) = (0, 0);
    let mut counts = Counts::default();
    while limit.map_or(begun.elapsed() < DEFAULT_TIME, |limit| played < limit) && different < 5 {
        let schedule = Schedule::random(seed + played);
        if let Err(difference) = play(&schedule, &mut sessions, &mut counts) {
            println!("{difference}");
            different += 1;
        }
        played += 1;
    }
    println!(
        "{played} schedules from seed {seed}, {different} differences, {:?}: {counts:?}",
        begun.elapsed()
    );
    assert!(played > 0 && counts.conflicts > 0);
    assert_eq!(different, 0);
}
