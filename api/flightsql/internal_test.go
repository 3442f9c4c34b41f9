package flightsql

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cardlake/cardlake/catalog/grants"
)

// FuzzLike: a pattern matches what the regular expression of the same meaning does.
func FuzzLike(f *testing.F) {
	for _, seed := range [][2]string{{"%", ""}, {"", ""}, {"c%s", "cards"}, {"_", "ab"}, {"%a%b%", "xaxbx"}, {`\_x`, "_x"}, {`\_x`, "ax"}, {"%%%%%%%%%%b", strings.Repeat("a", 50)}, {"É%", "é"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if len(pattern) > 50 || len(name) > 100 || strings.ContainsAny(pattern+name, "\\\n\xff") || strings.ToValidUTF8(pattern+name, "") != pattern+name {
			t.Skip()
		}
		var b strings.Builder
		for _, r := range strings.ToLower(pattern) {
			switch r {
			case '%':
				b.WriteString(".*")
			case '_':
				b.WriteString(".")
			default:
				b.WriteString(regexp.QuoteMeta(string(r)))
			}
		}
		want := regexp.MustCompile("^(?s:" + b.String() + ")$").MatchString(strings.ToLower(name))
		if got := matches(&pattern, name); got != want {
			t.Errorf("%q matches %q: %v, want %v", pattern, name, got, want)
		}
	})
}

// FuzzTicket: nothing is a ticket that was not sealed as one.
func FuzzTicket(f *testing.F) {
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	tickets, err := newTickets(Config{Now: func() time.Time { return now }}.withDefaults())
	if err != nil {
		f.Fatal(err)
	}
	p := grants.Principal{Kind: grants.DataScientist, Name: "ana"}
	sealed, _, err := tickets.seal(forTicket, p, "SELECT 1", nil, time.Minute)
	if err != nil {
		f.Fatal(err)
	}
	prepared, _, err := tickets.seal(forPrepared, p, "SELECT 1", []byte("schema"), time.Minute)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(nil))
	f.Add(prepared)
	f.Add(sealed[:len(sealed)-1])
	f.Add(append([]byte{0}, sealed...))
	for i := 0; i < len(sealed); i += 7 {
		forged := append([]byte(nil), sealed...)
		forged[i] ^= 0x80
		f.Add(forged)
	}
	f.Fuzz(func(t *testing.T, handle []byte) {
		if _, err := tickets.open(forTicket, p, handle); err == nil && string(handle) != string(sealed) {
			t.Error("a ticket was forged")
		}
	})
	if one, err := tickets.open(forTicket, p, sealed); err != nil || string(one.SQL) != "SELECT 1" {
		f.Error(one, err)
	}
}

// TestOldTicketsAreForgotten: who only cancels what never ran does not fill the server's memory.
func TestOldTicketsAreForgotten(t *testing.T) {
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	tickets, err := newTickets(Config{Now: func() time.Time { return now }}.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	p := grants.Principal{Kind: grants.DataScientist, Name: "ana"}
	for range 10 {
		handle, _, err := tickets.seal(forTicket, p, "SELECT 1", nil, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if isCancelled, err := tickets.cancel(p, handle); err != nil || !isCancelled {
			t.Fatal(isCancelled, err)
		}
		if _, _, err := tickets.redeem(p, handle, nil); err != errTicketUsed {
			t.Errorf("a cancelled ticket: %v", err)
		}
		now = now.Add(time.Minute)
	}
	if n := len(tickets.used); n != 1 {
		t.Errorf("%d tickets are remembered", n)
	}
}
