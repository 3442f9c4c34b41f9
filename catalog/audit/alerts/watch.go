package alerts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/cardlake/cardlake/catalog/audit"
)

// Sink is where alerts go.
type Sink interface {
	// Send passes an alert on. An alert whose sending failed is logged and not sent again.
	Send(ctx context.Context, a Alert) error
}

// WatchConfig configures a Watcher.
type WatchConfig struct {
	Rules Config
	// State is the file in which the watcher keeps where it was and what it learned; empty
	// begins anew each time.
	State string
	// Sinks get every alert, each in turn.
	Sinks []Sink
	// Serving reports whether doors serve, so that lines are due; nil switches LogSilent off.
	Serving func() bool
	// Every is the time between looks at the log. Default 2 s.
	Every time.Duration
	Now   func() time.Time // default time.Now
	Log   *slog.Logger     // default slog.Default()
}

func (c WatchConfig) withDefaults() WatchConfig {
	def(&c.Every, 2*time.Second)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c
}

// The state is saved after so many lines or so long, and when the watcher is closed: what a
// watcher that died judges, and tells of, again.
const (
	saveLines = 50_000
	saveEvery = 30 * time.Second
)

// Watcher follows a log and sends alerts. It is not safe for concurrent use.
type Watcher struct {
	from   audit.Segments
	verify audit.VerifyConfig
	cfg    WatchConfig
	rules  *Rules
	tail   *audit.Tail
	start  audit.Head // where it goes on
	isMet  bool       // the start's line was met
	// unsaved are the lines that the file's state has not seen; it was saved last at saved.
	unsaved int
	saved   time.Time
}

// NewWatcher returns the watcher of a log, whose lines are verified with verify.
func NewWatcher(from audit.Segments, verify audit.VerifyConfig, cfg WatchConfig) *Watcher {
	verify.First, verify.Anchor, verify.Known = 0, audit.Head{}, nil
	return &Watcher{from: from, verify: verify, cfg: cfg.withDefaults()}
}

// Run judges what is new until ctx ends, which is no error. A log that does not hold together
// is told of and ends it with an error that matches audit.ErrBreak; other failures are logged
// and tried again.
func (w *Watcher) Run(ctx context.Context) error {
	defer w.Close()
	for {
		_, err := w.Once(ctx)
		switch {
		case errors.Is(err, audit.ErrBreak):
			return err
		case ctx.Err() != nil:
			return nil
		case err != nil:
			w.cfg.Log.Warn("the audit log is not watched", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(w.cfg.Every):
		}
	}
}

// Close forgets the log's keys. A later Once goes on from the state that was kept.
func (w *Watcher) Close() {
	if w.tail == nil {
		return
	}
	w.tail.Close()
	w.tail = nil
	if w.unsaved > 0 {
		if err := w.save(); err != nil {
			w.cfg.Log.Error("the state of the alert rules is not saved", "error", err)
		}
	}
}

// Once judges what the log has now and returns how many lines that was.
func (w *Watcher) Once(ctx context.Context) (lines int, err error) {
	lines, err = w.once(ctx)
	if errors.Is(err, audit.ErrBreak) {
		w.send(ctx, Alert{Time: w.cfg.Now().UTC(), Severity: Critical, Rule: LogBroken, Log: w.rules.Head().Log, Evidence: []uint64{w.rules.Head().Seq}, Reason: err.Error()})
	}
	if err != nil {
		w.Close()
		return lines, fmt.Errorf("watch audit log: %w", err)
	}
	return lines, nil
}

func (w *Watcher) once(ctx context.Context) (int, error) {
	if w.tail == nil {
		if err := w.begin(ctx); err != nil {
			return 0, err
		}
	}
	seen := 0
	var bad error
	err := w.tail.Each(ctx, func(l audit.Line) bool {
		if !w.isMet {
			if bad = w.meet(ctx, &l); bad != nil || l.Seq <= w.start.Seq {
				return bad == nil
			}
		}
		seen++
		for _, a := range w.rules.See(&l) {
			w.send(ctx, a)
		}
		if w.unsaved++; w.unsaved >= saveLines {
			bad = w.save()
		}
		return bad == nil
	})
	if bad == nil && w.unsaved > 0 && w.cfg.Now().Sub(w.saved) >= saveEvery {
		bad = w.save()
	}
	if err = errors.Join(err, bad); err != nil {
		return seen, err
	}
	if w.cfg.Serving != nil && w.cfg.Serving() {
		for _, a := range w.rules.Tick(w.cfg.Now().UTC()) {
			w.send(ctx, a)
		}
	}
	return seen, nil
}

// begin takes up the state and puts the tail where it ended.
func (w *Watcher) begin(ctx context.Context) error {
	w.rules, w.unsaved = New(w.cfg.Rules), 0
	if w.cfg.State != "" {
		text, err := os.ReadFile(w.cfg.State)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		default:
			if err := w.rules.UnmarshalJSON(text); err != nil {
				return fmt.Errorf("%s: %w: remove it to begin anew", w.cfg.State, err)
			}
		}
	}
	w.start, w.isMet = w.rules.Head(), w.rules.Head().Seq == 0
	verify := w.verify
	if !w.isMet {
		var err error
		if verify.First, err = audit.Locate(ctx, w.from, w.start.Seq); err != nil {
			return err
		}
	}
	w.tail = audit.TailOf(w.from, verify)
	return nil
}

// meet waits for the line that was judged last. If it was pruned, the rules go on with the
// first line that is left, and say so.
func (w *Watcher) meet(ctx context.Context, l *audit.Line) error {
	switch {
	case l.Seq < w.start.Seq:
		return nil
	case l.Seq == w.start.Seq && l.Head() != w.start:
		return fmt.Errorf("%w: line %d is not the one that was judged: the log was written anew", audit.ErrBreak, l.Seq)
	}
	w.isMet = true
	if l.Seq > w.start.Seq+1 {
		w.send(ctx, Alert{Time: l.Time, Severity: Critical, Rule: LogUnwatched, Log: l.Log, Evidence: []uint64{w.start.Seq, l.Seq},
			Reason: fmt.Sprintf("lines %d to %d are gone before they were judged", w.start.Seq+1, l.Seq-1)})
		w.rules.s.Head = audit.Head{Log: l.Log, Seq: l.Seq - 1, Hash: l.Prev}
	}
	return nil
}

func (w *Watcher) send(ctx context.Context, a Alert) {
	for _, s := range w.cfg.Sinks {
		if err := s.Send(ctx, a); err != nil {
			w.cfg.Log.Error("an alert was not sent", "rule", a.Rule, "severity", a.Severity, "error", err)
		}
	}
}

// save keeps the state, in one step.
func (w *Watcher) save() error {
	w.unsaved, w.saved = 0, w.cfg.Now()
	if w.cfg.State == "" {
		return nil
	}
	text, err := json.Marshal(w.rules)
	if err != nil {
		return err
	}
	dir := filepath.Dir(w.cfg.State)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, ".alerts-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(text)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), w.cfg.State)
}
