package labels_test

import (
	"strings"
	"testing"

	"github.com/cardlake/cardlake/queries/insights/labels"
)

// TestCheckNote: card numbers as people paste them, and texts that read as others.
func TestCheckNote(t *testing.T) {
	for note, want := range map[string]string{
		"card 4111 1111 1111 1111":                        "card number",
		"card 4111\u00a01111\u00a01111\u00a01111":         "card number", // from a web page
		"card 4111  1111  1111  1111":                     "card number",
		"card 4111 - 1111 - 1111 - 1111":                  "card number",
		"card 4111\u20131111\u20131111\u20131111":         "card number",
		"card 4111\u200b1111\u200b1111\u200b1111":         "card number",
		"card \uff14\uff11\uff11\uff111111\uff1111111111": "card number",
		"card ٤١١١١١١١١١١١١١١١":                           "card number",
		"fraud\u202eeniuneg":                              "one line",
		"one\u2028two":                                    "one line",
		"a\x1b[2Jb":                                       "one line",
		"reported on 2026-03-01, 09:30, by telephone":     "",
		"amount 4111, 1111 others, 1111 and 1111":         "",
		"zero 0000 0000 0000 0000":                        "",
		"日本 ligou às 9h":                                  "",
	} {
		err := labels.CheckNote(note)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", note, err, want)
		}
	}
}
