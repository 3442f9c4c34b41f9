package audit

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/keys"
)

// A line is the JSON of an Entry, of which the last brace gives way to its hash and its
// seal: {…,"prev":"…","hash":"…","seal":"…"}. The hash covers every byte before it, so that
// nothing depends on how JSON is spelled. Hashes are in letters a to p, in which no digit
// run can be taken for a card number.
const (
	hashDomain = "cardlake audit line\x00"
	sealDomain = "cardlake audit seal\x00"
	hashLen    = 2 * sha256.Size
	hashField  = `,"hash":"`
	sealField  = `","seal":"`
	lineEnd    = `"}`
	suffixLen  = len(hashField) + hashLen + len(sealField) + hashLen + len(lineEnd)
	// maxLine bounds what a reader takes for one line. A record's own bounds keep below it:
	// 38 texts of 1 KiB, of which JSON may spell each byte with six.
	maxLine = 512 << 10
)

var errLine = errors.New("not a line of an audit log")

// appendLine appends the entry's line, with its end of line, and returns its hash.
func appendLine(dst []byte, e *Entry, key keys.Key) (line []byte, hash string, err error) {
	body, err := json.Marshal(e)
	if err != nil {
		return dst, "", fmt.Errorf("%w: %w", ErrRecord, err)
	}
	if len(body)+suffixLen >= maxLine {
		return dst, "", fmt.Errorf("%w: it makes a line of more than %d bytes", ErrRecord, maxLine)
	}
	body = body[:len(body)-1]
	hash = hashOf(body)
	dst = append(dst, body...)
	dst = append(dst, hashField...)
	dst = append(dst, hash...)
	dst = append(dst, sealField...)
	dst = append(dst, sealOf(key, hash)...)
	dst = append(dst, lineEnd...)
	return append(dst, '\n'), hash, nil
}

func hashOf(body []byte) string {
	h := sha256.New()
	h.Write([]byte(hashDomain))
	h.Write(body)
	return string(cardlake.AppendLetters(nil, h.Sum(nil)))
}

func sealOf(key keys.Key, hash string) string {
	m := hmac.New(sha256.New, key.Bytes())
	m.Write([]byte(sealDomain))
	m.Write([]byte(hash))
	return string(cardlake.AppendLetters(nil, m.Sum(nil)))
}

// parsed is a line taken apart. That it holds together is not checked yet.
type parsed struct {
	entry Entry
	body  []byte // what the hash covers; the caller's memory
	hash  string
	seal  string
}

// parseLine takes a line without its end of line apart.
func parseLine(line []byte) (parsed, error) {
	if len(line) <= suffixLen {
		return parsed{}, errLine
	}
	body, suffix := line[:len(line)-suffixLen], line[len(line)-suffixLen:]
	var ok [3]bool
	suffix, ok[0] = bytes.CutPrefix(suffix, []byte(hashField))
	hash, suffix := suffix[:hashLen], suffix[hashLen:]
	suffix, ok[1] = bytes.CutPrefix(suffix, []byte(sealField))
	if !ok[0] || !ok[1] {
		return parsed{}, errLine
	}
	seal, suffix := suffix[:hashLen], suffix[hashLen:]
	if string(suffix) != lineEnd {
		return parsed{}, errLine
	}
	p := parsed{body: body, hash: string(hash), seal: string(seal)}
	if err := json.Unmarshal(append(bytes.Clone(body), '}'), &p.entry); err != nil {
		return parsed{}, errLine
	}
	p.entry.Time = p.entry.Time.UTC()
	return p, nil
}

// link is what of a line a writer follows the chain by.
type link struct {
	seq          uint64
	prev, hash   string
	body         []byte // what the hash covers; the caller's memory
	isCheckpoint bool
}

const (
	seqField  = `{"seq":`
	prevField = `,"prev":"`
)

// linkOf finds a line's link where appendLine puts it, at a fraction of what parseLine
// costs. A line that a writer of this package did not write is errLine, or what parseLine
// says: its hash is still to be compared.
func linkOf(line []byte) (link, error) {
	if len(line) <= suffixLen {
		return link{}, errLine
	}
	body, suffix := line[:len(line)-suffixLen], line[len(line)-suffixLen:]
	hash, ok := bytes.CutPrefix(suffix, []byte(hashField))
	rest, ok2 := bytes.CutPrefix(body, []byte(seqField))
	if !ok || !ok2 || string(hash[hashLen:hashLen+len(sealField)]) != sealField || string(line[len(line)-len(lineEnd):]) != lineEnd {
		return link{}, errLine
	}
	l := link{hash: string(hash[:hashLen]), body: body, isCheckpoint: bytes.Contains(body, []byte(`,"checkpoint":{`))}
	digits := bytes.IndexByte(rest, ',')
	at := bytes.LastIndex(body, []byte(prevField))
	if digits < 0 || at < 0 || body[len(body)-1] != '"' {
		return link{}, errLine
	}
	var err error
	if l.seq, err = strconv.ParseUint(string(rest[:digits]), 10, 64); err != nil {
		return link{}, errLine
	}
	l.prev = string(body[at+len(prevField) : len(body)-1])
	return l, nil
}

// letters reads what cardlake.AppendLetters wrote.
func letters(s string) ([]byte, error) {
	if len(s)%2 != 0 {
		return nil, errLine
	}
	out := make([]byte, len(s)/2)
	for i := range out {
		hi, lo := s[2*i]-'a', s[2*i+1]-'a'
		if hi > 15 || lo > 15 {
			return nil, errLine
		}
		out[i] = hi<<4 | lo
	}
	return out, nil
}

func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }
