package objects

import (
	"errors"
	"fmt"
	"strings"
)

// ErrName marks an object name that does not follow the rule of [Store].
var ErrName = errors.New("object name must be 1 to 1024 characters of a-z A-Z 0-9 . _ = - in elements of 1 to 200 joined by slashes, none of them . or ..")

const (
	maxName    = 1024
	maxElement = 200 // file systems allow 255 bytes
)

// ValidateName returns ErrName if the name does not follow the rule of [Store].
func ValidateName(name string) error {
	if len(name) > maxName {
		return ErrName
	}
	for element := range strings.SplitSeq(name, "/") {
		if element == "" || element == "." || element == ".." || len(element) > maxElement || !nameCharacters(element) {
			return ErrName
		}
	}
	return nil
}

// ValidatePrefix returns an error that wraps ErrName for a prefix that no name can begin with.
func ValidatePrefix(prefix string) error {
	_, err := splitPrefix(prefix)
	return err
}

// splitPrefix returns the folder that holds every object whose name begins with prefix, ""
// for the top, and an error for a prefix that no name can begin with.
func splitPrefix(prefix string) (folder string, err error) {
	i := strings.LastIndexByte(prefix, '/')
	if i >= 0 {
		folder = prefix[:i]
		if err := ValidateName(folder); err != nil {
			return "", fmt.Errorf("prefix: %w", err)
		}
	}
	if !nameCharacters(prefix[i+1:]) {
		return "", fmt.Errorf("prefix: %w", ErrName)
	}
	return folder, nil
}

func nameCharacters(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9',
			c == '.', c == '_', c == '=', c == '-':
		default:
			return false
		}
	}
	return true
}
