//! `tenants sync`: what the server itself keeps from the role of a tenant.

use std::process::{Command, Output};

use dsql_proxy::policy::tenancy::barrier::name_of;

use crate::client::{Client, Login};
use crate::dsql::{Cluster, set_up};
use crate::ground;
use crate::postgres::{self, ROLE};
use crate::proxy::{self, Proxy};
use crate::wire::policy_file;

fn sync(proxy: &Proxy, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dsql-proxy"))
        .args(["tenants", "sync", "--config"])
        .arg(proxy.config())
        .args(more)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .output()
        .expect("the binary")
}

fn lines(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(str::to_owned).collect()
}

fn done(output: &Output) -> Vec<String> {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    lines(output)
}

/// Rows of a query, or the SQLSTATE.
fn ask(client: &mut Client, text: &str) -> String {
    let answer = crate::answer::Answer::of(&client.query(text));
    match answer.sqlstate {
        Some(state) => state,
        None => [answer.rows, answer.tags].concat().join(" "),
    }
}

const SCHEMA: &str = "create schema app authorization app; set role app;
    create table app.orders (tenant_id int not null, id int, note text, primary key (tenant_id, id));
    create table app.docs (tenant_id text not null, id int, primary key (tenant_id, id));
    create table app.countries (code text);
    create table app.secrets (code text);
    insert into app.orders select t, i, 'note-' || t || '-' || i from generate_series(1, 3) t, generate_series(1, 4) i;
    insert into app.docs values ('acme1', 1), ('acme2', 2);
    insert into app.countries values ('de')";

const POLICY: &str = "
version: 1
search_path: [app]
tenant: {type: integer, values: {'1': {text: acme1}, '2': {text: acme2}}}
tables: {app.orders: {}, app.docs: {type: text}}
shared: {app.countries: {access: read}}
";

/// An empty database with [`SCHEMA`], whose owner may make roles: a superuser's client of it.
fn database(cluster: &postgres::Postgres, name: &str) -> Client {
    let mut admin = cluster.connect_superuser("postgres");
    admin.run(&format!("drop database if exists {name} with (force)"));
    admin.run(&format!("create database {name}"));
    admin.run("alter role app createrole");
    let mut all = cluster.connect_superuser(name);
    all.run(&format!("grant create on database {name} to app"));
    all.run(SCHEMA);
    all
}

#[test]
fn a_role_of_a_tenant_reaches_its_rows_alone() {
    let _alone = ground::open();
    let cluster = postgres::cluster();
    let mut all = database(cluster, "barred");
    let file = policy_file();
    std::fs::write(&file, POLICY).expect("a file");
    let proxy = proxy::plan().tenancy("barred", &file).start();
    let tenants = ["--tenant", "1", "--tenant", "2"];
    // Nothing is made by telling of it.
    let told = done(&sync(&proxy, &[&tenants[..], &["--dry-run"]].concat()));
    let name = name_of("2");
    let there = format!("SELECT count(*) FROM pg_roles WHERE rolname = '{name}'");
    assert_eq!(all.scalar(&there), "0");
    let made = done(&sync(&proxy, &tenants));
    assert_eq!(told, made);
    let again = done(&sync(&proxy, &tenants));
    assert_eq!(
        again
            .iter()
            .filter(|line| *line == "-- nothing to change")
            .count(),
        2,
        "{again:?}"
    );
    assert_eq!(again.len(), 4);
    all.run(&format!("alter role {name} password 'x'"));
    let login = Login::new(&name, "barred").password("x");
    let mut client = Client::login(&cluster.address(), &login).expect("the tenant's role");
    let cases = [
        (
            "SELECT count(*), min(tenant_id), max(tenant_id) FROM orders",
            "'4'|'2'|'2' SELECT 1",
        ),
        ("SELECT id FROM docs", "'2' SELECT 1"),
        ("SELECT code FROM countries", "'de' SELECT 1"),
        ("SELECT count(*) FROM app.orders", "42501"),
        ("SELECT count(*) FROM app.secrets", "42501"),
        ("INSERT INTO countries VALUES ('fr')", "42501"),
        ("INSERT INTO orders VALUES (2, 9, 'own')", "INSERT 0 1"),
        ("INSERT INTO orders VALUES (1, 9, 'other')", "44000"),
        ("UPDATE orders SET tenant_id = 1 WHERE id = 9", "44000"),
        (
            "UPDATE orders SET note = 'x' WHERE tenant_id = 1",
            "UPDATE 0",
        ),
        ("DELETE FROM orders WHERE id IN (3, 9)", "DELETE 2"),
        ("TRUNCATE orders", "42809"),
        ("CREATE TABLE mine (id int)", "42501"),
        ("SET ROLE app", "42501"),
    ];
    for (text, expected) in cases {
        assert_eq!(ask(&mut client, text), expected, "{text}");
    }
    // A loud condition meets no row of others.
    let loud = "SELECT count(*) FROM orders WHERE has_schema_privilege(note, 'usage')";
    let frames = client.query(loud);
    let error = crate::answer::Answer::of(&frames).error;
    assert!(
        error.iter().any(|(_, text)| text.contains("note-2-")),
        "{error:?}"
    );
    let other = format!("SELECT count(*) FROM {}.orders", name_of("1"));
    assert_eq!(ask(&mut client, &other), "42501");
    assert_eq!(
        all.scalar("SELECT count(*) FROM app.orders WHERE tenant_id <> 2"),
        "8"
    );
    // The proxy goes on to serve tenants beside the views.
    assert_eq!(proxy.post("/api/reload").0, 200);
    proxy.log.wait_for("tenant policy verified", 1);
    assert!(
        !proxy.log.text().contains("is not declared"),
        "{}",
        proxy.log.text()
    );
}

