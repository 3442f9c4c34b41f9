package sim

import (
	"bytes"
	"crypto/sha256"
	"testing"
	"time"

	moov "github.com/moov-io/iso8583"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/processor/iso8583"
)

var monday = time.Date(2026, 3, 2, 13, 0, 0, 0, time.UTC)

func testLine(t testing.TB, rate, speed float64) Timeline {
	t.Helper()
	seg, err := NewSegment(0, monday, rate, speed)
	if err != nil {
		t.Fatal(err)
	}
	return Timeline{seg}
}

func packed(t testing.TB, tr *Traffic, from, to uint64) []byte {
	t.Helper()
	var m Message
	var pk Packer
	var out []byte
	var err error
	for i := from; i < to; i++ {
		tr.Message(i, &m)
		if out, err = pk.Append(out, &m, false); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func TestTrafficFollowsFromSeedStartAndRate(t *testing.T) {
	p, again := NewPopulation(Config{Seed: 4, CardsTotal: 3000}), NewPopulation(Config{Seed: 4, CardsTotal: 3000})
	other := NewPopulation(Config{Seed: 5, CardsTotal: 3000})
	line := testLine(t, 200, 1)
	const n = 40_000
	want := packed(t, NewTraffic(p, line), 0, n)
	if !bytes.Equal(want, packed(t, NewTraffic(again, line), 0, n)) {
		t.Error("the same seed sends different bytes")
	}
	if bytes.Equal(want, packed(t, NewTraffic(other, line), 0, n)) {
		t.Error("different seeds send the same bytes")
	}
	// In any order, from anywhere, as after a restart.
	tr := NewTraffic(p, line)
	var parts []byte
	tail := packed(t, tr, 30_000, n)
	parts = append(packed(t, NewTraffic(p, line), 0, 30_000), tail...)
	if !bytes.Equal(want, parts) {
		t.Error("a message depends on the ones that were planned before it")
	}
	// A segment that begins later changes no earlier message.
	seg, err := NewSegment(25_000, monday.Add(72*time.Hour), 90, 60)
	if err != nil {
		t.Fatal(err)
	}
	longer := append(append(Timeline{}, line...), seg)
	if !bytes.Equal(packed(t, NewTraffic(p, line), 0, 25_000), packed(t, NewTraffic(p, longer), 0, 25_000)) {
		t.Error("a later segment changes earlier messages")
	}
}

func TestEventsAreUnique(t *testing.T) {
	n := uint64(1_000_000)
	if testing.Short() {
		n = 100_000
	}
	p := NewPopulation(Config{Seed: 2})
	line := testLine(t, 2000, 1)
	seg, err := NewSegment(n/2, monday.Add(time.Hour), 600, 1)
	if err != nil {
		t.Fatal(err)
	}
	line = append(line, seg)
	tr := NewTraffic(p, line)
	seen := make(map[cardlake.EventID]uint64, n)
	referred := map[uint64]bool{}
	var m, of Message
	var counts struct{ repeats, cancels, advices, late, fraud, cross int }
	for i := range n {
		tr.Message(i, &m)
		id := m.EventID()
		if first, ok := seen[id]; ok == m.Distinct {
			t.Fatalf("message %d (%s): event of message %d; distinct is %v", i, m.MTI, first, m.Distinct)
		} else if ok && first != m.Original {
			t.Fatalf("message %d repeats %d, and says %d", i, first, m.Original)
		}
		if tr.Distinct(i) != m.Distinct || m.Number != i {
			t.Fatalf("message %d is number %d, distinct %v", i, m.Number, m.Distinct)
		}
		if m.Original != i && m.Distinct {
			tr.Message(m.Original, &of)
			if line.of(i) != line.of(m.Original) {
				t.Fatalf("message %d refers to another segment, where others may refer to the same message", i)
			}
			if referred[m.Original] || of.MTI != "0100" || of.rrn != m.rrn || of.stan != m.origSTAN ||
				of.merchant != m.merchant || of.Amount != m.Amount || string(of.PAN.Digits()) != string(m.PAN.Digits()) {
				t.Fatalf("message %d (%s) does not reverse message %d, or is not the only one", i, m.MTI, m.Original)
			}
			referred[m.Original] = true
		}
		if m.Distinct {
			seen[id] = i
		}
		switch {
		case m.MTI == "0400":
			counts.cancels++
		case m.MTI == "0420":
			counts.advices++
		case !m.Distinct:
			counts.repeats++
		}
		if m.Pattern != "" {
			counts.fraud++
		}
		if m.rate != 0 {
			counts.cross++
		}
		if m.MTI == "0100" && line.of(i).at(i)-m.Transmitted.UnixNano() >= 2e9 {
			counts.late++
		}
	}
	within := func(what string, count int, least, most float64) {
		if share := float64(count) / float64(n); share < least || share > most {
			t.Errorf("%s: %.4f of the messages, want %.4f to %.4f", what, share, least, most)
		}
	}
	within("repeats", counts.repeats, .004, .009)
	within("cancellations", counts.cancels, .012, .025)
	within("reversal advices", counts.advices, .003, .008)
	within("late", counts.late, .005, .015)
	within("fraud", counts.fraud, .003, .005)
	within("cross-border", counts.cross, .05, .3)
}

// TestMessagesReadBack reads every kind of message with an independent decoder and compares
// with what was planned.
func TestMessagesReadBack(t *testing.T) {
	p := NewPopulation(Config{Seed: 3, CardsTotal: 3000})
	tr := NewTraffic(p, testLine(t, 50, 30))
	spec := iso8583.ASCII1987()
	var m Message
	var pk Packer
	has := map[string]int{}
	for i := range uint64(20_000) {
		tr.Message(i, &m)
		raw, err := pk.Append(nil, &m, false)
		if err != nil {
			t.Fatal(err)
		}
		msg := moov.NewMessage(spec)
		if err := msg.Unpack(raw); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		get := func(de int) string {
			s, err := msg.GetString(de)
			if err != nil {
				t.Fatalf("message %d: DE %d: %v", i, de, err)
			}
			if s != "" && de != 2 {
				has[m.MTI]++
			}
			return s
		}
		local := m.Transmitted
		if m.MTI[1] == '4' {
			local = m.origTime
		}
		local = local.Add(time.Duration(cities[m.merchant.city].offset) * time.Hour)
		for de, want := range map[int]string{
			0: m.MTI, 7: m.Transmitted.Format("0102150405"), 12: local.Format("150405"), 13: local.Format("0102"),
			18: categories[m.merchant.category].mcc, 32: m.merchant.acquirer, 37: string(m.rrn[:]), 42: m.merchant.id,
			4: string(appendDigits(nil, uint64(m.Amount.Minor), 12)), 49: string(appendDigits(nil, uint64(m.Amount.Currency.Number()), 3)),
		} {
			if got := get(de); got != want {
				t.Fatalf("message %d: DE %d is %q, want %q", i, de, got, want)
			}
		}
		if get(2) != string(m.PAN.Digits()) {
			t.Fatalf("message %d: DE 2 is another card's", i)
		}
		abroad := m.Amount.Currency != m.Billing.Currency
		if abroad != (get(6) != "") || abroad != (get(10) != "") || abroad != (get(51) != "") {
			t.Fatalf("message %d: billing amount, rate and currency do not fit %s for a card in %s", i, m.Amount.Currency, m.Billing.Currency)
		}
		authorization := m.MTI[1] == '1'
		if track := get(35) != ""; track != (authorization && m.entry <= fallback) {
			t.Fatalf("message %d: track 2 is there: %v", i, track)
		}
		if pin := get(52); (pin != "") != (authorization && m.hasPIN()) {
			t.Fatalf("message %d: PIN block is there: %v", i, pin != "")
		}
		if original := get(90); (original != "") != !authorization {
			t.Fatalf("message %d: original data elements are there: %v", i, original != "")
		} else if !authorization {
			o, err := iso8583.ParseOriginal(original)
			if err != nil || o.MTI != "0100" || o.Transmission != m.origTime.Format("0102150405") || o.Acquirer != "00000"+m.merchant.acquirer {
				t.Fatalf("message %d: DE 90 names another message", i)
			}
		}
		if err := iso8583.EachSubElement([]byte(get(48)), func(int, []byte) {}); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		again, err := pk.Append(nil, &m, true)
		if err != nil || string(again[:4]) != m.MTI[:3]+"1" || !bytes.Equal(again[4:], raw[4:]) {
			t.Fatalf("message %d: a repeat differs in more than its type", i)
		}
	}
	for _, mti := range []string{"0100", "0101", "0400", "0420"} {
		if has[mti] == 0 {
			t.Errorf("no %s among the messages", mti)
		}
	}
}

// TestHabits counts who buys when: with a fixed seed the counts are fixed too.
func TestHabits(t *testing.T) {
	p := NewPopulation(Config{Seed: 9, Tenants: 6, CardsTotal: 6000})
	owner := map[string]int32{}
	for i := range p.cards {
		owner[string(p.cards[i].pan.Digits())] = p.cards[i].holder
	}
	// Two weeks in 200,000 messages.
	tr := NewTraffic(p, testLine(t, 100, 14*24*3600/2000.))
	var hours [profiles][24]int
	var online, all [profiles]int
	atFavourites, inPerson := 0, 0
	var m Message
	for i := range uint64(200_000) {
		tr.Message(i, &m)
		who, ok := owner[string(m.PAN.Digits())]
		if !ok || m.MTI != "0100" || m.Pattern != "" {
			continue
		}
		h := &p.holders[who]
		hours[h.profile][(m.Transmitted.Hour()+cities[h.home].offset+24)%24]++
		all[h.profile]++
		if m.Channel == cardlake.Ecommerce {
			online[h.profile]++
		} else if m.Channel == cardlake.POS {
			inPerson++
			for _, f := range h.favourites {
				if &p.market.all[f] == m.merchant {
					atFavourites++
					break
				}
			}
		}
	}
	share := func(who profile, from, to int) float64 {
		n := 0
		for h := from; h < to; h++ {
			n += hours[who][h]
		}
		return float64(n) / float64(all[who])
	}
	if owl, old := share(nightOwl, 0, 4), share(retiree, 0, 4); owl < .15 || old > .03 {
		t.Errorf("from midnight to four: night owls %.3f, retirees %.3f", owl, old)
	}
	if owl, old := share(nightOwl, 8, 12), share(retiree, 8, 12); owl > .12 || old < .4 {
		t.Errorf("from eight to noon: night owls %.3f, retirees %.3f", owl, old)
	}
	if a, b := float64(online[onlineShopper])/float64(all[onlineShopper]), float64(online[commuter])/float64(all[commuter]); a < .6 || b > .3 {
		t.Errorf("e-commerce: online shoppers %.3f, commuters %.3f", a, b)
	}
	if s := float64(atFavourites) / float64(inPerson); s < .3 {
		t.Errorf("%.3f of the purchases in person are at a favourite merchant", s)
	}
}

func TestSegmentClock(t *testing.T) {
	s, err := NewSegment(100, monday, 600, 60)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := s.at(100+600*60), monday.Add(time.Hour).UnixNano(); got != want {
		t.Errorf("an hour later it is %s", time.Unix(0, got-want+monday.UnixNano()))
	}
	if got := s.wait(1200); got != 2*time.Second {
		t.Errorf("1200 messages take %s", got)
	}
	if s.wait(1<<62) <= 0 {
		t.Error("a wait overflows")
	}
	for _, x := range [][2]float64{{0, 1}, {1, 0}, {-1, 1}, {1e7, 1}} {
		if _, err := NewSegment(0, monday, x[0], x[1]); err == nil {
			t.Errorf("rate %g, speed %g is taken", x[0], x[1])
		}
	}
}

// BenchmarkMessage plans and packs: the rate at which a simulator can send at most.
func BenchmarkMessage(b *testing.B) {
	tr := NewTraffic(NewPopulation(Config{Seed: 1}), testLine(b, 600, 1))
	var m Message
	var pk Packer
	buf := make([]byte, 0, 1024)
	var err error
	b.ReportAllocs()
	i := uint64(0)
	for b.Loop() {
		tr.Message(i, &m)
		if buf, err = pk.Append(buf[:0], &m, false); err != nil {
			b.Fatal(err)
		}
		i++
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}

// BenchmarkEvents plans without packing, as Expected does.
func BenchmarkEvents(b *testing.B) {
	tr := NewTraffic(NewPopulation(Config{Seed: 1}), testLine(b, 600, 1))
	var m Message
	var sum byte
	b.ReportAllocs()
	i := uint64(0)
	for b.Loop() {
		tr.Message(i, &m)
		id := m.EventID()
		sum ^= id[0]
		i++
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkReferenceSHA256 is a fixed amount of work to compare the others with.
func BenchmarkReferenceSHA256(b *testing.B) {
	var buf [300]byte
	b.ReportAllocs()
	for b.Loop() {
		buf[0] = sha256.Sum256(buf[:])[0]
	}
}
