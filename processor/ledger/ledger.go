// Package ledger is the processor's durable memory: cards, accounts, decisions, the events
// that announce them and the control totals that count them, in one Pebble store on a local
// disk.
//
// A card is stored under 128 bits of HMAC-SHA-256 of its number, with a secret that lies in
// the keyring: the store never holds a card number. What one decision changes (the account,
// the answer for repeats, the event in the outbox, the count of its minute) is one batch: it
// happens whole or not at all, and it is on the disk before the answer is given.
//
// Lock order: event stripe, then account stripe. A stripe is held until the batch is
// visible in memory, not until it is on the disk, so that concurrent decisions share one
// sync of the log; the log is written in order, so a decision cannot outlive one that it
// has seen.
package ledger

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/maphash"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/processor/outbox"
)

// Key is a card's look-up key: it stands for the card number and does not reveal it.
type Key [16]byte

// Config tunes a ledger.
type Config struct {
	// MaxPerMinute is how many authorizations a card may have in any 60 seconds; 10 if zero,
	// without limit if negative.
	MaxPerMinute int
	// Retention is how long a decision is remembered: repeats are answered and reversals
	// find their original for so long. 72 hours if zero.
	Retention time.Duration
	// Outbox tunes the relay of events; its logger is Logger if nil.
	Outbox outbox.Config
	// Logger gets the store's complaints; discards if nil.
	Logger *slog.Logger
	// Fatal is called when the disk fails under a write, which leaves the store unusable.
	// It must not return. If nil, one line goes to standard error and the process exits
	// with code 2.
	Fatal func(err error)
}

func (c *Config) defaults() {
	if c.MaxPerMinute == 0 {
		c.MaxPerMinute = 10
	}
	if c.Retention == 0 {
		c.Retention = 72 * time.Hour
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Outbox.Logger == nil {
		c.Outbox.Logger = c.Logger
	}
	if c.Fatal == nil {
		c.Fatal = func(err error) {
			fmt.Fprintf(os.Stderr, "ledger: %v; free or repair the disk and start again\n", err)
			os.Exit(2)
		}
	}
}

var (
	// ErrNoIssuer says that no card was issued under the card number's first digits.
	ErrNoIssuer = errors.New("no card was issued under this prefix")
	// ErrSecret says that the keyring's index secret is not the one the ledger was made with.
	ErrSecret = errors.New("the ledger was made with another index secret; use its own keyring")
)

// The store's key space, by first byte; 'o' is the outbox's.
const (
	cardPrefix     = 'c' // + look-up key: identity and state of a card
	binPrefix      = 'b' // + 8 or 6 digits: the programme issued under them
	accountPrefix  = 'a' // + tenant, zero byte, account id: limit and held amount
	velocityPrefix = 'v' // + look-up key: instants of the last authorizations
	eventPrefix    = 'e' // + event id: the decision
	undonePrefix   = 'r' // + event id of an original, look-up key: it has been reversed
	timePrefix     = 't' // + instant, key of an event or reversal: what to forget when
	countPrefix    = 's' // + minute, the event's sequence in the outbox: a decision that no control total counts yet
	sequencePrefix = 'n' // + tenant: how many of its decisions control totals have counted
	checkKey       = "m/index"
	processorKey   = "m/processor" // the ledger's id in control totals
)

const stripes = 4096

// Ledger is the store. It is safe for concurrent use.
type Ledger struct {
	db     *pebble.DB
	cfg    Config
	outbox *outbox.Outbox
	macs   sync.Pool // of hash.Hash, keyed with the index secret
	totals totals

	seed     maphash.Seed
	events   [stripes]sync.Mutex
	accounts [stripes]sync.Mutex

	importing sync.Mutex
	binMu     sync.RWMutex
	bins      map[string]issuer
}

// Open opens the ledger in dir, which it creates if it is not there. It needs the newest
// secret of scope {keys.Processor, keys.Index}.
func Open(ctx context.Context, dir string, secrets keys.Secrets, cfg Config) (*Ledger, error) {
	return open(ctx, vfs.Default, dir, secrets, cfg)
}

func open(ctx context.Context, fs vfs.FS, dir string, secrets keys.Secrets, cfg Config) (*Ledger, error) {
	cfg.defaults()
	version, secret, err := secrets.Secret(ctx, keys.Scope{Owner: keys.Processor, Purpose: keys.Index})
	if err != nil {
		return nil, fmt.Errorf("open ledger: index secret: %w", err)
	}
	cache := pebble.NewCache(64 << 20)
	defer cache.Unref()
	opts := &pebble.Options{
		FS:                          fs,
		Cache:                       cache,
		MemTableSize:                32 << 20,
		MemTableStopWritesThreshold: 4,
		FormatMajorVersion:          pebble.FormatNewest,
		Logger:                      logger{cfg},
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) { cfg.Logger.Error("ledger's store", "error", err) },
		},
	}
	for i := range opts.Levels {
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	// Blocks stay uncompressed so that a search of the folder's bytes for card numbers is
	// proof; what takes the room, sealed events, does not compress anyway.
	opts.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionNone })
	db, err := pebble.Open(dir, opts)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	l := &Ledger{db: db, cfg: cfg, seed: maphash.MakeSeed(), bins: map[string]issuer{}}
	key := append([]byte(nil), secret.Bytes()...)
	l.macs.New = func() any { return hmac.New(sha256.New, key) }
	if err := errors.Join(l.checkSecret(version), l.loadIssuers(), l.openTotals()); err != nil {
		return nil, errors.Join(fmt.Errorf("open ledger: %w", err), db.Close())
	}
	if l.outbox, err = outbox.Open(db, cfg.Outbox); err != nil {
		return nil, errors.Join(fmt.Errorf("open ledger: %w", err), db.Close())
	}
	return l, nil
}

