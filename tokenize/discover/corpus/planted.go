package corpus

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
)

// Planted makes the samples with card data, of about n numbers a category.
func (g *Generator) Planted(n int) ([]Sample, error) {
	out := append(g.brands(), g.texts(n)...)
	out = append(out, g.encodings(n)...)
	containers, err := g.containers(n)
	return append(out, containers...), err
}

// brands has a number of each range and length, in three spellings, with nothing said around
// them.
func (g *Generator) brands() (out []Sample) {
	byBrand := map[string]*Sample{}
	for _, iin := range g.iins {
		s := byBrand[iin.Brand]
		if s == nil {
			s = &Sample{Category: "brand " + iin.Brand, Name: "brand.txt"}
			byBrand[iin.Brand] = s
		}
		for n := 13; n <= 19; n++ {
			if iin.Lengths>>n&1 == 0 {
				continue
			}
			for _, sep := range []string{"", " ", "-"} {
				d := g.OfRange(iin, n)
				text := d
				if sep != "" {
					text = Grouped(d, sep)
				}
				s.Planted = append(s.Planted, d)
				s.Data = append(s.Data, g.words(3)+" "+text+", "+g.words(2)+"\n"...)
			}
		}
	}
	for _, s := range byBrand {
		out = append(out, *s)
	}
	return out
}

// texts has numbers in the forms in which programs and people leave them in text.
func (g *Generator) texts(n int) (out []Sample) {
	form := func(category, name string, line func(i int, d string) string) {
		planted := g.numbers(n)
		out = append(out, Sample{Category: category, Name: name, Planted: planted, Data: lines(n, func(i int) string { return line(i, planted[i]) })})
	}
	form("alone", "alone.txt", func(_ int, d string) string { return d })
	form("prose", "notes.txt", func(_ int, d string) string { return g.words(6) + " " + d + ". " + g.words(4) })
	form("Spanish", "notas.txt", func(_ int, d string) string {
		return "El cliente pagó con la tarjeta " + Grouped(d, " ") + ", " + g.words(3)
	})
	form("Portuguese", "notas.txt", func(_ int, d string) string { return "cartão nº " + d + " recusado " + g.words(3) })
	form("log", "app.log", func(_ int, d string) string {
		return g.when() + " WARN [" + g.word() + "] " + g.words(2) + " pan=" + d + " amount=" + g.digits(4) + " trace=" + g.UUID()
	})
	form("log without a name", "app.log", func(_ int, d string) string {
		return g.when() + " DEBUG body=" + g.pick("x", "y") + "|" + d + "|" + g.digits(4) + "|" + g.words(1)
	})
	form("JSON", "events.ndjson", func(i int, d string) string {
		return fmt.Sprintf(`{"id":%d,"at":"%s","payment":{"card":{"number":"%s","exp":"12/29"}},"order_id":"%s"}`, i, g.when(), d, g.digits(16))
	})
	form("JSON number", "events.ndjson", func(i int, d string) string {
		return fmt.Sprintf(`{"id":%d,"cardNumber":%s,"trace":"%s"}`, i, d, g.hex(32))
	})
	form("XML", "batch.xml", func(_ int, d string) string {
		return "<Txn><PAN>" + d + "</PAN><RRN>" + g.digits(12) + "</RRN></Txn>"
	})
	form("query string", "access.log", func(_ int, d string) string {
		return `10.1.2.3 - - "GET /pay?order=` + g.digits(16) + "&card=" + d + `&amount=100 HTTP/1.1" 200`
	})
	form("with expiry and code", "chat.txt", func(_ int, d string) string { return g.words(2) + ": " + Grouped(d, " ") + " 12/29 " + g.digits(3) })
	form("CSV", "export.csv", func(i int, d string) string {
		if i == 0 {
			return "id,card_number,order,when\n0," + d + "," + g.digits(16) + "," + g.when()
		}
		return fmt.Sprintf("%d,%s,%s,%s", i, d, g.digits(16), g.when())
	})
	form("CSV without a header", "export.csv", func(i int, d string) string { return fmt.Sprintf(`%d;"%s";%s;x`, i, d, g.words(2)) })
	form("column with another name", "export.csv", func(i int, d string) string {
		if i == 0 {
			return "id,reference,note\n0," + d + ",x"
		}
		return fmt.Sprintf("%d,%s,%s", i, d, g.words(1))
	})
	form("a few among other numbers", "mixed.txt", func(_ int, d string) string {
		return g.UUID() + "\n" + g.CNPJ() + "\n" + d + "\n" + luhn("35"+g.digits(12))
	})
	form("floats", "frame.csv", func(i int, d string) string { return fmt.Sprintf("%d,%s.0,%s", i, d, g.digits(2)) })

	tracks := g.numbers(n)
	for i := range tracks {
		for len(tracks[i]) > 16 {
			tracks[i] = g.Number()
		}
	}
	out = append(out,
		Sample{Category: "track 1", Name: "pos.log", Planted: tracks, Secrets: n, Data: lines(n, func(i int) string {
			return g.when() + " %B" + tracks[i] + "^GARCIA/ANA MARIA          ^2912101" + g.digits(12) + "?"
		})},
		Sample{Category: "track 2", Name: "pos.log", Planted: tracks, Secrets: n, Data: lines(n, func(i int) string {
			return g.when() + " ;" + tracks[i] + "=2912101" + g.digits(9) + "?"
		})},
		Sample{Category: "track 2 of a chip, in hexadecimal", Name: "emv.log", Planted: tracks, Secrets: n, Data: lines(n, func(i int) string {
			v := tracks[i] + "D2912201" + g.digits(9)
			if len(v)%2 == 1 {
				v += "F"
			}
			return g.when() + " tlv=9F2608A1B2C3D4E5F60718" + fmt.Sprintf("57%02X", len(v)/2) + v + "5F3401019F3602001C"
		})},
		Sample{Category: "security code", Name: "form.log", Planted: tracks, Secrets: n, Data: lines(n, func(i int) string {
			return fmt.Sprintf(`{"card_number":"%s","expiry":"1229","cvv":"%s"}`, tracks[i], g.digits(3))
		})},
		Sample{Category: "PIN block", Name: "switch.log", Planted: tracks, Secrets: n, Data: lines(n, func(i int) string {
			return fmt.Sprintf(`pan=%s pin_block=%s stan=%s`, tracks[i], strings.ToUpper(g.hex(16)), g.digits(6))
		})},
	)
	return out
}

