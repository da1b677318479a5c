//! Databases that clients create: schemas of the cluster, `public` to those who connect to them.

use crate::client::{Client, Login, LoginError};
use crate::dsql::{Cluster, set_up};
use crate::message::{Frame, bind_text, execute, parse, query, sync};
use crate::postgres::ROLE;
use crate::proxy::{Plan, Proxy, plan};

fn compat(cluster: &Cluster) -> Plan {
    plan().size(4).dsql(cluster).dialect("compat")
}

fn enter(proxy: &Proxy, database: &str) -> Client {
    enter_as(proxy, ROLE, database).unwrap_or_else(|error| panic!("{database}: {error:?}"))
}

fn enter_as(proxy: &Proxy, user: &str, database: &str) -> Result<Client, LoginError> {
    proxy.login(&Login::new(user, database))
}

#[track_caller]
fn refused(proxy: &Proxy, user: &str, database: &str) -> String {
    match enter_as(proxy, user, database) {
        Ok(_) => panic!("{user} was let into {database}"),
        Err(error) => error.sqlstate(),
    }
}

fn notices(frames: &[Frame]) -> Vec<String> {
    let notices = frames.iter().filter(|frame| frame.tag == b'N');
    notices.filter_map(|frame| frame.field(b'M')).collect()
}

fn tag(frames: &[Frame]) -> String {
    let complete = frames.iter().find(|frame| frame.tag == b'C');
    complete.expect("a tag").strings().remove(0)
}

fn error(frames: &[Frame]) -> String {
    let error = frames.iter().find(|frame| frame.tag == b'E');
    error.expect("an error").field(b'M').unwrap_or_default()
}

