package dashboard

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var languages = []string{"en", "es", "pt-BR"}

// dictionaries are the words by language, file and key.
func dictionaries(t *testing.T) map[string]map[string]string {
	t.Helper()
	out := map[string]map[string]string{}
	each(t, ".json", func(name, text string) {
		parts := strings.Split(name, "/")
		if len(parts) != 3 || parts[0] != "i18n" || !slices.Contains(languages, parts[1]) {
			t.Errorf("%s is where no dictionary is", name)
			return
		}
		var words map[string]string
		if err := json.Unmarshal([]byte(text), &words); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		file := strings.TrimSuffix(parts[2], ".json")
		if out[parts[1]] == nil {
			out[parts[1]] = map[string]string{}
		}
		for key, text := range words {
			if !strings.HasPrefix(key, file+".") {
				t.Errorf("%s: the key %s does not begin with the file's name", name, key)
			}
			if strings.TrimSpace(text) == "" {
				t.Errorf("%s: %s is empty", name, key)
			}
			out[parts[1]][key] = text
		}
	})
	return out
}

func TestLanguagesSayTheSame(t *testing.T) {
	words := dictionaries(t)
	for _, language := range languages[1:] {
		for key, text := range words["en"] {
			other, ok := words[language][key]
			if !ok {
				t.Errorf("%s lacks %s", language, key)
				continue
			}
			want, err := arguments(text)
			if err != nil {
				t.Errorf("en %s: %v", key, err)
				continue
			}
			got, err := arguments(other)
			if err != nil {
				t.Errorf("%s %s: %v", language, key, err)
				continue
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s %s has the arguments %v, and English %v", language, key, got, want)
			}
		}
		for key := range words[language] {
			if _, ok := words["en"][key]; !ok {
				t.Errorf("%s has %s, which English lacks", language, key)
			}
		}
	}
}

var (
	usedKey    = regexp.MustCompile(`\bt(?:\.has)?\(\s*"([^"$]+)"|\btitle:\s*"([a-z][a-z-]*\.[\w.-]+)"`)
	usedEither = regexp.MustCompile(`\bt\(\s*[^"` + "`" + `(),]+\?\s*"([^"]+)"\s*:\s*"([^"]+)"`)
	usedPrefix = regexp.MustCompile("\\bt(?:\\.has)?\\(\\s*`([^`$]*)\\$\\{")
	usedTerm   = regexp.MustCompile(`\bt\.term\(\s*"([^"]+)"`)
)

// Every key that the scripts ask for is there; of one that is put together at run time, one that
// begins so.
func TestScriptsAskForWordsThatAreThere(t *testing.T) {
	words := dictionaries(t)["en"]
	begins := func(prefix string) bool {
		for key := range words {
			if strings.HasPrefix(key, prefix) {
				return true
			}
		}
		return false
	}
	n := 0
	each(t, ".js", func(name, text string) {
		if name == "js/i18n.js" {
			return
		}
		for _, found := range [][][]string{usedKey.FindAllStringSubmatch(text, -1), usedEither.FindAllStringSubmatch(text, -1)} {
			for _, m := range found {
				for _, key := range m[1:] {
					if key == "" {
						continue
					}
					n++
					if _, ok := words[key]; !ok {
						t.Errorf("%s asks for %q, which is nowhere", name, key)
					}
				}
			}
		}
		for _, m := range usedPrefix.FindAllStringSubmatch(text, -1) {
			if !begins(m[1]) {
				t.Errorf("%s asks for what begins with %q, and nothing does", name, m[1])
			}
		}
		for _, m := range usedTerm.FindAllStringSubmatch(text, -1) {
			if !begins("terms." + m[1] + ".") {
				t.Errorf("%s asks for terms of the kind %q, and there are none", name, m[1])
			}
		}
	})
	if n < 100 {
		t.Errorf("only %d keys are asked for: the test looks past them", n)
	}
}

// What every page waits for has the words of the frame and of the pages that it is said to be for.
func TestFirstWordsAreEnough(t *testing.T) {
	a, err := newAssets(web(t))
	if err != nil {
		t.Fatal(err)
	}
	var words map[string]string
	if err := json.Unmarshal(a.byPath["i18n/es.json"].plain, &words); err != nil {
		t.Fatal(err)
	}
	modules, err := a.modules([]string{"js/main.js", "js/pages/overview.js", "js/pages/transactions.js", "js/pages/declines.js", "js/pages/cards.js", "js/pages/merchants.js"})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range modules {
		for _, found := range [][][]string{usedKey.FindAllStringSubmatch(string(a.byPath[name].plain), -1), usedEither.FindAllStringSubmatch(string(a.byPath[name].plain), -1)} {
			for _, m := range found {
				for _, key := range m[1:] {
					if _, ok := words[key]; key != "" && !ok && name != "js/i18n.js" {
						t.Errorf("%s asks for %q, which is not among the first words", name, key)
					}
				}
			}
		}
	}
}

