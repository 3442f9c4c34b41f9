package cardlake

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

// rowOfMerchant is a row with a merchant's name as it may come from the stream, however long.
func rowOfMerchant(merchant string) *Row {
	r := &Row{}
	t := &Transaction{EventID: EventID{1}, TransactionID: EventID{1}, EventType: Authorization, Tenant: "aurora-pay", Region: "local",
		EventTime: 1, IngestedAt: 1, CardToken: "tk1_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", Network: Visa, Amount: Money{1, "MXN"},
		Channel: POS, EntryMode: "chip", ResponseCode: "00", MTI: "0100", Position: Position{StreamPartition: StreamPartition{Stream: "s"}}}
	if err := r.set(t); err != nil {
		panic(err)
	}
	if merchant != "" {
		from := len(r.Data)
		r.Data = append(r.Data, merchant...)
		r.Spans[TextMerchantName] = SpanOf(from, len(r.Data))
	}
	return r
}

// What is too long is refused whatever the batch holds.
func TestTooLongIsRefusedAfterAnEmptyCombination(t *testing.T) {
	long := strings.Repeat("M", 300)
	b := NewBatch()
	if err := b.AppendRow(rowOfMerchant(long)); !errors.Is(err, ErrField) {
		t.Fatalf("fresh batch: %v", err)
	}
	if err := b.AppendRow(rowOfMerchant("")); err != nil {
		t.Fatal(err)
	}
	if err := b.AppendRow(rowOfMerchant(long)); !errors.Is(err, ErrField) {
		t.Errorf("after a row without a merchant: error %v, %d rows: a merchant name of 300 bytes is taken and lost", err, b.Len())
	}
}

// What a batch accepts, and what it says a row holds, does not depend on the rows before.
func TestAcceptanceDoesNotDependOnHistory(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	pool := []string{"", "", "a", "b", "MXN", "840", "\xff", strings.Repeat("x", 120), strings.Repeat("y", 300), "é", "ab", "a\x00b", "00"}
	b := NewBatch()
	var want [][TextCount]string
	for range 60000 {
		row := rowOfMerchant("")
		data := append([]byte(nil), row.Data...)
		for range r.IntN(4) {
			tx := Text(r.IntN(int(TextCount)))
			s := pool[r.IntN(len(pool))]
			if r.IntN(3) == 0 && len(s) > 0 { // share with another text's place
				row.Spans[tx] = row.Spans[r.IntN(int(TextCount))]
				continue
			}
			from := len(data)
			data = append(data, s...)
			row.Spans[tx] = SpanOf(from, len(data))
		}
		row.Data = data
		fresh := NewBatch().AppendRow(row)
		got := b.AppendRow(row)
		if (fresh == nil) != (got == nil) || fresh != nil && fresh.Error() != got.Error() {
			t.Fatalf("fresh %v, after %d rows %v", fresh, b.Len(), got)
		}
		if got == nil {
			var w [TextCount]string
			for i := range w {
				w[i] = strings.Clone(row.Text(Text(i)))
			}
			want = append(want, w)
		}
	}
	view := b.View()
	defer view.Release()
	for i := range int(TextCount) {
		at := view.Schema().FieldIndices(Text(i).String())[0]
		col := view.Column(at)
		for n, w := range want {
			got := col.ValueStr(n)
			if col.IsNull(n) {
				got = ""
			}
			if got != w[i] {
				t.Fatalf("row %d %s: %q, want %q", n, Text(i), got, w[i])
			}
		}
	}
}
