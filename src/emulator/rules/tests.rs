use super::*;
use crate::sql::statement::parse;

fn judged_at(month: &str, in_block: bool, text: &str) -> Result<Action, ClientError> {
    let facts = Facts {
        user: "admin",
        in_block,
        version: &ServerVersion::default(),
    };
    let statements = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    Rules::as_of(month).unwrap().judge(&statements[0], &facts)
}

fn judged(text: &str) -> Result<Action, ClientError> {
    judged_at("2026-09", false, text)
}

fn plan(text: &str) -> Plan {
    match judged(text) {
        Ok(Action::Run(plan)) => plan,
        other => panic!("{text}: {other:?}"),
    }
}

/// What a statement is answered with: the refusal's code and message, or nothing.
fn refusal(result: Result<Action, ClientError>) -> Option<(String, String)> {
    result
        .err()
        .map(|error| (error.code.to_owned(), error.message))
}

#[test]
fn refusals_have_dsqls_words() {
    // A message without a code is 0A000.
    let cases: &[(&str, &str)] = &[
        ("TRUNCATE t", "unsupported statement: Truncate"),
        (
            "CREATE EXTENSION IF NOT EXISTS pgcrypto",
            "unsupported statement: CreateExtension",
        ),
        (
            "CREATE TRIGGER g AFTER INSERT ON t EXECUTE FUNCTION f()",
            "CREATE TRIGGER not supported",
        ),
        ("CREATE DATABASE d", "unsupported statement: Createdb"),
        ("DROP DATABASE d", "unsupported statement: Dropdb"),
        (
            "CREATE TEMP TABLE t (id int)",
            "TEMPORARY or TEMP table not supported for CREATE TABLE",
        ),
        (
            "CREATE TABLE pg_temp.t (id int)",
            "TEMPORARY or TEMP table not supported for CREATE TABLE",
        ),
        (
            "CREATE UNLOGGED TABLE t (id int)",
            "UNLOGGED table not supported for CREATE TABLE",
        ),
        (
            "CREATE MATERIALIZED VIEW v AS SELECT 1",
            "unsupported statement: CreateTableAs",
        ),
        (
            "CREATE TABLE t AS SELECT 1",
            "unsupported statement: CreateTableAs",
        ),
        ("SELECT 1 INTO t", "unsupported statement: CreateTableAs"),
        (
            "EXPLAIN CREATE TABLE t AS SELECT 1",
            "unsupported statement: CreateTableAs",
        ),
        ("CREATE TYPE m AS ENUM ('a')", "CREATE TYPE not supported"),
        (
            "CREATE TYPE m AS (a int)",
            "unsupported statement: CompositeType",
        ),
        (
            "CREATE TYPE m AS RANGE (subtype = int4)",
            "unsupported statement: CreateRange",
        ),
        ("ALTER TYPE m ADD VALUE 'x'", "ALTER TYPE not supported"),
        (
            "ALTER TYPE m RENAME TO n",
            "unsupported object in RENAME statement",
        ),
        (
            "DROP TYPE IF EXISTS m",
            "unsupported object in DROP statement",
        ),
        (
            "DROP MATERIALIZED VIEW m",
            "unsupported object in DROP statement",
        ),
        (
            "CREATE TABLESPACE s LOCATION '/tmp'",
            "unsupported statement: CreateTableSpace",
        ),
        (
            "CREATE FOREIGN TABLE t (a int) SERVER s",
            "unsupported statement: CreateForeignTable",
        ),
        ("VACUUM t", "unsupported VACUUM statement"),
        ("VACUUM FULL", "unsupported VACUUM statement"),
        ("LISTEN c", "unsupported statement: Listen"),
        ("NOTIFY c", "unsupported statement: Notify"),
        ("UNLISTEN *", "unsupported statement: Unlisten"),
        ("LOCK TABLE t", "unsupported statement: Lock"),
        (
            "DECLARE c CURSOR FOR SELECT 1",
            "unsupported statement: DeclareCursor",
        ),
        ("FETCH c", "unsupported statement: Fetch"),
        ("CLOSE ALL", "unsupported statement: ClosePortal"),
        (
            "ALTER SYSTEM SET work_mem = '4MB'",
            "unsupported statement: AlterSystem",
        ),
        ("DO $$ BEGIN END $$", "unsupported statement: Do"),
        ("DISCARD ALL", "unsupported statement: Discard"),
        ("PREPARE p AS SELECT 1", "unsupported statement: Prepare"),
        ("EXECUTE p", "unsupported statement: Execute"),
        ("DEALLOCATE p", "unsupported statement: Deallocate"),
        ("LOAD 'x'", "unsupported statement: Load"),
        ("REINDEX TABLE t", "unsupported statement: Reindex"),
        ("CLUSTER t", "unsupported statement: Cluster"),
        ("CHECKPOINT", "unsupported statement: CheckPoint"),
        (
            "REFRESH MATERIALIZED VIEW v",
            "unsupported statement: RefreshMatView",
        ),
        (
            "CREATE RULE r AS ON INSERT TO t DO NOTHING",
            "unsupported statement: Rule",
        ),
        (
            "CREATE POLICY p ON t",
            "unsupported statement: CreatePolicy",
        ),
        (
            "CREATE SERVER s FOREIGN DATA WRAPPER w",
            "unsupported statement: CreateForeignServer",
        ),
        (
            "CREATE PUBLICATION p",
            "unsupported statement: CreatePublication",
        ),
        (
            "CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION f()",
            "unsupported statement: CreateEventTrig",
        ),
        (
            "IMPORT FOREIGN SCHEMA a FROM SERVER b INTO c",
            "unsupported statement: ImportForeignSchema",
        ),
        (
            "CREATE TEXT SEARCH CONFIGURATION c (copy = simple)",
            "unsupported statement: Define",
        ),
        (
            "ALTER TEXT SEARCH CONFIGURATION c DROP MAPPING FOR word",
            "unsupported statement: AlterTSConfiguration",
        ),
        (
            "CREATE AGGREGATE a (int) (sfunc = f, stype = int)",
            "unsupported statement: Define",
        ),
        (
            "ALTER FUNCTION f() IMMUTABLE",
            "unsupported statement: AlterFunction",
        ),
        (
            "ALTER ROLE r PASSWORD 'x'",
            "unsupported statement: AlterRole",
        ),
        (
            "SAVEPOINT s",
            "unsupported transaction statement: SAVEPOINT",
        ),
        ("RELEASE s", "unsupported transaction statement: RELEASE"),
        (
            "ROLLBACK TO SAVEPOINT s",
            "unsupported transaction statement: ROLLBACK TO",
        ),
        (
            "PREPARE TRANSACTION 'x'",
            "unsupported transaction statement: PREPARE TRANSACTION",
        ),
        (
            "COMMIT AND CHAIN",
            "unsupported transaction statement: COMMIT AND CHAIN",
        ),
        (
            "BEGIN ISOLATION LEVEL SERIALIZABLE",
            "Unsupported isolation level: SERIALIZABLE",
        ),
        (
            "START TRANSACTION ISOLATION LEVEL READ COMMITTED",
            "Unsupported isolation level: READ COMMITTED",
        ),
        (
            "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
            "Unsupported isolation level: SERIALIZABLE",
        ),
        (
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            "setting configuration parameter \"TRANSACTION\" not supported",
        ),
        (
            "SET TRANSACTION READ ONLY",
            "setting configuration parameter \"TRANSACTION\" not supported",
        ),
        (
            "SET default_transaction_isolation = 'repeatable read'",
            "setting configuration parameter \"default_transaction_isolation\" not supported",
        ),
        (
            "SET statement_timeout = 1",
            "setting configuration parameter \"statement_timeout\" not supported",
        ),
        (
            "SET request.jwt.claims = 'x'",
            "setting configuration parameter \"request.jwt.claims\" not supported",
        ),
        (
            "SET ROLE app",
            "setting configuration parameter \"role\" not supported",
        ),
        (
            "SET LOCAL ROLE app",
            "setting configuration parameter \"role\" not supported",
        ),
        (
            "SET SESSION AUTHORIZATION app",
            "setting configuration parameter \"session_authorization\" not supported",
        ),
        (
            "RESET statement_timeout",
            "setting configuration parameter \"statement_timeout\" not supported",
        ),
        (
            "SELECT set_config('work_mem', '4MB', false)",
            "setting configuration parameter \"work_mem\" not supported",
        ),
        (
            "SELECT pg_catalog.set_config('a.b'::text, $1, true)",
            "setting configuration parameter \"a.b\" not supported",
        ),
        (
            "SHOW lc_collate",
            "42704 unrecognized configuration parameter \"lc_collate\"",
        ),
        (
            "SELECT 1 FROM t FOR SHARE",
            "locking clauses other than FOR UPDATE/FOR KEY SHARE are not supported",
        ),
        (
            "SELECT 1 FROM t FOR NO KEY UPDATE",
            "locking clauses other than FOR UPDATE/FOR KEY SHARE are not supported",
        ),
        (
            "SELECT * FROM (SELECT 1 FROM t FOR SHARE) AS x",
            "locking clauses other than FOR UPDATE/FOR KEY SHARE are not supported",
        ),
        (
            "SELECT 1 FROM t TABLESAMPLE SYSTEM (1)",
            "TABLESAMPLE clause not supported",
        ),
        (
            "INSERT INTO u SELECT a FROM t TABLESAMPLE SYSTEM (1)",
            "TABLESAMPLE clause not supported",
        ),
        (
            "MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE",
            "unsupported statement type: MERGE",
        ),
        (
            "EXPLAIN MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE",
            "unsupported statement type: MERGE",
        ),
        ("SELECT line('{1,2,3}')", "datatype line not supported"),
        (
            "SELECT '<(1,2),3>'::circle",
            "datatype circle not supported",
        ),
        ("COPY t FROM '/tmp/x'", "COPY FROM file not supported"),
        ("COPY t TO PROGRAM 'x'", "COPY TO PROGRAM not supported"),
        (
            "COPY t FROM STDIN WITH (FORMAT binary)",
            "COPY format \"binary\" not supported",
        ),
        (
            "CREATE PROCEDURE p() LANGUAGE sql AS $$ SELECT 1 $$",
            "PROCEDURE is not supported",
        ),
        (
            "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END $$",
            "CREATE FUNCTION with language plpgsql not supported",
        ),
        (
            "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ TRUNCATE t $$",
            "unsupported statement: Truncate",
        ),
        (
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1 FROM t FOR SHARE; END",
            "locking clauses other than FOR UPDATE/FOR KEY SHARE are not supported",
        ),
        (
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET work_mem = 1 AS $$ SELECT 1 $$",
            "setting configuration parameter \"work_mem\" not supported",
        ),
        (
            "GRANT USAGE ON SCHEMA public TO app",
            "feature not supported on system entity",
        ),
        (
            "GRANT CONNECT ON DATABASE postgres TO app",
            "unsupported object type in GRANT",
        ),
        (
            "GRANT pg_execute_server_program TO admin",
            "feature not supported on system entity",
        ),
        ("DROP SCHEMA sys", "feature not supported on system entity"),
        (
            "CREATE ROLE r PASSWORD 'x'",
            "PASSWORD option not supported for CREATE ROLE",
        ),
        (
            "ALTER ROLE r SET work_mem = 1",
            "setting configuration parameter \"work_mem\" not supported",
        ),
        (
            "CALL sys.wait_for_job((SELECT 'x'))",
            "cannot use subquery in CALL argument",
        ),
        (
            "CALL sys.wait_for_job('no-such-job')",
            "22P02 Unable to convert text to UUID",
        ),
        (
            "SELECT * FROM pg_dsql.jobs",
            "3F000 schema \"pg_dsql\" does not exist",
        ),
        // Tables
        ("CREATE TABLE t (v xml)", "datatype xml not supported"),
        ("CREATE TABLE t (v bit(8))", "datatype bit not supported"),
        (
            "CREATE TABLE t (v varbit(8))",
            "datatype bit varying not supported",
        ),
        (
            "CREATE TABLE t (v int[])",
            "datatype integer[] not supported",
        ),
        (
            "CREATE TABLE t (v numeric(3)[])",
            "datatype numeric[] not supported",
        ),
        (
            "CREATE TABLE t (v pg_catalog.money)",
            "datatype money not supported",
        ),
        (
            "CREATE TABLE t (v \"char\")",
            "datatype \"char\" not supported",
        ),
        (
            "CREATE TABLE t (v bigserial)",
            "42704 type \"bigserial\" does not exist",
        ),
        (
            "CREATE TABLE t (v char(4097))",
            "54000 Datatype limit greater than 4096 bytes not supported for char",
        ),
        (
            "CREATE TABLE t (v varchar(65536))",
            "54000 Datatype limit greater than 65535 bytes not supported for varchar",
        ),
        (
            "CREATE TABLE t (v numeric(1001))",
            "22023 NUMERIC precision 1001 must be between 1 and 1000",
        ),
        (
            "CREATE TABLE t (v text COLLATE \"C\")",
            "COLLATE clause not supported",
        ),
        (
            "CREATE TABLE t (v text COMPRESSION pglz)",
            "COMPRESSION clause not supported",
        ),
        (
            "CREATE TABLE t (v json PRIMARY KEY)",
            "datatype json is not supported in a key",
        ),
        (
            "CREATE TABLE t (a int, v interval, UNIQUE (a, v))",
            "datatype interval is not supported in a key",
        ),
        (
            "CREATE TABLE t (a int) PARTITION BY HASH (a)",
            "PARTITION BY clause not supported for CREATE TABLE",
        ),
        (
            "CREATE TABLE t PARTITION OF p DEFAULT",
            "PARTITION OF clause not supported for CREATE TABLE",
        ),
        (
            "CREATE TABLE t () INHERITS (p)",
            "INHERITS clause not supported for CREATE TABLE",
        ),
        (
            "CREATE TABLE t (a int) WITH (fillfactor = 10)",
            "WITH clause not supported for CREATE TABLE",
        ),
        (
            "CREATE TABLE t (a int) TABLESPACE s",
            "TABLESPACE clause not supported for CREATE TABLE",
        ),
        (
            "CREATE TABLE t (a int UNIQUE DEFERRABLE)",
            "DEFERRABLE constraint not supported",
        ),
        (
            "CREATE TABLE t (a int, UNIQUE (a) DEFERRABLE)",
            "DEFERRABLE constraint not supported",
        ),
        (
            "CREATE TABLE t (a int, EXCLUDE (a WITH =))",
            "EXCLUDE constraint not supported",
        ),
        (
            "CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY)",
            "identity column is not supported without an explicit cache size. please define CACHE greater than or equal to 65536 or equal to 1",
        ),
        (
            "CREATE TABLE t (id integer GENERATED BY DEFAULT AS IDENTITY (CACHE 1))",
            "datatype integer not supported, identity column type must be bigint",
        ),
        (
            "CREATE TABLE t (id smallint GENERATED BY DEFAULT AS IDENTITY (CACHE 1))",
            "datatype smallint not supported, identity column type must be bigint",
        ),
        (
            "CREATE TABLE t (id bigint GENERATED BY DEFAULT AS IDENTITY (CACHE 100))",
            "22023 CACHE (100) must be greater than or equal to 65536 or equal to 1",
        ),
        (
            "CREATE SEQUENCE s",
            "CREATE SEQUENCE is not supported without an explicit cache size. please define CACHE greater than or equal to 65536 or equal to 1",
        ),
        (
            "CREATE SEQUENCE s CACHE 2",
            "22023 CACHE (2) must be greater than or equal to 65536 or equal to 1",
        ),
        (
            "ALTER SEQUENCE s CACHE 2",
            "22023 CACHE (2) must be greater than or equal to 65536 or equal to 1",
        ),
        (
            "CREATE TEMP SEQUENCE s CACHE 1",
            "TEMPORARY or TEMP sequence not supported for CREATE SEQUENCE",
        ),
        (
            "CREATE SEQUENCE s AS integer CACHE 1",
            "datatype integer not supported, sequence type must be bigint",
        ),
        ("CREATE DOMAIN d AS money", "datatype money not supported"),
        (
            "CREATE SCHEMA s CREATE TABLE t (v money)",
            "datatype money not supported",
        ),
        (
            "ALTER STATISTICS s SET STATISTICS 101",
            "22023 statistics target 101 exceeds maximum allowed value of 100",
        ),
        // ALTER TABLE
        (
            "ALTER TABLE t ADD CONSTRAINT c PRIMARY KEY (id)",
            "unsupported ALTER TABLE ADD CONSTRAINT statement",
        ),
        (
            "ALTER TABLE t ADD CONSTRAINT c UNIQUE (id)",
            "unsupported ALTER TABLE ADD CONSTRAINT statement",
        ),
        (
            "ALTER TABLE t ADD CHECK (a > 0)",
            "unsupported ALTER TABLE ADD CONSTRAINT statement",
        ),
        (
            "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES p",
            "unsupported ALTER TABLE ADD CONSTRAINT statement",
        ),
        (
            "ALTER TABLE t VALIDATE CONSTRAINT c",
            "unsupported ALTER TABLE VALIDATE CONSTRAINT statement",
        ),
        (
            "ALTER TABLE t ALTER COLUMN a TYPE xml",
            "unsupported ALTER TABLE ALTER COLUMN ... SET DATA TYPE statement",
        ),
        (
            "ALTER TABLE t ALTER a SET NOT NULL",
            "unsupported ALTER TABLE ALTER COLUMN ... SET NOT NULL statement",
        ),
        (
            "ALTER TABLE t ALTER a SET STATISTICS 5",
            "unsupported ALTER TABLE ALTER COLUMN ... SET STATISTICS statement",
        ),
        (
            "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
            "unsupported ALTER TABLE ENABLE ROW SECURITY statement",
        ),
        (
            "ALTER TABLE t ADD x int NOT NULL",
            "ALTER TABLE ADD COLUMN with constraint not supported",
        ),
        (
            "ALTER TABLE t ADD x int DEFAULT 7",
            "ALTER TABLE ADD COLUMN with constraint not supported",
        ),
        (
            "ALTER TABLE t ADD x integer GENERATED BY DEFAULT AS IDENTITY (CACHE 1)",
            "ALTER TABLE ADD COLUMN with constraint not supported",
        ),
        ("ALTER TABLE t ADD x money", "datatype money not supported"),
        (
            "ALTER TABLE t ADD x text[]",
            "datatype text[] not supported",
        ),
        (
            "ALTER TABLE t ADD x serial",
            "42704 type \"serial\" does not exist",
        ),
        (
            "ALTER TABLE t ALTER x ADD GENERATED ALWAYS AS IDENTITY",
            "identity column is not supported without an explicit cache size. please define CACHE greater than or equal to 65536 or equal to 1",
        ),
        // Indexes
        (
            "CREATE INDEX CONCURRENTLY i ON t (a)",
            "CONCURRENTLY not supported for CREATE INDEX",
        ),
        (
            "CREATE INDEX ASYNC i ON t USING btree (a)",
            "USING not supported for CREATE INDEX",
        ),
        (
            "CREATE INDEX ASYNC i ON t (a DESC)",
            "specifying sort order not supported for index keys",
        ),
        (
            "CREATE INDEX ASYNC i ON t (a ASC)",
            "specifying sort order not supported for index keys",
        ),
        (
            "CREATE INDEX ASYNC i ON t (a text_pattern_ops)",
            "opclass not supported for index keys",
        ),
        (
            "CREATE INDEX ASYNC i ON t (a COLLATE \"C\")",
            "COLLATE clause not supported",
        ),
        (
            "CREATE INDEX ASYNC i ON t (a,b,c,d,e,f,g,h,i)",
            "54011 more than 8 column keys in an index are not supported",
        ),
    ];
    for (text, expected) in cases {
        let (code, message) = match expected.split_once(' ') {
            Some((code, message))
                if code.len() == 5 && code.starts_with(|c: char| c.is_ascii_digit()) =>
            {
                (code, message)
            }
            _ => ("0A000", *expected),
        };
        let found = refusal(judged(text));
        assert_eq!(found, Some((code.to_owned(), message.to_owned())), "{text}");
    }
}

