package ff1_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// bouncyCastle is an implementation of FF1 by others, from Maven Central.
const bouncyCastle = "org.bouncycastle:bcprov-jdk18on:1.80"

// TestEqualsBouncyCastle compares random input of many radixes, lengths, tweaks and keys. Radix
// 65536 is left out: there Bouncy Castle differs from the standard and from Wycheproof's vectors.
func TestEqualsBouncyCastle(t *testing.T) {
	if os.Getenv("CARDLAKE_REAL") == "" {
		t.Skip("needs Java 17 and Maven; set CARDLAKE_REAL=1")
	}
	dir := t.TempDir()
	copyJar := exec.Command("mvn", "-q", "-B", "dependency:copy", "-Dartifact="+bouncyCastle, "-DoutputDirectory="+dir)
	copyJar.Dir = dir
	if out, err := copyJar.CombinedOutput(); err != nil {
		t.Fatalf("mvn: %v: %s", err, out)
	}
	jars, err := filepath.Glob(filepath.Join(dir, "*.jar"))
	if err != nil || len(jars) != 1 {
		t.Fatalf("%d jars, %v", len(jars), err)
	}
	r := rand.New(rand.NewPCG(1, 1))
	var in bytes.Buffer
	var want []string
	for _, radix := range []int{2, 10, 10, 10, 16, 26, 36, 62, 85, 255, 256, 257, 1000, 65534, 65535} {
		least := newCipher(t, make([]byte, 16), radix).MinLen()
		for i := range 150 {
			n := least + i%40
			if i >= 120 {
				n = least + r.IntN(500)
			}
			key, tweak, x := input(r, radix, n)
			out, err := newCipher(t, key, radix).Encrypt(tweak, x)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&in, "%d x%x x%x x%x\n", radix, key, tweak, spelled(radix, x))
			want = append(want, hex.EncodeToString(spelled(radix, out)))
		}
	}
	java := exec.Command("java", "-cp", jars[0], "testdata/BouncyCastle.java")
	java.Stdin = &in
	java.Stderr = os.Stderr
	out, err := java.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(out))
	if len(lines) != len(want) {
		t.Fatalf("%d answers to %d cases", len(lines), len(want))
	}
	for i := range want {
		if lines[i] != want[i] {
			t.Errorf("case %d differs", i)
		}
	}
	t.Logf("%d cases", len(want))
}

// spelled is the numerals in bytes, one each up to radix 256, else two.
func spelled(radix int, x []uint16) (out []byte) {
	for _, numeral := range x {
		if radix > 256 {
			out = append(out, byte(numeral>>8))
		}
		out = append(out, byte(numeral))
	}
	return out
}
