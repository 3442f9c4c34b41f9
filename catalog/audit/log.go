package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/keys"
)

// Wrapper makes the keys of segments. A keys.Provider is one.
type Wrapper interface {
	// NewDataKey returns a fresh key of the scope and its wrapped form.
	NewDataKey(ctx context.Context, scope keys.Scope) (key keys.Key, wrapped []byte, err error)
}

// scope is that of every segment's key.
var scope = keys.Scope{Owner: keys.Lake, Purpose: keys.Audit}

// Config configures a Log. Actor must be set.
type Config struct {
	// Actor is the principal that the log's own lines name: the process.
	Actor string
	// Origin is the host that they name; default the host's name.
	Origin string
	// Anchor keeps the log's head elsewhere; nil keeps it nowhere, and then an end that is
	// cut off at a line is not noticed.
	Anchor Anchor
	// AnchorAfter is how long a line may wait for its anchor. Default 1 s.
	AnchorAfter time.Duration
	// SegmentBytes is the size after which a segment ends; it also ends with the day, UTC.
	// Default 64 MiB.
	SegmentBytes int64
	// LockWait is how long Open waits for another writer to end; default: not at all. In a
	// log of OpenShared it is how long Append waits for its turn; default 5 s.
	LockWait time.Duration
	// Signer signs checkpoints. Default: none in a log of Open; in one of OpenShared that of the
	// folder, as OpenSigner makes it.
	Signer *Signer
	// Unsigned leaves checkpoints out of a shared log, for a writer that may not unwrap.
	Unsigned bool
	// CheckpointAfter is how long a line may wait for the checkpoint that covers it. Default
	// 1 minute.
	CheckpointAfter time.Duration
	Now             func() time.Time // default time.Now
	Log             *slog.Logger     // default slog.Default()
}

func (c Config) withDefaults() Config {
	if c.Origin == "" {
		c.Origin, _ = os.Hostname() // an unknown host is left out
	}
	if c.AnchorAfter == 0 {
		c.AnchorAfter = time.Second
	}
	if c.CheckpointAfter == 0 {
		c.CheckpointAfter = time.Minute
	}
	if c.SegmentBytes == 0 {
		c.SegmentBytes = 64 << 20
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c
}

const (
	// keyTimeout bounds how long the key service may hold up a new segment.
	keyTimeout = 10 * time.Second
	// rotateRetry is how long a log stays in its segment when it could not begin another.
	rotateRetry = time.Minute
)

// segmentFile is what a Log writes to.
type segmentFile interface {
	Write(p []byte) (int, error)
	Sync() error
	Truncate(size int64) error
	Close() error
}

// Log is an audit log that is open for writing. It is safe for concurrent use.
type Log struct {
	dir  string
	keys Wrapper
	cfg  Config
	lock *os.File // of a log of one process
	turn *turn    // of one of several

	mu    sync.Mutex
	queue []*waiting

	writing sync.Mutex // held by the one that commits; guards what follows
	state   state
	file    segmentFile
	info    os.FileInfo // of file, when it was made
	key     keys.Key
	number  int
	size    int64 // acknowledged
	day     int64
	tried   time.Time // when a rotation failed
	dirty   bool      // bytes beyond size may be in the file
	closed  bool
	buf     []byte

	anchored Head  // that the chain is known to have
	lost     error // why nothing more is appended: an end that was anchored is gone

	anchoring sync.Mutex // held while the head is being anchored; before writing
	anchor    timer
	signing   timer
	timers    sync.WaitGroup // of those that are armed
}

// state is the end of the chain.
type state struct {
	log      string
	seq      uint64
	hash     string
	unsigned int64 // Unix time of the first line that no checkpoint covers; 0 if there is none
}

// waiting is a caller of Append.
type waiting struct {
	record Record
	done   bool
	err    error
}

// Open opens the log in the folder dir, which it makes, mode 0700, for this process alone.
// It cuts off a line that a writer which died has left unfinished, compares the end with the
// anchor, and begins a new segment. ErrLocked, ErrTruncated and ErrBroken say why it does not.
func Open(ctx context.Context, dir string, wrapper Wrapper, cfg Config) (_ *Log, err error) {
	if cfg.Actor == "" {
		return nil, errors.New("audit log: Actor is missing")
	}
	l := &Log{dir: dir, keys: wrapper, cfg: cfg.withDefaults()}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	if l.lock, err = takeLock(ctx, dir, lockName, l.cfg.LockWait); err != nil {
		return nil, fmt.Errorf("audit log %s: %w", dir, err)
	}
	defer func() {
		if err != nil {
			_ = l.lock.Close()
		}
	}()
	torn, err := l.recover(ctx)
	if err != nil {
		return nil, fmt.Errorf("audit log %s: %w", dir, err)
	}
	if err := l.begin(ctx, ActionOpen, torn); err != nil {
		return nil, fmt.Errorf("audit log %s: %w", dir, err)
	}
	if err := l.saveAnchor(ctx, false); err != nil {
		_ = l.file.Close()
		l.key.Destroy()
		return nil, fmt.Errorf("audit log %s: %w", dir, err)
	}
	return l, nil
}

// recover finds the end of the chain and cuts off what a dead writer left behind it. It
// returns how many bytes that was.
func (l *Log) recover(ctx context.Context) (torn int64, err error) {
	var anchored Head
	if l.cfg.Anchor != nil {
		if anchored, err = l.cfg.Anchor.Load(ctx); err != nil {
			return 0, fmt.Errorf("load anchor: %w", err)
		}
	}
	numbers, err := segmentsIn(l.dir)
	if err != nil {
		return 0, err
	}
	var mend func() error // only after the anchor agrees: what is cut off can't be looked at again
	var empty []string
	for len(numbers) > 0 {
		l.number = numbers[len(numbers)-1]
		end, found, err := scanSegment(l.dir, l.number, anchored)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", segmentName(l.number), err)
		}
		torn += end.torn
		if found {
			if path := filepath.Join(l.dir, segmentName(l.number)); end.torn > 0 {
				mend = func() error { return cut(path, end.size) }
			}
			l.state = end.state
			break
		}
		// The writer died before the segment's first line was whole.
		empty = append(empty, filepath.Join(l.dir, segmentName(l.number)))
		numbers = numbers[:len(numbers)-1]
		l.number--
	}
	if l.cfg.Anchor != nil && anchored.Seq > l.state.seq {
		return 0, fmt.Errorf("%w: its last line is number %d, the anchor's %d", ErrTruncated, l.state.seq, anchored.Seq)
	}
	if anchored.Log != "" && anchored.Log != l.state.log {
		return 0, fmt.Errorf("%w: the anchor is another log's", ErrTruncated)
	}
	for _, path := range empty {
		if err := os.Remove(path); err != nil {
			return 0, err
		}
	}
	if mend != nil {
		if err := mend(); err != nil {
			return 0, err
		}
	}
	return torn, nil
}

