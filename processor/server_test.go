package processor

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/processor/iso8583"
)

func TestApprovedPurchase(t *testing.T) {
	r := start(t, nil)
	answer := r.dial().ask(purchase(1).with(message{
		6: "000000012550", 51: "032", 35: goodPAN + "=28122010000000000000", 52: "0123456789ABCDEF", 48: "420205" + "2608applepay",
	}))
	approval := answer[38]
	want := purchase(1).with(message{0: "0110", 38: approval, 39: "00", 2: "", 14: "", 18: "", 19: "", 22: "", 25: "", 43: ""})
	if diff := cmp.Diff(want, answer); diff != "" || len(approval) != 6 {
		t.Errorf("answer:\n%s", diff)
	}
	events := r.events()
	if len(events) != 1 {
		t.Fatalf("%d events", len(events))
	}
	id := card.EventKey{
		Tenant: "aurora", Network: "visa", Acquirer: "400001", RRN: "R00000000001", STAN: "000001", MTI: "0100", Transmission: "0310120000",
	}.ID()
	if string(events[0].PAN.Digits()) != goodPAN {
		t.Error("the event's sealed card number is another")
	}
	if took := &events[0].LatencyMicros; *took <= 0 {
		t.Errorf("the decision took %d µs", *took)
	} else {
		*took = 0
	}
	if diff := cmp.Diff(cardlake.Transaction{
		EventID: id, TransactionID: id, EventType: cardlake.Authorization, Tenant: "aurora", Program: "aurora-visa-credit", Region: "local",
		EventTime: decided.UnixMicro(), LocalTime: time.Date(2026, 3, 10, 8, 59, 59, 0, time.UTC).UnixMicro(),
		CustomerID: "cus-0008", AccountID: "acc-0008", Network: cardlake.Visa, Product: cardlake.Credit,
		Amount: cardlake.Money{Minor: 12550, Currency: "ARS"}, BillingAmount: cardlake.Money{Minor: 12550, Currency: "ARS"},
		MerchantID: "MERCHANT0000001", MerchantName: "SUPERMERCADO LUNA", MCC: "5411", MerchantCity: "ROSARIO", MerchantCountry: "AR",
		TerminalID: "TERM0001", AcquirerID: "400001", Channel: cardlake.POS, EntryMode: "chip", CardPresent: true,
		Wallet: "applepay", ECI: "05", ResponseCode: "00", Approved: true, ApprovalCode: approval,
		MTI: "0100", ProcessingCode: "000000", STAN: "000001", RRN: "R00000000001",
	}, events[0].Transaction); diff != "" {
		t.Errorf("event:\n%s", diff)
	}
}

func TestDecisions(t *testing.T) {
	r := start(t, nil)
	p := r.dial()
	for i, c := range []struct {
		name   string
		change message
		code   string
		events int
	}{
		{"card number from track 2 alone", message{2: "", 14: "", 35: goodPAN + "=28122010000000000000"}, "00", 1},
		{"expiry of track 2", message{2: "", 14: "", 35: goodPAN + "D28112010000000000000"}, "54", 1},
		{"wrong expiry", message{14: "2811"}, "54", 1},
		{"blocked", message{2: blockedPAN}, "62", 1},
		{"stolen", message{2: stolenPAN}, "43", 1},
		{"never issued", message{2: neverPAN}, "14", 1},
		{"nobody's card", message{2: foreignPAN}, "15", 0},
		{"over the limit", message{4: "000001000000"}, "51", 1},
		{"foreign currency, billed", message{49: "840", 6: "000000000100", 51: "032"}, "00", 1},
		{"foreign currency, not billed", message{49: "840"}, "12", 1},
		{"billed in another currency", message{6: "000000000100", 51: "840"}, "12", 1},
		{"unknown currency", message{49: "999"}, "30", 0},
		{"half a billing amount", message{51: "032"}, "30", 0},
		{"no card number", message{2: ""}, "30", 0},
		{"short card number", message{2: "40000012"}, "30", 0},
		{"two card numbers", message{35: neverPAN + "=28122010000000000000"}, "30", 0},
		{"broken track", message{35: goodPAN + "=2812201000000000000X"}, "30", 0},
		{"broken additional data", message{48: "4299"}, "30", 0},
		{"no such day", message{13: "0231"}, "30", 0},
		{"no such time", message{12: "246000"}, "30", 0},
		{"half a local time", message{12: ""}, "30", 0},
		{"no amount", message{4: ""}, "30", 0},
		{"financial request", message{0: "0200"}, "12", 0},
		{"tenant not registered", message{2: orphanPAN}, "96", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(r.events())
			answer := p.ask(purchase(i + 1).with(c.change))
			if have := len(r.events()) - before; answer[39] != c.code || have != c.events {
				t.Errorf("answered %s, %d events; want %s, %d", answer[39], have, c.code, c.events)
			}
			if answer[11] != purchase(i + 1)[11] || answer[7] == "" || answer[37] == "" {
				t.Errorf("DE 7, 11 or 37 is not echoed: %v", answer)
			}
		})
	}
	s := r.Stats()
	if s.UnknownIssuer != 1 || s.FormatErrors != 11 || s.Unsupported != 1 || s.Failed != 1 || s.Approved != 2 || s.Declined != 8 {
		t.Errorf("%+v", s)
	}
}

