package export

import (
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"database/sql"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/keys"
)

// claim is what a link says, all of which its signature is over.
type claim struct {
	path      string
	tenant    cardlake.Tenant
	principal grants.Principal
	mfa       bool
	until     time.Time
	key       string
}

// links signs and verifies links with HMAC-SHA-256 (RFC 2104). The keys are derived from data
// keys that the lake's key wraps, so that a copy of the folder cannot sign; a link names its key.
type links struct {
	store    *store
	provider keys.Provider
	cfg      Config

	mu  sync.Mutex
	mac map[string][]byte
}

// keyAge is how old the key is that signs. A key verifies for as long as a link of its last hour
// may last, and is forgotten then.
const keyAge = 30 * 24 * time.Hour

func newLinks(st *store, provider keys.Provider, cfg Config) *links {
	return &links{store: st, provider: provider, cfg: cfg, mac: map[string][]byte{}}
}

func (l *links) scope() keys.Scope { return keys.Scope{Owner: keys.Lake, Purpose: keys.Object} }

// current returns the key that signs now; it makes one when the newest is too old.
func (l *links) current(ctx context.Context) (id string, err error) {
	now := l.cfg.Now()
	err = l.store.change(ctx, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, "SELECT id FROM link_keys WHERE created > ? ORDER BY created DESC LIMIT 1", now.Add(-keyAge).UnixMicro()).Scan(&id)
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		key, wrapped, err := l.provider.NewDataKey(ctx, l.scope())
		if err != nil {
			return fmt.Errorf("key of links: %w", err)
		}
		key.Destroy()
		id = newID()[:8]
		if _, err := tx.ExecContext(ctx, "DELETE FROM link_keys WHERE created < ?", now.Add(-keyAge-l.cfg.LinkAge-time.Hour).UnixMicro()); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO link_keys VALUES (?, ?, ?)", id, now.UnixMicro(), wrapped)
		return err
	})
	return id, err
}

// secret returns a key by its id; sql.ErrNoRows if there is none.
func (l *links) secret(ctx context.Context, id string) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if mac := l.mac[id]; mac != nil {
		return mac, nil
	}
	var wrapped []byte
	if err := l.store.db.QueryRowContext(ctx, "SELECT wrapped FROM link_keys WHERE id = ?", id).Scan(&wrapped); err != nil {
		return nil, err
	}
	key, err := l.provider.UnwrapDataKey(ctx, l.scope(), wrapped)
	if err != nil {
		return nil, fmt.Errorf("key of links: %w", err)
	}
	defer key.Destroy()
	mac, err := hkdf.Key(sha256.New, key.Bytes(), nil, "cardlake export links v1", sha256.Size)
	if err == nil {
		l.mac[id] = mac
	}
	return mac, err
}

// message is what is signed: each part with its length before it, so that none can take a
// character of another's.
func (c *claim) message(method string) []byte {
	var b strings.Builder
	for _, part := range []string{"v1", method, c.path, string(c.tenant), c.principal.String(), strconv.FormatBool(c.mfa), strconv.FormatInt(c.until.Unix(), 10), c.key} {
		fmt.Fprintf(&b, "%d:%s\n", len(part), part)
	}
	return []byte(b.String())
}

func (c *claim) sign(secret []byte, method string) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write(c.message(method))
	return h.Sum(nil)
}

// sign returns the query of a link.
func (l *links) sign(ctx context.Context, c claim) (query string, err error) {
	if c.key, err = l.current(ctx); err != nil {
		return "", err
	}
	secret, err := l.secret(ctx, c.key)
	if err != nil {
		return "", err
	}
	values := url.Values{
		"tenant": {string(c.tenant)}, "principal": {c.principal.String()}, "expires": {strconv.FormatInt(c.until.Unix(), 10)},
		"key": {c.key}, "signature": {base64.RawURLEncoding.EncodeToString(c.sign(secret, http.MethodGet))},
	}
	if c.mfa {
		values.Set("mfa", "1")
	}
	return values.Encode(), nil
}

// verify returns what a link says, if we said it. HEAD is as good as GET.
func (l *links) verify(ctx context.Context, method, path, query string) (claim, error) {
	forged := faultf(Refused, "the link's signature is not right: use the link as it was made, or make a new one")
	values, err := url.ParseQuery(query)
	if err != nil || method != http.MethodGet && method != http.MethodHead {
		return claim{}, forged
	}
	for name, list := range values {
		switch name {
		case "tenant", "principal", "expires", "key", "signature", "mfa":
			if len(list) == 1 {
				continue
			}
		}
		return claim{}, forged
	}
	until, err := strconv.ParseInt(values.Get("expires"), 10, 64)
	if err != nil {
		return claim{}, forged
	}
	principal, err := grants.ParsePrincipal(values.Get("principal"))
	if err != nil {
		return claim{}, forged
	}
	signature, err := base64.RawURLEncoding.Strict().DecodeString(values.Get("signature"))
	if err != nil {
		return claim{}, forged
	}
	c := claim{
		path: path, tenant: cardlake.Tenant(values.Get("tenant")), principal: principal, mfa: values.Get("mfa") == "1",
		until: time.Unix(until, 0).UTC(), key: values.Get("key"),
	}
	secret, err := l.secret(ctx, c.key)
	if errors.Is(err, sql.ErrNoRows) {
		return claim{}, forged
	} else if err != nil {
		return claim{}, err
	}
	if !hmac.Equal(signature, c.sign(secret, http.MethodGet)) {
		return claim{}, forged
	}
	return c, nil
}
