-- What an Aurora DSQL cluster has in its catalog beyond PostgreSQL, and what it has not. Run by the
-- superuser at each start, in one transaction, on database postgres: every step may be repeated.
--
-- pg_dsql         the emulator's own objects; clients cannot name it
-- pg_dsql_hidden  PostgreSQL's functions and text search configurations that DSQL has not, or has
--                 in another form: moved there, since what initdb made cannot be dropped

SET LOCAL allow_system_table_mods = on;
SET LOCAL client_min_messages = warning;
SET LOCAL search_path = pg_catalog;
-- Functions name what comes further down.
SET LOCAL check_function_bodies = off;

CREATE SCHEMA IF NOT EXISTS pg_dsql;
CREATE SCHEMA IF NOT EXISTS pg_dsql_hidden;
CREATE SCHEMA IF NOT EXISTS sys;
GRANT USAGE ON SCHEMA pg_dsql, pg_dsql_hidden, sys TO PUBLIC;
-- Schema public is admin's alone.
REVOKE ALL ON SCHEMA public FROM PUBLIC;

-- Data of the rules, filled by the program.

CREATE TABLE IF NOT EXISTS pg_dsql.storable_type (type_oid oid PRIMARY KEY, in_key bool NOT NULL);
CREATE TABLE IF NOT EXISTS pg_dsql.setting (name text PRIMARY KEY, real_name text NOT NULL);
CREATE TABLE IF NOT EXISTS pg_dsql.reported_setting (name text PRIMARY KEY, value text NOT NULL);
CREATE TABLE IF NOT EXISTS pg_dsql.missing_setting (name text PRIMARY KEY);
GRANT SELECT ON pg_dsql.storable_type, pg_dsql.setting, pg_dsql.reported_setting,
    pg_dsql.missing_setting TO PUBLIC;

-- Functions that are missing. What earlier rules hid comes back first.
CREATE OR REPLACE FUNCTION pg_dsql.hide_functions(patterns text[]) RETURNS void LANGUAGE sql AS $$
    UPDATE pg_catalog.pg_proc SET pronamespace = 'pg_catalog'::regnamespace
    WHERE pronamespace = 'pg_dsql_hidden'::regnamespace AND oid < 16384
      AND NOT proname IN ('version', 'current_setting', 'set_config', 'pg_get_indexdef',
                          'pg_get_constraintdef')
      AND NOT proname LIKE ANY (patterns);
    UPDATE pg_catalog.pg_proc SET pronamespace = 'pg_dsql_hidden'::regnamespace
    WHERE pronamespace = 'pg_catalog'::regnamespace AND oid < 16384 AND proname LIKE ANY (patterns)
$$;
REVOKE EXECUTE ON FUNCTION pg_dsql.hide_functions(text[]) FROM PUBLIC;

-- Functions in another form.

UPDATE pg_proc SET pronamespace = 'pg_dsql_hidden'::regnamespace
WHERE pronamespace = 'pg_catalog'::regnamespace AND oid < 16384
  AND proname IN ('version', 'current_setting', 'set_config', 'pg_get_indexdef', 'pg_get_constraintdef');

CREATE OR REPLACE FUNCTION pg_catalog.version() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT 'PostgreSQL ' || split_part(value, '.', 1)
    FROM pg_dsql.reported_setting WHERE name = 'server_version'
$$;

CREATE OR REPLACE FUNCTION pg_catalog.current_setting(setting_name text, missing_ok bool) RETURNS text
LANGUAGE plpgsql STABLE STRICT AS $$
DECLARE
    answer text;
BEGIN
    SELECT value INTO answer FROM pg_dsql.reported_setting WHERE name = lower(setting_name);
    IF FOUND THEN
        RETURN answer;
    END IF;
    IF EXISTS (SELECT 1 FROM pg_dsql.missing_setting WHERE name = lower(setting_name)) THEN
        IF missing_ok THEN
            RETURN NULL;
        END IF;
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = format('unrecognized configuration parameter "%s"', setting_name);
    END IF;
    RETURN pg_dsql_hidden.current_setting(
        coalesce((SELECT real_name FROM pg_dsql.setting WHERE name = lower(setting_name)), setting_name),
        missing_ok);
