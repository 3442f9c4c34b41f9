package vault

import (
	"context"
	"fmt"
	"iter"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize"
)

// Counts says what an owner has in the vault.
type Counts struct {
	Cards   int // pinned: tokens that are in use
	Indexes int // entries by which cards are found under other versions of the mint secret
	Retired int // tokens that a compromise has replaced
}

// Count counts an owner's entries, in time proportional to their number. Entries that come
// meanwhile are counted or not.
func (v *Vault) Count(ctx context.Context, owner keys.Owner) (Counts, error) {
	var c Counts
	for rows, err := range v.scan(ctx, owner, endOf(0)) {
		if err != nil {
			return Counts{}, fmt.Errorf("count cards of %s: %w", owner, err)
		}
		for _, r := range rows {
			switch kind(r.Value[0]) {
			case pin:
				c.Cards++
			case index:
				c.Indexes++
			case retired:
				c.Retired++
			}
		}
	}
	return c, nil
}

// scan yields an owner's rows after a token, batch by batch. An error is the last it yields.
func (v *Vault) scan(ctx context.Context, owner keys.Owner, after tokenize.Token) iter.Seq2[[]Row, error] {
	return func(yield func([]Row, error) bool) {
		if err := checkOwner(owner); err != nil {
			yield(nil, err)
			return
		}
		for {
			rows, err := v.store.Scan(ctx, owner, after, v.batch)
			if err != nil {
				yield(nil, err)
				return
			}
			if len(rows) > 0 && !yield(rows, nil) || len(rows) < v.batch {
				return
			}
			after = rows[len(rows)-1].Token
		}
	}
}

// Crossing is a line of the crosswalk: a retired token and the one its card has now.
type Crossing struct{ Old, New tokenize.Token }

// Crosswalk yields every retired token of the owner, in the order of tokens. An error is the
// last it yields. New is the card's token of today even if it was replaced more than once.
func (v *Vault) Crosswalk(ctx context.Context, owner keys.Owner) iter.Seq2[Crossing, error] {
	return func(yield func(Crossing, error) bool) {
		for rows, err := range v.scan(ctx, owner, endOf(0)) {
			var out []Crossing
			if err == nil {
				out, err = v.crossings(ctx, owner, rows)
			}
			if err != nil {
				yield(Crossing{}, fmt.Errorf("crosswalk of %s: %w", owner, err))
				return
			}
			for _, c := range out {
				if !yield(c, nil) {
					return
				}
			}
		}
	}
}

func (v *Vault) crossings(ctx context.Context, owner keys.Owner, rows []Row) ([]Crossing, error) {
	var old []tokenize.Token
	for _, r := range rows {
		if kind(r.Value[0]) == retired {
			old = append(old, r.Token)
		}
	}
	out := make([]Crossing, len(old))
	err := again(ctx, func() error {
		w, err := v.load(ctx, owner, old)
		if err != nil {
			return err
		}
		for i, t := range old {
			now, err := w.root(t)
			if err != nil {
				return err
			}
			out[i] = Crossing{t, now}
		}
		return nil
	})
	return out, err
}

// Erase removes all that the vault has of an owner, and returns how many entries there were.
// What makes the card numbers unreadable everywhere, copies and backups included, is that
// the owner's keys are destroyed: do that first, so that nobody pins meanwhile.
func (v *Vault) Erase(ctx context.Context, owner keys.Owner) (int, error) {
	if err := checkOwner(owner); err != nil {
		return 0, fmt.Errorf("erase: %w", err)
	}
	total := 0
	for {
		n, err := v.remove(ctx, owner, func(Row, kind) bool { return true }, tokenize.Token{}, endOf(tokenize.MaxVersion))
		total += n
		if err != nil {
			return total, fmt.Errorf("erase %s: %w", owner, err)
		}
		if n == 0 {
			return total, nil
		}
	}
}

// remove deletes the rows after one token and not after another that are asked for, batch by
// batch.
func (v *Vault) remove(ctx context.Context, owner keys.Owner, which func(Row, kind) bool, after, last tokenize.Token) (total int, err error) {
	for more := true; more; {
		n := 0
		next := after
		err := again(ctx, func() error {
			rows, err := v.store.Scan(ctx, owner, after, v.batch)
			if err != nil {
				return err
			}
			var changes []Change
			more = len(rows) == v.batch
			for _, r := range rows {
				if Compare(r.Token, last) > 0 {
					more = false
					break
				}
				if which(r, kind(r.Value[0])) {
					changes = append(changes, Change{Token: r.Token, Old: r.Value})
				}
				next = r.Token
			}
			if n = len(changes); n == 0 {
				return nil
			}
			return v.store.Write(ctx, owner, changes)
		})
		if err != nil {
			return total, err
		}
		total += n
		after = next
	}
	return total, nil
}
