package quality

import (
	"context"
	"crypto/md5"  //nolint:gosec // DQDL names it; it is compared with what a producer gave
	"crypto/sha1" //nolint:gosec // likewise
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cardlake/cardlake/queries/quality/dqdl"
)

// File is a file that a rule looks at.
type File struct {
	Path     string
	Bytes    int64
	Modified time.Time // zero if unknown
	Open     func(ctx context.Context) (io.ReadCloser, error)
}

// FileSystem lists files.
type FileSystem interface {
	// List returns the file with the path, or those in the folder and under it.
	List(ctx context.Context, path string) ([]File, error)
}

// planFiles plans a rule about files: those of the path, or the data's own.
func (e *evaluation) planFiles(r *dqdl.Rule) *plan {
	return &plan{rule: r, finish: func(ctx context.Context) verdict {
		given := ""
		if len(r.Params) > 0 {
			given = r.Params[0].Value()
		}
		files, err := e.files(ctx, r, given)
		if err != nil {
			return errored(err)
		}
		var v verdict
		switch r.Type {
		case "FileFreshness":
			v, err = e.fileFreshness(r, files)
		case "FileSize":
			v, err = e.fileSize(r, files)
		case "FileUniqueness":
			v, err = e.fileUniqueness(ctx, r, files)
		default:
			v, err = e.fileMatch(ctx, r, files)
		}
		if err != nil {
			return errored(err)
		}
		if v.metrics == nil {
			v.metrics = map[string]float64{}
		}
		v.metrics["Dataset.*.FileCount"] = float64(len(files))
		return v
	}}
}

// files returns the files of a path that the rule's tags leave.
func (e *evaluation) files(ctx context.Context, r *dqdl.Rule, given string) ([]File, error) {
	var files []File
	var err error
	switch {
	case given != "" && e.cfg.Files != nil:
		files, err = e.cfg.Files.List(ctx, given)
	case given == "" && e.primary.Files != nil:
		files, err = e.primary.Files(ctx)
	default:
		return nil, errors.New("Unable to parse file path from DataFrame") // Glue's words
	}
	if err != nil {
		return nil, err
	}
	order := []string{"recentFiles", "uriRegex"}
	for _, t := range r.Tags {
		if t.Name == "filterOrder" {
			order = nil
			for _, v := range t.Values {
				order = append(order, v.Value())
			}
		}
	}
	for _, name := range order {
		text, ok := r.Tag(name)
		if !ok {
			continue
		}
		if name == "recentFiles" {
			n, err := strconv.Atoi(text)
			if err != nil {
				return nil, err
			}
			slices.SortStableFunc(files, func(a, b File) int { return b.Modified.Compare(a.Modified) })
			files = files[:min(n, len(files))]
			continue
		}
		p, err := parsePattern(rawTag(r, name))
		if err != nil {
			return nil, err
		}
		matches, err := p.finder()
		if err != nil {
			return nil, err
		}
		files = slices.DeleteFunc(slices.Clone(files), func(f File) bool { return !matches(f.Path) })
	}
	if len(files) == 0 {
		return nil, errors.New("there are no files at the path that the rule looks at")
	}
	return files, nil
}

// rawTag is a tag's value as a pattern.
func rawTag(r *dqdl.Rule, name string) string {
	for _, t := range r.Tags {
		if t.Name == name {
			return t.Values[0].Pattern()
		}
	}
	return ""
}

// isTrue says whether the tag is set.
func isTrue(r *dqdl.Rule, name string) bool {
	v, _ := r.Tag(name)
	return strings.EqualFold(v, "true")
}

// compliance judges the share of files that meet the condition.
func (e *evaluation) compliance(r *dqdl.Rule, metric string, files []File, meets func(File) bool) verdict {
	met := 0
	for _, f := range files {
		if meets(f) {
			met++
		} else if isTrue(r, "failFast") {
			return failed("A file does not meet the condition: %s", path.Base(f.Path))
		}
	}
	return e.shared(r, metric, "", float64(met), float64(len(files)), func(share float64) string {
		return fmt.Sprintf("%.2f %% of files passed the threshold", 100*share)
	})
}

func (e *evaluation) fileFreshness(r *dqdl.Rule, files []File) (verdict, error) {
	zone := time.UTC
	if name, ok := r.Tag("timeZone"); ok {
		var err error
		if zone, err = time.LoadLocation(name); err != nil {
			return verdict{}, err
		}
	}
	operands := make([]time.Time, len(r.Condition.Operands))
	for i, o := range r.Condition.Operands {
		d, ok := o.(dqdl.DateOperand)
		if !ok {
			return verdict{}, fmt.Errorf("%s is no date", o)
		}
		operands[i] = d.At(e.cfg.Now, zone)
	}
	for _, f := range files {
		if f.Modified.IsZero() {
			return verdict{}, errors.New("when the files were modified is not known")
		}
	}
	return e.compliance(r, "Dataset.*.FileFreshness.Compliance", files, func(f File) bool {
		return timeHolds(r.Condition.Op, f.Modified, operands)
	}), nil
}

