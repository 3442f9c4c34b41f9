package labels

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

const (
	maxReports = 1_000_000 // of one file
	maxLine    = 64 << 10  // bytes
	maxFile    = 128 << 20 // bytes
	maxFaults  = 20        // that one reading tells of
)

// fields are those of a file. The simulator's labels name the episode of a fraud besides, which says nothing of the event.
var fields = []string{"event_id", "label", "reported_at", "pattern", "note", "episode"}

const fieldList = "event_id, label, reported_at, pattern and note"

// Read reads a file of reports: CSV with a heading, or a JSON object on each line, which its first sign tells. event_id is needed;
// label is fraud unless it is given; reported_at is a day, or an instant of RFC 3339; pattern and note are free to give. A fault is
// told by line and field, up to twenty of them, and then nothing is returned.
func Read(file io.Reader, now time.Time) ([]Report, error) {
	text := bufio.NewReaderSize(&bounded{file, maxFile}, maxLine)
	if mark, _ := text.Peek(3); string(mark) == "\ufeff" {
		text.Discard(3)
	}
	next := readCSV(text)
	// A short file gives an error beside what there is, which is met again when it is read.
	if first, _ := text.Peek(512); bytes.HasPrefix(bytes.TrimSpace(first), []byte("{")) {
		next = readJSON(text)
	}
	in := reading{now: now, at: map[string]int{}}
	for {
		record, line, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = in.add(record, line)
		}
		if err != nil {
			if line > 0 {
				err = fmt.Errorf("line %d: %w", line, err)
			}
			in.faults = append(in.faults, err)
		}
		if line <= 0 || len(in.faults) == maxFaults {
			break
		}
	}
	if len(in.faults) > 0 {
		return nil, errors.Join(in.faults...)
	}
	if len(in.reports) == 0 {
		return nil, errors.New("the file has no reports")
	}
	return in.reports, nil
}

// bounded is a file of which no more is read: a quote that is never closed must not fill the memory.
type bounded struct {
	file io.Reader
	left int
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, fmt.Errorf("the file is larger than %d MiB: split it", maxFile>>20)
	}
	n, err := b.file.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// reading is the reports of a file so far.
type reading struct {
	now     time.Time
	reports []Report
	at      map[string]int // of an event and a time, in reports
	faults  []error
}

func (in *reading) add(record map[string]string, line int) error {
	r := Report{EventID: strings.ToLower(record["event_id"]), Label: Label(record["label"]), Pattern: record["pattern"], Note: record["note"], line: line}
	if r.Label == "" {
		r.Label = Fraud
	}
	var faults []error
	if text := record["reported_at"]; text != "" {
		var err error
		if r.ReportedAt, err = time.Parse(time.DateOnly, text); err != nil {
			if r.ReportedAt, err = time.Parse(time.RFC3339Nano, text); err != nil {
				faults = append(faults, errors.New("reported_at is neither a day, 2006-01-02, nor an instant, 2006-01-02T15:04:05Z"))
			}
		}
		r.ReportedAt = r.ReportedAt.UTC().Truncate(time.Microsecond)
	}
	if err := errors.Join(append(faults, r.check(in.now))...); err != nil {
		return errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	key := r.EventID + r.ReportedAt.String()
	if i, ok := in.at[key]; ok {
		if old := in.reports[i]; old.Label != r.Label {
			return fmt.Errorf("label of the event of line %d is another there, at the same time", old.line)
		}
		return nil
	}
	if len(in.reports) == maxReports {
		return fmt.Errorf("the file has more than %d reports: split it", maxReports)
	}
	in.at[key] = len(in.reports)
	in.reports = append(in.reports, r)
	return nil
}

// source gives the next record of a file and the line where it begins; 0 says that what follows cannot be read.
type source func() (record map[string]string, line int, err error)

func readCSV(text io.Reader) source {
	lines := csv.NewReader(text)
	lines.TrimLeadingSpace = true
	var heading []string
	return func() (map[string]string, int, error) {
		if heading == nil {
			record, err := lines.Read()
			if errors.Is(err, io.EOF) {
				return nil, 0, io.EOF
			}
			if err != nil {
				return nil, 0, plain(err)
			}
			for i, name := range record {
				name = strings.ToLower(strings.TrimSpace(name))
				if !slices.Contains(fields, name) || slices.Contains(heading, name) {
					return nil, 0, fmt.Errorf("the heading's column %d is none of %s, or is there twice", i+1, fieldList)
				}
				heading = append(heading, name)
			}
			if !slices.Contains(heading, "event_id") {
				return nil, 0, errors.New("the heading has no event_id")
			}
		}
		record, err := lines.Read()
		switch {
		case errors.Is(err, io.EOF):
			return nil, 0, io.EOF
		case errors.Is(err, csv.ErrFieldCount):
			line, _ := lines.FieldPos(0)
			return nil, line, fmt.Errorf("has %d fields, the heading has %d", len(record), len(heading))
		case err != nil:
			return nil, 0, plain(err)
		}
		line, _ := lines.FieldPos(0)
		out := map[string]string{}
		for i, name := range heading {
			if len(record[i]) > maxLine {
				return nil, line, fmt.Errorf("%s is too long", name)
			}
			out[name] = strings.TrimSpace(record[i])
		}
		return out, line, nil
	}
}

// plain keeps of an error of reading what names no content: package csv's have lines, columns and rules.
func plain(err error) error {
	if fault := (*csv.ParseError)(nil); errors.As(err, &fault) {
		return fmt.Errorf("line %d, column %d: %w", fault.Line, fault.Column, fault.Err)
	}
	return fmt.Errorf("read: %w", err)
}

func readJSON(text io.Reader) source {
	lines := bufio.NewScanner(text)
	lines.Buffer(make([]byte, 0, maxLine), maxLine)
	at := 0
	return func() (map[string]string, int, error) {
		for lines.Scan() {
			at++
			line := bytes.TrimSpace(lines.Bytes())
			if len(line) == 0 {
				continue
			}
			var values map[string]*string
			if json.Unmarshal(line, &values) != nil || values == nil {
				return nil, at, errors.New("is not a JSON object whose values are texts")
			}
			out := map[string]string{}
			for name, value := range values {
				if !slices.Contains(fields, name) {
					return nil, at, fmt.Errorf("has a field that is none of %s", fieldList)
				}
				if value != nil {
					out[name] = strings.TrimSpace(*value)
				}
			}
			return out, at, nil
		}
		if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
			return nil, 0, fmt.Errorf("line %d is longer than %d bytes", at+1, maxLine)
		} else if err != nil {
			return nil, 0, fmt.Errorf("read: %w", err)
		}
		return nil, 0, io.EOF
	}
}
