package ship

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/bits"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/writers/objects"
)

// Reader is audit.events to be read; *iceberg.Table is one.
type Reader interface {
	Positions(ctx context.Context) (cardlake.Positions, error)
	Files(ctx context.Context, snapshotID int64) ([]cardlake.DataFile, error)
}

// Comparison is what Compare found.
type Comparison struct {
	Log      string `json:"log"`
	Lines    uint64 `json:"lines"`           // that the table has as the log has them, once each
	Beyond   uint64 `json:"beyond"`          // lines of the log that the table does not have yet
	Older    uint64 `json:"older,omitempty"` // rows of lines that are older than the segments
	Segments int    `json:"segments"`
	// Break is the first difference; nil if there is none.
	Break *audit.Break `json:"break,omitempty"`
}

// Compare holds the rows of the table against the lines of the log, field by field: each line
// up to the table's position must be there exactly once, and nothing else. The log is verified
// while it is read. It keeps a few words for each segment: sums of the rows' HMACs under a key
// that is drawn for this comparison, so that nobody could have made rows that only add up.
func Compare(ctx context.Context, from audit.Segments, verify audit.VerifyConfig, table Reader, store objects.Store) (Comparison, error) {
	c := comparer{ctx: ctx, store: store, segments: map[int]*difference{}}
	key := make([]byte, sha256.Size)
	rand.Read(key)
	c.mac = hmac.New(sha256.New, key)
	out, err := c.compare(from, verify, table)
	if err != nil {
		return out, fmt.Errorf("compare audit log with its table: %w", err)
	}
	return out, nil
}

type comparer struct {
	ctx      context.Context
	store    objects.Store
	mac      hash.Hash
	buf      []byte
	segments map[int]*difference
	oldest   uint64 // number of the first line that the log still has
}

// difference is what the lines of a segment have more than the rows; zero if they are equal.
type difference struct {
	sum         [2]uint64
	lines, rows uint64
	firstSeq    uint64
}

func (c *comparer) compare(from audit.Segments, verify audit.VerifyConfig, table Reader) (Comparison, error) {
	var out Comparison
	// The table first: what is shipped meanwhile is beyond.
	positions, err := table.Positions(c.ctx)
	if err != nil {
		return out, err
	}
	files, err := table.Files(c.ctx, 0)
	if err != nil {
		return out, err
	}
	t := audit.TailOf(from, verify)
	defer t.Close()
	next := uint64(0)
	err = c.lines(t, &out, func(l *audit.Line) error {
		if next == 0 {
			next = uint64(max(positions[cardlake.StreamPartition{Stream: Stream(l.Log)}].Next, 1))
			c.oldest = l.Seq
		}
		if l.Seq >= next {
			out.Beyond++
			return nil
		}
		d := c.segment(l.Segment)
		if d.lines == 0 {
			d.firstSeq = l.Seq
		}
		d.lines++
		return c.sum(d, l, bits.Add64)
	})
	if err != nil {
		return out, err
	}
	out.Break = t.End().Break
	out.Log = t.Report().Log
	if out.Break != nil {
		return out, nil
	}
	if next > 1 && t.Report().Head.Seq+1 < next {
		out.Break = &audit.Break{Segment: "audit.events", Seq: t.Report().Head.Seq + 1, What: fmt.Sprintf("the table has lines up to %d, the log ends before", next-1)}
		return out, nil
	}
	err = c.rows(files, func(e *cardlake.AuditEvent) error {
		switch {
		case e.Log != out.Log:
		case uint64(e.Seq) < c.oldest:
			out.Older++
		default:
			d := c.segment(int(e.Segment))
			d.rows++
			c.add(d, e, bits.Sub64)
		}
		return nil
	})
	if err != nil {
		return out, err
	}
	var bad []int
	for n, d := range c.segments {
		out.Segments++
		out.Lines += d.lines
		if d.sum != [2]uint64{} || d.lines != d.rows {
			bad = append(bad, n)
		}
	}
	if len(bad) > 0 {
		out.Lines = 0
		out.Break, err = c.locate(from, verify, files, slices.Min(bad), next, out.Log)
	}
	return out, err
}

func (c *comparer) segment(n int) *difference {
	d := c.segments[n]
	if d == nil {
		d = &difference{}
		c.segments[n] = d
	}
	return d
}

// lines verifies and reads the log. A break is in t's report.
func (c *comparer) lines(t *audit.Tail, out *Comparison, take func(*audit.Line) error) error {
	var bad error
	err := t.Each(c.ctx, func(l audit.Line) bool {
		bad = take(&l)
		return bad == nil
	})
	if errors.Is(err, audit.ErrBreak) {
		err = nil
	}
	return errors.Join(bad, err)
}

func (c *comparer) sum(d *difference, l *audit.Line, op func(x, y, carry uint64) (uint64, uint64)) error {
	e, err := EventOf(l)
	if err == nil {
		c.add(d, &e, op)
	}
	return err
}

// add adds a row's 128 bits to the sum, or takes them from it.
func (c *comparer) add(d *difference, e *cardlake.AuditEvent, op func(x, y, carry uint64) (uint64, uint64)) {
	h := c.digest(e)
	var carry uint64
	d.sum[0], carry = op(d.sum[0], binary.BigEndian.Uint64(h[:8]), 0)
	d.sum[1], _ = op(d.sum[1], binary.BigEndian.Uint64(h[8:]), carry)
}

