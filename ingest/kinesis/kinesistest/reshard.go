package kinesistest

import (
	"math/big"
	"slices"
)

// change checks that the stream may be resharded, and begins to.
func (s *Server) change(operation, name, arn string) (*stream, error) {
	if err := s.rate(operation, "", 5); err != nil {
		return nil, err
	}
	st, err := s.stream(name, arn)
	if err != nil {
		return nil, err
	}
	if s.status(st) != "ACTIVE" {
		return nil, refuse(inUse, "stream %s is %s", st.name, s.status(st))
	}
	return st, nil
}

func (s *Server) changed(st *stream) {
	st.active, st.updating = s.cfg.Now().Add(s.cfg.Transition), true
}

func (s *Server) openShard(st *stream, id string) (*shard, error) {
	sh, err := s.shard(st, id)
	if err == nil && !sh.closed.IsZero() {
		err = refuse(invalidArgument, "shard %s is closed", id)
	}
	return sh, err
}

type splitShardIn struct {
	StreamName, StreamARN, ShardToSplit, NewStartingHashKey string
}

func (s *Server) splitShard(in *splitShardIn) (any, error) {
	st, err := s.change("SplitShard", in.StreamName, in.StreamARN)
	if err != nil {
		return nil, err
	}
	sh, err := s.openShard(st, in.ShardToSplit)
	if err != nil {
		return nil, err
	}
	at, ok := new(big.Int).SetString(in.NewStartingHashKey, 10)
	if !ok || at.Cmp(sh.low) <= 0 || at.Cmp(sh.high) > 0 {
		return nil, refuse(invalidArgument, "NewStartingHashKey is not inside shard %s", sh.id)
	}
	s.split(st, sh, at)
	s.changed(st)
	return struct{}{}, nil
}

func (s *Server) split(st *stream, sh *shard, at *big.Int) {
	s.close(sh)
	s.addShard(st, sh.low, new(big.Int).Sub(at, big.NewInt(1)), sh)
	s.addShard(st, at, sh.high, sh)
	sh.notify()
}

type mergeShardsIn struct {
	StreamName, StreamARN, ShardToMerge, AdjacentShardToMerge string
}

func (s *Server) mergeShards(in *mergeShardsIn) (any, error) {
	st, err := s.change("MergeShards", in.StreamName, in.StreamARN)
	if err != nil {
		return nil, err
	}
	a, err := s.openShard(st, in.ShardToMerge)
	if err != nil {
		return nil, err
	}
	b, err := s.openShard(st, in.AdjacentShardToMerge)
	if err != nil {
		return nil, err
	}
	if !adjacent(a, b) && !adjacent(b, a) {
		return nil, refuse(invalidArgument, "shards %s and %s are not adjacent", a.id, b.id)
	}
	s.merge(st, a, b)
	s.changed(st)
	return struct{}{}, nil
}

func adjacent(a, b *shard) bool {
	return new(big.Int).Add(a.high, big.NewInt(1)).Cmp(b.low) == 0
}

func (s *Server) merge(st *stream, a, b *shard) {
	s.close(a)
	s.close(b)
	low, high := a.low, b.high
	if b.low.Cmp(low) < 0 {
		low, high = b.low, a.high
	}
	s.addShard(st, low, high, a, b)
	a.notify()
	b.notify()
}

type updateShardCountIn struct {
	StreamName, StreamARN, ScalingType string
	TargetShardCount                   int
}

// updateShardCount splits at every border of the new ranges that is not one yet, then merges
// what lies within one range.
func (s *Server) updateShardCount(in *updateShardCountIn) (any, error) {
	st, err := s.change("UpdateShardCount", in.StreamName, in.StreamARN)
	if err != nil {
		return nil, err
	}
	open := st.open()
	if n := in.TargetShardCount; in.ScalingType != "UNIFORM_SCALING" || n < 1 || n > 2*len(open) || 2*n < len(open) {
		return nil, refuse(invalidArgument, "invalid ScalingType, or TargetShardCount is not between half and twice that of %d shards", len(open))
	}
	ranges := uniform(in.TargetShardCount)
	for _, r := range ranges {
		for _, sh := range st.open() {
			if sh.low.Cmp(r[0]) < 0 && r[0].Cmp(sh.high) <= 0 {
				s.split(st, sh, r[0])
			}
		}
	}
	for _, r := range ranges {
		for {
			var inside []*shard
			for _, sh := range st.open() {
				if sh.low.Cmp(r[0]) >= 0 && sh.high.Cmp(r[1]) <= 0 {
					inside = append(inside, sh)
				}
			}
			if len(inside) < 2 {
				break
			}
			s.merge(st, inside[0], inside[1])
		}
	}
	s.changed(st)
	return map[string]any{"StreamName": st.name, "CurrentShardCount": len(open), "TargetShardCount": in.TargetShardCount}, nil
}

// open returns the open shards in order of their hash keys.
func (st *stream) open() []*shard {
	var out []*shard
	for _, sh := range st.shards {
		if sh.closed.IsZero() {
			out = append(out, sh)
		}
	}
	slices.SortFunc(out, func(a, b *shard) int { return a.low.Cmp(b.low) })
	return out
}
