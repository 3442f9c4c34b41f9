package kinesistest

import (
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	region    = "eu-west-1"
	arnPrefix = "arn:aws:kinesis:" + region + ":123456789012:stream/"
)

type stream struct {
	name      string
	shards    []*shard // in order of their ids
	active    time.Time
	updating  bool
	consumers map[string]*consumer
}

type shard struct {
	id              string
	parents         []string
	children        []*shard
	low, high       *big.Int // hash keys, inclusive
	start, end      string   // sequence numbers; end only when closed
	closed          time.Time
	records         []record // those not trimmed
	last            string   // sequence number, of a record that may have been trimmed
	put             chan struct{}
	subscribedAt    map[string]time.Time // by consumer
	subscriptionEnd map[string]chan struct{}
}

type record struct {
	seq     string
	key     string
	data    []byte
	arrival time.Time
}

func (r *record) size() int { return len(r.data) + len(r.key) }

// maxHash is the highest hash key: 2^128 - 1.
func maxHash() *big.Int {
	m := new(big.Int).Lsh(big.NewInt(1), 128)
	return m.Sub(m, big.NewInt(1))
}

// sequence returns the next sequence number: 56 digits, as the service's are, with gaps.
func (s *Server) sequence() string {
	s.last += 1 + (s.last*2862933555777941757+3037000493)>>44&0xfffff
	return fmt.Sprintf("49%054d", s.last)
}

func (s *Server) addShard(st *stream, low, high *big.Int, parents ...*shard) *shard {
	sh := &shard{
		id: fmt.Sprintf("shardId-%012d", len(st.shards)), low: low, high: high, start: s.sequence(),
		put: make(chan struct{}), subscribedAt: map[string]time.Time{}, subscriptionEnd: map[string]chan struct{}{},
	}
	for _, p := range parents {
		sh.parents = append(sh.parents, p.id)
		p.children = append(p.children, sh)
	}
	st.shards = append(st.shards, sh)
	return sh
}

// close ends the shard. Subscriptions see it when its children are there.
func (s *Server) close(sh *shard) {
	sh.end, sh.closed = s.sequence(), s.cfg.Now()
}

func (sh *shard) notify() {
	close(sh.put)
	sh.put = make(chan struct{})
}

// trim forgets what is older than the retention.
func (s *Server) trim(sh *shard) {
	horizon := s.cfg.Now().Add(-s.cfg.Retention)
	n := 0
	for n < len(sh.records) && sh.records[n].arrival.Before(horizon) {
		n++
	}
	sh.records = sh.records[n:]
}

// listed reports whether the shard is open or may still hold records.
func (s *Server) listed(sh *shard) bool {
	return sh.closed.IsZero() || s.cfg.Now().Sub(sh.closed) < s.cfg.Retention
}

// Trim makes the n oldest records of a shard expire.
func (s *Server) Trim(streamName, shardID string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sh := range s.streams[streamName].shards {
		if sh.id == shardID {
			sh.records = sh.records[min(n, len(sh.records)):]
		}
	}
}

// Shards returns the ids of the stream's open shards.
func (s *Server) Shards(streamName string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []string
	for _, sh := range s.streams[streamName].shards {
		if sh.closed.IsZero() {
			ids = append(ids, sh.id)
		}
	}
	return ids
}

// stream finds a stream by name or ARN, which must agree if both are given.
func (s *Server) stream(name, arn string) (*stream, error) {
	if arn != "" {
		byARN, ok := strings.CutPrefix(arn, arnPrefix)
		if !ok || name != "" && name != byARN {
			return nil, refuse(invalidArgument, "invalid StreamARN")
		}
		name = byARN
	}
	if name == "" {
		return nil, refuse(invalidArgument, "StreamName or StreamARN is required")
	}
	st := s.streams[name]
	if st == nil {
		return nil, refuse(notFound, "stream %s not found", name)
	}
	return st, nil
}

func (s *Server) status(st *stream) string {
	switch {
	case !s.cfg.Now().Before(st.active):
		return "ACTIVE"
	case st.updating:
		return "UPDATING"
	}
	return "CREATING"
}

// shard finds a shard that has not vanished.
func (s *Server) shard(st *stream, id string) (*shard, error) {
	for _, sh := range st.shards {
		if sh.id == id && s.listed(sh) {
			s.trim(sh)
			return sh, nil
		}
	}
	return nil, refuse(notFound, "shard %s in stream %s does not exist", id, st.name)
}

type createStreamIn struct {
	StreamName string
	ShardCount int
}

