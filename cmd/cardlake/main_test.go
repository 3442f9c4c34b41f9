package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/queries/queriestest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"cardlake": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			// mklake DIR FILES ROWS makes a lake with so many files of so many rows.
			"mklake": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) != 3 {
					ts.Fatalf("usage: mklake DIR FILES ROWS")
				}
				files, err := strconv.Atoi(args[1])
				ts.Check(err)
				rows, err := strconv.Atoi(args[2])
				ts.Check(err)
				ts.Check(makeLake(context.Background(), home.Dir(ts.MkAbs(args[0])), files, rows))
			},
		},
	})
}

const testOwner = keys.Owner("abcdefghijklmnop")

// makeKeyring makes the folder, and in it the lake's keyring and grants.
func makeKeyring(ctx context.Context, dir home.Dir) error {
	if err := dir.Make(); err != nil {
		return err
	}
	keyring, err := local.CreateFile(dir.LakeKeyring(), dir.LakeSecret(), keys.LakePurposes)
	if err != nil {
		return err
	}
	if err := keyring.EnsureOwners(ctx, keys.Lake, testOwner); err != nil {
		return err
	}
	return makeGrants(dir)
}

// makeGrants makes the register of the tenants that generated rows are of, and the starter
// grants.
func makeGrants(dir home.Dir) error {
	tenants, err := catalog.OpenTenants(dir.Tenants())
	if err != nil {
		return err
	}
	for _, t := range queriestest.Tenants {
		if _, err := tenants.Create(t.Name, t.Country, t.Currency, time.Now()); err != nil {
			return err
		}
	}
	return grants.Init(dir.Grants(), tenants)
}

// makeLake makes what the demo leaves behind: sealed files, a catalog and the lake's keyring.
func makeLake(ctx context.Context, dir home.Dir, files, rows int) error {
	if err := makeKeyring(ctx, dir); err != nil {
		return err
	}
	return fill(ctx, []string{"-dir", string(dir)}, files, rows)
}

func TestFormatsOnStdoutAreClean(t *testing.T) {
	dir := home.Dir(t.TempDir())
	if err := makeLake(t.Context(), dir, 1, 10); err != nil {
		t.Fatal(err)
	}
	for format, want := range map[string]string{"parquet": "PAR1", "arrow": "\xff\xff\xff\xff"} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), []string{"query", "-dir", string(dir), "-format", format, "SELECT tenant, amount, event_time FROM cards.transactions"}, nil, &stdout, &stderr)
		if code != 0 || !strings.HasPrefix(stdout.String(), want) || stderr.Len() != 0 {
			t.Errorf("%s: exit code %d, %d bytes that begin with %.4q, stderr %q", format, code, stdout.Len(), stdout.String(), stderr.String())
		}
	}
}

func TestInterrupted(t *testing.T) {
	dir := home.Dir(t.TempDir())
	if err := makeLake(t.Context(), dir, 1, 10); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr bytes.Buffer
	code := run(ctx, []string{"query", "-dir", string(dir), "SELECT 1"}, nil, &stdout, &stderr)
	if code != 1 || stderr.String() != "cardlake: interrupted\n" || stdout.Len() != 0 {
		t.Errorf("exit code %d, stderr %q", code, stderr.String())
	}
}

// TestNoZoneA holds the line of the trust zones for this binary.
func TestNoZoneA(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	const module = "github.com/cardlake/cardlake/"
	for pkg := range strings.Lines(string(out)) {
		top, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(pkg), module), "/")
		switch top {
		case "card", "tokenize", "ingest", "processor", "sim":
			t.Errorf("cardlake links %s", strings.TrimSpace(pkg))
		}
	}
}

// BenchmarkColdQuery starts the binary for every statement, as a shell does.
func BenchmarkColdQuery(b *testing.B) {
	binary := filepath.Join(b.TempDir(), "cardlake")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	b.Run("describe", func(b *testing.B) {
		dir := home.Dir(b.TempDir())
		if err := makeKeyring(b.Context(), dir); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if err := exec.Command(binary, "describe", "-dir", string(dir), "cards.transactions").Run(); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, files := range []int{12, 300} {
		b.Run(fmt.Sprintf("files=%d", files), func(b *testing.B) {
			dir := home.Dir(b.TempDir())
			if err := makeLake(b.Context(), dir, files, 1000); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				cmd := exec.Command(binary, "query", "-dir", string(dir), "SELECT tenant, count(*), avg(amount) FROM cards.transactions GROUP BY 1")
				if out, err := cmd.CombinedOutput(); err != nil {
					b.Fatalf("%v\n%s", err, out)
				}
			}
		})
	}
}
