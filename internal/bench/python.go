package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// What the references in Python need, with versions, and where they are kept.
const (
	pythonPackages = "internal/bench/insights/requirements.txt"
	pythonFolder   = ".cache/insights"
)

// makePython returns the interpreter of a virtual environment in the folder that has the
// packages of the file of requirements. It is made, of the package index or a cache of it, unless
// it is there with the same requirements.
func makePython(ctx context.Context, folder, requirements string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	wanted, err := os.ReadFile(requirements)
	if err != nil {
		return "", err
	}
	python, err := filepath.Abs(filepath.Join(folder, "bin", "python"))
	if err != nil {
		return "", err
	}
	made := filepath.Join(folder, filepath.Base(requirements)) // written last
	had, err := os.ReadFile(made)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if bytes.Equal(had, wanted) && err == nil {
		return python, nil
	}
	if err := os.RemoveAll(folder); err != nil {
		return "", err
	}
	if err := command(ctx, "python3", "-m", "venv", folder); err != nil {
		return "", err
	}
	if err := command(ctx, python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", requirements); err != nil {
		return "", err
	}
	return python, os.WriteFile(made, wanted, 0o600)
}

// command runs a program. Its error ends with the last line of what the program said.
func command(ctx context.Context, name string, args ...string) error {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		said := strings.Split(strings.TrimSpace(out.String()), "\n")
		return fmt.Errorf("%s: %w: %s", filepath.Base(name), err, said[len(said)-1])
	}
	return nil
}

// python names the interpreter for the references to benchmarks, and says what it is.
func python(ctx context.Context) (env, note string, err error) {
	if name := os.Getenv("CARDLAKE_PYTHON"); name != "" {
		return "", "Python: that of CARDLAKE_PYTHON", nil
	}
	start := time.Now()
	name, err := makePython(ctx, pythonFolder, pythonPackages)
	if err != nil {
		return "", "", err
	}
	packages, err := os.ReadFile(pythonPackages)
	note = "Python: " + strings.Join(strings.Fields(string(packages)), ", ")
	if took := time.Since(start); took > time.Second {
		note += fmt.Sprintf("; installed in %.0f s", took.Seconds())
	}
	return "CARDLAKE_PYTHON=" + name, note, err
}
