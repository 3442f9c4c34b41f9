package discover

import "strings"

// hint is what the words before a number say of it.
type hint int8

const (
	lowers  hint = -1
	neutral hint = 0
	raises  hint = 1
)

// maxBefore is how many bytes before a number are read for words.
const maxBefore = 64

// words that stand before card numbers, in the languages of the countries served.
var raising = wordSet(`pan pans card cards cc ccn ccnum ccno cardnumber cardno cardnum cardpan cardnr creditcard debitcard payment
	tarjeta tarjetas tarj ntarjeta numtarjeta nrotarjeta tdc tdd plastico plástico cartao cartão cartoes cartões numcartao
	visa mastercard amex elo hipercard cabal naranja diners maestro credit credito crédito track track1 track2`)

// lowering are words that stand before other long numbers, by the most digits that those have:
// a longer number is not explained by the word.
var lowering = mostDigits(map[int]string{
	12: `rrn de37 stan nsu`,
	14: `cnpj cpf cuit cuil rut rfc curp nit ruc dni ssn ean gtin isbn upc barcode`,
	15: `phone phones tel fone telefone telefono teléfono celular cel movil móvil mobile whatsapp fax msisdn imsi terminal merchant comercio tid mid`,
	16: `imei imeisv meid`,
	17: `timestamp ts epoch datetime fecha hora`,
	18: `clabe`,
	19: `arn iccid cbu cvu uuid guid hash sha md5 digest checksum etag token order orders pedido pedidos orden ordem invoice factura fatura
			boleto nota tracking rastreo rastreio guia guía shipment envio envío waybill awb parcel serial serie série sn lote batch trace span correlation snapshot`,
})

// loweringKeys are words that only say something as the key of a value: in a sentence, a card
// number may well follow them.
var loweringKeys = wordSet(`transaction transactions transaccion transacción transacao transação txn txid trx operation operacion operación operacao
	request req session sesion sesión sessao ref reference referencia referência id seq sequence contract contrato policy poliza apolice
	customer cliente user usuario message receipt recibo comprobante folio ticket protocolo auth authorization autorizacion approval nonce key`)

func mostDigits(words map[int]string) map[string]int {
	most := map[string]int{}
	for digits, list := range words {
		for w := range strings.FieldsSeq(list) {
			most[w] = digits
		}
	}
	return most
}

func wordSet(s string) map[string]bool {
	set := map[string]bool{}
	for w := range strings.FieldsSeq(s) {
		set[w] = true
	}
	return set
}

// hintOf says what the name of a column says of a number of n digits in it.
func hintOf(name string, n int) hint {
	if len(name) > maxBefore {
		name = name[len(name)-maxBefore:]
	}
	return hintBefore([]byte(name+"="), n)
}

// hintBefore says what the text before a number of n digits says of it. The nearest of the
// last few words that says anything decides. Where the number is the value of a key, only the
// words of the key count.
func hintBefore(before []byte, n int) hint {
	i := len(before)
	keyed := false
	var quote byte
	// White space, quotes and brackets may stand between a number and its word.
	for ; i > 0; i-- {
		switch c := before[i-1]; c {
		case ' ', '\t', '\r', '\n', '(', '[', '{', '#', '*', '\\', 0:
			continue
		case '"', '\'', '`':
			if keyed && quote == 0 {
				quote = c
			}
			continue
		case ':', '=', '>':
			if keyed {
				break
			}
			keyed = true
			continue
		}
		break
	}
	var word [24]byte
	for count := 0; count < 4 && i > 0; {
		c := before[i-1]
		if !isLetter(c) && !isDigit(c) {
			if c == '\n' || keyed && (c == quote && quote != 0 || quote == 0 && strings.IndexByte(",;&?{}<|\"'/\t", c) >= 0) {
				break
			}
			i--
			continue
		}
		// The word in lower case; it begins where a capital follows a small letter too.
		end := i
		for i > 0 && (isLetter(before[i-1]) || isDigit(before[i-1])) {
			i--
			if i > 0 && isUpper(before[i]) && isLower(before[i-1]) {
				break
			}
		}
		if end-i > len(word) {
			count++
			continue
		}
		w := word[:end-i]
		onlyDigits := true
		for j, c := range before[i:end] {
			if isUpper(c) {
				c |= 0x20
			}
			onlyDigits = onlyDigits && isDigit(c)
			w[j] = c
		}
		if onlyDigits {
			if !keyed {
				count++
			}
			continue
		}
		if raising[string(w)] {
			return raises
		}
		if most, ok := lowering[string(w)]; ok {
			if n <= most {
				return lowers
			}
			return neutral
		}
		if keyed && loweringKeys[string(w)] && !raisesBefore(before[:i], quote) {
			return lowers
		}
		count++
	}
	return neutral
}

