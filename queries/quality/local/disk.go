package local

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cardlake/cardlake/queries/quality"
)

// maxFiles bounds the files that one rule looks at.
const maxFiles = 100_000

// Disk is the files of this machine, for rules about files. It implements quality.FileSystem.
type Disk struct {
	// Mapped are folders by the prefix for which they stand, such as "s3://bucket/".
	Mapped map[string]string
	// Base is where relative paths begin; "" means the working folder.
	Base string
}

// List implements quality.FileSystem.
func (d Disk) List(ctx context.Context, path string) ([]quality.File, error) {
	place, err := d.resolve(path)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(place)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []quality.File{file(place, info)}, nil
	}
	var files []quality.File
	err = filepath.WalkDir(place, func(p string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if files = append(files, file(p, info)); len(files) > maxFiles {
			return fmt.Errorf("there are more than %d files in the folder", maxFiles)
		}
		return nil
	})
	return files, err
}

// resolve is where the path is on this machine.
func (d Disk) resolve(path string) (string, error) {
	longest := ""
	for prefix := range d.Mapped {
		if strings.HasPrefix(path, prefix) && len(prefix) > len(longest) {
			longest = prefix
		}
	}
	if longest != "" {
		return filepath.Join(d.Mapped[longest], filepath.FromSlash(strings.TrimPrefix(path, longest))), nil
	}
	path = strings.TrimPrefix(path, "file://")
	if scheme, _, ok := strings.Cut(path, "://"); ok {
		return "", fmt.Errorf("files of %s:// are looked at in a folder that stands for them: give -map %s://BUCKET/=FOLDER", scheme, scheme)
	}
	if !filepath.IsAbs(path) && d.Base != "" {
		path = filepath.Join(d.Base, path)
	}
	return path, nil
}

func file(path string, info fs.FileInfo) quality.File {
	return quality.File{
		Path: filepath.ToSlash(path), Bytes: info.Size(), Modified: info.ModTime(),
		Open: func(context.Context) (io.ReadCloser, error) { return os.Open(path) },
	}
}
