package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/cardlake/cardlake/keys"
)

// defaultTurnWait is how long Append waits for the other processes of a shared log.
const defaultTurnWait = 5 * time.Second

// OpenShared opens the log in the folder dir as [Open] does, for this process and others of
// the machine: a command beside a service. Each takes the log's lock for a batch of lines.
// While nobody else writes, a process goes on in its own segment; otherwise it follows the
// chain through what the others wrote, and begins a new segment behind it: no process writes
// into another's, whose key it does not have. A segment that is not as the process left it
// gives [ErrChanged], and so does a chain that does not hold.
//
// The log is signed unless Config.Unsigned says otherwise: each process that ends, and each that
// has written for a minute, leaves a checkpoint.
//
// Append returns [ErrLocked] when its turn does not come within Config.LockWait, and nothing
// was written then.
func OpenShared(ctx context.Context, dir string, provider keys.Provider, cfg Config) (_ *Log, err error) {
	if cfg.Actor == "" {
		return nil, errors.New("audit log: Actor is missing")
	}
	if cfg.Signer == nil && !cfg.Unsigned {
		if cfg.Signer, err = OpenSigner(ctx, dir, provider); err != nil {
			return nil, err
		}
	}
	l := &Log{dir: dir, keys: provider, cfg: cfg.withDefaults()}
	if l.cfg.LockWait == 0 {
		l.cfg.LockWait = defaultTurnWait
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	if l.turn, err = newTurn(dir); err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("audit log %s: %w", dir, err), l.turn.close())
		}
	}()
	l.writing.Lock()
	if err = l.turn.take(ctx, l.cfg.LockWait); err == nil {
		err = l.restart(ctx, ActionOpen)
		l.turn.release()
	}
	l.writing.Unlock()
	if err != nil {
		return nil, err
	}
	if err = l.saveAnchor(ctx, false); err != nil {
		_ = l.file.Close()
		l.key.Destroy()
		return nil, err
	}
	return l, nil
}

// restart finds the end of the chain and begins a segment there. The caller holds writing and
// has the log's turn.
func (l *Log) restart(ctx context.Context, action string) error {
	number, before := l.number, l.state
	torn, err := l.recover(ctx)
	if err == nil {
		err = l.begin(ctx, action, torn)
	}
	if err != nil {
		l.number, l.state = number, before
	}
	return err
}

// enter waits for the log's turn and sees to it that the segment is this process's and the
// last. After nil, leave must follow. The caller holds writing.
func (l *Log) enter(ctx context.Context) error {
	if l.turn == nil || l.closed {
		return nil
	}
	if !l.turn.isHeld {
		// The others of the batch wait too, so it does not end with the first one's context.
		if err := l.turn.take(context.WithoutCancel(ctx), l.cfg.LockWait); err != nil {
			return err
		}
	}
	if err := l.catchUp(ctx); err != nil {
		l.leave()
		return err
	}
	return nil
}

// leave gives the turn to others, unless the segment's end may hold what was refused: nobody
// may go on behind that.
func (l *Log) leave() {
	if l.turn != nil && !l.dirty {
		l.turn.release()
	}
}

// catchUp follows the chain through what other processes wrote since this one did, and
// begins a segment behind it. If nobody did it does nothing.
func (l *Log) catchUp(ctx context.Context) error {
	if l.dirty {
		return nil // the turn was never given away
	}
	info, err := os.Stat(filepath.Join(l.dir, segmentName(l.number)))
	if errors.Is(err, fs.ErrNotExist) {
		// It was pruned while this process was idle, or taken away: the anchor knows which end
		// the chain has.
		l.cfg.Log.Warn("a segment of the audit log is gone that this process wrote", "log", l.dir, "segment", segmentName(l.number))
		return l.restart(ctx, ActionResume)
	}
	if err != nil {
		return err
	}
	if !os.SameFile(info, l.info) || info.Size() != l.size {
		return fmt.Errorf("%w: %s is not as it was left", ErrChanged, segmentName(l.number))
	}
	if _, err := os.Lstat(filepath.Join(l.dir, segmentName(l.number+1))); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	number, before := l.number, l.state
	torn, err := l.follow()
	if err == nil && l.number == number {
		return nil // what followed was no segment yet, and is removed
	}
	if err == nil {
		err = l.begin(ctx, ActionResume, torn)
	}
	if err != nil {
		l.number, l.state = number, before
	}
	return err
}

