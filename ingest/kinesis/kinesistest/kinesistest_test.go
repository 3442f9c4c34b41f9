package kinesistest_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/schemas"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/transport/http/protocol/awsjson"

	"github.com/cardlake/cardlake/ingest/kinesis/kinesistest"
)

var name = aws.String("s")

// once makes the client return the first error.
func once(o *kinesis.Options) { o.RetryMaxAttempts = 1 }

// ownCodec keeps two subscriptions from sharing a decoder (aws/smithy-go issue 714).
func ownCodec(o *kinesis.Options) { o.Protocol = awsjson.New11(schemas.Kinesis_20131202) }

func open(t *testing.T, shards int32, cfg kinesistest.Config) (*kinesistest.Server, *kinesis.Client) {
	t.Helper()
	s := kinesistest.New(cfg)
	c := s.Client()
	if _, err := c.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: name, ShardCount: &shards}, once); err != nil {
		t.Fatal(err)
	}
	return s, c
}

// code is that of the service's error, empty for none.
func code(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	e, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		t.Fatalf("no error of the service: %v", err)
	}
	return e.ErrorCode()
}

func put(t *testing.T, c *kinesis.Client, key string, size int) error {
	t.Helper()
	_, err := c.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: name, PartitionKey: &key, Data: make([]byte, size)}, once)
	return err
}

func iterator(t *testing.T, c *kinesis.Client, in kinesis.GetShardIteratorInput) (*string, error) {
	t.Helper()
	in.StreamName = name
	if in.ShardId == nil {
		in.ShardId = aws.String("shardId-000000000000")
	}
	out, err := c.GetShardIterator(t.Context(), &in, once)
	if err != nil {
		return nil, err
	}
	return out.ShardIterator, nil
}

func get(t *testing.T, c *kinesis.Client, it *string) (*kinesis.GetRecordsOutput, error) {
	t.Helper()
	return c.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: it}, once)
}

func mustGet(t *testing.T, c *kinesis.Client, in kinesis.GetShardIteratorInput) *kinesis.GetRecordsOutput {
	t.Helper()
	it, err := iterator(t, c, in)
	if err != nil {
		t.Fatal(err)
	}
	out, err := get(t, c, it)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestWriteLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := open(t, 1, kinesistest.Config{})
		const throttled = "ProvisionedThroughputExceededException"
		if got := code(t, put(t, c, "k", 1<<20)); got != "ValidationException" {
			t.Errorf("a record of 1 MiB and its key: %q", got)
		}
		if got := code(t, put(t, c, strings.Repeat("k", 257), 1)); got != "ValidationException" {
			t.Errorf("a key of 257 characters: %q", got)
		}
		if err := put(t, c, "k", 1<<20-1); err != nil {
			t.Errorf("a record of 1 MiB with its key: %v", err)
		}
		if got := code(t, put(t, c, "k", 1)); got != throttled {
			t.Errorf("more than 1 MiB in a second: %q", got)
		}
		time.Sleep(time.Second)
		in := &kinesis.PutRecordsInput{StreamName: name}
		for range 500 {
			in.Records = append(in.Records, types.PutRecordsRequestEntry{PartitionKey: aws.String("k"), Data: []byte("x")})
		}
		for i, want := range []int32{0, 0, 500} {
			out, err := c.PutRecords(t.Context(), in, once)
			if err != nil {
				t.Fatal(err)
			}
			if *out.FailedRecordCount != want || want > 0 && *out.Records[0].ErrorCode != throttled {
				t.Errorf("call %d: %d records failed, want %d", i, *out.FailedRecordCount, want)
			}
		}
		in.Records = append(in.Records, in.Records[0])
		_, err := c.PutRecords(t.Context(), in, once)
		if got := code(t, err); got != "ValidationException" {
			t.Errorf("501 records: %q", got)
		}
		in.Records = nil
		for range 11 {
			in.Records = append(in.Records, types.PutRecordsRequestEntry{PartitionKey: aws.String("k"), Data: make([]byte, 1<<20-1)})
		}
		_, err = c.PutRecords(t.Context(), in, once)
		if got := code(t, err); got != "InvalidArgumentException" {
			t.Errorf("11 MiB: %q", got)
		}
	})
}

func TestReadLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := open(t, 1, kinesistest.Config{})
		for range 12 {
			if err := put(t, c, "k", 1<<20-1); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		it, err := iterator(t, c, kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
		if err != nil {
			t.Fatal(err)
		}
		first, err := get(t, c, it)
		if err != nil || len(first.Records) != 10 || *first.MillisBehindLatest != 2000 {
			t.Fatalf("the first answer has %d records, %v", len(first.Records), err)
		}
		_, err = get(t, c, first.NextShardIterator)
		if got := code(t, err); got != "ProvisionedThroughputExceededException" {
			t.Errorf("after 10 MiB at once: %q", got)
		}
		time.Sleep(5 * time.Second)
		second, err := get(t, c, first.NextShardIterator)
		if err != nil || len(second.Records) != 2 || *second.MillisBehindLatest != 0 {
			t.Errorf("5 s later: %v, %v", second, err)
		}
		time.Sleep(10 * time.Second)
		for i := range 7 {
			_, err := get(t, c, second.NextShardIterator)
			if got := code(t, err); (got != "") != (i >= 5) {
				t.Errorf("call %d of one second: %q", i+1, got)
			}
		}
		time.Sleep(5 * time.Minute)
		_, err = get(t, c, second.NextShardIterator)
		if got := code(t, err); got != "ExpiredIteratorException" {
			t.Errorf("an iterator of 5 minutes: %q", got)
		}
	})
}

func TestIterators(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := open(t, 1, kinesistest.Config{Unlimited: true})
		var seqs []string
		begin := time.Now()
		for i := range 5 {
			out, err := c.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: name, PartitionKey: aws.String("k"), Data: fmt.Append(nil, i)})
			if err != nil {
				t.Fatal(err)
			}
			if len(*out.SequenceNumber) != 56 || i > 0 && *out.SequenceNumber <= seqs[i-1] {
				t.Errorf("sequence number %s after %v", *out.SequenceNumber, seqs)
			}
			seqs = append(seqs, *out.SequenceNumber)
			time.Sleep(time.Minute)
		}
		data := func(in kinesis.GetShardIteratorInput) (text string) {
			t.Helper()
			for _, r := range mustGet(t, c, in).Records {
				text += string(r.Data)
			}
			return text
		}
		for _, tt := range []struct {
			in   kinesis.GetShardIteratorInput
			want string
		}{
			{kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeTrimHorizon}, "01234"},
			{kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeLatest}, ""},
			{kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeAtSequenceNumber, StartingSequenceNumber: &seqs[2]}, "234"},
			{kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeAfterSequenceNumber, StartingSequenceNumber: &seqs[2]}, "34"},
			{kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeAtTimestamp, Timestamp: aws.Time(begin.Add(90 * time.Second))}, "234"},
			{kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeAtTimestamp, Timestamp: aws.Time(begin.Add(270 * time.Second))}, ""},
		} {
			if got := data(tt.in); got != tt.want {
				t.Errorf("%s: %q, want %q", tt.in.ShardIteratorType, got, tt.want)
			}
		}
		// A place that has expired is the oldest that has not, without a word.
		s.Trim("s", "shardId-000000000000", 4)
		if got := data(kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeAtSequenceNumber, StartingSequenceNumber: &seqs[1]}); got != "4" {
			t.Errorf("from an expired record: %q", got)
		}
		time.Sleep(24 * time.Hour)
		if got := data(kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeTrimHorizon}); got != "" {
			t.Errorf("after the retention: %q", got)
		}
		for _, seq := range []string{"1", strings.Repeat("9", 56), "x" + seqs[0][1:], strings.Repeat("0", 56)} {
			_, err := iterator(t, c, kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeAtSequenceNumber, StartingSequenceNumber: &seq})
			if got := code(t, err); got != "InvalidArgumentException" {
				t.Errorf("sequence number %s: %q", seq, got)
			}
		}
		if _, err := get(t, c, aws.String("bm9uZQ==")); code(t, err) != "InvalidArgumentException" {
			t.Errorf("an iterator of nobody: %v", err)
		}
	})
}

