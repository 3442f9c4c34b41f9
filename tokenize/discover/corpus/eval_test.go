package corpus_test

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize/discover"
	"github.com/cardlake/cardlake/tokenize/discover/corpus"
	"github.com/cardlake/cardlake/tokenize/discover/formats"
)

// score is what became of one category.
type score struct{ planted, found, secrets, secretsFound, nearMisses, false int }

func (s score) recall() float64 { return float64(s.found) / float64(max(s.planted, 1)) }

func evaluate(t *testing.T, samples []corpus.Sample) map[string]*score {
	t.Helper()
	key := keys.NewKey()
	detector := discover.NewDetector(discover.DetectorConfig{FingerprintKey: key})
	fingerprint := func(digits string) string {
		m := hmac.New(sha256.New, key.Bytes())
		m.Write([]byte(digits))
		return string(cardlake.AppendLetters(nil, m.Sum(nil)[:8]))
	}
	scores := map[string]*score{}
	for _, sample := range samples {
		s := scores[sample.Category]
		if s == nil {
			s = new(score)
			scores[sample.Category] = s
		}
		wanted := map[string]string{}
		for _, d := range sample.Planted {
			wanted[fingerprint(d)] = d
		}
		found := map[string]bool{}
		scanner := formats.New(detector, formats.Config{}, func(d discover.Detection) bool {
			switch {
			case d.Confidence < discover.Medium:
			case d.Kind.IsSAD():
				s.secretsFound++
				found[d.Fingerprint] = true // a track's number
			case wanted[d.Fingerprint] == "":
				s.false++
			default:
				found[d.Fingerprint] = true
			}
			return true
		})
		if err := scanner.File(t.Context(), sample.Name, bytes.NewReader(sample.Data)); err != nil {
			t.Fatal(err)
		}
		for _, f := range scanner.Stats().Faults {
			t.Errorf("%s: %v", sample.Category, f)
		}
		s.planted += len(wanted)
		s.secrets += sample.Secrets
		s.nearMisses += sample.NearMisses
		for f, d := range wanted {
			if found[f] {
				s.found++
			} else if s.planted-s.found < 4 {
				t.Logf("%s: not found: a number of %d digits that begins with %s", sample.Category, len(d), d[:6])
			}
		}
	}
	return scores
}

func report(t *testing.T, scores map[string]*score) {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "category\tplanted\tfound\trecall\tSAD\tfound\tnear misses\tfalse\tprecision\tper thousand")
	var sum score
	line := func(name string, s score) {
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%d\t%d\t%d\t%d\t%s\t%s\n", name, s.planted, s.found, share(s.found, s.planted), s.secrets, s.secretsFound,
			s.nearMisses, s.false, share(s.found, s.found+s.false), share(1000*s.false, s.nearMisses))
	}
	for _, name := range slices.SortedFunc(maps.Keys(scores), cmp.Compare) {
		s := *scores[name]
		line(name, s)
		sum.planted, sum.found, sum.secrets, sum.secretsFound, sum.nearMisses, sum.false = sum.planted+s.planted, sum.found+s.found, sum.secrets+s.secrets, sum.secretsFound+s.secretsFound, sum.nearMisses+s.nearMisses, sum.false+s.false
	}
	line("all", sum)
	w.Flush()
	t.Log("\n" + b.String())
}

// share is part of whole, "–" where there is none to have a part of.
func share(part, whole int) string {
	if whole == 0 {
		return "–"
	}
	return fmt.Sprintf("%.4f", float64(part)/float64(whole))
}

// TestRecall searches for planted card data: of each category at least 0.99 is found.
func TestRecall(t *testing.T) {
	samples, err := corpus.New(1).Planted(400)
	if err != nil {
		t.Fatal(err)
	}
	scores := evaluate(t, samples)
	report(t, scores)
	for name, s := range scores {
		if s.recall() < 0.99 {
			t.Errorf("%s: recall %.4f of %d", name, s.recall(), s.planted)
		}
		if s.secretsFound < s.secrets*99/100 {
			t.Errorf("%s: %d of %d tracks, codes and PIN blocks", name, s.secretsFound, s.secrets)
		}
	}
}

// TestNearMisses searches numbers that are no card numbers: of each kind fewer than one in a
// thousand is taken for one.
func TestNearMisses(t *testing.T) {
	scores := evaluate(t, corpus.New(2).NearMisses(3000))
	report(t, scores)
	for name, s := range scores {
		if 1000*s.false >= s.nearMisses {
			t.Errorf("%s: %d of %d taken for card numbers", name, s.false, s.nearMisses)
		}
	}
}
