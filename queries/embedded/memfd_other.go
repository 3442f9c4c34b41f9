//go:build !linux

package embedded

import "errors"

var errPlatform = errors.New("the embedded engine needs Linux: it keeps decrypted files in memory files (memfd), which this operating system does not have")

// memfd cannot be made here: decrypted files would need a disk.
type memfd struct{ bytes []byte }

func newMemfd(int64) (*memfd, error)   { return nil, errPlatform }
func (*memfd) path() string            { return "" }
func (*memfd) hold()                   {}
func (*memfd) Close() error            { return nil }
func checkDescriptors(files int) error { return errPlatform }
