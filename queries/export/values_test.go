package export_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"
	"github.com/xuri/excelize/v2"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries/export"
	"github.com/cardlake/cardlake/queries/queriestest"
)

// hostile are values that writers and readers of the formats could take for something else.
var hostile = []string{
	"plain", "", " spaces ", "com,ma", `quo"te`, "line\nfeed", "carriage\rreturn", "both\r\n", "tab\t", "nul\x00byte", "bell\a\x1f\x7f", "São João €𝄞",
	"=1+1", "+1", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0", `=HYPERLINK("http://example.com","x")`, "'=1", "<b>&amp;</b>", "]]>", "_x0041_", "_x000D_", "_", "\u2028",
	"{\"a\":1}", "\\N", "NULL", "\ufeff", "../../x", "%00", strings.Repeat("long ", 2000), "\xf0\x9f\x92\xb3",
}

// hostileWorld has a file of aurora with a row for each value, as the merchant's name.
func hostileWorld(t *testing.T, values []string) *world {
	w := newWorld(t, 0, 0, nil)
	start := queriestest.Epoch.UnixMicro()
	body, err := queriestest.Parquet(cardlake.Transactions, len(values), func(c cardlake.Column, row int) any {
		switch c.Name {
		case "tenant":
			return "aurora"
		case "merchant_name":
			return values[row]
		case "event_time":
			return start + int64(row)*1_234_567
		case "local_time":
			if row%2 == 0 {
				return nil
			}
			return start - 200*365*24*int64(time.Hour/time.Microsecond) // before spreadsheets have dates
		case "amount", "billing_amount":
			if row%2 == 0 {
				return int64(999_999_999_999_999_999) - int64(row)
			}
			return -int64(row)*10_001 - 1
		case "stream_offset":
			return int64(1)<<60 + int64(row)
		}
		switch {
		case c.Nullable:
			return nil
		case c.Type == cardlake.String:
			return fmt.Sprintf("%s-%d", c.Name, row)
		case c.Type == cardlake.Bool:
			return true
		}
		return int64(row)
	})
	if err != nil {
		t.Fatal(err)
	}
	w.lake.Add(cardlake.Transactions, cardlake.DataFile{
		Name: "data/hostile.parquet", Tenant: "aurora", Day: cardlake.DayOf(start), Rows: int64(len(values)), Bytes: int64(len(body)), MinTime: start, MaxTime: start + int64(len(values))*1_234_567,
	}, body)
	return w
}