#[test]
fn what_differs_is_mended_and_what_is_in_the_way_is_told() {
    let _alone = ground::open();
    let cluster = postgres::cluster();
    let mut all = database(cluster, "mended");
    let file = policy_file();
    std::fs::write(&file, POLICY).expect("a file");
    let proxy = proxy::plan().tenancy("mended", &file).start();
    let tenant = ["--tenant", "3"];
    done(&sync(&proxy, &tenant));
    let name = name_of("3");
    all.run(&format!(
        "create or replace view {name}.orders with (security_barrier=true) as select * from app.orders \
         with cascaded check option; \
         grant select on app.orders to {name}; grant create on schema {name} to {name}; \
         alter table app.countries add column name text; create table {name}.mine (id int)"
    ));
    let output = sync(&proxy, &tenant);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = lines(&output);
    let begins = |begin: &str| told.iter().any(|line| line.starts_with(begin));
    for begin in [
        format!("DROP VIEW \"{name}\".\"orders\""),
        format!("CREATE VIEW \"{name}\".\"orders\""),
        format!("DROP VIEW \"{name}\".\"countries\""),
        format!("REVOKE CREATE ON SCHEMA \"{name}\""),
        format!("-- PROBLEM: \"{name}\".\"mine\" was not made"),
    ] {
        assert!(begins(&begin), "{begin} {told:?}");
    }
    assert_eq!(
        all.scalar(&format!(
            "SELECT count(DISTINCT tenant_id) FROM {name}.orders"
        )),
        "1"
    );
    all.run(&format!(
        "drop table {name}.mine; grant usage on schema app to {name}"
    ));
    let output = sync(&proxy, &tenant);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = lines(&output);
    assert!(
        told.iter().any(|line| line.contains("may use app.orders")),
        "{told:?}"
    );
    all.run(
        &format!("revoke all on app.orders, schema app from {name}").replace(", schema app", ""),
    );
    all.run(&format!("revoke usage on schema app from {name}"));
    assert_eq!(done(&sync(&proxy, &tenant)).len(), 2);
    // A table that is declared no more loses its view.
    let changed = POLICY.replace("shared: {app.countries: {access: read}}\n", "");
    std::fs::write(&file, changed).expect("a file");
    assert!(done(&sync(&proxy, &tenant)).contains(&format!("DROP VIEW \"{name}\".\"countries\";")));
    let unknown = sync(&proxy, &["--tenant", "x"]);
    assert_eq!(unknown.status.code(), Some(3), "{unknown:?}");
}

