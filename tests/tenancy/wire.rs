//! The same through the proxy: a user with a tenant says what the client would, in every protocol.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use dsql_proxy::policy::tenancy::rules::TenantValue;

use crate::answer::{Answer, tainted};
use crate::cases::{self, Case, Expected};
use crate::client::{Client, Login};
use crate::ground::{self, Ground, POLICY, TENANT};
use crate::message;
use crate::postgres::{self, ROLE};
use crate::proxy::{self, Plan, Proxy};

/// How a text is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Simple,
    Text,
    Binary,
    Named,
    Pipelined,
}

const WAYS: [Way; 5] = [
    Way::Simple,
    Way::Text,
    Way::Binary,
    Way::Named,
    Way::Pipelined,
];

pub fn policy_file() -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("dsql-proxy-policy-{}-{count}.yaml", std::process::id());
    let file = std::env::temp_dir().join(name);
    let text = [POLICY, ground::value_key(ground::value())].concat();
    std::fs::write(&file, text).expect("a file");
    file
}

/// The same policy with the tenant's value in this form.
pub fn policy_file_with(value: TenantValue) -> PathBuf {
    let file = policy_file();
    let text = [POLICY, ground::value_key(value)].concat();
    std::fs::write(&file, text).expect("a file");
    file
}

/// A proxy whose users `tenant_1` to `tenant_3` belong to tenants of the database `bare`.
pub fn start(file: &std::path::Path) -> Proxy {
    start_with(file, |plan| plan)
}

/// The same with something else of its configuration.
pub fn start_with(file: &std::path::Path, change: impl FnOnce(Plan) -> Plan) -> Proxy {
    let plan = change(proxy::plan()).tenancy("bare", file);
    let plan = (1..=3).fold(plan, |plan, tenant| {
        let user = format!("tenant_{tenant}");
        plan.user(&format!(
            "name: {user}, password: \"{}\", tenant: \"{tenant}\"",
            proxy::verifier(&user)
        ))
    });
    plan.start()
}

pub fn login(proxy: &Proxy, tenant: &str) -> Client {
    let user = format!("tenant_{tenant}");
    proxy
        .login(&Login::new(&user, "bare").password(&user))
        .unwrap_or_else(|error| panic!("{user}: {error:?}\n{}", proxy.log.text()))
}

fn ask(client: &mut Client, way: Way, case: &Case) -> Answer {
    let params: Vec<&str> = case.params.iter().flatten().map(String::as_str).collect();
    let values: Vec<_> = params
        .iter()
        .map(|value| (0, Some(value.as_bytes().to_vec())))
        .collect();
    let unnamed = |name: &str, formats: &[u16]| {
        [
            message::parse(name, &case.text, &[]),
            message::bind("", name, &values, formats),
            message::describe(b'P', ""),
            message::execute("", 0),
        ]
        .concat()
    };
    let sent = match way {
        Way::Simple => message::query(&case.text),
        Way::Text => [unnamed("", &[]), message::sync()].concat(),
        Way::Binary => [unnamed("", &[1]), message::sync()].concat(),
        Way::Named => {
            let closed = message::close(b'S', "s");
            [unnamed("s", &[]), message::sync(), closed, message::sync()].concat()
        }
        Way::Pipelined => [
            message::parse("", "SELECT 1 WHERE false", &[]),
            message::bind_text("", "", &[]),
            message::execute("", 0),
            unnamed("", &[]),
            message::parse("", "SELECT 2 WHERE false", &[]),
            message::bind_text("", "", &[]),
            message::execute("", 0),
            message::sync(),
        ]
        .concat(),
    };
    client.send(&sent);
    let answer = Answer::of(&client.until_ready());
    if way == Way::Named {
        client.until_ready();
    }
    answer
}

/// In a transaction that is undone.
fn ask_undone(client: &mut Client, way: Way, case: &Case) -> Answer {
    client.run("begin");
    let answer = ask(client, way, case);
    client.query("rollback");
    answer
}

/// Several statements cannot be prepared.
fn is_askable(way: Way, case: &Case) -> bool {
    match way {
        Way::Simple => case.params.is_none(),
        _ => true,
    }
}

struct Sides<'a> {
    ground: &'a mut Ground,
    tenant: Client,
}

