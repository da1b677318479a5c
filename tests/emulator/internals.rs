//! The emulator's own functions write past all checks: no client may reach them, whatever way it
//! writes their names. And what the emulator does about locks, which clients must not notice.

use dsql_proxy::wire::frontend::{put, put_parse};

use crate::Test;
use crate::client::{Lost, Session};
use crate::ground::Ground;

pub const TESTS: &[Test] = &[
    ("internals::no_text_reaches_them", no_text_reaches_them),
    ("internals::no_path_leads_to_them", no_path_leads_to_them),
    ("internals::no_login_leads_to_them", no_login_leads_to_them),
    ("internals::hidden_names_are_taken", hidden_names_are_taken),
    (
        "internals::a_table_somebody_changes_can_be_used",
        a_table_somebody_changes_can_be_used,
    ),
    (
        "internals::a_copy_waits_for_nobody",
        a_copy_waits_for_nobody,
    ),
];

/// Ways to write the name of the schema that holds them.
const NAMES: [&str; 6] = [
    "pg_dsql",
    "PG_Dsql",
    "\"pg_dsql\"",
    r#"U&"pg\005fdsql""#,
    r#"u&"\0070g_dsq\+00006c""#,
    r#"U&"pg!005fdsql" UESCAPE '!'"#,
];

/// Ways to write it as a constant.
const TEXTS: [&str; 7] = [
    "'pg_dsql'",
    "'public, PG_DSQL'",
    r"E'pg\x5fdsql'",
    r"E'pg\137dsql'",
    r"U&'pg\005fdsql'",
    "'pg_'\n'dsql'",
    "$x$pg_dsql$x$",
];

const CALL: &str = "apply('t'::regclass, 't'::regclass, '{}', '{}', '{}', '{(2)}')";

/// Refused in both protocols, and nothing came of it.
#[track_caller]
fn refused(session: &mut Session, sql: &str) {
    let simple = session
        .query(sql)
        .unwrap_or_else(|lost| panic!("{sql}: {lost}"));
    assert!(simple.failure.is_some(), "{sql}: {simple:?}");
    let extended = session
        .execute(sql, &[])
        .unwrap_or_else(|lost| panic!("{sql}: {lost}"));
    assert!(extended.failure.is_some(), "{sql}: {extended:?}");
    let rows = session.run("SELECT count(*) FROM t").rows;
    assert_eq!(rows[0][0].as_deref(), Some("1"), "{sql}");
}

/// An admin's session and one of a mere role, with a table of one row in sight of both.
fn sessions(ground: &mut Ground) -> [Session; 2] {
    ground.set_up(&[
        "CREATE TABLE t (id int PRIMARY KEY)",
        "INSERT INTO t VALUES (1)",
        "CREATE ROLE clerk WITH LOGIN",
        "AWS IAM GRANT clerk TO 'arn:aws:iam::123456789012:role/clerk'",
        "CREATE SCHEMA office",
        "GRANT ALL ON SCHEMA office TO clerk",
        "CREATE TABLE office.t (id int PRIMARY KEY)",
        "INSERT INTO office.t VALUES (1)",
        "GRANT ALL ON office.t TO clerk",
    ]);
    let admin = ground.admin();
    let mut clerk = ground.connect("clerk");
    clerk.run("SET search_path = office");
    [admin, clerk]
}

fn no_text_reaches_them(ground: &mut Ground) {
    for mut session in sessions(ground) {
        for name in NAMES {
            for call in [
                CALL,
                "instrument()",
                "shadow('{1}')",
                "change_iam(true, 'a', 'b')",
            ] {
                refused(&mut session, &format!("SELECT {name}.{call}"));
                refused(&mut session, &format!("SELECT * FROM {name}.{call}"));
            }
            for sql in [
                format!("PREPARE p AS SELECT {name}.{CALL}"),
                format!("DO $$ BEGIN PERFORM {name}.{CALL}; END $$"),
                format!("CREATE VIEW v AS SELECT {name}.{CALL}"),
                format!("EXPLAIN ANALYZE SELECT {name}.{CALL}"),
                format!("CREATE TABLE u (id int DEFAULT {name}.instrument()::text::int)"),
                format!("INSERT INTO t SELECT 2 FROM {name}.{CALL}"),
                format!(
                    "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ SELECT {name}.instrument() $$"
                ),
                format!(
                    "CREATE FUNCTION f() RETURNS void LANGUAGE sql BEGIN ATOMIC SELECT {name}.instrument(); END"
                ),
                format!("DELETE FROM {name}.captured"),
            ] {
                refused(&mut session, &sql);
            }
        }
        for sql in [
            r"CREATE FUNCTION f() RETURNS void LANGUAGE sql AS E'SELECT pg\x5fdsql.instrument()'",
            "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'SELECT pg_'\n'dsql.instrument()'",
            "SELECT query_to_xml('SELECT pg_' || 'dsql.instrument()', true, true, '')",
            "SELECT * FROM ts_stat('SELECT pg_' || 'dsql.instrument()')",
        ] {
            refused(&mut session, sql);
        }
    }
}

