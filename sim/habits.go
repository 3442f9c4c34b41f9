package sim

// profile is a way of life: when a cardholder buys, what, and where.
type profile int

const (
	commuter profile = iota
	nightOwl
	retiree
	onlineShopper
	businessTraveller
	profiles
)

// way is how a purchase comes about.
type way int

const (
	atFavourite way = iota
	inTown
	localShop  // e-commerce in the holder's country
	globalShop // e-commerce from abroad
	cashMachine
	byPhone
	ways
)

// life is what a profile means.
type life struct {
	share    float64     // of the cardholders
	activity float64     // purchases, relative to a commuter's
	income   float64     // factor on the country's median
	travels  float64     // share of the three-day spans spent in another city
	weekday  [24]float64 // by hour of local time, relative
	weekend  [24]float64
	ways     [ways]float64
	taste    [groups]float64
}

var lives = [profiles]life{
	commuter: {
		share: 0.44, activity: 1, income: 1, travels: 0.02,
		weekday: [24]float64{1, .5, .3, .2, .3, 1, 4, 9, 8, 4, 3, 5, 9, 8, 4, 3, 4, 7, 10, 9, 6, 4, 3, 2},
		weekend: [24]float64{2, 1, .5, .3, .2, .3, 1, 2, 4, 6, 8, 9, 9, 8, 7, 6, 6, 7, 7, 7, 6, 5, 4, 3},
		ways:    [ways]float64{.44, .33, .08, .07, .06, .02},
		taste:   [groups]float64{food: 1.2, transport: 1.6, shopping: .9, health: .8, leisure: .8, travel: .2, digital: 1},
	},
	nightOwl: {
		share: 0.16, activity: 1.2, income: .85, travels: 0.03,
		weekday: [24]float64{9, 8, 6, 3, 1, .3, .2, .3, .5, .8, 1, 2, 3, 3, 3, 3, 4, 4, 5, 6, 8, 10, 11, 11},
		weekend: [24]float64{12, 12, 10, 7, 4, 2, .5, .3, .3, .5, 1, 2, 3, 4, 4, 4, 4, 5, 6, 7, 9, 11, 12, 12},
		ways:    [ways]float64{.28, .47, .07, .10, .06, .02},
		taste:   [groups]float64{food: 1, transport: 1.2, shopping: .5, health: .3, leisure: 3, travel: .2, digital: 1.4},
	},
	retiree: {
		share: 0.16, activity: .6, income: .7, travels: 0.01,
		weekday: [24]float64{.1, .1, .1, .1, .1, .3, 2, 5, 9, 12, 12, 10, 7, 4, 4, 6, 6, 4, 3, 2, 1, .5, .3, .1},
		weekend: [24]float64{.1, .1, .1, .1, .1, .2, 1, 3, 7, 10, 11, 9, 7, 4, 3, 4, 4, 3, 2, 1.5, 1, .5, .2, .1},
		ways:    [ways]float64{.52, .30, .02, .01, .10, .05},
		taste:   [groups]float64{food: 1.3, transport: .5, shopping: .7, health: 3, leisure: .5, travel: .2, digital: .3},
	},
	onlineShopper: {
		share: 0.16, activity: 1.1, income: 1.1, travels: 0.02,
		weekday: [24]float64{4, 2, 1, .5, .3, .3, .5, 1, 2, 3, 4, 5, 6, 5, 4, 4, 4, 5, 6, 7, 9, 11, 11, 8},
		weekend: [24]float64{5, 3, 1.5, .7, .4, .3, .4, .8, 2, 4, 6, 7, 7, 7, 7, 7, 7, 7, 7, 8, 9, 11, 11, 8},
		ways:    [ways]float64{.15, .16, .34, .30, .03, .02},
		taste:   [groups]float64{food: .9, transport: .7, shopping: 1.8, health: .6, leisure: .7, travel: .4, digital: 2},
	},
	businessTraveller: {
		share: 0.08, activity: 1.3, income: 2.6, travels: 0.38,
		weekday: [24]float64{1, .4, .2, .3, 1, 3, 6, 8, 7, 5, 4, 5, 8, 9, 6, 5, 5, 6, 7, 9, 10, 8, 5, 3},
		weekend: [24]float64{1, .5, .3, .2, .2, .4, 1, 2, 3, 3, 4, 4, 4, 4, 3, 3, 3, 3, 4, 4, 4, 3, 2, 1},
		ways:    [ways]float64{.14, .62, .06, .11, .05, .02},
		taste:   [groups]float64{food: 1.4, transport: 2, shopping: .6, health: .3, leisure: .8, travel: 6, digital: 1},
	},
}

// group is a kind of merchant category that profiles like more or less.
type group int

const (
	food group = iota
	transport
	shopping
	health
	leisure
	travel
	digital
	groups
)

