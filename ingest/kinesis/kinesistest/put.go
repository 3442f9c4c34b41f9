package kinesistest

import (
	"crypto/md5"
	"math/big"
)

const (
	maxPutRecords = 500
	maxPutBytes   = 10 << 20
	writeRecords  = 1000    // a second and shard
	writeBytes    = 1 << 20 // a second and shard
	maxKey        = 256
)

type putRecordIn struct {
	StreamName, StreamARN, PartitionKey, ExplicitHashKey, SequenceNumberForOrdering string
	Data                                                                            []byte
}

type putEntry struct {
	PartitionKey, ExplicitHashKey string
	Data                          []byte
}

type putRecordsIn struct {
	StreamName, StreamARN string
	Records               []putEntry
}

// hashKey is where the record belongs: the MD5 of its key, unless it says.
func (s *Server) hashKey(e *putEntry) (*big.Int, error) {
	if e.PartitionKey == "" || len([]rune(e.PartitionKey)) > maxKey {
		return nil, refuse(validation, "PartitionKey has no or more than %d characters", maxKey)
	}
	if len(e.Data)+len(e.PartitionKey) > s.cfg.MaxRecordBytes {
		return nil, refuse(validation, "Data and PartitionKey have more than %d bytes", s.cfg.MaxRecordBytes)
	}
	if e.ExplicitHashKey == "" {
		sum := md5.Sum([]byte(e.PartitionKey))
		return new(big.Int).SetBytes(sum[:]), nil
	}
	h, ok := new(big.Int).SetString(e.ExplicitHashKey, 10)
	if !ok || h.Sign() < 0 || h.Cmp(maxHash()) > 0 {
		return nil, refuse(invalidArgument, "invalid ExplicitHashKey")
	}
	return h, nil
}

// put stores one record, or returns nil if its shard has had too much.
func (s *Server) put(st *stream, e *putEntry, hash *big.Int) (*shard, *record) {
	for _, sh := range st.shards {
		if !sh.closed.IsZero() || hash.Cmp(sh.low) < 0 || hash.Cmp(sh.high) > 0 {
			continue
		}
		key, size := st.name+" "+sh.id, float64(len(e.Data)+len(e.PartitionKey))
		if !s.cfg.Unlimited && s.refill("records "+key, writeRecords, writeRecords).tokens < 1 ||
			!s.allow("bytes "+key, size, writeBytes, writeBytes) {
			return sh, nil
		}
		s.allow("records "+key, 1, writeRecords, writeRecords)
		s.trim(sh)
		sh.records = append(sh.records, record{s.sequence(), e.PartitionKey, e.Data, s.cfg.Now()})
		r := &sh.records[len(sh.records)-1]
		sh.last = r.seq
		sh.notify()
		return sh, r
	}
	return nil, nil
}

const tooMuch = "rate exceeded for shard %s in stream %s"

func (s *Server) putRecord(in *putRecordIn) (any, error) {
	st, err := s.stream(in.StreamName, in.StreamARN)
	if err != nil {
		return nil, err
	}
	e := putEntry{in.PartitionKey, in.ExplicitHashKey, in.Data}
	hash, err := s.hashKey(&e)
	if err != nil {
		return nil, err
	}
	if s.status(st) == "CREATING" {
		return nil, refuse(notFound, "stream %s is being created", st.name)
	}
	sh, r := s.put(st, &e, hash)
	if r == nil {
		return nil, refuse(throughput, tooMuch, sh.id, st.name)
	}
	return map[string]string{"ShardId": sh.id, "SequenceNumber": r.seq}, nil
}

func (s *Server) putRecords(in *putRecordsIn) (any, error) {
	st, err := s.stream(in.StreamName, in.StreamARN)
	if err != nil {
		return nil, err
	}
	if len(in.Records) == 0 || len(in.Records) > maxPutRecords {
		return nil, refuse(validation, "%d records", len(in.Records))
	}
	hashes, size := make([]*big.Int, len(in.Records)), 0
	for i := range in.Records {
		if hashes[i], err = s.hashKey(&in.Records[i]); err != nil {
			return nil, err
		}
		size += len(in.Records[i].Data) + len(in.Records[i].PartitionKey)
	}
	if size > maxPutBytes {
		return nil, refuse(invalidArgument, "records have more than %d bytes", maxPutBytes)
	}
	if s.status(st) == "CREATING" {
		return nil, refuse(notFound, "stream %s is being created", st.name)
	}
	failed, results := 0, make([]map[string]string, len(in.Records))
	for i := range in.Records {
		sh, r := s.put(st, &in.Records[i], hashes[i])
		if r == nil {
			failed++
			results[i] = map[string]string{"ErrorCode": throughput, "ErrorMessage": refuse(throughput, tooMuch, sh.id, st.name).Error()}
			continue
		}
		results[i] = map[string]string{"ShardId": sh.id, "SequenceNumber": r.seq}
	}
	return map[string]any{"FailedRecordCount": failed, "Records": results}, nil
}
