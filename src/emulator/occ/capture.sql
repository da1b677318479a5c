-- What the conflict ledger needs inside PostgreSQL: hidden row triggers that report every change,
-- shadow copies of tables for transactions that lost a lock, and the writing of their rows.
-- Run by the superuser at each start; safe to repeat. Needs schema pg_dsql.

-- A column's name in PL/pgSQL, where words are reserved that are none in SQL (by, begin, if): %I would
-- leave these as they are.
CREATE OR REPLACE FUNCTION pg_dsql.field(name name) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog
AS $field$ SELECT '"' || replace(name::text, '"', '""') || '"' $field$;

-- One line for each table: the source of its trigger function. A NOTICE with SQLSTATE DQ001 reads
--   <op> <table oid> <transaction id|-> <old ctid|-> <new ctid|-> <accounted bytes> <mode><entries> <row text>
-- op is I, U, D, or L for a row that was only locked; mode that of the row (- is A). An entry is a
-- letter, an oid and a hash:
--   A, B, C: mode of the conflict matrix; index oid; hash of the key (equal keys, equal hash)
--   R: a table that refers to this row's key, which went away; O: this table has unique indexes
--   whose keys cannot be told here; D: the table has deferrable constraints.
CREATE OR REPLACE FUNCTION pg_dsql.capture_source(relation oid) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog AS $capture_source$
DECLARE
  columns record;
  index record;
  reference record;
  old_keys text := '';      -- concat() arguments: entries of the old row, mode in variable m
  new_keys text := '';      -- the same for the new row
  moved text := '';         -- arguments: new keys that differ
  changed text := '';       -- condition: some key column changed
  parents text := '';       -- arguments: C entries of all references of the new row
  parents_moved text := ''; -- the same where the reference changed
  flags text := '';
  orphans text := '';
  key_checks text := '';
  hash text;
  present text;
  same text;
  source text;
