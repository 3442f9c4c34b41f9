package tailserver_test

import (
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/ingest/tailserver"
	"github.com/cardlake/cardlake/queries/tail"
	"github.com/cardlake/cardlake/writers/writerstest"
)

// goingOn is a worker that takes rows all the time and keeps some windows.
type goingOn struct {
	mu      sync.Mutex
	open    *cardlake.Batch
	next    int64
	closed  []arrow.RecordBatch
	started int64 // first row kept
}

const windowRows = 64

func (g *goingOn) append(tx *cardlake.Transaction) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	tx.Position = cardlake.Position{StreamPartition: place, Offset: g.next}
	if err := g.open.Append(tx); err != nil {
		return err
	}
	g.next++
	if g.open.Len() == windowRows {
		g.closed = append(g.closed, g.open.View())
		g.open = cardlake.NewBatch()
		if len(g.closed) > 4 {
			g.started += g.closed[0].NumRows()
			g.closed = g.closed[1:]
		}
	}
	return nil
}

func (g *goingOn) at() cardlake.Positions {
	g.mu.Lock()
	defer g.mu.Unlock()
	return at(g.next)
}

func (g *goingOn) Tail(from cardlake.Positions) (*ingest.Tail, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	first := from[place].Next
	if first < g.started {
		return &ingest.Tail{To: cardlake.Positions{}}, nil // too old
	}
	t := &ingest.Tail{To: at(g.next)}
	begin := g.started
	for _, w := range append(g.closed[:len(g.closed):len(g.closed)], g.open.View()) {
		end := begin + w.NumRows()
		if skip := max(0, first-begin); skip < w.NumRows() {
			t.Rows = append(t.Rows, w.NewSlice(skip, w.NumRows()))
		}
		begin = end
	}
	return t, nil
}

// Readers get exactly the rows beyond their positions while the worker goes on.
func TestReadersOfABusyWorker(t *testing.T) {
	g := &goingOn{open: cardlake.NewBatch()}
	r := serve(t, g, tailserver.Config{Requests: 2})
	var all sync.WaitGroup
	stop := make(chan struct{})
	all.Go(func() {
		for tx := writerstest.New(1); ; {
			select {
			case <-stop:
				return
			default:
			}
			if err := g.append(tx.Next()); err != nil {
				t.Error(err)
				return
			}
			time.Sleep(50 * time.Microsecond)
		}
	})
	var readers sync.WaitGroup
	shared := r.client(tail.Config{})
	for i := range 4 {
		c := shared
		if i == 3 {
			c = r.client(tail.Config{})
		}
		readers.Go(func() {
			covered := 0
			for range 15 {
				from := g.at()
				for range 3 { // the same snapshot as it gets older
					got, err := c.Tail(t.Context(), from)
					if err != nil {
						t.Error(err)
						return
					}
					if to, ok := got.To[place]; ok {
						checkOffsets(t, got, from[place].Next, to.Next)
						covered++
					} else if len(got.Records) > 0 {
						t.Errorf("%d records of no partition", len(got.Records))
					}
					got.Release()
				}
			}
			if covered == 0 {
				t.Error("no tail covered the partition")
			}
		})
	}
	readers.Wait()
	close(stop)
	all.Wait()
}
