package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cardlake/cardlake/queries"
)

type consistencyOptions struct {
	common
	queries, kills, askers, steps int
	window, kill, absence         time.Duration
	seed                          uint64
}

func runConsistency(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o := consistencyOptions{common: common{tps: 100, tenants: 1}, steps: 10}
	fs := flag.NewFlagSet("freshness consistency", flag.ContinueOnError)
	fs.SetOutput(stderr)
	o.flags(fs)
	fs.IntVar(&o.queries, "queries", 10_000, "`number` of queries")
	fs.IntVar(&o.kills, "kills", 0, "least `number` of kills: queries go on until there were so many")
	fs.IntVar(&o.askers, "askers", 4, "`number` of queries at a time, over two gateways")
	fs.DurationVar(&o.window, "window", 4*time.Second, "the window of each of the two workers")
	fs.DurationVar(&o.kill, "kill", 6*time.Second, "mean `time` from one kill to the next")
	fs.DurationVar(&o.absence, "absence", 1500*time.Millisecond, "longest `time` that a killed worker stays away")
	fs.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "`seed` of the times and the victims")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if err := o.validate(); err != nil {
		return err
	}
	if o.queries < 1 || o.kills < 0 || o.askers < 1 || o.window <= 0 || o.kill <= 0 || o.absence <= 0 {
		return errors.New("-queries, -askers, -window, -kill and -absence must be positive, -kills not negative")
	}
	r, err := consistency(ctx, o, stderr)
	if r != nil {
		r.print(stdout)
		err = errors.Join(err, writeReport(o.report, r))
	}
	return err
}

// errWrong says that an answer was wrong.
var errWrong = errors.New("an answer was wrong")

// consistency returns a report as soon as there was an answer, also with an error.
func consistency(ctx context.Context, o consistencyOptions, stderr io.Writer) (_ *consistencyReport, err error) {
	fmt.Fprintf(stderr, "seed %d\n", o.seed)
	dir, done, err := o.folder()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, done()) }()
	if err := makeLake(ctx, dir, o.tenants); err != nil {
		return nil, err
	}
	s, err := startStream(dir, o.common)
	if err != nil {
		return nil, err
	}
	defer s.end()
	c := &checker{options: o, stderr: stderr, report: &consistencyReport{}}
	var addrs []string
	for _, name := range []string{"w1", "w2"} {
		w, err := newWorker(dir, name, s.broker, o.window)
		if err != nil {
			return nil, err
		}
		defer w.end()
		c.workers, addrs = append(c.workers, w), append(addrs, w.addr)
	}
	if c.reader, err = newReader(ctx, dir, addrs); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.reader.close()) }()
	if c.group, err = newMembership(s.broker); err != nil {
		return nil, err
	}
	defer c.group.close()
	if err := c.warmUp(ctx, s); err != nil {
		return nil, err
	}
	c.began = time.Now()
	if err := c.run(ctx); err != nil {
		return c.report, err
	}
	return c.report, c.finish(ctx, s)
}

// checker runs the queries and the kills.
type checker struct {
	options consistencyOptions
	stderr  io.Writer
	reader  *reader
	workers []*worker
	group   *membership
	history history
	began   time.Time
	// How many queries and kills there were, and kills of which the group was told.
	asked, kills, told atomic.Int64

	mu     sync.Mutex
	report *consistencyReport
	cpu    time.Duration // of this process at the begin of the step
}

