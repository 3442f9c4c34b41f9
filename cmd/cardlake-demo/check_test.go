package main

import (
	"testing"

	"github.com/apache/arrow-go/v18/arrow/decimal128"

	"github.com/cardlake/cardlake"
)

// TestCheckNoticesWrongValues: a row whose amount or outcome is not what the networks know is
// told from one that is right.
func TestCheckNoticesWrongValues(t *testing.T) {
	e := &expectation{code: "51", amount: cardlake.Money{Minor: 12_50, Currency: "MXN"}}
	right := decimal128.FromI64(125_000)
	if got := e.differs("51", false, right, "MXN"); got != "" {
		t.Errorf("a right row differs in %s", got)
	}
	for want, got := range map[string]string{
		"response_code": e.differs("05", false, right, "MXN"),
		"approved":      e.differs("51", true, right, "MXN"),
		"amount":        e.differs("51", false, decimal128.FromI64(125_001), "MXN"),
		"currency":      e.differs("51", false, right, "CLP"),
	} {
		if got != want {
			t.Errorf("a wrong %s is noticed as %q", want, got)
		}
	}
}

func TestPercentileIsNearestRank(t *testing.T) {
	values := []int64{10, 20, 30, 40, 50}
	for p, want := range map[float64]int64{1: 10, 20: 10, 21: 20, 50: 30, 99: 50, 100: 50} {
		if got := percentile(values, p); got != want {
			t.Errorf("percentile %v is %d, want %d", p, got, want)
		}
	}
	if percentile(nil, 50) != 0 {
		t.Error("percentile of nothing is not 0")
	}
}
