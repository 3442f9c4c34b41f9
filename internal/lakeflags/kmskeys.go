package lakeflags

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"sync"
	"time"

	"github.com/cardlake/cardlake/keys"
)

// kmsKeys names the KMS key of each owner, from a file of JSON: {"lake": "arn:…", "<storage
// id>": "arn:…"}. The file is read again when it has changed and an owner is asked for that
// it did not have, so that a new tenant needs no restart. It implements s3.Keys.
type kmsKeys struct {
	path string

	mu      sync.Mutex
	changed time.Time
	arns    map[keys.Owner]string
}

// keyARN is a key's, not an alias's (AWS, "Key ARN").
var keyARN = regexp.MustCompile(`^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$`)

// openKMSKeys reads the file, which must name the lake's own key.
func openKMSKeys(path string) (*kmsKeys, error) {
	k := &kmsKeys{path: path}
	if err := k.read(); err != nil {
		return nil, fmt.Errorf("-kms-keys: %w", err)
	}
	if _, ok := k.arns[keys.Lake]; !ok {
		return nil, fmt.Errorf("-kms-keys: %s has no key for %q", path, keys.Lake)
	}
	return k, nil
}

func (k *kmsKeys) read() error {
	info, err := os.Stat(k.path)
	if err != nil {
		return err
	}
	if info.ModTime().Equal(k.changed) {
		return nil
	}
	text, err := os.ReadFile(k.path)
	if err != nil {
		return err
	}
	arns := map[keys.Owner]string{}
	if err := json.Unmarshal(text, &arns); err != nil {
		return fmt.Errorf("%s: %w", k.path, err)
	}
	var errs []error
	for owner, arn := range arns {
		if !keyARN.MatchString(arn) {
			errs = append(errs, fmt.Errorf("%s: the key of %q is not the ARN of a KMS key", k.path, owner))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	k.arns, k.changed = arns, info.ModTime()
	return nil
}

// KeyOf implements s3.Keys.
func (k *kmsKeys) KeyOf(owner keys.Owner) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if arn, ok := k.arns[owner]; ok {
		return arn, nil
	}
	if err := k.read(); err != nil {
		return "", fmt.Errorf("KMS keys: %w", err)
	}
	if arn, ok := k.arns[owner]; ok {
		return arn, nil
	}
	return "", keys.ErrNoKey
}
