//! What operators learn of conflicts, and how repeating is turned off.

use serde_json::Value;

use crate::client::{Client, Login};
use crate::conflicts::{Table, error, outcomes, tags};
use crate::message::{bind, bind_text, describe, execute, parse, sync};
use crate::postgres::ROLE;
use crate::proxy::{Plan, Proxy, plan, verifier};

fn report(proxy: &Proxy) -> Value {
    let (code, body) = proxy.get("/api/conflicts");
    assert_eq!(code, 200, "{body}");
    serde_json::from_str(&body).expect("JSON")
}

/// `columns` of the rows of `what`, most recent conflicts first, and their counts.
fn rows(report: &Value, what: &str, columns: &[&str]) -> Vec<String> {
    let row = |row: &Value| {
        let names = columns.iter().filter_map(|name| row[*name].as_str());
        let counts = [&row["recent"], &row["count"], &row["alone"]];
        let mut cells: Vec<String> = names.map(str::to_owned).collect();
        cells.extend(counts.iter().map(|count| count.to_string()));
        cells.join(" ")
    };
    let rows = report["databases"]["app"][what].as_array().expect("rows");
    rows.iter().map(row).collect()
}

fn start(plan: Plan) -> (Proxy, Table, Client) {
    let proxy = plan.start();
    let client = proxy.connect();
    (proxy, Table::new(), client)
}

/// An UPDATE of one row of the table, with more behind it.
fn update(table: &Table, rest: &str) -> String {
    format!("update {} set value = 1 where {rest}", table.name)
}

#[test]
fn hot_keys_are_named_to_operators_and_nobody_else() {
    let (proxy, mut table, mut client) = start(plan().retry(3));
    let name = table.name.clone();
    // Twice: a first run and a repetition.
    table.refuse(2);
    client.run(&update(&table, "id = 3"));
    // A parameter in binary, of a statement prepared in another transaction.
    let text = update(&table, "id = $1");
    client.exchange(&[parse("s", &text, &[23]), describe(b'S', "s"), sync()]);
    table.refuse(1);
    let key = (1, Some(vec![0, 0, 0, 3]));
    let messages = [bind("", "s", &[key], &[]), execute("", 0), sync()];
    assert_eq!(client.exchange(&messages), "2CZ");
    // A conversation; what it reads has no part in it.
    client.run("begin");
    client.run(&format!("select * from {name} where id = 9"));
    client.exchange(&[
        parse("", &text, &[]),
        bind_text("", "", &["4"]),
        execute("", 0),
        sync(),
    ]);
    client.run(&format!("insert into {name} values (77, 0)"));
    table.refuse(1);
    client.run("commit");

    let report = report(&proxy);
    let by_table = format!("{name} 4 4 4");
    assert_eq!(rows(&report, "tables", &["table"]), [by_table]);
    let of = |value: &str, counts: &str| format!("{name} id {value} {counts}");
    assert_eq!(
        rows(&report, "keys", &["table", "column", "value"]),
        [of("3", "3 3 3"), of("4", "1 1 1")]
    );
    assert_eq!(
        rows(&report, "statements", &["statement"]),
        [
            format!("update {name} set value = ? where id = ? 4 4 3"),
            format!("insert into {name} values (?, …) 1 1 0"),
        ]
    );
    let app = &report["databases"]["app"];
    assert_eq!(
        (&app["conflicts"]["OC000"], &app["analysed"]),
        (&4.into(), &4.into())
    );
    let (_, page) = proxy.get("/");
    assert!(
        page.contains("Conflicts of app") && page.contains(&name),
        "{page}"
    );

    let metrics = proxy.metrics();
    let sum = |name: &str, labels: &[(&str, &str)]| metrics.sum(name, labels);
    let app = ("database", "app");
    assert_eq!(
        sum("dsqlproxy_conflicts_total", &[app, ("code", "OC000")]),
        4.0
    );
    assert_eq!(sum("dsqlproxy_conflicts_total", &[]), 4.0);
    let table_label = ("table", name.as_str());
    assert_eq!(
        sum("dsqlproxy_conflicts_by_table_total", &[app, table_label]),
        4.0
    );
    assert_eq!(sum("dsqlproxy_retry_attempts_count", &[]), 3.0);
    assert_eq!(sum("dsqlproxy_retry_attempts_sum", &[]), 4.0);
    assert_eq!(sum("dsqlproxy_retry_attempts_bucket", &[("le", "1")]), 2.0);
    assert_eq!(sum("dsqlproxy_retry_seconds_count", &[]), 3.0);
}