/// By a unique key without the tenant column `ON CONFLICT DO UPDATE` reaches rows that a view does not show.
#[test]
fn no_conflict_hands_over_a_row_of_another_tenant() {
    let _alone = ground::open();
    let cluster = postgres::cluster();
    let mut all = database(cluster, "conflicting");
    all.run(
        "create table app.users (tenant_id int not null, id int, email text unique, note text, primary key (tenant_id, id)); \
         alter table app.users owner to app; \
         insert into app.users values (1, 1, 'a', 'of 1'), (2, 2, 'b', 'of 2')",
    );
    let tables = "tables: {app.orders: {}, app.docs: {type: text}, app.users: {";
    let policy = POLICY.replace("tables: {app.orders: {}, app.docs: {type: text}", tables);
    let (accepts, refuses) = (
        policy.replace(tables, &format!("{tables}existence_oracle: accept}}")),
        policy.replace(tables, &format!("{tables}}}")),
    );
    let file = policy_file();
    std::fs::write(&file, &accepts).expect("a file");
    let proxy = proxy::plan().tenancy("conflicting", &file).start();
    let tenant = ["--tenant", "2"];
    let made = done(&sync(&proxy, &tenant));
    assert!(
        made.iter().any(|line| line.starts_with("-- note: ")),
        "{made:?}"
    );
    let name = name_of("2");
    all.run(&format!("alter role {name} password 'x'"));
    let login = Login::new(&name, "conflicting").password("x");
    let mut client = Client::login(&cluster.address(), &login).expect("the tenant's role");
    let cases = [
        (
            "INSERT INTO users VALUES (2, 9, 'a') ON CONFLICT (email) DO UPDATE SET tenant_id = 2 RETURNING note",
            "42501",
        ),
        ("UPDATE users SET note = 'x' RETURNING id", "'2' UPDATE 1"),
        ("INSERT INTO orders VALUES (2, 7, 'own')", "INSERT 0 1"),
    ];
    for (text, expected) in cases {
        assert_eq!(ask(&mut client, text), expected, "{text}");
    }
    assert_eq!(
        all.scalar("SELECT note FROM app.users WHERE tenant_id = 1"),
        "of 1"
    );
    // A function that runs as its owner goes past the views.
    all.run(
        "reset role; create function public.peek() returns bigint language sql security definer \
         as 'select count(*) from app.orders'; grant create on schema public to public",
    );
    let output = sync(&proxy, &tenant);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = lines(&output).join("\n");
    for exposed in ["public.peek", "CREATE on schema public"] {
        assert!(told.contains(exposed), "{exposed} {told}");
    }
    all.run("drop function public.peek(); revoke create on schema public from public");
    // What the proxy does not serve is not made either.
    std::fs::write(&file, &refuses).expect("a file");
    let output = sync(&proxy, &["--tenant", "3"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = lines(&output);
    assert!(
        told.iter().all(|line| line.starts_with("-- PROBLEM: ")) && !told.is_empty(),
        "{told:?}"
    );
}

#[test]
fn it_runs_against_the_emulated_dsql() {
    let cluster = Cluster::start();
    let file = policy_file();
    std::fs::write(&file, POLICY).expect("a file");
    let plain = proxy::plan().dsql(&cluster).start();
    let mut set = plain.connect();
    for text in [
        "CREATE SCHEMA app",
        "CREATE TABLE app.orders (tenant_id int NOT NULL, id int, note text, PRIMARY KEY (tenant_id, id))",
        "CREATE TABLE app.docs (tenant_id text NOT NULL, id int, PRIMARY KEY (tenant_id, id))",
        "CREATE TABLE app.countries (code text PRIMARY KEY)",
        "INSERT INTO app.orders VALUES (1, 1, 'one'), (2, 1, 'two')",
    ] {
        set_up(&mut set, text);
    }
    let plan = proxy::plan().dsql(&cluster);
    let proxy = plan.tenancy("postgres", &file).start();
    let made = done(&sync(&proxy, &["--tenant", "2"]));
    assert!(made.len() > 8, "{made:?}");
    let again = done(&sync(&proxy, &["--tenant", "2"]));
    assert_eq!(again.len(), 2, "{again:?}");
    let mut all = proxy
        .login(&Login::new(ROLE, "postgres").password(ROLE))
        .expect("who sees all");
    let text = format!("SELECT note FROM {}.orders", name_of("2"));
    assert_eq!(all.scalar(&text), "two");
}
