package figures_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/figures"
	"github.com/cardlake/cardlake/queries/queriestest"
)

// pages asks page after page and returns all rows.
func pages(t *testing.T, by asker, f figures.Figure, a figures.Args) (lines []string, n int) {
	t.Helper()
	for a.Values = maps.Clone(a.Values); ; n++ {
		if n > 1000 {
			t.Fatal("pages without end")
		}
		got := ask(t, by, statement(t, f, a))
		lines = append(lines, got.lines...)
		if len(got.rows) == 0 {
			return lines, n
		}
		next := f.Next(a, got.columns, got.rows[len(got.rows)-1], len(got.rows))
		if next == "" {
			return lines, n + 1
		}
		a.Values["cursor"] = next
	}
}

// TestPages: page after page gives every row once and in the order of a page that is large
// enough, in every order, also where rows share an instant or have no value.
func TestPages(t *testing.T) {
	d := newData(6, 200, 5)
	for i, e := range d.events {
		e.EventTime = begin.UnixMicro() + int64(i%4)*time.Hour.Microseconds()
	}
	for i, row := range d.rows[cardlake.Alerts] {
		row["event_time"] = begin.UnixMicro() + int64(i%4)*time.Hour.Microseconds() + micros
	}
	s := newSite(t, d)
	everything := s.as(t, queriestest.Everything)
	for _, f := range figures.All {
		if !slices.ContainsFunc(f.Params, func(p figures.Param) bool { return p.Type == figures.Cursor }) {
			continue
		}
		t.Run(f.Name, func(t *testing.T) {
			orders := []string{""}
			if i := slices.IndexFunc(f.Params, func(p figures.Param) bool { return p.Name == "sort" }); i >= 0 {
				orders = f.Params[i].Values
			}
			for _, order := range orders {
				a := argsOf(f, d)
				a.Values["sort"], a.Values["limit"] = order, "500"
				if order == "largest" || order == "smallest" {
					a.Values["currency"] = string(homes[a.Tenant])
				}
				want := ask(t, everything, statement(t, f, a)).lines
				if len(want) == 500 {
					t.Fatal("one page does not hold all")
				}
				a.Values["limit"] = strconv.Itoa(len(want)/3 + 1)
				got, n := pages(t, everything, f, a)
				if diff := cmp.Diff(want, got); diff != "" || n < 3 {
					t.Errorf("order %q, %d pages (-one page +pages):\n%s", order, n, diff)
				}
				if len(want) < 4 && f.Name != "card" {
					t.Errorf("order %q: %d rows are no pages", order, len(want))
				}
			}
		})
	}
}

// TestCursorsAreChecked: whatever is made of a cursor, it is an error or begins elsewhere.
func TestCursorsAreChecked(t *testing.T) {
	f := figure(t, "transactions")
	a := figures.Args{Tenant: "aurora", From: begin, To: end, Values: map[string]string{}}
	encode := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	const id = "00000000-0000-8000-8000-000000000001"
	good := []any{"transactions", "newest", 1_700_000_000_000_000, id}
	a.Values["cursor"] = encode(good)
	sql, err := f.For(a)
	if err != nil {
		t.Fatal(err)
	}
	const want = "AND event_time <= TIMESTAMP WITH TIME ZONE '2023-11-14 22:13:20+00:00' AND (event_time < TIMESTAMP WITH TIME ZONE '2023-11-14 22:13:20+00:00' OR event_id < '" + id + "')\n"
	if !strings.Contains(sql, want) {
		t.Errorf("no %s in\n%s", want, sql)
	}
	for name, cursor := range map[string]string{
		"not base64":      "?",
		"padded":          encode(good) + "==",
		"not JSON":        base64.RawURLEncoding.EncodeToString([]byte("x")),
		"more JSON":       base64.RawURLEncoding.EncodeToString([]byte(`["transactions","newest",1,"a"] 2`)),
		"another figure":  encode([]any{"card", "newest", 1, id}),
		"another order":   encode([]any{"transactions", "oldest", 1, id}),
		"too few":         encode([]any{"transactions", "newest", 1}),
		"too many":        encode([]any{"transactions", "newest", 1, id, id}),
		"NULL":            encode([]any{"transactions", "newest", nil, id}),
		"text for time":   encode([]any{"transactions", "newest", "x' OR '1'='1", id}),
		"half a time":     encode([]any{"transactions", "newest", 1.5, id}),
		"far time":        encode([]any{"transactions", "newest", int64(1) << 62, id}),
		"number for text": encode([]any{"transactions", "newest", 1, 2}),
		"object":          encode([]any{"transactions", "newest", map[string]any{}, id}),
		"control":         encode([]any{"transactions", "newest", 1, "a\nb"}),
		"long":            encode([]any{"transactions", "newest", 1, strings.Repeat("a", 3000)}),
	} {
		a.Values["cursor"] = cursor
		sql, err := f.For(a)
		var wrong *figures.ArgError
		if sql != "" || !errors.As(err, &wrong) || wrong.Param != "cursor" || strings.Contains(err.Error(), cursor) {
			t.Errorf("%s: %q, %v", name, sql, err)
		}
	}
	a.Values["cursor"] = encode([]any{"transactions", "newest", 1, "x' OR '1'='1"})
	if sql, err = f.For(a); err != nil || !strings.Contains(sql, `event_id < 'x'' OR ''1''=''1')`) {
		t.Errorf("%v\n%s", err, sql)
	}
}