END
$$;

CREATE OR REPLACE FUNCTION pg_catalog.current_setting(setting_name text) RETURNS text
LANGUAGE sql STABLE STRICT AS $$ SELECT pg_catalog.current_setting(setting_name, false) $$;

CREATE OR REPLACE FUNCTION pg_catalog.set_config(setting_name text, new_value text, is_local bool)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    known text;
BEGIN
    SELECT real_name INTO known FROM pg_dsql.setting WHERE name = lower(setting_name);
    IF known IS NULL AND NOT (lower(setting_name) LIKE 'pg\_dsql.%' OR lower(setting_name) = 'role' AND is_local
                              OR session_user = 'postgres') THEN
        RAISE EXCEPTION USING ERRCODE = 'feature_not_supported',
            MESSAGE = format('setting configuration parameter "%s" not supported', setting_name);
    END IF;
    -- Text that is put together as it runs.
    IF lower(setting_name) = 'search_path' AND strpos(lower(new_value), 'pg_dsql') > 0
        AND session_user <> 'postgres' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_schema_name', MESSAGE = 'schema "pg_dsql" does not exist';
    END IF;
    RETURN pg_dsql_hidden.set_config(coalesce(known, setting_name), new_value, is_local);
END
$$;

-- A primary key's index covers all columns, as the catalog tells it. The index behind does not:
-- its rows would grow too large.

CREATE OR REPLACE FUNCTION pg_dsql.covered_columns(index oid) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
    FROM pg_catalog.pg_index i
    JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum > 0 AND NOT a.attisdropped
        AND NOT a.attnum = ANY (i.indkey)
    WHERE i.indexrelid = index AND i.indisprimary AND i.indrelid >= 16384
$$;

