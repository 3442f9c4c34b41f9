package grants_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/grants/grantstest"
)

// reloading is a folder that is open, a clock and a register that the test moves.
type reloading struct {
	*grants.Grants
	t    *testing.T
	dir  string
	logs bytes.Buffer

	changes []string // versions, each of a set that came into force

	mu      sync.Mutex
	now     time.Time
	tenants grantstest.Tenants
}

const interval = 2 * time.Second

func openReloading(t *testing.T, policies string) *reloading {
	r := &reloading{t: t, dir: grantstest.Folder(t, policies, register...), now: noon, tenants: register}
	var err error
	r.Grants, err = grants.Open(r.dir, r, grants.Config{Interval: interval, Logger: slog.New(slog.NewTextHandler(&r.logs, nil)), Now: r.clock,
		Changed: func(before, after *grants.Set) { r.changes = append(r.changes, before.Version(), after.Version()) }})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *reloading) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

// All implements grants.Tenants.
func (r *reloading) All() []catalog.TenantRecord {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tenants
}

// wait moves the clock by the interval and lets the grants look.
func (r *reloading) wait() {
	r.mu.Lock()
	r.now = r.now.Add(interval)
	r.mu.Unlock()
	r.Set()
}

func (r *reloading) expect(what string, tag cardlake.Tag, fault string) {
	r.t.Helper()
	var got cardlake.Tag
	d := r.Decide(grants.Caller{Principal: ana}, grants.Query, cardlake.Transactions)
	if d.Allowed() {
		got = d.Scopes[0].ByTag(d.Table, grants.Clear)[0]
	}
	if got != tag {
		r.t.Errorf("%s: %q is given, want %q (%s)", what, got, tag, d.Reason)
	}
	if err := r.Err(); (err != nil) != (fault != "") || err != nil && !strings.Contains(err.Error(), fault) {
		r.t.Errorf("%s: error %v, want %q", what, err, fault)
	}
}

func giving(tag cardlake.Tag) string {
	return `permit (principal == Lake::Principal::"data_scientist/ana", action, resource is Lake::Slice) when { resource.tag == "` + string(tag) + `" };`
}

func TestReload(t *testing.T) {
	r := openReloading(t, giving("public"))
	r.expect("opened", "public", "")
	first := r.Set().Version()

	grantstest.Write(t, r.dir, "policies/test.cedar", giving("money"))
	r.expect("before the interval", "public", "")
	r.wait()
	r.expect("seen once: it may be half written", "public", "")
	r.wait()
	r.expect("seen twice", "money", "")
	if r.Set().Version() == first || !strings.Contains(r.logs.String(), r.Set().Version()) {
		t.Errorf("version %s, log %s", r.Set().Version(), &r.logs)
	}
	if !slices.Equal(r.changes, []string{first, r.Set().Version()}) {
		t.Errorf("told of %q", r.changes)
	}

	grantstest.Write(t, r.dir, "policies/test.cedar", "permit (")
	for range 4 {
		r.wait()
	}
	r.expect("a bad version", "money", "policies/test.cedar:1: is not Cedar")
	if n := strings.Count(r.logs.String(), "level=ERROR"); n != 1 {
		t.Errorf("%d errors in the log of one bad version", n)
	}
	grantstest.Write(t, r.dir, "policies/test.cedar", giving("identifier"))
	r.wait()
	r.wait()
	r.expect("mended", "identifier", "")

	grantstest.Write(t, r.dir, "policies/test.cedar", "permit (")
	if err := r.Reload(); err == nil {
		t.Error("a bad version reloads")
	}
	grantstest.Write(t, r.dir, "policies/test.cedar", giving("identifier"))
	if err := r.Reload(); err != nil {
		t.Errorf("put back as it was: %v", err)
	}
	grantstest.Write(t, r.dir, "policies/test.cedar", giving("public"))
	if err := r.Reload(); err != nil {
		t.Errorf("asked for: %v", err)
	}
	r.expect("asked for", "public", "")
}

func TestAFolderThatChangesAllTheTimeIsNotLoaded(t *testing.T) {
	r := openReloading(t, giving("public"))
	for i := range 5 {
		grantstest.Write(t, r.dir, "policies/test.cedar", giving("money")+strings.Repeat("\n", i))
		r.wait()
		r.expect("while it is written", "public", "")
	}
	r.wait()
	r.expect("when it rests", "money", "")
}