// follow moves number and state to the last whole line behind this process's own, and cuts
// off what a writer that died left behind it.
func (l *Log) follow() (torn int64, err error) {
	for {
		number := l.number + 1
		name := segmentName(number)
		path := filepath.Join(l.dir, name)
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			return torn, nil
		}
		end, found, err := scanSegment(l.dir, number, Head{})
		if err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
		_, err = os.Lstat(filepath.Join(l.dir, segmentName(number+1)))
		isLast := errors.Is(err, fs.ErrNotExist)
		switch {
		case (!found || end.torn > 0) && !isLast:
			return 0, fmt.Errorf("%w: %s ends early", ErrChanged, name)
		case !found:
			return torn + end.torn, os.Remove(path)
		case end.prev != l.state.hash || end.log != l.state.log:
			return 0, fmt.Errorf("%w: %s does not follow the segment before it", ErrChanged, name)
		}
		if end.torn > 0 {
			if err := cut(path, end.size); err != nil {
				return 0, err
			}
		}
		torn += end.torn
		l.number, l.state = number, end.state
	}
}

// turn is the right to write a shared log. It is two locks: who has waited for the first is
// the next to get the second, so that a process that writes all the time, and would be there
// again at once, does not keep the others out.
type turn struct {
	next, now *os.File
	isHeld    bool
}

func newTurn(dir string) (*turn, error) {
	var t turn
	var err error
	if t.next, err = openLock(dir, turnName); err != nil {
		return nil, err
	}
	if t.now, err = openLock(dir, lockName); err != nil {
		return nil, errors.Join(err, t.next.Close())
	}
	return &t, nil
}

// take waits for the turn, at most so long; ErrLocked if it does not come.
func (t *turn) take(ctx context.Context, wait time.Duration) error {
	until := time.Now().Add(wait)
	if err := lockFile(ctx, t.next, until); err != nil {
		return err
	}
	err := lockFile(ctx, t.now, until)
	t.isHeld = err == nil
	return errors.Join(err, unlockFile(t.next))
}

func (t *turn) release() {
	t.isHeld = false
	_ = unlockFile(t.now) // a descriptor that is open and locked: it can't fail
}

func (t *turn) close() error { return errors.Join(t.next.Close(), t.now.Close()) }

// takeLock takes a lock of the folder, which ends with the process or the file.
func takeLock(ctx context.Context, dir, name string, wait time.Duration) (*os.File, error) {
	f, err := openLock(dir, name)
	if err != nil {
		return nil, err
	}
	if err := lockFile(ctx, f, time.Now().Add(wait)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func openLock(dir, name string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE, 0o600)
}

// Whoever waits for a lock looks at it often at first, and then every lockPoll: an fsync of
// another's lasts about a millisecond, a process that has a log for itself lasts long.
const (
	firstPoll = 50 * time.Microsecond
	lockPoll  = 20 * time.Millisecond
)

// lockFile waits for the file's lock until then: flock(2), which the kernel takes back when
// the process ends, however it does.
func lockFile(ctx context.Context, f *os.File, until time.Time) error {
	for poll := firstPoll; ; poll = min(2*poll, lockPoll) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, syscall.EINTR):
			continue
		case !errors.Is(err, syscall.EWOULDBLOCK):
			return fmt.Errorf("lock: %w", err)
		case !time.Now().Before(until):
			return ErrLocked
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(poll):
		}
	}
}

func unlockFile(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }
