package athena

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/athena"
	"github.com/aws/aws-sdk-go-v2/service/athena/types"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries"
)

// execution is one query string in Athena.
type execution struct {
	token string // what makes its start idempotent, and names its prefix
	id    string
	*types.QueryExecution
}

// newToken spells 128 random bits in 32 letters, the least that ClientRequestToken may have.
func newToken() string {
	var b [16]byte
	rand.Read(b[:])
	return string(cardlake.AppendLetters(nil, b[:]))
}

// execute runs a query string until it has succeeded, once more if it failed for a reason that is
// Athena's. text is given the token of each try. What was started is stopped when ctx ends, and
// is left in no other state than ended, as far as Athena answers.
func (a *answer) execute(ctx context.Context, s queries.Statement, reuse bool, text func(token string) string) (*execution, error) {
	for try := 1; ; try++ {
		x := &execution{token: newToken()}
		err := a.run(ctx, x, s, reuse, text(x.token))
		a.count(x)
		if err == nil {
			return x, nil
		}
		a.discard(ctx, x)
		var failed *failure
		if !errors.As(err, &failed) {
			return nil, err
		}
		if !failed.isTemporary() || try >= a.engine.cfg.Executions || ctx.Err() != nil {
			return nil, failed.explain(s)
		}
	}
}

func (a *answer) run(ctx context.Context, x *execution, s queries.Statement, reuse bool, sql string) error {
	cfg, g := a.engine.cfg, a.group
	input := &athena.StartQueryExecutionInput{
		QueryString: &sql, WorkGroup: &g.name, ClientRequestToken: &x.token,
		QueryExecutionContext: &types.QueryExecutionContext{Catalog: &cfg.Catalog},
	}
	if reuse {
		input.ResultReuseConfiguration = &types.ResultReuseConfiguration{ResultReuseByAgeConfiguration: &types.ResultReuseByAgeConfiguration{
			Enabled: true, MaxAgeInMinutes: aws.Int32(int32(cfg.ReuseAge / time.Minute)),
		}}
	}
	out, err := g.client.StartQueryExecution(ctx, input)
	if err != nil {
		if ctx.Err() != nil {
			// Whether it was started is not known. The token finds out: the same id comes back if it
			// was, and what is started only now is stopped at once.
			late, cancel := a.beyond(ctx)
			defer cancel()
			if out, again := g.client.StartQueryExecution(late, input); again == nil {
				x.id = aws.ToString(out.QueryExecutionId)
				a.stop(late, x)
			}
		}
		return fmt.Errorf("start in Athena: %w", refusal(err))
	}
	x.id = aws.ToString(out.QueryExecutionId)
	if err := a.wait(ctx, x, s.Limits.MaxBytes); err != nil {
		late, cancel := a.beyond(ctx)
		defer cancel()
		a.stop(late, x)
		return err
	}
	switch x.Status.State {
	case types.QueryExecutionStateSucceeded:
		return nil
	}
	return &failure{x.QueryExecution}
}

// beyond returns a context that does not end with ctx, but soon.
func (a *answer) beyond(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), a.engine.cfg.Timeout)
}

// wait looks at the execution until it has ended, and gives it up when it has scanned more than
// the caller's grant allows.
func (a *answer) wait(ctx context.Context, x *execution, maxBytes int64) error {
	cfg := a.engine.cfg
	for pause := cfg.PollMin; ; pause = min(pause*3/2, cfg.PollMax) {
		if err := a.look(ctx, x); err != nil {
			return err
		}
		if scanned := x.scanned(); maxBytes > 0 && scanned > maxBytes {
			return &queries.Error{Message: fmt.Sprintf("the statement scans more than the %d MiB that the grant allows", maxBytes>>20), Hint: "select fewer columns or days", Offset: -1}
		}
		if x.isOver() {
			return nil
		}
		timer := time.NewTimer(pause/2 + mathrand.N(pause/2+1))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

func (a *answer) look(ctx context.Context, x *execution) error {
	out, err := a.group.client.GetQueryExecution(ctx, &athena.GetQueryExecutionInput{QueryExecutionId: &x.id})
	if err != nil {
		return fmt.Errorf("look at execution %s in Athena: %w", x.id, refusal(err))
	}
	if out.QueryExecution == nil || out.QueryExecution.Status == nil {
		return fmt.Errorf("look at execution %s in Athena: it has no status", x.id)
	}
	x.QueryExecution = out.QueryExecution
	return nil
}

// stop stops the execution and waits until it has ended, so that it writes nothing any more. That
// it can't be stopped changes nothing for the caller, who has an error already.
func (a *answer) stop(ctx context.Context, x *execution) {
	if x.isOver() {
		return
	}
	if _, err := a.group.client.StopQueryExecution(ctx, &athena.StopQueryExecutionInput{QueryExecutionId: &x.id}); err == nil {
		_ = a.wait(ctx, x, 0)
	}
}

func (x *execution) isOver() bool {
	if x.QueryExecution == nil {
		return false
	}
	switch x.Status.State {
	case types.QueryExecutionStateSucceeded, types.QueryExecutionStateFailed, types.QueryExecutionStateCancelled:
		return true
	}
	return false
}

func (x *execution) scanned() int64 {
	if x.QueryExecution == nil || x.Statistics == nil {
		return 0
	}
	return aws.ToInt64(x.Statistics.DataScannedInBytes)
}
