package kinesistest

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"strings"
	"time"
)

const (
	maxGetRecords = 10_000
	maxGetBytes   = 10 << 20
	getCalls      = 5       // a second and shard
	readBytes     = 2 << 20 // a second and shard, or consumer and shard
)

// cursor is a place between two records of a shard: behind all that are lower than Seq, and
// behind Seq's own if After.
type cursor struct {
	Stream, Shard, Seq string
	After              bool
	Made               int64 // Unix ms
}

func (c cursor) String() string {
	text, _ := json.Marshal(c) // strings and numbers only
	return base64.StdEncoding.EncodeToString(text)
}

type startIn struct {
	Type, SequenceNumber string
	Timestamp            float64 // Unix s
}

// cursor finds where a reader asks to begin.
func (s *Server) cursor(st *stream, sh *shard, in startIn) (cursor, error) {
	c := cursor{Stream: st.name, Shard: sh.id, Made: s.cfg.Now().UnixMilli()}
	switch in.Type {
	case "TRIM_HORIZON":
	case "LATEST":
		c.Seq, c.After = sh.last, true
	case "AT_TIMESTAMP":
		if in.Timestamp <= 0 || in.Timestamp > float64(s.cfg.Now().UnixMilli())/1000 {
			return c, refuse(invalidArgument, "invalid Timestamp")
		}
		sec, frac := math.Modf(in.Timestamp)
		from := time.Unix(int64(sec), int64(frac*1e3+.5)*1e6)
		c.Seq, c.After = sh.last, true
		for i := range sh.records {
			if r := &sh.records[i]; !r.arrival.Before(from) {
				c.Seq, c.After = r.seq, false
				break
			}
		}
	case "AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER":
		seq := in.SequenceNumber
		if len(seq) != len(sh.start) || strings.Trim(seq, "0123456789") != "" || seq < sh.start || seq > s.newest(sh) {
			return c, refuse(invalidArgument, "StartingSequenceNumber of shard %s in stream %s did not come from this stream", sh.id, st.name)
		}
		c.Seq, c.After = seq, in.Type == "AFTER_SEQUENCE_NUMBER"
	default:
		return c, refuse(validation, "invalid type of position")
	}
	return c, nil
}

// newest is the highest sequence number of the shard so far.
func (s *Server) newest(sh *shard) string {
	return max(sh.start, sh.end, sh.last)
}

// from returns the index of the first record behind the cursor.
func (sh *shard) from(c cursor) int {
	i := 0
	for i < len(sh.records) && (sh.records[i].seq < c.Seq || c.After && sh.records[i].seq == c.Seq) {
		i++
	}
	return i
}

// fetch returns records behind the cursor as the service writes them, moves it, and says how
// far it is from the tip.
func (s *Server) fetch(sh *shard, c *cursor, records, bytes int) (out []any, size int, behind int64) {
	s.trim(sh)
	out = []any{}
	i := sh.from(*c)
	for ; i < len(sh.records) && len(out) < min(records, s.cfg.AnswerRecords); i++ {
		r := &sh.records[i]
		if size > 0 && size+r.size() > bytes {
			break
		}
		size += r.size()
		out = append(out, map[string]any{
			"SequenceNumber": r.seq, "PartitionKey": r.key, "Data": r.data,
			"ApproximateArrivalTimestamp": float64(r.arrival.UnixMilli()) / 1000, "EncryptionType": "NONE",
		})
		c.Seq, c.After = r.seq, true
	}
	if i < len(sh.records) {
		behind = max(1, s.cfg.Now().Sub(sh.records[i].arrival).Milliseconds())
	}
	return out, size, behind
}

// exhausted reports whether the shard is closed and has nothing behind the cursor.
func (sh *shard) exhausted(c cursor) bool {
	return !sh.closed.IsZero() && sh.from(c) == len(sh.records)
}

type getShardIteratorIn struct {
	StreamName, StreamARN, ShardId, ShardIteratorType, StartingSequenceNumber string
	Timestamp                                                                 float64
}

func (s *Server) getShardIterator(in *getShardIteratorIn) (any, error) {
	st, err := s.stream(in.StreamName, in.StreamARN)
	if err != nil {
		return nil, err
	}
	sh, err := s.shard(st, in.ShardId)
	if err != nil {
		return nil, err
	}
	if !s.allow("GetShardIterator "+st.name+" "+sh.id, 1, getCalls, getCalls) {
		return nil, refuse(throughput, tooMuch, sh.id, st.name)
	}
	c, err := s.cursor(st, sh, startIn{in.ShardIteratorType, in.StartingSequenceNumber, in.Timestamp})
	if err != nil {
		return nil, err
	}
	return map[string]string{"ShardIterator": c.String()}, nil
}

type getRecordsIn struct {
	ShardIterator, StreamARN string
	Limit                    *int
}

func (s *Server) getRecords(in *getRecordsIn) (any, error) {
	var c cursor
	text, err := base64.StdEncoding.DecodeString(in.ShardIterator)
	if err != nil || json.Unmarshal(text, &c) != nil {
		return nil, refuse(invalidArgument, "invalid ShardIterator")
	}
	if age := s.cfg.Now().Sub(time.UnixMilli(c.Made)); age >= s.cfg.IteratorAge {
		return nil, refuse(expiredIterator, "iterator expired: it is %v old", age)
	}
	limit := maxGetRecords
	if in.Limit != nil {
		if limit = *in.Limit; limit < 1 || limit > maxGetRecords {
			return nil, refuse(invalidArgument, "invalid Limit")
		}
	}
	st, err := s.stream(c.Stream, in.StreamARN)
	if err != nil {
		return nil, err
	}
	sh, err := s.shard(st, c.Shard)
	if err != nil {
		return nil, err
	}
	key := st.name + " " + sh.id
	// What a call returned is a debt that the shard's rate of reading pays off.
	if debt := s.refill("read "+key, readBytes, 0); !s.cfg.Unlimited && debt.tokens < 0 || !s.allow("GetRecords "+key, 1, getCalls, getCalls) {
		return nil, refuse(throughput, tooMuch, sh.id, st.name)
	}
	records, size, behind := s.fetch(sh, &c, limit, maxGetBytes)
	s.refill("read "+key, readBytes, 0).tokens -= float64(size)
	out := map[string]any{"Records": records, "MillisBehindLatest": behind}
	if sh.exhausted(c) {
		out["ChildShards"] = childShards(sh)
	} else {
		c.Made = s.cfg.Now().UnixMilli()
		out["NextShardIterator"] = c.String()
	}
	return out, nil
}
