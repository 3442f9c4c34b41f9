package trino

import (
	"bytes"
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	client "github.com/trinodb/trino-go-client/trino"

	"github.com/cardlake/cardlake/queries"
)

// cancelTimeout bounds the request that ends a statement on the server.
const cancelTimeout = 10 * time.Second

// Progress is how far the server is with a statement.
type Progress struct {
	ID    string // the server's name of the statement, by which its logs and web pages have it
	State string // QUEUED, PLANNING, RUNNING, FINISHED…
	// Percent is of the work that is known of, 0 to 100.
	Percent float64
	// Rows and Bytes are what was read so far, Bytes from the object store. The last ones may
	// not be told.
	Rows, Bytes int64
	CPU         time.Duration
}

// rows implements queries.Rows. It owns the connection and the statement on the server.
type rows struct {
	engine    *Engine
	user      string
	columns   []queries.Column
	snapshots []queries.Snapshot
	cancel    context.CancelFunc
	conn      driver.Conn
	stmt      driver.Stmt
	rows      driver.Rows
	row       []driver.Value
	ended     bool // the server has no more of the statement

	mu       sync.Mutex
	progress Progress
}

// start sends the statement and waits for its first rows.
func (r *rows) start(ctx context.Context, sql string) error {
	stmt, err := r.conn.(driver.ConnPrepareContext).PrepareContext(ctx, sql)
	if err != nil {
		return err
	}
	r.stmt = stmt
	r.rows, err = stmt.(driver.StmtQueryContext).QueryContext(ctx, []driver.NamedValue{
		{Ordinal: 1, Name: "X-Trino-Progress-Callback", Value: (*updater)(r)},
		{Ordinal: 2, Name: "X-Trino-Progress-Callback-Period", Value: 500 * time.Millisecond},
	})
	if err != nil {
		return err
	}
	return r.checkColumns()
}

// maxBegun bounds the first answer to a statement, which has no rows.
const maxBegun = 1 << 20

// begun keeps the server's name of the statement, by which it can be ended. The client tells it
// only if it is listened to at the right moment.
func (r *rows) begun(res *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBegun))
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return err
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	var first struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(body, &first) == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.progress.ID = first.ID
	}
	return nil
}

// updater implements the client's ProgressUpdater.
type updater rows

// Update takes the server's figures.
func (u *updater) Update(p client.QueryProgressInfo) {
	r := (*rows)(u)
	r.mu.Lock()
	defer r.mu.Unlock()
	s := p.QueryStats
	r.progress = Progress{
		ID: p.QueryId, State: s.State, Percent: float64(s.ProgressPercentage), Rows: s.ProcessedRows, Bytes: s.PhysicalInputBytes,
		CPU: time.Duration(s.CPUTimeMillis) * time.Millisecond,
	}
}

// Progress says how far the server was when it last told.
func (r *rows) Progress() Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.progress
}

// Stats says what the answer cost, as far as the server has told.
func (r *rows) Stats() queries.Stats {
	p := r.Progress()
	return queries.Stats{Engine: "trino", Executions: []string{p.ID}, ScannedBytes: p.Bytes, Ran: p.CPU}
}

// checkColumns checks that the server's types are those that were printed: each value is
// converted by its column's.
func (r *rows) checkColumns() error {
	names := r.rows.Columns()
	if len(names) != len(r.columns) {
		return fmt.Errorf("the answer has %d columns, not %d", len(names), len(r.columns))
	}
	types := r.rows.(interface {
		driver.RowsColumnTypeDatabaseTypeName
		driver.RowsColumnTypePrecisionScale
	})
	for i, c := range r.columns {
		precision, scale, _ := types.ColumnTypePrecisionScale(i)
		if name := types.ColumnTypeDatabaseTypeName(i); !matches(c.Type, name, precision, scale) {
			return fmt.Errorf("column %d of the answer is %s(%d,%d), not %s", i+1, name, precision, scale, c.Type)
		}
	}
	return nil
}

// Columns implements queries.Rows.
func (r *rows) Columns() []queries.Column { return r.columns }

// Snapshots implements queries.Rows.
func (r *rows) Snapshots() []queries.Snapshot { return r.snapshots }

// Next implements queries.Rows.
func (r *rows) Next(row []any) error {
	if err := r.rows.Next(r.row); err != nil {
		if errors.Is(err, io.EOF) {
			r.ended = true
			return io.EOF
		}
		return explain(err)
	}
	for i, v := range r.row {
		converted, err := convert(r.columns[i].Type, v)
		if err != nil {
			return fmt.Errorf("column %d of Trino's answer: %w", i+1, err)
		}
		row[i] = converted
	}
	return nil
}

// Close implements queries.Rows. A statement that is still running is ended on the server.
func (r *rows) Close() error {
	if r.cancel == nil {
		return nil
	}
	r.cancel()
	r.cancel = nil
	if r.rows != nil {
		_ = r.rows.Close() // it fails when it was cancelled
	}
	if r.stmt != nil {
		_ = r.stmt.Close()
	}
	var err error
	if !r.ended {
		err = r.kill()
	}
	return errors.Join(err, r.conn.Close())
}

// kill ends the statement on the server. The client does so only when it was not waiting for the
// server at that moment.
func (r *rows) kill() error {
	id := r.Progress().ID
	if id == "" {
		return nil
	}
	ctx, stop := context.WithTimeout(context.Background(), cancelTimeout)
	defer stop()
	at := r.engine.server.JoinPath("v1", "query", url.PathEscape(id))
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, at.String(), nil)
	if err != nil {
		return err
	}
	req.Header.Set("X-Trino-User", r.user)
	res, err := r.engine.http.Do(req)
	if err != nil {
		return fmt.Errorf("end the statement in Trino: %w", err)
	}
	return res.Body.Close()
}