func TestNeverIssuedCardIsOnTheStream(t *testing.T) {
	r := start(t, nil)
	r.dial().ask(purchase(1).with(message{2: neverPAN}))
	m := r.events()[0]
	if m.Tenant != "aurora" || m.Program != "aurora-visa-credit" || m.CustomerID != "" || m.AccountID != "" || m.Approved ||
		m.ResponseCode != "14" || m.DeclineReason != "unknown_card" || string(m.PAN.Digits()) != neverPAN || m.BillingAmount.Currency != "" {
		t.Errorf("%+v", m.Transaction)
	}
}

func TestRepeatsAndReversals(t *testing.T) {
	r := start(t, nil)
	p := r.dial()
	first := p.ask(purchase(1))
	repeat := p.ask(purchase(1).with(message{0: "0101"}))
	if diff := cmp.Diff(first, repeat); diff != "" {
		t.Errorf("repeat:\n%s", diff)
	}
	if again := r.dial().ask(purchase(1)); again[38] != first[38] {
		t.Errorf("from another connection: approval %s, want %s", again[38], first[38])
	}
	for _, c := range []struct {
		name string
		m    message
		mti  string
		code string
	}{
		{"reversal", undo("0400", 2, 1), "0410", "00"},
		{"its repeat", undo("0401", 2, 1), "0410", "00"},
		{"reversal of nothing", undo("0400", 3, 50), "0410", "25"},
		{"advice of nothing", undo("0420", 4, 51), "0430", "00"},
		{"its repeat", undo("0421", 4, 51), "0430", "00"},
		{"the original of the advice, late", purchase(51), "0110", "12"},
		{"original data missing", undo("0400", 5, 1).with(message{90: ""}), "0410", "30"},
		{"another acquirer's", undo("0400", 6, 1).with(message{32: "400002"}), "0410", "30"},
		{"not of an authorization", undo("0400", 7, 1).with(message{90: strings.Replace(undo("0400", 7, 1)[90], "0100", "0400", 1)}), "0410", "30"},
		{"keeps more than there was", undo("0400", 8, 1).with(message{95: "000000012551" + strings.Repeat("0", 30)}), "0410", "30"},
	} {
		answer := p.ask(c.m)
		if answer[0] != c.mti || answer[39] != c.code {
			t.Errorf("%s: %s with %s, want %s with %s", c.name, answer[0], answer[39], c.mti, c.code)
		}
	}
	events := r.events()
	if len(events) != 5 {
		t.Fatalf("%d events, want 5", len(events))
	}
	auth, rev := events[0], events[1]
	if rev.EventType != cardlake.Reversal || rev.TransactionID != auth.EventID || rev.EventID == auth.EventID || rev.MTI != "0400" ||
		rev.Amount != auth.Amount || rev.BillingAmount != auth.BillingAmount || !rev.Approved || rev.AccountID != auth.AccountID {
		t.Errorf("reversal's event: %+v", rev.Transaction)
	}
	if late := events[4]; late.TransactionID != events[3].TransactionID || late.DeclineReason != "reversed_before" {
		t.Errorf("late original's event: %+v", late.Transaction)
	}
	if s := r.Stats(); s.Repeats != 4 {
		t.Errorf("%d repeats, want 4", s.Repeats)
	}
	c, err := r.ledger.Find(auth.PAN)
	if err != nil {
		t.Fatal(err)
	}
	if acc, err := r.ledger.Account(c); err != nil || acc.Held != 0 {
		t.Errorf("account %+v, %v", acc, err)
	}
}

func TestPartialReversal(t *testing.T) {
	r := start(t, nil)
	p := r.dial()
	p.ask(purchase(1))
	answer := p.ask(undo("0420", 2, 1).with(message{95: "000000002550" + strings.Repeat("0", 30)}))
	m := r.events()[1]
	gave := cardlake.Money{Minor: 10000, Currency: "ARS"}
	if answer[39] != "00" || m.Amount != gave || m.BillingAmount != gave {
		t.Errorf("answered %s; gave %v, %v back, want %v", answer[39], m.Amount, m.BillingAmount, gave)
	}
}