var nameForm = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,128}$`)

func (s *Server) createStream(in *createStreamIn) (any, error) {
	if err := s.rate("CreateStream", "", 5); err != nil {
		return nil, err
	}
	if !nameForm.MatchString(in.StreamName) || in.ShardCount < 1 || in.ShardCount > 10_000 {
		return nil, refuse(validation, "invalid StreamName or ShardCount")
	}
	if s.streams[in.StreamName] != nil {
		return nil, refuse(inUse, "stream %s already exists", in.StreamName)
	}
	st := &stream{name: in.StreamName, active: s.cfg.Now().Add(s.cfg.Transition), consumers: map[string]*consumer{}}
	for _, r := range uniform(in.ShardCount) {
		s.addShard(st, r[0], r[1])
	}
	s.streams[in.StreamName] = st
	return struct{}{}, nil
}

// uniform divides the hash keys into n ranges.
func uniform(n int) [][2]*big.Int {
	size := new(big.Int).Div(new(big.Int).Add(maxHash(), big.NewInt(1)), big.NewInt(int64(n)))
	out := make([][2]*big.Int, n)
	for i := range out {
		low := new(big.Int).Mul(size, big.NewInt(int64(i)))
		high := new(big.Int).Add(low, size)
		high.Sub(high, big.NewInt(1))
		if i == n-1 {
			high = maxHash()
		}
		out[i] = [2]*big.Int{low, high}
	}
	return out
}

type streamIn struct{ StreamName, StreamARN string }

func (s *Server) describeStreamSummary(in *streamIn) (any, error) {
	if err := s.rate("DescribeStreamSummary", "", 20); err != nil {
		return nil, err
	}
	st, err := s.stream(in.StreamName, in.StreamARN)
	if err != nil {
		return nil, err
	}
	open := 0
	for _, sh := range st.shards {
		if sh.closed.IsZero() {
			open++
		}
	}
	return map[string]any{"StreamDescriptionSummary": map[string]any{
		"StreamName": st.name, "StreamARN": arnPrefix + st.name, "StreamStatus": s.status(st),
		"OpenShardCount": open, "RetentionPeriodHours": int(s.cfg.Retention / time.Hour),
		"ConsumerCount": len(st.consumers), "StreamCreationTimestamp": 0, "EnhancedMonitoring": []any{},
	}}, nil
}

type listShardsIn struct {
	StreamName, StreamARN, NextToken, ExclusiveStartShardId string
	MaxResults                                              int
}

// page is the content of a NextToken.
type page struct {
	Stream, After string
	Made          int64
}

func (s *Server) listShards(in *listShardsIn) (any, error) {
	after := in.ExclusiveStartShardId
	if in.NextToken != "" {
		if in.StreamName+in.StreamARN+after != "" {
			return nil, refuse(invalidArgument, "NextToken and StreamName cannot be provided together")
		}
		var p page
		if err := json.Unmarshal([]byte(in.NextToken), &p); err != nil {
			return nil, refuse(invalidArgument, "invalid NextToken")
		}
		if s.cfg.Now().Sub(time.UnixMilli(p.Made)) >= 5*time.Minute {
			return nil, refuse(expiredToken, "NextToken expired")
		}
		in.StreamName, after = p.Stream, p.After
	}
	st, err := s.stream(in.StreamName, in.StreamARN)
	if err != nil {
		return nil, err
	}
	if err := s.rate("ListShards", st.name, 1000); err != nil {
		return nil, err
	}
	if s.status(st) == "CREATING" {
		return nil, refuse(inUse, "stream %s is being created", st.name)
	}
	most := s.cfg.PageShards
	if in.MaxResults > 0 {
		most = min(most, in.MaxResults)
	}
	shards := []any{}
	out := map[string]any{}
	for _, sh := range st.shards {
		if sh.id <= after || !s.listed(sh) {
			continue
		}
		if len(shards) == most {
			token, err := json.Marshal(page{st.name, after, s.cfg.Now().UnixMilli()})
			if err != nil {
				return nil, err
			}
			out["NextToken"] = string(token)
			break
		}
		shards = append(shards, describe(sh))
		after = sh.id
	}
	out["Shards"] = shards
	return out, nil
}

func hashRange(sh *shard) map[string]string {
	return map[string]string{"StartingHashKey": sh.low.String(), "EndingHashKey": sh.high.String()}
}

func describe(sh *shard) map[string]any {
	sequences := map[string]string{"StartingSequenceNumber": sh.start}
	if sh.end != "" {
		sequences["EndingSequenceNumber"] = sh.end
	}
	d := map[string]any{"ShardId": sh.id, "HashKeyRange": hashRange(sh), "SequenceNumberRange": sequences}
	for i, p := range sh.parents {
		d[[...]string{"ParentShardId", "AdjacentParentShardId"}[i]] = p
	}
	return d
}

func childShards(sh *shard) []any {
	var out []any
	for _, c := range sh.children {
		out = append(out, map[string]any{"ShardId": c.id, "ParentShards": slices.Clone(c.parents), "HashKeyRange": hashRange(c)})
	}
	return out
}