impl Sides<'_> {
    fn judge(&mut self, way: Way, case: &Case) -> Result<&'static str, String> {
        let ours = ask_undone(&mut self.tenant, way, case);
        if let Some(taint) = ours.taint() {
            return Err(format!("shows {taint}"));
        }
        if let Some(taint) = ours.error.iter().find_map(|(_, text)| tainted(text)) {
            return Err(format!("its error shows {taint}"));
        }
        let kinds: Vec<u8> = ours.error.iter().map(|(kind, _)| *kind).collect();
        let server = kinds.iter().any(|kind| b"DPpqWstcdnFLR".contains(kind));
        if server {
            return Err(format!(
                "its error has more than may be told: {:?}",
                ours.error
            ));
        }
        match (case.expected, &ours.sqlstate) {
            (Expected::Reject | Expected::Error, None) => return Err("accepted".to_owned()),
            (Expected::Reject | Expected::Error | Expected::SafeOrReject, Some(_)) => {
                return Ok("refused");
            }
            (Expected::Safe, Some(state)) if way == Way::Simple => {
                return Err(format!("{state} {:?}", ours.error));
            }
            _ => {}
        }
        let theirs = ask_undone(&mut self.ground.guarded, way, case);
        if ours.sqlstate.is_some() && ours.sqlstate == theirs.sqlstate {
            // Several statements in one Parse, say.
            return Ok("same error");
        }
        let ordered = case.text.contains("ORDER BY");
        let (shown, expected) = (ours.comparable(ordered), theirs.comparable(ordered));
        match shown == expected {
            true => Ok("equal"),
            false => Err(format!(
                "\n  ours   {shown:?} {:?}\n  theirs {expected:?} {:?}",
                ours.error, theirs.error
            )),
        }
    }
}

#[test]
fn every_case_is_the_same_through_the_proxy_in_every_protocol() {
    for value in [TenantValue::Literal, TenantValue::Parameter] {
        every_case_is_the_same(value);
    }
}

fn every_case_is_the_same(value: TenantValue) {
    let file = policy_file_with(value);
    let mut ground = ground::open();
    let proxy = start(&file);
    let mut sides = Sides {
        tenant: login(&proxy, TENANT),
        ground: &mut ground,
    };
    let mut counts: BTreeMap<(Way, &str), usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for case in cases::read().iter().chain(&cases::attacks()) {
        let ways = WAYS.into_iter().filter(|way| is_askable(*way, case));
        let simple = value == TenantValue::Literal;
        for way in ways.filter(|way| simple || *way != Way::Simple) {
            let verdict = sides.judge(way, case).unwrap_or_else(|problem| {
                wrong.push(format!("{} {way:?}: {problem}\n{}", case.id, case.text));
                "WRONG"
            });
            *counts.entry((way, verdict)).or_default() += 1;
        }
    }
    println!("{counts:?}");
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

fn queries(proxy: &Proxy) -> f64 {
    proxy.metrics().sum("dsqlproxy_queries_total", &[])
}

#[test]
fn what_is_refused_sends_nothing() {
    let file = policy_file();
    let ground = ground::open();
    let proxy = start(&file);
    let mut client = login(&proxy, TENANT);
    client.run("select 1");
    let before = queries(&proxy);
    let mut refused = 0;
    for case in cases::read() {
        let alone = case.expected == Expected::Reject && case.params.is_none();
        if !alone || ground.isolate(&case.text).is_ok() {
            continue;
        }
        let answer = Answer::of(&client.query(&case.text));
        assert!(answer.sqlstate.is_some(), "{}", case.text);
        client.send(&[message::parse("", &case.text, &[]), message::sync()].concat());
        let answer = Answer::of(&client.until_ready());
        assert!(answer.sqlstate.is_some(), "{}", case.text);
        refused += 1;
    }
    client.send(&message::function_call(1, &[], 0));
    assert!(Answer::of(&client.until_ready()).sqlstate.is_some());
    client.send(&[message::parse("", "select $1", &[2205]), message::sync()].concat());
    assert!(Answer::of(&client.until_ready()).sqlstate.is_some());
    assert!(refused > 40, "{refused}");
    assert_eq!(queries(&proxy), before);
    assert!(proxy.log.text().contains("statement of a tenant refused"));
    let (_, counted) = proxy.get("/metrics");
    assert!(
        counted.contains("dsqlproxy_tenant_refusals_total{database=\"bare\",rule=\"function\"}")
    );
}

#[test]
fn one_text_of_two_tenants_on_one_connection_is_two_statements() {
    let file = policy_file();
    let _ground = ground::open();
    let proxy = start(&file);
    let mut clients: Vec<Client> = ["1", "2", "3"].map(|tenant| login(&proxy, tenant)).into();
    let text = "SELECT DISTINCT tenant_id FROM orders";
    for client in &mut clients {
        client.send(&[message::parse("s", text, &[]), message::sync()].concat());
        client.until_ready();
    }
    for round in 0..3 {
        for (number, client) in clients.iter_mut().enumerate() {
            let expected = format!("'{}'", number + 1);
            client.send(
                &[
                    message::bind_text("", "s", &[]),
                    message::execute("", 0),
                    message::sync(),
                ]
                .concat(),
            );
            let named = Answer::of(&client.until_ready());
            let simple = Answer::of(&client.query(text));
            assert_eq!(named.rows, simple.rows, "{round}");
            assert_eq!(named.rows, [expected], "{round}");
        }
    }
}

#[test]
fn errors_and_notices_of_the_server_say_nothing_of_it() {
    let file = policy_file();
    let _ground = ground::open();
    let proxy = start(&file);
    let mut client = login(&proxy, TENANT);
    let told = client.query("INSERT INTO orders (id, customer_id) VALUES (1, 1)");
    let error = Answer::of(&told).error;
    let kinds: Vec<u8> = error.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, b"SVCM", "{error:?}");
    assert_eq!(
        error[3].1,
        "duplicate key value violates a unique constraint"
    );
    let unknown = Answer::of(&client.query("SELECT nothing FROM orders"));
    assert_eq!(unknown.sqlstate.as_deref(), Some("42703"));
    let syntax = Answer::of(&client.query("SELEKT 1"));
    assert_eq!(syntax.sqlstate.as_deref(), Some("42601"));
    let empty = client.query(" -- nothing\n;");
    assert_eq!(empty[0].tag, b'I');
}

