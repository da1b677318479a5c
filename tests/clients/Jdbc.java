// pgjdbc: extended protocol, server-prepared statements, batches, fetch sizes, COPY, cancel, large objects refused or served.

import java.io.StringReader;
import java.io.StringWriter;
import java.sql.*;
import java.util.Properties;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;

public class Jdbc {
    static void check(boolean right, String what) {
        if (!right) throw new AssertionError(what);
    }

    static Connection connect(String... extra) throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", System.getenv("PGUSER"));
        properties.setProperty("password", System.getenv("PGPASSWORD"));
        properties.setProperty("ApplicationName", "pgjdbc");
        properties.setProperty("loginTimeout", "10");
        for (int i = 0; i < extra.length; i += 2) properties.setProperty(extra[i], extra[i + 1]);
        String url = "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/"
            + System.getenv("PGDATABASE");
        return DriverManager.getConnection(url, properties);
    }

    static void basics(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            statement.execute("drop table if exists client_jdbc");
            statement.execute("create table client_jdbc (id int primary key, name text, n numeric)");
        }
        connection.setAutoCommit(false);
        try (PreparedStatement insert = connection.prepareStatement("insert into client_jdbc values (?, ?, ?)")) {
            for (int i = 0; i < 1000; i++) {
                insert.setInt(1, i);
                insert.setString(2, "name " + i);
                insert.setBigDecimal(3, new java.math.BigDecimal(i).movePointLeft(2));
                insert.addBatch();
            }
            check(insert.executeBatch().length == 1000, "batch");
        }
        connection.commit();
        // Beyond prepareThreshold the statement gets a name.
        try (PreparedStatement select = connection.prepareStatement("select name, n from client_jdbc where id = ?")) {
            for (int i = 0; i < 20; i++) {
                select.setInt(1, i);
                try (ResultSet rows = select.executeQuery()) {
                    check(rows.next() && rows.getString(1).equals("name " + i), "row " + i);
                }
                if (i % 4 == 0) connection.commit();
            }
        }
        connection.commit();
    }

    static void fetches(Connection connection) throws Exception {
        try (PreparedStatement select = connection.prepareStatement("select id from client_jdbc order by id")) {
            select.setFetchSize(37);
            int count = 0;
            try (ResultSet rows = select.executeQuery()) {
                while (rows.next()) check(rows.getInt(1) == count++, "order");
            }
            check(count == 1000, "fetched " + count);
        }
        connection.commit();
    }

    static void errors(Connection connection) throws Exception {
        Savepoint savepoint = connection.setSavepoint();
        try (PreparedStatement insert = connection.prepareStatement("insert into client_jdbc values (?, 'again', 0)")) {
            for (int i = 2000; i < 2010; i++) {
                insert.setInt(1, i == 2005 ? 1 : i);
                insert.addBatch();
            }
            insert.executeBatch();
            throw new AssertionError("no error");
        } catch (BatchUpdateException error) {
            check(error.getSQLState().equals("23505"), error.getSQLState());
        }
        connection.rollback(savepoint);
        try (Statement statement = connection.createStatement();
             ResultSet rows = statement.executeQuery("select count(*) from client_jdbc")) {
            check(rows.next() && rows.getInt(1) == 1000, "rolled back");
        }
        connection.commit();
    }

    static void copies(Connection connection) throws Exception {
        CopyManager copy = connection.unwrap(PGConnection.class).getCopyAPI();
        StringBuilder text = new StringBuilder();
        for (int i = 5000; i < 6000; i++) text.append(i).append("\tcopied\t1\n");
        check(copy.copyIn("copy client_jdbc from stdin", new StringReader(text.toString())) == 1000, "copy in");
        StringWriter out = new StringWriter();
        check(copy.copyOut("copy (select * from client_jdbc) to stdout csv", out) == 2000, "copy out");
        connection.rollback();
        try {
            copy.copyIn("copy client_jdbc from stdin", new StringReader("1\ttwice\t1\n"));
            throw new AssertionError("no error");
        } catch (SQLException error) {
            check(error.getSQLState().equals("23505"), error.getSQLState());
        }
        connection.rollback();
    }

    static void cancels(Connection connection) throws Exception {
        connection.setAutoCommit(true);
        try (Statement statement = connection.createStatement()) {
            statement.setQueryTimeout(1);
            statement.execute("select pg_sleep(30)");
            throw new AssertionError("not cancelled");
        } catch (SQLException error) {
            check(error.getSQLState().equals("57014"), error.getSQLState());
        }
        try (Statement statement = connection.createStatement();
             ResultSet rows = statement.executeQuery("select 1")) {
            check(rows.next() && rows.getInt(1) == 1, "after the cancel");
        }
    }

    static void settings(Connection connection) throws Exception {
        connection.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
        connection.setReadOnly(true);
        check(connection.getTransactionIsolation() == Connection.TRANSACTION_SERIALIZABLE, "isolation");
        connection.setAutoCommit(false);
        try (Statement statement = connection.createStatement();
             ResultSet rows = statement.executeQuery("show transaction_read_only")) {
            check(rows.next() && rows.getString(1).equals("on"), "read only");
        }
        connection.commit();
        connection.setSchema("pg_catalog");
        check(connection.getSchema().equals("pg_catalog"), "schema");
        connection.commit();
        try (ResultSet rows = connection.getMetaData().getTables(null, "public", "client_jdbc", null)) {
            check(rows.next(), "metadata");
        }
        connection.commit();
    }

    public static void main(String[] arguments) throws Exception {
        for (String mode : new String[] {"extended", "extendedForPrepared", "extendedCacheEverything", "simple"}) {
            try (Connection connection = connect("preferQueryMode", mode)) {
                basics(connection);
                fetches(connection);
                errors(connection);
                copies(connection);
                cancels(connection);
            }
        }
        try (Connection connection = connect("autosave", "always", "prepareThreshold", "1")) {
            basics(connection);
            errors(connection);
        }
        try (Connection connection = connect("prepareThreshold", "-1", "binaryTransfer", "true")) {
            basics(connection);
            settings(connection);
        }
        System.out.println("pgjdbc " + org.postgresql.Driver.getVersion());
    }
}
