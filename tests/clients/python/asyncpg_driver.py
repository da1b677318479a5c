"""asyncpg: its pool with the default reset query, cached statements, cursors, binary COPY."""

import asyncio
import datetime
import os
from decimal import Decimal
from uuid import UUID

import asyncpg

LOGIN = {
    "host": os.environ["PGHOST"],
    "port": int(os.environ["PGPORT"]),
    "user": os.environ["PGUSER"],
    "password": os.environ["PGPASSWORD"],
    "database": os.environ["PGDATABASE"],
    "ssl": "disable",
    "timeout": 10,
}


async def values(conn):
    sent = (
        42,
        2**40,
        1.5,
        "häßlich",
        b"\x00\xff",
        Decimal("12.34"),
        datetime.date(2026, 2, 28),
        UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        None,
        ["a", None],
    )
    row = await conn.fetchrow(
        "SELECT $1::int4, $2::int8, $3::float8, $4::text, $5::bytea, $6::numeric, $7::date, $8::uuid, "
        "$9::text, $10::text[]",
        *sent,
    )
    assert tuple(row) == sent


async def errors_and_transactions(conn):
    await conn.execute("DROP TABLE IF EXISTS asyncpg_t")
    await conn.execute("CREATE TABLE asyncpg_t (id int PRIMARY KEY, note text)")
    async with conn.transaction():
        await conn.executemany("INSERT INTO asyncpg_t VALUES ($1, $2)", [(n, str(n)) for n in range(200)])
    try:
        async with conn.transaction():
            await conn.execute("DELETE FROM asyncpg_t")
            await conn.execute("INSERT INTO asyncpg_t VALUES (1, 'a'), (1, 'b')")
        raise AssertionError("a duplicate key was accepted")
    except asyncpg.UniqueViolationError as error:
        assert error.constraint_name == "asyncpg_t_pkey"
    assert await conn.fetchval("SELECT count(*) FROM asyncpg_t") == 200
    async with conn.transaction():
        try:
            async with conn.transaction():
                await conn.fetch("SELECT 1 / $1::int4", 0)
            raise AssertionError("division by zero was accepted")
        except asyncpg.DivisionByZeroError:
            pass
        assert await conn.fetchval("SELECT 'on'") == "on"
    async with conn.transaction():
        seen = [row["id"] async for row in conn.cursor("SELECT id FROM asyncpg_t ORDER BY id", prefetch=7)]
    assert seen == list(range(200))


async def copies(conn):
    rows = [(n, f"copied {n}") for n in range(1000, 3000)]
    status = await conn.copy_records_to_table("asyncpg_t", records=rows)
    assert status == "COPY 2000"
    out = bytearray()

    async def keep(data):
        out.extend(data)

    await conn.copy_from_query("SELECT id FROM asyncpg_t WHERE id >= $1 ORDER BY id", 2998, output=keep)
    assert bytes(out) == b"2998\n2999\n"
    # A changed table: what was prepared on every upstream connection is prepared again.
    await conn.fetch("SELECT * FROM asyncpg_t LIMIT 1")
    await conn.execute("ALTER TABLE asyncpg_t ADD COLUMN more int")
    row = await conn.fetchrow("SELECT * FROM asyncpg_t LIMIT 1")
    assert list(row.keys()) == ["id", "note", "more"]


async def statement_follows_the_connection(pool):
    """Explicit prepared statement, reused over transactions that change the upstream connection."""
    async with pool.acquire() as one, pool.acquire() as two:
        statement = await one.prepare("SELECT $1::int4 * 2, pg_backend_pid()")
        pids = set()
        for turn in range(24):
            if turn % 2:
                busy = two.transaction()
                await busy.start()
                await two.execute("SELECT 1")
            row = await statement.fetchrow(turn)
            assert row[0] == turn * 2
            pids.add(row[1])
            if turn % 2:
                await busy.rollback()
        assert len(pids) == 2, f"the pool has two connections, met {pids}"


async def settings(pool):
    async with pool.acquire() as one, pool.acquire() as two:
        await one.execute("SET application_name TO 'one'")
        await two.execute("SET application_name TO 'two'")
        for _ in range(10):
            names = await asyncio.gather(one.fetchval("SHOW application_name"), two.fetchval("SHOW application_name"))
            assert names == ["one", "two"]
    # The reset query of the pool ran when they went back.
    async with pool.acquire() as one:
        assert await one.fetchval("SHOW application_name") not in ("one", "two")


async def many(pool):
    async def work(number):
        for turn in range(20):
            async with pool.acquire() as conn, conn.transaction():
                assert await conn.fetchval("SELECT $1::int4 + $2::int4", number, turn) == number + turn
                assert await conn.fetchval("SELECT $1::text", str(number)) == str(number)

    await asyncio.gather(*map(work, range(12)))


async def cancels(conn):
    try:
        await conn.execute("SELECT pg_sleep(30)", timeout=0.2)
        raise AssertionError("the timeout had no effect")
    except asyncio.TimeoutError:
        pass
    assert await conn.fetchval("SELECT 1") == 1


async def main():
    async with asyncpg.create_pool(**LOGIN, min_size=2, max_size=6) as pool:
        async with pool.acquire() as conn:
            await values(conn)
            await errors_and_transactions(conn)
            await copies(conn)
            await cancels(conn)
        await statement_follows_the_connection(pool)
        await settings(pool)
        await many(pool)
        await pool.execute("DROP TABLE asyncpg_t")
    print(f"asyncpg {asyncpg.__version__}")


asyncio.run(main())