fn no_path_leads_to_them(ground: &mut Ground) {
    for mut session in sessions(ground) {
        for text in TEXTS {
            for sql in [
                format!("SET search_path = {text}"),
                format!("SELECT set_config('search_path', {text}, false)"),
                format!("ALTER ROLE clerk SET search_path = {text}"),
                format!(
                    "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET search_path = {text} AS 'SELECT 1'"
                ),
            ] {
                refused(&mut session, &sql);
            }
        }
        for name in &NAMES[..5] {
            refused(&mut session, &format!("SET search_path = {name}"));
        }
        for sql in [
            "SELECT set_config('search_' || 'path', 'pg_' || 'dsql', false)",
            "SELECT set_config('SEARCH_PATH', 'public, \"pg_' || 'dsql_hidden\", pg_catalog', true)",
            "SELECT set_config('search_path', convert_from('\\x70675f6473716c', 'UTF8'), false)",
        ] {
            refused(&mut session, sql);
        }
        refused(&mut session, "SELECT instrument()");
        refused(&mut session, &format!("SELECT {CALL}"));
        // A path of the client's own is no secret.
        session.run("SELECT set_config('search_path', 'office', false)");
    }
}

fn no_login_leads_to_them(ground: &mut Ground) {
    for (name, value) in [
        ("search_path", "pg_dsql"),
        ("search_path", "public, \"pg_dsql_hidden\""),
        ("options", "-c search_path=pg_dsql"),
        ("options", "-c search_path=p\\g_dsql"),
    ] {
        match ground.try_connect(&[("user", "admin"), ("database", "postgres"), (name, value)]) {
            Err(Lost::Told(failure)) => assert_eq!(failure.sqlstate, "3F000", "{failure}"),
            Err(lost) => panic!("{name}={value}: {lost}"),
            Ok(_) => panic!("{name}={value}: let in"),
        }
    }
}

fn hidden_names_are_taken(ground: &mut Ground) {
    let mut session = ground.admin();
    let mut out = Vec::new();
    put_parse(&mut out, b"pg_dsql", b"SELECT 1", &[0, 0]);
    put(&mut out, b'S', &[]);
    session.send(&out).unwrap();
    let reply = session.reply().unwrap();
    assert_eq!(reply.error().sqlstate, "42P05");
    session.run("SELECT 1");
}

/// A session in the middle of a change of `t`.
fn changer(ground: &Ground) -> Session {
    let mut session = ground.admin();
    session.run("BEGIN");
    session.run("ALTER TABLE t ADD COLUMN more int");
    session
}

fn a_table_somebody_changes_can_be_used(ground: &mut Ground) {
    ground.set_up(&[
        "CREATE TABLE t (id int PRIMARY KEY, v int)",
        "INSERT INTO t VALUES (1, 1)",
    ]);
    type Use = (&'static str, &'static str);
    const USES: [Use; 4] = [
        ("SELECT v FROM t WHERE id = $1::int", "SELECT 1"),
        ("UPDATE t SET v = v + 1 WHERE id = $1::int", "UPDATE 1"),
        ("DELETE FROM t WHERE id = -$1::int", "DELETE 0"),
        ("SELECT v FROM t WHERE id = $1::int FOR UPDATE", "SELECT 1"),
    ];
    for in_block in [false, true] {
        for (sql, tag) in USES {
            let mut user = ground.admin();
            let mut changer = changer(ground);
            if in_block {
                user.run("BEGIN");
            }
            let reply = user.execute(sql, &[Some("1")]).unwrap();
            assert_eq!(reply.summary(), tag, "{sql} in_block={in_block}");
            if in_block {
                user.run("COMMIT");
            }
            changer.run("ROLLBACK");
        }
    }
    // Somebody's change, postponed, is still made in the end.
    let mut user = ground.admin();
    let mut changer = changer(ground);
    user.execute(USES[0].0, &[Some("1")]).unwrap();
    changer.run("COMMIT");
    ground.set_up(&["UPDATE t SET more = 1"]);
}

fn a_copy_waits_for_nobody(ground: &mut Ground) {
    ground.set_up(&["CREATE TABLE t (id int PRIMARY KEY, v int)"]);
    let data = |first: u32| {
        let rows: Vec<String> = (first..first + 100)
            .map(|n| format!("{n}\t{n}\n"))
            .collect();
        rows.concat().into_bytes()
    };
    let copy = |session: &mut Session, first| {
        let reply = session.copy_in("COPY t FROM STDIN", &data(first)).unwrap();
        assert_eq!(reply.summary(), "COPY 100");
    };
    // A key that another transaction has added and not committed: who commits first has won.
    for copier_first in [false, true] {
        let base = if copier_first { 1000 } else { 2000 };
        let (mut other, mut copier) = (ground.admin(), ground.admin());
        other.run("BEGIN");
        other.run(&format!("INSERT INTO t VALUES ({}, 0)", base + 50));
        copier.run("BEGIN");
        copy(&mut copier, base);
        let (mut first, mut second) = match copier_first {
            true => (copier, other),
            false => (other, copier),
        };
        first.run("COMMIT");
        assert!(second.query("COMMIT").unwrap().is_occ("OC000"));
    }
    let rows = ground.admin().run("SELECT count(*), sum(v) FROM t").rows;
    assert_eq!(rows[0][0].as_deref(), Some("101"));
    // A table that somebody changes.
    let mut changer = changer(ground);
    copy(&mut ground.admin(), 3000);
    changer.run("ROLLBACK");
}