func TestReshard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := open(t, 2, kinesistest.Config{Transition: 10 * time.Second, PageShards: 2})
		split := func(id, hash string) string {
			_, err := c.SplitShard(t.Context(), &kinesis.SplitShardInput{StreamName: name, ShardToSplit: &id, NewStartingHashKey: &hash}, once)
			return code(t, err)
		}
		if got := split("shardId-000000000000", "1000"); got != "ResourceInUseException" {
			t.Errorf("split while creating: %q", got)
		}
		time.Sleep(10 * time.Second)
		if err := put(t, c, "b", 10); err != nil {
			t.Fatal(err)
		}
		if got := split("shardId-000000000000", "0"); got != "InvalidArgumentException" {
			t.Errorf("split at the first hash key: %q", got)
		}
		if got := split("shardId-000000000000", "1000"); got != "" {
			t.Errorf("split: %q", got)
		}
		time.Sleep(10 * time.Second)
		if got := split("shardId-000000000000", "1000"); got != "InvalidArgumentException" {
			t.Errorf("split of a closed shard: %q", got)
		}
		merge := func(a, b string) string {
			_, err := c.MergeShards(t.Context(), &kinesis.MergeShardsInput{StreamName: name, ShardToMerge: &a, AdjacentShardToMerge: &b}, once)
			return code(t, err)
		}
		if got := merge("shardId-000000000001", "shardId-000000000002"); got != "InvalidArgumentException" {
			t.Errorf("merge of shards that are not adjacent: %q", got)
		}
		if got := merge("shardId-000000000001", "shardId-000000000003"); got != "" {
			t.Errorf("merge: %q", got)
		}
		var ids []string
		in := &kinesis.ListShardsInput{StreamName: name}
		for {
			out, err := c.ListShards(t.Context(), in, once)
			if err != nil {
				t.Fatal(err)
			}
			for _, sh := range out.Shards {
				closed := sh.SequenceNumberRange.EndingSequenceNumber != nil
				ids = append(ids, fmt.Sprintf("%s %v %v %v", (*sh.ShardId)[19:], closed, len(aws.ToString(sh.ParentShardId)) > 0, len(aws.ToString(sh.AdjacentParentShardId)) > 0))
			}
			if out.NextToken == nil {
				break
			}
			in = &kinesis.ListShardsInput{NextToken: out.NextToken}
		}
		want := "[0 true false false 1 true false false 2 false true false 3 true true false 4 false true true]"
		if got := fmt.Sprint(ids); got != want {
			t.Errorf("shards %s, want %s", got, want)
		}
		out := mustGet(t, c, kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
		if len(out.ChildShards) != 2 || out.NextShardIterator != nil {
			t.Errorf("the end of a closed shard: %+v", out)
		}
		time.Sleep(10 * time.Second)
		for _, n := range []int32{5, 0} {
			_, err := c.UpdateShardCount(t.Context(), &kinesis.UpdateShardCountInput{StreamName: name, TargetShardCount: &n, ScalingType: types.ScalingTypeUniformScaling}, once)
			if err == nil {
				t.Errorf("from 2 shards to %d: no error", n)
			}
		}
		_, err := c.UpdateShardCount(t.Context(), &kinesis.UpdateShardCountInput{StreamName: name, TargetShardCount: aws.Int32(3), ScalingType: types.ScalingTypeUniformScaling}, once)
		if err != nil || len(s.Shards("s")) != 3 {
			t.Errorf("to 3 shards: %v, %v", s.Shards("s"), err)
		}
	})
}