/// All values of the first column.
fn column(client: &mut Client, sql: &str) -> String {
    let frames = client.run(sql);
    let rows = frames.iter().filter(|frame| frame.tag == b'D');
    let values = rows.map(|row| {
        let value = row.values().remove(0).unwrap_or_default();
        String::from_utf8(value).expect("text")
    });
    values.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_database_is_created_used_and_dropped() {
    let cluster = Cluster::start();
    let proxy = compat(&cluster).start();
    let mut base = proxy.connect();
    set_up(&mut base, "create table t (a text)");
    base.run("insert into t values ('base')");
    assert_eq!(
        tag(&base.run("create database test_app")),
        "CREATE DATABASE"
    );
    assert_eq!(base.sqlstate("create database test_app"), "42P04");

    let mut test = enter(&proxy, "test_app");
    assert_eq!(test.sqlstate("select 1 from t"), "42P01");
    assert_eq!(test.sqlstate("select 1 from public.t"), "42P01");
    set_up(
        &mut test,
        "create table public.t (id serial primary key, a text)",
    );
    test.run("insert into t (a) values ('test')");
    assert_eq!(test.scalar("select public.t.a from public.t"), "test");
    assert_eq!(test.scalar("select count(*) from \"public\".\"t\""), "1");
    assert_eq!(
        test.exchange(&[
            parse("", "select a from public.t where id > $1", &[23]),
            bind_text("", "", &["0"]),
            execute("", 0),
            sync()
        ]),
        "12DCZ"
    );
    assert_eq!(base.scalar("select a from t"), "base");
    assert_eq!(base.scalar("select a from public.t"), "base");

    // Two who use it keep it.
    let frames = base.query("drop database test_app");
    assert!(error(&frames).contains("is being accessed by other users"));
    test.terminate();
    assert_eq!(tag(&base.run("drop database test_app")), "DROP DATABASE");
    assert_eq!(refused(&proxy, ROLE, "test_app"), "3D000");
    assert_eq!(base.sqlstate("drop database test_app"), "3D000");
    let frames = base.run("drop database if exists test_app");
    assert_eq!(
        notices(&frames),
        ["database \"test_app\" does not exist, skipping"]
    );
    // Nothing of it is left.
    base.run("create database test_app");
    let mut test = enter(&proxy, "test_app");
    assert_eq!(test.sqlstate("select 1 from t"), "42P01");
}

#[test]
fn catalogs_show_the_schema_as_public() {
    let cluster = Cluster::start();
    let proxy = compat(&cluster).start();
    let mut base = proxy.connect();
    set_up(&mut base, "create table of_base (a text)");
    base.run("create database \"My-App\"");
    base.run("create database other");
    let mut other = enter(&proxy, "other");
    set_up(&mut other, "create table of_other (a text)");
    let mut own = enter(&proxy, "My-App");
    set_up(&mut own, "create table t (id int primary key, a text)");
    set_up(&mut own, "create table u (t int references public.t (id))");
    let cases = [
        ("select current_database()", "My-App"),
        ("select current_catalog", "My-App"),
        ("select current_schema()", "public"),
        ("select current_schema", "public"),
        (
            "select array_to_string(current_schemas(false), ' ')",
            "public",
        ),
        ("show search_path", "\"$user\", public"),
        (
            "select table_catalog || '.' || table_schema || '.' || table_name from information_schema.tables \
             where table_schema not in ('pg_catalog', 'information_schema') order by table_name",
            "My-App.public.t My-App.public.u",
        ),
        (
            "select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace \
             where n.nspname = 'public' and c.relkind = 'r' order by 1",
            "t u",
        ),
        (
            "select nspname from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema'",
            "public",
        ),
        (
            "select schemaname || '.' || tablename from pg_tables where schemaname = 'public' order by 1",
            "public.t public.u",
        ),
        (
            "select indexdef from pg_indexes where tablename = 't'",
            "CREATE UNIQUE INDEX t_pkey ON public.t USING btree (id)",
        ),
        (
            "select pg_get_indexdef('public.t_pkey'::regclass)",
            "CREATE UNIQUE INDEX t_pkey ON public.t USING btree (id)",
        ),
        (
            "select pg_get_constraintdef(oid) from pg_constraint where conname = 'u_t_fkey'",
            "FOREIGN KEY (t) REFERENCES t(id)",
        ),
        ("select to_regclass('public.t')::text", "t"),
        (
            "select count(*) from pg_description where classoid = 'pg_namespace'::regclass and description like 'dsql%'",
            "0",
        ),
        (
            "select column_name from information_schema.columns where table_schema = 'public' \
             and table_name = 't' and table_catalog = current_database() order by ordinal_position",
            "id a",
        ),
        (
            "select relname from pg_class where oid = 'public.t'::regclass and pg_table_is_visible(oid)",
            "t",
        ),
    ];
    for (sql, expected) in cases {
        assert_eq!(column(&mut own, sql), expected, "{sql}");
    }
    own.run("set search_path to public");
    assert_eq!(own.scalar("show search_path"), "public");
    assert_eq!(own.scalar("select count(*) from t"), "0");
    own.run("reset search_path");
    assert_eq!(own.scalar("select count(*) from t"), "0");
    own.run("discard all");
    assert_eq!(own.scalar("select count(*) from t"), "0");
    own.run("set search_path to pg_catalog");
    let frames = own.query("insert into public.t values (1, 'a'), (1, 'b')");
    assert!(error(&frames).contains("t_pkey"));
    let failed = frames.iter().find(|frame| frame.tag == b'E').unwrap();
    assert_eq!(failed.field(b's').as_deref(), Some("public"));

    // The base sees none of it.
    let names = "select relname from pg_class c join pg_namespace n on n.oid = relnamespace \
        where relkind = 'r' and nspname !~ '^pg_' and nspname <> 'information_schema' order by 1";
    assert_eq!(column(&mut base, names), "of_base");
    assert_eq!(column(&mut other, names), "of_other");
    let schemas = "select schema_name from information_schema.schemata \
        where schema_name !~ '^pg_' and schema_name <> 'information_schema'";
    assert_eq!(column(&mut base, schemas), "public");
}

#[test]
fn databases_are_listed_by_who_may_use_them() {
    let cluster = Cluster::start();
    let proxy = compat(&cluster).start();
    let mut base = proxy.connect();
    base.run("create database made with owner = app template = template0 encoding 'UTF8'");
    let listed = "select datname from pg_database where datallowconn order by 1";
    assert_eq!(
        column(&mut base, listed),
        "app direct made postgres proxied template1"
    );
    assert_eq!(base.scalar("select current_database()"), "app");
    let cases = [
        ("select has_database_privilege('made', 'CONNECT')", "t"),
        (
            "select has_database_privilege(current_user, 'none', 'CONNECT')",
            "f",
        ),
        (
            "select count(*) from pg_catalog.pg_database d where d.datname = 'made' \
             and pg_encoding_to_char(d.encoding) = 'UTF8' and pg_get_userbyid(d.datdba) = current_user",
            "1",
        ),
        (
            "select catalog_name from information_schema.information_schema_catalog_name",
            "app",
        ),
    ];
    for (sql, expected) in cases {
        assert_eq!(base.scalar(sql), expected, "{sql}");
    }
    // Tools connect to these in order to make others.
    for name in ["postgres", "template1"] {
        let mut tool = enter(&proxy, name);
        assert_eq!(tool.scalar("select current_database()"), name);
        tool.run(&format!("create database of_{name}"));
    }
    assert_eq!(refused(&proxy, ROLE, "template0"), "55000");
    let notices =
        notices(&base.run("create database sorted lc_collate 'de_DE.UTF-8' template template0"));
    assert_eq!(notices, ["LC_COLLATE of the database is C on Aurora DSQL"]);
    for (sql, state) in [
        ("create database copied template made", "0A000"),
        ("create database latin encoding 'LATIN1'", "0A000"),
        ("create database app", "42P04"),
        ("create database postgres", "42P04"),
        ("drop database template1", "42809"),
        ("drop database direct", "42501"),
        ("drop database app", "55006"),
        ("alter database missing rename to x", "3D000"),
        ("begin; create database x", "25001"),
    ] {
        assert_eq!(base.sqlstate(sql), state, "{sql}");
        base.run("rollback");
    }
    base.run("begin");
    assert_eq!(base.sqlstate("drop database made"), "25001");
    base.run("rollback");
}

#[test]
fn a_database_is_renamed_and_dropped_by_force() {
    let cluster = Cluster::start();
    let proxy = compat(&cluster).start();
    let mut base = proxy.connect();
    base.run("create database one");
    let mut one = enter(&proxy, "one");
    set_up(&mut one, "create table t (a int)");
    one.run("insert into t values (7)");
    one.terminate();
    assert_eq!(
        tag(&base.run("alter database one rename to two")),
        "ALTER DATABASE"
    );
    assert_eq!(refused(&proxy, ROLE, "one"), "3D000");
    let mut two = enter(&proxy, "two");
    assert_eq!(two.scalar("select a from public.t"), "7");
    // The old name is free again.
    base.run("create database one");
    assert_eq!(enter(&proxy, "one").sqlstate("select 1 from t"), "42P01");
    assert_eq!(two.sqlstate("drop database two"), "55006");
    base.run("drop database two with (force)");
    assert!(two.until_closed().is_ok());
    assert_eq!(refused(&proxy, ROLE, "two"), "3D000");
}

/// What one proxy makes, others and later ones know.
/// The schema of the one's first choice is the other's second.
#[test]
fn two_that_are_created_at_once_share_no_schema() {
    let cluster = Cluster::start();
    let proxy = compat(&cluster).start();
    let mut base = proxy.connect();
    base.run("create database r");
    base.run("alter database r rename to q");
    cluster.delay(700, 2, "CREATE SCHEMA IF NOT EXISTS");
    let mut other = proxy.connect();
    base.send(&query("create database r"));
    other.send(&query("create database r_2"));
    for client in [&mut base, &mut other] {
        assert_eq!(tag(&client.until_ready()), "CREATE DATABASE");
    }
    for database in ["r", "r_2", "q"] {
        set_up(&mut enter(&proxy, database), "create table t (a int)");
    }
}

#[test]
fn all_proxies_agree() {
    let cluster = Cluster::start();
    let (a, b) = (compat(&cluster).start(), compat(&cluster).start());
    let mut base = a.connect();
    base.run("create database shared");
    let mut far = enter(&b, "shared");
    set_up(&mut far, "create table t (a int)");
    assert!(error(&base.query("drop database shared")).contains("other users"));
    far.terminate();
    assert_eq!(enter(&a, "shared").scalar("select count(*) from t"), "0");
    b.connect().run("drop database shared");
    assert_eq!(refused(&a, ROLE, "shared"), "3D000");
}

#[test]
fn only_users_of_its_entry_may_use_it() {
    let cluster = Cluster::start();
    let strict = compat(&cluster).entry("created_databases", "false").start();
    let mut base = strict.connect();
    assert_eq!(base.sqlstate("create database x"), "0A000");
    assert_eq!(refused(&strict, ROLE, "x"), "3D000");
    assert_eq!(refused(&strict, ROLE, "postgres"), "3D000");
    let proxy = compat(&cluster).start();
    proxy.connect().run("create database x");
    assert_eq!(refused(&strict, ROLE, "x"), "3D000");
    // Another entry, and a user of that alone.
    proxy.edit(|text| {
        let other = "  - {name: guest, password: guest, databases: [direct]}\n";
        text.replacen("users:\n", &format!("users:\n{other}"), 1)
    });
    let (status, answer) = proxy.post("/api/reload");
    assert_eq!(status, 200, "{answer}");
    assert_eq!(refused(&proxy, "guest", "x"), "42501");
    let mut guest = enter_as(&proxy, "guest", "direct").expect("their own");
    assert_eq!(
        column(
            &mut guest,
            "select datname from pg_database where not datistemplate order by 1"
        ),
        "direct postgres"
    );
    assert_eq!(guest.sqlstate("drop database x"), "42501");
    guest.run("create database of_guest");
    enter(&proxy, "of_guest").run("select 1");
}

#[test]
fn temporary_tables_and_rebuilds_stay_inside() {
    let cluster = Cluster::start();
    let proxy = compat(&cluster).entry("large_dml", "batch").start();
    let mut base = proxy.connect();
    set_up(&mut base, "create table t (a int)");
    base.run("insert into t values (1)");
    base.run("create database inside");
    let mut own = enter(&proxy, "inside");
    set_up(&mut own, "create table t (a int primary key, b int)");
    own.run("insert into t values (2, 3), (4, 5)");
    own.run("create temp table copied as select a from t");
    assert_eq!(own.scalar("select sum(a) from copied"), "6");
    // Both names are other ones for the cluster: the frame is taken as the client has sent it.
    let both = "select count(*) from inside.public.t join copied c on c.a = t.a";
    assert_eq!(own.scalar(both), "2");
    assert_eq!(own.scalar("select 1"), "1");
    own.run("create temp table empty (a int)");
    assert_eq!(own.scalar("select count(*) from empty"), "0");
    own.run("alter table public.t alter column b type text");
    assert_eq!(own.scalar("select max(b) from t"), "5");
    own.run("truncate t");
    assert_eq!(own.scalar("select count(*) from t"), "0");
    base.run("create temp table copied as select a from t");
    assert_eq!(base.scalar("select sum(a) from copied"), "1");
}
