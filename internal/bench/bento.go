package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// bentoModule is the nested module that runs Bento.
const bentoModule = "internal/bench/bento"

// program is a binary in a folder of its own, which the caller removes.
type program struct{ dir, path string }

// buildBento builds the Bento of a module, whose own modules must be at hand or fetched, and
// tells its version.
func buildBento(ctx context.Context, module string) (p program, version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	if version, err = goTool(ctx, module, "list", "-m", "-f", "{{.Version}}", "github.com/warpstreamlabs/bento"); err != nil {
		return program{}, "", err
	}
	dir, err := os.MkdirTemp("", "cardlake-bento-")
	if err != nil {
		return program{}, "", err
	}
	p = program{dir, filepath.Join(dir, "bento")}
	if _, err := goTool(ctx, module, "build", "-o", p.path, "."); err != nil {
		return program{}, "", errors.Join(err, os.RemoveAll(dir))
	}
	return p, version, nil
}

// goTool runs the go command in a module. Its error ends with the last line of what
// the command said.
func goTool(ctx context.Context, module string, args ...string) (string, error) {
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = module, &out, &errs
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if err := cmd.Run(); err != nil {
		said := strings.Split(strings.TrimSpace(errs.String()), "\n")
		return "", fmt.Errorf("go %s: %w: %s", args[0], err, said[len(said)-1])
	}
	return strings.TrimSpace(out.String()), nil
}
