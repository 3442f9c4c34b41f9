package athena

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/athena/types"
)

const (
	mebibyte = 1 << 20
	tebibyte = 1 << 40
	// minScanned is the least that is charged for a statement that scans anything (Amazon Athena
	// pricing: rounded up to the nearest megabyte, with a 10 MB minimum per query).
	minScanned = 10 * mebibyte
)

// price returns what scanning so many bytes costs, at so many millionths of a dollar for 1 TiB.
func price(scanned, perTB int64) int64 {
	if scanned <= 0 {
		return 0
	}
	charged := max((scanned+mebibyte-1)/mebibyte*mebibyte, minScanned)
	// Mebibytes, for bytes would overflow.
	return charged / mebibyte * perTB * 1000 / (tebibyte / mebibyte)
}

// count adds an execution, which may not have ended: those that are stopped are charged for what
// they scanned, those that failed are not.
func (a *answer) count(x *execution) {
	if x.QueryExecution == nil {
		return
	}
	s := &a.stats
	s.Executions = append(s.Executions, x.id)
	s.ScannedBytes += x.scanned()
	if x.Status.State != types.QueryExecutionStateFailed {
		s.NanoUSD += price(x.scanned(), a.engine.cfg.PricePerTB)
	}
	if t := x.Statistics; t != nil {
		s.Queued += time.Duration(aws.ToInt64(t.QueryQueueTimeInMillis)) * time.Millisecond
		s.Ran += time.Duration(aws.ToInt64(t.EngineExecutionTimeInMillis)) * time.Millisecond
		s.IsReused = s.IsReused || t.ResultReuseInformation != nil && t.ResultReuseInformation.ReusedPreviousResult
	}
}
