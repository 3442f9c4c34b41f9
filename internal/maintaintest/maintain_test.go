// Package maintaintest proves that maintenance takes nothing away and doubles nothing: a
// worker at full speed, two compactors, snapshot expiry, orphan removal and the erasure of
// customers, each a process of its own, all killed at random, while readers count; and then the lake is counted.
package maintaintest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/catalog/maintenance"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/parquet"
)

// minutesEnv makes the run last so many minutes, with the producer at full speed.
const minutesEnv = "CARDLAKE_MAINTAIN_MINUTES"

const (
	tenants    = 3
	partitions = 4
	shortTime  = 15 * time.Second // or as long as it takes
	shortRate  = 2000             // events a second
	longRate   = 10_000
)

// site is a lake on disk, and what was sent to it.
type site struct {
	t       *testing.T
	dir     home.Dir
	owners  []keys.Owner
	names   []cardlake.Tenant
	encoder *wire.Encoder
	lake    *lake

	sent atomic.Int64 // events that the broker has
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, dir: home.Dir(t.TempDir())}
	fatal := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	fatal(s.dir.Make())
	cardKeys, err := local.CreateFile(s.dir.CardKeyring(), s.dir.CardSecret(), keys.CardPurposes)
	fatal(err)
	lakeKeys, err := local.CreateFile(s.dir.LakeKeyring(), s.dir.LakeSecret(), keys.LakePurposes)
	fatal(err)
	register, err := catalog.OpenTenants(s.dir.Tenants())
	fatal(err)
	all := []keys.Owner{keys.Lake}
	for i := range tenants {
		record, err := register.Create(cardlake.Tenant(fmt.Sprintf("tenant-%d", i)), "MX", "MXN", time.Now())
		fatal(err)
		s.names, s.owners = append(s.names, record.Name), append(s.owners, keys.OwnerOf(record.StorageID))
	}
	all = append(all, s.owners...)
	fatal(cardKeys.EnsureOwners(t.Context(), all...))
	fatal(lakeKeys.EnsureOwners(t.Context(), all...))
	s.encoder = wire.NewEncoder(cardKeys, wire.EncoderConfig{})
	s.lake, err = openLake(t.Context(), s.dir)
	fatal(err)
	t.Cleanup(func() { _ = s.lake.catalog.Close() })
	return s
}

// The id of event n is a UUIDv8 that tells n: its last seven bytes are n, scrambled by a
// multiplication that has an inverse.
const (
	mask56          = 1<<56 - 1
	scramble uint64 = 0x9e3779b97f4a7b
)

func idOf(n int64) (id cardlake.EventID) {
	binary.BigEndian.PutUint64(id[:8], uint64(n)*0x9e3779b97f4a7c15)
	binary.BigEndian.PutUint64(id[8:], uint64(n)*scramble&mask56)
	id[6], id[8] = id[6]&0x0f|0x80, 0x80
	return id
}

func numberOf(id cardlake.EventID) int64 {
	inverse := uint64(1) // of scramble modulo 2^56, by Newton's iteration
	for range 6 {
		inverse *= 2 - scramble*inverse
	}
	return int64(binary.BigEndian.Uint64(id[8:]) & mask56 * inverse & mask56)
}

func tenantOf(n int64) int  { return int(n % tenants) }
func minorOf(n int64) int64 { return n % 100_003 }

const cards = 5000

func (s *site) event(ctx context.Context, n int64) (*kgo.Record, error) {
	digits := fmt.Appendf(nil, "4%014d", n%cards)
	pan, err := card.ParsePAN(append(digits, card.LuhnDigit(digits)))
	if err != nil {
		return nil, err
	}
	of := tenantOf(n)
	value, err := s.encoder.Append(ctx, nil, s.owners[of], &card.Message{PAN: pan, Transaction: cardlake.Transaction{
		EventID: idOf(n), TransactionID: idOf(n), EventType: cardlake.Authorization, Tenant: s.names[of],
		Program: "visa", Region: "local", EventTime: time.Now().UnixMicro(), Network: cardlake.Visa,
		Amount: cardlake.Money{Minor: minorOf(n), Currency: "MXN"}, Channel: cardlake.POS, EntryMode: "chip",
		ResponseCode: "00", Approved: true, MTI: "0100", CustomerID: fmt.Sprintf("customer-%d", n%customers),
	}})
	return &kgo.Record{Key: binary.BigEndian.AppendUint64(nil, uint64(n%cards)), Value: value}, err
}

