package trinotest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
)

// Version is the server's. It is the oldest that package dialect prints for.
const Version = "476"

// digest is SHA-256 of trino-server-476.tar.gz as Maven Central has it.
const digest = "cfd5accde17e8ebd251eeeb78aed1f490e77bb3a164d95a0f454bf8a7c1cbd3f"

// distribution returns the folder of the unpacked server: that which CARDLAKE_TRINO names, or
// one in the module's .cache, which is filled with Maven first.
func distribution(ctx context.Context) (string, error) {
	if dir := os.Getenv("CARDLAKE_TRINO"); dir != "" {
		return dir, nil
	}
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	cache := filepath.Join(root, ".cache", "trino")
	name := "trino-server-" + Version
	if _, err := os.Stat(filepath.Join(cache, name)); err == nil {
		return filepath.Join(cache, name), nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(cache, ".gitignore"), []byte("*\n"), 0o644); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(cache, "download-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	run := func(command string, args ...string) error {
		if out, err := exec.CommandContext(ctx, command, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", command, err, out)
		}
		return nil
	}
	archive := filepath.Join(tmp, name+".tar.gz")
	if err := run("mvn", "-q", "-B", "dependency:copy", "-Dartifact=io.trino:trino-server:"+Version+":tar.gz", "-DoutputDirectory="+tmp); err != nil {
		return "", fmt.Errorf("download Trino from Maven Central: %w", err)
	}
	if err := verify(archive); err != nil {
		return "", err
	}
	if err := run("tar", "-xzf", archive, "-C", tmp); err != nil {
		return "", err
	}
	// The other connectors take seconds to load; their files are links to the same ones.
	plugins, err := os.ReadDir(filepath.Join(tmp, name, "plugin"))
	if err != nil {
		return "", err
	}
	for _, p := range plugins {
		if p.Name() != "iceberg" {
			if err := os.RemoveAll(filepath.Join(tmp, name, "plugin", p.Name())); err != nil {
				return "", err
			}
		}
	}
	// A folder that is there by now is another process's.
	if err := os.Rename(filepath.Join(tmp, name), filepath.Join(cache, name)); err != nil {
		if _, found := os.Stat(filepath.Join(cache, name)); found != nil {
			return "", err
		}
	}
	return filepath.Join(cache, name), nil
}

func verify(archive string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if hex.EncodeToString(h.Sum(nil)) != digest {
		return fmt.Errorf("%s does not have the digest that is expected", filepath.Base(archive))
	}
	return nil
}

var javaVersion = regexp.MustCompile(`version "(\d+)`)

// java finds a Java of version 24 or later: that which JAVA_HOME names, the PATH's, or one
// where Linux distributions put them.
func java(ctx context.Context) (string, error) {
	candidates := []string{filepath.Join(os.Getenv("JAVA_HOME"), "bin", "java"), "java"}
	found, _ := filepath.Glob("/usr/lib/jvm/*/bin/java")
	for _, path := range append(candidates, found...) {
		out, err := exec.CommandContext(ctx, path, "-version").CombinedOutput()
		if err != nil {
			continue
		}
		if m := javaVersion.FindSubmatch(out); m != nil {
			if version, _ := strconv.Atoi(string(m[1])); version >= 24 {
				return path, nil
			}
		}
	}
	return "", errors.New("Trino needs Java 24 or later; set JAVA_HOME")
}

// moduleRoot is the folder of go.mod, found from the working directory upwards.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("the working directory is in no module")
		}
		dir = parent
	}
}