func TestAFolderThatIsGoneOpensNothing(t *testing.T) {
	r := openReloading(t, giving("public"))
	away := filepath.Join(t.TempDir(), "away")
	if err := os.Rename(r.dir, away); err != nil {
		t.Fatal(err)
	}
	r.wait()
	r.wait()
	r.expect("gone", "public", "there are no grants")
	if err := os.MkdirAll(filepath.Join(r.dir, "policies"), 0o700); err != nil {
		t.Fatal(err)
	}
	r.wait()
	r.wait()
	r.expect("empty", "public", "principals.json: is missing")
	os.RemoveAll(r.dir)
	if err := os.Rename(away, r.dir); err != nil {
		t.Fatal(err)
	}
	r.wait()
	r.expect("back", "public", "")
}

func TestTheRegisterIsHeededWhileTheFolderIsWrong(t *testing.T) {
	r := openReloading(t, giving("public")+` permit (principal, action, resource is Lake::Slice) when { resource.tenant == Lake::Tenant::"beta" };`)
	grantstest.Write(t, r.dir, "policies/test.cedar", "permit (")
	r.wait()
	r.wait()
	version := r.Set().Version()
	r.mu.Lock()
	r.tenants = append(grantstest.Tenants{tenantOf("acme", "BR", catalog.TenantSuspended), tenantOf("new", "BR", catalog.TenantActive)}, register[2:]...)
	r.mu.Unlock()
	r.wait()
	d := r.Decide(grants.Caller{Principal: ana}, grants.Query, cardlake.Transactions)
	if d.Scope("acme") != nil || d.Scope("new") == nil || d.Version == version {
		t.Errorf("acme is suspended, new is new: %v but %v", given(d), d.Except)
	}
	if err := r.Err(); err == nil || !strings.Contains(err.Error(), "policies/test.cedar:1") {
		t.Errorf("error %v", err)
	}
	// Who is not in the register any more is not among those whom it does not know.
	if !slices.Contains(d.Except, "beta") || d.Scope("beta") != nil || d.Scope("unheard-of") == nil {
		t.Errorf("beta is gone: %v but %v", given(d), d.Except)
	}
	version = d.Version
	r.mu.Lock()
	r.tenants = nil
	r.mu.Unlock()
	r.wait()
	d = r.Decide(grants.Caller{Principal: ana}, grants.Query, cardlake.Transactions)
	if d.Version == version || len(d.Except) != 5 {
		t.Errorf("the register is empty: %v but %v", given(d), d.Except)
	}
	grantstest.Write(t, r.dir, "policies/test.cedar", giving("money"))
	r.wait()
	r.wait()
	if d = r.Decide(grants.Caller{Principal: ana}, grants.Query, cardlake.Transactions); len(d.Except) != 5 {
		t.Errorf("a new set forgets who is gone: %v but %v", given(d), d.Except)
	}
}

func TestAnOverdueReviewDoesNotKeepPermissions(t *testing.T) {
	dir := grantstest.Folder(t, giving("public"), register...)
	g, err := grants.Open(dir, register, grants.Config{Production: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Set().Production(noon); err == nil {
		t.Fatal("nobody reviewed anything, and that is right")
	}
	grantstest.Write(t, dir, "policies/test.cedar", "")
	if err := g.Reload(); err != nil {
		t.Error(err)
	}
	if g.Decide(grants.Caller{Principal: ana}, grants.Query, cardlake.Transactions).Allowed() {
		t.Error("a permission that was withdrawn is in force")
	}
}

func TestDecisionsWhileReloading(t *testing.T) {
	r := openReloading(t, giving("public"))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				d := r.Decide(grants.Caller{Principal: ana}, grants.Query, cardlake.Transactions)
				if !d.Allowed() {
					t.Errorf("nothing is permitted for a moment: %s", d.Reason)
					return
				}
			}
		})
	}
	for i := range 20 {
		grantstest.Write(t, r.dir, "policies/other.cedar", strings.Repeat("\n", i+1))
		r.wait()
		r.wait()
	}
	close(stop)
	wg.Wait()
}
