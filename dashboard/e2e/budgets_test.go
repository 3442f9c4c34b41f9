package e2e

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"text/tabwriter"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/chromedp"
)

// What the first load may take. Times are reported and not bounded: they are the machine's.
const (
	mostBytes    = 300_000
	mostRequests = 40
)

// traffic counts what a tab asked for and received.
type traffic struct {
	mu       sync.Mutex
	requests int
	bytes    float64 // as they were on the wire: compressed, with headers
	live     map[network.RequestID]bool
}

func newTraffic() *traffic { return &traffic{live: map[network.RequestID]bool{}} }

func (c *traffic) hear(e any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch e := e.(type) {
	case *network.EventRequestWillBeSent:
		if e.Request.URL[:4] == "http" {
			c.requests++
		}
	case *network.EventLoadingFinished:
		c.bytes += e.EncodedDataLength
	}
}

func (c *traffic) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests, c.bytes = 0, 0
}

func (c *traffic) counts() (requests int, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.requests, int64(c.bytes)
}

// timing is what the browser measured of a load, in milliseconds.
type timing struct {
	FirstPaint float64 `json:"paint"`
	Longest    float64 `json:"longest"` // task on the main thread
	Script     float64 `json:"-"`
	Tasks      float64 `json:"-"`
	Heap       float64 `json:"-"` // bytes
}

// timing asks the browser for what it measured since the page began.
func (b *tab) timing() timing {
	b.t.Helper()
	var out timing
	text := eval[string](b, `new Promise((done) => {
		const paint = performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? 0;
		let longest = 0;
		new PerformanceObserver((list) => { for (const e of list.getEntries()) longest = Math.max(longest, e.duration); }).observe({type: "longtask", buffered: true});
		setTimeout(() => done(JSON.stringify({paint, longest})), 100);
	})`)
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		b.t.Fatal(err)
	}
	b.do(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		m, err := cdp.Call(ctx, target, performance.GetMetrics, cdp.Empty{})
		if err != nil {
			return err
		}
		for _, one := range m.Metrics {
			switch one.Name {
			case "ScriptDuration":
				out.Script = one.Value * 1000
			case "TaskDuration":
				out.Tasks = one.Value * 1000
			case "JSHeapUsedSize":
				out.Heap = one.Value
			}
		}
		return nil
	}))
	return out
}

// testBudgets loads pages with an empty cache and reports what that took.
func testBudgets(t *testing.T, w *world) {
	out := tabwriter.NewWriter(t.Output(), 0, 4, 2, ' ', tabwriter.AlignRight)
	row := func(cells ...string) {
		for _, c := range cells {
			_, _ = out.Write([]byte(c + "\t"))
		}
		_, _ = out.Write([]byte("\n"))
	}
	row("page", "kB", "requests", "first paint ms", "longest task ms", "script ms", "main thread ms", "heap MB")
	for _, name := range pagesOf["analyst"] {
		// A test of its own ends its tab: one principal has eight sessions.
		t.Run(name, func(t *testing.T) {
			b := w.tab(t)
			b.signIn(w, roles["analyst"])
			clearCache(b)
			b.do(chromedp.Navigate("about:blank"))
			b.traffic.reset()
			b.open(path("analyst", name))
			requests, bytes := b.traffic.counts()
			m := b.timing()
			row(name, format(float64(bytes)/1000), format(float64(requests)), format(m.FirstPaint), format(m.Longest), format(m.Script), format(m.Tasks), format(m.Heap/1e6))
			atMost, askedAtMost := mostOf(name)
			if bytes > atMost {
				t.Errorf("the first load takes %d bytes, of %d", bytes, atMost)
			}
			if requests > askedAtMost {
				t.Errorf("the first load takes %d requests, of %d", requests, askedAtMost)
			}
		})
		if isShort() {
			break // one page is enough to find what grew
		}
	}
	_ = out.Flush()
}

func clearCache(b *tab) {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, network.ClearBrowserCache, cdp.Empty{}); err != nil {
		b.t.Fatal(err)
	}
}

// mostOf bounds the first load of a page. Those of insights, opened before any other, bring the
// words of the jobs besides: they are held to what they take, which is more than is wanted.
func mostOf(page string) (bytes int64, requests int) {
	switch page {
	case "anomalies", "segments", "predictions", "recommendations":
		return 330_000, 45
	}
	return mostBytes, mostRequests
}
