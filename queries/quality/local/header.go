package local

import (
	"bufio"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

// maxHeader bounds the first line of a CSV file, in bytes.
const maxHeader = 1 << 20

// header returns the names of a CSV file's columns: its first line, without spaces around the
// names. As in Spark, a column without a name is _c and its number; a name that is there twice
// gets a number too.
func header(path, separator string) (_ []string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var in io.Reader = f
	if strings.HasSuffix(strings.ToLower(path), ".gz") {
		z, err := gzip.NewReader(f)
		if err != nil {
			return nil, errors.New("the file is not compressed by gzip, as its name says")
		}
		in = z
	}
	text := bufio.NewReader(io.LimitReader(in, maxHeader))
	if mark, err := text.Peek(2); err == nil && (string(mark) == "\xff\xfe" || string(mark) == "\xfe\xff") {
		return nil, errors.New("the file is in UTF-16: convert it to UTF-8")
	}
	if mark, err := text.Peek(3); err == nil && string(mark) == "\ufeff" {
		if _, err := text.Discard(3); err != nil {
			return nil, err
		}
	}
	comma := []rune(separator)
	if len(comma) != 1 {
		return nil, errors.New("the separator is not one character")
	}
	r := csv.NewReader(text)
	r.Comma, r.LazyQuotes = comma[0], true
	names, err := r.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("the file is empty: its first line must name the columns")
	}
	if err != nil {
		return nil, errors.New("the first line of the file cannot be read as CSV")
	}
	seen := map[string]bool{}
	for i, name := range names {
		if strings.Contains(name, "\r") {
			return nil, errors.New("the file's lines end with CR alone: convert them to LF or CR LF")
		}
		if !utf8.ValidString(name) {
			return nil, errors.New("the first line of the file is not UTF-8")
		}
		name = strings.TrimSpace(name)
		if name == "" {
			name = fmt.Sprintf("_c%d", i)
		}
		for seen[strings.ToLower(name)] {
			name += "_1"
		}
		seen[strings.ToLower(name)] = true
		names[i] = name
	}
	return names, nil
}
