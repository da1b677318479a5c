//! The recordings of group `occ_conflict` in both orders of COMMIT, and the classic anomalies.

use super::wire::{Fixture, Session, start};

const OC000: &str = "40001 change conflicts with another transaction (OC000)";
const OC001: &str = "40001 schema has been updated by another transaction (OC001)";

fn pair(fixture: &Fixture, setup: &[&str]) -> (Session, Session) {
    let mut one = fixture.session();
    one.run(setup);
    (one, fixture.session())
}

/// One statement each in two transactions, both before either COMMIT.
struct Race {
    setup: &'static [&'static str],
    statements: [&'static str; 2],
    tags: [&'static str; 2],
    conflict: bool,
}

const RACES: [Race; 8] = [
    Race {
        setup: &[
            "CREATE TABLE r1 (id int PRIMARY KEY, name text NOT NULL)",
            "INSERT INTO r1 VALUES (1, 'x')",
        ],
        statements: [
            "UPDATE r1 SET name = 'a' WHERE id = 1",
            "UPDATE r1 SET name = 'b' WHERE id = 1",
        ],
        tags: ["UPDATE 1", "UPDATE 1"],
        conflict: true,
    },
    Race {
        setup: &[
            "CREATE TABLE r2 (id int PRIMARY KEY, name text NOT NULL)",
            "INSERT INTO r2 VALUES (1, 'x')",
        ],
        statements: [
            "SELECT name FROM r2 WHERE id = 1 FOR UPDATE",
            "UPDATE r2 SET name = 'b' WHERE id = 1",
        ],
        tags: ["SELECT 1", "UPDATE 1"],
        conflict: true,
    },
    Race {
        setup: &[
            "CREATE TABLE r3 (id int PRIMARY KEY, name text NOT NULL)",
            "INSERT INTO r3 VALUES (1, 'x')",
        ],
        statements: [
            "SELECT name FROM r3 WHERE id = 1 FOR KEY SHARE",
            "DELETE FROM r3 WHERE id = 1",
        ],
        tags: ["SELECT 1", "DELETE 1"],
        conflict: true,
    },
    Race {
        setup: &[
            "CREATE TABLE r4 (id int PRIMARY KEY, name text NOT NULL)",
            "CREATE TABLE r4_child (id int PRIMARY KEY, parent_id int NOT NULL REFERENCES r4 (id))",
            "INSERT INTO r4 VALUES (1, 'x')",
        ],
        statements: [
            "DELETE FROM r4 WHERE id = 1",
            "INSERT INTO r4_child VALUES (1, 1)",
        ],
        tags: ["DELETE 1", "INSERT 0 1"],
        conflict: true,
    },
    Race {
        setup: &[
            "CREATE TABLE r5 (id int PRIMARY KEY, name text NOT NULL)",
            "CREATE TABLE r5_child (id int PRIMARY KEY, parent_id int NOT NULL REFERENCES r5 (id))",
            "INSERT INTO r5 VALUES (1, 'x')",
        ],
        statements: [
            "UPDATE r5 SET name = 'nk' WHERE id = 1",
            "INSERT INTO r5_child VALUES (1, 1)",
        ],
        tags: ["UPDATE 1", "INSERT 0 1"],
        conflict: false,
    },
    Race {
        setup: &[
            "CREATE TABLE r6 (id int PRIMARY KEY, name text NOT NULL)",
            "INSERT INTO r6 VALUES (1, 'x')",
            "CREATE TABLE r6_child (id int PRIMARY KEY, parent_id int REFERENCES r6 (id) ON DELETE SET NULL, note text)",
            "INSERT INTO r6_child VALUES (1, 1, 'child')",
        ],
        statements: [
            "DELETE FROM r6 WHERE id = 1",
            "UPDATE r6_child SET note = 'touched' WHERE id = 1",
        ],
        tags: ["DELETE 1", "UPDATE 1"],
        conflict: true,
    },
    Race {
        setup: &[
            "CREATE TABLE r7 (id int PRIMARY KEY, name text NOT NULL)",
            "INSERT INTO r7 VALUES (1, 'x'), (2, 'y')",
            "CREATE TABLE r7_child (id int PRIMARY KEY, parent_id int DEFAULT 2 REFERENCES r7 (id) ON DELETE SET DEFAULT, note text)",
            "INSERT INTO r7_child VALUES (1, 1, 'child')",
        ],
        statements: [
            "DELETE FROM r7 WHERE id = 1",
            "UPDATE r7_child SET note = 'touched' WHERE id = 1",
        ],
        tags: ["DELETE 1", "UPDATE 1"],
        conflict: true,
    },
    Race {
        setup: &[
            "CREATE TABLE r8 (id int PRIMARY KEY, k int NOT NULL, v text)",
            "INSERT INTO r8 VALUES (1, 1, 'a'), (2, 1, 'b'), (3, 1, 'c'), (4, 2, 'other')",
        ],
        statements: [
            "UPDATE r8 SET v = 'a-side' WHERE k = 1",
            "UPDATE r8 SET v = 'b-side' WHERE k = 1",
        ],
        tags: ["UPDATE 3", "UPDATE 3"],
        conflict: true,
    },
];

#[test]
fn recorded_races_go_as_recorded_in_both_orders() {
    let fixture = start();
    for (number, race) in (1..).zip(&RACES) {
        for first in [0, 1] {
            // Tables of its own for each order.
            let name = |sql: &str| sql.replace(&format!("r{number}"), &format!("r{number}{first}"));
            let setup: Vec<String> = race.setup.iter().map(|sql| name(sql)).collect();
            let setup: Vec<&str> = setup.iter().map(String::as_str).collect();
            let (one, two) = pair(&fixture, &setup);
            let mut sessions = [one, two];
            let steps = race.statements.iter().zip(race.tags);
            for (session, (sql, tag)) in sessions.iter_mut().zip(steps) {
                assert_eq!(session.tag("BEGIN"), "BEGIN");
                assert_eq!(session.tag(&name(sql)), tag);
            }
            assert_eq!(sessions[first].tag("COMMIT"), "COMMIT", "race {number}");
            let loser = if race.conflict { OC000 } else { "COMMIT" };
            assert_eq!(sessions[1 - first].tag("COMMIT"), loser, "race {number}");
            assert_eq!(sessions[1 - first].status, b'I');
        }
    }
}

#[test]
fn anomalies() {
    let fixture = start();
    let (mut one, mut two) = pair(
        &fixture,
        &[
            "CREATE TABLE t (id int PRIMARY KEY, v int)",
            "INSERT INTO t VALUES (1, 10), (2, 20)",
        ],
    );
    dirty_write(&mut one, &mut two);
    lost_update(&mut one, &mut two);
    read_skew(&mut one, &mut two);
    write_skew(&mut one, &mut two);
    for_update_prevents_write_skew(&mut one, &mut two);
    autocommit_does_not_wait(&mut one, &mut two);
    a_lost_transaction_goes_on_until_commit(&mut one, &mut two);
    rollback_frees(&mut one, &mut two);
    bound_parameters_survive_a_lost_lock(&mut one, &mut two);
}

fn reset(one: &mut Session) {
    one.run(&["DELETE FROM t", "INSERT INTO t VALUES (1, 10), (2, 20)"]);
}

fn dirty_write(one: &mut Session, two: &mut Session) {
    reset(one);
    for session in [&mut *one, &mut *two] {
        session.run(&["BEGIN"]);
    }
    one.run(&["UPDATE t SET v = 11 WHERE id = 1"]);
    two.run(&[
        "UPDATE t SET v = 12 WHERE id = 1",
        "UPDATE t SET v = 22 WHERE id = 2",
    ]);
    one.run(&["UPDATE t SET v = 21 WHERE id = 2", "COMMIT"]);
    assert_eq!(two.rows("SELECT * FROM t ORDER BY 1"), ["1|12", "2|22"]);
    assert_eq!(two.tag("COMMIT"), OC000);
    assert_eq!(two.rows("SELECT * FROM t ORDER BY 1"), ["1|11", "2|21"]);
}

fn lost_update(one: &mut Session, two: &mut Session) {
    reset(one);
    for session in [&mut *one, &mut *two] {
        session.run(&["BEGIN"]);
        assert_eq!(session.rows("SELECT v FROM t WHERE id = 1"), ["10"]);
    }
    one.run(&["UPDATE t SET v = v + 1 WHERE id = 1", "COMMIT"]);
    assert_eq!(two.tag("UPDATE t SET v = v + 1 WHERE id = 1"), "UPDATE 1");
    assert_eq!(two.rows("SELECT v FROM t WHERE id = 1"), ["11"]);
    assert_eq!(two.tag("COMMIT"), OC000);
    assert_eq!(one.rows("SELECT v FROM t WHERE id = 1"), ["11"]);
}

fn read_skew(one: &mut Session, two: &mut Session) {
    reset(one);
    two.run(&["BEGIN"]);
    assert_eq!(two.rows("SELECT v FROM t WHERE id = 1"), ["10"]);
    one.run(&["BEGIN", "UPDATE t SET v = v + 1", "COMMIT"]);
    assert_eq!(two.rows("SELECT v FROM t WHERE id = 2"), ["20"]);
    assert_eq!(two.tag("COMMIT"), "COMMIT");
}

fn write_skew(one: &mut Session, two: &mut Session) {
    reset(one);
    for session in [&mut *one, &mut *two] {
        session.run(&["BEGIN"]);
        assert_eq!(session.rows("SELECT sum(v) FROM t"), ["30"]);
    }
    one.run(&["UPDATE t SET v = 0 WHERE id = 1"]);
    two.run(&["UPDATE t SET v = 0 WHERE id = 2"]);
    assert_eq!(one.tag("COMMIT"), "COMMIT");
    assert_eq!(two.tag("COMMIT"), "COMMIT");
    assert_eq!(one.rows("SELECT sum(v) FROM t"), ["0"]);
}

fn for_update_prevents_write_skew(one: &mut Session, two: &mut Session) {
    reset(one);
    for session in [&mut *one, &mut *two] {
        session.run(&["BEGIN"]);
        assert_eq!(
            session.rows("SELECT v FROM t ORDER BY id FOR UPDATE"),
            ["10", "20"]
        );
    }
    one.run(&["UPDATE t SET v = 0 WHERE id = 1"]);
    two.run(&["UPDATE t SET v = 0 WHERE id = 2"]);
    assert_eq!(two.tag("COMMIT"), "COMMIT");
    assert_eq!(one.tag("COMMIT"), OC000);
}

fn autocommit_does_not_wait(one: &mut Session, two: &mut Session) {
    reset(one);
    one.run(&["BEGIN", "UPDATE t SET v = 11 WHERE id = 1"]);
    assert_eq!(two.tag("UPDATE t SET v = 12 WHERE id = 1"), "UPDATE 1");
    assert_eq!(two.rows("SELECT v FROM t WHERE id = 1"), ["12"]);
    assert_eq!(one.rows("SELECT v FROM t WHERE id = 1"), ["11"]);
    assert_eq!(one.tag("COMMIT"), OC000);
}

fn a_lost_transaction_goes_on_until_commit(one: &mut Session, two: &mut Session) {
    reset(one);
    one.run(&[
        "BEGIN",
        "INSERT INTO t VALUES (3, 30)",
        "UPDATE t SET v = 11 WHERE id = 1",
    ]);
    two.run(&["INSERT INTO t VALUES (3, 33)"]);
    let answer = one.query("INSERT INTO t VALUES (4, 40) RETURNING id, v");
    assert_eq!(answer.tags, ["INSERT 0 1"]);
    assert_eq!(answer.rows, [[Some("4".to_owned()), Some("40".to_owned())]]);
    assert_eq!(
        one.rows("SELECT * FROM public.t ORDER BY t.id"),
        ["1|11", "2|20", "3|30", "4|40"]
    );
    assert_eq!(one.tag("DELETE FROM t WHERE id = 4"), "DELETE 1");
    let doubled = "23505 duplicate key value violates unique constraint \"t_pkey\"";
    assert_eq!(one.tag("INSERT INTO t VALUES (3, 0)"), doubled);
    assert_eq!(one.status, b'E');
    assert_eq!(one.tag("COMMIT"), "ROLLBACK");
    assert_eq!(
        one.rows("SELECT * FROM t ORDER BY 1"),
        ["1|10", "2|20", "3|33"]
    );
}

fn rollback_frees(one: &mut Session, two: &mut Session) {
    reset(one);
    one.run(&["BEGIN", "UPDATE t SET v = 11 WHERE id = 1"]);
    two.run(&[
        "BEGIN",
        "UPDATE t SET v = 12 WHERE id = 1",
        "INSERT INTO t VALUES (5, 50)",
    ]);
    one.run(&["ROLLBACK"]);
    assert_eq!(two.tag("COMMIT"), "COMMIT");
    assert_eq!(
        one.rows("SELECT * FROM t ORDER BY 1"),
        ["1|12", "2|20", "5|50"]
    );
}

fn bound_parameters_survive_a_lost_lock(one: &mut Session, two: &mut Session) {
    reset(one);
    one.run(&["BEGIN", "UPDATE t SET v = 11 WHERE id = 1"]);
    two.run(&["BEGIN"]);
    let answer = two.execute(
        "UPDATE t SET v = v + $1 WHERE id = $2 RETURNING v",
        &["5", "1"],
    );
    assert_eq!(
        (answer.tags, answer.error),
        (vec!["UPDATE 1".to_owned()], None)
    );
    assert_eq!(answer.rows, [[Some("15".to_owned())]]);
    let answer = two.execute("SELECT v FROM t WHERE id = $1", &["1"]);
    assert_eq!(answer.rows, [[Some("15".to_owned())]]);
    let answer = two.execute("SELECT v FROM t WHERE id = $1 FOR UPDATE", &["2"]);
    assert_eq!(answer.rows, [[Some("20".to_owned())]]);
    assert_eq!(two.tag("COMMIT"), "COMMIT");
    assert_eq!(one.tag("COMMIT"), OC000);
    assert_eq!(one.rows("SELECT * FROM t ORDER BY 1"), ["1|15", "2|20"]);
}

#[test]
fn schema_changes_are_told_once() {
    let fixture = start();
    let (mut one, mut two) = pair(&fixture, &["CREATE TABLE s (id int PRIMARY KEY, v int)"]);
    // The change came before the second session.
    assert_eq!(two.tag("SELECT * FROM s"), "SELECT 0");
    one.run(&["CREATE TABLE s2 (id int)", "INSERT INTO s2 VALUES (1)"]);
    assert_eq!(two.tag("SHOW timezone"), "SHOW");
    assert_eq!(two.tag("SELECT * FROM s"), OC001);
    assert_eq!(two.tag("SELECT * FROM s"), "SELECT 0");
    // At BEGIN's first statement, which fails the block.
    one.run(&["GRANT SELECT ON s TO admin"]);
    two.run(&["BEGIN READ ONLY"]);
    assert_eq!(two.tag("SELECT * FROM s"), OC001);
    assert_eq!(two.tag("COMMIT"), "ROLLBACK");
    // In the middle of a transaction: at COMMIT, also of one that only reads.
    for begin in ["BEGIN", "BEGIN READ ONLY"] {
        two.run(&[begin, "SELECT * FROM s"]);
        one.run(&["ALTER TABLE s2 RENAME TO s3"]);
        two.run(&["SELECT * FROM s"]);
        assert_eq!(two.tag("COMMIT"), OC001);
        one.run(&["ALTER TABLE s3 RENAME TO s2"]);
        assert_eq!(two.tag("SELECT 1"), OC001);
        assert_eq!(two.tag("SELECT 1"), "SELECT 1");
    }
    // An empty transaction does not look at the schema.
    one.run(&["REVOKE SELECT ON s FROM admin"]);
    two.run(&["BEGIN", "COMMIT"]);
    assert_eq!(two.tag("INSERT INTO s VALUES (1, 1)"), OC001);
    assert_eq!(two.tag("INSERT INTO s VALUES (1, 1)"), "INSERT 0 1");
}

#[test]
fn nobody_is_in_the_way_of_a_schema_change() {
    let fixture = start();
    let (mut one, mut two) = pair(&fixture, &["CREATE TABLE s (id int PRIMARY KEY, v int)"]);
    // Readers and writers.
    two.run(&["BEGIN", "SELECT * FROM s", "INSERT INTO s VALUES (1, 1)"]);
    assert_eq!(one.tag("ALTER TABLE s ADD COLUMN w int"), "ALTER TABLE");
    assert_eq!(two.tag("COMMIT"), OC001);
    // A change that is not committed yet holds up nobody.
    one.run(&["BEGIN", "ALTER TABLE s ADD COLUMN x int"]);
    assert_eq!(two.tag("INSERT INTO s VALUES (1, 1)"), "INSERT 0 1");
    assert_eq!(two.rows("SELECT * FROM s"), ["1|1|NULL"]);
    assert_eq!(one.tag("COMMIT"), "COMMIT");
    assert_eq!(two.tag("SELECT * FROM s"), OC001);
    assert_eq!(two.rows("SELECT * FROM s"), ["1|1|NULL|NULL"]);
    // What the change brought is watched, too.
    one.run(&["BEGIN", "UPDATE s SET x = 1"]);
    assert_eq!(two.tag("UPDATE s SET x = 2"), "UPDATE 1");
    assert_eq!(one.tag("COMMIT"), OC000);
}

#[test]
fn limits_of_rows_and_values() {
    let fixture = start();
    let (mut one, _two) = pair(
        &fixture,
        &[
            "CREATE TABLE l (id text PRIMARY KEY, t text, b bytea, c text)",
            "CREATE TABLE m (id int PRIMARY KEY, b bytea)",
        ],
    );
    let bytes = |n: usize| format!("decode(repeat('00', {n}), 'hex')");
    let put = |b: &str| {
        format!(
            "INSERT INTO l (id, b) VALUES ('a', {b}) ON CONFLICT (id) DO UPDATE SET b = EXCLUDED.b"
        )
    };
    assert_eq!(one.tag(&put(&bytes(1_048_576))), "INSERT 0 1");
    let refused = "54000 datatype limit greater than 1048576 bytes not supported for bytea";
    assert_eq!(one.tag(&put(&bytes(1_048_577))), refused);
    // Text counts as it is stored.
    assert_eq!(
        one.tag("INSERT INTO l (id, t) VALUES ('t', repeat('x', 1048577))"),
        "INSERT 0 1"
    );
    assert_eq!(
        one.tag("INSERT INTO l (id) VALUES (repeat('k', 1981))"),
        "INSERT 0 1"
    );
    assert_eq!(
        one.tag("INSERT INTO l (id) VALUES (repeat('k', 1982))"),
        "54000 key size too large"
    );
    let random =
        "INSERT INTO l (id) SELECT string_agg(md5(g::text), '') FROM generate_series(1, 100) g";
    assert_eq!(one.tag(random), "54000 key size too large");
    // Ten MiB are told at COMMIT.
    for (rows, outcome) in [
        (10, "COMMIT"),
        (11, "54000 transaction size limit 10mb exceeded"),
    ] {
        one.run(&["BEGIN"]);
        for row in 0..rows {
            let sql = format!(
                "INSERT INTO m VALUES ({}, {})",
                rows * 100 + row,
                bytes(1_000_000)
            );
            assert_eq!(one.tag(&sql), "INSERT 0 1");
        }
        assert_eq!(one.tag("COMMIT"), outcome);
    }
    assert_eq!(one.rows("SELECT count(*) FROM m"), ["10"]);
}

#[test]
fn hidden_triggers_are_hidden() {
    let fixture = start();
    let (mut one, _two) = pair(&fixture, &["CREATE TABLE h (id int PRIMARY KEY)"]);
    let shown =
        "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'h'::regclass AND NOT tgisinternal";
    assert_eq!(one.rows(shown), ["0"]);
    one.run(&[
        "ALTER TABLE h ADD COLUMN v int",
        "INSERT INTO h VALUES (1, 2)",
    ]);
    one.run(&[
        "ALTER TABLE h DROP COLUMN v",
        "INSERT INTO h VALUES (2)",
        "DROP TABLE h",
    ]);
}

#[test]
fn views_show_what_a_lost_transaction_did() {
    let fixture = start();
    let (mut one, mut two) = pair(
        &fixture,
        &[
            "CREATE TABLE base (id int PRIMARY KEY, v int)",
            "CREATE VIEW small AS SELECT * FROM base WHERE v < 100",
            "CREATE VIEW smaller AS SELECT id, v + 1 AS w FROM small",
            "CREATE FUNCTION total() RETURNS bigint LANGUAGE sql AS 'SELECT sum(v) FROM base'",
            "INSERT INTO base VALUES (1, 10), (2, 20)",
        ],
    );
    one.run(&["BEGIN", "UPDATE base SET v = 11 WHERE id = 1"]);
    two.run(&["UPDATE base SET v = 12 WHERE id = 1"]);
    assert_eq!(one.tag("UPDATE small SET v = v + 1"), "UPDATE 2");
    assert_eq!(
        one.rows("SELECT * FROM smaller ORDER BY id"),
        ["1|13", "2|22"]
    );
    let both = "SELECT b.v, s.w FROM base b JOIN public.smaller s USING (id) ORDER BY 1";
    assert_eq!(one.rows(both), ["12|13", "21|22"]);
    assert_eq!(one.rows("SELECT total()"), ["33"]);
    assert_eq!(one.tag("COMMIT"), OC000);
    assert_eq!(
        one.rows("SELECT * FROM small ORDER BY id"),
        ["1|12", "2|20"]
    );
}

/// Identity columns, generated columns, defaults, checks, deferred references: copies have them all.
#[test]
fn copies_have_what_their_tables_have() {
    let fixture = start();
    let (mut one, mut two) = pair(
        &fixture,
        &[
            "CREATE TABLE g (id bigint GENERATED BY DEFAULT AS IDENTITY (CACHE 1) PRIMARY KEY, a text DEFAULT 'x', \
             b int GENERATED ALWAYS AS (length(a)) STORED, j jsonb, c numeric(10,2) CHECK (c > 0), at timestamptz)",
            "CREATE TABLE h (id int PRIMARY KEY, g bigint REFERENCES g (id) DEFERRABLE INITIALLY DEFERRED)",
            "CREATE TABLE hot (id int PRIMARY KEY)",
            "INSERT INTO hot VALUES (1)",
        ],
    );
    one.run(&["BEGIN", "INSERT INTO h VALUES (1, 77)"]);
    two.run(&["BEGIN", "DELETE FROM hot"]);
    one.run(&["DELETE FROM hot"]);
    let refused = one.tag("INSERT INTO g (c) VALUES (0)");
    assert_eq!(refused.split(' ').next(), Some("23514"));
    one.run(&["ROLLBACK", "BEGIN", "DELETE FROM hot"]);
    let insert = "INSERT INTO g (j, c, at) VALUES ('null', 1.5, '2026-01-02 03:04:05.678+00') \
                  RETURNING a, b, j, c";
    assert_eq!(one.rows(insert), ["x|1|null|1.50"]);
    one.run(&["INSERT INTO h SELECT 1, max(id) FROM g"]);
    one.run(&["INSERT INTO g (a) VALUES ('''quoted\\\" , (text)''')"]);
    two.run(&["ROLLBACK"]);
    assert_eq!(one.tag("COMMIT"), "COMMIT");
    let all = "SELECT a, b, j IS NULL, c, at, h.id FROM g JOIN h ON h.g = g.id";
    assert_eq!(one.rows(all), ["x|1|f|1.50|2026-01-02 03:04:05.678+00|1"]);
    assert_eq!(
        one.rows("SELECT a FROM g WHERE b > 1"),
        ["'quoted\\\" , (text)'"]
    );
    // A reference that is wrong at COMMIT.
    one.run(&["BEGIN", "INSERT INTO h VALUES (2, 4711)"]);
    assert_eq!(one.tag("COMMIT").split(' ').next(), Some("23503"));
    // Also when others have committed, or have taken its locks meanwhile.
    one.run(&["BEGIN", "INSERT INTO h VALUES (2, 4711)"]);
    two.run(&["INSERT INTO g (a) VALUES ('other')"]);
    assert_eq!(one.tag("COMMIT").split(' ').next(), Some("23503"));
    two.run(&[
        "INSERT INTO hot VALUES (2)",
        "BEGIN",
        "DELETE FROM hot WHERE id = 2",
    ]);
    one.run(&[
        "BEGIN",
        "INSERT INTO h VALUES (2, 4711)",
        "DELETE FROM hot WHERE id = 2",
    ]);
    assert_eq!(one.tag("COMMIT").split(' ').next(), Some("23503"));
    two.run(&["ROLLBACK"]);
    assert_eq!(one.rows("SELECT count(*) FROM h"), ["1"]);
}

const CLIENTS: usize = 8;
const TRANSFERS: usize = 40;

fn transfer(fixture: &Fixture, client: usize) -> (usize, usize) {
    let mut session = fixture.session();
    let (mut done, mut lost) = (0, 0);
    let mut number = client;
    while done < TRANSFERS {
        number = number.wrapping_mul(31).wrapping_add(7);
        let (from, to) = (number % 6, (number / 6 + 1) % 6);
        let change = |id, by| {
            format!(
                "UPDATE account SET amount = amount + {by}, changes = changes + 1 WHERE id = {id}"
            )
        };
        session.run(&["BEGIN"]);
        assert_eq!(session.tag(&change(from, -1)), "UPDATE 1");
        assert_eq!(session.tag(&change(to, 1)), "UPDATE 1");
        match session.tag("COMMIT").as_str() {
            "COMMIT" => done += 1,
            OC000 => lost += 1,
            other => panic!("{other}"),
        }
    }
    (done, lost)
}

/// Many clients at once: no update is lost, nobody waits for ever.
#[test]
fn parallel_transfers_keep_the_sum() {
    let fixture = start();
    let mut one = fixture.session();
    one.run(&[
        "CREATE TABLE account (id int PRIMARY KEY, amount int NOT NULL, changes int NOT NULL)",
        "INSERT INTO account SELECT g, 100, 0 FROM generate_series(0, 5) g",
    ]);
    let fixture = &fixture;
    let totals: Vec<(usize, usize)> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| scope.spawn(move || transfer(fixture, client)))
            .collect();
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect()
    });
    println!("transfers and conflicts by client: {totals:?}");
    let expected = format!("600|{}", 2 * CLIENTS * TRANSFERS);
    let sums = one.rows("SELECT sum(amount), sum(changes) FROM account");
    assert_eq!(sums, [expected]);
    assert!(
        totals.iter().any(|(_, lost)| *lost > 0),
        "no conflict at all"
    );
}