// TestKeysGoToTheirShards compares with MD5 sums known from elsewhere.
func TestKeysGoToTheirShards(t *testing.T) {
	_, c := open(t, 2, kinesistest.Config{})
	for _, tt := range []struct{ key, hash, want string }{
		{"a", "", "shardId-000000000000"}, // 0cc1…
		{"b", "", "shardId-000000000001"}, // 92eb…
		{"b", "0", "shardId-000000000000"},
		{"a", "340282366920938463463374607431768211455", "shardId-000000000001"},
	} {
		in := &kinesis.PutRecordInput{StreamName: name, PartitionKey: &tt.key, Data: []byte("x")}
		if tt.hash != "" {
			in.ExplicitHashKey = &tt.hash
		}
		out, err := c.PutRecord(t.Context(), in, once)
		if err != nil || *out.ShardId != tt.want {
			t.Errorf("key %s, hash key %q: %v, %v, want %s", tt.key, tt.hash, out, err, tt.want)
		}
	}
}

func TestSubscriptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := open(t, 1, kinesistest.Config{})
		arn := aws.String("arn:aws:kinesis:eu-west-1:123456789012:stream/s")
		consumer, err := c.RegisterStreamConsumer(t.Context(), &kinesis.RegisterStreamConsumerInput{StreamARN: arn, ConsumerName: aws.String("c")}, once)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.RegisterStreamConsumer(t.Context(), &kinesis.RegisterStreamConsumerInput{StreamARN: arn, ConsumerName: aws.String("c")}, once)
		if got := code(t, err); got != "ResourceInUseException" {
			t.Errorf("the same consumer again: %q", got)
		}
		subscribe := func(consumerARN *string) (*kinesis.SubscribeToShardEventStream, string) {
			out, err := c.SubscribeToShard(t.Context(), &kinesis.SubscribeToShardInput{
				ConsumerARN: consumerARN, ShardId: aws.String("shardId-000000000000"),
				StartingPosition: &types.StartingPosition{Type: types.ShardIteratorTypeTrimHorizon},
			}, once, ownCodec)
			if err != nil {
				return nil, code(t, err)
			}
			return out.GetStream(), ""
		}
		if _, got := subscribe(aws.String(*consumer.Consumer.ConsumerARN + "9")); got != "ResourceNotFoundException" {
			t.Errorf("a consumer that is not registered: %q", got)
		}
		first, got := subscribe(consumer.Consumer.ConsumerARN)
		if got != "" {
			t.Fatal(got)
		}
		if _, got := subscribe(consumer.Consumer.ConsumerARN); got != "LimitExceededException" {
			t.Errorf("twice within a second: %q", got)
		}
		time.Sleep(2 * time.Second)
		if _, got := subscribe(consumer.Consumer.ConsumerARN); got != "ResourceInUseException" {
			t.Errorf("twice within 5 s: %q", got)
		}
		next := func(s *kinesis.SubscribeToShardEventStream) *types.SubscribeToShardEvent {
			e, ok := (<-s.Events()).(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent)
			if !ok {
				return nil
			}
			return &e.Value
		}
		began := time.Now()
		if e := next(first); e == nil || len(e.Records) > 0 || *e.MillisBehindLatest != 0 || e.ContinuationSequenceNumber == nil {
			t.Errorf("the first event of an empty shard: %+v", e)
		}
		next(first) // after 5 s, without records
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("the second event took %v", took)
		}
		if err := put(t, c, "k", 100); err != nil {
			t.Fatal(err)
		}
		if e := next(first); e == nil || len(e.Records) != 1 || len(e.Records[0].Data) != 100 || *e.ContinuationSequenceNumber != *e.Records[0].SequenceNumber {
			t.Errorf("the event of a record: %+v", e)
		}
		second, got := subscribe(consumer.Consumer.ConsumerARN)
		if got != "" {
			t.Fatal(got)
		}
		for next(first) != nil {
		}
		if got := code(t, first.Err()); got != "ResourceInUseException" {
			t.Errorf("a subscription that was taken over ended with %q", got)
		}
		first.Close()
		began = time.Now()
		for next(second) != nil {
		}
		if took := time.Since(began); second.Err() != nil || took < 4*time.Minute || took > 5*time.Minute {
			t.Errorf("a subscription ended after %v with %v", took, second.Err())
		}
		second.Close()
		_, err = c.SplitShard(t.Context(), &kinesis.SplitShardInput{StreamName: name, ShardToSplit: aws.String("shardId-000000000000"), NewStartingHashKey: aws.String("7")}, once)
		if err != nil {
			t.Fatal(err)
		}
		third, _ := subscribe(consumer.Consumer.ConsumerARN)
		if e := next(third); e == nil || len(e.Records) != 1 || len(e.ChildShards) != 2 {
			t.Errorf("the last event of a shard: %+v", e)
		}
		third.Close()
	})
}

func TestFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := open(t, 1, kinesistest.Config{})
		s.Inject("PutRecord", func(n int) *kinesistest.Fault {
			switch n {
			case 1:
				return &kinesistest.Fault{Code: "InternalFailureException", Status: 500}
			case 2:
				return &kinesistest.Fault{Code: "ProvisionedThroughputExceededException", Done: true}
			case 3:
				return &kinesistest.Fault{Delay: time.Hour}
			}
			return nil
		})
		var got []string
		began := time.Now()
		for range 4 {
			got = append(got, code(t, put(t, c, "k", 1)))
		}
		if want := "[InternalFailureException ProvisionedThroughputExceededException  ]"; fmt.Sprint(got) != want || time.Since(began) != time.Hour || s.Calls("PutRecord") != 4 {
			t.Errorf("%v after %v, want %s", got, time.Since(began), want)
		}
		out := mustGet(t, c, kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
		if len(out.Records) != 3 {
			t.Errorf("%d records, want those that happened", len(out.Records))
		}
	})
}

// TestOverTheWire uses sockets, and requests that no client of the SDK would send.
func TestOverTheWire(t *testing.T) {
	s := kinesistest.New(kinesistest.Config{})
	server := httptest.NewServer(s)
	defer server.Close()
	c := kinesis.New(kinesis.Options{
		Region: "eu-west-1", BaseEndpoint: &server.URL, Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
	})
	if _, err := c.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: name, ShardCount: aws.Int32(1)}); err != nil {
		t.Fatal(err)
	}
	if err := put(t, c, "k", 1000); err != nil {
		t.Fatal(err)
	}
	if out := mustGet(t, c, kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeTrimHorizon}); len(out.Records[0].Data) != 1000 {
		t.Errorf("records %v", out.Records)
	}
	for _, tt := range []struct{ target, auth, body, want string }{
		{"Kinesis_20131202.PutRecord", "AWS4-HMAC-SHA256 x", `{"Unheard":1}`, "SerializationException"},
		{"Kinesis_20131202.PutRecord", "", `{}`, "MissingAuthenticationTokenException"},
		{"Kinesis_20131202.DropEverything", "AWS4-HMAC-SHA256 x", `{}`, "UnknownOperationException"},
	} {
		r := httptest.NewRequest("POST", "/", bytes.NewReader([]byte(tt.body)))
		r.Header.Set("X-Amz-Target", tt.target)
		r.Header.Set("Content-Type", "application/x-amz-json-1.1")
		r.Header.Set("Authorization", tt.auth)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != 400 || !strings.Contains(w.Body.String(), tt.want) {
			t.Errorf("%s: %d %s, want %s", tt.target, w.Code, w.Body, tt.want)
		}
	}
}
