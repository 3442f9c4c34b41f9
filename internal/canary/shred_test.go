package canary

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/tokenize"
	"github.com/cardlake/cardlake/tokenize/detokenize"
	"github.com/cardlake/cardlake/tokenize/detokenize/detokenizetest"
	"github.com/cardlake/cardlake/tokenize/vault"
	"github.com/cardlake/cardlake/tokenize/vault/pebblestore"
	"github.com/cardlake/cardlake/writers/objects"
)

// The tenants: two are destroyed, the first while nobody works, the second under a worker
// that has its events in memory; the third stays.
const (
	aurora = cardlake.Tenant("aurora")
	boreal = cardlake.Tenant("boreal")
	cirrus = cardlake.Tenant("cirrus")
)

// events of each tenant at a time, each of another card.
const events = 12

const policy = `{"principals": {
	"spiffe://lake.example/worker": {"pin": ["*"]},
	"spiffe://lake.example/ana": {"request": ["*"], "tokens_per_hour": 1000},
	"spiffe://lake.example/bea": {"approve": ["*"]}
}}`

// TestDestroyedTenant destroys tenants' keys and tries all commands on what is left of them,
// and of the others.
func TestDestroyedTenant(t *testing.T) {
	s := newSite(t, aurora, boreal, cirrus)
	v := s.vault()
	tokens := map[cardlake.Tenant]string{}
	for tenant := range s.owners {
		tokens[tenant] = s.runs("cardlake-vault", cards(events), v.as("worker", "tokenize", "-tenant", string(tenant))...)
	}

	// Records that were rejected and would be rows if they were replayed: their tenants were
	// not in the register.
	register, err := os.ReadFile(s.dir.Tenants())
	s.check(err)
	s.check(os.WriteFile(s.dir.Tenants(), []byte("[]"), 0o600))
	const rejected = 2 // of each tenant
	for i := range rejected {
		for tenant := range s.owners {
			s.put(s.event(tenant, i))
		}
	}
	s.ingest(0, 3*rejected)
	s.check(os.WriteFile(s.dir.Tenants(), register, 0o600))

	s.send(events, aurora, boreal, cirrus)
	s.total(aurora, boreal, cirrus)
	s.ingest(3*events, 3*rejected)
	for tenant, list := range tokens {
		if in := s.inLake(tenant); in != list {
			t.Fatalf("the lake's tokens of tenant %s are not those that are pinned:\n%s\n%s", tenant, in, list)
		}
	}
	if got := v.reveal(boreal, tokens[boreal]); got != cards(events) {
		t.Fatal("the cards of tenant boreal are not those that were pinned")
	}
	s.runs("cardlake", "", "reconcile")
	if n := s.opens(aurora, ""); n.objects != 2 || n.events != events {
		t.Fatalf("before its keys are destroyed, of tenant aurora %+v open", n)
	}
	approved := v.ask(aurora, tokens[aurora]) // and not collected

	s.send(events, aurora, boreal, cirrus) // left on the stream
	s.destroy(aurora)

	t.Run("query", func(t *testing.T) {
		const sql = "SELECT tenant, count(*) AS n FROM cards.transactions "
		for where, want := range map[string]string{
			"": "boreal,12\ncirrus,12\n", "WHERE tenant = 'cirrus' ": "cirrus,12\n", "WHERE tenant = 'aurora' ": "",
		} {
			r := s.run("cardlake", "", "query", "-format", "csv", sql+where+"GROUP BY tenant ORDER BY tenant")
			if r.code != 0 || strings.ReplaceAll(r.stdout, "\r", "") != "tenant,n\n"+want {
				t.Errorf("query %s: code %d\n%s%s", where, r.code, r.stdout, r.stderr)
			}
			// An answer that can hold no row of aurora lacks none.
			told := strings.Contains(r.stderr, "without 12 rows of tenant aurora in cards.transactions: its keys were destroyed")
			if told == strings.Contains(where, "cirrus") {
				t.Errorf("query %s: told that rows are missing: %v\n%s", where, told, r.stderr)
			}
		}
		for _, tenant := range []cardlake.Tenant{boreal, cirrus} {
			if s.inLake(tenant) != tokens[tenant] {
				t.Errorf("the rows of tenant %s are not what they were", tenant)
			}
		}
		if rows := s.rows(); rows["cards.transactions"] != 3*events {
			t.Errorf("tables: %v", rows)
		}
	})
	t.Run("reconcile", func(t *testing.T) {
		for _, args := range [][]string{{"reconcile"}, {"reconcile", "-tenant", "cirrus"}} {
			if r := s.run("cardlake", "", args...); r.code != 0 || strings.Contains(r.stdout, "aurora") {
				t.Errorf("%v: code %d\n%s%s", args, r.code, r.stdout, r.stderr)
			}
		}
	})
	t.Run("tokenize", func(t *testing.T) {
		for _, args := range [][]string{
			v.as("worker", "tokenize", "-tenant", "aurora"),
			{"tokenize", "-tenant", "aurora", "-format", "ff1"},
		} {
			if r := s.run("cardlake-vault", cards(1), args...); r.code != 1 || r.stdout != "" || !strings.Contains(r.stderr, "no key") {
				t.Errorf("code %d\n%s%s", r.code, r.stdout, r.stderr)
			}
		}
		if s.runs("cardlake-vault", cards(events), v.as("worker", "tokenize", "-tenant", "boreal")...) != tokens[boreal] {
			t.Error("tenant boreal has other tokens than before")
		}
	})
	t.Run("keys", func(t *testing.T) {
		if list := s.runs("cardlake-vault", "", "keys", "list", "-tenant", "aurora"); strings.Contains(list, "active") || !strings.Contains(list, "destroyed") {
			t.Errorf("aurora has keys:\n%s", list)
		}
		for _, args := range [][]string{
			{"keys", "rotate", "-tenant", "aurora", "-purpose", "object"},
			{"rotate", "-tenant", "aurora", "-wait", "1ms"},
		} {
			if r := s.run("cardlake-vault", "", args...); r.code != 1 {
				t.Errorf("%v: code %d\n%s%s", args, r.code, r.stdout, r.stderr)
			}
		}
		s.run("cardlake-vault", "", "keys", "create", "-tenant", "aurora")
		if list := s.runs("cardlake-vault", "", "keys", "list", "-tenant", "aurora"); strings.Contains(list, "active") {
			t.Errorf("keys create gave aurora new keys:\n%s", list)
		}
	})
	t.Run("replay", func(t *testing.T) {
		r := s.run("cardlake-worker", "", "replay")
		if r.code != 1 || !regexp.MustCompile(`rows\s+4\n`).MatchString(r.stdout) || !regexp.MustCompile(`rejected again\s+2 as unopenable`).MatchString(r.stdout) {
			t.Errorf("code %d\n%s%s", r.code, r.stdout, r.stderr)
		}
	})
	// Worker and replay each leave a rejected record of every event of aurora.
	rows, rejects := 3*events+2*rejected, 4*rejected
	t.Run("a worker that starts", func(t *testing.T) {
		rows, rejects = rows+2*events, rejects+events
		s.ingest(rows, rejects)
	})
	if t.Failed() {
		return // what follows builds on that worker
	}
	t.Run("detokenize", func(t *testing.T) {
		// Asked for and approved in time, and then again.
		for _, id := range []string{approved, v.ask(aurora, tokens[aurora])} {
			r := s.run("cardlake-vault", "", v.as("ana", "detokenize", "-collect", id)...)
			if r.code != 1 || r.stdout != "" || !strings.Contains(r.stderr, "key-destroyed") {
				t.Errorf("code %d, %d bytes of answer\n%s", r.code, len(r.stdout), r.stderr)
			}
		}
		if v.reveal(boreal, tokens[boreal]) != cards(events) {
			t.Error("the cards of tenant boreal are not what they were")
		}
	})
	t.Run("under a worker at work", func(t *testing.T) {
		w := s.worker(time.Hour)
		s.send(events, boreal, cirrus)
		w.takes(2 * events)
		s.destroy(boreal)
		w.stop()
		s.until(w, rows+events, rejects)
		r := s.run("cardlake", "", "query", "-format", "csv", "SELECT tenant, count(*) AS n FROM cards.transactions GROUP BY tenant ORDER BY tenant")
		if r.code != 0 || strings.ReplaceAll(r.stdout, "\r", "") != fmt.Sprintf("tenant,n\ncirrus,%d\n", rejected+3*events) {
			t.Errorf("code %d\n%s%s", r.code, r.stdout, r.stderr)
		}
	})
	if v.reveal(cirrus, tokens[cirrus]) != cards(events) {
		t.Error("the cards of tenant cirrus are not what they were")
	}
	v.stop()
	for tenant, want := range map[cardlake.Tenant]opened{aurora: {}, boreal: {}, cirrus: {objects: -1, events: 3 * events, cards: events}} {
		n := s.opens(tenant, tokens[tenant])
		if want.objects < 0 && n.objects > 0 {
			want.objects = n.objects
		}
		if n != want {
			t.Errorf("of tenant %s %+v open, want %+v", tenant, n, want)
		}
	}
}

