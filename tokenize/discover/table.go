package discover

import (
	"bytes"
	"strings"
)

// table is the form of a text of separated values (RFC 4180 and its relatives).
type table struct {
	delimiter byte
	names     []string // of the columns; nil if the first line is no header
	secret    []Kind   // by column: what its name says it holds that may not be there
	told      []bool   // by column: that a secret was reported
}

// maxLine is how far back the beginning of a line is looked for.
const maxLine = 64 << 10

// newTable returns the form of a text by its first lines, nil if they are no table.
func newTable(head []byte) *table {
	var lines [][]byte
	for len(lines) < 3 {
		line, rest, found := bytes.Cut(head, []byte{'\n'})
		if !found && len(lines) > 0 && len(line) == 0 {
			break
		}
		lines, head = append(lines, bytes.TrimSuffix(line, []byte{'\r'})), rest
		if !found {
			break
		}
	}
	if len(lines) < 2 || len(lines[0]) == 0 || len(lines[0]) > maxLine || bytes.IndexByte(lines[0], 0) >= 0 || lines[0][0] == '{' || lines[0][0] == '[' || lines[0][0] == '<' {
		return nil
	}
	for _, d := range []byte{',', ';', '\t', '|'} {
		t := &table{delimiter: d}
		n := len(t.split(lines[0]))
		if n < 2 || len(t.split(lines[1])) != n || len(lines) > 2 && len(lines[2]) > 0 && head != nil && len(t.split(lines[2])) != n {
			continue
		}
		t.header(t.split(lines[0]))
		return t
	}
	// One column alone: a name over a number.
	if name := string(lines[0]); len(name) <= 40 && !strings.ContainsAny(name, " :=") && strings.IndexFunc(name, func(r rune) bool { return r >= '0' && r <= '9' }) < 0 &&
		len(lines[1]) > 0 && isDigit(lines[1][0]) && bytes.IndexByte(lines[1], ' ') < 0 {
		t := &table{}
		t.header([]string{name})
		return t
	}
	return nil
}

// header takes the first line for names, unless it has a long number.
func (t *table) header(fields []string) {
	for _, f := range fields {
		digits := 0
		for i := range len(f) {
			if isDigit(f[i]) {
				digits++
			}
		}
		if digits > 4 || len(f) > 2*maxBefore {
			return
		}
	}
	for _, f := range fields {
		t.names = append(t.names, strings.ToValidUTF8(strings.Trim(strings.TrimPrefix(f, "\ufeff"), "\" "), "?"))
		t.secret = append(t.secret, secretNamed(f))
	}
	t.told = make([]bool, len(fields))
}

// split returns the fields of a line. A delimiter in quotes separates nothing.
func (t *table) split(line []byte) (fields []string) {
	begin, quoted := 0, false
	for i, c := range line {
		if c == '"' {
			quoted = !quoted
		}
		if c == t.delimiter && !quoted && t.delimiter != 0 {
			fields = append(fields, string(line[begin:i]))
			begin = i + 1
		}
	}
	return append(fields, string(line[begin:]))
}

// locate returns the column of data[i] and where its field begins.
func (t *table) locate(data []byte, i int) (column, begin int) {
	begin = bytes.LastIndexByte(data[max(0, i-maxLine):i], '\n') + 1 + max(0, i-maxLine)
	quoted := false
	for j := begin; j < i; j++ {
		switch c := data[j]; {
		case c == '"':
			quoted = !quoted
		case c == t.delimiter && !quoted && t.delimiter != 0:
			column++
			begin = j + 1
		}
	}
	return column, begin
}

func (t *table) index(data []byte, i int) int {
	column, _ := t.locate(data, i)
	return column
}

func (t *table) cell(data []byte, i int) int {
	_, begin := t.locate(data, i)
	return begin
}

func (t *table) name(data []byte, i int) string {
	if column := t.index(data, i); column < len(t.names) {
		return t.names[column]
	}
	return ""
}

// secrets looks into the columns that are named like security codes or PIN blocks. One finding
// is made of each.
func (t *table) secrets(s *search) {
	wanted := false
	for i, kind := range t.secret {
		wanted = wanted || kind != "" && !t.told[i]
	}
	if !wanted {
		return
	}
	limit := min(s.to, len(s.data))
	for begin := s.from; begin < limit; {
		end := bytes.IndexByte(s.data[begin:], '\n')
		if end < 0 {
			end = len(s.data) - begin
		}
		line := s.data[begin : begin+end]
		at := begin
		for i, f := range t.split(bytes.TrimSuffix(line, []byte{'\r'})) {
			if i < len(t.secret) && t.secret[i] != "" && !t.told[i] && t.secret[i].fits([]byte(strings.Trim(f, "\" "))) {
				t.told[i] = true
				s.found = append(s.found, candidate{start: at, end: at + len(f), kind: t.secret[i], enc: ASCII, confidence: High, reason: "the name of its column"})
			}
			at += len(f) + 1
		}
		begin += end + 1
	}
}
