package archtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// Load reads the graph of the module that holds dir with "go list -deps", under the build
// constraints of this machine. overlay, if not empty, is a file for go list's -overlay flag.
func Load(ctx context.Context, dir, overlay string) (Graph, error) {
	args := []string{"list", "-deps", "-json=ImportPath,Imports,Standard,Module"}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "./...")...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return Graph{}, fmt.Errorf("go list: %w\n%s", err, stderr.Bytes())
	}

	type listed struct {
		ImportPath string
		Imports    []string
		Standard   bool
		Module     *struct {
			Path string
			Main bool
		}
	}
	g := Graph{Imports: map[string][]string{}, Standard: map[string]bool{}}
	module := ""
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return Graph{}, fmt.Errorf("go list: %w", err)
		}
		switch {
		case p.Standard:
			g.Standard[p.ImportPath] = true
		case p.Module != nil && p.Module.Main:
			module = p.Module.Path
			g.Imports[p.ImportPath] = p.Imports
		}
	}
	short := Graph{Imports: make(map[string][]string, len(g.Imports)), Standard: g.Standard}
	for path, imports := range g.Imports {
		for i, to := range imports {
			imports[i] = below(module, to)
		}
		short.Imports[below(module, path)] = imports
	}
	return short, nil
}

// below returns the path below the module, and a path outside the module as it is.
func below(module, path string) string {
	if path == module {
		return "."
	}
	return strings.TrimPrefix(path, module+"/")
}