// TestArgumentsAreChecked: an error names the argument and not what it holds.
func TestArgumentsAreChecked(t *testing.T) {
	const secret = "x' OR '1'='1"
	good := func(name string) figures.Args {
		return figures.Args{Tenant: "aurora", From: begin, To: end, Values: map[string]string{"currency": "BRL", "card": "tk1_abc"}}
	}
	for _, tc := range []struct {
		figure, param string
		change        func(*figures.Args)
	}{
		{"ticket-size", "tenant", func(a *figures.Args) { a.Tenant = secret }},
		{"ticket-size", "tenant", func(a *figures.Args) { a.Tenant = "" }},
		{"audit-by-day", "tenant", func(a *figures.Args) { a.Tenant = "aurora" }},
		{"ticket-size", "from", func(a *figures.Args) { a.From = time.Time{} }},
		{"ticket-size", "from", func(a *figures.Args) { a.From = a.From.Add(time.Hour) }},
		{"ticket-size", "to", func(a *figures.Args) { a.To = time.Time{} }},
		{"ticket-size", "to", func(a *figures.Args) { a.To = a.From }},
		{"ticket-size", "to", func(a *figures.Args) { a.To = a.From.AddDate(0, 0, figures.MaxDays+1) }},
		{"ticket-size", "from", func(a *figures.Args) { a.From = time.Unix(0, 0) }},
		{"card", "to", func(a *figures.Args) { a.To = time.Time{} }},
		{"ticket-size", "currency", func(a *figures.Args) { a.Values["currency"] = "" }},
		{"ticket-size", "currency", func(a *figures.Args) { a.Values["currency"] = "BRLX" }},
		{"ticket-size", "currency", func(a *figures.Args) { a.Values["currency"] = secret }},
		{"ticket-size", "", func(a *figures.Args) { a.Values[secret] = "1" }},
		{"transactions", "country", func(a *figures.Args) { a.Values["country"] = "br" }},
		{"transactions", "text", func(a *figures.Args) { a.Values["text"] = strings.Repeat("é", 65) }},
		{"transactions", "text", func(a *figures.Args) { a.Values["text"] = "a\x00b" }},
		{"transactions", "text", func(a *figures.Args) { a.Values["text"] = "a\xffb" }},
		{"transactions", "text", func(a *figures.Args) { a.Values["text"] = "4532 0151-1283 0366" }},
		{"transactions", "customer", func(a *figures.Args) { a.Values["customer"] = "a\rb" }},
		{"transactions", "card", func(a *figures.Args) { a.Values["card"] = secret }},
		{"transactions", "card", func(a *figures.Args) { a.Values["card"] = "4532015112830366" }},
		{"transactions", "card", func(a *figures.Args) { a.Values["card"] = strings.Repeat("a", 65) }},
		{"transactions", "bin", func(a *figures.Args) { a.Values["bin"] = "453201511" }},
		{"transactions", "last4", func(a *figures.Args) { a.Values["last4"] = "036" }},
		{"transactions", "mcc", func(a *figures.Args) { a.Values["mcc"] = secret }},
		{"transactions", "code", func(a *figures.Args) { a.Values["code"] = "5'" }},
		{"transactions", "min_amount", func(a *figures.Args) { a.Values["min_amount"] = "1e9" }},
		{"transactions", "min_amount", func(a *figures.Args) { a.Values["min_amount"] = "-1" }},
		{"transactions", "max_amount", func(a *figures.Args) { a.Values["max_amount"] = "1.00001" }},
		{"transactions", "approved", func(a *figures.Args) { a.Values["approved"] = "TRUE OR 1=1" }},
		{"transactions", "channel", func(a *figures.Args) { a.Values["channel"] = "moto" }},
		{"transactions", "limit", func(a *figures.Args) { a.Values["limit"] = "501" }},
		{"transactions", "limit", func(a *figures.Args) { a.Values["limit"] = "0" }},
		{"transactions", "limit", func(a *figures.Args) { a.Values["limit"] = "1; SELECT 1" }},
		{"transactions", "sort", func(a *figures.Args) { a.Values["sort"] = secret }},
		{"transactions", "currency", func(a *figures.Args) { a.Values["sort"], a.Values["currency"] = "largest", "" }},
		{"volume", "grain", func(a *figures.Args) { a.Values["grain"] = "minute" }},
		{"card-base", "idle", func(a *figures.Args) { a.Values["idle"] = "31" }},
		{"purchase", "purchase", func(a *figures.Args) { a.Values["purchase"] = strings.Repeat("A", 36) }},
		{"alert-events", "at", func(a *figures.Args) { a.Values["at"] = "yesterday" }},
	} {
		f := figure(t, tc.figure)
		a := good(tc.figure)
		for name := range a.Values {
			if !slices.ContainsFunc(f.Params, func(p figures.Param) bool { return p.Name == name }) {
				delete(a.Values, name)
			}
		}
		tc.change(&a)
		sql, err := f.For(a)
		var wrong *figures.ArgError
		if sql != "" || !errors.As(err, &wrong) || wrong.Param != tc.param || wrong.Rule == "" || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "0366") {
			t.Errorf("%s, %s: %q, %v", tc.figure, tc.param, sql, err)
		}
	}
	// A token that has the format of a card number never has its check digit.
	f := figure(t, "card")
	if _, err := f.For(figures.Args{Tenant: "aurora", Values: map[string]string{"card": "4532015112830367"}}); err != nil {
		t.Error(err)
	}
}

