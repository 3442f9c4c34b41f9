package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"iter"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/processor/iso8583"
	"github.com/cardlake/cardlake/processor/outbox"
)

const pan = "4000001200000008"

func purchase(t testing.TB) []byte {
	t.Helper()
	var b iso8583.Builder
	for de, v := range map[int]string{
		0: "0100", 2: pan, 3: "000000", 4: "000000012550", 7: "0310120000", 11: "000001", 12: "085959", 13: "0310", 14: "4912",
		18: "5411", 22: "051", 25: "00", 32: "400001", 35: pan + "=49122010000000000000", 37: "000000000001", 41: "TERM0001",
		42: "MERCHANT0000001", 43: iso8583.Acceptor{Name: "SHOP " + pan, City: "ROSARIO", Country: "AR"}.String(),
		48: "420205" + "2608applepay", 49: "032", 52: "0123456789ABCDEF", 55: "5A08" + pan,
	} {
		b.SetText(de, v)
	}
	msg, err := b.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

func invoke(t testing.TB, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(context.Background(), args, strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

func TestDecodeMasks(t *testing.T) {
	msg := purchase(t)
	frame, err := iso8583.AppendFrame(nil, msg)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "message")
	if err := os.WriteFile(file, frame, 0o600); err != nil {
		t.Fatal(err)
	}
	code, want, stderr := invoke(t, "", "decode", "-spec", "iso8583-1987-ascii", file)
	if code != 0 || stderr != "" {
		t.Fatalf("exit %d, %s", code, stderr)
	}
	for name, form := range map[string]string{
		"with header": string(frame), "without header": string(msg), "with a line end": string(msg) + "\n",
		"hexadecimal with header": hex.EncodeToString(frame), "hexadecimal": strings.ToUpper(hex.EncodeToString(msg)) + "\n",
	} {
		if code, out, errs := invoke(t, form, "decode", "-"); code != 0 || out != want {
			t.Errorf("%s: exit %d, %s%s", name, code, out, errs)
		}
	}
	for _, secret := range []string{pan, pan[4:12], "4912", "0123456789ABCDEF", "2010000000000000", "applepay"} {
		if strings.Contains(want, secret) {
			t.Errorf("the output shows %q", secret)
		}
	}
	var d decoded
	if err := json.Unmarshal([]byte(want), &d); err != nil {
		t.Fatal(err)
	}
	have := map[int]element{}
	for _, e := range d.Elements {
		have[e.DE] = e
	}
	if d.MTI != "0100" || have[2].Value != "400000…0008" || have[11].Value != "000001" || !have[48].Masked ||
		!slices.Equal(have[48].SubElements, []int{42, 26}) || have[55].Value != "" || have[35].Length != 37 ||
		!strings.HasPrefix(have[43].Value, "SHOP ****************") {
		t.Errorf("decoded %s", want)
	}
}

func TestDecodeOfEchoIsNotTakenForHexadecimal(t *testing.T) {
	const echo = "0800" + "8220000000000000" + "0400000000000000" + "0102030405" + "000017" + "301"
	if code, out, errs := invoke(t, echo, "decode"); code != 0 || !strings.Contains(out, `"000017"`) {
		t.Errorf("exit %d, %s%s", code, out, errs)
	}
}

func TestDecodeOfDamagedMessage(t *testing.T) {
	msg := purchase(t)
	code, out, errs := invoke(t, string(msg[:len(msg)-8]), "decode")
	if code != 2 || !strings.Contains(out, `"error"`) || strings.Count(errs, "\n") != 1 || strings.Contains(out+errs, pan) {
		t.Errorf("exit %d, %s%s", code, out, errs)
	}
	for _, rubbish := range []string{"", "rubbish", "\x00\x05abc", "00"} {
		if code, out, errs := invoke(t, rubbish, "decode"); code != 2 || out != "" || strings.Count(errs, "\n") != 1 {
			t.Errorf("%q: exit %d, %s%s", rubbish, code, out, errs)
		}
	}
}

// installation is a folder with everything that serve and import need.
type installation struct {
	dir  string
	ring *local.Keyring
	args []string
}

func install(t *testing.T) installation {
	t.Helper()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	secret := []byte("a secret of a test, long enough")
	if err := os.WriteFile(path("secret"), append(secret, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	ring, err := local.Create(path("keyring"), secret, keys.CardPurposes)
	if err != nil {
		t.Fatal(err)
	}
	tenants, err := catalog.OpenTenants(path("tenants.json"))
	if err != nil {
		t.Fatal(err)
	}
	rec, err := tenants.Create("aurora", "AR", "ARS", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := ring.EnsureOwners(context.Background(), keys.OwnerOf(rec.StorageID), keys.Processor); err != nil {
		t.Fatal(err)
	}
	return installation{dir, ring, []string{"-ledger", path("ledger"), "-card-keyring", path("keyring"), "-card-keyring-secret", path("secret")}}
}

func cardFile(t *testing.T) string {
	t.Helper()
	p, err := card.ParsePAN(pan)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	one := iter.Seq[card.Issued](func(yield func(card.Issued) bool) {
		yield(card.Issued{
			PAN: p, Tenant: "aurora", Program: "aurora-visa-credit", Network: cardlake.Visa, Product: cardlake.Credit,
			CustomerID: "cus-1", AccountID: "acc-1", Expiry: "4912", Status: card.Active, Currency: "ARS", Limit: 100_000,
		})
	})
	if err := card.WriteIssued(&out, one); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// logBuffer is serve's standard error while it runs.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// listening waits for the line that says where serve listens.
func (l *logBuffer) listening(t *testing.T) string {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		for line := range strings.Lines(l.String()) {
			var entry struct{ Msg, Addr string }
			if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "listening" {
				return entry.Addr
			}
		}
	}
	t.Fatalf("does not listen:\n%s", l.String())
	return ""
}

func TestImportThenServe(t *testing.T) {
	in := install(t)
	if code, out, errs := invoke(t, cardFile(t), append([]string{"import"}, in.args...)...); code != 0 || out != "1 cards imported: 1 new, 1 accounts opened\n" {
		t.Fatalf("import: exit %d, %s%s", code, out, errs)
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, outbox.DefaultTopic))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var log logBuffer
	done := make(chan int, 1)
	args := append([]string{"serve", "-addr", "127.0.0.1:0", "-tenants", filepath.Join(in.dir, "tenants.json"),
		"-brokers", strings.Join(cluster.ListenAddrs(), ",")}, in.args...)
	go func() { done <- run(ctx, args, strings.NewReader(""), &log, &log) }()
	conn, err := net.Dial("tcp", log.listening(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := iso8583.WriteFrame(conn, purchase(t)); err != nil {
		t.Fatal(err)
	}
	answer, err := iso8583.ReadFrame(conn, nil)
	if err != nil {
		t.Fatal(err)
	}
	var v iso8583.View
	if err := v.Parse(answer); err != nil || v.Text(39) != "00" {
		t.Fatalf("answered %q, %v", v.Text(39), err)
	}
	if code, _, errs := invoke(t, cardFile(t), append([]string{"import"}, in.args...)...); code != 2 || strings.Count(errs, "\n") != 1 {
		t.Errorf("import into a ledger in use: exit %d, %s", code, errs)
	}
	stop()
	if code := <-done; code != 0 {
		t.Errorf("exit %d:\n%s", code, log.String())
	}
	if strings.Contains(log.String(), pan) {
		t.Error("the card number is in the log")
	}

	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.ConsumeTopics(outbox.DefaultTopic))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	poll, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	// The event, and at the processor's end the control total that counts it.
	var records []*kgo.Record
	for len(records) < 2 && poll.Err() == nil {
		records = append(records, client.PollFetches(poll).Records()...)
	}
	totals := wire.NewTotalDecoder(wire.TotalDecoderConfig{})
	slices.SortFunc(records, func(a, b *kgo.Record) int { return len(b.Value) - len(a.Value) })
	if len(records) != 2 || totals.Is(records[0].Value) || !totals.Is(records[1].Value) {
		t.Fatalf("%d records on the stream, want an event and a total", len(records))
	}
	var total cardlake.ControlTotal
	if err := totals.Decode(records[1].Value, &total); err != nil || total.Events != 1 || total.Approved != 1 {
		t.Errorf("total %+v, %v", total, err)
	}
	var m card.Message
	if _, err := wire.NewDecoder(in.ring, wire.DecoderConfig{}).Decode(records[0].Value, &m); err != nil || !m.Approved || m.ApprovalCode != v.Text(38) {
		t.Errorf("event %+v, %v", m.Transaction, err)
	}
	if bytes.Contains(records[0].Value, []byte(pan)) {
		t.Error("the card number is in the event")
	}
}

// TestMistakesOfTheCaller: one line that says what to do, exit code 2, and nothing written.
func TestMistakesOfTheCaller(t *testing.T) {
	in := install(t)
	path := func(name string) string { return filepath.Join(in.dir, name) }
	write := func(name, text string) string {
		if err := os.WriteFile(path(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path(name)
	}
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	serve := func(more ...string) []string {
		base := append([]string{"serve", "-addr", "127.0.0.1:0", "-tenants", path("tenants.json"), "-brokers", "127.0.0.1:1"}, in.args...)
		return append(base, more...)
	}
	for _, c := range []struct {
		name  string
		args  []string
		stdin string
		says  string
	}{
		{"unknown flag", serve("-colour", "red"), "", "-colour"},
		{"missing flag", []string{"serve", "-dir", "x"}, "", "-brokers is missing"},
		{"plain TCP for all", serve("-addr", ":8583"), "", "not loopback"},
		{"plain TCP on a network", serve("-addr", "192.0.2.1:8583"), "", "not loopback"},
		{"half of TLS", serve("-tls-cert", "cert.pem"), "", "go together"},
		{"no certificate", serve("-tls-cert", path("no"), "-tls-key", path("no")), "", "certificate"},
		{"brokers without port", serve("-brokers", "kafka"), "", "host:port"},
		{"port in use", serve("-addr", busy.Addr().String()), "", "address already in use"},
		{"no tenants", serve("-tenants", path("no")), "", "tenant register"},
		{"broken tenants", serve("-tenants", write("broken", "{")), "", "tenant register"},
		{"no keyring", serve("-card-keyring", path("no")), "", "no keyring"},
		{"no secret", serve("-card-keyring-secret", path("no")), "", "secret"},
		{"wrong secret", serve("-card-keyring-secret", write("wrong", "another secret, long enough")), "", "does not open"},
		{"folder is a file", serve("-ledger", write("file", "")), "", "may this one write there"},
		{"operand", serve("extra"), "", "too many"},
		{"broken card file", append([]string{"import"}, in.args...), "pan,tenant\n" + pan + ",aurora\n", "line 1"},
		{"unknown format", []string{"decode", "-spec", "iso20022"}, "", "iso8583-1987-ascii"},
		{"no file", []string{"decode", path("no")}, "", "no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, errs := invoke(t, c.stdin, c.args...)
			if code != 2 || out != "" || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, c.says) || strings.Contains(errs, pan) {
				t.Errorf("exit %d, stdout %q, stderr %q; want 2 and one line with %q", code, out, errs, c.says)
			}
		})
	}
	for _, args := range [][]string{{}, {"dance"}} {
		if code, _, errs := invoke(t, "", args...); code != 2 || !strings.Contains(errs, "usage") {
			t.Errorf("%q: exit %d, %s", args, code, errs)
		}
	}
	for _, args := range [][]string{{"version"}, {"serve", "-h"}} {
		if code, out, errs := invoke(t, "", args...); code != 0 || out+errs == "" {
			t.Errorf("%q: exit %d", args, code)
		}
	}
}
