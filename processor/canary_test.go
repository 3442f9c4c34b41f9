package processor

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cardlake/cardlake/processor/iso8583"
)

// TestNothingSecretStaysBehind pushes card numbers, tracks, PIN blocks and verification
// values through good and broken messages, in every element that could carry one, and then
// searches whatever the processor wrote: logs, counters, answers, and every byte of the
// ledger's folder.
func TestNothingSecretStaysBehind(t *testing.T) {
	r := start(t, nil)
	const (
		discretionary = "2018364529107" // of the track: service code and what follows
		pinBlock      = "9F3C71D2A86B04E5"
		cvv           = "9Q67Z9" // in no time stamp or port by chance
	)
	track := goodPAN + "=2812" + discretionary
	secrets := [][]byte{[]byte(discretionary), []byte(pinBlock), []byte(cvv)}
	if raw, err := hex.DecodeString(pinBlock); err == nil {
		secrets = append(secrets, raw)
	}
	for _, pan := range []string{goodPAN, neverPAN, stolenPAN, noLuhnPAN, foreignPAN} {
		bcd, err := hex.DecodeString(pan)
		if err != nil {
			t.Fatal(err)
		}
		var utf16 []byte
		for _, c := range []byte(pan) {
			utf16 = append(utf16, c, 0)
		}
		// Base64 shows the middle of a text the same at one of three alignments.
		for shift := range 3 {
			secrets = append(secrets, []byte(base64.StdEncoding.EncodeToString([]byte(pan[shift:]))[:16]))
		}
		secrets = append(secrets, []byte(pan), bcd, utf16, []byte(hex.EncodeToString([]byte(pan))))
	}

	var answers bytes.Buffer
	stan := 0
	for _, pan := range []string{goodPAN, neverPAN, stolenPAN, noLuhnPAN, foreignPAN} {
		for _, change := range []message{
			{},
			{35: strings.Replace(track, goodPAN, pan, 1), 52: pinBlock},
			{43: iso8583.Acceptor{Name: "SHOP " + pan, City: pan[:13], Country: "AR"}.String()},
			{43: fmt.Sprintf("%-17s%s%-7s", "SHOP", pan, "    AR")}, // across the border of name and city
			{43: fmt.Sprintf("%-40s", pan[:4]+" "+pan[4:8]+" "+pan[8:12]+" "+pan[12:])},
			{42: pan[:15]},
			{48: "42" + "06" + cvv},
			{48: "26" + "16" + pan},
			{48: "92" + "06" + cvv},
			{48: pan},
			{45: "%B" + pan + "^NAME/A^2812" + discretionary + "?"},
			{54: pan}, {55: cvv + pan}, {60: pan + cvv}, {102: pan},
		} {
			for _, mti := range []string{"0100", "0400", "0420", "0200"} {
				stan++
				base := purchase(stan)
				if mti[1] == '4' {
					base = undo(mti, stan, stan-1)
				}
				msg := base.with(message{0: mti, 2: pan}).with(change).pack(t)
				for cut, m := range [][]byte{
					msg,
					msg[:len(msg)-3],
					msg[:60],
					bytes.Replace(msg, []byte(pan), []byte(pan[:15]+"X"), 1),
					append([]byte("x"), msg...),
				} {
					p := r.dial()
					if err := iso8583.WriteFrame(p, m); err != nil {
						t.Fatal(err)
					}
					if answer, err := p.tryReceive(); err == nil {
						fmt.Fprintln(&answers, answer)
					} else if cut == 0 {
						t.Errorf("whole message was not answered: %v", err)
					}
					p.Close()
				}
			}
		}
	}
	stats := r.Stats()
	if stats.Panics != 0 || stats.Approved == 0 || stats.Declined == 0 || stats.FormatErrors == 0 || stats.Undecodable == 0 {
		t.Errorf("the messages did not go all ways: %+v", stats)
	}
	for _, m := range r.events() {
		text := fmt.Sprintf("%+v", m.Transaction)
		for _, s := range secrets {
			if strings.Contains(text, string(s)) {
				t.Errorf("a clear field of event %v has a secret", m.EventID)
			}
		}
	}
	r.shutdown()
	places := map[string][]byte{"log": r.log.Bytes(), "answers": answers.Bytes(), "counters": fmt.Appendf(nil, "%+v", stats)}
	err := filepath.WalkDir(r.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			places[filepath.Base(path)], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	marker := []byte("aurora-visa-credit") // what the folder must hold, or the search finds nothing
	found := false
	for place, content := range places {
		found = found || bytes.Contains(content, marker) && strings.HasSuffix(place, ".log")
		for i, s := range secrets {
			if bytes.Contains(content, s) {
				t.Errorf("%s holds secret %d", place, i)
			}
		}
	}
	if !found || len(places["log"]) == 0 {
		t.Error("the search looked at nothing")
	}
}
