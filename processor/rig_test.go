package processor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/processor/iso8583"
	"github.com/cardlake/cardlake/processor/ledger"
	"github.com/cardlake/cardlake/processor/outbox"
)

// ring is a keyring for tests: a wrapped key is the key under one pad.
type ring struct{ pad [32]byte }

func newRing() *ring { return &ring{[32]byte(keys.NewKey().Bytes())} }

func (r *ring) xor(b []byte) []byte {
	out := make([]byte, 32)
	for i := range out {
		out[i] = b[i] ^ r.pad[i]
	}
	return out
}

func (r *ring) NewDataKey(context.Context, keys.Scope) (keys.Key, []byte, error) {
	k := keys.NewKey()
	return k, r.xor(k.Bytes()), nil
}

func (r *ring) UnwrapDataKey(_ context.Context, _ keys.Scope, wrapped []byte) (keys.Key, error) {
	return keys.KeyFrom(r.xor(wrapped))
}

func (r *ring) Secret(context.Context, keys.Scope) (int, keys.Key, error) {
	k, err := keys.KeyFrom(r.pad[:])
	return 1, k, err
}

type tenants struct{}

func (tenants) Lookup(name cardlake.Tenant) (catalog.TenantRecord, error) {
	if name != "aurora" {
		return catalog.TenantRecord{}, catalog.ErrNoTenant
	}
	return catalog.TenantRecord{Name: name, StorageID: "abcdabcdabcdabcd"}, nil
}

// encoderFunc lets a test stand between the server and the encoder.
type encoderFunc func(context.Context, []byte, keys.Owner, *card.Message) ([]byte, error)

func (f encoderFunc) Append(ctx context.Context, dst []byte, owner keys.Owner, m *card.Message) ([]byte, error) {
	return f(ctx, dst, owner, m)
}

// safeBuffer is a log that goroutines share.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) Bytes() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.b.Bytes())
}

var decided = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

const (
	goodPAN    = "4000001200000008"
	blockedPAN = "4000001200000016"
	stolenPAN  = "4000001200000024"
	neverPAN   = "4000001299999995"
	noLuhnPAN  = "4000001299999990" // never issued, and without the Luhn digit
	foreignPAN = "5555555555554444"
	orphanPAN  = "4000990000000004" // of a tenant that is not registered
)

// rig is a server on a loopback port with a real ledger and real events.
type rig struct {
	t testing.TB
	*Server
	ledger *ledger.Ledger
	ring   *ring
	dir    string
	log    *safeBuffer
	stop   context.CancelFunc
	done   chan error
}

func cards(t testing.TB) iter.Seq2[card.Issued, error] {
	return func(yield func(card.Issued, error) bool) {
		for pan, status := range map[string]card.Status{
			goodPAN: card.Active, blockedPAN: card.Blocked, stolenPAN: card.Stolen, orphanPAN: card.Active,
		} {
			p, err := card.ParsePAN(pan)
			c := card.Issued{
				PAN: p, Tenant: "aurora", Program: "aurora-visa-credit", Network: cardlake.Visa, Product: cardlake.Credit,
				CustomerID: "cus-" + pan[12:], AccountID: "acc-" + pan[12:], Expiry: "2812", Status: status, Currency: "ARS", Limit: 1_000_000,
			}
			if pan == orphanPAN {
				c.Tenant = "orphan"
			}
			if !yield(c, err) {
				return
			}
		}
	}
}

// start runs a server; change may set the configuration and replace the encoder.
func start(t testing.TB, change func(*Config, *EventEncoder)) *rig {
	t.Helper()
	r := &rig{t: t, ring: newRing(), dir: t.TempDir(), log: &safeBuffer{}, done: make(chan error, 1)}
	l, err := ledger.Open(context.Background(), r.dir, r.ring, ledger.Config{MaxPerMinute: -1})
	if err != nil {
		t.Fatal(err)
	}
	r.ledger = l
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := l.Import(context.Background(), cards(t)); err != nil {
		t.Fatal(err)
	}
	var encoder EventEncoder = wire.NewEncoder(r.ring, wire.EncoderConfig{})
	cfg := Config{
		Addr: "127.0.0.1:0", Now: func() time.Time { return decided },
		Logger: slog.New(slog.NewJSONHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&cfg, &encoder)
	}
	r.Server = New(l, encoder, tenants{}, cfg)
	if err := r.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	go func() { r.done <- r.Run(ctx) }()
	t.Cleanup(r.shutdown)
	return r
}

// shutdown stops the server, once, and checks that it ended well.
func (r *rig) shutdown() {
	r.stop()
	if err, ok := <-r.done; ok {
		close(r.done)
		if err != nil {
			r.t.Error(err)
		}
	}
}

