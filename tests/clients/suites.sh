#!/usr/bin/env bash
# Programs and test suites of others, unmodified, through the proxy in front of the emulated cluster, and
# on plain PostgreSQL: prints what passed there and here.
#
#   tests/clients/suites.sh [SUITE...]     psql pgbench dump jdbc node psycopg2 asyncpg pgcli libpq
#                                          rails django sqlalchemy wagtail; without any, all of them
#   SUITES_SIDE=proxy|plain                only one of the two
#   SUITES_QUIET=yes                       without the first words of each failure
#   SUITES_KEEP=FOLDER                     where what the suites print is kept
#
# It fails when less passes than suites/least.txt says. What they need is installed once, under ${XDG_CACHE_HOME:-~/.cache}/dsql-proxy/suites.
set -euo pipefail
here=$(cd "$(dirname "$0")/suites" && pwd)
root=$(cd "$here/../../.." && pwd)
cd "$root"

cache=${XDG_CACHE_HOME:-$HOME/.cache}/dsql-proxy/suites
jdbc=/usr/share/java/postgresql.jar
binary=${CARGO_TARGET_DIR:-target}/debug/dsql-proxy
all=(psql pgbench dump jdbc node psycopg2 asyncpg pgcli libpq rails wagtail django sqlalchemy)
modules=(transactions queries migrations schema backends introspection inspectdb bulk_create get_or_create
    constraints indexes expressions aggregation lookup basic update many_to_many foreign_object ordering)
state='' dev='' proxy='' plain=''

stop() {
    local pid
    [ -z "$plain" ] || kill -INT "$plain" 2>/dev/null || true
    for pid in $proxy $dev; do
        kill -TERM "$pid" 2>/dev/null || true
    done
    for pid in $proxy $dev $plain; do
        wait "$pid" 2>/dev/null || timeout 20 tail --pid="$pid" -f /dev/null || kill -KILL "$pid" 2>/dev/null || true
    done
    [ -z "$state" ] || rm -rf "$state"
}
trap stop EXIT
trap 'exit 130' INT TERM HUP

fail() {
    echo "suites: $*" >&2
    exit 1
}

as_postgres() {
    if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi
}

