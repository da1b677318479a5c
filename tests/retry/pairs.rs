//! Two clients step by step: when one changes what the other has read, the other is told; when it
//! does not, nobody is.

use serde_json::json;

use crate::client::Client;
use crate::dsql::{Cluster, set_up};
use crate::message::Frame;
use crate::number;
use crate::proxy::Proxy;
use crate::proxy::plan;

struct Pair {
    cluster: Cluster,
    proxy: Proxy,
    first: Client,
    second: Client,
}

impl Pair {
    fn start() -> Self {
        let cluster = Cluster::start();
        let proxy = plan()
            .size(10)
            .dsql(&cluster)
            .retry_with("attempts: 3, budget_percent: 100")
            .start();
        let mut first = proxy.connect();
        set_up(
            &mut first,
            "create table pairs (id int primary key, seen int, unseen int)",
        );
        set_up(
            &mut first,
            "insert into pairs values (1, 0, 0), (2, 0, 0), (3, 0, 0)",
        );
        let second = proxy.connect();
        Self {
            cluster,
            proxy,
            first,
            second,
        }
    }

    fn outcome(&self, outcome: &str) -> f64 {
        let metrics = self.proxy.metrics();
        metrics.sum("dsqlproxy_retries_total", &[("outcome", outcome)])
    }

    /// The first client reads and writes, the second one writes in between; gives the answer to the
    /// first one's COMMIT.
    fn play(&mut self, read: &str, write: &str, between: &str) -> Vec<Frame> {
        self.first.run("begin");
        self.first.run(read);
        self.first.run(write);
        self.second.run(between);
        self.first.query("commit")
    }

    fn value(&mut self, column: &str, id: u32) -> String {
        let text = format!("select {column} from pairs where id = {id}");
        self.second.scalar(&text)
    }
}

/// Enough commits that the budget is no matter.
fn fill_budget(client: &mut Client) {
    for _ in 0..3 {
        client.run("update pairs set unseen = 0 where id = 3");
    }
}

fn error(frames: &[Frame]) -> Option<&Frame> {
    frames.iter().find(|frame| frame.tag == b'E')
}

#[test]
fn what_was_read_and_changed_is_always_told() {
    let count = number("DSQLPROXY_PAIRS", 100);
    let mut pair = Pair::start();
    let kinds = [
        // It writes what it has read; the other one was faster.
        (
            "select seen from pairs where id = 1",
            "update pairs set seen = -ROUND where id = 1",
            "update pairs set seen = ROUND where id = 1",
        ),
        // It has read one row and writes another; the other one changes both.
        (
            "select seen from pairs where id = 1",
            "update pairs set seen = -ROUND where id = 2",
            "update pairs set seen = ROUND where id in (1, 2)",
        ),
        // It is told by RETURNING.
        (
            "select 1",
            "update pairs set seen = seen + 1 where id = 1 returning seen",
            "update pairs set seen = seen + ROUND where id = 1",
        ),
        // It counts rows, and one comes.
        (
            "select count(*) from pairs",
            "update pairs set unseen = -ROUND where id = 1",
            "insert into pairs values (100 + ROUND, 0, 0); update pairs set unseen = ROUND where id = 1",
        ),
    ];
    let (mut told, mut silent) = (0, Vec::new());
    for round in 1..=count {
        fill_budget(&mut pair.second);
        let kind = kinds[(round % kinds.len() as u64) as usize];
        let text = |part: &str| part.replace("ROUND", &round.to_string());
        let frames = pair.play(kind.0, &text(kind.1), &text(kind.2));
        match error(&frames) {
            Some(error) if error.sqlstate() == "40001" => {
                let detail = error.field(b'D').unwrap_or_default();
                assert!(detail.contains("answered differently"), "{detail}");
                told += 1;
            }
            _ => silent.push((kind, round)),
        }
        for (column, id) in [("seen", 1), ("seen", 2), ("unseen", 1)] {
            let value = pair.value(column, id);
            assert_ne!(value, format!("-{round}"), "the first one's write is there");
        }
    }
    println!("pairs: {told} of {count} that read what was changed were told");
    assert!(silent.is_empty(), "not told: {silent:?}");
    assert_eq!(pair.outcome("diverged"), count as f64);
}

#[test]
fn what_was_not_read_is_never_told() {
    let count = number("DSQLPROXY_PAIRS", 100);
    let mut pair = Pair::start();
    // What they do, and whether the cluster aborts the first one by itself.
    let kinds = [
        // Different rows; the abort is ordered.
        (
            "select seen from pairs where id = 1",
            "update pairs set seen = ROUND where id = 1",
            "update pairs set seen = -ROUND where id = 2",
            false,
        ),
        // The same row; the other one changed what the first has not read.
        (
            "select seen from pairs where id = 1",
            "update pairs set seen = ROUND where id = 1",
            "update pairs set unseen = ROUND where id = 1",
            true,
        ),
        // The same row; the value is what it was.
        (
            "select unseen from pairs where id = 2",
            "update pairs set seen = ROUND where id = 1",
            "update pairs set seen = seen where id = 1; update pairs set unseen = unseen where id = 2",
            true,
        ),
        // Blind increments.
        (
            "select 1",
            "update pairs set seen = seen + 1 where id = 1",
            "update pairs set seen = ROUND - 1 where id = 1",
            true,
        ),
    ];
    let conflicts = pair.cluster.stat("conflicts");
    for round in 1..=count {
        fill_budget(&mut pair.second);
        let kind = kinds[(round % kinds.len() as u64) as usize];
        let text = |part: &str| part.replace("ROUND", &round.to_string());
        if !kind.3 {
            let order = json!({"kind": "abort_commit", "match": "where id = 1$"});
            pair.cluster.order(&order);
        }
        let frames = pair.play(kind.0, &text(kind.1), &text(kind.2));
        if let Some(error) = error(&frames) {
            panic!("round {round} {kind:?}: {}", error.render(false));
        }
        assert_eq!(pair.value("seen", 1), round.to_string(), "{kind:?}");
    }
    println!("pairs: {count} of {count} that read nothing that was changed were committed");
    assert_eq!(
        pair.outcome("repeated"),
        count as f64,
        "each met a conflict"
    );
    assert!(pair.cluster.stat("conflicts") >= conflicts + count);
}