// warmUp lets the first worker, alone, commit something of every partition: before that the
// table does not know its partitions.
func (c *checker) warmUp(ctx context.Context, s *stream) error {
	if err := errors.Join(c.workers[0].start(), s.begin()); err != nil {
		return err
	}
	for start := time.Now(); ; {
		at, err := c.reader.table.Positions(ctx)
		if err != nil {
			return err
		}
		if len(at) == c.options.partitions {
			break
		}
		if time.Since(start) > joinTimeout+c.options.window {
			return c.workers[0].fault(fmt.Errorf("only %d partitions are committed", len(at)))
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	return c.workers[1].start()
}

// run asks, and kills meanwhile, until all queries are answered or one is wrong.
func (c *checker) run(ctx context.Context) error {
	gateways := []queries.Session{c.reader.gateway(true), c.reader.gateway(true)}
	c.cpu = ownCPU()
	asking, stop := context.WithCancel(ctx)
	defer stop()
	killed := make(chan error, 1)
	go func() {
		err := c.kill(asking)
		if err != nil {
			stop() // what is asked now could wait for ever
		}
		killed <- err
	}()
	group, askCtx := errgroup.WithContext(asking)
	for i := range c.options.askers {
		group.Go(func() error {
			for {
				n := int(c.asked.Add(1))
				if n > c.options.queries && int(c.kills.Load()) >= c.options.kills {
					return nil
				}
				if err := c.check(askCtx, gateways[i%len(gateways)], n); err != nil {
					return err
				}
			}
		})
	}
	err := group.Wait()
	stop()
	err = errors.Join(<-killed, err)
	c.report.Kills, c.report.Handovers, c.report.Seconds = int(c.kills.Load()), int(c.told.Load()), time.Since(c.began).Seconds()
	return err
}

// check asks once and checks the answer.
func (c *checker) check(ctx context.Context, g queries.Session, n int) error {
	before := c.history.begin()
	a, err := ask(ctx, g, n)
	if err != nil {
		return err
	}
	faults := a.faults(before)
	isShorter := a.isShorter(before)
	c.history.end(a)
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.report
	r.Queries++
	if len(faults) > 0 {
		r.Faults++
	}
	if a.tailRows > 0 {
		r.Tailed++
	}
	if len(a.lacking) > 0 {
		r.Lacking++
	}
	if isShorter {
		r.Shorter++
	}
	if every := max(c.options.queries/c.options.steps, 1); r.Queries%every == 0 {
		now := ownCPU()
		s := step{Queries: r.Queries, Rows: total(a.read), Files: a.snapshot.Files, QueryMillis: millis(now-c.cpu) / float64(every)}
		r.Steps, c.cpu = append(r.Steps, s), now
		fmt.Fprintf(c.stderr, "%4.0f s: %d queries, %d kills, %d rows in %d files\n", time.Since(c.began).Seconds(), r.Queries, c.kills.Load(), s.Rows, s.Files)
	}
	if len(faults) == 0 {
		return nil
	}
	if r.Faults == 1 {
		fmt.Fprint(c.stderr, a.describe(before, faults))
	}
	return errWrong
}

// kill kills the workers, one after the other, and starts them again, until ctx ends. Half
// the time the group is told of the death, so that the other worker takes the partitions and
// gives half of them back later; else they wait for the one that comes back, or for the end
// of its session.
func (c *checker) kill(ctx context.Context) error {
	random := rand.New(rand.NewPCG(c.options.seed, 1))
	upTo := func(d time.Duration) time.Duration { return time.Duration(random.Int64N(int64(d))) }
	for {
		if pause(ctx, c.options.kill/2+upTo(c.options.kill)) != nil {
			return nil
		}
		w := c.workers[random.IntN(len(c.workers))]
		if err := w.kill(); err != nil {
			return err
		}
		isTold := random.IntN(2) == 0
		if isTold {
			if err := c.group.forget(ctx, w.name); err != nil && ctx.Err() == nil {
				return err
			}
		}
		c.kills.Add(1)
		if isTold {
			c.told.Add(1)
		}
		_ = pause(ctx, upTo(c.options.absence)) // it is started in any case
		if err := w.start(); err != nil {
			return err
		}
	}
}

// finish lets the workers commit everything and asks once more, without the tail, for all
// that was produced.
func (c *checker) finish(ctx context.Context, s *stream) error {
	ends, err := s.finish()
	if err != nil {
		return err
	}
	for start := time.Now(); ; {
		at, err := c.reader.table.Positions(ctx)
		if err != nil {
			return err
		}
		if at.Holds(ends) {
			break
		}
		if time.Since(start) > joinTimeout+c.options.window {
			return errors.Join(fmt.Errorf("committed %v of %v", at, ends), c.workers[0].fault(errors.New("its log")), c.workers[1].fault(errors.New("its log")))
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	a, err := ask(ctx, c.reader.gateway(false), c.options.queries+1)
	if err != nil {
		return err
	}
	before := c.history.begin()
	before.committed = ends
	if faults := a.faults(before); len(faults) > 0 {
		fmt.Fprint(c.stderr, a.describe(before, faults))
		return fmt.Errorf("at the end: %w", errWrong)
	}
	c.report.Events, c.report.Commits, c.report.Files = total(ends), a.snapshot.Sequence, a.snapshot.Files
	return errors.Join(c.workers[0].stop(), c.workers[1].stop(), s.stop())
}
