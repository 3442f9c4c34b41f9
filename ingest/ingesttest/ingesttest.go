// Package ingesttest is the conformance suite of package ingest's sources: each adapter
// runs it over the service, or over a fake of it at the wire, with real workers on top.
//
// The suite knows the lake's side of the contract only: every event is in the table exactly
// once, by id and by position, and every record that is no event is rejected exactly once,
// whatever happens to workers, service and table. The tables are fakes that implement the
// commit protocol of package catalog and inject its faults.
package ingesttest

import (
	"fmt"
	"testing"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/ingest"
)

// Stream is an empty stream of a service, and a group of workers that share it. Members are
// named; a name that comes back is the same worker after a restart, also when its former self
// was isolated and still is.
type Stream struct {
	// Source returns the source of a member of the group.
	Source func(t testing.TB, member string) ingest.Source
	// Produce appends a record durably. Records of the same hint are in the order produced as
	// long as the stream is not resharded; different hints are spread over the partitions.
	Produce func(t testing.TB, hint int, key, value []byte)
	// Isolate cuts a member off from the service without its knowledge, until heal: its
	// requests hang, and the service gives its partitions to others when its time is over.
	Isolate func(t testing.TB, member string) (heal func())
	// Close ends the stream; the workers are gone by then.
	Close func()

	// Reshard adds partitions, or splits or merges some; nil if the service cannot.
	Reshard func(t testing.TB)
	// Trim makes the service forget every record produced so far, as when the retention time
	// is over; nil if it cannot.
	Trim func(t testing.TB)
	// Beyond returns positions that the stream has not reached, made from real ones; nil: an
	// offset far ahead.
	Beyond func(t testing.TB, at cardlake.Positions) cardlake.Positions
	// Received is how many bytes a member has read from the service, in all; nil if that
	// cannot be told.
	Received func(member string) int64
	// Buffer is how many bytes of records a source may have read and not yet given to its
	// worker. Needed with Received.
	Buffer int64
	// MaxRecord is the size of the largest value that the service takes, in bytes.
	MaxRecord int
}

// Open makes a stream with so many partitions.
type Open func(t testing.TB, partitions int) Stream

// Run runs every case of the suite as a subtest.
func Run(t *testing.T, open Open) {
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			for _, f := range c.Findings(t, open, Options{}) {
				t.Error(f)
			}
		})
	}
}

// Case is one case of the suite.
type Case struct {
	Name       string
	partitions int
	run        func(*site)
}

// Options change what a case runs on.
type Options struct {
	// Unfenced breaks the commit protocol on purpose: the table takes every append, wherever
	// it begins. A suite that then finds nothing proves nothing.
	Unfenced bool
}

// Findings runs the case and returns what is wrong with the source, nil if it conforms. A
// fault of the test's own makes t fail.
func (c Case) Findings(t testing.TB, open Open, o Options) []string {
	s := newSite(t, open(t, c.partitions), o)
	defer s.end()
	func() {
		defer func() {
			if r := recover(); r != nil && r != errGaveUp {
				panic(r)
			}
		}()
		c.run(s)
	}()
	return s.findings
}

// Cases lists the suite.
func Cases() []Case {
	cases := []Case{
		{"every event once", 3, everyEventOnce},
		{"replay after restart", 4, replayAfterRestart},
		{"killed workers", 2, killedWorkers},
		{"lost partition", 4, lostPartition},
		{"zombie worker", 2, zombieWorker},
		{"slow consumer", 2, slowConsumer},
		{"cancelled poll", 3, cancelledPoll},
		{"poison record", 2, poisonRecord},
		{"large record", 1, largeRecord},
		{"reshard", 2, reshard},
		{"rebalances", 4, rebalances},
		{"table rolled back", 2, rolledBack},
		{"position beyond the stream", 2, beyondTheStream},
		{"records gone from the stream", 2, trimmed},
	}
	for _, f := range []Fault{Refuse, UnknownBefore, UnknownAfter, Conflict} {
		for nth := 1; nth <= 2; nth++ {
			cases = append(cases, Case{fmt.Sprintf("commit %d %s", nth, f), 2, func(s *site) { faultyCommit(s, f, nth) }})
		}
	}
	return cases
}
