"""psycopg2: simple protocol only, COPY, SQL-level PREPARE, large objects of text."""

import io
import os
from decimal import Decimal

import psycopg2
import psycopg2.extras


def connect():
    return psycopg2.connect(
        host=os.environ["PGHOST"],
        port=os.environ["PGPORT"],
        user=os.environ["PGUSER"],
        password=os.environ["PGPASSWORD"],
        dbname=os.environ["PGDATABASE"],
        sslmode="disable",
        connect_timeout=10,
    )


def fetch(cursor, query, parameters=None):
    cursor.execute(query, parameters)
    return cursor.fetchall()


def values(conn):
    sent = (42, 2**40, 1.5, "häßlich'\\", Decimal("12.34"), True, None, ["a", "b"])
    with conn, conn.cursor() as cursor:
        assert fetch(cursor, "SELECT %s, %s, %s::float8, %s, %s, %s, %s, %s", sent) == [sent]
        ((blob,),) = fetch(cursor, "SELECT %s::bytea", (psycopg2.Binary(bytes(range(256))),))
        assert bytes(blob) == bytes(range(256))


def transactions(conn):
    with conn, conn.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS psycopg2_t")
        cursor.execute("CREATE TABLE psycopg2_t (id int PRIMARY KEY, note text)")
    with conn, conn.cursor() as cursor:
        psycopg2.extras.execute_values(
            cursor, "INSERT INTO psycopg2_t VALUES %s", [(n, f"note {n}") for n in range(500)]
        )
    try:
        with conn, conn.cursor() as cursor:
            cursor.execute("INSERT INTO psycopg2_t VALUES (1000, 'goes')")
            cursor.execute("INSERT INTO psycopg2_t VALUES (1, 'twice')")
        raise AssertionError("a duplicate key was accepted")
    except psycopg2.errors.UniqueViolation as error:
        assert error.pgcode == "23505"
    with conn, conn.cursor() as cursor:
        assert fetch(cursor, "SELECT count(*), max(id) FROM psycopg2_t") == [(500, 499)]
        cursor.execute("SAVEPOINT a; DELETE FROM psycopg2_t; ROLLBACK TO SAVEPOINT a; SELECT count(*) FROM psycopg2_t")
        assert cursor.fetchall() == [(500,)]


def copies(conn):
    with conn, conn.cursor() as cursor:
        cursor.copy_expert(
            "COPY psycopg2_t FROM STDIN (FORMAT csv)",
            io.StringIO("".join(f'{n},"a ""quoted"" one"\n' for n in range(5000, 8000))),
        )
        assert cursor.rowcount == 3000
        out = io.StringIO()
        cursor.copy_expert("COPY (SELECT note FROM psycopg2_t WHERE id >= 7998 ORDER BY id) TO STDOUT", out)
        assert out.getvalue() == 'a "quoted" one\n' * 2
    try:
        with conn, conn.cursor() as cursor:
            cursor.copy_expert("COPY psycopg2_t FROM STDIN", io.StringIO("not a number\tx\n"))
        raise AssertionError("bad COPY data was accepted")
    except psycopg2.errors.InvalidTextRepresentation as error:
        assert "line 1" in str(error)


def settings(one, two):
    with one, one.cursor() as cursor:
        cursor.execute("SET TIME ZONE 'Asia/Tokyo'")
    with two, two.cursor() as cursor:
        cursor.execute("SET application_name TO 'the other'")
    one.set_session(isolation_level="SERIALIZABLE", readonly=True)
    for _ in range(6):
        # Both transactions are open at once: the two connections of the pool.
        with one.cursor() as first, two.cursor() as second:
            assert fetch(first, "SHOW TimeZone") == [("Asia/Tokyo",)]
            assert fetch(second, "SHOW TimeZone") != [("Asia/Tokyo",)]
            assert fetch(second, "SHOW application_name") == [("the other",)]
            assert fetch(first, "SHOW transaction_isolation") == [("serializable",)]
            assert fetch(first, "SHOW transaction_read_only") == [("on",)]
            assert fetch(second, "SHOW transaction_read_only") == [("off",)]
        two.commit()
        one.commit()
    one.set_session(isolation_level="DEFAULT", readonly=False)


def prepared_in_sql(conn):
    """PREPARE and EXECUTE within a transaction."""
    with conn, conn.cursor() as cursor:
        cursor.execute("PREPARE twice(int) AS SELECT $1 * 2")
        for n in range(12):
            assert fetch(cursor, "EXECUTE twice(%s)", (n,)) == [(n * 2,)]
        cursor.execute("DEALLOCATE twice")


def autocommit_and_reset(conn):
    conn.autocommit = True
    with conn.cursor() as cursor:
        assert fetch(cursor, "SELECT 1; SELECT 2") == [(2,)]
        cursor.execute("SET application_name TO 'mine'")
        assert fetch(cursor, "SHOW application_name") == [("mine",)]
    conn.autocommit = False
    conn.reset()
    with conn, conn.cursor() as cursor:
        assert fetch(cursor, "SHOW application_name") != [("mine",)]


def server_side_cursor(conn):
    with conn, conn.cursor("scroll") as cursor:
        cursor.execute("SELECT generate_series(1, 5000)")
        assert sum(row[0] for row in cursor) == 5000 * 5001 // 2


def main():
    one, two = connect(), connect()
    values(one)
    transactions(one)
    copies(one)
    settings(one, two)
    prepared_in_sql(one)
    autocommit_and_reset(one)
    server_side_cursor(one)
    with one, one.cursor() as cursor:
        cursor.execute("DROP TABLE psycopg2_t")
    one.close()
    two.close()
    print(f"psycopg2 {psycopg2.__version__.split()[0]}, libpq {psycopg2.__libpq_version__}")


main()
