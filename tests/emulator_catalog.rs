//! The emulator's catalog and jobs on a real local PostgreSQL. Statements run here as a session runs
//! them: judged, with the queries of their plan around them, in one transaction.

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use dsql_proxy::emulator::control::Control;
use dsql_proxy::emulator::jobs::Jobs;
use dsql_proxy::emulator::postgres::{PORT, Postgres, PostgresOptions};
use dsql_proxy::emulator::rules::{Action, Facts, Rules, ServerVersion};
use dsql_proxy::emulator::sample::prepare_cluster;
use dsql_proxy::sql::statement::parse;
use tokio::sync::watch;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

/// How long a job takes here; only the clock of a test makes it pass.
const DURATION: Duration = Duration::from_secs(3600);

/// What a statement came to: the rows of its answer, or the refusal as "code message".
type Answer = Result<Vec<Vec<Option<String>>>, String>;

static VERSION: LazyLock<ServerVersion> = LazyLock::new(ServerVersion::default);

struct Cluster {
    rules: Rules,
    control: Arc<Control>,
    jobs: Arc<Jobs>,
    admin: Client,
    postgres: Postgres,
    _stop: watch::Sender<bool>,
    _dir: tempfile::TempDir,
}

impl Cluster {
    async fn start(rules: Rules) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("dsql-")
            .tempdir_in("/tmp")
            .unwrap();
        let options = PostgresOptions {
            dir: dir.path().to_owned(),
            pg_bin: None,
            max_connections: 30,
            fresh: false,
        };
        let postgres = tokio::task::spawn_blocking(move || Postgres::start(&options).unwrap())
            .await
            .unwrap();
        let folder = postgres.socket_folder().to_owned();
        prepare_cluster(&folder, &rules, &VERSION).await.unwrap();
        let control = Arc::new(Control::default());
        let jobs = Arc::new(Jobs::new(&folder, Arc::clone(&control), DURATION));
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(Arc::clone(&jobs).run(stopped));
        Self {
            admin: connect(&folder, "admin").await,
            rules,
            control,
            jobs,
            postgres,
            _stop: stop,
            _dir: dir,
        }
    }

    async fn newest() -> Self {
        Self::start(Rules::newest().unwrap()).await
    }

    /// Runs one statement in a transaction of its own, as a session does.
    async fn run(&self, text: &str) -> Answer {
        let statements = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let facts = Facts {
            user: "admin",
            in_block: false,
            version: &VERSION,
        };
        let plan = match self.rules.judge(&statements[0], &facts) {
            Ok(Action::Run(plan)) => plan,
            Ok(other) => panic!("{text}: {other:?}"),
            Err(error) => return Err(format!("{} {}", error.code, error.message)),
        };
        let sql = plan.sql.as_deref().unwrap_or(&statements[0].text);
        self.admin
            .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            .await
            .unwrap();
        let done = async {
            self.check(&plan.before).await?;
            let rows = self.query(sql).await?;
            self.check(&plan.after).await?;
            match &plan.job {
                Some(job) => self.query(&job.register).await,
                None => Ok(rows),
            }
        }
        .await;
        let end = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
        self.admin.batch_execute(end).await.unwrap();
        done
    }

    async fn check(&self, queries: &[String]) -> Result<(), String> {
        for query in queries {
            if let Some(row) = self.query(query).await?.first() {
                let field = |at: usize| row[at].as_deref().unwrap();
                return Err(format!("{} {}", field(0), field(1)));
            }
        }
        Ok(())
    }

    async fn query(&self, sql: &str) -> Answer {
        match self.admin.simple_query(sql).await {
            Ok(messages) => Ok(messages
                .iter()
                .filter_map(|message| match message {
                    SimpleQueryMessage::Row(row) => Some(
                        (0..row.len())
                            .map(|at| row.get(at).map(str::to_owned))
                            .collect(),
                    ),
                    _ => None,
                })
                .collect()),
            Err(error) => {
                let error = error.as_db_error().unwrap();
                Err(format!("{} {}", error.code().code(), error.message()))
            }
        }
    }

    async fn ok(&self, text: &str) {
        if let Err(error) = self.run(text).await {
            panic!("{text}: {error}");
        }
    }

    /// The first value of a statement's answer.
    async fn value(&self, text: &str) -> Option<String> {
        let rows = self
            .run(text)
            .await
            .unwrap_or_else(|e| panic!("{text}: {e}"));
        rows.into_iter()
            .next()
            .and_then(|row| row.into_iter().next())
            .flatten()
    }

    async fn refused(&self, text: &str, expected: &str) {
        match self.run(text).await {
            Err(found) => assert_eq!(found, expected, "{text}"),
            Ok(rows) => panic!("{text} went through: {rows:?}"),
        }
    }

    async fn status(&self, job: &str) -> (String, Option<String>) {
        let query = format!("SELECT status, details FROM sys.jobs WHERE job_id = '{job}'");
        let mut row = self.run(&query).await.unwrap().remove(0);
        (row[0].take().unwrap(), row[1].take())
    }

    /// Lets time pass until a job is due, and waits for it.
    async fn finish(&self, job: &str) -> bool {
        self.control.advance(DURATION).unwrap();
        self.jobs.wait(job).await.unwrap()
    }
}

