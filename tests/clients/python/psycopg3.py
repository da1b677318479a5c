"""psycopg 3: sync, async, pipeline, COPY, binary."""

import asyncio
import os
from datetime import date
from decimal import Decimal
from uuid import UUID

import psycopg

UUID_VALUE = UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")


def conninfo():
    return psycopg.conninfo.make_conninfo(
        host=os.environ["PGHOST"],
        port=os.environ["PGPORT"],
        user=os.environ["PGUSER"],
        password=os.environ["PGPASSWORD"],
        dbname=os.environ["PGDATABASE"],
        sslmode="disable",
        connect_timeout=10,
    )


def values_in_both_formats(conn):
    sent = (42, 2**40, 1.5, "häßlich", b"\x00\xff", Decimal("12.34"), date(2026, 2, 28), UUID_VALUE, None)
    query = "SELECT %s::int4, %s::int8, %s::float8, %s::text, %s::bytea, %s::numeric, %s::date, %s::uuid, %s::text"
    for binary in (False, True):
        with conn.cursor(binary=binary) as cursor:
            assert cursor.execute(query, sent).fetchone() == sent, f"binary={binary}"
    with conn.cursor(binary=True) as cursor:
        row = cursor.execute(
            "SELECT %b::int4, %b::bytea, %b::text[]", (7, b"\x00" * 1000, ["a", None, "c"])
        ).fetchone()
        assert row == (7, b"\x00" * 1000, ["a", None, "c"])
    conn.commit()


def prepared_statements_follow_the_connection(one, two):
    """Each transaction may run on the other upstream connection, where it is not prepared yet."""
    pids = set()
    for turn in range(24):
        row = one.execute(
            "SELECT %s::int4 * 2, pg_backend_pid()", (turn,), prepare=True
        ).fetchone()
        assert row[0] == turn * 2
        pids.add(row[1])
        one.commit()
        if turn % 2 == 0:
            # The connection that was free last is taken, so the next turn gets another one.
            two.execute("SELECT 1")
        else:
            two.rollback()
    two.rollback()
    assert len(pids) == 2, f"the pool has two connections, met {pids}"


def transactions(conn):
    conn.execute("DROP TABLE IF EXISTS psycopg3")
    conn.execute("CREATE TABLE psycopg3 (id int PRIMARY KEY, note text)")
    conn.commit()
    conn.execute("INSERT INTO psycopg3 VALUES (%s, %s)", (1, "stays"))
    conn.commit()
    conn.execute("INSERT INTO psycopg3 VALUES (%s, %s)", (2, "goes"))
    conn.rollback()
    assert conn.execute("SELECT id, note FROM psycopg3").fetchall() == [(1, "stays")]
    conn.commit()
    with conn.transaction():
        conn.execute("INSERT INTO psycopg3 VALUES (3, 'outer')")
        try:
            with conn.transaction():
                conn.execute("INSERT INTO psycopg3 VALUES (3, 'twice')")
            raise AssertionError("a duplicate key was accepted")
        except psycopg.errors.UniqueViolation as error:
            assert error.diag.constraint_name == "psycopg3_pkey"
    assert conn.execute("SELECT count(*) FROM psycopg3").fetchone() == (2,)
    conn.commit()


def errors_and_going_on(conn):
    for _ in range(3):
        try:
            conn.execute("SELECT 1 / %s::int4", (0,), prepare=True)
            raise AssertionError("division by zero was accepted")
        except psycopg.errors.DivisionByZero as error:
            assert error.sqlstate == "22012"
        try:
            conn.execute("SELECT 1")
            raise AssertionError("a failed transaction went on")
        except psycopg.errors.InFailedSqlTransaction:
            pass
        conn.rollback()
    assert conn.execute("SELECT 'on'").fetchone() == ("on",)
    conn.commit()


def copies(conn):
    conn.execute("DROP TABLE IF EXISTS psycopg3_copy")
    conn.execute("CREATE TABLE psycopg3_copy (id int8, name text)")
    rows = [(n, f"name\t{n}\\") for n in range(2000)]
    with conn.cursor() as cursor:
        with cursor.copy("COPY psycopg3_copy FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        with cursor.copy("COPY psycopg3_copy FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["int8", "text"])
            for number, name in rows:
                copy.write_row((number + 2000, name))
        for options in ("", " (FORMAT binary)"):
            with cursor.copy(
                f"COPY (SELECT * FROM psycopg3_copy ORDER BY id LIMIT 2000) TO STDOUT{options}"
            ) as copy:
                copy.set_types(["int8", "text"])
                assert list(copy.rows()) == rows, options
    conn.commit()
    try:
        with conn.cursor().copy("COPY psycopg3_copy FROM STDIN") as copy:
            copy.write_row((1, "x"))
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    conn.rollback()
    assert conn.execute("SELECT count(*) FROM psycopg3_copy").fetchone() == (4000,)
    conn.commit()


