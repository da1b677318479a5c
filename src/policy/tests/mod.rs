//! Tables of decisions.

mod documents;
mod recordings;
mod robustness;

use super::*;

fn parse(text: &str) -> Result<Vec<Statement>, String> {
    Statement::read(text).map_err(|error| error.to_string())
}

fn facts() -> SessionFacts {
    SessionFacts {
        profile: Dialect::Compat,
        as_of: "2026-09".parse().unwrap(),
        switches: Switches::default(),
        transaction: TransactionFacts::default(),
        created: false,
        tenants: false,
    }
}

fn decided(sql: &str, facts: &SessionFacts) -> Decision {
    let statements = parse(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    assert_eq!(statements.len(), 1, "{sql}");
    decide(&statements[0], facts, &Rules::standard().unwrap())
}

/// A decision on one line, for tables.
fn line(decision: &Decision) -> String {
    match &decision.action {
        Action::Forward => "forward".to_owned(),
        Action::Rewrite(rewrite) => {
            let steps: Vec<String> = rewrite
                .steps
                .iter()
                .map(|step| match step.kind {
                    StepKind::Statement => step.sql.clone(),
                    StepKind::Job => format!("[job] {}", step.sql),
                    StepKind::Batch => format!("[batch] {}", step.sql),
                    StepKind::Condition => format!("[if] {}", step.sql),
                    StepKind::Composed => "[composed]".to_owned(),
                    StepKind::Rebuild => format!("[rebuild] {}", step.sql),
                })
                .collect();
            steps.join("; ")
        }
        Action::Answer(Answer::Tag(tag)) => format!("answer {tag}"),
        Action::Answer(other) => format!("answer {other:?}"),
        Action::Emulate(procedure) => format!("emulate {}", procedure.name()),
        Action::Reject(error) => format!("reject {} {}", error.code, error.message),
    }
}

include!("../../../tests/dialect/cases.rs");

#[test]
fn cases_in_profile_compat() {
    let facts = facts();
    let mut wrong = Vec::new();
    for (sql, expected) in CASES {
        let found = line(&decided(sql, &facts));
        if found != *expected {
            wrong.push(format!("{sql}\n  found    {found}\n  expected {expected}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} differ:\n{}",
        wrong.len(),
        CASES.len(),
        wrong.join("\n")
    );
}

/// Whatever `strict` lets pass, it lets pass as `compat` does; it loses nothing with a WARNING.
#[test]
fn profile_strict_is_a_part_of_compat() {
    let compat = facts();
    let strict = SessionFacts {
        profile: Dialect::Strict,
        ..compat
    };
    let mut refused = 0;
    for (sql, _) in CASES {
        let decision = decided(sql, &strict);
        if matches!(decision.action, Action::Reject(_)) {
            refused += 1;
            continue;
        }
        assert_eq!(line(&decision), line(&decided(sql, &compat)), "{sql}");
        let lost = decision
            .notices
            .iter()
            .any(|notice| notice.level == Level::Warning);
        assert!(!lost, "{sql}: {:?}", decision.notices);
    }
    assert!((100..CASES.len() - 100).contains(&refused), "{refused}");
}

#[test]
fn profile_off_lets_everything_pass() {
    let off = SessionFacts {
        profile: Dialect::Off,
        ..facts()
    };
    for (sql, _) in CASES {
        assert_eq!(decided(sql, &off).action, Action::Forward, "{sql}");
    }
}

/// Every refusal says what it is in a sentence of its own, with an SQLSTATE; most say what to do.
#[test]
fn refusals_help() {
    let mut refused = 0;
    let mut hinted = 0;
    for profile in [Dialect::Compat, Dialect::Strict] {
        for (sql, _) in CASES {
            if let Action::Reject(error) = decided(sql, &SessionFacts { profile, ..facts() }).action
            {
                assert!(
                    error.message.len() > 10 && !error.message.contains("{}"),
                    "{sql}: {error:?}"
                );
                assert!(!error.message.ends_with('.'), "{sql}: {error:?}");
                refused += 1;
                hinted += usize::from(error.hint.is_some());
            }
        }
    }
    assert!(
        hinted * 10 > refused * 7,
        "{hinted} of {refused} refusals have a HINT"
    );
}

/// What the months change.
#[test]
fn dated_cases() {
    let cases = [
        (
            "2026-07",
            "CREATE TABLE t (a int REFERENCES u (id) DEFERRABLE, b int)",
            "CREATE TABLE t (a int, b int)",
        ),
        (
            "2026-08",
            "CREATE TABLE t (a int REFERENCES u (id), b int)",
            "forward",
        ),
        (
            "2026-07",
            "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u",
            "answer ALTER TABLE",
        ),
        (
            "2026-07",
            "CREATE INDEX ASYNC i ON t (lower(a))",
            "reject 0A000 index \"i\" cannot be over an expression on Aurora DSQL",
        ),
        ("2026-08", "CREATE INDEX ASYNC i ON t (lower(a))", "forward"),
        (
            "2026-08",
            "CREATE INDEX ASYNC i ON t (a) WHERE a > 0",
            "reject 0A000 index \"i\" cannot have a condition on Aurora DSQL",
        ),
        (
            "2026-04",
            "CREATE TABLE t (a json, b jsonb)",
            "CREATE TABLE t (a text, b text)",
        ),
        (
            "2026-05",
            "CREATE TABLE t (a json, b jsonb)",
            "CREATE TABLE t (a pg_catalog.json, b text)",
        ),
        ("2026-06", "CREATE TABLE t (a json, b jsonb)", "forward"),
        (
            "2026-07",
            "SELECT 1 FROM t FOR KEY SHARE",
            "SELECT 1 FROM t FOR UPDATE",
        ),
        (
            "2026-07",
            "ALTER TABLE t DROP COLUMN a",
            "reject 0A000 columns cannot be dropped on Aurora DSQL",
        ),
        (
            "2026-06",
            "ALTER TABLE t ALTER a SET DEFAULT 1",
            "reject 0A000 ALTER COLUMN SET DEFAULT is not available on Aurora DSQL",
        ),
        (
            "2026-07",
            "ALTER TABLE t ADD COLUMN a int DEFAULT 1",
            "reject 0A000 column \"a\" cannot be added with a default or constraints on Aurora DSQL",
        ),
        (
            "2026-01",
            "CREATE TABLE t (a serial)",
            "reject 0A000 column \"a\" of table \"t\" cannot be numbered by Aurora DSQL",
        ),
        (
            "2026-01",
            "CREATE SEQUENCE s CACHE 1",
            "reject 0A000 Aurora DSQL has no such statement (CreateSeq)",
        ),
        (
            "2026-05",
            "DROP TRIGGER IF EXISTS x ON t",
            "answer DROP TRIGGER",
        ),
        (
            "2026-03",
            "CREATE SCHEMA s CREATE TABLE t (a int)",
            "CREATE SCHEMA s; CREATE TABLE s.t (a int)",
        ),
        (
            "2026-07",
            "CREATE STATISTICS s ON a, b FROM t",
            "reject 0A000 Aurora DSQL has no such statement (CreateStats)",
        ),
    ];
    for (month, sql, expected) in cases {
        let facts = SessionFacts {
            as_of: month.parse().unwrap(),
            ..facts()
        };
        assert_eq!(line(&decided(sql, &facts)), expected, "{month} {sql}");
    }
}

/// The statements of one transaction: the placement and kind of each.
fn transaction(texts: &[&str], ddl: DdlInTransaction) -> Vec<String> {
    let mut facts = facts();
    facts.switches.ddl_in_transaction = ddl;
    let mut out = Vec::new();
    for text in texts {
        let statement = parse(text).unwrap().remove(0);
        let decision = decide(&statement, &facts, &Rules::standard().unwrap());
        let warned = decision
            .notices
            .iter()
            .any(|notice| notice.level == Level::Warning);
        out.push(format!(
            "{} {:?}{}",
            decision.kind(),
            decision.placement,
            if warned { " WARNING" } else { "" }
        ));
        facts.transaction = facts.transaction.after(&statement, &decision);
    }
    out
}

#[test]
fn ddl_in_transactions() {
    let table = "CREATE TABLE t (a int)";
    let insert = "INSERT INTO t VALUES (1)";
    let index = "CREATE INDEX i ON t (a)";
    let cases: &[(&[&str], &[&str], &[&str])] = &[
        (
            &["BEGIN", table, "SELECT 1", "COMMIT", table],
            &[
                "forward Within",
                "forward Within",
                "forward Within",
                "forward Within",
                "forward Within",
            ],
            &[
                "forward Within",
                "forward Within",
                "forward Within",
                "forward Within",
                "forward Within",
            ],
        ),
        (
            &["BEGIN", table, table],
            &["forward Within", "forward Within", "reject Within"],
            &[
                "forward Within",
                "forward Within",
                "forward AfterCommit WARNING",
            ],
        ),
        (
            &["BEGIN", table, insert, insert, table],
            &[
                "forward Within",
                "forward Within",
                "reject Within",
                "reject Within",
                "reject Within",
            ],
            &[
                "forward Within",
                "forward Within",
                "forward AfterCommit WARNING",
                "forward Within",
                "forward AfterCommit WARNING",
            ],
        ),
        (
            &["BEGIN", insert, table, "ROLLBACK", insert],
            &[
                "forward Within",
                "forward Within",
                "reject Within",
                "forward Within",
                "forward Within",
            ],
            &[
                "forward Within",
                "forward Within",
                "forward AfterCommit WARNING",
                "forward Within",
                "forward Within",
            ],
        ),
        (
            &["BEGIN", index, insert],
            &["forward Within", "reject Within", "forward Within"],
            &["forward Within", "rewrite Alone WARNING", "forward Within"],
        ),
        (
            &["BEGIN", insert, "ALTER TABLE t ADD COLUMN b int DEFAULT 1"],
            &["forward Within", "forward Within", "reject Within"],
            &["forward Within", "forward Within", "rewrite Alone WARNING"],
        ),
        (
            &["BEGIN", table, "TRUNCATE t", "VACUUM t", "SET work_mem = 1"],
            &[
                "forward Within",
                "forward Within",
                "reject Within",
                "answer Within",
                "answer Within",
            ],
            &[
                "forward Within",
                "forward Within",
                "reject Within",
                "answer Within",
                "answer Within",
            ],
        ),
    ];
    for (texts, reject, split) in cases {
        assert_eq!(
            transaction(texts, DdlInTransaction::Reject),
            *reject,
            "{texts:?}"
        );
        assert_eq!(
            transaction(texts, DdlInTransaction::Split),
            *split,
            "{texts:?}"
        );
    }
}

#[test]
fn switches_decide() {
    let mut facts = facts();
    facts.switches.index_wait = false;
    let index = decided("CREATE UNIQUE INDEX i ON t (a)", &facts);
    assert_eq!(line(&index), "CREATE UNIQUE INDEX ASYNC i ON t (a)");
    facts.switches.savepoints = false;
    let Action::Reject(error) = decided("SAVEPOINT a", &facts).action else {
        panic!("savepoints are off");
    };
    assert!(error.hint.unwrap().contains("dsqlproxy.savepoints"));
    let Action::Reject(error) = decided("TRUNCATE t", &facts).action else {
        panic!("there is no such procedure yet");
    };
    assert!(error.hint.unwrap().contains("dsqlproxy.large_dml"));
    facts.transaction.open = true;
    assert_eq!(
        line(&decided("LOCK TABLE t IN ACCESS SHARE MODE", &facts)),
        "answer LOCK TABLE"
    );
    assert_eq!(line(&decided("LOCK TABLE t", &facts)), "emulate lock_table");
    assert_eq!(line(&decided("ANALYZE t", &facts)), "answer ANALYZE");
}

/// With all procedures there, the statements that need them are emulated with what these need.
#[test]
fn procedures_are_named() {
    let all = Rules::standard().unwrap();
    let mut facts = facts();
    facts.switches.large_dml = LargeDml::Batch;
    let cases = [
        ("TRUNCATE a, s.b RESTART IDENTITY CASCADE", "truncate"),
        (
            "CREATE TABLE x (c) AS SELECT a FROM t WITH NO DATA",
            "create_table_as",
        ),
        ("SELECT a INTO x FROM t", "create_table_as"),
        ("DELETE FROM t", "batch"),
        ("COPY t (a) FROM STDIN WITH (FORMAT csv, HEADER)", "copy"),
        ("SELECT pg_advisory_lock(1)", "advisory_lock"),
        ("CREATE TEMP TABLE x (a int)", "temporary_table"),
    ];
    for (sql, name) in cases {
        let statement = parse(sql).unwrap().remove(0);
        let decision = decide(&statement, &facts, &all);
        let Action::Emulate(procedure) = decision.action else {
            panic!("{sql}: {:?}", decision.action);
        };
        assert_eq!(procedure.name(), name, "{sql}");
        if let Procedure::CreateTableAs { query, .. } = &procedure {
            assert_eq!(query, "SELECT a FROM t", "{sql}");
        }
        if let Procedure::Copy(CopyIn {
            form: CopyForm::Lines(copy),
            ..
        }) = &procedure
        {
            assert!(copy.first.contains("HEADER"), "{}", copy.first);
            assert!(!copy.next.contains("HEADER"), "{}", copy.next);
            assert_eq!((copy.csv, copy.header), (Some((b'"', b'"')), true));
        }
    }
    for sql in [
        "INSERT INTO t VALUES (1)",
        "COPY t TO STDOUT",
        "COPY t FROM STDIN (FORMAT csv, QUOTE 'ab')",
    ] {
        let decision = decide(&parse(sql).unwrap()[0], &facts, &all);
        assert_eq!(decision.action, Action::Forward, "{sql}");
    }
    // In a transaction only where that may be committed around it.
    facts.transaction.open = true;
    let copy = parse("COPY t FROM STDIN").unwrap().remove(0);
    assert_eq!(decide(&copy, &facts, &all).action, Action::Forward);
    facts.switches.ddl_in_transaction = DdlInTransaction::Split;
    let decision = decide(&copy, &facts, &all);
    assert!(matches!(
        decision.action,
        Action::Emulate(Procedure::Copy(_))
    ));
    assert_eq!(decision.placement, Placement::Within);
    facts.transaction.ddl = true;
    assert_eq!(
        decide(&copy, &facts, &all).placement,
        Placement::AfterCommit
    );
}

#[test]
fn steps_say_what_their_failure_means() {
    let Action::Rewrite(rewrite) =
        decided("ALTER TABLE s.t ADD CONSTRAINT k UNIQUE (a)", &facts()).action
    else {
        panic!("rewritten");
    };
    assert_eq!(rewrite.tag.as_deref(), Some("ALTER TABLE"));
    assert_eq!(rewrite.steps[0].failure, Some("23505"));
    assert_eq!(rewrite.steps[0].undo.as_deref(), Some("DROP INDEX s.k"));
    let Action::Rewrite(rewrite) = decided("ALTER TABLE t ALTER a SET NOT NULL", &facts()).action
    else {
        panic!("rewritten");
    };
    assert_eq!(rewrite.steps[1].failure, Some("23502"));
    assert_eq!(
        rewrite.steps[1].undo.as_deref(),
        Some("ALTER TABLE t DROP CONSTRAINT t_a_not_null")
    );
    let Action::Rewrite(rewrite) = decided("DO $$ BEGIN CREATE TYPE m AS ENUM ('a'); EXCEPTION WHEN duplicate_object THEN null; END $$", &facts()).action else {
        panic!("rewritten");
    };
    assert_eq!(rewrite.tag.as_deref(), Some("DO"));
    assert_eq!(rewrite.steps[0].tolerate, ["42710"]);
}

#[test]
fn no_composite_type_is_made_among_tenants() {
    let tenants = SessionFacts {
        tenants: true,
        ..facts()
    };
    let text = "CREATE TYPE p AS (a int)";
    let expected = "reject 0A000 composite type \"p\" cannot be made where tenants are kept apart";
    assert_eq!(line(&decided(text, &tenants)), expected);
    assert!(line(&decided(text, &facts())).starts_with("CREATE VIEW p "));
}
