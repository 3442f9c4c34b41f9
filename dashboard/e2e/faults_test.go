package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
)

// faults are what the browser complains of, but for what the test announced.
type faults struct {
	mu       sync.Mutex
	list     []string
	console  []string           // all that was written to the console
	urls     []string           // of every request
	expected []string           // parts of complaints that are none
	asked    map[string]request // by id
}

type request struct {
	method, url, kind string
}

// expect announces complaints that have the text in them, such as "403 GET".
func (f *faults) expect(texts ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.expected = append(f.expected, texts...)
}

// hear takes an event of the browser.
func (f *faults) hear(e any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	add := func(format string, args ...any) { f.list = append(f.list, fmt.Sprintf(format, args...)) }
	switch e := e.(type) {
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if o := e.ExceptionDetails.Exception; o != nil {
			text += " " + o.Description
		}
		add("exception: %s (%s:%d)", text, e.ExceptionDetails.URL, e.ExceptionDetails.LineNumber+1)
	case *runtime.EventConsoleAPICalled:
		var texts []string
		for _, a := range e.Args {
			texts = append(texts, string(a.Value)+a.Description)
		}
		text := string(e.Type) + ": " + strings.Join(texts, " ")
		f.console = append(f.console, text)
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeAssert || e.Type == runtime.ConsoleAPICalledTypeWarning {
			add("console %s", text)
		}
	case *log.EventEntryAdded:
		f.console = append(f.console, e.Entry.Text)
		// What the network failed at is heard of below, with its method and status.
		if e.Entry.Level == log.EntryLevelError && e.Entry.Source != log.EntrySourceNetwork {
			add("browser: %s: %s (%s)", e.Entry.Source, e.Entry.Text, e.Entry.URL)
		}
	case *audits.EventIssueAdded:
		d := e.Issue.Details
		switch {
		case d.ContentSecurityPolicyIssueDetails != nil:
			p := d.ContentSecurityPolicyIssueDetails
			add("content security policy: %s of %s", p.ViolatedDirective, p.BlockedURL)
		case d.CookieIssueDetails != nil, d.MixedContentIssueDetails != nil, d.CorsIssueDetails != nil, d.QuirksModeIssueDetails != nil:
			add("issue: %s", e.Issue.Code)
		}
	case *network.EventRequestWillBeSent:
		if f.asked == nil {
			f.asked = map[string]request{}
		}
		f.asked[string(e.RequestID)] = request{e.Request.Method, e.Request.URL, string(e.Type)}
		f.urls = append(f.urls, e.Request.URL)
	case *network.EventResponseReceived:
		if e.Response.Status >= 400 {
			add("request: %d %s %s", e.Response.Status, f.asked[string(e.RequestID)].method, e.Response.URL)
		}
	case *network.EventLoadingFailed:
		// A page that is left cancels what it asked for.
		if !e.Canceled && e.ErrorText != "net::ERR_ABORTED" {
			r := f.asked[string(e.RequestID)]
			add("request: %s %s: %s %s", r.method, r.url, e.ErrorText, e.BlockedReason)
		}
	}
}

// unexpected are the complaints that the test did not announce.
func (f *faults) unexpected() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, text := range f.list {
		isExpected := false
		for _, e := range f.expected {
			isExpected = isExpected || strings.Contains(text, e)
		}
		if !isExpected {
			out = append(out, text)
		}
	}
	return out
}

// String implements fmt.Stringer.
func (f *faults) String() string { return strings.Join(f.unexpected(), "\n") }

// report fails the test for what was not announced.
func (f *faults) report(t *testing.T) {
	t.Helper()
	for _, text := range f.unexpected() {
		t.Errorf("the browser complains: %s", text)
	}
}

// seen are the addresses that were asked for, and what was written to the console.
func (f *faults) seen() (urls, console []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.urls...), append([]string(nil), f.console...)
}

// testComplaints lets the browser complain of everything that the other tests rely on hearing of.
func testComplaints(t *testing.T, w *world) {
	b := w.tab(t)
	b.signIn(w, roles["analyst"])
	b.open("/sql")
	for what, do := range map[string]string{
		"console error: \"planted\"": `console.error("planted")`,
		"exception: Uncaught":        `setTimeout(() => { throw new Error("planted"); })`,
		"content security policy: ":  `document.body.setAttribute("style", "color: red")`,
		"request: 404 GET":           `fetch("/v1/planted")`,
	} {
		if heard := b.faults.String(); heard != "" {
			t.Fatalf("before anything was planted: %s", heard)
		}
		eval[bool](b, "("+do+", true)")
		for end := time.Now().Add(patience); !strings.Contains(b.faults.String(), what); time.Sleep(25 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s is not heard of, only %q", what, b.faults)
			}
		}
		for line := range strings.SplitSeq(b.faults.String(), "\n") {
			b.faults.expect(line)
		}
	}
}