func TestNetworkManagement(t *testing.T) {
	r := start(t, nil)
	p := r.dial()
	for code, want := range map[string]string{iso8583.SignOn: "00", iso8583.EchoTest: "00", iso8583.SignOff: "00", "999": "12", "": "30"} {
		answer := p.ask(echo.with(message{70: code}))
		if answer[0] != "0810" || answer[39] != want || answer[11] != "000001" {
			t.Errorf("code %q: %v, want DE 39 %s", code, answer, want)
		}
	}
	if len(r.events()) != 0 {
		t.Error("network management left an event")
	}
}

// TestBadInputBesideAHealthyNeighbour gives each kind of rubbish a connection of its own
// while another one works.
func TestBadInputBesideAHealthyNeighbour(t *testing.T) {
	r := start(t, nil)
	healthy := r.dial()
	good := purchase(1).pack(t)
	frame := func(msg []byte) []byte {
		f, err := iso8583.AppendFrame(nil, msg)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	bad := func(change func(m []byte) []byte) []byte { return frame(change([]byte(string(good)))) }
	for i, c := range []struct {
		name  string
		bytes []byte
		code  string // "" when the connection must be closed
	}{
		{"garbage", []byte("\xde\xad\xbe\xef garbage that is no frame at all"), ""},
		{"HTTP", []byte("GET / HTTP/1.1\r\n\r\n"), ""},
		{"empty frame", []byte{0, 0}, ""},
		{"oversized", binary.BigEndian.AppendUint16(nil, iso8583.MaxFrame+1), ""},
		{"framed garbage", frame([]byte("this is no message")), ""},
		{"a response", bad(func(m []byte) []byte { m[2] = '1'; return m }), ""},
		{"no trace number", frame(purchase(1).with(message{11: ""}).pack(t)), ""},
		{"cut in the bitmap", bad(func(m []byte) []byte { return m[:10] }), ""},
		{"cut behind the trace number", bad(func(m []byte) []byte { return m[:len(m)-5] }), "30"},
		{"cut in the card number", bad(func(m []byte) []byte { return m[:25] }), ""},
		{"letters in the amount", bad(func(m []byte) []byte { copy(m[44:], "12AB"); return m }), "30"},
		{"more than announced", bad(func(m []byte) []byte { return append(m, "0000"...) }), "30"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := r.dial()
			if _, err := p.Write(c.bytes); err != nil {
				t.Fatal(err)
			}
			if c.code == "" {
				// A peer may also stop in the middle of a frame.
				if err := p.Conn.(*net.TCPConn).CloseWrite(); err != nil && !errors.Is(err, net.ErrClosed) {
					t.Log(err)
				}
				p.closed()
			} else {
				if answer := p.receive(); answer[0] != "0110" || answer[39] != c.code || answer[11] != "000001" || answer[7] != "0310120000" {
					t.Errorf("answered %v", answer)
				}
				if answer := p.ask(echo); answer[39] != "00" {
					t.Error("the connection is of no use after a format error")
				}
			}
			if answer := healthy.ask(purchase(100 + i)); answer[39] != "00" {
				t.Errorf("the neighbour was answered %s", answer[39])
			}
		})
	}
	if s := r.Stats(); s.FormatErrors != 3 || s.Undecodable != 5 || s.BadFrames != 4 || s.Panics != 0 {
		t.Errorf("%+v", s)
	}
}

func TestFaultsOfTheEncoder(t *testing.T) {
	r := start(t, func(_ *Config, e *EventEncoder) {
		inner := *e
		*e = encoderFunc(func(ctx context.Context, dst []byte, o keys.Owner, m *card.Message) ([]byte, error) {
			switch m.STAN {
			case "000001":
				return dst, errors.New("keys out of reach")
			case "000002":
				panic("fault near " + string(m.PAN.Digits()))
			}
			return inner.Append(ctx, dst, o, m)
		})
	})
	p, neighbour := r.dial(), r.dial()
	if answer := p.ask(purchase(1)); answer[39] != "96" {
		t.Errorf("answered %s, want 96", answer[39])
	}
	p.send(purchase(2))
	p.closed()
	if answer := neighbour.ask(purchase(3)); answer[39] != "00" {
		t.Errorf("the neighbour was answered %s", answer[39])
	}
	if s := r.Stats(); s.Failed != 1 || s.Panics != 1 || s.Approved != 1 {
		t.Errorf("%+v", s)
	}
	if len(r.events()) != 1 {
		t.Error("a message without a decision left an event")
	}
	if strings.Contains(string(r.log.Bytes()), goodPAN) {
		t.Error("the panic's value is in the log")
	}
}

