package webhook

import (
	"context"
	"net/netip"
	"syscall"
)

// guard decides which addresses are dialled.
type guard struct{ allow []netip.Prefix }

// control looks at the address of every connection just before it is made. There is no gap
// between the look and the use in which a name could come to mean another address.
func (g *guard) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || !g.permits(to.Addr()) {
		return ErrAddress
	}
	return nil
}

func (g *guard) permits(ip netip.Addr) bool {
	ip = ip.WithZone("").Unmap()
	for _, p := range g.allow {
		if p.Contains(ip) {
			return true
		}
	}
	return isPublic(ip)
}

// reserved are networks that are not the public internet's (IANA special-purpose address
// registries for IPv4 and IPv6, RFC 6890), beside those that netip names.
var reserved = prefixes(
	"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24",
	"203.0.113.0/24", "240.0.0.0/4",
	"2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16", "64:ff9b:1::/48", "fec0::/10",
)

// Networks that carry an IPv4 address inside one of IPv6.
var (
	nat64   = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052, in the last 4 bytes
	sixToV4 = netip.MustParsePrefix("2002::/16")    // RFC 3056, in bytes 2 to 5
	global  = netip.MustParsePrefix("2000::/3")     // all that is global unicast (RFC 4291)
)

func prefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		out[i] = netip.MustParsePrefix(text)
	}
	return out
}

// isPublic reports whether an address, not one of IPv4 in IPv6, is the public internet's.
func isPublic(ip netip.Addr) bool {
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() {
		return false
	}
	for _, p := range reserved {
		if p.Contains(ip) {
			return false
		}
	}
	if ip.Is4() {
		return true
	}
	bytes := ip.As16()
	switch {
	case nat64.Contains(ip):
		return isPublic(netip.AddrFrom4([4]byte(bytes[12:])))
	case sixToV4.Contains(ip):
		return isPublic(netip.AddrFrom4([4]byte(bytes[2:])))
	}
	return global.Contains(ip)
}
