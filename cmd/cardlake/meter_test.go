package main

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cardlake/cardlake/queries"
)

type threeRows struct {
	queries.Rows
	n int
}

func (r *threeRows) Next([]any) error {
	if r.n++; r.n > 3 {
		return io.EOF
	}
	return nil
}

// TestMeter: silent for a second, then phase, time and rows on one line, and nothing is left.
func TestMeter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var screen bytes.Buffer
		p := startMeter(&screen, time.Now(), "opening the lake")
		time.Sleep(900 * time.Millisecond)
		synctest.Wait()
		if screen.Len() > 0 {
			t.Errorf("%q", &screen)
		}
		p.is("running")
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		if got, want := screen.String(), eraseLine+"running, 1.0 s (Ctrl-C cancels)"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		firsts := 0
		rows := &counted{Rows: &threeRows{}, p: p, first: func() { firsts++ }}
		for rows.Next(nil) == nil {
		}
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		if !strings.HasSuffix(screen.String(), ", 1.5 s, 3 rows (Ctrl-C cancels)") || firsts != 1 {
			t.Errorf("%q, %d", &screen, firsts)
		}
		p.end()
		p.end()
		if !strings.HasSuffix(screen.String(), eraseLine) {
			t.Errorf("%q is left", &screen)
		}
	})
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if isTerminal(null) || isTerminal(&bytes.Buffer{}) {
		t.Error("that is no terminal")
	}
	startMeter(nil, time.Now(), "").end()
}
