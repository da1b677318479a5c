#!/usr/bin/env bash
# Real drivers through the proxy, and directly at the emulated cluster (names that end in -emulator):
# a local PostgreSQL, the emulated cluster and a proxy with pools of two connections are started for the
# run and stopped after it.
# Drivers are installed once, under ${XDG_CACHE_HOME:-~/.cache}/dsql-proxy/clients.
# With arguments, only the drivers whose name starts with one of them: tests/clients/run.sh psycopg
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."

cache=${XDG_CACHE_HOME:-$HOME/.cache}/dsql-proxy/clients
jdbc=/usr/share/java/postgresql.jar
binary=${CARGO_TARGET_DIR:-target}/debug/dsql-proxy
wanted=("$@")
passed=0 failed=0 skipped=0
state='' dev='' proxy=''

stop() {
    local pid
    for pid in $proxy $dev; do
        kill -INT "$pid" 2>/dev/null || true
    done
    for pid in $proxy $dev; do
        # `wait` gives up where it is not a child of this shell; `tail` waits for any process.
        wait "$pid" 2>/dev/null || timeout 20 tail --pid="$pid" -f /dev/null || kill -KILL "$pid" 2>/dev/null || true
    done
    [ -z "$state" ] || rm -rf "$state"
}
trap stop EXIT
trap 'exit 130' INT TERM HUP

fail() {
    echo "clients: $*" >&2
    exit 1
}