// raisesBefore reports whether a raising word stands in the same key: card_id is one of a card.
func raisesBefore(before []byte, quote byte) bool {
	i := len(before)
	for i > 0 && (isLetter(before[i-1]) || isDigit(before[i-1]) || before[i-1] == '_' || before[i-1] == '-' || quote != 0 && before[i-1] == ' ') {
		i--
	}
	for _, w := range strings.FieldsFunc(strings.ToLower(string(before[i:])), func(r rune) bool { return r == '_' || r == '-' || r == ' ' }) {
		if raising[w] {
			return true
		}
	}
	return false
}

func isUpper(c byte) bool { return c-'A' < 26 }
func isLower(c byte) bool { return c-'a' < 26 || c >= 0x80 }

// isLetter takes every byte beyond ASCII for part of a letter, so that words with accents hold
// together in UTF-8 and in Latin-1.
func isLetter(c byte) bool { return c|0x20-'a' < 26 || c >= 0x80 }

// explained reports whether digits are more likely another number that has a form of its own:
// a Brazilian CNPJ of one of the first hundred branches, a Mexican CLABE, a point in time.
func explained(d []byte) bool {
	switch len(d) {
	case 14:
		return d[8] == '0' && d[9] == '0' && isCNPJ(d) || isTime(d[4:8], d[2:4], d[0:2], d[8:]) || isTime(d[0:4], d[4:6], d[6:8], d[8:])
	case 17:
		return isTime(d[0:4], d[4:6], d[6:8], d[8:])
	case 18:
		return isCLABE(d)
	}
	return false
}

// isCNPJ checks the two check digits (Receita Federal, Instrução Normativa RFB 2.119/2022).
func isCNPJ(d []byte) bool {
	for last := 12; last <= 13; last++ {
		sum, weight := 0, 2
		for i := last - 1; i >= 0; i-- {
			sum += int(d[i]-'0') * weight
			if weight++; weight > 9 {
				weight = 2
			}
		}
		check := 11 - sum%11
		if check > 9 {
			check = 0
		}
		if int(d[last]-'0') != check {
			return false
		}
	}
	return true
}

// isCLABE checks the check digit of a Mexican account number (Banco de México, CLABE). Only
// the banks 640 to 649 have numbers that begin like a card number of that length.
func isCLABE(d []byte) bool {
	if d[0] != '6' || d[1] != '4' {
		return false
	}
	sum := 0
	for i, w := 0, [3]int{3, 7, 1}; i < 17; i++ {
		sum += int(d[i]-'0') * w[i%3] % 10
	}
	return int(d[17]-'0') == (10-sum%10)%10
}

// isTime reports whether the parts are those of a point in time of 1990 to 2059.
func isTime(year, month, day, rest []byte) bool {
	two := func(b []byte) int { return int(b[0]-'0')*10 + int(b[1]-'0') }
	y := two(year)*100 + two(year[2:])
	return y >= 1990 && y < 2060 && two(month) >= 1 && two(month) <= 12 && two(day) >= 1 && two(day) <= 31 &&
		two(rest) < 24 && two(rest[2:]) < 60 && two(rest[4:]) < 60
}
