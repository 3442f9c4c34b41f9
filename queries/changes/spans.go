package changes

import (
	"sync"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries/scan"
)

// span is where on the streams the rows of a file lie: the first place of each partition, and
// the one behind the last.
type span map[cardlake.StreamPartition][2]int64

func (s span) extend(at cardlake.Position) {
	ends, ok := s[at.StreamPartition]
	if !ok {
		ends = [2]int64{at.Offset, at.Offset + 1}
	}
	s[at.StreamPartition] = [2]int64{min(ends[0], at.Offset), max(ends[1], at.Offset+1)}
}

// reaches reports whether the window may have some of the rows.
func (s span) reaches(w scan.Window) bool {
	for p, ends := range s {
		if ends[0] < w.Until[p].Next && ends[1] > w.From[p].Next {
			return true
		}
	}
	return false
}

// maxSpans bounds how many partitions of files are remembered: some 100 MB.
const maxSpans = 1 << 20

// spans remembers where the rows of files lie. Files never change, and names are never used
// again.
type spans struct {
	mu     sync.Mutex
	byName map[string]span
	n      int
}

func (s *spans) add(name string, of span) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byName == nil || s.n+len(of) > maxSpans {
		s.byName, s.n = map[string]span{}, 0
	}
	if _, ok := s.byName[name]; !ok {
		s.n += len(of)
	}
	s.byName[name] = of
}

// unknown are the files of which nothing is remembered.
func (s *spans) unknown(files []cardlake.DataFile) (out []cardlake.DataFile) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range files {
		if _, ok := s.byName[f.Name]; !ok {
			out = append(out, f)
		}
	}
	return out
}

// reaching leaves out the files that are known to have no row in the window.
func (s *spans) reaching(files []cardlake.DataFile, w scan.Window) []cardlake.DataFile {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []cardlake.DataFile
	for _, f := range files {
		if of, ok := s.byName[f.Name]; !ok || of.reaches(w) {
			out = append(out, f)
		}
	}
	return out
}
