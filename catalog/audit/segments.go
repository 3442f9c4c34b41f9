package audit

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
)

const (
	segmentPrefix  = "audit-"
	segmentSuffix  = ".jsonl"
	lockName       = "lock"        // held by who writes
	turnName       = "turn"        // held by who writes next
	anchorLockName = "anchor.lock" // held by who saves the anchor
)

// segmentName has eight digits, too few for a card number; a name of more sorts by number
// all the same.
func segmentName(number int) string {
	return fmt.Sprintf("%s%08d%s", segmentPrefix, number, segmentSuffix)
}

// segmentsIn lists the numbers of a log's segments in order. A folder that is not there has
// none.
func segmentsIn(dir string) ([]int, error) {
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	var out []int
	for _, f := range files {
		name, ok := strings.CutPrefix(f.Name(), segmentPrefix)
		if !ok {
			continue
		}
		digits, ok := strings.CutSuffix(name, segmentSuffix)
		n, err := strconv.Atoi(digits)
		if !ok || err != nil || n < 1 || f.Name() != segmentName(n) {
			return nil, fmt.Errorf("audit log: %s is in its folder and no segment of it", filepath.Join(dir, f.Name()))
		}
		out = append(out, n)
	}
	slices.Sort(out)
	return out, nil
}

// lineReader reads lines one after the other.
type lineReader struct {
	in  *bufio.Reader
	end int64 // of the last whole line
}

func newLineReader(r io.Reader) *lineReader {
	return &lineReader{in: bufio.NewReaderSize(r, 64<<10)}
}

// next returns a line without its end of line. At the end it returns io.EOF and what
// follows the last whole line, which is empty unless a writer died or is writing.
func (l *lineReader) next() ([]byte, error) {
	var line []byte
	for {
		part, err := l.in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			l.end += int64(len(line))
			return line[:len(line)-1], nil
		case err == bufio.ErrBufferFull && len(line) <= maxLine:
			continue
		case err == bufio.ErrBufferFull:
			return nil, errLine
		case err == io.EOF:
			return line, io.EOF
		default:
			return nil, fmt.Errorf("audit log: %w", err)
		}
	}
}

// lines reads the lines of a segment of a folder.
type lines struct {
	*lineReader
	file *os.File
}

func openLines(dir string, number int) (*lines, error) {
	f, err := os.Open(filepath.Join(dir, segmentName(number)))
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	return &lines{newLineReader(f), f}, nil
}

func (l *lines) close() { _ = l.file.Close() } // it was only read

// Locate returns the number of the segment that line seq is in if the log is as it should be,
// the oldest for a line that is older than all. It verifies nothing. A log without a line
// gives 0.
func Locate(ctx context.Context, from Segments, seq uint64) (int, error) {
	numbers, err := from.Numbers(ctx)
	if err != nil || len(numbers) == 0 {
		return 0, err
	}
	var failed error
	after := sort.Search(len(numbers), func(i int) bool {
		first, err := firstSeq(ctx, from, numbers[i])
		if err != nil {
			failed = err
		}
		return first > seq || first == 0 // a segment without a line is the newest
	})
	return numbers[max(after-1, 0)], failed
}

// firstSeq is the number of a segment's first line, 0 if it is not written yet or is none.
func firstSeq(ctx context.Context, from Segments, number int) (uint64, error) {
	f, err := from.Open(ctx, number)
	if err != nil {
		return 0, fmt.Errorf("audit log: %w", err)
	}
	defer f.Close()
	line, err := newLineReader(f).next()
	if errors.Is(err, io.EOF) || errors.Is(err, errLine) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	l, err := linkOf(line)
	if err != nil {
		return 0, nil // whoever verifies it will say so
	}
	return l.seq, nil
}
