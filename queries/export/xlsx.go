package export

import (
	"archive/zip"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/klauspost/compress/flate"

	"github.com/cardlake/cardlake/queries"
)

// Bounds of a spreadsheet ("Excel specifications and limits").
const (
	sheetRows    = 1_048_576 // with the header
	sheetColumns = 16_384
	cellText     = 32_767 // UTF-16 code units
	exactDigits  = 15     // of a number
)

// The parts of a workbook of one sheet beside the sheet itself (ECMA-376 part 1, SpreadsheetML;
// part 2, Open Packaging Conventions). Style 1 is a date and time with milliseconds, 2 a date, 3
// a time of day, 4 the header.
var workbook = []struct{ name, content string }{
	{"[Content_Types].xml", `<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/><Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/><Override PartName="/xl/worksheets/sheet1.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/><Override PartName="/xl/styles.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.styles+xml"/></Types>`},
	{"_rels/.rels", `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>`},
	{"xl/workbook.xml", `<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets><sheet name="rows" sheetId="1" r:id="rId1"/></sheets></workbook>`},
	{"xl/_rels/workbook.xml.rels", `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/><Relationship Id="rId2" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/styles" Target="styles.xml"/></Relationships>`},
	{"xl/styles.xml", `<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><numFmts count="3"><numFmt numFmtId="164" formatCode="yyyy\-mm\-dd\ hh:mm:ss.000"/><numFmt numFmtId="165" formatCode="yyyy\-mm\-dd"/><numFmt numFmtId="166" formatCode="hh:mm:ss.000"/></numFmts><fonts count="2"><font><sz val="11"/><name val="Calibri"/></font><font><b/><sz val="11"/><name val="Calibri"/></font></fonts><fills count="2"><fill><patternFill patternType="none"/></fill><fill><patternFill patternType="gray125"/></fill></fills><borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders><cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs><cellXfs count="5"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/><xf numFmtId="164" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/><xf numFmtId="165" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/><xf numFmtId="166" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/><xf numFmtId="0" fontId="1" fillId="0" borderId="0" xfId="0" applyFont="1"/></cellXfs><cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>`},
}

const xmlHeader = `<?xml version="1.0" encoding="UTF-8" standalone="yes"?>` + "\n"

// xlsx writes a workbook of one sheet, with a header line, as a stream. Numbers are numbers as
// far as a spreadsheet keeps them exactly, of at most 15 digits, and texts beyond; instants are
// real dates in UTC, to the millisecond, and texts where spreadsheets have no date. Texts are
// texts, never formulas.
func xlsx(ctx context.Context, w io.Writer, rows queries.Rows) error {
	columns := rows.Columns()
	if len(columns) > sheetColumns {
		return &queries.Error{Message: fmt.Sprintf("a spreadsheet has at most %d columns", sheetColumns), Offset: -1}
	}
	for _, c := range columns {
		if _, nested := c.Type.(arrow.NestedType); nested || c.Type.ID() == arrow.INTERVAL_MONTH_DAY_NANO {
			return &queries.Error{Message: fmt.Sprintf("column %q: a cell cannot hold a value of type %s", c.Name, c.Type), Hint: "cast it, to VARCHAR for instance", Offset: -1}
		}
	}
	z := zip.NewWriter(w)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestSpeed) })
	for _, p := range workbook {
		f, err := z.Create(p.name)
		if err == nil {
			_, err = io.WriteString(f, xmlHeader+p.content)
		}
		if err != nil {
			return fmt.Errorf("xlsx: %w", err)
		}
	}
	f, err := z.Create("xl/worksheets/sheet1.xml")
	if err != nil {
		return fmt.Errorf("xlsx: %w", err)
	}
	out := bufio.NewWriterSize(f, 64<<10)
	if err := sheet(ctx, out, columns, rows); err != nil {
		return err
	}
	if err := errors.Join(out.Flush(), z.Close()); err != nil {
		return fmt.Errorf("xlsx: %w", err)
	}
	return nil
}

func sheet(ctx context.Context, w *bufio.Writer, columns []queries.Column, rows queries.Rows) error {
	line := append([]byte(xmlHeader), `<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetViews><sheetView workbookViewId="0"><pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/></sheetView></sheetViews><sheetData><row>`...)
	var err error
	for _, c := range columns {
		if line, err = appendCell(line, c.Name, 4); err != nil {
			return fmt.Errorf("the name of a column: %w", err)
		}
	}
	line = append(line, "</row>"...)
	row := make([]any, len(columns))
	for n := 0; ; n++ {
		if _, err := w.Write(line); err != nil {
			return fmt.Errorf("xlsx: %w", err)
		}
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if err := rows.Next(row); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		line = append(line[:0], "<row>"...)
		for i, v := range row {
			if line, err = appendValue(line, columns[i].Type, v); err != nil {
				return fmt.Errorf("column %q: %w", columns[i].Name, err)
			}
		}
		line = append(line, "</row>"...)
	}
	_, err = w.WriteString("</sheetData></worksheet>")
	return err
}

