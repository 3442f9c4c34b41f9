package sim

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
)

// labels is the side file that tells which events are fraud: one JSON object a line with
// event_id, pattern and episode. It holds no card number.
type labels struct {
	f *os.File
	w *bufio.Writer
}

// openLabels writes the labels of all messages below next anew, because a killed process may
// have left out some, and leaves the file open for more.
func openLabels(dir string, t *Traffic, next uint64) (*labels, error) {
	path := filepath.Join(dir, "labels.jsonl")
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open labels: %w", err)
	}
	l := &labels{f: f, w: bufio.NewWriterSize(f, 1<<16)}
	var m Message
	for b := uint64(0); b*block < next; b++ {
		for _, move := range t.hatch(b).moves {
			if move.pattern != "" && move.number < next {
				t.Message(move.number, &m)
				l.add(&m)
			}
		}
	}
	err = l.w.Flush()
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open labels: %w", err)
	}
	return l, nil
}

// add writes m's label, if it has one; a failure shows at the next flush.
func (l *labels) add(m *Message) {
	if m.Pattern != "" && m.Distinct {
		fmt.Fprintf(l.w, "{\"event_id\":%q,\"pattern\":%q,\"episode\":%q}\n", m.EventID(), m.Pattern, m.Episode)
	}
}

func (l *labels) flush() error {
	if err := l.w.Flush(); err != nil {
		return fmt.Errorf("write labels: %w", err)
	}
	return nil
}

func (l *labels) close() error {
	err := l.flush()
	if cerr := l.f.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("close labels: %w", cerr)
	}
	return err
}
