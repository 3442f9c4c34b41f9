package keystest

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

// PrintsNoKey fails the test if any way of printing or encoding one of the values shows four
// bytes in a row of the key material.
func PrintsNoKey(t testing.TB, material []byte, values ...any) {
	t.Helper()
	spelled := spellings(material)
	for _, v := range values {
		for how, text := range printed(v) {
			if shows(text, spelled) {
				t.Errorf("%s of %T shows key bytes", how, v)
			}
		}
	}
}

func printed(v any) map[string]string {
	out := map[string]string{"Sprint": fmt.Sprint(v), "Sprintln": fmt.Sprintln(v)}
	for _, verb := range "vsqxXdobceEfgGtTpUw" {
		for _, flags := range []string{"", "+", "#"} {
			how := "%" + flags + string(verb)
			out[how] = fmt.Sprintf(how, v)
		}
	}
	out["error"] = fmt.Errorf("wrapped: %w; %v", asError(v), v).Error()
	out["panic"] = panicked(v)
	var b bytes.Buffer
	if text, err := json.Marshal(v); err == nil {
		out["json"] = string(text)
	}
	if text, err := xml.Marshal(v); err == nil {
		out["xml"] = string(text)
	}
	if gob.NewEncoder(&b).Encode(v) == nil {
		out["gob"] = b.String()
	}
	b.Reset()
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "v", v)
	out["slog text"] = b.String()
	b.Reset()
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "v", v)
	out["slog json"] = b.String()
	return out
}

func asError(v any) error {
	if err, ok := v.(error); ok {
		return err
	}
	return fmt.Errorf("%v", v)
}

func panicked(v any) (text string) {
	defer func() { text = fmt.Sprintf("%v %+v", recover(), v) }()
	panic(v)
}

// spellings are four bytes in a row, wherever: raw, quoted, in hexadecimal, decimal, octal;
// or six in base64.
func spellings(material []byte) []string {
	var out []string
	for i := 0; i+4 <= len(material); i++ {
		window := material[i : i+4]
		decimal := strings.Trim(fmt.Sprint(window), "[]")
		out = append(out,
			string(window), strings.Trim(fmt.Sprintf("%q", window), `"`), hex.EncodeToString(window), fmt.Sprintf("% x", window),
			decimal, strings.ReplaceAll(decimal, " ", ", "), strings.Trim(fmt.Sprintf("%o", window), "[]"),
			strings.Trim(fmt.Sprintf("%#v", window), "[]byte{}"), strings.ToLower(fmt.Sprintf("%U", window)),
		)
		if i+6 <= len(material) {
			out = append(out, base64.RawStdEncoding.EncodeToString(material[i:i+6]), base64.RawURLEncoding.EncodeToString(material[i:i+6]))
		}
	}
	return out
}

func shows(text string, spelled []string) bool {
	lower := strings.ToLower(text)
	return slices.ContainsFunc(spelled, func(s string) bool { return strings.Contains(text, s) || strings.Contains(lower, s) })
}