CREATE OR REPLACE FUNCTION pg_dsql.show_covered(definition text, index oid) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN covered IS NULL THEN definition
        WHEN definition LIKE '%) INCLUDE (%' THEN
            regexp_replace(definition, '(\) INCLUDE \()([^)]*)', '\1\2, ' || replace(covered, '\', '\\'))
        ELSE definition || ' INCLUDE (' || covered || ')' END
    FROM (SELECT pg_dsql.covered_columns(index) AS covered) AS c
$$;

CREATE OR REPLACE FUNCTION pg_catalog.pg_get_indexdef(index_oid oid) RETURNS text
LANGUAGE sql STABLE STRICT AS $$
    SELECT pg_dsql.show_covered(
        replace(pg_dsql_hidden.pg_get_indexdef(index_oid), ' USING btree (', ' USING btree_index ('),
        index_oid)
$$;

CREATE OR REPLACE FUNCTION pg_catalog.pg_get_indexdef(index_oid oid, column_no int, pretty bool)
RETURNS text LANGUAGE sql STABLE STRICT AS $$
    SELECT CASE WHEN column_no = 0 THEN pg_dsql.show_covered(replace(
            pg_dsql_hidden.pg_get_indexdef(index_oid, 0, pretty), ' USING btree (', ' USING btree_index ('),
            index_oid)
        ELSE coalesce(nullif(pg_dsql_hidden.pg_get_indexdef(index_oid, column_no, pretty), ''),
            (SELECT quote_ident(attname) FROM pg_dsql.pg_attribute
             WHERE attrelid = index_oid AND attnum = column_no), '') END
$$;

CREATE OR REPLACE FUNCTION pg_dsql.show_constraint(definition text, constraint_oid oid) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT coalesce((SELECT pg_dsql.show_covered(definition, conindid) FROM pg_catalog.pg_constraint
                     WHERE oid = constraint_oid AND contype = 'p'), definition)
$$;

CREATE OR REPLACE FUNCTION pg_catalog.pg_get_constraintdef(constraint_oid oid) RETURNS text
LANGUAGE sql STABLE STRICT AS $$
    SELECT pg_dsql.show_constraint(pg_dsql_hidden.pg_get_constraintdef(constraint_oid), constraint_oid)
$$;

CREATE OR REPLACE FUNCTION pg_catalog.pg_get_constraintdef(constraint_oid oid, pretty bool)
RETURNS text LANGUAGE sql STABLE STRICT AS $$
    SELECT pg_dsql.show_constraint(
        pg_dsql_hidden.pg_get_constraintdef(constraint_oid, pretty), constraint_oid)
$$;

-- Views over catalogs have their columns in the order of the server behind, whatever its version.
DO $$
DECLARE
    columns text;
    covered text;
BEGIN
    SELECT string_agg(CASE attname
            WHEN 'indnatts' THEN '(i.indnatts + coalesce(array_length(c.covered, 1), 0))::int2 AS indnatts'
            WHEN 'indkey' THEN 'CASE WHEN c.covered IS NULL THEN i.indkey ELSE '
                || 'array_to_string(i.indkey::int2[] || c.covered, '' '')::int2vector END AS indkey'
            ELSE 'i.' || quote_ident(attname) END, ', ' ORDER BY attnum)
    INTO columns FROM pg_attribute WHERE attrelid = 'pg_index'::regclass AND attnum > 0;
    EXECUTE 'CREATE OR REPLACE VIEW pg_dsql.pg_index AS SELECT ' || columns || ' FROM pg_index i
        LEFT JOIN LATERAL (SELECT array_agg(a.attnum ORDER BY a.attnum) AS covered FROM pg_attribute a
            WHERE a.attrelid = i.indrelid AND a.attnum > 0 AND NOT a.attisdropped
              AND NOT a.attnum = ANY (i.indkey)) c ON i.indisprimary AND i.indrelid >= 16384';

    SELECT string_agg('a.' || quote_ident(attname), ', ' ORDER BY attnum),
        string_agg(CASE attname WHEN 'attrelid' THEN 'i.indexrelid'
            WHEN 'attnum' THEN '(i.indnatts + row_number() OVER (PARTITION BY i.indexrelid ORDER BY a.attnum))::int2'
            WHEN 'attnotnull' THEN 'false' WHEN 'atthasdef' THEN 'false'
            WHEN 'attidentity' THEN '''''::"char"' WHEN 'attgenerated' THEN '''''::"char"'
            ELSE 'a.' || quote_ident(attname) END, ', ' ORDER BY attnum)
    INTO columns, covered FROM pg_attribute WHERE attrelid = 'pg_attribute'::regclass AND attnum > 0;
    EXECUTE 'CREATE OR REPLACE VIEW pg_dsql.pg_attribute AS SELECT ' || columns || ' FROM pg_attribute a
        UNION ALL SELECT ' || covered || ' FROM pg_index i
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum > 0 AND NOT a.attisdropped
            AND NOT a.attnum = ANY (i.indkey)
        WHERE i.indisprimary AND i.indrelid >= 16384';

    SELECT string_agg(CASE attname
            WHEN 'amname' THEN 'CASE amname WHEN ''btree'' THEN ''btree_index''::name ELSE amname END AS amname'
            ELSE quote_ident(attname) END, ', ' ORDER BY attnum)
    INTO columns FROM pg_attribute WHERE attrelid = 'pg_am'::regclass AND attnum > 0;
    EXECUTE 'CREATE OR REPLACE VIEW pg_dsql.pg_am AS SELECT ' || columns || ' FROM pg_am';

    SELECT string_agg(CASE attname
            WHEN 'setting' THEN 'coalesce(r.value, s.setting) AS setting'
            ELSE 's.' || quote_ident(attname) END, ', ' ORDER BY attnum)
    INTO columns FROM pg_attribute WHERE attrelid = 'pg_settings'::regclass AND attnum > 0;
    EXECUTE 'CREATE OR REPLACE VIEW pg_dsql.pg_settings AS SELECT ' || columns || ' FROM pg_settings s
        LEFT JOIN pg_dsql.reported_setting r ON r.name = lower(s.name)
        WHERE s.name NOT LIKE ''pg\_dsql.%''
          AND NOT EXISTS (SELECT 1 FROM pg_dsql.missing_setting m WHERE m.name = s.name)';
END
$$;

CREATE OR REPLACE VIEW pg_dsql.pg_database AS SELECT * FROM pg_database WHERE datname = 'postgres';

CREATE OR REPLACE VIEW pg_dsql.pg_indexes AS
    SELECT schemaname, tablename, indexname, tablespace,
        pg_catalog.pg_get_indexdef(format('%I.%I', schemaname, indexname)::regclass) AS indexdef
    FROM pg_indexes WHERE schemaname NOT LIKE 'pg\_dsql%';

-- The rest hides the emulator's own objects.
CREATE OR REPLACE VIEW pg_dsql.pg_namespace AS
    SELECT * FROM pg_namespace WHERE nspname NOT LIKE 'pg\_dsql%';
CREATE OR REPLACE VIEW pg_dsql.pg_class AS
    SELECT * FROM pg_class WHERE relnamespace NOT IN (
        SELECT oid FROM pg_namespace WHERE nspname LIKE 'pg\_dsql%');
CREATE OR REPLACE VIEW pg_dsql.pg_tables AS SELECT * FROM pg_tables WHERE schemaname NOT LIKE 'pg\_dsql%';
CREATE OR REPLACE VIEW pg_dsql.pg_views AS SELECT * FROM pg_views WHERE schemaname NOT LIKE 'pg\_dsql%';
CREATE OR REPLACE VIEW pg_dsql.tables AS
    SELECT * FROM information_schema.tables WHERE table_schema NOT LIKE 'pg\_dsql%';
CREATE OR REPLACE VIEW pg_dsql.columns AS
    SELECT * FROM information_schema.columns WHERE table_schema NOT LIKE 'pg\_dsql%';
CREATE OR REPLACE VIEW pg_dsql.views AS
    SELECT * FROM information_schema.views WHERE table_schema NOT LIKE 'pg\_dsql%';

GRANT SELECT ON pg_dsql.pg_namespace, pg_dsql.pg_class, pg_dsql.pg_tables, pg_dsql.pg_views,
    pg_dsql.tables, pg_dsql.columns, pg_dsql.views TO PUBLIC;
GRANT SELECT ON pg_dsql.pg_index, pg_dsql.pg_attribute, pg_dsql.pg_am, pg_dsql.pg_settings,
    pg_dsql.pg_database, pg_dsql.pg_indexes TO PUBLIC;

-- Only the text search configuration simple is there.
UPDATE pg_ts_config SET cfgnamespace = 'pg_dsql_hidden'::regnamespace
WHERE cfgnamespace = 'pg_catalog'::regnamespace AND cfgname <> 'simple' AND oid < 16384;
ALTER DATABASE postgres SET default_text_search_config = 'pg_catalog.simple';
ALTER DATABASE postgres SET pg_dsql.disable_sync_create_index = 'on';
ALTER DATABASE postgres SET dsql.enable_batched_nestloop = 'on';

-- Checks around DDL: each gives the refusal as (sqlstate, message), or nothing.

CREATE OR REPLACE FUNCTION pg_dsql.is_own_schema(schema oid) RETURNS bool LANGUAGE sql STABLE AS $$
    SELECT nspname IN ('public', 'sys', 'information_schema') OR nspname LIKE 'pg\_%'
    FROM pg_catalog.pg_namespace WHERE oid = schema
$$;

CREATE OR REPLACE FUNCTION pg_dsql.count_schemas() RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT count(*) FROM pg_catalog.pg_namespace WHERE NOT pg_dsql.is_own_schema(oid)
$$;

CREATE OR REPLACE FUNCTION pg_dsql.count_relations(kinds text[]) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
    WHERE relkind::text = ANY (kinds) AND NOT nspname IN ('sys', 'information_schema')
      AND NOT nspname LIKE 'pg\_%'
$$;

CREATE OR REPLACE FUNCTION pg_dsql.base_type(kind oid) RETURNS oid LANGUAGE sql STABLE AS $$
    WITH RECURSIVE base AS (
        SELECT oid, typtype, typbasetype FROM pg_catalog.pg_type WHERE oid = kind
        UNION ALL
        SELECT t.oid, t.typtype, t.typbasetype FROM base JOIN pg_catalog.pg_type t ON t.oid = base.typbasetype
        WHERE base.typtype = 'd')
    SELECT oid FROM base WHERE typtype <> 'd'
$$;

CREATE OR REPLACE FUNCTION pg_dsql.check_table(
    relation regclass, max_columns int, documented_columns int, max_indexes int, max_key_bytes int)
RETURNS TABLE (sqlstate text, message text) LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY SELECT '0A000', 'datatype ' || pg_catalog.format_type(base, NULL) || ' not supported'
    FROM (SELECT a.attnum, pg_dsql.base_type(a.atttypid) AS base FROM pg_catalog.pg_attribute a
          WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped) AS columns
    WHERE NOT EXISTS (SELECT 1 FROM pg_dsql.storable_type WHERE type_oid = base)
    ORDER BY attnum LIMIT 1;
    IF FOUND THEN RETURN; END IF;

    RETURN QUERY SELECT '54011', CASE
        WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_index WHERE indrelid = relation AND indisprimary)
        THEN format('cannot use more than %s columns in an index', max_columns)
        ELSE format('tables can have at most %s columns', documented_columns) END
    FROM pg_catalog.pg_attribute a WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped
    HAVING count(*) > max_columns;
    IF FOUND THEN RETURN; END IF;

    RETURN QUERY SELECT '0A000',
        'datatype ' || pg_catalog.format_type(base, NULL) || ' is not supported in a key'
    FROM (SELECT a.attrelid, a.attnum, pg_dsql.base_type(a.atttypid) AS base
          FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indexrelid
          WHERE i.indrelid = relation AND a.attnum <= i.indnkeyatts) AS keys
    WHERE NOT EXISTS (SELECT 1 FROM pg_dsql.storable_type WHERE type_oid = base AND in_key)
    ORDER BY attrelid, attnum LIMIT 1;
    IF FOUND THEN RETURN; END IF;

    RETURN QUERY SELECT '54000', format('key size greater than %s bytes not supported', max_key_bytes)
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indexrelid
    WHERE i.indrelid = relation AND a.attnum <= i.indnkeyatts
    GROUP BY i.indexrelid
    HAVING sum(CASE WHEN a.attlen > 0 THEN a.attlen WHEN a.atttypid IN (1042, 1043) AND a.atttypmod > 4
                    THEN a.atttypmod - 4 ELSE 0 END) > max_key_bytes
    LIMIT 1;
    IF FOUND THEN RETURN; END IF;

    RETURN QUERY SELECT '54000', format('more than %s indexes per table are not allowed', max_indexes)
    FROM pg_catalog.pg_index WHERE indrelid = relation HAVING count(*) > max_indexes;
END
$$;

CREATE OR REPLACE FUNCTION pg_dsql.check_key_columns(relation regclass, names text[])
RETURNS TABLE (sqlstate text, message text) LANGUAGE sql STABLE AS $$
    SELECT '0A000', 'datatype ' || pg_catalog.format_type(base, NULL) || ' is not supported in a key'
    FROM (SELECT array_position(names, attname::text) AS place, pg_dsql.base_type(atttypid) AS base
          FROM pg_catalog.pg_attribute
          WHERE attrelid = relation AND attname = ANY (names) AND attnum > 0) AS keys
    WHERE NOT EXISTS (SELECT 1 FROM pg_dsql.storable_type WHERE type_oid = base AND in_key)
    ORDER BY place LIMIT 1
$$;

CREATE OR REPLACE FUNCTION pg_dsql.check_key_type(kind regtype)
RETURNS TABLE (sqlstate text, message text) LANGUAGE sql STABLE AS $$
    SELECT '0A000', 'datatype ' || pg_catalog.format_type(base, NULL) || ' is not supported in a key'
    FROM (SELECT pg_dsql.base_type(kind) AS base) AS k
    WHERE EXISTS (SELECT 1 FROM pg_dsql.storable_type WHERE type_oid = base AND NOT in_key)
$$;

CREATE OR REPLACE FUNCTION pg_dsql.check_domain(domain regtype)
RETURNS TABLE (sqlstate text, message text) LANGUAGE sql STABLE AS $$
    SELECT '0A000', 'datatype ' || pg_catalog.format_type(base, NULL) || ' not supported'
    FROM (SELECT pg_dsql.base_type(domain) AS base) AS d
    WHERE base IS NOT NULL AND NOT EXISTS (SELECT 1 FROM pg_dsql.storable_type WHERE type_oid = base)
$$;

CREATE OR REPLACE FUNCTION pg_dsql.in_primary_key(relation regclass, name text) RETURNS bool
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_constraint
        JOIN pg_catalog.pg_attribute a ON a.attrelid = conrelid AND a.attnum = ANY (conkey)
        WHERE conrelid = relation AND contype = 'p' AND a.attname = name)
$$;

CREATE OR REPLACE FUNCTION pg_dsql.check_constraint(relation regclass, name text)
RETURNS TABLE (sqlstate text, message text) LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN k.oid IS NULL THEN '42704' ELSE '42809' END,
        format('constraint "%s" of relation "%s" ', name, c.relname) || CASE WHEN k.oid IS NULL
            THEN 'does not exist' ELSE 'is not a foreign key or check constraint' END
    FROM pg_catalog.pg_class c
    LEFT JOIN pg_catalog.pg_constraint k ON k.conrelid = c.oid AND k.conname = name
    WHERE c.oid = relation AND (k.oid IS NULL OR k.contype NOT IN ('c', 'f'))
$$;

-- IAM roles that may log in as roles of the database.

CREATE TABLE IF NOT EXISTS pg_dsql.iam_mapping (
    iam_oid bigint GENERATED ALWAYS AS IDENTITY (START 26000),
    arn text NOT NULL, pg_role_oid oid NOT NULL, grantor_pg_role_oid oid NOT NULL,
    PRIMARY KEY (arn, pg_role_oid));
CREATE OR REPLACE VIEW sys.iam_pg_role_mappings AS
    SELECT m.iam_oid::oid AS iam_oid, m.arn, m.pg_role_oid, r.rolname AS pg_role_name,
        m.grantor_pg_role_oid, g.rolname AS grantor_pg_role_name
    FROM pg_dsql.iam_mapping m JOIN pg_roles r ON r.oid = m.pg_role_oid
    LEFT JOIN pg_roles g ON g.oid = m.grantor_pg_role_oid;
