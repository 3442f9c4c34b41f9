package cardlake_test

import (
	"testing"

	"github.com/cardlake/cardlake"
)

// Every byte, at every place of inputs of every length up to some words, is spelled with the
// letters of its halves, behind what is there.
func TestAppendLetters(t *testing.T) {
	src := make([]byte, 0, 300)
	for i := range cap(src) {
		src = append(src, byte(i*7))
	}
	for n := range len(src) + 1 {
		want := "before "
		for _, b := range src[:n] {
			want += string("abcdefghijklmnop"[b>>4]) + string("abcdefghijklmnop"[b&15])
		}
		if got := cardlake.AppendLetters([]byte("before "), src[:n]); string(got) != want {
			t.Fatalf("%d bytes: %s, want %s", n, got, want)
		}
	}
}
