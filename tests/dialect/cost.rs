//! What a decision costs: one that was made before, and one that is new. Prints Markdown;
//! `benches/decision_cost` runs it as a release build.

use std::hint::black_box;
use std::rc::Rc;
use std::time::Duration;

use dsql_proxy::config::schema::Dialect;
use dsql_proxy::policy::databases::{self, Naming};
use dsql_proxy::policy::{
    Cache, Decision, Rules, SessionFacts, Switches, TransactionFacts, decide,
};
use dsql_proxy::sql::{Statement, classify};

use crate::stopwatch::{least, verdict};

const HIT_TARGET: Duration = Duration::from_nanos(500);
const COLD_TARGET: Duration = Duration::from_micros(60);
/// Other texts in the cache.
const OTHERS: usize = 5000;

const STATEMENTS: [(&str, &str); 6] = [
    (
        "point select",
        "SELECT abalance FROM pgbench_accounts WHERE aid = $1",
    ),
    (
        "point update",
        "UPDATE pgbench_accounts SET abalance = abalance + $1 WHERE aid = $2",
    ),
    (
        "rewritten: `FOR SHARE`",
        "SELECT abalance FROM pgbench_accounts WHERE aid = $1 FOR SHARE",
    ),
    ("answered: `SET`", "SET statement_timeout = '5s'"),
    (
        "five joins",
        "WITH recent AS (SELECT o.id, o.customer_id, o.total FROM orders o WHERE o.made > now() - interval '7 days') \
         SELECT c.name, count(*), sum(r.total), max(p.title) FROM recent r JOIN customers c ON c.id = r.customer_id \
         LEFT JOIN lines l ON l.order_id = r.id LEFT JOIN products p ON p.id = l.product_id LEFT JOIN suppliers s \
         ON s.id = p.supplier_id LEFT JOIN regions g ON g.id = c.region_id WHERE c.active AND (g.code = $1 OR s.code = $2) \
         GROUP BY c.name HAVING count(*) > 3 ORDER BY 3 DESC LIMIT 50",
    ),
    (
        "`CREATE TABLE`, ten columns",
        "CREATE TABLE accounts (id bigserial PRIMARY KEY, email varchar(254) NOT NULL UNIQUE, name text NOT NULL, \
         active boolean NOT NULL DEFAULT true, balance numeric(12,2) NOT NULL DEFAULT 0 CHECK (balance >= 0), made \
         timestamptz NOT NULL DEFAULT now(), note text, region_id bigint REFERENCES regions (id), data jsonb, score real)",
    ),
];

fn facts(rules: &Rules) -> SessionFacts {
    SessionFacts {
        profile: Dialect::Compat,
        as_of: rules.newest,
        switches: Switches::default(),
        transaction: TransactionFacts::default(),
        created: false,
        tenants: false,
    }
}

/// A session whose names of databases and schemas are looked for, as `created_databases` does.
fn naming() -> Naming {
    Naming {
        database: "app".to_owned(),
        schema: None,
        entries: Vec::new(),
        entry: "app".to_owned(),
        user: "app".to_owned(),
        creates: true,
    }
}

fn decision(text: &str, facts: &SessionFacts, rules: &Rules) -> Rc<Decision> {
    black_box(classify(text.as_bytes()));
    let statement = Statement::read(text).unwrap().remove(0);
    Rc::new(decide(&statement, facts, rules))
}

#[test]
#[ignore = "a measurement; benches/decision_cost runs it"]
fn report() {
    let rules = Rules::standard().unwrap();
    let facts = facts(&rules);
    let mut cache: Cache<Rc<Decision>> = Cache::new(16 * 1024 * 1024);
    for number in 0..OTHERS {
        let text = format!("SELECT {number} FROM pgbench_accounts WHERE aid = $1");
        let value = decision(&text, &facts, &rules);
        // Kept when it comes again.
        cache.put(text.as_bytes(), &facts, 0, Rc::clone(&value), 500);
        assert!(cache.put(text.as_bytes(), &facts, 0, value, 500));
    }
    let naming = naming();
    println!(
        "| statement | bytes | decided before, µs | looked through for databases, µs | new, µs |\n\
         |---|--:|--:|--:|--:|"
    );
    let mut points = None;
    for (name, text) in STATEMENTS {
        let value = decision(text, &facts, &rules);
        cache.put(text.as_bytes(), &facts, 0, Rc::clone(&value), 500);
        assert!(cache.put(text.as_bytes(), &facts, 0, value, 500));
        let hit = least(2000, || {
            let found = cache.get(black_box(text.as_bytes()), black_box(&facts), 0);
            assert!(black_box(found).is_some());
        });
        let look = least(2000, || {
            let translated = databases::translate(black_box(text), black_box(&naming));
            assert!(black_box(translated) == Ok(None));
        });
        let cold = least(50, || {
            black_box(decision(black_box(text), &facts, &rules));
        });
        points = points.or(Some((hit + look, cold)));
        println!(
            "| {name} | {} | {:.3} | {:.3} | {:.1} |",
            text.len(),
            hit.as_secs_f64() * 1e6,
            look.as_secs_f64() * 1e6,
            cold.as_secs_f64() * 1e6
        );
    }
    let (hit, cold) = points.unwrap();
    println!(
        "\nTargets, for the point select: 0.5 µs when decided before and looked through ({}), 60 µs when new ({}).",
        verdict(hit, HIT_TARGET),
        verdict(cold, COLD_TARGET)
    );
}