member() {
    sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" <<<"$ready"
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

start_plain() {
    local bin
    bin=$(find /usr/lib/postgresql/*/bin -name initdb | sort -V | tail -n 1 | xargs dirname)
    plain_port=$(free_port)
    mkdir "$state/plain"
    [ "$(id -u)" != 0 ] || chown postgres "$state/plain"
    as_postgres "$bin/initdb" -D "$state/plain/data" -U app -A trust --no-sync --locale=C -E UTF8 >"$state/initdb.log"
    as_postgres "$bin/postgres" -D "$state/plain/data" -p "$plain_port" -k "$state/plain" -c fsync=off \
        -c full_page_writes=off -c max_connections=200 -c timezone=UTC >"$state/plain.log" 2>&1 &
    plain=$!
    until "$bin/pg_isready" -q -h 127.0.0.1 -p "$plain_port"; do
        kill -0 "$plain" 2>/dev/null || fail "PostgreSQL did not start: $(tail -n 3 "$state/plain.log")"
        sleep 0.1
    done
    # Of the user's server only the child can be stopped by a signal.
    [ "$(id -u)" != 0 ] || plain=$(head -n 1 "$state/plain/data/postmaster.pid")
}

start_proxy() {
    [ -x "$binary" ] || cargo build --locked
    local any=127.0.0.1:0
    exec {stdout}< <(exec "$binary" dev --dir "$state/dev" --listen $any --admin $any --emulator-listen $any \
        --emulator-admin $any --print-json 2>"$state/dev.log")
    dev=$!
    read -r -t 120 ready <&"$stdout" || true
    [ -n "${ready:-}" ] || { cat "$state/dev.log" >&2; fail "the emulator did not start"; }
    backing=$(member postgres)
    # Beside the configuration of dev, whose files it names.
    local config
    config=$(dirname "$(member config)")/suites.yaml
    local entry='cluster: main, upstream_database: postgres, dialect: compat, ddl_in_transaction: split, large_dml: batch, table_rebuild: rebuild'
    (
        umask 077
        sed -e 's/^listen: .*/listen: {address: "127.0.0.1:0"}\nworkers: 1\nlog: {format: json}/' -e '/^admin: /d' \
            -e 's/^  main:$/&\n    pool: {size: 20, wait_timeout: 20s}/' \
            -e "s/^databases:$/&\n  suite: {$entry}\n  suite2: {$entry}\n  postgres: {$entry}/" \
            -e 's/{name: app, password: app, databases: \[/&suite, suite2, postgres, /' "$(member config)" >"$config"
    )
    : >"$state/proxy.log"
    "$binary" run --config "$config" >/dev/null 2>"$state/proxy.log" &
    proxy=$!
    proxy_port=''
    for _ in $(seq 200); do
        proxy_port=$(sed -n 's/.*"address":"[^":]*:\([0-9]*\)".*/\1/p' "$state/proxy.log" | head -n 1)
        [ -z "$proxy_port" ] || break
        kill -0 "$proxy" 2>/dev/null || break
        sleep 0.1
    done
    [ -n "$proxy_port" ] || { cat "$state/proxy.log" >&2; fail "the proxy did not start"; }
}

# Sets libpq's variables for a side, and empties its database.
turn_to() {
    side=$1
    export PGHOST=127.0.0.1 PGUSER=app PGPASSWORD=app PGDATABASE=suite PGSSLMODE=disable PGCONNECT_TIMEOUT=20
    if [ "$side" = plain ]; then
        export PGPORT=$plain_port
        local name
        for name in suite suite2; do
            psql -Xq -d postgres -c "drop database if exists $name with (force)" -c "create database $name" 2>/dev/null
        done
    else
        export PGPORT=$proxy_port
        psql -Xq -d "$backing" -f "$root/tests/corpus/empty.sql" 2>"$state/empty.log" || cat "$state/empty.log"
    fi
    export SUITE_URL="postgres://$PGUSER:$PGPASSWORD@$PGHOST:$PGPORT/$PGDATABASE"
    mkdir -p "$state/$side"
    kept=${SUITES_KEEP:-$state/kept}
    mkdir -p "$kept"
}

# Each suite prints "passed total" in its last line; what is seen besides goes to its log.

count_of=0 passed_of=0
try() {
    local name=$1
    shift
    count_of=$((count_of + 1))
    local limit=(timeout -k 5 "${patience:-60}")
    [ "$(type -t "$1")" != function ] || limit=()
    if "${limit[@]}" "$@" >"$state/try" 2>&1 && ! { [ -z "${quiet:-}" ] && grep -q -E "(^|: )(ERROR|FATAL):" "$state/try"; }; then
        passed_of=$((passed_of + 1))
    else
        echo "--- $name"
        grep -E -i "error|fatal" "$state/try" | head -n 3
    fi
}

tried() {
    echo "$passed_of $count_of"
    count_of=0 passed_of=0
}

suite_psql() {
    psql -Xq -f "$here/setup.sql"
    local line
    while IFS= read -r line; do
        try "$line" psql -Xq -v ON_ERROR_STOP=1 -f <(printf '%s\n' "${line/ \\\\ /$'\n'}")
    done <"$here/psql.txt"
    tried
}

suite_pgbench() {
    patience=300
    try initialise "$pg_bin/pgbench" -i -s1 -q
    try simple "$pg_bin/pgbench" -c2 -t5
    try prepared "$pg_bin/pgbench" -c2 -t5 -M prepared
    try extended "$pg_bin/pgbench" -c2 -t5 -M extended -N
    tried
}

# What a plain server dumps of the shop goes into this side, as it is and as lint makes it, and must be the
# same there; then this side is dumped.
suite_dump() {
    local source=$state/$side/source
    PGPORT=$plain_port PGDATABASE=postgres psql -Xq -c 'drop database if exists source' -c 'create database source'
    PGPORT=$plain_port psql -Xq -v ON_ERROR_STOP=1 -d source -f "$here/shop.sql"
    PGPORT=$plain_port pg_dump -d source -s -f "$source.schema.sql"
    PGPORT=$plain_port pg_dump -d source -f "$source.sql"
    PGPORT=$plain_port pg_dump -Fc -d source -f "$source.dump"
    contents "$plain_port" source >"$source.contents"
    "$binary" lint --fix "$source.sql" >"$source.fixed.sql" || true
    try 'schema with psql' psql -Xq -v ON_ERROR_STOP=1 -f "$source.schema.sql"
    empty
    try 'all with psql' psql -Xq -v ON_ERROR_STOP=1 -f "$source.sql"
    try 'the same contents' same_contents
    empty
    try 'all with pg_restore' pg_restore --exit-on-error -d suite "$source.dump"
    try 'the same contents' same_contents
    empty
    [ "$side" = proxy ] || cp "$source.sql" "$source.fixed.sql"
    try 'as lint makes it' psql -Xq -v ON_ERROR_STOP=1 -f "$source.fixed.sql"
    try 'the same contents' same_contents
    try 'pg_dump of the schema' pg_dump --schema-only -f "$state/$side/schema.sql"
    try 'pg_dump of the data' pg_dump --data-only -f "$state/$side/data.sql"
    try 'pg_dump -Fc' pg_dump -Fc -f "$state/$side/dump"
    try 'as many rows' test "$(grep -c . "$state/$side/data.sql")" -ge 38000
    cp "$source".*sql "$kept/" 2>/dev/null || true
    tried
}

empty() {
    if [ "$side" = plain ]; then
        psql -Xq -d postgres -c 'drop database suite with (force)' -c 'create database suite'
    else
        psql -Xq -d "$backing" -f "$root/tests/corpus/empty.sql" 2>>"$state/empty.log"
    fi
}

# contents PORT DATABASE: a line for each table, with its rows in one number.
contents() {
    local table
    for table in regions countries cities addresses suppliers categories products warehouses stock sales.customers \
        sales.employees sales.orders sales.lines sales.payments sales.reviews sales.log; do
        PGTZ=UTC PGPORT=$1 psql -XAtq -d "$2" \
            -c "select '$table', count(*), md5(string_agg(t::text, '|' order by t::text)) from $table t"
    done
}

same_contents() {
    contents "$PGPORT" suite >"$state/contents"
    diff "$state/$side/source.contents" "$state/contents"
}

suite_jdbc() {
    local quiet=yes
    javac -encoding UTF-8 -cp "$jdbc" -d "$state/java" "$here/JdbcMeta.java"
    psql -Xq -f "$here/setup.sql"
    local mode
    for mode in meta autosave; do
        try "$mode" java -Xshare:auto -XX:TieredStopAtLevel=1 -cp "$jdbc:$state/java" JdbcMeta "$mode"
    done
    tried
}

suite_node() {
    local quiet=yes
    [ -d "$cache/node/node_modules" ] || install_node
    cp "$here/clients.js" "$cache/node/clients.js"
    local name
    for name in pg postgresjs knex sequelize typeorm pgpromise kysely; do
        try "$name" node "$cache/node/clients.js" "$name"
    done
    mkdir -p "$cache/node/$side"
    cp "$here/drizzle_schema.ts" "$cache/node/schema.ts"
    cat >"$cache/node/drizzle.config.js" <<CONFIG
module.exports = {dialect: 'postgresql', schema: './schema.ts', out: './drizzle-$side', dbCredentials: {url: process.env.SUITE_URL}}
CONFIG
    rm -rf "$cache/node/drizzle-$side"
    local step
    for step in generate migrate pull 'push --force'; do
        # shellcheck disable=SC2086
        try "drizzle-kit $step" env -C "$cache/node" npx --no-install drizzle-kit $step
    done
    tried
}

suite_pgcli() {
    try pgcli bash -c "printf 'select 1;\n\\\\dt\n' | '$cache/venv/bin/pgcli' -h $PGHOST -p $PGPORT -U $PGUSER $PGDATABASE"
    tried
}

suite_rails() {
    timeout 300 ruby "$here/active_record.rb" 2>&1
}

# The counts of unittest: tests that ran, less those that failed or were skipped.
unittest_counts() {
    python3 - "$1" <<'PY'
import re, sys
text = open(sys.argv[1], errors="replace").read()
ran = re.search(r"^Ran (\d+) tests?", text, re.M)
bad = sum(int(n) for n in re.findall(r"(?:failures|errors|skipped|expected failures|unexpected successes)=(\d+)", text.rsplit("\nRan ", 1)[-1]))
ran = int(ran[1]) if ran else 0
print(max(ran - bad, 0), ran)
PY
}

# Those of pytest.
pytest_counts() {
    python3 - "$1" <<'PY'
import re, sys
lines = [line for line in open(sys.argv[1], errors="replace") if re.search(r"\d+ (passed|failed|error)", line)]
line = lines[-1] if lines else ""
count = {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|error|skipped)", line)}
print(count.get("passed", 0), sum(count.values()))
PY
}

suite_psycopg2() {
    local source
    source=$(sdist psycopg2 2.9.13)
    PSYCOPG2_TESTDB=$PGDATABASE PSYCOPG2_TESTDB_HOST=$PGHOST PSYCOPG2_TESTDB_PORT=$PGPORT PSYCOPG2_TESTDB_USER=$PGUSER \
        timeout 900 env -C "$source" "$cache/venv/bin/python" -c \
        "import tests, unittest; unittest.main(defaultTest='tests.test_suite')" >"$kept/psycopg2-$side.log" 2>&1 || true
    unittest_counts "$kept/psycopg2-$side.log"
}

suite_asyncpg() {
    local source
    source=$(sdist asyncpg 0.32.0)
    # Beside the package itself, which has to be the installed one.
    rm -rf "$cache/asyncpg-tests"
    mkdir "$cache/asyncpg-tests"
    cp -r "$source/tests" "$cache/asyncpg-tests/"
    PGSSLMODE=disable timeout 900 env -C "$cache/asyncpg-tests" "$cache/venv/bin/pytest" -q --tb=native tests --ignore tests/test__environment.py \
        --ignore tests/test__sourcecode.py >"$kept/asyncpg-$side.log" 2>&1 || true
    pytest_counts "$kept/asyncpg-$side.log"
}

suite_libpq() {
    local gopath=$state/go
    if [ ! -d "$gopath" ]; then
        mkdir -p "$gopath/src/github.com/lib"
        cp -r /usr/share/gocode/src/github.com/lib/pq "$gopath/src/github.com/lib/"
    fi
    GO111MODULE=off GOPATH=$gopath GOCACHE=$cache/go timeout 900 env -C "$gopath/src/github.com/lib/pq" go test -v . \
        >"$kept/libpq-$side.log" 2>&1 || true
    echo "$(grep -c '^--- PASS' "$kept/libpq-$side.log") $(grep -c -E '^--- (PASS|FAIL|SKIP)' "$kept/libpq-$side.log")"
}

suite_django() {
    local source module counts passed=0 total=0
    source=$(sdist Django 5.2.19)
    cp "$here/django_settings.py" "$source/tests/suite_settings.py"
    for module in ${DJANGO_MODULES:-${modules[@]}}; do
        turn_to "$side"
        timeout 1200 env -C "$source/tests" "$cache/venv/bin/python" runtests.py --settings=suite_settings --parallel=1 \
            --noinput "$module" >"$kept/django-$module-$side.log" 2>&1 || true
        counts=$(unittest_counts "$kept/django-$module-$side.log")
        echo "$module $counts"
        passed=$((passed + ${counts% *})) total=$((total + ${counts#* }))
    done
    echo "$passed $total"
}

suite_sqlalchemy() {
    local source
    source=$(sdist SQLAlchemy 2.0.58)
    psql -Xq -c 'create schema test_schema' -c 'create schema test_schema_2'
    timeout 2400 env -C "$source" "$cache/venv/bin/python" -m pytest -q --tb=native -p no:cacheprovider test/dialect/test_suite.py \
        --dburi "postgresql+psycopg://$PGUSER:$PGPASSWORD@$PGHOST:$PGPORT/$PGDATABASE" \
        >"$kept/sqlalchemy-$side.log" 2>&1 || true
    pytest_counts "$kept/sqlalchemy-$side.log"
}

suite_wagtail() {
    local site=$state/$side/site
    rm -rf "$site"
    mkdir -p "$site"
    "$cache/venv/bin/wagtail" start mysite "$site" >"$state/try" 2>&1
    python3 - "$site" <<'PY'
import sys
path = sys.argv[1] + "/mysite/settings/base.py"
text = open(path).read()
text += '''
import os
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": os.environ["PGDATABASE"],
    "USER": os.environ["PGUSER"], "PASSWORD": os.environ["PGPASSWORD"],
    "HOST": os.environ["PGHOST"], "PORT": os.environ["PGPORT"]}}
'''
open(path, "w").write(text)
PY
    patience=1200
    try migrate env -C "$site" "$cache/venv/bin/python" manage.py migrate -v1
    cp "$state/try" "$kept/wagtail-migrate-$side.log"
    try pages env -C "$site" "$cache/venv/bin/python" manage.py shell -c "exec(open('$here/wagtail_check.py').read())"
    cp "$state/try" "$kept/wagtail-pages-$side.log"
    tried
}

# sdist NAME VERSION: the folder of a source package, whose tests are run.
sdist() {
    local folder lower
    lower=$(tr '[:upper:]' '[:lower:]' <<<"$1")
    folder=$cache/sdist/$lower-$2
    if [ ! -d "$folder" ]; then
        mkdir -p "$cache/sdist"
        (cd "$cache/sdist" && "$cache/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --no-binary "$1" "$1==$2" &&
            tar -xzf "$lower-$2.tar.gz") >&2
    fi
    echo "$folder"
}

install_python() {
    cmp -s "$here/requirements.txt" "$cache/venv/installed" && return
    rm -rf "$cache/venv"
    python3 -m venv "$cache/venv"
    "$cache/venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$cache/venv/installed"
}

install_node() {
    mkdir -p "$cache/node"
    cp "$here/package.json" "$cache/node/"
    npm install --prefix "$cache/node" --no-audit --no-fund --ignore-scripts >"$cache/node.log" 2>&1
}

# Why a suite cannot run here; nothing when it can.
missing() {
    case $1 in
        jdbc) command -v javac >/dev/null && [ -e "$jdbc" ] || echo "javac or $jdbc is missing" ;;
        node) command -v npm >/dev/null || echo 'npm is missing' ;;
        rails) ruby -e "require 'active_record'; require 'pg'" 2>"$state/ruby" || echo 'ruby, ruby-activerecord or ruby-pg is missing' ;;
        libpq) command -v go >/dev/null && [ -d /usr/share/gocode/src/github.com/lib/pq ] || echo 'go or golang-github-lib-pq-dev is missing' ;;
        psycopg2 | asyncpg | pgcli | django | sqlalchemy | wagtail)
            install_python >"$state/python.log" 2>&1 || echo "cannot install: $(tail -n 1 "$state/python.log")" ;;
        pgbench) [ -n "$pg_bin" ] || echo 'pgbench is missing' ;;
    esac
}

