package iso8583_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	moov "github.com/moov-io/iso8583"
	"github.com/moov-io/iso8583/specs"

	"github.com/cardlake/cardlake/processor/iso8583"
)

// golden are whole messages, character for character.
var golden = []struct {
	name   string
	packed string
	values map[int]string
}{
	{
		"echo", "0800" + "8220000000000000" + "0400000000000000" + "0102030405" + "000017" + "301",
		map[int]string{0: "0800", 7: "0102030405", 11: "000017", 70: "301"},
	},
	{
		"authorization",
		"0100" + "7238448128E19000" + "16" + "4000000000000002" + "000000" + "000000012550" + "1122133000" + "000042" + "103000" +
			"1122" + "5411" + "051" + "00" + "06" + "400001" + "37" + "4000000000000002=30122010000000000000" + "000000000042" +
			"TERM0001" + "MERCHANT0000001" + "SUPERMERCADO LUNA        ROSARIO      AR" + "018" + "4202052608applepay" + "032" + "0123456789ABCDEF",
		map[int]string{
			0: "0100", 2: "4000000000000002", 3: "000000", 4: "000000012550", 7: "1122133000", 11: "000042", 12: "103000", 13: "1122",
			18: "5411", 22: "051", 25: "00", 32: "400001", 35: "4000000000000002=30122010000000000000", 37: "000000000042",
			41: "TERM0001", 42: "MERCHANT0000001", 43: "SUPERMERCADO LUNA        ROSARIO      AR", 48: "4202052608applepay",
			49: "032", 52: "0123456789ABCDEF",
		},
	},
}

func TestGoldenMessages(t *testing.T) {
	for _, g := range golden {
		t.Run(g.name, func(t *testing.T) {
			m := moov.NewMessage(iso8583.ASCII1987())
			var b iso8583.Builder
			for de, value := range g.values {
				if de == 0 {
					m.MTI(value)
				} else if err := m.Field(de, value); err != nil {
					t.Fatal(err)
				}
				b.SetText(de, value)
			}
			byMoov, err := m.Pack()
			if err != nil {
				t.Fatal(err)
			}
			byBuilder, err := b.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(byMoov), string(byBuilder)); diff != "" {
				t.Errorf("moov and Builder pack differently:\n%s", diff)
			}
			if diff := cmp.Diff(g.packed, string(byBuilder)); diff != "" {
				t.Errorf("packed:\n%s", diff)
			}
			var v iso8583.View
			if err := v.Parse([]byte(g.packed)); err != nil {
				t.Fatal(err)
			}
			have := map[int]string{}
			for de := range 129 {
				if v.Has(de) {
					have[de] = v.Text(de)
				}
			}
			if diff := cmp.Diff(g.values, have); diff != "" {
				t.Errorf("read back:\n%s", diff)
			}
		})
	}
}

func TestLeadingZerosSurviveMoov(t *testing.T) {
	spec := iso8583.ASCII1987()
	for de := 2; de <= 128; de++ {
		f, ok := iso8583.FieldOf(de)
		if !ok {
			continue
		}
		want := strings.Repeat("0", min(f.Length, 9))
		if f.Prefix == 0 {
			want = strings.Repeat("0", f.Length)
		}
		m := moov.NewMessage(spec)
		m.MTI("0100")
		if err := m.Field(de, want); err != nil {
			t.Fatal(err)
		}
		packed, err := m.Pack()
		if err != nil {
			t.Fatalf("DE %d: %v", de, err)
		}
		back := moov.NewMessage(spec)
		if err := back.Unpack(packed); err != nil {
			t.Fatalf("DE %d: %v", de, err)
		}
		if have, _ := back.GetString(de); have != want {
			t.Errorf("DE %d: %d zeros came back as %d characters", de, len(want), len(have))
		}
	}
}

// TestTableAgreesWithMoov compares lengths with the table that moov ships for the elements
// which have no bitmap of their own choosing.
func TestTableAgreesWithMoov(t *testing.T) {
	differs := map[int]bool{
		44: true, // ISO 8583:1987 has 25 characters, moov 99
		52: true, // binaries: moov counts bytes
		64: true,
	}
	for de, f := range specs.Spec87ASCII.Fields {
		if de < 2 || differs[de] {
			continue
		}
		have, ok := iso8583.FieldOf(de)
		if !ok || have.Length != f.Spec().Length {
			t.Errorf("DE %d: length %d, moov has %d", de, have.Length, f.Spec().Length)
		}
		if want := strings.Count(f.Spec().Pref.Inspect(), "L"); have.Prefix != want {
			t.Errorf("DE %d: length prefix of %d digits, moov has %d", de, have.Prefix, want)
		}
	}
}

