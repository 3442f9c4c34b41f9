package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries"
)

type measureOptions struct {
	common
	seconds int
	windows durations
	every   time.Duration
}

func runMeasure(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o := measureOptions{common: common{tps: 600, tenants: 4}, windows: durations{30 * time.Second, 2 * time.Second}}
	fs := flag.NewFlagSet("freshness measure", flag.ContinueOnError)
	fs.SetOutput(stderr)
	o.flags(fs)
	fs.IntVar(&o.seconds, "seconds", 60, "how many `seconds` events are produced for each window")
	fs.Var(&o.windows, "window", "the workers' window, or several with commas between them, measured one after the other")
	fs.DurationVar(&o.every, "every", 50*time.Millisecond, "least `time` from the begin of a question to that of the next")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if err := o.validate(); err != nil {
		return err
	}
	if o.seconds < 1 || o.every <= 0 {
		return errors.New("-seconds must be at least 1 and -every more than 0")
	}
	r, err := measure(ctx, o, stderr)
	if err != nil {
		return err
	}
	r.print(stdout)
	return writeReport(o.report, r)
}

func measure(ctx context.Context, o measureOptions, stderr io.Writer) (_ *measureReport, err error) {
	dir, done, err := o.folder()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, done()) }()
	r := &measureReport{TPS: o.tps, Seconds: o.seconds, Tenants: o.tenants, Partitions: o.partitions}
	for _, window := range o.windows {
		fmt.Fprintf(stderr, "measuring for %d s with a window of %v\n", o.seconds, window)
		one, err := measureWindow(ctx, filepath.Join(dir, "window-"+window.String()), o, window)
		if err != nil {
			return nil, fmt.Errorf("with a window of %v: %w", window, err)
		}
		r.Windows = append(r.Windows, one)
	}
	return r, nil
}

// measureWindow runs one worker and two probes, one with the tail and one without it, until
// both have seen every event.
func measureWindow(ctx context.Context, dir string, o measureOptions, window time.Duration) (_ windowReport, err error) {
	out := windowReport{Window: window.String()}
	if err := makeLake(ctx, dir, o.tenants); err != nil {
		return out, err
	}
	s, err := startStream(dir, o.common)
	if err != nil {
		return out, err
	}
	defer s.end()
	w, err := newWorker(dir, "w1", s.broker, window)
	if err != nil {
		return out, err
	}
	if err := w.start(); err != nil {
		return out, err
	}
	defer w.end()
	r, err := newReader(ctx, dir, []string{w.addr})
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	visible, committed := newProbe(r.gateway(true), o.partitions, o.every), newProbe(r.gateway(false), o.partitions, o.every)
	for _, p := range []*probe{visible, committed} {
		// Also starts what starts with the first statement.
		if err := p.ask(ctx); err != nil {
			return out, err
		}
	}
	// Until the worker has its partitions nothing is decided.
	for start := time.Now(); ; {
		if t, err := r.workers.Tail(ctx, cardlake.Positions{}); err == nil {
			t.Release()
			if len(t.To) == o.partitions {
				break
			}
		}
		if time.Since(start) > joinTimeout {
			return out, w.fault(errors.New("the worker does not get its partitions"))
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return out, err
		}
	}

	if err := s.begin(); err != nil {
		return out, err
	}
	start, own, ofWorker, ofStream := time.Now(), ownCPU(), w.cpu(), s.cpu()
	asked := visible.asked + committed.asked
	ends := make(chan struct{})
	group, probing := errgroup.WithContext(ctx)
	group.Go(func() error { return visible.run(probing, ends) })
	group.Go(func() error { return committed.run(probing, ends) })
	var produced cardlake.Positions
	group.Go(func() error {
		if err := pause(probing, time.Duration(o.seconds)*time.Second); err != nil {
			return err
		}
		var err error
		if produced, err = s.finish(); err != nil {
			return err
		}
		visible.until, committed.until = produced, produced
		close(ends)
		return nil
	})
	if err := group.Wait(); err != nil {
		return out, errors.Join(err, w.fault(errors.New("its log")))
	}
	took := time.Since(start)
	out.Events = total(produced)
	out.Visible, out.Committed = visible.percentiles(), committed.percentiles()
	out.Questions = visible.asked + committed.asked - asked
	out.QueryMillis = millis(ownCPU()-own) / float64(out.Questions)
	out.ProberCPU, out.WorkerCPU, out.StreamCPU = share(ownCPU()-own, took), share(w.cpu()-ofWorker, took), share(s.cpu()-ofStream, took)
	snapshot, err := r.table.Current(ctx)
	if err != nil {
		return out, err
	}
	out.Commits, out.Files = snapshot.Sequence, snapshot.Files
	return out, errors.Join(w.stop(), s.stop())
}

