package features

// Feature is a place in a [Vector].
type Feature int

// Vector describes an event. Every value is finite; what is unknown or undefined is 0 unless the
// feature says otherwise. Values are as they are, not scaled; their tails are long, so that
// methods that look at distances want them ranked or in logarithms.
type Vector [Features]float32

// The features. Those of a card, merchant and terminal follow one another in the same order, so
// that CardCount1H+k and MerchantCount1H+k mean the same.
const (
	// Of the event alone.
	Amount Feature = iota
	Declined
	UnknownCard
	Present
	ByStripe
	Keyed
	Cash
	Night
	Weekend

	CardCount1H
	CardCount1D
	CardCount7D
	CardCount30D
	CardSum1H
	CardSum1D
	CardSum7D
	CardSum30D
	CardMean1H
	CardMean1D
	CardMean7D
	CardMean30D
	CardDeclined1H
	CardDeclined1D
	CardDeclined7D
	CardDeclined30D
	CardDeviation
	CardSurge
	CardSince

	MerchantCount1H
	MerchantCount1D
	MerchantCount7D
	MerchantCount30D
	MerchantSum1H
	MerchantSum1D
	MerchantSum7D
	MerchantSum30D
	MerchantMean1H
	MerchantMean1D
	MerchantMean7D
	MerchantMean30D
	MerchantDeclined1H
	MerchantDeclined1D
	MerchantDeclined7D
	MerchantDeclined30D
	MerchantDeviation
	MerchantSurge
	MerchantSince

	TerminalCount1H
	TerminalCount1D
	TerminalCount7D
	TerminalCount30D
	TerminalSum1H
	TerminalSum1D
	TerminalSum7D
	TerminalSum30D
	TerminalMean1H
	TerminalMean1D
	TerminalMean7D
	TerminalMean30D
	TerminalDeclined1H
	TerminalDeclined1D
	TerminalDeclined7D
	TerminalDeclined30D
	TerminalDeviation
	TerminalSurge
	TerminalSince

	// The card's habits.
	CardDays
	CardRatio
	CardRising
	CardDeclinesInRow
	CardMerchants1H
	CardMerchants1D
	NewMerchant
	NewMCC
	NewCountry
	NewPlace
	PlaceShare
	EntryShare
	HourShare
	TravelKilometres
	TravelMinutes
	TravelSpeed

	// Peers.
	MCCDeviation
	BINCount1H
	BINSurge
	BINCards1H
	BINDeclined1H
	BINUnknown1H

	// Cards tried at the merchant within ten minutes.
	TriedCards
	TriedOfBIN
	TriedDeclined
	TriedUnknown
	TriedSmall
	TriedShare

	// Terminals where the card has been.
	Marks
	Compromise
	CompromiseCards

	Features int = iota
)

// Offsets from the first feature of a card, merchant or terminal.
const (
	atCount     = CardCount1H - CardCount1H
	atSum       = CardSum1H - CardCount1H
	atMean      = CardMean1H - CardCount1H
	atDeclined  = CardDeclined1H - CardCount1H
	atDeviation = CardDeviation - CardCount1H
	atSurge     = CardSurge - CardCount1H
	atSince     = CardSince - CardCount1H
)

// Definition says what a feature is.
type Definition struct {
	Name    string // lower case with underscores; never changes
	Unit    string
	Meaning string
}

// Definition returns what the feature is. It panics if there is no such feature.
func (f Feature) Definition() Definition {
	for _, g := range [...]struct {
		first Feature
		name  string
	}{{CardCount1H, "card"}, {MerchantCount1H, "merchant"}, {TerminalCount1H, "terminal"}} {
		if k := int(f - g.first); k >= 0 && k < len(history) {
			d := history[k]
			d.Name, d.Meaning = g.name+"_"+d.Name, "at the same "+g.name+", "+d.Meaning
			return d
		}
	}
	if f < CardCount1H {
		return own[f]
	}
	return others[f-CardDays]
}

// String is the feature's name.
func (f Feature) String() string { return f.Definition().Name }

// Names returns the names of all features, in order.
func Names() []string {
	out := make([]string, Features)
	for i := range out {
		out[i] = Feature(i).String()
	}
	return out
}

var own = [...]Definition{
	Amount:      {"amount", "logarithm", "ln(1 + amount), 0 if the amount is unknown"},
	Declined:    {"declined", "0 or 1", "the event itself was declined"},
	UnknownCard: {"unknown_card", "0 or 1", "declined because no such card was issued"},
	Present:     {"present", "0 or 1", "the card was at the terminal"},
	ByStripe:    {"by_stripe", "0 or 1", "the stripe was read, as such or in place of a chip"},
	Keyed:       {"keyed", "0 or 1", "the number was typed in"},
	Cash:        {"cash", "0 or 1", "at a cash machine"},
	Night:       {"night", "0 or 1", "from 00:00 to 05:59 on the terminal's clock"},
	Weekend:     {"weekend", "0 or 1", "Saturday or Sunday on the terminal's clock"},
}