// wide is UTF-16 without a byte order mark.
func wide(text string, big bool) (out []byte) {
	for _, u := range utf16.Encode([]rune(text)) {
		if big {
			out = append(out, byte(u>>8), byte(u))
		} else {
			out = append(out, byte(u), byte(u>>8))
		}
	}
	return out
}

// ebcdic is code page 037, of which it knows letters, digits and a few signs.
func ebcdic(text string) []byte {
	out := make([]byte, len(text))
	for i := range len(text) {
		switch c := text[i]; {
		case c >= '0' && c <= '9':
			out[i] = 0xf0 + c - '0'
		case c|0x20 >= 'a' && c|0x20 <= 'z':
			at := (c | 0x20) - 'a'
			out[i] = 0x81 + at
			if at >= 9 {
				out[i] = 0x91 + at - 9
			}
			if at >= 18 {
				out[i] = 0xa2 + at - 18
			}
			if c < 'a' {
				out[i] += 0x40
			}
		default:
			out[i] = map[byte]byte{' ': 0x40, '-': 0x60, '=': 0x7e, ';': 0x5e, '?': 0x6f, ':': 0x7a, '\n': 0x25}[c]
		}
	}
	return out
}

// packed is two digits a byte, with a filler behind an odd number of them.
func packed(d string) []byte {
	if len(d)%2 == 1 {
		d += "F"
	}
	b, err := hex.DecodeString(d)
	if err != nil {
		panic(err)
	}
	return b
}

