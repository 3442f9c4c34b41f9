package embedded

import (
	"fmt"
	"os"
	"strconv"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// memfd is a file that exists in memory only, gone when its last descriptor is closed.
type memfd struct {
	file    *os.File
	holders atomic.Int32 // beyond the first
}

func newMemfd() (*memfd, error) {
	fd, err := unix.MemfdCreate("cardlake", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("create memory file: %w", err)
	}
	return &memfd{file: os.NewFile(uintptr(fd), "memory file")}, nil
}

func (m *memfd) write(p []byte) error {
	if _, err := m.file.Write(p); err != nil {
		return fmt.Errorf("write memory file: %w", err)
	}
	return nil
}

// seal makes the file unchangeable, for this process too.
func (m *memfd) seal() error {
	const seals = unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(m.file.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return fmt.Errorf("seal memory file: %w", err)
	}
	return nil
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
	return m.file.Close()
}

// spareDescriptors are left for everything but data files.
const spareDescriptors = 128

// checkDescriptors reports whether so many files can be open at once: each has the
// descriptor that keeps it and, while it is read, DuckDB's.
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
