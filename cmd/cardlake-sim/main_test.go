package main

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/processor/iso8583"
)

// yes is a processor that approves everything.
func yes(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				in := bufio.NewReader(c)
				for {
					msg, err := iso8583.ReadFrame(in, nil)
					if err != nil {
						return
					}
					var v iso8583.View
					if err := v.Parse(msg); err != nil {
						t.Error(err)
						return
					}
					var b iso8583.Builder
					to, _ := iso8583.ResponseTo(v.MTI())
					b.SetText(0, to)
					b.Set(11, v.Bytes(11))
					if v.Has(37) {
						b.Set(37, v.Bytes(37))
					}
					b.SetText(39, iso8583.Approved)
					out, err := b.Append(nil)
					if err != nil {
						t.Error(err)
					}
					if iso8583.WriteFrame(c, out) != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
	return l.Addr().String()
}

func command(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, diagnostics bytes.Buffer
	code = run(ctx, args, strings.NewReader(""), &out, &diagnostics)
	return code, out.String(), diagnostics.String()
}

func TestRunAndGoOn(t *testing.T) {
	args := []string{"-addr", yes(t), "-dir", t.TempDir(), "-tenants", "3", "-cards", "60", "-tps", "2000", "-start", "2026-03-02T08:00:00Z"}
	for _, total := range []string{"200", "500"} {
		code, stdout, stderr := command(t.Context(), append(args, "-transactions", total)...)
		if code != 0 || !strings.Contains(stdout, "answered     "+total+"\n") || !strings.Contains(stdout, "approved     "+total+"\n") {
			t.Fatalf("exit code %d\n%s\n%s", code, stdout, stderr)
		}
	}
	code, _, stderr := command(t.Context(), append(args, "-seed", "9")...)
	if code != 2 || !strings.Contains(stderr, "seed was 1 and is now 9") {
		t.Errorf("with another seed: exit code %d\n%s", code, stderr)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if code, _, stderr := command(ctx, append(args, "-transactions", "600")...); code != 0 || !strings.Contains(stderr, "goes on from here") {
		t.Errorf("interrupted: exit code %d\n%s", code, stderr)
	}
}

func TestMistakes(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		args []string
		want string
	}{
		{[]string{"dance"}, `no command "dance"`},
		{[]string{"run", "-sped", "3"}, "-sped"},
		{[]string{"run", "more"}, `unexpected argument "more"`},
		{[]string{"run", "-tenants", "1000", "-tps", "-4"}, "tenants: 1000"},
		{[]string{"run", "-tenants", "1000", "-tps", "-4"}, "rate: -4"},
		{[]string{"run", "-start", "yesterday"}, "RFC 3339"},
		{[]string{"run", "-addr", ""}, "address: is empty"},
		{[]string{"run", "-tls-cert", file}, "one is of no use without the other"},
		{[]string{"run", "-tls-ca", file}, "has no certificate"},
		{[]string{"run", "-dir", filepath.Join(file, "below")}, "open journal"},
		{[]string{"cards", "-cards", "3"}, "cards: 3"},
	} {
		code, stdout, stderr := command(t.Context(), x.args...)
		if code != 2 || stdout != "" || !strings.Contains(stderr, x.want) {
			t.Errorf("%q: exit code %d, want 2 and %q\n%s%s", x.args, code, x.want, stdout, stderr)
		}
	}
	if code, _, stderr := command(t.Context(), "run", "-h"); code != 0 || !strings.Contains(stderr, "-transactions") {
		t.Errorf("help: exit code %d\n%s", code, stderr)
	}
}

func TestCards(t *testing.T) {
	code, stdout, stderr := command(t.Context(), "cards", "-tenants", "3", "-cards", "60")
	if code != 0 {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	n := 0
	for c, err := range card.ReadIssued(strings.NewReader(stdout)) {
		if err != nil || !c.PAN.Luhn() {
			t.Fatalf("card %d: %v", n, err)
		}
		n++
	}
	if n != 60 {
		t.Errorf("%d cards", n)
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "cards.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var diagnostics bytes.Buffer
	if code := run(t.Context(), []string{"cards"}, nil, f, &diagnostics); code != 2 || !strings.Contains(diagnostics.String(), "pipe") {
		t.Errorf("to a file: exit code %d\n%s", code, diagnostics.String())
	}
	if info, err := f.Stat(); err != nil || info.Size() != 0 {
		t.Errorf("the file is not empty: %v", err)
	}
}