// joinTimeout bounds the wait for a worker that joins its group.
const joinTimeout = 30 * time.Second

// probe asks for what it has not seen, over and over. Of each event it keeps how long after
// its decision the first answer that shows it has ended: it is in exactly one answer, because
// each question begins, in every partition, where the answer before ended, and an answer with
// a gap is a fault.
type probe struct {
	gateway queries.Session
	every   time.Duration
	next    cardlake.Positions
	ages    []time.Duration
	asked   int
	until   cardlake.Positions // where the stream ends; set when nothing is produced any more
}

func newProbe(g queries.Session, partitions int, every time.Duration) *probe {
	p := &probe{gateway: g, every: every, next: cardlake.Positions{}}
	for i := range partitions {
		p.next[partition(int32(i))] = cardlake.Offset{}
	}
	return p
}

// run asks until all events up to until are seen, which is set before ends is closed.
func (p *probe) run(ctx context.Context, ends <-chan struct{}) error {
	for {
		began := time.Now()
		if err := p.ask(ctx); err != nil {
			return err
		}
		select {
		case <-ends:
			if p.next.Holds(p.until) {
				return nil
			}
		default:
		}
		if err := pause(ctx, p.every-time.Since(began)); err != nil {
			return err
		}
	}
}

func (p *probe) ask(ctx context.Context) (err error) {
	var unseen []string
	for sp, at := range p.next {
		unseen = append(unseen, fmt.Sprintf("stream_partition = %d AND stream_offset >= %d", sp.Partition, at.Next))
	}
	result, err := p.gateway.Query(ctx, "SELECT stream_partition, stream_offset, epoch_us(event_time) FROM cards.transactions WHERE "+strings.Join(unseen, " OR "))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, result.Close()) }()
	p.asked++
	found := map[cardlake.StreamPartition][]int64{}
	var times []int64
	for row := make([]any, 3); ; {
		if err := result.Next(row); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		sp := partition(row[0].(int32))
		found[sp] = append(found[sp], row[1].(int64))
		times = append(times, row[2].(int64))
	}
	return p.take(found, times, time.Now())
}

// take takes an answer that ended now: the offsets of its events, and when they were decided,
// in microseconds since the epoch.
func (p *probe) take(found map[cardlake.StreamPartition][]int64, times []int64, now time.Time) error {
	for _, at := range times {
		p.ages = append(p.ages, now.Sub(time.UnixMicro(at)))
	}
	for sp, offsets := range found {
		slices.Sort(offsets)
		for _, at := range offsets {
			if at != p.next[sp].Next {
				return fmt.Errorf("%v shows offset %d, where %d is next", sp, at, p.next[sp].Next)
			}
			p.next[sp] = cardlake.Offset{Next: at + 1}
		}
	}
	return nil
}

func (p *probe) percentiles() percentiles {
	slices.Sort(p.ages)
	at := func(share float64) float64 {
		if len(p.ages) == 0 {
			return 0
		}
		return millis(p.ages[min(int(share*float64(len(p.ages))), len(p.ages)-1)])
	}
	return percentiles{P50: at(0.5), P90: at(0.9), P99: at(0.99), Max: at(1)}
}

// pause waits, not at all if d is not positive, or until ctx ends, which is an error.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func total(p cardlake.Positions) (n int64) {
	for _, at := range p {
		n += at.Next
	}
	return n
}

func millis(d time.Duration) float64 { return d.Seconds() * 1000 }

// share is how much of one processor was used.
func share(used, of time.Duration) float64 { return used.Seconds() / of.Seconds() }
