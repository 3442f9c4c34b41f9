package objects_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/objects/objectstest"
)

// framed makes any body look like a Parquet file with an encrypted footer, so that the suite
// can put what it likes.
type framed struct{ objects.Store }

func frame(body []byte) []byte {
	b := append([]byte("PARE"), body...)
	b = append(b, 0) // the least footer
	return append(binary.LittleEndian.AppendUint32(b, 1), "PARE"...)
}

const before, after = 4, 9

func (f framed) Put(ctx context.Context, name string, owner keys.Owner, body []byte) error {
	return f.Store.Put(ctx, name, owner, frame(body))
}

func (f framed) Open(ctx context.Context, name string) (objects.Object, error) {
	o, err := f.Store.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	return framedObject{o, io.NewSectionReader(o, before, o.Size()-before-after)}, nil
}

type framedObject struct {
	objects.Object
	body *io.SectionReader
}

func (o framedObject) Size() int64 { return o.body.Size() }
func (o framedObject) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	return o.body.ReadAt(p, off)
}

func TestEncryptedFilesConform(t *testing.T) {
	objectstest.Run(t, func(t *testing.T) objects.Store {
		return framed{objects.NewEncryptedFiles(filepath.Join(t.TempDir(), "store"), objects.FilesConfig{})}
	})
}

// What is put lies there as it is, and only what is encrypted is put.
func TestEncryptedFiles(t *testing.T) {
	root := t.TempDir()
	s := objects.NewEncryptedFiles(root, objects.FilesConfig{})
	good := frame([]byte("synthetic"))
	mustPut(t, s, "a/x.parquet", good)
	if got, err := os.ReadFile(filepath.Join(root, "a", "x.parquet")); err != nil || !bytes.Equal(got, good) {
		t.Errorf("the file has %q, %v", got, err)
	}
	clearFooter := append(append([]byte("PAR1"), good[4:len(good)-4]...), "PAR1"...)
	for what, body := range map[string][]byte{
		"nothing":              nil,
		"a readable footer":    clearFooter,
		"a readable end":       append(bytes.Clone(good[:len(good)-4]), "PAR1"...),
		"a readable beginning": append([]byte("PAR1"), good[4:]...),
		"magic only":           []byte("PAREPARE"),
		"no footer":            []byte("PARE\x00\x00\x00\x00PARE"),
		"something else":       []byte("{\"format-version\": 2}"),
	} {
		if err := s.Put(t.Context(), "b", owner, body); !errors.Is(err, objects.ErrClear) {
			t.Errorf("%s: %v, want ErrClear", what, err)
		}
	}
	for info, err := range s.List(t.Context(), "") {
		if err != nil || info.Name != "a/x.parquet" {
			t.Errorf("List yields %q, %v", info.Name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(root, "b")); err == nil {
		t.Error("a file in clear was written")
	}
}
