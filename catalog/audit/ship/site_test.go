package ship

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/writers/objects"
)

// faked is a store whose bytes a test can change.
type faked struct {
	objects map[string][]byte
	puts    func(name string) error // fails a put, after it happened if it says so
}

var errAfter = errors.New("after it happened")

func newMemory() *faked {
	return &faked{objects: map[string][]byte{}}
}

func (m *faked) Put(_ context.Context, name string, owner keys.Owner, body []byte) error {
	if err := errors.Join(objects.ValidateName(name), objects.ValidateOwner(owner)); err != nil {
		return err
	}
	var err error
	if m.puts != nil {
		if err = m.puts(name); err != nil && !errors.Is(err, errAfter) {
			return err
		}
	}
	if _, ok := m.objects[name]; ok {
		return objects.ErrExists
	}
	m.objects[name] = bytes.Clone(body)
	return err
}

type memoryObject struct{ *bytes.Reader }

func (memoryObject) Close() error { return nil }

func (m *faked) Open(_ context.Context, name string) (objects.Object, error) {
	b, ok := m.objects[name]
	if !ok {
		return nil, objects.ErrNotFound
	}
	return memoryObject{bytes.NewReader(b)}, nil
}

func (m *faked) List(_ context.Context, prefix string) iter.Seq2[objects.Info, error] {
	return func(yield func(objects.Info, error) bool) {
		for name, b := range m.objects {
			if strings.HasPrefix(name, prefix) && !yield(objects.Info{Name: name, Size: int64(len(b))}, nil) {
				return
			}
		}
	}
}

func (m *faked) Delete(_ context.Context, name string) error {
	delete(m.objects, name)
	return nil
}

// memoryTable keeps the rule of positions and nothing else.
type memoryTable struct {
	positions cardlake.Positions
	files     []cardlake.DataFile
	fail      func() error // of Append; errAfter fails it after it happened
}

func (t *memoryTable) Positions(context.Context) (cardlake.Positions, error) {
	return t.positions.Clone(), nil
}

func (t *memoryTable) Files(context.Context, int64) ([]cardlake.DataFile, error) {
	return slices.Clone(t.files), nil
}

func (t *memoryTable) Append(_ context.Context, a catalog.Append) (catalog.Snapshot, error) {
	var err error
	if t.fail != nil {
		if err = t.fail(); err != nil && !errors.Is(err, errAfter) {
			return catalog.Snapshot{}, err
		}
	}
	for sp := range a.To {
		if t.positions[sp] != a.From[sp] {
			return catalog.Snapshot{}, catalog.ErrConflict
		}
	}
	t.positions = t.positions.Merge(a.To)
	t.files = append(t.files, a.Files...)
	if err != nil {
		return catalog.Snapshot{}, fmt.Errorf("%w: %w", catalog.ErrUnknown, err)
	}
	return catalog.Snapshot{}, nil
}

// site is a log with what it is shipped to.
type site struct {
	testing.TB
	ring    *local.Keyring
	signer  *audit.Signer
	dir     string
	store   *faked
	archive *faked
	table   *memoryTable
	verify  audit.VerifyConfig
	cfg     Config
}

func newSite(t testing.TB) *site {
	t.Helper()
	return newSiteOf(t, newRing(t))
}

func newRing(t testing.TB) *local.Keyring {
	t.Helper()
	at := t.TempDir()
	ring, err := local.CreateFile(filepath.Join(at, "keyring"), filepath.Join(at, "secret"), keys.LakePurposes)
	if err != nil {
		t.Fatal(err)
	}
	if err := ring.EnsureOwners(t.Context(), keys.Lake); err != nil {
		t.Fatal(err)
	}
	return ring
}

func newSiteOf(t testing.TB, ring *local.Keyring) *site {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "log")
	signer, err := audit.OpenSigner(t.Context(), dir, ring)
	if err != nil {
		t.Fatal(err)
	}
	public, err := audit.PublicKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{
		TB: t, ring: ring, signer: signer, dir: dir, store: newMemory(), archive: newMemory(), table: &memoryTable{},
		verify: audit.VerifyConfig{Keys: ring, Public: public},
	}
	s.cfg.Archive = s.archive
	return s
}

// write appends lines in a segment of their own.
func (s *site) write(n int) {
	s.Helper()
	l := s.open()
	s.fill(l, n)
	if err := l.Close(); err != nil {
		s.Fatal(err)
	}
}

func (s *site) open() *audit.Log {
	s.Helper()
	l, err := audit.OpenShared(s.Context(), s.dir, s.ring, audit.Config{Actor: "tester", Origin: "host", Signer: s.signer})
	if err != nil {
		s.Fatal(err)
	}
	return l
}

func (s *site) fill(l *audit.Log, n int) {
	s.Helper()
	for i := range n {
		r := audit.Record{
			Actor: "auditor/ana", Action: "query", Resource: "cards.transactions", Outcome: audit.Allowed, Origin: "192.0.2.7", Request: fmt.Sprint("r", i),
			Reason: "month end", Detail: map[string]string{"tenants": "aurora-pay", "version": "v1", "columns": "amount", "rows": "text"}, Numbers: map[string]int64{"rows": int64(i)},
		}
		if i%3 == 2 {
			r = audit.Record{Actor: "operator/otto", Action: "maintain", Resource: "cards.transactions", Outcome: audit.Refused}
		}
		if err := l.Append(s.Context(), r); err != nil {
			s.Fatal(err)
		}
	}
}

func (s *site) shipper() *Shipper {
	s.Helper()
	one, err := New(s.dir, s.store, s.table, s.verify, s.cfg)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(one.Close)
	return one
}

func (s *site) ship() Report {
	s.Helper()
	r, err := s.shipper().Once(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	return r
}

func (s *site) compare() Comparison {
	s.Helper()
	c, err := Compare(s.Context(), audit.Dir(s.dir), s.verify, s.table, s.store)
	if err != nil {
		s.Fatal(err)
	}
	return c
}

// copyDir returns the log's files, to be changed and written elsewhere.
func (s *site) files() map[string][]byte {
	s.Helper()
	out := map[string][]byte{}
	names, err := filepath.Glob(filepath.Join(s.dir, "audit-*"))
	if err != nil {
		s.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			s.Fatal(err)
		}
		out[filepath.Base(name)] = b
	}
	return out
}

func (s *site) segmentsInArchive() []string {
	var out []string
	for name := range maps.Keys(s.archive.objects) {
		if strings.HasSuffix(name, ".jsonl") {
			out = append(out, filepath.Base(name))
		}
	}
	slices.Sort(out)
	return out
}
