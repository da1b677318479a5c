use super::*;

fn naming(schema: Option<&str>) -> Naming {
    Naming {
        database: "shop".to_owned(),
        schema: schema.map(str::to_owned),
        entries: vec!["app".to_owned()],
        entry: "app".to_owned(),
        user: "ann".to_owned(),
        creates: true,
    }
}

#[test]
fn a_comment_says_what_a_schema_is() {
    let created = Created {
        name: "a b".to_owned(),
        entry: "app".to_owned(),
        owner: "ann".to_owned(),
        schema: "dsqlproxy_db_a b".to_owned(),
    };
    let comment = created.comment();
    assert_eq!(Created::read(&created.schema, &comment), Some(created));
    for other in ["", "a schema", "dsql-proxy database\na\nb"] {
        assert_eq!(Created::read("s", other), None, "{other}");
    }
}

#[test]
fn schemas_have_names_of_their_databases() {
    assert_eq!(schema_name("test_x", 0), "dsqlproxy_db_test_x");
    assert_eq!(schema_name("test_x", 1), "dsqlproxy_db_test_x_2");
    let long = "ä".repeat(31);
    let (one, two) = (schema_name(&long, 0), schema_name(&long, 1));
    assert!(
        one.len() <= 63 && two.len() <= 63 && one != two,
        "{one} {two}"
    );
    assert_ne!(one, schema_name(&format!("{long}b"), 0));
}

#[test]
fn public_is_the_schema_of_the_database() {
    let cases = [
        ("SELECT * FROM t", None),
        ("SELECT 'public' FROM public", None),
        ("SELECT public.a FROM public", None),
        (
            "SELECT public.t.a FROM public.t JOIN other.u USING (a)",
            Some("SELECT s.t.a FROM s.t JOIN other.u USING (a)"),
        ),
        (
            "CREATE TABLE \"public\".t (a public.d REFERENCES public.u)",
            Some("CREATE TABLE s.t (a s.d REFERENCES s.u)"),
        ),
        ("DROP TABLE public.t, u", Some("DROP TABLE s.t, u")),
        (
            "ALTER TABLE x.t SET SCHEMA public",
            Some("ALTER TABLE x.t SET SCHEMA s"),
        ),
        ("DROP SCHEMA public CASCADE", None),
        ("CREATE SCHEMA public", None),
        (
            "SET search_path TO public, x",
            Some("SET search_path TO s, x"),
        ),
        (
            "SELECT set_config('search_path', 'x, public', false)",
            Some("SELECT set_config('search_path', 'x, \"s\"', false)"),
        ),
        (
            "SELECT nextval('public.q'), 'public.t'::regclass, public.f(1)",
            Some("SELECT nextval('s.q'), 's.t'::regclass, s.f(1)"),
        ),
        (
            "GRANT SELECT ON ALL TABLES IN SCHEMA public TO r",
            Some("GRANT select ON ALL TABLES IN SCHEMA s TO r"),
        ),
        (
            "CREATE INDEX ASYNC i ON public.t (a)",
            Some("CREATE INDEX ASYNC i ON s.t (a)"),
        ),
        (
            "SELECT current_schema",
            Some(
                "SELECT CASE pg_catalog.\"current_schema\"() WHEN 's' THEN 'public'::name \
                 ELSE pg_catalog.\"current_schema\"() END AS \"current_schema\"",
            ),
        ),
        (
            "INSERT INTO public.t VALUES (1); SELECT 1",
            Some("INSERT INTO s.t VALUES (1); SELECT 1"),
        ),
        ("SELECT public.", None),
    ];
    for (text, expected) in cases {
        let translated = translate(text, &naming(Some("s"))).unwrap();
        assert_eq!(translated.as_deref(), expected, "{text}");
        let named = translate(text, &naming(None)).unwrap();
        assert_eq!(named, None, "{text}");
    }
}