// shape is a statement's tree without the values of its literals and its places.
func shape(t testing.TB, parser *embedded.Parser, sql string) string {
	t.Helper()
	tree, err := parser.Parse(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	var parsed any
	dec := json.NewDecoder(bytes.NewReader(tree))
	dec.UseNumber()
	if err := dec.Decode(&parsed); err != nil {
		t.Fatal(err)
	}
	var strip func(v any)
	strip = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				strip(e)
			}
		case map[string]any:
			delete(v, "query_location")
			if v["class"] == "CONSTANT" {
				v["value"] = nil
			}
			for _, e := range v {
				strip(e)
			}
		}
	}
	strip(parsed)
	if n, ok := parsed.(map[string]any); !ok || n["error"] != false {
		t.Fatalf("does not parse: %s\n%s", tree, sql)
	}
	text, err := json.Marshal(parsed)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// FuzzFor: whatever is given as a parameter is refused, or is a literal in a statement that has
// the shape of one with a harmless value.
func FuzzFor(f *testing.F) {
	seeds := []string{
		"x' OR '1'='1", "'", "''", `\'`, "'; DROP TABLE cards.transactions; --", "{limit}", "{tenant}", "}{", "$1", "?", "$$x$$", "E'\\x27'", "a\x00b", "a\nb", "\u2019", "ʼ", "＇", "/*", "--", "%", "_", "\\",
		"café", "\xff", "1 OR 1=1", "1e5", "0x10", "00", "-1", "true", "BRL", "5411", "4532015112830366", "WyJ0cmFuc2FjdGlvbnMiLCJuZXdlc3QiLDEsImEnIE9SICcxJz0nMSJd",
	}
	for i, s := range seeds {
		f.Add(uint16(i*37), s)
	}
	var targets []struct {
		figure figures.Figure
		param  figures.Param
	}
	for _, figure := range figures.All {
		for _, p := range figure.Params {
			targets = append(targets, struct {
				figure figures.Figure
				param  figures.Param
			}{figure, p})
		}
	}
	parser := embedded.NewParser()
	f.Cleanup(func() { parser.Close() })
	f.Fuzz(func(t *testing.T, which uint16, value string) {
		target := targets[int(which)%len(targets)]
		figure, p := target.figure, target.param
		a := figures.Args{Tenant: "aurora", From: begin, To: end, Values: map[string]string{}}
		if figure.Scope == figures.OfLake {
			a.Tenant = ""
		}
		for _, other := range figure.Params {
			if other.Required || other.Name == "currency" {
				a.Values[other.Name] = harmless[other.Type]
				if other.Type == figures.Choice {
					a.Values[other.Name] = other.Values[0]
				}
			}
		}
		a.Values[p.Name] = value
		sql, err := figure.For(a)
		if err != nil {
			var wrong *figures.ArgError
			if !errors.As(err, &wrong) || sql != "" || len(value) > 8 && strings.Contains(wrong.Rule, value) {
				t.Fatalf("%q, %v", sql, err)
			}
			return
		}
		if value == "" || p.Type == figures.Choice || p.Type == figures.Cursor {
			return // of one of its own values; cursors have a test
		}
		a.Values[p.Name] = harmless[p.Type]
		if got, want := shape(t, parser, sql), shape(t, parser, statement(t, figure, a)); got != want {
			t.Fatalf("%s: %s changes the statement:\n%s", figure.Name, p.Name, sql)
		}
	})
}
