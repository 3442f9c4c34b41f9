package audit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Names in a line of ActionPrune.
const (
	pruneSegment = "through_segment"
	pruneSeq     = "through_seq"
	pruneHash    = "hash"
)

// Closed is a segment that nothing is added to any more.
type Closed struct {
	Number int
	Head   Head // its last line
	Ended  time.Time
}

// Prune removes the oldest segments of the log's folder whose last line is older than before,
// as long as mayGo returns nil: it says that a copy elsewhere was compared. It never removes
// the segment that is being written. The log is verified up to there first, and says in a line
// of its own which segments are gone before they are: whoever reads it later can tell pruning
// from theft. PCI DSS 4.0.1 requirement 10.5.1 wants twelve months of history, of which three
// are at hand: before is to be no younger than 90 days.
//
// It returns the segments that were removed. A second call goes on where a process died.
func (l *Log) Prune(ctx context.Context, before time.Time, cfg VerifyConfig, mayGo func(context.Context, Closed) error) ([]Closed, error) {
	gone, err := l.prune(ctx, before, cfg, mayGo)
	if err != nil {
		return gone, fmt.Errorf("prune audit log: %w", err)
	}
	return gone, nil
}

func (l *Log) prune(ctx context.Context, before time.Time, cfg VerifyConfig, mayGo func(context.Context, Closed) error) ([]Closed, error) {
	all, err := closedSegments(ctx, Dir(l.dir), cfg)
	if err != nil {
		return nil, err
	}
	var old []Closed
	var refused error
	for _, c := range all {
		if !c.Ended.Before(before) {
			break
		}
		if refused = mayGo(ctx, c); refused != nil {
			refused = fmt.Errorf("%s stays: %w", segmentName(c.Number), refused)
			break
		}
		old = append(old, c)
	}
	if len(old) == 0 {
		return nil, refused
	}
	last := old[len(old)-1]
	r := Record{
		Actor: l.cfg.Actor, Action: ActionPrune, Resource: "audit log " + last.Head.Log, Outcome: Allowed, Origin: l.cfg.Origin,
		Reason:  "older than " + before.UTC().Format(time.RFC3339) + ", and compared with the copy",
		Numbers: map[string]int64{pruneSegment: int64(last.Number), pruneSeq: int64(last.Head.Seq)},
		Detail:  map[string]string{pruneHash: last.Head.Hash},
	}
	if err := l.Append(ctx, r); err != nil {
		return nil, err
	}
	for i, c := range old {
		if err := os.Remove(filepath.Join(l.dir, segmentName(c.Number))); err != nil {
			return old[:i], err
		}
	}
	return old, errors.Join(refused, syncDir(l.dir))
}

// closedSegments verifies a log and lists its segments but the last.
func closedSegments(ctx context.Context, from Segments, cfg VerifyConfig) ([]Closed, error) {
	t := TailOf(from, cfg)
	defer t.Close()
	var all []Closed
	err := t.Each(ctx, func(l Line) bool {
		if l.Entry.Segment != nil {
			all = append(all, Closed{Number: l.Segment})
		}
		all[len(all)-1].Head, all[len(all)-1].Ended = l.Head(), l.Time
		return true
	})
	if err != nil {
		return nil, err
	}
	if r := t.End(); r.Break != nil {
		return nil, fmt.Errorf("%w: %s", ErrBreak, r.Break)
	}
	return all[:max(len(all)-1, 0)], nil
}
