package kmstest

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The states of a key ("Key states of AWS KMS keys", developer guide).
const (
	enabled         = "Enabled"
	disabled        = "Disabled"
	pendingDeletion = "PendingDeletion"
	pendingReplicas = "PendingReplicaDeletion"
)

// key is a key in one region.
type key struct {
	id           string
	region       string
	state        string
	created      time.Time
	deletion     time.Time // when pending
	windowDays   int
	usage        string // ENCRYPT_DECRYPT, GENERATE_VERIFY_MAC
	spec         string
	description  string
	multiRegion  bool
	primary      string // region of the primary, of a multi-region key
	policyText   string
	policy       policy
	tags         []tag
	grants       []*grant
	rotates      bool
	rotationDays int
	rotatedAt    time.Time
	material     *material
}

// material is what the regions of a multi-region key share.
type material struct {
	versions [][32]byte
	onDemand int
}

type tag struct{ TagKey, TagValue string }

func (k *key) arn() string { return "arn:aws:kms:" + k.region + ":" + Account + ":key/" + k.id }

// find resolves a key id, key ARN, alias name or alias ARN in the caller's region.
func (s *Server) find(c caller, name string) (*key, error) {
	if name == "" || len(name) > 2048 {
		return nil, refuse("ValidationException", "1 validation error detected: Value at 'keyId' failed to satisfy constraint")
	}
	id := name
	if strings.HasPrefix(name, "arn:") {
		parts := strings.SplitN(name, ":", 6)
		if len(parts) != 6 || parts[2] != "kms" {
			return nil, refuse("InvalidArnException", "Invalid arn")
		}
		if parts[3] != c.region.name {
			return nil, refuse("NotFoundException", "Invalid arn %s", parts[3])
		}
		if parts[4] != Account {
			return nil, refuse("AccessDeniedException", "User: %s is not authorized to access this resource", c.principal.ARN)
		}
		id = parts[5]
		if rest, isKey := strings.CutPrefix(id, "key/"); isKey {
			id = rest
		} else if !strings.HasPrefix(id, "alias/") {
			return nil, refuse("InvalidArnException", "Invalid arn")
		}
	}
	if strings.HasPrefix(id, "alias/") {
		target, ok := c.region.aliases[id]
		if !ok {
			return nil, refuse("NotFoundException", "Alias arn:aws:kms:%s:%s:%s is not found.", c.region.name, Account, id)
		}
		id = target
	}
	k := c.region.keys[id]
	if k == nil {
		return nil, refuse("NotFoundException", "Key 'arn:aws:kms:%s:%s:key/%s' does not exist", c.region.name, Account, id)
	}
	return k, nil
}

// findKey is find for operations that take no alias.
func (s *Server) findKey(c caller, name, action string) (*key, error) {
	if strings.Contains(name, "alias/") {
		return nil, refuse("NotFoundException", "Invalid keyId %s", name)
	}
	k, err := s.find(c, name)
	if err != nil {
		return nil, err
	}
	return k, s.permit(c, action, k, nil)
}

// usable refuses keys that are disabled or about to be deleted.
func (k *key) usable() error {
	if k.state == disabled {
		return refuse("DisabledException", "%s is disabled.", k.arn())
	}
	return k.notPending()
}

func (k *key) notPending() error {
	switch k.state {
	case pendingDeletion:
		return refuse("KMSInvalidStateException", "%s is pending deletion.", k.arn())
	case pendingReplicas:
		return refuse("KMSInvalidStateException", "%s is pending replica deletion.", k.arn())
	}
	return nil
}

// expire deletes the keys whose time has come, and starts the primaries' waiting periods
// whose last replica is gone.
func (s *Server) expire() {
	for _, r := range s.regions {
		for id, k := range r.keys {
			if k.state == pendingDeletion && !s.now().Before(k.deletion) {
				delete(r.keys, id)
				for name, target := range r.aliases {
					if target == id {
						delete(r.aliases, name)
					}
				}
			}
		}
	}
	for _, r := range s.regions {
		for id, k := range r.keys {
			if k.state == pendingReplicas && len(s.replicas(id)) == 0 {
				k.state, k.deletion = pendingDeletion, s.now().AddDate(0, 0, k.windowDays)
			}
		}
	}
}

