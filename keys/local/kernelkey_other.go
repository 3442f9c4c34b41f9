//go:build !linux

package local

import "errors"

func readKernelKey(string) ([]byte, error) {
	return nil, errors.New("kernel keys are Linux's: name a file")
}