// segmentEnd is what scanSegment finds.
type segmentEnd struct {
	state
	prev string // of the first line
	size int64  // of the whole lines
	torn int64
}

// scanSegment follows the chain through a segment, without its seals: a writer need not be
// able to unwrap. found is false if the segment has no whole line.
func scanSegment(dir string, number int, anchored Head) (end segmentEnd, found bool, err error) {
	in, err := openLines(dir, number)
	if err != nil {
		return end, false, err
	}
	defer in.close()
	info, err := in.file.Stat()
	if err != nil {
		return end, false, err
	}
	for {
		line, err := in.next()
		switch {
		case err == nil:
			next, err := linkOf(line)
			if err != nil || hashOf(next.body) != next.hash || found && (next.prev != end.hash || next.seq != end.seq+1) {
				break
			}
			if next.isCheckpoint {
				end.unsigned = 0
			} else if end.unsigned == 0 {
				p, err := parseLine(line)
				if err != nil || !found && p.entry.Segment == nil {
					break
				}
				end.unsigned = p.entry.Time.Unix()
				if !found {
					end.log, end.prev = p.entry.Segment.Log, p.entry.Prev
				}
			}
			found = true
			end.seq, end.hash, end.size = next.seq, next.hash, in.end
			if end.seq == anchored.Seq && end.hash != anchored.Hash {
				return end, found, fmt.Errorf("%w: line %d is not the anchor's", ErrTruncated, end.seq)
			}
			continue
		case errors.Is(err, io.EOF) && len(line) == 0:
			return end, found, nil
		case !errors.Is(err, io.EOF) && !errors.Is(err, errLine):
			return end, found, err
		}
		// An unfinished line has no end of line, and a file that lost power while it grew has
		// pages of zeros, which no text has. Both were never acknowledged. All else is damage.
		isTorn, tornErr := tornFrom(in.file, end.size, info.Size())
		if tornErr != nil {
			return end, found, tornErr
		}
		if isTorn {
			isTorn, tornErr = holdsNoLine(in)
		}
		if tornErr != nil {
			return end, found, tornErr
		}
		if !isTorn {
			return end, found, ErrBroken
		}
		end.torn = info.Size() - end.size
		return end, found, nil
	}
}

