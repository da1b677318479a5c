"""psycopg2: simple protocol, named cursors, COPY, notices, errors, threads."""

import io
import threading

import psycopg2
import psycopg2.extras

conn = psycopg2.connect("application_name=psycopg2 connect_timeout=10")
cur = conn.cursor()
cur.execute("drop table if exists client_psycopg2; create table client_psycopg2 (id int primary key, name text)")
psycopg2.extras.execute_values(
    cur, "insert into client_psycopg2 values %s", [(i, f"it's {i}; \\ %") for i in range(300)]
)
conn.commit()
cur.execute("select name from client_psycopg2 where id = %s", (12,))
assert cur.fetchone() == ("it's 12; \\ %",)
try:
    cur.execute("insert into client_psycopg2 values (1, 'again')")
    raise AssertionError("no unique violation")
except psycopg2.errors.UniqueViolation:
    conn.rollback()

named = conn.cursor("named")
named.itersize = 50
named.execute("select id from client_psycopg2 order by id")
assert sum(1 for _ in named) == 300
conn.commit()

cur.copy_expert("copy client_psycopg2 from stdin", io.StringIO("".join(f"{i}\tx\n" for i in range(1000, 3000))))
out = io.StringIO()
cur.copy_expert("copy (select id from client_psycopg2) to stdout with csv", out)
assert len(out.getvalue().splitlines()) == 2300
conn.rollback()
cur.execute("select count(*) from client_psycopg2")
assert cur.fetchone() == (300,)

cur.execute("do $$ begin raise notice 'noticed'; end $$")
assert "noticed" in conn.notices[-1]
conn.rollback()
conn.set_session(isolation_level="REPEATABLE READ", readonly=True)
cur.execute("show transaction_isolation")
assert cur.fetchone() == ("repeatable read",)
conn.rollback()
conn.set_client_encoding("LATIN1")
cur.execute("select 'é', length('é')")
assert cur.fetchone() == ("é", 1)
conn.rollback()
conn.close()


def work(number):
    with psycopg2.connect("connect_timeout=10") as own:
        own.autocommit = True
        cursor = own.cursor()
        cursor.execute("set application_name = %s", (f"thread {number}",))
        for i in range(50):
            cursor.execute("select %s + %s, current_setting('application_name')", (number, i))
            assert cursor.fetchone() == (number + i, f"thread {number}")


failures = []


def guarded(number):
    try:
        work(number)
    except BaseException as error:  # a thread's failure must fail the script
        failures.append(error)


threads = [threading.Thread(target=guarded, args=(number,)) for number in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert not failures, failures
print("psycopg2", psycopg2.__version__)
