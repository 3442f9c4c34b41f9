package vault

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize"
)

// Forget removes the cards of an owner that the tokens are of, and returns how many entries
// those had: the sealed numbers, the indexes and the lines of the crosswalk. Any of a card's
// tokens will do, a retired one too; those that the vault does not know are passed over. The
// entries of a card go in one write, so that whatever interrupts it leaves a card whole or
// gone, and Forget is called again with the same tokens. The time is proportional to the
// number of the owner's entries, not to that of the tokens.
//
// A card that is pinned again later is a new card, with the token that the newest of its
// candidates is: the same as before if that was made with the same mint secret. Workers that
// know the card do not pin it again while they know it, so its token may be in new rows that
// nothing leads back from.
func (v *Vault) Forget(ctx context.Context, owner keys.Owner, tokens []tokenize.Token) (int, error) {
	if err := checkOwner(owner); err != nil {
		return 0, fmt.Errorf("forget cards: %w", err)
	}
	gone := make(map[tokenize.Token]bool, len(tokens))
	for _, t := range tokens {
		gone[t] = true
	}
	total := 0
	for more := len(tokens) > 0; more; {
		err := again(ctx, func() error {
			found, err := v.belonging(ctx, owner, gone)
			if err != nil {
				return err
			}
			for _, changes := range removals(found, v.batch) {
				if err := v.store.Write(ctx, owner, changes); err != nil {
					return err
				}
				total += len(changes)
			}
			// An index that was written behind the scan is found by the next one.
			more = len(found) > 0
			return nil
		})
		if err != nil {
			return total, fmt.Errorf("forget cards of %s: %w", owner, err)
		}
	}
	return total, nil
}

// belonging returns all entries of the cards that the tokens are of, and adds their names to
// the tokens. Damaged entries lead nowhere: they are a card's if they have one of its names.
func (v *Vault) belonging(ctx context.Context, owner keys.Owner, names map[tokenize.Token]bool) (map[tokenize.Token]Row, error) {
	for {
		found, before := map[tokenize.Token]Row{}, len(names)
		for rows, err := range v.scan(ctx, owner, endOf(0)) {
			if err != nil {
				return nil, err
			}
			for _, r := range rows {
				to, leads := leadsTo(r)
				if !names[r.Token] && !(leads && names[to]) {
					continue
				}
				found[r.Token], names[r.Token] = r, true
				if leads {
					names[to] = true
				}
			}
		}
		if len(names) == before {
			return found, nil
		}
		// What leads to a name that was learnt late may lie before it.
	}
}

func leadsTo(r Row) (tokenize.Token, bool) {
	e, err := parseEntry(r.Value)
	return e.leads, err == nil && (e.kind == index || e.kind == retired)
}

// removals are writes that remove the entries, each of whole cards, and of size entries or
// somewhat more.
func removals(found map[tokenize.Token]Row, size int) [][]Change {
	cards := map[tokenize.Token][]Change{}
	for t, r := range found {
		root := t
		for range len(found) { // a bound, should damaged entries lead in a circle
			to, leads := leadsTo(found[root])
			if !leads {
				break
			}
			root = to
		}
		cards[root] = append(cards[root], Change{Token: t, Old: r.Value})
	}
	var out [][]Change
	var next []Change
	for _, root := range slices.SortedFunc(maps.Keys(cards), Compare) {
		if next = append(next, cards[root]...); len(next) >= size {
			out, next = append(out, sortChanges(next)), nil
		}
	}
	if len(next) > 0 {
		out = append(out, sortChanges(next))
	}
	return out
}
