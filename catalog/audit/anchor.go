package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Anchor keeps the head of one log where whoever can cut the log can't reach: another
// machine, another account, a bucket whose objects are locked.
type Anchor interface {
	// Load returns the head saved last, the zero Head if there is none.
	Load(ctx context.Context) (Head, error)
	// Save replaces the head.
	Save(ctx context.Context, head Head) error
}

// FileAnchor is an anchor in a file of this path. It is worth as much as the file is out of
// reach: on another volume, or carried off by a backup that keeps versions.
type FileAnchor string

// Load implements Anchor.
func (a FileAnchor) Load(context.Context) (Head, error) {
	text, err := os.ReadFile(string(a))
	if errors.Is(err, fs.ErrNotExist) {
		return Head{}, nil
	}
	if err != nil {
		return Head{}, err
	}
	var h Head
	if err := json.Unmarshal(text, &h); err != nil || h.Log == "" || h.Seq == 0 || len(h.Hash) != hashLen {
		return Head{}, fmt.Errorf("%s is not the anchor of an audit log", string(a))
	}
	return h, nil
}

// Save implements Anchor. It replaces the file in one step.
func (a FileAnchor) Save(_ context.Context, head Head) error {
	text, err := json.Marshal(head)
	if err != nil {
		return err
	}
	dir := filepath.Dir(string(a))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, ".anchor-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(append(text, '\n'))
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), string(a)); err != nil {
		return err
	}
	return syncDir(dir)
}

// anchorTimeout bounds how long an anchor may take.
const anchorTimeout = 10 * time.Second

// armAnchor has the head anchored a little later, off the path of those who append. The
// caller holds writing.
func (l *Log) armAnchor() {
	if l.cfg.Anchor == nil {
		return
	}
	l.arm(&l.anchor, l.cfg.AnchorAfter, func() {
		if err := l.saveAnchor(context.Background(), false); err != nil {
			l.cfg.Log.Error("the audit log's head is not anchored", "log", l.dir, "error", err)
		}
	})
}

// saveAnchor anchors the head, once the log is closed only for the one that closes it: a
// timer that is late must not put an old head over that of the next writer. Closing takes
// the same lock, and so waits for a timer that is at it. Processes that share a log take
// turns, and none puts its head over a newer one of another.
func (l *Log) saveAnchor(ctx context.Context, isClosing bool) error {
	if l.cfg.Anchor == nil {
		return nil
	}
	l.anchoring.Lock()
	defer l.anchoring.Unlock()
	l.writing.Lock()
	head := Head{Log: l.state.log, Seq: l.state.seq, Hash: l.state.hash}
	isOver := l.closed && !isClosing
	l.writing.Unlock()
	if isOver {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), anchorTimeout)
	defer cancel()
	if l.turn != nil {
		lock, err := takeLock(ctx, l.dir, anchorLockName, anchorTimeout)
		if err != nil {
			return fmt.Errorf("save anchor: %w", err)
		}
		defer lock.Close()
		saved, err := l.cfg.Anchor.Load(ctx)
		if err != nil {
			return fmt.Errorf("save anchor: %w", err)
		}
		if err := l.followed(saved, head); err != nil {
			return fmt.Errorf("save anchor: %w", err)
		}
		if saved.Log == head.Log && saved.Seq >= head.Seq {
			return nil
		}
	}
	if err := l.cfg.Anchor.Save(ctx, head); err != nil {
		return fmt.Errorf("save anchor: %w", err)
	}
	l.writing.Lock()
	l.anchored = head
	l.writing.Unlock()
	return nil
}

// followed returns ErrTruncated unless the chain has the head that another process of a shared
// log anchored. What it wrote may have been taken away while this one was idle, whose own
// segment shows nothing of it: an anchor that was put over it would make that forgotten. From
// then on nothing is appended.
func (l *Log) followed(saved, head Head) error {
	l.writing.Lock()
	known := l.anchored
	l.writing.Unlock()
	if saved == (Head{}) || saved == known || saved == head {
		return nil
	}
	err := holds(l.dir, saved, head.Log)
	l.writing.Lock()
	defer l.writing.Unlock()
	switch {
	case err == nil:
		l.anchored = saved
	case errors.Is(err, ErrTruncated):
		l.lost = err
	}
	return err
}

// holds returns ErrTruncated unless the log in the folder has the line of the head, or has
// pruned it.
func holds(dir string, h Head, log string) error {
	if h.Log != log {
		return fmt.Errorf("%w: the anchor is another log's", ErrTruncated)
	}
	numbers, err := segmentsIn(dir)
	if err != nil {
		return err
	}
	isBeyond := false // whether a line was seen that is as new
	for i := len(numbers) - 1; i >= 0; i-- {
		end, found, err := scanSegment(dir, numbers[i], h)
		switch {
		case errors.Is(err, fs.ErrNotExist) || err == nil && !found: // pruned, or not begun
			continue
		case err != nil:
			return fmt.Errorf("%s: %w", segmentName(numbers[i]), err)
		case end.seq >= h.Seq:
			isBeyond = true
		case !isBeyond:
			return fmt.Errorf("%w: its last line is number %d, the anchor's %d", ErrTruncated, end.seq, h.Seq)
		default:
			return nil
		}
	}
	return nil
}

// timer is one thing that a log does later. It is guarded by Log.writing.
type timer struct{ armed *time.Timer }

// arm has do called after the time, unless t is armed already. The caller holds writing.
func (l *Log) arm(t *timer, after time.Duration, do func()) {
	if t.armed != nil || l.closed {
		return
	}
	l.timers.Add(1)
	t.armed = time.AfterFunc(after, func() {
		defer l.timers.Done()
		l.writing.Lock()
		t.armed = nil
		l.writing.Unlock()
		do()
	})
}

// stop takes an armed timer back, unless it is at it. The caller holds writing.
func (l *Log) stop(t *timer) {
	if t.armed != nil && t.armed.Stop() {
		l.timers.Done()
	}
	t.armed = nil
}