#[test]
fn what_dsql_takes_is_run() {
    let cases = [
        "SELECT 1",
        "SELECT 1 FROM t FOR UPDATE",
        "SELECT 1 FROM t FOR KEY SHARE",
        "SELECT '(1,2)'::point, '127.0.0.1'::inet",
        "SELECT 'for share tablesample merge line'",
        "SELECT share, key FROM t",
        "INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING RETURNING *",
        "UPDATE t SET a = 1 FROM u",
        "DELETE FROM t USING u",
        "COPY t FROM STDIN WITH (FORMAT csv, HEADER)",
        "COPY (SELECT 1) TO STDOUT",
        "EXPLAIN ANALYZE SELECT 1",
        "ANALYZE t",
        "SET search_path = s",
        "SET SESSION TIME ZONE 'UTC'",
        "SET NAMES 'UTF8'",
        "SET SCHEMA 'x'",
        "SET SESSION AUTHORIZATION DEFAULT",
        "RESET ALL",
        "RESET ROLE",
        "SET CONSTRAINTS ALL DEFERRED",
        "SELECT set_config('search_path', $1, false)",
        "SHOW TRANSACTION ISOLATION LEVEL",
        "SHOW timezone",
        "DEALLOCATE ALL",
        "CREATE TABLE t (a char(4096), b varchar(65535), c jsonb, d my_domain)",
        "CREATE TABLE t ()",
        "CREATE TABLE t (a int REFERENCES p DEFERRABLE INITIALLY DEFERRED)",
        "CREATE TABLE t (a int, UNIQUE NULLS NOT DISTINCT (a) INCLUDE (b))",
        "CREATE TABLE t (LIKE u INCLUDING ALL)",
        "CREATE TABLE t (id bigint GENERATED BY DEFAULT AS IDENTITY (CACHE 65536) PRIMARY KEY)",
        "CREATE SEQUENCE s CACHE 1",
        "CREATE DOMAIN d AS text CHECK (VALUE <> '')",
        "CREATE OR REPLACE VIEW v WITH (security_invoker) AS SELECT 1",
        "ALTER VIEW v SET (security_invoker = true)",
        "CREATE SCHEMA s CREATE TABLE t (id int) CREATE VIEW v AS SELECT 1",
        "CREATE FUNCTION f() RETURNS int LANGUAGE SQL AS $$ SELECT 1 $$",
        "CREATE STATISTICS s ON a, b FROM t",
        "COMMENT ON COLUMN t.a IS 'x'",
        "ALTER TABLE t ADD COLUMN IF NOT EXISTS a text",
        "ALTER TABLE t DROP COLUMN a, DROP COLUMN b",
        "ALTER TABLE t ALTER a SET DEFAULT 1",
        "ALTER TABLE t ALTER a DROP NOT NULL",
        "ALTER TABLE t ALTER a ADD GENERATED ALWAYS AS IDENTITY (CACHE 1)",
        "ALTER TABLE t ALTER a SET STORAGE PLAIN",
        "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID",
        "ALTER TABLE t ADD CONSTRAINT c FOREIGN KEY (a) REFERENCES p NOT VALID",
        "ALTER TABLE t ADD CONSTRAINT c UNIQUE USING INDEX i",
        "ALTER TABLE t DROP CONSTRAINT c",
        "ALTER TABLE t OWNER TO r",
        "ALTER TABLE t RENAME TO u",
        "ALTER TABLE t RENAME a TO b",
        "ALTER TABLE t RENAME CONSTRAINT a TO b",
        "ALTER INDEX i RENAME TO j",
        "ALTER TABLE t SET SCHEMA s",
        "DROP TRIGGER IF EXISTS g ON t",
        "DROP SCHEMA IF EXISTS s CASCADE",
        "DROP INDEX i",
        "CREATE ROLE r WITH LOGIN NOSUPERUSER",
        "ALTER USER r SET search_path = s",
        "ALTER ROLE r RENAME TO q",
        "GRANT SELECT ON ALL TABLES IN SCHEMA s TO r",
        "GRANT r TO q",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA s GRANT SELECT ON TABLES TO r",
        "CREATE INDEX ASYNC i ON t (a NULLS FIRST, lower(b)) INCLUDE (c) WHERE a > 0",
        "CREATE INDEX ASYNC i ON \"using\" (a)",
        "ALTER TABLE ASYNC t VALIDATE CONSTRAINT c",
        "AWS IAM GRANT r TO 'arn:aws:iam::1:role/x'",
    ];
    for text in cases {
        assert!(
            matches!(judged(text), Ok(Action::Run(_))),
            "{text}: {:?}",
            judged(text)
        );
    }
}

