package retention

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/writers/objects"
)

// Erased is what an erasure did.
type Erased struct {
	Tenant cardlake.Tenant `json:"tenant"`
	// Person is the customer's keyed hash, as the audit log has it.
	Person string `json:"person,omitempty"`
	Files  int    `json:"files"` // rewritten
	Rows   int64  `json:"rows"`  // anonymised
	Looked int    `json:"looked"`
	// Others counts rows with a card of the customer under another customer's name, which
	// stay: such a card has another holder too.
	Others int64 `json:"others,omitempty"`
	// Derived counts rows that jobs had made of the person's, which are gone.
	Derived int64 `json:"derived,omitempty"`
	// Notes counts notes that were written beside labels of the person's events, which are gone.
	Notes int64 `json:"notes,omitempty"`
	Disposal

	// Cards are the tokens that went, for zone A to take the cards out of the vault. They are
	// the one thing that still leads to the person: they are not recorded, and not for a file
	// that stays.
	Cards []string `json:"-"`
}

// Erase anonymises all rows of a tenant's customer, removes for good the files that had them,
// and remembers to do the same with rows that arrive later. It may be repeated, and goes on
// where an interrupted one was; a dry run only counts. It returns ErrHeld if a legal hold
// keeps the customer or the tenant.
func (k *Keeper) Erase(ctx context.Context, tenant cardlake.Tenant, customer string, dryRun bool) (e Erased, err error) {
	e.Tenant = tenant
	r, err := k.tenant(tenant)
	if err == nil && r.Status == catalog.TenantOffboarded {
		err = catalog.ErrOffboarded
	}
	if err == nil {
		err = validateCustomer(customer)
	}
	if err != nil {
		return e, fmt.Errorf("erase a person: %w", err)
	}
	s, err := k.secret(ctx, r, true)
	if err != nil {
		return e, fmt.Errorf("erase a person of tenant %s: %w", tenant, err)
	}
	e.Person = s.hash(personHash, []byte(customer))
	line := audit.Record{Action: "erase", Resource: "tenant " + string(tenant), Detail: map[string]string{"person": e.Person}}
	if dryRun {
		line.Action = "erase.look"
	}
	if held := k.heldBy(tenant, e.Person); held != "" && !dryRun {
		err := fmt.Errorf("%w: hold %s; ask who ordered it, and release it first", ErrHeld, held)
		line.Outcome, line.Reason = audit.Refused, "hold "+held
		return e, errors.Join(err, k.write(ctx, line))
	}
	w := newWanted(s)
	w.customers[customer] = true
	err = k.around(ctx, line, func() (map[string]int64, error) {
		err := k.erase(ctx, r, w, dryRun, &e)
		for card := range w.cards {
			e.Cards = append(e.Cards, card)
		}
		slices.Sort(e.Cards)
		return e.numbers(), err
	})
	if err != nil {
		return e, fmt.Errorf("erase a person of tenant %s: %w", tenant, err)
	}
	return e, nil
}

func (e *Erased) numbers() map[string]int64 {
	n := e.Disposal.numbers()
	n["files"], n["rows"], n["looked"], n["others"], n["cards"] = int64(e.Files), e.Rows, int64(e.Looked), e.Others, int64(len(e.Cards))
	n["derived"], n["notes"] = e.Derived, e.Notes
	return n
}

// heldBy names the hold that keeps a person, empty if none does.
func (k *Keeper) heldBy(tenant cardlake.Tenant, person string) string {
	whole, persons := k.policy.holding(tenant)
	if len(whole) > 0 {
		return whole[0].ID
	}
	return persons[person].ID
}

// erase is Erase of one person, once it is permitted and recorded.
func (k *Keeper) erase(ctx context.Context, r catalog.TenantRecord, w *wanted, dryRun bool, e *Erased) error {
	t, err := k.lake.Open(ctx, cardlake.Transactions)
	hasTable := !errors.Is(err, iceberg.ErrNoTable)
	if hasTable && err != nil {
		return err
	}
	if dryRun {
		if !hasTable {
			return nil
		}
		return k.count(ctx, r, t, w, e)
	}
	// First of all, so that rows that are committed meanwhile are found by Reapply.
	if err := k.remember(ctx, r, e.Person, e.Person); err != nil {
		return err
	}
	sequence := int64(0)
	if hasTable {
		if sequence, err = k.clean(ctx, r, t, w, -1, e); err != nil {
			return err
		}
		if err := k.disposeOf(ctx, r, t, &e.Disposal); err != nil {
			return err
		}
	}
	known, err := k.erasures(ctx, r)
	if err != nil {
		return err
	}
	if err := k.eraseDerived(ctx, r, w, true, known.derived, e); err != nil {
		return err
	}
	// The list is read after the snapshot was: whoever is not on it yet looks at a newer one.
	all, err := k.erasures(ctx, r)
	if err != nil {
		return err
	}
	if err := k.mark(ctx, r, "done/"+e.Person, []byte("{}")); err != nil {
		return err
	}
	if all.upto < 0 && !slices.ContainsFunc(values(all.entries), func(o erasure) bool { return o.Person != e.Person }) {
		return k.setUpto(ctx, r, -1, sequence)
	}
	return nil
}

