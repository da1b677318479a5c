"""psycopg 3 directly at the emulated cluster: TLS with verification, a fresh token for each connect."""

import os
import subprocess

import psycopg
from psycopg import errors


def connect(user="admin"):
    token = subprocess.run(
        [os.environ["DSQL_PROXY"], "token", "--emulator", os.environ["EMULATOR_DIR"], "--user", user],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    return psycopg.connect(
        host=os.environ["EMULATOR_ENDPOINT"],
        hostaddr=os.environ["EMULATOR_HOST"],
        port=os.environ["EMULATOR_PORT"],
        user=user,
        password=token,
        dbname="postgres",
        sslmode="verify-full",
        sslrootcert=os.environ["EMULATOR_CA"],
        connect_timeout=10,
    )


def must_fail(connection, kind, statement, *parameters):
    try:
        connection.execute(statement, *parameters)
    except kind as error:
        return error.diag.message_primary
    raise AssertionError(f"accepted: {statement}")


def main():
    with connect() as one, connect() as two:
        one.autocommit = two.autocommit = True
        one.execute("DROP TABLE IF EXISTS client_psycopg")
        one.execute("CREATE TABLE client_psycopg (id int PRIMARY KEY, n int)")
        # The other session meets the changed schema once.
        assert "OC001" in must_fail(two, errors.SerializationFailure, "SELECT 1")
        one.cursor().executemany("INSERT INTO client_psycopg VALUES (%s, %s)", [(i, 0) for i in range(50)])
        for _ in range(8):
            query = "SELECT count(*) FROM client_psycopg WHERE id < %s"
            assert two.execute(query, (10,), prepare=True).fetchone() == (10,)

        # A conflict shows at COMMIT, and to the second only.
        one.autocommit = two.autocommit = False
        for connection in (one, two):
            assert connection.execute("UPDATE client_psycopg SET n = n + 1 WHERE id = 1").rowcount == 1
        one.commit()
        try:
            two.commit()
            raise AssertionError("both writers of one row committed")
        except errors.SerializationFailure as error:
            assert "(OC000)" in str(error), error
        assert two.execute("SELECT n FROM client_psycopg WHERE id = 1").fetchone() == (1,)
        two.rollback()

        # A refusal fails the transaction.
        assert must_fail(one, errors.FeatureNotSupported, "TRUNCATE client_psycopg") == "unsupported statement: Truncate"
        must_fail(one, errors.InFailedSqlTransaction, "SELECT 1")
        one.rollback()
        one.autocommit = True
        too_many = "INSERT INTO client_psycopg SELECT g, 0 FROM generate_series(100, 3100) g"
        assert must_fail(one, errors.ProgramLimitExceeded, too_many) == "transaction row limit exceeded"

        with one.cursor().copy("COPY client_psycopg FROM STDIN") as copy:
            copy.write_row((1000, 7))
        with one.cursor(binary=True) as cursor:
            assert cursor.execute("SELECT n, %s::bytea FROM client_psycopg WHERE id = 1000", (b"\x00",)).fetchone() == (
                7,
                b"\x00",
            )
        job = one.execute("CREATE INDEX ASYNC ON client_psycopg (n)").fetchone()[0]
        assert one.execute("CALL sys.wait_for_job(%s)", (job,)).fetchone() == (True,)
        one.execute("DROP TABLE client_psycopg")
    print(f"psycopg {psycopg.__version__}")


main()
