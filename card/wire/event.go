package wire

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"

	"github.com/cardlake/cardlake"
)

// decodeEvent reads the fields of an event into r and returns its sealed card number. It
// notes where the texts lie and copies none.
func decodeEvent(data []byte, r *cardlake.Row) (sealed []byte, err error) {
	e := event{data: data, spans: &r.Spans}
	r.EventID, r.TransactionID = e.id("event_id"), e.id("transaction_id")
	names := e.at
	e.texts(cardlake.TextEventType, cardlake.TextRegion)
	e.checkTexts(names, cardlake.TextEventType, cardlake.TextRegion)
	r.EventTime = e.long("event_time")
	r.LocalTime = e.optionalLong("local_time")
	names = e.at
	e.optionals(cardlake.TextCustomerID, cardlake.TextAccountID)
	e.texts(cardlake.TextNetwork, cardlake.TextNetwork)
	e.optionals(cardlake.TextProduct, cardlake.TextProduct)
	e.checkTexts(names, cardlake.TextCustomerID, cardlake.TextProduct)
	r.Amount = e.long("amount")
	names = e.at
	e.texts(cardlake.TextCurrency, cardlake.TextCurrency)
	e.checkTexts(names, cardlake.TextCurrency, cardlake.TextCurrency)
	r.BillingAmount = e.optionalLong("billing_amount")
	names = e.at
	e.optionals(cardlake.TextBillingCurrency, cardlake.TextAcquirerID)
	e.texts(cardlake.TextChannel, cardlake.TextEntryMode)
	r.CardPresent = e.bool("card_present")
	e.optionals(cardlake.TextWallet, cardlake.TextECI)
	e.texts(cardlake.TextResponseCode, cardlake.TextResponseCode)
	r.Approved = e.bool("approved")
	e.optionals(cardlake.TextDeclineReason, cardlake.TextAVSResult)
	e.checkTexts(names, cardlake.TextBillingCurrency, cardlake.TextAVSResult)
	r.PINVerified = cardlake.Unknown
	if e.present("pin_verified") {
		r.PINVerified = cardlake.TruthOf(e.bool("pin_verified"))
	}
	latency := e.long("latency_us")
	r.LatencyMicros = int32(latency)
	if int64(r.LatencyMicros) != latency {
		e.fail("latency_us", "does not fit 32 bits")
	}
	names = e.at
	e.texts(cardlake.TextMTI, cardlake.TextMTI)
	e.optionals(cardlake.TextProcessingCode, cardlake.TextRRN)
	e.checkTexts(names, cardlake.TextMTI, cardlake.TextRRN)
	clear := e.at
	from, to, ok := e.bytes(clear)
	if !ok {
		e.fail("sealed", "is cut short")
	} else if to != len(data) {
		e.fail("sealed", "is followed by more bytes")
	}
	if e.field != "" {
		return nil, fmt.Errorf("%w: field %s %s", ErrUndecodable, e.field, e.rule)
	}
	r.Data = data[:clear:clear]
	return data[from:to:to], nil
}

// event walks the fields of an event. After the first fault it is at the end of no data, and
// every field is zero.
type event struct {
	data        []byte
	at          int
	spans       *[cardlake.TextCount]cardlake.Span
	field, rule string // of the first fault
}

func (e *event) fail(field, rule string) {
	if e.field == "" {
		e.field, e.rule = field, rule
	}
	e.data, e.at = nil, 0
}

// isLong are the bits of a length's first byte of which one is set unless the length is less
// than 64 and not negative, and the byte all of its zig-zag varint, as is nearly always so.
const isLong = 0x81

// texts reads the strings first to last.
func (e *event) texts(first, last cardlake.Text) {
	data, at := e.data, e.at
	spans := e.spans[first : last+1]
	for i := range spans {
		if at < len(data) {
			size := int(data[at])
			if to := at + 1 + size>>1; size&isLong == 0 && to <= len(data) {
				spans[i] = cardlake.SpanOf(at+1, to)
				at = to
				continue
			}
		}
		from, to, ok := e.bytes(at)
		if !ok {
			e.fail((first + cardlake.Text(i)).String(), "is cut short")
			return
		}
		spans[i] = cardlake.SpanOf(from, to)
		at = to
	}
	e.at = at
}

// optionals reads the unions of null and string first to last; a null is an empty text. Which
// branch a union has is hard to foresee, so it is computed with and not branched on.
func (e *event) optionals(first, last cardlake.Text) {
	data, at := e.data, e.at
	spans := e.spans[first : last+1]
	for i := range spans {
		if at+1 < len(data) {
			union, size := int(data[at]), int(data[at+1])
			has := union >> 1
			from := at + 1 + has
			size &= -has
			if to := from + size>>1; union&^unionValue|size&isLong == 0 && to <= len(data) {
				spans[i] = cardlake.SpanOf(from, to)
				at = to
				continue
			}
		}
		e.at = at
		field := (first + cardlake.Text(i)).String()
		from, to, ok := at+1, at+1, true
		if e.present(field) {
			from, to, ok = e.bytes(e.at)
		}
		if e.field != "" || !ok {
			e.fail(field, "is cut short")
			return
		}
		spans[i] = cardlake.SpanOf(from, to)
		at = to
	}
	e.at = at
}

// bytes returns where the length-prefixed bytes at a place lie, and false if they are cut
// short or their length is no varint.
func (e *event) bytes(at int) (from, to int, ok bool) {
	size, n := binary.Varint(e.data[at:])
	if n <= 0 || size < 0 || size > int64(len(e.data)-at-n) {
		return 0, 0, false
	}
	return at + n, at + n + int(size), true
}

// checkTexts sees to it that the texts first to last, which lie between the place from and
// here, are UTF-8. Mostly all is ASCII between them too.
func (e *event) checkTexts(from int, first, last cardlake.Text) {
	if e.field != "" || isASCII(e.data[from:e.at]) {
		return
	}
	for t := first; t <= last; t++ {
		if s := e.data[e.spans[t].From():e.spans[t].To()]; !isASCII(s) && !utf8.Valid(s) {
			e.fail(t.String(), "is not UTF-8")
			return
		}
	}
}

func isASCII(b []byte) bool {
	const high = 0x8080808080808080
	some := uint64(0)
	for ; len(b) >= 16; b = b[16:] {
		some |= binary.LittleEndian.Uint64(b) | binary.LittleEndian.Uint64(b[8:])
	}
	for _, c := range b {
		some |= uint64(c)
	}
	return some&high == 0
}

func (e *event) long(field string) int64 {
	v, n := binary.Varint(e.data[e.at:])
	if n <= 0 {
		e.fail(field, "is not a varint")
		return 0
	}
	e.at += n
	return v
}

func (e *event) optionalLong(field string) int64 {
	if !e.present(field) {
		return 0
	}
	return e.long(field)
}

func (e *event) present(field string) bool {
	if e.at < len(e.data) {
		switch e.data[e.at] {
		case unionNull:
			e.at++
			return false
		case unionValue:
			e.at++
			return true
		}
	}
	e.fail(field, "has no valid union branch")
	return false
}

func (e *event) bool(field string) bool {
	if e.at >= len(e.data) || e.data[e.at] > 1 {
		e.fail(field, "is not a boolean")
		return false
	}
	e.at++
	return e.data[e.at-1] == 1
}

func (e *event) id(field string) (id cardlake.EventID) {
	if len(e.data)-e.at < len(id) {
		e.fail(field, "is cut short")
		return id
	}
	e.at += copy(id[:], e.data[e.at:])
	return id
}
