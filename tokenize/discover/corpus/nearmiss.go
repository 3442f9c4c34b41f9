package corpus

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/cardlake/cardlake/card"
)

// nearMiss is a kind of number that is no card number.
type nearMiss struct {
	name string
	key  string // under which programs keep it
	make func(g *Generator, i int) string
}

func luhn(body string) string { return body + string(card.LuhnDigit([]byte(body))) }

func weighted(body string, weights []int) int {
	sum := 0
	for i := range body {
		sum += int(body[i]-'0') * weights[i%len(weights)]
	}
	return sum
}

// CNPJ draws a Brazilian company number, 14 digits.
func (g *Generator) CNPJ() string {
	branch := "0001"
	if g.r.IntN(10) == 0 {
		branch = fmt.Sprintf("%04d", 1+g.r.IntN(90))
	}
	b := g.digits(8) + branch
	for _, weights := range [][]int{{5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2}, {6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2}} {
		check := 11 - weighted(b, weights)%11
		if check > 9 {
			check = 0
		}
		b += fmt.Sprint(check)
	}
	return b
}

// UUID draws a random one (RFC 9562, version 4).
func (g *Generator) UUID() string {
	return fmt.Sprintf("%s-%s-4%s-%s%s-%s", g.hex(8), g.hex(4), g.hex(3), g.pick("8", "9", "a", "b"), g.hex(3), g.hex(12))
}

func nearMisses() []nearMiss {
	const epoch = 1_732_283_170
	return []nearMiss{
		{"IMEI", "imei", func(g *Generator, _ int) string {
			return luhn(g.pick("35", "86", "01", "99") + g.digits(12))
		}},
		{"IMEISV", "imeisv", func(g *Generator, _ int) string { return "35" + g.digits(14) }},
		{"ICCID", "iccid", func(g *Generator, _ int) string { return luhn("8954" + g.digits(14)) }},
		{"order of 16 digits", "order_id", func(g *Generator, _ int) string { return g.between(1e15, 9999999999999998) }},
		{"order of a shop (13 digits)", "order_id", func(g *Generator, i int) string { return fmt.Sprint(4_500_000_000_000 + i*32_771 + g.r.IntN(9999)) }},
		{"order of a marketplace", "pedido", func(g *Generator, _ int) string { return "2000" + g.digits(12) }},
		{"orders in sequence", "orderNumber", func(_ *Generator, i int) string { return fmt.Sprint(4_555_000_000_000_000 + i) }},
		{"epoch ms", "timestamp", func(g *Generator, _ int) string { return fmt.Sprint(epoch*1000 + g.r.Int64N(1e9)) }},
		{"epoch µs", "ts", func(g *Generator, _ int) string { return fmt.Sprint(epoch*1000000 + g.r.Int64N(1e12)) }},
		{"epoch ns", "time_ns", func(g *Generator, _ int) string { return fmt.Sprint(epoch*1000000000 + g.r.Int64N(1e15)) }},
		{"YYYYMMDDhhmmss", "fecha", func(g *Generator, _ int) string {
			return strings.NewReplacer("-", "", "T", "", ":", "", ".", "", "Z", "").Replace(g.when())[:14]
		}},
		{"YYYYMMDDhhmmssmmm", "fecha", func(g *Generator, _ int) string {
			return strings.NewReplacer("-", "", "T", "", ":", "", ".", "", "Z", "").Replace(g.when())
		}},
		{"DDMMYYYYhhmmss", "data_hora", func(g *Generator, _ int) string {
			w := g.when()
			return w[8:10] + w[5:7] + w[0:4] + w[11:13] + w[14:16] + w[17:19]
		}},
		{"UUID", "request_id", func(g *Generator, _ int) string { return g.UUID() }},
		{"UUID of mostly digits", "request_id", func(g *Generator, _ int) string {
			return g.digits(8) + "-" + g.digits(4) + "-4" + g.digits(3) + "-8" + g.digits(3) + "-" + g.digits(11) + "a"
		}},
		{"CNPJ", "cnpj", func(g *Generator, _ int) string { return g.CNPJ() }},
		{"CNPJ with points", "cnpj", func(g *Generator, _ int) string {
			c := g.CNPJ()
			return c[:2] + "." + c[2:5] + "." + c[5:8] + "/" + c[8:12] + "-" + c[12:]
		}},
		{"CPF", "cpf", func(g *Generator, _ int) string {
			return g.digits(3) + "." + g.digits(3) + "." + g.digits(3) + "-" + g.digits(2)
		}},
		{"phone", "telefono", func(g *Generator, _ int) string {
			return g.pick("+549"+g.digits(10), "+55"+g.digits(11), "+34"+g.digits(9), "54 9 11 "+g.digits(4)+" "+g.digits(4), "+52 1 "+g.digits(2)+" "+g.digits(4)+" "+g.digits(4))
		}},
		{"acquirer reference of 23 digits", "arn", func(g *Generator, _ int) string { return g.pick("2", "7", "8") + "4" + g.digits(21) }},
		{"retrieval reference", "rrn", func(g *Generator, _ int) string { return "6326" + g.digits(8) }},
		{"CLABE", "clabe", func(g *Generator, _ int) string {
			b := g.pick("646180", "012180", "072580", "640001") + g.digits(11)
			sum := 0
			for i := range b {
				sum += int(b[i]-'0') * []int{3, 7, 1}[i%3] % 10
			}
			return b + fmt.Sprint((10-sum%10)%10)
		}},
		{"CBU", "cbu", func(g *Generator, _ int) string { return "0110" + g.digits(18) }},
		{"EAN-13", "ean", func(g *Generator, _ int) string {
			b := g.pick("779", "789", "400", "455") + g.digits(9)
			return b + fmt.Sprint((10-weighted(b, []int{1, 3})%10)%10)
		}},
		{"invoice key of 44 digits", "chave_nfe", func(g *Generator, _ int) string { return "3526" + g.digits(40) }},
		{"SHA-256", "sha256", func(g *Generator, _ int) string { return g.hex(64) }},
		{"hash of 40", "commit", func(g *Generator, _ int) string { return g.hex(40) }},
		{"coordinates", "position", func(g *Generator, _ int) string { return "-34." + g.digits(15) + ",-58." + g.digits(15) }},
		{"identifier of 19 digits", "message_id", func(g *Generator, _ int) string { return fmt.Sprint(1_300_000_000_000_000_000 + g.r.Int64N(2e17)) }},
		{"parcel", "tracking", func(g *Generator, _ int) string {
			return g.pick("9400"+g.digits(18), g.digits(15), "AA"+g.digits(9)+"BR")
		}},
		{"session of a phone user", "session", func(g *Generator, _ int) string { return g.between(1e14, 9e14) }},
		{"base64 of random bytes", "signature", func(g *Generator, _ int) string { return base64.StdEncoding.EncodeToString(g.bytes(48)) }},
		{"token", "card_token", func(g *Generator, _ int) string {
			b := make([]byte, 32)
			for i := range b {
				b[i] = byte('a' + g.r.IntN(16))
			}
			return "tk1_" + string(b)
		}},
		{"IP and ports", "peer", func(g *Generator, _ int) string {
			return fmt.Sprintf("10.%d.%d.%d:%d", g.r.IntN(256), g.r.IntN(256), g.r.IntN(256), 1024+g.r.IntN(60000))
		}},
	}
}