// Opening hours: how much of a category's trade falls into each hour of local time.
var (
	hoursDay     = [24]float64{9: .6, 10: 1, 11: 1, 12: 1, 13: 1, 14: 1, 15: 1, 16: 1, 17: 1, 18: 1, 19: .8, 20: .4}
	hoursMorning = [24]float64{6: .6, 7: 1.6, 8: 1.6, 9: 1.2, 10: .8, 11: .6, 12: .6, 13: .6, 14: .5, 15: .6, 16: .8, 17: .7, 18: .5, 19: .3}
	hoursMeals   = [24]float64{0: .3, 11: .4, 12: 1.4, 13: 1.6, 14: 1, 15: .4, 16: .3, 17: .3, 18: .5, 19: 1, 20: 1.5, 21: 1.5, 22: 1, 23: .6}
	hoursNight   = [24]float64{0: 1.6, 1: 1.6, 2: 1.4, 3: 1, 4: .5, 5: .2, 18: .3, 19: .4, 20: .7, 21: 1, 22: 1.4, 23: 1.6}
	hoursLong    = [24]float64{0: .2, 1: .1, 6: .4, 7: .8, 8: 1, 9: 1, 10: 1, 11: 1, 12: 1, 13: 1, 14: 1, 15: 1, 16: 1, 17: 1.1, 18: 1.2, 19: 1.2, 20: 1, 21: .8, 22: .5, 23: .3}
	hoursAlways  = [24]float64{.5, .5, .4, .4, .4, .6, .8, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, .9, .7}
)

// category is a merchant category with the distribution of its amounts.
type category struct {
	name     string
	mcc      string // ISO 18245
	sign     string // how such a merchant's name begins
	group    group
	hours    *[24]float64
	median   float64 // of an amount, in US dollars
	sigma    float64 // of its logarithm
	weight   float64 // share of the purchases in a town; 0 for those sold otherwise only
	online   bool    // has shops on the net too
	biller   bool    // collects every month
	phone    bool    // takes orders by telephone
	takesPIN bool    // a cash machine
}