// Every page has a title in the menu.
func TestPagesHaveTitles(t *testing.T) {
	words := dictionaries(t)["en"]
	router, err := fs.ReadFile(web(t), "js/router.js")
	if err != nil {
		t.Fatal(err)
	}
	groups := regexp.MustCompile(`pages: \[([^\]]+)\]`).FindAllSubmatch(router, -1)
	if len(groups) == 0 {
		t.Fatal("the router has no pages")
	}
	for _, g := range groups {
		for name := range strings.SplitSeq(strings.ReplaceAll(string(g[1]), `"`, ""), ", ") {
			if words[name+".title"] == "" {
				t.Errorf("the page %s has no title", name)
			}
			if _, err := fs.Stat(web(t), path.Join("js/pages", name+".js")); err != nil {
				t.Errorf("the page %s is in the menu, and is not there", name)
			}
		}
	}
}

func TestArguments(t *testing.T) {
	for text, want := range map[string]string{
		"plain": "[]", "{a} and {b} and {a}": "[a b]", "{n, plural, one {# card of {who}} other {# cards}}": "[n who]",
		"{k, select, a {x} other {{y}}}": "[k y]", "it''s '{'no'}' argument": "[]", "l’été d'un": "[]",
	} {
		got, err := arguments(text)
		if fmt.Sprint(got) != want || err != nil {
			t.Errorf("%q: %v, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"{", "}", "{a", "{a b}", "{n, plural, one {x}}", "{n, plural, one {x} other {y}", "{n, number}", "{n, plural, single {x} other {y}}", "{}"} {
		if got, err := arguments(text); err == nil {
			t.Errorf("%q is taken for a message with %v", text, got)
		}
	}
}

// arguments reads a message strictly and returns the names of its arguments, in order.
func arguments(text string) ([]string, error) {
	p := &messageReader{text: text}
	if err := p.message(false); err != nil {
		return nil, err
	}
	slices.Sort(p.names)
	return slices.Compact(p.names), nil
}

type messageReader struct {
	text  string
	at    int
	names []string
}

func (p *messageReader) message(inside bool) error {
	for p.at < len(p.text) {
		switch c := p.text[p.at]; {
		case c == '\'' && p.at+1 < len(p.text) && strings.IndexByte("{}'", p.text[p.at+1]) >= 0:
			if p.text[p.at+1] == '\'' {
				p.at += 2
				continue
			}
			end := strings.IndexByte(p.text[p.at+2:], '\'')
			if end < 0 {
				return fmt.Errorf("a quote does not end")
			}
			p.at += 2 + end + 1
		case c == '{':
			p.at++
			if err := p.argument(); err != nil {
				return err
			}
		case c == '}':
			if inside {
				return nil
			}
			return fmt.Errorf("a brace closes what is not open")
		default:
			p.at++
		}
	}
	if inside {
		return fmt.Errorf("a form does not end")
	}
	return nil
}

var word = regexp.MustCompile(`^\s*([\w=-]+)\s*`)

func (p *messageReader) word() (string, error) {
	m := word.FindStringSubmatch(p.text[p.at:])
	if m == nil {
		return "", fmt.Errorf("a word is missing at %d", p.at)
	}
	p.at += len(m[0])
	return m[1], nil
}

func (p *messageReader) take(c byte) error {
	if p.at >= len(p.text) || p.text[p.at] != c {
		return fmt.Errorf("%q is missing at %d", c, p.at)
	}
	p.at++
	return nil
}

func (p *messageReader) argument() error {
	name, err := p.word()
	if err != nil {
		return err
	}
	p.names = append(p.names, name)
	if p.at < len(p.text) && p.text[p.at] == '}' {
		p.at++
		return nil
	}
	if err := p.take(','); err != nil {
		return err
	}
	kind, err := p.word()
	if err != nil {
		return err
	}
	if kind != "plural" && kind != "select" {
		return fmt.Errorf("%s is neither plural nor select", kind)
	}
	if err := p.take(','); err != nil {
		return err
	}
	other := false
	for {
		form, err := p.word()
		if err != nil {
			return err
		}
		if kind == "plural" && !slices.Contains([]string{"zero", "one", "two", "few", "many", "other"}, form) && !strings.HasPrefix(form, "=") {
			return fmt.Errorf("%s is no plural form", form)
		}
		other = other || form == "other"
		if err := p.take('{'); err != nil {
			return err
		}
		if err := p.message(true); err != nil {
			return err
		}
		if err := p.take('}'); err != nil {
			return err
		}
		if rest := strings.TrimLeft(p.text[p.at:], " \n\t"); strings.HasPrefix(rest, "}") {
			p.at = len(p.text) - len(rest) + 1
			break
		}
	}
	if !other {
		return fmt.Errorf("%s has no form for other", name)
	}
	return nil
}
