package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"time"

	"github.com/apache/arrow-go/v18/arrow/decimal128"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/processor/iso8583"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/sim"
	"github.com/cardlake/cardlake/tokenize/discover"
)

// tally compares one tenant's events as the card networks sent them with the lake's rows.
type tally struct {
	Tenant   cardlake.Tenant `json:"tenant"`
	Sent     int64           `json:"sent"`
	Approved int64           `json:"approved"`
	Declined int64           `json:"declined"`
	Rows     int64           `json:"lake_rows"`
	Missing  int64           `json:"missing"`
	// Duplicates are rows beyond the first of an event; Unexpected are rows of events that
	// were never sent; Differ are rows whose amount is not what the network asked, or whose
	// outcome is not what it was told.
	Duplicates int64 `json:"duplicates"`
	Unexpected int64 `json:"unexpected"`
	Differ     int64 `json:"answers_differ"`
}

func (t *tally) add(u *tally) {
	t.Sent += u.Sent
	t.Approved += u.Approved
	t.Declined += u.Declined
	t.Rows += u.Rows
	t.Missing += u.Missing
	t.Duplicates += u.Duplicates
	t.Unexpected += u.Unexpected
	t.Differ += u.Differ
}

// right reports whether every event sent is in the lake once, and nothing else is.
func (t *tally) right() bool {
	return t.Missing == 0 && t.Duplicates == 0 && t.Unexpected == 0 && t.Differ == 0 &&
		t.Sent == t.Rows && t.Rows == t.Approved+t.Declined
}

// outcome is what the check found in the lake.
type outcome struct {
	tenants  []*tally // by name
	rejected int64
	wrong    []string // rows that differ, in words
	// freshness of the rows decided since the start of the run, in milliseconds from the
	// decision to the snapshot that has the row, in order.
	freshness []int64
	// first and last decision of the run, microseconds since the epoch.
	first, last int64
	runRows     int64
}

func (o *outcome) total() tally {
	var sum tally
	for _, t := range o.tenants {
		sum.add(t)
	}
	return sum
}

