//! Faults on order: each kind, in each position, as often as asked and not once more.

use std::time::{Duration, Instant};

use crate::Test;
use crate::client::{Lost, Session};
use crate::ground::Ground;

pub const TESTS: &[Test] = &[
    ("faults::logins", logins),
    ("faults::logins_of_a_busy_cluster", logins_of_a_busy_cluster),
    ("faults::abort_statement", abort_statement),
    (
        "faults::abort_statement_that_matches",
        abort_statement_that_matches,
    ),
    ("faults::abort_commit", abort_commit),
    (
        "faults::abort_commit_that_matches",
        abort_commit_that_matches,
    ),
    ("faults::cut_before_commit", cut_before_commit),
    ("faults::cut_after_commit", cut_after_commit),
    ("faults::cut_at_once", cut_at_once),
    ("faults::cut_in_a_row", cut_in_a_row),
    ("faults::delay", delay),
    (
        "faults::orders_are_kept_and_forgotten",
        orders_are_kept_and_forgotten,
    ),
    (
        "faults::orders_that_make_no_sense",
        orders_that_make_no_sense,
    ),
];

const ADMIN: &[(&str, &str)] = &[("user", "admin")];
const OC000: &str = "40001 change conflicts with another transaction (OC000)";
const OC001: &str = "40001 schema has been updated by another transaction (OC001)";
const TABLE: &[&str] = &["CREATE TABLE t (id int PRIMARY KEY)"];

/// Ids in `t`, by a session that no fault has touched.
fn ids(ground: &Ground) -> Vec<String> {
    let rows = ground.admin().run("SELECT id FROM t ORDER BY id").rows;
    rows.into_iter().filter_map(|row| row[0].clone()).collect()
}

#[track_caller]
fn is_cut(answer: Result<crate::client::Reply, Lost>) {
    match answer {
        Err(Lost::Ended(error)) => assert!(
            !matches!(
                error.kind(),
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
            ),
            "no end, a hang"
        ),
        Err(Lost::Told(failure)) => panic!("cut, but with a word: {failure}"),
        Ok(reply) => panic!("not cut: {reply:?}"),
    }
}