// holdsNoLine reports whether no whole line follows. Where one does, what is before it was
// damaged after it had been written, and nothing of it may be cut off.
func holdsNoLine(in *lines) (bool, error) {
	for {
		line, err := in.next()
		switch {
		case errors.Is(err, io.EOF):
			return true, nil
		case errors.Is(err, errLine):
			continue
		case err != nil:
			return false, err
		}
		if p, err := parseLine(line); err == nil && hashOf(p.body) == p.hash {
			return false, nil
		}
	}
}

// tornFrom reports whether the bytes of a file in [from, to) are one unfinished line, or
// hold a zero.
func tornFrom(f *os.File, from, to int64) (bool, error) {
	hasEnd := false
	buf := make([]byte, 64<<10)
	for at := from; at < to; {
		n, err := f.ReadAt(buf[:min(int64(len(buf)), to-at)], at)
		for _, c := range buf[:n] {
			if c == 0 {
				return true, nil
			}
			hasEnd = hasEnd || c == '\n'
		}
		at += int64(n)
		if err != nil && at < to {
			return false, err
		}
	}
	return !hasEnd, nil
}

func cut(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Sync(), f.Close())
}

// begin begins the next segment. On error the log is as it was. The caller is the only
// writer.
func (l *Log) begin(ctx context.Context, action string, torn int64) error {
	keyCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keyTimeout)
	key, wrapped, err := l.keys.NewDataKey(keyCtx, scope)
	cancel()
	if err != nil {
		return fmt.Errorf("key of a new segment: %w", err)
	}
	id := l.state.log
	if id == "" {
		drawn := keys.NewKey()
		id = string(cardlake.AppendLetters(nil, drawn.Bytes()[:8]))
		drawn.Destroy()
	}
	now := stamp(l.cfg.Now())
	e := &Entry{
		Seq: l.state.seq + 1, Time: now, Prev: l.state.hash,
		Record: Record{
			Actor: maskDigits(l.cfg.Actor), Action: action, Resource: "audit log " + id, Outcome: Allowed, Origin: l.cfg.Origin,
		},
		Segment: &Segment{Number: l.number + 1, Log: id, Key: string(cardlake.AppendLetters(nil, wrapped)), Torn: torn},
	}
	line, hash, err := appendLine(nil, e, key)
	if err != nil {
		key.Destroy()
		return err
	}
	path := filepath.Join(l.dir, segmentName(l.number+1))
	f, info, err := createSegment(path, line)
	if err != nil {
		key.Destroy()
		return fmt.Errorf("new segment: %w", err)
	}
	if l.file != nil {
		_ = l.file.Close() // what it acknowledged is on disk
		l.key.Destroy()
	}
	l.file, l.info, l.key, l.number, l.size, l.dirty = f, info, key, l.number+1, int64(len(line)), false
	l.state, l.day = state{id, e.Seq, hash, cmp.Or(l.state.unsigned, now.Unix())}, dayOf(now)
	return nil
}

func dayOf(t time.Time) int64 { return t.Unix() / (24 * 60 * 60) }

// createSegment makes a segment of one line, durably, or leaves nothing.
func createSegment(path string, line []byte) (_ *os.File, info os.FileInfo, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(path))
		}
	}()
	if _, err := f.Write(line); err != nil {
		return nil, nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, nil, err
	}
	if info, err = f.Stat(); err != nil {
		return nil, nil, err
	}
	return f, info, syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Append writes the record and returns when it is on disk. On error it is not in the log,
// and the caller refuses what the record was to say. An invalid record returns ErrRecord.
func (l *Log) Append(ctx context.Context, r Record) error {
	r, err := r.check()
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("append to audit log: %w", err)
	}
	w := &waiting{record: r}
	l.mu.Lock()
	l.queue = append(l.queue, w)
	l.mu.Unlock()

	l.writing.Lock()
	defer l.writing.Unlock()
	if !w.done { // else another caller wrote it while this one waited
		l.mu.Lock()
		batch := l.queue
		l.queue = nil
		l.mu.Unlock()
		l.commit(ctx, batch, false)
	}
	if w.err != nil {
		return fmt.Errorf("append to audit log: %w", w.err)
	}
	return nil
}