#[test]
fn transaction_control_is_recognised() {
    let begin = |read_only, tag| Ok(Action::Control(Control::Begin { read_only, tag }));
    assert_eq!(judged("BEGIN"), begin(false, "BEGIN"));
    assert_eq!(judged("BEGIN READ ONLY"), begin(true, "BEGIN"));
    assert_eq!(judged("BEGIN READ WRITE"), begin(false, "BEGIN"));
    assert_eq!(
        judged("START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"),
        begin(true, "START TRANSACTION")
    );
    assert_eq!(judged("END"), Ok(Action::Control(Control::Commit)));
    assert_eq!(
        judged("COMMIT AND NO CHAIN"),
        Ok(Action::Control(Control::Commit))
    );
    assert_eq!(judged("ABORT"), Ok(Action::Control(Control::Rollback)));
}

#[test]
fn a_role_is_set_inside_a_block_only() {
    let text = "SET LOCAL ROLE app";
    assert!(judged_at("2026-09", true, text).is_ok());
    assert!(judged_at("2026-09", false, text).is_err());
    assert!(judged_at("2026-08", true, text).is_err());
    assert!(judged_at("2026-09", true, "SET ROLE app").is_err());
    let error = refusal(judged_at("2026-09", true, "ANALYZE t")).unwrap();
    assert_eq!(error.0, "25001");
}

