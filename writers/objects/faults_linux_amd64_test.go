package objects_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/objects/objectstest"
)

// syscalls makes the system calls of one thread go wrong: a seccomp filter asks a goroutine
// on another thread about each (seccomp_unotify(2)).
type syscalls struct {
	listener int
	stop     <-chan struct{}

	mu     sync.Mutex
	left   int // calls until the one that fails; negative if none does
	number syscall.Errno
	failed bool
	seen   []int32 // the calls since fail
}

// seccompNotif and seccompNotifResp are struct seccomp_notif and seccomp_notif_resp of
// linux/seccomp.h.
type seccompNotif struct {
	id         uint64
	pid, flags uint32
	nr         int32
	arch       uint32
	ip         uint64
	args       [6]uint64
}

type seccompNotifResp struct {
	id    uint64
	val   int64
	error int32
	flags uint32
}

// smallWrite is what is written beside the store's chunks and must not fail or wait: by the
// runtime to wake itself, by package testing to its log of opened files.
const smallWrite = 4096

// watched are the calls by which a store can fail.
var watched = []uint32{
	unix.SYS_OPENAT, unix.SYS_MKDIRAT, unix.SYS_FSYNC, unix.SYS_LINKAT, unix.SYS_UNLINKAT,
	unix.SYS_NEWFSTATAT, unix.SYS_FSTAT, unix.SYS_PREAD64, unix.SYS_GETDENTS64,
}

// interceptSyscalls watches the calls of the calling goroutine and its thread, which the
// runtime gives to no other. answers goes on until stop is closed, which must not be before
// the goroutine has ended.
func interceptSyscalls(t *testing.T, answers *sync.WaitGroup, stop <-chan struct{}) *syscalls {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		t.Skipf("no new privileges: %v", err)
	}
	const nr, count = 0, 16 + 2*8 // offsets in struct seccomp_data of the number and the third argument's lower half
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	filter := []unix.SockFilter{load(nr)}
	for i, call := range watched {
		filter = append(filter, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: call, Jt: uint8(len(watched) - i + 3)})
	}
	filter = append(filter,
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_WRITE, Jf: 2},
		load(count),
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K, K: smallWrite, Jt: 1},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF},
	)
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		t.Skipf("this system does not let a thread be watched: %v", errno)
	}
	s := &syscalls{listener: int(fd), stop: stop, left: -1}
	answers.Go(s.answer)
	return s
}

// answer decides on calls.
func (s *syscalls) answer() {
	defer unix.Close(s.listener)
	for {
		poll := []unix.PollFd{{Fd: int32(s.listener), Events: unix.POLLIN}}
		if n, err := unix.Poll(poll, 20); n == 0 || err == unix.EINTR {
			select {
			case <-s.stop:
				return
			default:
				continue
			}
		} else if err != nil || poll[0].Revents&unix.POLLIN == 0 {
			return
		}
		var asked seccompNotif
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(s.listener), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&asked))); errno != 0 {
			continue // the call was interrupted meanwhile
		}
		reply := seccompNotifResp{id: asked.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
		s.mu.Lock()
		if s.left == 0 {
			s.failed, reply.flags, reply.error = true, 0, -int32(s.number)
		}
		s.left = max(s.left-1, -1)
		s.seen = append(s.seen, asked.nr)
		s.mu.Unlock()
		_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(s.listener), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&reply)))
	}
}

func (s *syscalls) fail(n int, number syscall.Errno) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left, s.number, s.failed, s.seen = n, number, false, nil
}

// since returns the calls since fail.
func (s *syscalls) since() []int32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

func (s *syscalls) happened() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left = -1
	return s.failed
}

// Whichever system call fails, the contract holds.
func TestSealedFaults(t *testing.T) {
	for _, number := range []syscall.Errno{syscall.EIO, syscall.ENOSPC} {
		t.Run(number.Error(), func(t *testing.T) {
			var answers sync.WaitGroup
			stop := make(chan struct{})
			objectstest.RunFaults(t, func(t *testing.T) objectstest.Faulty {
				root := filepath.Join(t.TempDir(), "store")
				calls := interceptSyscalls(t, &answers, stop)
				return objectstest.Faulty{
					Store:  objects.NewSealed(root, objectstest.NewKeys(), objects.SealedConfig{}),
					Fail:   func(n int) { calls.fail(n, number) },
					Failed: calls.happened, Certain: true,
				}
			})
			close(stop)
			answers.Wait()
		})
	}
}

// The content is durable before it has its name, and the name before Put returns; nothing
// waits for a deletion.
func TestSealedSyncs(t *testing.T) {
	var answers sync.WaitGroup
	stop := make(chan struct{})
	t.Run("Put", func(t *testing.T) {
		s := objects.NewSealed(filepath.Join(t.TempDir(), "store"), objectstest.NewKeys(), objects.SealedConfig{})
		mustPut(t, s, "a/first", nil) // makes the folders
		calls := interceptSyscalls(t, &answers, stop)
		calls.fail(-1, 0)
		mustPut(t, s, "a/x", objectstest.Bytes(100_000))
		var got []int32
		for _, nr := range calls.since() {
			switch nr {
			case unix.SYS_WRITE, unix.SYS_FSYNC, unix.SYS_LINKAT:
				if len(got) == 0 || got[len(got)-1] != nr {
					got = append(got, nr)
				}
			}
		}
		want := []int32{unix.SYS_WRITE, unix.SYS_FSYNC, unix.SYS_LINKAT, unix.SYS_FSYNC}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("system calls (-want +got):\n%s", diff)
		}
		calls.fail(-1, 0)
		if err := s.Delete(t.Context(), "a/x"); err != nil {
			t.Fatal(err)
		}
		if got := calls.since(); !slices.Contains(got, unix.SYS_UNLINKAT) || slices.Contains(got, unix.SYS_FSYNC) {
			t.Errorf("system calls of Delete: %v", got)
		}
	})
	close(stop)
	answers.Wait()
}

// A disk that is full fails the put and keeps nothing of it; with room again it goes on.
func TestSealedNoSpace(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	root := t.TempDir()
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("mount: %v", err)
	}
	defer func() {
		if err := unix.Unmount(root, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	s := objects.NewSealed(root, objectstest.NewKeys(), objects.SealedConfig{StaleAge: time.Hour})
	mustPut(t, s, "first", objectstest.Bytes(600<<10))
	for range 3 {
		if err := s.Put(t.Context(), "second", owner, objectstest.Bytes(600<<10)); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("Put: %v, want ENOSPC", err)
		}
	}
	if left := unfinished(t, root); left != 0 {
		t.Errorf("%d unfinished files left", left)
	}
	if err := readWhole(t, s, "first"); err != nil {
		t.Errorf("the object that was there: %v", err)
	}
	if err := s.Delete(t.Context(), "first"); err != nil {
		t.Fatal(err)
	}
	mustPut(t, s, "second", objectstest.Bytes(600<<10))
}
