// Package cardlake holds the nouns that every part of the system shares: tenants,
// money, tokens, transactions as the lake knows them, the columns of its tables,
// stream positions and data files.
//
// Nothing in this package can hold a card number. A [Transaction] has a card token
// and a truncated number and no field for more; the clear side lives in package card,
// which the query side must not link (internal/archtest).
//
// The package depends on the standard library and Arrow only.
package cardlake

// Version is the release of the software, shown by every binary.
const Version = "0.1.0"