// TestHostileValues: every value comes back as it is, in every format; in CSV behind an
// apostrophe if a spreadsheet would compute it.
func TestHostileValues(t *testing.T) {
	w := hostileWorld(t, hostile)
	r := export.Request{Table: table, Columns: []string{"merchant_name", "event_time", "amount", "local_time", "stream_offset"}}
	read := func(f export.Format, isRaw bool) []byte {
		r.Format, r.RawText = f, isRaw
		j := w.run(ana, r)
		wantDone(t, j)
		return w.read(ana, j, 1)
	}
	for _, isRaw := range []bool{false, true} {
		lines, err := csv.NewReader(bytes.NewReader(read(export.CSV, isRaw))).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		var got, want []string
		for i, line := range lines[1:] {
			got = append(got, line[0])
			// The reader takes a line feed for CR LF within quotes (encoding/csv).
			value := strings.ReplaceAll(hostile[i], "\r\n", "\n")
			if !isRaw && value != "" && strings.ContainsAny(value[:1], "=+-@\t\r\n") {
				value = "'" + value
			}
			want = append(want, value)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("csv, raw %t: %s", isRaw, d)
		}
		if got := lines[2][2]; got != "-1.0002" {
			t.Errorf("amount %s: numbers have no apostrophe", got)
		}
	}
	var got []string
	for line := range bytes.Lines(read(export.JSONL, false)) {
		var row struct {
			Name   string      `json:"merchant_name"`
			Amount json.Number `json:"amount"`
		}
		if err := json.Unmarshal(line, &row); err != nil {
			t.Fatal(err)
		}
		got = append(got, row.Name)
	}
	if d := cmp.Diff(hostile, got); d != "" {
		t.Errorf("jsonl: %s", d)
	}
	body := read(export.Parquet, false)
	rows, err := parquet.Read[struct {
		Name string `parquet:"merchant_name,optional"`
	}](bytes.NewReader(body), int64(len(body)))
	if err != nil {
		t.Fatal(err)
	}
	got = nil
	for _, row := range rows {
		got = append(got, row.Name)
	}
	if d := cmp.Diff(hostile, got); d != "" {
		t.Errorf("parquet: %s", d)
	}
	book, err := excelize.OpenReader(bytes.NewReader(read(export.XLSX, false)))
	if err != nil {
		t.Fatal(err)
	}
	defer book.Close()
	sheet, err := book.GetRows("rows", excelize.Options{RawCellValue: true})
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range sheet[1:] {
		if want := hostile[i]; row[0] != want && strings.ReplaceAll(row[0], "\n", "\r\n") != want && strings.ReplaceAll(row[0], "\n", "\r") != want {
			t.Errorf("xlsx: %q, want %q", row[0], want)
		}
		cell := fmt.Sprintf("A%d", i+2)
		if formula, err := book.GetCellFormula("rows", cell); err != nil || formula != "" {
			t.Errorf("%s is a formula: %q, %v", cell, formula, err)
		}
		for column, want := range map[string][2]excelize.CellType{
			"B": {excelize.CellTypeUnset, excelize.CellTypeUnset},
			"C": {excelize.CellTypeInlineString, excelize.CellTypeUnset}, // of more than 15 digits, a text
			"D": {excelize.CellTypeUnset, excelize.CellTypeInlineString}, // before there are dates, a text
			"E": {excelize.CellTypeInlineString, excelize.CellTypeInlineString},
		} {
			if got, err := book.GetCellType("rows", fmt.Sprintf("%s%d", column, i+2)); err != nil || got != want[i%2] {
				t.Errorf("%s%d is of type %d, want %d, %v", column, i+2, got, want[i%2], err)
			}
		}
	}
	if sheet[1][2] != "99999999999999.9999" || sheet[2][2] != "-1.0002" || sheet[1][4] != "1152921504606846976" {
		t.Errorf("amounts %s and %s, offset %s", sheet[1][2], sheet[2][2], sheet[1][4])
	}
	// 46082 days after 30 December 1899, and 1.234567 seconds.
	shown, err := book.GetCellValue("rows", "B3")
	if err != nil || sheet[2][1] != "46082.00001428897" || !strings.HasPrefix(shown, "2026-03-01 00:00:01") {
		t.Errorf("the time is %s, shown as %q, %v", sheet[2][1], shown, err)
	}
}

// TestLongCell: a text that no cell can hold fails the spreadsheet, and says what to do.
func TestLongCell(t *testing.T) {
	w := hostileWorld(t, []string{strings.Repeat("x", 32_767)})
	wantDone(t, w.run(ana, plain(export.XLSX)))
	w = hostileWorld(t, []string{"a", strings.Repeat("x", 32_768)})
	j := w.run(ana, plain(export.XLSX))
	if j.State != export.Failed || !strings.Contains(j.Error, "32767") || !strings.Contains(j.Error, "csv") || w.objects() != 0 {
		t.Errorf("the export is %s: %s", j.State, j.Error)
	}
}

// TestNoRows: an answer without rows has one file, which says what its columns are.
func TestNoRows(t *testing.T) {
	w := newWorld(t, 2, 10, nil)
	for _, f := range export.Formats {
		r := plain(f)
		r.From = queriestest.Epoch.Add(1000 * time.Hour)
		j := w.run(ana, r)
		wantDone(t, j)
		m := w.manifest(ana, j)
		if m.Rows != 0 || len(m.Files) != 1 || !slices.ContainsFunc(m.Columns, func(c export.ManifestColumn) bool { return c.Name == "amount" }) {
			t.Errorf("%s: %+v", f, m)
		}
		body := w.read(ana, j, 1)
		if f == export.CSV && !bytes.HasPrefix(body, []byte("event_id,")) || f == export.Parquet && !bytes.HasPrefix(body, []byte("PAR1")) {
			t.Errorf("%s: %.20q", f, body)
		}
	}
}