// percentile returns the smallest value that at least p percent of the sorted values do not
// exceed (nearest rank); 0 of none.
func percentile(sorted []int64, p float64) int64 {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(float64(len(sorted))*p/100 + 0.999999)
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// expectation is one event the networks sent.
type expectation struct {
	tally  *tally
	code   string // DE 39 of the answer; empty if it was never answered
	amount cardlake.Money
	rows   int32
}

// differs returns in which column a row says something else than the networks know, or "".
func (e *expectation) differs(code string, approved bool, amount decimal128.Num, currency string) string {
	want, ok := e.amount.Scale4()
	switch {
	case e.code != "" && e.code != code:
		return "response_code"
	case approved != (code == iso8583.Approved):
		return "approved"
	case !ok || amount != decimal128.FromI64(want):
		return "amount"
	case currency != string(e.amount.Currency):
		return "currency"
	}
	return ""
}

// checkLake reads every row of the lake through the query gateway and compares it with what
// the networks sent. since is the start of the run, microseconds since the epoch, on the clock
// of that column: of the decision, or where that was a simulated one, of the worker.
func checkLake(ctx context.Context, lake queries.Session, expected func(yield func(sim.Event) bool), snapshots []catalog.Snapshot, since int64, clock string) (*outcome, error) {
	tallies := map[cardlake.Tenant]*tally{}
	of := func(t cardlake.Tenant) *tally {
		if tallies[t] == nil {
			tallies[t] = &tally{Tenant: t}
		}
		return tallies[t]
	}
	events := map[cardlake.EventID]*expectation{}
	for e := range expected {
		t := of(e.Tenant)
		t.Sent++
		events[e.ID] = &expectation{tally: t, code: e.ResponseCode, amount: e.Amount}
	}
	out := &outcome{}
	commits := commitTimes(snapshots)
	rows, err := lake.Query(ctx, fmt.Sprintf(`SELECT event_id, tenant, approved, response_code, stream, stream_partition, stream_offset, %s, amount, currency FROM cards.transactions`, clock))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	row := make([]any, len(rows.Columns()))
	for {
		err := rows.Next(row)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		id, err := cardlake.ParseEventID(row[0].(string))
		if err != nil {
			return nil, err
		}
		t := of(cardlake.Tenant(row[1].(string)))
		t.Rows++
		if row[2].(bool) {
			t.Approved++
		} else {
			t.Declined++
		}
		switch e := events[id]; {
		case e == nil || e.tally != t:
			t.Unexpected++
		case e.rows > 0:
			t.Duplicates++
		default:
			e.rows++
			if column := e.differs(row[3].(string), row[2].(bool), row[8].(decimal128.Num), row[9].(string)); column != "" {
				t.Differ++
				out.wrong = append(out.wrong, fmt.Sprintf("event %s: %s is not what the networks know", id, column))
			}
		}
		decided := row[7].(time.Time).UnixMicro()
		if decided < since {
			continue
		}
		out.runRows++
		if out.first == 0 || decided < out.first {
			out.first = decided
		}
		out.last = max(out.last, decided)
		place := cardlake.StreamPartition{Stream: row[4].(string), Partition: row[5].(int32)}
		if at, ok := commits.find(place, row[6].(int64)); ok {
			out.freshness = append(out.freshness, at.UnixMilli()-decided/1000)
		}
	}
	for _, e := range events {
		if e.rows == 0 {
			e.tally.Missing++
		}
	}
	for _, t := range tallies {
		out.tenants = append(out.tenants, t)
	}
	sort.Slice(out.tenants, func(i, j int) bool { return out.tenants[i].Tenant < out.tenants[j].Tenant })
	slices.Sort(out.freshness)
	out.rejected, err = count(ctx, lake, `SELECT count(*) FROM cards.transactions_rejected`)
	return out, err
}

func count(ctx context.Context, lake queries.Session, sql string) (int64, error) {
	rows, err := lake.Query(ctx, sql)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	row := make([]any, 1)
	if err := rows.Next(row); err != nil {
		return 0, err
	}
	return row[0].(int64), nil
}

// commitLog has, for each partition, the positions it reached and when.
type commitLog map[cardlake.StreamPartition][]reached

type reached struct {
	next int64
	at   time.Time
}

// commitTimes reads the log off the snapshots, oldest first. What the oldest one kept had
// already may be older than that, unless it is the table's first: its time is left zero.
func commitTimes(snapshots []catalog.Snapshot) commitLog {
	log := commitLog{}
	for i, s := range snapshots {
		if i == 0 && s.Sequence > 1 {
			s.CommittedAt = time.Time{}
		}
		for p, next := range s.Positions {
			if l := log[p]; len(l) == 0 || l[len(l)-1].next < next.Next {
				log[p] = append(l, reached{next.Next, s.CommittedAt})
			}
		}
	}
	return log
}

// find returns when the record at the offset was committed, if the log reaches back so far.
func (l commitLog) find(p cardlake.StreamPartition, offset int64) (time.Time, bool) {
	steps := l[p]
	i := sort.Search(len(steps), func(i int) bool { return steps[i].next > offset })
	if i == len(steps) || steps[i].at.IsZero() {
		return time.Time{}, false
	}
	return steps[i].at, true
}

// searched is what the search for card numbers went through and found.
type searched struct {
	findings []discover.Finding
	files    int64
	bytes    int64
	pans     int64
}

// searchPANs looks for every card number of the population, in all its encodings, in every
// byte of the folder.
func searchPANs(ctx context.Context, f *folder, progress func(files, bytes int64)) (searched, error) {
	var s searched
	for range f.population.AllPANs {
		s.pans++
	}
	stats, err := discover.NewKnown(f.population.AllPANs).ScanTree(ctx, string(f.Dir), progress, func(found discover.Finding) bool {
		s.findings = append(s.findings, found)
		return len(s.findings) < 1000
	})
	if err != nil {
		return s, fmt.Errorf("search the folder for card numbers: %w", err)
	}
	s.files, s.bytes = stats.Files, stats.Bytes
	return s, nil
}