// checkSecret stores a value that depends on the secret, or compares it with the stored
// one: under another secret no card would be found, and every purchase would be declined.
func (l *Ledger) checkSecret(version int) error {
	sum := l.mac("cardlake processor index check\x00", nil)
	want := append(binary.BigEndian.AppendUint32(nil, uint32(version)), sum[:]...)
	have, err := l.get([]byte(checkKey))
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return l.db.Set([]byte(checkKey), want, pebble.Sync)
	case err != nil:
		return err
	case string(have) != string(want):
		return ErrSecret
	}
	return nil
}

// Outbox returns the queue of events, whose Run relays them to the stream.
func (l *Ledger) Outbox() *outbox.Outbox { return l.outbox }

// Close closes the store. Every other call, the outbox's Run included, must have returned.
func (l *Ledger) Close() error {
	if err := l.db.Close(); err != nil {
		return fmt.Errorf("close ledger: %w", err)
	}
	return nil
}

func (l *Ledger) mac(domain string, data []byte) [32]byte {
	h := l.macs.Get().(hash.Hash)
	h.Reset()
	h.Write([]byte(domain))
	h.Write(data)
	var sum [32]byte
	h.Sum(sum[:0])
	l.macs.Put(h)
	return sum
}

// get returns a copy of the value, or an error that is pebble.ErrNotFound.
func (l *Ledger) get(key []byte) ([]byte, error) {
	v, closer, err := l.db.Get(key)
	if err != nil {
		return nil, err
	}
	v = append([]byte(nil), v...)
	return v, closer.Close()
}

// lock takes the stripes of an event and of an account and returns their release.
func (l *Ledger) lock(event, account []byte) func() {
	e := &l.events[maphash.Bytes(l.seed, event)%stripes]
	a := &l.accounts[maphash.Bytes(l.seed, account)%stripes]
	e.Lock()
	a.Lock()
	return func() {
		a.Unlock()
		e.Unlock()
	}
}

// Run forgets decisions older than the retention until ctx ends, and then returns nil.
func (l *Ledger) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			if err := l.Forget(now.Add(-l.cfg.Retention)); err != nil {
				return err
			}
		}
	}
}

// Forget deletes what repeats and reversals of messages decided before the instant need.
func (l *Ledger) Forget(before time.Time) error {
	const most = 10_000 // entries in one batch
	upper := binary.BigEndian.AppendUint64([]byte{timePrefix}, uint64(before.UnixMicro()))
	for {
		n, err := l.forget(upper, most)
		if err != nil {
			return fmt.Errorf("forget old decisions: %w", err)
		}
		if n < most {
			return nil
		}
	}
}

func (l *Ledger) forget(upper []byte, most int) (n int, err error) {
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: []byte{timePrefix}, UpperBound: upper})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	b := l.db.NewBatch()
	defer b.Close()
	for ok := it.First(); ok && n < most; ok = it.Next() {
		if err := errors.Join(b.Delete(it.Key()[9:], nil), b.Delete(it.Key(), nil)); err != nil {
			return n, err
		}
		n++
	}
	return n, b.Commit(pebble.NoSync)
}

// logger passes on what Pebble complains of and drops its chatter.
type logger struct{ cfg Config }

func (logger) Infof(string, ...any) {}
func (l logger) Errorf(format string, args ...any) {
	l.cfg.Logger.Error("ledger's store", "error", fmt.Sprintf(format, args...))
}
func (l logger) Fatalf(format string, args ...any) { l.cfg.Fatal(fmt.Errorf(format, args...)) }
