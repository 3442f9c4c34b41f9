package audit

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	segmentPrefix = "audit-"
	segmentSuffix = ".jsonl"
	lockName      = "lock"
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

// lines reads the lines of a segment one after the other.
type lines struct {
	file *os.File
	in   *bufio.Reader
	end  int64 // of the last whole line
}

func openLines(dir string, number int) (*lines, error) {
	f, err := os.Open(filepath.Join(dir, segmentName(number)))
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	return &lines{file: f, in: bufio.NewReaderSize(f, 64<<10)}, nil
}

func (l *lines) close() { _ = l.file.Close() } // it was only read

// next returns a line without its end of line. At the end it returns io.EOF and what
// follows the last whole line, which is empty unless a writer died or is writing.
func (l *lines) next() ([]byte, error) {
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
