package embedded

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// memfd is a file of a fixed size that exists in memory only, gone when its last descriptor is
// closed. It is written through bytes and in no other way: the kernel refuses every write to a
// descriptor of it and every further mapping that can be written (F_SEAL_FUTURE_WRITE in
// fcntl(2)), so whoever opens its path can only read. What was never written takes no memory and
// reads as zeros.
type memfd struct {
	file    *os.File
	bytes   []byte
	holders atomic.Int32 // beyond the first
}

func newMemfd(size int64) (_ *memfd, err error) {
	fd, err := unix.MemfdCreate("cardlake", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("create memory file: %w", err)
	}
	m := &memfd{file: os.NewFile(uintptr(fd), "memory file")}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("create memory file: %w", err), m.Close())
		}
	}()
	if err := unix.Ftruncate(fd, size); err != nil {
		return nil, err
	}
	if m.bytes, err = unix.Mmap(fd, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_NORESERVE); err != nil {
		return nil, err
	}
	const seals = unix.F_SEAL_FUTURE_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		return nil, err
	}
	return m, nil
}

// path is a name by which this process can open the file anew.
func (m *memfd) path() string { return "/proc/self/fd/" + strconv.Itoa(int(m.file.Fd())) }

// hold keeps the file for one more Close.
func (m *memfd) hold() { m.holders.Add(1) }

// Close, of the last who holds the file, frees the memory once DuckDB has closed its own
// descriptors.
func (m *memfd) Close() error {
	if m.holders.Add(-1) >= 0 {
		return nil
	}
	var err error
	if m.bytes != nil {
		err = unix.Munmap(m.bytes)
		m.bytes = nil
	}
	return errors.Join(err, m.file.Close())
}

// spareDescriptors are left for everything but data files.
const spareDescriptors = 128

// checkDescriptors reports whether so many files can be open at once: each has the
// descriptor that keeps it and, while it is filled or read, the object's or DuckDB's.
func checkDescriptors(files int) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read the limit of open files: %w", err)
	}
	if need := uint64(2*files + spareDescriptors); need > limit.Cur {
		return fmt.Errorf("the statement reads %d files and needs %d descriptors, but the limit of open files is %d: raise it (ulimit -n) or compact the table", files, need, limit.Cur)
	}
	return nil
}
