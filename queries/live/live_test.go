package live

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/writers/writerstest"
)

// noon is the time of tests.
var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

func partition(n int32) cardlake.StreamPartition {
	return cardlake.StreamPartition{Stream: "cards", Partition: n}
}

// stream is events in partitions, of which offset i is the i-th.
type stream map[cardlake.StreamPartition][]*cardlake.Transaction

// add appends an event, an approved request unless change says otherwise.
func (s stream) add(p int32, tenant cardlake.Tenant, at time.Time, change ...func(*cardlake.Transaction)) {
	tx := writerstest.Bare()
	tx.Tenant, tx.EventTime, tx.IngestedAt = tenant, at.UnixMicro(), at.Add(100*time.Millisecond).UnixMicro()
	tx.EventType, tx.Approved, tx.Amount = cardlake.Authorization, true, cardlake.Money{Minor: 150, Currency: "BRL"}
	for _, c := range change {
		c(tx)
	}
	tx.Position = cardlake.Position{StreamPartition: partition(p), Offset: int64(len(s[partition(p)]))}
	s[partition(p)] = append(s[partition(p)], tx)
}

func declined(reason string) func(*cardlake.Transaction) {
	return func(t *cardlake.Transaction) { t.Approved, t.DeclineReason, t.ResponseCode = false, reason, "51" }
}