// NearMisses makes four files of n numbers of each kind: as values of JSON, as a column, in log
// lines, and alone, one a line.
func (g *Generator) NearMisses(n int) (out []Sample) {
	for _, k := range nearMisses() {
		forms := map[string]func(i int) string{
			"json": func(i int) string {
				return fmt.Sprintf(`{"at":%q,"%s":"%s","status":"ok"}`, g.when(), k.key, k.make(g, i))
			},
			"csv": func(i int) string {
				if i == 0 {
					return "id;" + k.key + ";note"
				}
				return fmt.Sprintf("%d;%s;%s", i, k.make(g, i), g.words(3))
			},
			"log": func(i int) string {
				return fmt.Sprintf("%s INFO [%s] %s %s=%s %s", g.when(), g.word(), g.words(2), k.key, k.make(g, i), g.words(2))
			},
			"txt": func(i int) string { return k.make(g, i) },
		}
		for _, form := range []string{"json", "csv", "log", "txt"} {
			out = append(out, Sample{Category: k.name, Name: k.name + "." + form, Data: lines(n, forms[form]), NearMisses: n})
		}
	}
	// The same by themselves: a file each, in which no share can be known.
	for _, k := range nearMisses() {
		if k.name == "identifier of 19 digits" {
			continue
		}
		for i := range n / 20 {
			out = append(out, Sample{Category: "alone with its name", Name: "alone.json", Data: fmt.Appendf(nil, `{"%s": "%s"}`, k.key, k.make(g, i)), NearMisses: 1})
		}
	}
	const size = 1 << 20
	out = append(out, Sample{Category: "random bytes", Name: "random.bin", Data: g.bytes(size), NearMisses: size / 16})
	return out
}
