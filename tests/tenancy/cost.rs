//! What the isolation of a statement costs: one that came before, and one that is new, with its verification.
//! Prints Markdown; `benches/decision_cost` runs it as a release build.

use std::hint::black_box;
use std::rc::Rc;
use std::time::Duration;

use dsql_proxy::policy::Cache;
use dsql_proxy::policy::tenancy::Tenant;

use crate::ground;
use crate::stopwatch::{least, verdict};

const HIT_TARGET: Duration = Duration::from_nanos(500);
const COLD_TARGET: Duration = Duration::from_micros(100);
/// Other texts in the cache.
const OTHERS: usize = 5000;

const STATEMENTS: [(&str, &str); 5] = [
    ("point select", "SELECT amount FROM orders WHERE id = $1"),
    (
        "point update",
        "UPDATE orders SET amount = $1 WHERE id = $2",
    ),
    (
        "loud point select",
        "SELECT amount FROM orders WHERE id = $1 AND 10 / amount > 1",
    ),
    ("insert", "INSERT INTO orders (id, amount) VALUES ($1, $2)"),
    (
        "three joins",
        "SELECT o.id, c.name, i.qty FROM orders o JOIN customers c ON c.id = o.customer_id JOIN items i ON \
         i.order_id = o.id LEFT JOIN customers r ON r.id = c.ref_by WHERE o.id = $1 ORDER BY o.id LIMIT 20",
    ),
];

#[test]
#[ignore = "a measurement; benches/decision_cost runs it"]
fn report() {
    let ground = ground::open();
    let tenant = Rc::new(ground.tenant.clone());
    let isolated = |text: &str| {
        ground
            .isolate(text)
            .unwrap_or_else(|refusal| panic!("{text}: {refusal:?}"))
    };
    let mut cache: Cache<Rc<String>, Rc<Tenant>> = Cache::new(16 * 1024 * 1024);
    let mut keep = |text: &str| {
        let value = Rc::new(isolated(text)[0].text.clone());
        // Kept when it comes again.
        cache.put(text.as_bytes(), &tenant, 0, Rc::clone(&value), 500);
        assert!(cache.put(text.as_bytes(), &tenant, 0, value, 500));
    };
    for number in 0..OTHERS {
        keep(&format!("SELECT {number} FROM orders WHERE id = $1"));
    }
    for (_, text) in STATEMENTS {
        keep(text);
    }
    println!("| statement | bytes | isolated before, µs | new, µs |\n|---|--:|--:|--:|");
    let mut points = None;
    for (name, text) in STATEMENTS {
        let hit = least(2000, || {
            let found = cache.get(black_box(text.as_bytes()), black_box(&tenant), 0);
            assert!(black_box(found).is_some());
        });
        let cold = least(50, || {
            black_box(isolated(black_box(text)));
        });
        points = points.or(Some((hit, cold)));
        println!(
            "| {name} | {} | {:.3} | {:.1} |",
            text.len(),
            hit.as_secs_f64() * 1e6,
            cold.as_secs_f64() * 1e6
        );
    }
    let (hit, cold) = points.expect("statements");
    println!(
        "\nTargets, for the point select: 0.5 µs when isolated before ({}), 100 µs when new ({}).",
        verdict(hit, HIT_TARGET),
        verdict(cold, COLD_TARGET)
    );
}