// cards are the first n card numbers, one a line.
func cards(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%s\n", pan(i))
	}
	return b.String()
}

// total puts a control total of what send sends at a time on the stream, for each tenant.
func (s *site) total(of ...cardlake.Tenant) {
	s.t.Helper()
	for _, tenant := range of {
		value, err := wire.AppendTotal(nil, 0, &cardlake.ControlTotal{
			Region: "local", Processor: "aaaabbbbccccdddd", Tenant: tenant, Minute: s.minute.UnixMicro(),
			Events: events, Approved: events, FirstSequence: 1, LastSequence: events, EmittedAt: time.Now().UnixMicro(),
			Amount: cardlake.Money{Minor: events, Currency: "BRL"}, ApprovedAmount: cardlake.Money{Minor: events, Currency: "BRL"},
		})
		s.check(err)
		s.put(value)
	}
}

// inLake are a tenant's tokens, in the order of its events, one a line.
func (s *site) inLake(of cardlake.Tenant) string {
	s.t.Helper()
	out := s.runs("cardlake", "", "query", "-format", "csv", "SELECT card_token FROM cards.transactions WHERE tenant = '"+string(of)+"' ORDER BY event_time")
	_, rows, _ := strings.Cut(strings.ReplaceAll(out, "\r\n", "\n"), "\n")
	return rows
}

