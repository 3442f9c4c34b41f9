package retention

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/parquet"
)

// TestEraseNotes erases a person of whose events somebody had written notes, and of whom a run
// that was superseded had said something.
func TestEraseNotes(t *testing.T) {
	for name, isKilled := range map[string]bool{"at once": false, "killed between": true} {
		t.Run(name, func(t *testing.T) {
			l := peopled(t, parquet.Config{})
			var theirs, other string
			for id, row := range l.rows() {
				if row["tenant"] != string(acme) {
					continue
				}
				switch row["customer_id"] {
				case maria:
					theirs = id
				case paulo:
					other = id
				}
			}
			const secret = "Maria called, her son had the card"
			for _, tenant := range []cardlake.Tenant{acme, zeta} {
				l.putTexts(cardlake.Labels, tenant, "2026-03-05",
					map[string]string{"event_id": theirs, "note": secret}, map[string]string{"event_id": other, "note": "kept"},
					map[string]string{"event_id": theirs, "note": ""}, map[string]string{"event_id": "of nothing", "note": "kept too"})
			}
			l.putDerived(cardlake.Predictions, acme, "2026-03-04", [2]string{maria})
			superseded := l.live(cardlake.Predictions)[0].Name
			_, err := l.table(cardlake.Predictions).Replace(t.Context(), catalog.Replace{Remove: []string{superseded}, Operation: catalog.OpDelete})
			l.check(err)
			before := l.live(cardlake.Labels)

			if isKilled {
				// A pass that was killed when it had replaced the file.
				k := l.keeper()
				r, err := l.tenants.Lookup(acme)
				l.check(err)
				s, err := k.secret(t.Context(), r, true)
				l.check(err)
				w := newWanted(s)
				w.customers[maria] = true
				mine := slices.DeleteFunc(l.live(cardlake.Transactions), func(f cardlake.DataFile) bool { return f.Tenant != acme })
				l.check(k.eraseNotes(t.Context(), r, mine, w, &Erased{}))
			}
			e, err := l.keeper().Erase(t.Context(), acme, maria, false)
			l.check(err)
			if want := int64(1); e.Notes != want && !isKilled {
				t.Errorf("%d notes went, want %d", e.Notes, want)
			}
			var got []string
			for _, f := range l.live(cardlake.Labels) {
				body, err := objects.ReadAll(t.Context(), l.store, f.Name)
				l.check(err)
				for _, row := range l.read(body) {
					got = append(got, row["tenant"]+": "+strings.ReplaceAll(row["event_id"], theirs, "theirs")+": "+row["note"])
				}
			}
			slices.Sort(got)
			want := []string{
				"acme: " + other + ": kept", "acme: of nothing: kept too", "acme: theirs: (null)", "acme: theirs: (null)",
				"zeta: " + other + ": kept", "zeta: of nothing: kept too", "zeta: theirs: (null)", "zeta: theirs: " + secret,
			}
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("labels\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			gone := []string{superseded}
			for _, f := range before {
				if f.Tenant == acme {
					gone = append(gone, f.Name)
				}
			}
			for _, name := range gone {
				if _, err := objects.ReadAll(t.Context(), l.store, name); !errors.Is(err, objects.ErrNotFound) {
					t.Errorf("%s is still there: %v", name, err)
				}
			}
			if again, err := l.keeper().Reapply(t.Context()); err != nil || len(again) != 0 {
				t.Errorf("once more: %+v, %v", again, err)
			}
		})
	}
}