// replicas are the multi-region key's other than the primary.
func (s *Server) replicas(id string) []*key {
	var out []*key
	for _, r := range s.regions {
		if k := r.keys[id]; k != nil && k.primary != k.region {
			out = append(out, k)
		}
	}
	slices.SortFunc(out, func(a, b *key) int { return strings.Compare(a.region, b.region) })
	return out
}

type keyID struct{ KeyId string }

type createKeyIn struct {
	BypassPolicyLockoutSafetyCheck bool
	Description                    string
	KeySpec                        string
	KeyUsage                       string
	MultiRegion                    bool
	Origin                         string
	Policy                         string
	Tags                           []tag
}

func (s *Server) createKey(c caller, in createKeyIn) (any, error) {
	if !c.principal.allows("CreateKey") || accountOf(c.principal.ARN) != Account {
		return nil, refuse("AccessDeniedException", "User: %s is not authorized to perform: kms:CreateKey", c.principal.ARN)
	}
	k := &key{
		region: c.region.name, state: enabled, created: s.now(), description: in.Description, multiRegion: in.MultiRegion,
		usage: in.KeyUsage, spec: in.KeySpec, material: &material{},
	}
	if k.usage == "" {
		k.usage = "ENCRYPT_DECRYPT"
	}
	if k.spec == "" {
		k.spec = "SYMMETRIC_DEFAULT"
	}
	switch {
	case k.usage == "ENCRYPT_DECRYPT" && k.spec == "SYMMETRIC_DEFAULT", k.usage == "GENERATE_VERIFY_MAC" && k.spec == "HMAC_256":
	case k.usage == "ENCRYPT_DECRYPT" && k.spec == "HMAC_256":
		return nil, refuse("ValidationException", "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.")
	default:
		return nil, refuse("UnsupportedOperationException", "this server has SYMMETRIC_DEFAULT and HMAC_256 keys")
	}
	if in.Origin != "" && in.Origin != "AWS_KMS" {
		return nil, refuse("UnsupportedOperationException", "this server has keys of origin AWS_KMS")
	}
	if len(in.Description) > 8192 {
		return nil, refuse("ValidationException", "description")
	}
	var err error
	if k.tags, err = mergeTags(nil, in.Tags); err != nil {
		return nil, err
	}
	if err := s.setPolicy(c, k, in.Policy, in.BypassPolicyLockoutSafetyCheck); err != nil {
		return nil, err
	}
	k.id = newKeyID(in.MultiRegion)
	if in.MultiRegion {
		k.primary = k.region
	}
	k.material.add()
	s.material[k.id] = k.material
	c.region.keys[k.id] = k
	return map[string]any{"KeyMetadata": s.metadata(k)}, nil
}

