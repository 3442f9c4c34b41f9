import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;

/** What a tool such as DBeaver does over JDBC, and what it must be refused. */
public class Drivers {
    interface Action { void run() throws Exception; }

    static Connection connect(String token) throws SQLException {
        Properties p = new Properties();
        p.put("token", System.getenv(token));
        p.put("useEncryption", "true");
        p.put("useSystemTrustStore", "false");
        p.put("tlsRootCerts", System.getenv("CARDLAKE_CA"));
        return DriverManager.getConnection(System.getenv("CARDLAKE_JDBC"), p);
    }

    static List<String> rows(ResultSet r) throws SQLException {
        List<String> out = new ArrayList<>();
        while (r.next()) {
            StringBuilder row = new StringBuilder();
            for (int i = 1; i <= r.getMetaData().getColumnCount(); i++) {
                row.append(i > 1 ? " " : "").append(r.getString(i));
            }
            out.add(row.toString());
        }
        return out;
    }

    static List<String> query(Connection c, String sql) throws SQLException {
        try (Statement s = c.createStatement(); ResultSet r = s.executeQuery(sql)) {
            return rows(r);
        }
    }

    static void want(String what, Object got, Object want) {
        if (!want.equals(got)) {
            throw new AssertionError(what + ": " + got + ", want " + want);
        }
    }

    static void refused(String what, String text, Action a) throws Exception {
        try {
            a.run();
        } catch (Exception e) {
            for (Throwable t = e; t != null; t = t.getCause()) {
                if (String.valueOf(t.getMessage()).contains(text)) {
                    return;
                }
            }
            throw new AssertionError(what + " is refused with " + e, e);
        }
        throw new AssertionError(what + " is not refused");
    }

    public static void main(String[] args) throws Exception {
        String tenants = "SELECT tenant, count(*) FROM cards.transactions GROUP BY 1 ORDER BY 1";
        try (Connection c = connect("CARDLAKE_TOKEN")) {
            want("product", c.getMetaData().getDatabaseProductName(), "cardlake");
            want("read only", c.getMetaData().isReadOnly(), true);
            try (ResultSet r = c.getMetaData().getCatalogs()) {
                want("catalogs", rows(r), List.of("")); // no name that statements would have
            }
            want("schemas in statements", c.getMetaData().supportsSchemasInDataManipulation(), true);
            want("quote", c.getMetaData().getIdentifierQuoteString(), "\"");
            List<String> tables = new ArrayList<>();
            try (ResultSet r = c.getMetaData().getTables(null, "cards", "%", new String[] {"TABLE"})) {
                while (r.next()) {
                    tables.add(r.getString("TABLE_SCHEM") + "." + r.getString("TABLE_NAME"));
                }
            }
            want("tables", tables, List.of("cards.transactions"));
            int columns = 0;
            try (ResultSet r = c.getMetaData().getColumns(null, "cards", "transactions", "%")) {
                while (r.next()) {
                    columns++;
                }
            }
            if (columns < 20) {
                throw new AssertionError(columns + " columns");
            }
            want("rows", query(c, tenants), List.of("aurora 4000", "bolivar 4000", "cobre 4000"));
            try (var s = c.prepareStatement("SELECT sum(amount) FROM cards.transactions WHERE tenant = 'aurora'")) {
                for (int i = 0; i < 2; i++) {
                    try (ResultSet r = s.executeQuery()) {
                        want("prepared", rows(r).size(), 1);
                    }
                }
            }
            refused("a wrong column", "did you mean merchant_name", () -> query(c, "SELECT merchnt_name FROM cards.transactions"));
            refused("an update", "", () -> c.createStatement().executeUpdate("DELETE FROM cards.transactions"));
            Statement slow = c.createStatement();
            Thread canceller = new Thread(() -> {
                try {
                    Thread.sleep(1000);
                    slow.cancel();
                } catch (Exception e) {
                    e.printStackTrace();
                }
            });
            canceller.start();
            long began = System.nanoTime();
            refused("a statement that was cancelled", "", () -> rows(slow.executeQuery(
                "SELECT count(*) FROM cards.transactions a, cards.transactions b, cards.transactions c WHERE a.amount + b.amount + c.amount < 0")));
            canceller.join();
            if (System.nanoTime() - began > 30_000_000_000L) {
                throw new AssertionError("it was not cancelled");
            }
        }
        try (Connection c = connect("CARDLAKE_TOKEN_AURORA")) {
            want("a tenant's rows", query(c, tenants), List.of("aurora 4000"));
            want("another's rows", query(c, "SELECT count(*) FROM cards.transactions WHERE tenant = 'cobre'"), List.of("0"));
        }
        refused("nobody", "not signed in", () -> query(connect("CARDLAKE_TOKEN_NOBODY"), "SELECT 1"));
        System.out.println("all held");
    }
}
