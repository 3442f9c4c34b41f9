package discover_test

import (
	"bytes"
	"testing"

	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/tokenize/discover"
)

// A number that all rows have, such as a snapshot's id, is one number, however many rows: it is
// not for its share that it counts.
func TestConstantColumnIsNoRule(t *testing.T) {
	id := []byte("427250123456789012")
	id = append(id, card.LuhnDigit(id))
	var got []discover.Detection
	c := discover.NewDetector(discover.DetectorConfig{}).Column(discover.Place{Field: "snapshot_id"}, func(d discover.Detection) bool {
		got = append(got, d)
		return true
	})
	for row := range int64(12) {
		c.AddInteger(0, row+1, id)
	}
	c.Flush()
	for _, d := range got {
		if d.Confidence > discover.Low {
			t.Fatalf("row %d is of %s confidence: %s", d.Row, d.Confidence, d.Reason)
		}
	}
	if len(got) != 12 {
		t.Errorf("%d detections, want 12 of low confidence", len(got))
	}
}

// What a log repeats in packed digits is one number.
func TestRepeatedPackedDigitsAreChance(t *testing.T) {
	record := append(bytes.Repeat([]byte{0, 0xee}, 400), 0xff, 0x41, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0xff)
	var got []discover.Detection
	err := discover.NewDetector(discover.DetectorConfig{}).Scan(bytes.NewReader(bytes.Repeat(record, 90)), discover.Place{Path: "log"}, func(d discover.Detection) bool {
		got = append(got, d)
		return true
	})
	if err != nil || len(got) == 0 {
		t.Fatal(len(got), err)
	}
	for _, d := range got {
		if d.Confidence > discover.Low {
			t.Fatalf("offset %d is of %s confidence: %s", d.Offset, d.Confidence, d.Reason)
		}
	}
}
