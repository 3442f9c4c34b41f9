package labels_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cardlake/cardlake/queries/insights/labels"
)

const (
	one = "0190a5c2-6b1e-8f3a-9d2c-5e7b41c08f66"
	two = "0190a5c2-6b1e-8f3a-9d2c-5e7b41c08f67"
)

var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func TestRead(t *testing.T) {
	day := time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)
	want := []labels.Report{
		{EventID: one, Label: labels.Fraud, ReportedAt: day, Pattern: "card_testing", Note: "seen by, two"},
		{EventID: two, Label: labels.Genuine, ReportedAt: day.Add(90*time.Minute + time.Microsecond)},
	}
	for name, text := range map[string]string{
		"csv": "event_id,label,reported_at,pattern,note\n" + one + ",fraud,2026-04-01,card_testing,\"seen by, two\"\n" + two + ",genuine,2026-04-01T03:30:00.000001+02:00,,\n",
		"csv, other order, capitals, a mark, spaces, a repeat": "\ufeffLabel, Event_ID,reported_at,pattern,note\r\n, " + strings.ToUpper(one) + ",2026-04-01,card_testing,\"seen by, two\"\r\ngenuine," + two +
			",2026-04-01T01:30:00.000001Z,,\r\n\r\ngenuine," + two + ",2026-04-01T01:30:00.000001Z,,\r\n",
		"json": `{"event_id":"` + one + `","reported_at":"2026-04-01","pattern":"card_testing","note":"seen by, two","episode":"e1"}` + "\n\n" +
			` {"label":"genuine","event_id":"` + two + `","reported_at":"2026-04-01T01:30:00.000001Z","note":null}`,
	} {
		got, err := labels.Read(strings.NewReader(text), now)
		if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(labels.Report{})); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
	}
}

func TestReadFaults(t *testing.T) {
	const secret = "s3cret"
	for _, test := range []struct{ name, text, want string }{
		{"empty", "", "no reports"},
		{"heading only", "event_id\n", "no reports"},
		{"no heading", one + ",fraud\n", "heading's column 1"},
		{"unknown column", "event_id," + secret + "\n" + one + ",1\n", "heading's column 2"},
		{"column twice", "event_id,label,event_id\n", "heading's column 3"},
		{"no event_id", "label\nfraud\n", "no event_id"},
		{"too few", "event_id,label\n" + one + ",fraud\n" + secret + "\n", "line 3: has 1 fields"},
		{"quote", "event_id,label\n" + one + ",fr\"" + secret + "\n", "line 2, column 40"},
		{"blank lines before", "\n\nevent_id\n" + secret + "\n", "line 4: event_id is not"},
		{"event", "event_id\n\n" + secret + "\n", "line 3: event_id is not"},
		{"label", "event_id,label\n" + one + "," + secret + "\n", "line 2: label is neither"},
		{"time", "event_id,reported_at\n" + one + "," + secret + "\n", "line 2: reported_at is neither a day"},
		{"future", "event_id,reported_at\n" + one + ",2026-06-01\n", "reported_at is in the future"},
		{"past", "event_id,reported_at\n" + one + ",1999-12-31\n", "before the year 2000"},
		{"pattern", "event_id,pattern\n" + one + "," + secret + " " + secret + "\n", "pattern is not a word"},
		{"a card number for an event", "event_id\n4111111111111111\n", "line 2: event_id"},
		{"a card number for a pattern", "event_id,pattern\n" + one + ",4111-1111-1111-1111\n", "pattern looks like a card number"},
		{"a card number in a note", "event_id,note\n" + one + ",card 4111.1111.1111.1111 stolen\n", "note holds what looks like"},
		{"several faults", "event_id,label,note\n" + secret + "," + secret + ",x\n" + one + ",x,x\n", "event_id is not an event_id of cards.transactions: a UUID such as 0190a5c2-6b1e-8f3a-9d2c-5e7b41c08f66; label is neither fraud nor genuine\nline 3: label"},
		{"contradiction", "event_id,label\n" + one + ",fraud\n" + two + ",fraud\n" + one + ",genuine\n", "line 4: label of the event of line 2 is another"},
		{"json: no object", "{\"event_id\":\"" + one + "\"}\n[\"" + secret + "\"]\n", "line 2: is not a JSON object"},
		{"json: number", "{\"event_id\":7}\n", "line 1: is not a JSON object whose values are texts"},
		{"json: unknown", "{\"event_id\":\"" + one + "\",\"" + secret + "\":\"\"}\n", "line 1: has a field that is none of"},
		{"json: long", "{\"event_id\":\"" + one + "\",\"note\":\"" + strings.Repeat("x", 70_000) + "\"}\n", "line 1 is longer"},
		{"json: null", "{}\nnull\n", "line 1: event_id"},
	} {
		got, err := labels.Read(strings.NewReader(test.text), now)
		switch {
		case err == nil || !strings.Contains(err.Error(), test.want) || got != nil:
			t.Errorf("%s: %v", test.name, err)
		case strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "4111"):
			t.Errorf("%s: the error tells content: %v", test.name, err)
		}
	}
	// Many faults are not all told.
	_, err := labels.Read(strings.NewReader("event_id\n"+strings.Repeat("x\n", 1000)), now)
	if n := strings.Count(err.Error(), "\n") + 1; n != 20 {
		t.Errorf("%d faults", n)
	}
}

// endless is a file of one sign.
type endless byte

func (e endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(e)
	}
	return len(p), nil
}

func TestReadEnds(t *testing.T) {
	for name, file := range map[string]io.Reader{
		"a quote": io.MultiReader(strings.NewReader("event_id\n\""), endless('x')),
	} {
		if _, err := labels.Read(file, now); err == nil || !strings.Contains(err.Error(), "larger than 128 MiB") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add("event_id,label\n" + one + ",fraud\n")
	f.Add("{\"event_id\":\"" + one + "\"}\n")
	f.Add("\ufeff\n\n{")
	f.Add("event_id\n\"")
	f.Fuzz(func(t *testing.T, text string) {
		reports, err := labels.Read(strings.NewReader(text), now)
		if err == nil && len(reports) == 0 || err != nil && reports != nil {
			t.Fatalf("%d reports, %v", len(reports), err)
		}
		for _, r := range reports {
			if len(r.EventID) != 36 || r.Label != labels.Fraud && r.Label != labels.Genuine || r.ReportedAt.After(now.Add(25*time.Hour)) {
				t.Fatal("a report that is none was taken")
			}
		}
	})
}
