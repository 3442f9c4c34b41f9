package local

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// readKernelKey reads a key of type "user" (keyctl(2)). Keyrings belong to threads, so all
// calls are made on one. It searches, and does not request: a request would start a program
// of the system's when nothing is found.
func readKernelKey(description string) ([]byte, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for _, ring := range []int{unix.KEY_SPEC_THREAD_KEYRING, unix.KEY_SPEC_PROCESS_KEYRING, unix.KEY_SPEC_SESSION_KEYRING} {
		id, err := unix.KeyctlSearch(ring, "user", description, 0)
		if errors.Is(err, unix.ENOKEY) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("kernel key %q: %w", description, err)
		}
		secret := make([]byte, maxSecret)
		n, err := unix.KeyctlBuffer(unix.KEYCTL_READ, id, secret, 0)
		if err != nil {
			return nil, fmt.Errorf("kernel key %q: %w", description, err)
		}
		if n > len(secret) {
			return nil, fmt.Errorf("kernel key %q: longer than %d bytes", description, maxSecret)
		}
		return secret[:n], nil
	}
	return nil, fmt.Errorf("the kernel has no key %q for this process: keyctl padd user %q @s", description, description)
}
