package report

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; if the new one is right, run the tests with -update:\n%s", path, got)
	}
}

func TestText(t *testing.T) {
	var text, markdown bytes.Buffer
	c := segmentsCard()
	c.Figures = c.Figures[:2]
	if err := Text(&text, c); err != nil {
		t.Fatal(err)
	}
	golden(t, "card.txt", text.Bytes())
	for line := range strings.Lines(text.String()) {
		if n := utf8.RuneCountInString(line); n > 120 {
			t.Errorf("a line of %d characters: %s", n, line)
		}
	}
	if err := Markdown(&markdown, c); err != nil {
		t.Fatal(err)
	}
	golden(t, "card.md", markdown.Bytes())
}

func TestMarkIsWhatIsShown(t *testing.T) {
	m := measure(Metric{Name: "m", Value: 0.33512, Unit: Share, Better: Higher, Baselines: []Baseline{{"a", 0.2}, {"b", 0.33519}}})
	if m.Verdict != equal || m.Value != m.Baselines[1].Value {
		t.Errorf("%+v", m)
	}
}

func TestNothingIsWrittenOfAnInvalidCard(t *testing.T) {
	var out bytes.Buffer
	for name, err := range map[string]error{"text": Text(&out, Card{}), "page": HTML(&out, Card{}), "Markdown": Markdown(&out, Card{})} {
		if err == nil || out.Len() != 0 {
			t.Errorf("%s: %d bytes, %v", name, out.Len(), err)
		}
	}
}
