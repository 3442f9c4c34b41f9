package ff1_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/cardlake/cardlake/tokenize/ff1"
)

const aes256 = "2B7E151628AED2A6ABF7158809CF4F3CEF4359D8D580AA4F7F036D6F04FC6A94"

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func newCipher(t testing.TB, key []byte, radix int) *ff1.Cipher {
	t.Helper()
	c, err := ff1.New(key, radix, ff1.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestNISTSamples are the nine samples of NIST's "Examples with Intermediate Values", FF1.
func TestNISTSamples(t *testing.T) {
	const longTweak = "3737373770717273373737"
	for _, c := range []struct {
		keyBytes                               int
		tweak, alphabet, plaintext, ciphertext string
	}{
		{16, "", ff1.Digits, "0123456789", "2433477484"},
		{16, "39383736353433323130", ff1.Digits, "0123456789", "6124200773"},
		{16, longTweak, ff1.Base36, "0123456789abcdefghi", "a9tv40mll9kdu509eum"},
		{24, "", ff1.Digits, "0123456789", "2830668132"},
		{24, "39383736353433323130", ff1.Digits, "0123456789", "2496655549"},
		{24, longTweak, ff1.Base36, "0123456789abcdefghi", "xbj3kv35jrawxv32ysr"},
		{32, "", ff1.Digits, "0123456789", "6657667009"},
		{32, "39383736353433323130", ff1.Digits, "0123456789", "1001623463"},
		{32, longTweak, ff1.Base36, "0123456789abcdefghi", "xs8a0azh2avyalyzuwd"},
	} {
		key, tweak := unhex(t, aes256)[:c.keyBytes], unhex(t, c.tweak)
		text, err := ff1.NewText(key, c.alphabet, ff1.Config{})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := text.Encrypt(tweak, c.plaintext); err != nil || got != c.ciphertext {
			t.Errorf("AES-%d tweak %q: %q, %v, want %q", 8*c.keyBytes, c.tweak, got, err, c.ciphertext)
		}
		if got, err := text.Decrypt(tweak, c.ciphertext); err != nil || got != c.plaintext {
			t.Errorf("AES-%d tweak %q decrypted: %q, %v, want %q", 8*c.keyBytes, c.tweak, got, err, c.plaintext)
		}
		if c.alphabet != ff1.Digits {
			continue
		}
		d, err := newCipher(t, key, 10).Decimal(tweak, len(c.plaintext))
		if err != nil {
			t.Fatal(err)
		}
		digits := []byte(c.plaintext)
		if err := d.Encrypt(digits); err != nil || string(digits) != c.ciphertext {
			t.Errorf("AES-%d tweak %q on words: %q, %v, want %q", 8*c.keyBytes, c.tweak, digits, err, c.ciphertext)
		}
	}
}

// input is a random case; its lengths favour the ends.
func input(r *rand.Rand, radix, n int) (key, tweak []byte, x []uint16) {
	random := func(b []byte) []byte {
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	key, tweak = random(make([]byte, []int{16, 24, 32}[r.IntN(3)])), random(make([]byte, r.IntN(70)))
	x = make([]uint16, n)
	kind := r.IntN(4) // all zero, all the highest, or random
	for i := range x {
		switch kind {
		case 0:
		case 1:
			x[i] = uint16(radix - 1)
		default:
			x[i] = uint16(r.IntN(radix))
		}
	}
	return key, tweak, x
}

// checkAgainstReference compares one case with the reference and decrypts it.
func checkAgainstReference(t *testing.T, radix int, key, tweak []byte, x []uint16) {
	t.Helper()
	c := newCipher(t, key, radix)
	got, err := c.Encrypt(tweak, x)
	if err != nil {
		t.Fatalf("radix %d, %d numerals: %v", radix, len(x), err)
	}
	if want := reference(key, tweak, radix, x); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("radix %d, %d numerals, tweak of %d bytes: differs from the reference", radix, len(x), len(tweak))
	}
	back, err := c.Decrypt(tweak, got)
	if err != nil || fmt.Sprint(back) != fmt.Sprint(x) {
		t.Fatalf("radix %d, %d numerals, tweak of %d bytes: does not decrypt: %v", radix, len(x), len(tweak), err)
	}
}

func TestEqualsReference(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, radix := range []int{2, 3, 7, 10, 16, 26, 36, 62, 64, 85, 255, 256, 1000, 65535, 65536} {
		least := newCipher(t, make([]byte, 16), radix).MinLen()
		for n := least; n < least+40; n++ {
			key, tweak, x := input(r, radix, n)
			checkAgainstReference(t, radix, key, tweak, x)
		}
		for range 15 {
			key, tweak, x := input(r, radix, least+r.IntN(600))
			checkAgainstReference(t, radix, key, tweak, x)
		}
	}
	for radix := 2; radix <= 62; radix++ {
		key, tweak, x := input(r, radix, 20+r.IntN(100))
		checkAgainstReference(t, radix, key, tweak, x)
	}
	for tweakLen := range 100 {
		key, _, x := input(r, 10, 16)
		checkAgainstReference(t, 10, key, bytes.Repeat([]byte{byte(tweakLen)}, tweakLen), x)
	}
	// Long enough that NUM and STR halve their input, and that both halves differ in length.
	for _, n := range []int{4096, 8191, 10_001} {
		key, tweak, x := input(r, 62, n)
		checkAgainstReference(t, 62, key, tweak, x)
	}
}

func TestDecimalEqualsCipher(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for n := 6; n <= ff1.MaxDecimalLen; n++ {
		for range 40 {
			key, tweak, x := input(r, 10, n)
			c := newCipher(t, key, 10)
			d, err := c.Decimal(tweak, n)
			if err != nil {
				t.Fatal(err)
			}
			digits := make([]byte, n)
			for i, numeral := range x {
				digits[i] = '0' + byte(numeral)
			}
			numbers := bytes.Repeat(digits, 6) // more than are in hand at a time
			plain := string(digits)
			out, err := c.Encrypt(tweak, x)
			if err != nil {
				t.Fatal(err)
			}
			want := ""
			for _, numeral := range out {
				want += string('0' + rune(numeral))
			}
			if err := d.Encrypt(digits); err != nil || string(digits) != want {
				t.Fatalf("%d digits: words and big integers differ: %v", n, err)
			}
			if err := d.Decrypt(digits); err != nil || string(digits) != plain {
				t.Fatalf("%d digits: words do not decrypt: %v", n, err)
			}
			// In a batch every number is different.
			for i := range 6 {
				numbers[i*n] = '0' + byte(i)
			}
			batch := bytes.Clone(numbers)
			if err := d.EncryptAll(batch); err != nil {
				t.Fatal(err)
			}
			for i := range 6 {
				one := numbers[i*n:][:n]
				if err := d.Encrypt(one); err != nil || !bytes.Equal(one, batch[i*n:][:n]) {
					t.Fatalf("%d digits: number %d of a batch differs: %v", n, i, err)
				}
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	key := make([]byte, 16)
	for _, n := range []int{0, 1, 8, 15, 17, 20, 31, 33, 64} {
		if _, err := ff1.New(make([]byte, n), 10, ff1.Config{}); !errors.Is(err, ff1.ErrKey) {
			t.Errorf("key of %d bytes: %v", n, err)
		}
	}
	for _, radix := range []int{-10, 0, 1, 65537, 1 << 20} {
		if _, err := ff1.New(key, radix, ff1.Config{}); !errors.Is(err, ff1.ErrRadix) {
			t.Errorf("radix %d: %v", radix, err)
		}
	}
	for _, c := range []struct{ radix, minLen, minLen16 int }{{2, 20, 7}, {3, 13, 5}, {10, 6, 2}, {26, 5, 2}, {36, 4, 2}, {62, 4, 2}, {255, 3, 2}, {1000, 2, 2}, {65536, 2, 2}} {
		strict := newCipher(t, key, c.radix)
		old, err := ff1.New(key, c.radix, ff1.Config{SmallDomains: true})
		if err != nil {
			t.Fatal(err)
		}
		if strict.MinLen() != c.minLen || old.MinLen() != c.minLen16 {
			t.Errorf("radix %d: at least %d symbols, %d as of 2016; want %d and %d", c.radix, strict.MinLen(), old.MinLen(), c.minLen, c.minLen16)
		}
		for _, cipher := range []*ff1.Cipher{strict, old} {
			for _, n := range []int{0, 1, cipher.MinLen() - 1, ff1.MaxLen + 1} {
				_, encrypting := cipher.Encrypt(nil, make([]uint16, n))
				_, decrypting := cipher.Decrypt(nil, make([]uint16, n))
				if !errors.Is(encrypting, ff1.ErrLength) || !errors.Is(decrypting, ff1.ErrLength) {
					t.Errorf("radix %d, %d symbols: %v, %v", c.radix, n, encrypting, decrypting)
				}
			}
			if _, err := cipher.Encrypt(nil, make([]uint16, cipher.MinLen())); err != nil {
				t.Errorf("radix %d, %d symbols: %v", c.radix, cipher.MinLen(), err)
			}
		}
		if c.radix == ff1.MaxRadix {
			continue
		}
		for at := range 30 {
			x := make([]uint16, 30)
			x[at] = uint16(c.radix)
			if _, err := strict.Encrypt(nil, x); !errors.Is(err, ff1.ErrSymbol) {
				t.Errorf("radix %d, numeral %d too large: %v", c.radix, at, err)
			}
		}
	}
	c := newCipher(t, key, 10)
	tweak := make([]byte, ff1.MaxTweak+1)
	if _, err := c.Encrypt(tweak, make([]uint16, 16)); !errors.Is(err, ff1.ErrTweak) {
		t.Errorf("a tweak that is too long: %v", err)
	}
	if _, err := c.Decimal(tweak, 16); !errors.Is(err, ff1.ErrTweak) {
		t.Errorf("a decimal tweak that is too long: %v", err)
	}
	for _, n := range []int{0, 5, ff1.MaxDecimalLen + 1} {
		if _, err := c.Decimal(nil, n); !errors.Is(err, ff1.ErrLength) {
			t.Errorf("numbers of %d digits: %v", n, err)
		}
	}
	if _, err := newCipher(t, key, 11).Decimal(nil, 16); !errors.Is(err, ff1.ErrRadix) {
		t.Errorf("decimal digits of radix 11: %v", err)
	}
}

func TestTextRefusals(t *testing.T) {
	key := make([]byte, 16)
	for _, alphabet := range []string{"01234567890", "aba", "\xff\xfe", "ab\xffc"} {
		if _, err := ff1.NewText(key, alphabet, ff1.Config{}); !errors.Is(err, ff1.ErrAlphabet) {
			t.Errorf("alphabet %q: %v", alphabet, err)
		}
	}
	for _, alphabet := range []string{"", "a"} {
		if _, err := ff1.NewText(key, alphabet, ff1.Config{}); !errors.Is(err, ff1.ErrRadix) {
			t.Errorf("alphabet %q: %v", alphabet, err)
		}
	}
	text, err := ff1.NewText(key, ff1.Digits, ff1.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		text string
		want error
	}{
		{"", ff1.ErrLength}, {"12345", ff1.ErrLength}, {"41111111a1111111", ff1.ErrSymbol}, {"+411111111111111", ff1.ErrSymbol},
		{"4111 1111 1111 1111", ff1.ErrSymbol}, {"411111111111111\xff", ff1.ErrSymbol}, {"٤١١١١١١١١١١١١١١١", ff1.ErrSymbol},
		{"41111111\x0011111111", ff1.ErrSymbol}, {strings.Repeat("1", ff1.MaxLen+1), ff1.ErrLength},
	} {
		_, encrypting := text.Encrypt(nil, c.text)
		_, decrypting := text.Decrypt(nil, c.text)
		for _, err := range []error{encrypting, decrypting} {
			if !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			} else if c.text != "" && strings.Contains(err.Error(), c.text) {
				t.Errorf("error %q has the content", err)
			}
		}
	}
	// A symbol may take several bytes, and invalid bytes are not the symbol that stands for them.
	wide, err := ff1.NewText(key, "äöü\uFFFD", ff1.Config{})
	if err != nil {
		t.Fatal(err)
	}
	out, err := wide.Encrypt(nil, "äöüäöü\uFFFDäöüä")
	if err != nil || len([]rune(out)) != 11 {
		t.Errorf("%d symbols, %v, want 11", len([]rune(out)), err)
	}
	if _, err := wide.Encrypt(nil, "äöüäöü\xffäöüä"); !errors.Is(err, ff1.ErrSymbol) {
		t.Errorf("invalid UTF-8: %v", err)
	}
}

// What cannot be encrypted stays as it was.
func TestDecimalRefusals(t *testing.T) {
	d, err := newCipher(t, make([]byte, 16), 10).Decimal(nil, 16)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		digits string
		want   error
	}{
		{"", ff1.ErrLength}, {"411111111111111", ff1.ErrLength}, {"41111111111111111", ff1.ErrLength},
		{"411111111111111a", ff1.ErrSymbol}, {"/111111111111111", ff1.ErrSymbol}, {"4111111:11111111", ff1.ErrSymbol}, {"41111111\xb1\xb1111111", ff1.ErrSymbol},
	} {
		for name, do := range map[string]func([]byte) error{"encrypt": d.Encrypt, "decrypt": d.Decrypt, "encrypt all": d.EncryptAll} {
			if c.digits == "" && name == "encrypt all" {
				continue
			}
			b := []byte(c.digits)
			if err := do(b); !errors.Is(err, c.want) || string(b) != c.digits {
				t.Errorf("%s of %d bytes: %v, changed: %t; want %v", name, len(b), err, string(b) != c.digits, c.want)
			}
		}
	}
	many := strings.Repeat("4111111111111111", 5) + "411111111111111x"
	b := []byte(many)
	if err := d.EncryptAll(b); !errors.Is(err, ff1.ErrSymbol) || string(b) != many {
		t.Errorf("a batch with a wrong number: %v, changed: %t", err, string(b) != many)
	}
}

func TestDecimalAllocatesNothing(t *testing.T) {
	d, err := newCipher(t, make([]byte, 32), 10).Decimal([]byte("a tweak"), 16)
	if err != nil {
		t.Fatal(err)
	}
	digits := bytes.Repeat([]byte("4111111111111111"), 7)
	for name, do := range map[string]func(){
		"encrypt":     func() { _ = d.Encrypt(digits[:16]) },
		"decrypt":     func() { _ = d.Decrypt(digits[:16]) },
		"encrypt all": func() { _ = d.EncryptAll(digits) },
	} {
		if n := testing.AllocsPerRun(100, do); n != 0 {
			t.Errorf("%s: %v allocations, want 0", name, n)
		}
	}
}

func TestCipherIsSafeForConcurrentUse(t *testing.T) {
	c := newCipher(t, make([]byte, 16), 10)
	x := make([]uint16, 100)
	want, err := c.Encrypt(nil, x)
	if err != nil {
		t.Fatal(err)
	}
	var users sync.WaitGroup
	for range 8 {
		users.Go(func() {
			for range 20 {
				if got, err := c.Encrypt(nil, x); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("another result, %v", err)
				}
			}
		})
	}
	users.Wait()
}

// No printed form has the expanded key, whose first bytes are the key's.
func TestNothingPrintsTheKey(t *testing.T) {
	key := bytes.Repeat([]byte{0xAB}, 16)
	c := newCipher(t, key, 10)
	d, err := c.Decimal(nil, 16)
	if err != nil {
		t.Fatal(err)
	}
	text, err := ff1.NewText(key, ff1.Digits, ff1.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{c, *c, d, text, *text, struct{ c *ff1.Cipher }{c}, struct{ c ff1.Cipher }{*c}, []any{d, text}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
			out := strings.ToLower(fmt.Sprintf(verb, v))
			for _, leak := range []string{"abab", "171 171", "171, 171", "2880154539", "0xab"} {
				if strings.Contains(out, leak) {
					t.Errorf("%s of %T shows the key", verb, v)
				}
			}
		}
	}
}

func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("0123456789abcdef"), []byte("tweak"), uint16(10), []byte("0123456789012345"))
	f.Add([]byte("0123456789abcdef01234567"), []byte{}, uint16(0xffff), []byte("\xff\xff\xff\xff\xff\xff"))
	f.Add([]byte("x"), []byte{}, uint16(1), []byte{})
	f.Fuzz(func(t *testing.T, key, tweak []byte, radixLess1 uint16, raw []byte) {
		radix := int(radixLess1) + 1
		c, err := ff1.New(key, radix, ff1.Config{})
		if err != nil {
			return
		}
		x := make([]uint16, len(raw)/2)
		for i := range x {
			x[i] = uint16((int(raw[2*i])<<8 | int(raw[2*i+1])) % radix)
		}
		out, err := c.Encrypt(tweak, x)
		if err != nil {
			return
		}
		for _, numeral := range out {
			if int(numeral) >= radix {
				t.Fatalf("numeral %d of radix %d", numeral, radix)
			}
		}
		back, err := c.Decrypt(tweak, out)
		if err != nil || fmt.Sprint(back) != fmt.Sprint(x) {
			t.Fatalf("radix %d, %d numerals: does not decrypt: %v", radix, len(x), err)
		}
	})
}
