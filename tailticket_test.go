package cardlake_test

import (
	"encoding"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
)

func TestTailTicketText(t *testing.T) {
	in := cardlake.TailTicket{
		Table: "cards.transactions",
		From:  cardlake.Positions{{Stream: "cards", Partition: 3}: {Next: 12}, {Stream: "shards", Partition: 0}: {Next: 2, Mark: "495"}},
	}
	const want = `{"v":1,"table":"cards.transactions","from":{"cards":{"3":12},"shards":{"0":[2,"495"]}}}`
	var out cardlake.TailTicket
	checkText(t, want, in, &out)
	if diff := cmp.Diff(in, out); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
	checkText(t, `{"v":1,"table":"t","from":{}}`, cardlake.TailTicket{Table: "t"}, &out)
	for _, bad := range []string{
		``, `{}`, `null`, `[]`,
		`{"v":1,"table":"t"}`, `{"v":1,"from":{}}`, `{"table":"t","from":{}}`,
		`{"v":2,"table":"t","from":{}}`, `{"v":0,"table":"t","from":{}}`, `{"v":"1","table":"t","from":{}}`,
		`{"v":1,"table":"","from":{}}`, `{"v":1,"table":"t","from":null}`, `{"v":1,"table":"t","from":"{}"}`, `{"v":1,"table":"t","from":[]}`,
		`{"v":1,"table":"t","from":{"s":{"0":-1}}}`, `{"v":1,"table":"t","from":{"s":{"x":1}}}`,
		`{"v":1,"table":"t","from":{},"to":{}}`, `{"v":1,"table":"t","from":{}}{}`, `{"v":1,"table":"t","from":{}`,
	} {
		if err := out.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%s was read as %v", bad, out)
		}
	}
}

func TestTailHeaderText(t *testing.T) {
	in := cardlake.TailHeader{To: cardlake.Positions{{Stream: "cards", Partition: 3}: {Next: 12}}, Rows: 7}
	var out cardlake.TailHeader
	checkText(t, `{"v":1,"to":{"cards":{"3":12}},"rows":7}`, in, &out)
	if diff := cmp.Diff(in, out); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
	checkText(t, `{"v":1,"to":{},"rows":0}`, cardlake.TailHeader{}, &out)
	for _, bad := range []string{
		``, `{}`, `null`,
		`{"v":1,"to":{}}`, `{"v":1,"rows":1}`, `{"to":{},"rows":1}`, `{"v":2,"to":{},"rows":1}`,
		`{"v":1,"to":null,"rows":1}`, `{"v":1,"to":{},"rows":-1}`, `{"v":1,"to":{},"rows":1.5}`, `{"v":1,"to":{},"rows":1e30}`,
		`{"v":1,"to":{},"rows":1,"more":1}`, `{"v":1,"to":{},"rows":1} x`,
	} {
		if err := out.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%s was read as %v", bad, out)
		}
	}
}

func checkText(t *testing.T, want string, in encoding.TextMarshaler, out encoding.TextUnmarshaler) {
	t.Helper()
	text, err := in.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != want {
		t.Errorf("text is %s, want %s", text, want)
	}
	if err := out.UnmarshalText(text); err != nil {
		t.Fatal(err)
	}
}

func FuzzTailTicket(f *testing.F) {
	f.Add(`{"v":1,"table":"cards.transactions","from":{"cards":{"3":12},"shards":{"0":[2,"495"]}}}`)
	f.Add(`{"v":1,"table":"t","from":{}}`)
	f.Add(`{"v":2,"table":"t","from":{"s":{"00":1}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		fuzzText(t, text, &cardlake.TailTicket{}, &cardlake.TailTicket{})
	})
}

func FuzzTailHeader(f *testing.F) {
	f.Add(`{"v":1,"to":{"cards":{"3":12}},"rows":7}`)
	f.Add(`{"v":1,"to":{},"rows":0}`)
	f.Add(`{"v":1,"to":{"s":{"0":[1,""]}},"rows":-1}`)
	f.Fuzz(func(t *testing.T, text string) {
		fuzzText(t, text, &cardlake.TailHeader{}, &cardlake.TailHeader{})
	})
}

type textual interface {
	encoding.TextMarshaler
	encoding.TextUnmarshaler
}

// fuzzText checks that what can be read is read back the same from what is written of it.
func fuzzText[T textual](t *testing.T, text string, once, again T) {
	if err := once.UnmarshalText([]byte(text)); err != nil {
		if len(err.Error()) > 300+6*len(text) || strings.Contains(err.Error(), "%!") {
			t.Errorf("error is %q", err)
		}
		return
	}
	written, err := once.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	if err := again.UnmarshalText(written); err != nil {
		t.Fatalf("%s was written as %s: %v", text, written, err)
	}
	if diff := cmp.Diff(once, again); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
}
