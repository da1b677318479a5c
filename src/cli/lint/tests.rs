use super::*;

const DUMP: &str = "--
-- PostgreSQL database dump
--

\\restrict abc

SET statement_timeout = 0;
SET client_encoding = 'UTF8';
SELECT pg_catalog.set_config('search_path', '', false);

CREATE EXTENSION IF NOT EXISTS plpgsql WITH SCHEMA pg_catalog;

COMMENT ON EXTENSION plpgsql IS 'PL/pgSQL procedural language';

CREATE TABLE public.film (
    film_id integer NOT NULL,
    title character varying(255) NOT NULL,
    rate numeric DEFAULT 4.99,
    tags text
)
WITH (autovacuum_enabled='true');

CREATE SEQUENCE public.film_film_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE public.film_film_id_seq OWNED BY public.film.film_id;
ALTER TABLE ONLY public.film ALTER COLUMN film_id SET DEFAULT nextval('public.film_film_id_seq'::regclass);

COPY public.film (film_id, title) FROM stdin;
1\tACADEMY; DINOSAUR
2\tIt's \\\\ here
\\.

ALTER TABLE ONLY public.film
    ADD CONSTRAINT film_pkey PRIMARY KEY (film_id);
CREATE INDEX film_title ON public.film USING btree (title DESC);
CREATE TRIGGER last_updated BEFORE UPDATE ON public.film FOR EACH ROW EXECUTE FUNCTION public.f();

\\unrestrict abc
";

pub(super) fn standard() -> std::sync::Arc<Rules> {
    rules(None).unwrap()
}

pub(super) fn facts() -> SessionFacts {
    SessionFacts {
        profile: Dialect::Compat,
        as_of: "2026-09".parse().unwrap(),
        switches: Switches::default(),
        transaction: TransactionFacts::default(),
        created: false,
        tenants: false,
    }
}

#[test]
fn a_dump_is_read_statement_by_statement() {
    let rules = rules(None).unwrap();
    let findings = lint("dump.sql", DUMP, &facts(), &rules);
    let found: Vec<(usize, &str)> = findings
        .iter()
        .map(|finding| (finding.line, finding.report.decision))
        .collect();
    assert_eq!(
        found,
        [
            (7, "answer"),
            (8, "forward"),
            (9, "forward"),
            (11, "answer"),
            (13, "answer"),
            (15, "rewrite"),
            (23, "rewrite"),
            (31, "forward"),
            (32, "forward"),
            (34, "forward"),
            (39, "rewrite"),
            (41, "rewrite"),
            (42, "reject"),
        ]
    );
}

#[test]
fn reports_have_their_formats() {
    let rules = rules(None).unwrap();
    let findings = lint("dump.sql", DUMP, &facts(), &rules);
    let text = report::write(&findings, Format::Text);
    assert!(
        text.contains("dump.sql:42:1: reject [trigger] CREATE TRIGGER"),
        "{text}"
    );
    assert!(
        text.ends_with("13 statements: 5 forward, 4 rewrite, 3 answer, 0 emulate, 1 reject"),
        "{text}"
    );
    let json: serde_json::Value =
        serde_json::from_str(&report::write(&findings, Format::Json)).unwrap();
    assert_eq!(json["summary"]["reject"], 1);
    assert_eq!(json["statements"][12]["sqlstate"], "0A000");
    assert_eq!(json["statements"][12]["line"], 42);
    let sarif: serde_json::Value =
        serde_json::from_str(&report::write(&findings, Format::Sarif)).unwrap();
    assert_eq!(sarif["runs"][0]["results"].as_array().unwrap().len(), 8);
    let junit = report::write(&findings, Format::Junit);
    assert!(junit.contains("tests=\"13\" failures=\"1\""), "{junit}");
}

#[test]
fn a_fixed_dump_is_refused_nothing_but_what_has_no_way() {
    let rules = rules(None).unwrap();
    let fixed = Fixer::new(&facts(), &rules).fix(DUMP);
    assert!(
        fixed.contains("CONSTRAINT film_pkey PRIMARY KEY (film_id)")
            && fixed.contains("-- part of CREATE TABLE"),
        "{fixed}"
    );
    assert!(fixed.contains("2\tIt's \\\\ here\n\\.\n"), "{fixed}");
    let again = lint("fixed.sql", &fixed, &facts(), &rules);
    for finding in &again {
        assert_eq!(finding.report.decision, "forward", "{finding:?}\n{fixed}");
    }
    assert_eq!(again.len(), 9, "{fixed}");
    assert!(fixed.contains("\\gset job1_\n"), "{fixed}");
    assert!(
        fixed
            .trim_end()
            .ends_with("CALL sys.wait_for_job(:'job1_job_id');"),
        "{fixed}"
    );
}

#[test]
fn transactions_of_a_file_are_followed() {
    let rules = rules(None).unwrap();
    let text =
        "BEGIN; CREATE TABLE a (x int); CREATE TABLE b (x int); COMMIT; CREATE TABLE c (x int);";
    let decisions = |facts: &SessionFacts| -> Vec<&'static str> {
        lint("f", text, facts, &rules)
            .iter()
            .map(|finding| finding.report.decision)
            .collect()
    };
    assert_eq!(
        decisions(&facts()),
        ["forward", "forward", "reject", "forward", "forward"]
    );
    let mut split = facts();
    split.switches.ddl_in_transaction = DdlInTransaction::Split;
    assert_eq!(decisions(&split), ["forward"; 5]);
}

/// Transactions are committed around DDL; a job that the next step needs is waited for at once.
#[test]
fn a_fixed_migration_parts_its_transactions() {
    let rules = standard();
    let text = "BEGIN; CREATE TABLE a (x int); ALTER TABLE a ADD CONSTRAINT u UNIQUE (x); CREATE TABLE b (y int[]); \
                INSERT INTO b VALUES ('{}'); COMMIT; COPY c FROM stdin (FORMAT binary);\n1\n\\.\nALTER TABLE d ADD UNIQUE (x)";
    let fixed = Fixer::new(&facts(), &rules).fix(text);
    let lines: Vec<&str> = fixed
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("-- "))
        .collect();
    assert_eq!(
        lines,
        [
            "BEGIN;",
            "CREATE TABLE a (x int, CONSTRAINT u UNIQUE (x));",
            "COMMIT;",
            "CREATE UNIQUE INDEX ASYNC d_x_key ON d (x) \\gset job1_",
            "CALL sys.wait_for_job(:'job1_job_id');",
            "ALTER TABLE d ADD CONSTRAINT d_x_key UNIQUE USING INDEX d_x_key;",
        ],
        "{fixed}"
    );
    assert!(fixed.contains("-- its data\n-- 1\n-- \\."), "{fixed}");
}
