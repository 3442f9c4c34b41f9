package webhook

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

func event() Event {
	return Event{ID: "msg_1", Type: "export.completed", Time: time.Unix(1_772_452_800, 0), Data: json.RawMessage(`{"rows":3}`)}
}

// TestVector is that of the Standard Webhooks reference libraries.
func TestVector(t *testing.T) {
	secret, err := ParseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	body, at := []byte(`{"test": 2432232314}`), time.Unix(1614265330, 0)
	h := http.Header{}
	Sign(h, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, body, secret)
	if got, want := h.Get(HeaderSignature), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
	if err := Verify(h, body, at, 0, secret); err != nil {
		t.Error(err)
	}
}

func TestVerify(t *testing.T) {
	now, body := time.Unix(1_772_452_800, 0), []byte(`{"a":1}`)
	one, two := NewSecret(), NewSecret()
	signed := func(secrets ...Secret) http.Header {
		h := http.Header{}
		Sign(h, "msg_1", now, body, secrets...)
		return h
	}
	with := func(h http.Header, name, value string) http.Header { h.Set(name, value); return h }
	for name, tc := range map[string]struct {
		header  http.Header
		body    string
		at      time.Time
		secrets []Secret
		want    error
	}{
		"signed":               {signed(one), `{"a":1}`, now, []Secret{one}, nil},
		"old and new":          {signed(one, two), `{"a":1}`, now, []Secret{two}, nil},
		"any of several":       {signed(two), `{"a":1}`, now, []Secret{one, two}, nil},
		"within the tolerance": {signed(one), `{"a":1}`, now.Add(DefaultTolerance), []Secret{one}, nil},
		"too old":              {signed(one), `{"a":1}`, now.Add(DefaultTolerance + time.Second), []Secret{one}, ErrTimestamp},
		"of the future":        {signed(one), `{"a":1}`, now.Add(-DefaultTolerance - time.Second), []Secret{one}, ErrTimestamp},
		"another secret":       {signed(one), `{"a":1}`, now, []Secret{two}, ErrSignature},
		"no secret":            {signed(one), `{"a":1}`, now, nil, ErrSignature},
		"an empty secret":      {signed(Secret{}), `{"a":1}`, now, []Secret{{}}, ErrSignature},
		"another body":         {signed(one), `{"a":2}`, now, []Secret{one}, ErrSignature},
		"another id":           {with(signed(one), HeaderID, "msg_2"), `{"a":1}`, now, []Secret{one}, ErrSignature},
		"another time":         {with(signed(one), HeaderTimestamp, fmt.Sprint(now.Unix()+1)), `{"a":1}`, now, []Secret{one}, ErrSignature},
		"no time":              {with(signed(one), HeaderTimestamp, ""), `{"a":1}`, now, []Secret{one}, ErrTimestamp},
		"another version":      {with(signed(one), HeaderSignature, "v1a,AAAA"), `{"a":1}`, now, []Secret{one}, ErrSignature},
		"no signature":         {with(signed(one), HeaderSignature, "v1,"), `{"a":1}`, now, []Secret{one}, ErrSignature},
	} {
		if err := Verify(tc.header, []byte(tc.body), tc.at, 0, tc.secrets...); !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
}

func TestSecret(t *testing.T) {
	s := NewSecret()
	again, err := ParseSecret(s.Reveal())
	if err != nil || string(again) != string(s) {
		t.Errorf("read back: %v", err)
	}
	for _, text := range []string{"", "whsec_", "whsec_AAAA", s.Reveal()[6:], s.Reveal() + "!", "whsec_" + strings.Repeat("AAAA", 22)} {
		if _, err := ParseSecret(text); !errors.Is(err, ErrSecret) {
			t.Errorf("a secret of %d characters is read: %v", len(text), err)
		}
	}
	text, err := json.Marshal(Endpoint{Secret: s})
	for _, printed := range []string{fmt.Sprint(s), fmt.Sprintf("%+v %x %q", Endpoint{Secret: s}, s, s), string(text)} {
		if strings.Contains(printed, s.Reveal()[10:20]) || strings.Contains(printed, fmt.Sprintf("%x", string(s[:8]))) || strings.Contains(printed, fmt.Sprintf("%d", []byte(s[:4]))) {
			t.Errorf("the secret is printed: %s", printed)
		}
	}
	if err == nil {
		t.Errorf("written as %s", text)
	}
}

// receiver is a server that notes what it was sent.
type receiver struct {
	mu      sync.Mutex
	got     []http.Header
	bodies  [][]byte
	answers []int // one after another, the last for ever
	header  http.Header
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	body, _ := io.ReadAll(req.Body)
	r.got, r.bodies = append(r.got, req.Header), append(r.bodies, body)
	for k, v := range r.header {
		w.Header()[k] = v
	}
	w.WriteHeader(r.answers[min(len(r.got), len(r.answers))-1])
}

func TestSend(t *testing.T) {
	for name, tc := range map[string]struct {
		answers []int
		times   int
		status  int
		want    error
	}{
		"at once":         {[]int{200}, 1, 0, nil},
		"accepted":        {[]int{204}, 1, 0, nil},
		"after faults":    {[]int{500, 503, 429, 202}, 4, 0, nil},
		"given up":        {[]int{500}, 4, 500, errors.New("")},
		"gone":            {[]int{410}, 1, 410, ErrGone},
		"not redirected":  {[]int{307}, 4, 307, errors.New("")},
		"not redirected ": {[]int{302}, 4, 302, errors.New("")},
	} {
		t.Run(name, func(t *testing.T) {
			away := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
			defer away.Close()
			r := &receiver{answers: tc.answers, header: http.Header{"Location": {away.URL}}}
			srv := httptest.NewTLSServer(r)
			defer srv.Close()
			pool := x509.NewCertPool()
			pool.AddCert(srv.Certificate())
			s := New(Config{Allow: loopback, Backoff: time.Millisecond, Attempts: 4, Authorities: pool})
			to := Endpoint{URL: srv.URL + "/hook?t=private", Secret: NewSecret(), Old: []Secret{NewSecret()}}
			err := s.Send(t.Context(), to, event())
			if (err == nil) != (tc.want == nil) || tc.want != nil && tc.want.Error() != "" && !errors.Is(err, tc.want) {
				t.Fatalf("got %v, want %v", err, tc.want)
			}
			var u *Undelivered
			if err != nil && (!errors.As(err, &u) || u.Status != tc.status || u.Attempts != tc.times || strings.Contains(err.Error(), "private")) {
				t.Errorf("got %v", err)
			}
			if len(r.got) != tc.times {
				t.Errorf("sent %d times, want %d", len(r.got), tc.times)
			}
			for i, h := range r.got {
				for _, secret := range []Secret{to.Secret, to.Old[0]} {
					if err := Verify(h, r.bodies[i], time.Now(), 0, secret); err != nil {
						t.Error(err)
					}
				}
				if h.Get(HeaderID) != "msg_1" || h.Get("Content-Type") != "application/json" || string(r.bodies[i]) != `{"type":"export.completed","timestamp":"2026-03-02T12:00:00Z","data":{"rows":3}}` {
					t.Errorf("sent %v %s", h, r.bodies[i])
				}
			}
		})
	}
}

// TestUntrusted: a receiver's certificate must be one that is trusted.
func TestUntrusted(t *testing.T) {
	r := &receiver{answers: []int{200}}
	srv := httptest.NewTLSServer(r)
	defer srv.Close()
	err := New(Config{Allow: loopback, Attempts: 1}).Send(t.Context(), Endpoint{URL: srv.URL + "/?t=private", Secret: NewSecret()}, event())
	if err == nil || len(r.got) > 0 || strings.Contains(err.Error(), "private") {
		t.Errorf("sent to a receiver that nobody certified: %v", err)
	}
}

// TestAddresses: what is not the public internet's is not dialled, however it is written and
// whatever name stands for it.
func TestAddresses(t *testing.T) {
	for text, want := range map[string]bool{
		"8.8.8.8": true, "2606:4700::1111": true, "64:ff9b::8.8.8.8": true, "::ffff:8.8.8.8": true,
		"127.0.0.1": false, "127.8.9.1": false, "10.1.2.3": false, "172.16.0.1": false, "172.31.255.255": false, "192.168.1.1": false,
		"169.254.169.254": false, "100.64.0.1": false, "100.100.100.200": false, "0.0.0.0": false, "0.1.2.3": false, "255.255.255.255": false,
		"224.0.0.1": false, "240.0.0.1": false, "192.0.0.192": false, "198.18.0.1": false, "203.0.113.9": false, "192.0.2.1": false, "198.51.100.7": false,
		"::": false, "::1": false, "fe80::1": false, "fe80::1%eth0": false, "fc00::1": false, "fd00:ec2::254": false, "ff02::1": false, "fec0::1": false,
		"::ffff:127.0.0.1": false, "::ffff:169.254.169.254": false, "::127.0.0.1": false, "64:ff9b::127.0.0.1": false, "64:ff9b::10.0.0.1": false,
		"64:ff9b:1::1": false, "2002:7f00:1::": false, "2002:a9fe:a9fe::": false, "2002:808:808::": true, "2001::1": false, "2001:db8::1": false, "4000::1": false,
	} {
		g := &guard{}
		ip := netip.MustParseAddr(text)
		if got := g.permits(ip); got != want {
			t.Errorf("%s is dialled: %v", text, got)
		}
		err := g.control(t.Context(), "tcp", netip.AddrPortFrom(ip, 443).String(), nil)
		if (err == nil) != want {
			t.Errorf("%s is dialled: %v", text, err)
		}
		if want {
			continue
		}
		host := text
		if strings.Contains(text, ":") {
			host = "[" + strings.ReplaceAll(text, "%", "%25") + "]"
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if err := New(Config{Attempts: 1}).Send(ctx, Endpoint{URL: "https://" + host + "/", Secret: NewSecret()}, event()); !errors.Is(err, ErrAddress) {
			t.Errorf("https://%s: %v", host, err)
		}
		cancel()
	}
}

// TestNamesOfAddresses: a name is judged by the address that it comes to.
func TestNamesOfAddresses(t *testing.T) {
	r := &receiver{answers: []int{200}}
	srv := httptest.NewTLSServer(r)
	defer srv.Close()
	_, port, _ := strings.Cut(strings.TrimPrefix(srv.URL, "https://"), ":")
	// Numbers that a resolver takes for 127.0.0.1, and a name for it.
	for _, host := range []string{"localhost", "2130706433", "127.1", "0x7f.1"} {
		err := New(Config{Attempts: 1, Timeout: 5 * time.Second}).Send(t.Context(), Endpoint{URL: "https://" + host + ":" + port + "/", Secret: NewSecret()}, event())
		if err == nil || host == "localhost" && !errors.Is(err, ErrAddress) || len(r.got) > 0 {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestURLs(t *testing.T) {
	s := New(Config{Allow: loopback})
	for text, ok := range map[string]bool{
		"https://hooks.example.com/a": true, "https://hooks.example.com:8443/a?b=c": true, "http://127.0.0.1:8080/": true, "http://[::1]/": true,
		"http://hooks.example.com/": false, "http://localhost/": false, "ftp://hooks.example.com/": false, "https:///x": false, "": false,
		"https://user:pw@hooks.example.com/": false, "https://hooks.example.com/#a": false, "https:hooks.example.com": false, "//hooks.example.com": false,
		"https://hooks.example.com/\x00": false, "file:///etc/passwd": false, "gopher://x/": false,
	} {
		err := s.Check(Endpoint{URL: text, Secret: NewSecret()})
		if (err == nil) != ok || err != nil && !errors.Is(err, ErrURL) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if err := New(Config{}).Check(Endpoint{URL: "http://127.0.0.1/", Secret: NewSecret()}); !errors.Is(err, ErrAddress) {
		t.Errorf("loopback that is not allowed: %v", err)
	}
	if err := s.Check(Endpoint{URL: "https://hooks.example.com/"}); err == nil {
		t.Error("a webhook without a secret")
	}
}

func TestEvents(t *testing.T) {
	for name, change := range map[string]func(*Event){
		"no id":       func(e *Event) { e.ID = "" },
		"id of lines": func(e *Event) { e.ID = "a\nb" },
		"id of dots":  func(e *Event) { e.ID = "a.1" },
		"no type":     func(e *Event) { e.Type = "" },
		"no time":     func(e *Event) { e.Time = time.Time{} },
		"no JSON":     func(e *Event) { e.Data = json.RawMessage("{") },
	} {
		e := event()
		change(&e)
		if body, err := e.Body(); err == nil {
			t.Errorf("%s: %s", name, body)
		}
	}
}

// TestPatience: a receiver that asks for time is given it, and whoever waits can stop.
func TestPatience(t *testing.T) {
	r := &receiver{answers: []int{429}, header: http.Header{"Retry-After": {"3000"}}}
	srv := httptest.NewServer(r)
	defer srv.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stopped")
	time.AfterFunc(300*time.Millisecond, func() { cancel(stop) })
	err := New(Config{Allow: loopback, Backoff: time.Millisecond}).Send(ctx, Endpoint{URL: srv.URL, Secret: NewSecret()}, event())
	if !errors.Is(err, stop) || len(r.got) != 1 {
		t.Errorf("sent %d times: %v", len(r.got), err)
	}
}

func FuzzVerify(f *testing.F) {
	secret := NewSecret()
	f.Add("msg_1", "1772452800", "v1,AAAA v1a,BBBB", []byte("{}"))
	f.Fuzz(func(t *testing.T, id, timestamp, signature string, body []byte) {
		h := http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {timestamp}, "Webhook-Signature": {signature}}
		if Verify(h, body, time.Unix(1_772_452_800, 0), 0, secret) == nil {
			t.Error("accepted what was not signed")
		}
	})
}
