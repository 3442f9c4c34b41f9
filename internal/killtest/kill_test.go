// Package killtest proves the promise of the worker the hard way: real worker processes on
// a real broker, or on a strict Kinesis, killed at random moments, and then the lake is
// counted.
package killtest

import (
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
)

// killsEnv is the environment variable for another number of kills than the short form's.
const killsEnv = "CARDLAKE_KILLS"

func kills(t *testing.T, short int) int {
	t.Helper()
	text := os.Getenv(killsEnv)
	if text == "" {
		return short
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s is %q", killsEnv, text)
	}
	return n
}

// isLong reports whether the long form is asked for.
func isLong() bool { return os.Getenv(killsEnv) != "" }

// runTime is more than n kills and what comes before and after them need.
func runTime(n int) time.Duration { return time.Duration(n)*10*time.Second + 3*time.Minute }

// stream is what workers are killed on.
type stream interface {
	// put sends messages in order and tells the site how many records of each they became.
	put(ctx context.Context, batch []message) error
	// forget ends what the stream's workers know of one of them, as the end of its session
	// does. One that lives is a zombie from then on, until it notices.
	forget(ctx context.Context, worker string)
	// disturb changes the stream itself, before the i-th kill or between it and the new start.
	disturb(ctx context.Context, i int)
	// ends is where a table stands that has everything.
	ends(ctx context.Context) cardlake.Positions
}

// records is how many the positions stand behind.
func records(at cardlake.Positions) (n int64) {
	for _, o := range at {
		n += o.Next
	}
	return n
}

// killWorkers kills two workers that share a stream, one or the other at random moments, and
// starts them again each time. Every other kill is followed by the other's learning of it at
// once, so that the partitions go there and come back; sometimes a worker stands still, loses
// its partitions and goes on as a zombie. At the end every event is in the lake once.
func killWorkers(ctx context.Context, s *site, from stream, random *rand.Rand, n int, workers []*process) {
	t := s.t
	for _, w := range workers {
		w.start()
		defer w.end()
	}
	begin, err := s.next(ctx, 0)
	if err == nil {
		err = from.put(ctx, []message{begin}) // so that the workers have something to make the table for
	}
	if err != nil {
		t.Fatal(err)
	}
	s.wait(ctx, "the first commit", func(at cardlake.Positions) bool { return len(at) > 0 }, workers)

	produced, stop := make(chan error, 1), make(chan struct{})
	var producer sync.WaitGroup
	defer producer.Wait()
	producing, cancel := context.WithCancel(ctx)
	defer cancel()
	producer.Go(func() { produced <- s.produce(producing, from, stop) })
	var forgotten, zombies int
	for i := range n {
		// From in the middle of its start to well into its work.
		time.Sleep(time.Duration(100+random.IntN(1900)) * time.Millisecond)
		w := workers[random.IntN(len(workers))]
		if random.IntN(5) == 0 {
			z := workers[random.IntN(len(workers))]
			z.signal(syscall.SIGSTOP)
			from.forget(ctx, z.name)
			zombies++
			time.Sleep(time.Duration(random.IntN(4000)) * time.Millisecond)
			z.signal(syscall.SIGCONT)
			time.Sleep(time.Duration(random.IntN(300)) * time.Millisecond)
		}
		early := random.IntN(2) == 0
		if early {
			from.disturb(ctx, i)
			time.Sleep(time.Duration(random.IntN(500)) * time.Millisecond)
		}
		w.kill()
		if i%2 == 0 {
			from.forget(ctx, w.name)
			forgotten++
			time.Sleep(time.Duration(random.IntN(1000)) * time.Millisecond)
		}
		if !early {
			from.disturb(ctx, i)
		}
		w.start()
		if i%50 == 49 {
			t.Logf("%d kills, %d records in the table", i+1, records(s.positions(ctx)))
		}
	}
	close(stop)
	if err := <-produced; err != nil {
		t.Fatal(err)
	}
	end, drain := from.ends(ctx), time.Now()
	if !isLong() { // which waits until what the dead held is given up
		for _, w := range workers {
			from.forget(ctx, w.name)
		}
	}
	s.wait(ctx, "all is committed", func(at cardlake.Positions) bool {
		return at.Holds(end) && workers[0].isUp() && workers[1].isUp()
	}, workers)
	t.Logf("the rest committed %v after the last kill", time.Since(drain).Round(100*time.Millisecond))
	for _, w := range workers {
		w.stop()
	}
	count := func(words string) (times int) {
		for _, w := range workers {
			times += w.count(words)
		}
		return times
	}
	t.Logf("%d kills, %d of them told at once, %d made zombies; %d assignments, %d commits refused by the table",
		n, forgotten, zombies, count("partitions assigned"), count("fenced: the table moved"))
	s.check(ctx)
}
