#!/bin/sh
# psql: meta commands, variables, COPY both ways, \gdesc, \watch-free scripts, errors that stop.
set -eu
quiet() { psql -X -q -A -t -v ON_ERROR_STOP=1 "$@"; }
equals() { [ "$1" = "$2" ] || { echo "expected '$2', got '$1'" >&2; exit 1; }; }

quiet -c 'drop table if exists client_psql' -c 'create table client_psql (id int primary key, name text)' 2>/dev/null
printf '1\tone\n2\ttwo\n' | quiet -c '\copy client_psql from stdin'
equals "$(quiet -c 'select string_agg(name, $$,$$ order by id) from client_psql')" "one,two"
equals "$(quiet -c '\copy (select id from client_psql order by id) to stdout' | tr '\n' ' ')" "1 2 "
equals "$(quiet -c 'select 1; select 2' | tr '\n' ' ')" "1 2 "
printf 'select 1/0;\nselect 2;\n' | quiet 2>/dev/null && { echo "an error did not stop psql" >&2; exit 1; }
equals "$(quiet -1 -c "insert into client_psql values (3, 'three')" -c 'select count(*) from client_psql')" "3"
quiet -1 -c "insert into client_psql values (4, 'four')" -c 'select 1/0' 2>/dev/null && exit 1
equals "$(quiet -c 'select count(*) from client_psql')" "3"
quiet -c '\d client_psql' | grep -q 'name|text'
quiet -c '\dt' | grep -q client_psql
quiet -c '\l' >/dev/null
printf 'select id, name from client_psql \\gdesc\n' | quiet | grep -q 'name|text'
printf '\\set FETCH_COUNT 10\nselect generate_series(1, 95);\n' | quiet | wc -l | grep -q 95
printf 'begin;\nset local work_mem = $$9MB$$;\nshow work_mem;\ncommit;\nshow work_mem;\n' | quiet | tr '\n' ' ' | grep -q '^9MB '
printf '\\conninfo\n' | psql -X | grep -q "port"
equals "$(PGOPTIONS='-c work_mem=5MB' quiet -c 'show work_mem')" "5MB"
equals "$(PGTZ=Asia/Tokyo PGCLIENTENCODING=LATIN1 quiet -c 'show timezone')" "Asia/Tokyo"
pg_dump --version >/dev/null 2>&1 && pg_dump -t client_psql | grep -q 'COPY public.client_psql'
psql --version
