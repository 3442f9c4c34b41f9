package kafkareal

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed pom.xml
var pom []byte

// digests has a line for each jar, as sha256sum writes them.
//
//go:embed jars.sha256
var digests []byte

// Jars returns the folder with Kafka's jars, after downloading them if they are not there.
// It is safe for several processes at once.
func Jars(ctx context.Context) (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	// The folder is named after its content: another version is another folder.
	sum := sha256.Sum256(digests)
	cache := filepath.Join(root, ".cache", "kafka")
	jars := filepath.Join(cache, hex.EncodeToString(sum[:6]))
	if verify(jars) == nil {
		return jars, nil
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
	if err := os.WriteFile(filepath.Join(tmp, "pom.xml"), pom, 0o644); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "mvn", "-q", "-B", "-f", filepath.Join(tmp, "pom.xml"),
		"org.apache.maven.plugins:maven-dependency-plugin:copy-dependencies",
		"-DincludeScope=runtime", "-DoutputDirectory="+filepath.Join(tmp, "jars"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("download Kafka from Maven Central: %w\n%s", err, out)
	}
	if err := verify(filepath.Join(tmp, "jars")); err != nil {
		return "", err
	}
	// A folder that is there by now is another process's, or one that does not verify.
	if verify(jars) != nil {
		if err := os.RemoveAll(jars); err != nil {
			return "", err
		}
		if err := os.Rename(filepath.Join(tmp, "jars"), jars); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", err
		}
	}
	return jars, verify(jars)
}

// verify checks that the folder has the jars, each with its digest, and nothing else.
func verify(dir string) error {
	want := map[string]string{}
	for lines := bufio.NewScanner(bytes.NewReader(digests)); lines.Scan(); {
		digest, name, _ := strings.Cut(lines.Text(), "  ")
		want[name] = digest
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		digest, ok := want[e.Name()]
		if !ok {
			return fmt.Errorf("%s is not a jar of jars.sha256", e.Name())
		}
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		h := sha256.New()
		_, err = io.Copy(h, f)
		f.Close()
		if err != nil {
			return err
		}
		if hex.EncodeToString(h.Sum(nil)) != digest {
			return fmt.Errorf("%s does not have the digest of jars.sha256", e.Name())
		}
		delete(want, e.Name())
	}
	if len(want) > 0 {
		return fmt.Errorf("%d jars of jars.sha256 are missing", len(want))
	}
	return nil
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
