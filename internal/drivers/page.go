package drivers

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Page is the Python of a part of a page, which shows what each block of it prints.
type Page struct {
	path                string
	before, part, after string
	blocks              [][]int // of part
}

// fences are the blocks of code of a page with what they print, if that follows.
var fences = regexp.MustCompile("(?s)```python\n(.*?)```\n(?:\n```text\n(.*?)```\n)?")

const border = "====="

// ReadPage reads the part of a page from one text, its first if that is empty, up to another, its
// end if that is empty.
func ReadPage(path, from, to string) (*Page, error) {
	path, err := filepath.Abs(path) // tests change the working directory
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p := &Page{path: path, part: string(text)}
	begin, end := strings.Index(p.part, from), len(p.part)
	if to != "" {
		end = strings.Index(p.part, to)
	}
	if begin < 0 || end < begin {
		return nil, fmt.Errorf("%s: there is nothing from %q to %q", path, from, to)
	}
	p.before, p.part, p.after = p.part[:begin], p.part[begin:end], p.part[end:]
	if p.blocks = fences.FindAllStringSubmatchIndex(p.part, -1); len(p.blocks) == 0 {
		return nil, fmt.Errorf("%s has no Python from %q to %q", path, from, to)
	}
	return p, nil
}

// Script is all blocks in their order.
func (p *Page) Script() string {
	var script strings.Builder
	for _, b := range p.blocks {
		script.WriteString(p.part[b[2]:b[3]] + "\nprint('" + border + "')\n")
	}
	return script.String()
}

// Text is the part of the page as it is.
func (p *Page) Text() string { return p.part }

// With is the part of the page with the output of its script in place of what it shows.
func (p *Page) With(output string) (string, error) {
	outputs := strings.Split(output, border+"\n")
	if len(outputs) != len(p.blocks)+1 {
		return "", fmt.Errorf("%s: %d outputs of %d blocks", p.path, len(outputs)-1, len(p.blocks))
	}
	var written strings.Builder
	from := 0
	for i, b := range p.blocks {
		written.WriteString(p.part[from:b[3]] + "```\n")
		if outputs[i] != "" {
			written.WriteString("\n```text\n" + outputs[i] + "```\n")
		}
		from = b[1]
	}
	return written.String() + p.part[from:], nil
}

// Update writes the part anew.
func (p *Page) Update(part string) error {
	return os.WriteFile(p.path, []byte(p.before+part+p.after), 0o644)
}
