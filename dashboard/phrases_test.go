package dashboard_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// between is the part of a source file from one mark to the next line that begins with another.
func between(t *testing.T, text, from, to string) string {
	t.Helper()
	_, after, ok := strings.Cut(text, from)
	if !ok {
		t.Fatalf("%q is not there", from)
	}
	part, _, _ := strings.Cut(after, to)
	return part
}

var quoted = regexp.MustCompile(`"((?:[^"\\]|\\.)*)"`)

// What the jobs say in English is translated by its wording (web/js/phrases.js). A job that says
// something new, or otherwise, has to be known there.
func TestPhrasesKnowWhatJobsSay(t *testing.T) {
	script := read(t, "web/js/phrases.js")
	known := strings.NewReplacer("(minute|hour|day)s?", "", "(above|below)", "", "(.+)", "", "${n}", "").Replace(between(t, script, "const sentences = [", "\n]"))
	anomalies := read(t, "../queries/anomaly/features/reason.go")
	said := between(t, anomalies, "var sentences = ", "\n}\n") + between(t, anomalies, "func usesInAnHour", "\n}\n") + between(t, anomalies, "func (c *Case) plain", "\n}\n")
	said += between(t, read(t, "../queries/insights/recommendations/write.go"), ") reason(", "\n}\n")
	n := 0
	for _, m := range quoted.FindAllStringSubmatch(said, -1) {
		for _, part := range strings.Split(m[1], "%s") {
			if part = strings.Trim(part, " ;,:"); len(part) < 4 || !strings.Contains(part, " ") && part != "popular" && part != "declined" {
				continue
			}
			n++
			if !strings.Contains(known, part) {
				t.Errorf("a job says %q, which phrases.js does not know", part)
			}
		}
	}
	if n < 40 {
		t.Errorf("%d wordings of the jobs were found, want more than 40: has their place changed?", n)
	}
}

// The words that names of segments are made of, and what features are called, have a
// translation in each language.
func TestPhrasesHaveTheWordsOfSegmentsAndFeatures(t *testing.T) {
	script := read(t, "web/js/phrases.js")
	names := between(t, read(t, "../queries/segment/names.go"), "var Spending = ", "\n}\n")
	kinds := []string{"adjective", "noun", "does"}
	words := map[string][]string{"adjective": {"typical"}, "noun": {"customers"}}
	for _, m := range regexp.MustCompile(`Word\{"([^"]*)", "([^"]*)", "([^"]*)"\}`).FindAllStringSubmatch(names, -1) {
		for i, kind := range kinds {
			if m[i+1] != "" {
				words[kind] = append(words[kind], m[i+1])
			}
		}
	}
	if len(words["does"]) < 20 {
		t.Fatalf("%d habits were found in the vocabulary of segments, want more than 20", len(words["does"]))
	}
	var features []string
	source := read(t, "../queries/anomaly/features/feature.go")
	for _, list := range []string{"var own = ", "var others = "} {
		for _, m := range regexp.MustCompile(`:\s+\{"([a-z0-9_]+)", "`).FindAllStringSubmatch(between(t, source, list, "\n}\n"), -1) {
			features = append(features, m[1])
		}
	}
	if len(features) < 40 {
		t.Fatalf("%d features were found, want more than 40", len(features))
	}
	for _, language := range []string{"en", "es", "pt-BR"} {
		var texts map[string]string
		if err := json.Unmarshal([]byte(read(t, "web/i18n/"+language+"/phrases.json")), &texts); err != nil {
			t.Fatal(err)
		}
		for kind, list := range words {
			for _, w := range list {
				if !strings.Contains(script, `"`+w+`"`) {
					t.Errorf("phrases.js does not know the %s %q", kind, w)
				}
				if key := "phrases." + kind + "." + camel(w); texts[key] == "" {
					t.Errorf("%s: there is no %s", language, key)
				}
			}
		}
		for _, f := range features {
			if texts["phrases.feature."+f] == "" {
				t.Errorf("%s: there is no phrases.feature.%s", language, f)
			}
		}
	}
}

// camel is keyOf of phrases.js.
func camel(s string) string {
	var b strings.Builder
	up := false
	for _, r := range s {
		switch {
		case r == ' ' || r == '-':
			up = true
			continue
		case up:
			r = unicode.ToUpper(r)
		}
		up = false
		b.WriteRune(r)
	}
	return b.String()
}