func values(m map[string]erasure) (out []erasure) {
	for _, v := range m {
		out = append(out, v)
	}
	return out
}

// disposeOf removes for good all files of the tenant's transactions that are not live. Which
// of them have rows of the person nobody needs to know: what is live has all rows.
func (k *Keeper) disposeOf(ctx context.Context, r catalog.TenantRecord, t Table, into *Disposal) error {
	d, err := k.dispose(ctx, t, dataPrefix(cardlake.Transactions, r.StorageID), func(string) bool { return true })
	into.add(d)
	if err != nil {
		return err
	}
	return k.unmark(ctx, r, leftOver)
}

// count is a dry run.
func (k *Keeper) count(ctx context.Context, r catalog.TenantRecord, t Table, w *wanted, e *Erased) error {
	_, files, err := t.Live(ctx)
	for err == nil {
		var l looked
		if l, err = k.look(ctx, r, files, w, -1); err == nil && len(l.fresh) == 0 {
			e.Files, e.Rows, e.Looked, e.Others = len(l.todo), l.rows, l.files, l.others
			return nil
		}
	}
	return err
}

// looked is what one look into the tenant's files found.
type looked struct {
	todo         []cardlake.DataFile // that have rows which are looked for
	fresh        []string            // cards of customers that nobody knew
	files        int
	rows, others int64
}

// look looks for rows in those of the files that are the tenant's, of commits after the
// sequence number. Cards that it comes upon are put into w.cards.
func (k *Keeper) look(ctx context.Context, r catalog.TenantRecord, files []cardlake.DataFile, w *wanted, after int64) (l looked, err error) {
	for _, f := range files {
		if f.Tenant != r.Name || f.Sequence <= after {
			continue
		}
		found, err := k.scan(ctx, f, w)
		if err != nil {
			return l, err
		}
		l.files++
		l.rows += found.rows
		l.others += found.others
		for card := range found.cards {
			if !w.cards[card] {
				w.cards[card] = true
				l.fresh = append(l.fresh, card)
			}
		}
		if found.rows > 0 {
			l.todo = append(l.todo, f)
		}
	}
	return l, nil
}

// maxRounds bounds how often clean looks at the table anew.
const maxRounds = 50

// clean rewrites the tenant's files of commits after the sequence number until none has a
// row that is looked for, and returns up to which commit that is so.
func (k *Keeper) clean(ctx context.Context, r catalog.TenantRecord, t Table, w *wanted, after int64, e *Erased) (int64, error) {
	rewriter := k.newRewriter(r, w)
	var lost error // why the round before could not read a file
	var lostAt int64
	for range maxRounds {
		snapshot, files, err := t.Live(ctx)
		if err != nil {
			return 0, err
		}
		if lost != nil && snapshot.ID == lostAt {
			return 0, lost // nobody has replaced it since: it is not there
		}
		l, err := k.look(ctx, r, files, w, after)
		if errors.Is(err, objects.ErrNotFound) {
			// Replaced, and expired without the grace that readers have.
			lost, lostAt = err, snapshot.ID
			continue
		}
		if err != nil {
			return 0, err
		}
		e.Looked += l.files
		if e.Others = max(e.Others, l.others); len(l.fresh) > 0 {
			for _, card := range l.fresh {
				if err := k.remember(ctx, r, w.secret.hash(cardHash, []byte(card)), e.Person); err != nil {
					return 0, err
				}
			}
			after = -1 // files that were passed over may have rows of these cards
			continue
		}
		if len(l.todo) == 0 {
			return snapshot.Sequence, nil
		}
		// Before a file is replaced, so that a run which is killed then is known to have left
		// its older snapshots.
		if err := k.mark(ctx, r, leftOver, []byte("{}")); err != nil {
			return 0, err
		}
		// Also before: what tells which events are the person's goes with the rows.
		if err := k.eraseNotes(ctx, r, l.todo, w, e); errors.Is(err, objects.ErrNotFound) {
			lost, lostAt = err, snapshot.ID
			continue
		} else if err != nil {
			return 0, err
		}
		isMoving := false
		for batch := range slices.Chunk(l.todo, k.cfg.Batch) {
			rows, err := k.replace(ctx, t, rewriter, batch)
			if errors.Is(err, objects.ErrNotFound) {
				lost, lostAt, isMoving = err, snapshot.ID, true
				continue
			}
			if isMoved(err) {
				// Others replaced the files first: what they made of them is looked at anew.
				isMoving = true
				continue
			}
			if err != nil {
				return 0, err
			}
			e.Rows += rows
			e.Files += len(batch)
		}
		if !isMoving {
			after = max(after, snapshot.Sequence)
		}
	}
	return 0, errors.Join(ErrMoving, lost)
}