// commit writes a batch with one fsync, and a checkpoint behind it if one is due or the log
// ends. The caller holds writing.
func (l *Log) commit(ctx context.Context, batch []*waiting, isEnd bool) {
	err := l.enter(ctx)
	if err == nil {
		defer l.leave()
		err = l.ready(ctx)
	}
	next := l.state
	buf := l.buf[:0]
	now := stamp(l.cfg.Now())
	for _, w := range batch {
		w.done = true
		if w.err = err; err != nil {
			continue
		}
		var hash string
		buf, hash, w.err = appendLine(buf, &Entry{Seq: next.seq + 1, Time: now, Record: w.record, Prev: next.hash}, l.key)
		if w.err == nil {
			next.seq, next.hash, next.unsigned = next.seq+1, hash, cmp.Or(next.unsigned, now.Unix())
		}
	}
	if err == nil && next != l.state && l.cfg.Signer != nil && (isEnd || l.isDue(next, now)) {
		buf, next, err = l.appendCheckpoint(buf, next, now)
	}
	l.buf = buf
	if err == nil && next != l.state {
		err = l.flush(buf, next)
	}
	if err != nil {
		for _, w := range batch {
			if w.err == nil {
				w.err = err
			}
		}
	}
}

// flush writes lines behind the others and makes them durable, or leaves the log as it was.
// The caller holds writing and has the log's turn.
func (l *Log) flush(lines []byte, next state) error {
	_, err := l.file.Write(lines)
	if err == nil {
		err = l.file.Sync()
	}
	if err != nil {
		l.dirty = true
		_ = l.clean() // or before the next line
		return err
	}
	l.size += int64(len(lines))
	l.state = next
	l.armAnchor()
	l.armCheckpoint()
	return nil
}

// ready prepares the segment for the next line.
func (l *Log) ready(ctx context.Context) error {
	if l.closed {
		return ErrClosed
	}
	if l.lost != nil {
		return l.lost
	}
	if err := l.clean(); err != nil {
		return err
	}
	now := l.cfg.Now()
	if l.size < l.cfg.SegmentBytes && dayOf(now) == l.day || now.Sub(l.tried) < rotateRetry {
		return nil
	}
	// A longer segment is better than a service that stops because no key can be had for a
	// new one.
	if err := l.endSegment(); err != nil {
		return err
	}
	if err := l.begin(ctx, ActionRotate, 0); err != nil {
		l.tried = now
		l.cfg.Log.Warn("the audit log stays in its segment", "log", l.dir, "error", err)
	}
	return nil
}

// clean takes back what a failed write may have left, so that nothing that was refused
// stands in the log and the chain goes on from what was acknowledged.
func (l *Log) clean() error {
	if !l.dirty {
		return nil
	}
	if err := l.file.Truncate(l.size); err != nil {
		return fmt.Errorf("take back a failed write: %w", err)
	}
	if err := l.file.Sync(); err != nil {
		return fmt.Errorf("take back a failed write: %w", err)
	}
	l.dirty = false
	return nil
}

// Head returns the newest acknowledged line.
func (l *Log) Head() Head {
	l.writing.Lock()
	defer l.writing.Unlock()
	return Head{Log: l.state.log, Seq: l.state.seq, Hash: l.state.hash}
}

// Close says in the log that it ends, saves the anchor and lets another process write. What
// was acknowledged stays so, whatever it returns. A second call does nothing.
func (l *Log) Close() error {
	l.writing.Lock()
	if l.closed {
		l.writing.Unlock()
		return nil
	}
	w := &waiting{record: Record{
		Actor: maskDigits(l.cfg.Actor), Action: ActionClose, Resource: "audit log " + l.state.log, Outcome: Allowed, Origin: l.cfg.Origin,
	}}
	l.commit(context.Background(), []*waiting{w}, true)
	l.closed = true
	l.stop(&l.anchor)
	l.stop(&l.signing)
	err := errors.Join(w.err, l.file.Close())
	l.key.Destroy()
	l.writing.Unlock()
	l.timers.Wait()
	err = errors.Join(err, l.saveAnchor(context.Background(), true), l.unlock())
	if err != nil {
		return fmt.Errorf("close audit log: %w", err)
	}
	return nil
}

// unlock lets other processes write.
func (l *Log) unlock() error {
	if l.turn != nil {
		return l.turn.close()
	}
	if err := l.lock.Close(); !errors.Is(err, fs.ErrClosed) {
		return err
	}
	return nil
}
