package features

// cardState is what is remembered of a card.
type cardState struct {
	window    window[uint16]
	spread    spread
	first     uint32 // second in which it was seen first
	declines  uint16 // in a row
	rising    uint8
	countries [8]uint8
	mccs      [12]uint16
	entries   habit // by Entry
	hours     habit // by three hours of the day
	spots     spots
	amount    float32 // of the latest use, 0 if unknown
	presentAt uint32  // second of the latest use while present, 0 if there was none
	present   Place   // where that was
	visits    visits
	terminals terminals
}

// merchantState is what is remembered of a merchant.
type merchantState struct {
	window window[uint32]
	spread spread
	first  uint32
	tries  tries
}

// terminalState is what is remembered of a terminal.
type terminalState struct {
	window window[uint32]
	spread spread
	first  uint32
	cards  tenDays // cards that were present here, for the first time or not for long
	odd    tenDays // those of them that went on to an odd use elsewhere
}

// binState is what is remembered of a BIN.
type binState struct {
	window  window[uint32]
	first   uint32
	turned  uint32    // second to which the two rings below are turned
	cards   [6]uint32 // first in a bucket of ten minutes
	unknown [6]uint32
}

func (b *binState) turn(now uint32) {
	t := &tiers[inHour]
	from, to := b.turned/t.width, now/t.width
	if from != to {
		for k := max(from+1, to-min(to, t.n-1)); k <= to; k++ {
			b.cards[k%t.n], b.unknown[k%t.n] = 0, 0
		}
	}
	b.turned = now
}

// mccState is what is remembered of a merchant category.
type mccState struct{ spread spread }

// surge tells how unusual it is that there are count events in an hour, with the one of the
// moment, where a month has had so many since first.
func surge(hour, month float32, first, now uint32) float32 {
	expected := month * 3600 / float32(min(max(now-first, day), 28*day))
	return (hour + 1 - expected) / sqrt(expected+1)
}
