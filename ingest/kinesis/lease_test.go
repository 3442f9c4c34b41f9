package kinesis_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/google/go-cmp/cmp"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/cardlake/cardlake/ingest/kinesis"
)

// TestLeases holds every implementation to what Leases says.
func TestLeases(t *testing.T) {
	stores := map[string]func(t *testing.T, name string) kinesis.Leases{
		"memory": func(*testing.T, string) kinesis.Leases { return &memLeases{stored: map[string]kinesis.Lease{}} },
		"sqlite": func(t *testing.T, name string) kinesis.Leases {
			return sqlLeases(t, "sqlite", "file:"+t.TempDir()+"/leases.db?_pragma=busy_timeout(5000)", name)
		},
		"dynamodb": dynamoLeases,
	}
	if dsn := os.Getenv("CARDLAKE_POSTGRES_DSN"); dsn != "" {
		stores["postgres"] = func(t *testing.T, name string) kinesis.Leases { return sqlLeases(t, "pgx", dsn, name) }
	}
	for name, open := range stores {
		t.Run(name, func(t *testing.T) { testLeases(t, open(t, fmt.Sprintf("test %d", time.Now().UnixNano()))) })
	}
}

func testLeases(t *testing.T, leases kinesis.Leases) {
	ctx := t.Context()
	list := func() []kinesis.Lease {
		t.Helper()
		all, err := leases.List(ctx)
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(all, func(a, b kinesis.Lease) int { return strings.Compare(a.Shard, b.Shard) })
		return all
	}
	swap := func(was, now kinesis.Lease, want bool) {
		t.Helper()
		if ok, err := leases.Swap(ctx, was, now); err != nil || ok != want {
			t.Fatalf("Swap(%+v, %+v) = %v, %v, want %v", was, now, ok, err, want)
		}
	}
	if all := list(); len(all) != 0 {
		t.Fatalf("leases at the start: %v", all)
	}
	none := kinesis.Lease{Shard: "shardId-000000000001"}
	first := kinesis.Lease{Shard: none.Shard, Owner: "a", Counter: 1}
	swap(none, first, true)
	swap(none, kinesis.Lease{Shard: none.Shard, Owner: "b", Counter: 1}, false)
	second := kinesis.Lease{
		Shard: none.Shard, Owner: "b", Wanted: "c", Counter: 2, Ended: true, Mark: "4900",
		CaughtUp: time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC),
	}
	swap(first, second, true)
	for name, stale := range map[string]kinesis.Lease{
		"counter": {Shard: none.Shard, Owner: "b", Wanted: "c", Counter: 1},
		"owner":   {Shard: none.Shard, Owner: "a", Wanted: "c", Counter: 2},
		"wanted":  {Shard: none.Shard, Owner: "b", Counter: 2},
		"shard":   {Shard: "shardId-000000000002", Owner: "b", Wanted: "c", Counter: 2},
	} {
		next := stale
		next.Counter = 9
		swap(stale, next, false)
		if err := leases.Remove(ctx, stale); err != nil {
			t.Errorf("remove with a stale %s: %v", name, err)
		}
	}
	other := kinesis.Lease{Shard: "shardId-000000000002", Owner: "a", Counter: 1}
	swap(kinesis.Lease{Shard: other.Shard}, other, true)
	if diff := cmp.Diff([]kinesis.Lease{second, other}, list()); diff != "" {
		t.Errorf("leases (-want +got):\n%s", diff)
	}
	if err := leases.Remove(ctx, second); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]kinesis.Lease{other}, list()); diff != "" {
		t.Errorf("leases after removing one (-want +got):\n%s", diff)
	}

	// Of many who want it at once, one gets it.
	var wg sync.WaitGroup
	won := make(chan string, 8)
	for i := range cap(won) {
		wg.Go(func() {
			now := other
			now.Owner, now.Counter = fmt.Sprint("worker ", i), 2
			if ok, err := leases.Swap(ctx, other, now); err != nil {
				t.Error(err)
			} else if ok {
				won <- now.Owner
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("%d took the same lease", len(won))
	}
	if got, want := list()[0].Owner, <-won; got != want {
		t.Errorf("the owner is %s, want %s", got, want)
	}
}

func sqlLeases(t *testing.T, driver, dsn, name string) kinesis.Leases {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	leases := kinesis.NewSQLLeases(db, name)
	for range 2 { // the second time it is there
		if err := leases.Create(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	neighbour := kinesis.NewSQLLeases(db, "neighbour of "+name)
	if ok, err := neighbour.Swap(t.Context(), kinesis.Lease{Shard: "shardId-000000000001"}, kinesis.Lease{Shard: "shardId-000000000001", Counter: 1}); !ok || err != nil {
		t.Fatal(ok, err)
	}
	return leases
}

func dynamoLeases(t *testing.T, name string) kinesis.Leases {
	server := httptest.NewServer(&dynamo{t: t, items: map[string]map[string]any{}})
	t.Cleanup(server.Close)
	client := dynamodb.New(dynamodb.Options{
		Region: "eu-west-1", BaseEndpoint: aws.String(server.URL),
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	return kinesis.NewDynamoLeases(client, "leases", name)
}

// dynamo is as much of DynamoDB as leases need: conditions are conjunctions of equalities or
// one attribute_not_exists. It refuses what it does not know, and pages after one item.
type dynamo struct {
	t     *testing.T
	mu    sync.Mutex
	items map[string]map[string]any // by shard
}

type dynamoIn struct {
	TableName                 string
	Item, Key                 map[string]any
	ConditionExpression       string
	KeyConditionExpression    string
	ExpressionAttributeNames  map[string]string
	ExpressionAttributeValues map[string]any
	ExclusiveStartKey         map[string]any
	ConsistentRead            bool
	Limit                     int
}

func (d *dynamo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var in dynamoIn
	body, err := io.ReadAll(r.Body)
	decoder := json.NewDecoder(strings.NewReader(string(body)))
	decoder.DisallowUnknownFields()
	if err == nil {
		err = decoder.Decode(&in)
	}
	if err != nil || in.TableName != "leases" {
		d.t.Errorf("request %s: %v", body, err)
	}
	answer := func(status int, v any) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
	shardOf := func(key map[string]any) string { return fmt.Sprint(key["shard"]) }
	switch r.Header.Get("X-Amz-Target") {
	case "DynamoDB_20120810.Query":
		if !in.ConsistentRead || in.KeyConditionExpression != "#name = :name" || in.ExpressionAttributeNames["#name"] != "name" {
			d.t.Errorf("query %s", body)
		}
		var keys []string
		for shard, item := range d.items {
			if fmt.Sprint(item["name"]) == fmt.Sprint(in.ExpressionAttributeValues[":name"]) && shard > shardOf(in.ExclusiveStartKey) {
				keys = append(keys, shard)
			}
		}
		slices.Sort(keys)
		out := map[string]any{"Items": []any{}}
		if len(keys) > 0 {
			item := d.items[keys[0]]
			out["Items"] = []any{item}
			if len(keys) > 1 {
				out["LastEvaluatedKey"] = map[string]any{"name": item["name"], "shard": item["shard"]}
			}
		}
		answer(http.StatusOK, out)
	case "DynamoDB_20120810.PutItem", "DynamoDB_20120810.DeleteItem":
		key := in.Key
		if in.Item != nil {
			key = in.Item
		}
		if !d.holds(d.items[shardOf(key)], &in) {
			answer(http.StatusBadRequest, map[string]string{"__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException", "message": "The conditional request failed"})
			return
		}
		if in.Item != nil {
			d.items[shardOf(key)] = in.Item
		} else {
			delete(d.items, shardOf(key))
		}
		answer(http.StatusOK, struct{}{})
	default:
		d.t.Errorf("operation %s", r.Header.Get("X-Amz-Target"))
	}
}

// holds evaluates the condition for the item, which is nil if there is none.
func (d *dynamo) holds(item map[string]any, in *dynamoIn) bool {
	if in.ConditionExpression == "" {
		d.t.Error("an unconditional write")
	}
	for _, term := range strings.Split(in.ConditionExpression, " AND ") {
		if inner, ok := strings.CutPrefix(term, "attribute_not_exists("); ok {
			if _, has := item[in.ExpressionAttributeNames[strings.TrimSuffix(inner, ")")]]; has {
				return false
			}
			continue
		}
		name, value, ok := strings.Cut(term, " = ")
		attribute, named := in.ExpressionAttributeNames[name]
		want, valued := in.ExpressionAttributeValues[value]
		if !ok || !named || !valued {
			d.t.Errorf("condition %q", in.ConditionExpression)
		}
		if item == nil || fmt.Sprint(item[attribute]) != fmt.Sprint(want) {
			return false
		}
	}
	return true
}

// TestDynamoRefusesStrangeItems reads what no lease is.
func TestDynamoRefusesStrangeItems(t *testing.T) {
	d := &dynamo{t: t, items: map[string]map[string]any{"map[S:x]": {
		"name": map[string]any{"S": "n"}, "shard": map[string]any{"S": "x"}, "ended": map[string]any{"BOOL": false},
		"owner": map[string]any{"S": ""}, "wanted": map[string]any{"S": ""}, "mark": map[string]any{"S": ""},
		"counter": map[string]any{"S": "1"}, "caught_up": map[string]any{"N": "0"},
	}}}
	server := httptest.NewServer(d)
	defer server.Close()
	client := dynamodb.New(dynamodb.Options{
		Region: "eu-west-1", BaseEndpoint: aws.String(server.URL), Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	_, err := kinesis.NewDynamoLeases(client, "leases", "n").List(context.Background())
	if err == nil || !strings.Contains(err.Error(), `"counter"`) {
		t.Errorf("err = %v, want one that names the field", err)
	}
}
