package embedded_test

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/queriestest"
)

// TestNothingOnDisk sorts more than fits into memory, in an empty folder that is also the
// home and the place for temporary files. The kernel reports every file that is made there,
// also one that is gone again.
func TestNothingOnDisk(t *testing.T) {
	folder := t.TempDir()
	t.Chdir(folder)
	t.Setenv("HOME", folder)
	t.Setenv("TMPDIR", folder)
	watch, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(watch)
	if _, err := unix.InotifyAddWatch(watch, folder, unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_MODIFY); err != nil {
		t.Fatal(err)
	}
	made := func() string {
		buf := make([]byte, 64<<10)
		n, err := unix.Read(watch, buf)
		if errors.Is(err, unix.EAGAIN) {
			return ""
		}
		if err != nil || n <= unix.SizeofInotifyEvent {
			t.Fatalf("read events: %d bytes, error %v", n, err)
		}
		return string(bytes.TrimRight(buf[unix.SizeofInotifyEvent:n], "\x00"))
	}

	lake := queriestest.NewLake()
	if err := lake.Fill(6, 20_000); err != nil {
		t.Fatal(err)
	}
	parser := embedded.NewParser()
	defer parser.Close()
	g := queries.New(parser, embedded.New(lake, lake, embedded.Config{Memory: 24 << 20}), queriestest.Everything, &queriestest.Log{}, queries.Config{})

	before := descriptors(t)
	r, err := g.Query(t.Context(), queriestest.Caller, "SELECT tenant, count(*) FROM cards.transactions GROUP BY tenant")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range descriptors(t) {
		isOurs := strings.HasPrefix(d, "/memfd:cardlake") || strings.HasPrefix(d, "anon_inode:") ||
			strings.HasPrefix(d, "pipe:") || strings.HasPrefix(d, "/proc/")
		if !isOurs && !slices.Contains(before, d) {
			t.Errorf("the engine has %s open", d)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}

	var fault *queries.Error
	_, err = answer(t.Context(), g.As(queriestest.Caller), "SELECT max(x) FROM (SELECT event_id || range AS x FROM cards.transactions, range(20) ORDER BY x OFFSET 1)")
	if !errors.As(err, &fault) || !strings.Contains(fault.Message, "MiB of memory") {
		t.Errorf("a statement beyond its memory gives %v", err)
	}
	if name := made(); name != "" {
		t.Errorf("%s was written", name)
	}
	if err := os.WriteFile("probe", nil, 0o600); err != nil || made() != "probe" {
		t.Errorf("the watch does not see files, error %v", err)
	}
}