// appendValue appends the cell of a value of queries.Column.
func appendValue(b []byte, typ arrow.DataType, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(b, "<c/>"...), nil
	case string:
		return appendCell(b, v, 0)
	case bool:
		n := byte('0')
		if v {
			n = '1'
		}
		return append(append(append(b, `<c t="b"><v>`...), n), "</v></c>"...), nil
	case int8, int16, int32, int64, uint8, uint16, uint32, uint64:
		return appendNumber(b, fmt.Sprint(v))
	case float32:
		return appendFloat(b, float64(v), 32)
	case float64:
		return appendFloat(b, v, 64)
	case decimal128.Num:
		return appendNumber(b, v.ToString(typ.(*arrow.Decimal128Type).Scale))
	case []byte:
		return appendCell(b, fmt.Sprintf(`\x%x`, v), 0)
	case time.Time:
		return appendTime(b, typ, v)
	}
	return nil, fmt.Errorf("a cell cannot hold a %T", v)
}

// appendNumber appends a decimal number: as text if a spreadsheet would round it.
func appendNumber(b []byte, s string) ([]byte, error) {
	digits := strings.TrimLeft(strings.Replace(strings.TrimPrefix(s, "-"), ".", "", 1), "0")
	if strings.Contains(s, ".") {
		digits = strings.TrimRight(digits, "0")
	}
	if len(digits) > exactDigits {
		return appendCell(b, s, 0)
	}
	return append(append(append(b, "<c><v>"...), s...), "</v></c>"...), nil
}

// appendFloat appends a binary number, which is as a spreadsheet has it; what is none is a text.
func appendFloat(b []byte, f float64, bits int) ([]byte, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return appendCell(b, strconv.FormatFloat(f, 'g', -1, bits), 0)
	}
	return append(strconv.AppendFloat(append(b, "<c><v>"...), f, 'g', -1, bits), "</v></c>"...), nil
}

// Dates that a spreadsheet has: before March 1900 it counts a day that never was.
var (
	epoch     = time.Date(1899, 12, 30, 0, 0, 0, 0, time.UTC)
	firstDate = time.Date(1900, 3, 1, 0, 0, 0, 0, time.UTC)
	lastDate  = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
)

const dayMicros = 24 * 60 * 60 * 1_000_000

func appendTime(b []byte, typ arrow.DataType, t time.Time) ([]byte, error) {
	style := byte('1')
	switch typ.ID() {
	case arrow.DATE32:
		style = '2'
	case arrow.TIME64:
		style = '3'
		t = epoch.Add(time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute + time.Duration(t.Second())*time.Second + time.Duration(t.Nanosecond()))
	}
	if style != '3' && (t.Before(firstDate) || !t.Before(lastDate)) {
		return appendCell(b, t.Format(time.RFC3339Nano), 0)
	}
	micros := t.UnixMicro() - epoch.UnixMicro()
	b = append(append(append(b, `<c s="`...), style), `"><v>`...)
	b = strconv.AppendInt(b, micros/dayMicros, 10)
	if rest := micros % dayMicros; rest != 0 {
		// Eleven places tell microseconds apart; a spreadsheet keeps ten or eleven of them.
		fraction := strconv.FormatInt(fractionOf(rest), 10)
		b = append(b, '.')
		b = append(b, "00000000000"[len(fraction):]...)
		b = append(b, fraction...)
	}
	return append(b, "</v></c>"...), nil
}

// fractionOf returns the microseconds as 10^-11 of a day, rounded: a day has 864 * 10^8 of them.
func fractionOf(micros int64) int64 { return min((micros*125+54)/108, 99_999_999_999) }

// appendCell appends a text: a string within the cell, which is never a formula. What XML cannot
// have is written as _xHHHH_ (ECMA-376 part 1, 22.9.2.19 ST_Xstring), and so is an underscore
// that would read as the beginning of that.
func appendCell(b []byte, s string, style byte) ([]byte, error) {
	if len(s) > cellText {
		units := 0
		for _, r := range s {
			if units++; r > 0xffff {
				units++
			}
		}
		if units > cellText {
			return nil, &queries.Error{Message: fmt.Sprintf("a text is longer than the %d characters that a cell can hold", cellText), Hint: "export csv, jsonl or parquet", Offset: -1}
		}
	}
	b = append(b, `<c t="inlineStr"`...)
	if style != 0 {
		b = append(append(append(b, ` s="`...), '0'+style), '"')
	}
	b = append(b, `><is><t xml:space="preserve">`...)
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '<' && c != '>' && c != '&' && c != '_' {
			b = append(b, c)
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '<':
			b = append(b, "&lt;"...)
		case r == '>':
			b = append(b, "&gt;"...)
		case r == '&':
			b = append(b, "&amp;"...)
		case r == '_' && isEscape(s[i:]):
			b = append(b, "_x005F_"...)
		case r < ' ' && r != '\t' && r != '\n', r == 0xfffe, r == 0xffff:
			b = fmt.Appendf(b, "_x%04X_", r)
		default: // bytes that are no UTF-8 become U+FFFD
			b = utf8.AppendRune(b, r)
		}
		i += size
	}
	return append(b, "</t></is></c>"...), nil
}

// isEscape reports whether the text begins with what reads as _xHHHH_.
func isEscape(s string) bool {
	if len(s) < 7 || s[1] != 'x' || s[6] != '_' {
		return false
	}
	for _, c := range []byte(s[2:6]) {
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F') {
			return false
		}
	}
	return true
}