async fn connect(folder: &Path, user: &str) -> Client {
    let (client, connection) = Config::new()
        .host_path(folder)
        .port(PORT)
        .user(user)
        .dbname("postgres")
        .connect(NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalog_looks_as_dsqls() {
    let cluster = Cluster::newest().await;
    cluster
        .ok("CREATE TABLE t (id int, b text, \"C d\" numeric, k int, PRIMARY KEY (k, id))")
        .await;
    cluster
        .ok("CREATE TABLE u (id int UNIQUE, n numeric)")
        .await;
    for (query, expected) in [
        (
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 't_pkey'",
            "PRIMARY KEY (k, id) INCLUDE (b, \"C d\")",
        ),
        (
            "SELECT pg_get_constraintdef(oid, true) FROM pg_constraint WHERE conname = 'u_id_key'",
            "UNIQUE (id)",
        ),
        (
            "SELECT pg_get_indexdef('t_pkey'::regclass)",
            "CREATE UNIQUE INDEX t_pkey ON public.t USING btree_index (k, id) INCLUDE (b, \"C d\")",
        ),
        (
            "SELECT pg_get_indexdef('t_pkey'::regclass, 4, true)",
            "\"C d\"",
        ),
        (
            "SELECT indexdef FROM pg_indexes WHERE indexname = 'u_id_key'",
            "CREATE UNIQUE INDEX u_id_key ON public.u USING btree_index (id)",
        ),
        (
            "SELECT indkey FROM pg_index WHERE indexrelid = 't_pkey'::regclass",
            "4 1 2 3",
        ),
        (
            "SELECT i.indkey FROM pg_catalog.pg_index AS i WHERE i.indexrelid = 'u_id_key'::regclass",
            "1",
        ),
        (
            "SELECT indnatts || ' ' || indnkeyatts FROM pg_index WHERE indexrelid = 't_pkey'::regclass",
            "4 2",
        ),
        (
            "SELECT string_agg(attname || attnum, ' ' ORDER BY attnum) FROM pg_attribute \
          WHERE attrelid = 't_pkey'::regclass",
            "k1 id2 b3 C d4",
        ),
        (
            "SELECT amname FROM pg_am JOIN pg_class ON relam = pg_am.oid WHERE relname = 't_pkey'",
            "btree_index",
        ),
        (
            "SELECT string_agg(datname, ' ') FROM pg_database",
            "postgres",
        ),
        ("SELECT version()", "PostgreSQL 16"),
        ("SELECT pg_catalog.version()", "PostgreSQL 16"),
        ("SELECT current_setting('server_version')", "16.15"),
        (
            "SELECT current_setting('Server_Version_Num', true)",
            "160015",
        ),
        (
            "SELECT setting FROM pg_settings WHERE name = 'server_version'",
            "16.15",
        ),
        (
            "SELECT count(*) FROM pg_settings WHERE name = 'lc_collate' OR name LIKE 'pg\\_%'",
            "0",
        ),
        ("SELECT sys.dsql_major_version()", "1"),
        (
            "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'u'::regclass AND attname = 'n'",
            "numeric(18,6)",
        ),
        ("SELECT count(*) FROM sys.supported_datatypes", "20"),
        ("SELECT to_tsvector('a b')", "'a':1 'b':2"),
        (
            "SELECT string_agg(cfgname, ' ') FROM pg_ts_config WHERE pg_ts_config_is_visible(oid)",
            "simple",
        ),
        (
            "SELECT set_config('search_path', 'public', false)",
            "public",
        ),
        ("SHOW disable_sync_create_index", "on"),
        (
            "SELECT collname FROM (SELECT 'a' < 'B' AS x) AS y, pg_collation WHERE NOT x AND collname = 'C'",
            "C",
        ),
    ] {
        assert_eq!(
            cluster.value(query).await.as_deref(),
            Some(expected),
            "{query}"
        );
    }
    for (query, expected) in [
        (
            "SELECT pg_advisory_lock(1)",
            "42883 function pg_advisory_lock(integer) does not exist",
        ),
        (
            "SELECT pg_advisory_unlock_all()",
            "42883 function pg_advisory_unlock_all() does not exist",
        ),
        (
            "SELECT lo_create(1)",
            "42883 function lo_create(integer) does not exist",
        ),
        (
            "SELECT pg_notify('a', 'b')",
            "42883 function pg_notify(unknown, unknown) does not exist",
        ),
        (
            "SELECT to_tsvector('english', 'a')",
            "42704 text search configuration \"english\" does not exist",
        ),
        (
            "SELECT current_setting('lc_collate')",
            "42704 unrecognized configuration parameter \"lc_collate\"",
        ),
        (
            "SELECT set_config('work' || '_mem', '1MB', false)",
            "0A000 setting configuration parameter \"work_mem\" not supported",
        ),
        (
            "SELECT sys.wait_for_job((SELECT job_id FROM sys.jobs LIMIT 1))",
            "42809 sys.wait_for_job(text) is a procedure",
        ),
        (
            "SELECT sys.base32_str_to_uuid('no-such-job')",
            "22P02 Unable to convert text to UUID",
        ),
        (
            "CREATE TABLE sys.t (a int)",
            "0A000 feature not supported on system entity",
        ),
    ] {
        cluster.refused(query, expected).await;
    }
    let uuid = "SELECT sys.base32_str_to_uuid('aaaaaaaaaaaaaaaaaaaaaaaaae')";
    let expected = "00000000-0000-0000-0000-000000000001";
    assert_eq!(cluster.value(uuid).await.as_deref(), Some(expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_emulators_own_objects_are_hidden() {
    let cluster = Cluster::newest().await;
    cluster.ok("CREATE TABLE t (id int)").await;
    for query in [
        "SELECT string_agg(DISTINCT schemaname, ' ') FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')",
        "SELECT string_agg(DISTINCT table_schema, ' ') FROM information_schema.tables WHERE tables.table_schema NOT IN ('pg_catalog', 'information_schema') AND table_schema <> 'sys'",
        "SELECT string_agg(DISTINCT table_schema, ' ') FROM information_schema.columns WHERE table_schema NOT IN ('pg_catalog', 'information_schema', 'sys')",
        "SELECT string_agg(DISTINCT nspname, ' ') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND nspname NOT IN ('pg_catalog', 'information_schema', 'sys')",
        "SELECT string_agg(nspname, ' ') FROM pg_namespace WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'sys')",
    ] {
        assert_eq!(
            cluster.value(query).await.as_deref(),
            Some("public"),
            "{query}"
        );
    }
    // What a view does not have is asked of the catalog itself.
    for query in [
        "SELECT c.tableoid::regclass, c.oid, i.xmin FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid",
        "SELECT c.relname, count(*) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid GROUP BY c.oid",
    ] {
        cluster.ok(query).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn declarations_have_limits() {
    let cluster = Cluster::newest().await;
    let columns = |count: usize| {
        let columns: Vec<String> = (0..count).map(|at| format!("c{at} int")).collect();
        columns.join(", ")
    };
    cluster
        .ok(&format!("CREATE TABLE wide ({})", columns(256)))
        .await;
    cluster
        .refused(
            &format!("CREATE TABLE w ({})", columns(257)),
            "54011 tables can have at most 255 columns",
        )
        .await;
    cluster
        .refused(
            &format!("CREATE TABLE w ({}, PRIMARY KEY (c0))", columns(257)),
            "54011 cannot use more than 256 columns in an index",
        )
        .await;
    cluster
        .refused(
            "ALTER TABLE wide ADD COLUMN more int",
            "54011 tables can have at most 255 columns",
        )
        .await;

    cluster
        .ok("CREATE TABLE k (a varchar(1996), b int, PRIMARY KEY (a, b))")
        .await;
    cluster
        .refused(
            "CREATE TABLE k2 (a varchar(1997), b int, PRIMARY KEY (a, b))",
            "54000 key size greater than 2000 bytes not supported",
        )
        .await;

    cluster.ok("CREATE TABLE many (a int)").await;
    for at in 0..24 {
        cluster
            .ok(&format!("CREATE INDEX ASYNC many_{at} ON many (a)"))
            .await;
    }
    let message = "54000 more than 24 indexes per table are not allowed";
    cluster
        .refused("CREATE INDEX ASYNC many_24 ON many (a)", message)
        .await;

    for at in 0..10 {
        cluster.ok(&format!("CREATE SCHEMA s{at}")).await;
    }
    let message = "54000 more than 10 schemas not allowed";
    cluster.refused("CREATE SCHEMA s10", message).await;
    cluster
        .refused("CREATE SCHEMA IF NOT EXISTS s1", message)
        .await;

    for at in 0..5 {
        cluster
            .ok(&format!(
                "CREATE STATISTICS st{at} ON c0, c{} FROM wide",
                at + 1
            ))
            .await;
    }
    let message = "54000 more than 5 extended statistics per table are not allowed";
    cluster
        .refused("CREATE STATISTICS st5 ON c0, c9 FROM wide", message)
        .await;

    let text = |length: usize| {
        format!(
            "CREATE VIEW v{length} AS SELECT '{}'::text AS a",
            "x".repeat(length)
        )
    };
    cluster.ok(&text(500_000)).await;
    cluster
        .refused(&text(530_000), "54000 view definition too large")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn types_behind_names_are_found() {
    let cluster = Cluster::newest().await;
    cluster
        .ok("CREATE DOMAIN positive AS int CHECK (VALUE > 0)")
        .await;
    cluster.ok("CREATE DOMAIN note AS json").await;
    cluster.ok("CREATE DOMAIN price AS numeric").await;
    cluster.ok("CREATE TABLE other (a int)").await;
    cluster
        .ok("CREATE TABLE t (id positive PRIMARY KEY, n note, p price)")
        .await;
    for (text, expected) in [
        ("CREATE TABLE x (a t)", "0A000 datatype t not supported"),
        (
            "CREATE TABLE x (a positive[])",
            "0A000 datatype positive[] not supported",
        ),
        (
            "CREATE TABLE x (a note PRIMARY KEY)",
            "0A000 datatype json is not supported in a key",
        ),
        (
            "CREATE TABLE x (a nothing)",
            "42704 type \"nothing\" does not exist",
        ),
        (
            "CREATE DOMAIN more AS positive[]",
            "0A000 datatype positive[] not supported",
        ),
        (
            "ALTER TABLE t ADD COLUMN r other",
            "0A000 datatype other not supported",
        ),
        (
            "CREATE INDEX ASYNC i ON t (n)",
            "0A000 datatype json is not supported in a key",
        ),
        (
            "ALTER TABLE t DROP COLUMN id",
            "0A000 cannot drop primary key column id",
        ),
        (
            "ALTER TABLE t DROP CONSTRAINT t_pkey",
            "0A000 unsupported ALTER TABLE DROP CONSTRAINT statement",
        ),
        (
            "ALTER TABLE t ALTER p ADD GENERATED ALWAYS AS IDENTITY (CACHE 1)",
            "0A000 datatype price not supported, identity column type must be bigint",
        ),
        (
            "CREATE INDEX i ON t (id)",
            "0A000 unsupported mode. please use CREATE INDEX ASYNC.",
        ),
    ] {
        cluster.refused(text, expected).await;
    }
    let domain = "SELECT format_type(typbasetype, typtypmod) FROM pg_type WHERE typname = 'price'";
    assert_eq!(
        cluster.value(domain).await.as_deref(),
        Some("numeric(18,6)")
    );
    // Without ASYNC: when allowed, and only while the table is empty.
    cluster.ok("SET disable_sync_create_index = off").await;
    cluster.ok("CREATE INDEX i ON t (id)").await;
    cluster.ok("INSERT INTO t (id) VALUES (1)").await;
    cluster
        .refused(
            "CREATE INDEX j ON t (id)",
            "0A000 unsupported mode. please use CREATE INDEX ASYNC.",
        )
        .await;
    // Toggling triggers leaves foreign keys on.
    cluster.ok("CREATE TABLE c (t positive REFERENCES t)").await;
    cluster.ok("ALTER TABLE c DISABLE TRIGGER ALL").await;
    let error = cluster.run("INSERT INTO c VALUES (2)").await.unwrap_err();
    assert!(error.starts_with("23503"), "{error}");
    let storage =
        "SELECT attstorage FROM pg_attribute WHERE attrelid = 's'::regclass AND attname = 'a'";
    cluster
        .ok("CREATE TABLE s (a text STORAGE EXTERNAL NOT NULL)")
        .await;
    assert_eq!(cluster.value(storage).await.as_deref(), Some("e"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_built_by_a_job() {
    let cluster = Cluster::newest().await;
    cluster.ok("CREATE TABLE t (a int, b text)").await;
    cluster.ok("INSERT INTO t VALUES (1, 'x'), (2, 'x')").await;
    let job = cluster
        .value("CREATE UNIQUE INDEX ASYNC i ON t (a)")
        .await
        .unwrap();
    assert_eq!(job.len(), 26);
    let valid = "SELECT indisvalid::text || indisunique::text FROM pg_index WHERE indexrelid = 'i'::regclass";
    assert_eq!(cluster.value(valid).await.as_deref(), Some("falsetrue"));
    assert_eq!(cluster.status(&job).await, ("submitted".to_owned(), None));
    let named = "SELECT job_type || ' ' || class_id || ' ' || object_name || ' ' || (update_time IS NULL) \
                 FROM sys.jobs";
    assert_eq!(
        cluster.value(named).await.as_deref(),
        Some("INDEX_BUILD 1259 public.i true")
    );
    let error = cluster
        .run("ALTER TABLE t ADD CONSTRAINT i UNIQUE USING INDEX i")
        .await;
    assert_eq!(error, Err("55000 index \"i\" is not valid".to_owned()));
    let error = cluster
        .run("INSERT INTO t VALUES (1, 'y')")
        .await
        .unwrap_err();
    assert!(
        error.starts_with("23505"),
        "enforced while it is built: {error}"
    );

    assert!(cluster.finish(&job).await);
    assert_eq!(cluster.status(&job).await, ("completed".to_owned(), None));
    assert_eq!(cluster.value(valid).await.as_deref(), Some("truetrue"));
    assert!(
        cluster.jobs.wait(&job.to_uppercase()).await.unwrap(),
        "a second wait"
    );
    cluster
        .ok("ALTER TABLE t ADD CONSTRAINT i UNIQUE USING INDEX i")
        .await;

    // What is there already starts no job.
    assert_eq!(
        cluster
            .value("CREATE INDEX ASYNC IF NOT EXISTS i ON t (a)")
            .await,
        None
    );
    assert_eq!(
        cluster
            .value("SELECT count(*) FROM sys.jobs")
            .await
            .as_deref(),
        Some("1")
    );
    // Names that PostgreSQL chooses are found too.
    let job = cluster
        .value("CREATE INDEX ASYNC ON t (lower(b), a)")
        .await
        .unwrap();
    assert!(cluster.finish(&job).await);
    // Half an hour later finished jobs are gone.
    let job = cluster
        .value("CREATE INDEX ASYNC late ON t (b)")
        .await
        .unwrap();
    assert!(cluster.finish(&job).await);
    assert_eq!(
        cluster
            .value("SELECT count(*) FROM sys.jobs")
            .await
            .as_deref(),
        Some("1"),
        "those finished an hour ago are forgotten"
    );
    assert_eq!(cluster.jobs.wait("nope").await.unwrap_err().code, "22P02");
    let unknown = "a".repeat(26);
    assert!(!cluster.jobs.wait(&unknown).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unique_index_over_duplicates_fails_and_enforces() {
    let cluster = Cluster::newest().await;
    cluster.ok("CREATE TABLE t (a int, b text)").await;
    cluster
        .ok("INSERT INTO t VALUES (1, 'x'), (1, 'X'), (NULL, 'n'), (NULL, 'N')")
        .await;
    let details = Some("Found duplicate key while validating index for UCVs".to_owned());
    for (text, succeeds) in [
        ("CREATE UNIQUE INDEX ASYNC plain ON t (a)", false),
        (
            "CREATE UNIQUE INDEX ASYNC expression ON t (lower(b))",
            false,
        ),
        (
            "CREATE UNIQUE INDEX ASYNC partial ON t (a) WHERE b <> 'X'",
            true,
        ),
        (
            "CREATE UNIQUE INDEX ASYNC nulls ON t (a) NULLS NOT DISTINCT WHERE a IS NULL",
            false,
        ),
        (
            "CREATE UNIQUE INDEX ASYNC pair ON t (a, b) INCLUDE (b)",
            true,
        ),
    ] {
        let job = cluster.value(text).await.unwrap();
        assert_eq!(cluster.finish(&job).await, succeeds, "{text}");
        let status = cluster.status(&job).await;
        if succeeds {
            assert_eq!(status, ("completed".to_owned(), None), "{text}");
        } else {
            assert_eq!(status, ("failed".to_owned(), details.clone()), "{text}");
        }
    }
    let valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'plain'::regclass";
    assert_eq!(cluster.value(valid).await.as_deref(), Some("f"));
    let error = cluster
        .run("INSERT INTO t VALUES (1, 'z')")
        .await
        .unwrap_err();
    assert!(error.starts_with("23505"), "{error}");
    cluster.ok("DROP INDEX plain").await;
    cluster.ok("DROP INDEX partial").await;
    cluster.ok("INSERT INTO t VALUES (1, 'z')").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn constraints_are_validated_by_jobs() {
    let cluster = Cluster::newest().await;
    cluster.ok("CREATE TABLE p (id int PRIMARY KEY)").await;
    cluster.ok("CREATE TABLE \"T t\" (a int, b int)").await;
    cluster.ok("INSERT INTO \"T t\" VALUES (1, 1)").await;
    cluster
        .ok("ALTER TABLE \"T t\" ADD CONSTRAINT fk FOREIGN KEY (a) REFERENCES p NOT VALID")
        .await;
    cluster
        .ok("ALTER TABLE \"T t\" ADD CONSTRAINT \"C\" CHECK (b > 0) NOT VALID")
        .await;
    let job = cluster
        .value("ALTER TABLE ASYNC \"T t\" VALIDATE CONSTRAINT fk")
        .await
        .unwrap();
    let validated = "SELECT string_agg(convalidated::text, ' ' ORDER BY conname) FROM pg_constraint \
                     WHERE conrelid = '\"T t\"'::regclass";
    assert_eq!(
        cluster.value(validated).await.as_deref(),
        Some("false false")
    );
    assert!(!cluster.finish(&job).await);
    let (status, details) = cluster.status(&job).await;
    assert_eq!(status, "failed");
    assert!(details.unwrap().contains("violates foreign key constraint"));
    let job = cluster
        .value("ALTER TABLE ASYNC \"T t\" VALIDATE CONSTRAINT \"C\"")
        .await
        .unwrap();
    assert!(cluster.finish(&job).await);
    assert_eq!(
        cluster.value(validated).await.as_deref(),
        Some("true false")
    );
    for (text, expected) in [
        (
            "ALTER TABLE ASYNC \"T t\" VALIDATE CONSTRAINT x",
            "42704 constraint \"x\" of relation \"T t\" does not exist",
        ),
        (
            "ALTER TABLE ASYNC p VALIDATE CONSTRAINT p_pkey",
            "42809 constraint \"p_pkey\" of relation \"p\" is not a foreign key or check constraint",
        ),
        (
            "ALTER TABLE ASYNC x VALIDATE CONSTRAINT c",
            "42P01 relation \"x\" does not exist",
        ),
    ] {
        cluster.refused(text, expected).await;
    }
    // A client's function does not run with the superuser's rights.
    cluster.ok("CREATE FUNCTION mine() RETURNS bool LANGUAGE sql AS $$ SELECT current_user = 'admin' $$").await;
    cluster
        .ok("ALTER TABLE \"T t\" ADD CONSTRAINT who CHECK (mine()) NOT VALID")
        .await;
    let job = cluster
        .value("ALTER TABLE ASYNC \"T t\" VALIDATE CONSTRAINT who")
        .await
        .unwrap();
    assert!(
        cluster.finish(&job).await,
        "{:?}",
        cluster.status(&job).await
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_ends_a_job() {
    let cluster = Cluster::newest().await;
    cluster.ok("CREATE TABLE t (a int)").await;
    cluster.ok("CREATE TABLE u (a int)").await;
    let dropped = cluster
        .value("CREATE INDEX ASYNC ti ON t (a)")
        .await
        .unwrap();
    let orphan = cluster
        .value("CREATE INDEX ASYNC ui ON u (a)")
        .await
        .unwrap();
    cluster.ok("DROP INDEX ti").await;
    cluster.ok("DROP TABLE u").await;
    assert!(!cluster.finish(&dropped).await);
    assert!(cluster.jobs.wait(&orphan).await.unwrap());
    let details = Some("relation \"public.u\" does not exist".to_owned());
    assert_eq!(
        cluster.status(&orphan).await,
        ("completed".to_owned(), details)
    );
    let name = format!("SELECT object_name FROM sys.jobs WHERE job_id = '{orphan}'");
    assert_eq!(cluster.value(&name).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn iam_roles_are_mapped() {
    let cluster = Cluster::newest().await;
    let arn = "arn:aws:iam::123456789012:role/x";
    cluster.ok("CREATE ROLE app LOGIN").await;
    cluster.ok("CREATE ROLE plain").await;
    cluster.ok(&format!("AWS IAM GRANT app TO '{arn}'")).await;
    let mapped = "SELECT arn || ' ' || pg_role_name || ' ' || grantor_pg_role_name FROM sys.iam_pg_role_mappings";
    let expected = format!("{arn} app admin");
    assert_eq!(cluster.value(mapped).await, Some(expected));
    for (text, expected) in [
        (
            format!("AWS IAM GRANT admin TO '{arn}'"),
            "0A000 Role admin not supported",
        ),
        (
            format!("AWS IAM GRANT nobody TO '{arn}'"),
            "42704 Role nobody does not exist",
        ),
        (
            "AWS IAM GRANT app TO 'x'".to_owned(),
            "22023 IAM role must look like an IAM ARN",
        ),
        (
            format!("AWS IAM GRANT plain TO '{arn}'"),
            "0A000 role plain must have the LOGIN attribute",
        ),
        (
            format!("AWS IAM REVOKE app FROM '{arn}y'"),
            "42704 IAM role arn:aws:iam::123456789012:role/xy does not exist",
        ),
        (
            "DROP ROLE app".to_owned(),
            "2BP01 role \"app\" cannot be dropped because some objects depend on it",
        ),
    ] {
        cluster.refused(&text, expected).await;
    }
    cluster
        .ok(&format!("AWS IAM REVOKE app FROM '{arn}'"))
        .await;
    assert_eq!(cluster.value(mapped).await, None);
    let app = connect(cluster.postgres.socket_folder(), "app").await;
    for (text, code) in [
        ("SELECT * FROM public.t", "42501"),
        ("CREATE TABLE public.t ()", "42501"),
    ] {
        let error = app.batch_execute(text).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), code, "{text}");
    }
    drop(app);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_cluster_can_become_a_newer_one() {
    let mut cluster = Cluster::start(Rules::as_of("2026-04").unwrap()).await;
    cluster.ok("CREATE TABLE t (a int)").await;
    cluster
        .refused(
            "CREATE TABLE u (a json)",
            "0A000 datatype json not supported",
        )
        .await;
    let missing = "42883 function to_json(integer) does not exist";
    cluster.refused("SELECT to_json(1)", missing).await;
    cluster.rules = Rules::newest().unwrap();
    for _ in 0..2 {
        prepare_cluster(cluster.postgres.socket_folder(), &cluster.rules, &VERSION)
            .await
            .unwrap();
    }
    cluster.ok("CREATE TABLE u (a json)").await;
    cluster.ok("SELECT to_json(1)").await;
    cluster
        .refused(
            "SELECT pg_advisory_lock(1)",
            "42883 function pg_advisory_lock(integer) does not exist",
        )
        .await;
    cluster.ok("SELECT * FROM t").await;
}
