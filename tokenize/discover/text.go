package discover

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	pieceSize = 512 << 10
	// history is how much of what was searched is kept before the next piece, lookahead how
	// much of what comes is there: context, and numbers that go over the edge.
	history   = 1 << 10
	lookahead = 4 << 10
)

// Scan searches r to its end and yields what it detects, in the order of the places within
// half a megabyte. Memory is bounded whatever r holds. at names what is read; its Offset, if
// not zero, is that of r's first byte. Text of separated values is recognised by its first
// lines, and its columns are judged by their names and their share of card numbers; UTF-16 with
// a byte order mark is searched as text.
//
// When yield returns false, Scan stops and returns nil. An error of r is returned after what
// was read before it has been searched.
func (d *Detector) Scan(r io.Reader, at Place, yield func(Detection) bool) error {
	t := text{Detector: d, at: at, yield: yield, rates: rates{}, scale: 1, buf: make([]byte, 0, 4<<10)}
	return t.scan(r)
}

// text is one stream that is searched.
type text struct {
	*Detector
	at      Place
	yield   func(Detection) bool
	rates   rates
	table   *table
	enc     Encoding // of a stream that is transcribed
	scale   int64    // bytes of the stream to one that is searched
	shift   int64    // bytes of the stream before the first that is searched
	buf     []byte
	base    int64 // place of buf[0] in what is searched
	lines   int64 // line ends before base+counted
	counted int
	newline int64 // place behind the last of them
}

func (t *text) scan(r io.Reader) error {
	from := 0
	var err error
	for first := true; ; first = false {
		for err == nil && len(t.buf) < pieceSize {
			if len(t.buf) == cap(t.buf) { // small files need no large buffer
				t.buf = append(make([]byte, 0, min(4*cap(t.buf), pieceSize)), t.buf...)
			}
			var n int
			n, err = r.Read(t.buf[len(t.buf):cap(t.buf)])
			t.buf = t.buf[:len(t.buf)+n]
			if first && t.enc == "" && len(t.buf) >= 2 {
				if order := byteOrder(t.buf); order != nil {
					t.enc, t.scale, t.shift = UTF16, 2, 2
					r = &utf16Reader{r: io.MultiReader(bytes.NewReader(bytes.Clone(t.buf[2:])), failed{r, err}), order: order}
					t.buf, err = t.buf[:0], nil
				}
			}
		}
		if first {
			t.table = newTable(t.buf)
		}
		to := len(t.buf)
		if err == nil {
			to = cut(t.buf, from)
		}
		if !t.piece(from, to) {
			return nil
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		keep := max(0, to-history)
		t.countTo(keep)
		t.base += int64(keep)
		t.counted = 0
		from = to - keep
		t.buf = t.buf[:copy(t.buf, t.buf[keep:])]
	}
}

// failed ends like a reader that has returned its error already.
type failed struct {
	io.Reader
	err error
}

func (f failed) Read(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	return f.Reader.Read(p)
}

// cut returns where the next piece begins: behind a line end, else before a place in which no
// number and no token can go on.
func cut(b []byte, from int) int {
	last := len(b) - lookahead
	if i := bytes.LastIndexByte(b[max(from, len(b)-maxLine):], '\n'); i >= 0 {
		return max(from, len(b)-maxLine) + i + 1
	}
	for i := last; i > max(from, last-lookahead); i-- {
		if classes[b[i]] == 0 {
			return i
		}
	}
	return last
}

// piece searches a part of the buffer.
func (t *text) piece(from, to int) bool {
	s := search{Detector: t.Detector, data: t.buf, from: from, to: to, rates: t.rates, table: t.table}
	s.run()
	found := s.judge()
	told := map[int]bool{} // secrets, by place: they may be near to several numbers
	for _, c := range found {
		if !t.report(&s, c) {
			return false
		}
		if c.confidence < Medium || c.kind != CardNumber {
			continue
		}
		going := true
		s.near(c, func(c candidate) {
			if !told[c.start] {
				told[c.start] = true
				going = going && t.report(&s, c)
			}
		})
		if !going {
			return false
		}
	}
	t.rates.age()
	return true
}

func (t *text) report(s *search, c candidate) bool {
	p := t.at
	t.countTo(c.start)
	here := t.base + int64(c.start)
	p.Offset += t.shift + here*t.scale
	p.Line, p.Column = t.lines+1, here-t.newline+1
	if c.start < t.counted { // found beside a number further on
		p.Line, p.Column = 0, 0
	}
	if isBinary(t.buf[max(0, c.start-256):min(len(t.buf), c.end+256)]) {
		p.Line, p.Column = 0, 0
	}
	if name := s.columnAt(c.start); name != "" {
		p.Field = t.safe(name)
	}
	return t.yield(t.detection(p, c, t.enc))
}

// countTo counts the line ends before buf[i].
func (t *text) countTo(i int) {
	if i <= t.counted {
		return
	}
	b := t.buf[t.counted:i]
	if n := bytes.Count(b, []byte{'\n'}); n > 0 {
		t.lines += int64(n)
		t.newline = t.base + int64(t.counted+bytes.LastIndexByte(b, '\n')+1)
	}
	t.counted = i
}

// safe returns a name that goes into findings: without card numbers, and not too long.
func (d *Detector) safe(name string) string {
	if len(name) > 200 {
		name = name[:200]
	}
	cleaned := []byte(name)
	d.iins.Clean(cleaned)
	return strings.ToValidUTF8(string(cleaned), "?")
}

// detection makes a candidate into what is told of it.
func (d *Detector) detection(p Place, c candidate, enc Encoding) Detection {
	out := Detection{Place: p, Kind: c.kind, Brand: c.brand, Encoding: c.enc, Confidence: c.confidence, Reason: c.reason}
	if enc != "" && (c.enc == ASCII || c.enc == ASCIIGrouped) {
		out.Encoding = enc
	}
	// A fingerprint of three digits would tell them.
	if c.n > 0 {
		out.Masked, out.Fingerprint = masked(c.digits[:c.n]), d.fingerprint(c.digits[:c.n])
	}
	return out
}

func byteOrder(b []byte) binary.ByteOrder {
	switch {
	case b[0] == 0xff && b[1] == 0xfe:
		return binary.LittleEndian
	case b[0] == 0xfe && b[1] == 0xff:
		return binary.BigEndian
	}
	return nil
}

// utf16Reader reads UTF-16 as one byte a code unit: ASCII as it is, everything else as a
// question mark, so that places can be told.
type utf16Reader struct {
	r     io.Reader
	order binary.ByteOrder
	odd   []byte // half a code unit
	buf   [4096]byte
}

func (u *utf16Reader) Read(p []byte) (int, error) {
	n := copy(u.buf[:], u.odd)
	m, err := u.r.Read(u.buf[n:min(len(u.buf), max(n+1, 2*len(p)))])
	m += n
	units := m / 2
	for i := range units {
		c := u.order.Uint16(u.buf[2*i:])
		p[i] = '?'
		if c < utf8.RuneSelf && !utf16.IsSurrogate(rune(c)) {
			p[i] = byte(c)
		}
	}
	u.odd = append(u.odd[:0], u.buf[2*units:m]...)
	return units, err
}