GRANT SELECT ON sys.iam_pg_role_mappings TO PUBLIC;

CREATE OR REPLACE FUNCTION pg_dsql.check_iam(is_grant bool, role text, iam text)
RETURNS TABLE (sqlstate text, message text) LANGUAGE sql STABLE AS $$
    SELECT code, words FROM (VALUES
        (1, '0A000', format('Role %s not supported', role),
            role IN ('admin', 'postgres', 'public') OR role LIKE 'pg\_%'),
        (2, '42704', format('Role %s does not exist', role),
            NOT EXISTS (SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = role)),
        (3, '42501', format('permission denied to grant IAM trust with role %s', role),
            NOT (SELECT rolcreaterole OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)),
        (4, '22023', 'IAM role must look like an IAM ARN',
            iam !~ '^arn:aws[a-z-]*:(iam|sts)::[0-9]*:[^[:space:]]+$'),
        (5, '0A000', format('role %s must have the LOGIN attribute', role),
            NOT EXISTS (SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = role AND rolcanlogin)),
        (6, '42704', format('IAM role %s does not exist', iam), NOT is_grant AND NOT EXISTS (
            SELECT 1 FROM sys.iam_pg_role_mappings m WHERE m.pg_role_name = role AND m.arn = iam))
    ) AS checks (place, code, words, fails)
    WHERE fails ORDER BY place LIMIT 1