// relay takes what is in the outbox so far, in order.
func (r *rig) relay(take func(outbox.Record) error) {
	r.t.Helper()
	left := r.ledger.Outbox().Stats().Depth
	if left == 0 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var failed error
	err := r.ledger.Outbox().Run(ctx, producerFunc(func(rs []outbox.Record) error {
		for _, rec := range rs {
			failed = errors.Join(failed, take(rec))
		}
		if left -= int64(len(rs)); left == 0 {
			cancel()
		}
		return nil
	}))
	if err := errors.Join(err, failed); err != nil {
		r.t.Fatal(err)
	}
}

// events returns the events in the outbox so far, opened, in order.
func (r *rig) events() (out []card.Message) {
	r.t.Helper()
	r.relay(func(rec outbox.Record) error {
		m, err := r.open(rec)
		out = append(out, m)
		return err
	})
	return out
}

// open opens the event that the record holds.
func (r *rig) open(rec outbox.Record) (m card.Message, err error) {
	d := wire.NewDecoder(r.ring, wire.DecoderConfig{})
	sealed, err := d.Decode(rec.Value, &m)
	if err == nil {
		err = d.Open(context.Background(), "abcdabcdabcdabcd", &m, sealed)
	}
	if err != nil {
		return m, err
	}
	if key := r.ledger.KeyOf(m.PAN); !bytes.Equal(rec.Key, key[:]) || rec.Time.UnixMicro() != m.EventTime {
		return m, errors.New("record's key or time is not the card's or the decision's")
	}
	return m, nil
}

type producerFunc func([]outbox.Record) error

func (f producerFunc) Produce(_ context.Context, rs []outbox.Record) error { return f(rs) }

// message is a message by element; 0 is its type.
type message map[int]string

// with returns a copy with changes; an empty value removes the element.
func (m message) with(changes message) message {
	out := message{}
	for _, from := range []message{m, changes} {
		for de, v := range from {
			if out[de] = v; v == "" {
				delete(out, de)
			}
		}
	}
	return out
}

func (m message) pack(t testing.TB) []byte {
	t.Helper()
	var b iso8583.Builder
	for de, v := range m {
		b.SetText(de, v)
	}
	out, err := b.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// purchase is an approved authorization of 125.50 ARS.
func purchase(stan int) message {
	return message{
		0: "0100", 2: goodPAN, 3: "000000", 4: "000000012550", 7: "0310120000", 11: fmt.Sprintf("%06d", stan), 12: "085959", 13: "0310",
		14: "2812", 18: "5411", 19: "032", 22: "051", 25: "00", 32: "400001", 37: fmt.Sprintf("R%011d", stan), 41: "TERM0001",
		42: "MERCHANT0000001", 43: iso8583.Acceptor{Name: "SUPERMERCADO LUNA", City: "ROSARIO", Country: "AR"}.String(), 49: "032",
	}
}

// undo is the reversal of purchase(original) as the message type mti.
func undo(mti string, stan, original int) message {
	return purchase(original).with(message{
		0: mti, 7: "0310120100", 11: fmt.Sprintf("%06d", stan),
		90: iso8583.Original{MTI: "0100", STAN: fmt.Sprintf("%06d", original), Transmission: "0310120000", Acquirer: "400001"}.String(),
	})
}

var echo = message{0: "0800", 7: "0310120000", 11: "000001", 70: "301"}

// peer is a card network's end of a connection.
type peer struct {
	t testing.TB
	net.Conn
	buf []byte
}

func (r *rig) dial() *peer {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	return newPeer(r.t, conn)
}

func newPeer(t testing.TB, conn net.Conn) *peer {
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	return &peer{t: t, Conn: conn}
}

func (p *peer) send(m message) {
	p.t.Helper()
	if err := iso8583.WriteFrame(p, m.pack(p.t)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) receive() message {
	p.t.Helper()
	m, err := p.tryReceive()
	if err != nil {
		p.t.Fatal(err)
	}
	return m
}

func (p *peer) tryReceive() (message, error) {
	msg, err := iso8583.ReadFrame(p, p.buf)
	if err != nil {
		return nil, err
	}
	p.buf = msg
	var v iso8583.View
	if err := v.Parse(msg); err != nil {
		return nil, err
	}
	m := message{}
	for de := range 129 {
		if v.Has(de) {
			m[de] = v.Text(de)
		}
	}
	return m, nil
}

func (p *peer) ask(m message) message {
	p.t.Helper()
	p.send(m)
	return p.receive()
}

// closed waits for the server's end of the connection to go.
func (p *peer) closed() {
	p.t.Helper()
	if _, err := p.tryReceive(); err == nil {
		p.t.Error("the server answered instead of closing")
	} else if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
		p.t.Error("the server did not close the connection")
	}
}

func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not happen", what)
		}
	}
}

var _ io.Writer = (*safeBuffer)(nil)