#[test]
fn the_database_has_the_name_that_was_connected_to() {
    let cases = [
        ("SELECT 1", None),
        (
            "SELECT current_database()",
            Some("SELECT 'shop'::name AS current_database"),
        ),
        (
            "SELECT current_catalog::text AS c",
            Some("SELECT 'shop'::name::text AS c"),
        ),
        (
            "SELECT catalog_name FROM information_schema.information_schema_catalog_name",
            Some(
                "SELECT catalog_name FROM (SELECT 'shop'::information_schema.sql_identifier AS catalog_name) \
                 information_schema_catalog_name",
            ),
        ),
    ];
    for (text, expected) in cases {
        for schema in [None, Some("s")] {
            let translated = translate(text, &naming(schema)).unwrap();
            assert_eq!(translated.as_deref(), expected, "{text}");
        }
    }
    let text =
        "SELECT datname FROM pg_database d WHERE has_database_privilege(d.datname, 'CONNECT')";
    let translated = translate(text, &naming(None)).unwrap().unwrap();
    assert!(
        translated.contains("'template1'") && translated.contains("EXISTS"),
        "{translated}"
    );
}

#[test]
fn names_may_begin_with_the_database() {
    let made =
        "SELECT ('\"' || table_schema || '\".\"' || table_name || '\"')::regclass::oid FROM x";
    let cases = [
        (
            "SELECT * FROM shop.public.t, shop.u, \"shop\".other.v",
            "SELECT * FROM public.t, shop.u, other.v",
            "SELECT * FROM s.t, shop.u, other.v",
        ),
        (
            "SELECT 'shop.public.t'::regclass, '\"shop\".x.t'::regclass, 'shop.t'::regclass, t.oid::regclass",
            "SELECT 'public.t'::regclass, 'x.t'::regclass, 'shop.t'::regclass, t.oid::regclass",
            "SELECT 's.t'::regclass, 'x.t'::regclass, 'shop.t'::regclass, t.oid::regclass",
        ),
        (
            "DROP TABLE IF EXISTS shop.x.t, \"shop\".\"public\".\"u\" CASCADE; DROP VIEW shop.v",
            "DROP TABLE IF EXISTS x.t, public.u CASCADE; DROP VIEW shop.v",
            "DROP TABLE IF EXISTS x.t, s.u CASCADE; DROP VIEW shop.v",
        ),
        (
            "COMMENT ON COLUMN shop.x.t.c IS 'c'; COMMENT ON COLUMN shop.t.c IS 'c'; COMMENT ON TABLE shop.x.t IS 't'",
            "COMMENT ON COLUMN x.t.c IS 'c'; COMMENT ON COLUMN shop.t.c IS 'c'; COMMENT ON TABLE x.t IS 't'",
            "COMMENT ON COLUMN x.t.c IS 'c'; COMMENT ON COLUMN shop.t.c IS 'c'; COMMENT ON TABLE x.t IS 't'",
        ),
        (
            "SELECT shop.x.t.a, shop.x.t.*, shop.t.a, shop.x.f(1), NULL::shop.x.d FROM shop.x.t",
            "SELECT x.t.a, x.t.*, shop.t.a, x.f(1), NULL::x.d FROM x.t",
            "SELECT x.t.a, x.t.*, shop.t.a, x.f(1), NULL::x.d FROM x.t",
        ),
        (
            made,
            "SELECT pg_catalog.regexp_replace(('\"' || table_schema || '\".\"' || table_name || '\"')::text, \
             E'^\"?shop\"?\\\\.(?=.+\\\\.)', '')::regclass::oid FROM x",
            "SELECT pg_catalog.regexp_replace(pg_catalog.regexp_replace(('\"' || table_schema || '\".\"' || \
             table_name || '\"')::text, E'^\"?shop\"?\\\\.(?=.+\\\\.)', ''), '^\"?public\"?[.]', \
             '\"s\".')::regclass::oid FROM x",
        ),
    ];
    for (text, plain, created) in cases {
        let translated = translate(text, &naming(None)).unwrap();
        assert_eq!(translated.as_deref(), Some(plain));
        let translated = translate(text, &naming(Some("s"))).unwrap();
        assert_eq!(translated.as_deref(), Some(created));
    }
}

#[test]
fn every_view_can_be_read() {
    for schema in [None, Some("it's")] {
        for line in include_str!("information_schema.tsv").lines() {
            let (view, _) = line.split_once('\t').unwrap();
            let text = format!("SELECT * FROM information_schema.{view}");
            let translated = translate(&text, &naming(schema)).unwrap().unwrap();
            assert!(translated.contains("'shop'"), "{view}");
        }
    }
}