$$;

CREATE OR REPLACE FUNCTION pg_dsql.check_drop_role(role text)
RETURNS TABLE (sqlstate text, message text) LANGUAGE sql STABLE AS $$
    SELECT '2BP01', format('role "%s" cannot be dropped because some objects depend on it', role)
    FROM sys.iam_pg_role_mappings WHERE pg_role_name = role LIMIT 1
$$;

CREATE OR REPLACE FUNCTION pg_dsql.change_iam(is_grant bool, role text, iam text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    role_oid oid := (SELECT oid FROM pg_roles WHERE rolname = role);
BEGIN
    IF is_grant THEN
        INSERT INTO pg_dsql.iam_mapping (arn, pg_role_oid, grantor_pg_role_oid)
        VALUES (iam, role_oid, (SELECT oid FROM pg_roles WHERE rolname = session_user))
        ON CONFLICT DO NOTHING;
    ELSE
        DELETE FROM pg_dsql.iam_mapping WHERE arn = iam AND pg_role_oid = role_oid;
    END IF;
END
$$;

-- Jobs.

CREATE TABLE IF NOT EXISTS pg_dsql.clock (advance interval NOT NULL);
INSERT INTO pg_dsql.clock SELECT '0' WHERE NOT EXISTS (SELECT 1 FROM pg_dsql.clock);
GRANT SELECT ON pg_dsql.clock TO PUBLIC;

CREATE TABLE IF NOT EXISTS pg_dsql.job (
    job_id text PRIMARY KEY, status text NOT NULL DEFAULT 'submitted', details text,
    job_type text NOT NULL, class_id oid NOT NULL, object_id oid NOT NULL,
    table_name text NOT NULL, constraint_name text,
    start_time timestamptz NOT NULL, update_time timestamptz);
-- `start_time` is exact here and in whole seconds in the view.

CREATE OR REPLACE VIEW sys.jobs AS
    SELECT j.job_id, j.status, j.details, j.job_type, j.class_id, j.object_id,
        n.nspname || '.' || c.relname AS object_name,
        date_trunc('second', j.start_time) AS start_time, j.update_time
    FROM pg_dsql.job j LEFT JOIN pg_class c ON c.oid = j.object_id AND j.class_id = 1259
    LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
    ORDER BY j.start_time;
GRANT SELECT ON sys.jobs TO PUBLIC;

CREATE OR REPLACE FUNCTION pg_dsql.base32(id uuid) RETURNS text LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT string_agg(substr('abcdefghijklmnopqrstuvwxyz234567',
        1 + substring(bits FROM 1 + 5 * n FOR 5)::bit(5)::int, 1), '' ORDER BY n)
    FROM (SELECT ('x' || replace(id::text, '-', ''))::bit(128) || B'00' AS bits) AS b,
        generate_series(0, 25) AS n
$$;

CREATE OR REPLACE FUNCTION sys.base32_str_to_uuid(text) RETURNS uuid
LANGUAGE plpgsql IMMUTABLE STRICT AS $$
DECLARE
    bits text;
BEGIN
    IF lower($1) !~ '^[a-z2-7]{25}[aeimquy4]$' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_text_representation',
            MESSAGE = 'Unable to convert text to UUID';
    END IF;
    SELECT string_agg((strpos('abcdefghijklmnopqrstuvwxyz234567', letter) - 1)::bit(5)::text, '' ORDER BY n)
    INTO bits FROM regexp_split_to_table(lower($1), '') WITH ORDINALITY AS letters (letter, n);
    RETURN (SELECT string_agg(to_hex(substr(bits, 1 + 4 * n, 4)::bit(4)::int), '' ORDER BY n)
            FROM generate_series(0, 31) AS n)::uuid;
END
$$;

CREATE OR REPLACE FUNCTION pg_dsql.enter_job(
    job_type text, object_id oid, table_name text, constraint_name text)
RETURNS text LANGUAGE sql AS $$
    INSERT INTO pg_dsql.job (job_id, job_type, class_id, object_id, table_name, constraint_name, start_time)
    SELECT pg_dsql.base32(pg_catalog.gen_random_uuid()), job_type, 1259, object_id, table_name,
        constraint_name, clock_timestamp() + advance
    FROM pg_dsql.clock
    RETURNING job_id
$$;
REVOKE EXECUTE ON FUNCTION pg_dsql.enter_job(text, oid, text, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION pg_dsql.relation_name(relation oid) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT nspname || '.' || relname FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace WHERE c.oid = relation
$$;

-- Enters the build of an index that CREATE INDEX has just made: its youngest on the table, or the
-- one of that name. An index with an older name is none of this transaction's: NULL.
CREATE OR REPLACE FUNCTION pg_dsql.register_index(relation regclass, name text, is_unique bool)
RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    made oid;
BEGIN
    SELECT max(c.oid) INTO made FROM pg_catalog.pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE i.indrelid = relation AND c.relname = coalesce(name, c.relname) AND age(c.xmin) <= 0;
    IF made IS NULL THEN
        RETURN NULL;
    END IF;
    UPDATE pg_catalog.pg_index SET indisvalid = false, indisunique = is_unique WHERE indexrelid = made;
    NOTIFY pg_dsql_jobs;
    RETURN pg_dsql.enter_job('INDEX_BUILD', made, pg_dsql.relation_name(relation), NULL);
END
$$;

CREATE OR REPLACE FUNCTION pg_dsql.register_validation(relation regclass, name text)
RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    NOTIFY pg_dsql_jobs;
    RETURN pg_dsql.enter_job('VALIDATE_CONSTRAINT', relation, pg_dsql.relation_name(relation), name);
END
$$;

-- The query that tells whether a unique index has duplicates; NULL for other indexes.
CREATE OR REPLACE FUNCTION pg_dsql.duplicate_query(index oid) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog AS $$
DECLARE
    real record;
    keys text;
    not_null text;
BEGIN
    SELECT i.*, pg_get_expr(i.indpred, i.indrelid) AS predicate,
        to_jsonb(i) -> 'indnullsnotdistinct' = 'true' AS nulls_equal
    INTO real FROM pg_catalog.pg_index i WHERE indexrelid = index AND indisunique;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    SELECT string_agg('(' || key || ')', ', '), string_agg('(' || key || ') IS NOT NULL', ' AND ')
    INTO keys, not_null
    FROM (SELECT pg_dsql_hidden.pg_get_indexdef(index, n, false) AS key
          FROM generate_series(1, real.indnkeyatts) AS n) AS k;
    RETURN format('SELECT 1 FROM %s WHERE %s AND %s GROUP BY %s HAVING count(*) > 1 LIMIT 1',
        real.indrelid::regclass, coalesce(real.predicate, 'true'),
        CASE WHEN real.nulls_equal THEN 'true' ELSE not_null END, keys);
END
$$;

-- Whether work on an index or constraint would run functions that clients wrote.
CREATE OR REPLACE FUNCTION pg_dsql.runs_client_code(relation oid, constraint_name text) RETURNS bool
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
    SELECT EXISTS (SELECT 1 FROM pg_depend d
        WHERE (d.classid = 'pg_class'::regclass AND d.objid = relation
               OR d.classid = 'pg_constraint'::regclass AND d.objid = (SELECT k.oid FROM pg_constraint k
                   WHERE k.conrelid = relation AND k.conname = constraint_name))
          AND d.refclassid IN ('pg_proc'::regclass, 'pg_type'::regclass) AND d.refobjid >= 16384)
$$;

-- Waiting is done in front of PostgreSQL; this is what calls in another form than CALL meet.
CREATE OR REPLACE PROCEDURE sys.wait_for_job(job_id text, INOUT succeeded bool DEFAULT NULL)
LANGUAGE sql AS $$ SELECT status = 'completed' FROM sys.jobs j WHERE j.job_id = $1 $$;

-- Facts about the cluster.

CREATE OR REPLACE FUNCTION sys.dsql_major_version() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
CREATE OR REPLACE FUNCTION sys.cluster_size() RETURNS bigint LANGUAGE sql
    SECURITY DEFINER SET search_path = pg_catalog AS $$ SELECT pg_database_size(current_database()) $$;
CREATE OR REPLACE FUNCTION sys.current_session_id() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT pg_dsql.base32(md5(pid || ' ' || backend_start)::uuid)
    FROM pg_stat_get_activity(pg_backend_pid()) AS a WHERE pid = pg_backend_pid()
$$;
CREATE OR REPLACE FUNCTION sys.current_transaction_id() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT pg_dsql.base32(md5(pg_backend_pid() || ' ' || transaction_timestamp())::uuid)
$$;
CREATE OR REPLACE FUNCTION sys.iam_session_user() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT arn FROM sys.iam_pg_role_mappings WHERE pg_role_name = session_user ORDER BY arn LIMIT 1
$$;
CREATE OR REPLACE VIEW sys.supported_datatypes AS
    SELECT t.oid AS type_oid, t.typname AS type_name, pg_catalog.format_type(t.oid, NULL) AS display_name,
        s.in_key AS indexable
    FROM pg_dsql.storable_type s JOIN pg_type t ON t.oid = s.type_oid;
GRANT SELECT ON sys.supported_datatypes TO PUBLIC;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA sys TO PUBLIC;
