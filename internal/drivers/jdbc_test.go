package drivers_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestJDBC: the Flight SQL JDBC driver, as DBeaver and its like use it. CARDLAKE_JDBC_DRIVER is
// the jar of org.apache.arrow:flight-sql-jdbc-driver.
func TestJDBC(t *testing.T) {
	jar := os.Getenv("CARDLAKE_JDBC_DRIVER")
	if os.Getenv("CARDLAKE_REAL") != "1" || jar == "" {
		t.Skip("CARDLAKE_REAL is not 1, or CARDLAKE_JDBC_DRIVER names no jar of the Flight SQL JDBC driver")
	}
	source, err := filepath.Abs("testdata/Drivers.java")
	if err != nil {
		t.Fatal(err)
	}
	out := newSite(t).run(t, "java", "--add-opens=java.base/java.nio=ALL-UNNAMED", "-cp", jar, source)
	if !strings.HasSuffix(out, "all held\n") {
		t.Error(out)
	}
}
