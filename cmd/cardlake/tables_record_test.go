package main

import (
	"strings"
	"testing"

	"github.com/cardlake/cardlake/internal/home"
)

// TestLooksAreOnRecord: who asked what tables there are, with how many rows, and who was refused.
func TestLooksAreOnRecord(t *testing.T) {
	dir := home.Dir(t.TempDir())
	if err := makeLake(t.Context(), dir, 1, 3); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		line string
	}{
		{[]string{"tables"}, 0, `"actor":"data_scientist/local","action":"tables","resource":"tables","outcome":"allowed"`},
		{[]string{"tables", "-as", "data_scientist/nobody"}, 2, `"actor":"data_scientist/nobody","action":"tables","resource":"tables","outcome":"refused"`},
		{[]string{"describe", "cards.transactions"}, 0, `"actor":"data_scientist/local","action":"table","resource":"cards.transactions","outcome":"allowed"`},
		{[]string{"describe", "views.declines"}, 0, `"actor":"data_scientist/local","action":"table","resource":"views.declines","outcome":"allowed"`},
		{[]string{"describe", "-as", "auditor/local", "views.declines"}, 2, `"actor":"auditor/local","action":"table","resource":"a table","outcome":"refused"`},
		{[]string{"describe", "-reason", "all of it"}, 0, `"action":"tables","resource":"tables","outcome":"allowed","origin"`},
		{[]string{"describe", "-as", "data_scientist/nobody", "cards.transactions"}, 2, `"actor":"data_scientist/nobody","action":"table","resource":"a table","outcome":"refused"`},
	} {
		args := append([]string{"-dir", string(dir)}, c.args[1:]...)
		if _, errs, code := command(t, c.args[0], args...); code != c.code {
			t.Errorf("%q: exit code %d, %s", c.args, code, errs)
		}
		if log := recorded(t, dir); !strings.Contains(log, c.line) {
			t.Errorf("%q is not on record:\n%s", c.args, log)
		}
	}
}