#[test]
fn a_login_is_bound_or_refused() {
    let file = policy_file();
    let _ground = ground::open();
    let proxy = proxy::plan()
        .tenancy("bare", &file)
        .user(&format!(
            "name: tenant_2, password: \"{}\", tenant: \"2\"",
            proxy::verifier("tenant_2")
        ))
        .start();
    let refused = |name: &str, value: &str| {
        let login = Login::new("tenant_2", "bare").password("tenant_2");
        let error = proxy.login(&login.with(name, value)).err().expect(name);
        error.sqlstate()
    };
    assert_eq!(refused("search_path", "public"), "42501");
    assert_eq!(refused("role", "owner"), "42501");
    assert_eq!(refused("client_encoding", "LATIN1"), "42501");
    assert_eq!(refused("options", "-c row_security=off"), "42501");
    let login = Login::new("tenant_2", "bare").password("tenant_2");
    let mut client = proxy
        .login(&login.with("search_path", "app").with("TimeZone", "UTC"))
        .expect("the policy's own path");
    assert_eq!(
        client.scalar("SELECT count(*) FROM docs_t WHERE tenant_id <> 'acme2'"),
        "0"
    );
    let shown = client.parameters();
    assert!(
        !shown.contains_key("is_superuser") && shown.contains_key("TimeZone"),
        "{shown:?}"
    );
    for text in ["RESET ALL", "UNLISTEN *", "SELECT pg_advisory_unlock_all()"] {
        client.run(text);
        // The search path is still the system's.
        assert_eq!(
            client.scalar("SELECT count(*) FROM orders WHERE tenant_id <> 2"),
            "0"
        );
    }
    client.run("SELECT set_config('TimeZone', 'Asia/Tokyo', false)");
    assert_eq!(client.scalar("SHOW timezone"), "Asia/Tokyo");
    let mut all = proxy
        .login(&Login::new(ROLE, "bare").password(ROLE))
        .expect("who sees all");
    assert_eq!(
        all.scalar("SELECT count(DISTINCT tenant_id) FROM app.orders"),
        "3"
    );
}

#[test]
fn a_reload_holds_for_what_was_prepared_before() {
    let file = policy_file();
    let _ground = ground::open();
    let proxy = start(&file);
    let mut client = login(&proxy, TENANT);
    let prepare = |client: &mut Client, name: &str, text: &str| {
        client.send(&[message::parse(name, text, &[]), message::sync()].concat());
        assert_eq!(Answer::of(&client.until_ready()).sqlstate, None, "{text}");
    };
    let run = |client: &mut Client, name: &str| {
        let bound = message::bind_text("", name, &[]);
        client.send(&[bound, message::execute("", 0), message::sync()].concat());
        Answer::of(&client.until_ready())
    };
    prepare(&mut client, "kept", "SELECT count(*) FROM orders");
    prepare(&mut client, "gone", "SELECT count(*) FROM tree");
    // Said so often that what was made of it is kept.
    (0..4).for_each(|_| drop(client.run("SELECT count(*) FROM tree")));
    assert_eq!(run(&mut client, "gone").rows.len(), 1);
    client.run("BEGIN");
    let text = [
        &POLICY.replace("  app.tree: {}\n", ""),
        ground::value_key(ground::value()),
    ];
    std::fs::write(&file, text.concat()).expect("a file");
    assert_eq!(proxy.post("/api/reload").0, 200);
    proxy.log.wait_for("tenant policy verified", 2);
    assert_eq!(run(&mut client, "kept").sqlstate, None);
    assert_eq!(run(&mut client, "gone").sqlstate.as_deref(), Some("26000"));
    client.query("ROLLBACK");
    assert_eq!(run(&mut client, "kept").rows.len(), 1);
    let refused = Answer::of(&client.query("SELECT count(*) FROM tree"));
    assert_eq!(refused.sqlstate.as_deref(), Some("42501"));
}

