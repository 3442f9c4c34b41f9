package recommendations

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries/insights"
)

// withoutMCCs are the categories (ISO 18245) that are not recommended unless a tenant asks for
// them, by why.
var withoutMCCs = strings.Join([]string{
	"4829,6010,6011,6012,6050,6051,6211,6529,6530,6531,6532,6533,6534,6535,6536,6537,6538,6539,6540", // cash, transfers, securities
	"4784,4812,4814,4899,4900,6300,6513",                                              // bills: tolls, telephone, television, power and water, insurance, rent
	"9211,9222,9223,9311,9399,9402,9405",                                              // courts, fines, bail, taxes, government
	"8011,8021,8031,8041,8042,8043,8049,8050,8062,8071,8099,5047,5122,5912,5975,5976", // health
	"8398,8641,8651,8661",                                                             // charities, clubs, politics, faith
	"5967,7273,7276,7277,7297,7800,7801,7802,7995,8111,9406",                          // what people keep to themselves, gambling, counselling, lawyers
}, ",")

// Parameters implements insights.Job.
func (*Job) Parameters() []insights.Parameter {
	return []insights.Parameter{
		{Name: "days", Default: "180", Doc: "window: days before the newest event", Check: whole(leastDays, 1500)},
		{Name: "held_days", Default: "14", Doc: "days held out to choose weights, and as many again to measure; at most a fifth of the window each", Check: whole(1, 300)},
		{Name: "half_life", Default: "30", Doc: "days after which a purchase counts half", Check: whole(1, 1500)},
		{Name: "length", Default: "10", Doc: "merchants in a list", Check: whole(1, 50)},
		{Name: "customers", Default: "5", Doc: "fewest customers of a merchant that is recommended", Check: whole(floor, 1_000_000)},
		{Name: "merchants", Default: "2000", Doc: "most merchants, those of the most customers; the time of a run grows with their third power", Check: whole(leastMerchants, 10_000)},
		{Name: "lambda", Default: "auto", Doc: "regularisation of EASE, or auto for the best of 20, 200 and 2000", Check: lambda},
		{Name: "channels", Default: "pos,ecommerce,phone", Doc: "channels whose purchases count", Check: each(channel)},
		{Name: "countries", Default: "", Doc: "countries of merchants that are recommended (ISO 3166-1 alpha-2); empty for all", Check: each(country)},
		{Name: "abroad", Default: "false", Doc: "true lists merchants outside the customer's home country that sell on the spot", Check: truth},
		{Name: "without_mccs", Default: withoutMCCs, Doc: "categories that are neither read nor recommended: cash, bills, and what is nobody's business", Check: each(mcc)},
		{Name: "per_category", Default: "0", Doc: "most merchants of one MCC in a list; 0 for any number", Check: whole(0, 50)},
		{Name: "diversity", Default: "0", Doc: "percent by which likeness to what stands above lowers a merchant (MMR)", Check: whole(0, 100)},
	}
}

// parameters are a run's, read.
type parameters struct {
	days, heldDays, halfLife int
	length                   int
	customers, merchants     int
	lambdas                  []float64
	channels, countries      []string
	without                  []string
	abroad                   bool
	perCategory, diversity   int
	category                 []int32 // of each merchant, from what is read
}

// parse reads values that Check has passed.
func parse(v insights.Values) (parameters, error) {
	p := parameters{
		channels: split(v["channels"]), countries: split(v["countries"]), without: split(v["without_mccs"]),
		abroad: v["abroad"] == "true", lambdas: []float64{20, 200, 2000},
	}
	var errs []error
	for name, to := range map[string]*int{
		"days": &p.days, "held_days": &p.heldDays, "half_life": &p.halfLife, "length": &p.length, "customers": &p.customers,
		"merchants": &p.merchants, "per_category": &p.perCategory, "diversity": &p.diversity,
	} {
		n, err := strconv.Atoi(v[name])
		if err != nil {
			errs = append(errs, fmt.Errorf("parameter %s is not a number", name))
		}
		*to = n
	}
	if v["lambda"] != "auto" {
		x, err := strconv.ParseFloat(v["lambda"], 64)
		if err != nil {
			errs = append(errs, errors.New("parameter lambda is not a number"))
		}
		p.lambdas = []float64{x}
	}
	if len(p.channels) == 0 {
		errs = append(errs, errors.New("parameter channels is empty"))
	}
	return p, errors.Join(errs...)
}

func split(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

func whole(least, most int) func(string) error {
	return func(v string) error {
		if n, err := strconv.Atoi(v); err != nil || n < least || n > most {
			return fmt.Errorf("is not a whole number from %d to %d", least, most)
		}
		return nil
	}
}

func lambda(v string) error {
	if v == "auto" {
		return nil
	}
	if x, err := strconv.ParseFloat(v, 64); err != nil || !(x >= 1 && x <= 1e9) {
		return errors.New("is neither auto nor a number from 1 to 1e9")
	}
	return nil
}

func truth(v string) error {
	if v != "true" && v != "false" {
		return errors.New("is neither true nor false")
	}
	return nil
}

func each(check func(string) error) func(string) error {
	return func(v string) error {
		for _, s := range split(v) {
			if err := check(s); err != nil {
				return err
			}
		}
		return nil
	}
}

var errChannel = fmt.Errorf("is not a list of %s, %s and %s, with commas", cardlake.POS, cardlake.Ecommerce, cardlake.Phone)

func channel(v string) error {
	if !slices.Contains([]cardlake.Channel{cardlake.POS, cardlake.Ecommerce, cardlake.Phone}, cardlake.Channel(v)) {
		return errChannel
	}
	return nil
}

func country(v string) error {
	if len(v) != 2 || strings.Trim(v, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return errors.New("is not a list of countries such as EC,PE")
	}
	return nil
}

func mcc(v string) error {
	if len(v) != 4 || strings.Trim(v, "0123456789") != "" {
		return errors.New("is not a list of merchant category codes such as 6011,4900")
	}
	return nil
}
