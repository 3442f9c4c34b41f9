package discover

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/keys"
)

// Published test numbers of the brands.
const (
	visaNumber   = "4111111111111111"
	masterNumber = "5555555555554444"
	amexNumber   = "378282246310005"
)

func detect(t testing.TB, d *Detector, data []byte) []Detection {
	t.Helper()
	var out []Detection
	if err := d.Scan(bytes.NewReader(data), Place{Path: "f"}, func(f Detection) bool {
		out = append(out, f)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// wide spells ASCII in UTF-16.
func wide(s string, big bool) string {
	var b strings.Builder
	for i := range len(s) {
		if big {
			b.WriteByte(0)
			b.WriteByte(s[i])
		} else {
			b.WriteByte(s[i])
			b.WriteByte(0)
		}
	}
	return b.String()
}

// ebcdic spells ASCII in code page 037.
func ebcdic(s string) string {
	out := make([]byte, len(s))
	for i := range len(s) {
		for c, ch := range cp037 {
			if ch == s[i] {
				out[i] = byte(c)
			}
		}
	}
	return string(out)
}

func unhex(s string) string {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestDetector(t *testing.T) {
	b64 := base64.StdEncoding.EncodeToString
	for _, tc := range []struct {
		name, in string
		want     string // kind encoding confidence offset, each finding; low ones too
	}{
		{"nothing", "nothing here", ""},
		{"plain", "x " + visaNumber + " y", "pan ascii medium 2"},
		{"alone", visaNumber, "pan ascii medium 0"},
		{"thirteen digits", "4222222222222", "pan ascii medium 0"},
		{"part of a longer run", "0" + visaNumber, ""},
		{"letters around it", "PAN" + visaNumber + "X", "pan ascii high 3"},
		{"spaces", "4111 1111 1111 1111", "pan ascii-grouped high 0"},
		{"hyphens", "3782-822463-10005", "pan ascii-grouped high 0"},
		{"mixed separators", "4111-1111 1111-1111", ""},
		{"two spaces", "4111  1111 1111 1111", ""},
		{"beside a date", "2026-11-22 4111 1111 1111 1111 12/27", "pan ascii-grouped high 11"},
		{"groups around it", "12 4111 1111 1111 1111 27", "pan ascii-grouped high 3"},
		{"two in a row", "4111 1111 1111 1111 5555 5555 5555 4444", "pan ascii-grouped high 0; pan ascii-grouped high 20"},
		{"decimals", "0." + visaNumber + " and " + visaNumber + ".25", ""},
		{"a float of a whole number", visaNumber + ".0", "pan ascii medium 0"},
		{"end of a sentence", "It is " + visaNumber + ".", "pan ascii medium 6"},
		{"key of JSON", `{"card_number":"` + visaNumber + `"}`, "pan ascii high 16"},
		{"Spanish", "tarjeta N° " + visaNumber, "pan ascii high 12"},
		{"Portuguese", "número do cartão: " + visaNumber, "pan ascii high 20"},
		{"camel case", `{"debitCardPan": ` + visaNumber, "pan ascii high 17"},
		{"an order", `{"order_id":"` + visaNumber + `"}`, "pan ascii low 13"},
		{"too long for the word before it", "imei " + visaNumber + "; rrn " + visaNumber, "pan ascii low 5; pan ascii medium 27"},
		{"card within another key", `{"card_id":"` + visaNumber + `"}`, "pan ascii high 12"},
		{"CNPJ of the form of Diners", "30122333000108 30122333000162", ""},
		{"UUID", "41111111-1111-4111-8111-1111abcdef12 550e8400-e29b-4111-1111-111111111111", ""},
		{"23 digits of an ARN", "74111111111111111111111", ""},
		{"track 1", "%B" + visaNumber + "^DOE/JANE^30121010000012345?", "track1 ascii high 2"},
		{"track 2", ";" + visaNumber + "=30121010000012345?", "track2 ascii high 1"},
		{"track 2 of no brand", ";9999999999999995=30121010000012345?", "track2 ascii high 1"},
		{"track 2 in hexadecimal", "57: " + visaNumber + "D30121010000012345F", "track2 ascii high 4"},
		{"no track without a month", visaNumber + "=30991010000012345?", "pan ascii medium 0"},
		{"security code beside it", `{"pan":"` + visaNumber + `","exp":"12/30","cvv":"123"}`, "pan ascii high 8; cvv ascii high 47"},
		{"security code checked", `{"pan":"` + visaNumber + `","cvv_result":"123"}`, "pan ascii high 8"},
		{"PIN block beside it", "pan=" + visaNumber + " pin_block=04124ABCDEF01234 ", "pan ascii high 4; pin-block ascii high 31"},
		{"UTF-16 little-endian", wide("card "+visaNumber+"\n", false), "pan utf-16 high 10"},
		{"UTF-16 big-endian", wide("x 4111 1111 1111 1111\n", true), "pan utf-16 high 5"},
		{"UTF-16 with a mark", "\xff\xfe" + wide("pan,x\n"+visaNumber+",1\n"+visaNumber+",2\n", false), "pan utf-16 high 14; pan utf-16 high 52"},
		{"a string that ends in a zero", "\x00\x00" + visaNumber + "\x00", "pan ascii medium 2"},
		{"EBCDIC", ebcdic("TARJETA " + visaNumber + "  "), "pan ebcdic high 8"},
		{"EBCDIC in groups", ebcdic("  4111 1111 1111 1111  "), "pan ebcdic high 2"},
		{"EBCDIC track", ebcdic(";" + visaNumber + "=30121010000012345?"), "track2 ebcdic high 1"},
		{"hexadecimal", "body=" + hex.EncodeToString([]byte(visaNumber)), "pan hex-ascii medium 5"},
		{"hexadecimal of a text", hex.EncodeToString([]byte("the card number is " + visaNumber)), "pan hex-ascii high 38"},
		{"EMV tag in hexadecimal", "9F0607A00000000310105A08" + visaNumber + "5F24033012315F3401009F3602001A", "pan hex-bcd high 24"},
		{"base64", "body: " + b64([]byte(visaNumber)), "pan base64-ascii medium 6"},
		{"base64 of JSON", `{"blob":"` + b64([]byte(`{"pan":"`+visaNumber+`","a":1}`)) + `"}`, "pan base64-ascii high 19"},
		{"base64 in lines", "x\n" + wrap(b64([]byte("so many bytes in front of it, that the number "+visaNumber+" goes over the end of the line")), 76), "pan base64-ascii medium 64"},
		{"base64 in base64", b64([]byte(b64([]byte("tarjeta " + visaNumber)))), "pan base64-ascii high 13"},
		{"packed with a tag", "\x00\x9f\x06" + unhex("5A08"+visaNumber+"5F24") + "\x00", "pan bcd high 5"},
		{"packed, odd length", "\x00" + unhex("5A08"+amexNumber+"F5F24") + "\x00", "pan bcd high 3"},
		{"packed track", "\x00" + unhex("5712"+visaNumber+"D301210100000123456F"), "track2 bcd high 3"},
		{"packed message", unhex("0100723C448128C0980016" + visaNumber + "00000000000000100011221326051234561326051122"), "pan bcd high 11"},
		{"packed alone", "\x00\xff" + unhex(visaNumber) + "\xff", "pan bcd medium 2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			for _, f := range detect(t, NewDetector(DetectorConfig{}), []byte(tc.in)) {
				got = append(got, fmt.Sprintf("%s %s %s %d", f.Kind, f.Encoding, f.Confidence, f.Offset))
				if strings.Contains(f.Masked, "11111111") || strings.Contains(fmt.Sprintf("%+v", f), visaNumber) {
					t.Error("the finding shows the number")
				}
			}
			if got := strings.Join(got, "; "); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

// wrap breaks text into lines of n characters.
func wrap(text string, n int) string {
	var b strings.Builder
	for len(text) > n {
		b.WriteString(text[:n] + "\n")
		text = text[n:]
	}
	return b.String() + text
}

func TestDetectorMasksByLength(t *testing.T) {
	for in, want := range map[string]string{visaNumber: "411111******1111", amexNumber: "378282*****0005", "30569309025904": "305693********", "4222222222222": "422222*******", "4000000000000000006": "400000*********0006"} {
		got := detect(t, NewDetector(DetectorConfig{}), []byte(in))
		if len(got) != 1 || got[0].Masked != want {
			t.Errorf("%d digits: got %+v, want %s", len(in), got, want)
		}
	}
}

func TestFingerprints(t *testing.T) {
	in := []byte(visaNumber + " " + masterNumber + " 4111 1111 1111 1111")
	key := keys.NewKey()
	a, b, c := detect(t, NewDetector(DetectorConfig{FingerprintKey: key}), in), detect(t, NewDetector(DetectorConfig{FingerprintKey: key}), in), detect(t, NewDetector(DetectorConfig{}), in)
	if len(a) != 3 || a[0].Fingerprint != a[2].Fingerprint || a[0].Fingerprint == a[1].Fingerprint || a[0].Fingerprint != b[0].Fingerprint || a[0].Fingerprint == c[0].Fingerprint {
		t.Errorf("got %+v", a)
	}
}

func TestTenantsOwnRange(t *testing.T) {
	in := []byte("9900001234567890 9900001234567891")
	if got := detect(t, NewDetector(DetectorConfig{}), in); len(got) != 0 {
		t.Errorf("got %v", got)
	}
	own := card.KnownIINs().With([]card.IIN{{Brand: "own", Lo: "990000", Hi: "990000", Lengths: 1 << 16, NoLuhn: true}})
	if got := detect(t, NewDetector(DetectorConfig{IINs: own}), in); len(got) != 2 || got[0].Brand != "own" {
		t.Errorf("got %v", got)
	}
}