result=0
[ $# -gt 0 ] || set -- "${all[@]}"
mkdir -p "$cache"
state=$(mktemp -d /tmp/dsql-suites.XXXXXX)
chmod 755 "$state"
pg_bin=$(find /usr/lib/postgresql/*/bin -name pgbench 2>/dev/null | sort -V | tail -n 1 | xargs -r dirname)
start_plain
start_proxy
printf '%-12s %18s %18s\n' suite 'plain PostgreSQL' 'through the proxy'
for suite in "$@"; do
    reason=$(missing "$suite")
    if [ -n "$reason" ]; then
        printf '%-12s skipped: %s\n' "$suite" "$reason"
        continue
    fi
    counts=('' '')
    for at in 0 1; do
        side=$([ $at = 0 ] && echo plain || echo proxy)
        [ "${SUITES_SIDE:-$side}" = "$side" ] || continue
        turn_to "$side"
        "suite_$suite" >"$kept/$suite-$side" 2>&1 || true
        counts[at]=$(tail -n 1 "$kept/$suite-$side")
    done
    printf '%-12s %18s %18s\n' "$suite" "${counts[0]/ / of }" "${counts[1]/ / of }"
    [ "${SUITES_QUIET:-}" = yes ] || grep -A3 '^---' "$kept/$suite-proxy" 2>/dev/null | cut -c1-200 || true
    least=$(sed -n "s/^$suite //p" "$here/least.txt")
    [ "$suite" != django ] || [ -z "${DJANGO_MODULES:-}" ] || least=''
    passed=${counts[1]% *}
    if [ -n "$least" ] && [ -n "${counts[1]}" ] && [ "${passed:-0}" -lt "$least" ]; then
        echo "$suite: at least $least are known to pass through the proxy"
        result=1
    fi
done
exit $result