start_all() {
    [ -x "$binary" ] || cargo build --locked
    # PostgreSQL runs as another user when this runs as root.
    state=$(mktemp -d /tmp/dsql-clients.XXXXXX)
    chmod 755 "$state"
    local any=127.0.0.1:0 ready=''
    exec {stdout}< <(exec "$binary" dev --dir "$state" --listen $any --admin $any --emulator-listen $any \
        --emulator-admin $any --print-json 2>"$state/dev.log")
    dev=$!
    read -r -t 120 ready <&"$stdout" || true
    [ -n "$ready" ] || { cat "$state/dev.log" >&2; fail "the set-up did not start"; }
    start_proxy "$(member config)"
    # For clients of the emulated cluster itself.
    EMULATOR_ADDRESS=$(member emulator)
    export EMULATOR_ADDRESS EMULATOR_HOST=${EMULATOR_ADDRESS%:*} EMULATOR_PORT=${EMULATOR_ADDRESS##*:}
    EMULATOR_CA=$(member ca_file)
    EMULATOR_ENDPOINT=$(sed -n 's/.*"endpoint": *"\([^"]*\)".*/\1/p' "$state/account.json")
    DSQL_PROXY=$(realpath "$binary")
    export EMULATOR_CA EMULATOR_ENDPOINT EMULATOR_DIR=$state DSQL_PROXY
}

# member NAME: a text of the JSON line in $ready.
member() {
    sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" <<<"$ready"
}

# The same set-up behind pools of two connections: clients have to share them.
start_proxy() {
    (
        umask 077
        sed -e 's/^listen: .*/listen: {address: "127.0.0.1:0"}\nworkers: 1\nlog: {format: json}/' -e '/^admin: /d' \
            -e 's/^  \(main\|plain\):$/&\n    pool: {size: 2, wait_timeout: 20s}/' "$1" >"$state/small.yaml"
    )
    "$binary" run --config "$state/small.yaml" >/dev/null 2>"$state/proxy.log" &
    proxy=$!
    local address=''
    for _ in $(seq 100); do
        address=$(sed -n 's/.*"address":"\([^"]*\)".*/\1/p' "$state/proxy.log" | head -n 1)
        [ -z "$address" ] || break
        kill -0 "$proxy" 2>/dev/null || break
        sleep 0.1
    done
    [ -n "$address" ] || { cat "$state/proxy.log" >&2; fail "the proxy did not start"; }
    export PGHOST=${address%:*} PGPORT=${address##*:} PGUSER=app PGPASSWORD=app PGDATABASE=bench
    export PGSSLMODE=disable PGCONNECT_TIMEOUT=10
}

is_wanted() {
    local name
    [ "${#wanted[@]}" -gt 0 ] || return 0
    for name in "${wanted[@]}"; do
        [[ $1 != "$name"* ]] || return 0
    done
    return 1
}

# check NAME COMMAND...: one driver; the last line it prints is shown.
check() {
    local name=$1 output="$state/output"
    shift
    is_wanted "$name" || return 0
    if timeout -k 5 "${patience:-60}" "$@" >"$output" 2>&1; then
        passed=$((passed + 1))
        printf 'passed   %-14s %s\n' "$name" "$(tail -n 1 "$output")"
    else
        failed=$((failed + 1))
        printf 'FAILED   %-14s\n' "$name"
        sed 's/^/    /' "$output"
    fi
}

# skip REASON NAME...
skip() {
    local reason=$1 name
    shift
    for name in "$@"; do
        is_wanted "$name" || continue
        skipped=$((skipped + 1))
        printf 'skipped  %-14s %s\n' "$name" "$reason"
    done
}

# Installs into $cache/NAME unless what FILE asks for is there; a half installed folder is not used.
install_into() {
    local folder=$cache/$1 file=$2 install=$3
    cmp -s "$file" "$folder/installed" && return
    rm -rf "$folder"
    mkdir -p "$folder"
    if ! "$install" "$folder" "$file" >"$cache/$1.log" 2>&1; then
        rm -rf "$folder"
        return 1
    fi
    cp "$file" "$folder/installed"
}

install_python() {
    python3 -m venv "$1/venv" && "$1/venv/bin/pip" install --quiet --disable-pip-version-check -r "$2"
}

install_node() {
    cp "$2" "$1/package.json" && npm install --prefix "$1" --no-audit --no-fund --no-package-lock --ignore-scripts
}

psql_script() {
    local result=0
    psql -X -q -f "$here/psql/$1.sql" >"$state/psql.out" 2>"$state/psql.err" || result=$?
    if [ "$result" != 0 ] || ! diff "$here/psql/$1.out" "$state/psql.out"; then
        cat "$state/psql.err"
        return 1
    fi
    psql --version
}

check_psql() {
    if ! command -v psql >/dev/null; then
        skip 'psql is missing (apt-get install postgresql-client)' psql psql-dsql psql-tenant
        return
    fi
    check psql bash -euo pipefail -c "$(declare -f psql_script); here=$here state=$state; psql_script bench"
    PGDATABASE=app check psql-dsql bash -euo pipefail -c "$(declare -f psql_script); here=$here state=$state; psql_script app"
    PGDATABASE=app PGUSER=acme PGPASSWORD=acme \
        check psql-tenant bash -euo pipefail -c "$(declare -f psql_script); here=$here state=$state; psql_script tenant"
}

check_python() {
    local all=(psycopg psycopg-dsql psycopg2 asyncpg django-tenants)
    if ! command -v python3 >/dev/null; then
        skip 'python3 is missing' "${all[@]}"
    elif ! install_into python "$here/python/requirements.txt" install_python; then
        skip "cannot install (python3-venv missing, or no package registry): $cache/python.log" "${all[@]}"
    else
        local python=$cache/python/venv/bin/python
        check psycopg "$python" "$here/python/psycopg3.py"
        PGDATABASE=app check psycopg-dsql "$python" "$here/python/psycopg3_dsql.py"
        check psycopg2 "$python" "$here/python/psycopg2_driver.py"
        check asyncpg "$python" "$here/python/asyncpg_driver.py"
        PGDATABASE=app patience=240 check django-tenants "$python" "$here/python/django_tenants.py"
    fi
}

check_node() {
    local all=(pg postgres.js)
    if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
        skip 'node or npm is missing' "${all[@]}"
    elif ! install_into node "$here/node/package.json" install_node; then
        skip "cannot install (no package registry?): $cache/node.log" "${all[@]}"
    else
        export NODE_PATH=$cache/node/node_modules
        check pg node "$here/node/pg.js"
        check postgres.js node "$here/node/postgres.js"
    fi
}

check_java() {
    if ! command -v java >/dev/null || ! command -v javac >/dev/null; then
        skip 'java or javac is missing (apt-get install default-jdk-headless)' pgjdbc
    elif [ ! -e "$jdbc" ]; then
        skip "$jdbc is missing (apt-get install libpostgresql-jdbc-java)" pgjdbc
    elif ! javac -encoding UTF-8 -cp "$jdbc" -d "$state/java" "$here/java/Pgjdbc.java"; then
        fail 'Pgjdbc.java does not compile'
    else
        check pgjdbc java -Xshare:auto -XX:TieredStopAtLevel=1 -cp "$jdbc:$state/java" Pgjdbc
    fi
}

# Debian's pgx: the Go module proxy is not needed.
check_go() {
    local source=${PGX_GOPATH:-/usr/share/gocode}
    if ! command -v go >/dev/null; then
        skip 'go is missing (apt-get install golang-go)' pgx
    elif [ ! -d "$source/src/github.com/jackc/pgx/v4" ]; then
        skip 'pgx is missing (apt-get install golang-github-jackc-pgx-v4-dev)' pgx
    elif ! is_wanted pgx; then
        return
    elif ! GO111MODULE=off GOPATH=$source GOCACHE=$cache/go go build -o "$state/pgx" "$here/go/pgx.go"; then
        fail 'pgx.go does not compile'
    else
        check pgx "$state/pgx"
    fi
}

# check_crate FOLDER NAME: packages of their own, so that the proxy's lock file does not carry what they need.
check_crate() {
    local folder=$1 name=$2
    is_wanted "$name" || return 0
    if ! cargo build --quiet --locked --manifest-path "$here/$folder/Cargo.toml" --target-dir "$cache/$folder" 2>"$state/$folder.log"; then
        skip "cannot build (no crate registry?): $(tail -n 1 "$state/$folder.log")" "$name"
    else
        check "$name" "$cache/$folder/debug/$folder-client"
    fi
}

# Directly at the emulated cluster, after all others: it tells every session of schema changes, those of the
# proxy's pool too.
check_emulator() {
    if ! command -v psql >/dev/null; then
        skip 'psql is missing' psql-emulator
    else
        PGHOST=$EMULATOR_ENDPOINT PGHOSTADDR=$EMULATOR_HOST PGPORT=$EMULATOR_PORT PGUSER=admin PGDATABASE=postgres \
            PGPASSWORD=$("$binary" token --emulator "$state") PGSSLMODE=verify-full PGSSLROOTCERT=$EMULATOR_CA \
            check psql-emulator bash -euo pipefail -c "$(declare -f psql_script); here=$here state=$state; psql_script emulator"
    fi
    local python=$cache/python/venv/bin/python
    if [ -x "$python" ]; then
        check psycopg-emulator "$python" "$here/python/psycopg3_emulator.py"
    else
        skip 'the virtual environment is missing' psycopg-emulator
    fi
    # AWS's own connector, which signs its tokens itself.
    check_crate connector aurora-dsql-sqlx-connector-emulator
}

start_all
check_psql
check_python
check_node
check_java
check_go
check_crate sqlx sqlx
check_emulator
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
