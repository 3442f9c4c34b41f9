package cardlake

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPositionsText(t *testing.T) {
	in := Positions{
		{"cards", 0}: {Next: 12}, {"cards", 3}: {},
		{"shards", 7}: {Next: 2, Mark: "49590338271490256608559692538361571095921575989136588898"},
	}
	text, err := in.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"cards":{"0":12,"3":0},"shards":{"7":[2,"49590338271490256608559692538361571095921575989136588898"]}}`
	if string(text) != want {
		t.Errorf("text is %s, want %s", text, want)
	}
	var out Positions
	if err := out.UnmarshalText(text); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in, out); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
	for _, bad := range []string{
		``, `[]`, `{"s":1}`, `{"s":{"x":1}}`, `{"s":{"-1":1}}`, `{"s":{"0":1,"00":2}}`, `{"s":{"+1":1}}`, `{"s":{"1":-1}}`, `{"s":{"1":"2"}}`,
		`{"s":{"1":[1]}}`, `{"s":{"1":[1,2]}}`, `{"s":{"1":[-1,"m"]}}`, `{"s":{"1":[1,""]}}`, `{"s":{"1":[1,"m",2]}}`,
	} {
		if err := out.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%s was read as %v", bad, out)
		}
	}
}