var categories = [...]category{
	{name: "grocery", mcc: "5411", sign: "SUPER", group: food, hours: &hoursLong, median: 16, sigma: .8, weight: 10, online: true},
	{name: "convenience", mcc: "5499", sign: "MINIMARKET", group: food, hours: &hoursAlways, median: 4.5, sigma: .6, weight: 7},
	{name: "bakery", mcc: "5462", sign: "PANADERIA", group: food, hours: &hoursMorning, median: 3.2, sigma: .5, weight: 5},
	{name: "coffee", mcc: "5812", sign: "CAFE", group: food, hours: &hoursMorning, median: 4, sigma: .4, weight: 5},
	{name: "restaurant", mcc: "5812", sign: "RESTAURANTE", group: food, hours: &hoursMeals, median: 15, sigma: .6, weight: 6, phone: true},
	{name: "fast food", mcc: "5814", sign: "BURGER", group: food, hours: &hoursMeals, median: 6.5, sigma: .45, weight: 6},
	{name: "liquor", mcc: "5921", sign: "LICORES", group: leisure, hours: &hoursNight, median: 11, sigma: .6, weight: 1.5},
	{name: "butcher", mcc: "5422", sign: "CARNES", group: food, hours: &hoursDay, median: 10, sigma: .5, weight: 1.5},
	{name: "fuel", mcc: "5541", sign: "ESTACION", group: transport, hours: &hoursAlways, median: 24, sigma: .5, weight: 5},
	{name: "transit", mcc: "4111", sign: "METRO", group: transport, hours: &hoursMorning, median: 1.1, sigma: .3, weight: 6},
	{name: "taxi", mcc: "4121", sign: "TAXI", group: transport, hours: &hoursAlways, median: 5.5, sigma: .6, weight: 4},
	{name: "parking", mcc: "7523", sign: "PARKING", group: transport, hours: &hoursLong, median: 2.6, sigma: .5, weight: 2},
	{name: "toll", mcc: "4784", sign: "AUTOPISTA", group: transport, hours: &hoursLong, median: 2.2, sigma: .4, weight: 2},
	{name: "pharmacy", mcc: "5912", sign: "FARMACIA", group: health, hours: &hoursLong, median: 11, sigma: .7, weight: 4, online: true},
	{name: "doctor", mcc: "8011", sign: "CLINICA", group: health, hours: &hoursDay, median: 38, sigma: .6, weight: 1},
	{name: "dentist", mcc: "8021", sign: "DENTAL", group: health, hours: &hoursDay, median: 48, sigma: .7, weight: .6},
	{name: "optician", mcc: "8043", sign: "OPTICA", group: health, hours: &hoursDay, median: 60, sigma: .6, weight: .4},
	{name: "clothing", mcc: "5651", sign: "MODA", group: shopping, hours: &hoursDay, median: 28, sigma: .7, weight: 2.5, online: true},
	{name: "shoes", mcc: "5661", sign: "CALZADOS", group: shopping, hours: &hoursDay, median: 36, sigma: .5, weight: 1.2, online: true},
	{name: "department", mcc: "5311", sign: "ALMACENES", group: shopping, hours: &hoursDay, median: 34, sigma: .8, weight: 2.5, online: true},
	{name: "electronics", mcc: "5732", sign: "ELECTRO", group: shopping, hours: &hoursDay, median: 95, sigma: .9, weight: 1, online: true},
	{name: "furniture", mcc: "5712", sign: "MUEBLES", group: shopping, hours: &hoursDay, median: 120, sigma: .8, weight: .4, online: true},
	{name: "hardware", mcc: "5251", sign: "FERRETERIA", group: shopping, hours: &hoursDay, median: 17, sigma: .8, weight: 1.5},
	{name: "books", mcc: "5942", sign: "LIBRERIA", group: shopping, hours: &hoursDay, median: 13, sigma: .5, weight: .7, online: true},
	{name: "jewellery", mcc: "5944", sign: "JOYERIA", group: shopping, hours: &hoursDay, median: 140, sigma: .8, weight: .2},
	{name: "cosmetics", mcc: "5977", sign: "PERFUMERIA", group: shopping, hours: &hoursDay, median: 20, sigma: .6, weight: .8, online: true},
	{name: "pets", mcc: "5995", sign: "MASCOTAS", group: shopping, hours: &hoursDay, median: 16, sigma: .6, weight: .8, online: true},
	{name: "hairdresser", mcc: "7230", sign: "PELUQUERIA", group: leisure, hours: &hoursDay, median: 11, sigma: .5, weight: 1},
	{name: "bar", mcc: "5813", sign: "BAR", group: leisure, hours: &hoursNight, median: 13, sigma: .6, weight: 3},
	{name: "cinema", mcc: "7832", sign: "CINE", group: leisure, hours: &hoursMeals, median: 9, sigma: .4, weight: 1},
	{name: "nightclub", mcc: "7922", sign: "CLUB", group: leisure, hours: &hoursNight, median: 22, sigma: .5, weight: .7},
	{name: "florist", mcc: "5992", sign: "FLORERIA", group: leisure, hours: &hoursDay, median: 18, sigma: .4, weight: .3, phone: true},
	{name: "hotel", mcc: "7011", sign: "HOTEL", group: travel, hours: &hoursLong, median: 75, sigma: .6, weight: .8, phone: true},
	{name: "car rental", mcc: "7512", sign: "RENTACAR", group: travel, hours: &hoursLong, median: 60, sigma: .5, weight: .3},
	{name: "airline", mcc: "4511", sign: "AEROLINEA", group: travel, hours: &hoursLong, median: 130, sigma: .7, online: true, phone: true},
	{name: "marketplace", mcc: "5399", sign: "MERCADO", group: digital, hours: &hoursAlways, median: 22, sigma: .9, online: true},
	{name: "rides", mcc: "4121", sign: "VIAJES", group: digital, hours: &hoursAlways, median: 4.5, sigma: .5, online: true},
	{name: "delivery", mcc: "5814", sign: "ENVIOS", group: digital, hours: &hoursAlways, median: 10, sigma: .5, online: true},
	{name: "games", mcc: "5816", sign: "JUEGOS", group: digital, hours: &hoursAlways, median: 8, sigma: .8, online: true},
	{name: "streaming", mcc: "4899", sign: "CABLE", group: digital, hours: &hoursAlways, median: 9, sigma: .3, biller: true},
	{name: "software", mcc: "5734", sign: "SOFT", group: digital, hours: &hoursAlways, median: 12, sigma: .5, biller: true},
	{name: "electricity", mcc: "4900", sign: "LUZ", group: digital, hours: &hoursDay, median: 26, sigma: .5, biller: true},
	{name: "telephone", mcc: "4814", sign: "TELEFONIA", group: digital, hours: &hoursDay, median: 14, sigma: .4, biller: true},
	{name: "insurance", mcc: "6300", sign: "SEGUROS", group: digital, hours: &hoursDay, median: 32, sigma: .5, biller: true},
	{name: "gym", mcc: "7997", sign: "GIMNASIO", group: digital, hours: &hoursDay, median: 19, sigma: .3, biller: true},
	{name: "education", mcc: "8299", sign: "ACADEMIA", group: digital, hours: &hoursDay, median: 45, sigma: .6, biller: true},
	{name: "advertising", mcc: "7311", sign: "PUBLICIDAD", group: digital, hours: &hoursAlways, median: 40, sigma: .9, biller: true},
	{name: "cash", mcc: "6011", sign: "CAJERO", group: digital, hours: &hoursAlways, median: 60, sigma: .6, takesPIN: true},
}

func categoryNamed(name string) int {
	for i := range categories {
		if categories[i].name == name {
			return i
		}
	}
	panic("sim: no category " + name)
}

// appetite is the weight of every category for a profile at an hour of local time.
func appetite(p profile, hour int) (w [len(categories)]float64) {
	for i := range categories {
		c := &categories[i]
		w[i] = c.weight * c.hours[hour] * lives[p].taste[c.group]
	}
	return w
}
