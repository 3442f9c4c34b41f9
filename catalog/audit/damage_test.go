package audit

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// One byte of an old, acknowledged line becomes zero. Opening the log must not take the lines behind it away.
func TestZeroByteInAnOldLine(t *testing.T) {
	for _, anchored := range []bool{false, true} {
		ring := &keyring{}
		dir := t.TempDir()
		cfg := Config{}
		if anchored {
			cfg.Anchor = FileAnchor(filepath.Join(t.TempDir(), "anchor"))
		}
		l := open(t, dir, ring, cfg)
		fill(t, l, 50)
		closed(t, l)
		path := filepath.Join(dir, segmentName(1))
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		third := bytes.Index(text, []byte(`"seq":3,`))
		text[third+40] = 0
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		cfg.Actor, cfg.Origin = "test", "test"
		again, err := Open(t.Context(), dir, ring, cfg)
		if err == nil {
			closed(t, again)
		}
		after, rerr := os.ReadFile(path)
		if rerr != nil {
			t.Fatal(rerr)
		}
		if !errors.Is(err, ErrBroken) && !errors.Is(err, ErrTruncated) || len(after) != len(text) {
			t.Errorf("anchored %v: error %v; %d of %d lines are left in the file", anchored, err, bytes.Count(after, []byte("\n")), bytes.Count(text, []byte("\n")))
		}
	}
}