/// PostgreSQL's constraints look at the newest rows; DSQL's statements see their snapshot.
#[test]
fn constraints_are_those_of_the_snapshot() {
    let fixture = start();
    let (mut one, mut two) = pair(
        &fixture,
        &[
            "CREATE TABLE q (id int PRIMARY KEY, v int)",
            "CREATE TABLE strict (id int PRIMARY KEY, q int REFERENCES q (id))",
            "CREATE TABLE loose (id int PRIMARY KEY, q int REFERENCES q (id) ON DELETE CASCADE)",
            "INSERT INTO q SELECT g, g FROM generate_series(1, 6) g",
            "INSERT INTO strict VALUES (1, 2)",
            "INSERT INTO loose VALUES (1, 3)",
        ],
    );
    let mut begin = |one: &mut Session, change: &str| {
        one.run(&["BEGIN", "SELECT * FROM q"]);
        two.run(&[change]);
    };
    // A key that somebody has taken away is still there.
    begin(&mut one, "DELETE FROM q WHERE id = 1");
    assert_eq!(
        one.tag("INSERT INTO q VALUES (1, 0) ON CONFLICT DO NOTHING"),
        "INSERT 0 0"
    );
    assert_eq!(
        one.tag("INSERT INTO q VALUES (1, 0)").split(' ').next(),
        Some("23505")
    );
    assert_eq!(one.tag("COMMIT"), "ROLLBACK");
    // So is a reference.
    begin(&mut one, "DELETE FROM strict WHERE id = 1");
    assert_eq!(
        one.tag("DELETE FROM q WHERE id = 2").split(' ').next(),
        Some("23503")
    );
    assert_eq!(one.tag("COMMIT"), "ROLLBACK");
    // And a row that goes with its parent.
    begin(&mut one, "DELETE FROM loose WHERE id = 1");
    assert_eq!(one.tag("DELETE FROM q WHERE id = 3"), "DELETE 1");
    assert_eq!(one.tag("COMMIT"), OC000);
    // A new reference is not seen, but its key is taken.
    begin(&mut one, "INSERT INTO strict VALUES (2, 4)");
    assert_eq!(one.tag("DELETE FROM q WHERE id = 4"), "DELETE 1");
    assert_eq!(one.tag("COMMIT"), OC000);
    // A new key is not seen either.
    begin(&mut one, "INSERT INTO q VALUES (7, 7)");
    assert_eq!(one.tag("INSERT INTO q VALUES (7, 0)"), "INSERT 0 1");
    assert_eq!(one.tag("COMMIT"), OC000);
    // A changed parent is no conflict.
    begin(&mut one, "UPDATE q SET v = 50 WHERE id = 5");
    assert_eq!(one.tag("INSERT INTO strict VALUES (5, 5)"), "INSERT 0 1");
    assert_eq!(one.tag("COMMIT"), "COMMIT");
}