fn logins(ground: &mut Ground) {
    let refusal = |ground: &Ground| ground.refusal(ADMIN, &ground.token("admin"));
    ground.order(r#"{"kind":"refuse_login","count":2}"#);
    for _ in 0..2 {
        let failure = refusal(ground);
        assert_eq!(
            failure.summary(),
            "08006 unable to accept connection, access denied"
        );
        assert!(!failure.hint.is_empty() && !failure.hint.starts_with("Signature expired"));
    }
    ground.admin().run("SELECT 1");
    ground.order(r#"{"kind":"expire_tokens"}"#);
    let failure = refusal(ground);
    assert_eq!(
        failure.summary(),
        "08006 unable to accept connection, access denied"
    );
    assert!(failure.hint.starts_with("Signature expired"), "{failure}");
    ground.admin().run("SELECT 1");
}

fn logins_of_a_busy_cluster(ground: &mut Ground) {
    for (kind, sqlstate, message) in [
        (
            "waking_up",
            None,
            "unable to accept connection, waking up cluster, please retry later",
        ),
        (
            "rate_exceeded",
            Some("53400"),
            "Unable to accept connection, rate exceeded.",
        ),
        (
            "too_many_connections",
            Some("53300"),
            "Unable to accept connection, too many open connections.",
        ),
    ] {
        ground.order(&format!(r#"{{"kind":"{kind}","count":1}}"#));
        let failure = ground.refusal(ADMIN, &ground.token("admin"));
        assert_eq!(failure.message, message, "{failure}");
        assert_eq!(failure.severity, "FATAL", "{failure}");
        // No source tells the SQLSTATE of a cluster that wakes up.
        assert!(
            sqlstate.is_none_or(|code| failure.sqlstate == code),
            "{failure}"
        );
        ground.admin().run("SELECT 1");
    }
}

fn abort_statement(ground: &mut Ground) {
    ground.set_up(TABLE);
    let mut session = ground.admin();
    // Without a code it is the conflict; autocommit, simple and extended.
    ground.order(r#"{"kind":"abort_statement","count":2}"#);
    assert_eq!(session.refused("INSERT INTO t VALUES (1)").summary(), OC000);
    assert_eq!(session.status, 'I');
    let reply = session
        .execute("INSERT INTO t VALUES (1)", &[])
        .unwrap_or_else(|lost| panic!("{lost}"));
    assert_eq!(
        (reply.error().summary().as_str(), reply.status),
        (OC000, 'I')
    );
    session.run("INSERT INTO t VALUES (1)");
    // First, in the middle, last of a transaction.
    for position in 0..3 {
        session.run("BEGIN");
        for id in 0..position {
            session.run(&format!("INSERT INTO t VALUES (1{id})"));
        }
        ground.order(r#"{"kind":"abort_statement","code":"OC001","count":1}"#);
        assert_eq!(session.refused("SELECT 1").summary(), OC001);
        assert_eq!(session.status, 'E');
        assert_eq!(session.refused("SELECT 1").sqlstate, "25P02");
        assert_eq!(session.run("COMMIT").tag, "ROLLBACK");
    }
    assert_eq!(ids(ground), ["1"]);
}

fn abort_statement_that_matches(ground: &mut Ground) {
    ground.set_up(TABLE);
    let mut session = ground.admin();
    ground.order(r#"{"kind":"abort_statement","code":"OC000","count":2,"match":"(?i)insert into t values \\(7"}"#);
    session.run("SELECT 1");
    session.run("INSERT INTO t VALUES (1)");
    assert_eq!(session.refused("INSERT INTO t VALUES (7)").summary(), OC000);
    session.run("INSERT INTO t VALUES (2)");
    // By other sessions, too; the second of a string, whose first goes with it.
    let mut other = ground.admin();
    let string = "INSERT INTO t VALUES (3); insert into t values (70)";
    assert_eq!(other.refused(string).summary(), OC000);
    assert_eq!(
        other.run("INSERT INTO t VALUES (7)").tag,
        "INSERT 0 1",
        "used up"
    );
    assert_eq!(ids(ground), ["1", "2", "7"]);
}

fn abort_commit(ground: &mut Ground) {
    ground.set_up(TABLE);
    for (code, error) in [("OC000", OC000), ("OC001", OC001)] {
        let mut session = ground.admin();
        ground.order(&format!(
            r#"{{"kind":"abort_commit","code":"{code}","count":2}}"#
        ));
        let aborts = ground.stat("aborts");
        session.run("BEGIN");
        assert_eq!(session.run("INSERT INTO t VALUES (1)").tag, "INSERT 0 1");
        assert_eq!(session.refused("COMMIT").summary(), error);
        assert_eq!(session.status, 'I', "the transaction is over");
        assert!(ids(ground).is_empty());
        // The same through the extended protocol, and END.
        session.run("BEGIN");
        session.run("INSERT INTO t VALUES (1)");
        let reply = session
            .execute("END", &[])
            .unwrap_or_else(|lost| panic!("{lost}"));
        assert_eq!(
            (reply.error().summary().as_str(), reply.status),
            (error, 'I')
        );
        assert!(ground.stat("aborts") >= aborts + 2);
        session.run("BEGIN");
        session.run("INSERT INTO t VALUES (1)");
        assert_eq!(session.run("COMMIT").tag, "COMMIT");
        assert_eq!(ids(ground), ["1"]);
        session.run("DELETE FROM t");
    }
    // ROLLBACK does not use it up; an autocommit write does, at the statement.
    let mut session = ground.admin();
    ground.order(r#"{"kind":"abort_commit","count":1}"#);
    session.run("BEGIN");
    session.run("INSERT INTO t VALUES (5)");
    assert_eq!(session.run("ROLLBACK").tag, "ROLLBACK");
    assert_eq!(session.refused("INSERT INTO t VALUES (6)").summary(), OC000);
    session.run("INSERT INTO t VALUES (7)");
    assert_eq!(ids(ground), ["7"]);
}

fn abort_commit_that_matches(ground: &mut Ground) {
    ground.set_up(TABLE);
    let mut session = ground.admin();
    ground.order(r#"{"kind":"abort_commit","count":1,"match":"VALUES \\(2\\)"}"#);
    session.run("INSERT INTO t VALUES (1)");
    assert_eq!(session.refused("INSERT INTO t VALUES (2)").summary(), OC000);
    session.run("INSERT INTO t VALUES (3)");
    assert_eq!(ids(ground), ["1", "3"]);
}

fn cut_before_commit(ground: &mut Ground) {
    ground.set_up(TABLE);
    ground.order(r#"{"kind":"cut_before_commit","count":2}"#);
    let mut session = ground.admin();
    session.run("BEGIN");
    session.run("INSERT INTO t VALUES (1)");
    is_cut(session.query("COMMIT"));
    assert!(ids(ground).is_empty(), "not applied");
    let mut session = ground.admin();
    is_cut(session.execute("INSERT INTO t VALUES (2)", &[]));
    assert!(ids(ground).is_empty(), "not applied");
    ground.admin().run("INSERT INTO t VALUES (3)");
    assert_eq!(ids(ground), ["3"]);
}

fn cut_after_commit(ground: &mut Ground) {
    ground.set_up(TABLE);
    ground.order(r#"{"kind":"cut_after_commit","count":2}"#);
    let mut session = ground.admin();
    session.run("BEGIN");
    session.run("INSERT INTO t VALUES (1)");
    is_cut(session.query("COMMIT"));
    assert_eq!(ids(ground), ["1"], "applied, and not told");
    let mut session = ground.admin();
    is_cut(session.execute("INSERT INTO t VALUES (2)", &[]));
    assert_eq!(ids(ground), ["1", "2"]);
    ground.admin().run("INSERT INTO t VALUES (3)");
    assert_eq!(ids(ground), ["1", "2", "3"]);
}

fn cut_at_once(ground: &mut Ground) {
    ground.set_up(TABLE);
    let mut sessions: Vec<Session> = (0..3).map(|_| ground.admin()).collect();
    sessions[0].run("BEGIN");
    sessions[0].run("INSERT INTO t VALUES (1)");
    sessions[1].start_query("SELECT pg_sleep(60)").unwrap();
    sessions[2].run("SELECT 1");
    ground.order(r#"{"kind":"cut"}"#);
    for session in &mut sessions {
        assert!(session.is_closed_silently());
    }
    assert!(ids(ground).is_empty(), "what was open is rolled back");
}

fn cut_in_a_row(ground: &mut Ground) {
    ground.order(r#"{"kind":"cut","count":1,"match":"generate_series"}"#);
    let mut session = ground.admin();
    session.run("SELECT 1");
    session
        .start_query("SELECT g FROM generate_series(1, 1000) g")
        .unwrap();
    let mut rows = 0;
    loop {
        match session.message() {
            Ok((b'D', _)) => rows += 1,
            Ok((b'T', _)) => {}
            Ok((tag, _)) => panic!("{:?} instead of an end", char::from(tag)),
            Err(_) => break,
        }
    }
    assert!(rows < 1000, "cut in the middle");
    ground
        .admin()
        .run("SELECT g FROM generate_series(1, 1000) g");
}

fn delay(ground: &mut Ground) {
    let mut session = ground.admin();
    let timed = |session: &mut Session, sql: &str| {
        let begun = Instant::now();
        session.run(sql);
        begun.elapsed()
    };
    ground.order(r#"{"kind":"delay","ms":400,"count":1,"match":"slow"}"#);
    assert!(timed(&mut session, "SELECT 'quick'") < Duration::from_millis(390));
    assert!(timed(&mut session, "SELECT 'slow'") >= Duration::from_millis(400));
    assert!(
        timed(&mut session, "SELECT 'slow'") < Duration::from_millis(390),
        "used up"
    );
    ground.order(r#"{"kind":"delay","ms":300,"count":1}"#);
    assert!(timed(&mut session, "SELECT 1") >= Duration::from_millis(300));
}

fn orders_are_kept_and_forgotten(ground: &mut Ground) {
    ground.set_up(TABLE);
    for kind in [
        "abort_commit",
        "abort_statement",
        "cut_before_commit",
        "cut_after_commit",
    ] {
        ground.order(&format!(r#"{{"kind":"{kind}","count":3,"match":"never"}}"#));
    }
    let (status, left) = ground.http("GET", "/faults", "");
    assert_eq!(status, 200);
    for kind in [
        "abort_commit",
        "abort_statement",
        "cut_before_commit",
        "cut_after_commit",
    ] {
        assert!(left.to_string().contains(kind), "{kind}: {left}");
    }
    assert!(left.to_string().contains("never"), "{left}");
    let mut session = ground.admin();
    session.run("INSERT INTO t VALUES (1)");
    assert_eq!(
        ground.http("GET", "/faults", "").1,
        left,
        "nothing was used up"
    );
    ground.order(r#"{"kind":"abort_statement","count":5}"#);
    assert_eq!(ground.http("DELETE", "/faults", "").0, 200);
    session.run("SELECT 1");
    let (_, left) = ground.http("GET", "/faults", "");
    assert!(!left.to_string().contains("never"), "{left}");
}

fn orders_that_make_no_sense(ground: &mut Ground) {
    for order in [
        "",
        "[]",
        "{}",
        r#"{"kind":"explode"}"#,
        r#"{"kind":"abort_commit","count":0}"#,
        r#"{"kind":"abort_commit","count":-1}"#,
        r#"{"kind":"abort_commit","code":"OC002"}"#,
        r#"{"kind":"abort_commit","match":"("}"#,
        r#"{"kind":"abort_commit","matches":"x"}"#,
        r#"{"kind":"delay"}"#,
        r#"{"kind":"delay","ms":"400"}"#,
    ] {
        let (status, answer) = ground.http("POST", "/faults", order);
        assert_eq!(status, 400, "{order}: {answer}");
        assert!(
            answer["error"].as_str().is_some_and(|text| text.len() > 10),
            "{order}: {answer}"
        );
    }
    ground.admin().run("SELECT 1");
}
