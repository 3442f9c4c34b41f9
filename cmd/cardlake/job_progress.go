package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries/insights"
)

const (
	// screenEvery is how often a terminal's line is written anew, and screenLines how often
	// a tenant's run is told of elsewhere.
	screenEvery = 500 * time.Millisecond
	screenLines = 15 * time.Second
	// screenWidth is the longest line on a terminal.
	screenWidth = 110
)

// jobProgress tells how far runs are: one line on a terminal, which is written over, lines
// elsewhere. Its methods may be called by several goroutines.
type jobProgress struct {
	w          io.Writer
	isTerminal bool

	mu          sync.Mutex
	begun       time.Time
	total, done int
	stages      map[cardlake.Tenant]*jobStage
	written     time.Time
	isShown     bool
}

// jobStage is a stage of a tenant's run.
type jobStage struct {
	insights.Progress
	since, told time.Time
	first       int64 // Done when the stage began
}

func newJobProgress(w io.Writer) *jobProgress {
	return &jobProgress{w: w, isTerminal: isTerminal(w), stages: map[cardlake.Tenant]*jobStage{}}
}

// begin says how many tenants there are.
func (p *jobProgress) begin(total int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total, p.done, p.begun = total, 0, time.Now()
}

// report is an insights.Request's Progress.
func (p *jobProgress) report(now insights.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := time.Now()
	s := p.stages[now.Tenant]
	if s == nil || s.Stage != now.Stage || now.Done < s.Done {
		told := at
		if s != nil {
			told = s.told // a log wants few lines, however many stages a run has
		}
		s = &jobStage{since: at, told: told, first: now.Done}
		p.stages[now.Tenant] = s
	}
	s.Progress = now
	switch {
	case p.isTerminal && at.Sub(p.begun) >= meterAfter && at.Sub(p.written) >= screenEvery:
		p.written, p.isShown = at, true
		fmt.Fprint(p.w, eraseLine, p.line(at))
	case !p.isTerminal && at.Sub(s.told) >= screenLines:
		s.told = at
		fmt.Fprintf(p.w, "%s %s: %s\n", now.Job, now.Tenant, s.text(at))
	}
}

// ended says that a tenant's run has ended.
func (p *jobProgress) ended(tenant cardlake.Tenant) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.stages, tenant)
	p.done++
}

// end takes back what stands on the terminal.
func (p *jobProgress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isShown {
		fmt.Fprint(p.w, eraseLine)
		p.isShown = false
	}
}

// line is what stands on a terminal.
func (p *jobProgress) line(at time.Time) string {
	parts := []string{fmt.Sprintf("%d of %d tenants", p.done, p.total)}
	for _, tenant := range slices.Sorted(maps.Keys(p.stages)) {
		parts = append(parts, string(tenant)+": "+p.stages[tenant].text(at))
	}
	line := []rune(strings.Join(parts, "; "))
	if len(line) > screenWidth {
		line = append(line[:screenWidth-1], '…')
	}
	return string(line)
}

// text is how far the stage is, and about how long it takes still.
func (s *jobStage) text(at time.Time) string {
	if s.Total <= 1 { // "0 of 1" tells nothing
		if s.Total <= 0 && s.Done > 0 {
			return fmt.Sprintf("%s, %d", s.Stage, s.Done)
		}
		return s.Stage
	}
	text := fmt.Sprintf("%s, %d of %d", s.Stage, s.Done, s.Total)
	if made, took := s.Done-s.first, at.Sub(s.since); made > 0 && s.Done < s.Total && took >= time.Second {
		left := time.Duration(float64(took) / float64(made) * float64(s.Total-s.Done))
		text += ", about " + left.Round(time.Second).String() + " left"
	}
	return text
}
