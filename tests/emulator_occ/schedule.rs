//! Random schedules of two or three sessions over a few rows.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::model::{Column, Model, Op, Row, Table};

/// A schedule: rows to begin with, then who does what, in order.
#[derive(Debug, Clone)]
pub struct Schedule {
    pub seed: u64,
    pub rows: Vec<(Table, Row)>,
    pub steps: Vec<(usize, Op)>,
}

impl Schedule {
    pub fn random(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let rows = rows(&mut random);
        let sessions = random.random_range(2..=3);
        let mut model = Model::default();
        for (table, row) in &rows {
            model.play(
                0,
                Op::Insert {
                    table: *table,
                    row: *row,
                    skip: false,
                },
            );
        }
        // Which tables this schedule is about: few, so that sessions meet.
        let mut tables = Table::ALL.to_vec();
        let few = random.random_range(1..=3);
        while tables.len() > few {
            tables.remove(random.random_range(0..tables.len()));
        }
        let mut steps = Vec::new();
        for _ in 0..random.random_range(6..=18) {
            let session = random.random_range(1..=sessions);
            let op = if model.in_transaction(session) {
                match random.random_range(0..20) {
                    0..=2 => Op::Commit,
                    3 => Op::Rollback,
                    _ => statement(&mut random, &tables),
                }
            } else if random.random_bool(0.85) {
                Op::Begin
            } else {
                statement(&mut random, &tables)
            };
            model.play(session, op);
            steps.push((session, op));
            if op == Op::Begin && random.random_bool(0.5) {
                // The snapshot is older than what comes next.
                let op = Op::Read { table: tables[0] };
                model.play(session, op);
                steps.push((session, op));
            }
        }
        let mut order: Vec<usize> = (1..=sessions).collect();
        while !order.is_empty() {
            let session = order.remove(random.random_range(0..order.len()));
            if model.in_transaction(session) {
                steps.push((session, Op::Commit));
            }
        }
        steps.extend(Table::ALL.map(|table| (1, Op::Read { table })));
        Self { seed, rows, steps }
    }
}

fn rows(random: &mut StdRng) -> Vec<(Table, Row)> {
    let mut rows = Vec::new();
    for id in 1..=3 {
        let u = random.random_bool(0.7).then_some(id);
        rows.push((Table::P, (id, u, id)));
    }
    for table in [Table::C, Table::D, Table::E, Table::N] {
        for id in 1..=2 {
            if random.random_bool(0.7) {
                let parent = random.random_bool(0.7).then(|| random.random_range(1..=3));
                rows.push((table, (id, parent, id)));
            }
        }
    }
    rows
}

fn statement(random: &mut StdRng, tables: &[Table]) -> Op {
    let table = tables[random.random_range(0..tables.len())];
    let id = random.random_range(1..=3);
    let some = |random: &mut StdRng| random.random_bool(0.8).then(|| random.random_range(1..=3));
    match random.random_range(0..18) {
        0..=2 => {
            let id = random.random_range(1..=4);
            let row = (id, some(random), random.random_range(1..=4));
            Op::Insert {
                table,
                row,
                skip: random.random_bool(0.2),
            }
        }
        3..=6 => Op::Set {
            table,
            id,
            column: Column::Value,
            to: Some(random.random_range(1..=4)),
        },
        7 | 8 => Op::Set {
            table,
            id,
            column: Column::Second,
            to: some(random),
        },
        9 => Op::Set {
            table,
            id,
            column: Column::Id,
            to: Some(random.random_range(1..=5)),
        },
        10 => Op::Add {
            table,
            below: random.random_range(1..=4),
        },
        11 | 12 => Op::Delete { table, id },
        16 | 17 => Op::Delete { table, id },
        13 => Op::Lock {
            table,
            id,
            share: random.random_bool(0.5),
        },
        14 => Op::Lock {
            table,
            id,
            share: false,
        },
        _ => Op::Read { table },
    }
}