#[test]
fn keys_are_left_out_on_request_and_values_are_never_logged() {
    let section = "log: {level: trace}";
    let with_keys = plan().retry(1).section(section);
    let without = plan()
        .retry_with("attempts: 1, insight_keys: false")
        .section(section);
    for (plan, kept) in [(with_keys, true), (without, false)] {
        let (proxy, mut table, mut client) = start(plan);
        table.refuse(1);
        client.run(&update(
            &table,
            "id = 3 and 'cafe4711' = value::text || 'x'",
        ));
        client.run(&update(&table, "id = 3 and value::text <> 'cafe4711'"));
        let report = report(&proxy);
        assert_eq!(rows(&report, "keys", &["value"]).len(), usize::from(kept));
        assert_eq!(rows(&report, "tables", &["table"]).len(), 1);
        let (_, scrape) = proxy.get("/metrics");
        let told = [
            report["databases"]["app"]["statements"].to_string(),
            scrape,
            proxy.log.text(),
        ];
        for text in told {
            assert!(!text.contains("cafe4711"), "{text}");
        }
    }
}

#[test]
fn a_comment_opts_a_transaction_out() {
    let (proxy, mut table, mut client) = start(plan().retry(3));
    table.refuse(1);
    let text = format!("/* dsqlproxy.retry=off */ {}", update(&table, "id = 1"));
    let frames = client.query(&text);
    assert_eq!(error(&frames).sqlstate(), "40001");
    assert_eq!(table.value(1), "0");
    // Prepared, and run in a later transaction; the mark counts for all of that.
    client.exchange(&[parse("s", &text, &[]), sync()]);
    client.run("begin");
    client.exchange(&[bind_text("", "s", &[]), execute("", 0), sync()]);
    client.run(&update(&table, "id = 2"));
    table.refuse(1);
    let frames = client.query("commit");
    assert_eq!(error(&frames).sqlstate(), "40001");
    assert_eq!(
        (table.value(1).as_str(), table.value(2).as_str()),
        ("0", "0")
    );
    assert_eq!(outcomes(&proxy, "opted_out"), 2.0);
    // In a string it is no comment.
    table.refuse(1);
    let rest = "id = 1 and '/* dsqlproxy.retry=off */' <> ''";
    assert_eq!(tags(&client.run(&update(&table, rest))), "CZ");
    assert_eq!(outcomes(&proxy, "repeated"), 1.0);
    let keys = rows(&report(&proxy), "keys", &["value"]);
    assert_eq!(
        keys,
        ["1 3 3 2", "2 1 1 0"],
        "opted out or not, it is a conflict"
    );
    drop(client);
    proxy.wait_base();
}

#[test]
fn a_user_opts_out_and_in_again_by_a_reload() {
    let keys = format!(
        "name: once, password: \"{}\", retry: false",
        verifier("once")
    );
    let (proxy, mut table, _client) = start(plan().retry(3).user(&keys));
    let login = Login::new("once", "app");
    let mut once = proxy.login(&login).expect("a login");
    table.refuse(1);
    let frames = once.query(&update(&table, "id = 1"));
    assert_eq!(error(&frames).sqlstate(), "40001");
    assert_eq!(outcomes(&proxy, "opted_out"), 1.0);
    let mut other = proxy.login(&Login::new(ROLE, "app")).expect("a login");
    table.refuse(1);
    other.run(&update(&table, "id = 1"));
    assert_eq!(outcomes(&proxy, "repeated"), 1.0);
    proxy.edit(|yaml| yaml.replace("retry: false", "retry: true"));
    assert_eq!(proxy.post("/api/reload").0, 200);
    let mut again = proxy.login(&login).expect("a login");
    table.refuse(1);
    again.run(&update(&table, "id = 2"));
    assert_eq!(outcomes(&proxy, "repeated"), 2.0);
}

#[test]
fn conflicts_are_counted_where_nothing_is_repeated() {
    let (proxy, mut table, mut client) = start(plan());
    table.refuse(1);
    assert_eq!(client.sqlstate(&update(&table, "id = 1")), "40001");
    let report = report(&proxy);
    let app = &report["databases"]["app"];
    assert_eq!(
        (&app["conflicts"]["OC000"], &app["analysed"]),
        (&1.into(), &0.into())
    );
}

#[test]
fn workers_share_a_budget() {
    let plan = plan()
        .workers(2)
        .size(8)
        .retry_with("attempts: 1, budget_percent: 0");
    let proxy = plan.start();
    let mut table = Table::new();
    table.refuse(1_000);
    // Each is quiet, so that all of the floor is theirs.
    let mut clients: Vec<Client> = (0..60).map(|_| proxy.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.sqlstate(&update(&table, "id = 1")), "40001");
    }
    assert_eq!(outcomes(&proxy, "exhausted"), 40.0);
    assert_eq!(outcomes(&proxy, "budget"), 20.0);
}
