package processor

import (
	"context"
	"fmt"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/processor/ledger"
)

// TotalsLedger closes the minutes that are over. *ledger.Ledger is the one on a local disk.
type TotalsLedger interface {
	// CloseTotals makes the control totals of the minutes that have been over for the grace
	// period, or with a negative one of all minutes, durable in the outbox.
	CloseTotals(now time.Time, grace time.Duration, emit ledger.EmitTotal) (int, error)
}

// TotalsConfig tunes Totals.
type TotalsConfig struct {
	Region string // as Config.Region; "local" if empty
	// Grace is how long a minute stays open after its end, for decisions that were begun in
	// it; 15 s if zero. One that takes longer is counted in a further total of its minute.
	Grace    time.Duration
	SchemaID uint32           // the registry's id of wire.TotalSchema; wire.DefaultTotalSchemaID if zero
	Now      func() time.Time // the clock of decisions; time.Now if nil
}

// Totals emits the control totals: once a minute, for each tenant and currency, how many
// decisions there were and of how much, so that the lake can tell what it lacks.
type Totals struct {
	ledger TotalsLedger
	cfg    TotalsConfig
}

// NewTotals returns the emitter for the decisions in the ledger.
func NewTotals(l TotalsLedger, cfg TotalsConfig) *Totals {
	if cfg.Region == "" {
		cfg.Region = "local"
	}
	if cfg.Grace == 0 {
		cfg.Grace = 15 * time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Totals{ledger: l, cfg: cfg}
}

// Run emits the totals of each minute when its grace period is over, until ctx ends; then
// those of all open minutes. End ctx after the server's Run has returned, and the relay after
// this one has: then every decision is counted on the stream. Run returns an error only when
// the ledger cannot be read or written.
func (t *Totals) Run(ctx context.Context) error {
	for {
		now := t.cfg.Now()
		over := now.Add(-t.cfg.Grace)
		timer := time.NewTimer(over.Truncate(time.Minute).Add(time.Minute).Sub(over))
		if err := t.close(now, t.cfg.Grace); err != nil {
			timer.Stop()
			return err
		}
		select {
		case <-ctx.Done():
			timer.Stop()
			return t.Flush()
		case <-timer.C:
		}
	}
}

// Flush emits the totals of all open minutes, the current one included, as Run does at its
// end; decisions that follow make further totals. It may be called while Run runs.
func (t *Totals) Flush() error { return t.close(t.cfg.Now(), -1) }

func (t *Totals) close(now time.Time, grace time.Duration) error {
	var value []byte
	_, err := t.ledger.CloseTotals(now, grace, func(c *cardlake.ControlTotal) (_ []byte, err error) {
		c.Region = t.cfg.Region
		value, err = wire.AppendTotal(value[:0], t.cfg.SchemaID, c)
		return value, err
	})
	if err != nil {
		return fmt.Errorf("emit control totals: %w", err)
	}
	return nil
}