// replace rewrites files in one commit and returns how many rows were anonymised.
func (k *Keeper) replace(ctx context.Context, t Table, w *rewriter, batch []cardlake.DataFile) (rows int64, err error) {
	change := catalog.Replace{Operation: catalog.OpOverwrite}
	for _, f := range batch {
		files, n, err := w.rewrite(ctx, f)
		if err != nil {
			w.drop(ctx, change.Add)
			return 0, err
		}
		rows += n
		change.Remove = append(change.Remove, f.Name)
		change.Add = append(change.Add, files...)
	}
	_, err = t.Replace(ctx, change)
	if err != nil && !errors.Is(err, catalog.ErrUnknown) {
		w.drop(ctx, change.Add)
	}
	return rows, err
}

// Reapply erases what has come of persons that were erased before, for every tenant, and
// forgets erasures of which nothing can come any more. Every pass of maintenance calls it.
func (k *Keeper) Reapply(ctx context.Context) ([]Erased, error) {
	var out []Erased
	var errs []error
	for _, r := range k.lake.Tenants.All() {
		if r.Status == catalog.TenantOffboarded {
			continue
		}
		e, err := k.reapply(ctx, r)
		if err != nil {
			errs = append(errs, fmt.Errorf("erasures of tenant %s: %w", r.Name, err))
		}
		if e != nil {
			out = append(out, *e)
		}
	}
	return out, errors.Join(errs...)
}

// reapply is Reapply for one tenant; nil if nobody of it was ever erased.
func (k *Keeper) reapply(ctx context.Context, r catalog.TenantRecord) (*Erased, error) {
	s, err := k.secret(ctx, r, false)
	if errors.Is(err, errNoErasures) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	t, err := k.lake.Open(ctx, cardlake.Transactions)
	if errors.Is(err, iceberg.ErrNoTable) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	// Before the list is read: whoever is not on it yet looks at this snapshot or a newer one.
	snapshot, _, err := t.Live(ctx)
	if err != nil {
		return nil, err
	}
	all, err := k.erasures(ctx, r)
	if err != nil {
		return nil, err
	}
	if len(all.entries) == 0 {
		return nil, nil
	}
	w := newWanted(s)
	open := all.hasOpen()
	for hash, one := range all.entries {
		if k.isOver(r, one) {
			if err := k.forgetErasure(ctx, r, hash); err != nil {
				return nil, err
			}
			continue
		}
		// What a hold keeps meanwhile is erased when it is released: nothing is gone through
		// until then, so that nothing is passed over.
		if k.heldBy(r.Name, one.Person) != "" {
			return nil, nil
		}
		if hash[0] == personHash {
			w.persons[hash] = true
		} else {
			w.hashedCards[hash] = true
		}
	}
	if len(w.persons) == 0 {
		return nil, nil
	}
	e := &Erased{Tenant: r.Name}
	if !open && !all.isLeftOver && snapshot.Sequence <= all.upto {
		// A job that had read a person's rows may have been published since.
		err := k.eraseDerived(ctx, r, w, false, all.derived, e)
		if e.Derived == 0 {
			return nil, err
		}
		line := audit.Record{Action: "erase.again", Resource: "tenant " + string(r.Name), Outcome: audit.Allowed, Numbers: e.numbers()}
		return e, errors.Join(err, k.write(ctx, line))
	}
	after := all.upto
	if open {
		after = -1
	}
	line := audit.Record{Action: "erase.again", Resource: "tenant " + string(r.Name), Numbers: map[string]int64{"persons": int64(len(w.persons))}}
	err = k.around(ctx, line, func() (map[string]int64, error) {
		if _, err := k.clean(ctx, r, t, w, after, e); err != nil {
			return e.numbers(), err
		}
		if open || all.isLeftOver || e.Files > 0 {
			if err := k.disposeOf(ctx, r, t, &e.Disposal); err != nil {
				return e.numbers(), err
			}
		}
		if err := k.eraseDerived(ctx, r, w, open || e.Rows > 0, all.derived, e); err != nil {
			return e.numbers(), err
		}
		for person := range w.persons {
			if !all.done[person] {
				if err := k.mark(ctx, r, "done/"+person, []byte("{}")); err != nil {
					return e.numbers(), err
				}
			}
		}
		if err := k.setUpto(ctx, r, all.upto, snapshot.Sequence); err != nil {
			return e.numbers(), err
		}
		_, err := k.purge(ctx, erasuresPrefix(r.StorageID), func(string) bool { return true })
		return e.numbers(), err
	})
	return e, err
}

// isOver reports whether an erasure is so old that rows of before it are past their days,
// those that came late included.
func (k *Keeper) isOver(r catalog.TenantRecord, one erasure) bool {
	days := k.policy.Days(cardlake.Transactions, r.Name)
	return k.cfg.Now().After(one.At.Add(k.policy.Stream()).AddDate(0, 0, days+1))
}

func (k *Keeper) forgetErasure(ctx context.Context, r catalog.TenantRecord, hash string) error {
	if strings.HasPrefix(hash, string(rune(personHash))) {
		if err := k.unmark(ctx, r, "done/"+hash); err != nil {
			return err
		}
	}
	return k.unmark(ctx, r, "erased/"+hash)
}
