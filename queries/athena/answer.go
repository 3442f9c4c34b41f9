package athena

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/athena"
	"github.com/aws/aws-sdk-go-v2/service/athena/types"

	"github.com/cardlake/cardlake/queries"
)

// answer is what the rows of both kinds share.
type answer struct {
	engine    *Engine
	group     *group
	place     *place
	snapshots []queries.Snapshot
	columns   []column
	stats     queries.Stats
}

// Columns implements queries.Rows.
func (a *answer) Columns() []queries.Column {
	out := make([]queries.Column, len(a.columns))
	for i, c := range a.columns {
		out[i] = c.Column
	}
	return out
}

// Snapshots implements queries.Rows.
func (a *answer) Snapshots() []queries.Snapshot { return a.snapshots }

// Stats says what the answer cost.
func (a *answer) Stats() queries.Stats { return a.stats }

// fault names the column that a value can't be given of.
func (a *answer) fault(i int, err error) error {
	return fmt.Errorf("column %q: %w", a.columns[i].Name, err)
}

// discard deletes what an execution left, if it left anything and may not be used again. Failing
// to is not the caller's trouble: the bucket's lifecycle deletes what stays.
func (a *answer) discard(ctx context.Context, x *execution) {
	late, cancel := a.beyond(ctx)
	defer cancel()
	_ = a.remove(late, x)
}

// remove deletes what an execution left: the file of a SELECT and its description, or the files of
// an UNLOAD and their manifest ("Working with query results, recent queries, and output files").
func (a *answer) remove(ctx context.Context, x *execution) error {
	var keys []string
	add := func(uri *string, more ...string) {
		key, ok := a.place.object(aws.ToString(uri))
		if !ok || key[len(key)-1] == '/' {
			return
		}
		keys = append(keys, key)
		for _, m := range more {
			keys = append(keys, key+m)
		}
	}
	if x.QueryExecution != nil {
		if r := x.ResultConfiguration; r != nil {
			add(r.OutputLocation, ".metadata")
		}
		if t := x.Statistics; t != nil {
			add(t.DataManifestLocation)
		}
	}
	return a.engine.delete(ctx, a.place.bucket, keys)
}

// page runs the statement and returns its rows page by page.
func (a *answer) page(ctx context.Context, s queries.Statement, sql string) (queries.Rows, error) {
	reuse := a.engine.cfg.ReuseAge > 0
	x, err := a.execute(ctx, s, reuse, func(string) string { return sql })
	if err != nil {
		return nil, err
	}
	p := &pages{answer: a, execution: x, keep: reuse}
	if err := p.first(ctx); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// pages implements queries.Rows over GetQueryResults.
type pages struct {
	*answer
	execution *execution
	keep      bool // the result may be used again
	rows      []types.Row
	next      *string
	isClosed  bool
}

// maxPage is the most rows of one page (GetQueryResults, MaxResults).
const maxPage = 1000

// first reads the first page, whose first row is the columns' names.
func (p *pages) first(ctx context.Context) error {
	meta, err := p.fetch(ctx)
	if err != nil {
		return err
	}
	if meta == nil {
		return errors.New("Athena does not describe the columns of its answer")
	}
	if len(meta.ColumnInfo) != len(p.columns) {
		return fmt.Errorf("Athena's answer has %d columns, the statement %d", len(meta.ColumnInfo), len(p.columns))
	}
	if len(p.rows) == 0 || len(p.rows[0].Data) != len(p.columns) {
		return errors.New("Athena's answer does not begin with the names of its columns")
	}
	for i, d := range p.rows[0].Data {
		if aws.ToString(d.VarCharValue) != aws.ToString(meta.ColumnInfo[i].Name) {
			return errors.New("Athena's answer does not begin with the names of its columns")
		}
	}
	p.rows = p.rows[1:]
	return nil
}

func (p *pages) fetch(ctx context.Context) (*types.ResultSetMetadata, error) {
	out, err := p.group.client.GetQueryResults(ctx, &athena.GetQueryResultsInput{
		QueryExecutionId: &p.execution.id, MaxResults: aws.Int32(maxPage), NextToken: p.next,
	})
	if err != nil {
		return nil, fmt.Errorf("read the answer of Athena: %w", refusal(err))
	}
	if out.ResultSet == nil {
		return nil, errors.New("read the answer of Athena: there is none")
	}
	p.rows, p.next = out.ResultSet.Rows, out.NextToken
	return out.ResultSet.ResultSetMetadata, nil
}

// Next implements queries.Rows.
func (p *pages) Next(row []any) error {
	if p.isClosed {
		return io.EOF
	}
	for len(p.rows) == 0 {
		if p.next == nil {
			return io.EOF
		}
		// The statement's context has ended, and rows have none.
		ctx, cancel := p.beyond(context.Background())
		_, err := p.fetch(ctx)
		cancel()
		if err != nil {
			return err
		}
	}
	data := p.rows[0].Data
	if len(data) != len(p.columns) {
		return errors.New("a row of Athena's answer has another number of values than it has columns")
	}
	for i, d := range data {
		row[i] = nil
		if d.VarCharValue == nil {
			continue
		}
		v, err := p.columns[i].fromText(*d.VarCharValue)
		if err != nil {
			return p.fault(i, err)
		}
		row[i] = v
	}
	p.rows = p.rows[1:]
	return nil
}

// Close implements queries.Rows: it deletes the result.
func (p *pages) Close() error {
	if p.isClosed {
		return nil
	}
	p.isClosed, p.rows = true, nil
	if !p.keep {
		p.discard(context.Background(), p.execution)
	}
	return nil
}
