package processor

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/processor/iso8583"
	"github.com/cardlake/cardlake/processor/ledger"
)

func TestPointOfService(t *testing.T) {
	for _, c := range []struct {
		name                              string
		entry, condition, mcc, processing string
		channel                           cardlake.Channel
		mode                              string
		present                           bool
	}{
		{"chip", "051", "00", "5411", "000000", cardlake.POS, "chip", true},
		{"contactless", "071", "00", "5411", "000000", cardlake.POS, "contactless", true},
		{"contactless stripe", "911", "00", "5411", "000000", cardlake.POS, "contactless", true},
		{"stripe", "901", "00", "5411", "000000", cardlake.POS, "magstripe", true},
		{"partial stripe", "021", "00", "5411", "000000", cardlake.POS, "magstripe", true},
		{"fallback", "801", "00", "5411", "000000", cardlake.POS, "fallback", true},
		{"typed at the terminal", "012", "00", "5411", "000000", cardlake.POS, "manual", true},
		{"typed from a letter", "012", "08", "5411", "000000", cardlake.Phone, "manual", false},
		{"customer not present", "012", "01", "5411", "000000", cardlake.POS, "manual", false},
		{"e-commerce by entry mode", "812", "00", "5411", "000000", cardlake.Ecommerce, "ecommerce", false},
		{"e-commerce by condition", "012", "59", "5411", "000000", cardlake.Ecommerce, "manual", false},
		{"cash machine by merchant", "051", "00", "6011", "000000", cardlake.ATM, "chip", true},
		{"cash machine by processing code", "051", "00", "", "010000", cardlake.ATM, "chip", true},
		{"nothing said", "", "", "", "000000", cardlake.POS, "unknown", false},
		{"mode of no table", "661", "00", "5411", "000000", cardlake.POS, "unknown", false},
	} {
		r := request{entry: c.entry, condition: c.condition, mcc: c.mcc, processing: c.processing}
		channel, mode, present := pointOfService(&r)
		if channel != c.channel || mode != c.mode || present != c.present {
			t.Errorf("%s: %s, %s, %v; want %s, %s, %v", c.name, channel, mode, present, c.channel, c.mode, c.present)
		}
	}
}

func TestLocalTimeTakesTheNearestYear(t *testing.T) {
	for _, c := range []struct{ date, clock, near, want string }{
		{"0310", "085959", "2026-03-10T12:00:00Z", "2026-03-10T08:59:59Z"},
		{"1231", "235900", "2027-01-01T02:59:00Z", "2026-12-31T23:59:00Z"},
		{"0101", "000100", "2026-12-31T22:01:00Z", "2027-01-01T00:01:00Z"},
		{"0229", "120000", "2028-02-29T15:00:00Z", "2028-02-29T12:00:00Z"},
		{"0229", "120000", "2027-03-01T15:00:00Z", "2028-02-29T12:00:00Z"},
	} {
		near, err := time.Parse(time.RFC3339, c.near)
		if err != nil {
			t.Fatal(err)
		}
		l, err := parseLocalTime([]byte(c.date), []byte(c.clock))
		if err != nil {
			t.Fatal(err)
		}
		if have := time.UnixMicro(l.micros(near)).UTC().Format(time.RFC3339); have != c.want {
			t.Errorf("%s %s near %s: %s, want %s", c.date, c.clock, c.near, have, c.want)
		}
	}
	if (localTime{}).micros(decided) != 0 {
		t.Error("a time was made of none")
	}
}

func TestTrack2(t *testing.T) {
	for _, c := range []struct{ track, number, expiry string }{
		{goodPAN + "=28122010000000000000", goodPAN, "2812"},
		{goodPAN + "D28122010000000000000", goodPAN, "2812"},
		{goodPAN + "==2010000000000000", goodPAN, ""},
		{goodPAN + "=2812", goodPAN, "2812"},
		{goodPAN + "=281", "", ""},
		{goodPAN + "=", "", ""},
		{goodPAN, "", ""},
		{"=2812201", "", ""},
		{"40000012345=2812201", "", ""},
		{"40000012345678901234=2812201", "", ""},
		{goodPAN + "=28X22010000000000000", "", ""},
		{goodPAN + "=2812201000000000000=", "", ""},
		{goodPAN + " 28122010000000000000", "", ""},
		{"", "", ""},
	} {
		number, expiry, err := parseTrack2([]byte(c.track))
		if string(number) != c.number || string(expiry) != c.expiry || (err != nil) != (c.number == "") {
			t.Errorf("track of %d characters: %d and %d characters, %v", len(c.track), len(number), len(expiry), err)
		}
		if err != nil && !errors.Is(err, iso8583.ErrFormat) {
			t.Error(err)
		}
	}
}

