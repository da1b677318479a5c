"""psycopg 3 on the emulated DSQL cluster: token and TLS are the proxy's business."""

import os

import psycopg


def connect():
    return psycopg.connect(
        host=os.environ["PGHOST"],
        port=os.environ["PGPORT"],
        user=os.environ["PGUSER"],
        password=os.environ["PGPASSWORD"],
        dbname=os.environ["PGDATABASE"],
        sslmode="disable",
        connect_timeout=10,
    )


def main():
    query = "SELECT count(*) FROM orders WHERE tenant_id = %s"
    with connect() as one, connect() as two:
        for _ in range(12):
            assert one.execute(query, ("acme",), prepare=True).fetchone() == (300,)
            assert two.execute(query, ("none",), prepare=True).fetchone() == (0,)
            one.commit()
            two.commit()
        name = "SELECT name FROM countries WHERE code = %s"
        one.execute("INSERT INTO countries VALUES (%s, %s)", ("ZZ", "Nowhere"))
        one.rollback()
        assert one.execute(name, ("ZZ",)).fetchone() is None
        one.commit()
        one.execute("INSERT INTO countries VALUES (%s, %s)", ("ZZ", "Nowhere"))
        one.commit()
        assert two.execute(name, ("ZZ",)).fetchone() == ("Nowhere",)
        two.commit()
        one.execute("DELETE FROM countries WHERE code = 'ZZ'")
        one.commit()
        try:
            one.execute("SELECT nothing FROM countries")
            raise AssertionError("an unknown column was accepted")
        except psycopg.errors.UndefinedColumn:
            one.rollback()
        with one.cursor(binary=True) as cursor:
            assert cursor.execute("SELECT %s::int8, %s::bytea", (2**40, b"\x00")).fetchone() == (2**40, b"\x00")
        with one.cursor().copy("COPY (SELECT code FROM countries ORDER BY code) TO STDOUT") as copy:
            assert [row[0] for row in copy.rows()][:2] == ["AT", "BR"]
        one.commit()
    print(f"psycopg {psycopg.__version__}")


main()