#[test]
fn rules_follow_the_calendar() {
    // The first month in which each is taken, and the message in the month before.
    let cases = [
        (
            "CREATE SEQUENCE s CACHE 1",
            "2026-02",
            "unsupported statement: CreateSeq",
        ),
        (
            "CREATE TABLE t (a bigint GENERATED ALWAYS AS IDENTITY (CACHE 1))",
            "2026-02",
            "identity column not supported",
        ),
        (
            "CREATE TABLE t (a numeric(5) PRIMARY KEY)",
            "2026-02",
            "datatype numeric is not supported in a key",
        ),
        (
            "RESET ALL",
            "2026-02",
            "setting configuration parameter \"ALL\" not supported",
        ),
        (
            "ALTER TABLE t ADD CONSTRAINT c UNIQUE USING INDEX i",
            "2026-04",
            "unsupported ALTER TABLE ADD CONSTRAINT statement",
        ),
        (
            "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO r",
            "2026-04",
            "unsupported statement: AlterDefaultPrivileges",
        ),
        (
            "CREATE SCHEMA s CREATE TABLE t (a int)",
            "2026-04",
            "CREATE SCHEMA with schema elements not supported",
        ),
        (
            "ALTER ROLE r RENAME TO q",
            "2026-04",
            "unsupported object in RENAME statement",
        ),
        (
            "DROP ROUTINE f",
            "2026-04",
            "unsupported object in DROP statement",
        ),
        (
            "CREATE TABLE t (a json)",
            "2026-05",
            "datatype json not supported",
        ),
        (
            "CREATE TABLE t (a jsonb)",
            "2026-06",
            "datatype jsonb not supported",
        ),
        (
            "ALTER TABLE t DISABLE TRIGGER ALL",
            "2026-06",
            "unsupported ALTER TABLE DISABLE TRIGGER ALL statement",
        ),
        (
            "DROP TRIGGER IF EXISTS g ON t",
            "2026-06",
            "unsupported object in DROP statement",
        ),
        (
            "ALTER TABLE t ALTER a DROP DEFAULT",
            "2026-07",
            "unsupported ALTER TABLE ALTER COLUMN ... SET DEFAULT statement",
        ),
        (
            "ALTER TABLE t DROP CONSTRAINT c",
            "2026-07",
            "unsupported ALTER TABLE DROP CONSTRAINT statement",
        ),
        (
            "ALTER TABLE t DROP COLUMN a",
            "2026-08",
            "unsupported ALTER TABLE DROP COLUMN statement",
        ),
        (
            "ALTER TABLE t ADD CHECK (a > 0) NOT VALID",
            "2026-08",
            "unsupported ALTER TABLE ADD CONSTRAINT statement",
        ),
        (
            "ALTER TABLE ASYNC t VALIDATE CONSTRAINT c",
            "2026-08",
            "unsupported ALTER TABLE VALIDATE CONSTRAINT statement",
        ),
        (
            "CREATE INDEX ASYNC i ON t (lower(a))",
            "2026-08",
            "expressions not supported for index keys",
        ),
        (
            "CREATE TABLE t (a numeric(39))",
            "2026-08",
            "NUMERIC precision 39 must be between 1 and 38",
        ),
        (
            "SELECT 1 FROM t FOR KEY SHARE",
            "2026-08",
            "locking clauses other than FOR UPDATE are not supported",
        ),
        (
            "CREATE TABLE t (a int REFERENCES p)",
            "2026-08",
            "FOREIGN KEY constraint not supported",
        ),
        (
            "CREATE TABLE t (a int, FOREIGN KEY (a) REFERENCES p)",
            "2026-08",
            "FOREIGN KEY constraint not supported",
        ),
        (
            "CREATE STATISTICS s ON a, b FROM t",
            "2026-08",
            "unsupported statement: CreateStats",
        ),
        (
            "SET dsql.enable_batched_nestloop = on",
            "2026-09",
            "setting configuration parameter \"dsql.enable_batched_nestloop\" not supported",
        ),
        (
            "CREATE INDEX ASYNC i ON t (a) WHERE a > 0",
            "2026-09",
            "WHERE not supported for CREATE INDEX",
        ),
    ];
    for (text, since, message) in cases {
        let (year, month) = since.split_once('-').unwrap();
        let before = format!("{year}-{:02}", month.parse::<u8>().unwrap() - 1);
        for early in ["2025-05", before.as_str()] {
            let found = refusal(judged_at(early, false, text)).map(|refusal| refusal.1);
            assert_eq!(found.as_deref(), Some(message), "{text} in {early}");
        }
        for late in [since, "2026-09", "2027-01"] {
            assert_eq!(
                refusal(judged_at(late, false, text)),
                None,
                "{text} in {late}"
            );
        }
    }
    let enumeration = refusal(judged_at("2026-07", false, "CREATE TYPE m AS ENUM ('a')"));
    assert_eq!(enumeration.unwrap().1, "unsupported statement: CreateEnum");
}

