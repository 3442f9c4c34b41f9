package products

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Catalogue is a folder of products: one file *.json for each, named as the product is, and
// glossary.json.
type Catalogue struct {
	Products []*Product // in order of name
	Glossary []Term     // in order of name

	dir string
}

const (
	glossaryFile = "glossary.json"
	productExt   = ".json"
	maxFile      = 256 << 10 // bytes
	maxProducts  = 500
)

// Load reads a folder. Everything that is wrong with it is in the error, one a line.
func Load(dir string, d Dictionary) (*Catalogue, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there are no products in %s: make some with \"cardlake products init\", or name their folder: %w", dir, fs.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("read products: %w", err)
	}
	c := &Catalogue{dir: dir}
	var errs []error
	known := map[string]bool{}
	var glossary struct {
		Terms []Term `json:"terms"`
	}
	err = readFile(filepath.Join(dir, glossaryFile), &glossary)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, fmt.Errorf("%s: %w", glossaryFile, err))
	}
	for _, t := range glossary.Terms {
		if t.Name == "" || t.Short == "" || len(t.Name) > 256 || len(t.Short) > 1024 || len(t.Long) > 4096 || known[t.Name] {
			errs = append(errs, fmt.Errorf("%s: term %q has no name or no short, one too long, or is there twice", glossaryFile, t.Name))
		}
		known[t.Name] = true
	}
	c.Glossary = glossary.Terms
	for _, e := range entries {
		name := e.Name()
		if name == glossaryFile || e.IsDir() || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "README") {
			continue
		}
		if !strings.HasSuffix(name, productExt) {
			errs = append(errs, fmt.Errorf("%s is not a *%s file, so it would not be seen: rename it, or move it away", name, productExt))
			continue
		}
		p := &Product{}
		err := readFile(filepath.Join(dir, name), p)
		if err == nil {
			err = p.validate(d, known)
		}
		if err == nil && p.Name+productExt != name {
			err = fmt.Errorf("the product is %q: name the file so", p.Name)
		}
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				errs = append(errs, fmt.Errorf("%s: %s", name, strings.TrimSpace(line)))
			}
			continue
		}
		c.Products = append(c.Products, p)
	}
	for _, p := range c.Products {
		if p.Instead != "" && c.Product(p.Instead) == nil {
			errs = append(errs, fmt.Errorf("%s%s: instead: there is no product %q", p.Name, productExt, p.Instead))
		}
	}
	if len(c.Products) > maxProducts {
		errs = append(errs, fmt.Errorf("there are more than %d products", maxProducts))
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("the products in %s are not right:\n%w", dir, errors.Join(errs...))
	}
	slices.SortFunc(c.Products, func(a, b *Product) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(c.Glossary, func(a, b Term) int { return strings.Compare(a.Name, b.Name) })
	return c, nil
}

// readFile reads one value of JSON that has no unknown members.
func readFile(path string, into any) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() > maxFile {
		return fmt.Errorf("it is longer than %d bytes", maxFile)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("it is not right: %w", err)
	}
	if dec.More() {
		return errors.New("something follows the product")
	}
	return nil
}

// Product returns the one of the name, nil if there is none.
func (c *Catalogue) Product(name string) *Product {
	i := slices.IndexFunc(c.Products, func(p *Product) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return c.Products[i]
}

// setStatus writes the product's file anew with another status. The file is complete at every
// moment.
func (c *Catalogue) setStatus(p *Product, to Status) error {
	if !slices.Contains(next[p.Status], to) {
		return fmt.Errorf("%w: a product that is %s does not become %s", ErrState, p.Status, to)
	}
	changed := *p
	changed.Status = to
	if to == Published {
		changed.Instead = ""
	}
	text, err := json.MarshalIndent(&changed, "", "  ")
	if err != nil {
		return err
	}
	if err := replaceFile(filepath.Join(c.dir, p.Name+productExt), append(text, '\n')); err != nil {
		return fmt.Errorf("write product %s: %w", p.Name, err)
	}
	*p = changed
	return nil
}

// replaceFile writes a file beside and puts it in place, on disk.
func replaceFile(path string, text []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

//go:embed starter
var starter embed.FS

// Init writes a few products to begin with into the folder: transactions, approvals, merchants
// and chargebacks. It fails if there are products already.
func Init(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("make products: %w", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("make products: %s is not empty: %w", dir, fs.ErrExist)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make products: %w", err)
	}
	return fs.WalkDir(starter, "starter", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := starter.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, d.Name()), text, 0o600)
	})
}
