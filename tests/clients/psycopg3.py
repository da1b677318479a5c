"""psycopg 3: text and binary, server-side parameters, prepared statements, pipeline, COPY, cursors, async."""

import asyncio
import threading

import psycopg
from psycopg.rows import dict_row

CONNINFO = "application_name=psycopg3 connect_timeout=10"


def basics(conn):
    with conn.cursor() as cur:
        cur.execute("drop table if exists client_psycopg3")
        cur.execute("create table client_psycopg3 (id int primary key, name text, data bytea, n numeric(12,2))")
        cur.executemany(
            "insert into client_psycopg3 values (%s, %s, %s, %s)",
            [(i, f"name {i}", bytes([i % 256]) * i, i / 4) for i in range(200)],
        )
        conn.commit()
        cur.execute("select id, name, data, n from client_psycopg3 where id = %s", (7,))
        row = cur.fetchone()
        assert row[0] == 7 and row[1] == "name 7" and row[2] == b"\x07" * 7 and str(row[3]) == "1.75", row
        cur.execute("select id, data, n from client_psycopg3 where id = %b", (9,), binary=True)
        assert cur.fetchone()[1] == b"\x09" * 9
        try:
            cur.execute("insert into client_psycopg3 values (%s, 'again')", (7,))
            raise AssertionError("no unique violation")
        except psycopg.errors.UniqueViolation as error:
            assert error.diag.constraint_name == "client_psycopg3_pkey"
        conn.rollback()
        cur.execute("select count(*) from client_psycopg3")
        assert cur.fetchone()[0] == 200


def prepared(conn):
    """psycopg prepares on its own after five executions, and deallocates beyond its limit."""
    conn.prepare_threshold = 1
    conn.prepared_max = 5
    for number in range(60):
        text = f"select %s::int + {number % 12}"
        assert conn.execute(text, (number,)).fetchone()[0] == number + number % 12
        if number % 5 == 0:
            conn.commit()
    conn.commit()


def pipeline(conn):
    with conn.pipeline() as pipe:
        cursors = [conn.execute("select %s::int", (i,)) for i in range(50)]
        pipe.sync()
        assert [cur.fetchone()[0] for cur in cursors] == list(range(50))
    conn.rollback()
    conn.autocommit = True
    try:
        with conn.pipeline():
            conn.execute("select 1")
            conn.execute("select 1/0")
            conn.execute("select 2")
        raise AssertionError("no error from the pipeline")
    except psycopg.errors.DivisionByZero:
        pass
    assert conn.execute("select 3").fetchone()[0] == 3
    conn.autocommit = False


def copy(conn):
    with conn.cursor() as cur:
        cur.execute("truncate client_psycopg3")
        with cur.copy("copy client_psycopg3 (id, name) from stdin") as copy_in:
            for i in range(5000):
                copy_in.write_row((i, f"tab\t{i} and \\ newline \n"))
        cur.execute("select count(*), sum(length(name)) from client_psycopg3")
        assert cur.fetchone()[0] == 5000
        with cur.copy("copy client_psycopg3 (id, name) from stdin (format binary)") as copy_in:
            copy_in.set_types(["int4", "text"])
            copy_in.write_row((9001, "binary"))
        with cur.copy("copy (select id, name from client_psycopg3 order by id) to stdout") as copy_out:
            rows = list(copy_out.rows())
        assert len(rows) == 5001 and rows[-1] == ("9001", "binary")
        try:
            with cur.copy("copy client_psycopg3 (id, name) from stdin") as copy_in:
                copy_in.write_row((1, "twice"))
            raise AssertionError("no unique violation")
        except psycopg.errors.UniqueViolation:
            conn.rollback()
        try:
            with cur.copy("copy client_psycopg3 (id, name) from stdin") as copy_in:
                copy_in.write_row((2, "x"))
                raise RuntimeError("the client gives up")
        except RuntimeError:
            conn.rollback()
        cur.execute("select 1")
    conn.commit()


def cursors(conn):
    with conn.cursor(name="c", row_factory=dict_row) as cur:
        cur.execute("select generate_series(1, 1000) as i")
        assert cur.fetchmany(10)[9] == {"i": 10}
        assert len(cur.fetchall()) == 990
    conn.commit()
    with conn.transaction():
        conn.execute("create temp table client_tmp (a int) on commit drop")
        try:
            with conn.transaction():
                conn.execute("insert into client_tmp values (1)")
                raise psycopg.Rollback()
        except psycopg.Rollback:
            pass
        assert conn.execute("select count(*) from client_tmp").fetchone()[0] == 0


def cancel(conn):
    timer = threading.Timer(0.2, conn.cancel)
    timer.start()
    try:
        conn.execute("select pg_sleep(30)")
        raise AssertionError("not cancelled")
    except psycopg.errors.QueryCanceled:
        conn.rollback()
    assert conn.execute("select 1").fetchone()[0] == 1
    conn.commit()


async def asynchronous():
    async with await psycopg.AsyncConnection.connect(CONNINFO) as conn:
        async with conn.cursor() as cur:
            await cur.execute("select %s::text, %s::int[]", ("é€", [1, 2, 3]))
            assert await cur.fetchone() == ("é€", [1, 2, 3])
            async with conn.pipeline():
                cursors = [await conn.execute("select %s::int", (i,)) for i in range(20)]
                assert [(await one.fetchone())[0] for one in cursors] == list(range(20))
            async with cur.copy("copy (select generate_series(1, 100)) to stdout") as copy_out:
                assert len([row async for row in copy_out.rows()]) == 100

    async def one(number):
        async with await psycopg.AsyncConnection.connect(CONNINFO) as conn:
            for i in range(20):
                row = await (await conn.execute("select %s::int * %s::int", (number, i))).fetchone()
                assert row[0] == number * i
            await conn.commit()

    await asyncio.gather(*(one(number) for number in range(8)))


with psycopg.connect(CONNINFO) as connection:
    assert connection.info.parameter_status("application_name") == "psycopg3"
    for part in (basics, prepared, pipeline, copy, cursors, cancel):
        part(connection)
asyncio.run(asynchronous())
print("psycopg", psycopg.__version__, "libpq", psycopg.pq.version())
