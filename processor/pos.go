package processor

import "github.com/cardlake/cardlake"

// Entry modes, as the lake names them.
const (
	entryUnknown     = "unknown"
	entryManual      = "manual"
	entryChip        = "chip"
	entryContactless = "contactless"
	entryMagstripe   = "magstripe"
	entryFallback    = "fallback"
	entryEcommerce   = "ecommerce"
)

// entryModes reads the first two digits of DE 22, how the card number was entered: ISO
// 8583:1987 with the networks' later additions 07, 80, 81 and 91.
var entryModes = map[string]string{
	"01": entryManual,
	"02": entryMagstripe,
	"05": entryChip,
	"07": entryContactless,
	"80": entryFallback, // chip card read by its stripe
	"81": entryEcommerce,
	"90": entryMagstripe, // whole track, unaltered
	"91": entryContactless,
}

// cardNotPresent are the conditions of DE 25 (ISO 8583:1987) under which the card
// was not at the terminal, however its number was entered.
var cardNotPresent = map[string]bool{
	"01": true, // customer not present
	"05": true, // customer present, card not present
	"08": true, // mail or telephone order
	"59": true, // electronic commerce
}

const (
	mccATM         = "6011" // ISO 18245: automated cash disbursement
	cashWithdrawal = "01"   // DE 3, first two digits
	mailTelephone  = "08"   // DE 25
	electronic     = "59"   // DE 25
)

// pointOfService tells where and how the card was used.
func pointOfService(r *request) (channel cardlake.Channel, entry string, present bool) {
	entry = entryUnknown
	if len(r.entry) == 3 {
		if e, ok := entryModes[r.entry[:2]]; ok {
			entry = e
		}
	}
	switch {
	case r.mcc == mccATM || r.processing[:2] == cashWithdrawal:
		channel = cardlake.ATM
	case r.condition == mailTelephone:
		channel = cardlake.Phone
	case r.condition == electronic || entry == entryEcommerce:
		channel = cardlake.Ecommerce
	default:
		channel = cardlake.POS
	}
	present = entry != entryUnknown && entry != entryEcommerce && !cardNotPresent[r.condition]
	return channel, entry, present
}
