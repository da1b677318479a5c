-- Drops what clients have made in the database of an emulated cluster.
DO $$
DECLARE
    command text;
BEGIN
    -- All names at once: what is dropped takes other things along.
    FOREACH command IN ARRAY ARRAY(
        SELECT format('DROP %s IF EXISTS %s CASCADE',
            CASE relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, c.oid::regclass)
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
        WHERE relkind IN ('r', 'v') AND nspname = 'public' AND c.oid >= 16384)
    LOOP
        EXECUTE command;
    END LOOP;
    FOREACH command IN ARRAY ARRAY(
        SELECT format('DROP SEQUENCE IF EXISTS %s CASCADE', c.oid::regclass)
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
        WHERE relkind = 'S' AND nspname = 'public')
    LOOP
        EXECUTE command;
    END LOOP;
    FOREACH command IN ARRAY ARRAY(
        SELECT format('DROP DOMAIN IF EXISTS %s CASCADE', t.oid::regtype)
        FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = typnamespace
        WHERE typtype = 'd' AND nspname = 'public'
        UNION ALL
        SELECT format('DROP FUNCTION IF EXISTS %s CASCADE', p.oid::regprocedure)
        FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = pronamespace
        WHERE nspname = 'public'
        UNION ALL
        SELECT format('DROP SCHEMA IF EXISTS %I CASCADE', nspname) FROM pg_catalog.pg_namespace
        WHERE oid >= 16384 AND nspname <> 'sys' AND nspname NOT LIKE 'pg\_%')
    LOOP
        EXECUTE command;
    END LOOP;
END
$$;
DELETE FROM pg_dsql.job;
