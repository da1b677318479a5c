-- Statements that were tried against the isolation beyond the list, in the format of cases.sql.

-- @case A001 | cat=estimate | expect=SAFE | the planner runs LIKE on statistics of all tenants: a pattern that ends in a backslash fails on those that match it so far
SELECT count(*) FROM tree WHERE label LIKE '_1\';
-- @case A002 | cat=estimate | expect=SAFE_OR_REJECT | the same on values of several tenants
SELECT count(*) FROM items WHERE sku LIKE 's_\';
-- @case A003 | cat=estimate | expect=SAFE_OR_REJECT | the pattern is made by a function
SELECT count(*) FROM orders WHERE status LIKE lower('P_I\');
-- @case A004 | cat=estimate | expect=SAFE | one of a list
SELECT count(*) FROM tree WHERE label LIKE ANY (ARRAY['_1\']);
-- @case A005 | cat=estimate | expect=SAFE | the operator's name
SELECT count(*) FROM tree WHERE label ~~* '_1\';
-- @case A006 | cat=estimate | expect=SAFE | in a write
UPDATE tree SET parent = 1 WHERE label LIKE '_1\';
-- @case A007 | cat=catalog | expect=REJECT | a type's name is looked up by comparison
SELECT pg_typeof(1) = 'app.audit_log';
-- @case A008 | cat=loud | expect=SAFE_OR_REJECT | a field that the type does not have
SELECT count(*) FROM orders WHERE extract(foo FROM created_at) = 1 AND id > 100;
-- @case A009 | cat=row | expect=SAFE_OR_REJECT | rows compared as wholes
SELECT count(*) FROM orders o WHERE o = (SELECT x FROM orders x WHERE id = 1);
-- @case A010 | cat=cte | expect=SAFE | a WITH item of a sub-select is not the outer query's
SELECT orders.id FROM (WITH orders AS (SELECT 1) SELECT 1 FROM orders) a, orders ORDER BY 1;
-- @case A011 | cat=insert | expect=SAFE_OR_REJECT | arms of a union
INSERT INTO orders (id) SELECT 500 UNION SELECT 501 RETURNING tenant_id, id;
-- @case A012 | cat=lexical | expect=SAFE | Unicode escapes name the table
SELECT count(*) FROM U&"\006Frders" WHERE tenant_id <> 2;
-- @case A013 | cat=lexical | expect=SAFE | another escape character
SELECT count(*) FROM U&"!006Frders" UESCAPE '!' o;
-- @case A014 | cat=lexical | expect=REJECT | an escaped name of a table that is not declared
SELECT count(*) FROM app.U&"\0061udit_log";
-- @case A015 | cat=lexical | expect=SAFE | Unicode escapes in a string
SELECT count(*) FROM orders WHERE note = U&'note-1-\0031' OR id = 1;
-- @case A016 | cat=lexical | expect=SAFE | a tag of dollar quotes with SQL inside
SELECT count(*), $a$' OR 1=1; SELECT * FROM app.orders --$a$ FROM orders;
-- @case A017 | cat=lexical | expect=SAFE | dollar quotes in dollar quotes
SELECT $a$ $b$ $a$ || count(*)::text FROM orders;
-- @case A018 | cat=lexical | expect=SAFE | nested comments end once
SELECT count(*) /* /* */ FROM app.audit_log -- */ FROM orders;
-- @case A019 | cat=lexical | expect=SAFE | a comment inside a string is none
SELECT count(*), '/*' FROM orders WHERE tenant_id = 1 OR '*/' = '*/';
-- @case A020 | cat=lexical | expect=SAFE | a string that goes on after a line break
SELECT 'a'
' OR true' , count(*) FROM orders;
-- @case A021 | cat=lexical | expect=SAFE | a quote behind a backslash, standard string
SELECT 'a\', count(*) FROM orders WHERE note <> ' OR 1=1 --';
-- @case A022 | cat=lexical | expect=SAFE | escape string with a quote
SELECT E'a\' OR 1=1 --', count(*) FROM orders;
-- @case A023 | cat=lexical | expect=SAFE_OR_REJECT | an invalid surrogate in an escape string
SELECT E'\ud800', count(*) FROM orders;
-- @case A024 | cat=lexical | expect=SAFE | national and bit strings
SELECT N'x', B'101'::text, count(*) FROM orders;
-- @case A025 | cat=lexical | expect=REJECT | a name of 64 bytes is cut to 63, which is no table
SELECT * FROM app.oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo;
-- @case A026 | cat=lexical | expect=SAFE | two aliases that are one when cut to 63 bytes
SELECT count(*) FROM orders aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa WHERE aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.tenant_id <> 2;
-- @case A027 | cat=lexical | expect=REJECT | a dot inside quotes is part of a name
SELECT count(*) FROM "app.orders";
-- @case A028 | cat=lexical | expect=SAFE_OR_REJECT | a quoted alias that looks like a wrap
SELECT count(*) FROM orders "__t1";
-- @case A029 | cat=lexical | expect=SAFE_OR_REJECT | an alias with a quote and SQL in it
SELECT count(*) FROM orders "o"" WHERE true OR ""1""=""1" WHERE tenant_id = 1;
-- @case A030 | cat=lexical | expect=REJECT | the name of the database before it
SELECT count(*) FROM bare.app.orders;
-- @case A031 | cat=lexical | expect=SAFE | a no-break space is part of a name
SELECT count(*) AS "a b" FROM orders;
-- @case A032 | cat=lexical | expect=SAFE | operator glued to a comment
SELECT count(*) FROM orders WHERE id =/**/1 OR id>--x
12;
-- @case A033 | cat=lexical | expect=SAFE | minus minus by a parameter-like literal
SELECT count(*) FROM orders WHERE amount > - -1;
-- @case A034 | cat=lexical | expect=SAFE_OR_REJECT | identifiers that are keywords
SELECT count(*) FROM orders "select" WHERE "select".id = 1;
-- @case A035 | cat=schema | expect=REJECT | search_path
SET search_path = public, app;
-- @case A036 | cat=schema | expect=SAFE | SET LOCAL of the policy's own path
SET LOCAL search_path TO app;
-- @case A037 | cat=schema | expect=REJECT | set_config
SELECT set_config('search_path', 'app', false);
-- @case A038 | cat=schema | expect=REJECT | in a sub-select
SELECT id, (SELECT set_config('search_path', 'app', true)) FROM orders;
-- @case A039 | cat=schema | expect=SAFE | SET SCHEMA, the policy's own
SET SCHEMA 'app';
-- @case A040 | cat=schema | expect=REJECT | role
SET ROLE owner;
-- @case A041 | cat=schema | expect=REJECT | session authorization
SET SESSION AUTHORIZATION postgres;
-- @case A042 | cat=schema | expect=REJECT | CREATE TEMP TABLE that hides one
CREATE TEMP TABLE orders (id int);
-- @case A043 | cat=schema | expect=REJECT | pg_temp
SELECT * FROM pg_temp.orders;
-- @case A044 | cat=schema | expect=REJECT | a schema of the system
SELECT * FROM information_schema.tables;
-- @case A045 | cat=schema | expect=REJECT | a schema of TOAST tables
SELECT * FROM pg_toast.pg_toast_1262;
-- @case A046 | cat=schema | expect=REJECT | an operator of another schema
SELECT count(*) FROM orders WHERE tenant_id OPERATOR(app.=) 2;
-- @case A047 | cat=schema | expect=SAFE | an operator with its own schema
SELECT count(*) FROM orders WHERE tenant_id OPERATOR(pg_catalog.<>) 2;
-- @case A048 | cat=schema | expect=REJECT | a function of another schema
SELECT public.count(*) FROM orders;
-- @case A049 | cat=schema | expect=REJECT | a type of another schema
SELECT note::app.orders FROM orders;
-- @case A050 | cat=function | expect=REJECT | runs a text
SELECT query_to_xml('select * from app.orders', true, true, '') FROM orders;
-- @case A051 | cat=function | expect=REJECT | a table by its name
SELECT table_to_xml('app.orders', true, true, '') FROM orders;
-- @case A052 | cat=function | expect=REJECT | a schema by its name
SELECT schema_to_xml('app', true, true, '') FROM orders;
-- @case A053 | cat=function | expect=REJECT | the database
SELECT database_to_xml(true, true, '') FROM orders;
-- @case A054 | cat=function | expect=REJECT | a cursor by its name
SELECT cursor_to_xml('c', 1, true, true, '') FROM orders;
-- @case A055 | cat=function | expect=REJECT | columns of a text
SELECT query_to_xmlschema('select * from app.orders', true, true, '') FROM orders;
-- @case A056 | cat=function | expect=REJECT | both
SELECT query_to_xml_and_xmlschema('select note from app.orders', true, true, '') FROM orders;
-- @case A057 | cat=function | expect=REJECT | inside another
SELECT xpath('/', query_to_xml('select 1', true, true, '')) FROM orders;
-- @case A058 | cat=function | expect=REJECT | a file
SELECT pg_read_file('/etc/passwd') FROM orders;
-- @case A059 | cat=function | expect=REJECT | a file
SELECT pg_read_binary_file('/etc/passwd') FROM orders;
-- @case A060 | cat=function | expect=REJECT | a folder
SELECT pg_ls_dir('.') FROM orders;
-- @case A061 | cat=function | expect=REJECT | a file
SELECT pg_stat_file('PG_VERSION') FROM orders;
-- @case A062 | cat=function | expect=REJECT | another connection
SELECT dblink('dbname=bare', 'select 1') FROM orders;
-- @case A063 | cat=function | expect=REJECT | a table by its name
SELECT currtid2('app.orders', '(0,1)') FROM orders;
-- @case A064 | cat=function | expect=REJECT | a definition
SELECT pg_get_viewdef('app.v_orders') FROM orders;
-- @case A065 | cat=function | expect=REJECT | a definition
SELECT pg_get_functiondef(1) FROM orders;
-- @case A066 | cat=function | expect=REJECT | an expression
SELECT pg_get_expr('x', 1) FROM orders;
-- @case A067 | cat=function | expect=REJECT | a definition
SELECT pg_get_indexdef(1) FROM orders;
-- @case A068 | cat=function | expect=REJECT | a definition
SELECT pg_get_constraintdef(1) FROM orders;
-- @case A069 | cat=function | expect=REJECT | a name
SELECT pg_get_userbyid(10) FROM orders;
-- @case A070 | cat=function | expect=REJECT | existence
SELECT has_table_privilege('app.audit_log', 'select') FROM orders;
-- @case A071 | cat=function | expect=REJECT | existence
SELECT has_schema_privilege('app', 'usage') FROM orders;
-- @case A072 | cat=function | expect=REJECT | existence
SELECT has_any_column_privilege('app.orders', 'select') FROM orders;
-- @case A073 | cat=function | expect=REJECT | existence
SELECT pg_has_role('owner', 'usage') FROM orders;
-- @case A074 | cat=function | expect=REJECT | existence
SELECT row_security_active('app.orders') FROM orders;
-- @case A075 | cat=function | expect=REJECT | existence
SELECT to_regclass('app.audit_log') FROM orders;
-- @case A076 | cat=function | expect=REJECT | existence
SELECT to_regrole('owner') FROM orders;
-- @case A077 | cat=function | expect=REJECT | a large object
SELECT lo_get(1) FROM orders;
-- @case A078 | cat=function | expect=REJECT | a large object
SELECT lo_from_bytea(0, 'x') FROM orders;
-- @case A079 | cat=function | expect=REJECT | a large object
SELECT lo_import('/etc/passwd') FROM orders;
-- @case A080 | cat=function | expect=REJECT | a large object
SELECT lo_unlink(1) FROM orders;
-- @case A081 | cat=function | expect=REJECT | size
SELECT pg_database_size('bare') FROM orders;
-- @case A082 | cat=function | expect=REJECT | size
SELECT pg_relation_size('app.orders') FROM orders;
-- @case A083 | cat=function | expect=REJECT | size
SELECT pg_total_relation_size('app.orders') FROM orders;
-- @case A084 | cat=function | expect=REJECT | size
SELECT pg_table_size('app.orders') FROM orders;
-- @case A085 | cat=function | expect=REJECT | size
SELECT pg_size_pretty(pg_database_size(1)) FROM orders;
-- @case A086 | cat=function | expect=REJECT | a path
SELECT pg_relation_filepath('app.orders') FROM orders;
-- @case A087 | cat=function | expect=REJECT | size of a value
SELECT pg_column_size(note) FROM orders;
-- @case A088 | cat=function | expect=REJECT | how many rows
SELECT pg_stat_get_live_tuples(1) FROM orders;
-- @case A089 | cat=function | expect=REJECT | what others do
SELECT pg_stat_get_activity(NULL) FROM orders;
-- @case A090 | cat=function | expect=REJECT | how much happens
SELECT txid_current() FROM orders;
-- @case A091 | cat=function | expect=REJECT | how much happens
SELECT pg_current_xact_id() FROM orders;
-- @case A092 | cat=function | expect=REJECT | how much happens
SELECT pg_current_wal_lsn() FROM orders;
-- @case A093 | cat=function | expect=REJECT | a snapshot
SELECT pg_export_snapshot() FROM orders;
-- @case A094 | cat=function | expect=REJECT | a sequence
SELECT nextval('app.s') FROM orders;
-- @case A095 | cat=function | expect=REJECT | a sequence
SELECT lastval() FROM orders;
-- @case A096 | cat=function | expect=REJECT | a sequence
SELECT currval('app.s') FROM orders;
-- @case A097 | cat=function | expect=REJECT | a sequence
SELECT pg_sequence_last_value(1) FROM orders;
-- @case A098 | cat=function | expect=REJECT | a setting
SELECT current_setting('search_path') FROM orders;
-- @case A099 | cat=function | expect=REJECT | settings
SELECT pg_show_all_settings() FROM orders;
-- @case A100 | cat=function | expect=REJECT | keeps a value
SELECT set_config('x.y', note, false) FROM orders;
-- @case A101 | cat=function | expect=REJECT | tells others
SELECT pg_notify('c', note) FROM orders;
-- @case A102 | cat=function | expect=REJECT | a channel
SELECT pg_advisory_lock(1) FROM orders;
-- @case A103 | cat=function | expect=REJECT | a channel
SELECT pg_try_advisory_lock(id) FROM orders;
-- @case A104 | cat=function | expect=REJECT | waits
SELECT pg_sleep(0) FROM orders;
-- @case A105 | cat=function | expect=REJECT | cancels
SELECT pg_cancel_backend(1) FROM orders;
-- @case A106 | cat=function | expect=REJECT | ends
SELECT pg_terminate_backend(1) FROM orders;
-- @case A107 | cat=function | expect=REJECT | a process
SELECT pg_backend_pid() FROM orders;
-- @case A108 | cat=function | expect=REJECT | an address
SELECT inet_server_addr() FROM orders;
-- @case A109 | cat=function | expect=REJECT | the server
SELECT version() FROM orders;
-- @case A110 | cat=function | expect=REJECT | runs a text
SELECT ts_stat('select to_tsvector(note) from app.orders') FROM orders;
-- @case A111 | cat=function | expect=REJECT | runs a text
SELECT ts_rewrite('a'::tsquery, 'select 1') FROM orders;
-- @case A112 | cat=function | expect=REJECT | errors as data
SELECT pg_input_is_valid(note, 'int') FROM orders;
-- @case A113 | cat=function | expect=REJECT | a name
SELECT pg_identify_object(1259, 1, 0) FROM orders;
-- @case A114 | cat=function | expect=REJECT | a name
SELECT pg_describe_object(1259, 1, 0) FROM orders;
-- @case A115 | cat=function | expect=REJECT | a comment
SELECT obj_description(1) FROM orders;
-- @case A116 | cat=function | expect=REJECT | a type
SELECT format_type(23, 1) FROM orders;
-- @case A117 | cat=function | expect=REJECT | an error with its input
SELECT pg_size_bytes(note) FROM orders;
-- @case A118 | cat=function | expect=REJECT | a type
SELECT pg_typeof(id) FROM orders;
-- @case A119 | cat=function | expect=REJECT | a collation
SELECT pg_collation_for(note) FROM orders;
-- @case A120 | cat=function | expect=REJECT | a name
SELECT current_database() FROM orders;
-- @case A121 | cat=function | expect=REJECT | names
SELECT current_schemas(true) FROM orders;
-- @case A122 | cat=function | expect=REJECT | the server
SELECT getdatabaseencoding() FROM orders;
-- @case A123 | cat=function | expect=REJECT | an input function
SELECT regclassin('app.orders') FROM orders;
-- @case A124 | cat=function | expect=REJECT | an input function
SELECT record_in('(1)', 1, 1) FROM orders;
-- @case A125 | cat=function | expect=REJECT | an input function
SELECT int4in('x') FROM orders;
-- @case A126 | cat=function | expect=REJECT | an input function
SELECT array_in('x', 23, -1) FROM orders;
-- @case A127 | cat=function | expect=REJECT | an input function
SELECT domain_in('x', 1, 1) FROM orders;
-- @case A128 | cat=function | expect=REJECT | XML syntax
SELECT xmlserialize(content query_to_xml('select 1', true, true, '') AS text) FROM orders;
-- @case A129 | cat=function | expect=REJECT | XML syntax
SELECT xmlelement(name a, note) FROM orders;
-- @case A130 | cat=function | expect=REJECT | a row type
SELECT json_populate_record(NULL::app.orders, '{}') FROM orders;
-- @case A131 | cat=function | expect=REJECT | a row type
SELECT jsonb_populate_recordset(NULL::app.orders, '[]') FROM orders;
-- @case A132 | cat=function | expect=REJECT | a path
SELECT jsonb_path_query(doc, '$.t') FROM orders;
-- @case A133 | cat=function | expect=REJECT | inside an argument
SELECT generate_series(1, 3, pg_sleep(1)::text::int) FROM orders;
-- @case A134 | cat=function | expect=REJECT | inside an aggregate
SELECT any_value(query_to_xml('x', true, true, '')) FROM orders;
-- @case A135 | cat=function | expect=REJECT | upgrade
SELECT binary_upgrade_set_next_pg_type_oid(1) FROM orders;
-- @case A136 | cat=function | expect=REJECT | writes to the log
SELECT pg_logical_emit_message(true, 'a', note) FROM orders;
-- @case A137 | cat=function | expect=REJECT | administration
SELECT pg_promote() FROM orders;
-- @case A138 | cat=function | expect=REJECT | administration
SELECT pg_reload_conf() FROM orders;
-- @case A139 | cat=function | expect=REJECT | administration
SELECT pg_switch_wal() FROM orders;
-- @case A140 | cat=function | expect=REJECT | administration
SELECT pg_create_restore_point('x') FROM orders;
-- @case A141 | cat=function | expect=REJECT | in FROM
SELECT * FROM query_to_xml('select 1', true, true, '') q;
-- @case A142 | cat=function | expect=REJECT | in FROM, several
SELECT * FROM ROWS FROM (generate_series(1, 2), pg_ls_dir('.')) q;
-- @case A143 | cat=function | expect=REJECT | as a row
SELECT * FROM XMLTABLE('/a' PASSING query_to_xml('select 1', true, true, '') COLUMNS b text);
-- @case A144 | cat=function | expect=REJECT | as a field
SELECT o.query_to_xml FROM orders o;
-- @case A145 | cat=function | expect=REJECT | as a field of the whole row
SELECT (o).pg_typeof FROM orders o;
-- @case A146 | cat=function | expect=REJECT | in LIMIT
SELECT id FROM orders LIMIT (SELECT count(*) FROM app.audit_log);
-- @case A147 | cat=function | expect=REJECT | in OFFSET
SELECT id FROM orders OFFSET pg_backend_pid();
-- @case A148 | cat=function | expect=REJECT | in the default of a window
SELECT lag(note, 1, pg_read_file('x')) OVER (ORDER BY id) FROM orders;
-- @case A149 | cat=function | expect=REJECT | in FILTER
SELECT count(*) FILTER (WHERE pg_ls_dir('.') = '') FROM orders;
-- @case A150 | cat=function | expect=REJECT | in ORDER BY of an aggregate
SELECT string_agg(note, ',' ORDER BY pg_read_file('x')) FROM orders;
-- @case A151 | cat=function | expect=REJECT | in the frame of a window
SELECT sum(amount) OVER (ORDER BY id ROWS pg_backend_pid() PRECEDING) FROM orders;
-- @case A152 | cat=function | expect=REJECT | as an array subscript
SELECT (ARRAY[note])[pg_backend_pid()] FROM orders;
-- @case A153 | cat=function | expect=REJECT | in a sort operator
SELECT id FROM orders ORDER BY id USING OPERATOR(pg_catalog.<);
-- @case A154 | cat=function | expect=REJECT | in COPY
COPY (SELECT pg_read_file('x') FROM orders) TO STDOUT;
-- @case A155 | cat=function | expect=REJECT | current_user
SELECT current_user, session_user, current_catalog, current_schema FROM orders;
-- @case A156 | cat=function | expect=REJECT | a function called by name with arguments
SELECT query_to_xml(query => 'select 1', nulls => true, tableforest => true, targetns => '');
-- @case A157 | cat=function | expect=REJECT | CALL
CALL app.p();
-- @case A158 | cat=function | expect=REJECT | DO
DO $$ BEGIN PERFORM 1; END $$;
-- @case A159 | cat=cast | expect=REJECT | to regclass
SELECT '1'::regclass FROM orders;
-- @case A160 | cat=cast | expect=REJECT | to regproc
SELECT '1'::regproc FROM orders;
-- @case A161 | cat=cast | expect=REJECT | to regprocedure
SELECT '1'::regprocedure FROM orders;
-- @case A162 | cat=cast | expect=REJECT | to regoper
SELECT '1'::regoper FROM orders;
-- @case A163 | cat=cast | expect=REJECT | to regtype
SELECT '1'::regtype FROM orders;
-- @case A164 | cat=cast | expect=REJECT | to regrole
SELECT '1'::regrole FROM orders;
-- @case A165 | cat=cast | expect=REJECT | to regnamespace
SELECT '1'::regnamespace FROM orders;
-- @case A166 | cat=cast | expect=REJECT | to regconfig
SELECT '1'::regconfig FROM orders;
-- @case A167 | cat=cast | expect=REJECT | to oid
SELECT '1'::oid FROM orders;
-- @case A168 | cat=cast | expect=REJECT | to name
SELECT '1'::name FROM orders;
-- @case A169 | cat=cast | expect=REJECT | to xml
SELECT '1'::xml FROM orders;
-- @case A170 | cat=cast | expect=REJECT | to tsvector
SELECT '1'::tsvector FROM orders;
-- @case A171 | cat=cast | expect=REJECT | to tsquery
SELECT '1'::tsquery FROM orders;
-- @case A172 | cat=cast | expect=REJECT | to jsonpath
SELECT '1'::jsonpath FROM orders;
-- @case A173 | cat=cast | expect=REJECT | to pg_lsn
SELECT '1'::pg_lsn FROM orders;
-- @case A174 | cat=cast | expect=REJECT | to xid
SELECT '1'::xid FROM orders;
-- @case A175 | cat=cast | expect=REJECT | to cid
SELECT '1'::cid FROM orders;
-- @case A176 | cat=cast | expect=REJECT | to tid
SELECT '1'::tid FROM orders;
-- @case A177 | cat=cast | expect=REJECT | to refcursor
SELECT '1'::refcursor FROM orders;
-- @case A178 | cat=cast | expect=REJECT | to record
SELECT '1'::record FROM orders;
-- @case A179 | cat=cast | expect=REJECT | to cstring
SELECT '1'::cstring FROM orders;
-- @case A180 | cat=cast | expect=REJECT | to aclitem
SELECT '1'::aclitem FROM orders;
-- @case A181 | cat=cast | expect=REJECT | to inet
SELECT '1'::inet FROM orders;
-- @case A182 | cat=cast | expect=REJECT | to money
SELECT '1'::money FROM orders;
-- @case A183 | cat=cast | expect=REJECT | to pg_snapshot
SELECT '1'::pg_snapshot FROM orders;
-- @case A184 | cat=cast | expect=REJECT | to int4range
SELECT '1'::int4range FROM orders;
-- @case A185 | cat=cast | expect=REJECT | to point
SELECT '1'::point FROM orders;
-- @case A186 | cat=cast | expect=REJECT | to app.orders
SELECT '1'::app.orders FROM orders;
-- @case A187 | cat=cast | expect=REJECT | to app.orders[]
SELECT '1'::app.orders[] FROM orders;
-- @case A188 | cat=cast | expect=REJECT | to unknown
SELECT '1'::unknown FROM orders;
-- @case A189 | cat=cast | expect=REJECT | to "char"
SELECT '1'::"char" FROM orders;
-- @case A190 | cat=cast | expect=REJECT | to pg_node_tree
SELECT '1'::pg_node_tree FROM orders;
-- @case A191 | cat=cast | expect=REJECT | to oidvector
SELECT '1'::oidvector FROM orders;
-- @case A192 | cat=cast | expect=REJECT | to information_schema.sql_identifier
SELECT '1'::information_schema.sql_identifier FROM orders;
-- @case A193 | cat=cast | expect=REJECT | by CAST of a literal
SELECT regclass 'app.audit_log';
-- @case A194 | cat=cast | expect=REJECT | of a type by function syntax
SELECT regclass('app.audit_log');
-- @case A195 | cat=cast | expect=SAFE_OR_REJECT | of a type by function syntax
SELECT int4(note) FROM orders;
-- @case A196 | cat=cast | expect=REJECT | of a field of a column
SELECT orders.note::orders FROM orders;
-- @case A197 | cat=cast | expect=SAFE_OR_REJECT | a whole row to text
SELECT o::text FROM orders o ORDER BY id;
-- @case A198 | cat=cast | expect=SAFE_OR_REJECT | a whole row to json
SELECT to_jsonb(o) FROM orders o ORDER BY id;
-- @case A199 | cat=cast | expect=REJECT | %TYPE
SELECT 1 FROM json_to_record('{}') AS x(a app.orders);
-- @case A200 | cat=cast | expect=SAFE_OR_REJECT | records of known types
SELECT * FROM json_to_record('{"a": 1}') AS x(a int), orders o WHERE o.id = x.a;
-- @case A201 | cat=cast | expect=REJECT | records of a row type
SELECT * FROM json_to_recordset('[]') AS x(a orders);
-- @case A202 | cat=row | expect=SAFE | IS NULL of a row
SELECT count(*) FROM orders o WHERE o IS NOT NULL;
-- @case A203 | cat=row | expect=SAFE | count of rows
SELECT count(o), count(DISTINCT o.tenant_id) FROM orders o;
-- @case A204 | cat=row | expect=SAFE_OR_REJECT | rows in an array
SELECT array_agg(o ORDER BY o.id)::text FROM orders o;
-- @case A205 | cat=row | expect=SAFE_OR_REJECT | comparison of rows with a sub-select
SELECT id FROM orders o WHERE (o.*) = (SELECT x.* FROM orders x WHERE x.id = 3);
-- @case A206 | cat=row | expect=SAFE_OR_REJECT | IN of rows
SELECT id FROM orders WHERE (id, note) IN (SELECT id, 'note-1-' || id FROM customers);
-- @case A207 | cat=row | expect=SAFE | EXISTS of nothing
SELECT EXISTS (SELECT FROM orders WHERE tenant_id <> 2);
-- @case A208 | cat=row | expect=REJECT | (row).*
SELECT (o).* FROM orders o;
-- @case A209 | cat=row | expect=SAFE_OR_REJECT | ROW(t.*)
SELECT ROW(o.*)::text FROM orders o WHERE id = 1;
-- @case A210 | cat=row | expect=SAFE_OR_REJECT | row with an alias of the table itself
SELECT orders FROM orders WHERE id = 1;
-- @case A211 | cat=row | expect=SAFE_OR_REJECT | alias of the function
SELECT x FROM generate_series(1, 2) x, orders WHERE orders.id = x;
-- @case A212 | cat=construct | expect=SAFE | ordinality
SELECT u.o, o.id FROM orders o, unnest(ARRAY[o.id, o.amount]) WITH ORDINALITY u(v, o) WHERE o.id < 3 ORDER BY 1, 2;
-- @case A213 | cat=construct | expect=REJECT | TABLESAMPLE
SELECT count(*) FROM orders TABLESAMPLE SYSTEM (100);
-- @case A214 | cat=construct | expect=SAFE_OR_REJECT | FOR UPDATE of a join
SELECT o.id FROM orders o, customers c WHERE c.id = o.customer_id ORDER BY 1 FOR UPDATE OF o, c;
-- @case A215 | cat=construct | expect=SAFE_OR_REJECT | FOR UPDATE in a sub-select
SELECT count(*) FROM (SELECT id FROM orders FOR UPDATE) q;
-- @case A216 | cat=construct | expect=SAFE_OR_REJECT | FOR UPDATE by a loud condition
SELECT id FROM orders WHERE note::int > 0 FOR UPDATE;
-- @case A217 | cat=construct | expect=REJECT | FOR UPDATE of a shared table
SELECT code FROM countries FOR UPDATE;
-- @case A218 | cat=construct | expect=SAFE_OR_REJECT | FOR UPDATE in a WITH item
WITH x AS (SELECT id FROM orders FOR UPDATE) SELECT count(*) FROM x;
-- @case A219 | cat=construct | expect=SAFE | GROUPING SETS with the tenant column
SELECT tenant_id, status, count(*), grouping(tenant_id, status) FROM orders GROUP BY GROUPING SETS ((tenant_id), (status), ()) ORDER BY 1, 2;
-- @case A220 | cat=construct | expect=SAFE | CUBE
SELECT customer_id, status, sum(amount) FROM orders GROUP BY CUBE (customer_id, status) ORDER BY 1, 2, 3;
-- @case A221 | cat=construct | expect=SAFE | a window over all
SELECT id, count(*) OVER (), rank() OVER (ORDER BY amount DESC NULLS LAST) FROM orders ORDER BY 1;
-- @case A222 | cat=construct | expect=SAFE | a frame that leaves out the row
SELECT id, sum(amount) OVER (ORDER BY id GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING EXCLUDE CURRENT ROW) FROM orders ORDER BY 1;
-- @case A223 | cat=construct | expect=SAFE | a named window over another
SELECT id, count(*) OVER w2 FROM orders WINDOW w AS (PARTITION BY status), w2 AS (w ORDER BY id) ORDER BY 1;
-- @case A224 | cat=construct | expect=SAFE | DISTINCT ON
SELECT DISTINCT ON (customer_id) customer_id, id, tenant_id FROM orders ORDER BY customer_id, id;
-- @case A225 | cat=construct | expect=SAFE | WITH TIES
SELECT id, amount FROM orders ORDER BY status FETCH FIRST 1 ROW WITH TIES;
-- @case A226 | cat=construct | expect=SAFE | VALUES with a sub-select
VALUES ((SELECT count(*) FROM orders)), ((SELECT max(id) FROM customers));
-- @case A227 | cat=construct | expect=SAFE | VALUES in FROM
SELECT v.a, (SELECT count(*) FROM orders o WHERE o.id <= v.a) FROM (VALUES (1), (99)) v(a) ORDER BY 1;
-- @case A228 | cat=construct | expect=SAFE | LATERAL over a set operation
SELECT c.id, l.x FROM customers c, LATERAL (SELECT o.id FROM orders o WHERE o.customer_id = c.id UNION SELECT i.line FROM items i WHERE i.order_id = c.id) l(x) ORDER BY 1, 2;
-- @case A229 | cat=construct | expect=SAFE | USING with an alias
SELECT j.id FROM orders JOIN customers USING (id) AS j ORDER BY 1;
-- @case A230 | cat=construct | expect=SAFE | search and cycle
WITH RECURSIVE t(id, parent) AS (SELECT id, parent FROM tree WHERE id = 1 UNION ALL SELECT c.id, c.parent FROM tree c JOIN t ON c.parent = t.id) SEARCH DEPTH FIRST BY id SET o CYCLE id SET c USING p SELECT id, c FROM t ORDER BY o;
-- @case A231 | cat=construct | expect=SAFE | a sub-select in ORDER BY
SELECT id FROM orders o ORDER BY (SELECT name FROM customers c WHERE c.id = o.customer_id), id;
-- @case A232 | cat=construct | expect=SAFE | a sub-select in LIMIT
SELECT id FROM orders ORDER BY id LIMIT (SELECT count(*) FROM customers);
-- @case A233 | cat=construct | expect=SAFE | a sub-select in a join condition of an outer join
SELECT c.id, o.id FROM customers c LEFT JOIN orders o ON o.id = (SELECT max(i.order_id) FROM items i WHERE i.line = c.id) ORDER BY 1, 2;
-- @case A234 | cat=construct | expect=SAFE | a sub-select in CASE
SELECT CASE WHEN EXISTS (SELECT 1 FROM orders WHERE tenant_id = 1) THEN 'leak' ELSE 'none' END;
-- @case A235 | cat=construct | expect=SAFE | a sub-select in an aggregate
SELECT sum((SELECT count(*) FROM items i WHERE i.order_id = o.id)) FROM orders o;
-- @case A236 | cat=construct | expect=SAFE | a sub-select in FILTER
SELECT count(*) FILTER (WHERE id IN (SELECT order_id FROM items)) FROM orders;
-- @case A237 | cat=construct | expect=SAFE | a sub-select in a function of FROM
SELECT g FROM generate_series(1, (SELECT count(*)::int FROM customers)) g ORDER BY 1;
-- @case A238 | cat=construct | expect=SAFE | ARRAY of a sub-select
SELECT ARRAY(SELECT id FROM orders ORDER BY id);
-- @case A239 | cat=construct | expect=SAFE | = ALL
SELECT 2 = ALL (SELECT tenant_id FROM orders), 2 <> ANY (SELECT tenant_id FROM orders);
-- @case A240 | cat=construct | expect=SAFE | an alias of another table
SELECT orders.id FROM customers orders, orders customers WHERE orders.id = customers.customer_id ORDER BY 1;
-- @case A241 | cat=construct | expect=SAFE | a correlated name that is hidden twice
SELECT id FROM orders o WHERE EXISTS (SELECT 1 FROM customers o WHERE o.ref_by = (SELECT max(o.line) FROM items o)) ORDER BY 1;
-- @case A242 | cat=construct | expect=SAFE | the tenant column of an outer query
SELECT count(*) FROM accounts WHERE id IN (SELECT tenant_id FROM orders);
-- @case A243 | cat=construct | expect=SAFE | an unqualified column that only the outer query has
SELECT id FROM customers WHERE EXISTS (SELECT 1 FROM countries WHERE tenant_id = 2) ORDER BY 1;
-- @case A244 | cat=construct | expect=SAFE_OR_REJECT | a column of the wrap
SELECT __t1.id FROM orders;
-- @case A245 | cat=construct | expect=SAFE_OR_REJECT | a WITH item called like a wrap
WITH __t1 AS (SELECT 1) SELECT * FROM __t1;
-- @case A246 | cat=construct | expect=SAFE_OR_REJECT | a column called like a wrap
SELECT id AS __t1 FROM orders;
-- @case A247 | cat=construct | expect=SAFE_OR_REJECT | SELECT INTO
SELECT * INTO app.copy FROM orders;
-- @case A248 | cat=construct | expect=REJECT | CREATE TABLE AS
CREATE TABLE app.copy AS SELECT * FROM orders;
-- @case A249 | cat=construct | expect=REJECT | a view of it
CREATE VIEW app.copy AS SELECT * FROM orders;
-- @case A250 | cat=construct | expect=REJECT | TRUNCATE
TRUNCATE orders;
-- @case A251 | cat=construct | expect=REJECT | LOCK
LOCK TABLE orders;
-- @case A252 | cat=construct | expect=REJECT | MERGE
MERGE INTO orders o USING customers c ON c.id = o.customer_id WHEN NOT MATCHED BY SOURCE THEN DELETE;
-- @case A253 | cat=construct | expect=REJECT | EXPLAIN ANALYZE
EXPLAIN (ANALYZE, VERBOSE, SETTINGS) SELECT * FROM orders;
-- @case A254 | cat=construct | expect=REJECT | EXPLAIN
EXPLAIN SELECT * FROM orders WHERE note = 'note-1-1';
-- @case A255 | cat=construct | expect=REJECT | COPY FROM
COPY orders FROM STDIN;
-- @case A256 | cat=construct | expect=REJECT | COPY to a program
COPY orders TO PROGRAM 'cat';
-- @case A257 | cat=construct | expect=REJECT | COPY to a file
COPY (SELECT * FROM orders) TO '/tmp/x';
-- @case A258 | cat=construct | expect=SAFE_OR_REJECT | COPY with options
COPY orders (id, note) TO STDOUT (FORMAT csv, HEADER, FORCE_QUOTE *);
-- @case A259 | cat=construct | expect=REJECT | WHERE CURRENT OF
UPDATE orders SET note = 'x' WHERE CURRENT OF c;
-- @case A260 | cat=construct | expect=REJECT | two statements, the second is not open
SELECT 1; SELECT * FROM app.audit_log;
-- @case A261 | cat=construct | expect=REJECT | PREPARE of what is not open
PREPARE p AS SELECT * FROM app.audit_log;
-- @case A262 | cat=construct | expect=SAFE_OR_REJECT | PREPARE with a type
PREPARE p (text) AS SELECT count(*) FROM orders WHERE note LIKE $1; EXECUTE p ('note-1%');
-- @case A263 | cat=construct | expect=REJECT | PREPARE with a type of names
PREPARE p (regclass) AS SELECT $1;
-- @case A264 | cat=construct | expect=SAFE_OR_REJECT | EXECUTE with an expression
PREPARE p (int) AS SELECT count(*) FROM orders WHERE id > $1; EXECUTE p ((SELECT max(id) FROM app.orders));
-- @case A265 | cat=construct | expect=SAFE_OR_REJECT | a cursor
DECLARE c CURSOR FOR SELECT note FROM orders ORDER BY id; FETCH ALL c;
-- @case A266 | cat=construct | expect=REJECT | a cursor that stays
DECLARE c CURSOR WITH HOLD FOR SELECT note FROM orders;
-- @case A267 | cat=construct | expect=SAFE_OR_REJECT | a scrollable cursor
DECLARE c SCROLL CURSOR FOR SELECT id FROM orders ORDER BY id; FETCH LAST c; FETCH PRIOR c; MOVE ABSOLUTE 0 IN c; FETCH 2 c;
-- @case A268 | cat=write | expect=SAFE | a WITH item that writes, read twice
WITH d AS (DELETE FROM items WHERE line = 1 RETURNING order_id) SELECT (SELECT count(*) FROM d), (SELECT count(*) FROM d d2);
-- @case A269 | cat=write | expect=SAFE | a WITH item that writes, not read
WITH d AS (UPDATE tree SET label = 'x') SELECT count(*) FROM orders;
-- @case A270 | cat=write | expect=SAFE | a write that reads what a WITH item wrote
WITH u AS (UPDATE customers SET name = 'x' WHERE id < 3 RETURNING id, tenant_id) DELETE FROM orders USING u WHERE u.id = orders.customer_id RETURNING orders.tenant_id, orders.id;
-- @case A271 | cat=write | expect=SAFE_OR_REJECT | ON CONFLICT with the tenant of the proposed row
INSERT INTO orders (tenant_id, id) VALUES (2, 1) ON CONFLICT (tenant_id, id) DO UPDATE SET tenant_id = excluded.tenant_id, note = 'x';
-- @case A272 | cat=write | expect=ERROR | ON CONFLICT moves the row
INSERT INTO orders (id) VALUES (1) ON CONFLICT (tenant_id, id) DO UPDATE SET tenant_id = 1;
-- @case A273 | cat=write | expect=SAFE_OR_REJECT | ON CONFLICT with a sub-select
INSERT INTO orders (id) VALUES (1) ON CONFLICT (tenant_id, id) DO UPDATE SET note = (SELECT note FROM orders o WHERE o.id = 2 AND o.tenant_id <> 2);
-- @case A274 | cat=write | expect=SAFE_OR_REJECT | ON CONFLICT by a loud condition
INSERT INTO orders (id) VALUES (1) ON CONFLICT (tenant_id, id) DO UPDATE SET note = 'x' WHERE orders.note::int > 0;
-- @case A275 | cat=write | expect=SAFE_OR_REJECT | ON CONFLICT with an index predicate that is loud
INSERT INTO orders (id) VALUES (1) ON CONFLICT (tenant_id, id) WHERE note::int > 0 DO NOTHING;
-- @case A276 | cat=write | expect=SAFE_OR_REJECT | INSERT with an alias
INSERT INTO orders AS o (id, note) VALUES (1, 'y') ON CONFLICT (tenant_id, id) DO UPDATE SET note = o.note || excluded.note RETURNING o.note;
-- @case A277 | cat=write | expect=REJECT | an alias excluded
INSERT INTO orders AS excluded (id) VALUES (1);
-- @case A278 | cat=write | expect=ERROR | UPDATE of several columns, one the tenant
UPDATE orders SET (note, tenant_id) = (SELECT 'x', 1) WHERE id = 1;
-- @case A279 | cat=write | expect=ERROR | UPDATE by ROW, one the tenant
UPDATE orders SET (note, tenant_id) = ROW('x', 1) WHERE id = 1;
-- @case A280 | cat=write | expect=SAFE | UPDATE of several columns by a sub-select
UPDATE orders o SET (note, amount) = (SELECT c.name, c.id FROM customers c WHERE c.id = o.customer_id) WHERE o.id < 5;
-- @case A281 | cat=write | expect=SAFE_OR_REJECT | UPDATE of a part of a column
UPDATE orders SET doc['t'] = '1' WHERE id = 1;
-- @case A282 | cat=write | expect=ERROR | a tenant by arithmetic
INSERT INTO orders (tenant_id, id) VALUES (3 - 2, 900);
-- @case A283 | cat=write | expect=ERROR | a tenant by a sub-select
INSERT INTO orders (tenant_id, id) SELECT min(tenant_id) - 1, 900 FROM orders;
-- @case A284 | cat=write | expect=SAFE_OR_REJECT | a tenant by SELECT *
INSERT INTO orders SELECT * FROM orders ON CONFLICT DO NOTHING;
-- @case A285 | cat=write | expect=SAFE_OR_REJECT | columns in another order
INSERT INTO "Orders" (v, id, tenant_id) SELECT 'q', i, 1 FROM generate_series(50, 52) i;
-- @case A286 | cat=write | expect=SAFE_OR_REJECT | OVERRIDING
INSERT INTO orders (tenant_id, id) OVERRIDING SYSTEM VALUE VALUES (2, 901);
-- @case A287 | cat=write | expect=SAFE_OR_REJECT | DEFAULT of the tenant column
UPDATE orders SET tenant_id = DEFAULT WHERE id = 1;
-- @case A288 | cat=write | expect=REJECT | a shared table
INSERT INTO countries VALUES ('xx', 'X');
-- @case A289 | cat=write | expect=REJECT | a view
UPDATE v_orders SET note = 'x';
-- @case A290 | cat=write | expect=REJECT | a table that is not declared
DELETE FROM audit_log;
-- @case A291 | cat=write | expect=SAFE_OR_REJECT | RETURNING with a sub-select
DELETE FROM tree WHERE id = 1 RETURNING (SELECT count(*) FROM tree), (SELECT max(note) FROM orders);
-- @case A292 | cat=write | expect=REJECT | RETURNING old and new
UPDATE orders SET note = 'x' RETURNING WITH (OLD AS o) o.note;
-- @case A293 | cat=write | expect=SAFE_OR_REJECT | RETURNING a whole row
DELETE FROM tree WHERE id = 1 RETURNING tree;
-- @case A294 | cat=write | expect=REJECT | RETURNING tableoid
DELETE FROM tree WHERE id = 1 RETURNING tableoid, ctid;
-- @case A295 | cat=write | expect=SAFE | DELETE USING itself
DELETE FROM tree t USING tree p WHERE p.id = t.parent AND p.tenant_id <> t.tenant_id;
-- @case A296 | cat=write | expect=SAFE | UPDATE FROM itself
UPDATE orders o SET note = x.note FROM orders x WHERE x.id = o.id AND x.tenant_id = 1;
-- @case A297 | cat=write | expect=SAFE | DELETE by NOT EXISTS over all
DELETE FROM customers c WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = c.id);
-- @case A298 | cat=write | expect=SAFE_OR_REJECT | DELETE by a loud sub-select
DELETE FROM orders WHERE id IN (SELECT id FROM orders WHERE note::date IS NULL);
-- @case A299 | cat=write | expect=SAFE_OR_REJECT | UPDATE ONLY
UPDATE ONLY orders SET note = 'only' WHERE id = 2;
-- @case A300 | cat=write | expect=SAFE_OR_REJECT | UPDATE with an aliased star
UPDATE orders * SET note = 'star' WHERE id = 2;
-- @case A301 | cat=error | expect=ERROR | unique violation
INSERT INTO accounts (id, login) VALUES (1, 'x');
-- @case A302 | cat=error | expect=ERROR | a key of another tenant
INSERT INTO accounts (id, login) VALUES (900, 'login3');
-- @case A303 | cat=error | expect=ERROR | an own row to a key of another
UPDATE accounts SET login = 'login3' WHERE id = (SELECT min(id) FROM accounts);
-- @case A304 | cat=error | expect=ERROR | not null
UPDATE orders SET tenant_id = NULL;
-- @case A305 | cat=error | expect=ERROR | a cast of a text
SELECT note::int FROM orders;
-- @case A306 | cat=error | expect=ERROR | a cast of a text, in the condition
SELECT id FROM orders WHERE note::int = 1;
-- @case A307 | cat=error | expect=ERROR | division
SELECT 1 / (amount - amount) FROM orders WHERE amount IS NOT NULL;
-- @case A308 | cat=error | expect=SAFE_OR_REJECT | division that only rows of others fail at
SELECT id FROM orders WHERE 1 / (amount - 390) < 1 OR amount IS NULL;
-- @case A309 | cat=error | expect=SAFE_OR_REJECT | overflow that only rows of others fail at
SELECT id FROM orders WHERE amount + 2147483300 > 0;
-- @case A310 | cat=error | expect=ERROR | a regular expression of a value
SELECT id FROM orders WHERE 'x' ~ (note || '(');
-- @case A311 | cat=error | expect=SAFE_OR_REJECT | a regular expression that only rows of others fail at
SELECT id FROM orders WHERE 'x' ~ note;
-- @case A312 | cat=error | expect=SAFE_OR_REJECT | LIKE that only rows of others fail at
SELECT id FROM orders WHERE 'note-3-13' LIKE note;
-- @case A313 | cat=error | expect=SAFE_OR_REJECT | a pattern by position
SELECT id FROM orders WHERE substring(note similar '%#"x#"%' escape note) IS NULL;
-- @case A314 | cat=error | expect=ERROR | json of a value
SELECT note::json FROM orders;
-- @case A315 | cat=error | expect=ERROR | a date of a value
SELECT to_date(note, 'YYYY') FROM orders;
-- @case A316 | cat=error | expect=ERROR | a time zone of a value
SELECT created_at AT TIME ZONE note FROM orders;
-- @case A317 | cat=error | expect=ERROR | encode with a value
SELECT encode('x', note) FROM orders;
-- @case A318 | cat=error | expect=ERROR | format with a value
SELECT format(note || '%z') FROM orders;
-- @case A319 | cat=error | expect=ERROR | a sub-select with several rows
SELECT (SELECT note FROM orders);
-- @case A320 | cat=error | expect=ERROR | chr of a value
SELECT chr(-amount) FROM orders WHERE amount > 0;
-- @case A321 | cat=error | expect=ERROR | too long for its type
INSERT INTO orders (id, created_at) SELECT id + 900, note::timestamptz FROM orders;
-- @case A322 | cat=estimate | expect=SAFE_OR_REJECT | a constant that fails, never reached
SELECT id FROM orders WHERE id = -1 AND 1 / 0 = 1;
-- @case A323 | cat=estimate | expect=ERROR | a constant that fails
SELECT id FROM orders WHERE 1 / 0 = 1;
-- @case A324 | cat=estimate | expect=SAFE_OR_REJECT | a constant of a sub-select in an estimate
SELECT id FROM orders WHERE status LIKE (SELECT max(status) || '\' FROM orders);
-- @case A325 | cat=estimate | expect=SAFE_OR_REJECT | a regular expression that fails on statistics
SELECT count(*) FROM orders WHERE status ~ '(' AND id = -1;
-- @case A326 | cat=estimate | expect=SAFE_OR_REJECT | starts with
SELECT count(*) FROM orders WHERE note ^@ 'note-1';
-- @case A327 | cat=estimate | expect=SAFE_OR_REJECT | SIMILAR TO
SELECT count(*) FROM orders WHERE note SIMILAR TO 'note-1%';
-- @case A328 | cat=estimate | expect=SAFE_OR_REJECT | a cast in an estimate
SELECT count(*) FROM orders WHERE amount > '390'::text::int;
-- @case A329 | cat=estimate | expect=SAFE_OR_REJECT | containment in an estimate
SELECT count(*) FROM orders WHERE doc @> '{"t": 1}';
-- @case A330 | cat=estimate | expect=SAFE_OR_REJECT | an array operator in an estimate
SELECT count(*) FROM orders WHERE ARRAY[status] && ARRAY['new'];
-- @case A331 | cat=estimate | expect=SAFE_OR_REJECT | LIKE under NOT, OR and CASE
SELECT count(*) FROM orders WHERE NOT (status LIKE 'pai\' OR CASE WHEN status LIKE 'ne\' THEN true END);
-- @case A332 | cat=estimate | expect=SAFE_OR_REJECT | LIKE in a join condition
SELECT count(*) FROM orders o JOIN customers c ON c.name LIKE 'c1\' AND c.id = o.id;
-- @case A333 | cat=estimate | expect=SAFE_OR_REJECT | LIKE of the tenant column of text
SELECT count(*) FROM docs_t WHERE tenant_id LIKE 'acme1\';
-- @case A334 | cat=estimate | expect=SAFE_OR_REJECT | LIKE with another escape character
SELECT count(*) FROM tree WHERE label LIKE '_1!' ESCAPE '!';
-- @case A335 | cat=estimate | expect=SAFE_OR_REJECT | ILIKE with another escape character
SELECT count(*) FROM tree WHERE label ILIKE '_1!' ESCAPE '!';
-- @case A336 | cat=estimate | expect=SAFE_OR_REJECT | LIKE on a column under COLLATE
SELECT count(*) FROM tree WHERE label COLLATE "C" LIKE '_1\';
-- @case A337 | cat=estimate | expect=SAFE_OR_REJECT | LIKE on a cast
SELECT count(*) FROM orders WHERE status::text LIKE 'pai\';
-- @case A338 | cat=estimate | expect=SAFE_OR_REJECT | LIKE ALL
SELECT count(*) FROM tree WHERE label NOT LIKE ALL (ARRAY['_1\', '_3\']);
-- @case A339 | cat=estimate | expect=SAFE_OR_REJECT | LIKE in HAVING on a grouping column
SELECT status FROM orders GROUP BY status HAVING status LIKE 'pai\';
-- @case A340 | cat=estimate | expect=SAFE_OR_REJECT | LIKE against a column of a sub-select
SELECT count(*) FROM (SELECT label AS l FROM tree) t WHERE t.l LIKE '_1\';
-- @case A341 | cat=estimate | expect=SAFE_OR_REJECT | LIKE in a view
SELECT count(*) FROM v_orders WHERE status LIKE 'pai\';
-- @case A342 | cat=estimate | expect=SAFE_OR_REJECT | a loud condition and LIMIT
SELECT id FROM orders WHERE note::int > 0 LIMIT 0;
-- @case A343 | cat=estimate | expect=SAFE_OR_REJECT | min and max by index
SELECT min(amount), max(amount) FROM orders WHERE customer_id = 3;
-- @case A344 | cat=estimate | expect=SAFE_OR_REJECT | an index expression
SELECT id FROM orders WHERE id = ANY (SELECT amount / 10 FROM orders);
-- @case A345 | cat=estimate | expect=SAFE_OR_REJECT | BETWEEN SYMMETRIC
SELECT count(*) FROM orders WHERE amount BETWEEN SYMMETRIC 500 AND 1;
-- @case A346 | cat=names | expect=REJECT | pg_stats
SELECT most_common_vals FROM pg_stats;
-- @case A347 | cat=names | expect=REJECT | pg_stats with its schema
SELECT * FROM pg_catalog.pg_stats;
-- @case A348 | cat=names | expect=REJECT | in quotes
SELECT * FROM "pg_catalog"."pg_statistic";
-- @case A349 | cat=names | expect=REJECT | pg_stat_activity
SELECT query FROM pg_stat_activity;
-- @case A350 | cat=names | expect=REJECT | pg_prepared_statements
SELECT statement FROM pg_prepared_statements;
-- @case A351 | cat=names | expect=REJECT | pg_class
SELECT reltuples FROM pg_class;
-- @case A352 | cat=names | expect=REJECT | in a WITH item of the same name
WITH pg_stats AS (SELECT 1) SELECT * FROM pg_stats;
-- @case A353 | cat=names | expect=REJECT | a WITH item hides only names without a schema
WITH audit_log AS (SELECT 1 AS id) SELECT * FROM app.audit_log;
-- @case A354 | cat=names | expect=SAFE | a WITH item called like a table that is not declared
WITH audit_log AS (SELECT 1 AS id) SELECT * FROM audit_log;
-- @case A355 | cat=names | expect=REJECT | TABLE
TABLE app.audit_log;
-- @case A356 | cat=names | expect=REJECT | the type of a table in FROM
SELECT * FROM app.orders_pkey;
-- @case A357 | cat=names | expect=REJECT | system columns
SELECT ctid, xmin, tableoid FROM orders;
-- @case A358 | cat=names | expect=REJECT | system columns with an alias
SELECT o.tableoid FROM orders o;
-- @case A359 | cat=names | expect=SAFE_OR_REJECT | a column of the outer query called like a system column
SELECT (SELECT xmin FROM (SELECT 1 AS xmin) q) FROM orders;
-- @case A360 | cat=names | expect=SAFE_OR_REJECT | SHOW of what is not open
SHOW search_path;
-- @case A361 | cat=names | expect=REJECT | SHOW ALL
SHOW ALL;
-- @case A362 | cat=names | expect=REJECT | LISTEN
LISTEN c;
-- @case A363 | cat=names | expect=REJECT | NOTIFY
NOTIFY c, 'x';
-- @case A364 | cat=names | expect=REJECT | COMMENT
COMMENT ON TABLE app.orders IS 'x';
-- @case A365 | cat=names | expect=REJECT | GRANT
GRANT SELECT ON app.orders TO tenant_2;
-- @case A366 | cat=names | expect=REJECT | VACUUM
VACUUM app.orders;
-- @case A367 | cat=names | expect=REJECT | ANALYZE
ANALYZE app.orders;
-- @case A368 | cat=names | expect=REJECT | SECURITY LABEL
SECURITY LABEL ON TABLE app.orders IS 'x';
-- @case A369 | cat=names | expect=REJECT | LOAD
LOAD 'x';
-- @case A370 | cat=names | expect=REJECT | a two-phase transaction
PREPARE TRANSACTION 'x';
-- @case A371 | cat=names | expect=REJECT | ALTER SYSTEM
ALTER SYSTEM SET row_security = off;
-- @case A372 | cat=names | expect=REJECT | REASSIGN
REASSIGN OWNED BY owner TO tenant_2;
-- @case A373 | cat=names | expect=REJECT | REFRESH
REFRESH MATERIALIZED VIEW app.m;
-- @case A374 | cat=names | expect=REJECT | IMPORT FOREIGN SCHEMA
IMPORT FOREIGN SCHEMA s FROM SERVER x INTO app;
-- @case A375 | cat=functions | expect=SAFE | several arrays in one unnest are several functions
SELECT * FROM unnest(ARRAY[1, 2], ARRAY['a', 'b', 'c']) AS u(x, y);
-- @case A376 | cat=functions | expect=SAFE | the names of its columns
SELECT * FROM unnest(ARRAY[1], ARRAY[2]) AS x;
-- @case A377 | cat=functions | expect=SAFE | rows of arrays go in
INSERT INTO "Orders" (id, v) SELECT * FROM unnest(ARRAY[601, 602], ARRAY['a', 'b']) RETURNING *;
-- @case A378 | cat=functions | expect=SAFE | of a row before it, numbered
SELECT o.id, u.* FROM orders o, unnest(ARRAY[o.id, 7], ARRAY[o.note]) WITH ORDINALITY u ORDER BY 1, 4;
-- @case A379 | cat=functions | expect=SAFE | beside another function
SELECT * FROM ROWS FROM (unnest(ARRAY[1, 2], ARRAY[3, 4]), generate_series(1, 3)) x;
-- @case A380 | cat=functions | expect=ERROR | with its schema it is a function of one argument
SELECT * FROM pg_catalog.unnest(ARRAY[1], ARRAY[2]);
-- @case A381 | cat=setting | expect=SAFE | strings as they are
SET standard_conforming_strings = on;
-- @case A382 | cat=setting | expect=REJECT | strings as they are not
SET standard_conforming_strings = off;
-- @case A383 | cat=setting | expect=SAFE | the path of the policy
SET search_path TO app; SELECT count(*) FROM orders;
-- @case A384 | cat=setting | expect=REJECT | the path of the policy and more
SET search_path TO app, public;
-- @case A385 | cat=setting | expect=REJECT | an encoding in which a quote may be the second byte
SET client_encoding TO 'SJIS';
-- @case A386 | cat=setting | expect=REJECT | names of an encoding
SET NAMES 'LATIN1';
-- @case A387 | cat=match | expect=SAFE | a sub-select in DISTINCT ON and in the results
SELECT DISTINCT ON ((SELECT count(*) FROM items i WHERE i.order_id = o.id)) (SELECT count(*) FROM items i WHERE i.order_id = o.id), o.id FROM orders o ORDER BY 1, 2;
-- @case A388 | cat=match | expect=SAFE | a sub-select in GROUP BY and in the results
SELECT (SELECT max(c.name) FROM customers c WHERE c.id = o.customer_id), count(*) FROM orders o GROUP BY (SELECT max(c.name) FROM customers c WHERE c.id = o.customer_id) ORDER BY 1;
-- @case A389 | cat=match | expect=SAFE | a sub-select in GROUP BY and in HAVING
SELECT count(*) FROM orders o GROUP BY (SELECT max(c.id) FROM customers c WHERE c.id = o.customer_id) HAVING (SELECT max(c.id) FROM customers c WHERE c.id = o.customer_id) > 3 ORDER BY 1;
-- @case A390 | cat=row | expect=SAFE_OR_REJECT | a whole row under other names of columns
SELECT row_to_json(o) FROM tree AS o(a, b, c, d);
-- @case A391 | cat=row | expect=SAFE_OR_REJECT | the same by a star
SELECT to_jsonb(o.*) FROM tree AS o(a, b, c, d);
-- @case A392 | cat=row | expect=SAFE_OR_REJECT | the same from a sub-select
SELECT to_json(q.r) FROM (SELECT o AS r FROM tree AS o(a, b, c, d)) q;
-- @case A393 | cat=row | expect=SAFE_OR_REJECT | the same in an array
SELECT to_json(ARRAY[o]) FROM v_orders AS o(a, b);
-- @case A394 | cat=insert | expect=ERROR | more values than columns
INSERT INTO tree (id) VALUES (700, 1);
-- @case A395 | cat=insert | expect=ERROR | less values than columns
INSERT INTO tree (id, parent) VALUES (700);
-- @case A396 | cat=insert | expect=ERROR | rows of several widths
INSERT INTO tree (id, parent) VALUES (700, 1), (701, 2, 3);
-- @case A397 | cat=insert | expect=ERROR | more results than columns
INSERT INTO tree (id) SELECT id + 700, 1 FROM orders;
-- @case A398 | cat=insert | expect=ERROR | more results than columns by a star
INSERT INTO tree (id) SELECT * FROM (SELECT 700, 1) q;
-- @case A399 | cat=insert | expect=ERROR | arms of several widths
INSERT INTO tree (id, parent) SELECT 700, 1 UNION SELECT 701;
-- @case A400 | cat=names | expect=SAFE | columns that have each other's names, and a loud condition
SELECT t.parent, t.id FROM tree AS t(tenant_id, parent, id, label) WHERE t.id = 2 AND 'x' !~ t.label ORDER BY 1;
-- @case A401 | cat=names | expect=SAFE | the same on the side of an outer join that may be missing
SELECT c.id, t.parent FROM customers c LEFT JOIN tree AS t(tenant_id, parent, id, label) ON t.id = c.id WHERE t.parent = 4 AND 'x' !~ t.label ORDER BY 1, 2;
-- @case A402 | cat=loud | expect=REJECT | arithmetic may fail on rows of others: a fence would lock all of the tenant's
SELECT id FROM orders WHERE 1 / (amount - 10) > 0 FOR UPDATE;
-- @case A403 | cat=loud | expect=REJECT | the same by one operator alone
SELECT id FROM orders WHERE 1 / amount > 0 FOR UPDATE;
-- @case A404 | cat=construct | expect=SAFE | the side of an outer join that may be missing, grouped by its key
SELECT o.id, count(c.id) FROM customers c LEFT JOIN orders o ON o.customer_id = c.id AND o.amount > 60 GROUP BY o.tenant_id, o.id ORDER BY 1;
-- @case A405 | cat=construct | expect=SAFE | the same on the other side
SELECT o.id, count(c.id) FROM orders o RIGHT JOIN customers c ON o.customer_id = c.id AND o.amount > 60 GROUP BY o.tenant_id, o.id ORDER BY 1;
-- @case A406 | cat=names | expect=SAFE | a window whose name needs quotes
SELECT id, rank() OVER "W w" FROM orders WINDOW "W w" AS (ORDER BY amount) ORDER BY 1;
-- @case A407 | cat=loud | expect=SAFE | a loud condition of one table, grouped and cut off
SELECT customer_id, count(*) FROM orders WHERE 1000 / (amount - 5) > 1 GROUP BY customer_id ORDER BY 1 LIMIT 3;
-- @case A408 | cat=loud | expect=SAFE | one that fails on rows of others, in a cursor's, a copied and an explained query
COPY (SELECT id FROM orders WHERE id < 4 AND 1 / (amount - 10) < 1 ORDER BY id DESC LIMIT 2) TO STDOUT;
-- @case A409 | cat=names | expect=SAFE_OR_REJECT | a column that is called like a table of a view that comes behind it
SELECT o.id FROM (SELECT id, amount AS orders FROM orders) o WHERE orders IS DISTINCT FROM 20 AND o.id IN (SELECT id FROM v_orders) ORDER BY 1;
-- @case A410 | cat=names | expect=SAFE_OR_REJECT | the same in a write
WITH x AS (UPDATE tree SET label = 'x' WHERE (parent, id) = (2, 4) RETURNING id) SELECT v.id FROM v_orders v LEFT JOIN x ON x.id = v.id WHERE orders IS NULL ORDER BY 1;
-- @case A411 | cat=ddl | expect=REJECT | a composite type, which is a view
CREATE TYPE app.pair AS (a int, b text);
-- @case A412 | cat=ddl | expect=REJECT | a table's row type is no type of one's own
DROP TYPE IF EXISTS app.orders CASCADE;
-- @case A413 | cat=ddl | expect=REJECT | its attributes
ALTER TYPE app.orders ADD ATTRIBUTE x int;
-- @case A414 | cat=row | expect=REJECT | a value of a table's row type
SELECT (json_populate_record(NULL::app.orders, '{"id": 1}')).id;
