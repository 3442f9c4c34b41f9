package local_test

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cardlake/cardlake/keys/local"
)

func TestSecretFromTheKernel(t *testing.T) {
	// The thread may have a session keyring of its own.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	description := fmt.Sprintf("cardlake test %d", os.Getpid())
	id, err := unix.AddKey("user", description, secret, unix.KEY_SPEC_PROCESS_KEYRING)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		t.Skipf("this kernel, or the container's policy, keeps no keys: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	reads(t, "kernel:"+description)
	if _, err := unix.KeyctlInt(unix.KEYCTL_INVALIDATE, id, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := local.ReadSecret("kernel:" + description); err == nil {
		t.Error("a key that is gone is read")
	}
}