// tail are the rows from begin to end of each partition, in records of one tenant each.
func (s stream) tail(t testing.TB, begin, end cardlake.Positions) (out queries.TailRows) {
	t.Helper()
	batches := map[cardlake.Tenant]*cardlake.Batch{}
	for _, p := range slices.SortedFunc(maps.Keys(end), func(a, b cardlake.StreamPartition) int { return int(a.Partition - b.Partition) }) {
		for _, tx := range s[p][begin[p].Next:end[p].Next] {
			if batches[tx.Tenant] == nil {
				batches[tx.Tenant] = cardlake.NewBatch()
			}
			if err := batches[tx.Tenant].Append(tx); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, b := range batches {
		out.Records = append(out.Records, b.View())
	}
	out.To = end.Clone()
	return out
}

type sourceFunc func(ctx context.Context, from cardlake.Positions) (queries.TailRows, error)

func (f sourceFunc) Tail(ctx context.Context, from cardlake.Positions) (queries.TailRows, error) {
	return f(ctx, from)
}

type tableFunc func() (catalog.Snapshot, error)

func (f tableFunc) Current(context.Context) (catalog.Snapshot, error) { return f() }

// at is a table that is committed to these positions.
func at(positions cardlake.Positions) tableFunc {
	return func() (catalog.Snapshot, error) {
		return catalog.Snapshot{ID: 7, CommittedAt: noon, Positions: positions}, nil
	}
}

func follow(t testing.TB, table Table, source Source, now func() time.Time) *Follower {
	t.Helper()
	f, err := New(table, source, Config{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// lines are a tenant's seconds in short.
func lines(f *Follower, tenant cardlake.Tenant, seq uint64) (out []string) {
	for _, s := range f.Since(tenant, seq).Seconds {
		text := fmt.Sprintf("%s %d=%d+%d", s.At.Format("15:04:05"), s.Requests, s.Approved, s.Declined)
		for _, c := range slices.Sorted(maps.Keys(s.Amounts)) {
			text += fmt.Sprintf(" %s %s", s.Amounts[c], c)
		}
		for _, m := range []map[string]int64{s.Channels, s.Reasons} {
			for _, name := range slices.Sorted(maps.Keys(m)) {
				text += fmt.Sprintf(" %s:%d", name, m[name])
			}
		}
		out = append(out, text)
	}
	return out
}

func always(at time.Time) func() time.Time { return func() time.Time { return at } }

func TestSeconds(t *testing.T) {
	s := stream{}
	second := func(n int) time.Time { return noon.Add(time.Duration(n)*time.Second + 300*time.Millisecond) }
	s.add(0, "andina", second(-3), func(t *cardlake.Transaction) { t.Channel = cardlake.POS })
	s.add(0, "andina", second(-3), func(t *cardlake.Transaction) {
		t.Amount, t.Channel = cardlake.Money{Minor: 5, Currency: "CLP"}, cardlake.ATM
	})
	s.add(0, "boreal", second(-3))
	s.add(1, "andina", second(-3), declined("insufficient_funds"))
	s.add(1, "andina", second(-2), declined(""))
	s.add(1, "andina", second(-2), func(t *cardlake.Transaction) { t.EventType = cardlake.Clearing })
	s.add(1, "andina", noon.Add(-15*time.Minute)) // the first that is too old
	s.add(1, "andina", noon.Add(-15*time.Minute+time.Second))
	s.add(1, "andina", noon.Add(time.Minute))
	s.add(1, "andina", noon.Add(61*time.Second)) // the first that is too far ahead
	f := follow(t, at(nil), sourceFunc(func(_ context.Context, from cardlake.Positions) (queries.TailRows, error) {
		return s.tail(t, from, cardlake.Positions{partition(0): {Next: 3}, partition(1): {Next: 7}}), nil
	}), always(noon))
	f.look(t.Context())
	f.ask(t.Context())
	want := []string{
		"11:45:01 1=1+0 1.5000 BRL pos:1",
		"11:59:57 3=2+1 1.5000 BRL 5.0000 CLP atm:1 pos:2 insufficient_funds:1",
		"11:59:58 1=0+1 pos:1",
		"12:01:00 1=1+0 1.5000 BRL pos:1",
	}
	if d := cmp.Diff(want, lines(f, "andina", 0)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"11:59:57 1=1+0 1.5000 BRL pos:1"}, lines(f, "boreal", 0)); d != "" {
		t.Error(d)
	}
	if got := lines(f, "cobre", 0); got != nil {
		t.Errorf("a tenant without rows has %q", got)
	}
	status := f.Status()
	if d := cmp.Diff(Counts{Rows: 10, Late: 1, Ahead: 1}, status.Counts); d != "" {
		t.Error(d)
	}
	if got := status.Partitions; len(got) != 2 || got[1].Seen != 7 || !got[1].IsCovered || !got[1].EventAt.Equal(noon.Add(61*time.Second)) {
		t.Errorf("partitions %+v", got)
	}
}

// TestEachRowOnce: whatever a source does, each row that was ever shown below its To counts once.
func TestEachRowOnce(t *testing.T) {
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 1))
		s := stream{}
		const partitions, events = 4, 400
		var committed = cardlake.Positions{}
		now := noon
		source := sourceFunc(func(_ context.Context, from cardlake.Positions) (queries.TailRows, error) {
			if r.IntN(5) == 0 {
				return queries.TailRows{}, errors.New("unreachable")
			}
			begin, end := cardlake.Positions{}, cardlake.Positions{}
			for p := range s {
				n := int64(len(s[p]))
				// Rows from before the question, as a worker that starts anew has them, and to
				// before it, as one that lags.
				begin[p] = cardlake.Offset{Next: r.Int64N(from[p].Next + 1)}
				end[p] = cardlake.Offset{Next: begin[p].Next + r.Int64N(n-begin[p].Next+1)}
				if r.IntN(8) == 0 {
					delete(end, p)
				}
			}
			out := s.tail(t, begin, end)
			for p := range end {
				switch r.IntN(6) {
				case 0: // rows that it does not answer for
					delete(out.To, p)
				case 1:
					out.To[p] = cardlake.Offset{Next: begin[p].Next + r.Int64N(end[p].Next-begin[p].Next+1)}
				}
			}
			if r.IntN(6) == 0 {
				out.Unanswered = errors.New("one of them")
			}
			return out, nil
		})
		f := follow(t, tableFunc(func() (catalog.Snapshot, error) { return catalog.Snapshot{ID: 1, Positions: committed}, nil }), source, func() time.Time { return now })
		f.look(t.Context())
		for i := range events {
			s.add(r.Int32N(partitions), "andina", now.Add(-time.Duration(r.IntN(20))*time.Second))
			if i%7 == 0 {
				f.ask(t.Context())
				now = now.Add(100 * time.Millisecond)
			}
		}
		// At the end a worker that shows all.
		f.source = sourceFunc(func(_ context.Context, from cardlake.Positions) (queries.TailRows, error) {
			end := cardlake.Positions{}
			for p := range s {
				end[p] = cardlake.Offset{Next: int64(len(s[p]))}
			}
			return s.tail(t, cardlake.Positions{}, end), nil
		})
		f.ask(t.Context())
		f.ask(t.Context())
		var requests int64
		total := cardlake.Currency("BRL")
		sum := Amount{}
		for _, one := range f.Since("andina", 0).Seconds {
			requests += one.Requests
			sum.Unscaled = sum.Unscaled.Add(one.Amounts[total].Unscaled)
		}
		if requests != events || sum.String() != "600.0000" || f.Status().Counts.Rows != events || f.Status().IsPartial {
			t.Errorf("seed %d: %d requests, %s, %+v", seed, requests, sum, f.Status())
		}
	}
}

// TestAnswerIsTakenWholeOrNot: an answer with a record that is none of the table counts nowhere,
// and is asked for again.
func TestAnswerIsTakenWholeOrNot(t *testing.T) {
	s := stream{}
	s.add(0, "andina", noon)
	s.add(0, "boreal", noon)
	isBroken, released := true, 0
	f := follow(t, at(nil), sourceFunc(func(_ context.Context, from cardlake.Positions) (queries.TailRows, error) {
		out := s.tail(t, from, cardlake.Positions{partition(0): {Next: 2}})
		out.Free = func() { released++ }
		if isBroken {
			b := cardlake.NewTotalsBatch()
			if err := b.Append(&cardlake.ControlTotal{Region: "r", Processor: "aaaaaaaaaaaaaaaa", Tenant: "andina", Minute: noon.UnixMicro(), Events: 1,
				Amount: cardlake.Money{Currency: "BRL"}, ApprovedAmount: cardlake.Money{Currency: "BRL"}, FirstSequence: 1, LastSequence: 1,
				EmittedAt: noon.UnixMicro(), IngestedAt: noon.UnixMicro(), Position: cardlake.Position{StreamPartition: partition(0)}}); err != nil {
				t.Fatal(err)
			}
			record, err := b.Record()
			if err != nil {
				t.Fatal(err)
			}
			out.Records = append(out.Records, record)
		}
		return out, nil
	}), always(noon))
	f.look(t.Context())
	f.ask(t.Context())
	if got := f.Status(); got.Counts.Rows != 0 || got.SourceError == nil || !got.IsPartial || !got.AsOf.IsZero() || lines(f, "andina", 0) != nil {
		t.Errorf("of a broken answer %+v", got)
	}
	isBroken = false
	f.ask(t.Context())
	if got := f.Status(); got.Counts.Rows != 2 || got.SourceError != nil || got.IsPartial {
		t.Errorf("after it %+v", got)
	}
	if released != 2 {
		t.Errorf("%d of 2 answers were released", released)
	}
}

// TestBegin: the first question is from the newest committed positions, also if the source can't
// be asked for a while, and seconds before are marked.
func TestBegin(t *testing.T) {
	s := stream{}
	for i := range 10 {
		s.add(0, "andina", noon.Add(time.Duration(i-10)*time.Second))
	}
	committed := cardlake.Positions{partition(0): {Next: 2, Mark: "m"}}
	isDown := true
	var asked []cardlake.Positions
	now := noon
	f := follow(t, tableFunc(func() (catalog.Snapshot, error) {
		return catalog.Snapshot{ID: committed[partition(0)].Next, Positions: committed}, nil
	}),
		sourceFunc(func(_ context.Context, from cardlake.Positions) (queries.TailRows, error) {
			asked = append(asked, from)
			if isDown {
				return queries.TailRows{}, errors.New("down")
			}
			return s.tail(t, from, cardlake.Positions{partition(0): {Next: 10}}), nil
		}), func() time.Time { return now })
	f.look(t.Context())
	f.ask(t.Context())
	committed = cardlake.Positions{partition(0): {Next: 6, Mark: "n"}}
	f.look(t.Context())
	isDown, now = false, noon.Add(300*time.Millisecond)
	f.ask(t.Context())
	f.ask(t.Context())
	want := []cardlake.Positions{{partition(0): {Next: 2, Mark: "m"}}, {partition(0): {Next: 6, Mark: "n"}}, {partition(0): {Next: 10}}}
	if d := cmp.Diff(want, asked); d != "" {
		t.Error(d)
	}
	state := f.Since("andina", 0)
	if len(state.Seconds) != 4 || !state.WholeSince.Equal(noon.Add(time.Second)) || !state.AsOf.Equal(now) || !state.IsLive {
		t.Errorf("%d seconds, %+v", len(state.Seconds), state)
	}
}

// TestSkipped: what nobody holds any more is passed over after a while, to where the table is
// committed, and what is only late is waited for.
func TestSkipped(t *testing.T) {
	s := stream{}
	for range 20 {
		s.add(0, "andina", noon)
	}
	committed := cardlake.Positions{partition(0): {Next: 0}}
	held := int64(0) // the first that the worker holds
	now := noon
	f := follow(t, tableFunc(func() (catalog.Snapshot, error) {
		return catalog.Snapshot{ID: 1, CommittedAt: now, Positions: committed}, nil
	}),
		sourceFunc(func(_ context.Context, from cardlake.Positions) (queries.TailRows, error) {
			if from[partition(0)].Next < held {
				return queries.TailRows{To: cardlake.Positions{}}, nil
			}
			return s.tail(t, from, cardlake.Positions{partition(0): {Next: min(from[partition(0)].Next+3, 20)}}), nil
		}), func() time.Time { return now })
	step := func() { f.look(t.Context()); f.ask(t.Context()); now = now.Add(time.Second) }
	step()
	if got := f.Status().Counts; got.Rows != 3 {
		t.Fatalf("%+v", got)
	}
	held, committed = 10, cardlake.Positions{partition(0): {Next: 10}}
	step()
	if got := f.Status(); got.Counts.Skipped != 0 || !got.IsPartial || got.Partitions[0].Seen != 3 {
		t.Errorf("skipped at once: %+v", got)
	}
	for range 5 {
		step()
	}
	if got := f.Status(); got.Counts.Skipped != 7 || got.Counts.Rows != 6 || got.IsPartial {
		t.Errorf("after a while: %+v", got)
	}
	if got := f.Since("andina", 0).WholeSince; !got.After(noon.Add(time.Second)) {
		t.Errorf("whole since %v, though something was skipped after", got)
	}
}

// TestIdlePartition: a stream that is not used any more has its positions in the table, and does
// not make the figures partial for ever; one that moves does.
func TestIdlePartition(t *testing.T) {
	s := stream{}
	s.add(0, "andina", noon)
	committed := cardlake.Positions{partition(1): {Next: 50}}
	now := noon
	f := follow(t, tableFunc(func() (catalog.Snapshot, error) {
		return catalog.Snapshot{ID: 1, CommittedAt: now, Positions: committed}, nil
	}),
		sourceFunc(func(_ context.Context, from cardlake.Positions) (queries.TailRows, error) {
			return s.tail(t, cardlake.Positions{}, cardlake.Positions{partition(0): {Next: 1}}), nil
		}), func() time.Time { return now })
	for i, want := range []bool{true, true, false, false, true, true, false} {
		if i == 4 {
			committed = cardlake.Positions{partition(1): {Next: 51}}
		}
		f.look(t.Context())
		f.ask(t.Context())
		if got := f.Status(); got.IsPartial != want || got.Partitions[1].IsIdle == want && i != 4 {
			t.Errorf("after %d: partial %v, %+v", i, got.IsPartial, got.Partitions[1])
		}
		now = now.Add(8 * time.Minute)
	}
}

// TestSince: a watcher gets what changed, each second as it is now; a second may be told again.
func TestSince(t *testing.T) {
	s := stream{}
	end := int64(0)
	f := follow(t, at(nil), sourceFunc(func(_ context.Context, from cardlake.Positions) (queries.TailRows, error) {
		return s.tail(t, from, cardlake.Positions{partition(0): {Next: end}}), nil
	}), always(noon))
	f.look(t.Context())
	grow := func(at time.Time) {
		s.add(0, "andina", at)
		end++
		f.ask(t.Context())
	}
	grow(noon.Add(-2 * time.Second))
	grow(noon.Add(-time.Second))
	first := f.Since("andina", 0)
	if len(first.Seconds) != 2 || !first.IsNew || first.Snapshot.ID != 7 {
		t.Fatalf("%+v", first)
	}
	if again := f.Since("andina", first.Seq); len(again.Seconds) != 0 || again.IsNew {
		t.Errorf("though nothing changed: %+v", again)
	}
	select {
	case <-first.Changed:
		t.Error("woken though nothing changed")
	default:
	}
	grow(noon.Add(-2 * time.Second))
	grow(noon.Add(-2 * time.Second))
	select {
	case <-first.Changed:
	default:
		t.Error("not woken")
	}
	if d := cmp.Diff([]string{"11:59:58 3=3+0 4.5000 BRL pos:3"}, lines(f, "andina", first.Seq)); d != "" {
		t.Error(d)
	}
	if got := f.Since("andina", 1<<60); len(got.Seconds) != 2 {
		t.Errorf("of a sequence that is not the follower's: %d seconds, want all", len(got.Seconds))
	}
}

// TestRing: seconds make room for those that come when they are old, and tenants without any are
// forgotten.
func TestRing(t *testing.T) {
	s := stream{}
	now := noon
	f, err := New(at(nil), sourceFunc(func(_ context.Context, from cardlake.Positions) (queries.TailRows, error) {
		return s.tail(t, from, cardlake.Positions{partition(0): {Next: int64(len(s[partition(0)]))}}), nil
	}), Config{Keep: 20 * time.Second, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	f.look(t.Context())
	s.add(0, "boreal", now)
	for range 200 { // more than twice the length of the ring
		s.add(0, "andina", now, declined("limit"))
		f.ask(t.Context())
		now = now.Add(time.Second)
	}
	seconds := f.Since("andina", 0).Seconds
	if len(seconds) != 19 { // now is a second that has none yet
		t.Errorf("%d seconds are kept", len(seconds))
	}
	for i, one := range seconds {
		if one.Requests != 1 || one.Reasons["limit"] != 1 || i > 0 && one.At.Sub(seconds[i-1].At) != time.Second {
			t.Fatalf("second %d: %+v", i, one)
		}
	}
	if len(f.tenants) != 1 {
		t.Errorf("%d tenants are kept", len(f.tenants))
	}
}

// TestNamesAreBounded: a tenant with many reasons has some that are told apart and others.
func TestNamesAreBounded(t *testing.T) {
	s := stream{}
	for i := range 200 {
		s.add(0, "andina", noon, declined(fmt.Sprintf("reason_%d", i)))
	}
	f := follow(t, at(nil), sourceFunc(func(_ context.Context, from cardlake.Positions) (queries.TailRows, error) {
		return s.tail(t, from, cardlake.Positions{partition(0): {Next: 200}}), nil
	}), always(noon))
	f.look(t.Context())
	f.ask(t.Context())
	reasons := f.Since("andina", 0).Seconds[0].Reasons
	if len(reasons) != maxNames+1 || reasons[other] != 200-maxNames {
		t.Errorf("%d reasons, %d others", len(reasons), reasons[other])
	}
}

func TestAmounts(t *testing.T) {
	s := stream{}
	big := int64(99_999_999_999_999) * 100 // of a currency with two decimals
	for range 30 {
		s.add(0, "andina", noon, func(t *cardlake.Transaction) { t.Amount = cardlake.Money{Minor: big, Currency: "BRL"} })
	}
	f := follow(t, at(nil), sourceFunc(func(_ context.Context, from cardlake.Positions) (queries.TailRows, error) {
		return s.tail(t, from, cardlake.Positions{partition(0): {Next: 30}}), nil
	}), always(noon))
	f.look(t.Context())
	f.ask(t.Context())
	if got := f.Since("andina", 0).Seconds[0].Amounts["BRL"].String(); got != "2999999999999970.0000" {
		t.Errorf("sum %s", got)
	}
}

// TestRun: in real time, source and table are asked as often as configured, one question at a
// time, and everything ends with ctx. A table that can't be looked at keeps the source from being
// asked: nobody knows from where.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stream{}
		var asks, looks, under atomic.Int64
		var isThere atomic.Bool
		f, err := New(tableFunc(func() (catalog.Snapshot, error) {
			looks.Add(1)
			if !isThere.Load() {
				return catalog.Snapshot{}, errors.New("no catalog")
			}
			return catalog.Snapshot{ID: looks.Load() / 5}, nil
		}), sourceFunc(func(ctx context.Context, from cardlake.Positions) (queries.TailRows, error) {
			if under.Add(1) > 1 {
				t.Error("two questions at a time")
			}
			defer under.Add(-1)
			if asks.Add(1)%4 == 0 {
				<-ctx.Done() // hangs
				return queries.TailRows{}, ctx.Err()
			}
			return s.tail(t, from, cardlake.Positions{}), nil
		}), Config{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- f.Run(ctx) }()
		time.Sleep(10*time.Second + time.Millisecond)
		if asks.Load() != 0 || looks.Load() != 11 {
			t.Errorf("%d questions and %d looks without a table", asks.Load(), looks.Load())
		}
		isThere.Store(true)
		time.Sleep(20 * time.Second)
		// Three half seconds, then one that waits for 2 s.
		if got := asks.Load(); got < 20 || got > 26 {
			t.Errorf("%d questions in 20 s", got)
		}
		if got := f.Since("andina", 0).Snapshot; got.ID < 4 || got.AsOf.IsZero() {
			t.Errorf("snapshot %+v", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestWithoutSource: snapshots are told all the same.
func TestWithoutSource(t *testing.T) {
	f := follow(t, at(nil), nil, always(noon))
	f.look(t.Context())
	if got := f.Since("andina", 0); got.IsLive || !got.IsNew || got.Snapshot.ID != 7 || got.IsPartial {
		t.Errorf("%+v", got)
	}
}

func TestConfig(t *testing.T) {
	for _, cfg := range []Config{{Every: -1}, {Keep: time.Millisecond}, {Keep: 48 * time.Hour}, {Patience: -1}} {
		if _, err := New(at(nil), nil, cfg); err == nil {
			t.Errorf("%+v is taken", cfg)
		}
	}
}

// BenchmarkFollower counts half a second's rows of a hundred tenants at 600 a second, as a worker
// shows them: from a window of 30 s, of which each answer shares the memory.
func BenchmarkFollower(b *testing.B) {
	s := stream{}
	const perAnswer = 300
	r := rand.New(rand.NewPCG(1, 2))
	for range perAnswer {
		s.add(r.Int32N(12), cardlake.Tenant(fmt.Sprintf("tenant-%c%c", 'a'+r.IntN(10), 'a'+r.IntN(10))), noon.Add(-time.Duration(r.IntN(900))*time.Millisecond),
			func(t *cardlake.Transaction) {
				if r.IntN(10) == 0 {
					declined("insufficient_funds")(t)
				}
			})
	}
	end := cardlake.Positions{}
	for p := range s {
		end[p] = cardlake.Offset{Next: int64(len(s[p]))}
	}
	answer := s.tail(b, nil, end)
	f := follow(b, at(nil), sourceFunc(func(context.Context, cardlake.Positions) (queries.TailRows, error) { return answer, nil }), always(noon))
	f.look(b.Context())
	b.ReportAllocs()
	for b.Loop() {
		for _, at := range f.at {
			at.next = cardlake.Offset{}
		}
		f.ask(b.Context())
	}
	rows := float64(b.N) * perAnswer
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/rows, "ns/row")
	b.ReportMetric(100*float64(b.Elapsed().Nanoseconds())/float64(b.N)*2/1e9, "%core@600/s")
}