#[test]
fn a_database_that_is_not_as_declared_is_not_served_to_tenants() {
    let file = policy_file();
    let _ground = ground::open();
    let mut admin = postgres::cluster().connect_superuser("postgres");
    admin.run("drop database if exists odd");
    admin.run("create database odd");
    let mut odd = postgres::cluster().connect_superuser("odd");
    odd.run("create schema app authorization app; set role app; create table app.orders (tenant_id int, id int primary key)");
    let text =
        "version: 1\nsearch_path: [app]\ntenant: {type: integer}\ntables: {app.orders: {}}\n";
    std::fs::write(&file, text).expect("a file");
    let proxy = proxy::plan()
        .tenancy("odd", &file)
        .user(&format!(
            "name: tenant_2, password: \"{}\", tenant: \"2\"",
            proxy::verifier("tenant_2")
        ))
        .start();
    let login = || proxy.login(&Login::new("tenant_2", "odd").password("tenant_2"));
    assert_eq!(login().err().expect("closed").sqlstate(), "57P03");
    let (status, reasons) = proxy.get("/readyz");
    assert!(
        status == 503 && reasons.contains("app.orders.tenant_id is not NOT NULL"),
        "{reasons}"
    );
    proxy
        .log
        .wait_for("unique key orders_pkey of app.orders", 1);
    odd.run("alter table app.orders drop constraint orders_pkey, alter tenant_id set not null, add primary key (tenant_id, id)");
    odd.run("insert into app.orders values (1, 1), (2, 7)");
    // A reload has it verified again.
    assert_eq!(proxy.post("/api/reload").0, 200);
    let deadline = std::time::Instant::now() + crate::client::PATIENCE;
    let mut client = loop {
        match login() {
            Ok(client) => break client,
            Err(error) => assert!(std::time::Instant::now() < deadline, "{error:?}"),
        }
    };
    assert_eq!(client.scalar("SELECT id FROM orders"), "7");
    // Sessions that are open are not served either when that changes.
    odd.run("alter table app.orders drop constraint orders_pkey, alter tenant_id drop not null");
    assert_eq!(proxy.post("/api/reload").0, 200);
    let deadline = std::time::Instant::now() + crate::client::PATIENCE;
    let refused = |client: &mut Client| Answer::of(&client.query("SELECT id FROM orders")).sqlstate;
    while refused(&mut client).as_deref() != Some("57P03") {
        assert!(std::time::Instant::now() < deadline, "still served");
    }
}

/// Requests that wait for a slow one, and then a Bind in two parts: what the proxy itself sends in between
/// would make the end of the Bind a message of the client's choice.
fn split_bind(client: &mut Client, other: &mut Client, slow: &str) -> Answer {
    let closes = vec![message::close(b'P', "none"); 4092].concat();
    let mut value = "x".repeat(20_000).into_bytes();
    let forged = message::query("SELECT note FROM app.orders");
    let start = value.len() - forged.len();
    value[start..].copy_from_slice(&forged);
    value.retain(|byte| *byte != 0);
    let bind = message::bind("", "s", &[(0, Some(value))], &[]);
    let (head, rest) = bind.split_at(9_000);
    client.send(
        &[
            message::parse("s", "SELECT length($1::text)", &[]),
            message::sync(),
        ]
        .concat(),
    );
    client.until_ready();
    client.send(
        &[
            message::parse("", slow, &[]),
            message::bind_text("", "", &[]),
            message::execute("", 0),
            closes,
            head.to_vec(),
        ]
        .concat(),
    );
    // The proxy has had many turns when these are answered.
    (0..20).for_each(|_| drop(other.run("SELECT 1")));
    client.send(rest);
    client.send(&[message::execute("", 0), message::sync()].concat());
    Answer::of(&client.until_ready())
}