func (s *site) destroy(tenant cardlake.Tenant) {
	s.t.Helper()
	s.runs("cardlake-vault", "", "keys", "destroy", "-tenant", string(tenant), "-confirm", string(s.owners[tenant]))
}

// service is cardlake-vault serve, with a certificate for each principal.
type service struct {
	*process
	url   string
	files map[string]detokenize.Files
}

func (s *site) vault() *service {
	s.t.Helper()
	dir := s.t.TempDir()
	authority, err := detokenizetest.NewAuthority(dir, "ca")
	s.check(err)
	server, err := authority.Issue(detokenizetest.Certificate{Name: "server", IsServer: true})
	s.check(err)
	v := &service{files: map[string]detokenize.Files{}}
	for _, name := range []string{"worker", "ana", "bea"} {
		v.files[name], err = authority.Issue(detokenizetest.Certificate{Name: name, URIs: []string{"spiffe://lake.example/" + name}})
		s.check(err)
	}
	s.check(os.WriteFile(filepath.Join(dir, "policy.json"), []byte(policy), 0o600))
	v.process = s.start("cardlake-vault", "serve", "-listen", "127.0.0.1:0", "-cert", server.Cert, "-key", server.Key,
		"-client-ca", server.CA, "-policy", filepath.Join(dir, "policy.json"))
	v.url = "https://" + v.says(`vault starts.*addr=(\S+)`)
	return v
}

// as are the arguments of a command that a principal runs on the service.
func (v *service) as(principal, command string, args ...string) []string {
	f := v.files[principal]
	return append([]string{command, "-service", v.url, "-cert", f.Cert, "-key", f.Key, "-ca", f.CA}, args...)
}

// ask asks for the cards of tokens and has it approved.
func (v *service) ask(tenant cardlake.Tenant, tokens string) (id string) {
	v.s.t.Helper()
	id = strings.TrimSpace(v.s.runs("cardlake-vault", tokens, v.as("ana", "detokenize", "-tenant", string(tenant), "-purpose", "dispute")...))
	v.s.runs("cardlake-vault", "", v.as("bea", "detokenize", "-approve", id)...)
	return id
}

// reveal returns the cards behind tokens, one a line.
func (v *service) reveal(tenant cardlake.Tenant, tokens string) string {
	v.s.t.Helper()
	var out strings.Builder
	for line := range strings.Lines(v.s.runs("cardlake-vault", "", v.as("ana", "detokenize", "-collect", v.ask(tenant, tokens))...)) {
		_, number, _ := strings.Cut(line, "\t")
		out.WriteString(number)
	}
	return out.String()
}

// opened counts what of a tenant can be opened with the keyrings as they are.
type opened struct {
	objects, events int
	cards           int // -1: the vault is in use
}

// opens tries each object of a tenant, each of its events and each of its cards, with the
// packages themselves. Whatever does not open must fail for want of a key.
func (s *site) opens(of cardlake.Tenant, tokens string) (n opened) {
	s.t.Helper()
	ctx := s.t.Context()
	owner := s.owners[of]
	noKey := func(err error) bool {
		s.t.Helper()
		if err != nil && !errors.Is(err, keys.ErrNoKey) && !errors.Is(err, wire.ErrUnopenable) {
			s.t.Errorf("tenant %s: %v", of, err)
		}
		return err == nil
	}
	lakeKeys, err := local.OpenFile(s.dir.LakeKeyring(), s.dir.LakeSecret())
	s.check(err)
	store := objects.NewSealed(s.dir.Objects(), lakeKeys, objects.SealedConfig{})
	for info, err := range store.List(ctx, "") {
		s.check(err)
		if !strings.Contains(info.Name, string(owner)) {
			continue
		}
		_, err := objects.ReadAll(ctx, store, info.Name)
		if noKey(err) {
			n.objects++
		}
	}
	cardKeys := s.cardKeys()
	decoder := wire.NewDecoder(cardKeys, wire.DecoderConfig{})
	var m card.Message
	for _, value := range s.sent[of] {
		sealed, err := decoder.Decode(value, &m)
		s.check(err)
		if noKey(decoder.Open(ctx, owner, &m, sealed)) {
			n.events++
		}
	}
	pins, err := pebblestore.Open(s.dir.Vault(), pebblestore.Config{})
	if err != nil {
		n.cards = -1
		return n
	}
	defer pins.Close()
	reverse := keys.NewEnvelopes(cardKeys, keys.Reverse, keys.EnvelopeConfig{})
	for line := range strings.Lines(tokens) {
		token, err := tokenize.ParseToken(strings.TrimSpace(line))
		s.check(err)
		number, err := vault.New(pins, vault.Config{}).Reveal(ctx, reverse, owner, token)
		if noKey(err) && bytes.Contains([]byte(cards(events)), number.Digits()) {
			n.cards++
		}
	}
	return n
}
