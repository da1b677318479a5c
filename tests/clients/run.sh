#!/bin/bash
# Runs real drivers, unmodified, against a server: run.sh HOST PORT DATABASE USER PASSWORD [NAME…]
# Installs them under DSQLPROXY_CLIENTS_CACHE (default: target/clients of this repository). A driver that
# cannot be installed is skipped, with the reason. Ends with "N passed, N failed, N skipped".
set -u
if [ $# -lt 5 ]; then
    echo "usage: $0 HOST PORT DATABASE USER PASSWORD [NAME...]" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
cache=${DSQLPROXY_CLIENTS_CACHE:-$here/../../target/clients}
mkdir -p "$cache" && cache=$(cd "$cache" && pwd) || exit 3
export PGHOST=$1 PGPORT=$2 PGDATABASE=$3 PGUSER=$4 PGPASSWORD=$5
export PGSSLMODE=${PGSSLMODE:-disable} PGSSLNEGOTIATION= PGCONNECT_TIMEOUT=10
unset PGSSLNEGOTIATION PGSERVICE PGOPTIONS PGTZ
shift 5
wanted=" $* "
passed=0 failed=0 skipped=0
log=$cache/last.log

# run NAME COMMAND...: one driver's script.
run() {
    local name=$1 began=$SECONDS
    shift
    if timeout 180 "$@" >"$log" 2>&1; then
        passed=$((passed + 1))
        echo "passed  $name ($((SECONDS - began)) s): $(tail -n 1 "$log")"
    else
        failed=$((failed + 1))
        echo "FAILED  $name ($((SECONDS - began)) s):"
        tail -n 40 "$log" | sed 's/^/        /'
    fi
}

skip() {
    skipped=$((skipped + 1))
    echo "skipped $1: $2"
}

asked() { [ "$wanted" = "  " ] || case $wanted in *" $1 "*) true ;; *) false ;; esac; }

# Makes the Python environment once; prints nothing.
python_ready() {
    [ -e "$cache/python/done" ] && return 0
    command -v python3 >/dev/null || { echo "no python3" >"$log"; return 1; }
    rm -rf "$cache/python"
    python3 -m venv "$cache/python" >"$log" 2>&1 || return 1
    "$cache/python/bin/pip" install -q --disable-pip-version-check \
        'psycopg[binary]==3.3.9' psycopg2-binary==2.9.13 asyncpg==0.32.0 >>"$log" 2>&1 || return 1
    touch "$cache/python/done"
}

node_ready() {
    [ -e "$cache/node/done" ] && return 0
    command -v npm >/dev/null || { echo "no npm" >"$log"; return 1; }
    rm -rf "$cache/node" && mkdir -p "$cache/node" && cd "$cache/node" || return 1
    echo '{"private": true}' >package.json
    npm install --no-audit --no-fund --silent pg@8.23.1 postgres@3.4.9 >"$log" 2>&1 || return 1
    touch "$cache/node/done"
}

java_ready() {
    jar=${PGJDBC_JAR:-/usr/share/java/postgresql.jar}
    command -v javac >/dev/null || { echo "no javac" >"$log"; return 1; }
    [ -e "$jar" ] || { echo "no $jar (Debian: libpostgresql-jdbc-java)" >"$log"; return 1; }
    mkdir -p "$cache/java" && javac -cp "$jar" -d "$cache/java" "$here/Jdbc.java" >"$log" 2>&1
}

go_ready() {
    local source=${PGX_GOPATH:-/usr/share/gocode}
    command -v go >/dev/null || { echo "no go" >"$log"; return 1; }
    [ -d "$source/src/github.com/jackc/pgx/v4" ] ||
        { echo "no pgx (Debian: golang-github-jackc-pgx-v4-dev)" >"$log"; return 1; }
    mkdir -p "$cache/go" &&
        GO111MODULE=off GOPATH=$source GOCACHE=$cache/go/cache go build -o "$cache/go/pgx" "$here/pgx.go" >"$log" 2>&1
}

sqlx_ready() {
    command -v cargo >/dev/null || { echo "no cargo" >"$log"; return 1; }
    cargo build --quiet --manifest-path "$here/sqlx/Cargo.toml" --target-dir "$cache/sqlx" >"$log" 2>&1
}

reason() { tail -n 1 "$log" | cut -c1-200; }

if asked psql; then
    if command -v psql >/dev/null; then run psql sh "$here/psql.sh"; else skip psql "no psql"; fi
fi
for one in psycopg3:psycopg3.py psycopg2:psycopg2_client.py asyncpg:asyncpg_client.py; do
    asked "${one%%:*}" || continue
    if python_ready; then
        run "${one%%:*}" "$cache/python/bin/python" "$here/${one#*:}"
    else
        skip "${one%%:*}" "$(reason)"
    fi
done
for one in node-postgres:node_postgres.js postgres.js:postgres_js.mjs; do
    asked "${one%%:*}" || continue
    if node_ready; then
        # Node looks for packages beside the script.
        cp "$here/${one#*:}" "$cache/node/"
        run "${one%%:*}" node "$cache/node/${one#*:}"
    else
        skip "${one%%:*}" "$(reason)"
    fi
done
if asked pgjdbc; then
    if java_ready; then run pgjdbc java -cp "$jar:$cache/java" Jdbc; else skip pgjdbc "$(reason)"; fi
fi
if asked pgx; then
    if go_ready; then run pgx "$cache/go/pgx"; else skip pgx "$(reason)"; fi
fi
if asked sqlx; then
    if sqlx_ready; then run sqlx "$cache/sqlx/debug/sqlx-client"; else skip sqlx "$(reason)"; fi
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