// encodings has numbers in other spellings than ASCII.
func (g *Generator) encodings(n int) (out []Sample) {
	form := func(category, name string, record func(d string) []byte) {
		s := Sample{Category: category, Name: name, Planted: g.numbers(n)}
		for _, d := range s.Planted {
			s.Data = append(s.Data, record(d)...)
		}
		out = append(out, s)
	}
	form("UTF-16 little-endian", "le.txt", func(d string) []byte { return wide("tarjeta: "+d+", año\n", false) })
	form("UTF-16 big-endian", "be.txt", func(d string) []byte { return wide(g.words(2)+" "+Grouped(d, "-")+" ñ\n", true) })
	form("EBCDIC", "mainframe.dat", func(d string) []byte { return ebcdic(fmt.Sprintf("%-20s%-20s\n", g.pick("CARD", "PAGO"), d)) })
	form("EBCDIC in groups", "mainframe.dat", func(d string) []byte { return ebcdic("TEXT " + Grouped(d, " ") + " END\n") })
	form("packed in an EMV tag", "emv.bin", func(d string) []byte {
		v := packed(d)
		return bytes.Join([][]byte{{0x9f, 0x26, 8}, g.bytes(8), {0x5a, byte(len(v))}, v, {0x5f, 0x34, 1, 1, 0x82, 2, 0x39, 0}}, nil)
	})
	form("packed in ISO 8583", "iso.bin", func(d string) []byte {
		length := byte(len(d)/10<<4 | len(d)%10)
		body := d
		if len(d)%2 == 1 {
			body = "0" + d
		}
		return bytes.Join([][]byte{{0, 0x60, 1, 0, 0x72, 0x3c, 0x44, 0x81, 0x28, 0xc0, 0x98, 0, length}, packed(body), packed("000000" + g.digits(12) + g.digits(10)), {0xff}}, nil)
	})
	form("packed records", "records.bin", func(d string) []byte {
		return bytes.Join([][]byte{{0xff}, packed(d), {0xfe}, []byte(g.word()), {0}}, nil)
	})
	form("hexadecimal", "dump.txt", func(d string) []byte { return []byte("data=" + hex.EncodeToString([]byte(d)) + "\n") })
	form("hexadecimal of text", "dump.txt", func(d string) []byte {
		return []byte(hex.EncodeToString([]byte(g.words(2)+" card "+d+" "+g.word())) + "\n")
	})
	form("base64", "mail.txt", func(d string) []byte { return []byte("blob: " + base64.StdEncoding.EncodeToString([]byte(d)) + "\n") })
	form("base64 of JSON", "queue.ndjson", func(d string) []byte {
		return fmt.Appendf(nil, `{"payload":"%s"}`+"\n", base64.StdEncoding.EncodeToString(fmt.Appendf(nil, `{"card":{"number":"%s"},"ok":true}`, Grouped(d, " "))))
	})
	form("base64 of URLs", "queue.ndjson", func(d string) []byte {
		return fmt.Appendf(nil, "token=%s;\n", base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `ÿ?{"pan":"%s"}`, d)))
	})
	// MIME: one long text in lines of 76 characters.
	planted := g.numbers(n)
	text := base64.StdEncoding.EncodeToString(lines(n, func(i int) string { return g.words(2) + " tarjeta " + planted[i] }))
	var mime strings.Builder
	for len(text) > 76 {
		mime.WriteString(text[:76] + "\r\n")
		text = text[76:]
	}
	out = append(out, Sample{Category: "base64 in lines", Name: "mail.eml", Planted: planted, Data: []byte(mime.String() + text + "\r\n")})
	return out
}

// integer is a number as programs keep it in 64 bits.
func integer(d string) int64 {
	v, err := strconv.ParseInt(d, 10, 64)
	if err != nil {
		panic("a number of 19 digits beyond 64 bits") // OfLength(16) gives none
	}
	return v
}