// yes is a ledger in which every card is issued and every request is approved.
type yes struct{}

func (yes) Find(card.PAN) (ledger.Card, error) {
	return ledger.Card{Issued: true, Tenant: "aurora", Program: "p", Network: cardlake.Visa, AccountID: "acc", Currency: "ARS"}, nil
}

func (yes) Authorize(_ context.Context, a ledger.Authorization, emit ledger.Emit) (ledger.Decision, error) {
	d := ledger.Decision{Code: "00", Approval: "ABCDEF", Billing: a.Billing}
	_, err := emit(d)
	return d, err
}

func (yes) Reverse(_ context.Context, _ ledger.Reversal, emit ledger.Emit) (ledger.Decision, error) {
	d := ledger.Decision{Code: "00"}
	_, err := emit(d)
	return d, err
}

// FuzzMessage feeds one message to the server: it is answered with a whole message, or the
// connection is given up; nothing panics, and nothing of it stays behind.
func FuzzMessage(f *testing.F) {
	for _, m := range []message{
		echo, purchase(1), undo("0400", 2, 1), undo("0421", 2, 1).with(message{95: "000000002550000000000000000000000000000000"[:42]}),
		purchase(3).with(message{2: "", 35: goodPAN + "=28122010000000000000", 52: "0123456789ABCDEF", 48: "420205"}),
	} {
		msg := m.pack(f)
		f.Add(msg)
		f.Add(msg[:len(msg)*2/3])
	}
	s := New(yes{}, wire.NewEncoder(newRing(), wire.EncoderConfig{}), tenants{}, Config{})
	c := &session{s: s, log: slog.New(slog.DiscardHandler)}
	f.Fuzz(func(t *testing.T, msg []byte) {
		if len(msg) > iso8583.MaxFrame {
			return
		}
		j := s.jobs.Get().(*job)
		j.buf, j.received = append(j.buf[:0], msg...), time.Now()
		held := j.buf
		answer, ok := c.handle(context.Background(), j)
		if s.Stats().Panics != 0 {
			t.Fatal("panic")
		}
		if ok != (len(answer) > 0) {
			t.Fatal("neither answered nor given up")
		}
		if !bytes.Equal(held, make([]byte, len(held))) {
			t.Fatal("the message's bytes are still there")
		}
		if ok {
			body, err := iso8583.ReadFrame(bytes.NewReader(answer), nil)
			var v iso8583.View
			if err != nil || v.Parse(body) != nil || !v.Has(39) || !v.Has(11) {
				t.Fatal("the answer is not a message with DE 11 and 39")
			}
		}
	})
}

func BenchmarkHandle(b *testing.B) {
	s := New(yes{}, wire.NewEncoder(newRing(), wire.EncoderConfig{}), tenants{}, Config{})
	c := &session{s: s, log: slog.New(slog.DiscardHandler)}
	msg := purchase(1).with(message{35: goodPAN + "=28122010000000000000", 52: "0123456789ABCDEF", 48: "420205"}).pack(b)
	b.ReportAllocs()
	for b.Loop() {
		j := s.jobs.Get().(*job)
		j.buf, j.received = append(j.buf[:0], msg...), time.Now()
		if _, ok := c.handle(context.Background(), j); !ok {
			b.Fatal("refused")
		}
	}
}

// BenchmarkServer is the whole way over TCP: several connections, many messages on each in
// work, ledger and outbox on the disk.
func BenchmarkServer(b *testing.B) {
	r := start(b, func(c *Config, _ *EventEncoder) { c.Now = time.Now })
	const peers = 4
	stan := 0
	frames := make([][]byte, b.N)
	for i := range frames {
		stan = stan%999_999 + 1
		frames[i], _ = iso8583.AppendFrame(nil, purchase(stan).with(message{4: "000000000000", 14: ""}).pack(b))
	}
	b.ReportAllocs()
	b.ResetTimer()
	done := make(chan error, peers)
	for p := range peers {
		conn := r.dial()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Minute))
		sent := make(chan struct{}, 128)
		go func() {
			for i := p; i < b.N; i += peers {
				sent <- struct{}{}
				if _, err := conn.Write(frames[i]); err != nil {
					return
				}
			}
		}()
		go func() {
			for i := p; i < b.N; i += peers {
				if _, err := iso8583.ReadFrame(conn, nil); err != nil {
					done <- err
					return
				}
				<-sent
			}
			done <- nil
		}()
	}
	for range peers {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "decisions/s")
}
