package grants

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Fault is one thing that is wrong with a set: where, what, and what to do.
type Fault struct {
	File    string // in the folder, with slashes
	Line    int    // from 1; 0 for the file as a whole
	Message string
}

func (f Fault) String() string {
	if f.Line > 0 {
		return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Message)
	}
	return f.File + ": " + f.Message
}

// Faults is the error of a set that does not load: everything that is wrong with it.
type Faults []Fault

// Error has one fault a line.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.String()
	}
	return strings.Join(lines, "\n")
}

// add appends a fault.
func (f *Faults) add(file string, line int, format string, args ...any) {
	*f = append(*f, Fault{file, line, fmt.Sprintf(format, args...)})
}

// err returns the faults in order of place, nil if there are none.
func (f Faults) err() error {
	if len(f) == 0 {
		return nil
	}
	slices.SortStableFunc(f, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return slices.Compact(f)
}