// TestDrain stops the server while messages are in work: all are answered.
func TestDrain(t *testing.T) {
	const n = 50
	gate := make(chan struct{})
	inWork := make(chan struct{}, n)
	r := start(t, func(_ *Config, e *EventEncoder) {
		inner := *e
		*e = encoderFunc(func(ctx context.Context, dst []byte, o keys.Owner, m *card.Message) ([]byte, error) {
			inWork <- struct{}{}
			<-gate
			return inner.Append(ctx, dst, o, m)
		})
	})
	p, silent := r.dial(), r.dial()
	for i := range n {
		p.send(purchase(i + 1))
	}
	<-inWork
	await(t, "reading", func() bool { return r.Stats().Received == n })
	r.stop()
	silent.closed()
	close(gate)
	have := map[string]bool{}
	for range n {
		answer := p.receive()
		have[answer[11]] = answer[39] == "00"
	}
	if len(have) != n {
		t.Errorf("%d of %d messages answered", len(have), n)
	}
	p.closed()
	r.shutdown()
	if _, err := net.Dial("tcp", r.Addr().String()); err == nil {
		t.Error("still listening")
	}
	if len(r.events()) != n {
		t.Errorf("%d events", len(r.events()))
	}
}

// TestPeerThatTakesNoAnswers fills a connection until nothing moves on it: it is dropped in
// the end, and meanwhile the neighbour is served.
func TestPeerThatTakesNoAnswers(t *testing.T) {
	r := start(t, func(c *Config, _ *EventEncoder) { c.MaxInFlight, c.WriteTimeout = 8, 300*time.Millisecond })
	stuck, neighbour := r.dial(), r.dial()
	go func() {
		frame, _ := iso8583.AppendFrame(nil, echo.pack(t))
		block := []byte(strings.Repeat(string(frame), 1000))
		for {
			if _, err := stuck.Write(block); err != nil {
				return
			}
		}
	}()
	for i := 0; r.Stats().WriteErrors == 0; i++ {
		if answer := neighbour.ask(purchase(i%999_999 + 1)); answer[39] != "00" && answer[39] != "51" {
			t.Fatalf("the neighbour was answered %s", answer[39])
		}
	}
	await(t, "dropping", func() bool { return r.Stats().Closed == 1 })
}

func TestSilentAndSuperfluousConnections(t *testing.T) {
	r := start(t, func(c *Config, _ *EventEncoder) { c.MaxConnections, c.IdleTimeout = 1, 100*time.Millisecond })
	first := r.dial()
	first.ask(echo)
	r.dial().closed()
	first.closed()
	await(t, "counting", func() bool { s := r.Stats(); return s.Closed == 1 && s.Idle == 1 && s.Refused == 1 })
	if answer := r.dial().ask(echo); answer[39] != "00" {
		t.Error("the freed place cannot be used")
	}
}

func TestPortInUse(t *testing.T) {
	r := start(t, nil)
	second := New(r.ledger, r.encoder, tenants{}, Config{Addr: r.Addr().String()})
	if err := second.Listen(); err == nil || second.Addr() != nil {
		t.Errorf("listening twice: %v", err)
	}
}

func TestTLS(t *testing.T) {
	cert, pool := certificate(t)
	r := start(t, func(c *Config, _ *EventEncoder) {
		c.TLS = &tls.Config{
			Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
		}
	})
	good := &tls.Config{RootCAs: pool, ServerName: "127.0.0.1", Certificates: []tls.Certificate{cert}}
	conn, err := tls.Dial("tcp", r.Addr().String(), good)
	if err != nil {
		t.Fatal(err)
	}
	if answer := newPeer(t, conn).ask(purchase(1)); answer[39] != "00" {
		t.Errorf("answered %s", answer[39])
	}
	r.dialPlain().closed()
	anonymous, err := tls.Dial("tcp", r.Addr().String(), &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"})
	if err == nil { // TLS 1.3 tells the client with the first read
		p := newPeer(t, anonymous)
		_ = iso8583.WriteFrame(p, purchase(2).pack(t))
		p.closed()
	}
	if s := r.Stats(); s.Received != 1 {
		t.Errorf("%d messages read, want 1", s.Received)
	}
}

// dialPlain speaks no TLS to a TLS server.
func (r *rig) dialPlain() *peer {
	p := r.dial()
	_, _ = io.WriteString(p, "\x00\x14plain text, no TLS...")
	return p
}

// certificate returns a certificate for 127.0.0.1 that signs itself.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: parsed}, pool
}
