package ingesttest

import (
	"bytes"
	"context"
	"crypto/rand"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/ingest"
)

func everyEventOnce(s *site) {
	s.produce(30)
	w := s.work("a", ingest.Config{WindowRows: 7})
	s.produce(30)
	s.drain(w)
}

// replayAfterRestart stops workers in the middle; each goes on where the table is.
func replayAfterRestart(s *site) {
	const events = 120
	s.produce(events)
	for n := int64(0); n < events; {
		w := s.work("a", ingest.Config{WindowRows: 15, WindowAge: time.Hour})
		want := min(25, events-n)
		s.wait("the worker has taken some records", func() bool { return w.Stats().Records >= want })
		s.stop(w)
		if now := s.taken(); now < n+want {
			s.find("a worker that took %d records from %d on left the table at %d", want, n, now)
			return
		} else {
			n = now
		}
		if w.Stats().Duplicates > 0 {
			s.find("%d records that the table has were taken again", w.Stats().Duplicates)
		}
	}
	s.check()
}

// killedWorkers lose their open window each time, and come back under the same name while
// the service still believes in their former selves.
func killedWorkers(s *site) {
	for range 3 {
		s.produce(50)
		w := s.work("a", ingest.Config{WindowRows: 15, WindowAge: time.Hour})
		before := s.taken()
		s.wait("the worker has committed something", func() bool { return s.taken() > before })
		s.crash(w, "a")
	}
	s.drain(s.work("a", ingest.Config{}))
}

// lostPartition isolates a member, whose partitions go to the other, and heals it.
func lostPartition(s *site) {
	a, b := s.work("a", ingest.Config{}), s.work("b", ingest.Config{})
	s.wait("both have a share", func() bool { return len(a.Committed()) > 0 && len(b.Committed()) > 0 })
	s.produce(40)
	s.wait("all records are taken", s.caughtUp)
	heal := s.stream.Isolate(s.t, "a")
	s.produce(40)
	s.wait("the other member took over", s.caughtUp)
	heal()
	s.stop(b)
	s.produce(40)
	s.drain(a)
}

// zombieWorker comes to its commit when another has taken its partitions over.
func zombieWorker(s *site) {
	s.produce(40)
	zombie := s.work("a", ingest.Config{WindowRows: 20})
	zombie.door.Hold()
	s.wait("the zombie wants to commit", func() bool { return zombie.door.Waiting() > 0 })
	heal := s.stream.Isolate(s.t, "a")
	b := s.work("b", ingest.Config{})
	s.wait("the other member took over", s.caughtUp)
	zombie.door.Release()
	s.wait("the zombie's commit is decided", func() bool { st := zombie.Stats(); return st.Conflicts+st.Commits > 0 })
	if got := zombie.Stats().Conflicts; got == 0 {
		s.find("the zombie committed what another had committed: it was not fenced")
	}
	heal()
	s.produce(20)
	s.drain(b, zombie)
}

// slowConsumer stands still at a commit: the source reads ahead no further than its bound.
func slowConsumer(s *site) {
	const size, rows = 200 << 10, 10
	records := 40
	if s.stream.Received != nil {
		records = int(2*s.stream.Buffer)/size + 4*rows
	}
	value := make([]byte, size)
	for range records {
		rand.Read(value)
		s.produce(1)
		s.spoil(value)
	}
	w := s.work("a", ingest.Config{WindowRows: rows})
	w.door.Hold()
	s.wait("the worker stands still", func() bool { return w.door.Waiting() > 0 })
	if s.stream.Received != nil {
		bound := s.stream.Buffer + 2*rows*size
		for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			if got := s.stream.Received("a"); got > bound {
				s.find("the source read %d bytes for a worker that stands still, its bound is %d", got, bound)
				break
			}
		}
	}
	w.door.Release()
	s.drain(w)
}

// recorder is an assignee that begins at the first record of every partition.
type recorder struct{}

func (recorder) Assigned([]cardlake.StreamPartition) (cardlake.Positions, error) {
	return cardlake.Positions{}, nil
}

func (recorder) Revoked([]cardlake.StreamPartition, bool) {}

// cancelledPoll ends polls at all moments: none is an error and none loses a record.
func cancelledPoll(s *site) {
	source := s.stream.Source(s.t, "a")
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	if records, err := source.Poll(cancelled); err != nil || len(records) > 0 {
		s.find("a cancelled poll before the source runs gave %d records and the error %v", len(records), err)
	}
	ctx, leave := context.WithCancel(context.Background())
	left := make(chan error, 1)
	go func() { left <- source.Run(ctx, recorder{}) }()
	s.produce(100)
	next, got, polls := map[cardlake.StreamPartition]int64{}, 0, 0
	s.wait("every record was polled", func() bool {
		polls++
		pollCtx, cancel := context.WithTimeout(ctx, time.Duration(polls%7)*time.Millisecond)
		defer cancel()
		records, err := source.Poll(pollCtx)
		if err != nil {
			s.find("a poll that was cut short gave the error %v", err)
		}
		for _, r := range records {
			if r.End {
				continue
			}
			if want := next[r.Position.StreamPartition]; r.Position.Offset != want {
				s.find("the record at %s came when %d was due", r.Position, want)
			}
			next[r.Position.StreamPartition] = r.Position.Offset + 1
			got++
		}
		return got >= s.events || len(s.findings) > 0
	})
	leave()
	if err := <-left; err != nil {
		s.find("the source ended with the error %v", err)
	}
}