// timeHolds compares times.
func timeHolds(op dqdl.Op, t time.Time, o []time.Time) bool {
	is := slices.ContainsFunc(o, t.Equal)
	switch op {
	case dqdl.Greater:
		return t.After(o[0])
	case dqdl.GreaterEqual:
		return !t.Before(o[0])
	case dqdl.Less:
		return t.Before(o[0])
	case dqdl.LessEqual:
		return !t.After(o[0])
	case dqdl.Between:
		return t.After(o[0]) && t.Before(o[1])
	case dqdl.NotBetween:
		return !t.After(o[0]) || !t.Before(o[1])
	case dqdl.NotEqual, dqdl.NotIn:
		return !is
	}
	return is
}

func (e *evaluation) fileSize(r *dqdl.Rule, files []File) (verdict, error) {
	operands := make([]float64, len(r.Condition.Operands))
	for i, o := range r.Condition.Operands {
		switch o := o.(type) {
		case dqdl.SizeOperand:
			operands[i] = o.Bytes()
		case dqdl.Expr:
			v, err := e.compute(o, "", "")
			if err != nil {
				return verdict{}, err
			}
			operands[i] = v[0]
		default:
			return verdict{}, fmt.Errorf("%s is no size", o)
		}
	}
	v := e.compliance(r, "Dataset.*.FileSize.Compliance", files, func(f File) bool {
		return holds(r.Condition, float64(f.Bytes), operands)
	})
	if v.metrics == nil {
		v.metrics = map[string]float64{}
	}
	bySize := func(a, b File) int { return int(max(-1, min(1, a.Bytes-b.Bytes))) }
	v.metrics["Dataset.*.MinimumFileSize"] = float64(slices.MinFunc(files, bySize).Bytes)
	v.metrics["Dataset.*.MaximumFileSize"] = float64(slices.MaxFunc(files, bySize).Bytes)
	return v, nil
}

// checksum is a file's checksum in hexadecimal digits.
func checksum(ctx context.Context, f File, algorithm string) (_ string, err error) {
	var h hash.Hash
	switch algorithm {
	case "MD5":
		h = md5.New() //nolint:gosec // see the imports
	case "SHA-1":
		h = sha1.New() //nolint:gosec // see the imports
	default:
		h = sha256.New()
	}
	in, err := f.Open(ctx)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	if _, err := io.Copy(h, reader{ctx, in}); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// reader ends with its context.
type reader struct {
	ctx context.Context
	in  io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.in.Read(p)
}

func (e *evaluation) fileUniqueness(ctx context.Context, r *dqdl.Rule, files []File) (verdict, error) {
	times := map[string]int{}
	for _, f := range files {
		key := path.Base(f.Path)
		if !isTrue(r, "matchFileName") {
			var err error
			if key, err = checksum(ctx, f, ""); err != nil {
				return verdict{}, err
			}
		}
		times[key]++
	}
	return e.judge(r, "Dataset.*.FileUniquenessRatio", "", float64(len(times))/float64(len(files))), nil
}

// fileMatch compares files with checksums, or with other files.
func (e *evaluation) fileMatch(ctx context.Context, r *dqdl.Rule, files []File) (verdict, error) {
	algorithm, _ := r.Tag("hashAlgorithm")
	sums := func(files []File) (map[string]string, error) {
		by := map[string]string{}
		for _, f := range files {
			sum, err := checksum(ctx, f, algorithm)
			if err != nil {
				return nil, err
			}
			by[f.Path] = sum
		}
		return by, nil
	}
	own, err := sums(files)
	if err != nil {
		return verdict{}, err
	}
	if isTrue(r, "matchFileName") {
		seen := map[string]bool{}
		for _, f := range files {
			if base := path.Base(f.Path); seen[base] {
				return failed("Several files have the name %s", base), nil
			} else {
				seen[base] = true
			}
		}
	}
	known := map[string]bool{}
	switch {
	case r.Condition != nil:
		for _, o := range r.Condition.Operands {
			t, _ := textOf(o)
			known[strings.ToLower(t.Value())] = true
		}
	default:
		others, err := e.files(ctx, r, r.Params[1].Value())
		if err != nil {
			return verdict{}, err
		}
		other, err := sums(others)
		if err != nil {
			return verdict{}, err
		}
		for _, sum := range other {
			known[sum] = true
		}
		mine := map[string]bool{}
		for _, sum := range own {
			mine[sum] = true
		}
		for _, f := range others {
			if !mine[other[f.Path]] {
				return failed("%s has no match", path.Base(f.Path)), nil
			}
		}
		if len(files) != len(others) {
			return failed("There are %d files, and %d to compare them with", len(files), len(others)), nil
		}
	}
	isNot := r.Condition != nil && (r.Condition.Op == dqdl.NotIn || r.Condition.Op == dqdl.NotEqual)
	for _, f := range files {
		if known[own[f.Path]] == isNot {
			return failed("The checksum of %s is %s, which is not what was given", path.Base(f.Path), own[f.Path]), nil
		}
	}
	return verdict{result: Passed}, nil
}