// digest is over every field, each with its length before it.
func (c *comparer) digest(e *cardlake.AuditEvent) (out [16]byte) {
	b := c.buf[:0]
	for _, s := range [...]string{e.Log, e.Actor, e.Action, e.Outcome, e.Resource, e.Origin, e.Reason, e.Request,
		e.PolicyVersion, e.Policies, e.Snapshot, e.Columns, e.Tenants, e.Details, e.Hash, e.Prev} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	for _, n := range [...]int64{e.Seq, e.Time, e.Rows, e.Segment} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	c.buf = b
	c.mac.Reset()
	c.mac.Write(b)
	copy(out[:], c.mac.Sum(nil))
	return out
}

// locate says which line of a segment the table does not have as the log has it.
func (c *comparer) locate(from audit.Segments, verify audit.VerifyConfig, files []cardlake.DataFile, segment int, next uint64, log string) (*audit.Break, error) {
	lines := map[uint64][16]byte{}
	first := uint64(0)
	verify.First, verify.Known, verify.Anchor = segment, nil, audit.Head{}
	if d := c.segments[segment]; d.lines > 0 {
		t := audit.TailOf(from, verify)
		defer t.Close()
		err := t.Each(c.ctx, func(l audit.Line) bool {
			if l.Segment != segment || l.Seq >= next {
				return false
			}
			if e, err := EventOf(&l); err == nil {
				lines[l.Seq] = c.digest(&e)
			}
			if first == 0 {
				first = l.Seq
			}
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	found := map[uint64]int{}
	worst := &audit.Break{Segment: "audit.events"}
	tell := func(seq uint64, what string) {
		if worst.Seq == 0 || seq < worst.Seq {
			worst.Seq, worst.What = seq, what
			worst.Line = int(max(seq+1, first) - first)
		}
	}
	err := c.rows(files, func(e *cardlake.AuditEvent) error {
		if int(e.Segment) != segment || e.Log != log || uint64(e.Seq) < c.oldest {
			return nil
		}
		seq := uint64(e.Seq)
		digest, ok := lines[seq]
		if found[seq]++; found[seq] > 1 {
			tell(seq, "the row is there more than once")
		} else if !ok {
			tell(seq, "the row is of no line of "+audit.SegmentName(segment))
		} else if c.digest(e) != digest {
			tell(seq, "the row is not what the line says")
		}
		return nil
	})
	for seq := range lines {
		if found[seq] == 0 {
			tell(seq, "the row is missing")
		}
	}
	return worst, err
}

// rows reads the table's files one after the other.
func (c *comparer) rows(files []cardlake.DataFile, take func(*cardlake.AuditEvent) error) error {
	for _, f := range files {
		body, err := objects.ReadAll(c.ctx, c.store, f.Name)
		if err == nil {
			err = eachRow(c.ctx, body, take)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return nil
}

// rowsAtOnce bounds the memory of decoded rows.
const rowsAtOnce = 4096

// eachRow decodes a data file of audit.events.
func eachRow(ctx context.Context, body []byte, take func(*cardlake.AuditEvent) error) (err error) {
	defer func() {
		if p := recover(); p != nil { // arrow-go panics on some malformed input
			err = errors.New("malformed file")
		}
	}()
	r, err := file.NewParquetReader(bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer r.Close()
	in, err := pqarrow.NewFileReader(r, pqarrow.ArrowReadProperties{BatchSize: rowsAtOnce}, memory.DefaultAllocator)
	if err != nil {
		return err
	}
	records, err := in.GetRecordReader(ctx, nil, nil)
	if err != nil {
		return err
	}
	defer records.Release()
	for records.Next() {
		if err := eachOf(records.RecordBatch(), take); err != nil {
			return err
		}
	}
	if err := records.Err(); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

func eachOf(rec arrow.RecordBatch, take func(*cardlake.AuditEvent) error) error {
	text := func(name string) func(int) string {
		if i := rec.Schema().FieldIndices(name); len(i) == 1 {
			if a, ok := rec.Column(i[0]).(*array.String); ok {
				return func(n int) string {
					if a.IsNull(n) {
						return ""
					}
					return a.Value(n)
				}
			}
		}
		return nil
	}
	number := func(name string) func(int) int64 {
		if i := rec.Schema().FieldIndices(name); len(i) == 1 {
			switch a := rec.Column(i[0]).(type) {
			case *array.Int64:
				return func(n int) int64 {
					if a.IsNull(n) {
						return -1
					}
					return a.Value(n)
				}
			case *array.Timestamp:
				return func(n int) int64 { return int64(a.Value(n)) }
			}
		}
		return nil
	}
	var e cardlake.AuditEvent
	texts := map[string]*string{
		"log": &e.Log, "actor": &e.Actor, "action": &e.Action, "outcome": &e.Outcome, "resource": &e.Resource, "origin": &e.Origin,
		"reason": &e.Reason, "request": &e.Request, "policy_version": &e.PolicyVersion, "policies": &e.Policies, "snapshot": &e.Snapshot,
		"columns": &e.Columns, "tenants": &e.Tenants, "details": &e.Details, "hash": &e.Hash, "prev": &e.Prev,
	}
	numbers := map[string]*int64{"seq": &e.Seq, "time": &e.Time, "rows": &e.Rows, "segment": &e.Segment}
	var fill []func(int)
	for name, to := range texts {
		get := text(name)
		if get == nil {
			return fmt.Errorf("column %s is missing or of another type", name)
		}
		fill = append(fill, func(n int) { *to = get(n) })
	}
	for name, to := range numbers {
		get := number(name)
		if get == nil {
			return fmt.Errorf("column %s is missing or of another type", name)
		}
		fill = append(fill, func(n int) { *to = get(n) })
	}
	for n := range int(rec.NumRows()) {
		for _, f := range fill {
			f(n)
		}
		if err := take(&e); err != nil {
			return err
		}
	}
	return nil
}