#[test]
fn nothing_comes_in_between_the_parts_of_a_message() {
    let file = policy_file();
    let _ground = ground::open();
    let proxy = start(&file);
    let mut other = login(&proxy, "1");
    let slow = "SELECT count(*) FROM generate_series(1, 2000000)";
    let mut tenant = login(&proxy, TENANT);
    let mut all = proxy
        .login(&Login::new(ROLE, "bare").password(ROLE))
        .expect("who sees all");
    for client in [&mut tenant, &mut all] {
        let answer = split_bind(client, &mut other, slow);
        assert_eq!(answer.rows.len(), 2, "{answer:?}");
        assert_eq!(client.scalar("SELECT 7"), "7");
    }
    // Copy data without a COPY goes nowhere.
    tenant.run("BEGIN");
    tenant.run("SELECT count(*) FROM orders");
    tenant.send(&message::copy_data(&message::query("SELECT 1")));
    tenant.send(&message::copy_done());
    assert_eq!(tenant.scalar("SELECT 8"), "8");
    tenant.run("COMMIT");
}

#[test]
fn statements_of_others_on_the_same_connection_cannot_be_named() {
    let file = policy_file();
    let _ground = ground::open();
    let proxy = start(&file);
    let mut victim = login(&proxy, "1");
    let text = "SELECT note FROM orders WHERE id = 1";
    victim.send(&[message::parse("mine", text, &[]), message::sync()].concat());
    victim.until_ready();
    let mut client = login(&proxy, TENANT);
    for number in 1..200 {
        for text in ["EXECUTE dsqlproxy_", "DEALLOCATE dsqlproxy_"] {
            let answer = Answer::of(&client.query(&format!("{text}{number}")));
            assert_eq!(answer.sqlstate.as_deref(), Some("42501"), "{text}{number}");
        }
    }
    // What the server itself would do to the path goes nowhere, and nothing goes on unread.
    assert_eq!(
        Answer::of(&client.query("DISCARD ALL")).sqlstate.as_deref(),
        Some("0A000")
    );
    // Short as it is sent, above 1 MiB as it would leave.
    let one = format!("SELECT 1 FROM orders{};", ", orders".repeat(19));
    let many = format!("RESET ALL;{}", one.repeat(700));
    assert_eq!(
        Answer::of(&client.query(&many)).sqlstate.as_deref(),
        Some("54000")
    );
    assert_eq!(
        client.scalar("SELECT count(*) FROM orders WHERE tenant_id <> 2"),
        "0"
    );
}

#[test]
fn tools_see_what_is_declared() {
    let file = policy_file();
    std::fs::write(&file, format!("{POLICY}catalogs: declared\n")).expect("a file");
    let _ground = ground::open();
    let proxy = start(&file);
    let mut client = login(&proxy, TENANT);
    // As psql's \\d, pgJDBC's getTables and an information_schema browser ask.
    let lists = [
        "SELECT c.relname FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r','v','') AND n.nspname <> 'pg_catalog' AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 1",
        "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() UNION SELECT viewname FROM pg_views \
         WHERE schemaname = 'app' ORDER BY 1",
        "SELECT table_name FROM information_schema.tables WHERE table_schema NOT IN ('pg_catalog', 'information_schema') \
         ORDER BY table_name",
    ];
    let declared = [
        "Orders",
        "accounts",
        "countries",
        "customers",
        "docs_t",
        "docs_u",
        "items",
        "orders",
        "tree",
        "v_orders",
        "v_rank",
        "v_totals",
    ];
    for text in lists {
        let answer = Answer::of(&client.query(text));
        let mut rows = answer.rows.clone();
        rows.sort();
        let expected = declared.map(|name| format!("'{name}'"));
        assert_eq!(rows, expected, "{text} {:?}", answer.error);
    }
    let columns = "SELECT attname FROM pg_attribute WHERE attrelid = 'app.audit_log'::regclass AND attnum > 0";
    assert_eq!(Answer::of(&client.query(columns)).rows, [""; 0]);
    assert_eq!(client.scalar("SELECT current_schema()"), "app");
    for text in [
        "SELECT * FROM pg_stats",
        "SELECT query FROM pg_stat_activity",
        "SELECT relname FROM pg_class, orders",
        "SELECT pg_get_viewdef('app.v_orders'::regclass)",
    ] {
        let refused = Answer::of(&client.query(text));
        assert_eq!(refused.sqlstate.as_deref(), Some("42501"), "{text}");
    }
}
