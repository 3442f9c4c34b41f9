package ff1_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cardlake/cardlake/tokenize/ff1"
)

// wycheproofModule holds Project Wycheproof's vectors, made by implementations that have
// nothing in common with this one.
const wycheproofModule = "github.com/c2sp/wycheproof@v0.0.0-20260902155932-3fa63dd0344a"

type wycheproofGroup[T any] struct {
	Alphabet string
	Radix    int
	Tests    []struct {
		TcID       int
		Key, Tweak string
		Msg, Ct    T
		Result     string
		Flags      []string
	}
}

// TestWycheproof runs all FF1 vectors, 22 files for 13 radixes, text and numerals.
func TestWycheproof(t *testing.T) {
	if os.Getenv("CARDLAKE_REAL") == "" {
		t.Skip("downloads a module of 40 MB; set CARDLAKE_REAL=1")
	}
	cmd := exec.Command("go", "mod", "download", "-json", wycheproofModule)
	cmd.Dir = t.TempDir()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(module.Dir, "testvectors_v1")
	ran := 0
	for _, g := range wycheproofGroups[string](t, dir, "aes_ff1_base*_test.json", 9) {
		for _, c := range g.Tests {
			ran++
			got, err := func() (string, error) {
				text, err := ff1.NewText(unhex(t, c.Key), g.Alphabet, wycheproofConfig(c.Flags))
				if err != nil {
					return "", err
				}
				if c.Result == "valid" {
					if back, err := text.Decrypt(unhex(t, c.Tweak), c.Ct); err != nil || back != c.Msg {
						t.Errorf("radix %d, case %d does not decrypt: %v", g.Radix, c.TcID, err)
					}
				}
				return text.Encrypt(unhex(t, c.Tweak), c.Msg)
			}()
			if (err == nil) != (c.Result == "valid") || err == nil && got != c.Ct {
				t.Errorf("radix %d, text, case %d (%s, %v): %v, equal: %t", g.Radix, c.TcID, c.Result, c.Flags, err, got == c.Ct)
			}
		}
	}
	for _, g := range wycheproofGroups[[]int](t, dir, "aes_ff1_radix*_test.json", 13) {
		for _, c := range g.Tests {
			ran++
			msg, fits := numerals(c.Msg)
			ct, _ := numerals(c.Ct)
			if !fits {
				// No numeral of the API: its type refuses what is negative or above 65,535.
				if c.Result == "valid" {
					t.Errorf("radix %d, case %d is valid", g.Radix, c.TcID)
				}
				continue
			}
			got, err := func() ([]uint16, error) {
				cipher, err := ff1.New(unhex(t, c.Key), g.Radix, wycheproofConfig(c.Flags))
				if err != nil {
					return nil, err
				}
				if c.Result == "valid" {
					if back, err := cipher.Decrypt(unhex(t, c.Tweak), ct); err != nil || !slices.Equal(back, msg) {
						t.Errorf("radix %d, case %d does not decrypt: %v", g.Radix, c.TcID, err)
					}
				}
				return cipher.Encrypt(unhex(t, c.Tweak), msg)
			}()
			if (err == nil) != (c.Result == "valid") || err == nil && !slices.Equal(got, ct) {
				t.Errorf("radix %d, numerals, case %d (%s, %v): %v", g.Radix, c.TcID, c.Result, c.Flags, err)
			}
		}
	}
	if ran < 50_000 {
		t.Errorf("only %d cases", ran)
	}
	t.Logf("%d cases", ran)
}

// wycheproofConfig admits the domains that the edition of 2016 admitted where a case is marked
// as one of those; elsewhere they are refused.
func wycheproofConfig(flags []string) ff1.Config {
	return ff1.Config{SmallDomains: slices.Contains(flags, "SmallMessageSize")}
}

func wycheproofGroups[T any](t *testing.T, dir, glob string, files int) []wycheproofGroup[T] {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, glob))
	if err != nil || len(names) != files {
		t.Fatalf("%d files of vectors, %v, want %d", len(names), err, files)
	}
	var groups []wycheproofGroup[T]
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var file struct{ TestGroups []wycheproofGroup[T] }
		if err := json.Unmarshal(b, &file); err != nil {
			t.Fatal(fmt.Errorf("%s: %w", filepath.Base(name), err))
		}
		groups = append(groups, file.TestGroups...)
	}
	return groups
}

func numerals(values []int) (out []uint16, fits bool) {
	for _, v := range values {
		if v < 0 || v > 65535 {
			return nil, false
		}
		out = append(out, uint16(v))
	}
	return out, true
}