// poisonRecord mixes records that are no events with others, over a restart.
func poisonRecord(s *site) {
	for _, poison := range [][]byte{{}, []byte("no event"), {0, 0, 0, 0, 99, 1}, bytes.Repeat([]byte{0xff}, 100<<10)} {
		s.spoil(poison)
		s.produce(5)
	}
	w := s.work("a", ingest.Config{WindowRows: 4})
	s.wait("some are taken", func() bool { return s.taken() > 10 })
	s.kill(w)
	s.spoil([]byte("no event either"))
	s.drain(s.work("a", ingest.Config{WindowRows: 3}))
}

// largeRecord is as large as the service takes; it is no event and is kept whole.
func largeRecord(s *site) {
	s.produce(10)
	value := make([]byte, s.stream.MaxRecord)
	rand.Read(value)
	s.spoil(value)
	s.produce(10)
	s.drain(s.work("a", ingest.Config{}))
	var size int64
	files, _ := s.rejected.Files(context.Background(), 0)
	for _, f := range files {
		size += f.Bytes
	}
	if size < int64(len(value)) {
		s.find("the rejected record has %d bytes, want more than the %d of its value", size, len(value))
	}
}

// reshard changes the partitions while two workers read them.
func reshard(s *site) {
	if s.stream.Reshard == nil {
		s.t.Skip("the service does not reshard")
	}
	a, b := s.work("a", ingest.Config{WindowRows: 10}), s.work("b", ingest.Config{WindowRows: 10})
	for range 3 {
		s.produce(40)
		s.stream.Reshard(s.t)
		s.produce(40)
	}
	s.drain(a, b)
}

// rebalances lets members come, go and be killed while events flow.
func rebalances(s *site) {
	a := s.work("a", ingest.Config{WindowRows: 10})
	s.produce(50)
	b := s.work("b", ingest.Config{WindowRows: 10})
	s.produce(50)
	s.wait("the second member has a share", func() bool { return len(b.Committed()) > 0 })
	s.produce(50)
	s.stop(a)
	s.produce(50)
	c := s.work("c", ingest.Config{WindowRows: 10})
	s.produce(50)
	s.kill(b)
	a = s.work("a", ingest.Config{WindowRows: 10})
	s.produce(50)
	s.drain(a, c)
}

// rolledBack takes the table back under a running worker, and again under none:
// consumption goes back with it.
func rolledBack(s *site) {
	s.produce(40)
	s.spoil([]byte("no event"))
	w := s.work("a", ingest.Config{WindowRows: 6})
	s.wait("all records are taken", s.caughtUp)
	s.transactions.Rollback(2)
	s.produce(10)
	s.wait("what was rolled back is taken again", s.caughtUp)
	s.stop(w)
	s.check()
	s.transactions.Rollback(1)
	s.drain(s.work("a", ingest.Config{WindowRows: 6}))
}

// refused expects that a worker shows an error and takes nothing.
func (s *site) refused(why string) {
	at, commits := s.transactions.At(), len(s.transactions.Commits())
	hasMoved := func() bool { return !s.transactions.At().Equal(at) || len(s.transactions.Commits()) != commits }
	w := s.work("a", ingest.Config{})
	s.wait("a worker shows that "+why, func() bool {
		select {
		case <-w.ended:
			return w.err != nil
		default:
			return w.Stats().PollErrors > 0 || hasMoved()
		}
	})
	time.Sleep(200 * time.Millisecond) // for what it might commit after the error
	s.kill(w)
	if now := s.transactions.At(); hasMoved() {
		s.find("although %s, a worker moved the table from %v to %v", why, at, now)
	}
}

// beyondTheStream begins at positions that the stream never reached: an error to be seen,
// until the table is put right.
func beyondTheStream(s *site) {
	s.produce(40)
	w := s.work("a", ingest.Config{})
	s.wait("all records are taken", s.caughtUp)
	s.stop(w)
	at := s.transactions.At()
	if s.stream.Beyond != nil {
		s.transactions.Set(s.stream.Beyond(s.t, at))
	} else {
		beyond := cardlake.Positions{}
		for p, o := range at {
			beyond[p] = cardlake.Offset{Next: o.Next + 1000, Mark: o.Mark}
		}
		s.transactions.Set(beyond)
	}
	s.produce(10)
	s.refused("the table is ahead of the stream")
	s.transactions.Set(at)
	s.drain(s.work("a", ingest.Config{}))
}

// trimmed begins at positions that the stream no longer has: nothing jumps over the gap.
func trimmed(s *site) {
	if s.stream.Trim == nil {
		s.t.Skip("the service does not forget")
	}
	s.produce(20)
	w := s.work("a", ingest.Config{})
	s.wait("all records are taken", s.caughtUp)
	s.stop(w)
	s.produce(20)
	s.stream.Trim(s.t)
	s.produce(20)
	s.refused("records are gone that the table does not have")
}

func faultyCommit(s *site, f Fault, nth int) {
	fault := func(n int) Fault {
		if n == nth || n == nth+1 {
			return f
		}
		return None
	}
	s.transactions.Inject(fault)
	s.rejected.Inject(fault)
	s.produce(20)
	s.spoil([]byte("no event"))
	w := s.work("a", ingest.Config{WindowRows: 8})
	s.produce(20)
	s.spoil([]byte("no event either"))
	s.drain(w)
}
