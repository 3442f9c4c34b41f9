package kinesis

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// DynamoDB is what DynamoLeases calls of DynamoDB; *dynamodb.Client implements it.
type DynamoDB interface {
	Query(context.Context, *dynamodb.QueryInput, ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error)
	PutItem(context.Context, *dynamodb.PutItemInput, ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error)
	DeleteItem(context.Context, *dynamodb.DeleteItemInput, ...func(*dynamodb.Options)) (*dynamodb.DeleteItemOutput, error)
}

// DynamoLeases keeps leases in a DynamoDB table, whose partition key is "name" and whose sort
// key is "shard", both strings. Every change is a conditional write. A lease costs a write
// of one unit every quarter of [Config].LeaseDuration, and a read of all of them.
type DynamoLeases struct {
	client      DynamoDB
	table, name string
}

// NewDynamoLeases returns leases in the table of the given name, under a name that must be
// that of one stream and one table of the lake only.
func NewDynamoLeases(client DynamoDB, table, name string) *DynamoLeases {
	return &DynamoLeases{client, table, name}
}

// The attributes of an item are the columns of SQLLeases. Expressions go by placeholders, as
// some of the names are DynamoDB's own words.
const (
	isStored  = "#owner = :owner AND #wanted = :wanted AND #counter = :counter"
	isAbsent  = "attribute_not_exists(#shard)"
	isOfName  = "#name = :name"
	batchSize = 1000
)

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
func number(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

// List implements Leases, by strongly consistent reads.
func (d *DynamoLeases) List(ctx context.Context) ([]Lease, error) {
	consistent, limit, condition := true, int32(batchSize), isOfName
	var out []Lease
	var from map[string]types.AttributeValue
	for {
		page, err := d.client.Query(ctx, &dynamodb.QueryInput{
			TableName: &d.table, ConsistentRead: &consistent, Limit: &limit, KeyConditionExpression: &condition,
			ExpressionAttributeNames:  map[string]string{"#name": "name"},
			ExpressionAttributeValues: map[string]types.AttributeValue{":name": text(d.name)},
			ExclusiveStartKey:         from,
		})
		if err != nil {
			return nil, fmt.Errorf("query leases: %w", err)
		}
		for _, item := range page.Items {
			l, err := leaseOf(item)
			if err != nil {
				return nil, fmt.Errorf("query leases: %w", err)
			}
			out = append(out, l)
		}
		if from = page.LastEvaluatedKey; len(from) == 0 {
			return out, nil
		}
	}
}

func leaseOf(item map[string]types.AttributeValue) (Lease, error) {
	var missing error
	str := func(name string) string {
		v, ok := item[name].(*types.AttributeValueMemberS)
		if !ok {
			missing = fmt.Errorf("a lease has no string %q", name)
			return ""
		}
		return v.Value
	}
	num := func(name string) int64 {
		v, ok := item[name].(*types.AttributeValueMemberN)
		if !ok {
			missing = fmt.Errorf("a lease has no number %q", name)
			return 0
		}
		n, err := strconv.ParseInt(v.Value, 10, 64)
		if err != nil {
			missing = fmt.Errorf("a lease has no whole number %q", name)
		}
		return n
	}
	ended, ok := item["ended"].(*types.AttributeValueMemberBOOL)
	if !ok {
		return Lease{}, errors.New(`a lease has no boolean "ended"`)
	}
	l := Lease{
		Shard: str("shard"), Owner: str("owner"), Wanted: str("wanted"), Counter: num("counter"),
		Ended: ended.Value, Mark: str("mark"), CaughtUp: fromUnix(num("caught_up")),
	}
	return l, missing
}

// Swap implements Leases.
func (d *DynamoLeases) Swap(ctx context.Context, was, now Lease) (bool, error) {
	in := &dynamodb.PutItemInput{TableName: &d.table, Item: map[string]types.AttributeValue{
		"name": text(d.name), "shard": text(now.Shard), "owner": text(now.Owner), "wanted": text(now.Wanted),
		"counter": number(now.Counter), "ended": &types.AttributeValueMemberBOOL{Value: now.Ended},
		"mark": text(now.Mark), "caught_up": number(toUnix(now.CaughtUp)),
	}}
	var condition string
	if was.Counter == 0 {
		condition = isAbsent
		in.ExpressionAttributeNames = map[string]string{"#shard": "shard"}
	} else {
		condition = isStored
		in.ExpressionAttributeNames, in.ExpressionAttributeValues = stored(was)
	}
	in.ConditionExpression = &condition
	_, err := d.client.PutItem(ctx, in)
	if isConditional(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("put lease: %w", err)
	}
	return true, nil
}

// Remove implements Leases.
func (d *DynamoLeases) Remove(ctx context.Context, was Lease) error {
	condition := isStored
	in := &dynamodb.DeleteItemInput{
		TableName: &d.table, ConditionExpression: &condition,
		Key: map[string]types.AttributeValue{"name": text(d.name), "shard": text(was.Shard)},
	}
	in.ExpressionAttributeNames, in.ExpressionAttributeValues = stored(was)
	if _, err := d.client.DeleteItem(ctx, in); err != nil && !isConditional(err) {
		return fmt.Errorf("delete lease: %w", err)
	}
	return nil
}

// stored are the names and values of isStored.
func stored(was Lease) (map[string]string, map[string]types.AttributeValue) {
	return map[string]string{"#owner": "owner", "#wanted": "wanted", "#counter": "counter"},
		map[string]types.AttributeValue{":owner": text(was.Owner), ":wanted": text(was.Wanted), ":counter": number(was.Counter)}
}

func isConditional(err error) bool {
	_, failed := errors.AsType[*types.ConditionalCheckFailedException](err)
	return failed
}

var _ Leases = (*DynamoLeases)(nil)