// produce sends events at the rate until stop is closed.
func (s *site) produce(ctx context.Context, client *kgo.Client, rate int64, stop <-chan struct{}) error {
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		select {
		case <-stop:
			return nil
		default:
		}
		var batch []*kgo.Record
		n := s.sent.Load()
		for goal := min(int64(time.Since(start).Seconds()*float64(rate)), n+2000); n < goal; n++ {
			r, err := s.event(ctx, n)
			if err != nil {
				return err
			}
			batch = append(batch, r)
		}
		if err := client.ProduceSync(ctx, batch...).FirstErr(); err != nil {
			return err
		}
		s.sent.Store(n)
	}
}

// counted is what a snapshot's files hold.
type counted struct {
	rows   int64
	counts [tenants]int64
	sums   [tenants]int64 // in ten-thousandths
	files  map[maintenance.Partition]int
}

// count reads every file of a snapshot. Each calls it with each event, if it is not nil.
func (s *site) count(ctx context.Context, id int64, each func(n int64)) (c counted, err error) {
	files, err := s.lake.transactions.Files(ctx, id)
	if err != nil {
		return c, err
	}
	c.files = map[maintenance.Partition]int{}
	for _, f := range files {
		body, err := objects.ReadAll(ctx, s.lake.store, f.Name)
		if err != nil {
			return c, err
		}
		c.files[maintenance.Partition{Tenant: f.Tenant, Day: f.Day}]++
		of := slices.Index(s.names, f.Tenant)
		rows := int64(0)
		err = parquet.EventIDs(body, 0, func(id cardlake.EventID, at int64) bool {
			rows++
			if n := numberOf(id); tenantOf(n) != of || cardlake.DayOf(at) != f.Day || at < f.MinTime || at > f.MaxTime {
				err = fmt.Errorf("event %d is in file %s of tenant %d", n, f.Name, of)
			} else if each != nil {
				each(n)
			}
			return true
		})
		if err != nil {
			return c, err
		}
		if rows != f.Rows {
			return c, fmt.Errorf("%s has %d rows, the catalog says %d", f.Name, rows, f.Rows)
		}
		sum, err := amounts(body)
		if err != nil {
			return c, err
		}
		c.rows += rows
		c.counts[of] += rows
		c.sums[of] += sum
	}
	return c, nil
}