BEGIN
  SELECT
    coalesce(string_agg(CASE
      WHEN t.typname IN ('text', 'varchar', 'bpchar', 'bytea') THEN format('coalesce(octet_length(NEW.%s), 0)', pg_dsql.field(a.attname))
      WHEN t.typname IN ('json', 'jsonb') THEN format('coalesce(octet_length(NEW.%s::text), 0)', pg_dsql.field(a.attname))
      WHEN t.typlen < 0 THEN format('coalesce(pg_column_size(NEW.%s), 0)', pg_dsql.field(a.attname))
      ELSE t.typlen::text END, ' + '), '0') AS bytes,
    coalesce(string_agg(CASE
      WHEN t.typname IN ('text', 'varchar', 'bpchar') THEN format('coalesce(pg_column_size(NEW.%s), 0)', pg_dsql.field(a.attname))
      WHEN t.typname = 'bytea' THEN format('coalesce(octet_length(NEW.%s), 0)', pg_dsql.field(a.attname))
      WHEN t.typname IN ('json', 'jsonb') THEN format('coalesce(octet_length(NEW.%s::text), 0)', pg_dsql.field(a.attname))
      WHEN t.typlen < 0 THEN format('coalesce(pg_column_size(NEW.%s), 0)', pg_dsql.field(a.attname))
      ELSE t.typlen::text END, ' + '), '0') AS stored,
    coalesce(string_agg(CASE
      WHEN t.typname IN ('text', 'varchar', 'bpchar') THEN format(
        E'    IF pg_column_size(NEW.%s) > 1048576 THEN RAISE EXCEPTION USING ERRCODE = ''54000'', MESSAGE = %L; END IF;\n',
        pg_dsql.field(a.attname), 'datatype limit greater than 1048576 bytes not supported for ' || format_type(t.oid, NULL))
      WHEN t.typname = 'bytea' THEN format(
        E'    IF octet_length(NEW.%s) > 1048576 THEN RAISE EXCEPTION USING ERRCODE = ''54000'', MESSAGE = %L; END IF;\n',
        pg_dsql.field(a.attname), 'datatype limit greater than 1048576 bytes not supported for bytea')
      WHEN t.typname IN ('json', 'jsonb') THEN format(
        E'    IF octet_length(NEW.%s::text) > 1048576 THEN RAISE EXCEPTION USING ERRCODE = ''54000'', MESSAGE = %L; END IF;\n',
        pg_dsql.field(a.attname), 'datatype limit greater than 1048576 bytes not supported for ' || t.typname)
      END, ''), '') AS limits
  INTO columns
  FROM pg_attribute a
  JOIN pg_type d ON d.oid = a.atttypid
  JOIN pg_type t ON t.oid = CASE d.typtype WHEN 'd' THEN (
    WITH RECURSIVE base AS (
      SELECT d.typbasetype AS oid UNION ALL
      SELECT n.typbasetype FROM pg_type n JOIN base b ON n.oid = b.oid WHERE n.typtype = 'd')
    SELECT b.oid FROM base b JOIN pg_type n ON n.oid = b.oid WHERE n.typtype <> 'd')
    ELSE d.oid END
  WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped;

  FOR index IN
    SELECT i.indexrelid AS oid, i.indnullsnotdistinct AS nulls_equal,
      i.indpred IS NOT NULL OR i.indexprs IS NOT NULL AS opaque,
      -- Expressions have no column; their indexes are opaque.
      string_agg(format('NEW.%s', pg_dsql.field(a.attname)), ', ' ORDER BY k.n) FILTER (WHERE a.attname IS NOT NULL) AS new_row,
      string_agg(format('OLD.%s', pg_dsql.field(a.attname)), ', ' ORDER BY k.n) FILTER (WHERE a.attname IS NOT NULL) AS old_row,
      string_agg(format('NEW.%s IS NOT NULL', pg_dsql.field(a.attname)), ' AND ') FILTER (WHERE NOT a.attnotnull) AS new_present,
      string_agg(format('OLD.%s IS NOT NULL', pg_dsql.field(a.attname)), ' AND ') FILTER (WHERE NOT a.attnotnull) AS old_present
    FROM pg_index i
    CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n)
    LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum AND k.attnum > 0
    WHERE i.indrelid = relation AND i.indisunique AND i.indislive AND k.n <= i.indnkeyatts
    GROUP BY 1, 2, 3 ORDER BY 1
  LOOP
    IF index.opaque THEN
      IF strpos(flags, 'O') = 0 THEN flags := flags || format('O%s:0,', relation); END IF;
      CONTINUE;
    END IF;
    hash := format('%s || %L || hash_record_extended(ROW(%s), 0) || %L', '%s', index.oid || ':', '%s', ',');
    present := CASE WHEN index.nulls_equal THEN NULL ELSE index.old_present END;
    old_keys := old_keys || ', ' || coalesce('CASE WHEN ' || present || ' THEN ', '')
      || format(hash, 'm', index.old_row) || CASE WHEN present IS NULL THEN '' ELSE ' END' END;
    present := CASE WHEN index.nulls_equal THEN NULL ELSE index.new_present END;
    new_keys := new_keys || ', ' || coalesce('CASE WHEN ' || present || ' THEN ', '')
      || format(hash, quote_literal('A'), index.new_row) || CASE WHEN present IS NULL THEN '' ELSE ' END' END;
    same := format('(ROW(%s) IS DISTINCT FROM ROW(%s))', index.old_row, index.new_row);
    moved := moved || ', CASE WHEN ' || same || coalesce(' AND ' || present, '') || ' THEN '
      || format(hash, quote_literal('A'), index.new_row) || ' END';
    changed := changed || CASE changed WHEN '' THEN '' ELSE ' OR ' END || same;
  END LOOP;

  -- Key columns in the order of the index they refer to, as the parent's own entries have them.
  FOR reference IN
    SELECT c.conindid AS oid,
      string_agg(format('NEW.%s::%s', pg_dsql.field(a.attname), format_type(p.atttypid, p.atttypmod)), ', ' ORDER BY k.n) AS new_row,
      string_agg(format('NEW.%s IS NOT NULL', pg_dsql.field(a.attname)), ' AND ') AS present,
      string_agg(format('OLD.%s IS DISTINCT FROM NEW.%s', pg_dsql.field(a.attname), pg_dsql.field(a.attname)), ' OR ') AS changed
    FROM pg_constraint c
    JOIN pg_index i ON i.indexrelid = c.conindid
    CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n)
    JOIN pg_attribute p ON p.attrelid = c.confrelid AND p.attnum = k.attnum
    JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[array_position(c.confkey, k.attnum)]
    WHERE c.contype = 'f' AND c.conrelid = relation AND k.n <= i.indnkeyatts
    GROUP BY c.oid, c.conindid ORDER BY c.oid
  LOOP
    hash := format('%L || hash_record_extended(ROW(%s), 0) || %L', 'C' || reference.oid || ':', reference.new_row, ',');
    parents := parents || format(', CASE WHEN %s THEN %s END', reference.present, hash);
    parents_moved := parents_moved || format(', CASE WHEN (%s) AND %s THEN %s END', reference.changed, reference.present, hash);
  END LOOP;

  SELECT coalesce(string_agg(DISTINCT format('R%s:0,', conrelid), ''), '') INTO orphans
  FROM pg_constraint WHERE contype = 'f' AND confrelid = relation;
  IF EXISTS (SELECT FROM pg_constraint WHERE conrelid = relation AND condeferrable) THEN
    flags := flags || 'D0:0,';
  END IF;

  -- Only keys with a column of variable length can be too long. A secondary key carries the
  -- primary key's columns too.
  FOR index IN
    SELECT string_agg(CASE
        WHEN t.typcategory = 'S' THEN format('coalesce(octet_length(NEW.%s), 0)', pg_dsql.field(a.attname))
        WHEN t.typlen < 0 THEN format('coalesce(pg_column_size(NEW.%s), 0)', pg_dsql.field(a.attname))
        ELSE t.typlen::text END, ' + ') || ' + ' || (count(*) - 1) * 7 AS size
    FROM pg_index i
    LEFT JOIN pg_index p ON p.indrelid = i.indrelid AND p.indisprimary AND NOT i.indisprimary
    CROSS JOIN LATERAL (
      SELECT attnum FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n) WHERE n <= i.indnkeyatts AND attnum > 0
      UNION SELECT attnum FROM unnest(p.indkey::int2[]) WITH ORDINALITY AS k(attnum, n) WHERE n <= p.indnkeyatts) AS k
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
    JOIN pg_type t ON t.oid = a.atttypid
    WHERE i.indrelid = relation AND i.indislive
    GROUP BY i.indexrelid HAVING bool_or(t.typlen < 0) ORDER BY i.indexrelid
  LOOP
    key_checks := key_checks || format(
      E'    IF %s > 1981 THEN RAISE EXCEPTION USING ERRCODE = ''54000'', MESSAGE = ''key size too large''; END IF;\n', index.size);
  END LOOP;

  source := E'DECLARE m text := ''A''; n bigint; extra text;\nBEGIN\n';
  source := source || E'  IF TG_OP = ''DELETE'' THEN\n'
    || format(E'    RAISE NOTICE USING ERRCODE = ''DQ001'', MESSAGE = concat(%L, pg_current_xact_id(), '' '', OLD.ctid, '' - 0 -'' %s, %L);\n    RETURN NULL;\n  END IF;\n',
      'D ' || relation || ' ', replace(old_keys, 'm || ', quote_literal('A') || ' || '), flags || orphans);
  source := source || format(E'  n := %s;\n', columns.bytes)
    || CASE WHEN key_checks = '' THEN '' ELSE E'  IF n > 1700 THEN\n' || key_checks || E'  END IF;\n' END
    || CASE WHEN columns.limits = '' THEN '' ELSE E'  IF n > 1048576 THEN\n' || columns.limits
      || format(E'    IF %s > 2097152 THEN RAISE EXCEPTION USING ERRCODE = ''54000'', MESSAGE = ''maximum row size exceeded''; END IF;\n', columns.stored)
      || E'  END IF;\n' END;
  source := source || E'  IF TG_OP = ''INSERT'' THEN\n'
    || format(E'    RAISE NOTICE USING ERRCODE = ''DQ001'', MESSAGE = concat(%L, pg_current_xact_id(), '' - '', NEW.ctid, '' '', n, '' -'' %s%s, %L, NEW::text);\n    RETURN NULL;\n  END IF;\n',
      'I ' || relation || ' ', new_keys, parents, flags || ' ');
  source := source || CASE changed WHEN '' THEN E'  m := ''B'';\n'
    ELSE format(E'  IF %s THEN extra := concat(''''%s, %L); ELSE m := ''B''; END IF;\n', changed, moved, orphans) END;
  source := source
    || format(E'  RAISE NOTICE USING ERRCODE = ''DQ001'', MESSAGE = concat(%L, pg_current_xact_id(), '' '', OLD.ctid, '' '', NEW.ctid, '' '', n, '' '', m %s, extra%s, %L, NEW::text);\n  RETURN NULL;\nEND',
      'U ' || relation || ' ', replace(old_keys, ', m ||', ', m ||'), parents_moved, flags || ' ');
  RETURN source;
END
$capture_source$;

-- The source of a table's function that gives the entries of a row. It takes the row as text, so
-- that it does not depend on the table's type, which would be in the way of DROP TABLE.
CREATE OR REPLACE FUNCTION pg_dsql.lock_source(relation oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog AS $lock_source$
  SELECT format(E'DECLARE r %s := $1::%s;\nBEGIN RETURN concat(%s); END', relation::regclass, relation::regclass, coalesce(string_agg(
    CASE WHEN present IS NULL THEN entry ELSE format('CASE WHEN %s THEN %s END', present, entry) END, ', '), ''''''))
  FROM (
    SELECT format('$2 || %L || hash_record_extended(ROW(%s), 0) || %L', i.indexrelid || ':',
        string_agg(format('r.%s', pg_dsql.field(a.attname)), ', ' ORDER BY k.n), ',') AS entry,
      CASE WHEN NOT i.indnullsnotdistinct THEN
        string_agg(format('r.%s IS NOT NULL', pg_dsql.field(a.attname)), ' AND ') FILTER (WHERE NOT a.attnotnull) END AS present
    FROM pg_index i
    CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n)
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
    WHERE i.indrelid = relation AND i.indisunique AND i.indislive AND k.n <= i.indnkeyatts
      AND i.indpred IS NULL AND i.indexprs IS NULL
    GROUP BY i.indexrelid, i.indnullsnotdistinct) AS keys
$lock_source$;

-- Everything that the functions of a table depend on, for tables whose functions are up to date.
CREATE TABLE IF NOT EXISTS pg_dsql.captured (relid oid PRIMARY KEY, signature text NOT NULL);
-- The functions may have been made by an older version of this file.
DELETE FROM pg_dsql.captured;

-- Gives every ordinary table its trigger and brings the functions up to date. Run after each DDL.
CREATE OR REPLACE FUNCTION pg_dsql.instrument() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog SET client_min_messages = warning
AS $instrument$
DECLARE
  relation record;
BEGIN
  FOR relation IN
    WITH wanted AS (
      SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS name
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind = 'r' AND c.relpersistence <> 't'
        AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'sys', 'pg_dsql', 'pg_dsql_hidden', 'pg_toast')),
    columns AS (
      SELECT attrelid AS oid, string_agg(concat(attnum, attname, atttypid, atttypmod, attnotnull), ',' ORDER BY attnum) AS parts
      FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped AND attrelid IN (SELECT oid FROM wanted) GROUP BY 1),
    indexes AS (
      SELECT indrelid AS oid, string_agg(concat(indexrelid, indisunique, indisprimary, indislive, indkey, indnullsnotdistinct,
        indpred IS NULL, indexprs IS NULL), ',' ORDER BY indexrelid) AS parts
      FROM pg_index WHERE indrelid IN (SELECT oid FROM wanted) GROUP BY 1),
    references_ AS (
      SELECT u.oid, string_agg(concat(k.oid, k.contype, k.condeferrable, k.conindid), ',' ORDER BY k.oid) AS parts
      FROM pg_constraint k CROSS JOIN LATERAL (SELECT k.conrelid UNION SELECT k.confrelid) AS u(oid)
      WHERE k.contype IN ('f', 'p', 'u') GROUP BY 1),
    signatures AS (
      SELECT w.oid, w.name, md5(concat_ws('|', w.name, c.parts, i.parts, r.parts)) AS signature
      FROM wanted w LEFT JOIN columns c USING (oid) LEFT JOIN indexes i USING (oid) LEFT JOIN references_ r USING (oid))
    SELECT s.*, EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = s.oid AND t.tgname = 'pg_dsql_capture') AS has_trigger
    FROM signatures s LEFT JOIN pg_dsql.captured d ON d.relid = s.oid
    WHERE d.signature IS DISTINCT FROM s.signature
  LOOP
    EXECUTE format('CREATE OR REPLACE FUNCTION pg_dsql.%I() RETURNS trigger LANGUAGE plpgsql AS %L',
      'capture_' || relation.oid, pg_dsql.capture_source(relation.oid));
    EXECUTE format('CREATE OR REPLACE FUNCTION pg_dsql.%I(text, text) RETURNS text LANGUAGE plpgsql AS %L',
      'lock_' || relation.oid, pg_dsql.lock_source(relation.oid));
    IF NOT relation.has_trigger THEN
      EXECUTE format('CREATE TRIGGER pg_dsql_capture AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION pg_dsql.%I()',
        relation.name, 'capture_' || relation.oid);
      -- psql and pg_dump leave internal triggers out.
      UPDATE pg_trigger SET tgisinternal = true WHERE tgrelid = relation.oid AND tgname = 'pg_dsql_capture';
    END IF;
    INSERT INTO pg_dsql.captured VALUES (relation.oid, relation.signature)
    ON CONFLICT (relid) DO UPDATE SET signature = EXCLUDED.signature;
  END LOOP;
  FOR relation IN
    DELETE FROM pg_dsql.captured d WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = d.relid) RETURNING d.relid
  LOOP
    EXECUTE format('DROP FUNCTION IF EXISTS pg_dsql.%I(), pg_dsql.%I(text, text)',
      'capture_' || relation.relid, 'lock_' || relation.relid);
  END LOOP;
END
$instrument$;

-- The table a shadow stands for, or the table itself.
CREATE OR REPLACE FUNCTION pg_dsql.origin(relation oid) RETURNS oid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $origin$
DECLARE original oid;
BEGIN
  IF to_regclass('pg_temp.pg_dsql_shadow') IS NULL THEN RETURN relation; END IF;
  SELECT s.relid INTO original FROM pg_temp.pg_dsql_shadow s WHERE s.shadow = relation;
  RETURN coalesce(original, relation);
END
$origin$;

-- Called once for each row that FOR UPDATE (A) or FOR KEY SHARE (C) asks for.
CREATE OR REPLACE FUNCTION pg_dsql.lock_row(mode text, relation oid, place tid, contents text) RETURNS void
LANGUAGE plpgsql VOLATILE COST 10000 AS $lock_row$
DECLARE
  original oid;
  entries text;
BEGIN
  IF relation IS NULL THEN RETURN; END IF;
  IF current_setting('transaction_read_only')::bool THEN
    RAISE EXCEPTION USING ERRCODE = '25006',
      MESSAGE = format('cannot execute SELECT FOR %s in a read-only transaction', CASE mode WHEN 'A' THEN 'UPDATE' ELSE 'KEY SHARE' END);
  END IF;
  IF NOT has_any_column_privilege(relation, 'UPDATE') THEN
    RAISE EXCEPTION USING ERRCODE = '42501',
      MESSAGE = format('permission denied for table %s', (SELECT relname FROM pg_class WHERE oid = relation));
  END IF;
  original := pg_dsql.origin(relation);
  EXECUTE format('SELECT pg_dsql.%I($1, $2)', 'lock_' || original)
    INTO entries USING contents, mode;
  RAISE NOTICE USING ERRCODE = 'DQ001', MESSAGE = concat('L ', original, ' - ', place, ' - 0 ', mode, entries);
END
$lock_row$;

-- Makes shadow copies of these tables, and of all tables that foreign keys tie to them, as the
-- transaction's snapshot has them. Gives each row's place in the shadow and in the table; a table
-- without rows gives one line without places.
CREATE OR REPLACE FUNCTION pg_dsql.shadow(wanted oid[])
RETURNS TABLE (relid oid, shadow regclass, name text, there tid, origin tid)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog SET client_min_messages = warning SET session_replication_role = replica
SET synchronize_seqscans = off SET max_parallel_workers_per_gather = 0 AS $shadow$
DECLARE
  relation record;
  part record;
  made oid[] := '{}';
  columns text;
  definition text;
  place text;
  shadow_places tid[];
  places tid[];
BEGIN
  IF to_regclass('pg_temp.pg_dsql_shadow') IS NULL THEN
    CREATE TEMP TABLE pg_dsql_shadow (relid oid, shadow oid, name text) ON COMMIT DROP;
  END IF;
  FOR relation IN
    WITH RECURSIVE tied AS (
      SELECT unnest(wanted) AS oid
      UNION
      SELECT CASE k.conrelid WHEN t.oid THEN k.confrelid ELSE k.conrelid END
      FROM tied t JOIN pg_constraint k ON k.contype = 'f' AND t.oid IN (k.conrelid, k.confrelid))
    SELECT c.oid, n.nspname, c.relname, c.relowner, c.relacl,
      CASE WHEN EXISTS (SELECT FROM pg_class o WHERE o.relname = c.relname AND o.oid <> c.oid
          AND o.relkind IN ('r', 'v') AND o.relnamespace <> pg_my_temp_schema())
        THEN left(c.relname, 50) || '_' || c.oid ELSE c.relname END AS shadow_name
    FROM tied t JOIN pg_class c ON c.oid = t.oid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND NOT EXISTS (SELECT FROM pg_temp.pg_dsql_shadow s WHERE s.relid = c.oid)
  LOOP
    place := format('pg_temp.%I', relation.shadow_name);
    EXECUTE format('CREATE TEMP TABLE %I (LIKE %I.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING GENERATED) ON COMMIT DROP',
      relation.shadow_name, relation.nspname, relation.relname);
    made := made || relation.oid;
    INSERT INTO pg_temp.pg_dsql_shadow VALUES (relation.oid, place::regclass, relation.shadow_name);

    SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FILTER (WHERE attgenerated = '') INTO columns
    FROM pg_attribute WHERE attrelid = relation.oid AND attnum > 0 AND NOT attisdropped;
    IF columns IS NULL THEN
      EXECUTE format('INSERT INTO %s SELECT FROM %I.%I', place, relation.nspname, relation.relname);
    ELSE
      EXECUTE format('INSERT INTO %s (%s) SELECT %s FROM %I.%I', place, columns, columns, relation.nspname, relation.relname);
    END IF;
    -- Both in the order of the scan, which the copy has kept.
    EXECUTE format('SELECT array_agg(ctid) FROM %s', place) INTO shadow_places;
    EXECUTE format('SELECT array_agg(ctid) FROM %I.%I', relation.nspname, relation.relname) INTO places;
    IF places IS NULL THEN
      RETURN QUERY SELECT relation.oid, place::regclass, relation.shadow_name::text, NULL::tid, NULL::tid;
    ELSE
      RETURN QUERY SELECT relation.oid, place::regclass, relation.shadow_name::text, u.a, u.b FROM unnest(shadow_places, places) AS u(a, b);
    END IF;

    FOR part IN
      SELECT ic.relname, pg_dsql_hidden.pg_get_indexdef(i.indexrelid) AS definition, k.contype
      FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid
      LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.contype IN ('p', 'u')
      WHERE i.indrelid = relation.oid AND i.indisunique AND i.indislive ORDER BY i.indexrelid
    LOOP
      EXECUTE replace(part.definition, format(' ON %I.%I USING ', relation.nspname, relation.relname), format(' ON %s USING ', place));
      IF part.contype IS NOT NULL THEN
        EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I %s USING INDEX %I', place, part.relname,
          CASE part.contype WHEN 'p' THEN 'PRIMARY KEY' ELSE 'UNIQUE' END, part.relname);
      END IF;
    END LOOP;
    FOR part IN
      SELECT a.attname, pg_get_serial_sequence(format('%I.%I', relation.nspname, relation.relname), a.attname) AS sequence
      FROM pg_attribute a WHERE a.attrelid = relation.oid AND a.attidentity <> '' AND NOT a.attisdropped
    LOOP
      EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET DEFAULT nextval(%L::regclass)', place, part.attname, part.sequence);
    END LOOP;
    EXECUTE format('CREATE TRIGGER pg_dsql_capture AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION pg_dsql.%I()',
      place, 'capture_' || relation.oid);
    UPDATE pg_class SET relowner = relation.relowner, relacl = relation.relacl WHERE oid = place::regclass;
    UPDATE pg_attribute s SET attacl = o.attacl FROM pg_attribute o
    WHERE o.attrelid = relation.oid AND o.attacl IS NOT NULL AND s.attrelid = place::regclass AND s.attname = o.attname;
  END LOOP;

  FOR part IN
    SELECT k.oid, k.conname, k.convalidated, c.name AS child, p.name AS parent,
      format('REFERENCES %I.%I(', n.nspname, r.relname) AS reference
    FROM pg_constraint k
    JOIN pg_temp.pg_dsql_shadow c ON c.relid = k.conrelid
    JOIN pg_temp.pg_dsql_shadow p ON p.relid = k.confrelid
    JOIN pg_class r ON r.oid = k.confrelid JOIN pg_namespace n ON n.oid = r.relnamespace
    WHERE k.contype = 'f' AND k.conrelid = ANY (made)
  LOOP
    definition := replace(pg_dsql_hidden.pg_get_constraintdef(part.oid), part.reference, format('REFERENCES pg_temp.%I(', part.parent));
    EXECUTE format('ALTER TABLE pg_temp.%I ADD CONSTRAINT %I %s%s', part.child, part.conname, definition,
      CASE WHEN part.convalidated THEN ' NOT VALID' ELSE '' END);
  END LOOP;
END
$shadow$;

-- Checks references between shadows that hold between their tables.
CREATE OR REPLACE FUNCTION pg_dsql.check_shadows() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $check_shadows$
DECLARE part record;
BEGIN
  IF to_regclass('pg_temp.pg_dsql_shadow') IS NULL THEN RETURN; END IF;
  FOR part IN
    SELECT s.name, k.conname FROM pg_temp.pg_dsql_shadow s
    JOIN pg_constraint k ON k.conrelid = s.relid AND k.contype = 'f' AND k.convalidated
  LOOP
    EXECUTE format('ALTER TABLE pg_temp.%I VALIDATE CONSTRAINT %I', part.name, part.conname);
  END LOOP;
END
$check_shadows$;

-- A view and the tables and views it is made of: those that others are made of come first.
CREATE OR REPLACE FUNCTION pg_dsql.view_parts(view oid)
RETURNS TABLE (relid oid, qualified text, name text, definition text, options text)
LANGUAGE sql STABLE SET search_path = pg_catalog AS $view_parts$
  WITH RECURSIVE used AS (
    SELECT view AS oid, 1 AS depth
    UNION
    SELECT d.refobjid, u.depth + 1
    FROM used u
    JOIN pg_rewrite r ON r.ev_class = u.oid
    JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
      AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> u.oid)
  SELECT c.oid, format('"%s"."%s"', replace(n.nspname, '"', '""'), replace(c.relname, '"', '""')),
    c.relname::text, CASE c.relkind WHEN 'v' THEN rtrim(pg_get_viewdef(c.oid), ';') END,
    CASE WHEN c.reloptions::text LIKE '%check_option%' THEN ' WITH CHECK OPTION' ELSE '' END
  FROM (SELECT u.oid, max(u.depth) AS depth FROM used u GROUP BY u.oid) u
  JOIN pg_class c ON c.oid = u.oid JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'v') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'sys', 'pg_dsql', 'pg_dsql_hidden')
  ORDER BY u.depth DESC, c.oid
$view_parts$;

-- Writes rows into a table or a shadow without triggers and checks: takes rows away, replaces
-- others, adds new ones, in this order. Rows are of the type of `kind`, in its text form. Gives the
-- places of the added rows, in order.
CREATE OR REPLACE FUNCTION pg_dsql.apply(target regclass, kind regclass, gone tid[], changed tid[], changed_rows text[], fresh text[])
RETURNS SETOF tid
LANGUAGE plpgsql SECURITY DEFINER
SET client_min_messages = warning SET session_replication_role = replica AS $apply$
DECLARE
  columns text;
  contents text;
  settings text;
  done bigint;
BEGIN
  SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY attnum),
    string_agg(format('(v.r).%I', a.attname), ', ' ORDER BY attnum),
    string_agg(format('%I = (v.r).%I', a.attname, a.attname), ', ' ORDER BY attnum) FILTER (WHERE attidentity <> 'a')
  INTO columns, contents, settings
  FROM pg_attribute a WHERE attrelid = kind AND attnum > 0 AND NOT attisdropped AND attgenerated = '';
  IF cardinality(gone) > 0 THEN
    EXECUTE format('DELETE FROM %s WHERE ctid = ANY ($1)', target) USING gone;
    GET DIAGNOSTICS done = ROW_COUNT;
    IF done <> cardinality(gone) THEN RAISE EXCEPTION USING ERRCODE = '40001', MESSAGE = 'row is gone'; END IF;
  END IF;
  IF cardinality(changed) > 0 AND settings IS NOT NULL THEN
    EXECUTE format('UPDATE %s AS t SET %s FROM (SELECT u.place, u.r::%s AS r FROM unnest($1, $2) AS u(place, r) OFFSET 0) AS v WHERE t.ctid = v.place',
      target, settings, kind) USING changed, changed_rows;
    GET DIAGNOSTICS done = ROW_COUNT;
    IF done <> cardinality(changed) THEN RAISE EXCEPTION USING ERRCODE = '40001', MESSAGE = 'row is gone'; END IF;
  END IF;
  IF cardinality(fresh) > 0 THEN
    IF columns IS NULL THEN
      RETURN QUERY EXECUTE format('INSERT INTO %s SELECT FROM unnest($1) RETURNING ctid', target) USING fresh;
    ELSE
      RETURN QUERY EXECUTE format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM (SELECT u.r::%s AS r FROM unnest($1) AS u(r) OFFSET 0) AS v RETURNING ctid',
        target, columns, contents, kind) USING fresh;
    END IF;
  END IF;
END
$apply$;

GRANT USAGE ON SCHEMA pg_dsql TO PUBLIC;
SELECT pg_dsql.instrument();
