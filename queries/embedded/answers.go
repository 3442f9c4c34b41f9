package embedded

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"io"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/duckdb/duckdb-go/v2/mapping"

	"github.com/cardlake/cardlake/queries"
)

// answers keeps small answers for the same question asked again of the same files under the same
// decision: see keyOf. Nothing else is an answer's, so one is good while its files are those that
// the question reads, through commits that touch other files, and for everybody who is given the
// same; and a grant, mask, tenant or file that changed makes another question of it. The gateway
// has checked, permitted and recorded each question before it gets here, and ends the rows as it
// ends any.
type answers struct {
	kept *cache[answerKey, *keptAnswer]

	mu      sync.Mutex
	running map[answerKey]chan struct{} // closed when what computes it has ended
}

// answerKey is a digest of all that an answer depends on.
type answerKey [sha256.Size]byte

const (
	// maxAnswerChunks and maxAnswerBytes bound the answers that are kept: 6,144 rows, in DuckDB's
	// vectors of 2,048, and 1 MiB.
	maxAnswerChunks = 3
	maxAnswerBytes  = 1 << 20
)

func newAnswers(limit int64, age time.Duration) *answers {
	return &answers{kept: newCache[answerKey, *keptAnswer](limit, age), running: map[answerKey]chan struct{}{}}
}

// find returns the answer if it is there, or is there when somebody else has computed it. If it
// returns none, the caller computes it and calls done then.
func (a *answers) find(ctx context.Context, key answerKey) (_ *keptAnswer, done func(), err error) {
	a.mu.Lock()
	if k, ok := a.kept.take(key); ok {
		a.mu.Unlock()
		return k, nil, nil
	}
	running := a.running[key]
	if running == nil {
		running = make(chan struct{})
		a.running[key] = running
		a.mu.Unlock()
		return nil, func() {
			a.mu.Lock()
			delete(a.running, key)
			a.mu.Unlock()
			close(running)
		}, nil
	}
	a.mu.Unlock()
	select {
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	case <-running:
	}
	// It is not there if it failed, is not to be kept, or if whoever asked went away.
	k, _ := a.kept.take(key)
	return k, func() {}, nil
}

// keyOf returns the key of the statement's answer over the files, and false if an answer is good
// for nothing but its own question: if it may differ each time, or reads what no snapshot has.
func keyOf(s queries.Statement, p *plan) (key answerKey, ok bool) {
	if s.IsVolatile || len(s.Reads) == 0 {
		return key, false
	}
	d := digest{sha256.New()}
	d.texts(s.SQL)
	d.numbers(s.Limits.MaxRows, s.Limits.MaxBytes, int64(s.Limits.Timeout), s.Limits.Memory, int64(len(s.Views)))
	for _, v := range s.Views {
		d.texts(v.FullName(), v.SQL)
	}
	for _, r := range s.Reads {
		if !r.IsPinned {
			return key, false
		}
		d.texts(r.Table.FullName(), string(r.Decision.Action))
		d.flags(r.IsUnder)
		d.numbers(int64(len(r.Decision.Scopes)), int64(len(r.Decision.Except)))
		for _, scope := range r.Decision.Scopes {
			d.flags(scope.Others)
			d.numbers(int64(len(scope.Tenants)), int64(len(scope.Columns)))
			for _, t := range scope.Tenants {
				d.texts(string(t))
			}
			for _, access := range scope.Columns {
				d.numbers(int64(access))
			}
		}
		for _, t := range r.Decision.Except {
			d.texts(string(t))
		}
	}
	for _, f := range p.parts {
		d.numbers(int64(f.source), int64(f.scope), f.Bytes)
		d.texts(f.Name)
	}
	d.Sum(key[:0])
	return key, true
}

// digest takes values so that no two lists of them look alike.
type digest struct{ hash.Hash }

func (d digest) numbers(all ...int64) {
	for _, n := range all {
		var b [8]byte
		binary.BigEndian.PutUint64(b[:], uint64(n))
		d.Write(b[:])
	}
}

func (d digest) flags(all ...bool) {
	for _, is := range all {
		d.Write([]byte{map[bool]byte{true: 1}[is]})
	}
}

func (d digest) texts(all ...string) {
	for _, s := range all {
		d.numbers(int64(len(s)))
		io.WriteString(d, s)
	}
}

// keptAnswer is the rows of an answer. It never changes.
type keptAnswer struct {
	columns   []queries.Column
	rows      [][]any
	snapshots []queries.Snapshot // of the question that was computed
	bytes     int64
	decrypted time.Time // the oldest of what was read
}

func (k *keptAnswer) held() int64     { return k.bytes }
func (k *keptAnswer) born() time.Time { return k.decrypted }
func (k *keptAnswer) hold()           {}
func (k *keptAnswer) Close() error    { return nil }

// collect reads the answer's rows if they are few enough to be kept. It returns nil, and has read
// none, of an answer that is too large or has values that can be changed.
func (a *answer) collect() (*keptAnswer, error) {
	result := resultOf(a.rows)
	if result == nil || mapping.ResultChunkCount(*result) > maxAnswerChunks {
		return nil, nil
	}
	for _, c := range a.columns {
		if _, isNested := c.Type.(arrow.NestedType); isNested || c.Type.ID() == arrow.BINARY {
			return nil, nil
		}
	}
	k := &keptAnswer{columns: a.columns, snapshots: a.snapshots, decrypted: a.decrypted, bytes: 1 << 10}
	for {
		row := make([]any, len(a.columns))
		if err := a.Next(row); errors.Is(err, io.EOF) {
			return k, nil
		} else if err != nil {
			return nil, err
		}
		k.rows = append(k.rows, row)
		for _, v := range row {
			k.bytes += sizeOf(v)
		}
	}
}

// sizeOf is how much memory a value takes, as an element of a row.
func sizeOf(v any) int64 {
	const element = 16
	switch v := v.(type) {
	case nil:
		return element
	case string:
		return 2*element + int64(len(v))
	case time.Time:
		return element + 24
	case decimal128.Num:
		return element + 16
	}
	return element + 8
}

// keptRows are the rows of an answer as one who asked has them.
type keptRows struct {
	*keptAnswer
	snapshots []queries.Snapshot // of this question
	next      int
	computed  io.Closer // the answer, of whoever computed it; or nil
}

// of returns the rows for a question that was planned in the snapshots.
func (k *keptAnswer) of(snapshots []queries.Snapshot, computed io.Closer) *keptRows {
	for i, was := range k.snapshots {
		s := &snapshots[i]
		s.Files, s.Bytes, s.Rows, s.Destroyed = was.Files, was.Bytes, was.Rows, was.Destroyed
	}
	return &keptRows{k, snapshots, 0, computed}
}

// Columns implements queries.Rows.
func (r *keptRows) Columns() []queries.Column { return r.columns }

// Snapshots implements queries.Rows.
func (r *keptRows) Snapshots() []queries.Snapshot { return r.snapshots }

// Next implements queries.Rows.
func (r *keptRows) Next(row []any) error {
	if r.next == len(r.rows) {
		return io.EOF
	}
	copy(row, r.rows[r.next])
	r.next++
	return nil
}

// Close implements queries.Rows.
func (r *keptRows) Close() error {
	if r.computed == nil {
		return nil
	}
	return r.computed.Close()
}