// amounts adds up the column amount of a file.
func amounts(body []byte) (sum int64, err error) {
	r, err := file.NewParquetReader(bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	values := make([]int64, 4096)
	for i := range r.NumRowGroups() {
		chunk, err := r.RowGroup(i).Column(r.MetaData().Schema.ColumnIndexByName("amount"))
		if err != nil {
			return 0, err
		}
		column := chunk.(*file.Int64ColumnChunkReader)
		for column.HasNext() {
			_, n, err := column.ReadBatch(int64(len(values)), values, nil, nil)
			if err != nil {
				return 0, err
			}
			for _, v := range values[:n] {
				sum += v
			}
		}
	}
	return sum, nil
}

// read counts snapshot after snapshot: each has as many rows as its positions say that the
// stream was read, whatever files they are in just then.
func (s *site) read(ctx context.Context, reads *atomic.Int64) error {
	for ctx.Err() == nil {
		snapshot, err := s.lake.transactions.Current(ctx)
		if err == nil && snapshot.ID != 0 {
			var c counted
			if c, err = s.count(ctx, snapshot.ID, nil); err == nil {
				want := int64(0)
				for _, at := range snapshot.Positions {
					want += at.Next
				}
				if c.rows != want || c.rows != snapshot.Rows {
					return fmt.Errorf("snapshot %d has %d rows in its files, %d by its positions, %d by its summary", snapshot.ID, c.rows, want, snapshot.Rows)
				}
				reads.Add(1)
			}
		}
		switch {
		case err == nil || ctx.Err() != nil || passing(err) == nil:
		case errors.Is(err, objects.ErrNotFound) || errors.Is(err, iceberg.ErrNoSnapshot):
			// Only a snapshot that was left alone for longer than the grace may lose files.
			kept, err2 := s.lake.transactions.Snapshots(ctx)
			if err2 != nil && passing(err2) != nil && ctx.Err() == nil {
				return err2
			}
			if slices.ContainsFunc(kept, func(k catalog.Snapshot) bool { return k.ID == snapshot.ID }) {
				return fmt.Errorf("snapshot %d is kept and lacks a file: %w", snapshot.ID, err)
			}
			if time.Since(snapshot.CommittedAt) < grace {
				return fmt.Errorf("snapshot %d lost a file within the grace: %w", snapshot.ID, err)
			}
		default:
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
	return nil
}

// process is one that is killed and started again.
type process struct {
	s          *site
	name, role string
	broker     string
	cmd        *exec.Cmd
	mu         sync.Mutex
	output     bytes.Buffer
	kills      int
	// life is the longest that it lives before it is killed; a tenth of that is the shortest.
	life time.Duration
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.Write(b)
}

func (p *process) count(words string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Count(p.output.Bytes(), []byte(words))
}

func (p *process) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := p.output.Bytes()
	return string(text[max(0, len(text)-8<<10):])
}

func (p *process) start() error {
	p.cmd = exec.Command(os.Args[0], "-test.run=^$")
	p.cmd.Env = append(os.Environ(), roleEnv+"="+p.role, dirEnv+"="+string(p.s.dir), brokerEnv+"="+p.broker)
	p.cmd.Stderr = p
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return p.cmd.Start()
}

// end ends the process by the signal and waits for it.
func (p *process) end(by syscall.Signal) error {
	_ = p.cmd.Process.Signal(by)
	late := time.AfterFunc(time.Minute, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	err := p.cmd.Wait()
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == by {
		return nil // SIGTERM too ends what has only begun to start
	}
	if err != nil || by == syscall.SIGKILL {
		return fmt.Errorf("%s ended by itself: %v\n%s", p.name, p.cmd.ProcessState, p.log())
	}
	return nil
}

// torment kills the process at random moments and starts it again, until ctx ends, and leaves
// it running.
func (p *process) torment(ctx context.Context, random *rand.Rand) error {
	for {
		// From in the middle of its start to well into its work.
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(p.life/10 + time.Duration(random.Int64N(int64(p.life*9/10)))):
		}
		if err := p.end(syscall.SIGKILL); err != nil {
			return err
		}
		p.kills++
		if err := p.start(); err != nil {
			return err
		}
	}
}

func TestMaintenanceLosesAndDoublesNothing(t *testing.T) {
	duration, rate := shortTime, int64(shortRate)
	if text := os.Getenv(minutesEnv); text != "" {
		minutes, err := strconv.ParseFloat(text, 64)
		if err != nil || minutes <= 0 {
			t.Fatalf("%s is %q", minutesEnv, text)
		}
		duration, rate = time.Duration(minutes*float64(time.Minute)), longRate
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %v", seed, duration)
	ctx, cancel := context.WithTimeout(t.Context(), duration+5*time.Minute)
	defer cancel()
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, topic))
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	address := broker.ListenAddrs()[0]
	client, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.DefaultProduceTopic(topic))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	s := newSite(t)

	var processes []*process
	for name, role := range map[string]string{"worker": "worker", "compactor 1": "compactor", "compactor 2": "compactor", "expirer": "expirer", "sweeper": "sweeper", "eraser": "eraser"} {
		p := &process{s: s, name: name, role: role, broker: address, life: 4 * time.Second}
		if role == "worker" {
			p.life = 10 * time.Second // it takes a while to get its partitions
		}
		if err := p.start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = p.cmd.Process.Kill() }()
		processes = append(processes, p)
	}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	tormenting, calm := context.WithCancel(ctx)
	defer calm()
	fail := func(err error) {
		if err != nil {
			t.Error(err)
			calm()
		}
	}
	var reads atomic.Int64
	wg.Go(func() { fail(s.produce(ctx, client, rate, stop)) })
	wg.Go(func() { fail(s.read(tormenting, &reads)) })
	for i, p := range processes {
		wg.Go(func() { fail(p.torment(tormenting, rand.New(rand.NewPCG(seed, uint64(i))))) })
	}
	s.wait(tormenting, duration, &reads, processes)
	calm()
	close(stop)
	wg.Wait()
	if t.Failed() {
		return
	}
	s.settle(ctx, client, processes)
	kills, yielded := 0, 0
	for _, p := range processes {
		if err := p.end(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		kills += p.kills
		yielded += p.count("yielded")
		if p.count("FAILED") > 0 {
			t.Errorf("%s: %s", p.name, p.log())
		}
		t.Logf("%s: %d kills, %d merges, %d expiries, %d orphans, %d erasures", p.name, p.kills, p.count("merged "), p.count("expired "), p.count("orphan "), p.count("erased "))
	}
	t.Logf("%d events sent, %d kills, %d passes yielded to another, %d snapshots counted meanwhile", s.sent.Load(), kills, yielded, reads.Load())
	s.final(ctx)
}

