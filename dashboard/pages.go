package dashboard

import (
	"bytes"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"
)

// pages answers for every path that a page may have, with the one document there is. What the
// browser is told to load ahead follows from the address: the page's modules beside the rest.
type pages struct {
	byName map[string]*asset // by page; "" is any other path
}

func newPages(web fs.FS, a *assets, cfg Config) (*pages, error) {
	text, err := fs.ReadFile(web, "index.html")
	if err != nil {
		return nil, err
	}
	t, err := template.New("index.html").Parse(string(text))
	if err != nil {
		return nil, err
	}
	p := &pages{byName: map[string]*asset{}}
	names := []string{""}
	for name := range a.byPath {
		if path.Dir(name) == "js/pages" {
			names = append(names, strings.TrimSuffix(path.Base(name), ".js"))
		}
	}
	for _, name := range names {
		roots := []string{"js/main.js"}
		switch {
		case name != "":
			roots = append(roots, "js/pages/"+name+".js")
		case a.byPath["js/pages/overview.js"] != nil: // where most people begin
			roots = append(roots, "js/pages/overview.js")
		}
		modules, err := a.modules(roots)
		if err != nil {
			return nil, err
		}
		for i, m := range modules {
			modules[i] = a.base + "/" + m
		}
		var b bytes.Buffer
		if err := t.Execute(&b, struct {
			Base, Version, Notice string
			Modules               []string
		}{a.base, cfg.Version, cfg.Notice, modules}); err != nil {
			return nil, err
		}
		if p.byName[name], err = newAsset("index.svg", b.Bytes()); err != nil {
			return nil, err
		}
		p.byName[name].contentType = "text/html; charset=utf-8"
	}
	return p, nil
}

// ServeHTTP answers with the document. A path that names a file is none of a page: a browser, or
// somebody who tries, asks for what is not there.
func (p *pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if strings.Contains(path.Base(r.URL.Path), ".") && path.Base(r.URL.Path) != "." {
		http.Error(w, "there is no such file", http.StatusNotFound)
		return
	}
	one := p.byName[strings.Trim(r.URL.Path, "/")]
	if one == nil {
		one = p.byName[""]
	}
	one.serve(w, r)
}

// imported finds what a module imports when it is loaded, as it is written in the files of this
// package: import … from "./x.js" and export … from "./x.js", at the beginning of a line.
var imported = regexp.MustCompile(`(?m)^(?:import|export)\b[^"';]*?\bfrom\s*"(\.[^"]+)"|^import\s*"(\.[^"]+)"`)

// modules returns the modules that loading the roots loads, the roots first, each once. One that
// is imported and not there is an error: a browser would find out only then.
func (a *assets) modules(roots []string) ([]string, error) {
	var out []string
	for queue := roots; len(queue) > 0; queue = queue[1:] {
		name := queue[0]
		if slices.Contains(out, name) {
			continue
		}
		one := a.byPath[name]
		if one == nil {
			return nil, fmt.Errorf("%s is imported, and is not there", name)
		}
		out = append(out, name)
		for _, m := range imported.FindAllSubmatch(one.plain, -1) {
			queue = append(queue, path.Join(path.Dir(name), string(m[1])+string(m[2])))
		}
	}
	return out, nil
}