func TestViewRefuses(t *testing.T) {
	echo := golden[0].packed
	for _, c := range []struct{ name, msg, element string }{
		{"empty", "", "message type"},
		{"letters in the type", "08A0" + echo[4:], "message type"},
		{"no bitmap", "0800", "DE 1 "},
		{"bitmap not hexadecimal", "0800" + "82200000000000ZZ" + echo[20:], "DE 1 "},
		{"secondary bitmap cut", echo[:30], "DE 1 "},
		{"element cut", echo[:len(echo)-1], "DE 70 "},
		{"letters in digits", strings.Replace(echo, "000017", "0000A7", 1), "DE 11 "},
		{"more than announced", echo + "0", "DE 128 "},
		{"tertiary bitmap", "0800" + "8220000000000000" + "8400000000000000" + echo[36:], "DE 65 "},
		{"length not a number", "0100" + "4000000000000000" + "1x4000000000000002", "DE 2 "},
		{"length over the limit", "0100" + "4000000000000000" + "204000000000000000000000", "DE 2 "},
		{"over the frame", echo + strings.Repeat("0", iso8583.MaxFrame), "message type"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var v iso8583.View
			err := v.Parse([]byte(c.msg))
			if !errors.Is(err, iso8583.ErrFormat) || !strings.Contains(err.Error(), c.element) {
				t.Errorf("error %v, want ErrFormat about %q", err, c.element)
			}
		})
	}
}

func TestViewReadsBehindAWrongElement(t *testing.T) {
	msg := strings.Replace(golden[0].packed, "0102030405", "01020304xx", 1)
	var v iso8583.View
	if err := v.Parse([]byte(msg)); err == nil {
		t.Fatal("letters in DE 7 were accepted")
	}
	if v.Has(7) || v.Text(11) != "000017" {
		t.Errorf("DE 7 present %v, DE 11 %q; want absent, and read", v.Has(7), v.Text(11))
	}
}

func TestWipeOverwritesTheMessage(t *testing.T) {
	msg := []byte(golden[1].packed)
	var v iso8583.View
	if err := v.Parse(msg); err != nil {
		t.Fatal(err)
	}
	v.Wipe()
	if !bytes.Equal(msg, make([]byte, len(msg))) || v.Has(2) {
		t.Error("the message is still there")
	}
}

func TestBuilderRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		de    int
		value string
	}{
		{"short", 11, "00017"}, {"long", 11, "0000017"}, {"letters", 11, "00001A"}, {"over the limit", 2, strings.Repeat("4", 20)},
		{"bitmap", 65, "1"}, {"not ASCII", 43, "SÃO PAULO" + strings.Repeat(" ", 30)}, {"control character", 41, "TERM\x00001"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b iso8583.Builder
			b.SetText(0, "0100")
			b.SetText(c.de, c.value)
			if out, err := b.Append([]byte("x")); !errors.Is(err, iso8583.ErrFormat) || string(out) != "x" {
				t.Errorf("error %v, output of %d bytes", err, len(out))
			}
		})
	}
}

func TestElements(t *testing.T) {
	a := iso8583.Acceptor{Name: "SUPERMERCADO LUNA", City: "ROSARIO", Country: "AR"}
	if s := a.String(); s != "SUPERMERCADO LUNA        ROSARIO      AR" || iso8583.ParseAcceptor(s) != a {
		t.Errorf("acceptor %q", s)
	}
	long := iso8583.Acceptor{Name: strings.Repeat("N", 30), City: strings.Repeat("C", 30), Country: "BRA"}
	if s := long.String(); len(s) != 40 {
		t.Errorf("acceptor has %d characters", len(s))
	}
	o := iso8583.Original{MTI: "0100", STAN: "000042", Transmission: "0102030405", Acquirer: "400001", Forwarding: ""}
	s := o.String()
	if s != "0100"+"000042"+"0102030405"+"00000400001"+"00000000000" {
		t.Errorf("original %q", s)
	}
	o.Acquirer, o.Forwarding = "00000400001", "00000000000"
	if back, err := iso8583.ParseOriginal(s); err != nil || back != o {
		t.Errorf("original read back as %+v, %v", back, err)
	}
	if _, err := iso8583.ParseOriginal(s[1:]); !errors.Is(err, iso8583.ErrFormat) {
		t.Errorf("short original: %v", err)
	}
}

func TestSubElements(t *testing.T) {
	b, err := iso8583.AppendSubElement(nil, iso8583.SubECI, "05")
	if err == nil {
		b, err = iso8583.AppendSubElement(b, iso8583.SubWallet, "applepay")
	}
	if err != nil || string(b) != "420205"+"2608applepay" {
		t.Fatalf("%q, %v", b, err)
	}
	have := map[int]string{}
	if err := iso8583.EachSubElement(b, func(id int, v []byte) { have[id] = string(v) }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[int]string{42: "05", 26: "applepay"}, have); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"4", "4205", "420305", "4x0205", "42x205"} {
		if err := iso8583.EachSubElement([]byte(bad), func(int, []byte) {}); !errors.Is(err, iso8583.ErrSubElement) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := iso8583.AppendSubElement(nil, 1, strings.Repeat("x", 100)); !errors.Is(err, iso8583.ErrSubElement) {
		t.Errorf("long value: %v", err)
	}
}

