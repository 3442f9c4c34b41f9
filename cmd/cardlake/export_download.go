package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"

	"filippo.io/age"

	"github.com/cardlake/cardlake/queries/export"
)

func exportDownload(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flagSet("export download", "ID", `Copies the files of an export and its manifest to a folder, each under the name NAME.part until all of it is
there and has the right digest. A download that was cut goes on where it was; what is there already is verified and left.`, stderr)
	var e exporting
	out := fs.String("out", ".", "`folder` that the files go to")
	return with(ctx, fs, &e, args, 1, func() error {
		j, err := e.Job(ctx, e.door.caller, fs.Arg(0))
		if err != nil {
			return err
		}
		if len(j.Files) == 0 {
			_, err := e.Open(ctx, e.door.caller, j.ID, 0, 0) // says why there are none
			return err
		}
		return e.download(ctx, j, *out, stdout, stderr)
	})
}

// download copies the files of an export to a folder, and prints their names.
func (e *exporting) download(ctx context.Context, j *export.Job, dir string, stdout, stderr io.Writer) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	// What a file is named cannot lead out of the folder.
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, f := range j.Files {
		if err := e.downloadFile(ctx, root, j.ID, f, stderr); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		fmt.Fprintf(stdout, "%s  %s\n", f.SHA256, f.Name)
	}
	return nil
}

func (e *exporting) downloadFile(ctx context.Context, root *os.Root, id string, f export.File, stderr io.Writer) (err error) {
	if whole, err := root.Open(f.Name); err == nil {
		h := sha256.New()
		_, err := io.Copy(h, whole)
		err = errors.Join(err, whole.Close())
		if err == nil && hex.EncodeToString(h.Sum(nil)) == f.SHA256 {
			return nil
		}
		if err != nil {
			return err
		}
		return errors.New("there is another file of the name: move it away, or choose another folder with -out")
	}
	part := f.Name + ".part"
	to, err := root.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	h := sha256.New()
	have, err := io.Copy(h, to)
	if err != nil {
		return err
	}
	if have > f.Bytes {
		have = 0
	}
	if have > 0 {
		fmt.Fprintf(stderr, "%s: goes on at byte %d of %d\n", f.Name, have, f.Bytes)
	}
	err = e.copyFrom(ctx, to, h, id, f, have)
	if errors.Is(err, errDigest) && have > 0 {
		// What was there before was another file's, or damaged.
		fmt.Fprintf(stderr, "%s: its beginning was not right: from the start\n", f.Name)
		h.Reset()
		err = e.copyFrom(ctx, to, h, id, f, 0)
	}
	if err != nil {
		return err
	}
	if err := to.Sync(); err != nil {
		return err
	}
	return root.Rename(part, f.Name)
}

// errDigest says that what was downloaded is not what the export has.
var errDigest = errors.New("the digest is not right: the file was changed on its way")

// copyFrom downloads the file's bytes from the one on, of which h has those before.
func (e *exporting) copyFrom(ctx context.Context, to *os.File, h hash.Hash, id string, f export.File, from int64) error {
	if from == 0 {
		h.Reset()
	}
	if _, err := to.Seek(from, io.SeekStart); err != nil {
		return err
	}
	if err := to.Truncate(from); err != nil {
		return err
	}
	content, err := e.Open(ctx, e.door.caller, id, f.Number, from)
	if err != nil {
		return err
	}
	defer content.Close()
	rest := io.NewSectionReader(content, from, content.Size()-from)
	const piece = 4 << 20
	for {
		n, err := io.CopyN(io.MultiWriter(to, h), rest, piece)
		if errors.Is(err, io.EOF) || err == nil && n < piece {
			break
		}
		if err != nil {
			return err
		}
		if err := errors.Join(ctx.Err(), e.Recheck(ctx, e.door.caller, id, f.Number)); err != nil {
			return err
		}
	}
	if hex.EncodeToString(h.Sum(nil)) != f.SHA256 {
		return errDigest
	}
	return nil
}

func exportDecrypt(ctx context.Context, args []string, _, stderr io.Writer) error {
	fs := flagSet("export decrypt", "FILE.age", "Opens a file of -encrypt kms with the tenant's key in the lake's keyring, beside itself, under its name without .age. Files of -encrypt age are opened with age.", stderr)
	var e exporting
	e.place.Define(fs, 0)
	if err := parse(fs, args); err != nil {
		return err
	}
	name, isAge := strings.CutSuffix(fs.Arg(0), ".age")
	if fs.NArg() != 1 || !isAge {
		return misused(fs, "takes one file whose name ends in .age")
	}
	if err := e.place.Complete(); err != nil {
		return misused(fs, "%v", err)
	}
	ring, err := e.place.Keys.Lake.Open(ctx)
	if err != nil {
		return err
	}
	from, err := os.Open(fs.Arg(0))
	if err != nil {
		return err
	}
	defer from.Close()
	plain, err := age.Decrypt(from, export.NewKMSIdentity(ctx, ring))
	if no := new(age.NoIdentityMatchError); errors.As(err, &no) {
		return errors.New("the file is not one of -encrypt kms under a key of this keyring: try age --decrypt")
	} else if err != nil {
		return err
	}
	to, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err = io.Copy(to, plain); err == nil {
		return to.Close()
	}
	return errors.Join(err, to.Close(), os.Remove(name))
}