func newKeyID(multiRegion bool) string {
	var b [16]byte
	rand.Read(b[:])
	if multiRegion {
		return "mrk-" + hex.EncodeToString(b[:])
	}
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func (m *material) add() {
	var v [32]byte
	rand.Read(v[:])
	m.versions = append(m.versions, v)
}

func (s *Server) metadata(k *key) map[string]any {
	out := map[string]any{
		"AWSAccountId": Account, "Arn": k.arn(), "KeyId": k.id, "CreationDate": seconds(k.created), "Description": k.description,
		"Enabled": k.state == enabled, "KeyManager": "CUSTOMER", "KeySpec": k.spec, "CustomerMasterKeySpec": k.spec,
		"KeyState": k.state, "KeyUsage": k.usage, "MultiRegion": k.multiRegion, "Origin": "AWS_KMS",
	}
	if k.usage == "ENCRYPT_DECRYPT" {
		out["EncryptionAlgorithms"] = []string{"SYMMETRIC_DEFAULT"}
	} else {
		out["MacAlgorithms"] = []string{"HMAC_SHA_256"}
	}
	switch k.state {
	case pendingDeletion:
		out["DeletionDate"] = seconds(k.deletion)
	case pendingReplicas:
		out["PendingDeletionWindowInDays"] = k.windowDays
	}
	if k.multiRegion {
		type place struct{ Arn, Region string }
		kind, replicas := "PRIMARY", []place{}
		if k.primary != k.region {
			kind = "REPLICA"
		}
		for _, r := range s.replicas(k.id) {
			replicas = append(replicas, place{r.arn(), r.region})
		}
		out["MultiRegionConfiguration"] = map[string]any{
			"MultiRegionKeyType": kind, "ReplicaKeys": replicas,
			"PrimaryKey": place{"arn:aws:kms:" + k.primary + ":" + Account + ":key/" + k.id, k.primary},
		}
	}
	return out
}

type describeKeyIn struct {
	KeyId       string
	GrantTokens []string
}

func (s *Server) describeKey(c caller, in describeKeyIn) (any, error) {
	k, err := s.find(c, in.KeyId)
	if err == nil {
		err = s.permit(c, "DescribeKey", k, nil)
	}
	if err != nil {
		return nil, err
	}
	return map[string]any{"KeyMetadata": s.metadata(k)}, nil
}

func (s *Server) enableKey(c caller, in keyID) (nothing, error) {
	return s.turn(c, in, "EnableKey", enabled)
}

func (s *Server) disableKey(c caller, in keyID) (nothing, error) {
	return s.turn(c, in, "DisableKey", disabled)
}

func (s *Server) turn(c caller, in keyID, action, state string) (nothing, error) {
	k, err := s.findKey(c, in.KeyId, action)
	if err == nil {
		err = k.notPending()
	}
	if err == nil {
		k.state = state
	}
	return nothing{}, err
}

type scheduleIn struct {
	KeyId               string
	PendingWindowInDays *int
}

func (s *Server) scheduleKeyDeletion(c caller, in scheduleIn) (any, error) {
	days := 30
	if in.PendingWindowInDays != nil {
		days = *in.PendingWindowInDays
	}
	if days < 7 || days > 30 {
		return nil, refuse("ValidationException", "PendingWindowInDays must be between 7 and 30")
	}
	k, err := s.findKey(c, in.KeyId, "ScheduleKeyDeletion")
	if err == nil {
		err = k.notPending()
	}
	if err != nil {
		return nil, err
	}
	k.windowDays = days
	out := map[string]any{"KeyId": k.arn(), "PendingWindowInDays": days}
	if k.primary == k.region && len(s.replicas(k.id)) > 0 {
		k.state = pendingReplicas
	} else {
		k.state, k.deletion = pendingDeletion, s.now().AddDate(0, 0, days)
		out["DeletionDate"] = seconds(k.deletion)
	}
	out["KeyState"] = k.state
	return out, nil
}

func (s *Server) cancelKeyDeletion(c caller, in keyID) (any, error) {
	k, err := s.findKey(c, in.KeyId, "CancelKeyDeletion")
	if err != nil {
		return nil, err
	}
	if k.notPending() == nil {
		return nil, refuse("KMSInvalidStateException", "%s is not pending deletion.", k.arn())
	}
	k.state, k.deletion = disabled, time.Time{}
	return keyID{k.arn()}, nil
}

type replicateIn struct {
	KeyId                          string
	ReplicaRegion                  string
	BypassPolicyLockoutSafetyCheck bool
	Description                    string
	Policy                         string
	Tags                           []tag
}

func (s *Server) replicateKey(c caller, in replicateIn) (any, error) {
	k, err := s.findKey(c, in.KeyId, "ReplicateKey")
	if err == nil {
		err = k.usable()
	}
	if err != nil {
		return nil, err
	}
	if !k.multiRegion || k.primary != k.region {
		return nil, refuse("UnsupportedOperationException", "%s is not a multi-region primary key", k.arn())
	}
	if in.ReplicaRegion == "" || in.ReplicaRegion == k.region {
		return nil, refuse("ValidationException", "ReplicaRegion")
	}
	to := s.regions[in.ReplicaRegion]
	if to == nil {
		to = &region{name: in.ReplicaRegion, keys: map[string]*key{}, aliases: map[string]string{}}
		s.regions[in.ReplicaRegion] = to
	}
	if to.keys[k.id] != nil {
		return nil, refuse("AlreadyExistsException", "%s exists in %s", k.id, in.ReplicaRegion)
	}
	replica := &key{
		id: k.id, region: to.name, state: enabled, created: s.now(), usage: k.usage, spec: k.spec, description: in.Description,
		multiRegion: true, primary: k.primary, material: k.material,
	}
	if replica.tags, err = mergeTags(nil, in.Tags); err != nil {
		return nil, err
	}
	if err := s.setPolicy(c, replica, in.Policy, in.BypassPolicyLockoutSafetyCheck); err != nil {
		return nil, err
	}
	to.keys[k.id] = replica
	return map[string]any{"ReplicaKeyMetadata": s.metadata(replica), "ReplicaPolicy": replica.policyText, "ReplicaTags": replica.tags}, nil
}

type rotationIn struct {
	KeyId                string
	RotationPeriodInDays *int
}

// rotatable refuses what has no rotation of its own: HMAC keys, and replicas, which rotate
// with their primary.
func (k *key) rotatable() error {
	if k.usage != "ENCRYPT_DECRYPT" || k.multiRegion && k.primary != k.region {
		return refuse("UnsupportedOperationException", "%s has no rotation of its own", k.arn())
	}
	return k.usable()
}

func (s *Server) enableKeyRotation(c caller, in rotationIn) (nothing, error) {
	days := 365
	if in.RotationPeriodInDays != nil {
		days = *in.RotationPeriodInDays
	}
	if days < 90 || days > 2560 {
		return nothing{}, refuse("ValidationException", "RotationPeriodInDays must be between 90 and 2560")
	}
	k, err := s.findKey(c, in.KeyId, "EnableKeyRotation")
	if err == nil {
		err = k.rotatable()
	}
	if err == nil {
		k.rotates, k.rotationDays, k.rotatedAt = true, days, s.now()
	}
	return nothing{}, err
}

func (s *Server) disableKeyRotation(c caller, in keyID) (nothing, error) {
	k, err := s.findKey(c, in.KeyId, "DisableKeyRotation")
	if err == nil {
		err = k.rotatable()
	}
	if err == nil {
		k.rotates = false
	}
	return nothing{}, err
}

func (s *Server) getKeyRotationStatus(c caller, in keyID) (any, error) {
	k, err := s.findKey(c, in.KeyId, "GetKeyRotationStatus")
	if err != nil {
		return nil, err
	}
	if k.usage != "ENCRYPT_DECRYPT" {
		return nil, refuse("UnsupportedOperationException", "%s has no rotation", k.arn())
	}
	out := map[string]any{"KeyId": k.id, "KeyRotationEnabled": k.rotates && k.notPending() == nil}
	if k.rotates && k.notPending() == nil {
		out["RotationPeriodInDays"] = k.rotationDays
		out["NextRotationDate"] = seconds(k.rotatedAt.AddDate(0, 0, k.rotationDays))
	}
	return out, nil
}

// maxOnDemand is how often a key can be rotated on demand in its life.
const maxOnDemand = 25

func (s *Server) rotateKeyOnDemand(c caller, in keyID) (any, error) {
	k, err := s.findKey(c, in.KeyId, "RotateKeyOnDemand")
	if err == nil {
		err = k.rotatable()
	}
	if err != nil {
		return nil, err
	}
	if k.material.onDemand == maxOnDemand {
		return nil, refuse("LimitExceededException", "%s was rotated on demand %d times", k.arn(), maxOnDemand)
	}
	k.material.onDemand++
	k.material.add()
	return keyID{k.id}, nil
}