#[test]
fn months_are_checked() {
    for month in [
        "2025-04", "2026", "2026-13", "2026-9", "newest", "2026-00", "20x6-01", "",
    ] {
        let error = Rules::as_of(month).unwrap_err();
        assert_eq!(error, RulesError::Month(month.to_owned()));
    }
    assert_eq!(Rules::newest().unwrap().month(), "2026-09");
}

#[test]
fn texts_are_changed_in_place() {
    let cases = [
        (
            "CREATE TABLE t (a numeric, b decimal NOT NULL, \"c\" numeric(3,1), d dec)",
            "CREATE TABLE t (a numeric(18,6), b decimal(18,6) NOT NULL, \"c\" numeric(3,1), d dec(18,6))",
        ),
        (
            "ALTER TABLE t ADD COLUMN ü pg_catalog.numeric",
            "ALTER TABLE t ADD COLUMN ü pg_catalog.numeric(18,6)",
        ),
        (
            "CREATE TABLE t (storage text STORAGE main, b int)",
            "CREATE TABLE t (storage text             , b int)",
        ),
        (
            "SELECT pg_index.indkey FROM pg_catalog.pg_index, pg_am a WHERE pg_catalog.pg_index.indisprimary",
            "SELECT pg_index.indkey FROM pg_dsql.pg_index, pg_dsql.pg_am a WHERE pg_dsql.pg_index.\"indisprimary\"",
        ),
        (
            "CREATE UNIQUE INDEX ASYNC i ON t (a)",
            "CREATE        INDEX       i ON t (a)",
        ),
        (
            "ALTER TABLE t DISABLE TRIGGER ALL",
            "ALTER TABLE t ENABLE TRIGGER USER",
        ),
        (
            "SET disable_sync_create_index = off",
            "SET pg_dsql.disable_sync_create_index = off",
        ),
        (
            "SHOW ALL",
            "SELECT name, setting, short_desc AS description FROM pg_dsql.pg_settings ORDER BY 1",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(plan(text).sql.as_deref(), Some(expected), "{text}");
    }
    for same in [
        "SELECT x::numeric FROM my.pg_index",
        "SELECT xmin FROM pg_index",
        "SELECT oid FROM pg_class GROUP BY oid",
        "SELECT columns FROM tables",
        "SELECT 'pg_index'",
        "CREATE TABLE t (a int)",
    ] {
        assert_eq!(plan(same).sql, None, "{same}");
    }
}

#[test]
fn places_count_from_the_statements_own_start() {
    let statements = parse("SELECT 'ü'; CREATE TABLE t (a numeric)").unwrap();
    let facts = Facts {
        user: "admin",
        in_block: false,
        version: &ServerVersion::default(),
    };
    let Ok(Action::Run(plan)) = Rules::newest().unwrap().judge(&statements[1], &facts) else {
        panic!("refused");
    };
    assert_eq!(plan.sql.unwrap().trim(), "CREATE TABLE t (a numeric(18,6))");
}

#[test]
fn reported_settings_are_answered() {
    for (text, name, value) in [
        ("SHOW server_version", "server_version", "16.15"),
        ("SHOW Server_Version_Num", "server_version_num", "160015"),
        ("SHOW max_connections", "max_connections", "20"),
    ] {
        let Ok(Action::Answer(answer)) = judged(text) else {
            panic!("{text}");
        };
        assert_eq!(answer.columns[0].name, name);
        assert_eq!(answer.rows, [[Some(value.to_owned())]]);
        assert_eq!(answer.tag, "SHOW");
    }
}

#[test]
fn jobs_are_waited_for() {
    let id = "tpqrncdmjja4tdl3zxo2qqvh4y";
    let wait = |argument| Ok(Action::WaitForJob(argument));
    assert_eq!(
        judged(&format!("CALL sys.wait_for_job('{id}')")),
        wait(JobArgument::Id(id.to_owned()))
    );
    assert_eq!(
        judged("CALL sys.wait_for_job($2)"),
        wait(JobArgument::Parameter(2))
    );
    assert_eq!(
        judged("CALL sys.wait_for_job($1::text)"),
        wait(JobArgument::Parameter(1))
    );
    assert_eq!(
        judged("CALL sys.wait_for_job(NULL)"),
        wait(JobArgument::Null)
    );
    assert!(!function::is_job_id("tpqrncdmjja4tdl3zxo2qqvh4b"));
}

#[test]
fn classes_are_told() {
    for (text, class) in [
        ("SELECT 1", Class::Read),
        ("SELECT 1 FROM t FOR UPDATE", Class::Lock),
        ("EXPLAIN ANALYZE DELETE FROM t", Class::Write),
        ("COPY t FROM STDIN", Class::Write),
        ("CREATE INDEX ASYNC i ON t (a)", Class::Ddl),
        ("GRANT r TO q", Class::Ddl),
        ("AWS IAM REVOKE r FROM 'arn:aws:iam::1:role/x'", Class::Ddl),
        ("ANALYZE t", Class::Session),
        ("SET search_path = s", Class::Session),
    ] {
        assert_eq!(plan(text).class, class, "{text}");
    }
}

#[test]
fn settings_are_taken_in_any_case() {
    let rules = Rules::newest().unwrap();
    assert!(rules.setting("DateStyle") && rules.setting("disable_sync_create_index"));
    assert!(!rules.setting("work_mem") && !rules.setting(""));
    assert_eq!(
        rules.own_setting("Disable_Sync_Create_Index"),
        Some("pg_dsql.disable_sync_create_index")
    );
    assert_eq!(rules.own_setting("timezone"), None);
}
