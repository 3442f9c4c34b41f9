package grants

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
)

// Names of files in the folder.
const (
	schemaFile     = "cardlake.cedarschema"
	principalsFile = "principals.json"
	policiesDir    = "policies"
	policyExt      = ".cedar"
	builtinFile    = "builtin" + policyExt // compiled in
)

// Bounds of what is read, so that a mistaken file cannot take the memory of a door.
const (
	maxFile  = 256 << 10 // bytes
	maxFiles = 500
)

// file is one file of a set, by its name in the folder.
type file struct {
	name string
	text []byte
}

// source is a set as it lies in its folder, in order of name. Line ends are those of Unix, so
// that a checkout has the same version everywhere.
type source []file

// find returns the text of the named file, nil if there is none.
func (s source) find(name string) []byte {
	for _, f := range s {
		if f.name == name {
			return f.text
		}
	}
	return nil
}

// policies are the files of policies.
func (s source) policies() []file {
	var out []file
	for _, f := range s {
		if strings.HasPrefix(f.name, policiesDir+"/") {
			out = append(out, f)
		}
	}
	return out
}

// readSource reads a folder. Files that begin with a dot are not of the set, nor are README
// files; any other file that would be passed over is a fault, for a forbid may be in it.
func readSource(dir string) (source, error) {
	var s source
	var faults Faults
	read := func(name string) error {
		text, err := readFile(filepath.Join(dir, filepath.FromSlash(name)))
		if errors.Is(err, errTooLong) {
			faults.add(name, 0, "is longer than %d bytes: split it", maxFile)
			return nil
		}
		if err == nil {
			s = append(s, file{name, bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))})
		}
		return err
	}
	switch err := read(schemaFile); {
	case errors.Is(err, fs.ErrNotExist): // the compiled-in one
	case err != nil:
		return nil, fmt.Errorf("read grants: %w", err)
	}
	entries, err := os.ReadDir(filepath.Join(dir, policiesDir))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there are no grants in %s: make a set with \"cardlake grants init\", or name the folder of one: %w", dir, fs.ErrNotExist)
	case err != nil:
		return nil, fmt.Errorf("read grants: %w", err)
	case len(entries) > maxFiles:
		return nil, Faults{{policiesDir, 0, fmt.Sprintf("has more than %d files: join some", maxFiles)}}
	}
	for _, e := range entries {
		name := policiesDir + "/" + e.Name()
		switch {
		case strings.HasPrefix(e.Name(), "."), strings.HasPrefix(e.Name(), "README"):
		case !strings.HasSuffix(e.Name(), policyExt), e.IsDir():
			faults.add(name, 0, "is not a *%s file, so its policies would not be seen: rename it, or move it out of %s", policyExt, policiesDir)
		default:
			if err := read(name); err != nil {
				return nil, fmt.Errorf("read grants: %w", err)
			}
		}
	}
	switch err := read(principalsFile); {
	case errors.Is(err, fs.ErrNotExist):
		faults.add(principalsFile, 0, "is missing: without it there are no principals")
	case err != nil:
		return nil, fmt.Errorf("read grants: %w", err)
	}
	return s, faults.err()
}

var errTooLong = errors.New("file too long")

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = errTooLong
	}
	return text, err
}

// sum is a SHA-256 over names and texts.
func (s source) sum() (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, f := range s {
		writeFramed(h, f.name)
		writeFramed(h, string(f.text))
	}
	h.Sum(sum[:0])
	return sum
}

// writeFramed writes a text after its length, so that no two lists of texts are written alike.
func writeFramed(w io.Writer, text string) {
	w.Write(binary.BigEndian.AppendUint64(nil, uint64(len(text))))
	io.WriteString(w, text)
}

// version is a SHA-256 over all that decisions depend on: the files, what is compiled in, and
// what the register says of the tenants. It is spelled in the letters a to p: a version is in
// every audit record, and no run of digits in it can be taken for a card number.
func version(s source, tenants []catalog.TenantRecord) string {
	h := sha256.New()
	sum := s.sum()
	h.Write(sum[:])
	writeFramed(h, embeddedSchema)
	writeFramed(h, builtinPolicies)
	for _, t := range tenants {
		for _, text := range []string{string(t.Name), t.Country, string(t.Currency), statusOf(t)} {
			writeFramed(h, text)
		}
	}
	return string(cardlake.AppendLetters(nil, h.Sum(nil)))
}

// commitOf returns the commit that is checked out where the folder is, abbreviated to twelve
// digits; empty if the folder is in no git checkout, or that is not certain.
func commitOf(dir string) string {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return ""
	}
	for {
		if git := gitDir(filepath.Join(dir, ".git")); git != "" {
			return headOf(git)
		}
		up := filepath.Dir(dir)
		if up == dir {
			return ""
		}
		dir = up
	}
}

// gitDir follows the file that a work tree or a submodule has for a .git folder (gitrepository-layout).
func gitDir(path string) string {
	info, err := os.Stat(path)
	if err != nil || info.IsDir() {
		if err != nil {
			return ""
		}
		return path
	}
	text, err := readFile(path)
	if err != nil {
		return ""
	}
	to, ok := strings.CutPrefix(strings.TrimSpace(string(text)), "gitdir: ")
	if !ok {
		return ""
	}
	if !filepath.IsAbs(to) {
		to = filepath.Join(filepath.Dir(path), to)
	}
	return to
}

func headOf(git string) string {
	text, err := readFile(filepath.Join(git, "HEAD"))
	if err != nil {
		return ""
	}
	head := strings.TrimSpace(string(text))
	ref, symbolic := strings.CutPrefix(head, "ref: ")
	if !symbolic {
		return abbreviated(head)
	}
	common := git
	if text, err := readFile(filepath.Join(git, "commondir")); err == nil {
		common = filepath.Join(git, strings.TrimSpace(string(text)))
	}
	for _, at := range []string{git, common} {
		if text, err := readFile(filepath.Join(at, filepath.FromSlash(ref))); err == nil {
			return abbreviated(strings.TrimSpace(string(text)))
		}
	}
	packed, err := readFile(filepath.Join(common, "packed-refs"))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(packed)) {
		if id, name, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name == ref {
			return abbreviated(id)
		}
	}
	return ""
}

// abbreviated returns the first twelve of an object id's digits, empty if it is none: too few
// for a card number.
func abbreviated(id string) string {
	if len(id) != 40 && len(id) != 64 || strings.Trim(id, "0123456789abcdef") != "" {
		return ""
	}
	return id[:12]
}
