package dashboard

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// contentTypes are those of the files that there are; a file of another kind is refused at start.
var contentTypes = map[string]string{
	".css":   "text/css; charset=utf-8",
	".js":    "text/javascript; charset=utf-8",
	".json":  "application/json; charset=utf-8",
	".svg":   "image/svg+xml",
	".txt":   "text/plain; charset=utf-8",
	".woff2": "font/woff2",
}

// asset is one file, as it is and compressed.
type asset struct {
	contentType string
	plain, gzip []byte // gzip is nil where it is no smaller
	etag        string
}

// assets are the files of the page, in memory, below a path that has their hash.
type assets struct {
	base   string // "/assets/HASH"
	byPath map[string]*asset
}

// newAssets reads and compresses the files. The styles become two files, and so do the words of
// each language, what every page needs and the rest: they are many for who writes them, and few
// for who waits.
func newAssets(web fs.FS) (*assets, error) {
	contents := map[string][]byte{}
	err := fs.WalkDir(web, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || name == "index.html" {
			return err
		}
		text, err := fs.ReadFile(web, name)
		if err != nil {
			return err
		}
		if path.Ext(name) == ".js" && !strings.HasPrefix(name, "vendor/") {
			text = bare(text)
		}
		if path.Ext(name) == "" { // a licence
			name += ".txt"
		}
		contents[name] = text
		return nil
	})
	if err != nil {
		return nil, err
	}
	joinStyles(contents)
	if err := joinWords(contents); err != nil {
		return nil, err
	}
	a := &assets{byPath: map[string]*asset{}}
	all := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(contents)) {
		one, err := newAsset(name, contents[name])
		if err != nil {
			return nil, err
		}
		a.byPath[name] = one
		fmt.Fprintf(all, "%s %s\n", name, one.etag)
	}
	a.base = "/assets/" + hex.EncodeToString(all.Sum(nil)[:8])
	return a, nil
}

// bare takes what is for readers out of a script: the indentation, and the lines that are comments.
// Lines keep their numbers, for who looks at an error. A script with a template that goes over
// lines stays as it is: what looks like indentation may be text.
func bare(script []byte) []byte {
	lines := bytes.Split(script, []byte("\n"))
	for _, line := range lines {
		if bytes.Count(line, []byte("`"))%2 != 0 {
			return script
		}
	}
	for i, line := range lines {
		if line = bytes.TrimLeft(line, "\t"); bytes.HasPrefix(line, []byte("//")) {
			line = nil
		}
		lines[i] = line
	}
	return bytes.Join(lines, []byte("\n"))
}

func newAsset(name string, plain []byte) (*asset, error) {
	one := &asset{contentType: contentTypes[path.Ext(name)], plain: plain}
	if one.contentType == "" {
		return nil, fmt.Errorf("%s: no content type is known for it", name)
	}
	sum := sha256.Sum256(plain)
	one.etag = `"` + hex.EncodeToString(sum[:12]) + `"`
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(plain); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	if b.Len() < len(plain) {
		one.gzip = b.Bytes()
	}
	return one, nil
}

// firstStyles are the sheets of the frame and of the pages that most people begin with, in their
// order: the first has the variables that all build on.
var firstStyles = []string{"css/app.css", "css/figure.css", "css/pages.css"}

// joinStyles makes css/all.css of the first style sheets, which every page waits for, and
// css/more.css of the rest.
func joinStyles(contents map[string][]byte) {
	var all, more bytes.Buffer
	for _, name := range firstStyles {
		all.Write(contents[name])
		all.WriteByte('\n')
		delete(contents, name)
	}
	for _, name := range slices.Sorted(maps.Keys(contents)) {
		if path.Dir(name) == "css" {
			more.Write(contents[name])
			more.WriteByte('\n')
			delete(contents, name)
		}
	}
	contents["css/all.css"], contents["css/more.css"] = all.Bytes(), more.Bytes()
}

// firstWords are the dictionaries of the frame and of the pages that most people begin with.
var firstWords = []string{"app", "terms", "figure", "chart", "overview", "transactions", "declines", "cards", "merchants"}

// joinWords makes two files of i18n/LANG/*.json: i18n/LANG.json, which every page waits for, has
// the first words and the titles of all pages, and i18n/LANG-more.json has the rest.
func joinWords(contents map[string][]byte) error {
	joined := map[string]map[string]string{}
	put := func(file, key, text string) {
		if joined[file] == nil {
			joined[file] = map[string]string{}
		}
		joined[file][key] = text
	}
	for _, name := range slices.Sorted(maps.Keys(contents)) {
		language, ok := strings.CutPrefix(path.Dir(name), "i18n/")
		if !ok {
			continue
		}
		var words map[string]string
		if err := json.Unmarshal(contents[name], &words); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		page := strings.TrimSuffix(path.Base(name), ".json")
		for key, text := range words {
			if !strings.HasPrefix(key, page+".") {
				return fmt.Errorf("%s: the key %q does not begin with the file's name", name, key)
			}
			if slices.Contains(firstWords, page) || key == page+".title" {
				put("i18n/"+language+".json", key, text)
			} else {
				put("i18n/"+language+"-more.json", key, text)
			}
		}
		delete(contents, name)
	}
	for file, words := range joined {
		text, err := json.Marshal(words)
		if err != nil {
			return err
		}
		contents[file] = text
	}
	return nil
}

// ServeHTTP answers for one asset, for ever: its content never changes below its path.
func (a *assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, ok := strings.CutPrefix(r.URL.Path, a.base+"/")
	one := a.byPath[name]
	if !ok || one == nil {
		w.Header().Set("Cache-Control", "no-store")
		http.Error(w, "there is no such asset: load the page anew", http.StatusNotFound)
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	one.serve(w, r)
}

func (one *asset) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", one.contentType)
	content, etag := one.plain, one.etag
	if one.gzip != nil {
		h.Add("Vary", "Accept-Encoding")
		if acceptsGzip(r) {
			content, etag = one.gzip, strings.TrimSuffix(one.etag, `"`)+`-gzip"`
			h.Set("Content-Encoding", "gzip")
		}
	}
	h.Set("ETag", etag)
	for known := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
		if strings.TrimPrefix(strings.TrimSpace(known), "W/") == etag {
			h.Del("Content-Encoding")
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	h.Set("Content-Length", strconv.Itoa(len(content)))
	if r.Method == http.MethodHead {
		return
	}
	_, _ = w.Write(content) // the client is gone: there is nobody to tell
}
