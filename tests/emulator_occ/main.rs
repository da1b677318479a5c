//! Conflicts of the emulator: schedules against a model, and the classic anomalies.

mod direct;
mod model;
mod schedule;

use std::sync::Arc;
use std::time::{Duration, Instant};

use dsql_proxy::emulator::occ::Ledger;
use dsql_proxy::emulator::postgres::{Postgres, PostgresOptions};
use model::{Model, Op, Seen};
use schedule::Schedule;

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().expect(name))
}

fn start(dir: &std::path::Path) -> Postgres {
    let options = PostgresOptions {
        dir: dir.to_owned(),
        pg_bin: None,
        max_connections: 50,
        fresh: true,
    };
    Postgres::start(&options).unwrap()
}

async fn play(schedule: &Schedule, clients: &mut [direct::Client]) -> Result<(), String> {
    let mut model = Model::default();
    for table in model::Table::ALL.iter().rev() {
        let seen = clients[0]
            .play(&format!("DELETE FROM {}", table.name()))
            .await;
        assert!(matches!(seen, Seen::Done(..)), "{seen:?}");
    }
    let rows = schedule.rows.iter().map(|(table, row)| {
        (
            0,
            Op::Insert {
                table: *table,
                row: *row,
                skip: false,
            },
        )
    });
    let mut story = String::new();
    let mut found = None;
    for (at, (session, op)) in rows.chain(schedule.steps.iter().copied()).enumerate() {
        let expected = model.play(session, op);
        let seen = clients[session].play(&op.sql()).await;
        story.push_str(&format!("{session}: {:60} {seen:?}\n", op.sql()));
        if seen != expected {
            found = Some(format!(
                "seed {}, step {at}: expected {expected:?}\n{story}",
                schedule.seed
            ));
            break;
        }
    }
    if found.is_some() {
        for client in clients.iter_mut() {
            client.play("ROLLBACK").await;
        }
    }
    found.map_or(Ok(()), Err)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_schedules_go_as_in_the_model() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    let mut postgres = tokio::task::spawn_blocking(move || start(&path))
        .await
        .unwrap();
    direct::prepare(&postgres).await;
    let ledger = Arc::new(Ledger::default());
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(direct::Client::open(&postgres, &ledger).await);
    }
    let seed = number("DSQLPROXY_SEED").unwrap_or(1);
    let limit = number("DSQLPROXY_SCHEDULES");
    let begun = Instant::now();
    let (mut played, mut different) = (0, 0);
    while limit.map_or(begun.elapsed() < Duration::from_secs(20), |limit| {
        played < limit
    }) {
        let schedule = Schedule::random(seed + played);
        if let Err(difference) = play(&schedule, &mut clients).await {
            println!("{difference}");
            different += 1;
            if different >= 5 {
                break;
            }
        }
        played += 1;
    }
    let mut detached = 0;
    for client in clients {
        detached += client.close().await;
    }
    println!(
        "{played} schedules from seed {seed}, {different} differences, {detached} detached transactions, {:?}",
        begun.elapsed()
    );
    postgres.stop();
    assert_eq!(different, 0);
}