// wait waits for the time, and for a little of everything to happen: on a busy machine that
// takes longer.
func (s *site) wait(ctx context.Context, least time.Duration, reads *atomic.Int64, processes []*process) {
	for start := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(100 * time.Millisecond):
		}
		count := func(words string) (n int) {
			for _, p := range processes {
				n += p.count(words)
			}
			return n
		}
		if time.Since(start) >= least && reads.Load() >= 3 && count("merged ") >= 3 && count("expired ") >= 1 {
			return
		}
	}
}

// settle waits until everything that was sent is committed.
func (s *site) settle(ctx context.Context, client *kgo.Client, processes []*process) {
	s.t.Helper()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	if err != nil {
		s.t.Fatal(err)
	}
	want := cardlake.Positions{}
	ends.Each(func(o kadm.ListedOffset) {
		want[cardlake.StreamPartition{Stream: o.Topic, Partition: o.Partition}] = cardlake.Offset{Next: o.Offset}
	})
	for {
		at, err := s.lake.transactions.Positions(ctx)
		if err == nil && at.Holds(want) {
			return
		}
		select {
		case <-ctx.Done():
			for _, p := range processes {
				s.t.Logf("%s: %s", p.name, p.log())
			}
			s.t.Fatalf("waited in vain for %v; the table is at %v, %v", want, at, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// final does one last pass of everything and then counts the lake.
func (s *site) final(ctx context.Context) {
	t := s.t
	t.Helper()
	before, err := s.lake.transactions.Files(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	r, err := newCompactor(s.lake, time.Hour).Run(ctx)
	if err != nil || len(r.Skipped) > 0 {
		t.Fatal(err, r.Skipped)
	}
	// The newest positions stay, and with them the snapshot that has them, whoever made it.
	x, err := s.lake.transactions.Expire(ctx, iceberg.Expiry{Before: time.Now(), KeepLast: 1, Grace: -1})
	if err != nil {
		t.Fatal(err)
	}
	orphans := 0
	for info, err := range s.lake.transactions.Orphans(ctx, iceberg.OrphanConfig{Age: time.Nanosecond, Force: true, Delete: true}) {
		if err != nil {
			t.Fatal(info.Name, err)
		}
		orphans++
	}
	t.Logf("last pass: %d files merged into %d, %d snapshots and %d files expired, %d orphans", r.FilesIn, r.FilesOut, x.Snapshots, x.DataFiles, orphans)

	sent := s.sent.Load()
	seen := make([]uint8, sent)
	unknown := 0
	c, err := s.count(ctx, 0, func(n int64) {
		if n < 0 || n >= sent {
			unknown++
		} else if seen[n] < 255 {
			seen[n]++
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	missing, doubled := 0, 0
	var counts, sums [tenants]int64
	for n, times := range seen {
		switch {
		case times == 0:
			missing++
		case times > 1:
			doubled++
		}
		counts[tenantOf(int64(n))]++
		sums[tenantOf(int64(n))] += minorOf(int64(n)) * 100
	}
	if missing > 0 || doubled > 0 || unknown > 0 || c.counts != counts || c.sums != sums {
		t.Errorf("of %d events %d are missing, %d doubled, %d unknown; counts %v, want %v; sums %v, want %v", sent, missing, doubled, unknown, c.counts, counts, c.sums, sums)
	}
	most := slices.Max(slices.Collect(maps.Values(c.files)))
	t.Logf("%d rows in %d files, at most %d of a tenant and day, %d before the last pass", c.rows, sum(c.files), most, len(before))
	// Less than width files of each size class, and each class is width times the one before.
	classes := 1
	for n := int64(1); n < c.rows; n *= width {
		classes++
	}
	if bound := classes * (width - 1); most > bound {
		t.Errorf("a tenant's day has %d files, want at most %d", most, bound)
	}
	s.nothingElse(ctx)
}

func sum(counts map[maintenance.Partition]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// nothingElse: the store has the data files that the table names, and no others.
func (s *site) nothingElse(ctx context.Context) {
	s.t.Helper()
	named, err := s.lake.transactions.NamedFiles(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	wanted := map[string]bool{}
	for _, f := range named {
		wanted[f.Name] = true
	}
	for info, err := range s.lake.store.List(ctx, "data/"+cardlake.Transactions.Name+"/") {
		if err != nil {
			s.t.Fatal(err)
		}
		if !wanted[info.Name] {
			s.t.Errorf("%s is left over", info.Name)
		}
		delete(wanted, info.Name)
	}
	for name := range wanted {
		s.t.Errorf("%s is gone", name)
	}
}