def pipelines(conn):
    with conn.pipeline() as pipeline:
        cursors = [conn.execute("SELECT %s::int4", (n,)) for n in range(100)]
        pipeline.sync()
        assert [cursor.fetchone() for cursor in cursors] == [(n,) for n in range(100)]
    conn.commit()
    try:
        with conn.pipeline():
            conn.execute("INSERT INTO psycopg3 VALUES (10, 'lost')")
            conn.execute("SELECT 1 / 0")
            conn.execute("INSERT INTO psycopg3 VALUES (11, 'lost')")
        raise AssertionError("division by zero was accepted")
    except psycopg.errors.DivisionByZero:
        pass
    conn.rollback()
    assert conn.execute("SELECT count(*) FROM psycopg3 WHERE id >= 10").fetchone() == (0,)
    conn.commit()


def settings(one, two):
    two.execute("SET search_path TO pg_catalog")
    two.execute("SET application_name TO 'the other'")
    two.commit()
    one.execute("SET TIME ZONE 'Asia/Tokyo'")
    one.commit()
    for _ in range(6):
        assert one.execute("SHOW TimeZone").fetchone() == ("Asia/Tokyo",)
        assert two.execute("SHOW search_path").fetchone() == ("pg_catalog",)
        assert two.execute("SHOW application_name").fetchone() == ("the other",)
        one.commit()
        assert one.execute("SHOW search_path").fetchone()[0] != "pg_catalog"
        two.commit()
        one.commit()
    assert one.info.timezone.key == "Asia/Tokyo"
    one.execute("SET TIME ZONE 'UTC'")
    one.rollback()
    assert one.execute("SHOW TimeZone").fetchone() == ("Asia/Tokyo",)
    one.execute("SET LOCAL statement_timeout TO '50ms'")
    try:
        one.execute("SELECT pg_sleep(10)")
        raise AssertionError("statement_timeout had no effect")
    except psycopg.errors.QueryCanceled:
        one.rollback()
    one.execute("RESET ALL")
    two.execute("RESET ALL")
    one.commit()
    two.commit()


def server_side_cursor(conn):
    with conn.cursor(name="scroll") as cursor:
        cursor.execute("SELECT generate_series(1, 1000)")
        assert cursor.fetchmany(3) == [(1,), (2,), (3,)]
        assert len(cursor.fetchall()) == 997
    conn.commit()


def cancels(conn):
    import threading

    timer = threading.Timer(0.2, conn.cancel_safe)
    timer.start()
    try:
        conn.execute("SELECT pg_sleep(30)")
        raise AssertionError("the cancel had no effect")
    except psycopg.errors.QueryCanceled:
        conn.rollback()
    timer.join()


async def asynchronous():
    async def work(number):
        async with await psycopg.AsyncConnection.connect(conninfo()) as conn:
            for turn in range(15):
                async with conn.transaction():
                    cursor = await conn.execute("SELECT %s::int4 + %s::int4", (number, turn), prepare=True)
                    assert await cursor.fetchone() == (number + turn,)
            async with conn.pipeline():
                cursors = [await conn.execute("SELECT %s::text", (f"{number}/{n}",)) for n in range(20)]
                for n, cursor in enumerate(cursors):
                    assert await cursor.fetchone() == (f"{number}/{n}",)
            async with conn.cursor().copy("COPY (SELECT generate_series(1, 500)) TO STDOUT") as copy:
                rows = [row async for row in copy.rows()]
            assert rows == [(str(n),) for n in range(1, 501)]
        return number

    # More clients than the pool has connections.
    assert await asyncio.gather(*map(work, range(8))) == list(range(8))


def main():
    with psycopg.connect(conninfo()) as one, psycopg.connect(conninfo()) as two:
        assert one.info.parameter_status("client_encoding") == "UTF8"
        values_in_both_formats(one)
        prepared_statements_follow_the_connection(one, two)
        transactions(one)
        errors_and_going_on(one)
        copies(one)
        pipelines(one)
        settings(one, two)
        server_side_cursor(one)
        cancels(one)
        one.execute("DROP TABLE psycopg3, psycopg3_copy")
    asyncio.run(asynchronous())
    print(f"psycopg {psycopg.__version__}, libpq {psycopg.pq.version()}")


main()
