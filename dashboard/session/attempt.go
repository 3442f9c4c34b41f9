package session

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/cardlake/cardlake/catalog/signin"
)

// attemptLife is how long a person may take to sign in at the issuer.
const attemptLife = 10 * time.Minute

// attempt is a sign-in that is under way. It lies with the browser, sealed: a flood of them takes
// no memory here.
type attempt struct {
	signin.Attempt
	To    string    `json:"to"`
	Begun time.Time `json:"begun"`
}

// newSealer makes a key that lives as long as the process.
func newSealer() (cipher.AEAD, error) {
	var key [32]byte
	rand.Read(key[:])
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// sealedFor keeps what is sealed here from being taken for anything else.
const sealedFor = "cardlake sign-in"

func (m *Manager) seal(a attempt) (string, error) {
	text, err := json.Marshal(a)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(m.sealer.Seal(nil, nil, text, []byte(sealedFor))), nil
}

// errAttempt says that the browser did not begin a sign-in, or too long ago.
var errAttempt = errors.New("no sign-in is under way")

func (m *Manager) unseal(value string, now time.Time) (a attempt, err error) {
	sealed, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil {
		return a, errAttempt
	}
	text, err := m.sealer.Open(nil, nil, sealed, []byte(sealedFor))
	if err != nil || json.Unmarshal(text, &a) != nil {
		return a, errAttempt
	}
	if age := now.Sub(a.Begun); age < 0 || age >= attemptLife {
		return a, errAttempt
	}
	return a, nil
}

// once remembers which attempts led to a session, for as long as they could again.
type once struct {
	mu   sync.Mutex
	done map[digest]time.Time
}

// maxDone bounds how many are remembered. Each is of somebody whom the issuer signed in.
const maxDone = 100_000

// use reports whether the attempt is finished for the first time, and whether there is room to
// remember it.
func (o *once) use(state string, now time.Time) (first, room bool) {
	d := digestOf(state)
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, used := o.done[d]; used {
		return false, true
	}
	if len(o.done) >= maxDone {
		for d, at := range o.done {
			if now.Sub(at) >= attemptLife {
				delete(o.done, d)
			}
		}
		if len(o.done) >= maxDone {
			return false, false
		}
	}
	if o.done == nil {
		o.done = map[digest]time.Time{}
	}
	o.done[d] = now
	return true, true
}

// sweep forgets what can't be finished again anyway.
func (o *once) sweep(now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for d, at := range o.done {
		if now.Sub(at) >= attemptLife {
			delete(o.done, d)
		}
	}
}

// maxTo bounds where to go after signing in, in bytes.
const maxTo = 1024

// isOwnPath reports whether a browser that is sent there stays with the dashboard's pages,
// whatever it makes of odd characters: a path from the root, in printable ASCII, without a
// backslash, an empty or a dot segment, and neither the API's nor a sign-in's.
func isOwnPath(to string) bool {
	if len(to) > maxTo || !strings.HasPrefix(to, "/") || strings.ContainsFunc(to, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return false
	}
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" {
		return false
	}
	p := u.Path
	if clean := path.Clean(p); clean != p && clean+"/" != p || strings.Contains(p, `\`) || strings.ContainsFunc(p, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return false
	}
	return !under(p, "/auth") && !under(p, "/v1")
}

func under(p, root string) bool { return p == root || strings.HasPrefix(p, root+"/") }

// The cookies. With TLS their names have a prefix that no other host, and no answer in clear, can
// set (RFC 6265bis section 4.1.3.2).
const (
	cookieSession = "cardlake"
	cookieAttempt = "cardlake-sign-in"
)

func (m *Manager) cookieName(name string) string {
	if m.secure {
		return "__Host-" + name
	}
	return name
}

// setCookie tells the browser a value; an empty one takes the cookie back. It ends with the
// browser, or after life if that is not zero.
func (m *Manager) setCookie(w http.ResponseWriter, name, value string, life time.Duration) {
	c := &http.Cookie{
		Name: m.cookieName(name), Value: value, Path: "/", MaxAge: int(life / time.Second),
		HttpOnly: true, Secure: m.secure, SameSite: http.SameSiteLaxMode,
	}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

// cookie returns the value of the one cookie of the name; "" if there is none, or are several:
// nobody knows then whose they are.
func (m *Manager) cookie(r *http.Request, name string) (value string, shown bool) {
	all := r.CookiesNamed(m.cookieName(name))
	if len(all) == 1 {
		value = all[0].Value
	}
	return value, len(all) > 0
}
