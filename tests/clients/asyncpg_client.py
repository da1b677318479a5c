"""asyncpg: binary protocol, prepared statements under names of its own, cursors, COPY, pool, cancel."""

import asyncio
import io
import os

import asyncpg


async def main():
    conn = await asyncpg.connect(timeout=10, server_settings={"application_name": "asyncpg"})
    assert await conn.fetchval("show application_name") == "asyncpg"
    await conn.execute("drop table if exists client_asyncpg")
    await conn.execute("create table client_asyncpg (id int primary key, name text, at timestamptz, tags text[])")
    await conn.executemany(
        "insert into client_asyncpg values ($1, $2, now(), $3)",
        [(i, f"n{i}", ["a", f"b{i}"]) for i in range(500)],
    )
    assert await conn.fetchval("select count(*) from client_asyncpg") == 500
    row = await conn.fetchrow("select * from client_asyncpg where id = $1", 42)
    assert row["name"] == "n42" and row["tags"] == ["a", "b42"]

    statement = await conn.prepare("select $1::int + $2::int")
    for i in range(30):
        assert await statement.fetchval(i, 1) == i + 1
    # More texts than its cache of statements holds.
    for i in range(150):
        assert await conn.fetchval(f"select {i} + $1::int", 1) == i + 1

    async with conn.transaction():
        seen = 0
        async for record in conn.cursor("select generate_series(1, 500) as i", prefetch=37):
            seen += record["i"]
        assert seen == 500 * 501 // 2
        cursor = await conn.cursor("select generate_series(1, 20)")
        assert len(await cursor.fetch(5)) == 5
        await cursor.forward(5)
        assert (await cursor.fetchrow())[0] == 11
        try:
            async with conn.transaction():
                await conn.execute("insert into client_asyncpg (id) values (1)")
        except asyncpg.UniqueViolationError:
            pass
        assert await conn.fetchval("select 1") == 1

    out = io.BytesIO()
    await conn.copy_from_query("select id, name from client_asyncpg order by id", output=out, format="csv")
    assert len(out.getvalue().splitlines()) == 500
    await conn.copy_records_to_table(
        "client_asyncpg", records=[(i, "copied", None, None) for i in range(1000, 2000)]
    )
    assert await conn.fetchval("select count(*) from client_asyncpg where name = 'copied'") == 1000
    try:
        await conn.copy_records_to_table("client_asyncpg", records=[(1, "twice", None, None)])
        raise AssertionError("no unique violation")
    except asyncpg.UniqueViolationError:
        pass

    try:
        await conn.fetchval("select pg_sleep(30)", timeout=0.2)
        raise AssertionError("no timeout")
    except asyncio.TimeoutError:
        pass
    assert await conn.fetchval("select 'after'") == "after"
    await conn.execute("set timezone = 'Asia/Tokyo'")
    assert await conn.fetchval("show timezone") == "Asia/Tokyo"
    await conn.reset()
    await conn.close()

    async with asyncpg.create_pool(min_size=1, max_size=8) as pool:

        async def one(number):
            for i in range(20):
                async with pool.acquire() as own, own.transaction():
                    assert await own.fetchval("select $1::int * $2::int", number, i) == number * i

        await asyncio.gather(*(one(number) for number in range(16)))
    print("asyncpg", asyncpg.__version__)


asyncio.run(main())
