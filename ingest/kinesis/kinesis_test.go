package kinesis_test

import (
	"math/big"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cardlake/cardlake/ingest/kinesis"
	"github.com/cardlake/cardlake/ingest/kinesis/kinesistest"
)

func bigInt(s string) *big.Int {
	n, ok := new(big.Int).SetString(s, 10)
	if !ok {
		panic("not a number: " + s)
	}
	return n
}

// inModes runs the test once for each mode, each time in a bubble.
func inModes(t *testing.T, test func(t *testing.T, mode kinesis.Mode)) {
	for name, mode := range map[string]kinesis.Mode{"polling": kinesis.Polling, "fan-out": kinesis.FanOut} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, mode) })
		})
	}
}

func TestReadsEveryRecordOnceInOrder(t *testing.T) {
	inModes(t, func(t *testing.T, mode kinesis.Mode) {
		w := newWorld(t, 3, kinesistest.Config{PageShards: 2})
		w.put(1000, 17)
		cfg := w.config("a")
		cfg.Mode = mode
		m := w.start(cfg)
		w.until("the first are there", w.drained)
		w.put(500, 17)
		w.until("all are there", w.drained)
		m.leave()
		w.check()
		if errs := m.errors(); len(errs) > 0 {
			t.Errorf("errors: %v", errs)
		}
	})
}

// slow makes a source do everything so rarely that days pass in few calls.
func slow(cfg kinesis.Config) kinesis.Config {
	cfg.PollInterval, cfg.LeaseDuration, cfg.DiscoverInterval = time.Minute, 10*time.Minute, 10*time.Minute
	return cfg
}
