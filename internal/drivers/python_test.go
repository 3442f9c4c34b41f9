package drivers_test

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake/internal/drivers"
)

var update = flag.Bool("update", false, "write the output of its code into docs/python.md")

const page = "../../docs/python.md"

// python is an interpreter with the packages that docs/python.md names.
func python(t *testing.T) string {
	t.Helper()
	name := os.Getenv("CARDLAKE_PYTHON")
	if os.Getenv("CARDLAKE_REAL") != "1" || name == "" {
		t.Skip("CARDLAKE_REAL is not 1, or CARDLAKE_PYTHON names no Python with adbc-driver-flightsql, duckdb, pandas, pyarrow and requests")
	}
	return name
}

// requestID is another each time.
var requestID = regexp.MustCompile(`request [a-p]{32}`)

// TestPage runs the code of docs/python.md that asks the doors from top to bottom, and wants the
// output that the page shows. What follows is for internal/readers.
func TestPage(t *testing.T) {
	interpreter := python(t)
	p, err := drivers.ReadPage(page, "", "\n## PyIceberg, on S3\n")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "page.py")
	if err := os.WriteFile(path, []byte(p.Script()), 0o600); err != nil {
		t.Fatal(err)
	}
	written, err := p.With(requestID.ReplaceAllString(newSite(t).run(t, interpreter, path), "request …"))
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := p.Update(written); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(p.Text(), written); d != "" {
		t.Errorf("the page does not show what its code prints; run with -update:\n%s", d)
	}
}

// TestPython does what the page does not show: what must be refused.
func TestPython(t *testing.T) {
	out := newSite(t).run(t, python(t), "-c", checks)
	if !strings.HasSuffix(out, "all held\n") {
		t.Error(out)
	}
}

const checks = `
import os, threading, time
import adbc_driver_flightsql.dbapi as flightsql
import adbc_driver_manager
from adbc_driver_flightsql import DatabaseOptions

def connect(token):
    return flightsql.connect(os.environ["CARDLAKE_FLIGHT"], db_kwargs={
        DatabaseOptions.AUTHORIZATION_HEADER.value: "Bearer " + os.environ[token],
        DatabaseOptions.TLS_ROOT_CERTS.value: open(os.environ["CARDLAKE_CA"]).read()}, autocommit=True)

def refused(what, text, f):
    try:
        f()
    except Exception as e:
        assert text in str(e), f"{what}: {e}"
        return
    raise AssertionError(what + " is not refused")

def bind(c):
    with c.cursor() as cursor:
        cursor.execute("SELECT ?", (1,))

def rows(c, sql):
    with c.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()

everything, aurora, nobody = connect("CARDLAKE_TOKEN"), connect("CARDLAKE_TOKEN_AURORA"), connect("CARDLAKE_TOKEN_NOBODY")
tenants = "SELECT tenant, count(*) FROM cards.transactions GROUP BY 1 ORDER BY 1"
assert [r[0] for r in rows(everything, tenants)] == ["aurora", "bolivar", "cobre"]
assert rows(aurora, tenants) == [("aurora", 4000)], rows(aurora, tenants)
assert rows(aurora, "SELECT count(*) FROM cards.transactions WHERE tenant = 'cobre'") == [(0,)]
masked = rows(everything, "SELECT DISTINCT card_token FROM cards.transactions")
assert all(r[0] is None or r[0].startswith("…") for r in masked), masked
refused("nobody", "not signed in", lambda: rows(nobody, "SELECT 1"))
refused("a wrong column", "there is no column", lambda: rows(everything, "SELECT nothing FROM cards.transactions"))
refused("a file", "", lambda: rows(everything, "SELECT * FROM read_csv('/etc/passwd')"))
refused("an update", "", lambda: rows(everything, "DELETE FROM cards.transactions"))
refused("a parameter", "parameter", lambda: bind(everything))

# A cursor that is cancelled ends.
cursor = everything.cursor()
timer = threading.Timer(1, cursor.adbc_cancel)
timer.start()
began = time.monotonic()
def slow():
    cursor.execute("SELECT count(*) FROM cards.transactions a, cards.transactions b, cards.transactions c WHERE a.amount + b.amount + c.amount < 0")
    cursor.fetchall()
refused("a statement that was cancelled", "", slow)
assert time.monotonic() - began < 30
cursor.close()

# Large answers come in batches, each once.
cursor = everything.cursor()
cursor.execute("SELECT a.event_id FROM cards.transactions a, generate_series(1, 20) g")
reader = cursor.fetch_record_batch()
sizes = [len(batch) for batch in reader]
assert sum(sizes) == 240000 and max(sizes) <= 8192, sizes
reader.close()
cursor.close()
for c in (everything, aurora, nobody):
    c.close()
print("all held")
`