// history is what is told of a card, a merchant and a terminal.
var history = [...]Definition{
	{"count_1h", "events", "how many in the hour before, by buckets of 10 minutes: 50 to 60 minutes"},
	{"count_1d", "events", "how many in the day before, by buckets of 2 hours: 22 to 24 hours"},
	{"count_7d", "events", "how many in the week before, by buckets of a day: 6 to 7 days"},
	{"count_30d", "events", "how many in the month before, by buckets of 3 days: 27 to 30 days"},
	{"sum_1h", "currency", "their amounts together"},
	{"sum_1d", "currency", "their amounts together"},
	{"sum_7d", "currency", "their amounts together"},
	{"sum_30d", "currency", "their amounts together"},
	{"mean_1h", "currency", "their mean amount, 0 if there were none"},
	{"mean_1d", "currency", "their mean amount, 0 if there were none"},
	{"mean_7d", "currency", "their mean amount, 0 if there were none"},
	{"mean_30d", "currency", "their mean amount, 0 if there were none"},
	{"declined_1h", "share", "the share of them that was declined, 0 if there were none"},
	{"declined_1d", "share", "the share of them that was declined, 0 if there were none"},
	{"declined_7d", "share", "the share of them that was declined, 0 if there were none"},
	{"declined_30d", "share", "the share of them that was declined, 0 if there were none"},
	{"deviation", "robust sd", "how far the amount's logarithm lies from the median of the latest 100 to 200, in robust standard deviations from quartiles of a histogram with two bins to the octave; 0 with fewer than 8 amounts"},
	{"surge", "sd", "how far the count of the hour, with this event, lies above what the month before lets expect, in standard deviations of a Poisson count plus one"},
	{"since", "logarithm", "ln(1 + seconds since the one before), a month's if there was none within it"},
}

var others = [...]Definition{
	CardDays - CardDays:          {"card_days", "days", "since the card was first seen, or seen again after a month"},
	CardRatio - CardDays:         {"card_ratio", "ratio", "the amount to the card's median one; 0 with fewer than 8 amounts"},
	CardRising - CardDays:        {"card_rising", "events", "how many amounts in a row, with this one, were larger than the one before, within a day of one another"},
	CardDeclinesInRow - CardDays: {"card_declines_in_row", "events", "declined ones just before"},
	CardMerchants1H - CardDays:   {"card_merchants_1h", "merchants", "different ones of the last 60 minutes, at most 24"},
	CardMerchants1D - CardDays:   {"card_merchants_1d", "merchants", "different ones of the last 24 hours, at most 24"},
	NewMerchant - CardDays:       {"new_merchant", "0 or 1", "not among the latest 24 merchants of a card that has been used before"},
	NewMCC - CardDays:            {"new_mcc", "0 or 1", "not among the latest 12 merchant categories of a card that has been used before"},
	NewCountry - CardDays:        {"new_country", "0 or 1", "not among the latest 8 countries of a card that has been used before"},
	NewPlace - CardDays:          {"new_place", "0 or 1", "the card is present and was so before, but not among the latest 6 places here"},
	PlaceShare - CardDays:        {"place_share", "share", "of the card's uses while present at the latest 6 places, those at this place; 1 if there were none or it is not present"},
	EntryShare - CardDays:        {"entry_share", "share", "of the card's uses, those with this entry mode; 1 with fewer than 5"},
	HourShare - CardDays:         {"hour_share", "share", "of the card's uses, those in the same three hours of the terminal's day; 1 with fewer than 5"},
	TravelKilometres - CardDays:  {"travel_kilometres", "km", "at least so far from where the card was last present, leaving out places that it could not have reached (over 100 km at more than 900 km/h); 0 if it is not present or has not been"},
	TravelMinutes - CardDays:     {"travel_minutes", "minutes", "since it was there, 0 as for travel_kilometres"},
	TravelSpeed - CardDays:       {"travel_speed", "km/h", "travel_kilometres in travel_minutes, taken as one minute or more"},
	MCCDeviation - CardDays:      {"mcc_deviation", "robust sd", "as card_deviation, among the tenant's amounts of the merchant category"},
	BINCount1H - CardDays:        {"bin_count_1h", "events", "of the BIN in the hour before"},
	BINSurge - CardDays:          {"bin_surge", "sd", "as card_surge, for the BIN"},
	BINCards1H - CardDays:        {"bin_cards_1h", "cards", "different ones of the BIN in each bucket of 10 minutes of the hour before, added up"},
	BINDeclined1H - CardDays:     {"bin_declined_1h", "share", "of the BIN's events in the hour before, those declined"},
	BINUnknown1H - CardDays:      {"bin_unknown_1h", "events", "of the BIN in the hour before, declined because no such card was issued"},
	TriedCards - CardDays:        {"tried_cards", "cards", "different ones at the merchant in the 10 minutes before, at most 64 events back"},
	TriedOfBIN - CardDays:        {"tried_of_bin", "cards", "of tried_cards, those of the event's BIN"},
	TriedDeclined - CardDays:     {"tried_declined", "events", "declined ones at the merchant in the 10 minutes before, at most 64 events back"},
	TriedUnknown - CardDays:      {"tried_unknown", "events", "of these, those where no such card was issued"},
	TriedSmall - CardDays:        {"tried_small", "events", "at the merchant in the 10 minutes before, of the smallest quarter of the tenant's amounts"},
	TriedShare - CardDays:        {"tried_share", "share", "of the merchant's events in the 10 minutes before, those declined"},
	Marks - CardDays:             {"marks", "0 to 5", "how many hold: new place or new country; by stripe where that is less than a tenth of the card's uses; faster than 900 km/h over 100 km; amount 3 robust deviations above the card's; declined"},
	Compromise - CardDays:        {"compromise", "-log10 p", "for an event with marks: of the latest 8 terminals where the card was present within 10 days, the one from which, in 9 to 10 days, the least likely number of other cards went on to events with two marks or more beside a decline: how unlikely so many are by chance, 0 to 30"},
	CompromiseCards - CardDays:   {"compromise_cards", "cards", "so many other cards for that terminal"},
}
