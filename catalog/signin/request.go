package signin

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// maxToken bounds a bearer token in bytes.
const maxToken = 16 << 10

// Bearer returns the request's bearer token (RFC 6750 section 2.1), empty if it has none. A
// token is taken from the header Authorization only: what is in a URL or a form ends up in
// logs. An error is an *Error.
func Bearer(r *http.Request) (string, error) {
	values := r.Header.Values("Authorization")
	if len(values) == 0 {
		return "", nil
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if len(values) > 1 || !strings.EqualFold(scheme, "Bearer") || token == "" || len(token) > maxToken || strings.IndexFunc(token, notInToken) >= 0 {
		return "", refuse(Malformed)
	}
	return token, nil
}

// notInToken reports whether the character is none of a compact JWS (RFC 7515 section 7.1).
func notInToken(c rune) bool {
	return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.')
}

// Origin is the address that the request came from, without its port: the connection's peer,
// or if that is one of the proxies, the last address of X-Forwarded-For that is none of them.
func Origin(r *http.Request, proxies []netip.Prefix) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	peer, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	origin := peer.Unmap()
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && within(origin, proxies); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break // what the proxy has not understood either says nothing
		}
		origin = hop.Unmap().WithZone("")
	}
	return origin.String()
}

func within(a netip.Addr, networks []netip.Prefix) bool {
	for _, n := range networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}