func TestResponseTo(t *testing.T) {
	for mti, want := range map[string]string{
		"0100": "0110", "0101": "0110", "0400": "0410", "0401": "0410", "0420": "0430", "0421": "0430", "0800": "0810",
		"0200": "0210", "0110": "", "0430": "", "0810": "", "1100": "", "010": "", "": "",
	} {
		if have, ok := iso8583.ResponseTo(mti); have != want || ok != (want != "") {
			t.Errorf("%q: %q, %v; want %q", mti, have, ok, want)
		}
	}
}

func TestFrames(t *testing.T) {
	var stream bytes.Buffer
	for _, g := range golden {
		if err := iso8583.WriteFrame(&stream, []byte(g.packed)); err != nil {
			t.Fatal(err)
		}
	}
	var buf []byte
	for _, g := range golden {
		msg, err := iso8583.ReadFrame(&stream, buf)
		if err != nil || string(msg) != g.packed {
			t.Fatalf("%s: %v", g.name, err)
		}
		buf = msg
	}
	if _, err := iso8583.ReadFrame(&stream, buf); err != io.EOF {
		t.Errorf("end between frames: %v", err)
	}
	for _, c := range []struct {
		in   string
		want error
	}{
		{"\x00", iso8583.ErrFrameTruncated}, {"\x00\x02x", iso8583.ErrFrameTruncated}, {"\x00\x02", iso8583.ErrFrameTruncated},
		{"\x00\x00", iso8583.ErrFrameSize}, {"\xff\xff", iso8583.ErrFrameSize},
	} {
		if _, err := iso8583.ReadFrame(strings.NewReader(c.in), nil); !errors.Is(err, c.want) {
			t.Errorf("%q: %v, want %v", c.in, err, c.want)
		}
	}
	if err := iso8583.WriteFrame(io.Discard, make([]byte, iso8583.MaxFrame+1)); !errors.Is(err, iso8583.ErrFrameSize) {
		t.Errorf("oversized write: %v", err)
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte("\x00\x02ok\x00"))
	f.Add([]byte("\xff\xff"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r, at := bytes.NewReader(in), 0
		for {
			msg, err := iso8583.ReadFrame(r, nil)
			if err != nil {
				return
			}
			again, err := iso8583.AppendFrame(nil, msg)
			if err != nil || !bytes.HasPrefix(in[at:], again) {
				t.Fatal("a frame does not read back as it was written")
			}
			at += len(again)
		}
	})
}

// FuzzView holds View against moov: what View accepts moov reads the same, and Builder
// packs again to the same bytes.
func FuzzView(f *testing.F) {
	for _, g := range golden {
		f.Add([]byte(g.packed))
		f.Add([]byte(g.packed[:len(g.packed)/2]))
	}
	spec := iso8583.ASCII1987()
	f.Fuzz(func(t *testing.T, msg []byte) {
		var v iso8583.View
		if v.Parse(msg) != nil {
			return
		}
		m := moov.NewMessage(spec)
		if err := m.Unpack(msg); err != nil {
			t.Fatal("moov refuses what View accepts")
		}
		var b iso8583.Builder
		for de := range 129 {
			if !v.Has(de) {
				continue
			}
			b.Set(de, v.Bytes(de))
			want, _ := m.GetString(de)
			have := v.Text(de)
			if de == 41 || de == 42 {
				have = strings.TrimRight(have, " ")
			}
			if have != want {
				t.Fatalf("DE %d differs", de)
			}
		}
		again, err := b.Append(nil)
		if err != nil {
			t.Fatalf("pack: %v", err)
		}
		// A secondary bitmap without a bit, and lower-case hexadecimal, are read but not written.
		if !bytes.EqualFold(again, msg) && !bytes.Equal(msg[20:36], []byte("0000000000000000")) {
			t.Fatal("packs differently")
		}
	})
}

func BenchmarkParse(b *testing.B) {
	msg := []byte(golden[1].packed)
	var v iso8583.View
	b.ReportAllocs()
	for b.Loop() {
		if err := v.Parse(msg); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseMoovReference(b *testing.B) {
	spec, msg := iso8583.ASCII1987(), []byte(golden[1].packed)
	b.ReportAllocs()
	for b.Loop() {
		if err := moov.NewMessage(spec).Unpack(msg); err != nil {
			b.Fatal(err)
		}
	}
}
